/* fuzz_arguments.c -- what stands in the parentheses of CREATE VIRTUAL TABLE: an error or a table. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "arguments.h"

#define ARGUMENTS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    const char *parts[ARGUMENTS_MAX];
    int count = 0;

    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    parts[count++] = text;
    for (char *at = text; *at != '\0' && count < ARGUMENTS_MAX; at++) {
        if (*at == ',') {
            *at = '\0';
            parts[count++] = at + 1;
        }
    }
    for (int kind = 0; kind < 3; kind++) {
        table_arguments parsed;
        comet_error error;
        error.message[0] = '\0';
        FUZZ_CHECK(arguments_parse((arguments_kind)kind, count, parts, &parsed, &error) ==
                       COMET_OK ||
                   error.message[0] != '\0');
        arguments_clear(&parsed);
    }
    free(text);
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *seed, size_t room) {
    static const char *const texts[] = {
        "log='telemetry', shard=0, max_file_size='64MB', sync=normal",
        "log=\"a\"\"b\", stream='events:v1', shards=16,type=blob",
        "log='x''y',group='billing',member=1,members=3",
        "shard = 4294967295,on_damage=skip , max_age = '7d'",
    };
    size_t size = n < sizeof texts / sizeof *texts ? strlen(texts[n]) : 0;

    if (size > 0 && size <= room) {
        memcpy(seed, texts[n], size);
    }
    return size;
}
