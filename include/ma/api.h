/* SPDX-License-Identifier: Apache-2.0
 * The route table and the pipeline that every request runs through.
 */
#ifndef MA_API_H
#define MA_API_H

#include "ma/ctx.h"

/* THE table; *ret_n rows. Static. */
const struct ma_route *ma_api_routes(size_t *ret_n);
/* The table of the health listener. Static. */
const struct ma_route *ma_api_health_routes(size_t *ret_n);
/* "METHOD PATH OPERATION SCOPES LANE BODY_MAX" lines; arena. */
const char *ma_api_routes_text(struct ma_arena *a);
/* "`METHOD PATH` | scope | …" Markdown rows for README; arena. */
const char *ma_api_routes_markdown(struct ma_arena *a);

/* The OpenAPI document of the API, which getOpenApi serves. Static. */
struct ma_span ma_openapi_document(void);

/* Memory of list answers; owned by the app. */
struct ma_list_cache;
MA_MUST_USE int ma_list_cache_new(struct ma_list_cache **ret);
void ma_list_cache_free(struct ma_list_cache *c);

/* Runs the request from its current step as far as it goes without leaving this thread: MA_OK when
 * ctx->resp is to be sent, MA_E_NEXT when ctx->step must run in ctx->step_lane. */
int ma_pipeline(struct ma_ctx *ctx);
/* Runs one step of a lane and turns failures into answers. Returns MA_OK (answered), MA_E_PROBLEM (answered
 * with an error), or MA_E_NEXT. */
int ma_run_step(struct ma_ctx *ctx);
/* Answers 500 or 503 for an environment failure and logs it. Returns MA_E_PROBLEM. */
int ma_fail(struct ma_ctx *ctx, int err, const char *where);

#endif
