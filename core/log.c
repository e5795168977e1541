/* log.c -- a directory of shards, open once per process.
**
** Decides: which directory is which log (device and inode), who counts on it, and which settings are in
** force.
**
**     telemetry/
**         comet.settings     what was set; a text file to read and edit
**         comet.processes    process.c
**         shard-0000/ ...    shard.c
*/
#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "memory.h"
#include "platform.h"
#include "process.h"
#include "replace.h"
#include "settings.h"
#include "shard.h"
#include "status.h"
#include "upkeep.h"

#define SETTINGS_NAME "comet.settings"

/* A shard that a thread is opening, without the log's mutex. */
typedef struct shard_opening {
    struct shard_opening *next;
    uint32_t id;
} shard_opening;

struct log_core {
    log_face face;
    log_core *next; /* in the registry */
    comet_log *handles;
    uint64_t device;
    uint64_t inode;
    bool readonly;
    char directory[PATH_BYTES_MAX];

    bool closes; /* no handle is left: guarded by registry_mutex */

    pthread_mutex_t mutex; /* shards, settings, seat; never held across an fsync */
    comet_shard *shards;
    shard_opening *openings;
    pthread_cond_t opened; /* one of them is done */
    comet_settings settings;
    platform_info settings_file; /* as it was when it was last read */
    process_seat seat;
    window_pool windows;
    segment_idlers idlers;
    struct upkeep upkeep;
};

struct comet_log {
    comet_log *next; /* of the same core */
    log_core *core;
    comet_settings named; /* what this handle has asked for */
};

/* ---- The registry ---- */

static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static log_core *registry;
atomic_uint log_fork_epoch;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void before_fork(void) {
    pthread_mutex_lock(&registry_mutex);
    for (log_core *log = registry; log != NULL; log = log->next) {
        pthread_mutex_lock(&log->mutex);
    }
    slot_before_fork();
}

static void unlock_all(void) {
    for (log_core *log = registry; log != NULL; log = log->next) {
        pthread_mutex_unlock(&log->mutex);
    }
    pthread_mutex_unlock(&registry_mutex);
}

static void after_fork_in_parent(void) {
    slot_after_fork_in_parent();
    unlock_all();
}

/* All that the child inherits is left alone, but for the slots.  Its handles are dead. */
static void after_fork_in_child(void) {
    slot_after_fork_in_child();
    unlock_all();
    registry = NULL;
    atomic_fetch_add(&log_fork_epoch, 1);
}

static void watch_forks(void) {
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

comet_status comet_set_allocator(const comet_allocator *allocator) {
    comet_status status = COMET_OK;

    pthread_mutex_lock(&registry_mutex);
    if (registry != NULL) {
        status = COMET_MISUSE;
    } else {
        memory_set(allocator);
    }
    pthread_mutex_unlock(&registry_mutex);
    return status;
}

/* ---- What shards ask ---- */

const char *log_directory(const log_core *log) {
    return log->directory;
}

bool log_is_readonly(const log_core *log) {
    return log->readonly;
}

window_pool *log_windows(log_core *log) {
    return &log->windows;
}

segment_idlers *log_idlers(log_core *log) {
    return &log->idlers;
}

/* ---- Settings ---- */

static comet_status load_settings(log_core *log, comet_settings *settings, comet_error *error) {
    char path[PATH_BYTES_MAX];
    char text[SETTINGS_BYTES_MAX];
    comet_error why;
    platform_info info;
    int result;
    int fd;

    if (snprintf(path, sizeof path, "%s/" SETTINGS_NAME, log->directory) >= (int)sizeof path) {
        return error_set(error, COMET_INVALID, 0, "the path %s is too long", log->directory);
    }
    fd = platform->open_file(path, PLATFORM_READ);
    if (fd == -ENOENT) {
        return COMET_OK;
    }
    result = fd < 0 ? fd : platform->file_info(fd, &info);
    if (result >= 0 && info.size_bytes > sizeof text) {
        result = -EFBIG;
    }
    if (result >= 0) {
        result = platform->read_at(fd, text, (size_t)info.size_bytes, 0);
    }
    if (fd >= 0) {
        (void)platform->close_file(fd);
    }
    if (result < 0) {
        return error_set(error, COMET_IO, -result, "cannot read %s", path);
    }
    if (settings_decode(text, (size_t)info.size_bytes, settings, &why) != COMET_OK) {
        return error_set(error, why.status, 0, "%s: %s", path, why.message);
    }
    log->settings_file = info;
    return COMET_OK;
}

static void put_in_force(log_core *log, comet_setting setting, int64_t value) {
    atomic_store_explicit(&log->face.values[setting], value, memory_order_relaxed);
}

log_core *log_of(const comet_log *log) {
    return log->core;
}

static bool is_same_file(const platform_info *left, const platform_info *right) {
    return left->inode == right->inode && left->size_bytes == right->size_bytes &&
           left->modified_ns == right->modified_ns;
}

void log_refresh_settings(log_core *log) {
    char path[PATH_BYTES_MAX];
    comet_settings found;
    platform_info info;

    if (snprintf(path, sizeof path, "%s/" SETTINGS_NAME, log->directory) >= (int)sizeof path ||
        platform->path_info(path, &info) != 0 || is_same_file(&info, &log->settings_file)) {
        return;
    }
    comet_settings_init(&found);
    pthread_mutex_lock(&log->mutex);
    if (load_settings(log, &found, NULL) == COMET_OK) {
        for (int i = 0; i < COMET_SETTING_COUNT; i++) {
            if (comet_setting_describe((comet_setting)i)->retention) {
                log->settings.value[i] = found.value[i];
                log->settings.given[i] = found.given[i];
                put_in_force(log, (comet_setting)i, found.value[i]);
            }
        }
    }
    pthread_mutex_unlock(&log->mutex);
}

static comet_status store_settings(const log_core *log, const comet_settings *settings,
                                   comet_error *error) {
    comet_status status;
    char *text;
    size_t size;

    FORWARD(settings_encode(settings, &text, &size, error));
    status = replace_file(log->directory, SETTINGS_NAME, text, size, true, error);
    memory_release(text);
    return status;
}

/* process_id as far as it is known: as given, else the slot.  Alone, a process is number 0. */
static int64_t process_id_in_force(const log_core *log) {
    bool is_known =
        log->settings.given[COMET_PROCESS_ID] ||
        (log->seat.slot == PROCESS_NO_SLOT && log->settings.value[COMET_PROCESS_COUNT] <= 1);

    return is_known ? log->settings.value[COMET_PROCESS_ID] : log->seat.slot;
}

static void apply_settings(log_core *log, const comet_settings *settings) {
    log->settings = *settings;
    for (int i = 0; i < COMET_SETTING_COUNT; i++) {
        if (i != COMET_PROCESS_ID) {
            put_in_force(log, (comet_setting)i, settings->value[i]);
        }
    }
    put_in_force(log, COMET_PROCESS_ID, process_id_in_force(log));
    window_pool_limit(&log->windows, (uint64_t)settings->value[COMET_MAX_MAPPED_BYTES]);
}

/* The slot that this process holds is its process_id. */
static comet_status check_slot(const log_core *log, const comet_settings *named,
                               comet_error *error) {
    if (named->given[COMET_PROCESS_ID] && log->seat.slot != PROCESS_NO_SLOT &&
        named->value[COMET_PROCESS_ID] != log->seat.slot) {
        return error_set(error, COMET_CONFLICT, 0,
                         "process_id=%" PRId64 " contradicts slot %" PRId64
                         " of this log, which this process holds; leave process_id out, or call "
                         "comet_process_release() first",
                         named->value[COMET_PROCESS_ID], log->seat.slot);
    }
    return COMET_OK;
}

/* Another handle's wish stands against a different one. */
static comet_status check_conflict(const log_core *log, const comet_settings *named,
                                   comet_error *error) {
    FORWARD(check_slot(log, named, error));
    for (const comet_log *other = log->handles; other != NULL; other = other->next) {
        for (int i = 0; i < COMET_SETTING_COUNT; i++) {
            if (named->given[i] && other->named.given[i] &&
                named->value[i] != other->named.value[i]) {
                char theirs[32];
                char ours[32];
                comet_setting_format((comet_setting)i, other->named.value[i], theirs,
                                     sizeof theirs);
                comet_setting_format((comet_setting)i, named->value[i], ours, sizeof ours);
                return error_set(error, COMET_CONFLICT, 0,
                                 "%s=%s contradicts %s, which another table of this log has asked "
                                 "for; leave it out, or change it with comet_config()",
                                 comet_setting_describe((comet_setting)i)->name, ours, theirs);
            }
        }
    }
    return COMET_OK;
}

/* Put `named` over what is in force, and store what is to be kept. */
static comet_status merge_settings(log_core *log, const comet_settings *named, comet_error *error) {
    comet_settings merged = log->settings;
    bool changed = false;

    for (int i = 0; i < COMET_SETTING_COUNT; i++) {
        if (named->given[i]) {
            changed |= comet_setting_describe((comet_setting)i)->stored &&
                       (!merged.given[i] || merged.value[i] != named->value[i]);
            merged.given[i] = true;
            merged.value[i] = named->value[i];
        }
    }
    settings_apply_preset(&merged);
    if (changed && log->readonly) {
        return error_set(error, COMET_READONLY, 0, "%s is open for reading only", log->directory);
    }
    if (changed) {
        FORWARD(store_settings(log, &merged, error));
    }
    apply_settings(log, &merged);
    return COMET_OK;
}

static comet_status check_fork(const comet_log *log, comet_error *error) {
    return log_is_forked(log->core) ? shard_refuse_process(error) : COMET_OK;
}

comet_status log_check_process(const comet_log *log, comet_error *error) {
    return check_fork(log, error);
}

comet_status comet_log_setting(comet_log *log, comet_setting setting, int64_t *value,
                               comet_error *error) {
    FORWARD(check_fork(log, error));
    if (comet_setting_describe(setting) == NULL) {
        return error_set(error, COMET_NOT_FOUND, 0, "there is no setting number %d", (int)setting);
    }
    *value = log_value(log->core, setting);
    return COMET_OK;
}

comet_status comet_log_configure(comet_log *log, const char *name, const char *text,
                                 comet_error *error) {
    comet_settings wanted;
    comet_status status;

    FORWARD(check_fork(log, error));
    comet_settings_init(&wanted);
    FORWARD(comet_settings_set(&wanted, name, text, error));
    pthread_mutex_lock(&log->core->mutex);
    status = check_slot(log->core, &wanted, error);
    status = status != COMET_OK ? status : merge_settings(log->core, &wanted, error);
    pthread_mutex_unlock(&log->core->mutex);
    return status;
}

/* ---- Processes ---- */

/* The slot that process_id names, where it was given; else the lowest free one. */
static comet_status take_slot(log_core *log, int64_t *slot, comet_error *error) {
    const comet_settings *settings = &log->settings;
    comet_status status;
    int64_t first = 0;
    int64_t count;

    if (log->readonly) {
        return error_set(error, COMET_READONLY, 0,
                         "%s is open for reading only, and who only reads has no process slot",
                         log->directory);
    }
    pthread_mutex_lock(&log->mutex);
    count = settings->value[COMET_PROCESS_COUNT] > 0 ? settings->value[COMET_PROCESS_COUNT]
                                                     : PROCESS_SLOT_COUNT;
    if (settings->given[COMET_PROCESS_ID]) {
        first = settings->value[COMET_PROCESS_ID];
        count = 1;
    }
    status = process_sit(&log->seat, log->directory, (uint32_t)first, (uint32_t)count, error);
    if (status == COMET_OK) {
        put_in_force(log, COMET_PROCESS_ID, process_id_in_force(log));
        *slot = log->seat.slot;
    }
    pthread_mutex_unlock(&log->mutex);
    return status;
}

comet_status log_process_id(log_core *log, int64_t *id, comet_error *error) {
    int64_t known = log_value(log, COMET_PROCESS_ID);

    if (known == PROCESS_NO_SLOT) {
        return take_slot(log, id, error);
    }
    *id = known;
    return COMET_OK;
}

bool log_owns(const log_core *log, uint32_t shard) {
    int64_t count = log_value(log, COMET_PROCESS_COUNT);

    return count <= 1 || shard % count == log_value(log, COMET_PROCESS_ID);
}

comet_status comet_process_id(comet_log *log, int64_t *slot, comet_error *error) {
    FORWARD(check_fork(log, error));
    return take_slot(log->core, slot, error);
}

comet_status comet_process_release(comet_log *log, bool *held, comet_error *error) {
    log_core *core = log->core;

    FORWARD(check_fork(log, error));
    pthread_mutex_lock(&core->mutex);
    *held = core->seat.slot != PROCESS_NO_SLOT;
    process_rise(&core->seat);
    put_in_force(core, COMET_PROCESS_ID, process_id_in_force(core));
    pthread_mutex_unlock(&core->mutex);
    return COMET_OK;
}

/* ---- Opening ---- */

/* Make a directory whose name survives a power cut. */
static int make_directory_durably(const char *directory) {
    char parent[PATH_BYTES_MAX] = ".";
    const char *slash = strrchr(directory, '/');
    size_t length = slash != NULL ? (size_t)(slash - directory) : 0;
    int result = platform->make_directory(directory);

    if (slash != NULL && length < sizeof parent) {
        memcpy(parent, directory, length > 0 ? length : 1);
        parent[length > 0 ? length : 1] = '\0';
    }
    return result == 0 ? platform->sync_directory(parent) : result;
}

static comet_status find_directory(const char *directory, unsigned flags, platform_info *info,
                                   comet_error *error) {
    int result = platform->path_info(directory, info);

    if (result == -ENOENT && (flags & COMET_OPEN_CREATE) != 0 &&
        (flags & COMET_OPEN_READONLY) == 0) {
        result = make_directory_durably(directory);
        if (result != 0 && result != -EEXIST) {
            return error_set(error, result == -ENOSPC ? COMET_FULL : COMET_IO, -result,
                             "cannot make the log's directory %s", directory);
        }
        result = platform->path_info(directory, info);
    }
    if (result == -ENOENT) {
        return error_set(error, COMET_NOT_FOUND, 0,
                         "there is no log at %s; the first INSERT makes it", directory);
    }
    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot open the log %s", directory);
    }
    if (!info->is_directory) {
        return error_set(error, COMET_INVALID, 0,
                         "%s is a file; a log is a directory: name another path", directory);
    }
    return COMET_OK;
}

static void core_free(log_core *log) {
    segment_idlers_close(&log->idlers);
    window_pool_close(&log->windows);
    upkeep_clear(&log->upkeep);
    pthread_cond_destroy(&log->opened);
    pthread_mutex_destroy(&log->mutex);
    memory_release(log);
}

static comet_status core_new(const char *directory, const platform_info *info, bool readonly,
                             log_core **log, comet_error *error) {
    log_core *made = memory_allocate_zeroed(sizeof *made);
    comet_status status;
    int result;

    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    process_seat_init(&made->seat);
    made->device = info->device;
    made->inode = info->inode;
    made->readonly = readonly;
    made->face.fork_epoch = atomic_load(&log_fork_epoch);
    pthread_mutex_init(&made->mutex, NULL);
    pthread_cond_init(&made->opened, NULL);
    upkeep_init(&made->upkeep, made);
    window_pool_open(&made->windows, 0);
    segment_idlers_open(&made->idlers);
    comet_settings_init(&made->settings);
    result = platform->absolute_path(directory, made->directory, sizeof made->directory);
    status = result == 0 ? load_settings(made, &made->settings, error)
                         : error_set(error, COMET_IO, -result, "cannot resolve %s", directory);
    if (status != COMET_OK) {
        core_free(made);
        return status;
    }
    settings_apply_preset(&made->settings);
    apply_settings(made, &made->settings);
    *log = made;
    return COMET_OK;
}

/* Under registry_mutex. */
static comet_status core_get(const char *directory, unsigned flags, log_core **log,
                             comet_error *error) {
    bool readonly;
    platform_info info;

    FORWARD(find_directory(directory, flags, &info, error));
    readonly = (flags & COMET_OPEN_READONLY) != 0 || !platform->may_write(directory);
    for (log_core *found = registry; found != NULL; found = found->next) {
        if (found->device == info.device && found->inode == info.inode &&
            found->readonly == readonly && !found->closes) {
            *log = found;
            return COMET_OK;
        }
    }
    FORWARD(core_new(directory, &info, readonly, log, error));
    (*log)->next = registry;
    registry = *log;
    return COMET_OK;
}

/* Under registry_mutex: nobody counts on it any more. */
static void core_unregister(log_core *log) {
    log_core **link = &registry;

    while (*link != log) {
        link = &(*link)->next;
    }
    *link = log->next;
}

comet_status comet_log_open(const char *directory, unsigned flags, const comet_settings *settings,
                            comet_log **log, comet_error *error) {
    comet_log *made = memory_allocate_zeroed(sizeof *made);
    comet_status status;
    log_core *core = NULL;

    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    (void)pthread_once(&fork_once, watch_forks);
    pthread_mutex_lock(&registry_mutex);
    status = core_get(directory, flags, &core, error);
    if (status == COMET_OK) {
        pthread_mutex_lock(&core->mutex);
        if (settings != NULL) {
            made->named = *settings;
            status = check_conflict(core, settings, error);
            status = status != COMET_OK ? status : merge_settings(core, settings, error);
        }
        if (status == COMET_OK) {
            made->core = core;
            made->next = core->handles;
            core->handles = made;
        }
        pthread_mutex_unlock(&core->mutex);
        if (core->handles == NULL) {
            core_unregister(core);
            core_free(core);
        }
    }
    pthread_mutex_unlock(&registry_mutex);
    if (status != COMET_OK) {
        memory_release(made);
        return status;
    }
    *log = made;
    return COMET_OK;
}

/* ---- Shards ---- */

static comet_shard *find_shard(const log_core *log, uint32_t id) {
    comet_shard *shard = log->shards;

    while (shard != NULL && shard->id != id) {
        shard = shard->next;
    }
    return shard;
}

static bool is_opening(const log_core *log, uint32_t id) {
    const shard_opening *opening = log->openings;

    while (opening != NULL && opening->id != id) {
        opening = opening->next;
    }
    return opening != NULL;
}

/* Under log->mutex, which is given up meanwhile: opening may have to make or to repair the shard, and
** what has to do with other shards does not wait for that. */
static comet_status open_anew(log_core *log, uint32_t id, bool create, comet_shard **shard,
                              comet_error *error) {
    shard_opening self = {log->openings, id};
    shard_opening **link = &log->openings;
    comet_status status;

    log->openings = &self;
    pthread_mutex_unlock(&log->mutex);
    status = shard_new(log, id, create, shard, error);
    pthread_mutex_lock(&log->mutex);
    while (*link != &self) {
        link = &(*link)->next;
    }
    *link = self.next;
    pthread_cond_broadcast(&log->opened);
    if (status == COMET_OK) {
        (*shard)->next = log->shards;
        log->shards = *shard;
    }
    return status;
}

comet_status comet_shard_open(comet_log *log, uint32_t id, bool create, comet_shard **shard,
                              comet_error *error) {
    FORWARD(check_fork(log, error));
    return log_shard_open(log->core, id, create, shard, error);
}

comet_status log_shard_open(log_core *core, uint32_t id, bool create, comet_shard **shard,
                            comet_error *error) {
    comet_status status = COMET_OK;
    comet_shard *found;

    pthread_mutex_lock(&core->mutex);
    while (is_opening(core, id)) {
        pthread_cond_wait(&core->opened, &core->mutex);
    }
    found = find_shard(core, id);
    if (found == NULL) {
        status = open_anew(core, id, create, &found, error);
    }
    if (status == COMET_OK) {
        found->handles++;
        found->opened_count++;
        *shard = found;
    }
    pthread_mutex_unlock(&core->mutex);
    return status;
}

/* Under core->mutex, by the last who has the shard open.  It stays open, and in the list, while it is
** settled without the mutex: who opens it meanwhile gets it as it is, and then it is settled once
** more if that one has closed it too. */
static void settle_last(log_core *core, comet_shard *shard) {
    unsigned seen;

    do {
        seen = shard->opened_count;
        pthread_mutex_unlock(&core->mutex);
        shard_settle(shard);
        pthread_mutex_lock(&core->mutex);
    } while (shard->handles == 1 && shard->opened_count != seen);
}

void comet_shard_close(comet_shard *shard) {
    log_core *core;
    comet_shard **link;

    if (shard == NULL || log_is_forked(shard->log)) {
        return;
    }
    core = shard->log;
    pthread_mutex_lock(&core->mutex);
    if (shard->handles == 1) {
        settle_last(core, shard);
    }
    if (--shard->handles == 0) {
        for (link = &core->shards; *link != shard;) {
            link = &(*link)->next;
        }
        *link = shard->next;
        shard_free(shard);
    }
    pthread_mutex_unlock(&core->mutex);
}

comet_status comet_log_shards(comet_log *log, uint32_t **ids, size_t *count, comet_error *error) {
    FORWARD(check_fork(log, error));
    return log_shards(log->core, ids, count, error);
}

comet_status comet_log_sync(comet_log *log, comet_error *error) {
    comet_status status = COMET_OK;
    uint32_t *ids;
    size_t count;

    FORWARD(comet_log_shards(log, &ids, &count, error));
    for (size_t i = 0; i < count && status == COMET_OK; i++) {
        comet_shard *shard;
        status = comet_shard_open(log, ids[i], false, &shard, error);
        if (status == COMET_OK) {
            status = comet_shard_sync(shard, error);
            comet_shard_close(shard);
        }
    }
    memory_release(ids);
    return status;
}

const char *comet_log_directory(const comet_log *log) {
    return log->core->directory;
}

comet_shard *log_borrow_shard(log_core *log, uint64_t id) {
    comet_shard *best = NULL;

    pthread_mutex_lock(&log->mutex);
    for (comet_shard *shard = log->shards; shard != NULL; shard = shard->next) {
        if (shard->id >= id && (best == NULL || shard->id < best->id)) {
            best = shard;
        }
    }
    if (best != NULL) {
        best->handles++;
    }
    pthread_mutex_unlock(&log->mutex);
    return best;
}

/* ---- Upkeep ---- */

void log_wake_upkeep(log_core *log, uint64_t pending) {
    upkeep_wake(&log->upkeep, pending);
}

/* ---- Closing ---- */

/* The core stays known, to fork() too, until its thread has ended; who opens the log meanwhile gets
** another one, with a slot of its own. */
void comet_log_close(comet_log *log) {
    log_core *core;
    comet_log **link;

    if (log == NULL || log_is_forked(log->core)) {
        return;
    }
    core = log->core;
    pthread_mutex_lock(&registry_mutex);
    pthread_mutex_lock(&core->mutex);
    for (link = &core->handles; *link != log;) {
        link = &(*link)->next;
    }
    *link = log->next;
    if (core->handles == NULL) {
        core->closes = true;
        process_rise(&core->seat);
    }
    pthread_mutex_unlock(&core->mutex);
    memory_release(log);
    if (!core->closes) {
        pthread_mutex_unlock(&registry_mutex);
        return;
    }
    pthread_mutex_unlock(&registry_mutex);
    upkeep_stop(&core->upkeep);
    pthread_mutex_lock(&registry_mutex);
    core_unregister(core);
    pthread_mutex_unlock(&registry_mutex);
    core_free(core);
}
