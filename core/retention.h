/* retention.h -- which segments may go.
**
** Decides: the order of the rules, in one pure function: nothing here reads a clock, a file or a lock.
** Segments go from the oldest on, so the first one that stays keeps all behind it.
**
**     rule                                                       wins over
**     1. the current segment stays                               everything
**     2. over a size limit, the oldest goes                      age, grace period, minimum
**        unless a group still needs it and when_full=reject
**     3. a segment that a group still needs stays, but not       age
**        longer than force_delete_after
**     4. fewer than min_files_to_keep would be left: it stays    age
**     5. written within file_grace_period: it stays              age
**     6. last written longer than max_age ago: it goes
**
** The idea is Kafka's (log.retention.*); the names are the Go package's.
*/
#ifndef COMET_CORE_RETENTION_H
#define COMET_CORE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comet.h"

typedef struct retention_segment {
    uint64_t first_offset;
    uint64_t end_offset;
    uint64_t bytes;     /* on disk, with its index */
    int64_t written_ns; /* wall clock of the last write */
} retention_segment;

typedef struct retention_group {
    const char *name;
    uint64_t position; /* the first entry that it has not acknowledged */
} retention_group;

/* Settings as in comet.h; 0 for max_age and sizes: no limit. */
typedef struct retention_rules {
    int64_t max_age;
    uint64_t max_shard_size;
    bool protect_unconsumed;
    int64_t force_delete_after; /* 0: never */
    bool reject_when_full;      /* else drop_oldest */
    int64_t file_grace_period;
    uint64_t min_files_to_keep;
} retention_rules;

typedef struct retention_case {
    const retention_segment *segments; /* oldest first */
    size_t segment_count;
    size_t pinned_count; /* of the newest: current, or touched by the transaction that asks */
    const retention_group *groups;
    size_t group_count;
    uint64_t shard_bytes; /* of everything in the shard's directory */
    uint64_t excess; /* bytes that the log is over its own limit, which this shard is to give up */
    int64_t now;
} retention_case;

typedef enum retention_reason {
    RETENTION_CURRENT,    /* stays: it is written to */
    RETENTION_YOUNG,      /* stays: max_age is not reached */
    RETENTION_GRACE,      /* stays: file_grace_period */
    RETENTION_MINIMUM,    /* stays: min_files_to_keep */
    RETENTION_UNCONSUMED, /* stays: a group has not acknowledged it */
    RETENTION_FOLLOWS,    /* stays: an older one does */
    RETENTION_AGE,        /* goes */
    RETENTION_SIZE,       /* goes */
    RETENTION_DROPPED,    /* goes: for size, though a group had not acknowledged it */
    RETENTION_REASON_COUNT
} retention_reason;

typedef struct retention_decision {
    size_t go_count;          /* the oldest so many go */
    retention_reason blocked; /* why the next one stays; RETENTION_CURRENT where none is left */
    const char *group;        /* that keeps it; NULL: none */
    uint64_t bytes;           /* that go */
    uint64_t over;            /* bytes over a limit that are left */
} retention_decision;

/* Decide; reasons[i] says why segment i goes or stays. */
void retention_decide(const retention_rules *rules, const retention_case *what,
                      retention_decision *decision, retention_reason *reasons);

/* "max_age", "size limit" ...: the words of the report. */
const char *retention_reason_text(retention_reason reason);

#endif
