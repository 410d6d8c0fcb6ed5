/* worker.h: what pulls tasks. Three kinds stand behind one interface: CPU (one thread on one core), device (one thread
 * that feeds one device process), command (a mapper or reducer in any language).
 *
 * Every worker has one thread of the team, and every thread runs the same loop: is there room for a task? pull one from
 * the source, submit it, poll for what is done, hand that back. A CPU worker runs the task inside poll; other kinds
 * keep several in flight.
 *
 * Threads   A worker is used by its own thread only. The source is called from all of them.
 * Failure   A task that fails comes back with its status; a worker that is lost gives its tasks back with
 *           MR_DEVICE_LOST, and the loop hands them to the source, which queues them again. */
#ifndef MR__WORKER_H
#define MR__WORKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "topology.h"

typedef struct mr__worker mr__worker;

typedef struct mr__task {
    uint32_t kind;              /* the engine's: map, merge, reduce, ... */
    uint32_t partition;
    uint32_t source;            /* map: the first source of the range */
    uint64_t begin, end;        /* map: byte (or row) range in the dataset */
    uint32_t first, last;       /* map: its pairs are wanted for partitions [first, last) */
    uint64_t index;             /* number in pull order */
    mr_status (*run)(struct mr__task *task, mr__worker *worker, mr__error *error);     /* how a CPU worker runs it */
    bool cpu_only;              /* it does not fit devices */
    void *job;                  /* the engine's */
} mr__task;

typedef struct mr__done {
    mr__task task;
    mr_status status;
    mr__error error;
    uint64_t started_ns, finished_ns;
    bool apart;                 /* it ran beside the worker's thread, and others at the same time */
} mr__done;

/* Room for a task: now; not now (poll, then ask again); never again: the worker is lost. */
enum mr__room { MR__TAKES, MR__FULL, MR__GONE };

typedef struct mr__worker_ops {     /* every call is required */
    const char *kind;               /* "cpu", "device", "command" */
    mr_status (*probe)(const mr__topology *topology, uint32_t *count, mr__error *error);    /* finding none is MR_OK */
    mr_status (*start)(mr__worker *worker, mr__error *error);   /* on the worker's own thread */
    enum mr__room (*room)(mr__worker *worker);                  /* never blocks */
    void (*submit)(mr__worker *worker, const mr__task *task);   /* only after room() said MR__TAKES; never blocks */
    /* Waits up to timeout_ns for tasks that are done, with none in flight too; how many of `max` came back. */
    uint32_t (*poll)(mr__worker *worker, uint64_t timeout_ns, mr__done *done, uint32_t max);
    void (*stop)(mr__worker *worker);       /* safe to call twice, after poll() gave every task back */
} mr__worker_ops;

enum { MR__NO_CORE = UINT32_MAX };

struct mr__worker {
    const mr__worker_ops *ops;
    const mr__topology *topology;
    uint32_t index;             /* in the team */
    uint32_t core;              /* index into topology->cores; MR__NO_CORE: its thread may run on all of them */
    void *engine;               /* the engine's state of this worker */
    void *config;               /* what the kind needs to know: mr__device_link; NULL for a CPU worker */
    void *state;                /* the kind's own */
};

enum mr__pull { MR__PULLED, MR__WAIT, MR__FINISHED };

typedef struct mr__task_source {
    void *context;
    /* Blocks until a task is there or the stage is over; MR__WAIT only if the worker has tasks in flight. */
    enum mr__pull (*pull)(void *context, mr__worker *worker, uint32_t in_flight, mr__task *task);
    void (*done)(void *context, mr__worker *worker, const mr__done *done);
    /* The worker has neither room nor a task in flight; it could not start, is lost, or asks whether all is over, so
     * that it may go. */
    bool (*over)(void *context, mr__worker *worker);
} mr__task_source;

extern const mr__worker_ops mr__worker_cpu_ops;

/* Runs a task on the calling thread, which is the worker's, and says how it went. */
void mr__task_run(const mr__task *task, mr__worker *worker, mr__done *done);

/* Runs the loop on `count` workers, one thread each (an OpenMP team, bound to the cores that they have), until the
 * source says FINISHED to all. begin/end: called on each worker's thread before and after its loop, for state that must
 * be first touched there; may be NULL. When a worker cannot start (or begin fails), or the system gives no thread for
 * it, the others go on; MR_NO_WORKER if none could start, MR_DEVICE_LOST if all that did were lost before the end. */
mr_status mr__team_run(mr__worker *workers, uint32_t count, const mr__task_source *source,
                       mr_status (*begin)(mr__worker *worker, mr__error *error), void (*end)(mr__worker *worker),
                       mr__error *error);

#endif
