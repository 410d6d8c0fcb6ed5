/* comm_mpi_parts.h: what comm_mpi.c (ways, lost ranks, the calls), comm_mpi_send.c and comm_mpi_receive.c share. Nobody
 * else includes it.
 * Threads   One at a time. */
#ifndef MR__COMM_MPI_PARTS_H
#define MR__COMM_MPI_PARTS_H

#include "comm_mpi.h"
#include "pieces.h"

enum {
    MR__MPI_WINDOW = 1 << 20,       /* bytes of a way that MPI has at once */
    MR__MPI_WINDOW_PIECES = 64,
    MR__MPI_HEAD_MAGIC = 0x6d727063,
    MR__MPI_NOWHERE = UINT32_MAX
};

typedef struct mr__mpi_head {       /* in front of each piece */
    uint32_t magic, tag;
    uint32_t size, offset;          /* of the message; of this piece in it */
    uint64_t number;                /* of the piece on its way */
    uint64_t sum;                   /* of its bytes and of what is above, see mr__mpi_sum() */
} mr__mpi_head;

enum { MR__MPI_PART_MOST = MR__PIECE_MOST - sizeof(mr__mpi_head) };
_Static_assert(sizeof(mr__mpi_head) <= MR__PARCEL_FRONT, "a head lies in front of a parcel");

typedef struct mr__mpi_way {        /* one direction of one path to one rank */
    mr__pieces flying;              /* with MPI, the oldest first */
    mr__pieces waiting;             /* not yet with MPI; to oneself: until it is received */
    uint32_t rank;
    uint32_t place;                 /* in busy; MR__MPI_NOWHERE */
    mr__path path;
    bool incoming;
    uint64_t number;                /* of the next piece */
    uint8_t *whole;                 /* a message of which pieces are missing, or NULL */
    uint32_t whole_tag, whole_size, whole_done;
} mr__mpi_way;

enum mr__mpi_state { MR__MPI_ALIVE, MR__MPI_FAILED, MR__MPI_FORGOTTEN };

typedef struct mr__mpi_peer {
    mr__mpi_way to[MR__PATHS], from[MR__PATHS];
    enum mr__mpi_state state;
    bool told;                      /* failed: unreachable() was called */
    char *why;                      /* failed; NULL: there was no memory for it */
} mr__mpi_peer;

/* The one comm of the process. */
extern struct mr__mpi {
    mr__comm comm;                  /* first: what callers hold */
    bool begun, threads, open;
    int descriptor;                 /* see mpi_wake.h */
    uint32_t rank, size;
    uint32_t generation, generations;
    mr__mpi_peer *peers;
    mr__mpi_way **busy;             /* room for all ways of all ranks */
    uint32_t busy_count, cursor;
    uint32_t untold;                /* ranks that failed and were not told */
    size_t receiving;               /* bytes of bulk pieces that fly in */
    mr__piece_pool pool;
    bool held;                      /* a message was matched for which there was no memory */
    MPI_Message held_message;
    uint32_t held_from, held_size;
    mr__path held_path;
} mr__mpi;

static inline int mr__mpi_tag(mr__path path)
{
    return (int)(mr__mpi.generation * MR__PATHS + path);
}

/* After a way got a piece or lost one: puts it among the busy, or takes it from there. */
void mr__mpi_settle(mr__mpi_way *of);
/* MPI's code, or MPI_SUCCESS: then `what` says all. Its pieces are gone, buried where MPI has them. */
void mr__mpi_fail_peer(uint32_t rank, const char *what, int code);
/* Says which piece it is, and that all of it is there: no other piece that ever lay in its buffer has this sum. */
uint64_t mr__mpi_sum(const mr__piece *piece, mr__mpi_head front, uint32_t sender, const mr__mpi_way *of);

mr_status mr__mpi_send(mr__comm *comm, mr__path path, uint32_t to, uint32_t tag, const void *bytes, size_t size,
                       mr__error *error);
mr_status mr__mpi_give(mr__comm *comm, mr__parcel *parcel, mr__error *error);
size_t mr__mpi_unsent(const mr__comm *comm, mr__path path, uint32_t to);
/* Each of the rest moves something on; false: nothing has moved. Of a way to another rank: */
bool mr__mpi_move_out(mr__mpi_way *to);
bool mr__mpi_begin_receives(mr__path path);
/* What has come is told, `left` messages at most. */
bool mr__mpi_take_arrived(mr__mpi_way *from, const mr__comm_events *events, uint32_t *left);
bool mr__mpi_take_own(mr__mpi_way *self, const mr__comm_events *events, uint32_t *left);

#endif
