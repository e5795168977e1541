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

#include <pthread.h>
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

/* Segments of a log that are open and that nobody is in: the newest ones stay open, as they are likely
** to be entered again; the others are closed.  So what a process holds open does not grow with the
** number of segments, which may be thousands. */
typedef struct segment_idlers {
    pthread_mutex_t mutex;
    segment_file *newest, *oldest;
    unsigned count;
} segment_idlers;

void segment_idlers_open(segment_idlers *idlers);
void segment_idlers_close(segment_idlers *idlers); /* all segments have been released */

/* What all segments of a shard have in common. */
typedef struct segment_home {
    window_pool *pool;
    segment_idlers *idlers;
    shard_state *state;             /* where its windows are counted */
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

typedef struct segment_created {
    uint64_t bytes_max; /* sparse */
    uint32_t interval;  /* entries a block */
    bool durable;       /* the index's beginning is on the disk before there is a data file */
} segment_created;

/* Make a new one on disk, empty, with its index.  COMET_IO with EEXIST: there is such a file. */
comet_status segment_create(const segment_home *home, const manifest_segment *facts,
                            const segment_created *how, segment_file **segment, comet_error *error);

void segment_retain(segment_file *segment);
void segment_release(segment_file *segment); /* NULL is fine */

/* Whether anybody but the caller, who holds one reference, has it. */
bool segment_is_shared(segment_file *segment);

/* Open the files if need be, and have an index that knows of all entries below `end`, which is the
** segment's end or the snapshot's; until segment_leave(), after which nothing that was got from the
** segment is to be used any more.  Where the index on disk is missing or damaged, one is made in memory
** from the data, and follows as the segment grows.  Entries below `end` that the data does not hold are
** lost: the index says so, and reading them is COMET_CORRUPT. */
comet_status segment_enter(segment_file *segment, uint64_t end, comet_error *error);
void segment_leave(segment_file *segment);

/* For who is in it: see that the index knows of what has been appended, up to another end. */
comet_status segment_catch_up(segment_file *segment, uint64_t end, comet_error *error);

/* As segment_enter(), for the one writer, until segment_rest(), which does nothing for a segment that
** is not being written.  One that segment_create() made is. */
comet_status segment_write(segment_file *segment, uint64_t end, comet_error *error);
void segment_rest(segment_file *segment);

/* The index in use was found to be damaged: segment_enter() makes another.  What was got from the old
** one stays valid until the segment is released. */
void segment_doubt_index(segment_file *segment);
bool segment_index_is_doubted(const segment_file *segment);

/* One past the last entry that the segment's files tell of: by the index's note, else by its data.
** For recovery, before anybody reads, and until segment_rest(): *indexed says whether it was an index
** on disk that told. */
comet_status segment_find_end(segment_file *segment, uint64_t *end, bool *indexed,
                              comet_error *error);

/* Put an index that was made in memory beside the data, for the next to open.  Only for a segment
** that is written to no more, and while holding the writer's lock. */
comet_status segment_save_index(segment_file *segment, comet_error *error);

/* These need a segment that was entered. */
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
    block_index *index;
    uint64_t at;    /* its number in the index */
    uint64_t first; /* offsets [first, end) */
    uint64_t end;
    uint64_t position; /* bytes [position, limit); of an open block the limit is only a bound */
    uint64_t limit;
    bool sealed;      /* full, with bounds and checksum */
    bool lost;        /* known to be missing from the data; limit is position */
    int64_t time_low; /* of a sealed one; else everything is possible */
    int64_t time_high;
    const unsigned char *record;
} segment_block;

/* Describe block `at` for a snapshot that ends at `end`; `sealed` segments lie wholly below it.
** Reads the index only. */
comet_status segment_describe_block(segment_file *segment, uint64_t at, uint64_t end, bool sealed,
                                    segment_block *block, comet_error *error);

/* Make sure that the file still has the block's bytes and, the first time in this process, that they
** have the checksum they were written with.  *window: as in segment_bytes(). */
comet_status segment_check_block(segment_file *segment, segment_block *block, map_window **window,
                                 comet_error *error);

/* Bytes [position, position + length) of a file that is known to be long enough.  *window is the
** caller's held window (NULL at first): replaced when it does not cover the range. */
comet_status segment_bytes(segment_file *segment, map_window **window, uint64_t position,
                           uint64_t length, const unsigned char **bytes, comet_error *error);
void segment_release_window(segment_file *segment, map_window **window);

/* COMET_CORRUPT if the file was cut under the window while it was read: what was got from it since
** `*cuts`, the caller's memory of platform_cut_count, may be zeros.  Free of cost while nobody cuts. */
comet_status segment_check_cut(const segment_file *segment, const map_window *window,
                               unsigned *cuts, comet_error *error);

/* An error about entries of this segment, in the words users get. */
comet_status segment_corrupt(const segment_file *segment, uint64_t first, uint64_t last,
                             const char *what, comet_error *error);

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
