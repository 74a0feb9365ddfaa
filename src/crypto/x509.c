/* SPDX-License-Identifier: Apache-2.0
 * Attestation certificates of authenticators (RFC 5280, WebAuthn §8.2.1) and the DER signatures that go with them.
 */
#include "ma/crypto.h"

#include "int.h"

#include <openssl/ecdsa.h> /* ECDSA_SIG */
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define SUBJECT_OU "Authenticator Attestation"
#define AAGUID_OID "1.3.6.1.4.1.45724.1.1.4"
#define COUNTRY_LEN 2
#define EXT_ABSENT (-1) /* what X509_get_ext_d2i says */

static void sig_free_p(ECDSA_SIG **p)
{
    ECDSA_SIG_free(*p);
}

static void x509_free_p(X509 **p)
{
    X509_free(*p);
}

static void object_free_p(ASN1_OBJECT **p)
{
    ASN1_OBJECT_free(*p);
}

static void constraints_free_p(BASIC_CONSTRAINTS **p)
{
    BASIC_CONSTRAINTS_free(*p);
}

static void openssl_free_p(unsigned char **p)
{
    OPENSSL_free(*p);
}

/* --- signatures --- */

/* Strict DER to raw r‖s of n bytes: one signature has one accepted spelling. */
static bool der_to_raw(struct ma_span der, uint8_t *raw, size_t n)
{
    const unsigned char *p = der.p;
    const int half = (int)(n / 2);
    MA_CLEANUP(sig_free_p) ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der.n);
    MA_CLEANUP(openssl_free_p) unsigned char *again = NULL;

    if (!sig)
        return false;
    const int len = i2d_ECDSA_SIG(sig, &again);
    if (len <= 0 || !ma_span_eq(der, ma_span_of(again, (size_t)len)))
        return false;
    return BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, half) == half &&
           BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + half, half) == half;
}

int ma_key_verify_der(const struct ma_key *k, enum ma_jws_alg alg, struct ma_span input, struct ma_span sig)
{
    uint8_t raw[MA_JWS_SIG_MAX];

    if (!ma_key_fits(k, alg) || sig.n == 0 || sig.n > MA_JWS_SIG_MAX)
        return MA_E_AUTH;
    if (k->type == MA_KEY_RSA || k->type == MA_KEY_ED25519)
        return ma_key_verify(k, alg, input, sig);
    if (!der_to_raw(sig, raw, k->sig_len))
        return ma_crypto_fail(MA_E_AUTH);
    return ma_key_verify(k, alg, input, ma_span_of(raw, k->sig_len));
}

/* --- certificates --- */

/* The only entry of this kind in the subject; an empty span when there is none, or there are several. */
static struct ma_span subject_entry(const X509 *cert, int nid)
{
    const X509_NAME *name = X509_get_subject_name(cert);
    const int at = X509_NAME_get_index_by_NID(name, nid, -1);

    if (at < 0 || X509_NAME_get_index_by_NID(name, nid, at) >= 0)
        return MA_SPAN_NULL;
    const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    return text ? ma_span_of(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)) : MA_SPAN_NULL;
}

/* WebAuthn §8.2.1, "Subject field MUST be set to". */
static bool subject_ok(const X509 *cert)
{
    return subject_entry(cert, NID_countryName).n == COUNTRY_LEN && subject_entry(cert, NID_organizationName).n > 0 &&
           ma_span_eq_str(subject_entry(cert, NID_organizationalUnitName), SUBJECT_OU) &&
           subject_entry(cert, NID_commonName).n > 0;
}

/* False when the extension is malformed or there twice. */
static bool read_constraints(const X509 *cert, struct ma_x509 *c)
{
    int critical = 0;
    MA_CLEANUP(constraints_free_p)
    BASIC_CONSTRAINTS *bc = X509_get_ext_d2i(cert, NID_basic_constraints, &critical, NULL);

    c->basic_constraints = bc != NULL;
    c->ca = bc && bc->ca;
    return bc || critical == EXT_ABSENT;
}

/* WebAuthn §8.2.1: the AAGUID as an OCTET STRING inside the one of the extension. */
static bool read_aaguid(const X509 *cert, struct ma_x509 *c)
{
    static const uint8_t octets[] = {0x04, sizeof c->aaguid};
    MA_CLEANUP(object_free_p) ASN1_OBJECT *oid = OBJ_txt2obj(AAGUID_OID, 1);

    if (!oid)
        return false;
    const int at = X509_get_ext_by_OBJ(cert, oid, -1);
    if (at < 0)
        return true;
    X509_EXTENSION *ext = X509_get_ext(cert, at);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(ext);
    const uint8_t *p = value ? ASN1_STRING_get0_data(value) : NULL;
    if (!p || X509_get_ext_by_OBJ(cert, oid, at) >= 0 ||
        (size_t)ASN1_STRING_length(value) != sizeof octets + sizeof c->aaguid || memcmp(p, octets, sizeof octets) != 0)
        return false;
    c->has_aaguid = true;
    c->aaguid_critical = X509_EXTENSION_get_critical(ext) != 0;
    memcpy(c->aaguid, p + sizeof octets, sizeof c->aaguid);
    return true;
}

int ma_x509_read(struct ma_span der, struct ma_x509 *ret)
{
    const unsigned char *p = der.p;
    struct ma_x509 c = {0};

    *ret = c;
    if (der.n == 0 || der.n > MA_X509_DER_MAX)
        return MA_E_PARSE;
    MA_CLEANUP(x509_free_p) X509 *cert = d2i_X509(NULL, &p, (long)der.n);
    if (!cert || p != der.p + der.n)
        return ma_crypto_fail(MA_E_PARSE);
    c.version = (int)X509_get_version(cert) + 1;
    c.subject_ok = subject_ok(cert);
    if (!read_constraints(cert, &c) || !read_aaguid(cert, &c))
        return ma_crypto_fail(MA_E_PARSE);
    const int rc = ma_key_adopt(X509_get0_pubkey(cert), false, &c.key);
    if (rc != MA_OK)
        return ma_crypto_fail(rc == MA_E_INVAL ? MA_E_UNSUPPORTED : rc);
    ERR_clear_error(); /* the decoders also leave entries behind when they succeed */
    *ret = c;
    return MA_OK;
}

void ma_x509_clear(struct ma_x509 *c)
{
    ma_key_free(c->key);
    *c = (struct ma_x509){0};
}
