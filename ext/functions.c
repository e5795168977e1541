/* functions.c -- comet_sync, comet_process_id and _release, comet_ns, comet_time, comet_trust_schema,
** comet_version, comet_debug.
**
** Decides: their arguments, and what each is allowed in: functions with side effects are
** DIRECTONLY, so that views and triggers of a hostile database file cannot call them.
*/
#include "functions.h"

#include <string.h>

#include "instant.h"
#include "patience.h"
#include "report.h"
#include "values.h"

/* ---- comet_sync([log [, shard]]) ------------------------------------------------------------- */

static comet_status sync_target(connection *used, const log_target *target, const uint32_t *id,
                                comet_error *error) {
    patience waiting = patience_for(used->db);
    open_log *log = NULL;
    open_shard *shard = NULL;
    comet_status status;

    if (id != NULL) {
        status = connection_shard(used, target->directory, *id, false, &shard, error);
        return status == COMET_OK ? comet_shard_sync(shard->shard, error) : status;
    }
    status = connection_log(used, target->directory, false, &log, error);
    if (status != COMET_OK) {
        return status;
    }
    do {
        status = comet_log_sync(log->log, error);
    } while (status == COMET_BUSY && patience_nap(&waiting));
    return status;
}

static comet_status sync_arguments(connection *used, int count, sqlite3_value **arguments,
                                   comet_error *error) {
    const char *reference = NULL;
    log_target target;
    uint32_t id = 0;
    comet_status status = COMET_OK;

    if (used->readonly) {
        return failure_set(error, COMET_READONLY,
                           "this connection only reads: sync where the log is written");
    }
    if (count > 0) {
        status = value_text(arguments[0], "the log", &reference, error);
    }
    if (status == COMET_OK && count > 1) {
        status = value_shard(arguments[1], &id, error);
    }
    if (status == COMET_OK) {
        status = connection_resolve(used, reference, &target, error);
    }
    if (status == COMET_OK) {
        status = sync_target(used, &target, count > 1 ? &id : NULL, error);
        log_target_clear(&target);
    }
    return status;
}

static void sync_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    comet_error error;

    if (sync_arguments(sqlite3_user_data(context), count, arguments, &error) != COMET_OK) {
        report_to_function(context, &error);
    }
}

/* ---- comet_process_id([log]), comet_process_release([log]) ------------------------------------ */

/* The first argument's log; it is made where it is missing, as by a first INSERT: workers ask for their
** slot before any of them has written. */
static comet_status process_log(sqlite3_context *context, int count, sqlite3_value **arguments,
                                comet_log **log, comet_error *error) {
    connection *used = sqlite3_user_data(context);
    const char *reference = NULL;
    open_log *opened = NULL;
    log_target target;
    comet_status status = COMET_OK;

    if (used->readonly) {
        return failure_set(error, COMET_READONLY,
                           "this connection only reads, and who only reads has no process slot");
    }
    if (count > 0) {
        status = value_text(arguments[0], "the log", &reference, error);
    }
    if (status == COMET_OK) {
        status = connection_resolve(used, reference, &target, error);
    }
    if (status == COMET_OK) {
        status = connection_log(used, target.directory, true, &opened, error);
        log_target_clear(&target);
    }
    if (status == COMET_OK) {
        *log = opened->log;
    }
    return status;
}

static void process_id_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    comet_log *log = NULL;
    comet_error error;
    int64_t slot = -1;
    comet_status status = process_log(context, count, arguments, &log, &error);

    if (status == COMET_OK) {
        status = comet_process_id(log, &slot, &error);
        status = status == COMET_BUSY ? COMET_OK : status;
    }
    if (status == COMET_OK) {
        sqlite3_result_int64(context, slot);
    } else {
        report_to_function(context, &error);
    }
}

static void process_release_function(sqlite3_context *context, int count,
                                     sqlite3_value **arguments) {
    comet_log *log = NULL;
    comet_error error;
    bool held = false;
    comet_status status = process_log(context, count, arguments, &log, &error);

    if (status == COMET_OK) {
        status = comet_process_release(log, &held, &error);
    }
    if (status == COMET_OK) {
        sqlite3_result_int(context, held ? 1 : 0);
    } else {
        report_to_function(context, &error);
    }
}

/* ---- comet_ns([when [, modifier ...]]) ------------------------------------------------------- */

/* SQLite's date functions count milliseconds; julianday() gives them all back. */
static bool ask_sqlite(sqlite3 *db, const char *when, int count, sqlite3_value **arguments,
                       int64_t *nanoseconds) {
    sqlite3_str *sql = sqlite3_str_new(db);
    sqlite3_stmt *statement = NULL;
    bool found = false;
    char *text;

    sqlite3_str_appendall(sql, "SELECT CAST(round((julianday(?");
    for (int i = 1; i < count; i++) {
        sqlite3_str_appendall(sql, ",?");
    }
    sqlite3_str_appendall(sql, ") - 2440587.5) * 86400000.0) AS INTEGER)");
    text = sqlite3_str_finish(sql);
    if (text != NULL && sqlite3_prepare_v2(db, text, -1, &statement, NULL) == SQLITE_OK) {
        for (int i = 0; i < count; i++) {
            sqlite3_bind_value(statement, i + 1, arguments[i]);
        }
        if (when != NULL) {
            sqlite3_bind_text(statement, 1, when, -1, SQLITE_STATIC);
        }
        if (sqlite3_step(statement) == SQLITE_ROW &&
            sqlite3_column_type(statement, 0) != SQLITE_NULL) {
            int64_t milliseconds = sqlite3_column_int64(statement, 0);

            found = milliseconds <= INT64_MAX / NANOSECONDS_PER_MILLISECOND &&
                    milliseconds >= INT64_MIN / NANOSECONDS_PER_MILLISECOND;
            *nanoseconds = found ? milliseconds * NANOSECONDS_PER_MILLISECOND : 0;
        }
    }
    sqlite3_finalize(statement);
    sqlite3_free(text);
    return found;
}

/* 'start of day' and its like end at a whole second, whatever the fraction was. */
static bool drops_fraction(int count, sqlite3_value **arguments) {
    for (int i = 1; i < count; i++) {
        const char *modifier = (const char *)sqlite3_value_text(arguments[i]);

        if (modifier != NULL && sqlite3_strnicmp(modifier, "start of ", 9) == 0) {
            return true;
        }
    }
    return false;
}

/* SQLite would cut a text's fraction to milliseconds, so it gets the text without it. */
static bool ask_without_fraction(sqlite3 *db, const char *text, int count,
                                 sqlite3_value **arguments, int64_t *nanoseconds) {
    size_t position;
    size_t length;
    int64_t fraction;
    char *whole;
    bool found;

    if (!instant_fraction(text, &position, &length, &fraction)) {
        return ask_sqlite(db, NULL, count, arguments, nanoseconds);
    }
    whole = sqlite3_mprintf("%.*s%s", (int)position, text, text + position + length);
    found = whole != NULL && ask_sqlite(db, whole, count, arguments, nanoseconds);
    sqlite3_free(whole);
    if (found && !drops_fraction(count, arguments)) {
        found = *nanoseconds <= INT64_MAX - fraction;
        *nanoseconds += found ? fraction : 0;
    }
    return found;
}

static void ns_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    sqlite3 *db = sqlite3_context_db_handle(context);
    const char *text = NULL;
    int64_t nanoseconds = 0;
    bool found;

    if (count > 0 && sqlite3_value_type(arguments[0]) == SQLITE_TEXT) {
        text = (const char *)sqlite3_value_text(arguments[0]);
    }
    if (count == 0 || (count == 1 && text != NULL && sqlite3_stricmp(text, "now") == 0)) {
        nanoseconds = comet_now();
        found = true;
    } else if (text == NULL) {
        found = ask_sqlite(db, NULL, count, arguments, &nanoseconds);
    } else {
        found = (count == 1 && instant_parse(text, &nanoseconds)) ||
                ask_without_fraction(db, text, count, arguments, &nanoseconds);
    }
    if (found) {
        sqlite3_result_int64(context, nanoseconds);
    }
}

/* ---- comet_time(ns) -------------------------------------------------------------------------- */

static void time_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    int64_t nanoseconds = 0;
    char text[INSTANT_BYTES];

    (void)count;
    if (value_integer(arguments[0], &nanoseconds)) {
        instant_format(nanoseconds, text);
        sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
    }
}

/* ---- The rest -------------------------------------------------------------------------------- */

/* Acts on tables that are connected from now on, as SQLite fixes a table's risk when it connects
** it; hence to be called before the first use of a comet table. */
static void trust_schema_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    connection *used = sqlite3_user_data(context);

    if (count > 0) {
        used->trusts_schema = sqlite3_value_int(arguments[0]) != 0;
    }
    sqlite3_result_int(context, used->trusts_schema ? 1 : 0);
}

static void version_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    (void)count;
    (void)arguments;
    sqlite3_result_text(context, "v" COMET_VERSION, -1, SQLITE_STATIC);
}

static void debug_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    const connection *used = sqlite3_user_data(context);
    char *text = sqlite3_mprintf("%ssqlite %s (built with %s)\nconnection %s\n", comet_build_info(),
                                 sqlite3_libversion(), SQLITE_VERSION,
                                 used->readonly ? "reads only" : "reads and writes");

    (void)count;
    (void)arguments;
    if (text == NULL) {
        sqlite3_result_error_nomem(context);
    } else {
        sqlite3_result_text(context, text, -1, sqlite3_free);
    }
}

int functions_register(connection *used) {
    static const struct {
        const char *name;
        int count;
        int flags;
        void (*call)(sqlite3_context *context, int count, sqlite3_value **arguments);
    } functions[] = {
        {"comet_sync", 0, SQLITE_DIRECTONLY, sync_function},
        {"comet_sync", 1, SQLITE_DIRECTONLY, sync_function},
        {"comet_sync", 2, SQLITE_DIRECTONLY, sync_function},
        {"comet_process_id", 0, SQLITE_DIRECTONLY, process_id_function},
        {"comet_process_id", 1, SQLITE_DIRECTONLY, process_id_function},
        {"comet_process_release", 0, SQLITE_DIRECTONLY, process_release_function},
        {"comet_process_release", 1, SQLITE_DIRECTONLY, process_release_function},
        {"comet_ns", -1, 0, ns_function},
        {"comet_time", 1, SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, time_function},
        {"comet_trust_schema", 0, SQLITE_DIRECTONLY, trust_schema_function},
        {"comet_trust_schema", 1, SQLITE_DIRECTONLY, trust_schema_function},
        {"comet_version", 0, SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, version_function},
        {"comet_debug", 0, SQLITE_DIRECTONLY, debug_function},
    };
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < sizeof functions / sizeof functions[0]; i++) {
        rc = sqlite3_create_function_v2(used->db, functions[i].name, functions[i].count,
                                        SQLITE_UTF8 | functions[i].flags, connection_share(used),
                                        functions[i].call, NULL, NULL, connection_release);
    }
    return rc;
}
