/* memory.h -- where all memory of the core comes from.
**
** Decides: which allocator is in force, and what is said when it has nothing left.  Buffers carry
** no header of ours, so what comes from here may be given out to users, who release it with
** comet_free().
**
** Thread rule: memory_set() happens before any other call; the rest is as thread-safe as the
** allocator, which comet.h demands to be safe.
*/
#ifndef COMET_CORE_MEMORY_H
#define COMET_CORE_MEMORY_H

#include <stddef.h>

#include "comet.h"

/* `size` bytes, or NULL when there is no memory.  A size of 0 gives a pointer that is not NULL. */
void *memory_allocate(size_t size);
void *memory_allocate_zeroed(size_t size);

/* Grow or shrink; NULL on failure, then `memory` stands as it was.  NULL as `memory` allocates. */
void *memory_resize(void *memory, size_t size);

/* NULL is fine. */
void memory_release(void *memory);

/* Put another allocator in force; NULL puts the C library's back.  Nothing may be allocated. */
void memory_set(const comet_allocator *allocator);

/* Describe a failed allocation of `bytes` bytes in *error (may be NULL); returns COMET_NOMEM. */
comet_status memory_failed(comet_error *error, size_t bytes);

#endif
