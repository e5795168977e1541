/* test_retention.c -- without it a log could grow without bound, or lose what a group still needs. */
#include "harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB 1024
#define LIMIT_BYTES (1024 * KIB)
#define SEGMENT_BYTES (64 * KIB)
/* What a segment takes on disk beside its data: its index, and what is allocated ahead of both. */
#define SEGMENT_EXTRA_BYTES (2 * 64 * KIB + 8 * KIB)

#define CREATE                                                                                     \
    "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', max_file_size='64KiB',"             \
    " min_compress_size=1000000, boundary_interval=50)"

static void append(sqlite3 *db, int from, int to) {
    run(db,
        "WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
        " INSERT INTO t(data) SELECT printf('%%0200d', i) FROM n",
        from, to - 1);
}

/* Disk blocks of everything in the shard's directory. */
static long long disk_bytes(const fixture *used) {
    char path[700];
    DIR *directory;
    struct dirent *entry;
    long long sum = 0;

    snprintf(path, sizeof path, "%s/telemetry/shard-0000", used->directory);
    directory = opendir(path);
    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        struct stat info;
        char name[1200];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && stat(name, &info) == 0) {
            sum += (long long)info.st_blocks * 512;
        }
    }
    closedir(directory);
    return sum;
}

static long long number(sqlite3 *db, const char *sql) {
    char *text = rows_of(db, sql);
    long long value = atoll(text);

    sqlite3_free(text);
    return value;
}

/* ---- Settings ---- */

static void test_settings_are_read_set_and_listed(void **state) {
    fixture *used = *state;

    run(used->db, CREATE);
    run(used->db, "INSERT INTO t(data) VALUES ('x')");
    expect(used->db, "10GiB", "SELECT comet_retention('t', 'max_shard_size')");
    expect(used->db, "1MiB", "SELECT comet_retention('t', 'max_shard_size', '1MiB')");
    expect(used->db, "on|off",
           "SELECT comet_retention('t', 'protect_unconsumed'),"
           " comet_retention('t', 'protect_unconsumed', 'off')");
    expect(used->db, "max_shard_size|1MiB|10GiB|bytes",
           "SELECT name, value, \"default\", unit FROM comet_retention('t')"
           " WHERE name = 'max_shard_size'");
    expect(used->db, "9", "SELECT count(*) FROM comet_retention('t')");
    fixture_reopen(used);
    expect(used->db, "1MiB", "SELECT comet_retention('telemetry', 'max_shard_size')");
}

static void test_bad_calls_change_nothing(void **state) {
    fixture *used = *state;

    run(used->db, CREATE);
    run(used->db, "INSERT INTO t(data) VALUES ('x')");
    refuse(used->db, SQLITE_ERROR, "max_age", "SELECT comet_retention('t', 'nonsense')");
    refuse(used->db, SQLITE_ERROR, "allowed", "SELECT comet_retention('t', 'max_age', '3 moons')");
    refuse(used->db, SQLITE_ERROR, "allowed", "SELECT comet_retention('t', 'max_age', -1)");
    refuse(used->db, SQLITE_ERROR, "allowed",
           "SELECT comet_retention('t', 'max_shard_size', '1XB')");
    refuse(used->db, SQLITE_ERROR, "NULL", "SELECT comet_retention('t', 'max_age', NULL)");
    refuse(used->db, SQLITE_ERROR, "comet_config()", "SELECT comet_retention('t', 'sync', 'off')");
    refuse(used->db, SQLITE_ERROR, "drop_oldest",
           "SELECT comet_retention('t', 'when_full', 'maybe')");
    refuse(used->db, SQLITE_ERROR, "nowhere", "SELECT comet_retention('nowhere')");
    expect(used->db, "7d|10GiB|drop_oldest",
           "SELECT comet_retention('t', 'max_age'), comet_retention('t', 'max_shard_size'),"
           " comet_retention('t', 'when_full')");
    refuse(used->db, SQLITE_ERROR, "from 0 to 1000000",
           "SELECT comet_retention('t', 'min_files_to_keep', 1000001)");
    expect(used->db, "2", "SELECT comet_retention('t', 'min_files_to_keep')");
}

/* Who may only read is told so, and the log stays as it is. */
static void test_who_only_reads_deletes_nothing(void **state) {
    fixture *used = *state;
    sqlite3 *reader;

    run(used->db, CREATE);
    append(used->db, 0, 2000);
    run(used->db, "SELECT comet_retention('t', 'max_shard_size', '100KiB')");
    reader = db_open_readonly_comet(used->database);
    refuse(reader, SQLITE_READONLY, "read", "SELECT comet_retention('telemetry')");
    refuse(reader, SQLITE_READONLY, "read", "SELECT comet_retention('telemetry', 'max_age', '1d')");
    expect(reader, "7d", "SELECT comet_retention('telemetry', 'max_age')");
    expect(reader, "0|2000", "SELECT min(offset), count(*) FROM comet_shard('telemetry', 0)");
    db_close(reader);
}

/* The report says of every file why it went or stayed. */
static void test_the_report_says_why_a_file_stayed(void **state) {
    fixture *used = *state;

    run(used->db, CREATE);
    append(used->db, 0, 2000);
    run(used->db, "SELECT comet_ack('t', 'slow', 0, 399);"
                  "SELECT comet_retention('t', 'max_age', 1);"
                  "SELECT comet_retention('t', 'file_grace_period', 0)");
    run(used->db, "CREATE TABLE report AS SELECT comet_retention('t') AS text");
    expect(used->db, "1|max_age|6|unconsumed|slow|1|current segment",
           "SELECT text -> '$.deleted.files', text ->> '$.deleted.segments[0].why',"
           " text -> '$.kept.files', text ->> '$.kept.segments[0].why',"
           " text ->> '$.kept.segments[0].group',"
           " (SELECT count(*) = 4 FROM json_each(text, '$.kept.segments')"
           "  WHERE value ->> 'why' = 'an older one stays'),"
           " text ->> '$.kept.segments[5].why' FROM report");
}

/* ---- Size ---- */

/* Go's defect W55: the disk fills up, whatever limit is set. */
static void test_size_holds_at_all_times(void **state) {
    fixture *used = *state;
    long long most = 0;

    run(used->db, CREATE);
    run(used->db, "INSERT INTO t(data) VALUES ('first')");
    run(used->db, "SELECT comet_retention('t', 'max_shard_size', '1MiB')");
    for (int i = 0; i < 400; i++) {
        long long now;
        append(used->db, i * 100, i * 100 + 100);
        now = disk_bytes(used);
        most = now > most ? now : most;
    }
    if (most > LIMIT_BYTES + SEGMENT_BYTES + SEGMENT_EXTRA_BYTES) {
        fail_msg("%lld bytes on disk", most);
    }
    assert_true(most > LIMIT_BYTES / 2);
    expect(used->db, "40000|1",
           "SELECT max(offset), max(offset) - min(offset) + 1 = count(*) FROM t");
    assert_true(number(used->db, "SELECT min(offset) FROM t") > 30000);
}

static void test_a_transaction_over_the_limit_is_refused_whole(void **state) {
    fixture *used = *state;

    run(used->db, CREATE);
    append(used->db, 0, 1000);
    run(used->db, "SELECT comet_retention('t', 'max_shard_size', '512KiB')");
    run(used->db, "BEGIN");
    refuse(used->db, SQLITE_FULL, "this transaction alone",
           "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
           " INSERT INTO t(data) SELECT printf('%%0200d', i) FROM n");
    run(used->db, "ROLLBACK");
    expect(used->db, "999", "SELECT max(offset) FROM t");
    append(used->db, 1000, 1100);
    expect(used->db, "1099", "SELECT max(offset) FROM t");
}

/* Go's defect W11: a group loses entries that it was promised. */
static void test_when_full_decides_about_a_slow_group(void **state) {
    fixture *used = *state;
    long long first;

    run(used->db, CREATE);
    append(used->db, 0, 500);
    run(used->db, "SELECT comet_ack('t', 'slow', 0, 9)");
    run(used->db, "SELECT comet_retention('t', 'max_shard_size', '512KiB'),"
                  " comet_retention('t', 'when_full', 'reject')");
    for (int i = 5; i < 60; i++) {
        if (number(used->db, "SELECT max(offset) FROM t") != i * 100 - 1) {
            fail_msg("at %d", i);
        }
        if (sqlite3_exec(used->db,
                         "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                         " WHERE i < 100) INSERT INTO t(data) SELECT printf('%0200d', i) FROM n",
                         NULL, NULL, NULL) != SQLITE_OK) {
            assert_int_equal(sqlite3_errcode(used->db), SQLITE_FULL);
            assert_non_null(strstr(sqlite3_errmsg(used->db), "'slow'"));
            break;
        }
        assert_true(i < 59);
    }
    expect(used->db, "0|10",
           "SELECT min(offset), (SELECT \"offset\" FROM comet_groups('t')) FROM t");
    /* It gets on: so does the writer. */
    run(used->db, "SELECT comet_ack('t', 'slow', 0, max(offset)) FROM t");
    append(used->db, 0, 100);
    assert_true(number(used->db, "SELECT min(offset) FROM t") > 0);
    /* Or it does not, and loses what it was told it would. */
    run(used->db, "SELECT comet_retention('t', 'when_full', 'drop_oldest')");
    append(used->db, 0, 100);
    for (int i = 0; i < 60; i++) {
        append(used->db, 0, 100);
    }
    first = number(used->db, "SELECT min(offset) FROM t");
    assert_int_equal(number(used->db, "SELECT \"offset\" FROM comet_groups('t')"), first);
    assert_true(number(used->db, "SELECT skipped FROM comet_groups('t')") > 0);
    assert_int_equal(number(used->db, "SELECT skipped + acknowledged FROM comet_groups('t')"),
                     first);
}

/* ---- Age, groups, and the report ---- */

static void test_age_respects_what_it_should(void **state) {
    fixture *used = *state;

    run(used->db, CREATE);
    append(used->db, 0, 3000);
    run(used->db, "SELECT comet_ack('t', 'g', 0, 999)");
    run(used->db, "SELECT comet_retention('t', 'file_grace_period', 0),"
                  " comet_retention('t', 'min_files_to_keep', 0)");
    expect(used->db, "0|0",
           "SELECT json_extract(comet_retention('t'), '$.deleted.files'), min(offset) FROM t");
    run(used->db, "SELECT comet_retention('t', 'max_age', 1)");
    expect(used->db, "1|unconsumed|g",
           "SELECT json_extract(r, '$.deleted.files') > 0,"
           " json_extract(r, '$.kept.segments[0].why'), json_extract(r, '$.kept.segments[0].group')"
           " FROM (SELECT comet_retention('t') AS r)");
    assert_true(number(used->db, "SELECT min(offset) FROM t") <= 1000);
    assert_true(number(used->db, "SELECT min(offset) FROM t") > 0);
    run(used->db, "SELECT comet_retention('t', 'min_files_to_keep', 3),"
                  " comet_forget('t', 'g')");
    run(used->db, "SELECT comet_retention('t')");
    expect(used->db, "3", "SELECT count(*) FROM comet_segments('t')");
    run(used->db, "SELECT comet_retention('t', 'min_files_to_keep', 0)");
    expect(used->db, "current segment",
           "SELECT json_extract(comet_retention('t'), '$.kept.segments[0].why')");
    expect(used->db, "1|2999", "SELECT count(*), max(last_offset) FROM comet_segments('t')");
    append(used->db, 0, 1);
    expect(used->db, "3000", "SELECT max(offset) FROM t");
}

static void test_another_process_sees_new_settings_and_new_starts(void **state) {
    fixture *used = *state;
    pid_t child;
    int status;

    run(used->db, CREATE);
    append(used->db, 0, 3000);
    fixture_reopen(used);
    fflush(NULL);
    child = fork();
    if (child == 0) {
        sqlite3 *db = db_open(used->database);
        run(db, "SELECT comet_retention('t', 'max_shard_size', '300KiB')");
        run(db, "SELECT comet_retention('t')");
        _exit(number(db, "SELECT min(offset) FROM t") > 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_true(number(used->db, "SELECT min(offset) FROM t") > 0);
    for (int i = 0; i < 30; i++) {
        append(used->db, 0, 100);
    }
    assert_true(disk_bytes(used) < 300 * KIB + SEGMENT_BYTES + SEGMENT_EXTRA_BYTES);
}

/* ---- Readers meanwhile ---- */

/* Go's defect W23: a reader that goes on after files were deleted returns other entries' data. */
static void test_a_running_statement_keeps_its_snapshot(void **state) {
    fixture *used = *state;
    sqlite3_stmt *reading;
    long long count = 0;

    run(used->db, CREATE);
    append(used->db, 0, 3000);
    assert_int_equal(sqlite3_prepare_v2(used->db, "SELECT offset, data FROM t", -1, &reading, NULL),
                     SQLITE_OK);
    while (sqlite3_step(reading) == SQLITE_ROW) {
        char expected[256];
        if (count == 10) {
            run(used->db, "SELECT comet_retention('t', 'max_shard_size', '100KiB')");
            run(used->db, "SELECT comet_retention('t')");
        }
        snprintf(expected, sizeof expected, "%0200lld", count);
        assert_int_equal(sqlite3_column_int64(reading, 0), count);
        assert_string_equal((const char *)sqlite3_column_text(reading, 1), expected);
        count++;
    }
    assert_int_equal(sqlite3_finalize(reading), SQLITE_OK);
    assert_int_equal(count, 3000);
    assert_true(number(used->db, "SELECT min(offset) FROM t") > 2000);
}

/* Scans the shard again and again until it has seen the last one. */
static void read_on(const fixture *used, long long goal) {
    sqlite3 *db = db_open(":memory:");
    char *sql =
        sqlite3_mprintf("SELECT offset, data FROM comet_shard('%q/telemetry', 0)", used->directory);
    long long last = 0;

    while (last < goal && getppid() != 1) {
        sqlite3_stmt *reading;
        long long before = -1;
        if (sqlite3_prepare_v2(db, sql, -1, &reading, NULL) != SQLITE_OK) {
            _exit(2);
        }
        while (sqlite3_step(reading) == SQLITE_ROW) {
            last = sqlite3_column_int64(reading, 0);
            if (last <= before || sqlite3_column_bytes(reading, 1) != 200) {
                _exit(3);
            }
            before = last;
        }
        if (sqlite3_finalize(reading) != SQLITE_OK) {
            fprintf(stderr, "%s\n", sqlite3_errmsg(db));
            _exit(4);
        }
    }
    _exit(0);
}

/* Go's defect W23: a reader's files are known by their places in a list that has changed. */
static void test_no_reader_of_another_process_errs(void **state) {
    fixture *used = *state;
    pid_t readers[3];

    run(used->db, CREATE);
    append(used->db, 0, 100);
    run(used->db, "SELECT comet_retention('t', 'max_shard_size', '256KiB')");
    fixture_reopen(used);
    fflush(NULL);
    for (int i = 0; i < 3; i++) {
        readers[i] = fork();
        if (readers[i] == 0) {
            read_on(used, 29999);
        }
    }
    for (int i = 1; i < 300; i++) {
        append(used->db, i * 100, i * 100 + 100);
    }
    for (int i = 0; i < 3; i++) {
        int status;
        assert_int_equal(waitpid(readers[i], &status, 0), readers[i]);
        assert_int_equal(status, 0);
    }
}

/* Reads batch after batch; what comes must go on where the last one ended. */
static void consume_all(const fixture *used, int number, long long goal) {
    sqlite3 *db = db_open(":memory:");
    long long next = 0;

    run(db, "PRAGMA busy_timeout = 60000");
    while (next < goal && getppid() != 1) {
        sqlite3_stmt *reading;
        char *sql = sqlite3_mprintf("SELECT offset FROM comet_consumer('%q/telemetry', 'g%d')"
                                    " LIMIT 700",
                                    used->directory, number);
        if (sqlite3_prepare_v2(db, sql, -1, &reading, NULL) != SQLITE_OK) {
            _exit(2);
        }
        sqlite3_free(sql);
        while (sqlite3_step(reading) == SQLITE_ROW) {
            if (sqlite3_column_int64(reading, 0) != next++) {
                _exit(3);
            }
        }
        if (sqlite3_finalize(reading) != SQLITE_OK) {
            _exit(4);
        }
        if (next > 0) {
            run(db, "SELECT comet_ack('%q/telemetry', 'g%d', 0, %lld)", used->directory, number,
                next - 1);
        }
        usleep(2000 * (useconds_t)number);
    }
    db_close(db);
    _exit(0);
}

static void test_no_group_skips_unless_told(void **state) {
    enum { CONSUMERS = 3, BATCHES = 150 };
    fixture *used = *state;
    pid_t consumers[CONSUMERS];
    pid_t reader;
    int status;

    run(used->db, CREATE);
    append(used->db, 0, 100);
    for (int i = 0; i < CONSUMERS; i++) {
        run(used->db, "SELECT comet_seek('t', 'g%d', 0, 0)", i);
    }
    run(used->db, "SELECT comet_retention('t', 'max_age', 1);"
                  "SELECT comet_retention('t', 'file_grace_period', 0);"
                  "SELECT comet_retention('t', 'min_files_to_keep', 0)");
    db_close(used->db);
    fflush(NULL);
    reader = fork();
    if (reader == 0) {
        read_on(used, 100 * BATCHES - 1);
    }
    for (int i = 0; i < CONSUMERS; i++) {
        consumers[i] = fork();
        if (consumers[i] == 0) {
            consume_all(used, i, 100 * BATCHES);
        }
    }
    used->db = db_open(used->database);
    for (int i = 1; i < BATCHES; i++) {
        append(used->db, i * 100, i * 100 + 100);
        run(used->db, "SELECT comet_retention('t')");
    }
    assert_int_equal(waitpid(reader, &status, 0), reader);
    assert_int_equal(status, 0);
    for (int i = 0; i < CONSUMERS; i++) {
        assert_int_equal(waitpid(consumers[i], &status, 0), consumers[i]);
        assert_int_equal(status, 0);
    }
    run(used->db, "SELECT comet_retention('t')");
    expect(used->db, "3|15000|15000|0|1",
           "SELECT count(*), min(\"offset\"), max(acknowledged), sum(skipped),"
           " (SELECT min(offset) > 14000 FROM t) FROM comet_groups('t')");
}

/* ---- The log's own limit ---- */

/* Go's defect W55: shards that nobody opened are never cleaned. */
static void test_total_size_takes_the_oldest_of_all_shards(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE s USING comet_stream(log='telemetry', shards=3,"
                  " max_file_size='64KiB', min_compress_size=1000000)");
    for (int shard = 0; shard < 3; shard++) {
        run(used->db,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
            " INSERT INTO s(shard, data) SELECT %d, printf('%%0200d', i) FROM n",
            shard);
    }
    run(used->db, "SELECT comet_retention('s', 'max_total_size', '800KiB')");
    run(used->db, "SELECT comet_retention('s')");
    expect(used->db, "1|1",
           "SELECT first_offset > 0, count(*) FROM comet_shards('s') WHERE shard = 0");
    assert_true(number(used->db, "SELECT sum(bytes) FROM comet_segments('s')") < 800 * KIB);
    expect(used->db, "1",
           "SELECT (SELECT first_offset FROM comet_shards('s') WHERE shard = 0)"
           " > (SELECT first_offset FROM comet_shards('s') WHERE shard = 2)");
    /* And while it is written to. */
    for (int i = 0; i < 30; i++) {
        run(used->db,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
            " INSERT INTO s(shard, data) SELECT 1, printf('%%0200d', i) FROM n");
    }
    assert_true(number(used->db, "SELECT sum(bytes) FROM comet_segments('s')") < 900 * KIB);
}

/* Another process's shards are its own, for retention as well. */
static void test_foreign_shards_are_left_to_their_owner(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE temp.s USING comet_stream(log='telemetry', shards=2,"
                  " max_file_size='64KiB', min_compress_size=1000000)");
    for (int shard = 0; shard < 2; shard++) {
        run(used->db,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
            " INSERT INTO s(shard, data) SELECT %d, printf('%%0200d', i) FROM n",
            shard);
    }
    fixture_reopen(used);
    run(used->db, "CREATE VIRTUAL TABLE temp.s USING comet_stream(log='telemetry',"
                  " process_id=0, process_count=2);"
                  "SELECT comet_retention('s', 'max_shard_size', '100KiB');"
                  "SELECT comet_retention('s')");
    expect(used->db, "0|1\n1|0", "SELECT shard, first_offset > 0 FROM comet_shards('s')");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_settings_are_read_set_and_listed),
        SQL_TEST(test_bad_calls_change_nothing),
        SQL_TEST(test_who_only_reads_deletes_nothing),
        SQL_TEST(test_the_report_says_why_a_file_stayed),
        SQL_TEST(test_size_holds_at_all_times),
        SQL_TEST(test_a_transaction_over_the_limit_is_refused_whole),
        SQL_TEST(test_when_full_decides_about_a_slow_group),
        SQL_TEST(test_age_respects_what_it_should),
        SQL_TEST(test_another_process_sees_new_settings_and_new_starts),
        SQL_TEST(test_a_running_statement_keeps_its_snapshot),
        SQL_TEST(test_no_reader_of_another_process_errs),
        SQL_TEST(test_no_group_skips_unless_told),
        SQL_TEST(test_foreign_shards_are_left_to_their_owner),
        SQL_TEST(test_total_size_takes_the_oldest_of_all_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
