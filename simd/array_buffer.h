/* array_buffer.h: append pairs to the chunks of their partitions; one owner, no lock, no atomic.
 * Promise   A pair lies whole in one chunk. A full chunk is given to `full` and a new one taken from the pool.
 * Owner     The buffer owns its open chunks; full() owns what it gets.
 * Threads   One.
 * Cost      A copy of the pair; a chunk per `capacity` bytes.
 * Failure   MR_NO_MEMORY when the pool has no chunk even after need_room() was asked; whatever need_room() returns. */
#ifndef MR__ARRAY_BUFFER_H
#define MR__ARRAY_BUFFER_H

#include "check.h"
#include "chunk.h"
#include "pair.h"

typedef struct mr__array_buffer {
    mr__pair_layout layout;
    mr__chunk_pool *pool;
    uint32_t partitions;
    mr__chunk **open;           /* [partitions]; NULL: none yet */
    void *context;
    /* takes a full chunk */
    mr_status (*full)(void *context, mr__chunk *chunk, mr__error *error);
    /* spills something, so that the pool has a chunk again; MR_OK also when nothing could be spilled */
    mr_status (*need_room)(void *context, mr__error *error);
} mr__array_buffer;

mr_status mr__array_buffer_init(mr__array_buffer *buffer, const mr__pair_layout *layout, mr__chunk_pool *pool,
                                uint32_t partitions, mr__error *error);
void mr__array_buffer_fini(mr__array_buffer *buffer);
/* Makes room for `size` bytes in the partition's open chunk: the slow path of mr__array_append. */
mr_status mr__array_buffer_open(mr__array_buffer *buffer, uint32_t partition, size_t size, mr__error *error);
/* Gives the open chunk of a partition to full(), if it holds pairs. */
mr_status mr__array_buffer_close(mr__array_buffer *buffer, uint32_t partition, mr__error *error);
/* Gives all open chunks that hold pairs to full(). */
mr_status mr__array_buffer_flush(mr__array_buffer *buffer, mr__error *error);

static inline mr_status mr__array_append(mr__array_buffer *buffer, uint32_t partition, const mr__pair *pair,
                                         mr__error *error)
{
    const size_t size = mr__pair_bytes(&buffer->layout, pair->key_size, pair->value_size);
    mr__chunk *chunk = buffer->open[partition];
    if (__builtin_expect(chunk == NULL || chunk->capacity - chunk->size < size, 0)) {
        const mr_status status = mr__array_buffer_open(buffer, partition, size, error);
        if (status != MR_OK)
            return status;
        chunk = buffer->open[partition];
    }
    mr__pair_write(&buffer->layout, chunk->data + chunk->size, pair);
    chunk->size += (uint32_t)size;
    chunk->pairs++;
    return MR_OK;
}

#endif
