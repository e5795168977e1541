/* offsets.c -- the mapped group table. */
#include "offsets.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "memory.h"
#include "platform.h"
#include "status.h"

#define OFFSETS_VERSION 1u
#define OFFSETS_MAGIC 0xC0FE0FF5u
#define OFFSETS_HEADER_BYTES 64u
#define SLOT_BYTES 128u
#define NAME_BYTES (8 * OFFSETS_NAME_WORDS)
#define NAME_REMOVED UINT64_MAX /* each word of a removed name */
#define UPDATED_CLAIMED 1

static_assert(OFFSETS_HEADER_BYTES + OFFSETS_SLOT_COUNT * SLOT_BYTES == OFFSETS_BYTES, "the file");
static_assert(COMET_GROUP_BYTES_MAX + 1 == NAME_BYTES, "a name and its NUL");
static_assert(SLOT_ACKNOWLEDGED + 8 <= SLOT_BYTES, "our part must fit");

comet_status offsets_name(const char *text, size_t size, group_name *name, comet_error *error) {
    unsigned char bytes[NAME_BYTES] = {0};
    uint32_t hash = 2166136261u;

    if (text == NULL || size == 0 || size > COMET_GROUP_BYTES_MAX ||
        memchr(text, 0, size) != NULL) {
        return error_set(error, COMET_INVALID, 0,
                         "a group's name is 1 to %u bytes without NUL, this one has %zu bytes%s",
                         COMET_GROUP_BYTES_MAX, size,
                         size > 0 && size <= COMET_GROUP_BYTES_MAX ? ", NUL among them" : "");
    }
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)text[i];
        hash = (hash ^ bytes[i]) * 16777619u;
    }
    memcpy(name->words, bytes, sizeof bytes);
    name->hash = hash;
    return COMET_OK;
}

/* ---- Opening ---- */

/* Zeros so far: somebody died while making the file, before anything stood in it. */
static int is_unfinished(int fd, uint64_t size) {
    unsigned char bytes[4096];

    for (uint64_t at = 0; at < size; at += sizeof bytes) {
        size_t count = size - at < sizeof bytes ? (size_t)(size - at) : sizeof bytes;
        int result = platform->read_at(fd, bytes, count, at);

        if (result != 0) {
            return result;
        }
        for (size_t i = 0; i < count; i++) {
            if (bytes[i] != 0) {
                return 0;
            }
        }
    }
    return 1;
}

/* Blocks before stores: a full disk is an error here, not a SIGBUS later. */
static comet_status make_ready(offset_table *table, const char *path, bool create,
                               comet_error *error) {
    platform_info info = {0};
    void *mapped = NULL;
    int unfinished = 0;
    int result = platform->file_info(table->fd, &info);

    if (result == 0 && info.size_bytes <= OFFSETS_BYTES) {
        result = unfinished = is_unfinished(table->fd, info.size_bytes);
        result = result < 0 ? result : 0;
    }
    if (result == 0 && unfinished > 0 && !create) {
        return error_set(error, COMET_NOT_FOUND, 0, "%s holds nothing yet", path);
    }
    if (result == 0 && unfinished == 0 && info.size_bytes != OFFSETS_BYTES) {
        return error_set(error, COMET_CORRUPT, 0, "%s has %llu bytes instead of %u", path,
                         (unsigned long long)info.size_bytes, OFFSETS_BYTES);
    }
    if (result == 0 && table->writable) {
        result = platform->allocate(table->fd, 0, OFFSETS_BYTES);
    }
    if (result == 0) {
        result = platform->map(table->fd, 0, OFFSETS_BYTES, table->writable, &mapped);
    }
    if (result != 0) {
        comet_status status = status_of_failure(result);
        return error_set(error, status, -result, "cannot map %s", path);
    }
    table->bytes = mapped;
    if (unfinished > 0) {
        store_u32(table->bytes, OFFSETS_VERSION);
        store_u32(table->bytes + 4, OFFSETS_MAGIC);
    }
    if (!offsets_is_sound(table)) {
        return error_set(error, COMET_CORRUPT, 0, "%s does not begin as a group table does", path);
    }
    return COMET_OK;
}

comet_status offsets_open(const char *path, bool create, bool writable, offset_table **table,
                          comet_error *error) {
    offset_table *made = memory_allocate_zeroed(sizeof *made);
    unsigned mode = writable ? PLATFORM_WRITE : PLATFORM_READ;
    comet_status status;

    assert(writable || !create);
    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    made->writable = writable;
    made->fd = platform->open_file(path, create ? mode | PLATFORM_CREATE : mode);
    if (made->fd < 0) {
        int reason = -made->fd;
        memory_release(made);
        status = reason == ENOENT ? COMET_NOT_FOUND : reason == ENOSPC ? COMET_FULL : COMET_IO;
        return error_set(error, status, reason, "cannot open %s", path);
    }
    status = make_ready(made, path, create, error);
    if (status != COMET_OK) {
        offsets_close(made);
        return status;
    }
    *table = made;
    return COMET_OK;
}

void offsets_close(offset_table *table) {
    while (table != NULL) {
        offset_table *older = table->older;

        if (table->bytes != NULL) {
            (void)platform->unmap(table->bytes, OFFSETS_BYTES);
        }
        (void)platform->close_file(table->fd);
        memory_release(table);
        table = older;
    }
}

bool offsets_is_sound(const offset_table *table) {
    return load_u32(table->bytes) == OFFSETS_VERSION && load_u32(table->bytes + 4) == OFFSETS_MAGIC;
}

/* ---- Slots ---- */

static uint64_t name_word(const offset_table *table, int slot, unsigned word) {
    return atomic_load_explicit(offsets_field(table, slot, 8 * word), memory_order_acquire);
}

static void field_store(offset_table *table, int slot, unsigned place, uint64_t value) {
    atomic_store_explicit(offsets_field(table, slot, place), value, memory_order_release);
}

static unsigned char byte_of(uint64_t word, unsigned place) {
    unsigned char bytes[8];

    memcpy(bytes, &word, sizeof bytes);
    return bytes[place];
}

static bool slot_is_empty(const offset_table *table, int slot) {
    return byte_of(name_word(table, slot, 0), 0) == 0;
}

/* Also where somebody died while claiming it anew, or acknowledged into it too late. */
static bool slot_is_removed(const offset_table *table, int slot) {
    return name_word(table, slot, 0) == NAME_REMOVED &&
           (offsets_load(table, slot, SLOT_UPDATED) == 0 ||
            byte_of(name_word(table, slot, OFFSETS_NAME_WORDS - 1), 7) != 0);
}

bool offsets_is(const offset_table *table, int slot, const group_name *name) {
    for (unsigned i = 0; i < OFFSETS_NAME_WORDS; i++) {
        if (name_word(table, slot, i) != name->words[i]) {
            return false;
        }
    }
    return true;
}

/* The group's slot, else -1; *vacant: the first one on its way that it could have, else -1. */
static int probe(const offset_table *table, const group_name *name, int *vacant) {
    *vacant = -1;
    for (uint32_t i = 0; i < OFFSETS_SLOT_COUNT; i++) {
        int slot = (int)((name->hash + i) % OFFSETS_SLOT_COUNT);

        if (slot_is_empty(table, slot)) {
            *vacant = *vacant >= 0 ? *vacant : slot;
            return -1;
        }
        if (offsets_is(table, slot, name)) {
            return slot;
        }
        if (*vacant < 0 && slot_is_removed(table, slot)) {
            *vacant = slot;
        }
    }
    return -1;
}

int offsets_find(const offset_table *table, const group_name *name) {
    int vacant;

    return probe(table, name, &vacant);
}

comet_status offsets_claim(offset_table *table, const group_name *name, int *slot,
                           comet_error *error) {
    int vacant;
    int found = probe(table, name, &vacant);
    uint64_t life;

    assert(table->writable);
    if (found < 0 && vacant < 0) {
        return error_set(error, COMET_FULL, 0,
                         "all %u groups of this shard are taken; comet_forget() one that is no "
                         "longer needed",
                         OFFSETS_SLOT_COUNT);
    }
    if (found < 0) {
        life = (uint64_t)offsets_load(table, vacant, SLOT_LIFE) + 1;
        life = life == 0 || life > INT64_MAX ? 1 : life;
        field_store(table, vacant, SLOT_LIFE, life);
        field_store(table, vacant, SLOT_OFFSET, (uint64_t)(-(int64_t)life));
        field_store(table, vacant, SLOT_STORES, 0);
        field_store(table, vacant, SLOT_SKIPPED, 0);
        field_store(table, vacant, SLOT_ACKNOWLEDGED, 0);
        for (unsigned i = 1; i < OFFSETS_NAME_WORDS; i++) {
            field_store(table, vacant, 8 * i, name->words[i]);
        }
        field_store(table, vacant, 0, name->words[0]);
        field_store(table, vacant, SLOT_UPDATED, UPDATED_CLAIMED);
        found = vacant;
    }
    *slot = found;
    return COMET_OK;
}

bool offsets_has_removed(const offset_table *table) {
    for (int slot = 0; slot < (int)OFFSETS_SLOT_COUNT; slot++) {
        if (slot_is_removed(table, slot)) {
            return true;
        }
    }
    return false;
}

void offsets_remove(offset_table *table, int slot) {
    for (unsigned i = 0; i < OFFSETS_NAME_WORDS; i++) {
        field_store(table, slot, 8 * i, NAME_REMOVED);
    }
    field_store(table, slot, SLOT_OFFSET, (uint64_t)INT64_MIN);
    field_store(table, slot, SLOT_UPDATED, 0);
}

bool offsets_position(const offset_table *table, int slot, uint64_t *offset) {
    int64_t stored = offsets_load(table, slot, SLOT_OFFSET);

    /* An offset above 0 counts without its stamp: its writer died between the two. */
    if (stored < 0 || (stored == 0 && offsets_load(table, slot, SLOT_UPDATED) <= UPDATED_CLAIMED)) {
        return false;
    }
    *offset = (uint64_t)stored;
    return true;
}

bool offsets_name_at(const offset_table *table, int slot, char text[COMET_GROUP_BYTES_MAX + 1]) {
    uint64_t words[OFFSETS_NAME_WORDS];

    for (unsigned i = 0; i < OFFSETS_NAME_WORDS; i++) {
        words[i] = name_word(table, slot, i);
    }
    if (byte_of(words[0], 0) == 0 || byte_of(words[OFFSETS_NAME_WORDS - 1], 7) != 0) {
        return false;
    }
    memcpy(text, words, sizeof words);
    return true;
}

bool offsets_advance(offset_table *table, int slot, const group_name *name, uint64_t target,
                     uint64_t end, int64_t *before, bool *moved) {
    uint64_t current;

    assert(table->writable && target <= end);
    do {
        current = (uint64_t)offsets_load(table, slot, SLOT_OFFSET);
        if (!offsets_is(table, slot, name)) {
            return false;
        }
        *before = (int64_t)current < 0 ? -1 : (int64_t)current;
        *moved = *before < (int64_t)target || current > end;
    } while (*moved && !atomic_compare_exchange_strong(offsets_field(table, slot, SLOT_OFFSET),
                                                       &current, target));
    return true;
}

bool offsets_put(offset_table *table, int slot, const group_name *name, uint64_t target,
                 int64_t *before) {
    uint64_t current;

    assert(table->writable);
    do {
        current = (uint64_t)offsets_load(table, slot, SLOT_OFFSET);
        if (!offsets_is(table, slot, name)) {
            return false;
        }
        *before = (int64_t)current < 0 ? -1 : (int64_t)current;
    } while (
        !atomic_compare_exchange_strong(offsets_field(table, slot, SLOT_OFFSET), &current, target));
    return true;
}

void offsets_stamp(offset_table *table, int slot, int64_t now) {
    field_store(table, slot, SLOT_UPDATED, (uint64_t)now);
    /* Go's metric: not worth a locked instruction for two that store at the same moment. */
    field_store(table, slot, SLOT_STORES, (uint64_t)offsets_load(table, slot, SLOT_STORES) + 1);
}
