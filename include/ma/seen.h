/* SPDX-License-Identifier: Apache-2.0
 * When a sign-in was last used. Every call with an access token is a use, and none may cost a write: uses are noted in
 * memory, to the minute, and written together now and then. What is not written when the process ends is lost.
 */
#ifndef MA_SEEN_H
#define MA_SEEN_H

#include "ma/store.h"

#define MA_SEEN_MAX 1024      /* sign-ins that are remembered; the oldest of those that are written give way */
#define MA_SEEN_STEP_MS 60000 /* a use so soon after a noted one is the same */
#define MA_SEEN_USER_MAX 255  /* bytes; what is longer is not noted */
#define MA_SEEN_SID_MAX 63
#define MA_SEEN_CLIENT_MAX 255

struct ma_seen;
/* Owned (ma_seen_free). */
MA_MUST_USE int ma_seen_new(struct ma_seen **ret);
void ma_seen_free(struct ma_seen *s);
/* A token of the user that names this session, or the refresh token it came with, was used by the client. Does not
 * block for long. Thread-safe. */
void ma_seen_note(struct ma_seen *s, struct ma_span user_id, struct ma_span sid, struct ma_span client_id, int64_t now);
/* When the client (client_id.p NULL: anybody) last used a token of the session, as far as is remembered; 0 otherwise.
 * Thread-safe. */
int64_t ma_seen_at(struct ma_seen *s, struct ma_span user_id, struct ma_span sid, struct ma_span client_id);
/* Writes at most `limit` of what was noted since: used_at of sessions and refresh tokens. The writer, in a transaction.
 * Returns the count or an error. */
int ma_seen_flush(struct ma_seen *s, struct ma_db *db, int limit);

#endif
