/* driver.c -- runs a fuzz target without libFuzzer: all seeds, then $COMET_FUZZ_RUNS mutations.
** With a directory as argument it writes the seeds there instead. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 400
#define MUTATIONS_MAX 8

static uint64_t next(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static size_t mutate(uint8_t *bytes, size_t size, uint64_t *random) {
    static const uint64_t odd[] = {0,      1,         0x7F,       0x80,      0xFF,
                                   0xFFFF, INT32_MAX, UINT32_MAX, INT64_MAX, UINT64_MAX};
    size_t changes = 1 + next(random) % MUTATIONS_MAX;

    for (size_t i = 0; i < changes && size > 0; i++) {
        size_t at = next(random) % size;
        switch (next(random) % 5) {
        case 0:
            bytes[at] ^= (uint8_t)(1u << next(random) % 8);
            break;
        case 1:
            bytes[at] = (uint8_t)next(random);
            break;
        case 2: {
            uint64_t value = odd[next(random) % (sizeof odd / sizeof *odd)];
            size_t width = (size_t)1 << next(random) % 4;
            memcpy(bytes + at, &value, width < size - at ? width : size - at);
            break;
        }
        case 3:
            memmove(bytes + at, bytes + next(random) % size, (size - at) / 4);
            break;
        default:
            size = at + 1;
        }
    }
    return size;
}

static int write_seeds(const char *directory) {
    static uint8_t seed[FUZZ_BYTES_MAX];
    size_t size;

    for (unsigned n = 0; (size = fuzz_seed(n, seed, sizeof seed)) > 0; n++) {
        char path[600];
        FILE *out;
        snprintf(path, sizeof path, "%s/seed-%u", directory, n);
        out = fopen(path, "wb");
        if (out == NULL || fwrite(seed, 1, size, out) != size || fclose(out) != 0) {
            return 1;
        }
    }
    return 0;
}

int main(int count, char **arguments) {
    static uint8_t bytes[FUZZ_BYTES_MAX];
    const char *given = getenv("SEED");
    const char *runs_given = getenv("COMET_FUZZ_RUNS");
    uint64_t random = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    unsigned long runs = runs_given != NULL ? strtoul(runs_given, NULL, 0) : RUNS;
    unsigned seeds = 0;

    if (count == 2) {
        return write_seeds(arguments[1]);
    }
    printf("[==========] Running 1 test(s).\nSEED=%llu\n", (unsigned long long)random);
    fflush(stdout);
    for (size_t size; (size = fuzz_seed(seeds, bytes, sizeof bytes)) > 0; seeds++) {
        (void)LLVMFuzzerTestOneInput(bytes, size);
    }
    for (unsigned long i = 0; i < runs; i++) {
        size_t size = fuzz_seed((unsigned)(next(&random) % seeds), bytes, sizeof bytes);
        (void)LLVMFuzzerTestOneInput(bytes, mutate(bytes, size, &random));
    }
    printf("%u seeds, %lu mutations\n[  PASSED  ] 1 test(s).\n", seeds, runs);
    return 0;
}
