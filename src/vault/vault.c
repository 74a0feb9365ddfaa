/* SPDX-License-Identifier: Apache-2.0
 * Sealing of values at rest and keyed hashes of codes; opening and first creation of the key directory.
 *
 * Creation goes pepper, vault.keys.new, vault.canary and last the rename to vault.keys: a start that
 * was cut short leaves vault.keys.new behind and is begun again, and nothing was sealed yet. Every
 * other incomplete set means that a file was lost, and is never repaired by making a new one.
 */
#include "ma/vault.h"

#include "int.h"
#include "ma/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOB_VERSION 1
#define BLOB_KEY_AT MA_SEAL_KEY_AT
#define BLOB_NONCE_AT 5
#define BLOB_TEXT_AT (BLOB_NONCE_AT + MA_AEAD_NONCE_LEN)
#define AAD_LENGTH_LEN 4
#define CANARY_LEN MA_SHA256_LEN
#define CANARY_BLOB_LEN (CANARY_LEN + MA_SEAL_OVERHEAD)
#define SHOWN_MAX 4096
#define MAC_INFO_MAX 96
#define CREATE_ARENA 4096u

static const char mac_info[] = "myaccountd vault mac 1 ";

/* --- sealing --- */

static void put_u32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* "table|column|row|user" and the length of row: ids may contain the separator themselves, and two
 * rows must never share their additional data. p == NULL when out of memory. */
static struct ma_span make_aad(struct ma_arena *a, const struct ma_seal_id *id)
{
    const struct ma_span parts[] = {ma_span_str(id->table), ma_span_str(id->column), id->row, id->user};
    size_t n = MA_COUNT(parts) - 1 + AAD_LENGTH_LEN;

    if (id->row.n > UINT32_MAX)
        return MA_SPAN_NULL;
    for (size_t i = 0; i < MA_COUNT(parts); i++) {
        if (!ma_add_ok(n, parts[i].n, &n))
            return MA_SPAN_NULL;
    }
    uint8_t *out = ma_arena_alloc(a, n);
    if (!out)
        return MA_SPAN_NULL;
    size_t at = 0;
    for (size_t i = 0; i < MA_COUNT(parts); i++) {
        if (i > 0)
            out[at++] = '|';
        if (parts[i].n > 0)
            memcpy(out + at, parts[i].p, parts[i].n);
        at += parts[i].n;
    }
    put_u32(out + at, (uint32_t)id->row.n);
    return ma_span_of(out, n);
}

static int seal_with(const struct ma_vault *v, const struct ma_vault_key *k, struct ma_arena *a,
                     const struct ma_seal_id *id, struct ma_span plain, struct ma_span *ret)
{
    const struct ma_span aad = make_aad(a, id);
    size_t n = 0;

    *ret = MA_SPAN_NULL;
    if (!aad.p || !ma_add_ok(plain.n, (size_t)MA_SEAL_OVERHEAD, &n))
        return MA_E_NOMEM;
    uint8_t *out = ma_arena_alloc(a, n);
    if (!out)
        return MA_E_NOMEM;
    out[0] = BLOB_VERSION;
    put_u32(out + BLOB_KEY_AT, k->id);
    int rc = v->rand->fill(v->rand, out + BLOB_NONCE_AT, MA_AEAD_NONCE_LEN);
    if (rc != MA_OK)
        return rc;
    rc = ma_aead_seal(k->seal, out + BLOB_NONCE_AT, aad, plain, out + BLOB_TEXT_AT);
    if (rc == MA_OK)
        *ret = ma_span_of(out, n);
    return rc;
}

int ma_vault_seal(struct ma_vault *v, struct ma_arena *a, const struct ma_seal_id *id, struct ma_span plain,
                  struct ma_span *ret)
{
    (void)pthread_rwlock_rdlock(&v->lock);
    const int rc = seal_with(v, &v->ring.keys[v->ring.newest], a, id, plain, ret);
    (void)pthread_rwlock_unlock(&v->lock);
    return rc;
}

uint32_t ma_seal_key(struct ma_span sealed)
{
    return sealed.n < MA_SEAL_OVERHEAD || sealed.p[0] != BLOB_VERSION ? 0 : get_u32(sealed.p + BLOB_KEY_AT);
}

static int open_with(const struct ma_vault_ring *ring, struct ma_arena *a, const struct ma_seal_id *id,
                     struct ma_span sealed, struct ma_span *ret)
{
    const struct ma_vault_key *k = ma_keyring_find(ring, ma_seal_key(sealed));
    *ret = MA_SPAN_NULL;
    if (!k)
        return MA_E_AUTH;
    const struct ma_span aad = make_aad(a, id);
    const struct ma_span text = ma_span_of(sealed.p + BLOB_TEXT_AT, sealed.n - BLOB_TEXT_AT);
    uint8_t *out = ma_arena_alloc(a, sealed.n - MA_SEAL_OVERHEAD);
    if (!aad.p || !out)
        return MA_E_NOMEM;
    const int rc = ma_aead_open(k->seal, sealed.p + BLOB_NONCE_AT, aad, text, out);
    if (rc == MA_OK)
        *ret = ma_span_of(out, sealed.n - MA_SEAL_OVERHEAD);
    return rc;
}

int ma_vault_open_blob(struct ma_vault *v, struct ma_arena *a, const struct ma_seal_id *id, struct ma_span sealed,
                       struct ma_span *ret)
{
    (void)pthread_rwlock_rdlock(&v->lock);
    const int rc = open_with(&v->ring, a, id, sealed, ret);
    (void)pthread_rwlock_unlock(&v->lock);
    return rc;
}

int ma_vault_mac(struct ma_vault *v, const char *purpose, struct ma_span context, struct ma_span value, uint8_t out[32])
{
    const struct ma_span parts[] = {context, ma_span_of("", 1), value};
    char info[MAC_INFO_MAX];
    uint8_t key[MA_SHA256_LEN];

    const int n = snprintf(info, sizeof info, "%s%s", mac_info, purpose);
    if (n < 0 || (size_t)n >= sizeof info)
        return MA_E_RANGE;
    int rc = ma_hkdf_sha256(ma_span_of(v->pepper, sizeof v->pepper), ma_span_str(info), key, sizeof key);
    if (rc == MA_OK)
        rc = ma_hmac_sha256_parts(ma_span_of(key, sizeof key), parts, MA_COUNT(parts), out);
    ma_wipe(key, sizeof key);
    return rc;
}

/* --- the canary: proves that ring and pepper are the ones the database was written with --- */

static const struct ma_seal_id canary_id = {"vault", "canary", {NULL, 0}, {NULL, 0}};

static int canary_text(struct ma_vault *v, uint8_t out[CANARY_LEN])
{
    return ma_vault_mac(v, "canary", MA_SPAN_NULL, MA_SPAN_NULL, out);
}

int ma_vault_canary_blob(struct ma_vault *v, const struct ma_vault_ring *ring, struct ma_arena *a, struct ma_span *ret)
{
    uint8_t text[CANARY_LEN];

    const int rc = canary_text(v, text);
    return rc != MA_OK ? rc
                       : seal_with(v, &ring->keys[ring->newest], a, &canary_id, ma_span_of(text, sizeof text), ret);
}

static int canary_create(struct ma_vault *v, const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(CREATE_ARENA, CREATE_ARENA);
    struct ma_span blob;

    if (!a)
        return MA_E_NOMEM;
    const int rc = ma_vault_canary_blob(v, &v->ring, a, &blob);
    return rc != MA_OK ? rc : ma_vault_file_create(d, MA_VAULT_CANARY_FILE, blob, why);
}

static int canary_check(struct ma_vault *v, const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(CREATE_ARENA, CREATE_ARENA);
    uint8_t blob[CANARY_BLOB_LEN];
    uint8_t want[CANARY_LEN];
    struct ma_span got;
    size_t n = 0;

    if (!a)
        return MA_E_NOMEM;
    int rc = ma_vault_file_read(d, MA_VAULT_CANARY_FILE, blob, sizeof blob, &n, why);
    if (rc != MA_OK)
        return rc == MA_E_NOTFOUND ? MA_E_IO : rc;
    if (ma_vault_open_blob(v, a, &canary_id, ma_span_of(blob, n), &got) != MA_OK) {
        snprintf(why, MA_WHY_MAX, "%.120s/%s: does not open with the keys of %s: not the ring it was made with",
                 d->name, MA_VAULT_CANARY_FILE, MA_VAULT_RING_FILE);
        return MA_E_CRYPTO;
    }
    rc = canary_text(v, want);
    if (rc == MA_OK && !ma_ct_eq(got, ma_span_of(want, sizeof want))) {
        snprintf(why, MA_WHY_MAX, "%.120s/%s: not the pepper %s was made with", d->name, MA_VAULT_PEPPER_FILE,
                 MA_VAULT_CANARY_FILE);
        return MA_E_CRYPTO;
    }
    return rc;
}

/* --- the directory --- */

static int dir_check(const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    struct stat st;

    if (fstat(d->fd, &st) != 0)
        return ma_why_errno(why, MA_E_IO, d->name, errno);
    if (st.st_uid != 0 && st.st_uid != geteuid()) {
        snprintf(why, MA_WHY_MAX, "%.150s: owned by uid %u, must be root or uid %u", d->name, st.st_uid, geteuid());
        return MA_E_PERM;
    }
    if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        snprintf(why, MA_WHY_MAX, "%.150s: mode %04o lets others write, must be 0700", d->name, st.st_mode & 07777u);
        return MA_E_PERM;
    }
    return MA_OK;
}

int ma_vault_dir_open(struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    d->fd = open(d->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0)
        return ma_why_errno(why, errno == EACCES ? MA_E_PERM : MA_E_IO, d->name, errno);
    return dir_check(d, why);
}

static int dir_open(struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    const bool made = mkdir(d->name, S_IRWXU) == 0;

    if (!made && errno != EEXIST)
        return ma_why_errno(why, errno == EACCES ? MA_E_PERM : MA_E_IO, d->name, errno);
    const int rc = ma_vault_dir_open(d, why);
    if (rc == MA_OK && made) {
        MA_CLEANUP(ma_fd_close_p) int parent = openat(d->fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (parent < 0 || fsync(parent) != 0)
            return ma_why_errno(why, MA_E_IO, d->name, errno);
    }
    return rc;
}

bool ma_vault_dir_has(const struct ma_vault_dir *d, const char *name)
{
    struct stat st;

    return fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static int lost(const struct ma_vault_dir *d, const char *missing, const char *there, char why[MA_WHY_MAX])
{
    snprintf(why, MA_WHY_MAX, "%.120s/%s: is missing while %s exists; restore it from a backup", d->name, missing,
             there);
    return MA_E_IO;
}

/* --- opening and creating --- */

static int pepper_read(struct ma_vault *v, const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    size_t n = 0;
    const int rc = ma_vault_file_read(d, MA_VAULT_PEPPER_FILE, v->pepper, sizeof v->pepper, &n, why);

    if (rc != MA_OK && rc != MA_E_RANGE)
        return rc == MA_E_NOTFOUND ? MA_E_IO : rc;
    if (rc == MA_OK && n == sizeof v->pepper)
        return MA_OK;
    snprintf(why, MA_WHY_MAX, "%.150s/%s: must be exactly %d bytes", d->name, MA_VAULT_PEPPER_FILE,
             MA_VAULT_PEPPER_LEN);
    return MA_E_PARSE;
}

static int pepper_create(struct ma_vault *v, const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    if (ma_vault_dir_has(d, MA_VAULT_PEPPER_FILE)) /* left by an interrupted start, or provisioned */
        return pepper_read(v, d, why);
    const int rc = v->rand->fill(v->rand, v->pepper, sizeof v->pepper);
    return rc != MA_OK ? rc
                       : ma_vault_file_create(d, MA_VAULT_PEPPER_FILE, ma_span_of(v->pepper, sizeof v->pepper), why);
}

struct ring_text {
    uint8_t *p;
};

static void ring_text_free_p(struct ring_text *t)
{
    ma_secure_free(t->p, MA_VAULT_FILE_MAX);
}

int ma_vault_ring_text(const struct ma_vault_dir *d, const char *name, uint8_t *buf, size_t *ret_n,
                       char why[MA_WHY_MAX])
{
    const int rc = ma_vault_file_read(d, name, buf, MA_VAULT_FILE_MAX, ret_n, why);
    return rc == MA_E_NOTFOUND ? MA_E_IO : rc == MA_E_RANGE ? MA_E_PARSE : rc;
}

static int ring_read(struct ma_vault *v, const struct ma_vault_dir *d, const char *name, char why[MA_WHY_MAX])
{
    MA_CLEANUP(ring_text_free_p) struct ring_text text = {ma_secure_alloc(MA_VAULT_FILE_MAX)};
    char shown[SHOWN_MAX];
    size_t n = 0;

    if (!text.p)
        return MA_E_NOMEM;
    const int rc = ma_vault_ring_text(d, name, text.p, &n, why);
    if (rc != MA_OK)
        return rc;
    snprintf(shown, sizeof shown, "%s/%s", d->name, name);
    return ma_keyring_parse(&v->ring, ma_span_of(text.p, n), shown, why);
}

/* Writes a fresh ring under its temporary name. */
static int ring_create(const struct ma_vault *v, const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    char text[256];
    size_t n = 0;
    const int64_t now_s = ma_clock_system()->wall_ms(ma_clock_system()) / 1000;

    int rc = ma_keyring_make(v->rand, now_s, text, sizeof text, &n);
    if (rc == MA_OK)
        rc = ma_vault_file_create(d, MA_VAULT_RING_NEW, ma_span_of(text, n), why);
    ma_wipe(text, sizeof text);
    return rc;
}

/* Removes what a start that never finished left behind; MA_E_IO when the set is incomplete otherwise. */
static int clear_unfinished(const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    if (!ma_vault_dir_has(d, MA_VAULT_RING_NEW))
        return ma_vault_dir_has(d, MA_VAULT_CANARY_FILE) ? lost(d, MA_VAULT_RING_FILE, MA_VAULT_CANARY_FILE, why)
                                                         : MA_OK;
    if ((unlinkat(d->fd, MA_VAULT_CANARY_FILE, 0) != 0 && errno != ENOENT) ||
        unlinkat(d->fd, MA_VAULT_RING_NEW, 0) != 0)
        return ma_why_errno(why, MA_E_IO, d->name, errno);
    return MA_OK;
}

static int vault_create(struct ma_vault *v, const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    int rc = clear_unfinished(d, why);

    if (rc == MA_OK)
        rc = pepper_create(v, d, why);
    if (rc == MA_OK)
        rc = ring_create(v, d, why);
    if (rc == MA_OK)
        rc = ring_read(v, d, MA_VAULT_RING_NEW, why);
    if (rc == MA_OK)
        rc = canary_create(v, d, why);
    if (rc != MA_OK)
        return rc;
    if (renameat(d->fd, MA_VAULT_RING_NEW, d->fd, MA_VAULT_RING_FILE) != 0 || fsync(d->fd) != 0)
        return ma_why_errno(why, MA_E_IO, d->name, errno);
    return MA_OK;
}

static int vault_read(struct ma_vault *v, const struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    if (!ma_vault_dir_has(d, MA_VAULT_PEPPER_FILE))
        return lost(d, MA_VAULT_PEPPER_FILE, MA_VAULT_RING_FILE, why);
    if (!ma_vault_dir_has(d, MA_VAULT_CANARY_FILE))
        return lost(d, MA_VAULT_CANARY_FILE, MA_VAULT_RING_FILE, why);
    int rc = ring_read(v, d, MA_VAULT_RING_FILE, why);
    if (rc == MA_OK)
        rc = pepper_read(v, d, why);
    return rc != MA_OK ? rc : canary_check(v, d, why);
}

static int vault_fill(struct ma_vault *v, const char *key_directory, char why[MA_WHY_MAX])
{
    MA_CLEANUP(ma_fd_close_p) int fd = -1;
    struct ma_vault_dir d = {-1, key_directory};

    const int rc = dir_open(&d, why);
    fd = d.fd;
    if (rc != MA_OK || ma_vault_dir_has(&d, MA_VAULT_RING_FILE))
        return rc != MA_OK ? rc : vault_read(v, &d, why);
    /* Two first starts at once must not clear away each other's files. */
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return ma_why_errno(why, MA_E_IO, key_directory, errno);
    return ma_vault_dir_has(&d, MA_VAULT_RING_FILE) ? vault_read(v, &d, why) : vault_create(v, &d, why);
}

/* A change of keys must get in between requests that seal and open all the time. */
static void lock_init(struct ma_vault *v)
{
    pthread_rwlockattr_t attr;

    (void)pthread_rwlockattr_init(&attr);
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&v->lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
}

int ma_vault_open(const char *key_directory, const struct ma_rand *rand, struct ma_vault **ret, char why[256])
{
    struct ma_vault *v = ma_secure_alloc(sizeof *v);

    *ret = NULL;
    why[0] = '\0';
    if (!v)
        return MA_E_NOMEM;
    v->rand = rand;
    lock_init(v);
    v->dir = strdup(key_directory);
    const int rc = !v->dir ? MA_E_NOMEM : vault_fill(v, key_directory, why);
    if (rc != MA_OK) {
        if (why[0] == '\0')
            snprintf(why, MA_WHY_MAX, "%.150s: %s", key_directory, ma_err_text(rc));
        ma_vault_close(v);
        return rc;
    }
    *ret = v;
    return MA_OK;
}

void ma_vault_close(struct ma_vault *v)
{
    if (!v)
        return;
    free(v->dir);
    (void)pthread_rwlock_destroy(&v->lock);
    ma_secure_free(v, sizeof *v);
}
