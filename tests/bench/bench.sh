#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Measures the release build against bare libmicrohttpd and prints a Markdown table.
# ROUNDS (3), SECONDS_EACH (4), USERS (200000), TOKENS_N (60000), BREACHED (5000000) and BENCH_DIR (on the disk to measure) may be set.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${BUILD:-build}/release
rounds=${ROUNDS:-3}
cache_mib=12 # src/db/sqlite.c: 8 for the writer, 4 for the reader of the one HTTP thread
secs=${SECONDS_EACH:-4}
users=${USERS:-200000}
tokens_n=${TOKENS_N:-60000}
proofs_n=${PROOFS_N:-30000}
((tokens_n < users)) || tokens_n=$users
dir=$(mktemp -d "$(realpath "${BENCH_DIR:-${BUILD:-build}}")/bench.XXXXXX")
port=18080
base=http://localhost:$port
here=(env) there=(env)
if [ "$(nproc)" -gt 1 ]; then
    here=(taskset -c 0) # servers
    there=(taskset -c 1) # load
fi
root=()
[ "$(id -u)" != 0 ] || root=(--allow-root)
server=

stop() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop; tls_stop; rm -rf "$dir"' EXIT
# shellcheck source=tests/bench/tls.sh
. tests/bench/tls.sh
# shellcheck source=tests/bench/breached.sh
. tests/bench/breached.sh

say() { echo "$*" >&2; }
median() { sort -g | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
calc() { awk "BEGIN { printf \"%.${2:-2}f\", $1 }"; }

config() { # FILE DATABASE BATCH
    cat >"$dir/$1.conf" <<CONF
base_url = "$base"
listen = "127.0.0.1:$port"
database = "$dir/$2.db"
key_directory = "$dir/keys"
admin_socket = "$dir/admin.sock"
http_threads = 1
log_level = "warn"
issuer "https://idp.bench.example/" {
  jwks_uri = "file:$dir/jwks.json"
  algorithms = {"RS256", "ES256"}
  provision = false
}
delivery {
  email = "spool:$dir/spool"
  sms = "spool:$dir/spool"
  voice = "spool:$dir/spool"
  push = "spool:$dir/spool"
}
rate_limit { enabled = false }
limits { write_batch = $3 }
CONF
}

bare() {
    stop
    "${here[@]}" "$build/bench/bare_server" $port 1 &
    server=$!
    sleep 0.3
}
daemon() { # CONF; start_ms gets the time to the first answer
    stop
    local t0
    t0=$(date +%s%N)
    "${here[@]}" "$build/myaccountd" --config "$dir/$1.conf" "${root[@]}" 2>>"$dir/log" &
    server=$!
    start_ms=$("${there[@]}" "$build/bench/load" first $port "$dir/first.tokens" "$t0")
}
rate() { # PATH [wrk options]: requests per second, and every answer must be a success
    local out
    out=$("${there[@]}" wrk -t1 -c32 -d"${secs}s" "${@:2}" "$base$1")
    if grep -q 'Non-2xx' <<<"$out"; then
        say "$1: $(grep Non-2xx <<<"$out")"
        exit 1
    fi
    awk '/^Requests\/sec/ { print $2 }' <<<"$out"
}
memory_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$server/status"; }

awk '$1 > 0.5 { print "warning: load average " $1 ": something else is running, the figures will not be worth much" }' /proc/loadavg >&2

mkdir "$dir/spool"
say "keys and $tokens_n tokens of each algorithm"
node tests/bench/setup.mjs keys "$dir"
node tests/bench/setup.mjs tokens "$dir" RS256 "$tokens_n" "$base" &
node tests/bench/setup.mjs tokens "$dir" ES256 "$tokens_n" "$base"
wait $!
head -1 "$dir/RS256.tokens" >"$dir/first.tokens" # reading them all would count as the daemon's start
node tests/bench/setup.mjs state "$dir/one.json" 1 "$base"
node tests/bench/setup.mjs state "$dir/many.json" "$users" "$base"
config one one 256
config many many 256
config each each 1
"$build/myaccountctl" --config "$dir/one.conf" apply "$dir/one.json" >/dev/null
for alg in RS256 ES256; do echo "{\"api\":{\"signing_alg\":\"$alg\"}}" >"$dir/$alg.alg.json"; done
say "applying $users users"
t0=$(date +%s%N)
"$build/myaccountctl" --config "$dir/many.conf" apply "$dir/many.json" >/dev/null
apply_s=$(calc "($(date +%s%N) - $t0) / 1e9" 1)
"$build/myaccountctl" --config "$dir/many.conf" backup "$dir/each.db" >/dev/null

token=$(head -1 "$dir/RS256.tokens")
auth=(-H "Authorization: Bearer $token")
for db in one many; do
    daemon $db
    node tests/bench/setup.mjs methods "$base" "$dir/RS256.tokens"
done

tls_prepare

F=/me/v1/factors M=/me/v1/authentication-methods
for ((i = 1; i <= rounds; i++)); do
    say "round $i of $rounds: reads"
    bare
    rate $F "${auth[@]}" >>"$dir/r.bare"
    for db in one many; do
        daemon $db
        echo "$start_ms" >>"$dir/r.start"
        rate $F "${auth[@]}" >>"$dir/r.factors.$db"
        rate $M "${auth[@]}" >>"$dir/r.methods.$db"
        memory_kib >>"$dir/r.rss.$db"
    done
    for alg in RS256 ES256; do
        say "round $i of $rounds: tokens not seen before, $alg"
        daemon many
        TOKENS=$dir/$alg.tokens FIRST=1 "${there[@]}" wrk -t1 -c32 -d1s -s tests/bench/tokens.lua "$base$F" >"$dir/out"
        if grep -q 'Non-2xx' "$dir/out"; then
            cat "$dir/out" >&2
            exit 1
        fi
        n=$(awk '/requests in/ { print $1 }' "$dir/out")
        [ "$n" -lt "$tokens_n" ] || say "warning: $n requests with $tokens_n tokens: some were seen before"
        awk '/^Requests\/sec/ { print $2 }' "$dir/out" >>"$dir/r.cold.$alg"
    done
    say "round $i of $rounds: bound tokens, each with a proof of its own"
    daemon many
    node tests/bench/setup.mjs proofs "$dir" "$proofs_n" "$base$F" "$base"
    TOKENS=$dir/proofs.tokens "${there[@]}" wrk -t1 -c32 -d1s -s tests/bench/tokens.lua "$base$F" >"$dir/out"
    n=$(awk '/requests in/ { print $1 }' "$dir/out")
    if grep -q 'Non-2xx' "$dir/out" || [ "$n" -ge "$proofs_n" ]; then
        say "$n requests with $proofs_n proofs"
        cat "$dir/out" >&2
        exit 1
    fi
    awk '/^Requests\/sec/ { print $2 }' "$dir/out" >>"$dir/r.dpop"
    for alg in RS256 ES256; do
        say "round $i of $rounds: refresh exchanges, $alg"
        "$build/myaccountctl" --config "$dir/many.conf" apply "$dir/$alg.alg.json" >/dev/null
        node tests/bench/setup.mjs signins "$dir/signins" 32 "$base"
        "${there[@]}" "$build/bench/load" refresh $port "$dir/signins" 32 "$secs" >>"$dir/r.refresh.$alg"
    done
    say "round $i of $rounds: logins"
    "${there[@]}" "$build/bench/load" logins $port "$dir/signins.names" 32 "$secs" >>"$dir/r.logins"
    stop
    "${here[@]}" "$build/bench/load" argon2 "$secs" >>"$dir/r.argon2"
    for conf in many each; do
        say "round $i of $rounds: enrol and verify, $conf"
        daemon $conf
        # a part of the users for each round
        part=$((tokens_n / (rounds + 1)))
        sed -n "$((i * part)),$(((i + 1) * part))p" "$dir/ES256.tokens" >"$dir/part.tokens"
        "${there[@]}" "$build/bench/load" pairs $port "$dir/part.tokens" 32 "$secs" >>"$dir/r.pairs.$conf"
        [ $conf = each ] || memory_kib >>"$dir/r.rss.write"
    done
    say "round $i of $rounds: TLS"
    stop
    tls_round
done
stop

breached_run
say 'openssl speed'
speed() { "${here[@]}" openssl speed -seconds 3 "$1" 2>/dev/null | awk '/^(rsa|  *256 bits ecdsa)/ { v = $NF } END { print v }'; }
rsa=$(speed rsa2048)
ec=$(speed ecdsap256)
signs() { "${here[@]}" openssl speed -seconds 3 "$1" 2>/dev/null | awk '/^(rsa|  *256 bits ecdsa)/ { v = $(NF - 1) } END { print v }'; }

m() { median <"$dir/r.$1"; }
bare=$(m bare)
row() { # WHAT VALUE RATIO WANTED CONDITION; nothing wanted: nothing reached
    printf '| %s | %s | %s | %s | %s |\n' "$1" "$2" "$3" "$4" "$([ -z "$4" ] || awk "BEGIN { print ($5) ? \"yes\" : \"no\" }")"
}
cold() { # NAME VERIFIES_PER_SECOND: cost of a request over (one verification + a request with a known token)
    local ratio
    ratio=$(calc "(1 / $(m "cold.$1")) / (1 / $2 + 1 / $(m factors.many))")
    row "GET /factors, $1 token not seen before" "$(m "cold.$1")/s" "$ratio × (verification + known token)" '≤ 1.25' "$ratio <= 1.25"
}
echo
echo "$(date +%F), $(awk -F': ' '/model name/ { print $2; exit }' /proc/cpuinfo), $(nproc) cores, $rounds rounds of $secs s, medians; bare libmicrohttpd: $bare/s;" \
    "openssl speed: RSA-2048 $rsa, P-256 $ec verifications/s"
echo
echo '| measured | rate or value | ratio | wanted | reached |'
echo '|---|---|---|---|---|'
r=$(calc "$(m factors.one) / $bare")
row 'GET /factors, one token' "$(m factors.one)/s" "$r of bare" '≥ 0.60' "$r >= 0.60"
r=$(calc "$(m methods.one) / $bare")
row 'GET /authentication-methods, five methods' "$(m methods.one)/s" "$r of bare" '≥ 0.45' "$r >= 0.45"
cold RS256 "$rsa"
cold ES256 "$ec"
r=$(calc "$(m pairs.many) / $(m pairs.each)")
row 'TOTP enrol + verify pairs, 32 clients' "$(m pairs.many)/s" "$r × one commit per request ($(m pairs.each)/s)" '≥ 4' "$r >= 4"
known=$(m factors.many)
r=$(calc "$(m dpop) / $known")
again=$(calc "(1 / $(m dpop)) / (1 / $ec + 1 / $known)")
row 'GET /factors, bound token with a proof (DPoP)' "$(m dpop)/s" "$r of the bearer token; $again × (verification + known token)" '' 1
for pair in "RS256 $(signs rsa2048)" "ES256 $(signs ecdsap256)"; do
    alg=${pair% *} limit=${pair#* }
    r=$(calc "$(m "refresh.$alg") / $limit")
    row "refresh exchanges, rotating, $alg, 32 clients" "$(m "refresh.$alg")/s" "$r of the signing limit ($limit/s)" '' 1
done
r=$(calc "$(m logins) / $(m argon2)")
row 'logins, Argon2id 19 MiB, 2 passes, 32 clients' "$(m logins)/s" "$r of hashing alone ($(m argon2)/s)" '' 1
for what in factors methods; do
    r=$(calc "$(m $what.one) / $(m $what.many)")
    row "GET $what, 1 user against $users" "$(m $what.many)/s with $users" "$r" '< 1.2' "$r < 1.2 && $r > 1 / 1.2"
done
mib=$(calc "$(cat "$dir"/r.rss.* | sort -g | tail -1) / 1024" 1)
row 'resident memory under load, with the database cache' "$mib MiB" "" "≤ 32 MiB + $cache_mib MiB cache" "$mib <= 32 + $cache_mib"
row 'start to the first answer' "$(m start) ms" "" '≤ 50 ms' "$(m start) <= 50"
tls_rows
breached_rows
row "applying $users users" "$apply_s s" "" '< 60 s' "$apply_s < 60"
