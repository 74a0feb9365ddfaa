/* SPDX-License-Identifier: Apache-2.0
 * Validation: the value of one key by its kind and range, and the rules that join several keys.
 */
#include "int.h"
#include "ma/crypto.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* --- one value --- */

/* A decimal integer in the key's range; no other base, no blanks, no sign but a leading minus. */
static const char *check_int(const struct conf_key *k, const char *value, char text[MA_CONF_VALUE_MAX])
{
    const char *digits = value + (*value == '-');
    char *end = NULL;
    errno = 0;
    long long n = strtoll(value, &end, 10);
    if (*digits < '0' || *digits > '9' || *end != '\0' || errno != 0 || n < k->min || n > k->max) {
        (void)snprintf(text, MA_CONF_VALUE_MAX, "must be an integer from %lld to %lld", (long long)k->min,
                       (long long)k->max);
        return text;
    }
    return NULL;
}

static bool is_one_of(const char *value, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(value, words[i]) == 0)
            return true;
    return false;
}

const char *ma_conf_value(const struct conf_key *k, char *value, char text[MA_CONF_VALUE_MAX])
{
    static const char *const bools[] = {"true", "false", "on", "off", "yes", "no"};
    switch (k->kind) {
    case CONF_INT:
    case CONF_INT32:
        return check_int(k, value, text);
    case CONF_BOOL:
        return is_one_of(value, bools, MA_COUNT(bools)) ? NULL : "must be true or false";
    case CONF_ALGORITHMS:
        return ma_jws_alg_parse(ma_span_str(value)) != MA_JWS_NONE
                   ? NULL
                   : "must be of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA";
    case CONF_ATTESTATION:
        return strcmp(value, "none") == 0 || strcmp(value, "verified") == 0 ? NULL : "must be none or verified";
    case CONF_ACCESS:
        return strcmp(value, "read_only") == 0 || strcmp(value, "read_write") == 0 ? NULL
                                                                                   : "must be read_write or read_only";
    case CONF_STR:
    case CONF_LIST:
        break;
    }
    return ma_conf_form(k->form, value);
}

/* --- several keys --- */

int ma_conf_line(const struct conf_places *p, const char *section, const char *name)
{
    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->v[i].key->section, section) == 0 && strcmp(p->v[i].key->name, name) == 0)
            return p->v[i].line;
    return 0;
}

struct ctx {
    const struct ma_conf *c;
    const struct conf_places *places;
    struct conf_fault *fault;
};

static int fault_at(const struct ctx *x, const char *section, const char *name, const char *text)
{
    return ma_conf_fault(x->fault, ma_conf_line(x->places, section, name), "%s%s%s %s", section, *section ? "." : "",
                         name, text);
}

static int check_domains(const struct ctx *x)
{
    const struct ma_conf_strlist *d = &x->c->custom_domains;
    for (size_t i = 0; i < d->n; i++) {
        if (strcmp(d->v[i], x->c->base_url) == 0)
            return fault_at(x, "", "custom_domains", "must not repeat base_url");
        for (size_t j = 0; j < i; j++)
            if (strcmp(d->v[i], d->v[j]) == 0)
                return fault_at(x, "", "custom_domains", "holds an origin twice");
    }
    return MA_OK;
}

/* True when the URL is the origin and a slash: the daemon's own issuer there. */
static bool is_own(const char *url, const char *origin)
{
    size_t n = strlen(origin);
    return strncmp(url, origin, n) == 0 && strcmp(url + n, "/") == 0;
}

int ma_conf_issuer_line(const struct ma_conf *c, const struct conf_issuer_lines *issuers, size_t i)
{
    return issuers->n == c->n_issuers ? issuers->v[i] : 0;
}

static int check_issuers(const struct ctx *x, const struct conf_issuer_lines *lines)
{
    if (!x->c->token_service)
        return MA_OK;
    for (size_t i = 0; i < x->c->n_issuers; i++) {
        const char *url = x->c->issuers[i].url;
        bool own = is_own(url, x->c->base_url);
        for (size_t d = 0; d < x->c->custom_domains.n && !own; d++)
            own = is_own(url, x->c->custom_domains.v[d]);
        if (own)
            return ma_conf_fault(x->fault, ma_conf_issuer_line(x->c, lines, i),
                                 "issuer is this daemon's own; set token_service = false to "
                                 "have another program issue its tokens");
    }
    return MA_OK;
}

static bool has_user(const char *mail_url)
{
    return strncmp(mail_url, "smtp", 4) == 0 && strchr(mail_url, '@');
}

static int check_push(const struct ctx *x)
{
    const struct ma_conf *c = x->c;
    const struct {
        const char *name, *value;
    } with_key[] = {{"apns_key_id", c->delivery.apns_key_id},
                    {"apns_team_id", c->delivery.apns_team_id},
                    {"apns_topic", c->delivery.apns_topic}};
    for (size_t i = 0; i < MA_COUNT(with_key); i++) {
        if (*c->delivery.apns_key && !*with_key[i].value)
            return ma_conf_fault(x->fault, ma_conf_line(x->places, "delivery", "apns_key"),
                                 "delivery.apns_key needs delivery.%s", with_key[i].name);
        if (!*c->delivery.apns_key && *with_key[i].value)
            return fault_at(x, "delivery", with_key[i].name, "needs delivery.apns_key");
    }
    if (c->delivery.apns_sandbox && *c->delivery.apns_url)
        return fault_at(x, "delivery", "apns_sandbox", "says nothing where delivery.apns_url is set");
    if (*c->delivery.push_token && strncmp(c->delivery.push, "http", 4) != 0)
        return fault_at(x, "delivery", "push_token", "needs a gateway in delivery.push");
    return MA_OK;
}

static int check_delivery(const struct ctx *x)
{
    if (*x->c->delivery.email_password && !has_user(x->c->delivery.email))
        return fault_at(x, "delivery", "email_password", "needs a user in delivery.email: smtp://user@host");
    if (*x->c->delivery.sms_password && !*x->c->delivery.sms_account)
        return fault_at(x, "delivery", "sms_password", "needs delivery.sms_account");
    return check_push(x);
}

static int check_audit(const struct ctx *x)
{
    bool url = *x->c->audit.webhook != '\0', secret = *x->c->audit.webhook_secret != '\0';
    if (url && !secret)
        return fault_at(x, "audit", "webhook", "needs audit.webhook_secret: calls are signed");
    return secret && !url ? fault_at(x, "audit", "webhook_secret", "needs audit.webhook") : MA_OK;
}

static int check_sockets(const struct ctx *x)
{
    const struct ma_conf *c = x->c;
    bool chosen = strlen(c->listen) > 2 && strcmp(c->listen + strlen(c->listen) - 2, ":0") == 0;
    if (!chosen && strcmp(c->metrics_listen, c->listen) == 0)
        return fault_at(x, "", "metrics_listen", "must not be the same as listen");
    if (strncmp(c->listen, "unix:", 5) == 0 && strcmp(c->listen + 5, c->admin_socket) == 0)
        return fault_at(x, "", "admin_socket", "must not be the same as listen");
    return MA_OK;
}

static bool is_https(const char *origin)
{
    return strncmp(origin, "https://", 8) == 0;
}

/* Who speaks TLS to everybody is known by https origins only. */
static int check_tls(const struct ctx *x)
{
    const struct ma_conf *c = x->c;
    bool on = *c->tls.certificate;
    if (on && !*c->tls.key)
        return fault_at(x, "tls", "certificate", "needs tls.key");
    if (!on && *c->tls.key)
        return fault_at(x, "tls", "key", "needs tls.certificate");
    if (on && !is_https(c->base_url))
        return fault_at(x, "", "base_url", "must be https:// where tls.certificate is set");
    for (size_t i = 0; on && i < c->custom_domains.n; i++)
        if (!is_https(c->custom_domains.v[i]))
            return fault_at(x, "", "custom_domains", "must be https:// where tls.certificate is set");
    return MA_OK;
}

static int check_breached(const struct ctx *x)
{
    if (x->c->password_policy.breached_at_login && !*x->c->password_policy.breached_file)
        return fault_at(x, "password_policy", "breached_at_login", "needs password_policy.breached_file");
    return MA_OK;
}

int ma_conf_check(const struct ma_conf *c, const struct conf_places *p, const struct conf_issuer_lines *issuers,
                  struct conf_fault *f)
{
    const struct ctx x = {c, p, f};
    if (check_domains(&x) != MA_OK || check_issuers(&x, issuers) != MA_OK || check_delivery(&x) != MA_OK ||
        check_audit(&x) != MA_OK || check_sockets(&x) != MA_OK || check_tls(&x) != MA_OK || check_breached(&x) != MA_OK)
        return MA_E_INVAL;
    return MA_OK;
}
