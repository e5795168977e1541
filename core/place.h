/* place.h -- where a cursor stands: its segment, its block, its entry.
**
** Decides: how an offset becomes bytes.  The index tells the block and the place of every eighth entry in
** it; at most seven headers are walked.  A block is entered once: the file's size and the block's
** checksum are looked at then (segment.c), and its bytes stay mapped while the cursor is in it.  An
** entry's header is checked against the block's limit each time, so damaged bytes lead to an error and
** never out of the mapping; and after each use of bytes it is asked whether somebody cut the file.
*/
#ifndef COMET_CORE_PLACE_H
#define COMET_CORE_PLACE_H

#include "merge.h"
#include "platform.h"
#include "shard.h"

struct comet_cursor {
    comet_shard *shard;
    entry_decoder *decoder;

    /* The snapshot. */
    segment_list *list;
    uint64_t end;
    uint64_t own_first; /* entries from here on are a transaction's own */
    unsigned rollbacks;

    /* What is left of the range. */
    uint64_t low; /* offsets [low, high) */
    uint64_t high;
    int64_t time_first;
    int64_t time_last;
    bool descending;
    bool check_time;   /* rows must be compared with the times */
    bool steps_around; /* damaged blocks are left out (on_damage=skip) */
    time_merge *merge; /* else NULL */

    uint64_t offset; /* the current entry */

    /* Entries whose bytes were given out, and the last of them plus one; see place_count_reads(). */
    uint64_t read_count;
    uint64_t read_end;

    /* The block we are in; bytes[0] is at block.position. */
    segment_file *file;
    unsigned cuts; /* platform_cut_count, as it was when the window was last known to be whole */
    bool file_is_sealed;
    uint64_t file_end;
    map_window *window;
    const unsigned char *bytes;
    uint64_t bytes_length;
    segment_block block;
    bool in_block;
    bool near_block_known; /* the block holds the time range's beginning */

    /* The entry we are at; places are counted from the block's position. */
    uint64_t located;
    uint64_t place;
    bool is_located;

    /* Places of entries of one stride, for going backwards. */
    uint64_t stride_first;
    unsigned stride_count;
    uint64_t stride_places[INDEX_STRIDE];
};

/* Add what was read to the shard's count. */
void place_count_reads(comet_cursor *cursor);

/* Let go of the block, of the segment; not to be in one is fine. */
void place_leave_block(comet_cursor *cursor);
void place_leave_segment(comet_cursor *cursor);

/* Be in item number `item` of the list. */
comet_status place_enter_segment(comet_cursor *cursor, size_t item, comet_error *error);

/* Describe the block that holds `offset`, without touching its bytes.  An index that turns out to be
** damaged is made anew, once. */
comet_status place_find_block(comet_cursor *cursor, uint64_t offset, segment_block *block,
                              comet_error *error);

/* Be in the block that holds `offset`, checked and mapped. */
comet_status place_load_block(comet_cursor *cursor, uint64_t offset, comet_error *error);

/* Be at the entry's header: cursor->bytes + cursor->place. */
comet_status place_locate(comet_cursor *cursor, uint64_t offset, comet_error *error);

/* Make sure that [place, place + size) of the block is mapped. */
comet_status place_need_bytes(comet_cursor *cursor, uint64_t place, uint64_t size,
                              comet_error *error);

comet_status place_timestamp_at(comet_cursor *cursor, uint64_t offset, int64_t *timestamp,
                                comet_error *error);

/* Whether what was read from the window since the last look is what the file holds. */
static inline comet_status place_check_cut(comet_cursor *cursor, comet_error *error) {
    if (atomic_load_explicit(&platform_cut_count, memory_order_relaxed) == cursor->cuts) {
        return COMET_OK;
    }
    return segment_check_cut(cursor->file, cursor->window, &cursor->cuts, error);
}

#endif
