/* latency.h -- how long commits keep their writers waiting, as a histogram in comet.state.
**
** Decides: what is measured.  The latency of a transaction is the time it spent where it may stop:
** making room for appends (disk blocks, pages, rotation) and preparing (checksum, index.bin, fsync).
** What lies between, copying entries into memory and publishing by a store, never stops and is not
** measured.
**
** A clock read costs as much as a small commit.  So of the transactions that had nothing to wait for,
** one in LATENCY_SAMPLE is measured, and counts for those since the last one; all others, the ones with
** a system call in them, are measured each.  No process is ever more than LATENCY_SAMPLE behind.
**
**     bucket     0        1         2         3         4              39
**              +--------+---------+---------+---------+---------+ ... +----------------+
**              | < 128  | < 192   | < 256   | < 384   | < 512   |     | all that longer |   ns
**              +--------+---------+---------+---------+---------+ ... +----------------+
**
** Two buckets an octave, 4 bytes each.  When one has counted to LATENCY_BUCKET_MAX all are halved: so
** quantiles are of the last some thousand million transactions, the newer ones counting more.
**
** Thread rule: the holder of the writer's lock adds; anybody reads.
*/
#ifndef COMET_LATENCY_H
#define COMET_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

#include "state.h"

#define LATENCY_SAMPLE 16u

/* Count a transaction that waited `ns`, and stands for `weight` of them. */
void latency_add(shard_state *state, uint64_t ns, uint32_t weight);

/* The time, in ns, that `percent` of the transactions stayed below or at; 0 when there were none.
** Exact to half an octave, and never above the highest one measured. */
uint64_t latency_quantile(const shard_state *state, unsigned percent);

#endif
