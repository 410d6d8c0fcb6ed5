/* device_slot.h: what one task in flight has: a thread, a queue, a kernel and buffers of its own. Nothing is shared but
 * the program and the parameters, so slots overlap: one reads while another one's kernel runs and a third copies back.
 *
 * A work (ROWS, TEXTS, RECORDS) opens the buffers of a slot and runs tasks in it.
 * Failure   run: MR_BAD_INPUT (reading failed, a key is out of range), MR_NO_WORKER (this task is not for a device),
 *           MR_NO_MEMORY (not even the smallest piece fits), MR_DEVICE_LOST. */
#ifndef MR__DEVICE_SLOT_H
#define MR__DEVICE_SLOT_H

#include <stdatomic.h>

#include "device_cl.h"
#include "device_job.h"
#include "device_transfer.h"

/* The end of a sentence about a device that computes wrongly; the device's id goes with it. */
#define MR__DISTRUST "its answers are not to be trusted\n  hint: `millrace devices test %s`"

/* fault[0] and the others, as millrace/device_opencl.h numbers them */
enum { MR__FAULT_KEY = 1, MR__FAULT_OVERFLOW = 2, MR__FAULT_LONG_KEY = 3, MR__FAULT_KINDS = 3 };
enum { MR__FAULT_GROUPS = 4, MR__FAULT_WORDS = 16, MR__FAULT_NONCE = 8, MR__DEVICE_RUNS = 64 };

struct mr__device_work;

/* What the slots of a job share. */
typedef struct mr__device_run {
    const mr__cl *cl;
    const mr__device_job_view *view;
    const struct mr__device_work *work;
    cl_program program;
    cl_mem params;
    uint32_t lanes, group;
    bool shared;                    /* the device reads the host's memory, and may */
    bool direct;                    /* ROWS, RECORDS: results and fault words lie in the host's memory, and no command
                                     * is needed to see what the other side wrote */
    /* TEXTS, AUTO: what the tasks so far showed */
    _Atomic uint64_t pairs, keys;
    _Atomic uint32_t table_slots;
} mr__device_run;

typedef struct mr__device_slot {
    mr__device_run *run;
    uint32_t number;
    cl_command_queue queue;
    cl_kernel kernel;
    mr__device_input input;
    cl_mem out;                     /* ROWS: tables; RECORDS: values; TEXTS: entries */
    size_t out_room;
    uint8_t *out_memory;            /* direct: of out */
    uint64_t block_rows;            /* ROWS, RECORDS: rows that the buffers hold: whole blocks */
    bool reads;                     /* mapping files did not work: read them */
    cl_mem fault;
    uint8_t *fault_memory;          /* direct: of fault */
    uint32_t fault_words[MR__FAULT_WORDS];      /* read back */
    uint32_t nonce[MR__FAULT_WORDS];            /* what was written */
    int64_t clock;                  /* CLOCK_MONOTONIC less the device's clock; INT64_MAX: unknown */
    uint32_t tile_rows, tile_bytes; /* RECORDS: of the values, that a work-group makes */
    size_t tile_group[3];
    struct mr__device_text_buffers *texts; /* TEXTS: its other buffers */
} mr__device_slot;

typedef struct mr__device_work {
    const char *kernel;             /* the entry point */
    mr_status (*open)(mr__device_slot *slot, mr__error *error);
    void (*close)(mr__device_slot *slot);
    mr_status (*task)(mr__device_slot *slot, const mr__device_segment *segments, uint32_t count,
                      mr__device_done *done, mr__error *error);
} mr__device_work;

extern const mr__device_work mr__device_rows, mr__device_texts, mr__device_records;

mr_status mr__device_slot_open(mr__device_slot *slot, mr__device_run *run, uint32_t number, mr__error *error);
void mr__device_slot_close(mr__device_slot *slot);

/* A buffer for kernels and the host: *memory is NULL unless the run is direct. */
mr_status mr__device_buffer_open(const mr__device_run *run, size_t size, cl_mem *buffer, uint8_t **memory,
                                 mr__error *error);
void mr__device_buffer_close(cl_mem *buffer, uint8_t **memory, size_t size);

/* Clears the fault words and gives them a new nonce; the next kernel of the slot sees them. */
mr_status mr__device_fault_clear(mr__device_slot *slot, mr__error *error);
/* *event: NULL when there is nothing to wait for but the kernel. */
mr_status mr__device_fault_read(mr__device_slot *slot, cl_event *event, mr__error *error);
/* After the read, or the kernel: MR_DEVICE_LOST when what came back is not what a kernel can have left. */
mr_status mr__device_fault_check(mr__device_slot *slot, mr__error *error);

/* Extends a step's span; events are turned into CLOCK_MONOTONIC. Events may be NULL. */
void mr__device_span(uint64_t span[2], uint64_t begin_ns, uint64_t end_ns);
void mr__device_event_span(mr__device_slot *slot, cl_event event, uint64_t span[2]);
/* A wait has just returned for this event: sets the clocks against each other. */
void mr__device_clock(mr__device_slot *slot, cl_event last);

#endif
