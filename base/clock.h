/* clock.h: time that only goes forward, and time that a thread has run, in nanoseconds. */
#ifndef MR__CLOCK_H
#define MR__CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t mr__now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t mr__thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
