/* SPDX-License-Identifier: Apache-2.0
 * Credential public keys: COSE_Key maps (RFC 9052 §7) of the three algorithms that credentials may use.
 */
#include "ma/webauthn.h"

#include "int.h"

/* RFC 9052 §7.1, RFC 9053 §7, RFC 8230 §4: labels and values. */
#define LABEL_KTY 1
#define LABEL_ALG 3
#define LABEL_CRV (-1)
#define LABEL_X (-2)
#define LABEL_Y (-3)
#define LABEL_RSA_N (-1)
#define LABEL_RSA_E (-2)
#define KTY_OKP 1
#define KTY_EC2 2
#define KTY_RSA 3
#define CRV_P256 1
#define CRV_ED25519 6
#define P256_FIELD 32u

/* RFC 9053 §2.1, RFC 8812 §2: what attestation keys may use besides. */
#define COSE_ES384 (-35)
#define COSE_ES512 (-36)

const int ma_webauthn_algs[MA_WEBAUTHN_ALGS] = {MA_COSE_EDDSA, MA_COSE_ES256, MA_COSE_RS256};

enum ma_jws_alg ma_wa_jws_alg(int64_t cose_alg)
{
    switch (cose_alg) {
    case MA_COSE_ES256:
        return MA_JWS_ES256;
    case MA_COSE_EDDSA:
        return MA_JWS_EDDSA;
    case MA_COSE_RS256:
        return MA_JWS_RS256;
    case COSE_ES384:
        return MA_JWS_ES384;
    case COSE_ES512:
        return MA_JWS_ES512;
    default:
        return MA_JWS_NONE;
    }
}

static bool int_is(const struct ma_cbor *map, int64_t label, int64_t want)
{
    struct ma_cbor c;
    int64_t value = 0;

    return ma_cbor_member_int(map, label, &c) && ma_cbor_int(&c, &value) && value == want;
}

static bool bytes_at(const struct ma_cbor *map, int64_t label, struct ma_span *ret)
{
    struct ma_cbor c;

    if (!ma_cbor_member_int(map, label, &c) || c.type != MA_CBOR_BYTES || c.body.n == 0)
        return false;
    *ret = c.body;
    return true;
}

/* RFC 9053 §7.1.1. y as a boolean is the compressed form, which CTAP2 forbids. */
static int read_ec2(const struct ma_cbor *map, struct ma_wa_key *k)
{
    if (map->n != 5 || !int_is(map, LABEL_KTY, KTY_EC2) || !int_is(map, LABEL_CRV, CRV_P256) ||
        !bytes_at(map, LABEL_X, &k->x) || !bytes_at(map, LABEL_Y, &k->y) || k->x.n != P256_FIELD ||
        k->y.n != P256_FIELD)
        return MA_E_INVAL;
    return ma_key_ec(MA_KEY_EC_P256, k->x, k->y, &k->key);
}

/* RFC 9053 §7.2 */
static int read_okp(const struct ma_cbor *map, struct ma_wa_key *k)
{
    struct ma_span x;

    if (map->n != 4 || !int_is(map, LABEL_KTY, KTY_OKP) || !int_is(map, LABEL_CRV, CRV_ED25519) ||
        !bytes_at(map, LABEL_X, &x))
        return MA_E_INVAL;
    return ma_key_ed25519(x, &k->key);
}

/* RFC 8230 §4: the fewest octets, so no leading zero. */
static int read_rsa(const struct ma_cbor *map, struct ma_wa_key *k)
{
    struct ma_span n;
    struct ma_span e;

    if (map->n != 4 || !int_is(map, LABEL_KTY, KTY_RSA) || !bytes_at(map, LABEL_RSA_N, &n) ||
        !bytes_at(map, LABEL_RSA_E, &e) || n.p[0] == 0 || e.p[0] == 0)
        return MA_E_INVAL;
    return ma_key_rsa(n, e, &k->key);
}

const char *ma_wa_key_parse(const struct ma_cbor *map, struct ma_wa_key *ret)
{
    struct ma_cbor c;
    int64_t alg = 0;
    int rc = MA_E_INVAL;

    *ret = (struct ma_wa_key){0};
    /* §6.5.1.1: "MUST contain the alg parameter and MUST NOT contain any other OPTIONAL parameters" */
    if (!ma_cbor_member_int(map, LABEL_ALG, &c) || !ma_cbor_int(&c, &alg))
        return "the credential public key names no algorithm";
    if (alg == MA_COSE_ES256)
        rc = read_ec2(map, ret);
    else if (alg == MA_COSE_EDDSA)
        rc = read_okp(map, ret);
    else if (alg == MA_COSE_RS256)
        rc = read_rsa(map, ret);
    else
        return "the algorithm of the credential public key was not offered";
    if (rc != MA_OK)
        return "the credential public key is not a key of its algorithm";
    ret->alg = (int)alg;
    ret->jws = ma_wa_jws_alg(alg);
    return NULL;
}

void ma_wa_key_clear(struct ma_wa_key *k)
{
    ma_key_free(k->key);
    *k = (struct ma_wa_key){0};
}
