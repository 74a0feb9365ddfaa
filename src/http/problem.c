/* SPDX-License-Identifier: Apache-2.0
 * The error catalogue as data.
 */
#include "ma/problem.h"

#define MA_PROBLEM_ROW(name, status, code, title, detail, help) {status, code, title, detail, help},
static const struct ma_problem_def defs[MA_P__COUNT] = {MA_PROBLEMS(MA_PROBLEM_ROW)};
#undef MA_PROBLEM_ROW

const struct ma_problem_def *ma_problem_def(enum ma_problem_id id)
{
    return &defs[id];
}

const struct ma_problem_def *ma_problem_find(struct ma_span code)
{
    for (size_t i = 0; i < MA_P__COUNT; i++)
        if (ma_span_eq_str(code, defs[i].code))
            return &defs[i];
    return NULL;
}
