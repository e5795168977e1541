/* support.h -- what the unit tests of the core's upper rooms share: directories that go away, seeded
** random numbers, and a reference model of a shard: an array of (timestamp, size, seed). */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "comet.h"

#define PATH_ROOM 512

/* Fail the test with the library's own message unless `call`, which fills `error`, is COMET_OK. */
#define OK(call) assert_status((call), COMET_OK, #call, __FILE__, __LINE__)
#define STATUS(call, expected) assert_status((call), (expected), #call, __FILE__, __LINE__)

extern comet_error error;

void assert_status(comet_status status, comet_status expected, const char *what, const char *file,
                   int line);

/* ---- Random numbers ---- */

/* A seed from $SEED or the clock, printed; and numbers from it. */
uint64_t random_seed(const char *what);
uint64_t random_next(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t limit);

/* ---- Files ---- */

void directory_make(char path[PATH_ROOM]); /* an empty one under $TMPDIR */
void directory_remove(const char *path);
void file_path(char path[PATH_ROOM], const char *directory, const char *name);
void file_write(const char *path, uint64_t position, const void *bytes, size_t size);
void file_fill(const char *path, uint64_t seed, size_t size); /* garbage of that size */
bool file_exists(const char *path);
uint64_t path_size(const char *path);

/* The n-th last (0: the last) file of the directory whose name ends so; false: there is none. */
bool file_find(char path[PATH_ROOM], const char *directory, const char *suffix, unsigned back);
unsigned file_count(const char *directory, const char *suffix);

/* As if the machine had been started anew since comet.state was written. */
void simulate_reboot(const char *directory, uint32_t shard);

/* ---- The log ---- */

/* `settings` is "name=value name=value ..." or NULL. */
comet_log *log_make(const char *directory, unsigned flags, const char *settings);
void settings_parse(comet_settings *out, const char *text);

/* ---- The model ---- */

typedef struct model_entry {
    int64_t timestamp;
    size_t size;
    uint64_t seed;
} model_entry;

typedef struct model {
    model_entry *entries;
    size_t count;
    size_t capacity;
} model;

void model_add(model *m, int64_t timestamp, size_t size, uint64_t seed);
void model_free(model *m);

/* The bytes that (size, seed) stand for: text, noise, zeros, or zstd's magic and noise. */
void content_fill(unsigned char *bytes, size_t size, uint64_t seed);
bool content_is(const void *data, size_t size, const model_entry *expected);

/* Append one entry, in the transaction and in the model. */
void append_both(comet_txn *txn, model *m, int64_t timestamp, size_t size, uint64_t seed);
comet_status append_one(comet_txn *txn, const model_entry *entry, uint64_t *offset);

/* The shard's content, with `txn`'s own entries unless NULL, is exactly the model's. */
void check_all(comet_shard *shard, comet_txn *txn, const model *m);

/* How many entries the shard holds that are as in the model, from offset 0; fails on any other
** content or disorder of offsets. */
size_t count_matching(comet_shard *shard, const model *m);

#endif
