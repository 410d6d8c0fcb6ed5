/* clock.h: time that only goes forward, and time that a thread has run, in nanoseconds. */
#ifndef MR__CLOCK_H
#define MR__CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t mr__clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t mr__now_ns(void)
{
    return mr__clock_ns(CLOCK_MONOTONIC);
}

static inline uint64_t mr__thread_ns(void)
{
    return mr__clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

static inline struct timespec mr__timespec(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
}

#endif
