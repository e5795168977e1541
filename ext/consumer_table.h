/* consumer_table.h -- comet_consumer, what a group has not acknowledged yet, as a table.
**
**     consumer_table.c    the module: connecting, planning, SQLite's transaction calls
**     consumer_cursor.c   reading
**
** A plan is a set of bits, which travels through SQLite as idxNum: one for each constraint that the
** scan takes, in the order of consumer_slot, and CONSUMER_ORDERED where rows shall come in the order
** of shards, and of offsets within them.
*/
#ifndef COMET_EXT_CONSUMER_TABLE_H
#define COMET_EXT_CONSUMER_TABLE_H

#include "connection.h"
#include "positions.h"
#include "values.h"

typedef enum consumer_column {
    CONSUMER_COLUMN_SHARD,
    CONSUMER_COLUMN_OFFSET,
    CONSUMER_COLUMN_TIMESTAMP,
    CONSUMER_COLUMN_DATA,
    CONSUMER_COLUMN_LOG,
    CONSUMER_COLUMN_GROUP,
    CONSUMER_COLUMN_MEMBER,
    CONSUMER_COLUMN_MEMBERS,
    CONSUMER_COLUMN_ID
} consumer_column;

typedef enum consumer_slot {
    CONSUMER_LOG,
    CONSUMER_GROUP,
    CONSUMER_MEMBER,
    CONSUMER_MEMBERS,
    CONSUMER_SHARD,
    CONSUMER_OFFSET_EQ, /* = > >= < <=, in the order of plan_operator */
    CONSUMER_TIMESTAMP_EQ = CONSUMER_OFFSET_EQ + 5,
    CONSUMER_LIMIT = CONSUMER_TIMESTAMP_EQ + 5,
    CONSUMER_SLOT_COUNT
} consumer_slot;

#define CONSUMER_ORDERED (1u << CONSUMER_SLOT_COUNT)

typedef struct consumer_table {
    sqlite3_vtab base; /* first: SQLite's view of it */
    connection *connection;
    named_table self; /* self.directory is NULL for an eponymous table */
    comet_log *claim; /* keeps what this table asked of the log's settings asked for */
    comet_settings settings;
    char *group;
    int64_t member;
    int64_t members;
    bool has_settings;
    bool has_shard; /* self.shard and no other */
    bool eponymous;
    bool joined; /* takes part in the connection's transaction */
    entry_type type;
} consumer_table;

/* Hold a handle of our own with the settings of CREATE VIRTUAL TABLE. */
comet_status consumer_table_claim(consumer_table *table, bool create, comet_error *error);

/* Methods of the module that stand in consumer_cursor.c. */
int consumer_cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor);
int consumer_cursor_close(sqlite3_vtab_cursor *base);
int consumer_cursor_filter(sqlite3_vtab_cursor *base, int number, const char *words, int count,
                           sqlite3_value **values);
int consumer_cursor_next(sqlite3_vtab_cursor *base);
int consumer_cursor_eof(sqlite3_vtab_cursor *base);
int consumer_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column);
int consumer_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid);

int consumer_table_register(connection *used);

#endif
