/* SPDX-License-Identifier: Apache-2.0
 * Private to the jose module: parsed tokens, key sets, issuers with their caches, and the own key ring.
 */
#ifndef MA_JOSE_INT_H
#define MA_JOSE_INT_H

#include "ma/jose.h"
#include "ma/buf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>
#include <time.h>

#define MA_KID_MAX 255u           /* bytes of a key id */
#define MA_SIG_MAX MA_JWS_SIG_MAX /* bytes: RSA-4096 */
#define MA_JWKS_KEYS_MAX 64u      /* keys of one set */
#define MA_JWKS_BYTES_MAX 262144  /* of a JWKS or discovery document */
#define MA_KID_LESS_TRIES 8u      /* keys tried for a token without kid */
#define MA_ID_TOKEN_MAX 16384     /* bytes of a compact id_token, a provider's or our own */

/* --- jws.c: the compact form (RFC 7515 §7.1) --- */

struct ma_jws {
    enum ma_jws_alg alg;
    bool access;            /* its typ says access token (RFC 9068 §2.1) */
    struct ma_span kid;     /* p == NULL when absent */
    struct ma_span input;   /* borrowed: header "." payload as sent (RFC 7515 §5.2 step 8) */
    struct ma_span payload; /* arena: decoded bytes */
    uint8_t sig[MA_SIG_MAX];
    size_t sig_n;
};
/* Splits, decodes and checks the header. NULL when good, else the reason. A reason for lack of memory is
 * MA_JWS_NOMEM. */
const char *ma_jws_parse(struct ma_arena *a, struct ma_span compact, struct ma_jws *ret);
/* The same for a token of at most max bytes, instead of MA_TOKEN_MAX. */
const char *ma_jws_parse_upto(struct ma_arena *a, struct ma_span compact, size_t max, struct ma_jws *ret);
/* The token's signature was good: its header will be recognised by this thread. */
void ma_jws_remember(struct ma_span compact, const struct ma_jws *jws);
extern const char MA_JWS_NOMEM[];
/* Its pieces, for tokens with a header of their own: three parts, none empty; one part's bytes (arena), NULL or
 * `problem` or MA_JWS_NOMEM. */
bool ma_jws_split(struct ma_span s, struct ma_span *head, struct ma_span *body, struct ma_span *sig);
const char *ma_jws_decode_part(struct ma_arena *a, struct ma_span part, const char *problem, struct ma_span *ret);

struct ma_jwks;
enum ma_jws_verdict { MA_JWS_GOOD, MA_JWS_UNKNOWN_KID, MA_JWS_WRONG_ALG, MA_JWS_BAD_SIG, MA_JWS_UNCHECKED };
/* Looks for the key and checks the signature; `algorithms` is the issuer's list as bits. UNCHECKED: no memory. */
enum ma_jws_verdict ma_jws_check(const struct ma_jws *jws, const struct ma_jwks *set, uint32_t algorithms,
                                 int64_t now_ms);

/* --- jwk.c: keys and key sets (RFC 7517) --- */

struct ma_jwk {
    char kid[MA_KID_MAX + 1];
    size_t kid_n; /* 0: none */
    struct ma_key *key;
    uint32_t algs;                 /* bits of enum ma_jws_alg it may be used with */
    int64_t retires_ms;            /* wall time after which it verifies nothing; 0: never */
    uint8_t digest[MA_SHA256_LEN]; /* over kid, algorithms and public parameters */
};
/* Immutable once published; shared by counted references. */
struct ma_jwks {
    atomic_uint refs;
    size_t n, cap;
    struct ma_jwk v[];
};
struct ma_jwks *ma_jwks_new(size_t cap);
struct ma_jwks *ma_jwks_ref(struct ma_jwks *s);
void ma_jwks_unref(struct ma_jwks *s);
void ma_jwks_unref_p(struct ma_jwks **s);
/* Appends; the set owns the key from here on, in failure too. alg MA_JWS_NONE: everything the key fits. */
MA_MUST_USE int ma_jwks_add(struct ma_jwks *s, struct ma_key *key, struct ma_span kid, enum ma_jws_alg alg,
                            int64_t retires_ms);
/* The first algorithm the key may be used with; MA_JWS_NONE when there is none. */
enum ma_jws_alg ma_jwk_alg(const struct ma_jwk *k);
/* Parses {"keys":[…]}; unusable keys are left out. MA_E_PARSE for a malformed document. */
MA_MUST_USE int ma_jwks_parse(struct ma_span text, struct ma_jwks **ret);
/* True when a key of `old` is not in `now` as it was. Either may be NULL. */
bool ma_jwks_lost_any(const struct ma_jwks *old, const struct ma_jwks *now);
bool ma_jwks_same(const struct ma_jwks *a, const struct ma_jwks *b);
/* The members of one public JWK as they are written there. */
struct ma_jwk_text {
    struct ma_span kty, crv, n, e, x, y;
};
/* Owned (ma_key_free). MA_E_UNSUPPORTED or MA_E_INVAL for a key that is none of ours. */
MA_MUST_USE int ma_jwk_key(struct ma_arena *a, const struct ma_jwk_text *text, struct ma_key **ret);
/* RFC 7638 thumbprint, base64url: 43 characters. */
MA_MUST_USE int ma_jwk_thumbprint(const struct ma_key *key, struct ma_arena *a, char out[44]);
/* Public JWKS text of a set whose keys have one algorithm each. arena. */
MA_MUST_USE int ma_jwks_write(const struct ma_jwks *s, struct ma_arena *a, int64_t now_ms, struct ma_span *ret);

/* --- replay.c: names that may be used once, until they lapse --- */

#define MA_REPLAY_SHARDS 64u
#define MA_REPLAY_SLOTS 16384u /* of a shard, 20 bytes each, made when it is first needed: 20 MiB in all */
#define MA_REPLAY_ROOM                                                                                                 \
    12288u                   /* live names of a shard, 786,432 in all: three quarters, so that searching stays short   \
                              */
#define MA_REPLAY_SLACK_S 30 /* kept past their end: clocks that are read early, or set back a little */

struct ma_replay;
enum ma_replay_verdict { MA_REPLAY_NEW, MA_REPLAY_SEEN, MA_REPLAY_FULL };
/* room: live names of a shard, at most MA_REPLAY_ROOM. Owned (ma_replay_free). */
MA_MUST_USE int ma_replay_new(const struct ma_rand *r, size_t room, struct ma_replay **ret);
void ma_replay_free(struct ma_replay *r);
/* The name is its parts one after the other. Exactly one of any number of threads hears NEW. until_s is the last
 * second in which it matters. FULL: not remembered, so it must be refused. */
enum ma_replay_verdict ma_replay_add(struct ma_replay *r, const struct ma_span *parts, size_t n, int64_t until_s,
                                     int64_t now_s);

/* Whether the name is there, without adding it; true when that cannot be told. */
bool ma_replay_seen(struct ma_replay *r, const struct ma_span *parts, size_t n, int64_t now_s);

/* --- dpop.c --- */

struct ma_dpop;
/* ma_dpop_new with this room in a shard. */
MA_MUST_USE int ma_dpop_new_sized(const struct ma_rand *r, size_t room, struct ma_dpop **ret);
/* An http or https URL without query and fragment, normalised as htu is compared. arena. MA_E_PARSE, MA_E_NOMEM. */
MA_MUST_USE int ma_dpop_url(struct ma_arena *a, struct ma_span url, struct ma_span *ret);

/* --- ring.c: the own signing keys on disk --- */

struct ma_ring_key {
    int64_t created_s, retires_s; /* retires_s 0: signs, or may */
};
/* Keys oldest first; v[i] belongs to jwks->v[i], whose key is the private one. Immutable; counted references. */
struct ma_ring {
    atomic_uint refs;
    struct ma_jwks *jwks;
    size_t n;
    struct ma_ring_key v[MA_JWKS_KEYS_MAX];
};
struct ma_ring *ma_ring_ref(struct ma_ring *r);
void ma_ring_unref(struct ma_ring *r);
void ma_ring_unref_p(struct ma_ring **r);
/* The newest key of this algorithm that does not retire: the one that signs. NULL when there is none. */
const struct ma_jwk *ma_ring_signer(const struct ma_ring *r, enum ma_jws_alg alg);

/* Identity of a file's content, to notice a change. */
struct ma_file_sig {
    int64_t mtime_s, ctime_s, size;
    long mtime_ns, ctime_ns;
    uint64_t ino, dev;
};
/* All zero when the file cannot be looked at. */
struct ma_file_sig ma_file_sig(const char *path);
/* Appends a descriptor's bytes up to its end. MA_E_IO, MA_E_NOMEM, or MA_E_RANGE at the buffer's maximum. */
MA_MUST_USE int ma_jose_read_all(int fd, struct ma_buf *b);
void ma_jose_fd_close_p(int *fd); /* negative: nothing */
bool ma_file_sig_same(const struct ma_file_sig *a, const struct ma_file_sig *b);

/* Reads key_directory/signing.keys; MA_E_NOTFOUND when there is none. */
MA_MUST_USE int ma_ring_load(const char *dir, struct ma_ring **ret, struct ma_file_sig *sig, char why[256]);
/* Loads it, creating the directory (0700), the file, and a key of RS256 and of ES256 as needed. */
MA_MUST_USE int ma_ring_open(const char *dir, int64_t now_s, struct ma_ring **ret, struct ma_file_sig *sig,
                             char why[256]);
/* Adds a fresh key of RS256 or ES256 under the directory's lock, sets retirement of the others of that algorithm, drops
 * what has retired. */
MA_MUST_USE int ma_ring_rotate(const char *dir, enum ma_jws_alg alg, int64_t now_s, int64_t retire_after_s,
                               struct ma_ring **ret, struct ma_file_sig *sig, char why[256]);

/* --- jwks_cache.c: issuers --- */

enum ma_source { MA_SRC_OWN, MA_SRC_FILE, MA_SRC_URL, MA_SRC_DISCOVERY };

#define MA_FORCED_REFRESH_MS 30000   /* between refreshes asked for by unknown kids */
#define MA_PROVIDER_REFRESH_MS 10000 /* the same, of a provider's keys for id_tokens */
#define MA_FIRST_FETCH_MS 5000       /* between tries while there are no keys */
#define MA_JWKS_AGE_MIN_S 60         /* clamps of Cache-Control max-age */
#define MA_JWKS_AGE_MAX_S 86400
#define MA_JWKS_AGE_DEFAULT_S 600
#define MA_JWKS_STALE_MS                                                                                               \
    (INT64_C(86400) * 1000) /* how long an old set outlives its age when nothing newer can be had */
#define MA_BACKOFF_MAX_MS 300000

struct ma_issuer {
    atomic_uint refs;
    char *url, *jwks_uri, *audience; /* immutable; audience "" : the domain's */
    const char *path;                /* MA_SRC_FILE: inside jwks_uri */
    uint32_t algorithms;
    bool provision;
    enum ma_source source;
    int64_t forced_every_ms; /* between forced refreshes */
    bool apart;              /* no access token depends on these keys: the epoch stays when one goes */

    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t done;
    struct ma_jwks *keys; /* NULL: none yet */
    bool fetching;
    uint64_t round;               /* counts finished fetches */
    int last_result;              /* of the last finished fetch */
    int64_t forced_ms, failed_ms; /* monotonic; INT64_MIN: never */
    int64_t refresh_ms;           /* monotonic: when the background should fetch */
    int64_t stale_ms;             /* monotonic: when the set must go */
    int failures;                 /* in a row */
    int64_t loaded_ms, age_ms;    /* monotonic: when the set was fetched; its lifetime as clamped */
    uint64_t fetched, failed;     /* since the start */
    struct ma_file_sig sig;
    int recheck; /* looks that read the file although its signature is the same */
};
MA_MUST_USE int ma_issuer_new(const struct ma_conf_issuer *c, struct ma_issuer **ret);
struct ma_issuer *ma_issuer_ref(struct ma_issuer *i);
void ma_issuer_unref(struct ma_issuer *i);
void ma_issuer_unref_p(struct ma_issuer **i);
struct ma_jwks *ma_issuer_keys(struct ma_issuer *i); /* a reference, or NULL */
/* The same, but NULL for a set that is too old to be used at all. */
struct ma_jwks *ma_issuer_keys_unless_stale(struct ma_jose *j, struct ma_issuer *i);
/* Publishes a set (owned from here on) and moves the epoch when a key is gone. Call with the lock held. */
void ma_issuer_install(struct ma_jose *j, struct ma_issuer *i, struct ma_jwks *set, int64_t max_age_s);
/* Whether verification may ask for a fetch now: MA_TOK_NEED_KEYS, or MA_TOK_NO_KEYS (there are none), or MA_TOK_BAD
 * (the kid is not in `used`, the set that was looked at). */
enum ma_token_verdict ma_issuer_may_ask(struct ma_jose *j, struct ma_issuer *i, const struct ma_jwks *used);
enum ma_fetch {
    MA_FETCH_PLAIN,  /* in any case */
    MA_FETCH_FORCED, /* on behalf of a request, throttled */
    MA_FETCH_DUE     /* only when there is no set, or it is past its age; throttled when there is none */
};
/* Loads the keys from where they come; single flight. MA_E_BUSY: throttled. c may be NULL for sources that are files.
 */
MA_MUST_USE int ma_issuer_fetch(struct ma_jose *j, struct ma_issuer *i, struct ma_httpc *c,
                                const struct ma_net_policy *policy, enum ma_fetch how, char why[256]);
/* Background work: a `file:` source that changed; a URL whose set is due, or too old to keep. */
void ma_issuer_watch(struct ma_jose *j, struct ma_issuer *i);
void ma_issuer_refresh(struct ma_jose *j, struct ma_issuer *i, struct ma_httpc *c, const struct ma_net_policy *policy);
/* Takes over another issuer's keys and times (same source, other rules). */
void ma_issuer_inherit(struct ma_issuer *to, struct ma_issuer *from);

/* --- provider_keys.c: key sets of identity providers, by URI --- */

#define MA_PROVIDER_SETS_MAX 256u
#define MA_JWKS_URI_MAX 2048u /* bytes */

/* Remembered sets; the least recently used one gives way. */
struct ma_provider_keys {
    pthread_mutex_t lock; /* guards the rest; never held while anything is fetched */
    uint64_t tick;
    uint64_t fetched, failed; /* of sets that gave way */
    size_t n;
    struct ma_provider_set {
        struct ma_issuer *issuer; /* url and jwks_uri are the URI */
        uint64_t used;
    } v[MA_PROVIDER_SETS_MAX];
};
void ma_provider_keys_init(struct ma_provider_keys *p);
void ma_provider_keys_clear(struct ma_provider_keys *p);
/* A reference to the URI's set, made when it is not there. MA_E_INVAL: not an http or https URI. */
MA_MUST_USE int ma_provider_keys_get(struct ma_provider_keys *p, const char *jwks_uri, struct ma_issuer **ret);

/* --- measure.c --- */

/* One signature was checked with this algorithm. */
void ma_jose_count(struct ma_metrics *m, enum ma_jws_alg alg, enum ma_jws_verdict v);

/* --- jose.c --- */

/* What a configuration says, as one immutable snapshot with counted references. */
struct ma_view {
    atomic_uint refs;
    size_t n_domains;
    char **iss; /* origin "/" ; index as host_domain */
    char **aud; /* origin "/me/" */
    bool own;   /* the daemon's own issuer is accepted */
    size_t n;   /* issuers, the own one first */
    struct ma_issuer **v;
    struct ma_net_policy policy;
};

struct ma_jose {
    const struct ma_clock *clock;
    const struct ma_rand *rand;
    struct ma_log *log;
    struct ma_metrics *metrics; /* NULL: nothing is counted */
    char *dir;
    atomic_uint_fast64_t epoch;

    pthread_mutex_t lock; /* guards view and ring pointers; held for pointer swaps only */
    struct ma_view *view;
    struct ma_ring *ring;
    pthread_mutex_t ring_lock;   /* serialises readers and writers of the ring file; guards the two below */
    struct ma_file_sig ring_sig; /* of what was read last */
    size_t retired;              /* keys of the ring past their time when last looked */

    struct ma_provider_keys providers;

    pthread_mutex_t stop_lock;
    pthread_cond_t stop_cond;
    bool stopping, started;
    struct ma_httpc *client; /* the refresher's, while it runs; guarded by stop_lock */
    pthread_t watcher, refresher;
};
struct ma_view *ma_jose_view(struct ma_jose *j); /* a reference */
void ma_view_unref(struct ma_view *v);
void ma_view_unref_p(struct ma_view **v);
struct ma_ring *ma_jose_ring(struct ma_jose *j); /* a reference */
/* One round of each background thread. */
void ma_jose_watch(struct ma_jose *j);
void ma_jose_refresh(struct ma_jose *j, struct ma_httpc *c);

/* --- claims.c --- */

struct ma_expect {
    const struct ma_view *view;
    int host_domain;
    int64_t now_ms;
    const char *audience; /* instead of the API's; own tokens only then. NULL: the API's */
};
/* Decodes and checks everything but the signature into *ret (issuer and domain included). NULL, MA_JWS_NOMEM or
 * the reason. */
const char *ma_claims_check(struct ma_arena *a, struct ma_span payload, const struct ma_expect *e,
                            struct ma_token *ret);

#endif
