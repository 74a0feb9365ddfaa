/* SPDX-License-Identifier: Apache-2.0
 * myaccountctl: runs a command through the daemon's admin socket, or on the database itself when no
 * daemon runs.
 */
#include "ma/admin.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ma/api.h"
#include "ma/audit.h"
#include "ma/crypto.h"

#define MA_CTL_ARENA_MAX ((size_t)1 << 20)
#define MA_READ_CHUNK 65536u

/* What a command works on when no daemon runs. */
struct local {
    struct ma_db *db;
    struct ma_vault *vault;
    struct ma_audit *audit;
    struct ma_jose *jose;
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

static bool takes_file(struct ma_span command)
{
    static const char *const names[] = {"backup", "restore", "keys export", "keys import"};
    for (size_t i = 0; i < MA_COUNT(names); i++)
        if (ma_span_eq_str(command, names[i]))
            return true;
    return false;
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

static void local_close(struct local *l)
{
    ma_jose_close(l->jose);
    ma_db_close(l->db);
    ma_audit_close(l->audit);
    ma_vault_close(l->vault);
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
    if (rc == MA_OK && (needs & MA_NEED_VAULT))
        rc = ma_audit_open(l->db, l->vault, conf->key_directory, ma_rand_system(), NULL, &l->audit, why);
    if (rc == MA_OK && (needs & MA_NEED_JOSE))
        rc = ma_jose_open(conf, clock, ma_rand_system(), NULL, &l->jose, why);
    return rc;
}

/* Nobody's writing is held up, whatever the size. */
static int local_forget(void *arg, int64_t max_bytes)
{
    const struct local *l = arg;
    (void)max_bytes;
    int rc = ma_db_scrub(l->db, 0);
    return rc == MA_OK ? ma_db_truncate_wal(l->db) : rc;
}

static void print_progress(void *arg, const char *line)
{
    (void)arg;
    (void)fprintf(stderr, "%s\n", line);
}

static int run_locally(const struct ma_conf *conf, const struct ma_admin_args *args, struct ma_span payload,
                       struct ma_buf *out, struct ma_buf *err, int64_t *next)
{
    struct local l MA_CLEANUP(local_close) = {0};
    struct ma_admin_env env = {.conf = conf,
                               .arg = &l,
                               .write = local_write,
                               .read = local_read,
                               .forget = local_forget,
                               .progress = print_progress,
                               .alone = true,
                               .peer_uid = getuid(),
                               .routes = ma_api_routes_text,
                               .clock = ma_clock_system(),
                               .rand = ma_rand_system(),
                               .next = next};
    uint32_t needs = ma_admin_needs(args);
    char why[256] = "";
    if (needs & MA_NEED_DB) {
        if (ma_admin_become_owner(conf->database) != MA_OK)
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
static int execute(const struct ma_conf *conf, struct ma_admin_args *args, struct ma_span document, struct ma_buf *out,
                   struct ma_buf *err, int64_t *next)
{
    int code = MA_EXIT_FAILED;
    if (ma_admin_needs(args) & MA_NEED_LOCAL)
        return run_locally(conf, args, document, out, err, next);
    int rc = ma_admin_call_page(conf->admin_socket, args, document, out, err, &code, next);
    if (rc == MA_E_NOTFOUND)
        return run_locally(conf, args, document, out, err, next);
    return rc == MA_OK ? code : complain(MA_EXIT_FAILED, conf->admin_socket, ma_err_text(rc));
}

/* --- looking on while the daemon seals everything anew --- */
enum { WATCH_MS = 500, WATCH_PATIENCE = 240 }; /* looks without any change until it is given up */

/* "100 %: …", at the beginning of a line. */
static bool says_done(struct ma_span out)
{
    static const char done[] = "100 %";
    const uint8_t *at = out.n > 0 ? memmem(out.p, out.n, done, sizeof done - 1) : NULL;
    return at && (at == out.p || at[-1] == '\n');
}

static int watch(const struct ma_conf *conf)
{
    const struct timespec pause = {.tv_nsec = WATCH_MS * 1000000L};
    struct ma_admin_args args = {.command = MA_LIT("keys reseal")};
    struct ma_buf before MA_CLEANUP(ma_buf_free), out MA_CLEANUP(ma_buf_free), err MA_CLEANUP(ma_buf_free);
    ma_buf_init(&before, MA_ADMIN_ERRORS_MAX);
    ma_buf_init(&out, MA_ADMIN_ERRORS_MAX);
    ma_buf_init(&err, MA_ADMIN_ERRORS_MAX);
    for (int same = 0; same < WATCH_PATIENCE; same++) {
        int code = MA_EXIT_FAILED;
        (void)nanosleep(&pause, NULL);
        ma_buf_clear(&out);
        ma_buf_clear(&err);
        int rc = ma_admin_call(conf->admin_socket, &args, MA_SPAN_NULL, &out, &err, &code);
        if (rc != MA_OK || code != MA_EXIT_OK) {
            (void)write_all(STDERR_FILENO, ma_buf_view(&err));
            return complain(MA_EXIT_FAILED, "the daemon does not answer any more; it goes on when it is started",
                            rc != MA_OK ? ma_err_text(rc) : NULL);
        }
        if (ma_span_eq(ma_buf_view(&out), ma_buf_view(&before)))
            continue;
        same = 0;
        (void)write_all(STDOUT_FILENO, ma_buf_view(&out));
        if (says_done(ma_buf_view(&out)))
            return MA_EXIT_OK;
        ma_buf_clear(&before);
        ma_buf_span(&before, ma_buf_view(&out));
    }
    return complain(MA_EXIT_FAILED, "nothing changes any more: see the daemon's log", NULL);
}

static void conf_free_p(struct ma_conf **c)
{
    ma_conf_free(*c);
}

/* Long output comes in pages, so that nobody holds it whole. */
static void ask_for_more(struct ma_admin_args *args, char *from, size_t cap, int64_t next)
{
    if (next == 0)
        return;
    (void)snprintf(from, cap, "%lld", (long long)next);
    args->from = ma_span_str(from);
    args->given |= MA_OPT_FROM;
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
    else if (takes_file(args->command))
        code = absolute_path(a, &args->positional[0]);
    if (code == MA_EXIT_OK && (args->given & MA_OPT_PASSPHRASE_FILE))
        code = absolute_path(a, &args->passphrase_file);
    if (code != MA_EXIT_OK)
        return code;
    char from[24];
    bool done = false;
    for (int64_t next = 1; next != 0 && code == MA_EXIT_OK;) {
        next = 0;
        code = execute(conf, args, ma_buf_view(&document), &out, &err, &next);
        (void)write_all(STDERR_FILENO, ma_buf_view(&err));
        if (!write_all(STDOUT_FILENO, ma_buf_view(&out)))
            return complain(MA_EXIT_FAILED, "standard output", strerrordesc_np(errno));
        ask_for_more(args, from, sizeof from, next);
        done = says_done(ma_buf_view(&out));
        ma_buf_clear(&out);
        ma_buf_clear(&err);
    }
    if (code == MA_EXIT_OK && (args->given & MA_OPT_WATCH) && !done)
        return watch(conf);
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
