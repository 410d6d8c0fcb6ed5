/* comm_module.c: finds the MPI module, loads it, and keeps what comes with it from disturbing the process.
 *
 *   environment for them -> dlopen(millrace_mpi.so -> libmpich -> libucp, libucs, ...) -> its open() -> MPI_Init
 *
 * UCX reads a part of its variables when it is loaded, so they are set before dlopen() and not before MPI_Init. What
 * the user has set stays. The values are those under which the loss of a rank was survived (FACTS, "Losing a rank"):
 *   UCX_TLS=tcp,self        a peer that dies in shared memory leaves it broken, and CMA aborts the survivors
 *   UCX_TCP_PUT_ENABLE=n    an assertion in UCX's TCP PUT path ended survivors on loaded machines
 *   UCX_MEM_EVENTS=n        with tcp there is no memory to register; without this UCX patches mmap() and its kin while
 *                           other threads call them, and sanitizers' own patches, too. Left alone where the user chose
 *                           the transports: RDMA's caches need it
 *   UCX_LOG_FILE=stderr     standard output is the job's (UCX's own choice is stdout)
 *   UCX_LOG_LEVEL=fatal     a lost rank is told in our words, once; UCX would add lines for each connection
 * MPICH reads its own when it begins:
 *   MPIR_CVAR_NOLOCAL=1     the ranks of a node meet in shared memory while MPI begins, and spin there: where they share
 *                           cores, they wait for those that cannot run (a job without work, 2 cores: 110 ms with 4
 *                           ranks and 2.3 s with 64; so it is 50 ms and 1.2 s)
 * And one for the hwloc in MPICH, which looks at the machine before anything is sent:
 *   HWLOC_COMPONENTS=-linux:pci    the PCI devices are of no use to it, and to read about them is slow on virtual
 *                           machines (2 ranks, 6 devices: 20 of the 59 ms that a job without work took)
 *
 * UCX takes over SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGHUP (to print a back-trace, to wait for a debugger). Millrace
 * needs SIGBUS for files that shrink while they are mapped, and a hang-up has to end a job: all are given back.
 *
 * The module is never unloaded: UCX has a thread, and MPI can be started once in a process. */
#include "comm_module.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "places.h"

static const mr__comm_module *loaded;       /* written by who opens; comms are opened one at a time */

/* ---- signals ----------------------------------------------------------------------------------------------------- */

typedef struct handlers {
    struct sigaction of[NSIG];
    bool known[NSIG];
} handlers;

static void ignore_unless_handled(int number)
{
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_DFL)
        signal(number, SIG_IGN);
}

static void save_handlers(handlers *saved)
{
    for (int number = 1; number < NSIG; number++)
        saved->known[number] = sigaction(number, NULL, &saved->of[number]) == 0;
}

static void restore_handlers(const handlers *saved)
{
    for (int number = 1; number < NSIG; number++)
        if (saved->known[number])
            sigaction(number, &saved->of[number], NULL);       /* SIGKILL and SIGSTOP refuse, and have none */
}

/* ---- the module -------------------------------------------------------------------------------------------------- */

static void set_unless_set(const char *name, const char *value)
{
    setenv(name, value, 0);
}

static void prepare_environment(void)
{
    set_unless_set("HWLOC_COMPONENTS", "-linux:pci");
    set_unless_set("MPIR_CVAR_NOLOCAL", "1");
    if (getenv("UCX_TLS") == NULL)
        set_unless_set("UCX_MEM_EVENTS", "n");
    set_unless_set("UCX_TLS", "tcp,self");
    set_unless_set("UCX_TCP_PUT_ENABLE", "n");
    set_unless_set("UCX_LOG_FILE", "stderr");
    set_unless_set("UCX_LOG_LEVEL", "fatal");
}

static mr_status find(char path[MR__PATH_MAX], mr__error *error)
{
    mr_status status = MR_OK;
    const char *given = getenv("MILLRACE_MPI_MODULE");
    if (given != NULL && given[0] != '\0') {
        MR_CHECK(strlen(given) < MR__PATH_MAX && access(given, R_OK) == 0, MR_NETWORK_FAILED,
                 "could not load MPI: MILLRACE_MPI_MODULE names %.200s, which cannot be read: %s", given,
                 strerror(errno));
        strcpy(path, given);
        return MR_OK;
    }
    MR_TRY(mr__places_module((const void *)(uintptr_t)&mr__comm_open_mpi, "millrace_mpi.so", path, error));
    MR_CHECK(access(path, R_OK) == 0, MR_NETWORK_FAILED,
             "this Millrace has no MPI: %s cannot be read: %s\n  hint: build it where MPICH is installed (Debian: "
             "libmpich-dev), or name the module with MILLRACE_MPI_MODULE",
             path, strerror(errno));
done:
    return status;
}

static mr_status load(mr__error *error)
{
    mr_status status = MR_OK;
    char path[MR__PATH_MAX];
    void *library = NULL;
    MR_TRY(find(path, error));
    const bool refused = mr__fault(MR__FAULT_OPEN);
    library = refused ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    MR_CHECK(library != NULL, MR_NETWORK_FAILED,
             "could not load MPI: %s\n  hint: is MPICH installed here (Debian: mpich)?",
             refused ? "too many open files" : dlerror());
    const mr__comm_module *module = dlsym(library, MR__COMM_MODULE_SYMBOL);
    MR_CHECK(module != NULL && module->magic == MR__COMM_MODULE_MAGIC, MR_NETWORK_FAILED,
             "%s is not a module of Millrace", path);
    MR_CHECK(module->version == MR__COMM_MODULE_VERSION, MR_NETWORK_FAILED,
             "%s has version %u of the interface, this library needs %d\n  hint: both must come from one installation",
             path, module->version, MR__COMM_MODULE_VERSION);
    loaded = module;
    library = NULL;
done:
    if (library != NULL)
        dlclose(library);
    return status;
}

mr_status mr__comm_open_mpi(void *how, mr__comm **comm, mr__error *error)
{
    mr_status status = MR_OK;
    handlers saved;
    ignore_unless_handled(SIGUSR1);     /* hydra tells deaths with it, at any time */
    ignore_unless_handled(SIGPIPE);
    save_handlers(&saved);
    if (loaded == NULL) {
        prepare_environment();
        MR_TRY(load(error));
    }
    MR_TRY(loaded->open(mr__fault, comm, error));
done:
    restore_handlers(&saved);
    return status;
}

mr_status mr__comm_mpi_check(const mr__comm *comm, mr__error *error)
{
    return loaded->check(comm, error);
}
