/* scan.c -- see scan.h. */
#include "scan.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWID_OFFSET_BITS 40
#define ROWID_OFFSET_END (INT64_C(1) << ROWID_OFFSET_BITS)
#define ROWID_SHARD_END (INT64_C(1) << (63 - ROWID_OFFSET_BITS))

/* Longer than "4294967295-9223372036854775807". */
#define ID_BYTES_MAX 40

int64_t scan_rowid(uint32_t shard, uint64_t offset) {
    if (shard < ROWID_SHARD_END && offset < (uint64_t)ROWID_OFFSET_END) {
        return (int64_t)shard * ROWID_OFFSET_END + (int64_t)offset;
    }
    return -1 - (int64_t)((offset ^ (uint64_t)shard << 31) & INT64_MAX);
}

static void keep_only(interval *range, int64_t value) {
    range->empty = range->empty || value < range->first || value > range->last;
    range->first = range->last = value;
}

/* A rowid that several rows may have narrows nothing; SQLite compares in any case. */
static void narrow_by_rowid(scan *asked, sqlite3_value *value) {
    interval rowids = {INT64_MIN, INT64_MAX, false};

    interval_narrow(&rowids, PLAN_EQ, value);
    if (rowids.empty) {
        asked->shards.empty = true;
    } else if (rowids.first >= 0) {
        keep_only(&asked->shards, rowids.first / ROWID_OFFSET_END);
        keep_only(&asked->offsets, rowids.first % ROWID_OFFSET_END);
    }
}

/* Only as we write it: '7-1234'. */
static void narrow_by_id(scan *asked, sqlite3_value *value) {
    const char *text = NULL;
    char again[ID_BYTES_MAX];
    unsigned long long shard;
    unsigned long long offset = 0;
    char *end = NULL;

    if (sqlite3_value_type(value) == SQLITE_TEXT && sqlite3_value_bytes(value) < ID_BYTES_MAX) {
        text = (const char *)sqlite3_value_text(value);
    }
    if (text == NULL) {
        asked->shards.empty = true;
        return;
    }
    shard = strtoull(text, &end, 10);
    if (*end == '-') {
        offset = strtoull(end + 1, NULL, 10);
    }
    snprintf(again, sizeof again, "%llu-%llu", shard, offset);
    if (shard > COMET_SHARD_ID_MAX || offset > COMET_OFFSET_MAX || strcmp(again, text) != 0) {
        asked->shards.empty = true;
        return;
    }
    keep_only(&asked->shards, (int64_t)shard);
    keep_only(&asked->offsets, (int64_t)offset);
}

/* SQLite has made integers of LIMIT and OFFSET already.  A negative LIMIT means none. */
static void read_window(scan *asked, plan_operator what, sqlite3_value *value) {
    int64_t number = sqlite3_value_int64(value);

    if (what == PLAN_LIMIT) {
        asked->limit = number >= 0 ? (uint64_t)number : UINT64_MAX;
    } else {
        asked->skip = number > 0 ? (uint64_t)number : 0;
    }
}

static void read_shard(scan *asked, plan_operator comparison, sqlite3_value *value) {
    if ((asked->flags & PLAN_MANY_SHARDS) == 0) {
        asked->shard = value;
    } else if (comparison == PLAN_EQ && (asked->flags & PLAN_SHARD_LIST) != 0) {
        asked->shard_list = value;
    } else {
        interval_narrow(&asked->shards, comparison, value);
    }
}

void scan_read(unsigned flags, sqlite3_value **values, scan *asked) {
    memset(asked, 0, sizeof *asked);
    asked->flags = flags;
    asked->offsets = (interval){0, COMET_OFFSET_MAX, false};
    asked->times = (interval){INT64_MIN, INT64_MAX, false};
    asked->shards = (interval){0, COMET_SHARD_ID_MAX, false};
    asked->limit = UINT64_MAX;
    for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
        if ((flags & (1u << slot)) == 0) {
            continue;
        }

        sqlite3_value *value = *values++;

        switch (plan_slot_column(slot)) {
        case PLAN_OFFSET:
            interval_narrow(&asked->offsets, plan_slot_operator(slot), value);
            break;
        case PLAN_TIMESTAMP:
            interval_narrow(&asked->times, plan_slot_operator(slot), value);
            break;
        case PLAN_LOG:
            asked->log = value;
            break;
        case PLAN_SHARD:
            read_shard(asked, plan_slot_operator(slot), value);
            break;
        case PLAN_STREAM:
            asked->stream = value;
            break;
        case PLAN_ID:
            narrow_by_id(asked, value);
            break;
        case PLAN_ROWID:
            narrow_by_rowid(asked, value);
            break;
        default:
            read_window(asked, plan_slot_operator(slot), value);
            break;
        }
    }
}

bool scan_is_empty(const scan *asked) {
    return asked->offsets.empty || asked->times.empty || asked->shards.empty || asked->limit == 0;
}

void scan_range(const scan *asked, comet_range *range) {
    comet_range_init(range);
    range->offset_first = (uint64_t)asked->offsets.first;
    range->offset_last = (uint64_t)asked->offsets.last;
    range->time_first = asked->times.first;
    range->time_last = asked->times.last;
    range->by_time = (asked->flags & PLAN_BY_TIME) != 0;
    range->descending = (asked->flags & PLAN_DESCENDING) != 0;
}
