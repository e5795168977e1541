/* recovery.c -- making a shard whole after a crash, a power cut, or the Go package.
**
** Decides: what of a shard's files is believed when they disagree.
**
**   A writer died (its lock was taken over): the page cache is whole, so comet.state's end holds,
**   and only what was never published is taken back.
**
**   The machine went down, Go wrote, or comet.state is lost: the end is found in the last segment,
**   from the newest mark that its bytes bear out, over every further block that has the checksum it
**   was written with.  A segment that Go wrote has no marks; there whole entries are believed.
**
**   index.bin is lost: the list is made from the files; each index repeats its segment's first
**   offset, so numbering survives.
*/
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "log.h"
#include "memory.h"
#include "platform.h"
#include "replace.h"
#include "shard.h"
#include "status.h"

#define SEQUENCES_FIRST 64

/* ---- The files that are there ---- */

typedef struct sequence_set {
    uint64_t *numbers;
    size_t count;
    size_t capacity;
} sequence_set;

static int sequence_visit(void *context, const char *name, bool may_be_directory) {
    sequence_set *set = context;
    uint64_t sequence;

    (void)may_be_directory;
    if (!manifest_parse_name(name, &sequence)) {
        return 0;
    }
    if (set->count == set->capacity) {
        size_t capacity = set->capacity > 0 ? 2 * set->capacity : SEQUENCES_FIRST;
        uint64_t *grown = memory_resize(set->numbers, capacity * sizeof *grown);
        if (grown == NULL) {
            return -ENOMEM;
        }
        set->numbers = grown;
        set->capacity = capacity;
    }
    set->numbers[set->count++] = sequence;
    return 0;
}

static int sequence_compare(const void *left, const void *right) {
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

static comet_status list_files(const comet_shard *shard, sequence_set *set, comet_error *error) {
    int result;

    memset(set, 0, sizeof *set);
    result = platform->list_directory(shard->home.directory, sequence_visit, set);
    if (result != 0) {
        memory_release(set->numbers);
        return error_set(error, result == -ENOMEM ? COMET_NOMEM : COMET_IO, -result,
                         "cannot list %s", shard->home.directory);
    }
    if (set->count > 0) {
        qsort(set->numbers, set->count, sizeof *set->numbers, sequence_compare);
    }
    return COMET_OK;
}

/* ---- The list ---- */

/* The segment in file `sequence`.  Its index says where its numbers begin; without one they go on
** from `*end`, which becomes the segment's own. */
static comet_status rebuild_item(comet_shard *shard, uint64_t sequence, uint64_t *end,
                                 segment_item *item, comet_error *error) {
    char name[MANIFEST_NAME_BYTES];
    char path[PATH_BYTES_MAX];
    uint64_t first;

    memset(item, 0, sizeof *item);
    if (!manifest_file_name(sequence, name)) {
        return error_set(error, COMET_CORRUPT, 0, "%s: a file has an impossible number",
                         shard->home.directory);
    }
    strcpy(strrchr(name, '.'), ".idx");
    FORWARD(shard_path(shard, name, path, error));
    item->facts.sequence = sequence;
    item->facts.first_offset = index_peek(path, sequence, &first, NULL) == COMET_OK ? first : *end;
    FORWARD(segment_new(&shard->home, &item->facts, &item->file, error));
    FORWARD(segment_ready(item->file, error));
    *end = index_noted_end(segment_index(item->file));
    *end = *end < item->facts.first_offset ? item->facts.first_offset : *end;
    item->facts.entry_count = *end - item->facts.first_offset;
    item->facts.created_ns = item->facts.written_ns = platform->now();
    return COMET_OK;
}

/* Where a file's numbers begin, those before it end: what a dead transaction or a damaged index claims
** beyond gives way. */
static void rebuild_add(segment_list *list, const segment_item *item) {
    uint64_t first = item->facts.first_offset;

    while (list->count > 0 && list->items[list->count - 1].facts.first_offset >= first) {
        segment_release(list->items[--list->count].file);
    }
    if (list->count > 0) {
        manifest_segment *before = &list->items[list->count - 1].facts;
        uint64_t room = first - before->first_offset;
        before->entry_count = before->entry_count < room ? before->entry_count : room;
    }
    list->items[list->count++] = *item;
}

/* index.bin says nothing: make the list from the files, oldest first. */
static comet_status rebuild_list(comet_shard *shard, segment_list **list, comet_error *error) {
    comet_status status;
    segment_list *made;
    sequence_set files;
    uint64_t end = 0;

    FORWARD(list_files(shard, &files, error));
    status = segment_list_new(files.count, &made, error);
    if (status != COMET_OK) {
        memory_release(files.numbers);
        return status;
    }
    made->count = 0;
    for (size_t i = 0; status == COMET_OK && i < files.count; i++) {
        segment_item item;
        status = rebuild_item(shard, files.numbers[i], &end, &item, error);
        if (status == COMET_OK) {
            rebuild_add(made, &item);
        } else {
            segment_release(item.file);
        }
    }
    memory_release(files.numbers);
    if (status != COMET_OK) {
        segment_list_release(made);
        return status;
    }
    /* Begun by a dead transaction that prepared nothing. */
    while (made->count > 0 &&
           index_noted_end(segment_index(made->items[made->count - 1].file)) == 0) {
        segment_release(made->items[--made->count].file);
    }
    *list = made;
    return COMET_OK;
}

static comet_status list_from_manifest(comet_shard *shard, const manifest *from,
                                       const segment_list *previous, segment_list **list,
                                       comet_error *error) {
    size_t at = 0;
    segment_list *made;

    FORWARD(segment_list_new(from->segment_count, &made, error));
    for (size_t i = 0; i < from->segment_count; i++) {
        const manifest_segment *facts = &from->segments[i];
        comet_status status = COMET_OK;
        while (at < previous->count && previous->items[at].facts.sequence < facts->sequence) {
            at++;
        }
        made->items[i].facts = *facts;
        if (at < previous->count && previous->items[at].facts.sequence == facts->sequence &&
            previous->items[at].facts.first_offset == facts->first_offset) {
            made->items[i].file = previous->items[at].file;
            segment_retain(made->items[i].file);
        } else {
            status = segment_new(&shard->home, facts, &made->items[i].file, error);
        }
        if (status != COMET_OK) {
            made->count = i;
            segment_list_release(made);
            return status;
        }
    }
    *list = made;
    return COMET_OK;
}

static comet_status read_manifest(const comet_shard *shard, manifest *out, comet_error *error) {
    char path[PATH_BYTES_MAX];
    comet_status status;
    platform_info info;
    uint8_t *bytes;
    int result;
    int fd;

    FORWARD(shard_path(shard, MANIFEST_NAME, path, error));
    fd = platform->open_file(path, PLATFORM_READ);
    if (fd < 0) {
        return error_set(error, fd == -ENOENT ? COMET_NOT_FOUND : COMET_IO, -fd, "cannot open %s",
                         path);
    }
    result = platform->file_info(fd, &info);
    if (result != 0 || info.size_bytes > MANIFEST_BYTES_MAX) {
        (void)platform->close_file(fd);
        return error_set(error, result != 0 ? COMET_IO : COMET_CORRUPT, -result,
                         "%s cannot be a manifest", path);
    }
    bytes = memory_allocate((size_t)info.size_bytes + 1);
    result = bytes == NULL ? 0 : platform->read_at(fd, bytes, (size_t)info.size_bytes, 0);
    (void)platform->close_file(fd);
    if (bytes == NULL) {
        return memory_failed(error, (size_t)info.size_bytes);
    }
    status = result != 0 ? error_set(error, COMET_IO, -result, "cannot read %s", path)
                         : manifest_decode(bytes, (size_t)info.size_bytes, out, error);
    memory_release(bytes);
    return status;
}

/* A manifest that cannot be read is kept for whoever wants to know why. */
static void set_aside(comet_shard *shard, const char *name) {
    char from[PATH_BYTES_MAX];
    char to[PATH_BYTES_MAX];
    char suffixed[128];

    if (shard->home.writable && shard_path(shard, name, from, NULL) == COMET_OK) {
        (void)snprintf(suffixed, sizeof suffixed, "%s.corrupted.%" PRId64, name, platform->now());
        if (shard_path(shard, suffixed, to, NULL) == COMET_OK) {
            (void)platform->rename_file(from, to);
        }
    }
}

comet_status recovery_load_list(comet_shard *shard, segment_list **list, comet_error *error) {
    segment_list *previous;
    comet_status status;
    manifest found;

    manifest_init(&found);
    status = read_manifest(shard, &found, error);
    /* A first transaction under way: its files are another process's, and not to be touched. */
    if (status == COMET_NOT_FOUND && state_is_trusted(&shard->state) &&
        state_end(&shard->state) == 0) {
        return segment_list_new(0, list, error);
    }
    if (status == COMET_CORRUPT || status == COMET_NOT_FOUND) {
        if (status == COMET_CORRUPT) {
            state_add(&shard->state, STATE_CORRUPTION_DETECTED, 1);
            set_aside(shard, MANIFEST_NAME);
        }
        return rebuild_list(shard, list, error);
    }
    FORWARD(status);
    previous = shard_list(shard);
    status = list_from_manifest(shard, &found, previous, list, error);
    segment_list_release(previous);
    manifest_clear(&found);
    return status;
}

/* ---- The end ---- */

/* Count the whole entries of a block whose bytes are there and have their checksum. */
static comet_status count_block(segment_file *segment, uint64_t at, map_window **window,
                                uint64_t *end, comet_error *error) {
    const unsigned char *record;
    const unsigned char *bytes;
    uint64_t size;
    uint64_t place = 0;
    uint64_t offset;
    uint32_t length;

    FORWARD(index_record(segment_index(segment), at, &record, error));
    FORWARD(segment_size(segment, &size, error));
    length = record_length(record);
    if (length == 0 || record_position(record) > size || length > size - record_position(record)) {
        return error_set(error, COMET_CORRUPT, 0, "%s: a block is not whole",
                         segment_path(segment));
    }
    FORWARD(segment_bytes(segment, window, record_position(record), length, &bytes, error));
    if (crc32c_extend(0, bytes, length) != record_crc(record)) {
        return error_set(error, COMET_CORRUPT, 0, "%s: a block is damaged", segment_path(segment));
    }
    offset = record_first(record);
    while (length - place >= ENTRY_HEADER_BYTES) {
        place += ENTRY_HEADER_BYTES + (uint64_t)entry_header_size(bytes + place);
        offset += place <= length ? 1 : 0;
        place = place <= length ? place : length;
    }
    *end = offset;
    return COMET_OK;
}

/* The newest mark whose bytes bear it out. */
static comet_status find_mark(segment_file *segment, index_mark *mark, uint64_t *at,
                              comet_error *error) {
    block_index *index = segment_index(segment);
    index_mark marks[2];
    unsigned count = index_mark_load(index, marks);

    mark->end_offset = segment_first_offset(segment);
    *at = 0;
    for (unsigned i = 0; i < count; i++) {
        index_mark real;
        uint64_t block;
        if (marks[i].end_offset > segment_first_offset(segment) &&
            index_find(index, marks[i].end_offset - 1, &block, error) == COMET_OK &&
            checkpoint_mark_at(segment, marks[i].end_offset, false, &real, error) == COMET_OK &&
            real.position == marks[i].position && real.crc == marks[i].crc) {
            *mark = marks[i];
            *at = block;
            return COMET_OK;
        }
    }
    return COMET_OK;
}

/* One past the last entry that is certainly whole, and that belongs to a transaction which was prepared:
** the blocks of one that was not may be whole as well. */
static comet_status find_end(segment_file *segment, uint64_t *end, comet_error *error) {
    block_index *index = segment_index(segment);
    map_window *window = NULL;
    index_mark mark;
    uint64_t boundary;
    uint64_t found = 0;
    uint64_t at;

    FORWARD(find_mark(segment, &mark, &at, error));
    *end = mark.end_offset;
    while (at < index_count(index) && count_block(segment, at, &window, &found, NULL) == COMET_OK) {
        const unsigned char *record;
        if (index_record(index, at, &record, NULL) != COMET_OK || record_first(record) > *end) {
            break;
        }
        *end = found > *end ? found : *end;
        at++;
    }
    segment_release_window(segment, &window);
    boundary = index_noted_end(index);
    boundary = boundary > mark.end_offset ? boundary : mark.end_offset;
    *end = *end < boundary ? *end : boundary;
    return COMET_OK;
}

/* Without the segments that index.bin names but that are gone, or never came to hold anything that
** was prepared. */
static size_t count_existing(const segment_list *list) {
    size_t count = list->count;

    while (count > 0) {
        const segment_item *last = &list->items[count - 1];
        bool ready = segment_ready(last->file, NULL) == COMET_OK;
        bool noted = ready && (count == 1 || index_noted_end(segment_index(last->file)) != 0);
        if (noted || (!ready && last->facts.entry_count > 0)) {
            break;
        }
        count--;
    }
    return count;
}

static comet_status recover_end(const segment_list *list, uint64_t *end, comet_error *error) {
    const segment_item *last;
    size_t count = count_existing(list);

    *end = 0;
    if (count == 0) {
        return COMET_OK;
    }
    last = &list->items[count - 1];
    FORWARD(segment_ready(last->file, error));
    if (!last->facts.has_bounds &&
        last->facts.entry_count > 0) { /* Go wrote it, or index.bin is gone */
        FORWARD(segment_reindex(last->file, error));
        *end = index_noted_end(segment_index(last->file));
        return COMET_OK;
    }
    FORWARD(find_end(last->file, end, error));
    return COMET_OK;
}

/* ---- The state ---- */

/* The timestamps of a whole segment, header by header. */
static comet_status walk_times(segment_file *segment, uint64_t end, segment_sums *sums,
                               comet_error *error) {
    map_window *window = NULL;
    uint64_t offset = segment_first_offset(segment);
    uint64_t position = 0;
    comet_status status = COMET_OK;

    while (offset < end) {
        const unsigned char *header;
        status = segment_bytes(segment, &window, position, ENTRY_HEADER_BYTES, &header, error);
        if (status != COMET_OK) {
            break;
        }
        segment_sums_add(sums, offset++, entry_header_timestamp(header), false);
        position += ENTRY_HEADER_BYTES + (uint64_t)entry_header_size(header);
    }
    segment_release_window(segment, &window);
    return status;
}

/* Timestamps: known from index.bin for whole segments; the last one is walked if it has grown since.
** Where Go wrote, order is not known, and then not assumed. */
static comet_status recover_times(comet_shard *shard, const segment_list *list, uint64_t end,
                                  comet_error *error) {
    segment_sums sums;

    segment_sums_init(&sums, INT64_MIN, 0);
    for (size_t i = 0; i < list->count; i++) {
        const manifest_segment *facts = &list->items[i].facts;
        bool last = i + 1 == list->count;
        if (facts->has_bounds && (!last || facts->first_offset + facts->entry_count == end)) {
            if (facts->time_low < sums.shard_time_high) {
                sums.disorder_end = facts->first_offset + facts->entry_count;
            }
            sums.disorder_end =
                facts->disorder_end > sums.disorder_end ? facts->disorder_end : sums.disorder_end;
            sums.shard_time_high =
                facts->time_high > sums.shard_time_high ? facts->time_high : sums.shard_time_high;
        } else if (last && end > facts->first_offset) {
            FORWARD(walk_times(list->items[i].file, end, &sums, error));
        } else if (!last) {
            sums.disorder_end = end;
        }
    }
    state_store(&shard->state, STATE_TIME_HIGH, (uint64_t)sums.shard_time_high);
    state_store(&shard->state, STATE_DISORDER_END, sums.disorder_end);
    return COMET_OK;
}

static comet_status recover_sequence(comet_shard *shard, comet_error *error) {
    uint64_t highest = state_load(&shard->state, STATE_LAST_SEQUENCE);
    sequence_set files;

    FORWARD(list_files(shard, &files, error));
    if (highest > INT64_MAX / 2) {
        highest = 0; /* garbage */
    }
    if (files.count > 0 && files.numbers[files.count - 1] > highest) {
        highest = files.numbers[files.count - 1];
    }
    memory_release(files.numbers);
    state_store(&shard->state, STATE_LAST_SEQUENCE, highest);
    return COMET_OK;
}

/* ---- What a dead writer left ---- */

static int stray_visit(void *context, const char *name, bool may_be_directory) {
    comet_shard *shard = context;
    char path[PATH_BYTES_MAX];

    (void)may_be_directory;
    if (strncmp(name, MANIFEST_NAME REPLACE_SUFFIX, strlen(MANIFEST_NAME REPLACE_SUFFIX)) == 0 &&
        shard_path(shard, name, path, NULL) == COMET_OK) {
        (void)platform->remove_file(path);
    }
    return 0;
}

/* Whether a file's index says that nothing in it was ever prepared; then *facts tells of it. */
static bool is_unprepared(const comet_shard *shard, manifest_segment *facts) {
    char name[MANIFEST_NAME_BYTES];
    char path[PATH_BYTES_MAX];
    segment_file *file;
    bool unprepared;

    if (!manifest_file_name(facts->sequence, name)) {
        return false;
    }
    memcpy(strrchr(name, '.'), ".idx", sizeof ".idx");
    if (shard_path(shard, name, path, NULL) != COMET_OK ||
        index_peek(path, facts->sequence, &facts->first_offset, NULL) != COMET_OK ||
        segment_new(&shard->home, facts, &file, NULL) != COMET_OK) {
        return false;
    }
    unprepared = segment_ready(file, NULL) == COMET_OK && index_noted_end(segment_index(file)) == 0;
    segment_release(file);
    return unprepared;
}

/* Files that a dead transaction began and index.bin never named.  Where the Go package may have
** written, only those that are certainly ours. */
static comet_status remove_strays(comet_shard *shard, const segment_list *list, bool only_ours,
                                  comet_error *error) {
    uint64_t newest = list->count > 0 ? list->items[list->count - 1].facts.sequence : 0;
    sequence_set files;

    FORWARD(list_files(shard, &files, error));
    for (size_t i = 0; i < files.count; i++) {
        manifest_segment facts = {.sequence = files.numbers[i]};
        segment_file *stray;
        if (files.numbers[i] > newest && (!only_ours || is_unprepared(shard, &facts)) &&
            segment_new(&shard->home, &facts, &stray, NULL) == COMET_OK) {
            (void)segment_remove(stray, NULL);
            segment_release(stray);
        }
    }
    memory_release(files.numbers);
    (void)platform->list_directory(shard->home.directory, stray_visit, shard);
    return COMET_OK;
}

/* ---- All of it ---- */

comet_status recovery_run(comet_shard *shard, comet_error *error) {
    shard_state *state = &shard->state;
    segment_list *list;
    comet_status status;
    uint64_t generation;
    uint64_t end = 0;

    state_add(state, STATE_RECOVERY_ATTEMPTS, 1);
    shard->tail_is_loaded = false;
    FORWARD(recovery_load_list(shard, &list, error));
    status = recover_end(list, &end, error);
    if (status == COMET_OK) {
        status = recover_times(shard, list, end, error);
    }
    if (status == COMET_OK) {
        status = recover_sequence(shard, error);
    }
    if (status == COMET_OK && shard->home.writable) {
        status = remove_strays(shard, list, true, error);
    }
    if (status == COMET_OK) {
        generation = state_load(state, STATE_GENERATION) + 1;
        state_store(state, STATE_DURABLE_END, 0);
        state_store(state, STATE_LAST_ENTRY, end - 1);
        state_store(state, STATE_GENERATION, generation);
        state_publish(state, end);
        state_trust(state);
        shard_set_list(shard, list, generation);
        shard->manifest_is_stale = true;
        state_add(state, STATE_RECOVERY_SUCCESSES, 1);
    }
    segment_list_release(list);
    return status;
}

/* ---- A dead writer ---- */

comet_status recovery_take_over(comet_shard *shard, comet_error *error) {
    uint64_t generation = state_load(&shard->state, STATE_GENERATION) + 1;
    comet_status status;
    segment_list *list;

    if (!state_is_trusted(&shard->state)) {
        return recovery_run(shard, error);
    }
    state_add(&shard->state, STATE_RECOVERY_ATTEMPTS, 1);
    FORWARD(recovery_load_list(shard, &list, error));
    status = remove_strays(shard, list, false, error);
    if (status == COMET_OK) {
        shard_set_list(shard, list, generation);
        state_store(&shard->state, STATE_GENERATION, generation);
        state_store(&shard->state, STATE_LAST_ENTRY, state_end(&shard->state) - 1);
        status = writer_load_tail(shard, error);
    }
    if (status == COMET_OK && shard->tail.segment_count > 0) {
        const segment_list *current = shard->list;
        status =
            segment_cut(current->items[current->count - 1].file, shard->tail.index.position, error);
    }
    if (status == COMET_OK) {
        state_add(&shard->state, STATE_RECOVERY_SUCCESSES, 1);
    }
    segment_list_release(list);
    return status;
}
