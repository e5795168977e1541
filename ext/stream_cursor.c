/* stream_cursor.c -- reading comet_stream.
**
** Decides: which shards a query is about.  They are looked up anew by each statement, so that those
** made by other processes are found; a query that names its shards looks at no others.
*/
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "scan.h"
#include "stream_merge.h"
#include "stream_table.h"

#define ID_BYTES_MAX 40

typedef struct stream_cursor {
    sqlite3_vtab_cursor base; /* first: SQLite's view of it */
    stream_merge *merge;
    open_log *log;
    sqlite3_value *log_named; /* as the query named it */
    sqlite3_value *stream;
    uint64_t left; /* rows that LIMIT still allows, this one included */
    bool at_end;
} stream_cursor;

int stream_cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor) {
    stream_cursor *opened = sqlite3_malloc64(sizeof *opened);

    (void)base;
    if (opened == NULL) {
        return SQLITE_NOMEM;
    }
    memset(opened, 0, sizeof *opened);
    opened->at_end = true;
    if (stream_merge_new(&opened->merge, NULL) != COMET_OK) {
        sqlite3_free(opened);
        return SQLITE_NOMEM;
    }
    *cursor = &opened->base;
    return SQLITE_OK;
}

int stream_cursor_close(sqlite3_vtab_cursor *base) {
    stream_cursor *cursor = (stream_cursor *)base;

    stream_merge_free(cursor->merge);
    sqlite3_value_free(cursor->log_named);
    sqlite3_value_free(cursor->stream);
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static stream_table *table_of(const stream_cursor *cursor) {
    return (stream_table *)cursor->base.pVtab;
}

/* ---- Which shards ---------------------------------------------------------------------------- */

/* A shard that is not there has no entries. */
static comet_status add_shard(stream_cursor *cursor, uint32_t id, comet_error *error) {
    open_shard *shard = NULL;
    comet_status status = connection_shard(table_of(cursor)->common.connection,
                                           cursor->log->directory, id, false, &shard, error);

    if (status == COMET_OK) {
        status = stream_merge_add(cursor->merge, shard, error);
    }
    return status == COMET_NOT_FOUND ? COMET_OK : status;
}

static int compare_ids(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

/* The values of shard IN (...) that are numbers of shards within the interval. */
static comet_status read_list(const scan *asked, uint32_t **ids, size_t *count,
                              comet_error *error) {
    sqlite3_value *value = NULL;
    size_t capacity = 0;

    *count = 0;
    for (int rc = sqlite3_vtab_in_first(asked->shard_list, &value);
         rc == SQLITE_OK && value != NULL; rc = sqlite3_vtab_in_next(asked->shard_list, &value)) {
        interval one = asked->shards;

        interval_narrow(&one, PLAN_EQ, value);
        if (one.empty) {
            continue;
        }
        if (*count == capacity) {
            uint32_t *grown;

            capacity = capacity > 0 ? 2 * capacity : 16;
            grown = sqlite3_realloc64(*ids, capacity * sizeof *grown);
            if (grown == NULL) {
                return failure_no_memory(error);
            }
            *ids = grown;
        }
        (*ids)[(*count)++] = (uint32_t)one.first;
    }
    return COMET_OK;
}

static comet_status add_listed(stream_cursor *cursor, const scan *asked, comet_error *error) {
    uint32_t *ids = NULL;
    size_t count = 0;
    comet_status status = read_list(asked, &ids, &count, error);

    if (status == COMET_OK && count > 0) {
        qsort(ids, count, sizeof *ids, compare_ids);
    }
    for (size_t i = 0; i < count && status == COMET_OK; i++) {
        if (i == 0 || ids[i] != ids[i - 1]) {
            status = add_shard(cursor, ids[i], error);
        }
    }
    sqlite3_free(ids);
    return status;
}

static comet_status add_discovered(stream_cursor *cursor, const scan *asked, comet_error *error) {
    connection *used = table_of(cursor)->common.connection;
    open_log *log = cursor->log;
    comet_status status = connection_discover(log, error);

    for (size_t i = 0; i < log->known_count && status == COMET_OK; i++) {
        known_shard *known = &log->known[i];

        if (known->id < asked->shards.first || known->id > asked->shards.last) {
            continue;
        }
        status = connection_known_shard(used, log, known, error);
        if (status == COMET_OK) {
            status = stream_merge_add(cursor->merge, known->shard, error);
        } else if (status == COMET_NOT_FOUND) {
            status = COMET_OK;
        }
    }
    return status;
}

static comet_status add_shards(stream_cursor *cursor, const scan *asked, comet_error *error) {
    if (asked->shard_list != NULL) {
        return add_listed(cursor, asked, error);
    }
    if (asked->shards.first == asked->shards.last) {
        return add_shard(cursor, (uint32_t)asked->shards.first, error);
    }
    return add_discovered(cursor, asked, error);
}

/* ---- Going ----------------------------------------------------------------------------------- */

static comet_status find_first(stream_cursor *cursor, scan *asked, comet_error *error) {
    stream_table *table = table_of(cursor);
    comet_status status = stream_table_log(table, asked->log, false, &cursor->log, error);

    if (status == COMET_OK) {
        status = table_keep_log(asked->log, &cursor->log_named, error);
    }
    if (status == COMET_OK) {
        status = table_keep_log(asked->stream, &cursor->stream, error);
    }
    if (table->shards > 0 && asked->shards.last >= table->shards) {
        asked->shards.last = (int64_t)table->shards - 1;
        asked->shards.empty = asked->shards.empty || asked->shards.first > asked->shards.last;
    }
    /* stream=NULL is true of no row. */
    asked->shards.empty =
        asked->shards.empty || (asked->stream != NULL && !value_is_given(asked->stream));
    stream_merge_reset(cursor->merge, asked);
    if (status == COMET_OK && !scan_is_empty(asked)) {
        status = add_shards(cursor, asked, error);
    }
    return status == COMET_OK ? stream_merge_start(cursor->merge, asked->skip, error) : status;
}

static int go_on(stream_cursor *cursor, comet_status status, const comet_error *error) {
    cursor->at_end = status != COMET_OK;
    if (status != COMET_OK && status != COMET_DONE) {
        return report(&cursor->base.pVtab->zErrMsg, error);
    }
    return SQLITE_OK;
}

int stream_cursor_filter(sqlite3_vtab_cursor *base, int number, const char *words, int count,
                         sqlite3_value **values) {
    stream_cursor *cursor = (stream_cursor *)base;
    comet_error error;
    scan asked;

    (void)words;
    (void)count;
    scan_read((unsigned)number, values, &asked);
    cursor->left = asked.limit;
    return go_on(cursor, find_first(cursor, &asked, &error), &error);
}

int stream_cursor_next(sqlite3_vtab_cursor *base) {
    stream_cursor *cursor = (stream_cursor *)base;
    comet_error error;

    if (--cursor->left == 0) {
        cursor->at_end = true;
        return SQLITE_OK;
    }
    return go_on(cursor, stream_merge_next(cursor->merge, &error), &error);
}

int stream_cursor_eof(sqlite3_vtab_cursor *base) {
    return ((stream_cursor *)base)->at_end;
}

int stream_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    const stream_merge *merge = ((stream_cursor *)base)->merge;

    *rowid = scan_rowid(stream_merge_shard(merge), comet_cursor_offset(stream_merge_cursor(merge)));
    return SQLITE_OK;
}

/* ---- Columns --------------------------------------------------------------------------------- */

static comet_status give_timestamp(stream_cursor *cursor, sqlite3_context *context,
                                   comet_error *error) {
    int64_t timestamp = 0;
    comet_status status =
        comet_cursor_timestamp(stream_merge_cursor(cursor->merge), &timestamp, error);

    if (status == COMET_OK) {
        sqlite3_result_int64(context, timestamp);
    }
    return status;
}

static comet_status give_data(stream_cursor *cursor, sqlite3_context *context, comet_error *error) {
    const void *data = NULL;
    size_t size = 0;
    comet_status status =
        comet_cursor_data(stream_merge_cursor(cursor->merge), &data, &size, error);

    if (status == COMET_OK) {
        result_entry(context, data, size, table_of(cursor)->common.type);
    }
    return status;
}

static void give_id(const stream_cursor *cursor, sqlite3_context *context) {
    char text[ID_BYTES_MAX];

    sqlite3_snprintf((int)sizeof text, text, "%u-%llu", stream_merge_shard(cursor->merge),
                     (unsigned long long)comet_cursor_offset(stream_merge_cursor(cursor->merge)));
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static void give_stream(const stream_cursor *cursor, sqlite3_context *context) {
    const stream_table *table = table_of(cursor);

    if (cursor->stream != NULL) {
        sqlite3_result_value(context, cursor->stream);
    } else if (table->stream != NULL) {
        sqlite3_result_text(context, table->stream, -1, SQLITE_TRANSIENT);
    }
}

int stream_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column) {
    stream_cursor *cursor = (stream_cursor *)base;
    comet_status status = COMET_OK;
    comet_error error;

    switch ((stream_column)column) {
    case STREAM_COLUMN_SHARD:
        sqlite3_result_int64(context, (sqlite3_int64)stream_merge_shard(cursor->merge));
        break;
    case STREAM_COLUMN_OFFSET:
        sqlite3_result_int64(
            context, (sqlite3_int64)comet_cursor_offset(stream_merge_cursor(cursor->merge)));
        break;
    case STREAM_COLUMN_TIMESTAMP:
        status = give_timestamp(cursor, context, &error);
        break;
    case STREAM_COLUMN_DATA:
        status = give_data(cursor, context, &error);
        break;
    case STREAM_COLUMN_LOG:
        status = table_give_log(&table_of(cursor)->common, cursor->log_named, context, &error);
        break;
    case STREAM_COLUMN_STREAM:
        give_stream(cursor, context);
        break;
    case STREAM_COLUMN_KEY: /* is not kept: it is NULL */
        break;
    case STREAM_COLUMN_ID:
        give_id(cursor, context);
        break;
    }
    return status == COMET_OK ? SQLITE_OK : report(&base->pVtab->zErrMsg, &error);
}
