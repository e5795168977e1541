/* acks.h -- acknowledgements, at once or with the transaction.
**
** Decides: when an acknowledgement takes effect, and where the group stands until then.
**
**     autocommit, position in offsets.state only    at once
**     BEGIN ... COMMIT                              staged; at COMMIT
**     position in the database (positions.h)        staged; with the database's commit
**
** A staged one is a row here with the number of savepoints that were open.  xSync makes the
** entries durable (unless sync=off) and writes positions into the database; xCommit, when that is committed, brings offsets.state up to it.  Death between
** the two leaves offsets.state behind; whoever uses the table next brings it forward.
**
** A function hears nothing of COMMIT, so it makes a virtual table take part in the transaction: an
** INSERT of NULLs into comet_consumer, which means nothing else.
*/
#ifndef COMET_EXT_ACKS_H
#define COMET_EXT_ACKS_H

#include <stdbool.h>

#include "comet.h"
#include "connection.h"
#include "positions.h"

typedef enum { ACK_FORWARD, ACK_PUT, ACK_REMOVE } ack_kind;

/* A group, and where its position is kept. */
typedef struct ack_place {
    open_group *group;
    const named_table *table; /* the comet_consumer that keeps it in its database, else NULL */
} ack_place;

/* Where the group stands for this connection; info is adjusted to what is staged or in the database. */
comet_status acks_describe(connection *used, const ack_place *place, comet_group_info *info,
                           comet_error *error);

/* Whether an acknowledgement of now must be staged; else the core is told at once. */
bool acks_are_staged(const connection *used, const ack_place *place);

/* Move, put or remove when the transaction commits; `position` is checked already. */
comet_status acks_stage(connection *used, const ack_place *place, ack_kind kind, uint64_t position,
                        comet_error *error);

/* Bring offsets.state up to what the database says, which may have survived alone. */
comet_status acks_catch_up(const ack_place *place, comet_error *error);

/* Whether something is staged that belongs to `table`. */
bool acks_depend_on(const connection *used, const named_table *table);

/* For transaction.c, as its functions of the same names. */
comet_status acks_prepare(connection *used, comet_error *error);
void acks_publish(connection *used);
void acks_forget(connection *used);
void acks_release(connection *used, int level);
void acks_rollback_to(connection *used, int level);

#endif
