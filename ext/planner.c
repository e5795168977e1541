/* planner.c -- see planner.h. */
#include "planner.h"

#include <assert.h>
#include <string.h>

/* A bound that is not known yet keeps one row in so many; an equal timestamp is rarer. */
#define UNKNOWN_BOUND_DIVISOR 4
#define UNKNOWN_MOMENT_DIVISOR 1000

/* What finding the first row costs, in rows walked; and how many times dearer a row is when blocks
** that overlap in time must be merged. */
#define SEEK_COST 10.0
#define MERGE_FACTOR 3.0

static const struct {
    plan_column column;
    plan_operator comparison;
    const char *words;
} slots[PLAN_SLOT_COUNT] = {
    {PLAN_LOG, PLAN_EQ, "log=?"},
    {PLAN_SHARD, PLAN_EQ, "shard=?"},
    {PLAN_OFFSET, PLAN_EQ, "offset=?"},
    {PLAN_OFFSET, PLAN_GT, "offset>?"},
    {PLAN_OFFSET, PLAN_GE, "offset>=?"},
    {PLAN_OFFSET, PLAN_LT, "offset<?"},
    {PLAN_OFFSET, PLAN_LE, "offset<=?"},
    {PLAN_TIMESTAMP, PLAN_EQ, "timestamp=?"},
    {PLAN_TIMESTAMP, PLAN_GT, "timestamp>?"},
    {PLAN_TIMESTAMP, PLAN_GE, "timestamp>=?"},
    {PLAN_TIMESTAMP, PLAN_LT, "timestamp<?"},
    {PLAN_TIMESTAMP, PLAN_LE, "timestamp<=?"},
    {PLAN_NO_COLUMN, PLAN_LIMIT, "LIMIT ?"},
    {PLAN_NO_COLUMN, PLAN_SKIP, "OFFSET ?"},
    {PLAN_SHARD, PLAN_GT, "shard>?"},
    {PLAN_SHARD, PLAN_GE, "shard>=?"},
    {PLAN_SHARD, PLAN_LT, "shard<?"},
    {PLAN_SHARD, PLAN_LE, "shard<=?"},
    {PLAN_STREAM, PLAN_EQ, "stream=?"},
    {PLAN_ID, PLAN_EQ, "id=?"},
    {PLAN_ROWID, PLAN_EQ, "rowid=?"},
};

plan_column plan_slot_column(int slot) {
    assert(slot >= 0 && slot < PLAN_SLOT_COUNT);
    return slots[slot].column;
}

plan_operator plan_slot_operator(int slot) {
    assert(slot >= 0 && slot < PLAN_SLOT_COUNT);
    return slots[slot].comparison;
}

static int slot_of(const plan_constraint *constraint) {
    for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
        if (slots[slot].column == constraint->column &&
            slots[slot].comparison == constraint->comparison) {
            return slot;
        }
    }
    return -1;
}

static bool is_argument(const plan_request *request, const plan_constraint *constraint) {
    return constraint->column == PLAN_LOG || constraint->column == PLAN_STREAM ||
           (constraint->column == PLAN_SHARD && !request->many_shards &&
            constraint->comparison == PLAN_EQ);
}

static bool is_window(const plan_constraint *constraint) {
    return constraint->column == PLAN_NO_COLUMN;
}

/* SQLite hands (a, b) > (1, 2) over as a >= 1, checks the rest itself, and does not tell. */
static bool may_be_row_value(const plan_constraint *constraint) {
    return !constraint->literal &&
           (constraint->comparison == PLAN_GE || constraint->comparison == PLAN_LE);
}

static void take(plan *made, int slot, int constraint) {
    made->flags |= 1u << slot;
    made->source[slot] = constraint;
}

/* The slot that could take a constraint, or -1. */
static int slot_for(const plan_request *request, const plan_constraint *constraint) {
    if (is_argument(request, constraint) && !request->table_valued) {
        return -1; /* a created table has its log: SQLite compares with the columns */
    }
    if (constraint->column == PLAN_SHARD && constraint->comparison != PLAN_EQ &&
        !request->many_shards) {
        return -1;
    }
    return slot_of(constraint);
}

/* Take every constraint that has a free slot.  *exact: what is taken is all that restricts the
** rows, so that counting rows here is counting rows of the result. */
static bool take_bounds(const plan_request *request, plan *made, bool *exact) {
    *exact = true;
    for (int i = 0; i < request->constraint_count; i++) {
        const plan_constraint *constraint = &request->constraints[i];
        int slot = slot_for(request, constraint);

        if (is_window(constraint)) {
            continue;
        }
        if (slot < 0 || !constraint->usable || made->source[slot] >= 0) {
            if (slot >= 0 && is_argument(request, constraint) && !constraint->usable) {
                return false;
            }
            *exact = false;
            continue;
        }
        take(made, slot, i);
        /* Rows of far shards share rowids: SQLite looks again. */
        *exact = *exact && !may_be_row_value(constraint) && constraint->column != PLAN_ROWID;
    }
    return true;
}

/* The next term of ORDER BY, or NULL; terms on a shard that is only one say nothing. */
static const plan_order *next_order(const plan_request *request, bool one_shard, int *at) {
    while (*at < request->order_count) {
        const plan_order *order = &request->orders[(*at)++];

        if (!one_shard || order->column != PLAN_SHARD) {
            return order;
        }
    }
    return NULL;
}

/* From `order` on: nothing, or offset in the direction of timestamp, and whatever follows that. */
static bool ends_in_time(const plan_order *order, bool descending) {
    return order == NULL || (order->column == PLAN_OFFSET && order->descending == descending);
}

/* An ORDER BY is ours when its first term is offset, which is unique in a shard, whatever follows;
** or timestamp, alone or before offset in the same direction, whatever follows then.  Over many
** shards, equal timestamps come by shard first; or shard leads, and one of those follows. */
static bool take_order(const plan_request *request, plan *made) {
    bool one_shard = !request->many_shards || (made->flags & PLAN_ID_EQ) != 0 ||
                     ((made->flags & PLAN_SHARD_EQ) != 0 && (made->flags & PLAN_SHARD_LIST) == 0);
    int at = 0;
    const plan_order *order = next_order(request, one_shard, &at);
    unsigned flags = PLAN_ORDERED;
    bool descending;

    if (request->order_count == 0) {
        return true;
    }
    if (order != NULL && order->column == PLAN_SHARD) {
        flags |= PLAN_BY_SHARD | (order->descending ? PLAN_SHARDS_DESCENDING : 0);
        order = next_order(request, one_shard, &at);
        one_shard = true;
    }
    if (order == NULL) {
        made->flags |= flags;
        return true;
    }
    descending = order->descending;
    if (order->column == PLAN_TIMESTAMP) {
        flags |= PLAN_BY_TIME;
        order = next_order(request, one_shard, &at);
        if (!one_shard && order != NULL) {
            if (order->column != PLAN_SHARD || order->descending != descending) {
                return false;
            }
            order = next_order(request, one_shard, &at);
        }
        if (!ends_in_time(order, descending)) {
            return false;
        }
    } else if (order->column != PLAN_OFFSET || !one_shard) {
        return false;
    }
    made->flags |= flags | (descending ? PLAN_DESCENDING : 0);
    return true;
}

/* LIMIT and OFFSET go together: a LIMIT counts the rows after those that OFFSET skips. */
static void take_window(const plan_request *request, plan *made) {
    int limit = -1;
    int skip = -1;

    for (int i = 0; i < request->constraint_count; i++) {
        const plan_constraint *constraint = &request->constraints[i];

        if (!is_window(constraint)) {
            continue;
        }
        if (!constraint->usable) {
            return;
        }
        *(constraint->comparison == PLAN_LIMIT ? &limit : &skip) = i;
    }
    if (skip >= 0 && !request->may_skip) {
        return;
    }
    if (limit >= 0) {
        take(made, slot_of(&request->constraints[limit]), limit);
    }
    if (skip >= 0) {
        take(made, slot_of(&request->constraints[skip]), skip);
    }
}

bool plan_make(const plan_request *request, plan *made) {
    bool exact;

    made->flags = request->many_shards ? PLAN_MANY_SHARDS : 0;
    for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
        made->source[slot] = -1;
    }
    if (!take_bounds(request, made, &exact)) {
        return false;
    }
    if (request->shard_list && (made->flags & PLAN_SHARD_EQ) != 0) {
        made->flags |= PLAN_SHARD_LIST;
    }
    if (take_order(request, made) && exact) {
        take_window(request, made);
    }
    return true;
}

static bool takes(const plan *made, plan_column column, bool equality) {
    for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
        if (slots[slot].column == column && (made->flags & (1u << slot)) != 0 &&
            (slots[slot].comparison == PLAN_EQ) == equality) {
            return true;
        }
    }
    return false;
}

static bool is_unique(unsigned flags) {
    if ((flags & PLAN_MANY_SHARDS) == 0) {
        return (flags & PLAN_OFFSET_EQ) != 0;
    }
    return (flags & PLAN_ID_EQ) != 0 ||
           ((flags & PLAN_OFFSET_EQ) != 0 && (flags & PLAN_SHARD_EQ) != 0 &&
            (flags & PLAN_SHARD_LIST) == 0);
}

void plan_estimate(const plan *made, const plan_facts *facts, plan_price *price) {
    uint64_t rows = facts->rows_within;

    if (facts->bounds_unknown[0] && takes(made, PLAN_OFFSET, false)) {
        rows /= UNKNOWN_BOUND_DIVISOR;
    }
    if (facts->bounds_unknown[1] && takes(made, PLAN_TIMESTAMP, true)) {
        rows /= UNKNOWN_MOMENT_DIVISOR;
    } else if (facts->bounds_unknown[1] && takes(made, PLAN_TIMESTAMP, false)) {
        rows /= UNKNOWN_BOUND_DIVISOR;
    }
    price->unique = is_unique(made->flags);
    if (rows == 0 || price->unique || (made->flags & PLAN_ROWID_EQ) != 0) {
        rows = 1;
    }
    price->rows = rows > INT64_MAX ? INT64_MAX : (int64_t)rows;
    price->cost = (double)rows;
    if ((made->flags & PLAN_BY_TIME) != 0 && !facts->in_order) {
        price->cost *= MERGE_FACTOR;
    }
    price->cost += SEEK_COST;
}

/* Append `text` as far as there is room. */
static void say(char *words, size_t size, const char *text) {
    size_t used = strlen(words);
    size_t length = strlen(text);

    assert(used < size);
    if (length > size - used - 1) {
        length = size - used - 1;
    }
    memcpy(words + used, text, length);
    words[used + length] = '\0';
}

void plan_words(unsigned flags, char *words, size_t size) {
    assert(size > 0);
    words[0] = '\0';
    for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
        if ((flags & (1u << slot)) == 0 || slots[slot].column == PLAN_NO_COLUMN) {
            continue;
        }
        say(words, size, words[0] != '\0' ? " AND " : "");
        say(words, size, slots[slot].words);
    }
    if (words[0] == '\0') {
        say(words, size, "all entries");
    }
    if ((flags & PLAN_ORDERED) != 0) {
        say(words, size, " ORDER BY ");
        if ((flags & PLAN_BY_SHARD) != 0) {
            say(words, size, "shard");
            say(words, size, (flags & PLAN_SHARDS_DESCENDING) != 0 ? " DESC, " : ", ");
        }
        say(words, size, (flags & PLAN_BY_TIME) != 0 ? "timestamp" : "offset");
        say(words, size, (flags & PLAN_DESCENDING) != 0 ? " DESC" : "");
    }
    if ((flags & PLAN_HAS_LIMIT) != 0) {
        say(words, size, " LIMIT ?");
    }
    if ((flags & PLAN_HAS_SKIP) != 0) {
        say(words, size, " OFFSET ?");
    }
}
