/* index.h -- the block index of one segment, log-<sequence>.idx.
**
** Decides: how an offset or a time is found without reading the data, and what a block's bytes must
** add up to.  A block is boundary_interval entries, or fewer large ones (BLOCK_BYTES_MAX).
**
**     chunk 0 (256 KiB)                       chunk 1
**     +--------+--------+--------+---- ... ---+------+--------+--- ...
**     | header | record | record |            | gap  | record |
**     +--------+--------+--------+---- ... ---+------+--------+--- ...
**       256 B                                   256 B
**
**     record   0        8          16         24          32       36      40        44
**              +--------+----------+----------+-----------+--------+-------+---------+-------------------+
**              | first  | position | lowest   | highest   | length | crc   | entries | places in block   |
**              | offset | in file  | timestamp| timestamp | bytes  | -32C  |         | of entries 8, 16… |
**              +--------+----------+----------+-----------+--------+-------+---------+-------------------+
**              at its end 4 bytes: CRC-32C of all before
**
** Only the shard's writer stores.  A record's first offset, position and places stand before the
** entries they belong to are published; all else when the block is full (of the last one at each
** commit).  A reader with a snapshot that ends at N uses records with first offset < N, and of the
** last of them only what belongs to entries < N: so no lock is needed.
**
** Derived data: lost or wrong, it is made anew from the segment, in memory.  Such an index is
** complete, and saved as a file, once the segment is written to no more.
*/
#ifndef COMET_INDEX_H
#define COMET_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "comet.h"
#include "limits.h"

typedef struct block_index block_index;

/* ---- Records ---- */

#define RECORD_PLACES 44u /* where the places begin */

static inline uint64_t record_first(const unsigned char *record) {
    return load_u64(record);
}
static inline uint64_t record_position(const unsigned char *record) {
    return load_u64(record + 8);
}
static inline int64_t record_time_low(const unsigned char *record) {
    return load_i64(record + 16);
}
static inline int64_t record_time_high(const unsigned char *record) {
    return load_i64(record + 24);
}
static inline uint32_t record_length(const unsigned char *record) {
    return load_u32(record + 32);
}
static inline uint32_t record_crc(const unsigned char *record) {
    return load_u32(record + 36);
}
static inline uint32_t record_entries(const unsigned char *record) {
    return load_u32(record + 40);
}
/* Where entry `stride` * INDEX_STRIDE of the block begins, counted from the block's position. */
static inline uint32_t record_place(const unsigned char *record, uint32_t stride) {
    return stride == 0 ? 0 : load_u32(record + RECORD_PLACES + 4 * (size_t)(stride - 1));
}

/* A length that no block has: the entries are known to have been there, and their bytes are not. */
#define RECORD_LENGTH_LOST UINT32_MAX

/* ---- The index ---- */

/* Make an index for a segment that may hold `data_bytes_max`; with `path` NULL in memory. */
comet_status index_create(const char *path, uint64_t sequence, uint64_t first_offset,
                          uint32_t interval, uint64_t data_bytes_max, block_index **index,
                          comet_error *error);

/* How an index is opened. */
typedef enum index_access {
    INDEX_READ,
    INDEX_WRITE,
    INDEX_MEND /* to write; of the records it counts, the power may have gone before the last were there */
} index_access;

/* Open the one that is there.  COMET_NOT_FOUND: none; COMET_CORRUPT: not this segment's. */
comet_status index_open(const char *path, uint64_t sequence, uint64_t first_offset,
                        index_access access, uint64_t data_bytes_max, block_index **index,
                        comet_error *error);
void index_close(block_index *index);

/* The first offset that the index at `path` was made for; COMET_CORRUPT or COMET_NOT_FOUND otherwise. */
comet_status index_peek(const char *path, uint64_t sequence, uint64_t *first_offset,
                        comet_error *error);

uint32_t index_interval(const block_index *index);
/* The most data that it can have a record for. */
uint64_t index_data_bytes_max(const block_index *index);

/* Number of records; those that a snapshot may use among them. */
uint64_t index_count(const block_index *index);

/* Record number `at` < index_count(); valid until index_close(). */
comet_status index_record(block_index *index, uint64_t at, const unsigned char **record,
                          comet_error *error);

/* The record that holds `offset`, which lies in the segment and below the snapshot's end. */
comet_status index_find(block_index *index, uint64_t offset, uint64_t *at, comet_error *error);

/* COMET_CORRUPT unless the record of a finished block has the checksum it was written with.  Looked at
** once in the life of a process. */
comet_status index_check_record(block_index *index, uint64_t at, comet_error *error);

/* Whether block `at` was checked against its checksum by this process, and remember that it was. */
bool index_is_checked(block_index *index, uint64_t at);
void index_set_checked(block_index *index, uint64_t at);

/* What the writer last noted: one past the newest entry prepared, and how many are compressed. */
void index_note(block_index *index, uint64_t end_offset, uint64_t compressed_count);
uint64_t index_noted_end(const block_index *index);
uint64_t index_noted_compressed(const block_index *index);

/* Lowest and highest timestamp of the blocks; all must be finished.  O(blocks). */
comet_status index_bounds(block_index *index, int64_t *time_low, int64_t *time_high,
                          comet_error *error);

/* ---- The growing end; for the writer, and for rebuilding ---- */

typedef struct index_tail {
    uint64_t end_offset; /* of the next entry */
    uint64_t position;   /* where it will stand */
    uint64_t block_first;
    uint64_t block_position;
    uint64_t record_count; /* the open block's record included, once it has an entry */
    unsigned char *record; /* of the open block */
    uint32_t interval;
    int64_t time_low;
    int64_t time_high;
    uint64_t crc_position; /* up to where `crc` covers the open block */
    uint32_t crc;
} index_tail;

/* The tail of an empty segment. */
void index_tail_init(index_tail *tail, const block_index *index, uint64_t first_offset);

/* Begin a block: its record is made. */
comet_status index_tail_begin(block_index *index, index_tail *tail, comet_error *error);

/* Whether the open block has no entry, or takes no more. */
static inline bool index_tail_is_empty(const index_tail *tail) {
    return tail->end_offset == tail->block_first;
}
static inline bool index_tail_is_full(const index_tail *tail) {
    return tail->end_offset - tail->block_first >= tail->interval ||
           tail->position - tail->block_position >= BLOCK_BYTES_MAX;
}

/* Count one entry of `size` bytes, header included, into the open block. */
static inline void index_tail_add(index_tail *tail, uint64_t size, int64_t timestamp) {
    uint64_t ordinal = tail->end_offset - tail->block_first;

    if (ordinal % INDEX_STRIDE == 0 && ordinal != 0) {
        store_u32(tail->record + RECORD_PLACES + 4 * (ordinal / INDEX_STRIDE - 1),
                  (uint32_t)(tail->position - tail->block_position));
    }
    tail->time_low = timestamp < tail->time_low ? timestamp : tail->time_low;
    tail->time_high = timestamp > tail->time_high ? timestamp : tail->time_high;
    tail->position += size;
    tail->end_offset++;
}

/* Bring tail->crc up to tail->position; `block` is where the block's bytes begin in memory. */
void index_tail_sum(index_tail *tail, const unsigned char *block);

/* Store bounds, length and checksum of the open block.  Does not begin a new one. */
void index_tail_finish(block_index *index, index_tail *tail, const unsigned char *block);

/* Say that entries from the tail on, up to `end`, are lost. */
comet_status index_tail_lose(block_index *index, index_tail *tail, uint64_t end,
                             comet_error *error);

/* Take back records: the open block is the last of `tail`. */
void index_tail_restore(block_index *index, const index_tail *tail);

/* ---- Durability ---- */

/* What a checkpoint vouches for: entries below end_offset, of which the last block's bytes
** [position of the block, position) have checksum crc. */
typedef struct index_mark {
    uint64_t end_offset;
    uint64_t position;
    uint32_t crc;
} index_mark;

/* Write the older of two mark slots; the newer one stays until the next call. */
void index_mark_store(block_index *index, const index_mark *mark);

/* The marks that are whole, newer first; returns how many (0 to 2). */
unsigned index_mark_load(const block_index *index, index_mark marks[2]);

/* After a failed sync: see that the next one writes all of it that this process has mapped. */
void index_touch(block_index *index);

/* Bring the index onto the disk; cut the file to what is used (no writer may be at work). */
comet_status index_sync(block_index *index, comet_error *error);
void index_cut(block_index *index);

/* Whether it is in memory alone; and put such a one, which grows no more, in the place of the file
** "<directory>/<name>".  This process goes on with the one in memory. */
bool index_is_in_memory(const block_index *index);
comet_status index_save(const block_index *index, const char *directory, const char *name,
                        comet_error *error);

/* Others may have cut the file: allocate anew before storing. */
void index_forget_room(block_index *index);

#endif
