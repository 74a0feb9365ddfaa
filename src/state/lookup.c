/* SPDX-License-Identifier: Apache-2.0
 * Finding things in a snapshot: hash lookups by name, and whose origin an origin is.
 */
#include "ma/state.h"

#include <stdlib.h>

#include "int.h"

/* FNV-1a: keys come from the operator's document, never from strangers, so it need not be keyed. */
static uint64_t hash_of(struct ma_span s)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ s.p[i]) * 1099511628211u;
    return h ^ (h >> 32);
}

static void lower_into(uint8_t *to, struct ma_span s)
{
    for (size_t i = 0; i < s.n; i++)
        to[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (uint8_t)(s.p[i] + ('a' - 'A')) : s.p[i];
}

int ma_span_compare(struct ma_span a, struct ma_span b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

struct ma_span ma_lower(struct ma_arena *a, struct ma_span s)
{
    uint8_t *p = ma_arena_alloc(a, s.n + 1);
    if (p)
        lower_into(p, s);
    return ma_span_of(p, p ? s.n : 0);
}

int ma_index_init(struct ma_index *ix, struct ma_arena *a, const void *base, size_t stride, size_t n)
{
    size_t cap = 8;
    while (cap < n * 2)
        cap *= 2;
    ix->slots = n < UINT32_MAX / 4 ? ma_arena_calloc(a, cap, sizeof *ix->slots) : NULL;
    ix->mask = cap - 1;
    ix->base = base;
    ix->stride = stride;
    return ix->slots ? MA_OK : MA_E_NOMEM;
}

static struct ma_span key_at(const struct ma_index *ix, size_t i)
{
    return *(const struct ma_span *)(const void *)((const char *)ix->base + i * ix->stride);
}

/* The slot that holds the key, or the free one where it belongs. Load stays ≤ 1/2, so one is free. */
static size_t slot_of(const struct ma_index *ix, struct ma_span key)
{
    size_t s = (size_t)hash_of(key) & ix->mask;
    while (ix->slots[s] != 0 && !ma_span_eq(key_at(ix, ix->slots[s] - 1), key))
        s = (s + 1) & ix->mask;
    return s;
}

size_t ma_index_find(const struct ma_index *ix, struct ma_span key)
{
    uint32_t v = ix->slots[slot_of(ix, key)];
    return v == 0 ? SIZE_MAX : (size_t)v - 1;
}

bool ma_index_add(struct ma_index *ix, size_t i)
{
    size_t s = slot_of(ix, key_at(ix, i));
    if (ix->slots[s] != 0)
        return false;
    ix->slots[s] = (uint32_t)(i + 1);
    return true;
}

const struct ma_state_client *ma_state_client(const struct ma_state *s, struct ma_span client_id)
{
    size_t i = ma_index_find(&ma_snapshot(s)->by_client, client_id);
    return i == SIZE_MAX ? NULL : &s->clients[i];
}

const struct ma_state_connection *ma_state_connection(const struct ma_state *s, struct ma_span name)
{
    size_t i = ma_index_find(&ma_snapshot(s)->by_connection, name);
    return i == SIZE_MAX ? NULL : &s->connections[i];
}

const struct ma_state_role *ma_state_role(const struct ma_state *s, struct ma_span name)
{
    size_t i = ma_index_find(&ma_snapshot(s)->by_role, name);
    return i == SIZE_MAX ? NULL : &s->roles[i];
}

bool ma_state_connectable(const struct ma_state_connection *c, struct ma_span client_id)
{
    return !c->database && c->connected_accounts && c->provider.preset && ma_state_enabled_for(c, client_id);
}

bool ma_state_enabled_for(const struct ma_state_connection *c, struct ma_span client_id)
{
    return c->all_clients || ma_span_list_has(&c->enabled_clients, client_id);
}

const struct ma_state_organization *ma_state_organization(const struct ma_state *s, struct ma_span id_or_name)
{
    const struct ma_snapshot *snap = ma_snapshot(s);
    uint8_t lower[MA_ID_MAX];
    size_t i = ma_index_find(&snap->by_organization, id_or_name);
    if (i != SIZE_MAX)
        return &s->organizations[i];
    if (id_or_name.n > sizeof lower)
        return NULL;
    lower_into(lower, id_or_name);
    i = ma_index_find(&snap->by_organization_name, ma_span_of(lower, id_or_name.n));
    return i == SIZE_MAX ? NULL : &s->organizations[i];
}

bool ma_state_is_member(const struct ma_state_organization *o, struct ma_span user_id)
{
    return ma_index_find(o->members, user_id) != SIZE_MAX;
}

static int compare_audience(const void *key, const void *item)
{
    const struct ma_span *audience = key;
    const struct ma_state_audience *grant = item;
    return ma_span_compare(*audience, grant->audience);
}

const struct ma_state_audience *ma_state_grant(const struct ma_state_client *c, struct ma_span audience)
{
    return c->n_grants ? bsearch(&audience, c->grants, c->n_grants, sizeof *c->grants, compare_audience) : NULL;
}

#define PASSWORD "password"
#define PASSWORD_REALM "http://auth0.com/oauth/grant-type/password-realm"
#define WEBAUTHN "urn:okta:params:oauth:grant-type:webauthn"

static bool lists(const struct ma_state_client *c, const char *grant_type)
{
    for (size_t i = 0; i < c->grant_types.n; i++) {
        if (ma_span_eq_str(c->grant_types.v[i], grant_type))
            return true;
    }
    return false;
}

static bool is_one_of(const char *grant_type, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(grant_type, names[i]) == 0)
            return true;
    }
    return false;
}

static bool may_start(const struct ma_state_client *c, const char *grant_type)
{
    static const char *const usual[] = {"authorization_code", "refresh_token"};
    static const char *const password[] = {PASSWORD, PASSWORD_REALM};
    if (!c->grant_types.v)
        return c->app_type <= MA_APP_REGULAR_WEB && is_one_of(grant_type, usual, MA_COUNT(usual));
    if (is_one_of(grant_type, password, MA_COUNT(password)))
        return lists(c, PASSWORD) || lists(c, PASSWORD_REALM);
    return lists(c, grant_type);
}

bool ma_state_client_may(const struct ma_state_client *c, const char *grant_type)
{
    static const char *const mfa[] = {"http://auth0.com/oauth/grant-type/mfa-otp",
                                      "http://auth0.com/oauth/grant-type/mfa-oob",
                                      "http://auth0.com/oauth/grant-type/mfa-recovery-code"};
    static const char *const before_mfa[] = {PASSWORD, WEBAUTHN, "authorization_code", "refresh_token"};
    if (may_start(c, grant_type))
        return true;
    if (!is_one_of(grant_type, mfa, MA_COUNT(mfa)))
        return false;
    for (size_t i = 0; i < MA_COUNT(before_mfa); i++) {
        if (may_start(c, before_mfa[i]))
            return true;
    }
    return false;
}

/* The origin as browsers send it, in our spelling; patterns are not origins. */
static bool normal_origin(struct ma_span origin, char out[MA_ORIGIN_MAX])
{
    return ma_origin_of(origin, true, out) == MA_OK && !ma_origin_is_pattern(ma_span_str(out));
}

bool ma_state_client_origin(const struct ma_state_client *c, struct ma_span origin)
{
    char text[MA_ORIGIN_MAX];
    if (!normal_origin(origin, text))
        return false;
    for (size_t i = 0; i < c->origins.n; i++) {
        if (ma_origin_matches(c->origins.v[i], ma_span_str(text)))
            return true;
    }
    return false;
}

bool ma_state_any_origin(const struct ma_state *s, struct ma_span origin)
{
    const struct ma_snapshot *snap = ma_snapshot(s);
    char text[MA_ORIGIN_MAX];
    if (!normal_origin(origin, text))
        return false;
    if (ma_index_find(&snap->by_origin, ma_span_str(text)) != SIZE_MAX)
        return true;
    for (size_t i = 0; i < snap->patterns.n; i++) {
        if (ma_origin_matches(snap->patterns.v[i], ma_span_str(text)))
            return true;
    }
    return false;
}
