/* SPDX-License-Identifier: Apache-2.0
 * What sign-in grants: authorization codes, families of refresh tokens, consents.
 */
#include "ma/store.h"

#include <stdlib.h>

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

#define T_EMPTY(span) ck_assert_msg((span).p && (span).n == 0, "%s is not the empty text", #span)
#define T_SAME(a, b) ck_assert_msg(ma_span_eq((a), (b)), "%s is not %s", #a, #b)

/* What a 32-byte MAC says does not matter here; that it is its own does. */
static struct ma_span mac(char kind, int n)
{
    uint8_t bytes[32] = {(uint8_t)kind, 0, 0xff, (uint8_t)n};
    return ma_arena_dup(arena, ma_span_of(bytes, sizeof bytes));
}

/* --- authorization codes --- */

static struct ma_code code(struct ma_span user, int n)
{
    return (struct ma_code){
        .code_mac = mac('c', n),
        .user_id = user,
        .client_id = MA_LIT("spa"),
        .session_id = MA_LIT("ses_1"),
        .redirect_uri = MA_LIT("https://app.example.com/cb?x=1"),
        .data = MA_LIT("{\"nonce\":\"n\"}"),
        .created_at = NOW,
        .expires_at = ENDS,
    };
}

static struct ma_code add_code(struct ma_span user, int n)
{
    struct ma_code c = code(user, n);
    T_OK(ma_code_insert(db, &c));
    return c;
}

static bool has_code(int n)
{
    struct ma_code got;
    int r = ma_code_get(db, arena, mac('c', n), &got);
    ck_assert(r == MA_OK || r == MA_E_NOTFOUND);
    return r == MA_OK;
}

static void expect_code(const struct ma_code *c)
{
    struct ma_code got = {0};
    T_OK(ma_code_get(db, arena, c->code_mac, &got));
    T_SAME(got.code_mac, c->code_mac);
    T_SAME(got.user_id, c->user_id);
    T_SAME(got.client_id, c->client_id);
    ck_assert(!got.session_id.p == !c->session_id.p && !got.family_id.p == !c->family_id.p);
    T_SAME(got.session_id, c->session_id);
    T_SAME(got.redirect_uri, c->redirect_uri);
    T_SAME(got.data, c->data);
    T_SAME(got.family_id, c->family_id);
    ck_assert_int_eq(got.created_at, c->created_at);
    ck_assert_int_eq(got.expires_at, c->expires_at);
    ck_assert_int_eq(got.used_at, c->used_at);
}

START_TEST(test_code_round_trip)
{
    struct ma_code got, c = add_code(ALICE, 1), other = code(BOB, 2);
    other.session_id = MA_SPAN_NULL;
    T_OK(ma_code_insert(db, &other));
    expect_code(&c);
    expect_code(&other);
    T_IS(MA_E_NOTFOUND, ma_code_get(db, arena, mac('c', 3), &got));
    T_IS(MA_E_NOTFOUND, ma_code_get(db, arena, ma_span_of(c.code_mac.p, 31), &got));
    T_IS(MA_E_NOTFOUND, ma_code_get(db, arena, MA_SPAN_NULL, &got));
    other = code(BOB, 3);
    other.redirect_uri = MA_SPAN_NULL;
    T_OK(ma_code_insert(db, &other));
    T_OK(ma_code_get(db, arena, other.code_mac, &got));
    T_EMPTY(got.redirect_uri);
}
END_TEST

START_TEST(test_code_not_taken)
{
    struct ma_code c = add_code(ALICE, 1), other = code(BOB, 1);
    T_IS(MA_E_EXISTS, ma_code_insert(db, &other));
    other.code_mac = ma_span_of(c.code_mac.p, 31);
    T_IS(MA_E_CONFLICT, ma_code_insert(db, &other));
    other = code(NOBODY, 2);
    T_IS(MA_E_CONFLICT, ma_code_insert(db, &other));
    ck_assert(!has_code(2));
    expect_code(&c);
}
END_TEST

START_TEST(test_code_use)
{
    struct ma_code c = add_code(ALICE, 1), other = add_code(ALICE, 2), plain = add_code(BOB, 3);
    T_IS(MA_E_CONFLICT, ma_code_use(db, c.code_mac, MA_LIT("family-1"), ENDS));
    T_IS(MA_E_CONFLICT, ma_code_use(db, mac('c', 4), MA_LIT("family-1"), NOW));
    T_IS(MA_E_CONFLICT, ma_code_use(db, MA_SPAN_NULL, MA_LIT("family-1"), NOW));
    expect_code(&c);
    T_OK(ma_code_use(db, c.code_mac, MA_LIT("family-1"), ENDS - 1));
    c.used_at = ENDS - 1, c.family_id = MA_LIT("family-1");
    expect_code(&c);
    T_IS(MA_E_CONFLICT, ma_code_use(db, c.code_mac, MA_LIT("family-2"), NOW)); /* once */
    T_IS(MA_E_CONFLICT, ma_code_use(db, c.code_mac, MA_SPAN_NULL, NOW));
    expect_code(&c); /* what the first use brought is known still */
    T_OK(ma_code_use(db, plain.code_mac, MA_SPAN_NULL, NOW));
    plain.used_at = NOW;
    expect_code(&plain);
    T_IS(MA_E_CONFLICT, ma_code_use(db, plain.code_mac, MA_LIT("family-2"), NOW));
    expect_code(&other);
}
END_TEST

START_TEST(test_codes_expire)
{
    for (int n = 1; n <= 4; n++) {
        struct ma_code c = code(n % 2 ? ALICE : BOB, n);
        c.expires_at = NOW + 10 * n;
        T_OK(ma_code_insert(db, &c));
    }
    T_OK(ma_code_use(db, mac('c', 2), MA_SPAN_NULL, NOW)); /* stays until it lapses, as any other */
    T_IS(MA_E_INVAL, ma_codes_expire(db, NOW, 0));
    T_IS(0, ma_codes_expire(db, NOW + 10, 10));
    T_IS(1, ma_codes_expire(db, NOW + 11, 10));
    ck_assert(!has_code(1) && has_code(2));
    T_IS(1, ma_codes_expire(db, INT64_MAX, 1)); /* the longest lapsed first */
    ck_assert(!has_code(2) && has_code(3) && has_code(4));
    T_IS(2, ma_codes_expire(db, INT64_MAX, 10));
    T_IS(0, ma_codes_expire(db, INT64_MAX, 10));
}
END_TEST

/* --- families of refresh tokens --- */

static struct ma_family family(struct ma_span user, const char *client, int n)
{
    return (struct ma_family){
        .id = ma_span_str(ma_arena_printf(arena, "family-%03d", n)),
        .user_id = user,
        .client_id = ma_span_str(client),
        .session_id = MA_LIT("ses_1"),
        .audience = MA_LIT("https://id.example.com/me/"),
        .scope = MA_LIT("offline_access openid"),
        .org_id = MA_LIT("org_1"),
        .jkt = MA_LIT("thumbprint"),
        .gty = MA_LIT("password"),
        .authn = {.auth_at = NOW - 20, .mfa_at = NOW - 10, .amr = MA_AMR_PWD | MA_AMR_OTP | MA_AMR_MFA},
        .salt = mac('s', n),
        .generation = 1,
        .created_at = NOW,
        .used_at = NOW + 1,
        .idle_at = NOW + 1000,
        .expires_at = ENDS,
    };
}

static struct ma_family add_family(struct ma_span user, const char *client, int n)
{
    struct ma_family fa = family(user, client, n);
    T_OK(ma_family_insert(db, &fa));
    return fa;
}

static struct ma_family stored_family(const struct ma_family *fa)
{
    struct ma_family got = {0};
    T_OK(ma_family_get(db, arena, fa->id, &got));
    return got;
}

static bool has_family(int n)
{
    struct ma_family got, fa = family(ALICE, "spa", n);
    int r = ma_family_get(db, arena, fa.id, &got);
    ck_assert(r == MA_OK || r == MA_E_NOTFOUND);
    return r == MA_OK;
}

/* 0: not revoked. */
static int64_t revoked_at(int n)
{
    struct ma_family fa = family(ALICE, "spa", n);
    return stored_family(&fa).revoked_at;
}

static void expect_family(const struct ma_family *fa)
{
    struct ma_family got = stored_family(fa);
    T_SAME(got.id, fa->id);
    T_SAME(got.user_id, fa->user_id);
    T_SAME(got.client_id, fa->client_id);
    ck_assert(!got.session_id.p == !fa->session_id.p && !got.org_id.p == !fa->org_id.p);
    ck_assert(!got.jkt.p == !fa->jkt.p && !got.gty.p == !fa->gty.p);
    T_SAME(got.session_id, fa->session_id);
    T_SAME(got.audience, fa->audience);
    T_SAME(got.scope, fa->scope);
    T_SAME(got.org_id, fa->org_id);
    T_SAME(got.jkt, fa->jkt);
    T_SAME(got.gty, fa->gty);
    ck_assert_int_eq(got.authn.auth_at, fa->authn.auth_at);
    ck_assert_int_eq(got.authn.mfa_at, fa->authn.mfa_at);
    ck_assert_uint_eq(got.authn.amr, fa->authn.amr);
    T_SAME(got.salt, fa->salt);
    ck_assert_int_eq(got.generation, fa->generation);
    ck_assert_int_eq(got.rotated_at, fa->rotated_at);
    ck_assert_int_eq(got.created_at, fa->created_at);
    ck_assert_int_eq(got.used_at, fa->used_at);
    ck_assert_int_eq(got.idle_at, fa->idle_at);
    ck_assert_int_eq(got.expires_at, fa->expires_at);
    ck_assert_int_eq(got.revoked_at, fa->revoked_at);
}

START_TEST(test_family_round_trip)
{
    struct ma_family got, fa = add_family(ALICE, "spa", 1), bare = family(BOB, "spa", 2);
    bare.session_id = bare.org_id = bare.jkt = bare.gty = MA_SPAN_NULL;
    bare.audience = bare.scope = MA_LIT("");
    bare.authn = (struct ma_authn){0};
    bare.idle_at = bare.expires_at = 0;
    T_OK(ma_family_insert(db, &bare));
    expect_family(&fa);
    expect_family(&bare);
    bare.id = MA_LIT("family-003");
    bare.audience = bare.scope = MA_SPAN_NULL;
    T_OK(ma_family_insert(db, &bare));
    got = stored_family(&bare);
    T_EMPTY(got.audience);
    T_EMPTY(got.scope);
    T_IS(MA_E_NOTFOUND, ma_family_get(db, arena, MA_LIT("family-004"), &got));
    T_IS(MA_E_NOTFOUND, ma_family_get(db, arena, MA_LIT("FAMILY-001"), &got));
    T_IS(MA_E_NOTFOUND, ma_family_get(db, arena, MA_SPAN_NULL, &got));
}
END_TEST

START_TEST(test_family_not_taken)
{
    struct ma_family fa = add_family(ALICE, "spa", 1), other = family(BOB, "app", 1);
    T_IS(MA_E_EXISTS, ma_family_insert(db, &other));
    other = family(BOB, "app", 2);
    other.salt = ma_span_of(fa.salt.p, 31);
    T_IS(MA_E_CONFLICT, ma_family_insert(db, &other));
    other = family(NOBODY, "app", 2);
    T_IS(MA_E_CONFLICT, ma_family_insert(db, &other));
    ck_assert(!has_family(2));
    expect_family(&fa);
}
END_TEST

START_TEST(test_family_rotate)
{
    struct ma_family fa = add_family(ALICE, "spa", 1), other = add_family(ALICE, "spa", 2), next = fa;
    next.idle_at = NOW + 5000;
    next.scope = MA_LIT("more"), next.expires_at = 7, next.authn.amr = 0; /* not taken */
    T_OK(ma_family_rotate(db, &next, NOW + 9));
    fa.generation = 2, fa.rotated_at = fa.used_at = NOW + 9, fa.idle_at = NOW + 5000;
    expect_family(&fa);
    T_IS(MA_E_CONFLICT, ma_family_rotate(db, &next, NOW + 10)); /* of two exchanges at once the second */
    next.generation = 3;
    T_IS(MA_E_CONFLICT, ma_family_rotate(db, &next, NOW + 10));
    next.generation = 2;
    next.user_id = BOB;
    T_IS(MA_E_CONFLICT, ma_family_rotate(db, &next, NOW + 10));
    next.user_id = ALICE;
    next.id = MA_LIT("family-003");
    T_IS(MA_E_CONFLICT, ma_family_rotate(db, &next, NOW + 10));
    expect_family(&fa);
    expect_family(&other);
    next = fa;
    T_OK(ma_family_rotate(db, &next, NOW + 10));
    ck_assert_int_eq(stored_family(&fa).generation, 3);
    T_OK(ma_family_rotate_back(db, &next));
    next.used_at = NOW + 10;
    expect_family(&next);
    T_IS(MA_E_CONFLICT, ma_family_rotate_back(db, &next)); /* once */
    expect_family(&next);
}
END_TEST

static const struct {
    const char *name;
    int64_t idle_at, expires_at, revoked_at, at;
    bool live;
} lives[] = {
    {"live", NOW + 10, NOW + 20, 0, NOW, true},
    {"last moment before idle", NOW + 10, NOW + 20, 0, NOW + 9, true},
    {"idle", NOW + 10, NOW + 20, 0, NOW + 10, false},
    {"last moment", NOW + 30, NOW + 20, 0, NOW + 19, true},
    {"at its end", NOW + 30, NOW + 20, 0, NOW + 20, false},
    {"never idle, before its end", 0, NOW + 20, 0, NOW + 19, true},
    {"never idle, at its end", 0, NOW + 20, 0, NOW + 20, false},
    {"without end, not idle", NOW + 10, 0, 0, NOW + 9, true},
    {"without end, idle", NOW + 10, 0, 0, NOW + 10, false},
    {"for ever", 0, 0, 0, INT64_MAX - 1, true},
    {"revoked", 0, 0, NOW, NOW + 1, false},
    {"revoked, with an end", NOW + 10, NOW + 20, NOW, NOW + 1, false},
};

START_TEST(test_family_lives)
{
    struct ma_family fa = family(ALICE, "spa", 1), next;
    int want = lives[_i].live ? MA_OK : MA_E_CONFLICT;
    fa.idle_at = lives[_i].idle_at, fa.expires_at = lives[_i].expires_at, fa.revoked_at = lives[_i].revoked_at;
    T_OK(ma_family_insert(db, &fa));
    next = fa;
    next.idle_at = lives[_i].at + 1;
    T_OK(ma_db_savepoint(db));
    ck_assert_msg(ma_family_rotate(db, &next, lives[_i].at) == want, "%s: rotate", lives[_i].name);
    if (!lives[_i].live)
        expect_family(&fa);
    ma_db_rollback_to(db);
    ck_assert_msg(ma_family_touch(db, &next, lives[_i].at) == want, "%s: touch", lives[_i].name);
    if (!lives[_i].live)
        expect_family(&fa);
}
END_TEST

START_TEST(test_family_touch)
{
    struct ma_family fa = add_family(ALICE, "spa", 1), other = add_family(ALICE, "spa", 2), next = fa;
    next.idle_at = NOW + 5000;
    next.generation = 77; /* makes no difference: the token stays the same */
    T_OK(ma_family_touch(db, &next, NOW + 9));
    fa.used_at = NOW + 9, fa.idle_at = NOW + 5000;
    expect_family(&fa);
    next.user_id = BOB;
    T_IS(MA_E_CONFLICT, ma_family_touch(db, &next, NOW + 10));
    next.user_id = ALICE;
    next.id = MA_LIT("family-003");
    T_IS(MA_E_CONFLICT, ma_family_touch(db, &next, NOW + 10));
    expect_family(&fa);
    expect_family(&other);
}
END_TEST

START_TEST(test_family_step_up)
{
    struct ma_family fa = add_family(ALICE, "spa", 1), other = add_family(ALICE, "spa", 2);
    struct ma_authn authn = {.auth_at = NOW - 20, .mfa_at = NOW + 3, .amr = MA_AMR_PWD | MA_AMR_HWK | MA_AMR_MFA};
    T_OK(ma_family_step_up(db, ALICE, fa.id, &authn));
    fa.authn = authn;
    expect_family(&fa);
    authn.amr = MA_AMR_RECOVERY;
    T_IS(MA_E_CONFLICT, ma_family_step_up(db, BOB, fa.id, &authn));
    T_IS(MA_E_CONFLICT, ma_family_step_up(db, ALICE, MA_LIT("family-003"), &authn));
    T_OK(ma_family_revoke(db, ALICE, fa.id, NOW + 4));
    T_IS(MA_E_CONFLICT, ma_family_step_up(db, ALICE, fa.id, &authn));
    fa.revoked_at = NOW + 4;
    expect_family(&fa);
    expect_family(&other);
}
END_TEST

START_TEST(test_family_revoke)
{
    struct ma_family fa = add_family(ALICE, "spa", 1), other = add_family(ALICE, "spa", 2);
    T_IS(MA_E_CONFLICT, ma_family_revoke(db, BOB, fa.id, NOW + 4));
    T_IS(MA_E_CONFLICT, ma_family_revoke(db, ALICE, MA_LIT("family-003"), NOW + 4));
    expect_family(&fa);
    T_OK(ma_family_revoke(db, ALICE, fa.id, NOW + 4));
    T_IS(MA_E_CONFLICT, ma_family_revoke(db, ALICE, fa.id, NOW + 5));
    fa.revoked_at = NOW + 4;
    expect_family(&fa);
    expect_family(&other);
    T_OK(ma_family_revoke(db, ALICE, other.id, ENDS + 1)); /* lapsed or not */
}
END_TEST

/* 1: alice spa ses_1; 2: alice app ses_1; 3: alice spa ses_2; 4: alice spa, none; 5: bob spa ses_1;
 * 6: alice spa ses_1, revoked before */
static void add_six(void)
{
    (void)add_family(ALICE, "spa", 1);
    (void)add_family(ALICE, "app", 2);
    struct ma_family fa = family(ALICE, "spa", 3);
    fa.session_id = MA_LIT("ses_2");
    T_OK(ma_family_insert(db, &fa));
    fa = family(ALICE, "spa", 4);
    fa.session_id = MA_SPAN_NULL;
    T_OK(ma_family_insert(db, &fa));
    (void)add_family(BOB, "spa", 5);
    fa = add_family(ALICE, "spa", 6);
    T_OK(ma_family_revoke(db, ALICE, fa.id, NOW + 1));
}

enum { BY_SESSION, BY_USER };
static const struct {
    const char *name;
    int by;
    const char *user, *which; /* session or client; NULL: none */
    const char *revoked;      /* of 1 … 5 */
} revocations[] = {
    {"a session", BY_SESSION, MA_FIX_ALICE, "ses_1", "12..."},
    {"another session", BY_SESSION, MA_FIX_ALICE, "ses_2", "..3.."},
    {"no such session", BY_SESSION, MA_FIX_ALICE, "ses_3", "....."},
    {"not those without a session", BY_SESSION, MA_FIX_ALICE, NULL, "....."},
    {"another user's session", BY_SESSION, MA_FIX_BOB, "ses_2", "....."},
    {"of the same name", BY_SESSION, MA_FIX_BOB, "ses_1", "....5"},
    {"a user", BY_USER, MA_FIX_ALICE, NULL, "1234."},
    {"a user and client", BY_USER, MA_FIX_ALICE, "spa", "1.34."},
    {"a user and the other client", BY_USER, MA_FIX_ALICE, "app", ".2..."},
    {"a user and no such client", BY_USER, MA_FIX_ALICE, "SPA", "....."},
    {"a user and an empty client", BY_USER, MA_FIX_ALICE, "", "....."},
    {"nobody", BY_USER, "auth0|nobody", NULL, "....."},
};

START_TEST(test_families_revoke)
{
    struct ma_span user = ma_span_str(revocations[_i].user);
    struct ma_span which = revocations[_i].which ? ma_span_str(revocations[_i].which) : MA_SPAN_NULL;
    int want = 0;
    add_six();
    int got = (revocations[_i].by == BY_SESSION ? ma_families_revoke_session : ma_families_revoke_user)(db, user, which,
                                                                                                        NOW + 5);
    for (int n = 1; n <= 5; n++) {
        bool gone = revocations[_i].revoked[n - 1] != '.';
        want += gone;
        ck_assert_msg(revoked_at(n) == (gone ? NOW + 5 : 0), "%s: %d", revocations[_i].name, n);
    }
    ck_assert_msg(got == want, "%s: %d", revocations[_i].name, got);
    ck_assert_int_eq(revoked_at(6), NOW + 1); /* the first time stays */
}
END_TEST

/* How many of alice's families for the client from `from` to `to` live. */
static int live_ones(int from, int to)
{
    int live = 0;
    for (int n = from; n <= to; n++)
        live += revoked_at(n) == 0;
    return live;
}

static void add_many(int from, int to)
{
    for (int n = from; n <= to; n++) {
        struct ma_family fa = family(ALICE, "spa", n);
        fa.created_at = NOW + n;
        T_OK(ma_family_insert(db, &fa));
    }
}

START_TEST(test_family_limit)
{
    (void)add_family(BOB, "spa", 901);
    (void)add_family(ALICE, "app", 902);
    add_many(1, MA_FAMILIES_MAX);
    ck_assert_int_eq(live_ones(1, MA_FAMILIES_MAX), MA_FAMILIES_MAX);
    add_many(MA_FAMILIES_MAX + 1, MA_FAMILIES_MAX + 2);
    ck_assert_int_eq(revoked_at(1), NOW + MA_FAMILIES_MAX + 1);
    ck_assert_int_eq(revoked_at(2), NOW + MA_FAMILIES_MAX + 2);
    ck_assert_int_eq(live_ones(3, MA_FAMILIES_MAX + 2), MA_FAMILIES_MAX);
    struct ma_family mid = family(ALICE, "spa", 100); /* makes room */
    T_OK(ma_family_revoke(db, ALICE, mid.id, NOW));
    add_many(MA_FAMILIES_MAX + 3, MA_FAMILIES_MAX + 3);
    ck_assert_int_eq(revoked_at(3), 0);
    ck_assert_int_eq(live_ones(1, MA_FAMILIES_MAX + 3), MA_FAMILIES_MAX);
    ck_assert(revoked_at(901) == 0 && revoked_at(902) == 0);
}
END_TEST

/* A new one stays, be it the oldest by its time; and a refused one ends none. */
START_TEST(test_family_limit_old_clock)
{
    add_many(1, MA_FAMILIES_MAX);
    struct ma_family fa = family(ALICE, "spa", 1);
    T_IS(MA_E_EXISTS, ma_family_insert(db, &fa));
    ck_assert_int_eq(live_ones(1, MA_FAMILIES_MAX), MA_FAMILIES_MAX);
    fa = family(ALICE, "spa", 0);
    fa.created_at = NOW - 1000;
    T_OK(ma_family_insert(db, &fa));
    ck_assert_int_eq(revoked_at(0), 0);
    ck_assert_int_eq(revoked_at(1), NOW - 1000);
    ck_assert_int_eq(live_ones(0, MA_FAMILIES_MAX), MA_FAMILIES_MAX);
}
END_TEST

/* Of the same moment as many stay as may, whichever; what lapsed takes no place. */
START_TEST(test_family_limit_ties_and_lapsed)
{
    for (int n = 1; n <= MA_FAMILIES_MAX + 5; n++)
        (void)add_family(ALICE, "spa", n);
    ck_assert_int_eq(live_ones(1, MA_FAMILIES_MAX + 5), MA_FAMILIES_MAX);
    ck_assert_int_eq(revoked_at(MA_FAMILIES_MAX + 5), 0);
    struct ma_family fa = family(ALICE, "spa", 999);
    fa.created_at = NOW + 1000; /* when all of them are idle */
    T_OK(ma_family_insert(db, &fa));
    ck_assert_int_eq(live_ones(1, MA_FAMILIES_MAX + 5), MA_FAMILIES_MAX);
    ck_assert_int_eq(revoked_at(999), 0);
}
END_TEST

static void add_ending(int n, int64_t idle_at, int64_t expires_at, int64_t revoked)
{
    struct ma_family fa = family(n % 2 ? ALICE : BOB, "spa", n);
    fa.idle_at = idle_at, fa.expires_at = expires_at, fa.revoked_at = revoked;
    T_OK(ma_family_insert(db, &fa));
}

static const struct {
    const char *name;
    int64_t idle_at, expires_at, revoked_at;
    bool goes;
} ends[] = {
    {"alive", NOW + 10, NOW + 10, 0, false},
    {"for ever", 0, 0, 0, false},
    {"idle just now", NOW, NOW + 10, 0, false},
    {"idle", NOW - 1, NOW + 10, 0, true},
    {"idle, without end", NOW - 1, 0, 0, true},
    {"at its end just now", NOW + 10, NOW, 0, false},
    {"past its end", NOW + 10, NOW - 1, 0, true},
    {"past its end, never idle", 0, NOW - 1, 0, true},
    {"revoked just now", NOW + 10, NOW + 10, NOW, false},
    {"revoked", NOW + 10, NOW + 10, NOW - 1, true},
    {"revoked, else for ever", 0, 0, NOW - 1, true},
    {"all three: once", NOW - 1, NOW - 1, NOW - 1, true},
};

START_TEST(test_families_expire)
{
    (void)add_family(BOB, "spa", 2);
    add_ending(1, ends[_i].idle_at, ends[_i].expires_at, ends[_i].revoked_at);
    int n = ma_families_expire(db, NOW, 10);
    ck_assert_msg(n == (ends[_i].goes ? 1 : 0), "%s: %d", ends[_i].name, n);
    ck_assert_msg(has_family(1) != ends[_i].goes, "%s", ends[_i].name);
    ck_assert(has_family(2));
}
END_TEST

/* The limit is for all reasons together; within one, what ended first goes first. */
START_TEST(test_families_expire_limit)
{
    add_ending(1, 0, 0, NOW - 2);
    add_ending(2, 0, 0, NOW - 3);
    add_ending(3, NOW - 2, 0, 0);
    add_ending(4, NOW - 3, 0, 0);
    add_ending(5, 0, NOW - 2, 0);
    add_ending(6, 0, NOW - 3, 0);
    T_IS(MA_E_INVAL, ma_families_expire(db, NOW, 0));
    T_IS(MA_E_INVAL, ma_families_expire(db, NOW, -1));
    T_IS(1, ma_families_expire(db, NOW, 1));
    ck_assert(has_family(1) && !has_family(2));
    T_IS(2, ma_families_expire(db, NOW, 2));
    ck_assert(!has_family(1) && has_family(3) && !has_family(4));
    T_IS(2, ma_families_expire(db, NOW, 2));
    ck_assert(!has_family(3) && has_family(5) && !has_family(6));
    T_IS(1, ma_families_expire(db, NOW, 2));
    T_IS(0, ma_families_expire(db, NOW, 2));
}
END_TEST

/* --- consents --- */

static struct ma_consent consent(struct ma_span user, const char *id, const char *client, const char *audience)
{
    return (struct ma_consent){
        .id = ma_span_str(id),
        .user_id = user,
        .client_id = ma_span_str(client),
        .audience = ma_span_str(audience),
        .scope = MA_LIT("openid profile"),
        .created_at = NOW,
        .expires_at = ENDS,
    };
}

static struct ma_consent put_consent(struct ma_span user, const char *id, const char *client, const char *audience)
{
    struct ma_consent c = consent(user, id, client, audience);
    T_OK(ma_consent_put(db, &c));
    return c;
}

static void expect_consent(const struct ma_consent *got, const struct ma_consent *c)
{
    T_SAME(got->id, c->id);
    T_SAME(got->user_id, c->user_id);
    T_SAME(got->client_id, c->client_id);
    T_SAME(got->audience, c->audience);
    T_SAME(got->scope, c->scope);
    ck_assert_int_eq(got->created_at, c->created_at);
    ck_assert_int_eq(got->expires_at, c->expires_at);
}

static struct ma_consent stored_consent(struct ma_span user, const char *id)
{
    struct ma_consent got = {0};
    T_OK(ma_consent_get(db, arena, user, ma_span_str(id), &got));
    return got;
}

START_TEST(test_consent_round_trip)
{
    struct ma_consent got, c = put_consent(ALICE, "cns_1", "spa", "api"), bare = consent(ALICE, "cns_2", "spa", "");
    bare.audience = bare.scope = MA_SPAN_NULL;
    bare.expires_at = 0;
    T_OK(ma_consent_put(db, &bare));
    got = stored_consent(ALICE, "cns_1");
    expect_consent(&got, &c);
    T_OK(ma_consent_find(db, arena, ALICE, c.client_id, c.audience, &got));
    expect_consent(&got, &c);
    T_OK(ma_consent_find(db, arena, ALICE, c.client_id, MA_SPAN_NULL, &got));
    T_STR(got.id, "cns_2");
    T_EMPTY(got.audience);
    T_EMPTY(got.scope);
    ck_assert_int_eq(got.expires_at, 0);
    T_IS(MA_E_NOTFOUND, ma_consent_get(db, arena, BOB, c.id, &got));
    T_IS(MA_E_NOTFOUND, ma_consent_get(db, arena, ALICE, MA_LIT("cns_3"), &got));
    T_IS(MA_E_NOTFOUND, ma_consent_find(db, arena, BOB, c.client_id, c.audience, &got));
    T_IS(MA_E_NOTFOUND, ma_consent_find(db, arena, ALICE, MA_LIT("app"), c.audience, &got));
    T_IS(MA_E_NOTFOUND, ma_consent_find(db, arena, ALICE, c.client_id, MA_LIT("API"), &got));
}
END_TEST

/* One for each client and audience: a second one extends the first. */
START_TEST(test_consent_put_again)
{
    struct ma_consent got, v[MANY], c = put_consent(ALICE, "cns_1", "spa", "api"), again = c;
    struct ma_consent others[] = {put_consent(BOB, "cns_1", "spa", "api"), put_consent(ALICE, "cns_2", "app", "api"),
                                  put_consent(ALICE, "cns_3", "spa", "another")};
    size_t n;
    again.id = MA_LIT("cns_9");
    again.scope = c.scope = MA_LIT("openid profile email");
    again.expires_at = c.expires_at = ENDS + 5;
    again.created_at = NOW + 9;
    T_OK(ma_consent_put(db, &again));
    got = stored_consent(ALICE, "cns_1");
    expect_consent(&got, &c);
    T_IS(MA_E_NOTFOUND, ma_consent_get(db, arena, ALICE, again.id, &got));
    for (size_t i = 0; i < MA_COUNT(others); i++) {
        T_OK(ma_consent_get(db, arena, others[i].user_id, others[i].id, &got));
        expect_consent(&got, &others[i]);
    }
    T_OK(ma_consent_list(db, arena, ALICE, v, MANY, &n));
    ck_assert_uint_eq(n, 3);
    c = consent(ALICE, "cns_2", "web", "api"); /* an id is taken once */
    T_IS(MA_E_EXISTS, ma_consent_put(db, &c));
    c = consent(NOBODY, "cns_1", "spa", "api");
    T_IS(MA_E_CONFLICT, ma_consent_put(db, &c));
}
END_TEST

START_TEST(test_consent_list)
{
    static const struct {
        const char *id;
        int64_t age;
    } rows[] = {{"cns_c", 20}, {"cns_b", 20}, {"cns_a", 30}, {"cns_d", 10}};
    struct ma_consent v[MANY];
    size_t n = 99;
    T_OK(ma_consent_list(db, arena, ALICE, v, MANY, &n));
    ck_assert_uint_eq(n, 0);
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_consent c = consent(ALICE, rows[i].id, rows[i].id, "api");
        c.created_at = NOW - rows[i].age;
        T_OK(ma_consent_put(db, &c));
    }
    (void)put_consent(BOB, "cns_e", "spa", "api");
    T_OK(ma_consent_list(db, arena, ALICE, v, MANY, &n));
    ck_assert_uint_eq(n, 4);
    T_STR(v[0].id, "cns_d");
    T_STR(v[1].id, "cns_b");
    T_STR(v[2].id, "cns_c");
    T_STR(v[3].id, "cns_a");
    ck_assert_int_eq(v[3].created_at, NOW - 30);
    T_SAME(v[3].user_id, ALICE);
    T_OK(ma_consent_list(db, arena, ALICE, v, 4, &n));
    ck_assert_uint_eq(n, 4);
    T_IS(MA_E_RANGE, ma_consent_list(db, arena, ALICE, v, 3, &n));
    T_IS(MA_E_RANGE, ma_consent_list(db, arena, ALICE, v, 0, &n));
}
END_TEST

START_TEST(test_consent_delete)
{
    struct ma_consent got, c = put_consent(ALICE, "cns_1", "spa", "api");
    (void)put_consent(ALICE, "cns_2", "app", "api");
    (void)put_consent(BOB, "cns_1", "spa", "api");
    T_IS(MA_E_NOTFOUND, ma_consent_delete(db, BOB, MA_LIT("cns_2")));
    T_IS(MA_E_NOTFOUND, ma_consent_delete(db, ALICE, MA_LIT("cns_3")));
    T_OK(ma_consent_delete(db, ALICE, c.id));
    T_IS(MA_E_NOTFOUND, ma_consent_delete(db, ALICE, c.id));
    T_IS(MA_E_NOTFOUND, ma_consent_find(db, arena, ALICE, c.client_id, c.audience, &got));
    (void)stored_consent(ALICE, "cns_2");
    (void)stored_consent(BOB, "cns_1");
    (void)put_consent(ALICE, "cns_4", "spa", "api"); /* to be given anew */
}
END_TEST

/* --- all of them --- */

START_TEST(test_gone_with_the_user)
{
    struct ma_consent got;
    struct ma_family other = add_family(BOB, "spa", 2);
    (void)add_family(ALICE, "spa", 1);
    (void)add_code(ALICE, 1);
    struct ma_code kept = add_code(BOB, 2);
    (void)put_consent(ALICE, "cns_1", "spa", "api");
    (void)put_consent(BOB, "cns_1", "spa", "api");
    T_OK(ma_user_delete(db, ALICE));
    ck_assert(!has_family(1) && !has_code(1));
    T_IS(MA_E_NOTFOUND, ma_consent_get(db, arena, ALICE, MA_LIT("cns_1"), &got));
    expect_family(&other);
    expect_code(&kept);
    (void)stored_consent(BOB, "cns_1");
}
END_TEST

START_TEST(test_arena_full)
{
    struct ma_consent co, v[MANY], c = put_consent(ALICE, "cns_1", "spa", "api");
    struct ma_family fam, fa = add_family(ALICE, "spa", 1);
    struct ma_code got, cd = add_code(ALICE, 1);
    size_t n;
    struct ma_arena *small MA_CLEANUP(ma_arena_free_p) = ma_arena_new(64, 64);
    ck_assert_ptr_nonnull(small);
    T_IS(MA_E_NOMEM, ma_code_get(db, small, cd.code_mac, &got));
    T_IS(MA_E_NOMEM, ma_family_get(db, small, fa.id, &fam));
    T_IS(MA_E_NOMEM, ma_consent_get(db, small, ALICE, c.id, &co));
    T_IS(MA_E_NOMEM, ma_consent_find(db, small, ALICE, c.client_id, c.audience, &co));
    T_IS(MA_E_NOMEM, ma_consent_list(db, small, ALICE, v, MANY, &n));
}
END_TEST

static TCase *tcase(Suite *s, const char *name)
{
    TCase *t = tcase_create(name);
    tcase_add_checked_fixture(t, setup, teardown);
    suite_add_tcase(s, t);
    return t;
}

static Suite *suite(void)
{
    Suite *s = suite_create("grants store");
    TCase *t = tcase(s, "codes");
    tcase_add_test(t, test_code_round_trip);
    tcase_add_test(t, test_code_not_taken);
    tcase_add_test(t, test_code_use);
    tcase_add_test(t, test_codes_expire);
    t = tcase(s, "families");
    tcase_add_test(t, test_family_round_trip);
    tcase_add_test(t, test_family_not_taken);
    tcase_add_test(t, test_family_rotate);
    tcase_add_loop_test(t, test_family_lives, 0, MA_COUNT(lives));
    tcase_add_test(t, test_family_touch);
    tcase_add_test(t, test_family_step_up);
    tcase_add_test(t, test_family_revoke);
    tcase_add_loop_test(t, test_families_revoke, 0, MA_COUNT(revocations));
    tcase_add_test(t, test_family_limit);
    tcase_add_test(t, test_family_limit_old_clock);
    tcase_add_test(t, test_family_limit_ties_and_lapsed);
    tcase_add_loop_test(t, test_families_expire, 0, MA_COUNT(ends));
    tcase_add_test(t, test_families_expire_limit);
    t = tcase(s, "consents");
    tcase_add_test(t, test_consent_round_trip);
    tcase_add_test(t, test_consent_put_again);
    tcase_add_test(t, test_consent_list);
    tcase_add_test(t, test_consent_delete);
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
