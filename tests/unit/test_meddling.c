/* test_meddling.c -- without it another program that cuts, empties, overwrites or deletes a file of a log
** could end the process that has it mapped, or have it give out what was never written. */
#include "support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS "max_file_size=16KiB boundary_interval=5 min_compress_size=4000 upkeep=manual"
#define ENTRIES 100u
#define GROUP "g"

static char directory[PATH_ROOM];
static char shard_directory[PATH_ROOM];

typedef enum act { CUT_TO_NOTHING, CUT_IN_HALF, ZERO, DELETE, ACT_COUNT } act;
static const char *const act_names[] = {"emptied", "cut in half", "zeroed", "deleted"};

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

static void meddle(const char *path, act what) {
    uint64_t size = path_size(path);
    unsigned char zeros[1024] = {0};

    assert_true(size > 0);
    switch (what) {
    case CUT_TO_NOTHING:
    case CUT_IN_HALF:
        assert_int_equal(truncate(path, what == CUT_IN_HALF ? (off_t)(size / 2) : 0), 0);
        break;
    case ZERO:
        for (uint64_t at = 0; at < size; at += sizeof zeros) {
            file_write(path, at, zeros, size - at < sizeof zeros ? size - at : sizeof zeros);
        }
        break;
    default:
        assert_int_equal(unlink(path), 0);
    }
}

static comet_status write_some(comet_shard *shard, model *m, size_t count) {
    comet_txn *txn;
    comet_status status = comet_txn_begin(shard, &txn, &error);
    uint64_t offset = 0;

    if (status != COMET_OK) {
        return status;
    }
    assert_int_equal(comet_txn_end(txn), m->count);
    for (size_t i = 0; i < count && status == COMET_OK; i++) {
        model_entry entry = {(int64_t)(1000 + m->count + i), 400, m->count + i};
        status = append_one(txn, &entry, &offset);
    }
    status = status != COMET_OK ? status : comet_txn_prepare(txn, &error);
    if (status != COMET_OK) {
        comet_txn_rollback(txn);
        return status;
    }
    comet_txn_publish(txn);
    for (size_t i = 0; i < count; i++) {
        model_add(m, (int64_t)(1000 + m->count), 400, m->count);
    }
    return COMET_OK;
}

/* Go on to the end.  What comes without an error is all of it, as it was written. */
static comet_status read_on(comet_cursor *cursor, const model *m, size_t from, size_t end) {
    comet_status status = COMET_OK;
    bool wrong = false;
    size_t at = from;

    while (status == COMET_OK) {
        const void *data;
        size_t size;
        status = comet_cursor_data(cursor, &data, &size, &error);
        if (status == COMET_OK) {
            assert_int_equal(comet_cursor_offset(cursor), at);
            wrong |= at >= m->count || !content_is(data, size, &m->entries[at]);
            at++;
            status = comet_cursor_next(cursor, &error);
        }
    }
    if (status == COMET_DONE) {
        assert_false(wrong);
        assert_int_equal(at, end);
    } else {
        assert_true(status == COMET_CORRUPT || status == COMET_IO);
    }
    return status;
}

static comet_status read_from(comet_shard *shard, const model *m, size_t from) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status;

    comet_range_init(&range);
    range.offset_first = from;
    OK(comet_cursor_open(shard, &cursor, &error));
    status = comet_cursor_seek(cursor, NULL, &range, &error);
    if (status == COMET_OK) {
        status = read_on(cursor, m, from, m->count);
    }
    assert_true(status == COMET_DONE || status == COMET_CORRUPT || status == COMET_IO);
    comet_cursor_close(cursor);
    return status;
}

/* Whatever it answers, it answers; and a second try at writing goes through, unless what all processes
** share is gone: then the log is to be opened anew. */
static void use_all(comet_shard *shard, model *m, bool may_refuse) {
    comet_segment_check *checks;
    comet_shard_info info;
    comet_shard_bounds bounds;
    comet_group_info group_info;
    comet_group *group;
    size_t count;
    size_t before;

    OK(comet_group_open(shard, GROUP, strlen(GROUP), &group, &error));
    (void)comet_group_describe(group, &group_info, &error);
    (void)comet_group_ack(group, m->count - 1, NULL, &error);
    comet_group_close(group);
    if (comet_shard_verify(shard, &checks, &count, &error) == COMET_OK) {
        comet_free(checks);
    }
    (void)comet_shard_describe(shard, &info, &error);
    (void)comet_shard_glance(shard, &bounds, &error);
    (void)comet_shard_sync(shard, &error);
    (void)read_from(shard, m, 0);
    before = m->count;
    if (write_some(shard, m, 20) != COMET_OK) {
        comet_status second = write_some(shard, m, 20);
        if (may_refuse && second == COMET_IO) {
            return;
        }
        OK(second);
    }
    assert_int_equal(m->count, before + 20);
    assert_int_equal(read_from(shard, m, before), COMET_DONE);
}

/* Returns whether a statement that was under way met an error. */
static bool meddled_with(const char *name, act what) {
    comet_log *log = log_make(directory, COMET_OPEN_CREATE, SETTINGS);
    comet_shard *shard;
    comet_cursor *cursor;
    comet_range range;
    comet_group *group;
    char path[PATH_ROOM];
    model m = {0};
    bool damaged;

    OK(comet_shard_open(log, 0, true, &shard, &error));
    OK(write_some(shard, &m, ENTRIES));
    OK(comet_group_open(shard, GROUP, strlen(GROUP), &group, &error));
    OK(comet_group_ack(group, 10, NULL, &error));
    comet_group_close(group);
    comet_range_init(&range);
    OK(comet_cursor_open(shard, &cursor, &error));
    OK(comet_cursor_seek(cursor, NULL, &range, &error));
    OK(comet_cursor_skip(cursor, 7, &error));
    if (name[0] == '.') {
        /* Of the segment that is written to; zeros in a sealed one: whoever writes does not read. */
        assert_true(file_find(path, shard_directory, name, what < ZERO ? 0 : 1));
    } else {
        file_path(path, shard_directory, name);
    }
    meddle(path, what);
    damaged = read_on(cursor, &m, 7, ENTRIES) != COMET_DONE;
    comet_cursor_close(cursor);
    use_all(shard, &m, strcmp(name, "comet.state") == 0);
    comet_shard_close(shard);
    comet_log_close(log);
    log = log_make(directory, COMET_OPEN_CREATE, SETTINGS);
    OK(comet_shard_open(log, 0, true, &shard, &error));
    use_all(shard, &m, false);
    assert_int_equal(read_from(shard, &m, ENTRIES), COMET_DONE);
    comet_shard_close(shard);
    comet_log_close(log);
    model_free(&m);
    return damaged;
}

static void check_file(const char *name) {
    for (act what = 0; what < ACT_COUNT; what++) {
        bool damaged = meddled_with(name, what);
        print_message("%s %s: %s\n", name, act_names[what],
                      damaged ? "an error" : "all entries right");
        directory_remove(directory);
        (void)setup(NULL);
    }
}

static void data_file(void **state) {
    (void)state;
    check_file(".comet");
}

/* No checksum covers a block that grows; but zeros are no entries. */
static void zeros_in_the_block_that_grows(void **state) {
    comet_log *log = log_make(directory, COMET_OPEN_CREATE, SETTINGS);
    comet_shard *shard;
    char path[PATH_ROOM];
    model m = {0};
    (void)state;

    OK(comet_shard_open(log, 0, true, &shard, &error));
    OK(write_some(shard, &m, 8)); /* 5 of them fill a block */
    assert_true(file_find(path, shard_directory, ".comet", 0));
    meddle(path, ZERO);
    for (size_t from = 0; from < 8; from++) {
        assert_int_equal(read_from(shard, &m, from), COMET_CORRUPT);
    }
    comet_shard_close(shard);
    comet_log_close(log);
    model_free(&m);
}

static void index_of_a_segment(void **state) {
    (void)state;
    check_file(".idx");
}

static void shared_state(void **state) {
    (void)state;
    check_file("comet.state");
}

static void groups(void **state) {
    (void)state;
    check_file("offsets.state");
}

static void list_of_segments(void **state) {
    (void)state;
    check_file("index.bin");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(data_file, setup, teardown),
        cmocka_unit_test_setup_teardown(zeros_in_the_block_that_grows, setup, teardown),
        cmocka_unit_test_setup_teardown(index_of_a_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_state, setup, teardown),
        cmocka_unit_test_setup_teardown(groups, setup, teardown),
        cmocka_unit_test_setup_teardown(list_of_segments, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
