/* SPDX-License-Identifier: Apache-2.0
 * Privileges and system calls that the process gives up.
 */
#include "ma/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void ma_sandbox_process(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
#ifndef MA_TEST_HOOKS
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
    (void)umask(0077);
    struct rlimit files; /* connections are many; the hard limit is the operator's word */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file size limit is a write that fails, like a full disk */
}

int ma_sandbox_privileges(bool low_port)
{
    const uint32_t keep = low_port ? 1u << CAP_NET_BIND_SERVICE : 0;
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {0};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return MA_E_PERM;
    if (geteuid() == 0)
        return MA_OK;
    if (syscall(SYS_capget, &head, caps) != 0)
        return MA_E_PERM;
    caps[0].permitted &= keep;
    caps[0].effective &= keep;
    caps[0].inheritable = 0;
    memset(&caps[1], 0, sizeof caps[1]);
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL)
        return MA_E_PERM;
    return syscall(SYS_capset, &head, caps) == 0 ? MA_OK : MA_E_PERM;
}

#ifdef MA_SECCOMP
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* A call that nobody foresaw fails like one that the kernel does not have, for which libraries have another way. In
 * test builds it ends the daemon, so that no test passes over it. */
#ifdef MA_TEST_HOOKS
#define OTHERWISE SCMP_ACT_KILL_PROCESS
#else
#define OTHERWISE SCMP_ACT_ERRNO(ENOSYS)
#endif

/* Nothing here starts programs, reads other processes, changes the kernel or who it is. */
static const char *const hostile[] = {
#ifndef MA_TEST_HOOKS
    "ptrace",
#endif
#define BAR(name) #name,
#include "syscalls_barred.def"
#undef BAR
};

static const char *const allowed[] = {
#ifdef MA_TEST_HOOKS
    "clone", "ptrace", "prctl", "wait4", "getdents", /* the leak checker's own process at the end */
#endif
#define ALLOW(name) #name,
#include "syscalls.def"
#undef ALLOW
};

/* 0, or a negative errno. A name that this architecture does not have is nothing to allow or to bar; what happens
 * otherwise needs no rule. */
static int rule(scmp_filter_ctx ctx, uint32_t action, const char *name, unsigned n, const struct scmp_arg_cmp *args)
{
    int nr = seccomp_syscall_resolve_name(name);
    return nr == __NR_SCMP_ERROR || action == OTHERWISE ? 0 : seccomp_rule_add_array(ctx, action, nr, n, args);
}

static int allow_if(scmp_filter_ctx ctx, const char *name, struct scmp_arg_cmp arg)
{
    return rule(ctx, SCMP_ACT_ALLOW, name, 1, &arg);
}

static int names(scmp_filter_ctx ctx, uint32_t action, const char *const *list, size_t n)
{
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = rule(ctx, action, list[i], 0, NULL);
    return r;
}

/* One kind of socket: what else the arguments could hold, other protocols and the code of them that the kernel loads on
 * demand, is left out. The kernel reads 32 bits of each. */
static int socket_kind(scmp_filter_ctx ctx, const char *name, int family, int type, int protocol)
{
    const scmp_datum_t bits = UINT32_MAX, flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
    const struct scmp_arg_cmp args[] = {SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family),
                                        SCMP_A1(SCMP_CMP_MASKED_EQ, bits & ~flags, (scmp_datum_t)type),
                                        SCMP_A2(SCMP_CMP_MASKED_EQ, bits, (scmp_datum_t)protocol)};
    return rule(ctx, SCMP_ACT_ALLOW, name, MA_COUNT(args), args);
}

/* TCP, UNIX sockets and the resolver's UDP; no raw packets, no other kernel subsystem. */
static int sockets(scmp_filter_ctx ctx)
{
    static const struct {
        const char *name;
        int family, type, protocol;
    } kinds[] = {
        {"socket", AF_UNIX, SOCK_STREAM, 0},     {"socket", AF_UNIX, SOCK_DGRAM, 0},
        {"socketpair", AF_UNIX, SOCK_STREAM, 0}, {"socketpair", AF_UNIX, SOCK_DGRAM, 0},
        {"socket", AF_INET, SOCK_STREAM, 0},     {"socket", AF_INET, SOCK_STREAM, IPPROTO_TCP},
        {"socket", AF_INET, SOCK_DGRAM, 0},      {"socket", AF_INET, SOCK_DGRAM, IPPROTO_UDP},
        {"socket", AF_INET6, SOCK_STREAM, 0},    {"socket", AF_INET6, SOCK_STREAM, IPPROTO_TCP},
        {"socket", AF_INET6, SOCK_DGRAM, 0},     {"socket", AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
    };
    static const char *const calls[] = {"socket", "socketpair"};
    int r = 0;
    for (size_t i = 0; i < MA_COUNT(kinds) && r == 0; i++)
        r = socket_kind(ctx, kinds[i].name, kinds[i].family, kinds[i].type, kinds[i].protocol);
    /* getaddrinfo asks netlink for addresses and does without */
    for (size_t i = 0; i < MA_COUNT(calls) && r == 0; i++)
        r = rule(ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), calls[i], 1, &SCMP_A0(SCMP_CMP_GT, (scmp_datum_t)AF_INET6));
    return r;
}

/* Threads, no processes: clone3 hides its flags from the filter, so the C library is to use clone. */
static int threads(scmp_filter_ctx ctx, int pid)
{
    int r = rule(ctx, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
    if (r == 0)
        r = allow_if(ctx, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
    if (r == 0)
        r = allow_if(ctx, "tgkill", SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)pid));
    if (r == 0)
        r = allow_if(ctx, "prctl", SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME));
    /* reading limits, of ourselves */
    const struct scmp_arg_cmp own[] = {SCMP_A0(SCMP_CMP_EQ, 0), SCMP_A2(SCMP_CMP_EQ, 0)};
    return r == 0 ? rule(ctx, SCMP_ACT_ALLOW, "prlimit64", MA_COUNT(own), own) : r;
}

/* Memory is writable or executable: a library that is loaded late still maps its code, nobody makes code of data. */
static int memory(scmp_filter_ctx ctx)
{
    static const char *const maps[] = {"mmap", "mmap2"};
    int r = allow_if(ctx, "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    for (size_t i = 0; i < MA_COUNT(maps) && r == 0; i++) {
        r = allow_if(ctx, maps[i], SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
        if (r == 0)
            r = allow_if(ctx, maps[i], SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, PROT_EXEC));
    }
    return r;
}

static int devices(scmp_filter_ctx ctx)
{
    static const unsigned requests[] = {FIONREAD, FIONBIO, TCGETS};
    int r = 0;
    for (size_t i = 0; i < MA_COUNT(requests) && r == 0; i++)
        r = allow_if(ctx, "ioctl", SCMP_A1(SCMP_CMP_EQ, requests[i]));
    return r;
}

static int filter_rules(scmp_filter_ctx ctx)
{
    int r = names(ctx, SCMP_ACT_ALLOW, allowed, MA_COUNT(allowed));
    if (r == 0)
        r = names(ctx, SCMP_ACT_KILL_PROCESS, hostile, MA_COUNT(hostile));
    if (r == 0)
        r = sockets(ctx);
    if (r == 0)
        r = threads(ctx, getpid());
    if (r == 0)
        r = memory(ctx);
    return r == 0 ? devices(ctx) : r;
}

/* 0, or a negative errno. */
static int filter_load(void)
{
    scmp_filter_ctx ctx = seccomp_init(OTHERWISE);
    if (!ctx)
        return -ENOMEM;
    int r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);
    if (r == 0)
        r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    (void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary search, not a list */
    if (r == 0)
        r = filter_rules(ctx);
    if (r == 0)
        r = seccomp_load(ctx);
    seccomp_release(ctx);
    return r;
}
#else
static int filter_load(void)
{
    return -ENOSYS;
}
#endif

int ma_sandbox_filter(const char *mode, struct ma_log *log, char why[256])
{
    char text[128];
    if (strcmp(mode, "off") == 0)
        return MA_OK;
    int r = filter_load();
    if (r == 0) {
        ma_log(log, MA_LOG_INFO, "sandbox.filter");
        return MA_OK;
    }
    const char *fault = r == -ENOSYS ? "this build has no libseccomp" : strerror_r(-r, text, sizeof text);
    (void)snprintf(why, 256, "seccomp: %s", fault);
    if (strcmp(mode, "require") == 0)
        return MA_E_UNSUPPORTED;
    ma_log(log, MA_LOG_WARN, "sandbox.no_filter", MA_KV_S("why", fault));
    return MA_OK;
}
