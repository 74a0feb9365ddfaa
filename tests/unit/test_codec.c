/* SPDX-License-Identifier: Apache-2.0
 * Tests of the text encodings and the UTF-8 helpers.
 */
#include "ma/codec.h"
#include "ma/buf.h"
#include "ma/rand.h"

#include <check.h>
#include <stdlib.h>

typedef int (*decode_fn)(struct ma_span in, uint8_t *out, size_t out_cap, size_t *ret_n);
typedef void (*encode_fn)(struct ma_span in, char *out);

static struct ma_arena *arena;

static void setup(void)
{
    arena = ma_arena_new(4096, 1024 * 1024);
}

static void teardown(void)
{
    ma_arena_free_p(&arena);
}

START_TEST(b64_rfc4648_vectors)
{
    /* RFC 4648 §10 */
    static const struct {
        const char *plain, *b64, *b64url, *b32, *hex;
    } rows[] = {
        {"", "", "", "", ""},
        {"f", "Zg==", "Zg", "MY", "66"},
        {"fo", "Zm8=", "Zm8", "MZXQ", "666f"},
        {"foo", "Zm9v", "Zm9v", "MZXW6", "666f6f"},
        {"foob", "Zm9vYg==", "Zm9vYg", "MZXW6YQ", "666f6f62"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE", "MZXW6YTB", "666f6f6261"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy", "MZXW6YTBOI", "666f6f626172"},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_span in = ma_span_str(rows[i].plain);
        char out[64];
        ma_b64_encode(in, out);
        ck_assert_str_eq(out, rows[i].b64);
        ck_assert_uint_eq(strlen(out), MA_B64_LEN(in.n));
        ma_b64url_encode(in, out);
        ck_assert_str_eq(out, rows[i].b64url);
        ck_assert_uint_eq(strlen(out), MA_B64URL_LEN(in.n));
        ma_hex_encode(in, out);
        ck_assert_str_eq(out, rows[i].hex);
        ck_assert_str_eq(ma_base32_encode(arena, in), rows[i].b32);
    }
}
END_TEST

START_TEST(alphabets_differ)
{
    char out[8];
    ma_b64_encode(MA_LIT("\xfb\xff\xbf"), out);
    ck_assert_str_eq(out, "+/+/");
    ma_b64url_encode(MA_LIT("\xfb\xff\xbf"), out);
    ck_assert_str_eq(out, "-_-_");
}
END_TEST

static const struct decode_row {
    const char *name;
    decode_fn fn;
    struct ma_span in;
    size_t cap;
    int want;
    struct ma_span out;
} decode_rows[] = {
    {"url: two bytes", ma_b64url_decode, MA_LIT("Zm8"), 8, MA_OK, MA_LIT("fo")},
    {"url: exact room", ma_b64url_decode, MA_LIT("Zm9vYg"), 4, MA_OK, MA_LIT("foob")},
    {"url: empty", ma_b64url_decode, MA_LIT(""), 0, MA_OK, MA_LIT("")},
    {"url: its own alphabet", ma_b64url_decode, MA_LIT("-_-_"), 8, MA_OK, MA_LIT("\xfb\xff\xbf")},
    {"url: a byte short of room", ma_b64url_decode, MA_LIT("Zm9vYg"), 3, MA_E_RANGE, MA_LIT("")},
    {"url: padding", ma_b64url_decode, MA_LIT("Zg=="), 8, MA_E_PARSE, MA_LIT("")},
    {"url: one character left", ma_b64url_decode, MA_LIT("Zm9vY"), 8, MA_E_PARSE, MA_LIT("")},
    {"url: spare bits, two characters", ma_b64url_decode, MA_LIT("Zh"), 8, MA_E_PARSE, MA_LIT("")},
    {"url: spare bits, three characters", ma_b64url_decode, MA_LIT("Zm9"), 8, MA_E_PARSE, MA_LIT("")},
    {"url: standard alphabet", ma_b64url_decode, MA_LIT("+/+/"), 8, MA_E_PARSE, MA_LIT("")},
    {"url: blank inside", ma_b64url_decode, MA_LIT("Zm 9v"), 8, MA_E_PARSE, MA_LIT("")},
    {"url: newline at the end", ma_b64url_decode, MA_LIT("Zm9v\n"), 8, MA_E_PARSE, MA_LIT("")},
    {"url: newline in the tail", ma_b64url_decode, MA_LIT("Zm9vZ\n"), 8, MA_E_PARSE, MA_LIT("")},
    {"url: NUL", ma_b64url_decode, MA_LIT("Zm9\0"), 8, MA_E_PARSE, MA_LIT("")},
    {"url: high byte", ma_b64url_decode, MA_LIT("Zm9\xc3"), 8, MA_E_PARSE, MA_LIT("")},
    {"padded: one", ma_b64url_decode_padded, MA_LIT("Zm8="), 8, MA_OK, MA_LIT("fo")},
    {"padded: two", ma_b64url_decode_padded, MA_LIT("Zg=="), 8, MA_OK, MA_LIT("f")},
    {"padded: none", ma_b64url_decode_padded, MA_LIT("Zg"), 8, MA_OK, MA_LIT("f")},
    {"padded: not to four", ma_b64url_decode_padded, MA_LIT("Zg="), 8, MA_E_PARSE, MA_LIT("")},
    {"padded: too much", ma_b64url_decode_padded, MA_LIT("Z==="), 8, MA_E_PARSE, MA_LIT("")},
    {"padded: only padding", ma_b64url_decode_padded, MA_LIT("===="), 8, MA_E_PARSE, MA_LIT("")},
    {"padded: whole text padded again", ma_b64url_decode_padded, MA_LIT("Zm9v===="), 8, MA_E_PARSE, MA_LIT("")},
    {"std: padded", ma_b64_decode, MA_LIT("Zm8="), 8, MA_OK, MA_LIT("fo")},
    {"std: its own alphabet", ma_b64_decode, MA_LIT("+/+/"), 8, MA_OK, MA_LIT("\xfb\xff\xbf")},
    {"std: no padding", ma_b64_decode, MA_LIT("Zm8"), 8, MA_E_PARSE, MA_LIT("")},
    {"std: url alphabet", ma_b64_decode, MA_LIT("-_-_"), 8, MA_E_PARSE, MA_LIT("")},
    {"std: spare bits", ma_b64_decode, MA_LIT("Zh=="), 8, MA_E_PARSE, MA_LIT("")},
    {"std: padding inside", ma_b64_decode, MA_LIT("Zg==Zg=="), 8, MA_E_PARSE, MA_LIT("")},
    {"std: room", ma_b64_decode, MA_LIT("Zm9v"), 2, MA_E_RANGE, MA_LIT("")},
    {"hex: plain", ma_hex_decode, MA_LIT("00ff7f"), 8, MA_OK, MA_LIT("\0\xff\x7f")},
    {"hex: empty", ma_hex_decode, MA_LIT(""), 0, MA_OK, MA_LIT("")},
    {"hex: odd", ma_hex_decode, MA_LIT("0"), 8, MA_E_PARSE, MA_LIT("")},
    {"hex: upper case", ma_hex_decode, MA_LIT("FF"), 8, MA_E_PARSE, MA_LIT("")},
    {"hex: letter", ma_hex_decode, MA_LIT("0g"), 8, MA_E_PARSE, MA_LIT("")},
    {"hex: room", ma_hex_decode, MA_LIT("0000"), 1, MA_E_RANGE, MA_LIT("")},
};

START_TEST(decode_table)
{
    const struct decode_row *r = &decode_rows[_i];
    uint8_t out[16];
    size_t n = 99;
    ck_assert_msg(r->fn(r->in, out, r->cap, &n) == r->want, "%s", r->name);
    ck_assert_msg(ma_span_eq(ma_span_of(out, n), r->out), "%s", r->name);
}
END_TEST

static void round_trip(struct ma_span in, encode_fn encode, decode_fn decode)
{
    char text[512];
    uint8_t back[256];
    size_t n;
    encode(in, text);
    ck_assert_int_eq(decode(ma_span_str(text), back, sizeof(back), &n), MA_OK);
    ck_assert(ma_span_eq(ma_span_of(back, n), in));
}

START_TEST(decode_undoes_encode)
{
    struct ma_rand_seeded r;
    ma_rand_seeded_init(&r, 1);
    for (size_t n = 0; n < 200; n++) {
        uint8_t bytes[200];
        ck_assert_int_eq(r.rand.fill(&r.rand, bytes, n), MA_OK);
        round_trip(ma_span_of(bytes, n), ma_b64url_encode, ma_b64url_decode);
        round_trip(ma_span_of(bytes, n), ma_b64url_encode, ma_b64url_decode_padded);
        round_trip(ma_span_of(bytes, n), ma_b64_encode, ma_b64_decode);
        round_trip(ma_span_of(bytes, n), ma_hex_encode, ma_hex_decode);
    }
}
END_TEST

/* Every text of two characters that decodes is what its bytes encode to. */
START_TEST(b64url_is_canonical)
{
    size_t accepted = 0;
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t in[2] = {(uint8_t)(i >> 8), (uint8_t)i}, out[2];
        size_t n;
        char again[8];
        if (ma_b64url_decode(ma_span_of(in, 2), out, sizeof(out), &n) != MA_OK)
            continue;
        ma_b64url_encode(ma_span_of(out, n), again);
        ck_assert(memcmp(again, in, 2) == 0);
        accepted++;
    }
    ck_assert_uint_eq(accepted, 256);
}
END_TEST

START_TEST(base32_binary)
{
    ck_assert_str_eq(ma_base32_encode(arena, MA_LIT("12345678901234567890")), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    ck_assert_str_eq(ma_base32_encode(arena, MA_LIT("\0\xff")), "AD7Q");
    struct ma_arena *small MA_CLEANUP(ma_arena_free_p) = ma_arena_new(0, 0);
    ck_assert_ptr_null(ma_base32_encode(small, MA_LIT("x")));
}
END_TEST

START_TEST(pct_encode_table)
{
    static const struct {
        struct ma_span in;
        const char *want;
    } rows[] = {
        {MA_LIT(""), ""},
        {MA_LIT("AZaz09-._~"), "AZaz09-._~"},
        {MA_LIT("a b+c/d?e&f=g%"), "a%20b%2Bc%2Fd%3Fe%26f%3Dg%25"},
        {MA_LIT("\0\x7f\xc3\xa9"), "%00%7F%C3%A9"},
        {MA_LIT("sms|dev_1"), "sms%7Cdev_1"},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        ck_assert_str_eq(ma_pct_encode(arena, rows[i].in), rows[i].want);
}
END_TEST

START_TEST(pct_decode_table)
{
    static const struct {
        const char *name;
        struct ma_span in;
        bool plus;
        int want;
        struct ma_span out;
    } rows[] = {
        {"empty", MA_LIT(""), false, MA_OK, MA_LIT("")},
        {"plain", MA_LIT("abc"), false, MA_OK, MA_LIT("abc")},
        {"both cases", MA_LIT("%7c%7C"), false, MA_OK, MA_LIT("||")},
        {"once only", MA_LIT("%2541"), false, MA_OK, MA_LIT("%41")},
        {"plus stays", MA_LIT("a+b"), false, MA_OK, MA_LIT("a+b")},
        {"plus is a blank", MA_LIT("a+b%2B"), true, MA_OK, MA_LIT("a b+")},
        {"encoded NUL", MA_LIT("a%00"), false, MA_E_PARSE, MA_LIT("")},
        {"NUL", MA_LIT("a\0b"), false, MA_E_PARSE, MA_LIT("")},
        {"short escape", MA_LIT("a%4"), false, MA_E_PARSE, MA_LIT("")},
        {"lone percent", MA_LIT("%"), false, MA_E_PARSE, MA_LIT("")},
        {"not hex", MA_LIT("%4g"), false, MA_E_PARSE, MA_LIT("")},
        {"sign is not hex", MA_LIT("%+4"), true, MA_E_PARSE, MA_LIT("")},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++) {
        struct ma_span out;
        ck_assert_msg(ma_pct_decode(arena, rows[i].in, rows[i].plus, &out) == rows[i].want, "%s", rows[i].name);
        ck_assert_msg(ma_span_eq(out, rows[i].out), "%s", rows[i].name);
    }
}
END_TEST

START_TEST(pct_round_trip)
{
    uint8_t all[255];
    for (size_t i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)(i + 1);
    struct ma_span out;
    const char *text = ma_pct_encode(arena, ma_span_of(all, sizeof(all)));
    ck_assert_int_eq(ma_pct_decode(arena, ma_span_str(text), true, &out), MA_OK);
    ck_assert(ma_span_eq(out, ma_span_of(all, sizeof(all))));
}
END_TEST

static const struct utf8_row {
    const char *name;
    struct ma_span in;
    bool valid;
    size_t units;
} utf8_rows[] = {
    {"empty", MA_LIT(""), true, 0},
    {"ascii", MA_LIT("hello, world"), true, 12},
    {"NUL", MA_LIT("\0"), true, 1},
    {"two bytes", MA_LIT("\xc2\x80\xdf\xbf"), true, 2},
    {"three bytes", MA_LIT("\xe0\xa0\x80\xef\xbf\xbf"), true, 2},
    {"around the surrogates", MA_LIT("\xed\x9f\xbf\xee\x80\x80"), true, 2},
    {"four bytes", MA_LIT("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), true, 4},
    {"after eight ascii bytes", MA_LIT("12345678\xc3\xa9"), true, 9},
    {"astral in text", MA_LIT("a\xf0\x9f\x98\x80z"), true, 4},
    {"overlong two", MA_LIT("\xc0\xaf"), false, 0},
    {"overlong two, high", MA_LIT("\xc1\xbf"), false, 0},
    {"overlong three", MA_LIT("\xe0\x9f\xbf"), false, 0},
    {"overlong four", MA_LIT("\xf0\x8f\xbf\xbf"), false, 0},
    {"high surrogate", MA_LIT("\xed\xa0\x80"), false, 0},
    {"low surrogate", MA_LIT("\xed\xbf\xbf"), false, 0},
    {"past U+10FFFF", MA_LIT("\xf4\x90\x80\x80"), false, 0},
    {"first byte F5", MA_LIT("\xf5\x80\x80\x80"), false, 0},
    {"first byte FF", MA_LIT("\xff"), false, 0},
    {"lone continuation", MA_LIT("\x80"), false, 0},
    {"cut two", MA_LIT("\xc3"), false, 0},
    {"cut three", MA_LIT("\xe2\x82"), false, 0},
    {"cut four", MA_LIT("\xf0\x9f\x98"), false, 0},
    {"bad second byte", MA_LIT("\xc3("), false, 0},
    {"bad third byte", MA_LIT("\xe2\x82("), false, 0},
    {"bad fourth byte", MA_LIT("\xf0\x9f\x98("), false, 0},
    {"bad byte in a word of eight",
     MA_LIT("12345\xff"
            "7890123456"),
     false, 0},
};

START_TEST(utf8_table)
{
    const struct utf8_row *r = &utf8_rows[_i];
    ck_assert_msg(ma_utf8_valid(r->in) == r->valid, "%s", r->name);
    if (r->valid)
        ck_assert_msg(ma_utf8_units(r->in) == r->units, "%s", r->name);
}
END_TEST

START_TEST(utf8_controls)
{
    static const struct {
        struct ma_span in;
        bool want;
    } rows[] = {
        {MA_LIT(""), false},         {MA_LIT("plain ~"), false},       {MA_LIT("tab\t"), true},
        {MA_LIT("\0"), true},        {MA_LIT("\x1f"), true},           {MA_LIT("\x7f"), true},
        {MA_LIT("\xc2\x80"), true},  {MA_LIT("\xc2\x9f"), true},       {MA_LIT("\xc2\xa0"), false},
        {MA_LIT("\xc3\x80"), false}, {MA_LIT("a\xe2\x82\xac"), false},
    };
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        ck_assert_msg(ma_utf8_has_control(rows[i].in) == rows[i].want, "row %zu", i);
}
END_TEST

START_TEST(trim)
{
    static const struct {
        const char *in, *want;
    } rows[] = {{"", ""}, {"   ", ""}, {"a", "a"}, {" \t\r\n a b \v\f", "a b"}, {"\xc2\xa0x", "\xc2\xa0x"}};
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        ck_assert(ma_span_eq_str(ma_trim(ma_span_str(rows[i].in)), rows[i].want));
}
END_TEST

/* --- form-encoded text --- */

/* WHATWG URL 5.1; pairs are shown as "name=value|". */
static const struct {
    const char *in, *want;
    int end; /* what ends the walk */
} form_rows[] = {
    {"", "", MA_E_NOTFOUND},
    {"a=1", "a=1|", MA_E_NOTFOUND},
    {"a=1&b=2", "a=1|b=2|", MA_E_NOTFOUND},
    {"a=1&a=2", "a=1|a=2|", MA_E_NOTFOUND},
    {"&&a=1&&&b=2&&", "a=1|b=2|", MA_E_NOTFOUND},
    {"&", "", MA_E_NOTFOUND},
    {"a", "a=|", MA_E_NOTFOUND},
    {"a&b", "a=|b=|", MA_E_NOTFOUND},
    {"a=", "a=|", MA_E_NOTFOUND},
    {"=", "=|", MA_E_NOTFOUND},
    {"=1", "=1|", MA_E_NOTFOUND},
    {"a=b=c", "a=b=c|", MA_E_NOTFOUND},
    {"a==", "a==|", MA_E_NOTFOUND},
    {"a+b=c+d", "a b=c d|", MA_E_NOTFOUND},
    {"a%2Bb=%2b%20", "a+b=+ |", MA_E_NOTFOUND},
    {"a%3D%26=%3d%26", "a=&==&|", MA_E_NOTFOUND},
    {"\xc3\xa4=%C3%A4", "\xc3\xa4=\xc3\xa4|", MA_E_NOTFOUND},
    {"a;b=1", "a;b=1|", MA_E_NOTFOUND},
    {"a=1&b=%", "a=1|", MA_E_PARSE},
    {"a=%4", "", MA_E_PARSE},
    {"a=%zz", "", MA_E_PARSE},
    {"%=1", "", MA_E_PARSE},
    {"a%00=1", "", MA_E_PARSE},
    {"a=1&b=x%00y", "a=1|", MA_E_PARSE},
};

START_TEST(form_table)
{
    struct ma_buf b;
    struct ma_span rest = ma_span_str(form_rows[_i].in), name, value;
    int r = MA_OK;
    ma_buf_init_arena(&b, arena, 64, 4096);
    while ((r = ma_form_next(arena, &rest, &name, &value)) == MA_OK) {
        ck_assert_int_eq(name.p[name.n], 0); /* decoded text ends with NUL */
        ck_assert_int_eq(value.p[value.n], 0);
        ma_buf_span(&b, name);
        ma_buf_byte(&b, '=');
        ma_buf_span(&b, value);
        ma_buf_byte(&b, '|');
    }
    ck_assert_msg(r == form_rows[_i].end, "%s: %s", form_rows[_i].in, ma_err_name(r));
    if (r == MA_E_NOTFOUND)
        ck_assert_uint_eq(rest.n, 0);
    ma_buf_byte(&b, 0);
    ck_assert_str_eq((const char *)b.p, form_rows[_i].want);
}
END_TEST

START_TEST(form_of_nothing)
{
    struct ma_span rest = MA_SPAN_NULL, name, value;
    ck_assert_int_eq(ma_form_next(arena, &rest, &name, &value), MA_E_NOTFOUND);
    ck_assert_int_eq(ma_form_next(arena, &rest, &name, &value), MA_E_NOTFOUND);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("codec");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, b64_rfc4648_vectors);
    tcase_add_test(tc, alphabets_differ);
    tcase_add_loop_test(tc, decode_table, 0, (int)MA_COUNT(decode_rows));
    tcase_add_test(tc, decode_undoes_encode);
    tcase_add_test(tc, b64url_is_canonical);
    tcase_add_test(tc, base32_binary);
    tcase_add_test(tc, pct_encode_table);
    tcase_add_test(tc, pct_decode_table);
    tcase_add_test(tc, pct_round_trip);
    tcase_add_loop_test(tc, utf8_table, 0, (int)MA_COUNT(utf8_rows));
    tcase_add_test(tc, utf8_controls);
    tcase_add_test(tc, trim);
    tcase_add_loop_test(tc, form_table, 0, (int)MA_COUNT(form_rows));
    tcase_add_test(tc, form_of_nothing);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
