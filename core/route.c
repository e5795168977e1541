/* route.c -- which shard a key goes to, and what a shard is called.
**
** Decides: the package's rules, byte for byte, so that both sides send a key to the same shard and
** read the same number out of the same name.  Pure: no log is touched.
**
**     events:v1:shard:0007     after ":shard:", any number of digits
**     events:0007              else exactly four digits after the last colon
*/
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "comet.h"
#include "status.h"

#define FNV_BASIS 2166136261u
#define FNV_PRIME 16777619u

#define MARK ":shard"
#define MARK_BYTES (sizeof MARK - 1)
#define BARE_DIGITS 4u /* of a number without the mark */

static uint32_t fnv_1a(const void *key, size_t size) {
    const unsigned char *bytes = key;
    uint32_t hash = FNV_BASIS;

    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * FNV_PRIME;
    }
    return hash;
}

uint32_t comet_pick_shard(const void *key, size_t size, uint32_t shards) {
    assert(key != NULL || size == 0);
    return fnv_1a(key, size) % (shards > 0 ? shards : COMET_STREAM_SHARDS);
}

uint32_t comet_owned_shards(uint32_t shards, uint32_t process_id, uint32_t process_count) {
    uint32_t among = shards > 0 ? shards : COMET_STREAM_SHARDS;

    if (process_count <= 1) {
        return among;
    }
    return process_id < among ? (among - process_id - 1) / process_count + 1 : 0;
}

uint32_t comet_owned_shard(uint32_t number, uint32_t process_id, uint32_t process_count) {
    return process_count <= 1 ? number : process_id + number * process_count;
}

uint32_t comet_key_hash(const void *key, size_t size) {
    return fnv_1a(key, size);
}

/* Base 10, digits only, 32 bits. */
static bool parse_number(const char *digits, size_t length, uint32_t *number) {
    uint64_t value = 0;

    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(digits[i] - '0');
        if (value > COMET_SHARD_ID_MAX) {
            return false;
        }
    }
    if (length == 0) {
        return false;
    }
    *number = (uint32_t)value;
    return true;
}

static bool ends_with_mark(const char *text, size_t length) {
    return length >= MARK_BYTES && memcmp(text + length - MARK_BYTES, MARK, MARK_BYTES) == 0;
}

comet_status comet_shard_parse(const char *name, uint32_t *id, comet_error *error) {
    const char *colon = strrchr(name, ':');
    size_t length = colon != NULL ? strlen(colon + 1) : 0;

    if (colon != NULL && (ends_with_mark(name, (size_t)(colon - name)) || length == BARE_DIGITS) &&
        parse_number(colon + 1, length, id)) {
        return COMET_OK;
    }
    return error_set(error, COMET_INVALID, 0,
                     "\"%.200s\" is not the name of a shard: that is <stream>:shard:<number up to "
                     "%u>, or <stream>: and four digits",
                     name, COMET_SHARD_ID_MAX);
}

size_t comet_shard_name(const char *stream, uint32_t id, char *text, size_t size) {
    int length = snprintf(text, size, "%s%s:%04u", stream,
                          ends_with_mark(stream, strlen(stream)) ? "" : MARK, id);

    return length > 0 ? (size_t)length : 0;
}
