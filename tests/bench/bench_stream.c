/* bench_stream.c -- what many shards cost beside one.
**
** Usage: bench_stream path-of-comet.so
**
** Two logs with the same rows: one over SHARDS shards, row by row at random, one in a single shard;
** both read through comet_stream.  $BENCH_STREAM_ROWS (rows a shard) shortens a run.
*/
#include "bench.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#define SHARDS 256u
#define WRITE_SHARDS 16u
#define TRANSACTION_ROWS 1000u
#define ROUNDS 5u
#define TAIL_COUNT 500u
#define SHARD_COST_NS 2000.0 /* that the newest rows may cost for each shard */

static sqlite3 *db;
static volatile sqlite3_int64 sink; /* results go here, so that nobody skips computing them */

static void check(int rc, const char *what) {
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) {
        bench_fail("%s: %s", what, sqlite3_errmsg(db));
    }
}

static void run(const char *sql) {
    check(sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

/* `sql` with the table's name, prepared. */
static sqlite3_stmt *prepare(const char *sql, const char *table) {
    sqlite3_stmt *statement = NULL;
    char text[512];

    snprintf(text, sizeof text, sql, table);
    check(sqlite3_prepare_v2(db, text, -1, &statement, NULL), text);
    return statement;
}

static uint64_t drain(sqlite3_stmt *statement) {
    uint64_t rows = 0;
    int rc;

    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        sink += sqlite3_column_int64(statement, 0);
        rows++;
    }
    check(rc, sqlite3_sql(statement));
    sqlite3_reset(statement);
    return rows;
}

static void create(const char *table, unsigned shards) {
    char sql[1200];

    snprintf(sql, sizeof sql, "CREATE VIRTUAL TABLE %s USING comet_stream(log='%s', shards=%u)",
             table, bench_path(table), shards);
    run(sql);
}

/* `rows` rows in transactions of `batch`, each to a shard at random or by key; ns a row. */
static double insert(const char *table, uint64_t rows, uint64_t batch, unsigned shards,
                     int by_key) {
    sqlite3_stmt *statement =
        prepare(by_key ? "INSERT INTO %s(key, timestamp, data) VALUES (?1, ?2, ?3)"
                       : "INSERT INTO %s(shard, timestamp, data) VALUES (?1, ?2, ?3)",
                table);
    uint64_t seed = 88172645463325252u;
    int64_t start = bench_clock();

    for (uint64_t i = 0; i < rows; i++) {
        char key[24];

        if (i % batch == 0) {
            run("BEGIN");
        }
        if (by_key) {
            int length = snprintf(key, sizeof key, "user%u", (unsigned)(i % 4096));

            sqlite3_bind_text(statement, 1, key, length, SQLITE_STATIC);
        } else {
            sqlite3_bind_int64(statement, 1, (sqlite3_int64)(bench_random(&seed) % shards));
        }
        sqlite3_bind_int64(statement, 2, bench_time(i));
        sqlite3_bind_text(statement, 3, bench_row(i), (int)BENCH_ROW_BYTES, SQLITE_STATIC);
        check(sqlite3_step(statement), "INSERT");
        sqlite3_reset(statement);
        if (i % batch == batch - 1 || i + 1 == rows) {
            run("COMMIT");
        }
    }
    start = bench_clock() - start;
    sqlite3_finalize(statement);
    return (double)start / (double)rows;
}

/* ns a run of `sql`, the median of the rounds, after one run unmeasured. */
static double query(const char *sql, const char *table, uint64_t count, uint64_t rows_expected) {
    sqlite3_stmt *statement = prepare(sql, table);
    double figures[ROUNDS];

    if (drain(statement) != rows_expected) {
        bench_fail("%s: not %llu rows", sql, (unsigned long long)rows_expected);
    }
    for (size_t round = 0; round < ROUNDS; round++) {
        int64_t start = bench_clock();

        for (uint64_t i = 0; i < count; i++) {
            drain(statement);
        }
        figures[round] = (double)(bench_clock() - start) / (double)count;
    }
    sqlite3_finalize(statement);
    return bench_median(figures, ROUNDS);
}

static void report(const char *what, double one, double many, double target) {
    printf("%-44s %10s %10s   %7.2f <= %.2f\n", what, bench_cell(one), bench_cell(many), many / one,
           target);
    fflush(stdout);
}

/* Two new logs each round, so that neither has the other's warm files. */
static void bench_write(uint64_t batch, const char *what) {
    double one[ROUNDS];
    double many[ROUNDS];

    for (unsigned round = 0; round < ROUNDS; round++) {
        char names[2][24];
        char sql[96];

        snprintf(names[0], sizeof names[0], "a%u_%u", (unsigned)batch, round);
        snprintf(names[1], sizeof names[1], "b%u_%u", (unsigned)batch, round);
        create(names[0], 1);
        create(names[1], WRITE_SHARDS);
        insert(names[0], 10000, 10000, 1, 1); /* the shards are made and known */
        insert(names[1], 10000, 10000, WRITE_SHARDS, 1);
        one[round] = insert(names[0], 200000, batch, 1, 1);
        many[round] = insert(names[1], 200000, batch, WRITE_SHARDS, 1);
        for (int i = 0; i < 2; i++) {
            snprintf(sql, sizeof sql, "DROP TABLE %s", names[i]);
            run(sql);
        }
    }
    report(what, bench_median(one, ROUNDS), bench_median(many, ROUNDS), 1.3);
}

int main(int argc, char **argv) {
    uint64_t rows = SHARDS * bench_setting("BENCH_STREAM_ROWS", 10000);
    double one;
    double many;

    if (argc != 2) {
        bench_fail("usage: bench_stream path-of-comet.so");
    }
    check(sqlite3_open(":memory:", &db), ":memory:");
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
    check(sqlite3_load_extension(db, argv[1], "sqlite3_comet_init", NULL), argv[1]);
    printf("\nStreams, %llu rows; ns a row or a query, median; by key to %u shards, read from %u\n",
           (unsigned long long)rows, WRITE_SHARDS, SHARDS);
    printf("%-44s %10s %10s   %7s %s\n", "", "one shard", "many", "ratio", "target");
    bench_write(TRANSACTION_ROWS, "INSERT by key, 1000 rows a transaction");
    bench_write(200000, "INSERT by key, one transaction");
    create("single", 1);
    create("merged", SHARDS);
    insert("single", rows, 100000, 1, 0);
    insert("merged", rows, 100000, SHARDS, 0);
    one = query("SELECT timestamp FROM %s ORDER BY timestamp DESC LIMIT 10", "single", TAIL_COUNT,
                10);
    many = query("SELECT timestamp FROM %s ORDER BY timestamp DESC LIMIT 10", "merged", TAIL_COUNT,
                 10);
    report("newest 10 rows by time", one, many, (3 * one + SHARDS * SHARD_COST_NS) / one);
    /* The subqueries keep SQLite from dropping the order, and are paid for on both sides. */
    one = query("SELECT sum(timestamp & 1) FROM (SELECT timestamp FROM %s LIMIT -1)", "merged", 1,
                1) /
          (double)rows;
    many = query("SELECT sum(timestamp & 1) FROM (SELECT timestamp FROM %s ORDER BY timestamp"
                 " LIMIT -1)",
                 "merged", 1, 1) /
           (double)rows;
    report("scan in time order, beside unordered", one, many, 2);
    one = query("SELECT sum(length(data)) FROM (SELECT data FROM %s LIMIT -1)", "merged", 1, 1) /
          (double)rows;
    many = query("SELECT sum(length(data)) FROM (SELECT data FROM %s ORDER BY timestamp LIMIT -1)",
                 "merged", 1, 1) /
           (double)rows;
    report("the same with data", one, many, 2);
    sqlite3_close(db);
    return 0;
}
