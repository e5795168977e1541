/* connection.c -- see connection.h. */
#define _XOPEN_SOURCE 700 /* nftw */
#include "connection.h"

#include <assert.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "group_place.h"
#include "patience.h"
#include "report.h"

/* Directories that nftw() may hold open at once; deeper trees are walked all the same. */
#define REMOVE_DESCRIPTORS_MAX 8

connection *connection_new(sqlite3 *db, bool readonly) {
    connection *made = sqlite3_malloc64(sizeof *made);

    if (made != NULL) {
        memset(made, 0, sizeof *made);
        made->db = db;
        made->readonly = readonly;
        made->references = 1;
        made->process = getpid();
    }
    return made;
}

connection *connection_share(connection *shared) {
    shared->references++;
    return shared;
}

static void close_shards(open_log *log) {
    while (log->shards != NULL) {
        open_shard *shard = log->shards;

        assert(shard->txn == NULL);
        log->shards = shard->next;
        while (shard->groups != NULL) {
            open_group *group = shard->groups;

            shard->groups = group->next;
            comet_group_close(group->group);
            sqlite3_free(group);
        }
        comet_shard_close(shard->shard);
        sqlite3_free(shard);
    }
}

static void close_log(open_log *log) {
    close_shards(log);
    comet_log_close(log->log);
    sqlite3_free(log->known);
    sqlite3_free(log->directory);
    sqlite3_free(log);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    (void)info;
    (void)kind;
    (void)walk;
    remove(path); /* what cannot be removed stays in the temporary directory: nobody to tell */
    return 0;
}

void connection_release(void *shared) {
    connection *used = shared;

    assert(used->references > 0);
    if (--used->references > 0) {
        return;
    }
    while (used->logs != NULL) {
        open_log *log = used->logs;

        used->logs = log->next;
        close_log(log);
    }
    if (used->private_directory != NULL && used->process == getpid()) {
        nftw(used->private_directory, remove_entry, REMOVE_DESCRIPTORS_MAX, FTW_DEPTH | FTW_PHYS);
    }
    sqlite3_free(used->private_directory);
    sqlite3_free(used->transaction.acks);
    group_place_free(used->place);
    sqlite3_free(used);
}

void connection_protect(const connection *used) {
    if (!used->trusts_schema) {
        sqlite3_vtab_config(used->db, SQLITE_VTAB_DIRECTONLY);
    }
}

bool connection_is_utf8(const connection *used) {
    sqlite3_stmt *statement = NULL;
    bool utf8 = true;

    if (sqlite3_prepare_v2(used->db, "PRAGMA encoding", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        const char *name = (const char *)sqlite3_column_text(statement, 0);

        utf8 = name != NULL && strcmp(name, "UTF-8") == 0;
    }
    sqlite3_finalize(statement);
    return utf8;
}

/* ---- Tables by name -------------------------------------------------------------------------- */

void connection_add_table(connection *used, named_table *table) {
    used->tables_epoch++;
    table->next = used->tables;
    used->tables = table;
}

void connection_remove_table(connection *used, named_table *table) {
    named_table **link = &used->tables;

    while (*link != NULL && *link != table) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        used->tables_epoch++;
        *link = table->next;
    }
}

/* `reference` is "name" or "schema.name". */
static bool is_called(const named_table *table, const char *reference) {
    size_t schema_length = strlen(table->schema);

    if (sqlite3_stricmp(reference, table->name) == 0) {
        return true;
    }
    return sqlite3_strnicmp(reference, table->schema, (int)schema_length) == 0 &&
           reference[schema_length] == '.' &&
           sqlite3_stricmp(reference + schema_length + 1, table->name) == 0;
}

/* Where several schemas have a table of that name, temp goes first, as for SQLite, then main. */
static int schema_rank(const named_table *table) {
    if (sqlite3_stricmp(table->schema, "temp") == 0) {
        return 0;
    }
    return sqlite3_stricmp(table->schema, "main") == 0 ? 1 : 2;
}

static const named_table *find_connected(const connection *used, const char *reference) {
    const named_table *found = NULL;

    for (const named_table *table = used->tables; table != NULL; table = table->next) {
        if (is_called(table, reference) &&
            (found == NULL || schema_rank(table) < schema_rank(found))) {
            found = table;
        }
    }
    return found;
}

/* SQLite connects a virtual table when a statement first names it; so name it. */
static void connect_by_name(connection *used, const char *schema, const char *name) {
    sqlite3_stmt *statement = NULL;
    char *sql;

    if (sqlite3_table_column_metadata(used->db, schema, name, NULL, NULL, NULL, NULL, NULL, NULL) !=
        SQLITE_OK) {
        return;
    }
    sql = schema != NULL ? sqlite3_mprintf("SELECT 1 FROM \"%w\".\"%w\"", schema, name)
                         : sqlite3_mprintf("SELECT 1 FROM \"%w\"", name);
    if (sql != NULL) {
        sqlite3_prepare_v2(used->db, sql, -1, &statement, NULL);
    }
    sqlite3_finalize(statement);
    sqlite3_free(sql);
}

static const named_table *find_table(connection *used, const char *reference) {
    const named_table *found = find_connected(used, reference);
    const char *dot = strchr(reference, '.');

    if (found != NULL || strchr(reference, '/') != NULL) {
        return found;
    }
    connect_by_name(used, NULL, reference);
    if (dot != NULL) {
        char *schema = sqlite3_mprintf("%.*s", (int)(dot - reference), reference);

        if (schema != NULL) {
            connect_by_name(used, schema, dot + 1);
        }
        sqlite3_free(schema);
    }
    return find_connected(used, reference);
}

/* ---- Directories ----------------------------------------------------------------------------- */

/* The main database's file, or NULL for :memory: and temporary databases. */
static const char *database_file(const connection *used) {
    const char *file = sqlite3_db_filename(used->db, "main");

    return file != NULL && file[0] != '\0' ? file : NULL;
}

/* A name that nobody can guess, so that nobody can have made it before us. */
static const char *private_directory(connection *used) {
    if (used->private_directory == NULL) {
        const char *parent = getenv("TMPDIR");
        sqlite3_uint64 noise[2];

        sqlite3_randomness((int)sizeof noise, noise);
        used->private_directory = sqlite3_mprintf(
            "%s/comet-%016llx%016llx", parent != NULL && parent[0] == '/' ? parent : "/tmp",
            noise[0], noise[1]);
    }
    return used->private_directory;
}

static char *beside_database(const connection *used, const char *text) {
    const char *file = database_file(used);
    const char *slash = file != NULL ? strrchr(file, '/') : NULL;

    if (text[0] == '/' || slash == NULL) {
        return sqlite3_mprintf("%s", text);
    }
    return sqlite3_mprintf("%.*s/%s", (int)(slash - file), file, text);
}

static char *default_directory(connection *used) {
    const char *environment = getenv("COMET_DIR");
    const char *file = database_file(used);

    if (environment != NULL && environment[0] != '\0') {
        return beside_database(used, environment);
    }
    if (file != NULL) {
        return sqlite3_mprintf("%s-comet", file);
    }
    return sqlite3_mprintf("%s", private_directory(used));
}

comet_status connection_directory(connection *used, const char *text, char **directory,
                                  comet_error *error) {
    char *path;

    if (text != NULL && text[0] == '\0') {
        return failure_set(error, COMET_INVALID,
                           "the log is an empty text: give a directory or a comet table's name, "
                           "or leave it out for the default log");
    }
    path = text != NULL ? beside_database(used, text) : default_directory(used);
    if (path == NULL) {
        return failure_no_memory(error);
    }
    *directory = path;
    return COMET_OK;
}

comet_status connection_resolve(connection *used, const char *reference, log_target *target,
                                comet_error *error) {
    const named_table *table = reference != NULL ? find_table(used, reference) : NULL;

    target->shard = 0;
    if (table == NULL) {
        return connection_directory(used, reference, &target->directory, error);
    }
    target->shard = table->shard;
    target->directory = sqlite3_mprintf("%s", table->directory);
    return target->directory != NULL ? COMET_OK : failure_no_memory(error);
}

void log_target_clear(log_target *target) {
    sqlite3_free(target->directory);
    target->directory = NULL;
}

/* ---- Handles --------------------------------------------------------------------------------- */

/* A directory that may only be read is opened for reading; who writes is told later. */
static comet_status open_directory(const connection *used, const char *directory, bool create,
                                   comet_log **log, comet_error *error) {
    comet_status status;

    if (used->readonly) {
        return comet_log_open(directory, COMET_OPEN_READONLY, NULL, log, error);
    }
    status = comet_log_open(directory, create ? COMET_OPEN_CREATE : 0, NULL, log, error);
    if (status == COMET_READONLY && !create) {
        status = comet_log_open(directory, COMET_OPEN_READONLY, NULL, log, error);
    }
    return status;
}

comet_status connection_log(connection *used, const char *directory, bool create, open_log **log,
                            comet_error *error) {
    open_log *opened;
    comet_status status;

    for (opened = used->logs; opened != NULL; opened = opened->next) {
        if (strcmp(opened->directory, directory) == 0) {
            *log = opened; /* the core refuses it after a fork */
            return COMET_OK;
        }
    }
    if (used->process != getpid()) {
        return failure_set(error, COMET_MISUSE,
                           "this connection was opened before fork(): open another one in this "
                           "process");
    }
    opened = sqlite3_malloc64(sizeof *opened);
    if (opened == NULL) {
        return failure_no_memory(error);
    }
    memset(opened, 0, sizeof *opened);
    opened->directory = sqlite3_mprintf("%s", directory);
    status = opened->directory == NULL
                 ? failure_no_memory(error)
                 : open_directory(used, directory, create, &opened->log, error);
    if (status != COMET_OK) {
        close_log(opened);
        return status;
    }
    opened->next = used->logs;
    used->logs = opened;
    *log = opened;
    return COMET_OK;
}

/* The same shard may have been reached by another path; it must have one transaction all the
** same. */
static open_shard *find_alias(const connection *used, const comet_shard *shard) {
    for (const open_log *log = used->logs; log != NULL; log = log->next) {
        for (open_shard *opened = log->shards; opened != NULL; opened = opened->next) {
            if (opened->shard == shard) {
                return opened;
            }
        }
    }
    return NULL;
}

static comet_status adopt_shard(connection *used, open_log *log, comet_shard *shard,
                                open_shard **result, comet_error *error) {
    open_shard *opened = find_alias(used, shard);

    if (opened != NULL) {
        comet_shard_close(shard);
        *result = opened;
        return COMET_OK;
    }
    opened = sqlite3_malloc64(sizeof *opened);
    if (opened == NULL) {
        comet_shard_close(shard);
        return failure_no_memory(error);
    }
    memset(opened, 0, sizeof *opened);
    opened->shard = shard;
    opened->id = comet_shard_id(shard);
    opened->next = log->shards;
    log->shards = opened;
    *result = opened;
    return COMET_OK;
}

comet_status connection_shard(connection *used, const char *directory, uint32_t id, bool create,
                              open_shard **shard, comet_error *error) {
    patience waiting = patience_for(used->db);
    open_log *log;
    comet_shard *handle = NULL;
    comet_status status = connection_log(used, directory, create, &log, error);

    if (status != COMET_OK) {
        return status;
    }
    for (open_shard *opened = log->shards; opened != NULL; opened = opened->next) {
        if (opened->id == id) {
            *shard = opened;
            return COMET_OK;
        }
    }
    do {
        status = comet_shard_open(log->log, id, create && !used->readonly, &handle, error);
    } while (status == COMET_BUSY && patience_nap(&waiting));
    if (status != COMET_OK) {
        return status;
    }
    return adopt_shard(used, log, handle, shard, error);
}

/* ---- Discovery ------------------------------------------------------------------------------- */

comet_status connection_discover(open_log *log, comet_error *error) {
    uint32_t *ids = NULL;
    size_t count = 0;
    size_t old = 0;
    known_shard *known;
    comet_status status = comet_log_shards(log->log, &ids, &count, error);

    if (status != COMET_OK) {
        return status;
    }
    known = sqlite3_malloc64((count + 1) * sizeof *known);
    if (known == NULL) {
        comet_free(ids);
        return failure_no_memory(error);
    }
    for (size_t i = 0; i < count; i++) {
        while (old < log->known_count && log->known[old].id < ids[i]) {
            old++;
        }
        known[i].id = ids[i];
        known[i].shard =
            old < log->known_count && log->known[old].id == ids[i] ? log->known[old].shard : NULL;
    }
    comet_free(ids);
    sqlite3_free(log->known);
    log->known = known;
    log->known_count = count;
    return COMET_OK;
}

comet_status connection_known_shard(connection *used, open_log *log, known_shard *known,
                                    comet_error *error) {
    if (known->shard != NULL) {
        return COMET_OK;
    }
    return connection_shard(used, log->directory, known->id, false, &known->shard, error);
}

/* ---- Groups ------------------------------------------------------------------------------------ */

comet_status connection_group(open_shard *shard, const char *name, size_t size, open_group **group,
                              comet_error *error) {
    open_group *opened;
    comet_status status;

    for (opened = shard->groups; opened != NULL; opened = opened->next) {
        if (strlen(opened->name) == size && memcmp(opened->name, name, size) == 0) {
            *group = opened;
            return COMET_OK;
        }
    }
    opened = sqlite3_malloc64(sizeof *opened);
    if (opened == NULL) {
        return failure_no_memory(error);
    }
    memset(opened, 0, sizeof *opened);
    status = comet_group_open(shard->shard, name, size, &opened->group, error);
    if (status != COMET_OK) {
        sqlite3_free(opened);
        return status;
    }
    memcpy(opened->name, name, size);
    opened->shard = shard;
    opened->next = shard->groups;
    shard->groups = opened;
    *group = opened;
    return COMET_OK;
}
