/* SPDX-License-Identifier: Apache-2.0
 * The threads behind the HTTP front end: one group-committing writer, a hashing lane and a network
 * lane, each with a bounded queue.
 *
 * A call out may hang until its time is up. So that nobody who hangs fills the network lane, only
 * MA_NET_PER_KEY requests of one ctx->net_key run at a time (a provider's host, a token issuer), and all
 * those with ctx->net_provider together leave MA_NET_RESERVED threads to the rest: a token issuer's keys,
 * without which no request of its users gets in, can always be fetched.
 */
#ifndef MA_LANES_H
#define MA_LANES_H

#include "ma/ctx.h"

#define MA_NET_THREADS 12
#define MA_NET_PER_KEY 4
#define MA_NET_RESERVED 2 /* threads that calls to identity providers leave free */

struct ma_lanes;
struct ma_heartbeats;
struct ma_httpc;
struct ma_metrics;

struct ma_lanes_env {
    const struct ma_app *app;
    const char *database;
    struct ma_db *writer; /* borrowed */
    struct ma_log *log;
    struct ma_metrics *metrics;       /* NULL: nothing is counted */
    struct ma_heartbeats *heartbeats; /* borrowed; NULL: nobody watches the threads */
    int64_t queue;                    /* entries per lane */
    int64_t write_batch;              /* requests per commit */
    /* Called on a lane thread when a request's step is done (answered or to go on elsewhere). */
    void (*finished)(struct ma_ctx *);
    /* The step failed and its changes were rolled back: may leave rows about it, all of them or, with an error, none.
     * Writer thread, in the transaction. */
    int (*rolled_back)(struct ma_ctx *);
    /* Every few seconds, in a transaction of its own; soon again when it says that more is left. */
    int (*housekeeping)(const struct ma_app *, struct ma_db *, bool *ret_more);
    /* A transaction was committed; nothing in it is acknowledged yet. Writer thread. */
    void (*count_commit)(const struct ma_app *);
    /* For each request of it, on the writer thread. */
    void (*committed)(const struct ma_app *, struct ma_ctx *);
};
MA_MUST_USE int ma_lanes_start(const struct ma_lanes_env *env, struct ma_lanes **ret, char why[256]);
/* Takes nothing new, finishes everything queued, then joins the threads. ma_lane_reserve stays legal and refuses. */
void ma_lanes_stop(struct ma_lanes *l);
/* After ma_lanes_stop, when nobody can ask any more. NULL is fine. */
void ma_lanes_free(struct ma_lanes *l);

/* Reserves a place in the lane's queue for this context, or false when it is full. */
bool ma_lane_reserve(struct ma_lanes *l, enum ma_lane lane);
/* Publishes a context for which a place was reserved; it is the lane's from now on. */
void ma_lane_push(struct ma_lanes *l, enum ma_lane lane, struct ma_ctx *ctx);
/* Runs fn in the writer's next transaction (in a savepoint of its own) and waits for the commit; any
 * thread but the writer's. MA_OK only when committed. */
MA_MUST_USE int ma_lanes_write(struct ma_lanes *l, int (*fn)(struct ma_db *, void *), void *arg);
/* Has the writer rewrite the database (ma_db_scrub) and cut its log (ma_db_truncate_wal) between two transactions, so
 * that nothing deleted is left in the files. Waits for it at most wait_ms: MA_E_TIMEOUT; cutting is tried every second
 * until it is done all the same. MA_E_RANGE: the log was cut, but the database is larger than max_bytes. Those who wait
 * at once are served by one rewriting. Any thread but the writer's. */
MA_MUST_USE int ma_lanes_scrub(struct ma_lanes *l, int64_t max_bytes, int64_t wait_ms);
/* Whether ma_lanes_write refuses for good. */
bool ma_lanes_stopped(struct ma_lanes *l);
/* Queue depths, for health. */
size_t ma_lane_depth(const struct ma_lanes *l, enum ma_lane lane);
/* The HTTP client of the calling NET thread; NULL elsewhere. */
struct ma_httpc *ma_lane_httpc(void);
/* How many commits and requests the writer has done, for the benchmark's report. */
void ma_lanes_counters(const struct ma_lanes *l, uint64_t *commits, uint64_t *requests);

#endif
