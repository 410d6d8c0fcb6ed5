/* pieces.h: the buffers that MPI reads from and writes to: one piece is one MPI message. They are kept for reuse.
 * Owner     acquire() gives a piece to the caller; release() or bury() takes it. A list owns what was pushed.
 * Cost      A few instructions; malloc where the pool has no piece of the class.
 * Threads   One at a time.
 * Failure   acquire: NULL, no memory. */
#ifndef MR__PIECES_H
#define MR__PIECES_H

#include <mpi.h>

#include "comm.h"

enum {
    MR__PIECE_MOST = 256 << 10,         /* bytes of one MPI message, see comm_mpi_send.c */
    MR__PIECE_LEAST = 256,
    MR__PIECE_CLASSES = 11,             /* 256 bytes, 512, ..., 256 KiB */
    MR__PIECES_IDLE_MOST = 4 << 20      /* bytes that a pool keeps */
};

typedef struct mr__piece {
    struct mr__piece *next;
    MPI_Request request;                /* MPI_REQUEST_NULL: MPI has done with it */
    uint32_t size, room;                /* room: of own */
    uint8_t *bytes;                     /* own, or a part of the parcel */
    mr__parcel *parcel;                 /* goes with the piece; or NULL */
    _Alignas(16) uint8_t own[];
} mr__piece;

/* First in, first out. Zeroed: empty. */
typedef struct mr__pieces {
    mr__piece *head, *tail;
    uint32_t count;
    size_t bytes;                       /* of their sizes */
} mr__pieces;

void mr__pieces_push(mr__pieces *pieces, mr__piece *piece);
mr__piece *mr__pieces_pop(mr__pieces *pieces);      /* NULL: it is empty */
/* Moves all of `from` behind what `to` has. */
void mr__pieces_append(mr__pieces *to, mr__pieces *from);

typedef struct mr__piece_pool {
    mr__pieces idle[MR__PIECE_CLASSES];
    size_t idle_bytes;                  /* of their rooms */
    mr__pieces buried;                  /* of requests that nobody may touch again: UCX may still write to them */
} mr__piece_pool;

mr__piece *mr__piece_acquire(mr__piece_pool *pool, size_t size);
/* One that is a parcel and `front` bytes before it; the parcel is the piece's if this succeeds. */
mr__piece *mr__piece_wrap(mr__piece_pool *pool, mr__parcel *parcel, size_t front);
void mr__piece_release(mr__piece_pool *pool, mr__piece *piece);
/* Never used and never freed again. */
void mr__piece_bury(mr__piece_pool *pool, mr__piece *piece);
void mr__piece_pool_drain(mr__piece_pool *pool);    /* frees what is idle */

#endif
