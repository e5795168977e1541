/* reclaim.c -- see reclaim.h. */
#include "reclaim.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "memory.h"
#include "platform.h"
#include "retention.h"
#include "status.h"

#define ITEMS_FIRST 16

/* A rotation adds one segment, and deletes so many at most: whoever writes shall not wait for all that a
** lowered limit sets free.  The next ones, and upkeep, do the rest. */
#define ROTATION_DELETIONS_MAX 8u

/* A plan is made without the lock, and made anew so often if a writer was faster. */
#define TRIES 10u

/* Somebody writes all the time, but seldom for long: ask for the lock for so many nanoseconds. */
#define LOCK_PATIENCE_NS INT64_C(200000000)

/* ---- How full ---- */

typedef struct usage {
    const comet_shard *shard;
    const segment_list *list; /* NULL: only the sum is wanted */
    retention_segment *segments;
    const char *directory;
    uint64_t bytes; /* of everything in the directory */
} usage;

static uint64_t sequence_of(const char *name) {
    char data_name[MANIFEST_NAME_BYTES];
    const char *suffix = strrchr(name, '.');
    uint64_t sequence;

    if (suffix != NULL && strcmp(suffix, ".idx") == 0 &&
        (size_t)(suffix - name) + sizeof ".comet" <= sizeof data_name) {
        memcpy(data_name, name, (size_t)(suffix - name));
        memcpy(data_name + (suffix - name), ".comet", sizeof ".comet");
        name = data_name;
    }
    return manifest_parse_name(name, &sequence) ? sequence : 0;
}

static int usage_visit(void *context, const char *name, bool may_be_directory) {
    usage *used = context;
    char path[PATH_BYTES_MAX];
    platform_info info;
    uint64_t sequence = sequence_of(name);

    (void)may_be_directory;
    if (snprintf(path, sizeof path, "%s/%s", used->directory, name) >= (int)sizeof path ||
        platform->path_info(path, &info) != 0) {
        return 0; /* gone meanwhile */
    }
    used->bytes += info.allocated_bytes;
    for (size_t i = 0; used->list != NULL && sequence != 0 && i < used->list->count; i++) {
        if (used->list->items[i].facts.sequence == sequence) {
            used->segments[i].bytes += info.allocated_bytes;
        }
    }
    return 0;
}

/* Sizes as the disk has them: what is allocated, of all files, whoever they belong to. */
static comet_status measure(usage *used, comet_error *error) {
    int result = platform->list_directory(used->directory, usage_visit, used);

    return result == 0 ? COMET_OK
                       : error_set(error, COMET_IO, -result, "cannot list %s", used->directory);
}

static comet_status measure_log(log_core *log, uint64_t *bytes, comet_error *error) {
    usage own = {.directory = log_directory(log)};
    comet_status status;
    uint32_t *ids;
    size_t count;

    FORWARD(measure(&own, error));
    *bytes = own.bytes;
    FORWARD(log_shards(log, &ids, &count, error));
    status = COMET_OK;
    for (size_t i = 0; i < count && status == COMET_OK; i++) {
        char path[PATH_BYTES_MAX];
        usage one = {.directory = path};
        (void)snprintf(path, sizeof path, "%s/shard-%04" PRIu32, log_directory(log), ids[i]);
        status = measure(&one, error);
        *bytes += one.bytes;
    }
    memory_release(ids);
    return status;
}

/* ---- One shard ---- */

/* All that a decision needs, and what it comes to. */
typedef struct plan {
    retention_segment *segments;
    retention_reason *reasons;
    comet_group_info *infos;
    retention_group *groups;
    retention_case what;
    retention_decision decision;
} plan;

static void plan_clear(plan *made) {
    memory_release(made->segments);
    memory_release(made->reasons);
    memory_release(made->groups);
    memory_release(made->infos);
}

static retention_rules rules_in_force(const log_core *log) {
    retention_rules rules = {
        .max_age = log_value(log, COMET_MAX_AGE),
        .max_shard_size = (uint64_t)log_value(log, COMET_MAX_SHARD_SIZE),
        .protect_unconsumed = log_value(log, COMET_PROTECT_UNCONSUMED) != 0,
        .force_delete_after = log_value(log, COMET_FORCE_DELETE_AFTER),
        .reject_when_full = log_value(log, COMET_WHEN_FULL) == COMET_WHEN_FULL_REJECT,
        .file_grace_period = log_value(log, COMET_FILE_GRACE_PERIOD),
        .min_files_to_keep = (uint64_t)log_value(log, COMET_MIN_FILES_TO_KEEP),
    };

    return rules;
}

static comet_status plan_groups(comet_shard *shard, plan *made, comet_error *error) {
    size_t count;

    FORWARD(comet_shard_groups(shard, &made->infos, &count, error));
    made->groups = memory_allocate_zeroed((count + 1) * sizeof *made->groups);
    if (made->groups == NULL) {
        return memory_failed(error, (count + 1) * sizeof *made->groups);
    }
    for (size_t i = 0; i < count; i++) {
        if (made->infos[i].exists) {
            made->groups[made->what.group_count].name = made->infos[i].name;
            made->groups[made->what.group_count++].position = made->infos[i].position;
        }
    }
    return COMET_OK;
}

/* What is looked at: a list, where its entries end, and how many of the newest segments must stay. */
typedef struct reclaim_view {
    comet_shard *shard;
    const segment_list *list;
    uint64_t end;
    size_t pinned_count;
} reclaim_view;

/* All that the transaction has touched stays. */
static reclaim_view view_of_txn(const comet_txn *txn) {
    size_t keep_from = txn->begin.segment_count > 0 ? txn->begin.segment_count - 1 : 0;
    reclaim_view view = {txn->shard, txn->list, comet_txn_end(txn), txn->list->count - keep_from};

    return view;
}

/* The segment with the newest committed entry stays, and what a transaction under way has begun. */
static reclaim_view view_of_snapshot(comet_shard *shard, const segment_list *list, uint64_t end) {
    reclaim_view view = {shard, list, end, 1};

    while (view.pinned_count < list->count &&
           list->items[list->count - view.pinned_count].facts.first_offset >= end) {
        view.pinned_count++;
    }
    view.pinned_count = view.pinned_count < list->count ? view.pinned_count : list->count;
    return view;
}

static comet_status plan_segments(const reclaim_view *view, plan *made, comet_error *error) {
    const segment_list *list = view->list;
    usage used = {.list = list, .directory = view->shard->home.directory};

    made->segments = memory_allocate_zeroed((list->count + 1) * sizeof *made->segments);
    made->reasons = memory_allocate_zeroed((list->count + 1) * sizeof *made->reasons);
    if (made->segments == NULL || made->reasons == NULL) {
        return memory_failed(error, (list->count + 1) * sizeof *made->segments);
    }
    used.segments = made->segments;
    FORWARD(measure(&used, error));
    for (size_t i = 0; i < list->count; i++) {
        bool last = i + 1 == list->count;
        made->segments[i].first_offset = list->items[i].facts.first_offset;
        made->segments[i].end_offset = last || list->items[i + 1].facts.first_offset > view->end
                                           ? view->end
                                           : list->items[i + 1].facts.first_offset;
        made->segments[i].written_ns = list->items[i].facts.written_ns;
    }
    made->what.segments = made->segments;
    made->what.segment_count = list->count;
    made->what.pinned_count = view->pinned_count;
    made->what.shard_bytes = used.bytes;
    return COMET_OK;
}

static comet_status plan_make(const reclaim_view *view, uint64_t excess, plan *made,
                              comet_error *error) {
    retention_rules rules;

    memset(made, 0, sizeof *made);
    log_refresh_settings(view->shard->log);
    rules = rules_in_force(view->shard->log);
    FORWARD(plan_segments(view, made, error));
    FORWARD(plan_groups(view->shard, made, error));
    made->what.groups = made->groups;
    made->what.excess = excess;
    made->what.now = platform->now();
    retention_decide(&rules, &made->what, &made->decision, made->reasons);
    return COMET_OK;
}

static comet_status items_add(reclaim_items *items, const comet_shard *shard, const plan *made,
                              const segment_list *list, comet_error *error) {
    for (size_t i = 0; i < list->count; i++) {
        comet_retention_item *item;
        if (items->count == items->capacity) {
            size_t capacity = items->capacity > 0 ? 2 * items->capacity : ITEMS_FIRST;
            comet_retention_item *grown =
                memory_resize(items->items, capacity * sizeof *items->items);
            if (grown == NULL) {
                return memory_failed(error, capacity * sizeof *items->items);
            }
            items->items = grown;
            items->capacity = capacity;
        }
        item = &items->items[items->count++];
        memset(item, 0, sizeof *item);
        item->shard = shard->id;
        (void)manifest_file_name(list->items[i].facts.sequence, item->file);
        item->first_offset = made->segments[i].first_offset;
        item->end_offset = made->segments[i].end_offset;
        item->bytes = made->segments[i].bytes;
        item->is_deleted = i < made->decision.go_count;
        item->why = retention_reason_text(made->reasons[i]);
        if (made->reasons[i] == RETENTION_UNCONSUMED && made->decision.group != NULL) {
            (void)snprintf(item->group, sizeof item->group, "%s", made->decision.group);
        }
    }
    return COMET_OK;
}

/* Files that nothing names any more.  Statements of this process that still read one keep it open. */
static void unlink_all(const comet_shard *shard, const segment_list *gone) {
    for (size_t i = 0; i < gone->count; i++) {
        const segment_item *item = &gone->items[i];
        if (segment_is_shared(item->file)) {
            (void)segment_enter(item->file, item->facts.first_offset + item->facts.entry_count,
                                NULL);
        }
        if (segment_remove(item->file, NULL) != COMET_OK) {
            state_add((shard_state *)(uintptr_t)&shard->state, STATE_RETENTION_ERRORS, 1);
        }
    }
}

static void count_deleted(comet_shard *shard, const plan *made) {
    shard_state *state = &shard->state;
    uint64_t entries = 0;
    uint64_t bytes = 0;

    for (size_t i = 0; i < made->decision.go_count; i++) {
        bytes += made->segments[i].bytes;
        entries += made->segments[i].end_offset - made->segments[i].first_offset;
    }
    state_add(state, STATE_FILES_DELETED, made->decision.go_count);
    state_add(state, STATE_ENTRIES_DELETED, entries);
    state_add(state, STATE_BYTES_RECLAIMED, bytes);
    state_store(state, STATE_CURRENT_FILES, shard->tail.segment_count);
}

static void count_run(comet_shard *shard, const plan *made, int64_t begun) {
    shard_state *state = &shard->state;

    state_add(state, STATE_RETENTION_RUNS, 1);
    state_store(state, STATE_LAST_RETENTION_NS, (uint64_t)platform->now());
    state_add(state, STATE_RETENTION_NS, (uint64_t)(platform->now() - begun));
    if (made->decision.blocked == RETENTION_UNCONSUMED) {
        state_add(state, STATE_PROTECTED_BY_CONSUMERS, 1);
    }
    if (made->decision.go_count < made->what.segment_count) {
        state_store(state, STATE_OLDEST_ENTRY_NS,
                    (uint64_t)made->segments[made->decision.go_count].written_ns);
    }
}

void reclaim_orphans(const comet_shard *shard, const segment_list *list) {
    if (list->count > 0) {
        inventory_remove_below(shard, list->items[0].facts.sequence);
    }
}

/* Carry a plan out.  The lock is held for index.bin alone: writers go on while files go. */
static comet_status carry_out(comet_shard *shard, const segment_list *list, const plan *made,
                              bool *done, segment_list **gone, comet_error *error) {
    int64_t deadline = platform->tick() + LOCK_PATIENCE_NS;
    comet_status status = COMET_BUSY;
    comet_txn *txn;

    while (status == COMET_BUSY && platform->tick() <= deadline) {
        status = comet_txn_begin(shard, &txn, error);
    }
    FORWARD(status);
    /* Somebody may have been faster. */
    *done = txn->begin_list->count >= list->count &&
            txn->begin_list->items[0].facts.sequence == list->items[0].facts.sequence;
    if (*done) {
        status = writer_drop_oldest(txn, made->decision.go_count, gone, error);
    }
    if (*gone != NULL) {
        count_deleted(shard, made);
    }
    comet_txn_rollback(txn); /* it did nothing but hold the lock */
    return status;
}

static comet_status reclaim_list(comet_shard *shard, const segment_list *list, uint64_t end,
                                 uint64_t excess, reclaim_items *items, uint64_t *freed,
                                 segment_list **gone, bool *done, comet_error *error) {
    reclaim_view view = view_of_snapshot(shard, list, end);
    int64_t begun = platform->now();
    comet_status status;
    plan made;

    *done = true;
    status = plan_make(&view, excess, &made, error);
    if (status == COMET_OK && made.decision.go_count > 0) {
        status = carry_out(shard, list, &made, done, gone, error);
    }
    if (status == COMET_OK && *done) {
        count_run(shard, &made, begun);
        *freed = made.decision.bytes;
        status = items != NULL ? items_add(items, shard, &made, list, error) : COMET_OK;
    } else if (status != COMET_OK && status != COMET_BUSY) {
        state_add(&shard->state, STATE_RETENTION_ERRORS, 1);
    }
    plan_clear(&made);
    return status;
}

comet_status reclaim_shard(comet_shard *shard, uint64_t excess, reclaim_items *items,
                           uint64_t *freed, comet_error *error) {
    segment_list *gone = NULL;
    segment_list *list;
    comet_status status = COMET_OK;
    uint64_t end;
    bool done = false;

    *freed = 0;
    for (unsigned i = 0; i < TRIES && !done && status == COMET_OK; i++) {
        FORWARD(shard_snapshot(shard, &list, &end, error));
        status = reclaim_list(shard, list, end, excess, items, freed, &gone, &done, error);
        segment_list_release(list); /* else each file would look as if somebody still read it */
    }
    if (gone != NULL) {
        unlink_all(shard, gone);
        segment_list_release(gone);
    }
    return status;
}

/* ---- The log's own limit ---- */

/* When the oldest segment that could go was last written; INT64_MAX: there is none. */
static int64_t oldest_write(comet_shard *shard) {
    int64_t written = INT64_MAX;
    segment_list *list;
    uint64_t end;

    if (shard_snapshot(shard, &list, &end, NULL) == COMET_OK) {
        if (list->count > 1) {
            written = list->items[0].facts.written_ns;
        }
        segment_list_release(list);
    }
    return written;
}

/* Open the shard whose oldest segment is the oldest, leaving out those that gave nothing. */
static comet_shard *find_oldest(log_core *log, const uint32_t *ids, const bool *is_done,
                                size_t count, size_t *at) {
    int64_t best = INT64_MAX;
    comet_shard *found = NULL;

    for (size_t i = 0; i < count; i++) {
        comet_shard *shard;
        int64_t written;
        if (is_done[i] || !log_owns(log, ids[i]) ||
            log_shard_open(log, ids[i], false, &shard, NULL) != COMET_OK) {
            continue;
        }
        written = oldest_write(shard);
        if (written < best) {
            best = written;
            *at = i;
            comet_shard_close(found);
            found = shard;
        } else {
            comet_shard_close(shard);
        }
    }
    return found;
}

/* Delete the oldest segments of all shards until the log is below its limit.  `own` is the shard whose
** lock the caller's transaction holds, or NULL; *own_excess is what that one is to give up itself. */
static comet_status reduce_log(log_core *log, const comet_shard *own, uint64_t *own_excess,
                               reclaim_items *items, comet_error *error) {
    uint64_t limit = (uint64_t)log_value(log, COMET_MAX_TOTAL_SIZE);
    comet_status status = COMET_OK;
    uint64_t bytes;
    uint32_t *ids;
    bool *is_done;
    size_t count;

    *own_excess = 0;
    if (limit == 0) {
        return COMET_OK;
    }
    FORWARD(measure_log(log, &bytes, error));
    FORWARD(log_shards(log, &ids, &count, error));
    is_done = memory_allocate_zeroed(count + 1);
    if (is_done == NULL) {
        memory_release(ids);
        return memory_failed(error, count + 1);
    }
    while (bytes > limit && status == COMET_OK) {
        uint64_t freed = 0;
        size_t at = 0;
        comet_shard *shard = find_oldest(log, ids, is_done, count, &at);
        if (shard == NULL || shard == own) {
            *own_excess = bytes - limit;
            comet_shard_close(shard);
            break;
        }
        status = reclaim_shard(shard, 1, items, &freed, error);
        comet_shard_close(shard);
        status = status == COMET_BUSY ? COMET_OK : status;
        is_done[at] = freed == 0;
        bytes -= freed < bytes ? freed : bytes;
    }
    memory_release(is_done);
    memory_release(ids);
    return status;
}

comet_status reclaim_log(log_core *log, reclaim_items *items, comet_error *error) {
    comet_status status = COMET_OK;
    uint64_t nobody;
    uint32_t *ids;
    size_t count;

    FORWARD(log_shards(log, &ids, &count, error));
    for (size_t i = 0; i < count && status == COMET_OK; i++) {
        comet_shard *shard;
        uint64_t freed;
        if (!log_owns(log, ids[i])) {
            continue;
        }
        status = log_shard_open(log, ids[i], false, &shard, error);
        if (status != COMET_OK) {
            break;
        }
        status = reclaim_shard(shard, 0, items, &freed, error);
        comet_shard_close(shard);
        status = status == COMET_BUSY ? COMET_OK : status; /* who writes there sees to it */
    }
    memory_release(ids);
    return status == COMET_OK ? reduce_log(log, NULL, &nobody, items, error) : status;
}

comet_status comet_log_retain(comet_log *log, comet_retention_item **items, size_t *count,
                              comet_error *error) {
    reclaim_items made = {NULL, 0, 0};
    comet_status status;

    FORWARD(log_check_process(log, error));
    if (log_is_readonly(log_of(log))) {
        return error_set(error, COMET_READONLY, 0, "%s is open for reading only",
                         comet_log_directory(log));
    }
    status = reclaim_log(log_of(log), &made, error);
    if (status != COMET_OK) {
        memory_release(made.items);
        return status;
    }
    *items = made.items;
    *count = made.count;
    return COMET_OK;
}

/* ---- Rotation ---- */

static comet_status refuse_full(const comet_txn *txn, const plan *made, comet_error *error) {
    char limit[32];
    const comet_shard *shard = txn->shard;
    bool is_shard = made->what.excess == 0;
    comet_setting setting = is_shard ? COMET_MAX_SHARD_SIZE : COMET_MAX_TOTAL_SIZE;

    comet_setting_format(setting, log_value(shard->log, setting), limit, sizeof limit);
    if (made->decision.group != NULL) {
        return error_set(error, COMET_FULL, 0,
                         "%s %u has reached %s=%s and group '%s' has not acknowledged the oldest "
                         "entries, from %" PRIu64
                         " on; let it, comet_forget() it, or set when_full=drop_oldest",
                         is_shard ? "shard" : "the log of shard", shard->id,
                         comet_setting_describe(setting)->name, limit, made->decision.group,
                         made->segments[made->decision.go_count].first_offset);
    }
    return error_set(error, COMET_FULL, 0,
                     "this transaction alone is larger than %s=%s; write it in smaller ones",
                     comet_setting_describe(setting)->name, limit);
}

static bool has_limit(const log_core *log) {
    return log_value(log, COMET_MAX_SHARD_SIZE) > 0 || log_value(log, COMET_MAX_TOTAL_SIZE) > 0;
}

comet_status reclaim_for_rotation(comet_txn *txn, comet_error *error) {
    comet_shard *shard = txn->shard;
    segment_list *gone = NULL;
    reclaim_view view;
    comet_status status;
    uint64_t excess;
    plan made;

    log_refresh_settings(shard->log);
    if (!has_limit(shard->log)) {
        return COMET_OK;
    }
    FORWARD(reduce_log(shard->log, shard, &excess, NULL, error));
    view = view_of_txn(txn);
    status = plan_make(&view, excess, &made, error);
    if (made.decision.go_count > ROTATION_DELETIONS_MAX) {
        made.decision.go_count = ROTATION_DELETIONS_MAX;
    }
    if (status == COMET_OK && made.decision.go_count > 0) {
        status = writer_drop_oldest(txn, made.decision.go_count, &gone, error);
    }
    if (gone != NULL) {
        count_deleted(shard, &made);
        unlink_all(shard, gone);
        segment_list_release(gone);
    }
    /* What is left over the limit may be the segment that was just finished, and no more. */
    if (status == COMET_OK && made.decision.over > 0 &&
        (made.decision.group != NULL || txn->list->count > txn->begin.segment_count)) {
        status = refuse_full(txn, &made, error);
    }
    plan_clear(&made);
    return status;
}
