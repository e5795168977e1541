/* row.h -- a row of INSERT on its way into a log.
**
** Decides: which rows are refused, and how.  A refused row is SQLITE_CONSTRAINT and comes before
** anything has changed, so that OR IGNORE and OR FAIL mean what they mean for ordinary tables.
*/
#ifndef COMET_EXT_ROW_H
#define COMET_EXT_ROW_H

#include "table.h"

/* Where xUpdate's values begin: after the old and the new rowid. */
#define ROW_FIRST_COLUMN 2

typedef struct row {
    const void *data; /* valid as long as xUpdate's values */
    size_t size;
    int64_t timestamp;
} row;

/* These return SQLite codes and leave the message with the table. */
int row_refuse(entry_table *table, const char *why);

/* UPDATE and DELETE.  SQLITE_OK: it is an INSERT. */
int row_check_insert(entry_table *table, int count, sqlite3_value **values);

/* Read and check the three columns that every table has. */
int row_read(entry_table *table, sqlite3_value **values, int offset_column, int timestamp_column,
             int data_column, row *read);

/* Append to `place`, becoming its writer where this connection is not yet. */
int row_append(entry_table *table, open_shard *place, const row *read, uint64_t *offset);

#endif
