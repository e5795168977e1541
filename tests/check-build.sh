#!/bin/sh
# What is built is what is promised: the names that comet.so and libcomet.a export, that the shell can
# load the extension, and that the scripts in sql/ run to their end.  Output is counted as cmocka's is.
set -eu
cd "$(dirname "$0")/.."
work=${TMPDIR:-/tmp}
passed=0
failed=0

check() { # check name command ...
    name=$1
    shift
    if "$@"; then passed=$((passed + 1)); echo "[       OK ] $name"; else failed=$((failed + 1)); echo "not ok: $name"; fi
}

only_entry_points() {
    names=$(nm -D --defined-only comet.so | awk '{ print $3 }' | sort | tr '\n' ' ')
    [ "$names" = 'sqlite3_comet_init sqlite3_cometreadonly_init ' ] || { echo "exported: $names"; return 1; }
}

only_public_names() {
    names=$(nm -g --defined-only libcomet.a | awk 'NF == 3 && $3 !~ /^comet_/ { print $3 }')
    [ -z "$names" ] || { echo "global: $names"; return 1; }
}

header_names_are_there() {
    sed -n 's/^COMET_API[^(]*\(comet_[a-z_]*\)(.*/\1/p' include/comet.h | sort > "$work/declared"
    nm -g --defined-only libcomet.a | awk 'NF == 3 { print $3 }' | sort > "$work/defined"
    absent=$(comm -23 "$work/declared" "$work/defined")
    [ -z "$absent" ] || { echo "declared, not defined: $absent"; return 1; }
}

shell_loads_it() {
    echo 'SELECT comet_version();' | sqlite3 -bail -cmd '.load ./comet' :memory: | grep -q '[0-9]'
}

script_runs() { # script_runs name
    HOME=$work sqlite3 -bail -cmd '.load ./comet' :memory: < "sql/$1.sql" > "$work/$1.txt" 2>&1 \
        || { cat "$work/$1.txt"; return 1; }
}
operations_shows_pictures() {
    script_runs operations && grep -q '########' "$work/operations.txt" && grep -q '█' "$work/operations.txt" \
        && grep -q '# TYPE comet_first_offset gauge' "$work/operations.txt"
}

# fenced LANGUAGE: the first block of that language in the README.
fenced() { sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" README.md | sed '1d; /^```/,$d'; }

readme_session_runs() {
    fenced sql > "$work/session.sql"
    [ -s "$work/session.sql" ] || return 1
    HOME=$work sqlite3 -bail "$work/telemetry.db" < "$work/session.sql" > "$work/session.txt" 2>&1 \
        || { cat "$work/session.txt"; return 1; }
    grep -qi error "$work/session.txt" && { cat "$work/session.txt"; return 1; }
    [ -d "$work/telemetry.db-comet" ]
}

readme_c_program_runs() {
    fenced c > "$work/program.c"
    # shellcheck disable=SC2086  # $CC may have arguments
    ${CC:-cc} -std=c11 -Wall -Wextra -Werror -Iinclude -o "$work/program" "$work/program.c" libcomet.a -lzstd -lpthread \
        && (cd "$work" && ./program) | grep -q '^offset 0$'
}

check 'comet.so exports its two entry points and nothing else' only_entry_points
check 'libcomet.a has no global name outside comet_*' only_public_names
check 'every function of comet.h is in libcomet.a' header_names_are_there
check 'the sqlite3 shell loads ./comet' shell_loads_it
check 'sql/quickstart.sql runs without an error' script_runs quickstart
check 'sql/operations.sql runs without an error, and draws' operations_shows_pictures
check "README's session runs without an error" readme_session_runs
check "README's C program compiles and appends" readme_c_program_runs

[ "$passed" = 0 ] || echo "[  PASSED  ] $passed test(s)."
[ "$failed" = 0 ] || echo "[  FAILED  ] $failed test(s)."
[ "$failed" = 0 ]
