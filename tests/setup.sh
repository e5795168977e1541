#!/bin/sh
# Install what is missing for the named purposes, through apt-get, and say so.
# Usage: tests/setup.sh build|test|demo|bench|lint|valgrind ...
# Silent, and needs no network, when everything is there.
set -eu

missing=

has_command() { command -v "$1" > /dev/null 2>&1; }
has_header() {
    [ -e "/usr/include/$1" ] || [ -e "/usr/local/include/$1" ] && return 0
    has_command cc && echo "#include <$1>" | cc -E - > /dev/null 2>&1
}
need_command() { has_command "$1" || missing="$missing $2"; }
need_header() { has_header "$1" || missing="$missing $2"; }

for purpose in "$@"; do
    case $purpose in
    build)
        need_command gcc gcc
        need_command objcopy binutils
        need_header stdlib.h libc6-dev
        need_header sqlite3ext.h libsqlite3-dev
        need_header zstd.h libzstd-dev
        ;;
    test)
        # cmocka.h cannot be included alone, so look for the file only.
        [ -e /usr/include/cmocka.h ] || [ -e /usr/local/include/cmocka.h ] \
            || missing="$missing libcmocka-dev"
        need_command sqlite3 sqlite3
        ;;
    demo) need_command sqlite3 sqlite3 ;;
    bench) need_header lmdb.h liblmdb-dev ;;
    valgrind) need_command valgrind valgrind ;;
    lint)
        need_command clang clang
        need_command clang-tidy clang-tidy
        need_command clang-format clang-format
        ;;
    *)
        echo "setup: unknown purpose '$purpose'" >&2
        exit 2
        ;;
    esac
done

[ -n "$missing" ] || exit 0
if ! has_command apt-get; then
    echo "setup: please install the equivalents of these Debian packages:$missing" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
    has_command sudo || { echo "setup: as root, please: apt-get install$missing" >&2; exit 1; }
    sudo=sudo
fi
echo "setup: installing$missing with apt-get"
log=$(mktemp)
# The lists may be absent or old, so a failed first try is followed by an update.
# shellcheck disable=SC2086  # $missing is a list of words
install() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing \
        > "$log" 2>&1
}
if ! install; then
    $sudo apt-get update > /dev/null 2>&1 || true
    if ! install; then
        cat "$log" >&2
        rm -f "$log"
        echo "setup: apt-get could not install$missing" >&2
        exit 1
    fi
fi
rm -f "$log"
