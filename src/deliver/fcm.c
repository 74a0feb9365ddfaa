/* SPDX-License-Identifier: Apache-2.0
 * Firebase Cloud Messaging, HTTP v1: an access token got with the service account's key (RFC 7523 §2.1), and one
 * data message per letter.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "ma/jose.h"
#include "ma/jsonr.h"
#include "ma/jsonw.h"
#include "push_int.h"

#include <stdio.h>

#define SCOPE "https://www.googleapis.com/auth/firebase.messaging"
#define GRANT "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer" /* as a form has it */
#define ASSERTION_TTL_S 3600                                          /* the longest that the token endpoint takes */
#define TOKEN_TTL_MAX_S 86400 /* nothing that an endpoint says is believed for longer */
#define TOKEN_MARGIN_MS 60000 /* a token this near its end is not used any more */
#define FORM_MAX 16384u
#define BODY_MAX (4u * MA_PUSH_PAYLOAD_MAX)
#define STATUS_TEXT_MAX 64

/* --- settings --- */

struct account {
    struct ma_span type, project_id, private_key_id, private_key, client_email, token_uri;
};
#define TEXT(member, flags_, most)                                                                                     \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .flags = (flags_), .off = offsetof(struct account, member), .min = 1,       \
        .max = (most)                                                                                                  \
    }
static const struct ma_jfield account_fields[] = {
    TEXT(type, MA_REQ, 64),          TEXT(project_id, MA_REQ, 128),   TEXT(private_key_id, MA_REQ, 128),
    TEXT(private_key, MA_REQ, 8192), TEXT(client_email, MA_REQ, 320), TEXT(token_uri, MA_REQ, 1024),
};
static const struct ma_shape account_shape = MA_SHAPE_OPEN(struct account, account_fields);

static bool plain(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = (char)s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._:", c)))
            return false;
    }
    return true;
}

static bool starts(struct ma_span s, const char *prefix)
{
    return s.n > strlen(prefix) && memcmp(s.p, prefix, strlen(prefix)) == 0;
}

/* What is wrong with it, or NULL. */
static const char *account_problem(const struct account *in)
{
    if (!ma_span_eq_str(in->type, "service_account"))
        return "is not the key file of a service account";
    if (!plain(in->project_id))
        return "has an unusable project_id";
    if (!starts(in->token_uri, "https://") && !starts(in->token_uri, "http://"))
        return "has an unusable token_uri";
    return NULL;
}

static int read_account(struct ma_arena *a, struct ma_span text, struct account *ret, char why[256])
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_verrs errs = {.arena = a};
    int r = ma_json_parse(text, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, a, &account_shape, ret, &errs);
    if (r == MA_E_NOMEM)
        return r;
    const char *problem = r == MA_OK ? account_problem(ret) : NULL;
    if (r == MA_OK && !problem)
        return MA_OK;
    if (r == MA_E_INVAL && errs.n > 0)
        (void)snprintf(why, 256, "delivery.fcm_credentials: %.80s %.120s", errs.v[0].pointer, errs.v[0].detail);
    else
        (void)snprintf(why, 256, "delivery.fcm_credentials: %s", problem ? problem : "is not JSON");
    return MA_E_INVAL;
}

static char *send_url(struct ma_arena *a, const char *base, struct ma_span project)
{
    size_t n = strlen(base);
    while (n > 0 && base[n - 1] == '/')
        n--;
    return ma_arena_printf(a, "%.*s/v1/projects/%.*s/messages:send", (int)n, base, (int)project.n,
                           (const char *)project.p);
}

int ma_fcm_load(struct ma_arena *a, const struct ma_conf *conf, struct ma_fcm **ret, char why[256])
{
    struct ma_span text;
    struct account in = {0};
    int r = ma_push_secret(a, "fcm_credentials", conf->delivery.fcm_credentials, &text, why);
    if (r == MA_OK)
        r = read_account(a, text, &in, why);
    struct ma_fcm *f = r == MA_OK ? ma_arena_zalloc(a, sizeof *f) : NULL;
    if (!f)
        return r < 0 ? r : MA_E_NOMEM;
    f->send_url = send_url(a, conf->delivery.fcm_url, in.project_id);
    f->token_uri = ma_arena_strdup(a, in.token_uri);
    f->client_email = ma_arena_strdup(a, in.client_email);
    f->key_id = ma_arena_strdup(a, in.private_key_id);
    if (!f->send_url || !f->token_uri || !f->client_email || !f->key_id)
        return MA_E_NOMEM;
    r = ma_sha256(text, f->digest);
    if (r == MA_OK)
        r = ma_push_key(in.private_key, MA_JWS_RS256, "fcm_credentials", &f->key, why);
    if (r == MA_OK)
        *ret = f;
    return r;
}

void ma_fcm_clear(struct ma_fcm *f)
{
    if (f)
        ma_key_free(f->key);
}

/* --- the access token --- */

static int assertion(struct ma_send *s, const struct ma_fcm *f, int64_t now_s, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, s->a, 512, 4096);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "iss", f->client_email);
    ma_jw_kcstr(&w, "scope", SCOPE);
    ma_jw_kcstr(&w, "aud", f->token_uri);
    ma_jw_kint(&w, "iat", now_s);
    ma_jw_kint(&w, "exp", now_s + ASSERTION_TTL_S);
    ma_jw_obj_end(&w);
    ma_buf_byte(&b, 0);
    if (ma_buf_err(&b) < 0)
        return ma_buf_err(&b);
    return ma_jwt_sign_with(s->a, f->key, MA_JWS_RS256, f->key_id, (const char *)b.p, ret);
}

struct grant {
    struct ma_span access_token, error;
    int64_t expires_in;
};
static const struct ma_jfield grant_fields[] = {
    {.name = "access_token", .type = MA_F_STR, .off = offsetof(struct grant, access_token), .max = MA_JSON_STR_MAX},
    {.name = "error", .type = MA_F_STR, .off = offsetof(struct grant, error), .max = 256},
    {.name = "expires_in", .type = MA_F_INT, .off = offsetof(struct grant, expires_in)},
};
static const struct ma_shape grant_shape = MA_SHAPE_OPEN(struct grant, grant_fields);

static int decode(struct ma_send *s, struct ma_span text, const struct ma_shape *shape, void *out)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_verrs errs = {.arena = s->a};
    int r = ma_json_parse(text, &j);
    return r < 0 ? r : ma_json_decode(j, s->a, shape, out, &errs);
}

static bool bearer_ok(struct ma_span t)
{
    for (size_t i = 0; i < t.n; i++)
        if (t.p[i] <= 0x20 || t.p[i] > 0x7e)
            return false;
    return t.n > 0;
}

static int take_grant(struct ma_send *s, const struct ma_http_answer *answer, int64_t now_ms)
{
    struct grant g = {.expires_in = 0};
    char word[MA_PUSH_REASON_MAX] = "";
    int r = decode(s, answer->body, &grant_shape, &g);
    if (r == MA_E_NOMEM)
        return r;
    if (answer->status == 200 && r == MA_OK && bearer_ok(g.access_token)) {
        int64_t ttl_s = g.expires_in < 0 ? 0 : g.expires_in > TOKEN_TTL_MAX_S ? TOKEN_TTL_MAX_S : g.expires_in;
        r = ma_push_cache_put(s->cache, g.access_token, now_ms, now_ms + ttl_s * 1000 - TOKEN_MARGIN_MS);
        if (r == MA_OK)
            return MA_OK;
    }
    ma_push_word(g.error, word);
    (void)snprintf(s->why, sizeof s->why, "the token endpoint answered %ld %s", answer->status, word);
    return answer->status == 429 || answer->status == 503 ? MA_E_BUSY : MA_E_UPSTREAM;
}

/* Fetches one. Whatever goes wrong, no message was sent yet: never MA_E_TIMEOUT. */
static int fetch(struct ma_send *s, const struct ma_fcm *f)
{
    static const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", "Accept: application/json",
                                          NULL};
    int64_t now_ms = s->clock->wall_ms(s->clock);
    struct ma_span jwt;
    struct ma_http_answer answer;
    struct ma_buf form;
    int r = assertion(s, f, now_ms / 1000, &jwt);
    if (r < 0) {
        (void)snprintf(s->why, sizeof s->why, "the assertion cannot be signed");
        return r == MA_E_NOMEM ? r : MA_E_UPSTREAM;
    }
    ma_buf_init_arena(&form, s->a, jwt.n + 256, FORM_MAX);
    ma_buf_str(&form, "grant_type=" GRANT "&assertion=");
    ma_buf_span(&form, jwt);
    if (ma_buf_err(&form) < 0)
        return MA_E_NOMEM;
    const struct ma_push_post post = {.url = f->token_uri, .headers = headers, .body = ma_buf_view(&form)};
    r = ma_push_post(s, &post, &answer);
    if (r == MA_OK)
        return take_grant(s, &answer, now_ms);
    return r == MA_E_NOMEM ? r : MA_E_UPSTREAM;
}

/* --- the message --- */

static int compose(struct ma_send *s, struct ma_span token, int64_t ttl_s, struct ma_span *ret)
{
    struct ma_buf b;
    struct ma_jw w;
    char ttl[24];
    (void)snprintf(ttl, sizeof ttl, "%llds", (long long)ttl_s);
    ma_buf_init_arena(&b, s->a, 2048, BODY_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_key(&w, "message");
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "token", token);
    ma_jw_key(&w, "data");
    ma_jw_raw(&w, s->letter->data);
    ma_jw_key(&w, "android");
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "priority", "high");
    ma_jw_kcstr(&w, "ttl", ttl);
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    ma_jw_obj_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

static int post_message(struct ma_send *s, const struct ma_fcm *f, struct ma_span body, struct ma_http_answer *ret)
{
    const char *bearer = ma_arena_printf(s->a, "Authorization: Bearer %s", s->cache->credential);
    if (!bearer)
        return MA_E_NOMEM;
    const char *const headers[] = {bearer, "Content-Type: application/json", NULL};
    const struct ma_push_post post = {.url = f->send_url, .headers = headers, .body = body};
    return ma_push_post(s, &post, ret);
}

/* --- the answer: google.rpc.Status with an FcmError among its details --- */

struct detail {
    struct ma_span error_code;
};
static const struct ma_jfield detail_fields[] = {
    {.name = "errorCode", .type = MA_F_STR, .off = offsetof(struct detail, error_code), .max = STATUS_TEXT_MAX},
};
static const struct ma_shape detail_shape = MA_SHAPE_OPEN(struct detail, detail_fields);
struct status {
    struct ma_span status;
    struct ma_objlist details;
};
static const struct ma_jfield status_fields[] = {
    {.name = "status", .type = MA_F_STR, .off = offsetof(struct status, status), .max = STATUS_TEXT_MAX},
    {.name = "details", .type = MA_F_OBJLIST, .off = offsetof(struct status, details), .sub = &detail_shape},
};
static const struct ma_shape status_shape = MA_SHAPE_OPEN(struct status, status_fields);
struct failure {
    struct status error;
};
static const struct ma_jfield failure_fields[] = {
    {.name = "error", .type = MA_F_OBJ, .flags = MA_REQ, .off = offsetof(struct failure, error), .sub = &status_shape},
};
static const struct ma_shape failure_shape = MA_SHAPE_OPEN(struct failure, failure_fields);

/* FCM's own code where there is one, else the general one, else "". */
static void error_word(struct ma_send *s, struct ma_span body, char out[MA_PUSH_REASON_MAX])
{
    struct failure f = {.error = {.details = {NULL, 0}}};
    out[0] = '\0';
    if (decode(s, body, &failure_shape, &f) < 0)
        return;
    const struct detail *d = f.error.details.v;
    ma_push_word(f.error.status, out);
    for (size_t i = 0; i < f.error.details.n; i++)
        if (d[i].error_code.n > 0) {
            ma_push_word(d[i].error_code, out);
            return;
        }
}

static int judge(struct ma_send *s, const struct ma_http_answer *answer)
{
    /* what concerns this message or its device; all else the operator or time can mend */
    static const char *const for_good[] = {"UNREGISTERED", "NOT_FOUND", "INVALID_ARGUMENT", "SENDER_ID_MISMATCH"};
    char word[MA_PUSH_REASON_MAX];
    if (answer->status == 200)
        return MA_OK;
    error_word(s, answer->body, word);
    (void)snprintf(s->why, sizeof s->why, "FCM answered %ld %s", answer->status, word);
    if (answer->status == 429 || answer->status == 503)
        return MA_E_BUSY;
    if (answer->status >= 500 || answer->status == 408)
        return MA_E_TIMEOUT;
    for (size_t i = 0; i < MA_COUNT(for_good); i++)
        if (strcmp(word, for_good[i]) == 0)
            return MA_E_INVAL;
    return MA_E_UPSTREAM;
}

/* Once more with a fresh token where one that was remembered is not taken. */
static int send(struct ma_send *s, const struct ma_fcm *f, struct ma_span body)
{
    struct ma_http_answer answer = {0};
    bool remembered = ma_push_cache_good(s->cache, f->digest, s->clock->wall_ms(s->clock));
    for (;;) {
        int r = remembered ? MA_OK : fetch(s, f);
        if (r == MA_OK)
            r = post_message(s, f, body, &answer);
        if (r < 0)
            return r;
        if (answer.status == 401)
            ma_push_cache_clear(s->cache);
        if (answer.status != 401 || !remembered)
            return judge(s, &answer);
        remembered = false;
    }
}

int ma_send_fcm(struct ma_send *s)
{
    struct ma_span token, body = MA_SPAN_NULL;
    (void)ma_push_service(s->letter->to, &token);
    if (token.n == 0 || !s->letter->data.p || s->letter->data.n > MA_PUSH_PAYLOAD_MAX) {
        (void)snprintf(s->why, sizeof s->why, "the message has %s",
                       token.n == 0 ? "no device token" : "no data, or more than FCM takes");
        return MA_E_INVAL;
    }
    int64_t left_ms = s->letter->created_at + MA_PUSH_TTL_MS - s->clock->wall_ms(s->clock);
    int r = compose(s, token, left_ms < 1000 ? 1 : left_ms / 1000, &body);
    return r < 0 ? r : send(s, s->transports->fcm, body);
}
