/* settings.h -- the settings' table, and the file that keeps them with a log.
**
** Decides: which settings there are, what they may be, and how people write them.  The table and
** its functions are public (comet.h); here stands what only the core needs.
**
** The file is text: lines of `name = value`, '#' begins a comment, in UTF-8 with LF or CRLF.
*/
#ifndef COMET_CORE_SETTINGS_H
#define COMET_CORE_SETTINGS_H

#include <stddef.h>

#include "comet.h"

/* Give every setting that is not given the value that value[COMET_PRESET] stands for, else
** its default.  To be called after settings from two sources were put together by hand. */
void settings_apply_preset(comet_settings *settings);

/* Read a settings file of `size` bytes (no NUL needed) over defaults.  *out is untouched on
** failure.
** Errors: COMET_INVALID, naming the line: no `name = value`, an unknown or doubled name, one
** that is not stored, a bad value. */
comet_status settings_decode(const char *text, size_t size, comet_settings *out,
                             comet_error *error);

/* Write a settings file: the given stored settings, and the others commented out with the value in
** force.  *size excludes the final NUL.  Release *text with memory_release().
** Errors: COMET_NOMEM. */
comet_status settings_encode(const comet_settings *settings, char **text, size_t *size,
                             comet_error *error);

#endif
