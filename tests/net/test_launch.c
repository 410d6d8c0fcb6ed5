/* test_launch.c: which launcher it was, from environments as the launchers make them.
 * Oracle: what hydra 4.0.2 was seen to set (mpiexec.mpich -n 2 env), and what Slurm 22.05 (srun's manual, its plugin
 * mpi/pmi2) and Open MPI 4.1.4 say that they set. */
#include "cmocka_all.h"

#include <string.h>

#include "launch.h"

#define HYDRA(rank, size)                                                                                              \
    "PMI_FD=7", "PMI_RANK=" rank, "PMI_SIZE=" size, "MPI_LOCALNRANKS=" size, "MPI_LOCALRANKID=" rank
#define BATCH "SLURM_JOB_ID=12", "SLURM_NTASKS=8", "SLURM_NNODES=2", "SLURM_PROCID=0", "SLURM_TASKS_PER_NODE=4(x2)"
#define STEP(rank, size) BATCH, "SLURM_STEP_ID=0", "SLURM_STEP_NUM_TASKS=" size, "SLURM_PROCID=" rank
#define PMI2(rank, size) "PMI_FD=9", "PMI_JOBID=12.0", "PMI_RANK=" rank, "PMI_SIZE=" size
#define OPEN_MPI(size) "OMPI_COMM_WORLD_SIZE=" size, "OMPI_COMM_WORLD_RANK=0", "PMIX_RANK=0"

typedef struct launch_case {
    const char *name;
    const char *environment[16];
    mr__launcher by;
    uint32_t rank, size;
    const char *sentence;           /* NULL: it is accepted */
} launch_case;

static const launch_case cases[] = {
    {"a shell", {"LANG=C", "PATH=/bin"}, MR__LAUNCHED_ALONE, 0, 1, NULL},
    {"mpiexec.mpich", {HYDRA("3", "4")}, MR__LAUNCHED_BY_HYDRA, 3, 4, NULL},
    {"mpiexec.mpich, one rank", {HYDRA("0", "1")}, MR__LAUNCHED_BY_HYDRA, 0, 1, NULL},
    {"mpiexec.mpich, two of eight ranks on a node",
     {"PMI_FD=7", "PMI_RANK=5", "PMI_SIZE=8", "MPI_LOCALNRANKS=2", "MPI_LOCALRANKID=1"},
     MR__LAUNCHED_BY_HYDRA, 5, 8, NULL},
    {"a local rank beyond the size", {"PMI_FD=7", "PMI_RANK=5", "PMI_SIZE=8", "MPI_LOCALNRANKS=2", "MPI_LOCALRANKID=2"},
     0, 0, 0, "MPI_LOCALRANKID=2, MPI_LOCALNRANKS=2 and PMI_SIZE=8 contradict"},
    {"a process with a word", {HYDRA("0", "2"), "MILLRACE_TYPED=me"}, 0, 0, 0, "MILLRACE_TYPED=me is not a number"},
    {"sharing with a word", {HYDRA("0", "2"), "MILLRACE_SHARING=all"}, 0, 0, 0, "MILLRACE_SHARING=all is not a number"},
    {"mpiexec.mpich over a port", {"PMI_PORT=n1:4711", "PMI_ID=1", "PMI_RANK=1", "PMI_SIZE=2"},
     MR__LAUNCHED_BY_HYDRA, 1, 2, NULL},
    {"mpiexec.mpich in a batch script, helpers started by srun", {STEP("1", "2"), HYDRA("5", "8")},
     MR__LAUNCHED_BY_HYDRA, 5, 8, NULL},
    {"srun --mpi=pmi2", {STEP("2", "3"), PMI2("2", "3")}, MR__LAUNCHED_BY_SLURM, 2, 3, NULL},
    {"srun without PMI", {STEP("1", "2")}, 0, 0, 0, "use srun --mpi=pmi2"},
    {"srun --mpi=pmix", {STEP("1", "2"), "PMIX_RANK=1", "PMIX_NAMESPACE=a"}, 0, 0, 0, "one of 2 tasks"},
    {"srun, one task", {STEP("0", "1")}, MR__LAUNCHED_ALONE, 0, 1, NULL},
    {"a batch script", {BATCH}, MR__LAUNCHED_ALONE, 0, 1, NULL},
    {"salloc's interactive step", {BATCH, "SLURM_STEP_ID=4294967290", "SLURM_STEP_NUM_TASKS=1"}, MR__LAUNCHED_ALONE, 0,
     1, NULL},
    {"Open MPI's mpirun", {OPEN_MPI("2")}, 0, 0, 0,
     "Open MPI's launcher, whose library cannot be mixed with MPICH; use mpiexec.mpich or srun --mpi=pmi2"},
    {"one rank of Open MPI's mpirun", {OPEN_MPI("1")}, MR__LAUNCHED_ALONE, 0, 1, NULL},
    {"Open MPI's mpirun inside mpiexec.mpich, or the reverse", {HYDRA("0", "2"), OPEN_MPI("2")}, 0, 0, 0, "Open MPI"},
    {"a PMI without a connection", {"PMI_RANK=0", "PMI_SIZE=2"}, 0, 0, 0, "neither PMI_FD nor PMI_PORT"},
    {"PMI without a size", {"PMI_FD=7", "PMI_RANK=0"}, 0, 0, 0, "PMI_RANK or PMI_SIZE is not set"},
    {"a size that is no number", {"PMI_FD=7", "PMI_RANK=0", "PMI_SIZE=many"}, 0, 0, 0, "PMI_SIZE=many is not a number"},
    {"a negative rank", {"PMI_FD=7", "PMI_RANK=-1", "PMI_SIZE=2"}, 0, 0, 0, "PMI_RANK=-1"},
    {"a rank beyond the size", {"PMI_FD=7", "PMI_RANK=4", "PMI_SIZE=4"}, 0, 0, 0, "contradict"},
    {"no ranks", {"PMI_FD=7", "PMI_RANK=0", "PMI_SIZE=0"}, 0, 0, 0, "contradict"},
    {"a size beyond all bounds", {"PMI_FD=7", "PMI_RANK=0", "PMI_SIZE=99999999999999999999"}, 0, 0, 0, "PMI_SIZE=9999"},
    {"variables that are empty", {"PMI_FD=", "OMPI_COMM_WORLD_SIZE=", "SLURM_STEP_NUM_TASKS="}, MR__LAUNCHED_ALONE, 0,
     1, NULL},
};

/* As in an environment that was added to, the last of a name counts. */
static const char *variable(void *context, const char *name)
{
    const launch_case *of = context;
    const size_t size = strlen(name);
    const char *value = NULL;
    for (size_t i = 0; i < MR__COUNT(of->environment) && of->environment[i] != NULL; i++)
        if (strncmp(of->environment[i], name, size) == 0 && of->environment[i][size] == '=')
            value = of->environment[i] + size + 1;
    return value;
}

static void test_each_launcher_is_known_by_what_it_sets(void **state)
{
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        const mr__launch untouched = {.by = MR__LAUNCHED_BY_SLURM, .rank = 77, .size = 78};
        mr__launch launch = untouched;
        mr__error error = {.code = MR_OK};
        const mr_status status = mr__launch_detect(variable, (void *)(uintptr_t)&cases[c], &launch, &error);
        print_message("%s: %s\n", cases[c].name, status == MR_OK ? mr__launcher_name(launch.by) : error.text);
        if (cases[c].sentence != NULL) {
            assert_int_equal(status, MR_BAD_USAGE);
            assert_non_null(strstr(error.text, cases[c].sentence));
            assert_memory_equal(&launch, &untouched, sizeof launch);
            continue;
        }
        assert_int_equal(status, MR_OK);
        assert_int_equal(launch.by, cases[c].by);
        assert_int_equal(launch.rank, cases[c].rank);
        assert_int_equal(launch.size, cases[c].size);
    }
}

#define TWO_OF_EIGHT "PMI_FD=7", "PMI_RANK=5", "PMI_SIZE=8", "MPI_LOCALNRANKS=2", "MPI_LOCALRANKID=1"
#define NODE(node, local, list) "SLURM_NODEID=" node, "SLURM_LOCALID=" local, "SLURM_STEP_TASKS_PER_NODE=" list

static void test_ranks_that_share_a_node_know_it(void **state)
{
    static const struct {
        const char *name, *environment[16];
        uint32_t local_rank, local_size;
        bool by_run, one_node;
    } shared[] = {
        {"alone", {"PATH=/bin"}, 0, 1, false, false},
        {"a script's child is alone", {BATCH, "MILLRACE_SHARING=4"}, 0, 1, false, false},
        {"mpiexec.mpich", {TWO_OF_EIGHT}, 1, 2, false, false},
        {"mpiexec.mpich over a port", {"PMI_PORT=n1:4711", "PMI_RANK=1", "PMI_SIZE=2"}, 0, 1, false, false},
        {"run --ranks", {HYDRA("3", "4"), "MILLRACE_SHARING=4"}, 3, 4, true, true},
        {"run --ranks with a spare", {HYDRA("2", "3"), "MILLRACE_SHARING=2"}, 0, 2, true, true},
        {"ranks that are said to have a node each", {TWO_OF_EIGHT, "MILLRACE_SHARING=1"}, 0, 1, true, false},
        {"more than there are", {TWO_OF_EIGHT, "MILLRACE_SHARING=9"}, 1, 2, false, false},
        {"srun that does not say", {STEP("2", "3"), PMI2("2", "3")}, 0, 1, false, false},
        {"srun, one node", {STEP("2", "3"), PMI2("2", "3"), NODE("0", "2", "3")}, 2, 3, false, true},
        {"srun, the second of three", {STEP("5", "11"), PMI2("5", "11"), NODE("1", "1", "4(x2),3")},
         1, 4, false, false},
        {"srun, the third of three", {STEP("9", "11"), PMI2("9", "11"), NODE("2", "1", "4(x2),3")}, 1, 3, false, false},
        {"srun, an unlisted node", {STEP("9", "11"), PMI2("9", "11"), NODE("3", "1", "4(x2),3")}, 0, 1, false, false},
        {"srun, a list that is none", {STEP("1", "2"), PMI2("1", "2"), NODE("0", "1", "two")}, 0, 1, false, false},
        {"a batch script's srun", {STEP("5", "8"), PMI2("5", "8"), "SLURM_LOCALID=1", "MILLRACE_SHARING=4"},
         1, 4, false, false},
    };
    for (size_t c = 0; c < MR__COUNT(shared); c++) {
        mr__launch launch;
        mr__error error = {.code = MR_OK};
        launch_case of = {.name = shared[c].name};
        memcpy(of.environment, shared[c].environment, sizeof of.environment);
        print_message("%s\n", of.name);
        assert_int_equal(mr__launch_detect(variable, &of, &launch, &error), MR_OK);
        assert_int_equal(launch.local_rank, shared[c].local_rank);
        assert_int_equal(launch.local_size, shared[c].local_size);
        assert_int_equal(launch.by_run, shared[c].by_run);
        assert_int_equal(launch.one_node, shared[c].one_node);
    }
}

static void test_only_mpich_is_accepted_as_a_library(void **state)
{
    mr__error error = {.code = MR_OK};
    assert_int_equal(mr__launch_check_library("MPICH Version:\t4.0.2\nMPICH Release date:\t...", NULL), MR_OK);
    assert_int_equal(mr__launch_check_library("CRAY MPICH version 8.1.4", NULL), MR_OK);
    assert_int_equal(mr__launch_check_library("Open MPI v4.1.4, package: Debian OpenMPI", &error), MR_NETWORK_FAILED);
    assert_non_null(strstr(error.text, "not MPICH but Open MPI v4.1.4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_launcher_is_known_by_what_it_sets),
        cmocka_unit_test(test_ranks_that_share_a_node_know_it),
        cmocka_unit_test(test_only_mpich_is_accepted_as_a_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
