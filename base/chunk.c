/* chunk.c: a free list of equal chunks under a budget. */
#include "chunk.h"

#include "memory.h"

void mr__chunk_pool_init(mr__chunk_pool *pool, mr__budget *budget, uint32_t capacity)
{
    pool->budget = budget;
    pool->capacity = capacity;
    pool->free = NULL;
    pthread_mutex_init(&pool->mutex, NULL);
}

static size_t footprint(uint32_t capacity)
{
    return sizeof(mr__chunk) + capacity + MR__CHUNK_PADDING;
}

void mr__chunk_pool_trim(mr__chunk_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    mr__chunk *list = pool->free;
    pool->free = NULL;
    pthread_mutex_unlock(&pool->mutex);
    for (mr__chunk *next; list != NULL; list = next) {
        next = list->next;
        mr__budget_release(pool->budget, footprint(list->capacity));
        mr__pages_free(list, footprint(list->capacity));
    }
}

void mr__chunk_pool_fini(mr__chunk_pool *pool)
{
    mr__chunk_pool_trim(pool);
    pthread_mutex_destroy(&pool->mutex);
}

static mr__chunk *acquire(mr__chunk_pool *pool, uint32_t partition, size_t least, bool forced)
{
    mr__chunk *chunk = NULL;
    const uint32_t capacity = least > pool->capacity ? (uint32_t)least : pool->capacity;
    if (capacity == pool->capacity) {
        pthread_mutex_lock(&pool->mutex);
        chunk = pool->free;
        if (chunk != NULL)
            pool->free = chunk->next;
        pthread_mutex_unlock(&pool->mutex);
    }
    if (chunk == NULL) {
        if (forced)
            mr__budget_force(pool->budget, footprint(capacity));
        else if (!mr__budget_reserve(pool->budget, footprint(capacity)))
            return NULL;
        chunk = mr__pages_alloc(footprint(capacity));
        if (chunk == NULL) {
            mr__budget_release(pool->budget, footprint(capacity));
            return NULL;
        }
        chunk->capacity = capacity;
    }
    chunk->next = NULL;
    chunk->partition = partition;
    chunk->size = chunk->pairs = 0;
    return chunk;
}

mr__chunk *mr__chunk_acquire(mr__chunk_pool *pool, uint32_t partition, size_t least)
{
    return acquire(pool, partition, least, false);
}

mr__chunk *mr__chunk_acquire_forced(mr__chunk_pool *pool, uint32_t partition, size_t least)
{
    return acquire(pool, partition, least, true);
}

void mr__chunk_release(mr__chunk_pool *pool, mr__chunk *chunk)
{
    if (chunk == NULL)
        return;
    if (chunk->capacity != pool->capacity) {
        mr__budget_release(pool->budget, footprint(chunk->capacity));
        mr__pages_free(chunk, footprint(chunk->capacity));
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    chunk->next = pool->free;
    pool->free = chunk;
    pthread_mutex_unlock(&pool->mutex);
}
