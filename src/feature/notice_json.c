/* SPDX-License-Identifier: Apache-2.0
 * What notices keep, as JSON text: what the message said, and methods with all that restores them.
 */
#include "ma/codec.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"

#include "int.h"
#include "notify_int.h"

enum { INFO_MAX = 8192, KEPT_MAX = 65536 };

static int decode(struct ma_arena *a, struct ma_span text, const struct ma_shape *shape, void *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = a};
    int r = ma_json_parse(text, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, a, shape, ret, &errs);
    return r == MA_E_INVAL ? MA_E_PARSE : r;
}

static void put(struct ma_jw *w, const char *key, struct ma_span v)
{
    if (v.p)
        ma_jw_kstr(w, key, v);
}

/* --- info --- */

int ma_notice_info_write(const struct ma_notify_env *env, const struct ma_notice *n, const struct ma_change *c,
                         struct ma_span when, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, env->arena, 512, INFO_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put(&w, "what", c->what);
    put(&w, "when", when);
    put(&w, "browser", env->browser);
    put(&w, "address", env->address);
    ma_jw_key(&w, "reach");
    ma_jw_arr(&w);
    for (size_t i = 0; i < n->n; i++) {
        ma_jw_obj(&w);
        ma_jw_kcstr(&w, "channel", ma_channel_name(n->reach[i].channel));
        ma_jw_kstr(&w, "to", n->reach[i].to);
        ma_jw_obj_end(&w);
    }
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

struct reach_text {
    int channel;
    struct ma_span to;
};
static const char *const channels[] = {"email", "sms", NULL};
static const struct ma_jfield reach_fields[] = {
    {.name = "channel",
     .type = MA_F_ENUM,
     .flags = MA_REQ,
     .off = offsetof(struct reach_text, channel),
     .names = channels},
    {.name = "to", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct reach_text, to)},
};
static const struct ma_shape reach_shape = MA_SHAPE(struct reach_text, reach_fields);

struct info_text {
    struct ma_span what, when, browser, address;
    struct ma_objlist reach;
};
#define I(m)                                                                                                           \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .off = offsetof(struct info_text, m)                                             \
    }
static const struct ma_jfield info_fields[] = {
    I(what),
    I(when),
    I(browser),
    I(address),
    {.name = "reach",
     .type = MA_F_OBJLIST,
     .flags = MA_REQ,
     .off = offsetof(struct info_text, reach),
     .max_items = MA_REACH_MAX,
     .sub = &reach_shape},
};
static const struct ma_shape info_shape = MA_SHAPE(struct info_text, info_fields);

int ma_notice_info_read(struct ma_arena *a, struct ma_span text, struct ma_notice_info *ret)
{
    struct info_text t = {.what = MA_SPAN_NULL};
    int r = decode(a, text, &info_shape, &t);
    const struct reach_text *v = t.reach.v;
    *ret = (struct ma_notice_info){.what = t.what, .when = t.when, .browser = t.browser, .address = t.address};
    for (size_t i = 0; r == MA_OK && i < t.reach.n && i < MA_REACH_MAX; i++)
        ret->reach[ret->n++] = (struct ma_reach){v[i].channel == 0 ? MA_CHANNEL_EMAIL : MA_CHANNEL_SMS, v[i].to};
    return r;
}

/* --- kept methods --- */

static void put_bytes(struct ma_jw *w, struct ma_arena *a, const char *key, struct ma_span v)
{
    char *text = v.p ? ma_arena_alloc(a, MA_B64URL_LEN(v.n) + 1) : NULL;
    if (!text)
        return;
    ma_b64url_encode(v, text);
    ma_jw_kcstr(w, key, text);
}

static void put_credential(struct ma_jw *w, struct ma_arena *a, const struct ma_credential *c)
{
    ma_jw_key(w, "credential");
    ma_jw_obj(w);
    put_bytes(w, a, "credential_id", c->credential_id);
    put_bytes(w, a, "public_key", c->public_key);
    put_bytes(w, a, "aaguid", ma_span_of(c->aaguid, sizeof c->aaguid));
    put_bytes(w, a, "user_handle", c->user_handle);
    ma_jw_kint(w, "alg", c->alg);
    ma_jw_kint(w, "sign_count", c->sign_count);
    ma_jw_kbool(w, "be", c->be);
    ma_jw_kbool(w, "bs", c->bs);
    ma_jw_kbool(w, "uv", c->uv);
    put(w, "attestation", c->attestation);
    put(w, "transports", c->transports);
    put(w, "user_agent", c->user_agent);
    put(w, "rp_id", c->rp_id);
    ma_jw_obj_end(w);
}

static void put_device(struct ma_jw *w, struct ma_arena *a, const struct ma_push_device *d)
{
    ma_jw_key(w, "device");
    ma_jw_obj(w);
    put(w, "device_id", d->device_id);
    put_bytes(w, a, "ticket_mac", d->ticket_mac);
    put(w, "client_id", d->client_id);
    put(w, "origin", d->origin);
    put(w, "name", d->name);
    put(w, "pair_id", d->pair_id);
    put(w, "identifier", d->identifier);
    put(w, "service", d->service);
    put(w, "push_token", d->push_token);
    put(w, "public_key", d->public_key);
    put_bytes(w, a, "token_mac", d->token_mac);
    ma_jw_kbool(w, "matching", d->matching);
    ma_jw_kint(w, "created_at", d->created_at);
    ma_jw_kint(w, "enrolled_at", d->enrolled_at);
    ma_jw_kint(w, "updated_at", d->updated_at);
    ma_jw_obj_end(w);
}

int ma_kept_method_write(struct ma_arena *a, const struct ma_kept_method *k, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    const struct ma_method *m = &k->m;
    ma_buf_init_arena(&b, a, 1024, KEPT_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put(&w, "id", m->id);
    ma_jw_kcstr(&w, "type", ma_factor_name(m->type));
    put(&w, "name", m->name);
    put(&w, "address", m->address);
    ma_jw_kbool(&w, "voice", m->voice);
    put_bytes(&w, a, "secret", m->secret);
    ma_jw_kint(&w, "last_step", m->last_step);
    ma_jw_kint(&w, "created_at", m->created_at);
    ma_jw_kint(&w, "last_auth_at", m->last_auth_at);
    if (k->has_credential)
        put_credential(&w, a, &k->c);
    if (k->has_device)
        put_device(&w, a, &k->d);
    if (k->pair.p) {
        ma_jw_key(&w, "pair");
        ma_jw_raw(&w, k->pair);
    }
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

struct credential_text {
    struct ma_span credential_id, public_key, aaguid, user_handle, attestation, transports, user_agent, rp_id;
    int64_t alg, sign_count;
    bool be, bs, uv;
};
#define CS(m, f)                                                                                                       \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .flags = (f), .off = offsetof(struct credential_text, m)                         \
    }
#define CN(m, t)                                                                                                       \
    {                                                                                                                  \
        .name = #m, .type = (t), .flags = MA_REQ, .off = offsetof(struct credential_text, m)                           \
    }
static const struct ma_jfield credential_fields[] = {
    CS(credential_id, MA_REQ), CS(public_key, MA_REQ), CS(aaguid, MA_REQ), CS(user_handle, MA_REQ),
    CS(attestation, MA_REQ),   CS(transports, 0),      CS(user_agent, 0),  CS(rp_id, MA_REQ),
    CN(alg, MA_F_INT),         CN(be, MA_F_BOOL),      CN(bs, MA_F_BOOL),  CN(uv, MA_F_BOOL),
    CN(sign_count, MA_F_INT),
};
static const struct ma_shape credential_shape = MA_SHAPE(struct credential_text, credential_fields);

struct device_text {
    struct ma_span name, device_id, ticket_mac, client_id, origin, pair_id, identifier, service, push_token, public_key,
        token_mac;
    bool matching;
    int64_t created_at, enrolled_at, updated_at;
};
#define DS(m, f)                                                                                                       \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .flags = (f), .off = offsetof(struct device_text, m)                             \
    }
#define DN(m)                                                                                                          \
    {                                                                                                                  \
        .name = #m, .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct device_text, m)                          \
    }
static const struct ma_jfield device_fields[] = {
    DS(device_id, MA_REQ),
    DS(ticket_mac, MA_REQ),
    DS(client_id, MA_REQ),
    DS(origin, MA_REQ),
    DS(name, 0),
    DS(pair_id, 0),
    DS(identifier, MA_REQ),
    DS(service, 0),
    DS(push_token, 0),
    DS(public_key, MA_REQ),
    DS(token_mac, MA_REQ),
    {.name = "matching", .type = MA_F_BOOL, .flags = MA_REQ, .off = offsetof(struct device_text, matching)},
    DN(created_at),
    DN(enrolled_at),
    DN(updated_at),
};
static const struct ma_shape device_shape = MA_SHAPE(struct device_text, device_fields);

struct method_text {
    struct ma_span id, type, name, address, secret, pair;
    bool voice, has_credential, has_device;
    int64_t last_step, created_at, last_auth_at;
    struct credential_text credential;
    struct device_text device;
};
#define MS(m, f)                                                                                                       \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .flags = (f), .off = offsetof(struct method_text, m)                             \
    }
#define MN(m)                                                                                                          \
    {                                                                                                                  \
        .name = #m, .type = MA_F_INT, .flags = MA_REQ, .off = offsetof(struct method_text, m)                          \
    }
static const struct ma_jfield method_fields[] = {
    MS(id, MA_REQ),
    MS(type, MA_REQ),
    MS(name, 0),
    MS(address, 0),
    MS(secret, 0),
    {.name = "voice", .type = MA_F_BOOL, .flags = MA_REQ, .off = offsetof(struct method_text, voice)},
    MN(last_step),
    MN(created_at),
    MN(last_auth_at),
    {.name = "credential",
     .type = MA_F_OBJ,
     .off = offsetof(struct method_text, credential),
     .has_off = offsetof(struct method_text, has_credential),
     .sub = &credential_shape},
    {.name = "device",
     .type = MA_F_OBJ,
     .off = offsetof(struct method_text, device),
     .has_off = offsetof(struct method_text, has_device),
     .sub = &device_shape},
    {.name = "pair", .type = MA_F_RAWOBJ, .off = offsetof(struct method_text, pair)},
};
static const struct ma_shape method_shape = MA_SHAPE(struct method_text, method_fields);

static int bytes(struct ma_arena *a, struct ma_span text, struct ma_span *ret)
{
    size_t n = 0;
    *ret = MA_SPAN_NULL;
    if (!text.p)
        return MA_OK;
    uint8_t *out = ma_arena_alloc(a, text.n + 1);
    int r = out ? ma_b64url_decode(text, out, text.n + 1, &n) : MA_E_NOMEM;
    *ret = ma_span_of(out, n);
    return r;
}

static int read_credential(struct ma_arena *a, const struct credential_text *t, struct ma_credential *c)
{
    struct ma_span aaguid;
    *c = (struct ma_credential){.attestation = t->attestation,
                                .transports = t->transports,
                                .user_agent = t->user_agent,
                                .rp_id = t->rp_id,
                                .alg = t->alg,
                                .sign_count = t->sign_count,
                                .be = t->be,
                                .bs = t->bs,
                                .uv = t->uv};
    int r = bytes(a, t->credential_id, &c->credential_id);
    if (r == MA_OK)
        r = bytes(a, t->public_key, &c->public_key);
    if (r == MA_OK)
        r = bytes(a, t->user_handle, &c->user_handle);
    if (r == MA_OK)
        r = bytes(a, t->aaguid, &aaguid);
    if (r == MA_OK && aaguid.n != sizeof c->aaguid)
        r = MA_E_PARSE;
    if (r == MA_OK)
        memcpy(c->aaguid, aaguid.p, sizeof c->aaguid);
    return r;
}

static int read_device(struct ma_arena *a, const struct device_text *t, struct ma_push_device *d)
{
    *d = (struct ma_push_device){.device_id = t->device_id,
                                 .client_id = t->client_id,
                                 .origin = t->origin,
                                 .name = t->name,
                                 .pair_id = t->pair_id,
                                 .identifier = t->identifier,
                                 .service = t->service,
                                 .push_token = t->push_token,
                                 .public_key = t->public_key,
                                 .matching = t->matching,
                                 .created_at = t->created_at,
                                 .enrolled_at = t->enrolled_at,
                                 .updated_at = t->updated_at};
    int r = bytes(a, t->ticket_mac, &d->ticket_mac);
    return r == MA_OK ? bytes(a, t->token_mac, &d->token_mac) : r;
}

int ma_kept_method_read(struct ma_arena *a, struct ma_span text, struct ma_kept_method *ret)
{
    struct method_text t = {.voice = false};
    int r = decode(a, text, &method_shape, &t);
    if (r < 0)
        return r;
    *ret = (struct ma_kept_method){.m = {.id = t.id,
                                         .type = ma_factor_parse(t.type),
                                         .confirmed = true,
                                         .name = t.name,
                                         .address = t.address,
                                         .voice = t.voice,
                                         .last_step = t.last_step,
                                         .created_at = t.created_at,
                                         .last_auth_at = t.last_auth_at},
                                   .has_credential = t.has_credential,
                                   .has_device = t.has_device,
                                   .pair = t.pair};
    r = bytes(a, t.secret, &ret->m.secret);
    if (r == MA_OK && ret->has_credential)
        r = read_credential(a, &t.credential, &ret->c);
    if (r == MA_OK && ret->has_device)
        r = read_device(a, &t.device, &ret->d);
    ret->c.method_id = ret->d.id = ret->m.id;
    return r == MA_OK && ret->m.type == MA_FACTOR__COUNT ? MA_E_PARSE : r;
}

/* --- kept passwords and settings --- */

#define PS(m, f)                                                                                                       \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .flags = (f), .off = offsetof(struct ma_kept_password, m)                        \
    }
static const struct ma_jfield password_fields[] = {
    PS(hash, MA_REQ),
    {.name = "must_reset", .type = MA_F_BOOL, .flags = MA_REQ, .off = offsetof(struct ma_kept_password, must_reset)},
};
static const struct ma_shape password_shape = MA_SHAPE(struct ma_kept_password, password_fields);

int ma_kept_password_write(struct ma_arena *a, const struct ma_kept_password *k, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, a, 512, KEPT_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put(&w, "hash", k->hash);
    ma_jw_kbool(&w, "must_reset", k->must_reset);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

int ma_kept_password_read(struct ma_arena *a, struct ma_span text, struct ma_kept_password *ret)
{
    *ret = (struct ma_kept_password){.hash = MA_SPAN_NULL};
    return decode(a, text, &password_shape, ret);
}

static const struct ma_jfield settings_fields[] = {
    {.name = "name", .type = MA_F_STR, .off = offsetof(struct ma_kept_settings, name)},
    {.name = "voice", .type = MA_F_BOOL, .flags = MA_REQ, .off = offsetof(struct ma_kept_settings, voice)},
};
static const struct ma_shape settings_shape = MA_SHAPE(struct ma_kept_settings, settings_fields);

int ma_kept_settings_write(struct ma_arena *a, const struct ma_kept_settings *k, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, a, 256, KEPT_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put(&w, "name", k->name);
    ma_jw_kbool(&w, "voice", k->voice);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

int ma_kept_settings_read(struct ma_arena *a, struct ma_span text, struct ma_kept_settings *ret)
{
    *ret = (struct ma_kept_settings){.name = MA_SPAN_NULL};
    return decode(a, text, &settings_shape, ret);
}
