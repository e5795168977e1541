/* test_growth.c -- without it a service that opens logs again and again, or writes one for months, might
** run out of file descriptors, mappings, threads or memory.
**
** $COMET_GROWTH_ROUNDS openings and $COMET_GROWTH_ROTATIONS segments; what the process holds is
** counted in /proc/self at the beginning, when everything has been used once, and at the end. */
#include "loaded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WARM_UP_ROUNDS 20

static char directory[512];
static char message[LOADED_MESSAGE_BYTES];

/* ---- What the process holds ---- */

typedef struct holdings {
    unsigned descriptors;
    unsigned mappings; /* of files: what the C library maps for its memory is its own affair */
    unsigned comet_mappings;
    unsigned threads;
} holdings;

static unsigned entries_of(const char *path) {
    DIR *listed = opendir(path);
    unsigned count = 0;

    assert_non_null(listed);
    while (readdir(listed) != NULL) {
        count++;
    }
    closedir(listed);
    return count;
}

static holdings count_holdings(void) {
    holdings held = {entries_of("/proc/self/fd"), 0, 0, entries_of("/proc/self/task")};
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024];

    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL) {
        held.mappings += strchr(line, '/') != NULL;
        held.comet_mappings += strstr(line, "comet.so") != NULL;
    }
    fclose(maps);
    return held;
}

static void assert_no_growth(const holdings *before, const holdings *now) {
    print_message("%u descriptors, %u mapped files, %u threads\n", now->descriptors, now->mappings,
                  now->threads);
    assert_true(now->descriptors <= before->descriptors);
    assert_true(now->mappings <= before->mappings);
    assert_true(now->threads <= before->threads);
}

/* ---- Openings ---- */

static void open_append_read_close(uint64_t round) {
    sqlite3 *db = loaded_open(message);
    sqlite3_stmt *row = NULL;

    if (db == NULL) {
        fail_msg("%s", message);
    }
    /* Some with a checkpoint at close, which takes as long as the disk does. */
    if (loaded_run(db, message,
                   "CREATE VIRTUAL TABLE t USING comet_shard(log='%s/log', shard=%d, sync=%s,"
                   " max_file_size='256KB')",
                   directory, (int)(round % 3), round % 50 == 0 ? "normal" : "off") != SQLITE_OK ||
        loaded_run(db, message, "INSERT INTO t(data) VALUES ('%llu')", (unsigned long long)round) !=
            SQLITE_OK) {
        fail_msg("round %llu: %s", (unsigned long long)round, message);
    }
    assert_int_equal(
        sqlite3_prepare_v2(db, "SELECT data FROM t ORDER BY offset DESC LIMIT 1", -1, &row, NULL),
        SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int64(row, 0), round);
    sqlite3_finalize(row);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void openings(void **state) {
    uint64_t rounds = loaded_setting("COMET_GROWTH_ROUNDS", 2000);
    holdings before;
    holdings now;
    (void)state;

    assert_true(loaded_directory(directory, sizeof directory));
    for (uint64_t round = 0; round < rounds; round++) {
        if (round == WARM_UP_ROUNDS) {
            before = count_holdings();
        }
        open_append_read_close(round);
    }
    now = count_holdings();
    print_message("%llu openings: ", (unsigned long long)rounds);
    assert_no_growth(&before, &now);
    assert_true(now.comet_mappings > 0); /* the library stays when its last connection has gone */
    loaded_remove(directory);
}

/* ---- Rotations ---- */

static atomic_bool ends;

static sqlite3 *open_table(char why[LOADED_MESSAGE_BYTES]) {
    sqlite3 *db = loaded_open(why);

    if (db != NULL &&
        loaded_run(db, why,
                   "CREATE VIRTUAL TABLE t USING comet_shard(log='%s/log', max_file_size='4KiB',"
                   " sync=off, boundary_interval=4)",
                   directory) != SQLITE_OK) {
        sqlite3_close(db);
        return NULL;
    }
    return db;
}

/* Reads everything again and again; the number of failures. */
static void *read_all(void *context) {
    char why[LOADED_MESSAGE_BYTES];
    sqlite3 *db = open_table(why);
    unsigned *failures = context;

    *failures = db == NULL;
    while (db != NULL && !atomic_load(&ends)) {
        *failures += loaded_run(db, why, "SELECT sum(length(data)), max(timestamp) FROM t") != 0;
        *failures += loaded_run(db, why, "SELECT data FROM t ORDER BY timestamp DESC LIMIT 9") != 0;
    }
    if (*failures > 0) {
        print_message("reader: %s\n", why);
    }
    sqlite3_close(db);
    return NULL;
}

static void rotate(sqlite3 *db, uint64_t rotations) {
    for (uint64_t i = 0; i < rotations; i++) {
        if (loaded_run(db, message,
                       "INSERT INTO t(data) VALUES (zeroblob(1300)), (zeroblob(1300)),"
                       " (zeroblob(1300))") != SQLITE_OK) {
            fail_msg("rotation %llu: %s", (unsigned long long)i, message);
        }
    }
}

static void rotations_with_readers(void **state) {
    uint64_t rotations = loaded_setting("COMET_GROWTH_ROTATIONS", 300);
    unsigned failures[2];
    pthread_t readers[2];
    holdings before;
    holdings now;
    sqlite3 *db;
    (void)state;

    assert_true(loaded_directory(directory, sizeof directory));
    db = open_table(message);
    if (db == NULL) {
        fail_msg("%s", message);
    }
    rotate(db, 150);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_all, &failures[i]), 0);
    }
    assert_int_equal(loaded_run(db, message, "SELECT sum(length(data)) FROM t"), SQLITE_OK);
    before = count_holdings();
    rotate(db, rotations);
    assert_int_equal(loaded_run(db, message, "SELECT sum(length(data)) FROM t"), SQLITE_OK);
    atomic_store(&ends, true);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
        assert_int_equal(failures[i], 0);
    }
    now = count_holdings();
    print_message("%llu rotations, %u then: ", (unsigned long long)rotations, before.descriptors);
    assert_no_growth(&before, &now);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    loaded_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openings),
        cmocka_unit_test(rotations_with_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
