/* SPDX-License-Identifier: Apache-2.0
 * The admin socket: requests through it, clumsy and hostile peers, and the socket's path.
 */
#include "ma/admin.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "admin_util.h"

#define NOBODY 65534

static struct ma_admin *server;

static void setup_server_jose(void)
{
    setup_jose();
    ck_assert_msg(ma_admin_start(&env, &server, why) == MA_OK, "%s", why);
}

static void setup_server(void)
{
    setup();
    ck_assert_msg(ma_admin_start(&env, &server, why) == MA_OK, "%s", why);
}

static void teardown_server(void)
{
    ma_admin_stop(server);
    teardown();
}

/* --- the socket --- */
static int call(const char *line, const char *document, struct ma_buf *o, struct ma_buf *e)
{
    struct ma_admin_args args;
    const char *bad = NULL;
    int code = -1;
    T_OK(parse(line, &args, &bad));
    T_OK(ma_admin_call(socket_path, &args, ma_span_str(document), o, e, &code));
    return code;
}

static int dial(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* Everything until the other side hangs up; the text is NUL-terminated. */
static size_t drain(int fd, char *to, size_t cap)
{
    size_t n = 0;
    ssize_t got;
    while (n + 1 < cap && (got = read(fd, to + n, cap - 1 - n)) > 0)
        n += (size_t)got;
    to[n] = '\0';
    (void)close(fd);
    return n;
}

START_TEST(through_the_socket)
{
    struct stat st;
    ck_assert_int_eq(lstat(socket_path, &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0600);
    ck_assert_int_eq(call("apply s", people, &out, &err), MA_EXIT_OK);
    ck_assert_int_eq(world.changed, 1);
    ck_assert_ptr_nonnull(memmem(out.p, out.n, "client spa created\n", 19));
    ma_buf_clear(&out);
    ck_assert_int_eq(call("user show nobody", "", &out, &err), MA_EXIT_FAILED);
    ck_assert_uint_eq(out.n, 0);
    ck_assert(ma_span_eq_str(ma_buf_view(&err), "user show: no such user\n"));
    ck_assert_int_eq(call("health", "", &out, &err), MA_EXIT_OK);
    ma_buf_clear(&out);
    ck_assert_int_eq(call("token --user auth0|bob --client spa --scope a", "", &out, &err), MA_EXIT_OK);
    ma_buf_byte(&out, 0);
    (void)token_of(0);
}
END_TEST

START_TEST(settings_follow_a_reload)
{
    ck_assert_int_eq(call("apply s", people, &out, &err), MA_EXIT_OK);
    conf.base_url = "https://new.example.com";
    ma_admin_reload(server, &conf);
    ma_buf_clear(&out);
    ck_assert_int_eq(call("token --user auth0|bob --client spa --scope a", "", &out, &err), MA_EXIT_OK);
    T_OK(ma_jose_reload(env.jose, &conf, why));
    ma_buf_byte(&out, 0);
    ck_assert(ma_span_eq_str(token_of(0).iss, "https://new.example.com/"));
}
END_TEST

static const struct garbage_row {
    const char *name, *bytes;
    size_t n;
    const char *want; /* in the answer; NULL: none is due */
} garbage_rows[] = {
    {"nothing", "", 0, NULL},
    {"half a head", "MAA1\0\0", 6, NULL},
    {"http, another path", "GET / HTTP/1.1\r\n\r\n", 18, "HTTP/1.1 404"},
    {"http, live", "GET /health/live HTTP/1.1\r\n\r\n", 29, "{\"status\":\"ok\"}"},
    {"http, cut short", "GET /health/live HTTP/1.1\r\n", 27, NULL},
    {"no json", "MAA1\0\0\0\1\0\0\0\0x", 13, "malformed"},
    {"empty header", "MAA1\0\0\0\0\0\0\0\0", 12, "malformed"},
    {"array", "MAA1\0\0\0\2\0\0\0\0[]", 14, "malformed"},
    {"no command", "MAA1\0\0\0\2\0\0\0\0{}", 14, "malformed"},
    {"unknown command", "MAA1\0\0\0\x1a\0\0\0\0{\"command\":\"rm\",\"args\":{}}", 38, "unknown command"},
    {"unknown argument", "MAA1\0\0\0\x1f\0\0\0\0{\"command\":\"rm\",\"args\":{\"x\":1}}", 43, "malformed"},
    {"missing positional", "MAA1\0\0\0\x21\0\0\0\0{\"command\":\"user show\",\"args\":{}}", 45, "missing"},
    {"header too long", "MAA1\0\1\0\1\0\0\0\0", 12, "too large"},
    {"payload too long", "MAA1\0\0\0\2\x10\0\0\1{}", 14, "too large"},
    {"all bits", "MAA1\xff\xff\xff\xff\xff\xff\xff\xff", 12, "too large"},
    {"cut short", "MAA1\0\0\0\2\0\0\0\x0a{}abc", 17, NULL},
};

START_TEST(garbage)
{
    const struct garbage_row *row = &garbage_rows[_i];
    char answer[4096];
    int fd = dial();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(send(fd, row->bytes, row->n, MSG_NOSIGNAL), (ssize_t)row->n);
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    size_t n = drain(fd, answer, sizeof answer);
    if (row->want)
        ck_assert_msg(memmem(answer, n, row->want, strlen(row->want)) != NULL, "%s", row->name);
    else
        ck_assert_msg(n == 0, "%s", row->name);
    ck_assert_int_eq(call("health", "", &out, &err), MA_EXIT_OK);
}
END_TEST

START_TEST(oversize_document_is_refused_early)
{
    char answer[4096];
    static const uint8_t head[] = {'M', 'A', 'A', '1', 0, 0, 0, 2, 0xff, 0, 0, 0};
    static uint8_t block[65536];
    int fd = dial();
    ck_assert_int_eq(send(fd, head, sizeof head, MSG_NOSIGNAL), (ssize_t)sizeof head);
    while (send(fd, block, sizeof block, MSG_NOSIGNAL) > 0) /* until the daemon hangs up */
        continue;
    size_t n = drain(fd, answer, sizeof answer);
    ck_assert_ptr_nonnull(memmem(answer, n, "too large", 9));
}
END_TEST

START_TEST(strangers_are_refused)
{
    char answer[4096];
    if (geteuid() != 0)
        return;                                    /* only root can become somebody else */
    ck_assert_int_eq(chmod(socket_path, 0666), 0); /* the mode alone would keep them out */
    int pipe_fd[2];
    ck_assert_int_eq(pipe(pipe_fd), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
            _exit(9);
        int fd = dial();
        size_t n = fd < 0 ? 0 : drain(fd, answer, sizeof answer);
        _exit(write(pipe_fd[1], answer, n) == (ssize_t)n && n > 0 ? 0 : 8);
    }
    (void)close(pipe_fd[1]);
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    size_t n = drain(pipe_fd[0], answer, sizeof answer);
    ck_assert_ptr_nonnull(memmem(answer, n, "refused: only root", 18));
    ck_assert_int_eq(call("health", "", &out, &err), MA_EXIT_OK);
}
END_TEST

static void *caller(void *arg)
{
    struct ma_buf o, e;
    int *failures = arg, code = -1;
    struct ma_admin_args args = {
        .command = MA_LIT("user show"), .positional = {MA_LIT("auth0|alice")}, .n_positional = 1};
    for (int i = 0; i < 50; i++) {
        ma_buf_init(&o, 1 << 20);
        ma_buf_init(&e, 1 << 20);
        if (ma_admin_call(socket_path, &args, MA_SPAN_NULL, &o, &e, &code) != MA_OK || code != MA_EXIT_OK ||
            !memmem(o.p, o.n, "alice@example.com", 17))
            ++*failures;
        ma_buf_free(&o);
        ma_buf_free(&e);
    }
    return NULL;
}

START_TEST(many_at_once)
{
    pthread_t threads[8];
    int failures[8] = {0};
    int idle[MA_ADMIN_THREADS - 1]; /* peers that say nothing hold a thread each */
    ck_assert_int_eq(call("apply s", people, &out, &err), MA_EXIT_OK);
    for (size_t i = 0; i < MA_COUNT(idle); i++)
        ck_assert_int_ge(idle[i] = dial(), 0);
    for (size_t i = 0; i < MA_COUNT(threads); i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, caller, &failures[i]), 0);
    for (size_t i = 0; i < MA_COUNT(threads); i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_int_eq(failures[i], 0);
    }
    for (size_t i = 0; i < MA_COUNT(idle); i++)
        (void)close(idle[i]);
}
END_TEST

START_TEST(stopping_does_not_wait_for_idle_peers)
{
    int fd = dial();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(send(fd, "MAA1", 4, MSG_NOSIGNAL), 4);
    ma_admin_stop(server);
    server = NULL;
    ck_assert_int_ne(access(socket_path, F_OK), 0);
    char answer[16];
    ck_assert_uint_eq(drain(fd, answer, sizeof answer), 0);
}
END_TEST

START_TEST(second_server_is_refused)
{
    struct ma_admin *other = NULL;
    T_IS(MA_E_BUSY, ma_admin_start(&env, &other, why));
    ck_assert_ptr_null(other);
    ck_assert_ptr_nonnull(strstr(why, "another process"));
    ck_assert_int_eq(call("health", "", &out, &err), MA_EXIT_OK);
}
END_TEST

START_TEST(stale_socket_is_replaced)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", socket_path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    (void)close(fd);
    struct ma_admin_args args = {.command = MA_LIT("health")};
    int code = -1;
    T_IS(MA_E_NOTFOUND, ma_admin_call(socket_path, &args, MA_SPAN_NULL, &out, &err, &code));
    struct ma_admin *ad = NULL;
    ck_assert_msg(ma_admin_start(&env, &ad, why) == MA_OK, "%s", why);
    T_OK(ma_admin_call(socket_path, &args, MA_SPAN_NULL, &out, &err, &code));
    ma_admin_stop(ad);
}
END_TEST

START_TEST(other_files_are_left_alone)
{
    struct ma_admin *ad = NULL;
    FILE *f = fopen(socket_path, "w");
    ck_assert_ptr_nonnull(f);
    (void)fclose(f);
    T_IS(MA_E_EXISTS, ma_admin_start(&env, &ad, why));
    ck_assert_int_eq(access(socket_path, F_OK), 0);
    static char longer[256];
    memset(longer, 'a', sizeof longer - 1);
    longer[0] = '/';
    conf.admin_socket = longer;
    T_IS(MA_E_INVAL, ma_admin_start(&env, &ad, why));
    conf.admin_socket = "/nonexistent/directory/admin.sock";
    T_IS(MA_E_IO, ma_admin_start(&env, &ad, why));
    ma_admin_stop(NULL);
}
END_TEST

static TCase *socket_case(void)
{
    TCase *t = tcase_create("socket");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup_server, teardown_server);
    tcase_add_loop_test(t, garbage, 0, (int)MA_COUNT(garbage_rows));
    tcase_add_test(t, oversize_document_is_refused_early);
    tcase_add_test(t, strangers_are_refused);
    tcase_add_test(t, many_at_once);
    tcase_add_test(t, stopping_does_not_wait_for_idle_peers);
    tcase_add_test(t, second_server_is_refused);
    return t;
}

static TCase *socket_tokens_case(void)
{
    TCase *t = tcase_create("socket and tokens");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup_server_jose, teardown_server);
    tcase_add_test(t, through_the_socket);
    tcase_add_test(t, settings_follow_a_reload);
    return t;
}

static TCase *path_case(void)
{
    TCase *t = tcase_create("path");
    tcase_set_timeout(t, 60);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, stale_socket_is_replaced);
    tcase_add_test(t, other_files_are_left_alone);
    return t;
}

int main(void)
{
    Suite *s = suite_create("admin socket");
    suite_add_tcase(s, socket_case());
    suite_add_tcase(s, socket_tokens_case());
    suite_add_tcase(s, path_case());
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
