/* SPDX-License-Identifier: Apache-2.0
 * Schema migrations: the files of sql/sqlite, embedded, applied once and in order.
 */
#include "ma/db.h"

#include "int.h"
#include "ma/crypto.h"
#include "ma/embed.h"

struct migration {
    int64_t version;
    const char *name;
    const uint8_t *start, *end;
};

MA_EMBED(ma_migration_0001, "sql/sqlite/0001_init.sql");
MA_EMBED(ma_migration_0002, "sql/sqlite/0002_webauthn.sql");
MA_EMBED(ma_migration_0003, "sql/sqlite/0003_connected_accounts.sql");
MA_EMBED(ma_migration_0004, "sql/sqlite/0004_token_service.sql");
MA_EMBED(ma_migration_0005, "sql/sqlite/0005_revocations.sql");
MA_EMBED(ma_migration_0006, "sql/sqlite/0006_audit_chain.sql");
MA_EMBED(ma_migration_0007, "sql/sqlite/0007_limits.sql");
MA_EMBED(ma_migration_0008, "sql/sqlite/0008_notifications.sql");
MA_EMBED(ma_migration_0009, "sql/sqlite/0009_account.sql");
MA_EMBED(ma_migration_0010, "sql/sqlite/0010_push.sql");
MA_EMBED(ma_migration_0011, "sql/sqlite/0011_leaving.sql");

static const struct migration MIGRATIONS[] = {
    {1, "init", ma_migration_0001_start, ma_migration_0001_end},
    {2, "webauthn", ma_migration_0002_start, ma_migration_0002_end},
    {3, "connected_accounts", ma_migration_0003_start, ma_migration_0003_end},
    {4, "token_service", ma_migration_0004_start, ma_migration_0004_end},
    {5, "revocations", ma_migration_0005_start, ma_migration_0005_end},
    {6, "audit_chain", ma_migration_0006_start, ma_migration_0006_end},
    {7, "limits", ma_migration_0007_start, ma_migration_0007_end},
    {8, "notifications", ma_migration_0008_start, ma_migration_0008_end},
    {9, "account", ma_migration_0009_start, ma_migration_0009_end},
    {10, "push", ma_migration_0010_start, ma_migration_0010_end},
    {11, "leaving", ma_migration_0011_start, ma_migration_0011_end},
};

static const struct ma_sql Q_TABLES = {
    MA_DB_Q_TABLES, "SELECT count(*), coalesce(sum(name = 'schema_migrations'), 0) FROM sqlite_schema WHERE type = "
                    "'table'"};
static const struct ma_sql Q_MIGRATIONS = {MA_DB_Q_MIGRATIONS,
                                           "SELECT version, name, sha256 FROM schema_migrations ORDER BY version"};
static const struct ma_sql Q_MIGRATED = {
    MA_DB_Q_MIGRATED, "INSERT INTO schema_migrations (version, name, sha256, applied_at) VALUES ($1, $2, $3, $4)"};

static const char CREATE_REGISTER[] = "CREATE TABLE schema_migrations ("
                                      "version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, "
                                      "sha256 BLOB NOT NULL, applied_at INTEGER NOT NULL) STRICT";

static struct ma_span script_of(const struct migration *m)
{
    return ma_span_of(m->start, (size_t)(m->end - m->start));
}

/* Nothing is created in a database that some other program made. */
static int look(struct ma_db *db, bool *has_register, char why[MA_WHY_MAX])
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &Q_TABLES, &st);
    if (r == MA_OK)
        r = ma_stmt_step(st);
    if (r != MA_OK)
        return ma_db_why(why, r, "cannot read the database's schema: %s", ma_err_text(r));
    *has_register = ma_col_int(st, 1) != 0;
    if (!*has_register && ma_col_int(st, 0) != 0)
        return ma_db_why(why, MA_E_CONFLICT, "the database belongs to another program: no schema_migrations table");
    return MA_OK;
}

static int check_recorded(struct ma_stmt *st, int64_t done, char why[MA_WHY_MAX])
{
    long long version = (long long)ma_col_int(st, 0);
    if (done >= (int64_t)MA_COUNT(MIGRATIONS))
        return ma_db_why(why, MA_E_CONFLICT,
                         "the database has schema version %lld, this program knows %lld: a newer version wrote it",
                         version, (long long)MIGRATIONS[MA_COUNT(MIGRATIONS) - 1].version);
    const struct migration *m = &MIGRATIONS[done];
    if (version != m->version)
        return ma_db_why(why, MA_E_CONFLICT, "schema migration %lld is recorded where %lld was expected", version,
                         (long long)m->version);
    uint8_t sha[MA_SHA256_LEN];
    int r = ma_sha256(script_of(m), sha);
    if (r != MA_OK)
        return ma_db_why(why, r, "cannot hash schema migration %lld", version);
    if (!ma_span_eq(ma_col_view(st, 2), ma_span_of(sha, sizeof(sha))))
        return ma_db_why(why, MA_E_CONFLICT,
                         "schema migration %lld (%s) differs from the one this database was made with", version,
                         m->name);
    return MA_OK;
}

static int count_applied(struct ma_db *db, int64_t *ret, char why[MA_WHY_MAX])
{
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    int r = ma_db_stmt(db, &Q_MIGRATIONS, &st);
    if (r != MA_OK)
        return ma_db_why(why, r, "cannot read schema_migrations: %s", ma_err_text(r));
    *ret = 0;
    for (;;) {
        r = ma_stmt_step(st);
        if (r == MA_E_NOTFOUND)
            return MA_OK;
        if (r != MA_OK)
            return ma_db_why(why, r, "cannot read schema_migrations: %s", ma_err_text(r));
        r = check_recorded(st, *ret, why);
        if (r != MA_OK)
            return r;
        ++*ret;
    }
}

int ma_db_schema(struct ma_db *db, int64_t *ret_version, char why[MA_WHY_MAX])
{
    bool has_register = false;
    why[0] = '\0';
    int r = look(db, &has_register, why);
    if (r == MA_OK && !has_register)
        r = ma_db_why(why, MA_E_CONFLICT, "the database has no schema_migrations table");
    return r == MA_OK ? count_applied(db, ret_version, why) : r;
}

static int record(struct ma_db *db, const struct migration *m, int64_t now_ms)
{
    uint8_t sha[MA_SHA256_LEN];
    int r = ma_sha256(script_of(m), sha);
    if (r != MA_OK)
        return r;
    struct ma_stmt *st MA_CLEANUP(ma_stmt_reset_p) = NULL;
    r = ma_db_stmt(db, &Q_MIGRATED, &st);
    if (r != MA_OK)
        return r;
    ma_bind_int(st, 1, m->version);
    ma_bind_text(st, 2, ma_span_str(m->name));
    ma_bind_blob(st, 3, ma_span_of(sha, sizeof(sha)));
    ma_bind_int(st, 4, now_ms);
    return ma_stmt_run(st);
}

/* The register is made with the first migration, so that a database has both or neither. */
static int apply(struct ma_db *db, const struct migration *m, bool make_register, int64_t now_ms, char why[MA_WHY_MAX])
{
    int r = ma_db_begin(db);
    if (r != MA_OK)
        return ma_db_why(why, r, "schema migration %lld: %s", (long long)m->version, ma_err_text(r));
    if (make_register)
        r = ma_db_script(db, CREATE_REGISTER, why);
    if (r == MA_OK)
        r = ma_db_script(db, (const char *)m->start, why);
    if (r != MA_OK) {
        ma_db_rollback(db);
        return r;
    }
    r = record(db, m, now_ms);
    if (r == MA_OK)
        r = ma_db_commit(db);
    if (r == MA_OK)
        return MA_OK;
    ma_db_rollback(db);
    return ma_db_why(why, r, "schema migration %lld: %s", (long long)m->version, ma_err_text(r));
}

int ma_migrate(struct ma_db *writer, int64_t now_ms, char why[MA_WHY_MAX])
{
    why[0] = '\0';
    bool has_register = false;
    int64_t done = 0;
    int r = look(writer, &has_register, why);
    if (r == MA_OK && has_register)
        r = count_applied(writer, &done, why);
    for (size_t i = (size_t)done; r == MA_OK && i < MA_COUNT(MIGRATIONS); i++) {
        r = apply(writer, &MIGRATIONS[i], !has_register, now_ms, why);
        has_register = true;
    }
    return r;
}
