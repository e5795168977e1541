/* merge.c -- blocks sorted by where they begin, and a binary heap of entries. */
#include "merge.h"

#include <stdlib.h>

#include "memory.h"
#include "status.h"

#define CAPACITY_FIRST 256

/* Descending order is ascending order of complements. */
typedef struct merge_entry {
    int64_t key;
    uint64_t tie;
} merge_entry;

typedef struct merge_block {
    int64_t key; /* no entry of it comes before this */
    uint64_t first;
    uint64_t end;
} merge_block;

struct time_merge {
    bool descending;
    bool sorted;
    merge_block *blocks;
    size_t block_count, block_capacity, block_next;
    merge_entry *heap;
    size_t heap_count, heap_capacity;
};

comet_status merge_open(bool descending, time_merge **merge, comet_error *error) {
    time_merge *made = memory_allocate_zeroed(sizeof *made);

    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    made->descending = descending;
    *merge = made;
    return COMET_OK;
}

void merge_close(time_merge *merge) {
    if (merge != NULL) {
        memory_release(merge->blocks);
        memory_release(merge->heap);
        memory_release(merge);
    }
}

/* Room for one more item in a growing array. */
static comet_status grow(void **items, size_t count, size_t *capacity, size_t item_size,
                         comet_error *error) {
    size_t wanted;
    void *grown;

    if (count < *capacity) {
        return COMET_OK;
    }
    wanted = *capacity > 0 ? 2 * *capacity : CAPACITY_FIRST;
    grown = memory_resize(*items, wanted * item_size);
    if (grown == NULL) {
        return memory_failed(error, wanted * item_size);
    }
    *items = grown;
    *capacity = wanted;
    return COMET_OK;
}

comet_status merge_add_block(time_merge *merge, uint64_t first, uint64_t end, int64_t time_low,
                             int64_t time_high, comet_error *error) {
    merge_block block = {merge->descending ? ~time_high : time_low, first, end};
    void *blocks = merge->blocks;

    FORWARD(grow(&blocks, merge->block_count, &merge->block_capacity, sizeof block, error));
    merge->blocks = blocks;
    merge->blocks[merge->block_count++] = block;
    return COMET_OK;
}

static bool comes_before(const merge_entry *left, const merge_entry *right) {
    return left->key != right->key ? left->key < right->key : left->tie < right->tie;
}

comet_status merge_add_entry(time_merge *merge, uint64_t offset, int64_t timestamp,
                             comet_error *error) {
    merge_entry entry = {merge->descending ? ~timestamp : timestamp,
                         merge->descending ? ~offset : offset};
    void *heap = merge->heap;
    size_t at;

    FORWARD(grow(&heap, merge->heap_count, &merge->heap_capacity, sizeof entry, error));
    merge->heap = heap;
    at = merge->heap_count++;
    while (at > 0 && comes_before(&entry, &merge->heap[(at - 1) / 2])) {
        merge->heap[at] = merge->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    merge->heap[at] = entry;
    return COMET_OK;
}

static merge_entry heap_pop(time_merge *merge) {
    merge_entry top = merge->heap[0];
    merge_entry moved = merge->heap[--merge->heap_count];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= merge->heap_count) {
            break;
        }
        if (child + 1 < merge->heap_count &&
            comes_before(&merge->heap[child + 1], &merge->heap[child])) {
            child++;
        }
        if (!comes_before(&merge->heap[child], &moved)) {
            break;
        }
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = moved;
    return top;
}

static int block_compare(const void *left, const void *right) {
    const merge_block *a = left;
    const merge_block *b = right;

    return a->key != b->key ? (a->key < b->key ? -1 : 1) : (a->first < b->first ? -1 : 1);
}

comet_status merge_next(time_merge *merge, merge_reader reader, void *context, uint64_t *offset,
                        comet_error *error) {
    merge_entry top;

    if (!merge->sorted && merge->block_count > 0) {
        qsort(merge->blocks, merge->block_count, sizeof *merge->blocks, block_compare);
        merge->sorted = true;
    }
    while (merge->block_next < merge->block_count &&
           (merge->heap_count == 0 || merge->blocks[merge->block_next].key <= merge->heap[0].key)) {
        const merge_block *block = &merge->blocks[merge->block_next++];
        FORWARD(reader(context, merge, block->first, block->end, error));
    }
    if (merge->heap_count == 0) {
        return COMET_DONE;
    }
    top = heap_pop(merge);
    *offset = merge->descending ? ~top.tie : top.tie;
    return COMET_OK;
}
