/* metrics.c -- what a log tells about its work: every number has its one description here.
**
** Decides: the names, units and meanings that comet_stats, comet_metrics() and the README give to the
** fields of comet.state and to what is worked out from other places when somebody asks.
**
** Fields of the Go package's whose meaning had to be chosen:
**
**     128 TotalCompressed     bytes of compressed entries as they are stored, and of no others
**     152 CompressionRatio    what the last transaction that compressed saved; never below 0
**     192-216 WriteLatency    of transactions, as latency.h says; the sum counts in what stands for others
**     224 SyncLatency         of checkpoints and of commits with sync=full
**     296 TotalFileBytes      data bytes in all files at this moment, not at the last rotation
**     360 BinaryIndexNodes    0: index.bin has no nodes here, blocks are found in each segment's .idx
**     384 ActiveReaders       cursors; those of a process that was killed are only forgotten when the
**                             shard is recovered after the next start of the machine
**     400 MaxConsumerLag      the highest that any look at a group came upon
**     408 TotalEntriesRead    entries whose data was given out; added when a cursor leaves a segment
**     416 ConsumerGroups      groups there are, not groups there ever were
**     432 ReaderCacheHits     added when the mapping that was hit goes
**     448 ErrorCount          of the system: disk, memory, damage; a refused argument is none
**     464 CorruptionDetected  of any file of the shard, each time that somebody comes upon it
**     488 PartialWrites       times that recovery found something behind the last whole transaction
**     656, 664                of the process that mapped or unmapped last; 0 when it has closed
*/
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "latency.h"
#include "limits.h"
#include "log.h"
#include "memory.h"
#include "platform.h"
#include "shard.h"
#include "status.h"

#define NANOSECONDS 1000000000
#define BASIS_POINTS 10000

/* What is not a field of comet.state, for one shard or the log, as far as it applies. */
typedef struct metric_source {
    const shard_state *state;
    comet_shard_bounds bounds;
    uint64_t durable_end;
    uint64_t group_count;
    uint64_t lag;
    uint64_t latency_p50;
    uint64_t latency_p99;
    uint64_t shard_count;
    uint64_t mapped_bytes;
    uint64_t mapped_limit;
    uint64_t disk_bytes;
    uint64_t disk_free;
} metric_source;

typedef struct metric {
    comet_metric_info info;
    size_t place;   /* of the value in metric_source, unless... */
    uint16_t field; /* ... it is a field of comet.state */
} metric;

#define NO_FIELD UINT16_MAX

#define FIELD(kind, name, unit, scale, field, help)                                                \
    { {name, unit, scale, COMET_METRIC_##kind, false, help}, 0, STATE_##field }
#define FOUND(kind, name, unit, scale, member, help)                                               \
    {                                                                                              \
        {name, unit, scale, COMET_METRIC_##kind, false, help}, offsetof(metric_source, member),    \
            NO_FIELD                                                                               \
    }
#define OF_LOG(kind, name, unit, scale, member, help)                                              \
    {                                                                                              \
        {name, unit, scale, COMET_METRIC_##kind, true, help}, offsetof(metric_source, member),     \
            NO_FIELD                                                                               \
    }

/* clang-format off */
static const metric metrics[] = {
    /* What there is */
    FOUND(GAUGE, "first_offset", "", 1, bounds.first_offset, "Offset of the oldest entry kept."),
    FOUND(GAUGE, "end_offset", "", 1, bounds.end_offset, "One past the newest entry: the next offset."),
    FOUND(GAUGE, "durable_offset", "", 1, durable_end, "One past the last entry known to survive a power cut."),
    FIELD(GAUGE, "files", "", 1, CURRENT_FILES, "Data files."),
    FIELD(GAUGE, "file_bytes", "bytes", 1, TOTAL_FILE_BYTES, "Data in all files, without indexes and what is allocated ahead."),
    FIELD(GAUGE, "last_file_sequence", "", 1, LAST_SEQUENCE, "Number of the last data file that was begun."),
    FIELD(GAUGE, "write_position_bytes", "bytes", 1, WRITE_POSITION, "Where the next entry goes in the last data file."),
    /* Writing */
    FIELD(COUNTER, "written_entries", "", 1, TOTAL_WRITES, "Entries committed."),
    FIELD(COUNTER, "written_bytes", "bytes", 1, TOTAL_BYTES, "Data committed, before compression."),
    FIELD(COUNTER, "transactions", "", 1, TOTAL_BATCHES, "Transactions committed."),
    FIELD(GAUGE, "last_transaction_entries", "", 1, LAST_BATCH, "Entries of the last transaction."),
    FIELD(GAUGE, "last_write_timestamp_seconds", "seconds", NANOSECONDS, LAST_WRITE_NS, "When the last transaction was committed."),
    FIELD(COUNTER, "failed_writes", "", 1, FAILED_WRITES, "Appends and commits that failed or were refused."),
    FIELD(COUNTER, "write_latency_seconds", "seconds", NANOSECONDS, LATENCY_NS, "Time that transactions waited for room, checksums and the disk."),
    FIELD(COUNTER, "write_latency_transactions", "", 1, LATENCY_COUNT, "Transactions in write_latency_seconds."),
    FIELD(GAUGE, "write_latency_min_seconds", "seconds", NANOSECONDS, LATENCY_MIN_NS, "The shortest that was measured."),
    FOUND(GAUGE, "write_latency_p50_seconds", "seconds", NANOSECONDS, latency_p50, "Half of the transactions waited no longer than this."),
    FOUND(GAUGE, "write_latency_p99_seconds", "seconds", NANOSECONDS, latency_p99, "99 of 100 transactions waited no longer than this."),
    FIELD(GAUGE, "write_latency_max_seconds", "seconds", NANOSECONDS, LATENCY_MAX_NS, "The longest that was measured."),
    /* Compression */
    FIELD(COUNTER, "compressed_entries", "", 1, COMPRESSED_ENTRIES, "Entries stored compressed."),
    FIELD(COUNTER, "uncompressed_entries", "", 1, SKIPPED_COMPRESSION, "Entries stored as they came."),
    FIELD(COUNTER, "compressed_bytes", "bytes", 1, COMPRESSED_BYTES, "What compressed entries take."),
    FIELD(GAUGE, "compression_saved_ratio", "ratio", BASIS_POINTS, COMPRESSION_SAVED, "Share saved by the last transaction that compressed."),
    FIELD(COUNTER, "compression_seconds", "seconds", NANOSECONDS, COMPRESSION_NS, "Time spent on compressing."),
    /* Files and durability */
    FIELD(COUNTER, "files_created", "", 1, FILES_CREATED, "Data files begun."),
    FIELD(COUNTER, "rotations", "", 1, FILE_ROTATIONS, "Times that a full data file was followed by another."),
    FIELD(COUNTER, "rotation_seconds", "seconds", NANOSECONDS, ROTATION_NS, "Time spent on beginning data files."),
    FIELD(COUNTER, "failed_rotations", "", 1, FAILED_ROTATIONS, "Data files that could not be begun."),
    FIELD(COUNTER, "syncs", "", 1, SYNC_COUNT, "Times that data was brought onto the disk."),
    FIELD(COUNTER, "sync_seconds", "seconds", NANOSECONDS, SYNC_NS, "Time spent on that."),
    FIELD(COUNTER, "checkpoints", "", 1, CHECKPOINT_COUNT, "Checkpoints made."),
    FIELD(COUNTER, "checkpoint_seconds", "seconds", NANOSECONDS, CHECKPOINT_NS, "Time spent on checkpoints."),
    FIELD(GAUGE, "last_checkpoint_timestamp_seconds", "seconds", NANOSECONDS, LAST_CHECKPOINT_NS, "When the last checkpoint was made."),
    FIELD(COUNTER, "index_saves", "", 1, INDEX_PERSIST_COUNT, "Times that index.bin was written."),
    FIELD(COUNTER, "index_save_errors", "", 1, INDEX_PERSIST_ERRORS, "Times that index.bin could not be written."),
    FIELD(GAUGE, "last_index_save_timestamp_seconds", "seconds", NANOSECONDS, LAST_INDEX_UPDATE, "When index.bin was last written."),
    /* Reading */
    FIELD(GAUGE, "active_readers", "", 1, ACTIVE_READERS, "Cursors open now, in all processes."),
    FIELD(COUNTER, "readers", "", 1, TOTAL_READERS, "Cursors ever opened."),
    FIELD(COUNTER, "read_entries", "", 1, ENTRIES_READ, "Entries whose data was read."),
    FIELD(COUNTER, "read_errors", "", 1, READ_ERRORS, "Reads that failed."),
    FIELD(COUNTER, "window_hits", "", 1, WINDOW_HITS, "Times that a reader found its part of a file mapped."),
    FIELD(COUNTER, "window_maps", "", 1, WINDOW_MAPS, "Parts of files mapped for readers."),
    FIELD(COUNTER, "window_unmaps", "", 1, WINDOW_UNMAPS, "Parts of files unmapped again."),
    FIELD(COUNTER, "window_moves", "", 1, WINDOW_MOVES, "Times that a reader went on to another part."),
    FIELD(COUNTER, "window_evictions", "", 1, WINDOW_EVICTIONS, "Parts unmapped because of max_mapped_bytes."),
    FIELD(GAUGE, "window_bytes", "bytes", 1, WINDOW_BYTES, "Mapped for readers, in the process that changed this last."),
    FIELD(GAUGE, "windows", "", 1, WINDOW_COUNT, "Parts mapped for readers, in the process that changed this last."),
    /* Groups */
    FOUND(GAUGE, "groups", "", 1, group_count, "Groups."),
    FOUND(GAUGE, "lag_entries", "", 1, lag, "Entries that the group furthest behind has not acknowledged."),
    FIELD(GAUGE, "lag_max_entries", "", 1, MAX_LAG, "The highest lag ever seen."),
    FIELD(COUNTER, "acknowledged_entries", "", 1, ACKED_ENTRIES, "Entries acknowledged, by all groups."),
    /* Retention */
    FIELD(COUNTER, "retention_runs", "", 1, RETENTION_RUNS, "Times that retention looked at the shard."),
    FIELD(COUNTER, "retention_seconds", "seconds", NANOSECONDS, RETENTION_NS, "Time spent on retention."),
    FIELD(COUNTER, "retention_errors", "", 1, RETENTION_ERRORS, "Times that retention failed."),
    FIELD(GAUGE, "last_retention_timestamp_seconds", "seconds", NANOSECONDS, LAST_RETENTION_NS, "When retention last looked."),
    FIELD(COUNTER, "files_deleted", "", 1, FILES_DELETED, "Data files deleted by retention."),
    FIELD(COUNTER, "deleted_entries", "", 1, ENTRIES_DELETED, "Entries in them."),
    FIELD(COUNTER, "deleted_bytes", "bytes", 1, BYTES_RECLAIMED, "Disk space that they took."),
    FIELD(COUNTER, "protected_runs", "", 1, PROTECTED_BY_CONSUMERS, "Times that a group kept retention from a file."),
    FIELD(GAUGE, "oldest_entry_timestamp_seconds", "seconds", NANOSECONDS, OLDEST_ENTRY_NS, "When the oldest file was last written, as of the last run."),
    /* Trouble */
    FIELD(COUNTER, "errors", "", 1, ERRORS, "Errors of the disk, of memory, and damage."),
    FIELD(GAUGE, "last_error_timestamp_seconds", "seconds", NANOSECONDS, LAST_ERROR_NS, "When the last of them came."),
    FIELD(COUNTER, "corruptions", "", 1, CORRUPTION_DETECTED, "Times that bytes were found not to be what was written."),
    FIELD(COUNTER, "recoveries_begun", "", 1, RECOVERY_ATTEMPTS, "Recoveries begun, after a crash or a power cut."),
    FIELD(COUNTER, "recoveries", "", 1, RECOVERY_SUCCESSES, "Recoveries that succeeded."),
    FIELD(COUNTER, "partial_writes", "", 1, PARTIAL_WRITES, "Times that recovery found an unfinished write."),
    /* The log */
    OF_LOG(GAUGE, "shards", "", 1, shard_count, "Shards."),
    OF_LOG(GAUGE, "mapped_bytes", "bytes", 1, mapped_bytes, "Parts of segments mapped by this process."),
    OF_LOG(GAUGE, "mapped_limit_bytes", "bytes", 1, mapped_limit, "max_mapped_bytes."),
    OF_LOG(GAUGE, "disk_bytes", "bytes", 1, disk_bytes, "Size of the file system that holds the log."),
    OF_LOG(GAUGE, "disk_free_bytes", "bytes", 1, disk_free, "What is free of it."),
};
/* clang-format on */

#define METRIC_COUNT (sizeof metrics / sizeof metrics[0])

size_t comet_metric_count(void) {
    return METRIC_COUNT;
}

const comet_metric_info *comet_metric_describe(size_t number) {
    return number < METRIC_COUNT ? &metrics[number].info : NULL;
}

static void fill_values(const metric_source *source, bool of_log, int64_t *values) {
    for (size_t i = 0; i < METRIC_COUNT; i++) {
        const metric *one = &metrics[i];
        uint64_t value;

        if (one->info.of_log != of_log) {
            continue;
        }
        if (one->field != NO_FIELD) {
            value = state_load(source->state, (state_field)one->field);
        } else {
            memcpy(&value, (const char *)source + one->place, sizeof value);
        }
        values[i] = (int64_t)value;
    }
}

/* The group that is furthest behind. */
static comet_status find_lag(comet_shard *shard, uint64_t *count, uint64_t *lag, const char **name,
                             comet_group_info **groups, comet_error *error) {
    size_t found = 0;

    FORWARD(comet_shard_groups(shard, groups, &found, error));
    *count = found;
    *lag = 0;
    for (size_t i = 0; i < found; i++) {
        if ((*groups)[i].lag >= *lag) {
            *lag = (*groups)[i].lag;
            *name = (*groups)[i].name;
        }
    }
    return COMET_OK;
}

comet_status comet_shard_metrics(comet_shard *shard, int64_t *values, comet_error *error) {
    metric_source source = {.state = &shard->state};
    comet_group_info *groups;
    const char *name;

    FORWARD(comet_shard_glance(shard, &source.bounds, error));
    FORWARD(find_lag(shard, &source.group_count, &source.lag, &name, &groups, error));
    memory_release(groups);
    source.durable_end = state_load(&shard->state, STATE_DURABLE_END);
    source.latency_p50 = latency_quantile(&shard->state, 50);
    source.latency_p99 = latency_quantile(&shard->state, 99);
    fill_values(&source, false, values);
    return COMET_OK;
}

comet_status comet_log_metrics(comet_log *log, int64_t *values, comet_error *error) {
    metric_source source = {0};
    uint32_t *ids;
    size_t count;
    int result;

    FORWARD(comet_log_shards(log, &ids, &count, error));
    memory_release(ids);
    source.shard_count = count;
    window_pool_measure(log_windows(log_of(log)), &source.mapped_bytes, &source.mapped_limit);
    result = platform->disk_space(comet_log_directory(log), &source.disk_bytes, &source.disk_free);
    if (result != 0) {
        return error_set(error, COMET_IO, -result, "cannot ask how full the disk of %s is",
                         comet_log_directory(log));
    }
    fill_values(&source, true, values);
    return COMET_OK;
}

/* ---- Health ---- */

typedef struct health_report {
    char *text;
    size_t used;
    int64_t now;
} health_report;

static void complain(health_report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void complain(health_report *report, const char *format, ...) {
    va_list arguments;
    int length;

    if (report->used > 0 && report->used + 2 < COMET_MESSAGE_BYTES) {
        memcpy(report->text + report->used, "; ", 3);
        report->used += 2;
    }
    va_start(arguments, format);
    length = vsnprintf(report->text + report->used, COMET_MESSAGE_BYTES - report->used, format,
                       arguments);
    va_end(arguments);
    report->used += length > 0 ? (size_t)length : 0;
    if (report->used >= COMET_MESSAGE_BYTES) {
        report->used = COMET_MESSAGE_BYTES - 1;
    }
}

/* Seconds since the moment in `field`, where that is not longer ago than `within_ns`. */
static bool is_recent(const health_report *report, const shard_state *state, state_field field,
                      int64_t within_ns, int64_t *seconds) {
    int64_t at = (int64_t)state_load(state, field);
    int64_t ago = report->now > at ? report->now - at : 0;

    *seconds = ago / NANOSECONDS;
    return at > 0 && ago <= within_ns;
}

static void check_writing(const shard_state *state, health_report *report) {
    int64_t written = (int64_t)state_load(state, STATE_LAST_WRITE_NS);
    int64_t seconds;

    if (written > 0 && report->now - written > HEALTH_QUIET_NS) {
        complain(report, "nothing has been written for %" PRId64 " s",
                 (report->now - written) / NANOSECONDS);
    }
    if (is_recent(report, state, STATE_LAST_ERROR_NS, HEALTH_ERROR_NS, &seconds)) {
        complain(report, "%" PRIu64 " errors, the last one %" PRId64 " s ago",
                 state_load(state, STATE_ERRORS), seconds);
    }
    if (state_load(state, STATE_ROTATION_FAILED_NS) != 0) {
        complain(report, "the next data file could not be begun");
    }
    if (is_recent(report, state, STATE_LAST_CORRUPTION_NS, HEALTH_CORRUPTION_NS, &seconds)) {
        complain(report,
                 "%" PRIu64 " times bytes were found damaged, last %" PRId64
                 " s ago: see comet_verify",
                 state_load(state, STATE_CORRUPTION_DETECTED), seconds);
    }
}

static comet_status check_groups(comet_shard *shard, health_report *report, comet_error *error) {
    comet_group_info *groups;
    const char *name = "";
    uint64_t count;
    uint64_t lag;

    FORWARD(find_lag(shard, &count, &lag, &name, &groups, error));
    if (lag > HEALTH_LAG_ENTRIES) {
        complain(report, "group %s is %" PRIu64 " entries behind", name, lag);
    }
    memory_release(groups);
    return COMET_OK;
}

static void check_disk(const comet_shard *shard, health_report *report) {
    uint64_t total;
    uint64_t available;
    uint64_t least;

    if (platform->disk_space(shard->home.directory, &total, &available) != 0) {
        return;
    }
    least = total / HEALTH_DISK_SHARE < HEALTH_DISK_BYTES ? total / HEALTH_DISK_SHARE
                                                          : HEALTH_DISK_BYTES;
    if (available < least) {
        complain(report, "the disk is nearly full: %" PRIu64 " MiB are free", available / MEBIBYTE);
    }
}

comet_status comet_shard_health(comet_shard *shard, char why[COMET_MESSAGE_BYTES], bool *healthy,
                                comet_error *error) {
    char text[COMET_MESSAGE_BYTES] = "";
    health_report report = {text, 0, platform->now()};

    FORWARD(shard_check_process(shard, error));
    check_writing(&shard->state, &report);
    FORWARD(check_groups(shard, &report, error));
    check_disk(shard, &report);
    memcpy(why, text, sizeof text);
    *healthy = report.used == 0;
    return COMET_OK;
}
