/* slot.h -- numbers that one process holds at a time.
**
** Decides: how a process shows that it lives.  A slot is one byte of a file, far beyond the file's end,
** on which the process keeps a lock.  The system drops the lock when the process dies, however it
** dies; a process that has got the same id since does not hold it.
**
** A forked child shares its parent's open files, and with them the locks: they would outlive the
** parent.  So every slot_file is known here, and closed in the child before fork() returns there.
**
** Thread rule: any thread; one slot_file is opened and closed by one thread at a time.
*/
#ifndef COMET_SLOT_H
#define COMET_SLOT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct slot_file {
    int fd;                            /* -1: closed */
    struct slot_file *previous, *next; /* of those that are open: a slot_file must not move */
} slot_file;

/* Open or make the file; 0 or a negative errno. */
int slot_file_open(const char *path, slot_file *file);

/* Give all its slots back.  One that was never opened, with an fd of -1, is fine. */
void slot_file_close(slot_file *file);

/* Take the lowest free one of the slots first .. first + count - 1.  -EUSERS: others have them all.
** What this slot_file holds already looks free to it. */
int slot_take(const slot_file *file, uint32_t first, uint32_t count, uint32_t *slot);

/* Whether another process, or another slot_file of this one, holds a slot.  When in doubt it does. */
bool slot_is_held(const slot_file *file, uint32_t slot);

/* Around fork(), so that no file is between open and known.  Innermost of all locks. */
void slot_before_fork(void);
void slot_after_fork_in_parent(void);
void slot_after_fork_in_child(void);

#endif
