/* shard.c -- one shard's directory: opening, the list of segments, the manifest.
**
** Decides: when a list of segments is out of date (another process changed STATE_GENERATION), and in
** which order a new one becomes known: written, durable, renamed, and only then announced.
**
**     shard-0007/
**         log-0000000000000001.comet    data       index.bin      the manifest
**         log-0000000000000001.idx      its index  comet.state    shared numbers
**         writer.lock                              offsets.state  groups
*/
#include "shard.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "memory.h"
#include "platform.h"
#include "reclaim.h"
#include "replace.h"
#include "status.h"
#include "tally.h"

#define STATE_NAME "comet.state"
#define LOCK_NAME "writer.lock"
#define NEVER_LOADED UINT64_MAX

comet_status shard_path(const comet_shard *shard, const char *name, char path[PATH_BYTES_MAX],
                        comet_error *error) {
    int length = snprintf(path, PATH_BYTES_MAX, "%s/%s", shard->home.directory, name);

    if (length < 0 || (size_t)length >= PATH_BYTES_MAX) {
        return error_set(error, COMET_INVALID, 0, "the path %s is too long", shard->home.directory);
    }
    return COMET_OK;
}

comet_status shard_refuse_process(comet_error *error) {
    return error_set(error, COMET_MISUSE, 0,
                     "this log was opened before fork(); open it anew in this process");
}

/* ---- The list ---- */

void shard_set_list(comet_shard *shard, segment_list *list, uint64_t generation) {
    segment_list *old;

    segment_list_retain(list);
    pthread_mutex_lock(&shard->mutex);
    old = shard->list;
    shard->list = list;
    shard->list_generation = generation;
    pthread_mutex_unlock(&shard->mutex);
    segment_list_release(old);
}

segment_list *shard_list(comet_shard *shard) {
    segment_list *list;

    pthread_mutex_lock(&shard->mutex);
    list = shard->list;
    segment_list_retain(list);
    pthread_mutex_unlock(&shard->mutex);
    return list;
}

static comet_status reload_list(comet_shard *shard, uint64_t generation, comet_error *error) {
    segment_list *list;
    comet_status status = inventory_load(shard, false, &list, error);

    if (status == COMET_OK) {
        shard_set_list(shard, list, generation);
        segment_list_release(list);
    }
    return status;
}

bool shard_list_is_current(const comet_shard *shard, const segment_list *list, uint64_t *end) {
    *end = state_end(&shard->state);
    return state_is_ours(&shard->state) &&
           list == atomic_load_explicit(&shard->list, memory_order_acquire) &&
           shard->list_generation == state_load(&shard->state, STATE_GENERATION);
}

/* The end is loaded before the generation: a list at least as new as the end is found. */
comet_status shard_snapshot(comet_shard *shard, segment_list **list, uint64_t *end,
                            comet_error *error) {
    uint64_t committed = state_end(&shard->state);
    uint64_t generation = state_load(&shard->state, STATE_GENERATION);

    if (!state_is_ours(&shard->state)) {
        return error_set(error, COMET_IO, 0,
                         "%s/" STATE_NAME
                         " was cut short or overwritten by another program while it "
                         "was in use; close the log everywhere and open it again",
                         shard->home.directory);
    }
    if (generation != shard->list_generation) {
        FORWARD(reload_list(shard, generation, error));
    }
    *list = shard_list(shard);
    *end = committed;
    return COMET_OK;
}

/* ---- The manifest ---- */

static comet_status encode_manifest(comet_shard *shard, const segment_list *list,
                                    uint64_t end_offset, uint64_t end_position, uint8_t **bytes,
                                    size_t *size, comet_error *error) {
    comet_status status;
    manifest made;

    manifest_init(&made);
    made.end_offset = end_offset;
    made.end_position = end_position;
    made.segment_count = list->count;
    made.segments = memory_allocate_zeroed((list->count + 1) * sizeof *made.segments);
    if (made.segments == NULL) {
        return memory_failed(error, list->count * sizeof *made.segments);
    }
    for (size_t i = 0; i < list->count; i++) {
        made.segments[i] = list->items[i].facts;
    }
    status = manifest_encode(&made, shard->home.directory, bytes, size, error);
    manifest_clear(&made);
    return status;
}

comet_status shard_save_manifest(comet_shard *shard, segment_list *list, uint64_t end_offset,
                                 uint64_t end_position, comet_error *error) {
    shard_state *state = &shard->state;
    int64_t now = platform->now();
    int64_t last = (int64_t)state_load(state, STATE_LAST_INDEX_UPDATE);
    uint64_t generation = state_load(state, STATE_GENERATION) + 1;
    uint8_t *bytes;
    size_t size;
    comet_status status;

    FORWARD(encode_manifest(shard, list, end_offset, end_position, &bytes, &size, error));
    if (atomic_exchange(&shard->manifest_is_bad, false)) {
        inventory_set_aside(shard, MANIFEST_NAME);
    }
    status = replace_file(shard->home.directory, MANIFEST_NAME, bytes, size,
                          log_value(shard->log, COMET_SYNC) != COMET_SYNC_OFF, error);
    memory_release(bytes);
    if (status != COMET_OK) {
        shard->manifest_is_stale = true; /* it may have been replaced all the same */
        state_add(state, STATE_INDEX_PERSIST_ERRORS, 1);
        return status;
    }
    shard_set_list(shard, list, generation);
    state_store(state, STATE_LAST_INDEX_UPDATE, (uint64_t)(now > last ? now : last + 1));
    state_bump(state, STATE_INDEX_PERSIST_COUNT, 1);
    state_store(state, STATE_CURRENT_FILES, list->count);
    state_store(state, STATE_TOTAL_FILE_BYTES, tally_file_bytes(list, end_offset, end_position));
    state_store(state, STATE_GENERATION, generation);
    shard->tail_generation = generation;
    return COMET_OK;
}

/* ---- Opening ---- */

comet_status shard_lock_open(comet_shard *shard, comet_error *error) {
    comet_status status = COMET_OK;

    pthread_mutex_lock(&shard->mutex);
    if (!atomic_load(&shard->lock_is_open)) {
        char path[PATH_BYTES_MAX];
        status = shard_path(shard, LOCK_NAME, path, error);
        if (status == COMET_OK) {
            status = lock_open(path, &shard->lock, error);
        }
        if (status == COMET_OK) {
            atomic_store_explicit(&shard->lock_is_open, true, memory_order_release);
        }
    }
    pthread_mutex_unlock(&shard->mutex);
    return status;
}

comet_status shard_lock_take(comet_shard *shard, bool *took_over, comet_error *error) {
    if (!atomic_load_explicit(&shard->lock_is_open, memory_order_acquire)) {
        FORWARD(shard_lock_open(shard, error));
    }
    return lock_take(&shard->lock, took_over, error);
}

uint32_t shard_writer(const comet_shard *shard) {
    char path[PATH_BYTES_MAX];

    return shard_path(shard, LOCK_NAME, path, NULL) == COMET_OK ? lock_holder(path) : 0;
}

/* The name is the identity: 4 digits at least, more where needed. */
static comet_status find_directory(comet_shard *shard, bool create, comet_error *error) {
    platform_info info;
    int result;
    int length = snprintf(shard->home.directory, sizeof shard->home.directory, "%s/shard-%04u",
                          log_directory(shard->log), shard->id);

    if (length < 0 || (size_t)length >= sizeof shard->home.directory) {
        return error_set(error, COMET_INVALID, 0, "the path %s is too long",
                         log_directory(shard->log));
    }
    result = platform->path_info(shard->home.directory, &info);
    if (result == -ENOENT && create) {
        result = platform->make_directory(shard->home.directory);
        if (result == 0) {
            (void)platform->sync_directory(log_directory(shard->log));
        }
        result = result == -EEXIST ? 0 : result;
        return result == 0 ? COMET_OK
                           : error_set(error, result == -ENOSPC ? COMET_FULL : COMET_READONLY,
                                       -result, "cannot make %s", shard->home.directory);
    }
    if (result == -ENOENT) {
        return error_set(error, COMET_NOT_FOUND, 0, "there is no shard %u in %s", shard->id,
                         log_directory(shard->log));
    }
    if (result != 0 || !info.is_directory) {
        return error_set(error, COMET_IO, result != 0 ? -result : ENOTDIR, "cannot open %s",
                         shard->home.directory);
    }
    return COMET_OK;
}

/* A damaged comet.state is kept under another name.  The file itself stays: others may have it mapped,
** and would go on with one that nobody else sees. */
static comet_status reset_state(comet_shard *shard, comet_error *error) {
    char name[sizeof STATE_NAME + 32];

    if (!state_is_damaged(&shard->state)) {
        return COMET_OK;
    }
    (void)snprintf(name, sizeof name, STATE_NAME ".corrupted.%" PRId64, platform->now());
    FORWARD(
        replace_file(shard->home.directory, name, shard->state.bytes, STATE_BYTES, false, error));
    for (unsigned field = 0; field < STATE_BYTES; field += 8) {
        state_store(&shard->state, (state_field)field, 0);
    }
    state_count_corruption(&shard->state);
    return COMET_OK;
}

static comet_status recover(comet_shard *shard, comet_error *error) {
    comet_status status;
    bool took_over;

    if (!shard->home.writable) {
        state_close(&shard->state);
        FORWARD(state_detach(&shard->state, error));
        return recovery_run(shard, error);
    }
    status = shard_lock_take(shard, &took_over, error);
    if (status == COMET_BUSY && state_is_trusted(&shard->state)) {
        return COMET_OK; /* who writes there has made it right */
    }
    FORWARD(status);
    if (state_is_trusted(&shard->state) && !took_over) {
        lock_give(&shard->lock);
        return COMET_OK;
    }
    status = reset_state(shard, error);
    if (status == COMET_OK) {
        status = took_over ? recovery_take_over(shard, error) : recovery_run(shard, error);
    }
    if (status == COMET_OK) {
        consumer_recover(shard);
    }
    lock_give_back(&shard->lock, took_over && status != COMET_OK);
    return status;
}

static comet_status open_state(comet_shard *shard, comet_error *error) {
    char path[PATH_BYTES_MAX];
    comet_status status;

    FORWARD(shard_path(shard, STATE_NAME, path, error));
    status = state_open(path, shard->home.writable, &shard->state, error);
    if (status == COMET_NOT_FOUND && !shard->home.writable) {
        return recover(shard, error);
    }
    FORWARD(status);
    return state_is_trusted(&shard->state) ? COMET_OK : recover(shard, error);
}

comet_status shard_new(log_core *log, uint32_t id, bool create, comet_shard **shard,
                       comet_error *error) {
    comet_shard *made = memory_allocate_zeroed(sizeof *made);
    segment_list *list = NULL;
    comet_status status;
    uint64_t end;

    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    made->log = log;
    made->id = id;
    made->home.pool = log_windows(log);
    made->home.state = &made->state;
    made->room.pool = log_windows(log);
    made->home.idlers = log_idlers(log);
    made->home.shard = id;
    made->home.writable = !log_is_readonly(log);
    atomic_init(&made->home.bytes_max, (uint64_t)log_value(log, COMET_MAX_FILE_SIZE));
    made->state.fd = made->lock.file.fd = -1;
    made->list_generation = NEVER_LOADED;
    pthread_mutex_init(&made->mutex, NULL);
    pthread_mutex_init(&made->checkpoint_mutex, NULL);
    pthread_mutex_init(&made->settling_mutex, NULL);
    pthread_mutex_init(&made->groups_mutex, NULL);
    status = segment_list_new(0, &list, error);
    atomic_init(&made->list, list);
    list = NULL;
    if (status == COMET_OK) {
        status = entry_encoder_open(&made->encoder, error);
    }
    if (status == COMET_OK) {
        status = find_directory(made, create && made->home.writable, error);
    }
    if (status == COMET_OK) {
        status = open_state(made, error);
    }
    if (status == COMET_OK) {
        status = shard_snapshot(made, &list, &end, error);
    }
    if (status == COMET_OK && made->home.writable && log_owns(log, id)) {
        reclaim_orphans(made, list);
    }
    segment_list_release(list);
    if (status != COMET_OK) {
        shard_free(made);
        return status;
    }
    *shard = made;
    return COMET_OK;
}

/* ---- Closing ---- */

void shard_free(comet_shard *shard) {
    append_room_close(&shard->room);
    segment_list_release(shard->tail_list);
    segment_list_release(shard->list);
    entry_encoder_close(shard->encoder);
    memory_release(shard->txn.savepoints);
    lock_close(&shard->lock);
    state_close(&shard->state);
    offsets_close(shard->groups);
    pthread_mutex_destroy(&shard->groups_mutex);
    pthread_mutex_destroy(&shard->settling_mutex);
    pthread_mutex_destroy(&shard->checkpoint_mutex);
    pthread_mutex_destroy(&shard->mutex);
    memory_release(shard);
}

uint32_t comet_shard_id(const comet_shard *shard) {
    return shard->id;
}

comet_status comet_shard_sync(comet_shard *shard, comet_error *error) {
    FORWARD(shard_check_process(shard, error));
    return shard->home.writable ? checkpoint_shard(shard, true, error) : COMET_OK;
}
