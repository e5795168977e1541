/* group_place.h -- from (log, group, shard) to the handles, quickly.
**
** Decides: what an acknowledgement need not find out again: the last log and group that this
** connection named, and the shards it used of them.
*/
#ifndef COMET_EXT_GROUP_PLACE_H
#define COMET_EXT_GROUP_PLACE_H

#include "acks.h"

typedef struct group_place group_place;

/* Log and group as SQL values; a group of NULL is an error.  Valid until the next call. */
comet_status group_place_find(connection *used, sqlite3_value *log, sqlite3_value *group,
                              group_place **place, comet_error *error);

/* One shard of it; COMET_NOT_FOUND where there is none. */
comet_status group_place_shard(connection *used, group_place *place, uint32_t shard,
                               ack_place *found, comet_error *error);

/* All shards of the log.  Release *ids with comet_free(). */
comet_status group_place_shards(group_place *place, uint32_t **ids, size_t *count,
                                comet_error *error);

void group_place_free(group_place *place); /* NULL is fine */

#endif
