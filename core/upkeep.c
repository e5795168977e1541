/* upkeep.c -- see upkeep.h. */
#include "upkeep.h"

#include <signal.h>
#include <time.h>

#include "log.h"
#include "platform.h"
#include "reclaim.h"
#include "shard.h"

#define NANOSECONDS_PER_SECOND 1000000000

/* ---- A round ---- */

static void checkpoint_all(log_core *log) {
    comet_shard *shard = log_borrow_shard(log, 0);

    while (shard != NULL) {
        uint64_t next = (uint64_t)shard->id + 1;
        if (shard->home.writable &&
            (log_owns(log, shard->id) || atomic_load(&shard->acks_pending))) {
            (void)checkpoint_shard(shard, true, NULL); /* tried again at the next interval */
        }
        shard_rest(shard);
        comet_shard_close(shard);
        shard = log_borrow_shard(log, next);
    }
}

/* ---- The thread ---- */

/* A moment of the condition's clock; platform->tick() is the same clock, and fine enough. */
static struct timespec moment(int64_t nanoseconds) {
    struct timespec at = {.tv_sec = (time_t)(nanoseconds / NANOSECONDS_PER_SECOND),
                          .tv_nsec = (long)(nanoseconds % NANOSECONDS_PER_SECOND)};

    return at;
}

/* Sleep until `deadline`, or until somebody is in a hurry if that counts.  Under the mutex. */
static void upkeep_sleep(upkeep *self, int64_t deadline, bool hurry_counts) {
    struct timespec at = moment(deadline);
    int waited = 0;

    while (!self->stops && waited == 0 && !(hurry_counts && atomic_load(&self->is_urgent))) {
        waited = pthread_cond_timedwait(&self->wake, &self->mutex, &at);
    }
}

/* Wait for something to make durable, or until retention is due.  Under the mutex. */
static void upkeep_wait(upkeep *self, int64_t cleaned) {
    int waited = 0;

    while (!self->stops && !atomic_load(&self->is_due) && waited == 0) {
        struct timespec at = moment(cleaned + log_value(self->log, COMET_CLEANUP_INTERVAL));
        waited = pthread_cond_timedwait(&self->wake, &self->mutex, &at);
    }
}

/* One round, without the mutex; tells when retention was last done. */
static int64_t upkeep_round(log_core *log, int64_t cleaned) {
    if (log_value(log, COMET_SYNC) != COMET_SYNC_OFF) {
        checkpoint_all(log);
    }
    log_refresh_settings(log);
    if (platform->tick() - cleaned < log_value(log, COMET_CLEANUP_INTERVAL)) {
        return cleaned;
    }
    (void)reclaim_log(log, NULL, NULL); /* comet.state counts what failed */
    return platform->tick();
}

static void *upkeep_main(void *context) {
    upkeep *self = context;
    int64_t cleaned = platform->tick();

    pthread_mutex_lock(&self->mutex);
    while (!self->stops) {
        int64_t begun = platform->tick();

        upkeep_wait(self, cleaned);
        if (atomic_load(&self->is_due)) {
            upkeep_sleep(self, begun + log_value(self->log, COMET_CHECKPOINT_INTERVAL), true);
        }
        if (self->stops) {
            break;
        }
        atomic_store(&self->is_due, false);
        atomic_store(&self->is_urgent, false);
        pthread_mutex_unlock(&self->mutex);
        begun = platform->tick();
        cleaned = upkeep_round(self->log, cleaned);
        pthread_mutex_lock(&self->mutex);
        /* Writers stop while the file system commits: leave them as much time as that took. */
        upkeep_sleep(self, 2 * platform->tick() - begun, false);
    }
    pthread_mutex_unlock(&self->mutex);
    return NULL;
}

/* The host's signals are the host's threads' business.  Under the mutex. */
static void upkeep_start(upkeep *self) {
    sigset_t all;
    sigset_t before;

    if (self->runs || self->stops) {
        return;
    }
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    self->runs = pthread_create(&self->thread, NULL, upkeep_main, self) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- Life ---- */

void upkeep_init(upkeep *self, log_core *log) {
    pthread_condattr_t attributes;

    self->log = log;
    pthread_mutex_init(&self->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self->wake, &attributes);
    pthread_condattr_destroy(&attributes);
}

void upkeep_clear(upkeep *self) {
    pthread_cond_destroy(&self->wake);
    pthread_mutex_destroy(&self->mutex);
}

void upkeep_wake(upkeep *self, uint64_t pending) {
    bool urgent = (int64_t)pending >= log_value(self->log, COMET_CHECKPOINT_ENTRIES);

    if (log_value(self->log, COMET_UPKEEP) != COMET_UPKEEP_THREAD ||
        (atomic_load_explicit(&self->is_due, memory_order_relaxed) &&
         (!urgent || atomic_load_explicit(&self->is_urgent, memory_order_relaxed)))) {
        return;
    }
    pthread_mutex_lock(&self->mutex);
    atomic_store(&self->is_due, true);
    atomic_store(&self->is_urgent, urgent);
    upkeep_start(self);
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->mutex);
}

void upkeep_stop(upkeep *self) {
    bool runs;

    pthread_mutex_lock(&self->mutex);
    self->stops = true;
    runs = self->runs;
    pthread_cond_signal(&self->wake);
    pthread_mutex_unlock(&self->mutex);
    if (runs) {
        (void)pthread_join(self->thread, NULL);
    }
}
