/* SPDX-License-Identifier: Apache-2.0
 * The repository of WebAuthn credentials and user handles.
 */
#include "ma/store.h"

#include <stdlib.h>

#include "../support/fixture.h"

#define NOW MA_FIX_START
#define ALICE MA_LIT(MA_FIX_ALICE)
#define BOB MA_LIT(MA_FIX_BOB)

static struct ma_fix f;
static struct ma_db *db;
static struct ma_arena *arena;

static void setup(void)
{
    ma_fix_open(&f, "");
    db = f.app.writer;
    arena = f.arena;
    T_OK(ma_db_begin(db));
}

static void teardown(void)
{
    ma_db_rollback(db);
    ma_fix_close(&f);
}

static void add_method(struct ma_span user, const char *id, enum ma_factor type)
{
    struct ma_method m = {.id = ma_span_str(id), .type = type, .confirmed = true, .created_at = NOW};
    T_OK(ma_method_insert(db, user, &m));
}

static uint8_t handle_bytes[64] = {7, 0, 255};

static struct ma_credential credential(const char *method_id, const char *credential_id)
{
    return (struct ma_credential){.method_id = ma_span_str(method_id),
                                  .credential_id = ma_span_str(credential_id),
                                  .public_key = MA_LIT("\xa0\x01"),
                                  .alg = -7,
                                  .sign_count = 4294967295,
                                  .aaguid = {0xab, 0, 0xff},
                                  .be = true,
                                  .attestation = MA_LIT("none"),
                                  .rp_id = MA_LIT("example.com"),
                                  .user_handle = ma_span_of(handle_bytes, sizeof handle_bytes)};
}

static void add_credential(struct ma_span user, const char *method_id, const char *credential_id)
{
    struct ma_credential c = credential(method_id, credential_id);
    T_OK(ma_credential_insert(db, user, &c));
}

static size_t credentials_of(struct ma_span user, struct ma_credential v[8])
{
    size_t n = 0;
    T_OK(ma_credential_list(db, arena, user, v, 8, &n));
    return n;
}

START_TEST(test_credential_round_trip)
{
    struct ma_credential v[8], c = credential("passkey|dev_1", "id-1");
    c.transports = MA_LIT("[\"usb\"]");
    c.user_agent = MA_LIT("Firefox 1.0.0 / Linux");
    c.bs = c.uv = true;
    add_method(ALICE, "passkey|dev_1", MA_FACTOR_PASSKEY);
    add_method(ALICE, "webauthn-roaming|dev_2", MA_FACTOR_WEBAUTHN_ROAMING);
    T_OK(ma_credential_insert(db, ALICE, &c));
    ck_assert_uint_eq(credentials_of(ALICE, v), 1);
    T_STR(v[0].method_id, "passkey|dev_1");
    T_STR(v[0].credential_id, "id-1");
    T_STR(v[0].public_key, "\xa0\x01");
    ck_assert_int_eq(v[0].alg, -7);
    ck_assert_int_eq(v[0].sign_count, 4294967295);
    ck_assert_mem_eq(v[0].aaguid, c.aaguid, sizeof c.aaguid);
    ck_assert(v[0].be && v[0].bs && v[0].uv);
    T_STR(v[0].attestation, "none");
    T_STR(v[0].transports, "[\"usb\"]");
    T_STR(v[0].user_agent, "Firefox 1.0.0 / Linux");
    T_STR(v[0].rp_id, "example.com");
    ck_assert(ma_span_eq(v[0].user_handle, c.user_handle));
    add_credential(ALICE, "webauthn-roaming|dev_2", "id-2");
    ck_assert_uint_eq(credentials_of(ALICE, v), 2);
    const struct ma_credential *second = &v[ma_span_eq_str(v[0].credential_id, "id-2") ? 0 : 1];
    ck_assert(second->be && !second->bs && !second->uv);
    ck_assert_ptr_null(second->transports.p);
    ck_assert_ptr_null(second->user_agent.p);
    ck_assert_uint_eq(credentials_of(BOB, v), 0);
}
END_TEST

/* Once in all, whoever owns it, and once for a method. */
START_TEST(test_credential_id_taken)
{
    struct ma_credential v[8], c = credential("passkey|dev_2", "id-1");
    add_method(ALICE, "passkey|dev_1", MA_FACTOR_PASSKEY);
    add_method(ALICE, "passkey|dev_2", MA_FACTOR_PASSKEY);
    add_method(BOB, "passkey|dev_2", MA_FACTOR_PASSKEY);
    add_credential(ALICE, "passkey|dev_1", "id-1");
    T_IS(MA_E_EXISTS, ma_credential_insert(db, ALICE, &c));
    T_IS(MA_E_EXISTS, ma_credential_insert(db, BOB, &c));
    c = credential("passkey|dev_1", "id-3");
    T_IS(MA_E_EXISTS, ma_credential_insert(db, ALICE, &c));
    ck_assert_uint_eq(credentials_of(BOB, v), 0);
    T_OK(ma_method_delete(db, ALICE, MA_LIT("passkey|dev_1")));
    ck_assert_uint_eq(credentials_of(ALICE, v), 0);
    add_credential(BOB, "passkey|dev_2", "id-1"); /* free again */
}
END_TEST

START_TEST(test_credential_needs_its_method)
{
    struct ma_credential v[8], c = credential("passkey|dev_1", "id-1");
    add_method(BOB, "passkey|dev_1", MA_FACTOR_PASSKEY);
    T_IS(MA_E_CONFLICT, ma_credential_insert(db, ALICE, &c));
    ck_assert_uint_eq(credentials_of(BOB, v), 0);
}
END_TEST

START_TEST(test_user_handle)
{
    struct ma_span got, handle = ma_span_of(handle_bytes, sizeof handle_bytes);
    T_IS(MA_E_NOTFOUND, ma_user_handle_get(db, arena, ALICE, &got));
    T_IS(MA_E_CONFLICT, ma_user_handle_insert(db, ALICE, ma_span_of(handle_bytes, 63), NOW));
    T_OK(ma_user_handle_insert(db, ALICE, handle, NOW));
    T_OK(ma_user_handle_get(db, arena, ALICE, &got));
    ck_assert(ma_span_eq(got, handle));
    T_IS(MA_E_EXISTS, ma_user_handle_insert(db, BOB, handle, NOW)); /* it names one user */
    T_IS(MA_E_NOTFOUND, ma_user_handle_get(db, arena, BOB, &got));
    T_IS(MA_E_CONFLICT, ma_user_handle_insert(db, MA_LIT("auth0|nobody"), MA_LIT("x"), NOW));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("credentials");
    TCase *t = tcase_create("credentials");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, test_credential_round_trip);
    tcase_add_test(t, test_credential_id_taken);
    tcase_add_test(t, test_credential_needs_its_method);
    tcase_add_test(t, test_user_handle);
    suite_add_tcase(s, t);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
