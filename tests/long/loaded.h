/* loaded.h -- what the long tests share: connections that load the built extension, as programs do. */
#ifndef COMET_TESTS_LONG_LOADED_H
#define COMET_TESTS_LONG_LOADED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#define LOADED_MESSAGE_BYTES 300

/* A :memory: database with $COMET_SO (./comet.so) on it and a busy_timeout; NULL: see `message`. */
sqlite3 *loaded_open(char message[LOADED_MESSAGE_BYTES]);

/* Run SQL; 0, or the SQLite code with a message. */
int loaded_run(sqlite3 *db, char message[LOADED_MESSAGE_BYTES], const char *format, ...);

/* An empty directory under $TMPDIR; and away with it and what is in it. */
bool loaded_directory(char *path, size_t size);
void loaded_remove(const char *path);

/* A number from the environment. */
uint64_t loaded_setting(const char *name, uint64_t otherwise);

/* xorshift64*; *state is not 0. */
uint64_t loaded_random(uint64_t *state, uint64_t below);

#endif
