/* verify.c -- looking at every byte of a shard.
**
** Decides: what "whole" means for an entry.  Its block has the checksum it was written with, and the
** block's record in the index its own; the lengths in its headers lead from entry to entry to exactly the
** block's end; timestamps lie within what the record says, places where it says; what begins as a zstd
** frame decompresses.  Of the last block of a segment that grows, which has no final checksum yet, the
** newest checkpoint's mark must hold.
*/
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crc32c.h"
#include "entry.h"
#include "memory.h"
#include "shard.h"
#include "status.h"

typedef struct verifier {
    const segment_item *item;
    uint64_t end;
    bool sealed;
    bool every_byte;
    map_window *window;
    entry_decoder *decoder;
    comet_segment_check *found;
} verifier;

/* The first finding counts. */
static void note_bad(verifier *v, uint64_t offset, const char *why) {
    if (v->found->ok || offset < v->found->bad_offset) {
        v->found->ok = false;
        v->found->bad_offset = offset;
        (void)snprintf(v->found->why, sizeof v->found->why, "%s", why);
    }
}

/* An error that is a finding; any other one goes on. */
static comet_status take_finding(verifier *v, uint64_t offset, comet_status status,
                                 const comet_error *why, comet_error *error) {
    if (status == COMET_CORRUPT) {
        note_bad(v, offset, why->message);
        return COMET_OK;
    }
    if (status != COMET_OK && error != NULL) {
        *error = *why;
    }
    return status;
}

/* One entry, of which `left` bytes of its block are left. */
static comet_status verify_entry(verifier *v, const segment_block *block, uint64_t offset,
                                 const unsigned char *header, uint64_t left, comet_error *error) {
    uint64_t size = entry_header_size(header);
    int64_t timestamp = entry_header_timestamp(header);
    const void *data;
    size_t data_size;

    if (size > left - ENTRY_HEADER_BYTES) {
        return error_set(error, COMET_CORRUPT, 0, "entry %" PRIu64 " reaches out of its block",
                         offset);
    }
    if (block->sealed && (timestamp < block->time_low || timestamp > block->time_high)) {
        return error_set(error, COMET_CORRUPT, 0,
                         "the timestamp of entry %" PRIu64 " is not within its block's bounds",
                         offset);
    }
    if (!entry_is_frame(header + ENTRY_HEADER_BYTES, (size_t)size)) {
        return COMET_OK;
    }
    if (v->decoder == NULL) {
        FORWARD(entry_decoder_open(&v->decoder, error));
    }
    return entry_decode(v->decoder, header + ENTRY_HEADER_BYTES, (size_t)size, &data, &data_size,
                        error);
}

/* The entries of a block whose bytes are there. */
static comet_status verify_entries(verifier *v, const segment_block *block, comet_error *error) {
    uint64_t limit = block->limit - block->position;
    uint64_t place = 0;

    for (uint64_t offset = block->first; offset < block->end; offset++) {
        uint64_t ordinal = offset - block->first;
        const unsigned char *header;
        comet_error why;
        comet_status status;
        if (limit - place < ENTRY_HEADER_BYTES ||
            (ordinal % INDEX_STRIDE == 0 && block->sealed &&
             record_place(block->record, (uint32_t)(ordinal / INDEX_STRIDE)) != place)) {
            note_bad(v, offset, "the lengths of a block's entries do not add up");
            return COMET_OK;
        }
        FORWARD(segment_bytes(v->item->file, &v->window, block->position + place,
                              ENTRY_HEADER_BYTES, &header, error));
        if (entry_header_size(header) <= limit - place - ENTRY_HEADER_BYTES) {
            FORWARD(segment_bytes(v->item->file, &v->window, block->position + place,
                                  ENTRY_HEADER_BYTES + (uint64_t)entry_header_size(header), &header,
                                  error));
        }
        status = verify_entry(v, block, offset, header, limit - place, &why);
        FORWARD(take_finding(v, offset, status, &why, error));
        if (status != COMET_OK) {
            return COMET_OK;
        }
        v->found->entries++;
        place += ENTRY_HEADER_BYTES + (uint64_t)entry_header_size(header);
    }
    if (block->sealed && place != limit) {
        note_bad(v, block->first, "a block holds bytes that belong to no entry");
    }
    v->found->bytes += place;
    return COMET_OK;
}

static comet_status verify_block(verifier *v, segment_block *block, comet_error *error) {
    const unsigned char *bytes;

    /* Also where it was checked before: the answer to this question is for now. */
    FORWARD(segment_check_block(v->item->file, block, &v->window, error));
    if (block->sealed) {
        FORWARD(segment_bytes(v->item->file, &v->window, block->position,
                              block->limit - block->position, &bytes, error));
        if (crc32c_extend(0, bytes, block->limit - block->position) != record_crc(block->record)) {
            return segment_corrupt(
                v->item->file, block->first, block->end - 1,
                "are damaged: they do not have the checksum they were written with", error);
        }
    }
    return verify_entries(v, block, error);
}

/* What a checkpoint vouched for in a segment that grows. */
static comet_status verify_mark(verifier *v, comet_error *error) {
    index_mark marks[2];
    unsigned count = index_mark_load(segment_index(v->item->file), marks);
    bool holds;

    if (v->sealed || count == 0 || marks[0].end_offset <= v->item->facts.first_offset ||
        marks[0].end_offset > v->end) {
        return COMET_OK;
    }
    FORWARD(checkpoint_mark_holds(v->item->file, &marks[0], &holds, error));
    if (!holds) {
        note_bad(v, marks[0].end_offset - 1,
                 "the last block is damaged: it is not what a checkpoint found there");
    }
    return COMET_OK;
}

static comet_status verify_blocks(verifier *v, comet_error *error) {
    segment_file *file = v->item->file;
    uint64_t offset = v->item->facts.first_offset;

    for (uint64_t at = 0; offset < v->end; at++) {
        segment_block block;
        comet_error why;
        comet_status status = segment_describe_block(file, at, v->end, v->sealed, &block, &why);
        FORWARD(take_finding(v, offset, status, &why, error));
        if (status != COMET_OK || block.first != offset) {
            note_bad(v, offset, "the index does not lead from block to block");
            return COMET_OK;
        }
        status = verify_block(v, &block, &why);
        FORWARD(take_finding(v, block.first, status, &why, error));
        offset = block.end;
    }
    return verify_mark(v, error);
}

/* That the file holds what its index says, by the last block alone. */
static comet_status verify_length(verifier *v, comet_error *error) {
    segment_file *file = v->item->file;
    segment_block block;
    uint64_t size;
    uint64_t at;

    FORWARD(index_find(segment_index(file), v->end - 1, &at, error));
    FORWARD(segment_describe_block(file, at, v->end, v->sealed, &block, error));
    FORWARD(segment_size(file, &size, error));
    if (block.position > size || block.limit > size) {
        return segment_corrupt(file, block.first, block.end - 1,
                               "are missing: the file was cut short", error);
    }
    v->found->entries = v->end - v->item->facts.first_offset;
    return COMET_OK;
}

static comet_status verify_segment(verifier *v, comet_error *error) {
    const manifest_segment *facts = &v->item->facts;
    comet_segment_check *found = v->found;
    comet_error why;
    comet_status status;

    memset(found, 0, sizeof *found);
    (void)manifest_file_name(facts->sequence, found->file);
    found->first_offset = facts->first_offset;
    found->end_offset = v->end;
    found->ok = true;
    status = segment_enter(v->item->file, v->end, &why);
    if (status == COMET_OK) {
        status = v->every_byte ? verify_blocks(v, &why) : verify_length(v, &why);
        segment_release_window(v->item->file, &v->window);
        segment_leave(v->item->file);
    }
    FORWARD(take_finding(v, facts->first_offset, status, &why, error));
    if (found->ok && v->every_byte && v->sealed && facts->has_bounds &&
        (facts->entry_count != v->end - facts->first_offset || facts->bytes != found->bytes)) {
        note_bad(v, facts->first_offset, "index.bin says another number of entries or bytes");
    }
    return COMET_OK;
}

static comet_status verify_shard(comet_shard *shard, bool every_byte, comet_segment_check **checks,
                                 size_t *count, comet_error *error) {
    comet_segment_check *made;
    comet_status status = COMET_OK;
    segment_list *list;
    size_t used = 0;
    uint64_t end;

    FORWARD(shard_check_process(shard, error));
    FORWARD(shard_snapshot(shard, &list, &end, error));
    made = memory_allocate((list->count + 1) * sizeof *made);
    if (made == NULL) {
        status = memory_failed(error, (list->count + 1) * sizeof *made);
    }
    for (size_t i = 0; status == COMET_OK && i < list->count; i++) {
        verifier v = {.item = &list->items[i], .found = &made[used], .every_byte = every_byte};
        v.sealed = i + 1 < list->count && list->items[i + 1].facts.first_offset <= end;
        v.end = v.sealed ? list->items[i + 1].facts.first_offset : end;
        if (v.end > v.item->facts.first_offset) {
            status = verify_segment(&v, error);
            entry_decoder_close(v.decoder);
            used++;
        }
    }
    segment_list_release(list);
    if (status != COMET_OK) {
        memory_release(made);
        return status;
    }
    *checks = made;
    *count = used;
    return COMET_OK;
}

comet_status comet_shard_verify(comet_shard *shard, comet_segment_check **checks, size_t *count,
                                comet_error *error) {
    return verify_shard(shard, true, checks, count, error);
}

comet_status comet_shard_verify_files(comet_shard *shard, comet_segment_check **checks,
                                      size_t *count, comet_error *error) {
    return verify_shard(shard, false, checks, count, error);
}
