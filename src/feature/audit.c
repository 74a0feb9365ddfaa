/* SPDX-License-Identifier: Apache-2.0
 * Audit rows of method operations, in the names of the hosted vendor's tenant log.
 */
#include "int.h"

#include "ma/accounts.h"
#include "ma/buf.h"
#include "ma/codec.h"
#include "ma/jsonw.h"
#include "ma/signin.h"

enum { DETAIL_MAX = 4096, USER_AGENT_MAX = 256 };

static struct ma_span cut(struct ma_span s, size_t max)
{
    while (s.n > max || !ma_utf8_valid(s)) {
        if (s.n == 0)
            break;
        s.n = s.n > max ? max : s.n - 1;
    }
    return s;
}

static struct ma_span method_detail(struct ma_ctx *ctx, const char *method_type, bool failed)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 256, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    if (method_type)
        ma_jw_kcstr(&w, "authentication_method", method_type);
    ma_jw_key(&w, "request");
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "method", ma_verb_name(ctx->req.verb));
    ma_jw_kcstr(&w, "path", ctx->route ? ctx->route->path : "");
    ma_jw_obj_end(&w);
    if (failed && ctx->resp.content_type) {
        ma_jw_key(&w, "error");
        ma_jw_raw(&w, ma_buf_view(&ctx->resp.body));
    }
    ma_jw_obj_end(&w);
    return ma_buf_err(&b) < 0 ? MA_LIT("{}") : ma_buf_view(&b);
}

/* A request may come to the writer after its user was erased: the trail does not name that user again. */
static int is_gone(struct ma_ctx *ctx, struct ma_span user_id, bool *ret)
{
    struct ma_user u;
    int r = user_id.p ? ma_user_get(ctx->db, ctx->arena, user_id, &u) : MA_OK;
    *ret = r == MA_E_NOTFOUND;
    return *ret ? MA_OK : r;
}

/* Leaves the row with what every row tells about the request. */
static int insert_row(struct ma_ctx *ctx, struct ma_audit_row *row)
{
    char ip[MA_ADDR_TEXT];
    bool gone = false;
    int r = is_gone(ctx, row->user_id, &gone);
    if (r < 0 || gone)
        return r;
    ma_addr_format(&ctx->req.client, ip);
    row->at = ctx->now_ms;
    row->ip = ma_span_str(ip);
    row->user_agent = cut(ctx->req.user_agent, USER_AGENT_MAX);
    row->request_id = ma_span_str(ctx->request_id);
    row->method_id = cut(row->method_id, MA_METHOD_ID_MAX);
    return ma_audit_insert(ctx->db, row);
}

static int insert(struct ma_ctx *ctx, const char *type, const char *operation, struct ma_span method_id,
                  struct ma_span detail)
{
    struct ma_audit_row row = {
        .type = ma_span_str(type),
        .operation = ma_span_str(operation),
        .user_id = ctx->who.user_id,
        .client_id = ctx->who.client_id,
        .method_id = method_id,
        .detail = detail,
    };
    return insert_row(ctx, &row);
}

/* Of the operations only those of an enrolment. */
static void count_enrolment(struct ma_ctx *ctx, const char *operation, enum ma_factor type, bool failed)
{
    bool starts = strcmp(operation, "create") == 0;
    if (starts || strcmp(operation, "verify") == 0)
        ma_count_later(ctx, MA_M_ENROLMENTS, type, failed ? MA_M_REFUSED : starts ? MA_M_STARTED : MA_M_CONFIRMED);
}

int ma_audit_method(struct ma_ctx *ctx, const char *operation, enum ma_factor type, struct ma_span method_id)
{
    count_enrolment(ctx, operation, type, false);
    return insert(ctx, "my_account_authentication_method_succeeded", operation, method_id,
                  method_detail(ctx, ma_factor_name(type), false));
}

int ma_audit_operation(struct ma_ctx *ctx, const char *type, const char *operation, struct ma_span detail)
{
    return insert(ctx, type, operation, MA_SPAN_NULL, detail);
}

void ma_audit_on_failure(struct ma_ctx *ctx, const char *operation, const char *method_type, struct ma_span method_id)
{
    ctx->audit.due = true;
    ctx->audit.operation = operation;
    ctx->audit.method_type = method_type;
    ctx->audit.method_id = method_id;
}

void ma_audit_failure_as(struct ma_ctx *ctx, const char *type, const char *operation)
{
    ma_audit_on_failure(ctx, operation, NULL, MA_SPAN_NULL);
    ctx->audit.type = type;
}

static void count_account(struct ma_ctx *ctx, const char *type)
{
    static const char *const types[][2] = {{MA_AUDIT_CONNECTED, MA_AUDIT_CONNECT_FAILED},
                                           {MA_AUDIT_DISCONNECTED, MA_AUDIT_DISCONNECT_FAILED}};
    for (unsigned op = MA_M_CONNECT; op <= MA_M_DISCONNECT; op++)
        for (unsigned outcome = MA_M_SUCCEEDED; outcome <= MA_M_FAILED; outcome++)
            if (strcmp(type, types[op][outcome]) == 0)
                ma_count_later(ctx, MA_M_ACCOUNTS, op, outcome);
}

int ma_audit_account(struct ma_ctx *ctx, const char *type, const struct ma_audited_account *a)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 256, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "connection", a->connection);
    if (a->id.p) {
        ma_jw_key(&w, "connected_account");
        ma_jw_obj(&w);
        ma_jw_kstr(&w, "id", a->id);
        ma_jw_kstr(&w, "idp_user_id", a->subject);
        ma_jw_obj_end(&w);
    }
    if (a->error) {
        ma_jw_kcstr(&w, "error", a->error);
        ma_jw_kcstr(&w, "error_description", a->error_description);
    }
    ma_jw_obj_end(&w);
    struct ma_span detail = ma_buf_err(&b) < 0 ? MA_LIT("{}") : ma_buf_view(&b);
    count_account(ctx, type);
    return insert(ctx, type, NULL, MA_SPAN_NULL, detail);
}

int ma_audit_failure(struct ma_ctx *ctx)
{
    if (!ctx->audit.due)
        return MA_OK;
    ctx->audit.due = false;
    if (ctx->audit.type)
        count_account(ctx, ctx->audit.type);
    else if (ctx->audit.operation && ctx->audit.method_type)
        count_enrolment(ctx, ctx->audit.operation, ma_factor_parse(ma_span_str(ctx->audit.method_type)), true);
    int r = insert(ctx, ctx->audit.type ? ctx->audit.type : "my_account_authentication_method_failed",
                   ctx->audit.operation, ctx->audit.method_id, method_detail(ctx, ctx->audit.method_type, true));
    if (r < 0)
        ma_log(ctx->log, MA_LOG_ERROR, "audit.failed", MA_KV_S("error", ma_err_text(r)));
    return r;
}

/* Exchanges at the token endpoint; logins are counted where they are decided. */
static void count_grant(struct ma_ctx *ctx, const char *type)
{
    static const char *const types[][2] = {[MA_M_GRANT_CODE] = {"seacft", "feacft"},
                                           [MA_M_GRANT_REFRESH] = {"sertft", "fertft"},
                                           [MA_M_GRANT_VAULT] = {"seta", "feta"}};
    for (unsigned grant = 0; grant < MA_COUNT(types); grant++)
        for (unsigned outcome = MA_M_SUCCEEDED; outcome <= MA_M_FAILED; outcome++)
            if (strcmp(type, types[grant][outcome]) == 0)
                ma_count_later(ctx, MA_M_GRANTS, grant, outcome);
    if (strcmp(type, "passkey_challenge_failed") == 0)
        ma_count_later(ctx, MA_M_LOGINS, MA_FACTOR_PASSKEY, MA_M_FAILED);
}

int ma_audit_signin(struct ma_ctx *ctx, const char *type, struct ma_span user_id, struct ma_span client_id,
                    struct ma_span detail)
{
    struct ma_audit_row row = {
        .type = ma_span_str(type),
        .user_id = user_id,
        .client_id = client_id,
        .detail = detail.n > 0 ? detail : MA_SPAN_NULL,
    };
    count_grant(ctx, type);
    return insert_row(ctx, &row);
}

int ma_audit_signed_in(struct ma_ctx *ctx, const char *type, const struct ma_user *u, struct ma_span client_id,
                       const struct ma_authn *authn)
{
    const char *names[MA_AMR_NAMES_MAX];
    struct ma_buf b;
    struct ma_jw w;
    ma_amr_names(authn->amr, names);
    ma_buf_init_arena(&b, ctx->arena, 256, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    if (u->email.p)
        ma_jw_kstr(&w, "user_name", u->email);
    ma_jw_key(&w, "prompts");
    ma_jw_arr(&w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "performed_amr");
    ma_jw_arr(&w);
    for (size_t i = 0; names[i]; i++)
        ma_jw_cstr(&w, names[i]);
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    return ma_buf_err(&b) < 0 ? ma_buf_err(&b) : ma_audit_signin(ctx, type, u->user_id, client_id, ma_buf_view(&b));
}

/* The rows about a factor that was shown end with how that went; others tell what was sent or begun. */
static void count_factor(struct ma_ctx *ctx, const char *type, enum ma_factor factor)
{
    const char *end = strrchr(type, '_');
    bool good = end && strcmp(end, "_succeed") == 0;
    if (good || (end && strcmp(end, "_failed") == 0))
        ma_count_later(ctx, MA_M_LOGINS, factor, good ? MA_M_SUCCEEDED : MA_M_FAILED);
}

int ma_audit_assertion(struct ma_ctx *ctx, const char *type, enum ma_factor factor, struct ma_span method_id,
                       bool counter_regressed)
{
    count_factor(ctx, type, factor);
    const char *detail = ma_arena_printf(ctx->arena, "{\"authenticator\":{\"type\":\"%s\"%s}}", ma_factor_name(factor),
                                         counter_regressed ? ",\"counter_regressed\":true" : "");
    return detail ? insert(ctx, type, NULL, method_id, ma_span_str(detail)) : MA_E_NOMEM;
}

int ma_audit_factor(struct ma_ctx *ctx, const char *type, enum ma_factor factor, struct ma_span method_id)
{
    return ma_audit_assertion(ctx, type, factor, method_id, false);
}

int ma_audit_rejected(struct ma_ctx *ctx, enum ma_factor factor, struct ma_span method_id, struct ma_span reason)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 256, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_key(&w, "authenticator");
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "type", ma_factor_name(factor));
    ma_jw_obj_end(&w);
    if (reason.p)
        ma_jw_kstr(&w, "reason", reason);
    ma_jw_obj_end(&w);
    ma_count_later(ctx, MA_M_LOGINS, factor, MA_M_FAILED);
    return ma_buf_err(&b) < 0 ? ma_buf_err(&b) : insert(ctx, "gd_auth_rejected", NULL, method_id, ma_buf_view(&b));
}
