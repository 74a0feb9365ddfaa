/* SPDX-License-Identifier: Apache-2.0
 * How domain results look on the wire.
 */
#ifndef MA_API_METHOD_JSON_H
#define MA_API_METHOD_JSON_H

#include "ma/jsonw.h"
#include "ma/methods.h"
#include "ma/passkey_wire.h"

/* One method object, in the shape of its type (wire contract 2.3). */
void ma_write_method(struct ma_jw *w, const struct ma_method_view *v);
/* {"policy":…} value of a password enrolment (wire contract 2.8). */
void ma_write_password_policy(struct ma_jw *w, const struct ma_password_policy *p);
/* Location: the absolute, percent-encoded URL of a method. */
void ma_method_location(struct ma_ctx *ctx, struct ma_span id);

#endif
