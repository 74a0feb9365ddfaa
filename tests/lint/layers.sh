#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Include edges of src/ against layers.txt.
set -u
rules=tests/lint/layers.txt
fail=0
declare -A sets allowed owners

complain() {
    echo "$1" >&2
    fail=1
}

expand() {
    local out='' w
    for w in "$@"; do
        case $w in
        @*) out+=" ${sets[${w#@}]:?unknown set $w}" ;;
        *) out+=" $w" ;;
        esac
    done
    echo "$out "
}

while read -r kind name rest; do
    case $kind in
    set) sets[$name]=$rest ;;
    module)
        set -f
        # shellcheck disable=SC2086 # a list of words
        allowed[$name]=$(expand $rest)
        set +f
        ;;
    library) owners[$name]=$rest ;;
    '' | '#'*) ;;
    *) complain "$rules: unknown line: $kind $name" ;;
    esac
done <"$rules"

library_of() {
    local h
    for h in "${!owners[@]}"; do
        # shellcheck disable=SC2053 # a pattern
        [[ $1 == $h ]] && echo "$h" && return
    done
}

owned() {
    local pattern
    set -f
    for pattern in ${owners[$2]}; do
        # shellcheck disable=SC2053 # a pattern
        [[ $1 == $pattern ]] && set +f && return 0
    done
    set +f
    return 1
}

check_include() {
    local file=$1 module=$2 name=$3
    case $name in
    ma/*.h)
        name=${name#ma/}
        name=${name%.h}
        [ -f "include/ma/$name.h" ] || complain "$file: include/ma/$name.h does not exist"
        [[ -z $module || ${allowed[$module]} == *' * '* || ${allowed[$module]} == *" $name "* ]] ||
            complain "$file: module $module may not use ma/$name.h"
        ;;
    ../*) [[ $file == src/tool/* || $name == ../feature/dictionary_hash.h ]] || complain "$file: reaches into another module: $name" ;;
    *)
        local lib
        lib=$(library_of "$name")
        [ -z "$lib" ] || owned "$file" "$lib" || complain "$file: only ${owners[$lib]} may include <$name>"
        ;;
    esac
}

while IFS= read -r file; do
    module=$(cut -d/ -f2 <<<"$file")
    case $file in src/*/*) ;; *) module= ;; esac
    if [ -n "$module" ] && [ -z "${allowed[$module]:-}" ]; then
        complain "$file: module $module is not in $rules"
        continue
    fi
    while IFS= read -r name; do
        check_include "$file" "$module" "$name"
    done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]([^">]+)[">].*/\1/p' "$file")
    if [[ $file == src/*.c ]]; then
        first=$(sed -nE 's/^#include "(ma\/[^"]+)".*/\1/p' "$file" | head -1)
        before=$(grep -nE '^#include' "$file" | head -1)
        [[ -z $first || $before == *"$first"* || $file == src/main.c || $file == src/tool/* || $before == *int.h* || $before == *'"'* ]] ||
            complain "$file: the boundary header comes first, not ${before#*:}"
    fi
done < <(find src -name '*.[ch]' | sort)
exit $fail
