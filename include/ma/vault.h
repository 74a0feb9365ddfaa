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

#include "ma/arena.h"
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
/* arena copies. MA_E_AUTH when a blob was changed, moved or sealed with a key that is not there. */
MA_MUST_USE int ma_vault_seal(struct ma_vault *v, struct ma_arena *a, const struct ma_seal_id *id, struct ma_span plain,
                              struct ma_span *ret);
MA_MUST_USE int ma_vault_open_blob(struct ma_vault *v, struct ma_arena *a, const struct ma_seal_id *id,
                                   struct ma_span sealed, struct ma_span *ret);

/* HMAC(pepper-derived key for `purpose`, context ‖ 0 ‖ value). 32 bytes. purpose: "otp",
 * "recovery-code", "session", … */
MA_MUST_USE int ma_vault_mac(struct ma_vault *v, const char *purpose, struct ma_span context, struct ma_span value,
                             uint8_t out[32]);

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
