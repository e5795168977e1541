/* values.h -- SQL values in and out.
**
** Decides: what an SQL value means where comet takes an integer, an entry, a shard number or a
** text, how a constraint's right side narrows a range, and in which type an entry's bytes come
** back.
*/
#ifndef COMET_EXT_VALUES_H
#define COMET_EXT_VALUES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comet.h"
#include "planner.h"
#include "sqlite.h"

/* The integer that a column of INTEGER affinity would store for `value`: 5, 5.0, '5', '5.0'.
** False, with *integer untouched, for everything else, NULL among it. */
bool value_integer(sqlite3_value *value, int64_t *integer);

/* A shard's number.  COMET_INVALID names the bounds. */
comet_status value_shard(sqlite3_value *value, uint32_t *shard, comet_error *error);

/* The text of `value`, or NULL for NULL; valid as long as the value.  COMET_INVALID for a text that
** holds a NUL. `what` names it in the message. */
comet_status value_text(sqlite3_value *value, const char *what, const char **text,
                        comet_error *error);

/* The bytes that stand for `value` in a log: a text's UTF-8, a blob's bytes, a number's text.
** `utf8`: the database's encoding is UTF-8, so that a text's bytes can be taken as they lie.
** NULL without bytes only where memory ran out or the size is 0. */
const void *value_entry(sqlite3_value *value, bool utf8, size_t *size);

/* An interval of 64-bit integers, both ends included. */
typedef struct interval {
    int64_t first;
    int64_t last;
    bool empty;
} interval;

/* Keep of *range what compares true with `value`, exactly as SQLite would compare an INTEGER column
** with it: numeric texts count as numbers, fractions fall between two integers, every other text
** and every blob is greater than all integers, NULL matches nothing. */
void interval_narrow(interval *range, plan_operator comparison, sqlite3_value *value);

typedef enum entry_type { ENTRY_AUTO, ENTRY_TEXT, ENTRY_BLOB } entry_type;

/* Give bytes to SQLite, which copies them: as TEXT where ENTRY_AUTO finds them to be text. */
void result_entry(sqlite3_context *context, const void *data, size_t size, entry_type type);

#endif
