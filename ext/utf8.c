/* utf8.c -- see utf8.h.
**
** Telemetry is nearly always plain ASCII, so eight bytes are judged at a time until one of them is
** not; only from there on characters are taken apart, until the text is plain again.
*/
#include "utf8.h"

#include <stdint.h>
#include <string.h>

#define PLAIN_BYTES_MAX 4096u /* longer data is judged from its beginning, to stop early */
#define EVERY_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

static uint64_t load_word(const unsigned char *bytes) {
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Not 0 where a byte is not ASCII, or NUL: taking 1 from each byte sets the high bit of a 0. */
static uint64_t odd_bytes(uint64_t word) {
    return (word | (word - EVERY_BYTE(0x01))) & EVERY_BYTE(0x80);
}

/* The length of the prefix, in whole words, that is ASCII without NUL. */
static size_t ascii_words(const unsigned char *bytes, size_t size) {
    size_t position = 0;

    while (size - position >= sizeof(uint64_t) && odd_bytes(load_word(bytes + position)) == 0) {
        position += sizeof(uint64_t);
    }
    return position;
}

/* All of it, without a branch a word; the last word may overlap the one before. */
static bool is_plain(const unsigned char *bytes, size_t size) {
    uint64_t odd;

    if (size < sizeof(uint64_t)) {
        return false; /* not worth it: the slow way is as fast */
    }
    odd = odd_bytes(load_word(bytes + size - sizeof(uint64_t)));
    for (size_t at = 0; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t)) {
        odd |= odd_bytes(load_word(bytes + at));
    }
    return odd == 0;
}

static bool continues(const unsigned char *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if ((bytes[i] & 0xc0u) != 0x80u) {
            return false;
        }
    }
    return true;
}

/* The length of the character at `bytes`, of which `size` >= 1 are there; 0 when it is none. */
static size_t character_length(const unsigned char *bytes, size_t size) {
    unsigned lead = bytes[0];
    unsigned second = size > 1 ? bytes[1] : 0;
    size_t length;

    if (lead < 0x80) {
        return lead != 0 ? 1 : 0;
    }
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
    } else {
        return 0;
    }
    if (size < length || !continues(bytes + 1, length - 1)) {
        return 0;
    }
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90)) {
        return 0; /* overlong */
    }
    if ((lead == 0xed && second > 0x9f) || (lead == 0xf4 && second > 0x8f)) {
        return 0; /* a surrogate; beyond Unicode */
    }
    return length;
}

bool utf8_is_text(const void *data, size_t size) {
    const unsigned char *bytes = data;
    size_t position = 0;

    if (size <= PLAIN_BYTES_MAX && is_plain(bytes, size)) {
        return true;
    }
    while (position < size) {
        size_t length = ascii_words(bytes + position, size - position);

        if (length == 0) {
            length = character_length(bytes + position, size - position);
            if (length == 0) {
                return false;
            }
        }
        position += length;
    }
    return true;
}
