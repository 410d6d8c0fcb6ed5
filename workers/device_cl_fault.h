/* device_cl_fault.h: OpenCL calls that a test spoils. device_cl.h has the numbers of the points and what
 * MILLRACE_CL_FAULT may say; mr__cl_fault_arm() reads it. Where no call is to be spoiled it costs a branch.
 * Threads   Any. */
#ifndef MR__DEVICE_CL_FAULT_H
#define MR__DEVICE_CL_FAULT_H

#include "device_cl.h"

/* CL_SUCCESS: make the call; else it failed with this code. *garbage: the caller can pretend that it was made (NULL: it
 * cannot). May not return. */
cl_int mr__cl_trip(enum mr__cl_point point, bool *garbage);

#endif
