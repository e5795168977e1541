#!/bin/sh
# Print the line coverage of each core/ file and their sum.  Usage: tests/coverage.sh object-directory
set -eu
for object in "$1"/*.o; do
    gcov -n -o "$object" "$object" 2> /dev/null
done | awk -F "'" '
    /^File/ { file = $2 }
    /^Lines executed/ && file ~ /^core\/.*\.c$/ {
        split($0, part, /[:% ]+/); percent = part[3]; lines = part[5]
        printf "%-24s %6.1f %% of %5d lines\n", file, percent, lines
        covered += percent * lines / 100; all += lines; file = ""
    }
    END { if (all) printf "%-24s %6.1f %% of %5d lines\n", "core/", 100 * covered / all, all }'
