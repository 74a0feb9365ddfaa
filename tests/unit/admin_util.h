/* SPDX-License-Identifier: Apache-2.0
 * A database, a vault and keys in a directory of their own, for the tests of administration.
 */
#ifndef MA_TEST_ADMIN_UTIL_H
#define MA_TEST_ADMIN_UTIL_H

#include <check.h>
#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/admin/int.h"
#include "ma/audit.h"
#include "ma/crypto.h"

#define MAYBE_UNUSED __attribute__((unused))

#define T_IS(want, expr)                                                                                               \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == (want), "%s: %s, not %s", #expr, ma_err_name(t_r), ma_err_name(want));                    \
    } while (0)
#define T_OK(expr) T_IS(MA_OK, expr)
#define NOW 1700000000000

/* One database behind a lock stands for the daemon's writer and readers. */
struct world {
    pthread_mutex_t lock;
    struct ma_db *db;
    struct ma_audit *audit;
    int changed;
    int health;
};
static struct world world;
static struct ma_clock_manual clock_manual;
static struct ma_conf conf;
static struct ma_admin_env env;
static struct ma_arena *arena;
static struct ma_buf out, err;
static char dir[64], db_path[96], keys[96], socket_path[96], why[512];

static MAYBE_UNUSED int world_write(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct world *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    int rc = ma_db_begin(w->db);
    if (rc == MA_OK)
        rc = fn(w->db, fn_arg);
    if (rc == MA_OK)
        rc = ma_db_commit(w->db);
    else
        ma_db_rollback(w->db);
    (void)pthread_mutex_unlock(&w->lock);
    return rc;
}

static MAYBE_UNUSED int world_read(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct world *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    int rc = fn(w->db, fn_arg);
    (void)pthread_mutex_unlock(&w->lock);
    return rc;
}

static MAYBE_UNUSED void world_changed(void *arg)
{
    struct world *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    w->changed++;
    (void)pthread_mutex_unlock(&w->lock);
}

static MAYBE_UNUSED int world_health(void *arg, struct ma_buf *b)
{
    ma_buf_str(b, "{\"status\":\"ok\"}");
    return ((struct world *)arg)->health;
}

static MAYBE_UNUSED const char *world_routes(struct ma_arena *a)
{
    return ma_arena_printf(a, "GET /me/v1/factors\n");
}

static MAYBE_UNUSED void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        char name[512];
        (void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 && unlink(name) != 0)
            remove_tree(name);
    }
    if (d)
        (void)closedir(d);
    (void)rmdir(path);
}

static MAYBE_UNUSED void setup(void)
{
    static const char *const domains[] = {"https://login.custom.example"};
    (void)snprintf(dir, sizeof dir, "/tmp/ma_test_admin_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chmod(dir, 0755), 0);
    (void)snprintf(db_path, sizeof db_path, "%s/t.db", dir);
    (void)snprintf(keys, sizeof keys, "%s/keys", dir);
    (void)snprintf(socket_path, sizeof socket_path, "%s/admin.sock", dir);
    T_OK(ma_crypto_init());
    ma_clock_manual_init(&clock_manual, NOW);
    conf = (struct ma_conf){.path = "test.conf",
                            .base_url = "https://login.example.com",
                            .custom_domains = {domains, 1},
                            .key_directory = keys,
                            .database = db_path,
                            .admin_socket = socket_path,
                            .token_service = true,
                            .policy = {.step_up_window = 900}};
    world = (struct world){.lock = PTHREAD_MUTEX_INITIALIZER};
    env = (struct ma_admin_env){.conf = &conf,
                                .arg = &world,
                                .write = world_write,
                                .read = world_read,
                                .state_changed = world_changed,
                                .health = world_health,
                                .routes = world_routes,
                                .clock = &clock_manual.clock,
                                .rand = ma_rand_system()};
    ck_assert_msg(ma_db_open(db_path, MA_DB_WRITER, NULL, &world.db, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_migrate(world.db, NOW, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_vault_open(keys, ma_rand_system(), &env.vault, why) == MA_OK, "%s", why);
    ck_assert_msg(ma_audit_open(world.db, env.vault, keys, env.rand, NULL, &world.audit, why) == MA_OK, "%s", why);
    arena = ma_arena_new(MA_ARENA_FIRST, (size_t)64 << 20);
    ma_buf_init(&out, (size_t)64 << 20);
    ma_buf_init(&err, MA_ADMIN_ERRORS_MAX);
}

static MAYBE_UNUSED void teardown(void)
{
    ma_buf_free(&out);
    ma_buf_free(&err);
    ma_arena_free(arena);
    ma_jose_close(env.jose);
    ma_db_close(world.db);
    ma_audit_close(world.audit);
    ma_vault_close(env.vault);
    ma_crypto_cleanup();
    remove_tree(dir);
}

/* Making a signing key takes a while: only where tokens and keys are at stake. */
static MAYBE_UNUSED void setup_jose(void)
{
    setup();
    ck_assert_msg(ma_jose_open(&conf, env.clock, env.rand, NULL, &env.jose, why) == MA_OK, "%s", why);
}

/* Splits a command line at blanks ('+' stands for a blank inside a word) and parses it. */
static MAYBE_UNUSED int parse(const char *line, struct ma_admin_args *args, const char **why_not)
{
    static char text[1024];
    char *argv[32] = {text};
    int argc = 1;
    const char *config;
    bool help;
    (void)snprintf(text, sizeof text, "ctl %s", line);
    for (char *p = text; *p; p++) {
        if (*p == ' ') {
            *p = '\0';
            argv[argc++] = p + 1;
        } else if (*p == '+') {
            *p = ' ';
        }
    }
    argv[argc] = NULL;
    return ma_admin_parse(arena, argc, argv, args, &config, &help, why_not);
}

static MAYBE_UNUSED int run_with(const char *line, const char *document)
{
    struct ma_admin_args args;
    const char *bad = NULL;
    ma_buf_clear(&out);
    ma_buf_clear(&err);
    int rc = parse(line, &args, &bad);
    ck_assert_msg(rc == MA_OK, "%s: %s", line, bad);
    int code = ma_admin_run(&env, &args, ma_span_str(document), &out, &err);
    ma_buf_byte(&out, 0);
    ma_buf_byte(&err, 0);
    return code;
}

static MAYBE_UNUSED int run(const char *line)
{
    return run_with(line, "");
}

static MAYBE_UNUSED const char *text(const struct ma_buf *b)
{
    return (const char *)b->p;
}

static MAYBE_UNUSED bool says(const struct ma_buf *b, const char *s)
{
    return strstr(text(b), s) != NULL;
}

static MAYBE_UNUSED const char people[] =
    "{\"connections\":[{\"name\":\"db\",\"strategy\":\"auth0\"}],\"clients\":[{\"client_id\":\"spa\"}],\"users\":["
    "{\"user_id\":\"auth0|alice\",\"email\":\"alice@example.com\",\"password\":\"Secret-Of-Alice\"},"
    "{\"user_id\":\"auth0|bob\"}]}";

static MAYBE_UNUSED void apply_people(void)
{
    ck_assert_msg(run_with("apply state.json", people) == MA_EXIT_OK, "%s", text(&err));
}

/* The token in `out`, verified as the daemon would. */
static MAYBE_UNUSED struct ma_token token_of(int domain)
{
    struct ma_token t;
    const char *reason = "";
    ck_assert(out.n > 2 && out.p[out.n - 2] == '\n');
    enum ma_token_verdict v =
        ma_token_verify(env.jose, arena, ma_span_of(out.p, out.n - 2), domain, clock_manual.now_ms, &t, &reason);
    ck_assert_msg(v == MA_TOK_OK, "%s", reason);
    return t;
}

#endif
