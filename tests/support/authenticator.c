/* SPDX-License-Identifier: Apache-2.0
 * The software authenticator: CBOR, keys, certificates, and the two ceremonies.
 */
#include "authenticator.h"

#include "ma/codec.h"
#include "ma/crypto.h"

#include <openssl/asn1.h>
#include <openssl/core_names.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#define ANSWER_MAX 65536u
#define FLAG_AT 0x40u
#define MUST(cond) must((cond), #cond, __LINE__)

static const uint8_t CREDENTIAL_ID[32] = {0xc0, 0xff, 0xee, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                                          14,   15,   16,   1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
static const uint8_t AAGUID[MA_WEBAUTHN_AAGUID_LEN] = {0xaa, 0x61, 0x75, 0x69, 0x64, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};

/* A failure in here is one of the test, not of what it tests. */
static void must(bool ok, const char *what, int line)
{
    if (ok)
        return;
    (void)fprintf(stderr, "authenticator.c:%d: %s\n", line, what);
    abort();
}

/* --- CBOR --- */

void sa_head(struct ma_buf *b, unsigned major, uint64_t arg)
{
    const unsigned top = major << 5;
    size_t extra = 0;

    if (arg < 24) {
        ma_buf_byte(b, (uint8_t)(top | (unsigned)arg));
        return;
    }
    if (arg > UINT32_MAX)
        extra = 8;
    else
        extra = arg > UINT16_MAX ? 4 : arg > UINT8_MAX ? 2 : 1;
    ma_buf_byte(b, (uint8_t)(top | (extra == 8 ? 27u : extra == 4 ? 26u : extra == 2 ? 25u : 24u)));
    for (size_t i = extra; i > 0; i--)
        ma_buf_byte(b, (uint8_t)(arg >> (8 * (i - 1))));
}

void sa_int(struct ma_buf *b, int64_t v)
{
    if (v >= 0)
        sa_head(b, 0, (uint64_t)v);
    else
        sa_head(b, 1, (uint64_t)(-1 - v));
}

void sa_bytes(struct ma_buf *b, struct ma_span s)
{
    sa_head(b, 2, s.n);
    ma_buf_span(b, s);
}

void sa_text(struct ma_buf *b, const char *s)
{
    sa_head(b, 3, strlen(s));
    ma_buf_str(b, s);
}

void sa_array(struct ma_buf *b, uint64_t n)
{
    sa_head(b, 4, n);
}

void sa_map(struct ma_buf *b, uint64_t n)
{
    sa_head(b, 5, n);
}

static void start(struct ma_buf *b, struct ma_arena *a)
{
    ma_buf_init_arena(b, a, 256, ANSWER_MAX);
}

static struct ma_span done(const struct ma_buf *b)
{
    MUST(ma_buf_err(b) == MA_OK);
    return ma_buf_view(b);
}

/* --- keys --- */

static EVP_PKEY *new_key(enum sa_key_type type)
{
    switch (type) {
    case SA_ES256:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
    case SA_ES384:
        return EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
    case SA_EDDSA:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    case SA_RS256:
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
    default:
        return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024);
    }
}

/* Lives as long as the process: a test that wants many ceremonies makes its keys once. */
static EVP_PKEY *keys[SA_KEYS][2];

static void free_keys(void)
{
    for (size_t i = 0; i < SA_KEYS; i++) {
        EVP_PKEY_free(keys[i][0]);
        EVP_PKEY_free(keys[i][1]);
    }
}

EVP_PKEY *sa_key(enum sa_key_type type, int which)
{
    static bool registered;

    if (!registered)
        MUST(atexit(free_keys) == 0);
    registered = true;
    if (!keys[type][which])
        keys[type][which] = new_key(type);
    MUST(keys[type][which] != NULL);
    return keys[type][which];
}

int sa_cose_alg(enum sa_key_type type)
{
    static const int algs[SA_KEYS] = {[SA_ES256] = MA_COSE_ES256,
                                      [SA_EDDSA] = MA_COSE_EDDSA,
                                      [SA_RS256] = MA_COSE_RS256,
                                      [SA_ES384] = -35,
                                      [SA_RSA1024] = MA_COSE_RS256};

    return algs[type];
}

/* A member of the key, big-endian; n: its length, 0 for the shortest. */
static struct ma_span member(struct ma_arena *a, const EVP_PKEY *key, const char *name, size_t n)
{
    BIGNUM *bn = NULL;

    MUST(EVP_PKEY_get_bn_param(key, name, &bn) == 1);
    const size_t len = n ? n : (size_t)BN_num_bytes(bn);
    uint8_t *out = ma_arena_alloc(a, len);
    MUST(out != NULL);
    MUST(BN_bn2binpad(bn, out, (int)len) == (int)len);
    BN_free(bn);
    return ma_span_of(out, len);
}

static void cose_ec(struct ma_buf *b, struct ma_arena *a, EVP_PKEY *key, enum sa_key_type type)
{
    const size_t field = type == SA_ES256 ? 32 : 48;

    sa_map(b, 5);
    sa_int(b, 1), sa_int(b, 2);
    sa_int(b, 3), sa_int(b, sa_cose_alg(type));
    sa_int(b, -1), sa_int(b, type == SA_ES256 ? 1 : 2);
    sa_int(b, -2), sa_bytes(b, member(a, key, OSSL_PKEY_PARAM_EC_PUB_X, field));
    sa_int(b, -3), sa_bytes(b, member(a, key, OSSL_PKEY_PARAM_EC_PUB_Y, field));
}

static void cose_okp(struct ma_buf *b, EVP_PKEY *key)
{
    uint8_t x[32];
    size_t n = sizeof x;

    MUST(EVP_PKEY_get_raw_public_key(key, x, &n) == 1);
    sa_map(b, 4);
    sa_int(b, 1), sa_int(b, 1);
    sa_int(b, 3), sa_int(b, MA_COSE_EDDSA);
    sa_int(b, -1), sa_int(b, 6);
    sa_int(b, -2), sa_bytes(b, ma_span_of(x, n));
}

static void cose_rsa(struct ma_buf *b, struct ma_arena *a, EVP_PKEY *key)
{
    sa_map(b, 4);
    sa_int(b, 1), sa_int(b, 3);
    sa_int(b, 3), sa_int(b, MA_COSE_RS256);
    sa_int(b, -1), sa_bytes(b, member(a, key, OSSL_PKEY_PARAM_RSA_N, 0));
    sa_int(b, -2), sa_bytes(b, member(a, key, OSSL_PKEY_PARAM_RSA_E, 0));
}

struct ma_span sa_cose(struct ma_arena *a, EVP_PKEY *key, enum sa_key_type type)
{
    struct ma_buf b;

    start(&b, a);
    if (type == SA_EDDSA)
        cose_okp(&b, key);
    else if (type == SA_RS256 || type == SA_RSA1024)
        cose_rsa(&b, a, key);
    else
        cose_ec(&b, a, key, type);
    return done(&b);
}

struct ma_span sa_sign(struct ma_arena *a, EVP_PKEY *key, struct ma_span data)
{
    const char *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_PKEY_get_bits(key) == 384 ? "SHA384" : "SHA256";
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    size_t n = MA_JWS_SIG_MAX;
    uint8_t *out = ma_arena_alloc(a, n);

    MUST(ctx != NULL);
    MUST(out != NULL);
    MUST(EVP_DigestSignInit_ex(ctx, NULL, md, NULL, NULL, key, NULL) == 1);
    MUST(EVP_DigestSign(ctx, out, &n, data.p, data.n) == 1);
    EVP_MD_CTX_free(ctx);
    return ma_span_of(out, n);
}

/* --- certificates --- */

struct sa_cert sa_cert_good(void)
{
    return (struct sa_cert){.key = SA_ES256,
                            .which = 1,
                            .version = 3,
                            .c = "SE",
                            .o = "Example Keys",
                            .ou = "Authenticator Attestation",
                            .cn = "Example Key 1",
                            .ca = 0};
}

static void add_name(X509_NAME *name, const char *field, const char *value)
{
    if (value)
        MUST(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1, 0) == 1);
}

static void add_constraints(X509 *x, int ca)
{
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();

    MUST(bc != NULL);
    bc->ca = ca ? 0xff : 0;
    MUST(X509_add1_ext_i2d(x, NID_basic_constraints, bc, 1, X509V3_ADD_DEFAULT) == 1);
    BASIC_CONSTRAINTS_free(bc);
}

static void add_aaguid(X509 *x, struct ma_span value, bool critical)
{
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.4.1.45724.1.1.4", 1);
    ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();

    MUST(oid != NULL);
    MUST(octets != NULL);
    MUST(ASN1_OCTET_STRING_set(octets, value.p, (int)value.n) == 1);
    X509_EXTENSION *ext = X509_EXTENSION_create_by_OBJ(NULL, oid, critical, octets);
    MUST(ext != NULL);
    MUST(X509_add_ext(x, ext, -1) == 1);
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(octets);
    ASN1_OBJECT_free(oid);
}

static void fill_cert(X509 *x, const struct sa_cert *cert)
{
    X509_NAME *name = X509_get_subject_name(x);

    MUST(X509_set_version(x, cert->version - 1) == 1);
    MUST(ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1);
    MUST(ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "20240101000000Z") == 1);
    MUST(ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "30240101000000Z") == 1);
    add_name(name, "C", cert->c);
    add_name(name, "O", cert->o);
    add_name(name, "OU", cert->ou);
    add_name(name, "OU", cert->second_ou);
    add_name(name, "CN", cert->cn);
    MUST(X509_set_issuer_name(x, name) == 1);
    MUST(X509_set_pubkey(x, sa_key(cert->key, cert->which)) == 1);
    if (cert->ca >= 0)
        add_constraints(x, cert->ca);
    if (cert->aaguid.p)
        add_aaguid(x, cert->aaguid, cert->aaguid_critical);
}

struct ma_span sa_cert(struct ma_arena *a, const struct sa_cert *cert)
{
    X509 *x = X509_new();
    unsigned char *der = NULL;

    MUST(x != NULL);
    fill_cert(x, cert);
    EVP_PKEY *key = sa_key(cert->key, cert->which);
    MUST(X509_sign(x, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256()) > 0);
    const int n = i2d_X509(x, &der);
    MUST(n > 0);
    const struct ma_span out = ma_arena_dup(a, ma_span_of(der, (size_t)n));
    MUST(out.p != NULL);
    OPENSSL_free(der);
    X509_free(x);
    return out;
}

/* --- ceremonies --- */

struct sa_ceremony sa_ceremony(struct ma_arena *a, const struct ma_webauthn_policy *policy, struct ma_span challenge,
                               bool create)
{
    struct sa_ceremony c = {.arena = a,
                            .type = create ? "webauthn.create" : "webauthn.get",
                            .origin = policy->origins[0],
                            .challenge = challenge,
                            .rp_id = policy->rp_id,
                            .flags = 0x05,
                            .credential_id = ma_span_of(CREDENTIAL_ID, sizeof CREDENTIAL_ID),
                            .id_length = -1,
                            .key = SA_ES256,
                            .cert = sa_cert_good(),
                            .n_certs = 1};
    memcpy(c.aaguid, AAGUID, sizeof c.aaguid);
    return c;
}

static struct ma_span client_data(const struct sa_ceremony *c)
{
    char *challenge = ma_arena_alloc(c->arena, MA_B64URL_LEN(c->challenge.n) + 1);

    if (c->client_data)
        return ma_span_str(c->client_data);
    MUST(challenge != NULL);
    ma_b64url_encode(c->challenge, challenge);
    const char *text =
        ma_arena_printf(c->arena, "{\"type\":\"%s\",\"challenge\":\"%s\",\"origin\":\"%s\"%s}", c->type,
                        c->challenge_text ? c->challenge_text : challenge, c->origin, c->extra ? c->extra : "");
    MUST(text != NULL);
    return ma_span_str(text);
}

static struct ma_span public_key(const struct sa_ceremony *c)
{
    return c->cose.p ? c->cose : sa_cose(c->arena, sa_key(c->key, c->which), c->key);
}

static struct ma_span auth_data(const struct sa_ceremony *c, bool create)
{
    struct ma_buf b;
    uint8_t hash[MA_SHA256_LEN];
    const bool at = create && !c->without_at;

    start(&b, c->arena);
    MUST(ma_sha256(ma_span_str(c->rp_id), hash) == MA_OK);
    ma_buf_put(&b, hash, sizeof hash);
    ma_buf_byte(&b, (uint8_t)(c->flags | (at ? FLAG_AT : 0u)));
    for (int shift = 24; shift >= 0; shift -= 8)
        ma_buf_byte(&b, (uint8_t)(c->sign_count >> shift));
    if (at || c->flags & FLAG_AT) {
        const size_t n = c->id_length < 0 ? c->credential_id.n : (size_t)c->id_length;
        ma_buf_put(&b, c->aaguid, sizeof c->aaguid);
        ma_buf_byte(&b, (uint8_t)(n >> 8));
        ma_buf_byte(&b, (uint8_t)n);
        ma_buf_span(&b, c->credential_id);
        ma_buf_span(&b, public_key(c));
    }
    ma_buf_span(&b, c->extensions);
    ma_buf_span(&b, c->tail);
    const struct ma_span all = done(&b);
    MUST(c->cut <= all.n);
    return ma_span_of(all.p, all.n - c->cut);
}

/* What the key signs, or something else when the ceremony says so. */
static struct ma_span sign(const struct sa_ceremony *c, enum sa_key_type type, int which, struct ma_span data)
{
    if (c->sig.p)
        return c->sig;
    return sa_sign(c->arena, sa_key(type, c->sign_with_other ? 1 - which : which),
                   c->other_data ? MA_LIT("something else") : data);
}

static struct ma_span with_hash(const struct sa_ceremony *c, struct ma_span data, struct ma_span client)
{
    struct ma_buf b;
    uint8_t hash[MA_SHA256_LEN];

    start(&b, c->arena);
    MUST(ma_sha256(client, hash) == MA_OK);
    ma_buf_span(&b, data);
    ma_buf_put(&b, hash, sizeof hash);
    return done(&b);
}

/* WebAuthn §8.6 */
static struct ma_span u2f_data(const struct sa_ceremony *c, struct ma_span client)
{
    struct ma_buf b;
    uint8_t hash[MA_SHA256_LEN];
    EVP_PKEY *key = sa_key(SA_ES256, c->which);

    start(&b, c->arena);
    ma_buf_byte(&b, 0);
    MUST(ma_sha256(ma_span_str(c->rp_id), hash) == MA_OK);
    ma_buf_put(&b, hash, sizeof hash);
    MUST(ma_sha256(client, hash) == MA_OK);
    ma_buf_put(&b, hash, sizeof hash);
    ma_buf_span(&b, c->credential_id);
    ma_buf_byte(&b, 4);
    ma_buf_span(&b, member(c->arena, key, OSSL_PKEY_PARAM_EC_PUB_X, 32));
    ma_buf_span(&b, member(c->arena, key, OSSL_PKEY_PARAM_EC_PUB_Y, 32));
    return done(&b);
}

static void put_x5c(struct ma_buf *b, const struct sa_ceremony *c)
{
    const struct ma_span der = c->leaf.p ? c->leaf : sa_cert(c->arena, &c->cert);

    sa_text(b, "x5c");
    sa_array(b, c->n_certs);
    for (size_t i = 0; i < c->n_certs; i++)
        sa_bytes(b, der);
}

static struct ma_span statement(const struct sa_ceremony *c, struct ma_span data, struct ma_span client)
{
    struct ma_buf b;
    const unsigned more = c->stmt_extra ? 1 : 0;
    const bool self = c->format == SA_PACKED_SELF;
    const enum sa_key_type signer = self ? c->key : c->cert.key;

    if (c->stmt.p)
        return c->stmt;
    start(&b, c->arena);
    if (c->format == SA_NONE || c->format == SA_OTHER) {
        sa_map(&b, more);
    } else if (c->format == SA_U2F) {
        sa_map(&b, 2 + more);
        sa_text(&b, "sig"), sa_bytes(&b, sign(c, signer, c->cert.which, u2f_data(c, client)));
        put_x5c(&b, c);
    } else {
        sa_map(&b, (self ? 2 : 3) + more);
        sa_text(&b, "alg"), sa_int(&b, c->att_alg ? c->att_alg : sa_cose_alg(signer));
        sa_text(&b, "sig");
        sa_bytes(&b, sign(c, signer, self ? c->which : c->cert.which, with_hash(c, data, client)));
        if (!self)
            put_x5c(&b, c);
    }
    if (more)
        sa_text(&b, c->stmt_extra), ma_buf_byte(&b, 0xf5);
    return done(&b);
}

struct ma_span sa_attestation_object(struct ma_arena *a, const char *fmt, struct ma_span stmt,
                                     struct ma_span auth_data_)
{
    struct ma_buf b;

    start(&b, a);
    sa_map(&b, 3);
    sa_text(&b, "fmt"), sa_text(&b, fmt);
    sa_text(&b, "attStmt"), ma_buf_span(&b, stmt);
    sa_text(&b, "authData"), sa_bytes(&b, auth_data_);
    return done(&b);
}

struct sa_answer sa_create(const struct sa_ceremony *c)
{
    static const char *const names[] = {[SA_NONE] = "none",
                                        [SA_PACKED] = "packed",
                                        [SA_PACKED_SELF] = "packed",
                                        [SA_U2F] = "fido-u2f",
                                        [SA_OTHER] = "example.test"};
    struct sa_answer r = {.client_data = client_data(c), .public_key = public_key(c)};

    r.auth_data = auth_data(c, true);
    r.stmt = statement(c, r.auth_data, r.client_data);
    r.attestation_object = sa_attestation_object(c->arena, c->fmt ? c->fmt : names[c->format], r.stmt, r.auth_data);
    return r;
}

struct sa_answer sa_get(const struct sa_ceremony *c)
{
    struct sa_answer r = {.client_data = client_data(c), .public_key = public_key(c)};

    r.auth_data = auth_data(c, false);
    r.signature = sign(c, c->key, c->which, with_hash(c, r.auth_data, r.client_data));
    return r;
}
