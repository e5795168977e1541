/* tally.c -- see tally.h. */
#include "tally.h"

#include "latency.h"
#include "platform.h"

#define RATIO_WHOLE 10000u /* of STATE_COMPRESSION_SAVED */

static uint64_t since(int64_t begun) {
    return (uint64_t)(platform->clock() - begun);
}

/* ---- Latency ---- */

static bool may_wait(const comet_txn *txn) {
    return txn->waited_ns > 0 || txn->list != txn->begin_list ||
           log_value(txn->shard->log, COMET_SYNC) == COMET_SYNC_FULL;
}

int64_t tally_prepare_begins(const comet_txn *txn) {
    return may_wait(txn) || txn->shard->quick_commits % LATENCY_SAMPLE == 0 ? platform->clock() : 0;
}

void tally_prepare_ends(comet_txn *txn, int64_t begun) {
    if (begun != 0) {
        txn->waited_ns += since(begun);
        txn->is_measured = true;
    }
}

static void tally_latency(comet_txn *txn, bool waited) {
    comet_shard *shard = txn->shard;

    if (txn->is_measured) {
        latency_add(&shard->state, txn->waited_ns,
                    waited || shard->quick_commits == 0 ? 1 : LATENCY_SAMPLE);
    }
    shard->quick_commits += waited ? 0 : 1;
}

/* ---- Entries ---- */

uint64_t tally_file_bytes(const segment_list *list, uint64_t end, uint64_t end_position) {
    uint64_t bytes = 0;

    for (size_t i = 0; i < list->count && list->items[i].facts.first_offset < end; i++) {
        bool last = i + 1 == list->count || list->items[i + 1].facts.first_offset >= end;
        bytes += last ? end_position : list->items[i].facts.bytes;
    }
    return bytes;
}

static void tally_compression(comet_txn *txn, uint64_t entries) {
    shard_state *state = &txn->shard->state;
    const write_totals *now = &txn->shard->tail.totals;
    const write_totals *before = &txn->begin.totals;
    uint64_t compressed = now->compressed_entries - before->compressed_entries;
    uint64_t plain = now->plain_bytes - before->plain_bytes;
    uint64_t stored = now->stored_bytes - before->stored_bytes;

    state_bump(state, STATE_SKIPPED_COMPRESSION, entries - compressed);
    if (txn->compression_ns > 0) {
        state_bump(state, STATE_COMPRESSION_NS, txn->compression_ns);
    }
    if (compressed > 0) {
        state_bump(state, STATE_COMPRESSED_BYTES, stored);
        state_bump(state, STATE_COMPRESSED_ENTRIES, compressed);
        state_store(state, STATE_COMPRESSION_SAVED,
                    plain > stored ? (plain - stored) * RATIO_WHOLE / plain : 0);
    }
}

static void tally_files(const comet_txn *txn) {
    shard_state *state = &txn->shard->state;
    const write_tail *tail = &txn->shard->tail;
    size_t made = tail->segment_count - txn->begin.segment_count;

    if (made == 0) {
        state_bump(state, STATE_TOTAL_FILE_BYTES, tail->index.position - txn->begin.index.position);
        return;
    }
    state_bump(state, STATE_FILES_CREATED, made);
    state_bump(state, STATE_FILE_ROTATIONS, made - (txn->begin.segment_count == 0 ? 1 : 0));
    state_store(state, STATE_CURRENT_FILES, tail->segment_count);
    state_store(state, STATE_TOTAL_FILE_BYTES,
                tally_file_bytes(txn->list, tail->index.end_offset, tail->index.position));
}

void tally_publish(comet_txn *txn, uint64_t entries) {
    comet_shard *shard = txn->shard;
    shard_state *state = &shard->state;
    bool waited = may_wait(txn);

    state_bump(state, STATE_TOTAL_BYTES, shard->tail.totals.bytes - txn->begin.totals.bytes);
    state_bump(state, STATE_TOTAL_WRITES, entries);
    state_bump(state, STATE_TOTAL_BATCHES, 1);
    state_store(state, STATE_LAST_BATCH, entries);
    tally_compression(txn, entries);
    tally_files(txn);
    /* Preparing looked at the cheap clock; the wall clock is read once a tick of it. */
    if (shard->size_tick != shard->written_tick || waited) {
        shard->written_tick = shard->size_tick;
        state_store(state, STATE_LAST_WRITE_NS, (uint64_t)platform->now());
    }
    tally_latency(txn, waited);
}

/* ---- Failures and times ---- */

/* What the caller should not have asked for is no error of ours. */
static bool is_refusal(comet_status status) {
    return status == COMET_INVALID || status == COMET_TOO_BIG;
}

comet_status tally_failure(comet_txn *txn, comet_status status) {
    if (status == COMET_MISUSE) {
        return status; /* after a fork: nothing here is ours */
    }
    state_bump(&txn->shard->state, STATE_FAILED_WRITES, 1);
    if (status == COMET_CORRUPT) {
        state_count_corruption(&txn->shard->state);
    } else if (!is_refusal(status)) {
        state_count_error(&txn->shard->state);
    }
    return status;
}

comet_status tally_rotation(comet_shard *shard, int64_t begun, comet_status status) {
    state_bump(&shard->state, STATE_ROTATION_NS, since(begun));
    if (status != COMET_OK) {
        state_bump(&shard->state, STATE_FAILED_ROTATIONS, 1);
    }
    state_store(&shard->state, STATE_ROTATION_FAILED_NS,
                status == COMET_OK ? 0 : (uint64_t)platform->now());
    return status;
}

void tally_sync(comet_shard *shard, int64_t begun) {
    state_add(&shard->state, STATE_SYNC_COUNT, 1);
    state_add(&shard->state, STATE_SYNC_NS, since(begun));
}
