/* SPDX-License-Identifier: Apache-2.0
 * The daemon's command line, signals and lifecycle.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ma/app.h"
#include "ma/crypto.h"
#include "ma/httpc.h"
#include "ma/sandbox.h"
#include "ma/sdnotify.h"
#include "ma/version.h"

enum { EXIT_BAD_CONFIG = 78, EXIT_USAGE = 64 }; /* sysexits.h EX_CONFIG, EX_USAGE */

struct options {
    const char *config;
    const char *test_clock;
    bool check, allow_root;
};

static const char usage[] = "usage: myaccountd --config FILE [--check] [--allow-root] [--version] [--help]\n"
                            "  --config FILE  the configuration file\n"
                            "  --check        validate the configuration and exit: 0 good, 78 bad\n"
                            "  --allow-root   run although started as root\n";

/* Returns -1 to go on, or an exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'},
        {"check", no_argument, NULL, 'k'},
        {"allow-root", no_argument, NULL, 'r'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
#ifdef MA_TEST_HOOKS
        {"test-clock", required_argument, NULL, 't'},
#endif
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "c:", longs, NULL)) != -1;) {
        switch (c) {
        case 'c':
            o->config = optarg;
            break;
        case 'k':
            o->check = true;
            break;
        case 'r':
            o->allow_root = true;
            break;
        case 't':
            o->test_clock = optarg;
            break;
        case 'v':
            (void)puts("myaccountd " MA_VERSION);
            return 0;
        case 'h':
            (void)fputs(usage, stdout);
            return 0;
        default:
            (void)fputs(usage, stderr);
            return EXIT_USAGE;
        }
    }
    if (o->config && optind == argc)
        return -1;
    (void)fputs(usage, stderr);
    return EXIT_USAGE;
}

static sigset_t block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    return set;
}

/* --- serving --- */

struct watch {
    int64_t interval_ms; /* between two pings; 0: nobody watches */
    bool withheld;
};

static struct watch watch_begin(void)
{
    int64_t usec = ma_sd_watchdog_usec();
    return (struct watch){.interval_ms = usec ? (usec / 4000 > 0 ? usec / 4000 : 1) : 0};
}

/* The manager hears from us only while every thread that works gets on; otherwise it restarts us. The status goes out
 * before the log line, which may be what is stuck. */
static void watch_tick(struct watch *w, const struct ma_app *app, struct ma_log *log)
{
    const char *stuck = ma_app_stuck(app);
    if (!stuck) {
        ma_sd_notify("WATCHDOG=1");
        if (w->withheld) {
            ma_sd_notify("STATUS=Serving %s", ma_app_address(app));
            ma_log(log, MA_LOG_WARN, "watchdog.resumed");
        }
    } else if (!w->withheld) {
        ma_sd_notify("STATUS=Stuck: %s", stuck);
        ma_log(log, MA_LOG_ERROR, "watchdog.withheld", MA_KV_S("thread", stuck));
    }
    w->withheld = stuck != NULL;
}

/* A signal, or 0 when it is time to ping. */
static int next_signal(const sigset_t *signals, const struct watch *w)
{
    const struct timespec wait = {w->interval_ms / 1000, w->interval_ms % 1000 * 1000000};
    int sig = w->interval_ms ? sigtimedwait(signals, NULL, &wait) : sigwaitinfo(signals, NULL);
    return sig > 0 ? sig : 0;
}

static void reload(struct ma_app *app)
{
    /* Type=notify-reload wants the time, on the clock that sd_notify(3) names */
    ma_sd_notify("RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=Reloading", (long long)ma_mono_us());
    ma_app_reload(app);
    ma_sd_notify("READY=1\nSTATUS=Serving %s", ma_app_address(app));
}

static void serve(struct ma_app *app, struct ma_log *log, const sigset_t *signals)
{
    struct watch watch = watch_begin();
    ma_log(log, MA_LOG_INFO, "ready", MA_KV_S("address", ma_app_address(app)), MA_KV_S("version", MA_VERSION));
    ma_sd_notify("READY=1\nSTATUS=Serving %s", ma_app_address(app));
    for (bool stop = false; !stop;) {
        int sig = next_signal(signals, &watch);
        if (sig == SIGHUP)
            reload(app);
        else if (sig == SIGUSR1)
            ma_app_log_reopen(app);
        stop = sig == SIGTERM || sig == SIGINT;
        if (watch.interval_ms && !stop)
            watch_tick(&watch, app, log);
    }
    ma_sd_notify("STOPPING=1\nSTATUS=Finishing what is under way");
    ma_log(log, MA_LOG_INFO, "stopping");
}

static const struct ma_clock *choose_clock(const struct options *o)
{
#ifdef MA_TEST_HOOKS
    if (o->test_clock)
        return ma_clock_file(o->test_clock);
#endif
    (void)o;
    return ma_clock_system();
}

/* On standard error, or in the file that the configuration names. NULL when that cannot be. */
static struct ma_log *open_log(const struct ma_conf *conf)
{
    char text[128];
    struct ma_log *log = ma_log_new(STDERR_FILENO, ma_log_level_parse(conf->log_level), ma_app_log_json(conf));
    if (!log)
        (void)fputs("myaccountd: out of memory\n", stderr);
    if (!log || !conf->log_file[0] || ma_log_reopen(log, conf->log_file) == MA_OK)
        return log;
    (void)fprintf(stderr, "myaccountd: log_file %s: %s\n", conf->log_file, strerror_r(errno, text, sizeof text));
    ma_log_free(log);
    return NULL;
}

/* Whether a listener that is not open yet wants CAP_NET_BIND_SERVICE. */
static bool low_port(const char *listen)
{
    enum { PORT_UNPRIVILEGED = 1024 };
    const char *colon = strrchr(listen, ':');
    long port = colon && strncmp(listen, "unix:", 5) != 0 ? strtol(colon + 1, NULL, 10) : 0;
    return port > 0 && port < PORT_UNPRIVILEGED;
}

/* After the libraries have what they need of the system, before anything of the outside is read. */
static int shut_in(const struct ma_conf *conf, struct ma_log *log, char why[256])
{
    if (!ma_crypto_memory_locked())
        ma_log(log, MA_LOG_WARN, "memory.not_locked", MA_KV_S("why", "keys may be swapped out: raise LimitMEMLOCK"));
    if (ma_sandbox_privileges(low_port(conf->listen) || low_port(conf->metrics_listen)) != MA_OK) {
        (void)snprintf(why, 256, "the kernel does not let capabilities be given up");
        return MA_E_PERM;
    }
    return ma_sandbox_filter(conf->seccomp, log, why);
}

static int serve_with(const struct options *o, struct ma_conf *conf, struct ma_log *log, const sigset_t *signals)
{
    char why[512] = "";
    const struct ma_clock *clock = choose_clock(o);
    const bool to_file = conf->log_file[0] != '\0';
    struct ma_app *app = NULL;
    if (!clock || ma_crypto_init() < 0 || ma_httpc_global_init() < 0) {
        (void)fputs("myaccountd: cannot start: cryptography, clock or memory is not usable\n", stderr);
        ma_conf_free(conf);
        return EXIT_FAILURE;
    }
    int r = shut_in(conf, log, why);
    if (r == MA_OK)
        r = ma_app_start(conf, clock, log, &app, why);
    else
        ma_conf_free(conf);
    if (r < 0) {
        ma_log(log, MA_LOG_ERROR, "start.failed", MA_KV_S("why", why));
        if (to_file) /* whoever started us looks here */
            (void)fprintf(stderr, "myaccountd: %s\n", why);
    } else {
        serve(app, log, signals);
        ma_app_stop(app);
        ma_log(log, MA_LOG_INFO, "stopped");
    }
    ma_crypto_cleanup();
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int check(struct ma_conf *conf)
{
    char why[512] = "";
    int r = ma_crypto_init();
    if (r == MA_OK)
        r = ma_app_check(conf, why);
    if (r < 0)
        (void)fprintf(stderr, "%s: %s\n", conf->path, why[0] ? why : ma_err_text(r));
    ma_conf_free(conf);
    ma_crypto_cleanup();
    return r < 0 ? EXIT_BAD_CONFIG : EXIT_SUCCESS;
}

static int run(const struct options *o, struct ma_conf *conf)
{
    const sigset_t signals = block_signals();
    struct ma_log *log = open_log(conf);
    if (!log) {
        ma_conf_free(conf);
        return EXIT_FAILURE;
    }
    int status = serve_with(o, conf, log, &signals);
    ma_log_free(log);
    return status;
}

int main(int argc, char **argv)
{
    struct options o = {NULL, NULL, false, false};
    struct ma_conf *conf = NULL;
    char why[512] = "";
    int status = parse_options(argc, argv, &o);
    if (status >= 0)
        return status;
    ma_sandbox_process();
    if (ma_conf_load(o.config, &conf, why) < 0) {
        (void)fprintf(stderr, "%s\n", why);
        return EXIT_BAD_CONFIG;
    }
    if (o.check)
        return check(conf);
    if (geteuid() == 0 && !o.allow_root) {
        (void)fputs("myaccountd: refusing to run as root; use a user of its own, or --allow-root\n", stderr);
        ma_conf_free(conf);
        return EXIT_FAILURE;
    }
    return run(&o, conf);
}
