/* recovery.c -- making a shard whole after a crash, a power cut, or the Go package.
**
** Decides: where the log ends, and what is done with what lies beyond.  Which segments there are is
** inventory.c's.
**
**   comet.state was written by us, in this start of the machine:  its end holds.  The page cache is
**   whole, whatever died; only what was never published is taken back.
**
**   else (the machine went down, Go wrote, comet.state is lost):  from the newest mark that a
**   checkpoint left, over every further block that has the checksum it was written with, up to what was
**   noted as prepared: the longest prefix that reached the disk.  What a mark or index.bin vouched for
**   counts even if its bytes are damaged: numbers are never given twice, and reading says what is lost.
**   A segment without an index of ours (Go's, or lost) ends where its whole entries end.
**
**   Whatever lies behind the end goes.  Damage before it stays as it is, and nothing is written behind
**   damage in the same file (writer.c).
*/
#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "crc32c.h"
#include "log.h"
#include "memory.h"
#include "platform.h"
#include "shard.h"
#include "status.h"
#include "walk.h"

/* ---- The end ---- */

/* Count the whole entries of a block whose bytes are there and have their checksum. */
static comet_status count_block(segment_file *segment, uint64_t at, map_window **window,
                                uint64_t *end, comet_error *error) {
    const unsigned char *record;
    const unsigned char *bytes;
    uint64_t size;
    uint64_t place = 0;
    uint64_t offset;
    uint32_t length;

    FORWARD(index_record(segment_index(segment), at, &record, error));
    FORWARD(segment_size(segment, &size, error));
    length = record_length(record);
    if (length == 0 || record_position(record) > size || length > size - record_position(record)) {
        return error_set(error, COMET_CORRUPT, 0, "%s: a block is not whole",
                         segment_path(segment));
    }
    FORWARD(segment_bytes(segment, window, record_position(record), length, &bytes, error));
    if (crc32c_extend(0, bytes, length) != record_crc(record)) {
        return error_set(error, COMET_CORRUPT, 0, "%s: a block is damaged", segment_path(segment));
    }
    offset = record_first(record);
    while (length - place >= ENTRY_HEADER_BYTES) {
        place += ENTRY_HEADER_BYTES + (uint64_t)entry_header_size(bytes + place);
        offset += place <= length ? 1 : 0;
        place = place <= length ? place : length;
    }
    *end = offset;
    return COMET_OK;
}

/* From a mark, or the segment's beginning, on over blocks that are whole, up to what was prepared: the
** blocks of a transaction that was not may be whole as well. */
static comet_status follow_blocks(segment_file *segment, const index_mark *mark, uint64_t *end,
                                  comet_error *error) {
    block_index *index = segment_index(segment);
    map_window *window = NULL;
    uint64_t noted = index_noted_end(index);
    uint64_t found = 0;
    uint64_t at = 0;
    comet_status status = COMET_OK;
    bool holds;

    *end = mark->end_offset;
    if (*end > segment_first_offset(segment)) {
        FORWARD(checkpoint_mark_holds(segment, mark, &holds, error));
        if (!holds) {
            return COMET_OK; /* damage: nothing that follows is safe to continue */
        }
        FORWARD(index_find(index, *end - 1, &at, error));
    }
    while (at < index_count(index) && *end < noted) {
        const unsigned char *record;
        status = index_record(index, at, &record, error);
        status = status != COMET_OK ? status : count_block(segment, at, &window, &found, error);
        if (status != COMET_OK || record_first(record) > *end) {
            break;
        }
        *end = found > *end ? found : *end;
        at++;
    }
    segment_release_window(segment, &window);
    if (status != COMET_OK && status != COMET_CORRUPT) {
        return status; /* nobody can tell just now; what is taken for the end would be cut there */
    }
    noted = noted > mark->end_offset ? noted : mark->end_offset;
    *end = *end < noted ? *end : noted;
    return COMET_OK;
}

/* The newest mark of a segment that has an index of ours; the segment's beginning where it has none. */
static comet_status newest_mark(const segment_item *item, index_mark *mark, bool *found,
                                comet_error *error) {
    index_mark marks[2];
    uint64_t end;
    bool indexed = false;
    comet_status status = segment_find_end(item->file, &end, &indexed, error);

    *found = false;
    memset(mark, 0, sizeof *mark);
    mark->end_offset = item->facts.first_offset;
    if (status == COMET_CORRUPT) { /* its file is gone */
        return COMET_OK;
    }
    FORWARD(status);
    if (indexed && index_mark_load(segment_index(item->file), marks) > 0 &&
        marks[0].end_offset > item->facts.first_offset) {
        *mark = marks[0];
        *found = true;
    }
    return COMET_OK;
}

/* Whether it has entries that only index.bin and its bytes tell of: Go's, or damaged. */
static bool is_go(const segment_item *item) {
    return !item->facts.has_bounds && item->facts.entry_count > 0;
}

/* Where to begin: at the newest segment with a mark, as checkpoints go from the oldest on.  Where there
** is none, in a new shard, at its beginning; with sync=off, where nothing was promised, and in a log of
** Go's, at the last segment. */
static comet_status find_start(const segment_list *list, bool has_checkpoints, size_t *start,
                               index_mark *mark, comet_error *error) {
    bool found = false;

    for (size_t i = list->count; i-- > 0 && !found;) {
        FORWARD(newest_mark(&list->items[i], mark, &found, error));
        *start = i;
    }
    if (found) {
        return COMET_OK;
    }
    *start = has_checkpoints && !is_go(&list->items[0]) ? 0 : list->count - 1;
    return newest_mark(&list->items[*start], mark, &found, error);
}

/* One past the last entry of `item` that is whole, from `mark` on. */
static comet_status find_segment_end(const segment_item *item, const index_mark *mark,
                                     uint64_t *end, comet_error *error) {
    uint64_t noted = 0;
    bool indexed = false;
    comet_status status = segment_find_end(item->file, &noted, &indexed, error);

    if (status == COMET_CORRUPT) { /* its file is gone */
        *end = item->facts.first_offset + item->facts.entry_count;
        return COMET_OK;
    }
    FORWARD(status);
    if (!indexed) {
        *end = noted;
        return COMET_OK;
    }
    return follow_blocks(item->file, mark, end, error);
}

static comet_status find_end(const segment_list *list, bool has_checkpoints, uint64_t *end,
                             uint64_t *vouched, comet_error *error) {
    index_mark mark;
    size_t i = 0;

    FORWARD(find_start(list, has_checkpoints, &i, &mark, error));
    *end = *vouched = mark.end_offset;
    for (; i < list->count; i++) {
        const segment_item *item = &list->items[i];
        uint64_t limit = i + 1 < list->count ? list->items[i + 1].facts.first_offset : UINT64_MAX;
        uint64_t known = item->facts.first_offset + item->facts.entry_count;
        if (item->facts.first_offset > *end) {
            break; /* the one before has lost its end: so is all that follows */
        }
        if (mark.end_offset < item->facts.first_offset) {
            memset(&mark, 0, sizeof mark);
            mark.end_offset = item->facts.first_offset;
        }
        FORWARD(find_segment_end(item, &mark, end, error));
        if (i + 1 == list->count || is_go(item)) {
            *end = *end > known ? *end : known;
        }
        *end = *end < limit ? *end : limit;
    }
    return COMET_OK;
}

/* ---- Timestamps ---- */

/* Known from index.bin for whole segments; the last one is walked if it has grown since.  Where Go wrote,
** order is not known, and then not assumed. */
static comet_status recover_times(comet_shard *shard, const segment_list *list, uint64_t end,
                                  comet_error *error) {
    walk_sums sums;

    walk_sums_init(&sums, INT64_MIN, 0);
    for (size_t i = 0; i < list->count; i++) {
        const manifest_segment *facts = &list->items[i].facts;
        bool last = i + 1 == list->count;
        if (facts->has_bounds && (!last || facts->first_offset + facts->entry_count == end)) {
            if (facts->time_low < sums.shard_time_high) {
                sums.disorder_end = facts->first_offset + facts->entry_count;
            }
            sums.disorder_end =
                facts->disorder_end > sums.disorder_end ? facts->disorder_end : sums.disorder_end;
            sums.shard_time_high =
                facts->time_high > sums.shard_time_high ? facts->time_high : sums.shard_time_high;
        } else if (last && end > facts->first_offset) {
            comet_status status = walk_times(list->items[i].file, end, &sums, error);
            if (status == COMET_CORRUPT) {
                sums.disorder_end = end;
            } else {
                FORWARD(status);
            }
        } else if (!last) {
            sums.disorder_end = end;
        }
    }
    state_store(&shard->state, STATE_TIME_HIGH, (uint64_t)sums.shard_time_high);
    state_store(&shard->state, STATE_DISORDER_END, sums.disorder_end);
    return COMET_OK;
}

/* ---- All of it ---- */

static comet_status recover_sequence(comet_shard *shard, comet_error *error) {
    uint64_t highest = state_load(&shard->state, STATE_LAST_SEQUENCE);
    uint64_t found;

    FORWARD(inventory_last_sequence(shard, &found, error));
    if (highest > INT64_MAX / 2) {
        highest = 0; /* garbage */
    }
    state_store(&shard->state, STATE_LAST_SEQUENCE, found > highest ? found : highest);
    return COMET_OK;
}

/* Without the segments that lie behind the end; the first may be empty. */
static void drop_behind(segment_list *list, uint64_t end) {
    while (list->count > 0 && list->items[list->count - 1].facts.first_offset >= end &&
           (list->count > 1 || list->items[0].facts.entry_count == 0)) {
        segment_release(list->items[--list->count].file);
    }
    if (list->count > 0) {
        manifest_forget_beyond(&list->items[list->count - 1].facts, end);
    }
}

/* What index.bin says of a segment may be from before it grew, where a newer index.bin did not reach the disk
** but the next segment did: its bounds would hide what came later.  Order within it is then not known. */
static void refresh_facts(segment_item *item, uint64_t end) {
    manifest_segment *facts = &item->facts;
    int64_t low;
    int64_t high;
    index_mark last;

    if (!facts->has_bounds || facts->first_offset + facts->entry_count == end) {
        return;
    }
    manifest_forget_entries(facts);
    if (segment_index(item->file) != NULL &&
        checkpoint_mark_at(item->file, end, true, &last, NULL) == COMET_OK &&
        index_bounds(segment_index(item->file), &low, &high, NULL) == COMET_OK) {
        facts->entry_count = end - facts->first_offset;
        facts->bytes = last.position;
        facts->compressed_count = index_noted_compressed(segment_index(item->file));
        facts->time_low = low;
        facts->time_high = high;
        facts->disorder_end = end;
        facts->has_bounds = true;
    }
}

/* Remove what the list does not name.  Segments that were dropped go from index.bin first: after a power cut
** in between, a file that it names and that is gone would count as lost entries.  A full disk, which cannot
** take another index.bin, keeps no log from opening. */
static comet_status sweep(comet_shard *shard, segment_list *list, bool dropped, uint64_t end,
                          comet_error *error) {
    index_mark last = {0};

    if (dropped && list->count > 0) {
        const segment_item *item = &list->items[list->count - 1];
        if (segment_index(item->file) == NULL ||
            checkpoint_mark_at(item->file, end, false, &last, NULL) != COMET_OK) {
            last.position = item->facts.bytes;
        }
    }
    if (dropped) {
        (void)shard_save_manifest(shard, list, end, last.position, NULL);
    }
    return inventory_sweep(shard, list, error);
}

static comet_status recover_numbers(comet_shard *shard, segment_list *list, uint64_t *end,
                                    comet_error *error) {
    size_t found = list->count;
    uint64_t vouched = 0;

    *end = 0;
    if (list->count > 0) {
        FORWARD(find_end(list, log_value(shard->log, COMET_SYNC) != COMET_SYNC_OFF, end, &vouched,
                         error));
        drop_behind(list, *end);
        for (size_t i = 0; i + 1 < list->count; i++) {
            refresh_facts(&list->items[i], list->items[i + 1].facts.first_offset);
        }
    }
    FORWARD(recover_times(shard, list, *end, error));
    FORWARD(recover_sequence(shard, error));
    if (shard->home.writable) {
        FORWARD(sweep(shard, list, list->count < found, *end, error));
    }
    state_store(&shard->state, STATE_DURABLE_END, vouched < *end ? vouched : *end);
    if (state_load(&shard->state, STATE_BOOT) != platform->boot()) {
        state_store(&shard->state, STATE_SYNCS_FAILED, 0); /* what is read now is what is on disk */
    }
    return COMET_OK;
}

/* Whether the last file tells of more than what is believed of it. */
static bool has_leftovers(const segment_list *list, uint64_t end) {
    const block_index *index =
        list->count > 0 ? segment_index(list->items[list->count - 1].file) : NULL;

    return index != NULL && index_noted_end(index) > end;
}

comet_status recovery_run(comet_shard *shard, comet_error *error) {
    shard_state *state = &shard->state;
    segment_list *list;
    comet_status status;
    uint64_t generation;
    uint64_t end = 0;
    uint64_t counted;

    shard->tail_is_loaded = false;
    FORWARD(inventory_load(shard, true, &list, error));
    counted = list->count > 0 || state_load(state, STATE_VERSION) != 0 ? 1 : 0; /* else it is new */
    state_add(state, STATE_RECOVERY_ATTEMPTS, counted);
    status = recover_numbers(shard, list, &end, error);
    if (status == COMET_OK && has_leftovers(list, end)) {
        state_add(state, STATE_PARTIAL_WRITES, 1);
    }
    if (status == COMET_OK) {
        generation = state_load(state, STATE_GENERATION) + 1;
        state_store(state, STATE_LAST_ENTRY, end - 1);
        state_store(state, STATE_GENERATION, generation);
        state_publish(state, end);
        state_trust(state);
        shard_set_list(shard, list, generation);
        shard->manifest_is_stale = true;
        state_add(state, STATE_RECOVERY_SUCCESSES, counted);
    }
    for (size_t at = 0; at < list->count; at++) {
        segment_rest(list->items[at].file);
    }
    segment_list_release(list);
    return status;
}

/* ---- A dead writer ---- */

/* Whether something stands behind the last entry: the dead writer was in the middle of it. */
static bool is_unfinished(const comet_shard *shard) {
    const segment_list *list = shard->list;
    unsigned char header[ENTRY_HEADER_BYTES] = {0};
    unsigned char any = 0;

    if (platform->read_at(segment_fd(list->items[list->count - 1].file), header, sizeof header,
                          shard->tail.index.position) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof header; i++) {
        any |= header[i];
    }
    return any != 0;
}

comet_status recovery_take_over(comet_shard *shard, comet_error *error) {
    comet_status status;
    segment_list *list;
    size_t found;

    if (!state_is_trusted(&shard->state)) {
        return recovery_run(shard, error);
    }
    state_add(&shard->state, STATE_RECOVERY_ATTEMPTS, 1);
    FORWARD(inventory_load(shard, false, &list, error));
    found = list->count;
    drop_behind(list, state_end(&shard->state));
    status = sweep(shard, list, list->count < found, state_end(&shard->state), error);
    if (status == COMET_OK) {
        uint64_t generation = state_load(&shard->state, STATE_GENERATION) + 1;
        shard->manifest_is_stale = true;
        shard_set_list(shard, list, generation);
        state_store(&shard->state, STATE_GENERATION, generation);
        status = tail_load(shard, error);
    }
    if (status == COMET_OK && shard->tail.segment_count > 0 && !shard->tail.is_closed) {
        const segment_list *current = shard->list;
        if (is_unfinished(shard)) {
            state_add(&shard->state, STATE_PARTIAL_WRITES, 1);
        }
        status =
            segment_cut(current->items[current->count - 1].file, shard->tail.index.position, error);
    }
    if (status == COMET_OK) {
        state_add(&shard->state, STATE_RECOVERY_SUCCESSES, 1);
    }
    segment_list_release(list);
    return status;
}
