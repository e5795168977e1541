/* If these break, a mistake in a statement writes something, loses something, or leaves its author
** without a hint of what to do. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

/* A table with one entry; whatever is refused must leave exactly that. */
static void make_table(sqlite3 *db) {
    run(db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry');"
            "INSERT INTO t(timestamp, data) VALUES (7, 'a')");
}

static void expect_untouched(sqlite3 *db) {
    expect(db, "0|7|a", "SELECT offset, timestamp, data FROM t");
    run(db, "BEGIN; INSERT INTO t(data) VALUES ('probe'); ROLLBACK");
    expect(db, "1", "SELECT count(*) FROM t");
}

static void test_null_data(void **state) {
    fixture *used = *state;

    make_table(used->db);
    refuse(used->db, SQLITE_CONSTRAINT, "data must not be NULL",
           "INSERT INTO t(data) VALUES (NULL)");
    refuse(used->db, SQLITE_CONSTRAINT, "data must not be NULL", "INSERT INTO t DEFAULT VALUES");
    expect_untouched(used->db);
}

static void test_data_over_the_limit(void **state) {
    fixture *used = *state;

    make_table(used->db);
    refuse(used->db, SQLITE_TOOBIG, "134217728",
           "INSERT INTO t(data) VALUES (zeroblob(134217729))");
    refuse(used->db, SQLITE_TOOBIG, "134217728",
           "INSERT OR IGNORE INTO t(data) VALUES (zeroblob(999999999))");
    expect_untouched(used->db);
}

static void test_a_given_offset(void **state) {
    fixture *used = *state;

    make_table(used->db);
    refuse(used->db, SQLITE_CONSTRAINT, "last_insert_rowid()",
           "INSERT INTO t(offset, data) VALUES (5, 'b')");
    refuse(used->db, SQLITE_CONSTRAINT, "last_insert_rowid()",
           "INSERT INTO t(rowid, data) VALUES (5, 'b')");
    refuse(used->db, SQLITE_CONSTRAINT, "last_insert_rowid()",
           "INSERT OR REPLACE INTO t(offset, data) VALUES (0, 'b')");
    expect_untouched(used->db);
    run(used->db, "INSERT INTO t(offset, data) VALUES (NULL, 'b')");
    expect(used->db, "b", "SELECT data FROM t WHERE offset = 1");
}

static void test_bad_timestamps(void **state) {
    static const char *const bad[] = {"'yesterday'", "''", "5.5", "x'35'", "'5.5'", "1e19"};
    fixture *used = *state;

    make_table(used->db);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuse(used->db, SQLITE_CONSTRAINT, "timestamp must be an integer",
               "INSERT INTO t(timestamp, data) VALUES (%s, 'b')", bad[i]);
    }
    refuse(used->db, SQLITE_CONSTRAINT, "negative",
           "INSERT INTO t(timestamp, data) VALUES (-1, 'b')");
    expect_untouched(used->db);
}

static void test_timestamps_that_are_integers_after_all(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "INSERT INTO t(timestamp, data) VALUES ('8', ''), (9.0, ''), ('10.0', ''),"
                  " (0, ''), (9223372036854775807, '')");
    expect(used->db, "7\n8\n9\n10\n0\n9223372036854775807", "SELECT timestamp FROM t");
}

static void test_unknown_and_malformed_settings(void **state) {
    static const struct {
        const char *argument;
        const char *hint;
    } bad[] = {
        {"max_file_sise='1MB'", "max_file_size"},
        {"max_file_size='much'", "max_file_size"},
        {"max_file_size=-1", "max_file_size"},
        {"checkpoint_interval='4 parsecs'", "checkpoint"},
        {"sync=maybe", "full"},
        {"type=json", "auto, text or blob"},
        {"nonsense", "name=value"},
        {"='x'", "name=value"},
        {"shard=-1", "4294967295"},
        {"shard=4294967296", "4294967295"},
        {"shard=one", "4294967295"},
        {"shard=99999999999999999999", "4294967295"},
        {"log=''", "directory"},
    };
    fixture *used = *state;

    make_table(used->db);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuse(used->db, SQLITE_ERROR, bad[i].hint, "CREATE VIRTUAL TABLE u USING comet_shard(%s)",
               bad[i].argument);
        refuse(used->db, SQLITE_ERROR, "no such table", "SELECT * FROM u");
    }
    refuse(used->db, SQLITE_ERROR, "max_file_size",
           "SELECT comet_config('telemetry', 'max_file_sise')");
    refuse(used->db, SQLITE_ERROR, "max_file_size",
           "SELECT comet_config('telemetry', 'max_file_size', 'much')");
    refuse(used->db, SQLITE_ERROR, "NULL", "SELECT comet_config('telemetry', 'sync', NULL)");
    refuse(used->db, SQLITE_ERROR, "comet_retention()", "SELECT comet_config('telemetry', 'max_age', 1)");
    expect_untouched(used->db);
}

static void test_shard_numbers_out_of_range(void **state) {
    static const char *const bad[] = {"-1", "4294967296", "'one'", "1.5", "x'01'"};
    fixture *used = *state;

    make_table(used->db);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        refuse(used->db, SQLITE_ERROR, "4294967295", "SELECT * FROM comet_shard('telemetry', %s)",
               bad[i]);
        refuse(used->db, SQLITE_ERROR, "4294967295",
               "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', %s, 'b')", bad[i]);
        refuse(used->db, SQLITE_ERROR, "4294967295", "SELECT comet_sync('telemetry', %s)", bad[i]);
    }
    expect_untouched(used->db);
}

static void test_a_path_that_is_a_file(void **state) {
    fixture *used = *state;
    char path[700];

    make_table(used->db);
    write_file(used, "file", "text", 4, path);
    refuse(used->db, SQLITE_ERROR, "file", "SELECT * FROM comet_shard('file', 0)");
    refuse(used->db, SQLITE_ERROR, "file",
           "INSERT INTO comet_shard(log, data) VALUES ('file', 'b')");
    refuse(used->db, SQLITE_ERROR, "file", "CREATE VIRTUAL TABLE u USING comet_shard(log='file')");
    refuse(used->db, SQLITE_ERROR, "no such table", "SELECT * FROM u");
    expect_untouched(used->db);
}

static void test_a_directory_that_cannot_be_made(void **state) {
    fixture *used = *state;

    make_table(used->db);
    refuse(used->db, SQLITE_IOERR, "/proc/nothing",
           "CREATE VIRTUAL TABLE u USING comet_shard(log='/proc/nothing/here')");
    refuse(used->db, SQLITE_IOERR, "/proc/nothing",
           "INSERT INTO comet_shard(log, data) VALUES ('/proc/nothing/here', 'b')");
    expect_untouched(used->db);
}

static void test_a_directory_that_cannot_be_written(void **state) {
    fixture *used = *state;
    char path[700];

    make_table(used->db);
    if (geteuid() == 0) {
        skip(); /* root may write anywhere */
    }
    snprintf(path, sizeof path, "%s/closed", used->directory);
    assert_int_equal(mkdir(path, 0500), 0);
    refuse(used->db, SQLITE_READONLY, "closed",
           "INSERT INTO comet_shard(log, data) VALUES ('closed', 'b')");
    expect_untouched(used->db);
}

static void test_reading_what_does_not_exist(void **state) {
    fixture *used = *state;

    make_table(used->db);
    refuse(used->db, SQLITE_ERROR, "nowhere", "SELECT * FROM comet_shard('nowhere', 0)");
    refuse(used->db, SQLITE_ERROR, "nowhere", "SELECT * FROM comet_segments('nowhere')");
    refuse(used->db, SQLITE_ERROR, "nowhere", "SELECT comet_sync('nowhere')");
    refuse(used->db, SQLITE_ERROR, "", "SELECT * FROM comet_shard('telemetry', 5)");
    refuse(used->db, SQLITE_ERROR, "default", "SELECT * FROM comet_shard('', 0)");
    refuse(used->db, SQLITE_ERROR, "NUL", "SELECT * FROM comet_shard('a' || char(0) || 'b', 0)");
    refuse(used->db, SQLITE_ERROR, "main.db-comet", "SELECT * FROM comet_shard");
    run(used->db, "INSERT INTO comet_shard(data) VALUES ('made')");
    expect(used->db, "made", "SELECT data FROM comet_shard");
    expect_untouched(used->db);
}

static void test_a_second_table_with_other_settings(void **state) {
    fixture *used = *state;
    sqlite3 *other = db_open(used->database);

    run(used->db, "CREATE VIRTUAL TABLE temp.a USING comet_shard(log='telemetry', sync=off);"
                  "INSERT INTO a(data) VALUES ('a')");
    refuse(used->db, SQLITE_ERROR, "sync",
           "CREATE VIRTUAL TABLE temp.b USING comet_shard(log='telemetry', sync=full)");
    /* SQLite disconnects all tables of a schema when a CREATE fails; this connects a again. */
    expect(used->db, "a", "SELECT data FROM a");
    refuse(other, SQLITE_ERROR, "sync",
           "CREATE VIRTUAL TABLE temp.b USING comet_shard(log='telemetry', sync=full)");
    run(other, "CREATE VIRTUAL TABLE temp.b USING comet_shard(log='telemetry', sync=off)");
    expect(other, "a", "SELECT data FROM b");
    db_close(other);
    run(used->db, "DROP TABLE a");
    run(used->db, "CREATE VIRTUAL TABLE temp.b USING comet_shard(log='telemetry', sync=full)");
    expect(used->db, "full", "SELECT comet_config('b', 'sync')");
}

static void test_update_and_delete(void **state) {
    fixture *used = *state;

    make_table(used->db);
    refuse(used->db, SQLITE_ERROR, "comet_retention()", "UPDATE t SET data = 'b'");
    refuse(used->db, SQLITE_ERROR, "comet_retention()", "UPDATE OR IGNORE t SET data = 'b'");
    refuse(used->db, SQLITE_ERROR, "comet_retention()", "DELETE FROM t");
    refuse(used->db, SQLITE_ERROR, "comet_retention()", "DELETE FROM t WHERE offset = 0");
    expect_untouched(used->db);
}

static void test_refused_rows_leave_the_transaction_open(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('b')");
    refuse(used->db, SQLITE_CONSTRAINT, "NULL", "INSERT INTO t(data) VALUES (NULL)");
    refuse(used->db, SQLITE_TOOBIG, "", "INSERT INTO t(data) VALUES (zeroblob(134217729))");
    refuse(used->db, SQLITE_ERROR, "append-only", "DELETE FROM t");
    assert_int_equal(sqlite3_get_autocommit(used->db), 0);
    run(used->db, "INSERT INTO t(data) VALUES ('c'); COMMIT");
    expect(used->db, "a\nb\nc", "SELECT data FROM t");
}

static void test_a_row_for_another_shard(void **state) {
    fixture *used = *state;

    make_table(used->db);
    refuse(used->db, SQLITE_CONSTRAINT, "comet_shard",
           "INSERT INTO t(shard, data) VALUES (1, 'b')");
    refuse(used->db, SQLITE_CONSTRAINT, "comet_shard",
           "INSERT INTO t(log, data) VALUES ('other', 'b')");
    expect_untouched(used->db);
    run(used->db, "INSERT INTO t(log, shard, data) VALUES ('telemetry', 0, 'b')");
    expect(used->db, "2", "SELECT count(*) FROM t");
}

static void test_lines_of_what_cannot_be_read(void **state) {
    fixture *used = *state;

    refuse(used->db, SQLITE_CANTOPEN, "No such file",
           "SELECT * FROM comet_lines('/nowhere/at/all')");
    refuse(used->db, SQLITE_CANTOPEN, "directory", "SELECT * FROM comet_lines('/')");
    refuse(used->db, SQLITE_ERROR, "comet_lines('/var/log/dpkg.log')", "SELECT * FROM comet_lines");
}

/* A hostile database file names any directory it likes; views and triggers must not reach it. */
static void test_views_and_triggers_are_kept_out(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "CREATE TABLE plain(x);"
                  "CREATE VIEW spy AS SELECT * FROM t;"
                  "CREATE VIEW spy_lines AS SELECT * FROM comet_lines('/etc/passwd');"
                  "CREATE VIEW spy_shard AS SELECT * FROM comet_shard('telemetry', 0);"
                  "CREATE VIEW spy_sync AS SELECT comet_sync('telemetry');"
                  "CREATE VIEW spy_trust AS SELECT comet_trust_schema(1);"
                  "CREATE TRIGGER leak AFTER INSERT ON plain"
                  " BEGIN INSERT INTO t(data) VALUES (new.x); END");
    refuse(used->db, SQLITE_ERROR, "unsafe", "SELECT * FROM spy");
    refuse(used->db, SQLITE_ERROR, "unsafe", "SELECT * FROM spy_lines");
    refuse(used->db, SQLITE_ERROR, "unsafe", "SELECT * FROM spy_shard");
    refuse(used->db, SQLITE_ERROR, "unsafe", "SELECT * FROM spy_sync");
    refuse(used->db, SQLITE_ERROR, "unsafe", "SELECT * FROM spy_trust");
    refuse(used->db, SQLITE_ERROR, "unsafe", "INSERT INTO plain VALUES ('x')");
    expect_untouched(used->db);

    fixture_reopen(used);
    expect(used->db, "1", "SELECT comet_trust_schema(1)");
    run(used->db, "INSERT INTO plain VALUES ('b')");
    expect(used->db, "a\nb", "SELECT data FROM spy");
    refuse(used->db, SQLITE_ERROR, "unsafe", "SELECT * FROM spy_lines");
}

static void test_the_reading_entry_point_writes_nothing(void **state) {
    fixture *used = *state;
    sqlite3 *reader;

    make_table(used->db);
    db_close(used->db);
    reader = db_open_readonly_comet(used->database);
    expect(reader, "0|7|a", "SELECT offset, timestamp, data FROM t");
    expect(reader, "a", "SELECT data FROM comet_shard('telemetry', 0)");
    expect(reader, "normal", "SELECT comet_config('telemetry', 'sync')");
    refuse(reader, SQLITE_ERROR, "may not be modified", "INSERT INTO t(data) VALUES ('b')");
    refuse(reader, SQLITE_ERROR, "may not be modified",
           "INSERT INTO comet_shard(log, data) VALUES ('new', 'b')");
    refuse(reader, SQLITE_READONLY, "reads", "SELECT comet_config('telemetry', 'sync', 'full')");
    refuse(reader, SQLITE_READONLY, "reads", "SELECT comet_sync('telemetry')");
    db_close(reader);
    used->db = db_open(used->database);
    expect_untouched(used->db);
}

/* A schema must stay usable when a table's log has gone: other tables, and DROP TABLE. */
static void test_a_log_that_has_gone_leaves_the_schema_usable(void **state) {
    fixture *used = *state;
    char command[1400];

    make_table(used->db);
    run(used->db, "CREATE TABLE plain(x); INSERT INTO plain VALUES (1)");
    db_close(used->db);
    snprintf(command, sizeof command, "rm -r '%s/telemetry' && touch '%s/telemetry'",
             used->directory, used->directory);
    assert_int_equal(system(command), 0);
    used->db = db_open(used->database);
    expect(used->db, "1", "SELECT x FROM plain");
    refuse(used->db, SQLITE_ERROR, "telemetry", "SELECT * FROM t");
    run(used->db, "ALTER TABLE t RENAME TO gone; DROP TABLE gone");
    expect(used->db, "1", "SELECT x FROM plain");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_null_data),
        SQL_TEST(test_data_over_the_limit),
        SQL_TEST(test_a_given_offset),
        SQL_TEST(test_bad_timestamps),
        SQL_TEST(test_timestamps_that_are_integers_after_all),
        SQL_TEST(test_unknown_and_malformed_settings),
        SQL_TEST(test_shard_numbers_out_of_range),
        SQL_TEST(test_a_path_that_is_a_file),
        SQL_TEST(test_a_directory_that_cannot_be_made),
        SQL_TEST(test_a_directory_that_cannot_be_written),
        SQL_TEST(test_reading_what_does_not_exist),
        SQL_TEST(test_a_second_table_with_other_settings),
        SQL_TEST(test_update_and_delete),
        SQL_TEST(test_refused_rows_leave_the_transaction_open),
        SQL_TEST(test_a_row_for_another_shard),
        SQL_TEST(test_lines_of_what_cannot_be_read),
        SQL_TEST(test_views_and_triggers_are_kept_out),
        SQL_TEST(test_the_reading_entry_point_writes_nothing),
        SQL_TEST(test_a_log_that_has_gone_leaves_the_schema_usable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
