/* SPDX-License-Identifier: Apache-2.0
 * Password hashes: Argon2id (RFC 9106) through libargon2, bcrypt of imported users through crypt(3).
 * A stored string is parsed here first, so that a hostile import cannot ask for unbounded work.
 */
#include "ma/crypto.h"

#include <argon2.h>
#include <crypt.h>
#include <stdlib.h>

#define ARGON2_SALT_LEN 16
#define ARGON2_HASH_LEN 32
#define ARGON2_LANES_MAX 4
/* Bounds of the fields of a stored string, in bytes. */
#define PHC_SALT_MIN 8
#define PHC_SALT_MAX 64
#define PHC_HASH_MIN 16
#define PHC_HASH_MAX 64

#define BCRYPT_LEN 60
#define BCRYPT_SALT_AT 7
#define BCRYPT_HASH_AT 29
#define BCRYPT_KEY_MAX 72
#define BCRYPT_COST_MIN 4

static const char b64_std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char b64_bcrypt[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool take_literal(const char **s, const char *literal)
{
    const size_t n = strlen(literal);

    if (strncmp(*s, literal, n) != 0)
        return false;
    *s += n;
    return true;
}

/* A decimal without sign or leading zero, ≤ max. */
static bool take_number(const char **s, uint32_t max, uint32_t *ret)
{
    const char *p = *s;
    uint32_t v = 0;

    if (*p < '1' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (uint32_t)(*p - '0');
        if (v > max) /* max is far below UINT32_MAX / 10 */
            return false;
    }
    *s = p;
    *ret = v;
    return true;
}

/* Unpadded base64 of min to max bytes, in its only spelling (unused low bits zero). */
static bool take_b64(const char **s, size_t min, size_t max)
{
    static const size_t unused_bits[4] = {0, 0, 4, 2};
    const size_t n = strspn(*s, b64_std);
    const size_t bytes = n * 3 / 4;

    if (n % 4 == 1 || bytes < min || bytes > max)
        return false;
    const size_t last = (size_t)(strchr(b64_std, (*s)[n - 1]) - b64_std);
    if ((last & ((1u << unused_bits[n % 4]) - 1)) != 0)
        return false;
    *s += n;
    return true;
}

/* RFC 9106 parameters within our bounds; memory is at least 8 blocks per lane (§3.1). */
static bool params_ok(struct ma_argon2_params p)
{
    return p.t_cost >= 1 && p.t_cost <= MA_ARGON2_T_MAX && p.lanes >= 1 && p.lanes <= ARGON2_LANES_MAX &&
           p.m_kib >= 8 * p.lanes && p.m_kib <= MA_ARGON2_M_MAX_KIB;
}

static bool phc_parse(const char *s, struct ma_argon2_params *ret)
{
    if (strnlen(s, MA_PHC_MAX) >= MA_PHC_MAX)
        return false;
    return take_literal(&s, "$argon2id$v=19$m=") && take_number(&s, MA_ARGON2_M_MAX_KIB, &ret->m_kib) &&
           take_literal(&s, ",t=") && take_number(&s, MA_ARGON2_T_MAX, &ret->t_cost) && take_literal(&s, ",p=") &&
           take_number(&s, ARGON2_LANES_MAX, &ret->lanes) && take_literal(&s, "$") &&
           take_b64(&s, PHC_SALT_MIN, PHC_SALT_MAX) && take_literal(&s, "$") &&
           take_b64(&s, PHC_HASH_MIN, PHC_HASH_MAX) && *s == '\0' && params_ok(*ret);
}

/* $2a$, $2b$ or $2y$, a cost within bounds, 22 characters of salt and 31 of hash. $2x$ marks the
 * hashes of a broken implementation and is not taken. */
static bool bcrypt_ok(const char *s)
{
    if (strnlen(s, BCRYPT_LEN + 1) != BCRYPT_LEN || s[0] != '$' || s[1] != '2' || !strchr("aby", s[2]) || s[3] != '$' ||
        s[6] != '$')
        return false;
    if (s[4] < '0' || s[4] > '9' || s[5] < '0' || s[5] > '9')
        return false;
    const int cost = (s[4] - '0') * 10 + (s[5] - '0');
    return cost >= BCRYPT_COST_MIN && cost <= MA_BCRYPT_COST_MAX &&
           strspn(s + BCRYPT_SALT_AT, b64_bcrypt) == BCRYPT_LEN - BCRYPT_SALT_AT;
}

static int argon2_err(int rc)
{
    switch (rc) {
    case ARGON2_OK:
        return MA_OK;
    case ARGON2_VERIFY_MISMATCH:
        return MA_E_AUTH;
    case ARGON2_MEMORY_ALLOCATION_ERROR:
    case ARGON2_THREAD_FAIL:
        return MA_E_NOMEM;
    default:
        return MA_E_CRYPTO;
    }
}

int ma_password_hash(const struct ma_rand *r, struct ma_argon2_params p, struct ma_span password, char out[MA_PHC_MAX])
{
    uint8_t salt[ARGON2_SALT_LEN];

    out[0] = '\0';
    if (!params_ok(p))
        return MA_E_INVAL;
    const int rc = r->fill(r, salt, sizeof salt);
    if (rc != MA_OK)
        return rc;
    return argon2_err(argon2id_hash_encoded(p.t_cost, p.m_kib, p.lanes, password.p, password.n, salt, sizeof salt,
                                            ARGON2_HASH_LEN, out, MA_PHC_MAX));
}

static int bcrypt_verify(const char *stored, struct ma_span password)
{
    /* bcrypt's key is the first 72 bytes of a C string; crypt(3) refuses long phrases itself. */
    char phrase[BCRYPT_KEY_MAX + 1] = {0};
    struct crypt_data *data = calloc(1, sizeof *data);

    if (!data)
        return MA_E_NOMEM;
    if (password.n > 0)
        memcpy(phrase, password.p, password.n < BCRYPT_KEY_MAX ? password.n : BCRYPT_KEY_MAX);
    const char *got = crypt_r(phrase, stored, data);
    /* The last salt character has unused bits, which some producers set and crypt clears: compare what follows. */
    const bool computed = got && strnlen(got, BCRYPT_LEN + 1) == BCRYPT_LEN;
    const bool same = computed && ma_ct_eq(ma_span_of(got + BCRYPT_HASH_AT, BCRYPT_LEN - BCRYPT_HASH_AT),
                                           ma_span_of(stored + BCRYPT_HASH_AT, BCRYPT_LEN - BCRYPT_HASH_AT));
    ma_wipe(phrase, sizeof phrase);
    ma_wipe(data, sizeof *data);
    free(data);
    return !computed ? MA_E_CRYPTO : same ? MA_OK : MA_E_AUTH;
}

int ma_password_verify(const char *stored, struct ma_span password)
{
    struct ma_argon2_params p;

    if (!stored)
        return MA_E_UNSUPPORTED;
    if (phc_parse(stored, &p))
        return argon2_err(argon2id_verify(stored, password.p, password.n));
    return bcrypt_ok(stored) ? bcrypt_verify(stored, password) : MA_E_UNSUPPORTED;
}

bool ma_password_hash_ok(const char *stored)
{
    struct ma_argon2_params p;

    return stored && (phc_parse(stored, &p) || bcrypt_ok(stored));
}

bool ma_password_needs_rehash(const char *stored, struct ma_argon2_params p)
{
    struct ma_argon2_params have;

    return !stored || !phc_parse(stored, &have) || have.t_cost < p.t_cost || have.m_kib < p.m_kib ||
           have.lanes < p.lanes;
}

int ma_argon2id_key(struct ma_argon2_params p, struct ma_span passphrase, const uint8_t salt[MA_KDF_SALT_LEN],
                    uint8_t *out, size_t n)
{
    if (p.t_cost < 1 || p.t_cost > MA_ARGON2_T_MAX || p.m_kib < 8 * p.lanes || p.m_kib > MA_ARGON2_M_MAX_KIB ||
        p.lanes < 1 || p.lanes > ARGON2_LANES_MAX || n < PHC_HASH_MIN || n > PHC_HASH_MAX)
        return MA_E_UNSUPPORTED;
    const int rc =
        argon2id_hash_raw(p.t_cost, p.m_kib, p.lanes, passphrase.p, passphrase.n, salt, MA_KDF_SALT_LEN, out, n);

    return rc == ARGON2_OK ? MA_OK : rc == ARGON2_MEMORY_ALLOCATION_ERROR ? MA_E_NOMEM : MA_E_CRYPTO;
}
