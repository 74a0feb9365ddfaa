/* SPDX-License-Identifier: Apache-2.0
 * Assertions (WebAuthn §7.2), and the test vectors of WebAuthn Level 3 §16 through both ceremonies.
 */
#include "../support/authenticator.h"
#include "ma/codec.h"
#include "ma/crypto.h"

#include <check.h>
#include <stdlib.h>

#define ARENA_BYTES ((size_t)4 << 20)

static const char *const ORIGINS[] = {"https://login.example.com", "http://localhost:3000"};
static const struct ma_webauthn_policy POLICY = {
    .rp_id = "login.example.com", .origins = ORIGINS, .n_origins = MA_COUNT(ORIGINS)};
static const uint8_t CHALLENGE[32] = {9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2, 3};
static const uint8_t OTHER_BYTES[64] = {1, 1, 2};
#define USER "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

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

/* A login: the authenticator's side, what is stored, what the client sends, and the policy. */
struct login {
    struct sa_ceremony c;
    struct ma_webauthn_stored stored;
    struct ma_webauthn_response r;
    struct ma_webauthn_policy policy;
    void (*after)(struct login *); /* changes what was made */
};

static struct login honest(void)
{
    struct login l = {.policy = POLICY};

    l.c = sa_ceremony(arena, &POLICY, ma_span_of(CHALLENGE, sizeof CHALLENGE), false);
    l.c.sign_count = 8;
    l.c.user_handle = ma_span_str(USER);
    l.stored = (struct ma_webauthn_stored){
        .credential_id = l.c.credential_id, .user_handle = ma_span_str(USER), .sign_count = 7};
    return l;
}

static int verify(struct login *l, struct ma_webauthn_assertion *ret, struct ma_webauthn_fault *fault)
{
    const struct sa_answer a = sa_get(&l->c);

    if (!l->stored.public_key.p)
        l->stored.public_key = sa_cose(arena, sa_key(l->c.key, 0), l->c.key);
    l->r = (struct ma_webauthn_response){.credential_id = l->c.credential_id,
                                         .client_data_json = a.client_data,
                                         .authenticator_data = a.auth_data,
                                         .signature = a.signature,
                                         .user_handle = l->c.user_handle};
    if (l->after)
        l->after(l);
    return ma_webauthn_assert(arena, &l->policy, ma_span_of(CHALLENGE, sizeof CHALLENGE), &l->stored, &l->r, ret,
                              fault);
}

/* --- accepted --- */

START_TEST(algorithms)
{
    static const enum sa_key_type types[] = {SA_ES256, SA_EDDSA, SA_RS256};
    struct login l = honest();
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault;

    l.c.key = types[_i];
    const int rc = verify(&l, &got, &fault);
    ck_assert_msg(rc == MA_OK, "%s: step %s: %s", ma_err_name(rc), fault.step, fault.detail);
    ck_assert(got.uv && !got.bs && !got.counter_regressed && got.sign_count == 8);
    ck_assert_ptr_null(fault.pointer);
}
END_TEST

#define EDIT(name, ...)                                                                                                \
    static void name(struct login *l)                                                                                  \
    {                                                                                                                  \
        __VA_ARGS__;                                                                                                   \
    }

static const uint8_t EXTENSION[] = {0xa1, 0x63, 'u', 'v', 'm', 0x81, 0x83, 2, 4, 2};

EDIT(ok_no_handle, l->c.user_handle = MA_SPAN_NULL)
EDIT(ok_no_uv, l->c.flags = 0x01)
EDIT(ok_be, l->c.flags = 0x0d, l->stored.be = true)
EDIT(ok_be_bs, l->c.flags = 0x1d, l->stored.be = true)
EDIT(ok_extension, l->c.flags |= 0x80, l->c.extensions = ma_span_of(EXTENSION, sizeof EXTENSION))
EDIT(ok_localhost, l->c.origin = "http://localhost:3000")
EDIT(ok_cross_origin, l->c.extra = ",\"crossOrigin\":true")
EDIT(ok_bom,
     l->c.client_data = "\xef\xbb\xbf{\"type\":\"webauthn.get\",\"challenge\":\"CQgHBgUEAwIBAAECAwAAAAAAAAAAAAAA"
                        "AAAAAAAAAAA\",\"origin\":\"https://login.example.com\"}")
EDIT(ok_required_handle, l->policy.require_user_handle = true)
EDIT(ok_max_counter, l->c.sign_count = UINT32_MAX, l->stored.sign_count = UINT32_MAX - 1)
EDIT(ok_first_count, l->c.sign_count = 1, l->stored.sign_count = 0)

static const struct {
    const char *name;
    void (*edit)(struct login *);
    bool uv, bs;
} good_rows[] = {
    {"no user handle", ok_no_handle, true, false},
    {"no user verification", ok_no_uv, false, false},
    {"eligible for backup", ok_be, true, false},
    {"backed up", ok_be_bs, true, true},
    {"unsolicited extension", ok_extension, true, false},
    {"second origin", ok_localhost, true, false},
    {"crossOrigin is ignored", ok_cross_origin, true, false},
    {"byte order mark", ok_bom, true, false},
    {"required user handle", ok_required_handle, true, false},
    {"largest counter", ok_max_counter, true, false},
    {"counting begins", ok_first_count, true, false},
};

START_TEST(accepted)
{
    struct login l = honest();
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault;

    good_rows[_i].edit(&l);
    const int rc = verify(&l, &got, &fault);
    ck_assert_msg(rc == MA_OK, "%s: %s, step %s: %s", good_rows[_i].name, ma_err_name(rc), fault.step, fault.detail);
    ck_assert(got.uv == good_rows[_i].uv && got.bs == good_rows[_i].bs);
    ck_assert(!got.counter_regressed && got.sign_count == l.c.sign_count);
}
END_TEST

/* --- step 22 --- */

static const struct {
    uint32_t stored, received;
    int want;
    bool regressed;
    uint32_t keep;
} counter_rows[] = {
    {0, 0, MA_OK, false, 0},
    {0, 1, MA_OK, false, 1},
    {1, 2, MA_OK, false, 2},
    {1, 1000000, MA_OK, false, 1000000},
    {UINT32_MAX - 1, UINT32_MAX, MA_OK, false, UINT32_MAX},
    {5, 0, MA_OK, true, 5},
    {UINT32_MAX, 0, MA_OK, true, UINT32_MAX},
    {5, 5, MA_E_AUTH, true, 5},
    {5, 4, MA_E_AUTH, true, 5},
    {5, 1, MA_E_AUTH, true, 5},
    {UINT32_MAX, 1, MA_E_AUTH, true, UINT32_MAX},
};

START_TEST(counters)
{
    struct login l = honest();
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault;

    l.stored.sign_count = counter_rows[_i].stored;
    l.c.sign_count = counter_rows[_i].received;
    ck_assert_int_eq(verify(&l, &got, &fault), counter_rows[_i].want);
    ck_assert(got.counter_regressed == counter_rows[_i].regressed);
    ck_assert_uint_eq(got.sign_count, counter_rows[_i].keep);
    if (counter_rows[_i].want != MA_OK)
        ck_assert_str_eq(fault.step, "7.2.22");
    else
        ck_assert_ptr_null(fault.step);
}
END_TEST

/* A forged answer must not look like a copied key: the signature is checked first. */
START_TEST(counter_of_a_forgery)
{
    struct login l = honest();
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault;

    l.c.sign_count = 1;
    l.c.sign_with_other = true;
    ck_assert_int_eq(verify(&l, &got, &fault), MA_E_AUTH);
    ck_assert_str_eq(fault.step, "7.2.21");
    ck_assert(!got.counter_regressed && got.sign_count == 7);
}
END_TEST

/* --- refused --- */

static struct ma_span changed(struct ma_span s, size_t at)
{
    uint8_t *p = ma_arena_alloc(arena, s.n);
    ck_assert_ptr_nonnull(p);
    memcpy(p, s.p, s.n);
    p[at] ^= 1;
    return ma_span_of(p, s.n);
}

/* A DER signature with one byte put in at a place, lengths not adapted unless asked. */
static struct ma_span inserted(struct ma_span s, size_t at, uint8_t byte)
{
    uint8_t *p = ma_arena_alloc(arena, s.n + 1);
    ck_assert_ptr_nonnull(p);
    memcpy(p, s.p, at);
    p[at] = byte;
    memcpy(p + at + 1, s.p + at, s.n - at);
    return ma_span_of(p, s.n + 1);
}

static void der_padded(struct login *l)
{
    const struct ma_span s = inserted(l->r.signature, 4, 0);
    uint8_t *p = ma_arena_alloc(arena, s.n);
    ck_assert_ptr_nonnull(p);
    memcpy(p, s.p, s.n);
    p[1]++; /* the sequence and the first integer are one longer */
    p[3]++;
    l->r.signature = ma_span_of(p, s.n);
}
static void der_long_length(struct login *l)
{
    const struct ma_span s = inserted(l->r.signature, 1, 0x81);
    l->r.signature = s;
}
static void der_trailing(struct login *l)
{
    l->r.signature = inserted(l->r.signature, l->r.signature.n, 0);
}
static void der_raw(struct login *l)
{
    uint8_t *p = ma_arena_zalloc(arena, 64);
    ck_assert_ptr_nonnull(p);
    l->r.signature = ma_span_of(p, 64);
}
static void rsa_cut(struct login *l)
{
    l->r.signature.n--;
}
static void signature_changed(struct login *l)
{
    l->r.signature = changed(l->r.signature, l->r.signature.n - 1);
}
static void auth_data_changed(struct login *l)
{
    l->r.authenticator_data = changed(l->r.authenticator_data, 36);
}
static void client_data_changed(struct login *l)
{
    const struct ma_span s = l->r.client_data_json;
    l->r.client_data_json = ma_span_str(ma_arena_printf(arena, "%.*s ", (int)s.n, (const char *)s.p));
}
static void raw_id_changed(struct login *l)
{
    l->r.credential_id = changed(l->r.credential_id, 0);
}
static void raw_id_cut(struct login *l)
{
    l->r.credential_id.n--;
}
static void raw_id_none(struct login *l)
{
    l->r.credential_id = MA_SPAN_NULL;
}
static void other_stored_key(struct login *l)
{
    l->stored.public_key = sa_cose(arena, sa_key(SA_ES256, 1), SA_ES256);
}
static void other_stored_type(struct login *l)
{
    l->stored.public_key = sa_cose(arena, sa_key(SA_EDDSA, 0), SA_EDDSA);
}

EDIT(e_raw_id, l->after = raw_id_changed)
EDIT(e_raw_id_cut, l->after = raw_id_cut)
EDIT(e_raw_id_none, l->after = raw_id_none)
EDIT(e_user, l->c.user_handle = ma_span_of(OTHER_BYTES, 64))
EDIT(e_user_cut, l->c.user_handle = ma_span_of(USER, 63))
EDIT(e_user_empty, l->c.user_handle = MA_LIT(""))
EDIT(e_user_missing, l->c.user_handle = MA_SPAN_NULL, l->policy.require_user_handle = true)
EDIT(e_user_missing_empty, l->c.user_handle = MA_LIT(""), l->stored.user_handle = MA_LIT(""),
     l->policy.require_user_handle = true)
EDIT(e_auth_long,
     l->c.tail = ma_span_of(ma_arena_zalloc(arena, MA_WEBAUTHN_ATTESTATION_MAX), MA_WEBAUTHN_ATTESTATION_MAX))
EDIT(e_auth_none, l->c.cut = 37)
EDIT(e_auth_cut, l->c.cut = 1)
EDIT(e_auth_tail, l->c.tail = MA_LIT("\0"))
EDIT(e_auth_at, l->c.flags |= 0x40)
EDIT(e_auth_at_bare, l->c.flags |= 0x40, l->c.cut = 16 + 2 + 32 + 77)
EDIT(e_auth_ed, l->c.flags |= 0x80)
EDIT(e_auth_ed_bad, l->c.flags |= 0x80, l->c.extensions = MA_LIT("\xbf\xff"))
EDIT(e_no_json, l->c.client_data = "{")
EDIT(e_json_shape, l->c.client_data = "{\"type\":\"webauthn.get\"}")
EDIT(e_type_create, l->c.type = "webauthn.create")
EDIT(e_type_payment, l->c.type = "payment.get")
EDIT(e_challenge, l->c.challenge = ma_span_of(OTHER_BYTES, 32))
EDIT(e_challenge_cut, l->c.challenge = ma_span_of(CHALLENGE, 16))
EDIT(e_challenge_empty, l->c.challenge_text = "")
EDIT(e_origin, l->c.origin = "https://evil.example")
EDIT(e_origin_sub, l->c.origin = "https://a.login.example.com")
EDIT(e_cross, l->policy.same_origin_only = true, l->c.extra = ",\"crossOrigin\":true")
EDIT(e_top, l->policy.same_origin_only = true, l->c.extra = ",\"topOrigin\":\"https://evil.example\"")
EDIT(e_rp, l->c.rp_id = "example.com")
EDIT(e_up, l->c.flags = 0x04)
EDIT(e_uv, l->c.flags = 0x01, l->policy.require_uv = true)
EDIT(e_bs, l->c.flags = 0x15)
EDIT(e_be_gained, l->c.flags = 0x0d)
EDIT(e_be_gained_bs, l->c.flags = 0x1d)
EDIT(e_be_lost, l->stored.be = true)
EDIT(e_sig_key, l->c.sign_with_other = true)
EDIT(e_sig_key_ed, l->c.key = SA_EDDSA, l->c.sign_with_other = true)
EDIT(e_sig_key_rsa, l->c.key = SA_RS256, l->c.sign_with_other = true)
EDIT(e_sig_data, l->c.other_data = true)
EDIT(e_sig_data_ed, l->c.key = SA_EDDSA, l->c.other_data = true)
EDIT(e_sig_data_rsa, l->c.key = SA_RS256, l->c.other_data = true)
EDIT(e_sig_empty, l->c.sig = MA_LIT(""))
EDIT(e_sig_bit, l->after = signature_changed)
EDIT(e_sig_bit_ed, l->c.key = SA_EDDSA, l->after = signature_changed)
EDIT(e_sig_bit_rsa, l->c.key = SA_RS256, l->after = signature_changed)
EDIT(e_sig_zero, l->c.sig = MA_LIT("\x30\x06\x02\x01\x00\x02\x01\x00"))
EDIT(e_sig_padded, l->after = der_padded)
EDIT(e_sig_long_length, l->after = der_long_length)
EDIT(e_sig_trailing, l->after = der_trailing)
EDIT(e_sig_raw, l->after = der_raw)
EDIT(e_sig_rsa_cut, l->c.key = SA_RS256, l->after = rsa_cut)
EDIT(e_sig_negative, l->c.sig = MA_LIT("\x30\x06\x02\x01\xff\x02\x01\x01"))
EDIT(e_sig_huge, l->c.sig = ma_span_of(ma_arena_zalloc(arena, 4096), 4096))
EDIT(e_auth_changed, l->after = auth_data_changed)
EDIT(e_client_changed, l->after = client_data_changed)
EDIT(e_stored_key, l->after = other_stored_key)
EDIT(e_stored_type, l->after = other_stored_type)
EDIT(e_count_same, l->c.sign_count = 7)
EDIT(e_count_less, l->c.sign_count = 6)
EDIT(e_count_one, l->c.sign_count = 1)

#define RESPONSE "/authn_response/response/"
static const struct refused_row {
    const char *name, *step, *pointer;
    int want;
    void (*edit)(struct login *);
} bad_rows[] = {
    {"another credential", "7.2.5", "/authn_response/rawId", MA_E_AUTH, e_raw_id},
    {"identifier cut", "7.2.5", "/authn_response/rawId", MA_E_AUTH, e_raw_id_cut},
    {"no identifier", "7.2.5", "/authn_response/rawId", MA_E_AUTH, e_raw_id_none},
    {"another user", "7.2.6", RESPONSE "userHandle", MA_E_AUTH, e_user},
    {"user handle cut", "7.2.6", RESPONSE "userHandle", MA_E_AUTH, e_user_cut},
    {"empty user handle", "7.2.6", RESPONSE "userHandle", MA_E_AUTH, e_user_empty},
    {"user handle needed", "7.2.6", RESPONSE "userHandle", MA_E_AUTH, e_user_missing},
    {"user handle needed, none stored", "7.2.6", RESPONSE "userHandle", MA_E_AUTH, e_user_missing_empty},
    {"authenticator data over the limit", "7.2.7", RESPONSE "authenticatorData", MA_E_PARSE, e_auth_long},
    {"no authenticator data", "7.2.7", RESPONSE "authenticatorData", MA_E_PARSE, e_auth_none},
    {"authenticator data cut", "7.2.7", RESPONSE "authenticatorData", MA_E_PARSE, e_auth_cut},
    {"a byte after it", "7.2.7", RESPONSE "authenticatorData", MA_E_PARSE, e_auth_tail},
    {"with a credential", "7.2.7", RESPONSE "authenticatorData", MA_E_PARSE, e_auth_at},
    {"AT without a credential", "7.2.7", RESPONSE "authenticatorData", MA_E_PARSE, e_auth_at_bare},
    {"ED without extensions", "7.2.7", RESPONSE "authenticatorData", MA_E_PARSE, e_auth_ed},
    {"extensions malformed", "7.2.7", RESPONSE "authenticatorData", MA_E_PARSE, e_auth_ed_bad},
    {"no JSON", "7.2.9", RESPONSE "clientDataJSON", MA_E_PARSE, e_no_json},
    {"no challenge in the JSON", "7.2.9", RESPONSE "clientDataJSON", MA_E_PARSE, e_json_shape},
    {"type of a registration", "7.2.10", RESPONSE "clientDataJSON", MA_E_AUTH, e_type_create},
    {"type of a payment", "7.2.10", RESPONSE "clientDataJSON", MA_E_AUTH, e_type_payment},
    {"another challenge", "7.2.11", RESPONSE "clientDataJSON", MA_E_AUTH, e_challenge},
    {"challenge cut", "7.2.11", RESPONSE "clientDataJSON", MA_E_AUTH, e_challenge_cut},
    {"empty challenge", "7.2.11", RESPONSE "clientDataJSON", MA_E_AUTH, e_challenge_empty},
    {"another origin", "7.2.12", RESPONSE "clientDataJSON", MA_E_AUTH, e_origin},
    {"origin of a subdomain", "7.2.12", RESPONSE "clientDataJSON", MA_E_AUTH, e_origin_sub},
    {"frame of another origin", "7.2.13", RESPONSE "clientDataJSON", MA_E_AUTH, e_cross},
    {"page of another origin", "7.2.14", RESPONSE "clientDataJSON", MA_E_AUTH, e_top},
    {"another relying party", "7.2.15", RESPONSE "authenticatorData", MA_E_AUTH, e_rp},
    {"no user presence", "7.2.16", RESPONSE "authenticatorData", MA_E_AUTH, e_up},
    {"no user verification", "7.2.17", RESPONSE "authenticatorData", MA_E_AUTH, e_uv},
    {"backed up but not eligible", "7.2.18", RESPONSE "authenticatorData", MA_E_AUTH, e_bs},
    {"eligibility gained", "7.2.19", RESPONSE "authenticatorData", MA_E_AUTH, e_be_gained},
    {"eligibility gained, backed up", "7.2.19", RESPONSE "authenticatorData", MA_E_AUTH, e_be_gained_bs},
    {"eligibility lost", "7.2.19", RESPONSE "authenticatorData", MA_E_AUTH, e_be_lost},
    {"another ES256 key", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_key},
    {"another EdDSA key", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_key_ed},
    {"another RSA key", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_key_rsa},
    {"ES256 over other data", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_data},
    {"EdDSA over other data", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_data_ed},
    {"RS256 over other data", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_data_rsa},
    {"empty signature", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_empty},
    {"a bit of an ES256 signature", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_bit},
    {"a bit of an EdDSA signature", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_bit_ed},
    {"a bit of an RS256 signature", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_bit_rsa},
    {"signature (0, 0)", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_zero},
    {"signature with a padded integer", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_padded},
    {"signature with a long length", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_long_length},
    {"signature with a byte after it", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_trailing},
    {"signature raw, not DER", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_raw},
    {"RSA signature cut", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_rsa_cut},
    {"signature with a negative integer", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_negative},
    {"signature of 4096 bytes", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_sig_huge},
    {"counter changed after signing", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_auth_changed},
    {"blank added to the client data", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_client_changed},
    {"another stored key", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_stored_key},
    {"stored key of another type", "7.2.21", RESPONSE "signature", MA_E_AUTH, e_stored_type},
    {"counter stands", "7.2.22", RESPONSE "authenticatorData", MA_E_AUTH, e_count_same},
    {"counter falls", "7.2.22", RESPONSE "authenticatorData", MA_E_AUTH, e_count_less},
    {"counter starts again", "7.2.22", RESPONSE "authenticatorData", MA_E_AUTH, e_count_one},
};

START_TEST(refused)
{
    const struct refused_row *row = &bad_rows[_i];
    struct login l = honest();
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault;

    row->edit(&l);
    const int rc = verify(&l, &got, &fault);
    ck_assert_msg(rc == row->want, "%s: %s, step %s: %s", row->name, ma_err_name(rc), fault.step, fault.detail);
    ck_assert_msg(strcmp(fault.step, row->step) == 0, "%s: step %s: %s", row->name, fault.step, fault.detail);
    ck_assert_msg(strcmp(fault.pointer, row->pointer) == 0, "%s: pointer %s", row->name, fault.pointer);
    ck_assert_msg(strlen(fault.detail) > 10, "%s", row->name);
}
END_TEST

START_TEST(small_arenas)
{
    struct login l = honest();
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault;
    int rc = verify(&l, &got, &fault);

    ck_assert_int_eq(rc, MA_OK);
    /* Whatever the memory reaches for, it is enough or it says so. */
    for (size_t n = 32; n < 2048; n += 32) {
        struct ma_arena *tiny = ma_arena_new(n, n);
        ck_assert_ptr_nonnull(tiny);
        rc =
            ma_webauthn_assert(tiny, &l.policy, ma_span_of(CHALLENGE, sizeof CHALLENGE), &l.stored, &l.r, &got, &fault);
        ck_assert_msg(rc == MA_OK || (rc == MA_E_NOMEM && !fault.pointer), "%zu: %s", n, ma_err_name(rc));
        ma_arena_free(tiny);
    }
    ck_assert_int_eq(rc, MA_OK);
}
END_TEST

/* A stored key that registration never returned is the caller's fault, not the client's. */
START_TEST(stored_key_unusable)
{
    static const char *const keys[] = {"\xff", "\xa0x", "\x01", "\xa1\x03\x26"};
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault;

    for (size_t i = 0; i < MA_COUNT(keys); i++) {
        struct login l = honest();
        l.stored.public_key = ma_span_str(keys[i]);
        ck_assert_int_eq(verify(&l, &got, &fault), MA_E_INVAL);
        ck_assert_ptr_null(fault.pointer);
    }
}
END_TEST

/* Registered, then used: what registration returns is what an assertion needs. */
START_TEST(registration_then_assertion)
{
    static const enum sa_key_type types[] = {SA_ES256, SA_EDDSA, SA_RS256};
    const struct ma_span challenge = ma_span_of(CHALLENGE, sizeof CHALLENGE);
    struct ma_webauthn_credential made;
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault;

    for (size_t i = 0; i < MA_COUNT(types); i++) {
        struct sa_ceremony c = sa_ceremony(arena, &POLICY, challenge, true);
        c.key = types[i];
        c.flags = 0x1d;
        const struct sa_answer a = sa_create(&c);
        ck_assert_int_eq(
            ma_webauthn_register(arena, &POLICY, challenge, a.client_data, a.attestation_object, &made, &fault), MA_OK);
        struct login l = honest();
        l.c.key = types[i];
        l.c.flags = 0x0d; /* no longer backed up: allowed to change */
        l.stored.public_key = made.public_key;
        l.stored.credential_id = made.credential_id;
        l.stored.sign_count = made.sign_count;
        l.stored.be = made.be;
        ck_assert_int_eq(verify(&l, &got, &fault), MA_OK);
        ck_assert(!got.bs && got.sign_count == 8);
    }
}
END_TEST

/* --- WebAuthn Level 3 §16: registration and assertion for example.org, in hex --- */

#include "webauthn_vectors.h"

#define VECTOR_MAX 2048

static struct ma_span unhex(const char *hex)
{
    uint8_t *out = ma_arena_alloc(arena, VECTOR_MAX);
    size_t n = 0;

    ck_assert_ptr_nonnull(out);
    ck_assert_int_eq(ma_hex_decode(ma_span_str(hex), out, VECTOR_MAX, &n), MA_OK);
    return ma_span_of(out, n);
}

START_TEST(vectors)
{
    static const char *const origins[] = {"https://example.org"};
    const struct ma_webauthn_policy policy = {.rp_id = "example.org", .origins = origins, .n_origins = 1};
    const struct vector *v = &VECTORS[_i];
    struct ma_webauthn_credential made;
    struct ma_webauthn_assertion got;
    struct ma_webauthn_fault fault = {0};

    int rc = ma_webauthn_register(arena, &policy, unhex(v->create_challenge), unhex(v->create_client_data),
                                  unhex(v->attestation_object), &made, &fault);
    ck_assert_msg(rc == MA_OK, "%s: %s, step %s: %s", v->name, ma_err_name(rc), fault.step, fault.detail);
    ck_assert_int_eq(made.format, v->format);
    ck_assert_int_eq(made.alg, v->alg);
    ck_assert(ma_span_eq(made.credential_id, unhex(v->credential_id)));
    ck_assert(ma_span_eq(ma_span_of(made.aaguid, sizeof made.aaguid), unhex(v->aaguid)));
    const struct ma_webauthn_stored stored = {.credential_id = made.credential_id,
                                              .public_key = made.public_key,
                                              .sign_count = made.sign_count,
                                              .be = made.be};
    const struct ma_webauthn_response response = {.credential_id = made.credential_id,
                                                  .client_data_json = unhex(v->get_client_data),
                                                  .authenticator_data = unhex(v->authenticator_data),
                                                  .signature = unhex(v->signature)};
    rc = ma_webauthn_assert(arena, &policy, unhex(v->get_challenge), &stored, &response, &got, &fault);
    ck_assert_msg(rc == MA_OK, "%s: %s, step %s: %s", v->name, ma_err_name(rc), fault.step, fault.detail);
    /* Exchanged challenges fail both. */
    ck_assert_int_eq(ma_webauthn_assert(arena, &policy, unhex(v->create_challenge), &stored, &response, &got, &fault),
                     MA_E_AUTH);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("webauthn assertion");
    TCase *tc = tcase_create("assertion");
    tcase_add_unchecked_fixture(tc, once, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, algorithms, 0, 3);
    tcase_add_loop_test(tc, accepted, 0, (int)MA_COUNT(good_rows));
    tcase_add_loop_test(tc, counters, 0, (int)MA_COUNT(counter_rows));
    tcase_add_test(tc, counter_of_a_forgery);
    tcase_add_loop_test(tc, refused, 0, (int)MA_COUNT(bad_rows));
    tcase_add_test(tc, small_arenas);
    tcase_add_test(tc, stored_key_unusable);
    tcase_add_test(tc, registration_then_assertion);
    tcase_add_loop_test(tc, vectors, 0, (int)MA_COUNT(VECTORS));
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
