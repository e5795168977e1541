/* floor.c -- the do-nothing virtual table; see floor.h.
**
** Nothing here may cost more than it must: the figures of comet_shard are judged by their ratio to
** this table's.
*/
#include "floor.h"

#include "bench.h"

#include <stdlib.h>

typedef struct floor_table {
    sqlite3_vtab base; /* must be first */
    sqlite3_int64 scan_rows;
    sqlite3_int64 inserted;
    sqlite3_int64 checksum; /* so that the values read are used */
} floor_table;

typedef struct floor_cursor {
    sqlite3_vtab_cursor base; /* must be first */
    sqlite3_int64 row;
    sqlite3_int64 end;
} floor_cursor;

enum { COLUMN_OFFSET, COLUMN_TIMESTAMP, COLUMN_DATA };

static int floor_connect(sqlite3 *db, void *context, int argc, const char *const *argv,
                         sqlite3_vtab **vtab, char **message) {
    floor_table *table;
    int rc = sqlite3_declare_vtab(
        db, "CREATE TABLE x(offset INTEGER, timestamp INTEGER, data, log HIDDEN, shard HIDDEN)");

    (void)context;
    (void)message;
    if (rc != SQLITE_OK) {
        return rc;
    }
    table = sqlite3_malloc(sizeof *table);
    if (table == NULL) {
        return SQLITE_NOMEM;
    }
    *table = (floor_table){.scan_rows = argc > 3 ? atoll(argv[3]) : 0};
    *vtab = &table->base;
    return SQLITE_OK;
}

static int floor_disconnect(sqlite3_vtab *vtab) {
    sqlite3_free(vtab);
    return SQLITE_OK;
}

static int floor_best_index(sqlite3_vtab *vtab, sqlite3_index_info *info) {
    (void)vtab;
    info->estimatedCost = 1e6;
    info->estimatedRows = 1000000;
    return SQLITE_OK;
}

static int floor_open(sqlite3_vtab *vtab, sqlite3_vtab_cursor **result) {
    floor_cursor *cursor = sqlite3_malloc(sizeof *cursor);

    (void)vtab;
    if (cursor == NULL) {
        return SQLITE_NOMEM;
    }
    *cursor = (floor_cursor){.row = 0};
    *result = &cursor->base;
    return SQLITE_OK;
}

static int floor_close(sqlite3_vtab_cursor *base) {
    sqlite3_free(base);
    return SQLITE_OK;
}

static int floor_filter(sqlite3_vtab_cursor *base, int plan, const char *text, int argc,
                        sqlite3_value **argv) {
    floor_cursor *cursor = (floor_cursor *)base;

    (void)plan;
    (void)text;
    (void)argc;
    (void)argv;
    cursor->row = 0;
    cursor->end = ((floor_table *)base->pVtab)->scan_rows;
    return SQLITE_OK;
}

static int floor_next(sqlite3_vtab_cursor *base) {
    ((floor_cursor *)base)->row++;
    return SQLITE_OK;
}

static int floor_eof(sqlite3_vtab_cursor *base) {
    floor_cursor *cursor = (floor_cursor *)base;

    return cursor->row >= cursor->end;
}

static int floor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column) {
    floor_cursor *cursor = (floor_cursor *)base;

    switch (column) {
    case COLUMN_OFFSET:
        sqlite3_result_int64(context, cursor->row);
        break;
    case COLUMN_TIMESTAMP:
        sqlite3_result_int64(context, bench_time((uint64_t)cursor->row));
        break;
    case COLUMN_DATA:
        sqlite3_result_text(context, bench_row((uint64_t)cursor->row), (int)BENCH_ROW_BYTES,
                            SQLITE_TRANSIENT);
        break;
    default:
        break;
    }
    return SQLITE_OK;
}

static int floor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    *rowid = ((floor_cursor *)base)->row;
    return SQLITE_OK;
}

/* argv: old rowid, new rowid, offset, timestamp, data, log, shard. */
static int floor_update(sqlite3_vtab *vtab, int argc, sqlite3_value **argv, sqlite3_int64 *rowid) {
    floor_table *table = (floor_table *)vtab;
    const unsigned char *data;

    if (argc < 5 || sqlite3_value_type(argv[0]) != SQLITE_NULL ||
        sqlite3_value_type(argv[2 + COLUMN_OFFSET]) != SQLITE_NULL) {
        return SQLITE_CONSTRAINT;
    }
    if (sqlite3_value_type(argv[2 + COLUMN_TIMESTAMP]) == SQLITE_INTEGER) {
        table->checksum += sqlite3_value_int64(argv[2 + COLUMN_TIMESTAMP]);
    }
    if (sqlite3_value_type(argv[2 + COLUMN_DATA]) != SQLITE_NULL) {
        data = sqlite3_value_blob(argv[2 + COLUMN_DATA]);
        table->checksum +=
            sqlite3_value_bytes(argv[2 + COLUMN_DATA]) + (data != NULL ? data[0] : 0);
    }
    *rowid = table->inserted++;
    return SQLITE_OK;
}

static int floor_nothing(sqlite3_vtab *vtab) {
    (void)vtab;
    return SQLITE_OK;
}

static int floor_savepoint(sqlite3_vtab *vtab, int number) {
    (void)vtab;
    (void)number;
    return SQLITE_OK;
}

int bench_floor_register(sqlite3 *db) {
    static const sqlite3_module module = {
        .iVersion = 2,
        .xCreate = floor_connect,
        .xConnect = floor_connect,
        .xBestIndex = floor_best_index,
        .xDisconnect = floor_disconnect,
        .xDestroy = floor_disconnect,
        .xOpen = floor_open,
        .xClose = floor_close,
        .xFilter = floor_filter,
        .xNext = floor_next,
        .xEof = floor_eof,
        .xColumn = floor_column,
        .xRowid = floor_rowid,
        .xUpdate = floor_update,
        .xBegin = floor_nothing,
        .xSync = floor_nothing,
        .xCommit = floor_nothing,
        .xRollback = floor_nothing,
        .xSavepoint = floor_savepoint,
        .xRelease = floor_savepoint,
        .xRollbackTo = floor_savepoint,
    };

    return sqlite3_create_module(db, "bench_floor", &module, NULL);
}
