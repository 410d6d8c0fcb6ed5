/* comm.h: ranks and messages. One implementation per backend: comm_local.c is one process; MPI comes as a module.
 * Threads   Any thread may call; a backend that needs one progress thread has its own.
 * Failure   MR_NETWORK_FAILED with rank and host. */
#ifndef MR__COMM_H
#define MR__COMM_H

#include <stddef.h>
#include <stdint.h>

#include "check.h"

typedef struct mr__comm mr__comm;

typedef struct mr__comm_ops {       /* every call is required */
    const char *name;
    uint32_t (*rank)(const mr__comm *comm);
    uint32_t (*size)(const mr__comm *comm);
    /* Sends `size` bytes (< 2^31) with a tag; the bytes may be reused on return. */
    mr_status (*send)(mr__comm *comm, uint32_t to, uint32_t tag, const void *bytes, size_t size, mr__error *error);
    /* One waiting message, any sender: fills from, tag, size; *size = SIZE_MAX when none waits (never blocks).
     * A message larger than `capacity` is MR_NETWORK_FAILED and stays. */
    mr_status (*receive)(mr__comm *comm, uint32_t *from, uint32_t *tag, void *bytes, size_t capacity, size_t *size,
                         mr__error *error);
    /* All ranks have called it. */
    mr_status (*barrier)(mr__comm *comm, mr__error *error);
    void (*close)(mr__comm *comm);
} mr__comm_ops;

struct mr__comm {
    const mr__comm_ops *ops;
};

mr_status mr__comm_open_local(mr__comm **comm, mr__error *error);

#endif
