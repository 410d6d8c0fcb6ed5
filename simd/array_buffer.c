/* array_buffer.c: the open chunks of one worker, one per partition. */
#include "array_buffer.h"

#include "memory.h"

mr_status mr__array_buffer_init(mr__array_buffer *buffer, const mr__pair_layout *layout, mr__chunk_pool *pool,
                                uint32_t partitions, mr__error *error)
{
    mr_status status = MR_OK;
    buffer->layout = *layout;
    buffer->pool = pool;
    buffer->partitions = partitions;
    buffer->open = mr__alloc_zero(partitions, sizeof *buffer->open);
    MR_CHECK(buffer->open != NULL, MR_NO_MEMORY, "no memory for the chunk list of %u partitions", partitions);
done:
    return status;
}

void mr__array_buffer_fini(mr__array_buffer *buffer)
{
    if (buffer->open == NULL)
        return;
    for (uint32_t p = 0; p < buffer->partitions; p++)
        mr__chunk_release(buffer->pool, buffer->open[p]);
    mr__free(buffer->open);
    buffer->open = NULL;
}

mr_status mr__array_buffer_open(mr__array_buffer *buffer, uint32_t partition, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__chunk *chunk = buffer->open[partition];
    if (chunk != NULL) {
        buffer->open[partition] = NULL;
        MR_TRY(buffer->full(buffer->context, chunk, error));
    }
    MR_CHECK(size < (size_t)1 << 31, MR_BAD_INPUT,
             "a pair of %zu bytes is too large: keys and values together may have 2 GiB", size);
    chunk = mr__chunk_acquire(buffer->pool, partition, size);
    if (chunk == NULL) {
        MR_TRY(buffer->need_room(buffer->context, error));
        chunk = mr__chunk_acquire(buffer->pool, partition, size);
    }
    if (chunk == NULL)      /* a worker without an open chunk could not even spill: one is allowed beyond the budget */
        chunk = mr__chunk_acquire_forced(buffer->pool, partition, size);
    MR_CHECK(chunk != NULL, MR_NO_MEMORY,
             "no memory for a chunk of %zu bytes\n  hint: lower --memory or --workers", size);
    buffer->open[partition] = chunk;
done:
    return status;
}

mr_status mr__array_buffer_close(mr__array_buffer *buffer, uint32_t partition, mr__error *error)
{
    mr_status status = MR_OK;
    mr__chunk *chunk = buffer->open[partition];
    buffer->open[partition] = NULL;
    if (chunk != NULL && chunk->pairs > 0)
        MR_TRY(buffer->full(buffer->context, chunk, error));
    else
        mr__chunk_release(buffer->pool, chunk);
done:
    return status;
}

mr_status mr__array_buffer_flush(mr__array_buffer *buffer, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t p = 0; p < buffer->partitions; p++)
        MR_TRY(mr__array_buffer_close(buffer, p, error));
done:
    return status;
}
