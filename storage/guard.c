/* guard.c: one SIGBUS handler for all mapped windows of the process.
 *
 * The handler may run at any instruction, so it takes no lock: guards lie in a fixed array, and a range is two atomic
 * words. `start` is written last when a range appears and first when it goes, so a handler that sees a start sees its
 * size. In place of the page that is gone it maps a page of zeros and returns; the instruction is repeated and
 * succeeds.
 *
 * The handler is installed with the first guard and taken out with the last one, if it is still ours by then: a
 * program that installs its own in between keeps it. */
#include "guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#include "memory.h"

enum { GUARDS = 256 };

struct mr__guard {
    _Atomic uintptr_t start;            /* 0: watches nothing */
    _Atomic size_t size;
    _Atomic bool taken, hit;
};

static mr__guard guards[GUARDS];
static struct sigaction previous;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uint32_t out;                    /* guards that are taken; guarded by mutex */

static void pass_on(int number, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO)
        previous.sa_sigaction(number, info, context);
    else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
        previous.sa_handler(number);
    else
        signal(number, SIG_DFL);        /* the instruction is repeated and ends the process as it would have */
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    const uintptr_t address = (uintptr_t)info->si_addr;
    for (uint32_t i = 0; i < GUARDS; i++) {
        const uintptr_t start = atomic_load_explicit(&guards[i].start, memory_order_acquire);
        if (start == 0 || address < start || address - start >= atomic_load(&guards[i].size))
            continue;
        if (mmap((void *)mr__page_down(address), mr__page_size(), PROT_READ,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
            break;
        atomic_store(&guards[i].hit, true);
        return;
    }
    pass_on(number, info, context);
}

static bool install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    return sigaction(SIGBUS, &action, &previous) == 0;
}

static void uninstall(void)
{
    struct sigaction now;
    if (sigaction(SIGBUS, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_bus_error)
        sigaction(SIGBUS, &previous, NULL);
}

mr__guard *mr__guard_acquire(void)
{
    mr__guard *guard = NULL;
    pthread_mutex_lock(&mutex);
    if (out > 0 || install()) {
        for (uint32_t i = 0; i < GUARDS && guard == NULL; i++)
            if (!atomic_load(&guards[i].taken))
                guard = &guards[i];
    }
    if (guard != NULL) {
        out++;
        atomic_store(&guard->hit, false);
        atomic_store(&guard->taken, true);
    }
    pthread_mutex_unlock(&mutex);
    return guard;
}

void mr__guard_release(mr__guard *guard)
{
    if (guard == NULL)
        return;
    mr__guard_watch(guard, NULL, 0);
    pthread_mutex_lock(&mutex);
    atomic_store(&guard->taken, false);
    if (--out == 0)
        uninstall();
    pthread_mutex_unlock(&mutex);
}

void mr__guard_watch(mr__guard *guard, const void *start, size_t size)
{
    atomic_store(&guard->start, 0);
    atomic_store(&guard->size, size);
    /* release: who sees the start sees the size */
    atomic_store_explicit(&guard->start, size > 0 ? (uintptr_t)start : 0, memory_order_release);
}

bool mr__guard_hit(const mr__guard *guard)
{
    return atomic_load(&guard->hit);
}
