/* legacy.c -- the places in which older versions of the Go package kept where groups stand.
**
** Decides: what is taken over from them into offsets.state, and when.
**
**   offsets.bin    u8 version 1, u32 count, { u8 length, name, i64 next offset } ...
**   index.bin      consumers (manifest.c), in files of old
**
** Before a log's groups are first used by somebody who may write, each group that offsets.state gives
** no position gets the one from there; a position that offsets.state has is newer, and stays.  Doing it
** again after a death in between changes nothing.  When it is durable, offsets.bin is deleted; one that
** cannot be read whole, or held what offsets.state cannot, is kept under another name.  The consumers
** of index.bin go with its next rewrite, and count only as long as no group was ever forgotten: else it
** might be one of them.
*/
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "memory.h"
#include "platform.h"
#include "shard.h"
#include "status.h"

#define LEGACY_NAME "offsets.bin"
#define LEGACY_VERSION 1u
#define LEGACY_HEADER_BYTES 5u
#define LEGACY_BYTES_MAX ((uint64_t)16 << 20)
#define CONSUMER_COUNT_PLACE 24u /* in index.bin */

/* ---- Whether there is anything ---- */

static bool has_file(const comet_shard *shard) {
    char path[PATH_BYTES_MAX];
    platform_info info;

    return shard_path(shard, LEGACY_NAME, path, NULL) == COMET_OK &&
           platform->path_info(path, &info) == 0 && info.is_regular;
}

static bool has_consumers(const comet_shard *shard) {
    char path[PATH_BYTES_MAX];
    unsigned char count[4] = {0};
    int fd = shard_path(shard, MANIFEST_NAME, path, NULL) == COMET_OK
                 ? platform->open_file(path, PLATFORM_READ)
                 : -ENOENT;

    if (fd < 0) {
        return false;
    }
    if (platform->read_at(fd, count, sizeof count, CONSUMER_COUNT_PLACE) != 0) {
        memset(count, 0, sizeof count);
    }
    (void)platform->close_file(fd);
    return load_u32(count) != 0;
}

bool legacy_is_there(const comet_shard *shard) {
    return has_file(shard) || has_consumers(shard);
}

/* ---- Taking over ---- */

/* False: offsets.state cannot hold it. */
static bool take_over(comet_shard *shard, offset_table *table, const char *text, size_t size,
                      int64_t offset) {
    uint64_t end = state_end(&shard->state);
    group_name name;
    uint64_t target;
    uint64_t stands;
    int64_t before;
    bool moved = false;
    int slot;

    if (offset < 0) {
        return true; /* a group that never acknowledged anything */
    }
    target = (uint64_t)offset < end ? (uint64_t)offset : end;
    if (offsets_name(text, size, &name, NULL) != COMET_OK ||
        offsets_claim(table, &name, &slot, NULL) != COMET_OK) {
        return false;
    }
    if (!offsets_position(table, slot, &stands) &&
        offsets_advance(table, slot, &name, target, end, &before, &moved) && moved) {
        offsets_stamp(table, slot, platform->now());
        state_add(&shard->state, STATE_GROUP_COUNT, 1);
    }
    return true;
}

/* *whole: every group of the file is in the table now. */
static comet_status import_file(comet_shard *shard, offset_table *table, bool *whole,
                                comet_error *error) {
    uint8_t *bytes;
    size_t size;
    size_t at = LEGACY_HEADER_BYTES;
    comet_status status =
        inventory_read_file(shard, LEGACY_NAME, LEGACY_BYTES_MAX, &bytes, &size, error);

    *whole = false;
    if (status == COMET_CORRUPT) {
        return COMET_OK; /* too large to be one */
    }
    FORWARD(status);
    if (size >= LEGACY_HEADER_BYTES && bytes[0] == LEGACY_VERSION) {
        uint32_t left = load_u32(bytes + 1);
        *whole = true;
        for (; left > 0 && at < size && size - at >= (size_t)bytes[at] + 9; left--) {
            const uint8_t *name = bytes + at + 1;
            at += (size_t)bytes[at] + 9;
            *whole &= take_over(shard, table, (const char *)name, (size_t)(bytes + at - 8 - name),
                                load_i64(bytes + at - 8));
        }
        *whole &= left == 0;
    }
    memory_release(bytes);
    return COMET_OK;
}

static comet_status import_consumers(comet_shard *shard, offset_table *table, comet_error *error) {
    manifest old;
    comet_status status;

    if (offsets_has_removed(table)) {
        return COMET_OK;
    }
    manifest_init(&old);
    status = inventory_read_manifest(shard, &old, error);
    for (size_t i = 0; status == COMET_OK && i < old.consumer_count; i++) {
        const manifest_consumer *one = &old.consumers[i];
        (void)take_over(shard, table, one->name, strlen(one->name), one->offset);
    }
    manifest_clear(&old);
    return status == COMET_CORRUPT || status == COMET_NOT_FOUND ? COMET_OK : status;
}

/* The table and its name are on the disk before what they were taken from goes. */
static comet_status retire_file(comet_shard *shard, offset_table *table, bool whole,
                                comet_error *error) {
    char path[PATH_BYTES_MAX];
    int result = platform->sync_file(table->fd);

    FORWARD(shard_path(shard, LEGACY_NAME, path, error));
    if (result == 0) {
        result = platform->sync_directory(shard->home.directory);
    }
    if (result == 0 && whole) {
        result = platform->remove_file(path);
    }
    if (result != 0) {
        return error_set(error, status_of_failure(result), -result,
                         "cannot take over the groups of %s", path);
    }
    if (!whole) {
        inventory_set_aside(shard, LEGACY_NAME);
        state_count_corruption(&shard->state);
    }
    return COMET_OK;
}

comet_status legacy_import(comet_shard *shard, offset_table *table, comet_error *error) {
    bool whole;

    /* The file first: versions that had it no longer kept index.bin's up to date. */
    if (has_file(shard)) {
        FORWARD(import_file(shard, table, &whole, error));
        FORWARD(retire_file(shard, table, whole, error));
    }
    if (has_consumers(shard)) {
        FORWARD(import_consumers(shard, table, error));
        atomic_store(&shard->acks_pending, true);
    }
    return COMET_OK;
}
