/* rowset.h -- small read-only tables over rows that are produced at once.
**
** Decides: how an eponymous table-valued function whose only argument is a log reference is planned
** and walked.  A table of this kind is its columns and a function that fills them; it has one more,
** hidden column `log`, the argument.
*/
#ifndef COMET_EXT_ROWSET_H
#define COMET_EXT_ROWSET_H

#include <stdint.h>

#include "connection.h"

/* Rows being filled, cell by cell from left to right.  Memory that runs out is remembered and
** reported at the end. */
typedef struct rowset rowset;

void rowset_integer(rowset *rows, int64_t value);
void rowset_text(rowset *rows, const char *text);     /* copied; NULL is NULL */
void rowset_constant(rowset *rows, const char *text); /* not copied: lives as long as the process */
void rowset_real(rowset *rows, double value);
void rowset_null(rowset *rows);

typedef struct rowset_table {
    const char *name;
    const char *columns; /* as in CREATE TABLE, without the hidden one */
    int column_count;

    /* Produce all rows.  `directory` is the log's, resolved. */
    comet_status (*fill)(connection *used, const char *directory, rowset *rows, comet_error *error);
} rowset_table;

/* Register a table; `table` must live as long as the connection. */
int rowset_register(connection *used, const rowset_table *table);

#endif
