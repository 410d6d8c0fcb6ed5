/* mpi_start.c: MPI is started once, and never finalized.
 *
 * No MPI_Finalize: with tcp it hangs in 30-45 % of runs. Hydra takes a rank that ends without it for one that crashed,
 * so it is told by this process itself, in PMI's words (cmd=finalize). So a job in which nobody was lost ends well
 * under a plain mpiexec.mpich, too. Under srun an end without it is no failure.
 * `run --ranks` tells hydra to mind no end (-disable-auto-cleanup), so there nothing is said: hydra's proxy does not
 * survive a rank that dies between these words and their answer, and takes the other ranks along (1 of 120 jobs that
 * lost ranks at random moments). */
#include "mpi_start.h"

#include <fcntl.h>
#include <mpi.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "mpi_wake.h"
#include "parse.h"

enum { LAUNCHER_PATIENCE_MS = 1000 };

static int listener = -1;           /* the connection to a launcher that waits for words, until they are said */

/* version: of MPI_MAX_LIBRARY_VERSION_STRING bytes */
static mr_status check_mpi(char *version, mr__error *error)
{
    mr_status status = MR_OK;
    int size = 0, begun = 0;
    MR_CHECK(!mr__fault(MR__FAULT_MPI_INIT) && MPI_Get_library_version(version, &size) == MPI_SUCCESS,
             MR_NETWORK_FAILED, "could not start MPI");
    MR_TRY(mr__launch_check_library(version, error));
    MR_CHECK(MPI_Initialized(&begun) == MPI_SUCCESS && !begun, MR_BAD_USAGE,
             "this program has begun MPI itself, and Millrace needs it for its own\n  hint: open the session before "
             "MPI_Init is called, or run Millrace in a process of its own");
done:
    return status;
}

/* -1: there is no connection to a launcher. */
static int launcher_connection(void)
{
    uint64_t fd = 0;
    const char *text = getenv("PMI_FD");
    return text != NULL && mr__parse_u64(text, &fd) == MR__PARSED && fd <= INT32_MAX ? (int)fd : -1;
}

mr_status mr__mpi_start(const mr__launch *launch, mr__mpi_world *world, mr__error *error)
{
    mr_status status = MR_OK;
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int level = 0, rank = 0, size = 0, known = 0, *tag_most = NULL;
    mr__epolls before;
    MR_TRY(check_mpi(version, error));
    mr__epolls_of_process(&before);
    /* MPICH ends the process when it cannot start: an error handler can only be set afterwards. Serialized and not
     * funneled: the next comm may be another thread's. It costs no lock. */
    MR_CHECK(MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level) == MPI_SUCCESS, MR_NETWORK_FAILED,
             "could not start MPI");
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    const int launcher = launcher_connection();
    if (launch->by == MR__LAUNCHED_BY_HYDRA && !launch->by_run)
        listener = launcher;
    if (launcher >= 0)
        fcntl(launcher, F_SETFD, FD_CLOEXEC);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    *world = (mr__mpi_world){.rank = (uint32_t)rank,
                             .size = (uint32_t)size,
                             .threads = level >= MPI_THREAD_SERIALIZED,
                             .descriptor = mr__mpi_wake_open(&before, version)};
    if (MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &tag_most, &known) == MPI_SUCCESS && known)
        world->tag_most = (uint32_t)*tag_most;
done:
    return status;
}

/* "cmd=finalize" is PMI-1, which MPICH's own client speaks. */
void mr__mpi_tell_launcher(void)
{
    static const char words[] = "cmd=finalize\n";
    char answer[64];        /* "cmd=finalize_ack": whatever it is, this rank ends */
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    if (listener < 0)
        return;
    listener = -1;
    ssize_t size = write(ready.fd, words, sizeof words - 1);
    if (size > 0 && poll(&ready, 1, LAUNCHER_PATIENCE_MS) == 1)
        size = read(ready.fd, answer, sizeof answer);
}
