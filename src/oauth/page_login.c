/* SPDX-License-Identifier: Apache-2.0
 * The pages of signing in: identifier and password, second factors, and what happened last.
 */
#include "login_int.h"

enum { MINUTE_S = 60 };

/* --- what happened last --- */

static const char *const notes[MA_NOTE__COUNT] = {
    [MA_NOTE_WRONG_LOGIN] = "Wrong email or password.",
    [MA_NOTE_WRONG_PASSKEY] = "That passkey was not accepted. Try again, or use your password.",
    [MA_NOTE_BLOCKED] = "This account is blocked. Ask the administrator for help.",
    [MA_NOTE_BREACHED] =
        "This password is known from a data breach, so it cannot be used any more. Sign in another way, "
        "or ask the administrator for help, and choose a new one.",
    [MA_NOTE_BREACHED_SENT] =
        "This password is known from a data breach, so it cannot be used any more. We sent you a message with a link "
        "to set a new one.",
    [MA_NOTE_WRONG_CODE] = "That code is not right. Check it and try again.",
    [MA_NOTE_EXPIRED_CODE] = "That code has expired. Ask for a new one.",
    [MA_NOTE_NO_FACTOR] = "This method cannot be used right now. Choose another one.",
    [MA_NOTE_WRONG_KEY] = "That security key was not accepted. Try again, or use another method.",
    [MA_NOTE_REJECTED] = "The sign-in was rejected on your device.",
    [MA_NOTE_NOT_ANSWERED] =
        "Nobody answered on your device in time, or a newer sign-in took its place. Send a new request.",
    [MA_NOTE_START_AGAIN] = "Too many wrong codes. Sign in again.",
    [MA_NOTE_BAD_ADDRESS] =
        "That is no phone number that can be used. Write it with the country code, like +1 555 123 0001.",
    [MA_NOTE_NOT_ENROLLED] = "That did not work. Start again, or choose another method.",
    [MA_NOTE_KEY_NOT_ADDED] = "That key was not accepted. Start again, or choose another method.",
};

static void too_many(struct ma_html *h, const struct ma_login *l)
{
    int64_t s = l->st.retry_s > 0 ? l->st.retry_s : 1, n = s < MINUTE_S ? s : (s + MINUTE_S - 1) / MINUTE_S;
    ma_buf_printf(h->b, "Too many attempts. Try again in %lld %s%s.", (long long)n, s < MINUTE_S ? "second" : "minute",
                  n > 1 ? "s" : "");
}

void ma_html_wait(struct ma_html *h, const struct ma_login *l)
{
    ma_html_raw(h, "<p class=\"soft\" id=\"wait\" role=\"status\" data-poll=\"/u/login/wait?state=");
    ma_html_text(h, ma_span_str(l->token));
    ma_html_raw(
        h, "\">This page goes on by itself.</p>\n<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n");
}

void ma_html_note(struct ma_html *h, const struct ma_login *l)
{
    int note = l->st.note;
    if (note == MA_NOTE_SENT || note <= MA_NOTE_NONE || note >= MA_NOTE__COUNT)
        return;
    ma_html_raw(h, "<p class=\"alert\" id=\"problem\" role=\"alert\" aria-live=\"assertive\">");
    if (note == MA_NOTE_TOO_MANY)
        too_many(h, l);
    else
        ma_html_text(h, ma_span_str(notes[note]));
    ma_html_raw(h, "</p>\n");
}

const char *ma_html_invalid(const struct ma_login *l)
{
    return l->st.note != MA_NOTE_NONE && l->st.note != MA_NOTE_SENT
               ? " aria-invalid=\"true\" aria-describedby=\"problem\""
               : "";
}

struct ma_span ma_client_name(const struct ma_login *l)
{
    return l->client->name.n > 0 ? l->client->name : l->client->client_id;
}

void ma_html_whose(struct ma_html *h, const struct ma_login *l)
{
    ma_html_raw(h, "<h2>Not you?</h2>\n<p class=\"soft\">You are signing in as ");
    ma_html_text(h, l->user.email.p ? l->user.email : l->user.user_id);
    ma_html_raw(h, ".</p>\n");
    ma_html_form(h, l, "restart", "second", NULL);
    ma_html_submit(h, "Use another account");
}

/* --- passkeys and security keys: the page's script acts on a form with these attributes --- */

static const char *key_attributes(struct ma_ctx *ctx, struct ma_span challenge, struct ma_span rp_id,
                                  struct ma_span credentials, const char *verification)
{
    struct ma_buf b;
    ma_buf_init_arena(&b, ctx->arena, 512, MA_LOGIN_URL_MAX);
    ma_buf_str(&b, " hidden data-challenge=\"");
    ma_html_escape(&b, challenge);
    ma_buf_str(&b, "\" data-rp-id=\"");
    ma_html_escape(&b, rp_id);
    ma_buf_str(&b, "\" data-credentials=\"");
    ma_html_escape(&b, credentials);
    ma_buf_printf(&b, "\" data-user-verification=\"%s\" data-timeout=\"%d\"", verification, MA_WEBAUTHN_TIMEOUT_MS);
    ma_buf_byte(&b, 0);
    return ma_buf_err(&b) < 0 ? NULL : (const char *)b.p;
}

void ma_html_key_form(struct ma_html *h, const struct ma_login *l, const char *action, const char *css,
                      const char *attributes, const char *button)
{
    ma_html_form(h, l, action, css, attributes);
    ma_html_hidden(h, "response", MA_LIT(""));
    ma_html_submit(h, button);
    ma_html_raw(h, "<p id=\"key-status\" class=\"note\" role=\"status\" aria-live=\"polite\" hidden></p>\n");
}

/* There until the script takes it away: that covers a script that is switched off, refused or lost. */
void ma_html_no_keys(struct ma_html *h)
{
    ma_html_raw(
        h, "<p class=\"alert\" id=\"no-keys\">This browser cannot use passkeys and security keys, or JavaScript is "
           "switched off. Use another method, or another browser.</p>\n");
}

/* --- who are you? --- */

static void password_form(struct ma_html *h, const struct ma_login *l)
{
    struct ma_span typed = l->st.identifier.p ? l->st.identifier : l->req.login_hint;
    ma_html_form(h, l, "password", NULL, NULL);
    ma_buf_printf(h->b,
                  "\n<label for=\"username\">Email address</label>\n<input id=\"username\" name=\"username\" "
                  "type=\"text\" inputmode=\"email\" autocomplete=\"username\" autocapitalize=\"none\" "
                  "spellcheck=\"false\" maxlength=\"320\" required%s%s value=\"",
                  typed.n > 0 ? "" : " autofocus", ma_html_invalid(l));
    ma_html_text(h, typed);
    ma_buf_printf(h->b,
                  "\">\n<label for=\"password\">Password</label>\n<input id=\"password\" name=\"password\" "
                  "type=\"password\" autocomplete=\"current-password\" maxlength=\"1024\" required%s%s>\n",
                  typed.n > 0 ? " autofocus" : "", ma_html_invalid(l));
    ma_html_submit(h, "Continue");
}

static int passkey_form(struct ma_html *h, const struct ma_login *l)
{
    struct ma_span rp_id;
    int r = ma_rp_id(h->ctx, &rp_id);
    if (r < 0)
        return r;
    const char *attributes = key_attributes(h->ctx, l->st.challenge, rp_id, MA_LIT("[]"),
                                            h->ctx->conf->webauthn.require_uv ? "required" : "preferred");
    if (attributes && l->st.note == MA_NOTE_WRONG_PASSKEY) /* not offered by itself again: that could go on for ever */
        attributes = ma_arena_printf(h->ctx->arena, "%s data-refused", attributes);
    if (!attributes)
        return MA_E_NOMEM;
    ma_html_key_form(h, l, "passkey", "second", attributes, "Use a passkey");
    return MA_OK;
}

int ma_page_identify(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    bool passkeys = (ma_factors_enabled(ctx) & 1u << MA_FACTOR_PASSKEY) != 0;
    int r = MA_OK;
    ma_html_begin(&h, ctx, 200, "Sign in", ma_form_targets(ctx, l->req.redirect_uri), passkeys);
    ma_html_raw(&h, "<p class=\"soft\">to continue to ");
    ma_html_text(&h, ma_client_name(l));
    ma_html_raw(&h, "</p>\n");
    ma_html_note(&h, l);
    password_form(&h, l);
    if (passkeys)
        r = passkey_form(&h, l);
    return r == MA_OK ? ma_html_end(&h) : r;
}

/* --- a second factor --- */

static const char *factor_text(const struct ma_factor_choice *c)
{
    switch (c->type) {
    case MA_FACTOR_TOTP:
        return "Authenticator app";
    case MA_FACTOR_EMAIL:
        return "Code by email";
    case MA_FACTOR_PHONE:
        return c->voice ? "Code by phone call" : "Code by text message";
    case MA_FACTOR_PUSH:
        return "Approval on your device";
    case MA_FACTOR_RECOVERY:
        return "Recovery code";
    case MA_FACTOR_PASSKEY:
        return "Passkey";
    case MA_FACTOR_WEBAUTHN_PLATFORM:
        return "Fingerprint, face or device PIN";
    default:
        return "Security key";
    }
}

static void other(struct ma_html *h, const struct ma_login *l, const struct ma_factor_choice *c)
{
    ma_html_form(h, l, "choose", "second", NULL);
    ma_html_hidden(h, "method", c->id);
    ma_html_raw(h, "<button>");
    ma_html_text(h, ma_span_str(factor_text(c)));
    if (c->name.n > 0) {
        ma_html_raw(h, ": ");
        ma_html_text(h, c->name);
    }
    ma_html_raw(h, "</button></form>\n");
}

/* The recovery code is the last resort. */
static void others(struct ma_html *h, const struct ma_login *l)
{
    bool any = false;
    for (int recovery = 0; recovery < 2; recovery++)
        for (size_t i = 0; i < l->n_choices; i++) {
            const struct ma_factor_choice *c = &l->choices[i];
            if (ma_span_eq(c->id, l->st.method) || (c->type == MA_FACTOR_RECOVERY) != (recovery == 1))
                continue;
            if (!any)
                ma_html_raw(h, "<h2>Another way</h2>\n");
            any = true;
            other(h, l, c);
        }
}

static void code_input(struct ma_html *h, const struct ma_login *l, const char *label)
{
    ma_buf_printf(h->b,
                  "\n<label for=\"code\">%s</label>\n<input id=\"code\" name=\"code\" type=\"text\" "
                  "inputmode=\"numeric\" autocomplete=\"one-time-code\" maxlength=\"16\" required autofocus%s>\n",
                  label, ma_html_invalid(l));
}

static void by_code(struct ma_html *h, const struct ma_login *l, const struct ma_factor_choice *c)
{
    bool sent = c->type != MA_FACTOR_TOTP;
    if (!sent) {
        ma_html_para(h, NULL, "Enter the code that your authenticator app shows.");
    } else if (l->st.oob.p) {
        ma_html_raw(h, "<p class=\"note\" role=\"status\">We sent a code to ");
        ma_html_text(h, c->name.n > 0 ? c->name : MA_LIT("you"));
        ma_html_raw(h, ".</p>\n");
    } else {
        ma_html_raw(h, "<p>We can send a code to ");
        ma_html_text(h, c->name.n > 0 ? c->name : MA_LIT("you"));
        ma_html_raw(h, ".</p>\n");
    }
    if (!sent || l->st.oob.p) {
        ma_html_form(h, l, "code", NULL, NULL);
        code_input(h, l, "Code");
        ma_html_submit(h, "Continue");
    }
    if (!sent)
        return;
    ma_html_form(h, l, "choose", "second", NULL);
    ma_html_hidden(h, "method", c->id);
    ma_html_submit(h, l->st.oob.p ? "Send a new code" : "Send a code");
}

static void by_recovery(struct ma_html *h, const struct ma_login *l)
{
    ma_html_para(h, NULL, "Enter the recovery code that you kept. It works once; you will get a new one.");
    ma_html_form(h, l, "code", NULL, NULL);
    ma_buf_printf(h->b,
                  "\n<label for=\"code\">Recovery code</label>\n<input id=\"code\" name=\"code\" type=\"text\" "
                  "autocomplete=\"one-time-code\" autocapitalize=\"characters\" spellcheck=\"false\" "
                  "maxlength=\"64\" required autofocus%s>\n",
                  ma_html_invalid(l));
    ma_html_submit(h, "Continue");
}

struct key {
    struct ma_span challenge, rp_id, credentials;
};

static int read_key(struct ma_ctx *ctx, struct ma_span text, struct key *ret)
{
    static const struct ma_jfield fields[] = {
        {.name = "challenge", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct key, challenge)},
        {.name = "rp_id", .type = MA_F_STR, .flags = MA_REQ, .off = offsetof(struct key, rp_id)},
        {.name = "credentials", .type = MA_F_RAW, .flags = MA_REQ, .off = offsetof(struct key, credentials)},
    };
    static const struct ma_shape shape = MA_SHAPE(struct key, fields);
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = ctx->arena};
    int r = ma_json_parse(text, &j);
    return r == MA_OK ? ma_json_decode(j, ctx->arena, &shape, ret, &errs) : r;
}

static int by_key(struct ma_html *h, const struct ma_login *l, const struct ma_factor_choice *c)
{
    struct key k = {.challenge = MA_SPAN_NULL};
    ma_html_no_keys(h);
    if (!l->st.key.p)
        return MA_OK;
    int r = read_key(h->ctx, l->st.key, &k);
    if (r < 0)
        return r;
    const char *attributes = key_attributes(h->ctx, k.challenge, k.rp_id, k.credentials,
                                            c->type == MA_FACTOR_PASSKEY ? "preferred" : "discouraged");
    if (!attributes)
        return MA_E_NOMEM;
    ma_html_raw(h, "<p data-keys hidden>Have your key or device ready, then continue.</p>\n");
    ma_html_key_form(h, l, "key", NULL, attributes, "Continue");
    return MA_OK;
}

/* --- a device --- */

static void put_name(struct ma_html *h, const struct ma_factor_choice *c)
{
    ma_html_text(h, c->name.n > 0 ? c->name : MA_LIT("your device"));
}

static void by_device(struct ma_html *h, const struct ma_login *l, const struct ma_factor_choice *c)
{
    bool asked = l->st.oob.p != NULL;
    if (asked) {
        ma_html_raw(h, "<p class=\"note\" role=\"status\">We sent a request to ");
        put_name(h, c);
        ma_html_raw(h, ".</p>\n");
        if (l->st.number.p) {
            ma_html_raw(h, "<p>Approve it there, and enter this number when the app asks for it:</p>\n"
                           "<code class=\"code\" id=\"number\">");
            ma_html_text(h, l->st.number);
            ma_html_raw(h, "</code>\n");
        } else {
            ma_html_para(h, NULL,
                         "Approve it there if it is you who is signing in. Reject it if you are asked a "
                         "second time without having asked.");
        }
        ma_html_wait(h, l);
    } else {
        ma_html_raw(h, "<p>We can send a request to ");
        put_name(h, c);
        ma_html_raw(h, ".</p>\n");
    }
    ma_html_form(h, l, "choose", asked ? "second" : NULL, NULL);
    ma_html_hidden(h, "method", c->id);
    ma_html_submit(h, asked ? "Send it again" : "Send a request");
}

static bool uses_key(enum ma_factor type)
{
    return (MA_FACTORS_WEBAUTHN & 1u << type) != 0;
}

static enum ma_page_script script_of(const struct ma_login *l, enum ma_factor type)
{
    return uses_key(type) ? MA_PAGE_SCRIPT : type == MA_FACTOR_PUSH && l->st.oob.p ? MA_PAGE_POLLS : MA_PAGE_STILL;
}

int ma_page_challenge(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    const struct ma_factor_choice *c = ma_login_choice(l, l->st.method);
    int r = MA_OK;
    if (!c)
        return MA_E_INVAL;
    ma_html_begin(&h, ctx, 200, "Confirm that it is you", ma_form_targets(ctx, l->req.redirect_uri),
                  script_of(l, c->type));
    ma_html_note(&h, l);
    if (uses_key(c->type))
        r = by_key(&h, l, c);
    else if (c->type == MA_FACTOR_PUSH)
        by_device(&h, l, c);
    else if (c->type == MA_FACTOR_RECOVERY)
        by_recovery(&h, l);
    else
        by_code(&h, l, c);
    others(&h, l);
    ma_html_whose(&h, l);
    return r == MA_OK ? ma_html_end(&h) : r;
}
