/* SPDX-License-Identifier: Apache-2.0
 * The authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, OIDC Core §3.1.2.1): reading and checking it.
 */
#include "login_int.h"

#include "ma/codec.h"

#include <stdlib.h>

/* TOTAL_MAX: bytes of all parameters together. A request of the SDKs is some 600 bytes; frameworks put a page's address
 * or a kilobyte of sealed data into state. Each sign-in that is begun keeps them for half an hour, and with 3 KiB its
 * row takes one page of the database beside its place in the table; longer ones belong behind an id in state. */
enum { TOTAL_MAX = 3072, CHALLENGE_LEN = 43, MAX_AGE_DIGITS = 9, RESPONSE_MODES = 4 };

/* What is known here; everything else is ignored (RFC 6749 §3.1). */
#define PARAMS(X)                                                                                                      \
    X(client_id)                                                                                                       \
    X(redirect_uri)                                                                                                    \
    X(response_type)                                                                                                   \
    X(response_mode)                                                                                                   \
    X(state)                                                                                                           \
    X(nonce)                                                                                                           \
    X(scope)                                                                                                           \
    X(audience)                                                                                                        \
    X(code_challenge)                                                                                                  \
    X(code_challenge_method)                                                                                           \
    X(prompt)                                                                                                          \
    X(max_age)                                                                                                         \
    X(login_hint)                                                                                                      \
    X(connection)                                                                                                      \
    X(organization)                                                                                                    \
    X(acr_values) X(dpop_jkt) X(screen_hint) X(ui_locales) X(id_token_hint) X(request) X(request_uri)

struct params {
#define MEMBER(name) struct ma_span name;
    PARAMS(MEMBER)
#undef MEMBER
    const char *twice; /* the first that stands twice; NULL: none */
    size_t total;      /* bytes of all values */
};

static const struct {
    const char *name;
    size_t off;
} table[] = {
#define ROW(name) {#name, offsetof(struct params, name)},
    PARAMS(ROW)
#undef ROW
};

static struct ma_span *slot(struct params *p, size_t i)
{
    return (struct ma_span *)(void *)((char *)p + table[i].off);
}

/* A parameter without a value counts as left out (RFC 6749 §3.1). MA_E_PARSE for what is no text or too much: the
 * request must fit into a row, and its state into a URL again. */
static int take(struct params *p, struct ma_span name, struct ma_span value)
{
    for (size_t i = 0; i < MA_COUNT(table); i++) {
        if (!ma_span_eq_str(name, table[i].name) || value.n == 0)
            continue;
        struct ma_span *s = slot(p, i);
        if (!ma_utf8_valid(value) || ma_utf8_has_control(value) || (p->total += value.n) > TOTAL_MAX)
            return MA_E_PARSE;
        if (s->p && !p->twice)
            p->twice = table[i].name;
        *s = value;
    }
    return MA_OK;
}

static int read_form(struct ma_ctx *ctx, struct params *p)
{
    struct ma_span rest = ma_buf_view(&ctx->req.body), name, value;
    for (;;) {
        int r = ma_form_next(ctx->arena, &rest, &name, &value);
        if (r == MA_E_NOTFOUND)
            return MA_OK;
        if (r == MA_OK)
            r = take(p, name, value);
        if (r < 0)
            return r;
    }
}

static int read_params(struct ma_ctx *ctx, struct params *p)
{
    if (ctx->req.verb == MA_POST)
        return read_form(ctx, p);
    int r = MA_OK;
    for (size_t i = 0; r == MA_OK && i < ctx->req.n_query; i++)
        r = take(p, ctx->req.query[i].name, ctx->req.query[i].value);
    return r;
}

/* --- who asks, and where the answer goes --- */

static struct ma_authorize_fault on_page(const char *description)
{
    return (struct ma_authorize_fault){"invalid_request", description, true};
}

static struct ma_authorize_fault at_client(const char *error, const char *description)
{
    return (struct ma_authorize_fault){error, description, false};
}

static const struct ma_authorize_fault fine = {NULL, NULL, false};

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static struct ma_authorize_fault check_client(struct ma_ctx *ctx, const struct params *p,
                                              struct ma_authorize_request *q, const struct ma_state_client **client)
{
    *client = p->client_id.p ? ma_state_client(ctx->state, p->client_id) : NULL;
    if (is(p->twice, "client_id") || is(p->twice, "redirect_uri"))
        return on_page("client_id and redirect_uri must be sent once.");
    if (!p->client_id.p)
        return on_page("The parameter client_id is missing.");
    if (!*client)
        return on_page("There is no application with this client_id.");
    q->client_id = (*client)->client_id;
    q->redirect_uri = p->redirect_uri;
    const struct ma_span_list *callbacks = &(*client)->callbacks;
    q->redirect_implied = !p->redirect_uri.p;
    if (q->redirect_implied && callbacks->n == 1)
        q->redirect_uri = callbacks->v[0]; /* RFC 6749 §3.1.2.3 */
    if (!q->redirect_uri.p)
        return on_page("The parameter redirect_uri is missing.");
    if (!ma_span_list_has(callbacks, q->redirect_uri)) /* RFC 9700 §4.1.3: character by character */
        return on_page("The redirect_uri is not among the application's allowed callback URLs.");
    return fine;
}

/* --- how the answer is given --- */

static const char *const mode_names[RESPONSE_MODES] = {
    [MA_MODE_QUERY] = "query",
    [MA_MODE_FRAGMENT] = "fragment",
    [MA_MODE_FORM_POST] = "form_post",
    [MA_MODE_WEB_MESSAGE] = "web_message",
};

static struct ma_authorize_fault check_mode(const struct params *p, struct ma_authorize_request *q)
{
    q->mode = MA_MODE_QUERY;
    if (!p->response_mode.p)
        return fine;
    for (int i = 0; i < RESPONSE_MODES; i++) {
        if (!ma_span_eq_str(p->response_mode, mode_names[i]))
            continue;
        if (i == MA_MODE_WEB_MESSAGE && !ma_url_origin(q->redirect_uri).p)
            return on_page("response_mode web_message takes a redirect_uri of a web origin.");
        q->mode = i;
        return fine;
    }
    return at_client("invalid_request", "Unsupported response_mode");
}

static struct ma_authorize_fault check_type(const struct params *p, const struct ma_state_client *client)
{
    if (!p->response_type.p)
        return at_client("invalid_request", "Missing required parameter: response_type");
    if (!ma_span_eq_str(p->response_type, "code"))
        return at_client("unsupported_response_type", "Only response_type=code is supported");
    if (!ma_state_client_may(client, "authorization_code"))
        return at_client("unauthorized_client", "The client may not use the authorization code grant");
    if (p->request.p) /* OIDC Core §6 */
        return at_client("request_not_supported", "The request parameter is not supported");
    if (p->request_uri.p)
        return at_client("request_uri_not_supported", "The request_uri parameter is not supported");
    return fine;
}

/* --- PKCE and DPoP --- */

static bool is_digest_text(struct ma_span s)
{
    uint8_t raw[32 + 3];
    size_t n = 0;
    return s.n == CHALLENGE_LEN && ma_b64url_decode(s, raw, sizeof raw, &n) == MA_OK;
}

static struct ma_authorize_fault check_proofs(const struct params *p, const struct ma_state_client *client,
                                              struct ma_authorize_request *q)
{
    /* RFC 9700 §2.1.1: public clients must use PKCE; "plain" would put the verifier into the URL. */
    if (!p->code_challenge.p && (p->code_challenge_method.p || client->auth == MA_AUTH_NONE))
        return at_client("invalid_request", "Missing required parameter: code_challenge");
    if (p->code_challenge.p && !ma_span_eq_str(p->code_challenge_method, "S256"))
        return at_client("invalid_request", "code_challenge_method must be S256");
    if (p->code_challenge.p && !is_digest_text(p->code_challenge))
        return at_client("invalid_request", "code_challenge must be a base64url SHA-256 digest");
    if (p->dpop_jkt.p && !is_digest_text(p->dpop_jkt)) /* RFC 9449 §10 */
        return at_client("invalid_request", "dpop_jkt must be a base64url SHA-256 thumbprint");
    q->code_challenge = p->code_challenge;
    q->dpop_jkt = p->dpop_jkt;
    return fine;
}

/* --- how the user is to sign in --- */

static struct ma_authorize_fault check_prompt(const struct params *p, struct ma_authorize_request *q)
{
    q->prompt_none = ma_scope_has(p->prompt, "none");
    q->prompt_login = ma_scope_has(p->prompt, "login");
    q->prompt_consent = ma_scope_has(p->prompt, "consent");
    q->prompt_select = ma_scope_has(p->prompt, "select_account");
    if (q->prompt_none && !ma_span_eq_str(p->prompt, "none")) /* OIDC Core §3.1.2.1 */
        return at_client("invalid_request", "prompt=none cannot be combined with other values");
    return fine;
}

static struct ma_authorize_fault check_age(const struct params *p, struct ma_authorize_request *q)
{
    q->max_age_s = -1;
    if (!p->max_age.p)
        return fine;
    for (size_t i = 0; i < p->max_age.n; i++)
        if (p->max_age.n > MAX_AGE_DIGITS || p->max_age.p[i] < '0' || p->max_age.p[i] > '9')
            return at_client("invalid_request", "max_age must be a number of seconds");
    q->max_age_s = strtoll((const char *)p->max_age.p, NULL, 10); /* decoded text ends with NUL */
    return fine;
}

static struct ma_authorize_fault check_user(struct ma_ctx *ctx, const struct params *p, struct ma_authorize_request *q)
{
    struct ma_authorize_fault f = check_prompt(p, q);
    if (!f.error)
        f = check_age(p, q);
    if (f.error || !p->organization.p)
        return f;
    const struct ma_state_organization *o = ma_state_organization(ctx->state, p->organization);
    if (!o)
        return at_client("invalid_request", "parameter organization is invalid");
    q->organization = o->id;
    return fine;
}

/* OIDC Core §3.1.2.2: the answer may be about this user only. */
static struct ma_authorize_fault check_hint(struct ma_ctx *ctx, const struct params *p, struct ma_authorize_request *q)
{
    struct ma_id_hint h;
    if (!p->id_token_hint.p)
        return fine;
    if (ma_id_token_hint(ctx, p->id_token_hint, q->client_id, &h) < 0 || !h.sub.p || h.other_client)
        return at_client("invalid_request", "id_token_hint is not an id_token of this issuer for this client");
    q->hint_sub = h.sub;
    return fine;
}

static struct ma_authorize_fault check_scope(const struct params *p)
{
    if (ma_scope_has(p->scope, "online_access") && ma_scope_has(p->scope, "offline_access"))
        return at_client("invalid_request", "Cannot request both online_access and offline_access scopes");
    return fine;
}

static void copy_rest(const struct params *p, struct ma_authorize_request *q)
{
    q->nonce = p->nonce;
    q->scope = p->scope;
    q->audience = p->audience;
    q->connection = p->connection;
    q->login_hint = p->login_hint;
    q->acr_values = p->acr_values;
    q->screen_hint = p->screen_hint;
    q->ui_locales = p->ui_locales;
}

static struct ma_authorize_fault check(struct ma_ctx *ctx, const struct params *p, struct ma_authorize_request *q,
                                       const struct ma_state_client **client)
{
    struct ma_authorize_fault f = check_client(ctx, p, q, client);
    if (!f.error && !is(p->twice, "state"))
        q->state = p->state;
    if (!f.error)
        f = check_mode(p, q);
    if (!f.error && p->twice)
        f = at_client("invalid_request", "A parameter must not be sent more than once");
    if (!f.error)
        f = check_type(p, *client);
    if (!f.error)
        f = check_proofs(p, *client, q);
    if (!f.error)
        f = check_user(ctx, p, q);
    if (!f.error)
        f = check_hint(ctx, p, q);
    if (!f.error)
        f = check_scope(p);
    if (!f.error)
        copy_rest(p, q);
    return f;
}

int ma_authorize_parse(struct ma_ctx *ctx, struct ma_authorize_request *ret, const struct ma_state_client **ret_client,
                       struct ma_authorize_fault *fault)
{
    struct params p = {.twice = NULL};
    *ret = (struct ma_authorize_request){.max_age_s = -1};
    *ret_client = NULL;
    int r = read_params(ctx, &p);
    if (r == MA_E_PARSE) {
        *fault = on_page("The request is malformed.");
        return MA_OK;
    }
    if (r == MA_OK)
        *fault = check(ctx, &p, ret, ret_client);
    return r;
}

bool ma_authorize_wants_mfa(const struct ma_authorize_request *req)
{
    return ma_scope_has(req->acr_values, MA_ACR_MULTI_FACTOR);
}
