/* fake_worker.h: a worker that stands for a device: several tasks in flight, and it can be lost or refuse to start.
 * Promise   Tasks are done in the order of submission, at most one per poll, so that tasks do pile up.
 *           Once lost it accepts nothing and gives every task back with MR_DEVICE_LOST.
 * Owner     The test owns `struct fake` and puts its address into worker->engine. */
#ifndef MR__FAKE_WORKER_H
#define MR__FAKE_WORKER_H

#include <stdbool.h>

#include "worker.h"

enum { FAKE_SLOTS = 3, FAKE_AWAY = 20, FAKE_NEVER = UINT32_MAX };

struct fake {
    bool refuses_to_start;
    uint32_t lost_after;        /* this many accepted tasks; FAKE_NEVER: not */
    uint32_t away_after;        /* after this many it takes none for FAKE_AWAY polls; 0: never */
    /* what happened */
    uint32_t accepted, full, most_in_flight, starts, stops;
    mr__task slot[FAKE_SLOTS];
    uint32_t in_flight, away;
};

extern const mr__worker_ops fake_worker_ops;

#endif
