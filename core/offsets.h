/* offsets.h -- offsets.state: where each group of readers stands in one shard.
**
** Decides: which slot is which group's, and in which order its bytes change, so that any number of
** processes may do it at once and any of them may die in between.
**
**     0        64                                                            65600
**     +--------+---------+---------+-- ... --+---------+
**     | header | slot 0  | slot 1  |         | 511     |      header: u32 version 1, u32 magic
**     +--------+---------+---------+-- ... --+---------+
**
**     slot     0       48       56        64       72     80        88             96   128
**              +-------+--------+---------+--------+------+---------+--------------+-----+
**              | name  | offset | updated | stores | life | skipped | acknowledged | 0   |
**              +-------+--------+---------+--------+------+---------+--------------+-----+
**              the Go package's                    | ours, which Go keeps as it is
**
** The name is ended by NULs; a first byte of 0 is an empty slot.  A group's slot is found by the
** FNV-1a of its name and linear probing.  `updated` of 0 or 1 says that there is no offset yet.
**
**     claim     under a lock of the shard's lock file: the name's tail, then its first 8 bytes by
**               one release store.  Death before that leaves the slot empty.  Only writers claim.
**     remove    the name becomes 48 bytes 0xFF, which no name is, so that probing goes on behind it
**               (to Go as well); the next claim on that chain may have the slot.
**     advance   compare-and-swap of the offset, never backward.  Each life of a slot begins with a
**               negative offset of its own, and the name is looked at between load and swap: an
**               ack that was overtaken by a removal finds out.
*/
#ifndef COMET_OFFSETS_H
#define COMET_OFFSETS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "comet.h"

#define OFFSETS_BYTES 65600u
#define OFFSETS_SLOT_COUNT 512u
#define OFFSETS_NAME_WORDS 6u

typedef enum slot_field {
    SLOT_OFFSET = 48,
    SLOT_UPDATED = 56, /* ns since the epoch */
    SLOT_STORES = 64,
    SLOT_LIFE = 72,
    SLOT_SKIPPED = 80,
    SLOT_ACKNOWLEDGED = 88
} slot_field;

/* A group's name as it stands in a slot. */
typedef struct group_name {
    uint64_t words[OFFSETS_NAME_WORDS];
    uint32_t hash;
} group_name;

typedef struct offset_table {
    unsigned char *bytes;
    int fd;
    bool writable;
    bool is_named; /* its name is on the disk; whoever makes it durable keeps this */
    struct offset_table
        *older; /* of the same shard, was set aside; somebody may still look at it */
} offset_table;

/* COMET_INVALID: a name is 1 to 47 bytes without NUL. */
comet_status offsets_name(const char *text, size_t size, group_name *name, comet_error *error);

/* Map `path`.  With `create` it is made where it is missing or was never finished; that needs the lock.
** Errors: COMET_NOT_FOUND, COMET_CORRUPT (size, magic or version), COMET_FULL, COMET_IO. */
comet_status offsets_open(const char *path, bool create, bool writable, offset_table **table,
                          comet_error *error);
void offsets_close(offset_table *table); /* NULL is fine; the older ones go too */

/* Whether the header still is what it was. */
bool offsets_is_sound(const offset_table *table);

static inline _Atomic uint64_t *offsets_field(const offset_table *table, int slot, unsigned place) {
    return (_Atomic uint64_t *)(void *)(table->bytes + 64 + 128 * (size_t)slot + place);
}

static inline int64_t offsets_load(const offset_table *table, int slot, slot_field field) {
    return (int64_t)atomic_load_explicit(offsets_field(table, slot, field), memory_order_acquire);
}

/* The group's slot, or -1. */
int offsets_find(const offset_table *table, const group_name *name);
bool offsets_is(const offset_table *table, int slot, const group_name *name);

/* Find or take a slot; needs the lock.  COMET_FULL: all 512 are taken. */
comet_status offsets_claim(offset_table *table, const group_name *name, int *slot,
                           comet_error *error);

/* Whether a group was removed whose slot nobody has had since. */
bool offsets_has_removed(const offset_table *table);

/* Needs the lock. */
void offsets_remove(offset_table *table, int slot);

/* Whether the slot has an offset; then *offset is it. */
bool offsets_position(const offset_table *table, int slot, uint64_t *offset);

/* The name in `slot`, NUL-terminated; false where no group stands there. */
bool offsets_name_at(const offset_table *table, int slot, char text[COMET_GROUP_BYTES_MAX + 1]);

/* Move the offset to `target` unless it stands at or past it already; one past `end` counts as
** not there.  *before: the offset that was replaced, or -1 where none was; *moved: whether.
** False: the slot is no longer this group's. */
bool offsets_advance(offset_table *table, int slot, const group_name *name, uint64_t target,
                     uint64_t end, int64_t *before, bool *moved);

/* Put the offset to `target`, forward or back.  As above. */
bool offsets_put(offset_table *table, int slot, const group_name *name, uint64_t target,
                 int64_t *before);

/* Say that the offset has changed at `now`. */
void offsets_stamp(offset_table *table, int slot, int64_t now);

#endif
