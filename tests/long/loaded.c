/* loaded.c -- see loaded.h. */
#include "loaded.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUSY_TIMEOUT_MS 60000

sqlite3 *loaded_open(char message[LOADED_MESSAGE_BYTES]) {
    const char *path = getenv("COMET_SO");
    char *why = NULL;
    sqlite3 *db = NULL;

    if (sqlite3_open(":memory:", &db) != SQLITE_OK ||
        sqlite3_enable_load_extension(db, 1) != SQLITE_OK ||
        sqlite3_load_extension(db, path != NULL ? path : "./comet.so", NULL, &why) != SQLITE_OK) {
        snprintf(message, LOADED_MESSAGE_BYTES, "cannot load comet: %s",
                 why != NULL ? why : sqlite3_errmsg(db));
        sqlite3_free(why);
        sqlite3_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db, BUSY_TIMEOUT_MS);
    return db;
}

int loaded_run(sqlite3 *db, char message[LOADED_MESSAGE_BYTES], const char *format, ...) {
    va_list arguments;
    char *why = NULL;
    char *sql;
    int rc;

    va_start(arguments, format);
    sql = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    rc = sqlite3_exec(db, sql, NULL, NULL, &why);
    if (rc != SQLITE_OK) {
        snprintf(message, LOADED_MESSAGE_BYTES, "%.80s ...: %s (%d)", sql,
                 why != NULL ? why : "no message", rc);
    }
    sqlite3_free(why);
    sqlite3_free(sql);
    return rc;
}

bool loaded_directory(char *path, size_t size) {
    const char *parent = getenv("TMPDIR");

    snprintf(path, size, "%s/comet-long-XXXXXX", parent != NULL ? parent : "/tmp");
    return mkdtemp(path) != NULL;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

void loaded_remove(const char *path) {
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

uint64_t loaded_setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);

    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

uint64_t loaded_random(uint64_t *state, uint64_t below) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * UINT64_C(2685821657736338717) >> 16) % below;
}
