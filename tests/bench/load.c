/* SPDX-License-Identifier: Apache-2.0
 * Load generator for what one answer needs of the one before it, over keep-alive connections. FILE has one item a line.
 * usage: load pairs PORT FILE CONNECTIONS SECONDS     access tokens of users, who each enrol TOTP a few times and
 * confirm it: pairs per second load refresh PORT FILE CONNECTIONS SECONDS   refresh tokens that rotate, one a
 * connection: exchanges per second load logins PORT FILE CONNECTIONS SECONDS    user names, whose password is PASSWORD:
 * logins per second load first PORT FILE START_NS                an access token: milliseconds from START_NS to the
 * first answer load argon2 SECONDS                          hashes per second of one thread, with the daemon's
 * parameters
 */
#include <argon2.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_PER_USER 4u /* a user may confirm five */
#define CONNECTIONS_MAX 256u
#define ANSWER_MAX 16384u
#define REQUEST_MAX 12288u
#define SEED_MAX 64u
#define CLIENT "app"
#define PASSWORD "Zq7-correct-horse"
/* src/crypto/password.c: MA_ARGON2_DEFAULT */
#define ARGON2_KIB 19456u
#define ARGON2_PASSES 2u

struct mode {
    const char *name;
    void (*serve)(int fd, const char *item, char answer[ANSWER_MAX]);
    bool again; /* items may be used more than once */
};

static struct {
    const struct mode *mode;
    char **items;
    size_t n;
    atomic_size_t next;
    atomic_size_t done, failed;
    atomic_bool stop;
    uint16_t port;
} run;

static int64_t now_ns(clockid_t clock)
{
    struct timespec ts;
    (void)clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static bool read_items(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    size_t room = 0;
    char *line = NULL;
    size_t cap = 0;
    for (ssize_t n; (n = getline(&line, &cap, f)) > 1;) {
        if (run.n == room) {
            room = room ? room * 2 : 1024;
            char **grown = realloc(run.items, room * sizeof *grown);
            if (!grown)
                break;
            run.items = grown;
        }
        line[n - 1] = 0;
        run.items[run.n] = strdup(line);
        if (run.items[run.n])
            run.n++;
    }
    free(line);
    (void)fclose(f);
    return run.n > 0;
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(run.port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&at, sizeof at) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        return fd;
    }
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static bool send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

/* The whole answer, NUL-terminated; its status or -1. */
static int receive(int fd, char answer[ANSWER_MAX])
{
    size_t n = 0;
    for (;;) {
        ssize_t k = recv(fd, answer + n, ANSWER_MAX - 1 - n, 0);
        if (k <= 0)
            return -1;
        n += (size_t)k;
        answer[n] = 0;
        const char *end = strstr(answer, "\r\n\r\n");
        const char *length = end ? strcasestr(answer, "content-length:") : NULL;
        size_t body = length && length < end ? strtoul(length + 15, NULL, 10) : 0;
        if (end && n >= (size_t)(end + 4 - answer) + body)
            return (int)strtol(answer + 9, NULL, 10);
    }
}

static int call(int fd, const char *token, const char *path, const char *body, char answer[ANSWER_MAX])
{
    char request[REQUEST_MAX];
    int n = snprintf(request, sizeof request,
                     "%s %s HTTP/1.1\r\nHost: localhost:%u\r\nAuthorization: Bearer %s\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     body ? "POST" : "GET", path, (unsigned)run.port, token, body ? strlen(body) : 0, body ? body : "");
    if (n < 0 || (size_t)n >= sizeof request || !send_all(fd, request, (size_t)n))
        return -1;
    return receive(fd, answer);
}

static int post_form(int fd, const char *path, const char *form, char answer[ANSWER_MAX])
{
    char request[REQUEST_MAX];
    int n = snprintf(request, sizeof request,
                     "POST %s HTTP/1.1\r\nHost: localhost:%u\r\nContent-Type: application/x-www-form-urlencoded\r\n"
                     "Content-Length: %zu\r\n\r\n%s",
                     path, (unsigned)run.port, strlen(form), form);
    if (n < 0 || (size_t)n >= sizeof request || !send_all(fd, request, (size_t)n))
        return -1;
    return receive(fd, answer);
}

static bool member(const char *json, const char *name, char *out, size_t cap)
{
    char key[64];
    (void)snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *p = strstr(json, key);
    const char *end = p ? strchr(p + strlen(key), '"') : NULL;
    if (!end || (size_t)(end - p) - strlen(key) >= cap)
        return false;
    size_t n = (size_t)(end - p) - strlen(key);
    memcpy(out, p + strlen(key), n);
    out[n] = 0;
    return true;
}

static size_t base32(const char *text, uint8_t out[SEED_MAX])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    for (; *text && n < SEED_MAX; text++) {
        const char *at = strchr(alphabet, *text);
        bits = bits << 5 | (uint32_t)(at ? at - alphabet : 0);
        have += 5;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return n;
}

/* RFC 6238 with HMAC-SHA-1, 30 s, 6 digits. */
static unsigned totp(const char *secret)
{
    uint8_t seed[SEED_MAX];
    uint8_t counter[8];
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned mac_n = 0;
    uint64_t step = (uint64_t)(now_ns(CLOCK_REALTIME) / 30000000000);
    for (int i = 7; i >= 0; i--, step >>= 8)
        counter[i] = (uint8_t)step;
    size_t n = base32(secret, seed);
    if (!HMAC(EVP_sha1(), seed, (int)n, counter, sizeof counter, mac, &mac_n) || mac_n < 20)
        return 0;
    const uint8_t *p = mac + (mac[19] & 15);
    uint32_t v = (uint32_t)(p[0] & 0x7f) << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return v % 1000000;
}

static bool one_pair(int fd, const char *token, char answer[ANSWER_MAX])
{
    char id[128];
    char session[512];
    char secret[128];
    char path[256];
    char body[768];
    if (call(fd, token, "/me/v1/authentication-methods", "{\"type\":\"totp\"}", answer) != 202)
        return false;
    if (!member(answer, "id", id, sizeof id) || !member(answer, "auth_session", session, sizeof session) ||
        !member(answer, "manual_input_code", secret, sizeof secret))
        return false;
    (void)snprintf(path, sizeof path, "/me/v1/authentication-methods/%s/verify", id);
    (void)snprintf(body, sizeof body, "{\"auth_session\":\"%s\",\"otp_code\":\"%06u\"}", session, totp(secret));
    return call(fd, token, path, body, answer) == 201;
}

static void count(bool good)
{
    atomic_fetch_add(good ? &run.done : &run.failed, 1);
}

static void serve_pairs(int fd, const char *token, char answer[ANSWER_MAX])
{
    for (unsigned i = 0; i < PAIRS_PER_USER && !run.stop; i++)
        count(one_pair(fd, token, answer));
}

static void serve_refresh(int fd, const char *token, char answer[ANSWER_MAX])
{
    char current[1024];
    char form[2048];
    (void)snprintf(current, sizeof current, "%s", token);
    while (!run.stop) {
        (void)snprintf(form, sizeof form, "grant_type=refresh_token&client_id=" CLIENT "&refresh_token=%s", current);
        bool good = post_form(fd, "/oauth/token", form, answer) == 200 &&
                    member(answer, "refresh_token", current, sizeof current);
        count(good);
        if (!good)
            return;
    }
}

static void serve_logins(int fd, const char *user, char answer[ANSWER_MAX])
{
    char form[1024];
    (void)snprintf(form, sizeof form,
                   "grant_type=password&client_id=" CLIENT "&username=%s&password=" PASSWORD
                   "&scope=read:me:factors&audience=http://localhost:%u/me/",
                   user, (unsigned)run.port);
    count(post_form(fd, "/oauth/token", form, answer) == 200);
}

static const struct mode modes[] = {
    {"pairs", serve_pairs, false},
    {"refresh", serve_refresh, false},
    {"logins", serve_logins, true},
};

static void *client(void *arg)
{
    (void)arg;
    char *answer = malloc(ANSWER_MAX);
    int fd = dial();
    while (answer && fd >= 0 && !run.stop) {
        size_t at = atomic_fetch_add(&run.next, 1);
        if (at >= run.n && !run.mode->again)
            break;
        run.mode->serve(fd, run.items[at % run.n], answer);
    }
    if (fd >= 0)
        (void)close(fd);
    free(answer);
    return NULL;
}

static int measure(unsigned connections, double seconds)
{
    pthread_t t[CONNECTIONS_MAX];
    int64_t t0 = now_ns(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < connections; i++)
        if (pthread_create(&t[i], NULL, client, NULL) != 0)
            return 1;
    struct timespec nap = {.tv_nsec = 10000000};
    while ((double)(now_ns(CLOCK_MONOTONIC) - t0) / 1e9 < seconds && (run.mode->again || run.next <= run.n))
        (void)nanosleep(&nap, NULL);
    size_t done = run.done;
    double took = (double)(now_ns(CLOCK_MONOTONIC) - t0) / 1e9;
    run.stop = true;
    for (unsigned i = 0; i < connections; i++)
        (void)pthread_join(t[i], NULL);
    if (run.failed)
        (void)fprintf(stderr, "%zu failed\n", (size_t)run.failed);
    (void)printf("%.0f\n", (double)done / took);
    return run.failed > run.done / 100 ? 1 : 0;
}

static int first_answer(int64_t start_ns)
{
    char *answer = malloc(ANSWER_MAX);
    struct timespec nap = {.tv_nsec = 200000};
    while (answer && now_ns(CLOCK_REALTIME) - start_ns < 30000000000) {
        int fd = dial();
        if (fd >= 0 && call(fd, run.items[0], "/me/v1/factors", NULL, answer) == 200) {
            (void)printf("%.1f\n", (double)(now_ns(CLOCK_REALTIME) - start_ns) / 1e6);
            free(answer);
            return close(fd);
        }
        if (fd >= 0)
            (void)close(fd);
        (void)nanosleep(&nap, NULL);
    }
    free(answer);
    return 1;
}

static int hashes(double seconds)
{
    static const char salt[] = "sixteen bytes ok";
    uint8_t out[32];
    unsigned n = 0;
    int64_t t0 = now_ns(CLOCK_MONOTONIC);
    double took = 0;
    for (; took < seconds; n++) {
        if (argon2id_hash_raw(ARGON2_PASSES, ARGON2_KIB, 1, PASSWORD, sizeof PASSWORD - 1, salt, sizeof salt - 1, out,
                              sizeof out) != ARGON2_OK)
            return 1;
        took = (double)(now_ns(CLOCK_MONOTONIC) - t0) / 1e9;
    }
    (void)printf("%.1f\n", (double)n / took);
    return 0;
}

static const struct mode *mode_of(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(name, modes[i].name) == 0)
            return &modes[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (argc == 3 && strcmp(name, "argon2") == 0)
        return hashes(strtod(argv[2], NULL));
    bool first = argc == 5 && strcmp(name, "first") == 0;
    run.mode = mode_of(name);
    if (!first && (argc != 6 || !run.mode)) {
        (void)fprintf(stderr,
                      "usage: %s pairs|refresh|logins PORT FILE CONNECTIONS SECONDS | first PORT FILE START_NS | "
                      "argon2 SECONDS\n",
                      argv[0]);
        return 2;
    }
    run.port = (uint16_t)strtoul(argv[2], NULL, 10);
    if (!read_items(argv[3])) {
        (void)fprintf(stderr, "nothing in %s\n", argv[3]);
        return 1;
    }
    if (first)
        return first_answer(strtoll(argv[4], NULL, 10));
    unsigned connections = (unsigned)strtoul(argv[4], NULL, 10);
    return measure(connections < CONNECTIONS_MAX ? connections : CONNECTIONS_MAX, strtod(argv[5], NULL));
}
