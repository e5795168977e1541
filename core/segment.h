/* segment.h -- one data file of a shard, log-<sequence>.comet, and its index.
**
** Decides: how a block is found, mapped, and trusted before its entries are handed out.  Knows
** nothing of transactions; writing goes through append.h.
**
** A segment_file is shared and counted; its files are opened at the first use.  A segment_list is
** the immutable, counted list of a shard's segments at one moment: a snapshot keeps its own.
*/
#ifndef COMET_SEGMENT_H
#define COMET_SEGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comet.h"
#include "index.h"
#include "limits.h"
#include "manifest.h"
#include "window.h"

typedef struct segment_file segment_file;

/* What all segments of a shard have in common. */
typedef struct segment_home {
    window_pool *pool;
    char directory[PATH_BYTES_MAX]; /* of the shard */
    uint32_t shard;
    bool writable;
    _Atomic uint64_t bytes_max; /* of a segment: max_file_size */
} segment_home;

/* ---- One segment ---- */

/* A segment that is there; nothing is opened yet.  `home` must outlive it.
** `facts` tells where it begins, and how many entries it has at least. */
comet_status segment_new(const segment_home *home, const manifest_segment *facts,
                         segment_file **segment, comet_error *error);

/* Make a new one on disk, empty, of `bytes_max` sparse bytes, with its index. */
comet_status segment_create(const segment_home *home, const manifest_segment *facts,
                            uint64_t bytes_max, uint32_t interval, segment_file **segment,
                            comet_error *error);

void segment_retain(segment_file *segment);
void segment_release(segment_file *segment); /* NULL is fine */

/* Open the files if need be; an index that is missing or damaged is rebuilt. */
comet_status segment_ready(segment_file *segment, comet_error *error);

/* Throw the index away and make it anew from the data.  Nobody else may use the segment. */
comet_status segment_reindex(segment_file *segment, comet_error *error);

/* These need a segment that is ready. */
block_index *segment_index(const segment_file *segment);
int segment_fd(const segment_file *segment);
comet_status segment_size(const segment_file *segment, uint64_t *bytes, comet_error *error);

const char *segment_path(const segment_file *segment);
uint64_t segment_first_offset(const segment_file *segment);

/* Bring data and index onto the disk. */
comet_status segment_sync(segment_file *segment, comet_error *error);

/* Cut the files to `bytes` of data.  Only while holding the writer's lock. */
comet_status segment_cut(segment_file *segment, uint64_t bytes, comet_error *error);

/* Unlink both files, whoever still reads them. */
comet_status segment_remove(segment_file *segment, comet_error *error);

/* ---- Reading ---- */

/* One block as a snapshot sees it. */
typedef struct segment_block {
    uint64_t at;    /* its number in the index */
    uint64_t first; /* offsets [first, end) */
    uint64_t end;
    uint64_t position; /* bytes [position, limit); of an open block the limit is only a bound */
    uint64_t limit;
    bool sealed;      /* full, with bounds and checksum */
    int64_t time_low; /* of a sealed one; else everything is possible */
    int64_t time_high;
    const unsigned char *record;
} segment_block;

/* Describe block `at` for a snapshot that ends at `end`; `sealed` segments lie wholly below it.
** Reads the index only. */
comet_status segment_describe_block(segment_file *segment, uint64_t at, uint64_t end, bool sealed,
                                    segment_block *block, comet_error *error);

/* How long a reader has found the file to be, and when. */
typedef struct segment_sighting {
    uint64_t size_bytes;
    int64_t tick; /* 0: never */
} segment_sighting;

/* Make sure that the file still has the block's bytes and, the first time in this process, that they
** have the checksum they were written with.  The file's size is looked at once a tick.
** *window: as in segment_bytes(). */
comet_status segment_check_block(segment_file *segment, segment_block *block,
                                 segment_sighting *seen, map_window **window, comet_error *error);

/* Bytes [position, position + length) of a file that is known to be long enough.  *window is the
** caller's held window (NULL at first): replaced when it does not cover the range. */
comet_status segment_bytes(segment_file *segment, map_window **window, uint64_t position,
                           uint64_t length, const unsigned char **bytes, comet_error *error);
void segment_release_window(segment_file *segment, map_window **window);

/* An error about entries of this segment, in the words users get. */
comet_status segment_corrupt(const segment_file *segment, uint64_t first, uint64_t last,
                             const char *what, comet_error *error);

/* ---- Walking all entries ---- */

/* What a walk over headers adds up to. */
typedef struct segment_sums {
    int64_t time_low;
    int64_t time_high;
    int64_t shard_time_high; /* of this and all earlier segments */
    uint64_t disorder_end;
    uint64_t compressed_count;
} segment_sums;

static inline void segment_sums_init(segment_sums *sums, int64_t shard_time_high,
                                     uint64_t disorder_end) {
    sums->time_low = INT64_MAX;
    sums->time_high = INT64_MIN;
    sums->shard_time_high = shard_time_high;
    sums->disorder_end = disorder_end;
    sums->compressed_count = 0;
}

static inline void segment_sums_add(segment_sums *sums, uint64_t offset, int64_t timestamp,
                                    bool compressed) {
    sums->time_low = timestamp < sums->time_low ? timestamp : sums->time_low;
    sums->time_high = timestamp > sums->time_high ? timestamp : sums->time_high;
    sums->compressed_count += compressed ? 1 : 0;
    if (timestamp < sums->shard_time_high) {
        sums->disorder_end = offset + 1;
    } else {
        sums->shard_time_high = timestamp;
    }
}

/* Walk from `tail` on, at most to offset `offset_end`, as long as whole entries follow, and count
** them into `tail` and, unless NULL, `sums`.  Full blocks are finished in `index`.
** A header of zeros ends the walk unless offsets below `certain_end` are still due. */
comet_status segment_walk(segment_file *segment, block_index *index, index_tail *tail,
                          segment_sums *sums, uint64_t certain_end, uint64_t offset_end,
                          comet_error *error);

/* ---- Lists ---- */

typedef struct segment_item {
    manifest_segment facts; /* as of the list's making */
    segment_file *file;
} segment_item;

typedef struct segment_list {
    atomic_uint references;
    size_t count;
    segment_item items[];
} segment_list;

/* A list of `count` items with no files; fill it, then share it. */
comet_status segment_list_new(size_t count, segment_list **list, comet_error *error);
/* The first `count` items of `from`, and `room` empty ones behind. */
comet_status segment_list_copy(const segment_list *from, size_t count, size_t room,
                               segment_list **list, comet_error *error);
void segment_list_retain(segment_list *list);
void segment_list_release(segment_list *list); /* and its files; NULL is fine */

/* The item that holds `offset`: the last one that begins at or below it.  There must be one. */
size_t segment_list_find(const segment_list *list, uint64_t offset);

#endif
