/* SPDX-License-Identifier: Apache-2.0
 * Memory maps of files that somebody may cut off meanwhile. Touching what is gone raises SIGBUS; the handler here, for
 * its own maps only, puts a page of zeros there and notes it, so that the reader goes on and finds damage. The handler
 * is the process's, which is why the table is, too.
 */
#include "int.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define SLOTS 8

static struct {
    _Atomic uintptr_t base; /* 0: free */
    _Atomic size_t n;
    _Atomic bool hurt;
} slots[SLOTS];
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t handler_once = PTHREAD_ONCE_INIT;
static struct sigaction before;
static uintptr_t page_mask;

/* Only mmap and atomics. What is not ours goes to whoever handled it before, when the instruction faults again. */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    int kept = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    for (int i = 0; i < SLOTS; i++) {
        uintptr_t base = atomic_load(&slots[i].base);
        if (base == 0 || at < base || at - base >= atomic_load(&slots[i].n))
            continue;
        void *page = (void *)(at & page_mask); /* NOLINT: an address from the kernel */
        if (mmap(page, ~page_mask + 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            break;
        atomic_store(&slots[i].hurt, true);
        errno = kept;
        return;
    }
    (void)sigaction(SIGBUS, &before, NULL);
}

static void install(void)
{
    struct sigaction act = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    page_mask = ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
    (void)sigemptyset(&act.sa_mask);
    (void)sigaction(SIGBUS, &act, &before);
}

static int take_slot(const void *p, size_t n)
{
    int slot = -1;
    (void)pthread_mutex_lock(&slots_lock);
    for (int i = 0; i < SLOTS && slot < 0; i++)
        if (atomic_load(&slots[i].base) == 0)
            slot = i;
    if (slot >= 0) {
        atomic_store(&slots[slot].hurt, false);
        atomic_store(&slots[slot].n, n);
        atomic_store(&slots[slot].base, (uintptr_t)p);
    }
    (void)pthread_mutex_unlock(&slots_lock);
    return slot;
}

int breach_map_open(int fd, size_t n, struct breach_map *ret)
{
    (void)pthread_once(&handler_once, install);
    void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return MA_E_IO;
    (void)madvise(p, n, MADV_RANDOM); /* no reading ahead of pages nobody asked for */
    int slot = take_slot(p, n);
    if (slot < 0) {
        (void)munmap(p, n);
        return MA_E_RANGE;
    }
    *ret = (struct breach_map){p, n, slot};
    return MA_OK;
}

void breach_map_close(struct breach_map *m)
{
    if (!m->p)
        return;
    atomic_store(&slots[m->slot].base, 0);
    (void)munmap((void *)(uintptr_t)m->p, m->n);
    m->p = NULL;
}

bool breach_map_hurt(const struct breach_map *m)
{
    return atomic_load(&slots[m->slot].hurt);
}
