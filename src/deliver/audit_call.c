/* SPDX-License-Identifier: Apache-2.0
 * One call of the audit webhook: its settings, its body, its signature.
 */
#include "audit_int.h"

#include "ma/codec.h"

#include <stdio.h>

#define ANSWER_MAX 65536u /* bytes of an answer; nothing of it is used */
#define SETTINGS_ARENA_MAX (256u * 1024u)

/* --- settings --- */

/* "whsec_" and base64 as Standard Webhooks writes keys, or the bytes as they are. */
static int take_secret(struct ma_hook_settings *s, struct ma_span text, char why[256])
{
    int r = MA_OK;
    if (text.n > 6 && memcmp(text.p, "whsec_", 6) == 0) {
        r = ma_b64_decode(ma_span_of(text.p + 6, text.n - 6), s->secret, sizeof s->secret, &s->secret_n);
    } else if (text.n <= sizeof s->secret) {
        memcpy(s->secret, text.p, text.n);
        s->secret_n = text.n;
    } else {
        r = MA_E_RANGE;
    }
    if (r == MA_OK && s->secret_n >= MA_AUDIT_SECRET_MIN)
        return MA_OK;
    (void)snprintf(why, 256,
                   "audit.webhook_secret: must be whsec_ and base64, or the bytes, of a key of %d to %d bytes",
                   MA_AUDIT_SECRET_MIN, MA_AUDIT_SECRET_MAX);
    return MA_E_INVAL;
}

static int load_secret(struct ma_hook_settings *s, const char *ref, char why[256])
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, SETTINGS_ARENA_MAX);
    struct ma_span text;
    char reason[256] = "";
    int r = a ? ma_secret_load(a, ref, &text, reason) : MA_E_NOMEM;
    if (r == MA_OK)
        return take_secret(s, text, why);
    (void)snprintf(why, 256, "audit.webhook_secret: %.200s", reason[0] ? reason : ma_err_text(r));
    return r;
}

/* "login.example.com" of "https://login.example.com". */
static const char *host_of(const char *origin)
{
    const char *sep = strstr(origin, "://");
    return sep ? sep + 3 : origin;
}

int ma_hook_settings_new(const struct ma_conf *conf, struct ma_hook_settings **ret, char why[256])
{
    *ret = NULL;
    (void)snprintf(why, 256, "out of memory");
    struct ma_hook_settings *s = ma_secure_alloc(sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    (void)snprintf(s->url, sizeof s->url, "%s", conf->audit.webhook);
    (void)snprintf(s->tenant, sizeof s->tenant, "%s", host_of(conf->base_url));
    s->batch = (size_t)conf->audit.webhook_batch;
    s->policy = (struct ma_net_policy){.allow_private = conf->network.allow_private,
                                       .allow_http_loopback = conf->network.allow_http_loopback};
    int r = s->url[0] ? load_secret(s, conf->audit.webhook_secret, why) : MA_OK;
    if (r != MA_OK) {
        ma_hook_settings_free(s);
        return r;
    }
    why[0] = '\0';
    *ret = s;
    return MA_OK;
}

void ma_hook_settings_free(struct ma_hook_settings *s)
{
    if (s)
        ma_secure_free(s, sizeof *s);
}

/* --- the batch --- */

void ma_hook_batch_id(struct ma_vault *v, const struct ma_hook_batch *b, char out[MA_HOOK_ID_MAX])
{
    uint8_t mac[MA_SHA256_LEN];
    char hex[17] = "";
    /* says nothing about the installation, but is another one's never */
    if (ma_vault_mac(v, "audit-webhook", MA_SPAN_NULL, MA_SPAN_NULL, mac) == MA_OK)
        ma_hex_encode(ma_span_of(mac, 8), hex);
    (void)snprintf(out, MA_HOOK_ID_MAX, "msg_%s_%lld_%lld", hex, (long long)b->rows[0].id,
                   (long long)b->rows[b->n - 1].id);
}

static void put_row(struct ma_buf *body, const struct ma_hook_settings *s, const struct ma_audit_row *row)
{
    struct ma_jw w;
    char log_id[MA_AUDIT_LOG_ID_LEN + 1];
    ma_audit_log_id(row->id, log_id);
    ma_jw_init(&w, body);
    ma_jw_obj(&w);
    ma_jw_kcstr(&w, "log_id", log_id);
    ma_jw_key(&w, "data");
    ma_audit_vendor_json(&w, row, s->tenant);
    ma_jw_obj_end(&w);
}

int ma_hook_body(struct ma_arena *a, const struct ma_hook_settings *s, const struct ma_hook_batch *b,
                 struct ma_span *ret, size_t *ret_rows)
{
    struct ma_buf body;
    ma_buf_init_arena(&body, a, 65536, 2 * MA_AUDIT_BODY_MAX);
    ma_buf_byte(&body, '[');
    for (*ret_rows = 0; *ret_rows < b->n; ++*ret_rows) {
        const size_t before = body.n;
        if (*ret_rows > 0)
            ma_buf_byte(&body, ',');
        put_row(&body, s, &b->rows[*ret_rows]);
        if (*ret_rows > 0 && (ma_buf_err(&body) == MA_E_RANGE || body.n >= MA_AUDIT_BODY_MAX)) {
            body.n = before; /* it waits for the next call */
            body.err = MA_OK;
            break;
        }
        if (ma_buf_err(&body) != MA_OK)
            return ma_buf_err(&body);
    }
    ma_buf_byte(&body, ']');
    *ret = ma_buf_view(&body);
    return ma_buf_err(&body);
}

/* --- the call --- */

int ma_hook_sign(const struct ma_hook_settings *s, const char *id, int64_t now_s, struct ma_span body, char *out)
{
    uint8_t mac[MA_SHA256_LEN];
    char stamp[24];
    (void)snprintf(stamp, sizeof stamp, ".%lld.", (long long)now_s);
    const struct ma_span parts[] = {ma_span_str(id), ma_span_str(stamp), body};
    int r = ma_hmac_sha256_parts(ma_span_of(s->secret, s->secret_n), parts, MA_COUNT(parts), mac);
    if (r != MA_OK)
        return r;
    memcpy(out, "v1,", 3);
    ma_b64_encode(ma_span_of(mac, sizeof mac), out + 3);
    return MA_OK;
}

int ma_hook_call(struct ma_httpc *http, struct ma_arena *a, const struct ma_hook_settings *s, const char *id,
                 int64_t now_s, struct ma_span body, char why[256])
{
    char signature[MA_HOOK_SIGNATURE_MAX];
    int r = ma_hook_sign(s, id, now_s, body, signature);
    if (r != MA_OK)
        return r;
    const char *const headers[] = {"content-type: application/json",
                                   ma_arena_printf(a, "webhook-id: %s", id),
                                   ma_arena_printf(a, "webhook-timestamp: %lld", (long long)now_s),
                                   ma_arena_printf(a, "webhook-signature: %s", signature),
                                   "user-agent: myaccountd",
                                   NULL};
    if (!headers[1] || !headers[2] || !headers[3])
        return MA_E_NOMEM;
    struct ma_http_call call = {.method = "POST",
                                .url = s->url,
                                .headers = headers,
                                .body = body,
                                .timeout_ms = MA_AUDIT_CALL_MS,
                                .response_max = ANSWER_MAX,
                                .policy = s->policy};
    struct ma_http_answer answer = {0};
    r = ma_httpc_call(http, &call, a, &answer, why);
    if (r == MA_OK && (answer.status < 200 || answer.status > 299)) {
        (void)snprintf(why, 256, "the receiver answered %ld", answer.status);
        return MA_E_UPSTREAM;
    }
    return r;
}
