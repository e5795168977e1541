/* config.c -- comet_config and comet_retention, as functions and as tables.
**
** Decides: how a setting is read and set from SQL.  As PRAGMA does, the function returns the value
** in force: plain numbers for counts, else the words a person would write ('64MiB', '4h',
** 'normal'). Settings of retention have a function
** of their own, so that each has one place; with the log alone it runs retention, and reports in JSON.
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

static comet_status fill(connection *used, const char *directory, bool retention, rowset *rows,
                         comet_error *error) {
    open_log *log;
    comet_status status = connection_log(used, directory, false, &log, error);

    for (int i = 0; status == COMET_OK && i < COMET_SETTING_COUNT; i++) {
        const comet_setting_info *info = comet_setting_describe((comet_setting)i);
        char choices[128];
        int64_t value = 0;

        assert(info != NULL);
        if (info->retention != retention) {
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

static comet_status fill_settings(connection *used, const char *directory, rowset *rows,
                                  comet_error *error) {
    return fill(used, directory, false, rows, error);
}

static comet_status fill_retention(connection *used, const char *directory, rowset *rows,
                                   comet_error *error) {
    return fill(used, directory, true, rows, error);
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

/* comet_config(log, name [, value]) or comet_retention(log, name [, value]). */
static void setting_function(sqlite3_context *context, int count, sqlite3_value **arguments,
                             bool retention) {
    connection *used = sqlite3_user_data(context);
    config_call call;
    comet_error error;
    comet_status status;
    int64_t value = 0;
    char text[VALUE_BYTES];

    status = read_call(count, arguments, &call, &error);
    if (status == COMET_OK && comet_setting_describe(call.setting)->retention != retention) {
        status = failure_set(&error, COMET_INVALID, "%s is a setting of %s: use %s()", call.name,
                             retention ? "the log" : "retention",
                             retention ? "comet_config" : "comet_retention");
    }
    if (status != COMET_OK || obey(used, &call, &value, &error) != COMET_OK) {
        report_to_function(context, &error);
    } else if (comet_setting_describe(call.setting)->unit == COMET_UNIT_COUNT) {
        sqlite3_result_int64(context, value);
    } else {
        comet_setting_format(call.setting, value, text, sizeof text);
        sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
    }
}

static void config_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    setting_function(context, count, arguments, false);
}

/* ---- Running retention ---- */

static void add_item(sqlite3_str *json, const comet_retention_item *item) {
    sqlite3_str_appendf(json,
                        "{\"shard\":%u,\"file\":\"%s\",\"first_offset\":%llu,"
                        "\"last_offset\":%lld,\"bytes\":%llu,\"why\":\"%s\"",
                        item->shard, item->file, (unsigned long long)item->first_offset,
                        (long long)item->end_offset - 1, (unsigned long long)item->bytes,
                        item->why);
    if (item->group[0] != '\0') {
        sqlite3_str_appendall(json, ",\"group\":\"");
        for (const char *at = item->group; *at != '\0'; at++) {
            if (*at == '"' || *at == '\\') {
                sqlite3_str_appendchar(json, 1, '\\');
            }
            if ((unsigned char)*at < ' ') {
                sqlite3_str_appendf(json, "\\u%04x", *at);
            } else {
                sqlite3_str_appendchar(json, 1, *at);
            }
        }
        sqlite3_str_appendchar(json, 1, '"');
    }
    sqlite3_str_appendchar(json, 1, '}');
}

/* {"deleted":{"files":2,"bytes":8192,"entries":100,"segments":[...]},"kept":{...}} */
static void add_half(sqlite3_str *json, const comet_retention_item *items, size_t count,
                     bool deleted) {
    unsigned long long files = 0;
    unsigned long long bytes = 0;
    unsigned long long entries = 0;
    bool first = true;

    for (size_t i = 0; i < count; i++) {
        if (items[i].is_deleted == deleted) {
            files++;
            bytes += items[i].bytes;
            entries += items[i].end_offset - items[i].first_offset;
        }
    }
    sqlite3_str_appendf(json,
                        "\"%s\":{\"files\":%llu,\"bytes\":%llu,\"entries\":%llu,\"segments\":[",
                        deleted ? "deleted" : "kept", files, bytes, entries);
    for (size_t i = 0; i < count; i++) {
        if (items[i].is_deleted == deleted) {
            sqlite3_str_appendall(json, first ? "" : ",");
            add_item(json, &items[i]);
            first = false;
        }
    }
    sqlite3_str_appendall(json, "]}");
}

static comet_status run_retention(connection *used, const char *reference,
                                  comet_retention_item **items, size_t *count, comet_error *error) {
    log_target target;
    open_log *log = NULL;
    comet_status status;

    if (used->readonly) {
        return failure_set(error, COMET_READONLY, "this connection only reads: nothing is deleted");
    }
    status = connection_resolve(used, reference, &target, error);
    if (status != COMET_OK) {
        return status;
    }
    status = connection_log(used, target.directory, false, &log, error);
    log_target_clear(&target);
    return status == COMET_OK ? comet_log_retain(log->log, items, count, error) : status;
}

static void retention_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    comet_retention_item *items = NULL;
    const char *reference;
    sqlite3_str *json;
    comet_error error;
    size_t item_count = 0;

    if (count > 1) {
        setting_function(context, count, arguments, true);
        return;
    }
    if (value_text(arguments[0], "the log", &reference, &error) != COMET_OK ||
        run_retention(sqlite3_user_data(context), reference, &items, &item_count, &error) !=
            COMET_OK) {
        report_to_function(context, &error);
        return;
    }
    json = sqlite3_str_new(sqlite3_context_db_handle(context));
    sqlite3_str_appendchar(json, 1, '{');
    add_half(json, items, item_count, true);
    sqlite3_str_appendchar(json, 1, ',');
    add_half(json, items, item_count, false);
    sqlite3_str_appendchar(json, 1, '}');
    comet_free(items);
    if (sqlite3_str_errcode(json) != SQLITE_OK) {
        sqlite3_result_error_code(context, sqlite3_str_errcode(json));
        sqlite3_free(sqlite3_str_finish(json));
        return;
    }
    sqlite3_result_text(context, sqlite3_str_finish(json), -1, sqlite3_free);
}

static int register_function(connection *used, const char *name, int count,
                             void (*function)(sqlite3_context *, int, sqlite3_value **)) {
    return sqlite3_create_function_v2(used->db, name, count, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                      connection_share(used), function, NULL, NULL,
                                      connection_release);
}

int config_register(connection *used) {
    static const char columns[] = "name TEXT, value, \"default\", unit TEXT, help TEXT";
    static const rowset_table settings = {"comet_config", columns, 5, fill_settings};
    static const rowset_table retention = {"comet_retention", columns, 5, fill_retention};
    int rc = rowset_register(used, &settings);

    rc = rc == SQLITE_OK ? rowset_register(used, &retention) : rc;
    for (int count = 1; rc == SQLITE_OK && count <= 3; count++) {
        rc = register_function(used, "comet_retention", count, retention_function);
        if (rc == SQLITE_OK && count >= 2) {
            rc = register_function(used, "comet_config", count, config_function);
        }
    }
    return rc;
}
