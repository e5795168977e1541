/* tail.c -- where writing goes on: the last block of the last segment, as of the committed end.
**
** Decides: when a segment is written to no more.  A block that is damaged, or a segment without an index
** on disk, keeps what was committed, and its numbers; the next entry begins another segment.
*/
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "crc32c.h"
#include "log.h"
#include "platform.h"
#include "shard.h"
#include "status.h"
#include "walk.h"

/* Put another list beside the tail; the caller's reference goes over.  Only its last segment is
** written to any more. */
void tail_set_list(comet_shard *shard, segment_list *list) {
    segment_list *before = shard->tail_list;
    size_t known = before != NULL ? before->count : 0;

    if (known > 0 &&
        (list->count == 0 || before->items[known - 1].file != list->items[list->count - 1].file)) {
        segment_rest(before->items[known - 1].file);
    }
    for (size_t i = known; i + 1 < list->count; i++) {
        segment_rest(list->items[i].file);
    }
    segment_list_release(before);
    shard->tail_list = list;
}

/* Whether the last block still has the checksum of the commit that ended with it.  Of a transaction that
** was prepared and never published, nobody can tell. */
static comet_status check_last_block(segment_file *file, const segment_block *block,
                                     comet_error *error) {
    map_window *window = NULL;
    const unsigned char *bytes;
    uint32_t length = record_length(block->record);
    comet_status status;

    if (record_entries(block->record) != block->end - block->first ||
        index_check_record(block->index, block->at, NULL) != COMET_OK) {
        return COMET_OK;
    }
    status = segment_bytes(file, &window, block->position, length, &bytes, error);
    if (status == COMET_OK && crc32c_extend(0, bytes, length) != record_crc(block->record)) {
        status = segment_corrupt(file, block->first, block->end - 1, "are damaged", error);
    }
    segment_release_window(file, &window);
    return status;
}

static comet_status load_block(comet_shard *shard, segment_file *file, uint64_t end,
                               comet_error *error) {
    index_tail *tail = &shard->tail.index;
    segment_block block;
    block_index *index;
    uint64_t at;

    FORWARD(segment_write(file, end, error));
    index = segment_index(file);
    if (index_is_in_memory(index)) {
        return error_set(error, COMET_CORRUPT, 0, "%s has no index", segment_path(file));
    }
    index_forget_room(index);
    index_tail_init(tail, index, segment_first_offset(file));
    shard->tail.blocks = index;
    shard->tail.compressed_count = index_noted_compressed(index);
    if (end == segment_first_offset(file)) {
        return COMET_OK;
    }
    FORWARD(index_find(index, end - 1, &at, error));
    FORWARD(segment_describe_block(file, at, end, false, &block, error));
    FORWARD(check_last_block(file, &block, error));
    tail->end_offset = tail->block_first = block.first;
    tail->position = tail->block_position = tail->crc_position = block.position;
    tail->record_count = at;
    FORWARD(walk_entries(file, index, tail, NULL, end, end, error));
    if (tail->end_offset != end) {
        return segment_corrupt(file, tail->end_offset, end - 1, "are missing or damaged", error);
    }
    return COMET_OK;
}

/* Continue the last segment where its entries end.  One that is damaged, or that has no index on disk,
** is written to no more: what was committed there keeps its numbers. */
static comet_status load_last(comet_shard *shard, const segment_item *item, uint64_t end,
                              comet_error *error) {
    index_tail *tail = &shard->tail.index;
    comet_status status = load_block(shard, item->file, end, error);
    index_mark last;

    if (status != COMET_CORRUPT) {
        return status;
    }
    memset(tail, 0, sizeof *tail);
    tail->end_offset = tail->block_first = end;
    tail->position = item->facts.bytes;
    if (segment_fd(item->file) >= 0) {
        FORWARD(segment_size(item->file, &tail->position, error));
        /* After a power cut there may be room behind the entries, which are all that index.bin counts. */
        if (segment_index(item->file) != NULL && end > segment_first_offset(item->file) &&
            checkpoint_mark_at(item->file, end, false, &last, NULL) == COMET_OK) {
            tail->position = last.position;
        }
    }
    /* At once: until it is on disk only index.bin tells where a file with bytes behind its end ends. */
    (void)segment_save_index(item->file, NULL);
    shard->tail.blocks = segment_index(item->file);
    shard->tail.is_closed = true;
    return COMET_OK;
}

/* Whether a segment's file is gone: a writer died between removing it and saying so in index.bin. */
static bool is_gone(const segment_file *segment) {
    platform_info info;

    return platform->path_info(segment_path(segment), &info) == -ENOENT;
}

/* Segments of a transaction that was never published, because its writer died or could not say in
** index.bin that it took them back: they hold nothing, and go.  The first may stay, if it is there. */
static comet_status trim_list(comet_shard *shard, segment_list **list, uint64_t end,
                              comet_error *error) {
    segment_list *trimmed;
    size_t count = (*list)->count;

    while (count > 0 && (*list)->items[count - 1].facts.first_offset >= end &&
           (count > 1 || is_gone((*list)->items[0].file))) {
        count--;
    }
    if (count == (*list)->count) {
        return COMET_OK;
    }
    FORWARD(segment_list_copy(*list, count, 0, &trimmed, error));
    for (size_t i = (*list)->count; i-- > count;) { /* the newest first, as in a rollback */
        (void)segment_remove((*list)->items[i].file, NULL);
    }
    if (count > 0) {
        manifest_forget_beyond(&trimmed->items[count - 1].facts, end);
    }
    shard_set_list(shard, trimmed, shard->list_generation);
    shard->manifest_is_stale = true;
    segment_list_release(*list);
    *list = trimmed;
    return COMET_OK;
}

comet_status tail_load(comet_shard *shard, comet_error *error) {
    write_tail *tail = &shard->tail;
    segment_list *list;
    uint64_t end;
    comet_status status;

    shard->tail_is_loaded = false;
    shard->tail_generation = state_load(&shard->state, STATE_GENERATION);
    append_room_close(&shard->room);
    FORWARD(shard_snapshot(shard, &list, &end, error));
    memset(tail, 0, sizeof *tail);
    tail->index.end_offset = end;
    status = trim_list(shard, &list, end, error);
    tail->segment_count = list->count;
    if (status == COMET_OK && list->count > 0) {
        status = load_last(shard, &list->items[list->count - 1], end, error);
    }
    tail->time_high = (int64_t)state_load(&shard->state, STATE_TIME_HIGH);
    tail->disorder_end = state_load(&shard->state, STATE_DISORDER_END);
    tail_set_list(shard, list);
    shard->tail_is_loaded = status == COMET_OK;
    return status;
}

comet_status tail_segment_facts(comet_shard *shard, const segment_item *item, uint64_t end,
                                uint64_t bytes, manifest_segment *facts, comet_error *error) {
    uint64_t disorder = shard->tail.disorder_end;
    comet_status status;

    *facts = item->facts;
    facts->entry_count = end - facts->first_offset;
    facts->bytes = bytes;
    facts->written_ns = platform->now();
    facts->compressed_count = shard->tail.compressed_count;
    facts->disorder_end = disorder > facts->first_offset && disorder <= end ? disorder : 0;
    facts->has_bounds = false;
    if (facts->entry_count == 0 || shard->tail.blocks == NULL) {
        return COMET_OK;
    }
    status = index_bounds(shard->tail.blocks, &facts->time_low, &facts->time_high, error);
    facts->has_bounds = status == COMET_OK;
    return status == COMET_CORRUPT ? COMET_OK : status; /* a damaged segment's are not known */
}
