#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Statements on rows that a user owns name the user; SQL text lives in src/store and src/db only.
set -u
fail=0
if grep -rnE '"(SELECT|INSERT INTO|UPDATE|DELETE FROM) ' src --include='*.c' | grep -vE '^src/(store|db)/' >&2; then
    echo 'SQL outside src/store and src/db' >&2
    fail=1
fi
exit $fail
