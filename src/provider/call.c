/* SPDX-License-Identifier: Apache-2.0
 * Calls to a provider's endpoints: forms, client authentication (RFC 6749 §2.3, RFC 7523 §2.2), and
 * what an answer's status and error say.
 */
#include "ma/provider.h"
#include "int.h"
#include "ma/codec.h"

#define JSON_HEADER "Accept: application/json"
#define ASSERTION_TYPE "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" /* RFC 7523 §2.2 */

/* RFC 6749 appendix B asks for form encoding, where a blank may be "+" as well as "%20". */
void ma_form_put(struct ma_buf *b, const char *name, struct ma_span value)
{
    const char *text = ma_pct_encode(b->arena, value);
    uint8_t last = b->n ? b->p[b->n - 1] : (uint8_t)'&';
    if (!text) {
        b->err = b->err ? b->err : MA_E_NOMEM;
        return;
    }
    if (last != '&' && last != '?')
        ma_buf_byte(b, '&');
    ma_buf_str(b, name);
    ma_buf_byte(b, '=');
    ma_buf_str(b, text);
}

int ma_provider_time(const struct ma_provider_env *env, const char *what, int64_t *ret_ms,
                     struct ma_provider_fault *fault)
{
    int64_t left = env->deadline_ms ? env->deadline_ms - env->clock->mono_ms(env->clock) : MA_PROVIDER_TIMEOUT_MS;
    *ret_ms = left < MA_PROVIDER_TIMEOUT_MS ? left : MA_PROVIDER_TIMEOUT_MS;
    if (left < MA_PROVIDER_CALL_MIN_MS)
        return ma_provider_fail(fault, MA_E_TIMEOUT, "%s: no time is left for it", what);
    return MA_OK;
}

static int call(const struct ma_provider_env *env, struct ma_http_call *c, const char *what, struct ma_http_answer *ret,
                struct ma_provider_fault *fault)
{
    char why[256];
    int64_t time_ms = 0;
    int r = ma_provider_time(env, what, &time_ms, fault);
    if (r < 0)
        return r;
    c->timeout_ms = (long)time_ms;
    c->response_max = MA_PROVIDER_ANSWER_MAX;
    c->policy = env->policy;
    r = ma_httpc_call(env->httpc, c, env->arena, ret, why);
    return r < 0 ? ma_provider_fail(fault, r, "%s: %.200s", what, why) : MA_OK;
}

int ma_provider_get(const struct ma_provider_env *env, const char *url, const char *what, struct ma_span bearer,
                    struct ma_http_answer *ret, struct ma_provider_fault *fault)
{
    const char *const headers[] = {
        JSON_HEADER,
        bearer.n ? ma_arena_printf(env->arena, "Authorization: Bearer %.*s", (int)bearer.n, (const char *)bearer.p)
                 : NULL,
        NULL};
    struct ma_http_call c = {.method = "GET", .url = url, .headers = headers};
    if (bearer.n && !headers[1])
        return MA_E_NOMEM;
    return call(env, &c, what, ret, fault);
}

/* --- client authentication --- */

/* RFC 6749 §2.3.1: both are form-encoded before they become user and password. */
static int add_basic(struct ma_arena *a, const struct ma_provider *p, struct ma_http_call *c)
{
    c->basic_user = ma_pct_encode(a, p->connection->provider.client_id);
    c->basic_password = ma_pct_encode(a, p->client_secret);
    return c->basic_user && c->basic_password ? MA_OK : MA_E_NOMEM;
}

static int add_assertion(const struct ma_provider_env *env, const struct ma_provider *p, const char *url,
                         struct ma_buf *form)
{
    struct ma_span jwt;
    const char *client_id = ma_arena_strdup(env->arena, p->connection->provider.client_id);
    if (!client_id)
        return MA_E_NOMEM;
    /* RFC 7523 §3, point 3: who is asked is the audience, and nobody else takes the assertion. */
    int r =
        ma_jose_client_assertion(env->jose, env->arena, client_id, url, env->clock->wall_ms(env->clock) / 1000, &jwt);
    if (r < 0)
        return r;
    ma_form_put(form, "client_assertion_type", MA_LIT(ASSERTION_TYPE));
    ma_form_put(form, "client_assertion", jwt);
    return MA_OK;
}

static int authenticate(const struct ma_provider_env *env, const struct ma_provider *p, struct ma_buf *form,
                        struct ma_http_call *c, struct ma_provider_fault *fault)
{
    const struct ma_state_provider *o = &p->connection->provider;
    enum ma_client_auth how = o->auth;
    if (!p->client_secret.n && (how == MA_AUTH_BASIC || how == MA_AUTH_POST)) {
        if (!o->pkce)
            return ma_provider_fail(fault, MA_E_INVAL, "the connection has neither a client secret nor PKCE");
        how = MA_AUTH_NONE;
    }
    if (how == MA_AUTH_BASIC)
        return add_basic(env->arena, p, c);
    ma_form_put(form, "client_id", o->client_id);
    if (how == MA_AUTH_POST)
        ma_form_put(form, "client_secret", p->client_secret);
    if (how != MA_AUTH_PRIVATE_KEY_JWT)
        return MA_OK;
    int r = add_assertion(env, p, c->url, form);
    return r < 0 ? ma_provider_fail(fault, r, "no client assertion can be made") : MA_OK;
}

int ma_provider_post(const struct ma_provider_env *env, const struct ma_provider *p, const char *url, const char *what,
                     struct ma_buf *form, struct ma_http_answer *ret, struct ma_provider_fault *fault)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", JSON_HEADER, NULL};
    struct ma_http_call c = {.method = "POST", .url = url, .headers = headers};
    int r = authenticate(env, p, form, &c, fault);
    if (r == MA_OK)
        r = ma_buf_err(form);
    if (r < 0)
        return r;
    c.body = ma_buf_view(form);
    return call(env, &c, what, ret, fault);
}

/* --- answers --- */

struct refusal {
    struct ma_span error;
    bool ok, has_ok;
};
/* Each on its own: where one is of another type, it says nothing. */
static const struct ma_jfield ERROR_FIELD[] = {
    {.name = "error", .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct refusal, error)}};
static const struct ma_jfield OK_FIELD[] = {{.name = "ok",
                                             .type = MA_F_BOOL,
                                             .off = offsetof(struct refusal, ok),
                                             .has_off = offsetof(struct refusal, has_ok)}};
static const struct ma_shape ERROR_SHAPE = MA_SHAPE_OPEN(struct refusal, ERROR_FIELD);
static const struct ma_shape OK_SHAPE = MA_SHAPE_OPEN(struct refusal, OK_FIELD);
static const struct ma_shape OBJECT_SHAPE = {0, NULL, 0, true};

static void clean(struct ma_span from, char to[64])
{
    size_t n = 0;
    for (size_t i = 0; i < from.n && n < 63; i++) {
        uint8_t c = from.p[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
            c == '-')
            to[n++] = (char)c;
    }
    to[n] = '\0';
}

/* RFC 6749 §5.2; GitHub and Slack send it with status 200, Slack beside "ok": false. */
static int read_refusal(struct ma_arena *a, const struct ma_json *j, struct ma_provider_fault *fault)
{
    struct refusal e = {.ok = false}, o = {.ok = false};
    int r = ma_json_decode(j, a, &ERROR_SHAPE, &e, NULL);
    if (r == MA_E_NOMEM)
        return r;
    r = ma_json_decode(j, a, &OK_SHAPE, &o, NULL);
    if (r == MA_E_NOMEM)
        return r;
    clean(e.error, fault->error);
    return e.error.n || (r == MA_OK && o.has_ok && !o.ok) ? MA_E_AUTH : MA_OK;
}

static int by_status(long status)
{
    if (status >= 200 && status < 300)
        return MA_OK;
    return status == 400 || status == 401 || status == 403 ? MA_E_AUTH : MA_E_UPSTREAM;
}

int ma_provider_judge(const struct ma_provider_env *env, const struct ma_http_answer *ans, const char *what,
                      struct ma_json **ret, struct ma_provider_fault *fault)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    int r = ma_json_parse(ans->body, &j);
    *ret = NULL;
    if (r == MA_OK)
        r = ma_json_decode(j, env->arena, &OBJECT_SHAPE, NULL, NULL);
    if (r == MA_E_NOMEM)
        return r;
    if (r == MA_OK) {
        r = read_refusal(env->arena, j, fault);
        if (r == MA_E_AUTH)
            return ma_provider_fail(fault, r, "%s: refused, HTTP status %ld", what, ans->status);
        if (r < 0)
            return r;
        *ret = j;
        j = NULL;
    }
    r = by_status(ans->status);
    if (r < 0) {
        ma_json_free_p(ret);
        return ma_provider_fail(fault, r, "%s: HTTP status %ld", what, ans->status);
    }
    return MA_OK;
}
