/* shard_table.c -- the comet_shard module: connecting, planning, transaction calls.
**
** The table is both eponymous (SELECT ... FROM comet_shard('telemetry', 0)) and to be created
** (CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry')), for which SQLite wants xCreate and
** xConnect to be the same function.  They must differ in one thing, though.  CREATE opens the log
** at once, applies the settings and fails when that fails.  Connecting opens nothing: a log that
** has gone must not make the schema unusable, so the error waits for the first use.
*/
#include "shard_table.h"

#include <assert.h>
#include <string.h>

#include "arguments.h"
#include "planner.h"
#include "report.h"
#include "transaction.h"

/* Rows we reckon with when the shard is not known at planning. */
#define ROWS_UNKNOWN 1000000u

/* ---- Connecting ------------------------------------------------------------------------------ */

static void table_free(shard_table *table) {
    connection_remove_table(table->connection, &table->self);
    comet_log_close(table->claim);
    sqlite3_free(table->self.schema);
    sqlite3_free(table->self.name);
    sqlite3_free(table->self.directory);
    connection_release(table->connection);
    sqlite3_free(table);
}

static shard_table *table_new(connection *used, const char *schema, const char *name) {
    shard_table *table = sqlite3_malloc64(sizeof *table);

    if (table == NULL) {
        return NULL;
    }
    memset(table, 0, sizeof *table);
    table->connection = connection_share(used);
    table->utf8 = connection_is_utf8(used);
    table->self.schema = sqlite3_mprintf("%s", schema);
    table->self.name = sqlite3_mprintf("%s", name);
    if (table->self.schema == NULL || table->self.name == NULL) {
        table_free(table);
        return NULL;
    }
    return table;
}

/* Hold a handle of our own with the settings of CREATE VIRTUAL TABLE: what contradicts another open
** table's is found here. */
static comet_status claim_settings(shard_table *table, bool create, comet_error *error) {
    if (!table->has_settings || table->claim != NULL || table->connection->readonly) {
        return COMET_OK;
    }
    return comet_log_open(table->self.directory, create ? COMET_OPEN_CREATE : 0, &table->settings,
                          &table->claim, error);
}

comet_status shard_table_open(shard_table *table, bool create, open_shard **shard,
                              comet_error *error) {
    comet_status status;

    if (table->shard == NULL && table->eponymous) {
        return shard_table_target(table, NULL, NULL, create, shard, error);
    }
    if (table->shard == NULL) {
        status = claim_settings(table, create, error);
        if (status == COMET_OK) {
            status = connection_shard(table->connection, table->self.directory, table->self.shard,
                                      create, &table->shard, error);
        }
        if (status != COMET_OK) {
            return status;
        }
    }
    *shard = table->shard;
    return COMET_OK;
}

static bool is_given(sqlite3_value *value) {
    return value != NULL && sqlite3_value_type(value) != SQLITE_NULL;
}

comet_status shard_table_target(shard_table *table, sqlite3_value *log, sqlite3_value *shard,
                                bool create, open_shard **target, comet_error *error) {
    bool is_default = !is_given(log) && !is_given(shard);
    const char *reference = NULL;
    log_target meant;
    comet_status status;

    assert(table->eponymous);
    if (is_default && table->shard != NULL) {
        *target = table->shard;
        return COMET_OK;
    }
    if (is_given(log)) {
        status = value_text(log, "the log", &reference, error);
        if (status != COMET_OK) {
            return status;
        }
    }
    status = connection_resolve(table->connection, reference, &meant, error);
    if (status != COMET_OK) {
        return status;
    }
    if (is_given(shard)) {
        status = value_shard(shard, &meant.shard, error);
    }
    if (status == COMET_OK) {
        status = connection_shard(table->connection, meant.directory, meant.shard, create, target,
                                  error);
    }
    if (status == COMET_OK && is_default) {
        table->shard = *target;
    }
    log_target_clear(&meant);
    return status;
}

/* SQLite does not tell xConnect whether CREATE VIRTUAL TABLE is running; but then it holds the
** write lock of the table's schema, which merely connecting seldom does. */
static bool is_creating(const shard_table *table) {
    return sqlite3_txn_state(table->connection->db, table->self.schema) == SQLITE_TXN_WRITE;
}

static comet_status configure_table(shard_table *table, int count, const char *const *texts,
                                    comet_error *error) {
    table_arguments parsed;
    open_shard *shard;
    comet_status status = arguments_parse(count, texts, false, &parsed, error);

    if (status == COMET_OK) {
        table->self.shard = parsed.shard;
        table->type = parsed.type;
        table->settings = parsed.settings;
        table->has_settings = parsed.has_settings;
        status = connection_directory(table->connection, parsed.log, &table->self.directory, error);
    }
    arguments_clear(&parsed);
    if (status == COMET_OK && is_creating(table)) {
        status = shard_table_open(table, true, &shard, error);
    }
    return status;
}

static int table_connect(sqlite3 *db, void *shared, int argc, const char *const *argv,
                         sqlite3_vtab **result, char **message) {
    shard_table *table = table_new(shared, argv[1], argv[2]);
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
    /* NOT NULL tells SQLite that min() is the first row in order. */
    rc = sqlite3_declare_vtab(db, "CREATE TABLE comet_shard(offset INTEGER NOT NULL,"
                                  " timestamp INTEGER NOT NULL, data, log TEXT HIDDEN,"
                                  " shard INTEGER HIDDEN)");
    if (rc != SQLITE_OK) {
        table_free(table);
        return rc;
    }
    sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    connection_protect(table->connection);
    if (!table->eponymous) {
        connection_add_table(table->connection, &table->self);
    }
    *result = &table->base;
    return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *base) {
    shard_table *table = (shard_table *)base;

    transaction_leave(table->connection, &table->joined);
    table_free(table);
    return SQLITE_OK;
}

/* DROP TABLE.  The log stays: a ROLLBACK connects the table again.  A dropped table hears nothing
** of the COMMIT, so it must not be the only one that could commit what this transaction
** inserted. */
static int table_destroy(sqlite3_vtab *base) {
    shard_table *table = (shard_table *)base;

    if (transaction_depends_on(table->connection, table->joined)) {
        return report_refusal(&base->zErrMsg, SQLITE_LOCKED,
                              "%s has uncommitted entries: COMMIT before DROP TABLE",
                              table->self.name);
    }
    return table_disconnect(base);
}

static int table_rename(sqlite3_vtab *base, const char *name) {
    shard_table *table = (shard_table *)base;
    char *copy = sqlite3_mprintf("%s", name);

    if (copy == NULL) {
        return SQLITE_NOMEM;
    }
    sqlite3_free(table->self.name);
    table->self.name = copy;
    return SQLITE_OK;
}

/* ---- Planning -------------------------------------------------------------------------------- */

static plan_column column_of(int column) {
    switch (column) {
    case -1:
    case SHARD_COLUMN_OFFSET:
        return PLAN_OFFSET;
    case SHARD_COLUMN_TIMESTAMP:
        return PLAN_TIMESTAMP;
    case SHARD_COLUMN_LOG:
        return PLAN_LOG;
    case SHARD_COLUMN_SHARD:
        return PLAN_SHARD;
    default:
        return PLAN_OTHER_COLUMN;
    }
}

static plan_operator operator_of(int op) {
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
    case SQLITE_INDEX_CONSTRAINT_IS: /* the same, as none of our columns is ever NULL */
        return PLAN_EQ;
    case SQLITE_INDEX_CONSTRAINT_GT:
        return PLAN_GT;
    case SQLITE_INDEX_CONSTRAINT_GE:
        return PLAN_GE;
    case SQLITE_INDEX_CONSTRAINT_LT:
        return PLAN_LT;
    case SQLITE_INDEX_CONSTRAINT_LE:
        return PLAN_LE;
    case SQLITE_INDEX_CONSTRAINT_LIMIT:
        return PLAN_LIMIT;
    case SQLITE_INDEX_CONSTRAINT_OFFSET:
        return PLAN_SKIP;
    default:
        return PLAN_OTHER_OPERATOR;
    }
}

static plan_constraint constraint_of(sqlite3_index_info *info, int index) {
    const struct sqlite3_index_constraint *offered = &info->aConstraint[index];
    sqlite3_value *value = NULL;
    plan_constraint constraint;

    constraint.comparison = operator_of(offered->op);
    constraint.column = constraint.comparison == PLAN_LIMIT || constraint.comparison == PLAN_SKIP
                            ? PLAN_NO_COLUMN
                            : column_of(offered->iColumn);
    constraint.usable = offered->usable != 0;
    constraint.literal = sqlite3_vtab_rhs_value(info, index, &value) == SQLITE_OK;
    return constraint;
}

/* Narrow the bounds by a taken constraint as far as its right side is known already. */
static void narrow_by_literal(sqlite3_index_info *info, const plan *made, int slot,
                              interval bounds[2], plan_facts *facts) {
    plan_column column = plan_slot_column(slot);
    int dimension = column == PLAN_TIMESTAMP ? 1 : 0;
    sqlite3_value *value = NULL;

    if (made->source[slot] < 0 || (column != PLAN_OFFSET && column != PLAN_TIMESTAMP)) {
        return;
    }
    if (sqlite3_vtab_rhs_value(info, made->source[slot], &value) == SQLITE_OK) {
        interval_narrow(&bounds[dimension], plan_slot_operator(slot), value);
    } else {
        facts->bounds_unknown[dimension] = true;
    }
}

static void gather_facts(shard_table *table, sqlite3_index_info *info, const plan *made,
                         plan_facts *facts) {
    interval bounds[2] = {{0, COMET_OFFSET_MAX, false}, {INT64_MIN, INT64_MAX, false}};
    bool is_other = (made->flags & (PLAN_LOG_EQ | PLAN_SHARD_EQ)) != 0;
    comet_shard_info shard_info;
    open_shard *shard = NULL;

    memset(facts, 0, sizeof *facts);
    for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
        narrow_by_literal(info, made, slot, bounds, facts);
    }
    /* A shard that cannot be opened is no failure yet: the query may never run. */
    if (is_other || shard_table_open(table, false, &shard, NULL) != COMET_OK ||
        comet_shard_describe(shard->shard, &shard_info, NULL) != COMET_OK) {
        facts->rows_within = ROWS_UNKNOWN;
        facts->bounds_unknown[0] = true;
        facts->bounds_unknown[1] = true;
        facts->in_order = true;
        return;
    }
    facts->in_order = shard_info.in_order;
    if (!bounds[0].empty && !bounds[1].empty) {
        facts->rows_within =
            comet_shard_estimate(shard->shard, (uint64_t)bounds[0].first, (uint64_t)bounds[0].last,
                                 bounds[1].first, bounds[1].last);
    }
}

static int hand_over(shard_table *table, sqlite3_index_info *info, const plan *made) {
    char words[PLAN_WORDS_BYTES];
    plan_facts facts;
    plan_price price;
    int argument = 0;

    for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
        if (made->source[slot] >= 0) {
            info->aConstraintUsage[made->source[slot]].argvIndex = ++argument;
            info->aConstraintUsage[made->source[slot]].omit = 1;
        }
    }
    gather_facts(table, info, made, &facts);
    plan_estimate(made, &facts, &price);
    plan_words(made->flags, words, sizeof words);
    info->idxNum = (int)made->flags;
    info->idxStr = sqlite3_mprintf("%s", words);
    info->needToFreeIdxStr = 1;
    info->orderByConsumed = (made->flags & PLAN_ORDERED) != 0;
    info->estimatedCost = price.cost;
    info->estimatedRows = price.rows;
    info->idxFlags = price.unique ? SQLITE_INDEX_SCAN_UNIQUE : 0;
    return info->idxStr != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

static int table_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    shard_table *table = (shard_table *)base;
    size_t constraint_count = (size_t)info->nConstraint;
    size_t order_count = (size_t)info->nOrderBy;
    plan_constraint *constraints = sqlite3_malloc64((constraint_count + 1) * sizeof *constraints);
    plan_order *orders = sqlite3_malloc64((order_count + 1) * sizeof *orders);
    int rc = SQLITE_NOMEM;
    plan made;

    if (constraints != NULL && orders != NULL) {
        plan_request request = {
            constraints,      info->nConstraint,
            orders,           info->nOrderBy,
            table->eponymous, sqlite3_libversion_number() >= SQLITE_VERSION_SAFE_SKIP};

        for (int i = 0; i < info->nConstraint; i++) {
            constraints[i] = constraint_of(info, i);
        }
        for (int i = 0; i < info->nOrderBy; i++) {
            orders[i].column = column_of(info->aOrderBy[i].iColumn);
            orders[i].descending = info->aOrderBy[i].desc != 0;
        }
        rc = plan_make(&request, &made) ? hand_over(table, info, &made) : SQLITE_CONSTRAINT;
    }
    sqlite3_free(orders);
    sqlite3_free(constraints);
    return rc;
}

/* ---- Transactions ---------------------------------------------------------------------------- */

static int table_begin(sqlite3_vtab *base) {
    shard_table *table = (shard_table *)base;

    transaction_join(table->connection, &table->joined);
    return SQLITE_OK;
}

static int table_sync(sqlite3_vtab *base) {
    comet_error error;

    if (transaction_prepare(((shard_table *)base)->connection, &error) != COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    return SQLITE_OK;
}

static int table_commit(sqlite3_vtab *base) {
    shard_table *table = (shard_table *)base;

    transaction_publish(table->connection);
    transaction_leave(table->connection, &table->joined);
    return SQLITE_OK;
}

static int table_rollback(sqlite3_vtab *base) {
    shard_table *table = (shard_table *)base;

    transaction_rollback(table->connection);
    transaction_leave(table->connection, &table->joined);
    return SQLITE_OK;
}

static int table_savepoint(sqlite3_vtab *base, int level) {
    comet_error error;

    if (transaction_savepoint(((shard_table *)base)->connection, level, &error) != COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    return SQLITE_OK;
}

static int table_release(sqlite3_vtab *base, int level) {
    transaction_release(((shard_table *)base)->connection, level);
    return SQLITE_OK;
}

static int table_rollback_to(sqlite3_vtab *base, int level) {
    transaction_rollback_to(((shard_table *)base)->connection, level);
    return SQLITE_OK;
}

#define SHARD_MODULE(update)                                                                       \
    {                                                                                              \
        .iVersion = 2, .xCreate = table_connect, .xConnect = table_connect,                        \
        .xBestIndex = table_best_index, .xDisconnect = table_disconnect,                           \
        .xDestroy = table_destroy, .xOpen = shard_cursor_open, .xClose = shard_cursor_close,       \
        .xFilter = shard_cursor_filter, .xNext = shard_cursor_next, .xEof = shard_cursor_eof,      \
        .xColumn = shard_cursor_column, .xRowid = shard_cursor_rowid, .xUpdate = update,           \
        .xBegin = table_begin, .xSync = table_sync, .xCommit = table_commit,                       \
        .xRollback = table_rollback, .xRename = table_rename, .xSavepoint = table_savepoint,       \
        .xRelease = table_release, .xRollbackTo = table_rollback_to                                \
    }

int shard_table_register(connection *used) {
    static const sqlite3_module writing = SHARD_MODULE(shard_table_update);
    static const sqlite3_module reading = SHARD_MODULE(NULL);

    return sqlite3_create_module_v2(used->db, "comet_shard", used->readonly ? &reading : &writing,
                                    connection_share(used), connection_release);
}
