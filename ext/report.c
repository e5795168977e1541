/* report.c -- see report.h. */
#include "report.h"

#include <stdarg.h>

comet_status failure_set(comet_error *error, comet_status status, const char *format, ...) {
    va_list arguments;

    error->status = status;
    error->system_errno = 0;
    va_start(arguments, format);
    sqlite3_vsnprintf((int)sizeof error->message, error->message, format, arguments);
    va_end(arguments);
    return status;
}

comet_status failure_no_memory(comet_error *error) {
    return failure_set(error, COMET_NOMEM, "out of memory");
}

comet_status failure_from_sqlite(comet_error *error, sqlite3 *db, int code, const char *what) {
    static const struct {
        int code;
        comet_status status;
    } known[] = {{SQLITE_NOMEM, COMET_NOMEM},    {SQLITE_BUSY, COMET_BUSY},
                 {SQLITE_LOCKED, COMET_BUSY},    {SQLITE_FULL, COMET_FULL},
                 {SQLITE_IOERR, COMET_IO},       {SQLITE_READONLY, COMET_READONLY},
                 {SQLITE_CORRUPT, COMET_CORRUPT}};
    comet_status status = COMET_INVALID;

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].code == (code & 0xff)) {
            status = known[i].status;
        }
    }
    return failure_set(error, status, "cannot %s: %s", what, sqlite3_errmsg(db));
}

int report_code(comet_status status) {
    switch (status) {
    case COMET_OK:
    case COMET_DONE:
        return SQLITE_OK;
    case COMET_NOMEM:
        return SQLITE_NOMEM;
    case COMET_BUSY:
        return SQLITE_BUSY;
    case COMET_FULL:
        return SQLITE_FULL;
    case COMET_IO:
        return SQLITE_IOERR;
    case COMET_CORRUPT:
        return SQLITE_CORRUPT_VTAB;
    case COMET_READONLY:
        return SQLITE_READONLY;
    case COMET_TOO_BIG:
        return SQLITE_TOOBIG;
    case COMET_ABORTED:
        return SQLITE_ABORT_ROLLBACK;
    case COMET_MISUSE:
        return SQLITE_MISUSE;
    case COMET_INVALID:
    case COMET_NOT_FOUND:
    case COMET_CONFLICT:
        return SQLITE_ERROR;
    }
    return SQLITE_INTERNAL;
}

int report(char **message, const comet_error *error) {
    sqlite3_free(*message);
    *message = sqlite3_mprintf("%s", error->message);
    return report_code(error->status);
}

int report_refusal(char **message, int code, const char *format, ...) {
    va_list arguments;

    sqlite3_free(*message);
    va_start(arguments, format);
    *message = sqlite3_vmprintf(format, arguments);
    va_end(arguments);
    return code;
}

void report_to_function(sqlite3_context *context, const comet_error *error) {
    sqlite3_result_error(context, error->message, -1);
    sqlite3_result_error_code(context, report_code(error->status));
}
