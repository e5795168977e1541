/* consumer.c -- groups: where they stand, and acknowledging.
**
** Decides: what a stored offset means while the shard goes on at both ends.
**
**             retention            committed end
**     ..........|==================|              position, as stored    as told
**       gone      entries                         none                   first
**                                                 before first           first; the rest is skipped
**                                                 past end               end
**
** What the Go package kept elsewhere in older versions is legacy.c's, and comes in with the first use.
** The kernel may bring an acknowledgement onto the disk before the entries it is about.  So after a
** power cut recovery puts positions that lie past the end back to the end (consumer_recover): they
** would hide the entries that get those offsets next.
*/
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "memory.h"
#include "platform.h"
#include "shard.h"
#include "status.h"

#define TABLE_NAME "offsets.state"
#define NEVER UINT64_MAX

/* Beside the bytes that lock.c and checkpoint.c lock. */
#define GROUPS_LOCK_BYTE ((uint64_t)1 << 42)

struct comet_group {
    comet_shard *shard;
    offset_table *table; /* that `slot` belongs to; NULL: none yet */
    int slot;            /* -1: not known */
    group_name name;
    char text[COMET_GROUP_BYTES_MAX + 1];
    uint64_t generation; /* of the list that `first` was taken from */
    uint64_t first;
    int64_t tick; /* when `now` was read */
    int64_t now;
};

/* ---- The table ---- */

/* Groups_mutex keeps this process's threads apart, which a lock of one fd does not. */
static comet_status groups_lock(comet_shard *shard, comet_error *error) {
    int result;

    if (!atomic_load_explicit(&shard->lock_is_open, memory_order_acquire)) {
        FORWARD(shard_lock_open(shard, error));
    }
    pthread_mutex_lock(&shard->groups_mutex);
    result = platform->wait_byte(shard->lock.file.fd, GROUPS_LOCK_BYTE);
    if (result != 0) {
        pthread_mutex_unlock(&shard->groups_mutex);
        return error_set(error, COMET_IO, -result, "cannot lock the groups of %s",
                         shard->home.directory);
    }
    return COMET_OK;
}

static void groups_unlock(comet_shard *shard) {
    (void)platform->unlock_byte(shard->lock.file.fd, GROUPS_LOCK_BYTE);
    pthread_mutex_unlock(&shard->groups_mutex);
}

/* Keep a file that nobody can read beside the new one: it may be worth somebody's while. */
static comet_status set_aside(comet_shard *shard, const char *path, comet_error *error) {
    char aside[PATH_BYTES_MAX];
    int length = snprintf(aside, sizeof aside, "%s.corrupted.%" PRId64, path, platform->now());
    int result = length < 0 || (size_t)length >= sizeof aside ? -ENAMETOOLONG
                                                              : platform->rename_file(path, aside);

    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot set %s aside", path);
    }
    state_count_corruption(&shard->state);
    return COMET_OK;
}

static void publish_table(comet_shard *shard, offset_table *made) {
    made->older = atomic_load(&shard->groups);
    atomic_store(&shard->groups, made);
}

/* Open the table for writing; make it where it is missing, renew it where it is damaged. */
static comet_status open_to_write(comet_shard *shard, comet_error *error) {
    offset_table *made = NULL;
    offset_table *present;
    char path[PATH_BYTES_MAX];
    comet_status status;

    FORWARD(shard_path(shard, TABLE_NAME, path, error));
    FORWARD(groups_lock(shard, error));
    present = atomic_load(&shard->groups);
    if (present != NULL && present->writable && offsets_is_sound(present)) {
        groups_unlock(shard);
        return COMET_OK;
    }
    status = offsets_open(path, true, true, &made, error);
    if (status == COMET_CORRUPT) {
        status = set_aside(shard, path, error);
        if (status == COMET_OK) {
            status = offsets_open(path, true, true, &made, error);
        }
    }
    if (status == COMET_OK && legacy_is_there(shard)) {
        status = legacy_import(shard, made, error);
    }
    if (status == COMET_OK) {
        publish_table(shard, made);
    } else {
        offsets_close(made);
    }
    groups_unlock(shard);
    return status;
}

/* The table to look at.  COMET_NOT_FOUND: there is none, so there are no groups. */
static comet_status table_to_read(comet_shard *shard, offset_table **table, comet_error *error) {
    offset_table *present = atomic_load_explicit(&shard->groups, memory_order_acquire);
    char path[PATH_BYTES_MAX];
    comet_status status = COMET_OK;

    if (present != NULL && offsets_is_sound(present)) {
        *table = present;
        return COMET_OK;
    }
    /* It was damaged under our hands, or there are positions to take over first. */
    if (shard->home.writable && (present != NULL || legacy_is_there(shard))) {
        FORWARD(open_to_write(shard, error));
        *table = atomic_load(&shard->groups);
        return COMET_OK;
    }
    FORWARD(shard_path(shard, TABLE_NAME, path, error));
    pthread_mutex_lock(&shard->groups_mutex);
    present = atomic_load(&shard->groups);
    if (present == NULL || !offsets_is_sound(present)) {
        status = offsets_open(path, false, shard->home.writable, &present, error);
        if (status == COMET_OK) {
            publish_table(shard, present);
        }
    }
    pthread_mutex_unlock(&shard->groups_mutex);
    if (status == COMET_CORRUPT && shard->home.writable) {
        status = open_to_write(shard, error);
        present = atomic_load(&shard->groups);
    }
    FORWARD(status);
    *table = present;
    return COMET_OK;
}

comet_status consumer_sync(comet_shard *shard, comet_error *error) {
    offset_table *table = atomic_load(&shard->groups);
    int result;

    if (table == NULL || !atomic_exchange(&shard->acks_pending, false)) {
        return COMET_OK;
    }
    if (table->writable && state_load(&shard->state, STATE_SYNCS_FAILED) != 0) {
        platform_touch(table->bytes, OFFSETS_BYTES);
    }
    result = platform->sync_file(table->fd);
    /* The file may be new, whoever made it: without its name on the disk it would be gone. */
    if (result == 0 && !table->is_named) {
        result = platform->sync_directory(shard->home.directory);
        table->is_named = result == 0;
    }
    if (result != 0) {
        atomic_store(&shard->acks_pending, true);
        state_add(&shard->state, STATE_SYNCS_FAILED, 1);
        return error_set(error, COMET_IO, -result, "cannot make the groups of %s durable",
                         shard->home.directory);
    }
    return COMET_OK;
}

void consumer_recover(comet_shard *shard) {
    uint64_t end = state_end(&shard->state);
    offset_table *table;
    uint64_t count = 0;
    uint64_t position;

    if (table_to_read(shard, &table, NULL) != COMET_OK) {
        return; /* no groups; or an error that the first use will tell */
    }
    for (int slot = 0; slot < (int)OFFSETS_SLOT_COUNT; slot++) {
        uint64_t stored = (uint64_t)offsets_load(table, slot, SLOT_OFFSET);

        if ((int64_t)stored > (int64_t)end) {
            (void)atomic_compare_exchange_strong(offsets_field(table, slot, SLOT_OFFSET), &stored,
                                                 end);
        }
        count += offsets_position(table, slot, &position) ? 1 : 0;
    }
    state_store(&shard->state, STATE_GROUP_COUNT, count);
}

/* ---- Handles ---- */

comet_status comet_group_open(comet_shard *shard, const char *name, size_t size,
                              comet_group **group, comet_error *error) {
    comet_group *made;
    group_name checked;

    FORWARD(shard_check_process(shard, error));
    FORWARD(offsets_name(name, size, &checked, error));
    made = memory_allocate_zeroed(sizeof *made);
    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    made->shard = shard;
    made->slot = -1;
    made->name = checked;
    made->generation = NEVER;
    memcpy(made->text, name, size);
    *group = made;
    return COMET_OK;
}

void comet_group_close(comet_group *group) {
    memory_release(group);
}

/* The shard's oldest offset, asked anew when the list of segments has changed. */
static comet_status refresh_first(comet_group *group, comet_error *error) {
    comet_shard *shard = group->shard;
    uint64_t generation = state_load(&shard->state, STATE_GENERATION);
    segment_list *list;
    uint64_t end;

    if (generation == group->generation) {
        return COMET_OK;
    }
    FORWARD(shard_snapshot(shard, &list, &end, error));
    group->first = list->count > 0 ? list->items[0].facts.first_offset : end;
    group->generation = generation;
    segment_list_release(list);
    return COMET_OK;
}

/* Find the slot; COMET_NOT_FOUND where the group has none. */
static comet_status find_slot(comet_group *group, comet_error *error) {
    offset_table *table;

    FORWARD(table_to_read(group->shard, &table, error));
    if (table != group->table || group->slot < 0 || !offsets_is(table, group->slot, &group->name)) {
        group->table = table;
        group->slot = offsets_find(table, &group->name);
    }
    return group->slot >= 0 ? COMET_OK : COMET_NOT_FOUND;
}

/* Whether the slot that was found last is worth a try. */
static bool knows_slot(const comet_group *group) {
    return group->slot >= 0 && offsets_is_sound(group->table) &&
           group->table == atomic_load_explicit(&group->shard->groups, memory_order_relaxed);
}

static comet_status check_writable(const comet_group *group, comet_error *error) {
    FORWARD(shard_check_process(group->shard, error));
    if (!group->shard->home.writable) {
        return error_set(error, COMET_READONLY, 0,
                         "%s is open for reading only: acknowledge where it may be written",
                         group->shard->home.directory);
    }
    return COMET_OK;
}

static comet_status claim_slot(comet_group *group, comet_error *error) {
    comet_shard *shard = group->shard;
    comet_status status;

    FORWARD(open_to_write(shard, error));
    FORWARD(groups_lock(shard, error));
    group->table = atomic_load(&shard->groups);
    status = offsets_claim(group->table, &group->name, &group->slot, error);
    groups_unlock(shard);
    return status;
}

comet_status comet_group_reserve(comet_group *group, comet_error *error) {
    comet_status status;

    FORWARD(check_writable(group, error));
    status = find_slot(group, error);
    return status == COMET_NOT_FOUND ? claim_slot(group, error) : status;
}

/* ---- Looking ---- */

static void tell_slot(comet_shard *shard, const offset_table *table, int slot,
                      comet_group_info *info) {
    uint64_t stored = 0;

    info->exists = offsets_position(table, slot, &stored);
    info->position = info->first_offset;
    if (info->exists) {
        info->skipped = (uint64_t)offsets_load(table, slot, SLOT_SKIPPED);
        info->acknowledged = (uint64_t)offsets_load(table, slot, SLOT_ACKNOWLEDGED);
        info->last_ack_ns = offsets_load(table, slot, SLOT_UPDATED);
        if (stored < info->first_offset) {
            info->skipped += info->first_offset - stored;
        } else {
            info->position = stored < info->end_offset ? stored : info->end_offset;
        }
    }
    info->lag = info->end_offset - info->position;
    if (info->exists) {
        state_raise(&shard->state, STATE_MAX_LAG, info->lag);
    }
}

comet_status comet_group_describe(comet_group *group, comet_group_info *info, comet_error *error) {
    comet_group_info made;
    comet_status status;

    FORWARD(shard_check_process(group->shard, error));
    FORWARD(refresh_first(group, error));
    memset(&made, 0, sizeof made);
    memcpy(made.name, group->text, sizeof made.name);
    made.end_offset = state_end(&group->shard->state);
    made.first_offset = group->first < made.end_offset ? group->first : made.end_offset;
    made.position = made.first_offset;
    made.lag = made.end_offset - made.position;
    status = find_slot(group, error);
    if (status == COMET_OK) {
        tell_slot(group->shard, group->table, group->slot, &made);
    } else if (status != COMET_NOT_FOUND) {
        return status;
    }
    *info = made;
    return COMET_OK;
}

comet_status comet_group_find(comet_group *group, int64_t time, uint64_t *offset,
                              comet_error *error) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status;

    FORWARD(comet_cursor_open(group->shard, &cursor, error));
    comet_range_init(&range);
    range.time_first = time;
    status = comet_cursor_seek(cursor, NULL, &range, error);
    if (status == COMET_OK) {
        *offset = comet_cursor_offset(cursor);
    } else if (status == COMET_DONE) {
        *offset = state_end(&group->shard->state);
        status = COMET_OK;
    }
    comet_cursor_close(cursor);
    return status;
}

comet_status comet_shard_groups(comet_shard *shard, comet_group_info **groups, size_t *count,
                                comet_error *error) {
    comet_group whole = {.shard = shard, .slot = -1, .generation = NEVER};
    comet_group_info *made;
    offset_table *table = NULL;
    comet_status status;
    uint64_t end;

    FORWARD(shard_check_process(shard, error));
    FORWARD(refresh_first(&whole, error));
    end = state_end(&shard->state);
    status = table_to_read(shard, &table, error);
    if (status != COMET_OK && status != COMET_NOT_FOUND) {
        return status;
    }
    made = memory_allocate_zeroed(OFFSETS_SLOT_COUNT * sizeof *made);
    if (made == NULL) {
        return memory_failed(error, OFFSETS_SLOT_COUNT * sizeof *made);
    }
    *count = 0;
    for (int slot = 0; table != NULL && slot < (int)OFFSETS_SLOT_COUNT; slot++) {
        comet_group_info *info = &made[*count];

        if (offsets_name_at(table, slot, info->name)) {
            info->end_offset = end;
            info->first_offset = whole.first < end ? whole.first : end;
            tell_slot(shard, table, slot, info);
            *count += info->exists ? 1 : 0;
        }
    }
    *groups = made;
    return COMET_OK;
}

/* ---- Changing ---- */

/* The wall clock, read once a tick: reading it would be half of what an acknowledgement costs. */
static int64_t moment(comet_group *group) {
    int64_t tick = platform->tick();

    if (tick != group->tick) {
        group->tick = tick;
        group->now = platform->now();
    }
    return group->now;
}

static void count_up(comet_group *group, slot_field field, uint64_t by) {
    atomic_fetch_add_explicit(offsets_field(group->table, group->slot, field), by,
                              memory_order_relaxed);
}

/* The offset has gone from `before` (-1: none) to `target`: everything that follows from it. */
static comet_status moved_to(comet_group *group, int64_t before, uint64_t target, bool is_ack,
                             comet_error *error) {
    comet_shard *shard = group->shard;
    uint64_t from = before < 0 ? group->first : (uint64_t)before;

    if (before < 0) {
        state_add(&shard->state, STATE_GROUP_COUNT, 1);
    }
    if (from < group->first) {
        count_up(group, SLOT_SKIPPED, group->first - from);
        from = group->first;
    }
    if (is_ack && target > from) {
        count_up(group, SLOT_ACKNOWLEDGED, target - from);
        state_add(&shard->state, STATE_ACKED_ENTRIES, target - from);
    }
    offsets_stamp(group->table, group->slot, moment(group));
    if (!atomic_load_explicit(&shard->acks_pending, memory_order_relaxed)) {
        atomic_store(&shard->acks_pending, true);
        log_wake_upkeep(shard->log, 0);
    }
    return log_value(shard->log, COMET_SYNC) == COMET_SYNC_FULL
               ? checkpoint_shard(shard, true, error)
               : COMET_OK;
}

/* `end` is a committed end at or past target. */
static comet_status advance(comet_group *group, uint64_t target, uint64_t end, uint64_t *position,
                            comet_error *error) {
    int64_t before;
    bool moved;

    FORWARD(refresh_first(group, error));
    /* A slot that is no longer ours is found out by advancing. */
    if (!knows_slot(group) ||
        !offsets_advance(group->table, group->slot, &group->name, target, end, &before, &moved)) {
        do {
            FORWARD(comet_group_reserve(group, error));
        } while (!offsets_advance(group->table, group->slot, &group->name, target, end, &before,
                                  &moved));
    }
    if (position != NULL) {
        uint64_t stands = moved ? target : (uint64_t)before;
        *position = stands > group->first ? stands : group->first;
    }
    return moved ? moved_to(group, before, target, true, error) : COMET_OK;
}

static comet_status check_written(const comet_group *group, uint64_t offset, uint64_t *end,
                                  comet_error *error) {
    *end = state_end(&group->shard->state);
    if (offset >= *end) {
        return error_set(error, COMET_INVALID, 0,
                         "offset %" PRIu64 " of shard %u is not written yet: its next offset is "
                         "%" PRIu64 ", and only what is committed can be acknowledged",
                         offset, group->shard->id, *end);
    }
    return COMET_OK;
}

comet_status comet_group_ack(comet_group *group, uint64_t offset, uint64_t *position,
                             comet_error *error) {
    uint64_t end;

    FORWARD(check_writable(group, error));
    FORWARD(check_written(group, offset, &end, error));
    return advance(group, offset + 1, end, position, error);
}

comet_status comet_group_ack_range(comet_group *group, uint64_t first, uint64_t last,
                                   uint64_t *position, comet_error *error) {
    comet_group_info info;
    uint64_t end;

    FORWARD(check_writable(group, error));
    if (last < first) {
        return error_set(error, COMET_INVALID, 0,
                         "the range %" PRIu64 " to %" PRIu64 " ends before it begins", first, last);
    }
    FORWARD(check_written(group, last, &end, error));
    FORWARD(comet_group_describe(group, &info, error));
    if (first > info.position) {
        return error_set(error, COMET_INVALID, 0,
                         "offsets %" PRIu64 " to %" PRIu64 " of shard %u are not acknowledged yet: "
                         "a range begins at %" PRIu64 " or before",
                         info.position, first - 1, group->shard->id, info.position);
    }
    return advance(group, last + 1, end, position, error);
}

comet_status comet_group_seek(comet_group *group, uint64_t to, uint64_t *position,
                              comet_error *error) {
    uint64_t end;
    int64_t before;

    FORWARD(check_writable(group, error));
    FORWARD(refresh_first(group, error));
    end = state_end(&group->shard->state);
    if (to > end) {
        return error_set(error, COMET_INVALID, 0,
                         "offset %" PRIu64 " is past the end of shard %u: a position is at most "
                         "%" PRIu64 ", its next offset",
                         to, group->shard->id, end);
    }
    to = to > group->first ? to : group->first;
    do {
        FORWARD(comet_group_reserve(group, error));
    } while (!offsets_put(group->table, group->slot, &group->name, to, &before));
    if (position != NULL) {
        *position = to;
    }
    return moved_to(group, before, to, false, error);
}

comet_status comet_group_forget(comet_group *group, comet_error *error) {
    comet_shard *shard = group->shard;
    offset_table *table;
    comet_status status;
    int slot;

    FORWARD(check_writable(group, error));
    status = find_slot(group, error);
    if (status != COMET_OK) {
        return status == COMET_NOT_FOUND ? COMET_OK : status;
    }
    FORWARD(groups_lock(shard, error));
    table = atomic_load(&shard->groups);
    slot = offsets_find(table, &group->name);
    if (slot >= 0) {
        uint64_t position;
        if (offsets_position(table, slot, &position)) {
            state_add(&shard->state, STATE_GROUP_COUNT, UINT64_MAX);
        }
        offsets_remove(table, slot);
        atomic_store(&shard->acks_pending, true);
    }
    groups_unlock(shard);
    group->slot = -1;
    log_wake_upkeep(shard->log, 0);
    return COMET_OK;
}
