/* patience.h -- waiting for another writer, as SQLite waits for a lock.
**
** Decides: how long (PRAGMA busy_timeout of the connection, 0 unless it was set) and in which steps a
** call that gave COMET_BUSY is tried again.  A handler set with sqlite3_busy_handler() cannot be called
** by an extension: SQLite has no function for that, so such a connection does not wait.
**
**     patience waiting = patience_for(db);
**     do {
**         status = try_it(...);
**     } while (status == COMET_BUSY && patience_nap(&waiting));
*/
#ifndef COMET_EXT_PATIENCE_H
#define COMET_EXT_PATIENCE_H

#include <stdbool.h>

#include "sqlite.h"

typedef struct patience {
    sqlite3 *db;
    int nap_ms;  /* the next one; 0 before the first */
    int left_ms; /* meaningless before the first nap */
} patience;

/* Costs nothing unless there is a nap. */
patience patience_for(sqlite3 *db);

/* Sleep a little; false: it has been long enough. */
bool patience_nap(patience *waiting);

#endif
