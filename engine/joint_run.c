/* joint_run.c: a joint job on the job's own thread: it runs the team, and does what the protocol asks for in between.
 *
 *        +----------------------------- AGAIN ------------------------------+
 *        v                                                                  |
 *   run the team (map, reduce) --> [dense: send tables] --> ENDED --> wait -+-> SEND: the sums of its turns; wait
 *        ^                                                                  +-> FOLDED: round() --again--+
 *        |                                                                  |                            |
 *        +------------------------------------------------------------------|----------------------------+
 *                                                                           +-> COMMIT: [sort] commit, say so; wait
 *                                                                           +-> COMMITTED: over */
#include "joint_parts.h"

#include "sink.h"

/* owes: a pass, as soon as this rank does not stand by any more. */
static mr_status wait_next(mr__joint *joint, bool owes, mr__next *next, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&joint->mutex);
    while (joint->next == MR__NEXT_WAIT && !mr__cancelled(joint->job) && (!owes || joint->stands_by))
        mr__joint_wait_a_little(joint);
    *next = joint->next == MR__NEXT_WAIT && owes ? MR__NEXT_AGAIN : joint->next;
    if (joint->next != MR__NEXT_FAILED && joint->next != MR__NEXT_COMMITTED)
        joint->next = MR__NEXT_WAIT;
    const mr_status heard = joint->status;
    pthread_mutex_unlock(&joint->mutex);
    MR_CHECK(*next != MR__NEXT_FAILED, heard, "%s", joint->error.text);
    MR_CHECK(*next == MR__NEXT_COMMITTED || !mr__cancelled(joint->job), MR_CANCELLED,
             "the job was cancelled; nothing was written");
done:
    return status;
}

static void say_ended(mr__joint *joint, bool final)
{
    const mr__ended ended = {joint->round_here, final};
    mr__joint_post(joint, MR__CONTROL, joint->rank, MR__OWN_ENDED, &ended, sizeof ended);
}

/* Was it committed while this rank did something that no longer matters? */
static bool is_over(mr__joint *joint)
{
    pthread_mutex_lock(&joint->mutex);
    const bool over = joint->next == MR__NEXT_COMMITTED;
    pthread_mutex_unlock(&joint->mutex);
    return over;
}

static mr_status run_pass(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = job->joint;
    mr__error stopped = {.text = ""};
    mr__schedule_begin(&job->schedule, job->smallest_task, job->largest_task);
    pthread_mutex_lock(&joint->mutex);
    joint->runs = true;
    const mr_status failed = joint->status;
    pthread_mutex_unlock(&joint->mutex);
    MR_CHECK(failed == MR_OK, failed, "%s", joint->error.text);
    mr__joint_post(joint, MR__CONTROL, joint->rank, MR__OWN_PASS, NULL, 0);
    status = mr__job_run_team(job, &stopped);
    if (is_over(joint))
        return MR_OK;
    MR_CHECK(status == MR_OK, status, "%s", stopped.text);
    MR_TRY(mr__schedule_check(&job->schedule, error));
    if (job->dense)
        MR_TRY(mr__joint_send_tables(joint, error));
    say_ended(joint, false);
done:
    return status;
}

/* The round is folded: *again, or the job's dense result is final. */
static mr_status end_round(mr__job *job, bool *again, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t bytes = mr__dense_values(job) * 8;
    MR_TRY(mr__joint_share_folded(job->joint, error));
    MR_TRY(mr__joint_take_folded(job->joint, error));
    atomic_store(&job->round, ++job->stats.rounds);
    MR_TRY(mr__dense_round(job, job->stats.rounds - 1, again, error));
    mr__devices_next_round(job);
    atomic_store(&job->mapped, 0);
    for (uint32_t w = 0; w < job->worker_count && *again; w++) {
        job->lanes[w].rows = 0;
        if (job->dense_results == NULL && job->lanes[w].emitter.dense != NULL)
            memset(job->lanes[w].emitter.dense, 0, bytes);
    }
    mr__dense_forget(job);
    if (*again)
        goto done;
    if (job->output == NULL)        /* each rank keeps a copy */
        MR_TRY(mr__dense_result(job, &job->lanes[0], error));
    say_ended(job->joint, true);
done:
    return status;
}

static mr_status gather_attempts(const mr__joint *joint, const uint32_t *winners, mr__attempt **attempts,
                                 uint32_t *count, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__job *job = joint->job;
    const bool mine = job->dense || job->collect;       /* this rank wrote all of the parts just now */
    *count = job->parts;
    *attempts = mr__alloc_zero(*count, sizeof **attempts);
    MR_CHECK(*attempts != NULL, MR_NO_MEMORY, "no memory for %u parts", *count);
    for (uint32_t p = 0; p < *count; p++)
        (*attempts)[p] = (mr__attempt){p, mine ? joint->rank : winners[p]};
done:
    return status;
}

/* From here on the output alone tells how the job ended. */
static mr_status decide(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&joint->mutex);
    MR_CHECK(joint->status == MR_OK, joint->status, "%s", joint->error.text);
    joint->decides = true;
done:
    pthread_mutex_unlock(&joint->mutex);
    return status;
}

/* Everything is reduced. A loss meanwhile makes the others do what was lost once more; it does not matter to the
 * result, which is whole, nor to whoever commits after this rank: it finds that it was committed. */
static mr_status commit(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = job->joint;
    mr__attempt *attempts = NULL;
    uint32_t count = 0;
    bool before = false;
    const uint64_t start = mr__now_ns();
    pthread_mutex_lock(&joint->mutex);
    uint32_t *winners = joint->winners;
    joint->winners = NULL;
    mr__joint_sums total = joint->total;
    pthread_mutex_unlock(&joint->mutex);
    if (job->dense && job->output != NULL)
        MR_TRY(mr__dense_result(job, &job->lanes[0], error));
    if (job->sorts && job->output != NULL)
        MR_TRY(mr__joint_sort(job, winners, error));
    if (job->dense)
        total.keys = atomic_load(&job->keys);
    if (job->dense || job->sorts)
        total.output_bytes = atomic_load(&job->output_bytes);
    if (job->output != NULL)
        MR_TRY(gather_attempts(joint, winners, &attempts, &count, error));
    MR_TRY(decide(joint, error));
    if (job->output != NULL)
        status = mr__output_commit_shared(job->output, attempts, count, &before, error);
    pthread_mutex_lock(&joint->mutex);
    joint->decides = joint->committed = status == MR_OK;
    joint->total = total;
    pthread_mutex_unlock(&joint->mutex);
    MR_TRY(status);
    joint->commit_ns = mr__now_ns() - start;
    mr__trace_span(job->trace, job->worker_count, "commit", "stage", start, start + joint->commit_ns, NULL, 0);
    /* without memory for this, the next tick sees it */
    mr__joint_post(joint, MR__CONTROL, joint->rank, MR__OWN_COMMITTED, &total, sizeof total);
done:
    mr__free(winners);
    mr__free(attempts);
    return status;
}

mr_status mr__joint_run(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = job->joint;
    mr__next next = MR__NEXT_AGAIN;
    bool owes = false;          /* a pass: it stands by */
    while (next != MR__NEXT_COMMITTED) {
        bool again = next == MR__NEXT_AGAIN;
        owes &= next != MR__NEXT_FOLDED;        /* it was of the round that is over */
        if (next == MR__NEXT_SEND)
            MR_TRY(mr__joint_take_turns(joint, error));
        else if (next == MR__NEXT_FOLDED)
            MR_TRY(end_round(job, &again, error));
        else if (next == MR__NEXT_COMMIT && !joint->committed)  /* all are done again if one is lost just then */
            MR_TRY(commit(job, error));
        const bool runs = (again || owes) && !mr__joint_stands_by(joint);
        owes = (again || owes) && !runs;
        if (runs)
            MR_TRY(run_pass(job, error));
        else if (again)
            mr__joint_post(joint, MR__CONTROL, joint->rank, MR__OWN_STANDS, NULL, 0);
        MR_TRY(wait_next(joint, owes, &next, error));
    }
    if (!job->dense)
        job->stats.rounds = 1;
done:
    if (status != MR_OK && mr__joint_was_shown(joint)) {        /* E5 */
        mr__error_clear(error);
        status = MR_OK;
    }
    return status;
}
