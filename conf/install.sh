#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# install.sh install|uninstall SOURCE>DESTINATION>MODE...
# Puts files below $DESTDIR, with modes that do not depend on the umask, or takes exactly these away again. Needs no
# privilege beyond writing there.
set -euo pipefail
umask 022
action=$1
shift
root=${DESTDIR:-}
conf=$root${SYSCONFDIR:-/etc}/myaccountd

# Files of conf/ that name directories get the ones of this installation.
place() {
    local from=$1 to=$2 mode=$3
    echo "  INSTALL $to"
    install -d -m 0755 "$(dirname "$to")"
    case $from in
    conf/myaccountd.service)
        sed -e "s|/usr/local/sbin|$SBINDIR|g" -e "s|/etc/myaccountd|${SYSCONFDIR}/myaccountd|g" "$from" >"$to.new"
        chmod "$mode" "$to.new"
        mv -f "$to.new" "$to"
        ;;
    *) install -m "$mode" "$from" "$to" ;;
    esac
}

for row in "$@"; do
    IFS='>' read -r from to mode <<<"$row"
    case $action in
    install) place "$from" "$root$to" "$mode" ;;
    uninstall) rm -f "$root$to" ;;
    *) exit 2 ;;
    esac
done
if [ "$action" = install ]; then
    install -d -m 0755 "$conf"
    exit
fi
# Directories of ours, once they are empty: what the operator put into them stays.
for row in "$@"; do
    IFS='>' read -r from to mode <<<"$row"
    dir=$(dirname "$root$to")
    while [[ $dir == */myaccountd/* || $dir == */myaccountd ]]; do
        rmdir "$dir" 2>/dev/null || break
        dir=$(dirname "$dir")
    done
done
rmdir "$conf" 2>/dev/null || true
