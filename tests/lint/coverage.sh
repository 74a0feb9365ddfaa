#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the unit and daemon tests of the coverage build and prints what of src/ they reach, least covered files last.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}/cov
find "$build" -name '*.gcda' -delete
for f in tests/unit/test_*.c; do
    CK_TIMEOUT_MULTIPLIER=10 "$build/tests/$(basename "$f" .c)" >/dev/null 2>&1 || echo "failed: $f" >&2
done
for f in tests/daemon/*.test.mjs tests/contract/*.test.mjs; do
    MA_BIN=$build timeout -k 5 240 node --test "$f" >/dev/null 2>&1 || echo "failed: $f" >&2
done
find "$build/src" -name '*.gcda' -print0 | xargs -0 gcov -n -b 2>/dev/null | awk '
    /^File / { file = $2; gsub("\047", "", file) }
    /^Lines executed:/ { split($0, a, /[:% ]+/); keep("l", a[3], a[5]) }
    /^Taken at least once:/ { split($0, a, /[:% ]+/); keep("b", a[5], a[7]) }
    function keep(kind, percent, n) {
        if (file !~ /^src\/.*\.c$/ || (kind, file) in seen) return
        seen[kind, file] = 1
        hit[kind, file] = percent * n / 100; all[kind, file] = n
        sum[kind] += percent * n / 100; total[kind] += n
        files[file] = 1
    }
    function rate(h, n) { return n ? 100 * h / n : 100 }
    END {
        for (f in files) printf "%5.1f%% of %4d lines %5.1f%% of branches  %s\n", rate(hit["l", f], all["l", f]), all["l", f], rate(hit["b", f], all["b", f]), f | "sort -rn"
        close("sort -rn")
        printf "%.1f%% of %d lines, %.1f%% of %d branches\n", rate(sum["l"], total["l"]), total["l"], rate(sum["b"], total["b"]), total["b"]
    }'
