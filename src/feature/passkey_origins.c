/* SPDX-License-Identifier: Apache-2.0
 * Origins of WebAuthn ceremonies and the apps that clients name.
 */
#include "ma/passkey_origins.h"

#include "ma/codec.h"
#include "ma/crypto.h"

enum { FIXED_MAX = 4 };

struct ma_span ma_origin_host(struct ma_span origin)
{
    const uint8_t *sep = origin.n ? memmem(origin.p, origin.n, "://", 3) : NULL;
    if (!sep)
        return MA_SPAN_NULL;
    struct ma_span host = ma_span_of(sep + 3, (size_t)(origin.p + origin.n - sep - 3));
    const uint8_t *end = host.n && host.p[0] == '[' ? memchr(host.p, ']', host.n) : NULL;
    if (end)
        return ma_span_of(host.p, (size_t)(end - host.p) + 1);
    const uint8_t *colon = host.n ? memchr(host.p, ':', host.n) : NULL;
    return colon ? ma_span_of(host.p, (size_t)(colon - host.p)) : host;
}

bool ma_host_under(struct ma_span host, struct ma_span rp_id)
{
    if (ma_span_eq(host, rp_id))
        return true;
    return host.n > rp_id.n + 1 && host.p[host.n - rp_id.n - 1] == '.' &&
           ma_span_eq(ma_span_of(host.p + host.n - rp_id.n, rp_id.n), rp_id);
}

/* --- apps --- */

struct ios {
    struct ma_span team_id, bundle;
};
struct android {
    struct ma_span package;
    struct ma_span_list fingerprints;
};
struct mobile {
    struct ios ios;
    struct android android;
};
struct client_json {
    struct mobile mobile;
};

static const struct ma_jfield f_ios[] = {
    {.name = "team_id", .type = MA_F_STR, .off = offsetof(struct ios, team_id), .max = 64},
    {.name = "app_bundle_identifier", .type = MA_F_STR, .off = offsetof(struct ios, bundle), .max = 255}};
static const struct ma_shape ios_shape = MA_SHAPE_OPEN(struct ios, f_ios);
static const struct ma_jfield f_android[] = {
    {.name = "app_package_name", .type = MA_F_STR, .off = offsetof(struct android, package), .max = 255},
    {.name = "sha256_cert_fingerprints",
     .type = MA_F_STRLIST,
     .off = offsetof(struct android, fingerprints),
     .max = 128,
     .max_items = 20}};
static const struct ma_shape android_shape = MA_SHAPE_OPEN(struct android, f_android);
static const struct ma_jfield f_mobile[] = {
    {.name = "ios", .type = MA_F_OBJ, .off = offsetof(struct mobile, ios), .sub = &ios_shape},
    {.name = "android", .type = MA_F_OBJ, .off = offsetof(struct mobile, android), .sub = &android_shape}};
static const struct ma_shape mobile_shape = MA_SHAPE_OPEN(struct mobile, f_mobile);
static const struct ma_jfield f_client[] = {
    {.name = "mobile", .type = MA_F_OBJ, .off = offsetof(struct client_json, mobile), .sub = &mobile_shape}};
static const struct ma_shape client_shape = MA_SHAPE_OPEN(struct client_json, f_client);

bool ma_client_mobile(struct ma_arena *a, const struct ma_state_client *c, struct ma_mobile *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct client_json out = {0};
    struct ma_verrs errs = {.arena = a};
    *ret = (struct ma_mobile){0};
    if (!c->is_first_party) /* an app of others is none of this host's */
        return false;
    if (!memmem(c->json.p, c->json.n, "\"mobile\"", 8) || ma_json_parse(c->json, &j) < 0 ||
        ma_json_decode(j, a, &client_shape, &out, &errs) < 0)
        return false;
    *ret = (struct ma_mobile){out.mobile.ios.team_id, out.mobile.ios.bundle, out.mobile.android.package,
                              out.mobile.android.fingerprints};
    return (ret->team_id.n && ret->bundle.n) || (ret->package.n && ret->fingerprints.n);
}

/* "14:6D:E9:…" (how the app store shows it) to the origin that Android's WebAuthn client reports. */
static const char *apk_origin(struct ma_arena *a, struct ma_span fingerprint)
{
    char hex[2 * MA_SHA256_LEN];
    uint8_t hash[MA_SHA256_LEN];
    char text[MA_B64URL_LEN(MA_SHA256_LEN) + 1];
    size_t n = 0, got = 0;
    for (size_t i = 0; i < fingerprint.n; i++) {
        uint8_t c = fingerprint.p[i];
        if (c == ':')
            continue;
        if (n == sizeof hex)
            return NULL;
        hex[n++] = (char)(c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c);
    }
    if (ma_hex_decode(ma_span_of(hex, n), hash, sizeof hash, &got) < 0 || got != sizeof hash)
        return NULL;
    ma_b64url_encode(ma_span_of(hash, sizeof hash), text);
    return ma_arena_printf(a, "android:apk-key-hash:%s", text);
}

/* --- the list --- */

struct client_data {
    struct ma_span origin;
};

/* Read ahead of the verifier, which judges the client data as a whole: only to ask the client about this one origin. */
static struct ma_span named_origin(struct ma_arena *a, struct ma_span client_data_json)
{
    static const struct ma_jfield fields[] = {
        {.name = "origin", .type = MA_F_STR, .off = offsetof(struct client_data, origin), .max = 1024}};
    static const struct ma_shape shape = MA_SHAPE_OPEN(struct client_data, fields);
    static const uint8_t bom[3] = {0xef, 0xbb, 0xbf}; /* the verifier strips it as well (§7.1 step 5) */
    if (client_data_json.n >= sizeof bom && memcmp(client_data_json.p, bom, sizeof bom) == 0)
        client_data_json = ma_span_of(client_data_json.p + sizeof bom, client_data_json.n - sizeof bom);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct client_data out = {MA_SPAN_NULL};
    struct ma_verrs errs = {.arena = a};
    if (ma_json_parse(client_data_json, &j) < 0 || ma_json_decode(j, a, &shape, &out, &errs) < 0)
        return MA_SPAN_NULL;
    return out.origin;
}

static void add(const char **list, size_t *n, const char *origin)
{
    if (origin)
        list[(*n)++] = origin;
}

/* A secure context: https, or plain http to the browser's own machine. */
static bool is_secure(struct ma_span origin, struct ma_span host)
{
    static const char https[] = "https://";
    return (origin.n > sizeof https - 1 && memcmp(origin.p, https, sizeof https - 1) == 0) ||
           ma_host_under(host, MA_LIT("localhost")) || ma_span_eq_str(host, "127.0.0.1") ||
           ma_span_eq_str(host, "[::1]");
}

static void add_client(struct ma_ctx *ctx, struct ma_span rp_id, struct ma_span named, const char **list, size_t *n,
                       size_t cap)
{
    const struct ma_state_client *c = ma_state_client(ctx->state, ctx->who.client_id);
    struct ma_mobile m;
    if (!c)
        return;
    struct ma_span host = ma_origin_host(named);
    if (named.p && is_secure(named, host) && ma_host_under(host, rp_id) && ma_state_client_origin(c, named))
        add(list, n, (const char *)named.p);
    if (ma_client_mobile(ctx->arena, c, &m))
        for (size_t i = 0; i < m.fingerprints.n && *n < cap; i++)
            add(list, n, apk_origin(ctx->arena, m.fingerprints.v[i]));
}

int ma_passkey_origins(struct ma_ctx *ctx, struct ma_span rp_id, struct ma_span client_data_json,
                       const char *const **ret, size_t *ret_n)
{
    enum { APPS_MAX = 20 };
    const struct ma_conf *conf = ctx->conf;
    size_t n = 0, cap = FIXED_MAX + conf->custom_domains.n + conf->webauthn.origins.n + APPS_MAX;
    const char **list = ma_arena_calloc(ctx->arena, cap, sizeof *list);
    if (!list)
        return MA_E_NOMEM;
    add(list, &n, conf->base_url);
    /* Apps of Apple's systems report the relying party itself. */
    add(list, &n, ma_arena_printf(ctx->arena, "https://%.*s", (int)rp_id.n, (const char *)rp_id.p));
    for (size_t i = 0; i < conf->custom_domains.n; i++)
        add(list, &n, conf->custom_domains.v[i]);
    for (size_t i = 0; i < conf->webauthn.origins.n; i++)
        add(list, &n, conf->webauthn.origins.v[i]);
    add_client(ctx, rp_id, named_origin(ctx->arena, client_data_json), list, &n, cap);
    *ret = list;
    *ret_n = n;
    return MA_OK;
}
