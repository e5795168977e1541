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
#include "limits.h"
#include "memory.h"
#include "platform.h"
#include "status.h"
#include "walk.h"

#define INDEX_SUFFIX ".idx"
#define DATA_SUFFIX ".comet"
#define REBUILD_INTERVAL 100u /* entries a block of an index that is made from the data */

/* An index that was found to be damaged, and is kept for those who still look at it. */
typedef struct old_index {
    struct old_index *next;
    block_index *index;
} old_index;

struct segment_file {
    atomic_uint references;
    /* Entries below are in the index: all for one on disk, which the writer keeps; 0 for none yet. */
    _Atomic uint64_t covered_end;
    atomic_bool is_doubted;
    pthread_mutex_t mutex; /* opening, and following */
    /* Under home->idlers->mutex: who needs the files open; nobody, and it is idle. */
    unsigned users;
    bool is_written;
    bool is_idle;
    segment_file *newer, *older; /* of those that are idle */
    const segment_home *home;
    manifest_segment facts;
    int fd;
    _Atomic(block_index *) index;
    index_tail tail; /* of an index in memory */
    old_index *old;
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

/* Nobody may be in it. */
static void close_files(segment_file *segment) {
    window_pool_forget(segment->home->pool, segment);
    index_close(atomic_load(&segment->index));
    atomic_store(&segment->covered_end, 0);
    atomic_store(&segment->index, NULL);
    atomic_store(&segment->is_doubted, false);
    while (segment->old != NULL) {
        old_index *old = segment->old;
        segment->old = old->next;
        index_close(old->index);
        memory_release(old);
    }
    if (segment->fd >= 0) {
        (void)platform->close_file(segment->fd);
        segment->fd = -1;
    }
}

/* ---- Idlers ---- */

void segment_idlers_open(segment_idlers *idlers) {
    memset(idlers, 0, sizeof *idlers);
    pthread_mutex_init(&idlers->mutex, NULL);
}

void segment_idlers_close(segment_idlers *idlers) {
    assert(idlers->count == 0);
    pthread_mutex_destroy(&idlers->mutex);
}

/* Under the idlers' mutex, as the next two. */
static void idle_end(segment_file *segment) {
    segment_idlers *idlers = segment->home->idlers;

    if (!segment->is_idle) {
        return;
    }
    *(segment->newer != NULL ? &segment->newer->older : &idlers->newest) = segment->older;
    *(segment->older != NULL ? &segment->older->newer : &idlers->oldest) = segment->newer;
    segment->is_idle = false;
    idlers->count--;
}

static void idle_begin(segment_file *segment) {
    segment_idlers *idlers = segment->home->idlers;

    segment->newer = NULL;
    segment->older = idlers->newest;
    *(idlers->newest != NULL ? &idlers->newest->newer : &idlers->oldest) = segment;
    idlers->newest = segment;
    segment->is_idle = true;
    idlers->count++;
    while (idlers->count > IDLE_SEGMENTS_MAX) {
        segment_file *oldest = idlers->oldest;
        idle_end(oldest);
        close_files(oldest);
    }
}

static void idle_unless_needed(segment_file *segment) {
    if (segment->fd >= 0 && segment->users == 0 && !segment->is_written && !segment->is_idle) {
        idle_begin(segment);
    }
}

static void need(segment_file *segment, unsigned users, bool to_write) {
    pthread_mutex_lock(&segment->home->idlers->mutex);
    segment->users += users;
    segment->is_written |= to_write;
    idle_end(segment);
    pthread_mutex_unlock(&segment->home->idlers->mutex);
}

void segment_leave(segment_file *segment) {
    pthread_mutex_lock(&segment->home->idlers->mutex);
    assert(segment->users > 0);
    segment->users--;
    idle_unless_needed(segment);
    pthread_mutex_unlock(&segment->home->idlers->mutex);
}

void segment_rest(segment_file *segment) {
    pthread_mutex_lock(&segment->home->idlers->mutex);
    if (segment->is_written) {
        segment->is_written = false;
        idle_unless_needed(segment);
    }
    pthread_mutex_unlock(&segment->home->idlers->mutex);
}

void segment_release(segment_file *segment) {
    if (segment == NULL ||
        atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) > 1) {
        return;
    }
    need(segment, 0, false); /* no idler any more */
    close_files(segment);
    pthread_mutex_destroy(&segment->mutex);
    memory_release(segment);
}

bool segment_is_shared(segment_file *segment) {
    return atomic_load(&segment->references) > 1;
}

/* The index first, as durable as the log is: a data file without one is taken for the Go package's, whose
** entries count as far as they look whole, and after a power cut they may only look it. */
static comet_status create_index(segment_file *segment, const segment_created *how,
                                 comet_error *error) {
    const manifest_segment *facts = &segment->facts;
    block_index *index = NULL;
    char path[PATH_BYTES_MAX];
    platform_info info;
    comet_status status;

    if (platform->path_info(segment->path, &info) == 0) { /* somebody's, with an index of its own */
        return error_set(error, COMET_IO, EEXIST, "cannot make the segment %s", segment->path);
    }
    index_path(segment, path);
    FORWARD(index_create(path, facts->sequence, facts->first_offset, how->interval, how->bytes_max,
                         &index, error));
    status = how->durable ? index_sync(index, error) : COMET_OK;
    if (status != COMET_OK) {
        index_close(index);
        (void)platform->remove_file(path);
        return status;
    }
    atomic_store(&segment->index, index);
    return COMET_OK;
}

comet_status segment_create(const segment_home *home, const manifest_segment *facts,
                            const segment_created *how, segment_file **segment,
                            comet_error *error) {
    comet_status status;
    segment_file *made;
    int result;

    FORWARD(segment_new(home, facts, &made, error));
    status = create_index(made, how, error);
    if (status != COMET_OK) {
        segment_release(made);
        return status;
    }
    made->fd =
        platform->open_file(made->path, PLATFORM_WRITE | PLATFORM_CREATE | PLATFORM_EXCLUSIVE);
    /* The whole length at once: each extension of a mapped file would stop for milliseconds. */
    result = made->fd < 0 ? made->fd : platform->truncate_file(made->fd, how->bytes_max);
    if (result != 0) {
        if (result != -EEXIST) {
            (void)segment_remove(made, NULL);
        }
        status = error_set(error, status_of_failure(result), -result, "cannot make the segment %s",
                           made->path);
        segment_release(made);
        return status;
    }
    atomic_store(&made->covered_end, UINT64_MAX);
    made->is_written = true;
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

static bool segment_is_ready(const segment_file *segment, uint64_t end) {
    return end <= atomic_load_explicit(&segment->covered_end, memory_order_acquire) &&
           atomic_load_explicit(&segment->index, memory_order_relaxed) != NULL &&
           !atomic_load_explicit(&segment->is_doubted, memory_order_relaxed);
}

/* Put another index in force.  The old one, if any, is kept for those who look at it. */
static comet_status set_index(segment_file *segment, block_index *index, comet_error *error) {
    block_index *before = atomic_load(&segment->index);

    if (before != NULL) {
        old_index *old = memory_allocate(sizeof *old);
        if (old == NULL) {
            return memory_failed(error, sizeof *old);
        }
        old->index = before;
        old->next = segment->old;
        segment->old = old;
    }
    atomic_store_explicit(&segment->index, index, memory_order_release);
    atomic_store(&segment->is_doubted, false);
    return COMET_OK;
}

/* Begin an index in memory; it knows of nothing yet. */
static comet_status begin_index(segment_file *segment, comet_error *error) {
    const manifest_segment *facts = &segment->facts;
    block_index *index;
    comet_status status;
    uint64_t size;

    FORWARD(segment_size(segment, &size, error));
    FORWARD(index_create(NULL, facts->sequence, facts->first_offset, REBUILD_INTERVAL,
                         index_capacity(segment, size), &index, error));
    status = set_index(segment, index, error);
    if (status != COMET_OK) {
        index_close(index);
        return status;
    }
    index_tail_init(&segment->tail, index, facts->first_offset);
    return COMET_OK;
}

/* Let the index in memory go on to `end`.  A writer elsewhere may be storing past it. */
static comet_status follow(segment_file *segment, uint64_t end, bool may_lose, comet_error *error) {
    block_index *index = segment->index;
    index_tail *tail = &segment->tail;
    walk_sums sums;

    walk_sums_init(&sums, INT64_MIN, 0);
    FORWARD(walk_entries(segment, index, tail, &sums, may_lose ? end : 0, end, error));
    if (tail->end_offset < end && may_lose) {
        FORWARD(index_tail_lose(index, tail, end, error));
    }
    index_note(index, tail->end_offset, index_noted_compressed(index) + sums.compressed_count);
    atomic_store_explicit(&segment->covered_end, tail->end_offset, memory_order_release);
    return COMET_OK;
}

static comet_status open_data(segment_file *segment, comet_error *error) {
    if (segment->fd < 0) {
        int fd = platform->open_file(segment->path,
                                     segment->home->writable ? PLATFORM_WRITE : PLATFORM_READ);
        if (fd < 0) {
            return error_set(error, fd == -ENOENT ? COMET_CORRUPT : COMET_IO, -fd,
                             "cannot open the segment %s (offsets from %" PRIu64 ")", segment->path,
                             segment->facts.first_offset);
        }
        segment->fd = fd;
    }
    return COMET_OK;
}

/* Whether an index on disk begins where the segment does, and was noted to hold the entries below
** `end`.  If so, it always will: the writer notes before it publishes. */
static bool index_covers(const segment_file *segment, block_index *index, uint64_t end) {
    const unsigned char *record;

    return index_noted_end(index) >= end &&
           (end <= segment->facts.first_offset ||
            (index_count(index) > 0 && index_record(index, 0, &record, NULL) == COMET_OK &&
             record_first(record) == segment->facts.first_offset && record_position(record) == 0));
}

/* The index on disk, if it is of any use. */
static comet_status open_index(segment_file *segment, uint64_t end, comet_error *error) {
    const manifest_segment *facts = &segment->facts;
    char path[PATH_BYTES_MAX];
    block_index *index;
    comet_status status;
    uint64_t size;

    FORWARD(segment_size(segment, &size, error));
    index_path(segment, path);
    FORWARD(index_open(path, facts->sequence, facts->first_offset, segment->home->writable,
                       index_capacity(segment, size), &index, error));
    if (!index_covers(segment, index, end)) {
        index_close(index);
        return error_set(error, COMET_CORRUPT, 0, "%s does not hold all of its segment", path);
    }
    status = set_index(segment, index, error);
    if (status != COMET_OK) {
        index_close(index);
    }
    return status;
}

static comet_status make_ready(segment_file *segment, uint64_t end, comet_error *error) {
    comet_status status = COMET_OK;

    FORWARD(open_data(segment, error));
    if (atomic_load(&segment->index) == NULL) {
        status = open_index(segment, end, error);
    } else if (atomic_load(&segment->is_doubted) || (!index_is_in_memory(segment->index) &&
                                                     !index_covers(segment, segment->index, end))) {
        status = COMET_CORRUPT;
    }
    if (status == COMET_NOT_FOUND || status == COMET_CORRUPT) {
        status = begin_index(segment, error);
    }
    FORWARD(status);
    if (index_is_in_memory(segment->index)) {
        return follow(segment, end, true, error);
    }
    atomic_store_explicit(&segment->covered_end, UINT64_MAX, memory_order_release);
    return COMET_OK;
}

comet_status segment_catch_up(segment_file *segment, uint64_t end, comet_error *error) {
    comet_status status = COMET_OK;

    if (segment_is_ready(segment, end)) {
        return COMET_OK;
    }
    pthread_mutex_lock(&segment->mutex);
    if (!segment_is_ready(segment, end)) {
        status = make_ready(segment, end, error);
    }
    pthread_mutex_unlock(&segment->mutex);
    return status;
}

comet_status segment_write(segment_file *segment, uint64_t end, comet_error *error) {
    need(segment, 0, true);
    return segment_catch_up(segment, end, error);
}

comet_status segment_enter(segment_file *segment, uint64_t end, comet_error *error) {
    comet_status status;

    need(segment, 1, false);
    status = segment_catch_up(segment, end, error);
    if (status != COMET_OK) {
        segment_leave(segment);
    }
    return status;
}

void segment_doubt_index(segment_file *segment) {
    atomic_store(&segment->is_doubted, true);
}

bool segment_index_is_doubted(const segment_file *segment) {
    return atomic_load(&segment->is_doubted);
}

comet_status segment_find_end(segment_file *segment, uint64_t *end, bool *indexed,
                              comet_error *error) {
    comet_status status;

    need(segment, 0, true);
    pthread_mutex_lock(&segment->mutex);
    status = open_data(segment, error);
    if (status == COMET_OK && atomic_load(&segment->index) == NULL) {
        status = open_index(segment, 0, error);
        if (status == COMET_NOT_FOUND || status == COMET_CORRUPT) {
            status = begin_index(segment, error);
        }
    }
    if (status == COMET_OK && index_is_in_memory(segment->index)) {
        status = follow(segment, COMET_OFFSET_MAX, false, error);
    }
    if (status == COMET_OK) {
        *indexed = !index_is_in_memory(segment->index);
        *end = index_noted_end(segment->index);
        *end = *end < segment->facts.first_offset ? segment->facts.first_offset : *end;
    }
    pthread_mutex_unlock(&segment->mutex);
    return status;
}

comet_status segment_save_index(segment_file *segment, comet_error *error) {
    char path[PATH_BYTES_MAX];
    comet_status status = COMET_OK;
    block_index *index;

    need(segment, 1, false); /* as it is: what is not open has nothing to save */
    index = atomic_load(&segment->index);
    if (index != NULL && index_is_in_memory(index)) {
        index_path(segment, path);
        status = index_save(index, segment->home->directory, strrchr(path, '/') + 1, error);
    }
    segment_leave(segment);
    return status;
}

block_index *segment_index(const segment_file *segment) {
    return atomic_load_explicit(&segment->index, memory_order_acquire);
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
        if (held != NULL && segment->home->state != NULL) {
            state_add(segment->home->state, STATE_WINDOW_MOVES, 1);
        }
        segment_release_window(segment, window);
        FORWARD(window_acquire(segment->home->pool,
                               &(window_source){segment, segment->home->state, segment->fd, size},
                               position, length, window, error));
        held = *window;
    }
    *bytes = held->bytes + (position - held->position);
    return COMET_OK;
}

comet_status segment_check_cut(const segment_file *segment, const map_window *window,
                               unsigned *cuts, comet_error *error) {
    unsigned count = atomic_load_explicit(&platform_cut_count, memory_order_relaxed);

    if (count == *cuts) {
        return COMET_OK;
    }
    if (window == NULL || !platform_was_cut(window->bytes)) {
        *cuts = count;
        return COMET_OK;
    }
    return error_set(error, COMET_CORRUPT, 0,
                     "%s was cut short by another program while it was read", segment->path);
}

comet_status segment_describe_block(segment_file *segment, uint64_t at, uint64_t end, bool sealed,
                                    segment_block *block, comet_error *error) {
    block_index *index = segment_index(segment);
    const unsigned char *next = NULL;

    if (at >= index_count(index)) {
        return error_set(error, COMET_CORRUPT, 0, "%s: the index ends before block %" PRIu64,
                         segment->path, at);
    }
    FORWARD(index_record(index, at, &block->record, error));
    if (at + 1 < index_count(index)) {
        FORWARD(index_record(index, at + 1, &next, error));
        next = record_first(next) < end ? next : NULL;
    }
    block->index = index;
    block->at = at;
    block->first = record_first(block->record);
    block->position = record_position(block->record);
    block->end = next != NULL ? record_first(next) : end;
    block->sealed = next != NULL || (sealed && record_length(block->record) != 0);
    block->lost = block->sealed && record_length(block->record) == RECORD_LENGTH_LOST;
    block->limit = block->position;
    if (block->sealed) {
        block->limit += block->lost ? 0 : record_length(block->record);
        block->time_low = record_time_low(block->record);
        block->time_high = record_time_high(block->record);
    } else {
        block->time_low = INT64_MIN;
        block->time_high = INT64_MAX;
    }
    if (block->end <= block->first || block->limit < block->position ||
        (!block->lost && block->end - block->first > index_interval(index)) ||
        (block->sealed && (block->end - block->first != record_entries(block->record) ||
                           index_check_record(index, at, NULL) != COMET_OK)) ||
        (next != NULL && block->limit != record_position(next))) {
        segment_doubt_index(segment);
        return segment_corrupt(segment, block->first, block->end, "have a damaged index", error);
    }
    return COMET_OK;
}

static bool block_sums_up(const segment_block *block, const unsigned char *bytes) {
    uint32_t length = record_length(block->record);

    return length == block->limit - block->position &&
           crc32c_extend(0, bytes, length) == record_crc(block->record);
}

comet_status segment_check_block(segment_file *segment, segment_block *block, map_window **window,
                                 comet_error *error) {
    const unsigned char *bytes;
    uint64_t size;

    if (block->lost) {
        return segment_corrupt(segment, block->first, block->end - 1,
                               "are missing: the file was cut short or overwritten", error);
    }
    FORWARD(segment_size(segment, &size, error));
    if (!block->sealed) {
        block->limit = size;
    }
    if (block->limit > size || block->position + ENTRY_HEADER_BYTES > block->limit) {
        return segment_corrupt(segment, block->first, block->end - 1,
                               "are missing: the file was cut short", error);
    }
    if (!block->sealed || index_is_checked(block->index, block->at)) {
        return COMET_OK;
    }
    FORWARD(segment_bytes(segment, window, block->position, block->limit - block->position, &bytes,
                          error));
    if (!block_sums_up(block, bytes)) {
        return segment_corrupt(segment, block->first, block->end - 1,
                               "are damaged: they do not have the checksum they were written with",
                               error);
    }
    index_set_checked(block->index, block->at);
    return COMET_OK;
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
