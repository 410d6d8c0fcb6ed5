/* device_find.h: which OpenCL devices there are, asked of millrace-device, and what has been measured of them.
 * Promise   Nothing that OpenCL does can hurt the caller: a process of its own looks, with a deadline. No program, a
 *           crash, no platform: that is an empty list with a note that says why, not an error. The answer is kept on
 *           disk until drivers or settings change; a damaged file there is ignored and written anew.
 * Owner     A list: find and free. The rest lies in the caller's memory.
 * Threads   Any, as long as none changes the environment. Any number of processes share the cache.
 * Cost      < 1 ms when the cache holds; else what the drivers take to load, up to MR__DEVICE_FIND_SECONDS
 *           ($MILLRACE_DEVICE_FIND_SECONDS).
 * Failure   MR_NO_MEMORY. Speeds that cannot be kept are no failure of a job: put() says why, and may be ignored. */
#ifndef MR__DEVICE_FIND_H
#define MR__DEVICE_FIND_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "places.h"
#include "token.h"

enum {
    MR__DEVICE_FIND_SECONDS = 20,
    MR__DEVICES_MOST = 64,
    MR__DEVICE_NOTES = 2048
};

enum mr__device_type { MR__DEVICE_CPU, MR__DEVICE_GPU, MR__DEVICE_ACCELERATOR };

typedef struct mr__device_info {
    char id[MR__DEVICE_ID];                     /* "pocl-0": short, and the same from run to run */
    char name[256], platform[256], vendor[128], version[256], driver[128];
    char bus[16];                               /* where it sits on the PCI bus; "": nobody knows */
    enum mr__device_type type;
    uint32_t platform_index, device_index;
    uint32_t units;
    uint64_t global_bytes, local_bytes, max_alloc_bytes;
    bool unified, f64, int64_atomics;
} mr__device_info;

typedef struct mr__device_list {
    mr__device_info *device;
    uint32_t count;
    bool cached;                                /* nothing was run to find them */
    char note[MR__DEVICE_NOTES];                /* lines: what was skipped, or why there is none */
} mr__device_list;

/* fresh: do not believe the cache. */
mr_status mr__device_find(bool fresh, mr__device_list *out, mr__error *error);
void mr__device_list_free(mr__device_list *list);       /* what find() filled, or zeros */
/* NULL: none is called so. */
const mr__device_info *mr__device_by_id(const mr__device_list *list, const char *id);
const char *mr__device_type_name(enum mr__device_type type);    /* "cpu", "gpu", "accelerator" */

/* millrace-device: $MILLRACE_DEVICE_PROGRAM, else libexec/millrace/millrace-device beside the folder (bin, lib) of the
 * executable or shared object that this code is in. MR_NO_WORKER: it is not there, or may not be run. */
mr_status mr__device_program(char path[MR__PATH_MAX], mr__error *error);

/* $XDG_CACHE_HOME/millrace, else ~/.cache/millrace; made if need be. MR_IO_FAILED: it cannot be written, or is not safe
 * (somebody else's, or others may write it): do without. */
mr_status mr__device_cache_folder(char path[MR__PATH_MAX], mr__error *error);

/* ---- what was measured ------------------------------------------------------------------------------------------- */

typedef struct mr__device_speed {
    double bytes_per_s, rows_per_s;             /* while busy; 0: not known */
    double overhead_ns;                         /* of a task, whatever its size */
    uint32_t lanes, group;                      /* with which it was measured; 0: has none */
    int64_t measured_at;                        /* seconds since 1970; put() fills it in */
} mr__device_speed;

/* app: its name. device: an id, or "cpu" for one CPU worker. get(): false: nothing is known, *out is untouched. */
bool mr__device_speed_get(const char *app, const char *device, mr__device_speed *out);
mr_status mr__device_speed_put(const char *app, const char *device, const mr__device_speed *speed, mr__error *error);
/* Calls `each` for every app that was measured on `device`, in the order of their names. */
void mr__device_speed_each(const char *device,
                           void (*each)(void *context, const char *app, const mr__device_speed *speed), void *context);

/* ---- the parsers, for fuzzers ------------------------------------------------------------------------------------ */

/* What millrace-device --list prints. MR_BAD_INPUT: it is not that; *out is untouched. */
mr_status mr__device_list_parse(const char *text, size_t size, mr__device_list *out, mr__error *error);
bool mr__device_speed_parse(const char *text, size_t size, mr__device_speed *out);

#endif
