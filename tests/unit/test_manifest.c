/* test_manifest.c -- without it a log that Go wrote would not open, or a damaged index.bin would
** crash the host or lose segments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "comet.h"
#include "crc32c.h"
#include "manifest.h"
#include "memory.h"

#ifndef TESTS_DIR
#define TESTS_DIR "tests"
#endif

static uint64_t random_state = 0xD1B54A32D192ED03u;

static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* A Go fixture's index.bin, in a block of just its size so that a sanitizer sees a read beyond. */
static uint8_t *read_fixture(const char *name, size_t *size) {
    char path[512];
    (void)snprintf(path, sizeof path, "%s/fixtures/go/%s/shard-0001/index.bin", TESTS_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    bytes = realloc(bytes, *size);
    assert_non_null(bytes);
    return bytes;
}

/* A manifest of `count` segments with all fields set. */
static void make(manifest *made, size_t count) {
    manifest_init(made);
    made->segments = memory_allocate_zeroed((count + 1) * sizeof *made->segments);
    assert_non_null(made->segments);
    made->segment_count = count;
    for (size_t i = 0; i < count; i++) {
        manifest_segment *segment = &made->segments[i];
        segment->sequence = 3 + 2 * i;
        segment->first_offset = 1000 * i;
        segment->entry_count = 1000;
        segment->bytes = 65536 + i;
        segment->created_ns = INT64_C(1700000000000000000) + (int64_t)i;
        segment->written_ns = segment->created_ns + 5;
        segment->has_bounds = i % 5 != 4;
        if (segment->has_bounds) {
            segment->time_low = (int64_t)i - 3;
            segment->time_high = (int64_t)i * 7;
            segment->disorder_end = i % 2 == 0 ? 0 : 1000 * i + 17;
            segment->compressed_count = i;
        }
    }
    made->end_offset = 1000 * count;
    made->end_position = count == 0 ? 0 : made->segments[count - 1].bytes;
}

static void assert_same(const manifest *left, const manifest *right) {
    assert_int_equal(left->end_offset, right->end_offset);
    assert_int_equal(left->end_position, right->end_position);
    assert_int_equal(left->segment_count, right->segment_count);
    for (size_t i = 0; i < left->segment_count; i++) {
        const manifest_segment *a = &left->segments[i];
        const manifest_segment *b = &right->segments[i];
        assert_int_equal(a->sequence, b->sequence);
        assert_int_equal(a->first_offset, b->first_offset);
        assert_int_equal(a->entry_count, b->entry_count);
        assert_int_equal(a->bytes, b->bytes);
        assert_int_equal(a->created_ns, b->created_ns);
        assert_int_equal(a->written_ns, b->written_ns);
        assert_int_equal(a->has_bounds, b->has_bounds);
        assert_int_equal(a->time_low, b->time_low);
        assert_int_equal(a->time_high, b->time_high);
        assert_int_equal(a->disorder_end, b->disorder_end);
        assert_int_equal(a->compressed_count, b->compressed_count);
    }
}

/* What decode promises of a result, whatever the bytes. */
static void assert_sound(const manifest *read) {
    for (size_t i = 0; i < read->segment_count; i++) {
        const manifest_segment *segment = &read->segments[i];
        assert_true(segment->first_offset <= (uint64_t)INT64_MAX - segment->entry_count);
        assert_true(segment->sequence <= INT64_MAX);
        if (i > 0) {
            const manifest_segment *before = segment - 1;
            assert_true(segment->sequence > before->sequence);
            assert_true(segment->first_offset >= before->first_offset + before->entry_count);
        }
    }
}

/* Decode a copy of just this size; clears the result.  Returns the status. */
static comet_status probe(const uint8_t *bytes, size_t size, size_t *segment_count) {
    comet_error error = {0};
    manifest read;
    uint8_t *exact = malloc(size + (size == 0));
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    manifest_init(&read);
    comet_status status = manifest_decode(exact, size, &read, &error);
    if (status == COMET_OK) {
        assert_sound(&read);
        *segment_count = read.segment_count;
    } else {
        assert_int_equal(status, COMET_CORRUPT);
        assert_int_equal(error.status, COMET_CORRUPT);
        assert_true(error.message[0] != '\0');
        assert_null(read.segments);
    }
    manifest_clear(&read);
    free(exact);
    return status;
}

/* What a checkpoint writes would not be what the next open reads. */
static void test_round_trip(void **state) {
    (void)state;
    for (size_t count = 0; count < 40; count++) {
        manifest made;
        manifest read;
        uint8_t *bytes = NULL;
        size_t size = 0;
        make(&made, count);
        manifest_init(&read);
        assert_int_equal(manifest_encode(&made, "/var/lib/x/shard-0001/", &bytes, &size, NULL),
                         COMET_OK);
        assert_int_equal(manifest_decode(bytes, size, &read, NULL), COMET_OK);
        assert_same(&made, &read);
        memory_release(bytes);
        manifest_clear(&made);
        manifest_clear(&read);
        assert_null(read.segments);
    }
}

/* Go would not find the files, or read other offsets. */
static void test_front_is_what_go_reads(void **state) {
    static const char path[] = "/d/shard-0001/log-0000000000000003.comet";
    manifest made;
    uint8_t *bytes = NULL;
    size_t size = 0;
    (void)state;
    make(&made, 1);
    assert_int_equal(manifest_encode(&made, "/d/shard-0001", &bytes, &size, NULL), COMET_OK);
    assert_memory_equal(bytes, "TMOC", 4);
    assert_int_equal(load_u32(bytes + 4), 1);
    assert_int_equal(load_u64(bytes + 8), 1000);
    assert_int_equal(load_u64(bytes + 16), 65536);
    assert_int_equal(load_u32(bytes + 24), 0);
    assert_int_equal(load_u32(bytes + 28), 0);
    assert_int_equal(load_u32(bytes + 32), 1);
    assert_int_equal(load_u16(bytes + 36), sizeof path - 1);
    assert_memory_equal(bytes + 38, path, sizeof path - 1);
    const uint8_t *record = bytes + 38 + sizeof path - 1;
    assert_int_equal(load_i64(record), 0);
    assert_int_equal(load_i64(record + 8), 65536);
    assert_int_equal(load_i64(record + 16), 0);
    assert_int_equal(load_i64(record + 24), 1000);
    assert_int_equal(load_i64(record + 40), INT64_C(1700000000000000005));
    assert_memory_equal(record + 48, "COMETMAN", 8);
    memory_release(bytes);
    manifest_clear(&made);
}

/* A log that Go wrote would not open as it is. */
static void test_go_fixtures(void **state) {
    static const struct {
        const char *name;
        uint64_t end_offset;
        uint64_t end_position;
        size_t segment_count;
        uint64_t last_bytes;
    } known[] = {
        {"basic", 1000, 0x13783, 1, 0x13783},
        {"rotated", 20000, 0x1cf6, 27, 0x1cf6},
        {"compressed", 169, 0x6df4e, 1, 0x6df4e},
        {"groups", 500, 0x4006, 1, 0x4006},
    };
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t size = 0;
        uint8_t *bytes = read_fixture(known[i].name, &size);
        manifest read;
        manifest_init(&read);
        assert_int_equal(manifest_decode(bytes, size, &read, NULL), COMET_OK);
        assert_int_equal(read.end_offset, known[i].end_offset);
        assert_int_equal(read.end_position, known[i].end_position);
        assert_int_equal(read.segment_count, known[i].segment_count);
        assert_int_equal(read.consumer_count, 0);
        uint64_t next = 0;
        for (size_t s = 0; s < read.segment_count; s++) {
            assert_int_equal(read.segments[s].sequence, s + 1);
            assert_int_equal(read.segments[s].first_offset, next);
            assert_false(read.segments[s].has_bounds);
            assert_true(read.segments[s].created_ns > INT64_C(1600000000000000000));
            assert_true(read.segments[s].written_ns >= read.segments[s].created_ns);
            next += read.segments[s].entry_count;
        }
        assert_int_equal(next, known[i].end_offset);
        assert_int_equal(read.segments[read.segment_count - 1].bytes, known[i].last_bytes);
        manifest_clear(&read);
        free(bytes);
    }
}

/* A file cut by a full disk would crash the host. */
static void test_truncations(void **state) {
    static const char *const names[] = {"basic", "rotated", "compressed", "groups"};
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        size_t size = 0;
        uint8_t *bytes = read_fixture(names[i], &size);
        for (size_t cut = 0; cut < size; cut++) {
            assert_int_equal(probe(bytes, cut, &count), COMET_CORRUPT);
        }
        free(bytes);
    }
    manifest made;
    uint8_t *bytes = NULL;
    size_t size = 0;
    make(&made, 6);
    assert_int_equal(manifest_encode(&made, "/x", &bytes, &size, NULL), COMET_OK);
    size_t front = size - 28 - 6 * 32;
    for (size_t cut = 0; cut < size; cut++) {
        comet_status status = probe(bytes, cut, &count);
        if (cut == 32) { /* cannot be told from an old header: a list without files */
            assert_int_equal(status, COMET_OK);
            assert_int_equal(count, 0);
            continue;
        }
        assert_int_equal(status, cut < front ? COMET_CORRUPT : COMET_OK);
        assert_true(status != COMET_OK || count == 6);
    }
    memory_release(bytes);
    manifest_clear(&made);
}

/* A flipped bit in our file would change offsets or drop segments unnoticed. Go's defect W29:
** nothing tells rotten bytes from good ones. */
static void test_every_flipped_bit_of_ours(void **state) {
    manifest made;
    uint8_t *bytes = NULL;
    size_t size = 0;
    (void)state;
    make(&made, 7);
    assert_int_equal(manifest_encode(&made, "/x", &bytes, &size, NULL), COMET_OK);
    size_t front = size - 28 - 7 * 32;
    for (size_t bit = 0; bit < 8 * size; bit++) {
        comet_error error;
        manifest read;
        manifest_init(&read);
        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] ^ 1u << bit % 8);
        comet_status status = manifest_decode(bytes, size, &read, &error);
        bytes[bit / 8] = (uint8_t)(bytes[bit / 8] ^ 1u << bit % 8);
        assert_true(status == COMET_OK || status == COMET_CORRUPT);
        assert_true(bit / 8 >= front || status == COMET_CORRUPT);
        if (status == COMET_OK) { /* in what makes the trailer one: only the bounds are gone */
            assert_int_equal(read.segment_count, 7);
            assert_int_equal(read.end_offset, made.end_offset);
            for (size_t i = 0; i < 7; i++) {
                assert_false(read.segments[i].has_bounds);
                assert_int_equal(read.segments[i].first_offset, made.segments[i].first_offset);
            }
        }
        manifest_clear(&read);
    }
    memory_release(bytes);
    manifest_clear(&made);
}

/* Hostile or rotten files would crash the host. */
static void test_mutations(void **state) {
    static const char *const names[] = {"basic", "rotated", "compressed", "groups"};
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        size_t size = 0;
        uint8_t *bytes = read_fixture(names[i], &size);
        uint8_t *bad = malloc(size + 64);
        assert_non_null(bad);
        for (int round = 0; round < 20000; round++) {
            memcpy(bad, bytes, size);
            size_t changes = 1 + random_next() % 8;
            for (size_t c = 0; c < changes; c++) {
                size_t at = random_next() % (random_next() % 2 == 0 ? 40 : size);
                bad[at] = random_next() % 4 == 0 ? 0xFF : (uint8_t)random_next();
            }
            store_u32(bad, 0x434F4D54u);
            store_u32(bad + 4, 1);
            (void)probe(bad, size - random_next() % 3 * 7, &count);
        }
        free(bad);
        free(bytes);
    }
}

/* A mutated file of ours with a good checksum gets behind the check; it must be sound even so. */
static void test_mutations_with_good_checksum(void **state) {
    manifest made;
    uint8_t *bytes = NULL;
    size_t size = 0;
    size_t count = 0;
    (void)state;
    make(&made, 5);
    assert_int_equal(manifest_encode(&made, "/x", &bytes, &size, NULL), COMET_OK);
    uint8_t *bad = malloc(size);
    assert_non_null(bad);
    for (int round = 0; round < 50000; round++) {
        memcpy(bad, bytes, size);
        for (uint64_t c = 1 + random_next() % 4; c > 0; c--) {
            bad[random_next() % (size - 12)] = (uint8_t)random_next();
        }
        store_u32(bad + size - 4, crc32c_extend(0, bad, size - 4));
        (void)probe(bad, size, &count);
    }
    free(bad);
    memory_release(bytes);
    manifest_clear(&made);
}

/* Go's defect W28: a count of 4 billion kills Go; here it would take the host's memory. */
static void test_huge_counts(void **state) {
    uint8_t bytes[200] = {0};
    size_t count = 0;
    (void)state;
    store_u32(bytes, 0x434F4D54u);
    store_u32(bytes + 4, 1);
    for (size_t field = 24; field <= 32; field += 4) {
        static const uint32_t counts[] = {UINT32_MAX, 0x80000000u, 1000, 214748365u, 85899346u};
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            store_u32(bytes + field, counts[i]);
            assert_int_equal(probe(bytes, sizeof bytes, &count), COMET_CORRUPT);
            store_u32(bytes + field, 0);
        }
    }
    assert_int_equal(probe(bytes, sizeof bytes, &count), COMET_OK); /* trailing bytes are ignored */
    assert_int_equal(probe(bytes, 36, &count), COMET_OK);
    assert_int_equal(count, 0);
}

/* One file record of Go's, for the tests below. */
static uint8_t *put_file(uint8_t *at, const char *path, int64_t end, int64_t first, int64_t count) {
    store_u16(at, (uint16_t)strlen(path));
    memcpy(at + 2, path, strlen(path));
    at += 2 + strlen(path);
    store_i64(at, 0);
    store_i64(at + 8, end);
    store_i64(at + 16, first);
    store_i64(at + 24, count);
    store_i64(at + 32, 77);
    store_i64(at + 40, INT64_C(-6795364578871345152));
    return at + 48;
}

static size_t put_header(uint8_t *bytes, int64_t end_offset, uint32_t files) {
    memset(bytes, 0, 36);
    store_u32(bytes, 0x434F4D54u);
    store_u32(bytes + 4, 1);
    store_i64(bytes + 8, end_offset);
    store_u32(bytes + 32, files);
    return 36;
}

/* Marks that Go's own defects leave (FORMAT.md, 4.4) would make a log unreadable. */
static void test_marks_of_go(void **state) {
    uint8_t bytes[512];
    manifest read;
    size_t count = 0;
    (void)state;
    manifest_init(&read);
    put_header(bytes, 50, 3);
    uint8_t *at = put_file(bytes + 36, "relative/log-0000000000000001.comet", 100, 0, 60);
    at = put_file(at, "log-0000000000000002.comet", -5, 50, -107);
    at = put_file(at, "/elsewhere/log-0000000000000009.comet", 0, 50, 0);
    assert_int_equal(manifest_decode(bytes, (size_t)(at - bytes), &read, NULL), COMET_OK);
    assert_int_equal(read.segments[0].entry_count, 50); /* the next one's start is authoritative */
    assert_int_equal(read.segments[1].entry_count, 0);
    assert_int_equal(read.segments[1].bytes, 0);
    assert_int_equal(read.segments[2].sequence, 9);
    assert_int_equal(read.segments[2].written_ns, 77); /* Go's zero time is no time */
    manifest_clear(&read);

    /* A header of 32 bytes, and one that is cut. */
    put_header(bytes, 5, 0);
    store_u32(bytes + 24, 1);
    bytes[32] = 3;
    memcpy(bytes + 33, "abc", 3);
    assert_int_equal(probe(bytes, 32, &count), COMET_CORRUPT);
    store_u32(bytes + 24, 0);
    assert_int_equal(probe(bytes, 32, &count), COMET_OK);
    assert_int_equal(probe(bytes, 33, &count), COMET_CORRUPT);

    /* Consumers and nodes before the files. */
    put_header(bytes, 5, 1);
    store_u32(bytes + 24, 2);
    store_u32(bytes + 28, 1);
    at = bytes + 36;
    *at++ = 3;
    memcpy(at, "abc", 3);
    store_i64(at + 3, 41);
    at += 11;
    *at++ = 0;
    store_i64(at, -1);
    at += 8;
    memset(at, 0xEE, 20);
    at = put_file(at + 20, "log-7.comet", 100, 0, 5);
    assert_int_equal(manifest_decode(bytes, (size_t)(at - bytes), &read, NULL), COMET_OK);
    assert_int_equal(read.consumer_count, 2);
    assert_string_equal(read.consumers[0].name, "abc");
    assert_int_equal(read.consumers[0].offset, 41);
    assert_string_equal(read.consumers[1].name, "");
    assert_int_equal(read.segments[0].sequence, 7);
    manifest_clear(&read);
}

/* A list in the wrong order, or of strange files, would mix up offsets or read foreign files. */
static void test_refused_lists(void **state) {
    static const struct {
        const char *first;
        const char *second;
        int64_t second_offset;
        int64_t second_count;
    } bad[] = {
        {"log-2.comet", "log-1.comet", 10, 1},
        {"log-1.comet", "log-1.comet", 10, 1},
        {"log-1.comet", "log-2.comet", -1, 1},
        {"log-1.comet", "log-2.comet", INT64_MAX, 1},
        {"log-1.comet", "log-2.comet", 4, INT64_MAX - 3},
        {"log-1.comet", "other", 10, 1},
        {"log-1.comet", "../log-2.comet/", 10, 1},
        {"log-1.comet", "log-.comet", 10, 1},
        {"", "log-2.comet", 10, 1},
    };
    uint8_t bytes[512];
    size_t count = 0;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        put_header(bytes, 10, 2);
        uint8_t *at = put_file(bytes + 36, bad[i].first, 9, 2, 2);
        at = put_file(at, bad[i].second, 9, bad[i].second_offset, bad[i].second_count);
        assert_int_equal(probe(bytes, (size_t)(at - bytes), &count), COMET_CORRUPT);
    }
    put_header(bytes, 10, 2);
    uint8_t *at = put_file(bytes + 36, "log-1.comet", 9, 5, 2);
    at = put_file(at, "log-2.comet", 9, 4, 1);
    assert_int_equal(probe(bytes, (size_t)(at - bytes), &count), COMET_CORRUPT);
    put_header(bytes, -1, 0);
    assert_int_equal(probe(bytes, 36, &count), COMET_CORRUPT);
}

/* A file of another kind would be taken for a segment, or a segment overlooked. */
static void test_names(void **state) {
    static const char *const bad[] = {"",
                                      "log-",
                                      "log-.comet",
                                      "log-1.come",
                                      "log-1.comet2",
                                      "log-1.comet ",
                                      " log-1.comet",
                                      "log--1.comet",
                                      "log-+1.comet",
                                      "log-0x1.comet",
                                      "LOG-1.comet",
                                      "log-1 .comet",
                                      "log-1",
                                      "log-9223372036854775808.comet",
                                      "log-99999999999999999999999.comet",
                                      "log-1.comet.tmp"};
    char name[MANIFEST_NAME_BYTES];
    uint64_t sequence = 99;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(manifest_parse_name(bad[i], &sequence));
        assert_int_equal(sequence, 99);
    }
    assert_true(manifest_file_name(42, name));
    assert_string_equal(name, "log-0000000000000042.comet");
    for (uint64_t n = 1; n != 0; n *= 2) {
        bool named = manifest_file_name(n - 1, name);
        assert_int_equal(named, n - 1 <= INT64_MAX);
        assert_true(manifest_parse_name(name, &sequence));
        assert_int_equal(sequence, n - 1);
    }
    assert_true(manifest_file_name(INT64_MAX, name));
    assert_true(manifest_parse_name(name, &sequence));
    assert_int_equal(sequence, INT64_MAX);
    assert_false(manifest_file_name((uint64_t)INT64_MAX + 1, name));
}

/* A path that does not fit its length field would be written cut. */
static void test_path_too_long(void **state) {
    manifest made;
    comet_error error;
    uint8_t *bytes = NULL;
    size_t size = 0;
    char *directory = malloc(70000);
    (void)state;
    assert_non_null(directory);
    memset(directory, 'd', 70000);
    directory[69999] = '\0';
    make(&made, 1);
    assert_int_equal(manifest_encode(&made, directory, &bytes, &size, &error), COMET_INVALID);
    assert_null(bytes);
    directory[65000] = '\0';
    assert_int_equal(manifest_encode(&made, directory, &bytes, &size, &error), COMET_OK);
    memory_release(bytes);
    manifest_clear(&made);
    free(directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_front_is_what_go_reads),
        cmocka_unit_test(test_go_fixtures),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_every_flipped_bit_of_ours),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_mutations_with_good_checksum),
        cmocka_unit_test(test_huge_counts),
        cmocka_unit_test(test_marks_of_go),
        cmocka_unit_test(test_refused_lists),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_path_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
