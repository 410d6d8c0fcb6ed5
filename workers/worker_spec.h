/* worker_spec.h: which workers a user asks for, as on the command line.
 *   4                              four CPU workers, no device          (the same as cpu=4)
 *   cpu=2,device=all               two, and every device
 *   cpu=0,device=pocl-0:2,intel-0  these devices, the first with two tasks in flight
 *   device=gpu                     the CPU workers that suit this machine, and every GPU; also: cpu, accelerator
 *   device=none                    no device
 * Promise   parse() looks at no device, so a job without devices pays nothing for them; match() says which are meant.
 * Owner     The specification lies in the caller's memory and keeps no pointer.
 * Threads   Any.
 * Failure   MR_BAD_USAGE with a sentence; *out is untouched. A name that no device has gets the names that exist. */
#ifndef MR__WORKER_SPEC_H
#define MR__WORKER_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "device_find.h"

enum {
    MR__SPEC_DEVICES = 32,
    MR__SPEC_CPUS_MOST = 1024
};

typedef struct mr__worker_spec {
    bool cpus_given;
    uint32_t cpus;                              /* if given; may be 0 if devices are asked for */
    uint32_t device_count;                      /* 0: none */
    struct {
        char who[MR__DEVICE_ID];                /* an id, "all", or a type */
        uint32_t depth;                         /* tasks in flight; 0: not said */
    } device[MR__SPEC_DEVICES];
} mr__worker_spec;

typedef struct mr__worker_device {
    const mr__device_info *device;              /* in the list */
    uint32_t depth;                             /* 0: not said */
} mr__worker_device;

mr_status mr__worker_spec_parse(const char *text, mr__worker_spec *out, mr__error *error);
/* The devices meant, each once, in the order of the list; an id's depth goes before a type's, that before all's. Asking
 * for "all" where there is none is no error here; for an id or a type it is. */
mr_status mr__worker_spec_match(const mr__worker_spec *spec, const mr__device_list *list,
                                mr__worker_device out[MR__DEVICES_MOST], uint32_t *count, mr__error *error);
/* The same, of those that are there; how many. */
uint32_t mr__worker_spec_pick(const mr__worker_spec *spec, const mr__device_list *list,
                              mr__worker_device out[MR__DEVICES_MOST]);
/* The first id or type that no device has; in spec. NULL: each has one. */
const char *mr__worker_spec_missing(const mr__worker_spec *spec, const mr__device_list *list);

#endif
