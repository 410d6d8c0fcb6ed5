/* device_harness.h: the engine's end of the device protocol, for tests: starts a real millrace-device and speaks to it.
 * Promise   Nothing waits for ever: a message that does not come within the time fails the test.
 * Owner     device_start/device_stop; stop closes the channel and waits for the process. */
#ifndef MR__DEVICE_HARNESS_H
#define MR__DEVICE_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "device_protocol.h"

struct device {
    pid_t pid;
    int channel;
    int blob, results;
    uint8_t *memory;                /* slots * slot_bytes, and behind them: */
    mr__device_reading *readings;
    uint8_t *params;                /* in the blob */
    mr__device_job job;
};

/* What goes into a blob; `job` without its ranges. */
struct device_job {
    mr__device_job job;
    const char *name, *kernel, *cache;      /* cache NULL: none */
    const void *params;
    size_t params_size;
    const mr__device_column *columns;
    const char *const *files;
    uint32_t file_count;
};

struct device_answer {              /* READY, PROBED, FAILED, or DONE */
    uint32_t kind;                  /* 0: the channel closed */
    mr__device_ready ready;
    mr__device_done done;
};

/* Is there an OpenCL device, and the program? Else *why says what is missing. */
bool device_exists(const char **why);
/* The program with arguments; its output into text; its exit status. */
int device_run(const char *const *arguments, char *text, size_t room);

/* environment: "NAME=VALUE" pairs more than this process has, NULL at the end; may be NULL. */
void device_start(struct device *device, const char *id, const char *const *environment);
void device_send_job(struct device *device, const struct device_job *job);
void device_send_task(struct device *device, uint64_t id, uint32_t slot, const mr__device_segment *segments,
                      uint32_t count);
void device_send(struct device *device, uint32_t kind);
struct device_answer device_receive(struct device *device, uint32_t timeout_ms);
/* start, JOB, and what it answers. */
struct device_answer device_open(struct device *device, const char *id, const struct device_job *job,
                                 const char *const *environment);
/* One task in slot 0. */
mr__device_done device_do(struct device *device, const mr__device_segment *segments, uint32_t count);
/* The wait status; a process that does not end within the time is killed, and the test fails. */
int device_stop(struct device *device);

/* A file in a directory of this test, which goes at the end. */
const char *device_directory(void);
const char *device_file(const char *name, const void *bytes, size_t size);
void device_clean_up(void);

#endif
