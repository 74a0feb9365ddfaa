/* SPDX-License-Identifier: Apache-2.0
 * TLS of the listener: a certificate chain with its key, replaced while connections live, and what is
 * offered to clients. Nothing is read from files here.
 */
#ifndef MA_TLS_H
#define MA_TLS_H

#include "ma/log.h"

#define MA_TLS_CHAIN_MAX 8        /* certificates of one chain */
#define MA_TLS_WARN_MS 1209600000 /* fourteen days: a certificate that ends sooner is warned of */
#define MA_TLS_REMIND_MS 86400000 /* once a day */
#define MA_TLS_RSA_BITS_MIN 2048  /* NIST SP 800-131A */
#define MA_TLS_PEM_MAX (1u << 18) /* bytes of a chain */

/* What new connections get. Thread-safe. */
struct ma_tls;
/* One certificate chain with its key, immutable and counted: a connection keeps the one it began with. */
struct ma_tls_identity;

struct ma_tls_pem {
    struct ma_span certificate; /* PEM, the server's own first; the intermediate ones are sorted */
    struct ma_span key;         /* PKCS #8, PKCS #1 or SEC 1, not encrypted */
};

/* `why` says what is wrong with which of the two: MA_E_PARSE, MA_E_INVAL (weak key), MA_E_AUTH (the key is not the
 * certificate's). MA_E_NOMEM. Owned (ma_tls_free, once no connection is left). */
MA_MUST_USE int ma_tls_new(const struct ma_tls_pem *pem, bool only_1_3, struct ma_tls **ret, char why[256]);
void ma_tls_free(struct ma_tls *t);
/* New connections get this one from now on; a failure leaves the old in place. */
MA_MUST_USE int ma_tls_replace(struct ma_tls *t, const struct ma_tls_pem *pem, char why[256]);
/* GnuTLS priority string. Static. */
const char *ma_tls_priority(const struct ma_tls *t);
/* When the current certificate ends (the first of its chain to do so), milliseconds of wall time. */
int64_t ma_tls_expires_ms(struct ma_tls *t);
/* Whether the certificate is for the host of an origin ("https://host[:port]"). */
bool ma_tls_covers(struct ma_tls *t, const char *origin);
/* Logs a certificate that ends within MA_TLS_WARN_MS: at the first call after it was set, then once a day. Cheap. */
void ma_tls_remind(struct ma_tls *t, int64_t now_ms, struct ma_log *log);

/* --- for the file that owns the HTTP library --- */

/* The current identity with a reference for the caller (ma_tls_identity_unref). t may be NULL: NULL. */
struct ma_tls_identity *ma_tls_identity_get(struct ma_tls *t);
void ma_tls_identity_unref(struct ma_tls_identity *id);
/* A gnutls_certificate_retrieve_function3 as a pointer without its type. It asks ma_tls_identity_of. */
typedef void ma_tls_callback(void);
ma_tls_callback *ma_tls_retrieve(void);
/* Defined by the owner of the HTTP library: the identity that a connection of its began with. Borrowed. */
struct ma_tls_identity *ma_tls_identity_of(void *connection);

#endif
