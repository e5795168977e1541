/* test_route.c -- without it a key might go to another shard than it does in the Go package, and a
** user's entries of one key would lie in two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "comet.h"

#define NONE UINT32_MAX

static void test_keys_go_where_the_package_sends_them(void **state) {
    static const struct {
        const char *key;
        uint32_t of_16;
        uint32_t of_256;
    } vectors[] = {{"user123", 6, 6}, {"", 5, 197}, {"a", 12, 44}, {"foobar", 8, 104}};

    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        const char *key = vectors[i].key;

        assert_int_equal(comet_pick_shard(key, strlen(key), 16), vectors[i].of_16);
        assert_int_equal(comet_pick_shard(key, strlen(key), 0), vectors[i].of_16);
        assert_int_equal(comet_pick_shard(key, strlen(key), 256), vectors[i].of_256);
        assert_int_equal(comet_pick_shard(key, strlen(key), 1), 0);
    }
    assert_int_equal(comet_pick_shard(NULL, 0, 16), 5);
    assert_int_equal(comet_key_hash("foobar", 6), 0xbf9cf968u);
}

/* Every shard must belong to exactly one process. Go's defect W57: with fewer shards than
** processes, picking one panics. */
static void test_processes_share_all_shards(void **state) {
    (void)state;
    for (uint32_t shards = 1; shards <= 20; shards++) {
        for (uint32_t processes = 1; processes <= 25; processes++) {
            unsigned seen[20] = {0};

            for (uint32_t process = 0; process < processes; process++) {
                uint32_t owned = comet_owned_shards(shards, process, processes);

                for (uint32_t number = 0; number < owned; number++) {
                    uint32_t id = comet_owned_shard(number, process, processes);

                    assert_true(id < shards);
                    assert_int_equal(id % processes, process);
                    seen[id]++;
                }
            }
            for (uint32_t id = 0; id < shards; id++) {
                assert_int_equal(seen[id], 1);
            }
        }
    }
    assert_int_equal(comet_owned_shards(0, 0, 0), COMET_STREAM_SHARDS);
    assert_int_equal(comet_owned_shards(4, 7, 8), 0);
}

static void test_names_are_read_as_the_package_reads_them(void **state) {
    static const struct {
        const char *name;
        uint32_t id;
    } names[] = {
        {"a:0001", 1},
        {":0001", 1},
        {"shard:0001", 1},
        {"a:shard:7", 7},
        {":shard:7", 7},
        {"events:v1:shard:0003", 3},
        {"logs:0003", 3},
        {"a:shard:12345", 12345},
        {"a:shard:4294967295", 4294967295u},
        {"a:shard:00000000000000000007", 7},
        {"\xc3\xa9:shard:0009", 9},
        {"shard:7", NONE},
        {"a:1", NONE},
        {"a:00AB", NONE},
        {"a:+001", NONE},
        {"a: 001", NONE},
        {"a:shard:-1", NONE},
        {"a:shard:4294967296", NONE},
        {"a:shard:99999999999999999999999", NONE},
        {"a:b:99999", NONE},
        {"0001", NONE},
        {"", NONE},
        {":", NONE},
        {"a:", NONE},
        {"a:shard:", NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        comet_error error = {0};
        uint32_t id = 77;
        comet_status status = comet_shard_parse(names[i].name, &id, &error);
        /* 4294967295 is a number too. */
        bool expected = names[i].id != NONE || strstr(names[i].name, "4294967295") != NULL;

        if ((status == COMET_OK) != expected || (expected && id != names[i].id) ||
            (!expected && id != 77)) {
            fail_msg("%s: status %d, shard %u", names[i].name, (int)status, id);
        }
        if (!expected) {
            assert_int_equal(status, COMET_INVALID);
            assert_non_null(strstr(error.message, "<stream>:shard:"));
        }
    }
}

static void test_names_that_are_made_read_back(void **state) {
    static const char *const streams[] = {"events:v1", "",       "a",    "shard",
                                          "x:shard",   ":shard", "%s%n", "a:0001"};
    static const uint32_t ids[] = {0, 7, 9999, 10000, 4294967295u};
    char name[64];
    uint32_t id;

    (void)state;
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        for (size_t j = 0; j < sizeof ids / sizeof ids[0]; j++) {
            assert_true(comet_shard_name(streams[i], ids[j], name, sizeof name) < sizeof name);
            assert_int_equal(strncmp(name, streams[i], strlen(streams[i])), 0);
            assert_int_equal(comet_shard_parse(name, &id, NULL), COMET_OK);
            assert_int_equal(id, ids[j]);
        }
    }
    comet_shard_name("events:v1", 7, name, sizeof name);
    assert_string_equal(name, "events:v1:shard:0007");
    comet_shard_name("x:shard", 12345, name, sizeof name);
    assert_string_equal(name, "x:shard:12345");
    assert_int_equal(comet_shard_name("abc", 7, name, 5), strlen("abc:shard:0007"));
    assert_string_equal(name, "abc:");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_go_where_the_package_sends_them),
        cmocka_unit_test(test_processes_share_all_shards),
        cmocka_unit_test(test_names_are_read_as_the_package_reads_them),
        cmocka_unit_test(test_names_that_are_made_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
