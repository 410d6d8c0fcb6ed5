/* comm.h: ranks and messages: what a backend offers to the one thread that talks to the network (courier.h).
 *   comm_local.c        one process: rank 0 of 1, which can only talk to itself
 *   mpi/comm_mpi.c      MPICH, in a module that is loaded when a launcher started the process (launch.h)
 * Promise   Between two ranks, messages of one path arrive whole, once and in order, or the rank is reported
 *           unreachable. No call waits: neither for the other side nor for the network.
 * Owner     send() copies: the bytes may be reused on return. give() takes the parcel. received() lends: the bytes are
 *           gone when it returns.
 * Threads   One at a time: all calls of a comm come from its courier, open and close too.
 * Failure   MR_NETWORK_FAILED with the rank. A rank that failed once stays failed: forget() it. */
#ifndef MR__COMM_H
#define MR__COMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

enum { MR__MESSAGE_MOST = 64 << 20 };       /* bytes of one message; far below MPI's 2^31 */
enum { MR__PARCEL_FRONT = 64 };

/* Small messages are never stuck behind bulk ones (TH-Express has two such paths, too). */
typedef enum mr__path { MR__CONTROL, MR__BULK, MR__PATHS } mr__path;

typedef struct mr__comm_events {            /* called from progress(); they do not call the comm */
    void *context;
    void (*received)(void *context, mr__path path, uint32_t from, uint32_t tag, const void *bytes, size_t size);
    /* A send to the rank failed. It is told once per rank; forget() is up to the caller. */
    void (*unreachable)(void *context, uint32_t rank, const char *why);
} mr__comm_events;

typedef struct mr__comm mr__comm;

/* A message in memory of its own (mr__alloc), with room in front of it for what a backend has to say about it. */
typedef struct mr__parcel {
    struct mr__parcel *next;                /* the holder's list */
    mr__path path;
    uint32_t to, tag;
    size_t size;                            /* of bytes */
    _Alignas(16) uint8_t front[MR__PARCEL_FRONT];
    uint8_t bytes[];
} mr__parcel;

typedef struct mr__comm_ops {               /* every call but give and descriptor is required */
    const char *name;
    uint32_t (*rank)(const mr__comm *comm);
    uint32_t (*size)(const mr__comm *comm);
    /* Begins to send size <= MR__MESSAGE_MOST bytes; a rank may send to itself. To a forgotten rank: MR_OK, and nothing
     * is sent. */
    mr_status (*send)(mr__comm *comm, mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t size,
                      mr__error *error);
    /* As send(), without a copy. MR_OK: the parcel is the comm's and may be gone; else it stays the caller's. NULL:
     * this backend only copies. */
    mr_status (*give)(mr__comm *comm, mr__parcel *parcel, mr__error *error);
    /* Bytes that send() copied or give() took and that have not left yet. The caller bounds it; a backend does not. */
    size_t (*unsent)(const mr__comm *comm, mr__path path, uint32_t to);
    /* Moves what is under way and tells what arrived: at most a few dozen events. false: nothing happened. */
    bool (*progress)(mr__comm *comm, const mr__comm_events *events);
    /* For poll(): readable when progress() has something to do. At times it is for nothing, and once in a while a
     * message is there and it is not. -1, or no such call: this backend can only be polled. It is the comm's. */
    int (*descriptor)(const mr__comm *comm);
    /* The rank is lost, or is taken for lost: what is under way to it is dropped, and whatever it still sends is never
     * received. */
    void (*forget)(mr__comm *comm, uint32_t rank);
    /* Ends this rank's part without waiting for others: what has not left is dropped. */
    void (*close)(mr__comm *comm);
} mr__comm_ops;

struct mr__comm {
    const mr__comm_ops *ops;
};

mr_status mr__comm_open_local(mr__comm **comm, mr__error *error);

#endif
