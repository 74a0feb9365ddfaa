/* SPDX-License-Identifier: Apache-2.0
 * /security/password: setting a new password through a link, under the password policy of the user's connection.
 */
#include "security_int.h"

struct reset_step {
    struct ma_login_form form;
    struct ma_reset reset;
    struct ma_new_password password;
};

/* --- pages --- */

static int form(struct ma_ctx *ctx, int status, struct ma_span token, int64_t min_length)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, status, "Set a new password", "", false);
    if (ctx->errs && ctx->errs->n > 0) {
        ma_html_raw(&h, "<div class=\"alert\" role=\"alert\"><ul>\n");
        for (size_t i = 0; i < ctx->errs->n; i++) {
            ma_html_raw(&h, "<li>");
            ma_html_text(&h, ma_span_str(ctx->errs->v[i].detail));
            ma_html_raw(&h, "</li>\n");
        }
        ma_html_raw(&h, "</ul></div>\n");
    }
    ma_buf_printf(h.b, "<p>Choose a password that you use nowhere else, of %lld characters or more.</p>\n",
                  (long long)min_length);
    int r = ma_link_form(&h, MA_RESET_PATH, token, "set");
    if (r < 0)
        return r;
    ma_html_raw(&h, "\n<label for=\"password\">New password</label>\n<input id=\"password\" name=\"password\" "
                    "type=\"password\" autocomplete=\"new-password\" maxlength=\"1024\" required autofocus>\n");
    ma_html_submit(&h, "Set password");
    return ma_html_end(&h);
}

int ma_op_reset_page(struct ma_ctx *ctx)
{
    struct ma_reset reset;
    const struct ma_password_policy *policy = NULL;
    struct ma_span token = ma_query(ctx, "token");
    int r = ma_link_limit(ctx);
    if (r == MA_OK)
        r = ma_reset_find(ctx, token, &reset, &policy);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    return r == MA_OK ? form(ctx, 200, token, policy->min_length) : r;
}

/* --- the form --- */

static int finish(struct ma_ctx *ctx)
{
    struct reset_step *s = ctx->scratch;
    struct ma_html h;
    int r = ma_reset_finish(ctx, &s->reset, &s->password);
    if (r == MA_E_CONFLICT)
        return ma_link_dead(ctx);
    if (r < 0)
        return r;
    ma_html_begin(&h, ctx, 200, "Your password was set", "", false);
    ma_html_para(&h, "note", "Sign in with it in the application as you always do.");
    ma_html_para(&h, NULL, "Every session of your account has ended.");
    return ma_html_end(&h);
}

/* ctx->errs is still what the check found. */
static int refused(struct ma_ctx *ctx)
{
    struct reset_step *s = ctx->scratch;
    struct ma_reset reset;
    const struct ma_password_policy *policy = NULL;
    int r = s->password.reused ? ma_reset_refused(ctx) : MA_OK;
    if (r == MA_OK)
        r = ma_reset_find(ctx, s->form.state, &reset, &policy);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    return r == MA_OK ? form(ctx, 400, s->form.state, policy->min_length) : r;
}

static int check(struct ma_ctx *ctx)
{
    struct reset_step *s = ctx->scratch;
    int r = ma_reset_prepare(ctx, s->form.password, &s->password);
    if (r != MA_OK)
        return r;
    return ma_next(ctx, MA_LANE_WRITE, ctx->errs->n > 0 ? refused : finish);
}

int ma_op_reset_post(struct ma_ctx *ctx)
{
    struct reset_step *s = ma_arena_zalloc(ctx->arena, sizeof *s);
    const struct ma_password_policy *policy = NULL;
    if (!s)
        return MA_E_NOMEM;
    ctx->scratch = s;
    int r = ma_link_read(ctx, &s->form);
    if (r != MA_OK)
        return r;
    r = ma_reset_find(ctx, s->form.state, &s->reset, &policy);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    return r == MA_OK ? ma_next(ctx, MA_LANE_CPU, check) : r;
}
