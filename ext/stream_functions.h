/* stream_functions.h -- comet_pick_shard, comet_shard_name, comet_shard_id. */
#ifndef COMET_EXT_STREAM_FUNCTIONS_H
#define COMET_EXT_STREAM_FUNCTIONS_H

#include "connection.h"

int stream_functions_register(connection *used);

#endif
