/* SPDX-License-Identifier: Apache-2.0
 * Assertions of passkeys and security keys, as first factor and as second.
 */
#include "ma/passkey_origins.h"
#include "ma/signin.h"
#include "ma/webauthn.h"

#include "int.h"

#include "ma/account.h"

/* One assertion to be judged. */
struct question {
    struct ma_span challenge, rp_id;
    struct ma_span user_id;
    const struct ma_credential *credential;
    bool usernameless;
};

/* --- judging --- */

static int refuse(struct ma_ctx *ctx, struct ma_passkey_proof *ret, const char *why, const char *step)
{
    ret->verdict = MA_SIGNIN_WRONG;
    ret->why = why;
    ma_log(ctx->log, MA_LOG_INFO, "webauthn.refused", MA_KV_S("reason", why), MA_KV_S("step", step),
           MA_KV_S("request_id", ctx->request_id));
    return MA_OK;
}

static uint32_t amr_of(enum ma_factor type, bool uv)
{
    if (type != MA_FACTOR_PASSKEY)
        return MA_AMR_HWK;
    return uv ? MA_AMR_PASSKEY | MA_AMR_UV : MA_AMR_PASSKEY;
}

/* A counter that did not grow: a copy of the key may exist (§7.2 step 22). */
static void warn_of_copy(struct ma_ctx *ctx, const struct question *q)
{
    ma_log(ctx->log, MA_LOG_WARN, "webauthn.counter", MA_KV_SPAN("user_id", q->user_id),
           MA_KV_SPAN("method_id", q->credential->method_id), MA_KV_S("request_id", ctx->request_id));
}

static int judge(struct ma_ctx *ctx, const struct question *q, const struct ma_assertion_response *in,
                 struct ma_passkey_proof *ret)
{
    const struct ma_credential *c = q->credential;
    struct ma_webauthn_policy policy = {.rp_id = ma_arena_strdup(ctx->arena, q->rp_id),
                                        .require_uv = ctx->conf->webauthn.require_uv,
                                        .require_user_handle = q->usernameless};
    struct ma_webauthn_stored stored = {.credential_id = c->credential_id,
                                        .public_key = c->public_key,
                                        .user_handle = c->user_handle,
                                        .sign_count = (uint32_t)c->sign_count,
                                        .be = c->be};
    struct ma_webauthn_response answer = {.credential_id = in->id,
                                          .client_data_json = in->client_data_json,
                                          .authenticator_data = in->authenticator_data,
                                          .signature = in->signature,
                                          .user_handle = in->user_handle};
    struct ma_webauthn_assertion a = {.sign_count = 0};
    struct ma_webauthn_fault fault = {NULL, NULL, NULL};
    if (!policy.rp_id)
        return MA_E_NOMEM;
    ret->retry_after_s = ma_guess_credential(ctx, c->credential_id, false);
    if (ret->retry_after_s > 0) {
        ret->verdict = MA_SIGNIN_TOO_MANY;
        return MA_OK;
    }
    int r = ma_passkey_origins(ctx, q->rp_id, in->client_data_json, &policy.origins, &policy.n_origins);
    if (r == MA_OK)
        r = ma_webauthn_assert(ctx->arena, &policy, q->challenge, &stored, &answer, &a, &fault);
    ret->counter_regressed = a.counter_regressed;
    if (a.counter_regressed)
        warn_of_copy(ctx, q);
    if (r == MA_E_PARSE || r == MA_E_AUTH) {
        (void)ma_guess_credential(ctx, c->credential_id, true);
        return refuse(ctx, ret, fault.detail, fault.step);
    }
    if (r < 0)
        return r;
    ret->verdict = MA_SIGNIN_OK;
    ret->method_id = c->method_id;
    ret->amr = amr_of(ma_factor_of_id(c->method_id), a.uv);
    ret->old_count = c->sign_count;
    ret->new_count = a.sign_count;
    ret->bs = a.bs;
    return MA_OK;
}

/* --- as first factor --- */

/* A passkey of somebody, and whose. MA_E_NOTFOUND. */
static int find_passkey(struct ma_ctx *ctx, struct ma_span id, struct ma_credential *ret, struct ma_user *ret_user)
{
    struct ma_span user_id;
    struct ma_method m;
    int r = id.n > 0 && id.n <= MA_WEBAUTHN_CREDENTIAL_ID_MAX
                ? ma_credential_find(ctx->db, ctx->arena, id, ret, &user_id)
                : MA_E_NOTFOUND;
    if (r == MA_OK && ma_factor_of_id(ret->method_id) != MA_FACTOR_PASSKEY)
        r = MA_E_NOTFOUND; /* a security key is no way in by itself */
    if (r == MA_OK)
        r = ma_method_get(ctx->db, ctx->arena, user_id, ret->method_id, ctx->now_ms, &m);
    if (r == MA_OK && !m.confirmed)
        r = MA_E_NOTFOUND;
    return r == MA_OK ? ma_user_get(ctx->db, ctx->arena, user_id, ret_user) : r;
}

int ma_passkey_verify(struct ma_ctx *ctx, struct ma_span challenge, struct ma_span rp_id,
                      const struct ma_assertion_response *in, struct ma_passkey_proof *ret)
{
    struct ma_credential c;
    *ret = (struct ma_passkey_proof){.verdict = MA_SIGNIN_WRONG};
    if (!(ma_factors_enabled(ctx) & 1u << MA_FACTOR_PASSKEY))
        return refuse(ctx, ret, "passkeys are switched off", "");
    if (challenge.n != MA_CHALLENGE_LEN)
        return refuse(ctx, ret, "there is no challenge", "");
    int r = find_passkey(ctx, in->id, &c, &ret->user);
    if (r == MA_E_NOTFOUND)
        return refuse(ctx, ret, "the credential is not a passkey known here", "7.2.5");
    if (r < 0)
        return r;
    struct question q = {challenge, rp_id, ret->user.user_id, &c, true};
    r = judge(ctx, &q, in, ret);
    if (r == MA_OK && ret->verdict == MA_SIGNIN_OK && ret->user.blocked)
        ret->verdict = MA_SIGNIN_BLOCKED;
    return r;
}

static int store_use(struct ma_ctx *ctx, const struct ma_passkey_proof *p)
{
    struct ma_place from = ma_place_of(ctx);
    int r = ma_credential_used(ctx->db, ctx->who.user_id, p->method_id, p->old_count, p->new_count, p->bs);
    if (r == MA_OK)
        r = ma_method_used(ctx->db, ctx->who.user_id, p->method_id, ctx->now_ms, &from);
    ctx->user_changed = true; /* lists show when a method was used */
    return r;
}

int ma_passkey_verified(struct ma_ctx *ctx, const struct ma_passkey_proof *p)
{
    if (p->verdict != MA_SIGNIN_OK)
        return MA_E_INVAL;
    ctx->who.user_id = p->user.user_id;
    int r = store_use(ctx, p);
    if (r == MA_OK)
        r = ma_address_remember(ctx, p->user.user_id);
    if (r < 0)
        return r;
    if (p->counter_regressed) /* counted with its row */
        return ma_audit_assertion(ctx, "gd_auth_succeed", MA_FACTOR_PASSKEY, p->method_id, true);
    ma_count_later(ctx, MA_M_LOGINS, MA_FACTOR_PASSKEY, MA_M_SUCCEEDED);
    return MA_OK;
}

/* --- as second factor --- */

int ma_prove_webauthn_check(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user,
                            struct ma_span oob_code, const struct ma_assertion_response *in,
                            struct ma_passkey_proof *ret)
{
    struct ma_challenge c;
    struct ma_method_view m;
    *ret = (struct ma_passkey_proof){.verdict = MA_SIGNIN_EXPIRED, .user = *user};
    int r = ma_challenge_find(ctx, user, flow_mac, oob_code, &c);
    if (r < 0)
        return r == MA_E_EXPIRED ? MA_OK : r;
    if (!(MA_FACTORS_WEBAUTHN & 1u << c.type) || c.data.n <= MA_CHALLENGE_LEN)
        return MA_OK; /* a code was sent: it is no answer to that */
    r = ma_second_factor(ctx, user, c.method_id, &m);
    if (r == MA_E_NOTFOUND || (r == MA_OK && !m.credential)) {
        ret->verdict = MA_SIGNIN_NO_FACTOR;
        return MA_OK;
    }
    if (r < 0)
        return r;
    struct question q = {.challenge = ma_span_of(c.data.p, MA_CHALLENGE_LEN),
                         .rp_id = ma_span_of(c.data.p + MA_CHALLENGE_LEN, c.data.n - MA_CHALLENGE_LEN),
                         .user_id = user->user_id,
                         .credential = m.credential};
    return judge(ctx, &q, in, ret);
}

static int failed(struct ma_ctx *ctx, const struct ma_challenge *c, const struct ma_passkey_proof *p,
                  enum ma_signin_verdict v, struct ma_factor_proof *ret)
{
    ret->verdict = v;
    return ma_audit_assertion(ctx, "gd_webauthn_challenge_failed", c->type, c->method_id, p->counter_regressed);
}

int ma_prove_webauthn(struct ma_ctx *ctx, struct ma_span flow_mac, const struct ma_user *user, struct ma_span oob_code,
                      const struct ma_passkey_proof *p, struct ma_factor_proof *ret)
{
    struct ma_challenge c;
    *ret = (struct ma_factor_proof){.verdict = MA_SIGNIN_EXPIRED};
    int r = ma_challenge_find(ctx, user, flow_mac, oob_code, &c);
    if (r == MA_OK) /* answered once, rightly or not */
        r = ma_challenge_consume(ctx->db, c.user_id, c.id_mac, ctx->now_ms);
    if (r < 0)
        return r == MA_E_EXPIRED || r == MA_E_CONFLICT ? MA_OK : r;
    if (p->verdict != MA_SIGNIN_OK)
        return failed(ctx, &c, p, p->verdict, ret);
    if (!ma_span_eq(p->method_id, c.method_id))
        return failed(ctx, &c, p, MA_SIGNIN_WRONG, ret);
    r = store_use(ctx, p);
    if (r == MA_E_CONFLICT) /* another assertion came in between, or the method is gone */
        return failed(ctx, &c, p, MA_SIGNIN_WRONG, ret);
    if (r < 0)
        return r;
    ret->verdict = MA_SIGNIN_OK;
    ret->amr = p->amr | MA_AMR_MFA;
    ret->method_id = c.method_id;
    return ma_audit_assertion(ctx, "gd_auth_succeed", c.type, c.method_id, p->counter_regressed);
}
