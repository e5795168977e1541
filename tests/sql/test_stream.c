/* If these break, a stream loses rows between its shards, orders them wrongly, or sends a key to
** two places.  What is read is compared with an ordinary table over random queries from fixed
** seeds. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define ENTRY_COUNT 1500
#define QUERY_COUNT 3400

typedef enum order { IN_ORDER, OUT_OF_ORDER } order;

static const uint32_t shards[] = {0, 1, 2, 3, 7, 9999, 12345};
#define SHARD_COUNT (sizeof shards / sizeof shards[0])

static void insert_entries(sqlite3 *db, order wanted, uint64_t seed, int first, int count) {
    int64_t timestamp = 1000 + first;

    for (int i = first; i < first + count; i++) {
        timestamp += random_below(&seed, 4);
        run(db, "INSERT INTO t(shard, timestamp, data) VALUES (%u, %lld, 'entry %d %c')",
            shards[random_below(&seed, SHARD_COUNT)],
            wanted == IN_ORDER ? timestamp : (long long)(1000 + random_below(&seed, 2000)), i,
            'a' + (int)random_below(&seed, 26));
        if (i % 100 == 99 && sqlite3_get_autocommit(db) == 0 && count > 100) {
            run(db, "COMMIT; BEGIN");
        }
    }
}

#define REFILL                                                                                     \
    "DELETE FROM plain; INSERT INTO plain SELECT rowid, shard, offset, timestamp, data, id FROM t"

/* The same entries in `t` (comet, many small segments and blocks) and in `plain`. */
static void make_twins(sqlite3 *db, order wanted) {
    run(db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry', max_file_size=8192,"
            " boundary_interval=10);"
            "CREATE TABLE plain(number INTEGER PRIMARY KEY, shard INTEGER, offset INTEGER,"
            " timestamp INTEGER, data, id TEXT);"
            "CREATE INDEX plain_timestamp ON plain(timestamp)");
    run(db, "BEGIN");
    insert_entries(db, wanted, 42, 0, ENTRY_COUNT);
    run(db, "COMMIT; " REFILL);
    expect(db, "1500|7", "SELECT count(*), count(DISTINCT shard) FROM plain");
}

static void append_value(sqlite3_str *sql, uint64_t *seed, const char *column) {
    static const char *const odd[] = {"NULL", "'abc'", "x'3130'", "''",         "'7'",   "7.0",
                                      "2.5",  "-1",    "9e999",   "4294967296", "1e300", "'12345'"};

    if (random_below(seed, 12) == 0) {
        sqlite3_str_appendall(sql, odd[random_below(seed, sizeof odd / sizeof odd[0])]);
    } else if (strcmp(column, "shard") == 0) {
        sqlite3_str_appendf(sql, "%u",
                            random_below(seed, 4) ? shards[random_below(seed, SHARD_COUNT)]
                                                  : random_below(seed, 20000));
    } else if (strcmp(column, "id") == 0) {
        sqlite3_str_appendf(sql, "'%s%u-%u'", random_below(seed, 8) ? "" : "0",
                            shards[random_below(seed, SHARD_COUNT)], random_below(seed, 260));
    } else if (strcmp(column, "rowid") == 0) {
        sqlite3_str_appendf(sql, "%lld",
                            (long long)shards[random_below(seed, SHARD_COUNT)] << 40 |
                                random_below(seed, 260));
    } else if (strcmp(column, "offset") == 0) {
        sqlite3_str_appendf(sql, "%u", random_below(seed, 250));
    } else {
        sqlite3_str_appendf(sql, "%u", 900 + random_below(seed, 2300));
    }
}

static void append_condition(sqlite3_str *sql, uint64_t *seed) {
    static const char *const operators[] = {"=", "<", "<=", ">", ">=", "IS", "!="};
    static const char *const columns[] = {"offset", "timestamp", "shard",    "shard",
                                          "id",     "rowid",     "timestamp"};
    const char *column = columns[random_below(seed, 7)];
    bool exact = strcmp(column, "id") == 0 || strcmp(column, "rowid") == 0;

    switch (random_below(seed, 9)) {
    case 0:
    case 1:
        sqlite3_str_appendf(sql, "%s IN (", column);
        for (uint32_t i = random_below(seed, 5);; i--) {
            append_value(sql, seed, column);
            if (i == 0) {
                break;
            }
            sqlite3_str_appendall(sql, ",");
        }
        sqlite3_str_appendall(sql, ")");
        break;
    case 2:
        sqlite3_str_appendf(sql, "data LIKE '%%%c'", 'a' + (int)random_below(seed, 26));
        break;
    case 3:
        sqlite3_str_appendf(sql, "(shard, offset) %s (%u, %u)", random_below(seed, 2) ? ">" : "<=",
                            shards[random_below(seed, SHARD_COUNT)], random_below(seed, 250));
        break;
    default:
        sqlite3_str_appendf(
            sql, "%s %s ", column,
            operators[exact ? 0 : random_below(seed, random_below(seed, 4) ? 5 : 7)]);
        append_value(sql, seed, column);
        break;
    }
}

/* A query with %s for the table; every order is total. */
static char *random_query(uint64_t *seed) {
    static const char *const orders[] = {
        " ORDER BY timestamp, shard, offset",
        " ORDER BY timestamp DESC, shard DESC, offset DESC",
        " ORDER BY timestamp, shard, offset, data",
        " ORDER BY timestamp DESC, shard, offset",
        " ORDER BY shard, offset",
        " ORDER BY shard DESC, offset",
        " ORDER BY shard, offset DESC",
        " ORDER BY shard DESC, offset DESC, data",
        " ORDER BY shard, timestamp, offset",
        " ORDER BY shard DESC, timestamp DESC, offset DESC",
        " ORDER BY shard, timestamp, offset DESC",
        " ORDER BY offset, shard",
        " ORDER BY offset DESC, timestamp, shard",
        " ORDER BY data, shard, offset",
    };
    static const char *const results[] = {"shard, offset, timestamp, data", "shard, offset",
                                          "timestamp, id", "rowid, data"};
    static const char *const aggregates[] = {
        "count(*)",       "min(timestamp), max(timestamp)",          "max(shard)", "min(offset)",
        "max(timestamp)", "count(*), sum(timestamp & 1), max(data)", "min(shard)",
    };
    sqlite3_str *sql = sqlite3_str_new(NULL);
    bool aggregate = random_below(seed, 5) == 0;

    sqlite3_str_appendf(sql, "SELECT %s FROM %%s",
                        aggregate ? aggregates[random_below(seed, 7)]
                                  : results[random_below(seed, 4)]);
    for (uint32_t i = random_below(seed, 4); i > 0; i--) {
        sqlite3_str_appendall(sql, strstr(sqlite3_str_value(sql), "WHERE") ? " AND " : " WHERE ");
        append_condition(sql, seed);
    }
    if (!aggregate) {
        sqlite3_str_appendall(sql, orders[random_below(seed, 14)]);
        if (random_below(seed, 2)) {
            sqlite3_str_appendf(sql, " LIMIT %d", (int)random_below(seed, 40) - 1);
            if (random_below(seed, 2)) {
                sqlite3_str_appendf(sql, " OFFSET %d", (int)random_below(seed, 500) - 1);
            }
        }
    }
    return sqlite3_str_finish(sql);
}

static void compare_random_queries(sqlite3 *db, uint64_t seed) {
    for (int i = 0; i < QUERY_COUNT; i++) {
        char *query = random_query(&seed);
        const char *place = strstr(query, "%s");
        char *ours = sqlite3_mprintf("%.*st%s", (int)(place - query), query, place + 2);
        char *theirs = sqlite3_mprintf("%.*splain%s", (int)(place - query), query, place + 2);
        char *expected = rows_of(db, theirs);

        expect(db, expected, "%s", ours);
        sqlite3_free(expected);
        sqlite3_free(theirs);
        sqlite3_free(ours);
        sqlite3_free(query);
    }
}

static void test_random_queries_in_order(void **state) {
    fixture *used = *state;

    make_twins(used->db, IN_ORDER);
    compare_random_queries(used->db, 1);
    fixture_reopen(used);
    compare_random_queries(used->db, 2);
}

static void test_random_queries_out_of_order(void **state) {
    fixture *used = *state;

    make_twins(used->db, OUT_OF_ORDER);
    compare_random_queries(used->db, 3);
}

static void test_random_queries_inside_a_transaction(void **state) {
    fixture *used = *state;

    make_twins(used->db, IN_ORDER);
    run(used->db, "BEGIN; SAVEPOINT a");
    insert_entries(used->db, OUT_OF_ORDER, 43, ENTRY_COUNT, 90);
    run(used->db, "SAVEPOINT b");
    insert_entries(used->db, OUT_OF_ORDER, 44, 5000, 50);
    run(used->db, "ROLLBACK TO b; " REFILL);
    expect(used->db, "1590", "SELECT count(*) FROM t");
    compare_random_queries(used->db, 4);
    run(used->db, "ROLLBACK");
    expect(used->db, "1500", "SELECT count(*) FROM t");
}

static void test_plans_in_words(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry')");
    expect_plan(used->db, "all entries ORDER BY timestamp DESC LIMIT ?",
                "SELECT * FROM t ORDER BY timestamp DESC LIMIT 10");
    expect_plan(used->db, "all entries ORDER BY shard, offset", "SELECT * FROM t ORDER BY 1, 2");
    expect_plan(used->db, "all entries ORDER BY shard DESC, offset DESC LIMIT ?",
                "SELECT * FROM t ORDER BY shard DESC, offset DESC LIMIT 5");
    expect_plan(used->db, "shard=? ORDER BY timestamp LIMIT ?",
                "SELECT * FROM t WHERE shard IN (1, 3) ORDER BY timestamp LIMIT 5");
    expect_plan(used->db, "shard=? AND offset>? ORDER BY offset LIMIT ?",
                "SELECT * FROM t WHERE shard = 3 AND offset > 7 ORDER BY offset LIMIT 5");
    expect_plan(used->db, "id=?", "SELECT * FROM t WHERE id = '7-1234'");
    expect_plan(used->db, "all entries", "SELECT * FROM t ORDER BY offset");
    expect_plan(used->db, "timestamp>? AND shard>=? AND shard<=?",
                "SELECT * FROM t WHERE shard BETWEEN 2 AND 3 AND timestamp > 5");
}

static void test_keys_are_routed(void **state) {
    fixture *used = *state;

    expect(used->db, "6|6|5|197|12|44|8|104",
           "SELECT comet_pick_shard('user123', 16), comet_pick_shard('user123', 256),"
           " comet_pick_shard('', 16), comet_pick_shard('', 256), comet_pick_shard('a', 16),"
           " comet_pick_shard(x'61', 256), comet_pick_shard('foobar', 0),"
           " comet_pick_shard('foobar', 256)");
    expect(used->db, "NULL|NULL|NULL",
           "SELECT comet_pick_shard(NULL, 4), comet_shard_name(NULL, 1), comet_shard_id(NULL)");
    refuse(used->db, SQLITE_ERROR, "number of shards", "SELECT comet_pick_shard('a', -1)");
    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry', shards=16);"
                  "INSERT INTO t(key, data) VALUES ('user123', 1), ('', 2), ('a', 3), (x'61', 4)");
    expect(used->db, "5|2\n6|1\n12|3\n12|4", "SELECT shard, data FROM t ORDER BY shard, offset");
    expect(used->db, "1", "SELECT count(*) FROM t WHERE shard = comet_pick_shard('user123', 16)");
    run(used->db, "INSERT INTO comet_stream(log, key, data) VALUES ('telemetry', 'foobar', 5)");
    expect(used->db, "8-0", "SELECT id FROM t WHERE data = '5'");
    run(used->db, "INSERT INTO t(shard, key, data) VALUES (3, 'user123', 6)");
    expect(used->db, "3", "SELECT shard FROM t WHERE data = '6'");
    refuse(used->db, SQLITE_ERROR, "shards 0 to 15", "INSERT INTO t(shard, data) VALUES (16, 1)");
}

static void test_rows_without_a_key_take_turns(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry', shards=8);"
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 80)"
                  " INSERT INTO t(data) SELECT i FROM n");
    expect(used->db, "8|10|10",
           "SELECT count(*), min(n), max(n) FROM"
           " (SELECT count(*) AS n FROM t GROUP BY shard)");
}

/* With several processes, each writes its own shards: shard mod process_count = process_id. */
static void test_processes_write_their_own_shards(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry', shards=8,"
                  " process_id=1, process_count=4);"
                  "INSERT INTO t(data) VALUES (1), (2), (3), (4);"
                  "INSERT INTO t(key, data) VALUES ('a', 5), ('b', 6), ('c', 7), ('user', 8)");
    expect(used->db, "1,5",
           "SELECT group_concat(shard) FROM (SELECT DISTINCT shard FROM t"
           " ORDER BY shard)");
    refuse(used->db, SQLITE_READONLY, "process_id", "INSERT INTO t(shard, data) VALUES (2, 1)");
}

static void test_names_of_shards(void **state) {
    fixture *used = *state;

    expect(used->db, "events:v1:shard:0007|:shard:0000|a b'c:shard:12345",
           "SELECT comet_shard_name('events:v1', 7), comet_shard_name('', 0),"
           " comet_shard_name('a b''c', 12345)");
    expect(used->db, "7|3|4294967295",
           "SELECT comet_shard_id('events:v1:shard:0007'), comet_shard_id('logs:0003'),"
           " comet_shard_id(':shard:4294967295')");
    refuse(used->db, SQLITE_ERROR, "is not the name of a shard", "SELECT comet_shard_id('a:1')");
    refuse(used->db, SQLITE_ERROR, "out of range", "SELECT comet_shard_name('a', -1)");
    run(used->db, "CREATE VIRTUAL TABLE \"o'dd \"\"name\" USING"
                  " comet_stream(log='it''s here', stream='a \"b\" ''c''', shards=2);"
                  "INSERT INTO \"o'dd \"\"name\"(key, data) VALUES ('k', 'x')");
    expect(used->db, "a \"b\" 'c'|NULL|x", "SELECT stream, key, data FROM \"o'dd \"\"name\"");
    expect(used->db, "x", "SELECT data FROM comet_stream('it''s here')");
}

static void test_a_transaction_over_several_shards(void **state) {
    fixture *used = *state;
    sqlite3 *other = db_open(used->database);

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry', shards=4);"
                  "INSERT INTO t(shard, data) VALUES (0, 'zero')");
    run(used->db, "BEGIN; INSERT INTO t(shard, data) VALUES (1, 'a'), (2, 'b');"
                  "SAVEPOINT s; INSERT INTO t(shard, data) VALUES (2, 'no'), (3, 'no'), (0, 'no');"
                  "ROLLBACK TO s; INSERT INTO t(shard, data) VALUES (3, 'c')");
    expect(used->db, "0-0 zero,1-0 a,2-0 b,3-0 c",
           "SELECT group_concat(id || ' ' || data) FROM (SELECT id, data FROM t ORDER BY shard, "
           "offset)");
    expect(other, "zero", "SELECT data FROM comet_stream('telemetry')");
    run(used->db, "COMMIT");
    expect(other, "zero\na\nb\nc",
           "SELECT data FROM comet_stream('telemetry') ORDER BY shard, offset");
    run(used->db, "BEGIN; INSERT INTO t(shard, data) VALUES (1, 'x'), (2, 'y'); ROLLBACK");
    expect(used->db, "4", "SELECT count(*) FROM t");
    expect(used->db, "1|0|1|1",
           "SELECT max(shard) = 3, min(offset), count(DISTINCT offset),"
           " count(*) = 4 FROM t");
    db_close(other);
}

/* One shard that another writer holds stops the whole COMMIT before it begins to be seen. */
static void test_a_shard_that_is_held_stops_the_row_only(void **state) {
    fixture *used = *state;
    sqlite3 *other = db_open(":memory:");

    run(used->db, "CREATE VIRTUAL TABLE temp.t USING comet_stream(log='telemetry', shards=4);"
                  "INSERT INTO t(shard, data) VALUES (0, 'a'), (1, 'a'), (2, 'a')");
    run(other,
        "CREATE VIRTUAL TABLE o USING comet_stream(log='%s/telemetry', shards=4);"
        "BEGIN; INSERT INTO o(shard, data) VALUES (2, 'held')",
        used->directory);
    run(used->db, "BEGIN; INSERT INTO t(shard, data) VALUES (0, 'b')");
    refuse(used->db, SQLITE_BUSY, "", "INSERT INTO t(shard, data) VALUES (1, 'b'), (2, 'b')");
    run(used->db, "COMMIT");
    expect(used->db, "a,b,a,a",
           "SELECT group_concat(data) FROM (SELECT data FROM t ORDER BY shard, offset)");
    run(other, "COMMIT");
    expect(used->db, "held", "SELECT data FROM t WHERE id = '2-1'");
    db_close(other);
}

static void test_shards_of_others_are_discovered(void **state) {
    fixture *used = *state;
    sqlite3 *other = db_open(used->database);
    char path[700];
    sqlite3_stmt *statement = NULL;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry');"
                  "INSERT INTO t(shard, data) VALUES (3, 'mine')");
    assert_int_equal(sqlite3_prepare_v2(used->db, "SELECT count(*) FROM t", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 1);
    sqlite3_reset(statement);
    run(other, "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', 12345, 'theirs'),"
               " ('telemetry', 4294967295, 'far'), ('telemetry', 0, 'first')");
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 4);
    sqlite3_finalize(statement);
    expect(used->db, "0|first\n3|mine\n12345|theirs\n4294967295|far",
           "SELECT shard, data FROM t ORDER BY shard");
    expect(used->db, "far", "SELECT data FROM t WHERE id = '4294967295-0'");
    expect(used->db, "far",
           "SELECT data FROM t WHERE rowid ="
           " (SELECT rowid FROM t WHERE shard = 4294967295)");
    /* What is no shard is passed over. */
    snprintf(path, sizeof path, "%s/telemetry/shard-0007-backup", used->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/telemetry/shard-7", used->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/telemetry/lost+found", used->directory);
    assert_int_equal(mkdir(path, 0700), 0);
    expect(used->db, "4", "SELECT count(*) FROM t");
    db_close(other);
}

static void test_shards_limit_what_is_read(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE all_of_it USING comet_stream(log='telemetry');"
                  "CREATE VIRTUAL TABLE two USING comet_stream(log='telemetry', shards=2);"
                  "INSERT INTO all_of_it(shard, data) VALUES (0, 'a'), (1, 'b'), (2, 'c')");
    expect(used->db, "3|2", "SELECT (SELECT count(*) FROM all_of_it), (SELECT count(*) FROM two)");
    expect(used->db, "", "SELECT * FROM two WHERE shard = 2");
    expect(used->db, "b", "SELECT data FROM two WHERE shard IN (1, 2, 5)");
}

/* Data files of this process that are open, of the shards that `name` stands in. */
static int open_data_files(const char *name) {
    DIR *directory = opendir("/proc/self/fd");
    struct dirent *entry;
    int count = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        char link[600];
        char target[1024] = "";

        snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
        if (readlink(link, target, sizeof target - 1) > 0 && strstr(target, name) != NULL &&
            strstr(target, ".comet") != NULL && strstr(target, "/log-") != NULL) {
            count++;
        }
    }
    closedir(directory);
    return count;
}

/* 20 shards that follow each other in time: a window in 3 of them opens 3. */
static void test_a_window_opens_only_the_shards_it_lies_in(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry', shards=20);"
                  "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 1999)"
                  " INSERT INTO t(shard, timestamp, data) SELECT i / 100, i, 'x' FROM n");
    fixture_reopen(used);
    assert_int_equal(open_data_files(used->directory), 0);
    expect(used->db, "250|750|999",
           "SELECT count(*), min(timestamp), max(timestamp) FROM t"
           " WHERE timestamp BETWEEN 750 AND 999");
    assert_int_equal(open_data_files(used->directory), 3);
    expect(used->db, "1999\n1998", "SELECT timestamp FROM t ORDER BY timestamp DESC LIMIT 2");
    assert_int_equal(open_data_files(used->directory), 4);
    expect(used->db, "0", "SELECT timestamp FROM t ORDER BY timestamp LIMIT 1");
    assert_int_equal(open_data_files(used->directory), 5);
    expect(used->db, "1250", "SELECT timestamp FROM t ORDER BY shard, offset LIMIT 1 OFFSET 1250");
    assert_int_equal(open_data_files(used->directory), 6);
}

static void test_changes_and_wrong_arguments_are_refused(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry', stream='s');"
                  "INSERT INTO t(stream, data) VALUES ('s', 'x')");
    refuse(used->db, SQLITE_ERROR, "append-only", "DELETE FROM t");
    refuse(used->db, SQLITE_ERROR, "append-only", "UPDATE t SET data = 'y'");
    refuse(used->db, SQLITE_CONSTRAINT, "offset", "INSERT INTO t(offset, data) VALUES (5, 'x')");
    refuse(used->db, SQLITE_CONSTRAINT, "id is given", "INSERT INTO t(id, data) VALUES ('0-1', 1)");
    refuse(used->db, SQLITE_CONSTRAINT, "its log and stream",
           "INSERT INTO t(stream, data) VALUES ('other', 'x')");
    refuse(used->db, SQLITE_CONSTRAINT, "NULL", "INSERT INTO t(key) VALUES ('a')");
    refuse(used->db, SQLITE_ERROR, "1 to 1000000",
           "CREATE VIRTUAL TABLE u USING comet_stream(shards=0)");
    refuse(used->db, SQLITE_ERROR, "stream, shards",
           "CREATE VIRTUAL TABLE u USING comet_stream(shard=1)");
    refuse(used->db, SQLITE_ERROR, "", "CREATE VIRTUAL TABLE u USING comet_shard(shards=1)");
    refuse(used->db, SQLITE_ERROR, "no log", "SELECT * FROM comet_stream('nowhere')");
    run(used->db, "DROP TABLE t");
    expect(used->db, "1", "SELECT count(*) FROM comet_stream('telemetry')");
}

/* A statement that reads a stream while it grows ends all the same. */
static void test_a_statement_is_a_snapshot(void **state) {
    fixture *used = *state;
    sqlite3_stmt *statement = NULL;
    int rows = 0;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_stream(log='telemetry', shards=4);"
                  "INSERT INTO t(data) VALUES (1), (2), (3), (4)");
    run(used->db, "INSERT INTO t(data) SELECT data FROM t");
    assert_int_equal(
        sqlite3_prepare_v2(used->db, "SELECT * FROM t ORDER BY timestamp", -1, &statement, NULL),
        SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        rows++;
        run(used->db, "INSERT INTO t(data) VALUES (5), (6), (7), (8)");
    }
    sqlite3_finalize(statement);
    assert_int_equal(rows, 8);
    expect(used->db, "40", "SELECT count(*) FROM t");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_random_queries_in_order),
        SQL_TEST(test_random_queries_out_of_order),
        SQL_TEST(test_random_queries_inside_a_transaction),
        SQL_TEST(test_plans_in_words),
        SQL_TEST(test_keys_are_routed),
        SQL_TEST(test_rows_without_a_key_take_turns),
        SQL_TEST(test_processes_write_their_own_shards),
        SQL_TEST(test_names_of_shards),
        SQL_TEST(test_a_transaction_over_several_shards),
        SQL_TEST(test_a_shard_that_is_held_stops_the_row_only),
        SQL_TEST(test_shards_of_others_are_discovered),
        SQL_TEST(test_shards_limit_what_is_read),
        SQL_TEST(test_a_window_opens_only_the_shards_it_lies_in),
        SQL_TEST(test_changes_and_wrong_arguments_are_refused),
        SQL_TEST(test_a_statement_is_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
