/* entry.h -- one entry as it stands in a data file.
**
** Decides: what is stored for the bytes of an entry, raw or as a zstd frame, and how they are had
** back.
**
**     0        4                 12            12 + length
**     +--------+-----------------+---- ... ----+
**     | u32    | i64 timestamp   | payload     |     little-endian; entries stand back to back
**     | length | (ns since 1970) |             |
**     +--------+-----------------+---- ... ----+
**
** No flag says whether a payload is compressed: one of at least 4 bytes that begins with zstd's
** magic is.  Therefore data that begins with it by itself is always wrapped in a frame, so that
** every entry comes back as it went in, here and in the Go package.  So is data of no bytes; that a
** payload of length 0 is an empty entry holds for logs that Go wrote.
**
** Thread rule: one encoder or decoder belongs to one thread at a time.
*/
#ifndef COMET_CORE_ENTRY_H
#define COMET_CORE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <zstd.h>

#include "bytes.h"
#include "comet.h"

#define ENTRY_HEADER_BYTES 12 /* bytes before the payload */

/* The longest payload there can be: a frame around incompressible data of the largest size. */
#define ENTRY_STORED_BYTES_MAX ZSTD_COMPRESSBOUND((size_t)COMET_ENTRY_BYTES_MAX)

/* Whether a payload is taken for zstd frames. */
static inline bool entry_is_frame(const void *stored, size_t size) {
    static const unsigned char magic[4] = {0x28, 0xB5, 0x2F, 0xFD};
    return size >= sizeof magic && memcmp(stored, magic, sizeof magic) == 0;
}

/* Write, and read, the ENTRY_HEADER_BYTES at `at`.  What is read is unchecked. */
static inline void entry_header_store(void *at, uint32_t stored_size, int64_t timestamp) {
    store_u32(at, stored_size);
    store_i64((unsigned char *)at + 4, timestamp);
}

static inline uint32_t entry_header_size(const void *at) {
    return load_u32(at);
}

static inline int64_t entry_header_timestamp(const void *at) {
    return load_i64((const unsigned char *)at + 4);
}

typedef struct entry_encoder entry_encoder;
typedef struct entry_decoder entry_decoder;

/* Cheap: buffers and zstd's state come with the first entry that needs them.  Closing NULL is
** fine.  Errors: COMET_NOMEM. */
comet_status entry_encoder_open(entry_encoder **encoder, comet_error *error);
void entry_encoder_close(entry_encoder *encoder);

comet_status entry_decoder_open(entry_decoder **decoder, comet_error *error);
void entry_decoder_close(entry_decoder *decoder);

/* What to store for `data` (may be NULL when `size` is 0).  With at least `min_compress_size` bytes
** it is tried with zstd at `level`, and the frame taken where it is smaller.
** *stored is `data` itself or a buffer of the encoder, valid until its next encode; never NULL.
** *compressed tells whether it is a frame.
** Errors: COMET_TOO_BIG, COMET_NOMEM. */
comet_status entry_encode(entry_encoder *encoder, const void *data, size_t size,
                          int64_t min_compress_size, int level, const void **stored,
                          size_t *stored_size, bool *compressed, comet_error *error);

/* The bytes of an entry from its payload.  *data is `stored` itself or a buffer of the decoder,
** valid until its next decode; never NULL, and without alignment.
** Errors: COMET_CORRUPT (a frame that does not decode, or to more than COMET_ENTRY_BYTES_MAX),
** COMET_NOMEM. */
comet_status entry_decode(entry_decoder *decoder, const void *stored, size_t stored_size,
                          const void **data, size_t *size, comet_error *error);

#endif
