/* writer.c -- transactions: append, prepare, publish, take back.
**
** Decides: what a transaction has done to the files at each moment, so that death at any instruction
** leaves either all of it or nothing.
**
**     append    bytes and index records past the committed end; nobody looks there
**     prepare   the open block's checksum, index.bin if segments were begun; with sync=full all of
**               it durable.  All that can fail is done here.
**     publish   one release store of the committed end in comet.state.  Cannot fail.
**     rollback  the remembered tail is put back; bytes past it are garbage again
**
** A transaction may run over several segments: each new one is begun at once, and removed if the
** transaction is taken back.
*/
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crc32c.h"
#include "log.h"
#include "memory.h"
#include "platform.h"
#include "process.h"
#include "reclaim.h"
#include "shard.h"
#include "status.h"
#include "tally.h"
#include "walk.h"

#define SEQUENCE_TRIES 1000 /* numbers of new files that may be taken by strays */
#define SAVEPOINTS_FIRST 8

static const segment_item *tail_item(const comet_txn *txn) {
    assert(txn->list->count == txn->shard->tail.segment_count);
    return &txn->list->items[txn->list->count - 1];
}

/* The segment in which the transaction began: it and all later ones have been written to. */
static size_t first_touched(const comet_txn *txn) {
    return txn->begin.segment_count > 0 ? txn->begin.segment_count - 1 : 0;
}

/* ---- Begin ---- */

static void txn_end(comet_txn *txn) {
    comet_shard *shard = txn->shard;

    if (txn->list != txn->begin_list) {
        segment_list_release(txn->list);
    }
    txn->begin_list = txn->list = NULL;
    txn->savepoint_count = 0;
    append_room_rest(&shard->room);
    lock_give(&shard->lock);
}

/* With several processes each may write its own shards only. */
static comet_status check_owner(const comet_shard *shard, comet_error *error) {
    int64_t count = log_value(shard->log, COMET_PROCESS_COUNT);
    int64_t own = 0;
    uint32_t owner;
    char who[64] = "";

    if (log_owns(shard->log, shard->id)) {
        return COMET_OK;
    }
    FORWARD(log_process_id(shard->log, &own, error));
    if (count <= 1 || shard->id % count == own) {
        return COMET_OK;
    }
    owner = process_holder(log_directory(shard->log), (uint32_t)(shard->id % count));
    if (owner != 0) {
        (void)snprintf(who, sizeof who, ", which is process %" PRIu32, owner);
    }
    return error_set(error, COMET_READONLY, 0,
                     "shard %u belongs to process_id %" PRId64 " of %" PRId64
                     "%s; this process is %" PRId64 ": write to its own shards, or let it write",
                     shard->id, shard->id % count, count, who, own);
}

/* Whether a page of what the writer stores to was found gone. */
static bool shard_files_were_cut(const comet_shard *shard) {
    const write_tail *tail = &shard->tail;

    if (atomic_load_explicit(&platform_cut_count, memory_order_relaxed) == 0) {
        return false;
    }
    return (shard->room.bytes != NULL && platform_was_cut(shard->room.bytes)) ||
           (tail->index.record != NULL && platform_was_cut(tail->index.record));
}

/* A reader of this process may have found the index damaged that the tail belongs to. */
static bool tail_is_doubted(const comet_shard *shard) {
    const write_tail *tail = &shard->tail;
    const segment_file *file;

    if (tail->segment_count == 0 || tail->is_closed) {
        return false;
    }
    if (shard_files_were_cut(shard)) {
        return true;
    }
    file = shard->tail_list->items[tail->segment_count - 1].file;
    return segment_index(file) != tail->blocks || segment_index_is_doubted(file);
}

static comet_status txn_ready(comet_shard *shard, bool took_over, comet_error *error) {
    if (!state_is_ours(&shard->state)) {
        shard->tail_is_loaded = false; /* shard_snapshot() will say it */
    }
    if (took_over) {
        shard->tail_is_loaded = false;
        FORWARD(recovery_take_over(shard, error));
    }
    if (!shard->tail_is_loaded || shard->tail.index.end_offset != state_end(&shard->state) ||
        shard->tail_generation != state_load(&shard->state, STATE_GENERATION) ||
        tail_is_doubted(shard)) {
        FORWARD(tail_load(shard, error));
    }
    return COMET_OK;
}

comet_status comet_txn_begin(comet_shard *shard, comet_txn **out, comet_error *error) {
    comet_txn *txn = &shard->txn;
    comet_status status;
    bool took_over = false;

    FORWARD(shard_check_process(shard, error));
    if (!shard->home.writable) {
        return error_set(error, COMET_READONLY, 0, "shard %u of %s is open for reading only",
                         shard->id, log_directory(shard->log));
    }
    FORWARD(check_owner(shard, error));
    status = shard_lock_take(shard, &took_over, error);
    if (status == COMET_BUSY) {
        shard_await_settling(shard);
        status = shard_lock_take(shard, &took_over, error);
    }
    FORWARD(status);
    status = txn_ready(shard, took_over, error);
    if (status != COMET_OK) {
        lock_give_back(&shard->lock, took_over);
        return status;
    }
    txn->shard = shard;
    txn->begin = shard->tail;
    txn->list_is_saved = txn->is_prepared_durably = txn->is_marked = false;
    txn->is_measured = false;
    txn->waited_ns = txn->compression_ns = 0;
    txn->list = txn->begin_list = shard->tail_list;
    assert(txn->list->count == shard->tail.segment_count);
    *out = txn;
    return COMET_OK;
}

/* ---- Append ---- */

/* Replace the transaction's list by one with `count` of its items, and then `added` unless NULL. */
static comet_status txn_relist(comet_txn *txn, size_t count, const segment_item *added,
                               comet_error *error) {
    segment_list *list;

    FORWARD(segment_list_copy(txn->list, count, added != NULL ? 1 : 0, &list, error));
    if (added != NULL) {
        list->items[count] = *added;
    }
    if (txn->list != txn->begin_list) {
        segment_list_release(txn->list);
    }
    txn->list = list;
    return COMET_OK;
}

/* The number for a new file: above those that were handed out, and above the list's, where comet.state was
** lost and the last file is gone. */
static uint64_t next_sequence(comet_shard *shard) {
    const segment_list *list = shard->tail_list;
    uint64_t last = state_load(&shard->state, STATE_LAST_SEQUENCE);

    if (list->count > 0 && list->items[list->count - 1].facts.sequence > last) {
        last = list->items[list->count - 1].facts.sequence;
    }
    state_store(&shard->state, STATE_LAST_SEQUENCE, last + 1);
    return last + 1;
}

static comet_status make_segment(comet_shard *shard, uint64_t first_offset, uint64_t bytes_max,
                                 segment_item *item, comet_error *error) {
    segment_created how = {
        .bytes_max = bytes_max,
        .interval = (uint32_t)log_value(shard->log, COMET_BOUNDARY_INTERVAL),
        .durable = log_value(shard->log, COMET_SYNC) != COMET_SYNC_OFF,
    };
    comet_error own;
    comet_status status = COMET_IO;

    error = error != NULL ? error : &own;
    memset(item, 0, sizeof *item);
    item->facts.first_offset = first_offset;
    item->facts.created_ns = item->facts.written_ns = platform->now();
    for (unsigned i = 0; i < SEQUENCE_TRIES && status == COMET_IO; i++) {
        item->facts.sequence = next_sequence(shard);
        status = segment_create(&shard->home, &item->facts, &how, &item->file, error);
        if (status == COMET_IO && error->system_errno != EEXIST) {
            break;
        }
    }
    return status;
}

/* Finishing a block reads its bytes: map them where this process has not, or no longer. */
static comet_status map_open_block(comet_txn *txn, comet_error *error) {
    comet_shard *shard = txn->shard;
    const index_tail *tail = &shard->tail.index;

    if (shard->room.bytes != NULL || shard->tail.segment_count == 0 || index_tail_is_empty(tail)) {
        return COMET_OK;
    }
    return append_room_make(&shard->room, tail_item(txn)->file, tail->block_position,
                            tail->position, 0, error);
}

static comet_status finish_block(comet_txn *txn, comet_error *error) {
    comet_shard *shard = txn->shard;
    index_tail *tail = &shard->tail.index;

    if (shard->tail.segment_count == 0 || index_tail_is_empty(tail)) {
        return COMET_OK;
    }
    FORWARD(map_open_block(txn, error));
    index_tail_finish(shard->tail.blocks, tail, append_at(&shard->room, tail->block_position));
    return COMET_OK;
}

/* The list without its first `count` items. */
static comet_status list_tail(const segment_list *from, size_t count, segment_list **list,
                              comet_error *error) {
    FORWARD(segment_list_new(from->count - count, list, error));
    for (size_t i = count; i < from->count; i++) {
        (*list)->items[i - count] = from->items[i];
        segment_retain(from->items[i].file);
    }
    return COMET_OK;
}

/* Everything that counts segments counts so many fewer. */
static void renumber_segments(comet_txn *txn, size_t count) {
    txn->shard->tail.segment_count -= count;
    txn->begin.segment_count -= count;
    for (size_t i = 0; i < txn->savepoint_count; i++) {
        txn->savepoints[i].tail.segment_count -= count;
    }
}

comet_status writer_drop_oldest(comet_txn *txn, size_t count, segment_list **gone,
                                comet_error *error) {
    comet_shard *shard = txn->shard;
    segment_list *begin = NULL;
    segment_list *list = NULL;
    comet_status status;

    assert(count <= first_touched(txn));
    FORWARD(segment_list_copy(txn->begin_list, count, 0, gone, error));
    for (size_t i = 0; i < count; i++) { /* as far as index.bin can tell */
        manifest_segment *facts = &(*gone)->items[i].facts;
        facts->entry_count = txn->begin_list->items[i + 1].facts.first_offset - facts->first_offset;
    }
    status = list_tail(txn->begin_list, count, &begin, error);
    if (status == COMET_OK && txn->list != txn->begin_list) {
        status = list_tail(txn->list, count, &list, error);
    }
    if (status == COMET_OK) {
        status = shard_save_manifest(shard, begin, state_end(&shard->state),
                                     txn->begin.index.position, error);
    }
    if (status != COMET_OK) {
        segment_list_release(*gone);
        segment_list_release(begin);
        segment_list_release(list);
        *gone = NULL;
        return status;
    }
    if (list != NULL) {
        segment_list_release(txn->list);
    }
    txn->list = list != NULL ? list : begin;
    txn->begin_list = begin;
    txn->list_is_saved = false;
    tail_set_list(shard, begin);
    renumber_segments(txn, count);
    return COMET_OK;
}

/* What was stored may have gone nowhere, because another program cut a file meanwhile.  The size is
** looked at once a clock tick; a page that is gone makes itself known. */
static comet_status check_files(comet_txn *txn, bool now, comet_error *error) {
    comet_shard *shard = txn->shard;
    const segment_file *file = tail_item(txn)->file;
    int64_t tick = platform->tick();
    uint64_t size;

    if (shard_files_were_cut(shard)) {
        return segment_corrupt(file, txn->begin.index.end_offset, shard->tail.index.end_offset - 1,
                               "cannot be written: another program cut a file of the shard", error);
    }
    if (!now && tick == shard->size_tick) {
        return COMET_OK;
    }
    FORWARD(segment_size(file, &size, error));
    if (size < shard->tail.index.position) {
        return segment_corrupt(file, txn->begin.index.end_offset, shard->tail.index.end_offset - 1,
                               "cannot be written: another program cut the file", error);
    }
    shard->size_tick = tick;
    return COMET_OK;
}

/* Finish the current segment, if there is one, and begin the next. */
static comet_status rotate(comet_txn *txn, uint64_t bytes_needed, comet_error *error) {
    comet_shard *shard = txn->shard;
    write_tail *tail = &shard->tail;
    uint64_t bytes_max = (uint64_t)log_value(shard->log, COMET_MAX_FILE_SIZE);
    manifest_segment finished;
    segment_item made;
    comet_status status;
    size_t count;

    FORWARD(finish_block(txn, error));
    if (tail->segment_count > 0 && !tail->is_closed &&
        tail->index.end_offset > txn->begin.index.end_offset) {
        FORWARD(check_files(txn, true, error)); /* nobody looks at this one's mapping again */
    }
    FORWARD(reclaim_for_rotation(txn, error));
    count = txn->list->count;
    if (count > 0) {
        FORWARD(tail_segment_facts(shard, tail_item(txn), tail->index.end_offset,
                                   tail->index.position, &finished, error));
    }
    bytes_max = bytes_needed > bytes_max ? bytes_needed : bytes_max;
    atomic_store(&shard->home.bytes_max, bytes_max);
    FORWARD(make_segment(shard, tail->index.end_offset, bytes_max, &made, error));
    status = txn_relist(txn, count, &made, error);
    if (status != COMET_OK) {
        (void)segment_remove(made.file, NULL);
        segment_release(made.file);
        return status;
    }
    if (count > 0) {
        txn->list->items[count - 1].facts = finished;
    }
    append_room_close(&shard->room);
    tail->blocks = segment_index(made.file);
    tail->is_closed = false;
    index_tail_init(&tail->index, tail->blocks, made.facts.first_offset);
    tail->segment_count = count + 1;
    tail->compressed_count = 0;
    return COMET_OK;
}

/* max_file_size, but not more than the present segment's index was made for. */
static uint64_t segment_bytes_max(const comet_txn *txn) {
    uint64_t wanted = (uint64_t)log_value(txn->shard->log, COMET_MAX_FILE_SIZE);
    uint64_t possible;

    if (txn->shard->tail.segment_count == 0 || txn->shard->tail.is_closed) {
        return wanted;
    }
    possible = index_data_bytes_max(txn->shard->tail.blocks);
    return wanted < possible ? wanted : possible;
}

/* The slow path of an append: room for `size` more bytes, in this segment or the next. */
static comet_status make_room(comet_txn *txn, uint64_t size, comet_error *error) {
    comet_shard *shard = txn->shard;
    write_tail *tail = &shard->tail;
    uint64_t bytes_max = segment_bytes_max(txn);
    uint64_t keep;

    if (tail->segment_count == 0 || tail->is_closed ||
        (tail->index.position > 0 && tail->index.position + size > bytes_max)) {
        int64_t begun = platform->clock();
        FORWARD(tally_rotation(shard, begun, rotate(txn, size, error)));
    }
    keep = index_tail_is_empty(&tail->index) || index_tail_is_full(&tail->index)
               ? tail->index.position
               : tail->index.block_position;
    FORWARD(append_room_make(&shard->room, tail_item(txn)->file, keep, tail->index.position, size,
                             error));
    /* The setting may have become smaller than the file is long. */
    if (shard->room.ready_end > bytes_max && tail->index.position + size <= bytes_max) {
        shard->room.ready_end = bytes_max;
    }
    return COMET_OK;
}

static void append_entry(comet_txn *txn, const void *stored, size_t stored_size,
                         int64_t timestamp) {
    comet_shard *shard = txn->shard;
    write_tail *tail = &shard->tail;
    unsigned char *at = append_at(&shard->room, tail->index.position);

    entry_header_store(at, (uint32_t)stored_size, timestamp);
    memcpy(at + ENTRY_HEADER_BYTES, stored, stored_size);
    index_tail_add(&tail->index, ENTRY_HEADER_BYTES + stored_size, timestamp);
    if (timestamp < tail->time_high) {
        tail->disorder_end = tail->index.end_offset;
    } else {
        tail->time_high = timestamp;
    }
    if (index_tail_is_full(&tail->index)) {
        index_tail_finish(tail->blocks, &tail->index,
                          append_at(&shard->room, tail->index.block_position));
    }
}

static comet_status append_check(const comet_txn *txn, size_t size, int64_t timestamp,
                                 comet_error *error) {
    FORWARD(shard_check_process(txn->shard, error));
    if (size > COMET_ENTRY_BYTES_MAX) {
        return error_set(error, COMET_TOO_BIG, 0, "an entry has at most %u bytes; this one has %zu",
                         COMET_ENTRY_BYTES_MAX, size);
    }
    if (timestamp < 0) {
        return error_set(
            error, COMET_INVALID, 0,
            "a timestamp is nanoseconds since 1970, not negative; this one is %" PRId64, timestamp);
    }
    return COMET_OK;
}

static comet_status append(comet_txn *txn, const void *data, size_t size, int64_t timestamp,
                           uint64_t *offset, comet_error *error) {
    comet_shard *shard = txn->shard;
    index_tail *tail = &shard->tail.index;
    write_totals *totals = &shard->tail.totals;
    int64_t compress_from = log_value(shard->log, COMET_MIN_COMPRESS_SIZE);
    const void *stored = data;
    size_t stored_size = size;
    bool compressed = false;

    FORWARD(append_check(txn, size, timestamp, error));
    if ((int64_t)size >= compress_from || size == 0 || entry_is_frame(data, size)) {
        int level = (int)log_value(shard->log, COMET_COMPRESS_LEVEL);
        int64_t begun = platform->clock();
        FORWARD(entry_encode(shard->encoder, data, size, compress_from, level, &stored,
                             &stored_size, &compressed, error));
        txn->compression_ns += (uint64_t)(platform->clock() - begun);
    }
    if (tail->position + ENTRY_HEADER_BYTES + stored_size > shard->room.ready_end) {
        int64_t begun = platform->clock();
        FORWARD(make_room(txn, ENTRY_HEADER_BYTES + stored_size, error));
        txn->waited_ns += (uint64_t)(platform->clock() - begun);
    }
    if (tail->record_count == 0 || index_tail_is_full(tail)) {
        FORWARD(index_tail_begin(shard->tail.blocks, tail, error));
    }
    *offset = tail->end_offset;
    append_entry(txn, stored, stored_size, timestamp);
    totals->bytes += size;
    if (compressed) {
        totals->plain_bytes += size;
        totals->stored_bytes += stored_size;
        totals->compressed_entries++;
        shard->tail.compressed_count++;
    }
    return COMET_OK;
}

comet_status comet_txn_append(comet_txn *txn, const void *data, size_t size, int64_t timestamp,
                              uint64_t *offset, comet_error *error) {
    comet_status status = append(txn, data, size, timestamp, offset, error);

    return status == COMET_OK ? COMET_OK : tally_failure(txn, status);
}

uint64_t comet_txn_end(const comet_txn *txn) {
    return txn->shard->tail.index.end_offset;
}

comet_shard *comet_txn_shard(const comet_txn *txn) {
    return txn->shard;
}

/* ---- Prepare ---- */

/* After a sync that failed, perhaps of this very transaction: checkpoint.c says why.  Damage in a segment
** that is written to no more is not in the way of what is written behind it. */
static comet_status write_again(const comet_txn *txn, size_t i, comet_error *error) {
    const segment_item *item = &txn->list->items[i];
    uint64_t from = state_load(&txn->shard->state, STATE_DURABLE_END);
    uint64_t end = txn->shard->tail.index.end_offset;
    bool last = i + 1 == txn->list->count;
    comet_status status;

    if (state_load(&txn->shard->state, STATE_SYNCS_FAILED) == 0) {
        return COMET_OK;
    }
    from = from > item->facts.first_offset ? from : item->facts.first_offset;
    end = last ? end : txn->list->items[i + 1].facts.first_offset;
    status = segment_enter(item->file, end, error);
    if (status == COMET_OK) {
        status = checkpoint_write_again(txn->shard, item->file, from, end, !last, error);
        segment_leave(item->file);
    }
    return status == COMET_CORRUPT && end <= txn->begin.index.end_offset ? COMET_OK : status;
}

/* Data first, then the mark that vouches for it. */
static comet_status make_durable(comet_txn *txn, comet_error *error) {
    const write_tail *tail = &txn->shard->tail;
    const segment_list *list = txn->list;
    size_t first = first_touched(txn);
    index_mark mark = {tail->index.end_offset, tail->index.position, tail->index.crc};
    int64_t begun = platform->clock();

    for (size_t i = first; i < list->count; i++) {
        segment_file *file = list->items[i].file;
        int result;
        if (segment_fd(file) < 0) {
            continue; /* its file is gone */
        }
        FORWARD(write_again(txn, i, error));
        if (i + 1 < list->count) {
            FORWARD(segment_sync(file, error));
            continue;
        }
        result = platform->sync_file(segment_fd(file));
        if (result != 0) {
            return error_set(error, COMET_IO, -result, "cannot make %s durable",
                             segment_path(file));
        }
        txn->is_marked = true;
        index_mark_store(segment_index(file), &mark);
        FORWARD(index_sync(segment_index(file), error));
    }
    txn->is_prepared_durably = true;
    tally_sync(txn->shard, begun);
    return COMET_OK;
}

/* Say in the index of segment `i` of the list up to where its blocks belong to whole transactions. */
static void note_end(const comet_txn *txn, size_t i) {
    const segment_item *item = &txn->list->items[i];
    const write_tail *tail = &txn->shard->tail;

    if (segment_index(item->file) == NULL) {
        return; /* its file is gone */
    }
    if (i + 1 < txn->list->count) {
        index_note(segment_index(item->file), item->facts.first_offset + item->facts.entry_count,
                   item->facts.compressed_count);
    } else {
        index_note(tail->blocks, tail->index.end_offset, tail->compressed_count);
    }
}

/* sync=full: each commit; without an upkeep thread, sync=normal: at least each rotation. */
static bool is_durable_now(const comet_txn *txn) {
    const log_core *log = txn->shard->log;
    int64_t sync = log_value(log, COMET_SYNC);

    return sync == COMET_SYNC_FULL || (sync == COMET_SYNC_NORMAL && txn->list != txn->begin_list &&
                                       log_value(log, COMET_UPKEEP) == COMET_UPKEEP_MANUAL);
}

static comet_status prepare(comet_txn *txn, comet_error *error) {
    comet_shard *shard = txn->shard;
    comet_status status;

    txn->is_prepared_durably = false; /* an earlier time it may have been, with more segments */
    FORWARD(finish_block(txn, error));
    FORWARD(check_files(txn, false, error));
    /* Should comet.state be lost, the last segment that index.bin names tells where the transaction
    ** ends: so its note stands before index.bin names it, and the older ones' follow. */
    note_end(txn, txn->list->count - 1);
    if (txn->list != txn->begin_list || shard->manifest_is_stale ||
        atomic_load(&shard->manifest_is_bad)) {
        FORWARD(shard_save_manifest(shard, txn->list, state_end(&shard->state),
                                    txn->begin.index.position, error));
        shard->manifest_is_stale = false;
        txn->list_is_saved = txn->list != txn->begin_list;
    }
    for (size_t i = first_touched(txn); i + 1 < txn->list->count; i++) {
        note_end(txn, i);
    }
    if (!is_durable_now(txn)) {
        return COMET_OK;
    }
    status = make_durable(txn, error);
    if (status != COMET_OK) {
        state_add(&shard->state, STATE_SYNCS_FAILED, 1);
    }
    return status;
}

comet_status comet_txn_prepare(comet_txn *txn, comet_error *error) {
    const write_tail *tail = &txn->shard->tail;
    comet_status status;
    int64_t begun;

    FORWARD(shard_check_process(txn->shard, error));
    if (tail->segment_count == 0 || tail->index.end_offset == txn->begin.index.end_offset) {
        return COMET_OK;
    }
    begun = tally_prepare_begins(txn);
    status = prepare(txn, error);
    if (status != COMET_OK) {
        return tally_failure(txn, status);
    }
    tally_prepare_ends(txn, begun);
    return COMET_OK;
}

/* ---- Taking back ---- */

/* A segment that cannot be removed must not tell of entries that were taken back. */
static void remove_taken_back(const comet_txn *txn, const segment_item *item) {
    index_mark none = {.end_offset = item->facts.first_offset};
    block_index *index = segment_index(item->file);

    if (segment_remove(item->file, NULL) != COMET_OK && index != NULL) {
        index_note(index, item->facts.first_offset, 0);
        if (txn->is_marked) {
            index_mark_store(index, &none);
        }
    }
}

/* The newest first: what a power cut leaves of them then follows what was there before. */
static void remove_files(const comet_txn *txn, const segment_list *list, size_t keep) {
    for (size_t i = list->count; i-- > keep;) {
        remove_taken_back(txn, &list->items[i]);
    }
    if (txn->is_marked) { /* else a power cut could bring them back, behind what follows now */
        (void)platform->sync_directory(txn->shard->home.directory);
    }
}

/* Index.bin without the segments that were dropped.  If it cannot be written, that is for the next one who
** writes it; this process's readers need not wait. */
static void save_shorter_list(comet_txn *txn) {
    comet_shard *shard = txn->shard;

    shard->manifest_is_stale = true;
    if (shard_save_manifest(shard, txn->list, txn->begin.index.end_offset,
                            txn->begin.index.position, NULL) == COMET_OK) {
        shard->manifest_is_stale = false;
    } else {
        shard_set_list(shard, txn->list, shard->list_generation);
    }
}

/* Remove the segments that stand in the list past the tail's: from index.bin first, as after a power cut a
** file that it names and that is gone counts as lost. */
static void drop_segments(comet_txn *txn) {
    size_t keep = txn->shard->tail.segment_count;
    segment_list *before = txn->list;
    bool was_saved = txn->list_is_saved;

    if (before->count == keep) {
        return;
    }
    append_room_close(&txn->shard->room);
    segment_list_retain(before);
    if (keep == txn->begin_list->count) {
        segment_list_release(txn->list);
        txn->list = txn->begin_list;
        txn->list_is_saved = false;
    } else if (txn_relist(txn, keep, NULL, NULL) != COMET_OK) {
        /* No memory for a shorter list: the items stay, hidden behind the count. */
        remove_files(txn, before, keep);
        for (size_t i = keep; i < before->count; i++) {
            segment_release(before->items[i].file);
        }
        before->count = keep;
    }
    if (txn->list != txn->begin_list) {
        manifest_forget_entries(&txn->list->items[keep - 1].facts);
    }
    if (was_saved) {
        save_shorter_list(txn);
    }
    remove_files(txn, before, keep);
    segment_list_release(before);
}

/* A power cut must not bring back what a note or a mark vouched for and was then taken back; even less may
** its bytes be overwritten while the mark stands.  Both say again where the transaction began: all of it
** was taken back or, at a savepoint, is not prepared any more.  The data below is durable already: it was
** made so before the mark. */
static void take_back_note(const comet_txn *txn) {
    const write_tail *tail = &txn->shard->tail;
    segment_file *file = tail_item(txn)->file;
    bool began_here = tail->segment_count == txn->begin.segment_count;
    uint64_t end = began_here ? txn->begin.index.end_offset : segment_first_offset(file);
    index_mark mark;

    if (index_noted_end(tail->blocks) <= end) {
        return;
    }
    index_note(tail->blocks, end, began_here ? txn->begin.compressed_count : 0);
    if (!txn->is_marked) {
        return;
    }
    if (checkpoint_mark_at(file, end, false, &mark, NULL) != COMET_OK) {
        mark = (index_mark){.end_offset =
                                segment_first_offset(file)}; /* none: blocks tell, and the note */
    }
    index_mark_store(tail->blocks, &mark);
    (void)index_sync(tail->blocks, NULL);
}

static void restore_tail(comet_txn *txn, const write_tail *tail) {
    comet_shard *shard = txn->shard;

    if (shard->tail.index.end_offset == tail->index.end_offset &&
        shard->tail.segment_count == tail->segment_count) {
        return;
    }
    shard->tail = *tail;
    drop_segments(txn);
    if (tail->index.block_position < shard->room.window_position) {
        append_room_close(&shard->room);
    }
    if (tail->segment_count > 0 && !tail->is_closed) {
        index_tail_restore(tail->blocks, &shard->tail.index);
        take_back_note(txn);
    }
    atomic_fetch_add(&shard->rollbacks, 1);
}

/* ---- Publish ---- */

/* Segments that this transaction finished have room to spare; failing to cut costs disk only. */
static void cut_finished(const comet_txn *txn) {
    size_t first = first_touched(txn);

    for (size_t i = first; i + 1 < txn->list->count; i++) {
        if (segment_fd(txn->list->items[i].file) < 0) {
            continue;
        }
        (void)segment_cut(txn->list->items[i].file, txn->list->items[i].facts.bytes, NULL);
    }
}

/* Segments before the one in which the transaction began may still wait for a checkpoint, if sync=full
** is new. */
static uint64_t first_synced_offset(const comet_txn *txn) {
    size_t first = first_touched(txn);

    return txn->list->items[first].facts.first_offset;
}

void comet_txn_publish(comet_txn *txn) {
    comet_shard *shard = txn->shard;
    const write_tail *tail = &shard->tail;
    shard_state *state = &shard->state;
    uint64_t end = tail->index.end_offset;
    uint64_t entries = end - txn->begin.index.end_offset;

    if (log_is_forked(shard->log)) {
        return; /* the parent's */
    }
    if (entries == 0) {
        comet_txn_rollback(
            txn); /* of segments that were begun for nothing, and index.bin may name */
        return;
    }
    assert(txn->list == txn->begin_list || txn->list_is_saved);
    tally_publish(txn, entries);
    state_store(state, STATE_TIME_HIGH, (uint64_t)tail->time_high);
    state_store(state, STATE_DISORDER_END, tail->disorder_end);
    state_store(state, STATE_WRITE_POSITION, tail->index.position);
    state_publish(state, end);
    atomic_thread_fence(memory_order_release); /* state_is_trusted() counts on the order */
    state_store(state, STATE_LAST_ENTRY, end - 1);
    if (txn->is_prepared_durably &&
        state_load(state, STATE_DURABLE_END) >= first_synced_offset(txn)) {
        state_store(state, STATE_DURABLE_END, end);
    } else {
        log_wake_upkeep(shard->log, end - state_load(state, STATE_DURABLE_END));
    }
    if (txn->list != txn->begin_list) {
        cut_finished(txn);
        tail_set_list(shard, txn->list);
        txn->list = txn->begin_list = shard->tail_list;
    }
    txn_end(txn);
}

/* ---- Rollback ---- */

void comet_txn_rollback(comet_txn *txn) {
    if (txn == NULL || log_is_forked(txn->shard->log)) {
        return;
    }
    restore_tail(txn, &txn->begin);
    if (txn->shard->manifest_is_stale &&
        shard_save_manifest(txn->shard, txn->begin_list, txn->begin.index.end_offset,
                            txn->begin.index.position, NULL) == COMET_OK) {
        txn->shard->manifest_is_stale = false;
    }
    txn_end(txn);
}

static size_t savepoint_find(const comet_txn *txn, int level) {
    size_t i = 0;

    while (i < txn->savepoint_count && txn->savepoints[i].level < level) {
        i++;
    }
    return i;
}

comet_status comet_txn_savepoint(comet_txn *txn, int level, comet_error *error) {
    size_t i = savepoint_find(txn, level);

    FORWARD(shard_check_process(txn->shard, error));
    if (i < txn->savepoint_count) {
        return COMET_OK;
    }
    if (txn->savepoint_count == txn->savepoint_capacity) {
        size_t capacity =
            txn->savepoint_capacity > 0 ? 2 * txn->savepoint_capacity : SAVEPOINTS_FIRST;
        txn_savepoint *grown = memory_resize(txn->savepoints, capacity * sizeof *grown);
        if (grown == NULL) {
            return memory_failed(error, capacity * sizeof *grown);
        }
        txn->savepoints = grown;
        txn->savepoint_capacity = capacity;
    }
    txn->savepoints[i].level = level;
    txn->savepoints[i].tail = txn->shard->tail;
    txn->savepoint_count = i + 1;
    return COMET_OK;
}

void comet_txn_release(comet_txn *txn, int level) {
    txn->savepoint_count = savepoint_find(txn, level);
}

void comet_txn_rollback_to(comet_txn *txn, int level) {
    size_t i = savepoint_find(txn, level);

    if (log_is_forked(txn->shard->log)) {
        return;
    }
    if (i == txn->savepoint_count) {
        restore_tail(txn, &txn->begin);
        txn->savepoint_count = 0; /* shallower points would lead forwards again */
        return;
    }
    restore_tail(txn, &txn->savepoints[i].tail);
    txn->savepoints[i].level = level;
    txn->savepoint_count = i + 1;
}
