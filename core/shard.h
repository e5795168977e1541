/* shard.h -- what the rooms of a shard share: opening, writing, recovery, checkpoints, reading.
**
** Decides: which process and which thread may touch what.
**
**   home, state, list     any thread; `mutex` guards the list and what goes with it
**   tail, room, txn       the holder of the writer's lock, nobody else
**   state                 shared by all processes; see state.h
**
** Data flows one way: writer.c fills segments and publishes an end; cursors read up to it.
*/
#ifndef COMET_SHARD_H
#define COMET_SHARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "append.h"
#include "comet.h"
#include "entry.h"
#include "index.h"
#include "lock.h"
#include "log.h"
#include "manifest.h"
#include "offsets.h"
#include "segment.h"
#include "state.h"

#define MANIFEST_NAME "index.bin"

/* What has been appended since the tail was loaded, and not taken back. */
typedef struct write_totals {
    uint64_t bytes; /* before compression */
    uint64_t compressed_entries;
    uint64_t plain_bytes; /* of those, before and after */
    uint64_t stored_bytes;
} write_totals;

/* Where the next entry goes, and what its timestamp is compared with. */
typedef struct write_tail {
    index_tail index;
    block_index *blocks; /* the last segment's; its records are index's */
    bool is_closed; /* the last segment is damaged: it is kept, and the next entry begins another */
    size_t segment_count; /* of the writer's list; the last one is written to */
    int64_t time_high;    /* highest timestamp of the shard */
    uint64_t disorder_end;
    uint64_t compressed_count; /* of the current segment */
    write_totals totals;
} write_tail;

typedef struct txn_savepoint {
    int level;
    write_tail tail;
} txn_savepoint;

/* The one transaction that a process can have on a shard. */
struct comet_txn {
    comet_shard *shard;
    write_tail begin;
    segment_list *begin_list; /* the shard's tail_list */
    segment_list *list; /* the same, or an own one with the segments that this transaction made */
    bool list_is_saved; /* index.bin names `list` */
    bool is_prepared_durably;
    bool is_marked;   /* a mark, on disk or about to be, vouches for entries of this transaction */
    bool is_measured; /* waited_ns is to be counted */
    uint64_t waited_ns;      /* so far; latency.h says for what */
    uint64_t compression_ns; /* spent on compressing */
    txn_savepoint *savepoints;
    size_t savepoint_count;
    size_t savepoint_capacity;
};

struct comet_shard {
    log_core *log;
    comet_shard *next;     /* in the log's list */
    unsigned handles;      /* guarded by the log's mutex */
    unsigned opened_count; /* how often it was opened; guarded by it too */
    uint32_t id;
    segment_home home;
    shard_state state;

    pthread_mutex_t mutex;
    _Atomic(segment_list *) list; /* never NULL once open; changed under the mutex only */
    _Atomic uint64_t list_generation;
    shard_lock lock;
    atomic_bool lock_is_open; /* set last: whoever sees it sees the lock whole */

    pthread_mutex_t checkpoint_mutex;
    uint64_t rested_at;             /* transactions there were at the last shard_rest() */
    pthread_mutex_t settling_mutex; /* held while this process has the writer's lock to settle it */

    write_tail tail;
    segment_list *tail_list;  /* that the tail belongs to; NULL until it is loaded */
    uint64_t tail_generation; /* any other: somebody has changed or cut files since */
    bool tail_is_loaded;
    int64_t size_tick;           /* when the last file's size was last looked at */
    int64_t written_tick;        /* ... and then the wall clock was read */
    uint64_t quick_commits;      /* of this process, that had nothing to wait for */
    bool manifest_is_stale;      /* index.bin names segments that were rolled back */
    atomic_bool manifest_is_bad; /* index.bin was found damaged or missing */
    append_room room;
    entry_encoder *encoder;
    struct comet_txn txn;
    pthread_mutex_t groups_mutex;   /* who opens, claims and removes */
    _Atomic(offset_table *) groups; /* NULL until somebody needs it */
    atomic_bool acks_pending;       /* the group table has changed and is not durable */
    atomic_uint rollbacks;          /* cursors on a transaction's own entries compare it */
};

/* ---- shard.c: for log.c ---- */

comet_status shard_new(log_core *log, uint32_t id, bool create, comet_shard **shard,
                       comet_error *error);
/* Release it as it is. */
void shard_free(comet_shard *shard);

/* ---- settle.c: for log.c and upkeep.c ---- */

/* Checkpoint, save the manifest and cut the last file, as far as no writer is at work.  The shard stays
** usable; any thread. */
void shard_settle(comet_shard *shard);
/* Give the writer's mapping back if others need the room and nothing was written since the last call.
** One thread at a time. */
void shard_rest(comet_shard *shard);
/* If this process is settling the shard just now, and has the writer's lock for that, wait for it. */
void shard_await_settling(comet_shard *shard);

/* ---- shard.c: for its sisters ---- */

/* The newest list that belongs to the committed end; *end is that end.  Release the list. */
comet_status shard_snapshot(comet_shard *shard, segment_list **list, uint64_t *end,
                            comet_error *error);

/* Whether `list` is the one that shard_snapshot() would give; then *end is the committed end. */
bool shard_list_is_current(const comet_shard *shard, const segment_list *list, uint64_t *end);

/* The list in force in this process, be it out of date.  Release it. */
segment_list *shard_list(comet_shard *shard);

/* Put another list in force in this process. */
void shard_set_list(comet_shard *shard, segment_list *list, uint64_t generation);

/* Write index.bin from `list`, durably, and tell everyone.  Needs the writer's lock. */
comet_status shard_save_manifest(comet_shard *shard, segment_list *list, uint64_t end_offset,
                                 uint64_t end_position, comet_error *error);

/* Open the lock file unless it is. */
comet_status shard_lock_open(comet_shard *shard, comet_error *error);

/* The writer's lock, its file opened when first needed. */
comet_status shard_lock_take(comet_shard *shard, bool *took_over, comet_error *error);

/* The process that writes now, 0 when none does. */
uint32_t shard_writer(const comet_shard *shard);

/* "<directory>/<name>" of this shard. */
comet_status shard_path(const comet_shard *shard, const char *name, char path[PATH_BYTES_MAX],
                        comet_error *error);

/* COMET_MISUSE after a fork. */
comet_status shard_refuse_process(comet_error *error);
static inline comet_status shard_check_process(const comet_shard *shard, comet_error *error) {
    return log_is_forked(shard->log) ? shard_refuse_process(error) : COMET_OK;
}

/* ---- tail.c ---- */

/* Put another list beside the tail; the caller's reference goes over. */
void tail_set_list(comet_shard *shard, segment_list *list);

/* The tail as of the committed end.  Needs the writer's lock. */
comet_status tail_load(comet_shard *shard, comet_error *error);

/* Facts of a segment whose blocks are all finished, with `end` one past its last entry. */
comet_status tail_segment_facts(comet_shard *shard, const segment_item *item, uint64_t end,
                                uint64_t bytes, manifest_segment *facts, comet_error *error);

/* Let the `count` oldest segments go, none of which the transaction has touched: index.bin says so, durably,
** and everyone is told.  Their files are the caller's to unlink, then *gone to be released. */
comet_status writer_drop_oldest(comet_txn *txn, size_t count, segment_list **gone,
                                comet_error *error);

/* ---- checkpoint.c ---- */

/* Mark what is committed, and with `durable` bring it onto the disk.  Does not wait for writers, nor
** they for it. */
comet_status checkpoint_shard(comet_shard *shard, bool durable, comet_error *error);

/* If a sync has failed since the machine was started: write the entries from `from` to `end` once more, as
** the system may take them for written.  For a segment that is entered; `sealed` as for a block.
** COMET_CORRUPT: they are not what was written any more. */
comet_status checkpoint_write_again(comet_shard *shard, segment_file *segment, uint64_t from,
                                    uint64_t end, bool sealed, comet_error *error);

/* Where entry `end` - 1 ends, and the checksum of its block up to there. */
comet_status checkpoint_mark_at(segment_file *segment, uint64_t end, bool sealed, index_mark *mark,
                                comet_error *error);

/* Whether the bytes of a segment that is ready bear a mark out.  An error: nobody can tell just now. */
comet_status checkpoint_mark_holds(segment_file *segment, const index_mark *mark, bool *holds,
                                   comet_error *error);

/* ---- consumer.c ---- */

/* Bring what was acknowledged onto the disk; the entries should be there already. */
comet_status consumer_sync(comet_shard *shard, comet_error *error);

/* After recovery: entries past the end do not exist, so nobody has acknowledged them. */
void consumer_recover(comet_shard *shard);

/* ---- legacy.c ---- */

/* Whether groups stand where only older versions of the Go package look for them. */
bool legacy_is_there(const comet_shard *shard);

/* Take their positions over into `table`.  Needs the lock of the groups. */
comet_status legacy_import(comet_shard *shard, offset_table *table, comet_error *error);

/* ---- inventory.c ---- */

/* All bytes of a file of the shard, at most `most`.  Release *bytes with memory_release().
** Errors: COMET_NOT_FOUND, COMET_CORRUPT (there are more), COMET_NOMEM, COMET_IO. */
comet_status inventory_read_file(const comet_shard *shard, const char *name, uint64_t most,
                                 uint8_t **bytes, size_t *size, comet_error *error);

/* index.bin; as manifest_decode(). */
comet_status inventory_read_manifest(const comet_shard *shard, manifest *out, comet_error *error);

/* Load the list of segments: index.bin's, or where that is missing or damaged, made from the files.
** Segments that are open already are shared.  With `newer`, files that go on where index.bin ends
** belong to it: the machine went down before it was written. */
comet_status inventory_load(comet_shard *shard, bool newer, segment_list **list,
                            comet_error *error);

/* Remove what a dead transaction or an unfinished removal left: files that the list does not name. */
comet_status inventory_sweep(comet_shard *shard, const segment_list *list, comet_error *error);

/* The highest number of a data file; 0 for none. */
comet_status inventory_last_sequence(const comet_shard *shard, uint64_t *sequence,
                                     comet_error *error);

/* Remove data files with numbers below `sequence`, which retention let go and could not unlink. */
void inventory_remove_below(const comet_shard *shard, uint64_t sequence);

/* Keep a file that cannot be read for whoever wants to know why: it gets another name. */
void inventory_set_aside(const comet_shard *shard, const char *name);

/* ---- recovery.c ---- */

/* Make shard->state and shard->list right.  With a writable home, under the writer's lock, the
** files as well; else in memory alone. */
comet_status recovery_run(comet_shard *shard, comet_error *error);

/* After a writer died: take back what it had not published.  Needs the writer's lock. */
comet_status recovery_take_over(comet_shard *shard, comet_error *error);

#endif
