/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of client data: refused with a reason or accepted, and never accepted by the stricter policy alone.
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

static const struct ma_wa_ceremony CEREMONY = {
    .type = "webauthn.get",
    .auth_data = "",
    .step = {"json", "type", "challenge", "origin", "cross", "top", "", "", "", "", ""},
};

static int check(struct ma_arena *a, bool strict, struct ma_span in)
{
    static const char *const origins[] = {"https://example.org", "android:apk-key-hash:abc"};
    const struct ma_webauthn_policy policy = {
        .rp_id = "example.org", .origins = origins, .n_origins = 2, .same_origin_only = strict};
    struct ma_webauthn_fault f = {0};

    ma_arena_reset(a);
    const int rc = ma_wa_client_data(a, &CEREMONY, &policy, MA_LIT("0123456789abcdef"), in, &f);
    demand(rc == MA_OK || rc == MA_E_PARSE || rc == MA_E_AUTH);
    demand(rc == MA_OK ? !f.pointer : f.pointer && f.detail && f.step);
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct ma_arena *arena;
    const struct ma_span in = ma_span_of(data, size);

    if (!arena) {
        arena = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
        demand(arena && ma_crypto_init() == MA_OK);
    }
    const int strict = check(arena, true, in);
    const int rc = check(arena, false, in);
    demand(strict != MA_OK || rc == MA_OK);
    if (rc != MA_OK)
        return 0;
    /* base64url of the challenge, however JSON spells it; and nothing longer than the limit. */
    demand(size <= MA_WEBAUTHN_CLIENT_DATA_MAX && size > strlen("{\"type\":\"\",\"challenge\":\"\",\"origin\":\"\"}"));
    return 0;
}
