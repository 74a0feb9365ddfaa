/* SPDX-License-Identifier: Apache-2.0
 * Attributes, byte spans, status codes and cleanup helpers that every module uses.
 *
 * Pointers in these headers are marked with one of three words:
 *   borrowed  valid only during the call, or as long as the named owner lives
 *   arena     owned by the given arena; gone when it is reset
 *   owned     the receiver frees it with the named function
 */
#ifndef MA_BASE_H
#define MA_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MA_MUST_USE __attribute__((warn_unused_result))
#define MA_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define MA_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A large buffer that is written before it is read: spared the zeroing of -ftrivial-auto-var-init. */
#if defined(__has_attribute) && __has_attribute(uninitialized)
#define MA_UNINITIALIZED __attribute__((uninitialized))
#else
#define MA_UNINITIALIZED
#endif

/* Runs `fn(&variable)` when the variable leaves its scope. */
#define MA_CLEANUP(fn) __attribute__((cleanup(fn)))

/* A borrowed run of bytes. p may be NULL only when n is 0. */
struct ma_span {
    const uint8_t *p;
    size_t n;
};

/* A list of spans; v is borrowed or arena as the producer says. */
struct ma_span_list {
    struct ma_span *v;
    size_t n;
};

#define MA_SPAN_NULL ((struct ma_span){NULL, 0})
/* A span over a string literal, without its NUL. */
#define MA_LIT(s) ((struct ma_span){(const uint8_t *)("" s), sizeof(s) - 1})

static inline struct ma_span ma_span_of(const void *p, size_t n)
{
    return (struct ma_span){(const uint8_t *)p, n};
}

/* A span over a C string; a NULL string gives an empty span with p == NULL. */
static inline struct ma_span ma_span_str(const char *s)
{
    return s ? (struct ma_span){(const uint8_t *)s, strlen(s)} : MA_SPAN_NULL;
}

/* Plain equality, not constant time: use ma_ct_eq (crypto.h) for secrets. */
static inline bool ma_span_eq(struct ma_span a, struct ma_span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool ma_span_eq_str(struct ma_span a, const char *s)
{
    return ma_span_eq(a, ma_span_str(s));
}

static inline bool ma_span_list_has(const struct ma_span_list *l, struct ma_span s)
{
    for (size_t i = 0; i < l->n; i++)
        if (ma_span_eq(l->v[i], s))
            return true;
    return false;
}

/* FNV-1a, folded: for tables where a collision costs a look-up and nothing else. Not keyed. */
static inline uint64_t ma_span_hash(struct ma_span s)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ s.p[i]) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* Overflow-checked sums and products: true when the result fits and was stored. */
#define ma_add_ok(a, b, ret) (!__builtin_add_overflow((a), (b), (ret)))
#define ma_mul_ok(a, b, ret) (!__builtin_mul_overflow((a), (b), (ret)))

/* Status codes: 0 is success, every failure is negative. */
#define MA_ERRORS(X)                                                                                                   \
    X(MA_E_NOMEM, -1, "out of memory or over a memory limit")                                                          \
    X(MA_E_INVAL, -2, "invalid argument or value")                                                                     \
    X(MA_E_PARSE, -3, "malformed input")                                                                               \
    X(MA_E_RANGE, -4, "over a limit")                                                                                  \
    X(MA_E_NOTFOUND, -5, "not found")                                                                                  \
    X(MA_E_CONFLICT, -6, "conflict: the row is not in the expected state")                                             \
    X(MA_E_EXISTS, -7, "already exists")                                                                               \
    X(MA_E_DB, -8, "database failure")                                                                                 \
    X(MA_E_BUSY, -9, "busy")                                                                                           \
    X(MA_E_FULL, -10, "no space left")                                                                                 \
    X(MA_E_IO, -11, "input/output failure")                                                                            \
    X(MA_E_CRYPTO, -12, "cryptographic operation failed")                                                              \
    X(MA_E_AUTH, -13, "verification failed")                                                                           \
    X(MA_E_EXPIRED, -14, "expired")                                                                                    \
    X(MA_E_UPSTREAM, -15, "an upstream service failed")                                                                \
    X(MA_E_TIMEOUT, -16, "timed out")                                                                                  \
    X(MA_E_UNSUPPORTED, -17, "unsupported")                                                                            \
    X(MA_E_PERM, -18, "permission denied or wrong ownership")                                                          \
    X(MA_E_PROBLEM, -19, "an answer for the client is recorded in the context")                                        \
    X(MA_E_NEXT, -20, "the request goes on in another lane")

#define MA_ERR_ENUM(name, value, text) name = value,
enum ma_err { MA_OK = 0, MA_ERRORS(MA_ERR_ENUM) };
#undef MA_ERR_ENUM

/* The name of a status code ("MA_E_DB"), for logs and test failures; never NULL. Static. */
const char *ma_err_name(int err);
/* A sentence fragment for operators; never NULL. Static. */
const char *ma_err_text(int err);

/* free() and NULL for MA_CLEANUP on malloc'ed pointers. */
void ma_free_p(void *pp);

#endif
