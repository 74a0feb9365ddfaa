/* SPDX-License-Identifier: Apache-2.0
 * What users say of themselves: columns of their row.
 */
#include "ma/store.h"

#include "int.h"

MA_QUERY(PROFILE_GET, "SELECT name, given_name, family_name, nickname, picture, user_metadata FROM users "
                      "WHERE user_id = $1");
MA_QUERY(PROFILE_PUT, "UPDATE users SET name = $2, given_name = $3, family_name = $4, nickname = $5, picture = $6, "
                      "user_metadata = $7, updated_at = $8 WHERE user_id = $1");

int ma_profile_get(struct ma_db *db, struct ma_arena *a, struct ma_span user_id, struct ma_profile *ret)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_PROFILE_GET, user_id, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r == MA_OK)
        *ret = (struct ma_profile){
            .name = ma_store_col(st, 0, a, &r),
            .given_name = ma_store_col(st, 1, a, &r),
            .family_name = ma_store_col(st, 2, a, &r),
            .nickname = ma_store_col(st, 3, a, &r),
            .picture = ma_store_col(st, 4, a, &r),
            .user_metadata = ma_store_col(st, 5, a, &r),
        };
    return r;
}

int ma_profile_put(struct ma_db *db, struct ma_span user_id, const struct ma_profile *p, int64_t now)
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_store_stmt(db, &ma_q_PROFILE_PUT, user_id, &st);
    if (r != MA_OK)
        return r;
    ma_bind_text(st, 2, p->name);
    ma_bind_text(st, 3, p->given_name);
    ma_bind_text(st, 4, p->family_name);
    ma_bind_text(st, 5, p->nickname);
    ma_bind_text(st, 6, p->picture);
    ma_bind_text(st, 7, p->user_metadata);
    ma_bind_int(st, 8, now);
    return ma_store_change(db, st, MA_E_NOTFOUND);
}
