/* shard_cursor.c -- reading comet_shard.
**
** Decides: how a plan (planner.h) becomes the range of a core cursor.  Rows are read lazily:
** nothing touches an entry's bytes until its data is asked for.
*/
#include <string.h>

#include "report.h"
#include "scan.h"
#include "shard_table.h"

typedef struct shard_cursor {
    sqlite3_vtab_cursor base; /* first: SQLite's view of it */
    comet_cursor *cursor;
    open_shard *shard;  /* that `cursor` reads */
    sqlite3_value *log; /* the log as the query named it, so that log='x' is true of its rows */
    uint64_t left;      /* rows that LIMIT still allows, this one included */
    bool at_end;
} shard_cursor;

int shard_cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor) {
    shard_cursor *opened = sqlite3_malloc64(sizeof *opened);

    (void)base;
    if (opened == NULL) {
        return SQLITE_NOMEM;
    }
    memset(opened, 0, sizeof *opened);
    opened->at_end = true;
    *cursor = &opened->base;
    return SQLITE_OK;
}

int shard_cursor_close(sqlite3_vtab_cursor *base) {
    shard_cursor *cursor = (shard_cursor *)base;

    comet_cursor_close(cursor->cursor);
    sqlite3_value_free(cursor->log);
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static shard_table *table_of(const shard_cursor *cursor) {
    return (shard_table *)cursor->base.pVtab;
}

static int fail(shard_cursor *cursor, const comet_error *error) {
    cursor->at_end = true;
    return report(&cursor->base.pVtab->zErrMsg, error);
}

static comet_status use_shard(shard_cursor *cursor, const scan *asked, comet_error *error) {
    shard_table *table = table_of(cursor);
    open_shard *shard = NULL;
    comet_status status =
        table->common.eponymous
            ? shard_table_target(table, asked->log, asked->shard, false, &shard, error)
            : shard_table_open(table, false, &shard, error);

    if (status != COMET_OK || shard == cursor->shard) {
        return status;
    }
    comet_cursor_close(cursor->cursor);
    cursor->cursor = NULL;
    cursor->shard = NULL;
    status = comet_cursor_open(shard->shard, &cursor->cursor, error);
    if (status == COMET_OK) {
        cursor->shard = shard;
    }
    return status;
}

static comet_status go_to_first(shard_cursor *cursor, const scan *asked, comet_error *error) {
    comet_range range;
    comet_status status;

    if (scan_is_empty(asked)) {
        return COMET_DONE;
    }
    scan_range(asked, &range);
    status = comet_cursor_seek(cursor->cursor, cursor->shard->txn, &range, error);
    if (status == COMET_OK && asked->skip > 0) {
        status = comet_cursor_skip(cursor->cursor, asked->skip, error);
    }
    return status;
}

int shard_cursor_filter(sqlite3_vtab_cursor *base, int number, const char *words, int count,
                        sqlite3_value **values) {
    shard_cursor *cursor = (shard_cursor *)base;
    comet_error error;
    comet_status status;
    scan asked;

    (void)words;
    (void)count;
    scan_read((unsigned)number, values, &asked);
    cursor->left = asked.limit;
    cursor->at_end = true;
    status = use_shard(cursor, &asked, &error);
    if (status == COMET_OK) {
        status = table_keep_log(asked.log, &cursor->log, &error);
    }
    if (status == COMET_OK) {
        status = go_to_first(cursor, &asked, &error);
    }
    if (status != COMET_OK && status != COMET_DONE) {
        return fail(cursor, &error);
    }
    cursor->at_end = status == COMET_DONE;
    return SQLITE_OK;
}

int shard_cursor_next(sqlite3_vtab_cursor *base) {
    shard_cursor *cursor = (shard_cursor *)base;
    comet_error error;
    comet_status status;

    if (--cursor->left == 0) {
        cursor->at_end = true;
        return SQLITE_OK;
    }
    status = comet_cursor_next(cursor->cursor, &error);
    if (status != COMET_OK) {
        if (status != COMET_DONE) {
            return fail(cursor, &error);
        }
        cursor->at_end = true;
    }
    return SQLITE_OK;
}

int shard_cursor_eof(sqlite3_vtab_cursor *base) {
    return ((shard_cursor *)base)->at_end;
}

int shard_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    *rowid = (sqlite3_int64)comet_cursor_offset(((shard_cursor *)base)->cursor);
    return SQLITE_OK;
}

static comet_status give_timestamp(shard_cursor *cursor, sqlite3_context *context,
                                   comet_error *error) {
    int64_t timestamp = 0;
    comet_status status = comet_cursor_timestamp(cursor->cursor, &timestamp, error);

    if (status == COMET_OK) {
        sqlite3_result_int64(context, timestamp);
    }
    return status;
}

static comet_status give_data(shard_cursor *cursor, sqlite3_context *context, comet_error *error) {
    const void *data = NULL;
    size_t size = 0;
    comet_status status = comet_cursor_data(cursor->cursor, &data, &size, error);

    if (status == COMET_OK) {
        result_entry(context, data, size, table_of(cursor)->common.type);
    }
    return status;
}

int shard_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column) {
    shard_cursor *cursor = (shard_cursor *)base;
    comet_status status = COMET_OK;
    comet_error error;

    switch ((shard_column)column) {
    case SHARD_COLUMN_OFFSET:
        sqlite3_result_int64(context, (sqlite3_int64)comet_cursor_offset(cursor->cursor));
        break;
    case SHARD_COLUMN_TIMESTAMP:
        status = give_timestamp(cursor, context, &error);
        break;
    case SHARD_COLUMN_DATA:
        status = give_data(cursor, context, &error);
        break;
    case SHARD_COLUMN_LOG:
        status = table_give_log(&table_of(cursor)->common, cursor->log, context, &error);
        break;
    case SHARD_COLUMN_SHARD:
        sqlite3_result_int64(context, (sqlite3_int64)cursor->shard->id);
        break;
    }
    return status == COMET_OK ? SQLITE_OK : report(&base->pVtab->zErrMsg, &error);
}
