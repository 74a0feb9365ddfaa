/* SPDX-License-Identifier: Apache-2.0
 * Message texts, masks and the composed e-mail.
 */
#include "ma/outbox.h"

#include "ma/codec.h"
#include "../../src/deliver/int.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static struct ma_arena *arena;
static char dir[64];

static void set_up(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
    snprintf(dir, sizeof dir, "/tmp/ma-templates-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void tear_down(void)
{
    static const char *const names[] = {"enroll-code.email.subject", "enroll-code.email.text", "enroll-code.sms.text",
                                        "enroll-code.voice.text"};
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        (void)unlink(path_of(names[i]));
        (void)rmdir(path_of(names[i]));
    }
    (void)rmdir(dir);
    ma_arena_free(arena);
}

static void put_file(const char *name, const void *p, size_t n)
{
    int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, p, n), (ssize_t)n);
    close(fd);
}

static struct ma_message message(enum ma_channel c)
{
    return (struct ma_message){.channel = c,
                               .user_id = MA_LIT("auth0|alice"),
                               .to = MA_LIT("alice@example.com"),
                               .template_name = "enroll-code",
                               .code = MA_LIT("123456"),
                               .tenant = MA_LIT("Example"),
                               .name = MA_LIT("Alice"),
                               .minutes = 5};
}

/* The rendered part as a C string in the arena. */
static const char *render(struct ma_templates *t, enum ma_template_part part, const struct ma_message *m)
{
    struct ma_span out;
    ck_assert_int_eq(ma_template_render(t, part, m, arena, &out), MA_OK);
    ck_assert(ma_utf8_valid(out));
    return ma_arena_strdup(arena, out);
}

static struct ma_templates *load(const char *directory)
{
    struct ma_templates *t = NULL;
    char why[256] = "";
    int r = ma_templates_load(directory, &t, why);
    ck_assert_msg(r == MA_OK, "%s: %s", ma_err_name(r), why);
    return t;
}

START_TEST(built_in)
{
    struct ma_templates *t = load("");
    struct ma_message m = message(MA_CHANNEL_EMAIL);
    ck_assert_str_eq(render(t, MA_TEMPLATE_EMAIL_SUBJECT, &m), "123456 is your Example verification code");
    const char *text = render(t, MA_TEMPLATE_EMAIL_TEXT, &m);
    ck_assert_ptr_nonnull(strstr(text, "code is: 123456\n"));
    ck_assert_ptr_nonnull(strstr(text, "valid for 5 minutes"));
    ck_assert_ptr_null(strstr(text, "{{"));
    const char *sms = render(t, MA_TEMPLATE_SMS_TEXT, &m);
    ck_assert_int_eq(strncmp(sms, "123456 is your Example", 22), 0);
    ck_assert_ptr_null(strchr(sms, '\n'));
    const char *voice = render(t, MA_TEMPLATE_VOICE_TEXT, &m);
    ck_assert_ptr_nonnull(strstr(voice, "1, 2, 3, 4, 5, 6"));
    ck_assert_ptr_null(strstr(voice, "123456"));
    ma_templates_free(t);
}
END_TEST

START_TEST(unknown_name)
{
    struct ma_templates *t = load(NULL);
    struct ma_message m = message(MA_CHANNEL_SMS);
    m.template_name = "no-such";
    struct ma_span out;
    ck_assert_int_eq(ma_template_render(t, MA_TEMPLATE_SMS_TEXT, &m, arena, &out), MA_E_NOTFOUND);
    ma_templates_free(t);
}
END_TEST

START_TEST(override_one_file)
{
    static const char text[] =
        "\xEF\xBB\xBFHallo {{ name }},\r\nG\xC3\xBCltig: {{minutes}} min, {{code}}{{code}}\r\n\r\n";
    put_file("enroll-code.sms.text", text, sizeof text - 1);
    struct ma_templates *t = load(dir);
    struct ma_message m = message(MA_CHANNEL_SMS);
    ck_assert_str_eq(render(t, MA_TEMPLATE_SMS_TEXT, &m), "Hallo Alice,\nG\xC3\xBCltig: 5 min, 123456123456");
    ck_assert_ptr_nonnull(strstr(render(t, MA_TEMPLATE_VOICE_TEXT, &m), "1, 2, 3"));
    ma_templates_free(t);
}
END_TEST

static const struct bad_file {
    const char *label, *file, *text;
    int want;
    const char *says;
} bad_files[] = {
    {"unknown placeholder", "enroll-code.email.text", "x {{password}} y", MA_E_INVAL, "{{password}}"},
    {"empty placeholder", "enroll-code.email.text", "x {{}} y", MA_E_INVAL, "{{}}"},
    {"case matters", "enroll-code.email.text", "{{Code}}", MA_E_INVAL, "{{Code}}"},
    {"not closed", "enroll-code.voice.text", "x {{code", MA_E_PARSE, "not closed"},
    {"not UTF-8", "enroll-code.sms.text", "caf\xE9 {{code}}", MA_E_INVAL, "UTF-8"},
    {"control character", "enroll-code.sms.text", "\x1b[2J{{code}}", MA_E_INVAL, "control"},
    {"lone CR", "enroll-code.email.text", "a\rb", MA_E_INVAL, "control"},
    {"subject of two lines", "enroll-code.email.subject", "a\nBcc: x@example.com", MA_E_INVAL, "single line"},
    {"blank", "enroll-code.sms.text", " \n\n", MA_E_INVAL, "empty"},
};

START_TEST(bad_override)
{
    const struct bad_file *row = &bad_files[_i];
    put_file(row->file, row->text, strlen(row->text));
    struct ma_templates *t = NULL;
    char why[256] = "";
    ck_assert_msg(ma_templates_load(dir, &t, why) == row->want, "%s: %s", row->label, why);
    ck_assert_ptr_null(t);
    ck_assert_msg(strstr(why, row->file) && strstr(why, row->says), "%s: %s", row->label, why);
}
END_TEST

START_TEST(file_size)
{
    char *big = malloc(MA_TEMPLATE_FILE_MAX + 1);
    ck_assert_ptr_nonnull(big);
    memset(big, 'a', MA_TEMPLATE_FILE_MAX + 1);
    struct ma_templates *t = NULL;
    char why[256] = "";
    put_file("enroll-code.sms.text", big, MA_TEMPLATE_FILE_MAX + 1);
    ck_assert_int_eq(ma_templates_load(dir, &t, why), MA_E_RANGE);
    ck_assert_ptr_nonnull(strstr(why, "enroll-code.sms.text"));
    put_file("enroll-code.sms.text", big, MA_TEMPLATE_FILE_MAX);
    t = load(dir);
    struct ma_message m = message(MA_CHANNEL_SMS);
    ck_assert_uint_eq(strlen(render(t, MA_TEMPLATE_SMS_TEXT, &m)), MA_TEMPLATE_FILE_MAX);
    ma_templates_free(t);
    free(big);
}
END_TEST

START_TEST(not_a_file)
{
    struct ma_templates *t = NULL;
    char why[256] = "";
    ck_assert_int_eq(mkdir(path_of("enroll-code.sms.text"), 0700), 0);
    ck_assert_int_eq(ma_templates_load(dir, &t, why), MA_E_INVAL);
    ck_assert_ptr_nonnull(strstr(why, "regular file"));
    ck_assert_int_eq(ma_templates_load("/nonexistent/directory", &t, why), MA_E_IO);
    ck_assert_ptr_nonnull(strstr(why, "/nonexistent/directory"));
}
END_TEST

/* A text that multiplies its values is bounded. */
START_TEST(rendering_is_bounded)
{
    char text[16000];
    size_t n = 0;
    while (n + 10 < sizeof text) {
        memcpy(text + n, "{{tenant}}", 10);
        n += 10;
    }
    put_file("enroll-code.sms.text", text, n);
    struct ma_templates *t = load(dir);
    struct ma_message m = message(MA_CHANNEL_SMS);
    uint8_t tenant[500];
    memset(tenant, 't', sizeof tenant);
    m.tenant = ma_span_of(tenant, sizeof tenant);
    struct ma_span out;
    ck_assert_int_eq(ma_template_render(t, MA_TEMPLATE_SMS_TEXT, &m, arena, &out), MA_E_RANGE);
    ma_templates_free(t);
}
END_TEST

static const struct value {
    const char *label, *in, *out;
} values[] = {
    {"plain", "Example", "Example"},
    {"header injection", "A\r\nBcc: evil@example.com", "ABcc: evil@example.com"},
    {"placeholder in a value", "{{code}}", "{{code}}"},
    {"C1 control",
     "a\xC2\x85"
     "b\xC2\xA0",
     "ab\xC2\xA0"},
    {"bidi override",
     "a\xE2\x80\xAE"
     "b\xE2\x81\xA6"
     "c",
     "abc"},
    {"line separator",
     "a\xE2\x80\xA8"
     "b",
     "ab"},
    {"invalid UTF-8", "a\xFF", ""},
    {"other scripts stay", "\xE4\xBE\x8B\xF0\x9F\x98\x80", "\xE4\xBE\x8B\xF0\x9F\x98\x80"},
};

START_TEST(values_are_cleaned)
{
    put_file("enroll-code.email.subject", "<{{tenant}}>", 12);
    struct ma_templates *t = load(dir);
    struct ma_message m = message(MA_CHANNEL_EMAIL);
    m.tenant = ma_span_str(values[_i].in);
    char want[256];
    snprintf(want, sizeof want, "<%s>", values[_i].out);
    ck_assert_msg(strcmp(render(t, MA_TEMPLATE_EMAIL_SUBJECT, &m), want) == 0, "%s", values[_i].label);
    ma_templates_free(t);
}
END_TEST

START_TEST(long_value_is_cut_between_characters)
{
    put_file("enroll-code.email.subject", "{{tenant}}", 10);
    struct ma_templates *t = load(dir);
    struct ma_message m = message(MA_CHANNEL_EMAIL);
    char tenant[3 * 100 + 1];
    for (size_t i = 0; i < 100; i++)
        memcpy(tenant + 3 * i, "\xE2\x82\xAC", 3);
    m.tenant = ma_span_of(tenant, 300);
    ck_assert_uint_eq(strlen(render(t, MA_TEMPLATE_EMAIL_SUBJECT, &m)), MA_TEMPLATE_VALUE_MAX / 3 * 3);
    ma_templates_free(t);
}
END_TEST

/* --- masks --- */

static const struct mask {
    const char *in, *out;
} masks[] = {
    {"alice@example.com", "a***@example.com"},
    {"+15551235678", "+1***5678"},
    {"a@b", "a***@b"},
    {"@example.com", "***@example.com"},
    {"\xC3\xA9mile@example.com", "\xC3\xA9***@example.com"},
    {"\"a@b\"@example.com", "\"***@example.com"},
    {"+12345", "***"},
    {"15551235678", "***"},
    {"", "***"},
    {"\xFF\xFE@x", "***"},
};

START_TEST(mask)
{
    char out[MA_MASKED_MAX];
    ma_address_mask(ma_span_str(masks[_i].in), out);
    ck_assert_str_eq(out, masks[_i].out);
}
END_TEST

/* --- addresses --- */

static const struct address {
    const char *in;
    bool ok;
} addresses[] = {
    {"alice@example.com", true},
    {"a+b.c_d@sub.example.com", true},
    {"j\xC3\xB6rg@example.com", true},
    {"o'neil@example.com", true},
    {"alice", false},
    {"@example.com", false},
    {"alice@", false},
    {"a@b@c", false},
    {"alice@example.com\r\nBcc: bob@example.com", false},
    {"alice@example.com\n", false},
    {"<alice@example.com>", false},
    {"Alice <alice@example.com>", false},
    {"alice@example.com,bob@example.com", false},
    {"alice@example.com;bob@example.com", false},
    {"al ice@example.com", false},
    {"\"al ice\"@example.com", false},
    {"alice@[127.0.0.1]", false},
    {"al\xC2\x85ice@example.com", false},
    {"al\xFFice@example.com", false},
    {"", false},
};

START_TEST(address)
{
    ck_assert_msg(ma_email_address_ok(ma_span_str(addresses[_i].in)) == addresses[_i].ok, "%s", addresses[_i].in);
}
END_TEST

START_TEST(address_length)
{
    uint8_t a[255];
    memset(a, 'a', sizeof a);
    a[100] = '@';
    ck_assert(ma_email_address_ok(ma_span_of(a, 254)));
    ck_assert(!ma_email_address_ok(ma_span_of(a, 255)));
    ck_assert(!ma_email_address_ok(MA_LIT("a@b\0c")));
}
END_TEST

/* --- the message --- */

#define AT 1764000000123 /* 2025-11-24T16:00:00.123Z */

static const char *compose(struct ma_span subject, struct ma_span text)
{
    struct ma_letter l = {.channel = MA_CHANNEL_EMAIL,
                          .to = MA_LIT("alice@example.com"),
                          .subject = subject,
                          .text = text,
                          .created_at = AT};
    struct ma_span out;
    ck_assert_int_eq(
        ma_email_compose(arena, "no-reply@login.example.com", "00112233445566778899aabbccddeeff", &l, &out), MA_OK);
    /* every line ends with CRLF and fits (RFC 5322 §2.1.1) */
    size_t length = 0;
    for (size_t i = 0; i < out.n; i++) {
        if (out.p[i] == '\r') {
            ck_assert(i + 1 < out.n && out.p[i + 1] == '\n');
            length = 0;
        } else if (out.p[i] == '\n') {
            ck_assert(i > 0 && out.p[i - 1] == '\r');
        } else {
            ck_assert_uint_le(++length, 998);
        }
    }
    return ma_arena_strdup(arena, out);
}

START_TEST(plain_mail)
{
    ck_assert_str_eq(compose(MA_LIT("123456 is your code"), MA_LIT("Hello,\n\n.dot\nend")),
                     "From: no-reply@login.example.com\r\n"
                     "To: alice@example.com\r\n"
                     "Subject: 123456 is your code\r\n"
                     "Date: Mon, 24 Nov 2025 16:00:00 +0000\r\n"
                     "Message-ID: <00112233445566778899aabbccddeeff@login.example.com>\r\n"
                     "MIME-Version: 1.0\r\n"
                     "Auto-Submitted: auto-generated\r\n"
                     "Content-Type: text/plain; charset=utf-8\r\n"
                     "Content-Transfer-Encoding: 7bit\r\n"
                     "\r\n"
                     "Hello,\r\n\r\n.dot\r\nend\r\n");
}
END_TEST

/* The header's value with its folding kept. arena */
static char *header(const char *mail, const char *name)
{
    const char *at = strstr(mail, name);
    ck_assert_ptr_nonnull(at);
    at += strlen(name);
    const char *end = strstr(at, "\r\n");
    while (end && end[2] == ' ')
        end = strstr(end + 2, "\r\n");
    ck_assert_ptr_nonnull(end);
    return ma_arena_strdup(arena, ma_span_of(at, (size_t)(end - at)));
}

/* Decodes a run of base64 encoded words (RFC 2047 §2), each on its own line. */
static char *decode_words(const char *value)
{
    struct ma_buf out;
    ma_buf_init_arena(&out, arena, 256, 8192);
    while (*value) {
        const char *end = strstr(value + 10, "?=");
        ck_assert_int_eq(strncmp(value, "=?utf-8?B?", 10), 0);
        ck_assert_ptr_nonnull(end);
        ck_assert_int_le(end + 2 - value, 75);
        uint8_t word[64];
        size_t n = 0;
        ck_assert_int_eq(ma_b64_decode(ma_span_of(value + 10, (size_t)(end - value - 10)), word, sizeof word, &n),
                         MA_OK);
        ck_assert(ma_utf8_valid(ma_span_of(word, n)));
        ma_buf_put(&out, word, n);
        value = end + 2;
        if (*value) {
            ck_assert_int_eq(strncmp(value, "\r\n ", 3), 0);
            value += 3;
        }
    }
    return ma_arena_strdup(arena, ma_buf_view(&out));
}

static const char *const encoded_subjects[] = {
    "Best\xC3\xA4tigungscode 123456",
    "\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B"
    "\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B\xE4\xBE\x8B.",
    "ab\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80"
    "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80",
    "looks encoded: =?utf-8?B?eA==?=",
    "an ASCII subject that is a good deal longer than what a single line should hold",
};

START_TEST(encoded_subject)
{
    const char *mail = compose(ma_span_str(encoded_subjects[_i]), MA_LIT("x"));
    for (const char *line = mail; *line; line = strstr(line, "\r\n") + 2)
        ck_assert_int_le(strstr(line, "\r\n") - line, 76); /* RFC 2047 §2 */
    ck_assert_str_eq(decode_words(header(mail, "Subject: ")), encoded_subjects[_i]);
}
END_TEST

START_TEST(base64_body)
{
    char text[2000];
    for (size_t i = 0; i < sizeof text; i += 5)
        memcpy(text + i, "ab\xC3\xA9\n", 5);
    const char *mail = compose(MA_LIT("x"), ma_span_of(text, sizeof text));
    ck_assert_ptr_nonnull(strstr(mail, "\r\nContent-Transfer-Encoding: base64\r\n"));
    const char *body = strstr(mail, "\r\n\r\n");
    ck_assert_ptr_nonnull(body);
    char joined[8192];
    size_t n = 0;
    size_t line = 0;
    for (body += 4; *body; body++) {
        line = *body == '\r' ? 0 : line + 1;
        ck_assert_uint_le(line, 77);
        if (*body != '\r' && *body != '\n')
            joined[n++] = *body;
    }
    uint8_t plain[8192];
    size_t got = 0;
    ck_assert_int_eq(ma_b64_decode(ma_span_of(joined, n), plain, sizeof plain, &got), MA_OK);
    ck_assert_uint_eq(got, sizeof text / 5 * 6);
    ck_assert_mem_eq(plain, "ab\xC3\xA9\r\nab", 8);
}
END_TEST

START_TEST(long_line_is_encoded)
{
    char text[1200];
    memset(text, 'a', sizeof text);
    ck_assert_ptr_nonnull(strstr(compose(MA_LIT("x"), ma_span_of(text, 998)), "Encoding: 7bit"));
    ck_assert_ptr_nonnull(strstr(compose(MA_LIT("x"), ma_span_of(text, 999)), "Encoding: base64"));
}
END_TEST

START_TEST(gateway_verdicts)
{
    static const struct {
        long status;
        int want;
    } rows[] = {{200, MA_OK},        {201, MA_OK},        {299, MA_OK},        {301, MA_E_INVAL},   {400, MA_E_INVAL},
                {401, MA_E_INVAL},   {404, MA_E_INVAL},   {408, MA_E_TIMEOUT}, {425, MA_E_TIMEOUT}, {429, MA_E_BUSY},
                {500, MA_E_TIMEOUT}, {502, MA_E_TIMEOUT}, {503, MA_E_BUSY},    {504, MA_E_TIMEOUT}};
    for (size_t i = 0; i < MA_COUNT(rows); i++)
        ck_assert_msg(ma_gateway_verdict(rows[i].status) == rows[i].want, "%ld", rows[i].status);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("templates");
    TCase *tc = tcase_create("texts");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, built_in);
    tcase_add_test(tc, unknown_name);
    tcase_add_test(tc, override_one_file);
    tcase_add_loop_test(tc, bad_override, 0, (int)MA_COUNT(bad_files));
    tcase_add_test(tc, file_size);
    tcase_add_test(tc, not_a_file);
    tcase_add_test(tc, rendering_is_bounded);
    tcase_add_loop_test(tc, values_are_cleaned, 0, (int)MA_COUNT(values));
    tcase_add_test(tc, long_value_is_cut_between_characters);
    suite_add_tcase(s, tc);
    tc = tcase_create("mail");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, mask, 0, (int)MA_COUNT(masks));
    tcase_add_loop_test(tc, address, 0, (int)MA_COUNT(addresses));
    tcase_add_test(tc, address_length);
    tcase_add_test(tc, plain_mail);
    tcase_add_loop_test(tc, encoded_subject, 0, (int)MA_COUNT(encoded_subjects));
    tcase_add_test(tc, base64_body);
    tcase_add_test(tc, long_line_is_encoded);
    tcase_add_test(tc, gateway_verdicts);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
