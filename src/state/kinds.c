/* SPDX-License-Identifier: Apache-2.0
 * The kinds of elements a state document has: their keys, secrets, and rules beyond their shapes.
 */
#include "ma/state.h"

#include <stdlib.h>

#include "int.h"

/* --- keys --- */
static struct ma_span key_role(struct ma_arena *a, const union ma_doc_any *d)
{
    return ma_arena_dup(a, d->role.name);
}

static struct ma_span key_connection(struct ma_arena *a, const union ma_doc_any *d)
{
    return ma_arena_dup(a, d->connection.name);
}

static struct ma_span key_client(struct ma_arena *a, const union ma_doc_any *d)
{
    return ma_arena_dup(a, d->client.client_id);
}

static struct ma_span key_organization(struct ma_arena *a, const union ma_doc_any *d)
{
    return ma_arena_dup(a, d->organization.id);
}

static struct ma_span key_grant(struct ma_arena *a, const union ma_doc_any *d)
{
    const struct ma_doc_grant *g = &d->grant;
    return ma_span_str(ma_arena_printf(a, "%.*s|%.*s|%s", (int)g->client_id.n, (const char *)g->client_id.p,
                                       (int)g->audience.n, (const char *)g->audience.p,
                                       g->subject_type == 0 ? "user" : "client"));
}

static int compare_spans(const void *a, const void *b)
{
    const struct ma_span *x = a, *y = b;
    return ma_span_compare(*x, *y);
}

/* client_id|scopes sorted and joined by blanks: the order they are written in does not matter. */
static struct ma_span key_policy(struct ma_arena *a, const union ma_doc_any *d)
{
    const struct ma_doc_policy *p = &d->policy;
    struct ma_span *sorted = ma_arena_calloc(a, p->scope.n + 1, sizeof *sorted);
    struct ma_buf b;
    ma_buf_init_arena(&b, a, 256, MA_STATE_SCRATCH_MAX);
    if (!sorted)
        return MA_SPAN_NULL;
    for (size_t i = 0; i < p->scope.n; i++)
        sorted[i] = p->scope.v[i];
    qsort(sorted, p->scope.n, sizeof *sorted, compare_spans);
    ma_buf_span(&b, p->client_id);
    for (size_t i = 0; i < p->scope.n; i++) {
        ma_buf_byte(&b, i == 0 ? '|' : ' ');
        ma_buf_span(&b, sorted[i]);
    }
    return ma_buf_err(&b) ? MA_SPAN_NULL : ma_buf_view(&b);
}

/* --- secrets --- */
static struct ma_span secret_client(const union ma_doc_any *d)
{
    return d->client.client_secret;
}

static struct ma_span secret_connection(const union ma_doc_any *d)
{
    return d->connection.options.client_secret;
}

/* --- rules --- */
void ma_check_scopes(struct ma_apply *ap, const struct ma_span_list *list, const char *pointer, const char *name)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!ma_fmt_scope(list->v[i]))
            ma_apply_error_item(ap, pointer, name, i, "must be a scope token");
    }
}

static void check_role(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *d, const char *pointer)
{
    (void)e;
    ma_check_scopes(ap, &d->role.permissions, pointer, "permissions");
}

void ma_check_uris(struct ma_apply *ap, const struct ma_span_list *list, const char *pointer, const char *name)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!ma_fmt_uri(list->v[i]))
            ma_apply_error_item(ap, pointer, name, i, "must match format \"uri\"");
    }
}

static void check_tenant(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *d, const char *pointer)
{
    static const char hours[] = "must be a number of hours, at most 8760";
    (void)e;
    ma_check_uris(ap, &d->tenant.allowed_logout_urls, pointer, "allowed_logout_urls");
    if (ma_fmt_hours(d->tenant.session_lifetime) == 0)
        ma_apply_error(ap, pointer, "/session_lifetime", hours);
    if (ma_fmt_hours(d->tenant.idle_session_lifetime) == 0)
        ma_apply_error(ap, pointer, "/idle_session_lifetime", hours);
}

void ma_check_client_exists(struct ma_apply *ap, struct ma_span client_id, const char *pointer)
{
    if (!ma_apply_find(ap, MA_KIND_CLIENT, client_id))
        ma_apply_error(ap, pointer, "/client_id", "must be the client_id of a client");
}

static void check_grant(struct ma_apply *ap, struct ma_elem *e, const union ma_doc_any *d, const char *pointer)
{
    (void)e;
    ma_check_client_exists(ap, d->grant.client_id, pointer);
    ma_check_scopes(ap, &d->grant.scope, pointer, "scope");
}

/* Later kinds refer to earlier ones: a grant's client is planned before the grant is looked at. */
const struct ma_kind ma_kinds[MA_KIND__COUNT] = {
    [MA_KIND_API] = {"api", "api", &ma_shape_api, .defaults = ma_defaults_api},
    [MA_KIND_TENANT] = {"tenant", "tenant", &ma_shape_tenant, .defaults = ma_defaults_tenant, .check = check_tenant},
    [MA_KIND_FACTORS] = {"factors", "factors", &ma_shape_factors, .defaults = ma_defaults_factors},
    [MA_KIND_ROLE] = {"role", "roles", &ma_shape_role, .key = key_role, .check = check_role},
    [MA_KIND_CONNECTION] = {"connection", "connections", &ma_shape_connection, .defaults = ma_defaults_connection,
                            .secret_path = {"options", "client_secret"}, .key = key_connection,
                            .secret = secret_connection, .check = ma_connection_check},
    [MA_KIND_CLIENT] = {"client", "clients", &ma_shape_client, .defaults = ma_defaults_client,
                        .secret_path = {"client_secret"}, .key = key_client, .secret = secret_client,
                        .check = ma_client_check},
    [MA_KIND_GRANT] = {"client_grant", "client_grants", &ma_shape_grant, .key = key_grant, .check = check_grant},
    [MA_KIND_ORGANIZATION] = {"organization", "organizations", &ma_shape_organization, .key = key_organization},
    [MA_KIND_POLICY] = {"policy", "policies", &ma_shape_policy, .key = key_policy, .check = ma_rule_check},
};
