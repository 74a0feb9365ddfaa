#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make deb` does after building: assembles a Debian source tree in build/deb (or $DEB_OUT), where debian/ stands at
# the top, and builds the packages there from the objects that are there already.
set -euo pipefail
cd "$(dirname "$0")/.."
build=${BUILD:-build}
out=${DEB_OUT:-$build/deb}
version=$(sed -nE 's/^#define MA_VERSION "(.*)"$/\1/p' include/ma/version.h)
tree=$out/myaccountd-$version

# Sources as the repository has them, without what lies around; all of them where there is no repository.
sources() {
    git ls-files -z -- src include sql conf Makefile README.md LICENSE 2>/dev/null ||
        find src include sql conf Makefile README.md LICENSE -type f -print0
}

rm -rf "$out"
mkdir -p "$tree/build"
umask 022
sources | xargs -0 cp -p --parents -t "$tree"
mv "$tree/conf/debian" "$tree/debian"
cp -a "$build/release" "$build/host" "$tree/build/"

# The time that archives and pages carry: that of the last change. Files that are older would keep theirs.
if [ -z "${SOURCE_DATE_EPOCH:-}" ]; then
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || dpkg-parsechangelog -l "$tree/debian/changelog" -STimestamp)
fi
export SOURCE_DATE_EPOCH
find "$tree" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +

cd "$tree"
# Debian's build needs none of what the caller's make passes on.
env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u CFLAGS -u LDFLAGS -u DESTDIR -u PREFIX -u BUILD -u MODE \
    dpkg-buildpackage --build=binary --no-sign --no-pre-clean "$@" >"../build.log" 2>&1 || {
    tail -40 ../build.log >&2
    exit 1
}
cd ..
ls -1 ./*.deb
