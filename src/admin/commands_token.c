/* SPDX-License-Identifier: Apache-2.0
 * Commands on tokens and signing keys.
 */
#include "ma/admin.h"

#include "ma/id.h"
#include "ma/state.h"
#include "int.h"

#define MA_AMR_MAX 16

/* --- token --- */
struct token_job {
    struct ma_cmd *c;
    bool user, client;
    int64_t token_lifetime;
    bool require_2fa, es256;
    char why[256];
};

static int token_fn(struct ma_db *db, void *arg)
{
    struct token_job *job = arg;
    struct ma_cmd *c = job->c;
    struct ma_state *state = NULL;
    struct ma_user u;
    int rc = ma_user_get(db, c->a, c->args->user, &u);
    job->user = rc == MA_OK;
    if (rc != MA_OK && rc != MA_E_NOTFOUND)
        return rc;
    rc = ma_state_load(db, NULL, 0, "", &state, job->why);
    if (rc != MA_OK)
        return rc;
    job->client = ma_state_client(state, c->args->client) != NULL;
    job->token_lifetime = state->api.token_lifetime;
    job->require_2fa = state->api.require_2fa;
    job->es256 = state->api.signing_alg == MA_SIGNING_ES256;
    ma_state_unref(state);
    return MA_OK;
}

/* The public origin whose "/me/" the audience is; NULL for an audience of somebody else. */
static const char *origin_of_audience(struct ma_cmd *c, struct ma_span audience)
{
    const struct ma_conf *conf = c->env->conf;
    const char *own = ma_arena_printf(c->a, "%s/me/", conf->base_url);
    if (own && ma_span_eq_str(audience, own))
        return conf->base_url;
    for (size_t i = 0; i < conf->custom_domains.n; i++) {
        const char *other = ma_arena_printf(c->a, "%s/me/", conf->custom_domains.v[i]);
        if (other && ma_span_eq_str(audience, other))
            return conf->custom_domains.v[i];
    }
    return NULL;
}

/* "mfa,pwd" → NULL-terminated list; NULL when there is none or no memory. */
static const char *const *split_amr(struct ma_cmd *c, struct ma_span list)
{
    const char **v = ma_arena_calloc(c->a, MA_AMR_MAX + 1, sizeof *v);
    size_t n = 0;
    while (v && list.n > 0 && n < MA_AMR_MAX) {
        const uint8_t *comma = memchr(list.p, ',', list.n);
        size_t len = comma ? (size_t)(comma - list.p) : list.n;
        if (len > 0)
            v[n++] = ma_arena_strdup(c->a, ma_span_of(list.p, len));
        list = comma ? ma_span_of(comma + 1, list.n - len - 1) : MA_SPAN_NULL;
    }
    return n > 0 ? v : NULL;
}

/* Seconds the token lives. While the Default Policy is on, a token for this API ends with the
 * step-up window, so that an SDK comes back to refresh in time. */
static int64_t token_ttl(const struct token_job *job, bool for_this_api)
{
    const struct ma_admin_args *args = job->c->args;
    int64_t ttl = args->given & MA_OPT_TTL ? args->ttl : job->token_lifetime;
    int64_t window = job->c->env->conf->policy.step_up_window;
    return for_this_api && job->require_2fa && ttl > window ? window : ttl;
}

static int mint(struct ma_cmd *c, const struct token_job *job)
{
    const struct ma_admin_args *args = c->args;
    const char *base = c->env->conf->base_url;
    const char *default_audience = ma_arena_printf(c->a, "%s/me/", base);
    struct ma_span audience = args->given & MA_OPT_AUDIENCE ? args->audience : ma_span_str(default_audience);
    const char *origin = origin_of_audience(c, audience);
    char jti[33];
    int rc = ma_id_request(c->env->rand, jti);
    struct ma_mint m = {.iss = ma_arena_printf(c->a, "%s/", origin ? origin : base),
                        .sub = ma_arena_strdup(c->a, args->user),
                        .client_id = ma_arena_strdup(c->a, args->client),
                        .audience = ma_arena_strdup(c->a, audience),
                        .scope = ma_arena_strdup(c->a, args->scope),
                        .now_s = ma_cmd_now(c) / 1000,
                        .ttl_s = token_ttl(job, origin != NULL),
                        .amr = split_amr(c, args->amr),
                        .auth_time_s = args->given & MA_OPT_AUTH_TIME ? args->auth_time : -1,
                        .jti = jti,
                        .alg = job->es256 ? MA_JWS_ES256 : MA_JWS_RS256};
    struct ma_span token;
    if (rc == MA_OK && (!m.iss || !m.sub || !m.client_id || !m.audience || !m.scope))
        rc = MA_E_NOMEM;
    if (rc == MA_OK)
        rc = ma_jose_mint(c->env->jose, c->a, &m, &token);
    if (rc != MA_OK)
        return ma_cmd_fail_rc(c, "token", rc);
    ma_buf_span(c->out, token);
    ma_buf_byte(c->out, '\n');
    return MA_EXIT_OK;
}

int ma_cmd_token(struct ma_cmd *c)
{
    struct token_job job = {.c = c};
    const struct ma_admin_args *args = c->args;
    if ((args->given & MA_OPT_TTL) && (args->ttl < 1 || args->ttl > MA_ADMIN_TTL_MAX_S)) {
        (void)ma_cmd_fail(c, "token: --ttl must be between 1 and %d", MA_ADMIN_TTL_MAX_S);
        return MA_EXIT_USAGE;
    }
    if ((args->given & MA_OPT_AUTH_TIME) && args->auth_time < 0) {
        (void)ma_cmd_fail(c, "token: --auth-time must be in seconds since 1970");
        return MA_EXIT_USAGE;
    }
    int rc = c->env->read(c->env->arg, token_fn, &job);
    if (rc != MA_OK)
        return job.why[0] ? ma_cmd_fail(c, "token: %s", job.why) : ma_cmd_fail_rc(c, "token", rc);
    if (!job.user)
        return ma_cmd_fail(c, "token: no such user");
    if (!job.client)
        return ma_cmd_fail(c, "token: no such client");
    return mint(c, &job);
}
