/* merge.h -- timestamp order over blocks whose times overlap.
**
** Decides: which block must be read before the next entry in time order is known: those, and only
** those, that begin no later than the earliest entry at hand.  Nearly ordered data needs a block or
** two in memory at a time, whatever the size of the log.  Pure: who reads blocks is the caller.
**
**     blocks by lowest time    |--A--|   |--C--|          heap of entries at hand
**                                 |--B--|     |--D--|     A and B are read; C not before both are
**                                                         consumed up to its beginning
*/
#ifndef COMET_MERGE_H
#define COMET_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "comet.h"

typedef struct time_merge time_merge;

comet_status merge_open(bool descending, time_merge **merge, comet_error *error);
void merge_close(time_merge *merge);

/* Before the first merge_next(): entries [first, end) have times within the bounds. */
comet_status merge_add_block(time_merge *merge, uint64_t first, uint64_t end, int64_t time_low,
                             int64_t time_high, comet_error *error);

/* From within a reader: one entry of the block that is being read. */
comet_status merge_add_entry(time_merge *merge, uint64_t offset, int64_t timestamp,
                             comet_error *error);

/* Calls merge_add_entry() for those entries of [first, end) that are wanted. */
typedef comet_status (*merge_reader)(void *context, time_merge *merge, uint64_t first, uint64_t end,
                                     comet_error *error);

/* The next entry in order, or COMET_DONE. */
comet_status merge_next(time_merge *merge, merge_reader reader, void *context, uint64_t *offset,
                        comet_error *error);

#endif
