/* settle.c -- a shard at rest.
**
** Decides: what a shard's files look like when nobody is at work: everything durable, index.bin up to date
** and the last file cut to its data, as the Go package likes it.  So it is left by whoever closes it last.
*/
#include "log.h"
#include "platform.h"
#include "reclaim.h"
#include "shard.h"
#include "status.h"

/* index.bin up to date, the last file cut to its data: as the Go package likes it.  Needs the writer's
** lock. */
static comet_status tidy_files(comet_shard *shard) {
    const write_tail *tail = &shard->tail;
    segment_list *list;
    segment_item *item;
    comet_status status;

    FORWARD(tail_load(shard, NULL));
    if (tail->segment_count == 0) {
        return COMET_OK;
    }
    /* Others read the present list. */
    FORWARD(segment_list_copy(shard->tail_list, tail->segment_count, 0, &list, NULL));
    item = &list->items[tail->segment_count - 1];
    status = index_tail_is_empty(&tail->index) && !tail->is_closed
                 ? COMET_OK
                 : tail_segment_facts(shard, item, tail->index.end_offset, tail->index.position,
                                      &item->facts, NULL);
    if (status == COMET_OK) {
        status =
            shard_save_manifest(shard, list, tail->index.end_offset, tail->index.position, NULL);
    }
    /* Cut only once the others have been told: they store into mappings of the file. */
    if (status == COMET_OK && !tail->is_closed) {
        status = segment_cut(item->file, tail->index.position, NULL);
    }
    for (size_t i = 0; i < list->count; i++) {
        if (i + 1 < list->count || tail->is_closed) {
            (void)segment_save_index(list->items[i].file, NULL);
        }
    }
    shard->tail_is_loaded = false; /* its list is not the one in force any more */
    segment_list_release(list);
    return status;
}

/* Another process at work, or the one that owns the shard, will do it in its turn. */
void shard_settle(comet_shard *shard) {
    bool durable = log_value(shard->log, COMET_SYNC) != COMET_SYNC_OFF;
    uint64_t freed;
    bool took_over;

    if (!shard->home.writable || !log_owns(shard->log, shard->id) ||
        !atomic_load(&shard->lock_is_open) || checkpoint_shard(shard, durable, NULL) != COMET_OK) {
        return;
    }
    if (lock_take(&shard->lock, &took_over, NULL) != COMET_OK) {
        return;
    }
    lock_give_back(&shard->lock, took_over);
    if (took_over) {
        return; /* the next writer repairs */
    }
    (void)reclaim_shard(shard, 0, NULL, &freed, NULL);
    pthread_mutex_lock(&shard->settling_mutex);
    if (lock_take(&shard->lock, &took_over, NULL) == COMET_OK) {
        if (!took_over) {
            (void)tidy_files(shard);
        }
        lock_give_back(&shard->lock, took_over);
    }
    pthread_mutex_unlock(&shard->settling_mutex);
}

void shard_rest(comet_shard *shard) {
    uint64_t transactions = state_load(&shard->state, STATE_TOTAL_BATCHES);
    bool is_idle = transactions == shard->rested_at;
    bool took_over;

    shard->rested_at = transactions;
    if (!is_idle || !window_pool_is_crowded(shard->home.pool) ||
        !atomic_load(&shard->lock_is_open)) {
        return;
    }
    pthread_mutex_lock(&shard->settling_mutex);
    if (lock_take(&shard->lock, &took_over, NULL) == COMET_OK) {
        if (!took_over) {
            append_room_close(&shard->room);
        }
        lock_give_back(&shard->lock, took_over);
    }
    pthread_mutex_unlock(&shard->settling_mutex);
}

void shard_await_settling(comet_shard *shard) {
    pthread_mutex_lock(&shard->settling_mutex);
    pthread_mutex_unlock(&shard->settling_mutex);
}
