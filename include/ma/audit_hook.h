/* SPDX-License-Identifier: Apache-2.0
 * Posting the audit trail to a webhook (deliver/audit_hook.c, deliver/audit_call.c).
 *
 * The trail itself is the queue, and a cursor in the database says how far the receiver has come: a receiver that is
 * away costs no space, a crash loses nothing, and a batch that was begun is sent again with the same rows and the same
 * id. Rows go in their order, at least once. A thread of its own sends them, so that neither requests nor messages to
 * people wait for the receiver.
 *
 * A call is a POST of a JSON array of {"log_id","data"} (the vendor's log stream), signed after the Standard Webhooks
 * convention:
 *   webhook-id         "msg_" and chain, first and last row: the same whenever the batch is sent again
 *   webhook-timestamp  seconds since the epoch
 *   webhook-signature  "v1," and base64 of HMAC-SHA-256(secret, id "." timestamp "." body)
 * Any 2xx takes the batch. Everything else is tried again with the courier's delays, up to MA_OUTBOX_BACKOFF_MAX_MS.
 */
#ifndef MA_AUDIT_HOOK_H
#define MA_AUDIT_HOOK_H

#include "ma/audit.h"
#include "ma/outbox.h"

struct ma_audit_hook;
/* Starts the thread, also when no webhook is configured: a reload may name one. The first time there is one, it begins
 * with the rows written from then on; older ones are for `audit export`. MA_E_INVAL, MA_E_PERM … with `why` when the
 * secret cannot be used. env is copied. Owned (ma_audit_hook_free). */
MA_MUST_USE int ma_audit_hook_start(const struct ma_courier_env *env, const struct ma_conf *conf,
                                    struct ma_audit_hook **ret, char why[256]);
/* New settings (SIGHUP); conf is copied as far as needed. What cannot be used is logged and leaves the old. */
void ma_audit_hook_reload(struct ma_audit_hook *h, const struct ma_conf *conf);
/* Ends a call in flight and joins the thread; the writer must still run. NULL is fine. */
void ma_audit_hook_stop(struct ma_audit_hook *h);
void ma_audit_hook_free(struct ma_audit_hook *h);

#define MA_AUDIT_SECRET_MIN 24
#define MA_AUDIT_SECRET_MAX 64
#define MA_AUDIT_POLL_MS 1000      /* how often new rows are looked for */
#define MA_AUDIT_CALL_MS 10000     /* one call */
#define MA_AUDIT_BODY_MAX 1048576u /* bytes of one call; more rows wait for the next */

#endif
