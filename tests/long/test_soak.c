/* test_soak.c -- many processes and threads on one log, some of them killed at random, for as long as
** $COMET_SOAK_SECONDS says.  Without it what only happens between processes would be found by users.
**
**     8 writers   processes of 2 threads; each thread has a connection of its own and commits to one or
**                 two of 4 shards, or takes back
**     4 readers   processes that follow all shards, and look back at what they have seen
**     killer      SIGKILLs one after the other of them at random and starts another in its place
**
** An entry says who wrote it, in which of its transactions, and as which of how many.  A reader knows
** from that whether a snapshot has a gap, a repeat, another order or half a transaction.  What a writer
** has committed it says in memory shared by all, so that a reader also knows what must be there.
*/
#include "loaded.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHARDS 4
#define WRITERS 8
#define THREADS 2
#define HANDS (WRITERS * THREADS) /* threads that write */
#define READERS 4
#define CHILDREN (WRITERS + READERS)
#define TXN_ENTRIES_MAX 12
#define LIFE_TXNS                                                                                  \
    ((uint64_t)1 << 32) /* numbers of transactions that one life of a writer may use */
#define LOOK_BACK_ENTRIES 500
#define LONG_SECONDS 60 /* longer runs write more slowly, for the disk's sake */

/* Shared by all processes. */
typedef struct board {
    atomic_bool stops; /* writers end */
    atomic_bool ends;  /* readers look a last time and end */
    atomic_int failed;
    char message[LOADED_MESSAGE_BYTES];        /* of the first failure */
    _Atomic uint64_t committed[SHARDS][HANDS]; /* number of the newest transaction; 0: none */
    _Atomic uint64_t transactions;
    _Atomic uint64_t snapshots;
    _Atomic uint64_t entries_read;
} board;

static board *shared;
static char directory[512];
static unsigned nap_us;

static void complain(const char *who, uint64_t number, const char *message) {
    if (atomic_exchange(&shared->failed, 1) == 0) {
        snprintf(shared->message, sizeof shared->message, "%s %llu: %s", who,
                 (unsigned long long)number, message);
    }
    atomic_store(&shared->stops, true);
    atomic_store(&shared->ends, true);
}

static void nap(unsigned us) {
    const struct timespec moment = {us / 1000000, (long)(us % 1000000) * 1000};

    nanosleep(&moment, NULL);
}

static sqlite3 *connect(char message[LOADED_MESSAGE_BYTES]) {
    sqlite3 *db = loaded_open(message);

    for (int shard = 0; db != NULL && shard < SHARDS; shard++) {
        if (loaded_run(db, message,
                       "CREATE VIRTUAL TABLE s%d USING comet_shard(log='%s/log', shard=%d,"
                       " max_file_size='1MB', checkpoint_interval='20ms', boundary_interval=10)",
                       shard, directory, shard) != SQLITE_OK) {
            sqlite3_close(db);
            return NULL;
        }
    }
    return db;
}

/* ---- Writers ---- */

typedef struct hand {
    pthread_t thread;
    uint64_t seed;
    uint64_t first; /* transaction of this life */
    int number;
} hand;

/* A transaction whose number ends so is taken back, and must never be seen. */
static bool is_taken_back(uint64_t txn) {
    return txn % 7 == 3;
}

static int insert_entries(sqlite3 *db, hand *self, uint64_t txn, int shard, char *message) {
    int count = 1 + (int)loaded_random(&self->seed, TXN_ENTRIES_MAX);
    int rc = SQLITE_OK;

    for (int i = 0; rc == SQLITE_OK && i < count; i++) {
        int padding = (int)loaded_random(&self->seed, 200);
        rc = loaded_run(db, message, "INSERT INTO s%d(data) VALUES ('%d %llu %d %d %.*c')", shard,
                        self->number, (unsigned long long)txn, i, count, 1 + padding, '.');
    }
    return rc;
}

static int run_transaction(sqlite3 *db, hand *self, uint64_t txn, char *message) {
    int shard = (int)loaded_random(&self->seed, SHARDS);
    int other = (int)loaded_random(&self->seed, 4 * SHARDS);
    int rc = loaded_run(db, message, "BEGIN");

    /* Those of two shards take them in the order of their numbers: else two could wait for each
    ** other as long as busy_timeout says. */
    if (rc == SQLITE_OK) {
        rc = insert_entries(db, self, txn, shard, message);
    }
    if (rc == SQLITE_OK && other > shard && other < SHARDS) {
        rc = insert_entries(db, self, txn, other, message);
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    if (is_taken_back(txn)) {
        return loaded_run(db, message, "ROLLBACK");
    }
    rc = loaded_run(db, message, "COMMIT");
    if (rc == SQLITE_OK) {
        atomic_store(&shared->committed[shard][self->number], txn);
        if (other > shard && other < SHARDS) {
            atomic_store(&shared->committed[other][self->number], txn);
        }
        atomic_fetch_add(&shared->transactions, 1);
    }
    return rc;
}

static void *write_entries(void *context) {
    char message[LOADED_MESSAGE_BYTES] = "";
    hand *self = context;
    sqlite3 *db = connect(message);

    if (db == NULL) {
        complain("writer", (uint64_t)self->number, message);
        return NULL;
    }
    for (uint64_t txn = self->first; !atomic_load(&shared->stops); txn++) {
        if (run_transaction(db, self, txn, message) != SQLITE_OK) {
            complain("writer", (uint64_t)self->number, message);
        }
        nap((unsigned)loaded_random(&self->seed, 2 * nap_us));
        if (loaded_random(&self->seed, 300) == 0) { /* some come and go */
            sqlite3_close(db);
            db = connect(message);
            if (db == NULL) {
                complain("writer", (uint64_t)self->number, message);
                return NULL;
            }
        }
    }
    sqlite3_close(db);
    return NULL;
}

static void writer_main(int number, uint64_t life, uint64_t seed) {
    hand hands[THREADS];

    for (int i = 0; i < THREADS; i++) {
        hands[i].number = number * THREADS + i;
        hands[i].first = life * LIFE_TXNS;
        hands[i].seed = seed + (uint64_t)i + 1;
        if (pthread_create(&hands[i].thread, NULL, write_entries, &hands[i]) != 0) {
            complain("writer", (uint64_t)number, "no thread");
            return;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(hands[i].thread, NULL);
    }
}

/* ---- Readers ---- */

/* How far a reader has followed one shard. */
typedef struct follower {
    int64_t end; /* next offset */
    uint64_t newest[HANDS];
    uint64_t hashes[LOOK_BACK_ENTRIES]; /* of the newest entries, by offset modulo */
} follower;

static uint64_t hash_of(const char *text) {
    uint64_t hash = 14695981039346656037u;

    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    }
    return hash;
}

/* What the entry before said, within a snapshot. */
typedef struct place {
    int hand;
    unsigned long long txn;
    int at;
    int count;
} place;

/* One new entry; NULL, or what is wrong with it. */
static const char *follow(follower *f, place *last, int64_t offset, const char *data) {
    place now;

    if (offset != f->end) {
        return "a gap or a repeat";
    }
    if (data == NULL ||
        sscanf(data, "%d %llu %d %d", &now.hand, &now.txn, &now.at, &now.count) != 4 ||
        now.hand < 0 || now.hand >= HANDS) {
        return "an entry that nobody wrote";
    }
    if (is_taken_back(now.txn)) {
        return "an entry that was taken back";
    }
    if (now.at == 0) {
        if (last->at + 1 != last->count) {
            return "half a transaction";
        }
        if (now.txn <= f->newest[now.hand]) {
            return "a writer's entries in another order, or twice";
        }
        f->newest[now.hand] = now.txn;
    } else if (now.hand != last->hand || now.txn != last->txn || now.at != last->at + 1 ||
               now.count != last->count) {
        return "entries of two transactions mixed";
    }
    *last = now;
    f->hashes[offset % LOOK_BACK_ENTRIES] = hash_of(data);
    f->end++;
    return NULL;
}

/* Everything new in a shard, as one snapshot; it has what was committed before it was taken. */
static const char *read_on(sqlite3 *db, int shard, follower *f) {
    const char *wrong = NULL;
    uint64_t committed[HANDS];
    place last = {-1, 0, 0, 1};
    sqlite3_stmt *rows = NULL;
    char sql[100];

    for (int i = 0; i < HANDS; i++) {
        committed[i] = atomic_load(&shared->committed[shard][i]);
    }
    snprintf(sql, sizeof sql, "SELECT offset, data FROM s%d WHERE offset >= %lld ORDER BY offset",
             shard, (long long)f->end);
    if (sqlite3_prepare_v2(db, sql, -1, &rows, NULL) != SQLITE_OK) {
        return sqlite3_errmsg(db);
    }
    while (wrong == NULL && sqlite3_step(rows) == SQLITE_ROW) {
        wrong = follow(f, &last, sqlite3_column_int64(rows, 0),
                       (const char *)sqlite3_column_text(rows, 1));
        atomic_fetch_add_explicit(&shared->entries_read, 1, memory_order_relaxed);
    }
    if (sqlite3_finalize(rows) != SQLITE_OK && wrong == NULL) {
        return sqlite3_errmsg(db);
    }
    if (wrong == NULL && last.at + 1 != last.count) {
        return "half a transaction at the end of a snapshot";
    }
    for (int i = 0; wrong == NULL && i < HANDS; i++) {
        if (f->newest[i] < committed[i]) {
            wrong = "a committed transaction is not there";
        }
    }
    atomic_fetch_add(&shared->snapshots, 1);
    return wrong;
}

/* What has been read once reads the same ever after, forwards and backwards. */
static const char *look_back(sqlite3 *db, int shard, const follower *f, bool descending) {
    const char *wrong = NULL;
    int64_t from = f->end > LOOK_BACK_ENTRIES ? f->end - LOOK_BACK_ENTRIES : 0;
    int64_t count = 0;
    sqlite3_stmt *rows = NULL;
    char sql[140];

    snprintf(sql, sizeof sql,
             "SELECT offset, data FROM s%d WHERE offset BETWEEN %lld AND %lld ORDER BY offset %s",
             shard, (long long)from, (long long)f->end - 1, descending ? "DESC" : "");
    if (sqlite3_prepare_v2(db, sql, -1, &rows, NULL) != SQLITE_OK) {
        return sqlite3_errmsg(db);
    }
    while (wrong == NULL && sqlite3_step(rows) == SQLITE_ROW) {
        int64_t offset = sqlite3_column_int64(rows, 0);
        const char *data = (const char *)sqlite3_column_text(rows, 1);
        if (offset != (descending ? f->end - 1 - count : from + count) || data == NULL ||
            f->hashes[offset % LOOK_BACK_ENTRIES] != hash_of(data)) {
            wrong = "an entry has changed";
        }
        count++;
    }
    if (sqlite3_finalize(rows) != SQLITE_OK && wrong == NULL) {
        return sqlite3_errmsg(db);
    }
    return wrong == NULL && count != f->end - from ? "entries have gone" : wrong;
}

static const char *read_all(sqlite3 *db, follower followers[SHARDS]) {
    const char *wrong = NULL;

    for (int shard = 0; wrong == NULL && shard < SHARDS; shard++) {
        wrong = read_on(db, shard, &followers[shard]);
    }
    return wrong;
}

static void reader_main(int number, uint64_t seed) {
    static follower followers[SHARDS];
    char message[LOADED_MESSAGE_BYTES] = "";
    const char *wrong = NULL;
    sqlite3 *db = connect(message);
    bool is_last = false;

    while (db != NULL && wrong == NULL && !is_last) {
        int shard = (int)loaded_random(&seed, SHARDS);
        is_last = atomic_load(&shared->ends);
        wrong = read_all(db, followers);
        if (wrong == NULL) {
            wrong = look_back(db, shard, &followers[shard], loaded_random(&seed, 2) == 0);
        }
        if (wrong == NULL && loaded_random(&seed, 200) == 0) {
            sqlite3_close(db);
            db = connect(message);
        }
        nap(nap_us);
    }
    if (db == NULL || wrong != NULL) {
        complain("reader", (uint64_t)number, wrong != NULL ? wrong : message);
    }
    sqlite3_close(db);
}

/* ---- The killer ---- */

typedef struct child {
    pid_t pid;
    uint64_t life;
} child;

static child children[CHILDREN];

static void child_start(int number, uint64_t seed) {
    child *c = &children[number];

    c->life++;
    c->pid = fork();
    if (c->pid == 0) {
        if (number < WRITERS) {
            writer_main(number, c->life, seed);
        } else {
            reader_main(number - WRITERS, seed);
        }
        _exit(0);
    }
    assert_true(c->pid > 0);
}

static void child_end(int number, bool by_kill) {
    int status;

    if (by_kill) {
        kill(children[number].pid, SIGKILL);
    }
    assert_int_equal(waitpid(children[number].pid, &status, 0), children[number].pid);
    if (WIFSIGNALED(status) ? !by_kill || WTERMSIG(status) != SIGKILL : WEXITSTATUS(status) != 0) {
        complain("process", (uint64_t)number, "ended by itself, and badly");
    }
}

static int64_t seconds(void) {
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec;
}

static void check_at_the_end(void) {
    static follower followers[SHARDS];
    char message[LOADED_MESSAGE_BYTES] = "";
    sqlite3 *db = connect(message);
    const char *wrong;
    int64_t entries = 0;

    if (db == NULL) {
        fail_msg("%s", message);
    }
    wrong = read_all(db, followers);
    if (wrong != NULL) {
        fail_msg("at the end: %s", wrong);
    }
    for (int shard = 0; shard < SHARDS; shard++) {
        entries += followers[shard].end;
    }
    print_message("%lld entries in the end\n", (long long)entries);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void soak(void **state) {
    uint64_t duration = loaded_setting("COMET_SOAK_SECONDS", 15);
    uint64_t seed = loaded_setting("SEED", (uint64_t)time(NULL) * 1000003 + 1);
    int64_t end = seconds() + (int64_t)duration;
    unsigned kills = 0;
    (void)state;

    print_message("soak: %llu s, SEED=%llu\n", (unsigned long long)duration,
                  (unsigned long long)seed);
    nap_us = duration > LONG_SECONDS ? 10000 : 2000;
    assert_true(loaded_directory(directory, sizeof directory));
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(shared != MAP_FAILED);
    for (int i = 0; i < CHILDREN; i++) {
        child_start(i, loaded_random(&seed, UINT64_MAX) + 1);
    }
    while (seconds() < end && !atomic_load(&shared->failed)) {
        /* Readers, which begin anew, less often than writers. */
        int victim = (int)loaded_random(&seed, loaded_random(&seed, 4) == 0 ? CHILDREN : WRITERS);
        nap((unsigned)loaded_random(&seed, 200000));
        child_end(victim, true);
        child_start(victim, loaded_random(&seed, UINT64_MAX) + 1);
        kills++;
    }
    atomic_store(&shared->stops, true);
    for (int i = 0; i < WRITERS; i++) {
        child_end(i, false);
    }
    atomic_store(&shared->ends, true);
    for (int i = WRITERS; i < CHILDREN; i++) {
        child_end(i, false);
    }
    print_message("%u killed, %llu transactions, %llu snapshots of %llu entries\n", kills,
                  (unsigned long long)atomic_load(&shared->transactions),
                  (unsigned long long)atomic_load(&shared->snapshots),
                  (unsigned long long)atomic_load(&shared->entries_read));
    if (atomic_load(&shared->failed)) {
        fail_msg("%s", shared->message);
    }
    check_at_the_end();
    assert_true(atomic_load(&shared->transactions) > 10 * duration);
    munmap(shared, sizeof *shared);
    loaded_remove(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(soak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
