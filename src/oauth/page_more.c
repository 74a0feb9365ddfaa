/* SPDX-License-Identifier: Apache-2.0
 * The pages after signing in: a new recovery code, what cannot be met, consent.
 */
#include "login_int.h"

/* --- a new recovery code --- */

/* It comes in place of one that was used, or with the first factor. It stays on the page until the user says that it is
 * kept: one that nobody wrote down would be lost for good. */
int ma_page_recovery(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    bool used = (l->st.authn.amr & MA_AMR_RECOVERY) != 0;
    ma_html_begin(&h, ctx, 200, used ? "Your new recovery code" : "Your recovery code",
                  ma_form_targets(ctx, l->req.redirect_uri), false);
    ma_html_para(&h, NULL,
                 used ? "The code you used is gone. Keep this one in a safe place."
                      : "This code lets you in, once, when you cannot use your other method. Keep it in a safe place.");
    ma_html_raw(&h, "<code class=\"code\" id=\"recovery-code\">");
    ma_html_text(&h, l->st.recovery);
    ma_html_raw(&h, "</code>\n");
    ma_html_para(&h, "soft", "It stays on this page until you confirm that you have kept it, and is not shown again.");
    ma_html_form(&h, l, "continue", NULL, NULL);
    ma_html_submit(&h, "I have kept it");
    return ma_html_end(&h);
}

/* --- what cannot be met --- */

static const char *needed(enum ma_factor type)
{
    static const char *const texts[MA_FACTOR__COUNT] = {
        [MA_FACTOR_TOTP] = "an authenticator app",
        [MA_FACTOR_EMAIL] = "a code by email",
        [MA_FACTOR_PHONE] = "a code by text message or phone call",
        [MA_FACTOR_PUSH] = "an approval on your phone",
        [MA_FACTOR_RECOVERY] = "a recovery code",
        [MA_FACTOR_PASSKEY] = "a passkey",
        [MA_FACTOR_WEBAUTHN_PLATFORM] = "a device with a fingerprint, face or PIN check",
        [MA_FACTOR_WEBAUTHN_ROAMING] = "a security key",
    };
    return texts[type];
}

/* "a security key or a passkey"; long lists say nothing. */
static void put_needed(struct ma_html *h, uint32_t factors)
{
    enum { LISTED_MAX = 3 };
    int n = __builtin_popcount(factors);
    if (n == 0 || n > LISTED_MAX) {
        ma_html_raw(h, "a second step");
        return;
    }
    for (int f = 0; f < MA_FACTOR__COUNT; f++) {
        if (!(factors & 1u << f) || !needed((enum ma_factor)f))
            continue;
        ma_html_raw(h, needed((enum ma_factor)f));
        ma_html_raw(h, --n > 1 ? ", " : n == 1 ? " or " : "");
    }
}

int ma_page_unmet(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, "You cannot go on", ma_form_targets(ctx, l->req.redirect_uri), false);
    ma_html_raw(&h, "<p><strong>");
    ma_html_text(&h, ma_client_name(l));
    ma_html_raw(&h, "</strong> needs ");
    put_needed(&h, l->missing);
    ma_html_raw(&h, " to sign you in. Your account cannot show that here, and it cannot be set up here. Ask the "
                    "administrator for help.</p>\n");
    ma_html_form(&h, l, "leave", NULL, NULL);
    ma_html_submit(&h, "Back to the application");
    ma_html_whose(&h, l);
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
    {"delete:me:consents", "Withdraw the access of applications"},
    {"read:me:sessions", "See where you are signed in"},
    {"delete:me:sessions", "Sign you out elsewhere"},
    {"read:me:activity", "See what happened to your account"},
    {"read:me:profile", "See your profile"},
    {"update:me:profile", "Change your profile"},
    {"create:me:exports", "Have a copy of everything about you made"},
    {"read:me:exports", "Fetch the copy of everything about you"},
    {"delete:me:account", "Delete your account"},
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
    ma_html_text(&h, ma_client_name(l));
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
