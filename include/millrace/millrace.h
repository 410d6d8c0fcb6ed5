/* millrace.h: the public API of Millrace, a MapReduce runtime for CPUs and accelerators. */
#ifndef MILLRACE_MILLRACE_H
#define MILLRACE_MILLRACE_H

#include <millrace/app.h>
#include <millrace/block.h>
#include <millrace/emit.h>
#include <millrace/job.h>
#include <millrace/status.h>

#endif
