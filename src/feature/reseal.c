/* SPDX-License-Identifier: Apache-2.0
 * Sealing everything anew: column by column, batch by batch. Opening and sealing happen beside the writer, which only
 * exchanges the values.
 */
#include "ma/reseal.h"

#include "ma/codec.h"
#include "ma/jsonr.h"
#include "ma/sealed.h"

#define BATCH_ARENA_MAX ((size_t)64 << 20)

/* A batch of one column. */
struct batch {
    const struct ma_reseal_env *env;
    const struct ma_sealed_column *column;
    struct ma_arena *a;
    uint32_t newest;
    const struct ma_sealed_row *after; /* last, or NULL: from the start */
    struct ma_sealed_row last;
    struct ma_sealed_row rows[MA_RESEAL_BATCH];
    struct ma_span fresh[MA_RESEAL_BATCH]; /* p == NULL: stays as it is */
    size_t n;
    struct ma_reseal_pass done; /* of this batch */
};

/* --- one value --- */

static int reseal_blob(struct ma_vault *v, struct ma_arena *a, const struct ma_seal_id *id, struct ma_span sealed,
                       struct ma_span *ret)
{
    struct ma_span plain;
    int r = ma_vault_open_blob(v, a, id, sealed, &plain);
    return r == MA_OK ? ma_vault_seal(v, a, id, plain, ret) : r;
}

/* --- the flows of the token service: sealed values in base64url among the members of their JSON --- */

struct flow_text {
    struct ma_span browser, login; /* a login and the browser it belongs to */
    struct ma_span enrol_method, enrol_session, recovery_method, recovery_session; /* an issue that waits */
};
#define MEMBER(m)                                                                                                      \
    {                                                                                                                  \
        .name = #m, .type = MA_F_STR, .flags = MA_NULLOK, .off = offsetof(struct flow_text, m)                         \
    }
static const struct ma_jfield flow_fields[] = {MEMBER(browser),         MEMBER(login),
                                               MEMBER(enrol_method),    MEMBER(enrol_session),
                                               MEMBER(recovery_method), MEMBER(recovery_session)};
#undef MEMBER
static const struct ma_shape flow_shape = MA_SHAPE_OPEN(struct flow_text, flow_fields);

/* What is sealed in a flow, as src/oauth binds it. */
struct flow_seals {
    struct ma_seal_id id[3];
    struct ma_span text[3]; /* base64url */
    size_t n;
};

static void add_seal(struct flow_seals *s, const char *column, struct ma_span row, struct ma_span user,
                     struct ma_span text)
{
    if (!text.p)
        return;
    s->id[s->n] = (struct ma_seal_id){"flows", column, row, user};
    s->text[s->n++] = text;
}

static int flow_read(struct ma_arena *a, struct ma_span data, struct ma_span client_id, struct flow_seals *ret)
{
    MA_CLEANUP(ma_json_free_p) struct ma_json *j = NULL;
    struct ma_verrs errs = {.arena = a};
    struct flow_text t = {.login = MA_SPAN_NULL};
    *ret = (struct flow_seals){.n = 0};
    int r = ma_json_parse(data, &j);
    if (r == MA_OK)
        r = ma_json_decode(j, a, &flow_shape, &t, &errs);
    if (r < 0)
        return r;
    add_seal(ret, "login", t.browser, client_id, t.login);
    add_seal(ret, "enrolment", t.enrol_method, MA_LIT(""), t.enrol_session);
    add_seal(ret, "enrolment", t.recovery_method, MA_LIT(""), t.recovery_session);
    return MA_OK;
}

static int decode_seal(struct ma_arena *a, struct ma_span text, struct ma_span *ret)
{
    size_t n = 0;
    uint8_t *raw = ma_arena_alloc(a, text.n + 1);
    int r = raw ? ma_b64url_decode(text, raw, text.n + 1, &n) : MA_E_NOMEM;
    *ret = ma_span_of(raw, n);
    return r;
}

/* The text with `old`, which occurs in it once for its random nonce, replaced by what is as long. */
static int replace_text(struct ma_arena *a, struct ma_span *data, struct ma_span old, const char *fresh)
{
    const uint8_t *at = memmem(data->p, data->n, old.p, old.n);
    uint8_t *copy = at && strlen(fresh) == old.n ? ma_arena_alloc(a, data->n + 1) : NULL;
    if (!copy)
        return at ? MA_E_NOMEM : MA_E_PARSE;
    memcpy(copy, data->p, data->n);
    memcpy(copy + (at - data->p), fresh, old.n);
    *data = ma_span_of(copy, data->n);
    return MA_OK;
}

static int reseal_text(struct ma_vault *v, struct ma_arena *a, const struct ma_seal_id *id, struct ma_span text,
                       struct ma_span *data)
{
    struct ma_span sealed, fresh;
    int r = decode_seal(a, text, &sealed);
    if (r == MA_OK && ma_seal_key(sealed) == ma_vault_newest(v))
        return MA_OK;
    if (r == MA_OK)
        r = reseal_blob(v, a, id, sealed, &fresh);
    char *out = r == MA_OK ? ma_arena_alloc(a, MA_B64URL_LEN(fresh.n) + 1) : NULL;
    if (!out)
        return r < 0 ? r : MA_E_NOMEM;
    ma_b64url_encode(fresh, out);
    return replace_text(a, data, text, out);
}

/* ret->p == NULL: nothing in it is stale. */
static int reseal_flow(struct ma_vault *v, struct ma_arena *a, const struct ma_sealed_row *row, struct ma_span *ret)
{
    struct flow_seals s;
    struct ma_span data = row->value;
    int r = flow_read(a, data, row->user, &s);
    for (size_t i = 0; r == MA_OK && i < s.n; i++)
        r = reseal_text(v, a, &s.id[i], s.text[i], &data);
    *ret = r == MA_OK && data.p != row->value.p ? data : MA_SPAN_NULL;
    return r;
}

/* --- one batch --- */

static int reseal_row(struct batch *b, size_t i)
{
    const struct ma_sealed_row *row = &b->rows[i];
    b->fresh[i] = MA_SPAN_NULL;
    if (b->column->form == MA_SEALED_FLOW)
        return reseal_flow(b->env->vault, b->a, row, &b->fresh[i]);
    const char *column = ma_arena_strdup(b->a, row->column);
    struct ma_seal_id id = {b->column->table, column, row->row, row->user};
    return column ? reseal_blob(b->env->vault, b->a, &id, row->value, &b->fresh[i]) : MA_E_NOMEM;
}

static int prepare_fn(struct ma_db *db, void *arg)
{
    struct batch *b = arg;
    int r = ma_sealed_list(db, b->a, b->column, b->after, b->newest, b->rows, MA_RESEAL_BATCH, &b->n);
    for (size_t i = 0; r == MA_OK && i < b->n; i++) {
        r = reseal_row(b, i);
        if (r == MA_E_NOMEM || r == MA_OK)
            continue;
        b->done.failed++;
        r = MA_OK;
    }
    return r;
}

static int exchange_fn(struct ma_db *db, void *arg)
{
    struct batch *b = arg;
    b->done.resealed = b->done.missed = 0;
    for (size_t i = 0; i < b->n; i++) {
        int r = b->fresh[i].p ? ma_sealed_put(db, b->column, &b->rows[i], b->fresh[i]) : MA_E_NOTFOUND;
        if (r < 0 && r != MA_E_CONFLICT && r != MA_E_NOTFOUND)
            return r;
        b->done.resealed += r == MA_OK;
        b->done.missed += r == MA_E_CONFLICT;
    }
    return MA_OK;
}

static bool has_fresh(const struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->fresh[i].p)
            return true;
    return false;
}

static int run_batch(struct batch *b, struct ma_reseal_pass *ret)
{
    const struct ma_reseal_env *env = b->env;
    b->done = (struct ma_reseal_pass){.failed = 0};
    int r = env->read(env->arg, prepare_fn, b);
    if (r == MA_OK && has_fresh(b))
        r = env->write(env->arg, exchange_fn, b);
    if (r < 0)
        return r;
    ret->resealed += b->done.resealed;
    ret->missed += b->done.missed;
    ret->failed += b->done.failed;
    return MA_OK;
}

/* The key to go on after, in the arena that the batch before does not use. */
static int remember(struct ma_arena *a, const struct ma_sealed_row *row, struct ma_sealed_row *ret)
{
    for (size_t i = 0; i < MA_SEALED_KEYS; i++) {
        ret->key[i] = row->key[i].p ? ma_arena_dup(a, row->key[i]) : MA_SPAN_NULL;
        if (row->key[i].p && !ret->key[i].p)
            return MA_E_NOMEM;
    }
    return MA_OK;
}

static int run_column(struct batch *b, struct ma_arena *kept, struct ma_reseal_pass *ret)
{
    b->last = (struct ma_sealed_row){.value = MA_SPAN_NULL};
    b->after = NULL;
    do {
        ma_arena_reset(b->a);
        int r = run_batch(b, ret);
        if (r == MA_OK && b->n > 0) {
            ma_arena_reset(kept);
            r = remember(kept, &b->rows[b->n - 1], &b->last);
            b->after = &b->last;
        }
        if (r == MA_OK && b->env->more && !b->env->more(b->env->arg))
            r = MA_E_BUSY;
        if (r < 0)
            return r;
    } while (b->n == MA_RESEAL_BATCH);
    return MA_OK;
}

int ma_reseal_run(const struct ma_reseal_env *env, struct ma_reseal_pass *ret)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, BATCH_ARENA_MAX);
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *kept = ma_arena_new(4096, MA_ARENA_MAX);
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *own = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    size_t n = 0;
    const struct ma_sealed_column *columns = ma_sealed_columns(&n);
    *ret = (struct ma_reseal_pass){.failed = 0};
    struct batch *b = own ? ma_arena_calloc(own, 1, sizeof *b) : NULL;
    if (!a || !kept || !b)
        return MA_E_NOMEM;
    b->env = env;
    b->a = a;
    b->newest = ma_vault_newest(env->vault);
    int r = MA_OK;
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        b->column = &columns[i];
        r = run_column(b, kept, ret);
    }
    return r;
}

/* --- counting --- */

struct tally {
    struct ma_reseal_status *s;
    enum ma_sealed_form form;
    struct ma_arena *a;
};

static void count_key(struct ma_reseal_status *s, uint32_t id)
{
    s->values++;
    for (size_t i = 0; i < s->n_keys; i++) {
        if (s->keys[i].key.id == id) {
            s->keys[i].values++;
            s->waiting += !s->keys[i].key.seals;
            return;
        }
    }
    s->orphans++;
    s->orphans_key = id;
}

static int count_value(void *arg, struct ma_span value)
{
    struct tally *t = arg;
    struct flow_seals seals;
    if (t->form == MA_SEALED_BLOB) {
        count_key(t->s, ma_seal_key(value));
        return MA_OK;
    }
    ma_arena_reset(t->a);
    int r = flow_read(t->a, value, MA_LIT(""), &seals);
    for (size_t i = 0; r == MA_OK && i < seals.n; i++) {
        struct ma_span sealed;
        r = decode_seal(t->a, seals.text[i], &sealed);
        if (r == MA_OK)
            count_key(t->s, ma_seal_key(sealed));
    }
    return r == MA_E_NOMEM ? r : MA_OK; /* a damaged flow holds nothing that could be kept */
}

int ma_reseal_status(struct ma_db *db, struct ma_vault *v, struct ma_reseal_status *ret)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, BATCH_ARENA_MAX);
    struct ma_vault_key_info keys[MA_VAULT_KEYS_MAX];
    size_t n = 0;
    const struct ma_sealed_column *columns = ma_sealed_columns(&n);
    *ret = (struct ma_reseal_status){.n_keys = ma_vault_keys(v, keys)};
    for (size_t i = 0; i < ret->n_keys; i++)
        ret->keys[i].key = keys[i];
    if (!a)
        return MA_E_NOMEM;
    int r = MA_OK;
    for (size_t i = 0; r == MA_OK && i < n; i++) {
        struct tally t = {ret, columns[i].form, a};
        r = ma_sealed_each(db, &columns[i], count_value, &t);
    }
    return r;
}

int ma_reseal_percent(const struct ma_reseal_status *s)
{
    return s->values == 0 ? 100 : (int)((s->values - s->waiting) * 100 / s->values);
}

int ma_reseal_retire(struct ma_vault *v, const struct ma_reseal_status *s, size_t *ret_n, char why[256])
{
    uint32_t ids[MA_VAULT_KEYS_MAX];
    size_t n = 0;
    why[0] = '\0';
    for (size_t i = 0; i < s->n_keys; i++)
        if (!s->keys[i].key.seals && s->keys[i].values == 0)
            ids[n++] = s->keys[i].key.id;
    *ret_n = 0;
    int r = n > 0 ? ma_vault_retire(v, ids, n, why) : MA_OK;
    if (r == MA_OK)
        *ret_n = n;
    return r;
}
