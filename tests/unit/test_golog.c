/* test_golog.c -- without it a log that the Go package wrote could be misread, renumbered, or changed by
** being looked at. */
#include "support.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sha256.h"

#define DIGITS 16

static const char *const FIXTURES[] = {"basic", "compressed", "groups", "rotated"};
#define FIXTURE_COUNT (sizeof FIXTURES / sizeof *FIXTURES)

static void fixture_path(char path[PATH_ROOM], const char *name, const char *suffix) {
    (void)snprintf(path, PATH_ROOM, "tests/fixtures/go/%s%s", name, suffix);
}

/* ---- Copying and comparing directories ---- */

static void copy_file(const char *from, const char *to) {
    unsigned char *bytes;
    size_t size = (size_t)path_size(from);
    FILE *in = fopen(from, "rb");

    assert_non_null(in);
    bytes = malloc(size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, size, in), size);
    (void)fclose(in);
    file_write(to, 0, bytes, size);
    free(bytes);
}

/* Every file below: to a copy under `to` or, with NULL, into `listing`: name, size, time and digest. */
static void walk_files(const char *from, const char *to, char *listing, size_t room) {
    struct dirent **names;
    int count = scandir(from, &names, NULL, alphasort);

    assert_true(count >= 0);
    for (int i = 0; i < count; i++) {
        char path[2 * PATH_ROOM];
        char other[2 * PATH_ROOM];
        struct stat info;
        (void)snprintf(path, sizeof path, "%s/%s", from, names[i]->d_name);
        (void)snprintf(other, sizeof other, "%s/%s", to != NULL ? to : "", names[i]->d_name);
        assert_int_equal(stat(path, &info), 0);
        if (names[i]->d_name[0] == '.') {
            /* itself and its parent */
        } else if (S_ISDIR(info.st_mode)) {
            if (to != NULL) {
                assert_int_equal(mkdir(other, 0700), 0);
            }
            walk_files(path, to != NULL ? other : NULL, listing, room);
        } else if (to != NULL) {
            copy_file(path, other);
        } else {
            size_t used = strlen(listing);
            char hex[65];
            unsigned char *bytes = malloc((size_t)info.st_size + 1);
            FILE *in = fopen(path, "rb");
            assert_true(bytes != NULL && in != NULL);
            assert_int_equal(fread(bytes, 1, (size_t)info.st_size, in), info.st_size);
            sha256_hex(bytes, (size_t)info.st_size, 64, hex);
            (void)fclose(in);
            free(bytes);
            (void)snprintf(listing + used, room - used, "%s %lld %lld.%09ld %s\n", path,
                           (long long)info.st_size, (long long)info.st_mtim.tv_sec,
                           info.st_mtim.tv_nsec, hex);
        }
        free(names[i]);
    }
    free(names);
}

/* ---- Expectations ---- */

/* All entries of all shards, in order, are as the Go package's reader returns them; how many of shard
** 1 there are, and its last timestamp, come back. */
static uint64_t check_entries(comet_log *log, const char *name, int64_t *last_time) {
    char path[PATH_ROOM];
    char line[256];
    FILE *expected;
    unsigned shard_id = 0;
    comet_shard *shard = NULL;
    comet_cursor *cursor = NULL;
    comet_status status = COMET_DONE;
    uint64_t first_count = 0;

    fixture_path(path, name, ".expected");
    expected = fopen(path, "r");
    assert_non_null(expected);
    while (fgets(line, sizeof line, expected) != NULL) {
        unsigned id;
        unsigned long long entry;
        unsigned long long bytes;
        long long timestamp;
        char hex[DIGITS + 1];
        char real[DIGITS + 1];
        const void *data;
        size_t size;
        int64_t found;
        if (sscanf(line, "%u %llu %llu %lld %16s", &id, &entry, &bytes, &timestamp, hex) != 5) {
            continue; /* the heading */
        }
        if (id != shard_id) {
            comet_range all;
            comet_range_init(&all);
            comet_cursor_close(cursor);
            if (shard != NULL) {
                comet_shard_close(shard);
            }
            shard_id = id;
            OK(comet_shard_open(log, id, false, &shard, &error));
            OK(comet_cursor_open(shard, &cursor, &error));
            status = comet_cursor_seek(cursor, NULL, &all, &error);
        }
        OK(status);
        assert_int_equal(comet_cursor_offset(cursor), entry);
        OK(comet_cursor_timestamp(cursor, &found, &error));
        assert_true(timestamp < 0 || found == timestamp);
        OK(comet_cursor_data(cursor, &data, &size, &error));
        assert_int_equal(size, bytes);
        sha256_hex(data, size, DIGITS, real);
        assert_string_equal(real, hex);
        status = comet_cursor_next(cursor, &error);
        if (id == 1) {
            first_count = entry + 1;
            *last_time = found;
        }
    }
    (void)fclose(expected);
    comet_cursor_close(cursor);
    comet_shard_close(shard);
    return first_count;
}

/* The groups of the file and no others. */
static void check_groups(comet_log *log, const char *name) {
    static const uint32_t ids[] = {1, 2};
    char path[PATH_ROOM];

    fixture_path(path, name, ".groups");
    for (size_t i = 0; i < 2; i++) {
        comet_shard *shard;
        comet_group_info *groups;
        size_t count;
        size_t expected_count = 0;
        char line[256];
        FILE *expected;
        if (comet_shard_open(log, ids[i], false, &shard, &error) == COMET_NOT_FOUND) {
            continue;
        }
        OK(comet_shard_groups(shard, &groups, &count, &error));
        expected = fopen(path, "r");
        assert_non_null(expected);
        while (fgets(line, sizeof line, expected) != NULL) {
            unsigned id;
            unsigned long long offset;
            char group[64];
            bool found = false;
            if (sscanf(line, "%u %llu %63s", &id, &offset, group) != 3 || id != ids[i]) {
                continue;
            }
            for (size_t k = 0; k < count; k++) {
                if (strcmp(groups[k].name, group) == 0) {
                    assert_int_equal(groups[k].position, offset);
                    found = true;
                }
            }
            if (!found) {
                fail_msg("%s: group %s of shard %u is not there", name, group, id);
            }
            expected_count++;
        }
        (void)fclose(expected);
        assert_int_equal(count, expected_count);
        comet_free(groups);
        comet_shard_close(shard);
    }
}

/* ---- Tests ---- */

#define LISTING_ROOM 65536

static void reading_changes_nothing(void **state) {
    char *before = malloc(LISTING_ROOM);
    char *after = malloc(LISTING_ROOM);
    (void)state;

    assert_true(before != NULL && after != NULL);
    for (size_t i = 0; i < FIXTURE_COUNT; i++) {
        char from[PATH_ROOM];
        char to[PATH_ROOM];
        int64_t last;
        comet_log *log;
        fixture_path(from, FIXTURES[i], "");
        directory_make(to);
        walk_files(from, to, NULL, 0);
        before[0] = after[0] = '\0';
        walk_files(to, NULL, before, LISTING_ROOM);
        log = log_make(to, COMET_OPEN_READONLY, NULL);
        (void)check_entries(log, FIXTURES[i], &last);
        check_groups(log, FIXTURES[i]);
        comet_log_close(log);
        walk_files(to, NULL, after, LISTING_ROOM);
        assert_string_equal(before, after);
        directory_remove(to);
    }
    free(before);
    free(after);
}

static uint64_t append_three(comet_shard *shard, int64_t timestamp) {
    comet_txn *txn;
    uint64_t first = 0;

    OK(comet_txn_begin(shard, &txn, &error));
    for (unsigned i = 0; i < 3; i++) {
        uint64_t offset;
        OK(comet_txn_append(txn, "three more", 10, timestamp + i, &offset, &error));
        first = i == 0 ? offset : first;
    }
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    return first;
}

static void writing_goes_on(void **state) {
    (void)state;

    for (size_t i = 0; i < FIXTURE_COUNT; i++) {
        char from[PATH_ROOM];
        char to[PATH_ROOM];
        fixture_path(from, FIXTURES[i], "");
        directory_make(to);
        walk_files(from, to, NULL, 0);
        for (unsigned round = 0; round < 3; round++) {
            comet_log *log = log_make(to, 0, NULL);
            comet_shard *shard;
            comet_shard_info info;
            int64_t last = 0;
            uint64_t count = check_entries(log, FIXTURES[i], &last);
            check_groups(log, FIXTURES[i]);
            OK(comet_shard_open(log, 1, false, &shard, &error));
            OK(comet_shard_describe(shard, &info, &error));
            assert_true(info.end_offset >= count + 3 * round);
            assert_int_equal(append_three(shard, last + 1), info.end_offset);
            assert_true(comet_shard_is_in_order(shard) || round < 3);
            comet_shard_close(shard);
            if (round == 1) {
                simulate_reboot(to, 1);
            }
            comet_log_close(log);
        }
        directory_remove(to);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_changes_nothing),
        cmocka_unit_test(writing_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
