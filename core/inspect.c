/* inspect.c -- what a shard tells about itself.
**
** Decides: which numbers are read from where, so that looking costs nothing: the state, the list of
** segments and the index, never the data.
*/
#include <stdio.h>
#include <string.h>

#include "crc32c.h"
#include "memory.h"
#include "platform.h"
#include "shard.h"
#include "status.h"
#include "walk.h"

/* Timestamps of the entries below `end`: the index may know of more, and of its last block less. */
static comet_status inspect_times(segment_file *file, uint64_t end, bool sealed,
                                  comet_segment_info *info, comet_error *error) {
    map_window *window = NULL;
    segment_block block;
    walk_sums sums;
    comet_status status = COMET_OK;
    uint64_t last;

    walk_sums_init(&sums, INT64_MIN, 0);
    FORWARD(index_find(segment_index(file), end - 1, &last, error));
    for (uint64_t at = 0; at <= last && status == COMET_OK; at++) {
        status = segment_describe_block(file, at, end, sealed, &block, error);
        if (status == COMET_OK && block.sealed) {
            walk_sums_add(&sums, block.first, block.time_low, false);
            walk_sums_add(&sums, block.first, block.time_high, false);
            continue;
        }
        while (status == COMET_OK && block.first < block.end) {
            const unsigned char *header;
            status =
                segment_bytes(file, &window, block.position, ENTRY_HEADER_BYTES, &header, error);
            if (status == COMET_OK) {
                walk_sums_add(&sums, block.first++, entry_header_timestamp(header), false);
                block.position += ENTRY_HEADER_BYTES + (uint64_t)entry_header_size(header);
            }
        }
    }
    segment_release_window(file, &window);
    info->time_first = sums.time_low;
    info->time_last = sums.time_high;
    return status;
}

/* What the index tells that the list does not. */
static comet_status inspect_index(segment_file *file, comet_segment_info *info,
                                  comet_error *error) {
    comet_status status;
    index_mark mark;

    /* Begun by a transaction that is not committed, and maybe taken back: there may be no file. */
    if (info->end_offset == info->first_offset) {
        info->bytes = info->compressed_entries = 0;
        return COMET_OK;
    }
    FORWARD(segment_enter(file, info->end_offset, error));
    info->compressed_entries = index_noted_compressed(segment_index(file));
    status = checkpoint_mark_at(file, info->end_offset, info->sealed, &mark, error);
    if (status == COMET_OK) {
        info->bytes = mark.position;
        status = inspect_times(file, info->end_offset, info->sealed, info, error);
    }
    segment_leave(file);
    return status;
}

/* What is known of a segment at this moment, of one that grows as well; of a damaged one, what the
** list says. */
static comet_status inspect_segment(const segment_list *list, size_t i, uint64_t end,
                                    comet_segment_info *info, comet_error *error) {
    const manifest_segment *facts = &list->items[i].facts;
    comet_status status;
    bool last = i + 1 == list->count || list->items[i + 1].facts.first_offset >= end;

    memset(info, 0, sizeof *info);
    (void)manifest_file_name(facts->sequence, info->file);
    info->first_offset = facts->first_offset;
    info->end_offset = last ? end : list->items[i + 1].facts.first_offset;
    info->end_offset =
        info->end_offset < facts->first_offset ? facts->first_offset : info->end_offset;
    info->sealed = !last;
    info->bytes = facts->bytes;
    info->time_first = facts->time_low;
    info->time_last = facts->time_high;
    info->compressed_entries = facts->compressed_count;
    if (!last && facts->has_bounds) {
        return COMET_OK;
    }
    status = inspect_index(list->items[i].file, info, error);
    return status == COMET_CORRUPT ? COMET_OK : status;
}

static comet_status inspect_all(comet_shard *shard, comet_segment_info **segments, size_t *count,
                                uint64_t *end, comet_error *error) {
    segment_list *list;
    comet_status status = COMET_OK;
    comet_segment_info *made;

    FORWARD(shard_check_process(shard, error));
    FORWARD(shard_snapshot(shard, &list, end, error));
    made = memory_allocate((list->count + 1) * sizeof *made);
    if (made == NULL) {
        status = memory_failed(error, list->count * sizeof *made);
    }
    *count = 0;
    for (size_t i = 0; status == COMET_OK && i < list->count; i++) {
        /* Those from the end on belong to a transaction that is not published, or never will be. */
        if (i == 0 || list->items[i].facts.first_offset < *end) {
            status = inspect_segment(list, i, *end, &made[(*count)++], error);
        }
    }
    segment_list_release(list);
    if (status != COMET_OK) {
        memory_release(made);
        return status;
    }
    *segments = made;
    return COMET_OK;
}

comet_status comet_shard_segments(comet_shard *shard, comet_segment_info **segments, size_t *count,
                                  comet_error *error) {
    uint64_t end;

    return inspect_all(shard, segments, count, &end, error);
}

comet_status comet_shard_describe(comet_shard *shard, comet_shard_info *info, comet_error *error) {
    comet_segment_info *segments;
    comet_shard_info made;
    size_t count;

    memset(&made, 0, sizeof made);
    FORWARD(inspect_all(shard, &segments, &count, &made.end_offset, error));
    made.first_offset = count > 0 ? segments[0].first_offset : made.end_offset;
    made.time_first = INT64_MAX;
    made.time_last = INT64_MIN;
    for (size_t i = 0; i < count; i++) {
        const comet_segment_info *one = &segments[i];
        made.bytes += one->bytes;
        if (one->end_offset > one->first_offset) {
            made.time_first = one->time_first < made.time_first ? one->time_first : made.time_first;
            made.time_last = one->time_last > made.time_last ? one->time_last : made.time_last;
        }
    }
    memory_release(segments);
    made.segment_count = count;
    made.durable_offset = state_load(&shard->state, STATE_DURABLE_END);
    made.in_order = state_load(&shard->state, STATE_DISORDER_END) <= made.first_offset;
    made.owner = shard_writer(shard);
    *info = made;
    return COMET_OK;
}

bool comet_shard_is_in_order(comet_shard *shard) {
    segment_list *list;
    uint64_t end;
    uint64_t first;

    if (shard_check_process(shard, NULL) != COMET_OK ||
        shard_snapshot(shard, &list, &end, NULL) != COMET_OK) {
        return false;
    }
    first = list->count > 0 ? list->items[0].facts.first_offset : end;
    segment_list_release(list);
    return state_load(&shard->state, STATE_DISORDER_END) <= first;
}

/* The lowest time of the first block, where that is full. */
static comet_status first_block_time(block_index *index, uint64_t end, int64_t *time,
                                     comet_error *error) {
    const unsigned char *record;

    if (index_count(index) < 2) {
        return COMET_OK; /* a lone record may be of a transaction that is under way */
    }
    FORWARD(index_record(index, 1, &record, error));
    if (record_first(record) <= end && index_check_record(index, 0, NULL) == COMET_OK) {
        FORWARD(index_record(index, 0, &record, error));
        *time = record_time_low(record);
    }
    return COMET_OK;
}

/* The lowest timestamp there can be.  In order, that is the first entry's: the manifest has it, or the
** first full block; out of order, only a walk would tell. */
static comet_status lowest_time(comet_shard *shard, const segment_list *list, uint64_t end,
                                int64_t *time, comet_error *error) {
    const manifest_segment *facts = &list->items[0].facts;
    segment_file *file = list->items[0].file;
    uint64_t limit = end;
    comet_status status;

    *time = INT64_MIN;
    if (state_load(&shard->state, STATE_DISORDER_END) > facts->first_offset) {
        return COMET_OK;
    }
    if (facts->has_bounds && facts->entry_count > 0 &&
        facts->first_offset + facts->entry_count <= end) {
        *time = facts->time_low;
        return COMET_OK;
    }
    if (list->count > 1 && list->items[1].facts.first_offset < end) {
        limit = list->items[1].facts.first_offset; /* else it belongs to who is not yet published */
    }
    FORWARD(segment_enter(file, limit, error));
    status = first_block_time(segment_index(file), end, time, error);
    segment_leave(file);
    return status;
}

comet_status comet_shard_glance(comet_shard *shard, comet_shard_bounds *bounds,
                                comet_error *error) {
    comet_shard_bounds made = {0, 0, INT64_MIN, INT64_MIN};
    comet_status status = COMET_OK;
    segment_list *list;

    FORWARD(shard_check_process(shard, error));
    FORWARD(shard_snapshot(shard, &list, &made.end_offset, error));
    /* After the end: the writer stores the time first. */
    made.time_last = (int64_t)state_load(&shard->state, STATE_TIME_HIGH);
    made.first_offset = list->count > 0 ? list->items[0].facts.first_offset : made.end_offset;
    if (made.first_offset >= made.end_offset) {
        made.first_offset = made.end_offset;
    } else {
        status = lowest_time(shard, list, made.end_offset, &made.time_first, error);
    }
    segment_list_release(list);
    if (status == COMET_OK) {
        *bounds = made;
    }
    return status;
}

/* The share of [low, high] that lies within [first, last]. */
static double share_of(int64_t low, int64_t high, int64_t first, int64_t last) {
    double from = (double)(first > low ? first : low);
    double to = (double)(last < high ? last : high);

    if (to < from) {
        return 0;
    }
    return high > low ? (to - from) / ((double)high - (double)low) : 1;
}

/* As if entries were spread evenly over the time from the oldest segment to now: planning needs an
** order of magnitude, and must not cost more than a query. */
uint64_t comet_shard_estimate(comet_shard *shard, uint64_t offset_first, uint64_t offset_last,
                              int64_t time_first, int64_t time_last) {
    segment_list *list;
    uint64_t end;
    uint64_t first;
    double count;

    if (shard_check_process(shard, NULL) != COMET_OK ||
        shard_snapshot(shard, &list, &end, NULL) != COMET_OK) {
        return 0;
    }
    first = list->count > 0 ? list->items[0].facts.first_offset : end;
    first = offset_first > first ? offset_first : first;
    end = offset_last < end ? offset_last + 1 : end;
    count = end > first ? (double)(end - first) : 0;
    if (count > 0 && (time_first > INT64_MIN || time_last < INT64_MAX)) {
        const manifest_segment *oldest = &list->items[0].facts;
        int64_t low = oldest->has_bounds ? oldest->time_low : oldest->created_ns;
        int64_t high = (int64_t)state_load(&shard->state, STATE_TIME_HIGH);
        count *= share_of(low < high ? low : high, high, time_first, time_last);
        count = count < 1 ? 1 : count;
    }
    segment_list_release(list);
    return (uint64_t)count;
}

int64_t comet_now(void) {
    return platform->now();
}

const char *comet_build_info(void) {
    static char text[256];

    (void)snprintf(text, sizeof text,
                   "version " COMET_VERSION "\nzstd %s\ncrc32c %s\ncompiler %s\npointer_bits %zu\n",
                   ZSTD_versionString(), crc32c_name(), __VERSION__, 8 * sizeof(void *));
    return text;
}
