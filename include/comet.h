/* comet.h -- an embedded, segmented, append-only log for telemetry.
**
** A *log* is a directory of *shards*.  A shard is one ordered stream of entries; each entry has an
** *offset* (0, 1, 2 ..., never reused) and a *timestamp* (nanoseconds since the Unix epoch), and is
** up to 128 MiB of bytes.  A shard is stored as a chain of *segments*, data files that are
** immutable once the next one is begun.
**
**     writer   comet_log_open -> comet_shard_open -> comet_txn_begin -> comet_txn_append ...
**              -> comet_txn_prepare -> comet_txn_publish
**     reader   comet_log_open -> comet_shard_open -> comet_cursor_open -> comet_cursor_seek
**              -> comet_cursor_data -> comet_cursor_next ... until COMET_DONE
**
** Caveats, first
**   - One writer per shard at a time, over all processes; a second one gets COMET_BUSY.  Readers
**     never wait and never make a writer wait.
**   - Network file systems are not supported: shared mappings and file locks must work.
**   - After fork() a handle of the parent is dead in the child: every call returns COMET_MISUSE
**     and touches no file.  Open anew in the child.
**   - The log directory is not part of the database file; a backup of one is no backup of the other.
**
** Threads: comet_log and comet_shard may be used by any number of threads at once.  A comet_txn or
** a comet_cursor belongs to one thread at a time, but may wander between threads.
**
** Errors: every fallible function returns a comet_status and describes a failure in *error, which
** may be NULL.  Results go through out-parameters, which a failure leaves untouched.  The library
** prints nothing and never ends the process.
**
** Where the ideas come from: shards, segments, offsets, groups and retention from Apache Kafka;
** the file formats from the Go package github.com/orbiterhq/comet; the header's manners from LMDB.
*/
#ifndef COMET_H
#define COMET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COMET_VERSION "0.1.0"

#if defined(__GNUC__)
#define COMET_API __attribute__((visibility("default")))
#else
#define COMET_API
#endif

/* ---- Status ---------------------------------------------------------------------------------- */

/* A short closed list.  The message says the rest. */
typedef enum comet_status {
    COMET_OK = 0,
    COMET_DONE = 1,      /* a cursor has no further entry; not an error */
    COMET_NOMEM = 2,     /* an allocation failed */
    COMET_INVALID = 3,   /* an argument is not allowed; the message says what is */
    COMET_NOT_FOUND = 4, /* no such log, shard, setting or entry */
    COMET_BUSY = 5,      /* another writer holds the shard; try again */
    COMET_FULL = 6,      /* the disk, a quota or a size limit is full */
    COMET_IO = 7,        /* a system call failed; error->system_errno says why */
    COMET_CORRUPT = 8,   /* bytes on disk are not what was written */
    COMET_READONLY = 9,  /* opened read-only, or the directory may not be written */
    COMET_TOO_BIG = 10,  /* an entry over COMET_ENTRY_BYTES_MAX */
    COMET_CONFLICT = 11, /* a setting contradicts what another handle has asked for */
    COMET_ABORTED = 12,  /* the cursor stood on entries that have been rolled back */
    COMET_MISUSE = 13    /* a handle carried over a fork() */
} comet_status;

/* Room for two paths and a sentence. */
#define COMET_MESSAGE_BYTES 1024

/* What went wrong: which file, where, why, and what to do. */
typedef struct comet_error {
    comet_status status;
    int system_errno; /* 0 where no system call was involved */
    char message[COMET_MESSAGE_BYTES];
} comet_error;

/* The name of a status ("COMET_BUSY"); static memory. */
COMET_API const char *comet_status_name(comet_status status);

/* ---- Limits ---------------------------------------------------------------------------------- */

#define COMET_ENTRY_BYTES_MAX (128u * 1024 * 1024) /* one entry, before and after compression */
#define COMET_SHARD_ID_MAX UINT32_MAX
#define COMET_OFFSET_MAX (INT64_MAX - 1)
#define COMET_GROUP_BYTES_MAX 47u  /* a group's name */
#define COMET_GROUP_COUNT_MAX 512u /* groups that one shard remembers */

/* ---- Memory ---------------------------------------------------------------------------------- */

/* Where the library takes its memory from; sizes in bytes.  resize(NULL, n) allocates,
** release(NULL) does nothing.  Both must be thread-safe. */
typedef struct comet_allocator {
    void *(*resize)(void *memory, size_t size);
    void (*release)(void *memory);
} comet_allocator;

/* Choose the allocator, once for the process and before any other call; the default is the C
** library's.  A second call with another allocator while a log is open returns COMET_MISUSE. */
COMET_API comet_status comet_set_allocator(const comet_allocator *allocator);

/* Release memory that a function of this library handed out.  NULL is fine. */
COMET_API void comet_free(void *memory);

/* ---- Settings -------------------------------------------------------------------------------- */

typedef enum comet_setting {
    COMET_MAX_FILE_SIZE,
    COMET_MIN_COMPRESS_SIZE,
    COMET_COMPRESS_LEVEL,
    COMET_BOUNDARY_INTERVAL,
    COMET_SYNC,
    COMET_CHECKPOINT_INTERVAL,
    COMET_CHECKPOINT_ENTRIES,
    COMET_MAX_MAPPED_BYTES,
    COMET_PROCESS_ID,
    COMET_PROCESS_COUNT,
    COMET_MAX_AGE,
    COMET_MAX_SHARD_SIZE,
    COMET_MAX_TOTAL_SIZE,
    COMET_PROTECT_UNCONSUMED,
    COMET_FORCE_DELETE_AFTER,
    COMET_WHEN_FULL,
    COMET_UPKEEP,
    COMET_ON_DAMAGE,
    COMET_FILE_GRACE_PERIOD,
    COMET_MIN_FILES_TO_KEEP,
    COMET_CLEANUP_INTERVAL,
    COMET_PRESET,
    COMET_SETTING_COUNT
} comet_setting;

typedef enum comet_unit {
    COMET_UNIT_BYTES,       /* '64MB', '1GiB' or a number of bytes */
    COMET_UNIT_NANOSECONDS, /* '250ms', '4h', '7d' or a number of nanoseconds */
    COMET_UNIT_COUNT,       /* a number */
    COMET_UNIT_SWITCH,      /* on/off, true/false, yes/no, 1/0 */
    COMET_UNIT_CHOICE       /* one of comet_setting_info.choices */
} comet_unit;

/* Values of the settings of COMET_UNIT_CHOICE. */
enum { COMET_SYNC_OFF, COMET_SYNC_NORMAL, COMET_SYNC_FULL };
enum { COMET_WHEN_FULL_DROP_OLDEST, COMET_WHEN_FULL_REJECT };
enum { COMET_UPKEEP_THREAD, COMET_UPKEEP_MANUAL };
enum { COMET_ON_DAMAGE_ERROR, COMET_ON_DAMAGE_SKIP };
enum {
    COMET_PRESET_DEFAULT,
    COMET_PRESET_HIGH_COMPRESSION,
    COMET_PRESET_HIGH_THROUGHPUT,
    COMET_PRESET_MULTI_PROCESS
};

/* One setting; static memory. */
typedef struct comet_setting_info {
    const char *name;
    comet_unit unit;
    int64_t initial; /* the default */
    int64_t minimum;
    int64_t maximum;
    const char *const *choices; /* names of the values 0, 1, ..., ended by NULL; else NULL */
    bool retention;             /* belongs to comet_retention(), else to comet_config() */
    bool stored;                /* kept with the log, else of this process only */
    const char *help;
} comet_setting_info;

/* NULL where setting is not below COMET_SETTING_COUNT. */
COMET_API const comet_setting_info *comet_setting_describe(comet_setting setting);

/* A setting by its name; COMET_NOT_FOUND lists all names. */
COMET_API comet_status comet_setting_find(const char *name, comet_setting *setting,
                                          comet_error *error);

/* Values for some or all settings; a plain value that may be copied. */
typedef struct comet_settings {
    int64_t value[COMET_SETTING_COUNT];
    bool given[COMET_SETTING_COUNT]; /* named by somebody, not a default */
} comet_settings;

/* All defaults, none given. */
COMET_API void comet_settings_init(comet_settings *settings);

/* Parse and check `text` and set it.  A preset also sets the values it stands for where they are not given.
** COMET_NOT_FOUND: no such name; COMET_INVALID: the value does not parse or is out of range.
** Either message lists what is allowed. */
COMET_API comet_status comet_settings_set(comet_settings *settings, const char *name,
                                          const char *text, comet_error *error);

/* Write a value as a person would ('64MiB', '4h', 'normal'); it parses back to the same value.
** Always NUL-terminated; `size` of 32 suffices. */
COMET_API void comet_setting_format(comet_setting setting, int64_t value, char *text, size_t size);

/* ---- Log ------------------------------------------------------------------------------------- */

typedef struct comet_log comet_log;
typedef struct comet_shard comet_shard;
typedef struct comet_txn comet_txn;
typedef struct comet_cursor comet_cursor;
typedef struct comet_group comet_group;

enum {
    COMET_OPEN_READONLY = 1, /* write not a byte, not even to repair */
    COMET_OPEN_CREATE = 2    /* make the directory (0700) and its parent's missing last part */
};

/* Open the log in `directory`, for reading only where this user may not write it; within a process there is one log per directory (device and inode),
** counted, however often it is opened.  `settings` may be NULL; those given there are stored with
** the log where they differ, unless another open handle has given a different value
** (COMET_CONFLICT).  Release with comet_log_close().
** Errors: COMET_NOT_FOUND without COMET_OPEN_CREATE, COMET_IO, COMET_READONLY, COMET_INVALID (the
** path is a file, or the settings file does not parse: the message names the line). */
COMET_API comet_status comet_log_open(const char *directory, unsigned flags,
                                      const comet_settings *settings, comet_log **log,
                                      comet_error *error);

/* Give a handle back.  With the last one the log is checkpointed and closed; what fails then is
** repaired at the next open, so nothing is returned.  All shards, transactions and cursors of this
** handle must be closed before.  NULL is fine. */
COMET_API void comet_log_close(comet_log *log);

/* The directory's absolute path, as long as the handle is open. */
COMET_API const char *comet_log_directory(const comet_log *log);

/* The value in force, and change it for every process (stored ones) or this one.  process_id is -1 where
** process_count is above 1 and this process has neither been given one nor taken a slot. */
COMET_API comet_status comet_log_setting(comet_log *log, comet_setting setting, int64_t *value,
                                         comet_error *error);
COMET_API comet_status comet_log_configure(comet_log *log, const char *name, const char *text,
                                           comet_error *error);

/* This process's slot among the processes of the log: 0, 1, 2 ..., unique among those that live, the
** lowest that is free.  Taken by the first call, and the same until comet_process_release(), until the
** last handle of the log closes, or until the process ends; a dead process's slot is free at once.
** There are process_count slots, 4096 where that is 0.  Unless process_id is given, the slot is the
** process's process_id; where it is given, that is the slot asked for.
**
** With a process_count above 1 and no process_id, the first transaction takes a slot by itself.
** Errors: COMET_BUSY, all are taken (the message names the processes); COMET_READONLY, COMET_IO. */
COMET_API comet_status comet_process_id(comet_log *log, int64_t *slot, comet_error *error);

/* Give the slot back.  *held: whether there was one. */
COMET_API comet_status comet_process_release(comet_log *log, bool *held, comet_error *error);

/* The ids of all shards that stand in the directory, ascending.  Release *ids with comet_free(). */
COMET_API comet_status comet_log_shards(comet_log *log, uint32_t **ids, size_t *count,
                                        comet_error *error);

/* Make everything committed so far durable, in all shards. */
COMET_API comet_status comet_log_sync(comet_log *log, comet_error *error);

/* ---- Shard ----------------------------------------------------------------------------------- */

/* Open one shard; counted per log.  A shard that does not exist: COMET_NOT_FOUND, unless `create`.
** O(1) in the number of entries.  Within a process there is one comet_shard for a shard: every handle
** of the log gives the same pointer.  Never waits for a writer: COMET_BUSY only where the shard must be
** made or repaired and another process is at that.  Release with comet_shard_close(). */
COMET_API comet_status comet_shard_open(comet_log *log, uint32_t id, bool create,
                                        comet_shard **shard, comet_error *error);
COMET_API void comet_shard_close(comet_shard *shard);

COMET_API uint32_t comet_shard_id(const comet_shard *shard);

/* Make everything committed so far durable; afterwards it survives a power cut. */
COMET_API comet_status comet_shard_sync(comet_shard *shard, comet_error *error);

/* A shard at a glance, as committed at this moment.  O(segments), and O(blocks) in the last one. */
typedef struct comet_shard_info {
    uint64_t first_offset; /* of the oldest entry kept */
    uint64_t end_offset;   /* one past the newest entry = the next offset */
    int64_t time_first;    /* lowest and highest timestamp; meaningless when there is no entry */
    int64_t time_last;
    uint64_t bytes; /* stored bytes of all segments */
    uint64_t segment_count;
    uint64_t block_count;    /* index blocks, for cost estimates */
    uint64_t durable_offset; /* one past the last entry known to survive a power cut */
    bool in_order;           /* timestamps never decrease */
    int64_t owner;           /* process that writes now, 0 when none does */
} comet_shard_info;

COMET_API comet_status comet_shard_describe(comet_shard *shard, comet_shard_info *info,
                                            comet_error *error);

/* Between which bounds the committed entries lie.  They may be wider than needed, never narrower:
** what is outside is in no entry below end_offset.  Looks at no data and walks no index, so that
** hundreds of shards may be asked before any is read. */
typedef struct comet_shard_bounds {
    uint64_t first_offset; /* [first_offset, end_offset); no entry when they are equal */
    uint64_t end_offset;
    int64_t time_first; /* inclusive; INT64_MIN where nobody knows without reading */
    int64_t time_last;
} comet_shard_bounds;

COMET_API comet_status comet_shard_glance(comet_shard *shard, comet_shard_bounds *bounds,
                                          comet_error *error);

/* One data file. */
typedef struct comet_segment_info {
    char file[32]; /* name within the shard's directory */
    uint64_t first_offset;
    uint64_t end_offset;
    int64_t time_first; /* lowest and highest timestamp; meaningless when there is no entry */
    int64_t time_last;
    uint64_t bytes; /* of data */
    uint64_t compressed_entries;
    bool sealed; /* immutable: a later segment exists */
} comet_segment_info;

/* All segments, oldest first.  Release *segments with comet_free(). */
COMET_API comet_status comet_shard_segments(comet_shard *shard, comet_segment_info **segments,
                                            size_t *count, comet_error *error);

/* Whether timestamps never decrease, so that a range of times is a range of offsets.  O(1). */
COMET_API bool comet_shard_is_in_order(comet_shard *shard);

/* How many entries have offsets and timestamps within the bounds (inclusive), as if they came evenly.
** For query planners: O(1), never fails. */
COMET_API uint64_t comet_shard_estimate(comet_shard *shard, uint64_t offset_first,
                                        uint64_t offset_last, int64_t time_first,
                                        int64_t time_last);

/* ---- Transaction ----------------------------------------------------------------------------- */

/* Become the writer of `shard`, until publish or rollback.  Never waits: COMET_BUSY names the
** process that writes.  If the last writer died, the tail is repaired first.
** Errors: COMET_BUSY, COMET_READONLY (with a process_count above 1 also for a shard that another process
** owns, which the message names), COMET_IO, COMET_FULL, COMET_NOMEM. */
COMET_API comet_status comet_txn_begin(comet_shard *shard, comet_txn **txn, comet_error *error);

/* Append one entry; `size` 0 is allowed, then `data` may be NULL.  `timestamp` in nanoseconds, not
** negative, in any order.  Nobody else sees it before publish.  The offset goes to *offset.
** On any error the transaction is as before the call. */
COMET_API comet_status comet_txn_append(comet_txn *txn, const void *data, size_t size,
                                        int64_t timestamp, uint64_t *offset, comet_error *error);

/* The offset the next append will get. */
COMET_API uint64_t comet_txn_end(const comet_txn *txn);

/* Savepoints, in the levels of SQLite's xSavepoint: 0, 1, ..., deeper is higher.
** savepoint remembers this point as `level`; if that level stands already, the earlier point stays.
** release forgets `level` and all deeper ones.
** rollback_to goes back to the shallowest point at `level` or deeper, or to the transaction's begin
** where there is none; keeps that level and forgets the deeper ones.  It cannot fail; the offsets
** are used again, and cursors that stand on the forgotten entries get COMET_ABORTED. */
COMET_API comet_status comet_txn_savepoint(comet_txn *txn, int level, comet_error *error);
COMET_API void comet_txn_release(comet_txn *txn, int level);
COMET_API void comet_txn_rollback_to(comet_txn *txn, int level);

/* Make ready: on COMET_OK a publish cannot fail, and with sync=full all entries are durable.
** May be called again, also after further appends.  On an error the transaction is as before. */
COMET_API comet_status comet_txn_prepare(comet_txn *txn, comet_error *error);

/* Make the prepared entries visible to everyone, all at once, and end the transaction: txn is
** freed.  Afterwards they survive the death of any process; with sync=full, a power cut. */
COMET_API void comet_txn_publish(comet_txn *txn);

/* End the transaction without a trace; txn is freed.  NULL is fine. */
COMET_API void comet_txn_rollback(comet_txn *txn);

COMET_API comet_shard *comet_txn_shard(const comet_txn *txn);

/* ---- Cursor ---------------------------------------------------------------------------------- */

/* What a cursor shall yield; all bounds inclusive.  Order by time ties in offset order (descending: in
** descending offset order) and is free while the shard's timestamps are in order;
** otherwise blocks are merged by their bounds, which costs memory for those that overlap. */
typedef struct comet_range {
    uint64_t offset_first;
    uint64_t offset_last;
    int64_t time_first;
    int64_t time_last;
    bool by_time; /* in timestamp order, else in offset order */
    bool descending;
} comet_range;

/* Everything, in offset order. */
COMET_API void comet_range_init(comet_range *range);

/* A cursor over `shard`, positioned nowhere until seek.  It may outlive a transaction that it was given.
** Close with comet_cursor_close(). */
COMET_API comet_status comet_cursor_open(comet_shard *shard, comet_cursor **cursor,
                                         comet_error *error);
COMET_API void comet_cursor_close(comet_cursor *cursor);

/* Take a snapshot (entries committed now, and those of `txn`, which may be NULL) and go to the
** range's first entry.  COMET_OK: there is one; COMET_DONE: the range is empty. May be called again. */
COMET_API comet_status comet_cursor_seek(comet_cursor *cursor, comet_txn *txn,
                                         const comet_range *range, comet_error *error);

/* Go on by one, or over `count` entries (counted from the current one).  COMET_DONE at the end.
** Skipping costs nothing per entry where the index can tell. */
COMET_API comet_status comet_cursor_next(comet_cursor *cursor, comet_error *error);
COMET_API comet_status comet_cursor_skip(comet_cursor *cursor, uint64_t count, comet_error *error);

/* The current entry.  comet_cursor_offset() touches no data at all. */
COMET_API uint64_t comet_cursor_offset(const comet_cursor *cursor);
COMET_API comet_status comet_cursor_timestamp(comet_cursor *cursor, int64_t *timestamp,
                                              comet_error *error);

/* The current entry's bytes, decompressed.  *data is valid until the next call on this cursor and
** is never NULL.  COMET_CORRUPT names shard, file and offset; the cursor may go on after it. */
COMET_API comet_status comet_cursor_data(comet_cursor *cursor, const void **data, size_t *size,
                                         comet_error *error);

/* ---- Retention ------------------------------------------------------------------------------- */

/* What became of one segment, and why. */
typedef struct comet_retention_item {
    uint32_t shard;
    char file[32]; /* the data file's name */
    uint64_t first_offset;
    uint64_t end_offset;
    uint64_t bytes; /* on disk, with its index */
    bool is_deleted;
    const char *why;                       /* static words: "max_age", "unconsumed" ... */
    char group[COMET_GROUP_BYTES_MAX + 1]; /* that keeps it, or empty */
} comet_retention_item;

/* Apply the settings of retention now, to all shards that this process owns; one that is being written
** to is left to its writer.  Deleted entries are gone at once, also after a crash; statements that read
** them go on.  Release *items with comet_free().  Errors: COMET_READONLY, COMET_IO, COMET_NOMEM. */
COMET_API comet_status comet_log_retain(comet_log *log, comet_retention_item **items, size_t *count,
                                        comet_error *error);

/* ---- Verifying ------------------------------------------------------------------------------- */

/* What a walk over every byte of one segment found. */
typedef struct comet_segment_check {
    char file[32]; /* the data file's name */
    uint64_t first_offset;
    uint64_t end_offset;
    uint64_t entries; /* that are whole; all of them where ok */
    uint64_t bytes;   /* of data that was looked at */
    bool ok;
    uint64_t bad_offset;           /* the first entry that is not; only unless ok */
    char why[COMET_MESSAGE_BYTES]; /* a sentence; only unless ok */
} comet_segment_check;

/* Check every byte of what the shard's committed entries consist of: that files are there, checksums of
** blocks and of their index records, lengths, timestamps, compressed frames, and what index.bin says of
** them.  Everything is read anew, whatever was checked before.  Damage is a finding, not an error.
** Thread rule: as for reading; writers go on meanwhile.  Release *checks with comet_free(). */
COMET_API comet_status comet_shard_verify(comet_shard *shard, comet_segment_check **checks,
                                          size_t *count, comet_error *error);

/* The same without reading the data, at a cost that does not grow with it: that files are there, as long as
** their indexes say, and that the indexes lead to the last entry.  `bytes` stays 0. */
COMET_API comet_status comet_shard_verify_files(comet_shard *shard, comet_segment_check **checks,
                                                size_t *count, comet_error *error);

/* ---- Streams --------------------------------------------------------------------------------- */

/* A stream is a name over the shards 0, 1, ..., N-1 of a log.  The rules are those of the Go package,
** so that a key goes to the same shard from either. */
#define COMET_STREAM_SHARDS 16u /* where nobody says how many */

/* FNV-1a of the key modulo `shards`; 0 shards means COMET_STREAM_SHARDS. */
COMET_API uint32_t comet_pick_shard(const void *key, size_t size, uint32_t shards);

/* The hash alone. */
COMET_API uint32_t comet_key_hash(const void *key, size_t size);

/* How many of a stream's shards belong to a process (shard mod process_count = process_id; all of
** them when process_count is at most 1), and the number-th of those. */
COMET_API uint32_t comet_owned_shards(uint32_t shards, uint32_t process_id, uint32_t process_count);
COMET_API uint32_t comet_owned_shard(uint32_t number, uint32_t process_id, uint32_t process_count);

/* "<stream>:shard:0007" into `text`, cut to `size` with its NUL; returns the full length, as
** snprintf does.  A stream that ends in ":shard" does not get a second one. */
COMET_API size_t comet_shard_name(const char *stream, uint32_t id, char *text, size_t size);

/* The number in a shard's name; what stands before it is not looked at, as all streams of a log
** share its shards.  COMET_INVALID says what a name looks like. */
COMET_API comet_status comet_shard_parse(const char *name, uint32_t *id, comet_error *error);

/* ---- Groups ---------------------------------------------------------------------------------- */

/* A group's position in a shard is the offset of the first entry that it has not acknowledged.  It
** is kept in offsets.state in the shard's directory, shared by all processes, and survives the
** death of any of them at once; a power cut from the first checkpoint after it on, with sync=full
** from the return of the call on.  After a power cut a position is never past the entries that
** survived. */

/* One group in one shard, as seen at this moment. */
typedef struct comet_group_info {
    char name[COMET_GROUP_BYTES_MAX + 1];
    bool exists;           /* it has acknowledged or been set; else all but the offsets is 0 */
    uint64_t position;     /* the next entry to read; of a group that does not exist the oldest */
    uint64_t lag;          /* entries from there to the end */
    uint64_t acknowledged; /* entries, ever */
    uint64_t skipped;      /* entries that were deleted before they were acknowledged */
    int64_t last_ack_ns;
    uint64_t first_offset; /* of the shard, as in comet_shard_info */
    uint64_t end_offset;
} comet_group_info;

/* A handle for the group of that name (1 to COMET_GROUP_BYTES_MAX bytes, no NUL) in `shard`, which
** must stay open for as long.  Leaves no trace on disk.  Belongs to one thread at a time.
** Errors: COMET_INVALID, COMET_NOMEM. */
COMET_API comet_status comet_group_open(comet_shard *shard, const char *name, size_t size,
                                        comet_group **group, comet_error *error);
COMET_API void comet_group_close(comet_group *group);

/* O(1); never makes the group. */
COMET_API comet_status comet_group_describe(comet_group *group, comet_group_info *info,
                                            comet_error *error);

/* Make sure that the group can be stored, so that a later call cannot fail for want of room.
** COMET_FULL: the shard has COMET_GROUP_COUNT_MAX groups already, or the disk is full. */
COMET_API comet_status comet_group_reserve(comet_group *group, comet_error *error);

/* Acknowledge everything up to and including `offset`.  Never moves backward, whoever else
** acknowledges at the same time.  *position (may be NULL): where the group stands now.
** COMET_INVALID: `offset` is not committed yet. */
COMET_API comet_status comet_group_ack(comet_group *group, uint64_t offset, uint64_t *position,
                                       comet_error *error);

/* Acknowledge first .. last.  COMET_INVALID also where entries before `first` are not yet acknowledged. */
COMET_API comet_status comet_group_ack_range(comet_group *group, uint64_t first, uint64_t last,
                                             uint64_t *position, comet_error *error);

/* Set the position, forward or back; one before the oldest entry becomes the oldest.
** COMET_INVALID: past the end. */
COMET_API comet_status comet_group_seek(comet_group *group, uint64_t to, uint64_t *position,
                                        comet_error *error);

/* The first entry, by offset, with a timestamp of at least `time`; the end where there is none. */
COMET_API comet_status comet_group_find(comet_group *group, int64_t time, uint64_t *offset,
                                        comet_error *error);

/* Remove the group from this shard; it begins anew with its next acknowledgement. */
COMET_API comet_status comet_group_forget(comet_group *group, comet_error *error);

/* All groups of a shard.  Release *groups with comet_free(). */
COMET_API comet_status comet_shard_groups(comet_shard *shard, comet_group_info **groups,
                                          size_t *count, comet_error *error);

/* ---- Metrics --------------------------------------------------------------------------------- */

typedef enum comet_metric_kind {
    COMET_METRIC_COUNTER, /* only grows; over all processes, since the log was made */
    COMET_METRIC_GAUGE    /* as of now */
} comet_metric_kind;

/* What a number means; static memory. */
typedef struct comet_metric_info {
    const char *name; /* "written_entries"; with its unit at the end, if it has one */
    const char *unit; /* "bytes", "seconds", "ratio" or "" */
    int64_t scale;    /* the value is so many of the unit's parts: 1000000000 for nanoseconds */
    comet_metric_kind kind;
    bool of_log; /* one for the log, else one for each shard */
    const char *help;
} comet_metric_info;

COMET_API size_t comet_metric_count(void);

/* NULL where `metric` is not below comet_metric_count(). */
COMET_API const comet_metric_info *comet_metric_describe(size_t metric);

/* The shard's metrics; those of the log.  values[i] is metric i; the others' places stay as they are.
** `values` has room for comet_metric_count().  Any thread; O(groups), nothing on the disk is read. */
COMET_API comet_status comet_shard_metrics(comet_shard *shard, int64_t *values, comet_error *error);
COMET_API comet_status comet_log_metrics(comet_log *log, int64_t *values, comet_error *error);

/* Whether all is well with the shard; else sentences say what is not: nothing written for long, errors
** lately, a data file that could not be begun, damage, a group far behind, a disk nearly full. */
COMET_API comet_status comet_shard_health(comet_shard *shard, char why[COMET_MESSAGE_BYTES],
                                          bool *healthy, comet_error *error);

/* ---- Clock and build ------------------------------------------------------------------------- */

/* Now, in nanoseconds since the Unix epoch. */
COMET_API int64_t comet_now(void);

/* Build facts, one `name value` a line; static memory. */
COMET_API const char *comet_build_info(void);

#ifdef __cplusplus
}
#endif
#endif
