/* SPDX-License-Identifier: Apache-2.0
 * Keys that come and go: the ring's file is replaced as a whole, and the ring in memory follows it.
 *
 * A new key is in the file before anything is sealed with it, and the canary is sealed anew before the key that it
 * needed goes: whatever the moment of a crash, ring, canary and sealed values fit together.
 */
#include "ma/vault.h"

#include "int.h"
#include "ma/codec.h"

#include <errno.h>
#include <stdio.h>
#include <sys/file.h>

#define SHOWN_MAX 4096
#define ROTATE_ARENA 8192u

/* What a change works on. */
struct change {
    struct ma_vault *v;
    struct ma_vault_dir d;
    uint8_t *before, *after; /* texts of MA_VAULT_FILE_MAX bytes, secure memory */
    size_t n_before, n_after;
    struct ma_vault_ring *ring; /* of the text after; secure memory */
    char *why;
};

static void change_end(struct change *c)
{
    ma_secure_free(c->before, MA_VAULT_FILE_MAX);
    ma_secure_free(c->after, MA_VAULT_FILE_MAX);
    ma_secure_free(c->ring, sizeof *c->ring);
    ma_fd_close_p(&c->d.fd); /* and the lock with it */
}

/* One change at a time over all processes; the file is what counts, not what this process remembers of it. */
static int change_begin(struct change *c)
{
    c->d = (struct ma_vault_dir){-1, c->v->dir};
    c->before = ma_secure_alloc(MA_VAULT_FILE_MAX);
    c->after = ma_secure_alloc(MA_VAULT_FILE_MAX);
    c->ring = ma_secure_alloc(sizeof *c->ring);
    if (!c->before || !c->after || !c->ring)
        return MA_E_NOMEM;
    const int rc = ma_vault_dir_open(&c->d, c->why);
    if (rc != MA_OK)
        return rc;
    if (flock(c->d.fd, LOCK_EX) != 0)
        return ma_why_errno(c->why, MA_E_IO, c->d.name, errno);
    return ma_vault_ring_text(&c->d, MA_VAULT_RING_FILE, c->before, &c->n_before, c->why);
}

static int parse(struct change *c, const uint8_t *text, size_t n)
{
    char shown[SHOWN_MAX];

    snprintf(shown, sizeof shown, "%s/%s", c->d.name, MA_VAULT_RING_FILE);
    return ma_keyring_parse(c->ring, ma_span_of(text, n), shown, c->why);
}

static int write_ring(struct change *c)
{
    return ma_vault_file_replace(&c->d, MA_VAULT_RING_FILE, MA_VAULT_RING_NEXT, ma_span_of(c->after, c->n_after),
                                 c->why);
}

static int write_canary(struct change *c)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(ROTATE_ARENA, ROTATE_ARENA);
    struct ma_span blob;

    if (!a)
        return MA_E_NOMEM;
    const int rc = ma_vault_canary_blob(c->v, c->ring, a, &blob);
    return rc != MA_OK ? rc : ma_vault_file_replace(&c->d, MA_VAULT_CANARY_FILE, MA_VAULT_CANARY_NEXT, blob, c->why);
}

static void adopt(struct change *c)
{
    (void)pthread_rwlock_wrlock(&c->v->lock);
    c->v->ring = *c->ring;
    (void)pthread_rwlock_unlock(&c->v->lock);
}

/* --- a new key --- */

static int add_key(struct change *c, int64_t now_s, uint32_t *ret_id)
{
    int rc = parse(c, c->before, c->n_before);
    if (rc != MA_OK)
        return rc;
    uint32_t id = 0;
    for (size_t i = 0; i < c->ring->n; i++)
        id = c->ring->keys[i].id > id ? c->ring->keys[i].id : id;
    if (c->ring->n == MA_VAULT_KEYS_MAX || id == UINT32_MAX) {
        snprintf(c->why, MA_WHY_MAX, "%.150s/%s: the ring is full", c->d.name, MA_VAULT_RING_FILE);
        return MA_E_RANGE;
    }
    /* The newest seals; a clock that went back must not change that. */
    const int64_t last = c->ring->keys[c->ring->newest].created;
    *ret_id = id + 1;
    rc = ma_keyring_append(c->v->rand, ma_span_of(c->before, c->n_before), id + 1, now_s > last ? now_s : last,
                           (char *)c->after, &c->n_after);
    if (rc == MA_OK)
        rc = parse(c, c->after, c->n_after);
    return rc == MA_OK ? write_ring(c) : rc;
}

/* The last word on a failure that no function named a file for. */
static int verdict(const struct change *c, int rc)
{
    if (rc != MA_OK && c->why[0] == '\0')
        snprintf(c->why, MA_WHY_MAX, "%.150s: %s", c->v->dir, ma_err_text(rc));
    return rc;
}

int ma_vault_rotate(struct ma_vault *v, int64_t now_s, uint32_t *ret_id, char why[256])
{
    MA_CLEANUP(change_end) struct change c = {.v = v, .d = {-1, NULL}, .why = why};

    why[0] = '\0';
    int rc = change_begin(&c);
    if (rc == MA_OK)
        rc = add_key(&c, now_s, ret_id);
    if (rc == MA_OK) {
        adopt(&c);
        rc = write_canary(&c);
    }
    return verdict(&c, rc);
}

/* --- the end of old ones --- */

static bool ring_keeps_newest(const struct ma_vault_ring *ring, const uint32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (ids[i] == ring->keys[ring->newest].id)
            return false;
    }
    return true;
}

/* The key that the canary file names may be one of those that go. */
static int renew_canary(struct change *c)
{
    uint8_t blob[256];
    size_t n = 0;

    const int rc = ma_vault_file_read(&c->d, MA_VAULT_CANARY_FILE, blob, sizeof blob, &n, c->why);
    if (rc != MA_OK)
        return rc;
    return ma_seal_key(ma_span_of(blob, n)) == c->ring->keys[c->ring->newest].id ? MA_OK : write_canary(c);
}

static int drop_keys(struct change *c, const uint32_t *ids, size_t n)
{
    int rc = parse(c, c->before, c->n_before);
    if (rc == MA_OK && !ring_keeps_newest(c->ring, ids, n))
        rc = MA_E_INVAL;
    if (rc == MA_OK)
        rc = renew_canary(c);
    if (rc != MA_OK)
        return rc;
    ma_keyring_remove(ma_span_of(c->before, c->n_before), ids, n, (char *)c->after, &c->n_after);
    rc = parse(c, c->after, c->n_after);
    return rc == MA_OK ? write_ring(c) : rc;
}

int ma_vault_retire(struct ma_vault *v, const uint32_t *ids, size_t n, char why[256])
{
    MA_CLEANUP(change_end) struct change c = {.v = v, .d = {-1, NULL}, .why = why};

    why[0] = '\0';
    int rc = change_begin(&c);
    if (rc == MA_OK)
        rc = drop_keys(&c, ids, n);
    if (rc == MA_OK)
        adopt(&c);
    return verdict(&c, rc);
}

/* --- looking --- */

size_t ma_vault_keys(struct ma_vault *v, struct ma_vault_key_info ret[MA_VAULT_KEYS_MAX])
{
    (void)pthread_rwlock_rdlock(&v->lock);
    const size_t n = v->ring.n;
    for (size_t i = 0; i < n; i++)
        ret[i] = (struct ma_vault_key_info){v->ring.keys[i].id, v->ring.keys[i].created, i == v->ring.newest};
    (void)pthread_rwlock_unlock(&v->lock);
    return n;
}

uint32_t ma_vault_newest(struct ma_vault *v)
{
    (void)pthread_rwlock_rdlock(&v->lock);
    const uint32_t id = v->ring.keys[v->ring.newest].id;
    (void)pthread_rwlock_unlock(&v->lock);
    return id;
}

int ma_vault_name(struct ma_vault *v, char ret[MA_VAULT_NAME_LEN + 1])
{
    uint8_t mac[32];

    const int rc = ma_vault_mac(v, "name", MA_SPAN_NULL, MA_SPAN_NULL, mac);
    if (rc == MA_OK)
        ma_hex_encode(ma_span_of(mac, MA_VAULT_NAME_LEN / 2), ret);
    return rc;
}
