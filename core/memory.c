/* memory.c -- the allocator in force.
**
** Decides: nothing but where memory comes from.  Blocks are the allocator's own; comet puts no
** header before them, so there are no bytes to draw.
*/
#include "memory.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "status.h"

static const comet_allocator memory_default = {realloc, free};
static comet_allocator memory_allocator = {realloc, free};

void memory_set(const comet_allocator *allocator) {
    assert(allocator == NULL || (allocator->resize != NULL && allocator->release != NULL));
    memory_allocator = allocator == NULL ? memory_default : *allocator;
}

void *memory_allocate(size_t size) {
    return memory_resize(NULL, size);
}

void *memory_allocate_zeroed(size_t size) {
    void *memory;

    /* calloc gets fresh pages from the kernel without touching them. */
    if (memory_allocator.resize == realloc) {
        return calloc(1, size == 0 ? 1 : size);
    }
    memory = memory_resize(NULL, size);
    if (memory != NULL) {
        memset(memory, 0, size);
    }
    return memory;
}

void *memory_resize(void *memory, size_t size) {
    /* No object is larger, and allocators differ in what they make of it. */
    if (size > PTRDIFF_MAX) {
        return NULL;
    }
    /* realloc(p, 0) may free p. */
    return memory_allocator.resize(memory, size == 0 ? 1 : size);
}

void memory_release(void *memory) {
    if (memory != NULL) {
        memory_allocator.release(memory);
    }
}

comet_status memory_failed(comet_error *error, size_t bytes) {
    return error_set(error, COMET_NOMEM, 0, "out of memory: %zu bytes could not be allocated",
                     bytes);
}

void comet_free(void *memory) {
    memory_release(memory);
}
