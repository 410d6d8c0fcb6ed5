/* joint_stage.c: from the last work to the commit.
 *
 *   in a view
 *     rank           IDLE ---> coordinator   mapped, flushed, sent and confirmed, and there is nothing to do
 *     coordinator    all IDLE: REDUCE ----> all
 *     rank           DONE ---> coordinator   what it owned is reduced; with it goes TOLD (joint_tell.c)
 *     coordinator    all DONE: commits, COMMITTED ----> all
 *
 *   a pass of a rank:   NONE --begin--> MAPS --REDUCE--> REDUCES --stages are over--> ENDED --DONE--> ...
 *                         |              ^ ^                                            |
 *                         |              | +-------- a new view: one more pass ---------+
 *                         +-a spare-> STANDS --REDUCE, DONE--> ...           (joint_spares.c)
 *
 * A loss while a rank maps changes what it is given and where its pairs go, nothing else. A loss afterwards gives it
 * one more pass: it maps what the lost took along, for what the lost owned, and reduces what it gained. What it has
 * reduced stays: everything of it had come before REDUCE was said. */
#include "joint_parts.h"

/* IDLE, as soon as it is true (J4). */
static void report_idle(mr__joint *joint)
{
    const uint64_t view = mr__members_view(joint->members);
    const bool stands = joint->pass == MR__PASS_STANDS && mr__joint_is_waiting(joint, joint->rank) && !joint->behind;
    if (joint->idle || !mr__joint_is_steady(joint, view))
        return;
    if (!stands && (joint->pass != MR__PASS_MAPS || !joint->dry || joint->waiting.count > 0 ||
                    !mr__schedule_is_drained(&joint->job->schedule) ||
                    (joint->outbox != NULL && !mr__outbox_is_clear(joint->outbox))))
        return;
    joint->idle = true;
    mr__joint_post(joint, MR__CONTROL, mr__courier_lowest(joint->courier), MR__SAY_IDLE, &view, sizeof view);
}

void mr__joint_go_on(mr__joint *joint)
{
    if (joint->dry && joint->waiting.count == 0 && joint->pass == MR__PASS_MAPS)
        mr__schedule_run_dry(&joint->job->schedule);
    report_idle(joint);
}

static bool all_said(const mr__joint *joint, const uint64_t *said, uint64_t view)
{
    for (uint32_t r = 0; r < joint->size; r++)
        if (mr__members_has(joint->members, r) && said[r] != view)
            return false;
    return true;
}

mr_status mr__joint_hear_idle(mr__joint *joint, uint32_t from, uint64_t view, mr__error *error)
{
    mr_status status = MR_OK;
    if (!mr__joint_is_steady(joint, view) || !mr__joint_decided(joint))
        return MR_OK;
    joint->idle_in[from] = view;
    if (!all_said(joint, joint->idle_in, view))
        return MR_OK;
    MR_CHECK(mr__ledger_left(joint->ledger) == 0, MR_INTERNAL, "all ranks are idle, and there is work to do");
    mr__joint_post_all(joint, MR__SAY_REDUCE, &view, sizeof view);
done:
    return status;
}

static mr__joint_sums sums_of(const mr__job *job)
{
    mr__joint_sums sums = {.keys = atomic_load(&job->keys), .output_bytes = atomic_load(&job->output_bytes),
                           .peak_rss_bytes = mr__peak_rss_bytes(),
                           .spilled_bytes = mr__job_spilled(job)};
    for (uint32_t w = 0; w < job->worker_count; w++) {
        sums.pairs += job->lanes[w].pairs;
        sums.rows += job->lanes[w].rows;
    }
    return sums;
}

static void report_done(mr__joint *joint)
{
    mr__writing to = {.size = 0};
    const mr__joint_sums sums = sums_of(joint->job);
    mr__error error = {.text = ""};
    mr__joint_tell(joint);
    mr__write_u64(&to, mr__members_view(joint->members));
    mr__write(&to, &sums, sizeof sums);
    for (uint32_t s = 0; s < joint->shares; s++)
        if (joint->reduced[s])
            mr__write_u32(&to, s);
    if (to.broken)
        mr__joint_fail(joint, mr__fail(&error, MR_NO_MEMORY, "no memory for a report"), &error, false);
    else
        mr__joint_post(joint, MR__CONTROL, mr__courier_lowest(joint->courier), MR__SAY_DONE, to.bytes, to.size);
    mr__free(to.bytes);
}

/* The schedule closes, and reduces what this rank owns and has not reduced. */
mr_status mr__joint_begin_reduce(mr__joint *joint, uint64_t view, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = joint->job;
    mr__works copy = {.count = 0};
    uint32_t count = 0;
    if (!mr__joint_is_steady(joint, view))
        return MR_OK;
    if (joint->pass == MR__PASS_STANDS && joint->idle) {
        joint->reduces = true;
        if (!job->dense)
            report_done(joint);
        return MR_OK;
    }
    if (joint->pass != MR__PASS_MAPS)
        return MR_OK;
    for (size_t g = 0; g < joint->group_count && !job->dense; g++)
        for (uint32_t s = joint->groups[g].first; s < joint->groups[g].last; s++)
            if (joint->groups[g].owner == joint->rank && !joint->reduced[s])
                joint->reduce_list[count++] = s;
    if (job->dense) {
        for (size_t i = 0; i < joint->own.work_count; i++)
            MR_TRY(mr__works_push(&copy, joint->own.works[i], error));
        pthread_mutex_lock(&joint->mutex);
        mr__free(joint->mapped_works.list);
        joint->mapped_works = copy;
        copy = (mr__works){.count = 0};
        joint->reduce_view = view;
        pthread_mutex_unlock(&joint->mutex);
    }
    joint->reduces = true;
    joint->pass = MR__PASS_REDUCES;
    if (!job->dense)
        mr__schedule_choose(&job->schedule, joint->reduce_list, count);
    mr__schedule_close(&job->schedule);
done:
    mr__free(copy.list);
    return status;
}

static mr__joint_sums add_sums(const mr__joint *joint)
{
    mr__joint_sums total = {0};
    for (uint32_t r = 0; r < joint->size; r++) {
        const mr__joint_sums *sums = &joint->sums[r];
        total.pairs += sums->pairs;
        total.rows += sums->rows;
        total.keys += sums->keys;
        total.output_bytes += sums->output_bytes;
        total.spilled_bytes += sums->spilled_bytes;
        if (sums->peak_rss_bytes > total.peak_rss_bytes)
            total.peak_rss_bytes = sums->peak_rss_bytes;
    }
    return total;
}

/* For the job's own thread: a loss while it commits changes what this one knows. */
static mr_status keep_winners(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t *winners = mr__alloc(joint->shares * sizeof *winners);
    MR_CHECK(winners != NULL, MR_NO_MEMORY, "no memory for %u parts", joint->shares);
    memcpy(winners, joint->writer, joint->shares * sizeof *winners);
    pthread_mutex_lock(&joint->mutex);
    mr__free(joint->winners);
    joint->winners = winners;
    joint->total = add_sums(joint);
    pthread_mutex_unlock(&joint->mutex);
done:
    return status;
}

mr_status mr__joint_hear_done(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__reading in = {bytes, bytes + size, false};
    const uint64_t view = mr__read_u64(&in);
    const void *sums = mr__read(&in, sizeof joint->sums[from]);
    if (!mr__joint_is_steady(joint, view) || !mr__joint_decided(joint))
        return MR_OK;
    MR_CHECK(sums != NULL, MR_NETWORK_FAILED, "rank %u sent a report of %zu bytes", from, size);
    memcpy(&joint->sums[from], sums, sizeof joint->sums[from]);
    while (in.at < in.end && !in.broken) {
        const uint32_t share = mr__read_u32(&in);
        MR_CHECK(!in.broken && share < joint->shares, MR_NETWORK_FAILED, "rank %u says that it wrote part %u", from,
                 share);
        joint->writer[share] = from;
    }
    joint->done_in[from] = view;
    if (all_said(joint, joint->done_in, view)) {
        for (uint32_t s = 0; s < joint->shares && !joint->job->dense; s++)
            MR_CHECK(joint->writer[s] < joint->size && joint->done_in[joint->writer[s]] == view, MR_INTERNAL,
                     "all ranks are done, and nobody wrote part %u", s);     /* J5 */
        MR_TRY(keep_winners(joint, error));
        mr__joint_say(joint, MR__NEXT_COMMIT);
    }
done:
    return status;
}

/* In a view that is new to a rank that had done all it could. */
mr_status mr__joint_resume(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    if (joint->folds)
        MR_TRY(mr__joint_send_folded(joint, false, error));
    joint->folds = false;
    if (joint->pass != MR__PASS_ENDED || joint->behind)
        return MR_OK;
    if (joint->final)
        report_done(joint);
    else
        mr__joint_say(joint, MR__NEXT_AGAIN);
done:
    return status;
}

/* The job's own thread has done what it could in this pass. */
mr_status mr__joint_end_pass(mr__joint *joint, uint32_t round, bool final, mr__error *error)
{
    if (joint->job->dense && round != joint->round)
        return MR_OK;           /* the round was folded meanwhile */
    joint->pass = MR__PASS_ENDED;
    joint->final = final;
    for (uint32_t i = 0; i < joint->job->reduce_tasks && !joint->job->dense; i++)
        joint->reduced[joint->job->reduce_list[i]] = true;
    if (mr__members_changing(joint->members))
        return MR_OK;           /* and then mr__joint_resume() */
    if (joint->reduces && !joint->job->dense)
        report_done(joint);
    return joint->reduces ? MR_OK : mr__joint_resume(joint, error);     /* a view was applied meanwhile */
}
