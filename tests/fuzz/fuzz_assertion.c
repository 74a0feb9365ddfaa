/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of assertions. The input is an option byte, two bytes for the length of the authenticator data, that, and
 * the rest: the signature, or, when the harness is asked to sign, the client data, so that what lies behind the
 * signature is reached too.
 */
#include "../../src/webauthn/int.h"

#include <stdlib.h>

#define ARENA_BYTES ((size_t)4 << 20)

enum { SIGN = 1, ELIGIBLE = 2, NEED_UV = 4, COUNTING = 8, SAME_ORIGIN = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* RFC 8037 A.1 */
static const char PEM[] = "-----BEGIN PRIVATE KEY-----\n"
                          "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
                          "-----END PRIVATE KEY-----\n";
static const uint8_t COSE[] = {0xa4, 0x01, 0x01, 0x03, 0x27, 0x20, 0x06, 0x21, 0x58, 0x20, 0xd7, 0x5a, 0x98, 0x01,
                               0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1,
                               0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a};
#define CLIENT_DATA                                                                                                    \
    "{\"type\":\"webauthn.get\",\"challenge\":\"MDEyMzQ1Njc4OWFiY2RlZg\",\"origin\":\"https://example.org\"}"

static struct ma_arena *arena;
static struct ma_key *key;

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static void open_once(void)
{
    if (arena)
        return;
    arena = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    demand(arena && ma_crypto_init() == MA_OK && ma_key_from_pem(ma_span_str(PEM), &key) == MA_OK);
}

static struct ma_span sign(struct ma_span auth_data, struct ma_span client_data, uint8_t out[MA_JWS_SIG_MAX])
{
    uint8_t hash[MA_SHA256_LEN];
    size_t n = 0;

    demand(ma_sha256(client_data, hash) == MA_OK);
    demand(ma_key_sign(key, MA_JWS_EDDSA, ma_wa_signed_data(arena, auth_data, hash), out, &n) == MA_OK);
    return ma_span_of(out, n);
}

static void check(unsigned options, const struct ma_webauthn_response *r)
{
    static const char *const origins[] = {"https://example.org"};
    const struct ma_webauthn_policy policy = {.rp_id = "example.org",
                                              .origins = origins,
                                              .n_origins = 1,
                                              .require_uv = options & NEED_UV,
                                              .same_origin_only = options & SAME_ORIGIN};
    const struct ma_webauthn_stored stored = {.credential_id = r->credential_id,
                                              .public_key = ma_span_of(COSE, sizeof COSE),
                                              .sign_count = options & COUNTING ? 1000 : 0,
                                              .be = options & ELIGIBLE};
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault f;
    const int rc = ma_webauthn_assert(arena, &policy, MA_LIT("0123456789abcdef"), &stored, r, &got, &f);

    demand(rc == MA_OK || rc == MA_E_PARSE || rc == MA_E_AUTH);
    demand(rc == MA_OK ? !f.pointer : f.pointer && f.detail && f.step);
    demand(got.sign_count >= stored.sign_count);
    if (rc != MA_OK)
        return;
    demand(options & SIGN); /* nobody but this program knows the key */
    demand((got.uv || !policy.require_uv) && (stored.be || !got.bs));
    demand(!got.counter_regressed || stored.sign_count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t sig[MA_JWS_SIG_MAX];

    if (size < 3)
        return 0;
    open_once();
    ma_arena_reset(arena);
    const struct ma_span rest = ma_span_of(data + 3, size - 3);
    const size_t claimed = (size_t)data[1] << 8 | data[2];
    const size_t n = claimed < rest.n ? claimed : rest.n;
    const struct ma_span auth_data = ma_span_of(rest.p, n);
    const struct ma_span tail = ma_span_of(rest.p + n, rest.n - n);
    struct ma_webauthn_response r = {.credential_id = MA_LIT("0123456789abcdef"),
                                     .authenticator_data = auth_data,
                                     .client_data_json = MA_LIT(CLIENT_DATA),
                                     .signature = tail};
    if (data[0] & SIGN) {
        if (tail.n > 0)
            r.client_data_json = tail;
        if (auth_data.n > MA_WEBAUTHN_ATTESTATION_MAX)
            return 0;
        r.signature = sign(auth_data, r.client_data_json, sig);
    }
    check(data[0], &r);
    return 0;
}
