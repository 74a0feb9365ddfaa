#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Part of bench.sh, which sources it: TLS of the daemon's own against nginx, which speaks TLS and passes requests on over
# a UNIX socket. Same certificate, same versions, no resumption, one core for all servers of a case.
# shellcheck disable=SC2154 # dir, build, here, there, root, secs: bench.sh

tls_port=18443
tls_base=https://localhost:$tls_port
tls_pids=()

tls_stop() {
    local pid
    for pid in "${tls_pids[@]}"; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    tls_pids=()
}

tls_config() { # NAME LISTEN [tls block]
    cat >"$dir/tls/$1.conf" <<CONF
base_url = "$tls_base"
listen = "$2"
trusted_proxies = {"127.0.0.0/8"}
database = "$dir/tls/tls.db"
key_directory = "$dir/tls/keys"
admin_socket = "$dir/tls/admin.sock"
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
${3:-}
CONF
}

tls_nginx_config() {
    cat >"$dir/tls/nginx.conf" <<CONF
daemon off;
master_process off;
pid $dir/tls/nginx.pid;
error_log $dir/tls/nginx.log error;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path $dir/tls/t1;
  proxy_temp_path $dir/tls/t2;
  fastcgi_temp_path $dir/tls/t3;
  uwsgi_temp_path $dir/tls/t4;
  scgi_temp_path $dir/tls/t5;
  keepalive_requests 100000000;
  upstream account { server unix:$dir/tls/http.sock; keepalive 64; keepalive_requests 100000000; }
  server {
    listen 127.0.0.1:$tls_port ssl backlog=1024;
    ssl_certificate $dir/tls/server.crt;
    ssl_certificate_key $dir/tls/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ecdh_curve X25519:prime256v1:secp384r1;
    ssl_prefer_server_ciphers on;
    ssl_ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384;
    ssl_session_cache off;
    ssl_session_tickets off;
    location / {
      proxy_pass http://account;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host \$host:\$server_port;
      proxy_set_header X-Forwarded-For \$remote_addr;
      proxy_set_header X-Forwarded-Proto \$scheme;
      proxy_set_header X-Forwarded-Host \$host:\$server_port;
      proxy_set_header Forwarded "";
    }
  }
}
CONF
}

tls_prepare() {
    mkdir "$dir/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/tls/server.key" \
        -out "$dir/tls/server.crt" -subj /CN=localhost -addext subjectAltName=DNS:localhost -days 30 2>/dev/null
    chmod 600 "$dir/tls/server.key"
    cp "$dir/RS256.pem" "$dir/tls/"
    node tests/bench/setup.mjs tokens "$dir/tls" RS256 1 "$tls_base"
    node tests/bench/setup.mjs state "$dir/tls/state.json" 1 "$tls_base"
    tls_config own "127.0.0.1:$tls_port" "tls {
  certificate = \"$dir/tls/server.crt\"
  key = \"file:$dir/tls/server.key\"
}"
    tls_config behind "unix:$dir/tls/http.sock"
    tls_nginx_config
    "$build/myaccountctl" --config "$dir/tls/own.conf" apply "$dir/tls/state.json" >/dev/null
}

tls_start() { # own | behind
    tls_stop
    "${here[@]}" "$build/myaccountd" --config "$dir/tls/$1.conf" "${root[@]}" 2>>"$dir/log" &
    tls_pids+=($!)
    if [ "$1" = behind ]; then
        "${here[@]}" nginx -c "$dir/tls/nginx.conf" -e "$dir/tls/nginx.log" &
        tls_pids+=($!)
    fi
    local i
    for ((i = 0; i < 200; i++)); do
        [ "$(curl -sk -o /dev/null -w '%{http_code}' "$tls_base/nope")" != 404 ] || return 0
        sleep 0.05
    done
    say "TLS $1: no answer"
    exit 1
}

tls_rate() { # [wrk options]
    local out
    out=$("${there[@]}" wrk -t1 -c32 -d"${secs}s" -H "Authorization: Bearer $(head -1 "$dir/tls/RS256.tokens")" "$@" \
        "$tls_base/me/v1/factors")
    if grep -qE 'Non-2xx|connect [1-9]|timeout [1-9]' <<<"$out"; then
        say "$out"
        exit 1
    fi
    awk '/^Requests\/sec/ { print $2 }' <<<"$out"
}

tls_round() {
    local how
    for how in own behind; do
        tls_start $how
        tls_rate >>"$dir/r.tls.keep.$how"
        tls_rate -H 'Connection: close' >>"$dir/r.tls.close.$how"
    done
    tls_stop
}

tls_rows() {
    local what text r
    for what in keep close; do
        text='GET /factors over TLS, keep-alive'
        [ $what = keep ] || text='TLS handshakes, one GET /factors on each'
        r=$(calc "$(m "tls.$what.own") / $(m "tls.$what.behind")")
        row "$text" "$(m "tls.$what.own")/s" "$r × nginx in front ($(m "tls.$what.behind")/s)" '≥ 1' "$r >= 1"
    done
}
