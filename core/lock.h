/* lock.h -- who writes a shard.
**
** Decides: how one process after the other becomes the writer, and how the death of one is noticed.
**
** The file `writer.lock` holds one mapped word.  0: nobody writes.  Else: the writer's process id in
** the upper half, its slot + 1 in the lower.  Taking and giving back is one compare-and-swap, some
** 20 ns.  Each process holds its slot (slot.h) for as long as it has the shard open.  So a word whose
** slot nobody holds has a dead holder and may be taken over, and the shard's tail must then be
** repaired.
**
** Not a robust mutex: one of those belongs to a thread, while a connection's transaction may begin
** in one thread of a pool, be committed by another, and outlive the first.
**
** Within a process all users of a shard share one shard_lock; the word keeps them apart as well.
*/
#ifndef COMET_LOCK_H
#define COMET_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "comet.h"
#include "slot.h"

typedef struct shard_lock {
    unsigned char *mapped;
    slot_file file; /* its fd is -1 before lock_open() */
    uint64_t mine;  /* the word when this process writes */
} shard_lock;

/* Open or make the lock file and take a slot.  The lock must not move until lock_close(). */
comet_status lock_open(const char *path, shard_lock *lock, comet_error *error);
void lock_close(shard_lock *lock);

/* Become the writer or fail with COMET_BUSY, naming the process.  *took_over: the last writer died
** while it wrote. */
comet_status lock_take(shard_lock *lock, bool *took_over, comet_error *error);
void lock_give(shard_lock *lock);
/* Give it as it was got: if it was taken over, the next one repairs what we did not. */
void lock_give_back(shard_lock *lock, bool took_over);

/* The process that writes now by the lock file `path`, 0 where none does or it died.  For whoever looks
** on: nothing is made, no slot is taken. */
uint32_t lock_holder(const char *path);

#endif
