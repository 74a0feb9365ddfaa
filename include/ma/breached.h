/* SPDX-License-Identifier: Apache-2.0
 * Passwords known from breaches, without asking anybody: a file of sorted SHA-1 prefixes, searched in a memory map.
 *
 * The file is made of pages of 4096 bytes. Numbers are big-endian.
 *   page 0   "MABREACH", version (4), bytes of a prefix (4), prefixes (8), least count (8), zeros, and at 4064 the
 *            SHA-256 of what stands before it
 *   others   prefixes in ascending order, each one once, as many as fit before 4088; the last page is filled up with
 *            0xff; at 4088 the first 8 bytes of the SHA-256 of the page's number (8) and its first 4088 bytes
 * A search checks every page it looks at, so that damage is noticed where it matters and opening a file of gigabytes
 * takes no time. The sums are against accidents: who may write the file may write sums, too.
 */
#ifndef MA_BREACHED_H
#define MA_BREACHED_H

#include "ma/base.h"
#include "ma/log.h"

#define MA_BREACHED_HASH_LEN 20      /* SHA-1 */
#define MA_BREACHED_PREFIX_MIN 5     /* bytes */
#define MA_BREACHED_PREFIX_DEFAULT 7 /* 10^9 prefixes: one good password in 7 × 10^7 is taken for a bad one */
#define MA_BREACHED_PREFIX_MAX 20
#define MA_BREACHED_MEMORY_DEFAULT_MIB 256
#define MA_BREACHED_MEMORY_MIN_MIB 1
#define MA_BREACHED_MEMORY_MAX_MIB 65536

/* --- one file --- */

/* Open for searching; immutable; a search may run on any number of threads. A file that shrinks under a map faults no
 * one: the first open installs a SIGBUS handler that puts zeros where a map has lost its file (and passes every other
 * fault on), and zeros are damage like any other. */
struct ma_breached_file;
struct ma_breached_info {
    uint64_t count;     /* prefixes */
    uint64_t bytes;     /* of the file */
    uint64_t min_count; /* passwords seen less often were left out */
    unsigned prefix_bytes;
};
/* A regular file that others may not write; its size must be what its header says. MA_E_NOTFOUND, MA_E_PERM, MA_E_PARSE
 * (not such a file, or damaged), MA_E_IO, MA_E_RANGE (more than 8 are open), MA_E_NOMEM; `why` names the path. Owned
 * (ma_breached_close). */
MA_MUST_USE int ma_breached_open(const char *path, struct ma_breached_file **ret, char why[256]);
void ma_breached_close(struct ma_breached_file *f);
void ma_breached_describe(const struct ma_breached_file *f, struct ma_breached_info *ret);
/* MA_OK: there; MA_E_NOTFOUND; MA_E_IO: the file is damaged, or shrank. */
MA_MUST_USE int ma_breached_search(const struct ma_breached_file *f, const uint8_t hash[MA_BREACHED_HASH_LEN]);
/* Reads all of it: every sum, and the order. MA_OK, or MA_E_PARSE. */
MA_MUST_USE int ma_breached_verify(const struct ma_breached_file *f, char why[256]);

/* --- the list the daemon uses, which may be replaced --- */

struct ma_breached;
/* Without a file. Owned (ma_breached_free). */
struct ma_breached *ma_breached_new(struct ma_log *log);
void ma_breached_free(struct ma_breached *b);
/* Takes another file ("": none), once running searches are done; a failure leaves the old one. */
MA_MUST_USE int ma_breached_load(struct ma_breached *b, const char *path, char why[256]);
/* MA_OK: the password is on the list; MA_E_NOTFOUND: it is not, or there is no list, or b is NULL; others: nobody can
 * tell, which is logged. Touches the disk: not for the HTTP threads. */
MA_MUST_USE int ma_breached_has(struct ma_breached *b, struct ma_span password);

/* --- making a file --- */

struct ma_breached_build {
    const char *input;  /* lines "SHA1HEX" or "SHA1HEX:COUNT", in any order; "-": standard input */
    const char *output; /* appears whole or not at all, mode 0644; twice its size is needed beside it meanwhile */
    unsigned prefix_bytes;
    uint64_t min_count; /* lines without a count have 1 */
    unsigned memory_mib;
};
struct ma_breached_built {
    uint64_t lines, kept; /* kept: enough counts */
    struct ma_breached_info info;
};
/* Sorts in at most memory_mib of memory, the rest in an unnamed file beside the output. MA_E_PARSE with the line's
 * number in `why`, MA_E_IO, MA_E_FULL, MA_E_RANGE (too much input for so little memory), MA_E_NOMEM. */
MA_MUST_USE int ma_breached_make(const struct ma_breached_build *in, struct ma_breached_built *ret, char why[256]);

#endif
