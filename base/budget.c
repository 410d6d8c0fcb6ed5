/* budget.c: the counter behind --memory. */
#include "budget.h"

#include <stdio.h>
#include <string.h>

void mr__budget_init(mr__budget *budget, uint64_t limit)
{
    budget->limit = limit;
    atomic_init(&budget->used, 0);
    atomic_init(&budget->peak, 0);
}

static void note_peak(mr__budget *budget, uint64_t used)
{
    uint64_t peak = atomic_load_explicit(&budget->peak, memory_order_relaxed);
    while (used > peak && !atomic_compare_exchange_weak_explicit(&budget->peak, &peak, used, memory_order_relaxed,
                                                                 memory_order_relaxed)) {
    }
}

bool mr__budget_reserve(mr__budget *budget, uint64_t bytes)
{
    /* relaxed: the counter orders nothing but itself */
    uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
    do {
        if (used > budget->limit || bytes > budget->limit - used)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes, memory_order_relaxed,
                                                    memory_order_relaxed));
    note_peak(budget, used + bytes);
    return true;
}

void mr__budget_force(mr__budget *budget, uint64_t bytes)
{
    note_peak(budget, atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed) + bytes);
}

void mr__budget_release(mr__budget *budget, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

uint64_t mr__budget_left(const mr__budget *budget)
{
    const uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
    return used < budget->limit ? budget->limit - used : 0;
}

static uint64_t status_field(const char *field)
{
    uint64_t kilobytes = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, field, strlen(field)) == 0) {
            unsigned long long value;
            if (sscanf(line + strlen(field), "%llu", &value) == 1)
                kilobytes = value;
            break;
        }
    }
    fclose(file);
    return kilobytes * 1024;
}

uint64_t mr__rss_bytes(void)
{
    return status_field("VmRSS:");
}

uint64_t mr__peak_rss_bytes(void)
{
    return status_field("VmHWM:");
}
