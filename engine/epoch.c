/* epoch.c: the unit in which pairs of one of many ranks count, or do not.
 *
 *   task -> task -> task -> [buffers emptied, END] -> task -> ...        a lane of one worker
 *   '------ epoch 7 ------'                           '- epoch 8 -
 *
 * A combine buffer mixes the pairs of many tasks, so none of these counts anywhere before all have left: an epoch is
 * what a lane mapped between two whole flushes (DESIGN 8). Each lane has epochs of its own: no worker waits for
 * another. One ends when
 *   - the next task is for other partitions than those before (after a loss, some input is mapped again for some)
 *   - much has left in it: an owner holds an epoch apart until it is whole, and can merge nothing of it until then
 *   - there is nothing to map for now (the flush task)
 *
 * What is in place. Pairs of the rank's own partitions need not leave: they live and die with the rank that mapped
 * them. After the flush task they stay in the combine buffer, and a reduce task reads its stretch of it, as on one rank
 * (shuffle.c). What the buffer has for others is there, too, but it has left: `in_place` says which partitions count.
 * (Two ranks, 1 GiB of Zipf text, 3.5 million keys a lane: the flush took 90 to 160 ms instead of 200 to 365.)
 *
 * What has left is copied, and the copy is not kept: should it be wanted again, because its new owner is lost, it is
 * copied again from the buffer (outbox_table.c). And if this rank becomes the owner it is in place already.
 * Should the lane map once more, what is in place goes to the exchange first, what has left to chunks of the outbox,
 * and the buffer begins empty.
 *
 * E1  Every task whose pairs were taken while an epoch was open is in its input, and its pairs are in the buffers of
 *     the lane or have left in chunks of this epoch.
 * E2  Nothing for partitions outside [first, last) leaves.
 * E3  A partition is in place only if this rank owns it (what a rank owns stays its own), and then all pairs that the
 *     buffer has of it are nowhere else. */
#include "internal.h"

#include "memory.h"

enum { EPOCH_BYTES = 32 << 20 };

static bool stays_in_place(const mr__job *job)
{
    /* the slots of its combine buffers lie in the order of partitions */
    return job->combines && !job->by_range && job->layout.key_suffix == 0;
}

static mr_status flush_partition(mr__lane *lane, uint32_t partition, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t bits = lane->job->partition_bits;
    mr__cell_cursor cursor = mr__combine_buffer_partition(&lane->combine, partition, bits);
    mr__pair pair;
    lane->epoch.chunk_from = lane->epoch.next = cursor;
    for (; mr__combine_buffer_next_of(&lane->combine, &cursor, &pair); lane->epoch.next = cursor)
        MR_TRY(mr__array_append(&lane->array, partition, &pair, error));
done:
    return status;
}

/* The chunks say where their pairs are still; so those that left the buffer before must not be among them. */
static mr_status copy_partition(mr__lane *lane, uint32_t partition, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__array_buffer_close(&lane->array, partition, error));
    lane->epoch.copies = true;
    MR_TRY(flush_partition(lane, partition, error));
    MR_TRY(mr__array_buffer_close(&lane->array, partition, error));
done:
    lane->epoch.copies = false;
    return status;
}

/* What others own leaves, what is this rank's own stays. */
static mr_status flush_foreign(mr__lane *lane, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = lane->job;
    struct mr__lane_epoch *epoch = &lane->epoch;
    const uint64_t start = mr__now_ns();
    if (epoch->in_place == NULL)
        epoch->in_place = mr__alloc_zero(job->partitions, sizeof *epoch->in_place);
    MR_CHECK(epoch->in_place != NULL, MR_NO_MEMORY, "no memory for %u partitions", job->partitions);
    epoch->kept = true;
    for (uint32_t p = epoch->first; p < epoch->last && lane->combine.used > 0; p++) {
        const bool own = mr__outbox_has(mr__joint_outbox(job->joint), p);
        atomic_store_explicit(&epoch->in_place[p], own, memory_order_relaxed);
        if (!own)
            MR_TRY(copy_partition(lane, p, error));
    }
    mr__trace_span(job->trace, lane->index, "flush table", "shuffle", start, mr__now_ns(), "keys", lane->combine.used);
done:
    return status;
}

/* The lane maps again. */
static mr_status move_kept(mr__lane *lane, mr__error *error)
{
    mr_status status = MR_OK;
    struct mr__lane_epoch *epoch = &lane->epoch;
    mr__job *job = lane->job;
    for (uint32_t p = 0; p < job->partitions && lane->combine.used > 0; p++) {
        MR_TRY(mr__outbox_take_out(mr__joint_outbox(job->joint), lane, p, error));
        if (mr__budget_left(&job->budget) == 0)
            MR_TRY(mr__shuffle_need_room(lane, error));
        if (atomic_exchange_explicit(&epoch->in_place[p], false, memory_order_relaxed))
            MR_TRY(flush_partition(lane, p, error));
    }
    mr__combine_buffer_clear(&lane->combine, true);
    epoch->kept = false;
done:
    return status;
}

mr_status mr__epoch_close(mr__lane *lane, bool maps_on, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = lane->job;
    if (!lane->epoch.open)
        return MR_OK;
    if (job->combines && stays_in_place(job) && !maps_on) {
        MR_TRY(flush_foreign(lane, error));
    } else if (job->combines) {
        MR_TRY(mr__lane_flush_combine(lane, error));
        mr__combine_buffer_clear(&lane->combine, true);
    }
    MR_TRY(mr__array_buffer_flush(&lane->array, error));
    if (lane->spill_writer != NULL)
        MR_TRY(mr__spill_flush(lane->spill_writer, error));
    const mr__mapped mapped = {&lane->epoch.input, lane->epoch.first, lane->epoch.last, lane->epoch.ns};
    MR_TRY(mr__outbox_close(mr__joint_outbox(job->joint), lane->epoch.number, &mapped, error));
    mr__cover_fini(&lane->epoch.input);
    lane->epoch.open = false;
done:
    return status;
}

/* What is mapped only to be looked at leaves no pairs. */
static bool is_a_trial(const mr__lane *lane)
{
    return lane->sampling || lane->fingerprint != NULL;
}

mr_status mr__epoch_begin_task(mr__lane *lane, const mr__task *task, mr__error *error)
{
    mr_status status = MR_OK;
    struct mr__lane_epoch *epoch = &lane->epoch;
    if (lane->job->joint == NULL || lane->job->dense || is_a_trial(lane))
        return MR_OK;
    if (epoch->open && (epoch->first != task->first || epoch->last != task->last || epoch->bytes >= EPOCH_BYTES))
        MR_TRY(mr__epoch_close(lane, true, error));
    epoch->began_ns = mr__thread_ns();
    if (epoch->open)
        return MR_OK;
    epoch->number = mr__outbox_begin(mr__joint_outbox(lane->job->joint));
    epoch->open = true;
    epoch->bytes = 0;
    if (epoch->kept)
        MR_TRY(move_kept(lane, error));
    epoch->first = task->first;
    epoch->last = task->last;
    epoch->ns = 0;
done:
    return status;
}

mr_status mr__epoch_end_task(mr__lane *lane, const mr__task *task, mr__error *error)
{
    if (!lane->epoch.open || is_a_trial(lane))
        return MR_OK;
    lane->epoch.ns += mr__thread_ns() - lane->epoch.began_ns;
    return mr__cover_add(&lane->epoch.input, task->begin, task->end, error);
}
