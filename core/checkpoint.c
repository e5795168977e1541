/* checkpoint.c -- making what is committed durable.
**
** Decides: the order in which things reach the disk. Data first; then a mark in the index that vouches
** for it; then the index.  A power cut between any two leaves the older mark, which still holds.
** No writer's lock is held meanwhile: writers go on, and what they commit is the next one's.
**
** A sync that failed leaves the end of what is durable where it was, and doubt: Linux may have dropped what
** it could not write, and counts it as written, so that the next sync says yes.  So from then on, in all
** processes and until the machine is started anew, whatever is not known to be durable is looked at
** (its blocks' checksums) and written once more before it is synced, and only then called durable.
*/
#include <assert.h>

#include "crc32c.h"
#include "entry.h"
#include "platform.h"
#include "shard.h"
#include "status.h"
#include "tally.h"

/* Two processes must not write the same mark slot. */
#define CHECKPOINT_LOCK_BYTE ((uint64_t)1 << 41)

/* Where the entry before `end` ends, by walking the last block. */
static comet_status walk_block(segment_file *segment, const segment_block *block,
                               map_window **window, uint64_t *position, comet_error *error) {
    *position = block->position;
    for (uint64_t offset = block->first; offset < block->end; offset++) {
        const unsigned char *header;
        FORWARD(segment_bytes(segment, window, *position, ENTRY_HEADER_BYTES, &header, error));
        *position += ENTRY_HEADER_BYTES + (uint64_t)entry_header_size(header);
    }
    return COMET_OK;
}

comet_status checkpoint_mark_at(segment_file *segment, uint64_t end, bool sealed, index_mark *mark,
                                comet_error *error) {
    block_index *index = segment_index(segment);
    map_window *window = NULL;
    const unsigned char *bytes;
    index_tail sum;
    segment_block block;
    comet_status status;
    uint64_t at;

    mark->end_offset = end;
    mark->position = 0;
    mark->crc = 0;
    if (end == segment_first_offset(segment)) {
        return COMET_OK;
    }
    FORWARD(index_find(index, end - 1, &at, error));
    FORWARD(segment_describe_block(segment, at, end, sealed, &block, error));
    status = walk_block(segment, &block, &window, &mark->position, error);
    if (status == COMET_OK) {
        status = segment_bytes(segment, &window, block.position, mark->position - block.position,
                               &bytes, error);
    }
    if (status == COMET_OK) {
        index_tail_init(&sum, index, block.first);
        sum.block_position = sum.crc_position = block.position;
        sum.position = mark->position;
        index_tail_sum(&sum, bytes);
        mark->crc = sum.crc;
    }
    segment_release_window(segment, &window);
    return status;
}

comet_status checkpoint_mark_holds(segment_file *segment, const index_mark *mark, bool *holds,
                                   comet_error *error) {
    index_mark real;
    comet_status status = checkpoint_mark_at(segment, mark->end_offset, false, &real, error);

    if (status != COMET_OK && status != COMET_CORRUPT) {
        return status;
    }
    *holds = status == COMET_OK && real.position == mark->position && real.crc == mark->crc;
    return COMET_OK;
}

/* One block, of which the last one ends in the middle, at `limit`.  Committed entries never change, so
** that a writer at work is not in the way. */
static comet_status write_block_again(segment_file *segment, segment_block *block, uint64_t limit,
                                      map_window **window, comet_error *error) {
    const unsigned char *bytes;
    uint64_t length = limit - block->position;
    int result;

    FORWARD(segment_check_block(segment, block, window, error));
    FORWARD(segment_bytes(segment, window, block->position, length, &bytes, error));
    if (block->sealed && crc32c_extend(0, bytes, length) != record_crc(block->record)) {
        return segment_corrupt(segment, block->first, block->end - 1,
                               "were lost when the disk failed, before they were durable", error);
    }
    result = platform->write_at(segment_fd(segment), bytes, (size_t)length, block->position);
    if (result != 0) {
        return error_set(error, status_of_failure(result), -result, "cannot write %s again",
                         segment_path(segment));
    }
    return COMET_OK;
}

comet_status checkpoint_write_again(comet_shard *shard, segment_file *segment, uint64_t from,
                                    uint64_t end, bool sealed, comet_error *error) {
    block_index *index = segment_index(segment);
    map_window *window = NULL;
    comet_status status = COMET_OK;
    index_mark last;
    uint64_t at;

    if (from >= end || state_load(&shard->state, STATE_SYNCS_FAILED) == 0) {
        return COMET_OK;
    }
    FORWARD(checkpoint_mark_at(segment, end, sealed, &last, error));
    FORWARD(index_find(index, from, &at, error));
    for (uint64_t offset = from; status == COMET_OK && offset < end; at++) {
        segment_block block;
        status = segment_describe_block(segment, at, end, sealed, &block, error);
        if (status == COMET_OK && !block.lost) {
            status = write_block_again(segment, &block, block.sealed ? block.limit : last.position,
                                       &window, error);
        }
        offset = status == COMET_OK ? block.end : end;
    }
    segment_release_window(segment, &window);
    if (status == COMET_OK) {
        index_touch(index);
    }
    return status;
}

/* What is to be done, and may be. */
typedef struct checkpoint_task {
    uint64_t end; /* everything below it */
    bool durable;
    bool may_mark; /* the checkpoint lock is ours */
} checkpoint_task;

/* `end` is the segment's, or where the snapshot ends in it. */
static comet_status sync_files(segment_file *segment, uint64_t end, const checkpoint_task *task,
                               comet_error *error) {
    bool sealed = end < task->end;
    index_mark mark;
    int result;

    result = task->durable ? platform->sync_file(segment_fd(segment)) : 0;
    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot make %s durable", segment_path(segment));
    }
    if (task->may_mark) {
        FORWARD(checkpoint_mark_at(segment, end, sealed, &mark, error));
        index_mark_store(segment_index(segment), &mark);
    }
    return task->durable ? index_sync(segment_index(segment), error) : COMET_OK;
}

static comet_status sync_segment(comet_shard *shard, const segment_list *list, size_t i,
                                 const checkpoint_task *task, comet_error *error) {
    segment_file *segment = list->items[i].file;
    uint64_t end = i + 1 < list->count ? list->items[i + 1].facts.first_offset : task->end;
    comet_status status;

    end = end < task->end ? end : task->end;
    FORWARD(segment_enter(segment, end, error));
    status = COMET_OK;
    if (task->durable) {
        uint64_t durable = state_load(&shard->state, STATE_DURABLE_END);
        uint64_t first = segment_first_offset(segment);
        status = checkpoint_write_again(shard, segment, durable > first ? durable : first, end,
                                        end < task->end, error);
    }
    if (status == COMET_OK) {
        status = sync_files(segment, end, task, error);
    }
    segment_leave(segment);
    return status;
}

static comet_status checkpoint_list(comet_shard *shard, const segment_list *list,
                                    const checkpoint_task *task, comet_error *error) {
    uint64_t from = state_load(&shard->state, STATE_DURABLE_END);
    size_t first = list->count;
    int64_t begun = platform->clock();

    if (list->count > 0) {
        uint64_t oldest = list->items[0].facts.first_offset;
        first = segment_list_find(list, from > oldest ? from : oldest);
    }
    for (size_t i = first; i < list->count; i++) {
        if (list->items[i].facts.first_offset < task->end) {
            FORWARD(sync_segment(shard, list, i, task, error));
        }
    }
    if (task->durable) {
        state_raise(&shard->state, STATE_DURABLE_END, task->end);
        tally_sync(shard, begun);
    }
    return COMET_OK;
}

static comet_status checkpoint_locked(comet_shard *shard, bool durable, comet_error *error) {
    int64_t begun = platform->clock();
    checkpoint_task task = {.durable = durable};
    segment_list *list;
    comet_status status;

    FORWARD(shard_snapshot(shard, &list, &task.end, error));
    if (task.end <= state_load(&shard->state, STATE_DURABLE_END)) {
        segment_list_release(list);
        return COMET_OK;
    }
    /* While another process is at it, or owns the shard, the blocks' own checksums, which every commit
    ** renews, have to do without a mark: as durable, with more to read after a power cut. */
    task.may_mark = log_owns(shard->log, shard->id) &&
                    atomic_load_explicit(&shard->lock_is_open, memory_order_acquire) &&
                    platform->lock_byte(shard->lock.file.fd, CHECKPOINT_LOCK_BYTE) == 0;
    status = checkpoint_list(shard, list, &task, error);
    if (task.may_mark) {
        (void)platform->unlock_byte(shard->lock.file.fd, CHECKPOINT_LOCK_BYTE);
    }
    segment_list_release(list);
    if (status != COMET_OK) {
        state_count_error(&shard->state);
        state_add(&shard->state, STATE_SYNCS_FAILED, durable ? 1 : 0);
        return status;
    }
    state_add(&shard->state, STATE_CHECKPOINT_COUNT, 1);
    state_add(&shard->state, STATE_CHECKPOINT_NS, (uint64_t)(platform->clock() - begun));
    state_store(&shard->state, STATE_LAST_CHECKPOINT_NS, (uint64_t)platform->now());
    return COMET_OK;
}

comet_status checkpoint_shard(comet_shard *shard, bool durable, comet_error *error) {
    comet_status status;

    assert(shard->home.writable);
    pthread_mutex_lock(&shard->checkpoint_mutex);
    status = checkpoint_locked(shard, durable, error);
    if (status == COMET_OK && durable) {
        status = consumer_sync(shard, error);
    }
    pthread_mutex_unlock(&shard->checkpoint_mutex);
    return status;
}
