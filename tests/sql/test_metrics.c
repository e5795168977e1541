/* If these break, a dashboard shows numbers that are not the log's, a scraper refuses the page, or a
** sick shard looks healthy. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"

static void make_log(fixture *used) {
    run(used->db, "CREATE VIRTUAL TABLE t USING comet_shard(log='telemetry', max_file_size=65536);"
                  "CREATE VIRTUAL TABLE u USING comet_shard(log='telemetry', shard=7);"
                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)"
                  " INSERT INTO t(data) SELECT printf('%%0100d', i) FROM n;"
                  "INSERT INTO u(data) VALUES ('one'), (zeroblob(5000));");
    expect(used->db, "2000|200000", "SELECT count(*), sum(length(data)) FROM t");
    expect(used->db, "11", "SELECT comet_ack('telemetry', 'g', 0, 10)");
    expect(used->db, "NULL", "SELECT comet_sync('telemetry')");
}

static void test_stats(void **state) {
    fixture *used = *state;

    make_log(used);
    expect(used->db, "0|written_entries|2000|NULL|counter\n7|written_entries|2|NULL|counter",
           "SELECT shard, name, value, unit, kind FROM comet_stats('telemetry')"
           " WHERE name = 'written_entries'");
    expect(used->db,
           "acknowledged_entries|11\nlag_entries|1989\nread_entries|2000\nwritten_bytes|200000",
           "SELECT name, value FROM comet_stats('t') WHERE shard = 0 AND name IN ('written_bytes',"
           " 'read_entries', 'acknowledged_entries', 'lag_entries') ORDER BY name");
    expect(used->db, "1|1|1",
           "SELECT max(value) FILTER (WHERE name = 'files') = (SELECT count(*) FROM"
           " comet_segments('t') WHERE shard = 0),"
           " max(value) FILTER (WHERE name = 'file_bytes') = (SELECT sum(bytes) FROM"
           " comet_segments('t') WHERE shard = 0),"
           " max(value) FILTER (WHERE name = 'end_offset') = 2000"
           " FROM comet_stats('telemetry') WHERE shard = 0");
    expect(used->db, "1|1|real",
           "SELECT p50 BETWEEN lowest AND p99, p99 <= highest, typeof(p99) FROM (SELECT"
           " max(value) FILTER (WHERE name = 'write_latency_min_seconds') AS lowest,"
           " max(value) FILTER (WHERE name = 'write_latency_p50_seconds') AS p50,"
           " max(value) FILTER (WHERE name = 'write_latency_p99_seconds') AS p99,"
           " max(value) FILTER (WHERE name = 'write_latency_max_seconds') AS highest"
           " FROM comet_stats('telemetry') WHERE shard = 0)");
    expect(used->db, "shards|2", "SELECT name, value FROM comet_stats('t') WHERE name = 'shards'");
    expect(used->db, "0",
           "SELECT count(*) FROM comet_stats('t') WHERE help IS NULL OR value IS NULL");
    expect(used->db, "0",
           "SELECT count(*) FROM (SELECT 1 FROM comet_stats('t') GROUP BY shard, name HAVING"
           " count(*) > 1)");
}

/* The same numbers, of both kinds, in the text and in the table. */
static void test_text_equals_stats(void **state) {
    fixture *used = *state;

    make_log(used);
    run(used->db, "CREATE TEMP TABLE line AS WITH RECURSIVE"
                  " whole(text) AS MATERIALIZED (SELECT comet_metrics('telemetry')),"
                  " cut(line, rest) AS (SELECT NULL, text FROM whole UNION ALL"
                  "  SELECT substr(rest, 1, instr(rest, char(10)) - 1),"
                  "   substr(rest, instr(rest, char(10)) + 1) FROM cut WHERE rest != '')"
                  " SELECT line FROM cut WHERE line IS NOT NULL");
    expect(used->db, "# EOF", "SELECT line FROM line ORDER BY rowid DESC LIMIT 1");
    run(used->db,
        "CREATE TEMP TABLE sample AS SELECT substr(line, 1, instr(line, ' ') - 1) AS name,"
        " CAST(substr(line, instr(line, ' ') + 1) AS REAL) AS value"
        " FROM line WHERE line NOT LIKE '#%%'");
    run(used->db,
        "CREATE TEMP TABLE stat AS SELECT 'comet_' || name || iif(kind = 'counter', '_total', '')"
        " || iif(shard IS NULL, '', printf('{shard=\"%%d\"}', shard)) AS name, kind, value"
        " FROM comet_stats('telemetry')");
    expect(used->db, "1|0|1",
           "SELECT (SELECT count(*) FROM stat) = (SELECT count(*) FROM sample),"
           " (SELECT count(*) FROM stat WHERE name NOT IN (SELECT name FROM sample)),"
           " (SELECT count(*) FROM stat WHERE kind = 'counter') > 50");
    expect(used->db, "",
           "SELECT name, stat.value, sample.value FROM stat JOIN sample USING (name)"
           " WHERE kind = 'counter' AND abs(stat.value - sample.value) > 1e-9");
}

/* ---- The grammar --------------------------------------------------------------------------------- */

static const char *skip_name(const char *at) {
    while (isalnum((unsigned char)*at) || *at == '_') {
        at++;
    }
    return at;
}

/* One sample: name, labels, a space, a number. */
static bool is_sample(const char *line, const char *family) {
    const char *end = skip_name(line);
    char *rest;

    if ((size_t)(end - line) != strlen(family) || strncmp(line, family, strlen(family)) != 0) {
        return false;
    }
    if (*end == '{') {
        if (strncmp(end, "{shard=\"", 8) != 0) {
            return false;
        }
        (void)strtoul(end + 8, &rest, 10);
        if (rest == end + 8 || strncmp(rest, "\"}", 2) != 0) {
            return false;
        }
        end = rest + 2;
    }
    if (*end != ' ') {
        return false;
    }
    (void)strtod(end + 1, &rest);
    return rest > end + 1 && *rest == '\0';
}

/* HELP, TYPE, for gauges perhaps UNIT, and then nothing but samples of that family, as the exposition
** format wants it; families do not come back. */
static void check_grammar(char *text) {
    char families[200][100];
    size_t count = 0;
    char *line = strtok(text, "\n");

    while (line != NULL && strcmp(line, "# EOF") != 0) {
        char family[100];
        char kind[20];
        char unit[20];
        bool total;

        assert_int_equal(sscanf(line, "# HELP %99s ", family), 1);
        line = strtok(NULL, "\n");
        assert_non_null(line);
        assert_int_equal(sscanf(line, "# TYPE %*s %19s", kind), 1);
        assert_non_null(strstr(line, family));
        total = strlen(family) > 6 && strcmp(family + strlen(family) - 6, "_total") == 0;
        assert_int_equal(total, strcmp(kind, "counter") == 0);
        assert_true(total || strcmp(kind, "gauge") == 0);
        line = strtok(NULL, "\n");
        if (line != NULL && strncmp(line, "# UNIT", 6) == 0) {
            assert_int_equal(sscanf(line, "# UNIT %*s %19s", unit), 1);
            assert_string_equal(family + strlen(family) - strlen(unit), unit);
            line = strtok(NULL, "\n");
        }
        for (size_t i = 0; i < count; i++) {
            assert_string_not_equal(families[i], family);
        }
        assert_true(count < sizeof families / sizeof families[0]);
        strcpy(families[count++], family);
        assert_true(line != NULL && is_sample(line, family));
        while (line != NULL && line[0] != '#') {
            assert_true(is_sample(line, family));
            line = strtok(NULL, "\n");
        }
    }
    assert_non_null(line);
    assert_null(strtok(NULL, "\n"));
    assert_true(count > 60);
}

/* Prometheus' own judge, where it is installed. */
static void ask_promtool(const fixture *used, const char *text) {
    char path[700];
    char command[900];
    char said[1000] = "";
    FILE *pipe;
    size_t length;

    if (system("command -v promtool > /dev/null 2>&1") != 0) {
        print_message("promtool is not installed (Debian package prometheus): grammar alone\n");
        return;
    }
    write_file(used, "metrics.txt", text, strlen(text), path);
    snprintf(command, sizeof command, "promtool check metrics < '%s' 2>&1", path);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    length = fread(said, 1, sizeof said - 1, pipe);
    said[length] = '\0';
    if (pclose(pipe) != 0 || length > 0) {
        fail_msg("promtool says: %s", said);
    }
}

static void test_text_is_understood(void **state) {
    fixture *used = *state;
    char *text;

    make_log(used);
    text = rows_of(used->db, "SELECT comet_metrics('telemetry')");
    assert_non_null(text);
    ask_promtool(used, text);
    check_grammar(text);
    sqlite3_free(text);
}

/* ---- Health, and bad input ---------------------------------------------------------------------- */

static void test_a_sick_shard_says_why(void **state) {
    fixture *used = *state;
    char garbage[2000];
    char path[700];

    make_log(used);
    expect(used->db, "0|1|NULL\n7|1|NULL", "SELECT shard, healthy, why FROM comet_shards('t')");
    fixture_reopen(used);
    memset(garbage, 7, sizeof garbage);
    write_file(used, "telemetry/shard-0000/log-0000000000000001.comet", garbage, sizeof garbage,
               path);
    refuse(used->db, SQLITE_CORRUPT, "log-0000000000000001.comet",
           "SELECT max(data) FROM comet_shard('telemetry', 0)");
    expect(used->db, "0|0|1\n7|1|NULL",
           "SELECT shard, healthy, why LIKE '%%errors, the last one%%found damaged%%comet_verify'"
           " FROM comet_shards('telemetry')");
    expect(used->db, "corruptions|1\nread_errors|1",
           "SELECT name, value > 0 FROM comet_stats('telemetry') WHERE shard = 0 AND name IN"
           " ('corruptions', 'read_errors') ORDER BY name");
}

static void test_bad_input(void **state) {
    fixture *used = *state;

    refuse(used->db, SQLITE_ERROR, "there is no log", "SELECT * FROM comet_stats('nowhere')");
    refuse(used->db, SQLITE_ERROR, "there is no log", "SELECT comet_metrics('nowhere')");
    refuse(used->db, SQLITE_ERROR, "", "SELECT comet_metrics(1, 2)");
    refuse(used->db, SQLITE_ERROR, "", "INSERT INTO comet_stats(name) VALUES ('x')");
    make_log(used);
    run(used->db, "CREATE VIEW v AS SELECT comet_metrics('telemetry');"
                  "CREATE VIEW w AS SELECT * FROM comet_stats('telemetry')");
    refuse(used->db, SQLITE_ERROR, "unsafe use", "SELECT * FROM v");
    refuse(used->db, SQLITE_ERROR, "unsafe use", "SELECT * FROM w");
}

/* Another connection, that only reads, sees the same, and changes nothing. */
static void test_readers_may_look(void **state) {
    fixture *used = *state;
    sqlite3 *reader;

    make_log(used);
    reader = db_open_readonly_comet(used->database);
    expect(reader, "2002",
           "SELECT sum(value) FROM comet_stats('telemetry') WHERE name = 'written_entries'");
    expect(reader, "1", "SELECT length(comet_metrics('telemetry')) > 1000");
    db_close(reader);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        SQL_TEST(test_stats),
        SQL_TEST(test_text_equals_stats),
        SQL_TEST(test_text_is_understood),
        SQL_TEST(test_a_sick_shard_says_why),
        SQL_TEST(test_bad_input),
        SQL_TEST(test_readers_may_look),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
