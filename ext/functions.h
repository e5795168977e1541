/* functions.h -- the scalar functions that belong to no table of their own. */
#ifndef COMET_EXT_FUNCTIONS_H
#define COMET_EXT_FUNCTIONS_H

#include "connection.h"

int functions_register(connection *used);

#endif
