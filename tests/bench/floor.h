/* floor.h -- a writable virtual table that does nothing: what SQLite itself costs.
**
** `CREATE VIRTUAL TABLE t USING bench_floor(n)` has comet_shard's columns.  INSERT reads the values
** as comet_shard does and counts; a scan yields n rows of bench_row() and bench_time().
*/
#ifndef BENCH_FLOOR_H
#define BENCH_FLOOR_H

#include <sqlite3.h>

/* Register the module; an SQLite result code. */
int bench_floor_register(sqlite3 *db);

#endif
