/* lock.c -- the writer's lock.
**
**     writer.lock   0        8          16
**                   +--------+----------+
**                   | magic  | word     |     slot k is locked at byte LOCK_SLOT_BASE + k,
**                   +--------+----------+     far beyond the file's end
*/
#include "lock.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "limits.h"
#include "platform.h"
#include "status.h"

#define LOCK_FILE_BYTES 4096u
#define LOCK_MAGIC UINT64_C(0x314B434C54454D4F) /* "OMETLCK1" */
#define LOCK_MAGIC_PLACE 0
#define LOCK_WORD_PLACE 8
#define LOCK_SLOT_BASE ((uint64_t)1 << 40)
#define LOCK_DEAD_SLOT UINT32_MAX /* no process ever has it */

static _Atomic uint64_t *lock_word(const shard_lock *lock) {
    return (_Atomic uint64_t *)(void *)(lock->mapped + LOCK_WORD_PLACE);
}

static uint32_t word_slot(uint64_t word) {
    return (uint32_t)word - 1;
}

static comet_status lock_failed(const char *path, int result, comet_error *error) {
    comet_status status = COMET_IO;

    if (result == -ENOSPC || result == -EDQUOT) {
        status = COMET_FULL;
    } else if (result == -EACCES || result == -EROFS || result == -EPERM) {
        status = COMET_READONLY;
    }
    return error_set(error, status, -result, "cannot make the writer's lock %s", path);
}

/* A lock word that bears my slot before I ever took it was left by a dead process that had it. */
static void lock_disown(shard_lock *lock) {
    uint64_t word = atomic_load(lock_word(lock));

    if (word != 0 && word_slot(word) == word_slot(lock->mine)) {
        atomic_compare_exchange_strong(lock_word(lock), &word, (uint64_t)LOCK_DEAD_SLOT + 1);
    }
}

static int lock_take_slot(shard_lock *lock) {
    for (uint32_t slot = 0; slot < LOCK_SLOT_COUNT; slot++) {
        int result = platform->lock_byte(lock->fd, LOCK_SLOT_BASE + slot);
        if (result == 0) {
            lock->mine = (uint64_t)platform->process() << 32 | (slot + 1);
            return 0;
        }
        if (result != -EAGAIN) {
            return result;
        }
    }
    return -EUSERS;
}

comet_status lock_open(const char *path, shard_lock *lock, comet_error *error) {
    void *mapped = NULL;
    int result;

    lock->mapped = NULL;
    lock->fd = platform->open_file(path, PLATFORM_WRITE | PLATFORM_CREATE);
    if (lock->fd < 0) {
        return lock_failed(path, lock->fd, error);
    }
    result = platform->allocate(lock->fd, 0, LOCK_FILE_BYTES);
    if (result == 0) {
        result = platform->map(lock->fd, 0, LOCK_FILE_BYTES, true, &mapped);
    }
    if (result == 0) {
        lock->mapped = mapped;
        result = lock_take_slot(lock);
    }
    if (result != 0) {
        lock_close(lock);
        return lock_failed(path, result, error);
    }
    atomic_store((_Atomic uint64_t *)(void *)(lock->mapped + LOCK_MAGIC_PLACE), LOCK_MAGIC);
    lock_disown(lock);
    return COMET_OK;
}

void lock_close(shard_lock *lock) {
    if (lock->mapped != NULL) {
        (void)platform->unmap(lock->mapped, LOCK_FILE_BYTES);
    }
    if (lock->fd >= 0) {
        (void)platform->close_file(lock->fd);
    }
    lock->mapped = NULL;
    lock->fd = -1;
}

/* Whether the process behind a word lives.  When in doubt it does. */
static bool lock_holder_lives(const shard_lock *lock, uint64_t word) {
    uint32_t slot = word_slot(word);

    if (slot == word_slot(lock->mine)) {
        return true;
    }
    return slot < LOCK_SLOT_COUNT && platform->byte_is_locked(lock->fd, LOCK_SLOT_BASE + slot) != 0;
}

comet_status lock_take(shard_lock *lock, bool *took_over, comet_error *error) {
    uint64_t word = 0;

    assert(lock->mapped != NULL);
    if (atomic_compare_exchange_strong_explicit(lock_word(lock), &word, lock->mine,
                                                memory_order_acquire, memory_order_relaxed)) {
        *took_over = false;
        return COMET_OK;
    }
    if (!lock_holder_lives(lock, word) &&
        atomic_compare_exchange_strong(lock_word(lock), &word, lock->mine)) {
        *took_over = true;
        return COMET_OK;
    }
    return error_set(error, COMET_BUSY, 0,
                     "process %u is writing this shard; wait for its transaction to end",
                     (unsigned)(word >> 32));
}

void lock_give(shard_lock *lock) {
    assert(atomic_load(lock_word(lock)) == lock->mine);
    atomic_store_explicit(lock_word(lock), 0, memory_order_release);
}

uint32_t lock_holder(const shard_lock *lock) {
    uint64_t word;

    if (lock->mapped == NULL) {
        return 0;
    }
    word = atomic_load_explicit(lock_word(lock), memory_order_relaxed);
    return word != 0 && lock_holder_lives(lock, word) ? (uint32_t)(word >> 32) : 0;
}
