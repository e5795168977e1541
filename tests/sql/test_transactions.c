/* If these break, a user's COMMIT loses rows, a ROLLBACK leaves some behind, or other readers see
** half of a transaction.  Each fact about SQLite that SQLITE.md section 4 lists is a test here. */
#include <string.h>

#include "harness.h"

/* A created table t over shard 0 of `telemetry`, an ordinary table, and another connection's
** eyes. */
static void make_table(sqlite3 *db) {
    run(db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry');"
            "CREATE TABLE plain(x)");
}

#define ROWS "SELECT group_concat(data, ',') FROM (SELECT data FROM t ORDER BY offset)"
#define SEEN                                                                                       \
    "SELECT group_concat(data, ',') FROM (SELECT data FROM comet_shard('telemetry', 0) ORDER BY "  \
    "offset)"

static void expect_seen_by_others(const fixture *used, const char *rows) {
    sqlite3 *other = db_open(used->database);

    expect(other, rows, SEEN);
    db_close(other);
}

static void test_commit_publishes_all_at_once(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a'); INSERT INTO t(data) VALUES ('b')");
    expect(used->db, "a,b", ROWS);
    expect_seen_by_others(used, "NULL");
    run(used->db, "COMMIT");
    expect_seen_by_others(used, "a,b");
}

static void test_rollback_leaves_no_trace_and_reuses_offsets(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "INSERT INTO t(data) VALUES ('a')");
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('x'), ('y'); ROLLBACK");
    expect(used->db, "a", ROWS);
    run(used->db, "INSERT INTO t(data) VALUES ('b')");
    expect(used->db, "0|a\n1|b", "SELECT offset, data FROM t");
    expect_seen_by_others(used, "a,b");
}

static void test_autocommit_is_a_transaction(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "INSERT INTO t(data) VALUES ('a')");
    expect_seen_by_others(used, "a");
    refuse(used->db, SQLITE_CONSTRAINT, "NULL", "INSERT INTO t(data) VALUES ('b'), (NULL), ('c')");
    expect_seen_by_others(used, "a");
    expect(used->db, "a", ROWS);
}

/* Fact: xSync before xCommit, whose result nobody hears; so several tables and a plain one
** agree. */
static void test_several_tables_and_an_ordinary_one_commit_together(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "CREATE VIRTUAL TABLE u USING comet_shard(log='telemetry', shard=1);"
                  "CREATE VIRTUAL TABLE temp.v USING comet_shard(log='other', shard=7)");
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a'); INSERT INTO u(data) VALUES ('b');"
                  "INSERT INTO v(data) VALUES ('c'); INSERT INTO plain VALUES (1);"
                  "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', 2, 'd');"
                  "ROLLBACK");
    expect(used->db, "0|0|0|0",
           "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u),"
           " (SELECT count(*) FROM v), (SELECT count(*) FROM plain)");
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a'); INSERT INTO u(data) VALUES ('b');"
                  "INSERT INTO v(data) VALUES ('c'); INSERT INTO plain VALUES (1);"
                  "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', 2, 'd');"
                  "COMMIT");
    fixture_reopen(used);
    expect(used->db, "a|b|c|d|1",
           "SELECT (SELECT data FROM comet_shard('telemetry', 0)),"
           " (SELECT data FROM comet_shard('telemetry', 1)),"
           " (SELECT data FROM comet_shard('other', 7)),"
           " (SELECT data FROM comet_shard('telemetry', 2)), (SELECT x FROM plain)");
}

/* Two tables over one shard are one transaction on it. */
static void test_two_tables_over_one_shard_share_the_transaction(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "CREATE VIRTUAL TABLE u USING comet_shard(log='./telemetry', shard=0)");
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a'); SAVEPOINT s;"
                  "INSERT INTO u(data) VALUES ('b')");
    expect(used->db, "2|2", "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)");
    run(used->db, "ROLLBACK TO s");
    expect(used->db, "1|1", "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)");
    run(used->db, "INSERT INTO u(data) VALUES ('c'); COMMIT");
    expect(used->db, "a,c", ROWS);
}

/* Fact: COMMIT can fail with BUSY after xSync; the transaction goes on, and xSync comes again. */
static void test_commit_busy_after_sync_goes_on_and_is_tried_again(void **state) {
    fixture *used = *state;
    sqlite3 *reader = db_open(used->database);
    sqlite3_stmt *reading = NULL;

    run(used->db, "PRAGMA journal_mode=DELETE");
    make_table(used->db);
    run(used->db, "INSERT INTO plain VALUES (1), (2)");
    assert_int_equal(sqlite3_prepare_v2(reader, "SELECT x FROM plain", -1, &reading, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(reading), SQLITE_ROW);

    run(used->db, "BEGIN; INSERT INTO plain VALUES (3); INSERT INTO t(data) VALUES ('a')");
    refuse(used->db, SQLITE_BUSY, "locked", "COMMIT");
    assert_int_equal(sqlite3_get_autocommit(used->db), 0);
    expect(reader, "NULL", SEEN);
    run(used->db, "INSERT INTO t(data) VALUES ('b')");
    refuse(used->db, SQLITE_BUSY, "locked", "COMMIT");
    run(used->db, "SAVEPOINT s; INSERT INTO t(data) VALUES ('x'); ROLLBACK TO s");
    sqlite3_finalize(reading);
    run(used->db, "COMMIT");
    expect(reader, "a,b", SEEN);
    expect(reader, "3", "SELECT count(*) FROM plain");
    db_close(reader);
}

/* Fact: a good xSync may be followed by xRollback. */
static void test_rollback_after_a_busy_commit(void **state) {
    fixture *used = *state;
    sqlite3 *reader = db_open(used->database);
    sqlite3_stmt *reading = NULL;

    run(used->db, "PRAGMA journal_mode=DELETE");
    make_table(used->db);
    run(used->db, "INSERT INTO plain VALUES (1), (2)");
    assert_int_equal(sqlite3_prepare_v2(reader, "SELECT x FROM plain", -1, &reading, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(reading), SQLITE_ROW);
    run(used->db, "BEGIN; INSERT INTO plain VALUES (3); INSERT INTO t(data) VALUES ('a')");
    refuse(used->db, SQLITE_BUSY, "locked", "COMMIT");
    run(used->db, "ROLLBACK");
    sqlite3_finalize(reading);
    db_close(reader);
    fixture_reopen(used);
    expect(used->db, "NULL", ROWS);
    run(used->db, "INSERT INTO t(data) VALUES ('b')");
    expect(used->db, "0|b", "SELECT offset, data FROM t");
}

static int veto(void *unused) {
    (void)unused;
    return 1;
}

static void test_a_commit_hook_that_vetoes_rolls_back(void **state) {
    fixture *used = *state;

    make_table(used->db);
    sqlite3_commit_hook(used->db, veto, NULL);
    refuse(used->db, SQLITE_CONSTRAINT, "", "BEGIN; INSERT INTO t(data) VALUES ('a'); COMMIT");
    sqlite3_commit_hook(used->db, NULL, NULL);
    assert_int_equal(sqlite3_get_autocommit(used->db), 1);
    expect(used->db, "NULL", ROWS);
    run(used->db, "INSERT INTO t(data) VALUES ('b')");
    expect(used->db, "b", ROWS);
}

/* Fact: CREATE VIRTUAL TABLE has xSync and xCommit without xBegin; rolled back it has xRollback. */
static void test_create_commits_and_rolls_back(void **state) {
    fixture *used = *state;

    run(used->db, "BEGIN; CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry');"
                  "INSERT INTO t(data) VALUES ('a'); ROLLBACK");
    refuse(used->db, SQLITE_ERROR, "no such table", "SELECT * FROM t");
    run(used->db, "BEGIN; CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry');"
                  "INSERT INTO t(data) VALUES ('b'); COMMIT");
    expect(used->db, "0|b", "SELECT offset, data FROM t");
    /* Created while another table's rows are pending, which it must not publish. */
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('c');"
                  "CREATE VIRTUAL TABLE u USING comet_shard(log='telemetry', shard=1)");
    expect_seen_by_others(used, "b");
    run(used->db, "ROLLBACK");
    expect(used->db, "b", ROWS);
}

/* Fact: DROP TABLE calls xDestroy at once, ROLLBACK connects again. */
static void test_drop_rolled_back_brings_everything_back(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "INSERT INTO t(data) VALUES ('a')");
    run(used->db, "BEGIN; DROP TABLE t; ROLLBACK");
    expect(used->db, "a", ROWS);
    run(used->db, "INSERT INTO t(data) VALUES ('b'); DROP TABLE t");
    expect(used->db, "a,b", SEEN);
}

/* Fact: a dropped table hears nothing of COMMIT, so its rows would be in limbo. */
static void test_drop_with_uncommitted_rows_waits_for_commit(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a')");
    refuse(used->db, SQLITE_LOCKED, "", "DROP TABLE t");
    run(used->db, "COMMIT; DROP TABLE t");
    expect(used->db, "a", SEEN);
}

static void test_nested_savepoints(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a'); SAVEPOINT one;"
                  "INSERT INTO t(data) VALUES ('b'); SAVEPOINT two;"
                  "INSERT INTO t(data) VALUES ('c'); ROLLBACK TO two");
    expect(used->db, "a,b", ROWS);
    /* Fact: after ROLLBACK TO the same savepoint can be rolled back to again. */
    run(used->db, "INSERT INTO t(data) VALUES ('d'); ROLLBACK TO two");
    expect(used->db, "a,b", ROWS);
    run(used->db, "INSERT INTO t(data) VALUES ('e'); RELEASE two");
    expect(used->db, "a,b,e", ROWS);
    run(used->db, "ROLLBACK TO one; INSERT INTO t(data) VALUES ('f'); RELEASE one; COMMIT");
    expect(used->db, "0|a\n1|f", "SELECT offset, data FROM t");
}

static void test_a_savepoint_outside_a_transaction_is_one(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "SAVEPOINT s; INSERT INTO t(data) VALUES ('a')");
    expect_seen_by_others(used, "NULL");
    run(used->db, "ROLLBACK TO s; INSERT INTO t(data) VALUES ('b'); RELEASE s");
    expect_seen_by_others(used, "b");
}

/* Fact: savepoint numbers can start above 0, and xRollbackTo(0) come though only 2 was seen. */
static void test_rollback_to_a_savepoint_older_than_the_first_insert(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "BEGIN; SAVEPOINT s0; SAVEPOINT s1; SAVEPOINT s2;"
                  "INSERT INTO t(data) VALUES ('a'); ROLLBACK TO s0");
    expect(used->db, "NULL", ROWS);
    run(used->db, "INSERT INTO t(data) VALUES ('b'); COMMIT");
    expect(used->db, "0|b", "SELECT offset, data FROM t");
}

/* The deeper levels go and come again; the old ones still mean the beginning. */
static void test_late_join_then_release_then_rollback_below(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "BEGIN; SAVEPOINT s0; SAVEPOINT s1; SAVEPOINT s2;"
                  "INSERT INTO t(data) VALUES ('a'); RELEASE s2; SAVEPOINT s2;"
                  "INSERT INTO t(data) VALUES ('b'); ROLLBACK TO s1");
    expect(used->db, "NULL", ROWS);
    run(used->db, "INSERT INTO t(data) VALUES ('c'); SAVEPOINT s2;"
                  "INSERT INTO t(data) VALUES ('d'); ROLLBACK TO s2");
    expect(used->db, "c", ROWS);
    run(used->db, "ROLLBACK TO s0");
    expect(used->db, "NULL", ROWS);
    run(used->db, "COMMIT");
    expect_seen_by_others(used, "NULL");
}

/* A table that joins late must not move the marks of one that was there before. */
static void test_a_table_that_joins_late_leaves_the_marks_of_others(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "CREATE VIRTUAL TABLE u USING comet_shard(log='telemetry', shard=1)");
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a'); SAVEPOINT s0;"
                  "INSERT INTO t(data) VALUES ('b'); INSERT INTO u(data) VALUES ('x');"
                  "SAVEPOINT s1; INSERT INTO u(data) VALUES ('y'); ROLLBACK TO s0");
    expect(used->db, "a", ROWS);
    expect(used->db, "0", "SELECT count(*) FROM u");
    run(used->db, "COMMIT");
    expect_seen_by_others(used, "a");
}

/* Fact: a multi-row INSERT inside BEGIN has a statement savepoint; its failure keeps earlier
** rows. */
static void test_a_failed_statement_keeps_the_rows_before_it(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a')");
    refuse(used->db, SQLITE_CONSTRAINT, "NULL",
           "INSERT INTO t(data) VALUES ('b'), ('c'), (NULL), ('d')");
    expect(used->db, "a", ROWS);
    run(used->db, "INSERT INTO t(data) VALUES ('e'); COMMIT");
    expect(used->db, "0|a\n1|e", "SELECT offset, data FROM t");
}

/* Fact: conflict clauses work if the row is refused before anything has changed. */
static void test_conflict_clauses(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "INSERT OR IGNORE INTO t(data) VALUES ('a'), (NULL), ('b')");
    expect(used->db, "a,b", ROWS);
    refuse(used->db, SQLITE_CONSTRAINT, "NULL",
           "INSERT OR FAIL INTO t(data) VALUES ('c'), (NULL), ('d')");
    expect(used->db, "a,b,c", ROWS);
    refuse(used->db, SQLITE_CONSTRAINT, "NULL",
           "INSERT OR ABORT INTO t(data) VALUES ('e'), (NULL), ('f')");
    refuse(used->db, SQLITE_CONSTRAINT, "NULL",
           "INSERT OR REPLACE INTO t(data) VALUES ('e'), (NULL), ('f')");
    expect(used->db, "a,b,c", ROWS);
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('g')");
    refuse(used->db, SQLITE_CONSTRAINT, "NULL",
           "INSERT OR ROLLBACK INTO t(data) VALUES ('h'), (NULL)");
    assert_int_equal(sqlite3_get_autocommit(used->db), 1);
    expect(used->db, "a,b,c", ROWS);
}

static void test_upsert_is_refused_by_sqlite(void **state) {
    fixture *used = *state;

    make_table(used->db);
    refuse(used->db, SQLITE_ERROR, "UPSERT",
           "INSERT INTO t(data) VALUES ('a') ON CONFLICT DO NOTHING");
}

/* Fact: RETURNING cannot know the offset, last_insert_rowid() does. */
static void test_the_offset_is_the_rowid(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "INSERT INTO t(data) VALUES ('a'), ('b'), ('c')");
    expect(used->db, "2", "SELECT last_insert_rowid()");
    expect(used->db, "1|1|b", "SELECT rowid, offset, data FROM t WHERE rowid = 1");
    run(used->db, "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', 0, 'd')");
    expect(used->db, "3", "SELECT last_insert_rowid()");
}

/* Fact: INSERT takes the write lock of the schema the table lives in; temp has none. */
static void test_temp_tables_write_while_the_database_is_locked(void **state) {
    fixture *used = *state;
    sqlite3 *other = db_open(used->database);

    make_table(used->db);
    run(other, "CREATE VIRTUAL TABLE temp.hot USING comet_shard(log='telemetry', shard=3)");
    run(used->db, "BEGIN IMMEDIATE");
    refuse(other, SQLITE_BUSY, "locked", "INSERT INTO t(data) VALUES ('a')");
    run(other, "INSERT INTO hot(data) VALUES ('a')");
    run(used->db, "COMMIT");
    db_close(other);
}

/* A second writer of the shard waits for busy_timeout, then SQLITE_BUSY; nothing is lost. */
static void test_a_second_writer_gets_busy(void **state) {
    fixture *used = *state;
    sqlite3 *other = db_open(":memory:");

    run(used->db, "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='telemetry')");
    run(other,
        "CREATE VIRTUAL TABLE t USING comet_shard(log='%q/telemetry');"
        "PRAGMA busy_timeout=20",
        used->directory);
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a')");
    refuse(other, SQLITE_BUSY, "", "INSERT INTO t(data) VALUES ('b')");
    run(used->db, "COMMIT");
    run(other, "INSERT INTO t(data) VALUES ('c')");
    expect(used->db, "a,c", ROWS);
    db_close(other);
}

static void test_inserting_from_the_table_itself_ends(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "INSERT INTO t(data) VALUES ('a'), ('b')");
    run(used->db, "INSERT INTO t(data) SELECT data || '2' FROM t");
    expect(used->db, "a,b,a2,b2", ROWS);
    run(used->db, "BEGIN; INSERT INTO t(data) SELECT data || '3' FROM t WHERE offset > 2; COMMIT");
    expect(used->db, "a,b,a2,b2,b23", ROWS);
}

static void test_closing_with_an_open_transaction_rolls_back(void **state) {
    fixture *used = *state;

    make_table(used->db);
    run(used->db, "BEGIN; INSERT INTO t(data) VALUES ('a')");
    fixture_reopen(used);
    expect(used->db, "NULL", ROWS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_commit_publishes_all_at_once),
        SQL_TEST(test_rollback_leaves_no_trace_and_reuses_offsets),
        SQL_TEST(test_autocommit_is_a_transaction),
        SQL_TEST(test_several_tables_and_an_ordinary_one_commit_together),
        SQL_TEST(test_two_tables_over_one_shard_share_the_transaction),
        SQL_TEST(test_commit_busy_after_sync_goes_on_and_is_tried_again),
        SQL_TEST(test_rollback_after_a_busy_commit),
        SQL_TEST(test_a_commit_hook_that_vetoes_rolls_back),
        SQL_TEST(test_create_commits_and_rolls_back),
        SQL_TEST(test_drop_rolled_back_brings_everything_back),
        SQL_TEST(test_drop_with_uncommitted_rows_waits_for_commit),
        SQL_TEST(test_nested_savepoints),
        SQL_TEST(test_a_savepoint_outside_a_transaction_is_one),
        SQL_TEST(test_rollback_to_a_savepoint_older_than_the_first_insert),
        SQL_TEST(test_late_join_then_release_then_rollback_below),
        SQL_TEST(test_a_table_that_joins_late_leaves_the_marks_of_others),
        SQL_TEST(test_a_failed_statement_keeps_the_rows_before_it),
        SQL_TEST(test_conflict_clauses),
        SQL_TEST(test_upsert_is_refused_by_sqlite),
        SQL_TEST(test_the_offset_is_the_rowid),
        SQL_TEST(test_temp_tables_write_while_the_database_is_locked),
        SQL_TEST(test_a_second_writer_gets_busy),
        SQL_TEST(test_inserting_from_the_table_itself_ends),
        SQL_TEST(test_closing_with_an_open_transaction_rolls_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
