/* test_settings.c -- without it '64MB' might mean something else than the user wrote, or the
** settings file might not be read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "comet.h"
#include "memory.h"
#include "settings.h"

static const int64_t second = INT64_C(1000000000);

/* Set one value on defaults; INT64_MIN where it is refused. */
static int64_t parse(const char *name, const char *text) {
    comet_settings settings;
    comet_settings before;
    comet_error error = {0};
    comet_setting setting = COMET_PRESET;

    comet_settings_init(&settings);
    before = settings;
    assert_int_equal(comet_setting_find(name, &setting, NULL), COMET_OK);
    comet_status status = comet_settings_set(&settings, name, text, &error);
    if (status == COMET_OK) {
        assert_true(settings.given[setting]);
        return settings.value[setting];
    }
    assert_int_equal(status, COMET_INVALID);
    assert_non_null(strstr(error.message, name));
    assert_non_null(strstr(error.message, "allowed is "));
    assert_memory_equal(settings.value, before.value, sizeof before.value);
    assert_memory_equal(settings.given, before.given, sizeof before.given);
    return INT64_MIN;
}

/* A user would be surprised by a default that the contract does not name. */
static void test_defaults_are_those_of_the_contract(void **state) {
    static const struct {
        const char *name;
        const char *initial;
    } contract[] = {
        {"max_file_size", "1GiB"},
        {"min_compress_size", "4096"},
        {"compress_level", "1"},
        {"boundary_interval", "100"},
        {"sync", "normal"},
        {"checkpoint_interval", "2s"},
        {"checkpoint_entries", "100000"},
        {"max_mapped_bytes", "2GiB"},
        {"process_id", "0"},
        {"process_count", "0"},
        {"max_age", "7d"},
        {"max_shard_size", "10GiB"},
        {"max_total_size", "0"},
        {"protect_unconsumed", "on"},
        {"force_delete_after", "0"},
        {"when_full", "drop_oldest"},
        {"upkeep", "thread"},
        {"on_damage", "error"},
        {"file_grace_period", "5m"},
        {"min_files_to_keep", "2"},
        {"cleanup_interval", "1h"},
        {"preset", "default"},
    };
    comet_settings settings;
    (void)state;
    comet_settings_init(&settings);
    assert_int_equal(sizeof contract / sizeof contract[0], COMET_SETTING_COUNT);
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        const comet_setting_info *info = comet_setting_describe((comet_setting)i);
        assert_non_null(info);
        assert_string_equal(info->name, contract[i].name);
        assert_int_equal(parse(info->name, contract[i].initial), info->initial);
        assert_int_equal(settings.value[i], info->initial);
        assert_false(settings.given[i]);
        assert_true(info->minimum <= info->initial && info->initial <= info->maximum);
        assert_true(info->help != NULL && strlen(info->help) > 10 && strlen(info->help) < 98);
        assert_int_equal(info->choices != NULL, info->unit == COMET_UNIT_CHOICE);
        bool local = i == COMET_PROCESS_ID || i == COMET_PROCESS_COUNT || i == COMET_UPKEEP ||
                     i == COMET_ON_DAMAGE ||
                     i == COMET_MAX_MAPPED_BYTES;
        assert_int_equal(info->stored, !local);
    }
    assert_null(comet_setting_describe(COMET_SETTING_COUNT));
    assert_null(comet_setting_describe((comet_setting)-1));
}

/* A size would be off by a factor. */
static void test_sizes(void **state) {
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {
        {"65536", 65536},
        {"64MB", 64000000},
        {"64 mb", 64000000},
        {"64MiB", 64 << 20},
        {"64mIb", 64 << 20},
        {"1.5GB", 1500000000},
        {"1.5GiB", INT64_C(3) << 29},
        {" 5000B ", 5000},
        {"4.096KB", 4096},
        {"4.09600KB", 4096},
        {"0.000004096GB", 4096},
        {"0.0078125MiB", 8192},
        {"0.05TB", INT64_C(50000000000)},
        {"0.0625TiB", INT64_C(64) << 30},
        {"8KiB", 8192},
        {"8\tKB", 8000},
    };
    static const char *const bad[] = {
        "",
        " ",
        "MB",
        "64M",
        "64MBB",
        "4.0961KB",
        "4.",
        ".5GB",
        "1.5.5GB",
        "-64MB",
        "+64MB",
        "64GB!",
        "4095",
        "68719476737",
        "9223372036854775807",
        "9223372036854775808",
        "8388608TiB",
        "99999999999999999999999TB",
        "1e9",
        "0x10000",
        "64MB 64MB",
        "64 M B",
        "5s",
        "nan",
        "4096.5",
        "111111111111111111111111111111111111111111111111111111111111111111111111111"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(parse("max_file_size", good[i].text), good[i].bytes);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse("max_file_size", bad[i]), INT64_MIN);
    }
    assert_int_equal(parse("max_total_size", "0"), 0);
    assert_int_equal(parse("max_total_size", "-1"), INT64_MIN);
}

/* A time would be off by a factor. */
static void test_times(void **state) {
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"250", 250},
        {"1ns", 1},
        {"7us", 7000},
        {"250ms", 250000000},
        {"2s", 2000000000},
        {"5m", 300000000000},
        {"4h", 14400000000000},
        {"7d", 604800000000000},
        {"1w", 604800000000000},
        {"1.5h", 5400000000000},
        {"0.001us", 1},
        {"36500 d", INT64_C(36500) * 86400000000000},
    };
    static const char *const bad[] = {"",    "s",      "7D",         "1M", "5min",  "0.0001us",
                                      "-1s", "36501d", "999999999w", "1y", "1h30m", "64MB"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(parse("max_age", good[i].text), good[i].ns);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse("max_age", bad[i]), INT64_MIN);
    }
    assert_int_equal(parse("checkpoint_interval", "0"), INT64_MIN);
}

/* Numbers, switches and choices outside the bounds would reach code that relies on them. */
static void test_other_values(void **state) {
    (void)state;
    assert_int_equal(parse("compress_level", "-7"), -7);
    assert_int_equal(parse("compress_level", "19"), 19);
    assert_int_equal(parse("compress_level", "-8"), INT64_MIN);
    assert_int_equal(parse("compress_level", "20"), INT64_MIN);
    assert_int_equal(parse("boundary_interval", "0"), INT64_MIN);
    assert_int_equal(parse("boundary_interval", "65536"), 65536);
    assert_int_equal(parse("boundary_interval", "65537"), INT64_MIN);
    assert_int_equal(parse("boundary_interval", "5s"), INT64_MIN);
    assert_int_equal(parse("process_id", "65535"), 65535);
    assert_int_equal(parse("process_id", "65536"), INT64_MIN);
    assert_int_equal(parse("process_count", "65536"), 65536);
    assert_int_equal(parse("protect_unconsumed", "OFF"), 0);
    assert_int_equal(parse("protect_unconsumed", "yes"), 1);
    assert_int_equal(parse("protect_unconsumed", "false"), 0);
    assert_int_equal(parse("protect_unconsumed", "1"), 1);
    assert_int_equal(parse("protect_unconsumed", "2"), INT64_MIN);
    assert_int_equal(parse("sync", "Full"), COMET_SYNC_FULL);
    assert_int_equal(parse("sync", "off"), COMET_SYNC_OFF);
    assert_int_equal(parse("sync", "ful"), INT64_MIN);
    assert_int_equal(parse("sync", "fulll"), INT64_MIN);
    assert_int_equal(parse("when_full", "reject"), COMET_WHEN_FULL_REJECT);
    assert_int_equal(parse("upkeep", "manual"), COMET_UPKEEP_MANUAL);
}

/* A user who mistypes could not find out what is allowed. */
static void test_messages_list_what_is_allowed(void **state) {
    comet_settings settings;
    comet_setting setting = COMET_SYNC;
    comet_error error;
    (void)state;
    comet_settings_init(&settings);
    assert_int_equal(comet_settings_set(&settings, "synk", "off", &error), COMET_NOT_FOUND);
    assert_int_equal(comet_setting_find("", &setting, &error), COMET_NOT_FOUND);
    assert_int_equal(setting, COMET_SYNC);
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        assert_non_null(strstr(error.message, comet_setting_describe((comet_setting)i)->name));
    }
    assert_int_equal(comet_settings_set(&settings, "sync", "on", &error), COMET_INVALID);
    assert_string_equal(error.message, "sync cannot be 'on'; allowed is off, normal or full");
    assert_int_equal(comet_settings_set(&settings, "max_file_size", "1", &error), COMET_INVALID);
    assert_non_null(strstr(error.message, "from 4KiB to 64GiB"));
    assert_non_null(strstr(error.message, "MiB"));
    assert_int_equal(comet_settings_set(&settings, "max_age", "1y", &error), COMET_INVALID);
    assert_non_null(strstr(error.message, "from 0 to 36500d"));
}

/* What is shown could not be pasted back. */
static void test_format_parses_back(void **state) {
    static const int64_t probes[] = {0,       1,       999,      1000,           1024,
                                     1500000, 4096000, 1 << 30,  1000000000000,  86400000000000,
                                     -7,      61,      65535000, 604800000000000};
    char text[32];
    (void)state;
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        const comet_setting_info *info = comet_setting_describe((comet_setting)i);
        for (size_t p = 0; p < sizeof probes / sizeof probes[0] + 3; p++) {
            int64_t value = p == 0   ? info->initial
                            : p == 1 ? info->minimum
                            : p == 2 ? info->maximum
                                     : probes[p - 3];
            comet_setting_format((comet_setting)i, value, text, sizeof text);
            if (value >= info->minimum && value <= info->maximum) {
                assert_int_equal(parse(info->name, text), value);
            }
        }
        comet_setting_format((comet_setting)i, INT64_MIN, text, sizeof text);
        comet_setting_format((comet_setting)i, INT64_MAX, text, sizeof text);
        assert_true(strlen(text) < sizeof text);
        comet_setting_format((comet_setting)i, info->maximum, text, 2);
        assert_int_equal(text[1], '\0');
    }
    comet_setting_format(COMET_MAX_FILE_SIZE, 64 << 20, text, sizeof text);
    assert_string_equal(text, "64MiB");
    comet_setting_format(COMET_MAX_FILE_SIZE, 64000000, text, sizeof text);
    assert_string_equal(text, "64MB");
    comet_setting_format(COMET_MAX_FILE_SIZE, 4097, text, sizeof text);
    assert_string_equal(text, "4097B");
    comet_setting_format(COMET_MAX_TOTAL_SIZE, 0, text, sizeof text);
    assert_string_equal(text, "0");
    comet_setting_format(COMET_MAX_AGE, 7 * 86400 * second, text, sizeof text);
    assert_string_equal(text, "7d");
    comet_setting_format(COMET_MAX_AGE, 4 * 3600 * second, text, sizeof text);
    assert_string_equal(text, "4h");
    comet_setting_format(COMET_CHECKPOINT_INTERVAL, 1500000000, text, sizeof text);
    assert_string_equal(text, "1500ms");
    comet_setting_format(COMET_PROTECT_UNCONSUMED, 1, text, sizeof text);
    assert_string_equal(text, "on");
    comet_setting_format(COMET_SYNC, COMET_SYNC_NORMAL, text, sizeof text);
    assert_string_equal(text, "normal");
}

/* A preset would override what the user said, or an earlier preset would linger. */
static void test_presets(void **state) {
    comet_settings settings;
    (void)state;
    comet_settings_init(&settings);
    assert_int_equal(comet_settings_set(&settings, "preset", "high_compression", NULL), COMET_OK);
    assert_int_equal(settings.value[COMET_MIN_COMPRESS_SIZE], 512);
    assert_false(settings.given[COMET_MIN_COMPRESS_SIZE]);
    assert_true(settings.given[COMET_PRESET]);
    assert_int_equal(comet_settings_set(&settings, "boundary_interval", "7", NULL), COMET_OK);
    assert_int_equal(comet_settings_set(&settings, "preset", "high_throughput", NULL), COMET_OK);
    assert_int_equal(settings.value[COMET_BOUNDARY_INTERVAL], 7);
    assert_int_equal(settings.value[COMET_MIN_COMPRESS_SIZE], 1 << 20);
    assert_int_equal(settings.value[COMET_CHECKPOINT_INTERVAL], 10 * second);
    assert_int_equal(comet_settings_set(&settings, "preset", "default", NULL), COMET_OK);
    assert_int_equal(settings.value[COMET_MIN_COMPRESS_SIZE], 4096);
    assert_int_equal(settings.value[COMET_BOUNDARY_INTERVAL], 7);
    assert_int_equal(settings.value[COMET_CHECKPOINT_INTERVAL], 2 * second);
    assert_int_equal(comet_settings_set(&settings, "preset", "multi_process", NULL), COMET_OK);
    assert_int_equal(settings.value[COMET_CHECKPOINT_INTERVAL], second);
}

static comet_status decode(const char *text, size_t size, comet_settings *out, comet_error *error) {
    char *exact = malloc(size + (size == 0)); /* no NUL, so that a sanitizer sees a read beyond */
    assert_non_null(exact);
    memcpy(exact, text, size);
    comet_status status = settings_decode(exact, size, out, error);
    free(exact);
    return status;
}

/* Settings would be lost from one process to the next. */
static void test_file_round_trip(void **state) {
    comet_settings settings;
    comet_settings read;
    char *text = NULL;
    size_t size = 0;
    (void)state;
    for (unsigned given = 0; given < 3; given++) {
        comet_settings_init(&settings);
        for (size_t i = 0; i < COMET_SETTING_COUNT && given > 0; i++) {
            const comet_setting_info *info = comet_setting_describe((comet_setting)i);
            if (info->stored) {
                settings.value[i] = given == 1 ? info->minimum : info->maximum;
                settings.given[i] = true;
            }
        }
        assert_int_equal(settings_encode(&settings, &text, &size, NULL), COMET_OK);
        assert_int_equal(strlen(text), size);
        assert_int_equal(decode(text, size, &read, NULL), COMET_OK);
        assert_memory_equal(read.value, settings.value, sizeof read.value);
        assert_memory_equal(read.given, settings.given, sizeof read.given);
        memory_release(text);
    }
    comet_settings_init(&settings);
    assert_int_equal(comet_settings_set(&settings, "preset", "high_throughput", NULL), COMET_OK);
    assert_int_equal(comet_settings_set(&settings, "max_file_size", "64MiB", NULL), COMET_OK);
    assert_int_equal(settings_encode(&settings, &text, &size, NULL), COMET_OK);
    assert_non_null(strstr(text, "\nmax_file_size = 64MiB\n"));
    assert_non_null(strstr(text, "\n# min_compress_size = 1MiB\n"));
    assert_non_null(strstr(text, "\n# sync = normal\n"));
    assert_null(strstr(text, "process_id ="));
    assert_int_equal(decode(text, size, &read, NULL), COMET_OK);
    assert_memory_equal(read.value, settings.value, sizeof read.value);
    memory_release(text);
}

/* A file that a person edited would be refused for nothing. */
static void test_file_as_people_write_it(void **state) {
    static const char text[] = "\xEF\xBB\xBF# mine\r\n\r\n  max_file_size=64MB   # small\r\n"
                               "\tsync =\tFULL\r\nmax_age = 2 d\n\n#x\nmin_compress_size = 100\n"
                               "preset = high_compression";
    comet_settings read;
    (void)state;
    assert_int_equal(decode(text, sizeof text - 1, &read, NULL), COMET_OK);
    assert_int_equal(read.value[COMET_MAX_FILE_SIZE], 64000000);
    assert_int_equal(read.value[COMET_SYNC], COMET_SYNC_FULL);
    assert_int_equal(read.value[COMET_MAX_AGE], 2 * 86400 * second);
    assert_int_equal(read.value[COMET_MIN_COMPRESS_SIZE], 100); /* said outright, in any order */
    assert_int_equal(read.value[COMET_PRESET], COMET_PRESET_HIGH_COMPRESSION);
    assert_false(read.given[COMET_MAX_TOTAL_SIZE]);
    assert_int_equal(decode("", 0, &read, NULL), COMET_OK);
    assert_int_equal(decode("\n", 1, &read, NULL), COMET_OK);
}

/* A mistake in the file would be passed over, or not be found by who made it. */
static void test_file_errors_name_the_line(void **state) {
    static const struct {
        const char *text;
        const char *message;
    } bad[] = {
        {"\n\nsync full\n", "line 3 "},
        {"sync =\n", "line 1 "},
        {"= full\n", "line 1 "},
        {"# a\r\nsink = full\r\n", "line 2 "},
        {"sync = full\nsync = off", "line 2 "},
        {"sync = full\nmax_age = 1y", "line 2 "},
        {"process_id = 1", "line 1 "},
        {"upkeep = manual", "not stored"},
        {"max_age = 11111111111111111111111111111111111111111111111111111111111111111", "line 1 "},
    };
    comet_settings read;
    comet_settings before;
    comet_error error;
    (void)state;
    memset(&read, 0x5A, sizeof read);
    before = read;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(decode(bad[i].text, strlen(bad[i].text), &read, &error), COMET_INVALID);
        assert_non_null(strstr(error.message, bad[i].message));
        assert_memory_equal(&read.value, &before.value, sizeof read.value);
    }
    assert_int_equal(decode("sync = full\0\n", 13, &read, &error), COMET_INVALID);
    assert_int_equal(decode("sync\0 = full\n", 13, &read, &error), COMET_INVALID);
    assert_int_equal(decode("\0\0\0\0", 4, &read, &error), COMET_INVALID);
    assert_int_equal(settings_decode("x", 1, &read, NULL), COMET_INVALID);
}

/* A file full of noise would crash the host. */
static void test_file_mutations(void **state) {
    comet_settings settings;
    comet_settings read;
    comet_error error;
    char *text = NULL;
    size_t size = 0;
    uint64_t seed = 12345;
    (void)state;
    comet_settings_init(&settings);
    for (size_t i = 0; i < COMET_SETTING_COUNT; i++) {
        settings.given[i] = i % 2 == 0;
    }
    assert_int_equal(settings_encode(&settings, &text, &size, NULL), COMET_OK);
    char *bad = malloc(size);
    assert_non_null(bad);
    for (int round = 0; round < 20000; round++) {
        memcpy(bad, text, size);
        for (int change = 0; change < 1 + round % 9; change++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bad[(seed >> 33) % size] = (char)(seed >> 25);
        }
        comet_status status = settings_decode(bad, size - (seed >> 40) % 50, &read, &error);
        assert_true(status == COMET_OK || status == COMET_INVALID);
        for (size_t i = 0; i < COMET_SETTING_COUNT && status == COMET_OK; i++) {
            const comet_setting_info *info = comet_setting_describe((comet_setting)i);
            assert_true(read.value[i] >= info->minimum && read.value[i] <= info->maximum);
        }
    }
    free(bad);
    memory_release(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_are_those_of_the_contract),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_other_values),
        cmocka_unit_test(test_messages_list_what_is_allowed),
        cmocka_unit_test(test_format_parses_back),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_file_round_trip),
        cmocka_unit_test(test_file_as_people_write_it),
        cmocka_unit_test(test_file_errors_name_the_line),
        cmocka_unit_test(test_file_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
