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
 * E1  Every task whose pairs were taken while an epoch was open is in its input, and its pairs are in the buffers of
 *     the lane or have left in chunks of this epoch.
 * E2  Nothing for partitions outside [first, last) leaves. */
#include "internal.h"

enum { EPOCH_BYTES = 32 << 20 };

mr_status mr__epoch_close(mr__lane *lane, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = lane->job;
    if (!lane->epoch.open)
        return MR_OK;
    if (job->combines) {
        MR_TRY(mr__lane_flush_combine(lane, error));
        mr__combine_buffer_clear(&lane->combine, true);
    }
    MR_TRY(mr__array_buffer_flush(&lane->array, error));
    if (lane->spill_writer != NULL)
        MR_TRY(mr__spill_flush(lane->spill_writer, error));
    MR_TRY(mr__outbox_close(mr__joint_outbox(job->joint), lane->epoch.number, &lane->epoch.input, lane->epoch.first,
                            lane->epoch.last, error));
    mr__cover_fini(&lane->epoch.input);
    lane->epoch.open = false;
done:
    return status;
}

mr_status mr__epoch_begin_task(mr__lane *lane, const mr__task *task, mr__error *error)
{
    mr_status status = MR_OK;
    struct mr__lane_epoch *epoch = &lane->epoch;
    if (lane->job->joint == NULL || lane->job->dense || lane->sampling)
        return MR_OK;
    if (epoch->open && (epoch->first != task->first || epoch->last != task->last || epoch->bytes >= EPOCH_BYTES))
        MR_TRY(mr__epoch_close(lane, error));
    if (!epoch->open) {
        epoch->open = true;
        epoch->bytes = 0;
        epoch->first = task->first;
        epoch->last = task->last;
        epoch->number = mr__outbox_begin(mr__joint_outbox(lane->job->joint));
    }
done:
    return status;
}

mr_status mr__epoch_end_task(mr__lane *lane, const mr__task *task, mr__error *error)
{
    if (!lane->epoch.open || lane->sampling)
        return MR_OK;
    return mr__cover_add(&lane->epoch.input, task->begin, task->end, error);
}
