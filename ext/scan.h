/* scan.h -- what xFilter is asked for, unfolded from a plan's arguments.
**
** Decides: how right sides, which arrive without affinity, narrow what is read.
*/
#ifndef COMET_EXT_SCAN_H
#define COMET_EXT_SCAN_H

#include "planner.h"
#include "values.h"

typedef struct scan {
    unsigned flags; /* of the plan */
    interval offsets;
    interval times;
    interval shards;           /* of a table over many */
    sqlite3_value *shard_list; /* the right side of shard IN (...), else NULL */
    sqlite3_value *log;        /* NULL where not asked for */
    sqlite3_value *shard;      /* the argument of a table of one */
    sqlite3_value *stream;
    uint64_t limit; /* UINT64_MAX: none */
    uint64_t skip;
} scan;

/* The values are valid as long as xFilter's. */
void scan_read(unsigned flags, sqlite3_value **values, scan *asked);

/* Whether no row can be meant. */
bool scan_is_empty(const scan *asked);

/* The core's range for one shard. */
void scan_range(const scan *asked, comet_range *range);

/* A row of many shards has one rowid for shard and offset: 23 bits and 40.  That is unique below
** shard 8388608 and offset 1099511627776; beyond, it is negative and need not be. */
int64_t scan_rowid(uint32_t shard, uint64_t offset);

#endif
