/* shard_write.c -- INSERT INTO comet_shard: to which log and shard a row goes. */
#include "report.h"
#include "row.h"
#include "shard_table.h"

/* A created table has its log and its shard: a row may repeat them, not contradict them. */
static int check_place(entry_table *table, sqlite3_value *log, sqlite3_value *shard) {
    comet_error error;
    int64_t id;
    bool same = true;

    if (value_is_given(shard)) {
        same = value_integer(shard, &id) && id == (int64_t)table->self.shard;
    }
    if (same && value_is_given(log) && table_is_own_log(table, log, &same, &error) != COMET_OK) {
        return report(&table->base.zErrMsg, &error);
    }
    return same ? SQLITE_OK
                : row_refuse(table, "this table has its log and shard; to write elsewhere, leave "
                                    "them out here and INSERT INTO comet_shard(log, shard, data)");
}

static int find_place(shard_table *table, sqlite3_value *log, sqlite3_value *shard,
                      open_shard **place) {
    comet_error error;
    comet_status status;

    if (table->common.eponymous) {
        status = shard_table_target(table, log, shard, true, place, &error);
    } else {
        int rc = check_place(&table->common, log, shard);

        if (rc != SQLITE_OK) {
            return rc;
        }
        status = shard_table_open(table, true, place, &error);
    }
    return status == COMET_OK ? SQLITE_OK : report(&table->common.base.zErrMsg, &error);
}

int shard_table_update(sqlite3_vtab *base, int count, sqlite3_value **values,
                       sqlite3_int64 *rowid) {
    shard_table *table = (shard_table *)base;
    sqlite3_value **columns = values + ROW_FIRST_COLUMN;
    open_shard *place = NULL;
    uint64_t offset = 0;
    row read;
    int rc = row_check_insert(&table->common, count, values);

    if (rc == SQLITE_OK) {
        rc = row_read(&table->common, values, SHARD_COLUMN_OFFSET, SHARD_COLUMN_TIMESTAMP,
                      SHARD_COLUMN_DATA, &read);
    }
    if (rc == SQLITE_OK) {
        rc = find_place(table, columns[SHARD_COLUMN_LOG], columns[SHARD_COLUMN_SHARD], &place);
    }
    if (rc == SQLITE_OK) {
        rc = row_append(&table->common, place, &read, &offset);
    }
    if (rc == SQLITE_OK) {
        *rowid = (sqlite3_int64)offset;
    }
    return rc;
}
