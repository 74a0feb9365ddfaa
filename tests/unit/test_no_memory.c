/* SPDX-License-Identifier: Apache-2.0
 * Every allocation fails in turn: what was right is done or MA_E_NOMEM, never taken for wrong.
 */
#include "ma/crypto.h"
#include "ma/jose.h"
#include "ma/jsonr.h"

#include "../chaos/faults.h"
#include "../support/fixture.h"

enum { ALLOCATIONS_MAX = 4000 };
#define LONG_TEXT "a string that makes room for itself, more than once: 0123456789012345678901234567890123456789"

static struct chaos_faults faults;

/* One operation on good input; it undoes what it did. No assertions inside: they allocate. */
typedef int (*operation)(void);

static int with_faults(operation op, int64_t skip, int64_t left)
{
    atomic_store(&faults.memory.seen, 0);
    atomic_store(&faults.memory.skip, skip);
    atomic_store(&faults.memory.every, 1);
    atomic_store(&faults.memory.left, left);
    atomic_store(&faults.memory.mask, INT64_MAX);
    int r = op();
    atomic_store(&faults.memory.mask, 0);
    return r;
}

/* The n-th allocation alone, and all from the n-th on, until there are fewer than n. */
static void sweep(const char *name, operation op)
{
    static const int64_t lefts[] = {1, INT32_MAX};
    chaos_faults = &faults;
    ck_assert_int_eq(op(), MA_OK);
    for (size_t k = 0; k < MA_COUNT(lefts); k++) {
        for (int64_t n = 0;; n++) {
            ck_assert_int_lt(n, ALLOCATIONS_MAX);
            int64_t before = atomic_load(&faults.memory.injected);
            int r = with_faults(op, n, lefts[k]);
            ck_assert_msg(r == MA_OK || r == MA_E_NOMEM, "%s without allocation %lld: %s", name, (long long)n,
                          ma_err_name(r));
            if (atomic_load(&faults.memory.injected) == before)
                break;
        }
    }
    ck_assert_int_eq(op(), MA_OK);
    ck_assert_int_gt(atomic_load(&faults.memory.injected), 0);
}

static int parse_json(void)
{
    static const char text[] = "{\"a\":[1,2,{\"b\":\"" LONG_TEXT "\"}],"
                               "\"c\":1.5,\"d\":null,\"e\":true,\"f\":\"\\u00e9\\n\",\"g\":{},\"h\":[[]]}";
    MA_CLEANUP(ma_json_free_p) struct ma_json *doc = NULL;
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    struct ma_span long_one;
    int r = a ? ma_json_parse(ma_span_str(text), &doc) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_json_at(doc, MA_LIT("a.2.b"), a, &long_one);
    /* jansson may drop a character that it has no room for */
    return r == MA_OK && !ma_span_eq_str(long_one, LONG_TEXT) ? MA_E_CONFLICT : r;
}

START_TEST(test_json)
{
    sweep("JSON", parse_json);
}
END_TEST

static struct ma_key *key;
static enum ma_jws_alg key_alg;
static uint8_t signature[MA_JWS_SIG_MAX];
static size_t signature_n;

static int verify(void)
{
    return ma_key_verify(key, key_alg, MA_LIT("what was signed"), ma_span_of(signature, signature_n));
}

START_TEST(test_signatures)
{
    static const struct {
        enum ma_key_type type;
        enum ma_jws_alg alg;
        const char *name;
    } rows[] = {
        {MA_KEY_RSA, MA_JWS_RS256, "RS256"},
        {MA_KEY_RSA, MA_JWS_PS256, "PS256"},
        {MA_KEY_EC_P256, MA_JWS_ES256, "ES256"},
        {MA_KEY_ED25519, MA_JWS_EDDSA, "EdDSA"},
    };
    T_OK(ma_crypto_init());
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        T_OK(ma_key_generate(rows[i].type, &key));
        key_alg = rows[i].alg;
        T_OK(ma_key_sign(key, key_alg, MA_LIT("what was signed"), signature, &signature_n));
        sweep(rows[i].name, verify);
        ma_key_free(key);
    }
}
END_TEST

/* What the first, undisturbed call gave: a result that is given is right. */
static uint8_t reference[MA_SHA256_LEN];
static bool has_reference;

static int same(int r, const uint8_t got[MA_SHA256_LEN])
{
    if (r == MA_OK && !has_reference)
        memcpy(reference, got, sizeof reference);
    has_reference = true;
    return r == MA_OK && memcmp(reference, got, sizeof reference) != 0 ? MA_E_CONFLICT : r;
}

static int digest(void)
{
    uint8_t out[MA_SHA256_LEN];
    return same(ma_sha256(MA_LIT("text"), out), out);
}

static int mac(void)
{
    uint8_t out[MA_SHA256_LEN];
    return same(ma_hmac_sha256(MA_LIT("key"), MA_LIT("text"), out), out);
}

static int derive(void)
{
    uint8_t out[MA_SHA256_LEN];
    return same(ma_hkdf_sha256(MA_LIT("key"), MA_LIT("purpose"), out, sizeof out), out);
}

static int seal_and_open(void)
{
    static const uint8_t secret[MA_AEAD_KEY_LEN] = {1}, nonce[MA_AEAD_NONCE_LEN] = {2};
    uint8_t sealed[4 + MA_AEAD_TAG_LEN], opened[4];
    int r = ma_aead_seal(secret, nonce, MA_LIT("row"), MA_LIT("seed"), sealed);
    return r < 0 ? r : ma_aead_open(secret, nonce, MA_LIT("row"), ma_span_of(sealed, sizeof sealed), opened);
}

START_TEST(test_symmetric)
{
    T_OK(ma_crypto_init());
    T_OK(digest());
    has_reference = false;
    sweep("HMAC", mac);
    has_reference = false;
    sweep("HKDF", derive);
    sweep("AES-GCM", seal_and_open);
}
END_TEST

static struct ma_jose *jose;
static struct ma_ctx *request;
static struct ma_span token;

static int own_claims(void)
{
    struct ma_span claims;
    struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    int r = a ? ma_jose_own_claims(jose, a, token, request->now_ms, &claims) : MA_E_NOMEM;
    ma_arena_free(a);
    return r;
}

/* What is signed says what it should. */
static int sign_and_read(void)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    struct ma_span t, claims;
    int r = a ? ma_jose_sign(jose, a, MA_JWS_RS256, "JWT", "{\"sub\":\"" LONG_TEXT "\"}", &t) : MA_E_NOMEM;
    if (r == MA_OK)
        r = ma_jose_own_claims(jose, a, t, request->now_ms, &claims);
    return r == MA_OK && !ma_span_eq_str(claims, "{\"sub\":\"" LONG_TEXT "\"}") ? MA_E_CONFLICT : r;
}

/* The answer is "the token is wrong" only when it is. */
START_TEST(test_tokens)
{
    struct ma_fix f;
    char why[256] = "";
    ma_fix_open(&f, "");
    request = ma_fix_request(&f, MA_FIX_ALICE, "spa");
    T_OK(ma_jose_open(f.conf, &f.clock.clock, ma_rand_system(), NULL, &jose, why));
    T_OK(ma_jose_client_assertion(jose, request->arena, "client", "https://op.example/token", request->now_ms / 1000,
                                  &token));
    sweep("own token", own_claims);
    sweep("signed token", sign_and_read);
    ma_jose_close(jose);
    ma_fix_close(&f);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("no_memory");
    TCase *tc = tcase_create("no_memory");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, test_json);
    tcase_add_test(tc, test_signatures);
    tcase_add_test(tc, test_symmetric);
    tcase_add_test(tc, test_tokens);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? 1 : 0;
}
