/* test_platform.c -- without it a signal at the wrong moment, a write that is done in part, or a system
** without one of the newer calls could cost entries: all that platform.c keeps from the rest of the core. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform.h"

/* ---- The C library's functions, with what a system may do to them ----
**
** A program's own definitions stand before the C library's.  Each passes on to the kernel. */

static bool at_work;      /* of the library, not of the test */
static bool interrupting; /* every other call ends with EINTR before anything is done */
static bool shortening;   /* no more than so many bytes are read or written at once */
static int lacking;       /* the error of fallocate and madvise, on a system that has them not */
static int failing;       /* the error of everything */
static unsigned long calls, interrupted, shortened;

#define SHORT_BYTES 7u

static bool disturb(void) {
    if (!at_work) {
        return false;
    }
    if (failing != 0) {
        errno = failing;
        return true;
    }
    if (interrupting && ++calls % 2 == 1) {
        interrupted++;
        errno = EINTR;
        return true;
    }
    return false;
}

static size_t shorten(size_t size) {
    if (!at_work || !shortening || size <= SHORT_BYTES) {
        return size;
    }
    shortened++;
    return SHORT_BYTES;
}

int open(const char *path, int flags, ...) {
    va_list arguments;
    unsigned mode;

    va_start(arguments, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(arguments, unsigned) : 0;
    va_end(arguments);
    return disturb() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t pread(int fd, void *to, size_t size, off_t at) {
    return disturb() ? -1 : syscall(SYS_pread64, fd, to, shorten(size), at);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at) {
    return disturb() ? -1 : syscall(SYS_pwrite64, fd, from, shorten(size), at);
}

int ftruncate(int fd, off_t size) {
    return disturb() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int fdatasync(int fd) {
    return disturb() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
    return disturb() ? -1 : (int)syscall(SYS_fsync, fd);
}

int fallocate(int fd, int mode, off_t at, off_t length) {
    if (lacking != 0) {
        errno = lacking;
        return -1;
    }
    return disturb() ? -1 : (int)syscall(SYS_fallocate, fd, mode, at, length);
}

int madvise(void *address, size_t length, int advice) {
    if (lacking != 0) {
        errno = EINVAL;
        return -1;
    }
    return disturb() ? -1 : (int)syscall(SYS_madvise, address, length, advice);
}

/* Linux closes the descriptor, and says EINTR all the same. */
int close(int fd) {
    int result = (int)syscall(SYS_close, fd);

    return result == 0 && disturb() ? -1 : result;
}

static char directory[PATH_ROOM];

static int setup(void **state) {
    (void)state;
    directory_make(directory);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    at_work = interrupting = shortening = false;
    lacking = failing = 0;
    directory_remove(directory);
    return 0;
}

/* ---- A log on such a system ---- */

#define SETTINGS                                                                                   \
    "max_file_size=16KiB boundary_interval=5 min_compress_size=400 upkeep=manual sync=full"

static void run_txn(comet_shard *shard, model *m, size_t count) {
    comet_txn *txn;

    OK(comet_txn_begin(shard, &txn, &error));
    for (size_t i = 0; i < count; i++) {
        append_both(txn, m, (int64_t)(m->count + 1), m->count % 9 == 5 ? 1500 : m->count % 70,
                    m->count);
    }
    OK(comet_txn_prepare(txn, &error));
    comet_txn_publish(txn);
}

/* Open, append, rotate, acknowledge, sync, read, close; recover after a start of the machine. */
static void run_log(void) {
    model m = {0};

    for (unsigned session = 0; session < 3; session++) {
        comet_group *group;
        comet_shard *shard;
        comet_log *log;
        at_work = true;
        log = log_make(directory, COMET_OPEN_CREATE, SETTINGS);
        OK(comet_shard_open(log, 0, true, &shard, &error));
        run_txn(shard, &m, 100);
        OK(comet_group_open(shard, "g", 1, &group, &error));
        OK(comet_group_ack(group, m.count - 1, NULL, &error));
        comet_group_close(group);
        run_txn(shard, &m, 30);
        OK(comet_shard_sync(shard, &error));
        check_all(shard, NULL, &m);
        comet_shard_close(shard);
        comet_log_close(log);
        at_work = false;
        simulate_reboot(directory, 0);
    }
    model_free(&m);
}

static void interrupted_calls_are_made_again(void **state) {
    (void)state;
    interrupting = shortening = true;
    run_log();
    print_message("%lu calls interrupted, %lu done in part\n", interrupted, shortened);
    assert_true(interrupted > 100 && shortened > 100);
}

/* Blocks of the disk are had by writing zeros, behind what stands there and never over it. */
static void without_fallocate(void **state) {
    unsigned char bytes[300];
    unsigned char back[300];
    char path[PATH_ROOM];
    int fd;
    (void)state;

    file_path(path, directory, "file");
    memset(bytes, 0xA5, sizeof bytes);
    file_write(path, 1000, bytes, sizeof bytes);
    fd = platform->open_file(path, PLATFORM_WRITE);
    assert_true(fd >= 0);
    lacking = EOPNOTSUPP;
    interrupting = shortening = at_work = true;
    assert_int_equal(platform->allocate(fd, 0, 1200), 0);
    assert_int_equal(platform->allocate(fd, 1100, 70000), 0);
    interrupting = shortening = at_work = false;
    assert_int_equal(platform->file_size(fd), 71100);
    assert_int_equal(platform->read_at(fd, back, sizeof back, 1000), 0);
    assert_memory_equal(back, bytes, sizeof bytes);
    assert_int_equal(platform->read_at(fd, back, sizeof back, 71000), -ENODATA);
    assert_int_equal(platform->close_file(fd), 0);
    run_log();
}

/* What the system says comes out as it is, of each call. */
static void errors_come_out(void **state) {
    char path[PATH_ROOM];
    void *mapped = NULL;
    int fd;
    int result[10];
    (void)state;

    file_path(path, directory, "file");
    file_write(path, 0, "bytes", 5);
    fd = platform->open_file(path, PLATFORM_WRITE);
    assert_true(fd >= 0);
    assert_int_equal(platform->map(fd, 0, 4096, true, &mapped), 0);
    failing = EIO;
    at_work = true;
    result[0] = platform->open_file(path, PLATFORM_READ);
    result[1] = platform->read_at(fd, path, 1, 0);
    result[2] = platform->write_at(fd, path, 1, 0);
    result[3] = platform->truncate_file(fd, 0);
    result[4] = platform->allocate(fd, 0, 1);
    result[5] = platform->sync_file(fd);
    result[6] = platform->sync_directory(directory);
    result[7] = platform->populate(mapped, 4096);
    lacking = ENOSYS;
    result[8] = platform->allocate(fd, 0, 1);
    lacking = 0;
    result[9] = platform->close_file(fd);
    at_work = false;
    for (size_t i = 0; i < sizeof result / sizeof *result; i++) {
        assert_int_equal(result[i], -EIO);
    }
    assert_int_equal(platform->unmap(mapped, 4096), 0);
}

/* Of what is not there, or no file at all. */
static void what_is_not_there(void **state) {
    char path[PATH_ROOM];
    char absolute[4];
    platform_info info;
    uint64_t total;
    uint64_t available;
    void *mapped;
    (void)state;

    file_path(path, directory, "missing");
    assert_int_equal(platform->open_file(path, PLATFORM_READ), -ENOENT);
    assert_int_equal(platform->path_info(path, &info), -ENOENT);
    assert_int_equal(platform->disk_space(path, &total, &available), -ENOENT);
    assert_int_equal(platform->sync_directory(path), -ENOENT);
    assert_int_equal(platform->rename_file(path, path), -ENOENT);
    assert_int_equal(platform->remove_file(path), -ENOENT);
    assert_int_equal(platform->list_directory(path, NULL, NULL), -ENOENT);
    assert_int_equal(platform->absolute_path(path, absolute, sizeof absolute), -ENOENT);
    assert_int_equal(platform->absolute_path(directory, absolute, sizeof absolute), -ENAMETOOLONG);
    assert_int_equal(platform->make_directory(directory), -EEXIST);
    assert_int_equal(platform->close_file(-1), -EBADF);
    assert_int_equal(platform->file_info(-1, &info), -EBADF);
    assert_int_equal(platform->file_size(-1), -EBADF);
    assert_int_equal(platform->map(-1, 0, 4096, false, &mapped), -EBADF);
    assert_int_equal(platform->lock_byte(-1, 0), -EBADF);
    assert_int_equal(platform->wait_byte(-1, 0), -EBADF);
    assert_int_equal(platform->unlock_byte(-1, 0), -EBADF);
    assert_int_equal(platform->byte_is_locked(-1, 0), -EBADF);
}

/* A file that may not grow beyond a limit of the process. */
static void disk_quota_is_an_error(void **state) {
    struct rlimit before;
    struct rlimit low;
    unsigned char bytes[6000] = {0};
    char path[PATH_ROOM];
    int result;
    int fd;
    (void)state;

    file_path(path, directory, "file");
    fd = platform->open_file(path, PLATFORM_WRITE | PLATFORM_CREATE | PLATFORM_EXCLUSIVE);
    assert_true(fd >= 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = before;
    low.rlim_cur = 4096;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    result = platform->write_at(fd, bytes, sizeof bytes, 0); /* done in part, then refused */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(result, -EFBIG);
    assert_int_equal(platform->file_size(fd), 4096);
    assert_int_equal(platform->close_file(fd), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(interrupted_calls_are_made_again, setup, teardown),
        cmocka_unit_test_setup_teardown(without_fallocate, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_come_out, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_not_there, setup, teardown),
        cmocka_unit_test_setup_teardown(disk_quota_is_an_error, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
