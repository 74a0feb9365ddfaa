/* SPDX-License-Identifier: Apache-2.0
 * Links of security notices: limits, forms, and the page for links that do not work.
 */
#include "security_int.h"

#include <stdlib.h>

#include "ma/codec.h"
#include "ma/crypto.h"

enum { PROOF_HEX = 64, STAMP_MAX = 16 };

int ma_link_limit(struct ma_ctx *ctx)
{
    struct ma_limit_state s;
    ma_limit_take(ctx->app->limits, MA_BUCKET_LINK, ma_addr_key(&ctx->req.client), MA_LINKS_PER_MINUTE, 60000,
                  ctx->now_ms, &s);
    if (s.allowed)
        return MA_OK;
    return ma_problem_retry(ctx, MA_P_TOO_MANY, "Too many links were opened from this address. Try again in a minute.",
                            s.retry_after_s);
}

int ma_link_dead(struct ma_ctx *ctx)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, 404, "This link does not work", "", false);
    ma_html_para(&h, NULL,
                 "It is incomplete, was used already, or its time is over. Use the link of the newest message, or "
                 "ask whoever runs this service for help.");
    return ma_html_end(&h);
}

/* "<milliseconds>.<hex MAC over token and milliseconds>" */
static int proof(struct ma_ctx *ctx, struct ma_span token, const char *stamp, char out[PROOF_HEX + 1])
{
    uint8_t mac[32];
    int r = ma_vault_mac(ctx->app->vault, "security-form", token, ma_span_str(stamp), mac);
    if (r == MA_OK)
        ma_hex_encode(ma_span_of(mac, sizeof mac), out);
    return r;
}

int ma_link_form(struct ma_html *h, const char *path, struct ma_span token, const char *action)
{
    char hex[PROOF_HEX + 1];
    const char *stamp = ma_arena_printf(h->ctx->arena, "%lld", (long long)h->ctx->now_ms);
    if (!stamp)
        return MA_E_NOMEM;
    int r = proof(h->ctx, token, stamp, hex);
    const char *code = r == MA_OK ? ma_arena_printf(h->ctx->arena, "%s.%s", stamp, hex) : NULL;
    if (!code)
        return r < 0 ? r : MA_E_NOMEM;
    ma_buf_printf(h->b, "<form method=\"post\" action=\"%s\">", path);
    ma_html_hidden(h, "state", token);
    ma_html_hidden(h, "action", ma_span_str(action));
    ma_html_hidden(h, "code", ma_span_str(code));
    return MA_OK;
}

static bool proven(struct ma_ctx *ctx, const struct ma_login_form *f)
{
    char hex[PROOF_HEX + 1], stamp[STAMP_MAX + 1];
    const uint8_t *dot = f->code.n ? memchr(f->code.p, '.', f->code.n) : NULL;
    size_t n = dot ? (size_t)(dot - f->code.p) : 0;
    if (n == 0 || n > STAMP_MAX || f->code.n != n + 1 + PROOF_HEX || !f->state.p)
        return false;
    memcpy(stamp, f->code.p, n);
    stamp[n] = '\0';
    if (proof(ctx, f->state, stamp, hex) < 0 || !ma_ct_eq(ma_span_of(hex, PROOF_HEX), ma_span_of(dot + 1, PROOF_HEX)))
        return false;
    long long made = strtoll(stamp, NULL, 10);
    return made <= ctx->now_ms && ctx->now_ms - made <= MA_LINK_FORM_TTL_MS;
}

int ma_link_read(struct ma_ctx *ctx, struct ma_login_form *ret)
{
    *ret = (struct ma_login_form){.state = MA_SPAN_NULL};
    int r = ma_link_limit(ctx);
    if (r == MA_OK)
        r = ma_login_form_read(ctx, ret);
    if (r != MA_OK)
        return r;
    if (ctx->req.origin.p && !ma_span_eq_str(ctx->req.origin, ma_ctx_origin(ctx)))
        return ma_page(ctx, 403, "This form came from elsewhere", "Open the link in the message again.");
    if (!proven(ctx, ret))
        return ma_page(ctx, 400, "This page is too old", "Open the link in the message again.");
    return MA_OK;
}
