/* SPDX-License-Identifier: Apache-2.0
 * The passkey grant: the answer to a challenge of /passkey/challenge for tokens (wire contract 3.7).
 */
#include "login_int.h"
#include "ma/codec.h"
#include "passkey_int.h"

#define WRONG_SESSION "Unknown or invalid auth_session."
#define WRONG_PASSKEY "The passkey could not be verified."

struct answer {
    struct ma_flow flow;
    struct ma_passkey_flow kept;
    struct ma_span challenge; /* decoded */
    struct ma_passkey_proof proof;
};

/* --- the challenge --- */

static int find(struct ma_ctx *ctx, const struct ma_oauth *o, struct answer *a)
{
    size_t n = 0;
    uint8_t *raw = ma_arena_alloc(ctx->arena, MA_CHALLENGE_LEN + 3);
    int r = raw ? ma_flow_find(ctx, MA_PASSKEY_KIND, o->in.auth_session, &a->flow) : MA_E_NOMEM;
    if (r == MA_E_NOTFOUND || (r == MA_OK && !ma_span_eq(a->flow.client_id, o->client->client_id)))
        return ma_oauth_fail(ctx, 403, "invalid_grant", WRONG_SESSION);
    if (r == MA_E_EXPIRED)
        return ma_oauth_fail_verdict(ctx, MA_SIGNIN_EXPIRED, 0, WRONG_SESSION);
    if (r == MA_OK)
        r = ma_passkey_flow_read(ctx, a->flow.data, &a->kept);
    if (r == MA_OK)
        r = ma_b64url_decode(a->kept.challenge, raw, MA_CHALLENGE_LEN + 3, &n);
    a->challenge = ma_span_of(raw, n);
    return r;
}

/* What was named with the challenge holds; naming something else now is a mistake of the client. */
static int settle(struct ma_ctx *ctx, struct ma_span *now, struct ma_span then, const char *name)
{
    if (now->p && then.p && !ma_span_eq(*now, then)) {
        const char *text = ma_arena_printf(ctx->arena, "%s differs from that of the challenge.", name);
        return text ? ma_oauth_fail(ctx, 400, "invalid_request", text) : MA_E_NOMEM;
    }
    if (!now->p)
        *now = then;
    return MA_OK;
}

/* --- the assertion --- */

static int refuse(struct ma_ctx *ctx, const struct ma_passkey_proof *p)
{
    bool told = p->verdict == MA_SIGNIN_BLOCKED || p->verdict == MA_SIGNIN_TOO_MANY;
    enum ma_signin_verdict v = told ? p->verdict : MA_SIGNIN_WRONG;
    int r = ma_audit_signin(ctx, "passkey_challenge_failed", p->user.user_id, ctx->who.client_id, MA_SPAN_NULL);
    return r == MA_OK ? ma_oauth_fail_verdict(ctx, v, p->retry_after_s, WRONG_PASSKEY) : r;
}

static int finish(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct answer *a = o->more;
    struct ma_passkey_proof *p = &a->proof;
    int r = ma_flow_consume(ctx->db, a->flow.token_mac, ctx->now_ms); /* answered once, rightly or not */
    if (r == MA_E_CONFLICT)
        return ma_oauth_fail_verdict(ctx, MA_SIGNIN_EXPIRED, 0, WRONG_SESSION);
    if (r == MA_OK && o->in.realm.p && !ma_span_eq(p->user.connection, o->in.realm))
        p->verdict = MA_SIGNIN_WRONG;
    if (r == MA_OK && p->verdict == MA_SIGNIN_OK) {
        r = ma_passkey_verified(ctx, p);
        if (r == MA_E_CONFLICT) {
            p->verdict = MA_SIGNIN_WRONG;
            r = MA_OK;
        }
    }
    if (r < 0)
        return r;
    ctx->keep = true;
    if (p->verdict != MA_SIGNIN_OK)
        return refuse(ctx, p);
    struct ma_authn authn = {.auth_at = ctx->now_ms, .amr = p->amr};
    return ma_signed_in(ctx, o, ma_login_finish(ctx, o, &p->user, &authn, NULL));
}

static int check(struct ma_ctx *ctx)
{
    struct ma_oauth *o = ctx->scratch;
    struct answer *a = ma_arena_zalloc(ctx->arena, sizeof *a);
    struct ma_assertion_response in;
    if (!a)
        return MA_E_NOMEM;
    o->more = a;
    a->proof.verdict = MA_SIGNIN_WRONG;
    int r = find(ctx, o, a);
    if (r == MA_OK)
        r = settle(ctx, &o->in.realm, a->kept.realm, "realm");
    if (r == MA_OK)
        r = settle(ctx, &o->in.organization, a->kept.organization, "organization");
    if (r != MA_OK)
        return r;
    struct ma_span text = ma_oauth_object(ctx, o->in.authn_response);
    if (a->kept.user_handle.p)
        return ma_passkey_signup(ctx, &a->flow, &a->kept, a->challenge, text);
    r = text.p ? ma_assertion_parse(ctx, text, &in) : MA_E_PARSE;
    if (r == MA_OK)
        r = ma_passkey_verify(ctx, a->challenge, a->kept.rp_id, &in, &a->proof);
    return r == MA_OK || r == MA_E_PARSE ? ma_next(ctx, MA_LANE_WRITE, finish) : r;
}

int ma_grant_webauthn(struct ma_ctx *ctx, struct ma_oauth *o)
{
    if (!o->in.auth_session.p)
        return ma_oauth_missing(ctx, "auth_session");
    if (!o->in.authn_response.p)
        return ma_oauth_missing(ctx, "authn_response");
    if (!o->client->is_first_party)
        return ma_oauth_fail(ctx, 403, "unauthorized_client",
                             "Third-party clients cannot sign users in with passkeys.");
    int r = ma_oauth_require_dpop(ctx, o, o->in.audience); /* before the challenge is used up */
    return r == MA_OK ? ma_next(ctx, MA_LANE_CPU, check) : r;
}
