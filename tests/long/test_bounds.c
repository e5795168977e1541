/* test_bounds.c -- without it a limit could hold after each cleanup and not in between, or the counters
** could tell another story than the log.
**
** $COMET_BOUNDS_MB are written through a log that is limited to LIMIT_MIB while a slow consumer in another
** process acknowledges; a third one looks at the disk all the time.  And 1,000 segments are deleted
** while a writer goes on: how long it had to wait is told. */
#include "loaded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB (1024LL * 1024)
#define LIMIT_MIB 64
#define SEGMENT_MIB 4
/* Beside its data a segment has an index, and room is allocated ahead of both. */
#define SEGMENT_BYTES (2 * SEGMENT_MIB * MIB + MIB / 2)
#define ENTRY_BYTES 1000
#define BATCH_ENTRIES 1000
#define SAMPLE_NS 5000000

static char directory[512];
static char message[LOADED_MESSAGE_BYTES];

static int setup(void **state) {
    (void)state;
    return loaded_directory(directory, sizeof directory) ? 0 : 1;
}

static int teardown(void **state) {
    (void)state;
    loaded_remove(directory);
    return 0;
}

static int64_t now_ns(void) {
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void pause_ns(long nanoseconds) {
    struct timespec time = {nanoseconds / 1000000000, nanoseconds % 1000000000};

    nanosleep(&time, NULL);
}

/* ---- The disk ---- */

static long long disk_bytes(void) {
    char path[600];
    DIR *listed;
    struct dirent *entry;
    long long sum = 0;

    snprintf(path, sizeof path, "%s/log/shard-0000", directory);
    listed = opendir(path);
    while (listed != NULL && (entry = readdir(listed)) != NULL) {
        struct stat info;
        if (entry->d_name[0] != '.' && fstatat(dirfd(listed), entry->d_name, &info, 0) == 0) {
            sum += (long long)info.st_blocks * 512;
        }
    }
    if (listed != NULL) {
        closedir(listed);
    }
    return sum;
}

/* What the processes share. */
typedef struct shared {
    atomic_bool ends;
    atomic_llong most_bytes;
    atomic_llong longest_gap_ns; /* between two looks at the disk */
    atomic_llong looks;
} shared;

static _Noreturn void look_at_disk(shared *all) {
    int64_t before = now_ns();

    while (!atomic_load(&all->ends) && getppid() != 1) {
        long long bytes = disk_bytes();
        int64_t at = now_ns();
        if (bytes > atomic_load(&all->most_bytes)) {
            atomic_store(&all->most_bytes, bytes);
        }
        if (at - before > atomic_load(&all->longest_gap_ns)) {
            atomic_store(&all->longest_gap_ns, at - before);
        }
        before = at;
        atomic_fetch_add(&all->looks, 1);
        pause_ns(SAMPLE_NS);
    }
    _exit(0);
}

/* Acknowledges, now and then, half of what is pending. */
static _Noreturn void consume_slowly(const shared *all) {
    sqlite3 *db = loaded_open(message);

    while (db != NULL && !atomic_load(&all->ends) && getppid() != 1) {
        if (loaded_run(db, message,
                       "SELECT comet_ack('%q/log', 'slow', 0, \"offset\" + lag / 2 - 1)"
                       " FROM comet_groups('%q/log') WHERE lag > 1",
                       directory, directory) != 0) {
            fprintf(stderr, "consumer: %s\n", message);
            _exit(1);
        }
        pause_ns(20000000);
    }
    sqlite3_close(db);
    _exit(0);
}

static long long number(sqlite3 *db, const char *sql) {
    sqlite3_stmt *statement;
    char *made = sqlite3_mprintf(sql, directory, directory);
    long long value;

    assert_int_equal(sqlite3_prepare_v2(db, made, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_free(made);
    return value;
}

/* Write so many batches; a batch that finds the log full is tried again.  How often that was. */
static long long write_batches(sqlite3 *db, long long batches) {
    long long refusals = 0;

    for (long long i = 0; i < batches;) {
        int rc = loaded_run(
            db, message,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
            " INSERT INTO temp.t(data) SELECT zeroblob(%d) FROM n",
            BATCH_ENTRIES, ENTRY_BYTES);
        if (rc == SQLITE_FULL) {
            refusals++;
            pause_ns(1000000);
            continue;
        }
        if (rc != SQLITE_OK) {
            fail_msg("batch %lld: %s", i, message);
        }
        i++;
    }
    return refusals;
}

static void hold_bounds(const char *when_full) {
    long long batches =
        (long long)loaded_setting("COMET_BOUNDS_MB", 150) * 1000000 / (BATCH_ENTRIES * ENTRY_BYTES);
    shared *all =
        mmap(NULL, sizeof *all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long long refusals;
    long long written;
    pid_t watcher;
    pid_t consumer;
    int status;
    sqlite3 *db;

    assert_true(all != MAP_FAILED);
    fflush(NULL);
    watcher = fork();
    if (watcher == 0) {
        look_at_disk(all);
    }
    db = loaded_open(message);
    assert_non_null(db);
    assert_int_equal(loaded_run(db, message,
                                "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='%q/log',"
                                " max_file_size='%dMiB', max_shard_size='%dMiB', when_full=%s,"
                                " min_compress_size='1GiB')",
                                directory, SEGMENT_MIB, LIMIT_MIB, when_full),
                     0);
    write_batches(db, 1);
    assert_int_equal(loaded_run(db, message, "SELECT comet_ack('t', 'slow', 0, 0)"), 0);
    fflush(NULL);
    consumer = fork();
    if (consumer == 0) {
        consume_slowly(all);
    }
    refusals = write_batches(db, batches - 1);
    atomic_store(&all->ends, true);
    assert_int_equal(waitpid(watcher, &status, 0), watcher);
    assert_int_equal(status, 0);
    assert_int_equal(waitpid(consumer, &status, 0), consumer);
    assert_int_equal(status, 0);
    printf(
        "%s: %lld MB written, at most %lld KiB on disk (limit %d KiB + one segment), %lld looks, "
        "longest gap %lld ms, %lld batches refused\n",
        when_full, batches * BATCH_ENTRIES * ENTRY_BYTES / 1000000,
        atomic_load(&all->most_bytes) / 1024, LIMIT_MIB * 1024, atomic_load(&all->looks),
        atomic_load(&all->longest_gap_ns) / 1000000, refusals);
    assert_true(atomic_load(&all->most_bytes) <= LIMIT_MIB * MIB + SEGMENT_BYTES);
    /* Each entry was either deleted or is there; the group has acknowledged, missed or yet to read it. */
    written = batches * BATCH_ENTRIES;
    assert_int_equal(number(db, "SELECT max(last_offset) + 1 FROM comet_segments('%q/log')"),
                     written);
    assert_int_equal(
        number(db, "SELECT sum(entries) + min(first_offset) FROM comet_segments('%q/log')"),
        written);
    assert_int_equal(number(db, "SELECT acknowledged + skipped + lag FROM comet_groups('%q/log')"),
                     written);
    assert_true(strcmp(when_full, "reject") != 0 ||
                number(db, "SELECT skipped FROM comet_groups('%q/log')") == 0);
    sqlite3_close(db);
    munmap(all, sizeof *all);
}

static void drop_oldest_holds_its_bounds(void **state) {
    (void)state;
    hold_bounds("drop_oldest");
}

static void reject_holds_its_bounds(void **state) {
    (void)state;
    hold_bounds("reject");
}

/* ---- How long a writer waits while segments are deleted ---- */

static void *delete_all(void *context) {
    sqlite3 *db = loaded_open(context);

    if (db != NULL) {
        loaded_run(db, context, "SELECT comet_retention('%q/log')", directory);
        sqlite3_close(db);
    }
    return NULL;
}

static void deleting_many_holds_up_nobody(void **state) {
    static char other[LOADED_MESSAGE_BYTES];
    long long segments = (long long)loaded_setting("COMET_BOUNDS_SEGMENTS", 200);
    int64_t longest = 0;
    pthread_t thread;
    long long before;
    sqlite3 *db = loaded_open(message);
    (void)state;

    assert_non_null(db);
    assert_int_equal(
        loaded_run(db, message,
                   "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='%q/log', sync=off,"
                   " max_file_size='16KiB', min_compress_size='1GiB')",
                   directory),
        0);
    while ((before = number(db, "SELECT count(*) FROM comet_segments('%q/log')")) <= segments) {
        write_batches(db, 1);
    }
    assert_int_equal(
        loaded_run(db, message, "SELECT comet_retention('t', 'max_shard_size', '64KiB')"), 0);
    other[0] = '\0';
    assert_int_equal(pthread_create(&thread, NULL, delete_all, other), 0);
    for (int i = 0; i < 2000; i++) {
        int64_t begun = now_ns();
        int64_t took;
        assert_int_equal(loaded_run(db, message, "INSERT INTO temp.t(data) VALUES ('x')"), 0);
        took = now_ns() - begun;
        longest = took > longest ? took : longest;
    }
    pthread_join(thread, NULL);
    assert_string_equal(other, "");
    assert_in_range(number(db, "SELECT count(*) FROM comet_segments('%q/log')"), 1, 10);
    printf("%lld segments deleted, a writer waited at most %.1f ms for one INSERT\n", before,
           (double)longest / 1e6);
    sqlite3_close(db);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(drop_oldest_holds_its_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(reject_holds_its_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(deleting_many_holds_up_nobody, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
