/* rowset.c -- see rowset.h. */
#include "rowset.h"

#include <assert.h>
#include <string.h>

#include "report.h"
#include "values.h"

#define CELLS_MIN 64

typedef struct cell {
    enum { CELL_NULL, CELL_INTEGER, CELL_REAL, CELL_TEXT, CELL_CONSTANT } kind;
    union {
        int64_t integer;
        double real;
        const char *constant;
        char *text;
    } as;
} cell;

struct rowset {
    cell *cells;
    size_t count;
    size_t capacity;
    bool out_of_memory;
};

typedef struct module_data {
    connection *connection;
    const rowset_table *definition;
} module_data;

typedef struct row_table {
    sqlite3_vtab base;
    connection *connection;
    const rowset_table *definition;
} row_table;

typedef struct row_cursor {
    sqlite3_vtab_cursor base;
    rowset rows;
    sqlite3_value *log; /* the argument as it was given */
    size_t row;
} row_cursor;

/* ---- Filling --------------------------------------------------------------------------------- */

static cell *add_cell(rowset *rows) {
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity > 0 ? rows->capacity * 2 : CELLS_MIN;
        cell *grown = sqlite3_realloc64(rows->cells, capacity * sizeof *grown);

        if (grown == NULL) {
            rows->out_of_memory = true;
            return NULL;
        }
        rows->cells = grown;
        rows->capacity = capacity;
    }
    rows->cells[rows->count] = (cell){CELL_NULL, {0}};
    return &rows->cells[rows->count++];
}

void rowset_integer(rowset *rows, int64_t value) {
    cell *added = add_cell(rows);

    if (added != NULL) {
        added->kind = CELL_INTEGER;
        added->as.integer = value;
    }
}

void rowset_text(rowset *rows, const char *text) {
    cell *added = add_cell(rows);

    if (added == NULL || text == NULL) {
        return;
    }
    added->as.text = sqlite3_mprintf("%s", text);
    added->kind = CELL_TEXT;
    rows->out_of_memory = rows->out_of_memory || added->as.text == NULL;
}

void rowset_constant(rowset *rows, const char *text) {
    cell *added = add_cell(rows);

    if (added != NULL && text != NULL) {
        added->kind = CELL_CONSTANT;
        added->as.constant = text;
    }
}

void rowset_real(rowset *rows, double value) {
    cell *added = add_cell(rows);

    if (added != NULL) {
        added->kind = CELL_REAL;
        added->as.real = value;
    }
}

void rowset_null(rowset *rows) {
    add_cell(rows);
}

static void rowset_clear(rowset *rows) {
    for (size_t i = 0; i < rows->count; i++) {
        if (rows->cells[i].kind == CELL_TEXT) {
            sqlite3_free(rows->cells[i].as.text);
        }
    }
    sqlite3_free(rows->cells);
    memset(rows, 0, sizeof *rows);
}

/* ---- The table ------------------------------------------------------------------------------- */

static int table_connect(sqlite3 *db, void *data, int argc, const char *const *argv,
                         sqlite3_vtab **result, char **message) {
    const module_data *module = data;
    row_table *table = sqlite3_malloc64(sizeof *table);
    char *sql =
        sqlite3_mprintf("CREATE TABLE rows(%s, log TEXT HIDDEN)", module->definition->columns);
    int rc = SQLITE_NOMEM;

    (void)argc;
    (void)argv;
    (void)message;
    if (table != NULL && sql != NULL) {
        rc = sqlite3_declare_vtab(db, sql);
    }
    sqlite3_free(sql);
    if (rc != SQLITE_OK) {
        sqlite3_free(table);
        return rc;
    }
    connection_protect(module->connection);
    memset(table, 0, sizeof *table);
    table->connection = connection_share(module->connection);
    table->definition = module->definition;
    *result = &table->base;
    return SQLITE_OK;
}

static int table_disconnect(sqlite3_vtab *base) {
    row_table *table = (row_table *)base;

    connection_release(table->connection);
    sqlite3_free(table);
    return SQLITE_OK;
}

/* The log is the only argument there is; all else is SQLite's to check. */
static int table_best_index(sqlite3_vtab *base, sqlite3_index_info *info) {
    int hidden = ((row_table *)base)->definition->column_count;

    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *offered = &info->aConstraint[i];

        if (offered->iColumn != hidden || offered->op != SQLITE_INDEX_CONSTRAINT_EQ) {
            continue;
        }
        if (!offered->usable) {
            return SQLITE_CONSTRAINT;
        }
        info->aConstraintUsage[i].argvIndex = 1;
        info->aConstraintUsage[i].omit = 1;
        info->idxNum = 1;
        break;
    }
    info->estimatedCost = 100.0;
    info->estimatedRows = 100;
    return SQLITE_OK;
}

static int cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **result) {
    row_cursor *cursor = sqlite3_malloc64(sizeof *cursor);

    (void)base;
    if (cursor == NULL) {
        return SQLITE_NOMEM;
    }
    memset(cursor, 0, sizeof *cursor);
    *result = &cursor->base;
    return SQLITE_OK;
}

static void cursor_reset(row_cursor *cursor) {
    rowset_clear(&cursor->rows);
    sqlite3_value_free(cursor->log);
    cursor->log = NULL;
    cursor->row = 0;
}

static int cursor_close(sqlite3_vtab_cursor *base) {
    cursor_reset((row_cursor *)base);
    sqlite3_free(base);
    return SQLITE_OK;
}

static comet_status produce(row_cursor *cursor, sqlite3_value *log, comet_error *error) {
    row_table *table = (row_table *)cursor->base.pVtab;
    const char *reference = NULL;
    log_target target;
    comet_status status = COMET_OK;

    if (log != NULL) {
        cursor->log = sqlite3_value_dup(log);
        status = cursor->log != NULL ? value_text(log, "the log", &reference, error)
                                     : failure_no_memory(error);
    }
    if (status == COMET_OK) {
        status = connection_resolve(table->connection, reference, &target, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    status = table->definition->fill(table->connection, target.directory, &cursor->rows, error);
    log_target_clear(&target);
    if (status == COMET_OK && cursor->rows.out_of_memory) {
        return failure_no_memory(error);
    }
    return status;
}

static int cursor_filter(sqlite3_vtab_cursor *base, int has_log, const char *words, int count,
                         sqlite3_value **values) {
    row_cursor *cursor = (row_cursor *)base;
    comet_error error;

    (void)words;
    (void)count;
    cursor_reset(cursor);
    if (produce(cursor, has_log != 0 ? values[0] : NULL, &error) != COMET_OK) {
        rowset_clear(&cursor->rows);
        return report(&base->pVtab->zErrMsg, &error);
    }
    return SQLITE_OK;
}

static int column_count(const row_cursor *cursor) {
    return ((const row_table *)cursor->base.pVtab)->definition->column_count;
}

static int cursor_next(sqlite3_vtab_cursor *base) {
    ((row_cursor *)base)->row++;
    return SQLITE_OK;
}

static int cursor_eof(sqlite3_vtab_cursor *base) {
    const row_cursor *cursor = (const row_cursor *)base;

    return cursor->row * (size_t)column_count(cursor) >= cursor->rows.count;
}

static int cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column) {
    const row_cursor *cursor = (const row_cursor *)base;
    const cell *shown;

    if (column == column_count(cursor)) {
        if (cursor->log != NULL) {
            sqlite3_result_value(context, cursor->log);
        }
        return SQLITE_OK;
    }
    shown = &cursor->rows.cells[cursor->row * (size_t)column_count(cursor) + (size_t)column];
    switch (shown->kind) {
    case CELL_NULL:
        break;
    case CELL_INTEGER:
        sqlite3_result_int64(context, shown->as.integer);
        break;
    case CELL_REAL:
        sqlite3_result_double(context, shown->as.real);
        break;
    case CELL_TEXT:
        sqlite3_result_text(context, shown->as.text, -1, SQLITE_TRANSIENT);
        break;
    case CELL_CONSTANT:
        sqlite3_result_text(context, shown->as.constant, -1, SQLITE_STATIC);
        break;
    }
    return SQLITE_OK;
}

static int cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    *rowid = (sqlite3_int64)((row_cursor *)base)->row + 1;
    return SQLITE_OK;
}

static void release_module(void *data) {
    module_data *module = data;

    connection_release(module->connection);
    sqlite3_free(module);
}

int rowset_register(connection *used, const rowset_table *table) {
    /* Without xCreate a module is eponymous only. */
    static const sqlite3_module methods = {
        .xConnect = table_connect,
        .xBestIndex = table_best_index,
        .xDisconnect = table_disconnect,
        .xOpen = cursor_open,
        .xClose = cursor_close,
        .xFilter = cursor_filter,
        .xNext = cursor_next,
        .xEof = cursor_eof,
        .xColumn = cursor_column,
        .xRowid = cursor_rowid,
    };
    module_data *module = sqlite3_malloc64(sizeof *module);

    if (module == NULL) {
        return SQLITE_NOMEM;
    }
    module->connection = connection_share(used);
    module->definition = table;
    return sqlite3_create_module_v2(used->db, table->name, &methods, module, release_module);
}
