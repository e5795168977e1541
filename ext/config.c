/* config.c -- comet_config, as function and as table.
**
** Decides: how a setting is read and set from SQL.  As PRAGMA does, the function returns the value
** in force: plain numbers for counts, else the words a person would write ('64MiB', '4h',
** 'normal'). Settings of retention have a function of their own, so that each has one place.
*/
#include "config.h"

#include <assert.h>

#include "report.h"
#include "rowset.h"
#include "values.h"

#define VALUE_BYTES 32

static const char *unit_word(const comet_setting_info *info, char *choices, int size) {
    switch (info->unit) {
    case COMET_UNIT_BYTES:
        return "bytes";
    case COMET_UNIT_NANOSECONDS:
        return "time";
    case COMET_UNIT_COUNT:
        return "count";
    case COMET_UNIT_SWITCH:
        return "on|off";
    case COMET_UNIT_CHOICE:
        break;
    }
    choices[0] = '\0';
    for (int i = 0, used = 0; info->choices[i] != NULL && used < size; i++) {
        sqlite3_snprintf(size - used, choices + used, "%s%s", i > 0 ? "|" : "", info->choices[i]);
        while (used < size && choices[used] != '\0') {
            used++;
        }
    }
    return choices;
}

static void add_value(rowset *rows, comet_setting setting, int64_t value) {
    char text[VALUE_BYTES];

    if (comet_setting_describe(setting)->unit == COMET_UNIT_COUNT) {
        rowset_integer(rows, value);
    } else {
        comet_setting_format(setting, value, text, sizeof text);
        rowset_text(rows, text);
    }
}

static comet_status fill_settings(connection *used, const char *directory, rowset *rows,
                                  comet_error *error) {
    open_log *log;
    comet_status status = connection_log(used, directory, false, &log, error);

    for (int i = 0; status == COMET_OK && i < COMET_SETTING_COUNT; i++) {
        const comet_setting_info *info = comet_setting_describe((comet_setting)i);
        char choices[128];
        int64_t value = 0;

        assert(info != NULL);
        if (info->retention) {
            continue;
        }
        status = comet_log_setting(log->log, (comet_setting)i, &value, error);
        if (status == COMET_OK) {
            rowset_text(rows, info->name);
            add_value(rows, (comet_setting)i, value);
            add_value(rows, (comet_setting)i, info->initial);
            rowset_text(rows, unit_word(info, choices, (int)sizeof choices));
            rowset_text(rows, info->help);
        }
    }
    return status;
}

/* What the arguments of a call mean. */
typedef struct config_call {
    const char *reference;
    const char *name;
    const char *value; /* NULL to read */
    comet_setting setting;
} config_call;

static comet_status read_call(int count, sqlite3_value **arguments, config_call *call,
                              comet_error *error) {
    comet_status status = value_text(arguments[0], "the log", &call->reference, error);

    if (status == COMET_OK) {
        status = value_text(arguments[1], "the setting's name", &call->name, error);
    }
    if (status == COMET_OK) {
        status =
            comet_setting_find(call->name != NULL ? call->name : "NULL", &call->setting, error);
    }
    call->value = NULL;
    if (status != COMET_OK || count < 3) {
        return status;
    }
    status = value_text(arguments[2], "the value", &call->value, error);
    if (status == COMET_OK && call->value == NULL) {
        return failure_set(error, COMET_INVALID,
                           "%s cannot be set to NULL: leave the value out to read the setting",
                           call->name);
    }
    return status;
}

static comet_status obey(connection *used, const config_call *call, int64_t *value,
                         comet_error *error) {
    log_target target;
    open_log *log = NULL;
    comet_status status;

    if (comet_setting_describe(call->setting)->retention) {
        return failure_set(
            error, COMET_INVALID,
            "%s is a setting of retention, which this version stores and does not act "
            "on; it may be given in CREATE VIRTUAL TABLE",
            call->name);
    }
    if (call->value != NULL && used->readonly) {
        return failure_set(error, COMET_READONLY, "this connection only reads: %s stays as it is",
                           call->name);
    }
    status = connection_resolve(used, call->reference, &target, error);
    if (status != COMET_OK) {
        return status;
    }
    status = connection_log(used, target.directory, call->value != NULL, &log, error);
    log_target_clear(&target);
    if (status == COMET_OK && call->value != NULL) {
        status = comet_log_configure(log->log, call->name, call->value, error);
    }
    return status == COMET_OK ? comet_log_setting(log->log, call->setting, value, error) : status;
}

static void config_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    connection *used = sqlite3_user_data(context);
    config_call call;
    comet_error error;
    int64_t value = 0;
    char text[VALUE_BYTES];

    if (read_call(count, arguments, &call, &error) != COMET_OK ||
        obey(used, &call, &value, &error) != COMET_OK) {
        report_to_function(context, &error);
    } else if (comet_setting_describe(call.setting)->unit == COMET_UNIT_COUNT) {
        sqlite3_result_int64(context, value);
    } else {
        comet_setting_format(call.setting, value, text, sizeof text);
        sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
    }
}

int config_register(connection *used) {
    static const rowset_table settings = {
        "comet_config", "name TEXT, value, \"default\", unit TEXT, help TEXT", 5, fill_settings};
    int rc = rowset_register(used, &settings);

    for (int count = 2; rc == SQLITE_OK && count <= 3; count++) {
        rc = sqlite3_create_function_v2(used->db, "comet_config", count,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY, connection_share(used),
                                        config_function, NULL, NULL, connection_release);
    }
    return rc;
}
