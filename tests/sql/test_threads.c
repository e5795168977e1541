/* test_threads.c -- without it two threads of one program, each with its own connection or sharing one,
** might mix up each other's rows, see half a transaction, or hang. */
#include "harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WRITERS 3
#define READERS 2
#define SHARDS 2
#define TXN_ROWS 5
#define TXNS 300

typedef struct job {
    const char *directory;
    sqlite3 *shared; /* or NULL: a connection of its own */
    int number;
    int problems;
    int rounds;
} job;

static atomic_int writers_left;

static int run_quietly(sqlite3 *db, const char *format, ...) {
    va_list arguments;
    char *sql;
    int rc;

    va_start(arguments, format);
    sql = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    return rc;
}

static sqlite3 *connect(const job *work) {
    sqlite3 *db = db_open(":memory:");

    sqlite3_busy_timeout(db, 60000);
    for (int shard = 0; shard < SHARDS; shard++) {
        run_quietly(db,
                    "CREATE VIRTUAL TABLE s%d USING comet_shard(log='%s/log', shard=%d,"
                    " max_file_size='16KB', checkpoint_interval='5ms', boundary_interval=7)",
                    shard, work->directory, shard);
    }
    return db;
}

/* A row says who wrote it, its transaction, and its place in that. */
static void *write_rows(void *context) {
    job *work = context;
    sqlite3 *db = work->shared != NULL ? work->shared : connect(work);

    for (int txn = 0; txn < TXNS; txn++) {
        /* One statement is a transaction of its own also on a connection that others use. */
        work->problems +=
            run_quietly(db,
                        "INSERT INTO s%d(data) SELECT printf('%d %%d %%d', %d, value)"
                        " FROM (WITH RECURSIVE n(value) AS (SELECT 0 UNION ALL SELECT value + 1"
                        " FROM n LIMIT %d) SELECT value FROM n)",
                        txn % SHARDS, work->number, txn, TXN_ROWS) != SQLITE_OK;
    }
    atomic_fetch_sub(&writers_left, 1);
    if (work->shared == NULL) {
        db_close(db);
    }
    return NULL;
}

/* Rows of a snapshot: whole transactions, each writer's in order. */
static int check_rows(sqlite3 *db, int shard, int64_t *count) {
    int last[WRITERS];
    int problems = 0;
    int64_t at = 0;
    int writer, txn, place;
    sqlite3_stmt *rows = NULL;
    char sql[80];

    for (int i = 0; i < WRITERS; i++) {
        last[i] = -1;
    }
    snprintf(sql, sizeof sql, "SELECT offset, data FROM s%d ORDER BY offset", shard);
    if (sqlite3_prepare_v2(db, sql, -1, &rows, NULL) != SQLITE_OK) {
        return 1;
    }
    while (sqlite3_step(rows) == SQLITE_ROW) {
        const char *data = (const char *)sqlite3_column_text(rows, 1);
        if (data == NULL || sscanf(data, "%d %d %d", &writer, &txn, &place) != 3 || writer < 0 ||
            writer >= WRITERS) {
            problems++;
            continue;
        }
        problems += sqlite3_column_int64(rows, 0) != at;
        problems += place != at % TXN_ROWS;
        problems += place == 0 ? txn <= last[writer] : txn != last[writer];
        last[writer] = txn;
        at++;
    }
    problems += sqlite3_finalize(rows) != SQLITE_OK;
    problems += at % TXN_ROWS != 0;
    *count = at;
    return problems;
}

static void *read_rows(void *context) {
    job *work = context;
    sqlite3 *db = work->shared != NULL ? work->shared : connect(work);
    int64_t seen[SHARDS] = {0};

    while (atomic_load(&writers_left) > 0) {
        for (int shard = 0; shard < SHARDS; shard++) {
            int64_t count = 0;
            work->problems += check_rows(db, shard, &count);
            work->problems += count < seen[shard];
            seen[shard] = count;
        }
        work->rounds++;
    }
    if (work->shared == NULL) {
        db_close(db);
    }
    return NULL;
}

static void run_threads(fixture *used, sqlite3 *shared) {
    job jobs[WRITERS + READERS];
    pthread_t threads[WRITERS + READERS];
    sqlite3 *db;

    atomic_store(&writers_left, WRITERS);
    for (int i = 0; i < WRITERS + READERS; i++) {
        jobs[i] = (job){used->directory, shared, i, 0, 0};
        assert_int_equal(
            pthread_create(&threads[i], NULL, i < WRITERS ? write_rows : read_rows, &jobs[i]), 0);
    }
    for (int i = 0; i < WRITERS + READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (jobs[i].problems != 0) {
            fail_msg("%s %d: %d problems", i < WRITERS ? "writer" : "reader", i, jobs[i].problems);
        }
    }
    db = shared != NULL ? shared : connect(&jobs[0]);
    for (int shard = 0; shard < SHARDS; shard++) {
        int64_t count = 0;
        assert_int_equal(check_rows(db, shard, &count), 0);
        assert_int_equal(count, WRITERS * TXNS * TXN_ROWS / SHARDS);
    }
    if (shared == NULL) {
        db_close(db);
    }
}

/* SQLite's multi-thread mode: a connection is one thread's, without a mutex of its own. Go's
** defects W13, W34: numbers are taken in one order and bytes written in another, or the end goes
** back. Go's defect W14: entries are lost where files rotate amid that. Go's defect W22: a
** mapping goes away under a reader while the file grows. */
static void test_connection_each(void **state) {
    if (sqlite3_threadsafe() == 0) {
        skip();
    }
    run_threads(*state, NULL);
}

/* SQLite's serialized mode: several threads use one connection at once. */
static void test_one_connection_shared(void **state) {
    fixture *used = *state;
    job work = {used->directory, NULL, 0, 0, 0};
    sqlite3 *db;

    if (sqlite3_threadsafe() != 1) {
        skip();
    }
    db = connect(&work);
    run_threads(used, db);
    db_close(db);
}

/* Connections that come and go, each in a thread of its own, while others write. */
static void *come_and_go(void *context) {
    job *work = context;

    for (int i = 0; i < TXNS / 2; i++) {
        sqlite3 *db = connect(work);
        int64_t count;
        work->problems += run_quietly(db, "INSERT INTO s%d(data) VALUES ('%d')", i % SHARDS,
                                      work->number) != SQLITE_OK;
        work->problems += run_quietly(db, "SELECT comet_sync('s0')") != SQLITE_OK;
        count = sqlite3_last_insert_rowid(db);
        work->problems += count < i / SHARDS;
        db_close(db);
    }
    return NULL;
}

/* Go's defect W47: closing unmaps what others still use. */
static void test_connections_come_and_go(void **state) {
    fixture *used = *state;
    job jobs[WRITERS];
    pthread_t threads[WRITERS];

    for (int i = 0; i < WRITERS; i++) {
        jobs[i] = (job){used->directory, NULL, i, 0, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &jobs[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(jobs[i].problems, 0);
    }
    sqlite3 *db = connect(&jobs[0]);
    expect(db, "0|75\n1|75\n2|75", "SELECT data, count(*) FROM s0 GROUP BY 1");
    expect(db, "0|75\n1|75\n2|75", "SELECT data, count(*) FROM s1 GROUP BY 1");
    db_close(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_connection_each),
        SQL_TEST(test_one_connection_shared),
        SQL_TEST(test_connections_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
