/* bench.c -- what the benchmarks share; see bench.h. */
#include "bench.h"

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WARM_BYTES ((size_t)3 << 30)
#define BUFFER_COUNT 8u /* static buffers handed out in turn */

void bench_fail(const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void bench_warm_memory(void) {
    void *memory =
        mmap(NULL, WARM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory != MAP_FAILED) {
        memset(memory, 1, WARM_BYTES);
        munmap(memory, WARM_BYTES);
    }
}

int64_t bench_clock(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int compare_doubles(const void *left, const void *right) {
    double a = *(const double *)left;
    double b = *(const double *)right;

    return (a > b) - (a < b);
}

double bench_median(double *values, size_t count) {
    qsort(values, count, sizeof values[0], compare_doubles);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

uint64_t bench_random(uint64_t *state) {
    uint64_t x = *state;

    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

static void row_write(uint64_t number, char *row) {
    static const char *const levels[] = {"debug", "info ", "warn ", "error"};
    char text[2 * BENCH_ROW_BYTES];
    uint64_t state = number * 2 + 1;
    int length;

    bench_random(&state);
    length = snprintf(text, sizeof text,
                      "{\"host\":\"edge-%08u\",\"service\":\"gateway\",\"level\":\"%s\","
                      "\"status\":%03u,\"latency_us\":%06u,\"path\":\"/v1/items/%08u\"}",
                      (unsigned)(number % 1000), levels[number % 4], (unsigned)(200 + number % 300),
                      (unsigned)(bench_random(&state) % 1000000),
                      (unsigned)(bench_random(&state) % 100000000));
    if (length != (int)BENCH_ROW_BYTES) {
        bench_fail("a row has %d bytes, not %u", length, BENCH_ROW_BYTES);
    }
    memcpy(row, text, BENCH_ROW_BYTES);
}

const char *bench_row(uint64_t number) {
    static char rows[BENCH_ROW_KINDS][BENCH_ROW_BYTES];

    if (rows[0][0] == '\0') {
        for (uint64_t i = 0; i < BENCH_ROW_KINDS; i++) {
            row_write(i, rows[i]);
        }
    }
    return rows[number % BENCH_ROW_KINDS];
}

int64_t bench_time(uint64_t number) {
    return BENCH_TIME_FIRST + (int64_t)number * BENCH_TIME_STEP;
}

uint64_t bench_setting(const char *name, uint64_t otherwise) {
    const char *text = getenv(name);

    return text != NULL && text[0] != '\0' ? strtoull(text, NULL, 10) : otherwise;
}

static char directory[512];

static void directory_remove(void) {
    bench_remove(directory);
}

const char *bench_directory(void) {
    if (directory[0] == '\0') {
        const char *parent = getenv("TMPDIR");

        snprintf(directory, sizeof directory, "%s/comet-bench.XXXXXX",
                 parent != NULL && parent[0] != '\0' ? parent : "/tmp");
        if (mkdtemp(directory) == NULL) {
            bench_fail("cannot make the directory %s", directory);
        }
        atexit(directory_remove);
    }
    return directory;
}

const char *bench_path(const char *name) {
    static char paths[BUFFER_COUNT][1024];
    static unsigned turn;
    char *path = paths[turn++ % BUFFER_COUNT];

    snprintf(path, sizeof paths[0], "%s/%s", bench_directory(), name);
    return path;
}

static int visit_remove(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

void bench_remove(const char *path) {
    nftw(path, visit_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static uint64_t disk_bytes;

static int visit_sum(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)path;
    (void)walk;
    if (type == FTW_F) {
        disk_bytes += (uint64_t)info->st_blocks * 512;
    }
    return 0;
}

uint64_t bench_disk_bytes(const char *path) {
    disk_bytes = 0;
    nftw(path, visit_sum, 16, FTW_PHYS);
    return disk_bytes;
}

const char *bench_cell(double value) {
    static char cells[BUFFER_COUNT][32];
    static unsigned turn;
    char *cell = cells[turn++ % BUFFER_COUNT];

    if (value < 0) {
        return "-";
    }
    snprintf(cell, sizeof cells[0], value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
    return cell;
}
