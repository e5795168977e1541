/* bench_sql.c -- comet_shard beside a do-nothing virtual table and an ordinary indexed table.
**
** Usage: bench_sql path-of-comet.so
**
** Three contenders, each with its own connection and a table `t` of the same columns:
**   floor  the do-nothing virtual table (floor.c) in a :memory: database: what SQLite costs
**   plain  t(offset INTEGER PRIMARY KEY, timestamp, data) with an index on timestamp, in a database
**          file, WAL, synchronous=NORMAL
**   comet  comet_shard in a :memory: database, its log in a directory beside the plain file
** The contenders take turns, and the median of the rounds counts.  $BENCH_ROWS shortens a run.
*/
#include "bench.h"
#include "floor.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { FLOOR, PLAIN, COMET, CONTENDER_COUNT };

#define LOAD_ROUNDS 3u
#define SCAN_ROUNDS 5u
#define LOOKUP_ROUNDS 5u
#define LOOKUP_COUNT 20000u
#define RANGE_COUNT 2000u
#define RANGE_ROWS 100u
#define TAIL_COUNT 5000u

typedef struct contender {
    sqlite3 *db;
    double figures[16]; /* ns of each round of the current measurement */
} contender;

static contender contenders[CONTENDER_COUNT];
static const char *extension;
static uint64_t row_count;
static uint64_t seed = 88172645463325252u;
static volatile sqlite3_int64 sink; /* results go here, so that nobody skips computing them */

static void check(sqlite3 *db, int rc, const char *what) {
    if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) {
        bench_fail("%s: %s", what, sqlite3_errmsg(db));
    }
}

static void run(sqlite3 *db, const char *sql) {
    check(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement = NULL;

    check(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL), sql);
    return statement;
}

/* Step to the end and return how many rows there were. */
static uint64_t drain(sqlite3_stmt *statement) {
    uint64_t rows = 0;
    int rc;

    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(statement); i++) {
            sink += sqlite3_column_type(statement, i) == SQLITE_INTEGER
                        ? sqlite3_column_int64(statement, i)
                        : sqlite3_column_bytes(statement, i);
        }
        rows++;
    }
    check(sqlite3_db_handle(statement), rc, sqlite3_sql(statement));
    sqlite3_reset(statement);
    return rows;
}

/* Give a contender an empty table `t`.  `name` keeps logs of different purposes apart. */
static void contender_open(contender *who, int kind, const char *name) {
    char sql[2048];
    const char *path = bench_path(name);

    sqlite3_close(who->db);
    who->db = NULL;
    bench_remove(path);
    check(NULL, sqlite3_open(kind == PLAIN ? path : ":memory:", &who->db), path);
    switch (kind) {
    case FLOOR:
        check(who->db, bench_floor_register(who->db), "bench_floor");
        snprintf(sql, sizeof sql, "CREATE VIRTUAL TABLE t USING bench_floor(%llu)",
                 (unsigned long long)row_count);
        break;
    case PLAIN:
        snprintf(sql, sizeof sql,
                 "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                 "CREATE TABLE t(offset INTEGER PRIMARY KEY, timestamp, data);"
                 "CREATE INDEX t_timestamp ON t(timestamp)");
        break;
    default:
        sqlite3_db_config(who->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
        check(who->db, sqlite3_load_extension(who->db, extension, "sqlite3_comet_init", NULL),
              "loading the extension");
        snprintf(sql, sizeof sql, "CREATE VIRTUAL TABLE t USING comet_shard(log='%s', shard=0)",
                 path);
        break;
    }
    run(who->db, sql);
}

/* Insert `rows` rows, each its own transaction unless `one_transaction`; ns a row. */
static double insert(sqlite3 *db, uint64_t rows, bool one_transaction, bool with_time) {
    sqlite3_stmt *statement =
        prepare(db, with_time ? "INSERT INTO t(timestamp, data) VALUES(?2, ?1)"
                              : "INSERT INTO t(data) VALUES(?1)");
    int64_t start = bench_clock();

    if (one_transaction) {
        run(db, "BEGIN");
    }
    for (uint64_t i = 0; i < rows; i++) {
        sqlite3_bind_text(statement, 1, bench_row(i), (int)BENCH_ROW_BYTES, SQLITE_STATIC);
        if (with_time) {
            sqlite3_bind_int64(statement, 2, bench_time(i));
        }
        if (sqlite3_step(statement) != SQLITE_DONE) {
            check(db, sqlite3_errcode(db), "INSERT");
        }
        sqlite3_reset(statement);
    }
    if (one_transaction) {
        run(db, "COMMIT");
    }
    start = bench_clock() - start;
    sqlite3_finalize(statement);
    return (double)start / (double)rows;
}

/* Print a line: the three figures and the two ratios, each beside its target. */
static void report(const char *what, const double *ns, const char *floor_target,
                   const char *plain_target) {
    printf("%-34s %9s %9s %9s   %7s %-8s %7s %s\n", what, bench_cell(ns[FLOOR]),
           bench_cell(ns[PLAIN]), bench_cell(ns[COMET]),
           ns[FLOOR] > 0 ? bench_cell(ns[COMET] / ns[FLOOR]) : "-", floor_target,
           ns[PLAIN] > 0 ? bench_cell(ns[COMET] / ns[PLAIN]) : "-", plain_target);
    fflush(stdout);
}

static void medians(size_t rounds, double *ns) {
    for (int kind = 0; kind < CONTENDER_COUNT; kind++) {
        ns[kind] = bench_median(contenders[kind].figures, rounds);
    }
}

static void bench_autocommit(void) {
    double ns[CONTENDER_COUNT];
    uint64_t rows = row_count / 5;

    for (size_t round = 0; round < LOAD_ROUNDS; round++) {
        for (int kind = 0; kind < CONTENDER_COUNT; kind++) {
            contender *who = &contenders[kind];

            contender_open(who, kind, kind == PLAIN ? "plain" : "comet");
            who->figures[round] = insert(who->db, kind == PLAIN ? rows / 10 : rows, false, true);
        }
    }
    medians(LOAD_ROUNDS, ns);
    report("INSERT, each its own transaction", ns, "<= 1.5", "");
}

/* The last round's tables stay for the reading benchmarks. */
static void bench_load(bool with_time) {
    double ns[CONTENDER_COUNT];

    for (size_t round = 0; round < LOAD_ROUNDS; round++) {
        for (int kind = 0; kind < CONTENDER_COUNT; kind++) {
            contender *who = &contenders[kind];

            if (kind == PLAIN && !with_time) {
                who->figures[round] = -1;
                continue;
            }
            contender_open(who, kind, kind == PLAIN ? "plain" : "comet");
            who->figures[round] = insert(who->db, row_count, true, with_time);
        }
    }
    medians(LOAD_ROUNDS, ns);
    report(with_time ? "INSERT, one transaction" : "INSERT, one transaction, time now", ns,
           with_time ? "<= 1.8" : "", with_time ? "<= 0.167" : "");
}

static void bench_scan(const char *sql, const char *floor_target) {
    double ns[CONTENDER_COUNT];

    for (size_t round = 0; round < SCAN_ROUNDS; round++) {
        for (int kind = 0; kind < CONTENDER_COUNT; kind++) {
            contender *who = &contenders[kind];
            sqlite3_stmt *statement = prepare(who->db, sql);
            int64_t start = bench_clock();

            drain(statement);
            who->figures[round] = (double)(bench_clock() - start) / (double)row_count;
            sqlite3_finalize(statement);
        }
    }
    medians(SCAN_ROUNDS, ns);
    report(sql + strlen("SELECT "), ns, floor_target, "");
}

/* Run `sql` `count` times; parameter 1 is a random offset, or its timestamp and the 99th after it. */
static double lookup(contender *who, const char *sql, size_t count, uint64_t rows_expected) {
    sqlite3_stmt *statement = prepare(who->db, sql);
    int parameters = sqlite3_bind_parameter_count(statement);
    int64_t start = bench_clock();

    for (size_t i = 0; i < count; i++) {
        uint64_t offset = bench_random(&seed) % (row_count - RANGE_ROWS);

        if (parameters == 1) {
            sqlite3_bind_int64(statement, 1, (sqlite3_int64)offset);
        } else if (parameters == 2) {
            sqlite3_bind_int64(statement, 1, bench_time(offset));
            sqlite3_bind_int64(statement, 2, bench_time(offset + RANGE_ROWS - 1));
        }
        if (drain(statement) != rows_expected) {
            bench_fail("%s: not %u rows", sql, (unsigned)rows_expected);
        }
    }
    start = bench_clock() - start;
    sqlite3_finalize(statement);
    return (double)start / (double)count;
}

/* plain and comet only: a virtual table without an index has nothing to compare. */
static void bench_lookup(const char *what, const char *sql, size_t count, uint64_t rows_expected,
                         const char *plain_target) {
    double ns[CONTENDER_COUNT];

    for (size_t round = 0; round < LOOKUP_ROUNDS; round++) {
        contenders[FLOOR].figures[round] = -1;
        for (int kind = PLAIN; kind <= COMET; kind++) {
            contenders[kind].figures[round] = lookup(&contenders[kind], sql, count, rows_expected);
        }
    }
    medians(LOOKUP_ROUNDS, ns);
    report(what, ns, "", plain_target);
}

/* max(timestamp) on a table of a hundredth of the rows: the same if it is O(1). */
static void bench_small_maximum(void) {
    contender small = {0};
    double figures[LOOKUP_ROUNDS];

    contender_open(&small, COMET, "small");
    insert(small.db, row_count / 100, true, true);
    for (size_t round = 0; round < LOOKUP_ROUNDS; round++) {
        figures[round] = lookup(&small, "SELECT max(timestamp) FROM t", TAIL_COUNT, 1);
    }
    printf("%-34s %9s %9s %9s\n", "max(timestamp), 1/100 of the rows", "-", "-",
           bench_cell(bench_median(figures, LOOKUP_ROUNDS)));
    sqlite3_close(small.db);
}

int main(int argc, char **argv) {
    if (argc != 2) {
        bench_fail("usage: bench_sql path-of-comet.so");
    }
    extension = argv[1];
    bench_warm_memory();
    row_count = bench_setting("BENCH_ROWS", 1250000);
    if (row_count < 10 * RANGE_ROWS) {
        row_count = 10 * RANGE_ROWS;
    }
    printf("SQL, %llu JSON rows of %u bytes, SQLite %s; ns a row or a query, median\n",
           (unsigned long long)row_count, BENCH_ROW_BYTES, sqlite3_libversion());
    printf("%-34s %9s %9s %9s   %-16s %s\n", "", "floor", "plain", "comet", "comet/floor target",
           "comet/plain target");
    bench_autocommit();
    bench_load(false);
    bench_load(true);
    bench_scan("SELECT sum(timestamp & 1) FROM t", "<= 1.5");
    bench_scan("SELECT sum(length(data)) FROM t", "<= 1.2");
    bench_scan("SELECT count(*) FROM t", "");
    bench_lookup("one row by random offset", "SELECT data FROM t WHERE offset = ?", LOOKUP_COUNT, 1,
                 "<= 0.6");
    bench_lookup("100 rows of a random time range",
                 "SELECT timestamp, data FROM t WHERE timestamp BETWEEN ? AND ?", RANGE_COUNT,
                 RANGE_ROWS, "<= 1");
    bench_lookup("newest 10 rows", "SELECT timestamp, data FROM t ORDER BY offset DESC LIMIT 10",
                 TAIL_COUNT, 10, "<= 1");
    bench_lookup("max(timestamp)", "SELECT max(timestamp) FROM t", TAIL_COUNT, 1, "O(1)");
    bench_small_maximum();
    for (int kind = 0; kind < CONTENDER_COUNT; kind++) {
        sqlite3_close(contenders[kind].db);
    }
    return 0;
}
