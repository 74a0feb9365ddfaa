#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# unpack.sh DIRECTORY PACKAGE...: unpacks Debian packages below DIRECTORY, without installing them, unless a program of
# the package's name is installed or unpacked already. Without success the tests that need it are skipped.
set -u
dir=$1
shift
for package in "$@"; do
    command -v "$package" >/dev/null && continue
    [ -x "$dir/usr/sbin/$package" ] || [ -x "$dir/usr/bin/$package" ] && continue
    echo "Unpacking the Debian package $package into $dir"
    work=$(mktemp -d)
    if (cd "$work" && apt-get -o APT::Sandbox::User="$(id -un)" download -qq "$package") && mkdir -p "$dir"; then
        dpkg -x "$work"/*.deb "$dir"
    else
        echo "*** $package cannot be had: tests with it will be SKIPPED ***" >&2
    fi
    rm -rf "$work"
done
exit 0
