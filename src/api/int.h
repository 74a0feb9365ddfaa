/* SPDX-License-Identifier: Apache-2.0
 * What the files of the API share: pipeline pieces and the operations of the route table.
 */
#ifndef MA_API_INT_H
#define MA_API_INT_H

#include "ma/api.h"
#include "ma/limit.h"
#include "ma/policy.h"

/* The first step of every request (and again after keys were fetched or the user was provisioned). */
int ma_api_begin(struct ma_ctx *ctx);
/* The bucket that the x-ratelimit headers of the answer describe. */
void ma_api_show_rate(struct ma_ctx *ctx, const struct ma_limit_state *s);
/* The policy question for this request. */
struct ma_policy_in ma_policy_input(const struct ma_ctx *ctx, const struct ma_state_client *client);

/* The step-up rule for an operation that asks for it whatever the Default Policy says: MA_OK or the 401. Inline, after
 * the policy. */
MA_MUST_USE int ma_api_require_fresh(struct ma_ctx *ctx);
/* Whether the caller has a second factor to show. */
MA_MUST_USE int ma_principal_factor(struct ma_ctx *ctx, bool *ret);

/* operations; *_prepare run inline, the others in their lane */
int ma_op_get_factors(struct ma_ctx *ctx);
int ma_op_list_methods_prepare(struct ma_ctx *ctx);
int ma_op_list_methods(struct ma_ctx *ctx);
int ma_op_get_method(struct ma_ctx *ctx);
int ma_op_create_method_prepare(struct ma_ctx *ctx);
int ma_op_create_method(struct ma_ctx *ctx);
int ma_op_verify_method_prepare(struct ma_ctx *ctx);
int ma_op_verify_method(struct ma_ctx *ctx);
int ma_op_update_method_prepare(struct ma_ctx *ctx);
int ma_op_update_method(struct ma_ctx *ctx);
int ma_op_delete_method(struct ma_ctx *ctx);
int ma_op_connect_prepare(struct ma_ctx *ctx);
int ma_op_connect(struct ma_ctx *ctx);
int ma_op_complete_prepare(struct ma_ctx *ctx);
int ma_op_complete(struct ma_ctx *ctx);
int ma_op_list_accounts_prepare(struct ma_ctx *ctx);
int ma_op_list_accounts(struct ma_ctx *ctx);
int ma_op_list_connections_prepare(struct ma_ctx *ctx);
int ma_op_list_connections(struct ma_ctx *ctx);
int ma_op_delete_account_prepare(struct ma_ctx *ctx);
int ma_op_delete_account(struct ma_ctx *ctx);
int ma_op_list_consents(struct ma_ctx *ctx);
int ma_op_get_consent(struct ma_ctx *ctx);
int ma_op_delete_consent(struct ma_ctx *ctx);
int ma_op_list_sessions_prepare(struct ma_ctx *ctx);
int ma_op_list_sessions(struct ma_ctx *ctx);
int ma_op_delete_session(struct ma_ctx *ctx);
int ma_op_delete_sessions_prepare(struct ma_ctx *ctx);
int ma_op_delete_sessions(struct ma_ctx *ctx);
int ma_op_list_activity_prepare(struct ma_ctx *ctx);
int ma_op_list_activity(struct ma_ctx *ctx);
int ma_op_get_profile(struct ma_ctx *ctx);
int ma_op_update_profile_prepare(struct ma_ctx *ctx);
int ma_op_update_profile(struct ma_ctx *ctx);
int ma_op_method_details(struct ma_ctx *ctx);
int ma_op_create_export(struct ma_ctx *ctx);
int ma_op_get_export(struct ma_ctx *ctx);
int ma_op_leave_prepare(struct ma_ctx *ctx);
int ma_op_leave(struct ma_ctx *ctx);
int ma_op_restore_account(struct ma_ctx *ctx);
int ma_op_openapi(struct ma_ctx *ctx);
int ma_op_list_organizations_prepare(struct ma_ctx *ctx);
int ma_op_list_organizations(struct ma_ctx *ctx);
int ma_op_connect_visit(struct ma_ctx *ctx);
int ma_op_connect_callback(struct ma_ctx *ctx);
int ma_op_jwks(struct ma_ctx *ctx);
int ma_op_related_origins(struct ma_ctx *ctx);
int ma_op_apple_association(struct ma_ctx *ctx);
int ma_op_asset_links(struct ma_ctx *ctx);
int ma_op_explain_error(struct ma_ctx *ctx);
int ma_op_health_live(struct ma_ctx *ctx);
int ma_op_health_ready(struct ma_ctx *ctx);
int ma_op_metrics(struct ma_ctx *ctx);

#endif
