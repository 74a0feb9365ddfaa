/* SPDX-License-Identifier: Apache-2.0
 * Inside the admin module: the command table, what a running command sees, and frames.
 */
#ifndef MA_ADMIN_INT_H
#define MA_ADMIN_INT_H

#include "ma/admin.h"
#include "ma/store.h"

#define MA_ADMIN_ARENA_MAX ((size_t)256 << 20) /* bytes of one command's working memory */
#define MA_ADMIN_PAGE 500                      /* rows read at a time */

/* A command while it runs. */
struct ma_cmd {
    const struct ma_admin_env *env;
    const struct ma_admin_args *args;
    struct ma_span payload;
    struct ma_arena *a;
    struct ma_buf *out, *err;
};

struct ma_command {
    const char *name;  /* "user show" */
    const char *usage; /* behind the name */
    int (*fn)(struct ma_cmd *c);
    uint32_t needs;    /* enum ma_admin_need */
    uint32_t options;  /* allowed */
    uint32_t required; /* of these */
    uint8_t min, max;  /* positionals */
};
const struct ma_command *ma_command_find(struct ma_span name);
/* All commands; *ret_n rows. Static. */
const struct ma_command *ma_commands(size_t *ret_n);
/* The name of the i-th option, NULL behind the last; its bit of enum ma_admin_opt (0 where every command takes it) and
 * whether it has a value. */
const char *ma_command_option(size_t i, uint32_t *ret_bit, bool *ret_value);
/* NULL, or what is wrong with the arguments (arena; static when there is no memory). */
const char *ma_command_refuse(struct ma_arena *a, const struct ma_command *cmd, const struct ma_admin_args *args);

int ma_cmd_apply(struct ma_cmd *c);
int ma_cmd_export(struct ma_cmd *c);
int ma_cmd_token(struct ma_cmd *c);
int ma_cmd_keys_list(struct ma_cmd *c);
int ma_cmd_keys_rotate(struct ma_cmd *c);
int ma_cmd_keys_reseal(struct ma_cmd *c);
int ma_cmd_user_list(struct ma_cmd *c);
int ma_cmd_user_show(struct ma_cmd *c);
int ma_cmd_user_export(struct ma_cmd *c);
int ma_cmd_user_delete(struct ma_cmd *c);
int ma_cmd_user_reset_link(struct ma_cmd *c);
int ma_cmd_vacuum(struct ma_cmd *c);
int ma_cmd_method_list(struct ma_cmd *c);
int ma_cmd_method_reset(struct ma_cmd *c);
int ma_cmd_account_list(struct ma_cmd *c);
int ma_cmd_account_check(struct ma_cmd *c);
int ma_cmd_audit(struct ma_cmd *c);
int ma_cmd_audit_export(struct ma_cmd *c);
int ma_cmd_audit_verify(struct ma_cmd *c);
int ma_cmd_audit_erase(struct ma_cmd *c);
int ma_cmd_audit_discard(struct ma_cmd *c);
int ma_cmd_outbox_list(struct ma_cmd *c);
int ma_cmd_outbox_retry(struct ma_cmd *c);
int ma_cmd_routes(struct ma_cmd *c);
int ma_cmd_backup(struct ma_cmd *c);
int ma_cmd_restore(struct ma_cmd *c);
int ma_cmd_keys_export(struct ma_cmd *c);
int ma_cmd_keys_import(struct ma_cmd *c);
int ma_cmd_health(struct ma_cmd *c);
int ma_cmd_metrics(struct ma_cmd *c);
int ma_cmd_check_config(struct ma_cmd *c);
int ma_cmd_breached_build(struct ma_cmd *c);
int ma_cmd_breached_check(struct ma_cmd *c);

/* Tells the user, in the transaction of the change. */
MA_MUST_USE int ma_cmd_tell(const struct ma_cmd *c, struct ma_db *db, const struct ma_admin_news *news);
/* One line on stderr; returns MA_EXIT_FAILED. */
int ma_cmd_fail(struct ma_cmd *c, const char *fmt, ...) MA_PRINTF(2, 3);
/* As ma_cmd_fail with the text of a status. */
int ma_cmd_fail_rc(struct ma_cmd *c, const char *what, int rc);
void ma_cmd_changed(const struct ma_cmd *c);
/* Puts what the operator did on record; positional[0] is no user unless user_id says so. detail: members that follow
 * the actor's, with a comma before them; "" none. */
MA_MUST_USE int ma_cmd_audit_row(struct ma_cmd *c, struct ma_db *db, const char *type, const char *operation,
                                 struct ma_span user_id, const char *detail);
int64_t ma_cmd_now(const struct ma_cmd *c);
/* Erases the user from the trail, batch after batch, in transactions of its own: what is left when `last` begins is
 * erased in that transaction, together with whatever else it does. The trail names the user by the pseudonym then. */
struct ma_erase {
    struct ma_cmd *c;
    struct ma_span user_id;
    int (*last)(struct ma_db *db, struct ma_erase *e); /* in the last transaction; may be NULL */
    const char *type, *operation;                      /* of the row that tells about it */
    char pseudonym[40];
    int64_t rows;  /* erased so far */
    size_t latest; /* of them, in the transaction that runs */
};
MA_MUST_USE int ma_cmd_erase(struct ma_erase *e);

/* The user row must be there: MA_EXIT_OK, or a failure that says so. */
int ma_cmd_need_user(struct ma_cmd *c, struct ma_span user_id, struct ma_user *ret);

/* --- frames (wire.c) --- */
struct ma_frame {
    struct ma_span header, payload; /* borrowed from mem */
    uint8_t *mem;                   /* owned (ma_frame_free) */
    size_t n;
};
void ma_frame_free(struct ma_frame *f);
/* Sends a frame of a header and two runs of payload. MA_E_RANGE, MA_E_TIMEOUT, MA_E_IO. */
MA_MUST_USE int ma_frame_send(int fd, struct ma_span header, struct ma_span payload, struct ma_span more);
struct ma_frame_wait {
    int timeout_ms; /* without a byte; -1: forever */
    int stop;       /* a descriptor that ends the waiting when it becomes readable; -1: none */
};
/* Receives one: MA_E_PARSE for anything else, MA_E_RANGE over max_payload, MA_E_TIMEOUT, MA_E_IO (also when the peer
 * hung up), MA_E_NOMEM. */
MA_MUST_USE int ma_frame_recv(int fd, const struct ma_frame_wait *wait, size_t max_payload, struct ma_frame *ret);
/* Request headers. */
MA_MUST_USE int ma_admin_encode(struct ma_buf *b, const struct ma_admin_args *args);
MA_MUST_USE int ma_admin_decode(struct ma_arena *a, struct ma_span header, struct ma_admin_args *ret);

#define MA_ADMIN_FIRST_BYTE_MS 2000 /* a peer that says nothing does not keep a thread */
#define MA_ADMIN_BACKOFF_MS 100     /* when the process is out of descriptors */
enum ma_admin_speech { MA_SPEECH_NONE, MA_SPEECH_FRAME, MA_SPEECH_HTTP };
/* What the peer's first byte begins; waits for it. Nothing is consumed. */
enum ma_admin_speech ma_admin_listen(int fd, const struct ma_frame_wait *wait);
/* Answers one GET or HEAD of /health/live, /health/ready or /metrics. */
void ma_admin_http(int fd, const struct ma_frame_wait *wait, const struct ma_admin_env *env);

#endif
