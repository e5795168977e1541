/* latency.c -- see latency.h. */
#include "latency.h"

#include <assert.h>

#define LATENCY_SHORTEST_BITS 7u /* bucket 0 ends at 2^7 ns */
#define LATENCY_BUCKETS (STATE_LATENCY_BYTES / 4)
#define LATENCY_BUCKET_MAX ((uint32_t)1 << 31)

static_assert(STATE_LATENCY + STATE_LATENCY_BYTES <= STATE_BYTES, "the histogram must fit");

static _Atomic uint32_t *bucket_at(const shard_state *state, unsigned bucket) {
    return (_Atomic uint32_t *)(void *)(state->bytes + STATE_LATENCY + 4 * (size_t)bucket);
}

static uint32_t bucket_load(const shard_state *state, unsigned bucket) {
    return atomic_load_explicit(bucket_at(state, bucket), memory_order_relaxed);
}

static unsigned bucket_of(uint64_t ns) {
    unsigned octave;
    unsigned bucket;

    if (ns < (uint64_t)1 << LATENCY_SHORTEST_BITS) {
        return 0;
    }
    octave = 63u - (unsigned)__builtin_clzll(ns);
    bucket = 2 * (octave - LATENCY_SHORTEST_BITS) + 1 + (unsigned)((ns >> (octave - 1)) & 1);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The first time, in ns, that is longer than those in the bucket. */
static uint64_t bucket_end(unsigned bucket) {
    uint64_t octave = (uint64_t)1 << (LATENCY_SHORTEST_BITS + bucket / 2);

    return bucket % 2 == 0 ? octave : octave + octave / 2;
}

static void halve(shard_state *state) {
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        atomic_store_explicit(bucket_at(state, i), bucket_load(state, i) / 2, memory_order_relaxed);
    }
}

void latency_add(shard_state *state, uint64_t ns, uint32_t weight) {
    unsigned bucket = bucket_of(ns);
    uint64_t lowest = state_load(state, STATE_LATENCY_MIN_NS);

    assert(weight > 0 && weight <= LATENCY_SAMPLE);
    ns = ns > 0 ? ns : 1; /* 0 says that nothing was measured */
    state_bump(state, STATE_LATENCY_NS, ns * weight);
    state_bump(state, STATE_LATENCY_COUNT, weight);
    if (lowest == 0 || ns < lowest) {
        state_store(state, STATE_LATENCY_MIN_NS, ns);
    }
    if (ns > state_load(state, STATE_LATENCY_MAX_NS)) {
        state_store(state, STATE_LATENCY_MAX_NS, ns);
    }
    if (bucket_load(state, bucket) >= LATENCY_BUCKET_MAX) {
        halve(state);
    }
    atomic_store_explicit(bucket_at(state, bucket), bucket_load(state, bucket) + weight,
                          memory_order_relaxed);
}

uint64_t latency_quantile(const shard_state *state, unsigned percent) {
    uint64_t highest = state_load(state, STATE_LATENCY_MAX_NS);
    uint64_t total = 0;
    uint64_t below = 0;
    uint64_t end;
    unsigned i = 0;

    for (unsigned bucket = 0; bucket < LATENCY_BUCKETS; bucket++) {
        total += bucket_load(state, bucket);
    }
    if (total == 0) {
        return 0;
    }
    for (i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        below += bucket_load(state, i);
        if (below * 100 >= total * percent && below > 0) {
            break;
        }
    }
    end = i + 1 < LATENCY_BUCKETS ? bucket_end(i) : highest;
    return end < highest ? end : highest;
}
