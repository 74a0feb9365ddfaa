/* SPDX-License-Identifier: Apache-2.0
 * The pages after signing in: a first second factor, a new recovery code, consent.
 */
#include "login_int.h"

/* --- enrolment --- */

static void enrol_choice(struct ma_html *h, const struct ma_login *l, enum ma_factor type)
{
    ma_html_form(h, l, "enrol", NULL, NULL);
    ma_html_hidden(h, "method", ma_span_str(ma_factor_name(type)));
    if (type == MA_FACTOR_TOTP) {
        ma_html_submit(h, "Set up an authenticator app");
        return;
    }
    if (type == MA_FACTOR_EMAIL) {
        ma_html_raw(h, "<button>Get codes by email at ");
        ma_html_text(h, l->user.email);
        ma_html_raw(h, "</button></form>\n");
        return;
    }
    ma_html_raw(h, "\n<label for=\"address\">Phone number</label>\n<input id=\"address\" name=\"address\" type=\"tel\" "
                   "autocomplete=\"tel\" maxlength=\"32\" required value=\"");
    ma_html_text(h, l->user.phone_number);
    ma_html_raw(h, "\">\n");
    ma_html_submit(h, "Get codes by text message");
}

int ma_page_enrol(struct ma_ctx *ctx, struct ma_login *l, bool offer)
{
    static const enum ma_factor order[] = {MA_FACTOR_TOTP, MA_FACTOR_EMAIL, MA_FACTOR_PHONE};
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, "Protect your account", ma_form_targets(ctx, l->req.redirect_uri), false);
    ma_html_note(&h, l);
    ma_html_para(&h, NULL,
                 offer ? "A second step when you sign in keeps others out, even if they know your password."
                       : "A second step is required to sign in. Choose how you want to do it.");
    for (size_t i = 0; i < MA_COUNT(order); i++)
        if (l->enrol_open & 1u << order[i])
            enrol_choice(&h, l, order[i]);
    if (offer) {
        ma_html_form(&h, l, "skip", "second", NULL);
        ma_html_submit(&h, "Not now");
    }
    ma_html_whose(&h, l);
    return ma_html_end(&h);
}

/* The key in groups of four, as people type it. */
static void grouped(struct ma_html *h, struct ma_span text)
{
    for (size_t i = 0; i < text.n; i += 4) {
        if (i > 0)
            ma_buf_byte(h->b, ' ');
        ma_html_text(h, ma_span_of(text.p + i, text.n - i < 4 ? text.n - i : 4));
    }
}

int ma_page_confirm(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    bool app = l->st.enrol == MA_FACTOR_TOTP;
    ma_html_begin(&h, ctx, 200, app ? "Set up your authenticator app" : "Enter the code",
                  ma_form_targets(ctx, l->req.redirect_uri), false);
    ma_html_note(&h, l);
    if (app) {
        ma_html_raw(&h, "<p>Add this account to the app: <a href=\"");
        ma_html_text(&h, l->st.enrol_uri);
        ma_html_raw(&h, "\">open it on this device</a>, or enter this key:</p>\n<code class=\"code\" id=\"key\">");
        grouped(&h, l->st.enrol_manual);
        ma_html_raw(&h, "</code>\n<p>Then enter the code that the app shows.</p>\n");
    } else {
        ma_html_raw(&h, "<p class=\"note\" role=\"status\">We sent a code to ");
        ma_html_text(&h, l->st.enrol_address);
        ma_html_raw(&h, ".</p>\n");
    }
    ma_html_form(&h, l, "confirm", NULL, NULL);
    ma_html_raw(&h, "\n<label for=\"code\">Code</label>\n<input id=\"code\" name=\"code\" type=\"text\" "
                    "inputmode=\"numeric\" autocomplete=\"one-time-code\" maxlength=\"12\" required autofocus>\n");
    ma_html_submit(&h, "Continue");
    ma_html_form(&h, l, "skip", "second", NULL);
    ma_html_submit(&h, l->assured ? "Not now" : "Choose another way");
    ma_html_whose(&h, l);
    return ma_html_end(&h);
}

/* --- a new recovery code --- */

int ma_page_recovery(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, "Your new recovery code", ma_form_targets(ctx, l->req.redirect_uri), false);
    ma_html_para(&h, NULL, "The code you used is gone. Keep this one in a safe place: it is shown only now.");
    ma_html_raw(&h, "<code class=\"code\" id=\"recovery-code\">");
    ma_html_text(&h, l->st.recovery);
    ma_html_raw(&h, "</code>\n");
    ma_html_form(&h, l, "continue", NULL, NULL);
    ma_html_submit(&h, "I have kept it");
    return ma_html_end(&h);
}

/* --- consent --- */

static const struct {
    const char *scope, *text;
} scope_texts[] = {
    {"openid", "Know who you are"},
    {"profile", "See your name and profile"},
    {"email", "See your email address"},
    {"phone", "See your phone number"},
    {"address", "See your postal address"},
    {"offline_access", "Stay connected when you are not using it"},
    {"read:me:authentication_methods", "See how you sign in"},
    {"create:me:authentication_methods", "Add ways for you to sign in"},
    {"update:me:authentication_methods", "Change how you sign in"},
    {"delete:me:authentication_methods", "Remove ways for you to sign in"},
    {"read:me:factors", "See which sign-in methods you can use"},
    {"create:me:connected_accounts", "Connect your accounts at other services"},
    {"read:me:connected_accounts", "See your connected accounts"},
    {"delete:me:connected_accounts", "Disconnect your connected accounts"},
    {"read:me:consents", "See which applications you gave access"},
    {"read:me:organizations", "See the organizations you belong to"},
};

static void scope_line(struct ma_html *h, struct ma_span scope)
{
    ma_html_raw(h, "<li>");
    for (size_t i = 0; i < MA_COUNT(scope_texts); i++) {
        if (!ma_span_eq_str(scope, scope_texts[i].scope))
            continue;
        ma_html_raw(h, scope_texts[i].text);
        ma_html_raw(h, "</li>\n");
        return;
    }
    ma_html_raw(h, "<code>");
    ma_html_text(h, scope);
    ma_html_raw(h, "</code></li>\n");
}

int ma_page_consent(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    struct ma_span rest = l->granted.scope, word;
    ma_html_begin(&h, ctx, 200, "Give access?", ma_form_targets(ctx, l->req.redirect_uri), false);
    ma_html_raw(&h, "<p><strong>");
    ma_html_text(&h, l->client->name.n > 0 ? l->client->name : l->client->client_id);
    ma_html_raw(&h, "</strong> wants to use your account. It asks to:</p>\n<ul>\n");
    while (ma_scope_next(&rest, &word))
        scope_line(&h, word);
    ma_html_raw(&h, "</ul>\n");
    if (l->granted.audience.n > 0 && !l->granted.is_api) {
        ma_html_raw(&h, "<p class=\"soft\">at <code>");
        ma_html_text(&h, l->granted.audience);
        ma_html_raw(&h, "</code></p>\n");
    }
    ma_html_form(&h, l, "allow", NULL, NULL);
    ma_html_submit(&h, "Allow");
    ma_html_form(&h, l, "deny", "second", NULL);
    ma_html_submit(&h, "Deny");
    ma_html_whose(&h, l);
    return ma_html_end(&h);
}
