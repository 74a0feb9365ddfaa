/* SPDX-License-Identifier: Apache-2.0
 * Comparing, wiping and keeping secrets.
 */
#include "ma/crypto.h"

#include "int.h"

#include <openssl/crypto.h>

bool ma_ct_eq(struct ma_span a, struct ma_span b)
{
    /* Lengths are public; only the contents must not show in the time taken. */
    return a.n == b.n && (a.n == 0 || CRYPTO_memcmp(a.p, b.p, a.n) == 0);
}

void ma_wipe(void *p, size_t n)
{
    if (p && n > 0)
        OPENSSL_cleanse(p, n);
}

void *ma_secure_alloc(size_t n)
{
    void *p = OPENSSL_secure_zalloc(n);

    if (p)
        return p;
    ERR_clear_error();
    /* A full secure heap is no reason to stop: the ordinary one is wiped as well. */
    return OPENSSL_zalloc(n);
}

void ma_secure_free(void *p, size_t n)
{
    OPENSSL_secure_clear_free(p, n); /* knows which heap p came from */
}
