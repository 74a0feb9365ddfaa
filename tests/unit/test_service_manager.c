/* SPDX-License-Identifier: Apache-2.0
 * The service manager's protocols: notifications over path and abstract sockets, the watchdog's environment, passed
 * sockets; and the log file. Each test runs in a process of its own, so environment and descriptors are its own too.
 */
#include "ma/sdnotify.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ma/log.h"

static char dir[64];

static void setup(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/ma_test_sd_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static const char *at(const char *name)
{
    static char paths[4][128];
    static int n;
    char *p = paths[n++ % 4];
    (void)snprintf(p, 128, "%s/%s", dir, name);
    return p;
}

static void teardown(void)
{
    static const char *const names[] = {"notify", "log", "log.1", "link", "pipe"};
    for (size_t i = 0; i < MA_COUNT(names); i++)
        (void)unlink(at(names[i]));
    ck_assert_int_eq(rmdir(dir), 0);
}

/* --- notifications --- */

/* A bound datagram socket; "@name" is abstract, as in NOTIFY_SOCKET. */
static int listener(const char *name)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    ck_assert_int_ge(fd, 0);
    memcpy(sa.sun_path, name, strlen(name));
    if (*name == '@')
        sa.sun_path[0] = '\0';
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&sa, n), 0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void expect(int fd, const char *want)
{
    char have[1024];
    ssize_t n = recv(fd, have, sizeof have - 1, 0);
    ck_assert_msg(n >= 0, "nothing came; wanted %s", want);
    have[n] = '\0';
    ck_assert_str_eq(have, want);
}

START_TEST(notify_path)
{
    int fd = listener(at("notify"));
    ma_sd_notify("READY=1");
    expect(fd, "READY=1");
    ma_sd_notify("RELOADING=1\nMONOTONIC_USEC=%d", 42);
    expect(fd, "RELOADING=1\nMONOTONIC_USEC=42");
}
END_TEST

START_TEST(notify_abstract)
{
    char name[64];
    (void)snprintf(name, sizeof name, "@ma-test-%ld", (long)getpid());
    int fd = listener(name);
    ma_sd_notify("STOPPING=1");
    expect(fd, "STOPPING=1");
}
END_TEST

START_TEST(notify_cuts_a_long_text)
{
    char text[2000], want[512];
    int fd = listener(at("notify"));
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    memset(want, 'x', sizeof want - 1);
    want[sizeof want - 1] = '\0';
    ma_sd_notify("%s", text);
    expect(fd, want);
}
END_TEST

START_TEST(notify_nowhere)
{
    char longest[200];
    memset(longest, 'a', sizeof longest - 1);
    longest[0] = '/';
    longest[sizeof longest - 1] = '\0';
    const char *const places[] = {"", "relative", "/", "@", "/nonexistent/socket", longest};
    int fd = listener(at("notify"));
    for (size_t i = 0; i < MA_COUNT(places); i++) {
        ck_assert_int_eq(setenv("NOTIFY_SOCKET", places[i], 1), 0);
        ma_sd_notify("READY=1");
    }
    ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
    ma_sd_notify("READY=1");
    char c;
    ck_assert_int_eq(recv(fd, &c, 1, 0), -1);
    ck_assert_int_eq(errno, EAGAIN);
}
END_TEST

static void watchdog(const char *usec, const char *pid)
{
    (void)unsetenv("WATCHDOG_PID");
    (void)unsetenv("WATCHDOG_USEC");
    if (usec)
        ck_assert_int_eq(setenv("WATCHDOG_USEC", usec, 1), 0);
    if (pid)
        ck_assert_int_eq(setenv("WATCHDOG_PID", pid, 1), 0);
}

START_TEST(watchdog_environment)
{
    static const char *const not_numbers[] = {"", "-5", "+5", "5s", " 5", "99999999999999999999"};
    char me[32], other[32];
    (void)snprintf(me, sizeof me, "%ld", (long)getpid());
    (void)snprintf(other, sizeof other, "%ld", (long)getpid() + 1);
    watchdog(NULL, NULL);
    ck_assert_int_eq(ma_sd_watchdog_usec(), 0);
    watchdog("60000000", NULL);
    ck_assert_int_eq(ma_sd_watchdog_usec(), 60000000);
    watchdog("60000000", me);
    ck_assert_int_eq(ma_sd_watchdog_usec(), 60000000);
    watchdog("60000000", other);
    ck_assert_int_eq(ma_sd_watchdog_usec(), 0);
    for (size_t i = 0; i < MA_COUNT(not_numbers); i++) {
        watchdog(not_numbers[i], me);
        ck_assert_int_eq(ma_sd_watchdog_usec(), 0);
    }
}
END_TEST

/* --- passed sockets --- */

enum sock { TCP, UNIX, NOT_LISTENING, DATAGRAM, FILE_FD, HOLE };

static int make(enum sock kind)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un un = {.sun_family = AF_UNIX}; /* an empty name: the kernel chooses an abstract one */
    int fd = kind == FILE_FD ? open("/dev/null", O_RDONLY)
                             : socket(kind == UNIX ? AF_UNIX : AF_INET, kind == DATAGRAM ? SOCK_DGRAM : SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    if (kind == UNIX)
        ck_assert_int_eq(bind(fd, (const struct sockaddr *)&un, sizeof un.sun_family), 0);
    if (kind == TCP || kind == NOT_LISTENING || kind == DATAGRAM)
        ck_assert_int_eq(bind(fd, (const struct sockaddr *)&in, sizeof in), 0);
    if (kind == TCP || kind == UNIX)
        ck_assert_int_eq(listen(fd, 5), 0);
    return fd;
}

enum { FIRST = 3, MOST = 10 };

struct outcome {
    struct ma_sd_sockets s;
    char why[256];
    int result, fd_flags[MOST], status_flags[MOST]; /* of s.http */
};

/* Puts descriptors where a service manager would, from 3 on, and takes them. libcheck's own pipe may stand there:
 * nothing is asserted until everything is back in its place. */
static void run_with(size_t n, const enum sock *kinds, struct outcome *o)
{
    int made[MOST], saved[MOST];
    for (size_t i = 0; i < n; i++)
        made[i] = kinds[i] == HOLE ? -1 : fcntl(make(kinds[i]), F_DUPFD, 100);
    for (int i = 0; i < MOST; i++) {
        saved[i] = fcntl(FIRST + i, F_DUPFD, 200);
        (void)close(FIRST + i);
        if ((size_t)i < n && made[i] >= 0)
            (void)dup2(made[i], FIRST + i);
    }
    o->result = ma_sd_listen(&o->s, o->why);
    for (size_t i = 0; o->result == MA_OK && i < o->s.n_http; i++) {
        o->fd_flags[i] = fcntl(o->s.http[i], F_GETFD);
        o->status_flags[i] = fcntl(o->s.http[i], F_GETFL);
    }
    for (int i = 0; i < MOST; i++) {
        (void)close(FIRST + i);
        if (saved[i] >= 0)
            (void)dup2(saved[i], FIRST + i);
    }
}

static void pass(size_t n, const enum sock *kinds, const char *names, const char *pid, struct outcome *o)
{
    char text[32];
    *o = (struct outcome){.result = MA_OK};
    (void)snprintf(text, sizeof text, "%zu", n);
    ck_assert_int_eq(setenv("LISTEN_FDS", text, 1), 0);
    (void)snprintf(text, sizeof text, "%ld", (long)getpid());
    ck_assert_int_eq(setenv("LISTEN_PID", pid ? pid : text, 1), 0);
    if (names)
        ck_assert_int_eq(setenv("LISTEN_FDNAMES", names, 1), 0);
    run_with(n, kinds, o);
}

static const struct passed {
    const char *what;
    enum sock kinds[10];
    size_t n;
    const char *names;
    const char *fault;            /* part of it; NULL: good */
    int http[4], n_http, metrics; /* what comes out */
} passed[] = {
    {"none", {0}, 0, NULL, NULL, {0}, 0, -1},
    {"one without names", {TCP}, 1, NULL, NULL, {3}, 1, -1},
    {"one named by its unit", {TCP}, 1, "myaccountd.socket", NULL, {3}, 1, -1},
    {"one named unknown", {UNIX}, 1, "unknown", NULL, {3}, 1, -1},
    {"by name, in any order", {TCP, UNIX, TCP}, 3, "metrics:http:http", NULL, {4, 5}, 2, 3},
    {"only metrics", {TCP}, 1, "metrics", NULL, {0}, 0, 3},
    {"fewer names than sockets", {TCP, TCP}, 2, "http", NULL, {3, 4}, 2, -1},
    {"a misspelt name", {TCP}, 1, "metric", "neither http nor metrics", {0}, 0, -1},
    {"metrics twice", {TCP, TCP}, 2, "metrics:metrics", "second one", {0}, 0, -1},
    {"a datagram socket", {DATAGRAM}, 1, "http", "not a stream socket", {0}, 0, -1},
    {"a file", {FILE_FD}, 1, "http", "not a stream socket", {0}, 0, -1},
    {"a hole", {TCP, HOLE}, 2, "http:http", "not a stream socket", {0}, 0, -1},
    {"a connection instead of a listener", {NOT_LISTENING}, 1, "http", "does not listen", {0}, 0, -1},
    {"too many", {TCP, TCP, TCP, TCP, TCP, TCP, TCP, TCP, TCP}, 9, NULL, "more than 8", {0}, 0, -1},
};

START_TEST(sockets_passed)
{
    const struct passed *p = &passed[_i];
    struct outcome o;
    pass(p->n, p->kinds, p->names, NULL, &o);
    ck_assert_msg(o.result == (p->fault ? MA_E_INVAL : MA_OK), "%s: %s %s", p->what, ma_err_name(o.result), o.why);
    ck_assert_ptr_null(getenv("LISTEN_FDS"));
    ck_assert_ptr_null(getenv("LISTEN_PID"));
    ck_assert_ptr_null(getenv("LISTEN_FDNAMES"));
    if (p->fault) {
        ck_assert_msg(strstr(o.why, p->fault) != NULL, "%s: %s", p->what, o.why);
        return;
    }
    ck_assert_msg(o.s.n_http == (size_t)p->n_http && o.s.metrics == p->metrics, "%s: %zu and %d", p->what, o.s.n_http,
                  o.s.metrics);
    for (int i = 0; i < p->n_http; i++) {
        ck_assert_int_eq(o.s.http[i], p->http[i]);
        ck_assert_int_eq(o.fd_flags[i], FD_CLOEXEC);
        ck_assert_int_ne(o.status_flags[i] & O_NONBLOCK, 0);
    }
}
END_TEST

/* What was meant for a parent is left alone. */
START_TEST(sockets_of_another_process)
{
    static const char *const pids[] = {"1", "", "x", "-1"};
    const enum sock kind = TCP;
    struct outcome o;
    for (size_t i = 0; i < MA_COUNT(pids); i++) {
        pass(1, &kind, NULL, pids[i], &o);
        ck_assert_int_eq(o.result, MA_OK);
        ck_assert_uint_eq(o.s.n_http, 0);
        ck_assert_ptr_nonnull(getenv("LISTEN_FDS"));
    }
}
END_TEST

/* --- the log file --- */

static bool holds(const char *path, const char *text)
{
    char have[4096];
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    size_t n = fread(have, 1, sizeof have - 1, f);
    ck_assert_int_eq(fclose(f), 0);
    have[n] = '\0';
    return strstr(have, text) != NULL;
}

START_TEST(log_moves_to_a_file_and_back)
{
    int first = open(at("log.1"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    struct ma_log *lg = ma_log_new(first, MA_LOG_INFO, 1);
    struct stat st;
    (void)umask(0077);
    ma_log_hold(lg, MA_LOG_INFO, "held", NULL, 0);
    ck_assert_int_eq(ma_log_reopen(lg, at("log")), MA_OK);
    ck_assert(holds(at("log.1"), "held")); /* what was held went where it belonged */
    ma_log(lg, MA_LOG_INFO, "in the file");
    ck_assert(holds(at("log"), "in the file"));
    ck_assert_int_eq(stat(at("log"), &st), 0);
    ck_assert_int_eq(st.st_mode & 07777, 0640);
    ck_assert_int_eq(ma_log_reopen(lg, ""), MA_OK);
    ma_log(lg, MA_LOG_INFO, "back again");
    ck_assert(holds(at("log.1"), "back again"));
    ck_assert(!holds(at("log"), "back again"));
    ma_log_free(lg);
    ck_assert_int_eq(close(first), 0);
}
END_TEST

START_TEST(log_reopens_after_rotation)
{
    struct ma_log *lg = ma_log_new(STDERR_FILENO, MA_LOG_INFO, 1);
    ck_assert_int_eq(ma_log_reopen(lg, at("log")), MA_OK);
    ma_log(lg, MA_LOG_INFO, "before");
    ck_assert_int_eq(rename(at("log"), at("log.1")), 0);
    ma_log(lg, MA_LOG_INFO, "between");
    ck_assert_int_eq(ma_log_reopen(lg, at("log")), MA_OK);
    ma_log(lg, MA_LOG_INFO, "after");
    ck_assert(holds(at("log.1"), "before"));
    ck_assert(holds(at("log.1"), "between"));
    ck_assert(!holds(at("log.1"), "after"));
    ck_assert(holds(at("log"), "after"));
    ck_assert_int_eq(ma_log_reopen(lg, at("log")), MA_OK); /* once more: appended to, not cut */
    ck_assert(holds(at("log"), "after"));
    ma_log_free(lg);
}
END_TEST

START_TEST(log_keeps_its_place_when_the_new_one_is_refused)
{
    struct ma_log *lg = ma_log_new(STDERR_FILENO, MA_LOG_INFO, 1);
    ck_assert_int_eq(ma_log_reopen(lg, at("log")), MA_OK);
    ck_assert_int_eq(symlink(at("log"), at("link")), 0);
    ck_assert_int_eq(mkfifo(at("pipe"), 0600), 0);
    ck_assert_int_eq(ma_log_reopen(lg, at("link")), MA_E_IO);
    ck_assert_int_lt(ma_log_reopen(lg, at("pipe")), 0); /* and does not hang */
    ck_assert_int_lt(ma_log_reopen(lg, dir), 0);
    ck_assert_int_eq(ma_log_reopen(lg, "/nonexistent/dir/log"), MA_E_IO);
    ma_log(lg, MA_LOG_INFO, "still here");
    ck_assert(holds(at("log"), "still here"));
    ma_log_free(lg);
}
END_TEST

START_TEST(log_levels_change)
{
    struct ma_log *lg = ma_log_new(STDERR_FILENO, MA_LOG_INFO, 1);
    ck_assert_int_eq(ma_log_reopen(lg, at("log")), MA_OK);
    ma_log(lg, MA_LOG_DEBUG, "one");
    ma_log_configure(lg, ma_log_level_parse("debug"), 1);
    ma_log(lg, MA_LOG_DEBUG, "two");
    ma_log_configure(lg, ma_log_level_parse("error"), 1);
    ma_log(lg, MA_LOG_WARN, "three");
    ck_assert(!holds(at("log"), "one"));
    ck_assert(holds(at("log"), "two"));
    ck_assert(!holds(at("log"), "three"));
    ma_log_free(lg);
    ck_assert_int_eq(ma_log_level_parse("error"), MA_LOG_ERROR);
    ck_assert_int_eq(ma_log_level_parse("warn"), MA_LOG_WARN);
    ck_assert_int_eq(ma_log_level_parse("info"), MA_LOG_INFO);
    ck_assert_int_eq(ma_log_level_parse("debug"), MA_LOG_DEBUG);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("service_manager");
    TCase *t = tcase_create("service_manager");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, notify_path);
    tcase_add_test(t, notify_abstract);
    tcase_add_test(t, notify_cuts_a_long_text);
    tcase_add_test(t, notify_nowhere);
    tcase_add_test(t, watchdog_environment);
    tcase_add_loop_test(t, sockets_passed, 0, (int)MA_COUNT(passed));
    tcase_add_test(t, sockets_of_another_process);
    tcase_add_test(t, log_moves_to_a_file_and_back);
    tcase_add_test(t, log_reopens_after_rotation);
    tcase_add_test(t, log_keeps_its_place_when_the_new_one_is_refused);
    tcase_add_test(t, log_levels_change);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
