#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# sandbox.sh probe|chroot|boot SCRIPT [FILE...]: runs a script on a throw-away copy of this system, as root.
#
# The copy is an overlay in memory over /, mounted in a mount namespace of its own: whatever happens, nothing of it
# reaches this system, and it is gone with the last process. FILEs are copied to /root there.
#   chroot  the script runs in it
#   boot    systemd boots in it (systemd-nspawn) and runs the script as a service; it ends with the script
# What the script prints comes out, then "changed PATH" for each path that is new or different (chroot only). Exit code
# of the script, 77 when this machine cannot do it.
set -u
[ "$(id -u)" = 0 ] || exit 77
if [ "${MA_SANDBOX:-}" != inside ]; then
    # A control group of its own, so that what systemd makes there can be removed again.
    groups=()
    if [ "$1" = boot ]; then
        for g in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
            [ -f "$g/cgroup.procs" ] && mkdir "$g/ma-test-$$" 2>/dev/null && groups+=("$g/ma-test-$$")
        done
        [ ${#groups[@]} -gt 0 ] || exit 77
    fi
    MA_SANDBOX=inside MA_GROUPS=${groups[*]-} unshare --mount --uts -- "$0" "$@"
    code=$?
    for g in "${groups[@]}"; do
        for _ in 1 2 3 4 5; do
            find "$g" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.2
        done
    done
    exit $code
fi

kind=$1
script=${2:-}
shift
shift
for g in ${MA_GROUPS:-}; do echo $$ >"$g/cgroup.procs" || exit 77; done
mount --make-rprivate / || exit 77
base=$(mktemp -d)
mount -t tmpfs -o size=1g,mode=755 tmpfs "$base" || exit 77
trap 'umount -l "$base"; rmdir "$base"' EXIT
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root" || exit 77
root=$base/root
mkdir -p "$root/root" "$root/proc" "$root/dev" "$root/run" "$root/tmp"
if [ "$kind" = probe ]; then
    case $script in
    boot) command -v systemd-nspawn >/dev/null || exit 77 ;;
    esac
    exit 0
fi
cp "$script" "$root/root/script.sh"
for f in "$@"; do cp "$f" "$root/root/"; done
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"

if [ "$kind" = chroot ]; then
    chroot "$root" /bin/bash /root/script.sh
    code=$?
    (cd "$base/upper" && find . \( -type f -o -type l -o -type c -o -name 'myaccountd*' \) -printf 'changed /%P\n' | sort)
    exit $code
fi

chroot "$root" sh -c 'dpkg -i /root/*.deb' >"$base/dpkg" 2>&1 || { cat "$base/dpkg" >&2; exit 1; }
umount "$root/dev" "$root/proc" "$root/run" "$root/tmp"
: >"$root/etc/machine-id"
rm -f "$root/usr/sbin/policy-rc.d" # containers forbid packages to start and stop services; here a systemd of its own runs
cat >"$root/etc/systemd/system/ma-test.service" <<UNIT
[Unit]
DefaultDependencies=no
Wants=basic.target
After=basic.target
[Service]
Type=oneshot
ExecStart=-/bin/bash -c '/bin/bash /root/script.sh >/root/output 2>&1; echo \$? >/root/code'
ExecStopPost=/bin/systemctl --force --force poweroff
UNIT
# Its own files below /run go with the namespace.
mount -t tmpfs -o mode=755 tmpfs /run
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout 75 systemd-nspawn --quiet --register=no --keep-unit --private-network \
    --directory="$root" --boot --console=pipe systemd.unit=ma-test.service >"$base/console" 2>&1 </dev/null
if [ ! -f "$root/root/code" ]; then
    tail -20 "$base/console" >&2
    exit 77
fi
cat "$root/root/output"
exit "$(cat "$root/root/code")"
