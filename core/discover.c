/* discover.c -- which shards stand in a log's directory.
**
** Decides: which names are shards: exactly those that we make, so that nothing is taken for two.
*/
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "log.h"
#include "memory.h"
#include "platform.h"
#include "status.h"

#define SHARD_PREFIX "shard-"
#define SHARD_DIGITS_MIN 4

typedef struct id_list {
    uint32_t *ids;
    size_t count;
    size_t capacity;
} id_list;

/* Exactly the names that we make: shard-0007, shard-12345; not shard-7, not shard-0007-backup. */
static bool parse_shard_name(const char *name, uint32_t *id) {
    char again[32];
    unsigned long long number;
    char *end;

    if (strncmp(name, SHARD_PREFIX, strlen(SHARD_PREFIX)) != 0) {
        return false;
    }
    number = strtoull(name + strlen(SHARD_PREFIX), &end, 10);
    if (*end != '\0' || number > COMET_SHARD_ID_MAX) {
        return false;
    }
    (void)snprintf(again, sizeof again, SHARD_PREFIX "%0*llu", SHARD_DIGITS_MIN, number);
    *id = (uint32_t)number;
    return strcmp(name, again) == 0;
}

static int shard_visit(void *context, const char *name, bool may_be_directory) {
    id_list *list = context;
    uint32_t id;

    if (!may_be_directory || !parse_shard_name(name, &id)) {
        return 0;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? 2 * list->capacity : 16;
        uint32_t *grown = memory_resize(list->ids, capacity * sizeof *grown);
        if (grown == NULL) {
            return -ENOMEM;
        }
        list->ids = grown;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return list->count > SHARD_COUNT_MAX ? -E2BIG : 0;
}

static int id_compare(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;

    return a < b ? -1 : a > b;
}

comet_status log_shards(const log_core *log, uint32_t **ids, size_t *count, comet_error *error) {
    id_list list = {NULL, 0, 0};
    int result = platform->list_directory(log_directory(log), shard_visit, &list);

    if (result != 0) {
        memory_release(list.ids);
        return error_set(error, result == -ENOMEM ? COMET_NOMEM : COMET_IO, -result,
                         "cannot list the shards of %s", log_directory(log));
    }
    if (list.count > 0) {
        qsort(list.ids, list.count, sizeof *list.ids, id_compare);
    }
    *ids = list.ids;
    *count = list.count;
    return COMET_OK;
}
