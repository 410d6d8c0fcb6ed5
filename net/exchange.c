/* exchange.c: one queue of chunks per partition, inside a rank.
 *
 *   lane[p]:  head -> [oldest] -> ... -> [newest] <- tail        give links at the tail, take cuts the whole list off
 *
 * Why a mutex and not a lock-free list: a chunk holds thousands of pairs, so a lane sees some thousand operations per
 * second; a lane is on its own cache line, so givers to different partitions do not meet. What is asked more often than
 * it changes, the bytes that wait, is an atomic beside the list: a scheduler that looks for the fullest partition takes
 * no lock. */
#include "exchange.h"

#include <pthread.h>
#include <stdatomic.h>

#include "memory.h"

struct lane {
    _Alignas(64) pthread_mutex_t mutex;
    mr__chunk *head, **tail;        /* guarded by mutex */
    _Atomic uint64_t bytes;         /* written under mutex, read without it: a reader wants a recent value, no more */
};

struct mr__exchange {
    uint32_t partitions;
    _Atomic uint64_t bytes;         /* of all lanes */
    struct lane *lanes;             /* whole pages, so that each lane starts a cache line */
};

static size_t lanes_size(uint32_t partitions)
{
    return partitions * sizeof(struct lane);
}

mr_status mr__exchange_create(uint32_t partitions, mr__exchange **exchange, mr__error *error)
{
    mr_status status = MR_OK;
    mr__exchange *made = NULL;
    MR_CHECK(partitions > 0, MR_INTERNAL, "an exchange needs at least one partition");
    made = mr__alloc_zero(1, sizeof *made);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for %u partitions; raise --memory", partitions);
    made->lanes = mr__pages_alloc(lanes_size(partitions));
    MR_CHECK(made->lanes != NULL, MR_NO_MEMORY, "no memory for %u partitions; raise --memory", partitions);
    made->partitions = partitions;
    for (uint32_t p = 0; p < partitions; p++) {
        struct lane *lane = &made->lanes[p];
        pthread_mutex_init(&lane->mutex, NULL);
        lane->tail = &lane->head;
    }
    *exchange = made;
    made = NULL;
done:
    mr__free(made);
    return status;
}

void mr__exchange_destroy(mr__exchange *exchange, mr__chunk_pool *pool)
{
    if (exchange == NULL)
        return;
    for (uint32_t p = 0; p < exchange->partitions; p++) {
        for (mr__chunk *chunk = exchange->lanes[p].head, *next; chunk != NULL; chunk = next) {
            next = chunk->next;
            mr__chunk_release(pool, chunk);
        }
        pthread_mutex_destroy(&exchange->lanes[p].mutex);
    }
    mr__pages_free(exchange->lanes, lanes_size(exchange->partitions));
    mr__free(exchange);
}

uint64_t mr__exchange_give(mr__exchange *exchange, mr__chunk *chunk)
{
    struct lane *lane = &exchange->lanes[chunk->partition];
    const uint64_t size = chunk->size;
    chunk->next = NULL;
    /* before the chunk can be taken: the total never falls below zero */
    atomic_fetch_add_explicit(&exchange->bytes, size, memory_order_relaxed);
    pthread_mutex_lock(&lane->mutex);
    *lane->tail = chunk;
    lane->tail = &chunk->next;
    const uint64_t waiting = atomic_load_explicit(&lane->bytes, memory_order_relaxed) + size;
    atomic_store_explicit(&lane->bytes, waiting, memory_order_relaxed);
    pthread_mutex_unlock(&lane->mutex);
    return waiting;
}

mr__chunk *mr__exchange_take(mr__exchange *exchange, uint32_t partition)
{
    struct lane *lane = &exchange->lanes[partition];
    pthread_mutex_lock(&lane->mutex);
    mr__chunk *list = lane->head;
    const uint64_t taken = atomic_load_explicit(&lane->bytes, memory_order_relaxed);
    lane->head = NULL;
    lane->tail = &lane->head;
    atomic_store_explicit(&lane->bytes, 0, memory_order_relaxed);
    pthread_mutex_unlock(&lane->mutex);
    atomic_fetch_sub_explicit(&exchange->bytes, taken, memory_order_relaxed);
    return list;
}

uint64_t mr__exchange_waiting(const mr__exchange *exchange, uint32_t partition)
{
    return atomic_load_explicit(&exchange->lanes[partition].bytes, memory_order_relaxed);
}

uint64_t mr__exchange_waiting_total(const mr__exchange *exchange)
{
    return atomic_load_explicit(&exchange->bytes, memory_order_relaxed);
}
