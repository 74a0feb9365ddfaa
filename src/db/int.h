/* SPDX-License-Identifier: Apache-2.0
 * What the driver and the migrations share: ids of their own statements, running a script, the files.
 */
#ifndef MA_DB_INT_H
#define MA_DB_INT_H

#include "ma/db.h"

#include <limits.h>

#define MA_WHY_MAX 256

/* The driver's own statements, at the end of the id space. */
enum ma_db_own {
    MA_DB_Q_BEGIN = MA_SQL_MAX - MA_SQL_OWN,
    MA_DB_Q_READ,
    MA_DB_Q_COMMIT,
    MA_DB_Q_ROLLBACK,
    MA_DB_Q_SAVEPOINT,
    MA_DB_Q_RELEASE,
    MA_DB_Q_ROLLBACK_TO,
    MA_DB_Q_TABLES,
    MA_DB_Q_MIGRATIONS,
    MA_DB_Q_MIGRATED,
    MA_DB_Q__END
};
_Static_assert((int)MA_DB_Q__END <= MA_SQL_MAX, "MA_SQL_OWN is too small");

/* Writes an operator's sentence to why and returns err. */
int ma_db_why(char why[MA_WHY_MAX], int err, const char *fmt, ...) MA_PRINTF(3, 4);

/* Resolves path to real (a link and its target share one lock) and checks directory and file. The writer
 * takes the lock, whose descriptor the caller closes even on failure (-1: none), and creates the file. */
MA_MUST_USE int ma_db_files(const char *path, bool writer, char real[PATH_MAX], int *ret_lock, char why[MA_WHY_MAX]);
/* Resolves path and takes the lock alone; real need not exist. */
MA_MUST_USE int ma_db_lock(const char *path, char real[PATH_MAX], int *ret_lock, char why[MA_WHY_MAX]);
/* "what path: the system's words", and the status that errno stands for. */
MA_MUST_USE int ma_db_why_errno(char why[MA_WHY_MAX], const char *what, const char *path);
/* Makes the file and its name durable. */
MA_MUST_USE int ma_db_file_sync(int fd, const char *path, char why[MA_WHY_MAX]);

/* VACUUM INTO: `to` is missing or empty. Not synced. */
MA_MUST_USE int ma_db_copy_into(struct ma_db *db, const char *to, char why[MA_WHY_MAX]);
/* The file that the connection works on. Borrowed. */
const char *ma_db_path(const struct ma_db *db);
/* Opens the database without a lock of its own and closes it again, which brings what is in its log into it. */
void ma_db_fold_log(const char *path);

/* Runs every statement of a NUL-terminated script; the engine's message goes to why. */
MA_MUST_USE int ma_db_script(struct ma_db *db, const char *script, char why[MA_WHY_MAX]);

#endif
