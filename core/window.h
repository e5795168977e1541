/* window.h -- mapped parts of data files, shared by all cursors of a log.
**
** Decides: how much of the segments is mapped at a time.  Whole segments would be too many addresses
** for a 32-bit device, and 256 shards of 1 GiB for any.  A window is counted by those who read it;
** one that nobody reads stays mapped until the pool passes its limit, the longest unused going first.
** Writers' windows (append.h) count as well: they take their share of the limit from the readers'.
**
** Each window is counted into the comet.state of its shard when it comes and when it goes; how often it
** was found there, when it goes.
**
** Thread rule: a pool may be used by any thread.  A window is valid between acquire and release.
*/
#ifndef COMET_WINDOW_H
#define COMET_WINDOW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "comet.h"
#include "state.h"

typedef struct map_window {
    struct map_window *newer, *older; /* in the pool's list */
    const void *owner;                /* whose file it is */
    shard_state *state;               /* of its shard; NULL: none */
    uint64_t uses;
    unsigned char *bytes;
    uint64_t position; /* of bytes[0] in the file */
    uint64_t length;
    unsigned readers;
} map_window;

typedef struct window_pool {
    pthread_mutex_t mutex;
    map_window *newest, *oldest;
    uint64_t mapped_bytes; /* the writers' as well */
    uint64_t limit_bytes;
    uint64_t append_bytes;        /* mapped by writers */
    _Atomic uint64_t append_room; /* usual windows that their share still has room for */
} window_pool;

void window_pool_open(window_pool *pool, uint64_t limit_bytes);
void window_pool_close(window_pool *pool);

/* From the next release on. */
void window_pool_limit(window_pool *pool, uint64_t limit_bytes);

/* A file to be mapped. */
typedef struct window_source {
    const void *owner;
    shard_state *state;
    int fd;
    uint64_t file_bytes;
} window_source;

/* A window over [position, position + length) of the source, which must lie in the file. */
comet_status window_acquire(window_pool *pool, const window_source *source, uint64_t position,
                            uint64_t length, map_window **window, comet_error *error);
void window_release(window_pool *pool, map_window *window);

/* Unmap all windows of `owner`; none may be in use. */
void window_pool_forget(window_pool *pool, const void *owner);

/* Writers map by themselves, and say how much: a usual window while their share lasts, else one that just
** covers `length`.  What cursors do not use goes for it.  *granted is to be given back. */
void window_pool_claim(window_pool *pool, uint64_t length, uint64_t *granted);
void window_pool_give_back(window_pool *pool, uint64_t granted);

/* Whether another usual window would be beyond their share: who has ended a transaction gives his back.
** One more would do: so must who has not written for a while. */
static inline bool window_pool_is_scarce(const window_pool *pool) {
    return atomic_load_explicit(&pool->append_room, memory_order_relaxed) < 1;
}
static inline bool window_pool_is_crowded(const window_pool *pool) {
    return atomic_load_explicit(&pool->append_room, memory_order_relaxed) < 2;
}

/* Bytes mapped now, and the most that there may be. */
void window_pool_measure(window_pool *pool, uint64_t *mapped_bytes, uint64_t *limit_bytes);

#endif
