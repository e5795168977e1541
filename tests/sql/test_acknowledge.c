/* test_acknowledge.c -- without it a consumer that starts anew could get entries twice, miss some, or
** take another group's place.  The behaviours that the Go package's own tests ask of acknowledging,
** in SQL.  test_consumer.c has positions in the database, transactions and death. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define SHARDS_MAX 8
#define WORKERS 4

/* Append `count` entries, '<shard>:<offset>', to each of the shards first .. last. */
static void fill(sqlite3 *db, int first, int last, int count) {
    for (int shard = first; shard <= last; shard++) {
        run(db,
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %d)"
            " INSERT INTO comet_shard(log, shard, data) SELECT 'telemetry', %d, '%d:' || i FROM n",
            count, shard, shard);
    }
}

static long long number(sqlite3 *db, const char *sql) {
    char *text = rows_of(db, sql);
    long long value = atoll(text);

    sqlite3_free(text);
    return value;
}

#define POSITIONS(group)                                                                           \
    "SELECT group_concat(offset) FROM (SELECT offset FROM comet_groups('telemetry')"               \
    " WHERE \"group\" = '" group "' ORDER BY shard)"

/* ---- Consumers that start anew ---- */

/* What came, by shard: each offset at most once, and in order. */
typedef struct tally {
    long long next[SHARDS_MAX];
    long long total;
} tally;

/* Read one batch, note every entry and acknowledge the last of each shard; how many there were. */
static int take_batch(sqlite3 *db, const char *source, int limit, tally *seen) {
    char *sql = sqlite3_mprintf("SELECT shard, offset, data FROM %s LIMIT %d", source, limit);
    long long last[SHARDS_MAX];
    sqlite3_stmt *reading;
    int count = 0;

    memset(last, -1, sizeof last);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &reading, NULL), SQLITE_OK);
    while (sqlite3_step(reading) == SQLITE_ROW) {
        int shard = sqlite3_column_int(reading, 0);
        long long offset = sqlite3_column_int64(reading, 1);
        char expected[32];

        assert_in_range(shard, 0, SHARDS_MAX - 1);
        snprintf(expected, sizeof expected, "%d:%lld", shard, offset);
        assert_string_equal((const char *)sqlite3_column_text(reading, 2), expected);
        assert_int_equal(offset, seen->next[shard]); /* neither again, nor one left out */
        seen->next[shard] = offset + 1;
        last[shard] = offset;
        count++;
    }
    assert_int_equal(sqlite3_finalize(reading), SQLITE_OK);
    sqlite3_free(sql);
    for (int shard = 0; shard < SHARDS_MAX; shard++) {
        if (last[shard] >= 0) {
            run(db, "SELECT comet_ack('telemetry', 'g', %d, %lld)", shard, last[shard]);
        }
    }
    seen->total += count;
    return count;
}

/* Drain a shard of `count` in batches, with a new connection after each `batches` of them. */
static void drain_with_restarts(fixture *used, int shard, int count, int limit, int batches) {
    tally seen = {{0}, 0};
    char source[120];
    int taken = 0;

    fill(used->db, shard, shard, count);
    snprintf(source, sizeof source, "comet_consumer('telemetry', 'g') WHERE shard = %d", shard);
    while (take_batch(used->db, source, limit, &seen) > 0) {
        if (++taken % batches == 0) {
            long long lag = number(used->db, "SELECT comet_lag('telemetry', 'g')");
            fixture_reopen(used);
            assert_int_equal(number(used->db, "SELECT comet_lag('telemetry', 'g')"), lag);
        }
    }
    assert_int_equal(seen.total, count);
    assert_int_equal(taken, count / limit);
    expect(used->db, "0", "SELECT comet_lag('telemetry', 'g', %d)", shard);
}

/* 5000 by 10 with a restart each 20 batches; 1000 by 100 and 5; 500 by 5 and 2. */
static void test_no_restart_repeats_or_loses(void **state) {
    fixture *used = *state;

    drain_with_restarts(used, 0, 5000, 10, 20);
    drain_with_restarts(used, 1, 1000, 100, 5);
    drain_with_restarts(used, 2, 500, 5, 2);
}

/* A consumer that stops in the midst of a batch: the acknowledged part is done, the rest comes again,
** and nothing jumps past what was worked on. */
static void test_the_rest_of_a_batch_comes_again(void **state) {
    fixture *used = *state;

    fill(used->db, 0, 0, 20);
    expect(used->db, "0,1,2,3,4,5,6,7,8,9",
           "SELECT group_concat(offset) FROM"
           " (SELECT offset FROM comet_consumer('telemetry', 'g') LIMIT 10)");
    expect(used->db, "4", "SELECT comet_ack('telemetry', 'g', 0, 3)");
    fixture_reopen(used);
    expect(used->db, "4,5,6,7,8,9,10,11,12,13",
           "SELECT group_concat(offset) FROM"
           " (SELECT offset FROM comet_consumer('telemetry', 'g') LIMIT 10)");
    expect(used->db, "16|4",
           "SELECT lag, \"offset\" FROM comet_groups('telemetry') WHERE \"group\" = 'g'");
}

/* The second of a group goes on where the first one stopped; together they have all, once. */
static void test_another_consumer_goes_on_after_the_first(void **state) {
    fixture *used = *state;
    sqlite3 *second;
    tally seen = {{0}, 0};

    fill(used->db, 0, 2, 40);
    for (int i = 0; i < 5; i++) {
        take_batch(used->db, "comet_consumer('telemetry', 'g')", 9, &seen);
    }
    assert_in_range(seen.total, 1, 119);
    second = db_open(used->database);
    while (take_batch(second, "comet_consumer('telemetry', 'g')", 9, &seen) > 0) {
    }
    assert_int_equal(seen.total, 120);
    expect(used->db, "0", "SELECT count(*) FROM comet_consumer('telemetry', 'g')");
    db_close(second);
}

/* ---- Several consumers of one group ---- */

/* Each shard is one member's; all members together see all, once. */
static void drain_by_members(sqlite3 *db, int shards, int count, int members) {
    tally seen = {{0}, 0};
    int owner[SHARDS_MAX];
    bool any = true;

    fill(db, 0, shards - 1, count);
    memset(owner, -1, sizeof owner);
    while (any) {
        any = false;
        for (int member = 0; member < members; member++) {
            char source[120];
            tally before = seen;
            snprintf(source, sizeof source, "comet_consumer('telemetry', 'g', %d, %d)", member,
                     members);
            any |= take_batch(db, source, 7, &seen) > 0;
            for (int shard = 0; shard < shards; shard++) {
                if (seen.next[shard] != before.next[shard]) {
                    assert_true(owner[shard] == -1 || owner[shard] == member);
                    owner[shard] = member;
                }
            }
        }
    }
    assert_int_equal(seen.total, shards * count);
    for (int shard = 0; shard < shards; shard++) {
        assert_int_equal(owner[shard], shard % members);
    }
}

static void test_two_members_share_four_shards(void **state) {
    drain_by_members(((fixture *)*state)->db, 4, 20, 2);
}

static void test_three_members_share_three_shards(void **state) {
    drain_by_members(((fixture *)*state)->db, 3, 30, 3);
}

/* Consumers that acknowledge different shards, each with a connection of its own, do not undo each
** other; both persist. */
static void test_three_consumers_on_three_shards(void **state) {
    fixture *used = *state;
    sqlite3 *consumers[3];
    tally seen = {{0}, 0};
    bool any = true;

    fill(used->db, 0, 2, 60);
    for (int i = 0; i < 3; i++) {
        consumers[i] = db_open(used->database);
    }
    for (int round = 0; any; round++) {
        any = false;
        for (int i = 0; i < 3; i++) {
            char source[120];
            snprintf(source, sizeof source, "comet_consumer('telemetry', 'g') WHERE shard = %d", i);
            any |= take_batch(consumers[i], source, 10, &seen) > 0;
            if (round % 2 == 1) {
                db_close(consumers[i]);
                consumers[i] = db_open(used->database);
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        db_close(consumers[i]);
    }
    assert_int_equal(seen.total, 180);
    fixture_reopen(used);
    expect(used->db, "60,60,60", POSITIONS("g"));
}

/* ---- What does not disturb ---- */

static void test_groups_are_independent(void **state) {
    fixture *used = *state;

    fill(used->db, 0, 1, 30);
    run(used->db, "SELECT comet_ack('telemetry', 'ahead', 0, 29)");
    run(used->db, "SELECT comet_ack('telemetry', 'behind', 0, 9)");
    expect(used->db, "30", POSITIONS("ahead"));
    expect(used->db, "10", POSITIONS("behind"));
    expect(used->db, "30|50|60",
           "SELECT comet_lag('telemetry', 'ahead'), comet_lag('telemetry', 'behind'),"
           " comet_lag('telemetry', 'new')");
    /* A new one begins with the first entry, whatever the others have done. */
    expect(used->db, "0:0",
           "SELECT data FROM comet_consumer('telemetry', 'new') ORDER BY shard, offset LIMIT 1");
    fixture_reopen(used);
    expect(used->db, "30", POSITIONS("ahead"));
    expect(used->db, "10", POSITIONS("behind"));
}

/* From the newest to the oldest, twice each, then again from a stale batch: the highest wins. */
static void test_reverse_and_repeated_acks_leave_the_highest(void **state) {
    fixture *used = *state;

    fill(used->db, 0, 0, 50);
    for (int offset = 49; offset >= 0; offset -= 7) {
        expect(used->db, "50|50",
               "SELECT comet_ack('telemetry', 'g', 0, %d), comet_ack('telemetry', 'g', 0, %d)",
               offset, offset);
    }
    expect(used->db, "0", "SELECT comet_lag('telemetry', 'g')");
    fill(used->db, 0, 0, 1);
    expect(used->db, "50", "SELECT comet_ack('telemetry', 'g', 0, 3)");
    expect(used->db, "50", "SELECT group_concat(offset) FROM comet_consumer('telemetry', 'g')");
}

/* Looking at what is pending is not taking it: neither the log nor the group changes. */
static void test_reading_acknowledges_nothing(void **state) {
    fixture *used = *state;
    char *before;

    fill(used->db, 0, 1, 25);
    run(used->db, "SELECT comet_ack('telemetry', 'g', 1, 4)");
    before = rows_of(used->db, "SELECT shard, offset, data FROM comet_stream('telemetry')"
                               " ORDER BY shard, offset");
    for (int i = 0; i < 3; i++) {
        run(used->db, "SELECT * FROM comet_consumer('telemetry', 'g') LIMIT 11");
        run(used->db, "SELECT * FROM comet_consumer('telemetry', 'other')");
    }
    expect(used->db, "5", POSITIONS("g"));
    expect(used->db, "45", "SELECT count(*) FROM comet_consumer('telemetry', 'g')");
    expect(used->db, "1", "SELECT count(*) FROM comet_groups('telemetry')");
    expect(used->db, before,
           "SELECT shard, offset, data FROM comet_stream('telemetry') ORDER BY shard, offset");
    sqlite3_free(before);
}

/* A table made for a log in which there is nothing yet has each shard from when it is made on. */
static void test_a_consumer_is_there_before_the_shards(void **state) {
    fixture *used = *state;
    sqlite3 *writer = db_open(used->database);

    run(writer, "SELECT comet_config('telemetry', 'sync', 'off')"); /* a log, and no shard */
    run(used->db, "CREATE VIRTUAL TABLE temp.pending USING"
                  " comet_consumer(log='telemetry', group='g')");
    expect(used->db, "", "SELECT * FROM pending");
    expect(used->db, "0", "SELECT comet_lag('pending', 'g')");
    fill(writer, 0, 0, 3);
    expect(used->db, "0:0\n0:1\n0:2", "SELECT data FROM pending ORDER BY shard, offset");
    run(used->db, "SELECT comet_ack('pending', 'g', shard, max(offset)) FROM pending"
                  " GROUP BY shard");
    fill(writer, 5, 5, 2);
    fill(writer, 0, 0, 1);
    expect(used->db, "0-3\n5-0\n5-1", "SELECT id FROM pending ORDER BY shard, offset");
    db_close(writer);
}

/* Small segments begin and end between read and acknowledgement; and what is added while a batch is
** worked on comes with a later one. */
static void test_acks_while_segments_rotate(void **state) {
    fixture *used = *state;
    tally seen = {{0}, 0};
    int written = 0;

    run(used->db, "SELECT comet_config('telemetry', 'max_file_size', '4KiB')");
    while (written < 2000 || seen.total < written) {
        if (written < 2000) {
            run(used->db,
                "WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
                " INSERT INTO comet_shard(log, shard, data) SELECT 'telemetry', 0, '0:' || i FROM "
                "n",
                written, written + 49);
            written += 50;
        }
        take_batch(used->db, "comet_consumer('telemetry', 'g')", 37, &seen);
    }
    assert_int_equal(seen.total, 2000);
    assert_true(number(used->db, "SELECT count(*) FROM comet_segments('telemetry')") > 8);
}

/* W37: an entry that cannot be read is named by an error; the group can go past it, and the shards beside
** it are not held up. */
static void test_a_damaged_entry_holds_nobody_up(void **state) {
    fixture *used = *state;
    char path[700];
    FILE *file;

    run(used->db, "SELECT comet_config('telemetry', 'boundary_interval', 4)");
    fill(used->db, 0, 1, 40);
    fixture_reopen(used);
    snprintf(path, sizeof path, "%s/telemetry/shard-0000/log-0000000000000001.comet",
             used->directory);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 20 * 12 + 10 * 3 + 10 * 4 + 13, SEEK_SET), 0); /* in entry 20 */
    assert_int_equal(fputc('X', file), 'X');
    fclose(file);
    refuse(used->db, SQLITE_CORRUPT, "20",
           "SELECT data FROM comet_consumer('telemetry', 'g') WHERE shard = 0");
    expect(used->db, "40",
           "SELECT count(data) FROM comet_consumer('telemetry', 'g') WHERE shard = 1");
    expect(used->db, "0:18\n0:19",
           "SELECT data FROM comet_consumer('telemetry', 'g') WHERE shard = 0"
           " AND offset BETWEEN 18 AND 19");
    expect(used->db, "24", "SELECT comet_ack('telemetry', 'g', 0, 23)");
    expect(used->db, "0:24|16",
           "SELECT min(data), count(*) FROM comet_consumer('telemetry', 'g') WHERE shard = 0");
}

/* W58: a consumer has the entries of the log that it names, of whatever stream; not another log's. */
static void test_a_consumer_has_its_own_log(void **state) {
    fixture *used = *state;

    run(used->db, "CREATE VIRTUAL TABLE temp.events USING"
                  " comet_stream(log='events', stream='events', shards=4);"
                  "CREATE VIRTUAL TABLE temp.logs USING"
                  " comet_stream(log='logs', stream='logs', shards=4);"
                  "INSERT INTO events(shard, data) VALUES (1, 'event');"
                  "INSERT INTO logs(shard, data) VALUES (1, 'line')");
    expect(used->db, "event", "SELECT data FROM comet_consumer('events', 'g')");
    expect(used->db, "line", "SELECT data FROM comet_consumer('logs', 'g')");
    run(used->db, "SELECT comet_ack('events', 'g', 1, 0)");
    expect(used->db, "line", "SELECT data FROM comet_consumer('logs', 'g')");
}

/* ---- The table of groups ---- */

/* 100 groups, 1000 entries acknowledged one by one in each, by four connections in turn. */
static void test_hundred_groups_count_exactly(void **state) {
    fixture *used = *state;
    sqlite3 *dbs[WORKERS];

    fill(used->db, 0, 0, 1000);
    for (int i = 0; i < WORKERS; i++) {
        dbs[i] = db_open(used->database);
    }
    for (int part = 0; part < 20; part++) {
        run(dbs[part % WORKERS],
            "WITH RECURSIVE o(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM o WHERE i < %d),"
            " g(k) AS (SELECT 0 UNION ALL SELECT k + 1 FROM g WHERE k < 99)"
            " SELECT comet_ack('telemetry', 'group ' || k, 0, i) FROM o, g",
            part * 50, part * 50 + 49);
    }
    for (int i = 0; i < WORKERS; i++) {
        db_close(dbs[i]);
    }
    expect(used->db, "100|1000|1000|1000|1000",
           "SELECT count(*), min(\"offset\"), max(\"offset\"), min(acknowledged), max(acknowledged)"
           " FROM comet_groups('telemetry')");
}

/* Acknowledge all that is pending, batch by batch; any step back or past the end is told by _exit. */
static _Noreturn void compete(const char *file, uint64_t seed) {
    sqlite3 *db = db_open(file);
    long long seen = 0;

    run(db, "PRAGMA busy_timeout = 60000");
    for (int i = 0; i < 200; i++) {
        int limit = 1 + (int)random_below(&seed, 9);
        char *sql = sqlite3_mprintf("SELECT min(offset) || ' ' || max(comet_ack('telemetry', 'g',"
                                    " shard, offset)) || ' ' || max(offset) FROM (SELECT shard,"
                                    " offset FROM comet_consumer('telemetry', 'g') LIMIT %d)",
                                    limit);
        char *got = rows_of(db, sql);
        long long low;
        long long position;
        long long high;

        if (sscanf(got, "%lld %lld %lld", &low, &position, &high) == 3) {
            if (low < seen || position < high + 1 || position > 1000) {
                _exit(1);
            }
            seen = position;
        }
        sqlite3_free(got);
        sqlite3_free(sql);
    }
    db_close(db);
    _exit(0);
}

/* Four processes take from one group at once: its position never goes back, nor past what somebody has
** read, and what each acknowledges is acknowledged. */
static void test_four_processes_take_from_one_group(void **state) {
    fixture *used = *state;
    pid_t children[WORKERS];
    long long position;

    fill(used->db, 0, 0, 1000);
    db_close(used->db); /* a process that forks should have no threads */
    for (int i = 0; i < WORKERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            compete(used->database, 7 + (uint64_t)i);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    used->db = db_open(used->database);
    position = number(used->db, "SELECT \"offset\" FROM comet_groups('telemetry')");
    assert_in_range(position, 200, 1000);
    assert_int_equal(number(used->db, "SELECT acknowledged FROM comet_groups('telemetry')"),
                     position);
    assert_int_equal(number(used->db, "SELECT comet_lag('telemetry', 'g')"), 1000 - position);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_no_restart_repeats_or_loses),
        SQL_TEST(test_the_rest_of_a_batch_comes_again),
        SQL_TEST(test_another_consumer_goes_on_after_the_first),
        SQL_TEST(test_two_members_share_four_shards),
        SQL_TEST(test_three_members_share_three_shards),
        SQL_TEST(test_three_consumers_on_three_shards),
        SQL_TEST(test_groups_are_independent),
        SQL_TEST(test_reverse_and_repeated_acks_leave_the_highest),
        SQL_TEST(test_reading_acknowledges_nothing),
        SQL_TEST(test_a_consumer_is_there_before_the_shards),
        SQL_TEST(test_acks_while_segments_rotate),
        SQL_TEST(test_a_damaged_entry_holds_nobody_up),
        SQL_TEST(test_a_consumer_has_its_own_log),
        SQL_TEST(test_hundred_groups_count_exactly),
        SQL_TEST(test_four_processes_take_from_one_group),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
