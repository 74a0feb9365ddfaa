/* SPDX-License-Identifier: Apache-2.0
 * Digests, MACs, key derivation, AES-256-GCM and comparison against published vectors.
 */
#include "ma/crypto.h"

#include "ma/codec.h"

#include <check.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>

#define BYTES_MAX 256

static void setup(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
}

static struct ma_span unhex(const char *hex, uint8_t buf[BYTES_MAX])
{
    size_t n = 0;

    ck_assert_int_eq(ma_hex_decode(ma_span_str(hex), buf, BYTES_MAX, &n), MA_OK);
    return ma_span_of(buf, n);
}

static void check_hex(const uint8_t *got, const char *want_hex)
{
    uint8_t want[BYTES_MAX];
    const struct ma_span w = unhex(want_hex, want);

    ck_assert_mem_eq(got, w.p, w.n);
}

/* --- SHA-256 (FIPS 180-4 examples) --- */

static const struct {
    const char *name, *text, *digest;
} sha_rows[] = {
    {"empty", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"two blocks", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

START_TEST(sha256_vectors)
{
    uint8_t got[MA_SHA256_LEN];

    ck_assert_int_eq(ma_sha256(ma_span_str(sha_rows[_i].text), got), MA_OK);
    check_hex(got, sha_rows[_i].digest);
}
END_TEST

START_TEST(sha256_null_span)
{
    uint8_t got[MA_SHA256_LEN];

    ck_assert_int_eq(ma_sha256(MA_SPAN_NULL, got), MA_OK);
    check_hex(got, sha_rows[0].digest);
}
END_TEST

/* --- HMAC: keys and texts in hex --- */

#define HEX20_AA "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX50_DD                                                                                                       \
    "dddddddddddddddddddddddddddddddddddddddddddddddddd"                                                               \
    "dddddddddddddddddddddddddddddddddddddddddddddddddd"
#define HEX50_CD                                                                                                       \
    "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"                                                               \
    "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"
#define HEX80_AA HEX20_AA HEX20_AA HEX20_AA HEX20_AA
#define HEX131_AA HEX80_AA HEX20_AA HEX20_AA "aaaaaaaaaaaaaaaaaaaaaa"
#define HEX_LARGER "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579"
#define HEX_JEFE_TEXT "7768617420646f2079612077616e7420666f72206e6f7468696e673f"

struct mac_row {
    const char *name, *key, *text, *mac;
};

static const struct mac_row hmac256_rows[] = {
    {"RFC 4231 case 1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"RFC 4231 case 2", "4a656665", HEX_JEFE_TEXT, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"RFC 4231 case 3", HEX20_AA, HEX50_DD, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
    {"RFC 4231 case 4", "0102030405060708090a0b0c0d0e0f10111213141516171819", HEX50_CD,
     "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
    {"RFC 4231 case 6", HEX131_AA, HEX_LARGER " - Hash Key First",
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    {"empty key and text", "", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
};

static const struct mac_row hmac1_rows[] = {
    {"RFC 2202 case 1", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
     "b617318655057264e28bc0b6fb378c8ef146be00"},
    {"RFC 2202 case 2", "4a656665", HEX_JEFE_TEXT, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    {"RFC 2202 case 3", HEX20_AA, HEX50_DD, "125d7342b9ac11cd91a39af48aa17b4f63f175d3"},
    {"RFC 2202 case 4", "0102030405060708090a0b0c0d0e0f10111213141516171819", HEX50_CD,
     "4c9007f4026250c6bc8414f9bf50c86c2d7235da"},
    {"RFC 2202 case 6", HEX80_AA, HEX_LARGER " - Hash Key First", "aa4ae5e15272d00e95705637ce8a3b55ed402112"},
};

/* Hex, with an optional tail of plain text after a blank. */
static struct ma_span mac_text(const char *text, uint8_t buf[BYTES_MAX])
{
    const char *tail = strchr(text, ' ');
    size_t n = 0;

    if (!tail)
        return unhex(text, buf);
    ck_assert_int_eq(ma_hex_decode(ma_span_of(text, (size_t)(tail - text)), buf, BYTES_MAX, &n), MA_OK);
    memcpy(buf + n, tail, strlen(tail));
    return ma_span_of(buf, n + strlen(tail));
}

START_TEST(hmac_sha256_vectors)
{
    const struct mac_row *row = &hmac256_rows[_i];
    uint8_t key[BYTES_MAX], text[BYTES_MAX], got[MA_SHA256_LEN];

    ck_assert_int_eq(ma_hmac_sha256(unhex(row->key, key), mac_text(row->text, text), got), MA_OK);
    check_hex(got, row->mac);
}
END_TEST

START_TEST(hmac_sha1_vectors)
{
    const struct mac_row *row = &hmac1_rows[_i];
    uint8_t key[BYTES_MAX], text[BYTES_MAX], got[20];

    ck_assert_int_eq(ma_hmac_sha1(unhex(row->key, key), mac_text(row->text, text), got), MA_OK);
    check_hex(got, row->mac);
}
END_TEST

START_TEST(hmac_null_key_is_the_empty_key)
{
    uint8_t got[MA_SHA256_LEN];

    ck_assert_int_eq(ma_hmac_sha256(MA_SPAN_NULL, MA_SPAN_NULL, got), MA_OK);
    check_hex(got, hmac256_rows[5].mac);
}
END_TEST

START_TEST(hmac_parts_equal_the_whole)
{
    const struct ma_span parts[] = {MA_LIT("what do "), MA_SPAN_NULL, MA_LIT("ya want "), MA_LIT("for nothing?")};
    uint8_t got[MA_SHA256_LEN];

    ck_assert_int_eq(ma_hmac_sha256_parts(MA_LIT("Jefe"), parts, MA_COUNT(parts), got), MA_OK);
    check_hex(got, hmac256_rows[1].mac);
}
END_TEST

/* --- HKDF --- */

START_TEST(hkdf_rfc5869_a3)
{
    uint8_t key[22], got[42];

    memset(key, 0x0b, sizeof key);
    ck_assert_int_eq(ma_hkdf_sha256(ma_span_of(key, sizeof key), MA_SPAN_NULL, got, sizeof got), MA_OK);
    check_hex(got, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}
END_TEST

/* RFC 5869 §2.2 and §2.3 spelled out with HMAC: no salt means a zero key of the digest's length. */
START_TEST(hkdf_follows_the_definition)
{
    static const uint8_t zero_salt[MA_SHA256_LEN] = {0};
    const struct ma_span info = MA_LIT("purpose");
    uint8_t prk[MA_SHA256_LEN], t1[MA_SHA256_LEN] = {0}, t2[MA_SHA256_LEN], got[2 * MA_SHA256_LEN];
    const struct ma_span first[] = {info, MA_LIT("\x01")};
    const struct ma_span second[] = {ma_span_of(t1, sizeof t1), info, MA_LIT("\x02")};
    const struct ma_span prk_span = ma_span_of(prk, sizeof prk);

    ck_assert_int_eq(ma_hmac_sha256(ma_span_of(zero_salt, sizeof zero_salt), MA_LIT("key material"), prk), MA_OK);
    ck_assert_int_eq(ma_hmac_sha256_parts(prk_span, first, MA_COUNT(first), t1), MA_OK);
    ck_assert_int_eq(ma_hmac_sha256_parts(prk_span, second, MA_COUNT(second), t2), MA_OK);
    ck_assert_int_eq(ma_hkdf_sha256(MA_LIT("key material"), info, got, sizeof got), MA_OK);
    ck_assert_mem_eq(got, t1, sizeof t1);
    ck_assert_mem_eq(got + sizeof t1, t2, sizeof t2);
}
END_TEST

START_TEST(hkdf_refuses_over_255_blocks)
{
    static uint8_t out[255 * MA_SHA256_LEN + 1];

    ck_assert_int_eq(ma_hkdf_sha256(MA_LIT("k"), MA_SPAN_NULL, out, sizeof out), MA_E_CRYPTO);
    ck_assert_uint_eq(ERR_peek_error(), 0);
    ck_assert_int_eq(ma_hkdf_sha256(MA_LIT("k"), MA_SPAN_NULL, out, sizeof out - 1), MA_OK);
}
END_TEST

/* --- AES-256-GCM: test cases 13 to 16 of the GCM specification submitted to NIST --- */

#define GCM_KEY "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"
#define GCM_ZERO_KEY "0000000000000000000000000000000000000000000000000000000000000000"
#define GCM_PLAIN60                                                                                                    \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"                                                 \
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
#define GCM_CIPHER60                                                                                                   \
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"                                                 \
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"

static const struct gcm_row {
    const char *name, *key, *nonce, *aad, *plain, *sealed;
} gcm_rows[] = {
    {"case 13", GCM_ZERO_KEY, "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {"case 14", GCM_ZERO_KEY, "000000000000000000000000", "", "00000000000000000000000000000000",
     "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
    {"case 15", GCM_KEY, "cafebabefacedbaddecaf888", "", GCM_PLAIN60 "1aafd255",
     GCM_CIPHER60 "898015adb094dac5d93471bdec1a502270e3cc6c"},
    {"case 16", GCM_KEY, "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2", GCM_PLAIN60,
     GCM_CIPHER60 "76fc6ece0f4e1768cddf8853bb2d551b"},
};

START_TEST(gcm_vectors)
{
    const struct gcm_row *row = &gcm_rows[_i];
    uint8_t kb[BYTES_MAX], nb[BYTES_MAX], ab[BYTES_MAX], pb[BYTES_MAX], sb[BYTES_MAX], out[BYTES_MAX];
    const struct ma_span key = unhex(row->key, kb), nonce = unhex(row->nonce, nb), aad = unhex(row->aad, ab);
    const struct ma_span plain = unhex(row->plain, pb), sealed = unhex(row->sealed, sb);

    ck_assert_uint_eq(sealed.n, plain.n + MA_AEAD_TAG_LEN);
    ck_assert_int_eq(ma_aead_seal(key.p, nonce.p, aad, plain, out), MA_OK);
    ck_assert_mem_eq(out, sealed.p, sealed.n);
    memset(out, 0x55, sizeof out);
    ck_assert_int_eq(ma_aead_open(key.p, nonce.p, aad, sealed, out), MA_OK);
    if (plain.n > 0)
        ck_assert_mem_eq(out, plain.p, plain.n);
}
END_TEST

START_TEST(gcm_refuses_every_flipped_bit)
{
    const struct gcm_row *row = &gcm_rows[3];
    static const uint8_t zero[BYTES_MAX] = {0};
    uint8_t kb[BYTES_MAX], nb[BYTES_MAX], ab[BYTES_MAX], sb[BYTES_MAX], out[BYTES_MAX];
    const struct ma_span key = unhex(row->key, kb), nonce = unhex(row->nonce, nb), aad = unhex(row->aad, ab);
    const struct ma_span sealed = unhex(row->sealed, sb);
    struct {
        uint8_t *p;
        size_t n;
    } fields[] = {{kb, key.n}, {nb, nonce.n}, {ab, aad.n}, {sb, sealed.n}};

    for (size_t f = 0; f < MA_COUNT(fields); f++) {
        for (size_t bit = 0; bit < fields[f].n * 8; bit++) {
            fields[f].p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            memset(out, 0x55, sizeof out);
            ck_assert_int_eq(ma_aead_open(key.p, nonce.p, aad, sealed, out), MA_E_AUTH);
            ck_assert_mem_eq(out, zero, sealed.n - MA_AEAD_TAG_LEN);
            fields[f].p[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        }
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
    ck_assert_int_eq(ma_aead_open(key.p, nonce.p, aad, sealed, out), MA_OK);
}
END_TEST

START_TEST(gcm_refuses_short_input)
{
    static const uint8_t key[MA_AEAD_KEY_LEN] = {0};
    uint8_t blob[32], out[32];

    ck_assert_int_eq(ma_aead_seal(key, key, MA_SPAN_NULL, MA_LIT("0123456789abcdef"), blob), MA_OK);
    for (size_t n = 0; n < sizeof blob; n++)
        ck_assert_int_eq(ma_aead_open(key, key, MA_SPAN_NULL, ma_span_of(blob, n), out), MA_E_AUTH);
}
END_TEST

/* --- comparing and wiping --- */

START_TEST(ct_eq_sees_every_position)
{
    uint8_t a[70], b[70];

    for (size_t n = 0; n <= sizeof a; n++) {
        memset(a, 0xa5, sizeof a);
        memset(b, 0xa5, sizeof b);
        ck_assert(ma_ct_eq(ma_span_of(a, n), ma_span_of(b, n)));
        for (size_t i = 0; i < n; i++) {
            b[i] ^= (uint8_t)(1u << (i % 8));
            ck_assert(!ma_ct_eq(ma_span_of(a, n), ma_span_of(b, n)));
            b[i] = a[i];
        }
    }
}
END_TEST

START_TEST(ct_eq_sees_lengths)
{
    ck_assert(!ma_ct_eq(MA_LIT("abc"), MA_LIT("abcd")));
    ck_assert(!ma_ct_eq(MA_LIT("abcd"), MA_LIT("abc")));
    ck_assert(!ma_ct_eq(MA_SPAN_NULL, MA_LIT("a")));
    ck_assert(ma_ct_eq(MA_SPAN_NULL, MA_LIT("")));
}
END_TEST

START_TEST(wipe_clears_and_takes_null)
{
    static const uint8_t zero[16] = {0};
    uint8_t buf[16];

    memset(buf, 0xff, sizeof buf);
    ma_wipe(buf, sizeof buf);
    ck_assert_mem_eq(buf, zero, sizeof zero);
    ma_wipe(NULL, 0);
}
END_TEST

START_TEST(secure_memory_is_zeroed_and_outlasts_the_locked_heap)
{
    uint8_t *block[64];

    for (size_t i = 0; i < MA_COUNT(block); i++) { /* 1 MiB: more than is locked */
        block[i] = ma_secure_alloc(16384);
        ck_assert_ptr_nonnull(block[i]);
        ck_assert_uint_eq(block[i][0], 0);
        ck_assert_uint_eq(block[i][16383], 0);
        memset(block[i], 0xff, 16384);
    }
    ck_assert_uint_eq(ERR_peek_error(), 0);
    for (size_t i = 0; i < MA_COUNT(block); i++)
        ma_secure_free(block[i], 16384);
    ma_secure_free(NULL, 0);
}
END_TEST

/* --- life cycle --- */

START_TEST(init_twice_and_again_after_cleanup)
{
    uint8_t got[MA_SHA256_LEN];

    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    ck_assert_int_eq(ma_sha256(MA_LIT("abc"), got), MA_OK);
    ma_crypto_cleanup();
    ck_assert_int_eq(ma_sha256(MA_LIT("abc"), got), MA_E_CRYPTO);
    ck_assert_int_eq(ma_hmac_sha256(MA_LIT("k"), MA_LIT("abc"), got), MA_E_CRYPTO);
    ma_crypto_cleanup();
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    ck_assert_int_eq(ma_sha256(MA_LIT("abc"), got), MA_OK);
    check_hex(got, sha_rows[1].digest);
    ma_crypto_cleanup();
}
END_TEST

static void *hash_many(void *arg)
{
    uint8_t want[MA_SHA256_LEN], got[MA_SHA256_LEN];
    const struct ma_span text = ma_span_str(arg);

    if (ma_sha256(text, want) != MA_OK)
        return arg;
    for (unsigned i = 0; i < 200; i++) {
        if (ma_sha256(text, got) != MA_OK || memcmp(got, want, sizeof want) != 0)
            return arg;
    }
    return NULL;
}

START_TEST(threads_do_not_disturb_each_other)
{
    static char text[4][8] = {"one", "two", "three", "four"};
    pthread_t thread[MA_COUNT(text)];
    void *failed = NULL;

    for (size_t i = 0; i < MA_COUNT(text); i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, hash_many, text[i]), 0);
    for (size_t i = 0; i < MA_COUNT(text); i++) {
        ck_assert_int_eq(pthread_join(thread[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

static Suite *crypto_suite(void)
{
    Suite *s = suite_create("crypto");
    TCase *hash = tcase_create("hash");
    TCase *aead = tcase_create("aead");
    TCase *misc = tcase_create("misc");

    tcase_add_checked_fixture(hash, setup, ma_crypto_cleanup);
    tcase_add_loop_test(hash, sha256_vectors, 0, MA_COUNT(sha_rows));
    tcase_add_test(hash, sha256_null_span);
    tcase_add_loop_test(hash, hmac_sha256_vectors, 0, MA_COUNT(hmac256_rows));
    tcase_add_loop_test(hash, hmac_sha1_vectors, 0, MA_COUNT(hmac1_rows));
    tcase_add_test(hash, hmac_null_key_is_the_empty_key);
    tcase_add_test(hash, hmac_parts_equal_the_whole);
    tcase_add_test(hash, hkdf_rfc5869_a3);
    tcase_add_test(hash, hkdf_follows_the_definition);
    tcase_add_test(hash, hkdf_refuses_over_255_blocks);
    suite_add_tcase(s, hash);

    tcase_add_checked_fixture(aead, setup, ma_crypto_cleanup);
    tcase_add_loop_test(aead, gcm_vectors, 0, MA_COUNT(gcm_rows));
    tcase_add_test(aead, gcm_refuses_every_flipped_bit);
    tcase_add_test(aead, gcm_refuses_short_input);
    suite_add_tcase(s, aead);

    tcase_add_checked_fixture(misc, setup, ma_crypto_cleanup);
    tcase_add_test(misc, ct_eq_sees_every_position);
    tcase_add_test(misc, ct_eq_sees_lengths);
    tcase_add_test(misc, wipe_clears_and_takes_null);
    tcase_add_test(misc, secure_memory_is_zeroed_and_outlasts_the_locked_heap);
    tcase_add_test(misc, init_twice_and_again_after_cleanup);
    tcase_add_test(misc, threads_do_not_disturb_each_other);
    suite_add_tcase(s, misc);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(crypto_suite());

    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
