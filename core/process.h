/* process.h -- this process's slot among the processes of a log.
**
** Decides: which process is number 0, 1, 2 ... of those that share a log.  A slot (slot.h) of the log's
** file `comet.processes` is held from when it is asked for until it is released or the log closed.
** The file says beside, for messages and people, which process took each slot last.
**
** Thread rule: the caller's, log.c's mutex.
*/
#ifndef COMET_PROCESS_H
#define COMET_PROCESS_H

#include "comet.h"
#include "slot.h"

#define PROCESS_NO_SLOT (-1)

typedef struct process_seat {
    slot_file file;
    int64_t slot; /* PROCESS_NO_SLOT: none is held */
} process_seat;

/* Without a slot. */
void process_seat_init(process_seat *seat);

/* Take the lowest free of the slots first .. first + count - 1 unless one is held.
** Errors: COMET_BUSY names the processes that have them all; COMET_READONLY, COMET_IO. */
comet_status process_sit(process_seat *seat, const char *directory, uint32_t first, uint32_t count,
                         comet_error *error);

/* Give the slot back.  Having none is fine. */
void process_rise(process_seat *seat);

/* The process that holds a slot of the log in `directory`, 0 where none does or nobody knows. */
uint32_t process_holder(const char *directory, uint32_t slot);

#endif
