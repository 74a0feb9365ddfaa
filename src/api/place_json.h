/* SPDX-License-Identifier: Apache-2.0
 * Where something was done from, as members of a JSON object.
 */
#ifndef MA_API_PLACE_JSON_H
#define MA_API_PLACE_JSON_H

#include "ma/account.h"

/* "ip", "country" and "device" (browser and system in a few words), those that are known. */
void ma_write_place(struct ma_ctx *ctx, struct ma_jw *w, const struct ma_place *place);
/* "client_id" and, where it is known, "application": its name. Nothing for p == NULL. */
void ma_write_application(struct ma_ctx *ctx, struct ma_jw *w, struct ma_span client_id);

#endif
