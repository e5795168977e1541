/* consumer_cursor.c -- reading comet_consumer.
**
** Decides: which shards a scan reads and in which turns.  Without an ORDER BY it goes round the
** shards that have something pending, so that none starves: a LIMIT is shared out evenly; where it is
** smaller than their number, those that acknowledged longest ago go first.  What a statement yields
** depends on the positions alone: until something is acknowledged or appended, it yields the same.
**
**     shard 0  |--chunk--|           |--chunk--|
**     shard 3            |--chunk--|           |--chunk--| ...
*/
#include <stdlib.h>
#include <string.h>

#include "acks.h"
#include "consumer_table.h"
#include "group_place.h"
#include "report.h"

/* Entries that one shard yields in its turn where no LIMIT says otherwise. */
#define CHUNK_ENTRIES 128u

typedef struct part {
    open_shard *shard;
    uint64_t position;
    int64_t last_ack_ns;
    comet_cursor *cursor; /* NULL before its first turn, and when it is done */
    bool done;
} part;

typedef struct consumer_cursor {
    sqlite3_vtab_cursor base; /* first: SQLite's view of it */
    part *parts;
    size_t part_count;
    size_t current;
    uint64_t chunk;
    uint64_t turn_left;
    uint64_t left; /* rows that LIMIT still allows, this one included */
    int64_t row;
    comet_range range;
    sqlite3_value *log; /* as the query named it */
    sqlite3_value *group;
    int64_t member;
    int64_t members;
    bool at_end;
} consumer_cursor;

/* What xFilter is asked for, unfolded. */
typedef struct scan {
    sqlite3_value *arguments[CONSUMER_SLOT_COUNT]; /* NULL where there is none */
    interval offsets;
    interval times;
    bool ordered;
} scan;

static consumer_table *table_of(const consumer_cursor *cursor) {
    return (consumer_table *)cursor->base.pVtab;
}

int consumer_cursor_open(sqlite3_vtab *base, sqlite3_vtab_cursor **cursor) {
    consumer_cursor *opened = sqlite3_malloc64(sizeof *opened);

    (void)base;
    if (opened == NULL) {
        return SQLITE_NOMEM;
    }
    memset(opened, 0, sizeof *opened);
    opened->at_end = true;
    *cursor = &opened->base;
    return SQLITE_OK;
}

static void cursor_reset(consumer_cursor *cursor) {
    for (size_t i = 0; i < cursor->part_count; i++) {
        comet_cursor_close(cursor->parts[i].cursor);
    }
    sqlite3_free(cursor->parts);
    sqlite3_value_free(cursor->log);
    sqlite3_value_free(cursor->group);
    cursor->parts = NULL;
    cursor->part_count = cursor->current = 0;
    cursor->log = cursor->group = NULL;
    cursor->row = 0;
    cursor->at_end = true;
}

int consumer_cursor_close(sqlite3_vtab_cursor *base) {
    cursor_reset((consumer_cursor *)base);
    sqlite3_free(base);
    return SQLITE_OK;
}

/* ---- What is asked --------------------------------------------------------------------------- */

static void read_plan(unsigned flags, sqlite3_value **values, scan *asked) {
    memset(asked, 0, sizeof *asked);
    asked->offsets = (interval){0, COMET_OFFSET_MAX, false};
    asked->times = (interval){INT64_MIN, INT64_MAX, false};
    asked->ordered = (flags & CONSUMER_ORDERED) != 0;
    for (int slot = 0; slot < CONSUMER_SLOT_COUNT; slot++) {
        if ((flags & (1u << slot)) == 0) {
            continue;
        }
        asked->arguments[slot] = *values++;
        if (slot >= CONSUMER_OFFSET_EQ && slot < CONSUMER_TIMESTAMP_EQ) {
            interval_narrow(&asked->offsets, (plan_operator)(slot - CONSUMER_OFFSET_EQ),
                            asked->arguments[slot]);
        } else if (slot >= CONSUMER_TIMESTAMP_EQ && slot < CONSUMER_LIMIT) {
            interval_narrow(&asked->times, (plan_operator)(slot - CONSUMER_TIMESTAMP_EQ),
                            asked->arguments[slot]);
        }
    }
}

static comet_status read_members(consumer_cursor *cursor, const scan *asked, comet_error *error) {
    const consumer_table *table = table_of(cursor);
    sqlite3_value *member = asked->arguments[CONSUMER_MEMBER];
    sqlite3_value *members = asked->arguments[CONSUMER_MEMBERS];

    cursor->member = table->member;
    cursor->members = table->members;
    if ((member != NULL && !value_integer(member, &cursor->member)) ||
        (members != NULL && !value_integer(members, &cursor->members)) || cursor->member < 0 ||
        cursor->members < 1 || cursor->member >= cursor->members) {
        return failure_set(error, COMET_INVALID,
                           "member %lld of %lld members: members is an integer from 1, member one "
                           "from 0 to members - 1",
                           (long long)cursor->member, (long long)cursor->members);
    }
    return COMET_OK;
}

static comet_status keep_value(sqlite3_value *value, sqlite3_value **kept, comet_error *error) {
    if (value == NULL || sqlite3_value_type(value) == SQLITE_NULL) {
        return COMET_OK;
    }
    *kept = sqlite3_value_dup(value);
    return *kept != NULL ? COMET_OK : failure_no_memory(error);
}

/* ---- The shards ------------------------------------------------------------------------------ */

/* Where the group of this scan stands in one shard; a table of its own has no arguments. */
static comet_status find_place(consumer_cursor *cursor, group_place *named, uint32_t id,
                               ack_place *place, comet_error *error) {
    consumer_table *table = table_of(cursor);
    open_shard *shard;
    comet_status status;

    if (named != NULL) {
        return group_place_shard(table->connection, named, id, place, error);
    }
    status = connection_shard(table->connection, table->self.directory, id, false, &shard, error);
    place->table = table->self.positions != NULL ? &table->self : NULL;
    return status != COMET_OK
               ? status
               : connection_group(shard, table->group, strlen(table->group), &place->group, error);
}

static comet_status add_part(consumer_cursor *cursor, group_place *named, uint32_t id,
                             comet_error *error) {
    connection *used = table_of(cursor)->connection;
    comet_group_info info;
    ack_place place;
    comet_status status = find_place(cursor, named, id, &place, error);

    if (status == COMET_OK && place.table != NULL && !used->readonly) {
        status = acks_catch_up(&place, error);
        status = status == COMET_READONLY ? COMET_OK : status; /* who may write will do it */
    }
    if (status == COMET_OK) {
        status = acks_describe(used, &place, &info, error);
    }
    if (status == COMET_OK && info.lag > 0) {
        part *added = &cursor->parts[cursor->part_count++];

        memset(added, 0, sizeof *added);
        added->shard = place.group->shard;
        added->position = info.position;
        added->last_ack_ns = info.last_ack_ns;
    }
    return status;
}

static bool is_wanted(const consumer_cursor *cursor, const scan *asked, uint32_t id) {
    const consumer_table *table = table_of(cursor);
    int64_t wanted = -1;

    if (asked->arguments[CONSUMER_SHARD] != NULL &&
        (!value_integer(asked->arguments[CONSUMER_SHARD], &wanted) || wanted != (int64_t)id)) {
        return false;
    }
    return (!table->has_shard || table->self.shard == id) &&
           (int64_t)id % cursor->members == cursor->member;
}

static comet_status add_parts(consumer_cursor *cursor, const scan *asked, group_place *named,
                              const uint32_t *ids, size_t count, comet_error *error) {
    comet_status status = COMET_OK;

    cursor->parts = sqlite3_malloc64((count + 1) * sizeof *cursor->parts);
    if (cursor->parts == NULL) {
        return failure_no_memory(error);
    }
    for (size_t i = 0; status == COMET_OK && i < count; i++) {
        if (is_wanted(cursor, asked, ids[i])) {
            status = add_part(cursor, named, ids[i], error);
        }
    }
    return status;
}

static comet_status find_parts(consumer_cursor *cursor, const scan *asked, comet_error *error) {
    consumer_table *table = table_of(cursor);
    sqlite3_value *group = asked->arguments[CONSUMER_GROUP];
    group_place *named = NULL;
    open_log *log = NULL;
    uint32_t *ids = NULL;
    size_t count = 0;
    comet_status status;

    if (table->eponymous && group == NULL) {
        return failure_set(error, COMET_INVALID,
                           "comet_consumer needs a group: comet_consumer(log, group)");
    }
    if (table->eponymous) {
        status = group_place_find(table->connection, asked->arguments[CONSUMER_LOG], group, &named,
                                  error);
        status = status == COMET_OK ? group_place_shards(named, &ids, &count, error) : status;
    } else {
        status = consumer_table_claim(table, false, error);
        if (status == COMET_OK) {
            status = connection_log(table->connection, table->self.directory, false, &log, error);
        }
        status = status == COMET_OK ? comet_log_shards(log->log, &ids, &count, error) : status;
    }
    if (status == COMET_OK) {
        status = add_parts(cursor, asked, named, ids, count, error);
    }
    comet_free(ids);
    return status;
}

/* Whose last acknowledgement is oldest goes first; then the lower shard. */
static int compare_parts(const void *left, const void *right) {
    const part *a = left;
    const part *b = right;

    if (a->last_ack_ns != b->last_ack_ns) {
        return a->last_ack_ns < b->last_ack_ns ? -1 : 1;
    }
    return a->shard->id < b->shard->id ? -1 : a->shard->id > b->shard->id;
}

static void share_out(consumer_cursor *cursor, const scan *asked) {
    sqlite3_value *limit = asked->arguments[CONSUMER_LIMIT];
    int64_t rows = limit != NULL ? sqlite3_value_int64(limit) : -1;

    cursor->left = rows >= 0 ? (uint64_t)rows : UINT64_MAX;
    cursor->chunk = CHUNK_ENTRIES;
    if (asked->ordered || cursor->part_count <= 1) {
        cursor->chunk = UINT64_MAX;
    } else if (rows >= 0 && (uint64_t)rows < cursor->part_count) {
        qsort(cursor->parts, cursor->part_count, sizeof *cursor->parts, compare_parts);
        cursor->chunk = 1;
    } else if (rows >= 0) {
        cursor->chunk = ((uint64_t)rows + cursor->part_count - 1) / cursor->part_count;
    }
}

/* ---- Walking --------------------------------------------------------------------------------- */

/* Go to the first entry of a part that has not had its turn yet. */
static comet_status open_part(consumer_cursor *cursor, part *opened, comet_error *error) {
    comet_range range = cursor->range;
    comet_status status = comet_cursor_open(opened->shard->shard, &opened->cursor, error);

    if (range.offset_first < opened->position) {
        range.offset_first = opened->position;
    }
    return status == COMET_OK ? comet_cursor_seek(opened->cursor, NULL, &range, error) : status;
}

/* Give the next part its turn, beginning with `from`; COMET_DONE where all are done. */
static comet_status take_turn(consumer_cursor *cursor, size_t from, comet_error *error) {
    for (size_t i = 0; i < cursor->part_count; i++) {
        size_t at = (from + i) % cursor->part_count;
        part *next = &cursor->parts[at];
        comet_status status = COMET_OK;

        if (next->done) {
            continue;
        }
        status = next->cursor == NULL ? open_part(cursor, next, error)
                                      : comet_cursor_next(next->cursor, error);
        if (status == COMET_OK) {
            cursor->current = at;
            cursor->turn_left = cursor->chunk;
        }
        if (status != COMET_DONE) {
            return status;
        }
        next->done = true;
    }
    return COMET_DONE;
}

static int settle(consumer_cursor *cursor, comet_status status, const comet_error *error) {
    cursor->at_end = status != COMET_OK;
    if (status == COMET_OK || status == COMET_DONE) {
        return SQLITE_OK;
    }
    return report(&cursor->base.pVtab->zErrMsg, error);
}

static comet_status begin_scan(consumer_cursor *cursor, const scan *asked, comet_error *error) {
    comet_status status = read_members(cursor, asked, error);

    if (status == COMET_OK) {
        status = keep_value(asked->arguments[CONSUMER_LOG], &cursor->log, error);
    }
    if (status == COMET_OK) {
        status = keep_value(asked->arguments[CONSUMER_GROUP], &cursor->group, error);
    }
    if (status == COMET_OK) {
        status = find_parts(cursor, asked, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    share_out(cursor, asked);
    comet_range_init(&cursor->range);
    if (asked->offsets.empty || asked->times.empty || cursor->left == 0) {
        return COMET_DONE;
    }
    cursor->range.offset_first = (uint64_t)asked->offsets.first;
    cursor->range.offset_last = (uint64_t)asked->offsets.last;
    cursor->range.time_first = asked->times.first;
    cursor->range.time_last = asked->times.last;
    return take_turn(cursor, 0, error);
}

int consumer_cursor_filter(sqlite3_vtab_cursor *base, int number, const char *words, int count,
                           sqlite3_value **values) {
    consumer_cursor *cursor = (consumer_cursor *)base;
    comet_error error;
    scan asked;

    (void)words;
    (void)count;
    cursor_reset(cursor);
    read_plan((unsigned)number, values, &asked);
    return settle(cursor, begin_scan(cursor, &asked, &error), &error);
}

int consumer_cursor_next(sqlite3_vtab_cursor *base) {
    consumer_cursor *cursor = (consumer_cursor *)base;
    part *reading = &cursor->parts[cursor->current];
    comet_error error;
    comet_status status;

    cursor->row++;
    if (--cursor->left == 0) {
        cursor->at_end = true;
        return SQLITE_OK;
    }
    if (--cursor->turn_left == 0) {
        return settle(cursor, take_turn(cursor, cursor->current + 1, &error), &error);
    }
    status = comet_cursor_next(reading->cursor, &error);
    if (status == COMET_DONE) {
        reading->done = true;
        status = take_turn(cursor, cursor->current + 1, &error);
    }
    return settle(cursor, status, &error);
}

int consumer_cursor_eof(sqlite3_vtab_cursor *base) {
    return ((consumer_cursor *)base)->at_end;
}

int consumer_cursor_rowid(sqlite3_vtab_cursor *base, sqlite3_int64 *rowid) {
    *rowid = ((consumer_cursor *)base)->row + 1;
    return SQLITE_OK;
}

/* ---- Columns --------------------------------------------------------------------------------- */

static comet_status give_entry(consumer_cursor *cursor, const part *reading, bool data,
                               sqlite3_context *context, comet_error *error) {
    const void *bytes = NULL;
    int64_t timestamp = 0;
    size_t size = 0;
    comet_status status;

    if (!data) {
        status = comet_cursor_timestamp(reading->cursor, &timestamp, error);
        if (status == COMET_OK) {
            sqlite3_result_int64(context, timestamp);
        }
        return status;
    }
    status = comet_cursor_data(reading->cursor, &bytes, &size, error);
    if (status == COMET_OK) {
        result_entry(context, bytes, size, table_of(cursor)->type);
    }
    return status;
}

static void give_text(sqlite3_context *context, sqlite3_value *given, const char *own) {
    if (given != NULL) {
        sqlite3_result_value(context, given);
    } else if (own != NULL) {
        sqlite3_result_text(context, own, -1, SQLITE_TRANSIENT);
    }
}

static void give_id(sqlite3_context *context, const part *reading) {
    char text[48];

    sqlite3_snprintf((int)sizeof text, text, "%u-%llu", reading->shard->id,
                     (unsigned long long)comet_cursor_offset(reading->cursor));
    sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

int consumer_cursor_column(sqlite3_vtab_cursor *base, sqlite3_context *context, int column) {
    consumer_cursor *cursor = (consumer_cursor *)base;
    const consumer_table *table = table_of(cursor);
    const part *reading = &cursor->parts[cursor->current];
    comet_status status = COMET_OK;
    comet_error error;

    switch ((consumer_column)column) {
    case CONSUMER_COLUMN_SHARD:
        sqlite3_result_int64(context, (sqlite3_int64)reading->shard->id);
        break;
    case CONSUMER_COLUMN_OFFSET:
        sqlite3_result_int64(context, (sqlite3_int64)comet_cursor_offset(reading->cursor));
        break;
    case CONSUMER_COLUMN_TIMESTAMP:
    case CONSUMER_COLUMN_DATA:
        status = give_entry(cursor, reading, column == CONSUMER_COLUMN_DATA, context, &error);
        break;
    case CONSUMER_COLUMN_LOG:
        give_text(context, cursor->log, table->self.directory);
        break;
    case CONSUMER_COLUMN_GROUP:
        give_text(context, cursor->group, table->group);
        break;
    case CONSUMER_COLUMN_MEMBER:
        sqlite3_result_int64(context, cursor->member);
        break;
    case CONSUMER_COLUMN_MEMBERS:
        sqlite3_result_int64(context, cursor->members);
        break;
    case CONSUMER_COLUMN_ID:
        give_id(context, reading);
        break;
    }
    return status == COMET_OK ? SQLITE_OK : report(&base->pVtab->zErrMsg, &error);
}
