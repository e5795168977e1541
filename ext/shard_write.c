/* shard_write.c -- INSERT INTO comet_shard.
**
** Decides: which rows are refused, and how.  A refused row is SQLITE_CONSTRAINT and comes before
** anything has changed, so that OR IGNORE and OR FAIL mean what they mean for ordinary tables.
*/
#include <string.h>

#include "report.h"
#include "shard_table.h"
#include "transaction.h"

/* Where xUpdate's values begin: after the old and the new rowid. */
#define FIRST_COLUMN 2

typedef struct row {
    const void *data;
    size_t size;
    int64_t timestamp;
} row;

static bool is_null(sqlite3_value *value) {
    return sqlite3_value_type(value) == SQLITE_NULL;
}

static int refuse_row(shard_table *table, const char *why) {
    return report_refusal(&table->base.zErrMsg, SQLITE_CONSTRAINT, "%s: %s", table->self.name, why);
}

/* As SQLite refuses to change a table without xUpdate; SQLITE_CONSTRAINT would let UPDATE OR IGNORE
** pass over it in silence. */
static int refuse_change(shard_table *table) {
    return report_refusal(&table->base.zErrMsg, SQLITE_ERROR,
                          "%s is append-only: no UPDATE, no DELETE; old entries are deleted by "
                          "retention, see comet_retention()",
                          table->self.name);
}

static int read_timestamp(shard_table *table, sqlite3_value *value, int64_t *timestamp) {
    if (is_null(value)) {
        *timestamp = comet_now();
        return SQLITE_OK;
    }
    if (!value_integer(value, timestamp)) {
        return refuse_row(table, "timestamp must be an integer, nanoseconds since 1970-01-01 UTC; "
                                 "comet_ns() makes one of a date, NULL means now");
    }
    if (*timestamp < 0) {
        return refuse_row(table, "timestamp must not be negative; NULL means now");
    }
    return SQLITE_OK;
}

static int read_data(shard_table *table, sqlite3_value *value, row *read) {
    int size;

    if (is_null(value)) {
        return refuse_row(table, "data must not be NULL; an entry without bytes is ''");
    }
    /* Before the bytes are asked for, which would expand a zeroblob. */
    size = sqlite3_value_bytes(value);
    if ((unsigned)size <= COMET_ENTRY_BYTES_MAX) {
        read->data = value_entry(value, table->utf8, &read->size);
        if (read->data == NULL && read->size > 0) {
            return SQLITE_NOMEM;
        }
    }
    if ((unsigned)size > COMET_ENTRY_BYTES_MAX || read->size > COMET_ENTRY_BYTES_MAX) {
        return report_refusal(&table->base.zErrMsg, SQLITE_TOOBIG,
                              "%s: data of %d bytes is over the limit of %u bytes for one entry; "
                              "store it in parts",
                              table->self.name, size, COMET_ENTRY_BYTES_MAX);
    }
    return SQLITE_OK;
}

static int read_row(shard_table *table, sqlite3_value **values, row *read) {
    sqlite3_value **columns = values + FIRST_COLUMN;
    int rc;

    if (!is_null(values[1]) || !is_null(columns[SHARD_COLUMN_OFFSET])) {
        return refuse_row(table, "offset is given by comet: leave it out, or NULL; "
                                 "last_insert_rowid() tells it afterwards");
    }
    rc = read_timestamp(table, columns[SHARD_COLUMN_TIMESTAMP], &read->timestamp);
    return rc == SQLITE_OK ? read_data(table, columns[SHARD_COLUMN_DATA], read) : rc;
}

/* A created table has its log and its shard: a row may repeat them, not contradict them. */
static int check_place(shard_table *table, sqlite3_value *log, sqlite3_value *shard) {
    comet_error error;
    log_target meant = {NULL, 0};
    const char *reference = NULL;
    int64_t id;
    bool same = true;

    if (!is_null(shard)) {
        same = value_integer(shard, &id) && id == (int64_t)table->self.shard;
    }
    if (same && !is_null(log)) {
        if (value_text(log, "the log", &reference, &error) != COMET_OK ||
            connection_resolve(table->connection, reference, &meant, &error) != COMET_OK) {
            return report(&table->base.zErrMsg, &error);
        }
        same = strcmp(meant.directory, table->self.directory) == 0;
        log_target_clear(&meant);
    }
    return same ? SQLITE_OK
                : refuse_row(table, "this table has its log and shard; to write elsewhere, leave "
                                    "them out here and INSERT INTO comet_shard(log, shard, data)");
}

static int find_place(shard_table *table, sqlite3_value *log, sqlite3_value *shard,
                      open_shard **place) {
    comet_error error;
    comet_status status;

    if (table->eponymous) {
        status = shard_table_target(table, log, shard, true, place, &error);
    } else {
        int rc = is_null(log) && is_null(shard) ? SQLITE_OK : check_place(table, log, shard);

        if (rc != SQLITE_OK) {
            return rc;
        }
        status = shard_table_open(table, true, place, &error);
    }
    return status == COMET_OK ? SQLITE_OK : report(&table->base.zErrMsg, &error);
}

int shard_table_update(sqlite3_vtab *base, int count, sqlite3_value **values,
                       sqlite3_int64 *rowid) {
    shard_table *table = (shard_table *)base;
    sqlite3_value **columns = values + FIRST_COLUMN;
    open_shard *place = NULL;
    uint64_t offset = 0;
    comet_error error;
    row read;
    int rc;

    if (count == 1 || !is_null(values[0])) {
        return refuse_change(table);
    }
    rc = read_row(table, values, &read);
    if (rc == SQLITE_OK) {
        rc = find_place(table, columns[SHARD_COLUMN_LOG], columns[SHARD_COLUMN_SHARD], &place);
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (transaction_begin(table->connection, place, &error) != COMET_OK ||
        comet_txn_append(place->txn, read.data, read.size, read.timestamp, &offset, &error) !=
            COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    *rowid = (sqlite3_int64)offset;
    return SQLITE_OK;
}
