/* SPDX-License-Identifier: Apache-2.0
 * Operations of devices that approve sign-ins: the protocol of the vendor's Guardian SDKs.
 */
#ifndef MA_API_DEVICE_H
#define MA_API_DEVICE_H

#include "ma/ctx.h"
#include "ma/push.h"

int ma_op_device_enrol_prepare(struct ma_ctx *ctx);
int ma_op_device_enrol(struct ma_ctx *ctx);
int ma_op_device_answer_prepare(struct ma_ctx *ctx);
int ma_op_device_answer(struct ma_ctx *ctx);
int ma_op_device_update_prepare(struct ma_ctx *ctx);
int ma_op_device_update(struct ma_ctx *ctx);
int ma_op_device_delete_prepare(struct ma_ctx *ctx);
int ma_op_device_delete(struct ma_ctx *ctx);

#endif
