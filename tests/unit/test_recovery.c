/* test_recovery.c -- without it a process killed at the wrong instant, a lost side file, a restarted
** machine or a second process could cost entries, bring back what was rolled back, or kill a reader. */
#include "support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KILLS 120 /* unless $COMET_TEST_KILLS says otherwise */
#define SETTINGS "max_file_size=16KiB boundary_interval=10 min_compress_size=250"

/* ---- What the entry at an offset is, whoever appended it ---- */

static model_entry entry_at(uint64_t offset) {
    uint64_t state = offset;
    model_entry entry;

    entry.timestamp = (int64_t)(offset + 1);
    entry.size = random_below(&state, random_below(&state, 30) == 0 ? 4000 : 120);
    entry.seed = random_next(&state);
    return entry;
}

static void model_to(model *m, uint64_t end) {
    while (m->count < end) {
        model_entry entry = entry_at(m->count);
        model_add(m, entry.timestamp, entry.size, entry.seed);
    }
    m->count = (size_t)end;
}

/* Append `count` entries; those that are to be rolled back are others. */
static void append_some(comet_txn *txn, uint64_t count, bool doomed) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t offset;
        model_entry entry = entry_at(comet_txn_end(txn));
        if (doomed) {
            entry.timestamp += 1000000;
            entry.seed ^= 0x77770;
        }
        OK(append_one(txn, &entry, &offset));
    }
}

static unsigned kill_count(void) {
    const char *given = getenv("COMET_TEST_KILLS");

    return given != NULL ? (unsigned)strtoul(given, NULL, 10) : KILLS;
}

/* ---- A process of its own ---- */

typedef struct report {
    uint64_t planned; /* the end that a transaction is about to have */
    uint64_t published;
} report;

static void say(int fd, const report *what) {
    if (write(fd, what, sizeof *what) != (ssize_t)sizeof *what) {
        _exit(3);
    }
}

/* Appends, commits and rolls back until it is killed. */
static _Noreturn void child_writer(const char *directory, uint64_t seed, bool prepare_doomed) {
    comet_log *log = log_make(directory, COMET_OPEN_CREATE, SETTINGS);
    comet_shard *shard;
    comet_txn *txn;
    report now = {0, 0};

    OK(comet_shard_open(log, 0, true, &shard, &error));
    for (;;) {
        uint64_t count = 1 + random_below(&seed, random_below(&seed, 4) == 0 ? 300 : 12);
        bool doomed = random_below(&seed, 4) == 0;
        OK(comet_txn_begin(shard, &txn, &error));
        now.planned = comet_txn_end(txn) + (doomed ? 0 : count);
        now.published = comet_txn_end(txn);
        say(1, &now);
        append_some(txn, count, doomed);
        if (!doomed || (prepare_doomed && random_below(&seed, 2) == 0)) {
            OK(comet_txn_prepare(txn, &error));
        }
        if (doomed) {
            comet_txn_rollback(txn);
        } else {
            comet_txn_publish(txn);
            now.published = now.planned;
        }
        say(1, &now);
        if (random_below(&seed, 20) == 0) {
            OK(comet_shard_sync(shard, &error));
        }
    }
}

/* Takes the lock, says so, and waits for its end. */
static _Noreturn void child_holder(const char *directory) {
    comet_log *log = log_make(directory, COMET_OPEN_CREATE, NULL);
    comet_shard *shard;
    comet_txn *txn;
    report now = {0, 0};

    OK(comet_shard_open(log, 0, true, &shard, &error));
    OK(comet_txn_begin(shard, &txn, &error));
    append_some(txn, 1000, true);
    say(1, &now);
    for (;;) {
        pause();
    }
}

static void one_turn(const char *directory, comet_log **log, comet_shard **shard, uint64_t *random,
                     model *m) {
    comet_txn *txn;
    comet_shard_info info;
    uint64_t fate = random_below(random, 6);
    uint64_t big = random_below(random, 5) == 0 ? 2000 : 40;

    if (*log == NULL) {
        *log = log_make(directory, COMET_OPEN_CREATE, SETTINGS);
        OK(comet_shard_open(*log, 0, true, shard, &error));
    }
    OK(comet_txn_begin(*shard, &txn, &error));
    append_some(txn, 1 + random_below(random, big), fate == 0);
    if (fate == 0) {
        comet_txn_rollback(txn);
    } else {
        OK(comet_txn_prepare(txn, &error));
        comet_txn_publish(txn);
    }
    if (random_below(random, 3) == 0) {
        OK(comet_shard_describe(*shard, &info, &error));
        model_to(m, info.end_offset);
        check_all(*shard, NULL, m);
    }
    if (fate == 1) {
        comet_shard_close(*shard);
        comet_log_close(*log);
        *log = NULL;
    }
}

static int child_turns(const char *directory, uint64_t seed) {
    comet_log *log = NULL;
    comet_shard *shard = NULL;
    model m = {0};
    char byte;

    while (read(0, &byte, 1) == 1) {
        one_turn(directory, &log, &shard, &seed, &m);
        if (write(1, &byte, 1) != 1) {
            return 3;
        }
    }
    if (log != NULL) {
        comet_shard_close(shard);
        comet_log_close(log);
    }
    model_free(&m);
    return 0;
}

typedef struct child {
    pid_t pid;
    int in;  /* to it */
    int out; /* from it */
} child;

static child child_start(const char *role, const char *directory, uint64_t seed) {
    char number[32];
    int in[2];
    int out[2];
    child made;

    (void)snprintf(number, sizeof number, "%llu", (unsigned long long)seed);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    made.pid = fork();
    assert_true(made.pid >= 0);
    if (made.pid == 0) {
        (void)dup2(in[0], 0);
        (void)dup2(out[1], 1);
        for (int i = 0; i < 2; i++) {
            (void)close(in[i]);
            (void)close(out[i]);
        }
        (void)execl("/proc/self/exe", "child", role, directory, number, (char *)NULL);
        _exit(127);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    made.in = in[1];
    made.out = out[0];
    return made;
}

static void child_kill(child *c) {
    (void)kill(c->pid, SIGKILL);
    (void)waitpid(c->pid, NULL, 0);
    (void)close(c->in);
    (void)close(c->out);
}

/* ---- The parent's side ---- */

static char directory[PATH_ROOM];
static char shard_directory[PATH_ROOM];

static int setup(void **state) {
    (void)state;
    directory_make(directory);
    file_path(shard_directory, directory, "shard-0000");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    directory_remove(directory);
    return 0;
}

/* Run a writer for a random while, kill it, and tell what it had said last.  A "simple" one prepares
** only what it publishes: without comet.state nobody can tell a prepared transaction from a published
** one, and it counts. */
static report run_and_kill(const char *role, uint64_t *random) {
    struct timespec pause_time = {0, (long)random_below(random, 6000000)};
    child c = child_start(role, directory, random_next(random));
    report last = {0, 0};
    report one;

    assert_int_equal(read(c.out, &last, sizeof last), sizeof last);
    (void)nanosleep(&pause_time, NULL);
    (void)kill(c.pid, SIGKILL);
    while (read(c.out, &one, sizeof one) == (ssize_t)sizeof one) {
        last = one;
    }
    child_kill(&c);
    return last;
}

/* Everything that was published is there, and of the last transaction all or nothing. */
static uint64_t check_after(const report *last, const char *what) {
    comet_log *log = log_make(directory, 0, SETTINGS);
    comet_shard *shard;
    comet_shard_info info;
    comet_txn *txn;
    model m = {0};

    OK(comet_shard_open(log, 0, false, &shard, &error));
    OK(comet_shard_describe(shard, &info, &error));
    if (info.end_offset != last->published && info.end_offset != last->planned) {
        fail_msg("%s: %llu entries; %llu were published, or %llu with the one in flight", what,
                 (unsigned long long)info.end_offset, (unsigned long long)last->published,
                 (unsigned long long)last->planned);
    }
    model_to(&m, info.end_offset);
    check_all(shard, NULL, &m);
    OK(comet_txn_begin(shard, &txn, &error));
    assert_int_equal(comet_txn_end(txn), info.end_offset);
    append_some(txn, 3, false);
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    model_to(&m, info.end_offset + 3);
    check_all(shard, NULL, &m);
    comet_shard_close(shard);
    comet_log_close(log);
    model_free(&m);
    return info.end_offset + 3;
}

/* Go's defect W1: entries that were appended with success are lost when the process is killed. */
/* A log that has seen many kills is long to check: others take their turn. */
#define KILLS_A_LOG 400u

static void renew_after(unsigned kills) {
    if (kills > 0 && kills % KILLS_A_LOG == 0) {
        directory_remove(directory);
        (void)setup(NULL);
    }
}

static void killed_at_any_point(void **state) {
    uint64_t random = random_seed("kills");
    (void)state;

    for (unsigned i = 0, count = kill_count(); i < count; i++) {
        report last;
        renew_after(i);
        last = run_and_kill("writer", &random);
        (void)check_after(&last, "killed");
    }
}

/* Go's defect W30: after a power cut index.bin names a file, or entries, that never reached the
** disk. */
static void machine_restarted_after_a_kill(void **state) {
    uint64_t random = random_seed("restarts");
    (void)state;

    for (unsigned i = 0, count = kill_count() / 3; i < count; i++) {
        report last;
        renew_after(i);
        last = run_and_kill("simple", &random);
        simulate_reboot(directory, 0);
        (void)check_after(&last, "restarted");
    }
}

/* ---- Files that are lost ---- */

static void damage(const char *path, unsigned how, uint64_t seed) {
    uint64_t size = path_size(path);

    switch (how) {
    case 0:
        (void)unlink(path);
        break;
    case 1:
        file_fill(path, seed, 1 + (size_t)(size < 8192 ? size : 8192) - 1);
        break;
    case 2:
        assert_int_equal(truncate(path, 0), 0);
        break;
    default:
        assert_int_equal(truncate(path, (off_t)(size / 2)), 0);
    }
}

static void lose(const char *name, unsigned how, uint64_t seed) {
    char path[PATH_ROOM];

    file_path(path, shard_directory, name);
    damage(path, how, seed);
}

/* Go's defect W6: a damaged or empty index.bin keeps the shard shut for good. */
static void after_clean_close(void **state) {
    static const char *const names[] = {"index.bin", "comet.state", "writer.lock"};
    uint64_t random = random_seed("clean");
    report last;
    char path[PATH_ROOM];
    char what[64];
    (void)state;

    last = run_and_kill("simple", &random);
    last.published = last.planned = check_after(&last, "first");
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(what, sizeof what, "%s, damage %u", names[i / 4], i % 4);
        lose(names[i / 4], i % 4, random_next(&random));
        last.published = last.planned = check_after(&last, what);
        simulate_reboot(directory, 0);
        last.published = last.planned = check_after(&last, "clean restart");
    }
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(what, sizeof what, ".idx %u from the end, damage %u", i / 4, i % 4);
        if (!file_find(path, shard_directory, ".idx", i / 4)) {
            break;
        }
        damage(path, i % 4, random_next(&random));
        last.published = last.planned = check_after(&last, what);
    }
}

/* index.bin and comet.state at once, and with all indexes: the data alone tells everything. */
static void only_data_is_left(void **state) {
    uint64_t random = random_seed("data");
    report last;
    char path[PATH_ROOM];
    (void)state;

    last = run_and_kill("simple", &random);
    last.published = last.planned = check_after(&last, "first");
    lose("index.bin", 0, 0);
    lose("comet.state", 0, 0);
    last.published = last.planned = check_after(&last, "both");
    lose("index.bin", 0, 0);
    lose("comet.state", 0, 0);
    lose("writer.lock", 0, 0);
    while (file_find(path, shard_directory, ".idx", 0)) {
        (void)unlink(path);
    }
    last.published = last.planned = check_after(&last, "only data");
}

static void lost_after_a_kill(void **state) {
    static const char *const names[] = {"index.bin", "comet.state"};
    uint64_t random = random_seed("lost");
    char path[PATH_ROOM];
    char what[64];
    (void)state;

    for (unsigned i = 0, count = kill_count() / 5 * 2; i < count; i++) {
        unsigned which = i / 4 % 3;
        report last;
        renew_after(i);
        last = run_and_kill("simple", &random);
        (void)snprintf(what, sizeof what, "%s, damage %u after a kill",
                       which == 2 ? ".idx" : names[which], i % 4);
        if (which == 2) {
            if (file_find(path, shard_directory, ".idx", 0)) {
                damage(path, i % 4, random_next(&random));
            }
        } else if (file_count(shard_directory, names[which]) > 0) {
            lose(names[which], i % 4, random_next(&random));
        }
        (void)check_after(&last, what);
    }
}

/* The dead writer left whole entries behind the committed end, and the index that tells where that is has
** gone.  It is back on disk before anything is built on it: index.bin may be lost next. */
static void lost_index_is_back_at_once(void **state) {
    child c = child_start("holder", directory, 0);
    report said;
    char path[PATH_ROOM];
    comet_log *log;
    comet_shard *shard;
    comet_txn *txn;
    (void)state;

    assert_int_equal(read(c.out, &said, sizeof said), sizeof said);
    child_kill(&c);
    log = log_make(directory, 0, NULL);
    OK(comet_shard_open(log, 0, true, &shard, &error));
    OK(comet_txn_begin(shard, &txn, &error));
    append_some(txn, 7, false);
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    comet_shard_close(shard);
    comet_log_close(log);
    c = child_start("holder", directory, 0);
    assert_int_equal(read(c.out, &said, sizeof said), sizeof said);
    child_kill(&c);
    assert_true(file_find(path, shard_directory, ".idx", 0));
    assert_int_equal(unlink(path), 0);
    log = log_make(directory, 0, NULL);
    OK(comet_shard_open(log, 0, false, &shard, &error));
    OK(comet_txn_begin(shard, &txn, &error));
    append_some(txn, 1, false);
    assert_true(file_exists(path));
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    comet_shard_close(shard);
    comet_log_close(log);
}

/* What was rolled back does not come back, not even when only checksums tell what is there. */
static void rolled_back_stays_away(void **state) {
    comet_log *log;
    comet_shard *shard;
    comet_txn *txn;
    model m = {0};
    (void)state;

    for (unsigned prepared = 0; prepared < 2; prepared++) {
        log = log_make(directory, COMET_OPEN_CREATE, "upkeep=manual boundary_interval=10");
        OK(comet_shard_open(log, prepared, true, &shard, &error));
        OK(comet_txn_begin(shard, &txn, &error));
        append_some(txn, 5, false);
        OK(comet_txn_prepare(txn, &error));
        comet_txn_publish(txn);
        OK(comet_txn_begin(shard, &txn, &error));
        append_some(txn, 26, true);
        if (prepared == 1) {
            OK(comet_txn_prepare(txn, &error));
        }
        comet_txn_rollback(txn);
        /* A reader that trusts no comet.state stands for the next start of the machine. */
        simulate_reboot(directory, prepared);
        comet_log *other = log_make(directory, COMET_OPEN_READONLY, NULL);
        comet_shard *again;
        OK(comet_shard_open(other, prepared, false, &again, &error));
        model_to(&m, 5);
        check_all(again, NULL, &m);
        comet_shard_close(again);
        comet_log_close(other);
        comet_shard_close(shard);
        comet_log_close(log);
    }
    model_free(&m);
}

/* ---- Files that others cut while they are mapped ---- */

static comet_status read_through(comet_shard *shard, const model *m, uint64_t from,
                                 uint64_t *count) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status;

    comet_range_init(&range);
    range.offset_first = from;
    *count = 0;
    OK(comet_cursor_open(shard, &cursor, &error));
    status = comet_cursor_seek(cursor, NULL, &range, &error);
    while (status == COMET_OK) {
        const void *data;
        size_t size;
        status = comet_cursor_data(cursor, &data, &size, &error);
        if (status == COMET_OK) {
            assert_true(content_is(data, size, &m->entries[comet_cursor_offset(cursor)]));
            (*count)++;
            status = comet_cursor_next(cursor, &error);
        }
    }
    comet_cursor_close(cursor);
    return status;
}

/* Cut the file when a cursor has read `before` of its entries; never a signal, never a wrong
** entry, and whoever writes goes on behind it. */
static void cut_while_mapped(comet_shard *shard, model *m, const char *path, unsigned how,
                             uint64_t before) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status;
    uint64_t size = 0;
    uint64_t count;
    comet_txn *txn;

    for (size_t i = 0; i < m->count; i++) {
        size += 12 + m->entries[i].size;
    }
    comet_range_init(&range);
    OK(comet_cursor_open(shard, &cursor, &error));
    status = comet_cursor_seek(cursor, NULL, &range, &error);
    for (uint64_t i = 0; status == COMET_OK && i <= m->count; i++) {
        const void *data;
        size_t bytes;
        if (i == before) {
            assert_int_equal(truncate(path, how == 0 ? 0 : (off_t)(how == 1 ? 100 : size / 2)), 0);
        }
        status = comet_cursor_data(cursor, &data, &bytes, &error);
        if (status == COMET_OK) {
            /* In the page where the file ends now there are zeros: the end of the statement tells. */
            assert_true(i >= before ||
                        content_is(data, bytes, &m->entries[comet_cursor_offset(cursor)]));
            status = comet_cursor_next(cursor, &error);
        }
    }
    assert_int_equal(status, COMET_CORRUPT);
    comet_cursor_close(cursor);
    assert_int_equal(read_through(shard, m, 0, &count), COMET_CORRUPT);
    /* The first transaction may find out by failing; the second goes into a new segment. */
    OK(comet_txn_begin(shard, &txn, &error));
    assert_int_equal(comet_txn_end(txn), m->count);
    append_some(txn, 400, false);
    status = comet_txn_prepare(txn, &error);
    if (status != COMET_OK) {
        assert_int_equal(status, COMET_CORRUPT);
        comet_txn_rollback(txn);
        OK(comet_txn_begin(shard, &txn, &error));
        assert_int_equal(comet_txn_end(txn), m->count);
        append_some(txn, 400, false);
        OK(comet_txn_prepare(txn, &error));
    }
    comet_txn_publish(txn);
    model_to(m, m->count + 400);
    assert_int_equal(read_through(shard, m, m->count - 400, &count), COMET_DONE);
    assert_int_equal(count, 400);
}

/* Go's defect W52: a file that somebody cuts while it is mapped ends the reader by SIGBUS. */
static void cut_by_others(void **state) {
    (void)state;

    for (unsigned round = 0; round < 24; round++) {
        comet_log *log =
            log_make(directory, COMET_OPEN_CREATE, "boundary_interval=10 upkeep=manual");
        comet_shard *shard;
        comet_txn *txn;
        char path[PATH_ROOM];
        char name[32];
        model m = {0};

        OK(comet_shard_open(log, round, true, &shard, &error));
        (void)snprintf(name, sizeof name, "shard-%04u", round);
        file_path(shard_directory, directory, name);
        OK(comet_txn_begin(shard, &txn, &error));
        append_some(txn, round % 2 == 0 ? 900 : 20, false);
        OK(comet_txn_prepare(txn, &error));
        comet_txn_publish(txn);
        model_to(&m, round % 2 == 0 ? 900 : 20);
        assert_true(file_find(path, shard_directory, ".comet", 0));
        cut_while_mapped(shard, &m, path, round / 2 % 3, round / 6 * 5);
        comet_shard_close(shard);
        OK(comet_shard_open(log, round, true, &shard, &error));
        model_free(&m);
        comet_shard_close(shard);
        comet_log_close(log);
    }
}

/* ---- Several processes ---- */

static void dead_writer_is_replaced_at_once(void **state) {
    comet_log *log = log_make(directory, COMET_OPEN_CREATE, SETTINGS);
    comet_shard *shard;
    comet_txn *txn;
    report said;
    model m = {0};
    (void)state;

    OK(comet_shard_open(log, 0, true, &shard, &error));
    for (unsigned i = 0; i < 5; i++) {
        child c = child_start("holder", directory, 0);
        comet_shard_info info;
        assert_int_equal(read(c.out, &said, sizeof said), sizeof said);
        STATUS(comet_txn_begin(shard, &txn, &error), COMET_BUSY);
        OK(comet_shard_describe(shard, &info, &error));
        assert_int_equal(info.owner, c.pid);
        check_all(shard, NULL, &m);
        child_kill(&c);
        OK(comet_txn_begin(shard, &txn, &error));
        append_some(txn, 7, false);
        OK(comet_txn_prepare(txn, &error));
        comet_txn_publish(txn);
        model_to(&m, m.count + 7);
        check_all(shard, NULL, &m);
    }
    assert_in_range(file_count(shard_directory, ".comet"), 1, 2);
    comet_shard_close(shard);
    comet_log_close(log);
    model_free(&m);
}

/* Go's defect W24: two writers of one directory give the same numbers, and one side's entries are
** lost. */
static void processes_take_turns(void **state) {
    uint64_t random = random_seed("turns");
    child c = child_start("turns", directory, random_next(&random));
    comet_log *log = NULL;
    comet_shard *shard = NULL;
    model m = {0};
    int status;
    char byte = 1;
    (void)state;

    for (unsigned i = 0; i < 300; i++) {
        if (random_below(&random, 2) == 0) {
            one_turn(directory, &log, &shard, &random, &m);
        } else {
            assert_int_equal(write(c.in, &byte, 1), 1);
            assert_int_equal(read(c.out, &byte, 1), 1);
        }
    }
    (void)close(c.in);
    (void)close(c.out);
    assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (log != NULL) {
        comet_shard_close(shard);
        comet_log_close(log);
    }
    model_free(&m);
}

/* A log that is being written to can be opened at any moment, and the reader goes along. */
static void opened_while_written(void **state) {
    uint64_t random = random_seed("while");
    child c = child_start("writer", directory, random_next(&random));
    uint64_t before = 0;
    report said;
    (void)state;

    assert_int_equal(read(c.out, &said, sizeof said), sizeof said);
    for (unsigned i = 0; i < 300; i++) {
        comet_log *log = log_make(directory, i % 2 == 0 ? COMET_OPEN_READONLY : 0, NULL);
        comet_shard *shard;
        comet_shard_info info;
        comet_cursor *cursor;
        comet_range range;
        while (i % 3 == 0 && read(c.out, &said, sizeof said) > 0 && said.published <= before) {
        }
        OK(comet_shard_open(log, 0, false, &shard, &error));
        OK(comet_shard_describe(shard, &info, &error));
        assert_true(info.end_offset >= before);
        before = info.end_offset;
        comet_range_init(&range);
        range.offset_first = before > 50 ? before - 50 : 0;
        OK(comet_cursor_open(shard, &cursor, &error));
        for (comet_status at = comet_cursor_seek(cursor, NULL, &range, &error); at != COMET_DONE;
             at = comet_cursor_next(cursor, &error)) {
            model_entry entry = entry_at(comet_cursor_offset(cursor));
            const void *data;
            size_t size;
            OK(at);
            OK(comet_cursor_data(cursor, &data, &size, &error));
            assert_true(content_is(data, size, &entry));
        }
        comet_cursor_close(cursor);
        comet_shard_close(shard);
        comet_log_close(log);
    }
    child_kill(&c);
}

int main(int count, char **arguments) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(killed_at_any_point, setup, teardown),
        cmocka_unit_test_setup_teardown(machine_restarted_after_a_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(after_clean_close, setup, teardown),
        cmocka_unit_test_setup_teardown(only_data_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_after_a_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_index_is_back_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(rolled_back_stays_away, setup, teardown),
        cmocka_unit_test_setup_teardown(cut_by_others, setup, teardown),
        cmocka_unit_test_setup_teardown(dead_writer_is_replaced_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(processes_take_turns, setup, teardown),
        cmocka_unit_test_setup_teardown(opened_while_written, setup, teardown),
    };
    if (count == 4) {
        uint64_t seed = strtoull(arguments[3], NULL, 10);
        if (strcmp(arguments[1], "writer") == 0 || strcmp(arguments[1], "simple") == 0) {
            child_writer(arguments[2], seed, arguments[1][0] == 'w');
        }
        if (strcmp(arguments[1], "holder") == 0) {
            child_holder(arguments[2]);
        }
        return child_turns(arguments[2], seed);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
