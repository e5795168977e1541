/* settings.c -- the table of settings, and how people write their values.
**
** Decides: names, defaults, bounds and presets; the syntax of sizes and times; the settings file.
**
**     # comet settings ...                  comments and empty lines
**     max_file_size = 64MiB                 one line a setting that somebody has given
**     # sync = normal                       one comment a setting that has its default
*/
#include "settings.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "memory.h"
#include "status.h"

#define KIB INT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

#define MILLISECOND INT64_C(1000000) /* nanoseconds */
#define SECOND (1000 * MILLISECOND)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define CENTURY (36500 * DAY) /* the longest time; 292 years fit */

#define SETTINGS_VALUE_BYTES 64 /* no value that is allowed is longer; with the NUL */
#define SETTINGS_NAME_BYTES 32
#define SETTINGS_FORMAT_BYTES 32 /* what comet_setting_format() needs at most */

static const char *const settings_sync[] = {"off", "normal", "full", NULL};
static const char *const settings_when_full[] = {"drop_oldest", "reject", NULL};
static const char *const settings_upkeep[] = {"thread", "manual", NULL};
static const char *const settings_on_damage[] = {"error", "skip", NULL};
static const char *const settings_preset[] = {"default", "high_compression", "high_throughput",
                                              "multi_process", NULL};

/* clang-format off */
static const comet_setting_info settings_table[COMET_SETTING_COUNT] = {
    /* name, unit, initial, minimum, maximum, choices, retention, stored, help */
    [COMET_MAX_FILE_SIZE] = {
        "max_file_size", COMET_UNIT_BYTES, 1 * GIB, 4 * KIB, 64 * GIB, NULL, false, true,
        "a segment is rotated when it would pass this"},
    [COMET_MIN_COMPRESS_SIZE] = {
        "min_compress_size", COMET_UNIT_BYTES, 4 * KIB, 0, 1 * GIB, NULL, false, true,
        "entries of at least this size are compressed where that is smaller; 1GiB: never"},
    [COMET_COMPRESS_LEVEL] = {
        "compress_level", COMET_UNIT_COUNT, 1, -7, 19, NULL, false, true,
        "zstd level; higher is smaller and slower"},
    [COMET_BOUNDARY_INTERVAL] = {
        "boundary_interval", COMET_UNIT_COUNT, 100, 1, 65536, NULL, false, true,
        "entries per index block"},
    [COMET_SYNC] = {
        "sync", COMET_UNIT_CHOICE, COMET_SYNC_NORMAL, COMET_SYNC_OFF, COMET_SYNC_FULL,
        settings_sync, false, true,
        "data is made durable never (off), at each checkpoint (normal) or each commit (full)"},
    [COMET_CHECKPOINT_INTERVAL] = {
        "checkpoint_interval", COMET_UNIT_NANOSECONDS, 2 * SECOND, 1 * MILLISECOND, 1 * DAY, NULL,
        false, true, "at most this long after a commit there is a checkpoint"},
    [COMET_CHECKPOINT_ENTRIES] = {
        "checkpoint_entries", COMET_UNIT_COUNT, 100000, 1, 1000000000, NULL, false, true,
        "after this many entries there is a checkpoint"},
    [COMET_MAX_MAPPED_BYTES] = {
        "max_mapped_bytes", COMET_UNIT_BYTES, 2 * GIB, 1 * MIB, 64 * TIB, NULL, false, false,
        "bound on the mapped bytes of segments, per log and process"},
    [COMET_PROCESS_ID] = {
        "process_id", COMET_UNIT_COUNT, 0, 0, 65535, NULL, false, false,
        "this process may write the shards whose number modulo process_count is this"},
    [COMET_PROCESS_COUNT] = {
        "process_count", COMET_UNIT_COUNT, 0, 0, 65536, NULL, false, false,
        "over how many processes the shards are spread; 0 or 1: any process may write any"},
    [COMET_MAX_AGE] = {
        "max_age", COMET_UNIT_NANOSECONDS, 7 * DAY, 0, CENTURY, NULL, true, true,
        "sealed segments last written longer ago are deleted; 0: none"},
    [COMET_MAX_SHARD_SIZE] = {
        "max_shard_size", COMET_UNIT_BYTES, 10 * GIB, 0, 1024 * TIB, NULL, true, true,
        "the oldest sealed segments of a shard over this size are deleted; 0: no limit"},
    [COMET_MAX_TOTAL_SIZE] = {
        "max_total_size", COMET_UNIT_BYTES, 0, 0, 1024 * TIB, NULL, true, true,
        "the oldest sealed segments of a log over this size are deleted; 0: no limit"},
    [COMET_PROTECT_UNCONSUMED] = {
        "protect_unconsumed", COMET_UNIT_SWITCH, 1, 0, 1, NULL, true, true,
        "age does not delete a segment that some group has not fully acknowledged"},
    [COMET_FORCE_DELETE_AFTER] = {
        "force_delete_after", COMET_UNIT_NANOSECONDS, 0, 0, CENTURY, NULL, true, true,
        "an unacknowledged segment is protected no longer than this; 0: for ever"},
    [COMET_WHEN_FULL] = {
        "when_full", COMET_UNIT_CHOICE, COMET_WHEN_FULL_DROP_OLDEST, COMET_WHEN_FULL_DROP_OLDEST,
        COMET_WHEN_FULL_REJECT, settings_when_full, true, true,
        "at a size limit drop the oldest segment, acknowledged or not, or reject writes"},
    [COMET_UPKEEP] = {
        "upkeep", COMET_UNIT_CHOICE, COMET_UPKEEP_THREAD, COMET_UPKEEP_THREAD, COMET_UPKEEP_MANUAL,
        settings_upkeep, false, false,
        "checkpoints and retention by a thread, or only at rotation, close and by call"},
    [COMET_ON_DAMAGE] = {
        "on_damage", COMET_UNIT_CHOICE, COMET_ON_DAMAGE_ERROR, COMET_ON_DAMAGE_ERROR,
        COMET_ON_DAMAGE_SKIP, settings_on_damage, false, false,
        "reading damaged entries is an error, or steps around them"},
    [COMET_FILE_GRACE_PERIOD] = {
        "file_grace_period", COMET_UNIT_NANOSECONDS, 5 * MINUTE, 0, CENTURY, NULL, true, true,
        "age deletes no segment written within this time"},
    [COMET_MIN_FILES_TO_KEEP] = {
        "min_files_to_keep", COMET_UNIT_COUNT, 2, 0, 1000000, NULL, true, true,
        "age leaves at least this many segments in a shard"},
    [COMET_CLEANUP_INTERVAL] = {
        "cleanup_interval", COMET_UNIT_NANOSECONDS, 1 * HOUR, 10 * MILLISECOND, CENTURY, NULL,
        true, true, "how often retention runs by itself"},
    [COMET_PRESET] = {
        "preset", COMET_UNIT_CHOICE, COMET_PRESET_DEFAULT, COMET_PRESET_DEFAULT,
        COMET_PRESET_MULTI_PROCESS, settings_preset, false, true,
        "defaults for a purpose"},
};
/* clang-format on */

/* What the presets stand for: after the Go package's, where it has one of the name. */
typedef struct settings_preset_value {
    int64_t preset;
    comet_setting setting;
    int64_t value;
} settings_preset_value;

static const settings_preset_value settings_preset_values[] = {
    {COMET_PRESET_HIGH_COMPRESSION, COMET_MIN_COMPRESS_SIZE, 512},
    {COMET_PRESET_HIGH_THROUGHPUT, COMET_MIN_COMPRESS_SIZE, 1 * MIB},
    {COMET_PRESET_HIGH_THROUGHPUT, COMET_BOUNDARY_INTERVAL, 1000},
    {COMET_PRESET_HIGH_THROUGHPUT, COMET_CHECKPOINT_INTERVAL, 10 * SECOND},
    {COMET_PRESET_HIGH_THROUGHPUT, COMET_CHECKPOINT_ENTRIES, 200000},
    /* What a process that dies leaves to be repaired by the next one stays short. */
    {COMET_PRESET_MULTI_PROCESS, COMET_CHECKPOINT_INTERVAL, 1 * SECOND},
    {COMET_PRESET_MULTI_PROCESS, COMET_CHECKPOINT_ENTRIES, 20000},
};

/* Units of sizes and times; the first of two that fit equally well is written. */
typedef struct settings_unit {
    const char *name;
    int64_t factor;
} settings_unit;

static const settings_unit settings_sizes[] = {
    {"TiB", TIB},
    {"GiB", GIB},
    {"MiB", MIB},
    {"KiB", KIB},
    {"TB", INT64_C(1000000000000)},
    {"GB", INT64_C(1000000000)},
    {"MB", INT64_C(1000000)},
    {"KB", INT64_C(1000)},
    {"B", 1},
    {NULL, 0},
};

/* A week is read, but written as 7d. */
static const settings_unit settings_times[] = {
    {"d", DAY},          {"h", HOUR},           {"m", MINUTE}, {"s", SECOND},
    {"ms", MILLISECOND}, {"us", INT64_C(1000)}, {"ns", 1},     {NULL, 0},
};
static const settings_unit settings_week = {"w", 7 * DAY};

/* ---- The table ------------------------------------------------------------------------------- */

const comet_setting_info *comet_setting_describe(comet_setting setting) {
    return (size_t)setting < COMET_SETTING_COUNT ? &settings_table[setting] : NULL;
}

comet_status comet_setting_find(const char *name, comet_setting *setting, comet_error *error) {
    char list[COMET_SETTING_COUNT * SETTINGS_NAME_BYTES] = "";
    size_t length = 0;

    assert(name != NULL && setting != NULL);
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        size_t name_length = strlen(settings_table[i].name);
        if (strcmp(name, settings_table[i].name) == 0) {
            *setting = (comet_setting)i;
            return COMET_OK;
        }
        assert(name_length + 2 < SETTINGS_NAME_BYTES);
        memcpy(list + length, i == 0 ? "" : ", ", i == 0 ? 0 : 2);
        length += i == 0 ? 0 : 2;
        memcpy(list + length, settings_table[i].name, name_length + 1);
        length += name_length;
    }
    return error_set(error, COMET_NOT_FOUND, 0, "there is no setting '%.64s'; there are: %s", name,
                     list);
}

void settings_apply_preset(comet_settings *settings) {
    const size_t count = sizeof settings_preset_values / sizeof settings_preset_values[0];

    assert(settings != NULL);
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        if (!settings->given[i]) {
            if (i != COMET_PRESET) {
                settings->value[i] = settings_table[i].initial;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        const settings_preset_value *entry = &settings_preset_values[i];
        if (entry->preset == settings->value[COMET_PRESET] && !settings->given[entry->setting]) {
            settings->value[entry->setting] = entry->value;
        }
    }
}

void comet_settings_init(comet_settings *settings) {
    assert(settings != NULL);
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        settings->value[i] = settings_table[i].initial;
        settings->given[i] = false;
    }
}

/* ---- Reading values -------------------------------------------------------------------------- */

static bool settings_is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool settings_is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* `*start` of `*length` bytes without the blanks at its ends. */
static void settings_trim(const char **start, size_t *length) {
    while (*length > 0 && settings_is_blank(**start)) {
        (*start)++;
        (*length)--;
    }
    while (*length > 0 && settings_is_blank((*start)[*length - 1])) {
        (*length)--;
    }
}

static char settings_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Names of units, switches and choices are ASCII, whatever the locale. */
static bool settings_same(const char *left, const char *right, bool any_case) {
    for (; *left != '\0' && *right != '\0'; left++, right++) {
        if (*left != *right && !(any_case && settings_lower(*left) == settings_lower(*right))) {
            return false;
        }
    }
    return *left == *right;
}

/* What "0.<digits>" times `factor` is, if it is whole.  From the last digit on: what a digit and
** those behind it are worth must be whole ten times over, so no precision is ever lost. */
static bool settings_fraction(const char *digits, size_t count, int64_t factor, int64_t *value) {
    int64_t sum = 0;
    assert(factor <= INT64_MAX / 16);
    while (count > 0) {
        count--;
        sum += (digits[count] - '0') * factor;
        if (sum % 10 != 0) {
            return false;
        }
        sum /= 10;
    }
    *value = sum;
    return true;
}

/* The factor of the unit at `text`, 0 where there is no such; no unit is 1. */
static int64_t settings_factor(comet_unit unit, const char *text) {
    const settings_unit *units = unit == COMET_UNIT_BYTES ? settings_sizes : settings_times;

    if (*text == '\0') {
        return 1;
    }
    if (unit == COMET_UNIT_COUNT) {
        return 0;
    }
    for (; units->name != NULL; units++) {
        /* Times are told apart by case in other languages (m, M); be strict. */
        if (settings_same(text, units->name, unit == COMET_UNIT_BYTES)) {
            return units->factor;
        }
    }
    if (unit == COMET_UNIT_NANOSECONDS && settings_same(text, settings_week.name, false)) {
        return settings_week.factor;
    }
    return 0;
}

/* A number with its unit; false where it is none or does not fit. */
static bool settings_parse_number(comet_unit unit, const char *text, int64_t *value) {
    bool negative = *text == '-';
    const char *whole = text + (negative ? 1 : 0);
    const char *fraction = NULL;
    size_t fraction_count = 0;
    int64_t number = 0;
    int64_t part = 0;

    const char *at = whole;
    while (settings_is_digit(*at)) {
        at++;
    }
    size_t whole_count = (size_t)(at - whole);
    if (*at == '.') {
        fraction = ++at;
        while (settings_is_digit(*at)) {
            at++;
        }
        fraction_count = (size_t)(at - fraction);
    }
    if (whole_count == 0 || (fraction != NULL && fraction_count == 0)) {
        return false;
    }
    while (*at == ' ' || *at == '\t') {
        at++;
    }
    int64_t factor = settings_factor(unit, at);
    if (factor == 0) {
        return false;
    }
    for (size_t i = 0; i < whole_count; i++) {
        int digit = whole[i] - '0';
        if (number > (INT64_MAX - digit) / 10) {
            return false;
        }
        number = 10 * number + digit;
    }
    if (number > INT64_MAX / factor ||
        !settings_fraction(fraction, fraction_count, factor, &part) ||
        part > INT64_MAX - number * factor) {
        return false;
    }
    *value = negative ? -(number * factor + part) : number * factor + part;
    return true;
}

static bool settings_parse_switch(const char *text, int64_t *value) {
    static const char *const words[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (settings_same(text, words[i], true)) {
            *value = (int64_t)(i % 2);
            return true;
        }
    }
    return false;
}

/* What may be written for a setting, in words. */
static void settings_allowed(const comet_setting_info *info, char *text, size_t size) {
    comet_setting setting = (comet_setting)(info - settings_table);
    char minimum[SETTINGS_FORMAT_BYTES];
    char maximum[SETTINGS_FORMAT_BYTES];
    size_t length = 0;

    comet_setting_format(setting, info->minimum, minimum, sizeof minimum);
    comet_setting_format(setting, info->maximum, maximum, sizeof maximum);
    switch (info->unit) {
    case COMET_UNIT_BYTES:
        (void)snprintf(text, size,
                       "a size from %s to %s, as bytes or with B, KB, MB, GB, TB, KiB, MiB, GiB or "
                       "TiB ('64MiB', '1.5GB')",
                       minimum, maximum);
        break;
    case COMET_UNIT_NANOSECONDS:
        (void)snprintf(text, size,
                       "a time from %s to %s, as nanoseconds or with ns, us, ms, s, m, h, d or w "
                       "('250ms', '4h', '7d')",
                       minimum, maximum);
        break;
    case COMET_UNIT_COUNT:
        (void)snprintf(text, size, "a whole number from %s to %s", minimum, maximum);
        break;
    case COMET_UNIT_SWITCH:
        (void)snprintf(text, size, "on or off (true, false, yes, no, 1, 0)");
        break;
    case COMET_UNIT_CHOICE:
        for (size_t i = 0; info->choices[i] != NULL && length < size; i++) {
            const char *comma = i == 0 ? "" : info->choices[i + 1] == NULL ? " or " : ", ";
            int added = snprintf(text + length, size - length, "%s%s", comma, info->choices[i]);
            length += added < 0 ? 0 : (size_t)added;
        }
        break;
    }
}

/* A value of a setting, checked. */
static comet_status settings_parse(comet_setting setting, const char *text, int64_t *value,
                                   comet_error *error) {
    const comet_setting_info *info = &settings_table[setting];
    char trimmed[SETTINGS_VALUE_BYTES] = "";
    char allowed[256] = "";
    int64_t parsed = 0;
    bool good = false;
    const char *start = text;
    size_t length = strlen(text);

    settings_trim(&start, &length);
    if (length > 0 && length < sizeof trimmed) {
        memcpy(trimmed, start, length);
        if (info->unit == COMET_UNIT_SWITCH) {
            good = settings_parse_switch(trimmed, &parsed);
        } else if (info->unit != COMET_UNIT_CHOICE) {
            good = settings_parse_number(info->unit, trimmed, &parsed);
        } else {
            for (size_t i = 0; info->choices[i] != NULL && !good; i++) {
                good = settings_same(trimmed, info->choices[i], true);
                parsed = (int64_t)i;
            }
        }
    }
    if (!good || parsed < info->minimum || parsed > info->maximum) {
        settings_allowed(info, allowed, sizeof allowed);
        return error_set(error, COMET_INVALID, 0, "%s cannot be '%.*s'; allowed is %s", info->name,
                         (int)(length < 80 ? length : 80), start, allowed);
    }
    *value = parsed;
    return COMET_OK;
}

comet_status comet_settings_set(comet_settings *settings, const char *name, const char *text,
                                comet_error *error) {
    comet_setting setting = COMET_PRESET;
    int64_t value = 0;

    assert(settings != NULL && name != NULL && text != NULL);
    FORWARD(comet_setting_find(name, &setting, error));
    FORWARD(settings_parse(setting, text, &value, error));
    settings->value[setting] = value;
    settings->given[setting] = true;
    if (setting == COMET_PRESET) {
        settings_apply_preset(settings);
    }
    return COMET_OK;
}

/* ---- Writing values -------------------------------------------------------------------------- */

void comet_setting_format(comet_setting setting, int64_t value, char *text, size_t size) {
    const comet_setting_info *info = comet_setting_describe(setting);
    const settings_unit *units = NULL;
    const settings_unit *best = NULL;

    assert(info != NULL);
    assert(text != NULL && size > 0);
    if (info->unit == COMET_UNIT_CHOICE && value >= info->minimum && value <= info->maximum) {
        (void)snprintf(text, size, "%s", info->choices[value]);
        return;
    }
    if (info->unit == COMET_UNIT_SWITCH && (value == 0 || value == 1)) {
        (void)snprintf(text, size, "%s", value == 1 ? "on" : "off");
        return;
    }
    if (value > 0 && info->unit == COMET_UNIT_BYTES) {
        units = settings_sizes;
    } else if (value > 0 && info->unit == COMET_UNIT_NANOSECONDS) {
        units = settings_times;
    }
    /* The largest unit of which it is a multiple: the shortest number that loses nothing. */
    for (; units != NULL && units->name != NULL; units++) {
        if (value % units->factor == 0 && (best == NULL || units->factor > best->factor)) {
            best = units;
        }
    }
    (void)snprintf(text, size, "%lld%s", (long long)(best == NULL ? value : value / best->factor),
                   best == NULL ? "" : best->name);
}

/* ---- The file -------------------------------------------------------------------------------- */

/* A part of a line as a string; false where it is empty, does not fit or holds a NUL. */
static bool settings_copy(const char *start, size_t length, char *text, size_t size) {
    settings_trim(&start, &length);
    if (length == 0 || length >= size || memchr(start, '\0', length) != NULL) {
        return false;
    }
    memcpy(text, start, length);
    text[length] = '\0';
    return true;
}

/* One line; `number` counts from 1. */
static comet_status settings_read_line(const char *line, size_t length, size_t number,
                                       comet_settings *settings, comet_error *error) {
    char name[SETTINGS_NAME_BYTES + SETTINGS_VALUE_BYTES];
    char value[SETTINGS_VALUE_BYTES];
    comet_error reason;
    comet_setting setting = COMET_PRESET;

    const char *comment = memchr(line, '#', length);
    if (comment != NULL) {
        length = (size_t)(comment - line);
    }
    settings_trim(&line, &length);
    if (length == 0) {
        return COMET_OK;
    }
    const char *equals = memchr(line, '=', length);
    if (equals == NULL || !settings_copy(line, (size_t)(equals - line), name, sizeof name) ||
        !settings_copy(equals + 1, length - (size_t)(equals + 1 - line), value, sizeof value)) {
        return error_set(error, COMET_INVALID, 0, "line %zu of the settings is no 'name = value'",
                         number);
    }
    reason.message[0] = '\0';
    if (comet_setting_find(name, &setting, &reason) == COMET_OK) {
        if (!settings_table[setting].stored) {
            return error_set(error, COMET_INVALID, 0,
                             "line %zu of the settings: %s belongs to a process and is not stored "
                             "with the log",
                             number, name);
        }
        if (settings->given[setting]) {
            return error_set(error, COMET_INVALID, 0,
                             "line %zu of the settings: %s stands there twice", number, name);
        }
        if (comet_settings_set(settings, name, value, &reason) == COMET_OK) {
            return COMET_OK;
        }
    }
    return error_set(error, COMET_INVALID, 0, "line %zu of the settings: %s", number,
                     reason.message);
}

comet_status settings_decode(const char *text, size_t size, comet_settings *out,
                             comet_error *error) {
    comet_settings read;
    size_t number = 0;

    assert(text != NULL || size == 0);
    assert(out != NULL);
    comet_settings_init(&read);
    /* Editors of Windows begin a file so. */
    if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        text += 3;
        size -= 3;
    }
    while (size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t length = newline == NULL ? size : (size_t)(newline - text);
        number++;
        FORWARD(settings_read_line(text, length, number, &read, error));
        length += newline == NULL ? 0 : 1;
        text += length;
        size -= length;
    }
    *out = read;
    return COMET_OK;
}

comet_status settings_encode(const comet_settings *settings, char **text, size_t *size,
                             comet_error *error) {
    static const char head[] =
        "# Settings of this comet log, for every process that opens it.\n"
        "# Lines are `name = value`; those behind a # are defaults, shown for reference.\n"
        "# Sizes: 512B, 64KB, 64KiB, 1.5GB ...  Times: 250ms, 2s, 5m, 4h, 7d ...\n";
    size_t room = sizeof head;
    size_t length = sizeof head - 1;

    assert(settings != NULL && text != NULL && size != NULL);
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        room += strlen(settings_table[i].name) + strlen(settings_table[i].help) +
                SETTINGS_FORMAT_BYTES + sizeof "\n# \n#  = \n";
    }
    char *buffer = memory_allocate(room);
    if (buffer == NULL) {
        return memory_failed(error, room);
    }
    memcpy(buffer, head, sizeof head);
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        const comet_setting_info *info = &settings_table[i];
        char value[SETTINGS_FORMAT_BYTES];
        if (!info->stored) {
            continue;
        }
        comet_setting_format((comet_setting)i, settings->value[i], value, sizeof value);
        int added = snprintf(buffer + length, room - length, "\n# %s\n%s%s = %s\n", info->help,
                             settings->given[i] ? "" : "# ", info->name, value);
        assert(added > 0 && (size_t)added < room - length);
        length += (size_t)added;
    }
    *text = buffer;
    *size = length;
    return COMET_OK;
}
