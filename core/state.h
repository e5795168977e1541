/* state.h -- comet.state: one shard's 1024 mapped bytes, shared by all processes.
**
** Decides: where each shared number stands, and what makes the file believable.
**
**     0          128       ...                    768          864          1024
**     +----------+---------+----------------------+------------+------------+
**     | version, | metrics (the Go package's)     | ours: what | ours: the  |
**     | numbers  | metrics.c says what they mean  | all agree  | histogram  |
**     |          |                                | by         | latency.h  |
**     +----------+---------+----------------------+------------+------------+
**
** Each field is 8 aligned bytes in the machine's order, loaded and stored as a relaxed atomic but
** for STATE_END, whose release store is the one act by which a transaction becomes visible.
** The Go package sets STATE_LAST_ENTRY and leaves our part alone: when it is past STATE_END, Go has
** written since.
*/
#ifndef COMET_STATE_H
#define COMET_STATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comet.h"

#define STATE_BYTES 1024u
#define STATE_LATENCY_BYTES 160u

/* Places of the fields, in bytes. */
typedef enum state_field {
    STATE_VERSION = 0,
    STATE_WRITE_POSITION = 8,     /* Go: WriteOffset */
    STATE_LAST_ENTRY = 16,        /* newest entry, -1 none */
    STATE_LAST_INDEX_UPDATE = 24, /* ns; Go's readers reload when it grows */
    STATE_LAST_SEQUENCE = 48,     /* last data file number handed out */
    STATE_TOTAL_BYTES = 72,       /* before compression */
    STATE_TOTAL_WRITES = 80,      /* entries */
    STATE_LAST_WRITE_NS = 88,
    STATE_LAST_BATCH = 96, /* entries of the last transaction */
    STATE_TOTAL_BATCHES = 104,
    STATE_FAILED_WRITES = 112,
    STATE_COMPRESSED_BYTES = 128, /* stored bytes of compressed entries */
    STATE_COMPRESSED_ENTRIES = 136,
    STATE_SKIPPED_COMPRESSION = 144,
    STATE_COMPRESSION_SAVED = 152, /* of 10000, by the last transaction that compressed anything */
    STATE_COMPRESSION_NS = 160,
    STATE_LATENCY_NS = 192,
    STATE_LATENCY_COUNT = 200,
    STATE_LATENCY_MIN_NS = 208, /* 0: none */
    STATE_LATENCY_MAX_NS = 216,
    STATE_SYNC_NS = 224,
    STATE_FILES_CREATED = 256,
    STATE_FILES_DELETED = 264,
    STATE_FILE_ROTATIONS = 272,
    STATE_ROTATION_NS = 280,
    STATE_CURRENT_FILES = 288,
    STATE_TOTAL_FILE_BYTES = 296, /* of data, in all files */
    STATE_FAILED_ROTATIONS = 304,
    STATE_SYNC_COUNT = 312,
    STATE_CHECKPOINT_COUNT = 320,
    STATE_LAST_CHECKPOINT_NS = 328,
    STATE_CHECKPOINT_NS = 336,
    STATE_INDEX_PERSIST_COUNT = 344,
    STATE_INDEX_PERSIST_ERRORS = 352,
    STATE_ACTIVE_READERS = 384,
    STATE_TOTAL_READERS = 392,
    STATE_MAX_LAG = 400,
    STATE_ENTRIES_READ = 408,
    STATE_GROUP_COUNT = 416,
    STATE_ACKED_ENTRIES = 424,
    STATE_WINDOW_HITS = 432,
    STATE_ERRORS = 448,
    STATE_LAST_ERROR_NS = 456,
    STATE_CORRUPTION_DETECTED = 464,
    STATE_RECOVERY_ATTEMPTS = 472,
    STATE_RECOVERY_SUCCESSES = 480,
    STATE_PARTIAL_WRITES = 488,
    STATE_READ_ERRORS = 496,
    STATE_RETENTION_RUNS = 512,
    STATE_LAST_RETENTION_NS = 520,
    STATE_RETENTION_NS = 528,
    STATE_ENTRIES_DELETED = 536,
    STATE_BYTES_RECLAIMED = 544,
    STATE_OLDEST_ENTRY_NS = 552,
    STATE_RETENTION_ERRORS = 560,
    STATE_PROTECTED_BY_CONSUMERS = 568,
    STATE_WINDOW_MAPS = 640,
    STATE_WINDOW_UNMAPS = 648,
    STATE_WINDOW_BYTES = 656, /* of the process that mapped or unmapped last, as is the next */
    STATE_WINDOW_COUNT = 664,
    STATE_WINDOW_MOVES = 672,
    STATE_WINDOW_EVICTIONS = 680,

    STATE_MAGIC = 768,
    STATE_END = 776,          /* one past the newest committed entry */
    STATE_GENERATION = 784,   /* changes with the list of segments */
    STATE_BOOT = 792,         /* the machine's start in which this was last written */
    STATE_DURABLE_END = 800,  /* everything below survives a power cut */
    STATE_DISORDER_END = 808, /* one past the last entry with a timestamp below an earlier one */
    STATE_TIME_HIGH = 816,    /* highest timestamp ever, INT64_MIN none */
    STATE_LAST_CORRUPTION_NS = 824,
    STATE_ROTATION_FAILED_NS = 832, /* 0: the last one that was tried succeeded */
    STATE_SYNCS_FAILED = 840, /* in this start of the machine: checkpoint.c says what it means */

    STATE_LATENCY = 864 /* STATE_LATENCY_BYTES of the histogram, up to the file's end */
} state_field;

typedef struct shard_state {
    unsigned char *bytes; /* STATE_BYTES, mapped or, when detached, allocated */
    int fd;               /* -1: detached */
    bool writable;
} shard_state;

static inline uint64_t state_load(const shard_state *state, state_field field) {
    return atomic_load_explicit((_Atomic uint64_t *)(void *)(state->bytes + field),
                                memory_order_relaxed);
}

static inline void state_store(shard_state *state, state_field field, uint64_t value) {
    atomic_store_explicit((_Atomic uint64_t *)(void *)(state->bytes + field), value,
                          memory_order_relaxed);
}

/* For fields that only the shard's writer changes: no locked instruction is needed. */
static inline void state_bump(shard_state *state, state_field field, uint64_t by) {
    state_store(state, field, state_load(state, field) + by);
}

/* For fields that anybody changes; by UINT64_MAX, one less.  What may not be written stays as it is. */
static inline void state_add(shard_state *state, state_field field, uint64_t by) {
    if (state->writable) {
        atomic_fetch_add_explicit((_Atomic uint64_t *)(void *)(state->bytes + field), by,
                                  memory_order_relaxed);
    }
}

/* For marks of the highest that was ever seen. */
static inline void state_raise(shard_state *state, state_field field, uint64_t value) {
    _Atomic uint64_t *at = (_Atomic uint64_t *)(void *)(state->bytes + field);
    uint64_t seen = atomic_load_explicit(at, memory_order_relaxed);

    while (state->writable && value > seen &&
           !atomic_compare_exchange_weak_explicit(at, &seen, value, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

/* Count an error of the system; one that also says that bytes on disk are not what was written. */
void state_count_error(shard_state *state);
void state_count_corruption(shard_state *state);

/* The committed end.  What was stored before publish is seen after acquire. */
static inline uint64_t state_end(const shard_state *state) {
    return atomic_load_explicit((_Atomic uint64_t *)(void *)(state->bytes + STATE_END),
                                memory_order_acquire);
}

static inline void state_publish(shard_state *state, uint64_t end) {
    atomic_store_explicit((_Atomic uint64_t *)(void *)(state->bytes + STATE_END), end,
                          memory_order_release);
}

/* Map `path`.  A writer makes the file where it is missing, and gives one of the wrong size the
** right one; then all is zero and state_is_trusted() says no.  COMET_NOT_FOUND: a reader finds none,
** or one of the wrong size. */
comet_status state_open(const char *path, bool writable, shard_state *state, comet_error *error);

/* A state of this process's own, zeros, for logs that may not be written. */
comet_status state_detach(shard_state *state, comet_error *error);

void state_close(shard_state *state);

/* Whether our part was written by us, in this start of the machine, and Go has not written since.
** If not, the shard must be recovered before anything in it is believed. */
bool state_is_trusted(const shard_state *state);

#define STATE_MAGIC_VALUE UINT64_C(0x315453544D4F43FF) /* "\xFFCOMTST1": no plausible count */

/* Whether it still is what it was when it was opened: anybody can cut a mapped file. */
static inline bool state_is_ours(const shard_state *state) {
    return state_load(state, STATE_MAGIC) == STATE_MAGIC_VALUE;
}

/* Whether it holds what nobody writes: then no field is to be believed. */
bool state_is_damaged(const shard_state *state);

/* Say that all fields have been made right. */
void state_trust(shard_state *state);

#endif
