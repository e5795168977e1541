/* stream_merge.h -- one way through the entries of many shards.
**
** Decides: which shard is opened when.  Shards are added with what is known of their bounds; one
** that cannot match is left out, and the others are opened only when it is their turn:
**
**   shard after shard    the next one when the one before is through
**   in time order        a heap of shards; one that is not open yet stands where its bounds say that
**                        its first entry can be at the earliest, and is opened when it comes to the
**                        top.  So the newest 10 entries of 256 shards open 10 of them at most.
**
** Equal timestamps come by shard, then by offset; all descending together.
** Where a shard ends is fixed when it is added, not when it is opened: all of them show one moment.
*/
#ifndef COMET_EXT_STREAM_MERGE_H
#define COMET_EXT_STREAM_MERGE_H

#include "connection.h"
#include "scan.h"

typedef struct stream_merge stream_merge;

comet_status stream_merge_new(stream_merge **merge, comet_error *error);
void stream_merge_free(stream_merge *merge); /* NULL is fine */

/* Begin another way.  Cursors that are open are kept for the shards that come again. */
void stream_merge_reset(stream_merge *merge, const scan *asked);

/* In ascending order of their numbers. */
comet_status stream_merge_add(stream_merge *merge, open_shard *shard, comet_error *error);

/* Go to the first entry, or the next.  COMET_DONE: there is none. */
comet_status stream_merge_start(stream_merge *merge, uint64_t skip, comet_error *error);
comet_status stream_merge_next(stream_merge *merge, comet_error *error);

/* Of the current entry. */
uint32_t stream_merge_shard(const stream_merge *merge);
comet_cursor *stream_merge_cursor(const stream_merge *merge);

/* How many shards have been opened since the reset. */
size_t stream_merge_opened(const stream_merge *merge);

#endif
