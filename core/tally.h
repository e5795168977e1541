/* tally.h -- what a writer counts into comet.state.
**
** Decides: when each number of a transaction becomes everybody's: those of its entries when it is
** published, so that what was rolled back was never counted; failures and times at once.
**
** All but tally_sync() need the writer's lock.
*/
#ifndef COMET_TALLY_H
#define COMET_TALLY_H

#include <stdint.h>

#include "shard.h"

/* The clock, if the transaction's preparing is to be measured (latency.h says which are); else 0. */
int64_t tally_prepare_begins(const comet_txn *txn);
void tally_prepare_ends(comet_txn *txn, int64_t begun);

/* The transaction's entries are about to be published. */
void tally_publish(comet_txn *txn, uint64_t entries);

/* An append or a commit has failed; returns `status`. */
comet_status tally_failure(comet_txn *txn, comet_status status);

/* A segment was begun, or was not; `begun` is when that began.  Returns `status`. */
comet_status tally_rotation(comet_shard *shard, int64_t begun, comet_status status);

/* Something was brought onto the disk.  Any thread. */
void tally_sync(comet_shard *shard, int64_t begun);

/* Bytes of data in all files of a list that ends with entry `end` - 1 at `end_position` of its file. */
uint64_t tally_file_bytes(const segment_list *list, uint64_t end, uint64_t end_position);

#endif
