/* cpu_clock.h: nanoseconds that this thread has computed: what else runs on the machine disturbs it less than wall
 * time. */
#ifndef MR__BENCH_CPU_CLOCK_H
#define MR__BENCH_CPU_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
