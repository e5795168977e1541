/* test_processes.c -- what several processes see of each other through SQL: slots and owners, waiting,
** the death of a writer, and a connection that is carried over a fork. */
#include "harness.h"

#include <dirent.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comet_sqlite.h"

#define ALARM_SECONDS 60 /* a child that hangs dies of it */

/* ---- Children ---- */

/* A forked process with a connection of its own, which runs SQL on request. */
typedef struct peer {
    pid_t pid;
    int requests;
    int answers;
} peer;

#define REQUEST_BYTES 1400

/* pause(milliseconds): time for the other side to begin waiting. */
static void pause_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    (void)count;
    sqlite3_sleep(sqlite3_value_int(arguments[0]));
    sqlite3_result_null(context);
}

static void peer_serve(const char *file, int requests, int answers) {
    char request[REQUEST_BYTES];
    sqlite3 *db = db_open(file);

    sqlite3_create_function(db, "pause", 1, SQLITE_UTF8, NULL, pause_function, NULL, NULL);
    alarm(ALARM_SECONDS);
    while (read(requests, request, sizeof request) == (ssize_t)sizeof request &&
           request[0] != '\0') {
        int rc = sqlite3_exec(db, request, NULL, NULL, NULL);
        if (write(answers, &rc, sizeof rc) != (ssize_t)sizeof rc) {
            break;
        }
    }
    db_close(db);
}

static peer peer_start(const char *file) {
    int requests[2];
    int answers[2];
    peer made;

    assert_int_equal(pipe(requests), 0);
    assert_int_equal(pipe(answers), 0);
    made.pid = fork();
    if (made.pid == 0) {
        close(requests[1]);
        close(answers[0]);
        peer_serve(file, requests[0], answers[1]);
        _exit(0);
    }
    close(requests[0]);
    close(answers[1]);
    made.requests = requests[1];
    made.answers = answers[0];
    return made;
}

static void peer_ask(const peer *p, const char *sql) {
    char request[REQUEST_BYTES] = "";

    snprintf(request, sizeof request, "%s", sql);
    assert_int_equal(write(p->requests, request, sizeof request), sizeof request);
}

static int peer_answer(const peer *p) {
    int rc = -1;

    assert_int_equal(read(p->answers, &rc, sizeof rc), sizeof rc);
    return rc;
}

static void peer_run(const peer *p, const char *sql) {
    peer_ask(p, sql);
    assert_int_equal(peer_answer(p), SQLITE_OK);
}

static void peer_end(const peer *p, bool by_kill) {
    int status;

    if (by_kill) {
        kill(p->pid, SIGKILL);
    } else {
        peer_ask(p, ""); /* end of file would not do: later peers have the pipe too */
    }
    close(p->requests);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    assert_int_equal(WIFSIGNALED(status), by_kill);
    close(p->answers);
}

/* ---- Slots and owners ---- */

/* Workers that ask for nothing but their number write their own shards, and a dead one's number goes
** to the next. */
static void test_prefork_workers(void **state) {
    fixture *used = *state;
    sqlite3 *db = used->db;
    char create[REQUEST_BYTES];
    peer first = peer_start(":memory:");
    peer second = peer_start(":memory:");

    snprintf(create, sizeof create,
             "CREATE VIRTUAL TABLE events USING comet_stream(log='%s/log', shards=6,"
             " process_count=3, upkeep=manual)",
             used->directory);
    peer_run(&first, create);
    peer_run(&second, create);
    peer_run(&first, "INSERT INTO events(data) VALUES (1), (1), (1), (1)");
    peer_run(&second, "INSERT INTO events(data) VALUES (2), (2)");
    run(db,
        "CREATE VIRTUAL TABLE temp.events USING comet_stream(log='%s/log', shards=6,"
        " process_count=3, upkeep=manual)",
        used->directory);
    expect(db, "-1", "SELECT comet_config('events', 'process_id')");
    expect(db, "2", "SELECT comet_process_id('events')");
    expect(db, "2", "SELECT comet_process_id('events')");
    expect(db, "2", "SELECT comet_config('events', 'process_id')");
    run(db, "INSERT INTO events(data) VALUES (3)");
    expect(db, "0|1|4\n1|2|2\n2|3|1",
           "SELECT shard %% 3, data, count(*) FROM events GROUP BY 1, 2");

    peer late = peer_start(":memory:");
    peer_run(&late, create);
    peer_ask(&late, "INSERT INTO events(data) VALUES (4)");
    assert_int_equal(peer_answer(&late), SQLITE_BUSY); /* all three are taken */
    peer_end(&second, true);
    peer_run(&late, "INSERT INTO events(data) VALUES (4)");
    expect(db, "2|2\n4|1", "SELECT data, count(*) FROM events WHERE shard IN (1, 4) GROUP BY 1");
    expect(db, "1", "SELECT comet_process_release('events')");
    expect(db, "0", "SELECT comet_process_release('events')");
    expect(db, "-1", "SELECT comet_config('events', 'process_id')");
    peer_end(&first, false);
    peer_end(&late, false);
}

static void test_slots_of_logs_are_their_own(void **state) {
    fixture *used = *state;
    sqlite3 *reader = db_open_readonly_comet(used->database);
    peer other = peer_start(used->database);

    peer_run(&other, "SELECT comet_process_id('a')");
    expect(used->db, "1", "SELECT comet_process_id('a')");
    expect(used->db, "0", "SELECT comet_process_id('b')");
    expect(used->db, "0", "SELECT comet_process_id()"); /* of the default log */
    assert_int_equal(access("/nowhere", F_OK), -1);
    refuse(used->db, SQLITE_IOERR, "nowhere", "SELECT comet_process_id('/nowhere/at/all')");
    refuse(used->db, SQLITE_ERROR, "empty", "SELECT comet_process_id('')");
    run(used->db, "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='c', process_count=1)");
    expect(used->db, "0", "SELECT comet_process_id('t')");
    peer_run(&other, "SELECT comet_process_id('c')"); /* 4096 slots for who has not said a count */
    refuse(reader, SQLITE_READONLY, "only reads", "SELECT comet_process_id('a')");
    refuse(reader, SQLITE_READONLY, "only reads", "SELECT comet_process_release('a')");
    db_close(reader);
    peer_end(&other, false);
    refuse(used->db, SQLITE_ERROR, "slot 1 of this log",
           "CREATE VIRTUAL TABLE temp.u USING comet_shard(log='a', process_id=3)");
    run(used->db, "CREATE VIRTUAL TABLE temp.u USING comet_shard(log='a', process_id=1)");
}

static void test_owner_is_named(void **state) {
    fixture *used = *state;
    peer owner = peer_start(used->database);
    char named[80];

    peer_run(&owner, "CREATE VIRTUAL TABLE temp.own USING comet_shard(log='log', shard=4,"
                     " process_count=4, upkeep=manual); INSERT INTO own(data) VALUES ('owner')");
    run(used->db, "CREATE VIRTUAL TABLE temp.theirs USING comet_shard(log='log', shard=4,"
                  " process_id=3, process_count=4, upkeep=manual)");
    snprintf(named, sizeof named, "shard 4 belongs to process_id 0 of 4, which is process %d",
             (int)owner.pid);
    refuse(used->db, SQLITE_READONLY, named, "INSERT INTO theirs(data) VALUES ('not mine')");
    expect(used->db, "owner", "SELECT data FROM theirs"); /* everybody reads */
    run(used->db, "INSERT INTO comet_shard(log, shard, data) VALUES ('log', 7, 'mine')");
    peer_end(&owner, false);
    refuse(used->db, SQLITE_READONLY, "process_id 0 of 4; this process is 3",
           "INSERT INTO theirs(data) VALUES ('still not mine')");
}

/* ---- Waiting ---- */

/* BEGIN ... COMMIT in another process: without patience an error that names it, else it is waited for. */
static void test_waiting_for_another_writer(void **state) {
    fixture *used = *state;
    sqlite3 *db = used->db;
    peer writer = peer_start(":memory:");
    char begin[REQUEST_BYTES];
    char named[40];

    run(db, "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='log', upkeep=manual)");
    run(db, "INSERT INTO t(data) VALUES ('one')");
    snprintf(begin, sizeof begin,
             "BEGIN; INSERT INTO comet_shard(log, data) VALUES ('%s/log', 'theirs')",
             used->directory);
    peer_run(&writer, begin);
    snprintf(named, sizeof named, "process %d is writing", (int)writer.pid);
    refuse(db, SQLITE_BUSY, named, "INSERT INTO t(data) VALUES ('two')");
    run(db, "PRAGMA busy_timeout = 20");
    refuse(db, SQLITE_BUSY, named, "INSERT INTO t(data) VALUES ('two')");
    expect(db, "one", "SELECT data FROM t"); /* readers do not wait */
    run(db, "INSERT INTO comet_shard(log, shard, data) VALUES ('log', 1, 'other shards neither')");
    run(db, "PRAGMA busy_timeout = 60000");
    peer_ask(&writer, "SELECT pause(100); COMMIT");
    run(db, "INSERT INTO t(data) VALUES ('two')"); /* after their COMMIT */
    assert_int_equal(peer_answer(&writer), SQLITE_OK);
    expect(db, "one\ntheirs\ntwo", "SELECT data FROM t");
    /* A writer that dies is not waited for. */
    peer_run(&writer, begin);
    peer_end(&writer, true);
    run(db, "PRAGMA busy_timeout = 0");
    run(db, "INSERT INTO t(data) VALUES ('three')");
    expect(db, "one\ntheirs\ntwo\nthree", "SELECT data FROM t");
}

/* As after a start of the machine: comet.state is of another one. */
static void forget_boot(const fixture *used) {
    char path[700];
    FILE *file;

    snprintf(path, sizeof path, "%s/log/shard-0000/comet.state", used->directory);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 792, SEEK_SET), 0);
    assert_int_equal(fwrite("another", 1, 8, file), 8);
    assert_int_equal(fclose(file), 0);
}

/* A shard that is to be repaired needs its writer's lock to be opened: that is waited for as well. */
static void test_waiting_when_opening(void **state) {
    fixture *used = *state;
    peer writer = peer_start(":memory:");
    char begin[REQUEST_BYTES];

    snprintf(begin, sizeof begin,
             "INSERT INTO comet_shard(log, data) VALUES ('%s/log', 'one');"
             "BEGIN; INSERT INTO comet_shard(log, data) VALUES ('%s/log', 'two')",
             used->directory, used->directory);
    peer_run(&writer, begin);
    forget_boot(used);
    refuse(used->db, SQLITE_BUSY, "is writing this shard", "SELECT data FROM comet_shard('log')");
    run(used->db, "PRAGMA busy_timeout = 60000");
    peer_ask(&writer, "SELECT pause(100); ROLLBACK");
    expect(used->db, "one", "SELECT data FROM comet_shard('log')");
    assert_int_equal(peer_answer(&writer), SQLITE_OK);
    peer_end(&writer, false);
}

/* ---- fork ---- */

static uint64_t digest;

static int digest_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    FILE *file = kind == FTW_F ? fopen(path, "rb") : NULL;
    int byte;

    (void)walk;
    for (const char *at = path; *at != '\0'; at++) {
        digest = (digest ^ (unsigned char)*at) * 1099511628211u;
    }
    digest = (digest ^ (uint64_t)info->st_size) * 1099511628211u;
    while (file != NULL && (byte = fgetc(file)) != EOF) {
        digest = (digest ^ (uint64_t)byte) * 1099511628211u;
    }
    if (file != NULL) {
        fclose(file);
    }
    return 0;
}

/* Names, sizes and bytes of everything below a directory. */
static uint64_t digest_of(const char *directory) {
    digest = 14695981039346656037u;
    assert_int_equal(nftw(directory, digest_entry, 16, FTW_PHYS), 0);
    return digest;
}

#define NO_NUMBER_OF_A_REFUSAL 0

/* In the child: 0, or the number of the statement that was not refused. */
static int use_carried(sqlite3 *db, sqlite3_stmt *running) {
    static const char *const statements[] = {
        "INSERT INTO t(data) VALUES ('child')",
        "SELECT count(*) FROM t",
        "SELECT data FROM t ORDER BY timestamp DESC",
        "SELECT data FROM s",
        "INSERT INTO s(data) VALUES ('child')",
        "INSERT INTO comet_shard(log, shard, data) VALUES ('another', 0, 'child')",
        "SELECT comet_sync('t')",
        "SELECT comet_process_id('t')",
        "SELECT comet_process_release('t')",
        "SELECT comet_config('t', 'sync')",
        "SELECT comet_config('t', 'sync', 'full')",
        "SELECT comet_ack('t', 'group', 0, 0)",
        "SELECT comet_lag('t', 'group')",
        "SELECT * FROM comet_segments('t')",
        "COMMIT",
        "CREATE VIRTUAL TABLE temp.u USING comet_shard(log='another', shard=1)",
    };

    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        if (sqlite3_exec(db, statements[i], NULL, NULL, NULL) != SQLITE_MISUSE) {
            return (int)i + 1;
        }
    }
    sqlite3_finalize(running);
    return sqlite3_close(db) == SQLITE_OK ? NO_NUMBER_OF_A_REFUSAL : 99;
}

/* A connection in the midst of a transaction and of a statement is carried into a child, used and
** closed there: an error each time, and the parent does not notice. */
static void test_carried_connection(void **state) {
    fixture *used = *state;
    sqlite3 *db = db_open(":memory:"); /* SQLite's own file would be the child's undoing */
    sqlite3_stmt *running = NULL;
    uint64_t before;
    pid_t child;
    int status;

    run(db,
        "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='%s/log', upkeep=manual,"
        " max_file_size='1MB')",
        used->directory);
    run(db, "CREATE VIRTUAL TABLE temp.s USING comet_stream(log='%s/log', upkeep=manual)",
        used->directory);
    run(db, "INSERT INTO t(data) VALUES ('one'), ('two')");
    run(db, "SELECT comet_process_id('t')");
    run(db, "BEGIN; INSERT INTO t(data) VALUES ('three')");
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT data FROM t", -1, &running, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(running), SQLITE_ROW);
    before = digest_of(used->directory);
    child = fork();
    if (child == 0) {
        alarm(ALARM_SECONDS);
        _exit(use_carried(db, running));
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_true(digest_of(used->directory) == before);
    /* The lock is still held ... */
    refuse(used->db, SQLITE_BUSY, "is writing",
           "INSERT INTO comet_shard(log, data) VALUES ('log', 1)");
    /* ... and everything goes on. */
    assert_int_equal(sqlite3_step(running), SQLITE_ROW);
    sqlite3_finalize(running);
    run(db, "INSERT INTO t(data) VALUES ('four'); COMMIT");
    expect(db, "one\ntwo\nthree\nfour", "SELECT data FROM t");
    db_close(db);
}

/* The private log of a :memory: database goes away with the parent's connection, not with the child's. */
static void test_carried_private_log(void **state) {
    sqlite3 *db = db_open(":memory:");
    pid_t child;
    int status;
    (void)state;

    run(db, "CREATE VIRTUAL TABLE temp.t USING comet_shard(upkeep=manual)");
    run(db, "INSERT INTO t(data) VALUES ('one')");
    child = fork();
    if (child == 0) {
        alarm(ALARM_SECONDS);
        _exit(sqlite3_close(db) == SQLITE_OK ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    run(db, "CREATE VIRTUAL TABLE temp.second USING comet_shard(shard=1)");
    run(db, "INSERT INTO second(data) VALUES ('two')");
    expect(db, "one", "SELECT data FROM t");
    db_close(db);
}

/* ---- The upkeep thread ---- */

static unsigned tasks(void) {
    DIR *listed = opendir("/proc/self/task");
    unsigned count = 0;

    assert_non_null(listed);
    while (readdir(listed) != NULL) {
        count++;
    }
    closedir(listed);
    return count - 2;
}

static void *do_nothing(void *context) {
    return context;
}

static void test_no_thread_is_left(void **state) {
    fixture *used = *state;
    unsigned before;
    sqlite3 *second;
    pthread_t first;

    /* A sanitizer's own thread begins with the first one of a process. */
    assert_int_equal(pthread_create(&first, NULL, do_nothing, NULL), 0);
    assert_int_equal(pthread_join(first, NULL), 0);
    before = tasks();
    run(used->db, "CREATE VIRTUAL TABLE temp.t USING comet_shard(log='log', upkeep=manual)");
    run(used->db, "INSERT INTO t(data) VALUES (1)");
    assert_int_equal(tasks(), before); /* with upkeep=manual there is none */
    fixture_reopen(used);
    run(used->db, "INSERT INTO comet_shard(log, data) VALUES ('log', 2)");
    assert_int_equal(tasks(), before + 1);
    second = db_open(used->database);
    run(second, "INSERT INTO comet_shard(log, shard, data) VALUES ('log', 1, 3)");
    assert_int_equal(tasks(), before + 1); /* one for the log, whatever uses it */
    fixture_reopen(used);
    assert_int_equal(tasks(), before + 1);
    db_close(second);
    assert_int_equal(tasks(), before);
}

/* In a program that links comet, the entry point is an automatic extension: anything but SQLITE_OK would
** stop the ones after it. */
static void test_static_entry_point(void **state) {
    sqlite3 *db = NULL;
    (void)state;

    assert_int_equal(sqlite3_comet_init(((fixture *)*state)->db, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_auto_extension((void (*)(void))sqlite3_comet_init), SQLITE_OK);
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    expect(db, "1", "SELECT comet_version() LIKE 'v%%'");
    db_close(db);
    sqlite3_reset_auto_extension();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_prefork_workers),      SQL_TEST(test_slots_of_logs_are_their_own),
        SQL_TEST(test_owner_is_named),       SQL_TEST(test_waiting_for_another_writer),
        SQL_TEST(test_waiting_when_opening), SQL_TEST(test_carried_connection),
        SQL_TEST(test_carried_private_log),  SQL_TEST(test_no_thread_is_left),
        SQL_TEST(test_static_entry_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
