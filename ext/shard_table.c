/* shard_table.c -- the comet_shard module: connecting and planning. */
#include "shard_table.h"

#include <assert.h>
#include <string.h>

#include "arguments.h"
#include "integrity.h"
#include "offer.h"
#include "report.h"

/* Rows we reckon with when the shard is not known at planning. */
#define ROWS_UNKNOWN 1000000u

/* ---- Connecting ------------------------------------------------------------------------------ */

comet_status shard_table_open(shard_table *table, bool create, open_shard **shard,
                              comet_error *error) {
    entry_table *common = &table->common;
    comet_status status;

    if (table->shard == NULL && common->eponymous) {
        return shard_table_target(table, NULL, NULL, create, shard, error);
    }
    if (table->shard == NULL) {
        status = table_claim(common, create, error);
        if (status == COMET_OK) {
            status = connection_shard(common->connection, common->self.directory,
                                      common->self.shard, create, &table->shard, error);
        }
        if (status != COMET_OK) {
            return status;
        }
    }
    *shard = table->shard;
    return COMET_OK;
}

comet_status shard_table_target(shard_table *table, sqlite3_value *log, sqlite3_value *shard,
                                bool create, open_shard **target, comet_error *error) {
    bool is_default = !value_is_given(log) && !value_is_given(shard);
    log_target meant;
    comet_status status;

    assert(table->common.eponymous);
    if (is_default && table->shard != NULL) {
        *target = table->shard;
        return COMET_OK;
    }
    status = table_resolve(&table->common, log, &meant, error);
    if (status != COMET_OK) {
        return status;
    }
    if (value_is_given(shard)) {
        status = value_shard(shard, &meant.shard, error);
    }
    if (status == COMET_OK) {
        status = connection_shard(table->common.connection, meant.directory, meant.shard, create,
                                  target, error);
    }
    if (status == COMET_OK && is_default) {
        table->shard = *target;
    }
    log_target_clear(&meant);
    return status;
}

static comet_status configure(shard_table *table, int count, const char *const *texts,
                              comet_error *error) {
    table_arguments parsed;
    open_shard *shard;
    comet_status status = arguments_parse(ARGUMENTS_OF_SHARD, count, texts, &parsed, error);

    if (status == COMET_OK) {
        status = table_configure(&table->common, &parsed, error);
    }
    arguments_clear(&parsed);
    if (status == COMET_OK && table_is_creating(&table->common)) {
        status = shard_table_open(table, true, &shard, error);
    }
    return status;
}

static int table_connect(sqlite3 *db, void *shared, int argc, const char *const *argv,
                         sqlite3_vtab **result, char **message) {
    entry_table *made = table_new(shared, sizeof(shard_table), argv, argc);
    comet_error error;

    (void)db;
    if (made == NULL) {
        return SQLITE_NOMEM;
    }
    if (!made->eponymous &&
        configure((shard_table *)made, argc - 3, argv + 3, &error) != COMET_OK) {
        table_free(made);
        return report(message, &error);
    }
    /* NOT NULL tells SQLite that min() is the first row in order. */
    return table_declare(made,
                         "CREATE TABLE comet_shard(offset INTEGER NOT NULL,"
                         " timestamp INTEGER NOT NULL, data, log TEXT HIDDEN,"
                         " shard INTEGER HIDDEN)",
                         result);
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

static void gather_facts(shard_table *table, const offer *offered, plan_facts *facts) {
    const interval *offsets = &offered->offsets;
    const interval *times = &offered->times;
    bool is_other = (offered->made.flags & (PLAN_LOG_EQ | PLAN_SHARD_EQ)) != 0;
    open_shard *shard = NULL;

    memset(facts, 0, sizeof *facts);
    /* A shard that cannot be opened is no failure yet: the query may never run. */
    if (is_other || shard_table_open(table, false, &shard, NULL) != COMET_OK) {
        facts->rows_within = ROWS_UNKNOWN;
        facts->bounds_unknown[0] = true;
        facts->bounds_unknown[1] = true;
        facts->in_order = true;
        return;
    }
    memcpy(facts->bounds_unknown, offered->bounds_unknown, sizeof facts->bounds_unknown);
    facts->in_order = comet_shard_is_in_order(shard->shard);
    if (!offsets->empty && !times->empty) {
        facts->rows_within =
            comet_shard_estimate(shard->shard, (uint64_t)offsets->first, (uint64_t)offsets->last,
                                 times->first, times->last);
    }
}

static int table_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    shard_table *table = (shard_table *)base;
    offer offered = {.info = info,
                     .column_of = column_of,
                     .table_valued = table->common.eponymous,
                     .many_shards = false};
    plan_facts facts;
    int rc = offer_plan(&offered);

    if (rc == SQLITE_OK) {
        gather_facts(table, &offered, &facts);
        rc = offer_answer(&offered, &facts);
    }
    return rc;
}

static int table_integrity(sqlite3_vtab *base, const char *schema, const char *name, int flags,
                           char **findings) {
    const entry_table *table = (const entry_table *)base;
    shard_range own = {table->self.shard, table->self.shard};

    return integrity_check(table->connection, table->self.directory, own, schema, name, flags,
                           findings);
}

#define SHARD_MODULE(update)                                                                       \
    CHECKED_MODULE(table_integrity, .xCreate = table_connect, .xConnect = table_connect,           \
                   .xBestIndex = table_best_index, .xOpen = shard_cursor_open,                     \
                   .xClose = shard_cursor_close, .xFilter = shard_cursor_filter,                   \
                   .xNext = shard_cursor_next, .xEof = shard_cursor_eof,                           \
                   .xColumn = shard_cursor_column, .xRowid = shard_cursor_rowid,                   \
                   .xUpdate = update, TABLE_METHODS)

int shard_table_register(connection *used) {
    static const checked_module writing = SHARD_MODULE(shard_table_update);
    static const checked_module reading = SHARD_MODULE(NULL);

    return sqlite3_create_module_v2(used->db, "comet_shard",
                                    used->readonly ? &reading.methods : &writing.methods,
                                    connection_share(used), connection_release);
}
