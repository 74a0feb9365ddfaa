#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make distcheck` does: builds, installs and packages the last commit in two trees that differ in whatever a build
# must not depend on (place, age of the files, time zone, language, umask, number of jobs), and compares the hashes of all
# that comes out. Ends with 0 and a line for each file, or with 1 and the files that differ.
set -euo pipefail
cd "$(dirname "$0")/../.."
make=${MAKE:-make}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CCACHE_DISABLE=1
unset MAKEFLAGS MAKELEVEL MFLAGS DESTDIR BUILD MODE

# Hashes of everything below $1, by path; the log of the packaging holds times.
hashes() {
    (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# Tree $1, time zone $2, language $3, umask $4, jobs $5, time of the files $6.
build() {
    local tree=$1
    mkdir -p "$tree"
    (
        git archive HEAD | tar -x -C "$tree"
        find "$tree" -exec touch -d "$6" {} +
        export TZ=$2 LC_ALL=$3
        umask "$4"
        cd "$tree"
        "$make" -j"$5" MODE=release all
        "$make" -j"$5" install DESTDIR="$tree/out/installed" PREFIX=/usr
        "$make" -j"$5" deb
        mkdir -p out/packages
        cp build/deb/*.deb out/packages/
    ) >"$tree.log" 2>&1 || {
        tail -40 "$tree.log" >&2
        exit 1
    }
    hashes "$tree/out" >"$tree.sums"
}

build "$work/a" UTC C.UTF-8 022 2 @1000000000
build "$work/another/tree-deeper" Asia/Kathmandu POSIX 077 1 @1500000000
if ! diff -u "$work/a.sums" "$work/another/tree-deeper.sums"; then
    echo 'distcheck: the trees differ' >&2
    exit 1
fi
cat "$work/a.sums"
echo "distcheck: $(wc -l <"$work/a.sums") files, the same hashes from two trees"
