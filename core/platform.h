/* platform.h -- every system call of the core, behind one table.
**
** Decides: what the core may ask of the system.  Nothing else in core/ calls it, so that a test can
** put its own table here and fail, count or record the N-th call, and a port has one file to write.
**
** Rule of results: 0 or more on success, a negative errno on failure.  EINTR never comes out.
** Thread rule: platform_use() only while no log is open; all entries may be called from any thread.
*/
#ifndef COMET_PLATFORM_H
#define COMET_PLATFORM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLATFORM_PAGE_BYTES_MIN 4096u

typedef struct platform_info {
    uint64_t device;
    uint64_t inode;
    uint64_t size_bytes;
    uint64_t allocated_bytes;
    int64_t modified_ns; /* wall clock of the last change of its content */
    bool is_directory;
    bool is_regular;
} platform_info;

/* How a file is opened. */
enum {
    PLATFORM_READ = 0,
    PLATFORM_WRITE = 1,    /* for reading and writing */
    PLATFORM_CREATE = 2,   /* make it (0600) where it is missing */
    PLATFORM_EXCLUSIVE = 4 /* ... and fail with EEXIST where it is not */
};

/* One name in a directory, which may be a directory's own as far as the listing tells; a result other
** than 0 ends the listing with it. */
typedef int (*platform_visit)(void *context, const char *name, bool may_be_directory);

typedef struct platform_calls {
    int (*open_file)(const char *path, unsigned mode);
    int (*close_file)(int fd);
    int (*file_info)(int fd, platform_info *info);
    int64_t (*file_size)(int fd); /* cheaper than file_info by half: asked once a block */
    int (*path_info)(const char *path, platform_info *info);
    bool (*may_write)(const char *path); /* this user, there */

    /* Bytes of the file system that holds `path`: all, and those that may still be used. */
    int (*disk_space)(const char *path, uint64_t *total, uint64_t *free);

    /* All of it or an error; -ENODATA where the file ends before. */
    int (*read_at)(int fd, void *buffer, size_t size, uint64_t position);
    int (*write_at)(int fd, const void *buffer, size_t size, uint64_t position);

    int (*truncate_file)(int fd, uint64_t size_bytes);

    /* Give the range disk blocks, so that storing into a mapping of it cannot run out of disk.
    ** Extends the file where the range ends beyond it; never changes what stands there. */
    int (*allocate)(int fd, uint64_t position, uint64_t length);

    /* Data (also what was stored through mappings) and size onto the disk; a directory's names. */
    int (*sync_file)(int fd);
    int (*sync_directory)(const char *path);

    int (*map)(int fd, uint64_t position, size_t length, bool writable, void **address);
    int (*unmap)(void *address, size_t length);

    /* Make pages of a writable mapping ready, so that the first store into each does not stop.
    ** Reports what would have been SIGBUS. */
    int (*populate)(void *address, size_t length);

    int (*rename_file)(const char *from, const char *to);
    int (*remove_file)(const char *path);
    int (*make_directory)(const char *path);
    int (*list_directory)(const char *path, platform_visit visit, void *context);
    int (*absolute_path)(const char *path, char *absolute, size_t size);

    /* An exclusive lock on one byte of a file, gone with the process.  -EAGAIN: held by another.
    ** Two locks of one fd do not see each other. */
    int (*lock_byte)(int fd, uint64_t byte);
    int (*wait_byte)(int fd, uint64_t byte); /* the same, but waits */
    int (*unlock_byte)(int fd, uint64_t byte);
    int (*byte_is_locked)(int fd, uint64_t byte); /* by another: 1 or 0 */

    int64_t (*tick)(void);     /* a clock that is cheap and coarse: changes every 1 to 10 ms */
    int64_t (*clock)(void);    /* a clock that only goes forward, fine, for durations */
    int64_t (*now)(void);      /* wall clock, nanoseconds since the Unix epoch */
    uint32_t (*process)(void); /* this process's id */
    uint64_t (*boot)(void);    /* differs after each start of the machine; 0 where unknown */
} platform_calls;

/* ---- Files that others cut ----
**
** A load or store past the end of a mapped file is SIGBUS, and would end the host's process because
** somebody else truncated a file.  So a mapping puts a handler in place that knows all of ours:
** a page that is gone is replaced by one of zeros of this process's own, and counted.  Whoever uses a
** mapping asks afterwards; every other SIGBUS goes to the handler that was there before.  (The way of
** Wayland's wl_shm.) */

/* How many pages were replaced so far.  Unchanged: nothing was cut. */
extern atomic_uint platform_cut_count;

/* Whether a page of the mapping that holds `address` was. */
bool platform_was_cut(const void *address);

/* Make the pages of a writable mapping dirty again, without changing a bit of them: after a failed sync
** the system may take them for written.  A compiler must not do away with the stores: so no adding of 0. */
static inline void platform_touch(unsigned char *bytes, size_t length) {
    for (size_t at = 0; at < length; at += PLATFORM_PAGE_BYTES_MIN) {
        _Atomic uint64_t *word = (_Atomic uint64_t *)(void *)(bytes + at);
        uint64_t value = atomic_load_explicit(word, memory_order_relaxed);
        (void)atomic_compare_exchange_strong(word, &value, value); /* if not, another has stored */
    }
}

/* The table in force. */
extern const platform_calls *platform;

/* Put another table in force; NULL puts the system's back. */
void platform_use(const platform_calls *calls);

/* The system's own table, for a test's table to call on. */
extern const platform_calls platform_system;

#endif
