/* test_faults.c -- without it a full disk, a failing one or a lack of memory at the wrong moment could
** cost committed entries, leave half a transaction, or a log that cannot be opened again. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "platform.h"

/* ---- A platform whose N-th call fails, and perhaps all that follow ---- */

static uint64_t calls_left; /* 0: no fault to come */
static int fault_errno;
static bool fault_lasts; /* until it is lifted */
static bool fault_hit;
static bool only_syncs;      /* fail */
static bool fault_in_memory; /* count allocations, else the platform's calls */
static int64_t time_passed;  /* a clock of our own: the same calls in every run */

/* What can fail, and how often it was the N-th call. */
#define FALLIBLE(X)                                                                                \
    X(open_file), X(close_file), X(file_info), X(file_size), X(path_info), X(disk_space),          \
        X(read_at), X(write_at), X(truncate_file), X(allocate), X(sync_file), X(sync_directory),   \
        X(map), X(unmap), X(populate), X(rename_file), X(remove_file), X(make_directory),          \
        X(list_directory), X(absolute_path), X(lock_byte), X(wait_byte), X(unlock_byte), X(resize)

#define AS_ENUM(name) FAULT_##name
#define AS_TEXT(name) #name

enum { FALLIBLE(AS_ENUM), FAULT_COUNT };
static const char *const fault_names[] = {FALLIBLE(AS_TEXT)};
static unsigned long hits[FAULT_COUNT];

static int fault(unsigned what) {
    if (fault_in_memory != (what == FAULT_resize) || (only_syncs && what != FAULT_sync_file)) {
        return 0;
    }
    if (calls_left == 1 && !fault_hit) {
        fault_hit = true;
        hits[what]++;
    }
    if (calls_left == 1) {
        calls_left = fault_lasts ? 1 : 0;
        return -fault_errno;
    }
    calls_left -= calls_left > 0 ? 1 : 0;
    return 0;
}

#define WRAP(type, name, parameters, arguments)                                                    \
    static type name parameters {                                                                  \
        int result = fault(FAULT_##name);                                                          \
        return result != 0 ? result : platform_system.name arguments;                              \
    }

/* The power stays on: nothing need reach the disk, which would take minutes. */
#define WRAP_ALONE(name, parameters, argument)                                                     \
    static int name parameters {                                                                   \
        (void)argument;                                                                            \
        return fault(FAULT_##name);                                                                \
    }

/* What is done all the same, even if the system then says that it failed. */
#define WRAP_DONE(name, parameters, arguments)                                                     \
    static int name parameters {                                                                   \
        int done = platform_system.name arguments;                                                 \
        int result = fault(FAULT_##name);                                                          \
        return result != 0 ? result : done;                                                        \
    }

WRAP(int, open_file, (const char *path, unsigned mode), (path, mode))
WRAP_ALONE(sync_file, (int fd), fd)
WRAP_ALONE(sync_directory, (const char *path), path)
WRAP_DONE(close_file, (int fd), (fd))
WRAP(int, file_info, (int fd, platform_info *info), (fd, info))
WRAP(int64_t, file_size, (int fd), (fd))
WRAP(int, path_info, (const char *path, platform_info *info), (path, info))
WRAP(int, disk_space, (const char *path, uint64_t *total, uint64_t *free), (path, total, free))
WRAP(int, read_at, (int fd, void *to, size_t size, uint64_t at), (fd, to, size, at))
WRAP(int, truncate_file, (int fd, uint64_t size), (fd, size))
WRAP(int, allocate, (int fd, uint64_t at, uint64_t length), (fd, at, length))
WRAP(int, map, (int fd, uint64_t at, size_t length, bool writable, void **address),
     (fd, at, length, writable, address))
WRAP_DONE(unmap, (void *address, size_t length), (address, length))
WRAP(int, populate, (void *address, size_t length), (address, length))
WRAP(int, rename_file, (const char *from, const char *to), (from, to))
WRAP(int, remove_file, (const char *path), (path))
WRAP(int, make_directory, (const char *path), (path))
WRAP(int, list_directory, (const char *path, platform_visit visit, void *context),
     (path, visit, context))
WRAP(int, absolute_path, (const char *path, char *absolute, size_t size), (path, absolute, size))
WRAP(int, lock_byte, (int fd, uint64_t byte), (fd, byte))
WRAP(int, wait_byte, (int fd, uint64_t byte), (fd, byte))
WRAP_DONE(unlock_byte, (int fd, uint64_t byte), (fd, byte))

static uint64_t data_written; /* bytes, into data files by write_at */

static bool is_data_file(int fd) {
    char link[64];
    char path[PATH_ROOM];
    ssize_t length;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path);
    return length > 6 && memcmp(path + length - 6, ".comet", 6) == 0;
}

/* A write that fails may have been done in part. */
static int write_at(int fd, const void *from, size_t size, uint64_t at) {
    int result = fault(FAULT_write_at);

    if (result != 0) {
        (void)platform_system.write_at(fd, from, size / 2, at);
        return result;
    }
    data_written += is_data_file(fd) ? size : 0;
    return platform_system.write_at(fd, from, size, at);
}

static int64_t passing(void) {
    return time_passed += 1000000;
}

static int64_t now(void) {
    return INT64_C(1700000000000000000) + passing();
}

static platform_calls faulty(void) {
    platform_calls table = platform_system;

    table.open_file = open_file;
    table.close_file = close_file;
    table.file_info = file_info;
    table.file_size = file_size;
    table.path_info = path_info;
    table.disk_space = disk_space;
    table.read_at = read_at;
    table.write_at = write_at;
    table.truncate_file = truncate_file;
    table.allocate = allocate;
    table.sync_file = sync_file;
    table.sync_directory = sync_directory;
    table.map = map;
    table.unmap = unmap;
    table.populate = populate;
    table.rename_file = rename_file;
    table.remove_file = remove_file;
    table.make_directory = make_directory;
    table.list_directory = list_directory;
    table.absolute_path = absolute_path;
    table.lock_byte = lock_byte;
    table.wait_byte = wait_byte;
    table.unlock_byte = unlock_byte;
    table.tick = table.clock = passing;
    table.now = now;
    return table;
}

static void *failing_resize(void *memory, size_t size) {
    return fault(FAULT_resize) != 0 ? NULL : realloc(memory, size);
}

/* ---- The script ---- */

#define SETTINGS                                                                                   \
    "max_file_size=4KiB boundary_interval=3 upkeep=manual min_compress_size=300 "                  \
    "max_age=1 min_files_to_keep=1 file_grace_period=0"
#define GROUP "readers"

typedef struct script {
    char directory[PATH_ROOM];
    const char *settings;
    model m;           /* of what is committed */
    uint64_t first;    /* the oldest entry that is left, when last seen */
    uint64_t acked;    /* the group's position is at least this, */
    uint64_t acked_up; /* ... and at most that */
} script;

static model_entry entry_at(size_t at) {
    model_entry entry = {(int64_t)(at + 5), at % 7 == 3 ? 900 : at % 50, at};
    return entry;
}

/* Appends with savepoints, some of which are gone back to. */
static comet_status run_appends(comet_txn *txn, size_t before, size_t count) {
    comet_status status = COMET_OK;
    uint64_t offset;

    for (size_t i = 0; i < count && status == COMET_OK; i++) {
        model_entry entry = entry_at(before + i);
        model_entry other = {1, 2000, 3};
        status = append_one(txn, &entry, &offset);
        if (status == COMET_OK && i % 5 == 2) {
            status = comet_txn_savepoint(txn, (int)i, &error);
            status = status != COMET_OK ? status : append_one(txn, &other, &offset);
            status = status != COMET_OK ? status : append_one(txn, &other, &offset);
            comet_txn_rollback_to(txn, (int)i);
        }
    }
    return status;
}

/* One transaction; on the way out it is either published or, an odd one, rolled back. */
static comet_status run_txn(script *s, comet_shard *shard, size_t count) {
    comet_txn *txn;
    comet_status status = comet_txn_begin(shard, &txn, &error);
    size_t before = s->m.count;

    if (status != COMET_OK) {
        return status;
    }
    if (comet_txn_end(txn) != s->m.count) {
        fail_msg("begins at %llu, not %zu", (unsigned long long)comet_txn_end(txn), s->m.count);
    }
    status = run_appends(txn, before, count);
    if (status == COMET_OK) {
        status = comet_txn_prepare(txn, &error);
    }
    if (status != COMET_OK || count % 2 == 1) {
        comet_txn_rollback(txn);
        return status;
    }
    comet_txn_publish(txn);
    for (size_t i = 0; i < count; i++) {
        model_entry entry = entry_at(before + i);
        model_add(&s->m, entry.timestamp, entry.size, entry.seed);
    }
    return COMET_OK;
}

/* Retention may have let the oldest go, but none that the group has not acknowledged. */
static comet_status see_first(script *s, comet_shard *shard) {
    comet_shard_bounds bounds;
    comet_status status = comet_shard_glance(shard, &bounds, &error);

    if (status == COMET_OK) {
        assert_int_equal(bounds.end_offset, s->m.count);
        assert_in_range(bounds.first_offset, s->first, s->m.count);
        assert_true(s->acked == 0 || bounds.first_offset <= s->acked_up);
        s->first = bounds.first_offset;
    }
    return status;
}

static comet_status run_read(script *s, comet_shard *shard, bool by_time) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status = comet_cursor_open(shard, &cursor, &error);
    size_t at = s->first;

    if (status != COMET_OK) {
        return status;
    }
    comet_range_init(&range);
    range.by_time = by_time;
    range.time_first = by_time ? 1 : INT64_MIN;
    status = comet_cursor_seek(cursor, NULL, &range, &error);
    while (status == COMET_OK) {
        const void *data;
        size_t size;
        status = comet_cursor_data(cursor, &data, &size, &error);
        if (status == COMET_OK) {
            assert_int_equal(comet_cursor_offset(cursor), at);
            assert_true(at < s->m.count && content_is(data, size, &s->m.entries[at]));
            at++;
            status = comet_cursor_next(cursor, &error);
        }
    }
    if (status == COMET_DONE) {
        assert_int_equal(at, s->m.count);
        status = COMET_OK;
    }
    comet_cursor_close(cursor);
    return status;
}

static comet_status run_group(script *s, comet_shard *shard, uint64_t up_to) {
    comet_group *group;
    comet_group_info info;
    comet_status status = comet_group_open(shard, GROUP, strlen(GROUP), &group, &error);

    if (status != COMET_OK) {
        return status;
    }
    if (up_to > s->acked_up) {
        s->acked_up = up_to;
        status = comet_group_ack(group, up_to - 1, NULL, &error);
        s->acked = status == COMET_OK ? up_to : s->acked;
    }
    if (status == COMET_OK) {
        status = comet_group_describe(group, &info, &error);
    }
    if (status == COMET_OK) {
        assert_true(info.exists || s->acked == 0);
        assert_true(s->acked == 0 || (info.position >= s->acked && info.position <= s->acked_up));
    }
    comet_group_close(group);
    return status;
}

static comet_status run_retention(script *s, comet_log *log, comet_shard *shard) {
    comet_retention_item *items;
    size_t count;
    comet_status status = comet_log_retain(log, &items, &count, &error);

    if (status == COMET_OK) {
        comet_free(items);
        status = see_first(s, shard);
    }
    return status;
}

/* What only looks: none of it may take a fault for damage. */
static comet_status run_looks(comet_log *log, comet_shard *shard) {
    comet_segment_check *checks;
    int64_t values[256];
    char why[COMET_MESSAGE_BYTES];
    bool healthy;
    size_t count;
    comet_status status = comet_shard_verify(shard, &checks, &count, &error);

    if (status == COMET_OK) {
        for (size_t i = 0; i < count; i++) {
            if (!checks[i].ok) {
                fail_msg("%s: %s", checks[i].file, checks[i].why);
            }
        }
        comet_free(checks);
        assert_true(comet_metric_count() <= 256);
        status = comet_shard_metrics(shard, values, &error);
    }
    status = status != COMET_OK ? status : comet_log_metrics(log, values, &error);
    return status != COMET_OK ? status : comet_shard_health(shard, why, &healthy, &error);
}

static comet_status run_steps(script *s, comet_log *log, comet_shard *shard) {
    static const size_t counts[] = {4, 7, 20, 2};
    comet_status status = COMET_OK;

    for (size_t i = 0; i < sizeof counts / sizeof *counts && status == COMET_OK; i++) {
        status = run_txn(s, shard, counts[i]);
        if (status == COMET_OK && i % 2 == 0) {
            status = run_group(s, shard, s->m.count - 2);
        }
        if (status == COMET_OK && i == 2) {
            status = comet_shard_sync(shard, &error);
            status = status != COMET_OK ? status : run_retention(s, log, shard);
        }
        status = status != COMET_OK ? status : see_first(s, shard);
        status = status != COMET_OK ? status : run_read(s, shard, i % 2 == 0);
    }
    return status != COMET_OK ? status : run_looks(log, shard);
}

static comet_status run_session(script *s) {
    comet_settings settings;
    comet_shard *shard;
    comet_log *log;
    comet_status status;

    settings_parse(&settings, s->settings);
    status = comet_log_open(s->directory, COMET_OPEN_CREATE, &settings, &log, &error);
    if (status != COMET_OK) {
        return status;
    }
    status = comet_shard_open(log, 1, true, &shard, &error);
    if (status == COMET_OK) {
        status = run_steps(s, log, shard);
        comet_shard_close(shard);
    }
    comet_log_close(log);
    return status;
}

static comet_status run_script(script *s) {
    comet_status status = run_session(s);

    if (status != COMET_OK) {
        return status;
    }
    simulate_reboot(s->directory, 1);
    return run_session(s);
}

/* Without faults now: everything committed is there, nothing else, and all work goes on. */
static void check_script(script *s, bool reboot) {
    comet_log *log = log_make(s->directory, COMET_OPEN_CREATE, s->settings);
    comet_shard *shard;
    comet_shard_info info;
    char path[PATH_ROOM];

    OK(comet_shard_open(log, 1, true, &shard, &error));
    if (reboot) {
        comet_shard_close(shard);
        simulate_reboot(s->directory, 1);
        OK(comet_shard_open(log, 1, true, &shard, &error));
    }
    OK(see_first(s, shard));
    OK(run_read(s, shard, true));
    OK(run_group(s, shard, 0));
    OK(run_looks(log, shard));
    for (unsigned i = 0; i < 2; i++) {
        OK(run_txn(s, shard, 10));
        OK(run_group(s, shard, s->m.count));
        OK(run_read(s, shard, i == 0));
    }
    OK(run_retention(s, log, shard));
    OK(comet_shard_sync(shard, &error));
    OK(comet_shard_describe(shard, &info, &error));
    assert_int_equal(info.durable_offset, s->m.count);
    assert_int_equal(info.segment_count, 1);
    comet_shard_close(shard);
    /* What could not be removed then goes with the next recovery: no file is left over. */
    simulate_reboot(s->directory, 1);
    OK(comet_shard_open(log, 1, true, &shard, &error));
    file_path(path, s->directory, "shard-0001");
    assert_int_equal(file_count(path, ".comet"), 1);
    OK(run_read(s, shard, false));
    comet_shard_close(shard);
    comet_log_close(log);
}

typedef struct faults {
    const char *settings;
    int reason;
    bool memory; /* allocations, else the platform's calls */
    bool lasts;
} faults;

/* Let the N-th call fail, for each N there is; returns how many there were. */
static uint64_t run_all(const faults *how) {
    static const comet_allocator failing = {failing_resize, free};
    platform_calls table = faulty();
    uint64_t n = 0;

    fault_errno = how->reason;
    fault_lasts = how->lasts;
    do {
        script s = {.settings = how->settings};
        comet_status status;
        directory_make(s.directory);
        STATUS(comet_set_allocator(how->memory ? &failing : NULL), COMET_OK);
        platform_use(&table);
        fault_hit = false;
        fault_in_memory = how->memory;
        time_passed = 0;
        calls_left = ++n;
        status = run_script(&s);
        calls_left = 0;
        platform_use(
            NULL); /* nothing of ours is open now; and checked with the system's own clock */
        STATUS(comet_set_allocator(NULL), COMET_OK);
        if (!fault_hit) {
            OK(status);
            assert_true(s.first > 0); /* the script deletes */
        }
        check_script(&s, n % 3 == 0);
        directory_remove(s.directory);
        model_free(&s.m);
    } while (fault_hit);
    return n - 1;
}

static void report(const char *what, const faults *how) {
    char text[1024] = "";
    uint64_t count;

    memset(hits, 0, sizeof hits);
    count = run_all(how);
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        size_t used = strlen(text);
        assert_true(how->memory == (i == FAULT_resize) ? hits[i] > 0 : hits[i] == 0);
        if (hits[i] > 0) {
            (void)snprintf(text + used, sizeof text - used, " %s %lu", fault_names[i], hits[i]);
        }
    }
    print_message("%s%s: %llu fault points hit:%s\n", what, how->lasts ? ", from there on" : "",
                  (unsigned long long)count, text);
}

/* Go's defect W32: entries are dropped where beginning the next file fails. Go's defect W49: a
** mapping that could not be renewed is used. */
static void input_output_fails(void **state) {
    (void)state;
    report("EIO", &(faults){SETTINGS, EIO, false, false});
    report("EIO", &(faults){SETTINGS, EIO, false, true});
}

/* Go's defect W20: after the disk was full all appends fail, or an entry is torn, though there is
** room again. */
static void disk_is_full(void **state) {
    (void)state;
    report("ENOSPC, sync=full", &(faults){SETTINGS " sync=full", ENOSPC, false, false});
    report("ENOSPC, sync=full", &(faults){SETTINGS " sync=full", ENOSPC, false, true});
}

static void memory_is_short(void **state) {
    (void)state;
    report("ENOMEM", &(faults){SETTINGS, ENOMEM, false, false});
    report("allocation", &(faults){SETTINGS, ENOMEM, true, false});
    report("allocation", &(faults){SETTINGS, ENOMEM, true, true});
}

/* ---- A disk that does not sync ---- */

/* Several segments, none of which is synced but by call. */
#define UNSYNCED                                                                                   \
    "max_file_size=4KiB boundary_interval=3 upkeep=manual min_compress_size=2000 sync=off"
#define SYNCED 20u

static uint64_t stored_bytes(const script *s, size_t from, size_t end) {
    uint64_t bytes = 0;

    for (size_t i = from; i < end; i++) {
        bytes += 12 + s->m.entries[i].size;
    }
    return bytes;
}

static uint64_t durable_offset(comet_shard *shard) {
    comet_shard_info info;

    OK(comet_shard_describe(shard, &info, &error));
    return info.durable_offset;
}

/* A log of which SYNCED entries are durable and 30 more are committed. */
static void begin_unsynced(script *s, comet_log **log, comet_shard **shard) {
    directory_make(s->directory);
    *log = log_make(s->directory, COMET_OPEN_CREATE, UNSYNCED);
    OK(comet_shard_open(*log, 1, true, shard, &error));
    OK(run_txn(s, *shard, SYNCED));
    OK(comet_shard_sync(*shard, &error));
    assert_int_equal(durable_offset(*shard), SYNCED);
    OK(run_txn(s, *shard, 30));
    fault_errno = EIO;
    fault_hit = fault_in_memory = fault_lasts = false;
    only_syncs = true;
}

static void end_unsynced(script *s, comet_log *log, comet_shard *shard) {
    calls_left = 0;
    only_syncs = false;
    check_all(shard, NULL, &s->m);
    comet_shard_close(shard);
    comet_log_close(log);
    platform_use(NULL);
    directory_remove(s->directory);
    model_free(&s->m);
}

/* The system takes for written what it could not write: only what is written once more is durable. */
static void sync_now(script *s, comet_shard *shard) {
    data_written = 0;
    OK(comet_shard_sync(shard, &error));
    assert_int_equal(durable_offset(shard), s->m.count);
    assert_true(data_written >= stored_bytes(s, SYNCED, s->m.count));
}

static void what_a_failed_sync_left_is_written_again(void **state) {
    platform_calls table = faulty();
    uint64_t n = 0;
    bool was_hit;
    (void)state;

    do {
        script s = {.settings = UNSYNCED};
        comet_shard *shard;
        comet_log *log;
        comet_status status;
        platform_use(&table);
        begin_unsynced(&s, &log, &shard);
        calls_left = ++n;
        status = comet_shard_sync(shard, &error);
        was_hit = fault_hit;
        assert_int_equal(status, was_hit ? COMET_IO : COMET_OK);
        if (was_hit) {
            assert_int_equal(durable_offset(shard), SYNCED);
            sync_now(&s, shard);
            OK(run_txn(&s, shard, 10));
            OK(comet_shard_sync(shard, &error));
            assert_int_equal(durable_offset(shard), s.m.count);
        }
        end_unsynced(&s, log, shard);
    } while (was_hit);
    assert_true(n > 4); /* data and index of two segments */
    print_message("%llu failed syncs made good\n", (unsigned long long)n - 1);
}

/* Whoever opens the log next knows of the failure. */
static void another_process_writes_it_again(void **state) {
    platform_calls table = faulty();
    script s = {.settings = UNSYNCED};
    comet_shard *shard;
    comet_log *log;
    (void)state;

    platform_use(&table);
    begin_unsynced(&s, &log, &shard);
    fault_lasts = true;
    calls_left = 1;
    STATUS(comet_shard_sync(shard, &error), COMET_IO);
    comet_shard_close(shard);
    comet_log_close(log);
    calls_left = 0;
    log = log_make(s.directory, 0, NULL);
    OK(comet_shard_open(log, 1, false, &shard, &error));
    assert_int_equal(durable_offset(shard), SYNCED);
    sync_now(&s, shard);
    end_unsynced(&s, log, shard);
}

/* Where the bytes of an entry of the first data file stand. */
static uint64_t place_of(const char *path, size_t entry) {
    int fd = open(path, O_RDONLY);
    uint64_t at = 0;

    assert_true(fd >= 0);
    for (size_t i = 0; i < entry; i++) {
        uint32_t stored;
        assert_int_equal(pread(fd, &stored, sizeof stored, (off_t)at), sizeof stored);
        at += 12 + stored;
    }
    (void)close(fd);
    return at + 12;
}

/* A page that was dropped is read from the disk again, which has something else there. */
static void what_was_dropped_is_not_called_durable(void **state) {
    platform_calls table = faulty();
    script s = {.settings = UNSYNCED};
    char path[PATH_ROOM];
    comet_shard *shard;
    comet_log *log;
    unsigned char bytes[8];
    (void)state;

    platform_use(&table);
    begin_unsynced(&s, &log, &shard);
    calls_left = 1;
    STATUS(comet_shard_sync(shard, &error), COMET_IO);
    file_path(path, s.directory, "shard-0001/log-0000000000000001.comet");
    file_write(path, place_of(path, SYNCED), "dropped!", 8);
    STATUS(comet_shard_sync(shard, &error), COMET_CORRUPT);
    assert_int_equal(durable_offset(shard), SYNCED);
    content_fill(bytes, sizeof bytes, s.m.entries[SYNCED].seed);
    file_write(path, place_of(path, SYNCED), bytes, sizeof bytes);
    end_unsynced(&s, log, shard);
}

/* sync=full: on an error a transaction is as before, and may be prepared again. */
static void prepared_again_is_written_again(void **state) {
    platform_calls table = faulty();
    script s = {.settings = UNSYNCED " sync=full"};
    comet_shard *shard;
    comet_log *log;
    comet_txn *txn;
    (void)state;

    platform_use(&table);
    begin_unsynced(&s, &log, &shard);
    OK(comet_shard_sync(shard, &error));
    OK(comet_log_configure(log, "sync", "full", &error));
    OK(comet_txn_begin(shard, &txn, &error));
    OK(run_appends(txn, s.m.count, 10));
    calls_left = 1;
    STATUS(comet_txn_prepare(txn, &error), COMET_IO);
    data_written = 0;
    OK(comet_txn_prepare(txn, &error));
    for (size_t i = 0; i < 10; i++) {
        model_entry entry = entry_at(s.m.count);
        model_add(&s.m, entry.timestamp, entry.size, entry.seed);
    }
    assert_true(data_written >= stored_bytes(&s, s.m.count - 10, s.m.count));
    comet_txn_publish(txn);
    assert_int_equal(durable_offset(shard), s.m.count);
    end_unsynced(&s, log, shard);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_output_fails),
        cmocka_unit_test(disk_is_full),
        cmocka_unit_test(memory_is_short),
        cmocka_unit_test(what_a_failed_sync_left_is_written_again),
        cmocka_unit_test(another_process_writes_it_again),
        cmocka_unit_test(what_was_dropped_is_not_called_durable),
        cmocka_unit_test(prepared_again_is_written_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
