/* append.c -- moving the writer's window, and making room ahead of it. */
#include "append.h"

#include <assert.h>
#include <errno.h>

#include "limits.h"
#include "platform.h"
#include "status.h"

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high) {
    return value < low ? low : value > high ? high : value;
}

static uint64_t round_up(uint64_t value, uint64_t step) {
    return (value + step - 1) / step * step;
}

static void room_unmap(append_room *room) {
    if (room->bytes != NULL) {
        (void)platform->unmap(room->bytes, (size_t)room->window_length);
        window_pool_give_back(room->pool, room->window_length);
    }
    room->bytes = NULL;
    room->window_position = room->window_length = 0;
}

void append_room_close(append_room *room) {
    room_unmap(room);
    room->allocated_end = room->ready_end = 0;
}

static comet_status room_failed(const segment_file *segment, int result, const char *what,
                                comet_error *error) {
    comet_status status = status_of_failure(result);

    return error_set(error, status, -result, "cannot %s %s%s", what, segment_path(segment),
                     status == COMET_FULL ? "; free some disk space and try again" : "");
}

static comet_status room_allocate(append_room *room, segment_file *segment, uint64_t position,
                                  uint64_t end, comet_error *error) {
    uint64_t ahead = clamp(position, ALLOCATE_AHEAD_BYTES_MIN, ALLOCATE_AHEAD_BYTES_MAX);
    uint64_t from = room->allocated_end;
    uint64_t wanted = round_up(end + ahead, WINDOW_ALIGNMENT_BYTES);
    uint64_t size;
    int result;

    if (end <= room->allocated_end) {
        return COMET_OK;
    }
    FORWARD(segment_size(segment, &size, error));
    if (from == 0) {
        from = position - position % WINDOW_ALIGNMENT_BYTES;
    }
    if (wanted > size && size >= end) {
        wanted = size; /* do not pass max_file_size for the sake of being ahead */
    }
    result = platform->allocate(segment_fd(segment), from, wanted - from);
    if (result == -ENOSPC && wanted > end) { /* perhaps there is room for just this */
        wanted = end;
        result = platform->allocate(segment_fd(segment), from, wanted - from);
    }
    if (result != 0) {
        return room_failed(segment, result, "extend", error);
    }
    room->allocated_end = wanted;
    return COMET_OK;
}

static comet_status room_map(append_room *room, segment_file *segment, uint64_t keep, uint64_t end,
                             comet_error *error) {
    uint64_t start = keep - keep % WINDOW_ALIGNMENT_BYTES;
    uint64_t length = round_up(end - start, WINDOW_ALIGNMENT_BYTES);
    void *mapped = NULL;
    int result;

    if (room->bytes != NULL && keep >= room->window_position &&
        end <= room->window_position + room->window_length) {
        return COMET_OK;
    }
    window_pool_claim(room->pool, length, &length);
    result = platform->map(segment_fd(segment), start, (size_t)length, true, &mapped);
    if (result != 0) {
        window_pool_give_back(room->pool, length);
        return room_failed(segment, result, "map", error);
    }
    room_unmap(room);
    room->bytes = mapped;
    room->window_position = start;
    room->window_length = length;
    room->ready_end = start;
    return COMET_OK;
}

comet_status append_room_make(append_room *room, segment_file *segment, uint64_t keep,
                              uint64_t position, uint64_t size, comet_error *error) {
    uint64_t end = position + size;
    uint64_t ahead = clamp(position, POPULATE_AHEAD_BYTES_MIN, POPULATE_AHEAD_BYTES_MAX);
    uint64_t window_end;
    uint64_t from;
    uint64_t wanted;
    int result;

    assert(keep <= position);
    FORWARD(room_allocate(room, segment, position, end, error));
    FORWARD(room_map(room, segment, keep, end, error));
    window_end = room->window_position + room->window_length;
    from = room->ready_end > position ? room->ready_end : position;
    from -= from % WINDOW_ALIGNMENT_BYTES;
    wanted = round_up(end + ahead, WINDOW_ALIGNMENT_BYTES);
    wanted = wanted < room->allocated_end ? wanted : room->allocated_end;
    wanted = wanted < window_end ? wanted : window_end;
    assert(wanted >= end);
    result = platform->populate(append_at(room, from), (size_t)(wanted - from));
    if (result != 0) {
        return room_failed(segment, result, "make pages ready of", error);
    }
    room->ready_end = wanted;
    return COMET_OK;
}
