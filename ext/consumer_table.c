/* consumer_table.c -- the comet_consumer module: connecting, planning, transaction calls.
**
** The table is eponymous and to be created, as comet_shard is; see shard_table.c for what follows
** from that.  Created in a database file it keeps the group's positions in that database
** (positions.h).  It can be written so that acknowledgements hear of COMMIT (acks.h): a row of NULLs
** does nothing else, every other row is refused.
*/
#include "consumer_table.h"

#include <assert.h>
#include <string.h>

#include "acks.h"
#include "arguments.h"
#include "integrity.h"
#include "report.h"
#include "transaction.h"

/* What planning reckons with; a group is seldom far behind, and never asked twice. */
#define ROWS_UNKNOWN 10000

/* ---- Connecting ------------------------------------------------------------------------------ */

static void table_free(consumer_table *table) {
    connection_remove_table(table->connection, &table->self);
    positions_free(table->self.positions);
    comet_log_close(table->claim);
    sqlite3_free(table->self.schema);
    sqlite3_free(table->self.name);
    sqlite3_free(table->self.directory);
    sqlite3_free(table->group);
    connection_release(table->connection);
    sqlite3_free(table);
}

static consumer_table *table_new(connection *used, const char *schema, const char *name) {
    consumer_table *table = sqlite3_malloc64(sizeof *table);

    if (table == NULL) {
        return NULL;
    }
    memset(table, 0, sizeof *table);
    table->connection = connection_share(used);
    table->members = 1;
    table->self.schema = sqlite3_mprintf("%s", schema);
    table->self.name = sqlite3_mprintf("%s", name);
    if (table->self.schema == NULL || table->self.name == NULL) {
        table_free(table);
        return NULL;
    }
    return table;
}

comet_status consumer_table_claim(consumer_table *table, bool create, comet_error *error) {
    if (!table->has_settings || table->claim != NULL || table->connection->readonly) {
        return COMET_OK;
    }
    return comet_log_open(table->self.directory, create ? COMET_OPEN_CREATE : 0, &table->settings,
                          &table->claim, error);
}

static comet_status check_arguments(const table_arguments *parsed, comet_error *error) {
    size_t size = parsed->group != NULL ? strlen(parsed->group) : 0;

    if (size == 0 || size > COMET_GROUP_BYTES_MAX) {
        return failure_set(error, COMET_INVALID,
                           "comet_consumer needs group='name', of 1 to %u bytes",
                           COMET_GROUP_BYTES_MAX);
    }
    if (parsed->member >= parsed->members) {
        return failure_set(error, COMET_INVALID,
                           "member=%lld of members=%lld: members count from 0, so member is 0 to "
                           "members - 1",
                           (long long)parsed->member, (long long)parsed->members);
    }
    return COMET_OK;
}

/* Whether the schema is a file: in temp and :memory: positions would go with the connection. */
static bool is_lasting(const consumer_table *table) {
    const char *file = sqlite3_db_filename(table->connection->db, table->self.schema);

    return file != NULL && file[0] != '\0' && !table->connection->readonly;
}

static comet_status take_arguments(consumer_table *table, const table_arguments *parsed,
                                   comet_error *error) {
    comet_status status = check_arguments(parsed, error);

    if (status != COMET_OK) {
        return status;
    }
    table->self.shard = parsed->shard;
    table->has_shard = parsed->has_shard;
    table->type = parsed->type;
    table->settings = parsed->settings;
    table->has_settings = parsed->has_settings;
    table->member = parsed->member;
    table->members = parsed->members;
    table->group = sqlite3_mprintf("%s", parsed->group);
    table->self.group = table->group;
    if (table->group == NULL) {
        return failure_no_memory(error);
    }
    return connection_directory(table->connection, parsed->log, &table->self.directory, error);
}

static comet_status configure_table(consumer_table *table, int count, const char *const *texts,
                                    comet_error *error) {
    sqlite3 *db = table->connection->db;
    bool creating = sqlite3_txn_state(db, table->self.schema) == SQLITE_TXN_WRITE;
    table_arguments parsed;
    open_log *log;
    comet_status status = arguments_parse(ARGUMENTS_OF_CONSUMER, count, texts, &parsed, error);

    if (status == COMET_OK) {
        status = take_arguments(table, &parsed, error);
    }
    arguments_clear(&parsed);
    if (status == COMET_OK && is_lasting(table)) {
        table->self.positions = positions_new(db, table->self.schema, table->self.name);
        status = table->self.positions != NULL ? COMET_OK : failure_no_memory(error);
    }
    if (status != COMET_OK || !creating) {
        return status;
    }
    status = consumer_table_claim(table, true, error);
    if (status == COMET_OK) {
        status = connection_log(table->connection, table->self.directory, true, &log, error);
    }
    if (status == COMET_OK && table->self.positions != NULL) {
        status = positions_create(table->self.positions, error);
    }
    return status;
}

static int table_connect(sqlite3 *db, void *shared, int argc, const char *const *argv,
                         sqlite3_vtab **result, char **message) {
    consumer_table *table = table_new(shared, argv[1], argv[2]);
    comet_error error;
    int rc;

    if (table == NULL) {
        return SQLITE_NOMEM;
    }
    table->eponymous = argc == 3 && strcmp(argv[0], argv[2]) == 0;
    if (!table->eponymous && configure_table(table, argc - 3, argv + 3, &error) != COMET_OK) {
        table_free(table);
        return report(message, &error);
    }
    rc = sqlite3_declare_vtab(db, "CREATE TABLE comet_consumer(shard INTEGER NOT NULL,"
                                  " offset INTEGER NOT NULL, timestamp INTEGER NOT NULL, data,"
                                  " log TEXT HIDDEN, \"group\" TEXT HIDDEN, member INTEGER HIDDEN,"
                                  " members INTEGER HIDDEN, id TEXT HIDDEN)");
    if (rc != SQLITE_OK) {
        table_free(table);
        return rc;
    }
    connection_protect(table->connection);
    if (!table->eponymous) {
        connection_add_table(table->connection, &table->self);
    }
    *result = &table->base;
    return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *base) {
    consumer_table *table = (consumer_table *)base;

    transaction_leave(table->connection, &table->joined);
    table_free(table);
    return SQLITE_OK;
}

/* DROP TABLE takes the positions with it; offsets.state keeps the group until comet_forget(). */
static int table_destroy(sqlite3_vtab *base) {
    consumer_table *table = (consumer_table *)base;
    comet_error error;

    if (transaction_depends_on(table->connection, table->joined) ||
        acks_depend_on(table->connection, &table->self)) {
        return report_refusal(&base->zErrMsg, SQLITE_LOCKED,
                              "%s has uncommitted acknowledgements: COMMIT before DROP TABLE",
                              table->self.name);
    }
    if (table->self.positions != NULL &&
        positions_drop(table->self.positions, &error) != COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    return table_disconnect(base);
}

static int table_rename(sqlite3_vtab *base, const char *name) {
    consumer_table *table = (consumer_table *)base;
    char *copy = sqlite3_mprintf("%s", name);
    comet_error error;

    if (copy == NULL) {
        return SQLITE_NOMEM;
    }
    if (table->self.positions != NULL &&
        positions_rename(table->self.positions, name, &error) != COMET_OK) {
        sqlite3_free(copy);
        return report(&base->zErrMsg, &error);
    }
    sqlite3_free(table->self.name);
    table->self.name = copy;
    table->connection->tables_epoch++;
    return SQLITE_OK;
}

static int table_shadow_name(const char *suffix) {
    return sqlite3_stricmp(suffix, POSITIONS_SUFFIX) == 0;
}

/* ---- Planning -------------------------------------------------------------------------------- */

/* The slot of a comparison with a column of bounds, or -1. */
static int bound_slot(int first, int op) {
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
        return first + PLAN_EQ;
    case SQLITE_INDEX_CONSTRAINT_GT:
        return first + PLAN_GT;
    case SQLITE_INDEX_CONSTRAINT_GE:
        return first + PLAN_GE;
    case SQLITE_INDEX_CONSTRAINT_LT:
        return first + PLAN_LT;
    case SQLITE_INDEX_CONSTRAINT_LE:
        return first + PLAN_LE;
    default:
        return -1;
    }
}

static int slot_of(const consumer_table *table, const struct sqlite3_index_constraint *offered) {
    bool equals = offered->op == SQLITE_INDEX_CONSTRAINT_EQ;

    switch (offered->iColumn) {
    case CONSUMER_COLUMN_SHARD:
        return equals ? CONSUMER_SHARD : -1;
    case CONSUMER_COLUMN_OFFSET:
        return bound_slot(CONSUMER_OFFSET_EQ, offered->op);
    case CONSUMER_COLUMN_TIMESTAMP:
        return bound_slot(CONSUMER_TIMESTAMP_EQ, offered->op);
    case CONSUMER_COLUMN_LOG: /* a created table has its log and group: SQLite compares */
        return equals && table->eponymous ? CONSUMER_LOG : -1;
    case CONSUMER_COLUMN_GROUP:
        return equals && table->eponymous ? CONSUMER_GROUP : -1;
    case CONSUMER_COLUMN_MEMBER:
        return equals ? CONSUMER_MEMBER : -1;
    case CONSUMER_COLUMN_MEMBERS:
        return equals ? CONSUMER_MEMBERS : -1;
    default:
        return -1;
    }
}

/* A literal right side is no part of a row value, of which SQLite would hand over the first
** comparison only. */
static bool is_exact(sqlite3_index_info *info, int index) {
    int op = info->aConstraint[index].op;
    sqlite3_value *value = NULL;

    return (op != SQLITE_INDEX_CONSTRAINT_GE && op != SQLITE_INDEX_CONSTRAINT_LE) ||
           sqlite3_vtab_rhs_value(info, index, &value) == SQLITE_OK;
}

/* Take what can be taken.  False: an argument is not known before another table's row is.
** *exact: what is taken is all that restricts the rows; *limit: the LIMIT, if it may be taken. */
static bool take_constraints(const consumer_table *table, sqlite3_index_info *info,
                             int source[CONSUMER_SLOT_COUNT], bool *exact, int *limit) {
    *exact = true;
    *limit = -1;
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *offered = &info->aConstraint[i];
        int slot;

        if (offered->op == SQLITE_INDEX_CONSTRAINT_LIMIT) {
            *limit = offered->usable ? i : *limit;
            continue;
        }
        slot = offered->op == SQLITE_INDEX_CONSTRAINT_OFFSET ? -1 : slot_of(table, offered);
        if (slot >= 0 && slot <= CONSUMER_MEMBERS && !offered->usable) {
            return false;
        }
        if (slot < 0 || !offered->usable || source[slot] >= 0) {
            *exact = false;
            continue;
        }
        source[slot] = i;
        *exact = *exact && is_exact(info, i) && !sqlite3_vtab_in(info, i, -1);
    }
    return true;
}

/* Shard, then offset; a single shard is as good as ordered by shard. */
static bool takes_order(const sqlite3_index_info *info, bool one_shard) {
    int next = CONSUMER_COLUMN_SHARD;

    for (int i = 0; i < info->nOrderBy; i++) {
        if (info->aOrderBy[i].desc || next > CONSUMER_COLUMN_OFFSET) {
            return false;
        }
        if (one_shard && next == CONSUMER_COLUMN_SHARD &&
            info->aOrderBy[i].iColumn == CONSUMER_COLUMN_OFFSET) {
            next = CONSUMER_COLUMN_OFFSET;
        }
        if (info->aOrderBy[i].iColumn != next++) {
            return false;
        }
    }
    return true;
}

static char *words_of(unsigned flags) {
    static const char *const words[] = {
        "log=?",        "group=?",     "member=?",     "members=?", "shard=?",     "offset=?",
        "offset>?",     "offset>=?",   "offset<?",     "offset<=?", "timestamp=?", "timestamp>?",
        "timestamp>=?", "timestamp<?", "timestamp<=?", "LIMIT ?"};
    sqlite3_str *text = sqlite3_str_new(NULL);

    static_assert(sizeof words / sizeof words[0] == CONSUMER_SLOT_COUNT, "words for each slot");
    sqlite3_str_appendall(text, "pending entries");
    for (int slot = 0; slot < CONSUMER_SLOT_COUNT; slot++) {
        if ((flags & (1u << slot)) != 0) {
            sqlite3_str_appendf(text, " %s", words[slot]);
        }
    }
    sqlite3_str_appendall(text, (flags & CONSUMER_ORDERED) != 0 ? " ORDER BY shard, offset" : "");
    return sqlite3_str_finish(text);
}

static int table_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    consumer_table *table = (consumer_table *)base;
    int source[CONSUMER_SLOT_COUNT];
    unsigned flags = 0;
    int argument = 0;
    int limit;
    bool exact;
    bool ordered;

    for (int slot = 0; slot < CONSUMER_SLOT_COUNT; slot++) {
        source[slot] = -1;
    }
    if (!take_constraints(table, info, source, &exact, &limit)) {
        return SQLITE_CONSTRAINT;
    }
    ordered =
        info->nOrderBy > 0 && takes_order(info, table->has_shard || source[CONSUMER_SHARD] >= 0);
    if (exact && limit >= 0 && (ordered || info->nOrderBy == 0)) {
        source[CONSUMER_LIMIT] = limit;
    }
    for (int slot = 0; slot < CONSUMER_SLOT_COUNT; slot++) {
        if (source[slot] >= 0) {
            info->aConstraintUsage[source[slot]].argvIndex = ++argument;
            info->aConstraintUsage[source[slot]].omit = 1;
            flags |= 1u << slot;
        }
    }
    flags |= ordered ? CONSUMER_ORDERED : 0;
    info->idxNum = (int)flags;
    info->idxStr = words_of(flags);
    info->needToFreeIdxStr = 1;
    info->orderByConsumed = ordered;
    info->estimatedRows = ROWS_UNKNOWN / (argument + 1);
    info->estimatedCost = (double)info->estimatedRows;
    return info->idxStr != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

/* ---- Writing and transactions ---------------------------------------------------------------- */

static int table_update(sqlite3_vtab *base, int count, sqlite3_value **values,
                        sqlite3_int64 *rowid) {
    bool nothing = count > 1;

    for (int i = 0; i < count; i++) {
        nothing = nothing && sqlite3_value_type(values[i]) == SQLITE_NULL;
    }
    if (!nothing) {
        return report_refusal(&base->zErrMsg, SQLITE_ERROR,
                              "%s shows what is to be read: acknowledge with comet_ack(), append "
                              "to comet_shard",
                              ((consumer_table *)base)->self.name);
    }
    *rowid = 0;
    return SQLITE_OK;
}

static int table_begin(sqlite3_vtab *base) {
    consumer_table *table = (consumer_table *)base;

    transaction_join(table->connection, &table->joined);
    return SQLITE_OK;
}

static int table_sync(sqlite3_vtab *base) {
    comet_error error;

    if (transaction_prepare(((consumer_table *)base)->connection, &error) != COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    return SQLITE_OK;
}

static int table_commit(sqlite3_vtab *base) {
    consumer_table *table = (consumer_table *)base;

    transaction_publish(table->connection);
    transaction_leave(table->connection, &table->joined);
    return SQLITE_OK;
}

static int table_rollback(sqlite3_vtab *base) {
    consumer_table *table = (consumer_table *)base;

    transaction_rollback(table->connection);
    transaction_leave(table->connection, &table->joined);
    return SQLITE_OK;
}

static int table_savepoint(sqlite3_vtab *base, int level) {
    comet_error error;

    if (transaction_savepoint(((consumer_table *)base)->connection, level, &error) != COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    return SQLITE_OK;
}

static int table_release(sqlite3_vtab *base, int level) {
    transaction_release(((consumer_table *)base)->connection, level);
    return SQLITE_OK;
}

static int table_rollback_to(sqlite3_vtab *base, int level) {
    transaction_rollback_to(((consumer_table *)base)->connection, level);
    return SQLITE_OK;
}

static int table_integrity(sqlite3_vtab *base, const char *schema, const char *name, int flags,
                           char **findings) {
    const consumer_table *table = (const consumer_table *)base;
    shard_range shown = {table->has_shard ? table->self.shard : 0,
                         table->has_shard ? table->self.shard : UINT32_MAX};

    return integrity_check(table->connection, table->self.directory, shown, schema, name, flags,
                           findings);
}

#define CONSUMER_MODULE(update)                                                                    \
    CHECKED_MODULE(table_integrity, .xCreate = table_connect, .xConnect = table_connect,           \
                   .xBestIndex = table_best_index, .xDisconnect = table_disconnect,                \
                   .xDestroy = table_destroy, .xOpen = consumer_cursor_open,                       \
                   .xClose = consumer_cursor_close, .xFilter = consumer_cursor_filter,             \
                   .xNext = consumer_cursor_next, .xEof = consumer_cursor_eof,                     \
                   .xColumn = consumer_cursor_column, .xRowid = consumer_cursor_rowid,             \
                   .xUpdate = update, .xBegin = table_begin, .xSync = table_sync,                  \
                   .xCommit = table_commit, .xRollback = table_rollback, .xRename = table_rename,  \
                   .xSavepoint = table_savepoint, .xRelease = table_release,                       \
                   .xRollbackTo = table_rollback_to, .xShadowName = table_shadow_name)

int consumer_table_register(connection *used) {
    static const checked_module writing = CONSUMER_MODULE(table_update);
    static const checked_module reading = CONSUMER_MODULE(NULL);

    return sqlite3_create_module_v2(used->db, "comet_consumer",
                                    used->readonly ? &reading.methods : &writing.methods,
                                    connection_share(used), connection_release);
}
