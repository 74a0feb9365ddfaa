/* SPDX-License-Identifier: Apache-2.0
 * GET /factors: what the caller may enrol.
 */
#include "int.h"
#include "ma/methods.h"

int ma_op_get_factors(struct ma_ctx *ctx)
{
    struct ma_jw w;
    uint32_t open = ma_factors_open(ctx);
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_key(&w, "factors");
    ma_jw_arr(&w);
    for (unsigned f = 0; f < MA_FACTOR__COUNT; f++) {
        if (!(open & 1u << f))
            continue;
        ma_jw_obj(&w);
        ma_jw_kcstr(&w, "type", ma_factor_name((enum ma_factor)f));
        ma_jw_key(&w, "usage");
        ma_jw_arr(&w);
        ma_jw_cstr(&w, ma_factor_is_primary((enum ma_factor)f) ? "primary" : "secondary");
        ma_jw_arr_end(&w);
        ma_jw_obj_end(&w);
    }
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}
