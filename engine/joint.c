/* joint.c: what the ranks of a job say to each other, and what follows.
 *
 * The protocol runs on the courier's thread: all of its state is that thread's, and what workers have to tell it they
 * post to their own rank. What the job's own thread is to do next it finds in `next`.
 *
 *   views         ask --> accounts --> decide --> plan (members.c): at the beginning, and after each loss
 *                 (joint_view.c)
 *   in a view     map until nothing is left (joint_work.c), reduce what is owned, commit (joint_stage.c); a round of
 *                 dense keys ends with tables instead (joint_dense.c)
 *   the end       how everybody learns of it: joint_end.c
 *
 * J1  What is said for another view than the present one is not heard: whoever said it says it again.
 * J2  A work is this rank's (`own`) from GIVE on, unless GIVE comes between an account and its plan: the account was
 *     given without it, so it is to do again, and this rank does not do it.
 * J3  Nothing of a rank that is not in the view is heard (members.h).
 * J4  IDLE is said once a view: nothing new is to do until the next one.
 * J5  A share is reduced by one rank that lives.
 * J6  joint_spares.c. */
#include "joint_parts.h"

#include <time.h>

/* ---- saying ------------------------------------------------------------------------------------------------------ */

void mr__joint_post(mr__joint *joint, mr__path path, uint32_t to, enum mr__joint_kind kind, const void *bytes,
                    size_t size)
{
    mr__error error = {.text = ""};
    const mr_status status = mr__courier_post(joint->courier, path, to, joint->tag + kind, bytes, size, NULL, 0,
                                              &error);
    if (status != MR_OK)
        mr__joint_fail(joint, status, &error, false);
}

void mr__joint_post_all(mr__joint *joint, enum mr__joint_kind kind, const void *bytes, size_t size)
{
    for (uint32_t r = 0; r < joint->size; r++)
        mr__joint_post(joint, MR__CONTROL, r, kind, bytes, size);
}

static mr_status post_own(const mr__joint *joint, enum mr__joint_kind kind, mr__error *error)
{
    return mr__courier_post(joint->courier, MR__CONTROL, joint->rank, joint->tag + kind, NULL, 0, NULL, 0, error);
}

mr_status mr__joint_wants_work(mr__joint *joint, mr__error *error)
{
    return post_own(joint, MR__OWN_WANTS, error);
}

mr_status mr__joint_has_drained(mr__joint *joint, mr__error *error)
{
    return post_own(joint, MR__OWN_DRAINED, error);
}

/* With or without a view: to the job's own thread. */
void mr__joint_say(mr__joint *joint, mr__next next)
{
    pthread_mutex_lock(&joint->mutex);
    if (joint->next != MR__NEXT_FAILED && joint->next != MR__NEXT_COMMITTED)
        joint->next = next;
    pthread_cond_broadcast(&joint->changed);
    pthread_mutex_unlock(&joint->mutex);
}

void mr__joint_fail(mr__joint *joint, mr_status status, const mr__error *error, bool heard)
{
    pthread_mutex_lock(&joint->mutex);
    const bool first = joint->status == MR_OK && joint->next != MR__NEXT_COMMITTED && !joint->decides;  /* E4 */
    const bool runs = joint->runs;
    if (first) {
        joint->status = status;
        joint->error = *error;
        joint->error.code = status;
        joint->next = MR__NEXT_FAILED;
        joint->heard = heard;
    }
    pthread_cond_broadcast(&joint->changed);
    pthread_mutex_unlock(&joint->mutex);
    if (first && runs)
        mr__schedule_fail(&joint->job->schedule, status, error);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* Pairs wait for the first pass of this rank: before it has no place for them. */
static mr_status keep_early(mr__joint *joint, uint32_t from, uint32_t kind, const void *bytes, size_t size,
                            mr__error *error)
{
    mr_status status = MR_OK;
    mr__early *early = mr__alloc(sizeof *early + size);
    MR_CHECK(early != NULL, MR_NO_MEMORY, "no memory for what rank %u sent", from);
    *early = (mr__early){.from = from, .kind = kind, .size = size};
    memcpy(early->bytes, bytes, size);
    *joint->early_end = early;
    joint->early_end = &early->next;
done:
    return status;
}

static mr_status get_ready(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    if (joint->ready)
        return MR_OK;
    joint->ready = true;
    MR_TRY(mr__joint_assign(joint, error));
    for (mr__early *one = joint->early, *next; one != NULL; one = next) {
        next = one->next;
        joint->early = next;
        if (mr__members_has(joint->members, one->from))
            status = mr__inbox_message(joint->inbox, one->from, one->kind, one->bytes, one->size, error);
        mr__free(one);
        MR_TRY(status);
    }
done:
    return status;
}

/* All that may follow from works that came, or from room for them. The last one may have waited while "none" came: then
 * the schedule runs dry now. */
static mr_status move_works(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__joint_feed(joint, error));
    mr__joint_ask(joint);
    mr__joint_go_on(joint);
done:
    return status;
}

/* pass: MAPS or STANDS. */
static mr_status begin_pass(mr__joint *joint, enum mr__pass pass, mr__error *error)
{
    mr_status status = MR_OK;
    joint->pass = pass;
    pthread_mutex_lock(&joint->mutex);
    if (joint->next == MR__NEXT_AGAIN)
        joint->next = MR__NEXT_WAIT;
    pthread_mutex_unlock(&joint->mutex);
    MR_TRY(get_ready(joint, error));
    MR_TRY(move_works(joint, error));
done:
    return status;
}

static mr_status hear(mr__joint *joint, uint32_t from, uint32_t kind, const void *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t view = 0;
    mr__question question;
    mr__gift gift;
    mr__ended ended;
    if (size >= sizeof view)
        memcpy(&view, bytes, sizeof view);
    switch (kind) {
    case MR__MAIL_CHUNK:
    case MR__MAIL_END:
        MR_CHECK(!joint->job->dense, MR_NETWORK_FAILED, "rank %u sent pairs for dense keys", from);
        mr__joint_count_received(joint, from, size);
        return joint->ready ? mr__inbox_message(joint->inbox, from, kind, bytes, size, error)
                            : keep_early(joint, from, kind, bytes, size, error);
    case MR__MAIL_CREDIT:
    case MR__MAIL_CONFIRM:
        if (!joint->ready || joint->outbox == NULL)
            return MR_OK;
        return mr__outbox_message(joint->outbox, from, kind, bytes, size, error);
    case MR__SAY_ASK:
        MR_CHECK(size == sizeof question, MR_NETWORK_FAILED, "rank %u asked for work in %zu bytes", from, size);
        memcpy(&question, bytes, sizeof question);
        return mr__joint_give(joint, from, &question, error);
    case MR__SAY_GIVE:
        MR_CHECK(size == sizeof gift, MR_NETWORK_FAILED, "rank %u gave work in %zu bytes", from, size);
        memcpy(&gift, bytes, sizeof gift);
        return mr__joint_take_work(joint, &gift, error);
    case MR__SAY_IDLE:
        return mr__joint_hear_idle(joint, from, view, error);
    case MR__SAY_REDUCE:
        return mr__joint_begin_reduce(joint, view, error);
    case MR__SAY_DONE:
        return mr__joint_hear_done(joint, from, bytes, size, error);
    case MR__SAY_COMMITTED:
        mr__joint_hear_committed(joint, bytes, size);
        return MR_OK;
    case MR__SAY_WAITS:             /* for a view, which is under way: this rank is in the job, too */
        return MR_OK;
    case MR__SAY_TABLE:
        return mr__joint_table(joint, from, bytes, size, error);
    case MR__SAY_FOLDED:
        return mr__joint_folded(joint, from, bytes, size, error);
    case MR__SAY_TURN:
        return mr__joint_hear_turn(joint, bytes, size, error);
    case MR__SAY_MAPPED:
        pthread_mutex_lock(&joint->mutex);
        joint->mapped[from] = view;         /* a number of units, here */
        pthread_mutex_unlock(&joint->mutex);
        return MR_OK;
    case MR__OWN_ENTER:
        mr__members_propose(joint->members);
        return MR_OK;
    case MR__OWN_APPLIED:
        if (!mr__joint_is_steady(joint, view))
            return MR_OK;
        MR_TRY(move_works(joint, error));
        return mr__joint_resume(joint, error);
    case MR__OWN_PASS:
        return begin_pass(joint, MR__PASS_MAPS, error);
    case MR__OWN_STANDS:
        return begin_pass(joint, MR__PASS_STANDS, error);
    case MR__OWN_WANTS:
        return move_works(joint, error);
    case MR__OWN_DRAINED:
    case MR__OWN_CLEAR:
        mr__joint_go_on(joint);
        return MR_OK;
    case MR__OWN_ENDED:
        memcpy(&ended, bytes, sizeof ended);
        return mr__joint_end_pass(joint, ended.round, ended.final != 0, error);
    case MR__OWN_COMMITTED:
        mr__joint_commit(joint, bytes, size);
        return MR_OK;
    default:
        return mr__fail(error, MR_NETWORK_FAILED, "rank %u sent a message of kind %u, which this version does not know",
                        from, kind);
    }
done:
    return status;
}

void mr__joint_message(mr__joint *joint, uint32_t from, uint32_t kind, const void *bytes, size_t size)
{
    mr__error error = {.text = ""};
    if (kind == MR__SAY_FAILED) {
        if (mr__members_has(joint->members, from))
            mr__joint_hear_failure(joint, bytes, size);
        return;
    }
    if (kind == MR__SAY_TOLD) {         /* when the job is over, too: the record waits for it */
        if (mr__members_has(joint->members, from))
            mr__joint_told(joint, from, bytes, size);
        return;
    }
    if (mr__joint_answers_over(joint, from, kind) ||
        mr__members_message(joint->members, from, joint->tag + kind, bytes, size) ||
        !mr__members_has(joint->members, from))     /* J3 */
        return;
    const mr_status status = hear(joint, from, kind, bytes, size, &error);
    if (status != MR_OK)
        mr__joint_fail(joint, status, &error, false);
}

/* ---- the job's own thread ---------------------------------------------------------------------------------------- */

static mr_status mail_post(void *context, mr__path path, uint32_t to, uint32_t kind, const void *head, size_t head_size,
                           const void *bytes, size_t size, mr__error *error)
{
    mr__joint *joint = context;
    if (path == MR__BULK)
        mr__joint_count_sent(joint, to, head_size + size);
    return mr__courier_post(joint->courier, path, to, joint->tag + kind, head, head_size, bytes, size, error);
}

static size_t mail_pending(void *context, mr__path path, uint32_t to)
{
    return mr__courier_pending(((mr__joint *)context)->courier, path, to);
}

static void mail_clear(void *context)
{
    mr__joint *joint = context;
    mr__joint_post(joint, MR__CONTROL, joint->rank, MR__OWN_CLEAR, NULL, 0);
}

static void mail_failed(void *context, mr_status status, const mr__error *error)
{
    mr__joint_fail(context, status, error, false);
}

static void members_failed(void *context, mr_status status, const mr__error *error)
{
    mr__joint_fail(context, status, error, false);
}

mr__outbox *mr__joint_outbox(mr__joint *joint)
{
    return joint->outbox;
}

uint64_t mr__joint_mapped(mr__joint *joint)
{
    uint64_t mapped = 0;
    pthread_mutex_lock(&joint->mutex);
    for (uint32_t r = 0; r < joint->size; r++)
        mapped += joint->mapped[r];
    pthread_mutex_unlock(&joint->mutex);
    return mapped;
}

double mr__joint_commit_seconds(const mr__joint *joint)
{
    return (double)joint->commit_ns * 1e-9;
}

uint64_t mr__joint_rows(const mr__joint *joint)
{
    return joint->rows;
}

void mr__joint_fill_stats(mr__joint *joint, mr_stats *stats)
{
    pthread_mutex_lock(&joint->mutex);
    const mr__joint_sums total = joint->total;
    stats->ranks_lost = joint->lost;
    stats->spares = joint->size - joint->working;
    stats->spares_used = mr__joint_places_taken(joint);
    pthread_mutex_unlock(&joint->mutex);
    if (joint->job->dense)
        stats->rows = joint->rows;
    if (total.peak_rss_bytes == 0)      /* it did not come to that */
        return;
    stats->pairs = total.pairs;
    stats->keys = total.keys;
    stats->output_bytes = total.output_bytes;
    stats->spilled_bytes = total.spilled_bytes;
    if (!joint->job->dense)
        stats->rows = total.rows;
    if (total.peak_rss_bytes > stats->peak_rss_bytes)
        stats->peak_rss_bytes = total.peak_rss_bytes;
}

static mr_status make_joint(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = mr__alloc_zero(1, sizeof *joint);
    const mr__members_hooks hooks = {joint, mr__joint_account, mr__joint_decide, mr__joint_apply, members_failed};
    MR_CHECK(joint != NULL, MR_NO_MEMORY, "no memory for a job of many ranks");
    job->joint = joint;
    joint->job = job;
    joint->ranks = job->session->ranks;
    joint->courier = mr__ranks_courier(joint->ranks);
    joint->rank = mr__ranks_rank(joint->ranks);
    joint->size = mr__ranks_count(joint->ranks);
    joint->working = job->working;
    joint->early_end = &joint->early;
    joint->own.rank = joint->rank;
    pthread_mutex_init(&joint->mutex, NULL);
    pthread_cond_init(&joint->changed, NULL);
    joint->idle_in = mr__alloc_zero(joint->size, sizeof *joint->idle_in);
    joint->done_in = mr__alloc_zero(joint->size, sizeof *joint->done_in);
    joint->mapped = mr__alloc_zero(joint->size, sizeof *joint->mapped);
    joint->sums = mr__alloc_zero(joint->size, sizeof *joint->sums);
    MR_CHECK(joint->idle_in != NULL && joint->done_in != NULL && joint->mapped != NULL && joint->sums != NULL,
             MR_NO_MEMORY, "no memory for a job of %u ranks", joint->size);
    MR_TRY(mr__joint_tell_init(joint, error));
    MR_TRY(mr__joint_spares_init(joint, error));
    mr__near_measure(job, &joint->near);
    joint->mail = (mr__mail){joint, joint->rank, joint->size, mail_post, mail_pending, mail_clear, mail_failed};
    joint->tag = mr__ranks_next_tag(joint->ranks);
    MR_TRY(mr__members_create(joint->courier, joint->tag, &hooks, &joint->members, error));
done:
    return status;
}

void mr__joint_wait_a_little(mr__joint *joint)
{
    enum { CANCEL_MS = 50 };    /* a signal handler that cancels a job cannot wake anybody */
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += CANCEL_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_cond_timedwait(&joint->changed, &joint->mutex, &until);
}

mr_status mr__joint_open(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(make_joint(job, error));
    mr__joint *joint = job->joint;
    MR_TRY(mr__ranks_enter(joint->ranks, joint, error));
    pthread_mutex_lock(&joint->mutex);
    while (!joint->agreed && joint->status == MR_OK && !mr__cancelled(job))
        mr__joint_wait_a_little(joint);
    const mr_status heard = joint->status;
    pthread_mutex_unlock(&joint->mutex);
    MR_CHECK(heard == MR_OK, heard, "%s", joint->error.text);
    MR_CHECK(!mr__cancelled(job), MR_CANCELLED, "the job was cancelled; nothing was written");
    job->partitions = joint->partitions;
    job->parts = joint->parts;
    mr__job_divide(job);
    job->output = joint->output;
    joint->output = NULL;
done:
    return status;
}

/* If it is not there, whoever made it may have failed, and removed it: then that is what happened. */
static mr_status join_output(mr__job *job, mr__error *error)
{
    enum { LOOKS = 20 };
    mr_status status = MR_OK;
    mr__joint *joint = job->joint;
    mr__error unseen = {.text = ""};
    const mr_status joined = mr__output_join(job->session->names, job->request->output, job->request->force,
                                             joint->place, joint->rank, &job->output, &unseen);
    if (joined == MR_OK)
        return MR_OK;
    pthread_mutex_lock(&joint->mutex);
    for (int look = 0; look < LOOKS && joined == MR_BAD_INPUT && joint->status == MR_OK && !mr__cancelled(job); look++)
        mr__joint_wait_a_little(joint);
    const mr_status heard = joint->status;
    pthread_mutex_unlock(&joint->mutex);
    MR_CHECK(heard == MR_OK, heard, "%s", joint->error.text);
    MR_CHECK(false, joined, "%s", unseen.text);
done:
    return status;
}

mr_status mr__joint_prepare(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__joint *joint = job->joint;
    if (job->request->output != NULL && job->output == NULL)
        MR_TRY(join_output(job, error));
    if (job->dense)
        return MR_OK;
    MR_TRY(mr__outbox_create(job, &joint->mail, &joint->outbox, error));
    MR_TRY(mr__inbox_create(job, &joint->mail, &joint->inbox, error));
    MR_TRY(mr__carrier_start(job, &joint->mail, joint->outbox, joint->inbox, &joint->carrier, error));
done:
    return status;
}

void mr__joint_close(mr__joint *joint, mr_status status, const mr__error *error)
{
    mr__last_words words;
    if (joint == NULL)
        return;
    mr__joint_end(joint, status, error, &words);
    mr__carrier_stop(joint->carrier);
    mr__ranks_leave(joint->ranks, joint, &words);
    mr__outbox_destroy(joint->outbox);
    mr__inbox_destroy(joint->inbox);
    mr__members_destroy(joint->members);
    mr__ledger_destroy(joint->ledger);
    mr__account_fini(&joint->own);
    for (mr__early *one = joint->early, *next; one != NULL; one = next) {
        next = one->next;
        mr__free(one);
    }
    mr__joint_drop_fold(joint);
    mr__joint_tell_fini(joint);
    mr__output_close(joint->output);
    mr__free(joint->waiting.list);
    mr__free(joint->homes.list);
    mr__free(joint->groups);
    mr__free(joint->reduced);
    mr__free(joint->reduce_list);
    mr__free(joint->writer);
    mr__free(joint->idle_in);
    mr__free(joint->done_in);
    mr__free(joint->mapped);
    mr__free(joint->sums);
    mr__free(joint->place);
    mr__free(joint->folded);
    mr__free(joint->incoming.bytes);
    mr__free(joint->turns);
    mr__free(joint->mapped_works.list);
    mr__free(joint->winners);
    mr__free(joint->took_place);
    pthread_cond_destroy(&joint->changed);
    pthread_mutex_destroy(&joint->mutex);
    mr__free(joint);
}
