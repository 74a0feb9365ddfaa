/* SPDX-License-Identifier: Apache-2.0
 * The password policy rule by rule, and the dictionaries.
 */
#include "ma/password.h"
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define ALL_TYPES 15u
#define X10 "xKxKxKxKxK"
#define X70 X10 X10 X10 X10 X10 X10 X10

static struct ma_arena *arena;

static void setup(void)
{
    arena = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    ck_assert_ptr_nonnull(arena);
}

static void teardown(void)
{
    ma_arena_free(arena);
}

/* The broken sentences, joined by '|'. */
static const char *check(const struct ma_password_policy *p, struct ma_span password,
                         const struct ma_password_profile *profile, struct ma_span *effective)
{
    static char text[1024];
    const char *broken[MA_PASSWORD_RULES_MAX];
    size_t n = ma_password_check(arena, p, password, profile, NULL, broken, effective);
    ck_assert_uint_le(n, MA_PASSWORD_RULES_MAX);
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%s", i ? "|" : "", broken[i]);
    return text;
}

static const char lower_text[] = "Must contain a lowercase letter (a-z)";
static const char upper_text[] = "Must contain an uppercase letter (A-Z)";
static const char three_text[] = "Must contain at least three of: lowercase letters, uppercase letters, numbers, "
                                 "special characters";
static const char same_text[] = "Must not contain three or more identical characters in a row";
static const char sequence_text[] = "Must not contain three or more sequential characters in a row, like abc or 321";

static const struct {
    const char *name;
    struct ma_password_policy p;
    const char *password, *want;
} rows[] = {
    {"length exact", {.min_length = 8}, "aXbYcZdW", ""},
    {"length short", {.min_length = 8}, "aXbYcZd", "Must be at least 8 characters long"},
    {"length in code points", {.min_length = 4}, "äöü", "Must be at least 4 characters long"},
    {"length in code points, enough", {.min_length = 3}, "äö\xf0\x9f\x98\x80", ""},
    {"length 1", {.min_length = 1}, "x", ""},
    {"empty", {.min_length = 8}, "", "Must not be empty"},
    {"empty without a minimum", {.min_length = 0}, "", "Must not be empty"},
    {"no rules", {.min_length = 1}, "aaa111", ""},

    {"72 bytes", {.max_length_exceeded = 1}, X70 "yL", ""},
    {"73 bytes", {.max_length_exceeded = 1}, X70 "yLy", "Must not be longer than 72 bytes"},
    {"73 bytes truncated", {.max_length_exceeded = 0}, X70 "yLy", ""},
    {"bytes, not characters", {.max_length_exceeded = 1}, X70 "y\xc3\xa4", "Must not be longer than 72 bytes"},
    {"minimum after truncation", {.min_length = 72}, X70 "y\xc3\xa4z", "Must be at least 72 characters long"},

    {"all types there", {.character_types = ALL_TYPES}, "aA1!", ""},
    {"lower missing", {.character_types = ALL_TYPES}, "A1!", lower_text},
    {"upper missing", {.character_types = ALL_TYPES}, "a1!", upper_text},
    {"number missing", {.character_types = ALL_TYPES}, "aA!", "Must contain a number (0-9)"},
    {"special missing", {.character_types = ALL_TYPES}, "aA1", "Must contain a special character"},
    {"each missing type is its own rule",
     {.character_types = ALL_TYPES},
     "1",
     "Must contain a lowercase letter (a-z)|Must contain an uppercase letter (A-Z)|Must contain a special character"},
    {"only what is asked", {.character_types = 4}, "a1", ""},
    {"only what is asked, missing", {.character_types = 4}, "ab", "Must contain a number (0-9)"},
    {"space is special", {.character_types = 8}, "a b", ""},
    {"non-ASCII is special", {.character_types = 8}, "a\xc3\xa4", ""},
    {"non-ASCII capital is no A-Z", {.character_types = 2}, "\xc3\x84", upper_text},

    {"three of four", {.character_types = ALL_TYPES, .character_type_rule = 1}, "aA1", ""},
    {"three of four, others", {.character_types = ALL_TYPES, .character_type_rule = 1}, "a1!", ""},
    {"four of four", {.character_types = ALL_TYPES, .character_type_rule = 1}, "aA1!", ""},
    {"two of four", {.character_types = ALL_TYPES, .character_type_rule = 1}, "aA", three_text},
    {"three of four, three listed", {.character_types = 7, .character_type_rule = 1}, "aA!", three_text},
    {"three of four, two listed", {.character_types = 3, .character_type_rule = 1}, "aA", ""},

    {"two identical", {.identical_characters = 1}, "aabbaa", ""},
    {"three identical", {.identical_characters = 1}, "baaa", same_text},
    {"identical at the end", {.identical_characters = 1}, "ab!!!", same_text},
    {"identical is by case", {.identical_characters = 1}, "aAa", ""},
    {"identical code points", {.identical_characters = 1}, "\xc3\xa4\xc3\xa4\xc3\xa4", same_text},
    {"same lead byte is not identical", {.identical_characters = 1}, "\xc3\xa4\xc3\xb6\xc3\xbc", ""},
    {"identical allowed", {.identical_characters = 0}, "aaaa", ""},

    {"two sequential", {.sequential_characters = 1}, "ab12ba21", ""},
    {"abc", {.sequential_characters = 1}, "xxabcx", sequence_text},
    {"aBc", {.sequential_characters = 1}, "aBc", sequence_text},
    {"CBA", {.sequential_characters = 1}, "CBA", sequence_text},
    {"123", {.sequential_characters = 1}, "x123", sequence_text},
    {"321", {.sequential_characters = 1}, "321x", sequence_text},
    {"xyz", {.sequential_characters = 1}, "xyz", sequence_text},
    {"up and down is no run", {.sequential_characters = 1}, "aba121", ""},
    {"steps of two", {.sequential_characters = 1}, "ace135", ""},
    {"9 to colon", {.sequential_characters = 1}, "89:;", ""},
    {"at sign to A", {.sequential_characters = 1}, "@AB", ""},
    {"Z to bracket", {.sequential_characters = 1}, "YZ[", ""},
    {"890 does not wrap", {.sequential_characters = 1}, "x90", ""},
    {"sequential allowed", {.sequential_characters = 0}, "abc123", ""},

    {"dictionary", {.dictionary_active = true, .dictionary = 0}, "password", "Must not be a common password"},
    {"dictionary by case", {.dictionary_active = true, .dictionary = 0}, "PassWord", "Must not be a common password"},
    {"dictionary whole word only", {.dictionary_active = true, .dictionary = 1}, "password-dragon-x", ""},
    {"dictionary off", {.dictionary_active = false, .dictionary = 1}, "password", ""},
    {"everything at once",
     {.min_length = 10,
      .character_types = ALL_TYPES,
      .identical_characters = 1,
      .sequential_characters = 1,
      .dictionary_active = true},
     "123456",
     "Must be at least 10 characters long|Must contain a lowercase letter (a-z)|Must contain an uppercase letter (A-Z)|"
     "Must contain a special character|"
     "Must not contain three or more sequential characters in a row, like abc or 321|Must not be a common password"},
};

START_TEST(rules)
{
    struct ma_span effective;
    const char *got = check(&rows[_i].p, ma_span_str(rows[_i].password), NULL, &effective);
    ck_assert_msg(strcmp(got, rows[_i].want) == 0, "%s: got \"%s\", want \"%s\"", rows[_i].name, got, rows[_i].want);
}
END_TEST

/* --- truncation --- */

static const struct {
    const char *password;
    int max_length_exceeded;
    size_t effective;
} cuts[] = {
    {"short", 0, 5},
    {X70 "ab", 0, 72},
    {X70 "abc", 0, 72},
    {X70 "a\xc3\xa4z", 0, 71},        /* two bytes across the border */
    {X70 "a\xe2\x82\xac", 0, 71},     /* three */
    {X70 "\xf0\x9f\x98\x80z", 0, 70}, /* four */
    {X70 "\xc3\xa4z", 0, 72},         /* ends exactly there */
    {X70 "abc", 1, 73},               /* an error, so nothing is cut */
};

START_TEST(truncation)
{
    struct ma_password_policy p = {.min_length = 1, .max_length_exceeded = cuts[_i].max_length_exceeded};
    struct ma_span effective;
    (void)check(&p, ma_span_str(cuts[_i].password), NULL, &effective);
    ck_assert_ptr_eq(effective.p, cuts[_i].password);
    ck_assert_uint_eq(effective.n, cuts[_i].effective);
}
END_TEST

/* What is cut off does not count for the rules. */
START_TEST(rules_see_what_is_left)
{
    struct ma_password_policy p = {.character_types = 4, .sequential_characters = 1};
    struct ma_span effective;
    ck_assert_str_eq(check(&p, MA_LIT(X70 "yL135"), NULL, &effective), "Must contain a number (0-9)");
    ck_assert_str_eq(check(&p, MA_LIT(X70 "1Labc"), NULL, &effective), "");
}
END_TEST

/* --- profile data --- */

static const struct {
    const char *fields;           /* separated by blanks */
    const char *password, *named; /* named: NULL when nothing is broken */
} profiles[] = {
    {"email", "xxAlice.Example@mail.example!", "email"},
    {"email", "my-ALICE.example-1", "email"},
    {"email", "alice-example", NULL},
    {"email", "mail.example", NULL},
    {"name", "xx\xc3\x89mile Zola", "name"},
    {"name", "XX\xc3\xa9MILE zola1", "name"},
    {"name", "emile zola", NULL},
    {"given_name", "alexei \xd0\xb0\xd0\xbb\xd0\xb5\xd0\xba", "given_name"},
    {"family_name", "Li-Li-Li", NULL}, /* two characters are too few */
    {"nickname", "THE_BOSS_1", "nickname"},
    {"username", "bob1bob", "username"},
    {"phone_number", "+15551230001", "phone_number"},
    {"phone_number", "call15551230001now", "phone_number"},
    {"phone_number", "5551230001", NULL},
    {"user_metadata.first", "xxKarlheinzxx", "user_metadata.first"},
    {"user_metadata.deep.city", "i-love-pisa", "user_metadata.deep.city"},
    {"user_metadata.deep", "i-love-pisa", NULL},
    {"user_metadata.year", "born1990", NULL}, /* not a string */
    {"user_metadata.absent", "anything", NULL},
    {"user_metadata.first.x", "karlheinz", NULL},
    {"user_metadata.", "karlheinz", NULL},
    {"unknown_field", "anything", NULL},
    {"email name nickname", "boss alice.example the_boss", "email, nickname"},
    {"", "alice.example", NULL},
};

static struct ma_password_profile profile(void)
{
    return (struct ma_password_profile){
        .email = MA_LIT("Alice.Example@mail.example"),
        .name = MA_LIT(" \xc3\xa9mile Zola "),
        .given_name = MA_LIT("\xd0\x90\xd0\x9b\xd0\x95\xd0\x9a"),
        .family_name = MA_LIT("Li"),
        .nickname = MA_LIT("the_boss"),
        .username = MA_LIT("bob"),
        .phone_number = MA_LIT("+15551230001"),
        .user_metadata = MA_LIT("{\"first\":\"Karlheinz\",\"deep\":{\"city\":\"Pisa\"},\"year\":1990}"),
    };
}

static void split(const char *fields, struct ma_span_list *list, struct ma_span v[4])
{
    *list = (struct ma_span_list){v, 0};
    for (const char *p = fields; *p;) {
        size_t n = strcspn(p, " ");
        v[list->n++] = ma_span_of(p, n);
        p += n + (p[n] == ' ');
    }
}

START_TEST(profile_data)
{
    struct ma_span v[4];
    struct ma_password_policy p = {.profile_active = true};
    struct ma_password_profile who = profile();
    struct ma_span effective;
    char want[128] = "";
    split(profiles[_i].fields, &p.blocked_fields, v);
    if (profiles[_i].named)
        (void)snprintf(want, sizeof want, "Must not contain data of your profile (%s)", profiles[_i].named);
    const char *got = check(&p, ma_span_str(profiles[_i].password), &who, &effective);
    ck_assert_msg(strcmp(got, want) == 0, "%s: got \"%s\", want \"%s\"", profiles[_i].password, got, want);

    p.profile_active = false;
    ck_assert_str_eq(check(&p, ma_span_str(profiles[_i].password), &who, &effective), "");
}
END_TEST

START_TEST(empty_profile)
{
    struct ma_span fields[] = {MA_LIT("email"), MA_LIT("name"), MA_LIT("user_metadata.a"), MA_LIT("phone_number")};
    struct ma_password_policy p = {.profile_active = true, .blocked_fields = {fields, 4}};
    struct ma_password_profile none = {0};
    struct ma_password_profile odd = {.email = MA_LIT("@x.example"),
                                      .name = MA_LIT("   "),
                                      .phone_number = MA_LIT("+"),
                                      .user_metadata = MA_LIT("[")};
    struct ma_span effective;
    ck_assert_str_eq(check(&p, MA_LIT("anything"), &none, &effective), "");
    ck_assert_str_eq(check(&p, MA_LIT("anything +"), &odd, &effective), "");
    ck_assert_str_eq(check(&p, MA_LIT("a@X.example"), &odd, &effective),
                     "Must not contain data of your profile (email)");
    ck_assert_str_eq(check(&p, MA_LIT("anything"), NULL, &effective), "");
}
END_TEST

/* More field names than the sentence holds still make one sentence. */
START_TEST(many_fields)
{
    struct ma_span fields[200];
    for (size_t i = 0; i < MA_COUNT(fields); i++)
        fields[i] = MA_LIT("nickname");
    struct ma_password_policy p = {.profile_active = true, .blocked_fields = {fields, MA_COUNT(fields)}};
    struct ma_password_profile who = {.nickname = MA_LIT("boss")};
    struct ma_span effective;
    ck_assert_str_eq(check(&p, MA_LIT("boss"), &who, &effective), "Must not contain data of your profile");
}
END_TEST

START_TEST(out_of_memory_is_a_broken_rule)
{
    struct ma_arena *small = ma_arena_new(512, 512);
    struct ma_password_policy p = {.min_length = 1};
    const char *broken[MA_PASSWORD_RULES_MAX];
    struct ma_span effective;
    ck_assert_uint_eq(ma_password_check(small, &p, MA_LIT(X70 X70 X70), NULL, NULL, broken, &effective), 1);
    ck_assert_str_eq(broken[0], "Could not be checked against the password policy; try again");
    ma_arena_free(small);
}
END_TEST

/* --- dictionaries --- */

static const struct {
    const char *word;
    bool in_10k, in_100k;
} words[] = {
    {"123456", true, true},
    {"password", true, true},
    {"PASSWORD", true, true},
    {"qWeRtY", true, true},
    {"letmein", true, true},
    {"supergiant", false, true},
    {"Consecrate", false, true},
    {"belichick", false, true},
    {"", false, false},
    {"p", false, false},
    {"correct horse", false, false},
    {"password\xc3\xa4", false, false},
    {"zq8-unlikely-4x", false, false},
};

START_TEST(dictionary_words)
{
    ck_assert_int_eq(ma_dictionary_has(0, ma_span_str(words[_i].word)), words[_i].in_10k);
    ck_assert_int_eq(ma_dictionary_has(1, ma_span_str(words[_i].word)), words[_i].in_100k);
}
END_TEST

/* Every line of the list is found, in the short dictionary exactly when it is among the first 10,000, and not
 * with a byte more. Run from the top directory. */
START_TEST(dictionary_holds_the_file)
{
    FILE *f = fopen("conf/dictionary/en_100k.txt", "re");
    ck_assert_ptr_nonnull(f);
    char line[128];
    size_t n = 0;
    while (fgets(line, sizeof line, f)) {
        struct ma_span w = ma_span_of(line, strcspn(line, "\n"));
        ck_assert_msg(ma_dictionary_has(1, w), "%s", line);
        ck_assert_msg(ma_dictionary_has(0, w) == (n < 10000), "%s", line);
        n++;
        line[w.n] = '\x01';
        ck_assert(!ma_dictionary_has(1, ma_span_of(line, w.n + 1)));
    }
    fclose(f);
    ck_assert_uint_eq(n, 100000);
}
END_TEST

START_TEST(dictionary_word_lengths)
{
    uint8_t long_word[4096];
    memset(long_word, 'a', sizeof long_word);
    for (size_t n = 20; n <= sizeof long_word; n = n < 80 ? n + 1 : n * 2)
        ck_assert(!ma_dictionary_has(1, ma_span_of(long_word, n)));
    ck_assert(!ma_dictionary_has(1, MA_SPAN_NULL));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("password_policy");
    TCase *t = tcase_create("password_policy");
    suite_add_tcase(s, t);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, rules, 0, (int)MA_COUNT(rows));
    tcase_add_loop_test(t, truncation, 0, (int)MA_COUNT(cuts));
    tcase_add_test(t, rules_see_what_is_left);
    tcase_add_loop_test(t, profile_data, 0, (int)MA_COUNT(profiles));
    tcase_add_test(t, empty_profile);
    tcase_add_test(t, many_fields);
    tcase_add_test(t, out_of_memory_is_a_broken_rule);
    tcase_add_loop_test(t, dictionary_words, 0, (int)MA_COUNT(words));
    tcase_add_test(t, dictionary_holds_the_file);
    tcase_add_test(t, dictionary_word_lengths);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? 1 : 0;
}
