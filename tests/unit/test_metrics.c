/* test_metrics.c -- without it an operator might read numbers that nobody keeps true: counts of what was
** rolled back, latencies that never were, a healthy shard on a full disk; a reader might write to a log
** that it opened read-only; and writers might map more memory than they were given. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "latency.h"
#include "limits.h"
#include "platform.h"
#include "shard.h"
#include "state.h"

#include "support.h"

static char directory[PATH_ROOM];

static int setup(void **state) {
    (void)state;
    directory_make(directory);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    platform_use(NULL);
    directory_remove(directory);
    return 0;
}

/* ---- Reading metrics ---- */

static size_t metric_number(const char *name) {
    size_t i = 0;

    while (i < comet_metric_count() && strcmp(comet_metric_describe(i)->name, name) != 0) {
        i++;
    }
    if (i == comet_metric_count()) {
        fail_msg("there is no metric %s", name);
    }
    return i;
}

static int64_t metric_of(comet_shard *shard, const char *name) {
    int64_t *values = calloc(comet_metric_count(), sizeof *values);
    int64_t value;

    assert_non_null(values);
    OK(comet_shard_metrics(shard, values, &error));
    value = values[metric_number(name)];
    free(values);
    return value;
}

static int64_t log_metric_of(comet_log *log, const char *name) {
    int64_t *values = calloc(comet_metric_count(), sizeof *values);
    int64_t value;

    assert_non_null(values);
    OK(comet_log_metrics(log, values, &error));
    value = values[metric_number(name)];
    free(values);
    return value;
}

#define METRIC(shard, name, expected)                                                              \
    do {                                                                                           \
        int64_t found_ = metric_of((shard), (name));                                               \
        if (found_ != (int64_t)(expected)) {                                                       \
            fail_msg("%s is %lld, not %lld", (name), (long long)found_, (long long)(expected));    \
        }                                                                                          \
    } while (0)

/* ---- Writing ---- */

static comet_shard *shard_make(comet_log *log, uint32_t id) {
    comet_shard *shard;

    OK(comet_shard_open(log, id, true, &shard, &error));
    return shard;
}

static void commit(comet_shard *shard, size_t count, size_t size) {
    static char bytes[65536];
    comet_txn *txn;
    uint64_t offset;

    assert_true(size <= sizeof bytes);
    memset(bytes, 'x', sizeof bytes);
    OK(comet_txn_begin(shard, &txn, &error));
    for (size_t i = 0; i < count; i++) {
        OK(comet_txn_append(txn, bytes, size, (int64_t)i, &offset, &error));
    }
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
}

static uint64_t read_all(comet_shard *shard) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status;
    uint64_t count = 0;

    comet_range_init(&range);
    OK(comet_cursor_open(shard, &cursor, &error));
    status = comet_cursor_seek(cursor, NULL, &range, &error);
    while (status == COMET_OK) {
        const void *data;
        size_t size;
        OK(comet_cursor_data(cursor, &data, &size, &error));
        OK(comet_cursor_data(cursor, &data, &size, &error)); /* twice is one entry all the same */
        count++;
        status = comet_cursor_next(cursor, &error);
    }
    STATUS(status, COMET_DONE);
    comet_cursor_close(cursor);
    return count;
}

/* ---- The table ---- */

/* What promtool and OpenMetrics want of names is the same for each. */
static void names_are_fit(void **state) {
    (void)state;

    assert_null(comet_metric_describe(comet_metric_count()));
    for (size_t i = 0; i < comet_metric_count(); i++) {
        const comet_metric_info *info = comet_metric_describe(i);
        size_t length = strlen(info->name);
        size_t unit = strlen(info->unit);

        assert_int_equal(strspn(info->name, "abcdefghijklmnopqrstuvwxyz0123456789_"), length);
        assert_true(unit == 0 ||
                    (length > unit && strcmp(info->name + length - unit, info->unit) == 0));
        assert_true(info->scale >= 1);
        assert_true(strlen(info->help) > 5 && info->help[strlen(info->help) - 1] == '.');
        assert_null(strpbrk(info->help, "\n\\\""));
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(info->name, comet_metric_describe(j)->name);
        }
    }
}

/* ---- Latency ---- */

static int compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

/* Quantiles are right to half an octave, from nanoseconds to minutes; and halving does not move them. */
static void quantiles_are_near(void **unused) {
    enum { COUNT = 10000 };
    static uint64_t times[COUNT];
    uint64_t random = random_seed("quantiles");
    uint64_t sum = 0;
    shard_state state;
    (void)unused;

    OK(state_detach(&state, &error));
    assert_int_equal(latency_quantile(&state, 50), 0);
    for (size_t i = 0; i < COUNT; i++) {
        times[i] = 1 + random_below(&random, (uint64_t)1 << (5 + random_below(&random, 21)));
        sum += times[i];
        latency_add(&state, times[i], 1);
    }
    qsort(times, COUNT, sizeof times[0], compare);
    assert_int_equal(state_load(&state, STATE_LATENCY_COUNT), COUNT);
    assert_int_equal(state_load(&state, STATE_LATENCY_NS), sum);
    assert_int_equal(state_load(&state, STATE_LATENCY_MIN_NS), times[0]);
    assert_int_equal(state_load(&state, STATE_LATENCY_MAX_NS), times[COUNT - 1]);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t exact = times[COUNT * percent / 100 - 1];
        uint64_t told = latency_quantile(&state, percent);
        assert_true(told >= exact && (told <= 2 * exact || told <= 128));
    }
    for (unsigned i = 0; i < 3; i++) { /* as after thousands of millions of the same */
        _Atomic uint32_t *bucket = (_Atomic uint32_t *)(void *)(state.bytes + STATE_LATENCY);
        atomic_store(bucket, (uint32_t)1 << 31);
        latency_add(&state, 1, LATENCY_SAMPLE);
        assert_int_equal(atomic_load(bucket), ((uint32_t)1 << 30) + LATENCY_SAMPLE);
    }
    assert_int_equal(latency_quantile(&state, 50), 128);
    latency_add(&state, UINT64_C(100000000000), 1); /* 100 s: beyond the last bucket */
    assert_int_equal(latency_quantile(&state, 100), UINT64_C(100000000000));
    state_close(&state);
}

static int64_t slow_sync_ns;
static int64_t clock_offset;

static int64_t slow_clock(void) {
    return platform_system.clock() + clock_offset;
}

static int slow_sync(int fd) {
    clock_offset += slow_sync_ns;
    return platform_system.sync_file(fd);
}

/* Commits that wait are each measured; of the others every one is counted, at most 15 late. */
static void commits_are_measured(void **state) {
    platform_calls table = platform_system;
    comet_shard *shard;
    comet_log *log;
    int64_t count;
    (void)state;

    table.clock = slow_clock;
    table.sync_file = slow_sync;
    platform_use(&table);
    log = log_make(directory, 0, "upkeep=manual");
    shard = shard_make(log, 0);
    for (size_t i = 1; i <= 1000; i++) {
        commit(shard, 1, 10);
        count = metric_of(shard, "write_latency_transactions");
        assert_true(count <= (int64_t)i && count > (int64_t)i - 16);
    }
    assert_true(metric_of(shard, "write_latency_p50_seconds") <=
                metric_of(shard, "write_latency_max_seconds"));
    assert_true(metric_of(shard, "write_latency_min_seconds") > 0);
    OK(comet_log_configure(log, "sync", "full", &error));
    slow_sync_ns = 3000000;
    for (size_t i = 0; i < 100; i++) {
        commit(shard, 1, 10);
    }
    assert_true(metric_of(shard, "write_latency_transactions") >= count + 100);
    assert_true(metric_of(shard, "write_latency_p99_seconds") >= slow_sync_ns);
    assert_true(metric_of(shard, "write_latency_max_seconds") >= slow_sync_ns);
    assert_true(metric_of(shard, "write_latency_p50_seconds") < slow_sync_ns);
    assert_true(metric_of(shard, "write_latency_seconds") >= 100 * slow_sync_ns);
    assert_true(metric_of(shard, "sync_seconds") >= 100 * slow_sync_ns);
    comet_shard_close(shard);
    comet_log_close(log);
}

/* ---- Counting ---- */

/* What is counted is what is there: after savepoints, rollbacks, rotations, and a new start. */
static void counts_are_what_is_there(void **state) {
    comet_log *log =
        log_make(directory, 0, "max_file_size=4KiB upkeep=manual min_compress_size=300");
    comet_shard *shard = shard_make(log, 0);
    comet_segment_info *segments;
    static char bytes[2000];
    uint64_t offset;
    comet_txn *txn;
    size_t count;
    int64_t total = 0;
    int64_t before = platform->now();
    (void)state;

    METRIC(shard, "recoveries_begun", 0);
    for (size_t i = 0; i < 30; i++) {
        commit(shard, 3, 100);
    }
    OK(comet_txn_begin(shard, &txn, &error));
    OK(comet_txn_append(txn, bytes, sizeof bytes, 1, &offset, &error));
    OK(comet_txn_savepoint(txn, 0, &error));
    for (size_t i = 0; i < 50; i++) {
        OK(comet_txn_append(txn, bytes, sizeof bytes, 1, &offset, &error));
    }
    comet_txn_rollback_to(txn, 0);
    OK(comet_txn_append(txn, "0123456789", 10, 1, &offset, &error));
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    OK(comet_txn_begin(shard, &txn, &error));
    OK(comet_txn_append(txn, bytes, 1000, 1, &offset, &error));
    OK(comet_txn_prepare(txn, &error));
    comet_txn_rollback(txn);

    for (unsigned round = 0; round < 2; round++) {
        METRIC(shard, "written_entries", 92);
        METRIC(shard, "written_bytes", 90 * 100 + 2000 + 10);
        METRIC(shard, "transactions", 31);
        METRIC(shard, "last_transaction_entries", 2);
        METRIC(shard, "compressed_entries", 1);
        METRIC(shard, "uncompressed_entries", 91);
        METRIC(shard, "first_offset", 0);
        METRIC(shard, "end_offset", 92);
        METRIC(shard, "failed_writes", 0);
        METRIC(shard, "errors", 0);
        assert_true(metric_of(shard, "compressed_bytes") < 100);
        assert_in_range(metric_of(shard, "compression_saved_ratio"), 9000, 10000);
        assert_in_range(metric_of(shard, "last_write_timestamp_seconds"), before, platform->now());
        OK(comet_shard_segments(shard, &segments, &count, &error));
        total = 0;
        for (size_t i = 0; i < count; i++) {
            total += (int64_t)segments[i].bytes;
        }
        comet_free(segments);
        METRIC(shard, "files", count);
        METRIC(shard, "files_created", count);
        METRIC(shard, "rotations", count - 1);
        METRIC(shard, "file_bytes", total);
        METRIC(shard, "file_bytes", 92 * 12 + 90 * 100 + 10 + metric_of(shard, "compressed_bytes"));
        assert_true(metric_of(shard, "rotation_seconds") > 0);
        comet_shard_close(shard);
        comet_log_close(log);
        log = log_make(directory, 0, NULL);
        shard = shard_make(log, 0);
    }
    assert_true(metric_of(shard, "checkpoints") > 0);
    METRIC(shard, "durable_offset", 92);
    comet_shard_close(shard);
    comet_log_close(log);
}

static int failing_allocate(int fd, uint64_t position, uint64_t length) {
    (void)fd;
    (void)position;
    (void)length;
    return -ENOSPC;
}

static bool disk_is_full;

static int sometimes_allocate(int fd, uint64_t position, uint64_t length) {
    return disk_is_full ? failing_allocate(fd, position, length)
                        : platform_system.allocate(fd, position, length);
}

static void expect_health(comet_shard *shard, const char *hint) {
    char why[COMET_MESSAGE_BYTES];
    bool healthy;

    OK(comet_shard_health(shard, why, &healthy, &error));
    if (healthy != (hint == NULL) || (hint != NULL && strstr(why, hint) == NULL)) {
        fail_msg("healthy %d, why '%s', expected '%s'", healthy, why, hint != NULL ? hint : "");
    }
}

/* A write that fails is counted, once, and the shard says so until things go well again. */
static void failures_are_counted(void **state) {
    platform_calls table = platform_system;
    static char bytes[5000];
    comet_shard *shard;
    comet_log *log;
    comet_txn *txn;
    uint64_t offset;
    (void)state;

    table.allocate = sometimes_allocate;
    platform_use(&table);
    log = log_make(directory, 0, "max_file_size=4KiB upkeep=manual min_compress_size=1MiB");
    shard = shard_make(log, 0);
    commit(shard, 10, 100);
    expect_health(shard, NULL);
    disk_is_full = true;
    OK(comet_txn_begin(shard, &txn, &error));
    STATUS(comet_txn_append(txn, bytes, sizeof bytes, 1, &offset, &error), COMET_FULL);
    disk_is_full = false;
    METRIC(shard, "failed_writes", 1);
    METRIC(shard, "failed_rotations", 1);
    METRIC(shard, "errors", 1);
    expect_health(shard, "the next data file could not be begun");
    expect_health(shard, "1 errors, the last one");
    STATUS(comet_txn_append(txn, bytes, 1, -1, &offset, &error), COMET_INVALID);
    METRIC(shard, "failed_writes", 2);
    METRIC(shard, "errors", 1); /* a bad argument is no error of the system */
    OK(comet_txn_append(txn, bytes, sizeof bytes, 1, &offset, &error));
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    METRIC(shard, "written_entries", 11);
    OK(comet_shard_sync(shard, &error));
    comet_shard_close(shard);
    comet_log_close(log);
}

static void reads_are_counted(void **state) {
    comet_log *log = log_make(directory, 0, "max_file_size=64KiB upkeep=manual");
    comet_shard *shard = shard_make(log, 0);
    comet_cursor *cursor;
    char path[PATH_ROOM];
    FILE *file;
    unsigned char bytes[STATE_BYTES];
    uint64_t gauge = 1;
    (void)state;

    commit(shard, 5000, 100);
    assert_int_equal(read_all(shard), 5000);
    assert_int_equal(read_all(shard), 5000);
    METRIC(shard, "read_entries", 10000);
    METRIC(shard, "readers", 2);
    METRIC(shard, "active_readers", 0);
    METRIC(shard, "read_errors", 0);
    OK(comet_cursor_open(shard, &cursor, &error));
    METRIC(shard, "active_readers", 1);
    comet_cursor_close(cursor);
    assert_true(metric_of(shard, "window_maps") > 0);
    comet_shard_close(shard);
    comet_log_close(log);

    file_path(path, directory, "shard-0000/comet.state");
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, sizeof bytes, file), sizeof bytes);
    (void)fclose(file);
    memcpy(&gauge, bytes + STATE_WINDOW_BYTES, 8);
    assert_int_equal(gauge, 0);
    assert_memory_equal(bytes + STATE_WINDOW_MAPS, bytes + STATE_WINDOW_UNMAPS, 8);
    memcpy(&gauge, bytes + STATE_WINDOW_HITS, 8);
    assert_true(gauge > 0);
}

/* A reader of a log that it may not write leaves no trace, whatever it comes upon. */
static void a_readonly_log_is_not_written(void **state) {
    unsigned char before[STATE_BYTES];
    unsigned char after[STATE_BYTES];
    comet_log *log = log_make(directory, 0, "upkeep=manual");
    comet_shard *shard = shard_make(log, 0);
    comet_group_info *groups;
    comet_group *group;
    char path[PATH_ROOM];
    size_t count;
    FILE *file;
    (void)state;

    commit(shard, 500, 100);
    OK(comet_group_open(shard, "g", 1, &group, &error));
    OK(comet_group_ack(group, 3, NULL, &error));
    comet_group_close(group);
    comet_shard_close(shard);
    comet_log_close(log);
    file_path(path, directory, "shard-0000/comet.state");
    file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(before, 1, sizeof before, file), sizeof before);
    log = log_make(directory, COMET_OPEN_READONLY, NULL);
    OK(comet_shard_open(log, 0, false, &shard, &error));
    assert_int_equal(read_all(shard), 500);
    OK(comet_shard_groups(shard, &groups, &count, &error));
    comet_free(groups);
    METRIC(shard, "written_entries", 500);
    METRIC(shard, "groups", 1);
    expect_health(shard, NULL);
    comet_shard_close(shard);
    comet_log_close(log);
    rewind(file);
    assert_int_equal(fread(after, 1, sizeof after, file), sizeof after);
    (void)fclose(file);
    assert_memory_equal(before, after, sizeof before);
}

static void groups_are_counted(void **state) {
    comet_log *log = log_make(directory, 0, "upkeep=manual");
    comet_shard *shard = shard_make(log, 0);
    comet_group *groups[3];
    (void)state;

    commit(shard, 100, 10);
    for (size_t i = 0; i < 3; i++) {
        char name = (char)('a' + i);
        OK(comet_group_open(shard, &name, 1, &groups[i], &error));
        OK(comet_group_ack(groups[i], 10 * i + 9, NULL, &error));
        OK(comet_group_ack(groups[i], 5, NULL, &error)); /* acknowledged already */
    }
    METRIC(shard, "groups", 3);
    METRIC(shard, "acknowledged_entries", 10 + 20 + 30);
    METRIC(shard, "lag_entries", 90);
    commit(shard, 100, 10);
    METRIC(shard, "lag_entries", 190);
    OK(comet_group_seek(groups[0], 200, NULL, &error));
    OK(comet_group_forget(groups[1], &error));
    METRIC(shard, "groups", 2);
    METRIC(shard, "lag_entries", 170);
    METRIC(shard, "lag_max_entries", 190);
    METRIC(shard, "acknowledged_entries", 60);
    for (size_t i = 0; i < 3; i++) {
        comet_group_close(groups[i]);
    }
    comet_shard_close(shard);
    comet_log_close(log);
}

/* Several processes count into the same fields; nothing is lost. */
static void processes_count_together(void **state) {
    enum { PROCESSES = 3, ROUNDS = 50 };
    comet_log *log;
    comet_shard *shard;
    (void)state;

    log = log_make(directory, 0, "upkeep=manual");
    shard = shard_make(log, 0);
    commit(shard, 10, 10);
    comet_shard_close(shard);
    comet_log_close(log);
    for (unsigned i = 0; i < PROCESSES; i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            log = log_make(directory, 0, NULL);
            shard = shard_make(log, 0);
            for (unsigned round = 0; round < ROUNDS; round++) {
                (void)read_all(shard);
                shard = (comet_shard_close(shard), shard_make(log, 0));
            }
            comet_shard_close(shard);
            comet_log_close(log);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    log = log_make(directory, 0, NULL);
    shard = shard_make(log, 0);
    METRIC(shard, "readers", PROCESSES * ROUNDS);
    METRIC(shard, "read_entries", 10 * PROCESSES * ROUNDS);
    METRIC(shard, "active_readers", 0);
    comet_shard_close(shard);
    comet_log_close(log);
}

/* ---- Health ---- */

static int64_t wall_offset;
static uint64_t disk_total, disk_free;

static int64_t later(void) {
    return platform_system.now() + wall_offset;
}

static int small_disk(const char *path, uint64_t *total, uint64_t *free_bytes) {
    (void)path;
    *total = disk_total;
    *free_bytes = disk_free;
    return 0;
}

static void health_says_what_is_wrong(void **state) {
    platform_calls table = platform_system;
    char path[PATH_ROOM];
    comet_shard *shard;
    comet_group *group;
    comet_log *log;
    (void)state;

    table.now = later;
    table.disk_space = small_disk;
    platform_use(&table);
    disk_total = 100 * HEALTH_DISK_BYTES;
    disk_free = 50 * HEALTH_DISK_BYTES;
    log = log_make(directory, 0, "upkeep=manual");
    shard = shard_make(log, 0);
    expect_health(shard, NULL); /* nothing was ever written, and nothing is late */
    commit(shard, 1000, 10);
    expect_health(shard, NULL);
    disk_free = HEALTH_DISK_BYTES - MEBIBYTE;
    expect_health(shard, "the disk is nearly full: 1023 MiB are free");
    disk_total = 2 * HEALTH_DISK_BYTES; /* on a small one that is plenty */
    expect_health(shard, NULL);
    disk_free = disk_total / HEALTH_DISK_SHARE - 1;
    expect_health(shard, "the disk is nearly full");
    disk_free = disk_total;
    wall_offset = HEALTH_QUIET_NS + INT64_C(1000000000);
    expect_health(shard, "nothing has been written for 36");
    commit(shard, HEALTH_LAG_ENTRIES, 0);
    OK(comet_shard_sync(shard, &error));
    wall_offset += INT64_C(60000000000);
    commit(shard, 1, 0);
    expect_health(shard, NULL);
    OK(comet_group_open(shard, "slow", 4, &group, &error));
    OK(comet_group_ack(group, 1, NULL, &error));
    comet_group_close(group);
    expect_health(shard, "group slow is 1000999 entries behind");
    comet_shard_close(shard);
    comet_log_close(log);

    file_path(path, directory, "shard-0000/log-0000000000000001.comet");
    file_fill(path, 7, 4096);
    wall_offset = 0;
    log = log_make(directory, 0, NULL);
    shard = shard_make(log, 0);
    {
        comet_cursor *cursor;
        comet_range range;
        const void *data;
        size_t size;
        comet_range_init(&range);
        OK(comet_cursor_open(shard, &cursor, &error));
        OK(comet_cursor_seek(cursor, NULL, &range, &error));
        STATUS(comet_cursor_data(cursor, &data, &size, &error), COMET_CORRUPT);
        comet_cursor_close(cursor);
    }
    METRIC(shard, "read_errors", 1);
    METRIC(shard, "corruptions", 1);
    expect_health(shard, "1 times bytes were found damaged");
    wall_offset = HEALTH_CORRUPTION_NS + INT64_C(1000000000);
    commit(shard, 1, 1);
    comet_shard_close(shard);
    comet_log_close(log);
}

/* ---- Memory ---- */

/* With more shards open for writing than there is room for, writers share what there is; each takes no
** more than the least; and what was given is given back. */
static void writers_share_the_limit(void **state) {
    enum { SHARDS = 100, LIMIT = 16 * 1024 * 1024 };
    comet_log *log = log_make(directory, 0, "upkeep=manual max_mapped_bytes=16MiB sync=off");
    comet_shard *shards[SHARDS];
    comet_txn *txns[SHARDS];
    uint64_t offset;
    int64_t mapped;
    (void)state;

    assert_int_equal(log_metric_of(log, "mapped_limit_bytes"), LIMIT);
    for (uint32_t i = 0; i < SHARDS; i++) {
        shards[i] = shard_make(log, i);
        commit(shards[i], 10, 1000);
        mapped = log_metric_of(log, "mapped_bytes");
        assert_true(mapped > 0 && mapped <= LIMIT);
    }
    for (unsigned round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < SHARDS; i++) { /* all at once */
            OK(comet_txn_begin(shards[i], &txns[i], &error));
            OK(comet_txn_append(txns[i], "once", 4, 1, &offset, &error));
        }
        mapped = log_metric_of(log, "mapped_bytes");
        assert_true(mapped <= LIMIT + SHARDS * (int64_t)APPEND_WINDOW_BYTES_MIN);
        for (uint32_t i = 0; i < SHARDS; i++) {
            OK(comet_txn_prepare(txns[i], &error));
            comet_txn_publish(txns[i]);
        }
        assert_true(log_metric_of(log, "mapped_bytes") <= LIMIT);
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(read_all(shards[i]), 13);
        assert_true(log_metric_of(log, "mapped_bytes") <= LIMIT);
    }
    METRIC(shards[SHARDS - 1], "windows", 1);
    for (uint32_t i = 0; i < SHARDS; i++) {
        comet_shard_close(shards[i]);
    }
    comet_log_close(log);
}

/* Shards that are not written to any more do not keep the others short. */
static void idle_shards_give_back(void **state) {
    enum { SHARDS = 20, USUAL = 1024 * 1024 }; /* of 8 in the writers' share */
    comet_log *log = log_make(directory, 0, "upkeep=manual max_mapped_bytes=16MiB sync=off");
    comet_shard *shards[SHARDS];
    int64_t mapped;
    (void)state;

    for (uint32_t i = 0; i < SHARDS; i++) {
        shards[i] = shard_make(log, i);
        commit(shards[i], 1, 10);
    }
    mapped = log_metric_of(log, "mapped_bytes");
    assert_true(mapped >= 7 * USUAL && mapped <= 8 * USUAL);
    for (uint32_t i = 0; i < SHARDS; i++) {
        shard_rest(shards[i]); /* since the last call, which was none, it was written to */
    }
    assert_int_equal(log_metric_of(log, "mapped_bytes"), mapped);
    commit(shards[0], 1, 10);
    for (uint32_t i = 0; i < SHARDS; i++) {
        shard_rest(shards[i]);
    }
    assert_true(log_metric_of(log, "mapped_bytes") < mapped);
    commit(shards[SHARDS - 1], 1, 10);
    mapped = log_metric_of(log, "mapped_bytes");
    commit(shards[SHARDS - 1], 1, 10);
    assert_int_equal(log_metric_of(log, "mapped_bytes"), mapped); /* it kept its window */
    for (uint32_t i = 0; i < SHARDS; i++) {
        assert_int_equal(read_all(shards[i]), i == 0 ? 2 : i == SHARDS - 1 ? 3 : 1);
        comet_shard_close(shards[i]);
    }
    comet_log_close(log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_fit),
        cmocka_unit_test(quantiles_are_near),
        cmocka_unit_test_setup_teardown(commits_are_measured, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_are_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(a_readonly_log_is_not_written, setup, teardown),
        cmocka_unit_test_setup_teardown(groups_are_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(processes_count_together, setup, teardown),
        cmocka_unit_test_setup_teardown(health_says_what_is_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(writers_share_the_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(idle_shards_give_back, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
