/* group_place.c -- see group_place.h. */
#include "group_place.h"

#include <string.h>

#include "report.h"
#include "values.h"

#define SHARDS_KEPT 64 /* by their last bits */

struct group_place {
    char *reference; /* the log as it was named; NULL for the default log */
    char group[COMET_GROUP_BYTES_MAX + 1];
    size_t group_size;
    unsigned epoch; /* of the connection's tables */
    open_log *log;
    const named_table *table; /* a comet_consumer that keeps this group's positions */
    open_group *kept[SHARDS_KEPT];
};

void group_place_free(group_place *place) {
    if (place != NULL) {
        sqlite3_free(place->reference);
        sqlite3_free(place);
    }
}

/* The connection's consumer table of that group; the one that was named goes first. */
static const named_table *find_keeper(const connection *used, const char *reference,
                                      const char *directory, const group_place *place) {
    const named_table *found = NULL;

    for (const named_table *table = used->tables; table != NULL; table = table->next) {
        if (table->positions == NULL || strlen(table->group) != place->group_size ||
            memcmp(table->group, place->group, place->group_size) != 0 ||
            strcmp(table->directory, directory) != 0) {
            continue;
        }
        if (found == NULL || (reference != NULL && sqlite3_stricmp(reference, table->name) == 0)) {
            found = table;
        }
    }
    return found;
}

static comet_status fill_place(connection *used, const char *reference, group_place *made,
                               comet_error *error) {
    log_target target;
    comet_status status;

    if (reference != NULL) {
        made->reference = sqlite3_mprintf("%s", reference);
        if (made->reference == NULL) {
            return failure_no_memory(error);
        }
    }
    status = connection_resolve(used, reference, &target, error);
    if (status != COMET_OK) {
        return status;
    }
    status = connection_log(used, target.directory, false, &made->log, error);
    made->table = find_keeper(used, reference, target.directory, made);
    made->epoch = used->tables_epoch; /* resolving a name may have connected its table */
    log_target_clear(&target);
    return status;
}

static bool is_place(const connection *used, const char *reference, const char *group,
                     size_t size) {
    const group_place *place = used->place;

    if (place == NULL || place->epoch != used->tables_epoch || place->group_size != size ||
        memcmp(place->group, group, size) != 0) {
        return false;
    }
    return place->reference == NULL || reference == NULL ? place->reference == reference
                                                         : strcmp(place->reference, reference) == 0;
}

comet_status group_place_find(connection *used, sqlite3_value *log, sqlite3_value *group,
                              group_place **place, comet_error *error) {
    const char *name = (const char *)sqlite3_value_text(group);
    size_t size = (size_t)sqlite3_value_bytes(group);
    const char *reference = NULL;
    group_place *made;
    comet_status status = COMET_OK;

    if (log != NULL) {
        status = value_text(log, "the log", &reference, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    if (name == NULL || size == 0 || size > COMET_GROUP_BYTES_MAX || strlen(name) != size) {
        return failure_set(error, COMET_INVALID,
                           "a group's name is 1 to %u bytes without NUL, this one has %d bytes%s",
                           COMET_GROUP_BYTES_MAX, (int)size,
                           name != NULL && strlen(name) != size ? ", NUL among them" : "");
    }
    if (is_place(used, reference, name, size)) {
        *place = used->place;
        return COMET_OK;
    }
    made = sqlite3_malloc64(sizeof *made);
    if (made == NULL) {
        return failure_no_memory(error);
    }
    memset(made, 0, sizeof *made);
    memcpy(made->group, name, size);
    made->group_size = size;
    status = fill_place(used, reference, made, error);
    if (status != COMET_OK) {
        group_place_free(made);
        return status;
    }
    group_place_free(used->place);
    used->place = made;
    *place = made;
    return COMET_OK;
}

comet_status group_place_shard(connection *used, group_place *place, uint32_t shard,
                               ack_place *found, comet_error *error) {
    open_group **kept = &place->kept[shard % SHARDS_KEPT];
    open_shard *opened = NULL;
    comet_status status;

    if (*kept == NULL || (*kept)->shard->id != shard) {
        status = connection_shard(used, place->log->directory, shard, false, &opened, error);
        if (status == COMET_OK) {
            status = connection_group(opened, place->group, place->group_size, kept, error);
        }
        if (status != COMET_OK) {
            return status;
        }
    }
    found->group = *kept;
    found->table = place->table;
    return COMET_OK;
}

comet_status group_place_shards(group_place *place, uint32_t **ids, size_t *count,
                                comet_error *error) {
    return comet_log_shards(place->log->log, ids, count, error);
}
