/* slot.c -- see slot.h. */
#include "slot.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>

#include "platform.h"

#define SLOT_BASE ((uint64_t)1 << 40) /* slot k is locked at byte SLOT_BASE + k */

static pthread_mutex_t files_mutex = PTHREAD_MUTEX_INITIALIZER;
static slot_file *files;

int slot_file_open(const char *path, slot_file *file) {
    int fd;

    pthread_mutex_lock(&files_mutex);
    fd = platform->open_file(path, PLATFORM_WRITE | PLATFORM_CREATE);
    file->fd = fd < 0 ? -1 : fd;
    if (fd >= 0) {
        file->previous = NULL;
        file->next = files;
        if (files != NULL) {
            files->previous = file;
        }
        files = file;
    }
    pthread_mutex_unlock(&files_mutex);
    return fd < 0 ? fd : 0;
}

void slot_file_close(slot_file *file) {
    if (file->fd < 0) {
        return;
    }
    pthread_mutex_lock(&files_mutex);
    if (file->previous != NULL) {
        file->previous->next = file->next;
    } else {
        files = file->next;
    }
    if (file->next != NULL) {
        file->next->previous = file->previous;
    }
    (void)platform->close_file(file->fd);
    file->fd = -1;
    pthread_mutex_unlock(&files_mutex);
}

int slot_take(const slot_file *file, uint32_t first, uint32_t count, uint32_t *slot) {
    assert(file->fd >= 0);
    for (uint32_t i = 0; i < count; i++) {
        int result = platform->lock_byte(file->fd, SLOT_BASE + first + i);
        if (result == 0) {
            *slot = first + i;
            return 0;
        }
        if (result != -EAGAIN) {
            return result;
        }
    }
    return -EUSERS;
}

bool slot_is_held(const slot_file *file, uint32_t slot) {
    return platform->byte_is_locked(file->fd, SLOT_BASE + slot) != 0;
}

/* ---- fork ---- */

void slot_before_fork(void) {
    pthread_mutex_lock(&files_mutex);
}

void slot_after_fork_in_parent(void) {
    pthread_mutex_unlock(&files_mutex);
}

void slot_after_fork_in_child(void) {
    for (slot_file *file = files; file != NULL; file = file->next) {
        (void)platform->close_file(file->fd);
        file->fd = -1;
    }
    files = NULL;
    pthread_mutex_unlock(&files_mutex);
}
