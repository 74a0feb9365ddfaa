/* SPDX-License-Identifier: Apache-2.0
 * Leaving, coming back and asking for copies as a request does it: to the millisecond, and against the writer's view.
 */
#include <stdio.h>

#include "../../src/app/int.h"
#include "../support/fixture.h"
#include "ma/audit.h"
#include "ma/leaving.h"
#include "ma/methods.h"
#include "ma/personal.h"

enum { GRACE_MS = 1209600 * 1000, LARGE = 20 << 20 };
#define BOB MA_LIT(MA_FIX_BOB)

static struct ma_fix f;
static struct ma_ctx *ctx;
static int64_t leaves_at;

static void setup(void)
{
    ma_fix_open(&f, "");
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    leaves_at = 0;
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static void leave(void)
{
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    T_OK(MA_FIX_WRITE(&f, ma_leave(ctx, &leaves_at)));
}

static int64_t rows(const char *operation)
{
    struct ma_audit_row v[50];
    size_t n = 0;
    int64_t found = 0;
    T_OK(ma_audit_list(f.app.writer, f.arena, BOB, 0, 0, v, 50, &n));
    for (size_t i = 0; i < n; i++)
        found += ma_span_eq_str(v[i].operation, operation);
    return found;
}

static struct ma_user bob(void)
{
    struct ma_user u;
    T_OK(ma_user_get(f.app.writer, f.arena, BOB, &u));
    return u;
}

START_TEST(leaving_and_back)
{
    bool stays = false;
    leave();
    ck_assert(ctx->user_changed && ctx->wake_clerk && ctx->wake_courier);
    ck_assert_int_eq(leaves_at, ctx->now_ms + GRACE_MS);
    ck_assert_int_eq(bob().leaves_at, leaves_at);
    ck_assert_int_eq(bob().tokens_after, ctx->now_ms);
    ck_assert_int_eq(rows("account_leaving"), 1);
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    T_PROBLEM(&f, 409, "The account is about to be deleted already.", MA_FIX_WRITE(&f, ma_leave(ctx, &leaves_at)));
    ma_fix_advance(&f, GRACE_MS - 1);
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    T_OK(MA_FIX_WRITE(&f, ma_return(ctx, "api", &stays)));
    ck_assert_int_eq(bob().leaves_at, 0);
    ck_assert_int_eq(rows("restore"), 1);
    ck_assert_int_eq(rows("account_restored"), 1);
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_return(ctx, "api", &stays)));
    ck_assert(stays);
    ck_assert_int_eq(rows("restore"), 1);
}
END_TEST

START_TEST(too_late)
{
    bool stays = true;
    leave();
    ma_fix_advance(&f, GRACE_MS);
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_return(ctx, "api", &stays)));
    ck_assert(!stays);
    ck_assert_int_eq(bob().leaves_at, leaves_at);
    ck_assert_int_eq(rows("restore"), 0);
}
END_TEST

START_TEST(erased_meanwhile)
{
    bool stays = true;
    leave();
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa"); /* began in time */
    ma_fix_begin(&f);
    T_OK(ma_fix_end(&f, ma_personal_erase(f.app.writer, BOB, ctx->now_ms)));
    T_IS(MA_E_CONFLICT, MA_FIX_WRITE(&f, ma_return(ctx, "link", &stays)));
    ck_assert(!stays);
}
END_TEST

/* Whatever a request leaves in the trail that comes to the writer after its user was erased. */
START_TEST(erased_users_are_not_named)
{
    int64_t before = rows("delete");
    T_OK(MA_FIX_WRITE(&f, ma_audit_operation(ctx, "my_account_account_failed", "delete", MA_LIT("{}"))));
    ck_assert_int_eq(rows("delete"), before + 1);
    ma_fix_begin(&f);
    T_OK(ma_fix_end(&f, ma_personal_erase(f.app.writer, BOB, ctx->now_ms)));
    T_OK(MA_FIX_WRITE(&f, ma_audit_operation(ctx, "my_account_account_failed", "delete", MA_LIT("{}"))));
    ck_assert_int_eq(rows("delete"), before + 1);
}
END_TEST

START_TEST(at_once_there_is_no_message)
{
    f.conf->account.grace_period = 0;
    leave();
    ck_assert_int_eq(leaves_at, ctx->now_ms);
    ck_assert_int_eq(rows("account_leaving"), 0);
    ck_assert_int_eq(rows("delete"), 1);
}
END_TEST

START_TEST(copies)
{
    struct ma_export e, again;
    char id[MA_EXPORT_ID_LEN];
    T_OK(MA_FIX_WRITE(&f, ma_export_request(ctx, &e)));
    ck_assert(ctx->wake_clerk);
    ck_assert_uint_eq(e.id.n, sizeof id);
    memcpy(id, e.id.p, sizeof id);
    e.id = ma_span_of(id, sizeof id);
    e.user_id = BOB;
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    T_PROBLEM(&f, 409, "A copy is being made already.", MA_FIX_WRITE(&f, ma_export_request(ctx, &again)));
    T_OK(ma_export_find(ctx, e.id, &again));
    ctx = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    T_PROBLEM(&f, 404, "The export does not exist.", ma_export_find(ctx, e.id, &again));
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    e.status = MA_EXPORT_READY;
    e.expires_at = ctx->now_ms + 1;
    ma_fix_begin(&f);
    T_OK(ma_fix_end(&f, ma_export_finish(f.app.writer, &e)));
    T_OK(ma_export_find(ctx, e.id, &again));
    ma_fix_advance(&f, 1);
    ctx = ma_fix_request(&f, MA_FIX_BOB, "spa");
    T_PROBLEM(&f, 404, "The export does not exist.", ma_export_find(ctx, e.id, &again));
}
END_TEST

/* Those who read slowly do not fill the memory: what is being sent is bounded together. */
START_TEST(large_answers)
{
    char text[256], why[512] = "";
    struct ma_conf *conf = NULL;
    struct ma_ctx others[3];
    struct ma_jw w;
    (void)snprintf(text, sizeof text, "base_url = \"https://login.example.com\"\n");
    T_OK(ma_conf_parse("large", ma_span_str(text), &conf, why));
    f.app.shared = ma_shared_new(conf);
    ck_assert_ptr_nonnull(f.app.shared);
    for (size_t i = 0; i < MA_COUNT(others); i++) {
        others[i] = *ctx;
        T_OK(ma_reply_json_large(&others[i], 200, &w, LARGE));
    }
    T_PROBLEM(&f, 503, "Too many large answers are being sent.", ma_reply_json_large(ctx, 200, &w, LARGE));
    ma_reply_release(&others[0]);
    T_OK(ma_reply_json_large(ctx, 200, &w, LARGE));
    T_PROBLEM(&f, 404, NULL, ma_problem(ctx, MA_P_NO_RESOURCE, NULL)); /* an error in its place gives the room back */
    T_OK(ma_reply_json_large(&others[0], 200, &w, LARGE));
    for (size_t i = 0; i < MA_COUNT(others); i++)
        ma_reply_release(&others[i]);
    ck_assert(!ma_app_large_take(&f.app, MA_LARGE_ANSWERS_MAX + 1));
    ck_assert(ma_app_large_take(&f.app, MA_LARGE_ANSWERS_MAX));
    ma_shared_free(f.app.shared);
    f.app.shared = NULL;
}
END_TEST

int main(void)
{
    Suite *s = suite_create("leaving by request");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, leaving_and_back);
    tcase_add_test(t, too_late);
    tcase_add_test(t, erased_meanwhile);
    tcase_add_test(t, erased_users_are_not_named);
    tcase_add_test(t, at_once_there_is_no_message);
    tcase_add_test(t, copies);
    tcase_add_test(t, large_answers);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
