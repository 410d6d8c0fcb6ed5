/* schedule_parts.h: what schedule.c (states, pulling) and schedule_size.c (how much) share. Nobody else includes it.
 * Threads   With the schedule's lock held. */
#ifndef MR__SCHEDULE_PARTS_H
#define MR__SCHEDULE_PARTS_H

#include "internal.h"

static inline bool mr__is_device(const mr__worker *worker)
{
    return worker->ops != &mr__worker_cpu_ops;
}

/* A map task of this worker is done. */
void mr__schedule_note_rate(mr__schedule *schedule, const mr__worker *worker, const mr__done *done);
/* Is this device better left without a task, though something is left? */
bool mr__schedule_holds_off(const mr__schedule *schedule, const mr__worker *worker, uint32_t in_flight);
/* Something is left: makes of it the next map task of this worker. */
void mr__schedule_cut(mr__schedule *schedule, const mr__worker *worker, mr__task *task);

#endif
