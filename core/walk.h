/* walk.h -- going through a segment's entries header by header, without its index.
**
** Decides: what counts as an entry where only the bytes tell: a header whose length stays within the
** file.  Zeros are an entry only where entries are due, and never a sector of them: that is a hole.
** Used to continue the last block, and to make an index anew.
*/
#ifndef COMET_WALK_H
#define COMET_WALK_H

#include <stdbool.h>
#include <stdint.h>

#include "index.h"
#include "segment.h"

/* What a walk over headers adds up to. */
typedef struct walk_sums {
    int64_t time_low;
    int64_t time_high;
    int64_t shard_time_high; /* of this and all earlier segments */
    uint64_t disorder_end;
    uint64_t compressed_count;
} walk_sums;

void walk_sums_init(walk_sums *sums, int64_t shard_time_high, uint64_t disorder_end);
void walk_sums_add(walk_sums *sums, uint64_t offset, int64_t timestamp, bool compressed);

/* Walk from `tail` on, at most to offset `offset_end`, as long as whole entries follow, and count
** them into `tail` and, unless NULL, `sums`.  Full blocks are finished in `index`.
** A header of zeros ends the walk unless offsets below `certain_end` are still due. */
comet_status walk_entries(segment_file *segment, block_index *index, index_tail *tail,
                          walk_sums *sums, uint64_t certain_end, uint64_t offset_end,
                          comet_error *error);

/* The bounds of a segment's entries below `end`. */
comet_status walk_times(segment_file *segment, uint64_t end, walk_sums *sums, comet_error *error);

#endif
