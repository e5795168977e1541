/* test_peer.c -- without it the defects that are known of the Go package comet could come in here.
**
** They are numbered W1 to W60.  Those that could arise in this design have a test; its comment begins with
** the number.  Here are those that have no home elsewhere; `grep -rn 'W[0-9]' tests` finds them all.
** A defect behind a number is what must not happen.  Some cannot arise, or are the format's:
**
**   W25  appending after closing: in C a handle that is closed is gone, as the header says; SQLite closes no
**        connection in use, and what is not committed by then is rolled back (tests/sql/test_transactions.c)
**   W29  in part: comet.state and offsets.state have no checksum, as many processes change them at once; what
**        is in them is judged field by field.  All else has one
**   W57  in part: with several processes a key goes to a shard of its process, as in the package
*/
#include "support.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform.h"

#define SETTINGS "max_file_size=4KiB boundary_interval=10 min_compress_size=1MiB upkeep=manual"

static char directory[PATH_ROOM];
static char shard_directory[PATH_ROOM];

static int setup(void **state) {
    (void)state;
    directory_make(directory);
    file_path(shard_directory, directory, "shard-0000");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    directory_remove(directory);
    return 0;
}

/* ---- A log and its model ---- */

typedef struct opened {
    comet_log *log;
    comet_shard *shard;
} opened;

static opened open_with(unsigned flags, const char *settings) {
    opened made;

    made.log = log_make(directory, flags, settings);
    OK(comet_shard_open(made.log, 0, flags == COMET_OPEN_CREATE, &made.shard, &error));
    return made;
}

static opened open_to_write(void) {
    return open_with(COMET_OPEN_CREATE, SETTINGS);
}

static void close_both(opened *used) {
    comet_shard_close(used->shard);
    comet_log_close(used->log);
}

static comet_txn *append(comet_shard *shard, model *m, unsigned count) {
    comet_txn *txn;

    OK(comet_txn_begin(shard, &txn, &error));
    for (unsigned i = 0; i < count; i++) {
        append_both(txn, m, (int64_t)m->count + 1, m->count * 7 % 100 + 1, m->count);
    }
    return txn;
}

static void commit(comet_shard *shard, model *m, unsigned count) {
    comet_txn *txn = append(shard, m, count);

    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
}

static comet_shard_info describe(comet_shard *shard) {
    comet_shard_info info;

    OK(comet_shard_describe(shard, &info, &error));
    return info;
}

static comet_group_info look(comet_shard *shard, const char *name) {
    comet_group_info info;
    comet_group *group;

    OK(comet_group_open(shard, name, strlen(name), &group, &error));
    OK(comet_group_describe(group, &info, &error));
    comet_group_close(group);
    return info;
}

static comet_status acknowledge(comet_shard *shard, const char *name, uint64_t offset) {
    comet_group *group;
    comet_status status;

    OK(comet_group_open(shard, name, strlen(name), &group, &error));
    status = comet_group_ack(group, offset, NULL, &error);
    comet_group_close(group);
    return status;
}

/* The entries from the oldest on that is kept are the model's, up to its end. */
static uint64_t check_rest(comet_shard *shard, const model *m) {
    comet_shard_info info = describe(shard);
    comet_cursor *cursor;
    comet_range range;
    comet_status status;
    uint64_t at = info.first_offset;

    comet_range_init(&range);
    OK(comet_cursor_open(shard, &cursor, &error));
    for (status = comet_cursor_seek(cursor, NULL, &range, &error); status == COMET_OK;
         status = comet_cursor_next(cursor, &error)) {
        const void *data;
        size_t size;
        assert_int_equal(comet_cursor_offset(cursor), at);
        OK(comet_cursor_data(cursor, &data, &size, &error));
        assert_true(content_is(data, size, &m->entries[at++]));
    }
    STATUS(status, COMET_DONE);
    assert_int_equal(at, m->count);
    assert_int_equal(info.end_offset, m->count);
    comet_cursor_close(cursor);
    return info.first_offset;
}

static void shard_file(char path[PATH_ROOM], const char *name) {
    file_path(path, shard_directory, name);
}

static void lose(const char *name) {
    char path[PATH_ROOM];

    shard_file(path, name);
    assert_int_equal(unlink(path), 0);
}

static void lose_all(const char *suffix) {
    char path[PATH_ROOM];

    while (file_find(path, shard_directory, suffix, 0)) {
        assert_int_equal(unlink(path), 0);
    }
}

static void copy(const char *from, const char *to) {
    char path[PATH_ROOM];
    unsigned char *bytes;
    size_t size;
    FILE *in;

    shard_file(path, from);
    size = (size_t)path_size(path);
    bytes = malloc(size + 1);
    in = fopen(path, "rb");
    assert_true(bytes != NULL && in != NULL);
    assert_int_equal(fread(bytes, 1, size, in), size);
    (void)fclose(in);
    shard_file(path, to);
    (void)unlink(path);
    file_write(path, 0, bytes, size);
    free(bytes);
}

/* ---- Files that are lost, old, or torn ---- */

/* W2: index.bin is from before several rotations.  No number is given twice, no entry is hidden. */
static void an_old_index_hides_nothing(void **state) {
    opened used = open_to_write();
    model m = {0};
    (void)state;

    commit(used.shard, &m, 20);
    close_both(&used);
    copy("index.bin", "saved");
    used = open_to_write();
    for (unsigned i = 0; i < 20; i++) {
        commit(used.shard, &m, 30);
    }
    close_both(&used);
    copy("saved", "index.bin");
    simulate_reboot(directory, 0);
    used = open_to_write();
    check_all(used.shard, NULL, &m);
    commit(used.shard, &m, 5);
    check_all(used.shard, NULL, &m);
    close_both(&used);
    model_free(&m);
}

/* W3: comet.state is lost.  No data file that is there is opened anew and appended to. */
static void a_lost_state_reuses_no_file(void **state) {
    opened used = open_to_write();
    char first[PATH_ROOM];
    uint64_t size;
    unsigned files;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 300);
    close_both(&used);
    shard_file(first, "log-0000000000000001.comet");
    size = path_size(first);
    files = file_count(shard_directory, ".comet");
    assert_true(files > 3);
    lose("comet.state");
    used = open_to_write();
    commit(used.shard, &m, 300);
    check_all(used.shard, NULL, &m);
    close_both(&used);
    assert_int_equal(path_size(first), size);
    assert_true(file_count(shard_directory, ".comet") >= 2 * files - 1);
    model_free(&m);
}

static void shrink(opened *used, const char *size) {
    comet_retention_item *items;
    size_t count;

    OK(comet_log_configure(used->log, "max_shard_size", size, &error));
    OK(comet_log_configure(used->log, "file_grace_period", "0", &error));
    OK(comet_log_retain(used->log, &items, &count, &error));
    OK(comet_log_configure(used->log, "max_shard_size", "0", &error));
    comet_free(items);
}

/* W4: index.bin is lost when retention has deleted files.  The numbers stay, and groups with them. */
static void a_lost_index_renumbers_nothing(void **state) {
    opened used = open_to_write();
    uint64_t first;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 1000);
    shrink(&used, "64KiB");
    OK(acknowledge(used.shard, "g", m.count - 6));
    first = check_rest(used.shard, &m);
    assert_true(first > 0);
    close_both(&used);
    lose("index.bin");
    simulate_reboot(directory, 0);
    used = open_to_write();
    assert_int_equal(check_rest(used.shard, &m), first);
    assert_int_equal(look(used.shard, "g").lag, 5);
    commit(used.shard, &m, 5);
    (void)check_rest(used.shard, &m);
    close_both(&used);
    model_free(&m);
}

/* W7: bytes of an entry that was never finished stand at the end.  They are cut off, not counted, and
** not appended behind; in our log and in one of Go's. */
static void a_torn_tail_is_cut(void **state) {
    static const unsigned char torn[] = {50, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'h', 'a', 'l', 'f'};
    model m = {0};
    (void)state;

    for (unsigned round = 0; round < 6; round++) {
        opened used = open_to_write();
        char path[PATH_ROOM];
        uint64_t size;
        commit(used.shard, &m, 7);
        close_both(&used);
        assert_true(file_find(path, shard_directory, ".comet", 0));
        size = path_size(path);
        file_write(path, size, torn, round % 2 == 0 ? sizeof torn : 5);
        if (round / 2 == 0) {
            simulate_reboot(directory, 0);
        } else {
            lose_all(".idx"); /* nothing of ours */
            lose("comet.state");
            if (round / 2 == 2) {
                lose("index.bin");
            }
        }
        used = open_to_write();
        check_all(used.shard, NULL, &m);
        commit(used.shard, &m, 7);
        check_all(used.shard, NULL, &m);
        close_both(&used);
    }
    model_free(&m);
}

/* W17: an entry whose payload has length 0, as Go writes it, ends no scan: what stands behind it is
** there, and its number is not given twice. */
static void an_empty_payload_ends_nothing(void **state) {
    unsigned char bytes[256] = {0};
    char path[PATH_ROOM];
    model m = {0};
    size_t size = 0;
    opened used;
    (void)state;

    assert_int_equal(mkdir(shard_directory, 0700), 0);
    for (unsigned i = 0; i < 5; i++) {
        size_t length = i % 2 == 0 ? 0 : 10;
        model_add(&m, (int64_t)i + 1, length, i);
        bytes[size] = (unsigned char)length;
        bytes[size + 4] = (unsigned char)(i + 1);
        content_fill(bytes + size + 12, length, i);
        size += 12 + length;
    }
    shard_file(path, "log-0000000000000001.comet");
    file_write(path, 0, bytes, size);
    used = open_to_write();
    check_all(used.shard, NULL, &m);
    commit(used.shard, &m, 3);
    check_all(used.shard, NULL, &m);
    close_both(&used);
    model_free(&m);
}

/* W26: the directory is moved, and a data file is missing.  What is there is read by its name, wherever
** index.bin says it was; of what is missing the numbers stay. */
static void moved_and_missing_files_keep_the_rest(void **state) {
    char moved[PATH_ROOM + 8];
    char last[PATH_ROOM];
    opened used = open_to_write();
    comet_cursor *cursor;
    comet_range range;
    const void *data;
    size_t size;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 300);
    close_both(&used);
    (void)snprintf(moved, sizeof moved, "%s.moved", directory);
    assert_int_equal(rename(directory, moved), 0);
    assert_true(snprintf(directory, PATH_ROOM, "%s", moved) < PATH_ROOM);
    file_path(shard_directory, directory, "shard-0000");
    used = open_to_write();
    check_all(used.shard, NULL, &m);
    commit(used.shard, &m, 300);
    check_all(used.shard, NULL, &m);
    close_both(&used);
    assert_true(file_find(last, shard_directory, ".comet", 0));
    assert_int_equal(unlink(last), 0);
    simulate_reboot(directory, 0);
    used = open_to_write();
    assert_int_equal(describe(used.shard).end_offset, m.count);
    assert_int_equal(describe(used.shard).first_offset, 0);
    OK(comet_cursor_open(used.shard, &cursor, &error));
    comet_range_init(&range);
    OK(comet_cursor_seek(cursor, NULL, &range, &error));
    for (unsigned i = 0; i < 500; i++) {
        OK(comet_cursor_data(cursor, &data, &size, &error));
        assert_true(content_is(data, size, &m.entries[i]));
        OK(comet_cursor_next(cursor, &error));
    }
    commit(used.shard, &m, 3); /* behind the gap */
    range.offset_first = m.count - 3;
    OK(comet_cursor_seek(cursor, NULL, &range, &error));
    OK(comet_cursor_data(cursor, &data, &size, &error));
    assert_true(content_is(data, size, &m.entries[m.count - 3]));
    comet_cursor_close(cursor);
    close_both(&used);
    model_free(&m);
}

/* W3, W26: the last file is missing and comet.state as well.  The next file's number is above all that
** index.bin names, or the list would be out of order, and refused at the next opening. */
static void a_missing_last_file_keeps_the_order(void **state) {
    opened used = open_to_write();
    char path[PATH_ROOM];
    char first[PATH_ROOM];
    model m = {0};
    (void)state;

    commit(used.shard, &m, 300);
    close_both(&used);
    lose("comet.state");
    shard_file(first, "log-0000000000000001.comet");
    while (file_find(path, shard_directory, ".comet", 0) && strcmp(path, first) != 0) {
        assert_int_equal(unlink(path), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        used = open_to_write();
        assert_int_equal(describe(used.shard).first_offset, 0);
        assert_int_equal(describe(used.shard).end_offset, m.count);
        commit(used.shard, &m, 60);
        close_both(&used);
        simulate_reboot(directory, 0);
    }
    model_free(&m);
}

/* W27: the last file was cut by somebody while nobody had it open.  The numbers of what is lost are not
** given again, and no group stands past the end. */
static void a_cut_file_gives_no_number_twice(void **state) {
    opened used = open_to_write();
    char path[PATH_ROOM];
    comet_cursor *cursor;
    comet_range range;
    const void *data;
    size_t size;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 60);
    OK(acknowledge(used.shard, "g", 59));
    close_both(&used);
    assert_true(file_find(path, shard_directory, ".comet", 0));
    assert_int_equal(truncate(path, (off_t)path_size(path) - 10), 0);
    simulate_reboot(directory, 0);
    used = open_to_write();
    assert_int_equal(look(used.shard, "g").position, 60);
    commit(used.shard, &m, 3);
    assert_int_equal(look(used.shard, "g").lag, 3);
    OK(comet_cursor_open(used.shard, &cursor, &error));
    comet_range_init(&range);
    range.offset_first = 60;
    OK(comet_cursor_seek(cursor, NULL, &range, &error));
    for (unsigned i = 60; i < 63; i++) {
        OK(comet_cursor_data(cursor, &data, &size, &error));
        assert_true(content_is(data, size, &m.entries[i]));
        STATUS(comet_cursor_next(cursor, &error), i < 62 ? COMET_OK : COMET_DONE);
    }
    comet_cursor_close(cursor);
    close_both(&used);
    model_free(&m);
}

/* W45, W46: a comet.state that is damaged, too short or just being made.  It is put right in place: who
** has it mapped goes on with the same file.  The damaged bytes are kept; of none, nothing is. */
static void a_bad_state_is_mended_in_place(void **state) {
    static const off_t sizes[] = {1024, 0, 100};
    char path[PATH_ROOM];
    char aside[PATH_ROOM];
    struct stat before;
    struct stat after;
    model m = {0};
    (void)state;

    shard_file(path, "comet.state");
    shard_file(aside, "comet.state.corrupted.*");
    for (unsigned i = 0; i < 3; i++) {
        opened used = open_to_write();
        commit(used.shard, &m, 5);
        close_both(&used);
        assert_int_equal(stat(path, &before), 0);
        file_write(path, 0, "\377\377\377\377\377\377\377\377", 8); /* no version that there is */
        assert_int_equal(truncate(path, sizes[i]), 0);
        used = open_to_write();
        assert_int_equal(stat(path, &after), 0);
        assert_int_equal(after.st_ino, before.st_ino);
        assert_int_equal(after.st_size, 1024);
        check_all(used.shard, NULL, &m);
        close_both(&used);
        glob_t found;
        (void)glob(aside, 0, NULL, &found);
        assert_int_equal(found.gl_pathc, i == 2 ? 2 : 1);
        globfree(&found);
    }
    model_free(&m);
}

/* W54, W55: an unlink that failed, or a death just before it, leaves a file that index.bin does not name,
** and others die amid writing one.  Such files go; they neither come back nor pile up. */
static void leftovers_go(void **state) {
    opened used = open_to_write();
    char path[PATH_ROOM];
    uint64_t first;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 1000);
    copy("log-0000000000000001.comet", "saved");
    copy("log-0000000000000001.idx", "saved.index");
    shrink(&used, "64KiB");
    first = check_rest(used.shard, &m);
    assert_true(first > 0);
    close_both(&used);
    copy("saved", "log-0000000000000001.comet");
    copy("saved.index", "log-0000000000000001.idx");
    shard_file(path, "index.bin.tmp.4711.1");
    file_fill(path, 1, 100);
    simulate_reboot(directory, 0);
    used = open_to_write();
    assert_int_equal(check_rest(used.shard, &m), first);
    assert_false(file_exists(path));
    shard_file(path, "log-0000000000000001.comet");
    assert_false(file_exists(path));
    close_both(&used);
    model_free(&m);
}

/* W60: comet.state tells of entries that were given a number and never reached a file.  Who opens the log
** for reading only is not told of them, nor is a writer. */
static void numbers_without_entries_are_not_told(void **state) {
    opened used = open_to_write();
    char path[PATH_ROOM];
    uint64_t allocated = 25;
    uint64_t nothing = 0;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 20);
    close_both(&used);
    shard_file(path, "comet.state");
    file_write(path, 16, &allocated, sizeof allocated); /* LastEntryNumber */
    file_write(path, 768, &nothing, sizeof nothing);    /* as Go leaves our part of it */
    used = open_with(COMET_OPEN_READONLY, NULL);
    check_all(used.shard, NULL, &m);
    close_both(&used);
    used = open_to_write();
    check_all(used.shard, NULL, &m);
    close_both(&used);
    model_free(&m);
}

/* ---- One who writes and others who look ---- */

/* W5: asking how much there is, with more than 1000 entries under way, changes nothing. */
static void counting_amid_a_transaction_changes_nothing(void **state) {
    opened used = open_to_write();
    comet_txn *txn;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 1000);
    shrink(&used, "64KiB");
    uint64_t first = describe(used.shard).first_offset;
    assert_true(first > 0);
    txn = append(used.shard, &m, 1500);
    assert_int_equal(describe(used.shard).first_offset, first);
    assert_int_equal(describe(used.shard).end_offset, 1000);
    OK(comet_txn_prepare(txn, &error));
    assert_int_equal(describe(used.shard).end_offset, 1000);
    comet_txn_publish(txn);
    assert_true(check_rest(used.shard, &m) >= first);
    close_both(&used);
    model_free(&m);
}

/* W9: who has only read the shard so far, and then appends, goes on where it ends. */
static void a_reader_that_begins_to_write_goes_on(void **state) {
    opened used = open_to_write();
    model m = {0};
    (void)state;

    commit(used.shard, &m, 10);
    close_both(&used);
    for (unsigned i = 0; i < 2; i++) {
        used = open_with(0, SETTINGS);
        assert_int_equal(look(used.shard, "g").lag, 10 - 3 * i);
        check_all(used.shard, NULL, &m);
        OK(acknowledge(used.shard, "g", m.count - 8 + i));
        commit(used.shard, &m, i == 0 ? 0 : 1);
        check_all(used.shard, NULL, &m);
        close_both(&used);
    }
    model_free(&m);
}

/* W33, W35: a checkpoint amid a transaction publishes nothing of it, and does not call it durable; nor do
** its entries appear when it has failed. */
static void a_checkpoint_publishes_nothing(void **state) {
    opened used = open_to_write();
    comet_txn *txn;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 10);
    for (unsigned prepared = 0; prepared < 2; prepared++) {
        txn = append(used.shard, &m, 200);
        if (prepared == 1) {
            OK(comet_txn_prepare(txn, &error));
        }
        OK(comet_shard_sync(used.shard, &error));
        assert_int_equal(describe(used.shard).end_offset, 10);
        assert_int_equal(describe(used.shard).durable_offset, 10);
        comet_txn_rollback(txn);
        m.count = 10;
        OK(comet_shard_sync(used.shard, &error));
        check_all(used.shard, NULL, &m);
    }
    close_both(&used);
    simulate_reboot(directory, 0);
    used = open_to_write();
    check_all(used.shard, NULL, &m);
    close_both(&used);
    model_free(&m);
}

/* W36: readers of the writer's own process, which look at the list of files anew while a transaction has
** made some, take none of them from it. */
static void readers_do_not_take_the_writers_list(void **state) {
    opened used = open_to_write();
    model m = {0};
    (void)state;

    for (unsigned i = 0; i < 5; i++) {
        comet_txn *txn = append(used.shard, &m, 200);
        opened other = open_with(0, NULL);
        model seen = m;
        seen.count = 200 * i;
        assert_int_equal(count_matching(other.shard, &seen), seen.count);
        assert_int_equal(look(other.shard, "g").end_offset, seen.count);
        OK(comet_shard_sync(other.shard, &error));
        OK(comet_txn_prepare(txn, &error));
        assert_int_equal(count_matching(other.shard, &seen), seen.count);
        comet_txn_publish(txn);
        check_all(other.shard, NULL, &m);
        close_both(&other);
    }
    close_both(&used);
    used = open_to_write();
    check_all(used.shard, NULL, &m);
    close_both(&used);
    model_free(&m);
}

/* W8: `checkpoint_entries` makes durable when so many are committed, without waiting for the time. */
static void so_many_entries_are_a_checkpoint(void **state) {
    opened used = open_with(COMET_OPEN_CREATE, "checkpoint_interval=1h checkpoint_entries=10");
    model m = {0};
    (void)state;

    for (unsigned i = 0; i < 100; i++) {
        commit(used.shard, &m, 1);
    }
    for (unsigned wait = 0; wait < 1000 && describe(used.shard).durable_offset < 90; wait++) {
        const struct timespec moment = {0, 5000000};
        (void)nanosleep(&moment, NULL);
    }
    assert_in_range(describe(used.shard).durable_offset, 90, 100);
    close_both(&used);
    model_free(&m);
}

/* W12: retention in a process that does not own the shard deletes nothing of it. */
static void retention_is_the_owners(void **state) {
    opened used = open_to_write();
    unsigned files;
    model m = {0};
    (void)state;

    commit(used.shard, &m, 1000);
    close_both(&used);
    files = file_count(shard_directory, ".comet");
    used = open_with(0, SETTINGS " process_count=2 process_id=1");
    shrink(&used, "64KiB");
    assert_int_equal(file_count(shard_directory, ".comet"), files);
    assert_int_equal(check_rest(used.shard, &m), 0);
    close_both(&used);
    used = open_to_write();
    shrink(&used, "64KiB");
    assert_true(file_count(shard_directory, ".comet") < files);
    close_both(&used);
    model_free(&m);
}

#define CURSORS 12
#define LARGE 100000

/* W49, W50: with less room for mappings than cursors want, none is taken away while somebody reads in it,
** and none is used that has gone. */
static void mappings_in_use_stay(void **state) {
    opened used = open_with(COMET_OPEN_CREATE, "max_file_size=1MiB max_mapped_bytes=2MiB"
                                               " boundary_interval=4 upkeep=manual sync=off"
                                               " min_compress_size=1GiB");
    uint64_t random = random_seed("mappings");
    comet_cursor *cursors[CURSORS];
    comet_range range;
    comet_txn *txn;
    model m = {0};
    (void)state;

    OK(comet_txn_begin(used.shard, &txn, &error));
    for (unsigned i = 0; i < 400; i++) {
        append_both(txn, &m, i, LARGE, i);
    }
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
    comet_range_init(&range);
    for (unsigned i = 0; i < CURSORS; i++) {
        OK(comet_cursor_open(used.shard, &cursors[i], &error));
        range.offset_first = 390 * i / CURSORS;
        OK(comet_cursor_seek(cursors[i], NULL, &range, &error));
    }
    for (unsigned i = 0; i < 600; i++) {
        comet_cursor *cursor = cursors[random_below(&random, CURSORS)];
        const void *data;
        size_t size;
        OK(comet_cursor_data(cursor, &data, &size, &error));
        assert_true(content_is(data, size, &m.entries[comet_cursor_offset(cursor)]));
        range.offset_first = random_below(&random, 390);
        if (random_below(&random, 4) == 0) {
            OK(comet_cursor_seek(cursor, NULL, &range, &error));
        } else if (comet_cursor_next(cursor, &error) != COMET_OK) {
            OK(comet_cursor_seek(cursor, NULL, &range, &error));
        }
    }
    for (unsigned i = 0; i < CURSORS; i++) {
        comet_cursor_close(cursors[i]);
    }
    close_both(&used);
    model_free(&m);
}

/* ---- Groups ---- */

static bool disk_is_full;
static int groups_fd = -1;
static unsigned groups_synced;

static int full_allocate(int fd, uint64_t position, uint64_t length) {
    return disk_is_full ? -ENOSPC : platform_system.allocate(fd, position, length);
}

static int noting_open(const char *path, unsigned mode) {
    int fd = platform_system.open_file(path, mode);

    groups_fd = strstr(path, "offsets.state") != NULL ? fd : groups_fd;
    return fd;
}

static int noting_sync(int fd) {
    groups_synced += fd == groups_fd ? 1 : 0;
    return platform_system.sync_file(fd);
}

/* W21: the first acknowledgement of a shard, with the disk full, is an error and not a signal; so is
** opening one whose comet.state has no blocks yet.  When there is room, all goes on. */
static void a_full_disk_is_an_error_not_a_signal(void **state) {
    platform_calls table = platform_system;
    comet_shard *other;
    opened used;
    model m = {0};
    (void)state;

    table.allocate = full_allocate;
    platform_use(&table);
    used = open_to_write();
    commit(used.shard, &m, 5);
    disk_is_full = true;
    STATUS(acknowledge(used.shard, "g", 2), COMET_FULL);
    STATUS(comet_shard_open(used.log, 1, true, &other, &error), COMET_FULL);
    assert_int_equal(look(used.shard, "g").lag, 5);
    disk_is_full = false;
    OK(acknowledge(used.shard, "g", 2));
    assert_int_equal(look(used.shard, "g").position, 3);
    OK(comet_shard_open(used.log, 1, true, &other, &error));
    comet_shard_close(other);
    close_both(&used);
    platform_use(NULL);
    model_free(&m);
}

/* W42: what was acknowledged is brought onto the disk by a checkpoint, not only when the log is closed. */
static void acknowledgements_become_durable(void **state) {
    platform_calls table = platform_system;
    opened used;
    model m = {0};
    (void)state;

    table.open_file = noting_open;
    table.sync_file = noting_sync;
    platform_use(&table);
    used = open_to_write();
    commit(used.shard, &m, 5);
    OK(acknowledge(used.shard, "g", 2));
    groups_synced = 0;
    OK(comet_shard_sync(used.shard, &error));
    assert_int_equal(groups_synced, 1);
    OK(comet_shard_sync(used.shard, &error)); /* nothing new */
    assert_int_equal(groups_synced, 1);
    close_both(&used);
    platform_use(NULL);
    model_free(&m);
}

/* W43: another process sets the group back.  Who has acknowledged more goes on from there as well. */
static void a_position_set_back_is_seen(void **state) {
    opened used = open_to_write();
    comet_group *group;
    comet_group_info info;
    model m = {0};
    pid_t child;
    int status;
    (void)state;

    commit(used.shard, &m, 10);
    OK(comet_group_open(used.shard, "g", 1, &group, &error));
    OK(comet_group_ack(group, 8, NULL, &error));
    child = fork();
    if (child == 0) {
        opened own = open_with(0, NULL);
        comet_group *same;
        OK(comet_group_open(own.shard, "g", 1, &same, &error));
        OK(comet_group_seek(same, 2, NULL, &error));
        comet_group_close(same);
        close_both(&own);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    OK(comet_group_describe(group, &info, &error));
    assert_int_equal(info.position, 2);
    assert_int_equal(info.lag, 8);
    OK(comet_group_ack(group, 2, NULL, &error));
    OK(comet_group_describe(group, &info, &error));
    assert_int_equal(info.position, 3);
    comet_group_close(group);
    close_both(&used);
    model_free(&m);
}

int main(void) {
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_old_index_hides_nothing),
        TEST(a_lost_state_reuses_no_file),
        TEST(a_lost_index_renumbers_nothing),
        TEST(a_torn_tail_is_cut),
        TEST(an_empty_payload_ends_nothing),
        TEST(moved_and_missing_files_keep_the_rest),
        TEST(a_missing_last_file_keeps_the_order),
        TEST(a_cut_file_gives_no_number_twice),
        TEST(a_bad_state_is_mended_in_place),
        TEST(leftovers_go),
        TEST(numbers_without_entries_are_not_told),
        TEST(counting_amid_a_transaction_changes_nothing),
        TEST(a_reader_that_begins_to_write_goes_on),
        TEST(a_checkpoint_publishes_nothing),
        TEST(readers_do_not_take_the_writers_list),
        TEST(so_many_entries_are_a_checkpoint),
        TEST(retention_is_the_owners),
        TEST(mappings_in_use_stay),
        TEST(a_full_disk_is_an_error_not_a_signal),
        TEST(acknowledgements_become_durable),
        TEST(a_position_set_back_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
