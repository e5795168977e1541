/* If these break, a query gives rows too many, too few, or in the wrong order.  Everything is
** compared with an ordinary SQLite table that holds the same entries, over random queries from
** fixed seeds. */
#include <string.h>

#include "harness.h"

#define ENTRY_COUNT 1500
#define QUERY_COUNT 3000

typedef enum order { IN_ORDER, OUT_OF_ORDER } order;

/* The same entries in `t` (comet, many small segments and blocks) and in `plain`. */
static void make_twins(sqlite3 *db, order wanted) {
    uint64_t seed = 42;
    int64_t timestamp = 1000;

    run(db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', max_file_size=8192,"
            " boundary_interval=10);"
            "CREATE TABLE plain(offset INTEGER PRIMARY KEY, timestamp INTEGER, data)");
    run(db, "BEGIN");
    for (int i = 0; i < ENTRY_COUNT; i++) {
        timestamp += random_below(&seed, 4);
        run(db, "INSERT INTO t(timestamp, data) VALUES (%lld, 'entry %d %c')",
            wanted == IN_ORDER ? timestamp : (long long)(1000 + random_below(&seed, 2000)), i,
            'a' + (int)random_below(&seed, 26));
        if (i % 100 == 99) {
            run(db, "COMMIT; BEGIN");
        }
    }
    run(db, "COMMIT; INSERT INTO plain SELECT offset, timestamp, data FROM t");
    expect(db, "1500", "SELECT count(*) FROM plain");
}

/* A right side: mostly a number in the column's range, sometimes anything else. */
static void append_value(sqlite3_str *sql, uint64_t *seed, bool is_time) {
    static const char *const odd[] = {
        "NULL",
        "'abc'",
        "x'3130'",
        "''",
        "' 12 '",
        "'1e3'",
        "1e30",
        "-1e30",
        "-5",
        "9223372036854775807",
        "-9223372036854775808",
        "'9223372036854775808'",
        "1200.5",
        "'1200.5'",
        "1200.0",
        "'1200.0'",
        "'0x10'",
        "9e999",
        "-9e999",
        "9.3e18",
        "-0.5",
    };
    uint32_t number = is_time ? 900 + random_below(seed, 2300) : random_below(seed, 1700);

    switch (random_below(seed, 8)) {
    case 0:
        sqlite3_str_appendall(sql, odd[random_below(seed, sizeof odd / sizeof odd[0])]);
        break;
    case 1:
        sqlite3_str_appendf(sql, "%u.%u", number, random_below(seed, 2) * 5);
        break;
    case 2:
        sqlite3_str_appendf(sql, "'%u'", number);
        break;
    default:
        sqlite3_str_appendf(sql, "%u", number);
        break;
    }
}

static void append_condition(sqlite3_str *sql, uint64_t *seed) {
    static const char *const operators[] = {"=", "<", "<=", ">", ">=", "IS", "!="};
    static const char *const columns[] = {"offset", "timestamp", "timestamp", "offset"};
    uint32_t column = random_below(seed, 4);
    bool is_time = column == 1 || column == 2;

    switch (random_below(seed, 10)) {
    case 0:
        sqlite3_str_appendf(sql, "%s BETWEEN ", columns[column]);
        append_value(sql, seed, is_time);
        sqlite3_str_appendall(sql, " AND ");
        append_value(sql, seed, is_time);
        break;
    case 1:
        sqlite3_str_appendf(sql, "%s IN (", columns[column]);
        for (uint32_t i = random_below(seed, 5);; i--) {
            append_value(sql, seed, is_time);
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
        sqlite3_str_appendf(sql, "(offset, timestamp) %s (%u, %u)",
                            random_below(seed, 2) ? ">" : "<=", random_below(seed, 1600),
                            900 + random_below(seed, 2300));
        break;
    default:
        sqlite3_str_appendf(sql, "%s %s ", columns[column],
                            operators[random_below(seed, random_below(seed, 4) ? 5 : 7)]);
        append_value(sql, seed, is_time);
        break;
    }
}

/* A query with %s for the table. */
static char *random_query(uint64_t *seed) {
    static const char *const orders[] = {
        " ORDER BY offset",
        " ORDER BY offset DESC",
        " ORDER BY timestamp, offset",
        " ORDER BY timestamp DESC, offset DESC",
        " ORDER BY timestamp DESC, offset",
        " ORDER BY data, offset",
        " ORDER BY offset, data",
    };
    static const char *const results[] = {
        "offset, timestamp, data",
        "offset",
        "timestamp, offset",
    };
    static const char *const aggregates[] = {
        "count(*)",
        "min(timestamp), max(timestamp)",
        "max(offset)",
        "min(offset)",
        "max(timestamp)",
        "min(timestamp)",
        "count(*), sum(timestamp & 1), max(data)",
    };
    sqlite3_str *sql = sqlite3_str_new(NULL);
    bool aggregate = random_below(seed, 4) == 0;

    sqlite3_str_appendf(sql, "SELECT %s FROM %%s",
                        aggregate ? aggregates[random_below(seed, 7)]
                                  : results[random_below(seed, 3)]);
    for (uint32_t i = random_below(seed, 4); i > 0; i--) {
        sqlite3_str_appendall(sql, strstr(sqlite3_str_value(sql), "WHERE") ? " AND " : " WHERE ");
        append_condition(sql, seed);
    }
    if (!aggregate) {
        sqlite3_str_appendall(sql, orders[random_below(seed, 7)]);
        if (random_below(seed, 2)) {
            sqlite3_str_appendf(sql, " LIMIT %d", (int)random_below(seed, 40) - 1);
            if (random_below(seed, 2)) {
                sqlite3_str_appendf(sql, " OFFSET %d", (int)random_below(seed, 300) - 1);
            }
        }
    }
    return sqlite3_str_finish(sql);
}

static char *for_table(const char *query, const char *table) {
    const char *place = strstr(query, "%s");

    return sqlite3_mprintf("%.*s%s%s", (int)(place - query), query, table, place + 2);
}

/* The right sides once as literals and once as parameters, which the planner cannot see: here by
** hiding every number from it in a subquery would change affinities, so literals only. */
static void compare(sqlite3 *db, const char *query) {
    char *ours = for_table(query, "t");
    char *theirs = for_table(query, "plain");
    char *expected = rows_of(db, theirs);

    expect(db, expected, "%s", ours);
    sqlite3_free(expected);
    sqlite3_free(theirs);
    sqlite3_free(ours);
}

static void compare_random_queries(sqlite3 *db, uint64_t seed) {
    for (int i = 0; i < QUERY_COUNT; i++) {
        char *query = random_query(&seed);

        compare(db, query);
        sqlite3_free(query);
    }
}

static void test_random_queries_in_order(void **state) {
    fixture *used = *state;

    make_twins(used->db, IN_ORDER);
    compare_random_queries(used->db, 1);
}

static void test_random_queries_out_of_order(void **state) {
    fixture *used = *state;

    make_twins(used->db, OUT_OF_ORDER);
    compare_random_queries(used->db, 2);
}

static void test_random_queries_inside_a_transaction(void **state) {
    fixture *used = *state;

    make_twins(used->db, OUT_OF_ORDER);
    run(used->db, "BEGIN; INSERT INTO t(timestamp, data) SELECT timestamp - 7, data || ' z' FROM"
                  " plain WHERE offset %% 3 = 0 ORDER BY offset;"
                  "INSERT INTO plain(timestamp, data) SELECT timestamp - 7, data || ' z' FROM"
                  " plain WHERE offset %% 3 = 0 ORDER BY offset");
    expect(used->db, "2000", "SELECT count(*) FROM t");
    compare_random_queries(used->db, 3);
    run(used->db, "ROLLBACK");
    compare_random_queries(used->db, 4);
}

/* Where SQLite itself has to count, order or combine, what we took must not count twice. */
static void test_limits_in_compound_and_nested_queries(void **state) {
    static const char *const queries[] = {
        "SELECT offset FROM %s WHERE offset < 3 UNION ALL SELECT 100 LIMIT 3 OFFSET 2",
        "SELECT 100 UNION ALL SELECT offset FROM %s LIMIT 3 OFFSET 2",
        "SELECT offset FROM (SELECT offset FROM %s ORDER BY offset DESC LIMIT 10 OFFSET 5)"
        " LIMIT 3 OFFSET 2",
        "SELECT DISTINCT timestamp / 100 FROM %s LIMIT 4 OFFSET 3",
        "SELECT timestamp / 100, count(*) FROM %s GROUP BY 1 LIMIT 4 OFFSET 3",
        "SELECT timestamp, count(*) FROM %s GROUP BY timestamp LIMIT 4 OFFSET 3",
        "SELECT offset, row_number() OVER (ORDER BY offset DESC) FROM %s ORDER BY 1 LIMIT 3",
        "SELECT a.offset FROM %s a JOIN plain b ON a.offset = b.offset + 1 ORDER BY 1 LIMIT 5"
        " OFFSET 7",
        "SELECT a.offset FROM plain b LEFT JOIN %s a ON a.offset = b.offset + 1490 ORDER BY "
        "b.offset"
        " LIMIT 5 OFFSET 7",
        "SELECT offset FROM %s WHERE offset IN (9, 3, 5, 7) LIMIT 2 OFFSET 1",
        "SELECT offset FROM %s WHERE offset IN (SELECT 5 UNION SELECT 3) ORDER BY offset DESC "
        "LIMIT 1",
        "SELECT offset FROM %s WHERE offset = 5 OR timestamp = 1500 ORDER BY offset LIMIT 5",
        "SELECT offset FROM %s WHERE offset > 5 AND offset > 9 ORDER BY offset LIMIT 2 OFFSET 2",
        "SELECT (SELECT offset FROM %s WHERE timestamp > b.timestamp ORDER BY offset LIMIT 1"
        " OFFSET 1) FROM plain b WHERE b.offset - b.offset / 100 * 100 = 0",
        "SELECT offset FROM %s WHERE length(data) > 9 ORDER BY offset LIMIT 2 OFFSET 2",
        "SELECT offset FROM %s LIMIT 0",
        "SELECT offset FROM %s ORDER BY offset LIMIT -1 OFFSET 1490",
        "SELECT offset FROM %s ORDER BY offset LIMIT 5 OFFSET 9999",
    };
    fixture *used = *state;

    make_twins(used->db, IN_ORDER);
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        compare(used->db, queries[i]);
    }
}

/* Bound parameters are unknown when planning, literals are not. */
static void test_parameters(void **state) {
    static const char *const sql = "SELECT group_concat(offset) FROM (SELECT offset FROM %s WHERE"
                                   " offset >= ?1 AND (offset, timestamp) > (?1, ?2)"
                                   " ORDER BY offset LIMIT ?3 OFFSET ?4)";
    fixture *used = *state;
    char *answers[2];

    make_twins(used->db, IN_ORDER);
    for (int i = 0; i < 2; i++) {
        char *query = for_table(sql, i == 0 ? "t" : "plain");
        sqlite3_stmt *statement = NULL;

        assert_int_equal(sqlite3_prepare_v2(used->db, query, -1, &statement, NULL), SQLITE_OK);
        sqlite3_bind_int(statement, 1, 100);
        sqlite3_bind_int64(statement, 2, INT64_MAX);
        sqlite3_bind_int(statement, 3, 3);
        sqlite3_bind_int(statement, 4, 2);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        answers[i] = sqlite3_mprintf("%s", sqlite3_column_text(statement, 0));
        sqlite3_finalize(statement);
        sqlite3_free(query);
    }
    assert_string_equal(answers[0], answers[1]);
    assert_string_equal(answers[0], "103,104,105");
    sqlite3_free(answers[0]);
    sqlite3_free(answers[1]);
}

static void test_plans_in_words(void **state) {
    fixture *used = *state;
    sqlite3 *db = used->db;

    make_twins(db, IN_ORDER);
    expect_plan(db, "all entries", "SELECT count(*) FROM t");
    expect_plan(db, "offset=?", "SELECT * FROM t WHERE offset = 5");
    expect_plan(db, "offset=?", "SELECT * FROM t WHERE rowid = 5");
    expect_plan(db, "offset>=? AND offset<=?", "SELECT * FROM t WHERE offset BETWEEN 5 AND 7");
    expect_plan(db, "timestamp>?", "SELECT * FROM t WHERE timestamp > 5");
    expect_plan(db, "timestamp=?", "SELECT * FROM t WHERE timestamp IN (5, 6)");
    expect_plan(db, "offset>=? AND timestamp<? ORDER BY timestamp DESC LIMIT ?",
                "SELECT * FROM t WHERE offset >= 5 AND timestamp < 9 ORDER BY timestamp DESC"
                " LIMIT 5");
    expect_plan(db, "all entries ORDER BY offset DESC LIMIT ?",
                "SELECT * FROM t ORDER BY offset DESC LIMIT 10");
    expect_plan(db, "all entries ORDER BY timestamp DESC", "SELECT max(timestamp) FROM t");
    expect_plan(db, "all entries ORDER BY offset", "SELECT min(offset) FROM t");
    expect_plan(db, "log=? AND shard=? AND timestamp>? ORDER BY offset",
                "SELECT * FROM comet_shard('telemetry', 0) WHERE timestamp > 5 ORDER BY offset");
}

/* Two tables: the smaller side is walked, the other is looked up by offset. */
static void test_joins_look_up(void **state) {
    fixture *used = *state;

    make_twins(used->db, IN_ORDER);
    run(used->db, "CREATE TABLE few(o); INSERT INTO few VALUES (3), (1000), (NULL), ('7'), (2.5)");
    expect_plan(used->db, "offset=?", "SELECT t.data FROM few JOIN t ON t.offset = few.o");
    expect(used->db, "3\n7\n1000",
           "SELECT t.offset FROM few JOIN t ON t.offset = few.o ORDER BY t.offset");
}

static void test_data_comes_back_in_its_type(void **state) {
    fixture *used = *state;

    run(used->db,
        "CREATE VIRTUAL TABLE a USING comet_shard(log=l, type=auto);"
        "CREATE VIRTUAL TABLE b USING comet_shard(log=l, type='blob');"
        "CREATE VIRTUAL TABLE c USING comet_shard(log=l, type=\"text\");"
        "INSERT INTO a(data) VALUES ('text'), (x'00ff'), (''), (x'c3a9'), ('a' || char(0)),"
        " (12), (1.5), (x'28b52ffd'), (x'eda080'), (x'f4908080'), (x'c0af'),"
        " ('12345678' || char(233) || '12345678'), ('1234567' || char(0))");
    expect(used->db,
           "text|text\nblob|00FF\ntext|\ntext|C3A9\nblob|6100\ntext|3132\ntext|312E35\n"
           "blob|28B52FFD\nblob|EDA080\nblob|F4908080\nblob|C0AF\n"
           "text|3132333435363738C3A93132333435363738\nblob|3132333435363700",
           "SELECT typeof(data), iif(data = 'text', data, hex(data)) FROM a");
    expect(used->db, "blob", "SELECT DISTINCT typeof(data) FROM b");
    expect(used->db, "text", "SELECT DISTINCT typeof(data) FROM c");
}

static void test_databases_in_utf16(void **state) {
    fixture *used = *state;
    sqlite3 *db = db_open(":memory:");

    run(db, "PRAGMA encoding = 'UTF-16le'");
    run(db,
        "CREATE VIRTUAL TABLE t USING comet_shard(log='%q/wide');"
        "INSERT INTO t(data) VALUES ('h' || char(233) || 'llo'), (x'6800'), ('')",
        used->directory);
    expect(db, "5|68C3A96C6C6F",
           "SELECT length(data), hex(CAST(data AS BLOB)) FROM"
           " (SELECT * FROM t LIMIT 0) UNION ALL SELECT 5, '68C3A96C6C6F'");
    db_close(db);
    expect(used->db, "68C3A96C6C6F\n6800\n", "SELECT hex(data) FROM comet_shard('wide', 0)");
}

/* The encoding may still change after the eponymous table was first seen. */
static void test_encoding_chosen_after_the_first_look(void **state) {
    fixture *used = *state;
    sqlite3 *db = db_open(":memory:");

    refuse(db, SQLITE_ERROR, "", "SELECT * FROM comet_shard('%q/none', 0)", used->directory);
    run(db, "PRAGMA encoding = 'UTF-16le'; CREATE TABLE plain(x)");
    run(db, "INSERT INTO comet_shard(log, data) VALUES ('%q/wide', 'hello')", used->directory);
    db_close(db);
    expect(used->db, "hello", "SELECT data FROM comet_shard('wide', 0)");
}

static void test_hidden_columns(void **state) {
    fixture *used = *state;

    run(used->db, "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', 3, 'a'),"
                  " ('telemetry', 4, 'b');"
                  "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', shard=4)");
    expect(used->db, "a|telemetry|3",
           "SELECT data, log, shard FROM comet_shard WHERE log = 'telemetry' AND shard = 3");
    expect(used->db, "a\nb",
           "SELECT data FROM comet_shard WHERE log = 'telemetry' AND shard IN (3, 4) ORDER BY 1");
    expect(used->db, "b|4", "SELECT data, shard FROM t WHERE shard = 4");
    expect(used->db, "0", "SELECT count(*) FROM t WHERE shard = 3");
    expect(used->db, "b", "SELECT data FROM comet_shard('t')");
    expect(used->db, "a", "SELECT data FROM comet_shard('t', 3)");
    expect(used->db, "a\nb",
           "SELECT data FROM comet_shards('telemetry') s, comet_shard('telemetry', s.shard)");
}

/* A statement keeps the rows it began with, and other connections' commits come with the next. */
static void test_a_statement_is_a_snapshot(void **state) {
    fixture *used = *state;
    sqlite3 *other = db_open(used->database);
    sqlite3_stmt *reading = NULL;
    int rows = 1;

    run(used->db, "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='telemetry');"
                  "INSERT INTO t(data) VALUES ('a'), ('b')");
    run(other, "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='telemetry')");
    assert_int_equal(sqlite3_prepare_v2(used->db, "SELECT data FROM t", -1, &reading, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(reading), SQLITE_ROW);
    run(other, "INSERT INTO t(data) VALUES ('c')");
    run(used->db, "INSERT INTO t(data) VALUES ('d')");
    while (sqlite3_step(reading) == SQLITE_ROW) {
        rows++;
    }
    sqlite3_finalize(reading);
    assert_int_equal(rows, 2);
    expect(used->db, "a\nb\nc\nd", "SELECT data FROM t");
    expect(other, "a\nb\nc\nd", "SELECT data FROM t");
    db_close(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_random_queries_in_order),
        SQL_TEST(test_random_queries_out_of_order),
        SQL_TEST(test_random_queries_inside_a_transaction),
        SQL_TEST(test_limits_in_compound_and_nested_queries),
        SQL_TEST(test_parameters),
        SQL_TEST(test_plans_in_words),
        SQL_TEST(test_joins_look_up),
        SQL_TEST(test_data_comes_back_in_its_type),
        SQL_TEST(test_databases_in_utf16),
        SQL_TEST(test_encoding_chosen_after_the_first_look),
        SQL_TEST(test_hidden_columns),
        SQL_TEST(test_a_statement_is_a_snapshot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
