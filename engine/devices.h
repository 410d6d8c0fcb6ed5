/* devices.h: the devices of a job: which take part, what they are told, and what became of them.
 * Promise   A job without devices pays nothing: no process, no file. What a device computes is taken in only when it is
 *           whole and possible; of the first task of every device process, and with row kernels of every round, a part
 *           is computed on the CPU as well, as far as it can be compared, and a device that disagrees has failed.
 * Owner     The job. choose -> (plan) -> fit -> prepare -> add workers -> fini.
 * Threads   choose, fit, prepare, story and fini: the job's. pack and unpack: each device's worker.
 * Failure   MR_BAD_USAGE: a device was asked for by name that does not exist, or there is nobody to run the job. One of
 *           several ranks goes on without: it is enough that the device is somewhere (joint_view.c).
 *           MR_DEVICE_LOST: the devices asked for cannot run this app. */
#ifndef MR__DEVICES_H
#define MR__DEVICES_H

#include <stdbool.h>
#include <stdint.h>

#include "worker_device.h"

struct mr__job;
struct mr__lane;
struct mr__record_device;

/* When a result was compared with the CPU's: after so many starts of the process, in this round. */
typedef struct mr__device_check {
    uint32_t starts, round;
} mr__device_check;

typedef struct mr__job_device {
    mr__device_config config;
    mr__device_link *link;
    mr__device_check verified;  /* the last that agreed; starts 0: none */
    uint64_t taken_ns, taken;   /* that its worker's thread ran to take results in; units of those */
    double expected;            /* units a second on an earlier run; 0: not known */
} mr__job_device;

typedef struct mr__devices {
    mr__job_device *item;
    uint32_t count;
    mr__device_list list;
    bool asked;                 /* the user named devices: not being able to use them is an error */
    bool found;                 /* some that this rank was asked for is there */
    const char *missing;        /* one that is not; NULL: none, or the app needs none */
    uint32_t form;              /* mr__device_form */
    uint32_t depth;
    int blob;                   /* memfd; -1: none */
    uint8_t *memory;            /* of the blob, mapped */
    size_t size, slot_bytes;
    uint64_t params_at;
    uint64_t largest_task;      /* units */
    uint64_t reserved;          /* bytes in the budget */
    _Atomic uint32_t round;
    char note[1024];            /* why some device, or none, takes part; "" */
} mr__devices;

/* Before the plan: which devices the session's specification means and the app can use. */
mr_status mr__devices_choose(struct mr__job *job, mr__error *error);
/* After the plan: the size of tasks and slots. Devices that cannot use the plan's shape, or reach its input, leave. */
mr_status mr__devices_fit(struct mr__job *job, mr__error *error);
/* What they are told, and a link to each. */
mr_status mr__devices_prepare(struct mr__job *job, mr__error *error);
/* The params have changed; no task is in flight. */
void mr__devices_next_round(struct mr__job *job);
/* Has the workers of devices look at the schedule again. Any thread. */
void mr__devices_wake(const struct mr__job *job);
/* Seconds of its worker's thread that a device's results cost a unit; 0: not known yet. On that thread, or when all
 * have ended. */
double mr__devices_take_in(const struct mr__job *job, uint32_t device);
/* Notes which of them got no more work, after the last round. */
void mr__devices_say_burdens(struct mr__job *job);
/* Keeps what was measured for later jobs. */
void mr__devices_keep_speeds(const struct mr__job *job);
/* For a device that takes no tasks, on its thread. MR_DEVICE_LOST: that ends the job, since it was asked for and the
 * kernel does not compile. */
mr_status mr__devices_give_up(const struct mr__job *job, const mr__worker *worker, mr__error *error);
/* What became of each device, for the record; job->devices.count of them. */
void mr__devices_tell(const struct mr__job *job, struct mr__record_device *told);
/* Why each device that was lost was lost, for the sentence of a job that has no worker left. */
void mr__devices_say_losses(const struct mr__job *job, char *text, size_t size);
void mr__devices_fini(struct mr__job *job);

/* device_task.c */
enum mr__device_pack mr__device_pack_task(const mr__task *task, mr__worker *worker, mr__device_segment *segments,
                                          uint32_t *count);
mr_status mr__device_unpack(const mr__task *task, mr__worker *worker, const mr__device_done *done,
                            const uint8_t *result, mr__error *error);
void mr__device_trace(mr__worker *worker, const mr__device_done *done);
uint32_t mr__device_trace_lane(const struct mr__job *job, uint32_t device, uint32_t slot);
/* Is the job over or failing, so that a device must not be waited for? */
bool mr__devices_stopping(mr__worker *worker);
/* Units a second that a device is expected to do; 0: not known. */
double mr__devices_expected(const struct mr__job *job, uint32_t device);
/* device_verify.c: does the CPU get the same for this task, as far as it can be compared? MR_DEVICE_LOST: it does
 * not. */
mr_status mr__device_verify(const mr__task *task, struct mr__lane *lane, const mr__device_done *done,
                            const uint8_t *result, mr__error *error);
/* Adds what the emitter has staged to *lane->fingerprint, in place of keeping it. */
void mr__device_fingerprint(struct mr__lane *lane, uint32_t count);

#endif
