/* lines_table.h -- comet_lines(file): the lines of a file as rows. */
#ifndef COMET_EXT_LINES_TABLE_H
#define COMET_EXT_LINES_TABLE_H

#include "connection.h"

int lines_table_register(connection *used);

#endif
