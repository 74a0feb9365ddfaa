/* SPDX-License-Identifier: Apache-2.0
 * Signing in with a password: whom an identifier means, what a wrong guess costs, and one answer for unknown users and
 * wrong passwords, in words and in time.
 */
#include "ma/signin.h"

#include <pthread.h>

#include "int.h"
#include "ma/account.h"
#include "ma/codec.h"
#include "ma/crypto.h"

enum { IDENTIFIER_MAX = 255, MINUTE_MS = 60000, DETAIL_MAX = 2048 };

/* --- whom it means --- */

enum { SAME_MAX = 8 };

/* The only user found. Of several by e-mail the only one who has shown the address to be theirs: whoever signs up with
 * somebody else's keeps nobody out. Others are nobody. */
static int only(const struct ma_user v[SAME_MAX], size_t n, bool email, struct ma_user *ret)
{
    const struct ma_user *verified = NULL;
    size_t n_verified = 0;
    for (size_t i = 0; email && i < n; i++) {
        if (v[i].email_verified) {
            verified = &v[i];
            n_verified++;
        }
    }
    if (n != 1 && n_verified != 1)
        return MA_E_NOTFOUND;
    *ret = n == 1 ? v[0] : *verified;
    return MA_OK;
}

static int by_email(struct ma_ctx *ctx, struct ma_span text, struct ma_span connection, struct ma_user *ret)
{
    struct ma_user v[SAME_MAX];
    struct ma_span address;
    size_t n = 0;
    int r = ma_email_normalise(ctx->arena, text, &address);
    if (r == MA_OK)
        r = ma_user_by_email(ctx->db, ctx->arena, address, connection, v, MA_COUNT(v), &n);
    return r == MA_OK ? only(v, n, true, ret) : r == MA_E_PARSE ? MA_E_NOTFOUND : r;
}

static int by_phone(struct ma_ctx *ctx, struct ma_span text, struct ma_span connection, struct ma_user *ret)
{
    struct ma_user v[SAME_MAX];
    struct ma_span number;
    size_t n = 0;
    int r = ma_phone_normalise(ctx->arena, text, &number);
    if (r == MA_OK)
        r = ma_user_by_phone(ctx->db, ctx->arena, number, connection, v, MA_COUNT(v), &n);
    return r == MA_OK ? only(v, n, false, ret) : r == MA_E_PARSE ? MA_E_NOTFOUND : r;
}

static int by_id(struct ma_ctx *ctx, struct ma_span text, struct ma_span connection, struct ma_user *ret)
{
    int r = ma_user_get(ctx->db, ctx->arena, text, ret);
    if (r < 0)
        return r;
    bool fits = ret->connection.p && (!connection.p || ma_span_eq(ret->connection, connection));
    return fits ? MA_OK : MA_E_NOTFOUND;
}

/* Every kind is looked for, so that looking takes the same time whom it finds. */
static int find_user(struct ma_ctx *ctx, struct ma_span text, struct ma_span connection, struct ma_user *ret)
{
    static int (*const ways[])(struct ma_ctx *, struct ma_span, struct ma_span, struct ma_user *) = {by_email, by_phone,
                                                                                                     by_id};
    bool found = false;
    *ret = (struct ma_user){.user_id = MA_SPAN_NULL};
    if (text.n == 0 || text.n > IDENTIFIER_MAX || !ma_utf8_valid(text) || ma_utf8_has_control(text))
        return MA_OK;
    for (size_t i = 0; i < MA_COUNT(ways); i++) {
        struct ma_user u;
        int r = ways[i](ctx, text, connection.n > 0 ? connection : MA_SPAN_NULL, &u);
        if (r < 0 && r != MA_E_NOTFOUND)
            return r;
        if (r == MA_OK && !found)
            *ret = u;
        found |= r == MA_OK;
    }
    return MA_OK;
}

/* --- what a wrong guess costs --- */

enum { WHOM_MAX = 1020 }; /* bytes of a user id: 255 characters */
struct bucket_key {
    uint8_t b[WHOM_MAX + 1 + sizeof(((struct ma_addr *)0)->b)];
    size_t n;
};

/* The name in small letters, however a number is written. arena. */
static struct ma_span name_of(struct ma_ctx *ctx, struct ma_span identifier)
{
    struct ma_span number;
    if (ma_phone_normalise(ctx->arena, identifier, &number) == MA_OK)
        return number;
    char *small = ma_arena_strdup(
        ctx->arena, ma_span_of(identifier.p, identifier.n < IDENTIFIER_MAX ? identifier.n : IDENTIFIER_MAX));
    for (char *c = small; c && *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c + ('a' - 'A'));
    return ma_span_str(small ? small : "");
}

/* Whom the guess is at, 0, address: a user has several names, and one bucket. */
static struct bucket_key key_of(struct ma_ctx *ctx, const struct ma_signin *s)
{
    struct bucket_key k = {.n = 0};
    struct ma_span address = ma_addr_key(&ctx->req.client);
    struct ma_span whom = s->user.user_id.p ? s->user.user_id : name_of(ctx, s->identifier);
    k.n = whom.n < WHOM_MAX ? whom.n : WHOM_MAX;
    if (k.n > 0)
        memcpy(k.b, whom.p, k.n);
    k.b[k.n++] = 0;
    memcpy(k.b + k.n, address.p, address.n);
    k.n += address.n;
    return k;
}

typedef void (*limit_fn)(struct ma_limits *, enum ma_bucket, struct ma_span, int64_t, int64_t, int64_t,
                         struct ma_limit_state *);

/* Seconds to wait, or 0. The login bucket stays on whatever rate_limit.enabled says. */
static int64_t count(struct ma_ctx *ctx, const struct ma_signin *s, limit_fn fn)
{
    struct ma_limit_state login, address;
    struct bucket_key k = key_of(ctx, s);
    int64_t per_address = ctx->conf->rate_limit.enabled ? ctx->conf->rate_limit.address_failures : 0;
    fn(ctx->app->limits, MA_BUCKET_LOGIN, ma_span_of(k.b, k.n), ctx->conf->rate_limit.login_failures_per_minute,
       MINUTE_MS, ctx->now_ms, &login);
    fn(ctx->app->limits, MA_BUCKET_ADDRESS, ma_addr_key(&ctx->req.client), per_address, MINUTE_MS, ctx->now_ms,
       &address);
    return login.retry_after_s > address.retry_after_s ? login.retry_after_s : address.retry_after_s;
}

/* --- the password --- */

static pthread_once_t dummy_once = PTHREAD_ONCE_INIT;
static char dummy[MA_PHC_MAX]; /* of a password nobody has; empty when it could not be made */

static void make_dummy(void)
{
    const struct ma_rand *rand = ma_rand_system();
    uint8_t unknown[32];
    if (rand->fill(rand, unknown, sizeof unknown) < 0 ||
        ma_password_hash(rand, MA_ARGON2_DEFAULT, ma_span_of(unknown, sizeof unknown), dummy) < 0)
        dummy[0] = '\0';
    ma_wipe(unknown, sizeof unknown);
}

/* An overlong password is also tried as it was typed: the state document's passwords are hashed whole. How many hashes
 * that takes depends on its length alone. */
static int compare(const char *stored, struct ma_span effective, struct ma_span password)
{
    int r = ma_password_verify(stored, effective);
    return r == MA_E_AUTH && password.n > MA_PASSWORD_MAX_BYTES ? ma_password_verify(stored, password) : r;
}

static struct ma_span effective_of(const struct ma_ctx *ctx, const struct ma_user *u, struct ma_span password)
{
    const struct ma_state_connection *c = u->connection.p ? ma_state_connection(ctx->state, u->connection) : NULL;
    return c ? ma_password_effective(&c->password_policy, password) : password;
}

static int64_t set_at(const struct ma_password_row *row)
{
    return row->changed_at ? row->changed_at : row->created_at;
}

/* A string that an import brought gives way to one of ours. */
static int upgrade(struct ma_ctx *ctx, struct ma_span stored, struct ma_span effective, struct ma_signin *ret)
{
    if (!ma_password_needs_rehash((const char *)stored.p, MA_ARGON2_DEFAULT) || stored.n >= sizeof ret->rehash_from)
        return MA_OK;
    memcpy(ret->rehash_from, stored.p, stored.n);
    ret->rehash_from[stored.n] = '\0';
    return ma_password_hash(ctx->app->rand, MA_ARGON2_DEFAULT, effective, ret->rehash_to);
}

/* Costs what a password of ours costs. */
static int compare_nobody(struct ma_span effective, struct ma_span password)
{
    (void)pthread_once(&dummy_once, make_dummy);
    int r = compare(dummy, effective, password);
    return r == MA_OK || r == MA_E_AUTH ? MA_OK : r == MA_E_UNSUPPORTED ? MA_E_CRYPTO : r;
}

/* A wrong guess at a password whose imported hash is cheap, or unusable, takes no less time than any other. */
static int pay_the_rest(const char *stored, struct ma_span effective, struct ma_span password)
{
    return ma_password_needs_rehash(stored, MA_ARGON2_DEFAULT) ? compare_nobody(effective, password) : MA_OK;
}

/* A list that cannot be read locks nobody out: it is logged, and the password was right. */
static bool is_breached(struct ma_ctx *ctx, struct ma_span password, struct ma_span effective)
{
    if (!ctx->conf->password_policy.breached_at_login)
        return false;
    return ma_breached_has(ctx->app->breached, effective) == MA_OK ||
           (password.n != effective.n && ma_breached_has(ctx->app->breached, password) == MA_OK);
}

static int check(struct ma_ctx *ctx, struct ma_span password, struct ma_signin *ret)
{
    struct ma_password_row row = {.hash = MA_SPAN_NULL};
    struct ma_span effective = effective_of(ctx, &ret->user, password);
    int r = ret->user.user_id.p ? ma_password_get(ctx->db, ctx->arena, ret->user.user_id, &row) : MA_E_NOTFOUND;
    if (r < 0 && r != MA_E_NOTFOUND)
        return r;
    if (r == MA_E_NOTFOUND)
        return compare_nobody(effective, password);
    const char *stored = (const char *)row.hash.p;
    r = compare(stored, effective, password);
    if (r == MA_E_UNSUPPORTED)
        ma_log(ctx->log, MA_LOG_ERROR, "password.unusable", MA_KV_SPAN("user_id", ret->user.user_id));
    if (r < 0)
        return r == MA_E_AUTH || r == MA_E_UNSUPPORTED ? pay_the_rest(stored, effective, password) : r;
    if (row.must_reset) { /* its change was reported: right or not, it is nobody's any more */
        ma_log(ctx->log, MA_LOG_WARN, "password.must_reset", MA_KV_SPAN("user_id", ret->user.user_id));
        return pay_the_rest(stored, effective, password);
    }
    ret->set_at = set_at(&row);
    if (ret->user.blocked) {
        ret->verdict = MA_SIGNIN_BLOCKED;
        return pay_the_rest(stored, effective, password);
    }
    ret->verdict = is_breached(ctx, password, effective) ? MA_SIGNIN_BREACHED : MA_SIGNIN_OK;
    return ret->verdict == MA_SIGNIN_OK ? upgrade(ctx, row.hash, effective, ret) : MA_OK;
}

/* A connection that this client may not use has no users for it; what that costs is the same. */
static int find_for_client(struct ma_ctx *ctx, struct ma_span connection, struct ma_signin *ret)
{
    int r = find_user(ctx, ret->identifier, connection, &ret->user);
    const struct ma_state_connection *c =
        r == MA_OK && ret->user.connection.p ? ma_state_connection(ctx->state, ret->user.connection) : NULL;
    if (c && ctx->who.client_id.p && !ma_state_enabled_for(c, ctx->who.client_id))
        ret->user = (struct ma_user){.user_id = MA_SPAN_NULL};
    return r;
}

static int hold_up(struct ma_ctx *ctx, struct ma_signin *ret)
{
    int r = MA_OK;
    ret->retry_after_s = count(ctx, ret, ma_limit_peek);
    if (ret->retry_after_s == 0)
        r = ma_guess_hold_up(ctx, ret->user.user_id, name_of(ctx, ret->identifier), &ret->retry_after_s);
    if (ret->retry_after_s > 0)
        ret->verdict = MA_SIGNIN_TOO_MANY;
    return r;
}

int ma_signin_password(struct ma_ctx *ctx, struct ma_span identifier, struct ma_span connection,
                       struct ma_span password, struct ma_signin *ret)
{
    *ret = (struct ma_signin){.verdict = MA_SIGNIN_WRONG, .identifier = ma_trim(identifier)};
    int r = find_for_client(ctx, connection, ret);
    if (r == MA_OK)
        r = hold_up(ctx, ret);
    if (r < 0 || ret->verdict == MA_SIGNIN_TOO_MANY)
        return r;
    r = check(ctx, password, ret);
    if (r < 0 || ret->verdict != MA_SIGNIN_WRONG)
        return r;
    (void)count(ctx, ret, ma_limit_take); /* at once: guesses side by side see each other's cost */
    if (!ret->user.user_id.p)
        ma_guess_unknown(ctx, name_of(ctx, ret->identifier));
    return MA_OK;
}

/* --- what stays of it --- */

/* People type passwords into the wrong field: of an unknown user only what looks like a name is kept. */
static bool presentable(struct ma_ctx *ctx, const struct ma_signin *s)
{
    struct ma_span out;
    return s->user.user_id.p || ma_email_normalise(ctx->arena, s->identifier, &out) == MA_OK ||
           ma_phone_normalise(ctx->arena, s->identifier, &out) == MA_OK;
}

static int audit(struct ma_ctx *ctx, const char *type, const struct ma_signin *s, const char *error)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 256, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    if (presentable(ctx, s))
        ma_jw_kstr(&w, "user_name", s->identifier);
    if (error)
        ma_jw_kcstr(&w, "error", error);
    ma_jw_obj_end(&w);
    return ma_audit_signin(ctx, type, s->user.user_id, ctx->who.client_id,
                           ma_buf_err(&b) < 0 ? MA_LIT("{}") : ma_buf_view(&b));
}

/* One row a minute and address: who is held up may try as often as they like. */
static int audit_held_up(struct ma_ctx *ctx, const struct ma_signin *s)
{
    struct ma_limit_state notice;
    ma_limit_take(ctx->app->limits, MA_BUCKET_NOTICE, ma_addr_key(&ctx->req.client), 1, MINUTE_MS, ctx->now_ms,
                  &notice);
    return notice.allowed ? audit(ctx, "limit_wc", s, "too many failed logins") : MA_OK;
}

/* Many addresses that guess at one user: told to the operator, and slowed down; addresses the user came from are not.
 */
static int count_user(struct ma_ctx *ctx, const struct ma_signin *s)
{
    const struct ma_counter_rule rule = ma_rule_login_failures(ctx);
    struct ma_counter_state c;
    int r = ma_counter_take(ctx->db, s->user.user_id, &rule, ctx->now_ms, &c);
    if (r < 0 || !c.allowed || c.remaining > 0)
        return r;
    ma_log(ctx->log, MA_LOG_WARN, "login.guessed_at", MA_KV_SPAN("user_id", s->user.user_id));
    return audit(ctx, "limit_wc", s, "too many wrong passwords of this user");
}

static int wrong(struct ma_ctx *ctx, const struct ma_signin *s)
{
    if (!s->user.user_id.p)
        return audit(ctx, "fu", s, NULL);
    int r = audit(ctx, "fp", s, NULL);
    return r == MA_OK ? count_user(ctx, s) : r;
}

static int rehash(struct ma_ctx *ctx, const struct ma_signin *s)
{
    if (!s->rehash_to[0])
        return MA_OK;
    int r = ma_password_rehash(ctx->db, s->user.user_id, ma_span_str(s->rehash_from), ma_span_str(s->rehash_to));
    return r == MA_E_CONFLICT || r == MA_E_NOTFOUND ? MA_OK : r; /* it was changed meanwhile */
}

/* The writer's view: whoever knew the old password, or was blocked, while it was being compared is out. */
static int look_again(struct ma_ctx *ctx, struct ma_signin *s)
{
    struct ma_password_row row;
    struct ma_span user_id = s->user.user_id;
    int r = ma_password_get(ctx->db, ctx->arena, user_id, &row);
    if (r == MA_OK)
        r = ma_user_get(ctx->db, ctx->arena, user_id, &s->user);
    if (r == MA_E_NOTFOUND || (r == MA_OK && (row.must_reset || set_at(&row) != s->set_at)))
        s->verdict = MA_SIGNIN_WRONG;
    else if (r == MA_OK && s->user.blocked)
        s->verdict = MA_SIGNIN_BLOCKED;
    return r == MA_E_NOTFOUND ? MA_OK : r;
}

static void count_login(struct ma_ctx *ctx, enum ma_signin_verdict v)
{
    ma_count_later(ctx, MA_M_LOGINS, MA_FACTOR_PASSWORD,
                   v == MA_SIGNIN_OK         ? MA_M_SUCCEEDED
                   : v == MA_SIGNIN_TOO_MANY ? MA_M_LIMITED
                                             : MA_M_FAILED);
}

static int signed_in(struct ma_ctx *ctx, struct ma_signin *s)
{
    struct ma_place from = ma_place_of(ctx);
    int r = rehash(ctx, s);
    if (r == MA_OK)
        r = ma_password_used(ctx->db, s->user.user_id, ctx->now_ms, &from);
    return r == MA_OK ? ma_address_remember(ctx, s->user.user_id) : r;
}

int ma_signin_password_done(struct ma_ctx *ctx, struct ma_signin *s)
{
    int r = s->verdict == MA_SIGNIN_OK ? look_again(ctx, s) : MA_OK;
    if (r < 0)
        return r;
    count_login(ctx, s->verdict);
    switch (s->verdict) {
    case MA_SIGNIN_OK: /* no row: signing in is not over yet (ma_audit_signed_in) */
        return signed_in(ctx, s);
    case MA_SIGNIN_BLOCKED:
        return audit(ctx, "fp", s, "user is blocked");
    case MA_SIGNIN_BREACHED:
        return audit(ctx, "pwd_leak", s, "the password is known from a data breach");
    case MA_SIGNIN_TOO_MANY:
        return audit_held_up(ctx, s);
    case MA_SIGNIN_WRONG:
    case MA_SIGNIN_EXPIRED:
    case MA_SIGNIN_NO_FACTOR:
    case MA_SIGNIN_PENDING:
    default:
        return wrong(ctx, s);
    }
}
