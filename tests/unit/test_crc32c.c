/* test_crc32c.c -- without it good data might be called damaged, or damaged data good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "crc32c.h"

static uint64_t random_state = 88172645463325252u;

static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* The definition, a bit at a time. */
static uint32_t crc_by_definition(uint32_t crc, const unsigned char *data, size_t size) {
    uint32_t sum = ~crc;
    for (size_t i = 0; i < size; i++) {
        sum ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            sum = sum >> 1 ^ ((sum & 1) != 0 ? 0x82F63B78u : 0);
        }
    }
    return ~sum;
}

/* Other programs could not check our files if these differed (RFC 3720, B.4). */
static void test_known_values(void **state) {
    unsigned char bytes[32];
    (void)state;
    assert_int_equal(crc32c_extend(0, NULL, 0), 0);
    assert_int_equal(crc32c_extend(0, "123456789", 9), 0xE3069283u);
    assert_int_equal(crc32c_portable(0, "123456789", 9), 0xE3069283u);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c_extend(0, bytes, 32), 0x8A9136AAu);
    memset(bytes, 0xFF, sizeof bytes);
    assert_int_equal(crc32c_extend(0, bytes, 32), 0x62A8AB43u);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (unsigned char)i;
    }
    assert_int_equal(crc32c_extend(0, bytes, 32), 0x46DD794Eu);
}

/* A log written on one machine could not be read on another if any length differed. */
static void test_all_ways_agree_at_every_length(void **state) {
    enum { LENGTH = 20000 };
    unsigned char *bytes = malloc(LENGTH + 8);
    (void)state;
    assert_non_null(bytes);
    for (size_t i = 0; i < LENGTH + 8; i++) {
        bytes[i] = (unsigned char)random_next();
    }
    for (size_t size = 0; size <= LENGTH; size += size < 7000 ? 1 : 131) {
        const unsigned char *at = bytes + size % 8;
        uint32_t crc = (uint32_t)random_next();
        uint32_t portable = crc32c_portable(crc, at, size);
        assert_int_equal(crc32c_extend(crc, at, size), portable);
        if (size < 600 || size % 97 == 0) {
            assert_int_equal(crc_by_definition(crc, at, size), portable);
        }
    }
    free(bytes);
}

/* A checksum that is taken as data comes would differ from one taken at once. */
static void test_extending_equals_whole(void **state) {
    unsigned char bytes[4096];
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)random_next();
    }
    uint32_t whole = crc32c_extend(0, bytes, sizeof bytes);
    for (int round = 0; round < 2000; round++) {
        uint32_t crc = 0;
        for (size_t done = 0; done < sizeof bytes;) {
            size_t part = random_next() % 1500;
            part = part < sizeof bytes - done ? part : sizeof bytes - done;
            crc = crc32c_extend(crc, bytes + done, part);
            done += part;
        }
        assert_int_equal(crc, whole);
    }
}

/* Not a check: prints how fast it is, where COMET_BENCH is set. */
static void test_speed(void **state) {
    static const size_t sizes[] = {133, 13300, 1 << 20};
    unsigned char *bytes = calloc(1, 1 << 20);
    (void)state;
    assert_non_null(bytes);
    print_message("crc32c: %s\n", crc32c_name());
    for (size_t i = 0; i < 3 && getenv("COMET_BENCH") != NULL; i++) {
        struct timespec begin;
        struct timespec end;
        uint32_t crc = 0;
        size_t rounds = ((size_t)4 << 30) / sizes[i];
        clock_gettime(CLOCK_MONOTONIC, &begin);
        for (size_t round = 0; round < rounds; round++) {
            crc = crc32c_extend(crc, bytes, sizes[i]);
        }
        clock_gettime(CLOCK_MONOTONIC, &end);
        double seconds =
            (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
        print_message("%8zu bytes: %6.2f GB/s (%08x)\n", sizes[i],
                      (double)(rounds * sizes[i]) / seconds / 1e9, crc);
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_all_ways_agree_at_every_length),
        cmocka_unit_test(test_extending_equals_whole),
        cmocka_unit_test(test_speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
