/* shard_table.h -- comet_shard, the entries of one shard as a table.
**
**     shard_table.c    the module: connecting and planning (the rest is table.h)
**     shard_cursor.c   reading
**     shard_write.c    INSERT
*/
#ifndef COMET_EXT_SHARD_TABLE_H
#define COMET_EXT_SHARD_TABLE_H

#include "table.h"

typedef enum shard_column {
    SHARD_COLUMN_OFFSET,
    SHARD_COLUMN_TIMESTAMP,
    SHARD_COLUMN_DATA,
    SHARD_COLUMN_LOG,
    SHARD_COLUMN_SHARD
} shard_column;

typedef struct shard_table {
    entry_table common; /* first */
    open_shard *shard; /* the created table's, the eponymous one's default; NULL before first use */
} shard_table;

/* The table's own shard (an eponymous table's default one), opened at first use; with `create` log
** and shard are made where they are missing. */
comet_status shard_table_open(shard_table *table, bool create, open_shard **shard,
                              comet_error *error);

/* The shard that the arguments log and shard mean; either may be NULL, as pointer or as value. */
comet_status shard_table_target(shard_table *table, sqlite3_value *log, sqlite3_value *shard,
                                bool create, open_shard **target, comet_error *error);

/* Methods of the module that stand in shard_cursor.c and shard_write.c. */
int shard_cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor);
int shard_cursor_close(sqlite3_vtab_cursor *base);
int shard_cursor_filter(sqlite3_vtab_cursor *base, int number, const char *words, int count,
                        sqlite3_value **values);
int shard_cursor_next(sqlite3_vtab_cursor *base);
int shard_cursor_eof(sqlite3_vtab_cursor *base);
int shard_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column);
int shard_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid);
int shard_table_update(sqlite3_vtab *base, int count, sqlite3_value **values, sqlite3_int64 *rowid);

/* Register comet_shard; without xUpdate on a connection that only reads. */
int shard_table_register(connection *used);

#endif
