/* lock.h -- who writes a shard.
**
** Decides: how one process after the other becomes the writer, and how the death of one is noticed.
**
** The file `writer.lock` holds one mapped word.  0: nobody writes.  Else: the writer's process id in
** the upper half, its slot + 1 in the lower.  Taking and giving back is one compare-and-swap, some
** 20 ns.  Each process keeps a lock on the byte of its slot for as long as it has the shard open;
** the system drops it when the process dies, however it dies.  So a word whose slot's byte is
** unlocked has a dead holder and may be taken over, and the shard's tail must then be repaired.
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

typedef struct shard_lock {
    unsigned char *mapped;
    int fd;
    uint64_t mine; /* the word when this process writes */
} shard_lock;

/* Open or make the lock file and take a slot. */
comet_status lock_open(const char *path, shard_lock *lock, comet_error *error);
void lock_close(shard_lock *lock);

/* Become the writer or fail with COMET_BUSY, naming the process.  *took_over: the last writer died
** while it wrote. */
comet_status lock_take(shard_lock *lock, bool *took_over, comet_error *error);
void lock_give(shard_lock *lock);

/* The process that writes now, 0 where none does or it died. */
uint32_t lock_holder(const shard_lock *lock);

#endif
