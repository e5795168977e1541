/* positions.c -- see positions.h. */
#include "positions.h"

#include <string.h>

#include "report.h"

typedef enum { READ, WRITE, ERASE, STATEMENT_COUNT } statement_kind;

struct positions {
    sqlite3 *db;
    char *schema;
    char *name; /* of the virtual table */
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

positions *positions_new(sqlite3 *db, const char *schema, const char *name) {
    positions *made = sqlite3_malloc64(sizeof *made);

    if (made == NULL) {
        return NULL;
    }
    memset(made, 0, sizeof *made);
    made->db = db;
    made->schema = sqlite3_mprintf("%s", schema);
    made->name = sqlite3_mprintf("%s", name);
    if (made->schema == NULL || made->name == NULL) {
        positions_free(made);
        return NULL;
    }
    return made;
}

static void forget_statements(positions *kept) {
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(kept->statements[i]);
        kept->statements[i] = NULL;
    }
}

void positions_free(positions *kept) {
    if (kept != NULL) {
        forget_statements(kept);
        sqlite3_free(kept->schema);
        sqlite3_free(kept->name);
        sqlite3_free(kept);
    }
}

/* Takes the text over. */
static comet_status execute(positions *kept, char *sql, const char *what, comet_error *error) {
    int rc = sql == NULL ? SQLITE_NOMEM : sqlite3_exec(kept->db, sql, NULL, NULL, NULL);

    sqlite3_free(sql);
    return rc == SQLITE_OK ? COMET_OK : failure_from_sqlite(error, kept->db, rc, what);
}

comet_status positions_create(positions *kept, comet_error *error) {
    return execute(kept,
                   sqlite3_mprintf("CREATE TABLE IF NOT EXISTS \"%w\".\"%w_" POSITIONS_SUFFIX "\""
                                   "(shard INTEGER PRIMARY KEY, position INTEGER NOT NULL)",
                                   kept->schema, kept->name),
                   "make the table of positions", error);
}

comet_status positions_drop(positions *kept, comet_error *error) {
    forget_statements(kept);
    return execute(kept,
                   sqlite3_mprintf("DROP TABLE IF EXISTS \"%w\".\"%w_" POSITIONS_SUFFIX "\"",
                                   kept->schema, kept->name),
                   "drop the table of positions", error);
}

comet_status positions_rename(positions *kept, const char *name, comet_error *error) {
    char *copy = sqlite3_mprintf("%s", name);
    comet_status status;

    if (copy == NULL) {
        return failure_no_memory(error);
    }
    forget_statements(kept);
    status = execute(kept,
                     sqlite3_mprintf("ALTER TABLE \"%w\".\"%w_" POSITIONS_SUFFIX "\""
                                     " RENAME TO \"%w_" POSITIONS_SUFFIX "\"",
                                     kept->schema, kept->name, name),
                     "rename the table of positions", error);
    if (status != COMET_OK) {
        sqlite3_free(copy);
        return status;
    }
    sqlite3_free(kept->name);
    kept->name = copy;
    return COMET_OK;
}

static comet_status statement_of(positions *kept, statement_kind kind, uint32_t shard,
                                 sqlite3_stmt **statement, comet_error *error) {
    static const char *const texts[] = {
        "SELECT position FROM \"%w\".\"%w_" POSITIONS_SUFFIX "\" WHERE shard = ?1",
        "REPLACE INTO \"%w\".\"%w_" POSITIONS_SUFFIX "\"(shard, position) VALUES (?1, ?2)",
        "DELETE FROM \"%w\".\"%w_" POSITIONS_SUFFIX "\" WHERE shard = ?1"};
    int rc = SQLITE_OK;

    if (kept->statements[kind] == NULL) {
        char *sql = sqlite3_mprintf(texts[kind], kept->schema, kept->name);

        rc = sql == NULL ? SQLITE_NOMEM
                         : sqlite3_prepare_v3(kept->db, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                              &kept->statements[kind], NULL);
        sqlite3_free(sql);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_bind_int64(kept->statements[kind], 1, (sqlite3_int64)shard);
    }
    *statement = kept->statements[kind];
    return rc == SQLITE_OK ? COMET_OK
                           : failure_from_sqlite(error, kept->db, rc, "use the table of positions");
}

comet_status positions_read(positions *kept, uint32_t shard, bool *found, uint64_t *position,
                            comet_error *error) {
    sqlite3_stmt *statement;
    comet_status status = statement_of(kept, READ, shard, &statement, error);
    int rc;

    if (status != COMET_OK) {
        return status;
    }
    rc = sqlite3_step(statement);
    *found = rc == SQLITE_ROW;
    if (*found) {
        int64_t stored = sqlite3_column_int64(statement, 0);

        *position = stored > 0 ? (uint64_t)stored : 0;
    }
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        status = failure_from_sqlite(error, kept->db, rc, "read the table of positions");
    }
    sqlite3_reset(statement);
    return status;
}

/* The user's last_insert_rowid() is none of our business. */
static comet_status step_to_end(positions *kept, sqlite3_stmt *statement, comet_error *error) {
    sqlite3_int64 rowid = sqlite3_last_insert_rowid(kept->db);
    int rc = sqlite3_step(statement);
    comet_status status = COMET_OK;

    if (rc != SQLITE_DONE) {
        status = failure_from_sqlite(error, kept->db, rc, "write the table of positions");
    }
    sqlite3_reset(statement);
    sqlite3_set_last_insert_rowid(kept->db, rowid);
    return status;
}

comet_status positions_write(positions *kept, uint32_t shard, uint64_t position,
                             comet_error *error) {
    sqlite3_stmt *statement;
    comet_status status = statement_of(kept, WRITE, shard, &statement, error);

    if (status != COMET_OK) {
        return status;
    }
    sqlite3_bind_int64(statement, 2, (sqlite3_int64)position);
    return step_to_end(kept, statement, error);
}

comet_status positions_erase(positions *kept, uint32_t shard, comet_error *error) {
    sqlite3_stmt *statement;
    comet_status status = statement_of(kept, ERASE, shard, &statement, error);

    return status == COMET_OK ? step_to_end(kept, statement, error) : status;
}

bool positions_are_unsettled(const positions *kept) {
    return sqlite3_txn_state(kept->db, kept->schema) == SQLITE_TXN_WRITE;
}
