# SPDX-License-Identifier: Apache-2.0
# bash completion of myaccountctl. The list of commands is made from the code:
# MA_DOCS_WRITE=1 build/asan/tests/test_manuals

# command|arguments|options
# shellcheck disable=SC2016
_myaccountctl_table='
# commands:begin
apply|STATE.json|--dry-run
export||
token||--user --client --scope --audience --amr --ttl --auth-time
user list||
user show|ID|
user export|ID|
user delete|ID|
user reset-link|ID|
method list|USER|
method reset|USER [ID]|
account list|USER|
account check|USER [ID]|
keys list||
keys rotate|[RS256/ES256]|--vault --watch
keys reseal||--watch
audit||--user --since --from
audit export||--user --since --until --format --from
audit verify||--head
audit discard||
audit erase|USER|
outbox list||
outbox retry|[ID]|
routes||
breached build|INPUT OUTPUT|--min-count --prefix-bytes --memory
breached check|FILE|
backup|FILE|--force
restore|FILE|
keys export|FILE|--force --passphrase-file
keys import|FILE|--passphrase-file
vacuum||
health||
metrics||
check-config||
# commands:end
'

# The words of the command so far, into $1; the option whose value is being typed, into $2.
_myaccountctl_words() {
    local -n out=$1 pending=$2
    local i word
    out=() pending=
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [ -n "$pending" ]; then
            [ "$word" = = ] || pending=
            continue
        fi
        case $word in
        --help | --dry-run | --vault | --watch | --force) ;;
        --*=*) ;;
        --*) pending=$word ;;
        *) out+=("$word") ;;
        esac
    done
}

# The row of the command that these words begin: "" when there is none yet.
_myaccountctl_row() {
    local name rest found=
    while IFS='|' read -r name rest; do
        if [ "$name" = "$1 ${2:-}" ]; then
            found="$name|$rest"
            break
        elif [ "$name" = "$1" ]; then
            found="$name|$rest"
        fi
    done <<<"$_myaccountctl_table"
    printf '%s\n' "$found"
}

_myaccountctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} words option row name arguments options
    _myaccountctl_words words option
    COMPREPLY=()
    case $option in
    --config | --passphrase-file)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --*) return ;; # a value that is not ours to guess
    esac
    row=$(_myaccountctl_row "${words[@]:0:2}")
    IFS='|' read -r name arguments options <<<"$row"
    if [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "--config --help $options" -- "$cur")
    elif [ -z "$name" ] || { [ -z "$arguments" ] && [ ${#words[@]} = 1 ]; }; then
        mapfile -t COMPREPLY < <(
            awk -F'[ |]' -v n="${#words[@]}" -v first="${words[0]:-}" \
                '/^[a-z]/ { if (n == 0) print $1; else if (n == 1 && $1 == first && $2 ~ /^[a-z]/) print $2 }' \
                <<<"$_myaccountctl_table" | sort -u | compgen -W "$(cat)" -- "$cur"
        )
    elif [[ $arguments == *STATE.json* || $arguments == *FILE* || $arguments == *INPUT* ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}
complete -o filenames -F _myaccountctl myaccountctl
