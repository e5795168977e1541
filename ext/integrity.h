/* integrity.h -- what PRAGMA integrity_check and quick_check learn of a comet table.
**
** Decides: that damage, and a log that has gone, are findings and never failures of the PRAGMA (an
** application that checks its database at each start goes on); and that quick_check opens files, but
** reads no data.
*/
#ifndef COMET_EXT_INTEGRITY_H
#define COMET_EXT_INTEGRITY_H

#include "connection.h"

/* The shards that a table shows. */
typedef struct shard_range {
    uint32_t first;
    uint32_t last;
} shard_range;

/* The rest of xIntegrity: `schema`, `name` and `flags` are its own.  *findings is the text to show, a line each;
** it stays NULL where all is well. */
int integrity_check(connection *used, const char *directory, shard_range shards, const char *schema,
                    const char *name, int flags, char **findings);

#endif
