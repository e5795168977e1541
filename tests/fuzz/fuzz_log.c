/* fuzz_log.c -- one file of a small log is replaced by the input: index.bin, an .idx, comet.state,
** offsets.state, offsets.bin or a data file, as the first byte says.  The log opens or is refused by an error; with any
** file but the data replaced, no entry is read that was not written so; and it can be written to. */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "comet.h"

#define ENTRIES 150
#define FILES 7

static const char *const NAMES[FILES] = {"index.bin",
                                         "log-0000000000000001.idx",
                                         "log-0000000000000002.idx",
                                         "comet.state",
                                         "offsets.state",
                                         "offsets.bin",
                                         "log-0000000000000001.comet"};

static char root[400];
static uint8_t originals[FILES][FUZZ_BYTES_MAX];
static size_t sizes[FILES];
static uint8_t last_data[FUZZ_BYTES_MAX];
static size_t last_size;

static void put(const char *name, const uint8_t *bytes, size_t size) {
    char path[600];
    int fd;

    snprintf(path, sizeof path, "%s/shard-0000/%s", root, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    FUZZ_CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
    close(fd);
}

static size_t get(const char *name, uint8_t *bytes) {
    char path[600];
    ssize_t size;
    int fd;

    snprintf(path, sizeof path, "%s/shard-0000/%s", root, name);
    fd = open(path, O_RDONLY);
    FUZZ_CHECK(fd >= 0);
    size = read(fd, bytes, FUZZ_BYTES_MAX);
    close(fd);
    return (size_t)size;
}

static void empty_directory(const char *path) {
    DIR *listed = opendir(path);
    struct dirent *entry;

    while (listed != NULL && (entry = readdir(listed)) != NULL) {
        char name[900];
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.') {
            (void)unlink(name);
        }
    }
    if (listed != NULL) {
        closedir(listed);
    }
}

static void clean_up(void) {
    char path[600];

    snprintf(path, sizeof path, "%s/shard-0000", root);
    empty_directory(path);
    (void)rmdir(path);
    empty_directory(root);
    (void)rmdir(root);
}

static comet_log *log_of(unsigned flags) {
    comet_settings settings;
    comet_log *log = NULL;

    comet_settings_init(&settings);
    FUZZ_CHECK(comet_settings_set(&settings, "upkeep", "manual", NULL) == COMET_OK);
    return comet_log_open(root, flags, &settings, &log, NULL) == COMET_OK ? log : NULL;
}

/* Entry `at` is so many bytes of that letter. */
static size_t entry_size(uint64_t at) {
    return 20 + at % 30;
}

static void append(comet_shard *shard, unsigned count) {
    comet_txn *txn;
    char data[64];

    if (comet_txn_begin(shard, &txn, NULL) != COMET_OK) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = comet_txn_end(txn);
        uint64_t offset;
        memset(data, 'a' + (int)(at % 26), sizeof data);
        if (comet_txn_append(txn, data, entry_size(at), 1000 + (int64_t)at, &offset, NULL) !=
            COMET_OK) {
            comet_txn_rollback(txn);
            return;
        }
    }
    if (comet_txn_prepare(txn, NULL) == COMET_OK) {
        comet_txn_publish(txn);
    } else {
        comet_txn_rollback(txn);
    }
}

/* As older versions of the Go package had it: u8 version, u32 count, { u8 length, name, i64 offset }. */
static const uint8_t OFFSETS_BIN[] = {1, 2, 0,   0,   0,   3,   'o', 'l', 'd', 7, 0, 0, 0, 0, 0, 0,
                                      0, 5, 'g', 'r', 'o', 'u', 'p', 99,  0,   0, 0, 0, 0, 0, 0};

static void make_log(void) {
    const char *temporary = getenv("TMPDIR");
    comet_settings settings;
    comet_shard *shard;
    comet_group *group;
    comet_log *log;
    uint64_t position;

    snprintf(root, sizeof root, "%s/comet-fuzz.XXXXXX", temporary != NULL ? temporary : "/tmp");
    FUZZ_CHECK(mkdtemp(root) != NULL);
    (void)atexit(clean_up);
    comet_settings_init(&settings);
    FUZZ_CHECK(comet_settings_set(&settings, "max_file_size", "4KiB", NULL) == COMET_OK);
    FUZZ_CHECK(comet_settings_set(&settings, "boundary_interval", "10", NULL) == COMET_OK);
    FUZZ_CHECK(comet_settings_set(&settings, "upkeep", "manual", NULL) == COMET_OK);
    FUZZ_CHECK(comet_log_open(root, COMET_OPEN_CREATE, &settings, &log, NULL) == COMET_OK);
    FUZZ_CHECK(comet_shard_open(log, 0, true, &shard, NULL) == COMET_OK);
    append(shard, ENTRIES);
    FUZZ_CHECK(comet_group_open(shard, "group", 5, &group, NULL) == COMET_OK);
    FUZZ_CHECK(comet_group_ack(group, 10, &position, NULL) == COMET_OK);
    comet_group_close(group);
    comet_shard_close(shard);
    comet_log_close(log);
    put("offsets.bin", OFFSETS_BIN, sizeof OFFSETS_BIN);
    for (unsigned i = 0; i < FILES; i++) {
        sizes[i] = get(NAMES[i], originals[i]);
    }
    last_size = get("log-0000000000000002.comet", last_data);
}

static void restore(unsigned replaced, const uint8_t *bytes, size_t size) {
    char path[600];

    snprintf(path, sizeof path, "%s/shard-0000", root);
    empty_directory(path);
    for (unsigned i = 0; i < FILES; i++) {
        put(NAMES[i], i == replaced ? bytes : originals[i], i == replaced ? size : sizes[i]);
    }
    put("log-0000000000000002.comet", last_data, last_size);
}

static void read_all(comet_shard *shard, bool data_is_whole, bool descending) {
    comet_cursor *cursor;
    comet_range range;
    comet_status status;

    FUZZ_CHECK(comet_cursor_open(shard, &cursor, NULL) == COMET_OK);
    comet_range_init(&range);
    range.descending = descending;
    status = comet_cursor_seek(cursor, NULL, &range, NULL);
    for (unsigned i = 0; status == COMET_OK && i < 100000; i++) {
        uint64_t at = comet_cursor_offset(cursor);
        const void *data;
        size_t size;
        int64_t timestamp;
        status = comet_cursor_timestamp(cursor, &timestamp, NULL);
        if (status == COMET_OK) {
            status = comet_cursor_data(cursor, &data, &size, NULL);
        }
        if (status == COMET_OK && data_is_whole) {
            FUZZ_CHECK(size == entry_size(at) && timestamp == 1000 + (int64_t)at);
            FUZZ_CHECK(*(const char *)data == 'a' + (int)(at % 26));
        }
        status = status == COMET_OK ? comet_cursor_next(cursor, NULL) : status;
    }
    comet_cursor_close(cursor);
}

static void use(unsigned flags, bool data_is_whole) {
    comet_log *log = log_of(flags);
    comet_segment_check *checks;
    comet_shard *shard;
    size_t count;

    if (log == NULL) {
        return;
    }
    if (comet_shard_open(log, 0, false, &shard, NULL) == COMET_OK) {
        comet_group_info *groups;
        read_all(shard, data_is_whole, false);
        read_all(shard, data_is_whole, true);
        if (comet_shard_verify(shard, &checks, &count, NULL) == COMET_OK) {
            comet_free(checks);
        }
        if (comet_shard_groups(shard, &groups, &count, NULL) == COMET_OK) {
            comet_free(groups);
        }
        if ((flags & COMET_OPEN_READONLY) == 0) {
            append(shard, 3);
            read_all(shard, data_is_whole, false);
        }
        comet_shard_close(shard);
    }
    comet_log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned which;

    if (root[0] == '\0') {
        make_log();
    }
    if (size == 0) {
        return 0;
    }
    which = data[0] % FILES;
    restore(which, data + 1, size - 1);
    use(COMET_OPEN_READONLY, which != FILES - 1);
    use(0, which != FILES - 1);
    use(0, which != FILES - 1);
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *seed, size_t room) {
    if (root[0] == '\0') {
        make_log();
    }
    if (n >= FILES || sizes[n] + 1 > room) {
        return 0;
    }
    seed[0] = (uint8_t)n;
    memcpy(seed + 1, originals[n], sizes[n]);
    return sizes[n] + 1;
}
