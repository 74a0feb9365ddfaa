/* SPDX-License-Identifier: Apache-2.0
 * Security notices without HTTP: who hears of a change, what is kept and how, what undoing brings back and what not.
 */
#include "../support/fixture.h"

#include <stdio.h>
#include <stdlib.h>

#include "ma/notify.h"

static struct ma_fix f;
static struct ma_ctx *ctx;

static void setup(void)
{
    ma_fix_open(&f, "");
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    ctx->who.has_database = true;
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static struct ma_span insert(enum ma_factor type, const char *id, const char *address, int64_t at)
{
    struct ma_seal_id sid = {"methods", "secret", ma_span_str(id), ctx->who.user_id};
    struct ma_method m = {.id = ma_span_str(id), .type = type, .confirmed = true, .created_at = at};
    if (address)
        m.address = ma_span_str(address);
    if (type == MA_FACTOR_TOTP)
        T_OK(ma_vault_seal(f.app.vault, ctx->arena, &sid, MA_LIT("01234567890123456789"), &m.secret));
    T_OK(MA_FIX_WRITE(&f, ma_method_insert(ctx->db, ctx->who.user_id, &m)));
    return m.id;
}

static void unverify(void)
{
    struct ma_user u;
    T_OK(ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u));
    u.email_verified = false;
    T_OK(MA_FIX_WRITE(&f, ma_user_put(ctx->db, &u)));
}

static struct ma_notice reach(void)
{
    struct ma_notice n;
    T_OK(ma_notice_before(ctx, &n));
    return n;
}

/* Rows that a sweep takes. */
static int swept(int (*sweep)(struct ma_db *, int64_t, int), int64_t before)
{
    enum { MANY = 10 };
    ma_fix_begin(&f);
    int n = sweep(ctx->db, before, MANY);
    T_OK(ma_fix_end(&f, n < 0 ? n : MA_OK));
    return n;
}

/* --- who hears of it --- */

START_TEST(test_verified_address_first)
{
    (void)insert(MA_FACTOR_EMAIL, "email|dev_0000000000000001", "old@example.org", 1);
    struct ma_notice n = reach();
    ck_assert_uint_eq(n.n, 1);
    T_STR(n.reach[0].to, "bob@example.com");
    unverify();
    n = reach();
    ck_assert_uint_eq(n.n, 1);
    T_STR(n.reach[0].to, "old@example.org");
}
END_TEST

START_TEST(test_oldest_factor_otherwise)
{
    unverify();
    ck_assert_uint_eq(reach().n, 0);
    (void)insert(MA_FACTOR_PHONE, "phone|dev_0000000000000002", "+15550000002", 20);
    (void)insert(MA_FACTOR_PHONE, "phone|dev_0000000000000001", "+15550000001", 10);
    struct ma_notice n = reach();
    ck_assert_int_eq(n.reach[0].channel, MA_CHANNEL_SMS);
    T_STR(n.reach[0].to, "+15550000001");
    (void)insert(MA_FACTOR_EMAIL, "email|dev_0000000000000002", "late@example.org", 30);
    n = reach();
    ck_assert_uint_eq(n.n, 1);
    T_STR(n.reach[0].to, "late@example.org");
}
END_TEST

/* A removed address goes on hearing of changes while its removal can be undone. */
START_TEST(test_removed_address_still_hears)
{
    unverify();
    struct ma_span first = insert(MA_FACTOR_PHONE, "phone|dev_0000000000000001", "+15550000001", 10);
    (void)insert(MA_FACTOR_PHONE, "phone|dev_0000000000000002", "+15550000002", 20);
    T_OK(MA_FIX_WRITE(&f, ma_methods_delete(ctx, first)));
    T_STR(reach().reach[0].to, "+15550000001");
    ctx->now_ms += f.conf->notifications.undo_ttl * 1000 + 1;
    T_STR(reach().reach[0].to, "+15550000002");
}
END_TEST

START_TEST(test_nothing_where_nothing_can_be_sent)
{
    f.conf->delivery.email = "";
    f.conf->delivery.sms = "";
    (void)insert(MA_FACTOR_PHONE, "phone|dev_0000000000000001", "+15550000001", 10);
    ck_assert_uint_eq(reach().n, 0);
}
END_TEST

/* --- what is kept --- */

static struct ma_notice_row removal(struct ma_span id)
{
    struct ma_notice_row v[4];
    size_t n = 0;
    T_OK(MA_FIX_WRITE(&f, ma_methods_delete(ctx, id)));
    T_OK(ma_notice_list(ctx->db, ctx->arena, ctx->who.user_id, MA_LIT("factor_removed"), ctx->now_ms, v, MA_COUNT(v),
                        &n));
    ck_assert_uint_eq(n, 1);
    T_STR(v[0].subject, (const char *)id.p);
    return v[0];
}

START_TEST(test_kept_is_sealed_to_its_row)
{
    struct ma_notice_row row = removal(insert(MA_FACTOR_TOTP, "totp|dev_0000000000000001", NULL, 10));
    struct ma_span plain;
    ck_assert_ptr_nonnull(row.kept.p);
    ck_assert_ptr_null(memmem(row.kept.p, row.kept.n, "01234567890123456789", 20));
    struct ma_seal_id id = {"notices", "kept", row.id, row.user_id};
    T_OK(ma_vault_open_blob(f.app.vault, ctx->arena, &id, row.kept, &plain));
    id.column = "info";
    T_IS(MA_E_AUTH, ma_vault_open_blob(f.app.vault, ctx->arena, &id, row.kept, &plain));
    id = (struct ma_seal_id){"notices", "kept", row.id, MA_LIT("auth0|other")};
    T_IS(MA_E_AUTH, ma_vault_open_blob(f.app.vault, ctx->arena, &id, row.kept, &plain));
}
END_TEST

START_TEST(test_kept_goes_when_used_or_lapsed)
{
    struct ma_notice_row row = removal(insert(MA_FACTOR_TOTP, "totp|dev_0000000000000001", NULL, 10)), now;
    T_OK(MA_FIX_WRITE(&f, ma_notice_use(ctx->db, row.user_id, row.id, MA_LIT("restored"), ctx->now_ms)));
    T_OK(ma_notice_by_token(ctx->db, ctx->arena, row.token_mac, &now));
    ck_assert_ptr_null(now.kept.p);
    ck_assert_int_eq(now.used_at, ctx->now_ms);
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_notice_use(ctx->db, row.user_id, row.id, MA_LIT("x"), ctx->now_ms)));
    ck_assert_int_eq(swept(ma_notices_expire, row.expires_at), 0);
    ck_assert_int_eq(swept(ma_notices_expire, row.expires_at + 1), 1);
    T_IS(MA_E_NOTFOUND, ma_notice_by_token(ctx->db, ctx->arena, row.token_mac, &now));
}
END_TEST

START_TEST(test_lapsed_link_is_not_used)
{
    struct ma_notice_row row = removal(insert(MA_FACTOR_TOTP, "totp|dev_0000000000000001", NULL, 10));
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_notice_use(ctx->db, row.user_id, row.id, MA_LIT("x"), row.expires_at)));
    T_IS(MA_E_CONFLICT,
         MA_FIX_WRITE(&f, ma_notice_use(ctx->db, MA_LIT("auth0|other"), row.id, MA_LIT("x"), ctx->now_ms)));
}
END_TEST

START_TEST(test_deleting_the_user_takes_all)
{
    struct ma_notice_row row = removal(insert(MA_FACTOR_TOTP, "totp|dev_0000000000000001", NULL, 10)), gone;
    T_OK(MA_FIX_WRITE(&f, ma_user_delete(ctx->db, ctx->who.user_id)));
    T_IS(MA_E_NOTFOUND, ma_notice_by_token(ctx->db, ctx->arena, row.token_mac, &gone));
}
END_TEST

/* --- bringing back --- */

static enum ma_restored restore(struct ma_span kept)
{
    enum ma_restored how = MA_RESTORE_GONE;
    T_OK(MA_FIX_WRITE(&f, ma_restore_method(ctx, kept, &how)));
    return how;
}

START_TEST(test_restored_as_it_was)
{
    struct ma_span id = insert(MA_FACTOR_TOTP, "totp|dev_0000000000000001", NULL, 10), kept, seed;
    struct ma_method before, after;
    T_OK(ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, &before));
    T_OK(ma_keep_method(ctx, id, &kept));
    ck_assert_int_eq(restore(kept), MA_RESTORE_PRESENT);
    T_OK(MA_FIX_WRITE(&f, ma_method_delete(ctx->db, ctx->who.user_id, id)));
    ck_assert_int_eq(restore(kept), MA_RESTORED);
    T_OK(ma_method_get(ctx->db, ctx->arena, ctx->who.user_id, id, ctx->now_ms, &after));
    ck_assert_int_eq(after.created_at, before.created_at);
    struct ma_seal_id sid = {"methods", "secret", id, ctx->who.user_id};
    T_OK(ma_vault_open_blob(f.app.vault, ctx->arena, &sid, after.secret, &seed));
    T_STR(seed, "01234567890123456789");
}
END_TEST

START_TEST(test_limits_hold)
{
    char ids[MA_PER_TYPE_MAX][32];
    struct ma_span id = insert(MA_FACTOR_TOTP, "totp|dev_0000000000000009", NULL, 10), kept;
    T_OK(ma_keep_method(ctx, id, &kept));
    T_OK(MA_FIX_WRITE(&f, ma_method_delete(ctx->db, ctx->who.user_id, id)));
    for (int i = 0; i < MA_PER_TYPE_MAX; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "totp|dev_000000000000000%d", i);
        (void)insert(MA_FACTOR_TOTP, ids[i], NULL, 20);
    }
    ck_assert_int_eq(restore(kept), MA_RESTORE_NO_ROOM);
    T_OK(MA_FIX_WRITE(&f, ma_method_delete(ctx->db, ctx->who.user_id, ma_span_str(ids[0]))));
    ck_assert_int_eq(restore(kept), MA_RESTORED);
}
END_TEST

START_TEST(test_one_recovery_code)
{
    struct ma_span id = insert(MA_FACTOR_RECOVERY, "recovery-code|dev_0000000000000001", NULL, 10), kept;
    T_OK(ma_keep_recovery(ctx, &kept));
    T_OK(MA_FIX_WRITE(&f, ma_method_delete(ctx->db, ctx->who.user_id, id)));
    (void)insert(MA_FACTOR_RECOVERY, "recovery-code|dev_0000000000000002", NULL, 20);
    ck_assert_int_eq(restore(kept), MA_RESTORE_NO_ROOM);
}
END_TEST

START_TEST(test_an_address_once)
{
    struct ma_span id = insert(MA_FACTOR_PHONE, "phone|dev_0000000000000001", "+15550000001", 10), kept;
    T_OK(ma_keep_method(ctx, id, &kept));
    T_OK(MA_FIX_WRITE(&f, ma_method_delete(ctx->db, ctx->who.user_id, id)));
    (void)insert(MA_FACTOR_PHONE, "phone|dev_0000000000000002", "+15550000001", 20);
    ck_assert_int_eq(restore(kept), MA_RESTORE_PRESENT);
}
END_TEST

static const char *const malformed[] = {
    "",
    "{}",
    "[]",
    "{\"id\":\"totp|dev_1\"}",
    "{\"id\":\"x\",\"type\":\"nothing\",\"voice\":false,\"last_step\":0,\"created_at\":0,\"last_auth_at\":0}",
    "{\"id\":\"x\",\"type\":\"totp\",\"voice\":false,\"secret\":\"!\",\"last_step\":0,\"created_at\":0,\"last_auth_"
    "at\":0}",
};

START_TEST(test_malformed_kept)
{
    enum ma_restored how = MA_RESTORE_GONE;
    T_IS(MA_E_PARSE, ma_restore_method(ctx, ma_span_str(malformed[_i]), &how));
}
END_TEST

/* --- passwords --- */

START_TEST(test_must_reset_ends_with_a_new_password)
{
    struct ma_password_row row;
    T_OK(MA_FIX_WRITE(&f, ma_password_set(ctx->db, ctx->who.user_id, MA_LIT("$argon2id$x"), 0, 5)));
    T_OK(MA_FIX_WRITE(&f, ma_password_must_reset(ctx->db, ctx->who.user_id)));
    T_OK(ma_password_get(ctx->db, ctx->arena, ctx->who.user_id, &row));
    ck_assert(row.must_reset);
    T_OK(MA_FIX_WRITE(&f, ma_password_set(ctx->db, ctx->who.user_id, MA_LIT("$argon2id$y"), 0, 6)));
    T_OK(ma_password_get(ctx->db, ctx->arena, ctx->who.user_id, &row));
    ck_assert(!row.must_reset);
    T_IS(MA_E_NOTFOUND, MA_FIX_WRITE(&f, ma_password_must_reset(ctx->db, MA_LIT("auth0|nobody"))));
}
END_TEST

START_TEST(test_one_reset_link_at_a_time)
{
    uint8_t a[32] = {1}, b[32] = {2};
    struct ma_reset row = {
        .token_mac = ma_span_of(a, 32), .user_id = ctx->who.user_id, .created_at = 1, .expires_at = 9};
    struct ma_reset got;
    T_OK(MA_FIX_WRITE(&f, ma_reset_insert(ctx->db, &row)));
    row.token_mac = ma_span_of(b, 32);
    T_OK(MA_FIX_WRITE(&f, ma_reset_insert(ctx->db, &row)));
    T_IS(MA_E_NOTFOUND, ma_reset_by_token(ctx->db, ctx->arena, ma_span_of(a, 32), &got));
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_reset_use(ctx->db, ctx->who.user_id, row.token_mac, 9)));
    T_OK(MA_FIX_WRITE(&f, ma_reset_use(ctx->db, ctx->who.user_id, row.token_mac, 8)));
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_reset_use(ctx->db, ctx->who.user_id, row.token_mac, 8)));
    ck_assert_int_eq(swept(ma_resets_expire, 10), 1);
}
END_TEST

/* --- words --- */

START_TEST(test_words)
{
    T_STR(ma_what_factor(ctx->arena, MA_FACTOR_TOTP, MA_SPAN_NULL), "an authenticator app");
    T_STR(ma_what_factor(ctx->arena, MA_FACTOR_EMAIL, MA_LIT("someone@example.org")),
          "the e-mail address s***@example.org");
    for (int e = 0; e < MA_EVENT__COUNT; e++)
        ck_assert_int_eq(ma_event_parse(ma_span_str(ma_event_name((enum ma_event)e))), e);
    ck_assert_int_eq(ma_event_parse(MA_LIT("nothing")), MA_EVENT__COUNT);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("notify");
    TCase *t = tcase_create("notices");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_verified_address_first);
    tcase_add_test(t, test_oldest_factor_otherwise);
    tcase_add_test(t, test_removed_address_still_hears);
    tcase_add_test(t, test_nothing_where_nothing_can_be_sent);
    tcase_add_test(t, test_kept_is_sealed_to_its_row);
    tcase_add_test(t, test_kept_goes_when_used_or_lapsed);
    tcase_add_test(t, test_lapsed_link_is_not_used);
    tcase_add_test(t, test_deleting_the_user_takes_all);
    tcase_add_test(t, test_restored_as_it_was);
    tcase_add_test(t, test_limits_hold);
    tcase_add_test(t, test_one_recovery_code);
    tcase_add_test(t, test_an_address_once);
    tcase_add_loop_test(t, test_malformed_kept, 0, (int)MA_COUNT(malformed));
    tcase_add_test(t, test_must_reset_ends_with_a_new_password);
    tcase_add_test(t, test_one_reset_link_at_a_time);
    tcase_add_test(t, test_words);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
