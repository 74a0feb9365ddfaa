/* SPDX-License-Identifier: Apache-2.0
 * Token requests (RFC 6749 §4.1.3, §6) and revocation (RFC 7009).
 */
#include "ma/provider.h"
#include "int.h"

#define FORM_MAX (4u * MA_PROVIDER_TOKEN_MAX + 16384u) /* bytes; every byte of a token may become three */
#define FORM_HINT 1024u

static int ask(const struct ma_provider_env *env, const struct ma_provider *p, struct ma_buf *form,
               struct ma_provider_tokens *ret, struct ma_provider_fault *fault)
{
    static const char what[] = "token endpoint";
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_http_answer ans;
    int r = ma_provider_post(env, p, p->token_endpoint, what, form, &ans, fault);
    if (r == MA_OK)
        r = ma_provider_judge(env, &ans, what, &j, fault);
    if (r < 0)
        return r;
    if (!j)
        return ma_provider_fail(fault, MA_E_UPSTREAM, "%s: the answer is no JSON object", what);
    return ma_tokens_read(env, p, j, ret, fault);
}

int ma_provider_redeem(const struct ma_provider_env *env, const struct ma_provider *p, struct ma_span code,
                       const char *redirect_uri, const char *verifier, struct ma_provider_tokens *ret,
                       struct ma_provider_fault *fault)
{
    struct ma_buf form;
    *fault = (struct ma_provider_fault){.error = ""};
    ma_buf_init_arena(&form, env->arena, FORM_HINT, FORM_MAX);
    ma_form_put(&form, "grant_type", MA_LIT("authorization_code"));
    ma_form_put(&form, "code", code);
    ma_form_put(&form, "redirect_uri", ma_span_str(redirect_uri));
    if (p->connection->provider.pkce && verifier)
        ma_form_put(&form, "code_verifier", ma_span_str(verifier));
    return ask(env, p, &form, ret, fault);
}

int ma_provider_refresh(const struct ma_provider_env *env, const struct ma_provider *p, struct ma_span refresh_token,
                        struct ma_provider_tokens *ret, struct ma_provider_fault *fault)
{
    struct ma_buf form;
    *fault = (struct ma_provider_fault){.error = ""};
    ma_buf_init_arena(&form, env->arena, FORM_HINT, FORM_MAX);
    ma_form_put(&form, "grant_type", MA_LIT("refresh_token"));
    ma_form_put(&form, "refresh_token", refresh_token);
    return ask(env, p, &form, ret, fault);
}

int ma_provider_revoke(const struct ma_provider_env *env, const struct ma_provider *p, struct ma_span token,
                       const char *hint, struct ma_provider_fault *fault)
{
    static const char what[] = "revocation endpoint";
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_http_answer ans;
    struct ma_buf form;
    *fault = (struct ma_provider_fault){.error = ""};
    if (!p->revocation_endpoint)
        return ma_provider_fail(fault, MA_E_UNSUPPORTED, "the provider has no revocation endpoint");
    ma_buf_init_arena(&form, env->arena, FORM_HINT, FORM_MAX);
    ma_form_put(&form, "token", token);
    ma_form_put(&form, "token_type_hint", ma_span_str(hint));
    int r = ma_provider_post(env, p, p->revocation_endpoint, what, &form, &ans, fault);
    /* RFC 7009 §2.2: the status says it all, the body nothing. */
    if (r < 0 || (ans.status >= 200 && ans.status < 300))
        return r;
    return ma_provider_judge(env, &ans, what, &j, fault);
}
