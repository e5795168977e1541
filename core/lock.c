/* lock.c -- the writer's lock.
**
**     writer.lock   0        8          16
**                   +--------+----------+
**                   | magic  | word     |
**                   +--------+----------+
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
#define LOCK_DEAD_SLOT UINT32_MAX /* no process ever has it */
#define LOCK_DEAD_WORD ((uint64_t)LOCK_DEAD_SLOT + 1)

static _Atomic uint64_t *lock_word(const shard_lock *lock) {
    return (_Atomic uint64_t *)(void *)(lock->mapped + LOCK_WORD_PLACE);
}

static uint32_t word_slot(uint64_t word) {
    return (uint32_t)word - 1;
}

static comet_status lock_failed(const char *path, int result, comet_error *error) {
    return error_set(error, status_of_refusal(result), -result, "cannot make the writer's lock %s",
                     path);
}

/* A lock word that bears my slot before I ever took it was left by a dead process that had it. */
static void lock_disown(shard_lock *lock) {
    uint64_t word = atomic_load(lock_word(lock));

    if (word != 0 && word_slot(word) == word_slot(lock->mine)) {
        atomic_compare_exchange_strong(lock_word(lock), &word, LOCK_DEAD_WORD);
    }
}

comet_status lock_open(const char *path, shard_lock *lock, comet_error *error) {
    void *mapped = NULL;
    uint32_t slot = 0;
    int result = slot_file_open(path, &lock->file);

    lock->mapped = NULL;
    if (result == 0) {
        result = platform->allocate(lock->file.fd, 0, LOCK_FILE_BYTES);
    }
    if (result == 0) {
        result = platform->map(lock->file.fd, 0, LOCK_FILE_BYTES, true, &mapped);
    }
    if (result == 0) {
        lock->mapped = mapped;
        result = slot_take(&lock->file, 0, LOCK_SLOT_COUNT, &slot);
    }
    if (result != 0) {
        lock_close(lock);
        return lock_failed(path, result, error);
    }
    lock->mine = (uint64_t)platform->process() << 32 | (slot + 1);
    atomic_store((_Atomic uint64_t *)(void *)(lock->mapped + LOCK_MAGIC_PLACE), LOCK_MAGIC);
    lock_disown(lock);
    return COMET_OK;
}

void lock_close(shard_lock *lock) {
    if (lock->mapped != NULL) {
        (void)platform->unmap(lock->mapped, LOCK_FILE_BYTES);
    }
    slot_file_close(&lock->file);
    lock->mapped = NULL;
}

/* Whether the process behind a word lives.  When in doubt it does. */
static bool lock_holder_lives(const shard_lock *lock, uint64_t word) {
    uint32_t slot = word_slot(word);

    if (slot == word_slot(lock->mine)) {
        return true;
    }
    return slot < LOCK_SLOT_COUNT && slot_is_held(&lock->file, slot);
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
    lock_give_back(lock, false);
}

void lock_give_back(shard_lock *lock, bool took_over) {
    assert(atomic_load(lock_word(lock)) == lock->mine);
    atomic_store_explicit(lock_word(lock), took_over ? LOCK_DEAD_WORD : 0, memory_order_release);
}

uint32_t lock_holder(const char *path) {
    slot_file file = {.fd = platform->open_file(path, PLATFORM_READ)};
    uint64_t word = 0;
    bool lives;

    if (file.fd < 0) {
        return 0;
    }
    lives = platform->read_at(file.fd, &word, sizeof word, LOCK_WORD_PLACE) == 0 && word != 0 &&
            word_slot(word) < LOCK_SLOT_COUNT && slot_is_held(&file, word_slot(word));
    (void)platform->close_file(file.fd);
    return lives ? (uint32_t)(word >> 32) : 0;
}
