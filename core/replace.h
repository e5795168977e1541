/* replace.h -- putting a new file in the place of an old one.
**
** Decides: the order that makes it all or nothing: written beside it under a name of its own, made
** durable, renamed over it, and the name made durable.  Readers see the old or the new one; so does
** whoever comes after a power cut.
*/
#ifndef COMET_REPLACE_H
#define COMET_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "comet.h"

/* What stands between a file's name and the rest of a leftover's name. */
#define REPLACE_SUFFIX ".tmp."

/* Replace "<directory>/<name>"; without `durable` nothing is waited for.
** Errors: COMET_FULL, COMET_READONLY, COMET_IO, COMET_INVALID (the path is too long). */
comet_status replace_file(const char *directory, const char *name, const void *bytes, size_t size,
                          bool durable, comet_error *error);

#endif
