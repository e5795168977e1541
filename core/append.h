/* append.h -- the writer's mapping of the segment it appends to.
**
** Decides: how far ahead of the last entry disk blocks are allocated and pages made ready, so that
** an append is a memory copy, and a full disk an error before it and never a SIGBUS in it.
**
**     0            window                        ready_end    allocated_end        file's length
**     +------------+------ entries ------|--------+------------+---------- ... -----+
**                                     position    pages exist  blocks exist   (sparse)
*/
#ifndef COMET_APPEND_H
#define COMET_APPEND_H

#include <stdint.h>

#include "comet.h"
#include "segment.h"
#include "window.h"

typedef struct append_room {
    window_pool *pool;    /* of the log; whoever makes the room sets it */
    unsigned char *bytes; /* the window; NULL: none */
    uint64_t window_position;
    uint64_t window_length;
    uint64_t allocated_end;
    uint64_t ready_end; /* may be stored to, below this */
} append_room;

static inline unsigned char *append_at(const append_room *room, uint64_t position) {
    return room->bytes + (position - room->window_position);
}

/* Make [position, position + size) of `segment` ready; `keep` <= position stays mapped as well.
** On an error nothing that was ready is lost.  Errors: COMET_FULL, COMET_IO. */
comet_status append_room_make(append_room *room, segment_file *segment, uint64_t keep,
                              uint64_t position, uint64_t size, comet_error *error);

/* Forget what is known about the segment: others may have cut it. */
void append_room_close(append_room *room);

/* A transaction has ended: give the window back if writers have more than their share. */
static inline void append_room_rest(append_room *room) {
    if (room->bytes != NULL && window_pool_is_scarce(room->pool)) {
        append_room_close(room);
    }
}

#endif
