/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of authenticator data: its parts are the whole input, and a key in it is one that can be stored.
 */
#include "../../src/webauthn/int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static void key(const struct ma_cbor *map)
{
    struct ma_wa_key k;
    const char *why = ma_wa_key_parse(map, &k);

    demand(why ? !k.key || k.alg == 0 : k.key && ma_key_fits(k.key, k.jws) && ma_wa_jws_alg(k.alg) == k.jws);
    ma_wa_key_clear(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool open;
    struct ma_wa_auth_data d;
    struct ma_cbor extensions = {.type = MA_CBOR_NULL};

    if (!open)
        demand(ma_crypto_init() == MA_OK);
    open = true;
    if (ma_wa_auth_data_parse(ma_span_of(data, size), &d))
        return 0;
    size_t n = MA_WA_AUTH_DATA_MIN;
    demand(d.raw.n == size && size >= n && d.rp_id_hash.p == data && d.flags == data[32]);
    if (d.flags & MA_WA_AT) {
        demand(d.aaguid.n == MA_WEBAUTHN_AAGUID_LEN && d.key.type == MA_CBOR_MAP);
        n += d.aaguid.n + 2 + d.credential_id.n + d.key.raw.n;
        key(&d.key);
    }
    if (d.flags & MA_WA_ED) {
        demand(n <= size && ma_cbor_parse(ma_span_of(data + n, size - n), &extensions) == MA_OK);
        demand(extensions.type == MA_CBOR_MAP);
        n += extensions.raw.n;
    }
    demand(n == size);
    return 0;
}
