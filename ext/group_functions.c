/* group_functions.c -- see group_functions.h.
**
** Decides: the arguments of the functions of groups and what they may be.  All are DIRECTONLY.
*/
#include "group_functions.h"

#include <stdlib.h>
#include <string.h>

#include "acks.h"
#include "group_place.h"
#include "report.h"
#include "rowset.h"
#include "values.h"

/* ---- Arguments ------------------------------------------------------------------------------- */

static comet_status read_offset(sqlite3_value *value, uint64_t *offset, comet_error *error) {
    int64_t number = -1;

    if (!value_integer(value, &number) || number < 0 || number > COMET_OFFSET_MAX) {
        const char *text = (const char *)sqlite3_value_text(value);

        return failure_set(error, COMET_INVALID,
                           "%.100s is no offset: an offset is an integer from 0",
                           text != NULL ? text : "NULL");
    }
    *offset = (uint64_t)number;
    return COMET_OK;
}

/* (log, group, shard) as all functions begin. */
static comet_status find_place(connection *used, sqlite3_value **arguments, ack_place *place,
                               comet_error *error) {
    group_place *found;
    uint32_t shard;
    comet_status status = group_place_find(used, arguments[0], arguments[1], &found, error);

    if (status == COMET_OK) {
        status = value_shard(arguments[2], &shard, error);
    }
    return status == COMET_OK ? group_place_shard(used, found, shard, place, error) : status;
}

/* ---- comet_ack, comet_ack_range -------------------------------------------------------------- */

/* The rules of comet_group_ack() and its sisters, over what this transaction has staged. */
static comet_status stage_range(connection *used, const ack_place *place, const uint64_t *first,
                                uint64_t last, uint64_t *position, comet_error *error) {
    comet_group_info info;
    comet_status status = acks_catch_up(place, error);

    if (status == COMET_OK) {
        status = acks_describe(used, place, &info, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    if (last >= info.end_offset) {
        return failure_set(error, COMET_INVALID,
                           "offset %lld of shard %u is not written yet: its next offset is %lld, "
                           "and only what is committed can be acknowledged",
                           (long long)last, place->group->shard->id, (long long)info.end_offset);
    }
    if (first != NULL && (*first > last || *first > info.position)) {
        return *first > last
                   ? failure_set(error, COMET_INVALID,
                                 "the range %lld to %lld ends before it begins", (long long)*first,
                                 (long long)last)
                   : failure_set(error, COMET_INVALID,
                                 "offsets %lld to %lld of shard %u are not acknowledged yet: a "
                                 "range begins at %lld or before",
                                 (long long)info.position, (long long)*first - 1,
                                 place->group->shard->id, (long long)info.position);
    }
    *position = last + 1 > info.position ? last + 1 : info.position;
    if (last + 1 <= info.position && info.exists) {
        return COMET_OK;
    }
    return acks_stage(used, place, ACK_FORWARD, *position, error);
}

static comet_status acknowledge(connection *used, sqlite3_value **arguments, bool is_range,
                                uint64_t *position, comet_error *error) {
    ack_place place;
    uint64_t first = 0;
    uint64_t last = 0;
    comet_status status = find_place(used, arguments, &place, error);

    if (status == COMET_OK) {
        status = read_offset(arguments[3], &first, error);
    }
    last = first;
    if (status == COMET_OK && is_range) {
        status = read_offset(arguments[4], &last, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    if (acks_are_staged(used, &place)) {
        return stage_range(used, &place, is_range ? &first : NULL, last, position, error);
    }
    return is_range ? comet_group_ack_range(place.group->group, first, last, position, error)
                    : comet_group_ack(place.group->group, last, position, error);
}

static void give_position(sqlite3_context *context, comet_status status, uint64_t position,
                          const comet_error *error) {
    if (status == COMET_OK) {
        sqlite3_result_int64(context, (sqlite3_int64)position);
    } else {
        report_to_function(context, error);
    }
}

static void ack_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    comet_error error;
    uint64_t position = 0;
    comet_status status =
        acknowledge(sqlite3_user_data(context), arguments, count == 5, &position, &error);

    give_position(context, status, position, &error);
}

/* ---- comet_seek ------------------------------------------------------------------------------ */

static comet_status bad_where(const char *text, comet_error *error) {
    return failure_set(error, COMET_INVALID,
                       "cannot seek to %.100s: give an offset, 'earliest', 'latest', or '@' and "
                       "nanoseconds since 1970 for the first entry at or after that time",
                       text != NULL ? text : "NULL");
}

static comet_status find_where(const ack_place *place, sqlite3_value *where, uint64_t *to,
                               comet_error *error) {
    const char *text = (const char *)sqlite3_value_text(where);
    comet_group_info info;
    comet_status status = comet_group_describe(place->group->group, &info, error);
    int64_t number = -1;
    char *end;

    if (status != COMET_OK) {
        return status;
    }
    if (value_integer(where, &number)) {
        if (number < 0 || (uint64_t)number > info.end_offset) {
            return failure_set(error, COMET_INVALID,
                               "cannot seek to %lld: shard %u has positions %lld to %lld",
                               (long long)number, place->group->shard->id,
                               (long long)info.first_offset, (long long)info.end_offset);
        }
        *to = (uint64_t)number > info.first_offset ? (uint64_t)number : info.first_offset;
        return COMET_OK;
    }
    if (text == NULL || sqlite3_value_type(where) != SQLITE_TEXT) {
        return bad_where(text, error);
    }
    if (strcmp(text, "earliest") == 0 || strcmp(text, "latest") == 0) {
        *to = text[0] == 'e' ? info.first_offset : info.end_offset;
        return COMET_OK;
    }
    number = text[0] == '@' ? strtoll(text + 1, &end, 10) : 0;
    if (text[0] != '@' || text[1] == '\0' || strchr("-0123456789", text[1]) == NULL ||
        *end != '\0') {
        return bad_where(text, error);
    }
    return comet_group_find(place->group->group, number, to, error);
}

static void seek_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    connection *used = sqlite3_user_data(context);
    comet_error error;
    ack_place place;
    uint64_t to = 0;
    comet_status status = find_place(used, arguments, &place, &error);

    (void)count;
    if (status == COMET_OK) {
        status = find_where(&place, arguments[3], &to, &error);
    }
    if (status == COMET_OK) {
        status = acks_are_staged(used, &place)
                     ? acks_stage(used, &place, ACK_PUT, to, &error)
                     : comet_group_seek(place.group->group, to, &to, &error);
    }
    give_position(context, status, to, &error);
}

/* ---- comet_lag, comet_forget ----------------------------------------------------------------- */

typedef comet_status place_visitor(connection *used, const ack_place *place, int64_t *sum,
                                   comet_error *error);

static comet_status add_lag(connection *used, const ack_place *place, int64_t *sum,
                            comet_error *error) {
    comet_group_info info;
    comet_status status = acks_describe(used, place, &info, error);

    if (status == COMET_OK) {
        *sum += (int64_t)info.lag;
    }
    return status;
}

static comet_status forget(connection *used, const ack_place *place, int64_t *sum,
                           comet_error *error) {
    comet_group_info info;
    comet_status status = acks_describe(used, place, &info, error);

    if (status != COMET_OK || !info.exists) {
        return status;
    }
    *sum += 1;
    return acks_are_staged(used, place) ? acks_stage(used, place, ACK_REMOVE, 0, error)
                                        : comet_group_forget(place->group->group, error);
}

static comet_status visit_places(connection *used, int count, sqlite3_value **arguments,
                                 place_visitor *visit, int64_t *sum, comet_error *error) {
    uint32_t *ids = NULL;
    size_t id_count = 0;
    group_place *found;
    ack_place place;
    comet_status status;

    if (count > 2) {
        status = find_place(used, arguments, &place, error);
        return status == COMET_OK ? visit(used, &place, sum, error) : status;
    }
    status = group_place_find(used, arguments[0], arguments[1], &found, error);
    if (status == COMET_OK) {
        status = group_place_shards(found, &ids, &id_count, error);
    }
    for (size_t i = 0; status == COMET_OK && i < id_count; i++) {
        status = group_place_shard(used, found, ids[i], &place, error);
        if (status == COMET_OK) {
            status = visit(used, &place, sum, error);
        }
    }
    comet_free(ids);
    return status;
}

static void lag_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    comet_error error;
    int64_t sum = 0;
    comet_status status =
        visit_places(sqlite3_user_data(context), count, arguments, add_lag, &sum, &error);

    give_position(context, status, (uint64_t)sum, &error);
}

/* Returns in how many shards the group was known. */
static void forget_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    comet_error error;
    int64_t sum = 0;
    comet_status status =
        visit_places(sqlite3_user_data(context), count, arguments, forget, &sum, &error);

    give_position(context, status, (uint64_t)sum, &error);
}

/* ---- comet_groups(log) ----------------------------------------------------------------------- */

static void add_groups(uint32_t shard, const comet_group_info *groups, size_t count, rowset *rows) {
    for (size_t i = 0; i < count; i++) {
        rowset_integer(rows, (int64_t)shard);
        rowset_text(rows, groups[i].name);
        rowset_integer(rows, (int64_t)groups[i].position);
        rowset_integer(rows, (int64_t)groups[i].lag);
        rowset_integer(rows, (int64_t)groups[i].acknowledged);
        rowset_integer(rows, groups[i].last_ack_ns);
        rowset_integer(rows, (int64_t)groups[i].skipped);
    }
}

static comet_status fill_groups(connection *used, const char *directory, rowset *rows,
                                comet_error *error) {
    open_log *log;
    uint32_t *ids = NULL;
    size_t id_count = 0;
    comet_status status = connection_log(used, directory, false, &log, error);

    if (status == COMET_OK) {
        status = comet_log_shards(log->log, &ids, &id_count, error);
    }
    for (size_t i = 0; status == COMET_OK && i < id_count; i++) {
        comet_group_info *groups = NULL;
        open_shard *shard;
        size_t count = 0;

        status = connection_shard(used, directory, ids[i], false, &shard, error);
        if (status == COMET_OK) {
            status = comet_shard_groups(shard->shard, &groups, &count, error);
        }
        add_groups(ids[i], groups, count, rows);
        comet_free(groups);
    }
    comet_free(ids);
    return status;
}

int group_functions_register(connection *used) {
    static const struct {
        const char *name;
        int count;
        void (*call)(sqlite3_context *context, int count, sqlite3_value **arguments);
    } functions[] = {
        {"comet_ack", 4, ack_function},   {"comet_ack_range", 5, ack_function},
        {"comet_seek", 4, seek_function}, {"comet_lag", 2, lag_function},
        {"comet_lag", 3, lag_function},   {"comet_forget", 2, forget_function},
    };
    static const rowset_table groups = {
        "comet_groups",
        "shard INTEGER, \"group\" TEXT, offset INTEGER, lag INTEGER, acknowledged INTEGER,"
        " last_ack INTEGER, skipped INTEGER",
        7, fill_groups};
    int rc = rowset_register(used, &groups);

    for (size_t i = 0; rc == SQLITE_OK && i < sizeof functions / sizeof functions[0]; i++) {
        rc = sqlite3_create_function_v2(used->db, functions[i].name, functions[i].count,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY, connection_share(used),
                                        functions[i].call, NULL, NULL, connection_release);
    }
    return rc;
}
