/* SPDX-License-Identifier: Apache-2.0
 * The row of a login under way: made, found again by its token and its cookie, kept, ended.
 */
#include "login_int.h"

#include "ma/codec.h"
#include "ma/crypto.h"

enum { STATE_MAX = 8192, DATA_MAX = 32768, COOKIE_LEEWAY_S = 30 };

/* --- the private part: what was typed and what is secret, sealed --- */

#define STRINGS(X)                                                                                                     \
    X(user_id)                                                                                                         \
    X(session_id)                                                                                                      \
    X(identifier)                                                                                                      \
    X(challenge)                                                                                                       \
    X(method) X(oob) X(number) X(recovery) X(enrol_id) X(enrol_session) X(enrol_uri) X(enrol_manual) X(enrol_address)

struct kept {
    struct ma_login_state st;
    int64_t amr, note, enrol;
};
#define STR(m) {.name = #m, .type = MA_F_STR, .off = offsetof(struct kept, st.m)},
#define BOOL(m)                                                                                                        \
    {                                                                                                                  \
        .name = #m, .type = MA_F_BOOL, .off = offsetof(struct kept, st.m)                                              \
    }
#define INT(m, ...)                                                                                                    \
    {                                                                                                                  \
        .name = #m, .type = MA_F_INT, .off = offsetof(struct kept, __VA_ARGS__)                                        \
    }
static const struct ma_jfield state_fields[] = {
    STRINGS(STR) BOOL(fresh),
    BOOL(declined),
    BOOL(consented),
    BOOL(denied),
    BOOL(left),
    INT(auth_at, st.authn.auth_at),
    INT(mfa_at, st.authn.mfa_at),
    INT(retry_s, st.retry_s),
    INT(amr, amr),
    INT(note, note),
    INT(enrol, enrol),
    {.name = "key", .type = MA_F_RAWOBJ, .off = offsetof(struct kept, st.key)},
    {.name = "enrol_key", .type = MA_F_RAWOBJ, .off = offsetof(struct kept, st.enrol_key)},
};
#undef STR
#undef BOOL
#undef INT
static const struct ma_shape state_shape = MA_SHAPE_OPEN(struct kept, state_fields);

static int state_write(struct ma_ctx *ctx, const struct ma_login_state *st, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 512, STATE_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
#define STR(m)                                                                                                         \
    if (st->m.p)                                                                                                       \
        ma_jw_kstr(&w, #m, st->m);
    STRINGS(STR)
#undef STR
    ma_jw_kbool(&w, "fresh", st->fresh);
    ma_jw_kbool(&w, "declined", st->declined);
    ma_jw_kbool(&w, "consented", st->consented);
    ma_jw_kbool(&w, "denied", st->denied);
    ma_jw_kbool(&w, "left", st->left);
    ma_jw_kint(&w, "auth_at", st->authn.auth_at);
    ma_jw_kint(&w, "mfa_at", st->authn.mfa_at);
    ma_jw_kint(&w, "amr", st->authn.amr);
    ma_jw_kint(&w, "note", st->note);
    ma_jw_kint(&w, "retry_s", st->retry_s);
    ma_jw_kint(&w, "enrol", st->enrol);
    if (st->key.p) {
        ma_jw_key(&w, "key");
        ma_jw_raw(&w, st->key);
    }
    if (st->enrol_key.p) {
        ma_jw_key(&w, "enrol_key");
        ma_jw_raw(&w, st->enrol_key);
    }
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

static int state_read(struct ma_ctx *ctx, struct ma_span text, struct ma_login_state *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct kept k = {.amr = 0};
    int r = ma_json_parse(text, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &state_shape, &k, &errs);
    *ret = k.st;
    ret->authn.amr = (uint32_t)k.amr;
    ret->note = (int)k.note;
    ret->enrol = (int)k.enrol;
    return r;
}

/* --- the row's data: {"request", "browser", "login"} --- */

static struct ma_seal_id seal_id(const struct ma_login *l)
{
    return (struct ma_seal_id){"flows", "login", l->browser, l->flow.client_id};
}

static int data_write(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_span state = MA_SPAN_NULL, sealed = MA_SPAN_NULL, request = MA_SPAN_NULL;
    struct ma_seal_id id = seal_id(l);
    int r = state_write(ctx, &l->st, &state);
    if (r == MA_OK)
        r = ma_vault_seal(ctx->app->vault, ctx->arena, &id, state, &sealed);
    if (r == MA_OK)
        r = ma_request_write(ctx, &l->req, &request);
    if (r < 0)
        return r;
    char *text = ma_arena_alloc(ctx->arena, MA_B64URL_LEN(sealed.n) + 1);
    struct ma_buf b;
    struct ma_jw w;
    if (!text)
        return MA_E_NOMEM;
    ma_b64url_encode(sealed, text);
    ma_buf_init_arena(&b, ctx->arena, 1024, DATA_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_key(&w, "request");
    ma_jw_raw(&w, request);
    ma_jw_kstr(&w, "browser", l->browser);
    ma_jw_kcstr(&w, "login", text);
    ma_jw_obj_end(&w);
    l->flow.data = ma_buf_view(&b);
    return ma_buf_err(&b);
}

struct data {
    struct ma_span request, browser, login;
};

static int data_read(struct ma_ctx *ctx, struct ma_login *l)
{
#define AT(m, t, ...)                                                                                                  \
    {                                                                                                                  \
        .name = #m, .type = t, .flags = MA_REQ, .off = offsetof(struct data, m), __VA_ARGS__                           \
    }
    static const struct ma_jfield fields[] = {AT(request, MA_F_RAWOBJ), AT(browser, MA_F_STR, .min = 64, .max = 64),
                                              AT(login, MA_F_STR)};
#undef AT
    static const struct ma_shape shape = MA_SHAPE(struct data, fields);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    struct data d = {.login = MA_SPAN_NULL};
    struct ma_span state;
    size_t n = 0;
    int r = ma_json_parse(l->flow.data, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, ctx->arena, &shape, &d, &errs);
    if (r < 0)
        return r;
    uint8_t *sealed = ma_arena_alloc(ctx->arena, d.login.n + 1);
    l->browser = d.browser;
    struct ma_seal_id id = seal_id(l);
    r = sealed ? ma_b64url_decode(d.login, sealed, d.login.n + 1, &n) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_vault_open_blob(ctx->app->vault, ctx->arena, &id, ma_span_of(sealed, n), &state);
    if (r == MA_OK)
        r = state_read(ctx, state, &l->st);
    return r == MA_OK ? ma_request_read(ctx, d.request, &l->req) : r;
}

/* --- the browser it belongs to --- */

/* One cookie for all logins of a browser, however many are begun: each row holds a MAC of it. */
static const char *cookie_name(struct ma_ctx *ctx)
{
    return ma_cookie_name(ctx, "myaccount-login");
}

/* p == NULL: none, or none of ours. */
static struct ma_span cookie_value(struct ma_ctx *ctx)
{
    const char *name = cookie_name(ctx);
    struct ma_span value = name ? ma_cookie(ctx, name) : MA_SPAN_NULL;
    return ma_id_token_fits(value) ? value : MA_SPAN_NULL;
}

/* The origin takes part: a login goes on where it began. */
static int browser_mac(struct ma_ctx *ctx, struct ma_span value, char out[65])
{
    uint8_t mac[32];
    int r = ma_vault_mac(ctx->app->vault, "login-cookie", ma_span_str(ma_ctx_origin(ctx)), value, mac);
    if (r == MA_OK)
        ma_hex_encode(ma_span_of(mac, sizeof mac), out);
    return r;
}

static int same_browser(struct ma_ctx *ctx, const struct ma_login *l, bool *ret)
{
    char mac[65];
    struct ma_span value = cookie_value(ctx);
    *ret = false;
    if (!value.p)
        return MA_OK;
    int r = browser_mac(ctx, value, mac);
    *ret = r == MA_OK && ma_ct_eq(ma_span_str(mac), l->browser);
    return r;
}

/* --- life --- */

int ma_login_new_challenge(struct ma_ctx *ctx, struct ma_login *l)
{
    char text[MA_TOKEN_LEN + 1];
    int r = ma_id_token(ctx->app->rand, text); /* 32 random bytes in base64url */
    if (r < 0)
        return r;
    l->st.challenge = ma_arena_dup(ctx->arena, ma_span_str(text));
    return l->st.challenge.p ? MA_OK : MA_E_NOMEM;
}

void ma_login_restart(struct ma_login *l)
{
    struct ma_span challenge = l->st.challenge;
    l->st = (struct ma_login_state){.challenge = challenge};
}

const char *ma_login_url(struct ma_ctx *ctx, const struct ma_login *l)
{
    return ma_arena_printf(ctx->arena, "%s/u/login?state=%s", ma_ctx_origin(ctx), l->token);
}

static int make_row(struct ma_ctx *ctx, struct ma_login *l, const char *cookie)
{
    char token[MA_TOKEN_LEN + 1], browser[65];
    l->flow = (struct ma_flow){
        .kind = MA_LIT(MA_LOGIN_KIND),
        .user_id = l->st.user_id,
        .client_id = l->client->client_id,
        .expires_at = ctx->now_ms + MA_LOGIN_TTL_MS,
    };
    int r = browser_mac(ctx, ma_span_str(cookie), browser);
    if (r < 0)
        return r;
    l->browser = ma_arena_dup(ctx->arena, ma_span_str(browser));
    r = l->browser.p ? ma_login_new_challenge(ctx, l) : MA_E_NOMEM;
    if (r == MA_OK)
        r = data_write(ctx, l);
    if (r == MA_OK)
        r = ma_flow_open(ctx, &l->flow, token);
    if (r < 0)
        return r;
    l->token = ma_arena_strdup(ctx->arena, ma_span_str(token));
    return l->token ? MA_OK : MA_E_NOMEM;
}

int ma_login_open(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_span had = cookie_value(ctx);
    char *cookie = had.p ? ma_arena_strdup(ctx->arena, had) : ma_arena_alloc(ctx->arena, MA_TOKEN_LEN + 1);
    int r = !cookie ? MA_E_NOMEM : had.p ? MA_OK : ma_id_token(ctx->app->rand, cookie);
    if (r == MA_OK)
        r = make_row(ctx, l, cookie);
    if (r == MA_OK && l->st.user_id.p) {
        r = ma_login_advance(ctx, l, false);
        if (r == MA_OK) {
            l->flow.version = 1;
            r = ma_login_save(ctx, l);
        }
    }
    const char *name = r == MA_OK ? cookie_name(ctx) : NULL;
    if (r == MA_OK)
        r = name ? ma_redirect(ctx, ma_login_url(ctx, l)) : MA_E_NOMEM;
    if (r == MA_OK)
        ma_cookie_set(ctx, name, cookie, MA_LOGIN_TTL_MS / 1000 + COOKIE_LEEWAY_S);
    return r;
}

int ma_login_load(struct ma_ctx *ctx, struct ma_span token, struct ma_login *l, enum ma_login_found *ret_found)
{
    bool same = false;
    *ret_found = MA_LOGIN_OVER;
    if (token.n != MA_TOKEN_LEN)
        return MA_OK;
    int r = ma_flow_find(ctx, MA_LOGIN_KIND, token, &l->flow);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    bool over = r == MA_E_EXPIRED;
    if (r == MA_OK || over)
        r = data_read(ctx, l);
    if (over) { /* the page still leads to the application */
        l->client = r == MA_OK ? ma_state_client(ctx->state, l->flow.client_id) : NULL;
        return r == MA_E_NOMEM ? r : MA_OK;
    }
    if (r == MA_OK)
        r = same_browser(ctx, l, &same);
    if (r < 0)
        return r;
    l->token = ma_arena_strdup(ctx->arena, token);
    l->client = ma_state_client(ctx->state, l->flow.client_id);
    ctx->who.client_id = l->flow.client_id;
    if (!same)
        *ret_found = MA_LOGIN_STRANGER;
    else if (l->client)
        *ret_found = MA_LOGIN_FINE;
    return l->token ? MA_OK : MA_E_NOMEM;
}

int ma_login_save(struct ma_ctx *ctx, struct ma_login *l)
{
    l->flow.user_id = l->st.user_id;
    int r = data_write(ctx, l);
    return r == MA_OK ? ma_flow_update(ctx->db, &l->flow) : r;
}

int ma_login_consume(struct ma_ctx *ctx, const struct ma_login *l)
{
    return ma_flow_consume(ctx->db, l->flow.token_mac, ctx->now_ms);
}

int ma_login_refuse(struct ma_ctx *ctx, const struct ma_login *l, enum ma_login_found why)
{
    if (why == MA_LOGIN_STRANGER)
        return ma_page_to_app(ctx, 400, "This is not where it began",
                              "The sign-in was started in another browser, or cookies are off. "
                              "Go back to the application and sign in again from there.",
                              l->client, l->req.redirect_uri);
    return ma_page_to_app(ctx, 400, "This sign-in is over",
                          "It was finished already, or took too long. Go back to the application and sign in again.",
                          l->client, l->req.redirect_uri);
}
