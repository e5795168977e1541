/* lines_table.c -- comet_lines(file): (line_number, line, [file]).
**
** Decides: what a line is.  It ends with LF or CR LF, which are not part of it, or with the file.
** Bytes stay as they are, so a line that is no text comes as a blob.  The file is streamed: memory
** is the longest line.  '-' is standard input.  A relative name is relative to the working
** directory, as in a shell.
*/
#define _POSIX_C_SOURCE 200809L /* getline */
#include "lines_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "values.h"

enum { LINES_COLUMN_NUMBER, LINES_COLUMN_LINE, LINES_COLUMN_FILE };

typedef struct lines_cursor {
    sqlite3_vtab_cursor base;
    FILE *stream;
    char *name;
    char *line; /* getline's */
    size_t capacity;
    size_t size; /* of the line, without its end */
    int64_t number;
    bool at_end;
} lines_cursor;

static int lines_connect(sqlite3 *db, void *shared, int argc, const char *const *argv,
                         sqlite3_vtab **result, char **message) {
    sqlite3_vtab *table = sqlite3_malloc64(sizeof *table);
    int rc;

    (void)shared;
    (void)argc;
    (void)argv;
    (void)message;
    if (table == NULL) {
        return SQLITE_NOMEM;
    }
    rc = sqlite3_declare_vtab(db, "CREATE TABLE comet_lines(line_number INTEGER, line,"
                                  " file TEXT HIDDEN)");
    if (rc != SQLITE_OK) {
        sqlite3_free(table);
        return rc;
    }
    /* Never for views and triggers, also when the schema is trusted: it reads any file. */
    sqlite3_vtab_config(db, SQLITE_VTAB_DIRECTONLY);
    memset(table, 0, sizeof *table);
    *result = table;
    return SQLITE_OK;
}

static int lines_disconnect(sqlite3_vtab *table) {
    sqlite3_free(table);
    return SQLITE_OK;
}

static int lines_best_index(sqlite3_vtab *table, sqlite3_index_info *info) {
    for (int i = 0; i < info->nConstraint; i++) {
        const struct sqlite3_index_constraint *offered = &info->aConstraint[i];

        if (offered->iColumn == LINES_COLUMN_FILE && offered->op == SQLITE_INDEX_CONSTRAINT_EQ) {
            if (!offered->usable) {
                return SQLITE_CONSTRAINT;
            }
            info->aConstraintUsage[i].argvIndex = 1;
            info->aConstraintUsage[i].omit = 1;
            info->estimatedCost = 10000.0;
            info->estimatedRows = 10000;
            return SQLITE_OK;
        }
    }
    return report_refusal(&table->zErrMsg, SQLITE_ERROR,
                          "comet_lines() needs a file: comet_lines('/var/log/dpkg.log'), or '-' "
                          "for standard input");
}

static int lines_open(sqlite3_vtab *table, sqlite3_vtab_cursor **result) {
    lines_cursor *cursor = sqlite3_malloc64(sizeof *cursor);

    (void)table;
    if (cursor == NULL) {
        return SQLITE_NOMEM;
    }
    memset(cursor, 0, sizeof *cursor);
    *result = &cursor->base;
    return SQLITE_OK;
}

static void close_stream(lines_cursor *cursor) {
    if (cursor->stream != NULL && cursor->stream != stdin) {
        fclose(cursor->stream);
    }
    cursor->stream = NULL;
    sqlite3_free(cursor->name);
    cursor->name = NULL;
}

static int lines_close(sqlite3_vtab_cursor *base) {
    lines_cursor *cursor = (lines_cursor *)base;

    close_stream(cursor);
    free(cursor->line);
    sqlite3_free(cursor);
    return SQLITE_OK;
}

static int refuse_file(lines_cursor *cursor, const char *what, int reason) {
    cursor->at_end = true;
    return report_refusal(&cursor->base.pVtab->zErrMsg, SQLITE_CANTOPEN,
                          "comet_lines: cannot %s %s: %s", what, cursor->name, strerror(reason));
}

static int lines_next(sqlite3_vtab_cursor *base) {
    lines_cursor *cursor = (lines_cursor *)base;
    ssize_t length;

    errno = 0;
    length = getline(&cursor->line, &cursor->capacity, cursor->stream);
    if (length < 0) {
        cursor->at_end = true;
        if (!feof(cursor->stream)) {
            return refuse_file(cursor, "read", errno);
        }
        return SQLITE_OK;
    }
    cursor->size = (size_t)length;
    if (cursor->size > 0 && cursor->line[cursor->size - 1] == '\n') {
        cursor->size--;
        if (cursor->size > 0 && cursor->line[cursor->size - 1] == '\r') {
            cursor->size--;
        }
    }
    cursor->number++;
    return SQLITE_OK;
}

static int lines_filter(sqlite3_vtab_cursor *base, int number, const char *words, int count,
                        sqlite3_value **values) {
    lines_cursor *cursor = (lines_cursor *)base;
    const char *name = NULL;
    comet_error error;

    (void)number;
    (void)words;
    (void)count;
    close_stream(cursor);
    cursor->number = 0;
    cursor->at_end = true;
    if (value_text(values[0], "the file's name", &name, &error) != COMET_OK) {
        return report(&base->pVtab->zErrMsg, &error);
    }
    if (name == NULL) {
        return SQLITE_OK; /* nothing equals NULL */
    }
    cursor->name = sqlite3_mprintf("%s", name);
    if (cursor->name == NULL) {
        return SQLITE_NOMEM;
    }
    cursor->stream = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");
    if (cursor->stream == NULL) {
        return refuse_file(cursor, "open", errno);
    }
    cursor->at_end = false;
    return lines_next(base);
}

static int lines_eof(sqlite3_vtab_cursor *base) {
    return ((lines_cursor *)base)->at_end;
}

static int lines_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column) {
    const lines_cursor *cursor = (const lines_cursor *)base;

    if (column == LINES_COLUMN_NUMBER) {
        sqlite3_result_int64(context, cursor->number);
    } else if (column == LINES_COLUMN_LINE) {
        result_entry(context, cursor->line, cursor->size, ENTRY_AUTO);
    } else {
        sqlite3_result_text(context, cursor->name, -1, SQLITE_TRANSIENT);
    }
    return SQLITE_OK;
}

static int lines_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    *rowid = ((lines_cursor *)base)->number;
    return SQLITE_OK;
}

int lines_table_register(connection *used) {
    static const sqlite3_module methods = {
        .xConnect = lines_connect,
        .xBestIndex = lines_best_index,
        .xDisconnect = lines_disconnect,
        .xOpen = lines_open,
        .xClose = lines_close,
        .xFilter = lines_filter,
        .xNext = lines_next,
        .xEof = lines_eof,
        .xColumn = lines_column,
        .xRowid = lines_rowid,
    };

    return sqlite3_create_module_v2(used->db, "comet_lines", &methods, NULL, NULL);
}
