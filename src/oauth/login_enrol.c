/* SPDX-License-Identifier: Apache-2.0
 * Changes the user makes on the hosted page beside signing in: a first second factor, and consent.
 */
#include "login_int.h"

#include "ma/codec.h"

enum { CONSENT_ID_CHARS = 22 };

/* --- enrolment --- */

/* The rules of methods.h answer for the API; here the page says it. */
static int noted(struct ma_ctx *ctx, struct ma_login *l, int r)
{
    if (r != MA_E_PROBLEM)
        return r;
    if (ctx->resp.status == 429)
        l->st.note = MA_NOTE_TOO_MANY;
    else
        l->st.note = ctx->keep ? MA_NOTE_WRONG_CODE : MA_NOTE_NOT_ENROLLED;
    return MA_OK;
}

static void forget(struct ma_login_state *st)
{
    st->enrol = 0;
    st->enrol_id = st->enrol_session = st->enrol_uri = st->enrol_manual = st->enrol_address = MA_SPAN_NULL;
}

static int start(struct ma_ctx *ctx, struct ma_login *l, enum ma_factor type, struct ma_enrolled *e)
{
    struct ma_span to = l->user.email;
    if (type == MA_FACTOR_TOTP)
        return ma_enrol_totp(ctx, e);
    int r = type == MA_FACTOR_EMAIL ? ma_email_normalise(ctx->arena, to, &to)
                                    : ma_phone_normalise(ctx->arena, l->form->address, &to);
    if (r == MA_E_PARSE) {
        l->st.note = MA_NOTE_BAD_ADDRESS;
        return MA_E_INVAL;
    }
    l->st.enrol_address = to;
    return r == MA_OK ? ma_enrol_otp(ctx, type, to, false, e) : r;
}

int ma_login_enrol(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_enrolled e = {.auth_session = NULL};
    enum ma_factor type = ma_factor_parse(l->form->method);
    if (type == MA_FACTOR__COUNT || !(l->enrol_open & 1u << type))
        return MA_OK;
    forget(&l->st);
    int r = start(ctx, l, type, &e);
    if (r == MA_E_INVAL)
        return MA_OK;
    if (r < 0)
        return noted(ctx, l, r);
    l->st.enrol = (int)type;
    l->st.enrol_id = e.id;
    l->st.enrol_session = ma_span_str(e.auth_session);
    l->st.enrol_uri = ma_span_str(e.barcode_uri);
    l->st.enrol_manual = ma_span_str(e.manual_code);
    ma_count_later(ctx, MA_M_ENROLMENTS, type, MA_M_STARTED);
    return ma_audit_signin(ctx, "gd_start_enroll", l->user.user_id, l->client->client_id, MA_LIT(""));
}

int ma_login_confirm(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_method_view view;
    const unsigned type = (unsigned)l->st.enrol;
    const uint32_t bit = 1u << type;
    int r = ma_confirm(ctx, l->st.enrol_id, l->st.enrol_session, ma_trim(l->form->code), &view);
    if (r == MA_E_PROBLEM && !ctx->keep && ctx->resp.status == 400)
        forget(&l->st); /* it lapsed: the choice comes again */
    if (r == MA_E_PROBLEM)
        ma_count_later(ctx, MA_M_ENROLMENTS, type, MA_M_REFUSED);
    if (r < 0)
        return noted(ctx, l, r);
    forget(&l->st);
    /* Who confirms a factor has shown it. */
    l->st.authn.amr = ma_amr_first(l->st.authn.amr) | ma_amr_of_factors(bit) | MA_AMR_MFA;
    l->st.authn.mfa_at = ctx->now_ms;
    return ma_audit_signin(ctx, "gd_enrollment_complete", l->user.user_id, l->client->client_id, MA_LIT(""));
}

/* --- consent --- */

/* What was agreed to before stays agreed to. */
static int joined(struct ma_ctx *ctx, const struct ma_login *l, struct ma_consent *c)
{
    struct ma_consent old;
    struct ma_buf b;
    int r = ma_consent_find(ctx->db, ctx->arena, c->user_id, c->client_id, c->audience, &old);
    if (r == MA_E_NOTFOUND)
        return MA_OK;
    if (r < 0)
        return r;
    ma_buf_init_arena(&b, ctx->arena, 256, MA_SCOPE_TEXT_MAX);
    ma_buf_span(&b, old.scope);
    struct ma_span rest = l->granted.scope, word;
    while (ma_scope_next(&rest, &word)) {
        const char *text = ma_arena_strdup(ctx->arena, word);
        if (!text)
            return MA_E_NOMEM;
        if (ma_scope_has(old.scope, text))
            continue;
        if (b.n > 0)
            ma_buf_byte(&b, ' ');
        ma_buf_span(&b, word);
    }
    c->scope = ma_buf_view(&b);
    return ma_buf_err(&b);
}

bool ma_scope_next(struct ma_span *rest, struct ma_span *word)
{
    while (rest->n > 0 && rest->p[0] == ' ')
        *rest = ma_span_of(rest->p + 1, rest->n - 1);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ')
        n++;
    *word = ma_span_of(rest->p, n);
    *rest = ma_span_of(rest->p + n, rest->n - n);
    return n > 0;
}

int ma_login_consent(struct ma_ctx *ctx, struct ma_login *l)
{
    char id[4 + CONSENT_ID_CHARS + 1] = "cns_";
    struct ma_consent c = {
        .user_id = l->user.user_id,
        .client_id = l->client->client_id,
        .audience = l->granted.audience,
        .scope = l->granted.scope,
        .created_at = ctx->now_ms,
        .expires_at = ctx->now_ms + MA_CONSENT_TTL_MS,
    };
    int r = ma_rand_chars(ctx->app->rand, MA_ALNUM62, id + 4, CONSENT_ID_CHARS);
    c.id = ma_span_str(id);
    if (r == MA_OK)
        r = joined(ctx, l, &c);
    return r == MA_OK ? ma_consent_put(ctx->db, &c) : r;
}
