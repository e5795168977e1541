/* test_powercut.c -- without it a power cut could take entries that were called durable, bring back torn
** or made-up ones, forget or run ahead with acknowledgements, undo a retention, or leave a log that cannot
** be opened.  See powercut.h for what the disk does. */
#include "powercut.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support.h"

#define CUTS 100 /* of each kind, unless $COMET_TEST_POWER_CUTS says otherwise for both together */
#define SEED_USUAL 1
#define OPERATIONS 40
#define CUTS_A_RUN 24
#define NESTED_CUTS 3
#define POINTS_A_CUT 60
#define VERSIONS_MAX 8192
#define NOBODY UINT64_MAX
#define GROUP "readers"
#define SECOND INT64_C(1000000000)

/* ---- What was done ---- */

/* Whatever was appended at an offset, also if it was taken back. */
typedef struct version {
    uint64_t offset;
    uint64_t txn;
    model_entry entry;
} version;

/* What must be true of the log after a cut at some moment. */
typedef struct promise {
    uint64_t durable_end;   /* at least so much is there */
    uint64_t published;     /* of what was committed nothing else was there yet */
    uint64_t version_count; /* likewise of what was appended */
    uint64_t in_flight;     /* transaction, or NOBODY */
    uint64_t first_low, first_high;
    uint64_t acked_low, acked_high; /* the group's position; 0: it may not exist */
} promise;

typedef struct cut {
    char directory[PATH_ROOM];
    promise due;
    bool is_open; /* the call in which it fell has not returned */
} cut;

static bool is_full; /* sync=full */
static char settings[256];
static uint64_t random_state;
static uint64_t cut_random;
static char base_directory[PATH_ROOM];
static char log_directory[PATH_ROOM];
static comet_log *telemetry;
static comet_shard *shard;
static version versions[VERSIONS_MAX];
static uint64_t committed[VERSIONS_MAX]; /* by offset: a version */
static uint64_t txn_base[VERSIONS_MAX];
static uint64_t txn_count;
static promise now;
static cut cuts[CUTS_A_RUN + NESTED_CUTS];
static size_t cut_count;
static size_t cut_limit;
static const promise *nested_due; /* NULL: the script itself runs */
static uint64_t running_seed;
static uint64_t running_cut;
static bool is_running;
static bool has_failed; /* its log is still open, and its directory's number may be given anew */

static void take_cut(void) {
    cut *made = &cuts[cut_count];

    if (cut_count == cut_limit || random_below(&cut_random, nested_due ? 10 : POINTS_A_CUT) != 0) {
        return;
    }
    (void)snprintf(made->directory, sizeof made->directory, "%.400s/cut-%zu", base_directory,
                   cut_count);
    made->due = nested_due != NULL ? *nested_due : now;
    made->is_open = true;
    cut_count++;
    powercut_freeze(made->directory, random_next(&cut_random));
}

/* A call has returned: what it did is known now. */
static void call_returned(void) {
    comet_shard_info info;

    if (shard != NULL) {
        OK(comet_shard_describe(shard, &info, &error));
        now.first_low = now.first_high = info.first_offset;
        assert_true(info.durable_offset <= now.published);
        now.durable_end =
            info.durable_offset > now.durable_end ? info.durable_offset : now.durable_end;
    }
    for (size_t i = 0; i < cut_count && shard != NULL; i++) {
        if (cuts[i].is_open && cuts[i].due.first_high < now.first_high) {
            cuts[i].due.first_high = now.first_high;
        }
        cuts[i].is_open = false;
    }
    powercut_point();
}

/* ---- The script ---- */

static void open_all(void) {
    telemetry = log_make(log_directory, COMET_OPEN_CREATE, settings);
    OK(comet_shard_open(telemetry, 0, true, &shard, &error));
    call_returned();
}

static void everything_is_durable(void) {
    now.durable_end = now.published;
    now.acked_low = now.acked_high;
}

static void close_all(void) {
    comet_shard_close(shard);
    shard = NULL;
    comet_log_close(telemetry);
    everything_is_durable();
    call_returned();
}

static void append_some(comet_txn *txn, uint64_t count) {
    static const size_t sizes[] = {0, 30, 30, 30, 120, 700};
    static int64_t timestamp;

    for (uint64_t i = 0; i < count; i++) {
        version *made = &versions[now.version_count];
        assert_true(now.version_count < VERSIONS_MAX);
        made->offset = comet_txn_end(txn);
        made->txn = now.in_flight;
        made->entry.timestamp = ++timestamp; /* tells all of them apart */
        made->entry.size = sizes[random_below(&random_state, 6)];
        made->entry.seed = random_next(&random_state);
        now.version_count++;
        OK(append_one(txn, &made->entry, &made->offset));
        powercut_point();
    }
}

static void append_with_savepoint(comet_txn *txn, uint64_t count) {
    uint64_t before = random_below(&random_state, count);

    append_some(txn, before);
    OK(comet_txn_savepoint(txn, 0, &error));
    append_some(txn, random_below(&random_state, 6));
    if (random_below(&random_state, 4) == 0) {
        OK(comet_txn_prepare(txn, &error));
        powercut_point();
    }
    comet_txn_rollback_to(txn, 0);
    powercut_point();
    append_some(txn, count - before);
}

static void publish(comet_txn *txn, uint64_t first_version) {
    uint64_t end = comet_txn_end(txn);

    for (uint64_t i = first_version; i < now.version_count; i++) {
        committed[versions[i].offset] = i;
    }
    now.published = end; /* a cut in the course of it may show all of it */
    comet_txn_publish(txn);
    now.durable_end = is_full ? end : now.durable_end;
}

static void run_txn(uint64_t count, bool is_doomed) {
    uint64_t first_version = now.version_count;
    comet_txn *txn;

    OK(comet_txn_begin(shard, &txn, &error));
    assert_int_equal(comet_txn_end(txn), now.published);
    txn_base[txn_count] = now.published;
    now.in_flight = txn_count++;
    if (random_below(&random_state, 4) == 0) {
        append_with_savepoint(txn, count);
    } else {
        append_some(txn, count);
    }
    if (!is_doomed || random_below(&random_state, 2) == 0) {
        OK(comet_txn_prepare(txn, &error));
        powercut_point();
    }
    if (is_doomed) {
        comet_txn_rollback(txn);
    } else {
        publish(txn, first_version);
    }
    now.in_flight = NOBODY;
    call_returned();
}

static void run_ack(void) {
    comet_group *group;
    uint64_t left = now.published - now.first_low;
    uint64_t target;

    if (left == 0) {
        return;
    }
    target = now.published - random_below(&random_state, left);
    now.acked_high = target > now.acked_high ? target : now.acked_high;
    OK(comet_group_open(shard, GROUP, strlen(GROUP), &group, &error));
    OK(comet_group_ack(group, target - 1, NULL, &error));
    comet_group_close(group);
    now.acked_low = is_full ? now.acked_high : now.acked_low;
    call_returned();
}

static void run_retention(void) {
    comet_retention_item *items = NULL;
    size_t count;

    powercut_wait((int64_t)random_below(&random_state, 2 * SECOND));
    OK(comet_log_retain(telemetry, &items, &count, &error));
    comet_free(items);
    call_returned();
}

static void run_operation(void) {
    uint64_t choice = random_below(&random_state, 20);

    if (choice < 9) {
        run_txn(1 + random_below(&random_state, 8), false);
    } else if (choice < 11) {
        run_txn(20 + random_below(&random_state, 40), false);
    } else if (choice < 13) {
        run_txn(1 + random_below(&random_state, random_below(&random_state, 3) == 0 ? 40 : 6),
                true);
    } else if (choice < 15) {
        OK(comet_shard_sync(shard, &error));
        everything_is_durable();
        call_returned();
    } else if (choice < 17) {
        run_ack();
    } else if (choice < 18) {
        run_retention();
    } else if (choice < 19) {
        close_all();
        open_all();
    } else {
        OK(comet_log_sync(telemetry, &error));
        everything_is_durable();
        call_returned();
    }
}

/* ---- After the cut ---- */

static bool is_version(comet_cursor *cursor, uint64_t which) {
    const version *wanted = &versions[which];
    const void *data;
    int64_t timestamp;
    size_t size;

    OK(comet_cursor_timestamp(cursor, &timestamp, &error));
    OK(comet_cursor_data(cursor, &data, &size, &error));
    return wanted->offset == comet_cursor_offset(cursor) && timestamp == wanted->entry.timestamp &&
           content_is(data, size, &wanted->entry);
}

/* Past what is durable may follow what was committed, and after some of that, if anything, a transaction
** that was not, or no longer: one that had begun there.  Its beginning may be what it committed at last, and
** the rest what it had prepared before it went back to a savepoint. */
static void check_tail_entry(comet_cursor *cursor, const promise *due, uint64_t first,
                             uint64_t *txn) {
    uint64_t at = comet_cursor_offset(cursor);

    if (*txn == NOBODY && at < due->published && is_version(cursor, committed[at])) {
        return;
    }
    for (uint64_t i = 0; i < due->version_count; i++) {
        uint64_t owner = versions[i].txn;
        if (versions[i].offset == at && is_version(cursor, i) &&
            (*txn == owner || (*txn == NOBODY && (txn_base[owner] == at || at == first ||
                                                  (txn_base[owner] < at &&
                                                   versions[committed[at - 1]].txn == owner)))) &&
            (owner == due->in_flight || !is_full)) {
            *txn = owner;
            return;
        }
    }
    fail_msg("entry %llu is made up (durable %llu, published %llu)", (unsigned long long)at,
             (unsigned long long)due->durable_end, (unsigned long long)due->published);
}

static uint64_t check_entries(const promise *due) {
    comet_cursor *cursor;
    comet_shard_info info;
    comet_range range;
    comet_status status;
    uint64_t txn = NOBODY;
    uint64_t at;

    OK(comet_shard_describe(shard, &info, &error));
    if (info.end_offset < due->durable_end || info.first_offset < due->first_low ||
        info.first_offset > due->first_high) {
        fail_msg("entries %llu to %llu; from %llu..%llu on, to at least %llu wanted",
                 (unsigned long long)info.first_offset, (unsigned long long)info.end_offset,
                 (unsigned long long)due->first_low, (unsigned long long)due->first_high,
                 (unsigned long long)due->durable_end);
    }
    at = info.first_offset;
    comet_range_init(&range);
    OK(comet_cursor_open(shard, &cursor, &error));
    status = comet_cursor_seek(cursor, NULL, &range, &error);
    while (status == COMET_OK) {
        assert_int_equal(comet_cursor_offset(cursor), at);
        if (at < due->durable_end) {
            assert_true(is_version(cursor, committed[at]));
        } else {
            check_tail_entry(cursor, due, info.first_offset, &txn);
        }
        at++;
        status = comet_cursor_next(cursor, &error);
    }
    STATUS(status, COMET_DONE);
    comet_cursor_close(cursor);
    assert_int_equal(at, info.end_offset);
    return at;
}

static void check_group(const promise *due, uint64_t end) {
    comet_group *group;
    comet_group_info info;
    uint64_t low = due->acked_low;

    OK(comet_group_open(shard, GROUP, strlen(GROUP), &group, &error));
    OK(comet_group_describe(group, &info, &error));
    comet_group_close(group);
    assert_true(info.position <= end);
    if (low > 0 && (!info.exists || info.position < low)) {
        fail_msg("the group stands at %llu of %llu acknowledged", (unsigned long long)info.position,
                 (unsigned long long)low);
    }
    assert_true(!info.exists || info.position <= due->acked_high ||
                info.position == info.first_offset);
}

static void check_segments(void) {
    comet_segment_check *checks;
    size_t count;

    OK(comet_shard_verify(shard, &checks, &count, &error));
    for (size_t i = 0; i < count; i++) {
        if (!checks[i].ok) {
            fail_msg("%s: %s", checks[i].file, checks[i].why);
        }
    }
    comet_free(checks);
}

/* Numbering goes on, and what is appended now is there after another opening. */
static void check_work_goes_on(uint64_t end, uint64_t *first_version) {
    comet_txn *txn;

    *first_version = now.version_count;
    OK(comet_txn_begin(shard, &txn, &error));
    assert_int_equal(comet_txn_end(txn), end);
    now.in_flight = txn_count;
    txn_base[txn_count] = end;
    append_some(txn, 5);
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
}

static void open_cut(const char *directory) {
    char path[PATH_ROOM];

    file_path(path, directory, "log");
    telemetry = log_make(path, COMET_OPEN_CREATE, settings);
    OK(comet_shard_open(telemetry, 0, true, &shard, &error));
}

static void close_cut(void) {
    comet_shard_close(shard);
    shard = NULL;
    comet_log_close(telemetry);
}

static void check_appended(uint64_t end, uint64_t first_version) {
    comet_cursor *cursor;
    comet_range range;

    comet_range_init(&range);
    range.offset_first = end;
    OK(comet_cursor_open(shard, &cursor, &error));
    OK(comet_cursor_seek(cursor, NULL, &range, &error));
    for (uint64_t i = 0; i < 5; i++) {
        assert_true(is_version(cursor, first_version + i));
        STATUS(comet_cursor_next(cursor, &error), i < 4 ? COMET_OK : COMET_DONE);
    }
    comet_cursor_close(cursor);
}

static void check_cut(const cut *one) {
    uint64_t kept = now.version_count;
    uint64_t first_version;
    uint64_t end;

    open_cut(one->directory);
    end = check_entries(&one->due);
    check_group(&one->due, end);
    check_segments();
    check_work_goes_on(end, &first_version);
    close_cut();
    open_cut(one->directory);
    check_appended(end, first_version);
    check_segments();
    close_cut();
    now.version_count = kept;
    directory_remove(one->directory);
}

/* The power goes again while the log is being made whole, or closed again. */
static void cut_again(cut *one) {
    size_t first = cut_count;

    one->due.first_high = NOBODY; /* closing deletes what is old */
    nested_due = &one->due;
    cut_limit = cut_count + NESTED_CUTS;
    powercut_begin(one->directory, random_next(&cut_random), take_cut);
    open_cut(one->directory);
    OK(comet_shard_sync(shard, &error));
    close_cut();
    powercut_end();
    nested_due = NULL;
    for (size_t i = first; i < cut_count; i++) {
        running_cut = i;
        check_cut(&cuts[i]);
    }
}

/* ---- Runs ---- */

static void make_settings(void) {
    (void)snprintf(settings, sizeof settings,
                   "max_file_size=4KiB boundary_interval=%d min_compress_size=500 upkeep=manual "
                   "sync=%s max_age=1s file_grace_period=0 min_files_to_keep=1 "
                   "protect_unconsumed=%s",
                   random_below(&random_state, 2) == 0 ? 3 : 10, is_full ? "full" : "normal",
                   random_below(&random_state, 2) == 0 ? "on" : "off");
}

static void run_script(uint64_t seed) {
    char disk[PATH_ROOM];

    random_state = seed;
    cut_random = random_next(&random_state);
    memset(&now, 0, sizeof now);
    now.in_flight = NOBODY;
    txn_count = cut_count = 0;
    cut_limit = CUTS_A_RUN;
    make_settings();
    directory_make(base_directory);
    file_path(disk, base_directory, "disk");
    file_path(log_directory, disk, "log");
    assert_int_equal(mkdir(disk, 0700), 0);
    powercut_begin(disk, random_next(&random_state), take_cut);
    open_all();
    for (unsigned i = 0; i < OPERATIONS; i++) {
        run_operation();
    }
    close_all();
    powercut_end();
    for (size_t i = 0; i < cut_count; i++) { /* what the last close has deleted nobody asked */
        cuts[i].due.first_high = cuts[i].is_open ? NOBODY : cuts[i].due.first_high;
    }
}

/* One script, and all cuts that were made in it; how many. */
static uint64_t run(uint64_t seed) {
    uint64_t checked;
    size_t count;

    running_seed = seed;
    running_cut = NOBODY;
    is_running = true;
    run_script(seed);
    count = cut_count;
    checked = count;
    for (size_t i = 0; i < count; i++) {
        running_cut = i;
        if (random_below(&cut_random, 8) == 0) {
            cut_count = count;
            cut_again(&cuts[i]);
            checked += cut_count - count;
        }
        running_cut = i;
        check_cut(&cuts[i]);
    }
    directory_remove(base_directory);
    is_running = false;
    return checked;
}

/* The same cuts each time, unless many are asked for: those are others each time. */
static void run_all(const char *what, bool full) {
    const char *given = getenv("COMET_TEST_POWER_CUTS");
    uint64_t wanted = given != NULL ? strtoull(given, NULL, 10) / 2 : CUTS;
    uint64_t seed = given != NULL || getenv("SEED") != NULL ? random_seed(what) : SEED_USUAL;
    uint64_t first = seed;
    uint64_t count = 0;

    if (has_failed) {
        skip();
    }
    is_full = full;
    while (count < wanted) {
        count += run(seed++);
    }
    print_message("%s: %llu power cuts, from SEED=%llu on\n", what, (unsigned long long)count,
                  (unsigned long long)first);
}

static int report_failure(void **state) {
    (void)state;
    if (is_running) {
        print_message("the run with SEED=%llu failed, %s %lld\n", (unsigned long long)running_seed,
                      running_cut == NOBODY ? "before its cuts were looked at:" : "in its cut",
                      (long long)running_cut);
        powercut_end();
        directory_remove(base_directory);
        is_running = false;
        has_failed = true;
    }
    return 0;
}

static void sync_full_keeps_all_that_was_committed(void **state) {
    (void)state;
    run_all("sync=full", true);
}

static void sync_normal_keeps_all_up_to_the_last_checkpoint(void **state) {
    (void)state;
    run_all("sync=normal", false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(sync_full_keeps_all_that_was_committed, report_failure),
        cmocka_unit_test_teardown(sync_normal_keeps_all_up_to_the_last_checkpoint, report_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
