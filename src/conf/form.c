/* SPDX-License-Identifier: Apache-2.0
 * What single values must look like. A form may bring a value to its canonical spelling in place.
 */
#include "int.h"
#include "ma/codec.h"
#include "ma/netaddr.h"
#include <stdlib.h>

#define PORT_MAX 65535
#define UNIX_PATH_MAX 107 /* sun_path without its NUL */
#define HOST_MAX 253

typedef const char *form_fn(char *value);

static bool starts(const char *value, const char *prefix)
{
    return strncmp(value, prefix, strlen(prefix)) == 0;
}

/* --- parts of URLs --- */

static bool is_digits(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < '0' || p[i] > '9')
            return false;
    return n > 0;
}

/* A decimal port without leading zeros, min to 65535. */
static bool is_port(const char *p, size_t n, long min)
{
    if (!is_digits(p, n) || n > 5 || (n > 1 && p[0] == '0'))
        return false;
    long port = strtol(p, NULL, 10);
    return port >= min && port <= PORT_MAX;
}

static bool is_name(const char *p, size_t n)
{
    if (n == 0 || n > HOST_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        bool inner = i > 0 && i + 1 < n;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
              (inner && (c == '-' || (c == '.' && p[i - 1] != '.')))))
            return false;
    }
    return true;
}

/* What looks like an IPv4 address must be one: the last label of a name is never all digits. */
static bool is_name_or_v4(const char *p, size_t n)
{
    size_t last = n;
    while (last > 0 && p[last - 1] != '.')
        last--;
    struct ma_addr addr;
    if (is_digits(p + last, n - last))
        return ma_addr_parse(ma_span_of(p, n), &addr) == MA_OK;
    return is_name(p, n);
}

struct authority {
    const char *host; /* with brackets */
    size_t host_n;
    const char *port; /* NULL: none */
    size_t port_n;
};

/* Splits "host", "host:port", "[v6]:port" of n bytes; ports from min_port. */
static bool parse_authority(const char *p, size_t n, long min_port, struct authority *ret)
{
    const char *end = p + n;
    const char *after;
    if (n > 0 && *p == '[') {
        struct ma_addr addr;
        const char *close = memchr(p, ']', n);
        if (!close || !memchr(p, ':', (size_t)(close - p)) ||
            ma_addr_parse(ma_span_of(p + 1, (size_t)(close - p) - 1), &addr) != MA_OK)
            return false;
        after = close + 1;
    } else {
        const char *colon = memchr(p, ':', n);
        after = colon ? colon : end;
        if (!is_name_or_v4(p, (size_t)(after - p)))
            return false;
    }
    *ret = (struct authority){p, (size_t)(after - p), NULL, 0};
    if (after == end)
        return true;
    ret->port = after + 1;
    ret->port_n = (size_t)(end - ret->port);
    return *after == ':' && is_port(ret->port, ret->port_n, min_port);
}

static bool host_is(const struct authority *a, const char *name)
{
    return strlen(name) == a->host_n && strncasecmp(a->host, name, a->host_n) == 0;
}

static bool is_loopback(const struct authority *a)
{
    struct ma_addr addr;
    if (host_is(a, "localhost"))
        return true;
    return ma_addr_parse(ma_span_of(a->host, a->host_n), &addr) == MA_OK && ma_addr_is_loopback(&addr);
}

/* https://authority[/…], or http:// where the host is loopback; no user, no fragment, printable ASCII. */
static bool is_url(const char *value)
{
    bool tls = starts(value, "https://");
    if (!tls && !starts(value, "http://"))
        return false;
    for (const char *p = value; *p; p++)
        if (*p <= 0x20 || *p > 0x7e || strchr("#\"<>\\^`{|}", *p))
            return false;
    const char *p = value + (tls ? 8 : 7);
    struct authority a;
    return parse_authority(p, strcspn(p, "/?"), 1, &a) && (tls || is_loopback(&a));
}

/* --- forms --- */

static const char *form_any(char *value)
{
    (void)value;
    return NULL;
}

static void lower(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] >= 'A' && p[i] <= 'Z')
            p[i] = (char)(p[i] + ('a' - 'A'));
}

/* The ASCII serialisation of an origin (RFC 6454 section 6.2): lower case, no default port, no path. */
static const char *form_origin(char *value)
{
    static const char *const text = "must be an origin: https://host[:port], or http://localhost[:port], "
                                    "http://127.0.0.1[:port], http://[::1][:port], without a path";
    bool tls = starts(value, "https://");
    if (!tls && !starts(value, "http://"))
        return text;
    char *p = value + (tls ? 8 : 7);
    size_t n = strlen(p);
    if (n > 0 && p[n - 1] == '/')
        p[--n] = '\0';
    struct authority a;
    if (!parse_authority(p, n, 1, &a))
        return text;
    if (!tls && !host_is(&a, "localhost") && !host_is(&a, "127.0.0.1") && !host_is(&a, "[::1]"))
        return text;
    lower(p, n);
    if (a.port && strcmp(a.port, tls ? "443" : "80") == 0)
        p[a.host_n] = '\0';
    return NULL;
}

/* Android apps sign in with the hash of their certificate as origin. */
static const char *form_webauthn_origin(char *value)
{
    static const char android[] = "android:apk-key-hash:";
    if (!starts(value, android))
        return form_origin(value);
    uint8_t hash[64];
    size_t n = 0;
    int rc = strlen(value) < sizeof hash + sizeof android
                 ? ma_b64url_decode(ma_span_str(value + sizeof android - 1), hash, sizeof hash, &n)
                 : MA_E_RANGE;
    return rc == MA_OK && n >= 20 ? NULL : "must be an origin, or android:apk-key-hash: and a base64url hash";
}

/* Port 0 lets the system choose. */
static const char *form_listen(char *value)
{
    if (starts(value, "unix:")) {
        size_t n = strlen(value + 5);
        return n > 0 && n <= UNIX_PATH_MAX ? NULL : "must name a socket of at most 107 bytes after unix:";
    }
    struct authority a;
    bool ok = parse_authority(value, strlen(value), 0, &a) && a.port;
    return ok ? NULL : "must be host:port, [v6]:port, or unix:/path";
}

static const char *form_listen_or_none(char *value)
{
    return *value ? form_listen(value) : NULL;
}

static const char *form_path(char *value)
{
    return *value ? NULL : "must not be empty";
}

static const char *form_cidr(char *value)
{
    struct ma_cidr cidr;
    return ma_cidr_parse(ma_span_str(value), &cidr) == MA_OK ? NULL
                                                             : "must hold addresses or networks, like 10.0.0.0/8";
}

static const char *form_log_level(char *value)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    for (size_t i = 0; i < MA_COUNT(levels); i++)
        if (strcmp(value, levels[i]) == 0)
            return NULL;
    return "must be error, warn, info or debug";
}

static const char *form_log_format(char *value)
{
    return strcmp(value, "auto") == 0 || strcmp(value, "json") == 0 || strcmp(value, "text") == 0
               ? NULL
               : "must be auto, json or text";
}

static const char *form_seccomp(char *value)
{
    return strcmp(value, "auto") == 0 || strcmp(value, "require") == 0 || strcmp(value, "off") == 0
               ? NULL
               : "must be auto, require or off";
}

static const char *form_jwks(char *value)
{
    if (*value == '\0' || starts(value, "file:/") || is_url(value))
        return NULL;
    return "must be https://..., http://... on a loopback host, or file:/path";
}

static bool is_spool(const char *value)
{
    return starts(value, "spool:") && value[6] != '\0';
}

static const char *form_mail(char *value)
{
    static const char *const text = "must be smtp://[user@]host[:port], smtps://[user@]host[:port], or spool:/dir";
    if (*value == '\0' || is_spool(value))
        return NULL;
    if (!starts(value, "smtp://") && !starts(value, "smtps://"))
        return text;
    const char *p = strstr(value, "://") + 3;
    const char *user_end = strrchr(p, '@');
    if (user_end && memchr(p, ':', (size_t)(user_end - p)))
        return "must not hold a password; email_password names where it is";
    if (user_end == p)
        return text;
    p = user_end ? user_end + 1 : p;
    struct authority a;
    return parse_authority(p, strlen(p), 1, &a) ? NULL : text;
}

static const char *form_gateway(char *value)
{
    if (*value == '\0' || is_spool(value) || is_url(value))
        return NULL;
    return "must be https://..., http://... on a loopback host, or spool:/dir";
}

static const char *form_webhook(char *value)
{
    return *value == '\0' || is_url(value) ? NULL : "must be https://..., or http://... on a loopback host";
}

static const char *form_endpoint(char *value)
{
    return is_url(value) && !strchr(value, '?') ? NULL : "must be https://..., or http://... on a loopback host";
}

/* Key and team ids of Apple developer accounts. */
static const char *form_apple_id(char *value)
{
    size_t n = 0;
    while ((value[n] >= 'A' && value[n] <= 'Z') || (value[n] >= '0' && value[n] <= '9'))
        n++;
    return value[n] == '\0' && (n == 0 || n == 10) ? NULL : "must be ten characters of A-Z and 0-9";
}

/* A bundle id. */
static const char *form_topic(char *value)
{
    for (const char *p = value; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-._", *p)))
            return "must be a bundle id, like com.example.guardian";
    return strlen(value) <= 255 ? NULL : "must be at most 255 characters";
}

static const char *form_alert(char *value)
{
    return ma_utf8_valid(ma_span_str(value)) && *value && strlen(value) <= 500 ? NULL
                                                                               : "must be UTF-8 of 1 to 500 bytes";
}

static bool is_credential(const char *name)
{
    for (const char *p = name; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("_.-", *p)))
            return false;
    return *name != '\0' && *name != '.';
}

static const char *form_secret(char *value)
{
    if (*value == '\0' || (starts(value, "file:/") && value[6] != '\0') ||
        (starts(value, "cred:") && is_credential(value + 5)))
        return NULL;
    return "must be a secret reference: file:/path or cred:name";
}

static const char *form_certificate(char *value)
{
    return value[0] == '/' || !form_secret(value) ? NULL : "must be /path, file:/path or cred:name";
}

static const char *form_tls_version(char *value)
{
    return strcmp(value, "1.2") == 0 || strcmp(value, "1.3") == 0 ? NULL : "must be 1.2 or 1.3";
}

static const char *form_address(char *value)
{
    const char *sign = strchr(value, '@');
    bool ok = sign && sign != value && !strchr(sign + 1, '@') && !strpbrk(value, " \t<>,;:\"\\") &&
              is_name_or_v4(sign + 1, strlen(sign + 1));
    return ok ? NULL : "must be an e-mail address";
}

/* A field name: token of RFC 9110 section 5.6.2. */
static const char *form_header(char *value)
{
    for (const char *p = value; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr("!#$%&'*+-.^_`|~", *p)))
            return "must hold names of header fields";
    return *value ? NULL : "must hold names of header fields";
}

static const char *form_matching(char *value)
{
    return strcmp(value, "off") == 0 || strcmp(value, "supported") == 0 || strcmp(value, "required") == 0
               ? NULL
               : "must be off, supported or required";
}

const char *ma_conf_form(enum conf_form form, char *value)
{
    static form_fn *const forms[FORM__COUNT] = {
        [FORM_ANY] = form_any,
        [FORM_ORIGIN] = form_origin,
        [FORM_WEBAUTHN_ORIGIN] = form_webauthn_origin,
        [FORM_LISTEN] = form_listen,
        [FORM_LISTEN_OR_NONE] = form_listen_or_none,
        [FORM_PATH] = form_path,
        [FORM_CIDR] = form_cidr,
        [FORM_LOG_LEVEL] = form_log_level,
        [FORM_LOG_FORMAT] = form_log_format,
        [FORM_SECCOMP] = form_seccomp,
        [FORM_JWKS] = form_jwks,
        [FORM_MAIL] = form_mail,
        [FORM_GATEWAY] = form_gateway,
        [FORM_WEBHOOK] = form_webhook,
        [FORM_ENDPOINT] = form_endpoint,
        [FORM_APPLE_ID] = form_apple_id,
        [FORM_TOPIC] = form_topic,
        [FORM_ALERT] = form_alert,
        [FORM_SECRET] = form_secret,
        [FORM_ADDRESS] = form_address,
        [FORM_HEADER] = form_header,
        [FORM_CERTIFICATE] = form_certificate,
        [FORM_TLS_VERSION] = form_tls_version,
        [FORM_MATCHING] = form_matching,
    };
    return forms[form](value);
}

/* OpenID Connect Discovery 1.0 section 3: no query and no fragment. The value is compared exactly, so nothing is
 * brought to another spelling. */
const char *ma_conf_form_issuer(const char *value)
{
    return is_url(value) && !strchr(value, '?') ? NULL : "must be an https:// URL (http:// on a loopback host only)";
}
