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
    pool->mapped_bytes = 0;
    pool->limit_bytes = limit_bytes;
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

static void pool_drop(window_pool *pool, map_window *window) {
    assert(window->readers == 0);
    pool_unlink(pool, window);
    pool->mapped_bytes -= window->length;
    (void)platform->unmap(window->bytes, (size_t)window->length);
    memory_release(window);
}

/* Make room for `length` more bytes as far as unused windows allow. */
static void pool_evict(window_pool *pool, uint64_t length) {
    map_window *window = pool->oldest;

    while (window != NULL && pool->mapped_bytes + length > pool->limit_bytes) {
        map_window *newer = window->newer;
        if (window->readers == 0) {
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

void window_pool_limit(window_pool *pool, uint64_t limit_bytes) {
    pthread_mutex_lock(&pool->mutex);
    pool->limit_bytes = limit_bytes;
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

static comet_status pool_map(window_pool *pool, const void *owner, int fd, uint64_t file_bytes,
                             uint64_t position, uint64_t length, map_window **window,
                             comet_error *error) {
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
    if (end < start + usual) {
        end = start + usual < file_bytes ? start + usual : file_bytes;
    }
    pool_evict(pool, end - start);
    result = platform->map(fd, start, (size_t)(end - start), false, &mapped);
    if (result != 0) {
        memory_release(made);
        return error_set(error, COMET_IO, -result, "cannot map %llu bytes of a segment",
                         (unsigned long long)(end - start));
    }
    made->owner = owner;
    made->bytes = mapped;
    made->position = start;
    made->length = end - start;
    made->readers = 0;
    pool->mapped_bytes += made->length;
    pool_link_newest(pool, made);
    *window = made;
    return COMET_OK;
}

comet_status window_acquire(window_pool *pool, const void *owner, int fd, uint64_t file_bytes,
                            uint64_t position, uint64_t length, map_window **window,
                            comet_error *error) {
    comet_status status = COMET_OK;
    map_window *found;

    assert(position + length <= file_bytes);
    pthread_mutex_lock(&pool->mutex);
    found = pool_find(pool, owner, position, length);
    if (found == NULL) {
        status = pool_map(pool, owner, fd, file_bytes, position, length, &found, error);
    } else if (found != pool->newest) {
        pool_unlink(pool, found);
        pool_link_newest(pool, found);
    }
    if (status == COMET_OK) {
        found->readers++;
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
