/* SPDX-License-Identifier: Apache-2.0
 * What a verification found, in words.
 */
#include "ma/audit.h"

#include <stdio.h>

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

void ma_audit_report_text(const struct ma_audit_report *r, char out[MA_AUDIT_TEXT_MAX])
{
    const long long from = r->bad_from, to = r->bad_to;
    const char *verb =
        r->why && (starts(r->why, "missing") || starts(r->why, "not ")) ? from < to ? "are " : "is " : "";
    if (r->ok || !r->why)
        (void)snprintf(out, MA_AUDIT_TEXT_MAX, "all is well");
    else if (from == MA_AUDIT_NO_ROW)
        (void)snprintf(out, MA_AUDIT_TEXT_MAX, "%s", r->why);
    else if (from < to)
        (void)snprintf(out, MA_AUDIT_TEXT_MAX, "rows %lld to %lld %s%s", from, to, verb, r->why);
    else
        (void)snprintf(out, MA_AUDIT_TEXT_MAX, "row %lld %s%s", from, verb, r->why);
}
