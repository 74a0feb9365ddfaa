#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs suites of the coverage build and prints what of src/ they reach, least covered files last. Arguments choose of unit,
# daemon (with contract; the default is these two) and fuzz: the corpora, with what make fuzz has found beside them. With
# fuzz alone, of the files that parse what the targets feed them.
set -u
cd "$(dirname "$0")/../.." || exit 1
root=${BUILD:-build}
build=$root/cov
suites=${*:-unit daemon}
parsers='^src/(cbor|webauthn)/|^src/breach/(format|map|search)[.]c|^src/jose/(claims|dpop|jwk|jws)[.]c|^src/http/(target|screen|router)[.]c|^src/(base/(codec|jsonr|trace|utf8)|conf/(form|load|scan)|state/(clients|connections|load|rules|shapes))[.]c'
export build root CK_TIMEOUT_MULTIPLIER=10 MA_BIN=$build

try() { "$@" >/dev/null 2>&1 || echo "failed: ${*: -1}" >&2; }
export -f try

# Each of the files behind the command is its last argument; as many at once as there are CPUs.
each() {
    local command=$1
    shift
    printf '%s\0' "$@" | xargs -0 -n1 -P"$(nproc)" bash -c "$command" _
}

# shellcheck disable=SC2016 # for the inner shells
run_suite() {
    case $1 in
    unit) each 'try "$build/tests/$(basename "$1" .c)"' tests/unit/test_*.c ;;
    daemon) each 'try timeout -k 5 240 node --test "$1"' tests/daemon/*.test.mjs tests/contract/*.test.mjs ;;
    fuzz) each 'n=$(basename "$1" .c); n=${n#fuzz_}; mkdir -p "$root/fuzz/found/$n"
        try "$build/fuzz/replay_$n" "tests/fuzz/corpus/$n" "$root/fuzz/found/$n"' tests/fuzz/fuzz_*.c ;;
    *) echo "no suite $1" >&2 ;;
    esac
}

find "$build" -name '*.gcda' -delete
for s in $suites; do run_suite "$s"; done
find "$build/src" -name '*.gcda' -print0 | xargs -0 gcov -n -b 2>/dev/null | awk -v wanted="$([ "$suites" = fuzz ] && echo "$parsers" || echo '^src/.*[.]c$')" '
    /^File / { file = $2; gsub("\047", "", file) }
    /^Lines executed:/ { split($0, a, /[:% ]+/); keep("l", a[3], a[5]) }
    /^Taken at least once:/ { split($0, a, /[:% ]+/); keep("b", a[5], a[7]) }
    function keep(kind, percent, n) {
        if (file !~ wanted || (kind, file) in seen) return
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
