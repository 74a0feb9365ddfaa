/* SPDX-License-Identifier: Apache-2.0
 * Private to the vault: the key ring in memory and the guarded reading and writing of its files.
 */
#ifndef MA_VAULT_INT_H
#define MA_VAULT_INT_H

#include "ma/crypto.h"
#include "ma/vault.h"

#define MA_WHY_MAX 256

#define MA_VAULT_RING_FILE "vault.keys"
#define MA_VAULT_RING_NEW "vault.keys.new"
#define MA_VAULT_PEPPER_FILE "pepper"
#define MA_VAULT_CANARY_FILE "vault.canary"

#define MA_VAULT_KEY_LEN 32
#define MA_VAULT_PEPPER_LEN 32
#define MA_VAULT_KEYS_MAX 64
#define MA_VAULT_FILE_MAX 16384u
#define MA_SECRET_FILE_MAX 65536u

struct ma_vault_key {
    int64_t created; /* seconds since the epoch */
    uint32_t id;
    uint8_t seal[MA_AEAD_KEY_LEN]; /* derived from the master key, which is not kept */
};

/* Lives in secure memory as a whole; not written to after opening. */
struct ma_vault {
    const struct ma_rand *rand;
    size_t n;
    size_t newest; /* index of the key that seals */
    struct ma_vault_key keys[MA_VAULT_KEYS_MAX];
    uint8_t pepper[MA_VAULT_PEPPER_LEN];
};

/* A file inside an open directory, and how messages call that directory. */
struct ma_vault_dir {
    int fd;
    const char *name;
};

/* --- secret.c: files that hold secrets --- */

/* Reads a whole file of at most cap bytes after checking that it is regular, not a symbolic link,
 * owned by root or this user and closed to others. dirfd may be AT_FDCWD. `shown` names it in why.
 * MA_E_NOTFOUND, MA_E_PERM, MA_E_RANGE, MA_E_IO. */
MA_MUST_USE int ma_secret_read_at(int dirfd, const char *name, const char *shown, uint8_t *buf, size_t cap,
                                  size_t *ret_n, char why[MA_WHY_MAX]);
/* The same inside a vault directory. */
MA_MUST_USE int ma_vault_file_read(const struct ma_vault_dir *d, const char *name, uint8_t *buf, size_t cap,
                                   size_t *ret_n, char why[MA_WHY_MAX]);
/* Creates (O_EXCL, 0600), writes and syncs the file and the directory. MA_E_EXISTS, MA_E_IO. */
MA_MUST_USE int ma_vault_file_create(const struct ma_vault_dir *d, const char *name, struct ma_span text,
                                     char why[MA_WHY_MAX]);
/* "what: the system's words for err" into why; returns err_code. */
int ma_why_errno(char why[MA_WHY_MAX], int err_code, const char *what, int err);
void ma_fd_close_p(int *fd);

/* --- keyring.c --- */

/* Makes a ring of one fresh key: its file text into text (cap bytes, *ret_n used). */
MA_MUST_USE int ma_keyring_make(const struct ma_rand *r, int64_t now_s, char *text, size_t cap, size_t *ret_n);
/* Parses the text of a ring and derives the sealing keys into v. shown names the file in why. */
MA_MUST_USE int ma_keyring_parse(struct ma_vault *v, struct ma_span text, const char *shown, char why[MA_WHY_MAX]);
/* NULL when the ring has no such key. Borrowed from v. */
const struct ma_vault_key *ma_keyring_find(const struct ma_vault *v, uint32_t id);

#endif
