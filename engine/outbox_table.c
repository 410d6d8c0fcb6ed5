/* outbox_table.c: items whose pairs are in the combine buffer that they were copied from still.
 *
 *   combine buffer --copy--> chunk --sent, or room is made--> (nothing)
 *        '------------------copied again, if it is to be sent again-'
 *
 * What a lane has at the end of its input stays in its combine buffer (epoch.c). So what goes to other ranks need not
 * be kept in a copy for the case that one of them is lost: the chunk goes back to the pool once it was sent, warm, and
 * the pairs that arrive meanwhile find it there. (1 GiB of Zipf text, two ranks: 42 MB a lane that were fresh memory,
 * and fresh memory costs up to 2.2 ns a byte here.)
 *
 * The buffer does not change while items have an origin in it: before it does, the lane takes them out. It says so for
 * each partition, under the mutex; an item that is held meanwhile has its chunk.
 *
 * Copied again is the same: the cells are walked from the same one on, for as many pairs. It is done under the mutex;
 * that is 0.3 ms a chunk, and only after a loss. */
#include "outbox_parts.h"

void mr__outbox_lay_back(mr__outbox *outbox, mr__item *item)
{
    mr__outbox_unlist(outbox, item);
    atomic_fetch_sub_explicit(&outbox->kept, item->chunk->capacity, memory_order_relaxed);
    mr__chunk_release(&outbox->job->pool, item->chunk);
    item->chunk = NULL;
}

static mr_status copy_pairs(const mr__item *item, mr__chunk *chunk, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__combine_buffer *from = &item->origin.lane->combine;
    mr__cell_cursor cursor = item->origin.from;
    mr__pair pair;
    while (chunk->pairs < item->pairs && mr__combine_buffer_next_of(from, &cursor, &pair)) {
        const size_t size = mr__pair_bytes(&from->layout, pair.key_size, pair.value_size);
        if (chunk->size + size > item->size)
            break;
        mr__pair_write(&from->layout, chunk->data + chunk->size, &pair);
        chunk->size += (uint32_t)size;
        chunk->pairs++;
    }
    MR_CHECK(chunk->pairs == item->pairs && chunk->size == item->size, MR_INTERNAL,
             "a combine buffer has %u pairs of partition %u where %u were", chunk->pairs, item->partition, item->pairs);
done:
    return status;
}

mr_status mr__outbox_copy_again(mr__outbox *outbox, mr__item *item, mr__error *error)
{
    mr_status status = MR_OK;
    mr__chunk_pool *pool = &outbox->job->pool;
    mr__chunk *chunk = NULL;
    if (item->chunk != NULL || item->origin.lane == NULL)
        return MR_OK;
    chunk = mr__chunk_acquire_forced(pool, item->partition, item->size);
    MR_CHECK(chunk != NULL, MR_NO_MEMORY, "no memory for %u bytes that are to be sent again", item->size);
    MR_TRY(copy_pairs(item, chunk, error));
    item->chunk = chunk;
    atomic_fetch_add_explicit(&outbox->kept, chunk->capacity, memory_order_relaxed);
    mr__outbox_enlist(outbox, item);
    chunk = NULL;
done:
    mr__chunk_release(pool, chunk);
    return status;
}

mr_status mr__outbox_take_out(mr__outbox *outbox, mr__lane *lane, uint32_t partition, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&outbox->mutex);
    for (mr__item *item = outbox->partition[partition]; item != NULL; item = item->next) {
        if (item->origin.lane != lane)
            continue;
        MR_TRY(mr__outbox_copy_again(outbox, item, error));
        item->origin.lane = NULL;
    }
done:
    mr__outbox_unlock(outbox);
    return status;
}

void mr__outbox_leave_in_place(const mr__origin *origin, uint32_t partition)
{
    atomic_store_explicit(&origin->lane->epoch.in_place[partition], true, memory_order_relaxed);
}
