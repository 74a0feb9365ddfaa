/* SPDX-License-Identifier: Apache-2.0
 * Signs of life of the threads that do the work, for the service manager's watchdog.
 *
 * A thread joins once and then gives a sign whenever it gets on: at each turn of its loop, each row of a statement,
 * each turn of a transfer. A thread that waits for something that need not come (the next request of a connection)
 * rests. One that owes a sign for longer than the limit is stuck.
 */
#ifndef MA_HEARTBEAT_H
#define MA_HEARTBEAT_H

#include "ma/base.h"

struct ma_heartbeats;

/* limit_ms: how old a sign may be; 0: nobody watches, and everything below costs next to nothing.
 * Owned (ma_heartbeats_free, after every thread that joined has ended). MA_E_NOMEM. */
MA_MUST_USE int ma_heartbeats_new(int64_t limit_ms, struct ma_heartbeats **ret);
void ma_heartbeats_free(struct ma_heartbeats *h);

/* The calling thread takes part from now on, under this name (static). h may be NULL. MA_E_NOMEM. */
MA_MUST_USE int ma_heartbeat_join(struct ma_heartbeats *h, const char *name);
/* A sign of life of the calling thread; nothing happens in one that has not joined. Lock-free. */
void ma_heartbeat(void);
/* The calling thread owes no sign until its next one. */
void ma_heartbeat_rest(void);

/* The longest a thread may sleep between two signs, at most `ms`. h may be NULL: ms. */
int64_t ma_heartbeats_nap_ms(const struct ma_heartbeats *h, int64_t ms);
/* The name of a thread whose sign is older than the limit at this time of ma_heartbeats_now_ms, or NULL. Thread-safe.
 */
const char *ma_heartbeats_late(struct ma_heartbeats *h, int64_t now_ms);
/* The clock of the signs: monotonic, coarse. */
int64_t ma_heartbeats_now_ms(void);

#endif
