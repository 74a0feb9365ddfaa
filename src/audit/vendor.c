/* SPDX-License-Identifier: Apache-2.0
 * Audit rows as JSON: in the log shape of the hosted vendor, and with our own names.
 */
#include "ma/audit.h"

#include <stdio.h>

static const struct ma_audit_event EVENTS[] = {
#define EVENT(type, description, holds) {type, description, holds},
#include "events.def"
#undef EVENT
};

const struct ma_audit_event *ma_audit_events(size_t *ret_n)
{
    *ret_n = MA_COUNT(EVENTS);
    return EVENTS;
}

const struct ma_audit_event *ma_audit_event(struct ma_span type)
{
    for (size_t i = 0; i < MA_COUNT(EVENTS); i++) {
        if (ma_span_eq_str(type, EVENTS[i].type))
            return &EVENTS[i];
    }
    return NULL;
}

void ma_audit_log_id(int64_t id, char out[MA_AUDIT_LOG_ID_LEN + 1])
{
    (void)snprintf(out, MA_AUDIT_LOG_ID_LEN + 1, "%020lld", (long long)id);
}

static void put_text(struct ma_jw *w, const char *key, struct ma_span s)
{
    if (s.p)
        ma_jw_kstr(w, key, s);
}

/* An object on one line, as the program writes details; what somebody else put there must not break the line. */
static bool is_object(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x20)
            return false;
    }
    return s.n >= 2 && s.p[0] == '{' && s.p[s.n - 1] == '}';
}

/* The columns that the vendor counts among the details, and the members of ours. */
static void put_details(struct ma_jw *w, const struct ma_audit_row *r)
{
    ma_jw_key(w, "details");
    ma_jw_obj(w);
    put_text(w, "operation", r->operation);
    put_text(w, "authentication_method_id", r->method_id);
    if (is_object(r->detail) && r->detail.n > 2) {
        if (w->comma)
            ma_buf_byte(w->b, ',');
        ma_buf_span(w->b, ma_span_of(r->detail.p + 1, r->detail.n - 2));
        w->comma = true;
    }
    ma_jw_obj_end(w);
}

static bool is_mobile(struct ma_span user_agent)
{
    return user_agent.n > 0 && memmem(user_agent.p, user_agent.n, "Mobi", 4) != NULL;
}

void ma_audit_vendor_json(struct ma_jw *w, const struct ma_audit_row *row, const char *tenant)
{
    const struct ma_audit_event *e = ma_audit_event(row->type);
    char log_id[MA_AUDIT_LOG_ID_LEN + 1];
    ma_audit_log_id(row->id, log_id);
    ma_jw_obj(w);
    ma_jw_kdate(w, "date", row->at);
    ma_jw_kstr(w, "type", row->type);
    ma_jw_kcstr(w, "description", e ? e->description : "");
    ma_jw_kcstr(w, "tenant_name", tenant);
    put_text(w, "client_id", row->client_id);
    put_text(w, "ip", row->ip);
    put_text(w, "user_agent", row->user_agent);
    if (row->user_agent.p)
        ma_jw_kbool(w, "is_mobile", is_mobile(row->user_agent));
    put_text(w, "user_id", row->user_id);
    ma_jw_kcstr(w, "log_id", log_id);
    put_details(w, row);
    if (row->request_id.p) {
        ma_jw_key(w, "references");
        ma_jw_obj(w);
        ma_jw_kstr(w, "correlation_id", row->request_id);
        ma_jw_obj_end(w);
    }
    ma_jw_obj_end(w);
}

void ma_audit_native_json(struct ma_jw *w, const struct ma_audit_row *r)
{
    ma_jw_obj(w);
    ma_jw_kint(w, "id", r->id);
    ma_jw_kdate(w, "date", r->at);
    ma_jw_kstr(w, "type", r->type);
    put_text(w, "operation", r->operation);
    put_text(w, "user_id", r->user_id);
    put_text(w, "client_id", r->client_id);
    put_text(w, "ip", r->ip);
    put_text(w, "user_agent", r->user_agent);
    put_text(w, "request_id", r->request_id);
    put_text(w, "authentication_method_id", r->method_id);
    if (is_object(r->detail)) {
        ma_jw_key(w, "details");
        ma_jw_raw(w, r->detail);
    }
    ma_jw_obj_end(w);
}
