/* stream_table.c -- the comet_stream module: connecting and planning. */
#include "stream_table.h"

#include <string.h>

#include "arguments.h"
#include "integrity.h"
#include "offer.h"
#include "report.h"

/* Rows we reckon with when no shard is open yet. */
#define ROWS_UNKNOWN 1000000u

static void clear(entry_table *base) {
    stream_table *table = (stream_table *)base;

    sqlite3_free(table->stream);
    sqlite3_free(table->places);
}

comet_status stream_table_log(stream_table *table, sqlite3_value *log, bool create,
                              open_log **result, comet_error *error) {
    entry_table *common = &table->common;
    bool is_default = !common->eponymous || !value_is_given(log);
    log_target meant = {NULL, 0};
    comet_status status = COMET_OK;

    if (is_default && table->log != NULL) {
        *result = table->log;
        return COMET_OK;
    }
    status = common->eponymous ? table_resolve(common, log, &meant, error)
                               : table_claim(common, create, error);
    if (status == COMET_OK) {
        status = connection_log(common->connection,
                                common->eponymous ? meant.directory : common->self.directory,
                                create, result, error);
    }
    log_target_clear(&meant);
    if (status == COMET_OK && is_default) {
        table->log = *result;
    }
    return status;
}

static comet_status configure(stream_table *table, int count, const char *const *texts,
                              comet_error *error) {
    table_arguments parsed;
    open_log *log;
    comet_status status = arguments_parse(ARGUMENTS_OF_STREAM, count, texts, &parsed, error);

    if (status == COMET_OK) {
        table->stream = parsed.stream;
        parsed.stream = NULL;
        table->shards = parsed.shards;
        status = table_configure(&table->common, &parsed, error);
    }
    arguments_clear(&parsed);
    if (status == COMET_OK && table_is_creating(&table->common)) {
        status = stream_table_log(table, NULL, true, &log, error);
    }
    return status;
}

static int table_connect(sqlite3 *db, void *shared, int argc, const char *const *argv,
                         sqlite3_vtab **result, char **message) {
    entry_table *made = table_new(shared, sizeof(stream_table), argv, argc);
    comet_error error;

    (void)db;
    if (made == NULL) {
        return SQLITE_NOMEM;
    }
    made->clear = clear;
    sqlite3_randomness((int)sizeof(uint32_t), &((stream_table *)made)->spread_next);
    if (!made->eponymous &&
        configure((stream_table *)made, argc - 3, argv + 3, &error) != COMET_OK) {
        table_free(made);
        return report(message, &error);
    }
    /* NOT NULL tells SQLite that min() is the first row in order. */
    return table_declare(made,
                         "CREATE TABLE comet_stream(shard INTEGER NOT NULL,"
                         " offset INTEGER NOT NULL, timestamp INTEGER NOT NULL, data,"
                         " log TEXT HIDDEN, stream TEXT HIDDEN, \"key\" HIDDEN, id TEXT HIDDEN)",
                         result);
}

/* ---- Planning -------------------------------------------------------------------------------- */

static plan_column column_of(int column) {
    switch (column) {
    case -1:
        return PLAN_ROWID;
    case STREAM_COLUMN_SHARD:
        return PLAN_SHARD;
    case STREAM_COLUMN_OFFSET:
        return PLAN_OFFSET;
    case STREAM_COLUMN_TIMESTAMP:
        return PLAN_TIMESTAMP;
    case STREAM_COLUMN_LOG:
        return PLAN_LOG;
    case STREAM_COLUMN_STREAM:
        return PLAN_STREAM;
    case STREAM_COLUMN_ID:
        return PLAN_ID;
    default:
        return PLAN_OTHER_COLUMN;
    }
}

/* From the shards that are open already: planning must not cost more than a query. */
static void gather_facts(stream_table *table, const offer *offered, plan_facts *facts) {
    const interval *offsets = &offered->offsets;
    const interval *times = &offered->times;
    const interval *shards = &offered->shards;
    bool is_other = (offered->made.flags & PLAN_LOG_EQ) != 0;
    open_log *log = NULL;

    memset(facts, 0, sizeof *facts);
    facts->in_order = true;
    memcpy(facts->bounds_unknown, offered->bounds_unknown, sizeof facts->bounds_unknown);
    if (is_other || stream_table_log(table, NULL, false, &log, NULL) != COMET_OK ||
        log->shards == NULL) {
        facts->rows_within = ROWS_UNKNOWN;
        facts->bounds_unknown[0] = facts->bounds_unknown[1] = true;
        return;
    }
    if (offsets->empty || times->empty || shards->empty) {
        return;
    }
    for (const open_shard *shard = log->shards; shard != NULL; shard = shard->next) {
        if (shard->id >= shards->first && shard->id <= shards->last) {
            facts->rows_within +=
                comet_shard_estimate(shard->shard, (uint64_t)offsets->first,
                                     (uint64_t)offsets->last, times->first, times->last);
        }
    }
}

static int table_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    stream_table *table = (stream_table *)base;
    offer offered = {.info = info,
                     .column_of = column_of,
                     .table_valued = table->common.eponymous,
                     .many_shards = true};
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
    const stream_table *table = (const stream_table *)base;
    shard_range shown = {0, table->shards > 0 ? table->shards - 1 : UINT32_MAX};

    return integrity_check(table->common.connection, table->common.self.directory, shown, schema,
                           name, flags, findings);
}

#define STREAM_MODULE(update)                                                                      \
    CHECKED_MODULE(table_integrity, .xCreate = table_connect, .xConnect = table_connect,           \
                   .xBestIndex = table_best_index, .xOpen = stream_cursor_open,                    \
                   .xClose = stream_cursor_close, .xFilter = stream_cursor_filter,                 \
                   .xNext = stream_cursor_next, .xEof = stream_cursor_eof,                         \
                   .xColumn = stream_cursor_column, .xRowid = stream_cursor_rowid,                 \
                   .xUpdate = update, TABLE_METHODS)

int stream_table_register(connection *used) {
    static const checked_module writing = STREAM_MODULE(stream_table_update);
    static const checked_module reading = STREAM_MODULE(NULL);

    return sqlite3_create_module_v2(used->db, "comet_stream",
                                    used->readonly ? &reading.methods : &writing.methods,
                                    connection_share(used), connection_release);
}
