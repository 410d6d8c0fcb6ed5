/* mpi_wake.h: a file descriptor that tells when a message may have come, which MPI does not offer.
 * Threads   One at a time. */
#ifndef MR__MPI_WAKE_H
#define MR__MPI_WAKE_H

#include <stdint.h>

enum { MR__EPOLLS_MOST = 16 };

typedef struct mr__epolls {
    uint32_t count;
    int fds[MR__EPOLLS_MOST];
} mr__epolls;

/* The epoll descriptors that this process has; those beyond MR__EPOLLS_MOST are left out. */
void mr__epolls_of_process(mr__epolls *found);
/* Those that came since `before`, as one descriptor for poll(), which stays as MPI does. -1: messages come on ways that
 * these do not tell of, or there are none.
 *   version    what MPI_Get_library_version() says */
int mr__mpi_wake_open(const mr__epolls *before, const char *version);

#endif
