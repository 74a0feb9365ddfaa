/* SPDX-License-Identifier: Apache-2.0
 * The same registrations and assertions put to libfido2: it must agree wherever it looks at the same thing.
 *
 * It hashes the client data without reading it, takes bytes after authenticator data, and knows neither the rules of
 * backup flags nor those of key parameters. Refusals of those steps are ours alone; what we accept, it must accept.
 * Its CBOR library allocates what a count claims, so that it only gets what our reader has walked through.
 */
#include "../support/authenticator.h"
#include "ma/crypto.h"

#include <check.h>
#include <fido.h>
#include <fido/eddsa.h>
#include <fido/es256.h>
#include <fido/rs256.h>
#include <stdlib.h>

#define ARENA_BYTES ((size_t)4 << 20)
#define ROUNDS 250 /* ceremonies of one configuration */

static const char *const ORIGINS[] = {"https://login.example.com"};
static const struct ma_webauthn_policy POLICY = {.rp_id = "login.example.com", .origins = ORIGINS, .n_origins = 1};
static const uint8_t CHALLENGE[32] = {3, 1, 4, 1, 5, 9, 2, 6};
static const uint8_t IDS[200] = {7, 7, 7};

static struct ma_arena *arena;
static struct ma_rand_seeded stream;

static void once(void)
{
    ck_assert_int_eq(ma_crypto_init(), MA_OK);
    fido_init(0);
}

static void setup(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    ck_assert_ptr_nonnull(arena);
    ma_rand_seeded_init(&stream, 20240607);
}

static void teardown(void)
{
    ma_arena_free_p(&arena);
}

static uint32_t below(uint32_t n)
{
    uint32_t v = 0;

    ck_assert_int_eq(stream.rand.fill(&stream.rand, &v, sizeof v), MA_OK);
    return v % n;
}

static bool one_in(uint32_t n)
{
    return below(n) == 0;
}

static bool is_one_of(const char *step, const char *const *steps, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (step && strcmp(step, steps[i]) == 0)
            return true;
    }
    return false;
}

/* --- registrations --- */

static bool fido_registers(const struct sa_answer *r, const char *fmt, int alg, bool self, bool uv)
{
    fido_cred_t *cred = fido_cred_new();

    ck_assert_ptr_nonnull(cred);
    const bool ok = fido_cred_set_type(cred, alg) == FIDO_OK && fido_cred_set_rp(cred, POLICY.rp_id, NULL) == FIDO_OK &&
                    fido_cred_set_clientdata(cred, r->client_data.p, r->client_data.n) == FIDO_OK &&
                    fido_cred_set_uv(cred, uv ? FIDO_OPT_TRUE : FIDO_OPT_OMIT) == FIDO_OK &&
                    fido_cred_set_authdata_raw(cred, r->auth_data.p, r->auth_data.n) == FIDO_OK &&
                    fido_cred_set_fmt(cred, fmt) == FIDO_OK &&
                    fido_cred_set_attstmt(cred, r->stmt.p, r->stmt.n) == FIDO_OK &&
                    (self ? fido_cred_verify_self(cred) : fido_cred_verify(cred)) == FIDO_OK;
    fido_cred_free(&cred);
    return ok;
}

static const struct {
    const char *name, *fmt;
    enum sa_format format;
    enum sa_key_type key, attestation;
} configurations[] = {
    {"packed self, ES256", "packed", SA_PACKED_SELF, SA_ES256, SA_ES256},
    {"packed self, EdDSA", "packed", SA_PACKED_SELF, SA_EDDSA, SA_ES256},
    {"packed self, RS256", "packed", SA_PACKED_SELF, SA_RS256, SA_ES256},
    {"packed, ES256", "packed", SA_PACKED, SA_ES256, SA_ES256},
    {"packed, EdDSA by ES256", "packed", SA_PACKED, SA_EDDSA, SA_ES256},
    {"packed, RS256 by RS256", "packed", SA_PACKED, SA_RS256, SA_RS256},
    {"packed, ES256 by EdDSA", "packed", SA_PACKED, SA_ES256, SA_EDDSA},
    {"fido-u2f", "fido-u2f", SA_U2F, SA_ES256, SA_ES256},
};

/* What an authenticator could get wrong before it signs. Half of all ceremonies are honest but for the harmless. */
static void vary(struct sa_ceremony *c)
{
    c->sign_count = below(UINT32_MAX);
    c->credential_id = ma_span_of(IDS, 16 + below(sizeof IDS - 16));
    if (one_in(2))
        return;
    if (one_in(3))
        c->flags = (uint8_t)(below(256) & ~0xc0u);
    if (one_in(6))
        c->rp_id = one_in(2) ? "example.com" : "login.example.com.";
    if (one_in(6))
        c->sign_with_other = true;
    if (one_in(6))
        c->other_data = true;
    if (one_in(8))
        c->cut = 1 + below(60);
    if (one_in(8))
        c->tail = ma_span_of(IDS, 1 + below(3));
    if (one_in(12))
        c->id_length = (int)below(400);
}

/* A copy with one bit of one byte of [from, to) changed. */
static struct ma_span bit_changed(struct ma_span s, size_t from, size_t to)
{
    uint8_t *p = ma_arena_alloc(arena, s.n);

    ck_assert_ptr_nonnull(p);
    memcpy(p, s.p, s.n);
    p[from + below((uint32_t)(to - from))] ^= (uint8_t)(1u << below(8));
    return ma_span_of(p, s.n);
}

/* ... and after it signed, on the way. */
static void disturb(struct sa_answer *r, const char *fmt)
{
    if (!one_in(3) || r->auth_data.n == 0)
        return;
    r->auth_data = bit_changed(r->auth_data, 0, r->auth_data.n);
    r->attestation_object = sa_attestation_object(arena, fmt, r->stmt, r->auth_data);
}

START_TEST(registrations)
{
    static const char *const ours[] = {"7.1.17", "7.1.20", "7.1.25"};
    const bool self = configurations[_i].format == SA_PACKED_SELF;
    const char *fmt = configurations[_i].fmt;
    unsigned compared = 0;
    unsigned agreed = 0;
    unsigned accepted = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct ma_webauthn_policy policy = POLICY;
        struct ma_webauthn_credential made;
        struct ma_webauthn_fault fault;
        ma_arena_reset(arena);
        struct sa_ceremony c = sa_ceremony(arena, &POLICY, ma_span_of(CHALLENGE, sizeof CHALLENGE), true);
        c.format = configurations[_i].format;
        c.key = configurations[_i].key;
        c.cert.key = configurations[_i].attestation;
        policy.require_uv = one_in(2);
        vary(&c);
        struct sa_answer r = sa_create(&c);
        disturb(&r, fmt);
        const int rc = ma_webauthn_register(arena, &policy, ma_span_of(CHALLENGE, sizeof CHALLENGE), r.client_data,
                                            r.attestation_object, &made, &fault);
        if (rc == MA_E_PARSE) {
            ck_assert_str_eq(fault.step, "7.1.13");
            continue;
        }
        compared++;
        const bool theirs = fido_registers(&r, fmt, sa_cose_alg(c.key), self, policy.require_uv);
        if (rc == MA_OK)
            ck_assert_msg(theirs, "%s, round %u: only we accept", configurations[_i].name, i);
        else
            ck_assert_msg(!theirs || is_one_of(fault.step, ours, MA_COUNT(ours)), "%s, round %u: step %s: %s",
                          configurations[_i].name, i, fault.step, fault.detail);
        agreed += (rc == MA_OK) == theirs;
        accepted += rc == MA_OK;
    }
    /* The comparison means something: both verdicts occur, and agreement is the rule. */
    ck_assert_msg(accepted > compared / 8 && accepted < compared - compared / 8, "%u accepted", accepted);
    ck_assert_msg(compared > ROUNDS / 2 && agreed > compared - compared / 8, "%u of %u agreed", agreed, compared);
}
END_TEST

/* With nothing to verify it only reads the authenticator data; what we accept it can read. */
START_TEST(structure_without_attestation)
{
    static const enum sa_key_type types[] = {SA_ES256, SA_EDDSA, SA_RS256};

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct ma_webauthn_credential made;
        struct ma_webauthn_fault fault;
        ma_arena_reset(arena);
        struct sa_ceremony c = sa_ceremony(arena, &POLICY, ma_span_of(CHALLENGE, sizeof CHALLENGE), true);
        c.key = types[below(MA_COUNT(types))];
        vary(&c);
        struct sa_answer r = sa_create(&c);
        disturb(&r, "none");
        if (ma_webauthn_register(arena, &POLICY, ma_span_of(CHALLENGE, sizeof CHALLENGE), r.client_data,
                                 r.attestation_object, &made, &fault) != MA_OK)
            continue;
        fido_cred_t *cred = fido_cred_new();
        ck_assert_int_eq(fido_cred_set_type(cred, made.alg), FIDO_OK);
        ck_assert_int_eq(fido_cred_set_authdata_raw(cred, r.auth_data.p, r.auth_data.n), FIDO_OK);
        ck_assert(ma_span_eq(ma_span_of(fido_cred_id_ptr(cred), fido_cred_id_len(cred)), made.credential_id));
        ck_assert_mem_eq(fido_cred_aaguid_ptr(cred), made.aaguid, sizeof made.aaguid);
        ck_assert_uint_eq(fido_cred_sigcount(cred), made.sign_count);
        ck_assert((fido_cred_flags(cred) & 0x04) == (made.uv ? 0x04 : 0));
        fido_cred_free(&cred);
    }
}
END_TEST

/* --- assertions --- */

static int fido_checks(const struct sa_answer *r, enum sa_key_type type, const void *pk, bool uv)
{
    fido_assert_t *a = fido_assert_new();

    ck_assert_ptr_nonnull(a);
    int rc = fido_assert_set_count(a, 1);
    if (rc == FIDO_OK)
        rc = fido_assert_set_rp(a, POLICY.rp_id);
    if (rc == FIDO_OK)
        rc = fido_assert_set_clientdata(a, r->client_data.p, r->client_data.n);
    if (rc == FIDO_OK)
        rc = fido_assert_set_up(a, FIDO_OPT_TRUE);
    if (rc == FIDO_OK)
        rc = fido_assert_set_uv(a, uv ? FIDO_OPT_TRUE : FIDO_OPT_OMIT);
    if (rc == FIDO_OK)
        rc = fido_assert_set_authdata_raw(a, 0, r->auth_data.p, r->auth_data.n);
    if (rc == FIDO_OK)
        rc = fido_assert_set_sig(a, 0, r->signature.p, r->signature.n);
    if (rc == FIDO_OK)
        rc = fido_assert_verify(a, 0, sa_cose_alg(type), pk);
    fido_assert_free(&a);
    return rc;
}

static bool fido_asserts(const struct sa_answer *r, enum sa_key_type type, bool uv)
{
    EVP_PKEY *key = sa_key(type, 0);
    es256_pk_t *es = es256_pk_new();
    eddsa_pk_t *ed = eddsa_pk_new();
    rs256_pk_t *rs = rs256_pk_new();
    int rc = FIDO_ERR_INTERNAL;

    ck_assert(es && ed && rs);
    if (type == SA_ES256 && es256_pk_from_EVP_PKEY(es, key) == FIDO_OK)
        rc = fido_checks(r, type, es, uv);
    else if (type == SA_EDDSA && eddsa_pk_from_EVP_PKEY(ed, key) == FIDO_OK)
        rc = fido_checks(r, type, ed, uv);
    else if (type == SA_RS256 && rs256_pk_from_EVP_PKEY(rs, key) == FIDO_OK)
        rc = fido_checks(r, type, rs, uv);
    es256_pk_free(&es);
    eddsa_pk_free(&ed);
    rs256_pk_free(&rs);
    return rc == FIDO_OK;
}

START_TEST(assertions)
{
    static const enum sa_key_type types[] = {SA_ES256, SA_EDDSA, SA_RS256};
    static const char *const ours[] = {"7.2.18"};
    const enum sa_key_type type = types[_i];
    unsigned compared = 0;
    unsigned agreed = 0;
    unsigned accepted = 0;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct ma_webauthn_policy policy = POLICY;
        struct ma_webauthn_assertion got;
        struct ma_webauthn_fault fault;
        ma_arena_reset(arena);
        struct sa_ceremony c = sa_ceremony(arena, &POLICY, ma_span_of(CHALLENGE, sizeof CHALLENGE), false);
        c.key = type;
        policy.require_uv = one_in(2);
        vary(&c);
        c.cut = one_in(10) ? below(37) : 0;
        struct sa_answer r = sa_get(&c);
        if (one_in(6) && r.auth_data.n > 0)
            r.auth_data = bit_changed(r.auth_data, 0, r.auth_data.n);
        if (one_in(6))
            r.signature = bit_changed(r.signature, 0, r.signature.n);
        const struct ma_webauthn_stored stored = {.credential_id = c.credential_id,
                                                  .public_key = sa_cose(arena, sa_key(type, 0), type),
                                                  .be = r.auth_data.n > 32 && (r.auth_data.p[32] & 0x08)};
        const struct ma_webauthn_response response = {.credential_id = c.credential_id,
                                                      .client_data_json = r.client_data,
                                                      .authenticator_data = r.auth_data,
                                                      .signature = r.signature};
        const int rc = ma_webauthn_assert(arena, &policy, ma_span_of(CHALLENGE, sizeof CHALLENGE), &stored, &response,
                                          &got, &fault);
        if (rc == MA_E_PARSE) {
            ck_assert_str_eq(fault.step, "7.2.7");
            continue;
        }
        compared++;
        const bool theirs = fido_asserts(&r, type, policy.require_uv);
        if (rc == MA_OK)
            ck_assert_msg(theirs, "round %u: only we accept", i);
        else
            ck_assert_msg(!theirs || is_one_of(fault.step, ours, MA_COUNT(ours)), "round %u: step %s: %s", i,
                          fault.step, fault.detail);
        agreed += (rc == MA_OK) == theirs;
        accepted += rc == MA_OK;
    }
    ck_assert_msg(accepted > compared / 8 && accepted < compared - compared / 8, "%u accepted", accepted);
    ck_assert_msg(compared > ROUNDS / 2 && agreed > compared - compared / 8, "%u of %u agreed", agreed, compared);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("webauthn against libfido2");
    TCase *tc = tcase_create("differential");
    tcase_set_timeout(tc, 60);
    tcase_add_unchecked_fixture(tc, once, NULL);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, registrations, 0, (int)MA_COUNT(configurations));
    tcase_add_test(tc, structure_without_attestation);
    tcase_add_loop_test(tc, assertions, 0, 3);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
