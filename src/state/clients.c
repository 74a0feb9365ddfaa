/* SPDX-License-Identifier: Apache-2.0
 * Clients: the rules of what the document says of one, and the snapshot's list with their origins, refresh tokens
 * and grants.
 */
#include "ma/state.h"

#include <stdlib.h>

#include "int.h"

/* The hosted vendor's defaults: a year, and thirty days. */
#define MA_REFRESH_LIFETIME_S 31557600
#define MA_REFRESH_IDLE_S 2592000

/* --- rules --- */

static void check_origins(struct ma_apply *ap, const struct ma_span_list *list, const char *pointer, const char *name)
{
    char origin[MA_ORIGIN_MAX];
    for (size_t i = 0; i < list->n; i++) {
        if (ma_origin_of(list->v[i], true, origin) != MA_OK)
            ma_apply_error_item(ap, pointer, name, i, "must be an origin: scheme://host[:port]");
    }
}

static void check_refresh(struct ma_apply *ap, const struct ma_doc_refresh *r, const char *pointer)
{
    const struct ma_doc_grant_rule *rules = r->policies.v;
    for (size_t i = 0; i < r->policies.n; i++) {
        for (size_t k = 0; k < rules[i].scope.n; k++) {
            if (!ma_fmt_scope(rules[i].scope.v[k]))
                ma_apply_error_item(ap, pointer, "refresh_token/policies", i, "must hold scope tokens");
        }
    }
}

/* RFC 7523 §2.2: without a key nothing it could sign would be believed. */
static void check_keys(struct ma_apply *ap, const struct ma_doc_client *c, const char *pointer)
{
    if (!c->has_auth || c->token_endpoint_auth_method != MA_AUTH_PRIVATE_KEY_JWT)
        return;
    if (!c->has_jwks)
        ma_apply_error(ap, pointer, "", "must have required property 'jwks'");
    else if (c->jwks.keys.n == 0)
        ma_apply_error(ap, pointer, "/jwks/keys", "must NOT have fewer than 1 items");
}

void ma_client_check(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *doc, const char *pointer)
{
    (void)e;
    const struct ma_doc_client *c = &doc->client;
    check_origins(ap, &c->allowed_origins, pointer, "allowed_origins");
    check_origins(ap, &c->web_origins, pointer, "web_origins");
    ma_check_uris(ap, &c->callbacks, pointer, "callbacks");
    ma_check_uris(ap, &c->allowed_logout_urls, pointer, "allowed_logout_urls");
    check_refresh(ap, &c->refresh, pointer);
    check_keys(ap, c, pointer);
}

/* --- origins --- */

/* Appends the origins of a list of origins or URLs; what has no web origin lends none. */
static int add_origins(struct ma_load *l, struct ma_state_client *c, const struct ma_span_list *urls, bool web_only)
{
    for (size_t i = 0; i < urls->n; i++) {
        char text[MA_ORIGIN_MAX];
        if (ma_origin_of(urls->v[i], false, text) != MA_OK || ma_span_list_has(&c->origins, ma_span_str(text)))
            continue;
        if (web_only && strncmp(text, "http://", 7) != 0 && strncmp(text, "https://", 8) != 0)
            continue;
        struct ma_span kept = ma_arena_dup(l->a, ma_span_str(text));
        if (!kept.p)
            return MA_E_NOMEM;
        c->origins.v[c->origins.n++] = kept;
    }
    return MA_OK;
}

static int load_origins(struct ma_load *l, struct ma_state_client *c)
{
    size_t most = c->allowed_origins.n + c->web_origins.n + c->callbacks.n;
    if (!c->is_first_party || !c->cross_origin_authentication || most == 0)
        return MA_OK;
    c->origins.v = ma_arena_calloc(l->a, most, sizeof *c->origins.v);
    if (!c->origins.v)
        return MA_E_NOMEM;
    int rc = add_origins(l, c, &c->allowed_origins, false);
    if (rc == MA_OK)
        rc = add_origins(l, c, &c->web_origins, false);
    return rc == MA_OK ? add_origins(l, c, &c->callbacks, true) : rc;
}

/* --- refresh tokens --- */

static struct ma_state_audience *find_audience(struct ma_state_audience *v, size_t n, struct ma_span audience)
{
    for (size_t i = 0; i < n; i++) {
        if (ma_span_eq(v[i].audience, audience))
            return &v[i];
    }
    return NULL;
}

/* The scopes of both, each once. */
static int unite(struct ma_arena *a, struct ma_span_list *to, const struct ma_span_list *more)
{
    struct ma_span_list all = {ma_arena_calloc(a, to->n + more->n, sizeof *all.v), 0};
    if (!all.v)
        return MA_E_NOMEM;
    for (size_t i = 0; i < to->n + more->n; i++) {
        struct ma_span s = i < to->n ? to->v[i] : more->v[i - to->n];
        if (!ma_span_list_has(&all, s))
            all.v[all.n++] = s;
    }
    *to = all;
    return MA_OK;
}

/* Several entries for one audience become one. */
static int load_policies(struct ma_load *l, const struct ma_objlist *from, struct ma_state_refresh *r)
{
    const struct ma_doc_grant_rule *rules = from->v;
    struct ma_state_audience *v = ma_arena_calloc(l->a, from->n + 1, sizeof *v);
    int rc = v ? MA_OK : MA_E_NOMEM;
    for (size_t i = 0; rc == MA_OK && i < from->n; i++) {
        struct ma_state_audience *same = find_audience(v, r->n_policies, rules[i].audience);
        if (same)
            rc = unite(l->a, &same->scope, &rules[i].scope);
        else
            v[r->n_policies++] = (struct ma_state_audience){rules[i].audience, rules[i].scope};
    }
    r->policies = v;
    return rc;
}

static int64_t seconds(int64_t named, bool endless, int64_t usual)
{
    if (endless)
        return 0;
    return named > 0 ? named : usual;
}

static int load_refresh(struct ma_load *l, const struct ma_doc_refresh *d, struct ma_state_client *c)
{
    bool endless = d->expiration_type == 1;
    c->refresh = (struct ma_state_refresh){
        .rotating = d->has_rotation_type ? d->rotation_type == 0 : c->auth == MA_AUTH_NONE,
        .leeway_s = d->leeway,
        .lifetime_s = seconds(d->token_lifetime, endless || d->infinite_token_lifetime, MA_REFRESH_LIFETIME_S),
        .idle_s = seconds(d->idle_token_lifetime, endless || d->infinite_idle_token_lifetime, MA_REFRESH_IDLE_S),
        .has_policies = d->has_policies,
    };
    return load_policies(l, &d->policies, &c->refresh);
}

/* --- clients --- */

static enum ma_client_auth auth_of(const struct ma_doc_client *d)
{
    if (d->has_auth)
        return (enum ma_client_auth)d->token_endpoint_auth_method;
    return d->app_type <= MA_APP_NATIVE ? MA_AUTH_NONE : MA_AUTH_POST;
}

struct doc_keys {
    struct ma_span jwks;
};
static const struct ma_jfield keys_fields[] = {
    {.name = "jwks", .type = MA_F_RAWOBJ, .flags = MA_NULLOK, .off = offsetof(struct doc_keys, jwks)},
};
static const struct ma_shape keys_shape = MA_SHAPE_OPEN(struct doc_keys, keys_fields);

static int load_keys(struct ma_load *l, const struct ma_object *o, struct ma_state_client *c)
{
    struct doc_keys keys = {0};
    int rc = ma_load_decode(l, o, NULL, &keys_shape, &keys);
    c->jwks = keys.jwks;
    return rc;
}

/* A list that is there but empty grants nothing; none at all has defaults. */
static struct ma_span_list grant_types_of(const struct ma_doc_client *d)
{
    return d->has_grant_types ? d->grant_types : (struct ma_span_list){0};
}

int ma_load_client(struct ma_load *l, const struct ma_object *o)
{
    struct ma_doc_client d = {0};
    int rc = ma_load_decode(l, o, ma_defaults_client, &ma_shape_client, &d);
    if (rc != MA_OK)
        return rc;
    struct ma_state_client *c = &l->clients[l->snap->pub.n_clients++];
    *c = (struct ma_state_client){
        .client_id = d.client_id,
        .name = d.name.p ? d.name : d.client_id,
        .auth = auth_of(&d),
        .auth_named = d.has_auth,
        .app_type = d.app_type,
        .is_first_party = d.is_first_party,
        .cross_origin_authentication = d.cross_origin_authentication,
        .callbacks = d.callbacks,
        .allowed_origins = d.allowed_origins,
        .web_origins = d.web_origins,
        .grant_types = grant_types_of(&d),
        .allowed_logout_urls = d.allowed_logout_urls,
        .resource_server_identifier = d.resource_server_identifier,
        .require_dpop = d.require_dpop,
        .trusts_ip_header = d.is_token_endpoint_ip_header_trusted,
        .id_token_alg = (enum ma_signing_alg)d.id_token_alg,
        .json = ma_arena_dup(l->a, o->json),
    };
    if (!c->json.p)
        return MA_E_NOMEM;
    rc = load_refresh(l, &d.refresh, c);
    if (rc == MA_OK && d.has_jwks)
        rc = load_keys(l, o, c);
    return rc == MA_OK ? load_origins(l, c) : rc;
}

/* --- grants --- */

static bool is_ours(const struct ma_load *l, struct ma_span audience)
{
    for (size_t i = 0; i < l->n_audiences; i++) {
        if (ma_span_eq(l->audiences[i], audience))
            return true;
    }
    return false;
}

/* A user grant on its way to its client. */
struct found {
    struct ma_state_client *of;
    struct ma_state_audience grant;
};

static int find_grant(struct ma_load *l, const struct ma_object *o, struct found *ret)
{
    struct ma_doc_grant d = {0};
    int rc = ma_load_decode(l, o, NULL, &ma_shape_grant, &d);
    size_t i = rc == MA_OK && d.subject_type == 0 ? ma_index_find(&l->snap->by_client, d.client_id) : SIZE_MAX;
    *ret = (struct found){NULL, {d.audience, d.scope}};
    if (i == SIZE_MAX)
        return rc;
    ret->of = &l->clients[i];
    ret->of->n_grants++;
    if (!is_ours(l, d.audience))
        return MA_OK;
    ret->of->has_grant = true;
    for (size_t k = 0; k < d.scope.n; k++)
        ret->of->grant |= ma_scope_parse(d.scope.v[k]);
    return MA_OK;
}

static int by_client_and_audience(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    if (x->of != y->of)
        return x->of < y->of ? -1 : 1;
    return ma_span_compare(x->grant.audience, y->grant.audience);
}

/* The grants of one client lie together once they are sorted; a client and an audience have one user grant, whose key
 * they are. */
int ma_load_client_grants(struct ma_load *l)
{
    size_t n = 0, most = ma_load_count(l, "client_grant");
    struct found *found = ma_arena_calloc(l->temp, most + 1, sizeof *found);
    struct ma_state_audience *all = ma_arena_calloc(l->a, most + 1, sizeof *all);
    int rc = found && all ? MA_OK : MA_E_NOMEM;
    for (size_t i = 0; rc == MA_OK && i < l->n; i++) {
        if (!ma_span_eq_str(l->objects[i].kind, "client_grant"))
            continue;
        rc = find_grant(l, &l->objects[i], &found[n]);
        n += found[n].of != NULL;
    }
    if (rc != MA_OK)
        return rc;
    qsort(found, n, sizeof *found, by_client_and_audience);
    for (size_t i = 0; i < n; i++) {
        all[i] = found[i].grant;
        if (!found[i].of->grants)
            found[i].of->grants = &all[i];
    }
    return MA_OK;
}
