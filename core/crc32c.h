/* crc32c.h -- CRC-32C (Castagnoli, as in iSCSI and ext4), as fast as the processor can.
**
** Decides: which implementation runs on this machine.  All give the same number: polynomial
** 0x1EDC6F41 bit-reflected, starting from and finally inverted with 0xFFFFFFFF;
** of "123456789" it is 0xE3069283, of nothing 0.
*/
#ifndef COMET_CORE_CRC32C_H
#define COMET_CORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of a text whose beginning has the checksum `crc` (0 for none) and whose next `size`
** bytes are `data`.  `data` may be NULL when `size` is 0.  Safe from any thread. */
uint32_t crc32c_extend(uint32_t crc, const void *data, size_t size);

/* The same without special instructions; for tests and other machines. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t size);

/* Which implementation crc32c_extend() uses here: "sse4.2", "armv8" or "portable". */
const char *crc32c_name(void);

#endif
