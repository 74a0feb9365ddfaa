/* SPDX-License-Identifier: Apache-2.0
 * Secrets at rest. A key ring of master keys lives in key_directory; from the newest one a key per
 * purpose is derived (HKDF-SHA-256) and values are sealed with AES-256-GCM:
 *   0x01 ‖ key id (4 bytes, big-endian) ‖ nonce (12) ‖ ciphertext ‖ tag (16)
 * The additional data is "table|column|row|user" and the length of row (4 bytes), so a blob cannot
 * be moved to another row.
 * One-time codes and recovery codes are HMAC-SHA-256 with the pepper: never reversible.
 * Thread-safe after opening.
 */
#ifndef MA_VAULT_H
#define MA_VAULT_H

#include "ma/buf.h"
#include "ma/log.h"
#include "ma/rand.h"

struct ma_vault;

/* Opens or creates the directory (0700) with `vault.keys` (ring) and `pepper` (32 bytes), files
 * 0600, owned by root or this user, O_NOFOLLOW, regular. Checks a canary blob so that a wrong ring is noticed
 * at start. On failure `why` (arena-free, static storage inside, ≤ 256 bytes) says which file and
 * what is wrong. MA_E_PERM, MA_E_IO, MA_E_PARSE, MA_E_CRYPTO. Owned (ma_vault_close, wipes). */
MA_MUST_USE int ma_vault_open(const char *key_directory, const struct ma_rand *rand, struct ma_vault **ret,
                              char why[256]);
void ma_vault_close(struct ma_vault *v);

struct ma_seal_id {
    const char *table, *column;
    struct ma_span row;
    struct ma_span user; /* empty where no user owns the row */
};
#define MA_SEAL_OVERHEAD (1 + 4 + 12 + 16)
#define MA_SEAL_KEY_AT 1  /* where a sealed value names its key */
#define MA_SEAL_KEY_LEN 4 /* bytes of that name, big-endian */
/* arena copies. MA_E_AUTH when a blob was changed, moved or sealed with a key that is not there. */
MA_MUST_USE int ma_vault_seal(struct ma_vault *v, struct ma_arena *a, const struct ma_seal_id *id, struct ma_span plain,
                              struct ma_span *ret);
MA_MUST_USE int ma_vault_open_blob(struct ma_vault *v, struct ma_arena *a, const struct ma_seal_id *id,
                                   struct ma_span sealed, struct ma_span *ret);

/* HMAC(pepper-derived key for `purpose`, context ‖ 0 ‖ value). 32 bytes. purpose: "otp",
 * "recovery-code", "session", … */
MA_MUST_USE int ma_vault_mac(struct ma_vault *v, const char *purpose, struct ma_span context, struct ma_span value,
                             uint8_t out[32]);

/* --- the ring: which keys there are, a new one, and the end of old ones --- */
#define MA_VAULT_KEYS_MAX 64
struct ma_vault_key_info {
    uint32_t id;
    int64_t created_s; /* since the epoch */
    bool seals;        /* the newest: new values are sealed with it */
};
/* Copies the ring's list, oldest first as the file has it; returns how many. Thread-safe. */
size_t ma_vault_keys(struct ma_vault *v, struct ma_vault_key_info ret[MA_VAULT_KEYS_MAX]);
uint32_t ma_vault_newest(struct ma_vault *v);
/* The id of the key a value was sealed with; 0 for what is no sealed value. */
uint32_t ma_seal_key(struct ma_span sealed);
/* Adds a fresh key that seals from now on, in the file first and then here, and seals the canary anew. Older keys go on
 * opening. MA_E_RANGE when the ring is full, MA_E_PERM, MA_E_IO, MA_E_PARSE; then nothing has changed, or (after a
 * failure to seal the canary) the new key is there already. Thread-safe. */
MA_MUST_USE int ma_vault_rotate(struct ma_vault *v, int64_t now_s, uint32_t *ret_id, char why[256]);
/* Takes the keys with these ids out of the ring, for good: whatever is still sealed with them is lost. The newest is
 * never taken. The canary is sealed anew first when it needs one of them. Thread-safe. */
MA_MUST_USE int ma_vault_retire(struct ma_vault *v, const uint32_t *ids, size_t n, char why[256]);
/* A name of this set of keys that tells nothing of them: 16 hex digits, the same for as long as the pepper. */
#define MA_VAULT_NAME_LEN 16
MA_MUST_USE int ma_vault_name(struct ma_vault *v, char ret[MA_VAULT_NAME_LEN + 1]);

/* --- the key directory in one file, wrapped with a passphrase (src/vault/keyfile.c) ---
 * "myaccountd-keys\\n" ‖ version 1 ‖ kdf 1 (Argon2id 1.3) ‖ aead 1 (AES-256-GCM) ‖ 0 ‖ passes, KiB, lanes (4 bytes
 * each, big-endian) ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16); all before the ciphertext is additional data.
 * Inside, for each file: length of its name (1), name, length (4), content. */
#define MA_PASSPHRASE_MIN 12   /* bytes, for what is to be wrapped */
#define MA_PASSPHRASE_MAX 1024 /* bytes */
#define MA_KEYFILE_MAX (2u << 20)
/* Vault ring, pepper, canary and signing keys of an existing directory, checked to fit together; appended to out.
 * name: as ma_vault_name. MA_E_NOTFOUND without keys there; else as ma_vault_open. Slow: Argon2id. */
MA_MUST_USE int ma_keys_wrap(const char *key_directory, const struct ma_rand *rand, struct ma_span passphrase,
                             struct ma_buf *out, char name[MA_VAULT_NAME_LEN + 1], char why[256]);
/* Puts them into a directory that is empty or not there yet (made, 0700); files 0600. All or none. MA_E_AUTH: another
 * passphrase, or the file was changed; MA_E_PARSE, MA_E_UNSUPPORTED: no such file; MA_E_EXISTS: not empty. */
MA_MUST_USE int ma_keys_unwrap(const char *key_directory, struct ma_span passphrase, struct ma_span file,
                               char name[MA_VAULT_NAME_LEN + 1], char why[256]);
/* Writes a file of secrets: 0600, aside, synced, and only then named. MA_E_EXISTS when the name is taken and force is
 * not set. */
MA_MUST_USE int ma_secret_write(const char *path, struct ma_span text, bool force, char why[256]);
/* A small file beside the keys, under the same rules as they: reading (cap bytes at most), and creating it once.
 * MA_E_NOTFOUND, MA_E_EXISTS; MA_E_PERM, MA_E_RANGE, MA_E_IO. */
MA_MUST_USE int ma_vault_note_read(const char *key_directory, const char *name, char *out, size_t cap, size_t *ret_n,
                                   char why[256]);
MA_MUST_USE int ma_vault_note_create(const char *key_directory, const char *name, struct ma_span text, char why[256]);

/* Reads a secret reference: "file:/path" (owner root or us, mode ≤ 0640, O_NOFOLLOW, regular,
 * ≤ 64 KiB; one trailing newline removed) or "cred:name" ($CREDENTIALS_DIRECTORY). arena.
 * MA_E_INVAL for other forms. */
MA_MUST_USE int ma_secret_load(struct ma_arena *a, const char *ref, struct ma_span *ret, char why[256]);

/* The same for what is public, like a certificate: also "/path", whoever owns it, through symbolic links, ≤ max bytes,
 * as it stands. */
MA_MUST_USE int ma_public_load(struct ma_arena *a, const char *ref, size_t max, struct ma_span *ret, char why[256]);

#endif
