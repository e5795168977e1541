/* reclaim.h -- making room: finding out how full a shard is, and deleting what retention.h lets go.
**
** Decides: the order of a deletion.  The new start is written to index.bin, durably, and announced; then
** the files are unlinked, when nothing names them any more.  Who dies in between leaves files older than
** index.bin's first, which the next opening or run removes.
**
** A statement of this process that still reads a deleted segment holds its files open and goes on; one
** of another process that comes to a file too late goes on at the oldest entry that is left.
*/
#ifndef COMET_CORE_RECLAIM_H
#define COMET_CORE_RECLAIM_H

#include "shard.h"

/* Before a transaction begins another segment: bring shard and log below their limits.  COMET_FULL: a
** group keeps what would have to go (when_full=reject), or the transaction itself is too large. */
comet_status reclaim_for_rotation(comet_txn *txn, comet_error *error);

/* Run retention over one shard, unless somebody writes to it just now.  With `items`, what became of
** each segment is added to it. */
typedef struct reclaim_items {
    comet_retention_item *items;
    size_t count;
    size_t capacity;
} reclaim_items;

comet_status reclaim_shard(comet_shard *shard, uint64_t excess, reclaim_items *items,
                           uint64_t *freed, comet_error *error);

/* Run it over the whole log: each shard, then the log's own limit. */
comet_status reclaim_log(log_core *log, reclaim_items *items, comet_error *error);

/* Remove files that are older than the list's first. */
void reclaim_orphans(const comet_shard *shard, const segment_list *list);

#endif
