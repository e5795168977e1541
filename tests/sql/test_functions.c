/* If these break, helper functions tell wrong times, lose settings, or open another log than
** meant. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "harness.h"

static void test_version_and_debug(void **state) {
    fixture *used = *state;

    expect(used->db, "1", "SELECT comet_version() LIKE 'v_%%.%%'");
    expect(used->db, "1", "SELECT instr(comet_debug(), 'sqlite ' || sqlite_version()) > 0");
}

static void test_ns_of_texts(void **state) {
    static const struct {
        const char *arguments;
        const char *expected;
    } cases[] = {
        {"'1970-01-01'", "0"},
        {"'1970-01-01T00:00:01Z'", "1000000000"},
        {"'2026-01-02 03:04:05.123456789'", "1767323045123456789"},
        {"'2026-01-02 03:04:05.1'", "1767323045100000000"},
        {"'2026-01-02T03:04:05.1234567891234'", "1767323045123456789"},
        {"'2026-01-02 03:04:05.5+02:00'", "1767315845500000000"},
        {"'2026-01-02 03:04'", "1767323040000000000"},
        {"'1969-12-31 23:59:59.999999999'", "-1"},
        {"'2024-02-29 12:00:00'", "1709208000000000000"},
        {"'2000-02-30'", "951868800000000000"},
        {"'2026-01-02 03:04:05.123456789', '+1 hour'", "1767326645123456789"},
        {"'2026-01-02 03:04:05.123456789', 'start of day'", "1767312000000000000"},
        {"1767323045, 'unixepoch'", "1767323045000000000"},
        {"1767323045.5, 'unixepoch'", "1767323045500000000"},
        {"2440587.5", "0"},
        {"'2440588.5'", "86400000000000"},
        {"'yesterday'", "NULL"},
        {"''", "NULL"},
        {"NULL", "NULL"},
        {"'2026-13-01'", "NULL"},
        {"'2026-01-02 03:04:05', 'no such modifier'", "NULL"},
        {"'9999-01-01'", "NULL"},
        {"'2262-04-11 23:47:16'", "9223372036000000000"},
        {"'2262-04-11 23:47:17'", "NULL"},
    };
    fixture *used = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(used->db, cases[i].expected, "SELECT comet_ns(%s)", cases[i].arguments);
    }
    /* Every date that SQLite reads means the same to both. */
    expect(used->db, "40001|0",
           "WITH RECURSIVE d(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM d WHERE n < 40000)"
           " SELECT count(t), sum(comet_ns(t) != strftime('%%s', t) * 1000000000"
           " OR comet_time(comet_ns(t)) != replace(t, ' ', 'T') || '.000000000Z')"
           " FROM (SELECT datetime('1902-01-01', (n * 2) || ' days', n || ' seconds')"
           " AS t FROM d)");
}

static void test_now(void **state) {
    fixture *used = *state;

    expect(used->db, "1|1|1",
           "SELECT abs(comet_ns('now') - strftime('%%s', 'now') * 1000000000) < 2000000000,"
           " comet_ns() >= comet_ns('now', '-1 second'),"
           " comet_ns('now', '-1 hour') BETWEEN comet_ns() - 3602000000000 AND"
           " comet_ns() - 3599000000000");
}

static void test_time(void **state) {
    fixture *used = *state;

    expect(used->db,
           "1970-01-01T00:00:00.000000000Z|1969-12-31T23:59:59.999999999Z|"
           "2262-04-11T23:47:16.854775807Z|1677-09-21T00:12:43.145224192Z|NULL|NULL|"
           "1970-01-01T00:00:00.000000005Z",
           "SELECT comet_time(0), comet_time(-1), comet_time(9223372036854775807),"
           " comet_time(-9223372036854775807 - 1), comet_time(NULL), comet_time('x'),"
           " comet_time('5')");
}

static void test_config_reads_sets_and_persists(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', sync=off,"
                  " max_file_size='64MiB')");
    expect(used->db, "off|64MiB|100000",
           "SELECT comet_config('t', 'sync'), comet_config('telemetry', 'max_file_size'),"
           " comet_config('main.t', 'checkpoint_entries')");
    expect(used->db, "7", "SELECT comet_config('telemetry', 'compress_level', 7)");
    expect(used->db, "5", "SELECT comet_config('telemetry', 'checkpoint_entries', '5')");
    expect(used->db, "7|1",
           "SELECT value, \"default\" FROM comet_config('telemetry')"
           " WHERE name = 'compress_level'");
    expect(used->db, "bytes", "SELECT unit FROM comet_config('t') WHERE name = 'max_file_size'");
    expect(used->db, "off|normal|full",
           "SELECT replace(unit, '|', '|') FROM comet_config('t') WHERE name = 'sync'");
    expect(used->db, "0",
           "SELECT count(*) FROM comet_config('t') WHERE help IS NULL"
           " OR name = 'max_age'");
    fixture_reopen(used);
    expect(used->db, "off|64MiB|7",
           "SELECT comet_config('telemetry', 'sync'), comet_config('t', 'max_file_size'),"
           " comet_config('telemetry', 'compress_level')");
}

static void test_config_on_a_log_that_does_not_exist(void **state) {
    fixture *used = *state;

    refuse(used->db, SQLITE_ERROR, "nowhere", "SELECT comet_config('nowhere', 'sync')");
    expect(used->db, "full", "SELECT comet_config('new', 'sync', 'full')");
    fixture_reopen(used);
    expect(used->db, "full", "SELECT comet_config('new', 'sync')");
}

static void test_sync(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', shard=2);"
                  "INSERT INTO t(data) VALUES ('a')");
    expect(used->db, "NULL|NULL|NULL",
           "SELECT comet_sync('t'), comet_sync('telemetry'), comet_sync('telemetry', 2)");
    refuse(used->db, SQLITE_ERROR, "9", "SELECT comet_sync('telemetry', 9)");
}

static void test_lines(void **state) {
    static const char text[] = "one\ntwo\r\n\n\r\nfive\rstill\nn\0l\n\xff\nlast";
    fixture *used = *state;
    char path[700];

    write_file(used, "lines", text, sizeof text - 1, path);
    expect(used->db, "1|one\n2|two\n3|\n4|\n5|five\rstill\n6|x'6e006c'\n7|x'ff'\n8|last",
           "SELECT line_number, line FROM comet_lines('%q')", path);
    expect(used->db, "1|1", "SELECT file = '%q', rowid FROM comet_lines('%q') LIMIT 1", path, path);
    write_file(used, "empty", "", 0, path);
    expect(used->db, "0", "SELECT count(*) FROM comet_lines('%q')", path);
    expect(used->db, "0", "SELECT count(*) FROM comet_lines(NULL)");
    write_file(used, "ended", "a\nb\n", 4, path);
    run(used->db, "INSERT INTO comet_shard(data) SELECT line FROM comet_lines('%q')", path);
    expect(used->db, "a\nb", "SELECT data FROM comet_shard");
}

static bool exists(const fixture *used, const char *name) {
    char *path = sqlite3_mprintf("%s/%s", used->directory, name);
    struct stat info;
    bool found = stat(path, &info) == 0;

    sqlite3_free(path);
    return found;
}

static void test_the_default_log(void **state) {
    fixture *used = *state;

    run(used->db, "INSERT INTO comet_shard(data) VALUES ('a')");
    assert_true(exists(used, "main.db-comet"));
    fixture_reopen(used);
    expect(used->db, "a", "SELECT data FROM comet_shard");
    setenv("COMET_DIR", "named", 1);
    fixture_reopen(used);
    run(used->db, "INSERT INTO comet_shard(data) VALUES ('b')");
    unsetenv("COMET_DIR");
    assert_true(exists(used, "named"));
    expect(used->db, "b", "SELECT data FROM comet_shard");
}

static void test_a_private_log_goes_with_its_connection(void **state) {
    fixture *used = *state;
    sqlite3 *db = db_open(":memory:");
    struct stat info;
    char *directory;

    run(db, "CREATE VIRTUAL TABLE t USING comet_shard; INSERT INTO t(data) VALUES ('a');"
            "INSERT INTO comet_shard(data) VALUES ('b')");
    expect(db, "a\nb", "SELECT data FROM t");
    directory = rows_of(db, "SELECT log FROM t LIMIT 1");
    assert_int_equal(stat(directory, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    db_close(db);
    assert_int_not_equal(stat(directory, &info), 0);
    sqlite3_free(directory);
    (void)used;
}

static void test_log_references(void **state) {
    fixture *used = *state;

    run(used->db, "ATTACH ':memory:' AS other;"
                  "CREATE VIRTUAL TABLE events USING comet_shard(log='one', shard=5);"
                  "CREATE VIRTUAL TABLE other.events USING comet_shard(log='two', shard=6);"
                  "INSERT INTO main.events(data) VALUES ('a');"
                  "INSERT INTO other.events(data) VALUES ('b')");
    expect(used->db, "a|a|b|b|a",
           "SELECT (SELECT data FROM comet_shard('events')),"
           " (SELECT data FROM comet_shard('Main.Events', 5)),"
           " (SELECT data FROM comet_shard('other.events')),"
           " (SELECT data FROM comet_shard('two', 6)),"
           " (SELECT data FROM comet_shard('%q/one', 5))",
           used->directory);
    /* A table that no statement of this connection has touched yet. */
    fixture_reopen(used);
    expect(used->db, "a", "SELECT data FROM comet_shard('events')");
    fixture_reopen(used);
    expect(used->db, "a", "SELECT data FROM comet_shard('main.events')");
    run(used->db, "ALTER TABLE events RENAME TO happenings");
    expect(used->db, "a", "SELECT data FROM comet_shard('happenings')");
    refuse(used->db, SQLITE_ERROR, "events", "SELECT data FROM comet_shard('events')");
}

static void test_shards_and_segments(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', max_file_size=4096);"
                  "CREATE VIRTUAL TABLE empty USING comet_shard(log='telemetry', shard=9);"
                  "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 99)"
                  " INSERT INTO t(timestamp, data) SELECT 1000 + i, printf('%%0200d', i) FROM n");
    expect(used->db, "0|0|99|1000|1099|100|1|NULL\n9|NULL|NULL|NULL|NULL|0|1|NULL",
           "SELECT shard, first_offset, last_offset, first_timestamp, last_timestamp, entries,"
           " healthy, why FROM comet_shards('telemetry')");
    expect(used->db, "1|1|1",
           "SELECT s.segments > 4, s.bytes > 20000, s.segments = (SELECT count(*) FROM"
           " comet_segments('t') WHERE shard = 0) FROM comet_shards('t') s WHERE shard = 0");
    expect(used->db, "100|0|99|1000|1099|1",
           "SELECT sum(entries), min(first_offset), max(last_offset), min(first_timestamp),"
           " max(last_timestamp), count(*) - sum(sealed) FROM comet_segments('telemetry')"
           " WHERE shard = 0");
    expect(used->db, "1", "SELECT count(DISTINCT log) FROM comet_segments('telemetry')");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_version_and_debug),
        SQL_TEST(test_ns_of_texts),
        SQL_TEST(test_now),
        SQL_TEST(test_time),
        SQL_TEST(test_config_reads_sets_and_persists),
        SQL_TEST(test_config_on_a_log_that_does_not_exist),
        SQL_TEST(test_sync),
        SQL_TEST(test_lines),
        SQL_TEST(test_the_default_log),
        SQL_TEST(test_a_private_log_goes_with_its_connection),
        SQL_TEST(test_log_references),
        SQL_TEST(test_shards_and_segments),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
