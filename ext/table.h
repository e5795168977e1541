/* table.h -- what all tables of entries have in common.
**
** Decides: how a table of a schema is connected, renamed and dropped, how it takes part in SQLite's
** transactions (transaction.h), and how the log column reads.  comet_shard and comet_stream begin
** with an entry_table and put their modules together from these methods and their own.
**
** Such tables are both eponymous (SELECT ... FROM comet_shard('telemetry', 0)) and to be created
** (CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry')), for which SQLite wants xCreate and
** xConnect to be the same function.  They must differ in one thing, though.  CREATE opens the log
** at once, applies the settings and fails when that fails.  Connecting opens nothing: a log that
** has gone must not make the schema unusable, so the error waits for the first use.
*/
#ifndef COMET_EXT_TABLE_H
#define COMET_EXT_TABLE_H

#include "arguments.h"
#include "connection.h"
#include "values.h"

typedef struct entry_table {
    sqlite3_vtab base; /* first: SQLite's view of it */
    connection *connection;
    named_table self; /* self.directory is NULL for an eponymous table */
    comet_log *claim; /* keeps what this table asked of the log's settings asked for */
    comet_settings settings;
    bool has_settings;
    bool eponymous;
    bool joined; /* takes part in the connection's transaction */
    bool utf8;
    entry_type type;
    void (*clear)(struct entry_table *table); /* what the table has of its own; NULL: nothing */
} entry_table;

/* A table of `size` bytes, zeros behind the entry_table; NULL when out of memory. */
entry_table *table_new(connection *used, size_t size, const char *const *argv, int argc);
void table_free(entry_table *table);

/* Take over what CREATE VIRTUAL TABLE said for every kind of table. */
comet_status table_configure(entry_table *table, const table_arguments *parsed, comet_error *error);

/* Whether CREATE VIRTUAL TABLE is running. */
bool table_is_creating(const entry_table *table);

/* Hold a handle of our own with the settings of CREATE VIRTUAL TABLE: what contradicts another open
** table's is found here. */
comet_status table_claim(entry_table *table, bool create, comet_error *error);

/* The end of xConnect. */
int table_declare(entry_table *table, const char *columns, sqlite3_vtab **result);

/* What the argument log= means; NULL, as pointer or as value, is the default log. */
comet_status table_resolve(entry_table *table, sqlite3_value *log, log_target *target,
                           comet_error *error);

/* Whether `log`, in a row or in a query, is the created table's own. */
comet_status table_is_own_log(entry_table *table, sqlite3_value *log, bool *own,
                              comet_error *error);

/* Neither NULL pointer nor NULL value. */
bool value_is_given(sqlite3_value *value);

/* Keep a query's log= for the log column.  *kept is replaced. */
comet_status table_keep_log(sqlite3_value *log, sqlite3_value **kept, comet_error *error);

/* The log column: as the query named it, else the directory. */
comet_status table_give_log(entry_table *table, sqlite3_value *kept, sqlite3_context *context,
                            comet_error *error);

/* Methods of the modules. */
int table_disconnect(sqlite3_vtab *base);
int table_destroy(sqlite3_vtab *base);
int table_rename(sqlite3_vtab *base, const char *name);
int table_begin(sqlite3_vtab *base);
int table_sync(sqlite3_vtab *base);
int table_commit(sqlite3_vtab *base);
int table_rollback(sqlite3_vtab *base);
int table_savepoint(sqlite3_vtab *base, int level);
int table_release(sqlite3_vtab *base, int level);
int table_rollback_to(sqlite3_vtab *base, int level);

/* Those, in a module's initializer. */
#define TABLE_METHODS                                                                              \
    .xDisconnect = table_disconnect, .xDestroy = table_destroy, .xRename = table_rename,           \
    .xBegin = table_begin, .xSync = table_sync, .xCommit = table_commit,                           \
    .xRollback = table_rollback, .xSavepoint = table_savepoint, .xRelease = table_release,         \
    .xRollbackTo = table_rollback_to

#endif
