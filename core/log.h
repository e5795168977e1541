/* log.h -- what shards need of their log.
**
** A log_core is the one open log of this process for a directory; each comet_log is a handle on it.
*/
#ifndef COMET_LOG_H
#define COMET_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "comet.h"
#include "window.h"

typedef struct log_core log_core;

/* A setting's value in force; any thread. */
int64_t log_value(const log_core *log, comet_setting setting);

const char *log_directory(const log_core *log);
bool log_is_readonly(const log_core *log);
window_pool *log_windows(log_core *log);

/* Whether this process is a child of the one that opened the log. */
bool log_is_forked(const log_core *log);

/* `pending` entries of a shard are committed and not durable: see that somebody makes them so. */
void log_wake_upkeep(log_core *log, uint64_t pending);

#endif
