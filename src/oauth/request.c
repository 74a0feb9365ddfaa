/* SPDX-License-Identifier: Apache-2.0
 * Authorization requests, and issues that wait for a second factor, as JSON kept with their rows.
 */
#include "int.h"

#include "ma/codec.h"

/* --- pieces --- */

struct authn_text {
    int64_t auth_at, mfa_at, amr;
};

static void put(struct ma_jw *w, const char *key, struct ma_span v)
{
    if (v.p)
        ma_jw_kstr(w, key, v);
}

static void put_authn(struct ma_jw *w, const struct ma_authn *a)
{
    ma_jw_kint(w, "auth_at", a->auth_at);
    ma_jw_kint(w, "mfa_at", a->mfa_at);
    ma_jw_kint(w, "amr", a->amr);
}

static int decode(struct ma_ctx *ctx, struct ma_span json, const struct ma_shape *shape, void *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    int r = ma_json_parse(json, &j);
    return r == MA_OK ? ma_json_decode(j, ctx->arena, shape, ret, &errs) : r;
}

/* --- authorization requests --- */

struct request_text {
    struct ma_authorize_request q;
    int64_t mode;
    struct authn_text authn;
};
#define Q(m)                                                                                                           \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct request_text, q.m)                    \
    }
#define QB(m)                                                                                                          \
    {                                                                                                                  \
        .name = #m, .type = MA_F_BOOL, .flags = MA_REQ, .off = offsetof(struct request_text, q.m)                      \
    }
#define QN(n, m)                                                                                                       \
    {                                                                                                                  \
        .name = n, .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct request_text, m)                          \
    }
static const struct ma_jfield request_fields[] = {
    Q(client_id),
    Q(redirect_uri),
    Q(state),
    Q(nonce),
    Q(scope),
    Q(audience),
    Q(organization),
    Q(connection),
    Q(login_hint),
    Q(acr_values),
    Q(code_challenge),
    Q(dpop_jkt),
    Q(screen_hint),
    Q(ui_locales),
    Q(hint_sub),
    {.name = "redirect_implied", .type = MA_F_BOOL, .off = offsetof(struct request_text, q.redirect_implied)},
    Q(granted_scope),
    Q(granted_audience),
    Q(org_id),
    QB(prompt_none),
    QB(prompt_login),
    QB(prompt_consent),
    QB(prompt_select),
    QN("max_age", q.max_age_s),
    QN("mode", mode),
    QN("auth_at", authn.auth_at),
    QN("mfa_at", authn.mfa_at),
    QN("amr", authn.amr),
};
static const struct ma_shape request_shape = MA_SHAPE(struct request_text, request_fields);

int ma_request_write(struct ma_ctx *ctx, const struct ma_authorize_request *in, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 1024, MA_DATA_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    const struct {
        const char *key;
        struct ma_span v;
    } texts[] = {{"client_id", in->client_id},
                 {"redirect_uri", in->redirect_uri},
                 {"state", in->state},
                 {"nonce", in->nonce},
                 {"scope", in->scope},
                 {"audience", in->audience},
                 {"organization", in->organization},
                 {"connection", in->connection},
                 {"login_hint", in->login_hint},
                 {"acr_values", in->acr_values},
                 {"code_challenge", in->code_challenge},
                 {"dpop_jkt", in->dpop_jkt},
                 {"screen_hint", in->screen_hint},
                 {"ui_locales", in->ui_locales},
                 {"hint_sub", in->hint_sub},
                 {"granted_scope", in->granted_scope},
                 {"granted_audience", in->granted_audience},
                 {"org_id", in->org_id}};
    for (size_t i = 0; i < MA_COUNT(texts); i++)
        put(&w, texts[i].key, texts[i].v);
    ma_jw_kbool(&w, "redirect_implied", in->redirect_implied);
    ma_jw_kbool(&w, "prompt_none", in->prompt_none);
    ma_jw_kbool(&w, "prompt_login", in->prompt_login);
    ma_jw_kbool(&w, "prompt_consent", in->prompt_consent);
    ma_jw_kbool(&w, "prompt_select", in->prompt_select);
    ma_jw_kint(&w, "max_age", in->max_age_s);
    ma_jw_kint(&w, "mode", in->mode);
    put_authn(&w, &in->authn);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

int ma_request_read(struct ma_ctx *ctx, struct ma_span json, struct ma_authorize_request *ret)
{
    struct request_text t = {.mode = 0};
    int r = decode(ctx, json, &request_shape, &t);
    *ret = t.q;
    ret->mode = (int)t.mode;
    ret->authn = (struct ma_authn){t.authn.auth_at, t.authn.mfa_at, (uint32_t)t.authn.amr};
    return r;
}

int ma_code_make(struct ma_ctx *ctx, const struct ma_authorize_request *req, struct ma_span user_id,
                 struct ma_span session_id, char ret_code[MA_TOKEN_LEN + 1])
{
    uint8_t mac[32];
    struct ma_code row = {
        .user_id = user_id,
        .client_id = req->client_id,
        .session_id = session_id,
        .redirect_uri = req->redirect_uri,
        .created_at = ctx->now_ms,
        .expires_at = ctx->now_ms + MA_CODE_TTL_MS,
    };
    int r = ma_request_write(ctx, req, &row.data);
    if (r == MA_OK)
        r = ma_id_token(ctx->app->rand, ret_code);
    if (r == MA_OK)
        r = ma_vault_mac(ctx->app->vault, "code", MA_LIT(""), ma_span_of(ret_code, MA_TOKEN_LEN), mac);
    row.code_mac = ma_span_of(mac, sizeof mac);
    return r == MA_OK ? ma_code_insert(ctx->db, &row) : r;
}

/* --- issues that wait --- */

struct pending_text {
    struct ma_pending p;
    struct authn_text authn;
    int64_t factors;
};
#define P(m)                                                                                                           \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct pending_text, p.m)                    \
    }
#define PN(n, m)                                                                                                       \
    {                                                                                                                  \
        .name = n, .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct pending_text, m)                          \
    }
static const struct ma_jfield pending_fields[] = {
    P(audience),
    P(scope),
    P(org_id),
    P(nonce),
    P(session_id),
    P(jkt),
    P(gty),
    P(family_id),
    P(enrol_method),
    P(enrol_session),
    P(recovery_method),
    P(recovery_session),
    PN("generation", p.generation),
    PN("auth_at", authn.auth_at),
    PN("mfa_at", authn.mfa_at),
    PN("amr", authn.amr),
    PN("factors", factors),
};
static const struct ma_shape pending_shape = MA_SHAPE(struct pending_text, pending_fields);

/* An enrolment's session, sealed to its method: who reads the row cannot confirm anything with it. */
static int seal_session(struct ma_ctx *ctx, struct ma_span method, struct ma_span session, struct ma_span *ret)
{
    struct ma_seal_id id = {"flows", "enrolment", method, MA_LIT("")};
    struct ma_span sealed;
    *ret = MA_SPAN_NULL;
    if (!session.p)
        return MA_OK;
    int r = ma_vault_seal(ctx->app->vault, ctx->arena, &id, session, &sealed);
    char *text = r == MA_OK ? ma_arena_alloc(ctx->arena, MA_B64URL_LEN(sealed.n) + 1) : NULL;
    if (!text)
        return r < 0 ? r : MA_E_NOMEM;
    ma_b64url_encode(sealed, text);
    *ret = ma_span_str(text);
    return MA_OK;
}

static int open_session(struct ma_ctx *ctx, struct ma_span method, struct ma_span *session)
{
    struct ma_seal_id id = {"flows", "enrolment", method, MA_LIT("")};
    size_t n = 0;
    if (!session->p)
        return MA_OK;
    uint8_t *sealed = ma_arena_alloc(ctx->arena, session->n + 1);
    int r = sealed ? ma_b64url_decode(*session, sealed, session->n + 1, &n) : MA_E_NOMEM;
    return r == MA_OK ? ma_vault_open_blob(ctx->app->vault, ctx->arena, &id, ma_span_of(sealed, n), session) : r;
}

int ma_pending_write(struct ma_ctx *ctx, const struct ma_pending *in, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    struct ma_span enrol, recovery;
    int r = seal_session(ctx, in->enrol_method, in->enrol_session, &enrol);
    if (r == MA_OK)
        r = seal_session(ctx, in->recovery_method, in->recovery_session, &recovery);
    if (r < 0)
        return r;
    ma_buf_init_arena(&b, ctx->arena, 512, MA_DATA_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put(&w, "audience", in->audience);
    put(&w, "scope", in->scope);
    put(&w, "org_id", in->org_id);
    put(&w, "nonce", in->nonce);
    put(&w, "session_id", in->session_id);
    put(&w, "jkt", in->jkt);
    put(&w, "gty", in->gty);
    put(&w, "family_id", in->family_id);
    put(&w, "enrol_method", in->enrol_method);
    put(&w, "enrol_session", enrol);
    put(&w, "recovery_method", in->recovery_method);
    put(&w, "recovery_session", recovery);
    ma_jw_kint(&w, "generation", in->generation);
    put_authn(&w, &in->authn);
    ma_jw_kint(&w, "factors", in->factors);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

int ma_pending_read(struct ma_ctx *ctx, struct ma_span json, struct ma_pending *ret)
{
    struct pending_text t = {.factors = 0};
    int r = decode(ctx, json, &pending_shape, &t);
    *ret = t.p;
    ret->authn = (struct ma_authn){t.authn.auth_at, t.authn.mfa_at, (uint32_t)t.authn.amr};
    ret->factors = (uint32_t)t.factors;
    if (r == MA_OK)
        r = open_session(ctx, ret->enrol_method, &ret->enrol_session);
    return r == MA_OK ? open_session(ctx, ret->recovery_method, &ret->recovery_session) : r;
}
