/* SPDX-License-Identifier: Apache-2.0
 * Private to the account page: its operations.
 */
#ifndef MA_UI_INT_H
#define MA_UI_INT_H

#include "ma/ui.h"

/* GET /account and /account/{name} */
int ma_op_account_page(struct ma_ctx *ctx);
int ma_op_account_file(struct ma_ctx *ctx);
/* POST /account/qr: the text of the body as a picture. Nothing is kept. */
int ma_op_account_qr(struct ma_ctx *ctx);

#endif
