/* device_opencl.h: what every kernel for devices sees (OpenCL C 1.2): C's integer types, how a kernel reports a fault,
 * and the form of a kernel over whole records. Row kernels: row.h; kernels over text: text_opencl.h.
 *
 * A program for a device is: definitions that describe the job (below), these headers, the app's source without its
 * lines `#include <millrace/...>`. Options: -cl-std=CL1.2, and -cl-fp32-correctly-rounded-divide-sqrt where the device
 * can; never one that changes results. The definitions:
 *     MR_LANES            rows at a time in a vector: 1, 2, 4, 8 or 16
 *     MR_GROUP            work-items of a work-group (rows and text)
 *     MR_RECORD_SIZE, MR_COLUMN_COUNT, MR_COLUMN_OFFSETS      bytes; a number; a list "0, 4, 8" in bytes
 *     MR_ALIGNED          1: every column is aligned to its type
 *     MR_DENSE_KEYS, MR_DENSE_WIDTH, MR_VALUE_SIZE, MR_BLOCK_ROWS     as in the job; 0 where it has none
 *
 * A kernel over records makes one value of each record; the value's key is the number of the record. It is launched in
 * two dimensions, rows and columns of the values: a work-group of MR_TILE_ITEMS_0 x MR_TILE_ITEMS_1 items computes
 * MR_TILE_ROWS x MR_TILE_COLUMNS of them, columns of four bytes; groups behind the last row or column have nothing to
 * do.
 *
 *     #define MR_TILE_ROWS 64             // the app's file defines these four before its kernel
 *     ...
 *     MR_RECORDS_KERNEL(multiply, struct matmul_params)       // in scope: records, params, first_row, rows, values
 *     {                                                       // local memory may be declared here
 *         ...
 *     } */
#ifndef MILLRACE_DEVICE_OPENCL_H
#define MILLRACE_DEVICE_OPENCL_H

#pragma OPENCL FP_CONTRACT OFF
#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#ifndef MR__PASTE
#define MR__PASTE_(a, b) a##b
#define MR__PASTE(a, b) MR__PASTE_(a, b)
#endif

typedef char int8_t;
typedef uchar uint8_t;
typedef short int16_t;
typedef ushort uint16_t;
typedef int int32_t;
typedef uint uint32_t;
typedef long int64_t;
typedef ulong uint64_t;

/* What fault[0] says; 0: nothing happened. LONG_KEY: too long to be combined; a CPU maps the task. fault[1], fault[2]:
 * the key, its low and its high half. fault[3] is set to 1 by a text kernel whose keys are folded to lower case; in
 * fault[4] the work-groups of a row kernel are counted that came to their end. */
enum { MR__FAULT_KEY = 1, MR__FAULT_OVERFLOW = 2, MR__FAULT_LONG_KEY = 3 };

static inline void mr__fault(__global uint *fault, uint kind, ulong key)
{
    if (atomic_cmpxchg(&fault[0], 0u, kind) == 0) {
        fault[1] = (uint)key;
        fault[2] = (uint)(key >> 32);
    }
}

/* The braces that follow are the kernel's own, so that it may declare local memory. */
#define MR_RECORDS_KERNEL(name, params_type)                                                                           \
    __kernel void mr_tile(__global uint *out)                                                                          \
    {                                                                                                                  \
        out[0] = MR_TILE_ROWS;                                                                                         \
        out[1] = MR_TILE_COLUMNS;                                                                                      \
    }                                                                                                                  \
    __kernel __attribute__((reqd_work_group_size(MR_TILE_ITEMS_0, MR_TILE_ITEMS_1, 1))) void mr_records(               \
        __global const uchar *records, __global const params_type *params, ulong first_row, ulong rows,                \
        __global uchar *values, __global uint *fault)

#endif
