/* SPDX-License-Identifier: Apache-2.0
 * The tables that hold rows of users: the one list by which everything about a user is handed out and erased. A table
 * or column that is missing here fails tests/unit/test_personal.c. The audit trail is the exception: it outlives its
 * users and is read with ma_audit_list.
 */
#ifndef MA_OWNED_H
#define MA_OWNED_H

#include "ma/store.h"

/* How a column is handed out. */
enum ma_owned_form {
    MA_OWNED_TEXT,
    MA_OWNED_INT,
    MA_OWNED_BOOL,
    MA_OWNED_TIME,   /* epoch milliseconds; 0: never, left out */
    MA_OWNED_JSON,   /* JSON text */
    MA_OWNED_BYTES,  /* as base64url */
    MA_OWNED_SEALED, /* a sealed JSON text, bound to the row whose id is the first column */
    MA_OWNED_LETTER  /* a sealed message: whom it goes to, and no more */
};
struct ma_owned_column {
    const char *name;
    enum ma_owned_form form;
};
struct ma_owned_table {
    const char *table;
    const struct ma_sql *list; /* the columns, of the rows of user $1 */
    const struct ma_owned_column *columns;
    size_t n_columns;
    /* Columns that are never handed out, blank-separated: hashes, seeds, tokens, MACs, and what belongs to one
     * sign-in or connection under way. */
    const char *withheld;
};
/* The list; *ret_n rows. Static. */
const struct ma_owned_table *ma_owned_tables(size_t *ret_n);
/* Calls fn for each of the user's rows, with the statement on the row. Stops at its first error and returns it. Reader
 * or writer. */
MA_MUST_USE int ma_owned_each(struct ma_db *db, const struct ma_owned_table *t, struct ma_span user_id,
                              int (*fn)(void *arg, struct ma_stmt *row), void *arg);

/* The object of this kind whose key follows `after`; MA_E_NOTFOUND when there is none. arena. */
MA_MUST_USE int ma_object_next(struct ma_db *db, struct ma_arena *a, struct ma_span kind, struct ma_span after,
                               struct ma_object *ret);

#endif
