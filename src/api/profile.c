/* SPDX-License-Identifier: Apache-2.0
 * GET and PATCH /profile.
 */
#include "int.h"

#include "ma/account.h"
#include "ma/codec.h"
#include "ma/jsonr.h"

/* --- reading --- */

static void put_text(struct ma_jw *w, enum ma_profile_field f, struct ma_span v)
{
    if (v.p)
        ma_jw_kstr(w, ma_profile_field_name(f), v);
}

static void put_policy(struct ma_ctx *ctx, struct ma_jw *w)
{
    ma_jw_key(w, "policy");
    ma_jw_obj(w);
    for (int f = 0; f < MA_PROFILE__COUNT; f++) {
        struct ma_field_policy p = ma_profile_policy(ctx, (enum ma_profile_field)f);
        ma_jw_key(w, ma_profile_field_name((enum ma_profile_field)f));
        ma_jw_obj(w);
        ma_jw_kcstr(w, "access", p.writable ? "read_write" : "read_only");
        if (!p.writable) {
            ma_jw_kcstr(w, "reason", p.reason);
            ma_jw_kcstr(w, "description", p.why);
        }
        ma_jw_obj_end(w);
    }
    ma_jw_obj_end(w);
}

static int reply(struct ma_ctx *ctx)
{
    struct ma_user u;
    struct ma_profile p;
    struct ma_jw w;
    int r = ma_user_get(ctx->db, ctx->arena, ctx->who.user_id, &u);
    if (r == MA_OK)
        r = ma_profile_get(ctx->db, ctx->arena, ctx->who.user_id, &p);
    if (r < 0)
        return r;
    ma_reply_json(ctx, 200, &w);
    ma_jw_obj(&w);
    ma_jw_kstr(&w, "user_id", u.user_id);
    put_text(&w, MA_PROFILE_NAME, p.name);
    put_text(&w, MA_PROFILE_GIVEN_NAME, p.given_name);
    put_text(&w, MA_PROFILE_FAMILY_NAME, p.family_name);
    put_text(&w, MA_PROFILE_NICKNAME, p.nickname);
    put_text(&w, MA_PROFILE_PICTURE, p.picture);
    put_text(&w, MA_PROFILE_EMAIL, u.email);
    if (u.email.p)
        ma_jw_kbool(&w, ma_profile_field_name(MA_PROFILE_EMAIL_VERIFIED), u.email_verified);
    put_text(&w, MA_PROFILE_PHONE_NUMBER, u.phone_number);
    ma_jw_key(&w, ma_profile_field_name(MA_PROFILE_USER_METADATA));
    ma_jw_raw(&w, p.user_metadata.p ? p.user_metadata : MA_LIT("{}"));
    ma_jw_kdate(&w, "created_at", u.created_at);
    ma_jw_kdate(&w, "updated_at", u.updated_at);
    put_policy(ctx, &w);
    ma_jw_obj_end(&w);
    return ma_reply_end(ctx);
}

int ma_op_get_profile(struct ma_ctx *ctx)
{
    return reply(ctx);
}

/* --- changing --- */

static bool is_clean(struct ma_span s)
{
    return !ma_utf8_has_control(s);
}

/* Browsers load it from a page: nothing but https, and nothing that could end an attribute or a header. */
static bool is_picture(struct ma_span s)
{
    static const char https[] = "https://";
    if (s.n <= sizeof https - 1 || memcmp(s.p, https, sizeof https - 1) != 0)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f || strchr("\"'<>\\^`{|}", s.p[i]))
            return false;
    return s.p[sizeof https - 1] != '/';
}

struct body {
    bool spare; /* has_off 0 means "none": no flag may stand first */
    struct ma_span text[MA_PROFILE_USER_METADATA], metadata;
};
#define TEXT(f, most, test, words)                                                                                     \
    {                                                                                                                  \
        .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct body, text) + (f) * sizeof(struct ma_span),       \
        .min = 1, .max = (most), .check = (test), .check_text = (words)                                                \
    }
#define PERSON(f) TEXT(f, MA_PROFILE_TEXT_MAX, is_clean, "must not hold control characters")

/* In the order of enum ma_profile_field; what nobody writes here is known all the same, and refused with its reason. */
static const struct ma_jfield templates[MA_PROFILE__COUNT] = {
    [MA_PROFILE_NAME] = PERSON(MA_PROFILE_NAME),
    [MA_PROFILE_GIVEN_NAME] = PERSON(MA_PROFILE_GIVEN_NAME),
    [MA_PROFILE_FAMILY_NAME] = PERSON(MA_PROFILE_FAMILY_NAME),
    [MA_PROFILE_NICKNAME] = PERSON(MA_PROFILE_NICKNAME),
    [MA_PROFILE_PICTURE] =
        TEXT(MA_PROFILE_PICTURE, MA_PROFILE_PICTURE_MAX, is_picture, "must match format \"uri\" with scheme https"),
    [MA_PROFILE_USER_METADATA] = {.type = MA_F_RAWOBJ, .flags = MA_NULLOK, .off = offsetof(struct body, metadata)},
    [MA_PROFILE_EMAIL] = {.type = MA_F_ANY},
    [MA_PROFILE_EMAIL_VERIFIED] = {.type = MA_F_ANY},
    [MA_PROFILE_PHONE_NUMBER] = {.type = MA_F_ANY},
};

static int decode(struct ma_ctx *ctx, struct body *b)
{
    struct ma_jfield fields[MA_PROFILE__COUNT];
    const struct ma_shape shape = MA_SHAPE(struct body, fields);
    for (int f = 0; f < MA_PROFILE__COUNT; f++) {
        fields[f] = templates[f];
        fields[f].name = ma_profile_field_name((enum ma_profile_field)f);
    }
    return ma_body(ctx, &shape, b);
}

static void refuse_field(struct ma_ctx *ctx, const char *name, const char *why)
{
    const char *pointer = ma_arena_printf(ctx->arena, "/%s", name);
    const char *detail = ma_arena_printf(ctx->arena, "must NOT be changed: %s", why);
    ma_verr_add(ctx->errs, pointer ? pointer : "", detail ? detail : why, name);
}

int ma_op_update_profile_prepare(struct ma_ctx *ctx)
{
    struct body b = {.spare = false};
    struct ma_profile_change *change = ma_arena_zalloc(ctx->arena, sizeof *change);
    ctx->scratch = change;
    int r = change ? decode(ctx, &b) : MA_E_NOMEM;
    if (r != MA_OK)
        return r;
    for (int f = 0; f < MA_PROFILE__COUNT; f++) {
        const char *name = ma_profile_field_name((enum ma_profile_field)f);
        struct ma_field_policy policy = ma_profile_policy(ctx, (enum ma_profile_field)f);
        change->given[f] = ma_json_part_type(ctx->json, name, MA_JSON_WHOLE) != MA_JSON_ABSENT;
        if (change->given[f] && !policy.writable)
            refuse_field(ctx, name, policy.why);
    }
    memcpy(change->text, b.text, sizeof change->text);
    change->metadata = b.metadata;
    return ctx->errs->n ? ma_problem_validation(ctx) : MA_OK;
}

int ma_op_update_profile(struct ma_ctx *ctx)
{
    int r = ma_profile_change(ctx, ctx->scratch);
    return r == MA_OK ? reply(ctx) : r;
}
