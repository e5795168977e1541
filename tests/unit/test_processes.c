/* test_processes.c -- without it two workers might take themselves for the same one, a killed writer
** leave a shard that nobody can write, or a closing one fail a writer that has nothing to do with it. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform.h"
#include "state.h"

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

/* "<directory>/shard-<id>/<name>" */
static const char *shard_file(uint32_t id, const char *name) {
    static char path[PATH_ROOM + 64];

    (void)snprintf(path, sizeof path, "%s/shard-%04u/%s", directory, id, name);
    return path;
}

#define FIRST_DATA "log-0000000000000001.comet"

/* ---- Children ---- */

/* A forked process that works on request: one byte to it, one number back. */
typedef struct worker {
    pid_t pid;
    int requests;
    int answers;
} worker;

#define WORKER_END '\0'

typedef int64_t (*worker_answer)(char request);

static worker worker_start(worker_answer answer) {
    int requests[2];
    int answers[2];
    worker made;

    assert_int_equal(pipe(requests), 0);
    assert_int_equal(pipe(answers), 0);
    made.pid = fork();
    if (made.pid == 0) {
        char request;
        (void)close(requests[1]);
        (void)close(answers[0]);
        while (read(requests[0], &request, 1) == 1 && request != WORKER_END) {
            int64_t number = answer(request);
            if (write(answers[1], &number, sizeof number) != sizeof number) {
                break;
            }
        }
        _exit(0);
    }
    (void)close(requests[0]);
    (void)close(answers[1]);
    made.requests = requests[1];
    made.answers = answers[0];
    return made;
}

static int64_t worker_ask(const worker *w, char request) {
    int64_t number = INT64_MIN;

    assert_int_equal(write(w->requests, &request, 1), 1);
    assert_int_equal(read(w->answers, &number, sizeof number), sizeof number);
    return number;
}

static void worker_end(const worker *w, bool by_kill) {
    int status;

    if (by_kill) {
        (void)kill(w->pid, SIGKILL);
    } else { /* end of file would not do: later workers have the pipe too */
        const char request = WORKER_END;
        assert_int_equal(write(w->requests, &request, 1), 1);
    }
    (void)close(w->requests);
    assert_int_equal(waitpid(w->pid, &status, 0), w->pid);
    assert_int_equal(WIFSIGNALED(status), by_kill);
    (void)close(w->answers);
}

/* ---- Slots ---- */

#define SLOT_SETTINGS "process_count=3 upkeep=manual"
#define NO_SLOT_LEFT (-1)

/* 's': take a slot; 'r': release it; 'c': close the log; 'i': the process_id in force. */
static int64_t slot_answer(char request) {
    static comet_log *log;
    int64_t slot = 0;
    bool held = false;

    if (log == NULL) {
        log = log_make(directory, 0, SLOT_SETTINGS);
    }
    switch (request) {
    case 's':
        return comet_process_id(log, &slot, &error) == COMET_OK ? slot : NO_SLOT_LEFT;
    case 'r':
        OK(comet_process_release(log, &held, &error));
        return held;
    case 'i':
        OK(comet_log_setting(log, COMET_PROCESS_ID, &slot, &error));
        return slot;
    default:
        comet_log_close(log);
        log = NULL;
        return 0;
    }
}

/* Go's defect W56: a process holds two slots, or one that closes frees another's. */
static void slots_are_unique_and_come_back(void **state) {
    worker w[4];
    (void)state;

    for (int i = 0; i < 4; i++) {
        w[i] = worker_start(slot_answer);
        assert_int_equal(worker_ask(&w[i], 'i'), -1); /* no number before it asks */
        assert_int_equal(worker_ask(&w[i], 's'), i < 3 ? i : NO_SLOT_LEFT);
        assert_int_equal(worker_ask(&w[i], 's'), i < 3 ? i : NO_SLOT_LEFT);
        assert_int_equal(worker_ask(&w[i], 'i'), i < 3 ? i : -1);
    }
    worker_end(&w[1], true);
    assert_int_equal(worker_ask(&w[3], 's'), 1); /* reclaimed from the dead */
    assert_int_equal(worker_ask(&w[0], 'r'), 1);
    assert_int_equal(worker_ask(&w[0], 'r'), 0);
    assert_int_equal(worker_ask(&w[0], 'i'), -1);
    w[1] = worker_start(slot_answer);
    assert_int_equal(worker_ask(&w[1], 's'), 0);
    assert_int_equal(worker_ask(&w[0], 's'), NO_SLOT_LEFT);
    assert_int_equal(worker_ask(&w[2], 'c'), 0); /* closing gives it back as well */
    assert_int_equal(worker_ask(&w[0], 's'), 2);
    for (int i = 0; i < 4; i++) {
        worker_end(&w[i], i % 2 == 0);
    }
}

/* What stands in the file is for people: a living process of that number has not got the slot.
** Go's defect W56: a slot is kept, or taken from its holder, by a number that another process
** has. */
static void slot_of_a_reused_process_id(void **state) {
    uint64_t numbers[3] = {(uint64_t)getppid(), 1, (uint64_t)getpid()};
    char path[PATH_ROOM];
    comet_log *log;
    int64_t slot = -1;
    (void)state;

    file_path(path, directory, "comet.processes");
    file_write(path, 0, numbers, sizeof numbers);
    log = log_make(directory, 0, SLOT_SETTINGS);
    OK(comet_process_id(log, &slot, &error));
    assert_int_equal(slot, 0);
    comet_log_close(log);
    file_fill(path, 7, 5); /* nor does it matter what else stands there */
    log = log_make(directory, 0, NULL);
    OK(comet_process_id(log, &slot, &error));
    assert_int_equal(slot, 0);
    comet_log_close(log);
}

static int64_t own_id(comet_log *log) {
    int64_t value = -2;
    OK(comet_log_setting(log, COMET_PROCESS_ID, &value, &error));
    return value;
}

static void slot_and_process_id_agree(void **state) {
    comet_log *log = log_make(directory, 0, "process_id=2 process_count=4 upkeep=manual");
    comet_log *other = NULL;
    worker w = worker_start(slot_answer);
    comet_settings settings;
    int64_t slot = -1;
    bool held;
    (void)state;

    assert_int_equal(own_id(log), 2);
    OK(comet_process_id(log, &slot, &error)); /* the slot of that number */
    assert_int_equal(slot, 2);
    assert_int_equal(worker_ask(&w, 's'), 0);
    comet_log_close(log);
    log = log_make(directory, 0, "process_id=0 process_count=3");
    STATUS(comet_process_id(log, &slot, &error), COMET_BUSY);
    assert_non_null(strstr(error.message, "slot 0"));
    comet_log_close(log);

    log = log_make(directory, 0, "process_count=3");
    OK(comet_process_id(log, &slot, &error));
    assert_int_equal(slot, 1);
    settings_parse(&settings, "process_id=2");
    STATUS(comet_log_open(directory, 0, &settings, &other, &error), COMET_CONFLICT);
    assert_non_null(strstr(error.message, "slot 1"));
    STATUS(comet_log_configure(log, "process_id", "2", &error), COMET_CONFLICT);
    OK(comet_log_configure(log, "process_id", "1", &error));
    OK(comet_process_release(log, &held, &error));
    OK(comet_log_configure(log, "process_id", "2", &error));
    assert_int_equal(own_id(log), 2);
    comet_log_close(log);
    log = log_make(directory, COMET_OPEN_READONLY, NULL);
    STATUS(comet_process_id(log, &slot, &error), COMET_READONLY);
    comet_log_close(log);
    worker_end(&w, false);
}

/* A slot is the process's, not its children's: they have none, and do not keep it alive either. */
static void forked_child_has_no_slot(void **state) {
    comet_log *log = log_make(directory, 0, SLOT_SETTINGS);
    int64_t slot = -1;
    bool held;
    pid_t child;
    int status;
    (void)state;

    OK(comet_process_id(log, &slot, &error));
    assert_int_equal(slot, 0);
    child = fork();
    if (child == 0) {
        comet_log *fresh = NULL;
        int bad = comet_process_id(log, &slot, NULL) != COMET_MISUSE ||
                  comet_process_release(log, &held, NULL) != COMET_MISUSE;
        comet_log_close(log);
        bad |= comet_log_open(directory, 0, NULL, &fresh, NULL) != COMET_OK;
        bad |= comet_process_id(fresh, &slot, NULL) != COMET_OK || slot != 1;
        _exit(bad ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    comet_log_close(log);

    log = log_make(directory, 0, SLOT_SETTINGS);
    OK(comet_process_id(log, &slot, &error));
    worker idle = worker_start(slot_answer);
    assert_int_equal(worker_ask(&idle, 'i'), -1); /* it is past the fork */
    comet_log_close(log);
    log = log_make(directory, 0, SLOT_SETTINGS);
    OK(comet_process_id(log, &slot, &error));
    assert_int_equal(slot, 0);
    comet_log_close(log);
    worker_end(&idle, false);
}

static comet_status commit(comet_shard *shard, const char *text) {
    comet_txn *txn = NULL;
    comet_status status = comet_txn_begin(shard, &txn, &error);
    uint64_t offset;

    if (status == COMET_OK) {
        OK(comet_txn_append(txn, text, strlen(text), 1, &offset, &error));
        OK(comet_txn_prepare(txn, &error));
        comet_txn_publish(txn);
    }
    return status;
}

/* Without a process_id the first transaction takes a slot, and the owner of a foreign shard is named. */
static void shards_have_owners(void **state) {
    worker w = worker_start(slot_answer);
    comet_log *log = NULL;
    comet_shard *shard[3];
    char named[64];
    (void)state;

    assert_int_equal(worker_ask(&w, 's'), 0);
    log = log_make(directory, 0, SLOT_SETTINGS);
    for (uint32_t i = 0; i < 3; i++) {
        OK(comet_shard_open(log, i, true, &shard[i], &error));
    }
    OK(commit(shard[1], "mine"));
    STATUS(commit(shard[0], "not mine"), COMET_READONLY);
    (void)snprintf(named, sizeof named, "process_id 0 of 3, which is process %d;", (int)w.pid);
    assert_non_null(strstr(error.message, named));
    STATUS(commit(shard[2], "not mine"), COMET_READONLY);
    assert_non_null(strstr(error.message, "process_id 2 of 3; this process is 1"));
    for (uint32_t i = 0; i < 3; i++) {
        comet_shard_close(shard[i]);
    }
    comet_log_close(log);
    worker_end(&w, false);
}

/* What belongs to another process is made durable on request, but neither marked, nor cut, nor is
** its index.bin written: by sync, by close, or by the upkeep thread. Go's defect W10: a process
** that only reads writes index.bin anew from its old copy. */
static void foreign_shards_are_left_alone(void **state) {
    comet_log *log = log_make(directory, 0, "sync=off upkeep=manual");
    comet_shard *shard;
    comet_shard_info info;
    uint64_t size;
    pid_t child;
    int status;
    (void)state;

    OK(comet_shard_open(log, 1, true, &shard, &error));
    OK(commit(shard, "owner's"));
    size = path_size(shard_file(1, FIRST_DATA));
    assert_true(size > 1000); /* not cut while it is open */
    assert_int_equal(unlink(shard_file(1, "index.bin")), 0);
    child = fork();
    if (child == 0) {
        comet_log *other = log_make(directory, 0, "process_id=0 process_count=2 sync=normal");
        OK(comet_shard_open(other, 1, false, &shard, &error));
        OK(comet_shard_sync(shard, &error));
        OK(comet_shard_describe(shard, &info, &error));
        comet_shard_close(shard);
        comet_log_close(other);
        _exit(info.durable_offset == 1 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(path_size(shard_file(1, FIRST_DATA)), size);
    assert_false(file_exists(shard_file(1, "index.bin")));
    comet_shard_close(shard);
    comet_log_close(log);
    assert_int_equal(path_size(shard_file(1, FIRST_DATA)),
                     12 + 7); /* header and bytes: the owner cuts */
    assert_true(file_exists(shard_file(1, "index.bin")));
}

/* ---- Killed at any call ---- */

#define TXN_ENTRIES 7u
#define SCRIPT_TXNS 24u
#define KILL_SETTINGS "max_file_size=4KiB boundary_interval=3 upkeep=manual min_compress_size=1GiB"

static uint64_t calls_left;

static void count_call(void) {
    if (calls_left > 0 && --calls_left == 0) {
        (void)kill(getpid(), SIGKILL);
    }
}

#define DEADLY(name, parameters, arguments)                                                        \
    static int name parameters {                                                                   \
        count_call();                                                                              \
        return platform_system.name arguments;                                                     \
    }

DEADLY(open_file, (const char *path, unsigned mode), (path, mode))
DEADLY(close_file, (int fd), (fd))
DEADLY(write_at, (int fd, const void *from, size_t size, uint64_t at), (fd, from, size, at))
DEADLY(truncate_file, (int fd, uint64_t size), (fd, size))
DEADLY(allocate, (int fd, uint64_t at, uint64_t length), (fd, at, length))
DEADLY(sync_file, (int fd), (fd))
DEADLY(sync_directory, (const char *path), (path))
DEADLY(map, (int fd, uint64_t at, size_t length, bool writable, void **address),
       (fd, at, length, writable, address))
DEADLY(populate, (void *address, size_t length), (address, length))
DEADLY(rename_file, (const char *from, const char *to), (from, to))
DEADLY(remove_file, (const char *path), (path))
DEADLY(make_directory, (const char *path), (path))
DEADLY(lock_byte, (int fd, uint64_t byte), (fd, byte))

static void use_deadly(void) {
    static platform_calls table;

    table = platform_system;
    table.open_file = open_file;
    table.close_file = close_file;
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
    table.lock_byte = lock_byte;
    platform_use(&table);
}

static model_entry script_entry(size_t at) {
    model_entry entry = {(int64_t)at + 5, at * 13 % 120, at};
    return entry;
}

/* Append whole transactions from entry `first` on; every third is taken back first. */
static void script_commit(comet_shard *shard, size_t first, unsigned txns) {
    for (unsigned i = 0; i < 2 * txns; i++) {
        bool kept = i % 2 == 1;
        comet_txn *txn;
        uint64_t offset;
        if (!kept && i % 6 != 0) {
            continue;
        }
        OK(comet_txn_begin(shard, &txn, &error));
        assert_int_equal(comet_txn_end(txn), first);
        for (size_t j = 0; j < TXN_ENTRIES; j++) {
            model_entry entry = script_entry(first + j);
            OK(append_one(txn, &entry, &offset));
        }
        OK(comet_txn_prepare(txn, &error));
        if (kept) {
            comet_txn_publish(txn);
            first += TXN_ENTRIES;
        } else {
            comet_txn_rollback(txn);
        }
    }
}

static void script_run(size_t first) {
    comet_log *log = log_make(directory, 0, KILL_SETTINGS);
    comet_shard *shard;

    OK(comet_shard_open(log, 0, true, &shard, &error));
    script_commit(shard, first, SCRIPT_TXNS);
    comet_shard_close(shard);
    comet_log_close(log);
}

/* What a shard holds: whole transactions, as they were written.  Returns how many entries. */
static size_t check_script(comet_shard *shard) {
    comet_shard_info info;
    model m = {0};
    size_t count;

    OK(comet_shard_describe(shard, &info, &error));
    assert_int_equal(info.end_offset % TXN_ENTRIES, 0);
    for (size_t i = 0; i < info.end_offset; i++) {
        model_entry entry = script_entry(i);
        model_add(&m, entry.timestamp, entry.size, entry.seed);
    }
    count = count_matching(shard, &m);
    assert_int_equal(count, info.end_offset);
    model_free(&m);
    return count;
}

/* One child that dies at its n-th call; true: it came to its end instead. */
static bool die_at(uint64_t n, size_t first) {
    pid_t child = fork();
    int status;

    if (child == 0) {
        use_deadly();
        calls_left = n;
        script_run(first);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
        assert_int_equal(WEXITSTATUS(status), 0);
        return true;
    }
    assert_int_equal(WTERMSIG(status), SIGKILL);
    return false;
}

/* The next writer has the shard at its first try, repaired, whether it comes now or was there all along
** with a warm tail. */
static void killed_at_every_call(void **state) {
    bool finished = false;
    uint64_t n = 0;
    (void)state;

    while (!finished) {
        bool warm = n++ % 2 == 0;
        comet_log *log = NULL;
        comet_shard *shard = NULL;
        size_t before = 0;
        size_t after;
        if (warm) {
            log = log_make(directory, 0, KILL_SETTINGS);
            OK(comet_shard_open(log, 0, true, &shard, &error));
            script_commit(shard, 0, 2);
            before = check_script(shard);
        }
        finished = die_at(n, before);
        if (!warm) {
            log = log_make(directory, 0, KILL_SETTINGS);
            OK(comet_shard_open(log, 0, true, &shard, &error));
        }
        after = check_script(shard);
        assert_true(after >= before);
        script_commit(shard, after, 3);
        assert_int_equal(check_script(shard), after + 3 * TXN_ENTRIES);
        comet_shard_close(shard);
        comet_log_close(log);
        log = log_make(directory, 0, KILL_SETTINGS);
        OK(comet_shard_open(log, 0, false, &shard, &error));
        assert_int_equal(check_script(shard), after + 3 * TXN_ENTRIES);
        comet_shard_close(shard);
        comet_log_close(log);
        directory_remove(directory);
        directory_make(directory);
    }
    print_message("killed at each of %llu calls\n", (unsigned long long)n - 1);
    assert_true(n > 100);
}

/* ---- A take-over that fails ---- */

static bool listing_fails;

static int failing_list(const char *path, platform_visit visit, void *context) {
    return listing_fails ? -EIO : platform_system.list_directory(path, visit, context);
}

static uint64_t recoveries(void) {
    uint64_t counted = 0;
    FILE *file = fopen(shard_file(0, "comet.state"), "rb");

    assert_non_null(file);
    assert_int_equal(fseek(file, STATE_RECOVERY_SUCCESSES, SEEK_SET), 0);
    assert_int_equal(fread(&counted, sizeof counted, 1, file), 1);
    (void)fclose(file);
    return counted;
}

static void die_writing(void) {
    pid_t child = fork();
    int status;

    if (child == 0) {
        comet_log *log = log_make(directory, 0, KILL_SETTINGS);
        comet_shard *shard;
        comet_txn *txn;
        uint64_t offset;
        OK(comet_shard_open(log, 0, false, &shard, &error));
        OK(comet_txn_begin(shard, &txn, &error));
        OK(comet_txn_append(txn, "lost", 4, 1, &offset, &error));
        (void)kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void failed_takeover_is_repeated(void **state) {
    platform_calls table = platform_system;
    comet_log *log = log_make(directory, 0, KILL_SETTINGS);
    comet_shard *shard;
    uint64_t before;
    (void)state;

    OK(comet_shard_open(log, 0, true, &shard, &error));
    OK(commit(shard, "first"));
    table.list_directory = failing_list;
    for (int way = 0; way < 2; way++) {
        die_writing();
        before = recoveries();
        if (way == 0) {
            comet_log_close(log_make(directory, 0, NULL));
            listing_fails = true;
            platform_use(&table);
            STATUS(commit(shard, "second"), COMET_IO);
            listing_fails = false;
        } else {
            comet_shard_close(shard); /* does not repair, and does not forget it either */
            OK(comet_shard_open(log, 0, false, &shard, &error));
        }
        assert_int_equal(recoveries(), before);
        OK(commit(shard, "second"));
        assert_int_equal(recoveries(), before + 1);
    }
    comet_shard_close(shard);
    comet_log_close(log);
}

/* ---- Who looks on ---- */

/* 'b': begin a transaction; 'e': end it. */
static int64_t writer_answer(char request) {
    static comet_log *log;
    static comet_shard *shard;
    static comet_txn *txn;

    if (request == 'b') {
        log = log_make(directory, 0, "upkeep=manual");
        OK(comet_shard_open(log, 0, true, &shard, &error));
        OK(comet_txn_begin(shard, &txn, &error));
    } else {
        comet_txn_rollback(txn);
        comet_shard_close(shard);
        comet_log_close(log);
    }
    return 0;
}

static void who_only_reads_sees_the_writer(void **state) {
    worker w = worker_start(writer_answer);
    comet_shard_info info;
    comet_log *log;
    comet_shard *shard;
    (void)state;

    assert_int_equal(worker_ask(&w, 'b'), 0);
    for (unsigned flags = 0; flags <= COMET_OPEN_READONLY; flags++) {
        log = log_make(directory, flags, NULL);
        OK(comet_shard_open(log, 0, false, &shard, &error)); /* trusted: needs no lock */
        OK(comet_shard_describe(shard, &info, &error));
        assert_int_equal(info.owner, w.pid);
        comet_shard_close(shard);
        comet_log_close(log);
    }
    simulate_reboot(directory, 0);
    log = log_make(directory, 0, NULL);
    STATUS(comet_shard_open(log, 0, false, &shard, &error), COMET_BUSY); /* to be repaired */
    assert_int_equal(worker_ask(&w, 'e'), 0);
    OK(comet_shard_open(log, 0, false, &shard, &error));
    OK(comet_shard_describe(shard, &info, &error));
    assert_int_equal(info.owner, 0);
    comet_shard_close(shard);
    comet_log_close(log);
    worker_end(&w, false);
}

/* ---- Opening and closing among threads ---- */

#define CLOSE_ROUNDS 300u

typedef struct opener {
    comet_log *log;
    uint32_t shard;
    bool writes;
    unsigned failures;
} opener;

static void *open_and_close(void *context) {
    opener *self = context;

    for (unsigned i = 0; i < CLOSE_ROUNDS; i++) {
        comet_shard *shard;
        comet_shard_info info;
        comet_txn *txn;
        uint64_t offset;
        bool good = comet_shard_open(self->log, self->shard, true, &shard, NULL) == COMET_OK;
        if (good && self->writes) {
            good = comet_txn_begin(shard, &txn, NULL) == COMET_OK;
            if (good) {
                good = comet_txn_append(txn, "x", 1, 1, &offset, NULL) == COMET_OK &&
                       comet_txn_prepare(txn, NULL) == COMET_OK;
                comet_txn_publish(txn);
            }
        } else if (good) {
            good = comet_shard_describe(shard, &info, NULL) == COMET_OK &&
                   comet_shard_sync(shard, NULL) == COMET_OK;
        }
        comet_shard_close(shard);
        self->failures += good ? 0 : 1;
    }
    return NULL;
}

/* Closing settles a shard, as its writer; that fails no other thread that writes or reads. Go's
** defect W47: closing unmaps under those who append or read. */
static void closing_disturbs_nobody(void **state) {
    comet_log *log = log_make(directory, 0, "boundary_interval=3 upkeep=manual");
    opener openers[4] = {
        {log, 0, true, 0}, {log, 0, false, 0}, {log, 0, false, 0}, {log, 1, true, 0}};
    pthread_t threads[4];
    (void)state;

    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, open_and_close, &openers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_int_equal(openers[i].failures, 0);
    }
    for (uint32_t id = 0; id < 2; id++) {
        comet_shard *shard;
        comet_shard_info info;
        OK(comet_shard_open(log, id, false, &shard, &error));
        OK(comet_shard_describe(shard, &info, &error));
        assert_int_equal(info.end_offset, CLOSE_ROUNDS);
        /* The last one has cut it. */
        assert_int_equal(path_size(shard_file(id, FIRST_DATA)), CLOSE_ROUNDS * 13);
        comet_shard_close(shard);
    }
    comet_log_close(log);
}

static int sync_delays; /* calls of sync_file that are to stop */
static pthread_mutex_t delay_mutex = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool is_delayed;

static int delayed_sync(int fd) {
    if (sync_delays > 0) {
        sync_delays--;
        atomic_store(&is_delayed, true);
        pthread_mutex_lock(&delay_mutex);
        pthread_mutex_unlock(&delay_mutex);
    }
    return platform_system.sync_file(fd);
}

static void *close_shard(void *shard) {
    comet_shard_close(shard);
    return NULL;
}

/* While a closing shard waits for the disk, the others are opened, written and closed, and it is
** itself opened and read: a lock across the fsync would stop here for ever. Go's defect W48: two
** locks that are taken in two orders stop each other for ever. */
static void closing_holds_nobody_up(void **state) {
    platform_calls table = platform_system;
    comet_log *log = log_make(directory, 0, "upkeep=manual");
    comet_shard *slow;
    comet_shard *other;
    comet_shard_info info;
    pthread_t closer;
    (void)state;

    OK(comet_shard_open(log, 0, true, &slow, &error));
    OK(commit(slow, "one"));
    OK(commit(slow, "two"));
    table.sync_file = delayed_sync;
    platform_use(&table);
    sync_delays = 1;
    atomic_store(&is_delayed, false);
    pthread_mutex_lock(&delay_mutex);
    assert_int_equal(pthread_create(&closer, NULL, close_shard, slow), 0);
    while (!atomic_load(&is_delayed)) {
        (void)sched_yield();
    }
    OK(comet_shard_open(log, 1, true, &other, &error));
    OK(commit(other, "other"));
    comet_shard_close(other);
    OK(comet_shard_open(log, 0, false, &other, &error));
    OK(comet_shard_describe(other, &info, &error));
    assert_int_equal(info.end_offset, 2);
    OK(commit(other, "three"));
    pthread_mutex_unlock(&delay_mutex);
    assert_int_equal(pthread_join(closer, NULL), 0);
    OK(comet_shard_describe(other, &info, &error));
    assert_int_equal(info.end_offset, 3);
    comet_shard_close(other);
    comet_log_close(log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slots_are_unique_and_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(slot_of_a_reused_process_id, setup, teardown),
        cmocka_unit_test_setup_teardown(slot_and_process_id_agree, setup, teardown),
        cmocka_unit_test_setup_teardown(forked_child_has_no_slot, setup, teardown),
        cmocka_unit_test_setup_teardown(shards_have_owners, setup, teardown),
        cmocka_unit_test_setup_teardown(foreign_shards_are_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(killed_at_every_call, setup, teardown),
        cmocka_unit_test_setup_teardown(failed_takeover_is_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(who_only_reads_sees_the_writer, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_disturbs_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(closing_holds_nobody_up, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
