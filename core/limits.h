/* limits.h -- every size and bound of the core that is not a user's setting, with its unit.
**
** The limits that users meet stand in comet.h, those of settings in settings.c, and the sizes that
** a file format fixes in the file that owns the format.
*/
#ifndef COMET_LIMITS_H
#define COMET_LIMITS_H

#include "comet.h"

#define KIBIBYTE ((uint64_t)1024)
#define MEBIBYTE (1024 * KIBIBYTE)

/* A path that we build: a directory, a shard's directory, a file's name. */
#define PATH_BYTES_MAX 4096u

/* Mapped at a time of a segment, at most this part of max_mapped_bytes.  A 32-bit process has 3 GiB of
** addresses for everything. */
#define READ_WINDOW_BYTES (sizeof(void *) >= 8 ? 256 * MEBIBYTE : 4 * MEBIBYTE)
#define READ_WINDOW_SHARE 8u
/* ... and this part of that where the whole would take away from others: many shards that are read in
** turns must not take the windows from each other. */
#define READ_WINDOW_SCARCE_SHARE 64u

/* Mapped at a time of a segment that is written to.  All of a log's together have this part of
** max_mapped_bytes; when that is used up a writer gets the lesser one, for a transaction at a time. */
#define APPEND_WINDOW_BYTES (8 * MEBIBYTE)
#define APPEND_WINDOW_BYTES_MIN (256 * KIBIBYTE)
#define APPEND_WINDOW_SHARE 2u
#define APPEND_WINDOW_COUNT_MIN 8u /* so many usual windows are within the share */

/* Windows begin at a multiple of this: no machine has larger pages. */
#define WINDOW_ALIGNMENT_BYTES (64 * KIBIBYTE)

/* No machine has smaller pages. */
#define PAGE_BYTES_MIN 4096u

/* Disk blocks are allocated, and pages populated, this far ahead of the last entry: as much as the
** segment holds already, within these bounds.  Small shards stay small, busy ones seldom stop. */
#define ALLOCATE_AHEAD_BYTES_MIN (64 * KIBIBYTE)
#define ALLOCATE_AHEAD_BYTES_MAX (8 * MEBIBYTE)
#define POPULATE_AHEAD_BYTES_MIN (64 * KIBIBYTE)
#define POPULATE_AHEAD_BYTES_MAX (1 * MEBIBYTE)

/* A block of the index ends at boundary_interval entries, or with the entry that reaches this: what a
** reader checks before it hands out one entry stays small. */
#define BLOCK_BYTES_MAX (128 * KIBIBYTE)

/* The index knows the place of every INDEX_STRIDE-th entry of a block. */
#define INDEX_STRIDE 8u

/* Segments of a log that stay open, with two files each, though nobody is in them. */
#define IDLE_SEGMENTS_MAX 32u

/* Processes that may have one shard open for writing at once. */
#define LOCK_SLOT_COUNT 4096u

/* Processes that may have a slot in one log, where process_count does not say. */
#define PROCESS_SLOT_COUNT 4096u

/* A directory may hold this many shards, a shard this many segments, before opening refuses. */
#define SHARD_COUNT_MAX 1000000u
#define SEGMENT_COUNT_MAX 1000000u

/* index.bin and the settings file are read whole; larger ones are not ours. */
#define MANIFEST_BYTES_MAX (512 * MEBIBYTE)
#define SETTINGS_BYTES_MAX (64 * KIBIBYTE)

/* When comet_shards calls a shard unwell: not written for so long; an error, and damage, not longer
** ago; a group so far behind; less free on the disk than a share of it, or than so much. */
#define HEALTH_QUIET_NS (INT64_C(3600) * 1000000000)
#define HEALTH_ERROR_NS (INT64_C(300) * 1000000000)
#define HEALTH_CORRUPTION_NS (INT64_C(86400) * 1000000000)
#define HEALTH_LAG_ENTRIES 1000000u
#define HEALTH_DISK_SHARE 20u
#define HEALTH_DISK_BYTES (1024 * MEBIBYTE)

#endif
