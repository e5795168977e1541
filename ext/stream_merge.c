/* stream_merge.c -- see stream_merge.h. */
#include "stream_merge.h"

#include <assert.h>
#include <string.h>

#include "report.h"

#define PARTS_MIN 16

/* One shard of the way. */
typedef struct part {
    open_shard *shard;
    comet_cursor *cursor; /* NULL: not opened yet */
    comet_txn *txn;
    uint64_t first; /* offsets [first, end) */
    uint64_t end;
} part;

/* A shard's place in the heap.  Descending order is ascending order of complements. */
typedef struct place {
    int64_t key;  /* of its current entry; of one that is not opened a bound */
    uint32_t tie; /* OPENED, and the part, or descending its complement */
    uint32_t part;
} place;

/* A bound goes before an entry of the same time: what it stands for may come before that. */
#define OPENED 0x80000000u

typedef struct part_list {
    part *parts;
    size_t count;
    size_t capacity;
} part_list;

struct stream_merge {
    part_list now;
    part_list before; /* of the way before: cursors to be used again, in ascending order */
    size_t before_at;
    comet_range range;
    bool merged;            /* in time order over all shards */
    bool shards_descending; /* else shard after shard, this way round */
    place *heap;            /* its first is the current entry's */
    size_t heap_count;
    size_t heap_capacity;
    size_t at; /* shard after shard: the part we are in, counted from the way's beginning */
    size_t opened;
};

comet_status stream_merge_new(stream_merge **merge, comet_error *error) {
    stream_merge *made = sqlite3_malloc64(sizeof *made);

    if (made == NULL) {
        return failure_no_memory(error);
    }
    memset(made, 0, sizeof *made);
    *merge = made;
    return COMET_OK;
}

static void clear_list(part_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        comet_cursor_close(list->parts[i].cursor);
    }
    list->count = 0;
}

void stream_merge_free(stream_merge *merge) {
    if (merge != NULL) {
        clear_list(&merge->now);
        clear_list(&merge->before);
        sqlite3_free(merge->now.parts);
        sqlite3_free(merge->before.parts);
        sqlite3_free(merge->heap);
        sqlite3_free(merge);
    }
}

void stream_merge_reset(stream_merge *merge, const scan *asked) {
    part_list used = merge->now;

    clear_list(&merge->before);
    merge->now = merge->before;
    merge->before = used;
    merge->before_at = 0;
    merge->heap_count = 0;
    merge->at = 0;
    merge->opened = 0;
    scan_range(asked, &merge->range);
    merge->merged = (asked->flags & PLAN_BY_TIME) != 0 && (asked->flags & PLAN_BY_SHARD) == 0;
    merge->shards_descending = (asked->flags & PLAN_SHARDS_DESCENDING) != 0;
}

/* ---- Adding ---------------------------------------------------------------------------------- */

/* The cursor that the way before had on this shard. */
static comet_cursor *take_cursor(stream_merge *merge, const open_shard *shard) {
    part_list *before = &merge->before;
    comet_cursor *cursor = NULL;

    while (merge->before_at < before->count &&
           before->parts[merge->before_at].shard->id < shard->id) {
        merge->before_at++;
    }
    if (merge->before_at < before->count && before->parts[merge->before_at].shard == shard) {
        cursor = before->parts[merge->before_at].cursor;
        before->parts[merge->before_at].cursor = NULL;
    }
    return cursor;
}

static comet_status add_part(stream_merge *merge, const part *added, int64_t key,
                             comet_error *error) {
    part_list *now = &merge->now;

    if (now->count == now->capacity) {
        size_t capacity = now->capacity > 0 ? 2 * now->capacity : PARTS_MIN;
        part *parts = sqlite3_realloc64(now->parts, capacity * sizeof *parts);

        if (parts == NULL) {
            return failure_no_memory(error);
        }
        now->parts = parts;
        now->capacity = capacity;
    }
    if (merge->merged) {
        if (merge->heap_capacity < now->capacity) {
            place *heap = sqlite3_realloc64(merge->heap, now->capacity * sizeof *heap);

            if (heap == NULL) {
                return failure_no_memory(error);
            }
            merge->heap = heap;
            merge->heap_capacity = now->capacity;
        }

        uint32_t at = (uint32_t)now->count;
        uint32_t tie = (merge->range.descending ? ~at : at) & ~OPENED;

        merge->heap[merge->heap_count++] = (place){key, tie, at};
    }
    now->parts[now->count] = *added;
    now->parts[now->count++].cursor = take_cursor(merge, added->shard);
    return COMET_OK;
}

comet_status stream_merge_add(stream_merge *merge, open_shard *shard, comet_error *error) {
    const comet_range *range = &merge->range;
    part added = {shard, NULL, shard->txn, 0, 0};
    comet_shard_bounds bounds;
    comet_status status = comet_shard_glance(shard->shard, &bounds, error);

    if (status != COMET_OK) {
        return status;
    }
    if (shard->txn != NULL) { /* its own entries may have any times */
        bounds.end_offset = comet_txn_end(shard->txn);
        bounds.time_first = INT64_MIN;
        bounds.time_last = INT64_MAX;
    }
    if (bounds.first_offset >= bounds.end_offset || range->offset_last < bounds.first_offset ||
        range->offset_first >= bounds.end_offset || range->time_last < bounds.time_first ||
        range->time_first > bounds.time_last) {
        return COMET_OK;
    }
    added.first =
        range->offset_first > bounds.first_offset ? range->offset_first : bounds.first_offset;
    added.end = range->offset_last < bounds.end_offset ? range->offset_last + 1 : bounds.end_offset;
    return add_part(merge, &added, range->descending ? ~bounds.time_last : bounds.time_first,
                    error);
}

/* ---- The heap -------------------------------------------------------------------------------- */

/* Without branches: which way it goes cannot be foretold. */
static bool comes_before(const place *left, const place *right) {
    return (left->key < right->key) | ((left->key == right->key) & (left->tie < right->tie));
}

/* The place at `at` may come after its children. */
static void sift_down(stream_merge *merge, size_t at) {
    place moved = merge->heap[at];

    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= merge->heap_count) {
            break;
        }
        if (child + 1 < merge->heap_count) {
            child += comes_before(&merge->heap[child + 1], &merge->heap[child]);
        }
        if (!comes_before(&merge->heap[child], &moved)) {
            break;
        }
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = moved;
}

static void remove_top(stream_merge *merge) {
    merge->heap[0] = merge->heap[--merge->heap_count];
    if (merge->heap_count > 0) {
        sift_down(merge, 0);
    }
}

/* ---- Going ----------------------------------------------------------------------------------- */

/* COMET_DONE: nothing of the shard is within the range. */
static comet_status open_part(stream_merge *merge, part *opened, comet_error *error) {
    comet_range range = merge->range;
    comet_status status = COMET_OK;

    if (opened->cursor == NULL) {
        status = comet_cursor_open(opened->shard->shard, &opened->cursor, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    merge->opened++;
    range.offset_first = opened->first;
    range.offset_last = opened->end - 1;
    /* The transaction may have ended since; then its entries stand or are gone. */
    return comet_cursor_seek(opened->cursor, opened->shard->txn == opened->txn ? opened->txn : NULL,
                             &range, error);
}

/* The top's shard stands on another entry, or at its end (`status`). */
static comet_status renew_top(stream_merge *merge, comet_status status, comet_error *error) {
    place *top = &merge->heap[0];
    int64_t timestamp = 0;

    if (status == COMET_OK) {
        status = comet_cursor_timestamp(merge->now.parts[top->part].cursor, &timestamp, error);
    }
    if (status == COMET_OK) {
        top->key = merge->range.descending ? ~timestamp : timestamp;
        top->tie |= OPENED;
        sift_down(merge, 0);
    } else if (status == COMET_DONE) {
        remove_top(merge);
        status = COMET_OK;
    }
    return status;
}

/* Open what must be open before the top is known to be the next entry. */
static comet_status settle_top(stream_merge *merge, comet_error *error) {
    comet_status status = COMET_OK;

    while (status == COMET_OK && merge->heap_count > 0 && (merge->heap[0].tie & OPENED) == 0) {
        status = renew_top(merge, open_part(merge, &merge->now.parts[merge->heap[0].part], error),
                           error);
    }
    return status == COMET_OK && merge->heap_count == 0 ? COMET_DONE : status;
}

static part *part_at(const stream_merge *merge, size_t at) {
    return &merge->now.parts[merge->shards_descending ? merge->now.count - 1 - at : at];
}

/* From part merge->at on, to the first with an entry. */
static comet_status enter_part(stream_merge *merge, comet_error *error) {
    comet_status status = COMET_DONE;

    while (status == COMET_DONE && merge->at < merge->now.count) {
        status = open_part(merge, part_at(merge, merge->at), error);
        if (status == COMET_DONE) {
            merge->at++;
        }
    }
    return status;
}

/* Whether all entries of a part are in the range, so that they can be counted unread. */
static bool is_countable(const stream_merge *merge) {
    return !merge->merged && merge->range.time_first <= 0 && merge->range.time_last == INT64_MAX;
}

comet_status stream_merge_start(stream_merge *merge, uint64_t skip, comet_error *error) {
    comet_status status;

    clear_list(&merge->before);
    if (merge->merged) {
        for (size_t at = merge->heap_count / 2; at-- > 0;) {
            sift_down(merge, at);
        }
        status = settle_top(merge, error);
    } else {
        while (is_countable(merge) && merge->at < merge->now.count &&
               part_at(merge, merge->at)->end - part_at(merge, merge->at)->first <= skip) {
            skip -= part_at(merge, merge->at)->end - part_at(merge, merge->at)->first;
            merge->at++;
        }
        status = enter_part(merge, error);
        if (status == COMET_OK && skip > 0 && is_countable(merge)) {
            status = comet_cursor_skip(part_at(merge, merge->at)->cursor, skip, error);
            skip = 0;
        }
    }
    for (; status == COMET_OK && skip > 0; skip--) {
        status = stream_merge_next(merge, error);
    }
    return status;
}

comet_status stream_merge_next(stream_merge *merge, comet_error *error) {
    comet_status status = comet_cursor_next(stream_merge_cursor(merge), error);

    if (merge->merged) {
        status = renew_top(merge, status, error);
        return status == COMET_OK ? settle_top(merge, error) : status;
    }
    if (status == COMET_DONE) {
        merge->at++;
        status = enter_part(merge, error);
    }
    return status;
}

static const part *current(const stream_merge *merge) {
    return merge->merged ? &merge->now.parts[merge->heap[0].part] : part_at(merge, merge->at);
}

uint32_t stream_merge_shard(const stream_merge *merge) {
    return current(merge)->shard->id;
}

comet_cursor *stream_merge_cursor(const stream_merge *merge) {
    return current(merge)->cursor;
}

size_t stream_merge_opened(const stream_merge *merge) {
    return merge->opened;
}
