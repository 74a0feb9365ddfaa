/* SPDX-License-Identifier: Apache-2.0
 * The hashes of the audit chain; ma/audit.h has their definition.
 */
#include "audit_int.h"

#define PARTS_MAX 20

/* The parts of one hash; lengths and integers live beside them. */
struct parts {
    struct ma_span v[PARTS_MAX];
    uint8_t heads[PARTS_MAX][8];
    size_t n;
};

static void add(struct parts *p, struct ma_span s)
{
    p->v[p->n++] = s;
}

static void add_int(struct parts *p, int64_t v)
{
    uint8_t *head = p->heads[p->n];
    for (unsigned i = 0; i < 8; i++)
        head[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
    add(p, ma_span_of(head, 8));
}

/* Says how long the text is, so that no two rows share their encoding, and tells none from empty. */
static void add_field(struct parts *p, struct ma_span s)
{
    uint8_t *head = p->heads[p->n];
    head[0] = s.p != NULL;
    for (unsigned i = 0; i < 4; i++)
        head[1 + i] = (uint8_t)(s.n >> (24 - 8 * i));
    add(p, ma_span_of(head, s.p ? 5 : 1));
    if (s.n > 0)
        add(p, s);
}

static int mac(const uint8_t key[MA_AUDIT_KEY_LEN], const struct parts *p, uint8_t out[MA_AUDIT_HASH_LEN])
{
    return ma_hmac_sha256_parts(ma_span_of(key, MA_AUDIT_KEY_LEN), p->v, p->n, out);
}

int ma_audit_key(struct ma_vault *v, uint8_t out[MA_AUDIT_KEY_LEN])
{
    return ma_vault_mac(v, "audit-chain", MA_SPAN_NULL, MA_SPAN_NULL, out);
}

int ma_audit_genesis(const uint8_t key[MA_AUDIT_KEY_LEN], const uint8_t chain_id[MA_AUDIT_CHAIN_ID_LEN],
                     uint8_t out[MA_AUDIT_HASH_LEN])
{
    struct parts p = {.n = 0};
    add(&p, MA_LIT("myaccountd audit genesis 1"));
    add(&p, ma_span_of(chain_id, MA_AUDIT_CHAIN_ID_LEN));
    return mac(key, &p, out);
}

int ma_audit_personal(struct ma_span salt, const struct ma_audit_row *row, uint8_t out[MA_AUDIT_HASH_LEN])
{
    struct parts p = {.n = 0};
    add(&p, MA_LIT("myaccountd audit personal 1"));
    add_field(&p, row->user_id);
    add_field(&p, row->ip);
    add_field(&p, row->user_agent);
    add_field(&p, row->request_id);
    add_field(&p, row->method_id);
    add_field(&p, row->detail);
    return ma_hmac_sha256_parts(salt, p.v, p.n, out);
}

int ma_audit_row_hash(const uint8_t key[MA_AUDIT_KEY_LEN], const uint8_t before[MA_AUDIT_HASH_LEN],
                      const struct ma_audit_row *row, struct ma_span personal, uint8_t out[MA_AUDIT_HASH_LEN])
{
    struct parts p = {.n = 0};
    add(&p, MA_LIT("myaccountd audit row 1"));
    add(&p, ma_span_of(before, MA_AUDIT_HASH_LEN));
    add_int(&p, row->id);
    add_int(&p, row->at);
    add_field(&p, row->type);
    add_field(&p, row->operation);
    add_field(&p, row->client_id);
    add(&p, personal);
    return mac(key, &p, out);
}

int ma_audit_erasure(const uint8_t key[MA_AUDIT_KEY_LEN], struct ma_span hash, struct ma_span user_id,
                     uint8_t out[MA_AUDIT_HASH_LEN])
{
    struct parts p = {.n = 0};
    add(&p, MA_LIT("myaccountd audit erasure 1"));
    add(&p, hash);
    add_field(&p, user_id);
    return mac(key, &p, out);
}

static bool is_erased(const struct ma_audit_row *r)
{
    return !r->ip.p && !r->user_agent.p && !r->request_id.p && !r->method_id.p && !r->detail.p;
}

/* The commitment to the personal columns: computed where they are, taken on the program's word where they are gone. */
static const char *commitment(const uint8_t key[MA_AUDIT_KEY_LEN], const struct ma_audit_link *l,
                              uint8_t out[MA_AUDIT_HASH_LEN], int *ret_err)
{
    if (l->salt.p) {
        if (l->personal.p || l->erasure.p)
            return "was changed: it is half erased";
        *ret_err = ma_audit_personal(l->salt, &l->row, out);
        return NULL;
    }
    if (!is_erased(&l->row) || l->personal.n != MA_AUDIT_HASH_LEN || !l->erasure.p)
        return "was changed: it is half erased";
    memcpy(out, l->personal.p, MA_AUDIT_HASH_LEN);
    uint8_t want[MA_AUDIT_HASH_LEN];
    *ret_err = ma_audit_erasure(key, l->hash, l->row.user_id, want);
    return *ret_err == MA_OK && !ma_ct_eq(l->erasure, ma_span_of(want, sizeof want))
               ? "was changed: its erasure is not the program's"
               : NULL;
}

const char *ma_audit_link_fault(const uint8_t key[MA_AUDIT_KEY_LEN], const uint8_t before[MA_AUDIT_HASH_LEN],
                                const struct ma_audit_link *l, int *ret_err)
{
    uint8_t personal[MA_AUDIT_HASH_LEN], want[MA_AUDIT_HASH_LEN];
    *ret_err = MA_OK;
    if (l->hash.n != MA_AUDIT_HASH_LEN)
        return "was not written by the program: it has no hash";
    const char *fault = commitment(key, l, personal, ret_err);
    if (fault || *ret_err != MA_OK)
        return fault;
    *ret_err = ma_audit_row_hash(key, before, &l->row, ma_span_of(personal, sizeof personal), want);
    return *ret_err == MA_OK && !ma_ct_eq(l->hash, ma_span_of(want, sizeof want)) ? "was changed" : NULL;
}
