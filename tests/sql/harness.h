/* harness.h -- what the SQL tests share: a directory that goes away, databases, expectations.
**
** Every test gets a fixture with a directory of its own and a connection to main.db in it, so that
** a relative log lies in that directory.  Expectations end the test and show SQL and message.
*/
#ifndef COMET_TESTS_SQL_HARNESS_H
#define COMET_TESTS_SQL_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>

typedef struct fixture {
    char directory[512];
    char database[600]; /* main.db in it */
    sqlite3 *db;
} fixture;

/* For cmocka_unit_test_setup_teardown(). */
int fixture_setup(void **state);
int fixture_teardown(void **state);

#define SQL_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/* A connection with comet on it; close with db_close(). */
sqlite3 *db_open(const char *file);
sqlite3 *db_open_readonly_comet(const char *file);
void db_close(sqlite3 *db);

/* Close the fixture's connection and open another on the same file. */
void fixture_reopen(fixture *used);

/* Run SQL (a printf format of sqlite3_mprintf) that must succeed. */
void run(sqlite3 *db, const char *format, ...);

/* Run SQL that must fail: with this (extended or primary) code, and with `hint` in the message. */
void refuse(sqlite3 *db, int code, const char *hint, const char *format, ...);

/* All rows of a query as text: columns joined by '|', rows by newline; NULL, x'0a' for blobs.
** Release with sqlite3_free(). */
char *rows_of(sqlite3 *db, const char *sql);

/* The rows must read so. */
void expect(sqlite3 *db, const char *rows, const char *format, ...);

/* The words of the index in EXPLAIN QUERY PLAN must contain `words` and end with them. */
void expect_plan(sqlite3 *db, const char *words, const char *sql);

/* Write a file in the fixture's directory; its absolute path goes to `path`. */
void write_file(const fixture *used, const char *name, const void *bytes, size_t size,
                char path[700]);

/* A small generator, the same everywhere. */
uint32_t random_below(uint64_t *seed, uint32_t bound);

#endif
