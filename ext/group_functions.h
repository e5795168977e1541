/* group_functions.h -- comet_ack, comet_ack_range, comet_seek, comet_lag, comet_forget, and the table
** comet_groups. */
#ifndef COMET_EXT_GROUP_FUNCTIONS_H
#define COMET_EXT_GROUP_FUNCTIONS_H

#include "connection.h"

int group_functions_register(connection *used);

#endif
