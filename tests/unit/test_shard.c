/* test_shard.c -- without it a commit might lose, change or resurrect entries, a savepoint might go
** back to the wrong place, and a log of many segments might not be one log. */
#include "support.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

typedef struct place {
    char directory[PATH_ROOM];
    comet_log *log;
    comet_shard *shard;
    comet_txn *txn;
    model m;
} place;

static void place_open(place *p, const char *settings) {
    p->log = log_make(p->directory, COMET_OPEN_CREATE, settings);
    OK(comet_shard_open(p->log, 3, true, &p->shard, &error));
}

static void place_close(place *p) {
    comet_shard_close(p->shard);
    comet_log_close(p->log);
}

static int setup(void **state) {
    place *p = calloc(1, sizeof *p);
    directory_make(p->directory);
    *state = p;
    return 0;
}

static int teardown(void **state) {
    place *p = *state;
    directory_remove(p->directory);
    model_free(&p->m);
    free(p);
    return 0;
}

static void begin(place *p) {
    OK(comet_txn_begin(p->shard, &p->txn, &error));
}

static void commit(place *p) {
    OK(comet_txn_prepare(p->txn, &error));
    comet_txn_publish(p->txn);
}

/* ---- Bytes ---- */

static void append_raw(place *p, const void *data, size_t size) {
    uint64_t offset;
    OK(comet_txn_append(p->txn, data, size, 7, &offset, &error));
}

static void expect_raw(comet_cursor *cursor, comet_status at, const void *data, size_t size) {
    const void *back;
    size_t back_size;

    STATUS(at, COMET_OK);
    OK(comet_cursor_data(cursor, &back, &back_size, &error));
    assert_int_equal(back_size, size);
    assert_memory_equal(back, data, size);
}

static void odd_bytes_come_back(void **state) {
    static const char magic[] = "\x28\xB5\x2F\xFD";
    place *p = *state;
    unsigned char frame[256];
    comet_cursor *cursor;
    comet_range range;
    size_t length = ZSTD_compress(frame, sizeof frame, "hello hello hello hello", 23, 1);

    place_open(p, NULL);
    begin(p);
    append_raw(p, NULL, 0);
    append_raw(p, "a\0b\0", 4);
    append_raw(p, "\xff\xfe\xc0\x80", 4);
    append_raw(p, magic, 4);
    append_raw(p, magic, 3);
    append_raw(p, frame, length);
    append_raw(p, frame, length - 5);
    commit(p);
    for (int round = 0; round < 2; round++) {
        comet_range_init(&range);
        OK(comet_cursor_open(p->shard, &cursor, &error));
        expect_raw(cursor, comet_cursor_seek(cursor, NULL, &range, &error), "", 0);
        expect_raw(cursor, comet_cursor_next(cursor, &error), "a\0b\0", 4);
        expect_raw(cursor, comet_cursor_next(cursor, &error), "\xff\xfe\xc0\x80", 4);
        expect_raw(cursor, comet_cursor_next(cursor, &error), magic, 4);
        expect_raw(cursor, comet_cursor_next(cursor, &error), magic, 3);
        expect_raw(cursor, comet_cursor_next(cursor, &error), frame, length);
        expect_raw(cursor, comet_cursor_next(cursor, &error), frame, length - 5);
        STATUS(comet_cursor_next(cursor, &error), COMET_DONE);
        comet_cursor_close(cursor);
        place_close(p);
        place_open(p, NULL);
    }
    place_close(p);
}

/* Any size from 1 byte to 32 MiB, in one transaction and over commits, read in any order. Go's
** defect W16: behind an entry over 10 MiB nothing in the file can be read. */
static void all_sizes_come_back(void **state) {
    place *p = *state;
    uint64_t seed = random_seed("sizes");

    place_open(p, NULL);
    for (unsigned shift = 0; shift <= 25; shift++) {
        uint64_t size = (uint64_t)1 << shift;
        begin(p);
        append_both(p->txn, &p->m, (int64_t)shift, size, shift == 25 ? 5 : random_next(&seed));
        if (shift < 24) {
            append_both(p->txn, &p->m, (int64_t)shift, size - 1, random_next(&seed));
            append_both(p->txn, &p->m, (int64_t)shift, size + random_below(&seed, size),
                        random_next(&seed));
        }
        commit(p);
    }
    check_all(p->shard, NULL, &p->m);
    place_close(p);
    place_open(p, NULL);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
}

static void check_lookup(place *p, comet_cursor *cursor, uint64_t offset) {
    comet_range range;
    const void *data;
    size_t size;

    comet_range_init(&range);
    range.offset_first = range.offset_last = offset;
    OK(comet_cursor_seek(cursor, NULL, &range, &error));
    assert_int_equal(comet_cursor_offset(cursor), offset);
    OK(comet_cursor_data(cursor, &data, &size, &error));
    assert_true(content_is(data, size, &p->m.entries[offset]));
    STATUS(comet_cursor_next(cursor, &error), COMET_DONE);
}

/* Blocks that end early, because their entries are large, are found as well. */
static void large_entries_are_found(void **state) {
    place *p = *state;
    uint64_t seed = random_seed("large");
    comet_cursor *cursor;

    place_open(p, "min_compress_size=1GiB");
    begin(p);
    for (size_t i = 0; i < 60; i++) {
        append_both(p->txn, &p->m, (int64_t)i, i % 3 == 2 ? 10 : 150000, 6 + 8 * i);
    }
    for (size_t i = 0; i < 500; i++) {
        append_both(p->txn, &p->m, 60, random_below(&seed, 100), random_next(&seed));
    }
    commit(p);
    OK(comet_cursor_open(p->shard, &cursor, &error));
    for (size_t i = 0; i < p->m.count; i++) {
        check_lookup(p, cursor, p->m.count - 1 - i);
    }
    for (size_t i = 0; i < 500; i++) {
        check_lookup(p, cursor, random_below(&seed, p->m.count));
    }
    comet_cursor_close(cursor);
    place_close(p);
}

/* ---- Segments ---- */

static void small_segments_rotate(void **state) {
    place *p = *state;
    comet_segment_info *segments;
    uint64_t end = 0;
    size_t count;

    place_open(p, "max_file_size=4KiB");
    for (size_t i = 0; i < 300; i++) {
        begin(p);
        append_both(p->txn, &p->m, (int64_t)i, i % 90, i);
        commit(p);
    }
    check_all(p->shard, NULL, &p->m);
    OK(comet_shard_segments(p->shard, &segments, &count, &error));
    assert_in_range(count, 4, 6);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(segments[i].first_offset, end);
        end = segments[i].end_offset;
        assert_true(segments[i].bytes <= 4096);
        assert_int_equal(segments[i].sealed, i + 1 < count);
    }
    assert_int_equal(end, p->m.count);
    comet_free(segments);
    place_close(p);
    place_open(p, NULL);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
}

static void one_transaction_over_many_segments(void **state) {
    place *p = *state;
    char shard[PATH_ROOM];

    file_path(shard, p->directory, "shard-0003");
    for (unsigned round = 0; round < 2; round++) {
        size_t before = p->m.count;
        place_open(p, "max_file_size=4KiB");
        begin(p);
        for (size_t i = 0; i < 100; i++) {
            append_both(p->txn, &p->m, (int64_t)i, 1500, 6 + 8 * i);
        }
        check_all(p->shard, p->txn, &p->m);
        if (round == 0) {
            comet_txn_rollback(p->txn);
            p->m.count = before;
        } else {
            commit(p);
        }
        check_all(p->shard, NULL, &p->m);
        assert_in_range(file_count(shard, ".comet"), round == 0 ? 0 : 45, round == 0 ? 1 : 52);
        place_close(p);
    }
    place_open(p, NULL);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
}

static void entry_larger_than_a_file(void **state) {
    place *p = *state;

    place_open(p, "max_file_size=4KiB min_compress_size=1GiB");
    for (size_t i = 0; i < 20; i++) {
        begin(p);
        append_both(p->txn, &p->m, (int64_t)i, i % 2 == 0 ? 100000 : 100, 6 + 8 * i);
        commit(p);
    }
    check_all(p->shard, NULL, &p->m);
    place_close(p);
    place_open(p, NULL);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
}

/* ---- Transactions ---- */

static void rolled_back_offsets_are_used_again(void **state) {
    place *p = *state;

    place_open(p, "boundary_interval=3");
    for (size_t round = 0; round < 20; round++) {
        size_t before = p->m.count;
        begin(p);
        for (size_t i = 0; i < 7; i++) {
            append_both(p->txn, &p->m, (int64_t)(1000 - round), 20 + i, round + i);
        }
        if (round % 2 == 0) {
            OK(comet_txn_prepare(p->txn, &error));
            comet_txn_rollback(p->txn);
            p->m.count = before;
        } else {
            commit(p);
        }
        check_all(p->shard, NULL, &p->m);
    }
    place_close(p);
    place_open(p, NULL);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
}

/* As SQLite does after COMMIT has failed with BUSY. */
static void prepare_may_be_repeated(void **state) {
    place *p = *state;

    place_open(p, "max_file_size=4KiB sync=full");
    for (size_t round = 0; round < 10; round++) {
        begin(p);
        for (size_t i = 0; i < 10; i++) {
            append_both(p->txn, &p->m, (int64_t)(10 * round + i), 400, i);
            OK(comet_txn_prepare(p->txn, &error));
            assert_int_equal(count_matching(p->shard, &p->m), 10 * round);
        }
        commit(p);
        check_all(p->shard, NULL, &p->m);
    }
    place_close(p);
}

/* Nobody sees anything of a prepared transaction, by whatever way they look. Go's defect W33:
** numbers that were taken for entries not yet written are told to readers. */
static void prepared_is_not_visible(void **state) {
    place *p = *state;
    comet_log *other;
    comet_shard *shard;
    comet_cursor *cursor;
    comet_range range;

    place_open(p, "max_file_size=4KiB boundary_interval=3");
    begin(p);
    append_both(p->txn, &p->m, 10, 100, 1);
    append_both(p->txn, &p->m, 20, 100, 1);
    commit(p);
    other = log_make(p->directory, COMET_OPEN_READONLY, NULL);
    OK(comet_shard_open(other, 3, false, &shard, &error));
    begin(p);
    for (size_t i = 0; i < 100; i++) {
        uint64_t offset;
        OK(comet_txn_append(p->txn, "0123456789012345678901234567890", 30 + i % 2, 15 + (int)i,
                            &offset, &error));
        if (i % 30 == 20) {
            OK(comet_txn_prepare(p->txn, &error));
        }
        check_all(p->shard, NULL, &p->m);
        check_all(shard, NULL, &p->m);
        comet_range_init(&range);
        range.time_first = 21;
        OK(comet_cursor_open(shard, &cursor, &error));
        STATUS(comet_cursor_seek(cursor, NULL, &range, &error), COMET_DONE);
        range.time_first = 20;
        OK(comet_cursor_seek(cursor, NULL, &range, &error));
        assert_int_equal(comet_cursor_offset(cursor), 1);
        STATUS(comet_cursor_next(cursor, &error), COMET_DONE);
        comet_cursor_close(cursor);
    }
    comet_txn_rollback(p->txn);
    check_all(shard, NULL, &p->m);
    comet_shard_close(shard);
    comet_log_close(other);
    place_close(p);
}

/* Back to the beginning after a prepare that made segments: a reader elsewhere must not miss them. */
static void emptied_after_prepare(void **state) {
    place *p = *state;
    comet_log *other;
    comet_shard *shard;

    place_open(p, "max_file_size=4KiB min_compress_size=1GiB");
    begin(p);
    append_both(p->txn, &p->m, 1, 4000, 6);
    commit(p);
    begin(p);
    append_both(p->txn, &p->m, 2, 4000, 6);
    append_both(p->txn, &p->m, 2, 4000, 6);
    OK(comet_txn_prepare(p->txn, &error));
    comet_txn_rollback_to(p->txn, 0);
    p->m.count = 1;
    OK(comet_txn_prepare(p->txn, &error));
    comet_txn_publish(p->txn);
    check_all(p->shard, NULL, &p->m);
    other = log_make(p->directory, COMET_OPEN_READONLY, NULL);
    OK(comet_shard_open(other, 3, false, &shard, &error));
    check_all(shard, NULL, &p->m);
    comet_shard_close(shard);
    comet_log_close(other);
    place_close(p);
}

static void savepoint_levels(void **state) {
    place *p = *state;

    place_open(p, "boundary_interval=3");
    begin(p);
    append_both(p->txn, &p->m, 1, 5, 1);
    comet_txn_rollback_to(p->txn, 4); /* no point at all: the beginning */
    p->m.count = 0;
    append_both(p->txn, &p->m, 2, 6, 2);
    OK(comet_txn_savepoint(p->txn, 1, &error));
    append_both(p->txn, &p->m, 3, 7, 3);
    OK(comet_txn_savepoint(p->txn, 1, &error)); /* the earlier point stays */
    OK(comet_txn_savepoint(p->txn, 4, &error));
    append_both(p->txn, &p->m, 4, 8, 4);
    comet_txn_rollback_to(p->txn, 2); /* unknown: the shallowest deeper one, which is 4 */
    p->m.count = 2;
    check_all(p->shard, p->txn, &p->m);
    append_both(p->txn, &p->m, 5, 9, 5);
    comet_txn_rollback_to(p->txn, 2); /* it stands, as 2 */
    p->m.count = 2;
    check_all(p->shard, p->txn, &p->m);
    comet_txn_rollback_to(p->txn, 0); /* unknown, lower: 1 */
    p->m.count = 1;
    check_all(p->shard, p->txn, &p->m);
    append_both(p->txn, &p->m, 6, 10, 6);
    comet_txn_release(p->txn, 0); /* now none stands */
    append_both(p->txn, &p->m, 7, 11, 7);
    OK(comet_txn_savepoint(p->txn, 0, &error));
    append_both(p->txn, &p->m, 8, 12, 7);
    comet_txn_rollback_to(p->txn, 5); /* none so deep: the beginning */
    p->m.count = 0;
    append_both(p->txn, &p->m, 9, 100, 6);
    comet_txn_rollback_to(p->txn, 0); /* and never forwards again */
    assert_true(comet_txn_end(p->txn) <= 1);
    p->m.count = (size_t)comet_txn_end(p->txn);
    check_all(p->shard, p->txn, &p->m);
    append_both(p->txn, &p->m, 10, 3, 3);
    commit(p);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
}

static void second_writer_is_told(void **state) {
    place *p = *state;
    comet_txn *second;

    place_open(p, NULL);
    begin(p);
    STATUS(comet_txn_begin(p->shard, &second, &error), COMET_BUSY);
    comet_txn_rollback(p->txn);
    begin(p);
    STATUS(comet_txn_append(p->txn, "x", 1, -1, &(uint64_t){0}, &error), COMET_INVALID);
    STATUS(
        comet_txn_append(p->txn, "x", (size_t)COMET_ENTRY_BYTES_MAX + 1, 1, &(uint64_t){0}, &error),
        COMET_TOO_BIG);
    append_both(p->txn, &p->m, 1, 1, 1);
    commit(p);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
}

/* ---- Against the model ---- */

#define POINTS_MAX 8

typedef struct walker {
    place *p;
    uint64_t random;
    const char *settings;
    bool open;
    size_t committed;
    size_t points[POINTS_MAX]; /* of level i */
    size_t point_count;
} walker;

static void walk_append(walker *w) {
    uint64_t count = 1 + random_below(&w->random, 30);
    int64_t base = (int64_t)random_below(&w->random, 1000);

    for (uint64_t i = 0; i < count; i++) {
        uint64_t size = random_below(&w->random, random_below(&w->random, 20) == 0 ? 9000 : 200);
        append_both(w->p->txn, &w->p->m, base + (int64_t)i, size, random_next(&w->random));
    }
}

static void walk_savepoint(walker *w) {
    size_t level = random_below(&w->random, w->point_count + 1);

    if (random_below(&w->random, 2) == 0 && w->point_count < POINTS_MAX) {
        level = w->point_count;
        w->points[w->point_count++] = w->p->m.count;
    } else if (level == w->point_count) {
        return;
    }
    OK(comet_txn_savepoint(w->p->txn, (int)level, &error));
}

static void walk_back(walker *w) {
    size_t level = random_below(&w->random, w->point_count + 1);

    if (level == w->point_count) {
        if (random_below(&w->random, 4) != 0) {
            return;
        }
        w->p->m.count = w->committed;
        w->point_count = 0;
    } else {
        w->p->m.count = w->points[level];
        w->point_count = level + 1;
    }
    comet_txn_rollback_to(w->p->txn, (int)level);
    assert_int_equal(comet_txn_end(w->p->txn), w->p->m.count);
}

static void walk_release(walker *w) {
    size_t level = random_below(&w->random, w->point_count + 1);

    comet_txn_release(w->p->txn, (int)level);
    w->point_count = level < w->point_count ? level : w->point_count;
}

static void walk_end(walker *w, bool publish) {
    if (publish) {
        commit(w->p);
        w->committed = w->p->m.count;
    } else {
        comet_txn_rollback(w->p->txn);
        w->p->m.count = w->committed;
    }
    w->open = false;
    w->point_count = 0;
    check_all(w->p->shard, NULL, &w->p->m);
}

static void walk_idle(walker *w) {
    switch (random_below(&w->random, 8)) {
    case 0:
        place_close(w->p);
        if (random_below(&w->random, 2) == 0) {
            simulate_reboot(w->p->directory, 3);
        }
        place_open(w->p, w->settings);
        check_all(w->p->shard, NULL, &w->p->m);
        break;
    case 1:
        OK(comet_shard_sync(w->p->shard, &error));
        break;
    default:
        begin(w->p);
        w->open = true;
    }
}

static void walk_step(walker *w) {
    if (!w->open) {
        walk_idle(w);
        return;
    }
    switch (random_below(&w->random, 12)) {
    case 0:
    case 1:
        walk_savepoint(w);
        break;
    case 2:
    case 3:
        walk_back(w);
        break;
    case 4:
        walk_release(w);
        break;
    case 5:
        OK(comet_txn_prepare(w->p->txn, &error));
        break;
    case 6:
        check_all(w->p->shard, w->p->txn, &w->p->m);
        break;
    case 7:
        walk_end(w, random_below(&w->random, 3) != 0);
        break;
    case 8:
        OK(comet_shard_sync(w->p->shard, &error));
        break;
    default:
        walk_append(w);
    }
}

static void random_walk(void **state) {
    static const char *const settings[] = {
        "max_file_size=4KiB boundary_interval=3 sync=off",
        "max_file_size=16KiB boundary_interval=1 sync=full",
        "max_file_size=64KiB boundary_interval=20 min_compress_size=50",
        "boundary_interval=100 upkeep=manual",
    };
    place *p = *state;
    uint64_t seed = random_seed("walk");

    for (size_t i = 0; i < 4; i++) {
        walker w = {.p = p, .random = seed + i, .settings = settings[i]};
        place_open(p, w.settings);
        for (unsigned step = 0; step < 500; step++) {
            walk_step(&w);
        }
        if (w.open) {
            walk_end(&w, true);
        }
        place_close(p);
        place_open(p, w.settings);
        check_all(p->shard, NULL, &p->m);
        place_close(p);
        model_free(&p->m);
        directory_remove(p->directory);
    }
}

/* max_file_size grows while a segment is being written: its index must have room for it. */
static void file_size_may_grow(void **state) {
    place *p = *state;

    place_open(p, "max_file_size=1MiB boundary_interval=1");
    begin(p);
    append_both(p->txn, &p->m, 1, 0, 1);
    commit(p);
    OK(comet_log_configure(p->log, "max_file_size", "4MiB", &error));
    begin(p);
    for (size_t i = 0; i < 120000; i++) {
        append_both(p->txn, &p->m, 1, 0, i);
    }
    commit(p);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
    place_open(p, NULL);
    check_all(p->shard, NULL, &p->m);
    place_close(p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(odd_bytes_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(all_sizes_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(large_entries_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(small_segments_rotate, setup, teardown),
        cmocka_unit_test_setup_teardown(one_transaction_over_many_segments, setup, teardown),
        cmocka_unit_test_setup_teardown(entry_larger_than_a_file, setup, teardown),
        cmocka_unit_test_setup_teardown(rolled_back_offsets_are_used_again, setup, teardown),
        cmocka_unit_test_setup_teardown(prepare_may_be_repeated, setup, teardown),
        cmocka_unit_test_setup_teardown(prepared_is_not_visible, setup, teardown),
        cmocka_unit_test_setup_teardown(emptied_after_prepare, setup, teardown),
        cmocka_unit_test_setup_teardown(savepoint_levels, setup, teardown),
        cmocka_unit_test_setup_teardown(second_writer_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(file_size_may_grow, setup, teardown),
        cmocka_unit_test_setup_teardown(random_walk, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
