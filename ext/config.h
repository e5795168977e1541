/* config.h -- comet_config(log, name [, value]) and the table comet_config(log). */
#ifndef COMET_EXT_CONFIG_H
#define COMET_EXT_CONFIG_H

#include "connection.h"

int config_register(connection *used);

#endif
