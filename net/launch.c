/* launch.c: the variables of launchers, from the surest to the least sure.
 *
 *   OMPI_COMM_WORLD_SIZE > 1                    Open MPI's mpirun: refused
 *   PMI_FD or PMI_PORT, PMI_RANK, PMI_SIZE      a launcher that speaks PMI, as MPICH does
 *     with MPI_LOCALNRANKS                        hydra, also where it starts its own helpers with srun
 *     else with SLURM_STEP_NUM_TASKS              srun --mpi=pmi2
 *   PMI_SIZE > 1 alone                          a PMI that MPICH cannot reach: refused
 *   SLURM_STEP_NUM_TASKS > 1, no PMI            srun that gave its tasks no way to find each other: refused
 *   nothing of it                               alone
 *
 * The ranks of this node are counted by MILLRACE_SHARING, if it is set, else by the launcher:
 *
 *   hydra   MPI_LOCALNRANKS, MPI_LOCALRANKID
 *   srun    SLURM_STEP_TASKS_PER_NODE ("4(x2),3": two nodes with four, one with three), SLURM_NODEID, SLURM_LOCALID
 *
 * Why refused and not ignored: each process would take itself for the only one, and several would do the whole job into
 * one output. MPICH under Open MPI's launcher does just that.
 * Why not SLURM_NTASKS: it describes an allocation and is set in batch scripts and in salloc's shell, which are started
 * once. SLURM_STEP_NUM_TASKS exists only in what srun started, and an interactive step has one task.
 * One process under Open MPI's launcher, or in a step of srun, may well be a script's child: it is alone. */
#include "launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

typedef struct variables {
    mr__variable *get;
    void *context;
} variables;

static const char *get(const variables *of, const char *name)
{
    const char *value = of->get(of->context, name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* *value keeps what it is if the variable is not set. */
static mr_status get_number(const variables *of, const char *name, uint32_t *value, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t number = *value;
    const char *text = get(of, name);
    if (text == NULL)
        return MR_OK;
    MR_CHECK(mr__parse_u64(text, &number) == MR__PARSED && number <= INT32_MAX, MR_BAD_USAGE,
             "%s=%.40s is not a number of ranks\n  hint: launchers set this variable; was it set by hand?", name, text);
    *value = (uint32_t)number;
done:
    return status;
}

static mr_status get_rank(const variables *of, mr__launch *launch, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(get(of, "PMI_SIZE") != NULL && get(of, "PMI_RANK") != NULL, MR_BAD_USAGE,
             "this process was started by a launcher that does not say which rank it is: PMI_RANK or PMI_SIZE is not "
             "set\n  hint: use mpiexec.mpich or srun --mpi=pmi2");
    MR_TRY(get_number(of, "PMI_RANK", &launch->rank, error));
    MR_TRY(get_number(of, "PMI_SIZE", &launch->size, error));
    MR_CHECK(launch->rank < launch->size, MR_BAD_USAGE,
             "PMI_RANK=%u and PMI_SIZE=%u contradict each other\n  hint: launchers set these variables; were they set "
             "by hand?",
             launch->rank, launch->size);
done:
    return status;
}

/* 0: the list does not say. */
static uint32_t tasks_of_node(const char *list, uint32_t node)
{
    for (const char *at = list; at != NULL; at = strchr(at + 1, ',')) {
        unsigned tasks, times = 1;
        if (sscanf(at + (*at == ','), "%u(x%u)", &tasks, &times) < 1)
            return 0;
        if (node < times)
            return tasks;
        node -= times;
    }
    return 0;
}

static mr_status get_neighbours(const variables *of, mr__launch *launch, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t sharing = 0, node = 0;
    const bool by_slurm = launch->by == MR__LAUNCHED_BY_SLURM;
    MR_TRY(get_number(of, by_slurm ? "SLURM_LOCALID" : "MPI_LOCALRANKID", &launch->local_rank, error));
    MR_TRY(get_number(of, MR__LAUNCH_SHARING, &sharing, error));
    MR_TRY(get_number(of, MR__LAUNCH_TYPED, &launch->typed, error));
    if (by_slurm) {
        MR_TRY(get_number(of, "SLURM_NODEID", &node, error));
        launch->local_size = tasks_of_node(get(of, "SLURM_STEP_TASKS_PER_NODE"), node);
    } else {
        MR_TRY(get_number(of, "MPI_LOCALNRANKS", &launch->local_size, error));
        MR_CHECK(launch->local_rank < launch->local_size && launch->local_size <= launch->size, MR_BAD_USAGE,
                 "MPI_LOCALRANKID=%u, MPI_LOCALNRANKS=%u and PMI_SIZE=%u contradict each other\n  hint: launchers set "
                 "these variables; were they set by hand?", launch->local_rank, launch->local_size, launch->size);
    }
    launch->one_node = launch->size > 1 && launch->local_size == launch->size;
    if (sharing > 0 && sharing <= launch->size) {
        launch->local_size = sharing;
        launch->by_run = !by_slurm;
        if (launch->local_rank >= sharing)
            launch->local_rank = launch->rank % sharing;
    }
    if (launch->local_rank >= launch->local_size || launch->local_size > launch->size) {
        launch->local_rank = 0;
        launch->local_size = 1;
    }
done:
    return status;
}

mr_status mr__launch_detect(mr__variable *variable, void *context, mr__launch *launch, mr__error *error)
{
    mr_status status = MR_OK;
    const variables of = {.get = variable, .context = context};
    mr__launch found = {.by = MR__LAUNCHED_ALONE, .rank = 0, .size = 1, .local_size = 1};
    uint32_t open_mpi_size = 0, pmi_size = 0, tasks = 0;
    const bool pmi = get(&of, "PMI_FD") != NULL || get(&of, "PMI_PORT") != NULL;
    MR_TRY(get_number(&of, "OMPI_COMM_WORLD_SIZE", &open_mpi_size, error));
    MR_CHECK(open_mpi_size <= 1, MR_BAD_USAGE,
             "this process was started by Open MPI's launcher, whose library cannot be mixed with MPICH; use "
             "mpiexec.mpich or srun --mpi=pmi2");
    MR_TRY(get_number(&of, "SLURM_STEP_NUM_TASKS", &tasks, error));
    if (pmi) {
        const bool by_slurm = tasks > 0 && get(&of, "MPI_LOCALNRANKS") == NULL;
        found.by = by_slurm ? MR__LAUNCHED_BY_SLURM : MR__LAUNCHED_BY_HYDRA;
        MR_TRY(get_rank(&of, &found, error));
        MR_TRY(get_neighbours(&of, &found, error));
    } else {
        MR_TRY(get_number(&of, "PMI_SIZE", &pmi_size, error));
        MR_CHECK(pmi_size <= 1, MR_BAD_USAGE,
                 "this process was started as one of %u ranks by a launcher that MPICH cannot reach (neither PMI_FD "
                 "nor PMI_PORT is set); use mpiexec.mpich or srun --mpi=pmi2",
                 pmi_size);
        MR_CHECK(tasks <= 1, MR_BAD_USAGE,
                 "srun started this process as one of %u tasks that cannot find each other; use srun --mpi=pmi2",
                 tasks);
    }
    *launch = found;
done:
    return status;
}

static const char *process_variable(void *context, const char *name)
{
    return getenv(name);
}

mr_status mr__launch_of_process(mr__launch *launch, mr__error *error)
{
    return mr__launch_detect(process_variable, NULL, launch, error);
}

const char *mr__launcher_name(mr__launcher launcher)
{
    switch (launcher) {
    case MR__LAUNCHED_BY_HYDRA:
        return "mpiexec.mpich";
    case MR__LAUNCHED_BY_SLURM:
        return "srun";
    default:
        return "no launcher";
    }
}

mr_status mr__launch_check_library(const char *version, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(strstr(version, "MPICH") != NULL, MR_NETWORK_FAILED,
             "the MPI library that was loaded is not MPICH but %.60s\n  hint: does LD_LIBRARY_PATH name another MPI's "
             "folder?",
             version);
done:
    return status;
}
