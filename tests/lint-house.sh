#!/bin/sh
# The rules of the house that a compiler does not know:
#   - core/ never includes a sqlite3 header, and of the project only comet.h and its own headers;
#   - ext/ includes of the project only comet.h, comet_sqlite.h and its own headers;
#   - in core/, system calls are made in platform.c alone;
#   - no file over 900 lines, no function over 70;
#   - no unfinished-work markers.
set -eu
cd "$(dirname "$0")/.."
problems=$(mktemp)
trap 'rm -f "$problems"' EXIT

files() { find "$@" -name '*.[ch]' 2> /dev/null | sort; }

# Comments and string contents blanked, line numbers kept.
code_of() {
    awk '
    {
        line = $0; out = ""
        while (length(line)) {
            if (inside) {
                end = index(line, "*/")
                if (!end) { line = ""; break }
                line = substr(line, end + 2); inside = 0; continue
            }
            head = substr(line, 1, 2)
            if (head == "/*") { inside = 1; line = substr(line, 3); continue }
            if (head == "//") { break }
            if (match(line, /^"([^"\\]|\\.)*"/)) { out = out "\"\""; line = substr(line, RLENGTH + 1); continue }
            if (match(line, /^\047([^\047\\]|\\.)*\047/)) { out = out "0"; line = substr(line, RLENGTH + 1); continue }
            out = out substr(line, 1, 1); line = substr(line, 2)
        }
        print out
    }' "$1"
}

check_includes() { # check_includes file own-directory public-headers...
    file=$1
    own=$2
    shift 2
    sed -n 's/^[ \t]*#[ \t]*include[ \t]*[<"]\([^>"]*\)[>"].*/\1/p' "$file" | while read -r name; do
        base=$(basename "$name")
        case $own:$base in
        core:sqlite3*) echo "$file: core/ must not know SQLite: $name" ;;
        esac
        # A header of this project may come only from the file's own directory or the public ones.
        for place in core ext include tests/unit tests/sql tests/bench; do
            if [ -e "$place/$base" ] && [ "$place" != "$own" ] && [ ! -e "$own/$base" ]; then
                allowed=no
                for public in "$@"; do
                    [ "$base" = "$public" ] && allowed=yes
                done
                [ $allowed = yes ] || echo "$file: $own/ must not include $place/$base"
            fi
        done
    done
}

calls='open|openat|creat|close|read|write|pread|pwrite|preadv|pwritev|readv|writev|lseek|mmap|munmap|mremap|madvise'
calls="$calls|msync|mlock|fsync|fdatasync|sync_file_range|syncfs|ftruncate|truncate|fallocate|posix_fallocate|rename"
calls="$calls|renameat|link|unlink|unlinkat|mkdir|mkdirat|rmdir|fcntl|flock|stat|fstat|lstat|fstatat|statvfs|fstatvfs"
calls="$calls|opendir|fdopendir|readdir|closedir|fopen|fdopen|fread|fwrite|fclose|fflush|kill|getpid|gettid|access|chmod|fchmod"
calls="$calls|clock_gettime|gettimeofday|nanosleep|usleep|sleep|sysconf|syscall|realpath|readlink|getcwd|dup|fork"

for file in $(files core); do
    check_includes "$file" core comet.h
    case $file in
    core/platform.c) ;;
    *)
        code_of "$file" | grep -nE "(^|[^A-Za-z0-9_.>])($calls)[ ]*\(" \
            | sed "s|^|$file:|; s|\$|  <- system call outside core/platform.c|" || true
        ;;
    esac
done >> "$problems"

for file in $(files ext); do
    check_includes "$file" ext comet.h comet_sqlite.h
done >> "$problems"

for file in $(files core ext include tests); do
    lines=$(wc -l < "$file")
    [ "$lines" -le 900 ] || echo "$file: $lines lines, 900 at most"
    # A function's signature begins at column 0 and its body ends with the next } at column 0.
    code_of "$file" | awk -v file="$file" '
        /^[A-Za-z_]/ && !body { if (!start) start = NR }
        /^[^#].*;[ \t]*$/ && !body && /^[A-Za-z_ ]/ { if (!/\{/) start = 0 }
        /\{[ \t]*$/ && !body { body = 1; function_body = /\)[ \t]*\{[ \t]*$/ }
        /^\}/ {
            if (body && function_body && start && NR - start + 1 > 70)
                printf "%s:%d: a function of %d lines, 70 at most\n", file, start, NR - start + 1
            start = 0; body = 0
        }'
done >> "$problems"

marker='TO''DO|FIX''ME'
grep -rnE "$marker" core ext include tests sql Makefile README.md .ci 2> /dev/null >> "$problems" || true

if [ -s "$problems" ]; then
    cat "$problems"
    echo "lint: $(wc -l < "$problems") against the rules of the house"
    exit 1
fi
echo 'lint: the rules of the house hold'
