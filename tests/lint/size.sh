#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Files of at most 800 lines, functions of at most 80. Tables of test cases may be longer.
set -u
fail=0
while IFS= read -r f; do
    n=$(wc -l <"$f")
    max=800
    [[ $f == tests/* ]] && max=1200
    if [ "$n" -gt "$max" ]; then
        echo "$f: $n lines, at most $max" >&2
        fail=1
    fi
done < <(find src include tests -name '*.[ch]' -not -path '*/node_modules/*')
command -v ctags >/dev/null || exit $fail
long=$(find src -name '*.c' -print0 | xargs -0 ctags -x --c-kinds=f --_xformat='%F:%n:%e:%N' 2>/dev/null |
    awk -F: '$3 - $2 + 1 > 80 { printf "%s:%d: %s has %d lines, at most 80\n", $1, $2, $4, $3 - $2 + 1 }')
if [ -n "$long" ]; then
    echo "$long" >&2
    fail=1
fi
exit $fail
