-- Streams: many shards as one table.  Run from the top of the source tree, after `make`:
--
--     sqlite3 -header -column -cmd '.load ./comet' :memory: < sql/stream.sql
--
-- (the lines that begin with .print are for the sqlite3 shell; the rest is SQL for any client)

.print
.print '== 1. A stream over 16 shards.  Entries of one key stay together, in order.'
CREATE VIRTUAL TABLE events USING comet_stream(stream='events:v1', shards=16);
BEGIN;
INSERT INTO events(key, timestamp, data) VALUES
    ('user123', comet_ns('now', '-3 minutes'), '{"user":"user123","action":"login"}'),
    ('user456', comet_ns('now', '-2 minutes'), '{"user":"user456","action":"login"}'),
    ('user123', comet_ns('now', '-1 minute'),  '{"user":"user123","action":"search"}'),
    ('user789', comet_ns('now'),               '{"user":"user789","action":"login"}');
COMMIT;

.print
.print '== 2. One table in time order; the shards are merged on the way.'
SELECT id, comet_time(timestamp) AS time, data FROM events ORDER BY timestamp;
EXPLAIN QUERY PLAN SELECT data FROM events ORDER BY timestamp DESC LIMIT 10;

.print
.print '== 3. Only the shard that a key goes to.'
SELECT id, data FROM events WHERE shard = comet_pick_shard('user123', 16) ORDER BY offset;
SELECT comet_shard_name('events:v1', comet_pick_shard('user123', 16)) AS name,
       comet_shard_id('events:v1:shard:0006') AS number;

.print
.print '== 4. One entry by its id; some shards; a window in time.'
SELECT data FROM events WHERE id = comet_pick_shard('user123', 16) || '-0';
SELECT count(*) AS in_some FROM events WHERE shard IN (0, 6, 12);
SELECT count(*) AS last_90_seconds FROM events WHERE timestamp > comet_ns('now', '-90 seconds');

.print
.print '== 5. Without a key the shards take turns; with a shard the row goes there.'
INSERT INTO events(data) SELECT value FROM json_each('["a","b","c","d"]');
INSERT INTO events(shard, data) VALUES (15, 'to the last one');
SELECT count(DISTINCT shard) > 3 AS spread FROM events;

.print
.print '== 6. A transaction over several shards is undone as a whole.'
BEGIN;
INSERT INTO events(key, data) VALUES ('x', 'no'), ('y', 'no'), ('z', 'no');
ROLLBACK;
SELECT count(*) AS entries FROM events;
