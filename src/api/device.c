/* SPDX-License-Identifier: Apache-2.0
 * /appliance-mfa/api: devices that enrol, answer, change and remove themselves.
 *
 * Nobody is signed in here: a ticket, a transaction's token, a device's token or what it signed is what opens each
 * call. Their failures count against the address, and against the device or transaction they are about.
 */
#include "device.h"

#include <strings.h>

#include "int.h"
#include "ma/app.h"
#include "ma/codec.h"
#include "ma/jose.h"
#include "ma/totp.h"

enum {
    MINUTE_MS = 60000,
    REQUESTS_PER_MINUTE = 120, /* of one address */
    FAILURES_PER_MINUTE = 10,  /* about one device, ticket or transaction */
    KEY_TEXT_MAX = 1024
};

/* --- limits --- */

static int64_t on(const struct ma_ctx *ctx, int64_t limit)
{
    return ctx->conf->rate_limit.enabled ? limit : 0;
}

static int admit(struct ma_ctx *ctx, struct ma_span about)
{
    struct ma_limit_state from, device;
    struct ma_span address = ma_addr_key(&ctx->req.client);
    struct ma_limit_state failures;
    ma_limit_peek(ctx->app->limits, MA_BUCKET_ADDRESS, address, on(ctx, ctx->conf->rate_limit.address_failures),
                  MINUTE_MS, ctx->now_ms, &failures);
    ma_limit_peek(ctx->app->limits, MA_BUCKET_DEVICE, about, on(ctx, FAILURES_PER_MINUTE), MINUTE_MS, ctx->now_ms,
                  &device);
    if (!failures.allowed || !device.allowed)
        return ma_problem_retry(ctx, MA_P_TOO_MANY, NULL,
                                failures.allowed ? device.retry_after_s : failures.retry_after_s);
    ma_limit_take(ctx->app->limits, MA_BUCKET_DEVICES, address, on(ctx, REQUESTS_PER_MINUTE), MINUTE_MS, ctx->now_ms,
                  &from);
    return from.allowed ? MA_OK : ma_problem_retry(ctx, MA_P_RATE, NULL, from.retry_after_s);
}

static void count_failure(struct ma_ctx *ctx, struct ma_span about)
{
    struct ma_limit_state s;
    ma_limit_take(ctx->app->limits, MA_BUCKET_ADDRESS, ma_addr_key(&ctx->req.client),
                  on(ctx, ctx->conf->rate_limit.address_failures), MINUTE_MS, ctx->now_ms, &s);
    ma_limit_take(ctx->app->limits, MA_BUCKET_DEVICE, about, on(ctx, FAILURES_PER_MINUTE), MINUTE_MS, ctx->now_ms, &s);
}

/* --- credentials --- */

/* What follows the scheme's name. p == NULL: the header is none of this kind. */
static struct ma_span credentials(const struct ma_ctx *ctx, const char *scheme)
{
    struct ma_span h = ctx->req.authorization;
    size_t n = strlen(scheme);
    if (h.n <= n || strncasecmp((const char *)h.p, scheme, n) != 0 || h.p[n] != ' ')
        return MA_SPAN_NULL;
    struct ma_span s = ma_trim(ma_span_of(h.p + n, h.n - n));
    return s.n > 0 ? s : MA_SPAN_NULL;
}

/* Ticket id="…" */
static struct ma_span ticket(const struct ma_ctx *ctx)
{
    static const char before[] = "id=\"";
    const size_t n = sizeof before - 1;
    struct ma_span s = credentials(ctx, "Ticket");
    if (s.n < n + 1 || memcmp(s.p, before, n) != 0 || s.p[s.n - 1] != '"')
        return MA_SPAN_NULL;
    return ma_span_of(s.p + n, s.n - n - 1);
}

/* What is said of everything that went wrong; MA_OK for MA_PUSH_OK. */
static int refuse(struct ma_ctx *ctx, enum ma_push_verdict v, struct ma_span about)
{
    static const struct {
        int status;
        const char *code, *message;
        bool counts;
    } rows[] = {
        [MA_PUSH_NO_TICKET] = {404, "enrollment_transaction_not_found",
                               "The enrollment was not found or has expired. Start it again.", true},
        [MA_PUSH_TICKET_USED] = {409, "already_enrolled", "A device was enrolled with this code already.", true},
        [MA_PUSH_NO_ROOM] = {400, "too_many_entities", "The user has as many methods as allowed.", false},
        [MA_PUSH_NEEDS_MATCHING] = {400, "number_matching_required",
                                    "Only apps that support number matching can be enrolled.", false},
        [MA_PUSH_NO_DEVICE] = {404, "device_account_not_found", "The device account was not found.", true},
        [MA_PUSH_NO_TRANSACTION] = {404, "login_transaction_not_found",
                                    "The sign-in was not found, is over, or was answered already.", true},
        [MA_PUSH_BAD_TOKEN] = {401, "invalid_token", "Invalid token.", true},
        [MA_PUSH_WRONG_NUMBER] = {400, "invalid_otp", "The number is not the one that was shown.", false},
        [MA_PUSH_CLOSED] = {403, "forbidden", "The user cannot use this factor.", false},
    };
    if (v == MA_PUSH_OK)
        return MA_OK;
    if (rows[v].counts)
        count_failure(ctx, about);
    (void)ma_problem_device(ctx, rows[v].status, rows[v].code, rows[v].message);
    if (v == MA_PUSH_BAD_TOKEN)
        ma_header(ctx, "WWW-Authenticate", "Bearer error=\"invalid_token\"");
    return MA_E_PROBLEM;
}

static void private_answer(struct ma_ctx *ctx)
{
    ma_header(ctx, "Cache-Control", "no-store");
}

/* --- bodies --- */

static bool has_no_control(struct ma_span s)
{
    return !ma_utf8_has_control(s);
}

/* What push services give out: letters, digits and a few signs; it becomes part of an address. */
static bool is_token(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

static const char *const services[] = {"GCM", "APNS", NULL};
static const char *const rsa[] = {"RSA", NULL};
static const char *const rs256[] = {"RS256", NULL};
static const char *const sig[] = {"sig", NULL};

struct push_credentials {
    int service;
    struct ma_span token;
};
static const struct ma_jfield credential_fields[] = {
    {.name = "service",
     .type = MA_F_ENUM,
     .flags = MA_REQ,
     .off = offsetof(struct push_credentials, service),
     .names = services},
    {.name = "token",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct push_credentials, token),
     .min = 1,
     .max = MA_PUSH_TOKEN_MAX,
     .check = is_token,
     .check_text = "must be a token"},
};
static const struct ma_shape credential_shape = MA_SHAPE_OPEN(struct push_credentials, credential_fields);

struct public_key {
    int kty, alg, use;
    struct ma_span n, e;
};
#define ONE(member, words)                                                                                             \
    {                                                                                                                  \
        .name = #member, .type = MA_F_ENUM, .flags = MA_REQ, .off = offsetof(struct public_key, member),               \
        .names = (words)                                                                                               \
    }
#define NUMBER(member)                                                                                                 \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct public_key, member), .min = 1,      \
        .max = KEY_TEXT_MAX                                                                                            \
    }
static const struct ma_jfield key_fields[] = {ONE(kty, rsa), ONE(alg, rs256), ONE(use, sig), NUMBER(n), NUMBER(e)};
#undef ONE
#undef NUMBER
static const struct ma_shape key_shape = MA_SHAPE_OPEN(struct public_key, key_fields);

struct body {
    struct ma_span identifier, name;
    bool has_credentials, has_key, has_matching, matching;
    struct push_credentials credentials;
    struct public_key key;
};
#define TEXT(member, f, limit)                                                                                         \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .flags = (f), .off = offsetof(struct body, member), .min = 1,               \
        .max = (limit), .check = has_no_control, .check_text = "must NOT have control characters"                      \
    }
#define CREDENTIALS(f)                                                                                                 \
    {                                                                                                                  \
        .name = "push_credentials", .type = MA_F_OBJ, .flags = (f), .off = offsetof(struct body, credentials),         \
        .has_off = offsetof(struct body, has_credentials), .sub = &credential_shape                                    \
    }
#define MATCHING                                                                                                       \
    {                                                                                                                  \
        .name = "number_matching", .type = MA_F_BOOL, .flags = MA_NULLOK, .off = offsetof(struct body, matching),      \
        .has_off = offsetof(struct body, has_matching)                                                                 \
    }
static const struct ma_jfield enrol_fields[] = {
    TEXT(identifier, MA_REQ, MA_PUSH_IDENTIFIER_MAX),
    TEXT(name, MA_NULLOK, MA_NAME_MAX),
    CREDENTIALS(MA_NULLOK),
    MATCHING,
    {.name = "public_key",
     .type = MA_F_OBJ,
     .flags = MA_REQ,
     .off = offsetof(struct body, key),
     .has_off = offsetof(struct body, has_key),
     .sub = &key_shape},
};
static const struct ma_shape enrol_shape = MA_SHAPE_OPEN(struct body, enrol_fields);
static const struct ma_jfield update_fields[] = {
    TEXT(identifier, MA_NULLOK, MA_PUSH_IDENTIFIER_MAX),
    TEXT(name, MA_NULLOK, MA_NAME_MAX),
    CREDENTIALS(MA_NULLOK),
    MATCHING,
};
static const struct ma_shape update_shape = MA_SHAPE_OPEN(struct body, update_fields);
#undef TEXT
#undef CREDENTIALS
#undef MATCHING

/* The members that both bodies have. A name of blanks is none. */
static int read_body(struct ma_ctx *ctx, const struct ma_shape *shape, struct ma_push_request *ret)
{
    struct body b = {.has_key = false};
    int r = ma_body(ctx, shape, &b);
    if (r < 0)
        return r;
    struct ma_span name = ma_trim(b.name);
    *ret = (struct ma_push_request){.identifier = b.identifier,
                                    .name = name.n > 0 ? name : MA_SPAN_NULL,
                                    .has_matching = b.has_matching,
                                    .matching = b.matching};
    if (b.has_credentials) {
        ret->service = ma_span_str(services[b.credentials.service]);
        ret->push_token = b.credentials.token;
    }
    if (!b.has_key)
        return MA_OK;
    r = ma_rs256_jwk(ctx->arena, b.key.n, b.key.e, &ret->public_key);
    return r == MA_E_INVAL
               ? ma_problem_device(ctx, 400, "invalid_public_key", "public_key must be an RSA key of 2048 to 4096 bits")
               : r;
}

static struct ma_push_request *new_request(struct ma_ctx *ctx)
{
    struct ma_push_request *in = ma_arena_zalloc(ctx->arena, sizeof *in);
    ctx->scratch = in;
    return in;
}

/* --- POST /enroll --- */

int ma_op_device_enrol_prepare(struct ma_ctx *ctx)
{
    struct ma_push_request *in = new_request(ctx);
    struct ma_span t = ticket(ctx);
    bool known = false;
    if (!in)
        return MA_E_NOMEM;
    int r = admit(ctx, t.p ? t : MA_LIT("no ticket"));
    if (r == MA_OK && !t.p)
        r = refuse(ctx, MA_PUSH_BAD_TOKEN, MA_LIT("no ticket"));
    if (r == MA_OK)
        r = ma_push_ticket_known(ctx, t, &known);
    if (r == MA_OK && !known)
        r = refuse(ctx, MA_PUSH_NO_TICKET, t);
    return r == MA_OK ? read_body(ctx, &enrol_shape, in) : r;
}

int ma_op_device_enrol(struct ma_ctx *ctx)
{
    struct ma_push_enrolled e;
    struct ma_span t = ticket(ctx);
    struct ma_jw w;
    int r = ma_push_enrol_device(ctx, t, ctx->scratch, &e);
    if (r == MA_OK)
        r = refuse(ctx, e.verdict, t);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "id", e.device_id);
    ma_jw_kcstr(&w, "url", e.url);
    ma_jw_kstr(&w, "issuer", ctx->state->tenant.friendly_name);
    ma_jw_kstr(&w, "user_id", e.user_id);
    ma_jw_kcstr(&w, "token", e.token);
    if (e.totp_secret) {
        ma_jw_key(&w, "totp");
        ma_jw_obj(&w);
        ma_jw_kcstr(&w, "secret", e.totp_secret);
        ma_jw_kcstr(&w, "algorithm", "SHA1");
        ma_jw_kint(&w, "digits", MA_TOTP_DIGITS);
        ma_jw_kint(&w, "period", MA_TOTP_STEP_S);
        ma_jw_obj_end(&w);
    }
    ma_jw_obj_end(&w);
    private_answer(ctx);
    return ma_reply_end(ctx);
}

/* --- POST /resolve-transaction --- */

struct answer_body {
    struct ma_span challenge_response;
};
static const struct ma_jfield answer_fields[] = {
    {.name = "challenge_response",
     .type = MA_F_STR,
     .flags = MA_REQ,
     .off = offsetof(struct answer_body, challenge_response),
     .min = 1,
     .max = MA_TOKEN_MAX},
};
static const struct ma_shape answer_shape = MA_SHAPE_OPEN(struct answer_body, answer_fields);

int ma_op_device_answer_prepare(struct ma_ctx *ctx)
{
    struct ma_push_answer *a = ma_arena_zalloc(ctx->arena, sizeof *a);
    struct answer_body b = {MA_SPAN_NULL};
    struct ma_span token = credentials(ctx, "Bearer");
    if (!a)
        return MA_E_NOMEM;
    ctx->scratch = a;
    int r = admit(ctx, token.p ? token : MA_LIT("no token"));
    if (r == MA_OK && !token.p)
        r = refuse(ctx, MA_PUSH_BAD_TOKEN, MA_LIT("no token"));
    if (r == MA_OK)
        r = ma_body(ctx, &answer_shape, &b);
    if (r == MA_OK)
        r = ma_push_answer_check(ctx, token, b.challenge_response, a);
    return r == MA_OK ? refuse(ctx, a->verdict, token) : r;
}

int ma_op_device_answer(struct ma_ctx *ctx)
{
    struct ma_push_answer *a = ctx->scratch;
    int r = ma_push_answer_settle(ctx, a);
    if (r == MA_OK)
        r = refuse(ctx, a->verdict, credentials(ctx, "Bearer"));
    if (r == MA_E_PROBLEM && a->verdict == MA_PUSH_WRONG_NUMBER)
        ctx->keep = true; /* the sign-in is over all the same */
    if (r < 0)
        return r;
    (void)ma_reply_empty(ctx, 204);
    private_answer(ctx);
    return MA_OK;
}

/* --- PATCH and DELETE /device-accounts/{id} --- */

static int open_device(struct ma_ctx *ctx, struct ma_push_device *d)
{
    enum ma_push_verdict v = MA_PUSH_NO_DEVICE;
    struct ma_span id = ctx->req.params[0];
    int r = ma_push_device_open(ctx, id, credentials(ctx, "Bearer"), d, &v);
    return r == MA_OK ? refuse(ctx, v, id) : r;
}

/* A look before the writer's, so that what is no device's costs it nothing. */
int ma_op_device_delete_prepare(struct ma_ctx *ctx)
{
    struct ma_push_device d;
    int r = admit(ctx, ctx->req.params[0]);
    if (r == MA_OK && !credentials(ctx, "Bearer").p)
        r = refuse(ctx, MA_PUSH_BAD_TOKEN, ctx->req.params[0]);
    return r == MA_OK ? open_device(ctx, &d) : r;
}

int ma_op_device_update_prepare(struct ma_ctx *ctx)
{
    struct ma_push_request *in = new_request(ctx);
    int r = in ? ma_op_device_delete_prepare(ctx) : MA_E_NOMEM;
    return r == MA_OK ? read_body(ctx, &update_shape, in) : r;
}

int ma_op_device_update(struct ma_ctx *ctx)
{
    struct ma_push_device d;
    struct ma_span token, name;
    struct ma_jw w;
    int r = open_device(ctx, &d);
    if (r == MA_OK)
        r = ma_push_device_change(ctx, &d, ctx->scratch, &token, &name);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "id", d.device_id);
    ma_jw_kstr(&w, "identifier", d.identifier);
    if (name.p)
        ma_jw_kstr(&w, "name", name);
    if (d.service.p && token.p) {
        ma_jw_key(&w, "push_credentials");
        ma_jw_obj(&w);
        ma_jw_kstr(&w, "service", d.service);
        ma_jw_kstr(&w, "token", token);
        ma_jw_obj_end(&w);
    }
    ma_jw_kbool(&w, "number_matching", d.matching);
    ma_jw_obj_end(&w);
    private_answer(ctx);
    return ma_reply_end(ctx);
}

int ma_op_device_delete(struct ma_ctx *ctx)
{
    struct ma_push_device d;
    int r = open_device(ctx, &d);
    if (r == MA_OK)
        r = ma_push_device_remove(ctx, &d);
    if (r < 0)
        return r;
    (void)ma_reply_empty(ctx, 204);
    private_answer(ctx);
    return MA_OK;
}
