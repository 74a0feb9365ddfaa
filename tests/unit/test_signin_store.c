/* SPDX-License-Identifier: Apache-2.0
 * What sign-in keeps: users by what they type, credentials in use, browser sessions, flows and challenges.
 */
#include "ma/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../src/store/int.h"
#include "../support/fixture.h"

#define NOW MA_FIX_START
#define ENDS (NOW + 300000) /* when the rows of these tests lapse */
#define ALICE MA_LIT(MA_FIX_ALICE)
#define BOB MA_LIT(MA_FIX_BOB)
#define NOBODY MA_LIT("auth0|nobody")
#define MANY 8

static struct ma_fix f;
static struct ma_db *db;
static struct ma_arena *arena;

static void setup(void)
{
    ma_fix_open(&f, "");
    db = f.app.writer;
    arena = f.arena;
    T_OK(ma_db_begin(db));
}

static void teardown(void)
{
    ma_db_rollback(db);
    ma_fix_close(&f);
}

#define T_NULL(span) ck_assert_msg(!(span).p, "%s is not NULL", #span)
#define T_SAME(a, b) ck_assert_msg(ma_span_eq((a), (b)), "%s is not %s", #a, #b)

/* What a 32-byte MAC says does not matter here; that it is its own does. */
static struct ma_span mac(char kind, int n)
{
    uint8_t bytes[32] = {(uint8_t)kind, 0, 0xff, (uint8_t)n};
    return ma_arena_dup(arena, ma_span_of(bytes, sizeof bytes));
}

/* --- plans --- */

static const struct {
    const struct ma_sql *q;
    const char *plan;
} plans[] = {
    {&ma_q_USER_BY_EMAIL, "SEARCH users USING INDEX users_email (<expr>=?)\n"},
    {&ma_q_USER_BY_PHONE, "SEARCH users USING INDEX users_phone (phone_number=?)\n"},
    {&ma_q_SESSION_GET, "SEARCH sessions USING PRIMARY KEY (id=?)\n"},
    {&ma_q_FLOW_UPDATE, "SEARCH flows USING PRIMARY KEY (token_mac=?)\n"},
    {&ma_q_CHALLENGE_FAIL, "SEARCH challenges USING PRIMARY KEY (id_mac=?)\n"},
    {&ma_q_CODE_USE, "SEARCH codes USING PRIMARY KEY (code_mac=?)\n"},
    {&ma_q_FAMILY_GET, "SEARCH families USING PRIMARY KEY (id=?)\n"},
    {&ma_q_FAMILY_ROTATE_BACK, "SEARCH families USING PRIMARY KEY (id=?)\n"},
    {&ma_q_FAMILY_ROTATE, "SEARCH families USING PRIMARY KEY (id=?)\n"},
    {&ma_q_FAMILY_REVOKE_SESSION, "SEARCH families USING INDEX families_age (user_id=? AND revoked_at=?)\n"},
    {&ma_q_FAMILY_REVOKE_USER, "SEARCH families USING COVERING INDEX families_user (user_id=? AND revoked_at=?)\n"},
    {&ma_q_CONSENT_LIST, "SEARCH consents USING INDEX consents_user (user_id=?)\n"},
    {&ma_q_CONSENT_GET, "SEARCH consents USING PRIMARY KEY (user_id=? AND id=?)\n"},
};

START_TEST(test_plan)
{
    struct ma_span plan;
    T_OK(ma_db_explain(db, plans[_i].q, arena, &plan));
    ck_assert_msg(ma_span_eq_str(plan, plans[_i].plan), "%s\n%.*s", plans[_i].q->text, (int)plan.n, plan.p);
}
END_TEST

/* --- users by what they type --- */

static void add_user(const char *id, const char *email, const char *phone, const char *connection)
{
    struct ma_user u = {
        .user_id = ma_span_str(id),
        .email = email ? ma_span_str(email) : MA_SPAN_NULL,
        .phone_number = phone ? ma_span_str(phone) : MA_SPAN_NULL,
        .connection = connection ? ma_span_str(connection) : MA_SPAN_NULL,
        .created_at = NOW,
        .updated_at = NOW,
    };
    T_OK(ma_user_insert(db, &u));
}

static void add_people(void)
{
    add_user("auth0|m2", "Mia@Example.com", "+15550001", "first");
    add_user("auth0|m1", "mia@example.COM", "+15550001", "second");
    add_user("google|m0", "mia@example.com", "+15550001", NULL); /* signs in elsewhere */
    add_user("auth0|x1", "x_ia@example.com", "+15550002", "first");
    add_user("auth0|x2", "ÉVE@example.com", NULL, "first");
    add_user("auth0|x3", "", "", "first");
    add_user("auth0|x4", NULL, NULL, "first");
}

static const struct {
    const char *name, *typed, *connection;
    bool phone;
    const char *found; /* user ids, each followed by a blank */
} lookups[] = {
    {"e-mail as stored", "Mia@Example.com", NULL, false, "auth0|m1 auth0|m2 "},
    {"e-mail, lower case", "mia@example.com", NULL, false, "auth0|m1 auth0|m2 "},
    {"e-mail, upper case", "MIA@EXAMPLE.COM", NULL, false, "auth0|m1 auth0|m2 "},
    {"e-mail, one connection", "mia@example.com", "first", false, "auth0|m2 "},
    {"e-mail, the other connection", "mia@example.com", "second", false, "auth0|m1 "},
    {"e-mail, no such connection", "mia@example.com", "third", false, ""},
    {"connections keep their case", "mia@example.com", "First", false, ""},
    {"empty connection", "mia@example.com", "", false, ""},
    {"no pattern: %", "%", NULL, false, ""},
    {"no pattern: _", "_ia@example.com", NULL, false, ""},
    {"underscore", "X_ia@example.com", NULL, false, "auth0|x1 "},
    {"beyond ASCII, same", "Éve@example.com", NULL, false, "auth0|x2 "},
    {"beyond ASCII, other case", "éve@example.com", NULL, false, ""},
    {"part of an e-mail", "mia@example.co", NULL, false, ""},
    {"blank behind", "mia@example.com ", NULL, false, ""},
    {"empty e-mail", "", NULL, false, "auth0|x3 "},
    {"no e-mail", NULL, NULL, false, ""},
    {"a phone number is no e-mail", "+15550001", NULL, false, ""},
    {"phone", "+15550001", NULL, true, "auth0|m1 auth0|m2 "},
    {"phone, one connection", "+15550001", "second", true, "auth0|m1 "},
    {"phone, no such connection", "+15550001", "third", true, ""},
    {"phone, unknown", "+1555000", NULL, true, ""},
    {"no phone", NULL, NULL, true, ""},
    {"an e-mail is no phone number", "mia@example.com", NULL, true, ""},
};

START_TEST(test_user_lookup)
{
    struct ma_user v[MANY];
    size_t n = 99;
    char found[128] = "";
    struct ma_span typed = lookups[_i].typed ? ma_span_str(lookups[_i].typed) : MA_SPAN_NULL;
    struct ma_span connection = lookups[_i].connection ? ma_span_str(lookups[_i].connection) : MA_SPAN_NULL;
    add_people();
    T_OK((lookups[_i].phone ? ma_user_by_phone : ma_user_by_email)(db, arena, typed, connection, v, MANY, &n));
    for (size_t i = 0, at = 0; i < n; i++)
        at += (size_t)snprintf(found + at, sizeof found - at, "%.*s ", (int)v[i].user_id.n, v[i].user_id.p);
    ck_assert_msg(strcmp(found, lookups[_i].found) == 0, "%s: %s", lookups[_i].name, found);
}
END_TEST

START_TEST(test_user_lookup_row_and_cap)
{
    struct ma_user v[MANY];
    size_t n = 99;
    add_people();
    T_OK(ma_user_by_email(db, arena, MA_LIT("mia@example.com"), MA_SPAN_NULL, v, 1, &n));
    ck_assert_uint_eq(n, 1);
    T_STR(v[0].user_id, "auth0|m1");
    T_STR(v[0].email, "mia@example.COM");
    T_STR(v[0].phone_number, "+15550001");
    T_STR(v[0].connection, "second");
    T_STR(v[0].roles, "[]");
    ck_assert(!v[0].blocked && !v[0].email_verified);
    ck_assert_int_eq(v[0].created_at, NOW);
    T_OK(ma_user_by_email(db, arena, MA_LIT("mia@example.com"), MA_SPAN_NULL, v, 0, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_user_by_phone(db, arena, MA_LIT("+15550001"), MA_SPAN_NULL, v, 2, &n));
    ck_assert_uint_eq(n, 2);
    v[0].connection = MA_SPAN_NULL; /* the database identity is taken away */
    T_OK(ma_user_put(db, &v[0]));
    T_OK(ma_user_by_phone(db, arena, MA_LIT("+15550001"), MA_SPAN_NULL, v, 2, &n));
    ck_assert_uint_eq(n, 1);
    T_STR(v[0].user_id, "auth0|m2");
}
END_TEST

/* --- credentials and methods in use --- */

static uint8_t handle_bytes[64] = {7, 0, 255};

static void add_credential(struct ma_span user, const char *method_id, const char *credential_id)
{
    struct ma_method m = {
        .id = ma_span_str(method_id), .type = MA_FACTOR_PASSKEY, .confirmed = true, .created_at = NOW};
    T_OK(ma_method_insert(db, user, &m));
    struct ma_credential c = {.method_id = m.id,
                              .credential_id = ma_span_str(credential_id),
                              .public_key = MA_LIT("\xa0\x01"),
                              .alg = -7,
                              .sign_count = 5,
                              .aaguid = {0xab, 0, 0xff},
                              .be = true,
                              .attestation = MA_LIT("none"),
                              .rp_id = MA_LIT("example.com"),
                              .user_handle = ma_span_of(handle_bytes, sizeof handle_bytes)};
    T_OK(ma_credential_insert(db, user, &c));
}

static struct ma_credential found_credential(const char *credential_id, struct ma_span owner)
{
    struct ma_credential got = {0};
    struct ma_span user = MA_SPAN_NULL;
    T_OK(ma_credential_find(db, arena, ma_span_str(credential_id), &got, &user));
    T_SAME(user, owner);
    return got;
}

START_TEST(test_credential_find)
{
    struct ma_credential got;
    struct ma_span user;
    add_credential(ALICE, "passkey|dev_1", "id-1");
    add_credential(BOB, "passkey|dev_1", "id-2");
    got = found_credential("id-1", ALICE);
    T_STR(got.method_id, "passkey|dev_1");
    T_STR(got.credential_id, "id-1");
    T_STR(got.public_key, "\xa0\x01");
    ck_assert_int_eq(got.alg, -7);
    ck_assert_int_eq(got.sign_count, 5);
    ck_assert(got.be && !got.bs && !got.uv);
    ck_assert_uint_eq(got.aaguid[0], 0xab);
    T_STR(got.rp_id, "example.com");
    T_SAME(got.user_handle, ma_span_of(handle_bytes, sizeof handle_bytes));
    (void)found_credential("id-2", BOB);
    T_IS(MA_E_NOTFOUND, ma_credential_find(db, arena, MA_LIT("id-3"), &got, &user));
    T_IS(MA_E_NOTFOUND, ma_credential_find(db, arena, MA_LIT("ID-1"), &got, &user));
    T_IS(MA_E_NOTFOUND, ma_credential_find(db, arena, MA_LIT(""), &got, &user));
    T_IS(MA_E_NOTFOUND, ma_credential_find(db, arena, MA_SPAN_NULL, &got, &user));
    T_OK(ma_method_delete(db, ALICE, MA_LIT("passkey|dev_1")));
    T_IS(MA_E_NOTFOUND, ma_credential_find(db, arena, MA_LIT("id-1"), &got, &user));
    (void)found_credential("id-2", BOB);
}
END_TEST

START_TEST(test_credential_used)
{
    struct ma_span id = MA_LIT("passkey|dev_1");
    add_credential(ALICE, "passkey|dev_1", "id-1");
    add_credential(BOB, "passkey|dev_1", "id-2");
    T_OK(ma_credential_used(db, ALICE, id, 5, 6, true));
    struct ma_credential got = found_credential("id-1", ALICE);
    ck_assert_int_eq(got.sign_count, 6);
    ck_assert(got.bs && got.be && !got.uv);
    T_IS(MA_E_CONFLICT, ma_credential_used(db, ALICE, id, 5, 7, false)); /* another assertion was first */
    T_IS(MA_E_CONFLICT, ma_credential_used(db, NOBODY, id, 6, 7, false));
    T_IS(MA_E_CONFLICT, ma_credential_used(db, ALICE, MA_LIT("passkey|dev_2"), 6, 7, false));
    T_IS(MA_E_CONFLICT, ma_credential_used(db, ALICE, id, 6, -1, false));
    got = found_credential("id-1", ALICE);
    ck_assert_int_eq(got.sign_count, 6);
    ck_assert(got.bs);
    T_OK(ma_credential_used(db, ALICE, id, 6, 6, false)); /* synchronised passkeys stay at 0 for ever */
    ck_assert(!found_credential("id-1", ALICE).bs);
    got = found_credential("id-2", BOB);
    ck_assert_int_eq(got.sign_count, 5);
    ck_assert(!got.bs);
}
END_TEST

START_TEST(test_user_by_handle)
{
    struct ma_span user = MA_SPAN_NULL, handle = ma_span_of(handle_bytes, sizeof handle_bytes);
    T_IS(MA_E_NOTFOUND, ma_user_by_handle(db, arena, handle, &user));
    T_OK(ma_user_handle_insert(db, ALICE, handle, NOW));
    T_OK(ma_user_by_handle(db, arena, handle, &user));
    T_SAME(user, ALICE);
    T_IS(MA_E_NOTFOUND, ma_user_by_handle(db, arena, ma_span_of(handle_bytes, 63), &user));
    T_IS(MA_E_NOTFOUND, ma_user_by_handle(db, arena, MA_SPAN_NULL, &user));
    T_OK(ma_user_delete(db, ALICE));
    T_IS(MA_E_NOTFOUND, ma_user_by_handle(db, arena, handle, &user));
}
END_TEST

START_TEST(test_method_used)
{
    struct ma_method got, pending = {.id = MA_LIT("email|dev_2"), .type = MA_FACTOR_EMAIL, .expires_at = ENDS};
    add_credential(ALICE, "passkey|dev_1", "id-1");
    add_credential(BOB, "passkey|dev_1", "id-2");
    T_OK(ma_method_insert(db, ALICE, &pending));
    T_OK(ma_method_used(db, ALICE, MA_LIT("passkey|dev_1"), NOW + 7, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_OK(ma_method_get(db, arena, ALICE, MA_LIT("passkey|dev_1"), NOW, &got));
    ck_assert_int_eq(got.last_auth_at, NOW + 7);
    ck_assert_int_eq(got.created_at, NOW);
    T_OK(ma_method_get(db, arena, BOB, MA_LIT("passkey|dev_1"), NOW, &got));
    ck_assert_int_eq(got.last_auth_at, 0);
    T_IS(MA_E_CONFLICT, ma_method_used(db, ALICE, pending.id, NOW, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_IS(MA_E_CONFLICT, ma_method_used(db, BOB, pending.id, NOW, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_IS(MA_E_CONFLICT,
         ma_method_used(db, ALICE, MA_LIT("passkey|dev_3"), NOW, &(struct ma_place){MA_SPAN_NULL, MA_SPAN_NULL}));
    T_OK(ma_method_get(db, arena, ALICE, pending.id, NOW, &got));
    ck_assert(!got.confirmed && got.last_auth_at == 0);
}
END_TEST

/* --- browser sessions --- */

static struct ma_session session(struct ma_span user, int n)
{
    return (struct ma_session){
        .id = ma_span_str(ma_arena_printf(arena, "ses_%d", n)),
        .cookie_mac = mac('c', n),
        .user_id = user,
        .org_id = MA_LIT("org_1"),
        .ip = MA_LIT("2001:db8::1"),
        .user_agent = MA_LIT("Firefox"),
        .authn = {.auth_at = NOW - 20, .mfa_at = NOW - 10, .amr = MA_AMR_PWD | MA_AMR_MFA | 0x80000000u},
        .created_at = NOW - 5,
        .used_at = NOW - 4,
        .idle_at = NOW + 1000,
        .expires_at = ENDS,
    };
}

static struct ma_session add_session(struct ma_span user, int n)
{
    struct ma_session s = session(user, n);
    T_OK(ma_session_insert(db, &s));
    return s;
}

static bool has_session(struct ma_span user, int n)
{
    struct ma_session got, s = session(user, n);
    int r = ma_session_get(db, arena, user, s.id, 0, &got);
    ck_assert(r == MA_OK || r == MA_E_NOTFOUND);
    return r == MA_OK;
}

static void expect_session(const struct ma_session *got, const struct ma_session *s)
{
    T_SAME(got->id, s->id);
    T_SAME(got->cookie_mac, s->cookie_mac);
    T_SAME(got->user_id, s->user_id);
    T_SAME(got->org_id, s->org_id);
    T_SAME(got->ip, s->ip);
    T_SAME(got->user_agent, s->user_agent);
    ck_assert_int_eq(got->authn.auth_at, s->authn.auth_at);
    ck_assert_int_eq(got->authn.mfa_at, s->authn.mfa_at);
    ck_assert_uint_eq(got->authn.amr, s->authn.amr);
    ck_assert_int_eq(got->created_at, s->created_at);
    ck_assert_int_eq(got->used_at, s->used_at);
    ck_assert_int_eq(got->idle_at, s->idle_at);
    ck_assert_int_eq(got->expires_at, s->expires_at);
}

START_TEST(test_session_round_trip)
{
    struct ma_session got, s = add_session(ALICE, 1), other = add_session(BOB, 2);
    T_OK(ma_session_by_cookie(db, arena, s.cookie_mac, NOW, &got));
    expect_session(&got, &s);
    T_OK(ma_session_get(db, arena, ALICE, s.id, NOW, &got));
    expect_session(&got, &s);
    T_OK(ma_session_by_cookie(db, arena, other.cookie_mac, NOW, &got));
    expect_session(&got, &other);
    T_IS(MA_E_NOTFOUND, ma_session_get(db, arena, BOB, s.id, NOW, &got));
    T_IS(MA_E_NOTFOUND, ma_session_by_cookie(db, arena, mac('c', 3), NOW, &got));
    T_IS(MA_E_NOTFOUND, ma_session_by_cookie(db, arena, ma_span_of(s.cookie_mac.p, 31), NOW, &got));
    T_IS(MA_E_NOTFOUND, ma_session_by_cookie(db, arena, MA_SPAN_NULL, NOW, &got));
    s = session(ALICE, 4);
    s.org_id = s.ip = s.user_agent = MA_SPAN_NULL;
    s.authn = (struct ma_authn){0};
    T_OK(ma_session_insert(db, &s));
    T_OK(ma_session_get(db, arena, ALICE, s.id, NOW, &got));
    expect_session(&got, &s);
    T_NULL(got.org_id);
    T_NULL(got.ip);
    T_NULL(got.user_agent);
}
END_TEST

START_TEST(test_session_not_taken)
{
    struct ma_session s = add_session(ALICE, 1), other = session(BOB, 2);
    other.id = s.id;
    T_IS(MA_E_EXISTS, ma_session_insert(db, &other));
    other = session(BOB, 2);
    other.cookie_mac = s.cookie_mac;
    T_IS(MA_E_EXISTS, ma_session_insert(db, &other));
    other.cookie_mac = ma_span_of(s.cookie_mac.p, 31);
    T_IS(MA_E_CONFLICT, ma_session_insert(db, &other));
    other.cookie_mac = MA_SPAN_NULL;
    T_IS(MA_E_CONFLICT, ma_session_insert(db, &other));
    other = session(NOBODY, 2);
    T_IS(MA_E_CONFLICT, ma_session_insert(db, &other));
    ck_assert(!has_session(BOB, 2));
}
END_TEST

static const struct {
    const char *name;
    int64_t idle_at, expires_at, at;
    bool found;
} lives[] = {
    {"alive", NOW + 10, NOW + 20, NOW, true},
    {"last moment before idle", NOW + 10, NOW + 20, NOW + 9, true},
    {"idle", NOW + 10, NOW + 20, NOW + 10, false},
    {"idle for long", NOW + 10, NOW + 20, ENDS, false},
    {"both at once, before", NOW + 10, NOW + 10, NOW + 9, true},
    {"both at once", NOW + 10, NOW + 10, NOW + 10, false},
    {"idle after the end, before", NOW + 30, NOW + 20, NOW + 19, true},
    {"idle after the end", NOW + 30, NOW + 20, NOW + 20, false},
};

START_TEST(test_session_lapses)
{
    struct ma_session got, s = session(ALICE, 1);
    int want = lives[_i].found ? MA_OK : MA_E_NOTFOUND;
    s.idle_at = lives[_i].idle_at;
    s.expires_at = lives[_i].expires_at;
    T_OK(ma_session_insert(db, &s));
    ck_assert_msg(ma_session_by_cookie(db, arena, s.cookie_mac, lives[_i].at, &got) == want, "%s", lives[_i].name);
    ck_assert_msg(ma_session_get(db, arena, ALICE, s.id, lives[_i].at, &got) == want, "%s", lives[_i].name);
    s.used_at = lives[_i].at;
    s.idle_at = ENDS + 1; /* does not bring it back */
    ck_assert_msg(ma_session_update(db, &s) == want, "%s", lives[_i].name);
    T_IS(lives[_i].found ? 0 : 1, ma_sessions_expire(db, lives[_i].at, 10)); /* what is found is not swept */
    ck_assert(has_session(ALICE, 1) == lives[_i].found);
}
END_TEST

START_TEST(test_session_update)
{
    struct ma_session got, s = add_session(ALICE, 1), kept = add_session(ALICE, 2), before = s;
    s.authn = (struct ma_authn){.auth_at = NOW, .mfa_at = NOW + 1, .amr = MA_AMR_PASSKEY};
    s.org_id = MA_SPAN_NULL;
    s.used_at = NOW + 2;
    s.idle_at = NOW + 2000;
    s.cookie_mac = mac('c', 9), s.ip = s.user_agent = MA_LIT("x"), s.created_at = s.expires_at = 7; /* not taken */
    T_OK(ma_session_update(db, &s));
    T_OK(ma_session_get(db, arena, ALICE, s.id, NOW, &got));
    before.authn = s.authn, before.org_id = s.org_id, before.used_at = s.used_at, before.idle_at = s.idle_at;
    expect_session(&got, &before);
    s.idle_at = ENDS + 1;
    T_OK(ma_session_update(db, &s));
    T_OK(ma_session_get(db, arena, ALICE, s.id, NOW, &got));
    ck_assert_int_eq(got.idle_at, ENDS);
    T_OK(ma_session_get(db, arena, ALICE, kept.id, NOW, &got));
    expect_session(&got, &kept);
    s.user_id = BOB;
    T_IS(MA_E_NOTFOUND, ma_session_update(db, &s));
    s.user_id = ALICE;
    s.id = MA_LIT("ses_3");
    T_IS(MA_E_NOTFOUND, ma_session_update(db, &s));
}
END_TEST

START_TEST(test_session_delete)
{
    struct ma_session got, s = add_session(ALICE, 1);
    (void)add_session(ALICE, 2);
    T_IS(MA_E_NOTFOUND, ma_session_delete(db, BOB, s.id));
    T_IS(MA_E_NOTFOUND, ma_session_delete(db, ALICE, MA_LIT("ses_3")));
    T_OK(ma_session_delete(db, ALICE, s.id));
    T_IS(MA_E_NOTFOUND, ma_session_delete(db, ALICE, s.id));
    T_IS(MA_E_NOTFOUND, ma_session_by_cookie(db, arena, s.cookie_mac, NOW, &got));
    T_IS(MA_E_NOTFOUND, ma_session_update(db, &s));
    ck_assert(has_session(ALICE, 2));
    (void)add_session(BOB, 1); /* id and cookie are free again */
}
END_TEST

START_TEST(test_sessions_expire)
{
    for (int n = 1; n <= 4; n++) {
        struct ma_session s = session(n % 2 ? ALICE : BOB, n);
        s.idle_at = NOW + 10 * n;
        T_OK(ma_session_insert(db, &s));
    }
    T_IS(MA_E_INVAL, ma_sessions_expire(db, NOW, 0));
    T_IS(MA_E_INVAL, ma_sessions_expire(db, NOW, -1));
    T_IS(0, ma_sessions_expire(db, NOW + 9, 10));
    T_IS(1, ma_sessions_expire(db, NOW + 10, 10));
    ck_assert(!has_session(ALICE, 1) && has_session(BOB, 2));
    T_IS(1, ma_sessions_expire(db, NOW + 40, 1)); /* the longest lapsed first */
    ck_assert(!has_session(BOB, 2) && has_session(ALICE, 3) && has_session(BOB, 4));
    T_IS(2, ma_sessions_expire(db, INT64_MAX, 10));
    T_IS(0, ma_sessions_expire(db, INT64_MAX, 10));
}
END_TEST

/* --- flows --- */

static struct ma_flow flow(int n)
{
    return (struct ma_flow){
        .token_mac = mac('f', n),
        .kind = MA_LIT("login"),
        .client_id = MA_LIT("spa"),
        .data = MA_LIT("{\"step\":1}"),
        .created_at = NOW,
        .expires_at = ENDS,
    };
}

static struct ma_flow add_flow(int n)
{
    struct ma_flow fl = flow(n);
    T_OK(ma_flow_insert(db, &fl));
    fl.version = 1;
    return fl;
}

static struct ma_flow stored_flow(int n)
{
    struct ma_flow got = {0};
    T_OK(ma_flow_get(db, arena, mac('f', n), &got));
    return got;
}

static bool has_flow(int n)
{
    struct ma_flow got;
    int r = ma_flow_get(db, arena, mac('f', n), &got);
    ck_assert(r == MA_OK || r == MA_E_NOTFOUND);
    return r == MA_OK;
}

static void expect_flow(const struct ma_flow *fl)
{
    struct ma_flow got = {0};
    T_OK(ma_flow_get(db, arena, fl->token_mac, &got));
    T_SAME(got.token_mac, fl->token_mac);
    T_SAME(got.kind, fl->kind);
    T_SAME(got.client_id, fl->client_id);
    T_SAME(got.data, fl->data);
    ck_assert(!got.user_id.p == !fl->user_id.p);
    T_SAME(got.user_id, fl->user_id);
    ck_assert_int_eq(got.attempts, fl->attempts);
    ck_assert_int_eq(got.version, fl->version);
    ck_assert_int_eq(got.created_at, fl->created_at);
    ck_assert_int_eq(got.expires_at, fl->expires_at);
    ck_assert_int_eq(got.consumed_at, fl->consumed_at);
}

START_TEST(test_flow_round_trip)
{
    struct ma_flow got, fl = flow(1), other = flow(2);
    fl.version = 77; /* is not taken */
    T_OK(ma_flow_insert(db, &fl));
    fl.version = 1;
    other.user_id = ALICE;
    other.attempts = 3;
    other.kind = MA_LIT("mfa");
    T_OK(ma_flow_insert(db, &other));
    other.version = 1;
    expect_flow(&fl);
    expect_flow(&other);
    T_IS(MA_E_NOTFOUND, ma_flow_get(db, arena, mac('f', 3), &got));
    T_IS(MA_E_NOTFOUND, ma_flow_get(db, arena, MA_SPAN_NULL, &got));
    T_IS(MA_E_NOTFOUND, ma_flow_get(db, arena, ma_span_of(fl.token_mac.p, 31), &got));
}
END_TEST

START_TEST(test_flow_not_taken)
{
    struct ma_flow fl = add_flow(1), other = flow(1);
    other.data = MA_LIT("{}");
    T_IS(MA_E_EXISTS, ma_flow_insert(db, &other));
    other.token_mac = ma_span_of(fl.token_mac.p, 31);
    T_IS(MA_E_CONFLICT, ma_flow_insert(db, &other));
    other = flow(2);
    other.user_id = NOBODY;
    T_IS(MA_E_CONFLICT, ma_flow_insert(db, &other));
    other = flow(2);
    other.data = MA_SPAN_NULL;
    T_IS(MA_E_CONFLICT, ma_flow_insert(db, &other));
    ck_assert(!has_flow(2));
    expect_flow(&fl);
}
END_TEST

START_TEST(test_flow_update)
{
    struct ma_flow fl = add_flow(1), other = add_flow(2), want = fl;
    fl.user_id = want.user_id = ALICE;
    fl.data = want.data = MA_LIT("{\"step\":2}");
    fl.attempts = want.attempts = 2;
    fl.expires_at = want.expires_at = ENDS + 5;
    fl.kind = fl.client_id = MA_LIT("x"), fl.created_at = 7; /* not taken */
    T_OK(ma_flow_update(db, &fl));
    want.version = 2;
    expect_flow(&want);
    T_IS(MA_E_CONFLICT, ma_flow_update(db, &fl)); /* the version it was read with is gone */
    fl.version = 3;
    T_IS(MA_E_CONFLICT, ma_flow_update(db, &fl));
    fl.version = 2;
    fl.user_id = NOBODY;
    T_IS(MA_E_CONFLICT, ma_flow_update(db, &fl));
    expect_flow(&want);
    fl.user_id = want.user_id = MA_SPAN_NULL; /* another user may be typed */
    T_OK(ma_flow_update(db, &fl));
    want.version = 3;
    expect_flow(&want);
    expect_flow(&other);
    other.token_mac = mac('f', 3);
    T_IS(MA_E_CONFLICT, ma_flow_update(db, &other));
}
END_TEST

START_TEST(test_flow_consume)
{
    struct ma_flow fl = add_flow(1), other = add_flow(2);
    T_IS(MA_E_CONFLICT, ma_flow_consume(db, fl.token_mac, ENDS));
    T_IS(MA_E_CONFLICT, ma_flow_consume(db, mac('f', 3), NOW));
    T_IS(MA_E_CONFLICT, ma_flow_consume(db, MA_SPAN_NULL, NOW));
    expect_flow(&fl);
    T_OK(ma_flow_consume(db, fl.token_mac, ENDS - 1));
    T_IS(MA_E_CONFLICT, ma_flow_consume(db, fl.token_mac, ENDS - 1)); /* once */
    fl.consumed_at = ENDS - 1;
    expect_flow(&fl);
    struct ma_flow late = stored_flow(1);
    late.attempts = 1;
    T_IS(MA_E_CONFLICT, ma_flow_update(db, &late));
    expect_flow(&fl);
    expect_flow(&other);
}
END_TEST

START_TEST(test_flows_expire)
{
    for (int n = 1; n <= 4; n++) {
        struct ma_flow fl = flow(n);
        fl.expires_at = NOW + 10 * n;
        fl.consumed_at = n == 2 ? NOW : 0; /* makes no difference */
        T_OK(ma_flow_insert(db, &fl));
    }
    T_IS(MA_E_INVAL, ma_flows_expire(db, NOW, 0));
    T_IS(0, ma_flows_expire(db, NOW + 10, 10));
    T_IS(1, ma_flows_expire(db, NOW + 11, 10));
    ck_assert(!has_flow(1) && has_flow(2));
    T_IS(1, ma_flows_expire(db, INT64_MAX, 1)); /* the longest lapsed first */
    ck_assert(!has_flow(2) && has_flow(3) && has_flow(4));
    T_IS(2, ma_flows_expire(db, INT64_MAX, 10));
    T_IS(0, ma_flows_expire(db, INT64_MAX, 10));
}
END_TEST

/* --- challenges --- */

static struct ma_challenge challenge(struct ma_span user, int n)
{
    return (struct ma_challenge){
        .id_mac = mac('h', n),
        .flow_mac = mac('f', n),
        .user_id = user,
        .method_id = MA_LIT("phone|dev_1"),
        .type = MA_FACTOR_PHONE,
        .code_mac = mac('k', n),
        .data = MA_LIT("\x01\x02"),
        .created_at = NOW,
        .expires_at = ENDS,
    };
}

static struct ma_challenge add_challenge(struct ma_span user, int n)
{
    struct ma_challenge c = challenge(user, n);
    T_OK(ma_challenge_insert(db, &c));
    return c;
}

static bool has_challenge(struct ma_span user, int n)
{
    struct ma_challenge got;
    int r = ma_challenge_get(db, arena, user, mac('h', n), &got);
    ck_assert(r == MA_OK || r == MA_E_NOTFOUND);
    return r == MA_OK;
}

static void expect_challenge(const struct ma_challenge *c)
{
    struct ma_challenge got = {0};
    T_OK(ma_challenge_get(db, arena, c->user_id, c->id_mac, &got));
    T_SAME(got.id_mac, c->id_mac);
    T_SAME(got.flow_mac, c->flow_mac);
    T_SAME(got.user_id, c->user_id);
    T_SAME(got.method_id, c->method_id);
    ck_assert_int_eq(got.type, c->type);
    ck_assert(!got.code_mac.p == !c->code_mac.p && !got.data.p == !c->data.p);
    T_SAME(got.code_mac, c->code_mac);
    T_SAME(got.data, c->data);
    ck_assert_int_eq(got.attempts, c->attempts);
    ck_assert_int_eq(got.created_at, c->created_at);
    ck_assert_int_eq(got.expires_at, c->expires_at);
    ck_assert_int_eq(got.consumed_at, c->consumed_at);
}

START_TEST(test_challenge_round_trip)
{
    struct ma_challenge got, c = add_challenge(ALICE, 1), other = challenge(BOB, 2);
    other.code_mac = other.data = MA_SPAN_NULL;
    other.type = MA_FACTOR_WEBAUTHN_ROAMING;
    other.attempts = 2;
    T_OK(ma_challenge_insert(db, &other));
    expect_challenge(&c);
    expect_challenge(&other);
    T_IS(MA_E_NOTFOUND, ma_challenge_get(db, arena, BOB, c.id_mac, &got));
    T_IS(MA_E_NOTFOUND, ma_challenge_get(db, arena, ALICE, mac('h', 3), &got));
    T_IS(MA_E_NOTFOUND, ma_challenge_get(db, arena, ALICE, c.flow_mac, &got));
    T_IS(MA_E_NOTFOUND, ma_challenge_get(db, arena, ALICE, MA_SPAN_NULL, &got));
}
END_TEST

START_TEST(test_challenge_not_taken)
{
    struct ma_challenge c = add_challenge(ALICE, 1), other = challenge(BOB, 1);
    T_IS(MA_E_EXISTS, ma_challenge_insert(db, &other));
    other = challenge(BOB, 2);
    other.flow_mac = ma_span_of(c.flow_mac.p, 31);
    T_IS(MA_E_CONFLICT, ma_challenge_insert(db, &other));
    other = challenge(BOB, 2);
    other.code_mac = MA_LIT("123456");
    T_IS(MA_E_CONFLICT, ma_challenge_insert(db, &other));
    other = challenge(NOBODY, 2);
    T_IS(MA_E_CONFLICT, ma_challenge_insert(db, &other));
    other = challenge(BOB, 2);
    other.type = MA_FACTOR__COUNT;
    T_IS(MA_E_INVAL, ma_challenge_insert(db, &other));
    ck_assert(!has_challenge(BOB, 2));
    expect_challenge(&c);
}
END_TEST

START_TEST(test_challenge_consume)
{
    struct ma_challenge c = add_challenge(ALICE, 1), other = add_challenge(ALICE, 2);
    int64_t attempts = 99;
    T_IS(MA_E_CONFLICT, ma_challenge_consume(db, ALICE, c.id_mac, ENDS));
    T_IS(MA_E_CONFLICT, ma_challenge_consume(db, BOB, c.id_mac, NOW));
    T_IS(MA_E_CONFLICT, ma_challenge_consume(db, ALICE, mac('h', 3), NOW));
    expect_challenge(&c);
    T_OK(ma_challenge_consume(db, ALICE, c.id_mac, ENDS - 1));
    T_IS(MA_E_CONFLICT, ma_challenge_consume(db, ALICE, c.id_mac, NOW)); /* once */
    T_IS(MA_E_CONFLICT, ma_challenge_fail(db, ALICE, c.id_mac, 3, NOW, &attempts));
    ck_assert_int_eq(attempts, 0);
    c.consumed_at = ENDS - 1;
    expect_challenge(&c);
    expect_challenge(&other);
}
END_TEST

START_TEST(test_challenge_fail)
{
    struct ma_challenge c = add_challenge(ALICE, 1), other = add_challenge(ALICE, 2);
    int64_t attempts = 99;
    for (int n = 1; n <= 2; n++) {
        T_OK(ma_challenge_fail(db, ALICE, c.id_mac, 3, NOW, &attempts));
        ck_assert_int_eq(attempts, n);
    }
    T_IS(MA_E_CONFLICT, ma_challenge_fail(db, ALICE, c.id_mac, 3, ENDS, &attempts));
    ck_assert_int_eq(attempts, 0);
    T_IS(MA_E_CONFLICT, ma_challenge_fail(db, BOB, c.id_mac, 3, NOW, &attempts));
    T_IS(MA_E_CONFLICT, ma_challenge_fail(db, ALICE, mac('h', 3), 3, NOW, &attempts));
    c.attempts = 2;
    expect_challenge(&c); /* open still */
    T_OK(ma_challenge_fail(db, ALICE, c.id_mac, 3, ENDS - 1, &attempts));
    ck_assert_int_eq(attempts, 3);
    c.attempts = 3, c.consumed_at = ENDS - 1;
    expect_challenge(&c);
    T_IS(MA_E_CONFLICT, ma_challenge_fail(db, ALICE, c.id_mac, 3, NOW, &attempts));
    T_IS(MA_E_CONFLICT, ma_challenge_consume(db, ALICE, c.id_mac, NOW));
    expect_challenge(&c);
    expect_challenge(&other);
}
END_TEST

START_TEST(test_challenges_expire)
{
    for (int n = 1; n <= 3; n++) {
        struct ma_challenge c = challenge(n % 2 ? ALICE : BOB, n);
        c.expires_at = NOW + 10 * n;
        T_OK(ma_challenge_insert(db, &c));
    }
    T_IS(MA_E_INVAL, ma_challenges_expire(db, NOW, 0));
    T_IS(0, ma_challenges_expire(db, NOW + 10, 10));
    T_IS(1, ma_challenges_expire(db, INT64_MAX, 1)); /* the longest lapsed first */
    ck_assert(!has_challenge(ALICE, 1) && has_challenge(BOB, 2) && has_challenge(ALICE, 3));
    T_IS(1, ma_challenges_expire(db, NOW + 21, 10));
    ck_assert(!has_challenge(BOB, 2) && has_challenge(ALICE, 3));
    T_IS(1, ma_challenges_expire(db, INT64_MAX, 10));
    T_IS(0, ma_challenges_expire(db, INT64_MAX, 10));
}
END_TEST

/* --- all of them --- */

START_TEST(test_gone_with_the_user)
{
    struct ma_flow known = flow(1), unknown = add_flow(2), others = flow(3);
    known.user_id = ALICE, others.user_id = BOB;
    T_OK(ma_flow_insert(db, &known));
    T_OK(ma_flow_insert(db, &others));
    (void)add_session(ALICE, 1);
    (void)add_session(BOB, 2);
    (void)add_challenge(ALICE, 1);
    (void)add_challenge(BOB, 2);
    T_OK(ma_user_delete(db, ALICE));
    ck_assert(!has_session(ALICE, 1) && !has_challenge(ALICE, 1) && !has_flow(1));
    ck_assert(has_session(BOB, 2) && has_challenge(BOB, 2) && has_flow(3));
    expect_flow(&unknown);
}
END_TEST

START_TEST(test_arena_full)
{
    struct ma_session se, s = add_session(ALICE, 1);
    struct ma_challenge ch, c = add_challenge(ALICE, 1);
    struct ma_credential cr;
    struct ma_span user;
    struct ma_user v[MANY];
    struct ma_flow got, fl = flow(1);
    size_t n;
    fl.data = ma_span_of(ma_arena_calloc(arena, 1, 70000), 70000);
    T_OK(ma_flow_insert(db, &fl));
    add_credential(ALICE, "passkey|dev_1", "id-1");
    add_people();
    struct ma_arena *small MA_CLEANUP(ma_arena_free_p) = ma_arena_new(64, 64);
    ck_assert_ptr_nonnull(small);
    T_IS(MA_E_NOMEM, ma_flow_get(db, small, fl.token_mac, &got));
    T_IS(MA_E_NOMEM, ma_session_get(db, small, ALICE, s.id, NOW, &se));
    T_IS(MA_E_NOMEM, ma_session_by_cookie(db, small, s.cookie_mac, NOW, &se));
    T_IS(MA_E_NOMEM, ma_challenge_get(db, small, ALICE, c.id_mac, &ch));
    T_IS(MA_E_NOMEM, ma_credential_find(db, small, MA_LIT("id-1"), &cr, &user));
    T_IS(MA_E_NOMEM, ma_user_by_email(db, small, MA_LIT("mia@example.com"), MA_SPAN_NULL, v, MANY, &n));
    T_OK(ma_flow_get(db, arena, fl.token_mac, &got));
    ck_assert_uint_eq(got.data.n, 70000);
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);
    tcase_add_checked_fixture(t, setup, teardown);
    suite_add_tcase(s, t);
    return t;
}

/* --- shared counters, known addresses --- */

static struct ma_span address_mac(uint8_t n)
{
    uint8_t bytes[32] = {n};
    return ma_arena_dup(arena, ma_span_of(bytes, sizeof bytes));
}

START_TEST(test_shared_counter)
{
    const struct ma_counter_rule two = {"two", 2, 10000};
    struct ma_counter_state s;
    for (int64_t left = 1; left >= 0; left--) {
        T_OK(ma_shared_counter_take(db, address_mac(1), &two, NOW, &s));
        ck_assert(s.allowed);
        ck_assert_int_eq(s.remaining, left);
    }
    T_OK(ma_shared_counter_take(db, address_mac(1), &two, NOW, &s));
    ck_assert(!s.allowed);
    ck_assert_int_eq(s.retry_after_ms, 5000);
    T_OK(ma_shared_counter_get(db, address_mac(2), &two, NOW, &s));
    ck_assert(s.allowed);
    ck_assert_int_eq(ma_shared_counters_expire(db, NOW + 10000, 10), 0); /* full at, not before */
    T_OK(ma_shared_counter_get(db, address_mac(1), &two, NOW + 4999, &s));
    ck_assert(!s.allowed);
    ck_assert_int_eq(ma_shared_counters_expire(db, NOW + 10001, 10), 1);
    ck_assert_int_eq(ma_shared_counters_expire(db, NOW + 10001, 10), 0);
    T_OK(ma_shared_counter_get(db, address_mac(1), &two, NOW, &s));
    ck_assert_int_eq(s.remaining, 2);
}
END_TEST

static bool known(struct ma_span user, uint8_t n)
{
    bool is = false;
    T_OK(ma_known_address(db, user, address_mac(n), &is));
    return is;
}

START_TEST(test_known_addresses)
{
    ck_assert(!known(ALICE, 1));
    for (uint8_t i = 1; i <= MA_KNOWN_ADDRESSES_MAX; i++)
        T_OK(ma_known_address_put(db, ALICE, address_mac(i), NOW + i));
    ck_assert(known(ALICE, 1) && known(ALICE, MA_KNOWN_ADDRESSES_MAX) && !known(BOB, 1));
    T_OK(ma_known_address_put(db, ALICE, address_mac(1), NOW + 1000)); /* used again: the second is the oldest now */
    T_OK(ma_known_address_put(db, ALICE, address_mac(100), NOW + 1001));
    ck_assert(known(ALICE, 1) && known(ALICE, 100) && !known(ALICE, 2) && known(ALICE, 3));
    T_IS(MA_E_CONFLICT, ma_known_address_put(db, MA_LIT("auth0|nobody"), address_mac(1), NOW));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("sign-in store");
    TCase *t = tcase(s, "plans");
    tcase_add_loop_test(t, test_plan, 0, MA_COUNT(plans));
    t = tcase(s, "users, credentials, methods");
    tcase_add_loop_test(t, test_user_lookup, 0, MA_COUNT(lookups));
    tcase_add_test(t, test_user_lookup_row_and_cap);
    tcase_add_test(t, test_credential_find);
    tcase_add_test(t, test_credential_used);
    tcase_add_test(t, test_user_by_handle);
    tcase_add_test(t, test_method_used);
    t = tcase(s, "sessions");
    tcase_add_test(t, test_session_round_trip);
    tcase_add_test(t, test_session_not_taken);
    tcase_add_loop_test(t, test_session_lapses, 0, MA_COUNT(lives));
    tcase_add_test(t, test_session_update);
    tcase_add_test(t, test_session_delete);
    tcase_add_test(t, test_sessions_expire);
    t = tcase(s, "flows");
    tcase_add_test(t, test_flow_round_trip);
    tcase_add_test(t, test_flow_not_taken);
    tcase_add_test(t, test_flow_update);
    tcase_add_test(t, test_flow_consume);
    tcase_add_test(t, test_flows_expire);
    t = tcase(s, "challenges");
    tcase_add_test(t, test_challenge_round_trip);
    tcase_add_test(t, test_challenge_not_taken);
    tcase_add_test(t, test_challenge_consume);
    tcase_add_test(t, test_challenge_fail);
    tcase_add_test(t, test_challenges_expire);
    t = tcase(s, "limits");
    tcase_add_test(t, test_shared_counter);
    tcase_add_test(t, test_known_addresses);
    t = tcase(s, "all");
    tcase_add_test(t, test_gone_with_the_user);
    tcase_add_test(t, test_arena_full);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
