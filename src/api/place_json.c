/* SPDX-License-Identifier: Apache-2.0
 * Addresses, browsers and applications as people read them.
 */
#include "place_json.h"

#include "ma/app.h"
#include "ma/geo.h"
#include "ma/user_agent.h"

void ma_write_place(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_place *place)
{
    char country[MA_COUNTRY_LEN + 1];
    if (place->ip.p)
        ma_jw_kstr(w, "ip", place->ip);
    if (place->ip.p && ma_geo_country(ctx->app->geo, place->ip, country))
        ma_jw_kcstr(w, "country", country);
    struct ma_span label = ma_user_agent_label(ctx->arena, place->user_agent);
    if (label.p)
        ma_jw_kstr(w, "device", label);
}

void ma_write_application(struct ma_ctx *ctx, struct ma_jw *w, struct ma_span client_id)
{
    if (!client_id.p)
        return;
    const struct ma_state_client *c = ma_state_client(ctx->state, client_id);
    ma_jw_kstr(w, "client_id", client_id);
    if (c && c->name.n > 0)
        ma_jw_kstr(w, "application", c->name);
}
