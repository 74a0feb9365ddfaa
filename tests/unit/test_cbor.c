/* SPDX-License-Identifier: Apache-2.0
 * The CBOR reader: the examples of RFC 8949, and everything that is not canonical.
 */
#include "ma/cbor.h"
#include "ma/codec.h"

#include <check.h>
#include <stdlib.h>

#define BYTES_MAX 256

static struct ma_span unhex(const char *hex, uint8_t buf[BYTES_MAX])
{
    size_t n = 0;

    ck_assert_int_eq(ma_hex_decode(ma_span_str(hex), buf, BYTES_MAX, &n), MA_OK);
    return ma_span_of(buf, n);
}

/* --- RFC 8949 appendix A --- */

static const struct {
    const char *hex;
    enum ma_cbor_type type;
    uint64_t n;
} rfc_rows[] = {
    {"00", MA_CBOR_UINT, 0},
    {"01", MA_CBOR_UINT, 1},
    {"0a", MA_CBOR_UINT, 10},
    {"17", MA_CBOR_UINT, 23},
    {"1818", MA_CBOR_UINT, 24},
    {"1819", MA_CBOR_UINT, 25},
    {"1864", MA_CBOR_UINT, 100},
    {"1903e8", MA_CBOR_UINT, 1000},
    {"1a000f4240", MA_CBOR_UINT, 1000000},
    {"1b000000e8d4a51000", MA_CBOR_UINT, 1000000000000},
    {"1bffffffffffffffff", MA_CBOR_UINT, UINT64_MAX},
    {"20", MA_CBOR_NINT, 0},
    {"29", MA_CBOR_NINT, 9},
    {"3863", MA_CBOR_NINT, 99},
    {"3903e7", MA_CBOR_NINT, 999},
    {"3bffffffffffffffff", MA_CBOR_NINT, UINT64_MAX},
    {"f4", MA_CBOR_BOOL, 0},
    {"f5", MA_CBOR_BOOL, 1},
    {"f6", MA_CBOR_NULL, 0},
    {"40", MA_CBOR_BYTES, 0},
    {"4401020304", MA_CBOR_BYTES, 4},
    {"60", MA_CBOR_TEXT, 0},
    {"6449455446", MA_CBOR_TEXT, 4},
    {"62225c", MA_CBOR_TEXT, 2},
    {"62c3bc", MA_CBOR_TEXT, 2},
    {"63e6b0b4", MA_CBOR_TEXT, 3},
    {"64f0908591", MA_CBOR_TEXT, 4},
    {"80", MA_CBOR_ARRAY, 0},
    {"83010203", MA_CBOR_ARRAY, 3},
    {"8301820203820405", MA_CBOR_ARRAY, 3},
    {"98190102030405060708090a0b0c0d0e0f101112131415161718181819", MA_CBOR_ARRAY, 25},
    {"a0", MA_CBOR_MAP, 0},
    {"a201020304", MA_CBOR_MAP, 2},
    {"a26161016162820203", MA_CBOR_MAP, 2},
    {"826161a161626163", MA_CBOR_ARRAY, 2},
    {"a56161614161626142616361436164614461656145", MA_CBOR_MAP, 5},
};

START_TEST(rfc_8949_examples)
{
    uint8_t buf[BYTES_MAX];
    struct ma_cbor c;
    const struct ma_span in = unhex(rfc_rows[_i].hex, buf);

    ck_assert_int_eq(ma_cbor_parse(in, &c), MA_OK);
    ck_assert_int_eq(c.type, rfc_rows[_i].type);
    ck_assert_uint_eq(c.n, rfc_rows[_i].n);
    ck_assert(ma_span_eq(c.raw, in));
    if (c.type == MA_CBOR_BYTES || c.type == MA_CBOR_TEXT)
        ck_assert_uint_eq(c.body.n, c.n);
    /* Every proper prefix is refused. */
    for (size_t n = 0; n < in.n; n++)
        ck_assert_int_ne(ma_cbor_parse(ma_span_of(in.p, n), &c), MA_OK);
}
END_TEST

/* --- refused --- */

static const struct {
    const char *name, *hex;
    int want;
} bad_rows[] = {
    {"nothing", "", MA_E_PARSE},
    {"argument missing", "18", MA_E_PARSE},
    {"argument cut", "1903", MA_E_PARSE},
    {"eight-byte argument cut", "1b00000000000000", MA_E_PARSE},
    {"trailing byte", "0000", MA_E_PARSE},
    {"trailing item after a map", "a0a0", MA_E_PARSE},
    {"additional information 28", "1c", MA_E_PARSE},
    {"additional information 29", "1d", MA_E_PARSE},
    {"additional information 30", "1e", MA_E_PARSE},
    {"23 in two bytes", "1817", MA_E_PARSE},
    {"24 in three bytes", "190018", MA_E_PARSE},
    {"255 in three bytes", "1900ff", MA_E_PARSE},
    {"65535 in five bytes", "1a0000ffff", MA_E_PARSE},
    {"2^32-1 in nine bytes", "1b00000000ffffffff", MA_E_PARSE},
    {"negative in two bytes", "3800", MA_E_PARSE},
    {"byte string length in two bytes", "580100", MA_E_PARSE},
    {"text length in three bytes", "79000161", MA_E_PARSE},
    {"array count in two bytes", "980100", MA_E_PARSE},
    {"map count in two bytes", "b8010000", MA_E_PARSE},
    {"byte string longer than the input", "4201", MA_E_PARSE},
    {"byte string of 2^64-1", "5bffffffffffffffff00", MA_E_PARSE},
    {"text of 2^63", "7b800000000000000000", MA_E_PARSE},
    {"array of 2^64-1 items", "9bffffffffffffffff00", MA_E_PARSE},
    {"array of 2^32 items", "9b0000000100000000", MA_E_PARSE},
    {"array one item short", "8201", MA_E_PARSE},
    {"map of 2^64-1 pairs", "bbffffffffffffffff0000", MA_E_PARSE},
    {"map without its value", "a101", MA_E_PARSE},
    {"map counts bytes, not pairs", "a30102030405", MA_E_PARSE},
    {"indefinite bytes", "5f42010243030405ff", MA_E_PARSE},
    {"indefinite text", "7f657374726561646d696e67ff", MA_E_PARSE},
    {"indefinite array", "9fff", MA_E_PARSE},
    {"indefinite map", "bf6161019fff", MA_E_PARSE},
    {"lone break", "ff", MA_E_PARSE},
    {"tag", "c074323031332d30332d32315432303a30343a30305a", MA_E_PARSE},
    {"tagged integer", "c101", MA_E_PARSE},
    {"half float", "f90000", MA_E_PARSE},
    {"single float", "fa47c35000", MA_E_PARSE},
    {"double float", "fb3ff199999999999a", MA_E_PARSE},
    {"undefined", "f7", MA_E_PARSE},
    {"unassigned simple value", "f0", MA_E_PARSE},
    {"simple value in two bytes", "f8ff", MA_E_PARSE},
    {"false in two bytes", "f814", MA_E_PARSE},
    {"duplicate integer key", "a201000101", MA_E_PARSE},
    {"duplicate negative key", "a220002001", MA_E_PARSE},
    {"duplicate text key", "a2616100616101", MA_E_PARSE},
    {"duplicate key below", "81a201000101", MA_E_PARSE},
    {"byte string key", "a1410000", MA_E_PARSE},
    {"array key", "a18000", MA_E_PARSE},
    {"map key", "a1a000", MA_E_PARSE},
    {"boolean key", "a1f400", MA_E_PARSE},
    {"null key", "a1f600", MA_E_PARSE},
    {"text is not UTF-8", "61ff", MA_E_PARSE},
    {"text with a surrogate", "63eda080", MA_E_PARSE},
    {"text overlong", "62c0af", MA_E_PARSE},
    {"key is not UTF-8", "a161ff00", MA_E_PARSE},
    {"five arrays", "818181818100", MA_E_RANGE},
    {"five maps", "a100a100a100a100a10000", MA_E_RANGE},
    {"empty container at the fifth level", "8181818180", MA_E_RANGE},
    {"truncated at depth", "81818181", MA_E_PARSE},
};

START_TEST(refused)
{
    uint8_t buf[BYTES_MAX];
    struct ma_cbor c;
    const int rc = ma_cbor_parse(unhex(bad_rows[_i].hex, buf), &c);

    ck_assert_msg(rc == bad_rows[_i].want, "%s: %s", bad_rows[_i].name, ma_err_name(rc));
}
END_TEST

START_TEST(depth_four_is_read)
{
    uint8_t buf[BYTES_MAX];
    struct ma_cbor c;

    ck_assert_int_eq(ma_cbor_parse(unhex("8181818100", buf), &c), MA_OK);
    ck_assert_int_eq(ma_cbor_parse(unhex("a100a100a100a10000", buf), &c), MA_OK);
    /* Depth, not number: siblings do not add up. */
    ck_assert_int_eq(ma_cbor_parse(unhex("868080808080a0", buf), &c), MA_OK);
}
END_TEST

START_TEST(map_of_too_many_pairs)
{
    uint8_t buf[BYTES_MAX];
    struct ma_cbor c;

    for (unsigned pairs = MA_CBOR_PAIRS_MAX; pairs <= MA_CBOR_PAIRS_MAX + 1; pairs++) {
        size_t n = 0;
        buf[n++] = 0xb8;
        buf[n++] = (uint8_t)pairs;
        for (unsigned i = 0; i < pairs; i++) {
            if (i >= 24)
                buf[n++] = 0x18;
            buf[n++] = (uint8_t)i;
            buf[n++] = 0xf6;
        }
        const int want = pairs > MA_CBOR_PAIRS_MAX ? MA_E_RANGE : MA_OK;
        ck_assert_int_eq(ma_cbor_parse(ma_span_of(buf, n), &c), want);
    }
}
END_TEST

START_TEST(first_leaves_the_rest)
{
    uint8_t buf[BYTES_MAX];
    struct ma_cbor c;
    const struct ma_span in = unhex("a10102ffff", buf);

    ck_assert_int_eq(ma_cbor_first(in, &c), MA_OK);
    ck_assert_uint_eq(c.raw.n, 3);
    ck_assert_ptr_eq(c.raw.p, in.p);
    ck_assert_int_eq(ma_cbor_parse(in, &c), MA_E_PARSE);
    ck_assert_int_eq(ma_cbor_first(MA_SPAN_NULL, &c), MA_E_PARSE);
}
END_TEST

START_TEST(integers)
{
    static const struct {
        const char *hex;
        int64_t want;
        bool ok;
    } rows[] = {
        {"00", 0, true},
        {"17", 23, true},
        {"26", -7, true},
        {"390100", -257, true},
        {"1b7fffffffffffffff", INT64_MAX, true},
        {"3b7fffffffffffffff", INT64_MIN, true},
        {"1b8000000000000000", 0, false},
        {"3b8000000000000000", 0, false},
        {"6130", 0, false},
        {"f5", 0, false},
        {"80", 0, false},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        uint8_t buf[BYTES_MAX];
        struct ma_cbor c;
        int64_t got = 0;
        ck_assert_int_eq(ma_cbor_parse(unhex(rows[i].hex, buf), &c), MA_OK);
        ck_assert_msg(ma_cbor_int(&c, &got) == rows[i].ok, "%s", rows[i].hex);
        if (rows[i].ok)
            ck_assert_int_eq(got, rows[i].want);
    }
}
END_TEST

/* {"a": 1, -7: "x", 2: [false, h'0102', {"b": null}], "": "e"} */
#define MAP                                                                                                            \
    "a4616101266178028"                                                                                                \
    "3f4420102a16162f6"                                                                                                \
    "606165"

START_TEST(members)
{
    uint8_t buf[BYTES_MAX];
    struct ma_cbor map;
    struct ma_cbor c;
    struct ma_cbor item;

    ck_assert_int_eq(ma_cbor_parse(unhex(MAP, buf), &map), MA_OK);
    ck_assert_uint_eq(map.n, 4);
    ck_assert(ma_cbor_member(&map, "a", &c) && c.type == MA_CBOR_UINT && c.n == 1);
    ck_assert(ma_cbor_member(&map, "", &c) && ma_span_eq_str(c.body, "e"));
    ck_assert(ma_cbor_member_int(&map, -7, &c) && ma_span_eq_str(c.body, "x"));
    ck_assert(!ma_cbor_member(&map, "b", &c));
    ck_assert(!ma_cbor_member(&map, "x", &c)); /* a value, not a key */
    ck_assert(!ma_cbor_member_int(&map, 1, &c));
    ck_assert(!ma_cbor_member_int(&map, 6, &c)); /* -7 is 6 below the sign */
    ck_assert(ma_cbor_member_int(&map, 2, &c) && c.type == MA_CBOR_ARRAY && c.n == 3);
    ck_assert(ma_cbor_item(&c, 0, &item) && item.type == MA_CBOR_BOOL && item.n == 0);
    ck_assert(ma_cbor_item(&c, 1, &item) && item.type == MA_CBOR_BYTES && item.body.n == 2);
    ck_assert(ma_cbor_item(&c, 2, &item) && ma_cbor_member(&item, "b", &map) && map.type == MA_CBOR_NULL);
    ck_assert(!ma_cbor_item(&c, 3, &item));
    ck_assert(!ma_cbor_member(&c, "a", &item)); /* no map */
    ck_assert(!ma_cbor_member_int(&c, 0, &item));
    ck_assert(ma_cbor_member_int(&c, 0, &item) == false);
    ck_assert(!ma_cbor_item(&item, 0, &c));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("cbor");
    TCase *tc = tcase_create("reader");
    tcase_add_loop_test(tc, rfc_8949_examples, 0, (int)MA_COUNT(rfc_rows));
    tcase_add_loop_test(tc, refused, 0, (int)MA_COUNT(bad_rows));
    tcase_add_test(tc, depth_four_is_read);
    tcase_add_test(tc, map_of_too_many_pairs);
    tcase_add_test(tc, first_leaves_the_rest);
    tcase_add_test(tc, integers);
    tcase_add_test(tc, members);
    suite_add_tcase(s, tc);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
