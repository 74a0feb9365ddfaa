/* SPDX-License-Identifier: Apache-2.0
 * Security notices: every change of a factor, the password, a connected account or the contact data is told to its
 * user, in the transaction of the change, with a link that says "this was not me".
 *
 * Who hears of it: the verified e-mail address of the account; without one, the address or number that has been a
 * factor longest, those removed in the last `undo_ttl` included. All as it was before the change, so that who replaces
 * or removes an address cannot hide that; who has just proven a first address by its code is told nothing more. Nothing
 * that the person who makes the change chooses (names, unknown browser headers) stands in a message: notices cannot be
 * made to carry somebody's text.
 *
 * What the link is worth. It goes to the mailbox alone, never into an answer, so a stolen session cannot use it. Who
 * holds the mailbox alone can, for `undo_ttl`, bring the account back to what it was before a recent change, end its
 * sessions, and after a password change set another password: what a password reset by e-mail gives, no more. It never
 * signs anybody in, adds no factor that was not there, and does not pass a second factor that is older than the change.
 * An undo is told without a link: there is no undo of an undo. A password set through a reset link is a change as any
 * other and is told with one. What a change brought that was undone is not brought back by the links of later changes
 * (an attacker's own factor, added and removed).
 *
 * Limits: notices have a bucket of their own (notifications.changes_per_hour), so codes that were asked for cannot use
 * it up; where it is empty the change is refused, and so none goes untold.
 */
#ifndef MA_NOTIFY_H
#define MA_NOTIFY_H

#include "ma/accounts.h"
#include "ma/ctx.h"
#include "ma/id.h"
#include "ma/methods.h"
#include "ma/outbox.h"

#define MA_UNDO_PATH "/security/not-me"
#define MA_RESET_PATH "/security/password"
#define MA_RESETS_PER_HOUR 5        /* reset links of one user */
#define MA_BREACH_RESETS_PER_HOUR 3 /* of those, and of no others, that a refused breached password brings */
#define MA_REACH_MAX 2

/* "factor_added"; static. */
const char *ma_event_name(enum ma_event e);
/* MA_EVENT__COUNT when unknown. */
enum ma_event ma_event_parse(struct ma_span name);

/* --- telling --- */

/* What telling needs beside the rows; of a request, or of an operator's command. All borrowed. */
struct ma_notify_env {
    struct ma_db *db;
    struct ma_vault *vault;
    const struct ma_templates *templates;
    const struct ma_rand *rand;
    struct ma_arena *arena;
    const struct ma_conf *conf;
    const char *origin;                                   /* links begin with it */
    struct ma_span tenant;                                /* its name */
    struct ma_span browser, address;                      /* for people */
    struct ma_span ip, user_agent, client_id, request_id; /* for the audit trail; p == NULL: none */
    int64_t now_ms;
};

struct ma_reach {
    enum ma_channel channel; /* e-mail or SMS */
    struct ma_span to;
};
/* Who hears of a change. */
struct ma_notice {
    struct ma_span user_id, name;
    struct ma_reach reach[MA_REACH_MAX];
    size_t n;
};

struct ma_change {
    enum ma_event event;
    struct ma_span subject; /* id of the method or account; p == NULL: none */
    struct ma_span what;    /* for people: ma_what_factor … */
    struct ma_span kept;    /* JSON text, for undoing; p == NULL: none */
};

/* Any lane. MA_OK with n 0 when nobody can be reached. */
MA_MUST_USE int ma_notify_reach(const struct ma_notify_env *env, struct ma_span user_id, struct ma_notice *ret);
/* The verified address of the account before and after a change of its row; else as above. */
MA_MUST_USE int ma_notify_reach_users(const struct ma_notify_env *env, const struct ma_user *before,
                                      const struct ma_user *after, struct ma_notice *ret);
/* Writes the notice, its messages and their audit rows; nothing where the event is switched off or n is 0. Write;
 * *ret_sent: the courier is to be woken. */
MA_MUST_USE int ma_notify_send(const struct ma_notify_env *env, const struct ma_notice *n, const struct ma_change *c,
                               bool *ret_sent);

/* The same in a request, about ctx->who.user_id: before the change … */
MA_MUST_USE int ma_notice_before(struct ma_ctx *ctx, struct ma_notice *ret);
/* … and after it. Answers 429 at the API when the user's bucket of changes is empty. Write. */
MA_MUST_USE int ma_notice_send(struct ma_ctx *ctx, const struct ma_notice *n, const struct ma_change *c);
struct ma_notify_env ma_notify_env_of(struct ma_ctx *ctx);

/* "2026-11-30 20:15 UTC"; arena. */
struct ma_span ma_when(struct ma_arena *a, int64_t ms);
/* "the phone number +1***5678"; address p == NULL: none. arena; p == NULL when out of memory. */
struct ma_span ma_what_factor(struct ma_arena *a, enum ma_factor type, struct ma_span address);
struct ma_span ma_what_account(struct ma_arena *a, struct ma_span connection);

/* --- what is kept, and brought back (keep.c) --- */

/* The method with all it takes to restore it, as JSON text for ma_change.kept: in clear, arena. */
MA_MUST_USE int ma_keep_method(struct ma_ctx *ctx, struct ma_span id, struct ma_span *ret);
MA_MUST_USE int ma_keep_password(struct ma_ctx *ctx, struct ma_span *ret);
/* The confirmed recovery code; p == NULL: there is none. */
MA_MUST_USE int ma_keep_recovery(struct ma_ctx *ctx, struct ma_span *ret);
/* Name and channel of a method. */
MA_MUST_USE int ma_keep_settings(struct ma_ctx *ctx, const struct ma_method_view *v, struct ma_span *ret);

enum ma_restored {
    MA_RESTORED,
    MA_RESTORE_PRESENT, /* it is there, as the same method or as another with the same address or key */
    MA_RESTORE_NO_ROOM, /* the account has as many as it may have, or another where only one may be */
    MA_RESTORE_TAKEN,   /* the key belongs to somebody else by now */
    MA_RESTORE_GONE     /* what is to be changed is not there */
};
/* Of ctx->who.user_id. Write. */
MA_MUST_USE int ma_restore_method(struct ma_ctx *ctx, struct ma_span kept, enum ma_restored *ret);
MA_MUST_USE int ma_restore_password(struct ma_ctx *ctx, struct ma_span kept, enum ma_restored *ret);
MA_MUST_USE int ma_restore_settings(struct ma_ctx *ctx, struct ma_span id, struct ma_span kept, enum ma_restored *ret);

/* --- the link (undo.c) --- */

/* What a message said. */
struct ma_notice_info {
    struct ma_span what, when, browser, address;
    struct ma_reach reach[MA_REACH_MAX];
    size_t n;
};
enum ma_undone {
    MA_UNDONE_REMOVED,      /* what was added is gone */
    MA_UNDONE_GONE_ALREADY, /* it was not there any more */
    MA_UNDONE_RESTORED,     /* what was removed is back */
    MA_UNDONE_PRESENT,      /* it was back already */
    MA_UNDONE_TAKEN,        /* it cannot come back: the key belongs to somebody else */
    MA_UNDONE_TAKEN_BACK,   /* the former settings hold again */
    MA_UNDONE_RESET,        /* the password works no more, a link to set one was sent */
    MA_UNDONE_NO_PASSWORD,  /* there is no password any more */
    MA_UNDONE_NOT_ACCOUNT,  /* a removed connected account: cannot be restored */
    MA_UNDONE_NOT_ADDRESS,  /* contact data: the operator's */
    MA_UNDONE_NOT_KEPT,     /* the operator removed it: nothing was kept */
    MA_UNDONE_SUPERSEDED,   /* an earlier change was undone, which undid this one */
    MA_UNDONE_NO_ROOM,      /* not now: other things are in its place. The link stays open */
    MA_UNDONE__COUNT
};
struct ma_undo {
    struct ma_notice_row row;
    enum ma_event event;
    struct ma_notice_info info;
    enum ma_undone outcome;  /* of a used link, or of ma_undo_run */
    bool link_sent;          /* ma_undo_run: of MA_UNDONE_RESET; false: too many were */
    bool password_blocked;   /* used, and the password still waits to be set anew */
    struct ma_leftover left; /* ma_undo_run: a provider's token to be revoked */
};
/* The notice behind a link that works or was used; MA_E_NOTFOUND for unknown and lapsed ones alike. Makes ctx->who its
 * user. Any lane. */
MA_MUST_USE int ma_undo_find(struct ma_ctx *ctx, struct ma_span token, struct ma_undo *ret);
/* Undoes the change, ends every session, token and login under way, tells the user and the audit trail. Once: after
 * that MA_E_CONFLICT. Write. */
MA_MUST_USE int ma_undo_run(struct ma_ctx *ctx, struct ma_undo *u);
/* Sends another link to set a password, while password_blocked; *ret_sent false: too many. Write. */
MA_MUST_USE int ma_undo_resend(struct ma_ctx *ctx, const struct ma_undo *u, bool *ret_sent);

/* Ends all that a user is signed in with: sessions, refresh tokens, codes, logins and enrolments under way; access
 * tokens issued before are refused by the API. Write. */
MA_MUST_USE int ma_end_access(struct ma_ctx *ctx, struct ma_signins_ended *ret);

/* --- a new password (reset.c) --- */

/* What making a link takes; of a request, or of an operator's command. All borrowed. */
struct ma_reset_env {
    struct ma_db *db;
    struct ma_vault *vault;
    const struct ma_rand *rand;
    const struct ma_conf *conf;
    int64_t now_ms;
};
/* The token of a new link, which works for notifications.reset_ttl; only its MAC is kept. Write. */
MA_MUST_USE int ma_reset_make(const struct ma_reset_env *env, struct ma_span user_id, char token[MA_TOKEN_LEN + 1]);
/* Makes a link and sends it. *ret_sent false: too many. Write. */
MA_MUST_USE int ma_reset_send(struct ma_ctx *ctx, const struct ma_reach *reach, size_t n, bool *ret_sent);
/* The same after this user gave the right password and it was refused because it is known from a breach; to whom they
 * hear of changes at. *ret_sent false: too many, or nobody can be reached. Write. */
MA_MUST_USE int ma_reset_offer(struct ma_ctx *ctx, struct ma_span user_id, bool *ret_sent);
/* The user of a link that works: whose password waits to be set, or has not been set since the link was made.
 * MA_E_NOTFOUND otherwise. Makes ctx->who that user. Any lane. */
MA_MUST_USE int ma_reset_find(struct ma_ctx *ctx, struct ma_span token, struct ma_reset *ret,
                              const struct ma_password_policy **ret_policy);
/* Checks and hashes a password; what is wrong with it is in ctx->errs. CPU. */
MA_MUST_USE int ma_reset_prepare(struct ma_ctx *ctx, struct ma_span password, struct ma_new_password *ret);
/* After a password that was used before: counts it like a wrong code. Write. */
MA_MUST_USE int ma_reset_refused(struct ma_ctx *ctx);
/* Sets it and ends what the user is signed in with. MA_E_CONFLICT when the link was used meanwhile. Write. */
MA_MUST_USE int ma_reset_finish(struct ma_ctx *ctx, const struct ma_reset *reset, const struct ma_new_password *np);

#endif
