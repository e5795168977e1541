/* comet_sqlite.h -- comet as a part of a program that links SQLite itself.
**
** Loaded at run time nothing of this is needed: `.load ./comet`, or sqlite3_load_extension(db,
** "./comet", NULL, &message), finds sqlite3_comet_init by itself.
**
** Linked statically (libcomet.a built with -DSQLITE_CORE), call an entry point for a connection:
**
**     sqlite3_comet_init(db, &message, NULL);
**
** or have SQLite do it for each new one:
**
**     sqlite3_auto_extension((void (*)(void))sqlite3_comet_init);
**
** Each returns a SQLite code, and with an error a sentence in *message, to be released with
** sqlite3_free().
*/
#ifndef COMET_SQLITE_H
#define COMET_SQLITE_H

#include <sqlite3.h>

#include "comet.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3_api_routines;

/* Everything. */
COMET_API int sqlite3_comet_init(sqlite3 *db, char **message,
                                 const struct sqlite3_api_routines *api);

/* The same without any writing, for connections that run SQL of others: no INSERT, no settings, no
** comet_sync, and not a byte changed in a log, not even to repair it. */
COMET_API int sqlite3_cometreadonly_init(sqlite3 *db, char **message,
                                         const struct sqlite3_api_routines *api);

#ifdef __cplusplus
}
#endif
#endif
