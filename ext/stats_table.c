/* stats_table.c -- comet_stats(log), a table, and comet_metrics(log), the same as OpenMetrics text.
**
** Decides: how a metric of the core looks to a person and to a scraper.  Both show the same names and
** numbers, in base units: comet_stats' `sync_seconds` of shard 3 is
**
**     # HELP comet_sync_seconds_total Time spent on that.
**     # TYPE comet_sync_seconds_total counter
**     comet_sync_seconds_total{shard="3"} 0.004217381
**
** A counter's family is named with its _total, as Prometheus, its text-file collector and promtool
** read it.  (The letter of OpenMetrics leaves _total to the samples; promtool then misses the help.)
** For the same reason # UNIT, which must repeat the family's last word, stands with gauges only.
**
** A shard that cannot be opened has no metrics; comet_shards says why it cannot.
*/
#include "stats_table.h"

#include <string.h>

#include "report.h"
#include "rowset.h"
#include "values.h"
#include "visit.h"

/* ---- Reading --------------------------------------------------------------------------------- */

/* One shard's metrics, or the log's. */
typedef struct metric_set {
    uint32_t shard;
    bool of_log;
    int64_t *values; /* comet_metric_count() of them */
} metric_set;

typedef struct metric_sets {
    metric_set *sets;
    size_t count;
    size_t capacity;
    bool out_of_memory;
} metric_sets;

static void sets_clear(metric_sets *all) {
    for (size_t i = 0; i < all->count; i++) {
        sqlite3_free(all->sets[i].values);
    }
    sqlite3_free(all->sets);
    memset(all, 0, sizeof *all);
}

/* A set with all values 0, or NULL; the memory that is missing is remembered. */
static metric_set *sets_add(metric_sets *all) {
    size_t bytes = comet_metric_count() * sizeof(int64_t);
    int64_t *values = sqlite3_malloc64(bytes);

    if (all->count == all->capacity && values != NULL) {
        size_t capacity = all->capacity > 0 ? 2 * all->capacity : 16;
        metric_set *grown = sqlite3_realloc64(all->sets, capacity * sizeof *grown);

        if (grown != NULL) {
            all->sets = grown;
            all->capacity = capacity;
        }
    }
    if (values == NULL || all->count == all->capacity) {
        sqlite3_free(values);
        all->out_of_memory = true;
        return NULL;
    }
    memset(values, 0, bytes);
    all->sets[all->count] = (metric_set){.values = values};
    return &all->sets[all->count++];
}

static void add_shard(comet_shard *shard, uint32_t id, const comet_error *failure, void *context) {
    metric_sets *all = context;
    metric_set *set = shard != NULL ? sets_add(all) : NULL;

    (void)failure;
    if (set == NULL) {
        return;
    }
    set->shard = id;
    if (comet_shard_metrics(shard, set->values, NULL) != COMET_OK) {
        sqlite3_free(set->values);
        all->count--;
    }
}

/* All shards', then the log's.  To be cleared, also after a failure. */
static comet_status read_all(connection *used, const char *directory, metric_sets *all,
                             comet_error *error) {
    comet_status status = visit_shards(used, directory, add_shard, all, error);
    open_log *log;
    metric_set *set;

    if (status == COMET_OK) {
        status = connection_log(used, directory, false, &log, error);
    }
    if (status != COMET_OK) {
        return status;
    }
    set = sets_add(all);
    if (all->out_of_memory) {
        return failure_no_memory(error);
    }
    set->of_log = true;
    return comet_log_metrics(log->log, set->values, error);
}

/* ---- comet_stats ----------------------------------------------------------------------------- */

static void add_row(const metric_set *set, size_t metric, rowset *rows) {
    const comet_metric_info *info = comet_metric_describe(metric);

    if (set->of_log) {
        rowset_null(rows);
    } else {
        rowset_integer(rows, (int64_t)set->shard);
    }
    rowset_constant(rows, info->name);
    if (info->scale == 1) {
        rowset_integer(rows, set->values[metric]);
    } else {
        rowset_real(rows, (double)set->values[metric] / (double)info->scale);
    }
    rowset_constant(rows, info->unit[0] != '\0' ? info->unit : NULL);
    rowset_constant(rows, info->kind == COMET_METRIC_COUNTER ? "counter" : "gauge");
    rowset_constant(rows, info->help);
}

static comet_status fill_stats(connection *used, const char *directory, rowset *rows,
                               comet_error *error) {
    metric_sets all = {0};
    comet_status status = read_all(used, directory, &all, error);

    for (size_t i = 0; status == COMET_OK && i < all.count; i++) {
        for (size_t metric = 0; metric < comet_metric_count(); metric++) {
            if (comet_metric_describe(metric)->of_log == all.sets[i].of_log) {
                add_row(&all.sets[i], metric, rows);
            }
        }
    }
    sets_clear(&all);
    return status;
}

/* ---- comet_metrics() ------------------------------------------------------------------------- */

/* `value` parts, as a decimal with as many places as `scale` has zeros. */
static void append_value(sqlite3_str *text, int64_t value, int64_t scale) {
    int places = 0;

    if (scale == 1) {
        sqlite3_str_appendf(text, "%lld", (long long)value);
        return;
    }
    for (int64_t rest = scale; rest > 1; rest /= 10) {
        places++;
    }
    sqlite3_str_appendf(text, "%lld.%0*lld", (long long)(value / scale), places,
                        (long long)(value % scale));
}

static void append_family(sqlite3_str *text, const metric_sets *all, size_t metric) {
    const comet_metric_info *info = comet_metric_describe(metric);
    bool counts = info->kind == COMET_METRIC_COUNTER;
    const char *suffix = counts ? "_total" : "";

    sqlite3_str_appendf(text, "# HELP comet_%s%s %s\n# TYPE comet_%s%s %s\n", info->name, suffix,
                        info->help, info->name, suffix, counts ? "counter" : "gauge");
    if (info->unit[0] != '\0' && !counts) {
        sqlite3_str_appendf(text, "# UNIT comet_%s %s\n", info->name, info->unit);
    }
    for (size_t i = 0; i < all->count; i++) {
        const metric_set *set = &all->sets[i];

        if (set->of_log != info->of_log) {
            continue;
        }
        sqlite3_str_appendf(text, "comet_%s%s", info->name, suffix);
        if (!set->of_log) {
            sqlite3_str_appendf(text, "{shard=\"%u\"}", set->shard);
        }
        sqlite3_str_appendall(text, " ");
        append_value(text, set->values[metric], info->scale);
        sqlite3_str_appendall(text, "\n");
    }
}

static char *text_of(sqlite3 *db, const metric_sets *all) {
    sqlite3_str *text = sqlite3_str_new(db);

    for (size_t metric = 0; metric < comet_metric_count(); metric++) {
        append_family(text, all, metric);
    }
    sqlite3_str_appendall(text, "# EOF\n");
    return sqlite3_str_finish(text);
}

static void metrics_function(sqlite3_context *context, int count, sqlite3_value **arguments) {
    connection *used = sqlite3_user_data(context);
    const char *reference = NULL;
    metric_sets all = {0};
    log_target target;
    comet_error error;
    comet_status status = COMET_OK;
    char *text;

    if (count > 0) {
        status = value_text(arguments[0], "the log", &reference, &error);
    }
    if (status == COMET_OK) {
        status = connection_resolve(used, reference, &target, &error);
    }
    if (status == COMET_OK) {
        status = read_all(used, target.directory, &all, &error);
        log_target_clear(&target);
    }
    if (status != COMET_OK) {
        report_to_function(context, &error);
    } else if ((text = text_of(used->db, &all)) == NULL) {
        sqlite3_result_error_nomem(context);
    } else {
        sqlite3_result_text(context, text, -1, sqlite3_free);
    }
    sets_clear(&all);
}

int stats_table_register(connection *used) {
    static const rowset_table stats = {
        "comet_stats", "shard INTEGER, name TEXT, value NUMERIC, unit TEXT, kind TEXT, help TEXT",
        6, fill_stats};
    int rc = rowset_register(used, &stats);

    for (int count = 0; rc == SQLITE_OK && count <= 1; count++) {
        rc = sqlite3_create_function_v2(used->db, "comet_metrics", count,
                                        SQLITE_UTF8 | SQLITE_DIRECTONLY, connection_share(used),
                                        metrics_function, NULL, NULL, connection_release);
    }
    return rc;
}
