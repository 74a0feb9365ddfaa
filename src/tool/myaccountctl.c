/* SPDX-License-Identifier: Apache-2.0
 * myaccountctl: runs a command through the daemon's admin socket, or on the database itself when no
 * daemon runs.
 */
#include "ma/admin.h"
#include "ma/outbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ma/api.h"
#include "ma/crypto.h"

#define MA_CTL_ARENA_MAX ((size_t)1 << 20)
#define MA_READ_CHUNK 65536u

/* What a command works on when no daemon runs. */
struct local {
    struct ma_db *db;
    struct ma_vault *vault;
    struct ma_jose *jose;
    const struct ma_conf *conf;
    struct ma_templates *templates; /* once somebody is told of something */
};

/* --- output --- */
static bool write_all(int fd, struct ma_span s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        s.p += n;
        s.n -= (size_t)n;
    }
    return true;
}

static int complain(int code, const char *what, const char *why)
{
    (void)fprintf(stderr, "myaccountctl: %s%s%s\n", what, why ? ": " : "", why ? why : "");
    return code;
}

/* --- input --- */
static void close_p(int *fd)
{
    if (*fd > STDERR_FILENO)
        (void)close(*fd);
}

/* The whole file, or standard input for "-". */
static int read_document(struct ma_span name, struct ma_buf *b)
{
    const char *path = (const char *)name.p;
    int fd MA_CLEANUP(close_p) = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return complain(MA_EXIT_FAILED, path, strerrordesc_np(errno));
    for (;;) {
        uint8_t *room = ma_buf_reserve(b, MA_READ_CHUNK);
        if (!room)
            return complain(MA_EXIT_FAILED, path, "too large");
        ssize_t n = read(fd, room, MA_READ_CHUNK);
        if (n < 0 && errno != EINTR)
            return complain(MA_EXIT_FAILED, path, strerrordesc_np(errno));
        if (n == 0)
            return MA_EXIT_OK;
        b->n += n > 0 ? (size_t)n : 0;
    }
}

/* The daemon does not share our working directory. */
static int absolute_path(struct ma_arena *a, struct ma_span *path)
{
    char cwd[4096];
    if (path->n > 0 && path->p[0] == '/')
        return MA_EXIT_OK;
    if (!getcwd(cwd, sizeof cwd))
        return complain(MA_EXIT_FAILED, "working directory", strerrordesc_np(errno));
    *path = ma_span_str(ma_arena_printf(a, "%s/%s", cwd, (const char *)path->p));
    return path->p ? MA_EXIT_OK : complain(MA_EXIT_FAILED, "out of memory", NULL);
}

/* --- without a daemon --- */
static int local_write(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct local *l = arg;
    int rc = ma_db_begin(l->db);
    if (rc != MA_OK)
        return rc;
    rc = fn(l->db, fn_arg);
    if (rc == MA_OK)
        rc = ma_db_commit(l->db);
    if (rc != MA_OK)
        ma_db_rollback(l->db);
    return rc;
}

static int local_read(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg)
{
    struct local *l = arg;
    return fn(l->db, fn_arg);
}

static int local_tell(void *arg, struct ma_db *db, const struct ma_admin_news *news)
{
    struct local *l = arg;
    const struct ma_clock *clock = ma_clock_system();
    char why[256];
    int rc = l->templates ? MA_OK : ma_templates_load(l->conf->delivery.templates, &l->templates, why);
    if (rc != MA_OK)
        return rc;
    struct ma_admin_teller t = {.conf = l->conf,
                                .vault = l->vault,
                                .templates = l->templates,
                                .rand = ma_rand_system(),
                                .now_ms = clock->wall_ms(clock)};
    return ma_admin_tell(&t, db, news);
}

static void local_close(struct local *l)
{
    ma_templates_free(l->templates);
    ma_jose_close(l->jose);
    ma_vault_close(l->vault);
    ma_db_close(l->db);
}

/* Root works as the owner of the database (or of its directory before there is one): files it made as
 * root would lock the daemon out. */
static int become_owner(struct ma_arena *a, const char *database)
{
    struct stat st;
    const char *slash = strrchr(database, '/');
    const char *dir = slash ? ma_arena_strdup(a, ma_span_of(database, (size_t)(slash - database) + 1)) : ".";
    if (geteuid() != 0 || !dir || (stat(database, &st) != 0 && stat(dir, &st) != 0) || st.st_uid == 0)
        return MA_OK;
    return setgroups(0, NULL) == 0 && setgid(st.st_gid) == 0 && setuid(st.st_uid) == 0 ? MA_OK : MA_E_PERM;
}

static int local_open(struct local *l, const struct ma_conf *conf, uint32_t needs, char why[256])
{
    const struct ma_clock *clock = ma_clock_system();
    int rc = ma_crypto_init();
    snprintf(why, 256, "%s", ma_err_text(rc));
    if (rc == MA_OK)
        rc = ma_db_open(conf->database, MA_DB_WRITER, NULL, &l->db, why);
    if (rc == MA_OK)
        rc = ma_migrate(l->db, clock->wall_ms(clock), why);
    if (rc == MA_OK && (needs & MA_NEED_VAULT))
        rc = ma_vault_open(conf->key_directory, ma_rand_system(), &l->vault, why);
    if (rc == MA_OK && (needs & MA_NEED_VAULT))
        rc = ma_state_bind_vault(l->db, l->vault, clock->wall_ms(clock), why);
    if (rc == MA_OK && (needs & MA_NEED_JOSE))
        rc = ma_jose_open(conf, clock, ma_rand_system(), NULL, &l->jose, why);
    return rc;
}

static int run_locally(struct ma_arena *a, const struct ma_conf *conf, const struct ma_admin_args *args,
                       struct ma_span payload, struct ma_buf *out, struct ma_buf *err)
{
    struct local l MA_CLEANUP(local_close) = {.conf = conf};
    struct ma_admin_env env = {.conf = conf,
                               .arg = &l,
                               .write = local_write,
                               .read = local_read,
                               .tell = local_tell,
                               .routes = ma_api_routes_text,
                               .clock = ma_clock_system(),
                               .rand = ma_rand_system()};
    uint32_t needs = ma_admin_needs(args);
    char why[256] = "";
    if (needs & MA_NEED_DB) {
        if (become_owner(a, conf->database) != MA_OK)
            return complain(MA_EXIT_FAILED, conf->database, "cannot work as its owner");
        int rc = local_open(&l, conf, needs, why);
        if (rc == MA_E_BUSY)
            return complain(MA_EXIT_FAILED, "the database is in use, and nobody answers at the admin socket", why);
        if (rc != MA_OK)
            return complain(MA_EXIT_FAILED, why[0] ? why : ma_err_text(rc), NULL);
    }
    env.vault = l.vault;
    env.jose = l.jose;
    return ma_admin_run(&env, args, payload, out, err);
}

/* --- the whole --- */
static int execute(struct ma_arena *a, const struct ma_conf *conf, struct ma_admin_args *args, struct ma_span document,
                   struct ma_buf *out, struct ma_buf *err)
{
    int code = MA_EXIT_FAILED;
    if (ma_admin_needs(args) & MA_NEED_LOCAL)
        return run_locally(a, conf, args, document, out, err);
    int rc = ma_admin_call(conf->admin_socket, args, document, out, err, &code);
    if (rc == MA_E_NOTFOUND)
        return run_locally(a, conf, args, document, out, err);
    return rc == MA_OK ? code : complain(MA_EXIT_FAILED, conf->admin_socket, ma_err_text(rc));
}

static void conf_free_p(struct ma_conf **c)
{
    ma_conf_free(*c);
}

static int run(struct ma_arena *a, struct ma_admin_args *args, const char *config)
{
    struct ma_conf *conf MA_CLEANUP(conf_free_p) = NULL;
    struct ma_buf document MA_CLEANUP(ma_buf_free), out MA_CLEANUP(ma_buf_free), err MA_CLEANUP(ma_buf_free);
    char why[512];
    ma_buf_init(&document, MA_ADMIN_PAYLOAD_MAX);
    ma_buf_init(&out, MA_ADMIN_OUTPUT_MAX);
    ma_buf_init(&err, MA_ADMIN_ERRORS_MAX);
    if (config && ma_conf_load(config, &conf, why) != MA_OK)
        return complain(MA_EXIT_FAILED, why, NULL);
    int code = MA_EXIT_OK;
    if (ma_admin_needs(args) & MA_NEED_DOCUMENT)
        code = read_document(args->positional[0], &document);
    else if (ma_span_eq_str(args->command, "backup"))
        code = absolute_path(a, &args->positional[0]);
    if (code != MA_EXIT_OK)
        return code;
    code = execute(a, conf, args, ma_buf_view(&document), &out, &err);
    (void)write_all(STDERR_FILENO, ma_buf_view(&err));
    if (!write_all(STDOUT_FILENO, ma_buf_view(&out)))
        return complain(MA_EXIT_FAILED, "standard output", strerrordesc_np(errno));
    return code;
}

static int usage_error(const char *why)
{
    (void)fprintf(stderr, "myaccountctl: %s\n%s", why, ma_admin_usage());
    return MA_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_CTL_ARENA_MAX);
    struct ma_admin_args args;
    const char *config = NULL, *why = NULL;
    bool help = false;
    if (!a)
        return complain(MA_EXIT_FAILED, "out of memory", NULL);
    (void)umask(S_IRWXG | S_IRWXO);
    int rc = ma_admin_parse(a, argc, argv, &args, &config, &help, &why);
    if (rc == MA_OK && help)
        return fputs(ma_admin_usage(), stdout) < 0 ? MA_EXIT_FAILED : MA_EXIT_OK;
    if (rc != MA_OK)
        return usage_error(why ? why : ma_err_text(rc));
    if (!config && !(ma_admin_needs(&args) & MA_NEED_NO_CONFIG))
        return usage_error("--config is missing");
    return run(a, &args, config);
}
