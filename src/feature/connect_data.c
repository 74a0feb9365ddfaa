/* SPDX-License-Identifier: Apache-2.0
 * How the values of connected accounts are kept: MACs, seals, word lists, times.
 */
#include "connect_int.h"

#include <strings.h>

#include "ma/jsonw.h"

enum { RESULT_MAX = 262144, WORDS_MAX = 65536 };
#define ASSUMED_LIFETIME_S 3600 /* of an access token whose provider gives no time and has no habit on record */

struct ma_span ma_connect_mac(struct ma_ctx *ctx, const char *purpose, struct ma_span user, const char *text, size_t n)
{
    uint8_t *mac = ma_arena_alloc(ctx->arena, 32);
    if (!mac || ma_vault_mac(ctx->app->vault, purpose, user, ma_span_of(text, n), mac) < 0)
        return MA_SPAN_NULL;
    return ma_span_of(mac, 32);
}

int ma_connect_seal(struct ma_ctx *ctx, const struct ma_connect *row, const char *column, struct ma_span plain,
                    struct ma_span *ret)
{
    struct ma_seal_id id = {"connects", column, row->session_mac, row->user_id};
    return ma_vault_seal(ctx->app->vault, ctx->arena, &id, plain, ret);
}

int ma_connect_unseal(struct ma_ctx *ctx, const struct ma_connect *row, const char *column, struct ma_span sealed,
                      struct ma_span *ret)
{
    struct ma_seal_id id = {"connects", column, row->session_mac, row->user_id};
    return ma_vault_open_blob(ctx->app->vault, ctx->arena, &id, sealed, ret);
}

int ma_account_seal(struct ma_vault *v, struct ma_arena *a, const struct ma_account *acc, const char *column,
                    struct ma_span plain, struct ma_span *ret)
{
    struct ma_seal_id id = {"accounts", column, acc->id, acc->user_id};
    return ma_vault_seal(v, a, &id, plain, ret);
}

int ma_account_unseal(struct ma_vault *v, struct ma_arena *a, const struct ma_account *acc, const char *column,
                      struct ma_span sealed, struct ma_span *ret)
{
    struct ma_seal_id id = {"accounts", column, acc->id, acc->user_id};
    return ma_vault_open_blob(v, a, &id, sealed, ret);
}

static int open_one(struct ma_ctx *ctx, const struct ma_connect *row, const char *column, struct ma_span *value)
{
    struct ma_span sealed = *value;
    return sealed.p ? ma_connect_unseal(ctx, row, column, sealed, value) : MA_OK;
}

int ma_connect_open(struct ma_ctx *ctx, struct ma_connect *row)
{
    int r = open_one(ctx, row, "params", &row->params);
    return r == MA_OK ? open_one(ctx, row, "client_state", &row->client_state) : r;
}

/* --- the pending result --- */

int ma_connect_result_write(struct ma_arena *a, const struct ma_connect_result *in, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, a, 4096, RESULT_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "subject", in->subject);
    ma_jw_kstr(&w, "access_token", in->access_token);
    if (in->refresh_token.p)
        ma_jw_kstr(&w, "refresh_token", in->refresh_token);
    ma_jw_kstr(&w, "claims", in->claims);
    ma_jw_key(&w, "scopes");
    ma_jw_arr(&w);
    for (size_t i = 0; i < in->scopes.n; i++)
        ma_jw_str(&w, in->scopes.v[i]);
    ma_jw_arr_end(&w);
    ma_jw_kint(&w, "access_expires_at", in->access_expires_at);
    ma_jw_kint(&w, "refresh_expires_at", in->refresh_expires_at);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

int ma_connect_result_read(struct ma_arena *a, struct ma_span text, struct ma_connect_result *ret)
{
#define AT(m) .name = #m, .off = offsetof(struct ma_connect_result, m)
    static const struct ma_jfield fields[] = {
        {AT(subject), .type = MA_F_STR, .flags = MA_REQ},
        {AT(access_token), .type = MA_F_STR, .flags = MA_REQ},
        {AT(refresh_token), .type = MA_F_STR},
        {AT(claims), .type = MA_F_STR, .flags = MA_REQ},
        {AT(scopes), .type = MA_F_STRLIST, .flags = MA_REQ},
        {AT(access_expires_at), .type = MA_F_INT, .flags = MA_REQ},
        {AT(refresh_expires_at), .type = MA_F_INT, .flags = MA_REQ},
    };
#undef AT
    static const struct ma_shape shape = MA_SHAPE(struct ma_connect_result, fields);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = a};
    *ret = (struct ma_connect_result){.subject = MA_SPAN_NULL};
    int r = ma_json_parse(text, &j);
    return r == MA_OK ? ma_json_decode(j, a, &shape, ret, &errs) : r;
}

/* --- small things --- */

bool ma_connect_callback_known(const struct ma_state_client *client, struct ma_span redirect_uri)
{
    return client && ma_span_list_has(&client->callbacks, redirect_uri);
}

int ma_words_join(struct ma_arena *a, const struct ma_span_list *list, struct ma_span *ret)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 256, WORDS_MAX);
    for (size_t i = 0; i < list->n; i++) {
        if (i > 0)
            ma_buf_byte(&b, ' ');
        ma_buf_span(&b, list->v[i]);
    }
    *ret = b.n ? ma_buf_view(&b) : MA_LIT("");
    return ma_buf_err(&b);
}

int ma_words_split(struct ma_arena *a, struct ma_span text, struct ma_span_list *ret)
{
    size_t n = 1;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == ' ';
    *ret = (struct ma_span_list){ma_arena_calloc(a, n, sizeof *ret->v), 0};
    if (!ret->v)
        return MA_E_NOMEM;
    while (text.n > 0) {
        const uint8_t *blank = memchr(text.p, ' ', text.n);
        size_t len = blank ? (size_t)(blank - text.p) : text.n;
        if (len > 0)
            ret->v[ret->n++] = ma_span_of(text.p, len);
        size_t used = len + (blank ? 1 : 0);
        text = ma_span_of(text.p + used, text.n - used);
    }
    return MA_OK;
}

int64_t ma_access_expiry(const struct ma_preset *preset, const struct ma_provider_tokens *t, int64_t now_ms)
{
    int64_t assumed = preset->assumed_lifetime_s > 0 ? preset->assumed_lifetime_s : ASSUMED_LIFETIME_S;
    if (t->expires_in_s >= 0)
        return now_ms + t->expires_in_s * 1000;
    return t->refresh_token.p ? now_ms + assumed * 1000 : 0;
}

int64_t ma_refresh_expiry(const struct ma_provider_tokens *t, int64_t now_ms)
{
    return t->refresh_token.p && t->refresh_expires_in_s > 0 ? now_ms + t->refresh_expires_in_s * 1000 : 0;
}

/* --- who a connection leads to --- */

/* "https://host:port" of a URL; empty when it is none. */
static struct ma_span origin_of(struct ma_span url)
{
    const uint8_t *colon = url.n ? memchr(url.p, ':', url.n) : NULL;
    size_t at = colon ? (size_t)(colon - url.p) : 0;
    if (!colon || url.n - at < 3 || memcmp(colon, "://", 3) != 0)
        return MA_LIT("");
    for (at += 3; at < url.n && url.p[at] != '/' && url.p[at] != '?' && url.p[at] != '#';)
        at++;
    return ma_span_of(url.p, at);
}

static struct ma_span either(struct ma_span own, const char *of_preset)
{
    return own.n || !of_preset ? own : ma_span_str(of_preset);
}

struct ma_span ma_connection_identity(const struct ma_state_connection *c)
{
    const struct ma_state_provider *o = &c->provider;
    if (!o->preset)
        return MA_LIT("");
    struct ma_span issuer = either(o->issuer, o->preset->issuer);
    return issuer.n ? issuer : origin_of(either(o->token_endpoint, o->preset->token_endpoint));
}

bool ma_same_origin(struct ma_span a, struct ma_span b)
{
    struct ma_span x = origin_of(a), y = origin_of(b);
    return x.n > 0 && x.n == y.n && strncasecmp((const char *)x.p, (const char *)y.p, x.n) == 0;
}

void ma_connection_net(struct ma_ctx *ctx, const struct ma_state_connection *c)
{
    const struct ma_state_provider *o = &c->provider;
    struct ma_span known = o->token_endpoint.n || o->issuer.n || !o->preset
                               ? o->token_endpoint
                               : either(MA_SPAN_NULL, o->preset->token_endpoint);
    struct ma_span origin = origin_of(known.n ? known : ma_connection_identity(c));
    ctx->net_key = ma_span_hash(origin.n ? origin : c->name) | 1;
    ctx->net_provider = true;
}

int ma_connection_secret(struct ma_db *db, struct ma_vault *vault, struct ma_arena *a, struct ma_span connection,
                         struct ma_span *ret)
{
    struct ma_span sealed;
    *ret = MA_SPAN_NULL;
    int r = ma_object_secret_get(db, a, MA_LIT("connection"), connection, MA_LIT("client_secret"), &sealed);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    const char *row =
        r == MA_OK ? ma_arena_printf(a, "connection|%.*s", (int)connection.n, (const char *)connection.p) : NULL;
    if (!row)
        return r < 0 ? r : MA_E_NOMEM;
    struct ma_seal_id id = {"object_secrets", "client_secret", ma_span_str(row), MA_LIT("")};
    return ma_vault_open_blob(vault, a, &id, sealed, ret);
}

struct ma_provider_env ma_provider_env_of(const struct ma_app *app, const struct ma_conf *conf, struct ma_httpc *httpc,
                                          struct ma_arena *a)
{
    return (struct ma_provider_env){
        .cache = app->providers,
        .jose = app->jose,
        .httpc = httpc,
        .clock = app->clock,
        .log = app->log,
        .arena = a,
        .deadline_ms = app->clock->mono_ms(app->clock) + MA_PROVIDER_STEP_MS,
        .policy = {conf->network.allow_private, conf->network.allow_http_loopback},
    };
}
