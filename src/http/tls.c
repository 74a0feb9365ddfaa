/* SPDX-License-Identifier: Apache-2.0
 * The only file that speaks to GnuTLS, which libmicrohttpd is built on: certificates and keys are checked here
 * before any client sees them, and handed out per connection.
 */
#include "ma/tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_ID_BYTES 32
#define HOST_MAX 256

/* RFC 9325: forward secrecy and AEAD only, no RSA key exchange, no CBC, no SHA-1, no renegotiation without RFC 5746.
 * Pinned, so that neither a new GnuTLS nor a system-wide default widens it. */
#define SUITES                                                                                                         \
    "+ECDHE-ECDSA:+ECDHE-RSA:+AES-128-GCM:+CHACHA20-POLY1305:+AES-256-GCM:+AEAD:+COMP-NULL:+CTYPE-SRV-X509:"           \
    "+GROUP-X25519:+GROUP-SECP256R1:+GROUP-SECP384R1:"                                                                 \
    "+SIGN-ECDSA-SECP256R1-SHA256:+SIGN-ECDSA-SECP384R1-SHA384:+SIGN-ECDSA-SHA256:+SIGN-ECDSA-SHA384:"                 \
    "+SIGN-EDDSA-ED25519:+SIGN-RSA-PSS-RSAE-SHA256:+SIGN-RSA-PSS-RSAE-SHA384:+SIGN-RSA-PSS-RSAE-SHA512:"               \
    "+SIGN-RSA-SHA256:+SIGN-RSA-SHA384:+SIGN-RSA-SHA512:%SERVER_PRECEDENCE:%SAFE_RENEGOTIATION"
static const char priority_1_2[] = "NONE:+VERS-TLS1.3:+VERS-TLS1.2:" SUITES;
static const char priority_1_3[] = "NONE:+VERS-TLS1.3:" SUITES;

struct ma_tls_identity {
    _Atomic unsigned refs;
    gnutls_pcert_st chain[MA_TLS_CHAIN_MAX];
    unsigned n;
    gnutls_privkey_t key;
    gnutls_x509_crt_t leaf;
    int64_t expires_ms;
};

struct ma_tls {
    pthread_mutex_t lock;
    struct ma_tls_identity *current;
    _Atomic int64_t remind_ms; /* wall time of the next look; 0: now */
    bool only_1_3;
};

/* --- one identity --- */

static void identity_free(struct ma_tls_identity *id)
{
    for (unsigned i = 0; i < id->n; i++)
        gnutls_pcert_deinit(&id->chain[i]);
    if (id->leaf)
        gnutls_x509_crt_deinit(id->leaf);
    if (id->key)
        gnutls_privkey_deinit(id->key);
    free(id);
}

void ma_tls_identity_unref(struct ma_tls_identity *id)
{
    if (id && atomic_fetch_sub(&id->refs, 1) == 1)
        identity_free(id);
}

static void identity_unref_p(struct ma_tls_identity **id)
{
    ma_tls_identity_unref(*id);
}

static int fault(char why[256], const char *what, int e)
{
    (void)snprintf(why, 256, "%s: %s", what, gnutls_strerror(e));
    return e == GNUTLS_E_MEMORY_ERROR ? MA_E_NOMEM : MA_E_PARSE;
}

static int fault_text(char why[256], int code, const char *text)
{
    (void)snprintf(why, 256, "%s", text);
    return code;
}

static gnutls_datum_t datum(struct ma_span s)
{
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)s.p, (unsigned)s.n}; /* only read */
}

/* PEM to the chain, the server's own certificate first. */
static int take_chain(struct ma_tls_identity *id, gnutls_x509_crt_t *certs, unsigned n, char why[256])
{
    unsigned kept = n;
    for (unsigned i = 0; i < n; i++) {
        int64_t ends = (int64_t)gnutls_x509_crt_get_expiration_time(certs[i]) * 1000;
        if (i == 0 || ends < id->expires_ms)
            id->expires_ms = ends;
    }
    int e = gnutls_pcert_import_x509_list(id->chain, certs, &kept, GNUTLS_X509_CRT_LIST_SORT);
    if (e < 0)
        return fault(why, "tls.certificate cannot be used", e);
    id->n = kept;
    e = gnutls_x509_crt_init(&id->leaf);
    if (e == 0)
        e = gnutls_x509_crt_import(id->leaf, &id->chain[0].cert, GNUTLS_X509_FMT_DER);
    return e < 0 ? fault(why, "tls.certificate cannot be used", e) : MA_OK;
}

static int read_chain(struct ma_tls_identity *id, struct ma_span pem, char why[256])
{
    gnutls_datum_t text = datum(pem);
    gnutls_x509_crt_t *certs = NULL;
    unsigned n = 0;
    int e = gnutls_x509_crt_list_import2(&certs, &n, &text, GNUTLS_X509_FMT_PEM, 0);
    if (e < 0)
        return fault(why, "tls.certificate holds no certificate in PEM", e);
    int r = n > MA_TLS_CHAIN_MAX ? fault_text(why, MA_E_RANGE, "tls.certificate holds more than 8 certificates")
                                 : take_chain(id, certs, n, why);
    for (unsigned i = 0; i < n; i++)
        gnutls_x509_crt_deinit(certs[i]);
    gnutls_free(certs);
    return r;
}

static int read_key(struct ma_tls_identity *id, struct ma_span pem, char why[256])
{
    gnutls_datum_t text = datum(pem);
    int e = gnutls_privkey_init(&id->key);
    if (e == 0)
        e = gnutls_privkey_import_x509_raw(id->key, &text, GNUTLS_X509_FMT_PEM, NULL, 0);
    if (e == GNUTLS_E_DECRYPTION_FAILED)
        return fault_text(why, MA_E_PARSE, "tls.key is encrypted: it must be kept without a passphrase");
    if (e < 0)
        return fault(why, "tls.key holds no private key in PEM", e);
    e = gnutls_privkey_verify_params(id->key);
    return e < 0 ? fault(why, "tls.key is damaged", e) : MA_OK;
}

static int check_strength(const struct ma_tls_identity *id, char why[256])
{
    unsigned bits = 0;
    int algorithm = gnutls_x509_crt_get_pk_algorithm(id->leaf, &bits);
    bool rsa = algorithm == GNUTLS_PK_RSA;
    bool ec = algorithm == GNUTLS_PK_ECDSA && (bits == 256 || bits == 384); /* what the signatures above can use */
    if (rsa && bits < MA_TLS_RSA_BITS_MIN)
        return fault_text(why, MA_E_INVAL, "tls.certificate: an RSA key must have 2048 bits at least");
    if (!rsa && !ec && algorithm != GNUTLS_PK_EDDSA_ED25519)
        return fault_text(why, MA_E_INVAL, "tls.certificate: its key must be RSA, ECDSA on P-256 or P-384, or Ed25519");
    return MA_OK;
}

static int check_match(const struct ma_tls_identity *id, char why[256])
{
    uint8_t a[KEY_ID_BYTES], b[KEY_ID_BYTES];
    size_t an = sizeof a, bn = sizeof b;
    gnutls_pubkey_t pub = NULL;
    int e = gnutls_pubkey_init(&pub);
    if (e == 0)
        e = gnutls_pubkey_import_privkey(pub, id->key, 0, 0);
    if (e == 0)
        e = gnutls_pubkey_get_key_id(pub, GNUTLS_KEYID_USE_SHA256, a, &an);
    if (e == 0)
        e = gnutls_x509_crt_get_key_id(id->leaf, GNUTLS_KEYID_USE_SHA256, b, &bn);
    gnutls_pubkey_deinit(pub);
    if (e < 0)
        return fault(why, "tls.key cannot be compared with tls.certificate", e);
    if (an != bn || memcmp(a, b, an) != 0)
        return fault_text(why, MA_E_AUTH, "tls.key is not the key of tls.certificate");
    return MA_OK;
}

static int identity_new(const struct ma_tls_pem *pem, struct ma_tls_identity **ret, char why[256])
{
    MA_CLEANUP(identity_unref_p) struct ma_tls_identity *id = calloc(1, sizeof *id);
    if (!id)
        return MA_E_NOMEM;
    atomic_store(&id->refs, 1);
    int r = read_chain(id, pem->certificate, why);
    if (r == MA_OK)
        r = read_key(id, pem->key, why);
    if (r == MA_OK)
        r = check_strength(id, why);
    if (r == MA_OK)
        r = check_match(id, why);
    if (r == MA_OK) {
        *ret = id;
        id = NULL;
    }
    return r;
}

/* --- the current one --- */

int ma_tls_new(const struct ma_tls_pem *pem, bool only_1_3, struct ma_tls **ret, char why[256])
{
    struct ma_tls *t = calloc(1, sizeof *t);
    if (!t)
        return MA_E_NOMEM;
    t->only_1_3 = only_1_3;
    int r = identity_new(pem, &t->current, why);
    if (r < 0) {
        free(t);
        return r;
    }
    (void)pthread_mutex_init(&t->lock, NULL);
    *ret = t;
    return MA_OK;
}

void ma_tls_free(struct ma_tls *t)
{
    if (!t)
        return;
    ma_tls_identity_unref(t->current);
    (void)pthread_mutex_destroy(&t->lock);
    free(t);
}

int ma_tls_replace(struct ma_tls *t, const struct ma_tls_pem *pem, char why[256])
{
    struct ma_tls_identity *fresh = NULL;
    int r = identity_new(pem, &fresh, why);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&t->lock);
    struct ma_tls_identity *old = t->current;
    t->current = fresh;
    (void)pthread_mutex_unlock(&t->lock);
    ma_tls_identity_unref(old);
    atomic_store(&t->remind_ms, 0);
    return MA_OK;
}

const char *ma_tls_priority(const struct ma_tls *t)
{
    return t->only_1_3 ? priority_1_3 : priority_1_2;
}

struct ma_tls_identity *ma_tls_identity_get(struct ma_tls *t)
{
    if (!t)
        return NULL;
    (void)pthread_mutex_lock(&t->lock);
    struct ma_tls_identity *id = t->current;
    atomic_fetch_add(&id->refs, 1);
    (void)pthread_mutex_unlock(&t->lock);
    return id;
}

int64_t ma_tls_expires_ms(struct ma_tls *t)
{
    MA_CLEANUP(identity_unref_p) struct ma_tls_identity *id = ma_tls_identity_get(t);
    return id->expires_ms;
}

bool ma_tls_covers(struct ma_tls *t, const char *origin)
{
    MA_CLEANUP(identity_unref_p) struct ma_tls_identity *id = ma_tls_identity_get(t);
    char host[HOST_MAX];
    const char *sep = strstr(origin, "://");
    const char *p = sep ? sep + 3 : origin;
    bool v6 = *p == '[';
    size_t n = v6 ? strcspn(++p, "]") : strcspn(p, ":/");
    if (n == 0 || n >= sizeof host)
        return false;
    memcpy(host, p, n);
    host[n] = '\0';
    return gnutls_x509_crt_check_hostname(id->leaf, host) != 0;
}

void ma_tls_remind(struct ma_tls *t, int64_t now_ms, struct ma_log *log)
{
    if (!t || now_ms < atomic_load_explicit(&t->remind_ms, memory_order_relaxed))
        return;
    atomic_store(&t->remind_ms, now_ms + MA_TLS_REMIND_MS);
    int64_t left = ma_tls_expires_ms(t) - now_ms;
    if (left <= 0)
        ma_log(log, MA_LOG_ERROR, "tls.certificate_expired", MA_KV_I("days", -left / 86400000));
    else if (left < MA_TLS_WARN_MS)
        ma_log(log, MA_LOG_WARN, "tls.certificate_expires", MA_KV_I("days", left / 86400000));
}

/* --- handshakes --- */

static int retrieve(gnutls_session_t session, const struct gnutls_cert_retr_st *info, gnutls_pcert_st **ret_chain,
                    unsigned *ret_n, gnutls_ocsp_data_st **ret_ocsp, unsigned *ret_ocsp_n, gnutls_privkey_t *ret_key,
                    unsigned *ret_flags)
{
    (void)info;
    struct ma_tls_identity *id = ma_tls_identity_of(gnutls_session_get_ptr(session));
    if (!id)
        return -1; /* no memory to watch the connection: none is made */
    *ret_chain = id->chain;
    *ret_n = id->n;
    *ret_ocsp = NULL;
    *ret_ocsp_n = 0;
    *ret_key = id->key;
    *ret_flags = 0; /* nothing is GnuTLS's to free: the connection holds the reference */
    return 0;
}

ma_tls_callback *ma_tls_retrieve(void)
{
    return (ma_tls_callback *)retrieve;
}
