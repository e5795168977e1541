/* segments_table.c -- comet_shards(log), comet_segments(log) and comet_verify(log).
**
** Decides: what a person sees of shards and data files.  One shard that cannot be opened is a row
** that says why in comet_shards; comet_segments leaves it out, as there is nothing to list.  What
** has no meaning while there is no entry is NULL.  comet_verify reads everything anew, when it is asked.
*/
#include "segments_table.h"

#include "report.h"
#include "rowset.h"
#include "visit.h"

static void add_meaningful(rowset *rows, bool meaningful, int64_t value) {
    if (meaningful) {
        rowset_integer(rows, value);
    } else {
        rowset_null(rows);
    }
}

static void add_bounds(rowset *rows, uint64_t first_offset, uint64_t end_offset, int64_t time_first,
                       int64_t time_last) {
    bool has_entries = end_offset > first_offset;

    add_meaningful(rows, has_entries, (int64_t)first_offset);
    add_meaningful(rows, has_entries, (int64_t)end_offset - 1);
    add_meaningful(rows, has_entries, time_first);
    add_meaningful(rows, has_entries, time_last);
    rowset_integer(rows, (int64_t)(end_offset - first_offset));
}

#define SHARD_COLUMNS                                                                              \
    "shard INTEGER, first_offset INTEGER, last_offset INTEGER, first_timestamp INTEGER,"           \
    " last_timestamp INTEGER, entries INTEGER, bytes INTEGER, segments INTEGER, owner INTEGER,"    \
    " healthy INTEGER, why TEXT"
#define SHARD_COLUMN_COUNT 11

static void add_sick_shard(rowset *rows, const char *why) {
    for (int column = 1; column < SHARD_COLUMN_COUNT - 2; column++) {
        rowset_null(rows);
    }
    rowset_integer(rows, 0);
    rowset_text(rows, why);
}

static void add_shard(comet_shard *shard, uint32_t id, const comet_error *failure, void *context) {
    rowset *rows = context;
    comet_shard_info info;
    comet_error error;
    char why[COMET_MESSAGE_BYTES];
    bool healthy = false;

    rowset_integer(rows, (int64_t)id);
    if (shard == NULL) {
        add_sick_shard(rows, failure->message);
        return;
    }
    if (comet_shard_describe(shard, &info, &error) != COMET_OK ||
        comet_shard_health(shard, why, &healthy, &error) != COMET_OK) {
        add_sick_shard(rows, error.message);
        return;
    }
    add_bounds(rows, info.first_offset, info.end_offset, info.time_first, info.time_last);
    rowset_integer(rows, (int64_t)info.bytes);
    rowset_integer(rows, (int64_t)info.segment_count);
    add_meaningful(rows, info.owner != 0, info.owner);
    rowset_integer(rows, healthy ? 1 : 0);
    rowset_text(rows, healthy ? NULL : why);
}

static comet_status fill_shards(connection *used, const char *directory, rowset *rows,
                                comet_error *error) {
    return visit_shards(used, directory, add_shard, rows, error);
}

static void add_segments(comet_shard *shard, uint32_t id, const comet_error *failure,
                         void *context) {
    rowset *rows = context;
    comet_segment_info *segments = NULL;
    size_t count = 0;

    (void)failure;
    if (shard == NULL || comet_shard_segments(shard, &segments, &count, NULL) != COMET_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const comet_segment_info *info = &segments[i];

        rowset_integer(rows, (int64_t)id);
        rowset_text(rows, info->file);
        add_bounds(rows, info->first_offset, info->end_offset, info->time_first, info->time_last);
        rowset_integer(rows, (int64_t)info->bytes);
        rowset_integer(rows, info->sealed ? 1 : 0);
        rowset_integer(rows, (int64_t)info->compressed_entries);
    }
    comet_free(segments);
}

static comet_status fill_segments(connection *used, const char *directory, rowset *rows,
                                  comet_error *error) {
    return visit_shards(used, directory, add_segments, rows, error);
}

#define CHECK_COLUMNS                                                                              \
    "shard INTEGER, file TEXT, first_offset INTEGER, last_offset INTEGER, entries INTEGER,"        \
    " bytes INTEGER, ok INTEGER, first_bad_offset INTEGER, why TEXT"
#define CHECK_COLUMN_COUNT 9

static void add_checks(comet_shard *shard, uint32_t id, const comet_error *failure, void *context) {
    rowset *rows = context;
    comet_segment_check *checks = NULL;
    size_t count = 0;
    comet_error error;

    if (shard == NULL || comet_shard_verify(shard, &checks, &count, &error) != COMET_OK) {
        rowset_integer(rows, (int64_t)id);
        for (int column = 1; column < CHECK_COLUMN_COUNT - 3; column++) {
            rowset_null(rows);
        }
        rowset_integer(rows, 0);
        rowset_null(rows);
        rowset_text(rows, shard == NULL ? failure->message : error.message);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const comet_segment_check *found = &checks[i];

        rowset_integer(rows, (int64_t)id);
        rowset_text(rows, found->file);
        rowset_integer(rows, (int64_t)found->first_offset);
        rowset_integer(rows, (int64_t)found->end_offset - 1);
        rowset_integer(rows, (int64_t)found->entries);
        rowset_integer(rows, (int64_t)found->bytes);
        rowset_integer(rows, found->ok ? 1 : 0);
        add_meaningful(rows, !found->ok, (int64_t)found->bad_offset);
        rowset_text(rows, found->ok ? NULL : found->why);
    }
    comet_free(checks);
}

static comet_status fill_checks(connection *used, const char *directory, rowset *rows,
                                comet_error *error) {
    return visit_shards(used, directory, add_checks, rows, error);
}

int segments_table_register(connection *used) {
    static const rowset_table shards = {"comet_shards", SHARD_COLUMNS, SHARD_COLUMN_COUNT,
                                        fill_shards};
    static const rowset_table segments = {
        "comet_segments",
        "shard INTEGER, file TEXT, first_offset INTEGER, last_offset INTEGER,"
        " first_timestamp INTEGER, last_timestamp INTEGER, entries INTEGER, bytes INTEGER,"
        " sealed INTEGER, compressed INTEGER",
        10, fill_segments};
    static const rowset_table checks = {"comet_verify", CHECK_COLUMNS, CHECK_COLUMN_COUNT,
                                        fill_checks};
    int rc = rowset_register(used, &shards);

    if (rc == SQLITE_OK) {
        rc = rowset_register(used, &segments);
    }
    return rc == SQLITE_OK ? rowset_register(used, &checks) : rc;
}
