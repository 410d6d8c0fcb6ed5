/* comm_module.h: the MPI backend, in a module of its own: neither the library nor the command is linked to MPI.
 * Promise   Nothing of MPI is loaded before open() is called. Signal handlers are afterwards as they were before,
 *           except that SIGUSR1 and SIGPIPE are ignored where they had no handler.
 *           A comm that was closed may be opened again, after all ranks' comms were closed, by all of them. MPI stays
 *           up until the process ends; it must end by exit() or _exit().
 * Owner     One comm at a time in a process.
 * Threads   All calls of a comm come one at a time; open sets environment variables (UCX's, which only UCX reads).
 * Cost      open: waits until every rank has called it, as MPI_Init does, for as long as it takes.
 * Failure   MR_NETWORK_FAILED: no module, not ours, not MPICH, MPI could not start. MR_BAD_USAGE: see launch.h; or MPI
 *           was begun by the program itself, or a comm is open. MR_NO_MEMORY. *comm is untouched. */
#ifndef MR__COMM_MODULE_H
#define MR__COMM_MODULE_H

#include <stdbool.h>

#include "comm.h"
#include "fault.h"

/* $MILLRACE_MPI_MODULE, else millrace/millrace_mpi.so beside the library. An mr__comm_open (courier.h); how: NULL. */
mr_status mr__comm_open_mpi(void *how, mr__comm **comm, mr__error *error);
/* The rules of the backend (comm_mpi.c): MR_INTERNAL with the one that is broken. For a comm of open_mpi(). */
mr_status mr__comm_mpi_check(const mr__comm *comm, mr__error *error);

/* ---- what a module shows: one symbol of this name and type ------------------------------------------------------- */

#define MR__COMM_MODULE_SYMBOL "mr__module"
#define MR__COMM_MODULE_MAGIC 0x6d6d6f632d726d2eull
enum { MR__COMM_MODULE_VERSION = 1 };       /* changes with comm.h, fault.h or the struct below */

typedef struct mr__comm_module {
    uint64_t magic;
    uint32_t version;
    /* fault: the library's mr__fault(), so that a test that arms a point reaches the module. */
    mr_status (*open)(bool (*fault)(enum mr__fault_point point), mr__comm **comm, mr__error *error);
    mr_status (*check)(const mr__comm *comm, mr__error *error);
} mr__comm_module;

#endif
