/* sha256.h -- what other programs' digests are compared with. */
#ifndef SHA256_H
#define SHA256_H

#include <stddef.h>

/* The first `digits` (at most 64) hexadecimal digits of SHA-256, and a NUL. */
void sha256_hex(const void *data, size_t size, size_t digits, char *hex);

#endif
