/* bytes.h -- little-endian integers in byte buffers.
**
** Decides: how a number becomes bytes on disk.  Every file of comet is little-endian and nothing in
** it need be aligned, so all access goes through these functions; on a little-endian machine each
** of them compiles to one load or store.
**
**     value 0x11223344 as u32   ->   44 33 22 11
*/
#ifndef COMET_CORE_BYTES_H
#define COMET_CORE_BYTES_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BYTES_SWAP_16(value) __builtin_bswap16(value)
#define BYTES_SWAP_32(value) __builtin_bswap32(value)
#define BYTES_SWAP_64(value) __builtin_bswap64(value)
#else
#define BYTES_SWAP_16(value) (value)
#define BYTES_SWAP_32(value) (value)
#define BYTES_SWAP_64(value) (value)
#endif

static inline uint16_t load_u16(const void *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return BYTES_SWAP_16(value);
}

static inline uint32_t load_u32(const void *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return BYTES_SWAP_32(value);
}

static inline uint64_t load_u64(const void *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return BYTES_SWAP_64(value);
}

/* memcpy and not a cast: a cast above INT64_MAX is implementation-defined in C11. */
static inline int64_t load_i64(const void *at) {
    uint64_t bits = load_u64(at);
    int64_t value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void store_u16(void *at, uint16_t value) {
    uint16_t bits = BYTES_SWAP_16(value);
    memcpy(at, &bits, sizeof bits);
}

static inline void store_u32(void *at, uint32_t value) {
    uint32_t bits = BYTES_SWAP_32(value);
    memcpy(at, &bits, sizeof bits);
}

static inline void store_u64(void *at, uint64_t value) {
    uint64_t bits = BYTES_SWAP_64(value);
    memcpy(at, &bits, sizeof bits);
}

static inline void store_i64(void *at, int64_t value) {
    store_u64(at, (uint64_t)value);
}

#endif
