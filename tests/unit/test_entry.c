/* test_entry.c -- without it an entry might come back other than it went in, or a hostile frame
** take all memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "comet.h"
#include "entry.h"
#include "memory.h"

static uint64_t random_state = 0x9E3779B97F4A7C15u;

static uint64_t random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

typedef struct coder {
    entry_encoder *encoder;
    entry_decoder *decoder;
    comet_error error;
} coder;

static int setup(void **state) {
    coder *c = calloc(1, sizeof *c);
    assert_non_null(c);
    assert_int_equal(entry_encoder_open(&c->encoder, &c->error), COMET_OK);
    assert_int_equal(entry_decoder_open(&c->decoder, &c->error), COMET_OK);
    *state = c;
    return 0;
}

static int teardown(void **state) {
    coder *c = *state;
    entry_encoder_close(c->encoder);
    entry_decoder_close(c->decoder);
    free(c);
    return 0;
}

/* Encode and decode; returns whether it was stored compressed, and how long in *length. */
static bool round_trip(coder *c, const void *data, size_t size, int64_t min, int level,
                       size_t *length) {
    const void *stored = NULL;
    const void *back = NULL;
    size_t stored_size = 0;
    size_t back_size = 12345;
    bool compressed = false;

    assert_int_equal(entry_encode(c->encoder, data, size, min, level, &stored, &stored_size,
                                  &compressed, &c->error),
                     COMET_OK);
    assert_non_null(stored);
    assert_int_equal(compressed, entry_is_frame(stored, stored_size));
    if (!compressed) {
        assert_int_equal(stored_size, size);
        assert_true(size > 0 && stored == data);
    } else {
        assert_int_equal(ZSTD_getFrameContentSize(stored, stored_size), size);
        assert_int_equal((((const unsigned char *)stored)[4] & 4) != 0, size > 0); /* a checksum */
    }
    assert_int_equal(entry_decode(c->decoder, stored, stored_size, &back, &back_size, &c->error),
                     COMET_OK);
    assert_non_null(back);
    assert_int_equal(back_size, size);
    assert_true(size == 0 || memcmp(back, data, size) == 0);
    if (length != NULL) {
        *length = stored_size;
    }
    return compressed;
}

/* An entry would be misread if its header did not stand as Go writes it. */
static void test_header(void **state) {
    static const unsigned char go[12] = {5,    0,    0,    0,    0xe3, 0x07,
                                         0x38, 0xef, 0xd8, 0x6c, 0xea, 0x18};
    unsigned char at[12];
    (void)state;
    assert_int_equal(entry_header_size(go), 5);
    assert_int_equal(entry_header_timestamp(go), INT64_C(0x18ea6cd8ef3807e3));
    entry_header_store(at, entry_header_size(go), entry_header_timestamp(go));
    assert_memory_equal(at, go, 12);
    entry_header_store(at, UINT32_MAX, -1);
    assert_int_equal(entry_header_size(at), UINT32_MAX);
    assert_int_equal(entry_header_timestamp(at), -1);
}

/* Empty entries and NUL bytes would get lost; and a payload of length 0 ends the scans of the Go
** package, which would lose what stands behind it. Go's defect W17: numbers are given twice. */
static void test_small_round_trips(void **state) {
    coder *c = *state;
    unsigned char zeros[64] = {0};
    assert_true(round_trip(c, NULL, 0, 0, 1, NULL));
    assert_true(round_trip(c, "", 0, 4096, 1, NULL));
    for (size_t size = 1; size <= sizeof zeros; size++) {
        (void)round_trip(c, zeros, size, 0, 1, NULL);
        (void)round_trip(c, zeros, size, 4096, 1, NULL);
    }
}

/* Data that looks like a frame would be refused or come back decompressed. Go's
** defect W15: data that begins with zstd's magic is an error for good, or comes back
** decompressed. */
static void test_magic_is_always_wrapped(void **state) {
    coder *c = *state;
    unsigned char bytes[100] = {0x28, 0xB5, 0x2F, 0xFD};
    unsigned char frame[200];
    size_t length;

    for (size_t size = 1; size < 4; size++) {
        assert_false(round_trip(c, bytes, size, 4096, 1, NULL));
    }
    for (size_t size = 4; size <= sizeof bytes; size++) {
        for (size_t i = 4; i < size; i++) {
            bytes[i] = (unsigned char)random_next();
        }
        assert_true(round_trip(c, bytes, size, INT64_MAX, 1, NULL));
    }
    length = ZSTD_compress(frame, sizeof frame, bytes, sizeof bytes, 1);
    assert_false(ZSTD_isError(length));
    for (size_t cut = 4; cut <= length; cut++) {
        assert_true(round_trip(c, frame, cut, 4096, 1, NULL));
    }
}

/* A size or level at which compression is wrong would eat entries. */
static void test_large_round_trips(void **state) {
    coder *c = *state;
    const size_t largest = (size_t)32 << 20;
    unsigned char *noise = malloc(largest);
    unsigned char *text = malloc(largest);
    size_t length = 0;

    assert_non_null(noise);
    assert_non_null(text);
    for (size_t i = 0; i < largest; i++) {
        noise[i] = (unsigned char)random_next();
        text[i] = (unsigned char)("telemetry 0123456789"[i % 20] + (random_next() % 16 == 0));
    }
    noise[0] = 0;
    for (size_t size = 1; size <= largest; size = size * 2 + 1) {
        assert_false(round_trip(c, noise, size, 0, 1, NULL));
        bool compressed = round_trip(c, text, size, 4096, 1, &length);
        assert_int_equal(compressed, size >= 4096);
        assert_true(!compressed || length < size);
    }
    assert_true(round_trip(c, text, 4096, 4096, 1, NULL));
    assert_false(round_trip(c, text, 4095, 4096, 1, NULL));
    for (int level = -7; level <= 19; level++) {
        assert_true(round_trip(c, text, 100000, 4096, level, NULL));
    }
    memcpy(noise, "\x28\xB5\x2F\xFD", 4); /* does not get smaller, but must be a frame */
    assert_true(round_trip(c, noise, largest, 4096, 1, &length));
    assert_true(length > largest && length <= ZSTD_COMPRESSBOUND(largest));
    free(noise);
    free(text);
}

/* An entry over the limit would be written and never read again. Go's defect W53: a length over 4
** GiB wraps. */
static void test_too_big(void **state) {
    coder *c = *state;
    const void *stored = c;
    size_t stored_size = 7;
    bool compressed = true;
    /* The size is refused before a byte is read. */
    assert_int_equal(entry_encode(c->encoder, "x", (size_t)COMET_ENTRY_BYTES_MAX + 1, 0, 1, &stored,
                                  &stored_size, &compressed, &c->error),
                     COMET_TOO_BIG);
    assert_true(stored == c && stored_size == 7 && compressed);
    assert_non_null(strstr(c->error.message, "134217729"));
    assert_int_equal(c->error.status, COMET_TOO_BIG);
}

static comet_status decode(coder *c, const void *stored, size_t stored_size, const void **data,
                           size_t *size) {
    c->error.message[0] = '\0';
    return entry_decode(c->decoder, stored, stored_size, data, size, &c->error);
}

/* A damaged frame would crash the reader or be handed out as data. */
static void test_corrupt_frames(void **state) {
    coder *c = *state;
    unsigned char text[5000];
    unsigned char frame[6000];
    unsigned char *bad = malloc(sizeof frame);
    const void *data = NULL;
    const void *stored = NULL;
    size_t size = 0;
    size_t length = 0;
    bool compressed = false;

    assert_non_null(bad);
    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (unsigned char)('a' + random_next() % 5);
    }
    assert_int_equal(
        entry_encode(c->encoder, text, sizeof text, 0, 1, &stored, &length, &compressed, &c->error),
        COMET_OK);
    assert_true(compressed);
    memcpy(frame, stored, length);
    for (size_t cut = 4; cut < length; cut++) {
        unsigned char *exact = malloc(cut); /* so that a sanitizer sees a read beyond */
        assert_non_null(exact);
        memcpy(exact, frame, cut);
        data = c;
        assert_int_equal(decode(c, exact, cut, &data, &size), COMET_CORRUPT);
        assert_true(data == c && c->error.message[0] != '\0');
        free(exact);
    }
    for (size_t bit = 32; bit < 8 * length; bit++) {
        memcpy(bad, frame, length);
        bad[bit / 8] = (unsigned char)(bad[bit / 8] ^ 1u << bit % 8);
        comet_status status = decode(c, bad, length, &data, &size);
        /* Some bits of the header do not matter; the checksum finds all that do. */
        assert_true(status == COMET_CORRUPT ||
                    (status == COMET_OK && size == sizeof text && memcmp(data, text, size) == 0));
    }
    memcpy(bad, frame, length);
    memcpy(bad + length, "junk", 4);
    assert_int_equal(decode(c, bad, length + 4, &data, &size), COMET_CORRUPT);
    for (int round = 0; round < 20000; round++) {
        size_t noise = 4 + random_next() % 300;
        memcpy(bad, "\x28\xB5\x2F\xFD", 4);
        for (size_t i = 4; i < noise; i++) {
            bad[i] = (unsigned char)random_next();
        }
        (void)decode(c, bad, noise, &data, &size);
    }
    assert_int_equal(decode(c, frame, length, &data, &size), COMET_OK);
    assert_memory_equal(data, text, sizeof text);
    free(bad);
}

/* Compress without content size, as Go does for small entries. */
static size_t compress_unsized(void *frame, size_t room, const void *data, size_t size) {
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    assert_non_null(zstd);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_contentSizeFlag, 0);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    size_t length = ZSTD_compress2(zstd, frame, room, data, size);
    assert_false(ZSTD_isError(length));
    assert_int_equal(ZSTD_getFrameContentSize(frame, length), ZSTD_CONTENTSIZE_UNKNOWN);
    ZSTD_freeCCtx(zstd);
    return length;
}

/* Entries that Go wrote could not be read. */
static void test_frames_without_content_size(void **state) {
    coder *c = *state;
    const size_t largest = (size_t)5 << 20;
    unsigned char *text = malloc(largest);
    unsigned char *frame = malloc(ZSTD_COMPRESSBOUND(largest));
    const void *data = NULL;
    size_t size = 0;

    assert_non_null(text);
    assert_non_null(frame);
    for (size_t i = 0; i < largest; i++) {
        text[i] = (unsigned char)('a' + random_next() % 3);
    }
    for (size_t part = 2; part <= largest; part = part * 3 + 1) {
        size_t length = compress_unsized(frame, ZSTD_COMPRESSBOUND(largest), text, part);
        assert_int_equal(decode(c, frame, length, &data, &size), COMET_OK);
        assert_int_equal(size, part);
        assert_memory_equal(data, text, part);
        assert_int_equal(decode(c, frame, length - 1, &data, &size), COMET_CORRUPT);
    }
    free(text);
    free(frame);
}

/* Several frames in one payload are legal zstd, and Go decodes them. */
static void test_concatenated_frames(void **state) {
    coder *c = *state;
    unsigned char frames[4096];
    const void *data = NULL;
    size_t size = 0;
    unsigned char text[300];

    memset(text, 'x', sizeof text);
    for (int sized = 0; sized < 4; sized++) {
        size_t length = (sized & 1) != 0 ? ZSTD_compress(frames, 2000, text, sizeof text, 1)
                                         : compress_unsized(frames, 2000, text, sizeof text);
        length += (sized & 2) != 0 ? ZSTD_compress(frames + length, 2000, text, sizeof text, 1)
                                   : compress_unsized(frames + length, 2000, text, sizeof text);
        assert_int_equal(decode(c, frames, length, &data, &size), COMET_OK);
        assert_int_equal(size, 2 * sizeof text);
        assert_memory_equal((const unsigned char *)data + sizeof text, text, sizeof text);
    }
    /* The first tells its size, the second is far larger than it. */
    unsigned char *large = calloc(1, 3u << 20);
    assert_non_null(large);
    size_t length = ZSTD_compress(frames, 2000, text, sizeof text, 1);
    length += ZSTD_compress(frames + length, sizeof frames - length, large, 3u << 20, 1);
    assert_int_equal(decode(c, frames, length, &data, &size), COMET_OK);
    assert_int_equal(size, sizeof text + (3u << 20));
    free(large);
}

/* A few bytes that unpack to gigabytes would take the host's memory. Go's defect W53: what is
** decompressed has no limit. */
static void test_bomb(void **state) {
    coder *c = *state;
    const size_t block = (size_t)128 << 10;
    unsigned char *bomb = malloc(65536);
    const void *data = c;
    size_t size = 0;
    size_t length = 0;

    assert_non_null(bomb);
    for (int claims = 0; claims < 2; claims++) {
        /* Without size: 128 MiB and a block of zeros as blocks of one repeated byte. */
        memcpy(bomb, "\x28\xB5\x2F\xFD", 4);
        bomb[4] = 0x00; /* no checksum, no size, window descriptor follows */
        bomb[5] = 0x88; /* 128 MiB */
        length = 6;
        if (claims == 1) {
            bomb[4] = 0xC0; /* size of 8 bytes */
            memset(bomb + 6, 0, 8);
            bomb[11] = 1; /* 1 TiB */
            length = 14;
        }
        const size_t count = COMET_ENTRY_BYTES_MAX / block + 1;
        for (size_t i = 0; i < count; i++) {
            uint32_t head = (uint32_t)(block << 3) | 1u << 1 | (i + 1 == count);
            bomb[length++] = (unsigned char)head;
            bomb[length++] = (unsigned char)(head >> 8);
            bomb[length++] = (unsigned char)(head >> 16);
            bomb[length++] = 0;
        }
        assert_int_equal(decode(c, bomb, length, &data, &size), COMET_CORRUPT);
        assert_true(data == c);
        assert_non_null(strstr(c->error.message, "decompresses to more than 134217728"));
        if (claims == 0) { /* without the last block it is just allowed */
            bomb[length - 8] |= 1;
            assert_int_equal(decode(c, bomb, length - 4, &data, &size), COMET_OK);
            assert_int_equal(size, COMET_ENTRY_BYTES_MAX);
            data = c;
        }
    }
    free(bomb);
}

/* One byte less than this could be read; the largest entry itself must come back too. */
static void test_largest_entry(void **state) {
    coder *c = *state;
    unsigned char *data = calloc(1, COMET_ENTRY_BYTES_MAX);
    assert_non_null(data);
    assert_true(round_trip(c, data, COMET_ENTRY_BYTES_MAX, 4096, 1, NULL));
    free(data);
    assert_false(round_trip(c, "small", 5, 4096, 1, NULL));
}

static int64_t refuse_after;
static int64_t balance;

static void *refusing_resize(void *memory, size_t size) {
    if (refuse_after-- <= 0) {
        return NULL;
    }
    balance += memory == NULL ? 1 : 0;
    return realloc(memory, size);
}

static void refusing_release(void *memory) {
    balance -= 1;
    free(memory);
}

/* A failed allocation would crash the host, or leak. */
static void test_out_of_memory(void **state) {
    static const comet_allocator refusing = {refusing_resize, refusing_release};
    char text[10000];
    (void)state;

    memset(text, 'x', sizeof text);
    memcpy(text, "\x28\xB5\x2F\xFD", 4);
    memory_set(&refusing);
    for (int64_t n = 0;; n++) {
        coder c = {0};
        const void *stored = NULL;
        const void *data = NULL;
        size_t length = 0;
        size_t size = 0;
        bool compressed = false;
        refuse_after = n;
        comet_status status = entry_encoder_open(&c.encoder, &c.error);
        if (status == COMET_OK) {
            status = entry_decoder_open(&c.decoder, &c.error);
        }
        if (status == COMET_OK) {
            status = entry_encode(c.encoder, text, sizeof text, 0, 1, &stored, &length, &compressed,
                                  &c.error);
        }
        if (status == COMET_OK) {
            status = entry_decode(c.decoder, stored, length, &data, &size, &c.error);
        }
        assert_true(status == COMET_OK || status == COMET_NOMEM);
        assert_true(status == COMET_OK || strstr(c.error.message, "out of memory") != NULL);
        entry_encoder_close(c.encoder);
        entry_decoder_close(c.decoder);
        assert_int_equal(balance, 0);
        if (status == COMET_OK) {
            assert_true(n >= 4);
            break;
        }
    }
    memory_set(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_header, setup, teardown),
        cmocka_unit_test_setup_teardown(test_small_round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(test_magic_is_always_wrapped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_large_round_trips, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_big, setup, teardown),
        cmocka_unit_test_setup_teardown(test_corrupt_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frames_without_content_size, setup, teardown),
        cmocka_unit_test_setup_teardown(test_concatenated_frames, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bomb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_largest_entry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_out_of_memory, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
