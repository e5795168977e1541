/* bench_core.c -- the core alone, through comet.h, beside LMDB and plain write().
**
** LMDB, where it is installed, has one table keyed by offset (MDB_INTEGERKEY, written with
** MDB_APPEND) whose values are the timestamp and the data; opened with MDB_WRITEMAP | MDB_NOSYNC |
** MDB_NOMETASYNC, its fastest way, which like ours survives the death of the process.  It keeps no
** second index while loading; for the search by time a copy keyed by timestamp is made, unmeasured.
** In the line of the lock, write()'s column has a file lock (OFD).
** write() appends an 8-byte length, the timestamp and the data; it reads nothing.
**
** $BENCH_ENTRIES shortens a run; the shard for opening has five times as many.
*/
#include "bench.h"
#include "comet.h"
#include "latency.h"

#include <fcntl.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_LMDB
#include <lmdb.h>
#endif

#define BATCH_ENTRIES 1000u
#define LOOKUP_COUNT 200000u
#define RANGE_COUNT 50000u
#define RANGE_ENTRIES 100u
#define TAIL_COUNT 200000u
#define TAIL_ENTRIES 10u
#define ROUNDS 3u
#define OPEN_ROUNDS 7u
#define LOCK_COUNT 1000000u
#define OPEN_FACTOR 5u
#define HEADER_BYTES 16u /* of a write()n entry: length and timestamp */

static uint64_t entry_count;
static uint64_t seed = 88172645463325252u;
static volatile uint64_t sink; /* what was read goes here, so that nobody skips reading it */

static void report(const char *what, double comet, double lmdb, double plain, const char *target) {
    printf("%-34s %9s %9s %9s   %-16s %s\n", what, bench_cell(comet), bench_cell(lmdb),
           bench_cell(plain), target, lmdb > 0 ? bench_cell(comet / lmdb) : "-");
    fflush(stdout);
}

/* ---- comet ------------------------------------------------------------------------------------ */

typedef struct comet_side {
    comet_log *log;
    comet_shard *shard;
    comet_cursor *cursor;
} comet_side;

static comet_error error;

static void check(comet_status status) {
    if (status != COMET_OK && status != COMET_DONE) {
        bench_fail("%s", error.message);
    }
}

static void side_open(comet_side *side, const char *name, const char *sync) {
    comet_settings settings;

    comet_settings_init(&settings);
    check(comet_settings_set(&settings, "sync", sync, &error));
    check(comet_log_open(bench_path(name), COMET_OPEN_CREATE, &settings, &side->log, &error));
    check(comet_shard_open(side->log, 0, true, &side->shard, &error));
    check(comet_cursor_open(side->shard, &side->cursor, &error));
}

static void side_close(comet_side *side) {
    comet_cursor_close(side->cursor);
    comet_shard_close(side->shard);
    comet_log_close(side->log);
    *side = (comet_side){0};
}

/* Append entries first .. first+count-1 in transactions of `batch`. */
static double comet_load(comet_side *side, uint64_t first, uint64_t count, uint64_t batch) {
    int64_t start = bench_clock();

    for (uint64_t i = 0; i < count; i += batch) {
        comet_txn *txn = NULL;
        uint64_t offset;

        check(comet_txn_begin(side->shard, &txn, &error));
        for (uint64_t j = i; j < i + batch && j < count; j++) {
            check(comet_txn_append(txn, bench_row(first + j), BENCH_ROW_BYTES,
                                   bench_time(first + j), &offset, &error));
        }
        check(comet_txn_prepare(txn, &error));
        comet_txn_publish(txn);
    }
    return (double)(bench_clock() - start) / (double)count;
}

/* Seek and read up to `limit` entries, timestamp and data of each. */
static uint64_t comet_read(comet_side *side, const comet_range *range, uint64_t limit) {
    uint64_t read = 0;
    comet_status status = comet_cursor_seek(side->cursor, NULL, range, &error);

    while (status == COMET_OK) {
        int64_t timestamp;
        const void *data;
        size_t size;

        check(comet_cursor_timestamp(side->cursor, &timestamp, &error));
        check(comet_cursor_data(side->cursor, &data, &size, &error));
        sink += (uint64_t)timestamp + size + ((const unsigned char *)data)[size - 1];
        if (++read == limit) {
            break;
        }
        status = comet_cursor_next(side->cursor, &error);
    }
    check(status);
    return read;
}

static double comet_scan(comet_side *side) {
    comet_range range;
    int64_t start = bench_clock();

    comet_range_init(&range);
    if (comet_read(side, &range, UINT64_MAX) != entry_count) {
        bench_fail("comet: a scan did not read %" PRIu64 " entries", entry_count);
    }
    return (double)(bench_clock() - start) / (double)entry_count;
}

enum { BY_OFFSET, BY_TIME, NEWEST };

static double comet_lookup(comet_side *side, int kind, uint64_t count, uint64_t limit) {
    int64_t start = bench_clock();

    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = bench_random(&seed) % (entry_count - RANGE_ENTRIES);
        comet_range range;

        comet_range_init(&range);
        if (kind == BY_OFFSET) {
            range.offset_first = at;
            range.offset_last = at;
        } else if (kind == BY_TIME) {
            range.by_time = true;
            range.time_first = bench_time(at);
        } else {
            range.descending = true;
        }
        if (comet_read(side, &range, limit) != limit) {
            bench_fail("comet: a lookup did not find %" PRIu64 " entries", limit);
        }
    }
    return (double)(bench_clock() - start) / (double)count;
}

/* ---- LMDB -------------------------------------------------------------------------------------- */

typedef struct lmdb_figures {
    double one, batch, scan, by_offset, by_time, newest;
} lmdb_figures;

#ifdef HAVE_LMDB

typedef struct lmdb_side {
    MDB_env *environment;
    MDB_dbi table;
    MDB_txn *reader;
    MDB_cursor *cursor;
} lmdb_side;

static void lmdb_check(int rc) {
    if (rc != MDB_SUCCESS) {
        bench_fail("LMDB: %s", mdb_strerror(rc));
    }
}

static void lmdb_open(lmdb_side *side, const char *name) {
    MDB_txn *txn;

    bench_remove(bench_path(name));
    lmdb_check(mdb_env_create(&side->environment));
    lmdb_check(mdb_env_set_mapsize(side->environment, (size_t)entry_count * 400 + (64u << 20)));
    lmdb_check(mdb_env_open(side->environment, bench_path(name),
                            MDB_WRITEMAP | MDB_NOSYNC | MDB_NOMETASYNC | MDB_NOSUBDIR, 0600));
    lmdb_check(mdb_txn_begin(side->environment, NULL, 0, &txn));
    lmdb_check(mdb_dbi_open(txn, NULL, MDB_CREATE | MDB_INTEGERKEY, &side->table));
    lmdb_check(mdb_txn_commit(txn));
}

static double lmdb_load(lmdb_side *side, uint64_t count, uint64_t batch, bool by_time) {
    int64_t start = bench_clock();

    for (uint64_t i = 0; i < count; i += batch) {
        MDB_txn *txn;

        lmdb_check(mdb_txn_begin(side->environment, NULL, 0, &txn));
        for (uint64_t j = i; j < i + batch && j < count; j++) {
            int64_t timestamp = bench_time(j);
            size_t number = by_time ? (size_t)timestamp : (size_t)j;
            MDB_val key = {sizeof number, &number};
            MDB_val value = {sizeof timestamp + BENCH_ROW_BYTES, NULL};

            lmdb_check(mdb_put(txn, side->table, &key, &value, MDB_APPEND | MDB_RESERVE));
            memcpy(value.mv_data, &timestamp, sizeof timestamp);
            memcpy((char *)value.mv_data + sizeof timestamp, bench_row(j), BENCH_ROW_BYTES);
        }
        lmdb_check(mdb_txn_commit(txn));
    }
    return (double)(bench_clock() - start) / (double)count;
}

static void lmdb_begin_reading(lmdb_side *side) {
    lmdb_check(mdb_txn_begin(side->environment, NULL, MDB_RDONLY, &side->reader));
    lmdb_check(mdb_cursor_open(side->reader, side->table, &side->cursor));
}

static void lmdb_close(lmdb_side *side) {
    if (side->reader != NULL) {
        mdb_cursor_close(side->cursor);
        mdb_txn_abort(side->reader);
    }
    mdb_env_close(side->environment);
    *side = (lmdb_side){0};
}

/* From where `operation` leads, read up to `limit` entries by `step`. */
static uint64_t lmdb_read(lmdb_side *side, size_t number, MDB_cursor_op operation,
                          MDB_cursor_op step, uint64_t limit) {
    MDB_val key = {sizeof number, &number};
    MDB_val value;
    uint64_t read = 0;
    int rc = mdb_cursor_get(side->cursor, &key, &value, operation);

    while (rc == MDB_SUCCESS) {
        int64_t timestamp;

        memcpy(&timestamp, value.mv_data, sizeof timestamp);
        sink += (uint64_t)timestamp + value.mv_size +
                ((const unsigned char *)value.mv_data)[value.mv_size - 1];
        if (++read == limit) {
            break;
        }
        rc = mdb_cursor_get(side->cursor, &key, &value, step);
    }
    return read;
}

static double lmdb_lookup(lmdb_side *side, int kind, uint64_t count, uint64_t limit) {
    int64_t start = bench_clock();

    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = bench_random(&seed) % (entry_count - RANGE_ENTRIES);
        uint64_t read;

        if (kind == NEWEST) {
            read = lmdb_read(side, 0, MDB_LAST, MDB_PREV, limit);
        } else {
            read = lmdb_read(side, kind == BY_TIME ? (size_t)bench_time(at) : (size_t)at,
                             kind == BY_TIME ? MDB_SET_RANGE : MDB_SET_KEY, MDB_NEXT, limit);
        }
        if (read != limit) {
            bench_fail("LMDB: a lookup did not find %" PRIu64 " entries", limit);
        }
    }
    return (double)(bench_clock() - start) / (double)count;
}

static lmdb_figures lmdb_measure(void) {
    lmdb_figures ns;
    lmdb_side side = {0};
    int64_t start;

    lmdb_open(&side, "lmdb-one");
    ns.one = lmdb_load(&side, entry_count / 4, 1, false);
    lmdb_close(&side);
    bench_remove(bench_path("lmdb-one"));

    lmdb_open(&side, "lmdb-offset");
    ns.batch = lmdb_load(&side, entry_count, BATCH_ENTRIES, false);
    lmdb_begin_reading(&side);
    start = bench_clock();
    if (lmdb_read(&side, 0, MDB_FIRST, MDB_NEXT, UINT64_MAX) != entry_count) {
        bench_fail("LMDB: a scan did not read %" PRIu64 " entries", entry_count);
    }
    ns.scan = (double)(bench_clock() - start) / (double)entry_count;
    ns.by_offset = lmdb_lookup(&side, BY_OFFSET, LOOKUP_COUNT, 1);
    ns.newest = lmdb_lookup(&side, NEWEST, TAIL_COUNT, TAIL_ENTRIES);
    lmdb_close(&side);
    bench_remove(bench_path("lmdb-offset"));

    lmdb_open(&side, "lmdb-time");
    lmdb_load(&side, entry_count, BATCH_ENTRIES, true);
    lmdb_begin_reading(&side);
    ns.by_time = lmdb_lookup(&side, BY_TIME, RANGE_COUNT, RANGE_ENTRIES);
    lmdb_close(&side);
    bench_remove(bench_path("lmdb-time"));
    return ns;
}

#else

static lmdb_figures lmdb_measure(void) {
    return (lmdb_figures){-1, -1, -1, -1, -1, -1};
}

#endif

/* ---- write() ----------------------------------------------------------------------------------- */

static double write_load(uint64_t count, uint64_t batch) {
    static char buffer[BATCH_ENTRIES * (HEADER_BYTES + BENCH_ROW_BYTES)];
    int fd = open(bench_path("write"), O_CREAT | O_TRUNC | O_WRONLY | O_APPEND, 0600);
    int64_t start = bench_clock();

    for (uint64_t i = 0; i < count; i += batch) {
        size_t size = 0;

        for (uint64_t j = i; j < i + batch && j < count; j++) {
            uint64_t head[2] = {BENCH_ROW_BYTES, (uint64_t)bench_time(j)};

            memcpy(buffer + size, head, sizeof head);
            memcpy(buffer + size + sizeof head, bench_row(j), BENCH_ROW_BYTES);
            size += sizeof head + BENCH_ROW_BYTES;
        }
        if (write(fd, buffer, size) != (ssize_t)size) {
            bench_fail("write() failed");
        }
    }
    start = bench_clock() - start;
    close(fd);
    bench_remove(bench_path("write"));
    return (double)start / (double)count;
}

/* ---- The measurements ------------------------------------------------------------------------- */

/* A shard of its own with `entries` entries in transactions of `batch`; ns an entry. */
static double comet_load_anew(const char *sync, uint64_t entries, uint64_t batch) {
    comet_side side;
    double ns;

    side_open(&side, "load", sync);
    ns = comet_load(&side, 0, entries, batch);
    side_close(&side);
    bench_remove(bench_path("load"));
    return ns;
}

/* sync=normal makes checkpoints meanwhile; sync=off is what LMDB's flags and write() are like. */
static void measure_writing(const lmdb_figures *lmdb) {
    double one[2][ROUNDS], batch[2][ROUNDS], one_write[ROUNDS], batch_write[ROUNDS];
    static const char *const syncs[] = {"normal", "off"};

    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < 2; i++) {
            one[i][round] = comet_load_anew(syncs[i], entry_count / 2, 1);
            batch[i][round] = comet_load_anew(syncs[i], entry_count, BATCH_ENTRIES);
        }
        one_write[round] = write_load(entry_count / 4, 1);
        batch_write[round] = write_load(entry_count, BATCH_ENTRIES);
    }
    report("append and publish one", bench_median(one[0], ROUNDS), lmdb->one,
           bench_median(one_write, ROUNDS), "<= 120");
    report("  with sync=off", bench_median(one[1], ROUNDS), lmdb->one, -1, "");
    report("append, 1000 a transaction", bench_median(batch[0], ROUNDS), lmdb->batch,
           bench_median(batch_write, ROUNDS), "<= 45");
    report("  with sync=off", bench_median(batch[1], ROUNDS), lmdb->batch, -1, "");
}

static void measure_reading(comet_side *side, const lmdb_figures *lmdb) {
    double scan[ROUNDS], by_offset[ROUNDS], by_time[ROUNDS], newest[ROUNDS];

    for (size_t round = 0; round < ROUNDS; round++) {
        scan[round] = comet_scan(side);
        by_offset[round] = comet_lookup(side, BY_OFFSET, LOOKUP_COUNT, 1);
        by_time[round] = comet_lookup(side, BY_TIME, RANGE_COUNT, RANGE_ENTRIES);
        newest[round] = comet_lookup(side, NEWEST, TAIL_COUNT, TAIL_ENTRIES);
    }
    report("read all, timestamp and data", bench_median(scan, ROUNDS), lmdb->scan, -1, "<= 20");
    report("one by random offset", bench_median(by_offset, ROUNDS), lmdb->by_offset, -1, "<= 450");
    report("100 from a random time on", bench_median(by_time, ROUNDS), lmdb->by_time, -1,
           "<= 3500");
    report("newest 10", bench_median(newest, ROUNDS), lmdb->newest, -1, "<= 500");
}

/* The writer's lock, uncontended: a transaction that appends nothing is little else.  Beside it, what a
** file lock costs, which is what others take (an OFD lock, taken and given back). */
static void measure_lock(comet_side *side) {
    double ours[ROUNDS], theirs[ROUNDS];
    int fd = open(bench_path("lock"), O_CREAT | O_RDWR, 0600);

    for (size_t round = 0; round < ROUNDS; round++) {
        struct flock lock = {.l_whence = SEEK_SET, .l_len = 1};
        int64_t start = bench_clock();

        for (uint64_t i = 0; i < LOCK_COUNT; i++) {
            comet_txn *txn = NULL;

            check(comet_txn_begin(side->shard, &txn, &error));
            comet_txn_publish(txn);
        }
        ours[round] = (double)(bench_clock() - start) / LOCK_COUNT;
        start = bench_clock();
        for (uint64_t i = 0; i < LOCK_COUNT; i++) {
            lock.l_type = F_WRLCK;
            if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
                bench_fail("cannot lock a file");
            }
            lock.l_type = F_UNLCK;
            (void)fcntl(fd, F_OFD_SETLK, &lock);
        }
        theirs[round] = (double)(bench_clock() - start) / LOCK_COUNT;
    }
    close(fd);
    report("the lock: begin, publish nothing", bench_median(ours, ROUNDS), -1,
           bench_median(theirs, ROUNDS), "<= 150");
}

/* Each acknowledgement moves the position by one entry. */
static void measure_ack(comet_side *side) {
    double ns[ROUNDS];

    for (size_t round = 0; round < ROUNDS; round++) {
        char name[16];
        int length = snprintf(name, sizeof name, "group%zu", round);
        comet_group *group;
        int64_t start;

        check(comet_group_open(side->shard, name, (size_t)length, &group, &error));
        check(comet_group_reserve(group, &error));
        start = bench_clock();
        for (uint64_t i = 0; i < entry_count; i++) {
            check(comet_group_ack(group, i, NULL, &error));
        }
        ns[round] = (double)(bench_clock() - start) / (double)entry_count;
        comet_group_close(group);
    }
    report("acknowledge one entry", bench_median(ns, ROUNDS), -1, -1, "<= 50");
}

static void measure_opening(uint64_t entries) {
    double ms[OPEN_ROUNDS];
    char what[64];

    for (size_t round = 0; round < OPEN_ROUNDS; round++) {
        comet_side side;
        comet_shard_info info;
        int64_t start = bench_clock();

        side_open(&side, "log", "normal");
        check(comet_shard_describe(side.shard, &info, &error));
        ms[round] = (double)(bench_clock() - start) / 1e6;
        if (info.end_offset != entries) {
            bench_fail("comet: %" PRIu64 " entries after opening", info.end_offset);
        }
        side_close(&side);
    }
    snprintf(what, sizeof what, "open %.3g million entries, ms", (double)entries / 1e6);
    report(what, bench_median(ms, OPEN_ROUNDS), -1, -1, "<= 5");
}

static void measure_disk(uint64_t entries) {
    double bytes = (double)bench_disk_bytes(bench_path("log")) / (double)entries;

    report("disk bytes beyond the payload", bytes - BENCH_ROW_BYTES, -1, -1, "<= 13.2");
}

/* What writer.c does for latency.h in transactions that wait for nothing; ns a transaction. */
static void measure_latency(void) {
    enum { COMMITS = 4000000 };
    static unsigned char bytes[STATE_BYTES] __attribute__((aligned(8)));
    shard_state state = {.bytes = bytes, .fd = -1, .writable = true};
    double ns[ROUNDS];

    for (size_t round = 0; round < ROUNDS; round++) {
        int64_t start = bench_clock();
        for (uint64_t i = 0; i < COMMITS; i++) {
            if (i % LATENCY_SAMPLE == 0) {
                int64_t begun = bench_clock();
                latency_add(&state, (uint64_t)(bench_clock() - begun), LATENCY_SAMPLE);
            }
        }
        ns[round] = (double)(bench_clock() - start) / COMMITS;
    }
    report("latency histogram, a transaction", bench_median(ns, ROUNDS), -1, -1, "");
    report("  ... an entry, 1000 of them", bench_median(ns, ROUNDS) / BATCH_ENTRIES, -1, -1,
           "<= 5");
}

/* KiB that the process has. */
typedef struct memory_use {
    double heap;     /* allocated */
    double mapped;   /* addresses */
    double resident; /* of them in memory */
} memory_use;

static memory_use read_memory(void) {
    memory_use use;
    long pages[2] = {0, 0};
    struct mallinfo2 heap = mallinfo2();
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL || fscanf(file, "%ld %ld", &pages[0], &pages[1]) != 2) {
        bench_fail("cannot read /proc/self/statm");
    }
    fclose(file);
    use.heap = (double)(heap.uordblks + heap.hblkhd) / 1024;
    use.mapped = (double)pages[0] * (double)sysconf(_SC_PAGESIZE) / 1024;
    use.resident = (double)pages[1] * (double)sysconf(_SC_PAGESIZE) / 1024;
    return use;
}

/* What a shard costs while it is open: first for reading, then with a transaction behind it. */
static void measure_memory(void) {
    enum { SHARDS = 256 };
    static comet_shard *shards[SHARDS];
    memory_use before, opened, written;
    comet_settings settings;
    comet_log *log;

    for (int round = 0; round < 2; round++) { /* the first makes them */
        comet_settings_init(&settings);
        check(comet_settings_set(&settings, "sync", "off", &error));
        check(comet_log_open(bench_path("memory"), COMET_OPEN_CREATE, &settings, &log, &error));
        before = read_memory();
        for (uint32_t i = 0; i < SHARDS; i++) {
            check(comet_shard_open(log, i, true, &shards[i], &error));
        }
        opened = read_memory();
        for (uint32_t i = 0; i < SHARDS; i++) {
            comet_side side = {.shard = shards[i]};
            comet_load(&side, 0, 1, 1);
        }
        written = read_memory();
        for (uint32_t i = 0; i < SHARDS; i++) {
            comet_shard_close(shards[i]);
        }
        comet_log_close(log);
    }
    report("an open shard, KiB of heap", (opened.heap - before.heap) / SHARDS, -1, -1, "<= 32");
    report("  ... KiB of addresses", (opened.mapped - before.mapped) / SHARDS, -1, -1, "");
    report("  written to, KiB of heap", (written.heap - before.heap) / SHARDS, -1, -1, "<= 32");
    report("  ... KiB in memory", (written.resident - before.resident) / SHARDS, -1, -1, "<= 512");
    report("  ... KiB of addresses", (written.mapped - before.mapped) / SHARDS, -1, -1, "<= 8192");
    bench_remove(bench_path("memory"));
}

int main(void) {
    comet_side side;
    lmdb_figures lmdb;
    uint64_t opened;

    bench_warm_memory();
    entry_count = bench_setting("BENCH_ENTRIES", 2000000);
    if (entry_count < 10 * BATCH_ENTRIES) {
        entry_count = 10 * BATCH_ENTRIES;
    }
    opened = entry_count * OPEN_FACTOR;
    printf("\nCore, %" PRIu64 " entries of %u bytes; ns an entry or a lookup\n", entry_count,
           BENCH_ROW_BYTES);
    printf("%-34s %9s %9s %9s   %-16s %s\n", "", "comet", "LMDB", "write()", "comet's target",
           "comet/LMDB");
    lmdb = lmdb_measure();
    measure_writing(&lmdb);
    side_open(&side, "log", "normal");
    comet_load(&side, 0, entry_count, BATCH_ENTRIES);
    measure_reading(&side, &lmdb);
    measure_lock(&side);
    measure_ack(&side);
    comet_load(&side, entry_count, opened - entry_count, BATCH_ENTRIES);
    side_close(&side);
    measure_opening(opened);
    measure_disk(opened);
    measure_latency();
    measure_memory();
    return 0;
}
