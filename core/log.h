/* log.h -- what shards need of their log.
**
** A log_core is the one open log of this process for a directory; each comet_log is a handle on it.
*/
#ifndef COMET_LOG_H
#define COMET_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "comet.h"
#include "window.h"

typedef struct log_core log_core;

/* What every append asks for stands first in a log_core, to be had without a call. */
typedef struct log_face {
    unsigned fork_epoch; /* when it was opened */
    _Atomic int64_t values[COMET_SETTING_COUNT];
} log_face;

/* How many forks lie between this process and the one that loaded the library. */
extern atomic_uint log_fork_epoch;

/* A setting's value in force; any thread. */
static inline int64_t log_value(const log_core *log, comet_setting setting) {
    return atomic_load_explicit(&((const log_face *)(const void *)log)->values[setting],
                                memory_order_relaxed);
}

/* Whether this process is a child of the one that opened the log. */
static inline bool log_is_forked(const log_core *log) {
    return atomic_load_explicit(&log_fork_epoch, memory_order_relaxed) !=
           ((const log_face *)(const void *)log)->fork_epoch;
}

const char *log_directory(const log_core *log);
bool log_is_readonly(const log_core *log);
window_pool *log_windows(log_core *log);
struct segment_idlers *log_idlers(log_core *log);

/* This process's number among those that share the log: process_id as it was given, else its slot,
** which is taken now if it is not held.  COMET_BUSY: others have them all. */
comet_status log_process_id(log_core *log, int64_t *id, comet_error *error);

/* Whether a shard is this process's to write and to look after: it is, unless process_count gives it to
** another.  A process that has no number yet has no shard. */
bool log_owns(const log_core *log, uint32_t shard);

/* As comet_shard_open() and comet_log_shards(), where there is no handle. */
comet_status log_shard_open(log_core *log, uint32_t id, bool create, comet_shard **shard,
                            comet_error *error);
comet_status log_shards(const log_core *log, uint32_t **ids, size_t *count, comet_error *error);

/* The open shard with the smallest number from `id` on, counted: comet_shard_close() it.  NULL: none. */
comet_shard *log_borrow_shard(log_core *log, uint64_t id);

log_core *log_of(const comet_log *log);
comet_status log_check_process(const comet_log *log, comet_error *error);

/* Take over the stored settings of retention if another process, or a person, has changed the file. */
void log_refresh_settings(log_core *log);

/* `pending` entries of a shard are committed and not durable: see that somebody makes them so. */
void log_wake_upkeep(log_core *log, uint64_t pending);

#endif
