/* fuzz_settings.c -- the settings file: what can be read can be written, and then reads the same. */
#include "fuzz.h"

#include <string.h>

#include "memory.h"
#include "settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    comet_settings first;
    comet_settings second;
    char *text;
    size_t length;

    comet_settings_init(&first);
    if (settings_decode((const char *)data, size, &first, NULL) != COMET_OK) {
        return 0;
    }
    for (int i = 0; i < COMET_SETTING_COUNT; i++) {
        const comet_setting_info *info = comet_setting_describe((comet_setting)i);
        FUZZ_CHECK(first.value[i] >= info->minimum && first.value[i] <= info->maximum);
    }
    FUZZ_CHECK(settings_encode(&first, &text, &length, NULL) == COMET_OK);
    comet_settings_init(&second);
    FUZZ_CHECK(settings_decode(text, length, &second, NULL) == COMET_OK);
    FUZZ_CHECK(memcmp(first.value, second.value, sizeof first.value) == 0);
    memory_release(text);
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *seed, size_t room) {
    static const char *const texts[] = {
        "max_file_size = 64MiB\nsync = full\n",
        "# a comment\n\nmax_age = 7d\r\nprotect_unconsumed = off\npreset = high_throughput\n",
        "when_full=reject\ncheckpoint_interval = 250ms\nboundary_interval = 100",
    };
    size_t size = n < sizeof texts / sizeof *texts ? strlen(texts[n]) : 0;

    if (size > 0 && size <= room) {
        memcpy(seed, texts[n], size);
    }
    return size;
}
