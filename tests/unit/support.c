/* support.c -- see support.h. */
#include "support.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE_BOOT_PLACE 792

comet_error error;

void assert_status(comet_status status, comet_status expected, const char *what, const char *file,
                   int line) {
    if (status != expected) {
        print_error("%s: %s instead of %s: %s\n", what, comet_status_name(status),
                    comet_status_name(expected),
                    status == COMET_OK || status == COMET_DONE ? "" : error.message);
        _fail(file, line);
    }
}

/* ---- Random numbers ---- */

uint64_t random_seed(const char *what) {
    const char *given = getenv("SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)comet_now();

    print_message("%s: SEED=%llu\n", what, (unsigned long long)seed);
    return seed;
}

/* splitmix64 */
uint64_t random_next(uint64_t *state) {
    uint64_t z = (*state += 0x9E3779B97F4A7C15u);

    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t random_below(uint64_t *state, uint64_t limit) {
    return random_next(state) % limit;
}

/* ---- Files ---- */

void directory_make(char path[PATH_ROOM]) {
    const char *root = getenv("TMPDIR");

    (void)snprintf(path, PATH_ROOM, "%s/comet-unit.XXXXXX", root != NULL ? root : "/tmp");
    assert_non_null(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

void directory_remove(const char *path) {
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void file_path(char path[PATH_ROOM], const char *directory, const char *name) {
    int length = snprintf(path, PATH_ROOM, "%s/%s", directory, name);
    assert_true(length > 0 && length < PATH_ROOM);
}

void file_write(const char *path, uint64_t position, const void *bytes, size_t size) {
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size, (off_t)position), (ssize_t)size);
    (void)close(fd);
}

void file_fill(const char *path, uint64_t seed, size_t size) {
    unsigned char bytes[8192];

    assert_true(size <= sizeof bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (unsigned char)random_next(&seed);
    }
    (void)unlink(path);
    file_write(path, 0, bytes, size);
}

bool file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

uint64_t path_size(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

static bool ends_so(const char *name, const char *suffix) {
    size_t length = strlen(name);
    return length >= strlen(suffix) && strcmp(name + length - strlen(suffix), suffix) == 0;
}

static int suffix_names(const char *directory, const char *suffix, struct dirent ***found) {
    int all = scandir(directory, found, NULL, alphasort);
    int kept = 0;

    for (int i = 0; i < all; i++) {
        if (ends_so((*found)[i]->d_name, suffix)) {
            (*found)[kept++] = (*found)[i];
        } else {
            free((*found)[i]);
        }
    }
    return kept;
}

bool file_find(char path[PATH_ROOM], const char *directory, const char *suffix, unsigned back) {
    struct dirent **found = NULL;
    int count = suffix_names(directory, suffix, &found);
    bool there = count > (int)back;

    if (there) {
        file_path(path, directory, found[count - 1 - (int)back]->d_name);
    }
    for (int i = 0; i < count; i++) {
        free(found[i]);
    }
    free(found);
    return there;
}

unsigned file_count(const char *directory, const char *suffix) {
    struct dirent **found = NULL;
    int count = suffix_names(directory, suffix, &found);

    for (int i = 0; i < count; i++) {
        free(found[i]);
    }
    free(found);
    return (unsigned)count;
}

void simulate_reboot(const char *directory, uint32_t shard) {
    char path[PATH_ROOM + 64];
    uint64_t boot = 0;
    int fd;

    (void)snprintf(path, sizeof path, "%s/shard-%04u/comet.state", directory, shard);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &boot, sizeof boot, STATE_BOOT_PLACE), sizeof boot);
    boot ^= 0x5555;
    assert_int_equal(pwrite(fd, &boot, sizeof boot, STATE_BOOT_PLACE), sizeof boot);
    (void)close(fd);
}

/* ---- The log ---- */

void settings_parse(comet_settings *out, const char *text) {
    char copy[512];
    char *rest = NULL;

    comet_settings_init(out);
    (void)snprintf(copy, sizeof copy, "%s", text != NULL ? text : "");
    for (char *one = strtok_r(copy, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(one, '=');
        assert_non_null(value);
        *value = '\0';
        OK(comet_settings_set(out, one, value + 1, &error));
    }
}

comet_log *log_make(const char *directory, unsigned flags, const char *settings) {
    comet_settings parsed;
    comet_log *log = NULL;

    settings_parse(&parsed, settings);
    OK(comet_log_open(directory, flags, settings != NULL ? &parsed : NULL, &log, &error));
    return log;
}

/* ---- The model ---- */

void model_add(model *m, int64_t timestamp, size_t size, uint64_t seed) {
    if (m->count == m->capacity) {
        m->capacity = m->capacity > 0 ? 2 * m->capacity : 256;
        m->entries = realloc(m->entries, m->capacity * sizeof *m->entries);
        assert_non_null(m->entries);
    }
    m->entries[m->count].timestamp = timestamp;
    m->entries[m->count].size = size;
    m->entries[m->count].seed = seed;
    m->count++;
}

void model_free(model *m) {
    free(m->entries);
    memset(m, 0, sizeof *m);
}

void content_fill(unsigned char *bytes, size_t size, uint64_t seed) {
    static const unsigned char magic[4] = {0x28, 0xB5, 0x2F, 0xFD};
    uint64_t kind = seed % 8;
    uint64_t state = seed;

    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = random_next(&state);
        size_t left = size - i < 8 ? size - i : 8;
        if (kind == 0) {
            word = 0;
        } else if (kind < 4) {
            memcpy(&word, "{\"a\": 1}", 8);
        }
        memcpy(bytes + i, &word, left);
    }
    if (kind == 7) {
        memcpy(bytes, magic, size < 4 ? size : 4);
    }
}

bool content_is(const void *data, size_t size, const model_entry *expected) {
    unsigned char small[4096];
    unsigned char *bytes = small;
    bool same;

    if (size != expected->size) {
        return false;
    }
    if (size > sizeof small) {
        bytes = malloc(size);
        assert_non_null(bytes);
    }
    content_fill(bytes, size, expected->seed);
    same = memcmp(bytes, data, size) == 0;
    if (bytes != small) {
        free(bytes);
    }
    return same;
}

comet_status append_one(comet_txn *txn, const model_entry *entry, uint64_t *offset) {
    unsigned char small[4096];
    unsigned char *bytes = small;
    comet_status status;

    if (entry->size > sizeof small) {
        bytes = malloc(entry->size);
        assert_non_null(bytes);
    }
    content_fill(bytes, entry->size, entry->seed);
    status = comet_txn_append(txn, bytes, entry->size, entry->timestamp, offset, &error);
    if (bytes != small) {
        free(bytes);
    }
    return status;
}

void append_both(comet_txn *txn, model *m, int64_t timestamp, size_t size, uint64_t seed) {
    model_entry entry = {timestamp, size, seed};
    uint64_t offset = UINT64_MAX;

    OK(append_one(txn, &entry, &offset));
    assert_int_equal(offset, m->count);
    model_add(m, timestamp, size, seed);
    assert_int_equal(comet_txn_end(txn), m->count);
}

static void check_entry(comet_cursor *cursor, const model *m, size_t at) {
    const void *data;
    int64_t timestamp;
    size_t size;

    assert_int_equal(comet_cursor_offset(cursor), at);
    assert_true(at < m->count);
    OK(comet_cursor_timestamp(cursor, &timestamp, &error));
    assert_int_equal(timestamp, m->entries[at].timestamp);
    OK(comet_cursor_data(cursor, &data, &size, &error));
    assert_non_null(data);
    if (!content_is(data, size, &m->entries[at])) {
        fail_msg("entry %zu: other bytes (%zu, %zu wanted, seed %llu)", at, size,
                 m->entries[at].size, (unsigned long long)m->entries[at].seed);
    }
}

static size_t check_from(comet_shard *shard, comet_txn *txn, const model *m) {
    comet_cursor *cursor = NULL;
    comet_range range;
    comet_status status;
    size_t at = 0;

    comet_range_init(&range);
    OK(comet_cursor_open(shard, &cursor, &error));
    status = comet_cursor_seek(cursor, txn, &range, &error);
    while (status == COMET_OK) {
        check_entry(cursor, m, at++);
        status = comet_cursor_next(cursor, &error);
    }
    STATUS(status, COMET_DONE);
    comet_cursor_close(cursor);
    return at;
}

size_t count_matching(comet_shard *shard, const model *m) {
    return check_from(shard, NULL, m);
}

void check_all(comet_shard *shard, comet_txn *txn, const model *m) {
    comet_shard_info info;
    int64_t low = INT64_MAX;
    int64_t high = INT64_MIN;

    assert_int_equal(check_from(shard, txn, m), m->count);
    if (txn != NULL) {
        return;
    }
    for (size_t i = 0; i < m->count; i++) {
        low = m->entries[i].timestamp < low ? m->entries[i].timestamp : low;
        high = m->entries[i].timestamp > high ? m->entries[i].timestamp : high;
    }
    OK(comet_shard_describe(shard, &info, &error));
    assert_int_equal(info.first_offset, 0);
    assert_int_equal(info.end_offset, m->count);
    assert_int_equal(info.time_first, low);
    assert_int_equal(info.time_last, high);
    assert_true(info.durable_offset <= info.end_offset);
}
