/* integrity.c -- see integrity.h. */
#include "integrity.h"

#include "visit.h"

#define FINDINGS_MAX 20 /* lines that are shown */
#define QUICK_CHECK 1   /* in xIntegrity's flags: PRAGMA quick_check */
#define WHERE_BYTES 64  /* "shard <number>, <file>: " */

typedef struct inspection {
    const char *schema;
    const char *name;
    shard_range shards;
    bool quick;
    sqlite3_str *text;
    unsigned count;
} inspection;

static void add_finding(inspection *made, const char *where, const char *why) {
    if (made->count < FINDINGS_MAX) {
        sqlite3_str_appendf(made->text, "%scomet table %s.%s: %s%s", made->count > 0 ? "\n" : "",
                            made->schema, made->name, where, why);
    }
    made->count++;
}

static void add_shard(comet_shard *shard, uint32_t id, const comet_error *failure, void *context) {
    inspection *made = context;
    comet_segment_check *checks = NULL;
    size_t count = 0;
    comet_error error;
    comet_status status;

    if (id < made->shards.first || id > made->shards.last) {
        return;
    }
    if (shard == NULL) {
        add_finding(made, "", failure->message);
        return;
    }
    status = made->quick ? comet_shard_verify_files(shard, &checks, &count, &error)
                         : comet_shard_verify(shard, &checks, &count, &error);
    if (status != COMET_OK) {
        add_finding(made, "", error.message);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!checks[i].ok) {
            char where[WHERE_BYTES];
            sqlite3_snprintf((int)sizeof where, where, "shard %u, %s: ", id, checks[i].file);
            add_finding(made, where, checks[i].why);
        }
    }
    comet_free(checks);
}

int integrity_check(connection *used, const char *directory, shard_range shards, const char *schema,
                    const char *name, int flags, char **findings) {
    inspection made = {schema, name, shards, (flags & QUICK_CHECK) != 0, sqlite3_str_new(used->db),
                       0};
    comet_error error;
    int rc;

    if (visit_shards(used, directory, add_shard, &made, &error) != COMET_OK) {
        add_finding(&made, "", error.message);
    }
    if (made.count > FINDINGS_MAX) {
        sqlite3_str_appendf(made.text,
                            "\n... and %u more: SELECT * FROM comet_verify('%q') WHERE NOT ok",
                            made.count - FINDINGS_MAX, directory);
    }
    rc = sqlite3_str_errcode(made.text);
    *findings = sqlite3_str_finish(made.text); /* NULL where nothing was added */
    return rc;
}
