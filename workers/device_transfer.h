/* device_transfer.h: how bytes of files get to the device.
 *
 *   copied    file --pread--> pinned transfer buffer --copy-in--> device
 *   shared    file --pread--> memory that the device reads                (it shares the host's memory)
 *   mapped    file's pages in the page cache, read by the device          (the same, one large run of one file)
 *
 * Owner     open/close; the input belongs to one slot and its thread.
 * Failure   MR_BAD_INPUT: the file is gone, unreadable or too short. MR_NO_MEMORY: the device or the host has no room:
 *           open it smaller. MR_DEVICE_LOST. */
#ifndef MR__DEVICE_TRANSFER_H
#define MR__DEVICE_TRANSFER_H

#include "device_cl.h"
#include "device_job.h"
#include "guard.h"

typedef struct mr__device_input {
    const mr__cl *cl;
    cl_command_queue queue;
    bool shared;
    mr__device_reading *reading;    /* of the slot: the watchdog is told of each wait for a file */
    uint8_t *memory;            /* `room` bytes to fill, between begin and send */
    size_t room;
    cl_mem pinned;              /* copied: the transfer buffer behind `memory` */
    cl_mem buffer;              /* what kernels read */
    /* the file that was read last */
    uint32_t file;              /* UINT32_MAX: one that is not to be used again */
    int fd;                     /* -1: none */
    uint8_t *map;
    size_t map_bytes;
    uint64_t *present;          /* a bit for each stretch of the map whose pages were made present; may be NULL */
    long page_waits;            /* of the process, when bits were set last */
    uint64_t file_bytes;
    mr__guard *guard;
} mr__device_input;

mr_status mr__device_input_open(mr__device_input *input, const mr__cl *cl, cl_command_queue queue, size_t room,
                                bool shared, mr__device_reading *reading, mr__error *error);
void mr__device_input_close(mr__device_input *input);   /* takes a zeroed one */

/* From begin on `memory` may be written, until send: then the first `size` bytes go to the device, before what the
 * queue gets next. *event: when they were copied, and `memory` is free again; NULL where nothing is. */
mr_status mr__device_input_begin(mr__device_input *input, mr__error *error);
mr_status mr__device_input_send(mr__device_input *input, size_t size, cl_event *event, mr__error *error);

/* Exactly `size` bytes. */
mr_status mr__device_read(mr__device_input *input, const mr__device_job_view *view, uint32_t file, uint64_t offset,
                          size_t size, void *to, mr__error *error);
/* Of the file now; *bytes. */
mr_status mr__device_file_bytes(mr__device_input *input, const mr__device_job_view *view, uint32_t file,
                                uint64_t *bytes, mr__error *error);
/* A buffer over the file's pages. *buffer stays NULL, without a failure, when the file cannot be mapped: read it. Call
 * unmapped() when the device is done: it says whether all bytes were there. */
mr_status mr__device_map(mr__device_input *input, const mr__device_job_view *view, uint32_t file, uint64_t offset,
                         size_t size, cl_mem *buffer, mr__error *error);
mr_status mr__device_unmapped(mr__device_input *input, const mr__device_job_view *view, mr__error *error);

#endif
