/* SPDX-License-Identifier: Apache-2.0
 * Repositories of users who leave, and of the copies they take along; the rules of ma/store.h hold.
 */
#ifndef MA_LEAVERS_H
#define MA_LEAVERS_H

#include "ma/store.h"

/* --- users who are about to be deleted (leaving.c) --- */

/* mac: of the link that takes it back. MA_E_CONFLICT when the user is leaving already. */
MA_MUST_USE int ma_leaving_begin(struct ma_db *db, struct ma_span user_id, int64_t now, int64_t leaves_at,
                                 struct ma_span mac);
/* The user stays after all. MA_E_CONFLICT when the user is not leaving, or is gone but for the erasing. */
MA_MUST_USE int ma_leaving_end(struct ma_db *db, struct ma_span user_id, int64_t now);
/* The user of a link, who may have stayed since (leaves_at 0). MA_E_NOTFOUND. */
MA_MUST_USE int ma_leaving_by_link(struct ma_db *db, struct ma_arena *a, struct ma_span mac, struct ma_user *ret);
struct ma_leaver {
    struct ma_span user_id;
    struct ma_span pseudonym; /* p == NULL: erasing has not begun */
};
/* Those whose time is over, for longest first, at most cap. */
MA_MUST_USE int ma_leaving_due(struct ma_db *db, struct ma_arena *a, int64_t now, struct ma_leaver *ret, size_t cap,
                               size_t *ret_n);
/* Erasing begins: there is no way back from here. MA_E_CONFLICT when it has, or the user stays after all. */
MA_MUST_USE int ma_leaving_erase(struct ma_db *db, struct ma_span user_id, int64_t now, struct ma_span pseudonym);
MA_MUST_USE int ma_leaving_count(struct ma_db *db, int64_t *ret);

/* --- copies of everything about a user (exports.c) --- */

enum ma_export_status { MA_EXPORT_PENDING, MA_EXPORT_READY, MA_EXPORT_FAILED };
const char *ma_export_status_name(enum ma_export_status s); /* "pending"; static */
struct ma_export {
    struct ma_span user_id, id;
    enum ma_export_status status;
    struct ma_span reason; /* of a failure; p == NULL: none */
    int64_t attempts;      /* to make it, so far */
    int64_t size;          /* bytes of the document */
    int64_t created_at, ready_at, expires_at;
};
/* user_id, id and created_at of a new one that is to be made. MA_E_EXISTS when one of the user's is being made. */
MA_MUST_USE int ma_export_insert(struct ma_db *db, const struct ma_export *e);
MA_MUST_USE int ma_export_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span id,
                              struct ma_export *ret);
/* The one that has waited longest; MA_E_NOTFOUND. */
MA_MUST_USE int ma_export_next(struct ma_db *db, struct ma_arena *a, struct ma_export *ret);
/* Another attempt at it: what an earlier one left goes. MA_E_CONFLICT when it is not pending any more. */
MA_MUST_USE int ma_export_begin(struct ma_db *db, struct ma_span user_id, struct ma_span id);
/* status, reason, size, ready_at and expires_at of a pending one; a failed one loses its pieces. MA_E_CONFLICT. */
MA_MUST_USE int ma_export_finish(struct ma_db *db, const struct ma_export *e);
/* With its pieces. MA_E_NOTFOUND. */
MA_MUST_USE int ma_export_delete(struct ma_db *db, struct ma_span user_id, struct ma_span id);
/* The user's others, after ma_export_insert. */
MA_MUST_USE int ma_export_delete_others(struct ma_db *db, struct ma_span user_id, struct ma_span id);
/* One piece of the text, sealed. */
MA_MUST_USE int ma_export_part_put(struct ma_db *db, struct ma_span user_id, struct ma_span part_id,
                                   struct ma_span sealed);
MA_MUST_USE int ma_export_part_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_span part_id,
                                   struct ma_span *ret);
/* Removes those that lapsed before; how many it found (at least `limit`: there may be more), or an error. */
#define MA_EXPORTS_EXPIRED_MAX 50 /* at once: each may have a thousand pieces */
int ma_exports_expire(struct ma_db *db, int64_t before, int limit);

#endif
