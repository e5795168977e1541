/* crc32c.c -- CRC-32C in three ways.
**
** Decides: which implementation runs, once, at the first call.
**
**   portable  slicing-by-8: eight bytes at a time through eight tables of 256 words.
**   sse4.2    the processor's crc32 instruction.  It takes 3 cycles, but one can begin in each, so
**   armv8     three thirds of a block are summed side by side and put together at the end:
**
**               |<-- n words -->|<-- n words -->|<-- n words -->|
**               |       A       |       B       |       C       |
**               crc = A * x^(128 n)  +  B * x^(64 n)  +  C        (mod P)
**
** Putting together costs one carry-less multiplication per third: the instruction itself, fed with
** a product, multiplies by x^32, and a product of two reflected 32-bit words stands one bit low;
** hence the factors of the table below are x^(64 n - 33).  All tables are constants: nothing is set
** up at run time, so no thread can see half of it.
*/
#include "crc32c.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "bytes.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define CRC32C_X86 1
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__GNUC__)
#define CRC32C_ARM 1
#if defined(__linux__)
#include <sys/auxv.h>
#define CRC32C_HWCAP (1ul << 7) /* HWCAP_CRC32 of the kernel's interface */
#endif
#endif

typedef uint32_t crc32c_function(uint32_t crc, const void *data, size_t size);

/* ---- Portable -------------------------------------------------------------------------------- */

/* The tables are linear in the bits of their index, so eight constants make each of them: line s
** holds what the bits 0..7 of a byte become when s more bytes follow it. */
#define CRC32C_AT(i, a, b, c, d, e, f, g, h)                                                       \
    ((((i)&1) ? (a) : 0u) ^ (((i)&2) ? (b) : 0u) ^ (((i)&4) ? (c) : 0u) ^ (((i)&8) ? (d) : 0u) ^   \
     (((i)&16) ? (e) : 0u) ^ (((i)&32) ? (f) : 0u) ^ (((i)&64) ? (g) : 0u) ^                       \
     (((i)&128) ? (h) : 0u))
#define CRC32C_4(i, ...)                                                                           \
    CRC32C_AT(i, __VA_ARGS__), CRC32C_AT(i + 1, __VA_ARGS__), CRC32C_AT(i + 2, __VA_ARGS__),       \
        CRC32C_AT(i + 3, __VA_ARGS__)
#define CRC32C_16(i, ...)                                                                          \
    CRC32C_4(i, __VA_ARGS__), CRC32C_4(i + 4, __VA_ARGS__), CRC32C_4(i + 8, __VA_ARGS__),          \
        CRC32C_4(i + 12, __VA_ARGS__)
#define CRC32C_64(i, ...)                                                                          \
    CRC32C_16(i, __VA_ARGS__), CRC32C_16(i + 16, __VA_ARGS__), CRC32C_16(i + 32, __VA_ARGS__),     \
        CRC32C_16(i + 48, __VA_ARGS__)
#define CRC32C_ROW(...)                                                                            \
    {                                                                                              \
        CRC32C_64(0, __VA_ARGS__), CRC32C_64(64, __VA_ARGS__), CRC32C_64(128, __VA_ARGS__),        \
            CRC32C_64(192, __VA_ARGS__)                                                            \
    }

/* clang-format off */
static const uint32_t crc32c_slices[8][256] = {
    CRC32C_ROW(0xF26B8303, 0xE13B70F7, 0xC79A971F, 0x8AD958CF,
               0x105EC76F, 0x20BD8EDE, 0x417B1DBC, 0x82F63B78),
    CRC32C_ROW(0x13A29877, 0x274530EE, 0x4E8A61DC, 0x9D14C3B8,
               0x3FC5F181, 0x7F8BE302, 0xFF17C604, 0xFBC3FAF9),
    CRC32C_ROW(0xA541927E, 0x4F6F520D, 0x9EDEA41A, 0x38513EC5,
               0x70A27D8A, 0xE144FB14, 0xC76580D9, 0x8B277743),
    CRC32C_ROW(0xDD45AAB8, 0xBF672381, 0x7B2231F3, 0xF64463E6,
               0xE964B13D, 0xD725148B, 0xABA65FE7, 0x52A0C93F),
    CRC32C_ROW(0x38116FAC, 0x7022DF58, 0xE045BEB0, 0xC5670B91,
               0x8F2261D3, 0x1BA8B557, 0x37516AAE, 0x6EA2D55C),
    CRC32C_ROW(0xEF306B19, 0xDB8CA0C3, 0xB2F53777, 0x6006181F,
               0xC00C303E, 0x85F4168D, 0x0E045BEB, 0x1C08B7D6),
    CRC32C_ROW(0x68032CC8, 0xD0065990, 0xA5E0C5D1, 0x4E2DFD53,
               0x9C5BFAA6, 0x3D5B83BD, 0x7AB7077A, 0xF56E0EF4),
    CRC32C_ROW(0x493C7D27, 0x9278FA4E, 0x211D826D, 0x423B04DA,
               0x847609B4, 0x0D006599, 0x1A00CB32, 0x34019664),
};
/* clang-format on */

uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size) {
    const unsigned char *at = data;
    uint32_t sum = ~crc;

    assert(data != NULL || size == 0);
    for (; size >= 8; size -= 8, at += 8) {
        uint32_t low = load_u32(at) ^ sum;
        uint32_t high = load_u32(at + 4);
        sum = crc32c_slices[7][low & 255] ^ crc32c_slices[6][low >> 8 & 255] ^
              crc32c_slices[5][low >> 16 & 255] ^ crc32c_slices[4][low >> 24] ^
              crc32c_slices[3][high & 255] ^ crc32c_slices[2][high >> 8 & 255] ^
              crc32c_slices[1][high >> 16 & 255] ^ crc32c_slices[0][high >> 24];
    }
    for (; size > 0; size--, at++) {
        sum = sum >> 8 ^ crc32c_slices[0][(sum ^ *at) & 255];
    }
    return ~sum;
}

/* ---- With instructions ----------------------------------------------------------------------- */

#if defined(CRC32C_X86) || defined(CRC32C_ARM)

#define CRC32C_WORDS_MAX 128 /* 64-bit words in a third of a block */

/* crc32c_factors[n - 1] = x^(64 n - 33) mod P, bit-reflected. */
/* clang-format off */
static const uint32_t crc32c_factors[2 * CRC32C_WORDS_MAX] = {
    0x00000001, 0x493C7D27, 0xF20C0DFE, 0xBA4FC28E, 0x3DA6D0CB, 0xDDC0152B, 0x1C291D04, 0x9E4ADDF8,
    0x740EEF02, 0x39D3B296, 0x083A6EEC, 0x0715CE53, 0xC49F4F67, 0x47DB8317, 0x2AD91C30, 0x0D3B6092,
    0x6992CEA2, 0xC96CFDC0, 0x7E908048, 0x878A92A7, 0x1B3D8F29, 0xDAECE73E, 0xF1D0F55E, 0xAB7AFF2A,
    0xA87AB8A8, 0x2162D385, 0x8462D800, 0x83348832, 0x71D111A8, 0x299847D5, 0xFFD852C6, 0xB9E02B86,
    0xDCB17AA4, 0x18B33A4E, 0xF37C5AEE, 0xB6DD949B, 0x6051D5A2, 0x78D9CCB7, 0x18B0D4FF, 0xBAC2FD7B,
    0x21F3D99C, 0xA60CE07B, 0x8F158014, 0xCE7F39F4, 0xA00457F7, 0x61D82E56, 0x8D6D2C43, 0xD270F1A2,
    0x00AC29CF, 0xC619809D, 0xE9ADF796, 0x2B3CAC5D, 0x96638B34, 0x65863B64, 0xE0E9F351, 0x1B03397F,
    0x9AF01F2D, 0xEBB883BD, 0x2CFF42CF, 0xB3E32C28, 0x88F25A3A, 0x064F7F26, 0x4E36F0B0, 0xDD7E3B0C,
    0xBD6F81F8, 0xF285651C, 0x91C9BD4B, 0x10746F3C, 0x885F087B, 0xC7A68855, 0x4C144932, 0x271D9844,
    0x52148F02, 0x8E766A0C, 0xA3C6F37A, 0x93A5F730, 0xD7C0557F, 0x6CB08E5C, 0x63DED06A, 0x6B749FB2,
    0x4D56973C, 0x1393E203, 0x9669C9DF, 0xCEC3662E, 0xE417F38A, 0x96C515BB, 0x4B9E0F71, 0xE6FC4E6A,
    0xD104B8FC, 0x8227BB8A, 0x5B397730, 0xB0CD4768, 0xE78EB416, 0x39C7FF35, 0x61FF0E01, 0xD7A4825C,
    0x8D96551C, 0x0AB3844B, 0x0BF80DD2, 0x0167D312, 0x8821ABED, 0xF6076544, 0x6A45D2B2, 0x26F6A60A,
    0xD8D26619, 0xA741C1BF, 0xDE87806C, 0x98D8D9CB, 0x14338754, 0x49C3CC9C, 0x5BD2011F, 0x68BCE87A,
    0xDD07448E, 0x57A3D037, 0xDDE8F5B9, 0x6956FC3B, 0xA3E3E02C, 0x42D98888, 0xD73C7BEA, 0x3771E98F,
    0x80FF0093, 0xB42AE3D9, 0x8FE4C34D, 0x2178513A, 0xDF99FC11, 0xE0AC139E, 0x6C23E841, 0x170076FA,
    0xFE314258, 0x444DD413, 0x0D8373A0, 0x6F345E45, 0x19E3635E, 0x41D17B64, 0x29F268B4, 0xFF0DBA97,
    0x1DC0632A, 0xA2B73DF1, 0x1614F396, 0xF872E54C, 0x9E2993D3, 0x1E41E9FC, 0x6BEBD73C, 0x86D8E4D2,
    0x63AE91E6, 0x651BD98B, 0xF8C9DA7A, 0x5BB8F1BC, 0x945A19C1, 0xA90FD27A, 0xEE8213B7, 0xB3AF077A,
    0x93781DC7, 0x4984D782, 0xCCC4A1B9, 0xCA6EF3AC, 0xA2C2D971, 0x234E0B26, 0x1CAD4452, 0xDD66CBBB,
    0x74922601, 0x4597456A, 0xC55F7EAB, 0xE9E28EB4, 0xA1962329, 0x7B3FF57A, 0x2D370749, 0xC9C8B782,
    0x397D84A1, 0x3F70CC6F, 0x79113270, 0x93E106A4, 0xBC817803, 0x62EC6C6D, 0x88EB3C07, 0xD813B325,
    0x6E4CB630, 0x0DF04680, 0x71971D5C, 0x2342001E, 0xF33B8BC6, 0x0A2A8D7E, 0x9FB3BBC0, 0x6D9A4957,
    0x6EF22B23, 0xE8B6368B, 0xCE2DF768, 0xD2C3ED1A, 0xE53A4FC7, 0x995A5724, 0xBE60A91A, 0x9EF68D35,
    0x1DFA0A15, 0x0C139B31, 0x8EC52396, 0xF2271E60, 0x0E766B11, 0x0B0BF8CA, 0x475846A4, 0x2664FD8B,
    0xB2A3DFA6, 0xED64812D, 0xDC1A160C, 0x02EE03B2, 0x79AFDF1C, 0x8604AE0F, 0x07AC6E46, 0x363BD6B3,
    0x15F85253, 0x135C83FD, 0x1BEC24DD, 0x5FABE670, 0x4C36CD5B, 0x35EC3279, 0xE0A22E29, 0x00BCF5F6,
    0x7C2B6ED9, 0x8AE00689, 0x06FF88FD, 0x17F27698, 0xF7317CF0, 0x58CA5F00, 0x61B6E40B, 0xAA7C7AD5,
    0xDE8A97F8, 0xB5CFCA28, 0x88F61445, 0xDED288F8, 0xD4520E9E, 0x59F229BC, 0x0C592BD5, 0x6D390DEC,
    0x38EDFAF3, 0x37170390, 0x72CBFCDB, 0x6353C1CC, 0x348331A5, 0xC4584F5C, 0xC3977C19, 0xF48642E9,
    0xDAFAEA7C, 0x531377E2, 0x73DB4C04, 0xDD35BC8D, 0x72675CE8, 0xB25B29F2, 0x3EC2FF83, 0x9A5EDE41,
    0xE8C7A017, 0xA563905D, 0xCF4BFAEF, 0x45CDDF4E, 0x6BDE1AC7, 0xACFA3103, 0xAE1175C2, 0xA51B6135,
};
/* clang-format on */

#endif

#if defined(CRC32C_X86)

/* Below this the thirds are too short to pay for putting them together. */
#define CRC32C_SPLIT_BYTES 96

__attribute__((target("sse4.2"))) static inline uint64_t
crc32c_sse_tail(uint64_t sum, const unsigned char *at, size_t size) {
    for (; size >= 8; size -= 8, at += 8) {
        sum = _mm_crc32_u64(sum, load_u64(at));
    }
    if (size >= 4) {
        sum = _mm_crc32_u32((uint32_t)sum, load_u32(at));
        at += 4;
        size -= 4;
    }
    for (; size > 0; size--, at++) {
        sum = _mm_crc32_u8((uint32_t)sum, *at);
    }
    return sum;
}

/* For processors without the carry-less multiplication: one stream. */
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse_single(uint32_t crc, const void *data,
                                                                    size_t size) {
    assert(data != NULL || size == 0);
    return ~(uint32_t)crc32c_sse_tail(~crc, data, size);
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc32c_sse(uint32_t crc, const void *data,
                                                                    size_t size) {
    const unsigned char *at = data;
    uint64_t sum = ~crc;

    assert(data != NULL || size == 0);
    while (size >= CRC32C_SPLIT_BYTES) {
        size_t words = size / 24 < CRC32C_WORDS_MAX ? size / 24 : CRC32C_WORDS_MAX;
        const unsigned char *second = at + 8 * words;
        const unsigned char *third = second + 8 * words;
        uint64_t sum_b = 0;
        uint64_t sum_c = 0;

        for (size_t i = 0; i < 8 * words; i += 8) {
            sum = _mm_crc32_u64(sum, load_u64(at + i));
            sum_b = _mm_crc32_u64(sum_b, load_u64(second + i));
            sum_c = _mm_crc32_u64(sum_c, load_u64(third + i));
        }
        __m128i factor_a = _mm_cvtsi32_si128((int)crc32c_factors[2 * words - 1]);
        __m128i factor_b = _mm_cvtsi32_si128((int)crc32c_factors[words - 1]);
        __m128i product_a = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)sum), factor_a, 0);
        __m128i product_b = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)sum_b), factor_b, 0);
        uint64_t product = (uint64_t)_mm_cvtsi128_si64(_mm_xor_si128(product_a, product_b));
        sum = _mm_crc32_u64(0, product) ^ sum_c;
        at += 24 * words;
        size -= 24 * words;
    }
    return ~(uint32_t)crc32c_sse_tail(sum, at, size);
}

#elif defined(CRC32C_ARM)

#if defined(__clang__)
#define CRC32C_ARM_TARGET __attribute__((target("crc")))
#define CRC32C_ARM_WORD(sum, word) __builtin_arm_crc32cd(sum, word)
#define CRC32C_ARM_BYTE(sum, byte) __builtin_arm_crc32cb(sum, byte)
#else
#define CRC32C_ARM_TARGET __attribute__((target("+crc")))
#define CRC32C_ARM_WORD(sum, word) __builtin_aarch64_crc32cx(sum, word)
#define CRC32C_ARM_BYTE(sum, byte) __builtin_aarch64_crc32cb(sum, byte)
#endif

/* Multiplication without carry.  Not every ARMv8 has the instruction; for 3 KiB this is cheap. */
static uint64_t crc32c_multiply(uint32_t left, uint32_t right) {
    uint64_t product = 0;
    for (unsigned bit = 0; bit < 32; bit++) {
        product ^= ((uint64_t)right << bit) & (0 - (uint64_t)(left >> bit & 1));
    }
    return product;
}

CRC32C_ARM_TARGET static uint32_t crc32c_arm(uint32_t crc, const void *data, size_t size) {
    const size_t third_bytes = 8 * (size_t)CRC32C_WORDS_MAX;
    const unsigned char *at = data;
    uint32_t sum = ~crc;

    assert(data != NULL || size == 0);
    for (; size >= 3 * third_bytes; size -= 3 * third_bytes, at += 3 * third_bytes) {
        uint32_t sum_b = 0;
        uint32_t sum_c = 0;
        for (size_t i = 0; i < third_bytes; i += 8) {
            sum = CRC32C_ARM_WORD(sum, load_u64(at + i));
            sum_b = CRC32C_ARM_WORD(sum_b, load_u64(at + third_bytes + i));
            sum_c = CRC32C_ARM_WORD(sum_c, load_u64(at + 2 * third_bytes + i));
        }
        uint64_t product = crc32c_multiply(sum, crc32c_factors[2 * CRC32C_WORDS_MAX - 1]) ^
                           crc32c_multiply(sum_b, crc32c_factors[CRC32C_WORDS_MAX - 1]);
        sum = CRC32C_ARM_WORD(0, product) ^ sum_c;
    }
    for (; size >= 8; size -= 8, at += 8) {
        sum = CRC32C_ARM_WORD(sum, load_u64(at));
    }
    for (; size > 0; size--, at++) {
        sum = CRC32C_ARM_BYTE(sum, *at);
    }
    return ~sum;
}

#endif

/* ---- The choice ------------------------------------------------------------------------------ */

static crc32c_function *crc32c_choose(void) {
#if defined(CRC32C_X86)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2")) {
        return __builtin_cpu_supports("pclmul") ? crc32c_sse : crc32c_sse_single;
    }
#elif defined(CRC32C_ARM) && defined(__linux__)
    if ((getauxval(AT_HWCAP) & CRC32C_HWCAP) != 0) {
        return crc32c_arm;
    }
#elif defined(CRC32C_ARM) && defined(__APPLE__)
    return crc32c_arm; /* every 64-bit Apple processor has it */
#endif
    return crc32c_portable;
}

static uint32_t crc32c_first_call(uint32_t crc, const void *data, size_t size);

/* Threads that come at once all choose the same, and the tables are constant: relaxed suffices. */
static _Atomic(crc32c_function *) crc32c_chosen = crc32c_first_call;

static uint32_t crc32c_first_call(uint32_t crc, const void *data, size_t size) {
    crc32c_function *chosen = crc32c_choose();
    assert(chosen != crc32c_first_call);
    atomic_store_explicit(&crc32c_chosen, chosen, memory_order_relaxed);
    return chosen(crc, data, size);
}

uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size) {
    return atomic_load_explicit(&crc32c_chosen, memory_order_relaxed)(crc, data, size);
}

const char *crc32c_name(void) {
#if defined(CRC32C_X86)
    return crc32c_choose() == crc32c_portable ? "portable" : "sse4.2";
#elif defined(CRC32C_ARM)
    return crc32c_choose() == crc32c_portable ? "portable" : "armv8";
#else
    return "portable";
#endif
}
