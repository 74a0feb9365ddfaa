#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Calls that src/ must not make (banned.txt), goto, leftovers, and first lines of files.
set -u
fail=0
mapfile -t files < <(find src include -name '*.[ch]' | sort)

complain() {
    echo "$1" >&2
    fail=1
}

# Comments and strings out, line numbers kept.
code_of() {
    sed -E 's/"([^"\\]|\\.)*"/""/g; s://.*$::' "$1" |
        awk '{ out = ""; s = $0
               while (length(s)) {
                   if (c) { i = index(s, "*/"); if (!i) break; s = substr(s, i + 2); c = 0 }
                   else { i = index(s, "/*"); if (!i) { out = out s; break } out = out substr(s, 1, i - 1); s = substr(s, i + 2); c = 1 }
               }
               print out }'
}

while IFS=: read -r names allowed reason; do
    [[ -z $names || $names == '#'* ]] && continue
    names=${names// /}
    patterns+=("(^|[^A-Za-z0-9_.>])($names)[[:space:]]*\\(")
    where+=(" ${allowed} ")
    why+=("$reason")
done <tests/lint/banned.txt

for f in "${files[@]}"; do
    head -1 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || complain "$f:1: no licence line"
    hit=$(grep -nEw 'TODO|FIXME|XXX|HACK' "$f") && complain "$f:$hit"
    code=$(code_of "$f")
    hit=$(grep -nEw 'goto' <<<"$code") && complain "$f:$hit"
    for i in "${!patterns[@]}"; do
        [[ ${where[i]} == *" $f "* || $f == src/tool/dictgen.c ]] && continue
        hit=$(grep -nE "${patterns[i]}" <<<"$code") || continue
        complain "$f:${hit%%:*}: banned call:${why[i]}: $(sed -n "${hit%%:*}p" "$f")"
    done
done
exit $fail
