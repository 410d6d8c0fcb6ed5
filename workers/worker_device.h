/* worker_device.h: the engine's end of a device: a worker whose tasks run in a process of their own
 * (device_protocol.h).
 * Promise   A task that was submitted comes back exactly once: done, with its result taken in; or with MR_DEVICE_LOST,
 *           as if it had never been given. No task is in flight without its token. Whatever the device does, poll()
 *           returns.
 * Owner     A link is one device of one job, kept from round to round: create and destroy. It is the worker's config;
 *           its own config must outlive it.
 * Threads   The worker's own; wake() any. mr__device_link_story() after the team has ended.
 * Cost      One message each way and a token for a task; the process is started by the first start().
 * Failure   start(): MR_DEVICE_LOST when the device is drained; everything later is met by restarting the process, and
 *           costs the device's tasks a second run elsewhere. */
#ifndef MR__WORKER_DEVICE_H
#define MR__WORKER_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "device_find.h"
#include "device_protocol.h"
#include "worker.h"

enum mr__device_pack {
    MR__PACKED,
    MR__PACK_HERE,              /* not for a device: the worker's own thread runs it */
    MR__PACK_ELSEWHERE          /* not for a device: it goes back, for a CPU worker */
};

typedef struct mr__device_config {
    mr__device_info device;
    uint32_t depth;             /* tasks in flight; 1 .. MR__DEVICE_SLOTS */
    size_t slot_bytes;
    int job;                    /* memfd of the job blob */
    const _Atomic uint32_t *round;  /* the params in the blob change with it */
    bool alone;                 /* there are no CPU workers: what does not fit the device runs on the worker's thread */
    /* Says how a task looks to the device: its segments, at most MR__DEVICE_SEGMENTS. */
    enum mr__device_pack (*pack)(const mr__task *task, mr__worker *worker, mr__device_segment *segments,
                                uint32_t *count);
    /* Takes the result in. MR_DEVICE_LOST: it cannot be right; nothing of it was taken, the device has failed. */
    mr_status (*unpack)(const mr__task *task, mr__worker *worker, const mr__device_done *done, const uint8_t *result,
                        mr__error *error);
    /* Must nothing be waited for any more? What is in flight then goes back at once. */
    bool (*stopping)(mr__worker *worker);
    /* A task went through the device: for the trace. */
    void (*traced)(mr__worker *worker, const mr__device_done *done);
} mr__device_config;

typedef struct mr__device_link mr__device_link;

/* What happened, for the record and for explain. */
typedef struct mr__device_story {
    uint32_t failures, tasks, given_back, lanes, group;
    uint32_t starts;                /* processes that became ready */
    bool started, drained, cached, zero_copy, bad_kernel;
    uint64_t units;                 /* bytes or blocks mapped */
    uint64_t ready_ns;              /* from start to the first task */
    uint32_t again;                 /* blocks that ran again with a larger buffer */
    uint32_t buffer;                /* mr__device_buffer of the last task */
    char why[MR__DEVICE_TEXT];      /* of the last failure, or why it did not start; "" if none */
} mr__device_story;

mr_status mr__device_link_create(const mr__device_config *config, mr__device_link **out, mr__error *error);
void mr__device_link_destroy(mr__device_link *link);        /* takes NULL; ends the process */
/* A poll() that waits returns, and if none waits the next one does: there may be something to pull, or no more. */
void mr__device_link_wake(mr__device_link *link);
const mr__device_story *mr__device_link_story(const mr__device_link *link);
/* The rules at the head of worker_device.c. */
mr_status mr__device_link_check(const mr__device_link *link, mr__error *error);

extern const mr__worker_ops mr__worker_device_ops;      /* worker->config: the mr__device_link */

#endif
