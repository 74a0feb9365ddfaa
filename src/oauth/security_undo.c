/* SPDX-License-Identifier: Apache-2.0
 * /security/not-me: the page behind the link of a security notice. It asks once more, then undoes the change and says
 * what was done and what could not be.
 */
#include "security_int.h"

/* --- words --- */

/* What the button will do, by event. */
static const char *const promises[MA_EVENT__COUNT] = {
    [MA_EVENT_FACTOR_ADDED] = "What was added is removed again.",
    [MA_EVENT_FACTOR_REMOVED] = "What was removed is restored.",
    [MA_EVENT_FACTOR_CHANGED] = "The former settings are restored.",
    [MA_EVENT_RECOVERY_CODE_REPLACED] = "The new recovery code stops working, and the former one works again.",
    [MA_EVENT_RECOVERY_CODE_USED] =
        "The recovery code that replaced the used one stops working. You can make a new one.",
    [MA_EVENT_PASSWORD_CHANGED] = "The new password stops working, and you are sent a link to set your own.",
    [MA_EVENT_ACCOUNT_ADDED] = "The connected account is removed.",
    [MA_EVENT_ACCOUNT_REMOVED] = "A removed connection cannot be restored: you would have to connect the account anew.",
    [MA_EVENT_DATA_EXPORTED] = "The copy is deleted. What was fetched already cannot be called back.",
    [MA_EVENT_ADDRESS_CHANGED] = "The contact data cannot be changed back here: the operator is told.",
};

struct said {
    const char *title, *text;
    bool done; /* shown as good news */
};
static const struct said results[MA_UNDONE__COUNT] = {
    [MA_UNDONE_REMOVED] = {"It was undone", "What was added has been removed.", true},
    [MA_UNDONE_GONE_ALREADY] = {"There was nothing left to undo", "It is not in your account any more.", true},
    [MA_UNDONE_RESTORED] = {"It was undone", "What was removed works again.", true},
    [MA_UNDONE_PRESENT] = {"There was nothing left to undo", "Your account has it, or another in its place.", true},
    [MA_UNDONE_TAKEN] = {"It could not be undone", "The key was registered elsewhere meanwhile: register another one.",
                         false},
    [MA_UNDONE_TAKEN_BACK] = {"It was undone", "The former settings hold again.", true},
    [MA_UNDONE_RESET] = {"The password does not work any more",
                         "We sent you a message with a link to set a new password.", true},
    [MA_UNDONE_NO_PASSWORD] = {"There was nothing left to undo", "Your account has no password any more.", true},
    [MA_UNDONE_NOT_ACCOUNT] = {"It could not be undone",
                               "A removed connection cannot be restored: connect the account anew.", false},
    [MA_UNDONE_NOT_ADDRESS] = {"It could not be undone",
                               "The contact data were changed by the operator, who has been told.", false},
    [MA_UNDONE_NOT_KEPT] = {"It could not be undone", "What was removed was not kept: set it up anew.", false},
    [MA_UNDONE_SUPERSEDED] = {"It was undone", "An earlier change was undone, and this one with it.", true},
    [MA_UNDONE_NO_ROOM] = {"It could not be undone yet",
                           "Your account has as many of this kind as it may have, or another one in its place. Undo "
                           "the other changes first with the links in their messages, or remove one; then open this "
                           "link again.",
                           false},
};

/* --- pages --- */

static void fact(struct ma_html *h, const char *name, struct ma_span value)
{
    if (!value.p)
        return;
    ma_html_raw(h, "<li>");
    ma_html_text(h, ma_span_str(name));
    ma_html_raw(h, ": ");
    ma_html_text(h, value);
    ma_html_raw(h, "</li>\n");
}

static void facts(struct ma_html *h, const struct ma_notice_info *i)
{
    ma_html_raw(h, "<ul>\n");
    fact(h, "What", i->what);
    fact(h, "When", i->when);
    fact(h, "Browser", i->browser);
    fact(h, "Address", i->address);
    ma_html_raw(h, "</ul>\n");
}

static int ask(struct ma_ctx *ctx, const struct ma_undo *u, struct ma_span token)
{
    struct ma_html h;
    ma_html_begin(&h, ctx, 200, "Was this not you?", "", false);
    facts(&h, &u->info);
    ma_html_para(&h, NULL, "If you made this change, close this page. If you did not, the button does this:");
    ma_html_raw(&h, "<ul>\n<li>");
    ma_html_text(&h, ma_span_str(u->event == MA_EVENT_FACTOR_REMOVED && !u->row.kept.p
                                     ? "What was removed cannot be restored: set it up anew."
                                     : promises[u->event]));
    ma_html_raw(&h, "</li>\n<li>Every session of your account ends, on all devices, this one too.</li>\n"
                    "<li>Whoever runs this service is told.</li>\n</ul>\n");
    int r = ma_link_form(&h, MA_UNDO_PATH, token, "undo");
    if (r < 0)
        return r;
    ma_html_submit(&h, "This was not me");
    return ma_html_end(&h);
}

static void common(struct ma_html *h)
{
    ma_html_para(h, NULL,
                 "Every session of your account has ended, applications have to sign in anew, and whoever runs this "
                 "service has been told. Applications may go on for a few hours with access they already had at "
                 "services other than this one.");
    ma_html_para(h, "soft", "Look through your ways to sign in when you are back, and secure your mailbox.");
}

static int resend_form(struct ma_html *h, struct ma_span token)
{
    ma_html_para(h, NULL, "Did the message not arrive, or is its link too old?");
    int r = ma_link_form(h, MA_UNDO_PATH, token, "resend");
    if (r == MA_OK)
        ma_html_submit(h, "Send another link");
    return r;
}

/* What happened, now or at an earlier visit. */
static int tell(struct ma_ctx *ctx, const struct ma_undo *u, struct ma_span token, bool now)
{
    const struct said *s = &results[u->outcome < MA_UNDONE__COUNT ? u->outcome : MA_UNDONE_GONE_ALREADY];
    struct ma_html h;
    ma_html_begin(&h, ctx, u->outcome == MA_UNDONE_NO_ROOM ? 409 : 200, now ? s->title : "This was done already", "",
                  false);
    ma_html_para(&h, s->done ? "note" : "alert",
                 now && u->outcome == MA_UNDONE_RESET && !u->link_sent
                     ? "Too many links to set a password were sent. Open this link again in an hour to have one sent."
                     : s->text);
    if (now)
        common(&h);
    int r = !now && u->password_blocked ? resend_form(&h, token) : MA_OK;
    return r < 0 ? r : ma_html_end(&h);
}

int ma_op_undo_page(struct ma_ctx *ctx)
{
    struct ma_undo u;
    struct ma_span token = ma_query(ctx, "token");
    int r = ma_link_limit(ctx);
    if (r == MA_OK)
        r = ma_undo_find(ctx, token, &u);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    if (r < 0)
        return r;
    return u.row.used_at == 0 ? ask(ctx, &u, token) : tell(ctx, &u, token, false);
}

/* --- the button --- */

struct step {
    struct ma_login_form form;
    struct ma_undo undo;
};

static int revoked(struct ma_ctx *ctx)
{
    struct step *s = ctx->scratch;
    ma_accounts_revoke(ctx, &s->undo.left);
    return tell(ctx, &s->undo, s->form.state, true);
}

static int undo_step(struct ma_ctx *ctx)
{
    struct step *s = ctx->scratch;
    int r = ma_undo_find(ctx, s->form.state, &s->undo);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    if (r == MA_OK && s->undo.row.used_at != 0)
        return tell(ctx, &s->undo, s->form.state, false);
    if (r == MA_OK)
        r = ma_undo_run(ctx, &s->undo);
    if (r < 0)
        return r;
    if (ma_accounts_must_revoke(ctx, &s->undo.left))
        return ma_next(ctx, MA_LANE_NET, revoked);
    return tell(ctx, &s->undo, s->form.state, true);
}

static int resend_step(struct ma_ctx *ctx)
{
    struct step *s = ctx->scratch;
    bool sent = false;
    int r = ma_undo_find(ctx, s->form.state, &s->undo);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    if (r == MA_OK)
        r = ma_undo_resend(ctx, &s->undo, &sent);
    if (r < 0)
        return r;
    struct ma_html h;
    ma_html_begin(&h, ctx, sent ? 200 : 429, sent ? "Another link was sent" : "No link was sent", "", false);
    ma_html_para(&h, sent ? "note" : "alert",
                 sent ? "It takes the place of the one before."
                      : "A new password was set already, or too many links were sent. Try again in an hour.");
    return ma_html_end(&h);
}

int ma_op_undo_post(struct ma_ctx *ctx)
{
    struct step *s = ma_arena_zalloc(ctx->arena, sizeof *s);
    if (!s)
        return MA_E_NOMEM;
    ctx->scratch = s;
    int r = ma_link_read(ctx, &s->form);
    if (r != MA_OK)
        return r;
    /* Nothing of a link that leads nowhere gets to the writer. */
    r = ma_undo_find(ctx, s->form.state, &s->undo);
    if (r == MA_E_NOTFOUND)
        return ma_link_dead(ctx);
    if (r < 0)
        return r;
    return ma_next(ctx, MA_LANE_WRITE, ma_span_eq_str(s->form.action, "resend") ? resend_step : undo_step);
}
