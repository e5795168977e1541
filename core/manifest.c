/* manifest.c -- the bytes of index.bin.
**
** Decides: what of index.bin is believed, and what is ours in it.  Little-endian throughout.
**
**   header      u32 magic "TMOC", u32 version 1, i64 CurrentEntryNumber, i64 CurrentWriteOffset,
**    36 B       u32 consumers, u32 nodes, u32 files (an old header ends before it, at 32 bytes)
**   consumers   { u8 length, name, i64 offset }                          we write none
**   nodes       { i64 entry, u32 file, i64 position }                    skipped: only hints
**   files       { u16 length, path, i64 StartOffset, EndOffset, StartEntry, Entries, StartTime,
**                 EndTime }                                              50 bytes and the path
**   trailer     "COMETMAN", u32 version 1, u32 segments,
**               { i64 time_low, i64 time_high, u64 disorder_end, u64 compressed_count } ...
**               u64 size of the whole file, u32 CRC-32C of all before
**
** Go ignores what follows the files, and writes a new file without it: where there is no trailer,
** the bounds are unknown.  A file is ours when the size that stands 12 bytes before its end is its
** own and the trailer's magic stands as far before that as its count says.  It is looked for from
** the end, so a flipped bit in a count at the front cannot hide it; then the checksum must hold.
** A trailer that is cut, or does not tell its place so, is no trailer.
*/
#include "manifest.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "memory.h"
#include "status.h"

#define MANIFEST_MAGIC 0x434F4D54u
#define MANIFEST_VERSION 1u
#define MANIFEST_LEGACY_HEADER_BYTES 32u
#define MANIFEST_HEADER_BYTES 36u
#define MANIFEST_CONSUMER_BYTES 9u /* without the name */
#define MANIFEST_NODE_BYTES 20u
#define MANIFEST_FILE_BYTES 50u /* without the path */
#define MANIFEST_TRAILER_MAGIC "COMETMAN"
#define MANIFEST_TRAILER_VERSION 1u
#define MANIFEST_TRAILER_HEAD_BYTES 16u
#define MANIFEST_TRAILER_RECORD_BYTES 32u
#define MANIFEST_TRAILER_TAIL_BYTES 12u

/* More are not believed; offsets.state holds 512, and a struct here is 30 times its record. */
#define MANIFEST_CONSUMERS_MAX 65536u

/* What Go's zero time becomes: "never". */
#define MANIFEST_GO_TIME_ZERO INT64_C(-6795364578871345152)

/* The part of a file that is not read yet. */
typedef struct manifest_input {
    const uint8_t *at;
    size_t left;
} manifest_input;

/* ---- File names ------------------------------------------------------------------------------ */

bool manifest_file_name(uint64_t sequence, char name[MANIFEST_NAME_BYTES]) {
    int length;

    assert(name != NULL);
    if (sequence > INT64_MAX) {
        return false;
    }
    length = snprintf(name, MANIFEST_NAME_BYTES, "log-%016llu.comet", (unsigned long long)sequence);
    assert(length > 0 && length < MANIFEST_NAME_BYTES);
    return length > 0;
}

bool manifest_parse_name(const char *name, uint64_t *sequence) {
    uint64_t number = 0;
    const char *at;

    assert(name != NULL && sequence != NULL);
    if (strncmp(name, "log-", 4) != 0) {
        return false;
    }
    for (at = name + 4; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (number > ((uint64_t)INT64_MAX - digit) / 10) {
            return false;
        }
        number = 10 * number + digit;
    }
    if (at == name + 4 || strcmp(at, ".comet") != 0) {
        return false;
    }
    *sequence = number;
    return true;
}

/* ---- Struct ---------------------------------------------------------------------------------- */

void manifest_forget_entries(manifest_segment *segment) {
    segment->entry_count = segment->bytes = 0;
    segment->compressed_count = segment->disorder_end = 0;
    segment->has_bounds = false;
}

void manifest_forget_beyond(manifest_segment *segment, uint64_t end) {
    if (segment->first_offset + segment->entry_count > end) {
        manifest_forget_entries(segment);
    }
}

void manifest_init(manifest *list) {
    assert(list != NULL);
    memset(list, 0, sizeof *list);
}

void manifest_clear(manifest *list) {
    assert(list != NULL);
    memory_release(list->segments);
    memory_release(list->consumers);
    manifest_init(list);
}

/* ---- Decoding -------------------------------------------------------------------------------- */

/* The next `size` bytes, or NULL where there are not so many. */
static const uint8_t *manifest_take(manifest_input *input, size_t size) {
    const uint8_t *taken = input->at;
    if (size > input->left) {
        return NULL;
    }
    input->at += size;
    input->left -= size;
    return taken;
}

static comet_status manifest_cut(comet_error *error, const char *section) {
    return error_set(error, COMET_CORRUPT, 0, "index.bin ends within its %s", section);
}

static comet_status manifest_read_consumers(manifest_input *input, uint32_t count, manifest *out,
                                            comet_error *error) {
    if (count > input->left / MANIFEST_CONSUMER_BYTES || count > MANIFEST_CONSUMERS_MAX) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin claims %u consumers, more than it can hold", count);
    }
    if (count == 0) {
        return COMET_OK;
    }
    out->consumers = memory_allocate_zeroed(count * sizeof *out->consumers);
    if (out->consumers == NULL) {
        return memory_failed(error, count * sizeof *out->consumers);
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *length = manifest_take(input, 1);
        const uint8_t *name = length == NULL ? NULL : manifest_take(input, *length);
        const uint8_t *offset = name == NULL ? NULL : manifest_take(input, 8);
        if (offset == NULL) {
            return manifest_cut(error, "consumers");
        }
        memcpy(out->consumers[i].name, name, *length); /* 255 at most; the NUL is there */
        out->consumers[i].offset = load_i64(offset);
        out->consumer_count = i + 1;
    }
    return COMET_OK;
}

/* The number of the data file at `path`, which is not ended by a NUL. */
static bool manifest_parse_path(const uint8_t *path, size_t length, uint64_t *sequence) {
    char name[64];
    size_t start = length;

    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    if (length - start >= sizeof name || memchr(path + start, '\0', length - start) != NULL) {
        return false;
    }
    memcpy(name, path + start, length - start);
    name[length - start] = '\0';
    return manifest_parse_name(name, sequence);
}

static comet_status manifest_read_file(manifest_input *input, manifest_segment *segment,
                                       comet_error *error) {
    const uint8_t *length = manifest_take(input, 2);
    const uint8_t *path = length == NULL ? NULL : manifest_take(input, load_u16(length));
    const uint8_t *record = path == NULL ? NULL : manifest_take(input, MANIFEST_FILE_BYTES - 2);
    if (record == NULL) {
        return manifest_cut(error, "file list");
    }
    if (!manifest_parse_path(path, load_u16(length), &segment->sequence)) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin names a data file that is not log-<number>.comet");
    }
    int64_t start = load_i64(record);
    int64_t end = load_i64(record + 8);
    int64_t first = load_i64(record + 16);
    int64_t count = load_i64(record + 24);
    if (count < 0) { /* Go leaves negative counts after a crash just past a rotation */
        count = 0;
    }
    if (first < 0 || count > INT64_MAX - first) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin has offsets that cannot be: %lld entries from %lld on",
                         (long long)count, (long long)first);
    }
    segment->bytes = start >= 0 && end > start ? (uint64_t)(end - start) : 0;
    segment->first_offset = (uint64_t)first;
    segment->entry_count = (uint64_t)count;
    segment->created_ns = load_i64(record + 32);
    segment->written_ns = load_i64(record + 40);
    if (segment->created_ns == MANIFEST_GO_TIME_ZERO) {
        segment->created_ns = 0;
    }
    if (segment->written_ns == MANIFEST_GO_TIME_ZERO) {
        segment->written_ns = segment->created_ns;
    }
    return COMET_OK;
}

static comet_status manifest_read_files(manifest_input *input, uint32_t count, manifest *out,
                                        comet_error *error) {
    if (count > input->left / MANIFEST_FILE_BYTES) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin claims %u data files, more than it can hold", count);
    }
    if (count == 0) {
        return COMET_OK;
    }
    out->segments = memory_allocate_zeroed(count * sizeof *out->segments);
    if (out->segments == NULL) {
        return memory_failed(error, count * sizeof *out->segments);
    }
    for (uint32_t i = 0; i < count; i++) {
        manifest_segment *segment = &out->segments[i];
        FORWARD(manifest_read_file(input, segment, error));
        out->segment_count = i + 1;
        if (i == 0) {
            continue;
        }
        manifest_segment *before = segment - 1;
        if (segment->sequence <= before->sequence || segment->first_offset < before->first_offset) {
            return error_set(
                error, COMET_CORRUPT, 0,
                "index.bin lists data file %llu (from offset %llu) behind %llu (from "
                "offset %llu)",
                (unsigned long long)segment->sequence, (unsigned long long)segment->first_offset,
                (unsigned long long)before->sequence, (unsigned long long)before->first_offset);
        }
        /* Where a file begins is authoritative, not how many entries the one before claims. */
        if (before->entry_count > segment->first_offset - before->first_offset) {
            before->entry_count = segment->first_offset - before->first_offset;
        }
    }
    return COMET_OK;
}

/* Whether the file says at its end that it is all ours; then *trailer is where its trailer starts.
** Every count that the size allows is one possible place, so it is looked for by its magic. */
static bool manifest_find_trailer(const uint8_t *bytes, size_t size, size_t *trailer) {
    const size_t fixed = MANIFEST_TRAILER_HEAD_BYTES + MANIFEST_TRAILER_TAIL_BYTES;

    if (size < MANIFEST_HEADER_BYTES + fixed ||
        load_u64(bytes + size - MANIFEST_TRAILER_TAIL_BYTES) != size) {
        return false;
    }
    for (size_t count = 0, at = size - fixed; at >= MANIFEST_HEADER_BYTES; count++) {
        if (memcmp(bytes + at, MANIFEST_TRAILER_MAGIC, 8) == 0 &&
            load_u32(bytes + at + 8) == MANIFEST_TRAILER_VERSION &&
            load_u32(bytes + at + 12) == count) {
            *trailer = at;
            return true;
        }
        if (at - MANIFEST_HEADER_BYTES < MANIFEST_TRAILER_RECORD_BYTES) {
            break;
        }
        at -= MANIFEST_TRAILER_RECORD_BYTES;
    }
    return false;
}

/* The bounds of the segments, from a trailer whose checksum is right. */
static comet_status manifest_read_trailer(const uint8_t *trailer, manifest *out,
                                          comet_error *error) {
    uint32_t count = load_u32(trailer + 12);

    if (count != out->segment_count) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin has bounds for %u data files, but lists %zu", count,
                         out->segment_count);
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *record =
            trailer + MANIFEST_TRAILER_HEAD_BYTES + (size_t)i * MANIFEST_TRAILER_RECORD_BYTES;
        manifest_segment *segment = &out->segments[i];
        segment->time_low = load_i64(record);
        segment->time_high = load_i64(record + 8);
        segment->disorder_end = load_u64(record + 16);
        segment->compressed_count = load_u64(record + 24);
        /* A segment that was written without bounds is stored with low above high. */
        segment->has_bounds = segment->time_low <= segment->time_high;
        if (!segment->has_bounds) {
            segment->time_low = 0;
            segment->time_high = 0;
            segment->disorder_end = 0;
            segment->compressed_count = 0;
        }
    }
    return COMET_OK;
}

/* Everything before the trailer.  *rest is what follows the files. */
static comet_status manifest_read_front(manifest_input *rest, manifest *out, comet_error *error) {
    size_t size = rest->left;
    const uint8_t *header = manifest_take(rest, MANIFEST_LEGACY_HEADER_BYTES);

    if (header == NULL) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin has %zu bytes; its header alone has 32", size);
    }
    if (load_u32(header) != MANIFEST_MAGIC || load_u32(header + 4) != MANIFEST_VERSION) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin begins with %08x version %u, not with %08x version %u",
                         load_u32(header), load_u32(header + 4), MANIFEST_MAGIC, MANIFEST_VERSION);
    }
    if (load_i64(header + 8) < 0) {
        return error_set(error, COMET_CORRUPT, 0, "index.bin ends at the negative offset %lld",
                         (long long)load_i64(header + 8));
    }
    out->end_offset = load_u64(header + 8);
    /* Never relied on, so never a reason to refuse. */
    out->end_position = load_i64(header + 16) < 0 ? 0 : load_u64(header + 16);

    /* Go reads the file count only where the file is longer than the whole header. */
    const uint8_t *files = NULL;
    if (size >= MANIFEST_HEADER_BYTES) {
        files = manifest_take(rest, MANIFEST_HEADER_BYTES - MANIFEST_LEGACY_HEADER_BYTES);
    } else if (size > MANIFEST_LEGACY_HEADER_BYTES) {
        return manifest_cut(error, "header");
    }
    FORWARD(manifest_read_consumers(rest, load_u32(header + 24), out, error));
    uint32_t nodes = load_u32(header + 28);
    if (nodes > rest->left / MANIFEST_NODE_BYTES) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin claims %u nodes, more than it can hold", nodes);
    }
    (void)manifest_take(rest, (size_t)nodes * MANIFEST_NODE_BYTES);
    return files == NULL ? COMET_OK : manifest_read_files(rest, load_u32(files), out, error);
}

comet_status manifest_decode(const uint8_t *bytes, size_t size, manifest *out, comet_error *error) {
    manifest_input rest = {bytes, size};
    manifest read;
    size_t trailer = 0;
    comet_status status;

    assert(bytes != NULL || size == 0);
    assert(out != NULL);
    bool ours = manifest_find_trailer(bytes, size, &trailer);
    if (ours && load_u32(bytes + size - 4) != crc32c_extend(0, bytes, size - 4)) {
        return error_set(error, COMET_CORRUPT, 0,
                         "index.bin is damaged: its checksum is %08x, should be %08x",
                         crc32c_extend(0, bytes, size - 4), load_u32(bytes + size - 4));
    }
    manifest_init(&read);
    status = manifest_read_front(&rest, &read, error);
    if (status == COMET_OK && ours && rest.at != bytes + trailer) {
        status = error_set(error, COMET_CORRUPT, 0,
                           "index.bin has its bounds at byte %zu, but its file list ends at %zu",
                           trailer, (size_t)(rest.at - bytes));
    }
    if (status == COMET_OK && ours) {
        status = manifest_read_trailer(bytes + trailer, &read, error);
    }
    if (status != COMET_OK) {
        manifest_clear(&read);
        return status;
    }
    *out = read;
    return COMET_OK;
}

/* ---- Encoding -------------------------------------------------------------------------------- */

/* One file record; returns the byte after it. */
static uint8_t *manifest_write_file(uint8_t *at, const manifest_segment *segment,
                                    const char *directory, size_t directory_length) {
    char name[MANIFEST_NAME_BYTES];
    bool named = manifest_file_name(segment->sequence, name);
    size_t name_length = strlen(name);

    assert(named);
    (void)named;
    assert(segment->bytes <= INT64_MAX && segment->entry_count <= INT64_MAX);
    store_u16(at, (uint16_t)(directory_length + 1 + name_length));
    at += 2;
    memcpy(at, directory, directory_length);
    at += directory_length;
    *at++ = '/';
    memcpy(at, name, name_length);
    at += name_length;
    store_i64(at, 0);
    store_u64(at + 8, segment->bytes);
    store_u64(at + 16, segment->first_offset);
    store_u64(at + 24, segment->entry_count);
    store_i64(at + 32, segment->created_ns);
    store_i64(at + 40, segment->written_ns);
    return at + MANIFEST_FILE_BYTES - 2;
}

/* The trailer from `at` on, whose end is the end of the file that begins at `bytes`. */
static void manifest_write_trailer(uint8_t *bytes, size_t size, uint8_t *at, const manifest *list) {
    memcpy(at, MANIFEST_TRAILER_MAGIC, 8);
    store_u32(at + 8, MANIFEST_TRAILER_VERSION);
    store_u32(at + 12, (uint32_t)list->segment_count);
    at += MANIFEST_TRAILER_HEAD_BYTES;
    for (size_t i = 0; i < list->segment_count; i++) {
        const manifest_segment *segment = &list->segments[i];
        bool bounds = segment->has_bounds && segment->time_low <= segment->time_high;
        store_i64(at, bounds ? segment->time_low : INT64_MAX);
        store_i64(at + 8, bounds ? segment->time_high : INT64_MIN);
        store_u64(at + 16, bounds ? segment->disorder_end : 0);
        store_u64(at + 24, bounds ? segment->compressed_count : 0);
        at += MANIFEST_TRAILER_RECORD_BYTES;
    }
    store_u64(at, size);
    store_u32(at + 8, crc32c_extend(0, bytes, size - 4));
    assert(at + MANIFEST_TRAILER_TAIL_BYTES == bytes + size);
}

comet_status manifest_encode(const manifest *list, const char *directory, uint8_t **bytes,
                             size_t *size, comet_error *error) {
    size_t directory_length = strlen(directory);
    size_t total =
        MANIFEST_HEADER_BYTES + MANIFEST_TRAILER_HEAD_BYTES + MANIFEST_TRAILER_TAIL_BYTES;

    assert(list != NULL && bytes != NULL && size != NULL);
    assert(list->segment_count <= UINT32_MAX);
    assert(list->end_offset <= INT64_MAX && list->end_position <= INT64_MAX);
    while (directory_length > 0 && directory[directory_length - 1] == '/') {
        directory_length--;
    }
    if (directory_length + MANIFEST_NAME_BYTES > UINT16_MAX) {
        return error_set(error, COMET_INVALID, 0,
                         "the directory's path has %zu bytes; index.bin has room for %u",
                         directory_length, (unsigned)(UINT16_MAX - MANIFEST_NAME_BYTES));
    }
    for (size_t i = 0; i < list->segment_count; i++) {
        char name[MANIFEST_NAME_BYTES] = "";
        (void)manifest_file_name(list->segments[i].sequence, name);
        total += MANIFEST_FILE_BYTES + directory_length + 1 + strlen(name) +
                 MANIFEST_TRAILER_RECORD_BYTES;
        assert(i == 0 || list->segments[i].sequence > list->segments[i - 1].sequence);
        assert(i == 0 || list->segments[i].first_offset >= list->segments[i - 1].first_offset);
    }
    uint8_t *buffer = memory_allocate(total);
    if (buffer == NULL) {
        return memory_failed(error, total);
    }
    store_u32(buffer, MANIFEST_MAGIC);
    store_u32(buffer + 4, MANIFEST_VERSION);
    store_u64(buffer + 8, list->end_offset);
    store_u64(buffer + 16, list->end_position);
    store_u32(buffer + 24, 0);
    store_u32(buffer + 28, 0);
    store_u32(buffer + 32, (uint32_t)list->segment_count);
    uint8_t *at = buffer + MANIFEST_HEADER_BYTES;
    for (size_t i = 0; i < list->segment_count; i++) {
        at = manifest_write_file(at, &list->segments[i], directory, directory_length);
    }
    manifest_write_trailer(buffer, total, at, list);
    *bytes = buffer;
    *size = total;
    return COMET_OK;
}
