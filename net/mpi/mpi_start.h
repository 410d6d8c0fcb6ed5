/* mpi_start.h: MPI's start in this process, and the launcher's last word from it.
 * Promise   Errors of MPI come back as codes from then on. Children of the process do not hold its connection to the
 *           launcher open.
 * Threads   One at a time.
 * Failure   MR_NETWORK_FAILED, MR_BAD_USAGE: see comm_module.h; MPI was not started. MPICH itself ends the process when
 *           it cannot start. */
#ifndef MR__MPI_START_H
#define MR__MPI_START_H

#include <stdbool.h>
#include <stdint.h>

#include "check.h"
#include "launch.h"

typedef struct mr__mpi_world {
    uint32_t rank, size;
    uint32_t tag_most;          /* 0: MPI does not say */
    bool threads;               /* calls may come from one thread after another */
    int descriptor;             /* readable when a message may have come; -1: MPI must be polled */
} mr__mpi_world;

/* Once in a process. */
mr_status mr__mpi_start(const mr__launch *launch, mr__mpi_world *world, mr__error *error);
/* Tells hydra that this rank ends well, without MPI_Finalize, unless `run --ranks` started it; the first call counts. */
void mr__mpi_tell_launcher(void);

#endif
