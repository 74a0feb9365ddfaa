/* SPDX-License-Identifier: Apache-2.0
 * Everything about one user: handed out as a document (GDPR articles 15 and 20), and erased (article 17).
 *
 * The document is one JSON object: "format" (MA_PERSONAL_FORMAT), "user_id", "exported_at"; for each table of
 * ma/owned.h a member of its name, a list of objects whose members are the columns; "organizations" the user is a
 * member of; and "audit", the user's rows of the audit trail. What is NULL or has not happened is left out. There are
 * no hashes, seeds, tokens or MACs in it.
 */
#ifndef MA_PERSONAL_H
#define MA_PERSONAL_H

#include "ma/owned.h"
#include "ma/vault.h"

#define MA_PERSONAL_FORMAT "myaccountd user export 1"

/* Takes the document piece by piece, tens of kilobytes at a time. An error ends the writing. */
struct ma_personal_sink {
    int (*put)(void *arg, struct ma_span text);
    void *arg;
};
/* Writes the document, from one snapshot of the database. reader: outside a transaction. MA_E_NOTFOUND (before anything
 * is put): no such user. */
MA_MUST_USE int ma_personal_write(struct ma_db *reader, struct ma_vault *v, struct ma_span user_id, int64_t now_ms,
                                  const struct ma_personal_sink *sink);

/* Erases the user: every row of the tables of ma/owned.h, and the memberships in organizations. Writer, in a
 * transaction; MA_E_NOTFOUND. The audit trail is the caller's business. What is gone from the tables leaves the files
 * with ma_db_scrub and ma_db_truncate_wal. */
MA_MUST_USE int ma_personal_erase(struct ma_db *writer, struct ma_span user_id, int64_t now_ms);

#endif
