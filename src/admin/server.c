/* SPDX-License-Identifier: Apache-2.0
 * The daemon's side of the admin socket: a few threads that accept, check the peer and run commands.
 */
#include "ma/admin.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "int.h"

#define MA_ADMIN_BACKLOG 16
#define MA_SETTINGS_MAX ((size_t)1 << 20)
#define MA_TRIM_FROM ((size_t)1 << 20)

/* What commands read of the configuration, kept while one of them uses it. */
struct settings {
    atomic_uint refs;
    struct ma_arena *arena;
    struct ma_conf conf; /* only the members of ma_admin_env's comment are set */
};

struct ma_admin {
    struct ma_admin_env env;
    pthread_mutex_t lock; /* settings */
    struct settings *settings;
    int listen_fd, stop_fd;
    struct sockaddr_un addr;
    struct stat bound; /* the socket file that is ours */
    pthread_t threads[MA_ADMIN_THREADS];
    size_t n_threads;
};

/* --- settings --- */
static void settings_unref(struct settings *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    ma_arena_free(s->arena);
    free(s);
}

static void settings_unref_p(struct settings **s)
{
    settings_unref(*s);
}

static bool copy_domains(struct settings *s, const struct ma_conf_strlist *from)
{
    const char **v = ma_arena_calloc(s->arena, from->n + 1, sizeof *v);
    if (!v)
        return false;
    for (size_t i = 0; i < from->n; i++) {
        v[i] = ma_arena_strdup(s->arena, ma_span_str(from->v[i]));
        if (!v[i])
            return false;
    }
    s->conf.custom_domains = (struct ma_conf_strlist){v, from->n};
    return true;
}

static struct settings *settings_new(const struct ma_conf *conf)
{
    struct settings *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    atomic_init(&s->refs, 1);
    s->arena = ma_arena_new(1024, MA_SETTINGS_MAX);
    if (s->arena) {
        s->conf.path = ma_arena_strdup(s->arena, ma_span_str(conf->path));
        s->conf.base_url = ma_arena_strdup(s->arena, ma_span_str(conf->base_url));
        s->conf.admin_socket = ma_arena_strdup(s->arena, ma_span_str(conf->admin_socket));
        s->conf.policy = conf->policy;
        s->conf.notifications.reset_ttl = conf->notifications.reset_ttl;
    }
    if (s->arena && s->conf.path && s->conf.base_url && s->conf.admin_socket && copy_domains(s, &conf->custom_domains))
        return s;
    settings_unref(s);
    return NULL;
}

static struct settings *settings_get(struct ma_admin *ad)
{
    (void)pthread_mutex_lock(&ad->lock);
    struct settings *s = ad->settings;
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&ad->lock);
    return s;
}

void ma_admin_reload(struct ma_admin *ad, const struct ma_conf *conf)
{
    struct settings *now = settings_new(conf);
    if (!now) {
        ma_log(ad->env.log, MA_LOG_ERROR, "admin_reload_failed", MA_KV_S("error", ma_err_text(MA_E_NOMEM)));
        return;
    }
    (void)pthread_mutex_lock(&ad->lock);
    struct settings *old = ad->settings;
    ad->settings = now;
    (void)pthread_mutex_unlock(&ad->lock);
    settings_unref(old);
}

/* --- one connection --- */
static void reply(int fd, int code, int64_t next, const struct ma_buf *out, const struct ma_buf *err)
{
    char header[96];
    int n = snprintf(header, sizeof header, "{\"exit\":%d,\"out\":%zu,\"next\":%lld}", code, out->n, (long long)next);
    (void)!ma_frame_send(fd, ma_span_of(header, (size_t)n), ma_buf_view(out), ma_buf_view(err));
}

static void reply_refused(int fd, const char *why)
{
    struct ma_buf none, err;
    ma_buf_init(&none, 1);
    ma_buf_init(&err, 256);
    ma_buf_printf(&err, "%s\n", why);
    reply(fd, MA_EXIT_FAILED, 0, &none, &err);
    ma_buf_free(&err);
}

static bool peer_ok(struct ma_admin *ad, int fd, int64_t *ret_uid)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return false;
    *ret_uid = peer.uid;
    if (peer.uid == 0 || peer.uid == geteuid())
        return true;
    ma_log(ad->env.log, MA_LOG_WARN, "admin_peer_refused", MA_KV_I("uid", peer.uid), MA_KV_I("pid", peer.pid));
    return false;
}

static void run_request(struct ma_admin *ad, int fd, int64_t uid, const struct ma_frame *f)
{
    struct settings *s MA_CLEANUP(settings_unref_p) = settings_get(ad);
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    struct ma_admin_env env = ad->env;
    struct ma_admin_args args;
    struct ma_buf out, err;
    if (!a || ma_admin_decode(a, f->header, &args) != MA_OK) {
        reply_refused(fd, "malformed request");
        return;
    }
    int64_t next = 0;
    env.conf = &s->conf;
    env.peer_uid = uid;
    env.next = &next;
    ma_buf_init(&out, MA_ADMIN_OUTPUT_MAX);
    ma_buf_init(&err, MA_ADMIN_ERRORS_MAX);
    int code = ma_admin_run(&env, &args, f->payload, &out, &err);
    ma_log(env.log, MA_LOG_INFO, "admin_command", MA_KV_SPAN("command", args.command), MA_KV_I("exit", code));
    reply(fd, code, next, &out, &err);
    ma_buf_free(&out);
    ma_buf_free(&err);
    if (f->payload.n > MA_TRIM_FROM)
        (void)malloc_trim(0); /* a large document's tree is gone: give its pages back */
}

static void serve(struct ma_admin *ad, int fd)
{
    const struct timeval idle = {.tv_sec = MA_ADMIN_IO_TIMEOUT_S};
    const struct ma_frame_wait wait = {.timeout_ms = MA_ADMIN_IO_TIMEOUT_S * 1000, .stop = ad->stop_fd};
    struct ma_frame f MA_CLEANUP(ma_frame_free) = {0};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &idle, sizeof idle);
    int64_t uid = -1;
    if (!peer_ok(ad, fd, &uid)) {
        reply_refused(fd, "refused: only root and the daemon's user may administer it");
        return;
    }
    const struct ma_frame_wait first = {.timeout_ms = MA_ADMIN_FIRST_BYTE_MS, .stop = ad->stop_fd};
    enum ma_admin_speech speech = ma_admin_listen(fd, &first);
    if (speech == MA_SPEECH_NONE)
        return;
    if (speech == MA_SPEECH_HTTP) {
        ma_admin_http(fd, &wait, &ad->env);
        return;
    }
    int rc = ma_frame_recv(fd, &wait, MA_ADMIN_PAYLOAD_MAX, &f);
    if (rc == MA_OK)
        run_request(ad, fd, uid, &f);
    else if (rc == MA_E_RANGE)
        reply_refused(fd, "the request is too large");
    else if (rc == MA_E_PARSE)
        reply_refused(fd, "malformed request");
}

static void *worker(void *arg)
{
    struct ma_admin *ad = arg;
    for (;;) {
        struct pollfd p[2] = {{.fd = ad->listen_fd, .events = POLLIN}, {.fd = ad->stop_fd, .events = POLLIN}};
        if (poll(p, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (p[1].revents)
            return NULL;
        /* the listening socket does not block: another worker may have been faster */
        int fd = p[0].revents ? accept4(ad->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE) /* the connection waits: do not spin on it */
                (void)poll(&p[1], 1, MA_ADMIN_BACKOFF_MS);
            continue;
        }
        serve(ad, fd);
        (void)close(fd);
    }
}

/* --- the socket --- */
static int why_errno(char why[256], const char *path, const char *what)
{
    snprintf(why, 256, "%s: %s: %s", path, what, strerrordesc_np(errno));
    return MA_E_IO;
}

/* Makes room for our socket: a file nobody listens at goes, a listener or another kind of file stays. */
static int clear_path(const struct sockaddr_un *addr, char why[256])
{
    struct stat st;
    if (lstat(addr->sun_path, &st) != 0)
        return errno == ENOENT ? MA_OK : why_errno(why, addr->sun_path, "cannot look at it");
    if (!S_ISSOCK(st.st_mode)) {
        snprintf(why, 256, "%s: is there and is not a socket", addr->sun_path);
        return MA_E_EXISTS;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return why_errno(why, addr->sun_path, "socket");
    int rc = connect(fd, (const struct sockaddr *)addr, sizeof *addr);
    int refused = errno;
    (void)close(fd);
    if (rc != 0 && refused == ECONNREFUSED)
        return unlink(addr->sun_path) == 0 ? MA_OK : why_errno(why, addr->sun_path, "cannot replace it");
    snprintf(why, 256, "%s: another process listens there", addr->sun_path);
    return MA_E_BUSY;
}

static int bind_path(struct ma_admin *ad, char why[256])
{
    const char *path = ad->addr.sun_path;
    ad->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (ad->listen_fd < 0 || bind(ad->listen_fd, (const struct sockaddr *)&ad->addr, sizeof ad->addr) != 0)
        return why_errno(why, path, "cannot bind");
    /* nobody can connect before listen, so the mode is right before it matters */
    if (chmod(path, S_IRUSR | S_IWUSR) != 0 || lstat(path, &ad->bound) != 0)
        return why_errno(why, path, "cannot set its mode");
    if (listen(ad->listen_fd, MA_ADMIN_BACKLOG) != 0)
        return why_errno(why, path, "cannot listen");
    return MA_OK;
}

static int open_socket(struct ma_admin *ad, const char *path, char why[256])
{
    ad->addr.sun_family = AF_UNIX;
    if (*path == '\0' || strlen(path) >= sizeof ad->addr.sun_path) {
        snprintf(why, 256, "admin_socket: a path of 1 to %zu bytes is needed", sizeof ad->addr.sun_path - 1);
        return MA_E_INVAL;
    }
    memcpy(ad->addr.sun_path, path, strlen(path) + 1);
    int rc = clear_path(&ad->addr, why);
    return rc == MA_OK ? bind_path(ad, why) : rc;
}

static int start_threads(struct ma_admin *ad)
{
    sigset_t all, before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    while (ad->n_threads < MA_ADMIN_THREADS && pthread_create(&ad->threads[ad->n_threads], NULL, worker, ad) == 0)
        ad->n_threads++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ad->n_threads == MA_ADMIN_THREADS ? MA_OK : MA_E_NOMEM;
}

int ma_admin_start(const struct ma_admin_env *env, struct ma_admin **ret, char why[256])
{
    struct ma_admin *ad = calloc(1, sizeof *ad);
    *ret = NULL;
    snprintf(why, 256, "%s", ma_err_text(MA_E_NOMEM));
    if (!ad)
        return MA_E_NOMEM;
    ad->env = *env;
    ad->env.conf = NULL;
    ad->listen_fd = -1;
    (void)pthread_mutex_init(&ad->lock, NULL);
    ad->settings = settings_new(env->conf);
    ad->stop_fd = eventfd(0, EFD_CLOEXEC);
    int rc = ad->settings && ad->stop_fd >= 0 ? open_socket(ad, env->conf->admin_socket, why) : MA_E_NOMEM;
    if (rc == MA_OK)
        rc = start_threads(ad);
    if (rc != MA_OK) {
        ma_admin_stop(ad);
        return rc;
    }
    why[0] = '\0';
    *ret = ad;
    return MA_OK;
}

/* Removes the socket file unless somebody else has put another one there. */
static void remove_socket(const struct ma_admin *ad)
{
    struct stat st;
    if (ad->bound.st_ino != 0 && lstat(ad->addr.sun_path, &st) == 0 && st.st_dev == ad->bound.st_dev &&
        st.st_ino == ad->bound.st_ino)
        (void)unlink(ad->addr.sun_path);
}

void ma_admin_stop(struct ma_admin *ad)
{
    const uint64_t one = 1;
    if (!ad)
        return;
    if (ad->stop_fd >= 0)
        (void)!write(ad->stop_fd, &one, sizeof one);
    for (size_t i = 0; i < ad->n_threads; i++)
        (void)pthread_join(ad->threads[i], NULL);
    remove_socket(ad);
    if (ad->listen_fd >= 0)
        (void)close(ad->listen_fd);
    if (ad->stop_fd >= 0)
        (void)close(ad->stop_fd);
    settings_unref(ad->settings);
    (void)pthread_mutex_destroy(&ad->lock);
    free(ad);
}
