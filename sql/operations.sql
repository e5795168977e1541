-- Operations: how full is the log, how fast, who lags, is it well, and what will retention do next.
-- Run from the top of the source tree, after `make`:
--
--     sqlite3 -header -column -cmd '.load ./comet' :memory: < sql/operations.sql
--
-- It makes a log of its own to look at.  For yours, leave part 0 out and put the name of a table of your
-- log, or its directory, in the place of 'demo'.  Everything is plain SQL; only .print is the shell's.

.print '== 0. A log of 8 shards with something to see: small segments, two consumers, one of them slow.'
CREATE VIRTUAL TABLE demo USING comet_stream(stream='requests', shards=8, max_file_size='64KiB', min_compress_size=512);
SELECT comet_retention('demo', 'max_shard_size', '512KiB') AS max_shard_size,
       comet_retention('demo', 'max_age', '1h') AS max_age;
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 19999)
INSERT INTO demo(shard, timestamp, data)
    SELECT i * 7919 % 13 % 8, comet_ns('now') - (19999 - i) * 180000000 - abs(i % 4000 - 2000) * 60000000,
           printf('{"path":"/items/%d","status":%d,"ms":%d}', i % 50, iif(i % 97, 200, 500), 20 + (i * 7919) % 80
                  + iif(i BETWEEN 12000 AND 13000, 300, 0))
    FROM n;
COMMIT;
INSERT INTO demo(shard, data) SELECT 2, printf('{"trace":"%s"}', printf('%.*c', 3000, 'x')) FROM json_each('[1,2,3,4,5]');
SELECT sum(comet_ack('demo', 'billing', shard, last_offset - shard) > 0) AS shards_acknowledged FROM comet_shards('demo');
SELECT sum(comet_ack('demo', 'archive', shard, entries / (shard + 2)) > 0) AS shards_acknowledged FROM comet_shards('demo');
SELECT comet_sync('demo') IS NULL AS synced;

.print
.print '== 1. How full: data beside max_shard_size, the disk beneath, memory.'
WITH limits(most) AS (SELECT 512 * 1024)
SELECT shard, segments, bytes, printf('%5.1f%%', 100.0 * bytes / most) AS used,
       substr(replace(hex(zeroblob(32)), '00', '#'), 1, min(32, 1 + 32 * bytes / most)) AS bar
    FROM comet_shards('demo'), limits ORDER BY shard;
SELECT max(value) FILTER (WHERE name = 'disk_free_bytes') / 1048576 AS disk_free_mib,
       printf('%.1f%%', 100.0 - 100.0 * max(value) FILTER (WHERE name = 'disk_free_bytes')
              / max(value) FILTER (WHERE name = 'disk_bytes')) AS disk_used,
       max(value) FILTER (WHERE name = 'mapped_bytes') / 1024 AS mapped_kib,
       max(value) FILTER (WHERE name = 'mapped_limit_bytes') / 1024 AS mapped_limit_kib
    FROM comet_stats('demo') WHERE shard IS NULL;

.print
.print '== 2. How fast: rates since the first entry, and what a commit waits.'
SELECT s.shard, entries, round(entries / max(1e-9, (last_timestamp - first_timestamp) / 1e9), 1) AS per_second,
       w.written_mb, w.commits, w.p50_us, w.p99_us, w.max_us
    FROM comet_shards('demo') AS s JOIN
        (SELECT shard, round(max(value) FILTER (WHERE name = 'written_bytes') / 1e6, 2) AS written_mb,
                max(value) FILTER (WHERE name = 'transactions') AS commits,
                round(1e6 * max(value) FILTER (WHERE name = 'write_latency_p50_seconds'), 1) AS p50_us,
                round(1e6 * max(value) FILTER (WHERE name = 'write_latency_p99_seconds'), 1) AS p99_us,
                round(1e6 * max(value) FILTER (WHERE name = 'write_latency_max_seconds'), 1) AS max_us
             FROM comet_stats('demo') GROUP BY shard) AS w USING (shard)
    ORDER BY s.shard;

.print
.print '== 3. Entries a minute over the last hour, as a sparkline; the slowest request beneath.'
WITH RECURSIVE
    minutes(m) AS (SELECT 59 UNION ALL SELECT m - 1 FROM minutes WHERE m > 0),
    seen AS MATERIALIZED (SELECT (comet_ns('now') - timestamp) / 60000000000 AS m, count(*) AS entries,
                                 max(json_extract(data, '$.ms')) AS ms
                              FROM demo WHERE timestamp > comet_ns('now', '-1 hour') GROUP BY 1),
    both AS (SELECT m, coalesce(entries, 0) AS entries, coalesce(ms, 0) AS ms FROM minutes LEFT JOIN seen USING (m)),
    tops AS (SELECT max(entries) AS entries, max(ms) AS ms FROM both)
SELECT 'entries' AS what, (SELECT entries FROM tops) AS highest,
       group_concat(substr(' ▁▂▃▄▅▆▇█', 1 + 8 * b.entries / max(1, (SELECT entries FROM tops)), 1), '') AS last_hour
    FROM (SELECT * FROM both ORDER BY m DESC) AS b
UNION ALL
SELECT 'ms', (SELECT ms FROM tops),
       group_concat(substr(' ▁▂▃▄▅▆▇█', 1 + 8 * b.ms / max(1, (SELECT ms FROM tops)), 1), '')
    FROM (SELECT * FROM both ORDER BY m DESC) AS b;

.print
.print '== 4. Who lags, and by how much of the shard.'
SELECT "group", sum(lag) AS lag, sum(skipped) AS skipped,
       round((comet_ns('now') - max(last_ack)) / 1e9, 1) AS seconds_since_ack
    FROM comet_groups('demo') GROUP BY "group" ORDER BY lag DESC;
SELECT g."group", g.shard, g.lag,
       substr('########################', 1, 24 * (s.entries - g.lag) / s.entries)
       || substr('........................', 1, 24 - 24 * (s.entries - g.lag) / s.entries) AS done
    FROM comet_groups('demo') AS g JOIN comet_shards('demo') AS s USING (shard)
    WHERE s.entries > 0 ORDER BY g.lag DESC LIMIT 8;

.print
.print '== 5. Is it well?  No row but the first: all is.'
SELECT count(*) AS shards, sum(healthy) AS healthy FROM comet_shards('demo');
SELECT shard, why FROM comet_shards('demo') WHERE NOT healthy;
SELECT shard, name, value FROM comet_stats('demo') WHERE value > 0 AND name IN ('errors', 'failed_writes',
    'failed_rotations', 'read_errors', 'corruptions', 'index_save_errors', 'retention_errors', 'partial_writes');

.print
.print '== 6. What retention will do next: the settings, the oldest segments, who holds them, how long till they are too old.'
-- (retention goes by when a file was last written; where timestamps are the time of writing that is the same)
SELECT name, value FROM comet_retention('demo') WHERE name IN ('max_age', 'max_shard_size', 'when_full');
SELECT g.shard, g.file, g.bytes, g.last_offset,
       (SELECT group_concat("group", ', ') FROM comet_groups('demo') AS held
            WHERE held.shard = g.shard AND held.offset <= g.last_offset) AS held_by,
       round(3600 /* max_age */ - (comet_ns('now') - g.last_timestamp) / 1e9) AS seconds_left
    FROM comet_segments('demo') AS g
    WHERE g.sealed AND g.first_offset = (SELECT first_offset FROM comet_shards('demo') AS s WHERE s.shard = g.shard)
    ORDER BY g.last_timestamp LIMIT 8;
SELECT json_extract(comet_retention('demo'), '$.deleted.bytes') AS deleted_now;

.print
.print '== 7. For Prometheus: write this to a file that the text-file collector reads.'
SELECT substr(comet_metrics('demo'), 1, instr(comet_metrics('demo'), '# HELP comet_durable') - 1) AS metrics;
