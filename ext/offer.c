/* offer.c -- see offer.h. */
#include "offer.h"

#define SHARD_EQ_SLOT 1

static plan_operator operator_of(int op) {
    switch (op) {
    case SQLITE_INDEX_CONSTRAINT_EQ:
    case SQLITE_INDEX_CONSTRAINT_IS: /* the same, as none of our columns is ever NULL */
        return PLAN_EQ;
    case SQLITE_INDEX_CONSTRAINT_GT:
        return PLAN_GT;
    case SQLITE_INDEX_CONSTRAINT_GE:
        return PLAN_GE;
    case SQLITE_INDEX_CONSTRAINT_LT:
        return PLAN_LT;
    case SQLITE_INDEX_CONSTRAINT_LE:
        return PLAN_LE;
    case SQLITE_INDEX_CONSTRAINT_LIMIT:
        return PLAN_LIMIT;
    case SQLITE_INDEX_CONSTRAINT_OFFSET:
        return PLAN_SKIP;
    default:
        return PLAN_OTHER_OPERATOR;
    }
}

static plan_constraint constraint_of(const offer *offered, int index) {
    const struct sqlite3_index_constraint *given = &offered->info->aConstraint[index];
    sqlite3_value *value = NULL;
    plan_constraint constraint;

    constraint.comparison = operator_of(given->op);
    constraint.column = constraint.comparison == PLAN_LIMIT || constraint.comparison == PLAN_SKIP
                            ? PLAN_NO_COLUMN
                            : offered->column_of(given->iColumn);
    constraint.usable = given->usable != 0;
    constraint.literal = sqlite3_vtab_rhs_value(offered->info, index, &value) == SQLITE_OK;
    return constraint;
}

/* Whether the shard= that the planner will take, the first, is an IN that comes all at once. */
static bool is_shard_list(const offer *offered, const plan_constraint *constraints) {
    for (int i = 0; offered->many_shards && i < offered->info->nConstraint; i++) {
        if (constraints[i].column == PLAN_SHARD && constraints[i].comparison == PLAN_EQ &&
            constraints[i].usable) {
            return sqlite3_vtab_in(offered->info, i, -1) != 0;
        }
    }
    return false;
}

/* Narrow the bounds by a taken constraint as far as its right side is known already. */
static void narrow_by_literal(offer *offered, int slot) {
    plan_column column = plan_slot_column(slot);
    interval *bounds = column == PLAN_OFFSET      ? &offered->offsets
                       : column == PLAN_TIMESTAMP ? &offered->times
                       : column == PLAN_SHARD     ? &offered->shards
                                                  : NULL;
    sqlite3_value *value = NULL;

    if (offered->made.source[slot] < 0 || bounds == NULL) {
        return;
    }
    if (sqlite3_vtab_rhs_value(offered->info, offered->made.source[slot], &value) == SQLITE_OK) {
        interval_narrow(bounds, plan_slot_operator(slot), value);
    } else if (column != PLAN_SHARD) {
        offered->bounds_unknown[column == PLAN_TIMESTAMP ? 1 : 0] = true;
    }
}

int offer_plan(offer *offered) {
    sqlite3_index_info *info = offered->info;
    size_t constraint_count = (size_t)info->nConstraint;
    size_t order_count = (size_t)info->nOrderBy;
    plan_constraint *constraints = sqlite3_malloc64((constraint_count + 1) * sizeof *constraints);
    plan_order *orders = sqlite3_malloc64((order_count + 1) * sizeof *orders);
    int rc = SQLITE_NOMEM;

    offered->offsets = (interval){0, COMET_OFFSET_MAX, false};
    offered->times = (interval){INT64_MIN, INT64_MAX, false};
    offered->shards = (interval){0, COMET_SHARD_ID_MAX, false};
    offered->bounds_unknown[0] = offered->bounds_unknown[1] = false;
    if (constraints != NULL && orders != NULL) {
        for (int i = 0; i < info->nConstraint; i++) {
            constraints[i] = constraint_of(offered, i);
        }
        for (int i = 0; i < info->nOrderBy; i++) {
            orders[i].column = offered->column_of(info->aOrderBy[i].iColumn);
            orders[i].descending = info->aOrderBy[i].desc != 0;
        }

        plan_request request = {constraints,
                                info->nConstraint,
                                orders,
                                info->nOrderBy,
                                offered->table_valued,
                                sqlite3_libversion_number() >= SQLITE_VERSION_SAFE_SKIP,
                                offered->many_shards,
                                is_shard_list(offered, constraints)};

        rc = plan_make(&request, &offered->made) ? SQLITE_OK : SQLITE_CONSTRAINT;
    }
    for (int slot = 0; rc == SQLITE_OK && slot < PLAN_SLOT_COUNT; slot++) {
        narrow_by_literal(offered, slot);
    }
    sqlite3_free(orders);
    sqlite3_free(constraints);
    return rc;
}

int offer_answer(offer *offered, const plan_facts *facts) {
    sqlite3_index_info *info = offered->info;
    const plan *made = &offered->made;
    char words[PLAN_WORDS_BYTES];
    plan_price price;
    int argument = 0;

    for (int slot = 0; slot < PLAN_SLOT_COUNT; slot++) {
        if (made->source[slot] >= 0) {
            info->aConstraintUsage[made->source[slot]].argvIndex = ++argument;
            info->aConstraintUsage[made->source[slot]].omit = plan_slot_column(slot) != PLAN_ROWID;
        }
    }
    if ((made->flags & PLAN_SHARD_LIST) != 0) {
        sqlite3_vtab_in(info, made->source[SHARD_EQ_SLOT], 1);
    }
    plan_estimate(made, facts, &price);
    plan_words(made->flags, words, sizeof words);
    info->idxNum = (int)made->flags;
    info->idxStr = sqlite3_mprintf("%s", words);
    info->needToFreeIdxStr = 1;
    info->orderByConsumed = (made->flags & PLAN_ORDERED) != 0;
    info->estimatedCost = price.cost;
    info->estimatedRows = price.rows;
    info->idxFlags = price.unique ? SQLITE_INDEX_SCAN_UNIQUE : 0;
    return info->idxStr != NULL ? SQLITE_OK : SQLITE_NOMEM;
}
