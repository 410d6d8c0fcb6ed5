/* clock.h: time that only goes forward, in nanoseconds. */
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

#endif
