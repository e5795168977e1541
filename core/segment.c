/* segment.c -- opening, checking and walking one data file.
**
**     +-------+-------+-------+--- ... ---+--------------------------+
**     | entry | entry | entry |           | allocated, not yet used  |   entry.h draws an entry
**     +-------+-------+-------+--- ... ---+--------------------------+
**
** A block is checked against its checksum once in the life of a process, when it is first read: a
** disk that decays later is read again by the next process, and by comet_verify.
*/
#include "segment.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "crc32c.h"
#include "entry.h"
#include "memory.h"
#include "platform.h"
#include "status.h"

#define INDEX_SUFFIX ".idx"
#define DATA_SUFFIX ".comet"
#define REBUILD_INTERVAL 100u /* entries a block of an index that is made for an old segment */
#define WALK_WINDOW_BYTES (64 * KIBIBYTE)

struct segment_file {
    atomic_uint references;
    atomic_bool ready;
    pthread_mutex_t mutex; /* opening */
    const segment_home *home;
    manifest_segment facts;
    int fd;
    block_index *index;
    char path[PATH_BYTES_MAX];
};

/* ---- Life ---- */

static void index_path(const segment_file *segment, char path[PATH_BYTES_MAX]) {
    size_t stem = strlen(segment->path) - strlen(DATA_SUFFIX);

    memcpy(path, segment->path, stem);
    memcpy(path + stem, INDEX_SUFFIX, sizeof INDEX_SUFFIX);
}

comet_status segment_new(const segment_home *home, const manifest_segment *facts,
                         segment_file **segment, comet_error *error) {
    char name[MANIFEST_NAME_BYTES];
    segment_file *made = memory_allocate_zeroed(sizeof *made);
    int length;

    if (made == NULL) {
        return memory_failed(error, sizeof *made);
    }
    if (!manifest_file_name(facts->sequence, name)) {
        memory_release(made);
        return error_set(error, COMET_CORRUPT, 0, "%s: no data file can have the number %" PRIu64,
                         home->directory, facts->sequence);
    }
    length = snprintf(made->path, sizeof made->path, "%s/%s", home->directory, name);
    if (length < 0 || (size_t)length >= sizeof made->path) {
        memory_release(made);
        return error_set(error, COMET_INVALID, 0, "the path %s is too long", home->directory);
    }
    atomic_init(&made->references, 1);
    pthread_mutex_init(&made->mutex, NULL);
    made->home = home;
    made->facts = *facts;
    made->fd = -1;
    *segment = made;
    return COMET_OK;
}

void segment_retain(segment_file *segment) {
    atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
}

void segment_release(segment_file *segment) {
    if (segment == NULL ||
        atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    window_pool_forget(segment->home->pool, segment);
    index_close(segment->index);
    if (segment->fd >= 0) {
        (void)platform->close_file(segment->fd);
    }
    pthread_mutex_destroy(&segment->mutex);
    memory_release(segment);
}

comet_status segment_create(const segment_home *home, const manifest_segment *facts,
                            uint64_t bytes_max, uint32_t interval, segment_file **segment,
                            comet_error *error) {
    char path[PATH_BYTES_MAX];
    comet_status status;
    segment_file *made;
    int result;

    FORWARD(segment_new(home, facts, &made, error));
    made->fd =
        platform->open_file(made->path, PLATFORM_WRITE | PLATFORM_CREATE | PLATFORM_EXCLUSIVE);
    /* The whole length at once: each extension of a mapped file would stop for milliseconds. */
    result = made->fd < 0 ? made->fd : platform->truncate_file(made->fd, bytes_max);
    if (result != 0) {
        status = error_set(error, status_of_failure(result), -result, "cannot make the segment %s",
                           made->path);
    } else {
        index_path(made, path);
        status = index_create(path, facts->sequence, facts->first_offset, interval, bytes_max,
                              &made->index, error);
    }
    if (status != COMET_OK) {
        if (made->fd >= 0) {
            (void)segment_remove(made, NULL);
        }
        segment_release(made);
        return status;
    }
    atomic_store(&made->ready, true);
    *segment = made;
    return COMET_OK;
}

/* ---- Opening ---- */

comet_status segment_size(const segment_file *segment, uint64_t *bytes, comet_error *error) {
    int64_t size = platform->file_size(segment->fd);

    *bytes = size < 0 ? 0 : (uint64_t)size;
    if (size < 0) {
        return error_set(error, COMET_IO, (int)-size, "cannot ask for the size of %s",
                         segment->path);
    }
    return COMET_OK;
}

/* A cut segment grows again when it is written to. */
static uint64_t index_capacity(const segment_file *segment, uint64_t size) {
    uint64_t usual = atomic_load(&segment->home->bytes_max);

    return size > usual ? size : usual;
}

/* Make an index from the data, in a file where the log may be written, else in memory. */
static comet_status segment_rebuild_index(segment_file *segment, uint64_t size,
                                          comet_error *error) {
    const manifest_segment *facts = &segment->facts;
    char path[PATH_BYTES_MAX];
    segment_sums sums;
    comet_status status;
    index_tail tail;

    index_path(segment, path);
    if (segment->home->writable) {
        /* A new file: other processes may have the old one mapped, and must not find it cut. */
        (void)platform->remove_file(path);
    }
    FORWARD(index_create(segment->home->writable ? path : NULL, facts->sequence,
                         facts->first_offset, REBUILD_INTERVAL, index_capacity(segment, size),
                         &segment->index, error));
    index_tail_init(&tail, segment->index, facts->first_offset);
    segment_sums_init(&sums, INT64_MIN, 0);
    status = segment_walk(segment, segment->index, &tail, &sums,
                          facts->first_offset + facts->entry_count, COMET_OFFSET_MAX, error);
    if (status != COMET_OK) {
        index_close(segment->index);
        segment->index = NULL;
        return status;
    }
    index_note(segment->index, tail.end_offset, sums.compressed_count);
    return COMET_OK;
}

comet_status segment_reindex(segment_file *segment, comet_error *error) {
    comet_status status;
    uint64_t size;

    FORWARD(segment_ready(segment, error));
    FORWARD(segment_size(segment, &size, error));
    index_close(segment->index);
    segment->index = NULL;
    status = segment_rebuild_index(segment, size, error);
    atomic_store(&segment->ready, status == COMET_OK);
    return status;
}

static comet_status segment_open_files(segment_file *segment, comet_error *error) {
    const manifest_segment *facts = &segment->facts;
    char path[PATH_BYTES_MAX];
    comet_status status;
    uint64_t size;

    if (segment->fd < 0) {
        int fd = platform->open_file(segment->path,
                                     segment->home->writable ? PLATFORM_WRITE : PLATFORM_READ);
        if (fd < 0) {
            return error_set(error, fd == -ENOENT ? COMET_CORRUPT : COMET_IO, -fd,
                             "cannot open the segment %s (offsets from %" PRIu64 ")", segment->path,
                             facts->first_offset);
        }
        segment->fd = fd;
    }
    FORWARD(segment_size(segment, &size, error));
    index_path(segment, path);
    status = index_open(path, facts->sequence, facts->first_offset, segment->home->writable,
                        index_capacity(segment, size), &segment->index, error);
    if (status == COMET_NOT_FOUND || status == COMET_CORRUPT) {
        status = segment_rebuild_index(segment, size, error);
    }
    return status;
}

comet_status segment_ready(segment_file *segment, comet_error *error) {
    comet_status status = COMET_OK;

    if (atomic_load_explicit(&segment->ready, memory_order_acquire)) {
        return COMET_OK;
    }
    pthread_mutex_lock(&segment->mutex);
    if (!atomic_load(&segment->ready)) {
        status = segment_open_files(segment, error);
        atomic_store(&segment->ready, status == COMET_OK);
    }
    pthread_mutex_unlock(&segment->mutex);
    return status;
}

block_index *segment_index(const segment_file *segment) {
    return segment->index;
}

int segment_fd(const segment_file *segment) {
    return segment->fd;
}

const char *segment_path(const segment_file *segment) {
    return segment->path;
}

uint64_t segment_first_offset(const segment_file *segment) {
    return segment->facts.first_offset;
}

comet_status segment_sync(segment_file *segment, comet_error *error) {
    int result = platform->sync_file(segment->fd);

    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot make %s durable", segment->path);
    }
    return index_sync(segment->index, error);
}

comet_status segment_cut(segment_file *segment, uint64_t bytes, comet_error *error) {
    int result = platform->truncate_file(segment->fd, bytes);

    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot cut %s to its %" PRIu64 " bytes",
                         segment->path, bytes);
    }
    index_cut(segment->index);
    return COMET_OK;
}

comet_status segment_remove(segment_file *segment, comet_error *error) {
    char path[PATH_BYTES_MAX];
    int result = platform->remove_file(segment->path);

    index_path(segment, path);
    if (result == 0 || result == -ENOENT) {
        int second = platform->remove_file(path);
        result = second == -ENOENT ? 0 : second;
    }
    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot remove the segment %s", segment->path);
    }
    return COMET_OK;
}

/* ---- Reading ---- */

comet_status segment_corrupt(const segment_file *segment, uint64_t first, uint64_t last,
                             const char *what, comet_error *error) {
    return error_set(error, COMET_CORRUPT, 0,
                     "%s: entries %" PRIu64 " to %" PRIu64
                     " of shard %u %s; the others can be read",
                     segment->path, first, last, segment->home->shard, what);
}

void segment_release_window(segment_file *segment, map_window **window) {
    window_release(segment->home->pool, *window);
    *window = NULL;
}

comet_status segment_bytes(segment_file *segment, map_window **window, uint64_t position,
                           uint64_t length, const unsigned char **bytes, comet_error *error) {
    map_window *held = *window;

    if (held == NULL || position < held->position ||
        position + length > held->position + held->length) {
        uint64_t size;
        FORWARD(segment_size(segment, &size, error));
        if (length > size || position > size - length) {
            return error_set(error, COMET_CORRUPT, 0,
                             "%s ends at %" PRIu64 ", before position %" PRIu64, segment->path,
                             size, position + length);
        }
        segment_release_window(segment, window);
        FORWARD(window_acquire(segment->home->pool, segment, segment->fd, size, position, length,
                               window, error));
        held = *window;
    }
    *bytes = held->bytes + (position - held->position);
    return COMET_OK;
}

comet_status segment_describe_block(segment_file *segment, uint64_t at, uint64_t end, bool sealed,
                                    segment_block *block, comet_error *error) {
    block_index *index = segment->index;
    const unsigned char *next = NULL;

    FORWARD(index_record(index, at, &block->record, error));
    if (at + 1 < index_count(index)) {
        FORWARD(index_record(index, at + 1, &next, error));
        next = record_first(next) < end ? next : NULL;
    }
    block->at = at;
    block->first = record_first(block->record);
    block->position = record_position(block->record);
    block->end = next != NULL ? record_first(next) : end;
    block->sealed = next != NULL || (sealed && record_length(block->record) != 0);
    block->limit = block->position;
    if (block->sealed) {
        block->limit += record_length(block->record);
        block->time_low = record_time_low(block->record);
        block->time_high = record_time_high(block->record);
    } else {
        block->time_low = INT64_MIN;
        block->time_high = INT64_MAX;
    }
    if (block->end <= block->first || block->limit < block->position ||
        block->end - block->first > index_interval(index) ||
        (next != NULL && block->limit != record_position(next))) {
        return segment_corrupt(segment, block->first, block->end, "have a damaged index", error);
    }
    return COMET_OK;
}

static bool block_sums_up(const segment_block *block, const unsigned char *bytes) {
    uint32_t length = record_length(block->record);

    return length == block->limit - block->position &&
           crc32c_extend(0, bytes, length) == record_crc(block->record);
}

comet_status segment_check_block(segment_file *segment, segment_block *block,
                                 segment_sighting *seen, map_window **window, comet_error *error) {
    const unsigned char *bytes;
    int64_t tick = platform->tick();

    if (seen->tick != tick || block->limit > seen->size_bytes || !block->sealed) {
        FORWARD(segment_size(segment, &seen->size_bytes, error));
        seen->tick = tick;
    }
    if (!block->sealed) {
        block->limit = seen->size_bytes;
    }
    if (block->limit > seen->size_bytes || block->position + ENTRY_HEADER_BYTES > block->limit) {
        return segment_corrupt(segment, block->first, block->end - 1,
                               "are missing: the file was cut short", error);
    }
    if (!block->sealed || index_is_checked(segment->index, block->at)) {
        return COMET_OK;
    }
    FORWARD(segment_bytes(segment, window, block->position, block->limit - block->position, &bytes,
                          error));
    if (!block_sums_up(block, bytes)) {
        return segment_corrupt(segment, block->first, block->end - 1,
                               "are damaged: they do not have the checksum they were written with",
                               error);
    }
    index_set_checked(segment->index, block->at);
    return COMET_OK;
}

/* ---- Walking ---- */

/* The header at `position`, or NULL where no whole entry stands. */
static comet_status walk_header(segment_file *segment, map_window **window, uint64_t position,
                                uint64_t size, const unsigned char **header, comet_error *error) {
    uint64_t left = size - position;

    *header = NULL;
    if (left < ENTRY_HEADER_BYTES) {
        return COMET_OK;
    }
    FORWARD(segment_bytes(segment, window, position,
                          left < WALK_WINDOW_BYTES ? left : WALK_WINDOW_BYTES, header, error));
    if (entry_header_size(*header) > left - ENTRY_HEADER_BYTES ||
        entry_header_size(*header) > ENTRY_STORED_BYTES_MAX ||
        entry_header_timestamp(*header) < 0) {
        *header = NULL;
    }
    return COMET_OK;
}

static comet_status walk_finish(segment_file *segment, map_window **window, block_index *index,
                                index_tail *tail, comet_error *error) {
    const unsigned char *block;

    FORWARD(segment_bytes(segment, window, tail->block_position,
                          tail->position - tail->block_position, &block, error));
    index_tail_finish(index, tail, block);
    return COMET_OK;
}

static comet_status walk_on(segment_file *segment, block_index *index, index_tail *tail,
                            segment_sums *sums, uint64_t certain_end, uint64_t offset_end,
                            map_window **window, comet_error *error) {
    uint64_t size;

    FORWARD(segment_size(segment, &size, error));
    while (tail->end_offset < offset_end) {
        const unsigned char *header;
        uint32_t stored;
        int64_t timestamp;

        FORWARD(walk_header(segment, window, tail->position, size, &header, error));
        if (header == NULL) {
            break;
        }
        stored = entry_header_size(header);
        timestamp = entry_header_timestamp(header);
        if (stored == 0 && timestamp == 0 && tail->end_offset >= certain_end) {
            break; /* allocated and never written */
        }
        if (tail->record_count == 0 || index_tail_is_full(tail)) {
            FORWARD(index_tail_begin(index, tail, error));
        }
        if (sums != NULL) {
            bool frame = stored >= 4 && size - tail->position >= ENTRY_HEADER_BYTES + 4 &&
                         entry_is_frame(header + ENTRY_HEADER_BYTES, 4);
            segment_sums_add(sums, tail->end_offset, timestamp, frame);
        }
        index_tail_add(tail, ENTRY_HEADER_BYTES + (uint64_t)stored, timestamp);
        if (index_tail_is_full(tail)) {
            FORWARD(walk_finish(segment, window, index, tail, error));
        }
    }
    if (tail->record_count != 0 && !index_tail_is_empty(tail)) {
        FORWARD(walk_finish(segment, window, index, tail, error));
    }
    return COMET_OK;
}

comet_status segment_walk(segment_file *segment, block_index *index, index_tail *tail,
                          segment_sums *sums, uint64_t certain_end, uint64_t offset_end,
                          comet_error *error) {
    map_window *window = NULL;
    comet_status status =
        walk_on(segment, index, tail, sums, certain_end, offset_end, &window, error);

    segment_release_window(segment, &window);
    return status;
}

/* ---- Lists ---- */

comet_status segment_list_new(size_t count, segment_list **list, comet_error *error) {
    size_t size = sizeof(segment_list) + count * sizeof(segment_item);
    segment_list *made = memory_allocate_zeroed(size);

    if (made == NULL) {
        return memory_failed(error, size);
    }
    atomic_init(&made->references, 1);
    made->count = count;
    *list = made;
    return COMET_OK;
}

comet_status segment_list_copy(const segment_list *from, size_t count, size_t room,
                               segment_list **list, comet_error *error) {
    assert(count <= from->count);
    FORWARD(segment_list_new(count + room, list, error));
    for (size_t i = 0; i < count; i++) {
        (*list)->items[i] = from->items[i];
        segment_retain((*list)->items[i].file);
    }
    return COMET_OK;
}

void segment_list_retain(segment_list *list) {
    atomic_fetch_add_explicit(&list->references, 1, memory_order_relaxed);
}

void segment_list_release(segment_list *list) {
    if (list == NULL || atomic_fetch_sub_explicit(&list->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < list->count; i++) {
        segment_release(list->items[i].file);
    }
    memory_release(list);
}

size_t segment_list_find(const segment_list *list, uint64_t offset) {
    size_t low = 0;
    size_t high = list->count;

    assert(list->count > 0 && list->items[0].facts.first_offset <= offset);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (list->items[middle].facts.first_offset <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}
