/* positions.h -- the positions of a comet_consumer that are kept in its database.
**
** Decides: where they stand, which is what makes a consumer exact: in the same file as the tables
** that it fills, so that what it has computed and how far it has come are one transaction.
**
**     <name>_position(shard INTEGER PRIMARY KEY, position INTEGER)    one row a shard
*/
#ifndef COMET_EXT_POSITIONS_H
#define COMET_EXT_POSITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "comet.h"
#include "sqlite.h"

typedef struct positions positions;

/* The word that a shadow table's name ends with, without the underscore. */
#define POSITIONS_SUFFIX "position"

/* For table `name` in `schema`; opens nothing yet.  NULL: out of memory. */
positions *positions_new(sqlite3 *db, const char *schema, const char *name);
void positions_free(positions *kept); /* NULL is fine */

comet_status positions_create(positions *kept, comet_error *error);
comet_status positions_drop(positions *kept, comet_error *error);
comet_status positions_rename(positions *kept, const char *name, comet_error *error);

/* The position in `shard`; *found: whether there is one. */
comet_status positions_read(positions *kept, uint32_t shard, bool *found, uint64_t *position,
                            comet_error *error);
comet_status positions_write(positions *kept, uint32_t shard, uint64_t position,
                             comet_error *error);
comet_status positions_erase(positions *kept, uint32_t shard, comet_error *error);

/* Whether a transaction of this connection has changed the schema's tables and not ended. */
bool positions_are_unsettled(const positions *kept);

#endif
