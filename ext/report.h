/* report.h -- failures, on their way from the core to SQLite.
**
** Decides: which SQLite code a comet_status becomes, here and nowhere else.  Everything below the
** virtual table methods reports by comet_status and comet_error, as the core does; the methods
** themselves end with one of the report functions.
*/
#ifndef COMET_EXT_REPORT_H
#define COMET_EXT_REPORT_H

#include "comet.h"
#include "sqlite.h"

/* Fill *error and return `status`.  The sentence says what is wrong and what to do. */
comet_status failure_set(comet_error *error, comet_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Out of memory; needs none. */
comet_status failure_no_memory(comet_error *error);

/* What SQLite said to a statement of ours on `db`; `what` was to be done. */
comet_status failure_from_sqlite(comet_error *error, sqlite3 *db, int code, const char *what);

/* The SQLite result code for a status. */
int report_code(comet_status status);

/* Hand a failure to a virtual table method's message (&table->zErrMsg, or xConnect's pzErr), whose
** old text is freed; returns the code to return. */
int report(char **message, const comet_error *error);

/* The same for what only SQLite has a code for: refused rows, refused statements. */
int report_refusal(char **message, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Make a failure the result of an SQL function. */
void report_to_function(sqlite3_context *context, const comet_error *error);

#endif
