/* SPDX-License-Identifier: Apache-2.0
 * The repositories of connections under way and of connected accounts.
 */
#include "ma/store.h"

#include <stdlib.h>

#include "../support/fixture.h"

#define NOW MA_FIX_START
#define ENDS (NOW + 300000)     /* when a connection of these tests lapses */
#define CODE_ENDS (NOW + 60000) /* its code */
#define ALICE MA_LIT(MA_FIX_ALICE)
#define BOB MA_LIT(MA_FIX_BOB)
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
#define T_EMPTY(span) ck_assert_msg((span).p && (span).n == 0, "%s is not the empty text", #span)
#define T_SAME(a, b) ck_assert_msg(ma_span_eq((a), (b)), "%s is not %s", #a, #b)

/* --- connections under way --- */

/* What a 32-byte MAC says does not matter here; that it is its own does. */
static struct ma_span mac(char kind, int n)
{
    uint8_t bytes[32] = {(uint8_t)kind, 0, 0xff, (uint8_t)n};
    return ma_arena_dup(arena, ma_span_of(bytes, sizeof bytes));
}

static struct ma_connect connect_of(struct ma_span user, int n)
{
    return (struct ma_connect){
        .session_mac = mac('s', n),
        .ticket_mac = mac('t', n),
        .user_id = user,
        .client_id = MA_LIT("spa"),
        .connection = MA_LIT("google-oauth2"),
        .provider = MA_LIT("https://accounts.google.com"),
        .origin = MA_LIT("https://id.example.com"),
        .redirect_uri = MA_LIT("https://app.example.com/cb?x=1"),
        .client_state = MA_LIT("s+/="),
        .code_challenge = MA_LIT("challenge"),
        .jkt = MA_LIT("thumbprint"),
        .org_id = MA_LIT("org_1"),
        .scopes = MA_LIT("email openid"),
        .params = MA_LIT("prompt=consent"),
        .state_mac = mac('z', n),
        .cookie_mac = mac('k', n),
        .code_mac = mac('c', n),
        .secret = MA_LIT("sealed secret"),
        .result = MA_LIT("sealed result"),
        .code_expires_at = CODE_ENDS,
        .created_at = NOW,
        .expires_at = ENDS,
    };
}

static struct ma_connect stored(const struct ma_connect *c)
{
    struct ma_connect got = {0};
    T_OK(ma_connect_get(db, arena, c->user_id, c->session_mac, &got));
    return got;
}

static int no_step(const struct ma_connect *c, int64_t now)
{
    (void)c, (void)now;
    return MA_OK;
}

static int do_return(const struct ma_connect *c, int64_t now)
{
    return ma_connect_return(db, c->user_id, c->session_mac, now);
}

static int do_start(const struct ma_connect *c, int64_t now)
{
    return ma_connect_start(db, c, now);
}

static int do_authorize(const struct ma_connect *c, int64_t now)
{
    return ma_connect_authorize(db, c, now);
}

static int do_complete(const struct ma_connect *c, int64_t now)
{
    return ma_connect_complete(db, c->user_id, c->session_mac, now);
}

/* How to come to each stage from the one before. */
static const struct {
    const char *name;
    int (*go)(const struct ma_connect *c, int64_t now);
    int64_t until; /* when it is too late */
} steps[] = {
    [MA_CONNECT_NEW] = {"insert", no_step, 0},
    [MA_CONNECT_STARTED] = {"start", do_start, ENDS},
    [MA_CONNECT_RETURNED] = {"return", do_return, ENDS},
    [MA_CONNECT_AUTHORIZED] = {"authorize", do_authorize, ENDS},
    [MA_CONNECT_OVER] = {"complete", do_complete, CODE_ENDS},
};

static struct ma_connect at_stage(struct ma_span user, int n, int stage)
{
    struct ma_connect c = connect_of(user, n);
    T_OK(ma_connect_insert(db, &c));
    for (int i = 1; i <= stage; i++)
        T_OK(steps[i].go(&c, NOW + i));
    return c;
}

static void expect_given(const struct ma_connect *got, const struct ma_connect *c)
{
    T_SAME(got->session_mac, c->session_mac);
    T_SAME(got->ticket_mac, c->ticket_mac);
    T_SAME(got->user_id, c->user_id);
    T_SAME(got->client_id, c->client_id);
    T_SAME(got->connection, c->connection);
    T_SAME(got->provider, c->provider);
    T_SAME(got->origin, c->origin);
    T_SAME(got->redirect_uri, c->redirect_uri);
    bool over = got->stage == MA_CONNECT_OVER;
    T_SAME(got->client_state, over ? MA_SPAN_NULL : c->client_state);
    T_SAME(got->params, over ? MA_SPAN_NULL : c->params);
    T_SAME(got->code_challenge, c->code_challenge);
    T_SAME(got->jkt, c->jkt);
    T_SAME(got->org_id, c->org_id);
    T_SAME(got->scopes, c->scopes);
    ck_assert_int_eq(got->created_at, c->created_at);
    ck_assert_int_eq(got->expires_at, c->expires_at);
}

START_TEST(test_connect_insert)
{
    struct ma_connect got, c = connect_of(ALICE, 1);
    c.stage = MA_CONNECT_AUTHORIZED; /* what belongs to later stages is not taken */
    T_OK(ma_connect_insert(db, &c));
    T_OK(ma_connect_by_ticket(db, arena, c.ticket_mac, &got));
    expect_given(&got, &c);
    ck_assert_int_eq(got.stage, MA_CONNECT_NEW);
    T_NULL(got.state_mac);
    T_NULL(got.cookie_mac);
    T_NULL(got.code_mac);
    T_NULL(got.secret);
    T_NULL(got.result);
    ck_assert_int_eq(got.started_at, 0);
    ck_assert_int_eq(got.code_expires_at, 0);
}
END_TEST

START_TEST(test_connect_null_and_empty)
{
    struct ma_connect got, c = connect_of(ALICE, 1);
    c.client_state = c.code_challenge = c.jkt = c.org_id = MA_SPAN_NULL;
    c.scopes = c.params = MA_SPAN_NULL;
    T_OK(ma_connect_insert(db, &c));
    got = stored(&c);
    T_NULL(got.client_state);
    T_NULL(got.code_challenge);
    T_NULL(got.jkt);
    T_NULL(got.org_id);
    T_EMPTY(got.scopes);
    T_NULL(got.params);
    c = connect_of(ALICE, 2);
    c.client_state = c.code_challenge = c.jkt = c.org_id = MA_LIT("");
    T_OK(ma_connect_insert(db, &c));
    got = stored(&c);
    T_EMPTY(got.client_state);
    T_EMPTY(got.code_challenge);
    T_EMPTY(got.jkt);
    T_EMPTY(got.org_id);
}
END_TEST

START_TEST(test_connect_not_taken)
{
    struct ma_connect c = at_stage(ALICE, 1, MA_CONNECT_STARTED), other = connect_of(BOB, 2);
    other.session_mac = c.session_mac;
    T_IS(MA_E_EXISTS, ma_connect_insert(db, &other));
    other = connect_of(BOB, 2);
    other.ticket_mac = c.ticket_mac;
    T_IS(MA_E_EXISTS, ma_connect_insert(db, &other));
    other = connect_of(BOB, 2);
    other.session_mac = ma_span_of(c.session_mac.p, 31);
    T_IS(MA_E_CONFLICT, ma_connect_insert(db, &other));
    other = connect_of(BOB, 2);
    other.ticket_mac = MA_SPAN_NULL;
    T_IS(MA_E_CONFLICT, ma_connect_insert(db, &other));
    other = connect_of(MA_LIT("auth0|nobody"), 2);
    T_IS(MA_E_CONFLICT, ma_connect_insert(db, &other));
    other = at_stage(BOB, 2, MA_CONNECT_NEW);
    other.state_mac = c.state_mac;
    T_IS(MA_E_EXISTS, ma_connect_start(db, &other, NOW));
    other.state_mac = MA_LIT("short");
    T_IS(MA_E_CONFLICT, ma_connect_start(db, &other, NOW));
    ck_assert_int_eq(stored(&other).stage, MA_CONNECT_NEW);
}
END_TEST

START_TEST(test_connect_lookups)
{
    struct ma_connect got, c = at_stage(ALICE, 1, MA_CONNECT_STARTED), fresh = at_stage(BOB, 2, MA_CONNECT_NEW);
    T_OK(ma_connect_by_state(db, arena, c.state_mac, &got));
    expect_given(&got, &c);
    T_OK(ma_connect_by_ticket(db, arena, fresh.ticket_mac, &got));
    expect_given(&got, &fresh);
    T_IS(MA_E_NOTFOUND, ma_connect_by_state(db, arena, fresh.state_mac, &got));
    T_IS(MA_E_NOTFOUND, ma_connect_by_state(db, arena, MA_SPAN_NULL, &got)); /* not the rows that have none */
    T_IS(MA_E_NOTFOUND, ma_connect_by_state(db, arena, c.ticket_mac, &got));
    T_IS(MA_E_NOTFOUND, ma_connect_by_ticket(db, arena, MA_SPAN_NULL, &got));
    T_IS(MA_E_NOTFOUND, ma_connect_by_ticket(db, arena, ma_span_of(c.ticket_mac.p, 31), &got));
    T_IS(MA_E_NOTFOUND, ma_connect_get(db, arena, BOB, c.session_mac, &got));
    T_IS(MA_E_NOTFOUND, ma_connect_get(db, arena, ALICE, fresh.session_mac, &got));
    T_OK(ma_connect_abandon(db, ALICE, c.session_mac, MA_CONNECT_STARTED));
    T_OK(ma_connect_by_state(db, arena, c.state_mac, &got));
    T_OK(ma_connect_by_ticket(db, arena, c.ticket_mac, &got));
    ck_assert_int_eq(got.stage, MA_CONNECT_OVER);
}
END_TEST

START_TEST(test_connect_stages)
{
    struct ma_connect got, c = at_stage(ALICE, 1, MA_CONNECT_STARTED), other = at_stage(ALICE, 2, MA_CONNECT_NEW);
    got = stored(&c);
    ck_assert_int_eq(got.stage, MA_CONNECT_STARTED);
    ck_assert_int_eq(got.started_at, NOW + MA_CONNECT_STARTED);
    T_SAME(got.state_mac, c.state_mac);
    T_SAME(got.cookie_mac, c.cookie_mac);
    T_SAME(got.secret, c.secret);
    T_NULL(got.code_mac);
    T_NULL(got.result);
    T_OK(do_return(&c, NOW));
    ck_assert_int_eq(stored(&c).stage, MA_CONNECT_RETURNED);
    T_OK(do_authorize(&c, NOW));
    got = stored(&c);
    ck_assert_int_eq(got.stage, MA_CONNECT_AUTHORIZED);
    T_SAME(got.code_mac, c.code_mac);
    T_SAME(got.secret, c.secret);
    T_SAME(got.result, c.result);
    ck_assert_int_eq(got.code_expires_at, CODE_ENDS);
    T_OK(do_complete(&c, NOW));
    got = stored(&c);
    expect_given(&got, &c);
    ck_assert_int_eq(got.stage, MA_CONNECT_OVER);
    T_NULL(got.secret);
    T_NULL(got.result);
    ck_assert_int_eq(got.started_at, NOW + MA_CONNECT_STARTED);
    ck_assert_int_eq(stored(&other).stage, MA_CONNECT_NEW); /* the user's other one stays where it is */
}
END_TEST

/* Loops over the pairs of a stage that is and a step that is tried. */
START_TEST(test_connect_wrong_stage)
{
    int is = _i / (MA_CONNECT_OVER + 1), to = _i % (MA_CONNECT_OVER + 1);
    if (to == 0 || to == is + 1)
        return;
    struct ma_connect before, after, c = at_stage(ALICE, 1, is);
    before = stored(&c);
    c.state_mac = mac('Z', 9), c.cookie_mac = mac('K', 9), c.code_mac = mac('C', 9);
    c.secret = c.result = MA_LIT("another");
    ck_assert_msg(steps[to].go(&c, NOW) == MA_E_CONFLICT, "%s at stage %d", steps[to].name, is);
    after = stored(&c);
    ck_assert_int_eq(after.stage, is);
    ck_assert(ma_span_eq(after.state_mac, before.state_mac) && ma_span_eq(after.cookie_mac, before.cookie_mac));
    ck_assert(ma_span_eq(after.code_mac, before.code_mac) && ma_span_eq(after.secret, before.secret));
    ck_assert(ma_span_eq(after.result, before.result));
}
END_TEST

START_TEST(test_connect_step_refused)
{
    struct ma_connect other, c = at_stage(ALICE, 1, _i - 1);
    int64_t until = steps[_i].until;
    T_IS(MA_E_CONFLICT, steps[_i].go(&c, until));
    T_IS(MA_E_CONFLICT, steps[_i].go(&c, until + 1));
    other = c;
    other.user_id = BOB;
    T_IS(MA_E_CONFLICT, steps[_i].go(&other, NOW));
    other = c;
    other.session_mac = mac('s', 2);
    T_IS(MA_E_CONFLICT, steps[_i].go(&other, NOW));
    ck_assert_int_eq(stored(&c).stage, _i - 1);
    T_OK(steps[_i].go(&c, until - 1));
    T_IS(MA_E_CONFLICT, steps[_i].go(&c, NOW)); /* once */
}
END_TEST

/* A code that would outlive its connection does not. */
START_TEST(test_connect_complete_within_both)
{
    struct ma_connect c = at_stage(ALICE, 1, MA_CONNECT_RETURNED);
    c.code_expires_at = ENDS + 1000;
    T_OK(do_authorize(&c, NOW));
    T_IS(MA_E_CONFLICT, do_complete(&c, ENDS));
    T_OK(do_complete(&c, ENDS - 1));
}
END_TEST

START_TEST(test_connect_abandon)
{
    struct ma_connect got, c = at_stage(ALICE, 1, _i), other = at_stage(ALICE, 2, MA_CONNECT_STARTED);
    T_IS(MA_E_CONFLICT, ma_connect_abandon(db, BOB, c.session_mac, (enum ma_connect_stage)_i));
    T_IS(MA_E_CONFLICT, ma_connect_abandon(db, ALICE, mac('s', 3), (enum ma_connect_stage)_i));
    for (int seen = MA_CONNECT_NEW; seen <= MA_CONNECT_OVER; seen++) /* not the stage it is in: not this caller's */
        if (seen != _i)
            T_IS(MA_E_CONFLICT, ma_connect_abandon(db, ALICE, c.session_mac, (enum ma_connect_stage)seen));
    ck_assert_int_eq(stored(&c).stage, _i);
    T_OK(ma_connect_abandon(db, ALICE, c.session_mac, (enum ma_connect_stage)_i));
    got = stored(&c);
    expect_given(&got, &c);
    ck_assert_int_eq(got.stage, MA_CONNECT_OVER);
    T_NULL(got.secret);
    T_NULL(got.result);
    for (int to = MA_CONNECT_STARTED; to <= MA_CONNECT_OVER; to++)
        T_IS(MA_E_CONFLICT, steps[to].go(&c, NOW));
    got = stored(&other);
    ck_assert_int_eq(got.stage, MA_CONNECT_STARTED);
    T_SAME(got.secret, other.secret);
}
END_TEST

static bool there(struct ma_span user, int n)
{
    struct ma_connect got;
    int r = ma_connect_get(db, arena, user, mac('s', n), &got);
    ck_assert(r == MA_OK || r == MA_E_NOTFOUND);
    return r == MA_OK;
}

static void add_connect(struct ma_span user, int n, int64_t created_at, int64_t expires_at)
{
    struct ma_connect c = connect_of(user, n);
    c.created_at = created_at;
    c.expires_at = expires_at;
    T_OK(ma_connect_insert(db, &c));
}

static const struct {
    const char *name;
    int keep;
    const char *left; /* of alice's 1 … 5, newest first: 3 5 1 4 2 */
} trims[] = {
    {"all", 0, "....."},
    {"one", 1, "..3.."},
    {"three", 3, "1.3.5"},
    {"as many as it has", 5, "12345"},
    {"more than it has", 100, "12345"},
};

START_TEST(test_connect_trim)
{
    static const int age[] = {0, 30, 50, 10, 40, 20};
    for (int n = 1; n <= 5; n++)
        add_connect(ALICE, n, NOW - age[n], ENDS);
    add_connect(BOB, 6, NOW - 100, ENDS);
    T_OK(ma_connect_trim(db, ALICE, trims[_i].keep));
    for (int n = 1; n <= 5; n++)
        ck_assert_msg(there(ALICE, n) == (trims[_i].left[n - 1] != '.'), "%s: %d", trims[_i].name, n);
    ck_assert(there(BOB, 6));
}
END_TEST

/* Of the same moment as many stay as may, whichever. */
START_TEST(test_connect_trim_ties)
{
    int left = 0;
    for (int n = 1; n <= 5; n++)
        add_connect(ALICE, n, NOW, ENDS);
    T_OK(ma_connect_trim(db, ALICE, 2));
    for (int n = 1; n <= 5; n++)
        left += there(ALICE, n);
    ck_assert_int_eq(left, 2);
    T_OK(ma_connect_trim(db, BOB, 0)); /* has none */
    T_IS(MA_E_INVAL, ma_connect_trim(db, ALICE, -1));
}
END_TEST

START_TEST(test_connect_expire)
{
    add_connect(ALICE, 1, NOW, NOW + 10);
    add_connect(BOB, 2, NOW, NOW + 20);
    add_connect(ALICE, 3, NOW, NOW + 30);
    struct ma_connect over = at_stage(BOB, 4, MA_CONNECT_OVER); /* until ENDS, as any other */
    T_IS(0, ma_connect_expire(db, NOW + 10, 10));
    ck_assert(there(ALICE, 1));
    T_IS(1, ma_connect_expire(db, NOW + 31, 1)); /* the longest lapsed first */
    ck_assert(!there(ALICE, 1) && there(BOB, 2) && there(ALICE, 3));
    T_IS(1, ma_connect_expire(db, NOW + 30, 10));
    ck_assert(!there(BOB, 2) && there(ALICE, 3));
    T_IS(1, ma_connect_expire(db, ENDS, 10));
    ck_assert(there(BOB, 4));
    T_IS(1, ma_connect_expire(db, ENDS + 1, 10));
    T_IS(MA_E_CONFLICT, do_complete(&over, NOW));
    T_IS(0, ma_connect_expire(db, INT64_MAX, 10));
    T_IS(MA_E_INVAL, ma_connect_expire(db, NOW, 0));
    T_IS(MA_E_INVAL, ma_connect_expire(db, NOW, -1));
}
END_TEST

/* --- connected accounts --- */

static struct ma_account account(struct ma_span user, const char *id, const char *subject)
{
    return (struct ma_account){
        .id = ma_span_str(id),
        .user_id = user,
        .connection = MA_LIT("google-oauth2"),
        .provider = MA_LIT("https://accounts.google.com"),
        .subject = ma_span_str(subject),
        .client_id = MA_LIT("spa"),
        .org_id = MA_LIT("org_1"),
        .scopes = MA_LIT("email openid"),
        .access_token = MA_LIT("sealed access"),
        .refresh_token = MA_LIT("sealed refresh"),
        .claims = MA_LIT("sealed claims"),
        .access_expires_at = NOW + 3600,
        .refresh_expires_at = NOW + 7200,
        .created_at = NOW,
        .updated_at = NOW + 1,
        .used_at = NOW + 2,
    };
}

static struct ma_account add_account(struct ma_span user, const char *id, const char *subject)
{
    struct ma_account acc = account(user, id, subject);
    T_OK(ma_account_insert(db, &acc));
    acc.version = 1;
    return acc;
}

static struct ma_account kept(const struct ma_account *acc)
{
    struct ma_account got = {0};
    T_OK(ma_account_get(db, arena, acc->user_id, acc->id, &got));
    return got;
}

static int owner(struct ma_arena *a, const struct ma_account *acc, struct ma_account *ret)
{
    struct ma_account_name name = {acc->connection, acc->provider, acc->subject};
    return ma_account_owner(db, a, &name, ret);
}

static void expect_account(const struct ma_account *got, const struct ma_account *acc)
{
    T_SAME(got->id, acc->id);
    T_SAME(got->user_id, acc->user_id);
    T_SAME(got->connection, acc->connection);
    T_SAME(got->provider, acc->provider);
    T_SAME(got->subject, acc->subject);
    T_SAME(got->client_id, acc->client_id);
    T_SAME(got->org_id, acc->org_id);
    T_SAME(got->scopes, acc->scopes);
    T_SAME(got->access_token, acc->access_token);
    T_SAME(got->refresh_token, acc->refresh_token);
    T_SAME(got->claims, acc->claims);
    ck_assert_int_eq(got->access_expires_at, acc->access_expires_at);
    ck_assert_int_eq(got->refresh_expires_at, acc->refresh_expires_at);
    ck_assert_int_eq(got->needs_reconnect, acc->needs_reconnect);
    ck_assert_int_eq(got->version, acc->version);
    ck_assert_int_eq(got->created_at, acc->created_at);
    ck_assert_int_eq(got->updated_at, acc->updated_at);
    ck_assert_int_eq(got->used_at, acc->used_at);
}

/* It is as it was stored. */
static void expect_untouched(const struct ma_account *acc)
{
    struct ma_account got = kept(acc);
    expect_account(&got, acc);
}

static void expect_dropped(const struct ma_account *acc, int64_t at)
{
    struct ma_account want = *acc;
    want.access_token = want.refresh_token = MA_SPAN_NULL;
    want.needs_reconnect = true;
    want.version++;
    want.updated_at = at;
    struct ma_account got = kept(acc);
    T_NULL(got.access_token);
    T_NULL(got.refresh_token);
    expect_account(&got, &want);
}

START_TEST(test_account_round_trip)
{
    struct ma_account got, acc = account(ALICE, "cac_1", "g-1");
    T_IS(MA_E_NOTFOUND, ma_account_get(db, arena, ALICE, acc.id, &got));
    acc.version = 7; /* not taken */
    T_OK(ma_account_insert(db, &acc));
    acc.version = 1;
    expect_untouched(&acc);
    T_IS(MA_E_NOTFOUND, ma_account_get(db, arena, BOB, acc.id, &got));
    T_IS(MA_E_NOTFOUND, ma_account_get(db, arena, ALICE, MA_LIT("cac_2"), &got));
}
END_TEST

START_TEST(test_account_null_and_empty)
{
    struct ma_account got, acc = account(ALICE, "cac_1", "g-1");
    acc.org_id = acc.scopes = acc.access_token = acc.refresh_token = MA_SPAN_NULL;
    T_OK(ma_account_insert(db, &acc));
    got = kept(&acc);
    T_NULL(got.org_id);
    T_NULL(got.access_token);
    T_NULL(got.refresh_token);
    T_EMPTY(got.scopes);
    acc = account(ALICE, "cac_2", "");
    acc.org_id = MA_LIT("");
    T_OK(ma_account_insert(db, &acc));
    got = kept(&acc);
    T_EMPTY(got.org_id);
    T_EMPTY(got.subject);
    acc = account(ALICE, "cac_3", "g-3");
    acc.claims = MA_SPAN_NULL;
    T_IS(MA_E_CONFLICT, ma_account_insert(db, &acc));
    acc = account(MA_LIT("auth0|nobody"), "cac_3", "g-3");
    T_IS(MA_E_CONFLICT, ma_account_insert(db, &acc));
}
END_TEST

START_TEST(test_account_has_one_owner)
{
    struct ma_account got, acc = add_account(ALICE, "cac_1", "g-1"), other = account(BOB, "cac_2", "g-1");
    T_IS(MA_E_EXISTS, ma_account_insert(db, &other));
    T_OK(owner(arena, &other, &got));
    expect_account(&got, &acc);
    other.user_id = ALICE; /* herself neither: that is a reconnect */
    T_IS(MA_E_EXISTS, ma_account_insert(db, &other));
    other = account(ALICE, "cac_1", "g-2");
    T_IS(MA_E_EXISTS, ma_account_insert(db, &other));
    T_IS(MA_E_NOTFOUND, owner(arena, &other, &got));
    other = account(BOB, "cac_1", "g-1"); /* the provider's id counts within the connection */
    other.connection = MA_LIT("github");
    T_IS(MA_E_NOTFOUND, owner(arena, &other, &got));
    T_OK(ma_account_insert(db, &other));
    T_OK(owner(arena, &other, &got));
    T_STR(got.user_id, MA_FIX_BOB);
    expect_untouched(&acc);
    other = account(BOB, "cac_4", "g-1"); /* and with the one the connection leads to */
    other.provider = MA_LIT("https://elsewhere.example");
    T_IS(MA_E_NOTFOUND, owner(arena, &other, &got));
    T_OK(ma_account_insert(db, &other));
    T_OK(owner(arena, &other, &got));
    T_STR(got.id, "cac_4");
    T_OK(ma_account_delete(db, ALICE, acc.id));
    T_IS(MA_E_NOTFOUND, owner(arena, &acc, &got));
    (void)add_account(BOB, "cac_3", "g-1"); /* free again */
}
END_TEST

static void add_at(struct ma_span user, const char *id, int64_t created_at)
{
    struct ma_account acc = account(user, id, id);
    acc.created_at = created_at;
    T_OK(ma_account_insert(db, &acc));
}

START_TEST(test_account_list)
{
    static const char *const order[] = {"cac_new", "cac_a", "cac_b", "cac_old"};
    struct ma_account v[MANY];
    size_t n = 9;
    int64_t count = 9;
    T_OK(ma_account_list(db, arena, ALICE, v, MANY, &n));
    ck_assert_uint_eq(n, 0);
    T_OK(ma_account_count(db, ALICE, &count));
    ck_assert_int_eq(count, 0);
    add_at(ALICE, "cac_b", NOW);
    add_at(ALICE, "cac_old", NOW - 1);
    add_at(BOB, "cac_bob", NOW);
    add_at(ALICE, "cac_new", NOW + 1);
    add_at(ALICE, "cac_a", NOW);
    T_OK(ma_account_list(db, arena, ALICE, v, MANY, &n));
    ck_assert_uint_eq(n, MA_COUNT(order));
    for (size_t i = 0; i < n; i++)
        T_STR(v[i].id, order[i]);
    T_SAME(v[3].provider, MA_LIT("https://accounts.google.com"));
    for (size_t i = 0; i < n; i++) { /* of what is large and secret nothing is read */
        T_NULL(v[i].claims);
        T_NULL(v[i].access_token);
        T_NULL(v[i].refresh_token);
    }
    T_OK(ma_account_count(db, ALICE, &count));
    ck_assert_int_eq(count, 4);
    T_OK(ma_account_list(db, arena, BOB, v, MANY, &n));
    ck_assert_uint_eq(n, 1);
}
END_TEST

START_TEST(test_account_list_cap)
{
    struct ma_account v[MANY];
    size_t n = 9;
    T_OK(ma_account_list(db, arena, ALICE, v, 0, &n));
    ck_assert_uint_eq(n, 0);
    add_at(ALICE, "cac_1", NOW);
    add_at(ALICE, "cac_2", NOW + 1);
    T_OK(ma_account_list(db, arena, ALICE, v, 2, &n));
    ck_assert_uint_eq(n, 2);
    T_IS(MA_E_RANGE, ma_account_list(db, arena, ALICE, v, 1, &n));
    T_IS(MA_E_RANGE, ma_account_list(db, arena, ALICE, v, 0, &n));
    T_OK(ma_account_list(db, arena, BOB, v, 1, &n));
    ck_assert_uint_eq(n, 0);
}
END_TEST

START_TEST(test_account_claims)
{
    struct ma_account acc = add_account(ALICE, "cac_1", "g-1");
    struct ma_span got = MA_SPAN_NULL;
    T_OK(ma_account_claims(db, arena, ALICE, acc.id, &got));
    T_SAME(got, acc.claims);
    T_IS(MA_E_NOTFOUND, ma_account_claims(db, arena, BOB, acc.id, &got));
    T_IS(MA_E_NOTFOUND, ma_account_claims(db, arena, ALICE, MA_LIT("cac_2"), &got));
}
END_TEST

/* Everything that a change may set, set to something else. */
static struct ma_account changed(const struct ma_account *acc)
{
    struct ma_account c = *acc;
    c.connection = MA_LIT("other");
    c.subject = MA_LIT("other subject");
    c.client_id = MA_LIT("native");
    c.org_id = MA_SPAN_NULL;
    c.scopes = MA_LIT("calendar email");
    c.access_token = MA_LIT("access 2");
    c.refresh_token = MA_LIT("refresh 2");
    c.claims = MA_LIT("claims 2");
    c.access_expires_at = 0;
    c.refresh_expires_at = NOW + 9000;
    c.created_at = NOW + 50;
    c.updated_at = NOW + 51;
    c.used_at = NOW + 52;
    return c;
}

START_TEST(test_account_reconnect)
{
    struct ma_account got, acc = add_account(ALICE, "cac_1", "g-1"), other = add_account(ALICE, "cac_2", "g-2");
    T_OK(ma_account_fail(db, ALICE, acc.id, 1, NOW));
    struct ma_account anew = changed(&acc);
    anew.user_id = BOB;
    T_IS(MA_E_NOTFOUND, ma_account_reconnect(db, &anew));
    anew.user_id = ALICE;
    anew.id = MA_LIT("cac_3");
    T_IS(MA_E_NOTFOUND, ma_account_reconnect(db, &anew));
    expect_dropped(&acc, NOW);
    anew.id = acc.id;
    T_OK(ma_account_reconnect(db, &anew));
    struct ma_account want = anew;
    want.connection = acc.connection;
    want.subject = acc.subject;
    want.created_at = acc.created_at;
    want.version = 3; /* the failure was the second */
    got = kept(&acc);
    T_NULL(got.org_id);
    expect_account(&got, &want);
    expect_untouched(&other);
}
END_TEST

START_TEST(test_account_refreshed)
{
    struct ma_account got, acc = add_account(ALICE, "cac_1", "g-1"), other = add_account(ALICE, "cac_2", "g-2");
    struct ma_account fresh = changed(&acc), want = acc;
    T_OK(ma_account_refreshed(db, &fresh));
    want.scopes = fresh.scopes;
    want.access_token = fresh.access_token;
    want.refresh_token = fresh.refresh_token;
    want.access_expires_at = fresh.access_expires_at;
    want.refresh_expires_at = fresh.refresh_expires_at;
    want.updated_at = fresh.updated_at;
    want.used_at = fresh.used_at;
    want.version = 2;
    expect_untouched(&want);
    expect_untouched(&other);
    fresh = want;
    fresh.refresh_token = MA_SPAN_NULL; /* as given, too: what is kept is the caller's to say */
    T_OK(ma_account_refreshed(db, &fresh));
    got = kept(&acc);
    T_NULL(got.refresh_token);
    T_SAME(got.access_token, want.access_token);
    ck_assert_int_eq(got.version, 3);
}
END_TEST

START_TEST(test_account_change_refused)
{
    static const int64_t wrong[] = {0, 1, 3, -1, INT64_MAX};
    struct ma_account acc = add_account(ALICE, "cac_1", "g-1"), c;
    T_OK(ma_account_refreshed(db, &acc));
    acc.version = 2;
    for (size_t i = 0; i < MA_COUNT(wrong); i++) {
        c = changed(&acc);
        c.version = wrong[i];
        T_IS(MA_E_CONFLICT, ma_account_refreshed(db, &c));
        T_IS(MA_E_CONFLICT, ma_account_fail(db, ALICE, acc.id, wrong[i], NOW + 9));
    }
    c = changed(&acc);
    c.user_id = BOB;
    T_IS(MA_E_CONFLICT, ma_account_refreshed(db, &c));
    T_IS(MA_E_CONFLICT, ma_account_fail(db, BOB, acc.id, 2, NOW + 9));
    c = changed(&acc);
    c.id = MA_LIT("cac_2");
    T_IS(MA_E_CONFLICT, ma_account_refreshed(db, &c));
    T_IS(MA_E_CONFLICT, ma_account_fail(db, ALICE, c.id, 2, NOW + 9));
    expect_untouched(&acc);
}
END_TEST

/* A refresh under way when the tokens went does not bring them back; a connection anew makes a failure void. */
START_TEST(test_account_fail)
{
    struct ma_account acc = add_account(ALICE, "cac_1", "g-1"), other = add_account(BOB, "cac_1", "g-2");
    T_OK(ma_account_fail(db, ALICE, acc.id, 1, NOW + 5));
    expect_dropped(&acc, NOW + 5);
    expect_untouched(&other);
    T_IS(MA_E_CONFLICT, ma_account_fail(db, ALICE, acc.id, 1, NOW + 6));
    struct ma_account late = changed(&acc);
    T_IS(MA_E_CONFLICT, ma_account_refreshed(db, &late));
    late.version = 2;
    T_IS(MA_E_CONFLICT, ma_account_refreshed(db, &late)); /* there was nothing to refresh with */
    expect_dropped(&acc, NOW + 5);
    T_OK(ma_account_reconnect(db, &acc));
    T_IS(MA_E_CONFLICT, ma_account_fail(db, ALICE, acc.id, 2, NOW + 7));
    acc.version = 3;
    expect_untouched(&acc);
}
END_TEST

START_TEST(test_account_used)
{
    struct ma_account acc = add_account(ALICE, "cac_1", "g-1"), other = add_account(ALICE, "cac_2", "g-2");
    T_IS(MA_E_NOTFOUND, ma_account_used(db, BOB, acc.id, NOW + 8));
    T_IS(MA_E_NOTFOUND, ma_account_used(db, ALICE, MA_LIT("cac_3"), NOW + 8));
    expect_untouched(&acc);
    T_OK(ma_account_used(db, ALICE, acc.id, NOW + 8));
    acc.used_at = NOW + 8;
    expect_untouched(&acc);
    expect_untouched(&other);
}
END_TEST

START_TEST(test_account_delete)
{
    struct ma_account got, acc = add_account(ALICE, "cac_1", "g-1"), other = add_account(ALICE, "cac_2", "g-2");
    T_IS(MA_E_NOTFOUND, ma_account_delete(db, BOB, acc.id));
    T_IS(MA_E_NOTFOUND, ma_account_delete(db, ALICE, MA_LIT("cac_3")));
    T_OK(ma_account_delete(db, ALICE, acc.id));
    T_IS(MA_E_NOTFOUND, ma_account_get(db, arena, ALICE, acc.id, &got));
    T_IS(MA_E_NOTFOUND, ma_account_delete(db, ALICE, acc.id));
    expect_untouched(&other);
}
END_TEST

#define IDLE (NOW - 1000) /* what was last used before is idle */

static const struct {
    const char *name;
    int64_t refresh_expires_at, used_at;
    bool goes;
} lapses[] = {
    {"used, date ahead", NOW + 1, NOW, false},
    {"used, date unknown", 0, NOW, false},
    {"lapses now", NOW, NOW, false},
    {"lapsed a moment ago", NOW - 1, NOW, true},
    {"lapsed long ago", 1, NOW, true},
    {"used at the limit", NOW + 1, IDLE, false},
    {"idle, date ahead", NOW + 1, IDLE - 1, true},
    {"idle, date unknown", 0, IDLE - 1, true},
    {"never used", 0, 0, true},
    {"idle and lapsed: once", NOW - 1, IDLE - 1, true},
};

static struct ma_account add_lapsing(struct ma_span user, const char *id, int64_t refresh_expires_at, int64_t used_at)
{
    struct ma_account acc = account(user, id, id);
    acc.refresh_expires_at = refresh_expires_at;
    acc.used_at = used_at;
    T_OK(ma_account_insert(db, &acc));
    acc.version = 1;
    return acc;
}

START_TEST(test_account_lapse)
{
    struct ma_account alive = add_lapsing(ALICE, "cac_1", NOW + 1, NOW);
    struct ma_account acc = add_lapsing(BOB, "cac_2", lapses[_i].refresh_expires_at, lapses[_i].used_at);
    int n = ma_account_lapse(db, NOW, IDLE, 10);
    ck_assert_msg(n == (lapses[_i].goes ? 1 : 0), "%s: %d", lapses[_i].name, n);
    expect_untouched(&alive);
    if (!lapses[_i].goes) {
        expect_untouched(&acc);
        return;
    }
    expect_dropped(&acc, NOW);
    T_IS(0, ma_account_lapse(db, NOW + 1, IDLE, 10)); /* marked already */
    expect_dropped(&acc, NOW);
    T_IS(MA_E_CONFLICT, ma_account_refreshed(db, &acc));
}
END_TEST

/* The limit is for both reasons together; what has lapsed longest goes first. */
START_TEST(test_account_lapse_limit)
{
    struct ma_account late = add_lapsing(ALICE, "cac_1", NOW - 2, NOW), later = add_lapsing(BOB, "cac_2", NOW - 1, NOW);
    struct ma_account idle = add_lapsing(ALICE, "cac_3", 0, IDLE - 2), idler = add_lapsing(BOB, "cac_4", 0, IDLE - 3);
    T_IS(MA_E_INVAL, ma_account_lapse(db, NOW, IDLE, 0));
    T_IS(MA_E_INVAL, ma_account_lapse(db, NOW, IDLE, -1));
    T_IS(1, ma_account_lapse(db, NOW, IDLE, 1));
    expect_dropped(&late, NOW);
    expect_untouched(&later);
    expect_untouched(&idle);
    T_IS(2, ma_account_lapse(db, NOW, IDLE, 2));
    expect_dropped(&later, NOW);
    expect_untouched(&idle);
    expect_dropped(&idler, NOW);
    T_IS(1, ma_account_lapse(db, NOW, IDLE, 2));
    expect_dropped(&idle, NOW);
    T_IS(0, ma_account_lapse(db, NOW, IDLE, 2));
}
END_TEST

/* --- both --- */

START_TEST(test_gone_with_the_user)
{
    struct ma_account got, acc = add_account(ALICE, "cac_1", "g-1"), other = add_account(BOB, "cac_1", "g-2");
    struct ma_connect c = at_stage(ALICE, 1, MA_CONNECT_AUTHORIZED), row;
    (void)at_stage(BOB, 2, MA_CONNECT_STARTED);
    T_OK(ma_user_delete(db, ALICE));
    T_IS(MA_E_NOTFOUND, ma_account_get(db, arena, ALICE, acc.id, &got));
    T_IS(MA_E_NOTFOUND, owner(arena, &acc, &got));
    T_IS(MA_E_NOTFOUND, ma_connect_get(db, arena, ALICE, c.session_mac, &row));
    T_IS(MA_E_NOTFOUND, ma_connect_by_ticket(db, arena, c.ticket_mac, &row));
    T_IS(MA_E_NOTFOUND, ma_connect_by_state(db, arena, c.state_mac, &row));
    expect_untouched(&other);
    ck_assert(there(BOB, 2));
}
END_TEST

START_TEST(test_arena_full)
{
    struct ma_account got, v[MANY], acc = account(ALICE, "cac_1", "g-1");
    struct ma_connect row, c = at_stage(ALICE, 1, MA_CONNECT_AUTHORIZED);
    size_t n;
    acc.claims = ma_span_of(ma_arena_calloc(arena, 1, 70000), 70000);
    T_OK(ma_account_insert(db, &acc));
    struct ma_arena *small MA_CLEANUP(ma_arena_free_p) = ma_arena_new(64, 128);
    ck_assert_ptr_nonnull(small);
    T_IS(MA_E_NOMEM, ma_account_get(db, small, ALICE, acc.id, &got));
    T_IS(MA_E_NOMEM, owner(small, &acc, &got));
    T_IS(MA_E_NOMEM, ma_account_list(db, small, ALICE, v, MANY, &n));
    T_IS(MA_E_NOMEM, ma_connect_get(db, small, ALICE, c.session_mac, &row));
    T_IS(MA_E_NOMEM, ma_connect_by_ticket(db, small, c.ticket_mac, &row));
    T_OK(ma_account_get(db, arena, ALICE, acc.id, &got));
    ck_assert_uint_eq(got.claims.n, 70000);
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
    Suite *s = suite_create("accounts store");
    TCase *t = tcase(s, "connections under way");
    tcase_add_test(t, test_connect_insert);
    tcase_add_test(t, test_connect_null_and_empty);
    tcase_add_test(t, test_connect_not_taken);
    tcase_add_test(t, test_connect_lookups);
    tcase_add_test(t, test_connect_stages);
    tcase_add_loop_test(t, test_connect_wrong_stage, 0, (MA_CONNECT_OVER + 1) * (MA_CONNECT_OVER + 1));
    tcase_add_loop_test(t, test_connect_step_refused, MA_CONNECT_STARTED, MA_CONNECT_OVER + 1);
    tcase_add_test(t, test_connect_complete_within_both);
    tcase_add_loop_test(t, test_connect_abandon, MA_CONNECT_NEW, MA_CONNECT_OVER + 1);
    tcase_add_loop_test(t, test_connect_trim, 0, MA_COUNT(trims));
    tcase_add_test(t, test_connect_trim_ties);
    tcase_add_test(t, test_connect_expire);
    t = tcase(s, "accounts");
    tcase_add_test(t, test_account_round_trip);
    tcase_add_test(t, test_account_null_and_empty);
    tcase_add_test(t, test_account_has_one_owner);
    tcase_add_test(t, test_account_list);
    tcase_add_test(t, test_account_list_cap);
    tcase_add_test(t, test_account_claims);
    tcase_add_test(t, test_account_reconnect);
    tcase_add_test(t, test_account_refreshed);
    tcase_add_test(t, test_account_change_refused);
    tcase_add_test(t, test_account_fail);
    tcase_add_test(t, test_account_used);
    tcase_add_test(t, test_account_delete);
    tcase_add_loop_test(t, test_account_lapse, 0, MA_COUNT(lapses));
    tcase_add_test(t, test_account_lapse_limit);
    t = tcase(s, "both");
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
