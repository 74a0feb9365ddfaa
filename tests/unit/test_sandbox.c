/* SPDX-License-Identifier: Apache-2.0
 * The filter of system calls, in processes of their own: what it lets through, refuses and kills for.
 */
#include "ma/crypto.h"
#include "ma/sandbox.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GOOD = 42 };

/* The wait status of a process that gave everything up and then did this. */
static int in_sandbox(int (*deed)(void))
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char why[256] = "";
        struct ma_log *log = ma_log_new(open("/dev/null", O_WRONLY | O_CLOEXEC), MA_LOG_INFO, false);
        if (!log || ma_sandbox_privileges(false) != MA_OK || ma_sandbox_filter("require", log, why) != MA_OK)
            _exit(1);
        _exit(deed());
    }
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void expect_done(int (*deed)(void))
{
    int status = in_sandbox(deed);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == GOOD, "status %x", (unsigned)status);
}

static void expect_killed(int (*deed)(void))
{
    int status = in_sandbox(deed);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "status %x", (unsigned)status);
}

static void *thread_main(void *arg)
{
    return arg;
}

static int threads(void)
{
    pthread_t t;
    void *back = NULL;
    int mark = 0;
    return pthread_create(&t, NULL, thread_main, &mark) == 0 && pthread_join(t, &back) == 0 && back == &mark ? GOOD : 2;
}

static int names_and_sockets(void)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    if (getaddrinfo("localhost", "80", &hints, &list) != 0)
        return 2;
    freeaddrinfo(list);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && close(fd) == 0 ? GOOD : 3;
}

static int files(void)
{
    char name[] = "/tmp/ma_sandbox_XXXXXX";
    int fd = mkstemp(name);
    bool good = fd >= 0 && write(fd, "x", 1) == 1 && fdatasync(fd) == 0 && ftruncate(fd, 0) == 0 && unlink(name) == 0;
    return good ? GOOD : 2;
}

static int other_families(void)
{
    static const int families[] = {AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG};
    for (size_t i = 0; i < MA_COUNT(families); i++)
        if (socket(families[i], SOCK_RAW, 0) >= 0 || errno != EAFNOSUPPORT)
            return 2;
    return GOOD;
}

static int own_privileges(void)
{
    return prctl(PR_SET_NAME, "sandboxed") == 0 ? GOOD : 2;
}

static int kinds_of_sockets(void)
{
    static const int good[][3] = {{AF_UNIX, SOCK_DGRAM, 0},
                                  {AF_INET, SOCK_STREAM, IPPROTO_TCP},
                                  {AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP}};
    for (size_t i = 0; i < MA_COUNT(good); i++) {
        int fd = socket(good[i][0], good[i][1] | SOCK_CLOEXEC, good[i][2]);
        if (fd >= 0)
            (void)close(fd);
        else if (errno != EAFNOSUPPORT) /* a machine without IPv6 */
            return 2;
    }
    int pair[2];
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0 ? GOOD : 3;
}

static int raw_packets(void)
{
    return socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
}

static int echo_requests(void)
{
    return socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
}

static int other_transport(void)
{
    return socket(AF_INET6, SOCK_STREAM, IPPROTO_SCTP);
}

START_TEST(the_daemons_own_work_is_let_through)
{
    expect_done(threads);
    expect_done(names_and_sockets);
    expect_done(files);
    expect_done(kinds_of_sockets);
    expect_done(own_privileges);
}
END_TEST

START_TEST(other_socket_families_do_not_exist)
{
    expect_done(other_families);
}
END_TEST

/* Calls that are not in the list: a build with test hooks ends at them. */
START_TEST(other_protocols_do_not_exist)
{
    expect_killed(raw_packets);
    expect_killed(echo_requests);
    expect_killed(other_transport);
}
END_TEST

static int exec_shell(void)
{
    char *const argv[] = {(char[]){"sh"}, NULL}, *const envp[] = {NULL};
    return execve("/bin/sh", argv, envp);
}

static int read_process(void)
{
    return (int)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0);
}

static int load_bpf(void)
{
    return (int)syscall(SYS_bpf, 0, NULL, 0);
}

static int become_root(void)
{
    return setuid(0);
}

static int mount_something(void)
{
    return (int)syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, NULL);
}

static int memory_file(void)
{
    return (int)syscall(SYS_memfd_create, "x", 0);
}

static int new_namespace(void)
{
    return (int)syscall(SYS_unshare, 0);
}

START_TEST(what_only_an_intruder_does_kills_the_process)
{
    expect_killed(exec_shell);
    expect_killed(read_process);
    expect_killed(load_bpf);
    expect_killed(become_root);
    expect_killed(mount_something);
    expect_killed(memory_file);
    expect_killed(new_namespace);
}
END_TEST

/* In a build with test hooks, what is not in the list kills too. */
static int code_from_data(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static int executable_later(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? 2 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int signal_another(void)
{
    return kill(getppid(), 0);
}

static int trace_terminal(void)
{
    enum { TIOCSTI_NUMBER = 0x5412 };
    return (int)syscall(SYS_ioctl, 0, TIOCSTI_NUMBER, "x");
}

static int raise_a_limit(void)
{
    const uint64_t limit[2] = {0, 0};
    return (int)syscall(SYS_prlimit64, 0, 4, limit, NULL);
}

START_TEST(memory_is_writable_or_executable)
{
    expect_killed(code_from_data);
    expect_killed(executable_later);
}
END_TEST

START_TEST(others_are_out_of_reach)
{
    expect_killed(signal_another);
    expect_killed(trace_terminal);
    expect_killed(raise_a_limit);
}
END_TEST

START_TEST(off_is_off)
{
    char why[256] = "";
    ck_assert_int_eq(ma_sandbox_filter("off", NULL, why), MA_OK);
    ck_assert_int_eq(prctl(PR_GET_SECCOMP), 0);
}
END_TEST

START_TEST(keys_are_in_locked_memory)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    ck_assert(ma_crypto_memory_locked());
    FILE *status = fopen("/proc/self/status", "re");
    ck_assert_ptr_nonnull(status);
    char line[256];
    long locked = 0;
    while (fgets(line, sizeof line, status))
        if (strncmp(line, "VmLck:", 6) == 0)
            locked = strtol(line + 6, NULL, 10);
    (void)fclose(status);
    ck_assert_int_ge(locked, 256); /* KiB */
    ma_crypto_cleanup();
}
END_TEST

int main(void)
{
    Suite *s = suite_create("sandbox");
    TCase *c = tcase_create("sandbox");
    tcase_add_test(c, the_daemons_own_work_is_let_through);
    tcase_add_test(c, other_socket_families_do_not_exist);
    tcase_add_test(c, other_protocols_do_not_exist);
    tcase_add_test(c, what_only_an_intruder_does_kills_the_process);
    tcase_add_test(c, memory_is_writable_or_executable);
    tcase_add_test(c, others_are_out_of_reach);
    tcase_add_test(c, off_is_off);
    tcase_add_test(c, keys_are_in_locked_memory);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
