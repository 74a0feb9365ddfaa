/* SPDX-License-Identifier: Apache-2.0
 * How users take their data along and leave: copies of everything held about them (GDPR articles 15 and 20), and the
 * deletion of the account (article 17) with a time to think better of it.
 *
 * Leaving. From the moment it is asked for the account is locked: every session, code, refresh token and access token
 * has ended, and whoever signs in can do one thing, come back. That takes the link in the message (the mailbox is
 * enough, as for the other links in messages: all it can do is keep an account), a complete sign-in on the hosted page,
 * or the API with a token that is good for nothing else. When the time is over the account is erased as an operator's
 * `user delete` does it: from then on there is no way back, and the first step of erasing says so in the user's row, so
 * that no return can come between. What is gone from the rows leaves the database's files in the same pass.
 *
 * Copies. Asked for in a request, made by a thread of its own (src/app/clerk.c) from one snapshot of the database with
 * the engine of `user export`, and kept in pieces, each sealed, until they lapse. A daemon that ends in between begins
 * that copy anew.
 */
#ifndef MA_LEAVING_H
#define MA_LEAVING_H

#include "ma/ctx.h"
#include "ma/metrics.h"
#include "ma/leavers.h"

/* --- leaving (src/feature/leaving.c) --- */

#define MA_RESTORE_PATH "/security/keep-account"
#define MA_LEAVINGS_PER_DAY 10 /* times that an account may ask to be deleted: each tells its owner */

static inline bool ma_user_is_leaving(const struct ma_user *u)
{
    return u->leaves_at != 0;
}
/* There is still time. */
static inline bool ma_user_may_return(const struct ma_user *u, int64_t now)
{
    return u->leaves_at > now;
}

/* Locks the account of ctx->who and ends all its access; the message with the link is written, except where the account
 * leaves at once. *ret_leaves_at: when it will be erased. MA_E_PROBLEM (409) when it is leaving already. Write. */
MA_MUST_USE int ma_leave(struct ma_ctx *ctx, int64_t *ret_leaves_at);
/* Keeps the account of ctx->who after all and tells its owner. how: "link", "sign_in", "api". MA_E_CONFLICT when it is
 * not leaving (*ret_stays), or its time is over. Write. */
MA_MUST_USE int ma_return(struct ma_ctx *ctx, const char *how, bool *ret_stays);
/* The user behind a link, who is leaving or has stayed (leaves_at 0); makes ctx->who that user. MA_E_NOTFOUND also when
 * the time is over. Any lane. */
MA_MUST_USE int ma_return_find(struct ma_ctx *ctx, struct ma_span token, struct ma_user *ret);

/* --- copies (src/feature/export.c) --- */

#define MA_EXPORT_ID_LEN 26              /* "exp_" and 22 characters */
#define MA_EXPORT_MAX ((size_t)16 << 20) /* bytes of a document that is made for users; larger ones: operators */
#define MA_EXPORT_PART_MAX 49152u        /* bytes of a piece */
#define MA_EXPORT_TRIES 3

/* A new one of ctx->who, in place of any that is ready. MA_E_PROBLEM: 409 while one is being made, 429. Write; sets
 * ctx->wake_clerk. */
MA_MUST_USE int ma_export_request(struct ma_ctx *ctx, struct ma_export *ret);
/* One of ctx->who that has not lapsed. MA_E_PROBLEM (404). Any lane. */
MA_MUST_USE int ma_export_find(struct ma_ctx *ctx, struct ma_span id, struct ma_export *ret);
/* Notes that the document is handed out. Write. */
MA_MUST_USE int ma_export_fetched(struct ma_ctx *ctx, const struct ma_export *e);
/* Appends the document of a ready one, without the line end. MA_E_NOTFOUND when it is gone, or not as long as it says.
 * Reader or writer. */
MA_MUST_USE int ma_export_text(struct ma_db *db, struct ma_vault *v, const struct ma_export *e, struct ma_buf *out);

/* --- the work behind both, off the request path --- */

struct ma_clerk_env {
    struct ma_vault *vault;
    const struct ma_rand *rand;
    struct ma_log *log;
    struct ma_metrics *metrics; /* NULL: nothing is counted */
    int64_t now_ms;
    int64_t export_ttl_ms;
    void *arg; /* of the callbacks */
    /* Runs fn with a connection that may only read, outside any transaction. */
    int (*read)(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg);
    /* Runs fn in the writer's next transaction and waits for the commit. */
    int (*write)(void *arg, int (*fn)(struct ma_db *, void *), void *fn_arg);
    /* Whether to go on; NULL: always. */
    bool (*more)(void *arg);
};
/* Makes the copy that has waited longest. MA_E_NOTFOUND: none waits. Another error: it goes on waiting, up to
 * MA_EXPORT_TRIES attempts. */
MA_MUST_USE int ma_export_make(const struct ma_clerk_env *env);
/* Erases the users whose time is over, a few at a time. *ret_n: how many; more may be left when it is
 * MA_ERASE_AT_ONCE. What fails is logged, keeps nothing else from being done, and is
 * tried again with the next call. What was deleted leaves the files only
 * with ma_db_scrub and ma_db_truncate_wal: the caller's. */
#define MA_ERASE_AT_ONCE 16
MA_MUST_USE int ma_erase_due(const struct ma_clerk_env *env, size_t *ret_n);

#endif
