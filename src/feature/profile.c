/* SPDX-License-Identifier: Apache-2.0
 * What users say of themselves, and who may say it.
 */
#include "ma/account.h"

#include "int.h"

#define PROFILE_DONE "my_account_profile_succeeded"
#define PROFILE_FAILED "my_account_profile_failed"
enum { DETAIL_MAX = 512 };

#define FIELD_NAME(id, name) name,
static const char *const names[] = {MA_PROFILE_FIELDS(FIELD_NAME)};
#undef FIELD_NAME

const char *ma_profile_field_name(enum ma_profile_field f)
{
    return f < MA_PROFILE__COUNT ? names[f] : "";
}

static bool configured(const struct ma_conf *c, enum ma_profile_field f)
{
    switch (f) {
    case MA_PROFILE_NAME:
        return c->profile.name;
    case MA_PROFILE_GIVEN_NAME:
        return c->profile.given_name;
    case MA_PROFILE_FAMILY_NAME:
        return c->profile.family_name;
    case MA_PROFILE_NICKNAME:
        return c->profile.nickname;
    case MA_PROFILE_PICTURE:
        return c->profile.picture;
    case MA_PROFILE_USER_METADATA:
        return c->profile.user_metadata;
    case MA_PROFILE_EMAIL:
    case MA_PROFILE_EMAIL_VERIFIED:
    case MA_PROFILE_PHONE_NUMBER:
    case MA_PROFILE__COUNT:
        break;
    }
    return false;
}

struct ma_field_policy ma_profile_policy(const struct ma_ctx *ctx, enum ma_profile_field f)
{
    if (f >= MA_PROFILE_EMAIL)
        return (struct ma_field_policy){false, "verification", "An address is not changed here: it must be proven."};
    if (!configured(ctx->conf, f))
        return (struct ma_field_policy){false, "administrator", "The administrator keeps this field."};
    if (!ctx->who.has_database && f != MA_PROFILE_USER_METADATA)
        return (struct ma_field_policy){false, "identity_provider",
                                        "The identity provider that signs you in keeps this field."};
    return (struct ma_field_policy){.writable = true};
}

static struct ma_span *slot(struct ma_profile *p, enum ma_profile_field f)
{
    struct ma_span *const slots[] = {&p->name, &p->given_name, &p->family_name, &p->nickname, &p->picture};
    return slots[f];
}

static int merge_metadata(struct ma_ctx *ctx, struct ma_profile *p, struct ma_span patch)
{
    if (!patch.p) {
        p->user_metadata = MA_SPAN_NULL;
        return MA_OK;
    }
    struct ma_span base = p->user_metadata.p ? p->user_metadata : MA_LIT("{}");
    int r = ma_json_merge(ctx->arena, base, patch, &p->user_metadata);
    if (r == MA_OK && p->user_metadata.n > MA_USER_METADATA_MAX)
        return ma_problem_at(ctx, "/user_metadata", "must NOT be larger than 16384 bytes as a whole");
    return r;
}

/* Which fields, never what they hold. */
static int audit(struct ma_ctx *ctx, const struct ma_profile_change *change)
{
    struct ma_buf b;
    struct ma_jw w;
    ma_buf_init_arena(&b, ctx->arena, 128, DETAIL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_obj(&w);
    ma_jw_key(&w, "fields");
    ma_jw_arr(&w);
    for (int f = 0; f < MA_PROFILE__COUNT; f++)
        if (change->given[f])
            ma_jw_cstr(&w, names[f]);
    ma_jw_arr_end(&w);
    ma_jw_obj_end(&w);
    int r = ma_buf_err(&b);
    return r == MA_OK ? ma_audit_operation(ctx, PROFILE_DONE, "update", ma_buf_view(&b)) : r;
}

int ma_profile_change(struct ma_ctx *ctx, const struct ma_profile_change *change)
{
    struct ma_profile p;
    bool any = false;
    ma_audit_failure_as(ctx, PROFILE_FAILED, "update");
    int r = ma_profile_get(ctx->db, ctx->arena, ctx->who.user_id, &p);
    for (int f = 0; r == MA_OK && f < MA_PROFILE__COUNT; f++) {
        if (!change->given[f])
            continue;
        any = true;
        if (f == MA_PROFILE_USER_METADATA)
            r = merge_metadata(ctx, &p, change->metadata);
        else
            *slot(&p, (enum ma_profile_field)f) = change->text[f];
    }
    if (r != MA_OK || !any)
        return r;
    ctx->user_changed = true;
    r = ma_profile_put(ctx->db, ctx->who.user_id, &p, ctx->now_ms);
    return r == MA_OK ? audit(ctx, change) : r;
}
