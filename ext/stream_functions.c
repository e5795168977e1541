/* stream_functions.c -- comet_pick_shard(key, shards), comet_shard_name(stream, shard),
** comet_shard_id(name): the core's rules for SQL.  NULL in, NULL out. */
#include "stream_functions.h"

#include "report.h"
#include "values.h"

static bool is_null(sqlite3_value *value) {
    return sqlite3_value_type(value) == SQLITE_NULL;
}

static void pick_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    comet_error error;
    uint32_t shards = 0;
    size_t size = 0;
    const void *key;

    (void)count;
    if (is_null(arguments[0]) || is_null(arguments[1])) {
        return;
    }
    if (value_shard(arguments[1], &shards, &error) != COMET_OK) {
        sqlite3_result_error(context,
                             "comet_pick_shard: the number of shards is an integer from 1 to "
                             "4294967295; 0 means 16",
                             -1);
        return;
    }
    key = value_entry(arguments[0], false, &size);
    if (key == NULL && size > 0) {
        sqlite3_result_error_nomem(context);
        return;
    }
    sqlite3_result_int64(context,
                         (sqlite3_int64)comet_pick_shard(size > 0 ? key : "", size, shards));
}

static void name_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    const char *stream = NULL;
    comet_error error;
    uint32_t shard = 0;
    size_t length;
    char *text;

    (void)count;
    if (is_null(arguments[0]) || is_null(arguments[1])) {
        return;
    }
    if (value_text(arguments[0], "the stream", &stream, &error) != COMET_OK ||
        value_shard(arguments[1], &shard, &error) != COMET_OK) {
        report_to_function(context, &error);
        return;
    }
    length = comet_shard_name(stream, shard, NULL, 0);
    text = sqlite3_malloc64(length + 1);
    if (text == NULL) {
        sqlite3_result_error_nomem(context);
        return;
    }
    comet_shard_name(stream, shard, text, length + 1);
    sqlite3_result_text64(context, text, length, sqlite3_free, SQLITE_UTF8);
}

static void id_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    const char *name = NULL;
    comet_error error;
    uint32_t shard = 0;

    (void)count;
    if (is_null(arguments[0])) {
        return;
    }
    if (value_text(arguments[0], "the name", &name, &error) != COMET_OK ||
        comet_shard_parse(name, &shard, &error) != COMET_OK) {
        report_to_function(context, &error);
        return;
    }
    sqlite3_result_int64(context, (sqlite3_int64)shard);
}

int stream_functions_register(connection *used) {
    static const struct {
        const char *name;
        int count;
        void (*call)(sqlite3_context *context, int count, sqlite3_value **arguments);
    } functions[] = {
        {"comet_pick_shard", 2, pick_function},
        {"comet_shard_name", 2, name_function},
        {"comet_shard_id", 1, id_function},
    };
    int flags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS;
    int rc = SQLITE_OK;

    for (size_t i = 0; rc == SQLITE_OK && i < sizeof functions / sizeof functions[0]; i++) {
        rc = sqlite3_create_function_v2(used->db, functions[i].name, functions[i].count, flags,
                                        NULL, functions[i].call, NULL, NULL, NULL);
    }
    return rc;
}
