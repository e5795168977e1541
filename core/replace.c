/* replace.c -- see replace.h. */
#include "replace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "limits.h"
#include "platform.h"
#include "status.h"

static int write_whole(const char *path, const void *bytes, size_t size, bool durable) {
    int fd = platform->open_file(path, PLATFORM_WRITE | PLATFORM_CREATE | PLATFORM_EXCLUSIVE);
    int result = fd < 0 ? fd : platform->write_at(fd, bytes, size, 0);

    if (result == 0 && durable) {
        result = platform->sync_file(fd);
    }
    if (fd >= 0) {
        int closed = platform->close_file(fd);
        result = result == 0 ? closed : result;
    }
    return result;
}

comet_status replace_file(const char *directory, const char *name, const void *bytes, size_t size,
                          bool durable, comet_error *error) {
    char path[PATH_BYTES_MAX];
    char beside[PATH_BYTES_MAX];
    int result;
    int length = snprintf(path, sizeof path, "%s/%s", directory, name);

    /* Processes and moments tell apart those who do this at the same time. */
    if (length >= 0 && (size_t)length < sizeof path) {
        length = snprintf(beside, sizeof beside, "%s/%s" REPLACE_SUFFIX "%u.%" PRId64, directory,
                          name, platform->process(), platform->now());
    }
    if (length < 0 || (size_t)length >= sizeof beside) {
        return error_set(error, COMET_INVALID, 0, "the path %s is too long", directory);
    }
    result = write_whole(beside, bytes, size, durable);
    if (result == 0) {
        result = platform->rename_file(beside, path);
    }
    if (result == 0 && durable) {
        result = platform->sync_directory(directory);
    }
    if (result == 0) {
        return COMET_OK;
    }
    if (result != -EEXIST) {
        (void)platform->remove_file(beside);
    }
    return error_set(error, status_of_refusal(result), -result, "cannot write %s", path);
}
