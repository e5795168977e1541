/* bench_consumer.c -- what acknowledging costs beside doing nothing, and draining beside one scan.
**
** Usage: bench_consumer path-of-comet.so
**
** `do_nothing(log, group, shard, offset)` is a scalar function that returns at once: it is called as
** comet_ack() is, once a statement and once a row, in autocommit.  Each acknowledgement moves the
** position by one.  The logs have one shard, and once SHARDS.  $BENCH_CONSUMER_ROWS shortens a run.
*/
#include "bench.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS 5u
#define SHARDS 16u
#define BATCH_ROWS 1000u
#define LAG_COUNT 10000u
#define LAG_FEW 1000u

static sqlite3 *db;
static uint64_t row_count;
static volatile sqlite3_int64 sink; /* results go here, so that nobody skips computing them */

static void check(int rc, const char *what) {
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) {
        bench_fail("%s: %s", what, sqlite3_errmsg(db));
    }
}

static void run(const char *sql) {
    check(sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(const char *sql) {
    sqlite3_stmt *statement = NULL;

    check(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), sql);
    return statement;
}

/* The first column's last value; every column is looked at. */
static sqlite3_int64 drain(sqlite3_stmt *statement, uint64_t *rows) {
    sqlite3_int64 last = 0;
    int rc;

    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        last = sqlite3_column_int64(statement, 0);
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            sink += sqlite3_column_type(statement, i) == SQLITE_INTEGER
                        ? sqlite3_column_int64(statement, i)
                        : sqlite3_column_bytes(statement, i);
        }
        *rows += 1;
    }
    check(rc, sqlite3_sql(statement));
    sqlite3_reset(statement);
    return last;
}

static void report(const char *what, double floor, double ours, const char *target) {
    printf("%-48s %10s %10s   %7s %s\n", what, bench_cell(floor), bench_cell(ours),
           bench_cell(ours / floor), target);
    fflush(stdout);
}

/* A table over a new log of so many shards, with `rows` rows that go round the shards. */
static void fill(const char *table, unsigned shards, uint64_t rows) {
    char sql[1400];
    sqlite3_stmt *statement;

    snprintf(sql, sizeof sql, "CREATE VIRTUAL TABLE %s USING comet_stream(log='%s', shards=%u)",
             table, bench_path(table), shards);
    run(sql);
    snprintf(sql, sizeof sql, "INSERT INTO %s(shard, timestamp, data) VALUES (?1, ?2, ?3)", table);
    statement = prepare(sql);
    run("BEGIN");
    for (uint64_t i = 0; i < rows; i++) {
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)(i % shards));
        sqlite3_bind_int64(statement, 2, bench_time(i));
        sqlite3_bind_text(statement, 3, bench_row(i), (int)BENCH_ROW_BYTES, SQLITE_STATIC);
        check(sqlite3_step(statement), "INSERT");
        sqlite3_reset(statement);
    }
    run("COMMIT");
    sqlite3_finalize(statement);
}

/* ---- comet_ack() beside a function that does nothing ------------------------------------------- */

static void do_nothing(sqlite3_context *context, int count, sqlite3_value **arguments) {
    (void)count;
    (void)arguments;
    sqlite3_result_int64(context, 1);
}

/* One statement an offset, the group's name changed each round; ns a statement. */
static double call_by_statement(const char *function, size_t round) {
    char sql[200];
    sqlite3_stmt *statement;
    uint64_t rows = 0;
    int64_t start;

    snprintf(sql, sizeof sql, "SELECT %s('one', 'statement%zu', ?1, ?2)", function, round);
    statement = prepare(sql);
    start = bench_clock();
    for (uint64_t i = 0; i < row_count; i++) {
        sqlite3_bind_int64(statement, 1, 0);
        sqlite3_bind_int64(statement, 2, (sqlite3_int64)i);
        drain(statement, &rows);
    }
    start = bench_clock() - start;
    sqlite3_finalize(statement);
    return (double)start / (double)row_count;
}

/* One statement, a call for each row of a batch in a table; ns a row. */
static double call_by_row(const char *function, size_t round) {
    char sql[200];
    sqlite3_stmt *statement;
    uint64_t rows = 0;
    int64_t start;

    snprintf(sql, sizeof sql, "SELECT %s('one', 'row%zu', shard, offset) FROM batch", function,
             round);
    statement = prepare(sql);
    start = bench_clock();
    drain(statement, &rows);
    start = bench_clock() - start;
    sqlite3_finalize(statement);
    return (double)start / (double)rows;
}

static void measure_ack(const char *what, double (*call)(const char *function, size_t round)) {
    double floor[ROUNDS];
    double ours[ROUNDS];

    for (size_t round = 0; round < ROUNDS; round++) {
        floor[round] = call("do_nothing", round);
        ours[round] = call("comet_ack", round);
    }
    report(what, bench_median(floor, ROUNDS), bench_median(ours, ROUNDS), "<= 1.5");
}

/* ---- Draining beside one scan ------------------------------------------------------------------- */

static double scan(const char *table) {
    char sql[200];
    sqlite3_stmt *statement;
    uint64_t rows = 0;
    int64_t start;

    snprintf(sql, sizeof sql, "SELECT offset, timestamp, data FROM %s", table);
    statement = prepare(sql);
    start = bench_clock();
    drain(statement, &rows);
    start = bench_clock() - start;
    sqlite3_finalize(statement);
    return (double)start / (double)rows;
}

/* Batches of one shard are acknowledged once, those of several once a shard. */
static double consume(const char *table, unsigned shards, size_t round) {
    char sql[1400];
    sqlite3_stmt *batch;
    sqlite3_stmt *ack;
    uint64_t rows = 0;
    uint64_t before;
    int64_t start;

    snprintf(sql, sizeof sql,
             "SELECT offset, timestamp, data, shard FROM comet_consumer('%s', 'drain%zu')"
             " LIMIT %u",
             bench_path(table), round, BATCH_ROWS);
    batch = prepare(sql);
    snprintf(sql, sizeof sql, "SELECT comet_ack('%s', 'drain%zu', ?1, ?2)", bench_path(table),
             round);
    ack = prepare(sql);
    start = bench_clock();
    do {
        sqlite3_int64 last[SHARDS];
        int rc;

        before = rows;
        memset(last, -1, sizeof last);
        while ((rc = sqlite3_step(batch)) == SQLITE_ROW) {
            last[sqlite3_column_int64(batch, 3)] = sqlite3_column_int64(batch, 0);
            sink += sqlite3_column_int64(batch, 1) + sqlite3_column_bytes(batch, 2);
            rows++;
        }
        check(rc, "draining");
        sqlite3_reset(batch);
        for (unsigned shard = 0; shard < shards; shard++) {
            if (last[shard] >= 0) {
                sqlite3_bind_int64(ack, 1, shard);
                sqlite3_bind_int64(ack, 2, last[shard]);
                check(sqlite3_step(ack), "comet_ack");
                sqlite3_reset(ack);
            }
        }
    } while (rows > before);
    start = bench_clock() - start;
    if (rows != row_count) {
        bench_fail("%llu rows were drained", (unsigned long long)rows);
    }
    sqlite3_finalize(batch);
    sqlite3_finalize(ack);
    return (double)start / (double)rows;
}

static void measure_draining(const char *what, const char *table, unsigned shards) {
    double whole[ROUNDS];
    double batches[ROUNDS];

    for (size_t round = 0; round < ROUNDS; round++) {
        whole[round] = scan(table);
        batches[round] = consume(table, shards, round);
    }
    report(what, bench_median(whole, ROUNDS), bench_median(batches, ROUNDS), "<= 1.3");
}

/* ---- comet_lag() ------------------------------------------------------------------------------- */

static double lag(const char *table, sqlite3_int64 expected) {
    char sql[200];
    double figures[ROUNDS];
    sqlite3_stmt *statement;
    uint64_t rows = 0;

    snprintf(sql, sizeof sql, "SELECT comet_lag('%s', 'lags')", table);
    statement = prepare(sql);
    if (drain(statement, &rows) != expected) {
        bench_fail("%s: not %lld", sql, (long long)expected);
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        int64_t start = bench_clock();

        for (unsigned i = 0; i < LAG_COUNT; i++) {
            drain(statement, &rows);
        }
        figures[round] = (double)(bench_clock() - start) / LAG_COUNT;
    }
    sqlite3_finalize(statement);
    return bench_median(figures, ROUNDS);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        bench_fail("usage: bench_consumer path-of-comet.so");
    }
    row_count = bench_setting("BENCH_CONSUMER_ROWS", 1000000);
    check(sqlite3_open(":memory:", &db), ":memory:");
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
    check(sqlite3_load_extension(db, argv[1], "sqlite3_comet_init", NULL), argv[1]);
    check(sqlite3_create_function(db, "do_nothing", 4, SQLITE_UTF8, NULL, do_nothing, NULL, NULL),
          "do_nothing()");
    fill("one", 1, row_count);
    fill("many", SHARDS, row_count);
    fill("few", 1, LAG_FEW);
    run("CREATE TABLE batch AS SELECT shard, offset FROM one");
    printf("\nConsumers, %llu rows; ns a call or a row, median\n", (unsigned long long)row_count);
    printf("%-48s %10s %10s   %7s %s\n", "", "beside", "comet", "ratio", "target");
    measure_ack("comet_ack() a statement, beside do_nothing()", call_by_statement);
    measure_ack("comet_ack() a row of one SELECT", call_by_row);
    measure_draining("batches of 1000 with one ack, beside a scan", "one", 1);
    measure_draining("the same over 16 shards", "many", SHARDS);
    report("comet_lag() of all, beside of 1000", lag("few", LAG_FEW),
           lag("one", (sqlite3_int64)row_count), "<= 1.1");
    sqlite3_close(db);
    return 0;
}
