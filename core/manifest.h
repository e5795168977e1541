/* manifest.h -- index.bin, the list of a shard's segments.
**
** Decides: what of index.bin is believed.  The front is the format of the Go package comet, byte
** for byte; behind it stands a trailer of our own, which Go's reader ignores and its next rewrite
** drops.
** Pure: from bytes to a struct and back; files are the caller's.
**
**     +--------+-----------+-------+-------+---------+
**     | header | consumers | nodes | files | trailer |
**     +--------+-----------+-------+-------+---------+
**       36 B      (none)    (none)   Go's     ours (manifest.c draws it)
*/
#ifndef COMET_CORE_MANIFEST_H
#define COMET_CORE_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "comet.h"

typedef struct manifest_segment {
    uint64_t sequence; /* number in the file name log-%016d.comet */
    uint64_t first_offset;
    uint64_t entry_count; /* as of when the manifest was written */
    uint64_t bytes;       /* of data; of a log that Go rebuilt only a hint */
    int64_t created_ns;   /* wall clock */
    int64_t written_ns;   /* wall clock of the last write; created_ns where Go left it unset */

    /* From the trailer; all zero without has_bounds (a manifest written by Go). */
    bool has_bounds;
    int64_t time_low; /* lowest and highest timestamp */
    int64_t time_high;
    uint64_t disorder_end; /* one past the last entry (an absolute offset) whose timestamp is below
                           ** an earlier one; 0 where there is none */
    uint64_t compressed_count;
} manifest_segment;

/* The segment is written to again: what it held when it was finished was taken back, or never was, and
** must not be vouched for. */
void manifest_forget_entries(manifest_segment *segment);
/* ... if it tells of any at or past `end`. */
void manifest_forget_beyond(manifest_segment *segment, uint64_t end);

/* A consumer's position as index files of old kept it. */
typedef struct manifest_consumer {
    char name[256];
    int64_t offset;
} manifest_consumer;

typedef struct manifest {
    uint64_t end_offset;   /* one past the newest entry (Go: CurrentEntryNumber) */
    uint64_t end_position; /* bytes of the last file (Go: CurrentWriteOffset); unreliable from Go */
    manifest_segment *segments; /* ascending; the last one is written to */
    size_t segment_count;
    manifest_consumer *consumers;
    size_t consumer_count;
} manifest;

/* An empty manifest, and release what one holds; a cleared one is empty again. */
void manifest_init(manifest *list);
void manifest_clear(manifest *list);

/* Read index.bin from `bytes`.  On COMET_OK *out is overwritten (it must be empty) and belongs to
** the caller; on an error it is untouched.
** Promised of the result: sequences ascend strictly and first offsets never descend; no segment
** reaches into the next; first_offset + entry_count <= INT64_MAX.  Whether the files are there and
** hold so many entries is not known here.
** Errors: COMET_CORRUPT, COMET_NOMEM. */
comet_status manifest_decode(const uint8_t *bytes, size_t size, manifest *out, comet_error *error);

/* Write index.bin, with paths in `directory` (the shard's, absolute, so that Go finds the files).
** consumers are not written.  Release *bytes with memory_release().
** Errors: COMET_INVALID (the directory's path is too long), COMET_NOMEM. */
comet_status manifest_encode(const manifest *list, const char *directory, uint8_t **bytes,
                             size_t *size, comet_error *error);

#define MANIFEST_NAME_BYTES 32 /* room for any data file's name and its NUL */

/* The name of a data file; false where the number is over INT64_MAX, which Go cannot count to. */
bool manifest_file_name(uint64_t sequence, char name[MANIFEST_NAME_BYTES]);

/* The number in a data file's name; false where `name` is not exactly "log-", digits, ".comet". */
bool manifest_parse_name(const char *name, uint64_t *sequence);

#endif
