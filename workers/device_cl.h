/* device_cl.h: the OpenCL calls that millrace-device makes, each with a place where a test can make it fail.
 * Promise   Every call of the OpenCL library that can fail goes through here. A failure gives a sentence: what failed,
 *           on which device, with which code, what to do.
 * Faults    MILLRACE_CL_FAULT=[ID:]N[+][=HOW][@FILE], or [ID:]POINT:N[+]...: the Nth call, or the Nth at one point,
 *           fails; with + all later ones too. HOW: fail (default), memory (fails as when memory runs out), segv, hang,
 *           garbage (a read gives noise, a launch does nothing; other calls fail). ID: only when that device is served.
 *           @FILE: only in the process that can remove FILE, so that the next process of the device is well.
 * Threads   Any; a queue, a kernel and an event belong to one thread at a time.
 * Failure   MR_NO_MEMORY: the device is out of memory, smaller pieces may help. MR_BAD_APP: a program does not compile.
 *           MR_DEVICE_LOST: anything else. What is created is NULL then. */
#ifndef MR__DEVICE_CL_H
#define MR__DEVICE_CL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

/* Numbers are never reused. */
#define MR__CL_POINT_MAP(X)                                                                                            \
    X(301, PLATFORMS, "list the platforms") X(302, PLATFORM_INFO, "ask about a platform")                              \
    X(303, DEVICES, "list the devices") X(304, DEVICE_INFO, "ask about the device")                                    \
    X(305, CONTEXT, "open the device") X(306, QUEUE, "make a command queue")                                           \
    X(307, SOURCE, "take in a program") X(308, BINARY, "load a compiled program")                                      \
    X(309, BUILD, "build a program") X(310, LOG, "read the compiler's log")                                            \
    X(311, PROGRAM_INFO, "take out a compiled program") X(312, KERNEL, "find a kernel in its program")                 \
    X(313, KERNEL_INFO, "ask about a kernel") X(314, ARGUMENT, "set a kernel's argument")                              \
    X(315, BUFFER, "make a buffer") X(316, PART, "make a part of a buffer")                                            \
    X(317, MAP, "map a buffer") X(318, UNMAP, "unmap a buffer")                                                        \
    X(319, WRITE, "copy to the device") X(320, READ, "copy from the device")                                           \
    X(321, FILL, "clear a buffer") X(322, LAUNCH, "launch a kernel")                                                   \
    X(323, FLUSH, "submit work") X(324, WAIT, "run what was submitted")                                                \
    X(325, TIMES, "ask how long something took")

enum mr__cl_point {
#define MR__CL_POINT_CODE(number, name, what) MR__CL_##name = number,
    MR__CL_POINT_MAP(MR__CL_POINT_CODE)
#undef MR__CL_POINT_CODE
};

typedef struct mr__cl_device {
    char id[48], name[192], platform[128], vendor[128], version[192], driver[128];
    char bus[16];                   /* where it sits on the PCI bus: "0000.3b.00.0"; "": nobody knows */
    const char *type;               /* "cpu", "gpu", "accelerator" */
    uint32_t platform_index, device_index, units;
    uint64_t global_bytes, local_bytes, max_alloc_bytes;
    uint32_t max_group, align;      /* work-items of a group; bytes to which parts of buffers are aligned */
    bool unified, f64, int64_atomics, exact_f32;    /* exact: division and root can be rounded correctly */
    cl_platform_id platform_handle;
    cl_device_id handle;
} mr__cl_device;

typedef struct mr__cl {
    mr__cl_device device;
    cl_context context;
} mr__cl;

/* Reads MILLRACE_CL_FAULT; false if it is malformed. serving: the device's id, or NULL. */
bool mr__cl_fault_arm(const char *serving);

/* Finding no platform or no device is MR_OK with *count 0. */
mr_status mr__cl_platforms(cl_platform_id *platforms, uint32_t room, uint32_t *count, mr__error *error);
mr_status mr__cl_platform_text(cl_platform_id platform, cl_platform_info what, char *text, size_t room,
                               mr__error *error);
mr_status mr__cl_devices(cl_platform_id platform, cl_device_id *devices, uint32_t room, uint32_t *count,
                         mr__error *error);
/* What there is to know about a device; `handle`, `platform_handle` and `id` are set by the caller. */
mr_status mr__cl_describe(mr__cl_device *device, mr__error *error);

mr_status mr__cl_open(const mr__cl_device *device, mr__cl **cl, mr__error *error);
void mr__cl_close(mr__cl *cl);                      /* takes NULL; what was created with it is gone before */
mr_status mr__cl_queue(const mr__cl *cl, cl_command_queue *queue, mr__error *error);

/* log: room for MR__CL_LOG_BYTES; why the program does not compile, else "". */
enum { MR__CL_LOG_BYTES = 16384 };
mr_status mr__cl_program_build(const mr__cl *cl, const char *source, const char *options, char *log,
                               cl_program *program, mr__error *error);
/* The binary must be whole: drivers crash on damaged ones. */
mr_status mr__cl_program_load(const mr__cl *cl, const void *binary, size_t size, const char *options,
                              cl_program *program, mr__error *error);
/* *binary: mr__free() it. */
mr_status mr__cl_program_binary(const mr__cl *cl, cl_program program, uint8_t **binary, size_t *size, mr__error *error);
mr_status mr__cl_kernel(const mr__cl *cl, cl_program program, const char *name, cl_kernel *kernel, mr__error *error);
/* The group size that the kernel was compiled for; zeros if it asks for none. */
mr_status mr__cl_kernel_group(const mr__cl *cl, cl_kernel kernel, size_t group[3], mr__error *error);
mr_status mr__cl_argument(const mr__cl *cl, cl_kernel kernel, uint32_t index, size_t size, const void *value,
                          mr__error *error);

/* Without `host` whole words of 8 bytes, and at least one, so that every argument has a buffer and clear() may round
 * up. */
mr_status mr__cl_buffer(const mr__cl *cl, cl_mem_flags flags, size_t size, void *host, cl_mem *buffer,
                        mr__error *error);
mr_status mr__cl_part(const mr__cl *cl, cl_mem whole, size_t at, size_t size, cl_mem *part, mr__error *error);

/* Each takes NULL inside, and leaves NULL. */
void mr__cl_release(cl_mem *buffer);
void mr__cl_event_release(cl_event *event);
void mr__cl_kernel_release(cl_kernel *kernel);
void mr__cl_program_release(cl_program *program);
void mr__cl_queue_release(cl_command_queue *queue);

/* Blocks until the memory can be written. */
mr_status mr__cl_map(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, cl_map_flags flags, size_t size,
                     void **memory, mr__error *error);
mr_status mr__cl_unmap(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, void *memory, mr__error *error);
/* event NULL: blocks until done. */
mr_status mr__cl_write(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, size_t at, size_t size,
                       const void *from, cl_event *event, mr__error *error);
mr_status mr__cl_read(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, size_t at, size_t size, void *to,
                      cl_event *event, mr__error *error);
/* For a kernel that works on a part of the buffer, block: Intel's runtime (2026.2) does not order a command on a buffer
 * before one on its part, not even across a barrier; sums were lost when two queues were busy. */
mr_status mr__cl_clear(const mr__cl *cl, cl_command_queue queue, cl_mem buffer, size_t size, cl_event *event,
                       mr__error *error);
mr_status mr__cl_launch(const mr__cl *cl, cl_command_queue queue, cl_kernel kernel, uint32_t dimensions,
                        const size_t *global, const size_t *local, cl_event *event, mr__error *error);
mr_status mr__cl_flush(const mr__cl *cl, cl_command_queue queue, mr__error *error);
/* After a failure: nothing of the queue may still write to the host's memory. */
void mr__cl_finish(cl_command_queue queue);
mr_status mr__cl_wait(const mr__cl *cl, uint32_t count, const cl_event *events, mr__error *error);
/* On the device's clock; false if it has none. */
bool mr__cl_times(cl_event event, uint64_t *begin_ns, uint64_t *end_ns);

#endif
