/* SPDX-License-Identifier: Apache-2.0
 * Audit rows in plain terms, for the user that they are about.
 */
#include "ma/account.h"

#include "int.h"
#include "ma/jsonr.h"

static const struct row {
    const char *audit, *operation, *factor; /* operation, factor NULL: any */
    const char *type, *outcome, *text;
} rows[] = {
#define ROW(audit, operation, factor, type, outcome, text) {audit, operation, factor, type, outcome, text},
#include "activity.def"
#undef ROW
};
_Static_assert(MA_COUNT(rows) <= MA_ACTIVITY_TYPES_MAX, "MA_ACTIVITY_TYPES_MAX is too small");

unsigned ma_activity_type(struct ma_span name)
{
    for (unsigned i = 0; i < MA_COUNT(rows); i++)
        if (ma_span_eq_str(name, rows[i].type))
            return i;
    return MA_ACTIVITY_TYPES_MAX;
}

/* A member that users may read: p == NULL when it is not there. */
static struct ma_span member(const struct ma_json *j, struct ma_arena *a, const char *path)
{
    struct ma_span v = MA_SPAN_NULL;
    return j && ma_json_at(j, ma_span_str(path), a, &v) == MA_OK ? v : MA_SPAN_NULL;
}

static void read_detail(struct ma_arena *a, const struct ma_audit_row *row, struct ma_activity *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    if (!row->detail.p || ma_json_parse(row->detail, &j) < 0)
        return;
    ret->by_operator = ma_span_eq_str(member(j, a, "actor"), "operator"); /* links have an actor too */
    ret->factor = member(j, a, "authentication_method");
    if (!ret->factor.p)
        ret->factor = member(j, a, "authenticator.type");
    ret->connection = member(j, a, "connection");
}

static bool fits(const struct row *r, const struct ma_audit_row *row, const struct ma_activity *seen)
{
    return ma_span_eq_str(row->type, r->audit) && (!r->operation || ma_span_eq_str(row->operation, r->operation)) &&
           (!r->factor || ma_span_eq_str(seen->factor, r->factor));
}

bool ma_activity_of(struct ma_arena *a, const struct ma_audit_row *row, struct ma_activity *ret)
{
    *ret = (struct ma_activity){.type = NULL};
    read_detail(a, row, ret);
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        if (!fits(&rows[i], row, ret))
            continue;
        ret->type = rows[i].type;
        ret->outcome = rows[i].outcome;
        ret->text = rows[i].text;
        ret->factor_id = row->method_id;
        return true;
    }
    return false;
}
