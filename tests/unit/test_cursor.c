/* test_cursor.c -- without it a query by time or offset might miss, repeat or disorder rows, and a
** reader might see a transaction half done or rows that were rolled back. */
#include "support.h"

#include <stdlib.h>

typedef struct fixture {
    char directory[PATH_ROOM];
    comet_log *log;
    comet_shard *shard;
    comet_cursor *cursor;
    model m;
    uint64_t random;
} fixture;

static void fixture_open(fixture *f, const char *settings) {
    directory_make(f->directory);
    f->log = log_make(f->directory, COMET_OPEN_CREATE, settings);
    OK(comet_shard_open(f->log, 0, true, &f->shard, &error));
    OK(comet_cursor_open(f->shard, &f->cursor, &error));
}

static void fixture_close(fixture *f) {
    comet_cursor_close(f->cursor);
    comet_shard_close(f->shard);
    comet_log_close(f->log);
    directory_remove(f->directory);
    model_free(&f->m);
}

enum { IN_ORDER, NEARLY, RANDOM, TIES, ORDERS };

static int64_t next_time(fixture *f, int order) {
    int64_t base = 1000 + (int64_t)f->m.count * 10;

    switch (order) {
    case IN_ORDER:
        return base + (int64_t)random_below(&f->random, 10);
    case NEARLY:
        return base - (int64_t)random_below(&f->random, 300);
    case RANDOM:
        return (int64_t)random_below(&f->random, 20000);
    default:
        return (int64_t)(f->m.count / 37);
    }
}

static void fill(fixture *f, comet_txn *txn, int order, size_t count) {
    for (size_t i = 0; i < count; i++) {
        append_both(txn, &f->m, next_time(f, order), random_below(&f->random, 40), i);
    }
}

static void fill_and_commit(fixture *f, int order, size_t count) {
    comet_txn *txn;

    OK(comet_txn_begin(f->shard, &txn, &error));
    fill(f, txn, order, count);
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
}

/* ---- The naive way ---- */

static const model *sorted_model;
static bool sorted_descending;

static int compare(const void *left, const void *right) {
    size_t a = *(const size_t *)left;
    size_t b = *(const size_t *)right;
    int64_t at = sorted_model->entries[a].timestamp;
    int64_t bt = sorted_model->entries[b].timestamp;
    int order = at != bt ? (at < bt ? -1 : 1) : (a < b ? -1 : 1);

    return sorted_descending ? -order : order;
}

static size_t naive(const model *m, const comet_range *range, size_t *rows) {
    size_t count = 0;

    for (size_t i = 0; i < m->count; i++) {
        size_t at = range->descending ? m->count - 1 - i : i;
        int64_t time = m->entries[at].timestamp;
        if (at >= range->offset_first && at <= range->offset_last && time >= range->time_first &&
            time <= range->time_last) {
            rows[count++] = at;
        }
    }
    if (range->by_time) {
        sorted_model = m;
        sorted_descending = range->descending;
        qsort(rows, count, sizeof *rows, compare);
    }
    return count;
}

static int64_t some_time(fixture *f) {
    return f->m.entries[random_below(&f->random, f->m.count)].timestamp +
           (int64_t)random_below(&f->random, 3) - 1;
}

static void some_range(fixture *f, comet_range *range) {
    comet_range_init(range);
    range->by_time = random_below(&f->random, 2) == 0;
    range->descending = random_below(&f->random, 2) == 0;
    if (random_below(&f->random, 3) == 0) {
        range->offset_first = random_below(&f->random, f->m.count + 2);
    }
    if (random_below(&f->random, 3) == 0) {
        range->offset_last = range->offset_first + random_below(&f->random, f->m.count);
    }
    if (random_below(&f->random, 2) == 0) {
        range->time_first = some_time(f);
    }
    if (random_below(&f->random, 2) == 0) {
        range->time_last = random_below(&f->random, 3) != 0 && range->time_first > 0
                               ? range->time_first + (int64_t)random_below(&f->random, 500)
                               : some_time(f);
    }
}

static void check_range(fixture *f, comet_txn *txn, const comet_range *range, bool skip) {
    size_t *rows = malloc((f->m.count + 1) * sizeof *rows);
    size_t count = naive(&f->m, range, rows);
    size_t at = 0;
    comet_status status = comet_cursor_seek(f->cursor, txn, range, &error);

    while (status == COMET_OK) {
        uint64_t step = skip ? random_below(&f->random, 50) : 1;
        int64_t time;
        if (at >= count || comet_cursor_offset(f->cursor) != rows[at]) {
            fail_msg("row %zu of %zu: offset %llu, not %zu (by_time %d, descending %d)", at, count,
                     (unsigned long long)comet_cursor_offset(f->cursor),
                     at < count ? rows[at] : SIZE_MAX, range->by_time, range->descending);
        }
        if (random_below(&f->random, 4) == 0) {
            OK(comet_cursor_timestamp(f->cursor, &time, &error));
            assert_int_equal(time, f->m.entries[rows[at]].timestamp);
        }
        if (random_below(&f->random, 8) == 0) {
            const void *data;
            size_t size;
            OK(comet_cursor_data(f->cursor, &data, &size, &error));
            assert_true(content_is(data, size, &f->m.entries[rows[at]]));
        }
        status = skip ? comet_cursor_skip(f->cursor, step, &error)
                      : comet_cursor_next(f->cursor, &error);
        at += step;
    }
    STATUS(status, COMET_DONE);
    assert_true(skip ? at >= count : at == count);
    STATUS(comet_cursor_next(f->cursor, &error), COMET_DONE);
    free(rows);
}

static void check_ranges(fixture *f, comet_txn *txn, unsigned times) {
    for (unsigned i = 0; i < times; i++) {
        comet_range range;
        some_range(f, &range);
        check_range(f, txn, &range, i % 3 == 0);
    }
}

static void random_ranges(void **state) {
    static const char *const settings[] = {
        "boundary_interval=1 max_file_size=8KiB",
        "boundary_interval=3 max_file_size=16KiB",
        "boundary_interval=100",
    };
    uint64_t seed = random_seed("ranges");
    (void)state;

    for (int order = 0; order < ORDERS; order++) {
        for (size_t i = 0; i < 3; i++) {
            fixture f = {.random = seed + i + 3 * (uint64_t)order};
            comet_txn *txn;
            fixture_open(&f, settings[i]);
            fill_and_commit(&f, order, 700);
            fill_and_commit(&f, order, 1);
            check_ranges(&f, NULL, 60);
            fill_and_commit(&f, order, 130);
            check_ranges(&f, NULL, 60);
            OK(comet_txn_begin(f.shard, &txn, &error));
            fill(&f, txn, order, 250);
            check_ranges(&f, txn, 40);
            fill(&f, txn, (order + 1) % ORDERS, 13);
            check_ranges(&f, txn, 40);
            OK(comet_txn_prepare(txn, &error));
            comet_txn_publish(txn);
            check_ranges(&f, NULL, 40);
            fixture_close(&f);
        }
    }
}

/* In order to begin with, then not: both ways of searching are right after each other. */
static void order_is_lost_midway(void **state) {
    fixture f = {.random = random_seed("order")};
    (void)state;

    fixture_open(&f, "boundary_interval=3 max_file_size=8KiB");
    for (int i = 0; i < 30; i++) {
        fill_and_commit(&f, i < 15 ? IN_ORDER : i % 2 == 0 ? NEARLY : RANDOM, 20);
        check_ranges(&f, NULL, 15);
    }
    fixture_close(&f);
}

static void snapshot_stays(void **state) {
    fixture f = {.random = 1};
    comet_range range;
    comet_status status;
    size_t seen = 0;
    (void)state;

    fixture_open(&f, "boundary_interval=3 max_file_size=8KiB");
    fill_and_commit(&f, RANDOM, 100);
    comet_range_init(&range);
    for (int round = 0; round < 2; round++) {
        range.by_time = round == 1;
        size_t before = f.m.count;
        seen = 0;
        status = comet_cursor_seek(f.cursor, NULL, &range, &error);
        while (status == COMET_OK) {
            const void *data;
            size_t size;
            uint64_t offset = comet_cursor_offset(f.cursor);
            assert_true(offset < before);
            OK(comet_cursor_data(f.cursor, &data, &size, &error));
            assert_true(content_is(data, size, &f.m.entries[offset]));
            fill_and_commit(&f, RANDOM, 7);
            seen++;
            status = comet_cursor_next(f.cursor, &error);
        }
        STATUS(status, COMET_DONE);
        assert_int_equal(seen, before);
        check_ranges(&f, NULL, 5); /* a second seek sees the new ones */
    }
    fixture_close(&f);
}

static void rolled_back_rows_are_aborted(void **state) {
    comet_range range;
    (void)state;

    for (int way = 0; way < 4; way++) {
        fixture f = {.random = 1};
        comet_txn *txn;
        int64_t time;
        const void *data;
        size_t size;
        fixture_open(&f, way < 2 ? "boundary_interval=3" : "max_file_size=4KiB");
        fill_and_commit(&f, IN_ORDER, 10);
        OK(comet_txn_begin(f.shard, &txn, &error));
        OK(comet_txn_savepoint(txn, 0, &error));
        fill(&f, txn, IN_ORDER, 300);
        comet_range_init(&range);
        range.offset_first = 5;
        OK(comet_cursor_seek(f.cursor, txn, &range, &error));
        comet_txn_rollback_to(txn, 0);
        f.m.count = 10;
        fill(&f, txn, IN_ORDER, 20);
        OK(comet_cursor_data(f.cursor, &data, &size, &error)); /* a committed one is as it was */
        assert_true(content_is(data, size, &f.m.entries[5]));
        OK(comet_cursor_skip(f.cursor, 7, &error));
        assert_int_equal(comet_cursor_offset(f.cursor), 12);
        STATUS(comet_cursor_timestamp(f.cursor, &time, &error), COMET_ABORTED);
        STATUS(comet_cursor_data(f.cursor, &data, &size, &error), COMET_ABORTED);
        if (way % 2 == 0) {
            comet_txn_rollback(txn);
            f.m.count = 10;
        } else {
            OK(comet_txn_prepare(txn, &error));
            comet_txn_publish(txn);
        }
        STATUS(comet_cursor_data(f.cursor, &data, &size, &error), COMET_ABORTED);
        check_ranges(&f, NULL, 10);
        fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_ranges),
        cmocka_unit_test(order_is_lost_midway),
        cmocka_unit_test(snapshot_stays),
        cmocka_unit_test(rolled_back_rows_are_aborted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
