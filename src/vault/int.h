/* SPDX-License-Identifier: Apache-2.0
 * Private to the vault: the key ring in memory and the guarded reading and writing of its files.
 */
#ifndef MA_VAULT_INT_H
#define MA_VAULT_INT_H

#include "ma/crypto.h"
#include "ma/vault.h"

#include <pthread.h>

#define MA_WHY_MAX 256

#define MA_VAULT_RING_FILE "vault.keys"
#define MA_VAULT_RING_NEW "vault.keys.new"
#define MA_VAULT_RING_NEXT "vault.keys.next" /* a ring about to replace the one in use */
#define MA_VAULT_PEPPER_FILE "pepper"
#define MA_VAULT_CANARY_FILE "vault.canary"
#define MA_VAULT_CANARY_NEXT "vault.canary.next"

#define MA_VAULT_KEY_LEN 32
#define MA_VAULT_PEPPER_LEN 32
#define MA_VAULT_FILE_MAX 16384u
#define MA_SECRET_FILE_MAX 65536u

struct ma_vault_key {
    int64_t created; /* seconds since the epoch */
    uint32_t id;
    uint8_t seal[MA_AEAD_KEY_LEN]; /* derived from the master key, which is not kept */
};

struct ma_vault_ring {
    size_t n;
    size_t newest; /* index of the key that seals */
    struct ma_vault_key keys[MA_VAULT_KEYS_MAX];
};

/* Lives in secure memory as a whole. The ring changes when keys come and go; the rest is fixed after opening. */
struct ma_vault {
    const struct ma_rand *rand;
    char *dir;             /* owned */
    pthread_rwlock_t lock; /* ring */
    struct ma_vault_ring ring;
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
/* Replaces `name` by way of the file `next`, which is made anew: after a crash either the old or the new one is there.
 */
MA_MUST_USE int ma_vault_file_replace(const struct ma_vault_dir *d, const char *name, const char *next,
                                      struct ma_span text, char why[MA_WHY_MAX]);
/* Creates (O_EXCL, 0600), writes and syncs the file and the directory. MA_E_EXISTS, MA_E_IO. */
MA_MUST_USE int ma_vault_file_create(const struct ma_vault_dir *d, const char *name, struct ma_span text,
                                     char why[MA_WHY_MAX]);
/* "what: the system's words for err" into why; returns err_code. */
int ma_why_errno(char why[MA_WHY_MAX], int err_code, const char *what, int err);
void ma_fd_close_p(int *fd);

/* --- keyring.c --- */

/* Makes a ring of one fresh key: its file text into text (cap bytes, *ret_n used). */
MA_MUST_USE int ma_keyring_make(const struct ma_rand *r, int64_t now_s, char *text, size_t cap, size_t *ret_n);
/* Parses the text of a ring and derives the sealing keys into ret. shown names the file in why. */
MA_MUST_USE int ma_keyring_parse(struct ma_vault_ring *ret, struct ma_span text, const char *shown,
                                 char why[MA_WHY_MAX]);
/* NULL when the ring has no such key. Borrowed. */
const struct ma_vault_key *ma_keyring_find(const struct ma_vault_ring *ring, uint32_t id);
/* The ring's text with a line more for a fresh key of this id, MA_VAULT_FILE_MAX bytes at most. MA_E_RANGE. */
MA_MUST_USE int ma_keyring_append(const struct ma_rand *r, struct ma_span text, uint32_t id, int64_t created_s,
                                  char *out, size_t *ret_n);
/* The ring's text without the lines of these ids; out has room for all of it. */
void ma_keyring_remove(struct ma_span text, const uint32_t *ids, size_t n, char *out, size_t *ret_n);

/* --- vault.c --- */
/* The ring's file into buf (MA_VAULT_FILE_MAX bytes). */
MA_MUST_USE int ma_vault_ring_text(const struct ma_vault_dir *d, const char *name, uint8_t *buf, size_t *ret_n,
                                   char why[MA_WHY_MAX]);
/* Opens an existing key directory and checks who may write to it; d->fd is the caller's, also on failure (-1: none). */
MA_MUST_USE int ma_vault_dir_open(struct ma_vault_dir *d, char why[MA_WHY_MAX]);
bool ma_vault_dir_has(const struct ma_vault_dir *d, const char *name);
/* A canary sealed with the newest key of this ring. arena. */
MA_MUST_USE int ma_vault_canary_blob(struct ma_vault *v, const struct ma_vault_ring *ring, struct ma_arena *a,
                                     struct ma_span *ret);

#endif
