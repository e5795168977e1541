/* If these break, a consumer loses entries, gets them twice, or never gets them. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define KILLS 40
#define WORKERS 4

/* Shards 0 .. shards-1 of `telemetry`, with `count` entries each: '<shard>:<offset>'. */
static void fill(sqlite3 *db, int shards, int count) {
    for (int shard = 0; shard < shards; shard++) {
        run(db,
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %d)"
            " INSERT INTO comet_shard(log, shard, timestamp, data)"
            " SELECT 'telemetry', %d, 1000 + i, '%d:' || i FROM n",
            count, shard, shard);
    }
}

#define PENDING(group) "SELECT count(*) FROM comet_consumer('telemetry', '" group "')"
#define POSITION(group)                                                                            \
    "SELECT group_concat(offset) FROM comet_groups('telemetry') WHERE \"group\" = '" group "'"

static void test_acknowledged_entries_do_not_come_again(void **state) {
    fixture *used = *state;

    fill(used->db, 2, 5);
    expect(used->db, "10", PENDING("g"));
    expect(used->db, "3", "SELECT comet_ack('telemetry', 'g', 0, 2)");
    expect(used->db, "0|3|0:3\n0|4|0:4\n1|0|1:0",
           "SELECT shard, offset, data FROM comet_consumer('telemetry', 'g')"
           " ORDER BY shard, offset LIMIT 3");
    expect(used->db, "7|2|5",
           "SELECT comet_lag('telemetry', 'g'), comet_lag('telemetry', 'g', 0),"
           " comet_lag('telemetry', 'g', 1)");
    expect(used->db, "10", PENDING("h")); /* groups are independent, a new one begins at 0 */
    fixture_reopen(used);
    expect(used->db, "7", PENDING("g"));
    expect(used->db, "0-3",
           "SELECT id FROM comet_consumer('telemetry', 'g') WHERE shard = 0 LIMIT 1");
    expect(used->db, "0|g|3|2|3|0",
           "SELECT shard, \"group\", offset, lag, acknowledged, skipped FROM "
           "comet_groups('telemetry')");
    expect(used->db, "1",
           "SELECT last_ack > comet_ns('now', '-1 minute') FROM comet_groups('telemetry')");
}

/* Duplicate, empty and reverse-order acknowledgements; the highest wins. */
static void test_acks_never_go_backward(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 5);
    expect(used->db, "4\n3\n2\n1\n0",
           "SELECT offset FROM comet_consumer('telemetry', 'g') ORDER BY offset DESC");
    expect(used->db, "5\n5\n5\n5\n5",
           "SELECT comet_ack('telemetry', 'g', 0, offset) FROM"
           " (SELECT offset FROM comet_shard('telemetry', 0) ORDER BY offset DESC)");
    expect(used->db, "0", "SELECT comet_lag('telemetry', 'g')");
    expect(used->db, "",
           "SELECT comet_ack('telemetry', 'g', shard, offset)"
           " FROM comet_consumer('telemetry', 'g')");
    expect(used->db, "5", POSITION("g"));
}

static void test_a_batch_is_drained_by_its_own_acks(void **state) {
    fixture *used = *state;

    fill(used->db, 3, 100);
    for (int i = 0; i < 30; i++) {
        expect(used->db, "10",
               "SELECT count(comet_ack('telemetry', 'g', shard, offset)) FROM"
               " (SELECT shard, offset FROM comet_consumer('telemetry', 'g')"
               " LIMIT 10)");
    }
    expect(used->db, "0", PENDING("g"));
    fill(used->db, 4, 1); /* what is added meanwhile is delivered, also in a new shard */
    expect(used->db, "4", PENDING("g"));
}

/* W70: each shard has its share of a batch, and no batch smaller than their number starves one. */
static void test_batches_are_fair(void **state) {
    fixture *used = *state;

    fill(used->db, 4, 50);
    expect(used->db, "5|5|5|5",
           "SELECT sum(shard = 0), sum(shard = 1), sum(shard = 2), sum(shard = 3) FROM"
           " (SELECT shard FROM comet_consumer('telemetry', 'g') LIMIT 20)");
    for (int i = 0; i < 8; i++) {
        run(used->db, "SELECT comet_ack('telemetry', 'g', shard, offset) FROM"
                      " (SELECT shard, offset FROM comet_consumer('telemetry', 'g') LIMIT 1)");
        usleep(20000);
    }
    expect(used->db, "2,2,2,2", POSITION("g"));
}

/* Shards that are drained in turns must not take their mappings from each other: files of 1 GiB, each
** mapped in parts of 256 MiB, would fill max_mapped_bytes eight shards at a time. */
static void test_many_shards_are_drained_without_mapping_anew(void **state) {
    fixture *used = *state;

    fill(used->db, 16, 100);
    for (int i = 0; i < 10; i++) {
        expect(used->db, "16",
               "SELECT count(*) FROM (SELECT shard, max(offset), min(data) FROM"
               " (SELECT shard, offset, data FROM comet_consumer('telemetry', 'g') LIMIT 160)"
               " GROUP BY shard)");
    }
    expect(used->db, "1|1",
           "SELECT max(value) < 10, sum(value) < 40 FROM comet_stats('telemetry')"
           " WHERE name = 'window_maps'");
}

static void test_members_split_the_shards(void **state) {
    fixture *used = *state;

    fill(used->db, 5, 3);
    run(used->db, "CREATE VIRTUAL TABLE odd USING comet_consumer(log='telemetry', group='g',"
                  " member=1, members=2)");
    expect(used->db, "0,2,4",
           "SELECT group_concat(DISTINCT shard) FROM comet_consumer('telemetry', 'g', 0, 2)");
    expect(used->db, "1,3", "SELECT group_concat(DISTINCT shard) FROM odd");
    expect(used->db, "15",
           "SELECT (SELECT count(*) FROM comet_consumer('telemetry', 'g', 0, 3))"
           " + (SELECT count(*) FROM comet_consumer('telemetry', 'g', 1, 3))"
           " + (SELECT count(*) FROM comet_consumer('telemetry', 'g', 2, 3))");
}

static void test_constraints_and_order_go_to_the_index(void **state) {
    fixture *used = *state;

    fill(used->db, 3, 10);
    run(used->db, "SELECT comet_ack('telemetry', 'g', 1, 4)");
    expect(used->db, "5,6,7",
           "SELECT group_concat(offset) FROM comet_consumer('telemetry', 'g')"
           " WHERE shard = 1 AND offset < 8");
    expect(used->db, "8,9",
           "SELECT group_concat(offset) FROM comet_consumer('telemetry', 'g')"
           " WHERE shard = 1 AND timestamp >= 1008");
    expect(used->db, "0:9|1:9",
           "SELECT min(data), max(data) FROM comet_consumer('telemetry', 'g')"
           " WHERE shard IN (0, 1) AND offset = 9");
    expect(used->db, "2",
           "SELECT count(*) FROM (SELECT * FROM comet_consumer('telemetry', 'g')"
           " WHERE shard IN (0, 1) AND offset = 9 LIMIT 5)");
    expect(used->db, "4",
           "SELECT count(*) FROM (SELECT 1 FROM comet_consumer('telemetry', 'g')"
           " LIMIT 4 OFFSET 3)");
    expect_plan(used->db, "pending entries log=? group=? LIMIT ? ORDER BY shard, offset",
                "SELECT data FROM comet_consumer('telemetry', 'g') ORDER BY shard, offset LIMIT 9");
}

/* Go's defect W44: who has read nothing may acknowledge any range, also past the end. */
static void test_ranges_name_their_gap(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 10);
    refuse(used->db, SQLITE_ERROR, "offsets 0 to 1 of shard 0 are not acknowledged",
           "SELECT comet_ack_range('telemetry', 'g', 0, 2, 5)");
    expect(used->db, "4", "SELECT comet_ack_range('telemetry', 'g', 0, 0, 3)");
    expect(used->db, "8", "SELECT comet_ack_range('telemetry', 'g', 0, 2, 7)");
    refuse(used->db, SQLITE_ERROR, "not written yet",
           "SELECT comet_ack_range('telemetry', 'g', 0, 8, 51)");
    run(used->db, "BEGIN");
    refuse(used->db, SQLITE_ERROR, "offsets 8 to 8",
           "SELECT comet_ack_range('telemetry', 'g', 0, 9, 9)");
    run(used->db, "SELECT comet_ack_range('telemetry', 'g', 0, 8, 8);"
                  "SELECT comet_ack_range('telemetry', 'g', 0, 9, 9); COMMIT");
    expect(used->db, "10", POSITION("g"));
}

static void test_seek(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 10);
    expect(used->db, "10", "SELECT comet_seek('telemetry', 'g', 0, 'latest')");
    expect(used->db, "0", PENDING("g"));
    expect(used->db, "0", "SELECT comet_seek('telemetry', 'g', 0, 'earliest')");
    expect(used->db, "4", "SELECT comet_seek('telemetry', 'g', 0, '@1004')");
    expect(used->db, "6", PENDING("g"));
    expect(used->db, "10", "SELECT comet_seek('telemetry', 'g', 0, '@9999')");
    expect(used->db, "7", "SELECT comet_seek('telemetry', 'g', 0, 7)");
    run(used->db, "BEGIN; SELECT comet_seek('telemetry', 'g', 0, 2)");
    expect(used->db, "8", PENDING("g"));
    expect(used->db, "3", "SELECT comet_ack('telemetry', 'g', 0, 2)");
    run(used->db, "COMMIT");
    expect(used->db, "3", POSITION("g"));
}

static void test_forgetting(void **state) {
    fixture *used = *state;

    fill(used->db, 2, 3);
    run(used->db, "SELECT comet_ack('telemetry', g, s, 1) FROM (SELECT column1 AS g FROM"
                  " (VALUES ('a'), ('b'), ('c'))), (SELECT column1 AS s FROM (VALUES (0), (1)))");
    expect(used->db, "2", "SELECT comet_forget('telemetry', 'b')");
    expect(used->db, "a,a,c,c",
           "SELECT group_concat(\"group\") FROM (SELECT \"group\" FROM"
           " comet_groups('telemetry') ORDER BY 1)");
    expect(used->db, "6", PENDING("b"));
    run(used->db, "BEGIN; SELECT comet_forget('telemetry', 'a')");
    expect(used->db, "6", PENDING("a"));
    run(used->db, "ROLLBACK");
    expect(used->db, "2", PENDING("a"));
}

/* Each with a sentence, and nothing changed. */
static void test_bad_input_changes_nothing(void **state) {
    fixture *used = *state;
    sqlite3 *db = used->db;
    const char *const begins[] = {"", "BEGIN"};

    fill(db, 1, 3);
    for (int i = 0; i < 2; i++) {
        run(db, "%s", begins[i]);
        refuse(db, SQLITE_ERROR, "no shard 7", "SELECT comet_ack('telemetry', 'g', 7, 0)");
        refuse(db, SQLITE_ERROR, "out of range", "SELECT comet_ack('telemetry', 'g', -1, 0)");
        refuse(db, SQLITE_ERROR, "not written yet", "SELECT comet_ack('telemetry', 'g', 0, 3)");
        refuse(db, SQLITE_ERROR, "no offset", "SELECT comet_ack('telemetry', 'g', 0, -1)");
        refuse(db, SQLITE_ERROR, "no offset", "SELECT comet_ack('telemetry', 'g', 0, NULL)");
        refuse(db, SQLITE_ERROR, "no offset", "SELECT comet_ack('telemetry', 'g', 0, 'x')");
        refuse(db, SQLITE_ERROR, "1 to 47 bytes", "SELECT comet_ack('telemetry', '', 0, 0)");
        refuse(db, SQLITE_ERROR, "1 to 47 bytes", "SELECT comet_ack('telemetry', NULL, 0, 0)");
        refuse(db, SQLITE_ERROR, "1 to 47 bytes",
               "SELECT comet_ack('telemetry', printf('%%048d', 1), 0, 0)");
        refuse(db, SQLITE_ERROR, "NUL",
               "SELECT comet_ack('telemetry', 'a' || char(0) || 'b', 0, 0)");
        refuse(db, SQLITE_ERROR, "ends before",
               "SELECT comet_ack_range('telemetry', 'g', 0, 2, 1)");
        refuse(db, SQLITE_ERROR, "'earliest'", "SELECT comet_seek('telemetry', 'g', 0, 'soon')");
        refuse(db, SQLITE_ERROR, "'earliest'", "SELECT comet_seek('telemetry', 'g', 0, '@')");
        refuse(db, SQLITE_ERROR, "'earliest'", "SELECT comet_seek('telemetry', 'g', 0, '@1x')");
        refuse(db, SQLITE_ERROR, "positions 0 to 3", "SELECT comet_seek('telemetry', 'g', 0, 4)");
        refuse(db, SQLITE_ERROR, "positions 0 to 3", "SELECT comet_seek('telemetry', 'g', 0, -1)");
        refuse(db, SQLITE_ERROR, "no log", "SELECT comet_ack('nowhere', 'g', 0, 0)");
        refuse(db, SQLITE_ERROR, "members", "SELECT 1 FROM comet_consumer('telemetry', 'g', 2, 2)");
        refuse(db, SQLITE_ERROR, "members",
               "SELECT 1 FROM comet_consumer('telemetry', 'g', -1, 2)");
        refuse(db, SQLITE_ERROR, "needs a group", "SELECT 1 FROM comet_consumer('telemetry')");
        refuse(db, SQLITE_ERROR, "comet_ack()",
               "DELETE FROM comet_consumer WHERE \"group\" = 'g'"
               " AND log = 'telemetry'");
        refuse(db, SQLITE_ERROR, "comet_ack()", "INSERT INTO comet_consumer(data) VALUES ('x')");
    }
    run(db, "COMMIT");
    refuse(db, SQLITE_ERROR,
           "needs group=", "CREATE VIRTUAL TABLE c USING comet_consumer(log='telemetry')");
    refuse(db, SQLITE_ERROR, "members - 1",
           "CREATE VIRTUAL TABLE c USING"
           " comet_consumer(log='telemetry', group=g, member=3, members=3)");
    refuse(db, SQLITE_ERROR, "group", "CREATE VIRTUAL TABLE c USING comet_shard(group=g)");
    expect(db, "", "SELECT * FROM comet_groups('telemetry')");
    expect(db, "0", "SELECT count(*) FROM sqlite_schema");
}

/* A group that retention has overtaken goes on at the oldest entry, and is told what it lost. */
static void test_an_overtaken_group_goes_on_at_the_oldest(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', max_file_size='64KiB',"
                  " min_compress_size=1000000)");
    for (int i = 0; i < 2; i++) {
        run(used->db,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
            " INSERT INTO t(data) SELECT printf('%%0200d', i) FROM n");
        if (i == 0) {
            expect(used->db, "10", "SELECT comet_ack('t', 'slow', 0, 9)");
        }
    }
    run(used->db, "SELECT comet_retention('t', 'max_shard_size', '300KiB');"
                  "SELECT comet_retention('t')");
    expect(used->db, "1|1|1|10",
           "SELECT offset > 2000, offset = (SELECT min(offset) FROM t), skipped = offset - 10,"
           " acknowledged FROM comet_groups('t')");
    expect(used->db, "1|1",
           "SELECT min(offset) = (SELECT min(offset) FROM t), count(*) ="
           " (SELECT lag FROM comet_groups('t')) FROM comet_consumer('t', 'slow')");
    run(used->db, "SELECT comet_ack('t', 'slow', shard, offset) FROM"
                  " (SELECT shard, offset FROM comet_consumer('t', 'slow') LIMIT 5)");
    expect(used->db, "15|4000|1",
           "SELECT acknowledged, acknowledged + skipped + lag, skipped > 1990"
           " FROM comet_groups('t')");
}

/* Go's defect W38: acknowledgements that find no slot are in memory only. */
static void test_a_full_table_is_an_error(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 3);
    run(used->db, "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 511)"
                  " SELECT comet_ack('telemetry', 'g' || i, 0, 0) FROM n");
    expect(used->db, "512", "SELECT count(*) FROM comet_groups('telemetry')");
    refuse(used->db, SQLITE_FULL, "comet_forget()", "SELECT comet_ack('telemetry', 'x', 0, 0)");
    run(used->db, "SELECT comet_forget('telemetry', 'g9')");
    expect(used->db, "1", "SELECT comet_ack('telemetry', 'x', 0, 0)");
    expect(used->db, "512", "SELECT count(*) FROM comet_groups('telemetry')");
}

static void test_views_cannot_acknowledge(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 3);
    run(used->db, "CREATE VIEW v AS SELECT comet_ack('telemetry', 'g', 0, 0)");
    refuse(used->db, SQLITE_ERROR, "unsafe use", "SELECT * FROM v");
    sqlite3 *reader = db_open_readonly_comet(used->database);
    refuse(reader, SQLITE_READONLY, "reading only", "SELECT comet_ack('telemetry', 'g', 0, 0)");
    expect(reader, "3", PENDING("g"));
    db_close(reader);
}

/* ---- Transactions ---- */

static void test_acks_follow_the_transaction(void **state) {
    fixture *used = *state;
    sqlite3 *other = db_open(used->database);

    fill(used->db, 2, 10);
    run(used->db, "CREATE TABLE plain(x); BEGIN; INSERT INTO plain VALUES (1);"
                  "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', 0, 'new')");
    expect(used->db, "5", "SELECT comet_ack('telemetry', 'g', 0, 4)");
    expect(used->db, "5,10",
           "SELECT count(*) FILTER (WHERE shard = 0) || ',' ||"
           " count(*) FILTER (WHERE shard = 1) FROM comet_consumer('telemetry', 'g')");
    expect(other, "20", PENDING("g"));
    run(used->db, "ROLLBACK");
    expect(used->db, "20", PENDING("g"));
    expect(used->db, "", "SELECT * FROM comet_groups('telemetry')");
    run(used->db,
        "BEGIN; SELECT comet_ack('telemetry', 'g', 0, 4); INSERT INTO plain VALUES (2);"
        "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', 0, 'new'); COMMIT");
    expect(other, "16", PENDING("g"));
    expect(other, "2", "SELECT x FROM plain");
    db_close(other);
}

static void test_savepoints_take_acks_back(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 10);
    run(used->db, "SAVEPOINT a; SELECT comet_ack('telemetry', 'g', 0, 1);"
                  "SAVEPOINT b; SELECT comet_ack('telemetry', 'g', 0, 3);"
                  "SAVEPOINT c; SELECT comet_ack('telemetry', 'g', 0, 5)");
    expect(used->db, "4", "SELECT comet_lag('telemetry', 'g')");
    run(used->db, "ROLLBACK TO c");
    expect(used->db, "6", "SELECT comet_lag('telemetry', 'g')");
    run(used->db, "SELECT comet_ack('telemetry', 'g', 0, 6); RELEASE c; ROLLBACK TO b");
    expect(used->db, "8", "SELECT comet_lag('telemetry', 'g')");
    run(used->db, "SELECT comet_ack('telemetry', 'g', 0, 2); RELEASE b; RELEASE a");
    expect(used->db, "3", POSITION("g"));
    run(used->db, "BEGIN; SAVEPOINT x; SAVEPOINT y; SELECT comet_ack('telemetry', 'g', 0, 8);"
                  "ROLLBACK TO x; COMMIT");
    expect(used->db, "3", POSITION("g"));
}

/* last_insert_rowid() is the user's, whatever an acknowledgement writes. */
static void test_acks_leave_last_insert_rowid_alone(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 10);
    run(used->db, "CREATE TABLE plain(x); CREATE VIRTUAL TABLE c USING"
                  " comet_consumer(log='telemetry', group='g');"
                  "BEGIN; INSERT INTO plain(rowid) VALUES (77); SELECT comet_ack('c', 'g', 0, 4)");
    expect(used->db, "77", "SELECT last_insert_rowid()");
    run(used->db, "COMMIT");
    expect(used->db, "77", "SELECT last_insert_rowid()");
}

/* ---- Positions in the database ---- */

static void make_billing(sqlite3 *db) {
    run(db, "CREATE VIRTUAL TABLE billing USING comet_consumer(log='telemetry', group='billing')");
}

static void test_the_position_commits_with_the_database(void **state) {
    fixture *used = *state;

    fill(used->db, 2, 10);
    make_billing(used->db);
    expect(used->db, "20", "SELECT count(*) FROM billing");
    expect(used->db, "4", "SELECT comet_ack('billing', 'billing', 0, 3)"); /* autocommit */
    expect(used->db, "0|4", "SELECT * FROM billing_position");
    expect(used->db, "4", POSITION("billing"));
    run(used->db, "BEGIN; SELECT comet_ack('billing', 'billing', shard, offset) FROM"
                  " (SELECT shard, offset FROM billing ORDER BY shard, offset LIMIT 8)");
    expect(used->db, "8", "SELECT count(*) FROM billing");
    run(used->db, "ROLLBACK");
    expect(used->db, "16", "SELECT count(*) FROM billing");
    expect(used->db, "0|4", "SELECT * FROM billing_position");
    /* by the directory's name as well */
    run(used->db, "BEGIN; SELECT comet_ack('telemetry', 'billing', 1, 9); COMMIT");
    expect(used->db, "0|4\n1|10", "SELECT * FROM billing_position");
    expect(used->db, "5", "SELECT comet_seek('billing', 'billing', 1, 5)");
    expect(used->db, "0|4\n1|5", "SELECT * FROM billing_position");
    expect(used->db, "6", "SELECT comet_lag('billing', 'billing', 0)");
    expect(used->db, "2", "SELECT comet_forget('billing', 'billing')");
    expect(used->db, "20", "SELECT count(*) FROM billing");
}

/* A power cut must not leave the database past the entries that survived it. */
static void test_entries_are_durable_before_the_position(void **state) {
    fixture *used = *state;
    char path[700];
    FILE *file;
    uint64_t end = 0;

    fill(used->db, 1, 10);
    run(used->db, "SELECT comet_config('telemetry', 'checkpoint_interval', '1h')");
    make_billing(used->db);
    run(used->db, "SELECT comet_ack('billing', 'billing', 0, 9)");
    snprintf(path, sizeof path, "%s/telemetry/shard-0000/comet.state", used->directory);
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 800, SEEK_SET), 0); /* one past the last durable entry */
    assert_int_equal(fread(&end, sizeof end, 1, file), 1);
    fclose(file);
    assert_int_equal(end, 10);
}

/* As after death between the database's commit and offsets.state, and as after a restored backup. */
static void test_the_database_wins(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 10);
    make_billing(used->db);
    run(used->db,
        "SELECT comet_ack('billing', 'billing', 0, 3); UPDATE billing_position SET position = 7");
    expect(used->db, "4", POSITION("billing"));
    fixture_reopen(used);
    expect(used->db, "7", "SELECT min(offset) FROM billing");
    expect(used->db, "7", POSITION("billing"));
    run(used->db, "UPDATE billing_position SET position = 2");
    expect(used->db, "2", "SELECT min(offset) FROM billing");
    expect(used->db, "7", POSITION("billing"));
}

static void test_the_table_of_positions_follows_its_table(void **state) {
    fixture *used = *state;

    fill(used->db, 1, 10);
    make_billing(used->db);
    run(used->db,
        "SELECT comet_ack('billing', 'billing', 0, 3); ALTER TABLE billing RENAME TO invoices");
    expect(used->db, "0|4", "SELECT * FROM invoices_position");
    expect(used->db, "6", "SELECT comet_ack('invoices', 'billing', 0, 5)");
    fixture_reopen(used);
    expect(used->db, "4", "SELECT count(*) FROM invoices");
    run(used->db, "BEGIN; DROP TABLE invoices; ROLLBACK");
    expect(used->db, "4", "SELECT count(*) FROM invoices");
    run(used->db, "BEGIN; SELECT comet_ack('invoices', 'billing', 0, 6)");
    refuse(used->db, SQLITE_LOCKED, "locked", "DROP TABLE invoices");
    run(used->db, "COMMIT; DROP TABLE invoices");
    expect(used->db, "0", "SELECT count(*) FROM sqlite_schema");
    run(used->db,
        "CREATE VIRTUAL TABLE temp.t USING comet_consumer(log='telemetry', group='billing')");
    expect(used->db, "0", "SELECT count(*) FROM temp.sqlite_schema WHERE name LIKE '%%position'");
    expect(used->db, "3", "SELECT count(*) FROM t");
    int defensive = 0;
    sqlite3_db_config(used->db, SQLITE_DBCONFIG_DEFENSIVE, 1, &defensive);
    make_billing(used->db);
    refuse(used->db, SQLITE_ERROR, "may not be modified", "DELETE FROM billing_position");
    expect(used->db, "9", "SELECT comet_ack('billing', 'billing', 0, 8)");
}

/* A COMMIT that fails with BUSY goes on and is tried again. */
static void test_commit_busy_keeps_the_acks(void **state) {
    fixture *used = *state;
    sqlite3 *reader = db_open(used->database);
    sqlite3_stmt *reading = NULL;

    fill(used->db, 1, 10);
    make_billing(used->db);
    run(used->db, "CREATE TABLE plain(x); INSERT INTO plain VALUES (1), (2)");
    assert_int_equal(sqlite3_prepare_v2(reader, "SELECT x FROM plain", -1, &reading, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(reading), SQLITE_ROW);
    run(used->db,
        "BEGIN; INSERT INTO plain VALUES (3); SELECT comet_ack('billing', 'billing', 0, 3)");
    refuse(used->db, SQLITE_BUSY, "locked", "COMMIT");
    run(used->db, "SELECT comet_ack('billing', 'billing', 0, 5)");
    sqlite3_finalize(reading);
    run(used->db, "COMMIT");
    expect(used->db, "0|6", "SELECT * FROM billing_position");
    expect(reader, "6", POSITION("billing"));
    db_close(reader);
}

/* ---- Death ---- */

/* Numbers, spread over three shards. */
static void produce(const char *file, int64_t first, int64_t goal) {
    sqlite3 *db = db_open(file);

    run(db, "PRAGMA busy_timeout = 60000");
    for (int64_t i = first; i < goal; i++) {
        run(db, "INSERT INTO comet_shard(log, shard, data) VALUES ('telemetry', %d, '%lld')",
            (int)(i % 3), i);
        if (i % 40 == 0) {
            usleep(2000);
        }
    }
    db_close(db);
}

static void consume_until_killed(const char *file) {
    sqlite3 *db = db_open(file);

    run(db, "PRAGMA busy_timeout = 60000; PRAGMA synchronous = OFF");
    for (;;) {
        run(db, "BEGIN IMMEDIATE;"
                "CREATE TEMP TABLE IF NOT EXISTS batch(shard, offset, data);"
                "DELETE FROM batch;"
                "INSERT INTO batch SELECT shard, offset, data FROM billing LIMIT 50;"
                "INSERT INTO seen SELECT shard, offset, data FROM batch;"
                "UPDATE total SET n = n + (SELECT count(*) FROM batch),"
                " sum = sum + (SELECT ifnull(sum(data), 0) FROM batch);"
                "SELECT comet_ack('billing', 'billing', shard, offset) FROM batch;"
                "COMMIT");
    }
}

/* A consumer that is killed again and again has counted every entry once. */
static void test_exactly_once_under_sigkill(void **state) {
    fixture *used = *state;
    const char *wanted = getenv("COMET_TEST_KILLS");
    int kills = wanted != NULL ? atoi(wanted) : KILLS;
    int64_t goal = 300 * (int64_t)kills;
    uint64_t seed = 4711;
    pid_t producer;

    run(used->db,
        "PRAGMA journal_mode = WAL; CREATE TABLE total(n, sum); INSERT INTO total VALUES (0, 0);"
        "CREATE TABLE seen(shard, offset, data, PRIMARY KEY(shard, offset))");
    make_billing(used->db);
    db_close(used->db);
    char other[700];
    snprintf(other, sizeof other, "%s/producer.db", used->directory); /* a lock of its own */
    produce(other, 0, 3);
    producer = fork();
    if (producer == 0) {
        produce(other, 3, goal);
        _exit(0);
    }
    for (int i = 0; i < kills; i++) {
        struct timespec nap = {0, 2000000 + (long)random_below(&seed, 20000000)};
        pid_t consumer = fork();

        if (consumer == 0) {
            consume_until_killed(used->database);
        }
        nanosleep(&nap, NULL);
        kill(consumer, SIGKILL);
        waitpid(consumer, NULL, 0);
    }
    int status;
    assert_int_equal(waitpid(producer, &status, 0), producer);
    assert_int_equal(status, 0);
    used->db = db_open(used->database);
    run(used->db, "BEGIN; UPDATE total SET n = n + (SELECT count(*) FROM billing),"
                  " sum = sum + (SELECT ifnull(sum(data), 0) FROM billing);"
                  "INSERT INTO seen SELECT shard, offset, data FROM billing;"
                  "SELECT comet_ack('billing', 'billing', shard, offset) FROM billing; COMMIT");
    char rows[100];
    snprintf(rows, sizeof rows, "%lld|%lld", (long long)goal, (long long)(goal * (goal - 1) / 2));
    expect(used->db, rows, "SELECT n, sum FROM total");
    expect(used->db, rows, "SELECT count(DISTINCT data), sum(data) FROM seen");
    expect(used->db, "0", "SELECT comet_lag('billing', 'billing')");
}

static void ack_in_turn(const char *file, uint64_t seed) {
    sqlite3 *db = db_open(file);
    long long seen[2][3] = {{0}};

    run(db, "PRAGMA busy_timeout = 60000");
    for (int i = 0; i < 300; i++) {
        int group = (int)random_below(&seed, 2);
        int shard = (int)random_below(&seed, 3);
        char *sql = sqlite3_mprintf("SELECT comet_ack('telemetry', 'g%d', %d, %d)", group, shard,
                                    (int)random_below(&seed, 100));
        char *got = rows_of(db, sql);
        long long position = atoll(got);

        if (position < seen[group][shard] || position > 100) {
            _exit(1);
        }
        seen[group][shard] = position;
        sqlite3_free(got);
        sqlite3_free(sql);
    }
    db_close(db);
    _exit(0);
}

static void test_four_processes_on_the_same_groups(void **state) {
    fixture *used = *state;
    pid_t children[WORKERS];

    fill(used->db, 3, 100);
    db_close(used->db); /* a process that forks should have no threads */
    for (int i = 0; i < WORKERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            ack_in_turn(used->database, 100 + (uint64_t)i);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    used->db = db_open(used->database);
    expect(used->db, "6|1",
           "SELECT count(*), min(offset = acknowledged) FROM comet_groups('telemetry')");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_acknowledged_entries_do_not_come_again),
        SQL_TEST(test_acks_never_go_backward),
        SQL_TEST(test_a_batch_is_drained_by_its_own_acks),
        SQL_TEST(test_batches_are_fair),
        SQL_TEST(test_many_shards_are_drained_without_mapping_anew),
        SQL_TEST(test_members_split_the_shards),
        SQL_TEST(test_constraints_and_order_go_to_the_index),
        SQL_TEST(test_ranges_name_their_gap),
        SQL_TEST(test_seek),
        SQL_TEST(test_forgetting),
        SQL_TEST(test_bad_input_changes_nothing),
        SQL_TEST(test_an_overtaken_group_goes_on_at_the_oldest),
        SQL_TEST(test_a_full_table_is_an_error),
        SQL_TEST(test_views_cannot_acknowledge),
        SQL_TEST(test_acks_follow_the_transaction),
        SQL_TEST(test_savepoints_take_acks_back),
        SQL_TEST(test_acks_leave_last_insert_rowid_alone),
        SQL_TEST(test_the_position_commits_with_the_database),
        SQL_TEST(test_entries_are_durable_before_the_position),
        SQL_TEST(test_the_database_wins),
        SQL_TEST(test_the_table_of_positions_follows_its_table),
        SQL_TEST(test_commit_busy_keeps_the_acks),
        SQL_TEST(test_exactly_once_under_sigkill),
        SQL_TEST(test_four_processes_on_the_same_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
