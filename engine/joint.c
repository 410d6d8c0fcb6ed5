/* joint.c: what the ranks of a job say to each other, and what follows.
 *
 * The protocol runs on the courier's thread: all of its state is that thread's, and what workers have to tell it they
 * post to their own rank. What the job's own thread is to do next it finds in `next`.
 *
 *   views     ask --> accounts --> decide --> plan       members.c: at the beginning, and after each loss (joint_view.c)
 *   in a view
 *     rank           ASK ----> coordinator   GIVE a work | GIVE none             while there is room in the schedule
 *     rank           IDLE ---> coordinator   mapped, flushed, sent and confirmed, and there is nothing to do
 *     coordinator    all IDLE: REDUCE ----> all
 *     rank           DONE ---> coordinator   what it owned is reduced
 *     coordinator    all DONE: commits, COMMITTED ----> all
 *   a round of dense keys ends with tables instead of DONE (joint_dense.c); with DONE goes TOLD (joint_tell.c).
 *
 *   a pass of a rank:   NONE --begin--> MAPS --REDUCE--> REDUCES --stages are over--> ENDED --DONE--> ...
 *                                        ^                                              |
 *                                        +---------- a new view: one more pass ---------+
 *
 * A loss while a rank maps changes what it is given and where its pairs go, nothing else. A loss afterwards gives it one
 * more pass: it maps what the lost took along, for what the lost owned, and reduces what it gained. What it has reduced
 * stays: everything of it had come before REDUCE was said.
 *
 * J1  What is said for another view than the present one is not heard: whoever said it says it again.
 * J2  A work is this rank's (`own`) from GIVE on, unless GIVE comes between an account and its plan: the account was
 *     given without it, so it is to do again, and this rank does not do it.
 * J3  Nothing of a rank that is not in the view is heard (members.h).
 * J4  IDLE is said once a view: nothing new is to do until the next one.
 * J5  A share is reduced by one rank that lives. */
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
    if (joint->next != MR__NEXT_FAILED && joint->next != MR__NEXT_COMMITTED) {
        joint->next = next;
        joint->view = joint->members != NULL ? mr__members_view(joint->members) : 0;
    }
    pthread_cond_broadcast(&joint->changed);
    pthread_mutex_unlock(&joint->mutex);
}

void mr__joint_fail(mr__joint *joint, mr_status status, const mr__error *error, bool heard)
{
    pthread_mutex_lock(&joint->mutex);
    const bool first = joint->status == MR_OK && joint->next != MR__NEXT_COMMITTED, runs = joint->runs;
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

/* ---- a rank asks for work ---------------------------------------------------------------------------------------- */

static mr_status ask(mr__joint *joint)
{
    const uint64_t view = mr__members_view(joint->members);
    if (joint->pass != MR__PASS_MAPS || joint->asked || joint->dry || !mr__joint_is_steady(joint, view))
        return MR_OK;
    joint->asked = true;
    mr__joint_post(joint, MR__CONTROL, mr__courier_lowest(joint->courier), MR__SAY_ASK, &view, sizeof view);
    return MR_OK;
}

typedef struct mr__gift {
    uint64_t view;
    mr__work work;
    uint32_t found;
} mr__gift;

/* On the coordinator. */
static mr_status give(mr__joint *joint, uint32_t to, uint64_t view, mr__error *error)
{
    mr_status status = MR_OK;
    mr__gift answer = {.view = view};
    bool found;
    if (!mr__joint_is_steady(joint, view) || !mr__joint_is_coordinator(joint))
        return MR_OK;
    MR_TRY(mr__ledger_give(joint->ledger, to, &answer.work, &found, error));
    answer.found = found;
    mr__joint_post(joint, MR__CONTROL, to, MR__SAY_GIVE, &answer, sizeof answer);
done:
    return status;
}

uint32_t mr__share_first(const mr__joint *joint, uint32_t share)
{
    return (uint32_t)((uint64_t)share * joint->job->partitions / joint->shares);
}

/* Into the schedule as many of the works that wait as fit what is left there. */
static mr_status feed(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    size_t fed = 0;
    bool added = true;
    if (joint->pass != MR__PASS_MAPS)
        return MR_OK;
    for (; fed < joint->waiting.count && added; fed += added) {
        const mr__work *work = &joint->waiting.list[fed];
        MR_TRY(mr__schedule_add(&joint->job->schedule, work->begin, work->end, mr__share_first(joint, work->first),
                                mr__share_first(joint, work->last), &added, error));
    }
    if (fed == 0)
        return MR_OK;
    joint->waiting.count -= fed;
    memmove(joint->waiting.list, joint->waiting.list + fed, joint->waiting.count * sizeof *joint->waiting.list);
done:
    return status;
}

static mr_status take_work(mr__joint *joint, const mr__gift *gift, mr__error *error)
{
    mr_status status = MR_OK;
    if (!mr__joint_is_steady(joint, gift->view))
        return MR_OK;           /* J2 */
    joint->asked = false;
    if (!gift->found) {
        joint->dry = true;
        mr__joint_go_on(joint);
        return MR_OK;
    }
    const mr__work *work = &gift->work;
    MR_CHECK(work->begin < work->end && work->end <= joint->job->schedule_total && work->first < work->last &&
                 work->last <= joint->shares, MR_NETWORK_FAILED, "this rank was given work outside of the input");
    mr__works own = {joint->own.works, joint->own.work_count, joint->own.work_count};
    MR_TRY(mr__works_push(&own, *work, error));
    joint->own.works = own.list;
    joint->own.work_count = own.count;
    joint->works_given++;
    MR_TRY(mr__works_push(&joint->waiting, *work, error));
    MR_TRY(feed(joint, error));
done:
    return status;
}

/* ---- and reports ------------------------------------------------------------------------------------------------- */

/* IDLE, as soon as it is true (J4). */
static void report_idle(mr__joint *joint)
{
    const uint64_t view = mr__members_view(joint->members);
    if (joint->pass != MR__PASS_MAPS || joint->idle || !joint->dry || joint->waiting.count > 0 ||
        !mr__joint_is_steady(joint, view) || !mr__schedule_is_drained(&joint->job->schedule) ||
        (joint->outbox != NULL && !mr__outbox_is_clear(joint->outbox)))
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

static mr_status hear_idle(mr__joint *joint, uint32_t from, uint64_t view, mr__error *error)
{
    mr_status status = MR_OK;
    if (!mr__joint_is_steady(joint, view) || !mr__joint_is_coordinator(joint))
        return MR_OK;
    joint->idle_in[from] = view;
    if (!all_said(joint, joint->idle_in, view))
        return MR_OK;
    MR_CHECK(mr__ledger_left(joint->ledger) == 0, MR_INTERNAL, "all ranks are idle, and there is work to do");
    mr__joint_post_all(joint, MR__SAY_REDUCE, &view, sizeof view);
done:
    return status;
}

/* The schedule closes, and reduces what this rank owns and has not reduced. */
static mr_status begin_reduce(mr__joint *joint, uint64_t view, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = joint->job;
    uint32_t count = 0;
    if (!mr__joint_is_steady(joint, view) || joint->pass != MR__PASS_MAPS)
        return MR_OK;
    if (!job->dense) {
        uint32_t *list = mr__arena_alloc(&job->arena, (joint->shares + 1) * sizeof *list, 4);
        MR_CHECK(list != NULL, MR_NO_MEMORY, "no memory for the list of %u parts", joint->shares);
        for (size_t g = 0; g < joint->group_count; g++)
            for (uint32_t s = joint->groups[g].first; s < joint->groups[g].last; s++)
                if (joint->groups[g].owner == joint->rank && !joint->reduced[s])
                    list[count++] = s;
        job->reduce_list = list;
        job->reduce_tasks = count;
    }
    if (job->dense) {
        mr__works copy = {.count = 0};
        for (size_t i = 0; i < joint->own.work_count; i++)
            MR_TRY(mr__works_push(&copy, joint->own.works[i], error));
        pthread_mutex_lock(&joint->mutex);
        mr__free(joint->mapped_works.list);
        joint->mapped_works = copy;
        joint->reduce_view = view;
        pthread_mutex_unlock(&joint->mutex);
    }
    joint->reduces = true;
    joint->pass = MR__PASS_REDUCES;
    mr__schedule_close(&job->schedule);
done:
    return status;
}

static mr__joint_sums sums_of(const mr__job *job)
{
    mr__joint_sums sums = {.keys = atomic_load(&job->keys), .output_bytes = atomic_load(&job->output_bytes),
                           .peak_rss_bytes = mr__peak_rss_bytes(),
                           .spilled_bytes = job->spill != NULL ? mr__spill_bytes(job->spill) : 0};
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

static mr_status hear_done(mr__joint *joint, uint32_t from, const uint8_t *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    mr__reading in = {bytes, bytes + size, false};
    const uint64_t view = mr__read_u64(&in);
    const void *sums = mr__read(&in, sizeof joint->sums[from]);
    if (!mr__joint_is_steady(joint, view) || !mr__joint_is_coordinator(joint))
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
static void resume(mr__joint *joint)
{
    if (joint->folds)
        mr__joint_send_folded(joint);
    joint->folds = false;
    if (joint->pass != MR__PASS_ENDED || joint->behind)
        return;
    if (joint->final)
        report_done(joint);
    else
        mr__joint_say(joint, MR__NEXT_AGAIN);
}

/* The job's own thread has done what it could in this pass. */
static void end_pass(mr__joint *joint, uint32_t round, bool final)
{
    if (joint->job->dense && round != joint->round)
        return;                 /* the round was folded meanwhile */
    joint->pass = MR__PASS_ENDED;
    joint->final = final;
    for (uint32_t i = 0; i < joint->job->reduce_tasks && !joint->job->dense; i++)
        joint->reduced[joint->job->reduce_list[i]] = true;
    if (mr__members_changing(joint->members))
        return;                 /* and then resume() */
    if (joint->reduces && !joint->job->dense)
        report_done(joint);
    else if (!joint->reduces)   /* a view was applied meanwhile */
        resume(joint);
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

static mr_status begin_pass(mr__joint *joint, mr__error *error)
{
    mr_status status = MR_OK;
    joint->pass = MR__PASS_MAPS;
    pthread_mutex_lock(&joint->mutex);
    if (joint->next == MR__NEXT_AGAIN)
        joint->next = MR__NEXT_WAIT;
    pthread_mutex_unlock(&joint->mutex);
    if (!joint->ready) {
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
    }
    MR_TRY(feed(joint, error));
    MR_TRY(ask(joint));
    mr__joint_go_on(joint);
done:
    return status;
}

static mr_status hear(mr__joint *joint, uint32_t from, uint32_t kind, const void *bytes, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t view = 0;
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
        return joint->outbox != NULL ? mr__outbox_message(joint->outbox, from, kind, bytes, size, error) : MR_OK;
    case MR__SAY_ASK:
        return give(joint, from, view, error);
    case MR__SAY_GIVE:
        MR_CHECK(size == sizeof gift, MR_NETWORK_FAILED, "rank %u gave work in %zu bytes", from, size);
        memcpy(&gift, bytes, sizeof gift);
        return take_work(joint, &gift, error);
    case MR__SAY_IDLE:
        return hear_idle(joint, from, view, error);
    case MR__SAY_REDUCE:
        return begin_reduce(joint, view, error);
    case MR__SAY_DONE:
        return hear_done(joint, from, bytes, size, error);
    case MR__SAY_COMMITTED:
        mr__joint_hear_committed(joint, bytes, size);
        return MR_OK;
    case MR__SAY_WAITS:             /* for a view, which is under way: this rank is in the job, too */
        return MR_OK;
    case MR__SAY_TABLE:
        return mr__joint_table(joint, from, bytes, size, error);
    case MR__SAY_FOLDED:
        return mr__joint_folded(joint, bytes, size, error);
    case MR__SAY_MAPPED:
        pthread_mutex_lock(&joint->mutex);
        joint->mapped[from] = view;         /* a number of units, here */
        pthread_mutex_unlock(&joint->mutex);
        return MR_OK;
    case MR__SAY_TOLD:
        mr__joint_told(joint, from, bytes, size);
        return MR_OK;
    case MR__OWN_ENTER:
        mr__members_propose(joint->members);
        return MR_OK;
    case MR__OWN_APPLIED:
        if (!mr__joint_is_steady(joint, view))
            return MR_OK;
        MR_TRY(feed(joint, error));
        MR_TRY(ask(joint));
        mr__joint_go_on(joint);
        resume(joint);
        return MR_OK;
    case MR__OWN_PASS:
        return begin_pass(joint, error);
    case MR__OWN_WANTS:
        MR_TRY(feed(joint, error));
        return ask(joint);
    case MR__OWN_DRAINED:
    case MR__OWN_CLEAR:
        mr__joint_go_on(joint);
        return MR_OK;
    case MR__OWN_ENDED:
        memcpy(&ended, bytes, sizeof ended);
        end_pass(joint, ended.round, ended.final != 0);
        return MR_OK;
    case MR__OWN_FOLDED:
        return mr__joint_is_steady(joint, view) ? mr__joint_share_fold(joint, error) : MR_OK;
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
    const mr__members_hooks hooks = {NULL, mr__joint_account, mr__joint_decide, mr__joint_apply, members_failed};
    mr__joint *joint = mr__alloc_zero(1, sizeof *joint);
    MR_CHECK(joint != NULL, MR_NO_MEMORY, "no memory for a job of many ranks");
    job->joint = joint;
    joint->job = job;
    joint->ranks = job->session->ranks;
    joint->courier = mr__ranks_courier(joint->ranks);
    joint->rank = mr__ranks_rank(joint->ranks);
    joint->size = mr__ranks_count(joint->ranks);
    joint->early_end = &joint->early;
    joint->own.rank = joint->rank;
    pthread_mutex_init(&joint->mutex, NULL);
    pthread_cond_init(&joint->changed, NULL);
    joint->idle_in = mr__alloc_zero(joint->size, sizeof *joint->idle_in);
    joint->done_in = mr__alloc_zero(joint->size, sizeof *joint->done_in);
    joint->mapped = mr__alloc_zero(joint->size, sizeof *joint->mapped);
    joint->sums = mr__alloc_zero(joint->size, sizeof *joint->sums);
    joint->tables = mr__alloc_zero(joint->size, sizeof *joint->tables);
    MR_CHECK(joint->idle_in != NULL && joint->done_in != NULL && joint->mapped != NULL && joint->sums != NULL &&
             joint->tables != NULL, MR_NO_MEMORY, "no memory for a job of %u ranks", joint->size);
    MR_TRY(mr__joint_tell_init(joint, error));
    joint->mail = (mr__mail){joint, joint->rank, joint->size, mail_post, mail_pending, mail_clear, mail_failed};
    joint->tag = mr__ranks_next_tag(joint->ranks);
    mr__members_hooks mine = hooks;
    mine.context = joint;
    MR_TRY(mr__members_create(joint->courier, joint->tag, &mine, &joint->members, error));
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
    mr__joint_drop_tables(joint);
    mr__joint_tell_fini(joint);
    mr__output_close(joint->output);
    mr__free(joint->waiting.list);
    mr__free(joint->groups);
    mr__free(joint->reduced);
    mr__free(joint->writer);
    mr__free(joint->idle_in);
    mr__free(joint->done_in);
    mr__free(joint->mapped);
    mr__free(joint->sums);
    mr__free(joint->tables);
    mr__free(joint->place);
    mr__free(joint->folded);
    mr__free(joint->fold);
    mr__free(joint->mapped_works.list);
    mr__free(joint->winners);
    pthread_cond_destroy(&joint->changed);
    pthread_mutex_destroy(&joint->mutex);
    mr__free(joint);
}
