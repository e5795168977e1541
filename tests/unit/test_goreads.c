/* test_goreads.c -- without it a log that was closed here might not open in the Go package, or give it
** other entries than were written.
**
** Go's reader is not at hand, so its rules are: each line of what its format asks of a writer is looked
** up in the bytes, by a parser of this file's own that shares nothing with core/.
*/
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "platform.h"

#define STORED_BYTES_MAX (10u << 20) /* Go's reader does not get past more */
#define GROUP_SLOTS 512

typedef struct whole_file {
    unsigned char *bytes;
    size_t size;
} whole_file;

static whole_file load(const char *directory, const char *name) {
    char path[2 * PATH_ROOM];
    whole_file made;
    FILE *in;

    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    in = fopen(path, "rb");
    if (in == NULL) {
        fail_msg("%s cannot be opened", path);
    }
    made.size = (size_t)path_size(path);
    made.bytes = malloc(made.size + 1);
    assert_non_null(made.bytes);
    assert_int_equal(fread(made.bytes, 1, made.size, in), made.size);
    (void)fclose(in);
    return made;
}

static uint64_t number(const unsigned char *at, unsigned bytes) {
    uint64_t value = 0;

    for (unsigned i = bytes; i-- > 0;) {
        value = value << 8 | at[i];
    }
    return value;
}

/* ---- Data files ---- */

/* Raw, it is the entry and does not look like a frame; else it is a frame of it. */
static void check_payload(const unsigned char *stored, size_t size, const model_entry *expected) {
    bool frame = size >= 4 && memcmp(stored, "\x28\xB5\x2F\xFD", 4) == 0;
    unsigned char *plain = malloc(expected->size + 1);
    size_t length;

    assert_non_null(plain);
    assert_in_range(size, 1, STORED_BYTES_MAX);
    if (frame) {
        length = ZSTD_decompress(plain, expected->size + 1, stored, size);
        assert_false(ZSTD_isError(length));
        assert_true(content_is(plain, length, expected));
    } else {
        assert_true(content_is(stored, size, expected));
    }
    free(plain);
}

/* From byte 0 to the file's end, entry behind entry, nothing between and nothing behind. */
static uint64_t check_data(const char *directory, const char *name, const model *m,
                           uint64_t first) {
    whole_file file = load(directory, name);
    uint64_t count = 0;
    size_t at = 0;

    while (at < file.size) {
        const model_entry *expected = &m->entries[first + count];
        size_t length;
        assert_true(first + count < m->count && file.size - at > 12);
        length = (size_t)number(file.bytes + at, 4);
        assert_true(length <= file.size - at - 12);
        assert_int_equal((int64_t)number(file.bytes + at + 4, 8), expected->timestamp);
        check_payload(file.bytes + at + 12, length, expected);
        at += 12 + length;
        count++;
    }
    free(file.bytes);
    return count;
}

/* ---- index.bin ---- */

typedef struct index_facts {
    uint64_t end;
    uint64_t last_bytes;
    uint64_t last_sequence;
    uint64_t first;
    uint32_t files;
} index_facts;

/* One file record at `at`; the place behind it. */
static size_t check_record(const whole_file *index, size_t at, const char *directory,
                           const model *m, index_facts *facts) {
    char path[2 * PATH_ROOM];
    char again[32];
    size_t length = (size_t)number(index->bytes + at, 2);
    const unsigned char *record = index->bytes + at + 2 + length;
    const char *name;
    uint64_t sequence;

    assert_true(length < sizeof path && at + 50 + length <= index->size);
    memcpy(path, index->bytes + at + 2, length);
    path[length] = '\0';
    name = strrchr(path, '/');
    assert_non_null(name++);
    assert_true(path[0] == '/'); /* usable from any working directory */
    assert_int_equal(name - 1 - path, strlen(directory));
    assert_memory_equal(path, directory, strlen(directory));
    sequence = strtoull(name + 4, NULL, 10);
    (void)snprintf(again, sizeof again, "log-%016llu.comet", (unsigned long long)sequence);
    assert_string_equal(name, again);
    assert_true(facts->files == 0 || sequence > facts->last_sequence);
    assert_int_equal(number(record, 8), 0);
    assert_int_equal(number(record + 8, 8), path_size(path));
    if (facts->files == 0) {
        facts->first = facts->end = number(record + 16, 8);
    }
    assert_int_equal(number(record + 16, 8), facts->end); /* contiguous */
    assert_int_equal(number(record + 24, 8), check_data(directory, name, m, facts->end));
    assert_true((int64_t)number(record + 32, 8) > 0);
    assert_true((int64_t)number(record + 40, 8) >= (int64_t)number(record + 32, 8));
    facts->end += number(record + 24, 8);
    facts->last_bytes = path_size(path);
    facts->last_sequence = sequence;
    facts->files++;
    return at + 50 + length;
}

static index_facts check_index(const char *directory, const model *m) {
    whole_file index = load(directory, "index.bin");
    index_facts facts = {0, 0, 0, 0, 0};
    uint32_t nodes;
    uint32_t files;
    size_t at = 36;

    assert_true(index.size >= 36);
    assert_memory_equal(index.bytes, "TMOC\1\0\0\0", 8);
    assert_int_equal(number(index.bytes + 24, 4), 0); /* consumers */
    nodes = (uint32_t)number(index.bytes + 28, 4);
    files = (uint32_t)number(index.bytes + 32, 4);
    assert_true(nodes < index.size / 20 && files > 0);
    at += (size_t)nodes * 20;
    for (uint32_t i = 0; i < files; i++) {
        at = check_record(&index, at, directory, m, &facts);
    }
    for (uint32_t i = 0; i < nodes; i++) {
        assert_true(number(index.bytes + 36 + 20 * i + 8, 4) < files);
    }
    assert_int_equal(number(index.bytes + 8, 8), facts.end);
    assert_int_equal(facts.end, m->count);
    assert_int_equal(number(index.bytes + 16, 8), facts.last_bytes);
    free(index.bytes);
    return facts;
}

/* ---- comet.state and offsets.state ---- */

/* The fields below 768 that Go has; all else there is its padding. */
static bool is_go_field(unsigned place) {
    static const unsigned char ranges[][2] = {{0, 3},   {6, 6},   {9, 14},  {16, 20}, {24, 28},
                                              {32, 45}, {48, 54}, {56, 62}, {64, 71}, {80, 85}};

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (place / 8 >= ranges[i][0] && place / 8 <= ranges[i][1]) {
            return true;
        }
    }
    return false;
}

static void check_state(const char *directory, const index_facts *facts) {
    whole_file state = load(directory, "comet.state");

    assert_int_equal(state.size, 1024);
    assert_int_equal(number(state.bytes, 8), 1);                      /* Version */
    assert_int_equal(number(state.bytes + 8, 8), facts->last_bytes);  /* WriteOffset */
    assert_int_equal(number(state.bytes + 16, 8), facts->end - 1);    /* LastEntryNumber */
    assert_true((int64_t)number(state.bytes + 24, 8) > 0);            /* LastIndexUpdate */
    assert_true(number(state.bytes + 48, 8) >= facts->last_sequence); /* LastFileSequence */
    assert_int_equal(number(state.bytes + 288, 8), facts->files);     /* CurrentFiles */
    for (unsigned place = 0; place < 768; place++) {
        if (!is_go_field(place) && state.bytes[place] != 0) {
            fail_msg("comet.state: byte %u is Go's padding, and not zero", place);
        }
    }
    free(state.bytes);
}

/* Go comes to slot `wanted` from the hash of its name, over slots that are not empty. */
static void check_probing(const unsigned char *slots, unsigned wanted) {
    const char *name = (const char *)slots + (size_t)128 * wanted;
    uint32_t hash = 2166136261u;
    unsigned at;

    for (const char *byte = name; *byte != '\0'; byte++) {
        hash = (hash ^ (unsigned char)*byte) * 16777619u;
    }
    for (at = hash % GROUP_SLOTS; at != wanted; at = (at + 1) % GROUP_SLOTS) {
        assert_true(slots[(size_t)128 * at] != 0);
    }
}

/* Exactly those `positions` by group, in the order of their names. */
static void check_offsets(const char *directory, uint64_t end, const char *positions) {
    whole_file table = load(directory, "offsets.state");
    const unsigned char *slots = table.bytes + 64;
    char found[512] = "";

    assert_int_equal(table.size, 65600);
    assert_memory_equal(table.bytes, "\1\0\0\0\xF5\x0F\xFE\xC0", 8);
    for (unsigned i = 0; i < GROUP_SLOTS; i++) {
        const unsigned char *slot = slots + (size_t)128 * i;
        size_t used = strlen(found);
        if (slot[0] == 0) {
            for (unsigned k = 0; k < 72; k++) {
                assert_int_equal(slot[k], 0); /* empty, so nothing stands in Go's part */
            }
        } else if (slot[0] != 0xFF) { /* such a name is no text: a group that was removed */
            assert_non_null(memchr(slot, 0, 48));
            assert_true((int64_t)number(slot + 56, 8) > 1); /* the group exists */
            assert_true(number(slot + 48, 8) <= end);
            check_probing(slots, i);
            (void)snprintf(found + used, sizeof found - used, "%s=%llu ", (const char *)slot,
                           (unsigned long long)number(slot + 48, 8));
        }
    }
    assert_string_equal(found, positions);
    free(table.bytes);
}

/* ---- Directories ---- */

/* What Go takes for data files and shards by their names are some; it meets nothing half-written. */
static void check_names(const char *log, const char *directory, const index_facts *facts) {
    struct dirent *entry;
    DIR *listing = opendir(directory);
    unsigned files = 0;

    assert_non_null(listing);
    while ((entry = readdir(listing)) != NULL) {
        size_t length = strlen(entry->d_name);
        if (strncmp(entry->d_name, "log-", 4) == 0 && length > 6 &&
            strcmp(entry->d_name + length - 6, ".comet") == 0) {
            files++; /* index.bin names as many, and each of those is there */
        }
        assert_null(strstr(entry->d_name, ".tmp."));
    }
    (void)closedir(listing);
    assert_int_equal(files, facts->files);
    listing = opendir(log);
    assert_non_null(listing);
    while ((entry = readdir(listing)) != NULL) {
        if (strncmp(entry->d_name, "shard-", 6) == 0) {
            assert_string_equal(entry->d_name, "shard-0003");
        }
    }
    (void)closedir(listing);
}

/* Every line of the list. */
static index_facts check_closed(const char *log, const model *m, const char *positions) {
    char given[PATH_ROOM];
    char directory[PATH_ROOM];
    index_facts facts;

    file_path(given, log, "shard-0003");
    assert_non_null(realpath(given, directory));
    facts = check_index(directory, m);
    check_state(directory, &facts);
    check_offsets(directory, facts.end, positions);
    check_names(log, directory, &facts);
    return facts;
}

/* ---- The log ---- */

#define SETTINGS "max_file_size=32KiB boundary_interval=20 min_compress_size=300 upkeep=manual"

static void commit_many(comet_shard *shard, model *m, uint64_t *random, unsigned transactions) {
    for (unsigned i = 0; i < transactions; i++) {
        unsigned count = 1 + (unsigned)random_below(random, 40);
        comet_txn *txn;
        uint64_t offset;
        OK(comet_txn_begin(shard, &txn, &error));
        for (unsigned k = 0; k < count; k++) {
            /* Some empty ones, some with zstd's magic, some of one byte, some compressed. */
            size_t size = (size_t)random_below(random, random_below(random, 9) == 0 ? 3000 : 60);
            append_both(txn, m, (int64_t)random_below(random, 1u << 30), size, random_next(random));
        }
        append_both(txn, m, 5, 0, 0);
        OK(comet_txn_savepoint(txn, 1, &error));
        OK(comet_txn_append(txn, "taken back", 10, 1, &offset, &error));
        comet_txn_rollback_to(txn, 1);
        OK(comet_txn_prepare(txn, &error));
        comet_txn_publish(txn);
    }
}

static void set_position(comet_shard *shard, const char *name, uint64_t position) {
    comet_group *group;

    OK(comet_group_open(shard, name, strlen(name), &group, &error));
    OK(comet_group_seek(group, position, NULL, &error));
    comet_group_close(group);
}

static comet_log *open_shard(const char *log, comet_shard **shard) {
    comet_log *made = log_make(log, COMET_OPEN_CREATE, SETTINGS);

    OK(comet_shard_open(made, 3, true, shard, &error));
    return made;
}

static void close_shard(comet_log *log, comet_shard *shard) {
    comet_shard_close(shard);
    comet_log_close(log);
}

/* A transaction that is rolled back, and one left unfinished at the end. */
static void leave_rubbish(comet_shard *shard) {
    comet_txn *txn;
    uint64_t offset;

    OK(comet_txn_begin(shard, &txn, &error));
    for (unsigned i = 0; i < 3000; i++) {
        OK(comet_txn_append(txn, "rubbish rubbish rubbish", 23, 1, &offset, &error));
    }
    OK(comet_txn_prepare(txn, &error));
    comet_txn_rollback(txn);
}

static void a_closed_log_is_as_go_wants_it(void **state) {
    uint64_t random = random_seed("closed");
    char log[PATH_ROOM];
    comet_shard *shard;
    comet_log *opened;
    comet_group *group;
    index_facts facts;
    model m = {0};
    (void)state;

    directory_make(log);
    opened = open_shard(log, &shard);
    commit_many(shard, &m, &random, 1);
    set_position(shard, "grp", 1);
    close_shard(opened, shard);
    facts = check_closed(log, &m, "grp=1 ");
    assert_int_equal(facts.files, 1);
    opened = open_shard(log, &shard);
    commit_many(shard, &m, &random, 60);
    leave_rubbish(shard);
    set_position(shard, "grp", 7);
    set_position(shard, "forgotten", 8);
    OK(comet_group_open(shard, "forgotten", 9, &group, &error));
    OK(comet_group_forget(group, &error));
    comet_group_close(group);
    close_shard(opened, shard);
    facts = check_closed(log, &m, "grp=7 ");
    assert_true(facts.files > 2);
    print_message("%zu entries in %u files\n", m.count, facts.files);
    /* The same after the machine went down, and after only looking. */
    simulate_reboot(log, 3);
    opened = open_shard(log, &shard);
    commit_many(shard, &m, &random, 3);
    close_shard(opened, shard);
    (void)check_closed(log, &m, "grp=7 ");
    opened = open_shard(log, &shard);
    check_all(shard, NULL, &m);
    close_shard(opened, shard);
    (void)check_closed(log, &m, "grp=7 ");
    directory_remove(log);
    model_free(&m);
}

/* The oldest files are gone, the numbers stay. */
static void a_log_that_was_cut_by_retention_too(void **state) {
    uint64_t random = random_seed("retention");
    char log[PATH_ROOM];
    comet_shard *shard;
    comet_log *opened;
    comet_retention_item *items;
    size_t count;
    index_facts facts;
    model m = {0};
    char positions[40];
    (void)state;

    directory_make(log);
    opened = open_shard(log, &shard);
    commit_many(shard, &m, &random, 120);
    (void)snprintf(positions, sizeof positions, "grp=%zu ", m.count);
    set_position(shard, "grp", m.count);
    OK(comet_log_configure(opened, "max_shard_size", "150KiB", &error));
    OK(comet_log_retain(opened, &items, &count, &error));
    comet_free(items);
    commit_many(shard, &m, &random, 2);
    close_shard(opened, shard);
    facts = check_closed(log, &m, positions);
    assert_true(facts.first > 0);
    directory_remove(log);
    model_free(&m);
}

/* ---- The order on disk ---- */

static char trace[4096];
static int data_fd;
static int64_t clock_now;

static void trace_add(const char *what) {
    (void)snprintf(trace + strlen(trace), sizeof trace - strlen(trace), "%s ", what);
}

static int traced_open(const char *path, unsigned mode) {
    int fd = platform_system.open_file(path, mode);

    if (strstr(path, "/log-") != NULL && strstr(path, ".comet") != NULL && mode != PLATFORM_READ) {
        data_fd = fd;
    }
    return fd;
}

static int traced_sync(int fd) {
    trace_add(fd == data_fd ? "data" : "file");
    return platform_system.sync_file(fd);
}

static int traced_sync_directory(const char *path) {
    trace_add("directory");
    return platform_system.sync_directory(path);
}

static int traced_rename(const char *from, const char *to) {
    trace_add(strstr(to, "/index.bin") != NULL ? "index" : "rename");
    return platform_system.rename_file(from, to);
}

static int64_t falling_clock(void) {
    return clock_now -= 1000;
}

/* Data before the list that names it, the list before its name, its name before the next thing;
** and the mark by which Go's readers see that the list is new grows, though the clock goes back.
** Go's defect W30: neither index.bin nor its directory is synced. Go's defect W51: readers stall
** when the clock is set back. */
static void the_list_follows_the_data(void **state) {
    platform_calls table = platform_system;
    char log[PATH_ROOM];
    char directory[PATH_ROOM];
    uint64_t random = 11;
    int64_t last = 0;
    model m = {0};
    (void)state;

    directory_make(log);
    file_path(directory, log, "shard-0003");
    table.open_file = traced_open;
    table.sync_file = traced_sync;
    table.sync_directory = traced_sync_directory;
    table.rename_file = traced_rename;
    table.now = falling_clock;
    clock_now = comet_now();
    platform_use(&table);
    for (unsigned round = 0; round < 3; round++) {
        comet_shard *shard;
        comet_log *opened = open_shard(log, &shard);
        const char *index;
        whole_file bytes;
        trace[0] = '\0';
        commit_many(shard, &m, &random, 1);
        close_shard(opened, shard);
        index = strstr(trace, "index "); /* the last one counts the entries */
        for (const char *next = index; next != NULL; next = strstr(next + 1, "index ")) {
            index = next;
        }
        if (index == NULL || index - trace < 5 || strstr(trace, "data ") == NULL ||
            strstr(trace, "data ") > index || strncmp(index - 5, "file ", 5) != 0 ||
            strncmp(index + 6, "directory ", 10) != 0) {
            fail_msg("the order was: %s", trace);
        }
        bytes = load(directory, "comet.state");
        assert_true((int64_t)number(bytes.bytes + 24, 8) > last);
        last = (int64_t)number(bytes.bytes + 24, 8);
        free(bytes.bytes);
    }
    platform_use(NULL);
    directory_remove(log);
    model_free(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_closed_log_is_as_go_wants_it),
        cmocka_unit_test(a_log_that_was_cut_by_retention_too),
        cmocka_unit_test(the_list_follows_the_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
