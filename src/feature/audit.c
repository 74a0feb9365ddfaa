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

/* Leaves the row with what every row tells about the request. */
static int insert_row(struct ma_ctx *ctx, struct ma_audit_row *row)
{
    char ip[MA_ADDR_TEXT];
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

int ma_audit_method(struct ma_ctx *ctx, const char *operation, enum ma_factor type, struct ma_span method_id)
{
    return insert(ctx, "my_account_authentication_method_succeeded", operation, method_id,
                  method_detail(ctx, ma_factor_name(type), false));
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
    return insert(ctx, type, NULL, MA_SPAN_NULL, detail);
}

void ma_audit_failure(struct ma_ctx *ctx)
{
    if (!ctx->audit.due)
        return;
    ctx->audit.due = false;
    int r = insert(ctx, ctx->audit.type ? ctx->audit.type : "my_account_authentication_method_failed",
                   ctx->audit.operation, ctx->audit.method_id, method_detail(ctx, ctx->audit.method_type, true));
    if (r < 0)
        ma_log(ctx->log, MA_LOG_ERROR, "audit.failed", MA_KV_S("error", ma_err_text(r)));
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

int ma_audit_assertion(struct ma_ctx *ctx, const char *type, enum ma_factor factor, struct ma_span method_id,
                       bool counter_regressed)
{
    const char *detail = ma_arena_printf(ctx->arena, "{\"authenticator\":{\"type\":\"%s\"%s}}", ma_factor_name(factor),
                                         counter_regressed ? ",\"counter_regressed\":true" : "");
    return detail ? insert(ctx, type, NULL, method_id, ma_span_str(detail)) : MA_E_NOMEM;
}

int ma_audit_factor(struct ma_ctx *ctx, const char *type, enum ma_factor factor, struct ma_span method_id)
{
    return ma_audit_assertion(ctx, type, factor, method_id, false);
}
