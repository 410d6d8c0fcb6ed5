/* device_probe.h: kernels whose answers are known: is the device well?
 * Promise   Whole numbers, floating numbers, a dense sum, local memory with barriers, and atomic counters are computed
 *           on the device and in C, and compared to the bit. Cost: some milliseconds once built.
 * Failure   MR_DEVICE_LOST: the sentence says which kernel was wrong, where, and what was expected; or which call
 *           failed. */
#ifndef MR__DEVICE_PROBE_H
#define MR__DEVICE_PROBE_H

#include "device_cache.h"
#include "device_cl.h"

typedef struct mr__probe mr__probe;

/* Builds the kernels (or takes them from the cache). */
mr_status mr__probe_open(const mr__cl *cl, mr__device_cache *cache, mr__probe **probe, mr__error *error);
void mr__probe_close(mr__probe *probe);     /* takes NULL */
/* seed: other numbers, another answer. */
mr_status mr__probe_run(mr__probe *probe, uint32_t seed, mr__error *error);
/* Do kernels and the host see what the other one wrote to memory of the host, without a command of a queue? */
bool mr__probe_direct(mr__probe *probe, uint32_t seed);
/* The kernels' names, and how many there are. */
extern const char *const mr__probe_names[];
extern const uint32_t mr__probe_count;

#endif
