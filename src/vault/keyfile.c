/* SPDX-License-Identifier: Apache-2.0
 * The key directory in one file, wrapped with a passphrase: for another place than the database's backup.
 */
#include "ma/vault.h"

#include "int.h"
#include "ma/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "myaccountd-keys\n"
#define MAGIC_LEN 16
#define FORMAT_AT 16
#define COST_AT 20
#define SALT_AT 32
#define NONCE_AT (SALT_AT + MA_KDF_SALT_LEN)
#define TEXT_AT (NONCE_AT + MA_AEAD_NONCE_LEN)
#define PLAIN_MAX (MA_KEYFILE_MAX - TEXT_AT - MA_AEAD_TAG_LEN)
#define FILE_HEAD 5 /* bytes of the two lengths */

static const uint8_t format[4] = {1, 1, 1, 0};
static const struct ma_argon2_params cost = {4, 131072, 1};

/* In the order in which they are put into a directory: without its ring it is refused, never filled up. */
static const struct {
    const char *name;
    bool needed;
} files[] = {
    {MA_VAULT_CANARY_FILE, true},
    {MA_VAULT_PEPPER_FILE, true},
    {"signing.keys", false},
    {MA_VAULT_RING_FILE, true},
};

struct secret_mem {
    uint8_t *p;
    size_t n; /* used */
};

static void secret_mem_free_p(struct secret_mem *m)
{
    ma_secure_free(m->p, PLAIN_MAX);
}

static void put_u32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static uint32_t get_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int derive(struct ma_argon2_params p, struct ma_span passphrase, const uint8_t *head,
                  uint8_t key[MA_AEAD_KEY_LEN])
{
    return ma_argon2id_key(p, passphrase, head + SALT_AT, key, MA_AEAD_KEY_LEN);
}

/* --- out of the directory --- */

static int pack_one(const struct ma_vault_dir *d, const char *name, struct secret_mem *m, char why[MA_WHY_MAX])
{
    const size_t len = strlen(name);
    size_t n = 0;

    if (m->n + FILE_HEAD + len > PLAIN_MAX)
        return MA_E_RANGE;
    uint8_t *const head = m->p + m->n;
    const size_t used = m->n + FILE_HEAD + len;
    const int rc = ma_vault_file_read(d, name, m->p + used, PLAIN_MAX - used, &n, why);
    if (rc != MA_OK)
        return rc;
    head[0] = (uint8_t)len;
    memcpy(head + 1, name, len);
    put_u32(head + 1 + len, (uint32_t)n);
    m->n = used + n;
    return MA_OK;
}

static int pack(const char *directory, struct secret_mem *m, char why[MA_WHY_MAX])
{
    MA_CLEANUP(ma_fd_close_p) int fd = -1;
    struct ma_vault_dir d = {-1, directory};

    int rc = ma_vault_dir_open(&d, why);
    fd = d.fd;
    if (rc == MA_OK && flock(fd, LOCK_SH) != 0) /* a ring and a canary of one moment */
        return ma_why_errno(why, MA_E_IO, directory, errno);
    for (size_t i = 0; rc == MA_OK && i < MA_COUNT(files); i++) {
        rc = pack_one(&d, files[i].name, m, why);
        if (rc == MA_E_NOTFOUND && !files[i].needed)
            rc = MA_OK;
    }
    return rc;
}

static int encrypt(const struct ma_rand *rand, struct ma_span passphrase, struct ma_span plain, struct ma_buf *out)
{
    uint8_t *const p = ma_buf_reserve(out, TEXT_AT + plain.n + MA_AEAD_TAG_LEN);
    uint8_t key[MA_AEAD_KEY_LEN];

    if (!p)
        return ma_buf_err(out);
    memcpy(p, MAGIC, MAGIC_LEN);
    memcpy(p + FORMAT_AT, format, sizeof format);
    put_u32(p + COST_AT, cost.t_cost);
    put_u32(p + COST_AT + 4, cost.m_kib);
    put_u32(p + COST_AT + 8, cost.lanes);
    int rc = rand->fill(rand, p + SALT_AT, MA_KDF_SALT_LEN + MA_AEAD_NONCE_LEN);
    if (rc == MA_OK)
        rc = derive(cost, passphrase, p, key);
    if (rc == MA_OK)
        rc = ma_aead_seal(key, p + NONCE_AT, ma_span_of(p, TEXT_AT), plain, p + TEXT_AT);
    ma_wipe(key, sizeof key);
    if (rc == MA_OK)
        out->n += TEXT_AT + plain.n + MA_AEAD_TAG_LEN;
    return rc;
}

/* Opens what is there; a directory without keys is not given any. */
static int name_of(const char *directory, char name[MA_VAULT_NAME_LEN + 1], char why[MA_WHY_MAX])
{
    struct ma_vault *v = NULL;
    struct stat st;
    char ring[4096];

    (void)snprintf(ring, sizeof ring, "%s/%s", directory, MA_VAULT_RING_FILE);
    if (lstat(ring, &st) != 0)
        return ma_why_errno(why, errno == ENOENT || errno == ENOTDIR ? MA_E_NOTFOUND : MA_E_IO, ring, errno);
    int rc = ma_vault_open(directory, ma_rand_system(), &v, why);
    if (rc == MA_OK)
        rc = ma_vault_name(v, name);
    ma_vault_close(v);
    return rc;
}

static int verdict(const char *directory, int rc, char why[MA_WHY_MAX])
{
    if (rc != MA_OK && why[0] == '\0')
        snprintf(why, MA_WHY_MAX, "%.150s: %s", directory, ma_err_text(rc));
    return rc;
}

int ma_keys_wrap(const char *key_directory, const struct ma_rand *rand, struct ma_span passphrase, struct ma_buf *out,
                 char name[MA_VAULT_NAME_LEN + 1], char why[256])
{
    MA_CLEANUP(secret_mem_free_p) struct secret_mem m = {ma_secure_alloc(PLAIN_MAX), 0};

    why[0] = '\0';
    int rc = m.p ? name_of(key_directory, name, why) : MA_E_NOMEM;
    if (rc == MA_OK)
        rc = pack(key_directory, &m, why);
    if (rc == MA_OK)
        rc = encrypt(rand, passphrase, ma_span_of(m.p, m.n), out);
    return verdict(key_directory, rc, why);
}

/* --- into a directory --- */

static int decrypt(struct ma_span passphrase, struct ma_span file, struct secret_mem *m, char why[MA_WHY_MAX])
{
    uint8_t key[MA_AEAD_KEY_LEN];

    if (file.n < TEXT_AT + MA_AEAD_TAG_LEN || file.n > MA_KEYFILE_MAX || memcmp(file.p, MAGIC, MAGIC_LEN) != 0) {
        snprintf(why, MA_WHY_MAX, "this is no file of exported keys");
        return MA_E_PARSE;
    }
    if (memcmp(file.p + FORMAT_AT, format, sizeof format) != 0) {
        snprintf(why, MA_WHY_MAX, "this program does not know version %u of the format", file.p[FORMAT_AT]);
        return MA_E_UNSUPPORTED;
    }
    const struct ma_argon2_params p = {get_u32(file.p + COST_AT), get_u32(file.p + COST_AT + 4),
                                       get_u32(file.p + COST_AT + 8)};
    int rc = derive(p, passphrase, file.p, key);
    if (rc == MA_OK)
        rc = ma_aead_open(key, file.p + NONCE_AT, ma_span_of(file.p, TEXT_AT),
                          ma_span_of(file.p + TEXT_AT, file.n - TEXT_AT), m->p);
    ma_wipe(key, sizeof key);
    m->n = file.n - TEXT_AT - MA_AEAD_TAG_LEN;
    if (rc == MA_E_AUTH)
        snprintf(why, MA_WHY_MAX, "wrong passphrase, or the file was changed");
    return rc;
}

/* The content of a file; p == NULL: it is not in there. false: the list is malformed. */
static bool unpack(struct ma_span plain, const char *name, struct ma_span *ret)
{
    *ret = MA_SPAN_NULL;
    while (plain.n > 0) {
        const size_t len = plain.p[0];
        if (plain.n < FILE_HEAD + len)
            return false;
        const size_t n = get_u32(plain.p + 1 + len);
        if (plain.n - FILE_HEAD - len < n)
            return false;
        if (ma_span_eq_str(ma_span_of(plain.p + 1, len), name))
            *ret = ma_span_of(plain.p + FILE_HEAD + len, n);
        plain = ma_span_of(plain.p + FILE_HEAD + len + n, plain.n - FILE_HEAD - len - n);
    }
    return true;
}

static bool dir_empty(int fd)
{
    const int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *const dir = copy >= 0 ? fdopendir(copy) : NULL;
    bool empty = dir != NULL;

    for (const struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir))
        empty = empty && (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
    if (dir)
        (void)closedir(dir);
    else if (copy >= 0)
        (void)close(copy);
    return empty;
}

static int create_files(const struct ma_vault_dir *d, struct ma_span plain, char why[MA_WHY_MAX])
{
    struct ma_span text;
    int rc = MA_OK;

    for (size_t i = 0; rc == MA_OK && i < MA_COUNT(files); i++) {
        if (!unpack(plain, files[i].name, &text) || (!text.p && files[i].needed))
            rc = MA_E_PARSE;
        else if (text.p)
            rc = ma_vault_file_create(d, files[i].name, text, why);
    }
    return rc;
}

static void remove_files(const struct ma_vault_dir *d)
{
    for (size_t i = MA_COUNT(files); i > 0; i--)
        (void)unlinkat(d->fd, files[i - 1].name, 0);
}

/* The directory, made where it is missing, empty and for its owner alone. */
static int take_dir(struct ma_vault_dir *d, char why[MA_WHY_MAX])
{
    if (mkdir(d->name, S_IRWXU) != 0 && errno != EEXIST)
        return ma_why_errno(why, errno == EACCES ? MA_E_PERM : MA_E_IO, d->name, errno);
    const int rc = ma_vault_dir_open(d, why);
    if (rc != MA_OK)
        return rc;
    if (flock(d->fd, LOCK_EX | LOCK_NB) != 0)
        return ma_why_errno(why, MA_E_IO, d->name, errno);
    if (!dir_empty(d->fd)) {
        snprintf(why, MA_WHY_MAX, "%.150s is not empty: move what is in it away first", d->name);
        return MA_E_EXISTS;
    }
    return fchmod(d->fd, S_IRWXU) == 0 ? MA_OK : ma_why_errno(why, MA_E_PERM, d->name, errno);
}

int ma_keys_unwrap(const char *key_directory, struct ma_span passphrase, struct ma_span file,
                   char name[MA_VAULT_NAME_LEN + 1], char why[256])
{
    MA_CLEANUP(secret_mem_free_p) struct secret_mem m = {ma_secure_alloc(PLAIN_MAX), 0};
    MA_CLEANUP(ma_fd_close_p) int fd = -1;
    struct ma_vault_dir d = {-1, key_directory};

    why[0] = '\0';
    int rc = m.p ? decrypt(passphrase, file, &m, why) : MA_E_NOMEM;
    if (rc == MA_OK)
        rc = take_dir(&d, why);
    fd = d.fd;
    if (rc != MA_OK)
        return verdict(key_directory, rc, why);
    rc = create_files(&d, ma_span_of(m.p, m.n), why);
    if (rc == MA_OK)
        rc = name_of(key_directory, name, why);
    if (rc != MA_OK)
        remove_files(&d);
    return verdict(key_directory, rc, why);
}
