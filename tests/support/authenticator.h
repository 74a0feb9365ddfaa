/* SPDX-License-Identifier: Apache-2.0
 * A software authenticator together with the client in front of it: real keys, real registrations and assertions, and
 * every field open to be set wrong before the answer is signed.
 */
#ifndef MA_TEST_AUTHENTICATOR_H
#define MA_TEST_AUTHENTICATOR_H

#include "ma/buf.h"
#include "ma/webauthn.h"

#include <openssl/evp.h>

/* --- CBOR, whatever is asked for --- */
void sa_head(struct ma_buf *b, unsigned major, uint64_t arg); /* in the shortest form */
void sa_int(struct ma_buf *b, int64_t v);
void sa_bytes(struct ma_buf *b, struct ma_span s);
void sa_text(struct ma_buf *b, const char *s);
void sa_array(struct ma_buf *b, uint64_t n);
void sa_map(struct ma_buf *b, uint64_t n);

/* --- keys --- */
enum sa_key_type { SA_ES256, SA_EDDSA, SA_RS256, SA_ES384, SA_RSA1024, SA_KEYS };
/* Made once per process and kept; which: 0 or 1, so that there are two of each. */
EVP_PKEY *sa_key(enum sa_key_type type, int which);
int sa_cose_alg(enum sa_key_type type);
/* The COSE_Key; arena. */
struct ma_span sa_cose(struct ma_arena *a, EVP_PKEY *key, enum sa_key_type type);
/* As WebAuthn has it: DER for ECDSA; arena. */
struct ma_span sa_sign(struct ma_arena *a, EVP_PKEY *key, struct ma_span data);

/* --- attestation certificates --- */
struct sa_cert {
    enum sa_key_type key;
    int which;
    int version;                 /* 3 */
    const char *c, *o, *ou, *cn; /* NULL: left out */
    const char *second_ou;       /* NULL: none */
    int ca;                      /* basic constraints: -1 none, 0 no, 1 yes */
    struct ma_span aaguid;       /* value of id-fido-gen-ce-aaguid, with its OCTET STRING; p == NULL: no extension */
    bool aaguid_critical;
};
/* One with everything right, for the P-256 key number 1. */
struct sa_cert sa_cert_good(void);
/* DER; arena. */
struct ma_span sa_cert(struct ma_arena *a, const struct sa_cert *cert);

/* --- ceremonies --- */
enum sa_format { SA_NONE, SA_PACKED, SA_PACKED_SELF, SA_U2F, SA_OTHER };

struct sa_ceremony {
    struct ma_arena *arena;
    /* Client data. */
    const char *type, *origin;
    struct ma_span challenge;
    const char *challenge_text; /* instead of the base64url of the challenge */
    const char *extra;          /* further members, with their comma in front */
    const char *client_data;    /* instead of all of it */
    /* Authenticator data. */
    const char *rp_id;
    uint8_t flags; /* AT is added for registrations */
    bool without_at;
    uint32_t sign_count;
    uint8_t aaguid[MA_WEBAUTHN_AAGUID_LEN];
    struct ma_span credential_id;
    int id_length;             /* the length that is claimed; -1: the true one */
    struct ma_span cose;       /* instead of the key's */
    struct ma_span extensions; /* encoded; the ED flag is not set by itself */
    struct ma_span tail;       /* bytes after it all */
    size_t cut;                /* bytes cut off the end */
    /* The credential's key. */
    enum sa_key_type key;
    int which;
    /* Attestation. */
    enum sa_format format;
    const char *fmt; /* instead of the format's name */
    int att_alg;     /* alg of the statement; 0: the true one */
    struct sa_cert cert;
    struct ma_span leaf;    /* instead of the certificate */
    size_t n_certs;         /* times the certificate stands in x5c */
    struct ma_span stmt;    /* instead of the statement */
    const char *stmt_extra; /* a further member of the statement, with the value true */
    /* Signatures. */
    struct ma_span sig;   /* instead of the signature */
    bool other_data;      /* signs something else */
    bool sign_with_other; /* signs with the other key of the type */
    /* Assertions. */
    struct ma_span user_handle;
};

/* What the client sends; arena. The credential identifier is the ceremony's. */
struct sa_answer {
    struct ma_span client_data, attestation_object, auth_data, stmt, signature, public_key;
};

/* An honest ceremony for the policy's first origin: ES256, "none", UP and UV, 32-byte identifier. */
struct sa_ceremony sa_ceremony(struct ma_arena *a, const struct ma_webauthn_policy *policy, struct ma_span challenge,
                               bool create);
struct sa_answer sa_create(const struct sa_ceremony *c);
struct sa_answer sa_get(const struct sa_ceremony *c);
/* {"fmt", "attStmt", "authData"}; arena. */
struct ma_span sa_attestation_object(struct ma_arena *a, const char *fmt, struct ma_span stmt,
                                     struct ma_span auth_data);

#endif
