/* SPDX-License-Identifier: Apache-2.0
 * What a token endpoint answers (RFC 6749 §5.1), with the liberties that providers take.
 */
#include "ma/provider.h"
#include "int.h"
#include "ma/codec.h"

#include <strings.h>

#define LIFETIME_MAX_S INT64_C(3153600000) /* a hundred years: sums of milliseconds stay far from overflow */
#define PATH_MAX_BYTES 512u
#define ASSUMED_LIFETIME_S 3600 /* where a preset has no habit on record */

struct members {
    struct ma_span access_token, refresh_token, id_token, token_type;
    struct ma_span_list scope;
    bool has_scope;
};
#define TEXT(member)                                                                                                   \
    {                                                                                                                  \
        .name = #member, .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct members, member)                 \
    }
static const struct ma_jfield MEMBER_FIELDS[] = {
    TEXT(access_token),
    TEXT(refresh_token),
    TEXT(id_token),
    TEXT(token_type),
    {.name = "scope",
     .type = MA_F_STR_OR_LIST,
     .flags = MA_NULLOK,
     .off = offsetof(struct members, scope),
     .has_off = offsetof(struct members, has_scope)},
};
static const struct ma_shape MEMBERS_SHAPE = MA_SHAPE_OPEN(struct members, MEMBER_FIELDS);

static int take_token(struct ma_span s, struct ma_span *ret)
{
    *ret = s.n ? s : MA_SPAN_NULL;
    if (s.n > MA_PROVIDER_TOKEN_MAX)
        return MA_E_RANGE;
    return ma_utf8_has_control(s) ? MA_E_UPSTREAM : MA_OK;
}

static int take_tokens(const struct members *m, struct ma_provider_tokens *ret, struct ma_provider_fault *fault)
{
    int r = take_token(m->access_token, &ret->access_token);
    if (r == MA_OK)
        r = take_token(m->refresh_token, &ret->refresh_token);
    if (r == MA_OK)
        r = take_token(m->id_token, &ret->id_token);
    if (r < 0)
        return ma_provider_fail(fault, r, "token endpoint: a token is too long or holds control characters");
    if (!ret->access_token.n)
        return ma_provider_fail(fault, MA_E_UPSTREAM, "token endpoint: the answer has no access token");
    return MA_OK;
}

static bool is_word(struct ma_span s, const char *word)
{
    return s.n == strlen(word) && strncasecmp((const char *)s.p, word, s.n) == 0;
}

/* RFC 6749 §7.1: a token of a type that is not understood must not be used. Where the user's token is a member of the
 * answer, the type says whose it is: the application's own ("bot") is nobody's account. */
static bool type_ok(const struct ma_preset *row, struct ma_span type)
{
    return type.n == 0 || is_word(type, "bearer") || (row->token_member && is_word(type, "user"));
}

/* RFC 6749 §3.3 separates by blanks; GitHub and Slack by commas. */
static int take_scopes(struct ma_arena *a, const struct members *m, struct ma_provider_tokens *ret)
{
    struct ma_span_list *l = &ret->scopes;
    ret->has_scopes = m->has_scope;
    l->v = ma_arena_calloc(a, MA_PROVIDER_SCOPES_MAX, sizeof(*l->v));
    if (!l->v)
        return MA_E_NOMEM;
    for (size_t i = 0; i < m->scope.n; i++) {
        struct ma_span rest = m->scope.v[i], word;
        while (l->n < MA_PROVIDER_SCOPES_MAX && ma_next_word(&rest, " ,\t\r\n", &word)) {
            if (ma_scope_ok(word) && !ma_span_list_has(l, word))
                l->v[l->n++] = word;
        }
    }
    ma_list_sort_unique(l);
    return MA_OK;
}

/* --- members found by a path --- */

/* The value at prefix.name, or at name where there is no prefix. MA_E_NOTFOUND. */
static int value_at(struct ma_arena *a, const struct ma_json *j, const char *prefix, struct ma_span name,
                    struct ma_span *ret)
{
    struct ma_buf b;
    *ret = MA_SPAN_NULL;
    ma_buf_init_arena(&b, a, 64, PATH_MAX_BYTES);
    if (prefix) {
        ma_buf_str(&b, prefix);
        ma_buf_byte(&b, '.');
    }
    ma_buf_span(&b, name);
    return ma_buf_err(&b) < 0 ? ma_buf_err(&b) : ma_json_at(j, ma_buf_view(&b), a, ret);
}

/* Seconds from an integer, or from one in a string as some providers write it; -1: neither. */
static int64_t seconds_of(struct ma_span s)
{
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        v = v > LIFETIME_MAX_S ? v : v * 10 + (s.p[i] - '0');
    }
    if (s.n == 0)
        return -1;
    return v > LIFETIME_MAX_S ? LIFETIME_MAX_S : v;
}

/* Whether expires_in means to say something: null does not. */
static bool says_lifetime(const struct ma_json *j, const char *prefix)
{
    enum ma_json_type t = prefix ? ma_json_part_member(j, prefix, MA_JSON_WHOLE, "expires_in")
                                 : ma_json_part_type(j, "expires_in", MA_JSON_WHOLE);
    return t != MA_JSON_ABSENT && t != MA_JSON_NULL;
}

static int take_lifetimes(struct ma_arena *a, const struct ma_preset *row, const struct ma_json *j, const char *prefix,
                          struct ma_provider_tokens *ret)
{
    static const char *const names[] = {"refresh_token_expires_in", "refresh_expires_in", "x_refresh_token_expires_in"};
    struct ma_span v;
    ret->expires_in_s = ret->refresh_expires_in_s = -1;
    int r = value_at(a, j, prefix, MA_LIT("expires_in"), &v);
    if (r == MA_E_NOMEM)
        return r;
    ret->expires_in_s = seconds_of(v);
    /* It lapses, though nobody knows when: never would be the one reading that is surely wrong. */
    if (ret->expires_in_s < 0 && says_lifetime(j, prefix))
        ret->expires_in_s = row->assumed_lifetime_s > 0 ? row->assumed_lifetime_s : ASSUMED_LIFETIME_S;
    for (size_t i = 0; i < MA_COUNT(names) && ret->refresh_expires_in_s <= 0; i++) {
        r = value_at(a, j, prefix, ma_span_str(names[i]), &v);
        if (r == MA_E_NOMEM)
            return r;
        ret->refresh_expires_in_s = seconds_of(v);
    }
    if (ret->refresh_expires_in_s == 0) /* Keycloak's word for "does not expire" */
        ret->refresh_expires_in_s = -1;
    return MA_OK;
}

static int take_user_id(const struct ma_provider_env *env, const struct ma_provider *p, const struct ma_json *j,
                        struct ma_provider_tokens *ret)
{
    const struct ma_preset *row = p->connection->provider.preset;
    if (!row->token_member)
        return MA_OK;
    int r = value_at(env->arena, j, row->token_member, ma_user_id_field(p->connection), &ret->user_id);
    return r == MA_E_NOMEM ? r : MA_OK;
}

/* The members that hold the user's tokens: those below token_member when there is a token, else the answer's own. */
static int find_members(struct ma_arena *a, const struct ma_json *j, const char *member, const char **ret_prefix,
                        struct members *ret)
{
    struct ma_span token;
    *ret_prefix = NULL;
    int r = member ? value_at(a, j, member, MA_LIT("access_token"), &token) : MA_E_NOTFOUND;
    if (r == MA_E_NOMEM)
        return r;
    if (r < 0 || !token.n)
        return ma_json_decode(j, a, &MEMBERS_SHAPE, ret, NULL);
    *ret_prefix = member;
    return ma_json_part_decode(j, member, MA_JSON_WHOLE, a, &MEMBERS_SHAPE, ret, NULL);
}

int ma_tokens_read(const struct ma_provider_env *env, const struct ma_provider *p, const struct ma_json *j,
                   struct ma_provider_tokens *ret, struct ma_provider_fault *fault)
{
    const struct ma_preset *row = p->connection->provider.preset;
    struct members m = {.has_scope = false};
    const char *prefix = NULL;
    *ret = (struct ma_provider_tokens){.has_scopes = false};
    int r = find_members(env->arena, j, row->token_member, &prefix, &m);
    if (r == MA_E_NOMEM)
        return r;
    if (r < 0)
        return ma_provider_fail(fault, MA_E_UPSTREAM, "token endpoint: a member of the answer has another type");
    r = take_tokens(&m, ret, fault);
    if (r < 0)
        return r;
    if (!type_ok(row, m.token_type))
        return ma_provider_fail(fault, MA_E_UPSTREAM, "token endpoint: the token is of a type that is not known");
    r = take_scopes(env->arena, &m, ret);
    if (r == MA_OK)
        r = take_lifetimes(env->arena, row, j, prefix, ret);
    return r == MA_OK ? take_user_id(env, p, j, ret) : r;
}
