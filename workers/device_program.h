/* device_program.h: the text of a device's program, and the program built from it or taken from the cache.
 *
 *   definitions that describe the job | the app's source, each `#include <millrace/x.h>` replaced by the embedded
 *   header
 *
 * Promise   The compiler's log names lines of the app's own file (APP.cl) and of the headers. One text and one choice
 *           of lanes and group give one cache entry per device and driver.
 * Owner     The caller releases programs; texts are freed with mr__free().
 * Failure   MR_BAD_APP: it does not compile; `log` says why. MR_NO_MEMORY, MR_DEVICE_LOST as in device_cl.h. */
#ifndef MR__DEVICE_PROGRAM_H
#define MR__DEVICE_PROGRAM_H

#include "device_cache.h"
#include "device_cl.h"
#include "device_job.h"

typedef struct mr__device_header {
    const char *name, *text;        /* "millrace/row.h" */
} mr__device_header;
/* Generated from include/millrace; the last one has no name. */
extern const mr__device_header mr__device_headers[];

/* lanes, group: 0 for the text that stands for all choices in the cache's key. */
mr_status mr__device_text_make(const mr__device_job_view *view, const mr__cl_device *device, uint32_t lanes,
                               uint32_t group, char **text, mr__error *error);
/* The key of a text on this device. */
mr__cache_key mr__device_key(const mr__cl_device *device, const char *text);

mr_status mr__device_build(const mr__cl *cl, const char *text, char *log, cl_program *program, mr__error *error);
/* A program in the cache, and how it is launched. */
typedef struct mr__device_kept {
    mr__cache_key key;
    bool there;                     /* else it is still to be kept */
    uint32_t lanes, group;
} mr__device_kept;

/* A binary from the cache; one that the driver refuses is removed, and *program is NULL: build it. */
mr_status mr__device_load(const mr__cl *cl, mr__device_cache *cache, mr__device_kept *kept, cl_program *program,
                          mr__error *error);
/* Keeps it if it can; a program that cannot be taken out is a note. Only once its kernel has
 * run: pocl compiles for the size of the work-group at the first launch, and what it gives out first it gives out
 * again. */
void mr__device_keep(const mr__cl *cl, mr__device_cache *cache, mr__device_kept *kept, cl_program program);

#endif
