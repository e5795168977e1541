/* index.c -- chunks of records, mapped as they are needed.
**
** A chunk never moves once mapped, so readers keep pointers into it while the file grows.
**
**     header   0         8         12         16       24         32       36       40
**              +---------+---------+----------+--------+----------+--------+--------+
**              | magic   | version | interval | first  | sequence | record | crc of |
**              |         |         |          | offset |          | bytes  | 0…35   |
**              +---------+---------+----------+--------+----------+--------+--------+
**              64: record count     72: noted end     80: noted compressed     128, 176: marks
**
**     mark     0            8            16           24     28
**              +------------+------------+------------+------+----------------+
**              | generation | end offset | position   | crc  | crc of 0…27    |
**              +------------+------------+------------+------+----------------+
*/
#include "index.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "crc32c.h"
#include "entry.h"
#include "memory.h"
#include "platform.h"
#include "replace.h"
#include "status.h"

#define INDEX_MAGIC UINT64_C(0x58444954454D4F43) /* "COMETIDX" */
#define INDEX_VERSION 2u
#define INDEX_CHUNK_BYTES (256 * KIBIBYTE)
#define INDEX_HEADER_BYTES 256u
#define INDEX_FIXED_BYTES 36u /* of the header, under its checksum */
#define INDEX_COUNT_PLACE 64u
#define INDEX_END_PLACE 72u
#define INDEX_COMPRESSED_PLACE 80u
#define INDEX_MARK_PLACE 128u
#define INDEX_MARK_STEP 48u
#define INDEX_MARK_SUMMED_BYTES 28u
#define INDEX_RECORD_FIXED_BYTES 48u /* without places */
#define INDEX_ALLOCATE_BYTES_MIN 4096u
#define INDEX_ALLOCATE_BYTES_MAX (64 * KIBIBYTE)
#define CHECKED_WORD_BITS 64u

/* The most records a chunk can have: the smallest record has no places. */
#define CHUNK_RECORDS_MAX ((INDEX_CHUNK_BYTES - INDEX_HEADER_BYTES) / INDEX_RECORD_FIXED_BYTES)

#define CHUNK_CHECKED_WORDS (CHUNK_RECORDS_MAX / CHECKED_WORD_BITS + 1)

/* What this process has looked at: a bit a record. */
typedef struct index_chunk {
    unsigned char *bytes;
    _Atomic uint64_t checked[CHUNK_CHECKED_WORDS]; /* the block */
    _Atomic uint64_t sound[CHUNK_CHECKED_WORDS];   /* the record itself */
} index_chunk;

struct block_index {
    int fd; /* -1: in memory */
    bool writable;
    uint32_t interval;
    uint32_t record_bytes;
    uint32_t records_per_chunk;
    uint64_t data_bytes_max;
    uint64_t allocated_bytes; /* as far as this writer knows */
    pthread_mutex_t mutex;    /* mapping chunks */
    size_t chunk_count;
    _Atomic(index_chunk *) chunks[];
};

static uint32_t record_bytes_for(uint32_t interval) {
    uint32_t bytes = INDEX_RECORD_FIXED_BYTES + 4 * ((interval - 1) / INDEX_STRIDE);

    return (bytes + 7) / 8 * 8;
}

/* ---- Chunks ---- */

static comet_status chunk_map(block_index *index, index_chunk *chunk, size_t number,
                              comet_error *error) {
    void *mapped = NULL;
    int result;

    if (index->fd < 0) {
        chunk->bytes = memory_allocate_zeroed(INDEX_CHUNK_BYTES);
        return chunk->bytes == NULL ? memory_failed(error, INDEX_CHUNK_BYTES) : COMET_OK;
    }
    result = platform->map(index->fd, number * INDEX_CHUNK_BYTES, INDEX_CHUNK_BYTES,
                           index->writable, &mapped);
    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot map a segment's index");
    }
    chunk->bytes = mapped;
    return COMET_OK;
}

static comet_status chunk_make(block_index *index, size_t number, comet_error *error) {
    comet_status status = COMET_OK;

    pthread_mutex_lock(&index->mutex);
    if (atomic_load(&index->chunks[number]) == NULL) {
        index_chunk *chunk = memory_allocate_zeroed(sizeof *chunk);
        status = chunk == NULL ? memory_failed(error, sizeof *chunk)
                               : chunk_map(index, chunk, number, error);
        if (status == COMET_OK) {
            atomic_store(&index->chunks[number], chunk);
        } else {
            memory_release(chunk);
        }
    }
    pthread_mutex_unlock(&index->mutex);
    return status;
}

static comet_status chunk_get(block_index *index, size_t number, index_chunk **chunk,
                              comet_error *error) {
    if (number >= index->chunk_count) {
        return error_set(error, COMET_CORRUPT, 0, "a segment's index names block %llu of %llu",
                         (unsigned long long)number * index->records_per_chunk,
                         (unsigned long long)index->chunk_count * index->records_per_chunk);
    }
    *chunk = atomic_load_explicit(&index->chunks[number], memory_order_acquire);
    if (*chunk == NULL) {
        FORWARD(chunk_make(index, number, error));
        *chunk = atomic_load_explicit(&index->chunks[number], memory_order_acquire);
    }
    return COMET_OK;
}

static unsigned char *index_header(const block_index *index) {
    return atomic_load_explicit(&((block_index *)(uintptr_t)index)->chunks[0], memory_order_acquire)
        ->bytes;
}

static unsigned char *chunk_record(const block_index *index, const index_chunk *chunk,
                                   uint64_t at) {
    return chunk->bytes + INDEX_HEADER_BYTES + at % index->records_per_chunk * index->record_bytes;
}

static _Atomic uint64_t *header_field(const block_index *index, unsigned place) {
    return (_Atomic uint64_t *)(void *)(index_header(index) + place);
}

uint64_t index_count(const block_index *index) {
    return atomic_load_explicit(header_field(index, INDEX_COUNT_PLACE), memory_order_acquire);
}

static void index_set_count(block_index *index, uint64_t count) {
    atomic_store_explicit(header_field(index, INDEX_COUNT_PLACE), count, memory_order_release);
}

/* ---- Opening ---- */

/* Room for pointers to all chunks that a segment of that size can ever need: the chunks' table
** never moves either. */
static comet_status index_new(uint32_t interval, uint64_t data_bytes_max, block_index **index,
                              comet_error *error) {
    uint64_t entries_max = data_bytes_max / ENTRY_HEADER_BYTES + 1;
    uint64_t blocks_max = entries_max / interval + data_bytes_max / BLOCK_BYTES_MAX + 2;
    uint32_t record_bytes = record_bytes_for(interval);
    uint64_t per_chunk = (INDEX_CHUNK_BYTES - INDEX_HEADER_BYTES) / record_bytes;
    size_t chunk_count = (size_t)(blocks_max / per_chunk + 1);
    size_t size = sizeof(block_index) + chunk_count * sizeof(_Atomic(index_chunk *));
    block_index *made = memory_allocate_zeroed(size);

    if (made == NULL) {
        return memory_failed(error, size);
    }
    made->fd = -1;
    made->interval = interval;
    made->data_bytes_max = data_bytes_max;
    made->record_bytes = record_bytes;
    made->records_per_chunk = (uint32_t)per_chunk;
    made->chunk_count = chunk_count;
    pthread_mutex_init(&made->mutex, NULL);
    *index = made;
    return COMET_OK;
}

void index_close(block_index *index) {
    if (index == NULL) {
        return;
    }
    for (size_t i = 0; i < index->chunk_count; i++) {
        index_chunk *chunk = atomic_load(&index->chunks[i]);
        if (chunk != NULL && index->fd < 0) {
            memory_release(chunk->bytes);
        } else if (chunk != NULL) {
            (void)platform->unmap(chunk->bytes, INDEX_CHUNK_BYTES);
        }
        memory_release(chunk);
    }
    if (index->fd >= 0) {
        (void)platform->close_file(index->fd);
    }
    pthread_mutex_destroy(&index->mutex);
    memory_release(index);
}

static void header_store(unsigned char *header, const block_index *index, uint64_t sequence,
                         uint64_t first_offset) {
    store_u64(header, INDEX_MAGIC);
    store_u32(header + 8, INDEX_VERSION);
    store_u32(header + 12, index->interval);
    store_u64(header + 16, first_offset);
    store_u64(header + 24, sequence);
    store_u32(header + 32, index->record_bytes);
    store_u32(header + 36, crc32c_extend(0, header, INDEX_FIXED_BYTES));
}

/* Blocks on the disk up to `end`, a little ahead of it, before anything is stored there. */
static comet_status index_allocate(block_index *index, uint64_t end, comet_error *error) {
    uint64_t ahead = index->allocated_bytes;
    int result;

    if (index->fd < 0 || end <= index->allocated_bytes) {
        return COMET_OK;
    }
    ahead = ahead < INDEX_ALLOCATE_BYTES_MIN ? INDEX_ALLOCATE_BYTES_MIN : ahead;
    ahead = ahead > INDEX_ALLOCATE_BYTES_MAX ? INDEX_ALLOCATE_BYTES_MAX : ahead;
    end += ahead - 1;
    end -= end % INDEX_ALLOCATE_BYTES_MIN;
    result = platform->allocate(index->fd, index->allocated_bytes, end - index->allocated_bytes);
    if (result != 0) {
        return error_set(error, status_of_failure(result), -result,
                         "cannot extend a segment's index; free some disk space");
    }
    index->allocated_bytes = end;
    return COMET_OK;
}

comet_status index_create(const char *path, uint64_t sequence, uint64_t first_offset,
                          uint32_t interval, uint64_t data_bytes_max, block_index **index,
                          comet_error *error) {
    comet_status status;
    index_chunk *chunk;
    block_index *made;

    FORWARD(index_new(interval, data_bytes_max, &made, error));
    made->writable = true;
    if (path != NULL) {
        int fd = platform->open_file(path, PLATFORM_WRITE | PLATFORM_CREATE);
        int result = fd < 0 ? fd : platform->truncate_file(fd, 0);
        made->fd = fd < 0 ? -1 : fd;
        if (result != 0) {
            index_close(made);
            return error_set(error, COMET_IO, -result, "cannot make the index %s", path);
        }
    }
    status = index_allocate(made, INDEX_HEADER_BYTES, error);
    if (status == COMET_OK) {
        status = chunk_get(made, 0, &chunk, error);
    }
    if (status != COMET_OK) {
        index_close(made);
        return status;
    }
    header_store(chunk->bytes, made, sequence, first_offset);
    *index = made;
    return COMET_OK;
}

static comet_status header_check(const unsigned char *header, const char *path, uint64_t sequence,
                                 uint64_t first_offset, uint32_t *interval, comet_error *error) {
    *interval = load_u32(header + 12);
    if (load_u64(header) != INDEX_MAGIC || load_u32(header + 8) != INDEX_VERSION ||
        load_u32(header + 36) != crc32c_extend(0, header, INDEX_FIXED_BYTES) || *interval == 0 ||
        load_u32(header + 32) != record_bytes_for(*interval) ||
        record_bytes_for(*interval) > INDEX_CHUNK_BYTES - INDEX_HEADER_BYTES) {
        return error_set(error, COMET_CORRUPT, 0, "the header of %s is damaged", path);
    }
    if (load_u64(header + 16) != first_offset || load_u64(header + 24) != sequence) {
        return error_set(error, COMET_CORRUPT, 0, "%s belongs to another segment", path);
    }
    return COMET_OK;
}

comet_status index_peek(const char *path, uint64_t sequence, uint64_t *first_offset,
                        comet_error *error) {
    unsigned char header[INDEX_HEADER_BYTES];
    uint32_t interval;
    int fd = platform->open_file(path, PLATFORM_READ);
    int result = fd < 0 ? fd : platform->read_at(fd, header, sizeof header, 0);

    if (fd >= 0) {
        (void)platform->close_file(fd);
    }
    if (result != 0) {
        return error_set(error, COMET_NOT_FOUND, -result, "cannot read the index %s", path);
    }
    FORWARD(header_check(header, path, sequence, load_u64(header + 16), &interval, error));
    *first_offset = load_u64(header + 16);
    return COMET_OK;
}

/* The bytes that `count` records need. */
static uint64_t index_used_bytes(const block_index *index, uint64_t count) {
    uint64_t chunk = count / index->records_per_chunk;

    return chunk * INDEX_CHUNK_BYTES + INDEX_HEADER_BYTES +
           count % index->records_per_chunk * index->record_bytes;
}

/* The other way round. */
static uint64_t index_records_within(const block_index *index, uint64_t bytes) {
    uint64_t rest = bytes % INDEX_CHUNK_BYTES;
    uint64_t records =
        rest > INDEX_HEADER_BYTES ? (rest - INDEX_HEADER_BYTES) / index->record_bytes : 0;

    records = records < index->records_per_chunk ? records : index->records_per_chunk;
    return bytes / INDEX_CHUNK_BYTES * index->records_per_chunk + records;
}

/* The count is read before the size: a writer elsewhere extends the file first, then counts.  The disk may
** keep the two in another order, so that a power cut leaves a count of records that are not there. */
static comet_status check_size(block_index *index, const char *path, index_access access,
                               comet_error *error) {
    uint64_t used = index_used_bytes(index, index_count(index));
    int64_t size = platform->file_size(index->fd);

    if (size < 0) {
        return error_set(error, COMET_IO, (int)-size, "cannot ask for the size of %s", path);
    }
    if (used > (uint64_t)size && access != INDEX_MEND) {
        return error_set(error, COMET_CORRUPT, 0, "%s is cut short", path);
    }
    if (used > (uint64_t)size) {
        index_set_count(index, index_records_within(index, (uint64_t)size));
    }
    return COMET_OK;
}

/* Of the pages of an index, too, a power cut may leave some and not others: the records that lead on from the
** first are kept. */
static comet_status keep_leading(block_index *index, uint64_t first_offset, comet_error *error) {
    uint64_t count = index_count(index);
    uint64_t offset = first_offset;
    uint64_t position = 0;

    for (uint64_t at = 0; at < count; at++) {
        const unsigned char *record;
        FORWARD(index_record(index, at, &record, error));
        if (at == 0 ? record_first(record) != offset || record_position(record) != position
                    : record_first(record) <= offset || record_position(record) <= position) {
            index_set_count(index, at);
            break;
        }
        offset = record_first(record);
        position = record_position(record);
    }
    return COMET_OK;
}

comet_status index_open(const char *path, uint64_t sequence, uint64_t first_offset,
                        index_access access, uint64_t data_bytes_max, block_index **index,
                        comet_error *error) {
    unsigned char header[INDEX_HEADER_BYTES];
    comet_status status;
    index_chunk *chunk;
    block_index *made;
    uint32_t interval;
    int result;
    int fd = platform->open_file(path, access != INDEX_READ ? PLATFORM_WRITE : PLATFORM_READ);

    if (fd < 0) {
        return error_set(error, fd == -ENOENT ? COMET_NOT_FOUND : COMET_IO, -fd,
                         "cannot open the index %s", path);
    }
    result = platform->read_at(fd, header, sizeof header, 0);
    if (result != 0) {
        (void)platform->close_file(fd);
        return error_set(error, result == -ENODATA ? COMET_CORRUPT : COMET_IO, -result,
                         "cannot read the index %s", path);
    }
    status = header_check(header, path, sequence, first_offset, &interval, error);
    if (status == COMET_OK) {
        status = index_new(interval, data_bytes_max, &made, error);
    }
    if (status != COMET_OK) {
        (void)platform->close_file(fd);
        return status;
    }
    made->fd = fd;
    made->writable = access != INDEX_READ;
    status = chunk_get(made, 0, &chunk, error);
    if (status == COMET_OK) {
        status = check_size(made, path, access, error);
    }
    if (status == COMET_OK && access == INDEX_MEND) {
        status = keep_leading(made, first_offset, error);
    }
    if (status != COMET_OK) {
        index_close(made);
        return status;
    }
    *index = made;
    return COMET_OK;
}

/* ---- Reading ---- */

uint32_t index_interval(const block_index *index) {
    return index->interval;
}

uint64_t index_data_bytes_max(const block_index *index) {
    return index->data_bytes_max;
}

void index_note(block_index *index, uint64_t end_offset, uint64_t compressed_count) {
    atomic_store_explicit(header_field(index, INDEX_END_PLACE), end_offset, memory_order_relaxed);
    atomic_store_explicit(header_field(index, INDEX_COMPRESSED_PLACE), compressed_count,
                          memory_order_relaxed);
}

uint64_t index_noted_end(const block_index *index) {
    return atomic_load_explicit(header_field(index, INDEX_END_PLACE), memory_order_relaxed);
}

uint64_t index_noted_compressed(const block_index *index) {
    return atomic_load_explicit(header_field(index, INDEX_COMPRESSED_PLACE), memory_order_relaxed);
}

comet_status index_bounds(block_index *index, int64_t *time_low, int64_t *time_high,
                          comet_error *error) {
    int64_t low = INT64_MAX;
    int64_t high = INT64_MIN;
    uint64_t count = index_count(index);

    for (uint64_t at = 0; at < count; at++) {
        const unsigned char *record;
        FORWARD(index_record(index, at, &record, error));
        FORWARD(index_check_record(index, at, error));
        if (record_length(record) == RECORD_LENGTH_LOST) {
            return error_set(error, COMET_CORRUPT, 0, "a segment has lost entries");
        }
        low = record_time_low(record) < low ? record_time_low(record) : low;
        high = record_time_high(record) > high ? record_time_high(record) : high;
    }
    *time_low = low;
    *time_high = high;
    return COMET_OK;
}

comet_status index_record(block_index *index, uint64_t at, const unsigned char **record,
                          comet_error *error) {
    index_chunk *chunk;

    FORWARD(chunk_get(index, (size_t)(at / index->records_per_chunk), &chunk, error));
    *record = chunk_record(index, chunk, at);
    return COMET_OK;
}

/* Blocks are full but for large entries, so the guess is nearly always right. */
comet_status index_find(block_index *index, uint64_t offset, uint64_t *at, comet_error *error) {
    uint64_t low = 0;
    uint64_t high = index_count(index); /* the answer lies in [low, high) */
    uint64_t guess;
    const unsigned char *record;

    if (high == 0) {
        return error_set(error, COMET_CORRUPT, 0, "the index of offset %llu's segment is empty",
                         (unsigned long long)offset);
    }
    FORWARD(index_record(index, 0, &record, error));
    if (record_first(record) > offset) {
        return error_set(error, COMET_CORRUPT, 0, "offset %llu is not in its segment's index",
                         (unsigned long long)offset);
    }
    guess = (offset - record_first(record)) / index->interval;
    if (guess < high) {
        FORWARD(index_record(index, guess, &record, error));
        if (record_first(record) <= offset && offset - record_first(record) < index->interval) {
            /* Blocks of large entries are short: the answer may lie further on. */
            low = guess;
            if (low + 1 < high) {
                FORWARD(index_record(index, low + 1, &record, error));
                if (record_first(record) > offset) {
                    high = low + 1;
                } else {
                    low++;
                }
            }
        }
    }
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        FORWARD(index_record(index, middle, &record, error));
        if (record_first(record) <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    *at = low;
    return COMET_OK;
}

static bool bit_is_set(_Atomic uint64_t *words, uint64_t slot) {
    return (atomic_load_explicit(&words[slot / CHECKED_WORD_BITS], memory_order_relaxed) >>
                slot % CHECKED_WORD_BITS &
            1) != 0;
}

static void bit_set(_Atomic uint64_t *words, uint64_t slot) {
    if (!bit_is_set(words, slot)) {
        atomic_fetch_or_explicit(&words[slot / CHECKED_WORD_BITS],
                                 UINT64_C(1) << slot % CHECKED_WORD_BITS, memory_order_relaxed);
    }
}

static void bit_clear(_Atomic uint64_t *words, uint64_t slot) {
    atomic_fetch_and_explicit(&words[slot / CHECKED_WORD_BITS],
                              ~(UINT64_C(1) << slot % CHECKED_WORD_BITS), memory_order_relaxed);
}

/* The chunk of a record that was got before. */
static index_chunk *chunk_of(block_index *index, uint64_t at) {
    return atomic_load_explicit(&index->chunks[at / index->records_per_chunk],
                                memory_order_acquire);
}

bool index_is_checked(block_index *index, uint64_t at) {
    return bit_is_set(chunk_of(index, at)->checked, at % index->records_per_chunk);
}

void index_set_checked(block_index *index, uint64_t at) {
    bit_set(chunk_of(index, at)->checked, at % index->records_per_chunk);
}

static uint32_t record_sum(const block_index *index, const unsigned char *record) {
    return crc32c_extend(0, record, index->record_bytes - 4);
}

comet_status index_check_record(block_index *index, uint64_t at, comet_error *error) {
    uint64_t slot = at % index->records_per_chunk;
    const unsigned char *record;

    FORWARD(index_record(index, at, &record, error));
    if (bit_is_set(chunk_of(index, at)->sound, slot)) {
        return COMET_OK;
    }
    if (load_u32(record + index->record_bytes - 4) != record_sum(index, record)) {
        return error_set(error, COMET_CORRUPT, 0, "record %llu of a segment's index is damaged",
                         (unsigned long long)at);
    }
    bit_set(chunk_of(index, at)->sound, slot);
    return COMET_OK;
}

/* ---- The growing end ---- */

void index_tail_init(index_tail *tail, const block_index *index, uint64_t first_offset) {
    memset(tail, 0, sizeof *tail);
    tail->end_offset = tail->block_first = first_offset;
    tail->interval = index->interval;
    tail->time_low = INT64_MAX;
    tail->time_high = INT64_MIN;
}

/* What others may be reading is not written anew where it stands already. */
static void keep_u64(unsigned char *at, uint64_t value) {
    if (load_u64(at) != value) {
        store_u64(at, value);
    }
}

/* The record may be one that was taken back, or one that readers use: then it keeps its values. */
comet_status index_tail_begin(block_index *index, index_tail *tail, comet_error *error) {
    uint64_t at = tail->record_count;
    index_chunk *chunk;
    unsigned char *record;

    FORWARD(index_allocate(index, index_used_bytes(index, at) + index->record_bytes, error));
    FORWARD(chunk_get(index, (size_t)(at / index->records_per_chunk), &chunk, error));
    record = chunk_record(index, chunk, at);
    keep_u64(record, tail->end_offset);
    keep_u64(record + 8, tail->position);
    store_u64(record + 32, 0);
    bit_clear(chunk->checked, at % index->records_per_chunk);
    bit_clear(chunk->sound, at % index->records_per_chunk);
    tail->record = record;
    tail->record_count = at + 1;
    tail->block_first = tail->end_offset;
    tail->block_position = tail->crc_position = tail->position;
    tail->crc = 0;
    tail->time_low = INT64_MAX;
    tail->time_high = INT64_MIN;
    index_set_count(index, tail->record_count);
    return COMET_OK;
}

void index_tail_sum(index_tail *tail, const unsigned char *block) {
    uint64_t from = tail->crc_position - tail->block_position;

    assert(tail->crc_position >= tail->block_position && tail->crc_position <= tail->position);
    tail->crc = crc32c_extend(tail->crc, block + from, tail->position - tail->crc_position);
    tail->crc_position = tail->position;
}

/* Length and checksum in one store: a process may die, and another read, at any instruction. */
static void record_finish(const block_index *index, const index_tail *tail, uint32_t length) {
    store_i64(tail->record + 16, tail->time_low);
    store_i64(tail->record + 24, tail->time_high);
    store_u64(tail->record + 32, (uint64_t)tail->crc << 32 | length);
    store_u32(tail->record + 40, (uint32_t)(tail->end_offset - tail->block_first));
    store_u32(tail->record + index->record_bytes - 4, record_sum(index, tail->record));
}

static uint32_t block_length(const index_tail *tail) {
    return (uint32_t)(tail->position - tail->block_position);
}

void index_tail_finish(block_index *index, index_tail *tail, const unsigned char *block) {
    assert(!index_tail_is_empty(tail));
    index_tail_sum(tail, block);
    record_finish(index, tail, block_length(tail));
    index_set_checked(index, tail->record_count - 1);
    bit_set(chunk_of(index, tail->record_count - 1)->sound,
            (tail->record_count - 1) % index->records_per_chunk);
}

/* A power cut may leave a later count beside what was taken back: its records must not look whole. */
static void erase_records(block_index *index, uint64_t from) {
    for (uint64_t at = from, count = index_count(index); at < count; at++) {
        index_chunk *chunk;
        if (chunk_get(index, (size_t)(at / index->records_per_chunk), &chunk, NULL) == COMET_OK) {
            store_u64(chunk_record(index, chunk, at) + 32, 0); /* length and checksum */
        }
    }
}

void index_tail_restore(block_index *index, const index_tail *tail) {
    erase_records(index, tail->record_count);
    index_set_count(index, tail->record_count);
    /* What was taken back may have filled the block, and its record must not vouch for that. */
    if (tail->record != NULL && !index_tail_is_empty(tail) &&
        tail->crc_position == tail->position) {
        record_finish(index, tail, block_length(tail));
    }
}

comet_status index_tail_lose(block_index *index, index_tail *tail, uint64_t end,
                             comet_error *error) {
    FORWARD(index_tail_begin(index, tail, error));
    tail->end_offset = end;
    tail->time_low = INT64_MIN; /* everything is possible */
    tail->time_high = INT64_MAX;
    record_finish(index, tail, RECORD_LENGTH_LOST);
    tail->block_first = end;
    return COMET_OK;
}

/* ---- Durability ---- */

static unsigned mark_newest(const unsigned char *header) {
    const unsigned char *first = header + INDEX_MARK_PLACE;
    const unsigned char *second = first + INDEX_MARK_STEP;
    bool first_whole = load_u32(first + 28) == crc32c_extend(0, first, INDEX_MARK_SUMMED_BYTES);
    bool second_whole = load_u32(second + 28) == crc32c_extend(0, second, INDEX_MARK_SUMMED_BYTES);

    if (!first_whole || !second_whole) {
        return first_whole ? 0 : 1;
    }
    return load_u64(first) >= load_u64(second) ? 0 : 1;
}

void index_mark_store(block_index *index, const index_mark *mark) {
    unsigned char *header = index_header(index);
    unsigned newest = mark_newest(header);
    unsigned char *slot = header + INDEX_MARK_PLACE + (1 - newest) * INDEX_MARK_STEP;
    const unsigned char *other = header + INDEX_MARK_PLACE + newest * INDEX_MARK_STEP;

    store_u64(slot, load_u64(other) + 1);
    store_u64(slot + 8, mark->end_offset);
    store_u64(slot + 16, mark->position);
    store_u32(slot + 24, mark->crc);
    store_u32(slot + 28, crc32c_extend(0, slot, INDEX_MARK_SUMMED_BYTES));
}

unsigned index_mark_load(const block_index *index, index_mark marks[2]) {
    const unsigned char *header = index_header(index);
    unsigned newest = mark_newest(header);
    unsigned count = 0;

    for (unsigned i = 0; i < 2; i++) {
        unsigned which = i == 0 ? newest : 1 - newest;
        const unsigned char *slot = header + INDEX_MARK_PLACE + which * INDEX_MARK_STEP;
        /* Generation 0 is a slot never written: its zeros have a checksum of their own. */
        if (load_u64(slot) != 0 &&
            load_u32(slot + 28) == crc32c_extend(0, slot, INDEX_MARK_SUMMED_BYTES)) {
            marks[count].end_offset = load_u64(slot + 8);
            marks[count].position = load_u64(slot + 16);
            marks[count].crc = load_u32(slot + 24);
            count++;
        }
    }
    return count;
}

bool index_is_in_memory(const block_index *index) {
    return index->fd < 0;
}

comet_status index_save(const block_index *index, const char *directory, const char *name,
                        comet_error *error) {
    size_t size = (size_t)index_used_bytes(index, index_count(index));
    unsigned char *bytes = memory_allocate_zeroed(size);
    comet_status status;

    assert(index_is_in_memory(index));
    if (bytes == NULL) {
        return memory_failed(error, size);
    }
    for (size_t at = 0; at < size; at += INDEX_CHUNK_BYTES) {
        const index_chunk *chunk =
            atomic_load(&((block_index *)(uintptr_t)index)->chunks[at / INDEX_CHUNK_BYTES]);
        if (chunk != NULL) {
            memcpy(bytes + at, chunk->bytes,
                   size - at < INDEX_CHUNK_BYTES ? size - at : INDEX_CHUNK_BYTES);
        }
    }
    status = replace_file(directory, name, bytes, size, false, error);
    memory_release(bytes);
    return status;
}

void index_touch(block_index *index) {
    uint64_t used = index_used_bytes(index, index_count(index));

    if (index->fd < 0 || !index->writable) {
        return;
    }
    for (size_t i = 0; i < index->chunk_count && i * INDEX_CHUNK_BYTES < used; i++) {
        index_chunk *chunk = atomic_load(&index->chunks[i]);
        uint64_t left = used - i * INDEX_CHUNK_BYTES;
        if (chunk != NULL) {
            platform_touch(chunk->bytes,
                           (size_t)(left < INDEX_CHUNK_BYTES ? left : INDEX_CHUNK_BYTES));
        }
    }
}

comet_status index_sync(block_index *index, comet_error *error) {
    int result = index->fd < 0 ? 0 : platform->sync_file(index->fd);

    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot make a segment's index durable");
    }
    return COMET_OK;
}

void index_forget_room(block_index *index) {
    index->allocated_bytes = 0;
}

void index_cut(block_index *index) {
    uint64_t used = index_used_bytes(index, index_count(index));

    if (index->fd >= 0 && index->writable && platform->truncate_file(index->fd, used) == 0) {
        index->allocated_bytes = used;
    }
}
