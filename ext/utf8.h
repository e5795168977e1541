/* utf8.h -- is this text?
**
** Decides: which bytes SQLite may be given as TEXT without anybody losing one: well-formed UTF-8
** (no overlong forms, no surrogates, nothing above U+10FFFF) that holds no NUL.
*/
#ifndef COMET_EXT_UTF8_H
#define COMET_EXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8_is_text(const void *data, size_t size);

#endif
