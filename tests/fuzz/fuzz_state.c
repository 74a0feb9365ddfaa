/* SPDX-License-Identifier: Apache-2.0
 * Fuzz entry of the state document: dry run, apply, load, export, and the export applied again,
 * which must change nothing.
 */
#include "ma/state.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ma/crypto.h"

#define ARENA_BYTES ((size_t)16 << 20)
#define TEXT_BYTES ((size_t)64 << 20)
#define NOW 1700000000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ma_db *db;
static struct ma_vault *vault;
static char dir[] = "/tmp/ma_fuzz_state_XXXXXX";

static void demand(bool ok)
{
    if (!ok)
        abort();
}

static void clean_up(void)
{
    static const char *const names[] = {
        "t.db", "t.db-wal", "t.db-shm", "t.db.lock", "keys/vault.keys", "keys/vault.canary", "keys/pepper", "keys", ""};
    char path[96];
    ma_vault_close(vault);
    ma_db_close(db);
    for (size_t i = 0; i < MA_COUNT(names); i++) {
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        (void)remove(path);
    }
}

/* One database for the whole run; every input is rolled back. */
static void open_once(void)
{
    char path[64], keys[64], why[256];
    if (db)
        return;
    demand(mkdtemp(dir) != NULL);
    (void)snprintf(path, sizeof path, "%s/t.db", dir);
    (void)snprintf(keys, sizeof keys, "%s/keys", dir);
    demand(ma_crypto_init() == MA_OK);
    demand(ma_db_open(path, MA_DB_WRITER, NULL, &db, why) == MA_OK);
    demand(ma_migrate(db, NOW, why) == MA_OK);
    demand(ma_vault_open(keys, ma_rand_system(), &vault, why) == MA_OK);
    demand(atexit(clean_up) == 0);
}

static int apply(struct ma_span doc, bool dry, struct ma_buf *report)
{
    struct ma_arena *a MA_CLEANUP(ma_arena_free_p) = ma_arena_new(MA_ARENA_FIRST, ARENA_BYTES);
    struct ma_verrs errs = {.arena = a};
    struct ma_apply_env env = {.db = db, .vault = vault, .rand = ma_rand_system(), .now_ms = NOW, .dry_run = dry};
    ma_buf_clear(report);
    int rc = ma_state_apply(&env, doc, report, &errs);
    demand((rc == MA_E_INVAL || rc == MA_E_PARSE) == (errs.n > 0));
    for (size_t i = 0; i < errs.n; i++)
        demand(errs.v[i].pointer[0] == '\0' || errs.v[i].pointer[0] == '/');
    return rc;
}

static void use_snapshot(void)
{
    struct ma_state *s = NULL;
    char why[256];
    demand(ma_state_load(db, NULL, 0, "example", &s, why) == MA_OK);
    for (size_t i = 0; i < s->n_clients; i++)
        demand(ma_state_client(s, s->clients[i].client_id) == &s->clients[i]);
    for (size_t i = 0; i < s->n_connections; i++)
        demand(ma_state_connection(s, s->connections[i].name) == &s->connections[i]);
    for (size_t i = 0; i < s->origins.n; i++)
        (void)ma_state_any_origin(s, s->origins.v[i]);
    ma_state_unref(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ma_span doc = ma_span_of(data, size);
    struct ma_buf report, out;
    open_once();
    if (size > 2 && memmem(data, size, "password\"", 9))
        return 0; /* hashing would be all the time spent */
    ma_buf_init(&report, TEXT_BYTES);
    ma_buf_init(&out, TEXT_BYTES);
    demand(ma_db_begin(db) == MA_OK);
    int dry = apply(doc, true, &report);
    int rc = apply(doc, false, &report);
    demand(dry == rc);
    if (rc == MA_OK) {
        use_snapshot();
        demand(ma_state_export(db, &out) == MA_OK);
        demand(apply(ma_buf_view(&out), false, &report) == MA_OK);
        demand(ma_span_eq_str(ma_buf_view(&report), "no changes\n"));
    }
    ma_db_rollback(db);
    ma_buf_free(&report);
    ma_buf_free(&out);
    return 0;
}
