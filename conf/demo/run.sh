#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What `make run` does after building: ./var with configuration, keys, database and the demo state
# (once), a token, lines to paste, and the daemon in the foreground.
set -euo pipefail
cd "$(dirname "$0")/../.."
var=$PWD/var
port=${PORT:-8080}
base=http://localhost:$port
conf=$var/myaccountd.conf
user='auth0|alice'
scopes='read:me:factors read:me:authentication_methods create:me:authentication_methods update:me:authentication_methods delete:me:authentication_methods read:me:connected_accounts create:me:connected_accounts delete:me:connected_accounts read:me:consents delete:me:consents read:me:organizations read:me:sessions delete:me:sessions read:me:activity read:me:profile update:me:profile create:me:exports read:me:exports delete:me:account'

umask 077
mkdir -p "$var/spool"
if [ ! -f "$conf" ]; then
    cat >"$conf" <<CONF
# Written by the first \`make run\`; yours to change. \`make demo-reset\` starts over.
base_url      = "$base"
listen        = "127.0.0.1:$port"
database      = "$var/myaccount.db"
key_directory = "$var/keys"
admin_socket  = "$var/admin.sock"
delivery {
  email = "spool:$var/spool"
  sms   = "spool:$var/spool"
  voice = "spool:$var/spool"
  push  = "spool:$var/spool"
}
network { allow_http_loopback = true }
CONF
fi
base=$(sed -nE 's/^base_url *= *"([^"]+)".*/\1/p' "$conf")
ctl=(build/myaccountctl --config "$conf")
if [ ! -f "$var/demo-applied" ]; then
    sed "s|http://localhost:8080/|$base/|" conf/demo.json >"$var/state.json"
    "${ctl[@]}" apply "$var/state.json" >/dev/null
    touch "$var/demo-applied"
    echo "The demo state (conf/demo.json) is in $var/myaccount.db."
fi
token=$("${ctl[@]}" token --user "$user" --client demo --scope "$scopes")

cat <<TEXT

The account page: $base/account
Sign in as alice@example.com with the password Demo-Passw0rd! and add a passkey.

myaccountd on $base, user $user. Paste these into another terminal, from this directory.
E-mail and SMS codes appear as files in $var/spool.

# The token (a day) and three shorthands
T=$token
M=$base/me/v1/authentication-methods
me() { curl -sS -H "Authorization: Bearer \$T" -H 'Content-Type: application/json' "\$@"; echo; }
code() { jq -r .code "\$(ls $var/spool/*.json | tail -1)"; }
field() { jq -r ".\$1" <<<"\$R"; }

# Sign in with a browser as alice@example.com (password in conf/demo.json); the code stands in the address bar after
# that. The verifier belongs to the link's code_challenge.
echo '$base/authorize?response_type=code&client_id=demo&redirect_uri=http%3A%2F%2Flocalhost%3A3000&scope=openid%20profile%20offline_access%20read%3Ame%3Afactors&audience=$base/me/&state=demo&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256'
echo 'curl -sS $base/oauth/token -d grant_type=authorization_code -d client_id=demo -d redirect_uri=http://localhost:3000 -d code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk -d code=THE_CODE'

# What can be enrolled, and what is
me $base/me/v1/factors
me \$M

# An authenticator app: enrol, confirm with its code
R=\$(me \$M -d '{"type":"totp"}'); echo "\$R"
me \$M/\$(field id)/verify -d "{\"auth_session\":\"\$(field auth_session)\",\"otp_code\":\"\$(oathtool --totp -b \$(field manual_input_code))\"}"
TOTP=\$(field id)

# An e-mail address: the code is in the spool
R=\$(me \$M -d '{"type":"email","email":"alice@work.example"}'); sleep 1
me \$M/\$(field id)/verify -d "{\"auth_session\":\"\$(field auth_session)\",\"otp_code\":\"\$(code)\"}"

# A phone
R=\$(me \$M -d '{"type":"phone","phone_number":"+15551234567"}'); sleep 1
me \$M/\$(field id)/verify -d "{\"auth_session\":\"\$(field auth_session)\",\"otp_code\":\"\$(code)\"}"

# A recovery code, shown this once
R=\$(me \$M -d '{"type":"recovery-code"}'); field recovery_code
me \$M/\$(field id)/verify -d "{\"auth_session\":\"\$(field auth_session)\"}"

# Another password
R=\$(me \$M -d '{"type":"password"}'); echo "\$R"
me \$M/\$(field id)/verify -d "{\"auth_session\":\"\$(field auth_session)\",\"new_password\":\"Correct-Horse-\$((RANDOM % 90 + 10))\"}"

# Rename, look, delete
me -X PATCH "\$M/\$TOTP" -d '{"name":"My phone"}'
me "\$M?type=totp"
me -X DELETE "\$M/\$TOTP" -w '%{http_code}'
me \$M

Stop with Ctrl-C. Another user or scope: build/myaccountctl --config var/myaccountd.conf token --user ... --client demo --scope "..."

TEXT
allow=()
[ "$(id -u)" != 0 ] || allow=(--allow-root)
exec build/myaccountd --config "$conf" "${allow[@]}"
