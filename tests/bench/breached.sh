#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Part of bench.sh, which sources it: building a list of breached passwords from lines in no order, and searching it.
# shellcheck disable=SC2154 # dir, build, here: bench.sh

breached_n=${BREACHED:-5000000}

breached_run() {
    local t0 i
    say "a list of $breached_n breached passwords"
    "$build/bench/breached" lines "$breached_n" >"$dir/breached.txt"
    t0=$(date +%s%N)
    "${here[@]}" "$build/myaccountctl" breached build "$dir/breached.txt" "$dir/breached.list" --memory 64 >/dev/null
    breached_s=$(calc "($(date +%s%N) - $t0) / 1e9")
    rm "$dir/breached.txt"
    for ((i = 1; i <= rounds; i++)); do
        "${here[@]}" "$build/bench/breached" search "$dir/breached.list" "$breached_n" >>"$dir/r.breached"
    done
}

breached_rows() {
    local bytes r
    bytes=$(stat -c %s "$dir/breached.list")
    r=$(calc "$breached_n / $breached_s" 0)
    row "building a list of $breached_n breached passwords, 64 MiB of memory" "$breached_s s" "$r lines/s" '≥ 500000/s' "$r >= 500000"
    r=$(calc "$bytes / $breached_n * 1e6 / 1e6")
    row 'size of that list' "$(calc "$bytes / 1e6" 1) MB" "$r MB per million" '≤ 7.1 MB' "$r <= 7.1"
    row 'searching it, one thread' "$(m breached)/s" "" '≥ 50000/s' "$(m breached) >= 50000"
}
