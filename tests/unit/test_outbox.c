/* SPDX-License-Identifier: Apache-2.0
 * The outbox from enqueue to delivery: sealing, spool, retries, dead letters, and the courier thread against
 * providers that this program plays itself.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "ma/crypto.h"
#include "../../src/deliver/int.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define START 1764000000000 /* 2025-11-24T16:00:00Z */
#define PATIENCE_S 60       /* a wait that lasts this long has failed */
#define CODE "739164"
#define EMAIL "alice@example.com"
#define PHONE "+15551235678"
#define USER "auth0|alice"

/* --- the providers: these stand in for the net module --- */

struct ma_httpc {
    int unused;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int mail_result, call_result; /* what the next ones return */
    long status;
    const char *reply;     /* why text of failures */
    bool blocked, entered; /* hold a mail inside the call */
    int mails, calls;      /* made so far */
    char url[256], from[256], password[64];
    char to[64][64]; /* recipients in order */
    char message[8192], body[8192], headers[512], basic[128];
    struct ma_net_policy policy;
    int writes, write_failures_left;
} world = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void keep(char *out, size_t cap, const void *p, size_t n)
{
    size_t k = n < cap - 1 ? n : cap - 1;
    if (k)
        memcpy(out, p, k);
    out[k] = 0;
}

static void keep_str(char *out, size_t cap, const char *s)
{
    keep(out, cap, s ? s : "", s ? strlen(s) : 0);
}

int ma_httpc_new(struct ma_httpc **ret)
{
    *ret = calloc(1, sizeof **ret);
    return *ret ? MA_OK : MA_E_NOMEM;
}

void ma_httpc_free(struct ma_httpc *c)
{
    free(c);
}

void ma_httpc_cancel(struct ma_httpc *c)
{
    (void)c;
    pthread_mutex_lock(&world.lock);
    if (world.blocked)
        world.mail_result = MA_E_UPSTREAM;
    world.blocked = false;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
}

int ma_httpc_mail(struct ma_httpc *c, const struct ma_mail *m, char why[256])
{
    (void)c;
    pthread_mutex_lock(&world.lock);
    world.entered = true;
    pthread_cond_broadcast(&world.changed);
    while (world.blocked)
        pthread_cond_wait(&world.changed, &world.lock);
    keep_str(world.to[world.mails % 64], sizeof world.to[0], m->to);
    world.mails++;
    keep_str(world.url, sizeof world.url, m->url);
    keep_str(world.from, sizeof world.from, m->from);
    keep_str(world.password, sizeof world.password, m->password);
    keep(world.message, sizeof world.message, m->message.p, m->message.n);
    world.policy = m->policy;
    int r = world.mail_result;
    if (r < 0)
        snprintf(why, 256, "%s", world.reply ? world.reply : "connection refused");
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
    return r;
}

int ma_httpc_call(struct ma_httpc *c, const struct ma_http_call *call, struct ma_arena *a, struct ma_http_answer *ret,
                  char why[256])
{
    (void)c;
    (void)a;
    pthread_mutex_lock(&world.lock);
    world.calls++;
    keep_str(world.url, sizeof world.url, call->url);
    keep(world.body, sizeof world.body, call->body.p, call->body.n);
    world.headers[0] = 0;
    for (size_t i = 0; call->headers && call->headers[i]; i++) {
        size_t n = strlen(world.headers);
        snprintf(world.headers + n, sizeof world.headers - n, "%s\n", call->headers[i]);
    }
    snprintf(world.basic, sizeof world.basic, "%s:%s", call->basic_user ? call->basic_user : "(none)",
             call->basic_password ? call->basic_password : "(none)");
    world.policy = call->policy;
    int r = world.call_result;
    *ret = (struct ma_http_answer){.status = world.status, .max_age_s = -1};
    if (r < 0)
        snprintf(why, 256, "%s", world.reply ? world.reply : "connection refused");
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
    return r;
}

/* --- the fixture --- */

static _Atomic int64_t now = START;
static char dir[64], spool[128], log_path[128], database[128];
static struct ma_vault *vault;
static struct ma_templates *templates;
static struct ma_arena *arena;
static struct ma_rand_seeded rnd;
static struct ma_log *lg;
static int log_fd;
static struct ma_courier *courier;
static struct ma_conf conf;

/* The writer's connection; the courier's thread and the test take turns. */
static pthread_mutex_t db_lock = PTHREAD_MUTEX_INITIALIZER;
static struct ma_db *db;

static int64_t read_now(const struct ma_clock *c)
{
    (void)c;
    return atomic_load(&now);
}
static const struct ma_clock test_clock = {read_now, read_now, NULL};

static int in_transaction(int (*fn)(struct ma_db *, void *), void *arg)
{
    pthread_mutex_lock(&db_lock);
    int r = ma_db_begin(db);
    if (r == MA_OK) {
        r = fn(db, arg);
        if (r == MA_OK)
            r = ma_db_commit(db);
        else
            ma_db_rollback(db);
    }
    pthread_mutex_unlock(&db_lock);
    return r;
}

static int env_write(void *write_arg, int (*fn)(struct ma_db *, void *), void *arg)
{
    (void)write_arg;
    pthread_mutex_lock(&world.lock);
    bool fail = world.write_failures_left > 0;
    if (fail)
        world.write_failures_left--;
    pthread_mutex_unlock(&world.lock);
    int r = fail ? MA_E_FULL : in_transaction(fn, arg);
    pthread_mutex_lock(&world.lock);
    world.writes++;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
    return r;
}

#define T_OK(expr)                                                                                                     \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == MA_OK, #expr " gave %s", ma_err_name(t_r));                                               \
    } while (0)

static int put_user(struct ma_db *d, void *arg)
{
    (void)arg;
    struct ma_user u = {.user_id = MA_LIT(USER),
                        .roles = MA_LIT("[]"),
                        .permissions = MA_LIT("[]"),
                        .created_at = START,
                        .updated_at = START};
    return ma_user_insert(d, &u);
}

/* Tests may share one process (CK_FORK=no). */
static void reset_world(void)
{
    world.mail_result = world.call_result = MA_OK;
    world.status = 200;
    world.reply = NULL;
    world.blocked = world.entered = false;
    world.mails = world.calls = world.writes = world.write_failures_left = 0;
    atomic_store(&now, START);
    courier = NULL;
}

static void set_up(void)
{
    char why[256] = "";
    reset_world();
    snprintf(dir, sizeof dir, "/tmp/ma-outbox-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(spool, sizeof spool, "%s/spool", dir);
    snprintf(log_path, sizeof log_path, "%s/log", dir);
    snprintf(database, sizeof database, "%s/test.db", dir);
    char keys[128];
    snprintf(keys, sizeof keys, "%s/keys", dir);
    T_OK(ma_crypto_init());
    ma_rand_seeded_init(&rnd, 7);
    log_fd = open(log_path, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
    lg = ma_log_new(log_fd, MA_LOG_DEBUG, 1);
    ck_assert_ptr_nonnull(lg);
    arena = ma_arena_new(MA_ARENA_FIRST, 8 * MA_ARENA_MAX);
    T_OK(ma_vault_open(keys, ma_rand_system(), &vault, why));
    T_OK(ma_templates_load("", &templates, why));
    T_OK(ma_db_open(database, MA_DB_WRITER, lg, &db, why));
    T_OK(ma_migrate(db, START, why));
    T_OK(in_transaction(put_user, NULL));
    conf = (struct ma_conf){0};
    conf.delivery.email = "smtp://relay.example:25";
    conf.delivery.email_from = "no-reply@login.example.com";
    conf.delivery.sms = conf.delivery.voice = conf.delivery.push = "";
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static const char *read_log(void)
{
    static char text[1 << 18];
    ssize_t n = pread(log_fd, text, sizeof text - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = 0;
    return text;
}

/* Nothing that was sent may appear in the log: not the code, not a whole address. */
static void check_log(void)
{
    const char *text = read_log();
    ck_assert_ptr_null(strstr(text, CODE));
    ck_assert_ptr_null(strstr(text, EMAIL));
    ck_assert_ptr_null(strstr(text, PHONE));
}

static void tear_down(void)
{
    ma_courier_free(courier);
    check_log();
    ma_db_close(db);
    ma_templates_free(templates);
    ma_vault_close(vault);
    ma_arena_free(arena);
    ma_log_free(lg);
    close(log_fd);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void start(void)
{
    struct ma_courier_env env = {
        .database = database, .clock = &test_clock, .log = lg, .vault = vault, .write = env_write, .write_arg = NULL};
    char why[256] = "";
    int r = ma_courier_start(&env, &conf, &courier, why);
    ck_assert_msg(r == MA_OK, "%s: %s", ma_err_name(r), why);
}

static struct ma_message message(enum ma_channel channel)
{
    return (struct ma_message){.channel = channel,
                               .user_id = MA_LIT(USER),
                               .to = channel == MA_CHANNEL_EMAIL ? MA_LIT(EMAIL) : MA_LIT(PHONE),
                               .template_name = "enroll-code",
                               .code = MA_LIT(CODE),
                               .tenant = MA_LIT("Example & <Sons>"),
                               .minutes = 5};
}

static int do_enqueue(struct ma_db *d, void *arg)
{
    return ma_outbox_enqueue(d, vault, templates, &rnd.rand, arena, arg, atomic_load(&now));
}

static void enqueue_to(enum ma_channel channel, const char *to)
{
    struct ma_message m = message(channel);
    if (to)
        m.to = ma_span_str(to);
    T_OK(in_transaction(do_enqueue, &m));
}

static void enqueue(enum ma_channel channel)
{
    enqueue_to(channel, NULL);
}

/* Every message left, dead or alive, of any time. */
static size_t rows(struct ma_outbox_row *ret, size_t cap, bool dead)
{
    size_t n = 0;
    pthread_mutex_lock(&db_lock);
    int r = dead ? ma_outbox_dead(db, arena, ret, cap, &n) : ma_outbox_due(db, arena, INT64_MAX, ret, cap, &n);
    pthread_mutex_unlock(&db_lock);
    T_OK(r);
    return n;
}

static size_t alive(void)
{
    struct ma_outbox_row r[64];
    return rows(r, 64, false);
}

static size_t dead(void)
{
    struct ma_outbox_row r[64];
    return rows(r, 64, true);
}

/* Waits until the condition holds; it is looked at after each call and each write of the courier. */
#define WAIT(condition)                                                                                                \
    do {                                                                                                               \
        struct timespec t_until;                                                                                       \
        clock_gettime(CLOCK_REALTIME, &t_until);                                                                       \
        t_until.tv_sec += PATIENCE_S;                                                                                  \
        pthread_mutex_lock(&world.lock);                                                                               \
        int t_rc = 0;                                                                                                  \
        while (!(condition) && t_rc == 0)                                                                              \
            t_rc = pthread_cond_timedwait(&world.changed, &world.lock, &t_until);                                      \
        pthread_mutex_unlock(&world.lock);                                                                             \
        ck_assert_msg(t_rc == 0, "never happened: " #condition);                                                       \
    } while (0)

/* What the provider saw is read under the lock. */
static void set_world(int mail_result, int call_result, long status, const char *reply)
{
    pthread_mutex_lock(&world.lock);
    world.mail_result = mail_result;
    world.call_result = call_result;
    world.status = status;
    world.reply = reply;
    pthread_mutex_unlock(&world.lock);
}

static int written(void)
{
    pthread_mutex_lock(&world.lock);
    int n = world.writes;
    pthread_mutex_unlock(&world.lock);
    return n;
}

/* Lets time pass and waits for the courier's next write. */
static void advance_and_write(int64_t ms)
{
    int before = written();
    atomic_fetch_add(&now, ms);
    ma_courier_wake(courier);
    WAIT(world.writes > before);
}

static void go_and_write(void)
{
    advance_and_write(0);
}

/* --- enqueue --- */

START_TEST(payload_is_sealed)
{
    enqueue(MA_CHANNEL_EMAIL);
    struct ma_outbox_row r[2];
    ck_assert_uint_eq(rows(r, 2, false), 1);
    ck_assert_uint_eq(r[0].id.n, 32);
    ck_assert(ma_span_eq_str(r[0].channel, "email"));
    ck_assert_int_eq(r[0].next_at, START);
    ck_assert_int_eq(r[0].attempts, 0);
    ck_assert_ptr_null(memmem(r[0].payload.p, r[0].payload.n, CODE, strlen(CODE)));
    ck_assert_ptr_null(memmem(r[0].payload.p, r[0].payload.n, EMAIL, strlen(EMAIL)));
    struct ma_letter l;
    T_OK(ma_letter_open(vault, arena, &r[0], &l));
    ck_assert_int_eq(l.channel, MA_CHANNEL_EMAIL);
    ck_assert(ma_span_eq_str(l.to, EMAIL) && ma_span_eq_str(l.code, CODE) && ma_span_eq_str(l.user_id, USER));
    ck_assert_ptr_nonnull(memmem(l.text.p, l.text.n, CODE, strlen(CODE)));
    ck_assert_int_eq(l.created_at, START);
    ck_assert_ptr_null(l.data.p);
}
END_TEST

START_TEST(payload_cannot_be_moved)
{
    enqueue(MA_CHANNEL_SMS);
    struct ma_outbox_row r[1];
    ck_assert_uint_eq(rows(r, 1, false), 1);
    struct ma_letter l;
    struct ma_outbox_row other = r[0];
    other.id = MA_LIT("00000000000000000000000000000000");
    ck_assert_int_eq(ma_letter_open(vault, arena, &other, &l), MA_E_AUTH);
    other = r[0];
    other.user_id = MA_LIT("auth0|mallory");
    ck_assert_int_eq(ma_letter_open(vault, arena, &other, &l), MA_E_AUTH);
    other = r[0];
    uint8_t *changed = ma_arena_alloc(arena, r[0].payload.n);
    memcpy(changed, r[0].payload.p, r[0].payload.n);
    changed[r[0].payload.n / 2] ^= 1;
    other.payload.p = changed;
    ck_assert_int_eq(ma_letter_open(vault, arena, &other, &l), MA_E_AUTH);
}
END_TEST

START_TEST(bad_messages)
{
    static const char *const to[] = {"", "a\r\nb@example.com", "a\x01@example.com", "\xFF@example.com"};
    for (size_t i = 0; i < MA_COUNT(to); i++) {
        struct ma_message m = message(MA_CHANNEL_EMAIL);
        m.to = ma_span_str(to[i]);
        ck_assert_int_eq(in_transaction(do_enqueue, &m), MA_E_INVAL);
    }
    struct ma_message m = message(MA_CHANNEL_SMS);
    m.template_name = "no-such";
    ck_assert_int_eq(in_transaction(do_enqueue, &m), MA_E_NOTFOUND);
    ck_assert_uint_eq(alive(), 0);
}
END_TEST

/* --- the spool --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Names in the directory, sorted, dot files included. */
static size_t list(const char *path, char names[32][64])
{
    size_t n = 0;
    DIR *d = opendir(path);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e = readdir(d); e && n < 32; e = readdir(d))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            keep_str(names[n++], 64, e->d_name);
    closedir(d);
    qsort(names, n, 64, by_name);
    return n;
}

static const char *slurp(const char *directory, const char *name)
{
    static char text[8192];
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s", path);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    ck_assert_int_ge(n, 0);
    text[n] = 0;
    return text;
}

static const char *spool_url(void)
{
    static char url[160];
    snprintf(url, sizeof url, "spool:%s", spool);
    return url;
}

static void spool_everything(void)
{
    conf.delivery.email = conf.delivery.sms = conf.delivery.voice = conf.delivery.push = spool_url();
}

START_TEST(spool_files)
{
    spool_everything();
    enqueue(MA_CHANNEL_EMAIL);
    atomic_fetch_add(&now, 1);
    enqueue(MA_CHANNEL_SMS);
    atomic_fetch_add(&now, 1);
    enqueue(MA_CHANNEL_VOICE);
    start();
    WAIT(world.writes > 0);
    ck_assert_uint_eq(alive(), 0);
    char names[32][64];
    ck_assert_uint_eq(list(spool, names), 3);
    ck_assert_str_eq(names[0], "00000000000000000001-email.json");
    ck_assert_str_eq(names[1], "00000000000000000002-sms.json");
    ck_assert_str_eq(names[2], "00000000000000000003-voice.json");
    const char *text = slurp(spool, names[0]);
    ck_assert_int_eq(
        strncmp(text,
                "{\"channel\":\"email\",\"to\":\"alice@example.com\",\"subject\":\"739164 is your Example & "
                "<Sons> verification code\",\"text\":\"Hello,",
                100),
        0);
    ck_assert_ptr_nonnull(strstr(text, "\"code\":\"739164\",\"user_id\":\"auth0|alice\","
                                       "\"created_at\":\"2025-11-24T16:00:00.000Z\"}\n"));
    text = slurp(spool, names[1]);
    ck_assert_ptr_null(strstr(text, "\"subject\""));
    ck_assert_ptr_nonnull(strstr(text, "\"to\":\"+15551235678\""));
    ck_assert_ptr_nonnull(strstr(slurp(spool, names[2]), "7, 3, 9, 1, 6, 4"));
    struct stat st;
    ck_assert_int_eq(stat(spool, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0700);
    char path[256];
    snprintf(path, sizeof path, "%s/%s", spool, names[0]);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
}
END_TEST

static void touch(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", spool, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

START_TEST(spool_sequence)
{
    ck_assert_int_eq(mkdir(spool, 0700), 0);
    touch("00000000000000000041-sms.json");
    touch("00000000000000000007-email.json");
    touch("99999999999999999999-sms.json"); /* over 64 bits: not ours */
    touch("0000000000000000009-sms.json");  /* 19 digits */
    touch("000000000000000000099.json");
    touch(".ma-spool.tmp"); /* left by a crash */
    struct ma_spool s;
    char why[256] = "";
    T_OK(ma_spool_open(arena, spool, &s, why));
    ck_assert_uint_eq(s.sequence, 41);
    T_OK(ma_spool_write(&s, "sms", MA_LIT("{\"a\":1}"), why));
    ck_assert_str_eq(slurp(spool, "00000000000000000042-sms.json"), "{\"a\":1}\n");
    /* a name somebody else took is stepped over, not replaced */
    touch("00000000000000000043-push.json");
    T_OK(ma_spool_write(&s, "push", MA_LIT("{}"), why));
    ck_assert_str_eq(slurp(spool, "00000000000000000043-push.json"), "");
    ck_assert_str_eq(slurp(spool, "00000000000000000044-push.json"), "{}\n");
    /* a consumer that empties the directory does not reset the count */
    nftw(spool, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    T_OK(ma_spool_write(&s, "sms", MA_LIT("{}"), why));
    char names[32][64];
    ck_assert_uint_eq(list(spool, names), 1);
    ck_assert_str_eq(names[0], "00000000000000000045-sms.json");
    ma_spool_close(&s);
}
END_TEST

/* A spool that is not there yet is a transport that is down. */
START_TEST(spool_comes_later)
{
    char parent[160];
    char url[200];
    char again[256];
    snprintf(parent, sizeof parent, "%s/parent", dir);
    snprintf(url, sizeof url, "spool:%s/box", parent);
    snprintf(again, sizeof again, "%s//", url);
    conf.delivery.sms = url;
    conf.delivery.voice = again;
    enqueue(MA_CHANNEL_SMS);
    enqueue(MA_CHANNEL_VOICE);
    start();
    ck_assert_ptr_nonnull(strstr(read_log(), "delivery.spool_unavailable"));
    WAIT(world.writes > 0);
    ck_assert_uint_eq(alive(), 2);
    ck_assert_int_eq(mkdir(parent, 0700), 0);
    advance_and_write(2 * MA_OUTBOX_BACKOFF_MS);
    ck_assert_uint_eq(alive() + dead(), 0);
    char names[32][64];
    ck_assert_uint_eq(list(url + strlen("spool:"), names), 2);
    ck_assert_int_eq(strncmp(names[0], "00000000000000000001-", 21), 0);
    ck_assert_int_eq(strncmp(names[1], "00000000000000000002-", 21), 0);
}
END_TEST

START_TEST(bad_transports)
{
    static const struct {
        const char *email, *sms, *from, *says;
    } rows_[] = {
        {"spool:relative", "", "a@example.com", "absolute"},
        {"https://mail.example/", "", "a@example.com", "delivery.email"},
        {"smtp://relay.example", "smtp://relay.example", "a@example.com", "delivery.sms"},
        {"smtp://relay.example", "", "Example <a@example.com>", "delivery.email_from"},
        {"smtp://relay.example", "", "", "delivery.email_from"},
    };
    for (size_t i = 0; i < MA_COUNT(rows_); i++) {
        conf.delivery.email = rows_[i].email;
        conf.delivery.sms = rows_[i].sms;
        conf.delivery.email_from = rows_[i].from;
        struct ma_transports *t = NULL;
        char why[256] = "";
        ck_assert_int_lt(ma_transports_new(&conf, &t, why), 0);
        ck_assert_msg(strstr(why, rows_[i].says), "row %zu: %s", i, why);
    }
}
END_TEST

/* --- e-mail --- */

static void put_secret(const char *name, const char *text, char ref[192])
{
    char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    snprintf(ref, 192, "file:%s", path);
}

START_TEST(email_is_sent)
{
    char ref[192];
    put_secret("smtp", "relay secret\n", ref);
    conf.delivery.email = "smtps://mailer@relay.example:465";
    conf.delivery.email_password = ref;
    enqueue(MA_CHANNEL_EMAIL);
    start();
    WAIT(world.writes > 0);
    ck_assert_uint_eq(alive(), 0);
    ck_assert_int_eq(world.mails, 1);
    ck_assert_str_eq(world.url, "smtps://mailer@relay.example:465");
    ck_assert_str_eq(world.password, "relay secret");
    ck_assert_str_eq(world.from, "no-reply@login.example.com");
    ck_assert_str_eq(world.to[0], EMAIL);
    ck_assert_ptr_nonnull(strstr(world.message, "Subject: 739164 is your"));
    ck_assert_ptr_nonnull(strstr(world.message, "@login.example.com>\r\n"));
}
END_TEST

START_TEST(missing_secret)
{
    conf.delivery.email_password = "file:/nonexistent/secret";
    struct ma_transports *t = NULL;
    char why[256] = "";
    ck_assert_int_lt(ma_transports_new(&conf, &t, why), 0);
    ck_assert_ptr_nonnull(strstr(why, "delivery.email_password"));
}
END_TEST

/* A relay that is down costs nothing but time, and it is not asked once per message. */
START_TEST(down_then_up)
{
    set_world(MA_E_UPSTREAM, MA_OK, 200, NULL);
    enqueue_to(MA_CHANNEL_EMAIL, "one@example.com");
    atomic_fetch_add(&now, 1);
    enqueue_to(MA_CHANNEL_EMAIL, "two@example.com");
    start();
    WAIT(world.writes > 0);
    ck_assert_int_eq(world.mails, 1);
    for (int i = 0; i < 50; i++)
        advance_and_write(MA_OUTBOX_PROBE_MS * 2);
    ck_assert_uint_eq(alive(), 2);
    ck_assert_uint_eq(dead(), 0);
    ck_assert_int_eq(world.mails, 51);
    set_world(MA_OK, MA_OK, 200, NULL);
    advance_and_write(MA_OUTBOX_PROBE_MS * 2);
    ck_assert_uint_eq(alive(), 0);
    ck_assert_int_eq(world.mails, 53);
}
END_TEST

START_TEST(oldest_first)
{
    char to[16][64];
    for (int i = 0; i < 16; i++) {
        snprintf(to[i], sizeof to[i], "user%d@example.com", i);
        enqueue_to(MA_CHANNEL_EMAIL, to[i]);
        atomic_fetch_add(&now, 1);
    }
    start();
    WAIT(world.mails == 16 && world.writes > 0);
    for (int i = 0; i < 16; i++)
        ck_assert_str_eq(world.to[i], to[i]);
    ck_assert_uint_eq(alive(), 0);
}
END_TEST

/* Kept for a day, then dead. */
START_TEST(down_for_a_day)
{
    set_world(MA_E_UPSTREAM, MA_OK, 200, NULL);
    enqueue(MA_CHANNEL_EMAIL);
    start();
    WAIT(world.writes > 0);
    atomic_store(&now, START + MA_OUTBOX_KEEP_MS - 1);
    go_and_write();
    ck_assert_uint_eq(alive(), 1);
    advance_and_write(MA_OUTBOX_PROBE_MS * 2);
    ck_assert_uint_eq(alive(), 0);
    struct ma_outbox_row r[1];
    ck_assert_uint_eq(rows(r, 1, true), 1);
    ck_assert(ma_span_eq_str(r[0].last_error, "connection refused"));
}
END_TEST

/* Where it is unknown whether the relay took the message, repeating has an end. */
START_TEST(time_outs_have_an_end)
{
    set_world(MA_E_TIMEOUT, MA_OK, 200, "timed out");
    enqueue(MA_CHANNEL_EMAIL);
    start();
    WAIT(world.writes > 0);
    int64_t delay = 0;
    struct ma_outbox_row r[1];
    for (int i = 1; i < MA_OUTBOX_TRIES; i++) {
        ck_assert_uint_eq(rows(r, 1, false), 1);
        ck_assert_int_eq(r[0].attempts, i);
        int64_t next = r[0].next_at - atomic_load(&now);
        ck_assert_int_gt(next, delay);
        ck_assert_int_ge(next, (int64_t)MA_OUTBOX_BACKOFF_MS << (i - 1));
        ck_assert_int_le(next, (int64_t)MA_OUTBOX_BACKOFF_MS * 5 / 4 << (i - 1));
        delay = next;
        advance_and_write(next > MA_OUTBOX_PROBE_MS ? next : MA_OUTBOX_PROBE_MS);
    }
    ck_assert_uint_eq(alive(), 0);
    ck_assert_uint_eq(rows(r, 1, true), 1);
    ck_assert(ma_span_eq_str(r[0].last_error, "timed out"));
    ck_assert_int_eq(world.mails, MA_OUTBOX_TRIES);
}
END_TEST

static int revive_all(struct ma_db *d, void *arg)
{
    (void)arg;
    return ma_outbox_revive(d, MA_SPAN_NULL, atomic_load(&now));
}

START_TEST(refused_is_dead_and_can_be_revived)
{
    set_world(MA_E_INVAL, MA_OK, 200, "550 5.1.1 mailbox unavailable");
    enqueue(MA_CHANNEL_EMAIL);
    start();
    WAIT(world.writes > 0);
    ck_assert_uint_eq(alive(), 0);
    struct ma_outbox_row r[1];
    ck_assert_uint_eq(rows(r, 1, true), 1);
    ck_assert(ma_span_eq_str(r[0].last_error, "550 5.1.1 mailbox unavailable"));
    set_world(MA_OK, MA_OK, 200, NULL);
    int before = written();
    T_OK(in_transaction(revive_all, NULL));
    ma_courier_wake(courier);
    WAIT(world.writes > before);
    ck_assert_uint_eq(alive() + dead(), 0);
    ck_assert_int_eq(world.mails, 2);
}
END_TEST

/* A reply that quotes the recipient or the code is not kept. */
START_TEST(reasons_hold_no_secret)
{
    static const char *const replies[] = {"550 <" EMAIL "> unknown", "550 refused: " CODE " is your"};
    set_world(MA_E_INVAL, MA_OK, 200, replies[_i]);
    enqueue(MA_CHANNEL_EMAIL);
    start();
    WAIT(world.writes > 0);
    struct ma_outbox_row r[1];
    ck_assert_uint_eq(rows(r, 1, true), 1);
    ck_assert_ptr_null(memmem(r[0].last_error.p, r[0].last_error.n, EMAIL, strlen(EMAIL)));
    ck_assert_ptr_null(memmem(r[0].last_error.p, r[0].last_error.n, CODE, strlen(CODE)));
    ck_assert_ptr_nonnull(memmem(r[0].last_error.p, r[0].last_error.n, "withheld", 8));
}
END_TEST

START_TEST(bad_recipient_is_dead)
{
    enqueue_to(MA_CHANNEL_EMAIL, "Alice <a@example.com>");
    start();
    WAIT(world.writes > 0);
    ck_assert_uint_eq(dead(), 1);
    ck_assert_int_eq(world.mails, 0);
}
END_TEST

START_TEST(unconfigured_channel_is_dead)
{
    enqueue(MA_CHANNEL_VOICE);
    start();
    WAIT(world.writes > 0);
    ck_assert_uint_eq(dead(), 1);
}
END_TEST

static int insert_row(struct ma_db *d, void *arg)
{
    return ma_outbox_insert(d, arg);
}

START_TEST(tampered_row_is_dead)
{
    enqueue(MA_CHANNEL_EMAIL);
    struct ma_outbox_row r[1];
    ck_assert_uint_eq(rows(r, 1, false), 1);
    struct ma_outbox_row copy = r[0];
    copy.id = MA_LIT("ffffffffffffffffffffffffffffffff");
    T_OK(in_transaction(insert_row, &copy));
    start();
    WAIT(world.writes > 0);
    ck_assert_int_eq(world.mails, 1);
    ck_assert_uint_eq(alive(), 0);
    ck_assert_uint_eq(rows(r, 1, true), 1);
    ck_assert(ma_span_eq(r[0].id, copy.id));
}
END_TEST

/* A database that cannot record a delivery does not make it repeat. */
START_TEST(recording_fails)
{
    world.write_failures_left = 3;
    enqueue(MA_CHANNEL_EMAIL);
    start();
    WAIT(world.writes >= 1);
    for (int i = 2; i <= 4; i++) {
        ma_courier_wake(courier);
        WAIT(world.writes >= i);
    }
    ck_assert_int_eq(world.mails, 1);
    ck_assert_uint_eq(alive() + dead(), 0);
}
END_TEST

/* A channel that is down, with more waiting than a round holds, does not hold up the others. */
START_TEST(channels_do_not_block_each_other)
{
    conf.delivery.sms = spool_url();
    set_world(MA_E_UPSTREAM, MA_OK, 200, NULL);
    for (int i = 0; i < 50; i++)
        enqueue(MA_CHANNEL_EMAIL);
    atomic_fetch_add(&now, 1);
    enqueue(MA_CHANNEL_SMS);
    start();
    WAIT(world.writes >= 2);
    ck_assert_int_eq(world.mails, 1);
    char names[32][64];
    ck_assert_uint_eq(list(spool, names), 1);
    ck_assert_uint_eq(alive(), 50);
}
END_TEST

static int delete_user(struct ma_db *d, void *arg)
{
    (void)arg;
    return ma_user_delete(d, MA_LIT(USER));
}

/* The user is deleted while the message is on its way: the row is gone, and that is no error. */
START_TEST(row_goes_away_meanwhile)
{
    world.blocked = true;
    enqueue(MA_CHANNEL_EMAIL);
    start();
    WAIT(world.entered);
    T_OK(in_transaction(delete_user, NULL));
    pthread_mutex_lock(&world.lock);
    world.blocked = false;
    pthread_cond_broadcast(&world.changed);
    pthread_mutex_unlock(&world.lock);
    WAIT(world.writes > 0);
    ck_assert_int_eq(world.mails, 1);
    ck_assert_uint_eq(alive() + dead(), 0);
    ma_courier_free(courier);
    courier = NULL;
    ck_assert_ptr_null(strstr(read_log(), "delivery.record_failed"));
}
END_TEST

/* Stopped in the middle of a round, with a relay that hangs: it ends, what was sent is recorded, the rest stays. */
START_TEST(stop_while_sending)
{
    enqueue(MA_CHANNEL_EMAIL);
    start();
    WAIT(world.writes > 0);
    pthread_mutex_lock(&world.lock);
    world.blocked = true;
    world.entered = false;
    pthread_mutex_unlock(&world.lock);
    for (int i = 0; i < 8; i++)
        enqueue(MA_CHANNEL_EMAIL);
    ma_courier_wake(courier);
    WAIT(world.entered);
    ma_courier_free(courier);
    courier = NULL;
    ck_assert_int_eq(world.mails, 2);
    ck_assert_uint_eq(alive(), 8);
    ck_assert_uint_eq(dead(), 0);
}
END_TEST

/* --- gateways --- */

static void use_gateway(char ref[192])
{
    put_secret("gateway", "s3cret", ref);
    conf.delivery.sms = "https://api.gateway.example/Accounts/AC1/Messages.json";
    conf.delivery.voice = "https://api.gateway.example/Accounts/AC1/Calls.json";
    conf.delivery.push = "https://push.example/send";
    conf.delivery.sms_account = "AC1";
    conf.delivery.sms_password = ref;
    conf.delivery.sms_from = "+15005550006";
    conf.network.allow_http_loopback = true;
    set_world(MA_OK, MA_OK, 201, NULL);
}

START_TEST(sms_gateway)
{
    char ref[192];
    use_gateway(ref);
    enqueue(MA_CHANNEL_SMS);
    start();
    WAIT(world.writes > 0);
    ck_assert_uint_eq(alive() + dead(), 0);
    ck_assert_str_eq(world.url, conf.delivery.sms);
    ck_assert_str_eq(world.basic, "AC1:s3cret");
    ck_assert_str_eq(world.body,
                     "To=%2B15551235678&From=%2B15005550006&Body=739164%20is%20your%20Example%20%26%20%3CSons%3E"
                     "%20verification%20code.%20It%20is%20valid%20for%205%20minutes.%20Tell%20it%20to%20nobody.");
    ck_assert_ptr_nonnull(strstr(world.headers, "Content-Type: application/x-www-form-urlencoded\n"));
    ck_assert_ptr_nonnull(strstr(world.headers, "Idempotency-Key: "));
    ck_assert(world.policy.allow_http_loopback && !world.policy.allow_private);
}
END_TEST

START_TEST(sms_messaging_service)
{
    char ref[192];
    use_gateway(ref);
    conf.delivery.sms_from = "MG0123456789";
    enqueue(MA_CHANNEL_SMS);
    start();
    WAIT(world.writes > 0);
    ck_assert_int_eq(strncmp(world.body, "To=%2B15551235678&MessagingServiceSid=MG0123456789&Body=", 56), 0);
}
END_TEST

START_TEST(voice_gateway)
{
    char ref[192];
    use_gateway(ref);
    enqueue(MA_CHANNEL_VOICE);
    start();
    WAIT(world.writes > 0);
    ck_assert_str_eq(world.url, conf.delivery.voice);
    const char *twiml = strstr(world.body, "&Twiml=");
    ck_assert_ptr_nonnull(twiml);
    struct ma_span xml;
    T_OK(ma_pct_decode(arena, ma_span_str(twiml + 7), false, &xml));
    const char *text = ma_arena_strdup(arena, xml);
    ck_assert_int_eq(strncmp(text, "<Response><Say>Hello. Your Example &amp; &lt;Sons&gt; verification", 65), 0);
    ck_assert_ptr_nonnull(strstr(text, "7, 3, 9, 1, 6, 4"));
    ck_assert_str_eq(text + strlen(text) - 17, "</Say></Response>");
}
END_TEST

START_TEST(push_gateway)
{
    char ref[192];
    use_gateway(ref);
    struct ma_message m = message(MA_CHANNEL_PUSH);
    m.to = MA_LIT("device-token");
    m.code = MA_SPAN_NULL;
    m.data = MA_LIT("{\"challenge\":\"x\"}");
    T_OK(in_transaction(do_enqueue, &m));
    start();
    WAIT(world.writes > 0);
    ck_assert_str_eq(world.url, conf.delivery.push);
    ck_assert_str_eq(world.body, "{\"channel\":\"push\",\"to\":\"device-token\",\"data\":{\"challenge\":\"x\"},"
                                 "\"user_id\":\"auth0|alice\",\"created_at\":\"2025-11-24T16:00:00.000Z\"}");
    ck_assert_str_eq(world.basic, "(none):(none)");
    ck_assert_ptr_nonnull(strstr(world.headers, "Content-Type: application/json\n"));
}
END_TEST

static const struct gateway_answer {
    const char *label;
    int result;
    long status;
    bool dead;
    int attempts;
} gateway_answers[] = {
    {"400 is for good", MA_OK, 400, true, 1},
    {"401 is for good", MA_OK, 401, true, 1},
    {"429 waits", MA_OK, 429, false, 0},
    {"503 waits", MA_OK, 503, false, 0},
    {"500 counts", MA_OK, 500, false, 1},
    {"408 counts", MA_OK, 408, false, 1},
    {"unreachable waits", MA_E_UPSTREAM, 0, false, 0},
    {"time-out counts", MA_E_TIMEOUT, 0, false, 1},
    {"endless answer counts", MA_E_RANGE, 0, false, 1},
};

START_TEST(gateway_failures)
{
    const struct gateway_answer *want = &gateway_answers[_i];
    char ref[192];
    use_gateway(ref);
    set_world(MA_OK, want->result, want->status, NULL);
    enqueue(MA_CHANNEL_SMS);
    start();
    WAIT(world.writes > 0);
    struct ma_outbox_row r[1];
    ck_assert_msg(rows(r, 1, want->dead) == 1, "%s", want->label);
    ck_assert_msg(r[0].attempts == want->attempts, "%s: %d", want->label, r[0].attempts);
    ck_assert_msg(want->dead || r[0].next_at >= START + MA_OUTBOX_BACKOFF_MS, "%s", want->label);
}
END_TEST

/* --- reload --- */

START_TEST(reload)
{
    spool_everything();
    enqueue(MA_CHANNEL_SMS);
    start();
    WAIT(world.writes > 0);
    /* settings that do not work leave the old ones in force */
    struct ma_conf other = conf;
    other.delivery.sms = "spool:relative";
    ma_courier_reload(courier, &other);
    enqueue(MA_CHANNEL_SMS);
    go_and_write();
    char names[32][64];
    ck_assert_uint_eq(list(spool, names), 2);
    /* the same directory goes on counting though its files are gone */
    char path[4096];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", spool, names[i]);
        ck_assert_int_eq(unlink(path), 0);
    }
    ma_courier_reload(courier, &conf);
    enqueue(MA_CHANNEL_SMS);
    go_and_write();
    ck_assert_uint_eq(list(spool, names), 1);
    ck_assert_str_eq(names[0], "00000000000000000003-sms.json");
    /* another provider */
    other.delivery.sms = "https://api.gateway.example/Messages.json";
    set_world(MA_OK, MA_OK, 200, NULL);
    ma_courier_reload(courier, &other);
    enqueue(MA_CHANNEL_SMS);
    go_and_write();
    ck_assert_int_eq(world.calls, 1);
    ck_assert_uint_eq(alive() + dead(), 0);
}
END_TEST

static TCase *add_case(Suite *s, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 2 * PATIENCE_S);
    suite_add_tcase(s, tc);
    return tc;
}

int main(void)
{
    Suite *s = suite_create("outbox");
    TCase *tc = add_case(s, "enqueue");
    tcase_add_test(tc, payload_is_sealed);
    tcase_add_test(tc, payload_cannot_be_moved);
    tcase_add_test(tc, bad_messages);
    tc = add_case(s, "spool");
    tcase_add_test(tc, spool_files);
    tcase_add_test(tc, spool_sequence);
    tcase_add_test(tc, spool_comes_later);
    tcase_add_test(tc, bad_transports);
    tc = add_case(s, "email");
    tcase_add_test(tc, email_is_sent);
    tcase_add_test(tc, missing_secret);
    tcase_add_test(tc, down_then_up);
    tcase_add_test(tc, oldest_first);
    tcase_add_test(tc, down_for_a_day);
    tcase_add_test(tc, time_outs_have_an_end);
    tcase_add_test(tc, refused_is_dead_and_can_be_revived);
    tcase_add_loop_test(tc, reasons_hold_no_secret, 0, 2);
    tcase_add_test(tc, bad_recipient_is_dead);
    tcase_add_test(tc, unconfigured_channel_is_dead);
    tcase_add_test(tc, tampered_row_is_dead);
    tcase_add_test(tc, recording_fails);
    tcase_add_test(tc, channels_do_not_block_each_other);
    tcase_add_test(tc, row_goes_away_meanwhile);
    tcase_add_test(tc, stop_while_sending);
    tc = add_case(s, "gateways");
    tcase_add_test(tc, sms_gateway);
    tcase_add_test(tc, sms_messaging_service);
    tcase_add_test(tc, voice_gateway);
    tcase_add_test(tc, push_gateway);
    tcase_add_loop_test(tc, gateway_failures, 0, (int)MA_COUNT(gateway_answers));
    tc = add_case(s, "reload");
    tcase_add_test(tc, reload);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
