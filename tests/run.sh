#!/bin/sh
# Run test programs, $JOBS at a time, and count the cmocka tests in them.
# Usage: tests/run.sh program ...
# Each program gets an empty TMPDIR of its own, which goes away afterwards.  $WRAPPER stands before
# it (valgrind).  Prints a line a program, the whole output of those that failed, with $SHOW also what
# the others counted and their seeds, and last of all `N passed, N failed`.  A program that ends badly without naming a failed test counts as one failed.
set -eu

if [ "${1-}" = --one ]; then
    program=$2
    name=$(basename "$program" .sh)
    key=$(printf '%s' "$program" | tr '/' '-') # a unit and an SQL test may have one name
    mkdir "$RUN_DIRECTORY/$key"
    out=$RUN_DIRECTORY/$key.log
    start=$(date +%s)
    status=0
    # shellcheck disable=SC2086  # $WRAPPER is a command with arguments
    TMPDIR=$RUN_DIRECTORY/$key timeout --kill-after=10 "${TIMEOUT:-900}" ${WRAPPER-} "$program" \
        > "$out" 2>&1 < /dev/null || status=$?
    passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s).*/\1/p' "$out" | awk '{ n += $1 } END { print n + 0 }')
    failed=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test(s).*/\1/p' "$out" | awk '{ n += $1 } END { print n + 0 }')
    skipped=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test(s).*/, \1 skipped/p' "$out" | head -n 1)
    if [ "$status" != 0 ] && [ "$failed" = 0 ]; then
        failed=1
    fi
    if [ "$status" = 0 ] && [ "$failed" = 0 ] && [ "$passed" = 0 ]; then
        failed=1 # a test program without a test is a mistake
    fi
    echo "$passed $failed" > "$RUN_DIRECTORY/$key.count"
    if [ "$failed" = 0 ]; then
        printf 'ok      %-28s %4d tests  %4d s%s\n' "$name" "$passed" $(($(date +%s) - start)) "$skipped"
        if [ -n "${SHOW-}" ]; then
            grep -v '^\[' "$out" | sed 's/^/    /' || true
        fi
    else
        printf 'FAILED  %-28s %4d passed, %d failed, exit status %d\n' "$name" "$passed" "$failed" "$status"
        grep -v '^\[ RUN\|^\[       OK' "$out" | tail -n 60 | sed 's/^/    /'
    fi
    rm -rf "${RUN_DIRECTORY:?}/$key"
    exit 0
fi

[ $# -gt 0 ] || { echo '0 passed, 1 failed'; exit 1; }
RUN_DIRECTORY=$(mktemp -d "${TMPDIR:-/tmp}/comet-test.XXXXXX")
export RUN_DIRECTORY
trap 'rm -rf "$RUN_DIRECTORY"' EXIT
trap 'exit 130' INT TERM
export CMOCKA_MESSAGE_OUTPUT=STDOUT
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS-}"
export ASAN_OPTIONS="detect_leaks=1:${ASAN_OPTIONS-}"

printf '%s\n' "$@" | xargs -P "${JOBS:-1}" -I{} "$0" --one {}
cat "$RUN_DIRECTORY"/*.count | awk '
    { passed += $1; failed += $2 }
    END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 }'
