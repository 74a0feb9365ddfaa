/* SPDX-License-Identifier: Apache-2.0
 * Allocations that fail: malloc, calloc and realloc of the whole process, told apart by who calls. Built without
 * sanitizers: it runs before theirs has started, and hands everything on to it.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RANGES_MAX = 32 };

/* The sanitizer's, or in a build without one the C library's. */
__attribute__((weak)) void *__interceptor_malloc(size_t n);
__attribute__((weak)) void *__interceptor_calloc(size_t n, size_t size);
__attribute__((weak)) void *__interceptor_realloc(void *p, size_t n);
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

struct chaos_faults *chaos_faults;

static struct {
    uintptr_t from, to;
    int64_t owner;
} ranges[RANGES_MAX];
static size_t n_ranges;

bool chaos_due(struct chaos_fault *f, int64_t bit)
{
    if (!(atomic_load_explicit(&f->mask, memory_order_acquire) & bit))
        return false;
    int64_t n = atomic_fetch_add(&f->seen, 1) - atomic_load(&f->skip);
    int64_t every = atomic_load(&f->every);
    if (n < 0 || n % (every > 0 ? every : 1) != 0)
        return false;
    if (atomic_fetch_sub(&f->left, 1) <= 0) {
        (void)atomic_fetch_add(&f->left, 1);
        return false;
    }
    (void)atomic_fetch_add(&f->injected, 1);
    return true;
}

static int64_t owner_of(const char *name)
{
    static const struct {
        const char *part;
        int64_t owner;
    } owners[] = {
        {"libsqlite3.", CHAOS_SQLITE}, {"libcrypto.", CHAOS_CRYPTO},         {"libjansson.", CHAOS_JANSSON},
        {"libcurl.", CHAOS_CURL},      {"libmicrohttpd.", CHAOS_MICROHTTPD}, {"libargon2.", CHAOS_ARGON2},
    };
    if (name[0] == '\0')
        return CHAOS_PROGRAM;
    for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++)
        if (strstr(name, owners[i].part))
            return owners[i].owner;
    return 0;
}

static int note_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    (void)size;
    (void)arg;
    int64_t owner = owner_of(info->dlpi_name);
    for (int i = 0; owner && i < info->dlpi_phnum && n_ranges < RANGES_MAX; i++) {
        const ElfW(Phdr) *h = &info->dlpi_phdr[i];
        if (h->p_type != PT_LOAD || !(h->p_flags & PF_X))
            continue;
        ranges[n_ranges].from = info->dlpi_addr + h->p_vaddr;
        ranges[n_ranges].to = ranges[n_ranges].from + h->p_memsz;
        ranges[n_ranges++].owner = owner;
    }
    return 0;
}

__attribute__((constructor)) static void map_faults(void)
{
    (void)dl_iterate_phdr(note_object, NULL);
    const char *path = secure_getenv("MA_CHAOS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof(struct chaos_faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)close(fd);
    if (p != MAP_FAILED)
        chaos_faults = p;
}

static bool fails(const void *caller)
{
    struct chaos_faults *all = chaos_faults;
    if (!all || atomic_load_explicit(&all->memory.mask, memory_order_relaxed) == 0)
        return false;
    uintptr_t at = (uintptr_t)caller;
    for (size_t i = 0; i < n_ranges; i++)
        if (at >= ranges[i].from && at < ranges[i].to && chaos_due(&all->memory, ranges[i].owner)) {
            errno = ENOMEM;
            return true;
        }
    return false;
}

#define HAND_ON(name) (__interceptor_##name ? __interceptor_##name : __libc_##name)

__attribute__((visibility("default"))) void *malloc(size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : HAND_ON(malloc)(n);
}

__attribute__((visibility("default"))) void *calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : HAND_ON(calloc)(n, size);
}

__attribute__((visibility("default"))) void *realloc(void *p, size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : HAND_ON(realloc)(p, n);
}
