/* mpi_wake.c: finds what UCX listens to.
 *
 *   sockets of the other ranks -> UCX's epoll -.
 *   its listener, its thread's pipe -> epoll --+-> ours -> the courier's poll()
 *
 * A rank that waits for a message must poll MPI, or be told. To poll each 2 ms costs 1 % of a CPU, and messages wait
 * for it. UCX has its sockets in an epoll, level-triggered, and progress is to ask it: while there is something
 * to receive, or room for what waits to be sent, the epoll is readable. MPI has no call that gives it, but it is among
 * the process's descriptors, and it came with MPI_Init.
 * Only where MPICH talks through UCX alone, and UCX through TCP alone: shared memory, MPICH's or UCX's, and InfiniBand
 * do not show there. */
#include "mpi_wake.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "parse.h"

void mr__epolls_of_process(mr__epolls *found)
{
    DIR *folder = opendir("/proc/self/fd");
    const struct dirent *entry;
    found->count = 0;
    while (folder != NULL && found->count < MR__EPOLLS_MOST && (entry = readdir(folder)) != NULL) {
        static const char epoll[] = "anon_inode:[eventpoll]";
        char target[sizeof epoll];
        uint64_t fd;
        if (mr__parse_u64(entry->d_name, &fd) == MR__PARSED && fd <= INT_MAX &&
            readlinkat(dirfd(folder), entry->d_name, target, sizeof target) == sizeof epoll - 1 &&
            memcmp(target, epoll, sizeof epoll - 1) == 0)
            found->fds[found->count++] = (int)fd;
    }
    if (folder != NULL)
        closedir(folder);
}

/* UCX_TLS is a list of names; one that is not known to be only TCP is taken for something else. MPICH's own shared
 * memory is off by comm_module.c's choice, and the user may have chosen otherwise. */
static bool is_tcp_only(const char *version)
{
    const char *at = getenv("UCX_TLS"), *no_local = getenv("MPIR_CVAR_NOLOCAL");
    if (at == NULL || no_local == NULL || strcmp(no_local, "1") != 0 || strstr(version, "ch4:ucx") == NULL)
        return false;
    while (*at != '\0') {
        const size_t size = strcspn(at, ",");
        if (!(size == 3 && memcmp(at, "tcp", 3) == 0) && !(size == 4 && memcmp(at, "self", 4) == 0))
            return false;
        at += size + (at[size] == ',');
    }
    return true;
}

static bool has(const mr__epolls *of, int fd)
{
    for (uint32_t i = 0; i < of->count; i++)
        if (of->fds[i] == fd)
            return true;
    return false;
}

int mr__mpi_wake_open(const mr__epolls *before, const char *version)
{
    mr__epolls now;
    bool any = false;
    if (!is_tcp_only(version))
        return -1;
    mr__epolls_of_process(&now);
    const int all = now.count < MR__EPOLLS_MOST ? epoll_create1(EPOLL_CLOEXEC) : -1;
    for (uint32_t i = 0; i < now.count && all >= 0; i++) {
        struct epoll_event readable = {.events = EPOLLIN};
        if (!has(before, now.fds[i]))
            any |= epoll_ctl(all, EPOLL_CTL_ADD, now.fds[i], &readable) == 0;
    }
    if (any || all < 0)
        return all;
    close(all);
    return -1;
}
