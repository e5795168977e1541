#!/bin/sh
# Run each libFuzzer target for $FUZZ_SECONDS from its own seeds; last of all `N passed, N failed`.
# Usage: tests/fuzz.sh <build directory with seed writers> <build directory with libFuzzer targets>
# What breaks a target is kept beside it, as crash-...
set -eu

seeders=$1/tests/fuzz
targets=$2/tests/fuzz
passed=0
failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/comet-fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
for target in "$targets"/fuzz_*; do
    name=$(basename "$target")
    case $name in *.*) continue ;; esac
    mkdir "$work/$name" "$work/$name.tmp"
    "$seeders/$name" "$work/$name"
    if TMPDIR=$work/$name.tmp "$target" -max_total_time="$FUZZ_SECONDS" -max_len=262144 -timeout=30 \
        -artifact_prefix="$targets/" "$work/$name" > "$work/$name.log" 2>&1; then
        passed=$((passed + 1))
        printf 'ok      %-20s %s\n' "$name" "$(tail -n 1 "$work/$name.log")"
    else
        failed=$((failed + 1))
        printf 'FAILED  %s\n' "$name"
        tail -n 40 "$work/$name.log" | sed 's/^/    /'
    fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
