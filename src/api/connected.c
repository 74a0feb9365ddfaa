/* SPDX-License-Identifier: Apache-2.0
 * POST /connected-accounts/connect and /connected-accounts/complete.
 */
#include "connected.h"

#include "int.h"
#include "ma/codec.h"

enum { SCOPES_MAX = 100, URI_MAX = 2048, PARAMS = 9 };

/* --- bodies --- */

struct params {
    struct ma_span acr_values, audience, resource, id_token_hint, login_hint, ui_locales;
    int display, prompt;
    int64_t max_age;
    bool has_display, has_prompt, has_max_age;
};
struct connect_body {
    struct ma_span connection, redirect_uri, state, code_challenge;
    int method;
    bool has_method;
    struct ma_span_list scopes;
    bool has_scopes;
    struct params params;
};

static const char *const displays[] = {"page", "popup", "touch", "wap", NULL};
static const char *const prompts[] = {"none", "login", "consent", "select_account", NULL};
static const char *const methods[] = {"S256", NULL};

/* ^[a-zA-Z]{2}(-[a-zA-Z]{2})?(\s[a-zA-Z]{2}(-[a-zA-Z]{2})?)*$ */
static bool is_locales(struct ma_span s)
{
    size_t letters = 0;
    bool region = false;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
            letters++;
        } else if (letters == 2 && ((c == '-' && !region) || c == ' ')) {
            region = c == '-';
            letters = 0;
        } else {
            return false;
        }
        if (letters > 2)
            return false;
    }
    return letters == 2;
}

/* RFC 7636 §4.1: unreserved characters. */
static bool is_pkce_text(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
              c == '_' || c == '~'))
            return false;
    }
    return true;
}

/* An absolute URI (RFC 3986 §4.3) in printable ASCII. */
static bool is_uri(struct ma_span s)
{
    const uint8_t *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    if (!colon || colon == s.p || colon == s.p + s.n - 1)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    return true;
}

/* RFC 6749 §3.3 scope-token: anything else would become another scope on its way to the provider. */
static bool are_scopes(const struct ma_span_list *l, size_t *ret_bad)
{
    for (size_t i = 0; i < l->n; i++) {
        *ret_bad = i;
        for (size_t k = 0; k < l->v[i].n; k++) {
            uint8_t c = l->v[i].p[k];
            if (c < 0x21 || c > 0x7e || c == '"' || c == '\\')
                return false;
        }
    }
    return true;
}

#define PARAM(m, most)                                                                                                 \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .off = offsetof(struct params, m), .min = 1, .max = (most)                       \
    }
static const struct ma_jfield f_params[] = {
    PARAM(acr_values, 1024),
    PARAM(audience, 512),
    PARAM(resource, 512),
    PARAM(id_token_hint, 4096),
    PARAM(login_hint, 255),
    {.name = "display",
     .type = MA_F_ENUM,
     .off = offsetof(struct params, display),
     .has_off = offsetof(struct params, has_display),
     .names = displays},
    {.name = "prompt",
     .type = MA_F_ENUM,
     .off = offsetof(struct params, prompt),
     .has_off = offsetof(struct params, has_prompt),
     .names = prompts},
    {.name = "max_age",
     .type = MA_F_INT,
     .off = offsetof(struct params, max_age),
     .has_off = offsetof(struct params, has_max_age),
     .min = 0,
     .max = INT32_MAX},
    {.name = "ui_locales",
     .type = MA_F_STR,
     .off = offsetof(struct params, ui_locales),
     .min = 2,
     .max = 100,
     .check = is_locales,
     .check_text = "must match pattern \"^[a-zA-Z]{2}(-[a-zA-Z]{2})?(\\s[a-zA-Z]{2}(-[a-zA-Z]{2})?)*$\""},
};
static const struct ma_shape params_shape = MA_SHAPE(struct params, f_params);

#define F_URI(type_, m)                                                                                                \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(type_, m), .min = 1, .max = URI_MAX,            \
        .check = is_uri, .check_text = "must match format \"uri\""                                                     \
    }
#define F_PKCE(type_, m)                                                                                               \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .off = offsetof(type_, m), .min = 43, .max = 128, .check = is_pkce_text,         \
        .check_text = "must hold unreserved characters only"                                                           \
    }
static const struct ma_jfield f_connect[] = {
    {.name = "connection",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct connect_body, connection),
     .min = 1,
     .max = 128},
    F_URI(struct connect_body, redirect_uri),
    {.name = "state", .type = MA_F_STR, .off = offsetof(struct connect_body, state), .min = 1, .max = 4096},
    F_PKCE(struct connect_body, code_challenge),
    {.name = "code_challenge_method",
     .type = MA_F_ENUM,
     .off = offsetof(struct connect_body, method),
     .has_off = offsetof(struct connect_body, has_method),
     .names = methods},
    {.name = "scopes",
     .type = MA_F_STRLIST,
     .off = offsetof(struct connect_body, scopes),
     .has_off = offsetof(struct connect_body, has_scopes),
     .min = 1,
     .max = 255,
     .max_items = SCOPES_MAX},
    {.name = "authorization_params",
     .type = MA_F_OBJ,
     .off = offsetof(struct connect_body, params),
     .sub = &params_shape},
};
static const struct ma_shape connect_shape = MA_SHAPE(struct connect_body, f_connect);

static const struct ma_jfield f_complete[] = {
    {.name = "auth_session",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct ma_connect_proof, auth_session),
     .max = MA_SESSION_LEN},
    {.name = "connect_code",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct ma_connect_proof, connect_code),
     .min = 1,
     .max = 46},
    F_URI(struct ma_connect_proof, redirect_uri),
    F_PKCE(struct ma_connect_proof, code_verifier),
};
static const struct ma_shape complete_shape = MA_SHAPE(struct ma_connect_proof, f_complete);

/* --- POST connect --- */

static int check_scopes(struct ma_ctx *ctx, const struct connect_body *b)
{
    size_t bad = 0;
    if (!b->has_scopes)
        return MA_OK;
    if (b->scopes.n == 0)
        return ma_problem_at(ctx, "/scopes", "data/scopes must NOT have fewer than 1 items");
    for (size_t i = 0; i < b->scopes.n; i++)
        for (size_t k = i + 1; k < b->scopes.n; k++)
            if (ma_span_eq(b->scopes.v[i], b->scopes.v[k]))
                return ma_problem_at(ctx, "/scopes", "data/scopes must NOT have duplicate items");
    if (!are_scopes(&b->scopes, &bad))
        return ma_problem_at(ctx, ma_arena_printf(ctx->arena, "/scopes/%zu", bad),
                             ma_arena_printf(ctx->arena, "data/scopes/%zu must be a scope token", bad));
    return MA_OK;
}

int ma_op_connect_prepare(struct ma_ctx *ctx)
{
    struct connect_body *b = ma_arena_zalloc(ctx->arena, sizeof *b);
    if (!b)
        return MA_E_NOMEM;
    int r = ma_body(ctx, &connect_shape, b);
    if (r == MA_OK && b->code_challenge.p && !b->has_method)
        return ma_problem_at(ctx, "",
                             "data must have property code_challenge_method when property code_challenge is present");
    if (r == MA_OK)
        r = check_scopes(ctx, b);
    ctx->scratch = b;
    return r;
}

static void add(struct ma_param *v, size_t *n, const char *name, struct ma_span value)
{
    if (value.p)
        v[(*n)++] = (struct ma_param){name, value};
}

static size_t collect(struct ma_ctx *ctx, const struct params *p, struct ma_param v[PARAMS])
{
    size_t n = 0;
    add(v, &n, "acr_values", p->acr_values);
    add(v, &n, "audience", p->audience);
    add(v, &n, "resource", p->resource);
    add(v, &n, "id_token_hint", p->id_token_hint);
    add(v, &n, "login_hint", p->login_hint);
    add(v, &n, "ui_locales", p->ui_locales);
    if (p->has_display)
        add(v, &n, "display", ma_span_str(displays[p->display]));
    if (p->has_prompt)
        add(v, &n, "prompt", ma_span_str(prompts[p->prompt]));
    if (p->has_max_age)
        add(v, &n, "max_age", ma_span_str(ma_arena_printf(ctx->arena, "%lld", (long long)p->max_age)));
    return n;
}

int ma_op_connect(struct ma_ctx *ctx)
{
    const struct connect_body *b = ctx->scratch;
    struct ma_param params[PARAMS];
    struct ma_connect_begun begun;
    struct ma_connect_request in = {
        .connection = b->connection,
        .redirect_uri = b->redirect_uri,
        .state = b->state,
        .code_challenge = b->code_challenge,
        .scopes = b->scopes,
        .params = params,
        .n_params = collect(ctx, &b->params, params),
    };
    ma_audit_failure_as(ctx, MA_AUDIT_CONNECT_FAILED, "connect");
    int r = ma_connect_begin(ctx, &in, &begun);
    if (r != MA_OK)
        return r;
    struct ma_jw w;
    ma_reply_json(ctx, 201, &w);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "auth_session", begun.auth_session);
    ma_jw_kcstr(&w, "connect_uri", ma_arena_printf(ctx->arena, "%s" MA_CONNECT_PATH, ma_ctx_origin(ctx)));
    ma_jw_key(&w, "connect_params");
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "ticket", begun.ticket);
    ma_jw_obj_end(&w);
    ma_jw_kint(&w, "expires_in", begun.expires_in_s);
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

/* --- POST complete --- */

int ma_op_complete_prepare(struct ma_ctx *ctx)
{
    struct ma_connect_proof *in = ma_arena_zalloc(ctx->arena, sizeof *in);
    ctx->scratch = in;
    return in ? ma_body(ctx, &complete_shape, in) : MA_E_NOMEM;
}

void ma_write_account(struct ma_jw *w, const struct ma_account *acc)
{
    ma_jw_obj(w);
    ma_jw_kstr(w, "id", acc->id);
    ma_jw_kstr(w, "connection", acc->connection);
    ma_jw_kcstr(w, "access_type", "offline");
    ma_jw_key(w, "scopes");
    ma_jw_arr(w);
    for (struct ma_span rest = acc->scopes; rest.n > 0;) {
        const uint8_t *blank = memchr(rest.p, ' ', rest.n);
        size_t n = blank ? (size_t)(blank - rest.p) : rest.n;
        ma_jw_str(w, ma_span_of(rest.p, n));
        rest = blank ? ma_span_of(rest.p + n + 1, rest.n - n - 1) : MA_SPAN_NULL;
    }
    ma_jw_arr_end(w);
    ma_jw_kdate(w, "created_at", acc->created_at);
    if (acc->refresh_expires_at)
        ma_jw_kdate(w, "expires_at", acc->refresh_expires_at);
}

/* The refusal is in the answer already. */
static int revoke(struct ma_ctx *ctx)
{
    ma_accounts_revoke(ctx, ctx->scratch);
    return MA_E_PROBLEM;
}

int ma_op_complete(struct ma_ctx *ctx)
{
    struct ma_leftover *left = ma_arena_zalloc(ctx->arena, sizeof *left);
    struct ma_account acc;
    struct ma_jw w;
    if (!left)
        return MA_E_NOMEM;
    int r = ma_connect_complete_account(ctx, ctx->scratch, &acc, left);
    if (r == MA_E_PROBLEM && ma_accounts_must_revoke(ctx, left)) {
        ctx->scratch = left;
        return ma_next(ctx, MA_LANE_NET, revoke);
    }
    if (r != MA_OK)
        return r;
    ma_reply_json(ctx, 201, &w);
    ma_write_account(&w, &acc);
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}
