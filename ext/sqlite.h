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

/* PRAGMA integrity_check asks virtual tables from SQLite 3.44 on.  Older headers do not know the method;
** older libraries do not look at it, as it stands behind all that they know. */
#if SQLITE_VERSION_NUMBER >= 3044000
typedef struct checked_module {
    sqlite3_module methods;
} checked_module;
#define CHECKED_MODULE(integrity, ...)                                                             \
    {                                                                                              \
        .methods = {.iVersion = 4, __VA_ARGS__, .xIntegrity = (integrity) }                        \
    }
#else
typedef struct checked_module {
    sqlite3_module methods;
    int (*integrity)(sqlite3_vtab *base, const char *schema, const char *name, int flags,
                     char **findings);
} checked_module;
#define CHECKED_MODULE(check, ...)                                                                 \
    { .methods = {.iVersion = 4, __VA_ARGS__}, .integrity = (check) }
#endif

#endif
