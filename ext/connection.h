/* connection.h -- what comet keeps for one database connection.
**
** Decides: which log a reference means, which handles of the core a connection holds, and until
** when: a log or shard is opened once per connection and stays open until the connection closes. 
** All comet tables and functions of a connection share these handles, and with them the
** connection's transaction (transaction.h).
**
** A log reference is the name of a comet table of this connection ('events', 'main.events'), else a
** directory; a relative one is relative to the main database file's directory, or for :memory: to
** the working directory.  Left out, it is $COMET_DIR, else <database file>-comet, else a private
** directory below $TMPDIR (or /tmp) that is removed when the connection closes.
**
** Threads: as SQLite's connection, one at a time.
*/
#ifndef COMET_EXT_CONNECTION_H
#define COMET_EXT_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "comet.h"
#include "sqlite.h"

/* One group in one shard. */
typedef struct open_group {
    comet_group *group;
    struct open_shard *shard;
    char name[COMET_GROUP_BYTES_MAX + 1];
    struct open_group *next; /* of the same shard */
} open_group;

/* One shard as this connection uses it. */
typedef struct open_shard {
    comet_shard *shard;
    open_group *groups;
    comet_txn *txn; /* this connection's transaction on it, NULL when there is none */
    uint32_t id;
    struct open_shard *next;         /* of the same log */
    struct open_shard *next_writing; /* of those with a txn */
} open_shard;

typedef struct open_log {
    char *directory; /* as the reference resolves; the key */
    comet_log *log;
    open_shard *shards;
    struct known_shard *known; /* of connection_discover(), by number */
    size_t known_count;
    struct open_log *next;
} open_log;

/* A shard that stands in a log's directory; opened when first needed. */
typedef struct known_shard {
    uint32_t id;
    open_shard *shard; /* NULL: not opened yet */
} known_shard;

/* A comet table of a schema, known by name.  Belongs to the virtual table that registered it. */
typedef struct named_table {
    char *schema;
    char *name;
    char *directory;
    uint32_t shard;
    const char *group;           /* of a comet_consumer, else NULL */
    struct positions *positions; /* of a comet_consumer in a database file, else NULL */
    struct named_table *next;
} named_table;

/* What the transaction does to a group when it commits; acks.c. */
typedef struct staged_ack staged_ack;

/* The connection's transaction; only transaction.c looks inside. */
typedef struct transaction {
    open_shard *writing; /* the shards with a txn */
    int depth;           /* savepoints that are open: levels 0 .. depth-1 */
    int participants;    /* virtual tables between xBegin and xCommit or xRollback */
    staged_ack *acks;    /* in the order in which they were given */
    size_t ack_count;
    size_t ack_capacity;
} transaction;

typedef struct connection {
    sqlite3 *db;
    int references; /* modules, functions and virtual tables */
    bool readonly;  /* sqlite3_cometreadonly_init */
    bool trusts_schema;
    pid_t process; /* that opened it: after a fork, the logs are that one's */
    open_log *logs;
    named_table *tables;
    unsigned tables_epoch;     /* changes when a table comes or goes */
    struct group_place *place; /* where the last acknowledgement went; group_place.c */
    char *private_directory; /* of the default log of a :memory: database, once it was asked for */
    transaction transaction;
} connection;

/* A new connection with one reference, or NULL when out of memory. */
connection *connection_new(sqlite3 *db, bool readonly);
connection *connection_share(connection *shared);

/* Give a reference back; the last one closes all handles.  As destructor for SQLite, hence void
** *. */
void connection_release(void *shared);

/* To be called in xConnect: the table may not be used by views and triggers, which may come from a
** hostile database file, unless the application trusts the schema. */
void connection_protect(const connection *used);

/* Whether TEXT values come as UTF-8. */
bool connection_is_utf8(const connection *used);

void connection_add_table(connection *used, named_table *table);
void connection_remove_table(connection *used, named_table *table);

/* The absolute path, or the one relative to the working directory, that `text` means; without text
** the default log's.  Release *directory with sqlite3_free(). */
comet_status connection_directory(connection *used, const char *text, char **directory,
                                  comet_error *error);

/* What a log reference means; `reference` may be NULL. */
typedef struct log_target {
    char *directory;
    uint32_t shard; /* 0 unless the reference is a table of one shard */
} log_target;

comet_status connection_resolve(connection *used, const char *reference, log_target *target,
                                comet_error *error);
void log_target_clear(log_target *target);

/* The connection's handle of the log in `directory`; with `create` the directory is made where it
** is missing.  Valid as long as the connection. */
comet_status connection_log(connection *used, const char *directory, bool create, open_log **log,
                            comet_error *error);

/* The connection's handle of one shard; with `create` log and shard are made where missing. */
comet_status connection_shard(connection *used, const char *directory, uint32_t id, bool create,
                              open_shard **shard, comet_error *error);

/* Look which shards there are now, in any process: log->known, ascending. */
comet_status connection_discover(open_log *log, comet_error *error);

/* The handle of one of them.  COMET_NOT_FOUND: it is gone meanwhile. */
comet_status connection_known_shard(connection *used, open_log *log, known_shard *known,
                                    comet_error *error);

/* The connection's handle of one group; leaves no trace on disk. */
comet_status connection_group(open_shard *shard, const char *name, size_t size, open_group **group,
                              comet_error *error);

#endif
