/* SPDX-License-Identifier: Apache-2.0
 * Authentication methods on a real database, without HTTP: enrolling, confirming, limits, sessions, renaming,
 * deleting. Passwords have a program of their own.
 */
#include "../support/fixture.h"
#include "ma/methods.h"
#include "ma/passkey.h"
#include "ma/push.h"

#include <liboath/oath.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../src/deliver/int.h"
#include "ma/crypto.h"
#include "ma/totp.h"

#define SESSION_TEXT "Invalid or expired session"
#define NO_METHOD "The authentication method does not exist."
#define MINUTE 60000
#define HOUR 3600000

static struct ma_fix f;
static struct ma_ctx *ctx;

/* What a client keeps between the two calls of an enrolment. */
struct pending {
    char id[MA_METHOD_ID_MAX], session[MA_SESSION_LEN + 1];
    char secret[64]; /* Base32 seed, the code that was sent, or the recovery code */
};

static void as(const char *user, const char *client)
{
    ctx = ma_fix_request(&f, user, client);
}

static void setup(void)
{
    ma_fix_open(&f, "");
    as(MA_FIX_ALICE, "spa");
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static struct pending pending_of(const struct ma_enrolled *e, const char *secret)
{
    struct pending p = {.id = ""};
    (void)snprintf(p.id, sizeof p.id, "%.*s", (int)e->id.n, (const char *)e->id.p);
    (void)snprintf(p.session, sizeof p.session, "%s", e->auth_session);
    (void)snprintf(p.secret, sizeof p.secret, "%s", secret ? secret : "");
    return p;
}

static struct pending start_totp(void)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    T_OK(MA_FIX_WRITE(&f, ma_enrol_totp(ctx, &e)));
    return pending_of(&e, e.manual_code);
}

static struct pending start_recovery(void)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    T_OK(MA_FIX_WRITE(&f, ma_enrol_recovery(ctx, &e)));
    return pending_of(&e, e.recovery_code);
}

/* The only letter in the outbox, which is then delivered. */
static struct ma_letter letter(void)
{
    struct ma_outbox_row rows[4];
    struct ma_letter l;
    size_t n = 0;
    T_OK(ma_outbox_due(ctx->db, f.arena, ctx->now_ms, rows, MA_COUNT(rows), &n));
    ck_assert_uint_eq(n, 1);
    T_OK(ma_letter_open(f.app.vault, f.arena, &rows[0], &l));
    T_OK(MA_FIX_WRITE(&f, ma_outbox_done(ctx->db, rows[0].id)));
    return l;
}

static size_t letters(void)
{
    struct ma_outbox_row rows[32];
    size_t n = 0;
    T_OK(ma_outbox_due(ctx->db, f.arena, ctx->now_ms, rows, MA_COUNT(rows), &n));
    return n;
}

static struct pending start_otp(enum ma_factor type, const char *address)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    T_OK(MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, ma_span_str(address), false, &e)));
    struct ma_letter l = letter();
    return pending_of(&e, (const char *)l.code.p);
}

static const char *totp_now(const struct pending *p, int64_t steps)
{
    static char code[MA_TOTP_DIGITS + 1];
    char *seed = NULL;
    size_t n = 0;
    ck_assert_int_eq(oath_base32_decode(p->secret, strlen(p->secret), &seed, &n), OATH_OK);
    ck_assert_uint_eq(n, MA_TOTP_SEED_LEN);
    T_OK(ma_totp_code(ma_span_of(seed, n), ctx->now_ms / 1000 / MA_TOTP_STEP_S + steps, code));
    free(seed);
    return code;
}

static struct ma_method_view view;

static int confirm_as(const struct pending *p, const char *id, const char *session, const char *code)
{
    (void)p;
    return MA_FIX_WRITE(&f, ma_confirm(ctx, ma_span_str(id), ma_span_str(session), ma_span_str(code), &view));
}

static int confirm(const struct pending *p, const char *code)
{
    return confirm_as(p, p->id, p->session, code);
}

/* The right answer for whatever it is. */
static int finish(const struct pending *p)
{
    if (strncmp(p->id, "totp|", 5) == 0)
        return confirm(p, totp_now(p, 0));
    return confirm(p, strncmp(p->id, "recovery", 8) == 0 ? "" : p->secret);
}

/* A confirmed row put straight into the table. */
static void plant(enum ma_factor type, const char *address, bool confirmed)
{
    static int n;
    char id[MA_METHOD_ID_MAX];
    (void)snprintf(id, sizeof id, "%s|dev_%016d", ma_factor_name(type), n++);
    struct ma_method m = {.id = ma_span_str(id),
                          .type = type,
                          .confirmed = confirmed,
                          .address = ma_span_str(address),
                          .created_at = ctx->now_ms,
                          .expires_at = confirmed ? 0 : ctx->now_ms + HOUR};
    T_OK(MA_FIX_WRITE(&f, ma_method_insert(ctx->db, ctx->who.user_id, &m)));
}

static struct ma_method_view listed[MA_METHODS_LISTED_MAX];
static size_t n_listed;

/* "totp+ email- email*": confirmed, pending, automatic. */
static const char *list(void)
{
    static char text[1024];
    size_t at = 0;
    text[0] = 0;
    T_OK(ma_methods_list(ctx, listed, &n_listed));
    for (size_t i = 0; i < n_listed; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s%c", i ? " " : "", ma_factor_name(listed[i].type),
                               listed[i].automatic   ? '*'
                               : listed[i].confirmed ? '+'
                                                     : '-');
    return text;
}

/* --- totp --- */

START_TEST(test_totp)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    T_OK(MA_FIX_WRITE(&f, ma_enrol_totp(ctx, &e)));
    char want[512];
    (void)snprintf(want, sizeof want,
                   "otpauth://totp/Ex%%20%%26%%20Co:auth0%%7Calice?secret=%s&issuer=Ex%%20%%26%%20Co&algorithm=SHA1&"
                   "digits=6&period=30",
                   e.manual_code);
    ck_assert_str_eq(e.barcode_uri, want);
    ck_assert_uint_eq(strlen(e.manual_code), 32);
    ck_assert_uint_eq(strlen(e.auth_session), MA_SESSION_LEN);
    ck_assert_msg(e.id.n == 25 && memcmp(e.id.p, "totp|dev_", 9) == 0, "%s", (const char *)e.id.p);
    ck_assert_str_eq(list(), "totp-");
    struct pending p = pending_of(&e, e.manual_code);
    T_OK(confirm(&p, totp_now(&p, 0)));
    T_STR(view.id, p.id);
    ck_assert(view.confirmed && view.type == MA_FACTOR_TOTP && !view.name.p && view.last_auth_at == 0);
    ck_assert(ctx->user_changed);
    ck_assert_str_eq(list(), "totp+");
    struct ma_method m;
    T_OK(ma_method_get(ctx->db, f.arena, ctx->who.user_id, ma_span_str(p.id), ctx->now_ms, &m));
    ck_assert_int_eq(m.last_step, ctx->now_ms / 1000 / MA_TOTP_STEP_S); /* this code is used up */
    ck_assert_int_eq(m.expires_at, 0);
    ck_assert_ptr_null(memmem(m.secret.p, m.secret.n, p.secret, strlen(p.secret)));
}
END_TEST

START_TEST(test_totp_skew)
{
    static const struct {
        int64_t steps;
        bool ok;
    } rows[] = {{-2, false}, {-1, true}, {0, true}, {1, true}, {2, false}};
    struct pending p = start_totp();
    int r = confirm(&p, totp_now(&p, rows[_i].steps));
    if (rows[_i].ok)
        T_OK(r);
    else
        T_PROBLEM(&f, 400, "invalid_code", r);
}
END_TEST

START_TEST(test_code_is_trimmed)
{
    struct pending p = start_totp();
    char code[16];
    (void)snprintf(code, sizeof code, " %s\t", totp_now(&p, 0));
    T_OK(confirm(&p, code));
}
END_TEST

START_TEST(test_confirm_twice)
{
    struct pending p = start_totp();
    T_OK(finish(&p));
    T_PROBLEM(&f, 400, SESSION_TEXT, finish(&p));
    ma_fix_advance(&f, 31000);
    T_PROBLEM(&f, 400, SESSION_TEXT, finish(&p));
    ck_assert_str_eq(list(), "totp+");
}
END_TEST

/* --- wrong codes --- */

static struct pending start_any(int which)
{
    return which == 0   ? start_totp()
           : which == 1 ? start_otp(MA_FACTOR_EMAIL, "new@example.com")
                        : start_otp(MA_FACTOR_PHONE, "+15551234567");
}

START_TEST(test_wrong_codes_end_a_session)
{
    static const char *const wrong[] = {"", "0", "abcdef", "0000000", "12345"};
    struct pending p = start_any(_i);
    for (int i = 0; i < MA_SESSION_TRIES; i++) {
        ck_assert_str_ne(list(), "");
        T_PROBLEM(&f, 400, "invalid_code", confirm(&p, wrong[i]));
        ck_assert(ctx->keep);
    }
    T_PROBLEM(&f, 400, SESSION_TEXT, finish(&p));
    ck_assert_str_eq(list(), ""); /* the pending method is gone with it */
    struct pending again = start_any(_i);
    T_OK(finish(&again));
}
END_TEST

START_TEST(test_one_try_less)
{
    struct pending p = start_any(_i);
    for (int i = 0; i < MA_SESSION_TRIES - 1; i++)
        T_PROBLEM(&f, 400, "invalid_code", confirm(&p, "12345"));
    T_OK(finish(&p));
}
END_TEST

START_TEST(test_failure_bucket)
{
    struct pending p = {.id = ""};
    for (int i = 0; i < 10; i++) { /* ten in an hour, whatever the method */
        if (i % MA_SESSION_TRIES == 0)
            p = start_any(i / MA_SESSION_TRIES);
        T_PROBLEM(&f, 400, "invalid_code", confirm(&p, "1"));
    }
    p = start_totp();
    T_PROBLEM(&f, 429, "Too many wrong codes; try again later.", finish(&p));
    ck_assert_str_eq(ma_fix_header(ctx, "Retry-After"), "360");
    ck_assert_str_eq(list(), "totp-"); /* the refusal costs the enrolment nothing */
    as(MA_FIX_BOB, "spa");
    struct pending bob = start_totp();
    T_OK(finish(&bob));
    as(MA_FIX_ALICE, "spa");
    ma_fix_advance(&f, 6 * MINUTE);
    p = start_totp();
    T_PROBLEM(&f, 400, "invalid_code", confirm(&p, "1")); /* one came back, and went */
    T_PROBLEM(&f, 429, NULL, finish(&p));
    struct pending recovery = start_recovery(); /* nothing to guess there */
    T_OK(finish(&recovery));
}
END_TEST

START_TEST(test_failure_bucket_off)
{
    f.conf->rate_limit.otp_failures_per_hour = 0;
    for (int s = 0; s < 4; s++) {
        struct pending p = start_totp();
        for (int i = 0; i < MA_SESSION_TRIES; i++)
            T_PROBLEM(&f, 400, "invalid_code", confirm(&p, "1"));
    }
}
END_TEST

/* --- sessions belong to one user, client, type and method --- */

static const struct {
    const char *name, *user, *client;
    char id, session; /* of which enrolment: t totp, u another totp, e email, b bob's totp, else rubbish */
    int status;
} bindings[] = {
    {"another client", MA_FIX_ALICE, "other", 't', 't', 400},
    {"no such session", MA_FIX_ALICE, "spa", 't', 'x', 400},
    {"session of another method of the type", MA_FIX_ALICE, "spa", 't', 'u', 400},
    {"session of another type", MA_FIX_ALICE, "spa", 't', 'e', 400},
    {"somebody else's session", MA_FIX_ALICE, "spa", 't', 'b', 400},
    {"somebody else's method and session", MA_FIX_ALICE, "spa", 'b', 'b', 404},
    {"somebody else's method, own session", MA_FIX_ALICE, "spa", 'b', 't', 404},
    {"own session, unknown method", MA_FIX_ALICE, "spa", 'x', 't', 404},
    {"all unknown", MA_FIX_ALICE, "spa", 'x', 'x', 404},
    {"another user with everything", MA_FIX_CAROL, "spa", 't', 't', 404},
    {"unknown user", "auth0|nobody", "spa", 't', 't', 404},
};

START_TEST(test_session_binding)
{
    as(MA_FIX_BOB, "spa");
    struct pending b = start_totp();
    as(MA_FIX_ALICE, "spa");
    struct pending t = start_totp(), u = start_totp(), e = start_otp(MA_FACTOR_EMAIL, "new@example.com");
    struct pending x = {.id = "totp|dev_0000000000000000", .session = "x", .secret = ""};
    const struct pending *const by[] = {&t, &u, &e, &b, &x};
    static const char keys[] = "tuebx";
    const struct pending *id = by[strchr(keys, bindings[_i].id) - keys];
    const struct pending *session = by[strchr(keys, bindings[_i].session) - keys];
    char code[8];
    (void)snprintf(code, sizeof code, "%s", totp_now(&t, 0));
    as(bindings[_i].user, bindings[_i].client);
    ma_fix_expect_problem(&f, confirm_as(id, id->id, session->session, code), bindings[_i].status,
                          bindings[_i].status == 404 ? NO_METHOD : SESSION_TEXT, bindings[_i].name);
    ck_assert(!ctx->keep);
    as(MA_FIX_ALICE, "spa"); /* nobody's session was hurt */
    T_OK(finish(&t));
    T_OK(finish(&e));
    as(MA_FIX_BOB, "spa");
    T_OK(finish(&b));
}
END_TEST

START_TEST(test_odd_ids)
{
    static const char *const ids[] = {"", "totp", "|", "totp|", "xyz|dev_1", "password|new", "passkey|new", "email|x"};
    struct pending p = start_totp();
    T_PROBLEM(&f, 404, NO_METHOD, confirm_as(&p, ids[_i], p.session, totp_now(&p, 0)));
    T_OK(finish(&p));
}
END_TEST

START_TEST(test_password_session_confirms_no_factor)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    struct pending p = start_totp();
    T_OK(MA_FIX_WRITE(&f, ma_enrol_password(ctx, MA_SPAN_NULL, MA_SPAN_NULL, &e)));
    T_PROBLEM(&f, 400, SESSION_TEXT, confirm_as(&p, p.id, e.auth_session, totp_now(&p, 0)));
    struct ma_new_password np = {.history = 0};
    (void)ma_fix_again(&f);
    T_PROBLEM(&f, 400, SESSION_TEXT, ma_password_prepare(ctx, ma_span_str(p.session), MA_LIT("Correct-horse-7"), &np));
}
END_TEST

/* --- expiry --- */

static struct pending start_typed(int which)
{
    return which == 3 ? start_recovery() : start_any(which);
}

START_TEST(test_expiry)
{
    static const int64_t ttl_s[] = {100, 200, 200, 300};
    f.conf->enrollment.totp_ttl = 100;
    f.conf->enrollment.otp_ttl = 200;
    f.conf->enrollment.recovery_ttl = 300;
    struct pending p = start_typed(_i);
    ma_fix_advance(&f, ttl_s[_i] * 1000 - 1);
    ck_assert_str_ne(list(), "");
    T_OK(finish(&p));
    struct pending late = start_typed(_i == 3 ? 3 : 0);
    ma_fix_advance(&f, (_i == 3 ? 300 : 100) * 1000);
    T_PROBLEM(&f, 400, SESSION_TEXT, finish(&late));
    (void)list();
    ck_assert(n_listed == 1 && listed[0].confirmed);
}
END_TEST

START_TEST(test_expired_is_not_listed)
{
    (void)start_totp();
    ck_assert_str_eq(list(), "totp-");
    ma_fix_advance(&f, 300 * 1000 - 1);
    ck_assert_str_eq(list(), "totp-");
    ma_fix_advance(&f, 1);
    ck_assert_str_eq(list(), "");
}
END_TEST

/* --- email and phone --- */

START_TEST(test_email)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    T_OK(MA_FIX_WRITE(&f, ma_enrol_otp(ctx, MA_FACTOR_EMAIL, MA_LIT("new@example.com"), false, &e)));
    ck_assert(ctx->wake_courier);
    struct ma_letter l = letter();
    ck_assert_int_eq(l.channel, MA_CHANNEL_EMAIL);
    T_STR(l.to, "new@example.com");
    T_STR(l.user_id, MA_FIX_ALICE);
    ck_assert_uint_eq(l.code.n, 6);
    for (size_t i = 0; i < 6; i++)
        ck_assert(l.code.p[i] >= '0' && l.code.p[i] <= '9');
    ck_assert_ptr_nonnull(memmem(l.text.p, l.text.n, l.code.p, 6));
    ck_assert_ptr_null(e.barcode_uri);
    struct pending p = pending_of(&e, (const char *)l.code.p);
    ck_assert_str_eq(list(), "email-");
    T_OK(finish(&p));
    T_STR(view.address, "new@example.com");
    ck_assert_str_eq(list(), "email+");
}
END_TEST

START_TEST(test_phone)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    T_OK(MA_FIX_WRITE(&f, ma_enrol_otp(ctx, MA_FACTOR_PHONE, MA_LIT("+15551234567"), _i, &e)));
    struct ma_letter l = letter();
    ck_assert_int_eq(l.channel, _i ? MA_CHANNEL_VOICE : MA_CHANNEL_SMS);
    T_STR(l.to, "+15551234567");
    struct pending p = pending_of(&e, (const char *)l.code.p);
    T_OK(finish(&p));
    ck_assert(view.voice == (_i == 1) && view.type == MA_FACTOR_PHONE);
}
END_TEST

/* A code belongs to its session, not to the address. */
START_TEST(test_code_of_another_session)
{
    struct pending a = start_otp(MA_FACTOR_EMAIL, "a@example.com"), b = start_otp(MA_FACTOR_EMAIL, "b@example.com");
    ck_assert_str_ne(a.secret, b.secret);
    T_PROBLEM(&f, 400, "invalid_code", confirm(&a, b.secret));
    T_OK(confirm(&a, a.secret));
    T_OK(confirm(&b, b.secret));
}
END_TEST

START_TEST(test_duplicate_address)
{
    enum ma_factor type = _i ? MA_FACTOR_PHONE : MA_FACTOR_EMAIL;
    const char *address = _i ? "+15551234567" : "new@example.com";
    const char *text = _i ? "This phone number is enrolled already." : "This e-mail address is enrolled already.";
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    f.conf->notifications.on[MA_EVENT_FACTOR_ADDED] = false;
    struct pending p = start_otp(type, address);
    T_OK(finish(&p));
    T_PROBLEM(&f, 400, text, MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, ma_span_str(address), false, &e)));
    ck_assert_uint_eq(letters(), 0);
    as(MA_FIX_CAROL, "spa"); /* not hers */
    struct pending carol = start_otp(type, address);
    T_OK(finish(&carol));
}
END_TEST

START_TEST(test_pending_duplicate_gives_way)
{
    struct pending first = start_otp(MA_FACTOR_EMAIL, "new@example.com");
    struct pending other = start_otp(MA_FACTOR_EMAIL, "other@example.com");
    struct pending second = start_otp(MA_FACTOR_EMAIL, "new@example.com");
    ck_assert_str_eq(list(), "email- email-");
    T_PROBLEM(&f, 404, NO_METHOD, finish(&first));
    T_OK(finish(&second));
    T_OK(finish(&other));
    ck_assert_str_eq(list(), "email+ email+");
}
END_TEST

START_TEST(test_address_taken_meanwhile)
{
    struct pending p = start_otp(MA_FACTOR_EMAIL, "new@example.com");
    ma_fix_advance(&f, 1);
    plant(MA_FACTOR_EMAIL, "new@example.com", true);
    T_PROBLEM(&f, 400, "This address is enrolled already.", finish(&p));
    ck_assert_str_eq(list(), "email- email+");
}
END_TEST

static const struct {
    const char *name, *in, *want; /* NULL: refused */
} emails[] = {
    {"plain", "a@b.example", "a@b.example"},
    {"blanks around", " a@b.example ", "a@b.example"},
    {"the domain's case does not count", "User.Name+Tag@EXAMPLE.Com", "User.Name+Tag@example.com"},
    {"odd but legal", "!#$%&'*+-/=?^_`{|}~@b.example", "!#$%&'*+-/=?^_`{|}~@b.example"},
    {"empty", "", NULL},
    {"no at", "a.example", NULL},
    {"two ats", "a@b@c.example", NULL},
    {"nothing before", "@b.example", NULL},
    {"nothing behind", "a@", NULL},
    {"no dot in the domain", "a@localhost", NULL},
    {"dot first", "a@.example", NULL},
    {"dot last", "a@b.", NULL},
    {"blank inside", "a b@c.example", NULL},
    {"line break", "a@b.example\nBcc: x@y.example", NULL},
    {"carriage return", "a\r@b.example", NULL},
    {"display name", "A <a@b.example>", NULL},
    {"list", "a@b.example,c@d.example", NULL},
    {"list with semicolon", "a@b.example;c@d.example", NULL},
    {"quoted", "\"a\"@b.example", NULL},
    {"not ASCII", "\xc3\xa4@b.example", NULL},
    {"DEL", "a\x7f@b.example", NULL},
    {"address literal", "a@[127.0.0.1]", NULL},
};

START_TEST(test_email_normalise)
{
    struct ma_span out = MA_SPAN_NULL;
    int r = ma_email_normalise(f.arena, ma_span_str(emails[_i].in), &out);
    ck_assert_msg(r == (emails[_i].want ? MA_OK : MA_E_PARSE), "%s: %s", emails[_i].name, ma_err_name(r));
    if (emails[_i].want)
        T_STR(out, emails[_i].want);
}
END_TEST

START_TEST(test_email_length)
{
    char text[256];
    struct ma_span out;
    memset(text, 'a', sizeof text);
    memcpy(text + 254 - 10, "@b.example", 10);
    T_OK(ma_email_normalise(f.arena, ma_span_of(text, 254), &out));
    memcpy(text + 255 - 10, "@b.example", 10);
    text[244] = 'a';
    T_IS(MA_E_PARSE, ma_email_normalise(f.arena, ma_span_of(text, 255), &out));
    T_IS(MA_E_PARSE, ma_email_normalise(f.arena, ma_span_of("a\0@b.example", 12), &out));
}
END_TEST

static const struct {
    const char *name, *in, *want;
} phones[] = {
    {"E.164", "+15551234567", "+15551234567"},
    {"as people write it", " +1 (555) 123-45.67 ", "+15551234567"},
    {"shortest", "+12", "+12"},
    {"longest", "+123456789012345", "+123456789012345"},
    {"one digit too long", "+1234567890123456", NULL},
    {"one digit", "+1", NULL},
    {"only a plus", "+", NULL},
    {"empty", "", NULL},
    {"no plus", "15551234567", NULL},
    {"double zero", "0015551234567", NULL},
    {"country code 0", "+05551234567", NULL},
    {"plus inside", "+1555+1234567", NULL},
    {"letters", "+1555CALLME", NULL},
    {"tab", "+1555\t1234567", NULL},
    {"extension", "+15551234567x1", NULL},
    {"other digits", "+1555\xd9\xa1", NULL},
};

START_TEST(test_phone_normalise)
{
    struct ma_span out = MA_SPAN_NULL;
    int r = ma_phone_normalise(f.arena, ma_span_str(phones[_i].in), &out);
    ck_assert_msg(r == (phones[_i].want ? MA_OK : MA_E_PARSE), "%s: %s", phones[_i].name, ma_err_name(r));
    if (phones[_i].want)
        T_STR(out, phones[_i].want);
}
END_TEST

/* --- messages per hour --- */

START_TEST(test_message_bucket)
{
    enum ma_factor type = _i ? MA_FACTOR_PHONE : MA_FACTOR_EMAIL;
    const struct ma_span address = _i ? MA_LIT("+15551234567") : MA_LIT("new@example.com");
    const struct ma_span other = _i ? MA_LIT("+15551234568") : MA_LIT("other@example.com");
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    f.conf->rate_limit.email_per_hour = f.conf->rate_limit.sms_per_hour = 2;
    T_OK(MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, address, false, &e)));
    T_OK(MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, address, _i, &e))); /* a call counts as an SMS */
    T_PROBLEM(&f, 429, "Too many messages to this user or address; try again later.",
              MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, address, false, &e)));
    ck_assert_str_eq(ma_fix_header(ctx, "Retry-After"), "1800");
    ck_assert_uint_eq(letters(), 2);
    (void)ma_fix_again(&f);
    ck_assert_str_eq(list(), _i ? "phone-" : "email-");
    as(MA_FIX_BOB, "spa"); /* each user has a bucket of their own, and each address */
    T_PROBLEM(&f, 429, NULL, MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, address, false, &e)));
    T_OK(MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, other, false, &e)));
    as(MA_FIX_ALICE, "spa");
    ma_fix_advance(&f, HOUR / 2);
    T_OK(MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, address, false, &e)));
    T_PROBLEM(&f, 429, NULL, MA_FIX_WRITE(&f, ma_enrol_otp(ctx, type, address, false, &e)));
}
END_TEST

/* --- which types --- */

START_TEST(test_factor_off)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    ma_fix_apply(&f, "{\"factors\":{\"totp\":false,\"email\":false,\"phone\":false,\"recovery-code\":false,"
                     "\"password\":false,\"passkey\":false,\"webauthn-platform\":false,"
                     "\"webauthn-roaming\":false,\"push-notification\":false}}");
    as(MA_FIX_ALICE, "spa");
    T_PROBLEM(&f, 400, "unsupported_challenge_type", MA_FIX_WRITE(&f, ma_enrol_push(ctx, false, &e)));
    T_PROBLEM(&f, 400, "unsupported_challenge_type", MA_FIX_WRITE(&f, ma_enrol_totp(ctx, &e)));
    T_PROBLEM(&f, 400, "unsupported_challenge_type", MA_FIX_WRITE(&f, ma_enrol_recovery(ctx, &e)));
    T_PROBLEM(&f, 400, "unsupported_challenge_type",
              MA_FIX_WRITE(&f, ma_enrol_otp(ctx, MA_FACTOR_EMAIL, MA_LIT("a@b.example"), false, &e)));
    T_PROBLEM(&f, 400, "unsupported_challenge_type",
              MA_FIX_WRITE(&f, ma_enrol_otp(ctx, MA_FACTOR_PHONE, MA_LIT("+15551234567"), false, &e)));
    T_PROBLEM(&f, 400, "unsupported_challenge_type",
              MA_FIX_WRITE(&f, ma_enrol_password(ctx, MA_SPAN_NULL, MA_SPAN_NULL, &e)));
    struct ma_creation_options options;
    static const enum ma_factor types[] = {MA_FACTOR_PASSKEY, MA_FACTOR_WEBAUTHN_PLATFORM, MA_FACTOR_WEBAUTHN_ROAMING};
    for (size_t i = 0; i < MA_COUNT(types); i++) {
        struct ma_passkey_request in = {.type = types[i]};
        T_PROBLEM(&f, 400, "unsupported_challenge_type", MA_FIX_WRITE(&f, ma_enrol_webauthn(ctx, &in, &e, &options)));
    }
    ck_assert_uint_eq(ma_factors_open(ctx), 0);
    ck_assert_uint_eq(letters(), 0);
}
END_TEST

START_TEST(test_factors_open)
{
    const uint32_t keys = 1u << MA_FACTOR_WEBAUTHN_PLATFORM | 1u << MA_FACTOR_WEBAUTHN_ROAMING;
    const uint32_t others = keys | 1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_PHONE | 1u << MA_FACTOR_EMAIL |
                            1u << MA_FACTOR_RECOVERY | 1u << MA_FACTOR_PUSH;
    ck_assert_uint_eq(ma_factors_open(ctx), others | 1u << MA_FACTOR_PASSWORD | 1u << MA_FACTOR_PASSKEY);
    as(MA_FIX_CAROL, "spa");
    ck_assert_uint_eq(ma_factors_open(ctx), others);
    f.conf->delivery.email = f.conf->delivery.sms = f.conf->delivery.voice = f.conf->delivery.push = "";
    ck_assert_uint_eq(ma_factors_open(ctx), keys | 1u << MA_FACTOR_TOTP | 1u << MA_FACTOR_RECOVERY);
    for (int t = 0; t < MA_FACTOR__COUNT; t++)
        ck_assert(ma_factor_is_primary((enum ma_factor)t) == (t == MA_FACTOR_PASSWORD || t == MA_FACTOR_PASSKEY));
}
END_TEST

START_TEST(test_channel_missing)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    f.conf->delivery.voice = "";
    T_PROBLEM(&f, 400, "unsupported_challenge_type",
              MA_FIX_WRITE(&f, ma_enrol_otp(ctx, MA_FACTOR_PHONE, MA_LIT("+15551234567"), true, &e)));
    T_OK(MA_FIX_WRITE(&f, ma_enrol_otp(ctx, MA_FACTOR_PHONE, MA_LIT("+15551234567"), false, &e)));
}
END_TEST

/* --- how many --- */

START_TEST(test_limit_per_type)
{
    static const enum ma_factor types[] = {MA_FACTOR_TOTP, MA_FACTOR_EMAIL, MA_FACTOR_PHONE};
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    as(MA_FIX_BOB, "spa"); /* whose automatic e-mail does not count */
    struct pending before = start_any(_i);
    for (int i = 0; i < MA_PER_TYPE_MAX; i++) {
        char address[64];
        (void)snprintf(address, sizeof address, _i == 1 ? "%d@example.com" : "+1555000%d", i);
        plant(types[_i], _i ? address : NULL, true);
    }
    int r = _i == 0   ? MA_FIX_WRITE(&f, ma_enrol_totp(ctx, &e))
            : _i == 1 ? MA_FIX_WRITE(&f, ma_enrol_otp(ctx, types[_i], MA_LIT("x@example.com"), false, &e))
                      : MA_FIX_WRITE(&f, ma_enrol_otp(ctx, types[_i], MA_LIT("+15559999999"), false, &e));
    T_PROBLEM(&f, 400, "too_many_entities", r);
    T_PROBLEM(&f, 400, "too_many_entities", finish(&before)); /* begun when there was room */
    (void)list();
    size_t at = 0;
    while (!listed[at].confirmed || listed[at].automatic)
        at++;
    T_OK(MA_FIX_WRITE(&f, ma_methods_delete(ctx, listed[at].id)));
    T_OK(finish(&before)); /* and there is room again */
}
END_TEST

START_TEST(test_one_below_the_limit)
{
    for (int i = 0; i < MA_PER_TYPE_MAX - 1; i++)
        plant(MA_FACTOR_TOTP, NULL, true);
    struct pending p = start_totp();
    T_OK(finish(&p));
}
END_TEST

static void plant_many(int n)
{
    static const enum ma_factor types[] = {MA_FACTOR_PUSH, MA_FACTOR_PASSKEY, MA_FACTOR_WEBAUTHN_ROAMING};
    for (int i = 0; i < n; i++)
        plant(types[i % 3], NULL, true);
}

/* Bob: the automatic e-mail takes one of the twenty places. */
START_TEST(test_limit_in_all)
{
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    as(_i ? MA_FIX_BOB : MA_FIX_ALICE, "spa");
    plant_many(MA_METHODS_LISTED_MAX - _i - 1);
    struct pending p = start_totp(), q = start_totp(), r = start_recovery();
    T_OK(finish(&p));
    (void)list();
    ck_assert_uint_eq(n_listed, MA_METHODS_LISTED_MAX);
    for (size_t i = 0; i < n_listed; i++)
        ck_assert(listed[i].confirmed);
    T_PROBLEM(&f, 400, "too_many_entities", finish(&q));
    T_PROBLEM(&f, 400, "too_many_entities", finish(&r));
    T_PROBLEM(&f, 400, "too_many_entities", MA_FIX_WRITE(&f, ma_enrol_totp(ctx, &e)));
    T_PROBLEM(&f, 400, "too_many_entities", MA_FIX_WRITE(&f, ma_enrol_recovery(ctx, &e)));
}
END_TEST

START_TEST(test_full_house_changes_its_recovery_code)
{
    struct pending first = start_recovery();
    T_OK(finish(&first));
    plant_many(MA_METHODS_LISTED_MAX - 1);
    struct pending second = start_recovery();
    T_OK(finish(&second));
    (void)list();
    ck_assert_uint_eq(n_listed, MA_METHODS_LISTED_MAX);
}
END_TEST

START_TEST(test_pending_cap)
{
    struct pending p[MA_PENDING_MAX + 2];
    for (int i = 0; i < MA_PENDING_MAX + 2; i++) {
        ma_fix_advance(&f, 1);
        p[i] = start_totp();
    }
    (void)list();
    ck_assert_uint_eq(n_listed, MA_PENDING_MAX);
    T_STR(listed[0].id, p[2].id);
    T_PROBLEM(&f, 404, NO_METHOD, finish(&p[0]));
    T_PROBLEM(&f, 404, NO_METHOD, finish(&p[1]));
    T_OK(finish(&p[2]));
    T_OK(finish(&p[MA_PENDING_MAX + 1]));
}
END_TEST

START_TEST(test_pending_may_be_hidden)
{
    f.conf->enrollment.list_unconfirmed = false;
    struct pending p = start_totp();
    ck_assert_str_eq(list(), "");
    T_OK(finish(&p));
    ck_assert_str_eq(list(), "totp+");
}
END_TEST

START_TEST(test_order)
{
    plant(MA_FACTOR_TOTP, NULL, true);
    ma_fix_advance(&f, 1000);
    plant(MA_FACTOR_PUSH, NULL, true);
    plant(MA_FACTOR_EMAIL, "a@b.example", true); /* at the same time: by id */
    ma_fix_advance(&f, 1000);
    (void)start_recovery();
    ck_assert_str_eq(list(), "totp+ email+ push-notification+ recovery-code-");
    as(MA_FIX_BOB, "spa"); /* the automatic one is as old as the user */
    plant(MA_FACTOR_TOTP, NULL, true);
    ck_assert_str_eq(list(), "email* totp+");
}
END_TEST

/* --- recovery code --- */

START_TEST(test_recovery)
{
    struct pending first = start_recovery();
    ck_assert_uint_eq(strlen(first.secret), 24);
    ck_assert_uint_eq(strspn(first.secret, MA_ALNUM36), 24);
    T_OK(finish(&first));
    struct pending second = start_recovery();
    ck_assert_str_ne(first.secret, second.secret);
    ck_assert_str_eq(list(), "recovery-code+ recovery-code-"); /* the old one stands until the new one is confirmed */
    T_STR(listed[0].id, first.id);
    T_OK(finish(&second));
    ck_assert_str_eq(list(), "recovery-code+");
    T_STR(listed[0].id, second.id);
    T_PROBLEM(&f, 400, SESSION_TEXT, finish(&second));
}
END_TEST

START_TEST(test_recovery_pending_replaced)
{
    struct pending first = start_recovery(), second = start_recovery();
    ck_assert_str_eq(list(), "recovery-code-");
    T_PROBLEM(&f, 404, NO_METHOD, finish(&first));
    T_OK(finish(&second));
}
END_TEST

START_TEST(test_recovery_needs_another)
{
    static const char text[] = "A recovery code needs another enrolled factor first.";
    struct ma_enrolled e = {.id = MA_SPAN_NULL};
    f.conf->enrollment.recovery_requires_factor = true;
    T_PROBLEM(&f, 400, text, MA_FIX_WRITE(&f, ma_enrol_recovery(ctx, &e)));
    struct pending p = start_totp();
    T_PROBLEM(&f, 400, text, MA_FIX_WRITE(&f, ma_enrol_recovery(ctx, &e))); /* pending does not count */
    T_OK(finish(&p));
    T_OK(MA_FIX_WRITE(&f, ma_enrol_recovery(ctx, &e)));
    as(MA_FIX_BOB, "spa"); /* a verified e-mail does */
    T_OK(MA_FIX_WRITE(&f, ma_enrol_recovery(ctx, &e)));
}
END_TEST

/* --- the automatic e-mail --- */

START_TEST(test_automatic)
{
    as(MA_FIX_BOB, "spa");
    ck_assert_str_eq(list(), "email*");
    char id[MA_METHOD_ID_MAX];
    (void)snprintf(id, sizeof id, "%s", (const char *)listed[0].id.p);
    T_STR(listed[0].address, "bob@example.com");
    ck_assert_uint_eq(strlen(id), strlen("email|dev_") + 16);
    as(MA_FIX_BOB, "other");
    T_OK(ma_methods_find(ctx, ma_span_str(id), &view)); /* stable */
    T_PROBLEM(&f, 409, NULL, MA_FIX_WRITE(&f, ma_methods_delete(ctx, ma_span_str(id))));
    ma_fix_advance(&f, 1);
    struct pending p = start_otp(MA_FACTOR_EMAIL, "bob@example.com");
    ck_assert_str_eq(list(), "email* email-");
    T_OK(finish(&p));
    ck_assert_str_eq(list(), "email+"); /* the enrolled one stands for it now */
    T_OK(MA_FIX_WRITE(&f, ma_methods_delete(ctx, ma_span_str(p.id))));
    ck_assert_str_eq(list(), "email*");
    as(MA_FIX_ALICE, "spa");
    T_IS(MA_E_NOTFOUND, ma_methods_find(ctx, ma_span_str(id), &view));
}
END_TEST

START_TEST(test_automatic_in_another_spelling)
{
    ma_fix_apply(&f, "{\"users\":[{\"user_id\":\"auth0|bob\",\"email\":\"bob@EXAMPLE.com\"}]}");
    as(MA_FIX_BOB, "spa");
    ck_assert_str_eq(list(), "email*");
    struct pending p = start_otp(MA_FACTOR_EMAIL, "bob@example.com");
    T_OK(finish(&p));
    ck_assert_str_eq(list(), "email+");
}
END_TEST

START_TEST(test_no_automatic)
{
    ck_assert_str_eq(list(), ""); /* alice's address is not verified */
    as(MA_FIX_BOB, "spa");
    f.conf->enrollment.auto_email_factor = false;
    ck_assert_str_eq(list(), "");
    f.conf->enrollment.auto_email_factor = true;
    ma_fix_apply(&f, "{\"factors\":{\"email\":false}}");
    as(MA_FIX_BOB, "spa");
    ck_assert_str_eq(list(), "");
}
END_TEST

/* --- renaming --- */

#define NAME_100 "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
static const struct {
    const char *name, *in, *want; /* want NULL: refused at /name */
} names[] = {
    {"plain", "My phone", "My phone"},
    {"trimmed", "  My phone \t", "My phone"},
    {"UTF-8", "T\xc3\xa9l\xc3\xa9phone \xf0\x9f\x93\xb1", "T\xc3\xa9l\xc3\xa9phone \xf0\x9f\x93\xb1"},
    {"the longest", NAME_100, NAME_100},
    {"the longest, blanks around", " " NAME_100 " ", NAME_100},
    {"one too long", NAME_100 "0", NULL},
    {"empty", "", NULL},
    {"blank", "   ", NULL},
    {"control", "a\nb", NULL},
    {"DEL", "a\x7f", NULL},
    {"C1 control", "a\xc2\x85", NULL},
};

static int rename_to(const char *id, const char *name)
{
    struct ma_method_change c = {.has_name = true, .name = ma_span_str(name)};
    return MA_FIX_WRITE(&f, ma_methods_update(ctx, ma_span_str(id), &c, &view));
}

START_TEST(test_rename)
{
    struct pending p = start_totp();
    T_OK(finish(&p));
    int r = rename_to(p.id, names[_i].in);
    if (!names[_i].want) {
        ma_fix_expect_problem(&f, r, 400, "Invalid request payload input", names[_i].name);
        ck_assert(ma_fix_body_has(&f, "\"pointer\":\"/name\""));
        return;
    }
    ck_assert_msg(r == MA_OK, "%s: %s", names[_i].name, ma_err_name(r));
    T_STR(view.name, names[_i].want);
    T_OK(ma_methods_find(ctx, ma_span_str(p.id), &view));
    T_STR(view.name, names[_i].want);
}
END_TEST

START_TEST(test_rename_long_name_in_units)
{
    char text[4 * 51 + 1]; /* each counts as two UTF-16 units */
    for (size_t i = 0; i < 51; i++)
        memcpy(text + 4 * i, "\xf0\x9f\x93\xb1", 5);
    struct pending p = start_totp();
    T_OK(finish(&p));
    T_PROBLEM(&f, 400, NULL, rename_to(p.id, text));
    text[4 * 50] = 0;
    T_OK(rename_to(p.id, text));
}
END_TEST

START_TEST(test_rename_refused)
{
    struct pending p = start_recovery(), t = start_totp();
    T_PROBLEM(&f, 400, "The authentication method is not confirmed.", rename_to(t.id, "x"));
    T_OK(finish(&p));
    T_PROBLEM(&f, 400, NULL, rename_to(p.id, "x")); /* recovery codes have no name */
    ck_assert(ma_fix_body_has(&f, "\"pointer\":\"/name\""));
    T_PROBLEM(&f, 404, NO_METHOD, rename_to("totp|dev_0000000000000000", "x"));
    ma_fix_give_password(&f, "Correct-horse-7");
    (void)list();
    for (size_t i = 0; i < n_listed; i++) {
        char id[64];
        (void)snprintf(id, sizeof id, "%s", (const char *)listed[i].id.p);
        if (listed[i].type == MA_FACTOR_PASSWORD)
            T_PROBLEM(&f, 400, NULL, rename_to(id, "x"));
    }
    as(MA_FIX_BOB, "spa");
    T_PROBLEM(&f, 404, NO_METHOD, rename_to(p.id, "x"));
    (void)list();
    T_PROBLEM(&f, 400, NULL, rename_to((const char *)listed[0].id.p, "x")); /* automatic */
}
END_TEST

START_TEST(test_update_voice)
{
    struct ma_method_change c = {.has_voice = true, .voice = true};
    struct pending p = start_otp(MA_FACTOR_PHONE, "+15551234567"), t = start_totp();
    T_OK(finish(&p));
    T_OK(finish(&t));
    T_OK(MA_FIX_WRITE(&f, ma_methods_update(ctx, ma_span_str(p.id), &c, &view)));
    ck_assert(view.voice);
    T_OK(ma_methods_find(ctx, ma_span_str(p.id), &view));
    ck_assert(view.voice && !view.name.p);
    T_PROBLEM(&f, 400, NULL, MA_FIX_WRITE(&f, ma_methods_update(ctx, ma_span_str(t.id), &c, &view)));
    ck_assert(ma_fix_body_has(&f, "\"pointer\":\"/preferred_authentication_method\""));
    c = (struct ma_method_change){.has_name = true, .name = MA_LIT("Work"), .has_voice = true};
    T_OK(MA_FIX_WRITE(&f, ma_methods_update(ctx, ma_span_str(p.id), &c, &view)));
    T_OK(ma_methods_find(ctx, ma_span_str(p.id), &view));
    ck_assert(!view.voice && ma_span_eq_str(view.name, "Work"));
}
END_TEST

START_TEST(test_update_nothing)
{
    const struct ma_method_change none = {.has_name = false};
    struct pending p = start_totp();
    T_PROBLEM(&f, 400, "The authentication method is not confirmed.",
              MA_FIX_WRITE(&f, ma_methods_update(ctx, ma_span_str(p.id), &none, &view)));
    T_OK(finish(&p));
    T_OK(MA_FIX_WRITE(&f, ma_methods_update(ctx, ma_span_str(p.id), &none, &view)));
    T_STR(view.id, p.id);
    ck_assert(!ctx->user_changed);
}
END_TEST

/* --- deleting --- */

static int drop(const char *id)
{
    return MA_FIX_WRITE(&f, ma_methods_delete(ctx, ma_span_str(id)));
}

START_TEST(test_delete)
{
    struct pending p = start_typed(_i);
    T_OK(finish(&p));
    as(MA_FIX_BOB, "spa");
    T_PROBLEM(&f, 404, NO_METHOD, drop(p.id));
    as(MA_FIX_ALICE, "other"); /* methods are the user's, not the client's */
    T_OK(drop(p.id));
    ck_assert(ctx->user_changed);
    ck_assert_str_eq(list(), "");
    T_PROBLEM(&f, 404, NO_METHOD, drop(p.id));
    T_PROBLEM(&f, 404, NO_METHOD, drop("rubbish"));
}
END_TEST

START_TEST(test_delete_pending)
{
    struct pending p = start_totp();
    T_OK(drop(p.id));
    T_PROBLEM(&f, 404, NO_METHOD, finish(&p));
    ck_assert_str_eq(list(), "");
}
END_TEST

START_TEST(test_last_primary)
{
    ma_fix_give_password(&f, "Correct-horse-7");
    struct pending p = start_totp();
    T_OK(finish(&p));
    T_OK(ma_methods_list(ctx, listed, &n_listed));
    char id[64] = "";
    for (size_t i = 0; i < n_listed; i++)
        if (listed[i].type == MA_FACTOR_PASSWORD)
            (void)snprintf(id, sizeof id, "%s", (const char *)listed[i].id.p);
    ck_assert_str_eq(id, "password|YXV0aDB8YWxpY2U");
    T_PROBLEM(&f, 409, "This is the last method the user can log in with.", drop(id));
    T_OK(drop(p.id)); /* a second factor is none of those */
    f.conf->enrollment.protect_last_primary = false;
    T_OK(drop(id));
    ck_assert_str_eq(list(), "");
    f.conf->enrollment.protect_last_primary = true;
    ma_fix_give_password(&f, "Correct-horse-7");
    plant(MA_FACTOR_PASSKEY, NULL, true); /* another way to log in */
    T_OK(drop(id));
    ck_assert_str_eq(list(), "passkey+");
    T_PROBLEM(&f, 409, NULL, drop((const char *)listed[0].id.p));
}
END_TEST

/* --- audit --- */

static struct ma_audit_row last_audit(size_t *ret_n)
{
    static struct ma_audit_row rows[32];
    T_OK(ma_audit_list(ctx->db, f.arena, ctx->who.user_id, 0, 0, rows, MA_COUNT(rows), ret_n));
    return *ret_n ? rows[*ret_n - 1] : (struct ma_audit_row){.id = 0};
}

START_TEST(test_audit)
{
    size_t n = 0;
    struct pending p = start_totp();
    T_OK(finish(&p));
    struct ma_audit_row row = last_audit(&n);
    ck_assert_uint_eq(n, 1);
    T_STR(row.type, "my_account_authentication_method_succeeded");
    T_STR(row.operation, "verify");
    T_STR(row.method_id, p.id);
    T_STR(row.client_id, "spa");
    T_OK(rename_to(p.id, "x"));
    T_STR(last_audit(&n).operation, "update");
    T_OK(drop(p.id));
    T_STR(last_audit(&n).operation, "delete");
    ck_assert_uint_eq(n, 3);
}
END_TEST

static int fail_to_delete(const char *id)
{
    ma_audit_on_failure(ctx, "delete", "totp", ma_span_str(id));
    return ma_methods_delete(ctx, ma_span_str(id));
}

START_TEST(test_audit_of_failures)
{
    static char long_id[500];
    size_t n = 0;
    memset(long_id, 'x', sizeof long_id - 1);
    ctx->req.user_agent = MA_LIT("agent \xff/1");
    T_PROBLEM(&f, 404, NULL, MA_FIX_WRITE(&f, fail_to_delete(long_id)));
    struct ma_audit_row row = last_audit(&n);
    ck_assert_uint_eq(n, 1);
    T_STR(row.type, "my_account_authentication_method_failed");
    T_STR(row.user_agent, "agent ");
    ck_assert_uint_le(row.method_id.n, MA_METHOD_ID_MAX);
    ck_assert_ptr_nonnull(memmem(row.detail.p, row.detail.n, "A0E-404-0002", 12));
}
END_TEST

static int wrong_code(const struct pending *p)
{
    ma_audit_on_failure(ctx, "verify", "totp", ma_span_str(p->id));
    return ma_confirm(ctx, ma_span_str(p->id), ma_span_str(p->session), MA_LIT("not-it"), &view);
}

START_TEST(test_audit_of_a_wrong_code)
{
    size_t n = 0;
    struct pending p = start_totp();
    T_PROBLEM(&f, 400, "invalid_code", MA_FIX_WRITE(&f, wrong_code(&p)));
    struct ma_audit_row row = last_audit(&n);
    ck_assert_uint_eq(n, 1); /* once, although the writer keeps the step */
    T_STR(row.operation, "verify");
    ck_assert_ptr_nonnull(memmem(row.detail.p, row.detail.n, "invalid_code", 12));
    ck_assert_ptr_null(memmem(row.detail.p, row.detail.n, "not-it", 6));
    ck_assert_ptr_null(memmem(row.detail.p, row.detail.n, p.session, MA_SESSION_LEN));
}
END_TEST

static TCase *enrolling(void)
{
    TCase *tc = tcase_create("enrolling");
    tcase_add_test(tc, test_totp);
    tcase_add_loop_test(tc, test_totp_skew, 0, 5);
    tcase_add_test(tc, test_code_is_trimmed);
    tcase_add_test(tc, test_confirm_twice);
    tcase_add_loop_test(tc, test_wrong_codes_end_a_session, 0, 3);
    tcase_add_loop_test(tc, test_one_try_less, 0, 3);
    tcase_add_test(tc, test_failure_bucket);
    tcase_add_test(tc, test_failure_bucket_off);
    tcase_add_loop_test(tc, test_session_binding, 0, (int)MA_COUNT(bindings));
    tcase_add_loop_test(tc, test_odd_ids, 0, 8);
    tcase_add_test(tc, test_password_session_confirms_no_factor);
    tcase_add_loop_test(tc, test_expiry, 0, 4);
    tcase_add_test(tc, test_expired_is_not_listed);
    tcase_add_test(tc, test_email);
    tcase_add_loop_test(tc, test_phone, 0, 2);
    tcase_add_test(tc, test_code_of_another_session);
    tcase_add_loop_test(tc, test_duplicate_address, 0, 2);
    tcase_add_test(tc, test_pending_duplicate_gives_way);
    tcase_add_test(tc, test_address_taken_meanwhile);
    tcase_add_loop_test(tc, test_email_normalise, 0, (int)MA_COUNT(emails));
    tcase_add_test(tc, test_email_length);
    tcase_add_loop_test(tc, test_phone_normalise, 0, (int)MA_COUNT(phones));
    tcase_add_loop_test(tc, test_message_bucket, 0, 2);
    return tc;
}

static TCase *limits_and_lists(void)
{
    TCase *tc = tcase_create("limits");
    tcase_add_test(tc, test_factor_off);
    tcase_add_test(tc, test_factors_open);
    tcase_add_test(tc, test_channel_missing);
    tcase_add_loop_test(tc, test_limit_per_type, 0, 3);
    tcase_add_test(tc, test_one_below_the_limit);
    tcase_add_loop_test(tc, test_limit_in_all, 0, 2);
    tcase_add_test(tc, test_full_house_changes_its_recovery_code);
    tcase_add_test(tc, test_pending_cap);
    tcase_add_test(tc, test_pending_may_be_hidden);
    tcase_add_test(tc, test_order);
    tcase_add_test(tc, test_recovery);
    tcase_add_test(tc, test_recovery_pending_replaced);
    tcase_add_test(tc, test_recovery_needs_another);
    tcase_add_test(tc, test_automatic);
    tcase_add_test(tc, test_automatic_in_another_spelling);
    tcase_add_test(tc, test_no_automatic);
    return tc;
}

static TCase *editing(void)
{
    TCase *tc = tcase_create("editing");
    tcase_add_loop_test(tc, test_rename, 0, (int)MA_COUNT(names));
    tcase_add_test(tc, test_rename_long_name_in_units);
    tcase_add_test(tc, test_rename_refused);
    tcase_add_test(tc, test_update_voice);
    tcase_add_test(tc, test_update_nothing);
    tcase_add_loop_test(tc, test_delete, 0, 4);
    tcase_add_test(tc, test_delete_pending);
    tcase_add_test(tc, test_last_primary);
    tcase_add_test(tc, test_audit);
    tcase_add_test(tc, test_audit_of_failures);
    tcase_add_test(tc, test_audit_of_a_wrong_code);
    return tc;
}

int main(void)
{
    Suite *s = suite_create("methods");
    TCase *cases[] = {enrolling(), limits_and_lists(), editing()};
    for (size_t i = 0; i < MA_COUNT(cases); i++) {
        tcase_add_checked_fixture(cases[i], setup, teardown);
        suite_add_tcase(s, cases[i]);
    }
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
