/* stream_table.h -- comet_stream, the entries of many shards as one table.
**
**     stream_table.c    the module: connecting and planning (the rest is table.h)
**     stream_cursor.c   reading; the way through the shards is stream_merge.h
**     stream_write.c    INSERT: which shard a row goes to
**
** On disk a stream is its log's shards 0 ... N-1; its name stands in no file, so that all streams of
** one log share its shards, as in the Go package.  With shards=N a table is those N, for reading and
** writing; without, it reads every shard there is, and writes to COMET_STREAM_SHARDS.
*/
#ifndef COMET_EXT_STREAM_TABLE_H
#define COMET_EXT_STREAM_TABLE_H

#include "table.h"

typedef enum stream_column {
    STREAM_COLUMN_SHARD,
    STREAM_COLUMN_OFFSET,
    STREAM_COLUMN_TIMESTAMP,
    STREAM_COLUMN_DATA,
    STREAM_COLUMN_LOG,
    STREAM_COLUMN_STREAM,
    STREAM_COLUMN_KEY,
    STREAM_COLUMN_ID
} stream_column;

typedef struct stream_table {
    entry_table common;  /* first */
    char *stream;        /* NULL without a name */
    uint32_t shards;     /* 0: not said */
    open_log *log;       /* the created table's, or the default one; NULL before first use */
    known_shard *places; /* of `log`, by number; opened as far as they were written to */
    uint32_t spread_next;
} stream_table;

/* The log that is meant; `log` as argument or column of an eponymous table, or NULL. */
comet_status stream_table_log(stream_table *table, sqlite3_value *log, bool create,
                              open_log **result, comet_error *error);

/* Methods of the module that stand in stream_cursor.c and stream_write.c. */
int stream_cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor);
int stream_cursor_close(sqlite3_vtab_cursor *base);
int stream_cursor_filter(sqlite3_vtab_cursor *base, int number, const char *words, int count,
                         sqlite3_value **values);
int stream_cursor_next(sqlite3_vtab_cursor *base);
int stream_cursor_eof(sqlite3_vtab_cursor *base);
int stream_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column);
int stream_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid);
int stream_table_update(sqlite3_vtab *base, int count, sqlite3_value **values,
                        sqlite3_int64 *rowid);

/* Register comet_stream; without xUpdate on a connection that only reads. */
int stream_table_register(connection *used);

#endif
