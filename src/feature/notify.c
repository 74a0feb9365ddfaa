/* SPDX-License-Identifier: Apache-2.0
 * Telling users of changes: who hears of one, what stays of it, what is sent.
 */
#include "ma/notify.h"

#include <stdio.h>
#include <time.h>

#include "int.h"
#include "ma/codec.h"
#include "ma/user_agent.h"
#include "notify_int.h"

enum { HOUR_MS = 3600000, KEPT_SEEN_MAX = 20, USER_AGENT_MAX = 256 };

static const char *const names[MA_EVENT__COUNT] = {
    [MA_EVENT_FACTOR_ADDED] = "factor_added",
    [MA_EVENT_FACTOR_REMOVED] = "factor_removed",
    [MA_EVENT_FACTOR_CHANGED] = "factor_changed",
    [MA_EVENT_RECOVERY_CODE_REPLACED] = "recovery_code_replaced",
    [MA_EVENT_RECOVERY_CODE_USED] = "recovery_code_used",
    [MA_EVENT_PASSWORD_CHANGED] = "password_changed",
    [MA_EVENT_ACCOUNT_ADDED] = "account_added",
    [MA_EVENT_ACCOUNT_REMOVED] = "account_removed",
    [MA_EVENT_ADDRESS_CHANGED] = "address_changed",
    [MA_EVENT_DATA_EXPORTED] = "data_exported",
};
static const char *const templates[MA_EVENT__COUNT] = {
    [MA_EVENT_FACTOR_ADDED] = "factor-added",
    [MA_EVENT_FACTOR_REMOVED] = "factor-removed",
    [MA_EVENT_FACTOR_CHANGED] = "factor-changed",
    [MA_EVENT_RECOVERY_CODE_REPLACED] = "recovery-code-replaced",
    [MA_EVENT_RECOVERY_CODE_USED] = "recovery-code-used",
    [MA_EVENT_PASSWORD_CHANGED] = "password-changed",
    [MA_EVENT_ACCOUNT_ADDED] = "account-added",
    [MA_EVENT_ACCOUNT_REMOVED] = "account-removed",
    [MA_EVENT_ADDRESS_CHANGED] = "address-changed",
    [MA_EVENT_DATA_EXPORTED] = "data-exported",
};

const char *ma_event_name(enum ma_event e)
{
    return (unsigned)e < MA_EVENT__COUNT ? names[e] : "unknown";
}

enum ma_event ma_event_parse(struct ma_span name)
{
    int e = 0;
    while (e < MA_EVENT__COUNT && !ma_span_eq_str(name, names[e]))
        e++;
    return (enum ma_event)e;
}

/* --- words for people --- */

struct ma_span ma_what_factor(struct ma_arena *a, enum ma_factor type, struct ma_span address)
{
    static const char *const words[MA_FACTOR__COUNT] = {
        [MA_FACTOR_PASSWORD] = "the password",
        [MA_FACTOR_PASSKEY] = "a passkey",
        [MA_FACTOR_WEBAUTHN_PLATFORM] = "a device with its screen lock",
        [MA_FACTOR_WEBAUTHN_ROAMING] = "a security key",
        [MA_FACTOR_TOTP] = "an authenticator app",
        [MA_FACTOR_PHONE] = "the phone number",
        [MA_FACTOR_EMAIL] = "the e-mail address",
        [MA_FACTOR_PUSH] = "a device for push messages",
        [MA_FACTOR_RECOVERY] = "a recovery code",
    };
    char masked[MA_MASKED_MAX];
    const char *word = (unsigned)type < MA_FACTOR__COUNT ? words[type] : "a way to sign in";
    if (!address.p)
        return ma_span_str(word);
    ma_address_mask(address, masked);
    return ma_span_str(ma_arena_printf(a, "%s %s", word, masked));
}

struct ma_span ma_what_account(struct ma_arena *a, struct ma_span connection)
{
    return ma_span_str(
        ma_arena_printf(a, "an account of the connection %.*s", (int)connection.n, (const char *)connection.p));
}

struct ma_span ma_when(struct ma_arena *a, int64_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    if (!gmtime_r(&s, &tm))
        return MA_LIT("");
    return ma_span_str(ma_arena_printf(a, "%04d-%02d-%02d %02d:%02d UTC", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                                       tm.tm_hour, tm.tm_min));
}

/* A label of ours, or nothing of what the header says. */
static struct ma_span browser_text(struct ma_arena *a, struct ma_span user_agent)
{
    struct ma_span label = ma_user_agent_known(a, user_agent);
    return label.p ? label : MA_LIT("not recognised");
}

struct ma_notify_env ma_notify_env_of(struct ma_ctx *ctx)
{
    char ip[MA_ADDR_TEXT];
    ma_addr_format(&ctx->req.client, ip);
    struct ma_span address = ma_arena_dup(ctx->arena, ma_span_str(ip));
    return (struct ma_notify_env){
        .db = ctx->db,
        .vault = ctx->app->vault,
        .templates = ctx->app->templates,
        .rand = ctx->app->rand,
        .arena = ctx->arena,
        .conf = ctx->conf,
        .origin = ma_ctx_origin(ctx),
        .tenant = ctx->state->tenant.friendly_name,
        .browser = browser_text(ctx->arena, ctx->req.user_agent),
        .address = address,
        .ip = address,
        .user_agent = ctx->req.user_agent.n <= USER_AGENT_MAX ? ctx->req.user_agent
                                                              : ma_span_of(ctx->req.user_agent.p, USER_AGENT_MAX),
        .client_id = ctx->who.client_id,
        .request_id = ma_span_str(ctx->request_id),
        .now_ms = ctx->now_ms,
    };
}

/* --- who hears of it --- */

/* An address or number that is a factor, or was one until lately. */
struct candidate {
    enum ma_factor type;
    struct ma_span address;
    int64_t since;
};

static void consider(struct candidate best[2], enum ma_factor type, struct ma_span address, int64_t since)
{
    if ((type != MA_FACTOR_EMAIL && type != MA_FACTOR_PHONE) || !address.p)
        return;
    struct candidate *c = &best[type == MA_FACTOR_EMAIL ? 0 : 1];
    if (!c->address.p || since < c->since)
        *c = (struct candidate){type, address, since};
}

static int from_methods(const struct ma_notify_env *env, struct ma_span user_id, struct candidate best[2])
{
    size_t n = 0;
    struct ma_method *m = ma_arena_calloc(env->arena, MA_METHODS_MAX, sizeof *m);
    if (!m)
        return MA_E_NOMEM;
    int r = ma_method_list(env->db, env->arena, user_id, env->now_ms, m, MA_METHODS_MAX, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++)
        if (m[i].confirmed)
            consider(best, m[i].type, m[i].address, m[i].created_at);
    return r;
}

/* Removing an address does not make another one the account's voice at once. */
static int from_removed(const struct ma_notify_env *env, struct ma_span user_id, struct candidate best[2])
{
    size_t n = 0;
    struct ma_notice_row *v = ma_arena_calloc(env->arena, KEPT_SEEN_MAX, sizeof *v);
    if (!v)
        return MA_E_NOMEM;
    int r = ma_notice_list(env->db, env->arena, user_id, ma_span_str(names[MA_EVENT_FACTOR_REMOVED]), env->now_ms, v,
                           KEPT_SEEN_MAX, &n);
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        struct ma_kept_method k;
        if (!v[i].kept.p || ma_factor_of_id(v[i].subject) == MA_FACTOR_PASSWORD)
            continue;
        struct ma_span text;
        r = ma_notice_unseal(env->vault, env->arena, &v[i], "kept", v[i].kept, &text);
        if (r == MA_OK)
            r = ma_kept_method_read(env->arena, text, &k);
        if (r == MA_OK)
            consider(best, k.m.type, k.m.address, k.m.created_at);
    }
    return r;
}

static void add(struct ma_notice *n, enum ma_channel channel, struct ma_span to)
{
    for (size_t i = 0; i < n->n; i++)
        if (n->reach[i].channel == channel && ma_span_eq(n->reach[i].to, to))
            return;
    if (n->n < MA_REACH_MAX)
        n->reach[n->n++] = (struct ma_reach){channel, to};
}

static void reach_user(const struct ma_conf *conf, const struct ma_user *u, struct ma_notice *n)
{
    if (u->email.p && u->email_verified && conf->delivery.email[0])
        add(n, MA_CHANNEL_EMAIL, u->email);
}

int ma_notify_reach(const struct ma_notify_env *env, struct ma_span user_id, struct ma_notice *ret)
{
    struct ma_user u;
    struct candidate best[2] = {{.since = 0}, {.since = 0}};
    *ret = (struct ma_notice){.user_id = user_id};
    int r = ma_user_get(env->db, env->arena, user_id, &u);
    if (r < 0)
        return r;
    ret->name = u.name;
    reach_user(env->conf, &u, ret);
    if (ret->n > 0)
        return MA_OK;
    r = from_methods(env, user_id, best);
    if (r == MA_OK)
        r = from_removed(env, user_id, best);
    if (r < 0)
        return r;
    if (best[0].address.p && env->conf->delivery.email[0])
        add(ret, MA_CHANNEL_EMAIL, best[0].address);
    else if (best[1].address.p && env->conf->delivery.sms[0])
        add(ret, MA_CHANNEL_SMS, best[1].address);
    return MA_OK;
}

int ma_notify_reach_users(const struct ma_notify_env *env, const struct ma_user *before, const struct ma_user *after,
                          struct ma_notice *ret)
{
    *ret = (struct ma_notice){.user_id = after->user_id, .name = after->name};
    reach_user(env->conf, before, ret);
    reach_user(env->conf, after, ret);
    return ret->n > 0 ? MA_OK : ma_notify_reach(env, after->user_id, ret);
}

/* --- what stays of it --- */

static struct ma_seal_id seal_id(const struct ma_notice_row *row, const char *column)
{
    return (struct ma_seal_id){.table = "notices", .column = column, .row = row->id, .user = row->user_id};
}

int ma_notice_unseal(struct ma_vault *v, struct ma_arena *a, const struct ma_notice_row *row, const char *column,
                     struct ma_span sealed, struct ma_span *ret)
{
    struct ma_seal_id id = seal_id(row, column);
    return ma_vault_open_blob(v, a, &id, sealed, ret);
}

static int seal(const struct ma_notify_env *env, const struct ma_notice_row *row, const char *column,
                struct ma_span plain, struct ma_span *ret)
{
    struct ma_seal_id id = seal_id(row, column);
    return ma_vault_seal(env->vault, env->arena, &id, plain, ret);
}

static int store(const struct ma_notify_env *env, const struct ma_notice *n, const struct ma_change *c,
                 struct ma_span when, char token[MA_TOKEN_LEN + 1])
{
    char id[33];
    uint8_t mac[32];
    struct ma_span info;
    struct ma_notice_row row = {.user_id = n->user_id,
                                .event = ma_span_str(names[c->event]),
                                .subject = c->subject,
                                .created_at = env->now_ms,
                                .expires_at = env->now_ms + env->conf->notifications.undo_ttl * 1000};
    int r = ma_id_request(env->rand, id);
    if (r == MA_OK)
        r = ma_id_token(env->rand, token);
    if (r == MA_OK)
        r = ma_vault_mac(env->vault, "notice", MA_LIT(""), ma_span_of(token, MA_TOKEN_LEN), mac);
    row.id = ma_span_str(id);
    row.token_mac = ma_span_of(mac, sizeof mac);
    if (r == MA_OK)
        r = ma_notice_info_write(env, n, c, when, &info);
    if (r == MA_OK)
        r = seal(env, &row, "info", info, &row.info);
    if (r == MA_OK && c->kept.p)
        r = seal(env, &row, "kept", c->kept, &row.kept);
    return r == MA_OK ? ma_notice_insert(env->db, &row) : r;
}

/* --- what is sent --- */

int ma_notify_audit(const struct ma_notify_env *env, const char *type, struct ma_span user_id, const char *operation,
                    struct ma_span subject, const char *detail)
{
    struct ma_span agent = env->user_agent;
    while (agent.n > 0 && !ma_utf8_valid(agent))
        agent.n--;
    struct ma_audit_row row = {.at = env->now_ms,
                               .type = ma_span_str(type),
                               .operation = ma_span_str(operation),
                               .user_id = user_id,
                               .client_id = env->client_id,
                               .ip = env->ip,
                               .user_agent = agent,
                               .request_id = env->request_id,
                               .method_id = subject,
                               .detail = ma_span_str(detail)};
    return detail ? ma_audit_insert(env->db, &row) : MA_E_NOMEM;
}

static const char *sent_detail(const struct ma_notify_env *env, const struct ma_reach *to)
{
    char masked[MA_MASKED_MAX];
    struct ma_buf b;
    struct ma_jw w;
    ma_address_mask(to->to, masked);
    ma_buf_init_arena(&b, env->arena, 128, 1024);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "channel", ma_channel_name(to->channel));
    ma_jw_kcstr(&w, "to", masked);
    ma_jw_obj_end(&w);
    ma_buf_byte(&b, 0);
    return ma_buf_err(&b) < 0 ? "{}" : (const char *)b.p;
}

int ma_notify_letter(const struct ma_notify_env *env, const struct ma_reach *reach, size_t n, struct ma_message *m,
                     const char *operation, struct ma_span subject)
{
    int r = MA_OK;
    m->tenant = env->tenant;
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        m->channel = reach[i].channel;
        m->to = reach[i].to;
        r = ma_outbox_enqueue(env->db, env->vault, env->templates, env->rand, env->arena, m, env->now_ms);
        if (r == MA_OK)
            r = ma_notify_audit(env, MA_AUDIT_NOTICE, m->user_id, operation, subject, sent_detail(env, &reach[i]));
    }
    return r;
}

int ma_notify_send(const struct ma_notify_env *env, const struct ma_notice *n, const struct ma_change *c,
                   bool *ret_sent)
{
    char token[MA_TOKEN_LEN + 1];
    *ret_sent = false;
    if (!env->conf->notifications.on[c->event] || n->n == 0)
        return MA_OK;
    struct ma_message m = {.user_id = n->user_id,
                           .template_name = templates[c->event],
                           .name = n->name,
                           .what = c->what,
                           .when = ma_when(env->arena, env->now_ms),
                           .browser = env->browser,
                           .address = env->address,
                           .hours = (int)((env->conf->notifications.undo_ttl + 1800) / 3600)};
    if (m.hours == 0)
        m.hours = 1;
    int r = store(env, n, c, m.when, token);
    if (r < 0)
        return r;
    m.link = ma_arena_printf(env->arena, "%s" MA_UNDO_PATH "?token=%s", env->origin, token);
    if (!m.link || !m.what.p)
        return MA_E_NOMEM;
    *ret_sent = true;
    return ma_notify_letter(env, n->reach, n->n, &m, names[c->event], c->subject);
}

/* --- in a request --- */

int ma_notice_before(struct ma_ctx *ctx, struct ma_notice *ret)
{
    struct ma_notify_env env = ma_notify_env_of(ctx);
    return ma_notify_reach(&env, ctx->who.user_id, ret);
}

/* A sign-in that enrols is not held up: it is bounded by what it takes to get there. */
static int count(struct ma_ctx *ctx)
{
    const struct ma_counter_rule rule = {"security_changes", ctx->conf->notifications.changes_per_hour, HOUR_MS};
    if (!ctx->route || ctx->route->style != MA_STYLE_API)
        return MA_OK;
    struct ma_counter_state s;
    int r = ma_counter_take(ctx->db, ctx->who.user_id, &rule, ctx->now_ms, &s);
    if (r < 0 || s.allowed)
        return r;
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many changes of this account; try again later.",
                            (s.retry_after_ms + 999) / 1000);
}

int ma_notice_send(struct ma_ctx *ctx, const struct ma_notice *n, const struct ma_change *c)
{
    struct ma_notify_env env = ma_notify_env_of(ctx);
    bool sent = false;
    int r = ma_notify_send(&env, n, c, &sent);
    if (r == MA_OK && sent)
        r = count(ctx);
    ctx->wake_courier |= r == MA_OK && sent;
    return r;
}
