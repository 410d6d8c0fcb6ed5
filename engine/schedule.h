/* schedule.h: who may pull what, and when a stage is over.
 * Promise   Every byte (block) of the ranges added is in exactly one map task that is done, every part in exactly one
 *           reduce task. A task that comes back with MR_DEVICE_LOST was not run: it is handed out again. Any other
 *           failure ends the job: no task is handed out after the first, and those that are out can tell (failed).
 * Threads   Any; one mutex, once per task; failed() takes none.
 * Failure   init cannot fail. */
#ifndef MR__SCHEDULE_H
#define MR__SCHEDULE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "cover.h"
#include "worker.h"

enum mr__stage { MR__STAGE_MAP, MR__STAGE_REDUCE, MR__STAGE_SORT, MR__STAGE_END, MR__STAGES };
enum mr__task_kind { MR__TASK_MAP, MR__TASK_MERGE, MR__TASK_FLUSH, MR__TASK_REDUCE, MR__TASK_SORT };

struct mr__job;

typedef struct mr__schedule {
    struct mr__job *job;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    enum mr__stage stage;
    uint32_t workers, first_device;     /* CPU workers come first */
    mr__cover left;                 /* of the input, not handed out; in bytes (text, files), blocks (records, ranges) */
    uint32_t first, last;           /* what is left is for these partitions */
    bool open;                      /* more ranges may come */
    bool dry;                       /* ... but none is on its way: workers empty their buffers */
    uint64_t dry_ns;                /* since then */
    bool told_low, told_empty, told_drained;    /* whoever adds ranges; since the last one */
    uint64_t added, low;            /* units of the last range; left when the next one is wanted */
    uint32_t flushing;              /* flush tasks that are out */
    uint64_t smallest, largest;     /* bounds of a task */
    uint64_t in_flight, mapping;    /* tasks that are out; map tasks among them */
    bool *dirty;                    /* [workers]: has mapped since its last flush */
    bool *lent;                     /* [workers]: another one flushes its buffers */
    mr__task *returned;             /* [returned_room]: map tasks that devices gave back; they go first */
    uint32_t returned_count, returned_room;
    uint32_t on_devices;            /* map tasks that devices have, and may give back */
    double *rate;                   /* [workers]: units a second, measured; 0: not known yet */
    struct mr__pace {
        double units, seconds;      /* of the last few tasks, older ones count less */
    } *pace;                        /* [workers] */
    bool *away;                     /* [workers]: takes no task now, or never again */
    uint64_t *last_done_ns;         /* [workers]: when its last map task ended */
    uint32_t cpu_workers;           /* less those that could not start */
    uint64_t device_largest;        /* bound of a device's task */
    uint32_t device_depth;          /* tasks that a device has in flight */
    bool barrier;                   /* MILLRACE_REDUCE=barrier: nothing is merged before all maps are done */
    uint32_t *merges;               /* partitions that want a merge, a ring of `partitions` */
    uint32_t merge_head, merge_count;
    uint32_t next_part;
    uint64_t tasks[MR__STAGES];
    uint64_t started_ns[MR__STAGES], finished_ns[MR__STAGES];
    uint64_t task_number;
    uint64_t maps_done, map_ns;     /* map tasks; what all workers together spent in them */
    mr_status status;
    mr__error error;
    _Atomic bool failed;            /* status is not MR_OK: for tasks, which look at each block */
} mr__schedule;

/* workers: all; cpu_workers of them are CPU workers, the others devices with up to `depth` tasks in flight each. */
mr_status mr__schedule_init(mr__schedule *schedule, struct mr__job *job, uint32_t workers, uint32_t cpu_workers,
                            uint32_t depth, mr__error *error);
void mr__schedule_fini(mr__schedule *schedule);
/* Begins the map stage (again, for the next round). It lasts until its input was closed and is mapped. */
void mr__schedule_begin(mr__schedule *schedule, uint64_t smallest, uint64_t largest);
/* Begins the sort stage by itself: the results of all partitions are there. */
void mr__schedule_begin_sort(mr__schedule *schedule);
/* A range of the input to be mapped for partitions [first, last). What is left is for the same partitions always:
 * *added is false while there is something left for others. Failure, nothing was added: MR_NO_MEMORY; MR_INTERNAL,
 * some of it is left already. */
mr_status mr__schedule_add(mr__schedule *schedule, uint64_t begin, uint64_t end, uint32_t first, uint32_t last,
                           bool *added, mr__error *error);
/* No range is on its way; one may still come. */
void mr__schedule_run_dry(mr__schedule *schedule);
/* Nothing is left of a dry schedule: all is mapped, and every buffer is empty. */
bool mr__schedule_is_drained(mr__schedule *schedule);
/* What the reduce stage reduces, when the map stage is over: instead of all parts. list: borrowed until then. */
void mr__schedule_choose(mr__schedule *schedule, const uint32_t *list, uint32_t count);
/* No range comes after those that were added. */
void mr__schedule_close(mr__schedule *schedule);
/* Asks for a merge of this partition; idempotent until the merge begins. */
void mr__schedule_merge(mr__schedule *schedule, uint32_t partition);
/* How many times what a CPU worker needs for a unit this device's results cost it; 0: not known, or there are cores to
 * spare. From 1 on the device takes nothing more. */
double mr__schedule_burden(const mr__schedule *schedule, uint32_t worker);
/* What a worker did on an earlier run, units a second: until its first task is done its share follows from that. */
void mr__schedule_expect(mr__schedule *schedule, uint32_t worker, double rate);
/* What all workers together map in this time; 0: not known yet. */
uint64_t mr__schedule_units_in(mr__schedule *schedule, double seconds);
void mr__schedule_fail(mr__schedule *schedule, mr_status status, const mr__error *error);
const char *mr__stage_name(enum mr__stage stage);
/* The task source of the team. */
enum mr__pull mr__schedule_pull(void *schedule, mr__worker *worker, uint32_t in_flight, mr__task *task);
void mr__schedule_done(void *schedule, mr__worker *worker, const mr__done *done);
bool mr__schedule_over(void *schedule, mr__worker *worker);
bool mr__schedule_failed(const mr__schedule *schedule);
mr_status mr__schedule_outcome(mr__schedule *schedule, mr__error *error);
mr_status mr__schedule_check(mr__schedule *schedule, mr__error *error);

#endif
