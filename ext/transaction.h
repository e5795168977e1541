/* transaction.h -- SQLite's transactions, as the connection's shards follow them.
**
** Decides: what a virtual table's xBegin ... xRollbackTo mean.  SQLite calls them for every
** participating table, but a transaction is one thing of the whole connection: each call here acts
** on all shards that the connection writes, and repeating it changes nothing.  So the first xCommit
** publishes everything and the others find nothing left to do.
**
**     xSync    prepares: all that can fail.  COMMIT may still fail afterwards (BUSY), go on
**              inserting and prepare again.
**     xCommit  publishes; cannot fail, SQLite would not hear of it.
**
** A shard's core transaction begins with its first INSERT, maybe inside savepoints.  It is then
** told of all levels that are open, so that rolling back to any of them takes back everything;
** this is also what SQLite needs that announces only the deepest level to a table that joins late,
** and may then roll back to level 0.
*/
#ifndef COMET_EXT_TRANSACTION_H
#define COMET_EXT_TRANSACTION_H

#include <stdbool.h>

#include "comet.h"
#include "connection.h"

/* A virtual table takes part (xBegin), or does no more.  *joined is the table's own mark. */
void transaction_join(connection *used, bool *joined);
void transaction_leave(connection *used, bool *joined);

/* Whether entries would be left that no table could commit, if the table with this mark went. */
bool transaction_depends_on(const connection *used, bool joined);

/* Become the writer of `shard` unless this connection is already.  While another writer holds it,
** waits as long as PRAGMA busy_timeout says; then COMET_BUSY. */
comet_status transaction_begin(connection *used, open_shard *shard, comet_error *error);

comet_status transaction_prepare(connection *used, comet_error *error);
void transaction_publish(connection *used);
void transaction_rollback(connection *used);

comet_status transaction_savepoint(connection *used, int level, comet_error *error);
void transaction_release(connection *used, int level);
void transaction_rollback_to(connection *used, int level);

#endif
