#compdef myaccountctl
# SPDX-License-Identifier: Apache-2.0
# zsh completion of myaccountctl. The list of commands is made from the code:
# MA_DOCS_WRITE=1 build/asan/tests/test_manuals

# command|arguments|options
local table='
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

local -a said options
local word pending row name found
for word in ${words[2,CURRENT-1]}; do
    if [[ -n $pending ]]; then
        pending=
    elif [[ $word == --(help|dry-run|vault|watch|force) || $word == --*=* ]]; then
        continue
    elif [[ $word == --* ]]; then
        pending=$word
    else
        said+=($word)
    fi
done
if [[ $pending == --(config|passphrase-file) ]]; then
    _files
    return
elif [[ -n $pending ]]; then
    return 1 # a value that is not ours to guess
fi
for row in ${(M)${(f)table}:#[a-z]*}; do
    name=${row%%|*}
    if (( $#said )) && [[ $name == "$said[1] $said[2]" || ( $name == $said[1] && -z $found ) ]]; then
        found=$row
    fi
    if (( ! $#said )); then
        options+=(${name%% *})
    elif [[ $#said == 1 && $name == "$said[1] "* ]]; then
        options+=(${name#* })
    fi
done
if [[ $PREFIX == -* ]]; then
    compadd -- --config --help ${=found##*|}
elif [[ $found == *\|*(STATE.json|FILE|INPUT)*\|* ]]; then
    _files
elif [[ -z $found || $#said == 1 ]]; then
    compadd -- ${(u)options}
fi
