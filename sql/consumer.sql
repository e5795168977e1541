-- A consumer in SQL: requests per minute, each entry counted exactly once.  Run from the top of the source
-- tree, after `make`; with a database file, as the group's position is kept in it:
--
--     sqlite3 -header -column -cmd '.load ./comet' consumer.db < sql/consumer.sql
--
-- Run it again: it goes on where it stopped.  Kill it anywhere: no entry is lost, none counted twice.

.print
.print '== 1. A producer appends requests to two shards of the log consumer.db-comet.'
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
INSERT INTO comet_shard(shard, timestamp, data)
    SELECT i % 2, comet_ns('2026-01-01 00:00:00', '+' || (i / 5) || ' seconds'),
           json_object('path', '/items', 'ms', 10 + i % 7) FROM n;

.print
.print '== 2. The consumer: a group, and the table that it fills.'
CREATE VIRTUAL TABLE IF NOT EXISTS billing USING comet_consumer(group='billing');
CREATE TABLE IF NOT EXISTS per_minute(minute TEXT PRIMARY KEY, requests INTEGER, ms REAL);
CREATE TEMP TABLE batch(shard INTEGER, offset INTEGER, minute TEXT, ms REAL);
SELECT shard, count(*) AS pending FROM billing GROUP BY shard;

.print
.print '== 3. One batch: what it computes and its acknowledgement are one transaction.'
BEGIN IMMEDIATE;
INSERT INTO batch SELECT shard, offset, substr(comet_time(timestamp), 1, 16), json_extract(data, '$.ms')
    FROM billing LIMIT 600;
INSERT INTO per_minute SELECT minute, count(*), sum(ms) FROM batch WHERE true GROUP BY minute
    ON CONFLICT(minute) DO UPDATE SET requests = requests + excluded.requests, ms = ms + excluded.ms;
SELECT shard, comet_ack('billing', 'billing', shard, max(offset)) AS position FROM batch GROUP BY shard;
DELETE FROM batch;
COMMIT;
SELECT * FROM per_minute;

.print
.print '== 4. What is left; a rollback leaves it pending.'
SELECT comet_lag('billing', 'billing') AS lag;
BEGIN;
SELECT count(comet_ack('billing', 'billing', shard, offset)) AS acknowledged FROM billing;
SELECT comet_lag('billing', 'billing') AS lag_within;
ROLLBACK;
SELECT comet_lag('billing', 'billing') AS lag_after;

.print
.print '== 5. All groups of the log; another one begins at the oldest entry, or where it is put.'
SELECT comet_seek('billing', 'audit', 0, '@' || comet_ns('2026-01-01 00:01:00')) AS audit_begins_at;
SELECT shard, "group", offset, lag, acknowledged, skipped FROM comet_groups('billing');
