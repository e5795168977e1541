/* harness.c -- see harness.h. */
#include "harness.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comet_sqlite.h"

static sqlite3 *open_with(const char *file,
                          int (*init)(sqlite3 *, char **, const struct sqlite3_api_routines *)) {
    sqlite3 *db = NULL;
    char *message = NULL;

    assert_int_equal(sqlite3_open(file, &db), SQLITE_OK);
    if (init(db, &message, NULL) != SQLITE_OK) {
        fail_msg("comet does not load: %s", message);
    }
    sqlite3_extended_result_codes(db, 1);
    return db;
}

sqlite3 *db_open(const char *file) {
    return open_with(file, sqlite3_comet_init);
}

sqlite3 *db_open_readonly_comet(const char *file) {
    return open_with(file, sqlite3_cometreadonly_init);
}

void db_close(sqlite3 *db) {
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

int fixture_setup(void **state) {
    const char *parent = getenv("TMPDIR");
    fixture *made = calloc(1, sizeof *made);

    assert_non_null(made);
    unsetenv("COMET_DIR");
    snprintf(made->directory, sizeof made->directory, "%s/comet-sql-XXXXXX",
             parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(made->directory));
    snprintf(made->database, sizeof made->database, "%s/main.db", made->directory);
    made->db = db_open(made->database);
    *state = made;
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

int fixture_teardown(void **state) {
    fixture *used = *state;

    sqlite3_close_v2(used->db);
    nftw(used->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(used);
    return 0;
}

void fixture_reopen(fixture *used) {
    db_close(used->db);
    used->db = db_open(used->database);
}

void run(sqlite3 *db, const char *format, ...) {
    va_list arguments;
    char *message = NULL;
    char *sql;

    va_start(arguments, format);
    sql = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s\n    failed: %s (%d)", sql, message, sqlite3_extended_errcode(db));
    }
    sqlite3_free(sql);
}

void refuse(sqlite3 *db, int code, const char *hint, const char *format, ...) {
    va_list arguments;
    char *message = NULL;
    char *sql;
    int rc;

    va_start(arguments, format);
    sql = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    rc = sqlite3_exec(db, sql, NULL, NULL, &message);
    if (rc == SQLITE_OK) {
        fail_msg("%s\n    should have failed", sql);
    }
    if ((rc != code && (rc & 0xff) != code) || message == NULL || strstr(message, hint) == NULL) {
        fail_msg("%s\n    got %d, \"%s\"\n    expected %d, \"...%s...\"", sql, rc, message, code,
                 hint);
    }
    sqlite3_free(message);
    sqlite3_free(sql);
}

static void append_value(sqlite3_str *text, sqlite3_stmt *statement, int column) {
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
        sqlite3_str_appendall(text, "NULL");
        break;
    case SQLITE_BLOB: {
        const unsigned char *bytes = sqlite3_column_blob(statement, column);

        sqlite3_str_appendall(text, "x'");
        for (int i = 0; i < sqlite3_column_bytes(statement, column); i++) {
            sqlite3_str_appendf(text, "%02x", bytes[i]);
        }
        sqlite3_str_appendall(text, "'");
        break;
    }
    default:
        sqlite3_str_appendf(text, "%s", sqlite3_column_text(statement, column));
        break;
    }
}

char *rows_of(sqlite3 *db, const char *sql) {
    sqlite3_str *text = sqlite3_str_new(NULL);
    sqlite3_stmt *statement = NULL;
    char *result;
    int rc;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        fail_msg("%s\n    does not prepare: %s", sql, sqlite3_errmsg(db));
    }
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        sqlite3_str_appendall(text, sqlite3_str_length(text) > 0 ? "\n" : "");
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            sqlite3_str_appendall(text, i > 0 ? "|" : "");
            append_value(text, statement, i);
        }
    }
    if (rc != SQLITE_DONE) {
        fail_msg("%s\n    failed: %s (%d)", sql, sqlite3_errmsg(db), rc);
    }
    sqlite3_finalize(statement);
    result = sqlite3_str_finish(text);
    return result != NULL ? result : sqlite3_mprintf("%s", "");
}

void expect(sqlite3 *db, const char *rows, const char *format, ...) {
    va_list arguments;
    char *sql;
    char *got;

    va_start(arguments, format);
    sql = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    got = rows_of(db, sql);
    if (strcmp(got, rows) != 0) {
        fail_msg("%s\n    got:\n%s\n    expected:\n%s", sql, got, rows);
    }
    sqlite3_free(got);
    sqlite3_free(sql);
}

void expect_plan(sqlite3 *db, const char *words, const char *sql) {
    char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
    char *got = rows_of(db, explain);
    const char *index = strstr(got, "VIRTUAL TABLE INDEX ");
    const char *colon = index != NULL ? strchr(index, ':') : NULL;
    size_t length = strlen(words);

    if (colon == NULL || strncmp(colon + 1, words, length) != 0 ||
        (colon[1 + length] != '\0' && colon[1 + length] != '\n')) {
        fail_msg("%s\n    plan: %s\n    expected: %s", sql, got, words);
    }
    sqlite3_free(got);
    sqlite3_free(explain);
}

void write_file(const fixture *used, const char *name, const void *bytes, size_t size,
                char path[700]) {
    FILE *file;

    snprintf(path, 700, "%s/%s", used->directory, name);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

uint32_t random_below(uint64_t *seed, uint32_t bound) {
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*seed >> 33) % bound);
}
