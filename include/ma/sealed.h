/* SPDX-License-Identifier: Apache-2.0
 * Where sealed values are kept: the one list of columns that a change of vault keys must go through, and the reading
 * and replacing of what stands in them. A column that is missing here fails tests/unit/test_sealed.c.
 */
#ifndef MA_SEALED_H
#define MA_SEALED_H

#include "ma/db.h"

#define MA_SEALED_KEYS 3 /* members of a primary key at most */

/* How the value stands in its column. */
enum ma_sealed_form {
    MA_SEALED_BLOB, /* the column is the sealed value */
    MA_SEALED_FLOW  /* JSON text of a flow, with sealed values in base64url among its members */
};

struct ma_sealed_column {
    const char *table, *column;
    enum ma_sealed_form form;
    uint8_t n_keys; /* of the primary key */
    bool blob_key;  /* the (only) key is a BLOB */
    const struct ma_sql *list, *put, *count;
};
/* The list; *ret_n rows. Static. */
const struct ma_sealed_column *ma_sealed_columns(size_t *ret_n);

/* One value with what it is bound to (struct ma_seal_id), all borrowed from the arena it was read into. */
struct ma_sealed_row {
    struct ma_span key[MA_SEALED_KEYS];
    struct ma_span column, row, user;
    struct ma_span value;
};
/* Rows after `after` (NULL: from the start) in the order of the primary key, at most cap. Of MA_SEALED_BLOB only those
 * that another key than `newest` sealed. Reader or writer. */
MA_MUST_USE int ma_sealed_list(struct ma_db *db, struct ma_arena *a, const struct ma_sealed_column *c,
                               const struct ma_sealed_row *after, uint32_t newest, struct ma_sealed_row *ret,
                               size_t cap, size_t *ret_n);
/* Puts `fresh` in the place of row->value. MA_E_CONFLICT when that is not there any more. Writer, in a transaction. */
MA_MUST_USE int ma_sealed_put(struct ma_db *db, const struct ma_sealed_column *c, const struct ma_sealed_row *row,
                              struct ma_span fresh);
/* Calls fn for every value of the column: a whole sealed value's beginning (MA_SEALED_BLOB) or the flow's JSON.
 * Stops at its first error and returns it. Reader or writer; one snapshot per call. */
MA_MUST_USE int ma_sealed_each(struct ma_db *db, const struct ma_sealed_column *c,
                               int (*fn)(void *arg, struct ma_span value), void *arg);

#endif
