/* SPDX-License-Identifier: Apache-2.0
 * What the fault program's daemon and its driver share: a file of numbers that both map. Linked into
 * build/.../chaos/myaccountd alone.
 */
#ifndef MA_CHAOS_FAULTS_H
#define MA_CHAOS_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Kinds of calls to the file system, as bits. */
enum chaos_io {
    CHAOS_READ = 1,
    CHAOS_WRITE = 2,
    CHAOS_SYNC = 4,
    CHAOS_TRUNCATE = 8,
    CHAOS_SIZE = 16,
    CHAOS_OPEN = 32,
    CHAOS_SHM = 64,
    CHAOS_LOCK = 128
};

/* Whose allocations, as bits: the object that calls malloc. */
enum chaos_owner {
    CHAOS_PROGRAM = 1,
    CHAOS_SQLITE = 2,
    CHAOS_CRYPTO = 4,
    CHAOS_JANSSON = 8,
    CHAOS_CURL = 16,
    CHAOS_MICROHTTPD = 32,
    CHAOS_ARGON2 = 64
};

/* One source of faults. The driver clears mask, sets the rest, then mask. Of the calls that match, `skip` pass and
 * then every `every`-th fails until `left` is used up. */
struct chaos_fault {
    _Atomic int64_t mask, skip, every, left;
    _Atomic int64_t code; /* I/O: what SQLite is told; 0: the error of the kind of call */
    _Atomic int64_t seen; /* calls that matched since the driver cleared it */
    _Atomic int64_t injected;
    int64_t spare;
};

struct chaos_faults {
    struct chaos_fault io, memory;
};

/* NULL unless the environment names the file (MA_CHAOS). */
extern struct chaos_faults *chaos_faults;

/* Whether this call, of the kind `bit`, is one that fails. Thread-safe, allocates nothing. */
bool chaos_due(struct chaos_fault *f, int64_t bit);

#endif
