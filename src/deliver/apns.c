/* SPDX-License-Identifier: Apache-2.0
 * Apple Push Notification service over HTTP/2 with a provider token (a JWT of the operator's key): one alert per
 * letter, in the shape that the authenticator SDK for iOS reads.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "ma/jose.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"
#include "push_int.h"

#include <stdio.h>

#define PRODUCTION "https://api.push.apple.com"
#define SANDBOX "https://api.sandbox.push.apple.com"
#define CATEGORY "com.auth0.notification.authentication" /* names the app's buttons; the SDK reads no other */
#define TOKEN_LIFE_MS 3000000                            /* Apple takes one for 60 minutes, and new ones every 20 */
#define DEVICE_TOKEN_MAX 200                             /* hexadecimal digits */
#define BODY_MAX (2u * MA_PUSH_PAYLOAD_MAX)

/* --- settings --- */

static char *base_url(struct ma_arena *a, const struct ma_conf *conf)
{
    const char *url = conf->delivery.apns_url;
    if (!url[0])
        url = conf->delivery.apns_sandbox ? SANDBOX : PRODUCTION;
    size_t n = strlen(url);
    while (n > 0 && url[n - 1] == '/')
        n--;
    return ma_arena_strdup(a, ma_span_of(url, n));
}

static int digest(struct ma_arena *a, const struct ma_apns *p, struct ma_span pem, uint8_t out[MA_SHA256_LEN])
{
    const char *all = ma_arena_printf(a, "%s\n%s\n%.*s", p->key_id, p->team_id, (int)pem.n, (const char *)pem.p);
    return all ? ma_sha256(ma_span_str(all), out) : MA_E_NOMEM;
}

int ma_apns_load(struct ma_arena *a, const struct ma_conf *conf, struct ma_apns **ret, char why[256])
{
    struct ma_span pem;
    int r = ma_push_secret(a, "apns_key", conf->delivery.apns_key, &pem, why);
    struct ma_apns *p = r == MA_OK ? ma_arena_zalloc(a, sizeof *p) : NULL;
    if (!p)
        return r < 0 ? r : MA_E_NOMEM;
    p->base_url = base_url(a, conf);
    p->key_id = ma_arena_strdup(a, ma_span_str(conf->delivery.apns_key_id));
    p->team_id = ma_arena_strdup(a, ma_span_str(conf->delivery.apns_team_id));
    p->topic = ma_arena_strdup(a, ma_span_str(conf->delivery.apns_topic));
    p->alert = ma_arena_strdup(a, ma_span_str(conf->delivery.apns_alert));
    if (!p->base_url || !p->key_id || !p->team_id || !p->topic || !p->alert)
        return MA_E_NOMEM;
    r = digest(a, p, pem, p->digest);
    if (r == MA_OK)
        r = ma_push_key(pem, MA_JWS_ES256, "apns_key", &p->key, why);
    if (r == MA_OK)
        *ret = p;
    return r;
}

void ma_apns_clear(struct ma_apns *p)
{
    if (p)
        ma_key_free(p->key);
}

/* --- the provider token --- */

static int sign(struct ma_send *s, const struct ma_apns *p, int64_t now_ms)
{
    struct ma_buf b;
    struct ma_jw w;
    struct ma_span jwt;
    ma_buf_init_arena(&b, s->a, 128, 512);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "iss", p->team_id);
    ma_jw_kint(&w, "iat", now_ms / 1000);
    ma_jw_obj_end(&w);
    ma_buf_byte(&b, 0);
    int r = ma_buf_err(&b);
    if (r == MA_OK)
        r = ma_jwt_sign_with(s->a, p->key, MA_JWS_ES256, p->key_id, (const char *)b.p, &jwt);
    if (r == MA_OK)
        r = ma_push_cache_put(s->cache, jwt, now_ms, now_ms + TOKEN_LIFE_MS);
    if (r == MA_OK)
        return MA_OK;
    (void)snprintf(s->why, sizeof s->why, "the provider token cannot be signed");
    return r == MA_E_NOMEM ? r : MA_E_UPSTREAM;
}

/* --- the payload --- */

struct objects {
    struct ma_span s, l;
};
static const struct ma_jfield objects_fields[] = {
    {.name = "s", .type = MA_F_STR, .off = offsetof(struct objects, s), .max = MA_JSON_STR_MAX},
    {.name = "l", .type = MA_F_STR, .off = offsetof(struct objects, l), .max = MA_JSON_STR_MAX},
};
static const struct ma_shape objects_shape = MA_SHAPE_OPEN(struct objects, objects_fields);

static bool is_object(struct ma_span text)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    return text.n > 0 && text.p[0] == '{' && ma_json_parse(text, &j) == MA_OK;
}

static void put_object(struct ma_jw *w, const char *key, struct ma_span text)
{
    if (!is_object(text))
        return;
    ma_jw_key(w, key);
    ma_jw_raw(w, text);
}

/* Source and location are texts of JSON where all values are strings (Android), and objects on iOS. */
static int mfa(struct ma_send *s, struct ma_span *ret)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_verrs errs = {.arena = s->a};
    struct objects in = {.s = MA_SPAN_NULL};
    struct ma_buf b;
    struct ma_jw w;
    int r = ma_json_parse(s->letter->data, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, s->a, &objects_shape, &in, &errs);
    if (r < 0)
        return r == MA_E_NOMEM ? r : MA_E_INVAL;
    ma_buf_init_arena(&b, s->a, 512, BODY_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put_object(&w, "s", in.s);
    put_object(&w, "l", in.l);
    ma_jw_obj_end(&w);
    r = ma_buf_err(&b);
    return r < 0 ? r : ma_json_merge(s->a, s->letter->data, ma_buf_view(&b), ret);
}

static void put_aps(struct ma_jw *w, const struct ma_apns *p)
{
    ma_jw_key(w, "aps");
    ma_jw_obj(w);
    ma_jw_key(w, "alert");
    ma_jw_obj(w);
    ma_jw_kcstr(w, "body", p->alert);
    ma_jw_obj_end(w);
    ma_jw_kcstr(w, "category", CATEGORY);
    ma_jw_kcstr(w, "sound", "default");
    ma_jw_kint(w, "mutable-content", 1); /* the app may put its own words */
    ma_jw_obj_end(w);
}

static int compose(struct ma_send *s, const struct ma_apns *p, struct ma_span *ret)
{
    struct ma_span data;
    struct ma_buf b;
    struct ma_jw w;
    int r = mfa(s, &data);
    if (r < 0)
        return r;
    ma_buf_init_arena(&b, s->a, 2048, MA_PUSH_PAYLOAD_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    put_aps(&w, p);
    ma_jw_key(&w, "mfa");
    ma_jw_raw(&w, data);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

/* --- the call --- */

static bool hex_ok(struct ma_span t)
{
    for (size_t i = 0; i < t.n; i++) {
        char c = (char)t.p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')))
            return false;
    }
    return t.n > 0 && t.n <= DEVICE_TOKEN_MAX;
}

/* The row's id as a UUID: the same notification however often it is tried. */
static char *apns_id(struct ma_arena *a, const char *id)
{
    char hex[] = "00000000000000000000000000000000";
    size_t n = strlen(id);
    memcpy(hex, id, n < sizeof hex - 1 ? n : sizeof hex - 1);
    return ma_arena_printf(a, "apns-id: %.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static int post_alert(struct ma_send *s, const struct ma_apns *p, struct ma_span body, struct ma_http_answer *ret)
{
    struct ma_span device;
    (void)ma_push_service(s->letter->to, &device);
    const char *url = ma_arena_printf(s->a, "%s/3/device/%.*s", p->base_url, (int)device.n, (const char *)device.p);
    const char *const headers[] = {
        ma_arena_printf(s->a, "authorization: bearer %s", s->cache->credential),
        ma_arena_printf(s->a, "apns-topic: %s", p->topic),
        ma_arena_printf(s->a, "apns-expiration: %lld", (long long)((s->letter->created_at + MA_PUSH_TTL_MS) / 1000)),
        apns_id(s->a, s->id),
        "apns-push-type: alert",
        "apns-priority: 10",
        "content-type: application/json",
        NULL};
    if (!url || !headers[0] || !headers[1] || !headers[2] || !headers[3])
        return MA_E_NOMEM;
    const struct ma_push_post post = {.url = url, .headers = headers, .body = body, .http2 = true};
    return ma_push_post(s, &post, ret);
}

struct refusal {
    struct ma_span reason;
};
static const struct ma_jfield refusal_fields[] = {
    {.name = "reason", .type = MA_F_STR, .off = offsetof(struct refusal, reason), .max = 256},
};
static const struct ma_shape refusal_shape = MA_SHAPE_OPEN(struct refusal, refusal_fields);

static void reason_word(struct ma_send *s, struct ma_span body, char out[MA_PUSH_REASON_MAX])
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_verrs errs = {.arena = s->a};
    struct refusal f = {.reason = MA_SPAN_NULL};
    if (ma_json_parse(body, &j) < 0 || ma_json_decode(j, s->a, &refusal_shape, &f, &errs) < 0)
        f.reason = MA_SPAN_NULL;
    ma_push_word(f.reason, out);
}

static bool is_one_of(const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(word, words[i]) == 0)
            return true;
    return false;
}

static int judge(struct ma_send *s, long status, const char *word)
{
    /* what the operator set up wrongly: the message waits until that is mended */
    static const char *const mendable[] = {"BadTopic", "MissingTopic", "TopicDisallowed"};
    if (status == 200)
        return MA_OK;
    (void)snprintf(s->why, sizeof s->why, "APNs answered %ld %s", status, word);
    if (status == 429 || status == 503)
        return MA_E_BUSY;
    if (status >= 500 || status == 408)
        return MA_E_TIMEOUT;
    bool concerns_message = status == 410 || status == 413 || (status == 400 && word[0]);
    return concerns_message && !is_one_of(word, mendable, MA_COUNT(mendable)) ? MA_E_INVAL : MA_E_UPSTREAM;
}

/* Once more with a fresh provider token where APNs finds the remembered one too old. */
static int send(struct ma_send *s, const struct ma_apns *p, struct ma_span body)
{
    struct ma_http_answer answer = {0};
    char word[MA_PUSH_REASON_MAX];
    int64_t now_ms = s->clock->wall_ms(s->clock);
    bool remembered = ma_push_cache_good(s->cache, p->digest, now_ms);
    for (;;) {
        int r = remembered ? MA_OK : sign(s, p, now_ms);
        if (r == MA_OK)
            r = post_alert(s, p, body, &answer);
        if (r < 0)
            return r;
        reason_word(s, answer.body, word);
        bool expired = answer.status == 403 && strcmp(word, "ExpiredProviderToken") == 0;
        if (expired)
            ma_push_cache_clear(s->cache);
        if (!expired || !remembered)
            return judge(s, answer.status, word);
        remembered = false;
    }
}

int ma_send_apns(struct ma_send *s)
{
    const struct ma_apns *p = s->transports->apns;
    struct ma_span token, body = MA_SPAN_NULL;
    (void)ma_push_service(s->letter->to, &token);
    if (!hex_ok(token) || !s->letter->data.p) {
        (void)snprintf(s->why, sizeof s->why, "the message has %s",
                       hex_ok(token) ? "no data" : "no usable device token");
        return MA_E_INVAL;
    }
    int r = compose(s, p, &body);
    if (r == MA_E_RANGE || r == MA_E_INVAL || r == MA_E_PARSE) {
        (void)snprintf(s->why, sizeof s->why, "the payload is %s",
                       r == MA_E_RANGE ? "larger than APNs takes" : "unusable");
        return MA_E_INVAL;
    }
    return r < 0 ? r : send(s, p, body);
}
