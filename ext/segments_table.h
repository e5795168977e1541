/* segments_table.h -- comet_shards(log) and comet_segments(log): what a log is made of. */
#ifndef COMET_EXT_SEGMENTS_TABLE_H
#define COMET_EXT_SEGMENTS_TABLE_H

#include "connection.h"

int segments_table_register(connection *used);

#endif
