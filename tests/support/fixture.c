/* SPDX-License-Identifier: Apache-2.0
 * Building, resetting and removing the fixture.
 */
#include "fixture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "../../src/app/int.h"
#include "ma/audit.h"
#include "ma/crypto.h"
#include "ma/limit.h"
#include "ma/methods.h"

static const char document[] =
    "{\"api\":{\"active\":true},\"tenant\":{\"friendly_name\":\"Ex & Co\"},"
    "\"factors\":{\"totp\":true,\"email\":true,\"phone\":true,\"recovery-code\":true,\"password\":true,"
    "\"push-notification\":true,\"passkey\":true},"
    "\"connections\":[{\"name\":\"db\",\"strategy\":\"auth0\",\"password_policy\":{\"complexity\":{\"min_length\":8,"
    "\"character_types\":[\"lowercase\",\"number\"],\"max_length_exceeded\":\"error\"},"
    "\"profile_data\":{\"active\":true,\"blocked_fields\":[\"email\",\"name\"]},"
    "\"history\":{\"active\":true,\"size\":2},\"dictionary\":{\"active\":true,\"default\":\"en_10k\"}}}],"
    "\"clients\":[{\"client_id\":\"spa\",\"name\":\"SPA\",\"app_type\":\"spa\","
    "\"allowed_origins\":[\"https://app.example.com\",\"https://*.tenants.example\"]},"
    "{\"client_id\":\"other\",\"name\":\"Other\",\"app_type\":\"spa\",\"web_origins\":[\"https://other.example.com\"]},"
    "{\"client_id\":\"third\",\"name\":\"Third\",\"app_type\":\"spa\",\"is_first_party\":false,"
    "\"allowed_origins\":[\"https://third.example.com\"]},"
    "{\"client_id\":\"closed\",\"name\":\"Closed\",\"app_type\":\"spa\",\"cross_origin_authentication\":false,"
    "\"allowed_origins\":[\"https://closed.example.com\"]}],"
    "\"client_grants\":[{\"client_id\":\"spa\",\"audience\":\"https://login.example.com/me/\","
    "\"subject_type\":\"user\",\"scope\":[\"read:me:factors\"]}],"
    "\"users\":[{\"user_id\":\"auth0|alice\",\"email\":\"alice@example.com\",\"name\":\"Alice Liddell\","
    "\"connection\":\"db\"},"
    "{\"user_id\":\"auth0|bob\",\"email\":\"bob@example.com\",\"email_verified\":true,\"connection\":\"db\"},"
    "{\"user_id\":\"google|carol\",\"email\":\"carol@example.com\"}]}";

static void fail_with(const char *what, const char *why)
{
    ck_abort_msg("%s: %s", what, why);
}

static void load_state(struct ma_fix *f)
{
    char why[256] = "";
    const struct ma_span audience = MA_LIT("https://login.example.com/me/");
    struct ma_state *fresh = NULL;
    if (ma_state_load(f->app.writer, &audience, 1, "login.example.com", &fresh, why) != MA_OK)
        fail_with("ma_state_load", why);
    ma_state_unref(f->state);
    f->state = fresh;
}

void ma_fix_apply(struct ma_fix *f, const char *text)
{
    struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(a);
    struct ma_buf report;
    ma_buf_init_arena(&report, a, 256, 65536);
    struct ma_verrs errs = {.arena = a};
    struct ma_apply_env env = {
        .db = f->app.writer, .vault = f->app.vault, .rand = f->app.rand, .now_ms = f->clock.now_ms};
    T_OK(ma_db_begin(f->app.writer));
    int r = ma_state_apply(&env, ma_span_str(text), &report, &errs);
    if (r != MA_OK)
        fail_with(errs.n ? errs.v[0].pointer : "ma_state_apply", errs.n ? errs.v[0].detail : ma_err_name(r));
    T_OK(ma_db_commit(f->app.writer));
    ma_arena_free(a);
    load_state(f);
}

static void open_conf(struct ma_fix *f, const char *conf_text)
{
    char text[4096], why[512] = "";
    int n = snprintf(text, sizeof text,
                     "base_url = \"https://login.example.com\"\ndatabase = \"%s\"\nkey_directory = \"%s\"\n%s\n",
                     f->database, f->dir, conf_text);
    ck_assert_int_lt(n, (int)sizeof text);
    if (ma_conf_parse("fixture", ma_span_str(text), &f->conf, why) != MA_OK)
        fail_with("ma_conf_parse", why);
    f->conf_ref = ma_conf_ref_new(f->conf);
    ck_assert_ptr_nonnull(f->conf_ref);
}

void ma_fix_open(struct ma_fix *f, const char *conf_text)
{
    char why[256] = "";
    *f = (struct ma_fix){.dir = "/tmp/ma_test_fix_XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(f->dir));
    (void)snprintf(f->database, sizeof f->database, "%s/t.db", f->dir);
    T_OK(ma_crypto_init());
    ma_clock_manual_init(&f->clock, MA_FIX_START);
    ma_rand_seeded_init(&f->rand, 42);
    f->app.clock = &f->clock.clock;
    f->app.rand = &f->rand.rand;
    open_conf(f, conf_text);
    T_OK(ma_limits_new(f->app.rand, &f->app.limits));
    if (ma_vault_open(f->dir, f->app.rand, &f->app.vault, why) != MA_OK ||
        ma_db_open(f->database, MA_DB_WRITER, NULL, &f->app.writer, why) != MA_OK ||
        ma_migrate(f->app.writer, MA_FIX_START, why) != MA_OK ||
        ma_audit_open(f->app.writer, f->app.vault, f->dir, f->app.rand, NULL, &f->app.audit, why) != MA_OK ||
        ma_templates_load("", &f->app.templates, why) != MA_OK)
        fail_with("fixture", why);
    f->arena = ma_arena_new(MA_ARENA_FIRST, 4 * MA_ARENA_MAX);
    ck_assert_ptr_nonnull(f->arena);
    ma_fix_apply(f, document);
}

void ma_fix_close(struct ma_fix *f)
{
    ma_json_free_p(&f->ctx.json);
    ma_arena_free(f->arena);
    ma_state_unref(f->state);
    ma_conf_unref(f->conf_ref);
    ma_templates_free(f->app.templates);
    ma_db_close(f->app.writer);
    ma_audit_close(f->app.audit);
    ma_vault_close(f->app.vault);
    ma_limits_free(f->app.limits);
    ma_crypto_cleanup();
    ma_fix_remove(f->dir);
}

struct ma_ctx *ma_fix_again(struct ma_fix *f)
{
    struct ma_ctx *ctx = &f->ctx;
    ctx->now_ms = f->clock.now_ms;
    ctx->state = f->state;
    ctx->resp = (struct ma_resp){.status = 0};
    ctx->keep = ctx->user_changed = ctx->wake_courier = ctx->audit.due = false;
    ctx->step = NULL;
    ctx->errs->n = 0;
    return ctx;
}

struct ma_ctx *ma_fix_request(struct ma_fix *f, const char *user_id, const char *client_id)
{
    struct ma_ctx *ctx = &f->ctx;
    struct ma_user u;
    ma_json_free_p(&ctx->json);
    ma_arena_reset(f->arena);
    *ctx = (struct ma_ctx){.app = &f->app, .conf = f->conf, .arena = f->arena, .db = f->app.writer};
    ctx->req.content_length = -1;
    ctx->req.verb = MA_POST;
    ctx->errs = ma_arena_zalloc(f->arena, sizeof *ctx->errs);
    ck_assert_ptr_nonnull(ctx->errs);
    ctx->errs->arena = f->arena;
    ctx->who.user_id = ma_arena_dup(f->arena, ma_span_str(user_id));
    ctx->who.client_id = ma_arena_dup(f->arena, ma_span_str(client_id));
    ctx->who.user_known = ma_user_get(ctx->db, f->arena, ctx->who.user_id, &u) == MA_OK;
    ctx->who.has_database = ctx->who.user_known && u.connection.p;
    memset(ctx->request_id, 'a', sizeof ctx->request_id - 1);
    return ma_fix_again(f);
}

void ma_fix_advance(struct ma_fix *f, int64_t ms)
{
    ma_clock_manual_advance(&f->clock, ms);
    f->ctx.now_ms = f->clock.now_ms;
}

/* --- writing as the lane does --- */

void ma_fix_begin(struct ma_fix *f)
{
    (void)ma_fix_again(f);
    T_OK(ma_db_begin(f->app.writer));
    T_OK(ma_db_savepoint(f->app.writer));
}

int ma_fix_end(struct ma_fix *f, int result)
{
    if (result == MA_OK || f->ctx.keep) {
        T_OK(ma_db_release(f->app.writer));
    } else {
        ma_db_rollback_to(f->app.writer);
        T_OK(ma_audit_failure(&f->ctx));
    }
    T_OK(ma_db_commit(f->app.writer));
    return result;
}

void ma_fix_give_password(struct ma_fix *f, const char *text)
{
    char hash[MA_PHC_MAX];
    T_OK(ma_password_hash(f->app.rand, ((struct ma_argon2_params){1, 8192, 1}), ma_span_str(text), hash));
    T_OK(MA_FIX_WRITE(f, ma_password_set(f->app.writer, f->ctx.who.user_id, ma_span_str(hash), 2, f->clock.now_ms)));
}

/* --- looking at the answer --- */

bool ma_fix_body_has(const struct ma_fix *f, const char *text)
{
    const struct ma_buf *b = &f->ctx.resp.body;
    return b->n > 0 && memmem(b->p, b->n, text, strlen(text)) != NULL;
}

void ma_fix_expect_problem(const struct ma_fix *f, int result, int status, const char *detail, const char *where)
{
    const struct ma_resp *resp = &f->ctx.resp;
    char want[512];
    ck_assert_msg(result == MA_E_PROBLEM, "%s: %s", where, ma_err_name(result));
    ck_assert_msg(resp->status == status, "%s: status %d, not %d: %.*s", where, resp->status, status, (int)resp->body.n,
                  (const char *)resp->body.p);
    (void)snprintf(want, sizeof want, "\"detail\":\"%s\"", detail ? detail : "");
    ck_assert_msg(!detail || ma_fix_body_has(f, want), "%s: no %s in %.*s", where, want, (int)resp->body.n,
                  (const char *)resp->body.p);
}

const char *ma_fix_header(const struct ma_ctx *ctx, const char *name)
{
    for (size_t i = 0; i < ctx->resp.n_headers; i++)
        if (strcasecmp(ctx->resp.headers[i].name, name) == 0)
            return ctx->resp.headers[i].value;
    return NULL;
}

void ma_fix_remove(const char *dir)
{
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlink(path);
    }
    (void)closedir(d);
    ck_assert_int_eq(rmdir(dir), 0);
}
