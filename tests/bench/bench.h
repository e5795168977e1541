/* bench.h -- what the benchmarks share: a clock, a median, rows, directories, and a table printer.
**
** A benchmark prints figures and the targets beside them; it judges nothing.  Everything here ends
** the program with a sentence on failure, so that the measuring code reads straight.
*/
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

#define BENCH_ROW_BYTES 121u  /* one JSON row */
#define BENCH_ROW_KINDS 4096u /* rows made in advance, so that making them is not measured */
#define BENCH_TIME_FIRST INT64_C(1700000000000000000)
#define BENCH_TIME_STEP INT64_C(1000000) /* one row a millisecond */

/* Print a sentence and end the program with status 1. */
_Noreturn void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Use as much memory as the benchmark will, and give it back.  A virtual machine gets each page from its
** host at its first use, which costs more than anything measured here, and falls on whoever is first. */
void bench_warm_memory(void);

/* Monotonic time in nanoseconds. */
int64_t bench_clock(void);

/* The median of `count` values, which are sorted in place. */
double bench_median(double *values, size_t count);

/* xorshift64*: the same sequence in every run. */
uint64_t bench_random(uint64_t *state);

/* Row number `number`: BENCH_ROW_BYTES of JSON, not terminated.  Rows repeat after BENCH_ROW_KINDS. */
const char *bench_row(uint64_t number);

/* The timestamp of row `number`. */
int64_t bench_time(uint64_t number);

/* A number from the environment, or `otherwise`. */
uint64_t bench_setting(const char *name, uint64_t otherwise);

/* A fresh directory under $TMPDIR; made once, removed with all that is in it when the program ends. */
const char *bench_directory(void);

/* "<bench_directory()>/<name>" in static memory, one of several buffers in turn. */
const char *bench_path(const char *name);

/* Remove a file, or a directory with all that is in it; it need not be there. */
void bench_remove(const char *path);

/* Bytes that a directory's files take on the disk (allocated blocks, not lengths). */
uint64_t bench_disk_bytes(const char *path);

/* One figure for a table cell, in static memory, one of several buffers in turn; "-" below zero. */
const char *bench_cell(double value);

#endif
