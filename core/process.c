/* process.c -- see process.h.
**
**     comet.processes   0         8         16
**                       +---------+---------+----
**                       | process | process | ...      who took slot 0, 1, ... last; native order
**                       +---------+---------+----
*/
#include "process.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "limits.h"
#include "platform.h"
#include "status.h"

#define PROCESSES_NAME "comet.processes"
#define HOLDER_BYTES 8u
#define HOLDERS_NAMED_MAX 8u /* in a message */

static comet_status processes_path(const char *directory, char path[PATH_BYTES_MAX],
                                   comet_error *error) {
    if (snprintf(path, PATH_BYTES_MAX, "%s/" PROCESSES_NAME, directory) >= (int)PATH_BYTES_MAX) {
        return error_set(error, COMET_INVALID, 0, "the path %s is too long", directory);
    }
    return COMET_OK;
}

static uint32_t holder_of(const slot_file *file, uint32_t slot) {
    uint64_t holder = 0;

    if (!slot_is_held(file, slot) ||
        platform->read_at(file->fd, &holder, sizeof holder, (uint64_t)slot * HOLDER_BYTES) != 0) {
        return 0;
    }
    return (uint32_t)holder;
}

uint32_t process_holder(const char *directory, uint32_t slot) {
    char path[PATH_BYTES_MAX];
    slot_file file = {.fd = -1};
    uint32_t holder = 0;

    if (processes_path(directory, path, NULL) != COMET_OK) {
        return 0;
    }
    file.fd = platform->open_file(path, PLATFORM_READ);
    if (file.fd >= 0) {
        holder = holder_of(&file, slot);
        (void)platform->close_file(file.fd);
    }
    return holder;
}

static comet_status all_taken(const process_seat *seat, const char *directory, uint32_t first,
                              uint32_t count, comet_error *error) {
    char who[HOLDERS_NAMED_MAX * 12] = "";
    size_t length = 0;

    for (uint32_t i = 0; i < count && i < HOLDERS_NAMED_MAX; i++) {
        int added = snprintf(who + length, sizeof who - length, "%s%u", i > 0 ? ", " : "",
                             (unsigned)holder_of(&seat->file, first + i));
        length += added > 0 ? (size_t)added : 0;
    }
    if (count == 1) {
        return error_set(error, COMET_BUSY, 0,
                         "slot %u of %s is taken by process %s; end that one, or choose another "
                         "process_id",
                         (unsigned)first, directory, who);
    }
    return error_set(error, COMET_BUSY, 0,
                     "all %u process slots of %s are taken, by the processes %s%s; end one of "
                     "them, or raise process_count",
                     (unsigned)count, directory, who, count > HOLDERS_NAMED_MAX ? " ..." : "");
}

void process_seat_init(process_seat *seat) {
    memset(seat, 0, sizeof *seat);
    seat->file.fd = -1;
    seat->slot = PROCESS_NO_SLOT;
}

comet_status process_sit(process_seat *seat, const char *directory, uint32_t first, uint32_t count,
                         comet_error *error) {
    char path[PATH_BYTES_MAX];
    comet_status status = COMET_OK;
    uint64_t self = platform->process();
    uint32_t slot = 0;
    int result;

    assert(count > 0);
    if (seat->slot != PROCESS_NO_SLOT) {
        return COMET_OK;
    }
    FORWARD(processes_path(directory, path, error));
    result = slot_file_open(path, &seat->file);
    if (result == 0) {
        result = slot_take(&seat->file, first, count, &slot);
    }
    if (result == -EUSERS) {
        status = all_taken(seat, directory, first, count, error);
    } else if (result != 0) {
        status = error_set(error, status_of_refusal(result), -result,
                           "cannot take a process slot in %s", path);
    }
    if (status != COMET_OK) {
        slot_file_close(&seat->file);
        return status;
    }
    seat->slot = slot;
    /* For messages only: a full disk is no reason to have no slot. */
    (void)platform->write_at(seat->file.fd, &self, sizeof self, (uint64_t)slot * HOLDER_BYTES);
    return COMET_OK;
}

void process_rise(process_seat *seat) {
    slot_file_close(&seat->file);
    seat->slot = PROCESS_NO_SLOT;
}
