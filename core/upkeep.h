/* upkeep.h -- the one background thread of a log: checkpoints, and retention when it is due.
**
** Decides: when.  The thread is started by the first commit that leaves something to make durable.  It sleeps
** until checkpoint_interval has passed or checkpoint_entries are pending, and ends with the log.  Whatever it
** does can be had by a call as well; with upkeep=manual there is none.
*/
#ifndef COMET_UPKEEP_H
#define COMET_UPKEEP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "log.h"

typedef struct upkeep {
    log_core *log;
    pthread_mutex_t mutex; /* of what follows; held for moments only */
    pthread_cond_t wake;
    pthread_t thread;
    bool runs;
    bool stops;
    atomic_bool is_due;    /* something is pending */
    atomic_bool is_urgent; /* ... and much of it */
} upkeep;

/* All is zero before. */
void upkeep_init(upkeep *self, log_core *log);
void upkeep_clear(upkeep *self);

/* `pending` entries of a shard are committed and not durable. */
void upkeep_wake(upkeep *self, uint64_t pending);

/* Let the thread end, and wait for that. */
void upkeep_stop(upkeep *self);

#endif
