/* comet.c -- the entry points of the extension.
**
** Decides: what is registered on a connection, and that the library stays loaded: it holds state of
** the whole process (open logs, their threads), which must outlive the connection that loaded it.
** See comet_sqlite.h for how to use it.
*/
#include "comet_sqlite.h"

#include <sqlite3ext.h>
#ifndef SQLITE_CORE
SQLITE_EXTENSION_INIT1
#endif

#include "config.h"
#include "consumer_table.h"
#include "functions.h"
#include "group_functions.h"
#include "lines_table.h"
#include "report.h"
#include "segments_table.h"
#include "shard_table.h"
#include "stats_table.h"
#include "stream_functions.h"
#include "stream_table.h"

static void *resize(void *memory, size_t size) {
    return sqlite3_realloc64(memory, size);
}

static void release(void *memory) {
    sqlite3_free(memory);
}

static const comet_allocator sqlite_allocator = {resize, release};

static int register_all(connection *used) {
    static int (*const registrations[])(connection * used) = {
        shard_table_register,    stream_table_register,    consumer_table_register,
        segments_table_register, config_register,          lines_table_register,
        functions_register,      group_functions_register, stream_functions_register,
        stats_table_register,
    };
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < sizeof registrations / sizeof registrations[0]; i++) {
        rc = registrations[i](used);
    }
    return rc;
}

static int init(sqlite3 *db, char **message, const sqlite3_api_routines *api, bool readonly) {
    connection *used;
    int rc;

#ifdef SQLITE_CORE
    (void)api;
#else
    SQLITE_EXTENSION_INIT2(api);
#endif
    if (sqlite3_libversion_number() < SQLITE_VERSION_MIN) {
        return report_refusal(message, SQLITE_ERROR,
                              "comet needs SQLite " SQLITE_VERSION_MIN_TEXT
                              " or newer, this is %s: update the SQLite library",
                              sqlite3_libversion());
    }
    /* Refused while a log is open, which is when another connection has done it already. */
    (void)comet_set_allocator(&sqlite_allocator);
    used = connection_new(db, readonly);
    if (used == NULL) {
        return SQLITE_NOMEM;
    }
    rc = register_all(used);
    connection_release(used);
#ifndef SQLITE_CORE
    /* As an automatic extension of a static build this value would be taken for a failure. */
    if (rc == SQLITE_OK) {
        rc = SQLITE_OK_LOAD_PERMANENTLY;
    }
#endif
    return rc;
}

int sqlite3_comet_init(sqlite3 *db, char **message, const sqlite3_api_routines *api) {
    return init(db, message, api, false);
}

int sqlite3_cometreadonly_init(sqlite3 *db, char **message, const sqlite3_api_routines *api) {
    return init(db, message, api, true);
}
