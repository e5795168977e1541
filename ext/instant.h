/* instant.h -- moments as text and as nanoseconds since the Unix epoch; pure.
**
** Decides: which texts need no help of SQLite's date functions, and how a moment is written.
*/
#ifndef COMET_EXT_INSTANT_H
#define COMET_EXT_INSTANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NANOSECONDS_PER_SECOND INT64_C(1000000000)
#define NANOSECONDS_PER_MILLISECOND INT64_C(1000000)

/* 'YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ' with its NUL. */
#define INSTANT_BYTES 31

/* Read 'YYYY-MM-DD', optionally ' HH:MM' or 'THH:MM', ':SS', '.' and digits (those after the ninth
** are dropped), and 'Z' or '+HH:MM'.  False, with *nanoseconds untouched, for all else and for what
** lies beyond the years 1678 to 2262, where 64 bits end. */
bool instant_parse(const char *text, int64_t *nanoseconds);

/* Find the fraction of a second in such a text: its place, its length with the point, its worth.
** False when there is none. */
bool instant_fraction(const char *text, size_t *position, size_t *length, int64_t *nanoseconds);

void instant_format(int64_t nanoseconds, char text[INSTANT_BYTES]);

#endif
