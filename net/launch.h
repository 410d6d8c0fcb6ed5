/* launch.h: which launcher started this process, as its environment tells.
 * Promise   Looks at nothing but the variables that it asks for. What cannot work with MPICH is a sentence here, before
 *           anybody waits for ranks that will never come.
 * Threads   Any; of_process(): as long as none changes the environment.
 * Failure   MR_BAD_USAGE: a launcher that does not fit, or variables that contradict each other; nothing is written. */
#ifndef MR__LAUNCH_H
#define MR__LAUNCH_H

#include <stdint.h>

#include "check.h"

typedef enum mr__launcher {
    MR__LAUNCHED_ALONE,         /* by no launcher: rank 0 of 1, and MPI is not needed */
    MR__LAUNCHED_BY_HYDRA,      /* mpiexec.mpich */
    MR__LAUNCHED_BY_SLURM       /* srun --mpi=pmi2 */
} mr__launcher;

typedef struct mr__launch {
    mr__launcher by;
    uint32_t rank, size;        /* a launcher may start one rank: then MPI is not needed either */
    /* Among ranks that a launcher left on one node without giving each its cores, as hydra does: which of them this is,
     * and how many; else 0 of 1 (srun binds its tasks, and if it does not, nobody says who is where). */
    uint32_t local_rank, local_size;
} mr__launch;

typedef const char *mr__variable(void *context, const char *name);      /* NULL: it is not set */

mr_status mr__launch_detect(mr__variable *variable, void *context, mr__launch *launch, mr__error *error);
mr_status mr__launch_of_process(mr__launch *launch, mr__error *error);
const char *mr__launcher_name(mr__launcher launcher);       /* "no launcher", "mpiexec.mpich", "srun" */

/* version: what MPI_Get_library_version() says. MR_NETWORK_FAILED: it is not MPICH. */
mr_status mr__launch_check_library(const char *version, mr__error *error);

#endif
