/* SPDX-License-Identifier: Apache-2.0
 * One line per request: what was asked for by name, how it ended, how long it took. No path, no
 * query, no address in clear of a user: ids live in paths.
 */
#include "int.h"

#include "ma/app.h"

void ma_access_log(const struct ma_ctx *ctx)
{
    int64_t now_us = ma_mono_us();
    char client[MA_ADDR_TEXT];
    ma_addr_format(&ctx->req.client, client);
    const struct ma_kv kv[] = {
        MA_KV_S("op", ctx->route ? ctx->route->op : "none"),
        MA_KV_S("method", ma_verb_name(ctx->req.verb)),
        MA_KV_I("status", ctx->resp.status),
        MA_KV_I("us", now_us - ctx->started_us),
        MA_KV_I("queue_us", ctx->queued_us),
        MA_KV_I("bytes", ctx->resp.body.n),
        MA_KV_SPAN("client_id", ctx->who.client_id),
        MA_KV_S("address", client),
        MA_KV_S("request_id", ctx->request_id),
    };
    ma_log_hold(ctx->log, MA_LOG_INFO, "request", kv, MA_COUNT(kv));
}
