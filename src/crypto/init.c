/* SPDX-License-Identifier: Apache-2.0
 * Start and end of the crypto module: algorithms fetched once, contexts kept per thread.
 */
#include "ma/crypto.h"

#include "int.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <pthread.h>
#include <stdlib.h>

#define SECURE_HEAP_BYTES 262144u
#define SECURE_HEAP_MIN_BLOCK 32u

static struct ma_crypto_table table;
static bool table_ready;
static bool memory_locked;
static pthread_key_t thread_key;
static _Thread_local struct ma_crypto_thread *thread_self;

static _Thread_local bool starved;

static void *noting_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    void *p = n ? malloc(n) : NULL;

    starved = starved || (n && !p);
    return p;
}

static void noting_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static void *noting_realloc(void *p, size_t n, const char *file, int line)
{
    if (n == 0) {
        noting_free(p, file, line);
        return NULL;
    }
    void *moved = realloc(p, n);

    starved = starved || !moved;
    return moved;
}

/* Before main: OpenSSL takes other functions only before its first allocation. */
static __attribute__((constructor)) void memory_setup(void)
{
    (void)CRYPTO_set_mem_functions(noting_malloc, noting_realloc, noting_free);
}

void ma_crypto_watch(void)
{
    starved = false;
}

bool ma_crypto_starved(void)
{
    return starved;
}

const struct ma_crypto_table *ma_crypto_table(void)
{
    return table_ready ? &table : NULL;
}

static void thread_free(void *p)
{
    struct ma_crypto_thread *t = p;

    thread_self = NULL;
    if (!t)
        return;
    for (size_t i = 0; i < MA_COUNT(t->md); i++)
        EVP_MD_CTX_free(t->md[i]);
    for (size_t i = 0; i < MA_COUNT(t->slots); i++)
        EVP_PKEY_CTX_free(t->slots[i].ctx);
    free(t);
}

struct ma_crypto_thread *ma_crypto_thread(void)
{
    if (thread_self)
        return thread_self;
    if (!table_ready)
        return NULL;
    struct ma_crypto_thread *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    if (pthread_setspecific(thread_key, t) != 0) {
        free(t);
        return NULL;
    }
    thread_self = t;
    return t;
}

/* A MAC context that has its digest and some key, ready to be duplicated and keyed anew. */
static EVP_MAC_CTX *hmac_template(EVP_MAC *hmac, const char *digest)
{
    static const uint8_t any_key[1] = {0};
    char name[16];
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(hmac);

    OPENSSL_strlcpy(name, digest, sizeof name);
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                                 OSSL_PARAM_construct_end()};
    if (ctx && EVP_MAC_init(ctx, any_key, sizeof any_key, params) == 1)
        return ctx;
    EVP_MAC_CTX_free(ctx);
    return NULL;
}

static bool table_fetch(void)
{
    static const char *const md_names[MA_MD__COUNT] = {"SHA2-256", "SHA2-384", "SHA2-512", "SHA1"};

    for (size_t i = 0; i < MA_COUNT(md_names); i++) {
        table.md[i] = EVP_MD_fetch(NULL, md_names[i], NULL);
        if (!table.md[i])
            return false;
    }
    table.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    table.hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    table.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (!table.hmac || !table.hkdf || !table.gcm)
        return false;
    table.hmac_sha1 = hmac_template(table.hmac, "SHA1");
    table.hmac_sha256 = hmac_template(table.hmac, "SHA2-256");
    return table.hmac_sha1 && table.hmac_sha256;
}

static void table_free(void)
{
    for (size_t i = 0; i < MA_COUNT(table.md); i++)
        EVP_MD_free(table.md[i]);
    EVP_MAC_CTX_free(table.hmac_sha1);
    EVP_MAC_CTX_free(table.hmac_sha256);
    EVP_MAC_free(table.hmac);
    EVP_KDF_free(table.hkdf);
    EVP_CIPHER_free(table.gcm);
    memset(&table, 0, sizeof table);
}

int ma_crypto_init(void)
{
    if (table_ready)
        return MA_OK;
    /* 1: all of it; 2: the pages are there but could not be locked (RLIMIT_MEMLOCK); 0: the ordinary heap serves, see
     * ma_secure_alloc. */
    if (!CRYPTO_secure_malloc_initialized())
        memory_locked = CRYPTO_secure_malloc_init(SECURE_HEAP_BYTES, SECURE_HEAP_MIN_BLOCK) == 1;
    if (!table_fetch() || pthread_key_create(&thread_key, thread_free) != 0) {
        table_free();
        return ma_crypto_fail(MA_E_CRYPTO);
    }
    table_ready = true;
    if (ma_crypto_selftest() != MA_OK) {
        ma_crypto_cleanup();
        return ma_crypto_fail(MA_E_CRYPTO);
    }
    return MA_OK;
}

bool ma_crypto_memory_locked(void)
{
    return memory_locked;
}

void ma_crypto_cleanup(void)
{
    if (!table_ready)
        return;
    /* The main thread leaves through exit(), where no key destructor runs. */
    thread_free(thread_self);
    pthread_key_delete(thread_key);
    table_ready = false;
    table_free();
}
