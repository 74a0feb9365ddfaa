#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every lint, one line each: "ok NAME" or "not ok NAME" with what it said.
set -u
cd "$(dirname "$0")/../.." || exit 1
fail=0
lint() {
    local name=$1 out
    shift
    if out=$("$@" 2>&1); then
        echo "ok $name"
    else
        echo "not ok $name"
        head -40 <<<"$out" | sed 's/^/    /'
        fail=1
    fi
}
mapfile -t scripts < <(find tests conf .ci -name '*.bash' -o -name '*.sh' -not -path '*/node_modules/*' -o -path .ci/run -o -path tests/run)
lint layers tests/lint/layers.sh
lint banned tests/lint/banned.sh
lint headers tests/lint/headers.sh
lint sql tests/lint/sql.sh
lint size tests/lint/size.sh
lint format make -s format-check
lint shellcheck shellcheck -x "${scripts[@]}"
exit $fail
