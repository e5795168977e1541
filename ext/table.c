/* table.c -- see table.h. */
#include "table.h"

#include <assert.h>
#include <string.h>

#include "report.h"
#include "transaction.h"

/* ---- Connecting ------------------------------------------------------------------------------ */

entry_table *table_new(connection *used, size_t size, const char *const *argv, int argc) {
    entry_table *table = sqlite3_malloc64(size);

    assert(size >= sizeof *table);
    if (table == NULL) {
        return NULL;
    }
    memset(table, 0, size);
    table->connection = connection_share(used);
    table->utf8 = connection_is_utf8(used);
    table->eponymous = argc == 3 && strcmp(argv[0], argv[2]) == 0;
    table->self.schema = sqlite3_mprintf("%s", argv[1]);
    table->self.name = sqlite3_mprintf("%s", argv[2]);
    if (table->self.schema == NULL || table->self.name == NULL) {
        table_free(table);
        return NULL;
    }
    return table;
}

void table_free(entry_table *table) {
    if (table->clear != NULL) {
        table->clear(table);
    }
    connection_remove_table(table->connection, &table->self);
    comet_log_close(table->claim);
    sqlite3_free(table->self.schema);
    sqlite3_free(table->self.name);
    sqlite3_free(table->self.directory);
    connection_release(table->connection);
    sqlite3_free(table);
}

comet_status table_configure(entry_table *table, const table_arguments *parsed,
                             comet_error *error) {
    table->self.shard = parsed->shard;
    table->type = parsed->type;
    table->settings = parsed->settings;
    table->has_settings = parsed->has_settings;
    return connection_directory(table->connection, parsed->log, &table->self.directory, error);
}

/* SQLite does not tell xConnect; but then it holds the write lock of the table's schema, which
** merely connecting seldom does. */
bool table_is_creating(const entry_table *table) {
    return sqlite3_txn_state(table->connection->db, table->self.schema) == SQLITE_TXN_WRITE;
}

comet_status table_claim(entry_table *table, bool create, comet_error *error) {
    if (!table->has_settings || table->claim != NULL || table->connection->readonly) {
        return COMET_OK;
    }
    return comet_log_open(table->self.directory, create ? COMET_OPEN_CREATE : 0, &table->settings,
                          &table->claim, error);
}

int table_declare(entry_table *table, const char *columns, sqlite3_vtab **result) {
    sqlite3 *db = table->connection->db;
    int rc = sqlite3_declare_vtab(db, columns);

    if (rc != SQLITE_OK) {
        table_free(table);
        return rc;
    }
    sqlite3_vtab_config(db, SQLITE_VTAB_CONSTRAINT_SUPPORT, 1);
    connection_protect(table->connection);
    if (!table->eponymous) {
        connection_add_table(table->connection, &table->self);
    }
    *result = &table->base;
    return SQLITE_OK;
}

int table_disconnect(sqlite3_vtab *base) {
    entry_table *table = (entry_table *)base;

    transaction_leave(table->connection, &table->joined);
    table_free(table);
    return SQLITE_OK;
}

/* DROP TABLE.  The log stays: a ROLLBACK connects the table again.  A dropped table hears nothing
** of the COMMIT, so it must not be the only one that could commit what this transaction
** inserted. */
int table_destroy(sqlite3_vtab *base) {
    entry_table *table = (entry_table *)base;

    if (transaction_depends_on(table->connection, table->joined)) {
        return report_refusal(&base->zErrMsg, SQLITE_LOCKED,
                              "%s has uncommitted entries: COMMIT before DROP TABLE",
                              table->self.name);
    }
    return table_disconnect(base);
}

int table_rename(sqlite3_vtab *base, const char *name) {
    entry_table *table = (entry_table *)base;
    char *copy = sqlite3_mprintf("%s", name);

    if (copy == NULL) {
        return SQLITE_NOMEM;
    }
    sqlite3_free(table->self.name);
    table->self.name = copy;
    return SQLITE_OK;
}

/* ---- The log --------------------------------------------------------------------------------- */

bool value_is_given(sqlite3_value *value) {
    return value != NULL && sqlite3_value_type(value) != SQLITE_NULL;
}

comet_status table_resolve(entry_table *table, sqlite3_value *log, log_target *target,
                           comet_error *error) {
    const char *reference = NULL;
    comet_status status =
        value_is_given(log) ? value_text(log, "the log", &reference, error) : COMET_OK;

    return status == COMET_OK ? connection_resolve(table->connection, reference, target, error)
                              : status;
}

comet_status table_is_own_log(entry_table *table, sqlite3_value *log, bool *own,
                              comet_error *error) {
    log_target meant = {NULL, 0};
    comet_status status = table_resolve(table, log, &meant, error);

    if (status == COMET_OK) {
        *own = strcmp(meant.directory, table->self.directory) == 0;
        log_target_clear(&meant);
    }
    return status;
}

comet_status table_keep_log(sqlite3_value *log, sqlite3_value **kept, comet_error *error) {
    sqlite3_value_free(*kept);
    *kept = NULL;
    if (!value_is_given(log)) {
        return COMET_OK;
    }
    *kept = sqlite3_value_dup(log);
    return *kept != NULL ? COMET_OK : failure_no_memory(error);
}

comet_status table_give_log(entry_table *table, sqlite3_value *kept, sqlite3_context *context,
                            comet_error *error) {
    char *directory = NULL;
    comet_status status = COMET_OK;

    if (kept != NULL) {
        sqlite3_result_value(context, kept);
    } else if (!table->eponymous) {
        sqlite3_result_text(context, table->self.directory, -1, SQLITE_TRANSIENT);
    } else {
        status = connection_directory(table->connection, NULL, &directory, error);
        if (status == COMET_OK) {
            sqlite3_result_text(context, directory, -1, sqlite3_free);
        }
    }
    return status;
}

/* ---- Transactions ---------------------------------------------------------------------------- */

int table_begin(sqlite3_vtab *base) {
    entry_table *table = (entry_table *)base;

    transaction_join(table->connection, &table->joined);
    return SQLITE_OK;
}

int table_sync(sqlite3_vtab *base) {
    comet_error error;

    if (transaction_prepare(((entry_table *)base)->connection, &error) != COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    return SQLITE_OK;
}

int table_commit(sqlite3_vtab *base) {
    entry_table *table = (entry_table *)base;

    transaction_publish(table->connection);
    transaction_leave(table->connection, &table->joined);
    return SQLITE_OK;
}

int table_rollback(sqlite3_vtab *base) {
    entry_table *table = (entry_table *)base;

    transaction_rollback(table->connection);
    transaction_leave(table->connection, &table->joined);
    return SQLITE_OK;
}

int table_savepoint(sqlite3_vtab *base, int level) {
    comet_error error;

    if (transaction_savepoint(((entry_table *)base)->connection, level, &error) != COMET_OK) {
        return report(&base->zErrMsg, &error);
    }
    return SQLITE_OK;
}

int table_release(sqlite3_vtab *base, int level) {
    transaction_release(((entry_table *)base)->connection, level);
    return SQLITE_OK;
}

int table_rollback_to(sqlite3_vtab *base, int level) {
    transaction_rollback_to(((entry_table *)base)->connection, level);
    return SQLITE_OK;
}
