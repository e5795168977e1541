#!/bin/sh
# The main job on this machine's own telemetry: a log file that is there and /proc go into a comet
# log, are queried by time and offset, and then sql/quickstart.sql and sql/operations.sql run.  Leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/comet-demo.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

shell() { # HOME is ours, so that nobody's ~/.sqliterc has a say
    HOME=$work sqlite3 -bail -cmd '.load ./comet' "$@"
}

# The first log file that can be read and is not empty; else the journal's or the kernel's messages.
source=
for file in /var/log/syslog /var/log/messages /var/log/dpkg.log /var/log/apt/history.log \
    /var/log/alternatives.log; do
    if [ -r "$file" ] && [ -s "$file" ]; then
        source=$file
        break
    fi
done
if [ -z "$source" ]; then
    source=$work/messages.txt
    journalctl --no-pager -n 10000 > "$source" 2> /dev/null || true
    [ -s "$source" ] || dmesg > "$source" 2> /dev/null || true
    [ -s "$source" ] || cat /proc/cpuinfo > "$source"
fi

echo "== A log in $work/telemetry: shard 0 from $source, shard 1 from /proc"
cat > "$work/load.sql" <<SQL
CREATE VIRTUAL TABLE messages USING comet_shard(log='$work/telemetry', shard=0);
CREATE VIRTUAL TABLE kernel   USING comet_shard(log='$work/telemetry', shard=1);
BEGIN;
INSERT INTO messages(data) SELECT line FROM comet_lines('$source');
INSERT INTO kernel(data)   SELECT line FROM comet_lines('/proc/stat');
INSERT INTO kernel(data)   SELECT line FROM comet_lines('/proc/meminfo');
INSERT INTO kernel(data)   SELECT line FROM comet_lines('/proc/loadavg');
COMMIT;
.mode column
SELECT 'messages' AS "table", count(*) AS entries, sum(length(data)) AS characters FROM messages
UNION ALL SELECT 'kernel', count(*), sum(length(data)) FROM kernel;
SQL
shell "$work/demo.db" < "$work/load.sql"

echo
echo '== Another process opens the same database and asks'
cat > "$work/ask.sql" <<'SQL'
.mode column
SELECT offset, comet_time(timestamp) AS time, substr(data, 1, 58) AS data FROM messages ORDER BY offset DESC LIMIT 5;
SELECT count(*) AS in_the_last_minute FROM kernel WHERE timestamp > comet_ns('now', '-1 minute');
SELECT data AS memory FROM kernel WHERE data LIKE 'MemAvailable%' OR data LIKE 'MemTotal%';
SELECT file, shard, entries, bytes, sealed FROM comet_segments('messages');
SELECT shard, entries, bytes, segments FROM comet_shards('messages');
SQL
shell "$work/demo.db" < "$work/ask.sql"

echo
echo '== sql/quickstart.sql'
shell -header -column :memory: < sql/quickstart.sql
echo
echo '== sql/operations.sql'
shell -header -column :memory: < sql/operations.sql
echo
echo 'demo: done'
