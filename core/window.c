/* window.c -- the pool: a list from the newest used window to the oldest. */
#include "window.h"

#include <assert.h>

#include "limits.h"
#include "memory.h"
#include "platform.h"
#include "status.h"

void window_pool_open(window_pool *pool, uint64_t limit_bytes) {
    pthread_mutex_init(&pool->mutex, NULL);
    pool->newest = pool->oldest = NULL;
    pool->mapped_bytes = pool->append_bytes = 0;
    pool->limit_bytes = limit_bytes;
    atomic_init(&pool->append_room, 0);
}

static void pool_unlink(window_pool *pool, map_window *window) {
    *(window->newer != NULL ? &window->newer->older : &pool->newest) = window->older;
    *(window->older != NULL ? &window->older->newer : &pool->oldest) = window->newer;
}

static void pool_link_newest(window_pool *pool, map_window *window) {
    window->newer = NULL;
    window->older = pool->newest;
    *(pool->newest != NULL ? &pool->newest->newer : &pool->oldest) = window;
    pool->newest = window;
}

/* What of the shard is mapped by this process, after that has changed. */
static void tell_mapped(const window_pool *pool, shard_state *state) {
    uint64_t bytes = 0;
    uint64_t count = 0;

    for (const map_window *window = pool->newest; window != NULL; window = window->older) {
        bytes += window->state == state ? window->length : 0;
        count += window->state == state ? 1 : 0;
    }
    state_store(state, STATE_WINDOW_BYTES, bytes);
    state_store(state, STATE_WINDOW_COUNT, count);
}

static void pool_drop(window_pool *pool, map_window *window) {
    assert(window->readers == 0);
    pool_unlink(pool, window);
    pool->mapped_bytes -= window->length;
    if (window->state != NULL && window->state->writable) {
        state_add(window->state, STATE_WINDOW_UNMAPS, 1);
        state_add(window->state, STATE_WINDOW_HITS, window->uses - 1);
        tell_mapped(pool, window->state);
    }
    (void)platform->unmap(window->bytes, (size_t)window->length);
    memory_release(window);
}

/* Make room for `length` more bytes as far as unused windows allow. */
static void pool_evict(window_pool *pool, uint64_t length) {
    map_window *window = pool->oldest;

    while (window != NULL && pool->mapped_bytes + length > pool->limit_bytes) {
        map_window *newer = window->newer;
        if (window->readers == 0) {
            if (window->state != NULL) {
                state_add(window->state, STATE_WINDOW_EVICTIONS, 1);
            }
            pool_drop(pool, window);
        }
        window = newer;
    }
}

void window_pool_close(window_pool *pool) {
    while (pool->oldest != NULL) {
        pool_drop(pool, pool->oldest);
    }
    pthread_mutex_destroy(&pool->mutex);
}

/* ---- Writers' ---- */

static uint64_t usual_window(const window_pool *pool) {
    uint64_t part = pool->limit_bytes / APPEND_WINDOW_SHARE / APPEND_WINDOW_COUNT_MIN;

    part = part > APPEND_WINDOW_BYTES_MIN ? part : APPEND_WINDOW_BYTES_MIN;
    return part < APPEND_WINDOW_BYTES ? part : APPEND_WINDOW_BYTES;
}

static void judge_share(window_pool *pool) {
    uint64_t share = pool->limit_bytes / APPEND_WINDOW_SHARE;
    uint64_t left = share > pool->append_bytes ? share - pool->append_bytes : 0;

    atomic_store_explicit(&pool->append_room, left / usual_window(pool), memory_order_relaxed);
}

void window_pool_limit(window_pool *pool, uint64_t limit_bytes) {
    pthread_mutex_lock(&pool->mutex);
    pool->limit_bytes = limit_bytes;
    judge_share(pool);
    pthread_mutex_unlock(&pool->mutex);
}

void window_pool_forget(window_pool *pool, const void *owner) {
    map_window *window;

    pthread_mutex_lock(&pool->mutex);
    window = pool->oldest;
    while (window != NULL) {
        map_window *newer = window->newer;
        if (window->owner == owner) {
            pool_drop(pool, window);
        }
        window = newer;
    }
    pthread_mutex_unlock(&pool->mutex);
}

static map_window *pool_find(const window_pool *pool, const void *owner, uint64_t position,
                             uint64_t length) {
    for (map_window *window = pool->newest; window != NULL; window = window->older) {
        if (window->owner == owner && position >= window->position &&
            position + length <= window->position + window->length &&
            (atomic_load(&platform_cut_count) == 0 || !platform_was_cut(window->bytes))) {
            return window;
        }
    }
    return NULL;
}

static comet_status pool_map(window_pool *pool, const window_source *source, uint64_t position,
                             uint64_t length, map_window **window, comet_error *error) {
    uint64_t start = position - position % WINDOW_ALIGNMENT_BYTES;
    uint64_t end = position + length;
    uint64_t usual = pool->limit_bytes / READ_WINDOW_SHARE;
    map_window *made = memory_allocate(sizeof *made);
    void *mapped = NULL;
    int result;

    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    usual = usual < READ_WINDOW_BYTES ? usual : READ_WINDOW_BYTES;
    if (pool->mapped_bytes + usual > pool->limit_bytes) {
        usual /= READ_WINDOW_SCARCE_SHARE;
    }
    if (end < start + usual) {
        end = start + usual < source->file_bytes ? start + usual : source->file_bytes;
    }
    pool_evict(pool, end - start);
    result = platform->map(source->fd, start, (size_t)(end - start), false, &mapped);
    if (result != 0) {
        memory_release(made);
        return error_set(error, COMET_IO, -result, "cannot map %llu bytes of a segment",
                         (unsigned long long)(end - start));
    }
    made->owner = source->owner;
    made->state = source->state;
    made->uses = 0;
    made->bytes = mapped;
    made->position = start;
    made->length = end - start;
    made->readers = 0;
    pool->mapped_bytes += made->length;
    pool_link_newest(pool, made);
    if (made->state != NULL && made->state->writable) {
        state_add(made->state, STATE_WINDOW_MAPS, 1);
        tell_mapped(pool, made->state);
    }
    *window = made;
    return COMET_OK;
}

comet_status window_acquire(window_pool *pool, const window_source *source, uint64_t position,
                            uint64_t length, map_window **window, comet_error *error) {
    comet_status status = COMET_OK;
    map_window *found;

    assert(position + length <= source->file_bytes);
    pthread_mutex_lock(&pool->mutex);
    found = pool_find(pool, source->owner, position, length);
    if (found == NULL) {
        status = pool_map(pool, source, position, length, &found, error);
    } else if (found != pool->newest) {
        pool_unlink(pool, found);
        pool_link_newest(pool, found);
    }
    if (status == COMET_OK) {
        found->readers++;
        found->uses++;
        *window = found;
    }
    pthread_mutex_unlock(&pool->mutex);
    return status;
}

void window_release(window_pool *pool, map_window *window) {
    if (window == NULL) {
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    assert(window->readers > 0);
    window->readers--;
    if (pool->mapped_bytes > pool->limit_bytes) {
        pool_evict(pool, 0);
    }
    pthread_mutex_unlock(&pool->mutex);
}

void window_pool_claim(window_pool *pool, uint64_t length, uint64_t *granted) {
    uint64_t usual;

    pthread_mutex_lock(&pool->mutex);
    judge_share(pool);
    usual = window_pool_is_scarce(pool) ? APPEND_WINDOW_BYTES_MIN : usual_window(pool);
    *granted = length > usual ? length : usual;
    pool_evict(pool, *granted);
    pool->append_bytes += *granted;
    pool->mapped_bytes += *granted;
    judge_share(pool);
    pthread_mutex_unlock(&pool->mutex);
}

void window_pool_give_back(window_pool *pool, uint64_t granted) {
    pthread_mutex_lock(&pool->mutex);
    pool->append_bytes -= granted;
    pool->mapped_bytes -= granted;
    judge_share(pool);
    pthread_mutex_unlock(&pool->mutex);
}

void window_pool_measure(window_pool *pool, uint64_t *mapped_bytes, uint64_t *limit_bytes) {
    pthread_mutex_lock(&pool->mutex);
    *mapped_bytes = pool->mapped_bytes;
    *limit_bytes = pool->limit_bytes;
    pthread_mutex_unlock(&pool->mutex);
}
