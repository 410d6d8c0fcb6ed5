/* budget.h: the one number that bounds memory.
 * Promise   The sum of what is reserved never exceeds the limit. Who cannot reserve spills, shrinks or fails; it does
 *           not allocate. What is too small to matter (descriptors, stacks) is covered by an overhead that is set aside
 *           at the start.
 * Units     Bytes.
 * Threads   Any. One compare-and-swap per call: reserve chunks, not pairs. */
#ifndef MR__BUDGET_H
#define MR__BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct mr__budget {
    uint64_t limit;
    _Atomic uint64_t used;
    _Atomic uint64_t peak;
} mr__budget;

void mr__budget_init(mr__budget *budget, uint64_t limit);
bool mr__budget_reserve(mr__budget *budget, uint64_t bytes);
/* Reserves even beyond the limit: for the few things without which the job cannot go on. */
void mr__budget_force(mr__budget *budget, uint64_t bytes);
void mr__budget_release(mr__budget *budget, uint64_t bytes);
uint64_t mr__budget_left(const mr__budget *budget);

/* Resident set of this process now, and its peak, in bytes; 0 if /proc is not there. */
uint64_t mr__rss_bytes(void);
uint64_t mr__peak_rss_bytes(void);

#endif
