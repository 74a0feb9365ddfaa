/* SPDX-License-Identifier: Apache-2.0
 * The password policy: each rule is a predicate over the effective password, and each broken rule a sentence.
 */
#include "ma/password.h"
#include "ma/codec.h"

#define RUN_LENGTH 3        /* identical or sequential characters that make a run */
#define PROFILE_VALUE_MIN 3 /* characters; a shorter profile value blocks nothing */
#define FIELDS_TEXT_MAX 512 /* bytes of the sentence that names profile fields */

static const char *const unchecked = "Could not be checked against the password policy; try again";

/* Text as code points. */
struct text {
    uint32_t *cp;
    size_t n;
};

struct check {
    struct ma_arena *a;
    const struct ma_password_policy *p;
    struct ma_span password; /* the effective one */
    struct text plain, folded;
    const char **broken;
    size_t n;
};

static void broke(struct check *c, const char *sentence)
{
    if (c->n < MA_PASSWORD_RULES_MAX)
        c->broken[c->n++] = sentence ? sentence : unchecked;
}

/* --- characters --- */

static bool is_continuation(uint8_t b)
{
    return (b & 0xc0) == 0x80;
}

/* Simple case folding of the scripts whose letters pair up regularly: Latin, Greek, Cyrillic. */
static uint32_t fold(uint32_t c)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) || (c >= 0x391 && c <= 0x3a9) ||
        (c >= 0x410 && c <= 0x42f))
        return c + 32;
    if (c >= 0x400 && c <= 0x40f)
        return c + 80;
    /* Latin Extended-A: capitals are even up to U+0137 and from U+014A to U+0177, odd in between and after. */
    if ((c >= 0x100 && c <= 0x137) || (c >= 0x14a && c <= 0x177))
        return c | 1u;
    if ((c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e))
        return c + (c & 1u);
    return c;
}

/* Decodes UTF-8; a malformed sequence (not from the API, which checks) still never reads past the end. */
static bool decode(struct ma_arena *a, struct ma_span s, struct text *ret)
{
    *ret = (struct text){ma_arena_calloc(a, s.n + 1, sizeof *ret->cp), 0};
    if (!ret->cp)
        return false;
    for (size_t i = 0; i < s.n;) {
        uint8_t lead = s.p[i++];
        uint32_t cp = lead < 0x80 ? lead : lead < 0xe0 ? lead & 0x1fu : lead < 0xf0 ? lead & 0x0fu : lead & 0x07u;
        while (lead >= 0x80 && i < s.n && is_continuation(s.p[i]))
            cp = (cp & 0x3ffffffu) << 6 | (s.p[i++] & 0x3fu);
        ret->cp[ret->n++] = cp;
    }
    return true;
}

static bool decode_folded(struct ma_arena *a, struct ma_span s, struct text *ret)
{
    if (!decode(a, s, ret))
        return false;
    for (size_t i = 0; i < ret->n; i++)
        ret->cp[i] = fold(ret->cp[i]);
    return true;
}

static bool contains(struct text hay, struct text needle)
{
    for (size_t i = 0; i + needle.n <= hay.n; i++)
        if (memcmp(hay.cp + i, needle.cp, needle.n * sizeof *needle.cp) == 0)
            return true;
    return false;
}

/* --- length --- */

/* The longest prefix of at most MA_PASSWORD_MAX_BYTES that ends between characters. */
static struct ma_span truncated(struct ma_span password)
{
    if (password.n <= MA_PASSWORD_MAX_BYTES)
        return password;
    size_t n = MA_PASSWORD_MAX_BYTES;
    while (n > 0 && is_continuation(password.p[n]))
        n--;
    return ma_span_of(password.p, n);
}

static void check_length(struct check *c)
{
    if (c->password.n == 0)
        broke(c, "Must not be empty");
    else if (c->p->min_length > 0 && c->plain.n < (uint64_t)c->p->min_length)
        broke(c, ma_arena_printf(c->a, "Must be at least %lld characters long", (long long)c->p->min_length));
    if (c->password.n > MA_PASSWORD_MAX_BYTES)
        broke(c, ma_arena_printf(c->a, "Must not be longer than %d bytes", MA_PASSWORD_MAX_BYTES));
}

/* --- character types --- */

enum { TYPE_LOWER, TYPE_UPPER, TYPE_NUMBER, TYPE_SPECIAL, TYPE_COUNT };

static const char *const type_missing[TYPE_COUNT] = {
    "Must contain a lowercase letter (a-z)",
    "Must contain an uppercase letter (A-Z)",
    "Must contain a number (0-9)",
    "Must contain a special character",
};

static uint32_t type_bit(uint32_t cp)
{
    if (cp >= 'a' && cp <= 'z')
        return 1u << TYPE_LOWER;
    if (cp >= 'A' && cp <= 'Z')
        return 1u << TYPE_UPPER;
    return cp >= '0' && cp <= '9' ? 1u << TYPE_NUMBER : 1u << TYPE_SPECIAL;
}

static void check_types(struct check *c)
{
    uint32_t present = 0;
    for (size_t i = 0; i < c->plain.n; i++)
        present |= type_bit(c->plain.cp[i]);
    uint32_t asked = c->p->character_types & ((1u << TYPE_COUNT) - 1);
    if (c->p->character_type_rule == 1) {
        int needed = __builtin_popcount(asked) < 3 ? __builtin_popcount(asked) : 3;
        if (__builtin_popcount(present & asked) < needed)
            broke(c, "Must contain at least three of: lowercase letters, uppercase letters, numbers, special "
                     "characters");
        return;
    }
    for (unsigned type = 0; type < TYPE_COUNT; type++)
        if (asked & ~present & (1u << type))
            broke(c, type_missing[type]);
}

/* --- runs --- */

static bool is_identical(uint32_t before, uint32_t now, int step)
{
    (void)step;
    return before == now;
}

/* now follows before (step 1) or precedes it (step -1) among the letters or among the numbers. */
static bool is_sequential(uint32_t before, uint32_t now, int step)
{
    bool letters = before >= 'a' && before <= 'z' && now >= 'a' && now <= 'z';
    bool numbers = before >= '0' && before <= '9' && now >= '0' && now <= '9';
    return (letters || numbers) && (int64_t)now - (int64_t)before == step;
}

static bool has_run(struct text t, bool (*continues)(uint32_t, uint32_t, int), int step)
{
    size_t run = 1;
    for (size_t i = 1; i < t.n; i++) {
        run = continues(t.cp[i - 1], t.cp[i], step) ? run + 1 : 1;
        if (run >= RUN_LENGTH)
            return true;
    }
    return false;
}

static void check_runs(struct check *c)
{
    if (c->p->identical_characters == 1 && has_run(c->plain, is_identical, 0))
        broke(c, "Must not contain three or more identical characters in a row");
    if (c->p->sequential_characters == 1 &&
        (has_run(c->folded, is_sequential, 1) || has_run(c->folded, is_sequential, -1)))
        broke(c, "Must not contain three or more sequential characters in a row, like abc or 321");
}

/* --- profile data --- */

/* The value of one member of an object text, which has to be a string (last) or an object; p == NULL otherwise. */
static struct ma_span member(struct ma_arena *a, struct ma_span object, const char *name, bool last)
{
    struct ma_span value = MA_SPAN_NULL;
    const struct ma_jfield field = {.name = name, .type = last ? MA_F_STR : MA_F_RAWOBJ};
    const struct ma_shape shape = {sizeof value, &field, 1, true};
    struct ma_verrs *errs = ma_arena_zalloc(a, sizeof *errs);
    MA_CLEANUP(ma_json_free_p) struct ma_json *json = NULL;
    if (!errs || ma_json_parse(object, &json) != MA_OK)
        return MA_SPAN_NULL;
    errs->arena = a;
    return ma_json_decode(json, a, &shape, &value, errs) == MA_OK ? value : MA_SPAN_NULL;
}

static struct ma_span metadata_value(struct ma_arena *a, struct ma_span object, struct ma_span path)
{
    while (object.p && path.n > 0) {
        const uint8_t *dot = memchr(path.p, '.', path.n);
        size_t n = dot ? (size_t)(dot - path.p) : path.n;
        const char *name = ma_arena_strdup(a, ma_span_of(path.p, n));
        if (!name)
            return MA_SPAN_NULL;
        object = member(a, object, name, !dot);
        path = dot ? ma_span_of(dot + 1, path.n - n - 1) : MA_SPAN_NULL;
    }
    return object;
}

static struct ma_span profile_value(struct ma_arena *a, const struct ma_password_profile *p, struct ma_span field)
{
    const struct {
        const char *name;
        struct ma_span value;
    } known[] = {
        {"email", p->email},
        {"name", p->name},
        {"given_name", p->given_name},
        {"family_name", p->family_name},
        {"nickname", p->nickname},
        {"username", p->username},
        {"phone_number", p->phone_number},
    };
    static const struct ma_span prefix = {(const uint8_t *)"user_metadata.", sizeof "user_metadata." - 1};
    for (size_t i = 0; i < MA_COUNT(known); i++)
        if (ma_span_eq_str(field, known[i].name))
            return known[i].value;
    if (field.n > prefix.n && memcmp(field.p, prefix.p, prefix.n) == 0)
        return metadata_value(a, p->user_metadata, ma_span_of(field.p + prefix.n, field.n - prefix.n));
    return MA_SPAN_NULL;
}

/* The part of a value that is as telling as the whole: an address before its @, a number without its +. */
static struct ma_span telling_part(struct ma_span field, struct ma_span value)
{
    if (ma_span_eq_str(field, "email")) {
        const uint8_t *at = memrchr(value.p, '@', value.n);
        return at ? ma_span_of(value.p, (size_t)(at - value.p)) : value;
    }
    if (ma_span_eq_str(field, "phone_number") && value.p[0] == '+')
        return ma_span_of(value.p + 1, value.n - 1);
    return value;
}

/* The telling part lies inside the whole value, so looking for the part finds both; a part that is too short to
 * count leaves the whole. */
static bool reveals(struct check *c, struct ma_span field, struct ma_span value)
{
    value = ma_trim(value);
    if (value.n == 0)
        return false;
    const struct ma_span candidates[] = {telling_part(field, value), value};
    for (size_t i = 0; i < MA_COUNT(candidates); i++) {
        struct text t;
        if (!decode_folded(c->a, candidates[i], &t))
            return true;
        if (t.n >= PROFILE_VALUE_MIN && contains(c->folded, t))
            return true;
    }
    return false;
}

static void check_profile(struct check *c, const struct ma_password_profile *profile)
{
    struct ma_buf fields;
    ma_buf_init_arena(&fields, c->a, 64, FIELDS_TEXT_MAX);
    for (size_t i = 0; i < c->p->blocked_fields.n; i++) {
        struct ma_span field = c->p->blocked_fields.v[i];
        if (!reveals(c, field, profile_value(c->a, profile, field)))
            continue;
        ma_buf_str(&fields, fields.n ? ", " : "");
        ma_buf_span(&fields, field);
    }
    if (ma_buf_err(&fields) != MA_OK)
        broke(c, "Must not contain data of your profile");
    else if (fields.n > 0)
        broke(c, ma_arena_printf(c->a, "Must not contain data of your profile (%.*s)", (int)fields.n,
                                 (const char *)fields.p));
}

/* A list that cannot be read lets nothing pass: the old password goes on being good. */
static void check_breached(struct check *c, struct ma_breached *breached, struct ma_span typed)
{
    int r = ma_breached_has(breached, c->password);
    if (r == MA_E_NOTFOUND && typed.n != c->password.n)
        r = ma_breached_has(breached, typed);
    if (r == MA_OK)
        broke(c, "Must not be a password that is known from a data breach");
    else if (r != MA_E_NOTFOUND)
        broke(c, unchecked);
}

struct ma_span ma_password_effective(const struct ma_password_policy *p, struct ma_span password)
{
    return p->max_length_exceeded == 0 ? truncated(password) : password;
}

size_t ma_password_check(struct ma_arena *a, const struct ma_password_policy *p, struct ma_span password,
                         const struct ma_password_profile *profile, struct ma_breached *breached,
                         const char *broken[MA_PASSWORD_RULES_MAX], struct ma_span *ret_effective)
{
    struct check c = {.a = a, .p = p, .password = password, .broken = broken};
    *ret_effective = c.password = ma_password_effective(p, password);
    if (!decode(a, c.password, &c.plain) || !decode_folded(a, c.password, &c.folded)) {
        broke(&c, unchecked);
        return c.n;
    }
    check_length(&c);
    check_types(&c);
    check_runs(&c);
    if (p->profile_active && profile)
        check_profile(&c, profile);
    if (p->dictionary_active && ma_dictionary_has(p->dictionary, c.password))
        broke(&c, "Must not be a common password");
    check_breached(&c, breached, password);
    return c.n;
}
