#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every boundary header compiles alone.
set -u
fail=0
for h in include/ma/*.h; do
    echo "#include \"ma/$(basename "$h")\"" |
        gcc -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror -fsyntax-only -Iinclude -x c - || fail=1
done
exit $fail
