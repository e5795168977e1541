/* stats_table.h -- comet_stats(log) and comet_metrics(log): what a log tells about its work. */
#ifndef COMET_EXT_STATS_TABLE_H
#define COMET_EXT_STATS_TABLE_H

#include "connection.h"

int stats_table_register(connection *used);

#endif
