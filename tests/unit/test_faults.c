/* test_faults.c -- without it a full disk, a failing one or a lack of memory at the wrong moment could
** cost committed entries, leave half a transaction, or a log that cannot be opened again. */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "platform.h"

/* ---- A platform whose N-th call fails ---- */

static uint64_t calls_left; /* 0: no fault to come */
static int fault_errno;
static bool fault_hit;

static int fault(void) {
    if (calls_left > 0 && --calls_left == 0) {
        fault_hit = true;
        return -fault_errno;
    }
    return 0;
}

#define WRAP(type, name, parameters, arguments)                                                    \
    static type name parameters {                                                                  \
        int result = fault();                                                                      \
        return result != 0 ? result : platform_system.name arguments;                              \
    }

WRAP(int, open_file, (const char *path, unsigned mode), (path, mode))
WRAP(int, file_info, (int fd, platform_info *info), (fd, info))
WRAP(int64_t, file_size, (int fd), (fd))
WRAP(int, path_info, (const char *path, platform_info *info), (path, info))
WRAP(int, read_at, (int fd, void *to, size_t size, uint64_t at), (fd, to, size, at))
WRAP(int, write_at, (int fd, const void *from, size_t size, uint64_t at), (fd, from, size, at))
WRAP(int, truncate_file, (int fd, uint64_t size), (fd, size))
WRAP(int, allocate, (int fd, uint64_t at, uint64_t length), (fd, at, length))
WRAP(int, sync_file, (int fd), (fd))
WRAP(int, sync_directory, (const char *path), (path))
WRAP(int, map, (int fd, uint64_t at, size_t length, bool writable, void **address),
     (fd, at, length, writable, address))
WRAP(int, populate, (void *address, size_t length), (address, length))
WRAP(int, rename_file, (const char *from, const char *to), (from, to))
WRAP(int, remove_file, (const char *path), (path))
WRAP(int, make_directory, (const char *path), (path))
WRAP(int, list_directory, (const char *path, platform_visit visit, void *context),
     (path, visit, context))
WRAP(int, absolute_path, (const char *path, char *absolute, size_t size), (path, absolute, size))
WRAP(int, lock_byte, (int fd, uint64_t byte), (fd, byte))

static platform_calls faulty(void) {
    platform_calls table = platform_system;

    table.open_file = open_file;
    table.file_info = file_info;
    table.file_size = file_size;
    table.path_info = path_info;
    table.read_at = read_at;
    table.write_at = write_at;
    table.truncate_file = truncate_file;
    table.allocate = allocate;
    table.sync_file = sync_file;
    table.sync_directory = sync_directory;
    table.map = map;
    table.populate = populate;
    table.rename_file = rename_file;
    table.remove_file = remove_file;
    table.make_directory = make_directory;
    table.list_directory = list_directory;
    table.absolute_path = absolute_path;
    table.lock_byte = lock_byte;
    return table;
}

static void *failing_resize(void *memory, size_t size) {
    return fault() != 0 ? NULL : realloc(memory, size);
}

/* ---- The script ---- */

#define SETTINGS "max_file_size=4KiB boundary_interval=3 upkeep=manual min_compress_size=300"

typedef struct script {
    char directory[PATH_ROOM];
    const char *settings;
    model m;          /* of what is committed */
    size_t in_flight; /* entries of m that may be there or not */
} script;

static model_entry entry_at(size_t at) {
    model_entry entry = {(int64_t)(at + 5), at % 7 == 3 ? 900 : at % 50, at};
    return entry;
}

/* One transaction with savepoints; on the way out it is either published or rolled back. */
static comet_status run_txn(script *s, comet_shard *shard, size_t count) {
    comet_txn *txn;
    comet_status status = comet_txn_begin(shard, &txn, &error);
    uint64_t offset;
    size_t before = s->m.count;

    if (status != COMET_OK) {
        return status;
    }
    if (comet_txn_end(txn) != s->m.count) {
        fail_msg("begins at %llu, not %zu", (unsigned long long)comet_txn_end(txn), s->m.count);
    }
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

static comet_status run_read(script *s, comet_shard *shard) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status = comet_cursor_open(shard, &cursor, &error);
    size_t at = 0;

    if (status != COMET_OK) {
        return status;
    }
    comet_range_init(&range);
    range.by_time = true;
    range.time_first = 1;
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

static comet_status run_session(script *s, comet_log *log) {
    static const size_t counts[] = {4, 7, 20, 31, 2};
    comet_shard *shard;
    comet_status status = comet_shard_open(log, 1, true, &shard, &error);

    if (status != COMET_OK) {
        return status;
    }
    for (size_t i = 0; i < sizeof counts / sizeof *counts && status == COMET_OK; i++) {
        status = run_txn(s, shard, counts[i]);
        if (status == COMET_OK && i == 2) {
            status = comet_shard_sync(shard, &error);
        }
        if (status == COMET_OK) {
            status = run_read(s, shard);
        }
    }
    comet_shard_close(shard);
    return status;
}

static comet_status run_script(script *s) {
    comet_status status = COMET_OK;

    for (unsigned session = 0; session < 2 && status == COMET_OK; session++) {
        comet_settings settings;
        comet_log *log;
        settings_parse(&settings, s->settings);
        status = comet_log_open(s->directory, COMET_OPEN_CREATE, &settings, &log, &error);
        if (status == COMET_OK) {
            status = run_session(s, log);
            comet_log_close(log);
        }
    }
    return status;
}

/* Without faults now: everything committed is there, nothing else, and work goes on. */
static void check_script(script *s, bool reboot) {
    comet_log *log = log_make(s->directory, COMET_OPEN_CREATE, s->settings);
    comet_shard *shard;

    OK(comet_shard_open(log, 1, true, &shard, &error));
    if (reboot) {
        comet_shard_close(shard);
        simulate_reboot(s->directory, 1);
        OK(comet_shard_open(log, 1, true, &shard, &error));
    }
    check_all(shard, NULL, &s->m);
    OK(run_txn(s, shard, 10));
    check_all(shard, NULL, &s->m);
    comet_shard_close(shard);
    comet_log_close(log);
}

static uint64_t run_all(const char *settings, int reason, bool memory) {
    static const comet_allocator failing = {failing_resize, free};
    platform_calls table = faulty();
    uint64_t n = 0;

    fault_errno = reason;
    do {
        script s = {.settings = settings};
        comet_status status;
        directory_make(s.directory);
        if (memory) {
            STATUS(comet_set_allocator(&failing), COMET_OK);
        } else {
            platform_use(&table);
        }
        fault_hit = false;
        calls_left = ++n;
        status = run_script(&s);
        calls_left = 0;
        platform_use(NULL);
        STATUS(comet_set_allocator(NULL), COMET_OK);
        if (!fault_hit) {
            OK(status);
        }
        check_script(&s, n % 3 == 0);
        directory_remove(s.directory);
        model_free(&s.m);
    } while (fault_hit);
    return n - 1;
}

static void report(const char *what, uint64_t count) {
    print_message("%llu fault points: %s\n", (unsigned long long)count, what);
    assert_true(count > 30);
}

/* Go's defect W32: entries are dropped where beginning the next file fails. Go's defect W49: a
** mapping that could not be renewed is used. */
static void input_output_fails(void **state) {
    (void)state;
    report("EIO", run_all(SETTINGS, EIO, false));
}

/* Go's defect W20: after the disk was full all appends fail, or an entry is torn, though there is
** room again. */
static void disk_is_full(void **state) {
    (void)state;
    report("ENOSPC, sync=full", run_all(SETTINGS " sync=full", ENOSPC, false));
}

static void memory_is_short(void **state) {
    (void)state;
    report("allocations", run_all(SETTINGS, ENOMEM, true));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(input_output_fails),
        cmocka_unit_test(disk_is_full),
        cmocka_unit_test(memory_is_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
