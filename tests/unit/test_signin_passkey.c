/* SPDX-License-Identifier: Apache-2.0
 * Signing in with passkeys, and security keys as second factors, with a software authenticator.
 */
#include "../support/authenticator.h"
#include "../support/fixture.h"
#include "ma/crypto.h"
#include "ma/signin.h"

#include <stdio.h>
#include <stdlib.h>

#define RP_ID "login.example.com"
#define HANDLE "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define KEY_ID "passkey|dev_0000000000000001"
#define ROAMING_ID "webauthn-roaming|dev_0000000000000002"
#define FLOW ma_span_of(flow_a, sizeof flow_a)
#define UP 0x01
#define UP_UV 0x05

static const uint8_t flow_a[32] = {1}, flow_b[32] = {2}, challenge[32] = {3, 2, 1}, other[32] = {9};
static const char *const origins[] = {"https://login.example.com"};
static const struct ma_webauthn_policy policy = {.rp_id = RP_ID, .origins = origins, .n_origins = 1};
static struct ma_fix f;
static struct ma_ctx *ctx;
static struct ma_passkey_proof p;
static struct ma_factor_proof proof;
static struct ma_challenge_started started;

static void once(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    (void)sa_key(SA_ES256, 0);
    (void)sa_key(SA_ES256, 1);
}

static void as(const char *user)
{
    ctx = ma_fix_request(&f, user, "spa");
}

/* A method with the authenticator's key. */
static void plant(const char *user, const char *id, const char *credential_id)
{
    as(user);
    struct ma_method m = {
        .id = ma_span_str(id), .type = ma_factor_of_id(ma_span_str(id)), .confirmed = true, .created_at = ctx->now_ms};
    struct ma_credential c = {.method_id = m.id,
                              .credential_id = ma_span_str(credential_id),
                              .public_key = sa_cose(f.arena, sa_key(SA_ES256, 0), SA_ES256),
                              .alg = -7,
                              .sign_count = 7,
                              .attestation = MA_LIT("none"),
                              .rp_id = MA_LIT(RP_ID),
                              .user_handle = MA_LIT(HANDLE)};
    T_OK(MA_FIX_WRITE(&f, ma_method_insert(ctx->db, ctx->who.user_id, &m)));
    T_OK(MA_FIX_WRITE(&f, ma_credential_insert(ctx->db, ctx->who.user_id, &c)));
}

#define PASSKEY_CRED "credential-of-a-passkey"
#define ROAMING_CRED "credential-of-a-roaming-key"

static void setup(void)
{
    ma_fix_open(&f, "");
    ma_fix_apply(&f, "{\"factors\":{\"webauthn-roaming\":true}}");
    plant(MA_FIX_BOB, KEY_ID, PASSKEY_CRED);
    plant(MA_FIX_BOB, ROAMING_ID, ROAMING_CRED);
    as(MA_FIX_BOB);
    ctx->who.user_id = MA_SPAN_NULL; /* nobody yet */
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static struct sa_ceremony honest(const uint8_t *bytes, const char *credential_id)
{
    struct sa_ceremony c = sa_ceremony(f.arena, &policy, ma_span_of(bytes, 32), false);
    c.credential_id = ma_span_str(credential_id);
    c.flags = UP_UV;
    c.sign_count = 8;
    c.user_handle = MA_LIT(HANDLE);
    return c;
}

static struct ma_assertion_response answer(const struct sa_ceremony *c)
{
    struct sa_answer a = sa_get(c);
    return (struct ma_assertion_response){.id = c->credential_id,
                                          .client_data_json = a.client_data,
                                          .authenticator_data = a.auth_data,
                                          .signature = a.signature,
                                          .user_handle = c->user_handle};
}

static enum ma_signin_verdict verify(const struct sa_ceremony *c)
{
    struct ma_assertion_response in = answer(c);
    T_OK(ma_passkey_verify(ctx, ma_span_of(challenge, 32), MA_LIT(RP_ID), &in, &p));
    return p.verdict;
}

static size_t rows_of(const char *type)
{
    struct ma_audit_row rows[16];
    size_t n = 0, same = 0;
    T_OK(ma_audit_list(ctx->db, f.arena, MA_SPAN_NULL, 0, 0, rows, MA_COUNT(rows), &n));
    for (size_t i = 0; i < n; i++)
        same += ma_span_eq_str(rows[i].type, type);
    return same;
}

static bool noted(const char *type, const char *text)
{
    struct ma_audit_row rows[16];
    size_t n = 0;
    T_OK(ma_audit_list(ctx->db, f.arena, MA_SPAN_NULL, 0, 0, rows, MA_COUNT(rows), &n));
    for (size_t i = 0; i < n; i++)
        if (ma_span_eq_str(rows[i].type, type) && memmem(rows[i].detail.p, rows[i].detail.n, text, strlen(text)))
            return true;
    return false;
}

#define REGRESSED "\"counter_regressed\":true"

static struct ma_credential stored(const char *credential_id)
{
    struct ma_credential c;
    struct ma_span user_id;
    T_OK(ma_credential_find(ctx->db, f.arena, ma_span_str(credential_id), &c, &user_id));
    return c;
}

static int64_t last_auth(const char *id)
{
    struct ma_method m;
    T_OK(ma_method_get(ctx->db, f.arena, MA_LIT(MA_FIX_BOB), ma_span_str(id), ctx->now_ms, &m));
    return m.last_auth_at;
}

/* --- as first factor --- */

START_TEST(test_passkey)
{
    struct sa_ceremony c = honest(challenge, PASSKEY_CRED);
    c.flags = _i ? UP_UV : UP;
    ck_assert_int_eq(verify(&c), MA_SIGNIN_OK);
    T_STR(p.user.user_id, MA_FIX_BOB);
    T_STR(p.method_id, KEY_ID);
    ck_assert_uint_eq(p.amr, _i ? MA_AMR_PASSKEY | MA_AMR_UV : MA_AMR_PASSKEY);
    ck_assert(p.old_count == 7 && p.new_count == 8);
    T_OK(MA_FIX_WRITE(&f, ma_passkey_verified(ctx, &p)));
    ck_assert_int_eq(stored(PASSKEY_CRED).sign_count, 8);
    ck_assert_int_eq(last_auth(KEY_ID), ctx->now_ms);
    ck_assert_uint_eq(rows_of("s"), 0); /* others may still ask for more */
    ck_assert(!p.counter_regressed && rows_of("gd_auth_succeed") == 0);
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_passkey_verified(ctx, &p))); /* the counter went on */
    ck_assert_int_eq(verify(&c), MA_SIGNIN_WRONG);                       /* as it says again */
    ck_assert_ptr_nonnull(p.why);
}
END_TEST

#define EDIT(name, ...)                                                                                                \
    static void name(struct sa_ceremony *c)                                                                            \
    {                                                                                                                  \
        __VA_ARGS__;                                                                                                   \
    }
EDIT(bad_challenge, c->challenge = ma_span_of(other, 32))
EDIT(bad_origin, c->origin = "https://evil.example")
EDIT(bad_rp, c->rp_id = "evil.example")
EDIT(bad_signature, c->sign_with_other = true)
EDIT(bad_handle, c->user_handle = MA_LIT("somebody else"))
EDIT(no_handle, c->user_handle = MA_SPAN_NULL)
EDIT(empty_handle, c->user_handle = MA_LIT(""))
EDIT(bad_id, c->credential_id = MA_LIT("no such credential at all"))
EDIT(empty_id, c->credential_id = MA_LIT(""))
EDIT(security_key, c->credential_id = MA_LIT(ROAMING_CRED))
EDIT(bad_counter, c->sign_count = 7)
EDIT(bad_type, c->type = "webauthn.create")
EDIT(no_presence, c->flags = 0x04)

static const struct {
    const char *name;
    void (*edit)(struct sa_ceremony *);
} bad[] = {
    {"another challenge", bad_challenge}, {"another origin", bad_origin},        {"another relying party", bad_rp},
    {"another key", bad_signature},       {"another handle", bad_handle},        {"no handle", no_handle},
    {"empty handle", empty_handle},       {"unknown credential", bad_id},        {"empty credential id", empty_id},
    {"a security key", security_key},     {"counter stands still", bad_counter}, {"a registration", bad_type},
    {"nobody there", no_presence},
};

START_TEST(test_passkey_wrong)
{
    struct sa_ceremony c = honest(challenge, PASSKEY_CRED);
    bad[_i].edit(&c);
    ck_assert_msg(verify(&c) == MA_SIGNIN_WRONG, "%s", bad[_i].name);
    ck_assert_msg(p.why && p.why[0], "%s: no reason", bad[_i].name);
    T_IS(MA_E_INVAL, MA_FIX_WRITE(&f, ma_passkey_verified(ctx, &p)));
}
END_TEST

START_TEST(test_passkey_rules)
{
    struct sa_ceremony c = honest(challenge, PASSKEY_CRED);
    struct ma_assertion_response in = answer(&c);
    T_OK(ma_passkey_verify(ctx, MA_LIT(""), MA_LIT(RP_ID), &in, &p)); /* no challenge was kept */
    ck_assert_int_eq(p.verdict, MA_SIGNIN_WRONG);
    f.conf->webauthn.require_uv = true;
    c.flags = UP;
    ck_assert_int_eq(verify(&c), MA_SIGNIN_WRONG);
    c.flags = UP_UV;
    ck_assert_int_eq(verify(&c), MA_SIGNIN_OK);
    ma_fix_apply(&f, "{\"users\":[{\"user_id\":\"auth0|bob\",\"blocked\":true}]}");
    (void)ma_fix_again(&f);
    ck_assert_int_eq(verify(&c), MA_SIGNIN_BLOCKED);
    c.sign_with_other = true;
    ck_assert_int_eq(verify(&c), MA_SIGNIN_WRONG); /* only its holder hears that */
    c.sign_with_other = false;
    ma_fix_apply(&f, "{\"users\":[{\"user_id\":\"auth0|bob\",\"blocked\":false}],\"factors\":{\"passkey\":false}}");
    (void)ma_fix_again(&f);
    ck_assert_int_eq(verify(&c), MA_SIGNIN_WRONG);
}
END_TEST

START_TEST(test_passkey_client_origin)
{
    struct sa_ceremony c = honest(challenge, PASSKEY_CRED);
    c.origin = "https://app.login.example.com";
    ck_assert_int_eq(verify(&c), MA_SIGNIN_WRONG);
    ma_fix_apply(&f, "{\"clients\":[{\"client_id\":\"spa\",\"allowed_origins\":[\"https://app.login.example.com\"]}]}");
    (void)ma_fix_again(&f);
    ck_assert_int_eq(verify(&c), MA_SIGNIN_OK);
}
END_TEST

/* Authenticators that stopped counting are let in, with a warning. */
START_TEST(test_passkey_counter_zero)
{
    struct sa_ceremony c = honest(challenge, PASSKEY_CRED);
    c.sign_count = 0;
    ck_assert_int_eq(verify(&c), MA_SIGNIN_OK);
    ck_assert_int_eq(p.new_count, 7);
    ck_assert(p.counter_regressed);
    T_OK(MA_FIX_WRITE(&f, ma_passkey_verified(ctx, &p)));
    ck_assert(noted("gd_auth_succeed", REGRESSED));
}
END_TEST

/* --- as second factor --- */

static struct ma_user bob(void)
{
    struct ma_user u;
    T_OK(ma_user_get(ctx->db, f.arena, MA_LIT(MA_FIX_BOB), &u));
    return u;
}

static void start(const char *id)
{
    struct ma_user u = bob();
    T_OK(MA_FIX_WRITE(&f, ma_challenge_start(ctx, FLOW, &u, ma_span_str(id), &started)));
    ck_assert_int_eq(started.verdict, MA_SIGNIN_OK);
}

static enum ma_signin_verdict prove_in(struct ma_span flow, const struct ma_user *u, const struct sa_ceremony *c)
{
    struct ma_assertion_response in = answer(c);
    struct ma_span name = ma_span_str(started.oob_code);
    T_OK(ma_prove_webauthn_check(ctx, flow, u, name, &in, &p));
    T_OK(MA_FIX_WRITE(&f, ma_prove_webauthn(ctx, flow, u, name, &p, &proof)));
    return proof.verdict;
}

static enum ma_signin_verdict prove(const struct sa_ceremony *c)
{
    struct ma_user u = bob();
    return prove_in(FLOW, &u, c);
}

START_TEST(test_second)
{
    static const struct {
        const char *id, *credential;
        uint8_t flags;
        uint32_t amr;
    } rows[] = {
        {ROAMING_ID, ROAMING_CRED, UP, MA_AMR_HWK | MA_AMR_MFA},
        {ROAMING_ID, ROAMING_CRED, UP_UV, MA_AMR_HWK | MA_AMR_MFA}, /* no passkey: "phr" is not for it */
        {KEY_ID, PASSKEY_CRED, UP, MA_AMR_PASSKEY | MA_AMR_MFA},
        {KEY_ID, PASSKEY_CRED, UP_UV, MA_AMR_PASSKEY | MA_AMR_UV | MA_AMR_MFA},
    };
    start(rows[_i].id);
    T_STR(started.rp_id, RP_ID);
    ck_assert_uint_eq(started.n_credentials, 1);
    T_STR(started.credentials[0].credential_id, rows[_i].credential);
    struct sa_ceremony c = honest(started.challenge, rows[_i].credential);
    c.flags = rows[_i].flags;
    c.user_handle = MA_SPAN_NULL; /* not asked for here */
    ck_assert_int_eq(prove(&c), MA_SIGNIN_OK);
    ck_assert_uint_eq(proof.amr, rows[_i].amr);
    T_STR(proof.method_id, rows[_i].id);
    ck_assert_int_eq(stored(rows[_i].credential).sign_count, 8);
    ck_assert_int_eq(last_auth(rows[_i].id), ctx->now_ms);
    ck_assert_uint_eq(rows_of("gd_auth_succeed"), 1);
    c.sign_count = 9;
    ck_assert_int_eq(prove(&c), MA_SIGNIN_EXPIRED); /* once */
}
END_TEST

START_TEST(test_second_counter)
{
    start(ROAMING_ID);
    struct sa_ceremony c = honest(started.challenge, ROAMING_CRED);
    c.sign_count = _i ? 7 : 0; /* standing still is refused, not counting any more is let in */
    ck_assert_int_eq(prove(&c), _i ? MA_SIGNIN_WRONG : MA_SIGNIN_OK);
    ck_assert(noted(_i ? "gd_webauthn_challenge_failed" : "gd_auth_succeed", REGRESSED));
}
END_TEST

START_TEST(test_second_wrong)
{
    start(ROAMING_ID);
    struct sa_ceremony c = honest(started.challenge, ROAMING_CRED), good = c;
    switch (_i) {
    case 0:
        c.challenge = ma_span_of(other, 32);
        break;
    case 1:
        c.credential_id = MA_LIT(PASSKEY_CRED); /* another method of the same user */
        break;
    case 2:
        c.user_handle = MA_LIT("somebody else");
        break;
    default:
        c.sign_with_other = true;
        break;
    }
    ck_assert_int_eq(prove(&c), MA_SIGNIN_WRONG);
    ck_assert_uint_eq(rows_of("gd_webauthn_challenge_failed"), 1);
    ck_assert_int_eq(prove(&good), MA_SIGNIN_EXPIRED); /* one answer */
    ck_assert_int_eq(stored(ROAMING_CRED).sign_count, 7);
}
END_TEST

START_TEST(test_second_bound)
{
    struct ma_user alice;
    T_OK(ma_user_get(ctx->db, f.arena, MA_LIT(MA_FIX_ALICE), &alice));
    start(ROAMING_ID);
    struct sa_ceremony c = honest(started.challenge, ROAMING_CRED);
    struct ma_user u = bob();
    ck_assert_int_eq(prove_in(ma_span_of(flow_b, 32), &u, &c), MA_SIGNIN_EXPIRED);
    ck_assert_int_eq(prove_in(FLOW, &alice, &c), MA_SIGNIN_EXPIRED);
    ma_fix_advance(&f, f.conf->enrollment.passkey_ttl * 1000 - 1);
    ck_assert_int_eq(prove(&c), MA_SIGNIN_OK);
    start(ROAMING_ID);
    c = honest(started.challenge, ROAMING_CRED);
    c.sign_count = 9;
    ma_fix_advance(&f, f.conf->enrollment.passkey_ttl * 1000);
    ck_assert_int_eq(prove(&c), MA_SIGNIN_EXPIRED);
}
END_TEST

START_TEST(test_second_other_kinds)
{
    struct ma_user u = bob();
    start(ROAMING_ID);
    T_OK(MA_FIX_WRITE(&f, ma_prove_oob(ctx, FLOW, &u, ma_span_str(started.oob_code), MA_LIT("123456"), &proof)));
    ck_assert_int_eq(proof.verdict, MA_SIGNIN_EXPIRED); /* no code was sent */
    struct sa_ceremony c = honest(started.challenge, ROAMING_CRED);
    ma_fix_apply(&f, "{\"factors\":{\"webauthn-roaming\":false}}");
    (void)ma_fix_again(&f);
    ck_assert_int_eq(prove(&c), MA_SIGNIN_NO_FACTOR);
}
END_TEST

START_TEST(test_second_raced)
{
    struct ma_user u = bob();
    start(ROAMING_ID);
    struct sa_ceremony c = honest(started.challenge, ROAMING_CRED);
    struct ma_assertion_response in = answer(&c);
    struct ma_span name = ma_span_str(started.oob_code);
    T_OK(ma_prove_webauthn_check(ctx, FLOW, &u, name, &in, &p));
    T_OK(MA_FIX_WRITE(&f, ma_credential_used(ctx->db, u.user_id, MA_LIT(ROAMING_ID), 7, 20, false)));
    T_OK(MA_FIX_WRITE(&f, ma_prove_webauthn(ctx, FLOW, &u, name, &p, &proof)));
    ck_assert_int_eq(proof.verdict, MA_SIGNIN_WRONG);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("signin_passkey");
    TCase *tc = tcase_create("passkeys");
    tcase_add_unchecked_fixture(tc, once, ma_crypto_cleanup);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_passkey, 0, 2);
    tcase_add_loop_test(tc, test_passkey_wrong, 0, (int)MA_COUNT(bad));
    tcase_add_test(tc, test_passkey_rules);
    tcase_add_test(tc, test_passkey_client_origin);
    tcase_add_test(tc, test_passkey_counter_zero);
    tcase_add_loop_test(tc, test_second, 0, 4);
    tcase_add_loop_test(tc, test_second_counter, 0, 2);
    tcase_add_loop_test(tc, test_second_wrong, 0, 4);
    tcase_add_test(tc, test_second_bound);
    tcase_add_test(tc, test_second_other_kinds);
    tcase_add_test(tc, test_second_raced);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
