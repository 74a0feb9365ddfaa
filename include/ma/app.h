/* SPDX-License-Identifier: Apache-2.0
 * The wiring of one daemon: everything the request path reaches, built once, torn down in order.
 */
#ifndef MA_APP_H
#define MA_APP_H

#include "ma/clock.h"
#include "ma/ctx.h"
#include "ma/jose.h"
#include "ma/limit.h"
#include "ma/outbox.h"
#include "ma/vault.h"

struct ma_heartbeats;
struct ma_lanes;
struct ma_parking;
struct ma_auth_cache;
struct ma_dpop;
struct ma_list_cache;
struct ma_providers;
struct ma_refreshes;
struct ma_http_server;
struct ma_tls;
struct ma_breached;
struct ma_geo;
struct ma_seen;
struct ma_authenticators;
struct ma_ui;
struct ma_app_shared;
struct ma_route;
struct ma_admin;
struct ma_metrics;
struct ma_resealer;
struct ma_clerk;
struct ma_audit;
struct ma_audit_hook;

/* A reference-counted configuration snapshot. */
struct ma_conf_ref;
/* Takes conf; NULL when out of memory (conf is freed then). */
struct ma_conf_ref *ma_conf_ref_new(struct ma_conf *conf);
const struct ma_conf *ma_conf_ref_get(const struct ma_conf_ref *r);
void ma_conf_unref(struct ma_conf_ref *r);

#define MA_HTTP_MORE_MAX 8 /* MA_SD_SOCKETS_MAX */

struct ma_app {
    const struct ma_clock *clock;
    const struct ma_rand *rand;
    struct ma_log *log;
    struct ma_metrics *metrics; /* NULL: nothing is counted */
    double process_start_s;     /* Unix time; worked out once, so that it does not waver with the clock */
    struct ma_vault *vault;
    struct ma_jose *jose;
    struct ma_limits *limits;
    struct ma_auth_cache *auth_cache;
    struct ma_dpop *dpop; /* proofs seen, of the API and the token service */
    struct ma_list_cache *list_cache;
    struct ma_seen *seen;           /* uses of sign-ins */
    struct ma_providers *providers; /* discovery documents of identity providers */
    struct ma_refreshes *refreshes; /* connected accounts being refreshed */
    struct ma_templates *templates;
    struct ma_breached *breached;             /* passwords nobody may choose */
    struct ma_geo *geo;                       /* countries of addresses */
    struct ma_authenticators *authenticators; /* names of passkey providers */
    const struct ma_ui *ui;                   /* the account page; owned */
    struct ma_courier *courier;
    struct ma_audit *audit;           /* the writer's chain */
    struct ma_audit_hook *audit_hook; /* posts the audit trail */
    struct ma_lanes *lanes;
    struct ma_parking *parking;
    struct ma_admin *admin;
    struct ma_resealer *resealer;
    struct ma_clerk *clerk; /* makes copies, erases who left */
    struct ma_http_server *http, *health;
    struct ma_tls *tls;                            /* of the API listener; NULL: plain */
    struct ma_http_server *more[MA_HTTP_MORE_MAX]; /* of further passed sockets */
    size_t n_more;
    struct ma_heartbeats *heartbeats; /* of the threads that work */
    const struct ma_route *routes;    /* of the API listener; owned */
    struct ma_db *writer;             /* the WRITE lane's */
    struct ma_app_shared *shared;     /* snapshots under a lock */
    struct ma_conf_ref *first;        /* of the start: threads borrow what cannot change from it (paths, addresses) */
};

/* Builds and starts everything. `why` is one line for the operator. MA_E_BUSY when another daemon holds
 * the database or the admin socket. Owned (ma_app_stop). */
MA_MUST_USE int ma_app_start(struct ma_conf *conf, const struct ma_clock *clock, struct ma_log *log,
                             struct ma_app **ret, char why[512]);
/* What --check looks at beyond the configuration file: the files it names. Warnings go to stderr. */
MA_MUST_USE int ma_app_check(const struct ma_conf *conf, char why[512]);
/* Drains, stops and frees everything. */
void ma_app_stop(struct ma_app *app);
/* The form of a configuration's log lines, as ma_log_new takes it. */
int ma_app_log_json(const struct ma_conf *conf);
/* SIGHUP: reads the configuration and key files again. Keeps the old ones when the new are wrong. */
void ma_app_reload(struct ma_app *app);
/* SIGUSR1: opens the log file anew. */
void ma_app_log_reopen(struct ma_app *app);
/* The name of a worker thread that has given no sign of life for too long, or NULL. */
const char *ma_app_stuck(const struct ma_app *app);
/* The address the API listens on, for the ready line. Borrowed. */
const char *ma_app_address(const struct ma_app *app);

/* The current snapshots, with a reference for the caller. Thread-safe. */
struct ma_conf_ref *ma_app_conf(const struct ma_app *app);
struct ma_state *ma_app_state(const struct ma_app *app);
/* Loads the state snapshot again after a change (any thread; opens no transaction). */
MA_MUST_USE int ma_app_state_reload(struct ma_app *app, struct ma_db *db);

/* Generation of what is remembered about a user; remembered facts carry the value they were read under. */
uint64_t ma_app_user_generation(const struct ma_app *app, struct ma_span user_id);
void ma_app_user_changed(const struct ma_app *app, struct ma_span user_id);
/* Commits so far; counted before anything in them is acknowledged. */
uint64_t ma_app_commits(const struct ma_app *app);
void ma_app_count_commit(const struct ma_app *app);
/* Whether rows read in this request may be remembered under a generation read after its snapshot was taken: not when
 * something was committed in between, since the generation may then be that of newer rows. */
bool ma_app_may_remember(const struct ma_app *app, const struct ma_ctx *ctx);
/* Room for an answer that is too large for an arena: false when those under way together have MA_LARGE_ANSWERS_MAX. */
#define MA_LARGE_ANSWERS_MAX ((size_t)64 << 20)
bool ma_app_large_take(const struct ma_app *app, size_t n);
void ma_app_large_give(const struct ma_app *app, size_t n);
/* True once stopping began: new work is refused. */
bool ma_app_stopping(const struct ma_app *app);
/* The metrics as Prometheus reads them; what must be looked up is looked up with the given reader, and left out where
 * it cannot be. Any thread. */
MA_MUST_USE int ma_app_metrics_text(const struct ma_app *app, struct ma_db *reader, struct ma_buf *out);
/* Health: NULL when ready, else what is wrong (static). Uses the given reader. */
const char *ma_app_not_ready(const struct ma_app *app, struct ma_db *reader);

#endif
