/* SPDX-License-Identifier: Apache-2.0
 * The delivery settings of one configuration, and which sender serves a letter.
 */
#include "ma/outbox.h"

#include "push_int.h"

#include <stdio.h>
#include <stdlib.h>

#define SETTINGS_MAX (2u * 1024u * 1024u) /* bytes of all strings and secrets */
#define CA_MAX (512u * 1024u)             /* bytes of the file of authorities */

static bool starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static enum ma_transport_kind kind_of(const char *url)
{
    if (!url || !url[0])
        return MA_TRANSPORT_NONE;
    if (starts(url, "spool:"))
        return MA_TRANSPORT_SPOOL;
    if (starts(url, "smtp://") || starts(url, "smtps://"))
        return MA_TRANSPORT_SMTP;
    /* http:// is for httpc's policy to judge */
    return MA_TRANSPORT_HTTP;
}

static bool same_directory(const struct ma_spool *a, const struct ma_spool *b)
{
    return strcmp(a->path, b->path) == 0 || (a->fd >= 0 && b->fd >= 0 && a->dev == b->dev && a->ino == b->ino);
}

/* A spool per directory, however many channels share it: their sequence is one. A directory that cannot be
 * used yet is a transport that is down: messages wait for it. */
static int add_spool(struct ma_transports *t, const char *path, struct ma_spool **ret, char why[256])
{
    struct ma_spool *fresh = &t->spools[t->n_spools];
    int r = ma_spool_open(t->a, path, fresh, why);
    if (r == MA_E_IO || r == MA_E_FULL)
        snprintf(t->spool_fault, sizeof t->spool_fault, "%s", why);
    else if (r < 0)
        return r;
    for (size_t i = 0; i < t->n_spools; i++)
        if (same_directory(&t->spools[i], fresh)) {
            ma_spool_close(fresh);
            *ret = &t->spools[i];
            return MA_OK;
        }
    t->n_spools++;
    *ret = fresh;
    return MA_OK;
}

static int set_transport(struct ma_transports *t, enum ma_channel c, const char *url, char why[256])
{
    struct ma_transport *tr = &t->by[c];
    tr->kind = kind_of(url);
    tr->url = ma_arena_strdup(t->a, ma_span_str(url ? url : ""));
    if (!tr->url)
        return MA_E_NOMEM;
    enum ma_transport_kind wrong = c == MA_CHANNEL_EMAIL ? MA_TRANSPORT_HTTP : MA_TRANSPORT_SMTP;
    if (tr->kind == wrong) {
        snprintf(why, 256, "delivery.%s: this kind of URL does not carry %s", ma_channel_name(c), ma_channel_name(c));
        return MA_E_INVAL;
    }
    return tr->kind == MA_TRANSPORT_SPOOL ? add_spool(t, url + strlen("spool:"), &tr->spool, why) : MA_OK;
}

static int copy(struct ma_transports *t, const char *from, const char **ret)
{
    *ret = ma_arena_strdup(t->a, ma_span_str(from ? from : ""));
    return *ret ? MA_OK : MA_E_NOMEM;
}

static int load_secret(struct ma_transports *t, const char *key, const char *ref, const char **ret, char why[256])
{
    *ret = "";
    if (!ref || !ref[0])
        return MA_OK;
    struct ma_span secret;
    char reason[256] = "";
    int r = ma_secret_load(t->a, ref, &secret, reason);
    if (r < 0) {
        snprintf(why, 256, "delivery.%s: %.200s", key, reason);
        return r;
    }
    if (memchr(secret.p, 0, secret.n)) {
        snprintf(why, 256, "delivery.%s: the secret holds a NUL byte", key);
        return MA_E_INVAL;
    }
    *ret = ma_arena_strdup(t->a, secret);
    return *ret ? MA_OK : MA_E_NOMEM;
}

static int set_strings(struct ma_transports *t, const struct ma_conf *conf, char why[256])
{
    int r = copy(t, conf->delivery.email_from, &t->email_from);
    if (r == MA_OK)
        r = copy(t, conf->delivery.sms_account, &t->sms_account);
    if (r == MA_OK)
        r = copy(t, conf->delivery.sms_from, &t->sms_from);
    if (r == MA_OK)
        r = load_secret(t, "email_password", conf->delivery.email_password, &t->email_password, why);
    if (r == MA_OK)
        r = load_secret(t, "sms_password", conf->delivery.sms_password, &t->sms_password, why);
    return r;
}

static int set_ca(struct ma_transports *t, const struct ma_conf *conf, char why[256])
{
    char reason[256] = "";
    if (!conf->delivery.ca_file || !conf->delivery.ca_file[0])
        return MA_OK;
    int r = ma_public_load(t->a, conf->delivery.ca_file, CA_MAX, &t->ca, reason);
    if (r < 0) {
        snprintf(why, 256, "delivery.ca_file: %.200s", reason[0] ? reason : ma_err_text(r));
        return r;
    }
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    if (memmem(t->ca.p, t->ca.n, begin, sizeof begin - 1))
        return MA_OK;
    snprintf(why, 256, "delivery.ca_file: holds no certificate in PEM");
    return MA_E_INVAL;
}

static int set_push(struct ma_transports *t, const struct ma_conf *conf, char why[256])
{
    int r = load_secret(t, "push_token", conf->delivery.push_token, &t->push_token, why);
    if (r == MA_OK && conf->delivery.fcm_credentials && conf->delivery.fcm_credentials[0])
        r = ma_fcm_load(t->a, conf, &t->fcm, why);
    if (r == MA_OK && conf->delivery.apns_key && conf->delivery.apns_key[0])
        r = ma_apns_load(t->a, conf, &t->apns, why);
    return r;
}

/* Everything but the transports by channel. */
static int read_settings(struct ma_transports *t, const struct ma_conf *conf, char why[256])
{
    int r = set_strings(t, conf, why);
    if (r == MA_OK)
        r = set_ca(t, conf, why);
    if (r == MA_OK)
        r = set_push(t, conf, why);
    t->policy = (struct ma_net_policy){.allow_private = conf->network.allow_private,
                                       .allow_http_loopback = conf->network.allow_http_loopback};
    return r;
}

static int fill(struct ma_transports *t, const struct ma_conf *conf, char why[256])
{
    int r = read_settings(t, conf, why);
    if (r < 0)
        return r;
    const char *urls[MA_CHANNEL__COUNT] = {conf->delivery.email, conf->delivery.sms, conf->delivery.voice,
                                           conf->delivery.push};
    for (int c = 0; c < MA_CHANNEL__COUNT; c++) {
        r = set_transport(t, (enum ma_channel)c, urls[c], why);
        if (r < 0)
            return r;
    }
    if (t->by[MA_CHANNEL_EMAIL].kind == MA_TRANSPORT_SMTP && !ma_email_address_ok(ma_span_str(t->email_from))) {
        snprintf(why, 256, "delivery.email_from: must be a plain address such as no-reply@example.com");
        return MA_E_INVAL;
    }
    return MA_OK;
}

static int make(int (*set)(struct ma_transports *, const struct ma_conf *, char *), const struct ma_conf *conf,
                struct ma_transports **ret, char why[256])
{
    snprintf(why, 256, "out of memory");
    struct ma_transports *t = calloc(1, sizeof *t);
    if (!t)
        return MA_E_NOMEM;
    atomic_init(&t->refs, 1);
    t->a = ma_arena_new(MA_ARENA_FIRST, SETTINGS_MAX);
    int r = t->a ? set(t, conf, why) : MA_E_NOMEM;
    if (r < 0) {
        ma_transports_free(t);
        return r;
    }
    why[0] = 0;
    *ret = t;
    return MA_OK;
}

int ma_transports_new(const struct ma_conf *conf, struct ma_transports **ret, char why[256])
{
    return make(fill, conf, ret, why);
}

int ma_transports_read(const struct ma_conf *conf, struct ma_transports **ret, char why[256])
{
    return make(read_settings, conf, ret, why);
}

struct ma_transports *ma_transports_ref(struct ma_transports *t)
{
    atomic_fetch_add(&t->refs, 1);
    return t;
}

void ma_transports_free(struct ma_transports *t)
{
    if (!t || atomic_fetch_sub(&t->refs, 1) > 1)
        return;
    ma_fcm_clear(t->fcm);
    ma_apns_clear(t->apns);
    for (size_t i = 0; i < t->n_spools; i++)
        ma_spool_close(&t->spools[i]);
    ma_arena_free(t->a);
    free(t);
}

void ma_transports_free_p(struct ma_transports **t)
{
    ma_transports_free(*t);
    *t = NULL;
}

void ma_transports_inherit(struct ma_transports *t, const struct ma_transports *old)
{
    for (size_t i = 0; i < t->n_spools; i++)
        for (size_t k = 0; k < old->n_spools; k++) {
            const struct ma_spool *was = &old->spools[k];
            struct ma_spool *now = &t->spools[i];
            if (same_directory(was, now) && was->sequence > now->sequence)
                now->sequence = was->sequence;
        }
}

int ma_letter_line(const struct ma_transports *t, const struct ma_letter *l)
{
    struct ma_span token;
    enum ma_push_service service = MA_PUSH_OTHER;
    if (l->channel == MA_CHANNEL_PUSH)
        service = ma_push_service(l->to, &token);
    if (service == MA_PUSH_GCM && t->fcm)
        return MA_LINE_FCM;
    if (service == MA_PUSH_APNS && t->apns)
        return MA_LINE_APNS;
    return (int)l->channel;
}

static int no_transport(struct ma_send *s)
{
    struct ma_span token;
    bool push = s->letter->channel == MA_CHANNEL_PUSH;
    enum ma_push_service service = push ? ma_push_service(s->letter->to, &token) : MA_PUSH_OTHER;
    const char *key = service == MA_PUSH_GCM    ? "delivery.fcm_credentials or delivery.push"
                      : service == MA_PUSH_APNS ? "delivery.apns_key or delivery.push"
                                                : NULL;
    if (key)
        snprintf(s->why, sizeof s->why, "no transport is configured for the service of this device: set %s", key);
    else
        snprintf(s->why, sizeof s->why, "no transport is configured for this channel");
    return MA_E_INVAL;
}

typedef int sender(struct ma_send *s);

int ma_send_letter(struct ma_send *s)
{
    static sender *const remote[MA_LINE__COUNT] = {ma_send_email, ma_send_sms, ma_send_voice,
                                                   ma_send_push,  ma_send_fcm, ma_send_apns};
    s->why[0] = 0;
    s->wait_ms = 0;
    if (s->letter->channel >= MA_CHANNEL__COUNT)
        return MA_E_INVAL;
    int line = ma_letter_line(s->transports, s->letter);
    if (line >= MA_CHANNEL__COUNT)
        return remote[line](s);
    struct ma_transport *t = &s->transports->by[s->letter->channel];
    switch (t->kind) {
    case MA_TRANSPORT_SPOOL:
        return ma_spool_write(t->spool, ma_channel_name(s->letter->channel), s->letter->json, s->why);
    case MA_TRANSPORT_SMTP:
    case MA_TRANSPORT_HTTP:
        return remote[s->letter->channel](s);
    case MA_TRANSPORT_NONE:
        break;
    }
    return no_transport(s);
}
