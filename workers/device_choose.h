/* device_choose.h: the program of a job, with the lanes and the group that suit the device.
 * Promise   What the cache holds is taken; else the program is built and, where the job leaves the choice open and the
 *           kernel has one (ROWS on a CPU), each choice runs a few blocks of the job's own data and the fastest is
 *           kept.
 * Failure   MR_BAD_APP: `log` says why the kernel does not compile. */
#ifndef MR__DEVICE_CHOOSE_H
#define MR__DEVICE_CHOOSE_H

#include "device_program.h"
#include "device_slot.h"

typedef struct mr__device_chosen {
    bool cached;
    mr__device_kept kept;
    uint64_t build_ns;
} mr__device_chosen;

/* run: program, lanes and group are filled in; everything else is there. */
mr_status mr__device_choose(mr__device_run *run, mr__device_cache *cache, char *log, mr__device_chosen *chosen,
                            mr__error *error);

#endif
