-- comet in five minutes.  Run from the top of the source tree, after `make`:
--
--     sqlite3 -header -column -cmd '.load ./comet' :memory: < sql/quickstart.sql
--
-- (the lines that begin with .print are for the sqlite3 shell; the rest is SQL for any client)
--
-- The tables live in a :memory: database, so the log is a private temporary directory that goes away with the
-- connection.  With a database file x.db it would be the directory x.db-comet beside it and stay.

.print
.print '== 1. Append: every line of a file is an entry.'
INSERT INTO comet_shard(data) SELECT line FROM comet_lines('/proc/meminfo');
INSERT INTO comet_shard(data) VALUES ('one line, now');
SELECT count(*) AS entries, max(offset) AS newest_offset FROM comet_shard;

.print
.print '== 2. Read by offset and by time.'
SELECT offset, comet_time(timestamp) AS time, data FROM comet_shard WHERE offset BETWEEN 0 AND 2;
SELECT count(*) AS last_hour FROM comet_shard WHERE timestamp > comet_ns('now', '-1 hour');

.print
.print '== 3. The newest entries; the index does the work.'
SELECT offset, data FROM comet_shard ORDER BY offset DESC LIMIT 10;
EXPLAIN QUERY PLAN SELECT offset, data FROM comet_shard ORDER BY offset DESC LIMIT 10;
EXPLAIN QUERY PLAN SELECT data FROM comet_shard WHERE timestamp > comet_ns('now', '-1 hour');

.print
.print '== 4. A table with a name, a shard and settings of its own.'
CREATE VIRTUAL TABLE requests USING comet_shard(shard=1, sync=normal);
INSERT INTO requests(timestamp, data) VALUES
    (comet_ns('now', '-3 minutes'), '{"path":"/login","status":200,"ms":12.5}'),
    (comet_ns('now', '-2 minutes'), '{"path":"/items","status":500,"ms":840.0}'),
    (comet_ns('now', '-1 minute'),  '{"path":"/items","status":200,"ms":31.2}');

.print
.print '== 5. JSON is queried with the functions that SQLite has.'
SELECT json_extract(data, '$.path') AS path, count(*) AS requests, avg(json_extract(data, '$.ms')) AS ms
    FROM requests WHERE timestamp > comet_ns('now', '-1 hour') GROUP BY path ORDER BY path;

.print
.print '== 6. Transactions: a rollback leaves no trace, its offsets are used again.'
BEGIN;
INSERT INTO requests(data) VALUES ('{"path":"/oops","status":0,"ms":0}');
SELECT count(*) AS within_the_transaction FROM requests;
ROLLBACK;
SELECT count(*) AS after_the_rollback FROM requests;

.print
.print '== 7. What is on the disk, and make it durable now.'
SELECT shard, file, first_offset, last_offset, entries, bytes, sealed FROM comet_segments;
SELECT shard, entries, bytes, segments FROM comet_shards;
SELECT comet_sync('requests');

.print
.print '== 8. Settings: read one, change it, list some.'
SELECT comet_config('requests', 'max_file_size') AS max_file_size;
SELECT comet_config('requests', 'max_file_size', '64MB') AS changed_to;
SELECT name, value, unit FROM comet_config('requests') WHERE name IN ('max_file_size', 'sync', 'min_compress_size');
