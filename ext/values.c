/* values.c -- see values.h. */
#include "values.h"

#include <string.h>

#include "report.h"
#include "utf8.h"

/* 2^63: the least double that no int64_t reaches. */
#define TWO_POW_63 9223372036854775808.0

static int64_t at_most(double real) {
    int64_t whole = (int64_t)real; /* rounds toward zero */

    return (double)whole > real ? whole - 1 : whole;
}

bool value_integer(sqlite3_value *value, int64_t *integer) {
    switch (sqlite3_value_numeric_type(value)) {
    case SQLITE_INTEGER:
        *integer = sqlite3_value_int64(value);
        return true;
    case SQLITE_FLOAT: {
        double real = sqlite3_value_double(value);

        if (!(real >= -TWO_POW_63 && real < TWO_POW_63) || (double)(int64_t)real != real) {
            return false;
        }
        *integer = (int64_t)real;
        return true;
    }
    default:
        return false;
    }
}

comet_status value_shard(sqlite3_value *value, uint32_t *shard, comet_error *error) {
    int64_t number = -1;

    if (!value_integer(value, &number) || number < 0 || number > (int64_t)COMET_SHARD_ID_MAX) {
        const char *text = (const char *)sqlite3_value_text(value);

        return failure_set(error, COMET_INVALID,
                           "shard %s is out of range: a shard is an integer from 0 to %lld",
                           text != NULL ? text : "NULL", (long long)COMET_SHARD_ID_MAX);
    }
    *shard = (uint32_t)number;
    return COMET_OK;
}

comet_status value_text(sqlite3_value *value, const char *what, const char **text,
                        comet_error *error) {
    const char *bytes;

    if (sqlite3_value_type(value) == SQLITE_NULL) {
        *text = NULL;
        return COMET_OK;
    }
    bytes = (const char *)sqlite3_value_text(value);
    if (bytes == NULL) {
        return failure_no_memory(error);
    }
    if (strlen(bytes) != (size_t)sqlite3_value_bytes(value)) {
        return failure_set(error, COMET_INVALID, "%s holds a NUL character: leave it out", what);
    }
    *text = bytes;
    return COMET_OK;
}

const void *value_entry(sqlite3_value *value, bool utf8, size_t *size) {
    const void *data;

    switch (sqlite3_value_type(value)) {
    case SQLITE_BLOB:
        data = sqlite3_value_blob(value);
        break;
    case SQLITE_TEXT:
        /* A bound text need not be terminated, and sqlite3_value_text() would copy it for that. */
        data = utf8 ? sqlite3_value_blob(value) : sqlite3_value_text(value);
        break;
    default:
        data = sqlite3_value_text(value);
        break;
    }
    *size = (size_t)sqlite3_value_bytes(value);
    return data;
}

static void keep_from(interval *range, int64_t first) {
    if (first > range->first) {
        range->first = first;
    }
}

static void keep_to(interval *range, int64_t last) {
    if (last < range->last) {
        range->last = last;
    }
}

static void narrow_by_integer(interval *range, plan_operator comparison, int64_t bound) {
    switch (comparison) {
    case PLAN_EQ:
        keep_from(range, bound);
        keep_to(range, bound);
        break;
    case PLAN_GT:
        if (bound == INT64_MAX) {
            range->empty = true;
        } else {
            keep_from(range, bound + 1);
        }
        break;
    case PLAN_GE:
        keep_from(range, bound);
        break;
    case PLAN_LT:
        if (bound == INT64_MIN) {
            range->empty = true;
        } else {
            keep_to(range, bound - 1);
        }
        break;
    case PLAN_LE:
        keep_to(range, bound);
        break;
    default:
        break;
    }
}

/* As if by a value that is above (or below) every integer. */
static void narrow_by_extreme(interval *range, plan_operator comparison, bool above) {
    bool all = above ? comparison == PLAN_LT || comparison == PLAN_LE
                     : comparison == PLAN_GT || comparison == PLAN_GE;

    if (!all) {
        range->empty = true;
    }
}

static void narrow_by_real(interval *range, plan_operator comparison, double bound) {
    if (bound >= TWO_POW_63 || bound < -TWO_POW_63) {
        narrow_by_extreme(range, comparison, bound > 0);
        return;
    }

    int64_t below = at_most(bound);

    if ((double)below == bound) {
        narrow_by_integer(range, comparison, below);
    } else if (comparison == PLAN_EQ) {
        range->empty = true;
    } else if (comparison == PLAN_GT || comparison == PLAN_GE) {
        narrow_by_integer(range, PLAN_GT, below);
    } else {
        narrow_by_integer(range, PLAN_LE, below);
    }
}

void interval_narrow(interval *range, plan_operator comparison, sqlite3_value *value) {
    switch (sqlite3_value_numeric_type(value)) {
    case SQLITE_NULL:
        range->empty = true;
        break;
    case SQLITE_INTEGER:
        narrow_by_integer(range, comparison, sqlite3_value_int64(value));
        break;
    case SQLITE_FLOAT:
        narrow_by_real(range, comparison, sqlite3_value_double(value));
        break;
    default:
        narrow_by_extreme(range, comparison, true);
        break;
    }
    if (range->first > range->last) {
        range->empty = true;
    }
}

void result_entry(sqlite3_context *context, const void *data, size_t size, entry_type type) {
    bool text = type == ENTRY_TEXT || (type == ENTRY_AUTO && utf8_is_text(data, size));

    if (text) {
        sqlite3_result_text64(context, data, size, SQLITE_TRANSIENT, SQLITE_UTF8);
    } else {
        sqlite3_result_blob64(context, data, size, SQLITE_TRANSIENT);
    }
}
