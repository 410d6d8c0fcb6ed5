/* device_job.h: the job of a device process, as its blob says, checked.
 * Promise   Every range of the blob lies inside it, paths are terminated, counts fit. The params are read where they
 *           lie: after ROUND they are the new ones.
 * Owner     open/close. All pointers point into the blob.
 * Failure   MR_INTERNAL: the blob is not what the protocol says. */
#ifndef MR__DEVICE_JOB_H
#define MR__DEVICE_JOB_H

#include <stdbool.h>
#include <stddef.h>

#include "check.h"
#include "device_protocol.h"

typedef struct mr__device_job_view {
    mr__device_job job;             /* a copy: what was checked stays; slots: as many as the result memory has */
    char name[128];
    char *kernel;                   /* a copy, terminated */
    const mr__device_column *columns;
    const mr__device_range *files;
    uint32_t file_count;
    const char *cache;              /* NULL: keep nothing */
    uint8_t *results;               /* the slots, and behind them the readings */
    size_t result_bytes;
    const uint8_t *blob;
    size_t blob_bytes;
} mr__device_job_view;

/* blob, results: descriptors; they stay the caller's. */
mr_status mr__device_job_open(int blob, int results, mr__device_job_view **view, mr__error *error);
void mr__device_job_close(mr__device_job_view *view);   /* takes NULL */

static inline const void *mr__device_job_params(const mr__device_job_view *view)
{
    return view->blob + view->job.params.at;
}

static inline const char *mr__device_job_file(const mr__device_job_view *view, uint32_t file)
{
    return (const char *)view->blob + view->files[file].at;
}

static inline uint8_t *mr__device_job_slot(const mr__device_job_view *view, uint32_t slot)
{
    return view->results + slot * view->job.slot_bytes;
}

static inline mr__device_reading *mr__device_job_reading(const mr__device_job_view *view, uint32_t slot)
{
    return mr__device_readings(view->results, view->result_bytes) + slot;
}

/* Bytes of the dense table of one block (ROWS) or task (TEXTS). */
static inline size_t mr__device_job_table(const mr__device_job_view *view)
{
    return (size_t)(view->job.dense_keys * (view->job.width > 0 ? view->job.width : 1) * 8);
}

#endif
