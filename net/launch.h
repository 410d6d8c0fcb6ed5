/* launch.h: which launcher started this process, and which ranks it put on this node, as the environment tells.
 * Promise   Looks at nothing but the variables that it asks for. What cannot work with MPICH is a sentence here, before
 *           anybody waits for ranks that will never come.
 * Threads   Any; of_process(): as long as none changes the environment.
 * Failure   MR_BAD_USAGE: a launcher that does not fit, or variables that contradict each other; nothing is written. */
#ifndef MR__LAUNCH_H
#define MR__LAUNCH_H

#include <stdbool.h>
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
    uint32_t local_rank, local_size;    /* among the ranks on this node; 0 of 1: there is no other, or nobody says */
    /* `run --ranks` started them: all have the same cores, and its launcher minds nobody's end. Another launcher may
     * have bound each to its own cores; the process's affinity tells. */
    bool by_run;
    bool one_node;              /* all of them are on this one, as far as is known */
    uint32_t typed;             /* the process whose command line somebody typed; 0: this one, as far as is known */
} mr__launch;

typedef const char *mr__variable(void *context, const char *name);      /* NULL: it is not set */

mr_status mr__launch_detect(mr__variable *variable, void *context, mr__launch *launch, mr__error *error);
mr_status mr__launch_of_process(mr__launch *launch, mr__error *error);
const char *mr__launcher_name(mr__launcher launcher);       /* "no launcher", "mpiexec.mpich", "srun" */

/* How many ranks of the job are on each node, from who started the launcher and knows: `run --ranks`, batch scripts. */
#define MR__LAUNCH_SHARING "MILLRACE_SHARING"
/* The process of `run --ranks`, which lives as long as its ranks. */
#define MR__LAUNCH_TYPED "MILLRACE_TYPED"

/* version: what MPI_Get_library_version() says. MR_NETWORK_FAILED: it is not MPICH. */
mr_status mr__launch_check_library(const char *version, mr__error *error);

#endif
