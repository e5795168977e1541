/* If these break, a group loses its place, takes another's, or reads an entry twice.  Numbers such as
** W18 are those of the Go package's defects (test_peer.c). */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "comet.h"
#include "offsets.h"
#include "platform.h"

typedef struct fixture {
    char directory[300];
    char table[400]; /* offsets.state of shard 0 */
    comet_log *log;
    comet_shard *shard;
} fixture;

static void open_log(fixture *used) {
    comet_error error;

    if (comet_log_open(used->directory, COMET_OPEN_CREATE, NULL, &used->log, &error) != COMET_OK ||
        comet_shard_open(used->log, 0, true, &used->shard, &error) != COMET_OK) {
        fail_msg("%s", error.message);
    }
}

static void close_log(fixture *used) {
    comet_shard_close(used->shard);
    comet_log_close(used->log);
}

static void append(comet_shard *shard, int count) {
    comet_txn *txn = NULL;
    uint64_t offset;

    assert_int_equal(comet_txn_begin(shard, &txn, NULL), COMET_OK);
    for (int i = 0; i < count; i++) {
        assert_int_equal(comet_txn_append(txn, "entry", 5, 1000 + i, &offset, NULL), COMET_OK);
    }
    assert_int_equal(comet_txn_prepare(txn, NULL), COMET_OK);
    comet_txn_publish(txn);
}

static int setup(void **state) {
    const char *parent = getenv("TMPDIR");
    fixture *made = calloc(1, sizeof *made);

    snprintf(made->directory, sizeof made->directory, "%s/comet-unit-XXXXXX",
             parent != NULL ? parent : "/tmp");
    assert_non_null(mkdtemp(made->directory));
    snprintf(made->table, sizeof made->table, "%s/shard-0000/offsets.state", made->directory);
    open_log(made);
    append(made->shard, 100);
    *state = made;
    return 0;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    return remove(path);
}

static int teardown(void **state) {
    fixture *used = *state;

    close_log(used);
    nftw(used->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(used);
    return 0;
}

static comet_group *group_of(comet_shard *shard, const char *name) {
    comet_group *group = NULL;

    assert_int_equal(comet_group_open(shard, name, strlen(name), &group, NULL), COMET_OK);
    return group;
}

static comet_status ack(comet_shard *shard, const char *name, uint64_t offset) {
    comet_group *group = group_of(shard, name);
    comet_error error;
    comet_status status = comet_group_ack(group, offset, NULL, &error);

    comet_group_close(group);
    return status;
}

static comet_group_info look(comet_shard *shard, const char *name) {
    comet_group *group = group_of(shard, name);
    comet_group_info info;

    assert_int_equal(comet_group_describe(group, &info, NULL), COMET_OK);
    comet_group_close(group);
    return info;
}

/* Where Go's package puts "grp", byte for byte. */
static void test_the_file_is_the_go_packages(void **state) {
    fixture *used = *state;
    unsigned char bytes[OFFSETS_BYTES];
    unsigned char header[8] = {1, 0, 0, 0, 0xF5, 0x0F, 0xFE, 0xC0};
    int64_t offset;
    FILE *file;

    assert_int_equal(ack(used->shard, "grp", 41), COMET_OK);
    file = fopen(used->table, "rb");
    assert_non_null(file);
    assert_int_equal(fread(bytes, 1, sizeof bytes, file), sizeof bytes);
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    assert_memory_equal(bytes, header, sizeof header);
    assert_string_equal((char *)bytes + 49728, "grp");
    memcpy(&offset, bytes + 49728 + 48, sizeof offset);
    assert_int_equal(offset, 42);
}

static void test_looking_leaves_no_trace(void **state) {
    fixture *used = *state;
    comet_group_info info = look(used->shard, "nobody");
    comet_group_info *groups;
    size_t count;

    assert_false(info.exists);
    assert_int_equal(info.lag, 100);
    assert_int_equal(access(used->table, F_OK), -1);
    assert_int_equal(comet_shard_groups(used->shard, &groups, &count, NULL), COMET_OK);
    assert_int_equal(count, 0);
    comet_free(groups);
}

/* Go's defect W18: a name that is too long, or has a NUL, takes all free slots when it is only
** looked up. */
static void test_a_bad_name_changes_nothing(void **state) {
    fixture *used = *state;
    char longest[COMET_GROUP_BYTES_MAX + 2];
    comet_group *group = NULL;
    comet_error error;

    memset(longest, 'n', sizeof longest);
    assert_int_equal(comet_group_open(used->shard, longest, 48, &group, &error), COMET_INVALID);
    assert_non_null(strstr(error.message, "1 to 47 bytes"));
    assert_int_equal(comet_group_open(used->shard, "", 0, &group, &error), COMET_INVALID);
    assert_int_equal(comet_group_open(used->shard, "a\0b", 3, &group, &error), COMET_INVALID);
    assert_non_null(strstr(error.message, "NUL"));
    assert_null(group);
    longest[47] = '\0';
    assert_int_equal(ack(used->shard, longest, 0), COMET_OK);
    assert_string_equal(look(used->shard, longest).name, longest);
}

/* 512 fit, the next is an error, those that are there work on, and forgetting one makes room.
** Go's defect W19: its neighbours are not found any more when a group is removed. Go's defect
** W38: a full table keeps acknowledgements in memory and tells nobody. */
static void test_a_full_table_is_an_error_and_forgetting_makes_room(void **state) {
    fixture *used = *state;
    comet_group_info *groups;
    comet_group *group;
    comet_error error;
    size_t count;
    char name[32];

    for (int i = 0; i < 512; i++) {
        snprintf(name, sizeof name, "group %d", i);
        assert_int_equal(ack(used->shard, name, (uint64_t)(i % 100)), COMET_OK);
    }
    assert_int_equal(comet_shard_groups(used->shard, &groups, &count, NULL), COMET_OK);
    assert_int_equal(count, 512);
    comet_free(groups);
    group = group_of(used->shard, "one more");
    assert_int_equal(comet_group_ack(group, 0, NULL, &error), COMET_FULL);
    assert_non_null(strstr(error.message, "comet_forget()"));
    assert_int_equal(ack(used->shard, "group 7", 8), COMET_OK);
    comet_group_close(group);
    group = group_of(used->shard, "group 300");
    assert_int_equal(comet_group_forget(group, NULL), COMET_OK);
    comet_group_close(group);
    for (int i = 0; i < 512; i++) { /* its neighbours are found as before */
        snprintf(name, sizeof name, "group %d", i);
        assert_int_equal(look(used->shard, name).exists, i != 300);
        if (i != 300 && i != 7) {
            assert_int_equal(look(used->shard, name).position, i % 100 + 1);
        }
    }
    assert_int_equal(ack(used->shard, "one more", 0), COMET_OK);
    assert_int_equal(ack(used->shard, "and another", 0), COMET_FULL);
}

static void test_an_old_handle_starts_anew_after_forgetting(void **state) {
    fixture *used = *state;
    comet_group *old = group_of(used->shard, "g");
    comet_group *other = group_of(used->shard, "g");

    assert_int_equal(comet_group_ack(old, 50, NULL, NULL), COMET_OK);
    assert_int_equal(comet_group_forget(other, NULL), COMET_OK);
    assert_false(look(used->shard, "g").exists);
    assert_int_equal(comet_group_ack(old, 3, NULL, NULL), COMET_OK);
    assert_int_equal(look(used->shard, "g").position, 4);
    assert_int_equal(look(used->shard, "g").acknowledged, 4);
    comet_group_close(old);
    comet_group_close(other);
}

/* Duplicates, reverse order, beyond the end, ranges with a gap. */
static void test_positions_only_go_forward_and_stay_within_what_is_committed(void **state) {
    fixture *used = *state;
    comet_group *group = group_of(used->shard, "g");
    uint64_t position = 0;
    comet_error error;

    assert_int_equal(comet_group_ack(group, 9, &position, &error), COMET_OK);
    assert_int_equal(position, 10);
    assert_int_equal(comet_group_ack(group, 4, &position, &error), COMET_OK);
    assert_int_equal(position, 10);
    assert_int_equal(comet_group_ack(group, 100, &position, &error), COMET_INVALID);
    assert_non_null(strstr(error.message, "offset 100"));
    assert_int_equal(comet_group_ack_range(group, 11, 20, &position, &error), COMET_INVALID);
    assert_non_null(strstr(error.message, "10 to 10"));
    assert_int_equal(comet_group_ack_range(group, 20, 12, &position, &error), COMET_INVALID);
    assert_int_equal(comet_group_ack_range(group, 5, 19, &position, &error), COMET_OK);
    assert_int_equal(position, 20);
    assert_int_equal(look(used->shard, "g").acknowledged, 20);
    assert_int_equal(look(used->shard, "g").lag, 80);
    assert_int_equal(comet_group_seek(group, 101, &position, &error), COMET_INVALID);
    assert_int_equal(comet_group_seek(group, 3, &position, &error), COMET_OK);
    assert_int_equal(look(used->shard, "g").lag, 97);
    assert_int_equal(comet_group_find(group, 1050, &position, &error), COMET_OK);
    assert_int_equal(position, 50);
    assert_int_equal(comet_group_find(group, 5000, &position, &error), COMET_OK);
    assert_int_equal(position, 100);
    comet_group_close(group);
}

static void test_positions_survive_reopening(void **state) {
    fixture *used = *state;

    assert_int_equal(ack(used->shard, "a", 10), COMET_OK);
    assert_int_equal(ack(used->shard, "b", 20), COMET_OK);
    close_log(used);
    open_log(used);
    assert_int_equal(look(used->shard, "a").position, 11);
    assert_int_equal(look(used->shard, "b").position, 21);
    assert_int_equal(look(used->shard, "c").position, 0);
}

/* W40: death between making the file and its first bytes. */
static void test_a_file_that_was_never_finished_is_finished(void **state) {
    fixture *used = *state;
    static const off_t sizes[] = {0, 4096, OFFSETS_BYTES};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        close_log(used);
        unlink(used->table);
        int fd = open(used->table, O_RDWR | O_CREAT, 0600);
        assert_int_equal(ftruncate(fd, sizes[i]), 0);
        close(fd);
        open_log(used);
        assert_false(look(used->shard, "g").exists);
        assert_int_equal(ack(used->shard, "g", 5), COMET_OK);
        assert_int_equal(look(used->shard, "g").position, 6);
    }
}

static void test_a_damaged_file_is_set_aside_not_deleted(void **state) {
    fixture *used = *state;
    char command[700];

    assert_int_equal(ack(used->shard, "g", 5), COMET_OK);
    close_log(used);
    int fd = open(used->table, O_RDWR);
    assert_int_equal(pwrite(fd, "garbage!", 8, 0), 8);
    close(fd);
    open_log(used);
    assert_false(look(used->shard, "g").exists);
    assert_int_equal(ack(used->shard, "g", 7), COMET_OK);
    /* ... also while it is open */
    fd = open(used->table, O_RDWR);
    assert_int_equal(pwrite(fd, "garbage!", 8, 0), 8);
    close(fd);
    assert_int_equal(ack(used->shard, "g", 8), COMET_OK);
    assert_int_equal(look(used->shard, "g").position, 9);
    snprintf(command, sizeof command, "test $(ls '%s'/shard-0000/*.corrupted.* | wc -l) = 2",
             used->directory);
    assert_int_equal(system(command), 0);
}

/* After a power cut the group table may know more than the data files. */
static void test_recovery_puts_positions_back_to_the_end(void **state) {
    fixture *used = *state;
    char path[400];
    uint64_t beyond = 500;
    int fd;

    assert_int_equal(ack(used->shard, "grp", 99), COMET_OK);
    close_log(used);
    fd = open(used->table, O_RDWR);
    assert_int_equal(pwrite(fd, &beyond, 8, 49728 + 48), 8);
    close(fd);
    snprintf(path, sizeof path, "%s/shard-0000/comet.state", used->directory);
    fd = open(path, O_RDWR); /* another start of the machine */
    assert_int_equal(pwrite(fd, &beyond, 8, 792), 8);
    close(fd);
    open_log(used);
    append(used->shard, 10);
    assert_int_equal(look(used->shard, "grp").position, 100);
    assert_int_equal(look(used->shard, "grp").lag, 10);
}

static void test_a_reader_sees_groups_and_writes_nothing(void **state) {
    fixture *used = *state;
    comet_log *log = NULL;
    comet_shard *shard = NULL;

    assert_int_equal(comet_log_open(used->directory, COMET_OPEN_READONLY, NULL, &log, NULL),
                     COMET_OK);
    assert_int_equal(comet_shard_open(log, 0, false, &shard, NULL), COMET_OK);
    assert_int_equal(look(shard, "g").position, 0);
    assert_int_equal(ack(shard, "g", 5), COMET_READONLY);
    assert_int_equal(access(used->table, F_OK), -1);
    assert_int_equal(ack(used->shard, "g", 5), COMET_OK);
    assert_int_equal(look(shard, "g").position, 6);
    comet_shard_close(shard);
    comet_log_close(log);
}

/* ---- Where older versions of the Go package kept positions ---- */

static void path_of(const fixture *used, const char *name, char path[400]) {
    snprintf(path, 400, "%s/shard-0000/%s", used->directory, name);
}

static size_t put_bytes(const char *path, const void *bytes, size_t size) {
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
    return size;
}

/* { u8 length, name, i64 offset }, as offsets.bin and index.bin have it. */
static size_t put_group(unsigned char *at, const char *name, int64_t offset) {
    size_t length = strlen(name);

    at[0] = (unsigned char)length;
    memcpy(at + 1, name, length);
    memcpy(at + 1 + length, &offset, sizeof offset);
    return 9 + length;
}

static void write_offsets_bin(const fixture *used, bool torn) {
    unsigned char bytes[256] = {1, 4};
    size_t size = 5;
    char path[400];

    size += put_group(bytes + size, "old", 10);
    size += put_group(bytes + size, "both", 20);
    size += put_group(bytes + size, "beyond", 500);
    size += put_group(bytes + size, "torn", 30);
    path_of(used, "offsets.bin", path);
    put_bytes(path, bytes, torn ? size - 3 : size);
}

/* W41: a position that offsets.state has is newer than offsets.bin's, and is not overwritten by it. */
static void test_positions_of_offsets_bin_are_taken_over_once(void **state) {
    fixture *used = *state;
    comet_group *group;
    char path[400];

    path_of(used, "offsets.bin", path);
    assert_int_equal(ack(used->shard, "both", 4), COMET_OK);
    close_log(used);
    write_offsets_bin(used, false);
    open_log(used);
    assert_int_equal(look(used->shard, "both").position, 5);
    assert_int_equal(look(used->shard, "old").position, 10);
    assert_int_equal(look(used->shard, "torn").position, 30);
    assert_int_equal(look(used->shard, "beyond").position, 100);
    assert_int_equal(access(path, F_OK), -1);
    append(used->shard, 1);
    assert_int_equal(look(used->shard, "beyond").lag, 1); /* it is at the end, not past it */
    group = group_of(used->shard, "old");
    assert_int_equal(comet_group_forget(group, NULL), COMET_OK);
    comet_group_close(group);
    close_log(used);
    open_log(used);
    assert_false(look(used->shard, "old").exists);
}

/* A file that cannot be read whole gives what it has, and stays for whoever wants to look. */
static void test_a_torn_offsets_bin_is_kept(void **state) {
    fixture *used = *state;
    char command[700];

    close_log(used);
    unlink(used->table);
    write_offsets_bin(used, true);
    open_log(used);
    assert_int_equal(ack(used->shard, "new", 5), COMET_OK); /* by acknowledging as well */
    assert_int_equal(look(used->shard, "old").position, 10);
    assert_false(look(used->shard, "torn").exists);
    snprintf(command, sizeof command, "ls '%s'/shard-0000/offsets.bin.corrupted.* > /dev/null",
             used->directory);
    assert_int_equal(system(command), 0);
}

static int failing_sync(int fd) {
    (void)fd;
    return -EIO;
}

/* Until the table is on the disk, what it was taken from stays. */
static void test_offsets_bin_stays_until_all_is_durable(void **state) {
    fixture *used = *state;
    platform_calls table = platform_system;
    comet_group *group;
    comet_group_info info;
    char path[400];

    close_log(used);
    write_offsets_bin(used, false);
    open_log(used);
    table.sync_file = failing_sync;
    platform_use(&table);
    group = group_of(used->shard, "old");
    assert_int_equal(comet_group_describe(group, &info, NULL), COMET_IO);
    platform_use(NULL);
    path_of(used, "offsets.bin", path);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(comet_group_describe(group, &info, NULL), COMET_OK);
    assert_int_equal(info.position, 10);
    assert_int_equal(access(path, F_OK), -1);
    comet_group_close(group);
}

/* Where nobody may write, nothing is taken over and nothing is touched. */
static void test_a_reader_leaves_offsets_bin_alone(void **state) {
    fixture *used = *state;
    comet_log *log = NULL;
    comet_shard *shard = NULL;
    char path[400];

    close_log(used);
    write_offsets_bin(used, false);
    assert_int_equal(comet_log_open(used->directory, COMET_OPEN_READONLY, NULL, &log, NULL),
                     COMET_OK);
    assert_int_equal(comet_shard_open(log, 0, false, &shard, NULL), COMET_OK);
    assert_false(look(shard, "old").exists);
    path_of(used, "offsets.bin", path);
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(access(used->table, F_OK), -1);
    comet_shard_close(shard);
    comet_log_close(log);
    open_log(used);
    assert_int_equal(look(used->shard, "old").position, 10);
}

/* Put consumers into index.bin as the Go package would, without our trailer. */
static void write_index_consumers(const fixture *used) {
    unsigned char front[4096];
    unsigned char all[5000];
    char path[400];
    size_t size;
    size_t at = 36;
    FILE *file;

    path_of(used, "index.bin", path);
    file = fopen(path, "rb");
    assert_non_null(file);
    size = fread(front, 1, sizeof front, file);
    fclose(file);
    memcpy(all, front, 36);
    all[24] = 2;
    at += put_group(all + at, "old", 10);
    at += put_group(all + at, "both", 20);
    for (size_t i = 36; i < size && memcmp(front + i, "COMETMAN", 8) != 0; i++) {
        all[at++] = front[i];
    }
    put_bytes(path, all, at);
}

static void test_consumers_of_index_bin_are_a_fallback(void **state) {
    fixture *used = *state;
    comet_group *group;

    assert_int_equal(ack(used->shard, "both", 4), COMET_OK);
    close_log(used);
    write_index_consumers(used);
    open_log(used);
    assert_int_equal(look(used->shard, "old").position, 10);
    assert_int_equal(look(used->shard, "both").position, 5);
    group = group_of(used->shard, "old");
    assert_int_equal(comet_group_forget(group, NULL), COMET_OK);
    comet_group_close(group);
    close_log(used);
    write_index_consumers(used); /* as if index.bin had not been written since */
    open_log(used);
    assert_false(look(used->shard, "old").exists);
}

/* ---- Many at once ---- */

#define WORKERS 4
#define GROUPS 40

/* Each acknowledges in an order of its own; a position that it sees must never fall. */
static void acknowledge_all(comet_shard *shard, unsigned seed) {
    uint64_t seen[GROUPS] = {0};

    for (int i = 0; i < 4000; i++) {
        uint64_t position = 0;
        char name[16];
        int k = (int)(rand_r(&seed) % GROUPS);
        comet_group *group;
        uint64_t offset = rand_r(&seed) % 100;

        snprintf(name, sizeof name, "g%d", k);
        if (comet_group_open(shard, name, strlen(name), &group, NULL) != COMET_OK ||
            comet_group_ack(group, offset, &position, NULL) != COMET_OK || position < seen[k] ||
            position < offset + 1 || position > 100) {
            _exit(1);
        }
        seen[k] = position;
        comet_group_close(group);
    }
}

static void check_all(fixture *used) {
    comet_group_info *groups;
    size_t count;

    assert_int_equal(comet_shard_groups(used->shard, &groups, &count, NULL), COMET_OK);
    assert_int_equal(count, GROUPS); /* each claimed once */
    for (size_t i = 0; i < count; i++) {
        assert_in_range(groups[i].position, 1, 100);
        assert_int_equal(groups[i].acknowledged, groups[i].position);
    }
    comet_free(groups);
}

/* Go's defect W38: two that claim a slot at once mix up their names. Go's defect W39: a position
** goes back, or past what others have not done. */
static void test_four_processes_never_move_a_position_back(void **state) {
    fixture *used = *state;
    pid_t children[WORKERS];

    close_log(used); /* a process that forks should have no threads */
    for (unsigned i = 0; i < WORKERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            open_log(used);
            acknowledge_all(used->shard, i + 1);
            close_log(used);
            _exit(0);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    open_log(used);
    check_all(used);
}

static void *acknowledging_thread(void *context) {
    static atomic_uint seed = 77;

    acknowledge_all(((fixture *)context)->shard, atomic_fetch_add(&seed, 1));
    return NULL;
}

static void test_four_threads_never_move_a_position_back(void **state) {
    fixture *used = *state;
    pthread_t threads[WORKERS];

    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, acknowledging_thread, used), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    check_all(used);
}

/* Killed at any moment of claiming, forgetting, acknowledging: the table stays usable, and groups
** that nobody touches stay where they are. */
static void test_death_at_any_moment_leaves_a_sound_table(void **state) {
    fixture *used = *state;

    assert_int_equal(ack(used->shard, "bystander", 41), COMET_OK);
    for (unsigned round = 0; round < 20; round++) {
        close_log(used);
        pid_t child = fork();
        if (child == 0) {
            open_log(used);
            for (unsigned i = round;; i++) {
                char name[16];
                snprintf(name, sizeof name, "%u", i * 7 % 700);
                comet_group *group = group_of(used->shard, name);
                comet_group_ack(group, i % 100, NULL, NULL);
                if (i % 2 == 0) {
                    comet_group_forget(group, NULL);
                }
                comet_group_close(group);
            }
        }
        struct timespec nap = {0, 1000000 + (long)round * 700000};
        nanosleep(&nap, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        open_log(used);
        assert_int_equal(look(used->shard, "bystander").position, 42);
    }
    comet_group_info *groups;
    size_t count;
    assert_int_equal(comet_shard_groups(used->shard, &groups, &count, NULL), COMET_OK);
    for (size_t i = 0; i < count; i++) {
        comet_group *group = group_of(used->shard, groups[i].name);
        assert_int_equal(look(used->shard, groups[i].name).position, groups[i].position);
        if (strcmp(groups[i].name, "bystander") != 0) {
            assert_int_equal(comet_group_forget(group, NULL), COMET_OK);
        }
        comet_group_close(group);
    }
    comet_free(groups);
    assert_int_equal(ack(used->shard, "after", 1), COMET_OK);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_the_file_is_the_go_packages),
        TEST(test_looking_leaves_no_trace),
        TEST(test_a_bad_name_changes_nothing),
        TEST(test_a_full_table_is_an_error_and_forgetting_makes_room),
        TEST(test_an_old_handle_starts_anew_after_forgetting),
        TEST(test_positions_only_go_forward_and_stay_within_what_is_committed),
        TEST(test_positions_survive_reopening),
        TEST(test_a_file_that_was_never_finished_is_finished),
        TEST(test_a_damaged_file_is_set_aside_not_deleted),
        TEST(test_recovery_puts_positions_back_to_the_end),
        TEST(test_a_reader_sees_groups_and_writes_nothing),
        TEST(test_positions_of_offsets_bin_are_taken_over_once),
        TEST(test_a_torn_offsets_bin_is_kept),
        TEST(test_offsets_bin_stays_until_all_is_durable),
        TEST(test_a_reader_leaves_offsets_bin_alone),
        TEST(test_consumers_of_index_bin_are_a_fallback),
        TEST(test_four_processes_never_move_a_position_back),
        TEST(test_four_threads_never_move_a_position_back),
        TEST(test_death_at_any_moment_leaves_a_sound_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
