/* test_verify.c -- without it a flipped bit could be given out as an entry, or hide one. */
#include "support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ENTRIES 100
#define SETTINGS "max_file_size=4KiB boundary_interval=8 min_compress_size=200 upkeep=manual"

static char directory[PATH_ROOM];
static char shard_directory[PATH_ROOM];

static int setup(void **state) {
    (void)state;
    directory_make(directory);
    file_path(shard_directory, directory, "shard-0000");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    directory_remove(directory);
    return 0;
}

static model_entry entry_at(size_t at) {
    model_entry entry = {(int64_t)(1000 + 10 * at), at % 9 == 4 ? 300 : at % 30, at};
    return entry;
}

static void write_log(model *m, size_t count) {
    comet_log *log = log_make(directory, COMET_OPEN_CREATE, SETTINGS);
    comet_shard *shard;
    comet_txn *txn;

    OK(comet_shard_open(log, 0, true, &shard, &error));
    OK(comet_txn_begin(shard, &txn, &error));
    for (size_t i = m->count, end = m->count + count; i < end; i++) {
        model_entry entry = entry_at(i);
        append_both(txn, m, entry.timestamp, entry.size, entry.seed);
    }
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    comet_shard_close(shard);
    comet_log_close(log);
}

/* ---- Every way of reading ---- */

typedef struct outcome {
    bool wrong;   /* an entry that was not written so, or one left out without an error */
    bool damaged; /* COMET_CORRUPT */
} outcome;

/* Read what lies in [low, high] of the model, by offset or time, and compare. */
static void read_range(comet_shard *shard, const model *m, size_t low, size_t high, bool by_time,
                       bool descending, outcome *out) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status;
    size_t seen = 0;

    comet_range_init(&range);
    range.by_time = by_time;
    range.descending = descending;
    if (by_time) {
        range.time_first = m->entries[low].timestamp;
        range.time_last = m->entries[high].timestamp;
    } else {
        range.offset_first = low;
        range.offset_last = high;
    }
    OK(comet_cursor_open(shard, &cursor, &error));
    status = comet_cursor_seek(cursor, NULL, &range, &error);
    while (status == COMET_OK) {
        size_t at = descending ? high - seen : low + seen;
        const void *data;
        size_t size;
        int64_t timestamp;
        if (comet_cursor_offset(cursor) != at || seen > high - low) {
            out->wrong = true;
            break;
        }
        status = comet_cursor_timestamp(cursor, &timestamp, &error);
        if (status == COMET_OK) {
            out->wrong |= timestamp != m->entries[at].timestamp;
            status = comet_cursor_data(cursor, &data, &size, &error);
        }
        if (status == COMET_OK) {
            out->wrong |= !content_is(data, size, &m->entries[at]);
            seen++;
            status = comet_cursor_next(cursor, &error);
        }
    }
    out->damaged |= status == COMET_CORRUPT;
    out->wrong |= status == COMET_DONE && seen != high - low + 1;
    out->wrong |= status != COMET_OK && status != COMET_DONE && status != COMET_CORRUPT;
    comet_cursor_close(cursor);
}

static outcome read_everything(const model *m) {
    static const size_t ranges[][2] = {
        {0, ENTRIES - 1}, {3, 3}, {29, 57}, {ENTRIES - 2, ENTRIES - 1}};
    outcome out = {false, false};
    comet_log *log = log_make(directory, COMET_OPEN_READONLY, NULL);
    comet_shard *shard;

    OK(comet_shard_open(log, 0, false, &shard, &error));
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        for (unsigned how = 0; how < 4; how++) {
            read_range(shard, m, ranges[i][0], ranges[i][1], how % 2 == 1, how / 2 == 1, &out);
        }
    }
    comet_shard_close(shard);
    comet_log_close(log);
    return out;
}

/* How comet_shard_verify() finds the first segment. */
static bool verify_first(void) {
    comet_log *log = log_make(directory, COMET_OPEN_READONLY, NULL);
    comet_segment_check *checks;
    comet_shard *shard;
    size_t count;
    bool ok;

    OK(comet_shard_open(log, 0, false, &shard, &error));
    OK(comet_shard_verify(shard, &checks, &count, &error));
    assert_true(count >= 1);
    ok = checks[0].ok;
    assert_true(ok || checks[0].why[0] != '\0');
    comet_free(checks);
    comet_shard_close(shard);
    comet_log_close(log);
    return ok;
}

static void flip_all_bits(const char *path, const model *m, uint64_t size, bool data) {
    unsigned long found = 0;
    unsigned long harmless = 0;
    int fd = open(path, O_RDWR);

    assert_true(fd >= 0);
    for (uint64_t at = 0; at < size; at++) {
        unsigned char byte;
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        for (unsigned bit = 0; bit < 8; bit++) {
            unsigned char flipped = (unsigned char)(byte ^ 1u << bit);
            outcome out;
            assert_int_equal(pwrite(fd, &flipped, 1, (off_t)at), 1);
            out = read_everything(m);
            if (out.wrong) {
                fail_msg("%s: byte %llu, bit %u: a wrong answer", path, (unsigned long long)at,
                         bit);
            }
            if (data) {
                assert_false(verify_first());
                assert_true(out.damaged);
            }
            found += out.damaged ? 1 : 0;
            harmless += out.damaged ? 0 : 1;
            assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
        }
    }
    (void)close(fd);
    print_message("%s: %lu flipped bits found, %lu without effect, 0 wrong answers\n",
                  strrchr(path, '/') + 1, found, harmless);
}

/* Go's defect W29: rotten bytes are given out as entries, or shift all that follow. */
static void every_flipped_bit_is_found(void **state) {
    char path[PATH_ROOM];
    model m = {0};
    (void)state;

    write_log(&m, ENTRIES);
    assert_true(file_count(shard_directory, ".comet") >= 2);
    assert_true(verify_first());
    assert_false(read_everything(&m).damaged);
    file_path(path, shard_directory, "log-0000000000000001.comet");
    flip_all_bits(path, &m, path_size(path), true);
    file_path(path, shard_directory, "log-0000000000000001.idx");
    flip_all_bits(path, &m, path_size(path), false);
    assert_true(verify_first());
    model_free(&m);
}

/* ---- Reading around damage ---- */

/* With on_damage=skip exactly the damaged entries are left out: forwards, backwards and by time. */
static void check_skipping(const model *m, const bool *lost) {
    comet_log *log = log_make(directory, COMET_OPEN_READONLY, "on_damage=skip");
    comet_shard *shard;

    OK(comet_shard_open(log, 0, false, &shard, &error));
    for (unsigned how = 0; how < 8; how++) {
        comet_cursor *cursor;
        comet_range range;
        comet_status status;
        size_t expected = 0;
        size_t seen = 0;
        comet_range_init(&range);
        range.by_time = how % 2 == 1;
        range.descending = how / 2 % 2 == 1;
        range.time_first = how >= 4 ? m->entries[2].timestamp : INT64_MIN;
        for (size_t i = how >= 4 ? 2 : 0; i < m->count; i++) {
            expected += lost[i] ? 0 : 1;
        }
        OK(comet_cursor_open(shard, &cursor, &error));
        status = comet_cursor_seek(cursor, NULL, &range, &error);
        while (status == COMET_OK) {
            uint64_t at = comet_cursor_offset(cursor);
            const void *data;
            size_t size;
            OK(comet_cursor_data(cursor, &data, &size, &error));
            assert_true(!lost[at] && content_is(data, size, &m->entries[at]));
            seen++;
            status = comet_cursor_next(cursor, &error);
        }
        assert_int_equal(status, COMET_DONE);
        assert_int_equal(seen, expected);
        comet_cursor_close(cursor);
    }
    comet_shard_close(shard);
    comet_log_close(log);
}

/* Go's defect W37: a reader is stuck for ever at an entry that cannot be read. */
static void damage_is_stepped_around(void **state) {
    bool lost[ENTRIES] = {false};
    outcome out = {false, false};
    char path[PATH_ROOM];
    model m = {0};
    (void)state;

    write_log(&m, ENTRIES);
    check_skipping(&m, lost);
    /* The second block: the size of the first tells where it begins. */
    file_path(path, shard_directory, "log-0000000000000001.comet");
    uint64_t at = 0;
    for (size_t i = 0; i < 8; i++) {
        uint32_t stored;
        int fd = open(path, O_RDONLY);
        assert_int_equal(pread(fd, &stored, sizeof stored, (off_t)at), sizeof stored);
        (void)close(fd);
        at += 12 + stored;
    }
    file_write(path, at + 5, "damage", 6);
    for (size_t i = 8; i < 16; i++) {
        lost[i] = true;
    }
    check_skipping(&m, lost);
    out = read_everything(&m);
    assert_true(out.damaged && !out.wrong);
    assert_false(verify_first());
    /* The whole file is gone. */
    assert_int_equal(unlink(path), 0);
    for (size_t i = 0; i < ENTRIES; i++) {
        comet_log *log = log_make(directory, COMET_OPEN_READONLY, NULL);
        comet_segment_info *segments;
        comet_shard *shard;
        size_t count;
        OK(comet_shard_open(log, 0, false, &shard, &error));
        OK(comet_shard_segments(shard, &segments, &count, &error));
        lost[i] = i < segments[0].end_offset;
        comet_free(segments);
        comet_shard_close(shard);
        comet_log_close(log);
    }
    check_skipping(&m, lost);
    assert_false(verify_first());
    model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(damage_is_stepped_around, setup, teardown),
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_found, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
