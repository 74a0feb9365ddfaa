/* SPDX-License-Identifier: Apache-2.0
 * Push services: whose device an address names, what the operator set up for each, and the senders.
 */
#ifndef MA_DELIVER_PUSH_INT_H
#define MA_DELIVER_PUSH_INT_H

#include "ma/crypto.h"

#include "int.h"

#define MA_PUSH_TTL_MS 300000        /* a sign-in that nobody answered for so long has lapsed */
#define MA_PUSH_PAYLOAD_MAX 4096     /* bytes; both services' limit */
#define MA_PUSH_TIMEOUT_MS 10000     /* of one call */
#define MA_PUSH_ANSWER_MAX 65536u    /* bytes of an answer */
#define MA_PUSH_REASON_MAX 48        /* a provider's name for an error, with its NUL */
#define MA_PUSH_CREDENTIAL_MAX 4096u /* bytes of a token that a provider issued, or that we sign */

/* --- push.c --- */

/* "GCM:<token>" and "APNS:<token>", the names devices use for their services. */
enum ma_push_service { MA_PUSH_OTHER, MA_PUSH_GCM, MA_PUSH_APNS };
enum ma_push_service ma_push_service(struct ma_span to, struct ma_span *ret_token);

/* What a sender remembers between two calls; one thread's. A configuration with other keys has another owner. */
struct ma_push_cache {
    uint8_t owner[MA_SHA256_LEN];
    char credential[MA_PUSH_CREDENTIAL_MAX + 1]; /* "" none */
    int64_t from_ms, until_ms;                   /* wall time in which it is good */
};
/* Owned (ma_push_cache_free, which wipes it); NULL when out of memory. */
struct ma_push_cache *ma_push_cache_new(void);
void ma_push_cache_free(struct ma_push_cache *k);
void ma_push_cache_clear(struct ma_push_cache *k);
/* True when it holds a credential of this owner that is good now; cleared where it is somebody else's. */
bool ma_push_cache_good(struct ma_push_cache *k, const uint8_t owner[MA_SHA256_LEN], int64_t now_ms);
/* Replaces the credential. MA_E_RANGE when it is too long. */
MA_MUST_USE int ma_push_cache_put(struct ma_push_cache *k, struct ma_span credential, int64_t from_ms,
                                  int64_t until_ms);

/* One POST of a push service. Sets s->wait_ms from the answer. */
struct ma_push_post {
    const char *url;
    const char *const *headers; /* NULL-terminated */
    struct ma_span body;
    bool http2;
};
MA_MUST_USE int ma_push_post(struct ma_send *s, const struct ma_push_post *p, struct ma_http_answer *ret);

/* A provider's word for an error, cut to the letters, digits, "_" and "-" that such words consist of. */
void ma_push_word(struct ma_span from, char out[MA_PUSH_REASON_MAX]);
/* The secret a reference names, as a string; messages start with "delivery.KEY: ". arena. */
MA_MUST_USE int ma_push_secret(struct ma_arena *a, const char *key, const char *ref, struct ma_span *ret,
                               char why[256]);
/* A private key in PEM that signs with this algorithm. Owned (ma_key_free). */
MA_MUST_USE int ma_push_key(struct ma_span pem, enum ma_jws_alg alg, const char *key, struct ma_key **ret,
                            char why[256]);

/* --- fcm.c: Firebase Cloud Messaging, HTTP v1 --- */

struct ma_fcm {
    const char *send_url, *token_uri, *client_email, *key_id; /* arena of the settings */
    struct ma_key *key;
    uint8_t digest[MA_SHA256_LEN]; /* of the key file */
};
/* Reads the service account's file. In a's memory but for the key (ma_fcm_clear). */
MA_MUST_USE int ma_fcm_load(struct ma_arena *a, const struct ma_conf *conf, struct ma_fcm **ret, char why[256]);
void ma_fcm_clear(struct ma_fcm *f); /* NULL is fine */
MA_MUST_USE int ma_send_fcm(struct ma_send *s);

/* --- apns.c: Apple Push Notification service, token-based --- */

struct ma_apns {
    const char *base_url, *key_id, *team_id, *topic, *alert; /* arena of the settings */
    struct ma_key *key;
    uint8_t digest[MA_SHA256_LEN]; /* of key, key id and team id */
};
MA_MUST_USE int ma_apns_load(struct ma_arena *a, const struct ma_conf *conf, struct ma_apns **ret, char why[256]);
void ma_apns_clear(struct ma_apns *p); /* NULL is fine */
MA_MUST_USE int ma_send_apns(struct ma_send *s);

#endif
