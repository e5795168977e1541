/* cursor.c -- reading: a snapshot, a range, and the way through it.
**
** Decides: how few bytes are touched for an answer.
**
**   offset    arithmetic; no data is touched until a timestamp or bytes are asked for
**   time      in a shard whose timestamps are in order, a range of times becomes a range of offsets
**             by two binary searches; else blocks are passed over by their bounds and rows checked
**   place     index record -> the place of every eighth entry -> at most seven headers to walk
**
** A block is entered once: its file's size and its checksum are looked at then (segment.c), and its
** bytes stay mapped while the cursor is in it; after each use of them it is asked whether somebody cut the
** file under the mapping.  An entry's header is checked against the block's
** limit each time, so damaged bytes lead to an error and never out of the mapping.
*/
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "entry.h"
#include "memory.h"
#include "merge.h"
#include "place.h"
#include "platform.h"
#include "shard.h"
#include "status.h"

#define NEAR_BLOCKS 2u
#define TIME_GUESSES 3u /* before a search for a time falls back to halving */

void comet_range_init(comet_range *range) {
    memset(range, 0, sizeof *range);
    range->offset_last = COMET_OFFSET_MAX;
    range->time_first = INT64_MIN;
    range->time_last = INT64_MAX;
}

comet_status comet_cursor_open(comet_shard *shard, comet_cursor **cursor, comet_error *error) {
    comet_cursor *made;

    FORWARD(shard_check_process(shard, error));
    made = memory_allocate_zeroed(sizeof *made);
    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    made->shard = shard;
    state_add(&shard->state, STATE_ACTIVE_READERS, 1);
    state_add(&shard->state, STATE_TOTAL_READERS, 1);
    *cursor = made;
    return COMET_OK;
}

/* What the caller is about to be told.  COMET_DONE and COMET_ABORTED are no errors of ours. */
static comet_status count_failure(const comet_cursor *cursor, comet_status status) {
    shard_state *state = &cursor->shard->state;

    if (status == COMET_CORRUPT || status == COMET_IO || status == COMET_NOMEM) {
        state_add(state, STATE_READ_ERRORS, 1);
        if (status == COMET_CORRUPT) {
            state_count_corruption(state);
        } else {
            state_count_error(state);
        }
    }
    return status;
}

static void drop_snapshot(comet_cursor *cursor) {
    place_leave_segment(cursor);
    segment_list_release(cursor->list);
    cursor->list = NULL;
}

/* After a fork everything is the parent's: the windows' mutex may be locked for ever. */
void comet_cursor_close(comet_cursor *cursor) {
    if (cursor != NULL && !log_is_forked(cursor->shard->log)) {
        merge_close(cursor->merge);
        drop_snapshot(cursor);
        entry_decoder_close(cursor->decoder);
        place_count_reads(cursor);
        state_add(&cursor->shard->state, STATE_ACTIVE_READERS, UINT64_MAX);
        memory_release(cursor);
    }
}

/* ---- From a time to an offset, where timestamps are in order ---- */

/* Whether all of segment `item` is before `time`. */
static comet_status segment_is_before(comet_cursor *cursor, size_t item, int64_t time, bool *before,
                                      comet_error *error) {
    const segment_item *which = &cursor->list->items[item];
    segment_block block;

    *before = false;
    if (item + 1 == cursor->list->count) {
        return COMET_OK;
    }
    if (which->facts.has_bounds) {
        *before = which->facts.time_high < time;
        return COMET_OK;
    }
    FORWARD(place_enter_segment(cursor, item, error));
    if (!cursor->file_is_sealed || index_count(segment_index(which->file)) == 0) {
        *before = cursor->file_is_sealed;
        return COMET_OK;
    }
    FORWARD(segment_describe_block(which->file, index_count(segment_index(which->file)) - 1,
                                   cursor->file_end, true, &block, error));
    *before = block.time_high < time;
    return COMET_OK;
}

static comet_status find_segment(comet_cursor *cursor, int64_t time, comet_error *error) {
    size_t low = 0;
    size_t high = cursor->list->count - 1; /* the answer lies in [low, high] */

    /* The list may name segments of a transaction that is prepared and not published. */
    while (high > 0 && cursor->list->items[high].facts.first_offset >= cursor->end) {
        high--;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        bool before;
        FORWARD(segment_is_before(cursor, middle, time, &before, error));
        if (before) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return place_enter_segment(cursor, low, error);
}

/* Where `time` would be if time ran evenly from block `low` to the beginning of block `high`. */
static comet_status guess_block(comet_cursor *cursor, int64_t time, uint64_t low, uint64_t high,
                                uint64_t *guess, comet_error *error) {
    const unsigned char *first;
    const unsigned char *last;
    double from;
    double to;

    FORWARD(index_record(segment_index(cursor->file), low, &first, error));
    FORWARD(index_record(segment_index(cursor->file), high - 1, &last, error));
    from = (double)record_time_low(first);
    to = (double)record_time_high(last);
    *guess = low + (high - low) / 2;
    if (to > from && (double)time >= from && (double)time <= to) {
        *guess = low + (uint64_t)((double)(high - low) * (((double)time - from) / (to - from)));
        *guess = *guess < high ? *guess : high - 1;
    }
    return COMET_OK;
}

/* The first block of the current segment that does not end before `time`, or the last.  Telemetry
** comes evenly enough that a guess or two save most of a binary search's cache misses. */
static comet_status find_time_block(comet_cursor *cursor, int64_t time, segment_block *block,
                                    comet_error *error) {
    /* The end of a range is nearly always in the block of its beginning, or in the next. */
    bool is_near = cursor->in_block && cursor->block.sealed && cursor->block.time_low <= time &&
                   cursor->near_block_known;
    uint64_t low = 0;
    uint64_t high;

    FORWARD(index_find(segment_index(cursor->file), cursor->file_end - 1, &high, error));
    if (is_near) {
        low = cursor->block.at;
    }
    for (unsigned tries = 0; low < high; tries++) {
        uint64_t middle = low + (high - low) / 2;
        if (is_near && tries < NEAR_BLOCKS) {
            middle = low;
        } else if (tries < TIME_GUESSES) {
            FORWARD(guess_block(cursor, time, low, high, &middle, error));
        }
        FORWARD(segment_describe_block(cursor->file, middle, cursor->file_end,
                                       cursor->file_is_sealed, block, error));
        if (!block->sealed || block->time_high >= time) {
            high = middle;
            if (block->sealed && block->time_low < time) {
                low = middle; /* it begins before: this is it */
            }
        } else {
            low = middle + 1;
        }
    }
    return segment_describe_block(cursor->file, low, cursor->file_end, cursor->file_is_sealed,
                                  block, error);
}

/* The first entry at or after `time`, or cursor->end. */
static comet_status find_time(comet_cursor *cursor, int64_t time, uint64_t *offset,
                              comet_error *error) {
    segment_block block;
    uint64_t low;
    uint64_t high;

    FORWARD(find_segment(cursor, time, error));
    if (cursor->file_end == segment_first_offset(cursor->file)) {
        *offset = cursor->end; /* a last segment without entries */
        return COMET_OK;
    }
    FORWARD(find_time_block(cursor, time, &block, error));
    low = block.first;
    high = block.end;
    while (low < high) {
        uint64_t middle = low; /* within one stride, walk */
        int64_t timestamp;
        if (high - low > INDEX_STRIDE) { /* beginnings of strides are found at once */
            middle += (high - low) / 2;
            middle -= (middle - block.first) % INDEX_STRIDE;
            middle = middle < low ? low : middle;
        }
        FORWARD(place_timestamp_at(cursor, middle, &timestamp, error));
        if (timestamp < time) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *offset = low;
    return COMET_OK;
}

/* ---- Rows in a shard out of order ---- */

static bool block_is_outside(const comet_cursor *cursor, const segment_block *block) {
    return block->sealed &&
           (block->time_high < cursor->time_first || block->time_low > cursor->time_last);
}

/* The entries around `offset` that cannot be read: its block's or, if not even that can be told, its
** segment's. */
static void damaged_range(comet_cursor *cursor, uint64_t offset, uint64_t *first, uint64_t *end) {
    const segment_list *list = cursor->list;
    size_t item = segment_list_find(list, offset);
    segment_block block;

    *first = list->items[item].facts.first_offset;
    *end = item + 1 < list->count ? list->items[item + 1].facts.first_offset : cursor->end;
    if (place_find_block(cursor, offset, &block, NULL) == COMET_OK) {
        *first = block.first;
        *end = block.end;
    }
    place_leave_block(cursor);
    state_count_corruption(&cursor->shard->state);
}

/* Leave out the damage that the current entry stands in. */
static void step_around(comet_cursor *cursor) {
    uint64_t first;
    uint64_t end;

    damaged_range(cursor, cursor->offset, &first, &end);
    if (cursor->descending) {
        cursor->high = first > cursor->low ? first : cursor->low;
    } else {
        cursor->low = end < cursor->high ? end : cursor->high;
    }
    cursor->offset = cursor->descending ? cursor->high - 1 : cursor->low;
}

/* From cursor->offset on, stop at the first entry within the times. */
static comet_status find_match(comet_cursor *cursor, comet_error *error) {
    while (cursor->low < cursor->high) {
        segment_block block;
        int64_t timestamp;

        FORWARD(place_find_block(cursor, cursor->offset, &block, error));
        if (block_is_outside(cursor, &block)) {
            if (cursor->descending) {
                cursor->high = block.first;
            } else {
                cursor->low = block.end;
            }
        } else {
            FORWARD(place_timestamp_at(cursor, cursor->offset, &timestamp, error));
            if (timestamp >= cursor->time_first && timestamp <= cursor->time_last) {
                return COMET_OK;
            }
            if (cursor->descending) {
                cursor->high--;
            } else {
                cursor->low++;
            }
        }
        cursor->offset = cursor->descending ? cursor->high - 1 : cursor->low;
    }
    return COMET_DONE;
}

static comet_status read_block_times(void *context, time_merge *merge, uint64_t first, uint64_t end,
                                     comet_error *error) {
    comet_cursor *cursor = context;

    for (uint64_t offset = first; offset < end; offset++) {
        int64_t timestamp;
        comet_status status = place_timestamp_at(cursor, offset, &timestamp, error);
        if (status == COMET_CORRUPT && cursor->steps_around) {
            return COMET_OK;
        }
        FORWARD(status);
        if (timestamp >= cursor->time_first && timestamp <= cursor->time_last) {
            FORWARD(merge_add_entry(merge, offset, timestamp, error));
        }
    }
    return COMET_OK;
}

static comet_status begin_merge(comet_cursor *cursor, comet_error *error) {
    uint64_t offset = cursor->low;

    FORWARD(merge_open(cursor->descending, &cursor->merge, error));
    while (offset < cursor->high) {
        segment_block block;
        uint64_t first;
        uint64_t end;
        comet_status status = place_find_block(cursor, offset, &block, error);
        if (status == COMET_CORRUPT && cursor->steps_around) {
            damaged_range(cursor, offset, &first, &offset);
            continue;
        }
        FORWARD(status);
        first = block.first > cursor->low ? block.first : cursor->low;
        end = block.end < cursor->high ? block.end : cursor->high;
        if (!block_is_outside(cursor, &block)) {
            FORWARD(
                merge_add_block(cursor->merge, first, end, block.time_low, block.time_high, error));
        }
        offset = block.end;
    }
    return merge_next(cursor->merge, read_block_times, cursor, &cursor->offset, error);
}

/* ---- Seek ---- */

/* A new snapshot of the same list keeps its place: mappings, and a block that cannot change. */
static comet_status take_snapshot(comet_cursor *cursor, comet_txn *txn, uint64_t *disorder_end,
                                  comet_error *error) {
    comet_shard *shard = cursor->shard;

    merge_close(cursor->merge);
    cursor->merge = NULL;
    if (txn == NULL && cursor->list != NULL && cursor->own_first == UINT64_MAX &&
        shard_list_is_current(shard, cursor->list, &cursor->end)) {
        cursor->in_block = cursor->in_block && cursor->block.sealed;
        *disorder_end = state_load(&shard->state, STATE_DISORDER_END);
        return COMET_OK;
    }
    drop_snapshot(cursor);
    cursor->rollbacks = atomic_load(&shard->rollbacks);
    if (txn != NULL) {
        assert(txn->shard == shard);
        cursor->list = txn->list;
        segment_list_retain(cursor->list);
        cursor->end = shard->tail.index.end_offset;
        cursor->own_first = txn->begin.index.end_offset;
        *disorder_end = shard->tail.disorder_end;
        return COMET_OK;
    }
    cursor->own_first = UINT64_MAX;
    FORWARD(shard_snapshot(shard, &cursor->list, &cursor->end, error));
    *disorder_end = state_load(&shard->state, STATE_DISORDER_END);
    return COMET_OK;
}

/* Turn times into offsets where that is exact. */
static comet_status narrow_by_time(comet_cursor *cursor, uint64_t disorder_end,
                                   comet_error *error) {
    uint64_t bound;

    cursor->check_time = cursor->near_block_known = false;
    if (cursor->time_first <= 0 && cursor->time_last == INT64_MAX) {
        return COMET_OK;
    }
    if (disorder_end > cursor->list->items[0].facts.first_offset) {
        cursor->check_time = true;
        return COMET_OK;
    }
    if (cursor->time_first > 0) {
        FORWARD(find_time(cursor, cursor->time_first, &bound, error));
        cursor->near_block_known = true;
        cursor->low = bound > cursor->low ? bound : cursor->low;
    }
    if (cursor->time_last < INT64_MAX && cursor->low < cursor->high) {
        FORWARD(find_time(cursor, cursor->time_last + 1, &bound, error));
        cursor->high = bound < cursor->high ? bound : cursor->high;
    }
    return COMET_OK;
}

/* What retention has deleted since the snapshot, in another process, and we had not opened yet, is passed
** over: the range goes on at the oldest entry that is left. */
static bool pass_deleted(comet_cursor *cursor) {
    uint64_t first = UINT64_MAX;
    segment_list *list;
    uint64_t end;

    if (shard_snapshot(cursor->shard, &list, &end, NULL) == COMET_OK) {
        first = list->count > 0 ? list->items[0].facts.first_offset : end;
        segment_list_release(list);
    }
    if (first == UINT64_MAX || cursor->offset >= first) {
        return false;
    }
    place_leave_block(cursor);
    cursor->low = first < cursor->high ? first : cursor->high;
    if (cursor->descending) {
        cursor->low = cursor->high; /* all that was left is gone */
    }
    cursor->offset = cursor->low;
    return true;
}

/* Enter the current entry's segment, now that it still is there or is known to be gone. */
static comet_status enter_current(comet_cursor *cursor, comet_error *error) {
    while (cursor->low < cursor->high) {
        comet_status status =
            place_enter_segment(cursor, segment_list_find(cursor->list, cursor->offset), error);
        if (status != COMET_CORRUPT || !pass_deleted(cursor)) {
            return status == COMET_CORRUPT ? COMET_OK : status; /* who reads it gets the error */
        }
    }
    return COMET_DONE;
}

/* Whether the current entry is in another segment than the one before. */
static inline bool has_crossed(const comet_cursor *cursor) {
    return cursor->file != NULL && (cursor->offset >= cursor->file_end ||
                                    cursor->offset < segment_first_offset(cursor->file));
}

/* At an entry that can be read, the current one or the next; else at the range's end. */
static comet_status settle(comet_cursor *cursor, comet_error *error) {
    while (cursor->low < cursor->high) {
        comet_status status = cursor->check_time ? find_match(cursor, error)
                                                 : place_load_block(cursor, cursor->offset, error);
        if (status != COMET_CORRUPT) {
            return status;
        }
        step_around(cursor);
    }
    return COMET_DONE;
}

static comet_status seek(comet_cursor *cursor, comet_txn *txn, const comet_range *range,
                         comet_error *error) {
    uint64_t disorder_end;
    comet_status status;

    FORWARD(take_snapshot(cursor, txn, &disorder_end, error));
    if (cursor->list->count == 0) {
        return COMET_DONE;
    }
    cursor->low = cursor->list->items[0].facts.first_offset;
    cursor->low = range->offset_first > cursor->low ? range->offset_first : cursor->low;
    cursor->high = range->offset_last < cursor->end ? range->offset_last + 1 : cursor->end;
    cursor->time_first = range->time_first;
    cursor->time_last = range->time_last;
    cursor->descending = range->descending;
    if (cursor->low >= cursor->high || range->time_first > range->time_last ||
        range->time_last < 0) {
        return COMET_DONE;
    }
    cursor->steps_around = log_value(cursor->shard->log, COMET_ON_DAMAGE) == COMET_ON_DAMAGE_SKIP;
    status = narrow_by_time(cursor, disorder_end, error);
    if (status == COMET_CORRUPT && cursor->steps_around) {
        cursor->check_time = true; /* the search came upon damage: compare row by row */
        status = COMET_OK;
    }
    FORWARD(status);
    if (cursor->low >= cursor->high) {
        return COMET_DONE;
    }
    if (range->by_time && disorder_end > cursor->list->items[0].facts.first_offset) {
        return begin_merge(cursor, error);
    }
    cursor->offset = cursor->descending ? cursor->high - 1 : cursor->low;
    if (!cursor->in_block &&
        segment_list_find(cursor->list, cursor->offset) + 1 < cursor->list->count) {
        FORWARD(enter_current(cursor, error)); /* the last one is never deleted */
    }
    if (cursor->steps_around) {
        return settle(cursor, error);
    }
    return cursor->check_time ? find_match(cursor, error) : COMET_OK;
}

comet_status comet_cursor_seek(comet_cursor *cursor, comet_txn *txn, const comet_range *range,
                               comet_error *error) {
    comet_status status;

    FORWARD(shard_check_process(cursor->shard, error));
    status = seek(cursor, txn, range, error);
    if (status != COMET_OK) {
        cursor->low = cursor->high = 0; /* a further next finds nothing */
    }
    return count_failure(cursor, status);
}

/* ---- Onward ---- */

/* The rows are all given.  Where a file ends within a page, that page reads as zeros from there on: whoever
** cut it while we were in its last block is found out now, as for other blocks at the next one. */
static comet_status finish(const comet_cursor *cursor, comet_error *error) {
    uint64_t size;

    if (!cursor->in_block || !cursor->is_located) {
        return COMET_DONE;
    }
    FORWARD(segment_size(cursor->file, &size, error));
    if (size < cursor->block.position + cursor->place + ENTRY_HEADER_BYTES ||
        (cursor->block.sealed && size < cursor->block.limit)) {
        return segment_corrupt(cursor->file, cursor->block.first, cursor->block.end - 1,
                               "were cut off by another program while they were read", error);
    }
    return COMET_DONE;
}

static comet_status skip(comet_cursor *cursor, uint64_t count, comet_error *error) {
    if (cursor->merge != NULL) {
        comet_status status = COMET_OK;
        for (; count > 0 && status == COMET_OK; count--) {
            status = merge_next(cursor->merge, read_block_times, cursor, &cursor->offset, error);
        }
        return status;
    }
    while (count > 0 && cursor->low < cursor->high) {
        uint64_t step = cursor->check_time || cursor->steps_around ? 1 : count;
        step = step < cursor->high - cursor->low ? step : cursor->high - cursor->low;
        if (cursor->descending) {
            cursor->high -= step;
        } else {
            cursor->low += step;
        }
        cursor->offset = cursor->descending ? cursor->high - 1 : cursor->low;
        count -= step;
        if (cursor->low < cursor->high && has_crossed(cursor)) {
            FORWARD(enter_current(cursor, error));
        }
        if (cursor->check_time || cursor->steps_around) {
            comet_status status =
                cursor->steps_around ? settle(cursor, error) : find_match(cursor, error);
            if (status != COMET_OK) {
                return status;
            }
        }
    }
    return cursor->low < cursor->high ? COMET_OK : finish(cursor, error);
}

comet_status comet_cursor_skip(comet_cursor *cursor, uint64_t count, comet_error *error) {
    return count_failure(cursor, skip(cursor, count, error));
}

static comet_status next(comet_cursor *cursor, comet_error *error) {
    FORWARD(place_check_cut(cursor,
                            error)); /* the caller may have read the last entry's bytes in place */
    if (cursor->merge == NULL && !cursor->check_time && !cursor->descending &&
        !cursor->steps_around) {
        cursor->offset = ++cursor->low;
        if (cursor->low < cursor->high) {
            return has_crossed(cursor) ? enter_current(cursor, error) : COMET_OK;
        }
        cursor->low = cursor->high;
        return finish(cursor, error);
    }
    return skip(cursor, 1, error);
}

comet_status comet_cursor_next(comet_cursor *cursor, comet_error *error) {
    comet_status status = next(cursor, error);

    return status == COMET_OK ? COMET_OK : count_failure(cursor, status);
}

uint64_t comet_cursor_offset(const comet_cursor *cursor) {
    return cursor->offset;
}

comet_status comet_cursor_timestamp(comet_cursor *cursor, int64_t *timestamp, comet_error *error) {
    comet_status status = place_timestamp_at(cursor, cursor->offset, timestamp, error);

    return status == COMET_OK ? COMET_OK : count_failure(cursor, status);
}

/* Compressed data needs a decoder; most cursors never meet any. */
static comet_status decode(comet_cursor *cursor, const void *stored, size_t stored_size,
                           const void **data, size_t *size, comet_error *error) {
    comet_error why;
    comet_status status;

    if (cursor->decoder == NULL) {
        FORWARD(entry_decoder_open(&cursor->decoder, error));
    }
    status = entry_decode(cursor->decoder, stored, stored_size, data, size, &why);
    if (status == COMET_CORRUPT) {
        return error_set(error, COMET_CORRUPT, 0, "%s: entry %" PRIu64 " of shard %u: %s",
                         segment_path(cursor->file), cursor->offset, cursor->shard->id,
                         why.message);
    }
    if (status != COMET_OK && error != NULL) {
        *error = why;
    }
    return status;
}

/* Bytes are given out in place: find out now whether they are still there. */
static void touch_pages(const unsigned char *bytes, size_t size) {
    for (size_t at = 0; at < size; at += PAGE_BYTES_MIN) {
        (void)*(const volatile unsigned char *)(bytes + at);
    }
    if (size > 0) {
        (void)*(const volatile unsigned char *)(bytes + size - 1);
    }
}

static comet_status give_data(comet_cursor *cursor, const void **data, size_t *size,
                              comet_error *error) {
    uint32_t stored_size;
    const unsigned char *stored;

    FORWARD(place_locate(cursor, cursor->offset, error));
    stored_size = entry_header_size(cursor->bytes + cursor->place);
    FORWARD(
        place_need_bytes(cursor, cursor->place, ENTRY_HEADER_BYTES + (uint64_t)stored_size, error));
    stored = cursor->bytes + cursor->place + ENTRY_HEADER_BYTES;
    if (entry_is_frame(stored, stored_size)) {
        FORWARD(decode(cursor, stored, stored_size, data, size, error));
        return place_check_cut(cursor, error);
    }
    *data = stored;
    *size = stored_size;
    touch_pages(stored, stored_size);
    return place_check_cut(cursor, error);
}

comet_status comet_cursor_data(comet_cursor *cursor, const void **data, size_t *size,
                               comet_error *error) {
    comet_status status = give_data(cursor, data, size, error);

    if (status != COMET_OK) {
        return count_failure(cursor, status);
    }
    cursor->read_count += cursor->read_end != cursor->offset + 1 ? 1 : 0;
    cursor->read_end = cursor->offset + 1;
    return COMET_OK;
}
