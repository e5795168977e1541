/* entry.c -- what is stored for an entry, and back.
**
** Decides: when a payload is a zstd frame.
**
**     raw payload    the data itself
**     frame          28 B5 2F FD ... with content size and checksum
**
** The rules that keep the two apart: data that begins with the magic always becomes a frame, even a
** larger one; all other data becomes one only where that is smaller.
** No data at all is a frame too: a payload of length 0 can be read, but it ends the scans with which the
** Go package rebuilds a list of entries, and what stands behind it would be lost there.  Nor does Go
** get past a payload of more than 10 MiB; those are written all the same, and it cannot read them.
*/
#include "entry.h"

#include <assert.h>
#include <limits.h>
#include <zstd_errors.h>

#include "memory.h"
#include "status.h"

/* A buffer over this is given back as soon as an entry comes that does not need it. */
#define ENTRY_KEEP_BYTES ((size_t)1024 * 1024)

/* zstd's state over this likewise: high levels on large entries need up to 100 MB. */
#define ENTRY_KEEP_STATE_BYTES ((size_t)8 * 1024 * 1024)

/* The first guess where a frame does not tell its size: Go leaves it out below 256 bytes. */
#define ENTRY_GUESS_BYTES ((size_t)64 * 1024)

/* A frame of no content, without checksum: one segment, content size 0, a last raw block of 0 bytes. */
static const unsigned char ENTRY_OF_NOTHING[9] = {0x28, 0xB5, 0x2F, 0xFD, 0x20, 0, 1, 0, 0};

static_assert(COMET_ENTRY_BYTES_MAX + (COMET_ENTRY_BYTES_MAX >> 8) < UINT32_MAX,
              "the length of a payload fits its field");

typedef struct entry_buffer {
    void *bytes;
    size_t size;
} entry_buffer;

struct entry_encoder {
    ZSTD_CCtx *zstd;
    entry_buffer buffer;
};

struct entry_decoder {
    ZSTD_DCtx *zstd;
    entry_buffer buffer;
};

/* ---- Buffers --------------------------------------------------------------------------------- */

static void entry_buffer_release(entry_buffer *buffer) {
    memory_release(buffer->bytes);
    buffer->bytes = NULL;
    buffer->size = 0;
}

/* Room for `size` bytes; what was in the buffer is lost. */
static comet_status entry_buffer_reserve(entry_buffer *buffer, size_t size, comet_error *error) {
    size_t rounded = 4096;

    if (buffer->size >= size && buffer->bytes != NULL) {
        return COMET_OK;
    }
    while (rounded < size && rounded < ENTRY_KEEP_BYTES) {
        rounded *= 2;
    }
    if (rounded < size) {
        rounded = size;
    }
    entry_buffer_release(buffer);
    buffer->bytes = memory_allocate(rounded);
    if (buffer->bytes == NULL) {
        return memory_failed(error, rounded);
    }
    buffer->size = rounded;
    return COMET_OK;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

comet_status entry_encoder_open(entry_encoder **encoder, comet_error *error) {
    entry_encoder *opened = memory_allocate_zeroed(sizeof *opened);

    assert(encoder != NULL);
    if (opened == NULL) {
        return memory_failed(error, sizeof *opened);
    }
    *encoder = opened;
    return COMET_OK;
}

void entry_encoder_close(entry_encoder *encoder) {
    if (encoder != NULL) {
        (void)ZSTD_freeCCtx(encoder->zstd);
        entry_buffer_release(&encoder->buffer);
        memory_release(encoder);
    }
}

/* Give back what only a large entry before this one needed. */
static void entry_encoder_shrink(entry_encoder *encoder, size_t size) {
    if (size > ENTRY_KEEP_BYTES) {
        return;
    }
    if (encoder->buffer.size > ENTRY_KEEP_BYTES) {
        entry_buffer_release(&encoder->buffer);
        if (encoder->zstd != NULL && ZSTD_sizeof_CCtx(encoder->zstd) > ENTRY_KEEP_STATE_BYTES) {
            (void)ZSTD_freeCCtx(encoder->zstd);
            encoder->zstd = NULL;
        }
    }
}

/* One frame of `data` into the encoder's buffer of which `room` bytes may be used.  *length is 0
** where it does not fit. */
static comet_status entry_compress(entry_encoder *encoder, const void *data, size_t size,
                                   size_t room, int level, size_t *length, comet_error *error) {
    size_t result;

    assert(room <= ENTRY_STORED_BYTES_MAX);
    if (encoder->zstd == NULL) {
        encoder->zstd = ZSTD_createCCtx();
        if (encoder->zstd == NULL) {
            return error_set(error, COMET_NOMEM, 0, "out of memory for zstd's compression state");
        }
    }
    FORWARD(entry_buffer_reserve(&encoder->buffer, room, error));
    /* A frame that did not fit leaves zstd amid it, where it takes no parameters. */
    result = ZSTD_CCtx_reset(encoder->zstd, ZSTD_reset_session_only);
    if (!ZSTD_isError(result)) {
        result = ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_compressionLevel, level);
    }
    if (!ZSTD_isError(result)) {
        result = ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_checksumFlag, 1);
    }
    if (!ZSTD_isError(result)) {
        result = ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_contentSizeFlag, 1);
    }
    if (!ZSTD_isError(result)) {
        result = ZSTD_compress2(encoder->zstd, encoder->buffer.bytes, room, data, size);
    }
    if (!ZSTD_isError(result)) {
        assert(entry_is_frame(encoder->buffer.bytes, result));
        *length = result;
        return COMET_OK;
    }
    if (ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall) {
        *length = 0;
        return COMET_OK;
    }
    return error_set(error, COMET_NOMEM, 0, "zstd cannot compress %zu bytes at level %d: %s", size,
                     level, ZSTD_getErrorName(result));
}

comet_status entry_encode(entry_encoder *encoder, const void *data, size_t size,
                          int64_t min_compress_size, int level, const void **stored,
                          size_t *stored_size, bool *compressed, comet_error *error) {
    size_t length = 0;
    bool must;

    assert(encoder != NULL);
    assert(data != NULL || size == 0);
    assert(stored != NULL && stored_size != NULL && compressed != NULL);
    if (size > COMET_ENTRY_BYTES_MAX) {
        return error_set(error, COMET_TOO_BIG, 0,
                         "an entry of %zu bytes is too big; at most %u bytes (128 MiB) are allowed",
                         size, COMET_ENTRY_BYTES_MAX);
    }
    entry_encoder_shrink(encoder, size);
    if (size == 0) {
        *stored = ENTRY_OF_NOTHING;
        *stored_size = sizeof ENTRY_OF_NOTHING;
        *compressed = true;
        return COMET_OK;
    }
    must = entry_is_frame(data, size);
    if (must) {
        FORWARD(
            entry_compress(encoder, data, size, ZSTD_COMPRESSBOUND(size), level, &length, error));
        if (length == 0) {
            return error_set(error, COMET_NOMEM, 0, "zstd has no room for a frame of %zu bytes",
                             size);
        }
    } else if (size > 1 && (min_compress_size < 0 || size >= (uint64_t)min_compress_size)) {
        /* One byte less than the data: zstd stops by itself where a frame would not be smaller.
        ** An encoder short of memory is no reason to refuse the entry either; it is stored raw. */
        if (entry_compress(encoder, data, size, size - 1, level, &length, NULL) != COMET_OK) {
            length = 0;
        }
    }
    assert(length <= ENTRY_STORED_BYTES_MAX);
    *compressed = length > 0;
    *stored = length > 0 ? encoder->buffer.bytes : data;
    *stored_size = length > 0 ? length : size;
    return COMET_OK;
}

/* ---- Decoding -------------------------------------------------------------------------------- */

comet_status entry_decoder_open(entry_decoder **decoder, comet_error *error) {
    entry_decoder *opened = memory_allocate_zeroed(sizeof *opened);

    assert(decoder != NULL);
    if (opened == NULL) {
        return memory_failed(error, sizeof *opened);
    }
    *decoder = opened;
    return COMET_OK;
}

void entry_decoder_close(entry_decoder *decoder) {
    if (decoder != NULL) {
        (void)ZSTD_freeDCtx(decoder->zstd);
        entry_buffer_release(&decoder->buffer);
        memory_release(decoder);
    }
}

static comet_status entry_frame_error(size_t result, comet_error *error) {
    if (ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation) {
        return error_set(error, COMET_NOMEM, 0, "out of memory for zstd's decompression state");
    }
    return error_set(error, COMET_CORRUPT, 0, "the entry's zstd frame does not decode: %s",
                     ZSTD_getErrorName(result));
}

static comet_status entry_bomb_error(comet_error *error) {
    return error_set(error, COMET_CORRUPT, 0,
                     "the entry's zstd frame decompresses to more than %u bytes",
                     COMET_ENTRY_BYTES_MAX);
}

/* How much room to try first.  The header is not to be trusted with it: a frame that is cut short
** or has no end is found here, before 128 MiB are allocated for a few bytes. */
static comet_status entry_first_room(const void *stored, size_t stored_size, size_t *room,
                                     comet_error *error) {
    unsigned long long content = ZSTD_getFrameContentSize(stored, stored_size);
    size_t frame = ZSTD_findFrameCompressedSize(stored, stored_size);

    if (ZSTD_isError(frame)) {
        return entry_frame_error(frame, error);
    }
    if (content == ZSTD_CONTENTSIZE_ERROR) {
        return error_set(error, COMET_CORRUPT, 0, "the entry's zstd frame has a bad header");
    }
    if (content == ZSTD_CONTENTSIZE_UNKNOWN) {
        *room = ENTRY_GUESS_BYTES;
        return COMET_OK;
    }
    if (content > COMET_ENTRY_BYTES_MAX) {
        return entry_bomb_error(error);
    }
    *room = (size_t)content;
    return COMET_OK;
}

comet_status entry_decode(entry_decoder *decoder, const void *stored, size_t stored_size,
                          const void **data, size_t *size, comet_error *error) {
    size_t room = 0;
    size_t result;

    assert(decoder != NULL && data != NULL && size != NULL);
    assert(stored != NULL || stored_size == 0);
    if (!entry_is_frame(stored, stored_size)) {
        if (decoder->buffer.size > ENTRY_KEEP_BYTES) {
            entry_buffer_release(&decoder->buffer);
        }
        *data = stored_size > 0 ? stored : "";
        *size = stored_size;
        return COMET_OK;
    }
    FORWARD(entry_first_room(stored, stored_size, &room, error));
    if (decoder->buffer.size > ENTRY_KEEP_BYTES && room <= ENTRY_KEEP_BYTES) {
        entry_buffer_release(&decoder->buffer);
    }
    if (decoder->zstd == NULL) {
        decoder->zstd = ZSTD_createDCtx();
        if (decoder->zstd == NULL) {
            return error_set(error, COMET_NOMEM, 0, "out of memory for zstd's decompression state");
        }
    }
    /* Decoding at once, and again with twice the room where it was too little, needs no window
    ** buffer, which for a hostile frame would be 128 MiB more. */
    for (;;) {
        FORWARD(entry_buffer_reserve(&decoder->buffer, room, error));
        room = decoder->buffer.size < COMET_ENTRY_BYTES_MAX ? decoder->buffer.size
                                                            : COMET_ENTRY_BYTES_MAX;
        result =
            ZSTD_decompressDCtx(decoder->zstd, decoder->buffer.bytes, room, stored, stored_size);
        if (!ZSTD_isError(result)) {
            break;
        }
        if (ZSTD_getErrorCode(result) != ZSTD_error_dstSize_tooSmall) {
            return entry_frame_error(result, error);
        }
        if (room >= COMET_ENTRY_BYTES_MAX) {
            return entry_bomb_error(error);
        }
        room = room > COMET_ENTRY_BYTES_MAX / 2 ? COMET_ENTRY_BYTES_MAX : 2 * room;
    }
    assert(result <= COMET_ENTRY_BYTES_MAX);
    *data = decoder->buffer.bytes;
    *size = result;
    return COMET_OK;
}
