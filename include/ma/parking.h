/* SPDX-License-Identifier: Apache-2.0
 * Requests that wait for something to happen without holding a thread: suspended at their connection, owned by the
 * parking until what they wait for is committed, their time is up, or the daemon stops. Then their step runs again.
 *
 * A step of the WRITE lane that found nothing yet returns ma_park. Nothing is missed in between: whoever makes it
 * happen does so in the same lane, and the writer parks and wakes in the order in which it ran them.
 */
#ifndef MA_PARKING_H
#define MA_PARKING_H

#include "ma/ctx.h"

#define MA_PARKED_MAX 256    /* in all */
#define MA_PARKED_PER_USER 3 /* of one user; more go on at once */

struct ma_parking;
/* app is borrowed for life. Owned (ma_parking_free, when nothing is parked any more). */
MA_MUST_USE int ma_parking_new(const struct ma_app *app, struct ma_parking **ret);
void ma_parking_free(struct ma_parking *p);

/* Has the request wait for `key`, at most wait_ms from its first time on, and then run `step` in the WRITE lane.
 * Returns MA_E_NEXT. ctx->park.over in a step: it has waited enough. */
int ma_park(struct ma_ctx *ctx, struct ma_span key, int64_t wait_ms, ma_step step);

/* Takes a request that returned from ma_park. false: there is no room, it is to go on at once. Writer thread. */
bool ma_parking_take(struct ma_parking *p, struct ma_ctx *ctx);
/* What waits for `key` goes on. Writer thread, after the commit. */
void ma_parking_wake(struct ma_parking *p, struct ma_span key);
/* Those whose time is up go on. Any thread, now and then. */
void ma_parking_tick(struct ma_parking *p);
/* All go on, and nothing is taken any more: the daemon stops. Before the lanes do. NULL is fine. */
void ma_parking_close(struct ma_parking *p);
size_t ma_parking_count(struct ma_parking *p);

#endif
