/* If these break, PRAGMA integrity_check calls a damaged log whole, or an application that checks its
** database at start fails because a log has gone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "integrity.h"

#define FULL_CHECK 0
#define QUICK_CHECK 1
#define SQLITE_VERSION_ASKING 3044000 /* PRAGMA integrity_check asks virtual tables */

static const shard_range all = {0, UINT32_MAX};

static void make_log(fixture *used) {
    run(used->db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', max_file_size='4KiB');"
                  "CREATE VIRTUAL TABLE s USING comet_stream(log='telemetry', shards=2);"
                  "CREATE VIRTUAL TABLE c USING comet_consumer(log='telemetry', group='g');"
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
                  " INSERT INTO t(data) SELECT 'entry ' || i FROM n;"
                  "INSERT INTO s(shard, data) VALUES (1, 'one');");
    fixture_reopen(used);
}

static void log_path(const fixture *used, const char *name, char path[700]) {
    assert_true(snprintf(path, 700, "%s/telemetry/%s", used->directory, name) < 700);
}

/* What xIntegrity answers; release with sqlite3_free(). */
static char *check(const fixture *used, shard_range shards, int flags) {
    connection *own = connection_new(used->db, false);
    char directory[700];
    char *findings = NULL;

    log_path(used, "", directory);
    assert_non_null(own);
    assert_int_equal(integrity_check(own, directory, shards, "main", "t", flags, &findings),
                     SQLITE_OK);
    connection_release(own);
    return findings;
}

static void expect_finding(const fixture *used, shard_range shards, int flags, const char *words) {
    char *findings = check(used, shards, flags);

    if (words == NULL ? findings != NULL : findings == NULL || strstr(findings, words) == NULL) {
        fail_msg("found \"%s\" instead of \"%s\"", findings != NULL ? findings : "",
                 words != NULL ? words : "");
    }
    sqlite3_free(findings);
}

/* Where SQLite asks the tables itself. */
static void expect_pragma(const fixture *used, const char *pragma, const char *pattern) {
    if (sqlite3_libversion_number() >= SQLITE_VERSION_ASKING) {
        expect(used->db, "1", "SELECT max(%s LIKE %Q) FROM pragma_%s", pragma, pattern, pragma);
    }
}

static void test_whole_log_has_no_finding(void **state) {
    fixture *used = *state;

    make_log(used);
    expect_finding(used, all, FULL_CHECK, NULL);
    expect_finding(used, all, QUICK_CHECK, NULL);
    expect_pragma(used, "integrity_check", "ok");
    expect(used->db, "ok", "PRAGMA integrity_check");
}

static void test_damage_is_a_finding_of_its_shard(void **state) {
    static const shard_range other = {1, 1};
    fixture *used = *state;
    char path[700];
    FILE *file;

    make_log(used);
    log_path(used, "shard-0000/log-0000000000000001.comet", path);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 500, SEEK_SET), 0);
    assert_int_equal(fputc(0xFF, file), 0xFF);
    assert_int_equal(fclose(file), 0);
    expect_finding(used, all, FULL_CHECK,
                   "comet table main.t: shard 0, log-0000000000000001.comet: ");
    expect_finding(used, all, FULL_CHECK, "checksum");
    expect_finding(used, other, FULL_CHECK, NULL);
    expect_finding(used, all, QUICK_CHECK, NULL); /* it reads no data */
    expect_pragma(used, "integrity_check", "comet table main.t: shard 0%checksum%");
}

static void test_quick_check_sees_files_cut_or_gone(void **state) {
    fixture *used = *state;
    char path[700];

    make_log(used);
    log_path(used, "shard-0000/log-0000000000000001.comet", path);
    assert_int_equal(truncate(path, 100), 0);
    expect_finding(used, all, QUICK_CHECK, "cut short");
    assert_int_equal(unlink(path), 0);
    fixture_reopen(used);
    expect_finding(used, all, QUICK_CHECK, "No such file");
    expect_pragma(used, "quick_check", "comet table main.s: shard 0%No such file%");
}

static void test_missing_log_is_a_finding(void **state) {
    fixture *used = *state;

    expect_finding(used, all, FULL_CHECK, "there is no log at");
    expect(used->db, "ok", "PRAGMA integrity_check");
}

static void test_findings_are_bounded(void **state) {
    fixture *used = *state;
    char path[700];
    char name[64];
    char *findings;
    unsigned lines = 1;

    make_log(used);
    run(used->db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)"
                  " INSERT INTO t(data) SELECT 'entry ' || i FROM n;");
    fixture_reopen(used);
    for (int number = 1; number <= 30; number++) {
        (void)snprintf(name, sizeof name, "shard-0000/log-%016d.comet", number);
        log_path(used, name, path);
        assert_int_equal(truncate(path, 100), 0);
    }
    findings = check(used, all, QUICK_CHECK);
    assert_non_null(findings);
    for (const char *at = findings; (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, 21);
    assert_non_null(strstr(findings, "... and 10 more: SELECT * FROM comet_verify("));
    sqlite3_free(findings);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_whole_log_has_no_finding),
        SQL_TEST(test_damage_is_a_finding_of_its_shard),
        SQL_TEST(test_quick_check_sees_files_cut_or_gone),
        SQL_TEST(test_missing_log_is_a_finding),
        SQL_TEST(test_findings_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
