/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of attestation objects: a whole registration around each, under the default and the strict policy.
 */
#include "../../src/webauthn/int.h"

#include <stdlib.h>

#define ARENA_BYTES ((size_t)4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static bool inside(struct ma_span part, const uint8_t *data, size_t size)
{
    return part.n <= size && part.p >= data && part.p + part.n <= data + size;
}

/* The signatures of the corpus are made for this client data. */
static int run(struct ma_arena *a, bool verified, struct ma_span in, struct ma_webauthn_credential *ret)
{
    static const char *const origins[] = {"https://example.org"};
    const struct ma_webauthn_policy policy = {
        .rp_id = "example.org", .origins = origins, .n_origins = 1, .attestation_verified = verified};
    struct ma_webauthn_fault f;

    ma_arena_reset(a);
    const int rc = ma_webauthn_register(a, &policy, MA_LIT("0123456789abcdef"),
                                        MA_LIT("{\"type\":\"webauthn.create\",\"challenge\":\"MDEyMzQ1Njc4OWFiY2RlZg\","
                                               "\"origin\":\"https://example.org\"}"),
                                        in, ret, &f);
    demand(rc == MA_OK || rc == MA_E_PARSE || rc == MA_E_AUTH);
    demand(rc == MA_OK ? !f.pointer : f.pointer && f.detail && strcmp(f.pointer, MA_WA_ATTESTATION) == 0);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ma_arena *arena;
    struct ma_webauthn_credential c;
    struct ma_webauthn_credential strict;

    if (!arena) {
        arena = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
        demand(arena && ma_crypto_init() == MA_OK);
    }
    const int rc_strict = run(arena, true, ma_span_of(data, size), &strict);
    const int rc = run(arena, false, ma_span_of(data, size), &c);
    demand(rc_strict != MA_OK || (rc == MA_OK && strict.attested && c.attested && strict.format == c.format));
    if (rc != MA_OK)
        return 0;
    demand(c.up && (c.be || !c.bs) && size <= MA_WEBAUTHN_ATTESTATION_MAX);
    demand(inside(c.credential_id, data, size) && inside(c.public_key, data, size));
    demand(c.credential_id.n >= MA_WEBAUTHN_CREDENTIAL_ID_MIN && c.credential_id.n <= MA_WEBAUTHN_CREDENTIAL_ID_MAX);
    demand(c.attested == (c.format != MA_WEBAUTHN_NONE && c.format != MA_WEBAUTHN_OTHER));
    demand(c.alg == MA_COSE_ES256 || c.alg == MA_COSE_EDDSA || c.alg == MA_COSE_RS256);
    return 0;
}
