/* SPDX-License-Identifier: Apache-2.0
 * Builds the immutable snapshot from the stored elements, and counts its references.
 */
#include "ma/state.h"

#include <stdio.h>
#include <stdlib.h>

#include "int.h"

#define MA_LOAD_FIRST ((size_t)64 << 10)

int ma_state_decode(struct ma_arena *a, const char *defaults, struct ma_span json, const struct ma_shape *shape,
                    void *out)
{
    struct ma_json *j MA_CLEANUP(ma_json_free_p) = NULL;
    struct ma_verrs errs = {.arena = a};
    struct ma_span text = json;
    int rc = defaults ? ma_json_merge(a, ma_span_str(defaults), json, &text) : MA_OK;
    if (rc == MA_OK)
        rc = ma_json_parse(text, &j);
    return rc == MA_OK ? ma_json_decode(j, a, shape, out, &errs) : rc;
}

int ma_load_decode(struct ma_load *l, const struct ma_object *o, const char *defaults, const struct ma_shape *shape,
                   void *out)
{
    int rc = ma_state_decode(l->a, defaults, o->json, shape, out);
    if (rc != MA_OK)
        snprintf(l->why, 256, "stored %.*s \"%.*s\" cannot be read: %s", (int)o->kind.n, (const char *)o->kind.p,
                 o->key.n > 100 ? 100 : (int)o->key.n, (const char *)o->key.p, ma_err_text(rc));
    return rc;
}

static const struct ma_object *single(const struct ma_load *l, const char *kind, struct ma_object *none)
{
    for (size_t i = 0; i < l->n; i++) {
        if (ma_span_eq_str(l->objects[i].kind, kind))
            return &l->objects[i];
    }
    *none = (struct ma_object){ma_span_str(kind), MA_LIT(""), MA_LIT("{}")};
    return none;
}

static int load_api(struct ma_load *l)
{
    struct ma_object none;
    struct ma_doc_api d = {0};
    int rc = ma_load_decode(l, single(l, "api", &none), ma_defaults_api, &ma_shape_api, &d);
    if (rc != MA_OK)
        return rc;
    struct ma_state *s = &l->snap->pub;
    s->api.active = d.active;
    s->api.user_access_policy = (enum ma_user_access)d.user_access_policy;
    s->api.enforce_rbac = d.enforce_rbac;
    s->api.allow_skipping_user_consent = d.allow_skipping_user_consent;
    s->api.require_2fa = d.require_2fa;
    s->api.require_dpop = d.require_dpop;
    s->api.signing_alg = (enum ma_signing_alg)d.signing_alg;
    s->api.token_lifetime = d.token_lifetime;
    return MA_OK;
}

static int load_tenant(struct ma_load *l, const char *default_name)
{
    struct ma_object none;
    struct ma_doc_tenant d = {0};
    int rc = ma_load_decode(l, single(l, "tenant", &none), ma_defaults_tenant, &ma_shape_tenant, &d);
    if (rc != MA_OK)
        return rc;
    struct ma_state *s = &l->snap->pub;
    s->tenant.friendly_name = d.friendly_name.p ? d.friendly_name : ma_arena_dup(l->a, ma_span_str(default_name));
    s->tenant.mfa_policy = d.mfa_policy != 0; /* "confidence-score" is treated as "always" */
    s->tenant.rp_id = d.rp_id;
    s->tenant.rp_name = d.rp_name;
    s->tenant.allowed_logout_urls = d.allowed_logout_urls;
    s->tenant.session_lifetime_s = ma_fmt_hours(d.session_lifetime);
    s->tenant.idle_session_lifetime_s = ma_fmt_hours(d.idle_session_lifetime);
    return s->tenant.friendly_name.p ? MA_OK : MA_E_NOMEM;
}

static int load_factors(struct ma_load *l)
{
    struct ma_object none;
    struct ma_doc_factors d = {0};
    int rc = ma_load_decode(l, single(l, "factors", &none), ma_defaults_factors, &ma_shape_factors, &d);
    for (size_t i = 0; rc == MA_OK && i < MA_FACTOR__COUNT; i++)
        l->snap->pub.factors |= d.on[i] ? 1u << i : 0;
    return rc;
}

static int load_role(struct ma_load *l, const struct ma_object *o)
{
    struct ma_doc_role d = {0};
    int rc = ma_load_decode(l, o, NULL, &ma_shape_role, &d);
    if (rc != MA_OK)
        return rc;
    struct ma_state_role *r = &l->roles[l->snap->pub.n_roles++];
    r->name = d.name;
    for (size_t i = 0; i < d.permissions.n; i++)
        r->permissions |= ma_scope_parse(d.permissions.v[i]);
    return MA_OK;
}

static int load_connection(struct ma_load *l, const struct ma_object *o)
{
    struct ma_doc_connection d = {0};
    int rc = ma_load_decode(l, o, ma_defaults_connection, &ma_shape_connection, &d);
    if (rc != MA_OK)
        return rc;
    struct ma_state_connection *c = &l->connections[l->snap->pub.n_connections++];
    *c = (struct ma_state_connection){
        .name = d.name,
        .strategy = d.strategy,
        .database = ma_span_eq_str(d.strategy, "auth0"),
        .connected_accounts = d.connected_accounts,
        .all_clients = !d.has_enabled_clients,
        .disable_signup = d.options.disable_signup,
        .enabled_clients = d.enabled_clients,
        .provider = ma_connection_provider(&d),
        .password_policy = d.policy,
        .json = ma_arena_dup(l->a, o->json),
    };
    return c->json.p ? MA_OK : MA_E_NOMEM;
}

size_t ma_load_count(const struct ma_load *l, const char *kind)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += ma_span_eq_str(l->objects[i].kind, kind);
    return n;
}

int ma_load_each(struct ma_load *l, const char *kind, int (*fn)(struct ma_load *, const struct ma_object *))
{
    int rc = MA_OK;
    for (size_t i = 0; rc == MA_OK && i < l->n; i++) {
        if (ma_span_eq_str(l->objects[i].kind, kind))
            rc = fn(l, &l->objects[i]);
    }
    return rc;
}

int ma_load_room(struct ma_load *l, struct ma_index *ix, size_t n, size_t size, void **ret)
{
    *ret = ma_arena_calloc(l->a, n + 1, size);
    return *ret ? ma_index_init(ix, l->a, *ret, size, n) : MA_E_NOMEM;
}

static void index_all(struct ma_index *ix, size_t n)
{
    for (size_t i = 0; i < n; i++)
        (void)ma_index_add(ix, i);
}

static int load_lists(struct ma_load *l)
{
    struct ma_snapshot *s = l->snap;
    void *p = NULL;
    int rc = ma_load_room(l, &s->by_role, ma_load_count(l, "role"), sizeof *l->roles, &p);
    l->roles = p;
    if (rc == MA_OK)
        rc = ma_load_room(l, &s->by_connection, ma_load_count(l, "connection"), sizeof *l->connections, &p);
    l->connections = p;
    if (rc == MA_OK)
        rc = ma_load_room(l, &s->by_client, ma_load_count(l, "client"), sizeof *l->clients, &p);
    l->clients = p;
    if (rc == MA_OK)
        rc = ma_load_each(l, "role", load_role);
    if (rc == MA_OK)
        rc = ma_load_each(l, "connection", load_connection);
    if (rc == MA_OK)
        rc = ma_load_each(l, "client", ma_load_client);
    if (rc != MA_OK)
        return rc;
    index_all(&s->by_role, s->pub.n_roles);
    index_all(&s->by_connection, s->pub.n_connections);
    index_all(&s->by_client, s->pub.n_clients);
    s->pub.roles = l->roles;
    s->pub.connections = l->connections;
    s->pub.clients = l->clients;
    rc = ma_load_client_grants(l);
    if (rc == MA_OK)
        rc = ma_load_organizations(l);
    return rc == MA_OK ? ma_load_rules(l) : rc;
}

/* The union of what the clients lend, each once; patterns also in a list of their own. */
static int collect_origins(struct ma_load *l)
{
    struct ma_snapshot *s = l->snap;
    size_t most = 0;
    for (size_t i = 0; i < s->pub.n_clients; i++)
        most += s->pub.clients[i].origins.n;
    struct ma_span *all = ma_arena_calloc(l->a, most + 1, sizeof *all);
    s->patterns.v = ma_arena_calloc(l->a, most + 1, sizeof *all);
    if (!all || !s->patterns.v || ma_index_init(&s->by_origin, l->a, all, sizeof *all, most) != MA_OK)
        return MA_E_NOMEM;
    s->pub.origins.v = all;
    for (size_t i = 0; i < s->pub.n_clients; i++) {
        for (size_t k = 0; k < s->pub.clients[i].origins.n; k++) {
            all[s->pub.origins.n] = s->pub.clients[i].origins.v[k];
            if (!ma_index_add(&s->by_origin, s->pub.origins.n))
                continue;
            if (ma_origin_is_pattern(all[s->pub.origins.n]))
                s->patterns.v[s->patterns.n++] = all[s->pub.origins.n];
            s->pub.origins.n++;
        }
    }
    return MA_OK;
}

static int fill(struct ma_load *l, const char *default_name)
{
    int rc = load_api(l);
    if (rc == MA_OK)
        rc = load_tenant(l, default_name);
    if (rc == MA_OK)
        rc = load_factors(l);
    if (rc == MA_OK)
        rc = load_lists(l);
    return rc == MA_OK ? collect_origins(l) : rc;
}

static struct ma_snapshot *snapshot_new(void)
{
    /* Counts the loads of this process: epochs of one daemon never repeat. */
    static _Atomic uint64_t epochs;
    struct ma_snapshot *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->arena = ma_arena_new(MA_LOAD_FIRST, MA_STATE_ARENA_MAX);
    if (!s->arena) {
        free(s);
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->pub.epoch = atomic_fetch_add_explicit(&epochs, 1, memory_order_relaxed) + 1;
    return s;
}

int ma_state_load(struct ma_db *db, const struct ma_span *audiences, size_t n, const char *default_name,
                  struct ma_state **ret, char why[256])
{
    struct ma_arena *temp MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_LOAD_FIRST, MA_STATE_ARENA_MAX);
    struct ma_snapshot *snap = temp ? snapshot_new() : NULL;
    *ret = NULL;
    snprintf(why, 256, "%s", ma_err_text(MA_E_NOMEM));
    if (!snap)
        return MA_E_NOMEM;
    struct ma_object *objects = NULL;
    struct ma_load l = {
        .snap = snap, .a = snap->arena, .temp = temp, .audiences = audiences, .n_audiences = n, .why = why};
    int rc = ma_object_list(db, temp, &objects, &l.n);
    l.objects = objects;
    if (rc != MA_OK)
        snprintf(why, 256, "the stored state cannot be read: %s", ma_err_text(rc));
    else
        rc = fill(&l, default_name);
    if (rc != MA_OK) {
        ma_state_unref(&snap->pub);
        return rc;
    }
    why[0] = '\0';
    *ret = &snap->pub;
    return MA_OK;
}

struct ma_state *ma_state_ref(struct ma_state *s)
{
    atomic_fetch_add_explicit(&((struct ma_snapshot *)(void *)s)->refs, 1, memory_order_relaxed);
    return s;
}

void ma_state_unref(struct ma_state *s)
{
    struct ma_snapshot *snap = (struct ma_snapshot *)(void *)s;
    if (!s || atomic_fetch_sub_explicit(&snap->refs, 1, memory_order_acq_rel) != 1)
        return;
    ma_arena_free(snap->arena);
    free(snap);
}
