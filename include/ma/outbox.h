/* SPDX-License-Identifier: Apache-2.0
 * Messages to people: written in the transaction that makes them necessary, sent by the courier
 * thread, retried with backoff, dead after the last try. Payloads are sealed in the database.
 */
#ifndef MA_OUTBOX_H
#define MA_OUTBOX_H

#include "ma/clock.h"
#include "ma/conf.h"
#include "ma/store.h"
#include "ma/vault.h"

enum ma_channel { MA_CHANNEL_EMAIL, MA_CHANNEL_SMS, MA_CHANNEL_VOICE, MA_CHANNEL_PUSH, MA_CHANNEL__COUNT };
const char *ma_channel_name(enum ma_channel c); /* "email"; static */

/* What a message is about: names its template files, "<name>.email.subject", "<name>.email.text",
 * "<name>.sms.text", "<name>.voice.text". Placeholders: {{code}} {{tenant}} {{minutes}} {{name}}, and in notices
 * {{what}} {{when}} {{browser}} {{address}} {{link}} {{hours}} {{until}}. */
struct ma_message {
    enum ma_channel channel;
    struct ma_span user_id;
    struct ma_span to;         /* address or number; push: "GCM:<token>" or "APNS:<token>" */
    const char *template_name; /* "enroll-code" */
    struct ma_span code;       /* empty: none */
    struct ma_span tenant;     /* tenant.friendly_name */
    struct ma_span name;       /* the user's name; may be empty */
    int minutes;               /* validity of the code */
    /* notices; empty: none */
    struct ma_span what, when, browser, address; /* of a change */
    const char *link;                            /* of trusted parts, put as it is; NULL: none */
    int hours;                                   /* how long it works */
    struct ma_span until;                        /* the time it works to, for people */
    struct ma_span data;                         /* push: a JSON object of strings for the app; empty: none */
};

/* Reads the files that the delivery settings name, and says what is wrong with them ("delivery.KEY: ..."); nothing is
 * made or sent. MA_E_INVAL, MA_E_NOTFOUND, MA_E_PERM, MA_E_IO, MA_E_NOMEM. */
MA_MUST_USE int ma_delivery_check(const struct ma_conf *conf, char why[256]);

struct ma_templates; /* built-in texts, replaced by files of delivery.templates */
MA_MUST_USE int ma_templates_load(const char *directory, struct ma_templates **ret, char why[256]);
void ma_templates_free(struct ma_templates *t);

/* Renders, seals and inserts, inside the caller's transaction. The caller wakes the courier after commit. */
MA_MUST_USE int ma_outbox_enqueue(struct ma_db *db, struct ma_vault *v, const struct ma_templates *t,
                                  const struct ma_rand *rand, struct ma_arena *a, const struct ma_message *m,
                                  int64_t now_ms);

/* An address as logs and notices show it: "a***@example.com", "+1***5678". */
#define MA_MASKED_MAX 96
void ma_address_mask(struct ma_span to, char out[MA_MASKED_MAX]);

/* The courier thread. It reads with its own read-only connection and asks for its writes through
 * `write` (runs fn(db, arg) in the writer's next transaction and waits for the commit). */
struct ma_courier;
struct ma_heartbeats;
struct ma_metrics;
struct ma_courier_env {
    const char *database;
    const struct ma_clock *clock;
    struct ma_log *log;
    struct ma_metrics *metrics; /* NULL: nothing is counted */
    struct ma_vault *vault;
    struct ma_heartbeats *heartbeats; /* borrowed; NULL: nobody watches the thread */
    int (*write)(void *write_arg, int (*fn)(struct ma_db *, void *), void *arg);
    void *write_arg;
};
MA_MUST_USE int ma_courier_start(const struct ma_courier_env *env, const struct ma_conf *conf, struct ma_courier **ret,
                                 char why[256]);
/* New delivery settings (SIGHUP); conf is copied as far as needed. */
void ma_courier_reload(struct ma_courier *c, const struct ma_conf *conf);
/* Something new may be due. Thread-safe, cheap. */
void ma_courier_wake(struct ma_courier *c);
/* Joins the thread; its last results go through `write`, so the writer must still run. ma_courier_wake stays legal. */
void ma_courier_stop(struct ma_courier *c);
/* Stops it if need be and frees it; nobody may wake it any more. NULL is fine. */
void ma_courier_free(struct ma_courier *c);

/* A message that a transport surely did not take (unreachable, busy) waits until it is MA_OUTBOX_KEEP_MS
 * old, however often its transport is probed. Where it is unknown whether it was taken (a time-out, a
 * failing gateway) repeating may deliver twice, so that is tried MA_OUTBOX_TRIES times. Then it is dead, as is at
 * once what the transport refuses for good. */
#define MA_OUTBOX_TRIES 10
#define MA_OUTBOX_BACKOFF_MS 1000       /* first; doubles, with jitter, … */
#define MA_OUTBOX_BACKOFF_MAX_MS 600000 /* … to this between tries, */
#define MA_OUTBOX_PROBE_MS 30000        /* … and to this while the transport does not take anything */
#define MA_OUTBOX_KEEP_MS 86400000

#endif
