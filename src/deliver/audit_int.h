/* SPDX-License-Identifier: Apache-2.0
 * Private to the audit webhook: its settings, and one call.
 */
#ifndef MA_DELIVER_AUDIT_INT_H
#define MA_DELIVER_AUDIT_INT_H

#include "ma/audit_hook.h"
#include "ma/crypto.h"
#include "ma/httpc.h"

/* The settings of one configuration. In secure memory. */
struct ma_hook_settings {
    char url[1025]; /* "" none */
    char tenant[256];
    size_t batch;
    struct ma_net_policy policy;
    uint8_t secret[MA_AUDIT_SECRET_MAX];
    size_t secret_n;
};
/* Owned (ma_hook_settings_free). */
MA_MUST_USE int ma_hook_settings_new(const struct ma_conf *conf, struct ma_hook_settings **ret, char why[256]);
void ma_hook_settings_free(struct ma_hook_settings *s);

struct ma_hook_batch {
    struct ma_audit_row *rows;
    size_t n;
    const char *id; /* webhook-id */
};
#define MA_HOOK_ID_MAX 96
/* The batch's id from its first and last row; two installations never give the same. */
void ma_hook_batch_id(struct ma_vault *v, const struct ma_hook_batch *b, char out[MA_HOOK_ID_MAX]);
/* The body: as many rows, from the first on, as fit into MA_AUDIT_BODY_MAX; *ret_rows of them, at least one. arena. */
MA_MUST_USE int ma_hook_body(struct ma_arena *a, const struct ma_hook_settings *s, const struct ma_hook_batch *b,
                             struct ma_span *ret, size_t *ret_rows);
/* "v1,…" for the headers and the body. */
#define MA_HOOK_SIGNATURE_MAX (3 + MA_B64_LEN(MA_SHA256_LEN) + 1)
MA_MUST_USE int ma_hook_sign(const struct ma_hook_settings *s, const char *id, int64_t now_s, struct ma_span body,
                             char *out);
/* Signs and posts the body. MA_OK when the receiver took it; else why has the reason, without anything of the answer.
 */
MA_MUST_USE int ma_hook_call(struct ma_httpc *http, struct ma_arena *a, const struct ma_hook_settings *s,
                             const char *id, int64_t now_s, struct ma_span body, char why[256]);

#endif
