/* SPDX-License-Identifier: Apache-2.0
 * What the senders of both push services share, and the push gateway.
 */
#include "ma/outbox.h"

#include "push_int.h"

#include <stdio.h>

enum ma_push_service ma_push_service(struct ma_span to, struct ma_span *ret_token)
{
    static const struct {
        const char *prefix;
        enum ma_push_service service;
    } known[] = {{"GCM:", MA_PUSH_GCM}, {"APNS:", MA_PUSH_APNS}};
    for (size_t i = 0; i < MA_COUNT(known); i++) {
        size_t n = strlen(known[i].prefix);
        if (to.n < n || memcmp(to.p, known[i].prefix, n) != 0)
            continue;
        *ret_token = ma_span_of(to.p + n, to.n - n);
        return known[i].service;
    }
    *ret_token = to;
    return MA_PUSH_OTHER;
}

/* --- credentials that last for more than one call --- */

struct ma_push_cache *ma_push_cache_new(void)
{
    return ma_secure_alloc(sizeof(struct ma_push_cache));
}

void ma_push_cache_free(struct ma_push_cache *k)
{
    if (k)
        ma_secure_free(k, sizeof *k);
}

void ma_push_cache_clear(struct ma_push_cache *k)
{
    ma_wipe(k->credential, sizeof k->credential);
    k->from_ms = k->until_ms = 0;
}

bool ma_push_cache_good(struct ma_push_cache *k, const uint8_t owner[MA_SHA256_LEN], int64_t now_ms)
{
    if (memcmp(k->owner, owner, MA_SHA256_LEN) != 0) {
        ma_push_cache_clear(k);
        memcpy(k->owner, owner, MA_SHA256_LEN);
    }
    /* a clock that was set back makes it worthless too: nobody knows how long it has been */
    return k->credential[0] && now_ms >= k->from_ms && now_ms < k->until_ms;
}

int ma_push_cache_put(struct ma_push_cache *k, struct ma_span credential, int64_t from_ms, int64_t until_ms)
{
    if (credential.n == 0 || credential.n > MA_PUSH_CREDENTIAL_MAX)
        return MA_E_RANGE;
    memcpy(k->credential, credential.p, credential.n);
    k->credential[credential.n] = '\0';
    k->from_ms = from_ms;
    k->until_ms = until_ms;
    return MA_OK;
}

/* --- calls --- */

int ma_push_post(struct ma_send *s, const struct ma_push_post *p, struct ma_http_answer *ret)
{
    struct ma_http_call call = {.method = "POST",
                                .url = p->url,
                                .headers = p->headers,
                                .body = p->body,
                                .http2 = p->http2,
                                .ca = s->transports->ca,
                                .timeout_ms = MA_PUSH_TIMEOUT_MS,
                                .response_max = MA_PUSH_ANSWER_MAX,
                                .policy = s->transports->policy};
    *ret = (struct ma_http_answer){0};
    int r = ma_httpc_call(s->http, &call, s->a, ret, s->why);
    if (r == MA_OK)
        s->wait_ms = ma_gateway_wait_ms(ret);
    return r;
}

void ma_push_word(struct ma_span from, char out[MA_PUSH_REASON_MAX])
{
    size_t n = 0;
    while (n < from.n && n < MA_PUSH_REASON_MAX - 1) {
        char c = (char)from.p[n];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            break;
        out[n++] = c;
    }
    out[n] = '\0';
}

/* --- settings --- */

int ma_push_secret(struct ma_arena *a, const char *key, const char *ref, struct ma_span *ret, char why[256])
{
    char reason[256] = "";
    int r = ma_secret_load(a, ref, ret, reason);
    if (r < 0)
        (void)snprintf(why, 256, "delivery.%s: %.200s", key, reason[0] ? reason : ma_err_text(r));
    return r;
}

int ma_push_key(struct ma_span pem, enum ma_jws_alg alg, const char *key, struct ma_key **ret, char why[256])
{
    uint8_t sig[MA_JWS_SIG_MAX];
    size_t n = 0;
    struct ma_key *k = NULL;
    int r = ma_key_from_pem(pem, &k);
    /* whether it is private, and of this kind, is known when it has signed */
    if (r == MA_OK)
        r = ma_key_sign(k, alg, MA_LIT("probe"), sig, &n);
    if (r == MA_OK) {
        *ret = k;
        return MA_OK;
    }
    ma_key_free(k);
    (void)snprintf(why, 256, "delivery.%s: holds no private key in PEM that signs %s", key, ma_jws_alg_name(alg));
    return r == MA_E_NOMEM ? r : MA_E_INVAL;
}

int ma_delivery_check(const struct ma_conf *conf, char why[256])
{
    struct ma_transports *t = NULL;
    int r = ma_transports_read(conf, &t, why);
    ma_transports_free(t);
    return r;
}
