/* inventory.c -- which segments a shard has.
**
** Decides: what is believed of index.bin and of the files beside it.
**
**   index.bin can be read     its list; a file that it names and that is gone stays in the list, so that
**                             its entries are missing, not renumbered
**   ... and is older than     files after its last one go on where it ends: only after the machine went
**   the files                 down; otherwise they are a transaction's under way
**   it cannot                 the files, each from the first offset that its index repeats; where that is
**                             lost as well, from the end of the one before, or before the one after
*/
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- Numbers of files that index.bin does not name ---- */

typedef struct found_file {
    uint64_t sequence;
    uint64_t first_offset;
    bool is_numbered;
    bool is_indexed;
    segment_file *file;
} found_file;

static void release_found(found_file *found, size_t count) {
    for (size_t i = 0; i < count; i++) {
        segment_release(found[i].file);
    }
    memory_release(found);
}

/* The file as a segment that begins at `first`. */
static comet_status open_found(const comet_shard *shard, found_file *found, uint64_t first,
                               comet_error *error) {
    manifest_segment facts = {.sequence = found->sequence, .first_offset = first};

    segment_release(found->file);
    found->file = NULL;
    return segment_new(&shard->home, &facts, &found->file, error);
}

/* One past its last entry, begun at found->first_offset. */
static comet_status measure(const comet_shard *shard, found_file *found, uint64_t *end,
                            comet_error *error) {
    if (found->file == NULL || segment_first_offset(found->file) != found->first_offset) {
        FORWARD(open_found(shard, found, found->first_offset, error));
    }
    return segment_find_end(found->file, end, &found->is_indexed, error);
}

/* What the indexes repeat. */
static void number_by_indexes(const comet_shard *shard, found_file *found, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char name[MANIFEST_NAME_BYTES];
        char path[PATH_BYTES_MAX];
        if (manifest_file_name(found[i].sequence, name)) {
            memcpy(strrchr(name, '.'), ".idx", sizeof ".idx");
            found[i].is_numbered =
                shard_path(shard, name, path, NULL) == COMET_OK &&
                index_peek(path, found[i].sequence, &found[i].first_offset, NULL) == COMET_OK;
        }
    }
}

/* From each one that is numbered, or from `before`, on to the next ones. */
static comet_status number_forwards(const comet_shard *shard, found_file *found, size_t count,
                                    const uint64_t *before, comet_error *error) {
    for (size_t i = 0; i < count; i++) {
        if (found[i].is_numbered || (i == 0 ? before == NULL : !found[i - 1].is_numbered)) {
            continue;
        }
        if (i == 0) {
            found[i].first_offset = *before;
        } else {
            FORWARD(measure(shard, &found[i - 1], &found[i].first_offset, error));
        }
        found[i].is_numbered = true;
    }
    return COMET_OK;
}

/* The oldest ones, back from the first that is numbered or, if none is, from the committed end. */
static comet_status number_backwards(const comet_shard *shard, found_file *found, size_t count,
                                     comet_error *error) {
    size_t at = 0;
    uint64_t end;

    while (at < count && !found[at].is_numbered) {
        at++;
    }
    if (at == count && !state_is_trusted(&shard->state)) {
        found[0].is_numbered = true; /* nothing tells: from 0 */
        return number_forwards(shard, found, count, NULL, error);
    }
    end = at < count ? found[at].first_offset : state_end(&shard->state);
    while (at-- > 0) {
        uint64_t entries;
        found[at].first_offset = 0;
        FORWARD(measure(shard, &found[at], &entries, error));
        found[at].first_offset = end > entries ? end - entries : 0;
        found[at].is_numbered = true;
        end = found[at].first_offset;
    }
    return COMET_OK;
}

static comet_status number_files(const comet_shard *shard, found_file *found, size_t count,
                                 const uint64_t *before, comet_error *error) {
    number_by_indexes(shard, found, count);
    FORWARD(number_forwards(shard, found, count, before, error));
    if (count > 0 && !found[0].is_numbered) {
        FORWARD(number_backwards(shard, found, count, error));
    }
    return COMET_OK;
}

/* ---- The list from the files ---- */

/* Where a file's numbers begin, those before it end: what a dead transaction claims beyond gives way. */
static void list_add(segment_list *list, const segment_item *item) {
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

/* How far the list reaches, and the first offset of a file behind that in which nothing was prepared. */
typedef struct list_reach {
    uint64_t end;
    uint64_t unprepared;
} list_reach;

/* Add a numbered file, unless nothing in it was ever prepared.  Nor what follows such a one: a transaction
** notes its last segment first, and died before it came to this one. */
static comet_status add_found(const comet_shard *shard, segment_list *list, found_file *found,
                              list_reach *reach, comet_error *error) {
    segment_item item;
    uint64_t end;

    memset(&item, 0, sizeof item);
    FORWARD(measure(shard, found, &end, error));
    if (end <= found->first_offset) {
        if (found->is_indexed && found->first_offset >= reach->end &&
            found->first_offset < reach->unprepared) {
            reach->unprepared = found->first_offset;
        }
        return COMET_OK;
    }
    if (found->first_offset > reach->unprepared ||
        (list->count > 0 && found->first_offset < list->items[0].facts.first_offset)) {
        return COMET_OK;
    }
    item.facts.sequence = found->sequence;
    item.facts.first_offset = found->first_offset;
    item.facts.entry_count = found->is_indexed ? 0 : end - found->first_offset;
    item.facts.created_ns = item.facts.written_ns = platform->now();
    item.file = found->file;
    segment_retain(item.file);
    list_add(list, &item);
    reach->end = end;
    reach->unprepared = UINT64_MAX;
    return COMET_OK;
}

/* `base` and the files with numbers above its last one's. */
static comet_status list_with_files(comet_shard *shard, const segment_list *base,
                                    segment_list **list, comet_error *error) {
    uint64_t newest = base->count > 0 ? base->items[base->count - 1].facts.sequence : 0;
    const uint64_t *before = NULL;
    list_reach reach = {0, UINT64_MAX};
    sequence_set files;
    found_file *found;
    comet_status status;
    uint64_t end = 0;
    bool indexed;
    size_t count = 0;

    FORWARD(list_files(shard, &files, error));
    found = memory_allocate_zeroed((files.count + 1) * sizeof *found);
    for (size_t i = 0; found != NULL && i < files.count; i++) {
        if (base->count == 0 || files.numbers[i] > newest) {
            found[count++].sequence = files.numbers[i];
        }
    }
    memory_release(files.numbers);
    if (found == NULL) {
        return memory_failed(error, (files.count + 1) * sizeof *found);
    }
    if (count > 0 && base->count > 0 &&
        segment_find_end(base->items[base->count - 1].file, &end, &indexed, NULL) == COMET_OK) {
        before = &end;
        reach.end = end;
    }
    status = number_files(shard, found, count, before, error);
    if (status == COMET_OK) {
        status = segment_list_copy(base, base->count, count, list, error);
    }
    if (status == COMET_OK) {
        (*list)->count = base->count;
        for (size_t i = 0; status == COMET_OK && i < count; i++) {
            status = add_found(shard, *list, &found[i], &reach, error);
        }
        if (status != COMET_OK) {
            segment_list_release(*list);
        }
    }
    release_found(found, count);
    return status;
}

/* ---- index.bin ---- */

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

comet_status inventory_read_file(const comet_shard *shard, const char *name, uint64_t most,
                                 uint8_t **bytes, size_t *size, comet_error *error) {
    char path[PATH_BYTES_MAX];
    platform_info info;
    uint8_t *made;
    int result;
    int fd;

    FORWARD(shard_path(shard, name, path, error));
    fd = platform->open_file(path, PLATFORM_READ);
    if (fd < 0) {
        return error_set(error, fd == -ENOENT ? COMET_NOT_FOUND : COMET_IO, -fd, "cannot open %s",
                         path);
    }
    result = platform->file_info(fd, &info);
    if (result != 0 || info.size_bytes > most) {
        (void)platform->close_file(fd);
        return error_set(error, result != 0 ? COMET_IO : COMET_CORRUPT, -result,
                         "%s cannot be what its name says", path);
    }
    made = memory_allocate((size_t)info.size_bytes + 1);
    result = made == NULL ? 0 : platform->read_at(fd, made, (size_t)info.size_bytes, 0);
    (void)platform->close_file(fd);
    if (made == NULL) {
        return memory_failed(error, (size_t)info.size_bytes);
    }
    if (result != 0) {
        memory_release(made);
        return error_set(error, COMET_IO, -result, "cannot read %s", path);
    }
    *bytes = made;
    *size = (size_t)info.size_bytes;
    return COMET_OK;
}

comet_status inventory_read_manifest(const comet_shard *shard, manifest *out, comet_error *error) {
    comet_status status;
    uint8_t *bytes;
    size_t size;

    FORWARD(inventory_read_file(shard, MANIFEST_NAME, MANIFEST_BYTES_MAX, &bytes, &size, error));
    status = manifest_decode(bytes, size, out, error);
    memory_release(bytes);
    return status;
}

void inventory_set_aside(const comet_shard *shard, const char *name) {
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

comet_status inventory_load(comet_shard *shard, bool newer, segment_list **list,
                            comet_error *error) {
    segment_list *previous;
    segment_list *named;
    comet_status status;
    manifest found;

    manifest_init(&found);
    status = inventory_read_manifest(shard, &found, error);
    /* A first transaction under way: its files are another process's, and not to be touched. */
    if (status == COMET_NOT_FOUND && state_is_trusted(&shard->state) &&
        state_end(&shard->state) == 0) {
        return segment_list_new(0, list, error);
    }
    if (status == COMET_CORRUPT) {
        state_count_corruption(&shard->state);
    }
    if (status == COMET_CORRUPT || status == COMET_NOT_FOUND) {
        atomic_store(&shard->manifest_is_bad, true);
        newer = true;
        status = segment_list_new(0, &named, error);
    } else if (status == COMET_OK) {
        previous = shard_list(shard);
        status = list_from_manifest(shard, &found, previous, &named, error);
        segment_list_release(previous);
        manifest_clear(&found);
    }
    FORWARD(status);
    if (!newer) {
        *list = named;
        return COMET_OK;
    }
    status = list_with_files(shard, named, list, error);
    segment_list_release(named);
    return status;
}

/* ---- Leftovers ---- */

comet_status inventory_last_sequence(const comet_shard *shard, uint64_t *sequence,
                                     comet_error *error) {
    sequence_set files;

    FORWARD(list_files(shard, &files, error));
    *sequence = files.count > 0 ? files.numbers[files.count - 1] : 0;
    memory_release(files.numbers);
    return COMET_OK;
}

static void remove_file(const comet_shard *shard, uint64_t sequence) {
    manifest_segment facts = {.sequence = sequence};
    segment_file *stray;

    if (segment_new(&shard->home, &facts, &stray, NULL) == COMET_OK) {
        (void)segment_remove(stray, NULL);
        segment_release(stray);
    }
}

/* Whether it is an index whose data file was never made, or is gone. */
static bool is_lone_index(const comet_shard *shard, const char *name) {
    const char *suffix = strrchr(name, '.');
    char data[MANIFEST_NAME_BYTES];
    char path[PATH_BYTES_MAX];
    platform_info info;
    uint64_t sequence;

    if (suffix == NULL || strcmp(suffix, ".idx") != 0 ||
        (size_t)(suffix - name) + sizeof ".comet" > sizeof data) {
        return false;
    }
    memcpy(data, name, (size_t)(suffix - name));
    memcpy(data + (suffix - name), ".comet", sizeof ".comet");
    return manifest_parse_name(data, &sequence) &&
           shard_path(shard, data, path, NULL) == COMET_OK &&
           platform->path_info(path, &info) == -ENOENT;
}

/* Files that were being written when their writer died. */
static int stray_visit(void *context, const char *name, bool may_be_directory) {
    comet_shard *shard = context;
    char path[PATH_BYTES_MAX];

    (void)may_be_directory;
    if (is_lone_index(shard, name)) {
        if (shard_path(shard, name, path, NULL) == COMET_OK) {
            (void)platform->remove_file(path);
        }
        return 0;
    }
    if ((strncmp(name, MANIFEST_NAME, strlen(MANIFEST_NAME)) == 0 ||
         strncmp(name, "log-", strlen("log-")) == 0) &&
        strstr(name, REPLACE_SUFFIX) != NULL && shard_path(shard, name, path, NULL) == COMET_OK) {
        (void)platform->remove_file(path);
    }
    return 0;
}

void inventory_remove_below(const comet_shard *shard, uint64_t sequence) {
    sequence_set files;

    if (list_files(shard, &files, NULL) != COMET_OK) {
        return;
    }
    for (size_t i = 0; i < files.count && files.numbers[i] < sequence; i++) {
        remove_file(shard, files.numbers[i]);
    }
    memory_release(files.numbers);
}

/* The newest first: what a power cut leaves of them then follows what the list has. */
comet_status inventory_sweep(comet_shard *shard, const segment_list *list, comet_error *error) {
    sequence_set files;
    size_t at = list->count;

    FORWARD(list_files(shard, &files, error));
    for (size_t i = files.count; i-- > 0;) {
        while (at > 0 && list->items[at - 1].facts.sequence > files.numbers[i]) {
            at--;
        }
        if (at == 0 || list->items[at - 1].facts.sequence != files.numbers[i]) {
            remove_file(shard, files.numbers[i]);
        }
    }
    memory_release(files.numbers);
    (void)platform->list_directory(shard->home.directory, stray_visit, shard);
    /* Else another power cut could bring a file back when its numbers have been given anew. */
    (void)platform->sync_directory(shard->home.directory);
    return COMET_OK;
}
