/* SPDX-License-Identifier: Apache-2.0
 * Connections to identity providers: what the document says of one, and the rules it must keep.
 */
#include "ma/state.h"

#include "ma/codec.h"
#include "int.h"

/* --- what is said, and where --- */

static struct ma_span first_of(struct ma_span a, struct ma_span b)
{
    return a.n > 0 ? a : b;
}

/* `preset`, at the connection or in its options, else the strategy. */
static const struct ma_preset *preset_of(const struct ma_doc_connection *c)
{
    struct ma_span named = first_of(c->habits.preset, c->options.habits.preset);
    return ma_preset_find(first_of(named, c->strategy));
}

static bool is_database(const struct ma_doc_connection *c)
{
    return ma_span_eq_str(c->strategy, "auth0");
}

static bool means_off(struct ma_span pkce)
{
    return ma_span_eq_str(pkce, "false") || ma_span_eq_str(pkce, "\"disabled\"");
}

static bool pkce_of(const struct ma_doc_connection *c, const struct ma_preset *preset)
{
    struct ma_span said = first_of(c->habits.pkce, c->options.habits.pkce);
    return said.n > 0 ? !means_off(said) : preset && preset->pkce;
}

static enum ma_client_auth auth_of(const struct ma_doc_connection *c, const struct ma_preset *preset)
{
    const struct ma_doc_habits *h = c->habits.has_auth ? &c->habits : &c->options.habits;
    if (h->has_auth)
        return (enum ma_client_auth)h->token_endpoint_auth_method;
    return preset ? preset->auth : MA_AUTH_BASIC;
}

struct ma_state_provider ma_connection_provider(const struct ma_doc_connection *c)
{
    const struct ma_doc_options *o = &c->options;
    if (is_database(c))
        return (struct ma_state_provider){0};
    const struct ma_preset *preset = preset_of(c);
    struct ma_span revocation = first_of(c->habits.revocation_endpoint, o->habits.revocation_endpoint);
    char separator = preset ? preset->scope_separator : ' ';
    if (o->has_scope_separator)
        separator = o->scope_separator == 0 ? ' ' : ',';
    return (struct ma_state_provider){
        .preset = preset,
        .issuer = o->issuer,
        .authorization_endpoint = o->authorization_endpoint,
        .token_endpoint = o->token_endpoint,
        .jwks_uri = o->jwks_uri,
        .userinfo_endpoint = o->userinfo_endpoint,
        .revocation_endpoint = revocation,
        .client_id = o->client_id,
        .scopes = o->scopes,
        .user_id_field = o->user_id_field,
        .authorization_params = o->authorization_params,
        .scope_separator = separator,
        .auth = auth_of(c, preset),
        .pkce = pkce_of(c, preset),
        /* who names the endpoint wants it used, unless told otherwise */
        .revoke_on_delete = o->has_revoke_on_delete ? o->revoke_on_delete : revocation.n > 0,
        .login_callback = o->callback_path == 1,
    };
}

/* --- rules --- */

/* Users and accounts hang on what a connection is: its strategy never changes. */
static void check_strategy(struct ma_apply *ap, const struct ma_elem *e, const struct ma_doc_connection *c,
                           const char *pointer)
{
    struct ma_doc_connection old = {0};
    if (!c->strategy.p)
        ma_apply_error(ap, pointer, "", "must have required property 'strategy'");
    else if (e->before.p && ma_state_decode(ap->scratch, NULL, e->before, &ma_shape_connection, &old) == MA_OK &&
             !ma_span_eq(old.strategy, c->strategy))
        ma_apply_error(ap, pointer, "/strategy", "must not change once the connection is there");
    else if (!is_database(c) && !ma_preset_find(c->strategy))
        ma_apply_error(ap, pointer, "/strategy", "must be auth0, oidc, oauth2 or a known provider");
}

/* pkce: a switch, or the hosted vendor's words. "plain" is none of them: RFC 9700 §2.1.1 wants S256. */
static bool pkce_ok(struct ma_span json)
{
    static const char *const words[] = {"true", "false", "\"auto\"", "\"S256\"", "\"disabled\""};
    for (size_t i = 0; i < MA_COUNT(words); i++) {
        if (json.p == NULL || ma_span_eq_str(json, words[i]))
            return true;
    }
    return false;
}

static void check_habits(struct ma_apply *ap, const struct ma_doc_habits *h, const char *pointer)
{
    if (h->preset.p && !ma_preset_find(h->preset))
        ma_apply_error(ap, pointer, "/preset", "must be a known provider");
    if (!pkce_ok(h->pkce))
        ma_apply_error(ap, pointer, "/pkce", "must be a boolean, or auto, S256 or disabled");
}

/* What every authorization request says by itself; OpenID Connect Core §6 could say all of it again. */
static bool is_protocol_param(struct ma_span name)
{
    static const char *const names[] = {
        "client_id", "client_secret", "redirect_uri",   "response_type",         "response_mode", "state",      "nonce",
        "scope",     "user_scope",    "code_challenge", "code_challenge_method", "request",       "request_uri"};
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        if (ma_span_eq_str(name, names[i]))
            return true;
    }
    return false;
}

/* Printable ASCII without blanks: everything else is escaped in form-encoded text. */
static bool is_form_text(struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '#')
            return false;
    }
    return true;
}

static bool is_param_text(struct ma_span s)
{
    return ma_utf8_valid(s) && !ma_utf8_has_control(s);
}

static void check_params(struct ma_apply *ap, struct ma_span params, const char *pointer)
{
    struct ma_span rest = params, name, value;
    int rc = is_form_text(params) ? MA_OK : MA_E_PARSE;
    bool ours = false;
    while (rc == MA_OK && !ours) {
        rc = ma_form_next(ap->scratch, &rest, &name, &value);
        if (rc == MA_OK && (name.n == 0 || !is_param_text(name) || !is_param_text(value)))
            rc = MA_E_PARSE;
        ours = rc == MA_OK && is_protocol_param(name);
    }
    if (ours)
        ma_apply_error(ap, pointer, "/authorization_params", "must not hold a parameter that the protocol sets");
    else if (rc != MA_E_NOTFOUND)
        ma_apply_error(ap, pointer, "/authorization_params", "must be form-encoded: name=value, joined by &");
}

static void check_missing(struct ma_apply *ap, const char *pointer, struct ma_span said, const char *known,
                          const char *detail)
{
    if (said.n == 0 && !known)
        ma_apply_error(ap, pointer, "", detail);
}

/* Enough to send a user there and to know who came back. Discovery from an issuer finds endpoints, but an id_token
 * cannot be checked without an issuer (OpenID Connect Core §3.1.3.7), and plain OAuth 2.0 has no id_token. */
static void check_provider(struct ma_apply *ap, const struct ma_doc_options *o, const struct ma_preset *p,
                           const char *pointer)
{
    check_missing(ap, pointer, o->client_id, NULL, "must have required property 'client_id'");
    if (p->oidc) {
        check_missing(ap, pointer, o->issuer, p->issuer, "must have required property 'issuer'");
        return;
    }
    if (o->issuer.n > 0)
        return;
    check_missing(ap, pointer, o->authorization_endpoint, p->authorization_endpoint,
                  "must have required property 'authorization_endpoint' or 'issuer'");
    check_missing(ap, pointer, o->token_endpoint, p->token_endpoint,
                  "must have required property 'token_endpoint' or 'issuer'");
    check_missing(ap, pointer, o->userinfo_endpoint, p->token_member ? p->token_member : p->userinfo_endpoint,
                  "must have required property 'userinfo_endpoint' or 'issuer'");
}

void ma_connection_check(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *doc, const char *pointer)
{
    const struct ma_doc_connection *c = &doc->connection;
    const char *options = ma_arena_printf(ap->scratch, "%s/options", pointer);
    const struct ma_preset *preset = preset_of(c);
    if (!options)
        options = pointer;
    check_strategy(ap, e, c, pointer);
    check_habits(ap, &c->habits, pointer);
    check_habits(ap, &c->options.habits, options);
    check_params(ap, c->options.authorization_params, options);
    ma_check_scopes(ap, &c->options.scopes, options, "scopes");
    e->database = is_database(c);
    e->keep_history = c->policy.history_active ? (int)c->policy.history_size : 0;
    if (c->connected_accounts && e->database)
        ma_apply_error(ap, pointer, "/connected_accounts/active", "must be false for a database");
    else if (c->connected_accounts && preset)
        check_provider(ap, &c->options, preset, options);
}
