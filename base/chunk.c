/* chunk.c: a free list of equal chunks under a budget.
 *
 * The first chunks are allocated one by one, so that a small job touches little memory. A pool that has grown takes
 * slabs of a huge page and cuts them into chunks: pairs are sorted and merged by reference, in random order over many
 * chunks, and a miss in a small page cost six times as much as one in a huge page (measured on a virtual machine). Of
 * several ranks on a machine each has a pool, so "grown" is little: from 64 MiB on, a quarter of what each of 4 ranks
 * sorted lay in small pages. */
#include "chunk.h"

#include "memory.h"

enum { SLAB = 2 << 20, SLABS_FROM = 8 << 20 };

struct mr__slab {
    struct mr__slab *next;
    uint8_t *memory;
    size_t reserved;
    size_t count, free;         /* chunks, and how many of them lie on the free list */
};

void mr__chunk_pool_init(mr__chunk_pool *pool, mr__budget *budget, uint32_t capacity)
{
    *pool = (mr__chunk_pool){.budget = budget, .capacity = capacity};
    pthread_mutex_init(&pool->mutex, NULL);
}

static size_t footprint(uint32_t capacity)
{
    return sizeof(mr__chunk) + capacity + MR__CHUNK_PADDING;
}

static void free_single(mr__chunk_pool *pool, mr__chunk *chunk)
{
    mr__budget_release(pool->budget, footprint(chunk->capacity));
    mr__pages_free(chunk, footprint(chunk->capacity));
}

static void free_slab(mr__chunk_pool *pool, struct mr__slab *slab)
{
    mr__budget_release(pool->budget, slab->reserved);
    mr__pages_free(slab->memory, SLAB);
    mr__free(slab);
}

/* With the mutex held. */
static void push_free(mr__chunk_pool *pool, mr__chunk *chunk)
{
    chunk->next = pool->free;
    pool->free = chunk;
    if (chunk->slab != NULL)
        chunk->slab->free++;
}

static mr__chunk *pop_free(mr__chunk_pool *pool)
{
    mr__chunk *chunk = pool->free;
    pool->free = chunk->next;
    if (chunk->slab != NULL)
        chunk->slab->free--;
    return chunk;
}

void mr__chunk_pool_trim(mr__chunk_pool *pool)
{
    mr__chunk *singles = NULL, *kept = NULL;
    struct mr__slab *slabs = NULL;
    pthread_mutex_lock(&pool->mutex);
    for (mr__chunk *chunk = pool->free, *next; chunk != NULL; chunk = next) {
        next = chunk->next;
        if (chunk->slab != NULL && chunk->slab->free == chunk->slab->count)
            continue;           /* goes with its slab */
        mr__chunk **list = chunk->slab != NULL ? &kept : &singles;
        chunk->next = *list;
        *list = chunk;
        if (chunk->slab == NULL)
            pool->singles -= footprint(chunk->capacity);
    }
    pool->free = kept;
    for (struct mr__slab **at = &pool->slabs; *at != NULL;) {
        struct mr__slab *slab = *at;
        if (slab->free < slab->count) {
            at = &slab->next;
            continue;
        }
        *at = slab->next;
        slab->next = slabs;
        slabs = slab;
    }
    pthread_mutex_unlock(&pool->mutex);
    for (mr__chunk *next; singles != NULL; singles = next) {
        next = singles->next;
        free_single(pool, singles);
    }
    for (struct mr__slab *next; slabs != NULL; slabs = next) {
        next = slabs->next;
        free_slab(pool, slabs);
    }
}

void mr__chunk_pool_fini(mr__chunk_pool *pool)
{
    mr__chunk_pool_trim(pool);
    for (struct mr__slab *slab = pool->slabs, *next; slab != NULL; slab = next) {
        next = slab->next;
        free_slab(pool, slab);
    }
    pthread_mutex_destroy(&pool->mutex);
    pool->budget = NULL;
}

void mr__chunk_pool_move(mr__chunk_pool *to, mr__chunk_pool *from, mr__budget *budget)
{
    mr__budget_force(budget, atomic_load_explicit(&from->budget->used, memory_order_relaxed));
    *to = (mr__chunk_pool){.budget = budget, .capacity = from->capacity, .free = from->free, .slabs = from->slabs,
                           .singles = from->singles};
    pthread_mutex_init(&to->mutex, NULL);
    pthread_mutex_destroy(&from->mutex);
    *from = (mr__chunk_pool){0};
}

/* With the mutex held: cuts a huge page into chunks and puts them on the free list. */
static bool add_slab(mr__chunk_pool *pool)
{
    const size_t each = (footprint(pool->capacity) + 63) & ~(size_t)63, count = SLAB / each;
    if (pool->singles < SLABS_FROM || count < 2 || !mr__budget_reserve(pool->budget, count * each))
        return false;
    struct mr__slab *slab = mr__alloc(sizeof *slab);
    uint8_t *memory = slab != NULL ? mr__pages_alloc(SLAB) : NULL;
    if (memory == NULL) {
        mr__free(slab);
        mr__budget_release(pool->budget, count * each);
        return false;
    }
    *slab = (struct mr__slab){.next = pool->slabs, .memory = memory, .reserved = count * each, .count = count};
    pool->slabs = slab;
    for (size_t i = 0; i < count; i++) {
        mr__chunk *chunk = (mr__chunk *)(memory + i * each);
        chunk->capacity = pool->capacity;
        chunk->slab = slab;
        push_free(pool, chunk);
    }
    return true;
}

static mr__chunk *acquire(mr__chunk_pool *pool, uint32_t partition, size_t least, bool forced)
{
    mr__chunk *chunk = NULL;
    const uint32_t capacity = least > pool->capacity ? (uint32_t)least : pool->capacity;
    if (capacity == pool->capacity) {
        pthread_mutex_lock(&pool->mutex);
        if (pool->free != NULL || add_slab(pool))
            chunk = pop_free(pool);
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
        if (capacity == pool->capacity) {
            pthread_mutex_lock(&pool->mutex);
            pool->singles += footprint(capacity);
            pthread_mutex_unlock(&pool->mutex);
        }
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

mr__chunk *mr__chunk_acquire_small(mr__chunk_pool *pool, uint32_t partition, size_t size, bool forced)
{
    const size_t most = footprint(pool->capacity) / 2;
    if (size > most)
        return NULL;
    const size_t bytes = mr__page_up(footprint((uint32_t)size));
    if (bytes > most)
        return NULL;
    if (forced)
        mr__budget_force(pool->budget, bytes);
    else if (!mr__budget_reserve(pool->budget, bytes))
        return NULL;
    mr__chunk *chunk = mr__pages_alloc(bytes);
    if (chunk == NULL) {
        mr__budget_release(pool->budget, bytes);
        return NULL;
    }
    chunk->partition = partition;
    chunk->capacity = (uint32_t)(bytes - footprint(0));     /* not the pool's: it is freed by itself */
    return chunk;
}

void mr__chunk_release(mr__chunk_pool *pool, mr__chunk *chunk)
{
    if (chunk == NULL)
        return;
    if (chunk->capacity != pool->capacity) {
        free_single(pool, chunk);
        return;
    }
    pthread_mutex_lock(&pool->mutex);
    push_free(pool, chunk);
    pthread_mutex_unlock(&pool->mutex);
}

void mr__chunk_release_all(mr__chunk_pool *pool, mr__chunk *chunks)
{
    for (mr__chunk *next; chunks != NULL; chunks = next) {
        next = chunks->next;
        mr__chunk_release(pool, chunks);
    }
}
