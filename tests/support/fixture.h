/* SPDX-License-Identifier: Apache-2.0
 * A small world for tests of the request path without HTTP: a temporary database with the state document applied, a
 * vault, message texts, a manual clock, seeded randomness, and one request context that is used again and again.
 */
#ifndef MA_TEST_FIXTURE_H
#define MA_TEST_FIXTURE_H

#include <check.h>

#include "ma/app.h"

#define T_IS(want, expr)                                                                                               \
    do {                                                                                                               \
        int t_r = (expr);                                                                                              \
        ck_assert_msg(t_r == (want), "%s: %s, not %s", #expr, ma_err_name(t_r), ma_err_name(want));                    \
    } while (0)
#define T_OK(expr) T_IS(MA_OK, expr)
#define T_STR(span, s) ck_assert_msg(ma_span_eq_str((span), (s)), "%s is \"%.*s\"", #span, (int)(span).n, (span).p)

#define MA_FIX_START 1764000000000  /* 2025-11-24T16:00:00Z */
#define MA_FIX_ALICE "auth0|alice"  /* database identity, no password yet, e-mail not verified */
#define MA_FIX_BOB "auth0|bob"      /* verified e-mail bob@example.com */
#define MA_FIX_CAROL "google|carol" /* no database identity */

struct ma_fix {
    char dir[64], database[96];
    struct ma_app app;
    struct ma_clock_manual clock;
    struct ma_rand_seeded rand;
    struct ma_conf *conf; /* tests may change it */
    struct ma_conf_ref *conf_ref;
    struct ma_state *state;
    struct ma_arena *arena;
    struct ma_ctx ctx;
};

/* Opens everything with the standard document. conf_text: lines that follow the fixture's own; "" none. */
void ma_fix_open(struct ma_fix *f, const char *conf_text);
void ma_fix_close(struct ma_fix *f);
/* Merges a state document and loads the snapshot again. */
void ma_fix_apply(struct ma_fix *f, const char *document);
/* A fresh request of this user through this client, at the clock's time. Everything of the last one is gone. */
struct ma_ctx *ma_fix_request(struct ma_fix *f, const char *user_id, const char *client_id);
/* The next step of the same caller: answer and flags are reset, the arena stays. */
struct ma_ctx *ma_fix_again(struct ma_fix *f);
void ma_fix_advance(struct ma_fix *f, int64_t ms);
/* Sets the caller's password in the database, with a cheap hash. */
void ma_fix_give_password(struct ma_fix *f, const char *text);

/* One write as the writer lane runs it: begin, then end with the result, which it returns. */
void ma_fix_begin(struct ma_fix *f);
int ma_fix_end(struct ma_fix *f, int result);
#define MA_FIX_WRITE(f, expr) (ma_fix_begin(f), ma_fix_end((f), (expr)))

/* The recorded answer is this error with this detail (NULL: any). */
void ma_fix_expect_problem(const struct ma_fix *f, int result, int status, const char *detail, const char *where);
#define T_PROBLEM(f, status, detail, expr) ma_fix_expect_problem((f), (expr), (status), (detail), __FILE__ " " #expr)
/* True when the recorded body holds the text. */
bool ma_fix_body_has(const struct ma_fix *f, const char *text);
/* The value of a recorded header, or NULL. */
const char *ma_fix_header(const struct ma_ctx *ctx, const char *name);

/* Removes a flat directory and what is in it. */
void ma_fix_remove(const char *dir);

#endif
