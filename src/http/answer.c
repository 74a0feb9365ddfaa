/* SPDX-License-Identifier: Apache-2.0
 * Building answers: the error object, JSON bodies, headers.
 */
#include "ma/ctx.h"

#include "ma/app.h"
#include "ma/codec.h"
#include "ma/web.h"

enum { BODY_HINT = 1024, BODY_MAX = 512 * 1024, LARGE_RETRY_S = 5 };

const char *ma_ctx_origin(const struct ma_ctx *ctx)
{
    if (ctx->req.domain > 0 && (size_t)ctx->req.domain <= ctx->conf->custom_domains.n)
        return ctx->conf->custom_domains.v[ctx->req.domain - 1];
    return ctx->conf->base_url;
}

void ma_header(struct ma_ctx *ctx, const char *name, const char *value)
{
    struct ma_resp *r = &ctx->resp;
    if (!value || r->n_headers == MA_RESP_HEADERS) {
        ma_log(ctx->log, MA_LOG_ERROR, "response.header_dropped", MA_KV_S("name", name));
        r->incomplete = true;
        return;
    }
    r->headers[r->n_headers++] = (struct ma_header){name, value};
}

void ma_reply_release(struct ma_ctx *ctx)
{
    if (ctx->resp.large == 0)
        return;
    ma_buf_free(&ctx->resp.body);
    ma_app_large_give(ctx->app, ctx->resp.large);
    ctx->resp.large = 0;
}

/* An answer replaces what an earlier step may have begun. */
static void begin(struct ma_ctx *ctx, int status, const char *content_type)
{
    ma_reply_release(ctx);
    ctx->resp.status = status;
    ctx->resp.content_type = content_type;
    ctx->resp.n_headers = 0;
    ctx->resp.incomplete = false;
    ma_buf_init_arena(&ctx->resp.body, ctx->arena, content_type ? BODY_HINT : 0, BODY_MAX);
}

void ma_reply_json(struct ma_ctx *ctx, int status, struct ma_jw *w)
{
    begin(ctx, status, "application/json; charset=utf-8");
    ma_jw_init(w, &ctx->resp.body);
}

/* People with slow connections must not fill the memory with what they are sent. */
int ma_reply_json_large(struct ma_ctx *ctx, int status, struct ma_jw *w, size_t max)
{
    if (!ma_app_large_take(ctx->app, max))
        return ma_problem_retry(ctx, MA_P_UNAVAILABLE, "Too many large answers are being sent.", LARGE_RETRY_S);
    ma_reply_json(ctx, status, w);
    ma_buf_init(&ctx->resp.body, max);
    ctx->resp.large = max;
    return ma_buf_reserve(&ctx->resp.body, max) ? MA_OK : MA_E_NOMEM; /* at once: growing would take twice that */
}

int ma_reply_end(struct ma_ctx *ctx)
{
    return ma_buf_err(&ctx->resp.body);
}

int ma_reply_empty(struct ma_ctx *ctx, int status)
{
    begin(ctx, status, NULL);
    return MA_OK;
}

static void write_errors(struct ma_jw *w, const struct ma_verrs *errs)
{
    ma_jw_key(w, "validation_errors");
    ma_jw_arr(w);
    for (size_t i = 0; i < errs->n; i++) {
        ma_jw_obj(w);
        ma_jw_kcstr(w, "detail", errs->v[i].detail);
        if (errs->v[i].field)
            ma_jw_kcstr(w, "field", errs->v[i].field);
        ma_jw_kcstr(w, "pointer", errs->v[i].pointer);
        ma_jw_obj_end(w);
    }
    ma_jw_arr_end(w);
}

/* RFC 6749 §5.2 and what else clients of token services know. */
static const char *oauth_error(enum ma_problem_id id)
{
    switch (id) {
    case MA_P_INTERNAL:
        return "server_error";
    case MA_P_UNAVAILABLE:
        return "temporarily_unavailable";
    case MA_P_TOO_MANY:
    case MA_P_RATE:
        return "too_many_requests";
    case MA_P_FORBIDDEN:
        return "access_denied";
    default:
        return "invalid_request";
    }
}

static int write_oauth(struct ma_ctx *ctx, enum ma_problem_id id, const char *detail)
{
    struct ma_jw w;
    ma_reply_json(ctx, ma_problem_def(id)->status, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "error", oauth_error(id));
    ma_jw_kcstr(&w, "error_description", detail ? detail : ma_problem_def(id)->detail);
    ma_jw_obj_end(&w);
    ma_header(ctx, "Cache-Control", "no-store");
    return MA_E_PROBLEM;
}

/* What the SDKs of the vendor's authenticator look at is errorCode. */
static const char *device_code(enum ma_problem_id id)
{
    switch (id) {
    case MA_P_INTERNAL:
        return "internal_error";
    case MA_P_UNAVAILABLE:
        return "service_unavailable";
    case MA_P_TOO_MANY:
    case MA_P_RATE:
        return "too_many_requests";
    default:
        return "invalid_request";
    }
}

int ma_problem_device(struct ma_ctx *ctx, int status, const char *code, const char *message)
{
    struct ma_jw w;
    const char *title = "Bad Request";
    for (int id = 0; id < MA_P__COUNT; id++)
        if (ma_problem_def((enum ma_problem_id)id)->status == status) {
            title = ma_problem_def((enum ma_problem_id)id)->title;
            break;
        }
    ma_reply_json(ctx, status, &w);
    ma_jw_obj(&w);
    ma_jw_kint(&w, "statusCode", status);
    ma_jw_kcstr(&w, "error", title);
    ma_jw_kcstr(&w, "message", message);
    ma_jw_kcstr(&w, "errorCode", code);
    ma_jw_obj_end(&w);
    ma_header(ctx, "Cache-Control", "no-store");
    return MA_E_PROBLEM;
}

/* The first fault is told: the shape has one message. */
static int write_device(struct ma_ctx *ctx, enum ma_problem_id id, const char *detail, const struct ma_verrs *errs)
{
    const char *first = errs && errs->n > 0 ? errs->v[0].detail : NULL;
    const struct ma_problem_def *d = ma_problem_def(id);
    return ma_problem_device(ctx, d->status, device_code(id), detail ? detail : first ? first : d->detail);
}

static int write_problem(struct ma_ctx *ctx, enum ma_problem_id id, const char *detail, const struct ma_verrs *errs)
{
    const struct ma_problem_def *d = ma_problem_def(id);
    struct ma_jw w;
    if (ctx->route && ctx->route->style == MA_STYLE_OAUTH)
        return write_oauth(ctx, id, detail);
    if (ctx->route && ctx->route->style == MA_STYLE_DEVICE)
        return write_device(ctx, id, detail, errs);
    if (ctx->route && ctx->route->style == MA_STYLE_PAGE) {
        /* What is over soon may be tried again; a form is lost, and what was asked wrongly stays wrong. */
        bool again = ctx->req.verb == MA_GET && (d->status == 429 || d->status >= 500);
        (void)ma_page_leading(ctx, d->status, d->title, detail ? detail : d->detail, again ? "" : NULL, "Try again");
        return MA_E_PROBLEM;
    }
    ma_reply_json(ctx, d->status, &w);
    ma_jw_obj(&w);
    const char *type = ma_arena_printf(ctx->arena, "%s/api-errors/%s", ctx->conf->base_url, d->code);
    ma_jw_kcstr(&w, "type", type ? type : d->code);
    ma_jw_kint(&w, "status", d->status);
    ma_jw_kcstr(&w, "title", d->title);
    ma_jw_kcstr(&w, "detail", detail ? detail : d->detail);
    if (errs)
        write_errors(&w, errs);
    ma_jw_obj_end(&w);
    if (ma_buf_err(&ctx->resp.body) < 0) { /* out of memory: the status still tells */
        ctx->resp.content_type = NULL;
        ctx->resp.body.n = 0;
    }
    return MA_E_PROBLEM;
}

int ma_problem(struct ma_ctx *ctx, enum ma_problem_id id, const char *detail)
{
    return write_problem(ctx, id, detail, NULL);
}

int ma_problem_validation(struct ma_ctx *ctx)
{
    return write_problem(ctx, MA_P_VALIDATION, NULL, ctx->errs);
}

int ma_problem_at(struct ma_ctx *ctx, const char *pointer, const char *detail)
{
    struct ma_verrs errs = {.n = 1, .arena = ctx->arena};
    const char *slash = strrchr(pointer, '/');
    errs.v[0] = (struct ma_verr){pointer, detail, slash ? slash + 1 : NULL};
    return write_problem(ctx, MA_P_VALIDATION, NULL, &errs);
}

int ma_problem_retry(struct ma_ctx *ctx, enum ma_problem_id id, const char *detail, int64_t retry_after_s)
{
    (void)write_problem(ctx, id, detail, NULL);
    int64_t s = retry_after_s < 1 ? 1 : retry_after_s;
    ma_header(ctx, "Retry-After", ma_arena_printf(ctx->arena, "%lld", (long long)s));
    return MA_E_PROBLEM;
}

int ma_next(struct ma_ctx *ctx, enum ma_lane lane, ma_step step)
{
    ctx->step = step;
    ctx->step_lane = lane;
    return MA_E_NEXT;
}

struct ma_span ma_query(const struct ma_ctx *ctx, const char *name)
{
    for (size_t i = 0; i < ctx->req.n_query; i++)
        if (ma_span_eq_str(ctx->req.query[i].name, name))
            return ctx->req.query[i].value;
    return MA_SPAN_NULL;
}

/* The body is parsed once however often it is decoded: an operation may read the type first and the rest after. */
static int parse_body(struct ma_ctx *ctx)
{
    if (ctx->json)
        return MA_OK;
    struct ma_span text = ma_buf_view(&ctx->req.body);
    if (ma_trim(text).n == 0)
        return ma_problem_at(ctx, "", "data must be object");
    int r = ma_json_parse(text, &ctx->json);
    if (r == MA_E_PARSE)
        return ma_problem(ctx, MA_P_BAD_REQUEST, "Invalid JSON");
    return r;
}

int ma_body(struct ma_ctx *ctx, const struct ma_shape *shape, void *out)
{
    int r = parse_body(ctx);
    if (r < 0)
        return r;
    if (!ctx->errs) {
        ctx->errs = ma_arena_zalloc(ctx->arena, sizeof *ctx->errs);
        if (!ctx->errs)
            return MA_E_NOMEM;
        ctx->errs->arena = ctx->arena;
    }
    ctx->errs->n = 0;
    r = ma_json_decode(ctx->json, ctx->arena, shape, out, ctx->errs);
    return r == MA_E_INVAL ? ma_problem_validation(ctx) : r;
}
