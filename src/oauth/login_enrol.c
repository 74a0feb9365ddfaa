/* SPDX-License-Identifier: Apache-2.0
 * Changes the user makes on the hosted page beside signing in: a first second factor, and consent.
 */
#include "login_int.h"

#include <stdlib.h>

#include "ma/codec.h"
#include "ma/passkey_wire.h"
#include "ma/push.h"

enum { CONSENT_ID_CHARS = 22, CREATION_MAX = 6144 };

/* --- starting --- */

void ma_login_enrol_forget(struct ma_login_state *st)
{
    st->enrol = 0;
    st->enrol_id = st->enrol_session = st->enrol_uri = st->enrol_manual = st->enrol_address = st->enrol_key =
        MA_SPAN_NULL;
}

/* What the answer said that is not given now. */
static int64_t retry_after_s(const struct ma_ctx *ctx)
{
    int64_t s = 0;
    for (size_t i = 0; i < ctx->resp.n_headers; i++)
        if (strcmp(ctx->resp.headers[i].name, "Retry-After") == 0)
            s = strtoll(ctx->resp.headers[i].value, NULL, 10);
    return s;
}

/* The rules of methods.h answer for the API; here the page says it. */
static int noted(struct ma_ctx *ctx, struct ma_login *l, int r)
{
    if (r != MA_E_PROBLEM)
        return r;
    if (ctx->resp.status == 429) {
        l->st.note = MA_NOTE_TOO_MANY;
        l->st.retry_s = retry_after_s(ctx);
    } else {
        l->st.note = ctx->keep ? MA_NOTE_WRONG_CODE : MA_NOTE_NOT_ENROLLED;
    }
    return MA_OK;
}

static int audit(struct ma_ctx *ctx, const struct ma_login *l, const char *type, enum ma_factor factor)
{
    const char *detail = ma_arena_printf(ctx->arena, "{\"authenticator\":{\"type\":\"%s\"}}", ma_factor_name(factor));
    return detail ? ma_audit_signin(ctx, type, l->user.user_id, l->client->client_id, ma_span_str(detail)) : MA_E_NOMEM;
}

static int start_key(struct ma_ctx *ctx, struct ma_login *l, enum ma_factor type, struct ma_enrolled *e)
{
    struct ma_passkey_request in = {.type = type};
    struct ma_creation_options o;
    struct ma_buf b;
    struct ma_jw w;
    int r = ma_enrol_webauthn(ctx, &in, e, &o);
    if (r < 0)
        return r;
    ma_buf_init_arena(&b, ctx->arena, 512, CREATION_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_write_creation_options(&w, &o);
    ma_jw_obj_end(&w);
    l->st.enrol_key = ma_buf_view(&b);
    return ma_buf_err(&b);
}

/* MA_E_INVAL: the address is none, and stays in its field. */
static int start(struct ma_ctx *ctx, struct ma_login *l, enum ma_factor type, struct ma_enrolled *e)
{
    struct ma_span to = l->user.email;
    if (type == MA_FACTOR_TOTP)
        return ma_enrol_totp(ctx, e);
    if (type == MA_FACTOR_PUSH)
        return ma_enrol_push(ctx, true, e);
    if (MA_FACTORS_WEBAUTHN & 1u << type)
        return start_key(ctx, l, type, e);
    if (type == MA_FACTOR_PHONE)
        l->st.enrol_address = l->form->address;
    int r = type == MA_FACTOR_EMAIL ? ma_email_normalise(ctx->arena, to, &to)
                                    : ma_phone_normalise(ctx->arena, l->form->address, &to);
    if (r == MA_E_PARSE) {
        l->st.note = MA_NOTE_BAD_ADDRESS;
        return MA_E_INVAL;
    }
    if (r == MA_OK)
        r = ma_enrol_otp(ctx, type, to, false, e);
    if (r == MA_OK)
        l->st.enrol_address = to;
    return r;
}

static void started(struct ma_login *l, const struct ma_enrolled *e)
{
    l->st.enrol = (int)e->type;
    l->st.enrol_id = e->id;
    l->st.enrol_session = ma_span_str(e->auth_session);
    l->st.enrol_uri = ma_span_str(e->barcode_uri);
    l->st.enrol_manual = ma_span_str(e->manual_code);
}

int ma_login_enrol(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_enrolled e = {.auth_session = NULL};
    enum ma_factor type = ma_factor_parse(l->form->method);
    if (type == MA_FACTOR__COUNT || !(l->enrol_open & 1u << type))
        return MA_OK;
    ma_login_enrol_forget(&l->st);
    int r = start(ctx, l, type, &e);
    if (r == MA_E_INVAL)
        return MA_OK;
    if (r < 0)
        return noted(ctx, l, r);
    started(l, &e);
    ma_count_later(ctx, MA_M_ENROLMENTS, type, MA_M_STARTED);
    return audit(ctx, l, "gd_start_enroll", type);
}

int ma_login_resend(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_enrolled e = {.auth_session = NULL};
    enum ma_factor type = (enum ma_factor)l->st.enrol;
    if (type != MA_FACTOR_EMAIL && type != MA_FACTOR_PHONE)
        return MA_OK;
    int r = ma_enrol_otp(ctx, type, l->st.enrol_address, false, &e);
    if (r < 0)
        return noted(ctx, l, r);
    started(l, &e);
    return MA_OK;
}

/* --- confirming --- */

/* The first factor comes with a recovery code, unless there is one; the page shows it before anything else. */
static int add_recovery(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_enrolled e = {.auth_session = NULL};
    struct ma_method_view view;
    if (!(ma_factors_open(ctx) & 1u << MA_FACTOR_RECOVERY))
        return MA_OK;
    for (size_t i = 0; i < l->n_choices; i++)
        if (l->choices[i].type == MA_FACTOR_RECOVERY)
            return MA_OK;
    int r = ma_enrol_recovery(ctx, &e);
    if (r == MA_OK)
        ma_count_later(ctx, MA_M_ENROLMENTS, MA_FACTOR_RECOVERY, MA_M_STARTED);
    if (r == MA_OK)
        r = ma_confirm(ctx, e.id, ma_span_str(e.auth_session), MA_SPAN_NULL, &view);
    if (r == MA_OK)
        l->st.recovery = ma_span_str(e.recovery_code);
    return r == MA_E_PROBLEM ? MA_OK : r; /* there is no room for one */
}

/* Who confirms a factor has shown it. Bits of an earlier second factor must not go on under the new time. */
static int confirmed(struct ma_ctx *ctx, struct ma_login *l, const struct ma_method_view *m)
{
    uint32_t first = ma_amr_first(l->st.authn.amr);
    uint32_t shown = ma_amr_of_factors(1u << m->type) | MA_AMR_MFA;
    if (m->type == MA_FACTOR_PASSKEY && m->credential && m->credential->uv)
        shown |= MA_AMR_UV;
    ma_login_enrol_forget(&l->st);
    l->st.authn.amr = first | shown;
    l->st.authn.mfa_at = ctx->now_ms;
    /* Of a device the feature has left it. */
    int r = m->type == MA_FACTOR_PUSH ? MA_OK : audit(ctx, l, "gd_enrollment_complete", m->type);
    return r == MA_OK ? add_recovery(ctx, l) : r;
}

int ma_login_confirm(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_method_view view;
    if (l->st.enrol_key.p || l->st.enrol == MA_FACTOR_PUSH) /* no code confirms that */
        return MA_OK;
    const unsigned type = (unsigned)l->st.enrol;
    int r = ma_confirm(ctx, l->st.enrol_id, l->st.enrol_session, ma_trim(l->form->code), &view);
    if (r == MA_E_PROBLEM && !ctx->keep && ctx->resp.status == 400)
        ma_login_enrol_forget(&l->st); /* it lapsed: the choice comes again */
    if (r == MA_E_PROBLEM)
        ma_count_later(ctx, MA_M_ENROLMENTS, type, MA_M_REFUSED);
    return r < 0 ? noted(ctx, l, r) : confirmed(ctx, l, &view);
}

int ma_login_confirm_device(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_method_view view;
    bool pending = false;
    int r = ma_push_confirm(ctx, l->st.enrol_id, l->st.enrol_session, &pending, &view);
    if (r == MA_OK)
        return pending ? MA_OK : confirmed(ctx, l, &view);
    if (r != MA_E_PROBLEM)
        return r;
    ma_count_later(ctx, MA_M_ENROLMENTS, MA_FACTOR_PUSH, MA_M_REFUSED);
    if (ctx->resp.status == 400 || ctx->resp.status == 404)
        ma_login_enrol_forget(&l->st); /* it lapsed: the choice comes again */
    return noted(ctx, l, r);
}

/* --- confirming a passkey or security key --- */

int ma_login_key_check(struct ma_ctx *ctx, const struct ma_login *l, struct ma_login_new_key *ret)
{
    struct ma_attestation_response in = {.id = MA_SPAN_NULL};
    *ret = (struct ma_login_new_key){.credential = NULL};
    int r = ma_attestation_parse(ctx, l->form->response, &in);
    if (r == MA_OK)
        r = ma_webauthn_prepare(ctx, l->st.enrol_id, l->st.enrol_session, &in, &ret->credential);
    ret->verified = r == MA_OK;
    return r == MA_E_PARSE || r == MA_E_PROBLEM ? MA_OK : r;
}

/* The choice comes again: each try has a challenge of its own. */
int ma_login_key_store(struct ma_ctx *ctx, struct ma_login *l, const struct ma_login_new_key *p)
{
    struct ma_method_view view;
    enum ma_factor type = (enum ma_factor)l->st.enrol;
    int r = p->verified ? ma_webauthn_finish(ctx, p->credential, &view) : ma_webauthn_refused(ctx, p->credential);
    if (r == MA_OK)
        return confirmed(ctx, l, &view);
    if (r != MA_E_PROBLEM)
        return r;
    ma_count_later(ctx, MA_M_ENROLMENTS, type, MA_M_REFUSED);
    ma_login_enrol_forget(&l->st);
    l->st.note = MA_NOTE_KEY_NOT_ADDED;
    return audit(ctx, l, "gd_webauthn_enrollment_failed", type);
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
