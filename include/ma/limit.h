/* SPDX-License-Identifier: Apache-2.0
 * Request token buckets in memory: fixed size, sharded, thread-safe. A full bucket is the same as
 * no bucket, so the fullest entry of a set is the one to evict.
 */
#ifndef MA_LIMIT_H
#define MA_LIMIT_H

#include "ma/metrics.h"
#include "ma/rand.h"

enum ma_bucket {
    MA_BUCKET_READ,
    MA_BUCKET_WRITE,
    MA_BUCKET_TENANT_READ,
    MA_BUCKET_TENANT_WRITE,
    MA_BUCKET_ADDRESS,
    MA_BUCKET_LOGIN,      /* failed logins of an identifier from an address */
    MA_BUCKET_NOTICE,     /* how often such an address is noted */
    MA_BUCKET_FLOW,       /* sign-ins that an address begins */
    MA_BUCKET_OAUTH,      /* failures of an address at the token service */
    MA_BUCKET_CLIENT,     /* failed authentications of a client from an address */
    MA_BUCKET_USERINFO,   /* userinfo requests of a user */
    MA_BUCKET_NAME,       /* failed logins under a name that nobody has */
    MA_BUCKET_CREDENTIAL, /* failed assertions of a credential from an address */
    MA_BUCKET_MESSAGES,   /* messages that an address causes */
    MA_BUCKET_SIGNUP,     /* users that an address makes */
    MA_BUCKET_FORM,       /* forms of a hosted login */
    MA_BUCKET_FORMS,      /* forms that an address sends */
    MA_BUCKET_LINK,       /* pages of security links that an address opens */
    MA_BUCKET_QR,         /* pictures that an address asks for */
    MA_BUCKET_DEVICES,    /* requests that an address sends as a device */
    MA_BUCKET_DEVICE,     /* failures about one device or transaction */
    MA_BUCKET_POLL,       /* how often one challenge is asked about */
    MA_BUCKET__COUNT      /* more are counted behind these: enum ma_m_bucket */
};

struct ma_limits;
MA_MUST_USE int ma_limits_new(const struct ma_rand *r, struct ma_limits **ret); /* owned (ma_limits_free) */
void ma_limits_free(struct ma_limits *l);
/* Counts refusals there from now on (by both functions below). Before any other thread uses l. */
void ma_limits_observe(struct ma_limits *l, struct ma_metrics *m);

struct ma_limit_state {
    bool allowed;
    int64_t limit, remaining;
    int64_t reset_s;       /* unix seconds when the next token arrives (now when full) */
    int64_t retry_after_s; /* ≥ 1 when refused */
};
/* Takes a token of the key's bucket: `limit` tokens per period_ms, burst equal. limit 0: off (allowed,
 * nothing counted, limit and remaining MA_LIMIT_OFF). */
#define MA_LIMIT_OFF 1000000000
void ma_limit_take(struct ma_limits *l, enum ma_bucket b, struct ma_span key, int64_t limit, int64_t period_ms,
                   int64_t now_ms, struct ma_limit_state *ret);
/* Looks without taking. */
void ma_limit_peek(struct ma_limits *l, enum ma_bucket b, struct ma_span key, int64_t limit, int64_t period_ms,
                   int64_t now_ms, struct ma_limit_state *ret);

#endif
