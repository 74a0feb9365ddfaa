/* SPDX-License-Identifier: Apache-2.0
 * Private to the wiring: shared snapshots and the service manager's protocol.
 */
#ifndef MA_APP_INT_H
#define MA_APP_INT_H

#include "ma/app.h"

/* Takes conf, also on failure. Owned (ma_shared_free). */
struct ma_app_shared *ma_shared_new(struct ma_conf *conf);
void ma_shared_free(struct ma_app_shared *s);
/* Take the reference. */
void ma_shared_set_conf(struct ma_app_shared *s, struct ma_conf_ref *fresh);
/* Loads run one at a time, so that an older one cannot be installed last. */
void ma_shared_loading(struct ma_app_shared *s, bool begin);
void ma_shared_set_state(struct ma_app_shared *s, struct ma_state *fresh);
void ma_shared_set_stopping(struct ma_app_shared *s);

/* Administration callbacks (src/app/admin_env.c). */
MA_MUST_USE int ma_app_start_admin(struct ma_app *app, char why[256]);
/* TLS (src/app/tls.c). Reads what conf names into *ret, NULL where TLS is off, and logs what an operator should know of
 * the certificate. log may be NULL. */
MA_MUST_USE int ma_app_tls_open(const struct ma_conf *conf, struct ma_log *log, struct ma_tls **ret, char why[256]);
/* New connections get what conf names; a fault is logged and leaves the old in place. */
void ma_app_tls_reload(struct ma_app *app, const struct ma_conf *conf);
/* Sealing anew after a change of vault keys (src/app/resealer.c). Sets app->resealer; after the lanes have started.
 * poke: there may be work; any thread. stop: before the lanes stop. NULL is fine. */
MA_MUST_USE int ma_resealer_start(struct ma_app *app, char why[256]);
void ma_resealer_poke(struct ma_resealer *r);
void ma_resealer_stop(struct ma_resealer *r);
/* Copies for users, and erasing those who left (src/app/clerk.c). new: sets app->clerk, before the lanes start; start:
 * after them. poke: there is work; any thread. stop: before the lanes stop. NULL is fine for stop and free. */
MA_MUST_USE int ma_clerk_new(struct ma_app *app);
MA_MUST_USE int ma_clerk_start(struct ma_clerk *c, const char *database, char why[256]);
void ma_clerk_poke(struct ma_clerk *c);
void ma_clerk_stop(struct ma_clerk *c);
void ma_clerk_free(struct ma_clerk *c);
/* Reload (src/app/reload.c). */
void ma_app_audiences(const struct ma_conf *conf, struct ma_arena *a, struct ma_span **ret, size_t *ret_n);

/* What is counted and measured (src/app/metrics.c). */
MA_MUST_USE int ma_app_metrics_new(struct ma_app *app);
/* The first row of the health listener among those that ma_metrics_new was told. */
size_t ma_app_health_row(void);

#endif
