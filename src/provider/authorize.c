/* SPDX-License-Identifier: Apache-2.0
 * Authorization requests: the scopes to ask for and the URL to send the browser to.
 */
#include "ma/provider.h"
#include "int.h"
#include "ma/codec.h"
#include "ma/crypto.h"

#define URL_MAX 32768u   /* bytes of the whole URL */
#define PARAMS_MAX 64u   /* further parameters of one request */
#define PROMPT_MAX 1024u /* bytes of the joined prompt */

/* --- scopes --- */

static size_t count_words(const char *text)
{
    struct ma_span rest = ma_span_str(text), word;
    size_t n = 0;
    while (ma_next_word(&rest, " ", &word))
        n++;
    return n;
}

int ma_provider_scopes(struct ma_arena *a, const struct ma_state_connection *c, const struct ma_span_list *asked,
                       struct ma_span_list *ret)
{
    const struct ma_state_provider *o = &c->provider;
    const struct ma_span_list *base = asked && asked->n ? asked : &o->scopes;
    struct ma_span rest = ma_span_str(o->preset->scopes), offline = MA_LIT(MA_OFFLINE_ACCESS);
    *ret = (struct ma_span_list){ma_arena_calloc(a, base->n + count_words(o->preset->scopes) + 1, sizeof(*ret->v)), 0};
    if (!ret->v)
        return MA_E_NOMEM;
    for (size_t i = 0; i < base->n; i++)
        ret->v[ret->n++] = base->v[i];
    while (ma_next_word(&rest, " ", &ret->v[ret->n]))
        ret->n++;
    if (ma_span_list_has(&o->scopes, offline))
        ret->v[ret->n++] = offline;
    for (size_t i = 0; i < ret->n; i++) {
        if (!ma_scope_ok(ret->v[i]))
            return MA_E_INVAL;
        ret->v[i] = ma_arena_dup(a, ret->v[i]);
        if (!ret->v[i].p)
            return MA_E_NOMEM;
    }
    ma_list_sort_unique(ret);
    return MA_OK;
}

/* --- parameters --- */

struct pair {
    struct ma_span name, value;
};
struct pairs {
    struct pair v[PARAMS_MAX];
    size_t n;
};

/* What makes the request this daemon's own, with what could say it again in another form: response_mode moves the
 * answer, request and request_uri replace every parameter (RFC 9101 §5). */
static bool is_protocol(const struct ma_preset *row, struct ma_span name)
{
    static const char *const names[] = {"response_type",  "client_id",     "client_secret", "redirect_uri",
                                        "scope",          "user_scope",    "state",         "nonce",
                                        "code_challenge", "response_mode", "request",       "code_challenge_method",
                                        "request_uri"};
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        if (ma_span_eq_str(name, names[i]))
            return true;
    }
    return name.n == 0 || ma_span_eq_str(name, row->scope_param);
}

static struct pair *find(struct pairs *l, struct ma_span name)
{
    for (size_t i = 0; i < l->n; i++) {
        if (ma_span_eq(l->v[i].name, name))
            return &l->v[i];
    }
    return NULL;
}

static int set(const struct ma_preset *row, struct pairs *l, struct ma_span name, struct ma_span value)
{
    struct pair *there = find(l, name);
    if (is_protocol(row, name))
        return MA_OK;
    if (there) {
        there->value = value;
        return MA_OK;
    }
    if (l->n == PARAMS_MAX)
        return MA_E_RANGE;
    l->v[l->n++] = (struct pair){name, value};
    return MA_OK;
}

static int set_form(struct ma_arena *a, const struct ma_preset *row, struct pairs *l, struct ma_span form)
{
    struct ma_span name, value;
    int r;
    while ((r = ma_form_next(a, &form, &name, &value)) == MA_OK) {
        r = set(row, l, name, value);
        if (r < 0)
            return r;
    }
    return r == MA_E_NOTFOUND ? MA_OK : r == MA_E_PARSE ? MA_E_INVAL : r;
}

static bool has_word(struct ma_span text, struct ma_span word)
{
    struct ma_span w;
    while (ma_next_word(&text, " ", &w)) {
        if (ma_span_eq(w, word))
            return true;
    }
    return false;
}

static void put_words(struct ma_buf *b, struct ma_span text)
{
    struct ma_span w;
    while (ma_next_word(&text, " ", &w)) {
        if (has_word(ma_buf_view(b), w))
            continue;
        if (b->n)
            ma_buf_byte(b, ' ');
        ma_buf_span(b, w);
    }
}

/* OpenID Connect Core §3.1.2.1: "none" stands alone, so there the later one replaces. */
static int join_prompt(struct ma_arena *a, struct pair *there, struct ma_span more)
{
    struct ma_buf b;
    if (has_word(more, MA_LIT("none")) || has_word(there->value, MA_LIT("none"))) {
        there->value = more;
        return MA_OK;
    }
    ma_buf_init_arena(&b, a, there->value.n + more.n + 1, PROMPT_MAX);
    put_words(&b, there->value);
    put_words(&b, more);
    there->value = ma_buf_view(&b);
    return ma_buf_err(&b);
}

static int set_client(struct ma_arena *a, const struct ma_preset *row, struct pairs *l, const struct ma_authorize *in)
{
    static const char prompt[] = "prompt";
    int r = MA_OK;
    struct pair *configured = find(l, ma_span_str(prompt));
    for (size_t i = 0; i < in->n_params && r == MA_OK; i++) {
        struct ma_span name = ma_span_str(in->params[i].name);
        if (configured && ma_span_eq_str(name, prompt))
            r = join_prompt(a, configured, in->params[i].value);
        else
            r = set(row, l, name, in->params[i].value);
    }
    return r;
}

static int collect(struct ma_arena *a, const struct ma_state_provider *o, const struct ma_authorize *in,
                   struct pairs *l)
{
    const struct ma_preset *row = o->preset;
    bool offline = in->scopes && ma_span_list_has(in->scopes, MA_LIT(MA_OFFLINE_ACCESS));
    bool habit = row->offline == MA_OFFLINE_PARAMS || (row->offline == MA_OFFLINE_SCOPE && offline);
    int r = row->offline_params && habit ? set_form(a, row, l, ma_span_str(row->offline_params)) : MA_OK;
    if (r == MA_OK)
        r = set_form(a, row, l, o->authorization_params);
    return r == MA_OK ? set_client(a, row, l, in) : r;
}

/* --- the URL --- */

static int put_scopes(struct ma_arena *a, struct ma_buf *url, const struct ma_state_provider *o,
                      const struct ma_span_list *scopes)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 256, URL_MAX);
    for (size_t i = 0; scopes && i < scopes->n; i++) {
        if (o->preset->offline != MA_OFFLINE_SCOPE && ma_span_eq_str(scopes->v[i], MA_OFFLINE_ACCESS))
            continue;
        if (b.n)
            ma_buf_byte(&b, (uint8_t)o->scope_separator);
        ma_buf_span(&b, scopes->v[i]);
    }
    if (b.n)
        ma_form_put(url, o->preset->scope_param, ma_buf_view(&b));
    return ma_buf_err(&b);
}

/* RFC 7636 §4.2: BASE64URL(SHA256(ASCII(code_verifier))). */
static int put_challenge(struct ma_buf *url, const char *verifier)
{
    uint8_t hash[MA_SHA256_LEN];
    char text[MA_B64URL_LEN(MA_SHA256_LEN) + 1];
    int r = ma_sha256(ma_span_str(verifier), hash);
    if (r < 0)
        return r;
    ma_b64url_encode(ma_span_of(hash, sizeof(hash)), text);
    ma_form_put(url, "code_challenge", ma_span_str(text));
    ma_form_put(url, "code_challenge_method", MA_LIT("S256"));
    return MA_OK;
}

static int put_protocol(struct ma_arena *a, struct ma_buf *url, const struct ma_state_provider *o,
                        const struct ma_authorize *in)
{
    ma_form_put(url, "response_type", MA_LIT("code"));
    ma_form_put(url, "client_id", o->client_id);
    ma_form_put(url, "redirect_uri", ma_span_str(in->redirect_uri));
    int r = put_scopes(a, url, o, in->scopes);
    if (r < 0)
        return r;
    ma_form_put(url, "state", ma_span_str(in->state));
    if (o->preset->oidc)
        ma_form_put(url, "nonce", ma_span_str(in->nonce));
    return o->pkce ? put_challenge(url, in->verifier) : MA_OK;
}

/* RFC 6749 §3.1: a query that the endpoint has already stays. */
static void put_endpoint(struct ma_buf *url, const char *endpoint)
{
    size_t n = strlen(endpoint);
    ma_buf_str(url, endpoint);
    if (!strchr(endpoint, '?'))
        ma_buf_byte(url, '?');
    else if (endpoint[n - 1] != '?' && endpoint[n - 1] != '&')
        ma_buf_byte(url, '&');
}

int ma_provider_authorize_url(struct ma_arena *a, const struct ma_provider *p, const struct ma_authorize *in,
                              const char **ret)
{
    const struct ma_state_provider *o = &p->connection->provider;
    struct ma_buf url;
    if (!in->redirect_uri || !in->state || (o->preset->oidc && !in->nonce) || (o->pkce && !in->verifier))
        return MA_E_INVAL;
    struct pairs *extra = ma_arena_zalloc(a, sizeof(*extra));
    if (!extra)
        return MA_E_NOMEM;
    int r = collect(a, o, in, extra);
    if (r < 0)
        return r;
    ma_buf_init_arena(&url, a, 2048, URL_MAX);
    put_endpoint(&url, p->authorization_endpoint);
    r = put_protocol(a, &url, o, in);
    for (size_t i = 0; i < extra->n; i++) {
        const char *name = ma_pct_encode(a, extra->v[i].name);
        if (!name)
            return MA_E_NOMEM;
        ma_form_put(&url, name, extra->v[i].value);
    }
    ma_buf_byte(&url, 0);
    *ret = (const char *)url.p;
    return r < 0 ? r : ma_buf_err(&url);
}
