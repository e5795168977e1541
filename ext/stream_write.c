/* stream_write.c -- INSERT INTO comet_stream.
**
** Decides: which shard a row goes to.  The one it names; else the one its key is routed to; else the
** shards take turns, row by row, beginning anywhere.  Where a log is shared by several processes
** (process_count), keys and turns go to the shards that are this process's.
*/
#include <string.h>

#include "patience.h"
#include "report.h"
#include "row.h"
#include "scan.h"
#include "stream_table.h"

static uint32_t shard_count(const stream_table *table) {
    return table->shards > 0 ? table->shards : COMET_STREAM_SHARDS;
}

/* This process's number; where it was not given one, a slot is taken, or waited for. */
static comet_status own_process_id(stream_table *table, open_log *log, int64_t *id,
                                   comet_error *error) {
    patience waiting = patience_for(table->common.connection->db);
    comet_status status = comet_log_setting(log->log, COMET_PROCESS_ID, id, error);

    while (status == COMET_OK && *id < 0) {
        status = comet_process_id(log->log, id, error);
        if (status == COMET_BUSY && patience_nap(&waiting)) {
            status = COMET_OK;
        }
    }
    return status;
}

static comet_status route(stream_table *table, open_log *log, sqlite3_value *key, uint32_t *id,
                          comet_error *error) {
    int64_t process_id = 0;
    int64_t process_count = 0;
    uint32_t number;
    uint32_t owned;
    comet_status status = comet_log_setting(log->log, COMET_PROCESS_COUNT, &process_count, error);

    if (status == COMET_OK && process_count > 1) {
        status = own_process_id(table, log, &process_id, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    owned = comet_owned_shards(shard_count(table), (uint32_t)process_id, (uint32_t)process_count);
    if (owned == 0) {
        return failure_set(error, COMET_READONLY,
                           "none of the %u shards belongs to process_id %lld of %lld: use more "
                           "shards than processes",
                           shard_count(table), (long long)process_id, (long long)process_count);
    }
    if (value_is_given(key)) {
        size_t size = 0;
        const void *bytes = value_entry(key, table->common.utf8, &size);

        if (bytes == NULL && size > 0) {
            return failure_no_memory(error);
        }
        number = comet_key_hash(bytes, size) % owned;
    } else {
        number = table->spread_next++ % owned;
    }
    *id = comet_owned_shard(number, (uint32_t)process_id, (uint32_t)process_count);
    return COMET_OK;
}

/* A created table has its log, its stream and its shards: a row may repeat them, not contradict
** them. */
static int check_place(stream_table *table, sqlite3_value **columns) {
    entry_table *common = &table->common;
    sqlite3_value *stream = columns[STREAM_COLUMN_STREAM];
    comet_error error;
    bool same = true;

    if (value_is_given(columns[STREAM_COLUMN_ID])) {
        return row_refuse(common, "id is given by comet: leave it out, or NULL");
    }
    if (common->eponymous) {
        return SQLITE_OK;
    }
    if (value_is_given(stream)) {
        const char *text = (const char *)sqlite3_value_text(stream);

        same = text != NULL && table->stream != NULL && strcmp(text, table->stream) == 0;
    }
    if (same && value_is_given(columns[STREAM_COLUMN_LOG]) &&
        table_is_own_log(common, columns[STREAM_COLUMN_LOG], &same, &error) != COMET_OK) {
        return report(&common->base.zErrMsg, &error);
    }
    return same ? SQLITE_OK
                : row_refuse(common, "this table has its log and stream; to write elsewhere, leave "
                                     "them out here and INSERT INTO comet_stream(log, key, data)");
}

static comet_status choose_shard(stream_table *table, open_log *log, sqlite3_value **columns,
                                 uint32_t *id, comet_error *error) {
    comet_status status;

    if (!value_is_given(columns[STREAM_COLUMN_SHARD])) {
        return route(table, log, columns[STREAM_COLUMN_KEY], id, error);
    }
    status = value_shard(columns[STREAM_COLUMN_SHARD], id, error);
    if (status == COMET_OK && table->shards > 0 && *id >= table->shards) {
        return failure_set(error, COMET_INVALID, "shard %u: %s has the shards 0 to %u", *id,
                           table->common.self.name, table->shards - 1);
    }
    return status;
}

/* The shard's handle.  Those of the table's own log are found by number. */
static comet_status find_place(stream_table *table, open_log *log, uint32_t id, open_shard **place,
                               comet_error *error) {
    bool is_kept = log == table->log && id < shard_count(table);
    comet_status status;

    if (is_kept && table->places == NULL) {
        size_t size = shard_count(table) * sizeof *table->places;

        table->places = sqlite3_malloc64(size);
        if (table->places == NULL) {
            return failure_no_memory(error);
        }
        memset(table->places, 0, size);
    }
    if (is_kept && table->places[id].shard != NULL) {
        *place = table->places[id].shard;
        return COMET_OK;
    }
    status = connection_shard(table->common.connection, log->directory, id, true, place, error);
    if (status == COMET_OK && is_kept) {
        table->places[id].shard = *place;
    }
    return status;
}

int stream_table_update(sqlite3_vtab *base, int count, sqlite3_value **values,
                        sqlite3_int64 *rowid) {
    stream_table *table = (stream_table *)base;
    sqlite3_value **columns = values + ROW_FIRST_COLUMN;
    open_shard *place = NULL;
    open_log *log = NULL;
    uint64_t offset = 0;
    uint32_t id = 0;
    comet_error error;
    row read;
    int rc = row_check_insert(&table->common, count, values);

    if (rc == SQLITE_OK) {
        rc = row_read(&table->common, values, STREAM_COLUMN_OFFSET, STREAM_COLUMN_TIMESTAMP,
                      STREAM_COLUMN_DATA, &read);
    }
    if (rc == SQLITE_OK) {
        rc = check_place(table, columns);
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (stream_table_log(table, columns[STREAM_COLUMN_LOG], true, &log, &error) != COMET_OK ||
        choose_shard(table, log, columns, &id, &error) != COMET_OK ||
        find_place(table, log, id, &place, &error) != COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    rc = row_append(&table->common, place, &read, &offset);
    if (rc == SQLITE_OK) {
        *rowid = scan_rowid(id, offset);
    }
    return rc;
}
