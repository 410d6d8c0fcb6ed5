/* chunk.h: the unit in which pairs travel: filled by one worker, handed over by pointer, spilled or sent as a whole.
 * Promise   A pool gives out chunks of one capacity and never more bytes than its budget allows.
 * Owner     Who holds the pointer; handing it over hands over the duty to release it.
 * Threads   The pool: any thread (a mutex, once per chunk). A chunk: its holder.
 * Failure   NULL when the budget or memory is used up: the caller spills something and asks again. */
#ifndef MR__CHUNK_H
#define MR__CHUNK_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "budget.h"

enum { MR__CHUNK_PADDING = 64 };

struct mr__slab;

typedef struct mr__chunk {
    struct mr__chunk *next;     /* the holder's list */
    struct mr__slab *slab;      /* that it was cut from; NULL: allocated by itself */
    uint32_t partition;
    uint32_t size, capacity;    /* bytes of data; MR__CHUNK_PADDING more may be read */
    uint32_t pairs;
    uint8_t data[];
} mr__chunk;

typedef struct mr__chunk_pool {
    mr__budget *budget;
    uint32_t capacity;          /* of each chunk's data */
    pthread_mutex_t mutex;
    /* guarded by mutex */
    mr__chunk *free;            /* memory stays reserved while it lies here */
    struct mr__slab *slabs;
    uint64_t singles;           /* bytes of chunks allocated one by one */
} mr__chunk_pool;

void mr__chunk_pool_init(mr__chunk_pool *pool, mr__budget *budget, uint32_t capacity);
void mr__chunk_pool_fini(mr__chunk_pool *pool);
/* `to` (not initialised) takes over everything, chunks that are out too, with a budget of its own; `from` is then as
 * after fini. */
void mr__chunk_pool_move(mr__chunk_pool *to, mr__chunk_pool *from, mr__budget *budget);
/* An empty chunk. capacity of at least `least` bytes: a pair larger than the pool's chunks gets one of its own. */
mr__chunk *mr__chunk_acquire(mr__chunk_pool *pool, uint32_t partition, size_t least);
/* The same, beyond the budget: for the chunk without which a worker cannot even spill. */
mr__chunk *mr__chunk_acquire_forced(mr__chunk_pool *pool, uint32_t partition, size_t least);
/* A chunk of just the pages that `size` bytes need: for few bytes that stay for long. NULL also if that is more than
 * half of an ordinary one. */
mr__chunk *mr__chunk_acquire_small(mr__chunk_pool *pool, uint32_t partition, size_t size, bool forced);
void mr__chunk_release(mr__chunk_pool *pool, mr__chunk *chunk);
/* A list linked by next; NULL is an empty one. */
void mr__chunk_release_all(mr__chunk_pool *pool, mr__chunk *chunks);
/* Gives the free list's memory back to the system and the budget: chunks allocated by themselves, and slabs of which
 * all chunks are free. */
void mr__chunk_pool_trim(mr__chunk_pool *pool);

#endif
