/* SPDX-License-Identifier: Apache-2.0
 * Puts push messages into the outbox of a daemon that does not run, for tests of their delivery:
 *   put_push DATABASE KEY_DIRECTORY USER WRITTEN_AT_MS [TO DATA]...
 */
#include "ma/crypto.h"
#include "ma/outbox.h"

#include <stdio.h>
#include <stdlib.h>

struct put {
    struct ma_vault *vault;
    struct ma_templates *templates;
    struct ma_arena *arena;
    int64_t now_ms;
    const char *user;
    char **pairs; /* NULL after the last */
};

static int put_all(const struct put *p, struct ma_db *db)
{
    int r = MA_OK;
    for (char **v = p->pairs; r == MA_OK && v[0] && v[1]; v += 2) {
        const struct ma_message m = {.channel = MA_CHANNEL_PUSH,
                                     .user_id = ma_span_str(p->user),
                                     .to = ma_span_str(v[0]),
                                     .template_name = "push",
                                     .data = ma_span_str(v[1])};
        r = ma_outbox_enqueue(db, p->vault, p->templates, ma_rand_system(), p->arena, &m, p->now_ms);
    }
    return r;
}

static int put_with(struct put *p, const char *database, const char *keys, char why[256])
{
    struct ma_db *db = NULL;
    int r = ma_templates_load("", &p->templates, why);
    if (r == MA_OK)
        r = ma_vault_open(keys, ma_rand_system(), &p->vault, why);
    if (r == MA_OK)
        r = ma_db_open(database, MA_DB_WRITER, NULL, &db, why);
    if (r == MA_OK)
        r = ma_db_begin(db);
    if (r == MA_OK)
        r = put_all(p, db);
    if (r == MA_OK)
        r = ma_db_commit(db);
    ma_db_close(db);
    ma_vault_close(p->vault);
    ma_templates_free(p->templates);
    return r;
}

int main(int argc, char **argv)
{
    char why[256] = "";
    if (argc < 7 || ma_crypto_init() != MA_OK) {
        (void)fputs("usage: put_push DATABASE KEY_DIRECTORY USER WRITTEN_AT_MS TO DATA [TO DATA]...\n", stderr);
        return 2;
    }
    struct put p = {.arena = ma_arena_new(MA_ARENA_FIRST, 8 * MA_ARENA_MAX),
                    .now_ms = strtoll(argv[4], NULL, 10),
                    .user = argv[3],
                    .pairs = argv + 5};
    int r = p.arena ? put_with(&p, argv[1], argv[2], why) : MA_E_NOMEM;
    ma_arena_free(p.arena);
    ma_crypto_cleanup();
    if (r < 0)
        (void)fprintf(stderr, "put_push: %s %s\n", ma_err_text(r), why);
    return r < 0 ? 1 : 0;
}
