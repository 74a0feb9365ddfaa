/* SPDX-License-Identifier: Apache-2.0
 * Mail through libcurl: one message to one recipient, TLS whenever the server has it, credentials
 * only over TLS or to this machine.
 */
#include "ma/httpc.h"
#include "int.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define MAILBOX_MAX 320u /* RFC 5321 §4.5.3.1: 64 + "@" + 255 */

struct reader {
    struct ma_span rest;
};

static size_t on_read(char *p, size_t size, size_t n, void *userdata)
{
    struct reader *r = userdata;
    size_t k = size * n < r->rest.n ? size * n : r->rest.n;
    if (k)
        memcpy(p, r->rest.p, k);
    r->rest = ma_span_of(r->rest.p + k, r->rest.n - k);
    return k;
}

/* A bare address: nothing that ends the command line or the path (RFC 5321 §4.1.2). */
static bool mailbox_ok(const char *s)
{
    if (!s)
        return false;
    size_t n = strnlen(s, MAILBOX_MAX + 1);
    return n > 0 && n <= MAILBOX_MAX && !ma_net_has_ctl(s) && !strpbrk(s, " <>");
}

/* RFC 5321 §2.3.8: a bare CR or LF is how one message becomes two on the way. */
static bool lines_ok(struct ma_span m)
{
    for (size_t i = 0; i < m.n; i++) {
        bool after_cr = i > 0 && m.p[i - 1] == '\r';
        if ((m.p[i] == '\n') != after_cr)
            return false;
    }
    return m.n > 0 && m.p[m.n - 1] == '\n';
}

static void url_free(CURLU **u)
{
    curl_url_cleanup(*u);
}

static void curl_free_p(char **p)
{
    curl_free(*p);
}

struct target {
    char *scheme, *user, *url; /* url without the user */
};

static void target_done(struct target *t)
{
    curl_free_p(&t->scheme);
    curl_free_p(&t->user);
    curl_free_p(&t->url);
}

static bool split_url(const char *text, struct target *t)
{
    if (!text || strnlen(text, MA_NET_URL_MAX + 1) > MA_NET_URL_MAX || ma_net_has_ctl(text))
        return false;
    MA_CLEANUP(url_free) CURLU *u = curl_url();
    MA_CLEANUP(curl_free_p) char *password = NULL;
    if (!u || curl_url_set(u, CURLUPART_URL, text, 0) != CURLUE_OK ||
        curl_url_get(u, CURLUPART_SCHEME, &t->scheme, 0) != CURLUE_OK)
        return false;
    if (strcmp(t->scheme, "smtp") != 0 && strcmp(t->scheme, "smtps") != 0)
        return false;
    if (curl_url_get(u, CURLUPART_PASSWORD, &password, 0) == CURLUE_OK)
        return false; /* passwords are secret references, never part of the configuration's text */
    CURLUcode rc = curl_url_get(u, CURLUPART_USER, &t->user, CURLU_URLDECODE);
    if (rc != CURLUE_OK && rc != CURLUE_NO_USER)
        return false;
    return curl_url_set(u, CURLUPART_USER, NULL, 0) == CURLUE_OK &&
           curl_url_get(u, CURLUPART_URL, &t->url, 0) == CURLUE_OK;
}

struct attempt {
    const struct ma_mail *m;
    const struct target *t;
    const struct curl_slist *to;
    struct ma_guard guard;
    struct reader reader;
    long ssl; /* CURLUSESSL_* */
    long code;
    CURLcode rc;
};

static bool has_credentials(const struct attempt *at)
{
    return at->t->user && at->m->password && at->m->password[0];
}

static bool set_up(struct ma_httpc *c, struct attempt *at)
{
    CURL *h = c->mail;
    const struct ma_mail *m = at->m;
    bool ok = ma_net_common(h, &at->guard, at->t->scheme, m->timeout_ms) && ma_net_cancellable(h, c) &&
              ma_net_trust(h, m->ca) && curl_easy_setopt(h, CURLOPT_URL, at->t->url) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_USE_SSL, at->ssl) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->error) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_MAIL_FROM, m->from) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_MAIL_RCPT, at->to) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_UPLOAD, 1L) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_READFUNCTION, on_read) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_READDATA, &at->reader) == CURLE_OK &&
              curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)m->message.n) == CURLE_OK;
    if (!ok || !has_credentials(at))
        return ok;
    return curl_easy_setopt(h, CURLOPT_USERNAME, at->t->user) == CURLE_OK &&
           curl_easy_setopt(h, CURLOPT_PASSWORD, m->password) == CURLE_OK;
}

static void perform(struct ma_httpc *c, struct attempt *at)
{
    bool loopback_only = at->ssl == CURLUSESSL_NONE;
    at->guard = (struct ma_guard){.public_ok = !loopback_only, .private_ok = !loopback_only, .loopback_ok = true};
    at->reader.rest = at->m->message;
    at->code = 0;
    c->error[0] = 0;
    at->rc = CURLE_BAD_FUNCTION_ARGUMENT;
    if (set_up(c, at)) {
        at->rc = curl_easy_perform(c->mail);
        (void)curl_easy_getinfo(c->mail, CURLINFO_RESPONSE_CODE, &at->code);
    }
    curl_easy_reset(c->mail);
}

/* A relay on this machine often has no certificate anyone could check, and nobody sits in between. */
static bool retry_in_clear(const struct attempt *at)
{
    bool tls =
        at->rc == CURLE_USE_SSL_FAILED || at->rc == CURLE_PEER_FAILED_VERIFICATION || at->rc == CURLE_SSL_CONNECT_ERROR;
    return tls && strcmp(at->t->scheme, "smtp") == 0 && at->guard.seen_loopback && !at->guard.seen_elsewhere;
}

/* A 5xx reply to MAIL, RCPT or DATA concerns this message; to the greeting, AUTH or for want of TLS (530) it
 * concerns the relay, and the operator can mend it. */
static bool refused_for_good(const struct attempt *at)
{
    if (at->code < 500 || at->code > 599 || at->code == 530)
        return false;
    bool sent = at->reader.rest.n == 0;
    return at->rc == CURLE_SEND_ERROR || (sent && (at->rc == CURLE_WEIRD_SERVER_REPLY || at->rc == CURLE_RECV_ERROR));
}

static int explain(const struct ma_httpc *c, const struct attempt *at, char why[256])
{
    if (at->rc == CURLE_OK)
        return MA_OK;
    if (at->rc == CURLE_OPERATION_TIMEDOUT) {
        (void)snprintf(why, 256, "timed out");
        return MA_E_TIMEOUT;
    }
    if (refused_for_good(at)) {
        (void)snprintf(why, 256, "the relay refused the message with %ld", at->code);
        return MA_E_INVAL;
    }
    if (at->guard.refused && !at->guard.seen_loopback && !at->guard.seen_elsewhere)
        (void)snprintf(why, 256, "address %s is not allowed", at->guard.last);
    else if (at->code >= 400)
        (void)snprintf(why, 256, "the relay answered %ld: %s", at->code, curl_easy_strerror(at->rc));
    else
        (void)snprintf(why, 256, "%.250s", c->error[0] ? c->error : curl_easy_strerror(at->rc));
    return MA_E_UPSTREAM;
}

static void slist_free(struct curl_slist **l)
{
    curl_slist_free_all(*l);
}

int ma_httpc_mail(struct ma_httpc *c, const struct ma_mail *m, char why[256])
{
    MA_CLEANUP(target_done) struct target t = {NULL, NULL, NULL};
    why[0] = 0;
    if (!mailbox_ok(m->from) || !mailbox_ok(m->to) || !lines_ok(m->message)) {
        (void)snprintf(why, 256, "unusable sender, recipient or message");
        return MA_E_INVAL;
    }
    if (!split_url(m->url, &t)) {
        (void)snprintf(why, 256, "unusable relay URL");
        return MA_E_UPSTREAM;
    }
    MA_CLEANUP(slist_free) struct curl_slist *to = curl_slist_append(NULL, m->to);
    if (!to)
        return MA_E_NOMEM;
    struct attempt at = {.m = m, .t = &t, .to = to, .ssl = CURLUSESSL_TRY};
    if (has_credentials(&at))
        at.ssl = CURLUSESSL_ALL;
    perform(c, &at);
    if (retry_in_clear(&at)) {
        at.ssl = CURLUSESSL_NONE;
        perform(c, &at);
    }
    return explain(c, &at, why);
}
