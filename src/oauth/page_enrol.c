/* SPDX-License-Identifier: Apache-2.0
 * The pages of a first second factor: the choice, and what confirms it.
 */
#include "login_int.h"
#include "ma/codec.h"
#include "ma/qr.h"

/* --- the choice --- */

static void by_phone(struct ma_html *h, const struct ma_login *l)
{
    bool refused = l->st.enrol_address.p != NULL;
    ma_buf_printf(h->b,
                  "\n<label for=\"address\">Phone number</label>\n<input id=\"address\" name=\"address\" "
                  "type=\"tel\" autocomplete=\"tel\" maxlength=\"32\" required%s value=\"",
                  refused ? ma_html_invalid(l) : "");
    ma_html_text(h, refused ? l->st.enrol_address : l->user.phone_number);
    ma_html_raw(h, "\">\n");
    ma_html_submit(h, "Get codes by text message");
}

static const char *key_button(enum ma_factor type)
{
    return type == MA_FACTOR_PASSKEY             ? "Create a passkey"
           : type == MA_FACTOR_WEBAUTHN_PLATFORM ? "Use this device: fingerprint, face or PIN"
                                                 : "Add a security key";
}

static void enrol_choice(struct ma_html *h, const struct ma_login *l, enum ma_factor type)
{
    bool key = (MA_FACTORS_WEBAUTHN & 1u << type) != 0;
    ma_html_form(h, l, "enrol", NULL,
                 !key                                  ? NULL
                 : type == MA_FACTOR_WEBAUTHN_PLATFORM ? " hidden data-keys=\"platform\""
                                                       : " hidden data-keys");
    ma_html_hidden(h, "method", ma_span_str(ma_factor_name(type)));
    if (key) {
        ma_html_submit(h, key_button(type));
    } else if (type == MA_FACTOR_TOTP) {
        ma_html_submit(h, "Set up an authenticator app");
    } else if (type == MA_FACTOR_PUSH) {
        ma_html_submit(h, "Approve sign-ins on your phone");
    } else if (type == MA_FACTOR_EMAIL) {
        ma_html_raw(h, "<button>Get codes by email at ");
        ma_html_text(h, l->user.email);
        ma_html_raw(h, "</button></form>\n");
    } else {
        by_phone(h, l);
    }
}

int ma_page_enrol(struct ma_ctx *ctx, struct ma_login *l, bool offer)
{
    static const enum ma_factor order[] = {MA_FACTOR_PASSKEY,
                                           MA_FACTOR_WEBAUTHN_PLATFORM,
                                           MA_FACTOR_WEBAUTHN_ROAMING,
                                           MA_FACTOR_PUSH,
                                           MA_FACTOR_TOTP,
                                           MA_FACTOR_EMAIL,
                                           MA_FACTOR_PHONE};
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, "Protect your account", ma_form_targets(ctx, l->req.redirect_uri),
                  (l->enrol_open & MA_FACTORS_WEBAUTHN) != 0);
    ma_html_note(&h, l);
    ma_html_para(&h, NULL,
                 offer ? "A second step when you sign in keeps others out, even if they know your password."
                       : "A second step is required to sign in. Choose how you want to do it.");
    if (!(l->enrol_open & ~MA_FACTORS_WEBAUTHN))
        ma_html_no_keys(&h);
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

/* --- an authenticator app --- */

/* The key in groups of four, as people type it. */
static void grouped(struct ma_html *h, struct ma_span text)
{
    for (size_t i = 0; i < text.n; i += 4) {
        if (i > 0)
            ma_buf_byte(h->b, ' ');
        ma_html_text(h, ma_span_of(text.p + i, text.n - i < 4 ? text.n - i : 4));
    }
}

/* One rectangle for each run of dark modules. Dark on white whatever the page's colours: many readers know no other
 * way, and the quiet zone of four modules belongs to it (ISO/IEC 18004 §9.1). */
static int put_qr(struct ma_html *h, struct ma_span text)
{
    enum { QUIET = 4 };
    struct ma_qr qr;
    int r = ma_qr_encode(h->ctx->arena, text, &qr);
    if (r < 0)
        return r;
    int side = qr.size + 2 * QUIET;
    ma_buf_printf(
        h->b,
        "<svg class=\"qr\" role=\"img\" aria-label=\"QR code that holds the key below\" viewBox=\"0 0 %d "
        "%d\" shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path fill=\"#000\" d=\"",
        side, side, side, side);
    for (int y = 0; y < qr.size; y++)
        for (int x = 0, n; x < qr.size; x += n) {
            bool dark = ma_qr_dark(&qr, x, y);
            for (n = 1; x + n < qr.size && ma_qr_dark(&qr, x + n, y) == dark;)
                n++;
            if (dark)
                ma_buf_printf(h->b, "M%d %dh%dv1h-%dz", x + QUIET, y + QUIET, n, n);
        }
    ma_html_raw(h, "\"/></svg>\n");
    return MA_OK;
}

static int by_app(struct ma_html *h, const struct ma_login *l)
{
    ma_html_raw(h, "<p>Scan this code with the app:</p>\n");
    int r = put_qr(h, l->st.enrol_uri);
    ma_html_raw(h, "<p>Or <a href=\"");
    ma_html_text(h, l->st.enrol_uri);
    ma_html_raw(h, "\">open the app on this device</a>, or enter this key:</p>\n<code class=\"code\" id=\"key\">");
    grouped(h, l->st.enrol_manual);
    ma_html_raw(h, "</code>\n<p>Then enter the code that the app shows.</p>\n");
    return r;
}

/* --- a device --- */

static int by_device(struct ma_html *h, const struct ma_login *l)
{
    ma_html_raw(h, "<p>Scan this code with the app that approves your sign-ins:</p>\n");
    int r = put_qr(h, l->st.enrol_uri);
    ma_html_raw(h, "<p>Or <a href=\"");
    ma_html_text(h, l->st.enrol_uri);
    ma_html_raw(h, "\">open the app on this device</a>.</p>\n");
    ma_html_wait(h, l);
    return r;
}

/* --- a passkey or a security key --- */

static void put_attribute(struct ma_html *h, const char *name, struct ma_span value)
{
    ma_buf_printf(h->b, " %s=\"", name);
    ma_html_text(h, value);
    ma_html_raw(h, "\"");
}

/* The user's credentials: an authenticator that holds one is not to make another. */
static int exclude_list(struct ma_ctx *ctx, const struct ma_login *l, struct ma_span *ret)
{
    struct ma_credential *c = ma_arena_calloc(ctx->arena, MA_METHODS_MAX, sizeof *c);
    struct ma_buf b;
    struct ma_jw w;
    size_t n = 0;
    int r = c ? ma_credential_list(ctx->db, ctx->arena, l->user.user_id, c, MA_METHODS_MAX, &n) : MA_E_NOMEM;
    if (r < 0)
        return r;
    ma_buf_init_arena(&b, ctx->arena, 256, MA_LOGIN_URL_MAX);
    ma_jw_init(&w, &b);
    ma_jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        char *id = ma_arena_alloc(ctx->arena, MA_B64URL_LEN(c[i].credential_id.n) + 1);
        if (!id)
            return MA_E_NOMEM;
        ma_b64url_encode(c[i].credential_id, id);
        ma_jw_cstr(&w, id);
    }
    ma_jw_arr_end(&w);
    *ret = ma_buf_view(&b);
    return ma_buf_err(&b);
}

static int by_new_key(struct ma_html *h, const struct ma_login *l)
{
    struct ma_span exclude;
    struct ma_html attributes = {h->ctx, NULL};
    struct ma_buf b;
    int r = exclude_list(h->ctx, l, &exclude);
    if (r < 0)
        return r;
    ma_buf_init_arena(&b, h->ctx->arena, 1024, MA_LOGIN_URL_MAX);
    attributes.b = &b;
    ma_html_raw(&attributes, " hidden");
    put_attribute(&attributes, "data-creation", l->st.enrol_key);
    put_attribute(&attributes, "data-exclude", exclude);
    ma_buf_byte(&b, 0);
    if (ma_buf_err(&b) < 0)
        return ma_buf_err(&b);
    ma_html_no_keys(h);
    ma_html_raw(h, l->st.enrol == MA_FACTOR_WEBAUTHN_ROAMING
                       ? "<p data-keys hidden>Have your security key ready, then continue.</p>\n"
                       : "<p data-keys hidden>Continue, and confirm it on your device.</p>\n");
    ma_html_key_form(h, l, "new-key", NULL, (const char *)b.p, "Continue");
    return MA_OK;
}

/* --- a code --- */

static void code_form(struct ma_html *h, const struct ma_login *l)
{
    ma_html_form(h, l, "confirm", NULL, NULL);
    ma_buf_printf(h->b,
                  "\n<label for=\"code\">Code</label>\n<input id=\"code\" name=\"code\" type=\"text\" "
                  "inputmode=\"numeric\" autocomplete=\"one-time-code\" maxlength=\"12\" required autofocus%s>\n",
                  ma_html_invalid(l));
    ma_html_submit(h, "Continue");
}

static void by_sent_code(struct ma_html *h, const struct ma_login *l)
{
    ma_html_raw(h, "<p class=\"note\" role=\"status\">We sent a code to ");
    ma_html_text(h, l->st.enrol_address);
    ma_html_raw(h, ".</p>\n");
    code_form(h, l);
    ma_html_form(h, l, "resend", "second", NULL);
    ma_html_submit(h, "Send a new code");
}

static const char *confirm_title(enum ma_factor type)
{
    switch (type) {
    case MA_FACTOR_TOTP:
        return "Set up your authenticator app";
    case MA_FACTOR_PUSH:
        return "Set up your phone";
    case MA_FACTOR_PASSKEY:
        return "Create a passkey";
    case MA_FACTOR_WEBAUTHN_PLATFORM:
        return "Use this device";
    case MA_FACTOR_WEBAUTHN_ROAMING:
        return "Add a security key";
    default:
        return "Enter the code";
    }
}

int ma_page_confirm(struct ma_ctx *ctx, struct ma_login *l)
{
    struct ma_html h;
    enum ma_factor type = (enum ma_factor)l->st.enrol;
    int r = MA_OK;
    ma_html_begin(&h, ctx, 200, confirm_title(type), ma_form_targets(ctx, l->req.redirect_uri),
                  l->st.enrol_key.p        ? MA_PAGE_SCRIPT
                  : type == MA_FACTOR_PUSH ? MA_PAGE_POLLS
                                           : MA_PAGE_STILL);
    ma_html_note(&h, l);
    if (l->st.enrol_key.p) {
        r = by_new_key(&h, l);
    } else if (type == MA_FACTOR_TOTP) {
        r = by_app(&h, l);
        code_form(&h, l);
    } else if (type == MA_FACTOR_PUSH) {
        r = by_device(&h, l);
    } else {
        by_sent_code(&h, l);
    }
    ma_html_form(&h, l, "skip", "second", NULL);
    ma_html_submit(&h, l->assured ? "Not now" : "Choose another way");
    ma_html_whose(&h, l);
    return r == MA_OK ? ma_html_end(&h) : r;
}
