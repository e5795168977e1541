/* walk.c -- header by header. */
#include "walk.h"

#include "entry.h"
#include "status.h"

#define WALK_WINDOW_BYTES (64 * KIBIBYTE)

/* So many bytes of nothing are no entries, empty ones with timestamp 0: a disk loses sectors. */
#define HOLE_BYTES 512u

void walk_sums_init(walk_sums *sums, int64_t shard_time_high, uint64_t disorder_end) {
    sums->time_low = INT64_MAX;
    sums->time_high = INT64_MIN;
    sums->shard_time_high = shard_time_high;
    sums->disorder_end = disorder_end;
    sums->compressed_count = 0;
}

void walk_sums_add(walk_sums *sums, uint64_t offset, int64_t timestamp, bool compressed) {
    sums->time_low = timestamp < sums->time_low ? timestamp : sums->time_low;
    sums->time_high = timestamp > sums->time_high ? timestamp : sums->time_high;
    sums->compressed_count += compressed ? 1 : 0;
    if (timestamp < sums->shard_time_high) {
        sums->disorder_end = offset + 1;
    } else {
        sums->shard_time_high = timestamp;
    }
}

/* The header at `position`, or NULL where no whole entry stands. */
static comet_status find_header(segment_file *segment, map_window **window, uint64_t position,
                                uint64_t size, const unsigned char **header, comet_error *error) {
    uint64_t left = size > position ? size - position : 0;

    *header = NULL;
    if (left < ENTRY_HEADER_BYTES) {
        return COMET_OK;
    }
    FORWARD(segment_bytes(segment, window, position,
                          left < WALK_WINDOW_BYTES ? left : WALK_WINDOW_BYTES, header, error));
    if (entry_header_size(*header) > left - ENTRY_HEADER_BYTES ||
        entry_header_size(*header) > ENTRY_STORED_BYTES_MAX ||
        entry_header_timestamp(*header) < 0) {
        *header = NULL;
    }
    return COMET_OK;
}

static bool is_hole(const unsigned char *at, uint64_t left) {
    for (uint64_t i = 0; i < HOLE_BYTES; i++) {
        if (i >= left || at[i] != 0) {
            return false;
        }
    }
    return true;
}

static bool is_nothing(const unsigned char *header) {
    return entry_header_size(header) == 0 && entry_header_timestamp(header) == 0;
}

static comet_status finish_block(segment_file *segment, map_window **window, block_index *index,
                                 index_tail *tail, comet_error *error) {
    const unsigned char *block;

    FORWARD(segment_bytes(segment, window, tail->block_position,
                          tail->position - tail->block_position, &block, error));
    index_tail_finish(index, tail, block);
    return COMET_OK;
}

static comet_status count_entry(block_index *index, index_tail *tail, walk_sums *sums,
                                const unsigned char *header, uint64_t left, comet_error *error) {
    uint32_t stored = entry_header_size(header);
    int64_t timestamp = entry_header_timestamp(header);

    if (index_tail_is_empty(tail) || index_tail_is_full(tail)) {
        FORWARD(index_tail_begin(index, tail, error));
    }
    if (sums != NULL) {
        bool frame = stored >= 4 && left >= ENTRY_HEADER_BYTES + 4 &&
                     entry_is_frame(header + ENTRY_HEADER_BYTES, 4);
        walk_sums_add(sums, tail->end_offset, timestamp, frame);
    }
    index_tail_add(tail, ENTRY_HEADER_BYTES + (uint64_t)stored, timestamp);
    return COMET_OK;
}

static comet_status walk_on(segment_file *segment, block_index *index, index_tail *tail,
                            walk_sums *sums, uint64_t certain_end, uint64_t offset_end,
                            map_window **window, comet_error *error) {
    uint64_t size;

    FORWARD(segment_size(segment, &size, error));
    while (tail->end_offset < offset_end) {
        const unsigned char *header;
        uint64_t left = size > tail->position ? size - tail->position : 0;

        FORWARD(find_header(segment, window, tail->position, size, &header, error));
        if (header == NULL ||
            (is_nothing(header) && (tail->end_offset >= certain_end || is_hole(header, left)))) {
            break;
        }
        FORWARD(count_entry(index, tail, sums, header, left, error));
        if (index_tail_is_full(tail)) {
            FORWARD(finish_block(segment, window, index, tail, error));
        }
    }
    if (!index_tail_is_empty(tail)) {
        FORWARD(finish_block(segment, window, index, tail, error));
    }
    return COMET_OK;
}

comet_status walk_entries(segment_file *segment, block_index *index, index_tail *tail,
                          walk_sums *sums, uint64_t certain_end, uint64_t offset_end,
                          comet_error *error) {
    map_window *window = NULL;
    comet_status status =
        walk_on(segment, index, tail, sums, certain_end, offset_end, &window, error);

    segment_release_window(segment, &window);
    return status;
}

comet_status walk_times(segment_file *segment, uint64_t end, walk_sums *sums, comet_error *error) {
    map_window *window = NULL;
    uint64_t offset = segment_first_offset(segment);
    uint64_t position = 0;
    uint64_t size = 0;
    comet_status status = segment_size(segment, &size, error);

    while (status == COMET_OK && offset < end) {
        const unsigned char *header;
        status = find_header(segment, &window, position, size, &header, error);
        if (status != COMET_OK || header == NULL) {
            break; /* damage: what cannot be read has no place in any order */
        }
        walk_sums_add(sums, offset++, entry_header_timestamp(header), false);
        position += ENTRY_HEADER_BYTES + (uint64_t)entry_header_size(header);
    }
    segment_release_window(segment, &window);
    return status;
}
