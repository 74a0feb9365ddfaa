/* SPDX-License-Identifier: Apache-2.0
 * What the operations on connected accounts share.
 */
#ifndef MA_API_CONNECTED_H
#define MA_API_CONNECTED_H

#include "ma/accounts.h"
#include "ma/jsonw.h"
#include "ma/methods.h"

#define MA_CONNECT_PATH "/connected-accounts/connect"

/* The members of a connected account (wire contract 1.10, 1.11), its object left open. */
void ma_write_account(struct ma_jw *w, const struct ma_account *acc);

#endif
