/* row.c -- see row.h. */
#include "row.h"

#include "report.h"
#include "transaction.h"

static bool is_null(sqlite3_value *value) {
    return sqlite3_value_type(value) == SQLITE_NULL;
}

int row_refuse(entry_table *table, const char *why) {
    return report_refusal(&table->base.zErrMsg, SQLITE_CONSTRAINT, "%s: %s", table->self.name, why);
}

/* As SQLite refuses to change a table without xUpdate; SQLITE_CONSTRAINT would let UPDATE OR IGNORE
** pass over it in silence. */
int row_check_insert(entry_table *table, int count, sqlite3_value **values) {
    if (count > 1 && is_null(values[0])) {
        return SQLITE_OK;
    }
    return report_refusal(&table->base.zErrMsg, SQLITE_ERROR,
                          "%s is append-only: no UPDATE, no DELETE; old entries are deleted by "
                          "retention, see comet_retention()",
                          table->self.name);
}

static int read_timestamp(entry_table *table, sqlite3_value *value, int64_t *timestamp) {
    if (is_null(value)) {
        *timestamp = comet_now();
        return SQLITE_OK;
    }
    if (!value_integer(value, timestamp)) {
        return row_refuse(table, "timestamp must be an integer, nanoseconds since 1970-01-01 UTC; "
                                 "comet_ns() makes one of a date, NULL means now");
    }
    if (*timestamp < 0) {
        return row_refuse(table, "timestamp must not be negative; NULL means now");
    }
    return SQLITE_OK;
}

static int read_data(entry_table *table, sqlite3_value *value, row *read) {
    int size;

    if (is_null(value)) {
        return row_refuse(table, "data must not be NULL; an entry without bytes is ''");
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

int row_read(entry_table *table, sqlite3_value **values, int offset_column, int timestamp_column,
             int data_column, row *read) {
    sqlite3_value **columns = values + ROW_FIRST_COLUMN;
    int rc;

    if (!is_null(values[1]) || !is_null(columns[offset_column])) {
        return row_refuse(table, "offset is given by comet: leave it out, or NULL; "
                                 "last_insert_rowid() tells it afterwards");
    }
    rc = read_timestamp(table, columns[timestamp_column], &read->timestamp);
    return rc == SQLITE_OK ? read_data(table, columns[data_column], read) : rc;
}

int row_append(entry_table *table, open_shard *place, const row *read, uint64_t *offset) {
    comet_error error;

    if (transaction_begin(table->connection, place, &error) != COMET_OK ||
        comet_txn_append(place->txn, read->data, read->size, read->timestamp, offset, &error) !=
            COMET_OK) {
        return report(&table->base.zErrMsg, &error);
    }
    return SQLITE_OK;
}
