/* state.c -- opening comet.state and judging it. */
#include "state.h"

#include <assert.h>
#include <errno.h>

#include "memory.h"
#include "platform.h"
#include "status.h"

/* More than a data file can have, as the Go package judges it. */
#define STATE_POSITION_MAX ((uint64_t)1 << 40)

static_assert(STATE_SYNCS_FAILED + 8 <= STATE_LATENCY, "our part must fit");
static_assert(STATE_MAGIC % 8 == 0, "fields are aligned");

static comet_status state_map(const char *path, bool writable, shard_state *state,
                              comet_error *error) {
    platform_info info;
    void *mapped = NULL;
    int result = platform->file_info(state->fd, &info);

    if (result == 0 && info.size_bytes != STATE_BYTES) {
        if (!writable) {
            return error_set(error, COMET_NOT_FOUND, 0, "%s has %llu bytes instead of %u", path,
                             (unsigned long long)info.size_bytes, STATE_BYTES);
        }
        result = platform->truncate_file(state->fd, STATE_BYTES);
    }
    /* Blocks before stores: a full disk is an error here, not a SIGBUS later. */
    if (result == 0 && writable) {
        result = platform->allocate(state->fd, 0, STATE_BYTES);
    }
    if (result == 0) {
        result = platform->map(state->fd, 0, STATE_BYTES, writable, &mapped);
    }
    if (result != 0) {
        comet_status status = result == -ENOSPC ? COMET_FULL : COMET_IO;
        return error_set(error, status, -result, "cannot map %s", path);
    }
    state->bytes = mapped;
    return COMET_OK;
}

comet_status state_open(const char *path, bool writable, shard_state *state, comet_error *error) {
    comet_status status;
    unsigned mode = writable ? PLATFORM_WRITE | PLATFORM_CREATE : PLATFORM_READ;

    state->bytes = NULL;
    state->writable = writable;
    state->fd = platform->open_file(path, mode);
    if (state->fd < 0) {
        int reason = -state->fd;
        state->fd = -1;
        return error_set(error, reason == ENOENT ? COMET_NOT_FOUND : COMET_IO, reason,
                         "cannot open %s", path);
    }
    status = state_map(path, writable, state, error);
    if (status != COMET_OK) {
        (void)platform->close_file(state->fd);
        state->fd = -1;
    }
    return status;
}

comet_status state_detach(shard_state *state, comet_error *error) {
    state->fd = -1;
    state->writable = true;
    state->bytes = memory_allocate_zeroed(STATE_BYTES);
    return state->bytes == NULL ? memory_failed(error, STATE_BYTES) : COMET_OK;
}

void state_close(shard_state *state) {
    if (state->bytes != NULL && state->fd < 0) {
        memory_release(state->bytes);
    } else if (state->bytes != NULL) {
        (void)platform->unmap(state->bytes, STATE_BYTES);
        (void)platform->close_file(state->fd);
    }
    state->bytes = NULL;
    state->fd = -1;
}

/* Each transaction stores first the end, then the newest entry: for a moment they do not agree, and for
** good where Go has written since, or a writer died in between. */
#define AGREE_TRIES 1000

static bool numbers_agree(const shard_state *state) {
    for (unsigned i = 0; i < AGREE_TRIES; i++) {
        /* Acquire, so that the end is loaded after it. */
        uint64_t entry = atomic_load_explicit(
            (_Atomic uint64_t *)(void *)(state->bytes + STATE_LAST_ENTRY), memory_order_acquire);
        if (entry + 1 == state_end(state)) {
            return true;
        }
    }
    return false;
}

bool state_is_trusted(const shard_state *state) {
    return state_is_ours(state) && state_load(state, STATE_VERSION) == 1 &&
           state_end(state) <= (uint64_t)COMET_OFFSET_MAX &&
           state_load(state, STATE_BOOT) == platform->boot() && numbers_agree(state);
}

void state_trust(shard_state *state) {
    state_store(state, STATE_VERSION, 1);
    state_store(state, STATE_BOOT, platform->boot());
    state_store(state, STATE_MAGIC, STATE_MAGIC_VALUE);
}

bool state_is_damaged(const shard_state *state) {
    bool is_new = true;

    for (unsigned i = 0; i < STATE_BYTES && is_new; i++) {
        is_new = state->bytes[i] == 0;
    }
    return !is_new && (state_load(state, STATE_VERSION) != 1 ||
                       state_load(state, STATE_WRITE_POSITION) > STATE_POSITION_MAX ||
                       (int64_t)state_load(state, STATE_LAST_ENTRY) < -1);
}

void state_count_error(shard_state *state) {
    state_add(state, STATE_ERRORS, 1);
    state_raise(state, STATE_LAST_ERROR_NS, (uint64_t)platform->now());
}

void state_count_corruption(shard_state *state) {
    state_add(state, STATE_CORRUPTION_DETECTED, 1);
    state_raise(state, STATE_LAST_CORRUPTION_NS, (uint64_t)platform->now());
    state_count_error(state);
}
