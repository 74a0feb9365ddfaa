/* SPDX-License-Identifier: Apache-2.0
 * Registrations (WebAuthn §7.1): what is accepted, and for every step what is refused there.
 */
#include "../support/authenticator.h"
#include "ma/cbor.h"
#include "ma/crypto.h"

#include <check.h>
#include <stdlib.h>

#define ARENA_BYTES ((size_t)4 << 20)
#define ANDROID "android:apk-key-hash:Y0a7qYb9m2dFqg0nWJ1X8mM2uS8pU0m3wWcVd0l7k1Q"

static const char *const ORIGINS[] = {"https://login.example.com", ANDROID, "http://localhost:3000"};
static const struct ma_webauthn_policy POLICY = {
    .rp_id = "login.example.com", .origins = ORIGINS, .n_origins = MA_COUNT(ORIGINS)};
static const uint8_t CHALLENGE[32] = {0xff, 0xfe, 0xfd, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13,
                                      14,   15,   16,   17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29};

static struct ma_arena *arena;

static void once(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    for (enum sa_key_type t = 0; t < SA_KEYS; t++) {
        (void)sa_key(t, 0);
        (void)sa_key(t, 1);
    }
}

static void setup(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    ma_arena_free_p(&arena);
}

static struct sa_ceremony honest(void)
{
    return sa_ceremony(arena, &POLICY, ma_span_of(CHALLENGE, sizeof CHALLENGE), true);
}

static int verify(const struct ma_webauthn_policy *policy, const struct sa_answer *r,
                  struct ma_webauthn_credential *ret, struct ma_webauthn_fault *fault)
{
    return ma_webauthn_register(arena, policy, ma_span_of(CHALLENGE, sizeof CHALLENGE), r->client_data,
                                r->attestation_object, ret, fault);
}

/* Accepted, and described as it was made. */
static struct ma_webauthn_credential accept(const struct ma_webauthn_policy *policy, const struct sa_ceremony *c)
{
    const struct sa_answer r = sa_create(c);
    struct ma_webauthn_credential got;
    struct ma_webauthn_fault fault;
    const int rc = verify(policy, &r, &got, &fault);

    ck_assert_msg(rc == MA_OK, "%s: step %s: %s", ma_err_name(rc), fault.step, fault.detail);
    ck_assert_ptr_null(fault.pointer);
    ck_assert(ma_span_eq(got.credential_id, c->credential_id));
    ck_assert(ma_span_eq(got.public_key, r.public_key));
    ck_assert_int_eq(got.alg, sa_cose_alg(c->key));
    ck_assert_uint_eq(got.sign_count, c->sign_count);
    ck_assert_mem_eq(got.aaguid, c->aaguid, sizeof got.aaguid);
    ck_assert(got.up == ((c->flags & 0x01) != 0) && got.uv == ((c->flags & 0x04) != 0));
    ck_assert(got.be == ((c->flags & 0x08) != 0) && got.bs == ((c->flags & 0x10) != 0));
    return got;
}

/* --- accepted --- */

static const struct {
    const char *name;
    enum sa_format format;
    enum sa_key_type key, attestation;
    enum ma_webauthn_format want;
    bool attested;
} format_rows[] = {
    {"none, ES256", SA_NONE, SA_ES256, SA_ES256, MA_WEBAUTHN_NONE, false},
    {"none, EdDSA", SA_NONE, SA_EDDSA, SA_ES256, MA_WEBAUTHN_NONE, false},
    {"none, RS256", SA_NONE, SA_RS256, SA_ES256, MA_WEBAUTHN_NONE, false},
    {"packed self, ES256", SA_PACKED_SELF, SA_ES256, SA_ES256, MA_WEBAUTHN_PACKED_SELF, true},
    {"packed self, EdDSA", SA_PACKED_SELF, SA_EDDSA, SA_ES256, MA_WEBAUTHN_PACKED_SELF, true},
    {"packed self, RS256", SA_PACKED_SELF, SA_RS256, SA_ES256, MA_WEBAUTHN_PACKED_SELF, true},
    {"packed x5c, ES256", SA_PACKED, SA_ES256, SA_ES256, MA_WEBAUTHN_PACKED, true},
    {"packed x5c, EdDSA credential", SA_PACKED, SA_EDDSA, SA_ES256, MA_WEBAUTHN_PACKED, true},
    {"packed x5c, EdDSA certificate", SA_PACKED, SA_ES256, SA_EDDSA, MA_WEBAUTHN_PACKED, true},
    {"packed x5c, RS256 certificate", SA_PACKED, SA_RS256, SA_RS256, MA_WEBAUTHN_PACKED, true},
    {"packed x5c, ES384 certificate", SA_PACKED, SA_ES256, SA_ES384, MA_WEBAUTHN_PACKED, true},
    {"fido-u2f", SA_U2F, SA_ES256, SA_ES256, MA_WEBAUTHN_FIDO_U2F, true},
    {"unknown format", SA_OTHER, SA_ES256, SA_ES256, MA_WEBAUTHN_OTHER, false},
};

START_TEST(formats)
{
    struct sa_ceremony c = honest();

    c.format = format_rows[_i].format;
    c.key = format_rows[_i].key;
    c.cert.key = format_rows[_i].attestation;
    const struct ma_webauthn_credential got = accept(&POLICY, &c);
    ck_assert_int_eq(got.format, format_rows[_i].want);
    ck_assert(got.attested == format_rows[_i].attested);
    if (!got.attested)
        return;
    struct ma_webauthn_policy strict = POLICY;
    strict.attestation_verified = true;
    ck_assert_int_eq(accept(&strict, &c).format, format_rows[_i].want);
}
END_TEST

START_TEST(format_names)
{
    ck_assert_str_eq(ma_webauthn_format_name(MA_WEBAUTHN_NONE), "none");
    ck_assert_str_eq(ma_webauthn_format_name(MA_WEBAUTHN_PACKED), "packed");
    ck_assert_str_eq(ma_webauthn_format_name(MA_WEBAUTHN_PACKED_SELF), "packed-self");
    ck_assert_str_eq(ma_webauthn_format_name(MA_WEBAUTHN_FIDO_U2F), "fido-u2f");
    ck_assert_str_eq(ma_webauthn_format_name(MA_WEBAUTHN_OTHER), "other");
    ck_assert(ma_webauthn_algs[0] == -8 && ma_webauthn_algs[1] == -7 && ma_webauthn_algs[2] == -257);
}
END_TEST

static const uint8_t LONG_ID[1024] = {1};
static const uint8_t CRED_PROTECT[] = {0xa1, 0x6b, 'c', 'r', 'e', 'd', 'P', 'r', 'o', 't', 'e', 'c', 't', 0x02};

#define EDIT(name, ...)                                                                                                \
    static void name(struct sa_ceremony *c)                                                                            \
    {                                                                                                                  \
        __VA_ARGS__;                                                                                                   \
    }

static struct ma_span aaguid_octets(const struct sa_ceremony *c, uint8_t first)
{
    static uint8_t value[2 + MA_WEBAUTHN_AAGUID_LEN];

    value[0] = 0x04;
    value[1] = MA_WEBAUTHN_AAGUID_LEN;
    memcpy(value + 2, c->aaguid, MA_WEBAUTHN_AAGUID_LEN);
    value[2] = first;
    return ma_span_of(value, sizeof value);
}

EDIT(ok_android, c->origin = ANDROID)
EDIT(ok_localhost, c->origin = "http://localhost:3000")
EDIT(ok_cross_origin, c->extra = ",\"crossOrigin\":true,\"topOrigin\":\"https://evil.example\"")
EDIT(ok_odd_cross_origin, c->extra = ",\"crossOrigin\":\"maybe\"")
EDIT(ok_token_binding, c->extra = ",\"tokenBinding\":{\"status\":\"supported\"},\"new\":[1,2.5,null]")
EDIT(ok_counter, c->sign_count = 0xfffffffe)
EDIT(ok_no_uv, c->flags = 0x01)
EDIT(ok_reserved_flags, c->flags = 0x05 | 0x22)
EDIT(ok_be, c->flags = 0x0d)
EDIT(ok_be_bs, c->flags = 0x1d)
EDIT(ok_long_id, c->credential_id = ma_span_of(LONG_ID, 1023))
EDIT(ok_short_id, c->credential_id = ma_span_of(LONG_ID, 16))
EDIT(ok_no_aaguid, memset(c->aaguid, 0, sizeof c->aaguid))
EDIT(ok_extension, c->extensions = ma_span_of(CRED_PROTECT, sizeof CRED_PROTECT), c->flags |= 0x80)
EDIT(ok_chain, c->format = SA_PACKED, c->n_certs = 3)
EDIT(ok_cert_aaguid, c->format = SA_PACKED, c->cert.aaguid = aaguid_octets(c, c->aaguid[0]))
EDIT(ok_u2f_plain_cert, c->format = SA_U2F, c->cert.ou = NULL, c->cert.version = 1, c->cert.ca = -1)
EDIT(ok_tpm, c->format = SA_OTHER, c->fmt = "tpm")
EDIT(ok_other_array, c->format = SA_OTHER, c->fmt = "compound", c->stmt = MA_LIT("\x81\xa0"))

static const struct {
    const char *name;
    void (*edit)(struct sa_ceremony *);
} good_rows[] = {
    {"origin of an Android app", ok_android},
    {"origin on localhost", ok_localhost},
    {"crossOrigin and topOrigin are ignored", ok_cross_origin},
    {"crossOrigin of another type is ignored", ok_odd_cross_origin},
    {"unknown members and tokenBinding are ignored", ok_token_binding},
    {"large counter", ok_counter},
    {"no user verification", ok_no_uv},
    {"reserved flags", ok_reserved_flags},
    {"eligible for backup", ok_be},
    {"backed up", ok_be_bs},
    {"identifier of 1023 bytes", ok_long_id},
    {"identifier of 16 bytes", ok_short_id},
    {"no AAGUID", ok_no_aaguid},
    {"unsolicited extension", ok_extension},
    {"several certificates", ok_chain},
    {"AAGUID in the certificate", ok_cert_aaguid},
    {"U2F certificates have no form", ok_u2f_plain_cert},
    {"registered format that is not verified", ok_tpm},
    {"statement that is a list", ok_other_array},
};

START_TEST(accepted)
{
    struct sa_ceremony c = honest();

    good_rows[_i].edit(&c);
    (void)accept(&POLICY, &c);
}
END_TEST

START_TEST(strict_policy_accepts)
{
    struct ma_webauthn_policy strict = POLICY;
    struct sa_ceremony c = honest();

    strict.require_uv = true;
    strict.same_origin_only = true;
    c.extra = ",\"crossOrigin\":false";
    ck_assert(accept(&strict, &c).uv);
}
END_TEST

/* §7.1 step 5: the byte order mark goes, and the hash is over what was sent. */
START_TEST(byte_order_mark)
{
    struct sa_ceremony c = honest();
    struct sa_answer r = sa_create(&c);

    c.client_data = ma_arena_printf(arena, "\xef\xbb\xbf%.*s", (int)r.client_data.n, (const char *)r.client_data.p);
    c.format = SA_PACKED_SELF;
    (void)accept(&POLICY, &c);
}
END_TEST

/* --- refused --- */

enum { UV = 1, VERIFIED = 2, SAME_ORIGIN = 4 };

/* Step 6 */
EDIT(no_json, c->client_data = "type=webauthn.create")
EDIT(empty_json, c->client_data = "")
EDIT(json_array, c->client_data = "[]")
EDIT(json_trailing, c->client_data = "{\"type\":\"webauthn.create\"}{}")
EDIT(json_duplicate, c->extra = ",\"type\":\"webauthn.create\"")
EDIT(json_no_utf8, c->extra = ",\"x\":\"\xff\"")
EDIT(no_type, c->client_data = "{\"challenge\":\"AA\",\"origin\":\"https://login.example.com\"}")
EDIT(no_challenge, c->client_data = "{\"type\":\"webauthn.create\",\"origin\":\"https://login.example.com\"}")
EDIT(no_origin, c->client_data = "{\"type\":\"webauthn.create\",\"challenge\":\"AA\"}")
EDIT(type_number, c->client_data = "{\"type\":1,\"challenge\":\"AA\",\"origin\":\"https://login.example.com\"}")
EDIT(origin_null, c->client_data = "{\"type\":\"webauthn.create\",\"challenge\":\"AA\",\"origin\":null}")
static void json_deep(struct sa_ceremony *c)
{
    c->extra = ",\"x\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]";
}
static void json_long(struct sa_ceremony *c)
{
    char *text = ma_arena_alloc(arena, MA_WEBAUTHN_CLIENT_DATA_MAX + 1);
    ck_assert_ptr_nonnull(text);
    memset(text, ' ', MA_WEBAUTHN_CLIENT_DATA_MAX);
    text[MA_WEBAUTHN_CLIENT_DATA_MAX] = 0;
    c->extra = ma_arena_printf(arena, "%s", text);
}
/* Step 7 */
EDIT(type_get, c->type = "webauthn.get")
EDIT(type_case, c->type = "WebAuthn.Create")
EDIT(type_u2f, c->type = "navigator.id.finishEnrollment")
EDIT(type_empty, c->type = "")
/* Step 8 */
EDIT(challenge_other, c->challenge = ma_span_of(LONG_ID, 32))
EDIT(challenge_short, c->challenge = ma_span_of(CHALLENGE, 31))
EDIT(challenge_long, c->challenge = ma_span_of(LONG_ID, 33))
EDIT(challenge_huge, c->challenge = ma_span_of(LONG_ID, 90))
EDIT(challenge_empty, c->challenge_text = "")
EDIT(challenge_padded, c->challenge_text = "__79AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0=")
EDIT(challenge_base64, c->challenge_text = "//79AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0")
EDIT(challenge_space, c->challenge_text = " __79AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0")
EDIT(challenge_bits, c->challenge_text = "__79AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB1")
/* Step 9 */
EDIT(origin_other, c->origin = "https://evil.example")
EDIT(origin_sub, c->origin = "https://x.login.example.com")
EDIT(origin_http, c->origin = "http://login.example.com")
EDIT(origin_port, c->origin = "https://login.example.com:8443")
EDIT(origin_slash, c->origin = "https://login.example.com/")
EDIT(origin_case, c->origin = "https://LOGIN.example.com")
EDIT(origin_suffix, c->origin = "https://login.example.com.evil.example")
EDIT(origin_nul, c->origin = "https://login.example.com\\u0001")
EDIT(origin_empty, c->origin = "")
EDIT(origin_android, c->origin = "android:apk-key-hash:Y0a7qYb9m2dFqg0nWJ1X8mM2uS8pU0m3wWcVd0l7k1R")
/* Steps 10 and 11 */
EDIT(cross_origin, c->extra = ",\"crossOrigin\":true")
EDIT(cross_origin_odd, c->extra = ",\"crossOrigin\":\"false\"")
EDIT(top_origin, c->extra = ",\"crossOrigin\":false,\"topOrigin\":\"https://evil.example\"")
/* Step 13 */
EDIT(cut_flags, c->format = SA_NONE, c->without_at = true, c->cut = 5)
EDIT(cut_everything, c->without_at = true, c->cut = 37)
EDIT(no_at, c->without_at = true)
EDIT(at_without_data, c->without_at = true, c->flags |= 0x40, c->cut = 16 + 2 + 32 + 77)
EDIT(cut_aaguid, c->cut = 77 + 32 + 2 + 1)
EDIT(cut_id, c->cut = 77 + 1)
EDIT(cut_key, c->cut = 1)
EDIT(id_length_more, c->id_length = 33)
EDIT(id_length_less, c->id_length = 31)
EDIT(id_length_max, c->id_length = 0xffff)
EDIT(tail_byte, c->tail = MA_LIT("\0"))
EDIT(tail_map, c->tail = MA_LIT("\xa0"))
EDIT(ed_missing, c->flags |= 0x80)
EDIT(ed_no_map, c->flags |= 0x80, c->extensions = MA_LIT("\x01"))
EDIT(ed_twice, c->flags |= 0x80, c->extensions = MA_LIT("\xa0\xa0"))
EDIT(ed_duplicate, c->flags |= 0x80, c->extensions = MA_LIT("\xa2\x61x\x01\x61x\x02"))
EDIT(key_no_cbor, c->cose = MA_LIT("\xff"))
EDIT(key_no_map, c->cose = MA_LIT("\x41x"))
EDIT(key_indefinite, c->cose = MA_LIT("\xbf\x01\x02\xff"))
EDIT(key_duplicate, c->cose = MA_LIT("\xa2\x01\x02\x01\x02"))
EDIT(key_long_int, c->cose = MA_LIT("\xa1\x18\x01\x02"))
/* Step 14 to 17 */
EDIT(rp_other, c->rp_id = "example.com")
EDIT(rp_case, c->rp_id = "Login.example.com")
EDIT(rp_origin, c->rp_id = "https://login.example.com")
EDIT(no_up, c->flags = 0x04)
EDIT(no_flags, c->flags = 0)
EDIT(no_uv, c->flags = 0x01)
EDIT(bs_without_be, c->flags = 0x15)

/* Step 20: a key put together from parts. */
static void cose(struct sa_ceremony *c, int kty, int64_t alg, int crv, struct ma_span x, struct ma_span y)
{
    struct ma_buf b;

    ma_buf_init_arena(&b, arena, 128, 4096);
    sa_map(&b, y.p ? 5 : 4);
    sa_int(&b, 1), sa_int(&b, kty);
    sa_int(&b, 3), sa_int(&b, alg);
    sa_int(&b, -1), sa_int(&b, crv);
    sa_int(&b, -2), sa_bytes(&b, x);
    if (y.p)
        sa_int(&b, -3), sa_bytes(&b, y);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    c->cose = ma_buf_view(&b);
}
static void cose_rsa(struct sa_ceremony *c, struct ma_span n, struct ma_span e)
{
    struct ma_buf b;

    ma_buf_init_arena(&b, arena, 512, 4096);
    sa_map(&b, 4);
    sa_int(&b, 1), sa_int(&b, 3);
    sa_int(&b, 3), sa_int(&b, -257);
    sa_int(&b, -1), sa_bytes(&b, n);
    sa_int(&b, -2), sa_bytes(&b, e);
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    c->cose = ma_buf_view(&b);
}
/* The honest key's bytes under a label. */
static struct ma_span part(enum sa_key_type type, int64_t label)
{
    const struct ma_span key = sa_cose(arena, sa_key(type, 0), type);
    struct ma_cbor map;
    struct ma_cbor v;

    ck_assert(ma_cbor_parse(key, &map) == MA_OK && ma_cbor_member_int(&map, label, &v));
    return v.body;
}
#define X part(SA_ES256, -2)
#define Y part(SA_ES256, -3)
#define N part(SA_RS256, -1)
#define E part(SA_RS256, -2)
static struct ma_span with_zero(struct ma_span s)
{
    uint8_t *p = ma_arena_zalloc(arena, s.n + 1);
    ck_assert_ptr_nonnull(p);
    memcpy(p + 1, s.p, s.n);
    return ma_span_of(p, s.n + 1);
}
static struct ma_span even(struct ma_span s)
{
    uint8_t *p = ma_arena_alloc(arena, s.n);
    ck_assert_ptr_nonnull(p);
    memcpy(p, s.p, s.n);
    p[s.n - 1] = (uint8_t)(p[s.n - 1] & 0xfe);
    return ma_span_of(p, s.n);
}

EDIT(alg_es384, c->key = SA_ES384)
EDIT(alg_unknown, cose(c, 2, -65535, 1, X, Y))
EDIT(alg_ps256, cose(c, 3, -37, 1, X, Y))
EDIT(alg_huge, cose(c, 2, INT64_MIN, 1, X, Y))
EDIT(alg_positive, cose(c, 2, 7, 1, X, Y))
EDIT(alg_missing, c->cose = MA_LIT("\xa2\x01\x02\x20\x01"))
EDIT(alg_text, c->cose = MA_LIT("\xa2\x01\x02\x03\x65"
                                "ES256"))
EDIT(kty_okp_for_es256, cose(c, 1, -7, 1, X, Y))
EDIT(kty_rsa_for_es256, cose(c, 3, -7, 1, X, Y))
EDIT(crv_p384, cose(c, 2, -7, 2, X, Y))
EDIT(crv_ed25519, cose(c, 2, -7, 6, X, Y))
EDIT(off_curve, cose(c, 2, -7, 1, X, X))
EDIT(infinity, cose(c, 2, -7, 1, ma_span_of(LONG_ID + 1, 32), ma_span_of(LONG_ID + 1, 32)))
EDIT(x_short, cose(c, 2, -7, 1, ma_span_of(X.p, 31), Y))
EDIT(x_long, cose(c, 2, -7, 1, with_zero(X), Y))
EDIT(y_missing, cose(c, 2, -7, 1, X, MA_SPAN_NULL))
EDIT(okp_extra, cose(c, 1, -8, 6, part(SA_EDDSA, -2), X))
EDIT(okp_x448, cose(c, 1, -8, 5, part(SA_EDDSA, -2), MA_SPAN_NULL))
EDIT(okp_short, cose(c, 1, -8, 6, ma_span_of(X.p, 31), MA_SPAN_NULL))
EDIT(okp_kty, cose(c, 2, -8, 6, part(SA_EDDSA, -2), MA_SPAN_NULL))
EDIT(rsa_1024, c->key = SA_RSA1024)
EDIT(rsa_zero, cose_rsa(c, with_zero(N), E))
EDIT(rsa_even, cose_rsa(c, even(N), E))
EDIT(rsa_e_one, cose_rsa(c, N, MA_LIT("\x01")))
EDIT(rsa_e_even, cose_rsa(c, N, MA_LIT("\x04")))
EDIT(rsa_e_long, cose_rsa(c, N, MA_LIT("\x01\0\0\0\0\0\0\0\x01")))
EDIT(rsa_e_empty, cose_rsa(c, N, MA_LIT("")))
EDIT(rsa_no_n, cose_rsa(c, MA_LIT(""), E))

/* Steps 21 to 24 */
EDIT(fmt_empty, c->format = SA_OTHER, c->fmt = "")
EDIT(fmt_long, c->format = SA_OTHER, c->fmt = "a.format.name.of.more.than.thirty2")
EDIT(fmt_space, c->format = SA_OTHER, c->fmt = "packed ")
EDIT(fmt_quote, c->format = SA_OTHER, c->fmt = "pack\"ed")
EDIT(fmt_utf8, c->format = SA_OTHER, c->fmt = "pack\xc3\xa9")
EDIT(fmt_none_only, c->format = SA_NONE)
EDIT(fmt_tpm, c->format = SA_OTHER, c->fmt = "tpm")
EDIT(fmt_case, c->format = SA_PACKED_SELF, c->fmt = "Packed")
EDIT(none_with_statement, c->stmt_extra = "x")
EDIT(none_array, c->stmt = MA_LIT("\x80"))
EDIT(none_sig, c->stmt = MA_LIT("\xa1\x63sig\x41x"))
EDIT(self_empty, c->format = SA_PACKED_SELF, c->stmt = MA_LIT("\xa0"))
EDIT(self_array, c->format = SA_PACKED_SELF, c->stmt = MA_LIT("\x80"))
EDIT(self_extra, c->format = SA_PACKED_SELF, c->stmt_extra = "ecdaaKeyId")
EDIT(self_alg, c->format = SA_PACKED_SELF, c->att_alg = -257)
EDIT(self_alg_unknown, c->format = SA_PACKED_SELF, c->att_alg = -999)
EDIT(self_other_key, c->format = SA_PACKED_SELF, c->sign_with_other = true)
EDIT(self_other_data, c->format = SA_PACKED_SELF, c->other_data = true)
EDIT(self_sig_empty, c->format = SA_PACKED_SELF, c->sig = MA_LIT(""))
EDIT(self_sig_text, c->format = SA_PACKED_SELF, c->stmt = MA_LIT("\xa2\x63\x61lg\x26\x63sig\x61x"))
EDIT(self_sig_junk, c->format = SA_PACKED_SELF, c->sig = MA_LIT("\x30\x06\x02\x01\x01\x02\x01\x01"))
EDIT(self_ed_other, c->format = SA_PACKED_SELF, c->key = SA_EDDSA, c->sign_with_other = true)
EDIT(self_rsa_other, c->format = SA_PACKED_SELF, c->key = SA_RS256, c->sign_with_other = true)
EDIT(x5c_other_key, c->format = SA_PACKED, c->sign_with_other = true)
EDIT(x5c_other_data, c->format = SA_PACKED, c->other_data = true)
EDIT(x5c_alg, c->format = SA_PACKED, c->att_alg = -257)
EDIT(x5c_alg_unknown, c->format = SA_PACKED, c->att_alg = -65535)
EDIT(x5c_extra, c->format = SA_PACKED, c->stmt_extra = "ecdaaKeyId")
EDIT(x5c_none, c->format = SA_PACKED, c->n_certs = 0)
EDIT(x5c_many, c->format = SA_PACKED, c->n_certs = 9)
EDIT(x5c_junk, c->format = SA_PACKED, c->leaf = MA_LIT("\x30\x03\x02\x01\x01"))
EDIT(x5c_empty, c->format = SA_PACKED, c->leaf = MA_LIT(""))
EDIT(x5c_long, c->format = SA_PACKED, c->leaf = ma_span_of(ma_arena_zalloc(arena, 8193), 8193))
EDIT(x5c_map, c->format = SA_PACKED, c->stmt = MA_LIT("\xa3\x63\x61lg\x26\x63sig\x41x\x63x5c\xa0"))
EDIT(x5c_text, c->format = SA_PACKED, c->stmt = MA_LIT("\xa3\x63\x61lg\x26\x63sig\x41x\x63x5c\x81\x61x"))
static void x5c_trailing(struct sa_ceremony *c)
{
    const struct ma_span der = sa_cert(arena, &c->cert);
    uint8_t *p = ma_arena_zalloc(arena, der.n + 1);

    ck_assert_ptr_nonnull(p);
    memcpy(p, der.p, der.n);
    c->format = SA_PACKED;
    c->leaf = ma_span_of(p, der.n + 1);
}
EDIT(cert_v1, c->format = SA_PACKED, c->cert.version = 1, c->cert.ca = -1)
EDIT(cert_v2, c->format = SA_PACKED, c->cert.version = 2)
EDIT(cert_no_c, c->format = SA_PACKED, c->cert.c = NULL)
EDIT(cert_no_o, c->format = SA_PACKED, c->cert.o = NULL)
EDIT(cert_no_cn, c->format = SA_PACKED, c->cert.cn = NULL)
EDIT(cert_no_ou, c->format = SA_PACKED, c->cert.ou = NULL)
EDIT(cert_ou, c->format = SA_PACKED, c->cert.ou = "Authenticator attestation")
EDIT(cert_two_ou, c->format = SA_PACKED, c->cert.second_ou = "Other")
EDIT(cert_ca, c->format = SA_PACKED, c->cert.ca = 1)
EDIT(cert_no_constraints, c->format = SA_PACKED, c->cert.ca = -1)
EDIT(cert_rsa_1024, c->format = SA_PACKED, c->cert.key = SA_RSA1024)
EDIT(cert_aaguid, c->format = SA_PACKED, c->cert.aaguid = aaguid_octets(c, 0))
EDIT(cert_aaguid_critical, c->format = SA_PACKED, c->cert.aaguid = aaguid_octets(c, c->aaguid[0]),
     c->cert.aaguid_critical = true)
EDIT(cert_aaguid_bare, c->format = SA_PACKED, c->cert.aaguid = ma_span_of(aaguid_octets(c, c->aaguid[0]).p + 2, 16))
EDIT(cert_aaguid_short, c->format = SA_PACKED, c->cert.aaguid = MA_LIT("\x04\x01\x01"))
EDIT(u2f_other_key, c->format = SA_U2F, c->sign_with_other = true)
EDIT(u2f_other_data, c->format = SA_U2F, c->other_data = true)
EDIT(u2f_two_certs, c->format = SA_U2F, c->n_certs = 2)
EDIT(u2f_no_certs, c->format = SA_U2F, c->n_certs = 0)
EDIT(u2f_extra, c->format = SA_U2F, c->stmt_extra = "alg")
EDIT(u2f_empty, c->format = SA_U2F, c->stmt = MA_LIT("\xa0"))
EDIT(u2f_rsa_cert, c->format = SA_U2F, c->cert.key = SA_RS256)
EDIT(u2f_p384_cert, c->format = SA_U2F, c->cert.key = SA_ES384)
EDIT(u2f_ed_credential, c->format = SA_U2F, c->key = SA_EDDSA)
EDIT(u2f_long_id, c->format = SA_U2F, c->credential_id = ma_span_of(LONG_ID, 1024))
/* Step 25 */
EDIT(id_too_long, c->credential_id = ma_span_of(LONG_ID, 1024))
EDIT(id_too_short, c->credential_id = ma_span_of(LONG_ID, 15))
EDIT(id_empty, c->credential_id = MA_LIT(""))

#define CLIENT "/authn_response/response/clientDataJSON"
#define OBJECT "/authn_response/response/attestationObject"
static const struct refused_row {
    const char *name, *step, *pointer;
    int want;
    void (*edit)(struct sa_ceremony *);
    unsigned policy;
} bad_rows[] = {
    {"no JSON", "7.1.6", CLIENT, MA_E_PARSE, no_json, 0},
    {"nothing", "7.1.6", CLIENT, MA_E_PARSE, empty_json, 0},
    {"JSON list", "7.1.6", CLIENT, MA_E_PARSE, json_array, 0},
    {"text after the JSON", "7.1.6", CLIENT, MA_E_PARSE, json_trailing, 0},
    {"member twice", "7.1.6", CLIENT, MA_E_PARSE, json_duplicate, 0},
    {"JSON that is not UTF-8", "7.1.6", CLIENT, MA_E_PARSE, json_no_utf8, 0},
    {"deep JSON", "7.1.6", CLIENT, MA_E_PARSE, json_deep, 0},
    {"long JSON", "7.1.6", CLIENT, MA_E_PARSE, json_long, 0},
    {"no type", "7.1.6", CLIENT, MA_E_PARSE, no_type, 0},
    {"no challenge", "7.1.6", CLIENT, MA_E_PARSE, no_challenge, 0},
    {"no origin", "7.1.6", CLIENT, MA_E_PARSE, no_origin, 0},
    {"type is a number", "7.1.6", CLIENT, MA_E_PARSE, type_number, 0},
    {"origin is null", "7.1.6", CLIENT, MA_E_PARSE, origin_null, 0},
    {"type of an assertion", "7.1.7", CLIENT, MA_E_AUTH, type_get, 0},
    {"type in other case", "7.1.7", CLIENT, MA_E_AUTH, type_case, 0},
    {"type of U2F", "7.1.7", CLIENT, MA_E_AUTH, type_u2f, 0},
    {"empty type", "7.1.7", CLIENT, MA_E_AUTH, type_empty, 0},
    {"another challenge", "7.1.8", CLIENT, MA_E_AUTH, challenge_other, 0},
    {"challenge cut", "7.1.8", CLIENT, MA_E_AUTH, challenge_short, 0},
    {"challenge continued", "7.1.8", CLIENT, MA_E_AUTH, challenge_long, 0},
    {"challenge over the limit", "7.1.8", CLIENT, MA_E_AUTH, challenge_huge, 0},
    {"empty challenge", "7.1.8", CLIENT, MA_E_AUTH, challenge_empty, 0},
    {"padded challenge", "7.1.8", CLIENT, MA_E_AUTH, challenge_padded, 0},
    {"challenge in plain base64", "7.1.8", CLIENT, MA_E_AUTH, challenge_base64, 0},
    {"challenge with a blank", "7.1.8", CLIENT, MA_E_AUTH, challenge_space, 0},
    {"challenge with trailing bits", "7.1.8", CLIENT, MA_E_AUTH, challenge_bits, 0},
    {"another origin", "7.1.9", CLIENT, MA_E_AUTH, origin_other, 0},
    {"origin of a subdomain", "7.1.9", CLIENT, MA_E_AUTH, origin_sub, 0},
    {"origin without TLS", "7.1.9", CLIENT, MA_E_AUTH, origin_http, 0},
    {"origin with a port", "7.1.9", CLIENT, MA_E_AUTH, origin_port, 0},
    {"origin with a path", "7.1.9", CLIENT, MA_E_AUTH, origin_slash, 0},
    {"origin in other case", "7.1.9", CLIENT, MA_E_AUTH, origin_case, 0},
    {"origin as a prefix", "7.1.9", CLIENT, MA_E_AUTH, origin_suffix, 0},
    {"origin with a control", "7.1.9", CLIENT, MA_E_AUTH, origin_nul, 0},
    {"empty origin", "7.1.9", CLIENT, MA_E_AUTH, origin_empty, 0},
    {"origin of another app", "7.1.9", CLIENT, MA_E_AUTH, origin_android, 0},
    {"frame of another origin", "7.1.10", CLIENT, MA_E_AUTH, cross_origin, SAME_ORIGIN},
    {"crossOrigin is a text", "7.1.10", CLIENT, MA_E_AUTH, cross_origin_odd, SAME_ORIGIN},
    {"page of another origin", "7.1.11", CLIENT, MA_E_AUTH, top_origin, SAME_ORIGIN},
    {"authenticator data of 32 bytes", "7.1.13", OBJECT, MA_E_PARSE, cut_flags, 0},
    {"no authenticator data", "7.1.13", OBJECT, MA_E_PARSE, cut_everything, 0},
    {"no credential", "7.1.13", OBJECT, MA_E_PARSE, no_at, 0},
    {"AT without a credential", "7.1.13", OBJECT, MA_E_PARSE, at_without_data, 0},
    {"cut in the AAGUID's neighbour", "7.1.13", OBJECT, MA_E_PARSE, cut_aaguid, 0},
    {"cut in the identifier", "7.1.13", OBJECT, MA_E_PARSE, cut_id, 0},
    {"cut in the key", "7.1.13", OBJECT, MA_E_PARSE, cut_key, 0},
    {"identifier claimed longer", "7.1.13", OBJECT, MA_E_PARSE, id_length_more, 0},
    {"identifier claimed shorter", "7.1.13", OBJECT, MA_E_PARSE, id_length_less, 0},
    {"identifier claimed longest", "7.1.13", OBJECT, MA_E_PARSE, id_length_max, 0},
    {"a byte after the data", "7.1.13", OBJECT, MA_E_PARSE, tail_byte, 0},
    {"extensions without ED", "7.1.13", OBJECT, MA_E_PARSE, tail_map, 0},
    {"ED without extensions", "7.1.13", OBJECT, MA_E_PARSE, ed_missing, 0},
    {"extensions are no map", "7.1.13", OBJECT, MA_E_PARSE, ed_no_map, 0},
    {"two extension maps", "7.1.13", OBJECT, MA_E_PARSE, ed_twice, 0},
    {"extension twice", "7.1.13", OBJECT, MA_E_PARSE, ed_duplicate, 0},
    {"key is no CBOR", "7.1.13", OBJECT, MA_E_PARSE, key_no_cbor, 0},
    {"key is no map", "7.1.13", OBJECT, MA_E_PARSE, key_no_map, 0},
    {"key of indefinite length", "7.1.13", OBJECT, MA_E_PARSE, key_indefinite, 0},
    {"label twice in the key", "7.1.13", OBJECT, MA_E_PARSE, key_duplicate, 0},
    {"key not canonical", "7.1.13", OBJECT, MA_E_PARSE, key_long_int, 0},
    {"another relying party", "7.1.14", OBJECT, MA_E_AUTH, rp_other, 0},
    {"relying party in other case", "7.1.14", OBJECT, MA_E_AUTH, rp_case, 0},
    {"origin for the relying party", "7.1.14", OBJECT, MA_E_AUTH, rp_origin, 0},
    {"no user presence", "7.1.15", OBJECT, MA_E_AUTH, no_up, 0},
    {"no flags", "7.1.15", OBJECT, MA_E_AUTH, no_flags, UV},
    {"no user verification", "7.1.16", OBJECT, MA_E_AUTH, no_uv, UV},
    {"backed up but not eligible", "7.1.17", OBJECT, MA_E_AUTH, bs_without_be, 0},
    {"ES384", "7.1.20", OBJECT, MA_E_AUTH, alg_es384, 0},
    {"RS1", "7.1.20", OBJECT, MA_E_AUTH, alg_unknown, 0},
    {"PS256", "7.1.20", OBJECT, MA_E_AUTH, alg_ps256, 0},
    {"algorithm -2^63", "7.1.20", OBJECT, MA_E_AUTH, alg_huge, 0},
    {"algorithm 7", "7.1.20", OBJECT, MA_E_AUTH, alg_positive, 0},
    {"no algorithm", "7.1.20", OBJECT, MA_E_AUTH, alg_missing, 0},
    {"algorithm as a name", "7.1.20", OBJECT, MA_E_AUTH, alg_text, 0},
    {"ES256 with an OKP key", "7.1.20", OBJECT, MA_E_AUTH, kty_okp_for_es256, 0},
    {"ES256 with an RSA key", "7.1.20", OBJECT, MA_E_AUTH, kty_rsa_for_es256, 0},
    {"ES256 on P-384", "7.1.20", OBJECT, MA_E_AUTH, crv_p384, 0},
    {"ES256 on Ed25519", "7.1.20", OBJECT, MA_E_AUTH, crv_ed25519, 0},
    {"point off the curve", "7.1.20", OBJECT, MA_E_AUTH, off_curve, 0},
    {"point (0, 0)", "7.1.20", OBJECT, MA_E_AUTH, infinity, 0},
    {"x of 31 bytes", "7.1.20", OBJECT, MA_E_AUTH, x_short, 0},
    {"x of 33 bytes", "7.1.20", OBJECT, MA_E_AUTH, x_long, 0},
    {"no y", "7.1.20", OBJECT, MA_E_AUTH, y_missing, 0},
    {"OKP with a further parameter", "7.1.20", OBJECT, MA_E_AUTH, okp_extra, 0},
    {"OKP on X448", "7.1.20", OBJECT, MA_E_AUTH, okp_x448, 0},
    {"OKP of 31 bytes", "7.1.20", OBJECT, MA_E_AUTH, okp_short, 0},
    {"EdDSA with an EC2 key", "7.1.20", OBJECT, MA_E_AUTH, okp_kty, 0},
    {"RSA-1024", "7.1.20", OBJECT, MA_E_AUTH, rsa_1024, 0},
    {"RSA with a leading zero", "7.1.20", OBJECT, MA_E_AUTH, rsa_zero, 0},
    {"RSA with an even modulus", "7.1.20", OBJECT, MA_E_AUTH, rsa_even, 0},
    {"RSA exponent 1", "7.1.20", OBJECT, MA_E_AUTH, rsa_e_one, 0},
    {"RSA exponent 4", "7.1.20", OBJECT, MA_E_AUTH, rsa_e_even, 0},
    {"RSA exponent over 2^32", "7.1.20", OBJECT, MA_E_AUTH, rsa_e_long, 0},
    {"RSA without an exponent", "7.1.20", OBJECT, MA_E_AUTH, rsa_e_empty, 0},
    {"RSA without a modulus", "7.1.20", OBJECT, MA_E_AUTH, rsa_no_n, 0},
    {"format without a name", "7.1.21", OBJECT, MA_E_PARSE, fmt_empty, 0},
    {"format name too long", "7.1.21", OBJECT, MA_E_PARSE, fmt_long, 0},
    {"format name with a blank", "7.1.21", OBJECT, MA_E_PARSE, fmt_space, 0},
    {"format name with a quote", "7.1.21", OBJECT, MA_E_PARSE, fmt_quote, 0},
    {"format name not ASCII", "7.1.21", OBJECT, MA_E_PARSE, fmt_utf8, 0},
    {"tpm where statements must verify", "7.1.21", OBJECT, MA_E_AUTH, fmt_tpm, VERIFIED},
    {"\"Packed\" is not packed", "7.1.21", OBJECT, MA_E_AUTH, fmt_case, VERIFIED},
    {"none with a statement", "7.1.22", OBJECT, MA_E_PARSE, none_with_statement, 0},
    {"none with a list", "7.1.22", OBJECT, MA_E_PARSE, none_array, 0},
    {"none with a signature", "7.1.22", OBJECT, MA_E_PARSE, none_sig, 0},
    {"packed, empty", "7.1.22", OBJECT, MA_E_PARSE, self_empty, 0},
    {"packed, a list", "7.1.22", OBJECT, MA_E_PARSE, self_array, 0},
    {"packed self, further member", "7.1.22", OBJECT, MA_E_PARSE, self_extra, 0},
    {"packed self, other algorithm", "7.1.22", OBJECT, MA_E_AUTH, self_alg, 0},
    {"packed self, unknown algorithm", "7.1.22", OBJECT, MA_E_AUTH, self_alg_unknown, 0},
    {"packed self, other key", "7.1.22", OBJECT, MA_E_AUTH, self_other_key, 0},
    {"packed self, other data", "7.1.22", OBJECT, MA_E_AUTH, self_other_data, 0},
    {"packed self, empty signature", "7.1.22", OBJECT, MA_E_PARSE, self_sig_empty, 0},
    {"packed self, signature is a text", "7.1.22", OBJECT, MA_E_PARSE, self_sig_text, 0},
    {"packed self, signature (1, 1)", "7.1.22", OBJECT, MA_E_AUTH, self_sig_junk, 0},
    {"packed self, other EdDSA key", "7.1.22", OBJECT, MA_E_AUTH, self_ed_other, 0},
    {"packed self, other RSA key", "7.1.22", OBJECT, MA_E_AUTH, self_rsa_other, 0},
    {"packed, other key", "7.1.22", OBJECT, MA_E_AUTH, x5c_other_key, 0},
    {"packed, other data", "7.1.22", OBJECT, MA_E_AUTH, x5c_other_data, 0},
    {"packed, algorithm of another key", "7.1.22", OBJECT, MA_E_AUTH, x5c_alg, 0},
    {"packed, unknown algorithm", "7.1.22", OBJECT, MA_E_AUTH, x5c_alg_unknown, 0},
    {"packed, further member", "7.1.22", OBJECT, MA_E_PARSE, x5c_extra, 0},
    {"packed, no certificate", "7.1.22", OBJECT, MA_E_PARSE, x5c_none, 0},
    {"packed, nine certificates", "7.1.22", OBJECT, MA_E_PARSE, x5c_many, 0},
    {"packed, certificate malformed", "7.1.22", OBJECT, MA_E_PARSE, x5c_junk, 0},
    {"packed, certificate empty", "7.1.22", OBJECT, MA_E_PARSE, x5c_empty, 0},
    {"packed, certificate over the limit", "7.1.22", OBJECT, MA_E_PARSE, x5c_long, 0},
    {"packed, x5c is a map", "7.1.22", OBJECT, MA_E_PARSE, x5c_map, 0},
    {"packed, x5c of texts", "7.1.22", OBJECT, MA_E_PARSE, x5c_text, 0},
    {"packed, byte after the certificate", "7.1.22", OBJECT, MA_E_PARSE, x5c_trailing, 0},
    {"certificate of version 1", "7.1.22", OBJECT, MA_E_AUTH, cert_v1, 0},
    {"certificate of version 2", "7.1.22", OBJECT, MA_E_AUTH, cert_v2, 0},
    {"subject without C", "7.1.22", OBJECT, MA_E_AUTH, cert_no_c, 0},
    {"subject without O", "7.1.22", OBJECT, MA_E_AUTH, cert_no_o, 0},
    {"subject without CN", "7.1.22", OBJECT, MA_E_AUTH, cert_no_cn, 0},
    {"subject without OU", "7.1.22", OBJECT, MA_E_AUTH, cert_no_ou, 0},
    {"subject with another OU", "7.1.22", OBJECT, MA_E_AUTH, cert_ou, 0},
    {"subject with two OU", "7.1.22", OBJECT, MA_E_AUTH, cert_two_ou, 0},
    {"certificate of a CA", "7.1.22", OBJECT, MA_E_AUTH, cert_ca, 0},
    {"certificate without constraints", "7.1.22", OBJECT, MA_E_AUTH, cert_no_constraints, 0},
    {"certificate with RSA-1024", "7.1.22", OBJECT, MA_E_PARSE, cert_rsa_1024, 0},
    {"certificate for another AAGUID", "7.1.22", OBJECT, MA_E_AUTH, cert_aaguid, 0},
    {"AAGUID extension critical", "7.1.22", OBJECT, MA_E_AUTH, cert_aaguid_critical, 0},
    {"AAGUID extension without its octet string", "7.1.22", OBJECT, MA_E_PARSE, cert_aaguid_bare, 0},
    {"AAGUID extension too short", "7.1.22", OBJECT, MA_E_PARSE, cert_aaguid_short, 0},
    {"U2F, other key", "7.1.22", OBJECT, MA_E_AUTH, u2f_other_key, 0},
    {"U2F, other data", "7.1.22", OBJECT, MA_E_AUTH, u2f_other_data, 0},
    {"U2F, two certificates", "7.1.22", OBJECT, MA_E_PARSE, u2f_two_certs, 0},
    {"U2F, no certificate", "7.1.22", OBJECT, MA_E_PARSE, u2f_no_certs, 0},
    {"U2F, further member", "7.1.22", OBJECT, MA_E_PARSE, u2f_extra, 0},
    {"U2F, empty", "7.1.22", OBJECT, MA_E_PARSE, u2f_empty, 0},
    {"U2F, RSA certificate", "7.1.22", OBJECT, MA_E_AUTH, u2f_rsa_cert, 0},
    {"U2F, certificate on P-384", "7.1.22", OBJECT, MA_E_AUTH, u2f_p384_cert, 0},
    {"U2F, EdDSA credential", "7.1.22", OBJECT, MA_E_AUTH, u2f_ed_credential, 0},
    {"U2F, identifier of 1024 bytes", "7.1.22", OBJECT, MA_E_AUTH, u2f_long_id, 0},
    {"none where statements must verify", "7.1.24", OBJECT, MA_E_AUTH, fmt_none_only, VERIFIED},
    {"identifier of 1024 bytes", "7.1.25", OBJECT, MA_E_AUTH, id_too_long, 0},
    {"identifier of 15 bytes", "7.1.25", OBJECT, MA_E_AUTH, id_too_short, 0},
    {"no identifier", "7.1.25", OBJECT, MA_E_AUTH, id_empty, 0},
};

static void expect_fault(const char *name, int rc, int want, const struct ma_webauthn_fault *f, const char *step,
                         const char *pointer)
{
    ck_assert_msg(rc == want, "%s: %s, step %s: %s", name, ma_err_name(rc), f->step, f->detail);
    ck_assert_msg(strcmp(f->step, step) == 0, "%s: step %s: %s", name, f->step, f->detail);
    ck_assert_msg(strcmp(f->pointer, pointer) == 0, "%s: pointer %s", name, f->pointer);
    ck_assert_msg(f->detail && strlen(f->detail) > 10 && !strstr(f->detail, "evil"), "%s", name);
}

START_TEST(refused)
{
    const struct refused_row *row = &bad_rows[_i];
    struct ma_webauthn_policy policy = POLICY;
    struct sa_ceremony c = honest();
    struct ma_webauthn_credential got;
    struct ma_webauthn_fault fault;

    policy.require_uv = row->policy & UV;
    policy.attestation_verified = row->policy & VERIFIED;
    policy.same_origin_only = row->policy & SAME_ORIGIN;
    row->edit(&c);
    const struct sa_answer r = sa_create(&c);
    const int rc = verify(&policy, &r, &got, &fault);
    expect_fault(row->name, rc, row->want, &fault, row->step, row->pointer);
    ck_assert(got.credential_id.n == 0 && !got.attested);
}
END_TEST

/* Step 13: attestation objects that no ceremony makes. */
static const struct {
    const char *name, *head;
    size_t head_n;
} object_rows[] = {
#define OBJECT_ROW(name, bytes)                                                                                        \
    {                                                                                                                  \
        name, bytes, sizeof(bytes) - 1                                                                                 \
    }
    OBJECT_ROW("nothing", ""),
    OBJECT_ROW("an integer", "\x01"),
    OBJECT_ROW("a list", "\x80"),
    OBJECT_ROW("an empty map", "\xa0"),
    OBJECT_ROW("fmt missing", "\xa2\x67\x61ttStmt\xa0\x68\x61uthData\x40"),
    OBJECT_ROW("fmt is bytes", "\xa3\x63\x66mt\x44none\x67\x61ttStmt\xa0\x68\x61uthData\x40"),
    OBJECT_ROW("attStmt missing", "\xa2\x63\x66mt\x64none\x68\x61uthData\x40"),
    OBJECT_ROW("attStmt is a text", "\xa3\x63\x66mt\x64none\x67\x61ttStmt\x60\x68\x61uthData\x40"),
    OBJECT_ROW("authData missing", "\xa2\x63\x66mt\x64none\x67\x61ttStmt\xa0"),
    OBJECT_ROW("authData is a text", "\xa3\x63\x66mt\x64none\x67\x61ttStmt\xa0\x68\x61uthData\x60"),
    OBJECT_ROW("fmt twice", "\xa4\x63\x66mt\x64none\x63\x66mt\x64none\x67\x61ttStmt\xa0\x68\x61uthData\x40"),
    OBJECT_ROW("byte afterwards", "\xa3\x63\x66mt\x64none\x67\x61ttStmt\xa0\x68\x61uthData\x40\x00"),
    OBJECT_ROW("indefinite map", "\xbf\x63\x66mt\x64none\x67\x61ttStmt\xa0\x68\x61uthData\x40\xff"),
    OBJECT_ROW("count of 2^32", "\xba\xff\xff\xff\xff\x63\x66mt\x64none"),
    OBJECT_ROW("authData of 2^63 bytes", "\xa1\x68\x61uthData\x5b\x80\0\0\0\0\0\0\0"),
    OBJECT_ROW("tagged", "\xd9\xd9\xf7\xa3\x63\x66mt\x64none\x67\x61ttStmt\xa0\x68\x61uthData\x40"),
    OBJECT_ROW("too deep", "\xa3\x63\x66mt\x61x\x67\x61ttStmt\x81\x81\x81\x81\x80\x68\x61uthData\x40"),
};

START_TEST(objects_refused)
{
    struct sa_ceremony c = honest();
    struct sa_answer r = sa_create(&c);
    struct ma_webauthn_credential got;
    struct ma_webauthn_fault fault;

    r.attestation_object = ma_span_of(object_rows[_i].head, object_rows[_i].head_n);
    const int rc = verify(&POLICY, &r, &got, &fault);
    expect_fault(object_rows[_i].name, rc, MA_E_PARSE, &fault, "7.1.13", OBJECT);
}
END_TEST

START_TEST(object_over_the_limit)
{
    struct sa_ceremony c = honest();
    struct ma_buf b;
    struct ma_webauthn_credential got;
    struct ma_webauthn_fault fault;

    uint8_t *big = ma_arena_zalloc(arena, MA_WEBAUTHN_ATTESTATION_MAX);
    ck_assert_ptr_nonnull(big);
    ma_buf_init_arena(&b, arena, 64, 65536);
    sa_map(&b, 1), sa_text(&b, "x"), sa_bytes(&b, ma_span_of(big, MA_WEBAUTHN_ATTESTATION_MAX));
    ck_assert_int_eq(ma_buf_err(&b), MA_OK);
    c.format = SA_OTHER;
    c.stmt = ma_buf_view(&b);
    const struct sa_answer r = sa_create(&c);
    expect_fault("long", verify(&POLICY, &r, &got, &fault), MA_E_PARSE, &fault, "7.1.13", OBJECT);
}
END_TEST

/* Refusals of formats name them, in the daemon's words and never in the input's. */
START_TEST(formats_are_refused_by_name)
{
    static const char *const names[] = {"tpm", "android-key", "android-safetynet", "apple", "compound"};
    struct ma_webauthn_policy strict = POLICY;
    struct ma_webauthn_credential got;
    struct ma_webauthn_fault fault;

    strict.attestation_verified = true;
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        struct sa_ceremony c = honest();
        c.format = SA_OTHER;
        c.fmt = names[i];
        const struct sa_answer r = sa_create(&c);
        ck_assert_int_eq(verify(&strict, &r, &got, &fault), MA_E_AUTH);
        ck_assert_ptr_nonnull(strstr(fault.detail, names[i]));
    }
    struct sa_ceremony c = honest();
    c.format = SA_OTHER;
    c.fmt = "evil-format";
    const struct sa_answer r = sa_create(&c);
    ck_assert_int_eq(verify(&strict, &r, &got, &fault), MA_E_AUTH);
    ck_assert_ptr_null(strstr(fault.detail, "evil"));
}
END_TEST

#define NAMED (1u + sizeof "fmt" + sizeof "packed") /* bytes of an attestation object up to its format's name */

/* One changed bit anywhere in a self-attested answer is noticed; where nothing is signed it still never crashes. */
START_TEST(every_bit_counts)
{
    struct sa_ceremony c = honest();
    struct ma_webauthn_credential got;
    struct ma_webauthn_fault fault;

    c.format = _i == 0 ? SA_PACKED_SELF : _i == 1 ? SA_U2F : SA_PACKED;
    c.key = _i == 0 ? SA_EDDSA : SA_ES256; /* no malleable signature */
    struct sa_answer r = sa_create(&c);
    uint8_t *p = ma_arena_alloc(arena, r.attestation_object.n);
    ck_assert_ptr_nonnull(p);
    memcpy(p, r.attestation_object.p, r.attestation_object.n);
    const uint8_t *auth = memmem(p, r.attestation_object.n, r.auth_data.p, r.auth_data.n);
    ck_assert_ptr_nonnull(auth);
    r.attestation_object.p = p;
    for (size_t i = 0; i < r.attestation_object.n; i++) {
        const uint8_t was = p[i];
        p[i] = (uint8_t)(was ^ (1u << (i % 8)));
        const int rc = verify(&POLICY, &r, &got, &fault);
        /* The format's name is not signed, and neither is what certificates say about themselves here. U2F signs
         * neither flags nor counter nor AAGUID. */
        if ((c.format == SA_PACKED_SELF && i >= NAMED) || (c.format == SA_PACKED && p + i >= auth))
            ck_assert_msg(rc == MA_E_PARSE || rc == MA_E_AUTH, "byte %zu: %s", i, ma_err_name(rc));
        ck_assert(rc == MA_OK || (rc != MA_E_NOMEM && fault.pointer));
        p[i] = was;
    }
    for (size_t n = 0; n < r.attestation_object.n; n++) {
        struct sa_answer cut = r;
        cut.attestation_object.n = n;
        ck_assert_int_ne(verify(&POLICY, &cut, &got, &fault), MA_OK);
    }
}
END_TEST

START_TEST(small_arena)
{
    struct sa_ceremony c = honest();
    struct ma_webauthn_credential got;
    struct ma_webauthn_fault fault;

    c.format = SA_PACKED_SELF;
    const struct sa_answer r = sa_create(&c);
    struct ma_arena *tiny = ma_arena_new(256, 256);
    ck_assert_ptr_nonnull(tiny);
    ck_assert_int_eq(ma_webauthn_register(tiny, &POLICY, ma_span_of(CHALLENGE, sizeof CHALLENGE), r.client_data,
                                          r.attestation_object, &got, &fault),
                     MA_E_NOMEM);
    ck_assert_ptr_null(fault.pointer);
    ma_arena_free(tiny);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("webauthn registration");
    TCase *tc = tcase_create("registration");
    tcase_add_unchecked_fixture(tc, once, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, formats, 0, (int)MA_COUNT(format_rows));
    tcase_add_test(tc, format_names);
    tcase_add_loop_test(tc, accepted, 0, (int)MA_COUNT(good_rows));
    tcase_add_test(tc, strict_policy_accepts);
    tcase_add_test(tc, byte_order_mark);
    tcase_add_loop_test(tc, refused, 0, (int)MA_COUNT(bad_rows));
    tcase_add_loop_test(tc, objects_refused, 0, (int)MA_COUNT(object_rows));
    tcase_add_test(tc, object_over_the_limit);
    tcase_add_test(tc, formats_are_refused_by_name);
    tcase_add_loop_test(tc, every_bit_counts, 0, 3);
    tcase_add_test(tc, small_arena);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
