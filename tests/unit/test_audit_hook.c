/* SPDX-License-Identifier: Apache-2.0
 * One call of the audit webhook: its key, its signature, its body. Sending is tested with the whole daemon.
 */
#include "ma/audit_hook.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../src/deliver/audit_int.h"
#include "../support/fixture.h"
#include "ma/codec.h"
#include "ma/heartbeat.h"

static struct ma_fix f;
static char why[256], secret_path[128], secret_ref[160];

static void setup(void)
{
    ma_fix_open(&f, "");
    (void)snprintf(secret_path, sizeof secret_path, "%s/secret", f.dir);
    (void)snprintf(secret_ref, sizeof secret_ref, "file:%s", secret_path);
}

static void teardown(void)
{
    ma_fix_close(&f);
}

static int settings(const char *secret, struct ma_hook_settings **ret)
{
    int fd = open(secret_path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, secret, strlen(secret)), (ssize_t)strlen(secret));
    ck_assert_int_eq(close(fd), 0);
    f.conf->audit.webhook = "https://siem.example/hook";
    f.conf->audit.webhook_secret = secret_ref;
    return ma_hook_settings_new(f.conf, ret, why);
}

static const struct {
    const char *text;
    size_t n; /* bytes of the key; 0: refused */
} secrets[] = {
    {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", 24},
    {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=", 0}, /* 23 */
    {"whsec_not base64", 0},
    {"whsec_", 0},
    {"012345678901234567890123", 24},
    {"01234567890123456789012", 0},
    {"0123456789012345678901234567890123456789012345678901234567890123", 64},
    {"01234567890123456789012345678901234567890123456789012345678901234", 0},
    {"012345678901234567890123\n", 24},
};

START_TEST(test_secret)
{
    struct ma_hook_settings *s = NULL;
    int r = settings(secrets[_i].text, &s);
    if (secrets[_i].n == 0) {
        T_IS(MA_E_INVAL, r);
        ck_assert_ptr_nonnull(strstr(why, "audit.webhook_secret"));
        ck_assert(strlen(secrets[_i].text) < 10 || !strstr(why, secrets[_i].text)); /* not in any message */
        return;
    }
    T_OK(r);
    ck_assert_uint_eq(s->secret_n, secrets[_i].n);
    ck_assert_str_eq(s->tenant, "login.example.com");
    ma_hook_settings_free(s);
}
END_TEST

START_TEST(test_no_webhook)
{
    struct ma_hook_settings *s = NULL;
    T_OK(ma_hook_settings_new(f.conf, &s, why));
    ck_assert_str_eq(s->url, "");
    ma_hook_settings_free(s);
}
END_TEST

/* printf '%s' 'msg_1.1700000000.[]' | openssl dgst -sha256 -mac HMAC -macopt key:012345678901234567890123 -binary |
 * base64 */
START_TEST(test_signature)
{
    struct ma_hook_settings *s = NULL;
    char out[MA_HOOK_SIGNATURE_MAX];
    T_OK(settings("012345678901234567890123", &s));
    T_OK(ma_hook_sign(s, "msg_1", 1700000000, MA_LIT("[]"), out));
    ck_assert_str_eq(out, "v1,YKTbmktVLy5hYCMRHLQEHi7SHg1WyXQSlpQ8YNNfYx0=");
    ma_hook_settings_free(s);
}
END_TEST

static struct ma_audit_row *make_rows(size_t n, size_t detail_n)
{
    struct ma_audit_row *rows = calloc(n, sizeof *rows);
    char *detail = ma_arena_alloc(f.arena, detail_n + 8);
    ck_assert_ptr_nonnull(rows);
    ck_assert_ptr_nonnull(detail);
    memset(detail, 'x', detail_n + 8);
    memcpy(detail, "{\"a\":\"", 6);
    memcpy(detail + detail_n + 6, "\"}", 2);
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct ma_audit_row){
            .id = (int64_t)i + 1, .at = MA_FIX_START, .type = MA_LIT("s"), .detail = ma_span_of(detail, detail_n + 8)};
    return rows;
}

static const struct {
    size_t rows, detail;
    size_t least, most; /* rows of the body */
} bodies[] = {
    {1, 10, 1, 1},
    {500, 10, 500, 500},
    {500, 4000, 200, 300}, /* no more than fit */
    {3, 1500000, 1, 1},    /* one goes however large it is */
};

START_TEST(test_body)
{
    struct ma_hook_settings *s = NULL;
    struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, (size_t)16 << 20);
    struct ma_span body;
    size_t n = 0;
    struct ma_arena *keep = f.arena;
    f.arena = ma_arena_new(MA_ARENA_FIRST, (size_t)8 << 20);
    T_OK(settings("012345678901234567890123", &s));
    struct ma_hook_batch b = {.rows = make_rows(bodies[_i].rows, bodies[_i].detail), .n = bodies[_i].rows};
    T_OK(ma_hook_body(a, s, &b, &body, &n));
    ck_assert_uint_ge(n, bodies[_i].least);
    ck_assert_uint_le(n, bodies[_i].most);
    ck_assert(body.n == 0 || (body.p[0] == '[' && body.p[body.n - 1] == ']'));
    ck_assert(n == 1 || body.n <= MA_AUDIT_BODY_MAX + 1);
    char id[MA_HOOK_ID_MAX], again[MA_HOOK_ID_MAX];
    b.n = n;
    ma_hook_batch_id(f.app.vault, &b, id);
    ma_hook_batch_id(f.app.vault, &b, again);
    ck_assert_str_eq(id, again);
    free(b.rows);
    ma_arena_free(f.arena);
    f.arena = keep;
    ma_arena_free(a);
    ma_hook_settings_free(s);
}
END_TEST

static int no_writes(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    (void)arg;
    (void)fn;
    (void)fn_arg;
    return MA_E_BUSY;
}

/* A thread without a sign of life for ages is named, once it has given its first. */
START_TEST(test_watched)
{
    enum { LIMIT_MS = 60000, AGES_MS = 1000000, TRIES = 3000 };
    struct ma_audit_hook *h = NULL;
    struct ma_heartbeats *beats = NULL;
    T_OK(ma_heartbeats_new(LIMIT_MS, &beats));
    const struct ma_courier_env env = {
        .database = f.database, .clock = &f.clock.clock, .vault = f.app.vault, .heartbeats = beats, .write = no_writes};
    T_OK(ma_audit_hook_start(&env, f.conf, &h, why));
    const char *late = NULL;
    for (int i = 0; i < TRIES && !late; i++) {
        late = ma_heartbeats_late(beats, ma_heartbeats_now_ms() + AGES_MS);
        (void)poll(NULL, 0, 1);
    }
    ck_assert_ptr_nonnull(late);
    ck_assert_str_eq(late, "audit webhook");
    ck_assert_ptr_null(ma_heartbeats_late(beats, ma_heartbeats_now_ms()));
    ma_audit_hook_free(h);
    ma_heartbeats_free(beats);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("audit hook");
    TCase *t = tcase_create("call");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, test_secret, 0, (int)MA_COUNT(secrets));
    tcase_add_test(t, test_no_webhook);
    tcase_add_test(t, test_signature);
    tcase_add_test(t, test_watched);
    tcase_add_loop_test(t, test_body, 0, (int)MA_COUNT(bodies));
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
