#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Fuzzes every parser, one after the other, TIME seconds in all, and prints a table: inputs tried, branches of the program
# reached, inputs that reach something of their own. What is found is kept in $BUILD/fuzz/found; a finding is a failure.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}/fuzz
total=${1:?seconds}
targets=(tests/fuzz/fuzz_*.c)
each=$((total / ${#targets[@]}))
bad=0
printf '| parser | inputs tried | branches reached | kept |\n|---|---:|---:|---:|\n'
for f in "${targets[@]}"; do
    name=$(basename "$f" .c)
    name=${name#fuzz_}
    log=$build/found/$name.log
    mkdir -p "$build/found/$name" "tests/fuzz/corpus/$name"
    dict=()
    if [ -f "tests/fuzz/dict/$name.dict" ]; then dict=("-dict=tests/fuzz/dict/$name.dict"); fi
    if ! nice "$build/fuzz/$name" -max_total_time="$each" -timeout=30 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$build/found/finding-$name-" "${dict[@]}" "$build/found/$name" "tests/fuzz/corpus/$name" \
        >"$log" 2>&1; then
        bad=$((bad + 1))
        echo "finding: $log" >&2
    fi
    printf '| %s | %s | %s | %s |\n' "$name" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
        "$(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)" \
        "$(grep -o 'corp: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)"
done
echo "${#targets[@]} parsers, $((each * ${#targets[@]})) s, $bad findings"
[ $bad -eq 0 ]
