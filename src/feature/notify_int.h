/* SPDX-License-Identifier: Apache-2.0
 * What the files about security notices share.
 */
#ifndef MA_NOTIFY_INT_H
#define MA_NOTIFY_INT_H

#include "ma/notify.h"

/* Audit rows of our own: a message was written; a link was used; it could not be undone (yet). */
#define MA_AUDIT_NOTICE "security_notice_sent"
#define MA_AUDIT_UNDONE "security_undo_succeeded"
#define MA_AUDIT_NOT_UNDONE "security_undo_failed"

/* A method as it is kept; secrets in clear. */
struct ma_kept_method {
    struct ma_method m; /* secret: the TOTP seed, or the recovery code's MAC */
    bool has_credential;
    struct ma_credential c;
    bool has_device;
    struct ma_push_device d; /* push_token in clear */
    struct ma_span pair;     /* its authenticator, as a text of its own; p == NULL: none */
};
MA_MUST_USE int ma_kept_method_write(struct ma_arena *a, const struct ma_kept_method *k, struct ma_span *ret);
MA_MUST_USE int ma_kept_method_read(struct ma_arena *a, struct ma_span text, struct ma_kept_method *ret);

struct ma_kept_password {
    struct ma_span hash;
    bool must_reset;
};
MA_MUST_USE int ma_kept_password_write(struct ma_arena *a, const struct ma_kept_password *k, struct ma_span *ret);
MA_MUST_USE int ma_kept_password_read(struct ma_arena *a, struct ma_span text, struct ma_kept_password *ret);
struct ma_kept_settings {
    struct ma_span name; /* p == NULL: none */
    bool voice;
};
MA_MUST_USE int ma_kept_settings_write(struct ma_arena *a, const struct ma_kept_settings *k, struct ma_span *ret);
MA_MUST_USE int ma_kept_settings_read(struct ma_arena *a, struct ma_span text, struct ma_kept_settings *ret);

/* What the message said and where it went, as JSON text; arena. */
MA_MUST_USE int ma_notice_info_write(const struct ma_notify_env *env, const struct ma_notice *n,
                                     const struct ma_change *c, struct ma_span when, struct ma_span *ret);
MA_MUST_USE int ma_notice_info_read(struct ma_arena *a, struct ma_span text, struct ma_notice_info *ret);
MA_MUST_USE int ma_notice_unseal(struct ma_vault *v, struct ma_arena *a, const struct ma_notice_row *row,
                                 const char *column, struct ma_span sealed, struct ma_span *ret);

/* The message to each of them, with an audit row about it. */
MA_MUST_USE int ma_notify_letter(const struct ma_notify_env *env, const struct ma_reach *reach, size_t n,
                                 struct ma_message *m, const char *operation, struct ma_span subject);
/* An audit row; detail NULL: MA_E_NOMEM. */
MA_MUST_USE int ma_notify_audit(const struct ma_notify_env *env, const char *type, struct ma_span user_id,
                                const char *operation, struct ma_span subject, const char *detail);

#endif
