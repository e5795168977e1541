/* fuzz_manifest.c -- index.bin: what can be read can be written, and then reads the same. */
#include "fuzz.h"

#include <string.h>

#include "manifest.h"
#include "memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    manifest first;
    manifest second;
    uint8_t *bytes;
    size_t length;

    manifest_init(&first);
    manifest_init(&second);
    if (manifest_decode(data, size, &first, NULL) != COMET_OK) {
        return 0;
    }
    for (size_t i = 1; i < first.segment_count; i++) {
        FUZZ_CHECK(first.segments[i].sequence > first.segments[i - 1].sequence);
        FUZZ_CHECK(first.segments[i].first_offset >=
                   first.segments[i - 1].first_offset + first.segments[i - 1].entry_count);
    }
    if (manifest_encode(&first, "/log/shard-0001", &bytes, &length, NULL) == COMET_OK) {
        FUZZ_CHECK(manifest_decode(bytes, length, &second, NULL) == COMET_OK);
        FUZZ_CHECK(second.segment_count == first.segment_count);
        FUZZ_CHECK(second.end_offset == first.end_offset);
        for (size_t i = 0; i < first.segment_count; i++) {
            FUZZ_CHECK(second.segments[i].first_offset == first.segments[i].first_offset);
            FUZZ_CHECK(second.segments[i].has_bounds == first.segments[i].has_bounds);
        }
        memory_release(bytes);
        manifest_clear(&second);
    }
    manifest_clear(&first);
    return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *seed, size_t room) {
    manifest_segment segments[3];
    manifest list;
    uint8_t *bytes;
    size_t size;

    if (n > 3) {
        return 0;
    }
    memset(segments, 0, sizeof segments);
    manifest_init(&list);
    list.segments = segments;
    list.segment_count = n;
    for (unsigned i = 0; i < n; i++) {
        segments[i] = (manifest_segment){.sequence = i + 1,
                                         .first_offset = 100 * i,
                                         .entry_count = 100,
                                         .bytes = 5000,
                                         .created_ns = 1,
                                         .written_ns = 2,
                                         .has_bounds = i != 1,
                                         .time_low = 10 * i,
                                         .time_high = 20 + i};
    }
    list.end_offset = 100 * n;
    if (manifest_encode(&list, "/var/lib/comet/shard-0001", &bytes, &size, NULL) != COMET_OK ||
        size > room) {
        return 0;
    }
    memcpy(seed, bytes, size);
    memory_release(bytes);
    return size;
}
