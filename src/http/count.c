/* SPDX-License-Identifier: Apache-2.0
 * Counting what a transaction did: only once it is committed.
 */
#include "ma/ctx.h"

#include "ma/app.h"

void ma_count_later(struct ma_ctx *ctx, enum ma_metric id, unsigned a, unsigned b)
{
    if (ctx->n_counts < MA_CTX_COUNTS)
        ctx->counts[ctx->n_counts++] = (struct ma_count){id, (uint8_t)a, (uint8_t)b};
}

void ma_counts_settle(struct ma_ctx *ctx, bool committed)
{
    for (size_t i = 0; committed && i < ctx->n_counts; i++)
        ma_metrics_add(ctx->app->metrics, ctx->counts[i].id, ctx->counts[i].a, ctx->counts[i].b, 1);
    ctx->n_counts = 0;
}
