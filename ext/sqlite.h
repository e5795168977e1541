/* sqlite.h -- SQLite as the extension sees it.
**
** Decides: how every file of ext/ but comet.c includes SQLite.  Loaded, all calls go through the
** table of functions that the host hands to the entry point; compiled with -DSQLITE_CORE they are
** ordinary calls.
*/
#ifndef COMET_EXT_SQLITE_H
#define COMET_EXT_SQLITE_H

#include <sqlite3ext.h>
#ifndef SQLITE_CORE
SQLITE_EXTENSION_INIT3
#endif

/* The oldest SQLite that offers what we use: LIMIT and OFFSET for virtual tables came with 3.38. */
#define SQLITE_VERSION_MIN 3038000
#define SQLITE_VERSION_MIN_TEXT "3.38"

/* From here on OFFSET is not offered to the parts of a compound SELECT, where skipping in each part
** would be wrong; see planner.h, may_skip. */
#define SQLITE_VERSION_SAFE_SKIP 3047000

#endif
