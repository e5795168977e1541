/* fuzz.h -- what a fuzz target is: bytes in, no crash out, and what it promises besides (abort otherwise).
**
** Each target works with libFuzzer (`make fuzz`) and with driver.c, which feeds it its own seeds and a
** fixed number of mutations of them (`make test`).
*/
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Seed number n, at most `room` bytes; its size, or 0 where there is none. */
size_t fuzz_seed(unsigned n, uint8_t *seed, size_t room);

#define FUZZ_BYTES_MAX (256u * 1024)

/* A promise of the code under test. */
#define FUZZ_CHECK(what)                                                                           \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            fuzz_broken(#what, __FILE__, __LINE__);                                                \
        }                                                                                          \
    } while (0)

static inline void fuzz_broken(const char *what, const char *file, int line) {
    __builtin_printf("%s:%d: not so: %s\n", file, line, what);
    __builtin_trap();
}

#endif
