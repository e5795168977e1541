/* acks.c -- see acks.h. */
#include "acks.h"

#include <assert.h>
#include <string.h>

#include "report.h"

#define CAPACITY_FIRST 16

struct staged_ack {
    open_group *group;
    const named_table *table;
    ack_kind kind;
    uint64_t position;
    int depth; /* savepoints that were open */
};

/* The newest one that is staged for a place, or NULL. */
static staged_ack *find_staged(connection *used, const ack_place *place) {
    transaction *current = &used->transaction;

    for (size_t i = current->ack_count; i-- > 0;) {
        if (current->acks[i].group == place->group && current->acks[i].table == place->table) {
            return &current->acks[i];
        }
    }
    return NULL;
}

bool acks_are_staged(const connection *used, const ack_place *place) {
    return place->table != NULL || !sqlite3_get_autocommit(used->db);
}

bool acks_depend_on(const connection *used, const named_table *table) {
    for (size_t i = 0; i < used->transaction.ack_count; i++) {
        if (used->transaction.acks[i].table == table) {
            return true;
        }
    }
    return false;
}

/* ---- Looking --------------------------------------------------------------------------------- */

static void stand_at(comet_group_info *info, uint64_t position) {
    info->exists = true;
    info->position = position > info->first_offset ? position : info->first_offset;
    if (info->position > info->end_offset) {
        info->position = info->end_offset;
    }
    info->lag = info->end_offset - info->position;
}

comet_status acks_describe(connection *used, const ack_place *place, comet_group_info *info,
                           comet_error *error) {
    comet_status status = comet_group_describe(place->group->group, info, error);
    const staged_ack *staged = find_staged(used, place);
    uint64_t position = 0;
    bool found = false;

    if (status != COMET_OK) {
        return status;
    }
    if (staged != NULL && staged->kind == ACK_REMOVE) {
        stand_at(info, info->first_offset);
        info->exists = false;
        return COMET_OK;
    }
    if (staged != NULL) {
        stand_at(info, staged->position);
        return COMET_OK;
    }
    if (place->table != NULL) {
        status = positions_read(place->table->positions, place->group->shard->id, &found, &position,
                                error);
    }
    if (status == COMET_OK && found) {
        stand_at(info, position);
    }
    return status;
}

comet_status acks_catch_up(const ack_place *place, comet_error *error) {
    comet_group_info info;
    uint64_t position = 0;
    bool found = false;
    comet_status status;

    if (place->table == NULL || positions_are_unsettled(place->table->positions)) {
        return COMET_OK;
    }
    status =
        positions_read(place->table->positions, place->group->shard->id, &found, &position, error);
    if (status == COMET_OK && found) {
        status = comet_group_describe(place->group->group, &info, error);
    }
    if (status == COMET_OK && found && position <= info.end_offset && position > 0 &&
        (!info.exists || position > info.position)) {
        status = comet_group_ack(place->group->group, position - 1, NULL, error);
    }
    return status;
}

/* ---- Staging --------------------------------------------------------------------------------- */

static comet_status stage(connection *used, const ack_place *place, ack_kind kind,
                          uint64_t position, comet_error *error) {
    transaction *current = &used->transaction;
    staged_ack *last = find_staged(used, place);

    if (last != NULL && kind == ACK_FORWARD && last->kind != ACK_FORWARD) {
        kind = ACK_PUT; /* from where it was put, not from where the others are */
    }
    if (last == NULL || last->depth != current->depth) {
        if (current->ack_count == current->ack_capacity) {
            size_t capacity =
                current->ack_capacity > 0 ? 2 * current->ack_capacity : CAPACITY_FIRST;
            staged_ack *grown = sqlite3_realloc64(current->acks, capacity * sizeof *grown);

            if (grown == NULL) {
                return failure_no_memory(error);
            }
            current->acks = grown;
            current->ack_capacity = capacity;
        }
        last = &current->acks[current->ack_count++];
    }
    *last = (staged_ack){place->group, place->table, kind, position, current->depth};
    return COMET_OK;
}

/* See that SQLite tells us of the COMMIT; with a table that keeps positions, that its database is
** open for writing.  In autocommit this is the commit, unless a statement around it writes. */
static comet_status take_part(connection *used, const named_table *table, comet_error *error) {
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(used->db);
    comet_status status = COMET_OK;
    char *sql;
    int rc;

    if (table == NULL && used->transaction.participants > 0) {
        return COMET_OK;
    }
    sql = table == NULL ? sqlite3_mprintf("INSERT INTO comet_consumer(data) VALUES (NULL)")
                        : sqlite3_mprintf("INSERT INTO \"%w\".\"%w\"(data) VALUES (NULL)",
                                          table->schema, table->name);
    rc = sql == NULL ? SQLITE_NOMEM : sqlite3_exec(used->db, sql, NULL, NULL, NULL);
    sqlite3_free(sql);
    if (rc != SQLITE_OK) {
        status = failure_from_sqlite(error, used->db, rc, "acknowledge");
    }
    sqlite3_set_last_insert_rowid(used->db, rowid);
    return status;
}

comet_status acks_stage(connection *used, const ack_place *place, ack_kind kind, uint64_t position,
                        comet_error *error) {
    bool autocommit = sqlite3_get_autocommit(used->db) != 0;
    comet_status status = used->readonly
                              ? failure_set(error, COMET_READONLY, "this connection only reads")
                          : kind == ACK_REMOVE ? COMET_OK
                                               : comet_group_reserve(place->group->group, error);

    if (status != COMET_OK) {
        return status;
    }
    if (!autocommit) { /* first, so that the row knows how many savepoints are open */
        status = take_part(used, place->table, error);
        return status == COMET_OK ? stage(used, place, kind, position, error) : status;
    }
    status = stage(used, place, kind, position, error);
    if (status != COMET_OK) {
        return status;
    }
    status = take_part(used, place->table, error);
    if (status != COMET_OK && used->transaction.participants == 0) {
        acks_forget(used);
    }
    return status;
}

/* ---- The transaction's end ------------------------------------------------------------------- */

/* A database may survive a power cut that takes entries: they would get other bytes under offsets that
** the position has passed.  So entries are durable before the position can be. */
static comet_status make_entries_durable(connection *used, const staged_ack *staged,
                                         comet_error *error) {
    comet_shard *shard = staged->group->shard->shard;
    comet_shard_info info;
    open_log *log;
    int64_t sync = COMET_SYNC_OFF;
    comet_status status = connection_log(used, staged->table->directory, false, &log, error);

    if (status == COMET_OK) {
        status = comet_log_setting(log->log, COMET_SYNC, &sync, error);
    }
    if (status != COMET_OK || sync == COMET_SYNC_OFF) {
        return status;
    }
    status = comet_shard_describe(shard, &info, error);
    return status == COMET_OK && staged->position > info.durable_offset
               ? comet_shard_sync(shard, error)
               : status;
}

comet_status acks_prepare(connection *used, comet_error *error) {
    for (size_t i = 0; i < used->transaction.ack_count; i++) {
        const staged_ack *staged = &used->transaction.acks[i];
        uint32_t shard = staged->group->shard->id;
        comet_status status = COMET_OK;

        if (staged->table != NULL && staged->kind == ACK_REMOVE) {
            status = positions_erase(staged->table->positions, shard, error);
        } else if (staged->table != NULL) {
            status = make_entries_durable(used, staged, error);
            status = status != COMET_OK ? status
                                        : positions_write(staged->table->positions, shard,
                                                          staged->position, error);
        }
        if (status != COMET_OK) {
            return status;
        }
    }
    return COMET_OK;
}

/* What fails here is as if we had died before it: nobody to tell, the entries are read again, and a
** table that keeps positions catches up. */
void acks_publish(connection *used) {
    transaction *ended = &used->transaction;

    for (size_t i = 0; i < ended->ack_count; i++) {
        const staged_ack *staged = &ended->acks[i];
        comet_group *group = staged->group->group;

        if (staged->kind == ACK_REMOVE) {
            (void)comet_group_forget(group, NULL);
        } else if (staged->kind == ACK_PUT) {
            (void)comet_group_seek(group, staged->position, NULL, NULL);
        } else if (staged->position > 0) {
            (void)comet_group_ack(group, staged->position - 1, NULL, NULL);
        }
    }
    ended->ack_count = 0;
}

void acks_forget(connection *used) {
    used->transaction.ack_count = 0;
}

void acks_release(connection *used, int level) {
    for (size_t i = 0; i < used->transaction.ack_count; i++) {
        if (used->transaction.acks[i].depth > level) {
            used->transaction.acks[i].depth = level;
        }
    }
}

/* Depths never fall along the list: what is taken back is its end. */
void acks_rollback_to(connection *used, int level) {
    transaction *current = &used->transaction;

    while (current->ack_count > 0 && current->acks[current->ack_count - 1].depth > level) {
        current->ack_count--;
    }
}
