/* lab.h: runs kernels straight on OpenCL devices, for the tests of what include/millrace has for devices. A program is
 * put together as device_opencl.h says.
 * Errors    Whatever fails in OpenCL ends the program with a sentence: nothing here is under test but the kernels. */
#ifndef MR__TEST_LAB_H
#define MR__TEST_LAB_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct lab_device {
    cl_device_id id;
    cl_context context;
    cl_command_queue queue;
    char name[128];         /* platform / device */
} lab_device;

enum lab_form { LAB_ROWS, LAB_TEXTS, LAB_RECORDS };

/* The definitions of a program; what is 0 is not there. */
typedef struct lab_job {
    enum lab_form form;
    const char *source;     /* the app's */
    unsigned lanes, group;
    unsigned record_size, column_count;
    unsigned offsets[8];
    bool unaligned;
    unsigned unit;          /* mr_unit */
    unsigned dense_keys, dense_width, value_size;
    uint64_t block_rows;
} lab_job;

typedef struct lab_program {
    const lab_device *device;
    lab_job job;
    cl_program program;
    cl_kernel kernel;
} lab_program;

/* For main(): false, and the reason is printed, where there is no device; the test is skipped then (77). *simulated:
 * small sizes are wanted, because a simulator runs them. */
bool lab_ready(bool *simulated);
/* All devices of all platforms, opened once; *count is 0 where there is none. */
const lab_device *lab_devices(size_t *count);
/* The text of a file, terminated; the caller frees it. */
char *lab_read(const char *folder, const char *name);
lab_program lab_build(const lab_device *device, const lab_job *job, const char *kernel);
/* The same of a whole source. */
lab_program lab_build_plain(const lab_device *device, const char *source, const char *options, const char *kernel);
void lab_drop(lab_program *program);

/* One argument of a kernel: a buffer, copied to the device and back, or a number. */
typedef struct lab_argument {
    enum { LAB_IN, LAB_OUT, LAB_NUMBER } kind;
    void *data;             /* OUT: read back after the run */
    size_t size;
} lab_argument;

/* Runs and waits; the seconds that the kernel took. */
double lab_run(const lab_program *program, const lab_argument *arguments, size_t count, unsigned dimensions,
               const size_t *global, const size_t *local);

#endif
