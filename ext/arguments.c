/* arguments.c -- see arguments.h. */
#include "arguments.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* A setting's name is shorter; a longer word is none. */
#define NAME_BYTES_MAX 64

/* As many as a log may have. */
#define STREAM_SHARDS_MAX 1000000

static const char *skip_space(const char *text) {
    while (isspace((unsigned char)*text)) {
        text++;
    }
    return text;
}

/* Copy a value without its quotes and the space around it.  NULL: out of memory. */
static char *unquote(const char *text) {
    char *value = sqlite3_mprintf("%s", skip_space(text));
    size_t length = value != NULL ? strlen(value) : 0;
    char quote;
    char *out = value;

    while (length > 0 && isspace((unsigned char)value[length - 1])) {
        value[--length] = '\0';
    }
    if (length < 2 || (value[0] != '\'' && value[0] != '"') || value[length - 1] != value[0]) {
        return value;
    }
    quote = value[0];
    for (size_t i = 1; i < length - 1; i++) {
        *out++ = value[i];
        if (value[i] == quote && value[i + 1] == quote && i + 1 < length - 1) {
            i++;
        }
    }
    *out = '\0';
    return value;
}

/* Split `text` at its first '='.  The value is to be released with sqlite3_free(). */
static comet_status split(const char *text, char name[NAME_BYTES_MAX], char **value,
                          comet_error *error) {
    const char *start = skip_space(text);
    size_t length = strcspn(start, "= \t\r\n");
    const char *equals = skip_space(start + length);

    if (length == 0 || length >= NAME_BYTES_MAX || *equals != '=') {
        return failure_set(error, COMET_INVALID,
                           "\"%.200s\" is no argument of a comet table: write name=value", text);
    }
    memcpy(name, start, length);
    name[length] = '\0';
    *value = unquote(equals + 1);
    return *value != NULL ? COMET_OK : failure_no_memory(error);
}

static bool parse_number(const char *text, long long low, long long high, uint32_t *number) {
    char *end;
    long long parsed = strtoll(text, &end, 10);

    if (!isdigit((unsigned char)text[0]) || *end != '\0' || parsed < low || parsed > high) {
        return false;
    }
    *number = (uint32_t)parsed;
    return true;
}

static comet_status parse_shard(const char *text, uint32_t *shard, comet_error *error) {
    if (!parse_number(text, 0, (long long)COMET_SHARD_ID_MAX, shard)) {
        return failure_set(error, COMET_INVALID,
                           "shard=%.200s is out of range: a shard is an integer from 0 to %lld",
                           text, (long long)COMET_SHARD_ID_MAX);
    }
    return COMET_OK;
}

static comet_status parse_shards(const char *text, uint32_t *shards, comet_error *error) {
    if (!parse_number(text, 1, STREAM_SHARDS_MAX, shards)) {
        return failure_set(error, COMET_INVALID,
                           "shards=%.200s is out of range: a stream has 1 to %d shards", text,
                           STREAM_SHARDS_MAX);
    }
    return COMET_OK;
}

static comet_status parse_type(const char *text, entry_type *type, comet_error *error) {
    static const char *const names[] = {"auto", "text", "blob"};

    for (int i = 0; i < 3; i++) {
        if (sqlite3_stricmp(text, names[i]) == 0) {
            *type = (entry_type)i;
            return COMET_OK;
        }
    }
    return failure_set(error, COMET_INVALID, "type=%.200s: a type is auto, text or blob", text);
}

static comet_status keep_text(const char *text, char **kept, comet_error *error) {
    sqlite3_free(*kept);
    *kept = sqlite3_mprintf("%s", text);
    return *kept != NULL ? COMET_OK : failure_no_memory(error);
}

static comet_status parse_count(const char *name, const char *text, int64_t *number,
                                comet_error *error) {
    char *end;
    long long parsed = strtoll(text, &end, 10);

    if (!isdigit((unsigned char)text[0]) || *end != '\0' ||
        parsed > (long long)COMET_SHARD_ID_MAX) {
        return failure_set(error, COMET_INVALID, "%s=%.200s is no count: write an integer", name,
                           text);
    }
    *number = (int64_t)parsed;
    return COMET_OK;
}

/* What a table of each kind knows besides log, type and the settings. */
static const char *const own_names[] = {"shard", "stream, shards", "shard, group, member, members"};

static comet_status parse_setting(arguments_kind kind, const char *name, const char *text,
                                  table_arguments *parsed, comet_error *error) {
    comet_status status = comet_settings_set(&parsed->settings, name, text, error);

    if (status == COMET_NOT_FOUND) {
        char why[COMET_MESSAGE_BYTES];

        memcpy(why, error->message, sizeof why);
        return failure_set(error, status, "%s; besides settings: log, %s, type", why,
                           own_names[kind]);
    }
    parsed->has_settings = true;
    return status;
}

static comet_status parse_one(arguments_kind kind, const char *name, const char *value,
                              table_arguments *parsed, comet_error *error) {
    if (sqlite3_stricmp(name, "log") == 0) {
        return keep_text(value, &parsed->log, error);
    }
    if (kind == ARGUMENTS_OF_STREAM && sqlite3_stricmp(name, "stream") == 0) {
        return keep_text(value, &parsed->stream, error);
    }
    if (kind == ARGUMENTS_OF_STREAM && sqlite3_stricmp(name, "shards") == 0) {
        return parse_shards(value, &parsed->shards, error);
    }
    if (kind != ARGUMENTS_OF_STREAM && sqlite3_stricmp(name, "shard") == 0) {
        parsed->has_shard = true;
        return parse_shard(value, &parsed->shard, error);
    }
    if (sqlite3_stricmp(name, "type") == 0) {
        return parse_type(value, &parsed->type, error);
    }
    if (kind == ARGUMENTS_OF_CONSUMER && sqlite3_stricmp(name, "group") == 0) {
        return keep_text(value, &parsed->group, error);
    }
    if (kind == ARGUMENTS_OF_CONSUMER && sqlite3_stricmp(name, "member") == 0) {
        return parse_count(name, value, &parsed->member, error);
    }
    if (kind == ARGUMENTS_OF_CONSUMER && sqlite3_stricmp(name, "members") == 0) {
        return parse_count(name, value, &parsed->members, error);
    }
    return parse_setting(kind, name, value, parsed, error);
}

comet_status arguments_parse(arguments_kind kind, int count, const char *const *texts,
                             table_arguments *parsed, comet_error *error) {
    memset(parsed, 0, sizeof *parsed);
    parsed->members = 1;
    parsed->type = ENTRY_AUTO;
    comet_settings_init(&parsed->settings);
    for (int i = 0; i < count; i++) {
        char name[NAME_BYTES_MAX];
        char *value = NULL;
        comet_status status = split(texts[i], name, &value, error);

        if (status == COMET_OK) {
            status = parse_one(kind, name, value, parsed, error);
        }
        sqlite3_free(value);
        if (status != COMET_OK) {
            return status;
        }
    }
    return COMET_OK;
}

void arguments_clear(table_arguments *parsed) {
    sqlite3_free(parsed->log);
    sqlite3_free(parsed->stream);
    sqlite3_free(parsed->group);
    parsed->log = parsed->stream = parsed->group = NULL;
}
