/* SPDX-License-Identifier: Apache-2.0
 * What handing out and erasing share: the organizations a user is a member of.
 */
#ifndef MA_FEATURE_PERSONAL_INT_H
#define MA_FEATURE_PERSONAL_INT_H

#include "ma/personal.h"

struct ma_membership {
    struct ma_object object; /* the organization */
    struct ma_span id, name, display_name;
    struct ma_span_list members;
};
/* Calls fn for each organization with the user among its members; a is emptied before each. */
MA_MUST_USE int ma_memberships_each(struct ma_db *db, struct ma_arena *a, struct ma_span user_id,
                                    int (*fn)(void *arg, const struct ma_membership *m), void *arg);

#endif
