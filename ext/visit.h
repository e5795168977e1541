/* visit.h -- every shard of a log in turn, for tables and functions that show them all. */
#ifndef COMET_EXT_VISIT_H
#define COMET_EXT_VISIT_H

#include "connection.h"

/* A shard that cannot be opened is NULL, and *failure says why. */
typedef void shard_visitor(comet_shard *shard, uint32_t id, const comet_error *failure,
                           void *context);

/* Visit all shards of the log in `directory`, in order; each is open during its visit only. */
comet_status visit_shards(connection *used, const char *directory, shard_visitor *visit,
                          void *context, comet_error *error);

#endif
