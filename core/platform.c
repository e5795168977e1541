/* platform.c -- the system calls of the core, for Linux and other POSIX systems.
**
** Decides: which system call does what the core asks, and what stands in where one is missing:
**   allocate   fallocate(2); where the file system has none, the range is written with zeros
**   populate   MADV_POPULATE_WRITE; where the kernel has none (before 5.14), nothing: a fault a page
**   lock_byte  open-file-description locks, which other fds of this process cannot drop; where the
**              system has none, the process's own record locks
**   map        MAP_SHARED, guarded against files that others cut (platform.h)
*/
#include "platform.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0600
#define DIRECTORY_MODE 0700
#define ZERO_CHUNK_BYTES 65536u
#define NANOSECONDS_PER_SECOND 1000000000

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#ifdef F_OFD_SETLK
#define SET_LOCK F_OFD_SETLK
#define WAIT_LOCK F_OFD_SETLKW
#define GET_LOCK F_OFD_GETLK
#else
#define SET_LOCK F_SETLK
#define WAIT_LOCK F_SETLKW
#define GET_LOCK F_GETLK
#endif

static int open_file(const char *path, unsigned mode) {
    int flags = O_CLOEXEC | O_NOFOLLOW;
    int fd;

    flags |= (mode & PLATFORM_WRITE) != 0 ? O_RDWR : O_RDONLY;
    flags |= (mode & PLATFORM_CREATE) != 0 ? O_CREAT : 0;
    flags |= (mode & PLATFORM_EXCLUSIVE) != 0 ? O_EXCL : 0;
    do {
        fd = open(path, flags, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

/* After EINTR the descriptor is gone on Linux; a second close could hit another thread's. */
static int close_file(int fd) {
    return close(fd) != 0 && errno != EINTR ? -errno : 0;
}

static void info_from_stat(const struct stat *from, platform_info *info) {
    info->device = (uint64_t)from->st_dev;
    info->inode = (uint64_t)from->st_ino;
    info->size_bytes = (uint64_t)from->st_size;
    info->allocated_bytes = (uint64_t)from->st_blocks * 512;
    info->modified_ns =
        (int64_t)from->st_mtim.tv_sec * NANOSECONDS_PER_SECOND + from->st_mtim.tv_nsec;
    info->is_directory = S_ISDIR(from->st_mode);
    info->is_regular = S_ISREG(from->st_mode);
}

static int file_info(int fd, platform_info *info) {
    struct stat found;

    if (fstat(fd, &found) != 0) {
        return -errno;
    }
    info_from_stat(&found, info);
    return 0;
}

/* The position that lseek changes is never used: all reading and writing names its own. */
static int64_t file_size(int fd) {
    off_t size = lseek(fd, 0, SEEK_END);

    return size < 0 ? -errno : (int64_t)size;
}

static bool may_write(const char *path) {
    return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

static int path_info(const char *path, platform_info *info) {
    struct stat found;

    if (stat(path, &found) != 0) {
        return -errno;
    }
    info_from_stat(&found, info);
    return 0;
}

static int disk_space(const char *path, uint64_t *total, uint64_t *free_bytes) {
    struct statvfs found;

    if (statvfs(path, &found) != 0) {
        return -errno;
    }
    *total = (uint64_t)found.f_blocks * found.f_frsize;
    *free_bytes = (uint64_t)found.f_bavail * found.f_frsize;
    return 0;
}

/* As many of the bytes as the file has. */
static int64_t read_there(int fd, void *buffer, size_t size, uint64_t position) {
    unsigned char *to = buffer;
    size_t done = 0;

    while (done < size) {
        ssize_t count = pread(fd, to + done, size - done, (off_t)(position + done));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return -errno;
        }
        if (count == 0) {
            break;
        }
        done += (size_t)count;
    }
    return (int64_t)done;
}

static int read_at(int fd, void *buffer, size_t size, uint64_t position) {
    int64_t count = read_there(fd, buffer, size, position);

    if (count < 0) {
        return (int)count;
    }
    return (uint64_t)count == size ? 0 : -ENODATA;
}

static int write_at(int fd, const void *buffer, size_t size, uint64_t position) {
    const unsigned char *at = buffer;

    while (size > 0) {
        ssize_t count = pwrite(fd, at, size, (off_t)position);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return count == 0 ? -ENOSPC : -errno;
        }
        at += count;
        size -= (size_t)count;
        position += (uint64_t)count;
    }
    return 0;
}

static int truncate_file(int fd, uint64_t size_bytes) {
    int result;

    do {
        result = ftruncate(fd, (off_t)size_bytes);
    } while (result != 0 && errno == EINTR);
    return result != 0 ? -errno : 0;
}

/* Zeros where the file ends or holds a hole; bytes that stand there are written back as they are. */
static int allocate_by_writing(int fd, uint64_t position, uint64_t length) {
    unsigned char chunk[ZERO_CHUNK_BYTES];

    while (length > 0) {
        size_t size = length < sizeof chunk ? (size_t)length : sizeof chunk;
        int64_t got;
        int result;

        memset(chunk, 0, size);
        got = read_there(fd, chunk, size, position);
        if (got < 0) {
            return (int)got;
        }
        result = write_at(fd, chunk, size, position);
        if (result != 0) {
            return result;
        }
        position += size;
        length -= size;
    }
    return 0;
}

static int allocate(int fd, uint64_t position, uint64_t length) {
    int result;

    assert(length > 0);
    do {
        result = fallocate(fd, 0, (off_t)position, (off_t)length);
    } while (result != 0 && errno == EINTR);
    if (result == 0) {
        return 0;
    }
    if (errno == EOPNOTSUPP || errno == ENOSYS) {
        return allocate_by_writing(fd, position, length);
    }
    return -errno;
}

static int sync_file(int fd) {
    int result;

    do {
        result = fdatasync(fd);
    } while (result != 0 && errno == EINTR);
    return result != 0 ? -errno : 0;
}

static int sync_directory(const char *path) {
    int result;
    int fd;

    do {
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        return -errno;
    }
    do {
        result = fsync(fd) != 0 && errno != EINVAL ? -errno : 0; /* EINVAL: it has no need of it */
    } while (result == -EINTR);
    (void)close(fd);
    return result;
}

/* ---- Mappings, and what happens when their files are cut ---- */

/* More are mapped all the same, and not guarded. */
#define MAPPINGS_GUARDED_MAX 65536u

typedef struct guarded_mapping {
    _Atomic uintptr_t begin; /* 0: free */
    _Atomic uintptr_t end;
    atomic_bool was_cut;
} guarded_mapping;

atomic_uint platform_cut_count;
static guarded_mapping mappings[MAPPINGS_GUARDED_MAX];
static atomic_uint mappings_used; /* slots above were never used */
static struct sigaction previous_action;
static atomic_flag passing_on = ATOMIC_FLAG_INIT;
static pthread_mutex_t guard_mutex = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t page_bytes;

static guarded_mapping *find_mapping(uintptr_t address) {
    unsigned used = atomic_load(&mappings_used);

    for (unsigned i = 0; i < used; i++) {
        uintptr_t begin = atomic_load(&mappings[i].begin);
        if (begin != 0 && address >= begin && address < atomic_load(&mappings[i].end)) {
            return &mappings[i];
        }
    }
    return NULL;
}

/* Only what a signal handler may do: mmap is a bare system call. */
static bool replace_page(uintptr_t address) {
    guarded_mapping *found = find_mapping(address);
    uintptr_t page = address - address % page_bytes;

    if (found == NULL || mmap((void *)page, page_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
        return false;
    }
    atomic_store(&found->was_cut, true);
    atomic_fetch_add(&platform_cut_count, 1);
    return true;
}

static void on_bus_error(int number, siginfo_t *info, void *context) {
    int saved = errno;

    if (info->si_code == BUS_ADRERR && replace_page((uintptr_t)info->si_addr)) {
        errno = saved;
        return;
    }
    if (previous_action.sa_handler == SIG_DFL || previous_action.sa_handler == SIG_IGN ||
        atomic_flag_test_and_set(&passing_on)) { /* set: two handlers that pass on to each other */
        (void)signal(number, SIG_DFL);
        (void)raise(number);
        return;
    }
    if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
        previous_action.sa_sigaction(number, info, context);
    } else {
        previous_action.sa_handler(number);
    }
    atomic_flag_clear(&passing_on);
}

/* At each mapping: the host may have put a handler of its own in place since. */
static void guard_install(void) {
    struct sigaction action;
    struct sigaction present;

    pthread_mutex_lock(&guard_mutex);
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, NULL, &present) == 0 &&
        ((present.sa_flags & SA_SIGINFO) == 0 || present.sa_sigaction != on_bus_error)) {
        previous_action = present;
        (void)sigaction(SIGBUS, &action, NULL);
    }
    pthread_mutex_unlock(&guard_mutex);
}

static void guard_add(uintptr_t begin, size_t length) {
    guard_install();
    for (unsigned i = 0; i < MAPPINGS_GUARDED_MAX; i++) {
        uintptr_t none = 0;
        if (atomic_load(&mappings[i].begin) == 0 &&
            atomic_compare_exchange_strong(&mappings[i].begin, &none, UINTPTR_MAX)) {
            unsigned used = atomic_load(&mappings_used);
            atomic_store(&mappings[i].was_cut, false);
            atomic_store(&mappings[i].end, begin + length);
            atomic_store(&mappings[i].begin, begin);
            while (used <= i && !atomic_compare_exchange_weak(&mappings_used, &used, i + 1)) {
            }
            return;
        }
    }
}

bool platform_was_cut(const void *address) {
    const guarded_mapping *found = find_mapping((uintptr_t)address);

    return found != NULL && atomic_load(&found->was_cut);
}

static int map(int fd, uint64_t position, size_t length, bool writable, void **address) {
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *mapped = mmap(NULL, length, protection, MAP_SHARED, fd, (off_t)position);

    if (mapped == MAP_FAILED) {
        return -errno;
    }
    guard_add((uintptr_t)mapped, length);
    *address = mapped;
    return 0;
}

static int unmap(void *address, size_t length) {
    guarded_mapping *found = find_mapping((uintptr_t)address);

    if (found != NULL) {
        atomic_store(&found->begin, 0);
    }
    return munmap(address, length) != 0 ? -errno : 0;
}

static int populate(void *address, size_t length) {
    if (madvise(address, length, MADV_POPULATE_WRITE) == 0 || errno == EINVAL || errno == EINTR) {
        return 0;
    }
    return errno == EFAULT ? -ENOSPC : -errno;
}

static int rename_file(const char *from, const char *to) {
    return rename(from, to) != 0 ? -errno : 0;
}

static int remove_file(const char *path) {
    return unlink(path) != 0 ? -errno : 0;
}

static int make_directory(const char *path) {
    return mkdir(path, DIRECTORY_MODE) != 0 ? -errno : 0;
}

static int list_directory(const char *path, platform_visit visit, void *context) {
    DIR *directory = opendir(path);
    int result = 0;

    if (directory == NULL) {
        return -errno;
    }
    while (result == 0) {
        struct dirent *found;

        errno = 0;
        found = readdir(directory);
        if (found == NULL) {
            result = -errno;
            break;
        }
        if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0) {
            result = visit(context, found->d_name,
                           found->d_type == DT_DIR || found->d_type == DT_UNKNOWN ||
                               found->d_type == DT_LNK);
        }
    }
    (void)closedir(directory);
    return result;
}

static int absolute_path(const char *path, char *absolute, size_t size) {
    char *resolved = realpath(path, NULL);
    int result = 0;

    if (resolved == NULL) {
        return -errno;
    }
    if (strlen(resolved) >= size) {
        result = -ENAMETOOLONG;
    } else {
        memcpy(absolute, resolved, strlen(resolved) + 1);
    }
    free(resolved);
    return result;
}

static struct flock byte_lock(short type, uint64_t byte) {
    struct flock lock;

    memset(&lock, 0, sizeof lock);
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = (off_t)byte;
    lock.l_len = 1;
    return lock;
}

static int lock_byte(int fd, uint64_t byte) {
    struct flock lock = byte_lock(F_WRLCK, byte);

    if (fcntl(fd, SET_LOCK, &lock) != 0) {
        return errno == EACCES ? -EAGAIN : -errno;
    }
    return 0;
}

static int wait_byte(int fd, uint64_t byte) {
    struct flock lock = byte_lock(F_WRLCK, byte);
    int result;

    do {
        result = fcntl(fd, WAIT_LOCK, &lock);
    } while (result != 0 && errno == EINTR);
    return result != 0 ? -errno : 0;
}

static int unlock_byte(int fd, uint64_t byte) {
    struct flock lock = byte_lock(F_UNLCK, byte);

    return fcntl(fd, SET_LOCK, &lock) != 0 ? -errno : 0;
}

static int byte_is_locked(int fd, uint64_t byte) {
    struct flock lock = byte_lock(F_WRLCK, byte);

    if (fcntl(fd, GET_LOCK, &lock) != 0) {
        return -errno;
    }
    return lock.l_type != F_UNLCK;
}

static int64_t monotonic(void) {
    struct timespec at;

    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * NANOSECONDS_PER_SECOND + at.tv_nsec;
}

static int64_t now(void) {
    struct timespec at;

    (void)clock_gettime(CLOCK_REALTIME, &at);
    return (int64_t)at.tv_sec * NANOSECONDS_PER_SECOND + at.tv_nsec;
}

static int64_t tick(void) {
    struct timespec at;

#ifdef CLOCK_MONOTONIC_COARSE
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &at);
#else
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec -= at.tv_nsec % 1000000;
#endif
    return (int64_t)at.tv_sec * NANOSECONDS_PER_SECOND + at.tv_nsec;
}

static uint32_t process(void) {
    return (uint32_t)getpid();
}

/* Linux gives each start a random UUID; FNV-1a makes a number of it. */
static uint64_t boot(void) {
    unsigned char text[64];
    uint64_t hash = 14695981039346656037u;
    int fd = open_file("/proc/sys/kernel/random/boot_id", PLATFORM_READ);
    ssize_t count;

    if (fd < 0) {
        return 0;
    }
    count = read(fd, text, sizeof text);
    (void)close(fd);
    for (ssize_t i = 0; i < count; i++) {
        hash = (hash ^ text[i]) * 1099511628211u;
    }
    return count > 0 ? hash : 0;
}

const platform_calls platform_system = {
    .open_file = open_file,
    .close_file = close_file,
    .file_info = file_info,
    .file_size = file_size,
    .path_info = path_info,
    .may_write = may_write,
    .disk_space = disk_space,
    .read_at = read_at,
    .write_at = write_at,
    .truncate_file = truncate_file,
    .allocate = allocate,
    .sync_file = sync_file,
    .sync_directory = sync_directory,
    .map = map,
    .unmap = unmap,
    .populate = populate,
    .rename_file = rename_file,
    .remove_file = remove_file,
    .make_directory = make_directory,
    .list_directory = list_directory,
    .absolute_path = absolute_path,
    .lock_byte = lock_byte,
    .wait_byte = wait_byte,
    .unlock_byte = unlock_byte,
    .byte_is_locked = byte_is_locked,
    .tick = tick,
    .clock = monotonic,
    .now = now,
    .process = process,
    .boot = boot,
};

const platform_calls *platform = &platform_system;

void platform_use(const platform_calls *calls) {
    platform = calls != NULL ? calls : &platform_system;
}
