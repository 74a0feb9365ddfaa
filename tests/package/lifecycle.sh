#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs on a copy of the system, where no systemd runs: install, change, install again, remove, purge.
# shellcheck disable=SC2015 # what the command said stands where it failed
set -u
conf=/etc/myaccountd/myaccountd.conf
say() { echo "$1: $2"; }
say install "$(dpkg -i /root/myaccountd_*.deb /root/myaccountctl_*.deb >/root/log 2>&1 && echo ok || cat /root/log)"
say user "$(getent passwd myaccountd | cut -d: -f1,5-7)"
say directories "$(stat -c '%n %U:%G:%a' /var/lib/myaccountd /var/log/myaccountd /run/myaccountd /etc/myaccountd | xargs)"
say configuration "$(stat -c '%U:%a' $conf)"
say check "$(/usr/sbin/myaccountd --config $conf --check --allow-root && echo ok)"
say verify "$(dpkg -V myaccountd myaccountctl && echo ok)"
say manuals "$(for f in man8/myaccountd.8 man5/myaccountd.conf.5 man1/myaccountctl.1; do zcat /usr/share/man/$f.gz >/root/page && mandoc -T lint /root/page 2>/dev/null; done && echo ok)"
say enabled "$(find /etc/systemd/system -path '*.wants/myaccountd*' | wc -l)"
say export "$(myaccountctl --config $conf export >/dev/null && stat -c %U:%a /var/lib/myaccountd/myaccount.db)"
sed -i 's/^log_level.*/log_level = "warn"/' $conf
say again "$(dpkg -i /root/myaccountd_*.deb >/root/log 2>&1 && echo ok || cat /root/log)"
say kept "$(grep -c 'log_level = "warn"' $conf)"
say remove "$(dpkg -r myaccountctl myaccountd >/root/log 2>&1 && echo ok || cat /root/log)"
say after-remove "$(stat -c %n $conf /var/lib/myaccountd/myaccount.db /usr/sbin/myaccountd 2>/dev/null | xargs)"
echo log >/var/log/myaccountd/myaccountd.log
say purge "$(dpkg -P myaccountctl myaccountd >/root/log 2>&1 && echo ok || cat /root/log)"
say notice "$(grep -c 'Database and keys are kept in /var/lib/myaccountd' /root/log)"
say after-purge "$(stat -c %n /etc/myaccountd /etc/logrotate.d/myaccountd /var/log/myaccountd /var/lib/myaccountd/myaccount.db 2>/dev/null | xargs)"
# With nothing in it the state directory goes too.
rm -rf /var/lib/myaccountd
dpkg -i /root/myaccountd_*.deb >/root/log 2>&1
say purge-unused "$(dpkg -P myaccountd >/root/log 2>&1 && echo ok || cat /root/log)"
say after-purge-unused "$(stat -c %n /etc/myaccountd /var/log/myaccountd /var/lib/myaccountd 2>/dev/null | xargs)"
rm -f /root/log /root/page
