/* place.c -- into a segment, into a block, to an entry. */
#include "place.h"

#include <assert.h>
#include <inttypes.h>

#include "entry.h"
#include "log.h"
#include "status.h"

#define CACHE_LINE_BYTES 64u
#define PREFETCH_ENTRIES 8u /* this far ahead when walking forwards */

/* Everybody's count follows a segment at a time: a row must not cost a locked instruction. */
void place_count_reads(comet_cursor *cursor) {
    if (cursor->read_count > 0) {
        state_add(&cursor->shard->state, STATE_ENTRIES_READ, cursor->read_count);
        cursor->read_count = 0;
    }
}

void place_leave_block(comet_cursor *cursor) {
    if (cursor->window != NULL) {
        segment_release_window(cursor->file, &cursor->window);
    }
    cursor->in_block = cursor->is_located = false;
    cursor->stride_count = 0;
}

void place_leave_segment(comet_cursor *cursor) {
    place_leave_block(cursor);
    if (cursor->file != NULL) {
        segment_leave(cursor->file);
        place_count_reads(cursor);
    }
    cursor->file = NULL;
}

/* ---- Into a block ---- */

comet_status place_enter_segment(comet_cursor *cursor, size_t item, comet_error *error) {
    const segment_list *list = cursor->list;
    segment_file *file = list->items[item].file;

    if (cursor->file != file) {
        place_leave_segment(cursor);
    }
    cursor->file_end = cursor->end;
    cursor->file_is_sealed =
        item + 1 < list->count && list->items[item + 1].facts.first_offset <= cursor->end;
    if (cursor->file_is_sealed) {
        cursor->file_end = list->items[item + 1].facts.first_offset;
    }
    if (cursor->file == file) {
        return segment_catch_up(file, cursor->file_end, error);
    }
    FORWARD(segment_enter(file, cursor->file_end, error));
    cursor->file = file;
    return COMET_OK;
}

/* Map `length` bytes of the block; the window may move. */
static comet_status map_block(comet_cursor *cursor, uint64_t length, comet_error *error) {
    FORWARD(segment_bytes(cursor->file, &cursor->window, cursor->block.position, length,
                          &cursor->bytes, error));
    cursor->bytes_length = length;
    return COMET_OK;
}

static comet_status try_block(comet_cursor *cursor, const segment_block *block,
                              comet_error *error) {
    uint64_t length;

    cursor->block = *block;
    FORWARD(segment_check_block(cursor->file, &cursor->block, &cursor->window, error));
    length = cursor->block.limit - cursor->block.position;
    /* The limit of an open block is the file's end: take what it usually has. */
    length = !block->sealed && length > BLOCK_BYTES_MAX ? BLOCK_BYTES_MAX : length;
    return map_block(cursor, length, error);
}

/* The file's end may move between being asked for and being mapped: a segment is cut to its data, once,
** when the next one is begun. */
static comet_status enter_block(comet_cursor *cursor, const segment_block *block,
                                comet_error *error) {
    comet_status status;

    cursor->in_block = cursor->is_located = false;
    cursor->stride_count = 0;
    status = try_block(cursor, block, error);
    if (status == COMET_CORRUPT && !block->sealed) {
        status = try_block(cursor, block, error);
    }
    cursor->in_block = status == COMET_OK;
    return status;
}

/* Since a rollback the index may know nothing of a transaction's own entries: what was committed before
** them is read as if they had never been. */
static comet_status check_rollback(comet_cursor *cursor, uint64_t offset, comet_error *error) {
    if (cursor->own_first == UINT64_MAX ||
        atomic_load(&cursor->shard->rollbacks) == cursor->rollbacks) {
        return COMET_OK;
    }
    if (offset >= cursor->own_first) {
        return error_set(error, COMET_ABORTED, 0,
                         "entry %" PRIu64 " was rolled back while it was being read", offset);
    }
    cursor->end = cursor->own_first;
    if (cursor->file_end > cursor->end) {
        cursor->file_end = cursor->end;
        cursor->file_is_sealed = false;
    }
    return COMET_OK;
}

/* The same, going through the index as it is. */
static comet_status look_up_block(comet_cursor *cursor, uint64_t offset, segment_block *block,
                                  comet_error *error) {
    uint64_t at;

    FORWARD(check_rollback(cursor, offset, error));
    assert(offset < cursor->end);
    if (cursor->in_block && offset >= cursor->block.first && offset < cursor->block.end) {
        *block = cursor->block;
        return COMET_OK;
    }
    if (cursor->in_block && offset == cursor->block.end && offset < cursor->file_end) {
        at = cursor->block.at + 1;
    } else {
        FORWARD(place_enter_segment(cursor, segment_list_find(cursor->list, offset), error));
        FORWARD(index_find(segment_index(cursor->file), offset, &at, error));
    }
    FORWARD(segment_describe_block(cursor->file, at, cursor->file_end, cursor->file_is_sealed,
                                   block, error));
    if (offset < block->first || offset >= block->end) {
        segment_doubt_index(cursor->file);
        return segment_corrupt(cursor->file, offset, offset, "are missing from the index", error);
    }
    return COMET_OK;
}

/* Describe the block that holds `offset`, without touching its bytes.  An index that turns out to be
** damaged is made anew, once. */
comet_status place_find_block(comet_cursor *cursor, uint64_t offset, segment_block *block,
                              comet_error *error) {
    comet_status status = look_up_block(cursor, offset, block, error);

    if (status == COMET_CORRUPT && cursor->file != NULL && segment_index_is_doubted(cursor->file)) {
        place_leave_block(cursor);
        status = look_up_block(cursor, offset, block, error);
    }
    return status;
}

/* Walking headers is a chain of cache misses.  Entries of one block are of about one size, so all
** lines of the chain to `offset` are asked for at once, while the block is being checked. */
static void prefetch_entry(const comet_cursor *cursor, const segment_block *block,
                           uint64_t offset) {
    const map_window *window = cursor->window;
    uint64_t ordinal = offset - block->first;
    uint64_t steps = ordinal % INDEX_STRIDE;
    const unsigned char *at;
    uint64_t size;

    if (window == NULL || !block->sealed || block->position < window->position ||
        block->limit > window->position + window->length) {
        return;
    }
    size = (block->limit - block->position) / (block->end - block->first);
    at = window->bytes + (block->position - window->position) +
         record_place(block->record, (uint32_t)(ordinal / INDEX_STRIDE));
    for (uint64_t i = 0; i <= steps; i++) {
        __builtin_prefetch(at + i * size);
    }
    __builtin_prefetch(at + steps * size + CACHE_LINE_BYTES);
    __builtin_prefetch(at + steps * size + 2 * CACHE_LINE_BYTES);
}

comet_status place_load_block(comet_cursor *cursor, uint64_t offset, comet_error *error) {
    segment_block block;

    if (cursor->in_block && offset >= cursor->block.first && offset < cursor->block.end) {
        return COMET_OK;
    }
    FORWARD(shard_check_process(cursor->shard, error));
    FORWARD(place_find_block(cursor, offset, &block, error));
    prefetch_entry(cursor, &block, offset);
    return enter_block(cursor, &block, error);
}

/* ---- To an entry ---- */

/* Make sure that [place, place + size) of the block is mapped. */
comet_status place_need_bytes(comet_cursor *cursor, uint64_t place, uint64_t size,
                              comet_error *error) {
    uint64_t limit = cursor->block.limit - cursor->block.position;

    if (place + size <= cursor->bytes_length) {
        return COMET_OK;
    }
    if (place > limit || size > limit - place) {
        return segment_corrupt(cursor->file, cursor->block.first, cursor->block.end - 1,
                               "are damaged: a length leads out of their block", error);
    }
    return map_block(cursor, place + size, error);
}

static comet_status place_after(comet_cursor *cursor, uint64_t place, uint64_t *next,
                                comet_error *error) {
    FORWARD(place_need_bytes(cursor, place, ENTRY_HEADER_BYTES, error));
    *next = place + ENTRY_HEADER_BYTES + entry_header_size(cursor->bytes + place);
    return COMET_OK;
}

/* From the nearest indexed place to `offset`, remembering the places on the way. */
static comet_status walk_stride(comet_cursor *cursor, uint64_t offset, comet_error *error) {
    uint64_t ordinal = offset - cursor->block.first;
    uint64_t first = offset - ordinal % INDEX_STRIDE;
    uint64_t place;

    if (cursor->stride_count == 0 || cursor->stride_first != first) {
        cursor->stride_first = first;
        cursor->stride_places[0] =
            record_place(cursor->block.record, (uint32_t)(ordinal / INDEX_STRIDE));
        cursor->stride_count = 1;
    }
    while (cursor->stride_count <= offset - first) {
        FORWARD(
            place_after(cursor, cursor->stride_places[cursor->stride_count - 1], &place, error));
        cursor->stride_places[cursor->stride_count++] = place;
    }
    cursor->place = cursor->stride_places[offset - first];
    return COMET_OK;
}

/* A block that was checked, or written by this process, may have been overwritten since: zeros, or what is
** of another block, do not have its timestamps. */
static comet_status check_bounds(const comet_cursor *cursor, comet_error *error) {
    const unsigned char *header = cursor->bytes + cursor->place;
    int64_t timestamp = entry_header_timestamp(header);
    /* A block that grows has no bounds; but in one of ours no payload is empty (entry.h). */
    bool is_zeroed = !cursor->block.sealed && timestamp == 0 && entry_header_size(header) == 0 &&
                     !index_is_in_memory(cursor->block.index);

    if (timestamp < cursor->block.time_low || timestamp > cursor->block.time_high || is_zeroed) {
        return segment_corrupt(cursor->file, cursor->block.first, cursor->block.end - 1,
                               "are damaged: the file was overwritten", error);
    }
    return COMET_OK;
}

/* Go to the entry's header. */
comet_status place_locate(comet_cursor *cursor, uint64_t offset, comet_error *error) {
    uint64_t ahead;

    FORWARD(check_rollback(cursor, offset, error));
    if (cursor->is_located && cursor->located == offset) {
        return COMET_OK;
    }
    FORWARD(place_load_block(cursor, offset, error));
    if (cursor->is_located && offset == cursor->located + 1) {
        uint64_t before = cursor->place;
        FORWARD(place_after(cursor, before, &cursor->place, error));
        ahead = cursor->place + PREFETCH_ENTRIES * (cursor->place - before);
        __builtin_prefetch(cursor->bytes + (ahead < cursor->bytes_length ? ahead : 0));
        /* The entry's own body, which a merge of many shards comes back for much later. */
        ahead = cursor->place + 2 * CACHE_LINE_BYTES;
        if (ahead < cursor->bytes_length) {
            __builtin_prefetch(cursor->bytes + ahead - CACHE_LINE_BYTES);
            __builtin_prefetch(cursor->bytes + ahead);
        }
    } else if (offset == cursor->block.first) {
        cursor->place = 0;
    } else {
        FORWARD(walk_stride(cursor, offset, error));
    }
    FORWARD(place_need_bytes(cursor, cursor->place, ENTRY_HEADER_BYTES, error));
    FORWARD(check_bounds(cursor, error));
    cursor->located = offset;
    cursor->is_located = true;
    return COMET_OK;
}

comet_status place_timestamp_at(comet_cursor *cursor, uint64_t offset, int64_t *timestamp,
                                comet_error *error) {
    FORWARD(place_locate(cursor, offset, error));
    *timestamp = entry_header_timestamp(cursor->bytes + cursor->place);
    return place_check_cut(cursor, error);
}
