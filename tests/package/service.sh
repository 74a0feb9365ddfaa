#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs where systemd has booted and the packages are installed: the unit, its sandbox, reload, watchdog and socket.
# One line for each thing found out: "ok NAME" or "not ok NAME", what was said behind it.
set -u
conf=/etc/myaccountd/myaccountd.conf
ctl() { myaccountctl --config "$conf" "$@"; }
check() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then echo "ok $name"; else printf 'not ok %s\n%s\n' "$name" "$(tail -15 <<<"$out" | sed 's/^/    /')"; fi
}
prop() { systemctl show myaccountd -p "$1" --value; }
is() { [ "$1" = "$2" ] || { echo "have \"$1\", want \"$2\""; return 1; }; }
until_is() {
    for _ in {1..300}; do
        [ "$(eval "$1")" = "$2" ] && return
        sleep 0.1
    done
    echo "still \"$(eval "$1")\", not \"$2\""
    return 1
}
status_of() { curl -s -o /dev/null -w '%{http_code}' "$@"; }

check 'neither enabled nor started by the package' is "$(systemctl is-enabled myaccountd 2>&1) $(prop ActiveState)" 'disabled inactive'
sed -i 's|^base_url.*|base_url = "http://localhost:8080"|' "$conf"
check 'the example state is applied before the first start' ctl apply /usr/share/doc/myaccountd/examples/demo.json
check 'files of ctl belong to the daemon' is "$(stat -c %U:%a /var/lib/myaccountd/myaccount.db)" myaccountd:600
check 'it starts and is ready' systemctl start myaccountd
check 'its user, and no capability' is "$(ps -o user= -p "$(prop MainPID)") $(sed -n 's/^CapBnd:\t//p' "/proc/$(prop MainPID)/status")" 'myaccountd 0000000000000000'
check 'a system call filter is on, and no new privileges' is "$(sed -nE 's/^(Seccomp|NoNewPrivs):\t//p' "/proc/$(prop MainPID)/status" | xargs)" '1 2'
check 'and its own, narrower one' is "$(journalctl -u myaccountd -o cat | grep -c '"sandbox.filter"')" 1
check 'nothing of the process is readable to its own user' is "$(stat -c %U "/proc/$(prop MainPID)/environ")" root
check 'its memory is locked' is "$(journalctl -u myaccountd -o cat | grep -c 'memory.not_locked')" 0
check 'its status' is "$(prop StatusText)" 'Serving 127.0.0.1:8080'
check 'health through the admin socket' ctl health
token=$(ctl token --user 'auth0|alice' --client demo --scope 'read:me:factors create:me:authentication_methods')
api=http://127.0.0.1:8080/me/v1
as_alice() { status_of -H "Authorization: Bearer $token" -H 'Host: localhost:8080' -H 'Content-Type: application/json' "$@"; }
check 'a read in the sandbox' is "$(as_alice $api/factors)" 200
check 'a write in the sandbox' is "$(as_alice $api/authentication-methods -d '{"type":"totp"}')" 202
check 'a message in the sandbox' is "$(as_alice $api/authentication-methods -d '{"type":"phone","phone_number":"+15551230001"}')" 202
check 'the message is in the spool' until_is 'ls /var/lib/myaccountd/spool | wc -l' 1
check 'a backup where the sandbox lets it' ctl backup /var/lib/myaccountd/backup.db
check 'and nowhere else' is "$(ctl backup /etc/backup.db >/dev/null 2>&1; echo $?)" 1
check 'reload' systemctl reload myaccountd
check 'reload was logged' until_is 'journalctl -u myaccountd -o cat | grep -c "\"reloaded\""' 1
echo 'nonsense = 1' >>"$conf"
check 'reload of a wrong configuration fails' is "$(systemctl reload myaccountd 2>&1 | grep -c failed)" 1
check 'and the daemon goes on' is "$(as_alice $api/factors)" 200
sed -i '$d' "$conf"
mkdir -p /run/systemd/system/myaccountd.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/myaccountd.service.d/watchdog.conf
systemctl daemon-reload
check 'restart' systemctl restart myaccountd
kill -STOP "$(prop MainPID)"
# shellcheck disable=SC2016 # for eval
check 'the watchdog restarts a daemon that stands still' until_is 'echo $(prop NRestarts) $(prop ActiveState)' '1 active'
check 'and nothing else made it restart' is "$(journalctl -u myaccountd -o cat | grep -c 'Watchdog timeout')" 1
sed -i 's|^log_file.*|log_file = "/var/log/myaccountd/myaccountd.log"|' "$conf"
check 'a log file' systemctl restart myaccountd
check 'its mode and owner' is "$(stat -c %U:%a /var/log/myaccountd/myaccountd.log)" myaccountd:640
if command -v logrotate >/dev/null; then
    check 'rotation by the installed rules' logrotate --force /etc/logrotate.d/myaccountd
    check 'the new log file is written' until_is 'grep -c log.reopened /var/log/myaccountd/myaccountd.log' 1
fi
check 'stop' systemctl stop myaccountd
check 'stopped well' is "$(prop Result) $(prop ExecMainStatus)" 'success 0'
check 'the socket unit' systemctl start myaccountd.socket
sock() { status_of --unix-socket /run/myaccountd/http.sock http://localhost:8080/me/v1/factors; }
check 'its mode and owner' is "$(stat -c %U:%G:%a /run/myaccountd/http.sock)" myaccountd:myaccountd:660
check 'the first connection starts the daemon' is "$(sock)" 401
check 'restart with the socket open' systemctl restart myaccountd
check 'the socket is still there' is "$(sock)" 401
echo 'nonsense = 1' >>"$conf"
systemctl restart myaccountd 2>/dev/null
check 'a wrong configuration is not tried again and again' is "$(prop ExecMainStatus) $(prop ActiveState) $(prop NRestarts)" '78 failed 0'
sed -i '$d' "$conf"
systemctl reset-failed myaccountd
systemctl start myaccountd
check 'removal of the package stops it' dpkg -r myaccountd
check 'really' is "$(pgrep -c -x myaccountd)" 0
