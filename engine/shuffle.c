/* shuffle.c: how pairs get from the worker that mapped them to the partition that owns them, while maps still run.
 *
 *   combine buffer --at its cap--> array buffer (a chunk per partition) --full--> exchange --+--> merge task: the
 *   no combine ------------------>                                                           |    partition's table
 *                                                                                            +--> spill, when the pool
 *                                                                                                 has no chunk left
 *
 * A combine buffer that never reached its cap takes no part in this: it stays where it is, in the order of the
 * partitions, and each reduce task reads its own stretch of every worker's buffer.
 *
 * Pipelined reduce: a worker that finds no map task, while others still map, merges what waits into the partitions'
 * tables. It never merges in place of mapping: measured on 1 GiB of Zipf text, two busy workers, merges first took
 * 4.4 s with --memory 384M and 4.5 s with 512M, against 2.9 s and 2.6 s for spilling what memory cannot hold (which
 * overlaps with mapping) and reducing afterwards, in one table that is warm. The first table that is full ends merging,
 * and where the tables' share is too small for it, it never begins. With MILLRACE_REDUCE=barrier no merge runs before
 * the last map: for comparison.
 *
 * Making room spills the partition with the most bytes waiting: the fewest, largest writes for the room gained.
 *
 * P1  A chunk is in exactly one place: a lane's array buffer, the exchange, or the hands of one task.
 * P2  A table is touched only by the task that claimed its partition. */
#include "sorter.h"

#include "memory.h"

enum { MERGE_AT_CHUNKS = 2, MERGE_AT_SHARE = 16, TABLE_LEAST = 1 << 20, SORT_AT_CHUNKS = 2, SORTED_SHARE = 2,
       KEPT_AT_ONCE = 4 << 20 };
/* From this value size on a sort costs nothing beside the copy that brings pairs into their order: reduce makes that
 * copy in any case, so it is not worth one more. */
enum { LARGE_VALUE = 4096 };

mr_status mr__lane_spill_writer(mr__lane *lane, mr__spill_writer **writer, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__job_spill(lane->job, error));
    if (lane->spill_writer == NULL)
        MR_TRY(mr__spill_writer_create(lane->job->spill, &lane->job->budget, &lane->spill_writer, error));
    *writer = lane->spill_writer;
done:
    return status;
}

/* So much waits for a partition that it is worth a task. */
static bool worth_merging(const mr__job *job, uint64_t waiting)
{
    if (job->ordered)
        return job->layout.value_size < LARGE_VALUE && waiting >= (uint64_t)job->pool.capacity * SORT_AT_CHUNKS;
    return job->combines && job->table_cap >= TABLE_LEAST &&
           !atomic_load_explicit(&job->tables_full, memory_order_relaxed) &&
           waiting >= (uint64_t)job->pool.capacity * MERGE_AT_CHUNKS &&
           mr__exchange_waiting_total(job->exchange) >= job->budget.limit / MERGE_AT_SHARE;
}

void mr__shuffle_waits(mr__job *job, uint32_t partition, uint64_t waiting)
{
    if (job->pipelined && worth_merging(job, waiting))
        mr__schedule_merge(&job->schedule, partition);
}

mr_status mr__shuffle_full(void *context, mr__chunk *chunk, mr__error *error)
{
    mr_status status = MR_OK;
    mr__lane *lane = context;
    mr__job *job = lane->job;
    const uint32_t partition = chunk->partition;
    uint64_t waiting;
    lane->epoch.bytes += chunk->size;
    if (job->joint != NULL) {
        const mr__origin origin = {lane, lane->epoch.chunk_from};
        MR_TRY(mr__outbox_put(mr__joint_outbox(job->joint), lane->epoch.number, chunk,
                              lane->epoch.copies ? &origin : NULL, &waiting, error));
        lane->epoch.chunk_from = lane->epoch.next;
    } else {
        waiting = mr__exchange_give(job->exchange, chunk);
    }
    mr__shuffle_waits(job, partition, waiting);
done:
    return status;
}

/* ---- spilling ---------------------------------------------------------------------------------------------------- */

mr_status mr__partition_note_extent(mr__partition *partition, const mr__extent *extent, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&partition->mutex);
    if (partition->extent_count == partition->extent_room) {
        const size_t room = partition->extent_room != 0 ? partition->extent_room * 2 : 16;
        mr__extent *extents = mr__realloc(partition->extents, room * sizeof *extents);
        MR_CHECK(extents != NULL, MR_NO_MEMORY, "no memory for the list of spilled extents");
        partition->extents = extents;
        partition->extent_room = room;
    }
    partition->extents[partition->extent_count++] = *extent;
done:
    pthread_mutex_unlock(&partition->mutex);
    return status;
}

/* Writes a list of chunks of one partition and releases them, also after a failure. */
static mr_status spill_chunks(mr__lane *lane, mr__chunk *chunks, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = lane->job;
    mr__spill_writer *writer;
    MR_TRY(mr__lane_spill_writer(lane, &writer, error));
    while (chunks != NULL) {
        mr__chunk *chunk = chunks;
        mr__extent extent;
        MR_TRY(mr__spill_write(writer, chunk->data, chunk->size, chunk->pairs, &extent, error));
        MR_TRY(mr__partition_note_extent(&job->partition[chunk->partition], &extent, error));
        chunks = chunk->next;
        mr__chunk_release(&job->pool, chunk);
    }
done:
    mr__chunk_release_all(&job->pool, chunks);
    return status;
}

mr_status mr__shuffle_need_room(void *context, mr__error *error)
{
    mr_status status = MR_OK;
    mr__lane *lane = context;
    mr__job *job = lane->job;
    const uint64_t start = mr__now_ns();
    uint32_t fullest = 0;
    uint64_t most = 0;
    for (uint32_t p = 0; p < job->partitions; p++) {
        const uint64_t waiting = mr__exchange_waiting(job->exchange, p);
        if (waiting > most) {
            most = waiting;
            fullest = p;
        }
    }
    const uint64_t kept = job->joint != NULL ? mr__outbox_kept(mr__joint_outbox(job->joint)) : 0;
    if (kept > most) {
        mr__spill_writer *writer;
        MR_TRY(mr__lane_spill_writer(lane, &writer, error));
        MR_TRY(mr__outbox_make_room(mr__joint_outbox(job->joint), writer, KEPT_AT_ONCE, &most, error));
    } else if (most > 0) {
        MR_TRY(spill_chunks(lane, mr__exchange_take(job->exchange, fullest), error));
    }
    if (most > 0)
        mr__trace_span(job->trace, lane->index, "spill", "spill", start, mr__now_ns(), "bytes", most);
done:
    return status;
}

/* ---- merging ----------------------------------------------------------------------------------------------------- */

mr_status mr__table_add(mr__combine_buffer *table, const uint8_t *at, const uint8_t *end, const uint8_t **stopped,
                        mr__error *error)
{
    mr_status status = MR_OK;
    const mr__pair_layout *layout = &table->layout;
    mr__staged staged[MR_BATCH];
    uint64_t hashes[MR_BATCH];
    const uint8_t *begins[MR_BATCH];
    _Alignas(16) uint8_t values[MR_BATCH * 64];     /* as the app's combine_with() may expect it */
    uint8_t *large = NULL;
    const uint32_t batch = layout->value_size <= 64 ? MR_BATCH : MR_BATCH * 64 / layout->value_size;
    if (batch == 0) {
        large = mr__alloc(layout->value_size);
        MR_CHECK(large != NULL, MR_NO_MEMORY, "no memory for a value of %u bytes", layout->value_size);
    }
    while (at < end) {
        uint32_t count = 0;
        if (batch == 0) {       /* values larger than the staging area: one at a time */
            mr__pair pair;
            begins[0] = at;
            at = mr__pair_read(layout, at, &pair);
            mr__stage_in_place(&staged[0], pair.key, pair.key_size);
            hashes[0] = mr__hash_staged(&staged[0], layout->key_suffix);
            memcpy(large, pair.value, layout->value_size);
            uint32_t accepted;
            MR_TRY(mr__combine_batch(table, staged, hashes, large, 1, &accepted, error));
            if (accepted == 0) {
                *stopped = begins[0];
                goto done;
            }
            continue;
        }
        for (; count < batch && at < end; count++) {
            mr__pair pair;
            begins[count] = at;
            at = mr__pair_read(layout, at, &pair);
            mr__stage_in_place(&staged[count], pair.key, pair.key_size);
            hashes[count] = mr__hash_staged(&staged[count], layout->key_suffix);
            memcpy(values + (size_t)count * layout->value_size, pair.value, layout->value_size);
        }
        uint32_t accepted;
        MR_TRY(mr__combine_batch(table, staged, hashes, values, count, &accepted, error));
        if (accepted < count) {
            *stopped = begins[accepted];
            goto done;
        }
    }
    *stopped = end;
done:
    mr__free(large);
    return status;
}

void mr__partition_table_init(mr__job *job, mr__combine_buffer *table, uint64_t cap)
{
    mr__combine_buffer_init(table, &job->layout, &job->rule, &job->budget, cap, true,
                            job->layout.key_suffix != 0 ? MR__PARTITION_BITS : job->partition_bits);
}

/* What of a chunk did not fit becomes a chunk of its own again: the pairs move to its front. */
static void keep_rest(const mr__pair_layout *layout, mr__chunk *chunk, const uint8_t *from)
{
    const uint32_t size = (uint32_t)(chunk->data + chunk->size - from);
    memmove(chunk->data, from, size);
    chunk->size = size;
    chunk->pairs = 0;
    for (const uint8_t *at = chunk->data; at < chunk->data + size; chunk->pairs++) {
        mr__pair pair;
        at = mr__pair_read(layout, at, &pair);
    }
}

static bool claim(mr__partition *partition)
{
    pthread_mutex_lock(&partition->mutex);
    const bool claimed = !partition->claimed;
    partition->claimed = true;
    pthread_mutex_unlock(&partition->mutex);
    return claimed;
}

static void unclaim(mr__partition *partition)
{
    pthread_mutex_lock(&partition->mutex);
    partition->claimed = false;
    pthread_mutex_unlock(&partition->mutex);
}

/* Into the partition's runs; in memory up to a share of it: what waits in chunks can be spilled when room is short, a
 * run in memory cannot. */
static mr_status merge_sorted(mr__job *job, mr__lane *lane, uint32_t index, mr__error *error)
{
    mr_status status = MR_OK;
    mr__partition *partition = &job->partition[index];
    mr__sorter sorter;
    const uint64_t waiting = mr__exchange_waiting(job->exchange, index);
    const bool spill = atomic_fetch_add_explicit(&job->sorted_bytes, waiting, memory_order_relaxed) + waiting >
                       job->budget.limit / SORTED_SHARE;
    if (spill)
        atomic_fetch_sub_explicit(&job->sorted_bytes, waiting, memory_order_relaxed);
    mr__sorter_init(&sorter, lane, mr__shuffle_order(job), job->reduce_cap);
    mr__sorter_adopt(&sorter, &partition->sorted);
    MR_TRY(mr__sorter_add_chunks(&sorter, mr__exchange_take(job->exchange, index), error));
    MR_TRY(mr__sorter_give(&sorter, spill, &partition->sorted, error));
done:
    mr__sorter_fini(&sorter);
    return status;
}

static mr_status merge_combined(mr__job *job, mr__lane *lane, uint32_t index, mr__error *error)
{
    mr_status status = MR_OK;
    mr__partition *partition = &job->partition[index];
    mr__chunk *chunks = mr__exchange_take(job->exchange, index);
    if (partition->table.budget == NULL)
        mr__partition_table_init(job, &partition->table, job->table_cap);
    while (chunks != NULL) {
        const uint8_t *stopped;
        MR_TRY(mr__table_add(&partition->table, chunks->data, chunks->data + chunks->size, &stopped, error));
        if (stopped < chunks->data + chunks->size) {
            atomic_store_explicit(&job->tables_full, true, memory_order_relaxed);
            keep_rest(&job->layout, chunks, stopped);
            status = spill_chunks(lane, chunks, error);
            chunks = NULL;
            if (status == MR_OK)    /* this lane may have had its flush task already */
                status = mr__spill_flush(lane->spill_writer, error);
            goto done;
        }
        mr__chunk *next = chunks->next;
        mr__chunk_release(&job->pool, chunks);
        chunks = next;
    }
done:
    mr__chunk_release_all(&job->pool, chunks);
    return status;
}

mr_status mr__merge_task(mr__task *task, mr__worker *worker, mr__error *error)
{
    mr__job *job = task->job;
    mr__partition *partition = &job->partition[task->partition];
    if (!claim(partition))
        return MR_OK;       /* whoever merges it now takes what waits */
    const mr_status status = job->ordered ? merge_sorted(job, worker->engine, task->partition, error)
                                          : merge_combined(job, worker->engine, task->partition, error);
    unclaim(partition);
    return status;
}

mr_status mr__flush_task(mr__task *task, mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = task->job;
    mr__lane *lane = &job->lanes[task->partition];      /* this worker's, or that of a device that is away */
    if (job->dense)
        return MR_OK;
    if (job->joint != NULL)
        return mr__epoch_close(lane, false, error);
    if (job->combines && job->layout.key_suffix != 0) {
        /* its slots are not in the order of partitions */
        MR_TRY(mr__lane_flush_combine(lane, error));
        mr__combine_buffer_clear(&lane->combine, false);
    }
    MR_TRY(mr__array_buffer_flush(&lane->array, error));
    if (lane->spill_writer != NULL)
        MR_TRY(mr__spill_flush(lane->spill_writer, error));
done:
    return status;
}
