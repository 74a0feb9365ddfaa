/* SPDX-License-Identifier: Apache-2.0
 * Signing in on a real database, without HTTP: passwords, what wrong ones cost, second factors, challenges, flows.
 * Passkeys and security keys have a program of their own.
 */
#include "../support/fixture.h"
#include "ma/signin.h"

#include <liboath/oath.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/deliver/int.h"
#include "ma/crypto.h"
#include "ma/totp.h"

#define MINUTE 60000
#define HOUR 3600000
#define GOOD "correct horse 1"
#define FLOW ma_span_of(flow_a, sizeof flow_a)
#define OTHER_FLOW ma_span_of(flow_b, sizeof flow_b)

static const uint8_t flow_a[32] = {1}, flow_b[32] = {2};
static struct ma_fix f;
static struct ma_ctx *ctx;
static struct ma_signin s;
static struct ma_factor_proof proof;
static struct ma_challenge_started started;
static struct ma_factor_choice choices[MA_FACTORS_SHOWN_MAX];
static size_t n_choices;

static const char users[] =
    "{\"connections\":[{\"name\":\"db2\",\"strategy\":\"auth0\",\"password_policy\":{\"complexity\":{"
    "\"max_length_exceeded\":\"truncate\"}}}],"
    "\"users\":[{\"user_id\":\"auth0|dave\",\"email\":\"dave@example.com\",\"phone_number\":\"+15551230001\","
    "\"connection\":\"db\"},"
    "{\"user_id\":\"auth0|twin1\",\"email\":\"twin@example.com\",\"connection\":\"db\"},"
    "{\"user_id\":\"auth0|twin2\",\"email\":\"twin@example.com\",\"connection\":\"db2\"},"
    "{\"user_id\":\"auth0|eve\",\"email\":\"eve@example.com\",\"connection\":\"db\",\"blocked\":true},"
    "{\"user_id\":\"auth0|long\",\"email\":\"long@example.com\",\"connection\":\"db2\"}]}";

static void as(const char *user)
{
    ctx = ma_fix_request(&f, user, "spa");
    T_OK(ma_addr_parse(MA_LIT("192.0.2.1"), &ctx->req.client));
}

static void setup(void)
{
    ma_fix_open(&f, "");
    ma_fix_apply(&f, users);
    as(MA_FIX_BOB);
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static struct ma_user user_of(const char *id)
{
    struct ma_user u;
    T_OK(ma_user_get(ctx->db, f.arena, ma_span_str(id), &u));
    return u;
}

static void give(const char *user, const char *password)
{
    as(user);
    ma_fix_give_password(&f, password);
}

static const char *verdict_name(enum ma_signin_verdict v)
{
    static const char *const names[] = {"ok", "wrong", "blocked", "too many", "expired", "no factor", "pending"};
    return names[v];
}

#define T_VERDICT(want, got)                                                                                           \
    ck_assert_msg((want) == (got), "line %d: %s, not %s", __LINE__, verdict_name(got), verdict_name(want))

/* --- the audit trail --- */

static struct ma_audit_row rows[64];
static size_t n_rows;

/* "fp fu s": the types from the start, oldest first. No row holds a secret of these tests. */
static const char *trail(void)
{
    static char text[1024];
    size_t at = 0;
    text[0] = 0;
    T_OK(ma_audit_list(ctx->db, f.arena, MA_SPAN_NULL, 0, 0, rows, MA_COUNT(rows), &n_rows));
    for (size_t i = 0; i < n_rows; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.*s", i ? " " : "", (int)rows[i].type.n,
                               (const char *)rows[i].type.p);
        ck_assert(!rows[i].detail.n || !memmem(rows[i].detail.p, rows[i].detail.n, GOOD, sizeof GOOD - 1));
    }
    return text;
}

static struct ma_audit_row last_row(void)
{
    (void)trail();
    ck_assert_uint_gt(n_rows, 0);
    return rows[n_rows - 1];
}

/* --- passwords --- */

static enum ma_signin_verdict try_in(const char *identifier, const char *connection, const char *password)
{
    T_OK(ma_signin_password(ctx, ma_span_str(identifier), ma_span_str(connection), ma_span_str(password), &s));
    T_OK(MA_FIX_WRITE(&f, ma_signin_password_done(ctx, &s)));
    return s.verdict;
}

static enum ma_signin_verdict try(const char *identifier, const char *password)
{
    return try_in(identifier, "", password);
}

static const struct {
    const char *name, *identifier, *connection, *password;
    enum ma_signin_verdict want;
    const char *user;
} logins[] = {
    {"e-mail", "bob@example.com", "", GOOD, MA_SIGNIN_OK, MA_FIX_BOB},
    {"e-mail, case and blanks", " Bob@EXAMPLE.com ", "", GOOD, MA_SIGNIN_OK, MA_FIX_BOB},
    {"user id", MA_FIX_BOB, "", GOOD, MA_SIGNIN_OK, MA_FIX_BOB},
    {"user id has case", "auth0|Bob", "", GOOD, MA_SIGNIN_WRONG, NULL},
    {"phone", "+15551230001", "", GOOD, MA_SIGNIN_OK, "auth0|dave"},
    {"phone, as written", "+1 (555) 123-0001", "", GOOD, MA_SIGNIN_OK, "auth0|dave"},
    {"its connection", "bob@example.com", "db", GOOD, MA_SIGNIN_OK, MA_FIX_BOB},
    {"another connection", "bob@example.com", "db2", GOOD, MA_SIGNIN_WRONG, NULL},
    {"user id, another connection", MA_FIX_BOB, "db2", GOOD, MA_SIGNIN_WRONG, NULL},
    {"wrong password", "bob@example.com", "", "wrong horse 1", MA_SIGNIN_WRONG, NULL},
    {"empty password", "bob@example.com", "", "", MA_SIGNIN_WRONG, NULL},
    {"unknown", "nobody@example.com", "", GOOD, MA_SIGNIN_WRONG, NULL},
    {"no password", "alice@example.com", "", GOOD, MA_SIGNIN_WRONG, NULL},
    {"no database identity", "carol@example.com", "", GOOD, MA_SIGNIN_WRONG, NULL},
    {"its user id", MA_FIX_CAROL, "", GOOD, MA_SIGNIN_WRONG, NULL},
    {"two of them", "twin@example.com", "", GOOD, MA_SIGNIN_WRONG, NULL},
    {"one of the two", "twin@example.com", "db2", GOOD, MA_SIGNIN_OK, "auth0|twin2"},
    {"blocked", "eve@example.com", "", GOOD, MA_SIGNIN_BLOCKED, "auth0|eve"},
    {"blocked, wrong password", "eve@example.com", "", "wrong horse 1", MA_SIGNIN_WRONG, NULL},
    {"empty", "", "", GOOD, MA_SIGNIN_WRONG, NULL},
    {"no UTF-8", "b\xff", "", GOOD, MA_SIGNIN_WRONG, NULL},
    {"a line end", "bob@example.com\nx", "", GOOD, MA_SIGNIN_WRONG, NULL},
};

START_TEST(test_password)
{
    give("auth0|dave", GOOD);
    give("auth0|twin1", GOOD);
    give("auth0|twin2", GOOD);
    give("auth0|eve", GOOD);
    give(MA_FIX_BOB, GOOD);
    enum ma_signin_verdict v = try_in(logins[_i].identifier, logins[_i].connection, logins[_i].password);
    ck_assert_msg(v == logins[_i].want, "%s: %s", logins[_i].name, verdict_name(v));
    if (logins[_i].user)
        T_STR(s.user.user_id, logins[_i].user);
}
END_TEST

START_TEST(test_password_too_long_identifier)
{
    char text[300];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    T_VERDICT(MA_SIGNIN_WRONG, try(text, GOOD));
}
END_TEST

START_TEST(test_password_audit)
{
    give("auth0|eve", GOOD);
    give(MA_FIX_BOB, GOOD);
    (void)try("bob@example.com", GOOD);
    ck_assert_str_eq(trail(), ""); /* others may still ask for more */
    (void)try("bob@example.com", "x");
    ck_assert_str_eq(trail(), "fp");
    T_STR(rows[0].user_id, MA_FIX_BOB);
    T_STR(rows[0].client_id, "spa");
    T_STR(rows[0].ip, "192.0.2.1");
    T_STR(rows[0].detail, "{\"user_name\":\"bob@example.com\"}");
    (void)try("nobody@example.com", "x");
    ck_assert_ptr_null(last_row().user_id.p);
    (void)try(GOOD, "x"); /* the password in the wrong field */
    T_STR(last_row().detail, "{}");
    (void)try("eve@example.com", GOOD);
    T_STR(last_row().detail, "{\"user_name\":\"eve@example.com\",\"error\":\"user is blocked\"}");
    ck_assert_str_eq(trail(), "fp fu fu fp");
}
END_TEST

START_TEST(test_password_counter)
{
    give(MA_FIX_BOB, GOOD);
    f.conf->rate_limit.enabled = _i == 0; /* it stays on */
    f.conf->rate_limit.login_failures_per_minute = 3;
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD)); /* costs nothing */
    T_VERDICT(MA_SIGNIN_WRONG, try("bob@example.com", "x"));
    T_VERDICT(MA_SIGNIN_WRONG, try("BOB@example.com", "x"));
    T_VERDICT(MA_SIGNIN_WRONG, try(" bob@example.com", "x"));
    T_VERDICT(MA_SIGNIN_TOO_MANY, try("bob@example.com", GOOD));
    ck_assert_int_eq(s.retry_after_s, 20);
    T_VERDICT(MA_SIGNIN_TOO_MANY, try("bob@example.com", GOOD));
    ck_assert_str_eq(trail(), "fp fp fp limit_wc");       /* noted once */
    T_VERDICT(MA_SIGNIN_TOO_MANY, try(MA_FIX_BOB, GOOD)); /* however the user is named */
    T_OK(ma_addr_parse(MA_LIT("192.0.2.2"), &ctx->req.client));
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD)); /* another address */
    T_OK(ma_addr_parse(MA_LIT("192.0.2.1"), &ctx->req.client));
    ma_fix_advance(&f, 20 * 1000 - 1);
    T_VERDICT(MA_SIGNIN_TOO_MANY, try("bob@example.com", GOOD));
    ma_fix_advance(&f, 1);
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
}
END_TEST

START_TEST(test_password_counter_of_the_unknown)
{
    f.conf->rate_limit.login_failures_per_minute = 1;
    T_VERDICT(MA_SIGNIN_WRONG, try("nobody@example.com", "x"));
    T_VERDICT(MA_SIGNIN_TOO_MANY, try("nobody@example.com", "x"));
}
END_TEST

START_TEST(test_password_counter_of_a_site)
{
    f.conf->rate_limit.login_failures_per_minute = 1;
    T_OK(ma_addr_parse(MA_LIT("2001:db8::1"), &ctx->req.client));
    T_VERDICT(MA_SIGNIN_WRONG, try("nobody@example.com", "x"));
    T_OK(ma_addr_parse(MA_LIT("2001:db8::ffff:2"), &ctx->req.client)); /* the same /64 */
    T_VERDICT(MA_SIGNIN_TOO_MANY, try("nobody@example.com", "x"));
    T_OK(ma_addr_parse(MA_LIT("2001:db8:0:1::1"), &ctx->req.client));
    T_VERDICT(MA_SIGNIN_WRONG, try("nobody@example.com", "x"));
}
END_TEST

START_TEST(test_password_counter_of_the_address)
{
    give(MA_FIX_BOB, GOOD);
    f.conf->rate_limit.enabled = true;
    f.conf->rate_limit.address_failures = 2;
    T_VERDICT(MA_SIGNIN_WRONG, try("a@example.com", "x"));
    T_VERDICT(MA_SIGNIN_WRONG, try("b@example.com", "x"));
    T_VERDICT(MA_SIGNIN_TOO_MANY, try("bob@example.com", GOOD));
    f.conf->rate_limit.enabled = false;
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
}
END_TEST

static size_t rows_with(const char *type, const char *text)
{
    static struct ma_audit_row all[256];
    size_t n = 0, same = 0;
    T_OK(ma_audit_list(ctx->db, f.arena, MA_SPAN_NULL, 0, 0, all, MA_COUNT(all), &n));
    for (size_t i = 0; i < n; i++)
        same += ma_span_eq_str(all[i].type, type) && memmem(all[i].detail.p, all[i].detail.n, text, strlen(text));
    return same;
}

static void come_from(const char *address)
{
    T_OK(ma_addr_parse(ma_span_str(address), &ctx->req.client));
}

/* Guesses from many addresses: the trail tells, strangers wait, and the user gets in from where they came before. */
START_TEST(test_password_counter_of_the_user)
{
    static const char told[] = "too many wrong passwords of this user";
    give(MA_FIX_BOB, GOOD);
    f.conf->rate_limit.user_login_failures = 4;
    f.conf->rate_limit.enabled = _i == 0; /* it stays on */
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
    for (int i = 0; i < 4; i++) {
        ck_assert_uint_eq(rows_with("limit_wc", told), 0);
        come_from(ma_arena_printf(f.arena, "198.51.100.%d", i));
        T_VERDICT(MA_SIGNIN_WRONG, try(i & 1 ? MA_FIX_BOB : "BOB@example.com", "x"));
    }
    ck_assert_uint_eq(rows_with("limit_wc", told), 1);
    come_from("198.51.100.9");
    T_VERDICT(MA_SIGNIN_TOO_MANY, try("bob@example.com", GOOD));
    ck_assert_int_eq(s.retry_after_s, 900);
    T_VERDICT(MA_SIGNIN_TOO_MANY, try(MA_FIX_BOB, "x"));
    come_from("192.0.2.1"); /* where the first one came from */
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
    T_VERDICT(MA_SIGNIN_WRONG, try("bob@example.com", "x"));
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
    come_from("198.51.100.9");
    ma_fix_advance(&f, 900 * 1000);
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
    for (int i = 0; i < 3; i++) /* known by now */
        T_VERDICT(MA_SIGNIN_WRONG, try("bob@example.com", "x"));
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
}
END_TEST

/* A name that nobody has is refused just as a user's. */
START_TEST(test_password_counter_of_an_unknown_name)
{
    f.conf->rate_limit.user_login_failures = 4;
    for (int i = 0; i < 4; i++) {
        come_from(ma_arena_printf(f.arena, "198.51.100.%d", i));
        T_VERDICT(MA_SIGNIN_WRONG, try(i & 1 ? "NOBODY@example.com" : "nobody@example.com", "x"));
    }
    come_from("198.51.100.9");
    T_VERDICT(MA_SIGNIN_TOO_MANY, try("nobody@example.com", "x"));
    ck_assert_int_eq(s.retry_after_s, 900);
    T_VERDICT(MA_SIGNIN_WRONG, try("somebody@example.com", "x"));
}
END_TEST

static bool stale_hash(const char *user)
{
    struct ma_password_row row;
    T_OK(ma_password_get(ctx->db, f.arena, ma_span_str(user), &row));
    return ma_password_needs_rehash((const char *)row.hash.p, MA_ARGON2_DEFAULT);
}

START_TEST(test_rehash)
{
    give(MA_FIX_BOB, GOOD);
    ck_assert(stale_hash(MA_FIX_BOB));
    T_VERDICT(MA_SIGNIN_WRONG, try("bob@example.com", "x"));
    ck_assert(stale_hash(MA_FIX_BOB) && !s.rehash_to[0]);
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
    ck_assert(!stale_hash(MA_FIX_BOB) && s.rehash_to[0]);
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", GOOD));
    ck_assert(!s.rehash_to[0]);
}
END_TEST

START_TEST(test_rehash_of_a_password_changed_meanwhile)
{
    give(MA_FIX_BOB, GOOD);
    T_OK(ma_signin_password(ctx, MA_LIT("bob@example.com"), MA_LIT(""), MA_LIT(GOOD), &s));
    ck_assert(s.rehash_to[0]);
    ma_fix_give_password(&f, "another horse 2");
    T_OK(MA_FIX_WRITE(&f, ma_signin_password_done(ctx, &s)));
    T_VERDICT(MA_SIGNIN_WRONG, try("bob@example.com", GOOD));
    T_VERDICT(MA_SIGNIN_OK, try("bob@example.com", "another horse 2"));
}
END_TEST

START_TEST(test_overlong_password)
{
    char text[101];
    memset(text, 'p', sizeof text - 1);
    text[100] = 0;
    give("auth0|long", text); /* hashed whole */
    T_VERDICT(MA_SIGNIN_OK, try("long@example.com", text));
    ck_assert(!stale_hash("auth0|long")); /* from now on what the policy leaves of it */
    text[80] = 'x';
    T_VERDICT(MA_SIGNIN_OK, try("long@example.com", text));
    text[71] = 'x';
    T_VERDICT(MA_SIGNIN_WRONG, try("long@example.com", text));
}
END_TEST

/* --- second factors --- */

static char last_id[MA_METHOD_ID_MAX];

static void plant(enum ma_factor type, const char *address, const char *name, bool confirmed)
{
    static int n;
    (void)snprintf(last_id, sizeof last_id, "%s|dev_%016d", ma_factor_name(type), n++);
    struct ma_method m = {.id = ma_span_str(last_id),
                          .type = type,
                          .confirmed = confirmed,
                          .address = ma_span_str(address),
                          .name = ma_span_str(name),
                          .created_at = ctx->now_ms + n,
                          .expires_at = confirmed ? 0 : ctx->now_ms + HOUR};
    T_OK(MA_FIX_WRITE(&f, ma_method_insert(ctx->db, ctx->who.user_id, &m)));
}

static const char *list(const char *user)
{
    static char text[1024];
    struct ma_user u = user_of(user);
    size_t at = 0;
    text[0] = 0;
    T_OK(ma_signin_factors(ctx, &u, choices, &n_choices));
    T_STR(ctx->who.user_id, user);
    for (size_t i = 0; i < n_choices; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s:%.*s", i ? " " : "", ma_factor_name(choices[i].type),
                               (int)choices[i].name.n, (const char *)choices[i].name.p);
    return text;
}

START_TEST(test_factors)
{
    as(MA_FIX_ALICE);
    ck_assert_str_eq(list(MA_FIX_ALICE), "");
    plant(MA_FACTOR_TOTP, NULL, "Desk", true);
    plant(MA_FACTOR_TOTP, NULL, NULL, false);
    plant(MA_FACTOR_PHONE, "+15551234567", "Mine", true);
    plant(MA_FACTOR_EMAIL, "alice@home.example", NULL, true);
    plant(MA_FACTOR_RECOVERY, NULL, NULL, true);
    plant(MA_FACTOR_PUSH, NULL, NULL, true);
    plant(MA_FACTOR_PASSKEY, NULL, NULL, true);
    ck_assert_str_eq(list(MA_FIX_ALICE),
                     "totp:Desk phone:XXXXXXX4567 email:a***@home.example recovery-code: push-notification: passkey:");
    ck_assert_uint_eq(ma_factors_bits(choices, n_choices), 1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_PHONE |
                                                               1u << MA_FACTOR_EMAIL | 1u << MA_FACTOR_PUSH |
                                                               1u << MA_FACTOR_PASSKEY);
    ma_fix_apply(&f, "{\"factors\":{\"push-notification\":false,\"passkey\":false,\"totp\":false}}");
    as(MA_FIX_ALICE);
    f.conf->delivery.sms = f.conf->delivery.voice = "";
    ck_assert_str_eq(list(MA_FIX_ALICE), "email:a***@home.example recovery-code:");
}
END_TEST

START_TEST(test_factors_automatic)
{
    ck_assert_str_eq(list(MA_FIX_BOB), "email:b***@example.com");
    struct ma_method_view v[MA_METHODS_LISTED_MAX];
    size_t n = 0;
    T_OK(ma_methods_list(ctx, v, &n));
    ck_assert_uint_eq(n, 1);
    ck_assert(v[0].automatic && ma_span_eq(v[0].id, choices[0].id));
    f.conf->enrollment.auto_email_factor = false;
    ck_assert_str_eq(list(MA_FIX_BOB), "");
    ck_assert_str_eq(list(MA_FIX_ALICE), ""); /* not verified */
    ck_assert_str_eq(list(MA_FIX_CAROL), "");
}
END_TEST

START_TEST(test_masks)
{
    static const struct {
        enum ma_factor type;
        const char *address, *want;
    } rows_[] = {
        {MA_FACTOR_EMAIL, "x@example.com", "email:x***@example.com"},
        {MA_FACTOR_EMAIL, "\xc3\xa9mile@example.com", "email:\xc3\xa9***@example.com"},
        {MA_FACTOR_PHONE, "+4512345678", "phone:XXXXXXX5678"},
        {MA_FACTOR_PHONE, "+290123", "phone:XXXXXXX123"},
    };
    as(MA_FIX_ALICE);
    plant(rows_[_i].type, rows_[_i].address, NULL, true);
    ck_assert_str_eq(list(MA_FIX_ALICE), rows_[_i].want);
}
END_TEST

/* --- totp --- */

static char seed[64];

static const char *code_at(int64_t steps)
{
    static char code[MA_TOTP_DIGITS + 1];
    char *raw = NULL;
    size_t n = 0;
    ck_assert_int_eq(oath_base32_decode(seed, strlen(seed), &raw, &n), OATH_OK);
    T_OK(ma_totp_code(ma_span_of(raw, n), ctx->now_ms / 1000 / MA_TOTP_STEP_S + steps, code));
    free(raw);
    return code;
}

/* A confirmed method, whose confirming code was of the step before last. */
static void enrol_totp(const char *user)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    struct ma_method_view v;
    as(user);
    T_OK(MA_FIX_WRITE(&f, ma_enrol_totp(ctx, &e)));
    (void)snprintf(seed, sizeof seed, "%s", e.manual_code);
    (void)snprintf(last_id, sizeof last_id, "%.*s", (int)e.id.n, (const char *)e.id.p);
    T_OK(MA_FIX_WRITE(&f, ma_confirm(ctx, e.id, ma_span_str(e.auth_session), ma_span_str(code_at(0)), &v)));
    ma_fix_advance(&f, 2 * MA_TOTP_STEP_S * 1000);
    as(user);
}

static enum ma_signin_verdict totp(const char *user, const char *id, const char *code)
{
    struct ma_user u = user_of(user);
    T_OK(MA_FIX_WRITE(&f, ma_prove_totp(ctx, &u, ma_span_str(id), ma_span_str(code), &proof)));
    return proof.verdict;
}

START_TEST(test_totp)
{
    enrol_totp(MA_FIX_ALICE);
    const char *id = _i ? last_id : NULL;
    T_VERDICT(MA_SIGNIN_WRONG, totp(MA_FIX_ALICE, id, code_at(-2)));
    T_VERDICT(MA_SIGNIN_WRONG, totp(MA_FIX_ALICE, id, ""));
    T_VERDICT(MA_SIGNIN_OK, totp(MA_FIX_ALICE, id, code_at(0)));
    T_STR(proof.method_id, last_id);
    ck_assert_uint_eq(proof.amr, MA_AMR_OTP | MA_AMR_MFA);
    ck_assert(ctx->user_changed);
    T_STR(last_row().type, "gd_auth_succeed");
    T_STR(last_row().detail, "{\"authenticator\":{\"type\":\"totp\"}}");
    struct ma_method m;
    T_OK(ma_method_get(ctx->db, f.arena, ctx->who.user_id, ma_span_str(last_id), ctx->now_ms, &m));
    ck_assert_int_eq(m.last_auth_at, ctx->now_ms);
    T_VERDICT(MA_SIGNIN_WRONG, totp(MA_FIX_ALICE, id, code_at(0)));  /* replayed */
    T_VERDICT(MA_SIGNIN_WRONG, totp(MA_FIX_ALICE, id, code_at(-1))); /* before it */
    T_VERDICT(MA_SIGNIN_OK, totp(MA_FIX_ALICE, id, code_at(1)));
}
END_TEST

START_TEST(test_totp_of_several)
{
    char first[64], first_id[MA_METHOD_ID_MAX];
    enrol_totp(MA_FIX_ALICE);
    memcpy(first, seed, sizeof first);
    memcpy(first_id, last_id, sizeof first_id);
    enrol_totp(MA_FIX_ALICE);
    T_VERDICT(MA_SIGNIN_WRONG, totp(MA_FIX_ALICE, first_id, code_at(0))); /* the other one's code */
    T_VERDICT(MA_SIGNIN_OK, totp(MA_FIX_ALICE, NULL, code_at(0)));
    T_STR(proof.method_id, last_id);
    memcpy(seed, first, sizeof first);
    T_VERDICT(MA_SIGNIN_OK, totp(MA_FIX_ALICE, NULL, code_at(0)));
    T_STR(proof.method_id, first_id);
}
END_TEST

START_TEST(test_totp_no_factor)
{
    T_VERDICT(MA_SIGNIN_NO_FACTOR, totp(MA_FIX_BOB, NULL, "123456"));
    plant(MA_FACTOR_TOTP, NULL, NULL, false);
    T_VERDICT(MA_SIGNIN_NO_FACTOR, totp(MA_FIX_BOB, last_id, "123456")); /* not confirmed */
    enrol_totp(MA_FIX_ALICE);
    T_VERDICT(MA_SIGNIN_NO_FACTOR, totp(MA_FIX_BOB, last_id, code_at(0))); /* somebody else's */
    ma_fix_apply(&f, "{\"factors\":{\"totp\":false}}");
    as(MA_FIX_ALICE);
    T_VERDICT(MA_SIGNIN_NO_FACTOR, totp(MA_FIX_ALICE, last_id, code_at(0)));
    ck_assert_ptr_null(strstr(trail(), "gd_auth"));
}
END_TEST

START_TEST(test_totp_counter)
{
    f.conf->rate_limit.otp_failures_per_hour = 2;
    enrol_totp(MA_FIX_ALICE);
    T_VERDICT(MA_SIGNIN_OK, totp(MA_FIX_ALICE, NULL, code_at(-1)));
    T_VERDICT(MA_SIGNIN_WRONG, totp(MA_FIX_ALICE, NULL, "000000"));
    T_VERDICT(MA_SIGNIN_WRONG, totp(MA_FIX_ALICE, NULL, "000000"));
    T_STR(last_row().type, "gd_otp_rate_limit_exceed");
    size_t before = n_rows;
    T_VERDICT(MA_SIGNIN_TOO_MANY, totp(MA_FIX_ALICE, NULL, code_at(0)));
    ck_assert_int_eq(proof.retry_after_s, 1800);
    (void)trail();
    ck_assert_uint_eq(n_rows, before);
    ma_fix_advance(&f, HOUR / 2);
    T_VERDICT(MA_SIGNIN_OK, totp(MA_FIX_ALICE, NULL, code_at(0)));
}
END_TEST

/* --- codes that are sent --- */

static struct ma_letter letter(void)
{
    struct ma_outbox_row due[4];
    struct ma_letter l;
    size_t n = 0;
    T_OK(ma_outbox_due(ctx->db, f.arena, ctx->now_ms, due, MA_COUNT(due), &n));
    ck_assert_uint_eq(n, 1);
    T_OK(ma_letter_open(f.app.vault, f.arena, &due[0], &l));
    T_OK(MA_FIX_WRITE(&f, ma_outbox_done(ctx->db, due[0].id)));
    return l;
}

static enum ma_signin_verdict start(const char *user, struct ma_span id)
{
    struct ma_user u = user_of(user);
    T_OK(MA_FIX_WRITE(&f, ma_challenge_start(ctx, FLOW, &u, id, &started)));
    return started.verdict;
}

/* Starts one with bob's automatic e-mail. */
static const char *send_code(void)
{
    (void)list(MA_FIX_BOB);
    ck_assert_uint_eq(n_choices, 1);
    T_VERDICT(MA_SIGNIN_OK, start(MA_FIX_BOB, choices[0].id));
    ck_assert(ctx->wake_courier);
    return (const char *)letter().code.p;
}

static enum ma_signin_verdict oob_in(struct ma_span flow, const char *user, const char *oob, const char *code)
{
    struct ma_user u = user_of(user);
    T_OK(MA_FIX_WRITE(&f, ma_prove_oob(ctx, flow, &u, ma_span_str(oob), ma_span_str(code), &proof)));
    return proof.verdict;
}

static enum ma_signin_verdict oob(const char *code)
{
    return oob_in(FLOW, MA_FIX_BOB, started.oob_code, code);
}

static const char * not(const char *code)
{
    return strcmp(code, "000000") ? "000000" : "111111";
}

START_TEST(test_oob)
{
    (void)list(MA_FIX_BOB);
    T_VERDICT(MA_SIGNIN_OK, start(MA_FIX_BOB, choices[0].id));
    struct ma_letter l = letter();
    T_STR(l.to, "bob@example.com");
    ck_assert_uint_eq(l.code.n, 6);
    ck_assert_ptr_nonnull(memmem(l.subject.p, l.subject.n, "sign-in", 7));
    ck_assert_uint_eq(strlen(started.oob_code), MA_TOKEN_LEN);
    ck_assert(started.type == MA_FACTOR_EMAIL && ma_span_eq(started.method_id, choices[0].id));
    const char *code = (const char *)l.code.p;
    T_VERDICT(MA_SIGNIN_WRONG, oob(not(code)));
    T_VERDICT(MA_SIGNIN_OK, oob(code));
    ck_assert_uint_eq(proof.amr, MA_AMR_EMAIL | MA_AMR_MFA);
    ck_assert(ma_span_eq(proof.method_id, choices[0].id));
    T_VERDICT(MA_SIGNIN_EXPIRED, oob(code)); /* once */
    ck_assert_str_eq(trail(), "gd_send_email gd_auth_failed gd_auth_succeed");
    for (size_t i = 0; i < n_rows; i++)
        ck_assert_ptr_null(memmem(rows[i].detail.p, rows[i].detail.n, code, 6));
}
END_TEST

START_TEST(test_oob_bound)
{
    const char *code = send_code();
    T_VERDICT(MA_SIGNIN_EXPIRED, oob_in(OTHER_FLOW, MA_FIX_BOB, started.oob_code, code));
    T_VERDICT(MA_SIGNIN_EXPIRED, oob_in(FLOW, MA_FIX_ALICE, started.oob_code, code));
    T_VERDICT(MA_SIGNIN_EXPIRED, oob_in(FLOW, MA_FIX_BOB, "", code));
    T_VERDICT(MA_SIGNIN_EXPIRED, oob_in(FLOW, MA_FIX_BOB, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", code));
    T_VERDICT(MA_SIGNIN_OK, oob(code));
}
END_TEST

START_TEST(test_oob_code_of_another)
{
    const char *first = send_code(), *name = started.oob_code;
    const char *second = send_code();
    ck_assert_str_ne(first, second);
    T_VERDICT(MA_SIGNIN_WRONG, oob(first));
    T_VERDICT(MA_SIGNIN_WRONG, oob_in(FLOW, MA_FIX_BOB, name, second));
    T_VERDICT(MA_SIGNIN_OK, oob_in(FLOW, MA_FIX_BOB, name, first)); /* a message that took its time */
}
END_TEST

START_TEST(test_oob_expiry)
{
    const char *code = send_code();
    ma_fix_advance(&f, f.conf->enrollment.otp_ttl * 1000 - _i);
    T_VERDICT(_i ? MA_SIGNIN_OK : MA_SIGNIN_EXPIRED, oob(code));
}
END_TEST

START_TEST(test_oob_tries)
{
    const char *code = send_code();
    for (int i = 0; i < MA_CHALLENGE_TRIES; i++)
        T_VERDICT(MA_SIGNIN_WRONG, oob(not(code)));
    T_VERDICT(MA_SIGNIN_EXPIRED, oob(code));
    code = send_code();
    T_VERDICT(MA_SIGNIN_OK, oob(code));
}
END_TEST

START_TEST(test_oob_counter)
{
    f.conf->rate_limit.otp_failures_per_hour = 2;
    const char *code = send_code();
    T_VERDICT(MA_SIGNIN_WRONG, oob(not(code)));
    T_VERDICT(MA_SIGNIN_WRONG, oob(not(code)));
    T_VERDICT(MA_SIGNIN_TOO_MANY, oob(code));
    ck_assert_int_eq(proof.retry_after_s, 1800);
}
END_TEST

START_TEST(test_messages_counter)
{
    f.conf->rate_limit.email_per_hour = 2;
    (void)send_code();
    (void)send_code();
    T_VERDICT(MA_SIGNIN_TOO_MANY, start(MA_FIX_BOB, choices[0].id));
    ck_assert_int_eq(started.retry_after_s, 1800);
    ma_fix_advance(&f, HOUR / 2);
    (void)send_code();
}
END_TEST

START_TEST(test_oob_phone)
{
    static const struct {
        bool voice;
        const char *sms, *call, *audit;
        enum ma_channel want;
    } rows_[] = {
        {false, "spool:/x", "spool:/x", "gd_send_sms", MA_CHANNEL_SMS},
        {true, "spool:/x", "spool:/x", "gd_send_voice", MA_CHANNEL_VOICE},
        {true, "spool:/x", "", "gd_send_sms", MA_CHANNEL_SMS},
        {false, "", "spool:/x", "gd_send_voice", MA_CHANNEL_VOICE},
    };
    as(MA_FIX_ALICE);
    plant(MA_FACTOR_PHONE, "+15551234567", NULL, true);
    T_OK(MA_FIX_WRITE(
        &f, ma_method_update(ctx->db, ctx->who.user_id, ma_span_str(last_id), MA_SPAN_NULL, rows_[_i].voice)));
    f.conf->delivery.sms = rows_[_i].sms;
    f.conf->delivery.voice = rows_[_i].call;
    T_VERDICT(MA_SIGNIN_OK, start(MA_FIX_ALICE, ma_span_str(last_id)));
    T_STR(last_row().type, rows_[_i].audit);
    T_STR(last_row().method_id, last_id);
    struct ma_letter l = letter();
    T_STR(l.to, "+15551234567");
    T_VERDICT(MA_SIGNIN_OK, oob_in(FLOW, MA_FIX_ALICE, started.oob_code, (const char *)l.code.p));
    ck_assert_uint_eq(proof.amr, MA_AMR_SMS | MA_AMR_MFA);
    struct ma_method m;
    T_OK(ma_method_get(ctx->db, f.arena, ctx->who.user_id, ma_span_str(last_id), ctx->now_ms, &m));
    ck_assert_int_eq(m.last_auth_at, ctx->now_ms);
}
END_TEST

START_TEST(test_oob_method_gone)
{
    as(MA_FIX_ALICE);
    plant(MA_FACTOR_PHONE, "+15551234567", NULL, true);
    T_VERDICT(MA_SIGNIN_OK, start(MA_FIX_ALICE, ma_span_str(last_id)));
    const char *code = (const char *)letter().code.p;
    T_OK(MA_FIX_WRITE(&f, ma_method_delete(ctx->db, ctx->who.user_id, ma_span_str(last_id))));
    T_VERDICT(MA_SIGNIN_NO_FACTOR, oob_in(FLOW, MA_FIX_ALICE, started.oob_code, code));
}
END_TEST

START_TEST(test_start_no_factor)
{
    T_VERDICT(MA_SIGNIN_NO_FACTOR, start(MA_FIX_BOB, MA_LIT("phone|dev_0000000000000000")));
    enrol_totp(MA_FIX_ALICE);
    T_VERDICT(MA_SIGNIN_NO_FACTOR, start(MA_FIX_ALICE, ma_span_str(last_id))); /* nothing to send */
    as(MA_FIX_ALICE);
    plant(MA_FACTOR_PHONE, "+15551234567", NULL, true);
    T_VERDICT(MA_SIGNIN_NO_FACTOR, start(MA_FIX_BOB, ma_span_str(last_id))); /* somebody else's */
}
END_TEST

/* --- recovery codes --- */

static const char *enrol_recovery(void)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    struct ma_method_view v;
    as(MA_FIX_ALICE);
    T_OK(MA_FIX_WRITE(&f, ma_enrol_recovery(ctx, &e)));
    T_OK(MA_FIX_WRITE(&f, ma_confirm(ctx, e.id, ma_span_str(e.auth_session), MA_LIT(""), &v)));
    (void)snprintf(last_id, sizeof last_id, "%.*s", (int)e.id.n, (const char *)e.id.p);
    return e.recovery_code;
}

static enum ma_signin_verdict recover(const char *user, const char *code)
{
    struct ma_user u = user_of(user);
    T_OK(MA_FIX_WRITE(&f, ma_prove_recovery(ctx, &u, ma_span_str(code), &proof)));
    return proof.verdict;
}

START_TEST(test_recovery)
{
    const char *old = enrol_recovery();
    T_VERDICT(MA_SIGNIN_WRONG, recover(MA_FIX_ALICE, "AAAAAAAAAAAAAAAAAAAAAAAA"));
    ck_assert_ptr_null(proof.new_recovery_code);
    T_VERDICT(MA_SIGNIN_OK, recover(MA_FIX_ALICE, old));
    const char *fresh = proof.new_recovery_code;
    ck_assert_uint_eq(strlen(fresh), 24);
    ck_assert_str_ne(fresh, old);
    ck_assert_uint_eq(proof.amr, MA_AMR_RECOVERY | MA_AMR_MFA);
    ck_assert(!ma_span_eq_str(proof.method_id, last_id) && ctx->user_changed);
    T_VERDICT(MA_SIGNIN_WRONG, recover(MA_FIX_ALICE, old)); /* burnt */
    ck_assert_str_eq(list(MA_FIX_ALICE), "recovery-code:");
    ck_assert_uint_eq(ma_factors_bits(choices, n_choices), 0);
    T_VERDICT(MA_SIGNIN_OK, recover(MA_FIX_ALICE, fresh));
    (void)trail();
    for (size_t i = 0; i < n_rows; i++)
        ck_assert(!memmem(rows[i].detail.p, rows[i].detail.n, old, 24) &&
                  !memmem(rows[i].detail.p, rows[i].detail.n, fresh, 24));
    T_STR(last_row().type, "gd_recovery_succeed");
}
END_TEST

START_TEST(test_recovery_as_copied)
{
    const char *code = enrol_recovery();
    char typed[64];
    size_t n = 0;
    for (size_t i = 0; i < 24; i++) {
        if (i && i % 4 == 0)
            typed[n++] = i % 8 ? '-' : ' ';
        typed[n++] = (char)(code[i] >= 'A' ? code[i] + ('a' - 'A') : code[i]);
    }
    typed[n] = 0;
    T_VERDICT(MA_SIGNIN_OK, recover(MA_FIX_ALICE, typed));
}
END_TEST

START_TEST(test_recovery_refused)
{
    f.conf->rate_limit.otp_failures_per_hour = 2;
    T_VERDICT(MA_SIGNIN_NO_FACTOR, recover(MA_FIX_BOB, "X"));
    const char *code = enrol_recovery();
    T_VERDICT(MA_SIGNIN_NO_FACTOR, recover(MA_FIX_BOB, code));
    T_VERDICT(MA_SIGNIN_WRONG, recover(MA_FIX_ALICE, ""));
    T_STR(last_row().type, "gd_recovery_failed");
    T_VERDICT(MA_SIGNIN_WRONG, recover(MA_FIX_ALICE, "X"));
    T_STR(last_row().type, "gd_recovery_rate_limit_exceed");
    T_VERDICT(MA_SIGNIN_TOO_MANY, recover(MA_FIX_ALICE, code));
    ma_fix_apply(&f, "{\"factors\":{\"recovery-code\":false}}");
    as(MA_FIX_ALICE);
    T_VERDICT(MA_SIGNIN_NO_FACTOR, recover(MA_FIX_ALICE, code));
}
END_TEST

/* --- flows --- */

START_TEST(test_flow)
{
    char token[MA_TOKEN_LEN + 1], other[MA_TOKEN_LEN + 1];
    struct ma_flow row = {
        .kind = MA_LIT("mfa"), .client_id = MA_LIT("spa"), .data = MA_LIT("{}"), .expires_at = ctx->now_ms + MINUTE};
    struct ma_flow got, second = row;
    T_OK(MA_FIX_WRITE(&f, ma_flow_open(ctx, &row, token)));
    T_OK(MA_FIX_WRITE(&f, ma_flow_open(ctx, &second, other)));
    ck_assert_str_ne(token, other);
    T_OK(ma_flow_find(ctx, "mfa", ma_span_str(token), &got));
    ck_assert(ma_span_eq(got.token_mac, row.token_mac) && got.version == row.version);
    T_STR(got.data, "{}");
    T_IS(MA_E_NOTFOUND, ma_flow_find(ctx, "login", ma_span_str(token), &got));
    T_IS(MA_E_NOTFOUND, ma_flow_find(ctx, "mfa", MA_LIT(""), &got));
    token[0] = token[0] == 'A' ? 'B' : 'A';
    T_IS(MA_E_NOTFOUND, ma_flow_find(ctx, "mfa", ma_span_str(token), &got));
    T_OK(MA_FIX_WRITE(&f, ma_flow_consume(ctx->db, second.token_mac, ctx->now_ms)));
    T_IS(MA_E_EXPIRED, ma_flow_find(ctx, "mfa", ma_span_str(other), &got));
}
END_TEST

START_TEST(test_flow_lapses)
{
    char token[MA_TOKEN_LEN + 1];
    struct ma_flow row = {
        .kind = MA_LIT("mfa"), .client_id = MA_LIT("spa"), .data = MA_LIT("{}"), .expires_at = ctx->now_ms + MINUTE};
    T_OK(MA_FIX_WRITE(&f, ma_flow_open(ctx, &row, token)));
    ma_fix_advance(&f, MINUTE - 1);
    T_OK(ma_flow_find(ctx, "mfa", ma_span_str(token), &row));
    ma_fix_advance(&f, 1);
    T_IS(MA_E_EXPIRED, ma_flow_find(ctx, "mfa", ma_span_str(token), &row));
}
END_TEST

static TCase *passwords(void)
{
    TCase *tc = tcase_create("passwords");
    tcase_add_loop_test(tc, test_password, 0, (int)MA_COUNT(logins));
    tcase_add_test(tc, test_password_too_long_identifier);
    tcase_add_test(tc, test_password_audit);
    tcase_add_loop_test(tc, test_password_counter, 0, 2);
    tcase_add_test(tc, test_password_counter_of_the_unknown);
    tcase_add_test(tc, test_password_counter_of_a_site);
    tcase_add_test(tc, test_password_counter_of_the_address);
    tcase_add_loop_test(tc, test_password_counter_of_the_user, 0, 2);
    tcase_add_test(tc, test_password_counter_of_an_unknown_name);
    tcase_add_test(tc, test_rehash);
    tcase_add_test(tc, test_rehash_of_a_password_changed_meanwhile);
    tcase_add_test(tc, test_overlong_password);
    return tc;
}

static TCase *factors(void)
{
    TCase *tc = tcase_create("factors");
    tcase_add_test(tc, test_factors);
    tcase_add_test(tc, test_factors_automatic);
    tcase_add_loop_test(tc, test_masks, 0, 4);
    tcase_add_loop_test(tc, test_totp, 0, 2);
    tcase_add_test(tc, test_totp_of_several);
    tcase_add_test(tc, test_totp_no_factor);
    tcase_add_test(tc, test_totp_counter);
    tcase_add_test(tc, test_recovery);
    tcase_add_test(tc, test_recovery_as_copied);
    tcase_add_test(tc, test_recovery_refused);
    return tc;
}

static TCase *sent(void)
{
    TCase *tc = tcase_create("sent");
    tcase_add_test(tc, test_oob);
    tcase_add_test(tc, test_oob_bound);
    tcase_add_test(tc, test_oob_code_of_another);
    tcase_add_loop_test(tc, test_oob_expiry, 0, 2);
    tcase_add_test(tc, test_oob_tries);
    tcase_add_test(tc, test_oob_counter);
    tcase_add_test(tc, test_messages_counter);
    tcase_add_loop_test(tc, test_oob_phone, 0, 4);
    tcase_add_test(tc, test_oob_method_gone);
    tcase_add_test(tc, test_start_no_factor);
    tcase_add_test(tc, test_flow);
    tcase_add_test(tc, test_flow_lapses);
    return tc;
}

int main(void)
{
    Suite *suite = suite_create("signin");
    TCase *cases[] = {passwords(), factors(), sent()};
    for (size_t i = 0; i < MA_COUNT(cases); i++) {
        tcase_add_checked_fixture(cases[i], setup, teardown);
        tcase_set_timeout(cases[i], 60);
        suite_add_tcase(suite, cases[i]);
    }
    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
