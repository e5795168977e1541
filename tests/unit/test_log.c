/* test_log.c -- without it settings might be forgotten or contradict each other, a stray directory be
** taken for a shard, a fork() wreck the parent's log, or commits never become durable. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform.h"

static char directory[PATH_ROOM];

static int setup(void **state) {
    (void)state;
    directory_make(directory);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    directory_remove(directory);
    return 0;
}

static void commit_one(comet_shard *shard) {
    comet_txn *txn;
    uint64_t offset;

    OK(comet_txn_begin(shard, &txn, &error));
    OK(comet_txn_append(txn, "one", 3, 1, &offset, &error));
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
}

static int64_t setting_of(comet_log *log, comet_setting setting) {
    int64_t value = -1;
    OK(comet_log_setting(log, setting, &value, &error));
    return value;
}

static void settings_are_kept(void **state) {
    comet_log *log = log_make(directory, 0, "max_file_size=1MiB upkeep=manual");
    comet_log *second = log_make(directory, 0, NULL);
    comet_settings other;
    comet_log *refused = NULL;
    (void)state;

    assert_string_equal(comet_log_directory(log), comet_log_directory(second));
    assert_int_equal(setting_of(second, COMET_MAX_FILE_SIZE), 1 << 20);
    settings_parse(&other, "max_file_size=2MiB");
    STATUS(comet_log_open(directory, 0, &other, &refused, &error), COMET_CONFLICT);
    assert_null(refused);
    comet_log_close(log);
    OK(comet_log_open(directory, 0, &other, &refused, &error)); /* nobody contradicts any more */
    assert_int_equal(setting_of(second, COMET_MAX_FILE_SIZE), 2 << 20);
    OK(comet_log_configure(second, "boundary_interval", "7", &error));
    STATUS(comet_log_configure(second, "boundary_interval", "none", &error), COMET_INVALID);
    STATUS(comet_log_configure(second, "no_such", "1", &error), COMET_NOT_FOUND);
    comet_log_close(refused);
    comet_log_close(second);
    log = log_make(directory, 0, NULL);
    assert_int_equal(setting_of(log, COMET_MAX_FILE_SIZE), 2 << 20);
    assert_int_equal(setting_of(log, COMET_BOUNDARY_INTERVAL), 7);
    assert_int_equal(setting_of(log, COMET_UPKEEP), COMET_UPKEEP_THREAD); /* not stored */
    comet_log_close(log);
}

/* Go's defect W10: a reader's index.bin replaces the writer's. */
static void readonly_writes_nothing(void **state) {
    comet_log *log = log_make(directory, COMET_OPEN_READONLY, NULL);
    comet_shard *shard;
    comet_txn *txn;
    (void)state;

    STATUS(comet_shard_open(log, 1, true, &shard, &error), COMET_NOT_FOUND);
    STATUS(comet_log_configure(log, "max_file_size", "1MiB", &error), COMET_READONLY);
    assert_int_equal(file_count(directory, ""), 2);
    comet_log *writer = log_make(directory, 0, NULL);
    comet_shard *written;
    OK(comet_shard_open(writer, 1, true, &written, &error));
    commit_one(written);
    OK(comet_shard_open(log, 1, false, &shard, &error));
    STATUS(comet_txn_begin(shard, &txn, &error), COMET_READONLY);
    comet_shard_info info;
    OK(comet_shard_describe(shard, &info, &error));
    assert_int_equal(info.end_offset, 1);
    commit_one(written); /* and it goes along */
    OK(comet_shard_describe(shard, &info, &error));
    assert_int_equal(info.end_offset, 2);
    comet_shard_close(shard);
    comet_shard_close(written);
    comet_log_close(writer);
    comet_log_close(log);
}

/* Go's defect W59: shard-12345 is taken for 1234, and shard-0007-backup for a second 7. */
static bool may_not_write(const char *path) {
    (void)path;
    return false;
}

/* A dashboard that runs as somebody else reads, and is told so when it writes. */
static void anothers_log_is_read(void **state) {
    comet_log *log = log_make(directory, COMET_OPEN_CREATE, NULL);
    platform_calls table = platform_system;
    comet_shard_info info;
    comet_shard *shard;
    comet_txn *txn;
    (void)state;

    OK(comet_shard_open(log, 0, true, &shard, &error));
    commit_one(shard);
    comet_shard_close(shard);
    comet_log_close(log);
    table.may_write = may_not_write;
    platform_use(&table);
    log = log_make(directory, 0, NULL);
    OK(comet_shard_open(log, 0, false, &shard, &error));
    OK(comet_shard_describe(shard, &info, &error));
    assert_int_equal(info.end_offset, 1);
    STATUS(comet_txn_begin(shard, &txn, &error), COMET_READONLY);
    STATUS(comet_log_configure(log, "max_age", "1h", &error), COMET_READONLY);
    comet_shard_close(shard);
    comet_log_close(log);
    platform_use(NULL);
}

static void only_shards_are_shards(void **state) {
    static const char *const strays[] = {"shard-0007-backup", "shard-7",   "shard-00012", "shard-",
                                         "shard-99999999999", "Shard-0001"};
    comet_log *log = log_make(directory, 0, NULL);
    comet_shard *shard;
    uint32_t *ids;
    size_t count;
    char path[PATH_ROOM];
    (void)state;

    OK(comet_log_shards(log, &ids, &count, &error));
    assert_int_equal(count, 0);
    comet_free(ids);
    for (size_t i = 0; i < sizeof strays / sizeof *strays; i++) {
        file_path(path, directory, strays[i]);
        assert_int_equal(mkdir(path, 0700), 0);
    }
    file_path(path, directory, "shard-0008"); /* a file with a shard's name */
    file_fill(path, 1, 10);
    STATUS(comet_shard_open(log, 7, false, &shard, &error), COMET_NOT_FOUND);
    for (unsigned i = 0; i < 3; i++) {
        OK(comet_shard_open(log, (const uint32_t[]){12345, 7, UINT32_MAX}[i], true, &shard,
                            &error));
        commit_one(shard);
        comet_shard_close(shard);
    }
    OK(comet_log_shards(log, &ids, &count, &error));
    assert_int_equal(count, 3);
    assert_int_equal(ids[0], 7);
    assert_int_equal(ids[1], 12345);
    assert_int_equal(ids[2], UINT32_MAX);
    comet_free(ids);
    OK(comet_log_sync(log, &error));
    comet_log_close(log);
}

static void odd_paths_are_told(void **state) {
    char path[PATH_ROOM];
    comet_log *log = NULL;
    (void)state;

    file_path(path, directory, "missing");
    STATUS(comet_log_open(path, 0, NULL, &log, &error), COMET_NOT_FOUND);
    STATUS(comet_log_open(path, COMET_OPEN_READONLY | COMET_OPEN_CREATE, NULL, &log, &error),
           COMET_NOT_FOUND);
    file_write(path, 0, "x", 1);
    STATUS(comet_log_open(path, COMET_OPEN_CREATE, NULL, &log, &error), COMET_INVALID);
    file_path(path, directory, "comet.settings");
    file_write(path, 0, "max_file_size = 1MiB\nnonsense\n", 30);
    STATUS(comet_log_open(directory, 0, NULL, &log, &error), COMET_INVALID);
    assert_non_null(strstr(error.message, "2"));
    assert_null(log);
    comet_log_close(NULL);
}

/* ---- fork ---- */

/* In the child: 0 when all is as it should be, else the number of what was not. */
static int child_check(comet_log *log, comet_shard *shard, comet_cursor *cursor, comet_txn *txn) {
    comet_range range;
    comet_shard_info info;
    comet_log *fresh;
    comet_shard *again;
    comet_txn *other;
    uint64_t offset;

    comet_range_init(&range);
    if (comet_txn_append(txn, "x", 1, 1, &offset, NULL) != COMET_MISUSE ||
        comet_txn_prepare(txn, NULL) != COMET_MISUSE ||
        comet_txn_savepoint(txn, 0, NULL) != COMET_MISUSE ||
        comet_txn_begin(shard, &other, NULL) != COMET_MISUSE) {
        return 1;
    }
    if (comet_shard_describe(shard, &info, NULL) != COMET_MISUSE ||
        comet_shard_sync(shard, NULL) != COMET_MISUSE ||
        comet_shard_open(log, 5, true, &again, NULL) != COMET_MISUSE ||
        comet_log_sync(log, NULL) != COMET_MISUSE ||
        comet_cursor_seek(cursor, NULL, &range, NULL) != COMET_MISUSE) {
        return 2;
    }
    comet_txn_rollback_to(txn, 0);
    comet_txn_publish(txn);
    comet_txn_rollback(txn);
    comet_shard_close(shard);
    comet_log_close(log);
    if (comet_log_open(directory, 0, NULL, &fresh, NULL) != COMET_OK ||
        comet_shard_open(fresh, 0, false, &again, NULL) != COMET_OK) {
        return 3;
    }
    if (comet_txn_begin(again, &other, NULL) != COMET_BUSY) {
        return 4;
    }
    if (comet_shard_describe(again, &info, NULL) != COMET_OK || info.end_offset != 1) {
        return 5;
    }
    comet_shard_close(again);
    comet_log_close(fresh);
    return 0;
}

static void fork_leaves_the_parent_alone(void **state) {
    comet_log *log = log_make(directory, 0, NULL);
    comet_shard *shard;
    comet_cursor *cursor;
    comet_txn *txn;
    comet_shard_info info;
    uint64_t offset;
    int status;
    pid_t child;
    (void)state;

    OK(comet_shard_open(log, 0, true, &shard, &error));
    OK(comet_cursor_open(shard, &cursor, &error));
    commit_one(shard);
    OK(comet_txn_begin(shard, &txn, &error));
    OK(comet_txn_append(txn, "two", 3, 2, &offset, &error));
    child = fork();
    if (child == 0) {
        _exit(child_check(log, shard, cursor, txn));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    OK(comet_txn_append(txn, "three", 5, 3, &offset, &error));
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    OK(comet_shard_describe(shard, &info, &error));
    assert_int_equal(info.end_offset, 3);
    comet_cursor_close(cursor);
    comet_shard_close(shard);
    comet_log_close(log);
}

/* ---- Upkeep ---- */

static unsigned threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    unsigned count = 0;

    assert_non_null(tasks);
    while (readdir(tasks) != NULL) {
        count++;
    }
    closedir(tasks);
    return count - 2;
}

/* Go's defect W31: a checkpoint neither writes nor syncs entries. */
static void upkeep_makes_durable(void **state) {
    static const char *const settings[] = {"checkpoint_interval=20ms", "upkeep=manual",
                                           "sync=full upkeep=manual"};
    unsigned before = threads();
    (void)state;

    for (unsigned way = 0; way < 3; way++) {
        comet_log *log = log_make(directory, 0, settings[way]);
        comet_shard *shard;
        comet_shard_info info;
        OK(comet_shard_open(log, way, true, &shard, &error));
        for (unsigned i = 1; i <= 3; i++) {
            commit_one(shard);
            assert_int_equal(threads(), before + (way == 0 ? 1 : 0));
            if (way == 1) {
                OK(comet_shard_describe(shard, &info, &error));
                /* The first one begins a segment, and is made durable with it. */
                assert_int_equal(info.durable_offset, i == 1 ? 1 : i - 1);
                OK(comet_shard_sync(shard, &error));
            }
            for (unsigned wait = 0; wait < 1000; wait++) {
                const struct timespec moment = {0, 5000000};
                OK(comet_shard_describe(shard, &info, &error));
                if (info.durable_offset == i) {
                    break;
                }
                (void)nanosleep(&moment, NULL);
            }
            assert_int_equal(info.durable_offset, i);
        }
        comet_shard_close(shard);
        comet_log_close(log);
        assert_int_equal(threads(), before);
        char path[PATH_ROOM];
        file_path(path, directory, "comet.settings");
        (void)unlink(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(settings_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(readonly_writes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(anothers_log_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(only_shards_are_shards, setup, teardown),
        cmocka_unit_test_setup_teardown(odd_paths_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(fork_leaves_the_parent_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(upkeep_makes_durable, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
