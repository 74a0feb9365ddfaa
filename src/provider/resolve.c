/* SPDX-License-Identifier: Apache-2.0
 * A connection made ready for use: what it says itself, then its preset, then discovery.
 */
#include "ma/provider.h"
#include "int.h"

#include <strings.h>

/* The connection's own value, else the preset's where that counts. arena or static; NULL: neither. */
static int pick(struct ma_arena *a, struct ma_span own, const char *of_preset, const char **ret)
{
    if (!own.n) {
        *ret = of_preset;
        return MA_OK;
    }
    if (!ma_endpoint_ok(own))
        return MA_E_INVAL;
    *ret = ma_arena_strdup(a, own);
    return *ret ? MA_OK : MA_E_NOMEM;
}

/* The preset's endpoints belong to its issuer: a connection that names another one has none of them. */
static int from_configuration(struct ma_arena *a, const struct ma_state_provider *o, struct ma_provider *p)
{
    static const struct ma_preset nothing = {.name = ""};
    const struct ma_preset *row = o->preset;
    if (o->issuer.n && !ma_span_eq_str(o->issuer, row->issuer))
        row = &nothing;
    p->issuer = o->issuer.n ? ma_arena_strdup(a, o->issuer) : row->issuer;
    if (o->issuer.n && !p->issuer)
        return MA_E_NOMEM;
    int r = pick(a, o->authorization_endpoint, row->authorization_endpoint, &p->authorization_endpoint);
    if (r == MA_OK)
        r = pick(a, o->token_endpoint, row->token_endpoint, &p->token_endpoint);
    if (r == MA_OK)
        r = pick(a, o->jwks_uri, row->jwks_uri, &p->jwks_uri);
    if (r == MA_OK)
        r = pick(a, o->userinfo_endpoint, row->userinfo_endpoint, &p->userinfo_endpoint);
    if (r == MA_OK)
        r = pick(a, o->revocation_endpoint, row->revocation_endpoint, &p->revocation_endpoint);
    return r;
}

/* The name of something the provider cannot do without and that is not known; NULL: nothing. */
static const char *missing(const struct ma_provider *p)
{
    const struct ma_preset *row = p->connection->provider.preset;
    if (!p->authorization_endpoint)
        return "authorization_endpoint";
    if (!p->token_endpoint)
        return "token_endpoint";
    if (row->oidc && !p->jwks_uri)
        return "jwks_uri";
    if (!row->oidc && !row->token_member && !p->userinfo_endpoint)
        return "userinfo_endpoint";
    return NULL;
}

static int add(struct ma_arena *a, const char **field, const char *found)
{
    if (*field || !found)
        return MA_OK;
    *field = ma_arena_strdup(a, ma_span_str(found));
    return *field ? MA_OK : MA_E_NOMEM;
}

static bool is_loopback(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        size_t n = strlen(names[i]);
        if (strncasecmp(host, names[i], n) == 0 && (host[n] == '\0' || strchr(":/?", host[n])))
            return true;
    }
    return false;
}

/* The browser goes there, so that no policy of the daemon's own calls looks at it (RFC 9700 §2.6: https). */
static bool browser_may_go(const struct ma_provider_env *env, const char *url)
{
    return !url || strncasecmp(url, "https://", 8) == 0 ||
           (env->policy.allow_http_loopback && strncasecmp(url, "http://", 7) == 0 && is_loopback(url + 7));
}

static int from_discovery(const struct ma_provider_env *env, struct ma_provider *p, struct ma_provider_fault *fault)
{
    MA_CLEANUP(ma_discovered_unref_p) struct ma_discovered *d = NULL;
    struct ma_arena *a = env->arena;
    int r = ma_discover(env, p->issuer, !p->connection->provider.preset->oidc, &d, fault);
    if (r < 0)
        return r;
    if (!p->authorization_endpoint && !browser_may_go(env, d->authorization_endpoint))
        return ma_provider_fail(fault, MA_E_UPSTREAM, "discovery: the authorization_endpoint is not https");
    p->iss_expected = d->iss_supported;
    r = add(a, &p->authorization_endpoint, d->authorization_endpoint);
    if (r == MA_OK)
        r = add(a, &p->token_endpoint, d->token_endpoint);
    if (r == MA_OK)
        r = add(a, &p->jwks_uri, d->jwks_uri);
    if (r == MA_OK)
        r = add(a, &p->userinfo_endpoint, d->userinfo_endpoint);
    if (r == MA_OK)
        r = add(a, &p->revocation_endpoint, d->revocation_endpoint);
    return r;
}

int ma_provider_resolve(const struct ma_provider_env *env, const struct ma_state_connection *c, struct ma_span secret,
                        struct ma_provider *ret, struct ma_provider_fault *fault)
{
    *fault = (struct ma_provider_fault){.error = ""};
    *ret = (struct ma_provider){.connection = c, .client_secret = secret};
    if (!c->provider.preset || !c->provider.client_id.n)
        return ma_provider_fail(fault, MA_E_INVAL, "the connection has no client at an identity provider");
    int r = from_configuration(env->arena, &c->provider, ret);
    if (r == MA_E_INVAL)
        return ma_provider_fail(fault, r, "an endpoint of the connection is not a usable URL");
    if (r < 0)
        return r;
    if (c->provider.preset->oidc && !ret->issuer)
        return ma_provider_fail(fault, MA_E_INVAL, "the connection has no issuer");
    bool wanted = c->provider.revoke_on_delete && !ret->revocation_endpoint;
    /* "{tenantid}" stands for a value that only a token brings: there is no document at such an address. */
    if ((missing(ret) || wanted) && ret->issuer && !strchr(ret->issuer, '{'))
        r = from_discovery(env, ret, fault);
    if (r == MA_E_NOMEM || (r < 0 && missing(ret)))
        return r;
    if (missing(ret))
        return ma_provider_fail(fault, MA_E_INVAL, "neither the connection nor its issuer has a %s", missing(ret));
    fault->why[0] = '\0';
    return MA_OK;
}
