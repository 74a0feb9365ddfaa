/* SPDX-License-Identifier: Apache-2.0
 * Ties a database to the key directory it was sealed with.
 */
#include "ma/state.h"

#include <stdio.h>

static const struct ma_seal_id CANARY = {"object_secrets", "canary", {(const uint8_t *)"vault|", 6}, {NULL, 0}};

static int plant(struct ma_db *db, struct ma_vault *v, struct ma_arena *a, int64_t now_ms)
{
    struct ma_span sealed;
    int r = ma_vault_seal(v, a, &CANARY, MA_LIT("myaccountd"), &sealed);
    if (r == MA_OK)
        r = ma_db_begin(db);
    if (r < 0)
        return r;
    r = ma_object_secret_put(db, MA_LIT("vault"), MA_LIT(""), MA_LIT("canary"), sealed, now_ms);
    if (r == MA_OK)
        r = ma_db_commit(db);
    if (r < 0)
        ma_db_rollback(db);
    return r;
}

static int check(struct ma_db *db, struct ma_vault *vault, struct ma_arena *a, char why[256])
{
    struct ma_span sealed, plain;
    int r = ma_object_secret_get(db, a, MA_LIT("vault"), MA_LIT(""), MA_LIT("canary"), &sealed);
    if (r == MA_OK)
        r = ma_vault_open_blob(vault, a, &CANARY, sealed, &plain);
    if (r == MA_E_AUTH)
        (void)snprintf(why, 256, "key_directory does not hold the keys this database was sealed with: restore it");
    return r;
}

int ma_state_bind_vault(struct ma_db *db, struct ma_vault *vault, int64_t now_ms, char why[256])
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    if (!a)
        return MA_E_NOMEM;
    int r = check(db, vault, a, why);
    return r == MA_E_NOTFOUND ? plant(db, vault, a, now_ms) : r;
}

int ma_state_check_vault(struct ma_db *db, struct ma_vault *vault, char why[256])
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(4096, MA_ARENA_MAX);
    if (!a)
        return MA_E_NOMEM;
    int r = check(db, vault, a, why);
    if (r == MA_E_NOTFOUND)
        (void)snprintf(why, 256, "the database does not say which keys it was sealed with: no daemon has used it");
    return r;
}
