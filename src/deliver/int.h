/* SPDX-License-Identifier: Apache-2.0
 * What the files of this module share: message texts, letters (the content of an outbox row),
 * transports, and the senders behind them.
 */
#ifndef MA_DELIVER_INT_H
#define MA_DELIVER_INT_H

#include "ma/buf.h"
#include "ma/httpc.h"
#include "ma/outbox.h"
#include "ma/trace.h"

#include <stdatomic.h>

/* --- message texts (templates.c) --- */
enum ma_template_part {
    MA_TEMPLATE_EMAIL_SUBJECT,
    MA_TEMPLATE_EMAIL_TEXT,
    MA_TEMPLATE_SMS_TEXT,
    MA_TEMPLATE_VOICE_TEXT,
    MA_TEMPLATE__COUNT
};
#define MA_TEMPLATE_FILE_MAX 16384     /* bytes of one template file */
#define MA_TEMPLATE_RENDERED_MAX 32768 /* bytes of one rendered text */
#define MA_TEMPLATE_VALUE_MAX 200      /* bytes of one value put into a text; longer ones are cut */

/* Renders one part into the arena. In voice texts {{code}} is spelled "1, 2, 3" so that it is read
 * digit by digit. MA_E_NOTFOUND for an unknown name, MA_E_RANGE when the text grows too long. */
MA_MUST_USE int ma_template_render(const struct ma_templates *t, enum ma_template_part part, const struct ma_message *m,
                                   struct ma_arena *a, struct ma_span *ret);

/* --- letters (payload.c) --- */
enum ma_channel ma_channel_parse(struct ma_span name); /* MA_CHANNEL__COUNT: unknown */
struct ma_letter {
    enum ma_channel channel;
    struct ma_span to, user_id;
    struct ma_span subject, text, code; /* p == NULL: none */
    struct ma_span data;                /* push: JSON object text; p == NULL: none */
    int64_t created_at;
    struct ma_span request_id, traceparent; /* of the request that wrote it; p == NULL: none. Not in the spool */
    struct ma_span json;                    /* the letter as the spool writes it; set by ma_letter_open */
};
#define MA_LETTER_MAX 131072 /* bytes of a letter as JSON */
#define MA_ADDRESS_MAX 320   /* bytes of an address or number */
#define MA_DEVICE_MAX 4104   /* bytes of a device's: "APNS:" and a token of 4 KiB, as FCM's may be */

/* Writes the letter as JSON and seals it for the outbox row `id`. arena. */
MA_MUST_USE int ma_letter_seal(struct ma_vault *v, struct ma_arena *a, struct ma_span id, const struct ma_letter *l,
                               struct ma_span *ret);
/* Opens a row's payload. MA_E_AUTH when it does not verify, MA_E_PARSE when it is no letter. arena. */
MA_MUST_USE int ma_letter_open(struct ma_vault *v, struct ma_arena *a, const struct ma_outbox_row *row,
                               struct ma_letter *ret);

/* --- the spool (spool.c) --- */
struct ma_spool {
    char *path; /* arena of the settings */
    int fd;     /* of the directory; -1 while it cannot be opened */
    uint64_t dev, ino;
    uint64_t sequence; /* last one given out */
};
/* Opens the directory, creating it (not its parents) with mode 0700, and finds the highest sequence. MA_E_INVAL
 * for a path that can never work; after MA_E_IO or MA_E_FULL the spool is usable and tries again at each write. */
MA_MUST_USE int ma_spool_open(struct ma_arena *a, const char *path, struct ma_spool *ret, char why[256]);
void ma_spool_close(struct ma_spool *s);
/* Writes one complete file named after the next sequence. MA_E_IO, MA_E_FULL. */
MA_MUST_USE int ma_spool_write(struct ma_spool *s, const char *channel, struct ma_span json, char why[256]);

/* --- transports: the delivery settings of one configuration (transport.c) --- */
enum ma_transport_kind { MA_TRANSPORT_NONE, MA_TRANSPORT_SPOOL, MA_TRANSPORT_SMTP, MA_TRANSPORT_HTTP };
struct ma_transport {
    enum ma_transport_kind kind;
    const char *url;
    struct ma_spool *spool;
};
struct ma_fcm;
struct ma_apns;
struct ma_transports {
    atomic_uint refs;
    struct ma_arena *a; /* holds everything below, wiped when freed */
    struct ma_transport by[MA_CHANNEL__COUNT];
    struct ma_spool spools[MA_CHANNEL__COUNT];
    size_t n_spools;
    char spool_fault[256];                             /* a spool that cannot be used yet, for the log; "" none */
    const char *email_from, *email_password;           /* "" none */
    const char *sms_account, *sms_password, *sms_from; /* "" none */
    const char *push_token;                            /* of the push gateway; "" none */
    struct ma_fcm *fcm;                                /* NULL: not set up */
    struct ma_apns *apns;                              /* NULL: not set up */
    struct ma_span ca;                                 /* PEM; empty: none */
    struct ma_net_policy policy;
};
/* Everything but the spools: reads the secrets and checks them, touches nothing. Owned (ma_transports_free). */
MA_MUST_USE int ma_transports_read(const struct ma_conf *conf, struct ma_transports **ret, char why[256]);
/* Copies the settings, reads the secrets, opens the spools. Owned (ma_transports_free). */
MA_MUST_USE int ma_transports_new(const struct ma_conf *conf, struct ma_transports **ret, char why[256]);
struct ma_transports *ma_transports_ref(struct ma_transports *t);
void ma_transports_free(struct ma_transports *t); /* with the last reference; NULL is fine */
void ma_transports_free_p(struct ma_transports **t);
/* Spools of the same directory go on counting where `old` stopped. */
void ma_transports_inherit(struct ma_transports *t, const struct ma_transports *old);

/* What goes by one provider fails, waits and recovers together: a channel, or a push service. */
enum ma_line { MA_LINE_FCM = MA_CHANNEL__COUNT, MA_LINE_APNS, MA_LINE__COUNT };
/* The channel's own, or the service's where it is set up and the letter is for its devices. */
int ma_letter_line(const struct ma_transports *t, const struct ma_letter *l);

/* --- sending --- */
struct ma_push_cache;
struct ma_send {
    struct ma_httpc *http;
    struct ma_transports *transports;
    struct ma_arena *a;
    const struct ma_clock *clock;
    struct ma_push_cache *cache; /* push services: what they gave us before; the thread's */
    const char *id;              /* of the outbox row */
    const struct ma_letter *letter;
    char why[256];   /* reason of a failure; may quote what the provider said */
    int64_t wait_ms; /* the provider asked to be left alone for so long; 0: it did not */
};
/* Sends one letter over the transport of its channel. MA_OK: delivered. MA_E_INVAL: refused for good.
 * MA_E_UPSTREAM, MA_E_BUSY, MA_E_IO, MA_E_FULL, MA_E_NOMEM: surely not delivered, try again. Anything
 * else: unknown whether it was delivered, try again a few times. */
MA_MUST_USE int ma_send_letter(struct ma_send *s);
MA_MUST_USE int ma_send_email(struct ma_send *s);
MA_MUST_USE int ma_send_sms(struct ma_send *s);
MA_MUST_USE int ma_send_voice(struct ma_send *s);
MA_MUST_USE int ma_send_push(struct ma_send *s);

/* One addr-spec without comments, quoting or literals (RFC 5322 §3.4.1), UTF-8 allowed (RFC 6532). */
bool ma_email_address_ok(struct ma_span address);
/* The whole RFC 5322 message with CRLF line ends; arena. */
MA_MUST_USE int ma_email_compose(struct ma_arena *a, const char *from, const char *id, const struct ma_letter *l,
                                 struct ma_span *ret);
/* MA_OK for 2xx, MA_E_BUSY for 429 and 503, MA_E_TIMEOUT for what may or may not have been done,
 * MA_E_INVAL for other refusals. */
int ma_gateway_verdict(long status);
/* Retry-After of an answer that says "not now", at most an hour; 0 for others. */
#define MA_GATEWAY_WAIT_MAX_MS 3600000
int64_t ma_gateway_wait_ms(const struct ma_http_answer *answer);

/* --- senders: threads of their own for providers that must not hold up the others (sender.c) --- */

#define MA_SENDER_JOBS 8 /* letters that a sender holds at a time */
struct ma_job {
    struct ma_arena *a;       /* everything below, and the work of sending */
    struct ma_outbox_row row; /* without payload */
    struct ma_letter letter;
    struct ma_trace trace;
    struct ma_send send; /* holds a reference to its transports */
    int result;          /* of ma_send_letter */
    bool tried;          /* false: one before it failed, so it was not sent */
    /* the sender's */
    enum { MA_JOB_FREE, MA_JOB_WAITING, MA_JOB_RUNNING, MA_JOB_ENDED, MA_JOB_TAKEN } state;
    uint64_t serial;
};
struct ma_sender;
struct ma_heartbeats;
struct ma_sender_env {
    const char *name; /* static */
    struct ma_log *log;
    struct ma_heartbeats *heartbeats; /* NULL: nobody watches the thread */
    const struct ma_clock *clock;
    void (*wake)(void *); /* called on the sender's thread whenever a job has ended */
    void *wake_arg;
};
/* The thread starts with the first job. Owned (ma_sender_free). */
MA_MUST_USE int ma_sender_new(const struct ma_sender_env *env, struct ma_sender **ret);
/* The next functions are for the courier's thread. */
/* A job that is free, with an empty arena; NULL when all are in use. */
struct ma_job *ma_sender_job(struct ma_sender *s);
/* It becomes `with`, which is sent after those that were started before. MA_E_NOMEM, and it is still free: the thread
 * cannot be started. */
MA_MUST_USE int ma_sender_start(struct ma_sender *s, struct ma_job *job, const struct ma_job *with);
/* The next job that has ended, in their order, or NULL; it stays in use until ma_sender_release. */
struct ma_job *ma_sender_take(struct ma_sender *s);
/* The jobs that were taken are free again. */
void ma_sender_release(struct ma_sender *s);
bool ma_sender_has(struct ma_sender *s, struct ma_span row_id); /* in use */
size_t ma_sender_busy(struct ma_sender *s);                     /* jobs in use */
/* Joins the thread; a job that it has not begun is not sent. */
void ma_sender_stop(struct ma_sender *s);
/* Ends the call in flight and every later one. Any thread. */
void ma_sender_cancel(struct ma_sender *s);
void ma_sender_free(struct ma_sender *s); /* after ma_sender_stop; NULL is fine */

#endif
