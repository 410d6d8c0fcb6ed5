/* schedule.c: the states of a job's stages.
 *
 *          something is left         closed, no task in flight, all parts done          all parts done
 *   MAP ---------------------> MAP   no worker dirty       REDUCE ------------> SORT* ----------------> END
 *    |  map; else flush; else    ------------------------>
 *    |  merge while others map                                            * only when the output is sorted
 *   any --a task failed, or the job was cancelled--> END
 *
 * Pulled, never pushed: a worker asks when it is free, so a slow one takes less; how much it gets is schedule_size.c's.
 * Devices only map; while there are CPU workers, those do the rest.
 * What a device gives back (it was lost, or the task does not fit it) goes to whoever pulls next; a task that does not
 * fit devices, to a CPU worker.
 *
 * Why FLUSH is a task: a worker's combine buffer is its own, only its thread may empty it. Whoever finds no map task
 * flushes at once (it will not map again) and then merges what came so far, as long as somebody else maps: a file that
 * cannot be cut, a slow core. Once nobody maps, the reduce tasks do the rest as well.
 * One of many ranks that has nothing left to map waits for the others, and for the last pairs. If that is short, a
 * merge makes it longer: it takes the cores of those who carry the pairs, and is itself long. So nothing is merged
 * before it has waited for 1 / PATIENCE of what the stage has lasted. (Sort of 2 GiB on 4 ranks and 2 cores, medians of
 * 5 in turn: the map stage 3.15 s without this rule and 2.56 with it, the job 4.55 and 4.29.)
 *
 * S1  What is left is handed out once: a task's range leaves it when the task is cut.
 * S2  A stage ends only when no task is in flight; MAP also needs that its input was closed, no worker is dirty and no
 *     task was given back.
 * S3  A partition is in the ring of merges at most once.
 * S4  Map tasks in flight are tasks in flight.
 * S5  There is room for every task that devices have, should they give it back: with none left, a device takes no new
 *     one until a CPU worker has taken what does not fit devices.
 * S6  While another worker flushes a device's buffers, that device maps nothing into them: a range may come then, from
 *     a rank that is lost. */
#include "schedule_parts.h"

#include "clock.h"
#include "memory.h"

enum { RETURNED_SPARE = 64, PATIENCE = 8 };
static const uint64_t NEVER = UINT64_MAX;

const char *mr__stage_name(enum mr__stage stage)
{
    static const char *const names[MR__STAGES] = {"map", "reduce", "sort", "commit"};
    return names[stage];
}

mr_status mr__schedule_init(mr__schedule *schedule, struct mr__job *job, uint32_t workers, uint32_t cpu_workers,
                            uint32_t depth, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_condattr_t attributes;
    *schedule = (mr__schedule){.job = job, .workers = workers, .cpu_workers = cpu_workers, .first_device = cpu_workers,
                               .device_depth = depth, .stage = MR__STAGE_END};
    if (workers > cpu_workers)
        schedule->returned_room = (workers - cpu_workers) * depth + RETURNED_SPARE;
    pthread_mutex_init(&schedule->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&schedule->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    schedule->dirty = mr__alloc_zero(workers, sizeof *schedule->dirty);
    schedule->lent = mr__alloc_zero(workers, sizeof *schedule->lent);
    schedule->merges = mr__alloc_zero(job->partitions, sizeof *schedule->merges);
    schedule->rate = mr__alloc_zero(workers, sizeof *schedule->rate);
    schedule->pace = mr__alloc_zero(workers, sizeof *schedule->pace);
    schedule->last_done_ns = mr__alloc_zero(workers, sizeof *schedule->last_done_ns);
    schedule->away = mr__alloc_zero(workers, sizeof *schedule->away);
    MR_CHECK(schedule->dirty != NULL && schedule->lent != NULL && schedule->merges != NULL && schedule->rate != NULL &&
             schedule->pace != NULL && schedule->away != NULL && schedule->last_done_ns != NULL, MR_NO_MEMORY,
             "no memory for the schedule");
    if (schedule->returned_room > 0) {
        schedule->returned = mr__alloc_zero(schedule->returned_room, sizeof *schedule->returned);
        MR_CHECK(schedule->returned != NULL, MR_NO_MEMORY, "no memory for the schedule");
    }
done:
    return status;
}

void mr__schedule_fini(mr__schedule *schedule)
{
    if (schedule->job == NULL)
        return;
    mr__free(schedule->dirty);
    mr__free(schedule->lent);
    mr__free(schedule->merges);
    mr__free(schedule->rate);
    mr__free(schedule->pace);
    mr__free(schedule->last_done_ns);
    mr__free(schedule->away);
    mr__free(schedule->returned);
    mr__cover_fini(&schedule->left);
    pthread_cond_destroy(&schedule->changed);
    pthread_mutex_destroy(&schedule->mutex);
    schedule->job = NULL;
}

/* CPU workers wait in pull, devices in poll. */
static void wake_all(mr__schedule *schedule)
{
    pthread_cond_broadcast(&schedule->changed);
    mr__devices_wake(schedule->job);
}

static void enter(mr__schedule *schedule, enum mr__stage stage)
{
    const uint64_t now = mr__now_ns();
    if (schedule->stage != stage)
        schedule->finished_ns[schedule->stage] = now;
    schedule->stage = stage;
    if (schedule->started_ns[stage] == 0)
        schedule->started_ns[stage] = now;
    schedule->next_part = 0;
    wake_all(schedule);
}

void mr__schedule_begin(mr__schedule *schedule, uint64_t smallest, uint64_t largest)
{
    pthread_mutex_lock(&schedule->mutex);
    mr__cover_fini(&schedule->left);
    schedule->open = true;
    schedule->dry = schedule->told_low = schedule->told_empty = schedule->told_drained = false;
    schedule->smallest = smallest;
    schedule->largest = largest;
    enter(schedule, MR__STAGE_MAP);
    pthread_mutex_unlock(&schedule->mutex);
}

void mr__schedule_begin_sort(mr__schedule *schedule)
{
    pthread_mutex_lock(&schedule->mutex);
    enter(schedule, MR__STAGE_SORT);
    pthread_mutex_unlock(&schedule->mutex);
}

mr_status mr__schedule_add(mr__schedule *schedule, uint64_t begin, uint64_t end, uint32_t first, uint32_t last,
                           bool *added, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&schedule->mutex);
    *added = schedule->left.count == 0 || (schedule->first == first && schedule->last == last);
    if (!*added)
        goto done;
    MR_TRY(mr__cover_add(&schedule->left, begin, end, error));
    schedule->first = first;
    schedule->last = last;
    schedule->added = end - begin;
    schedule->low = schedule->added / 2;
    schedule->dry = schedule->told_low = schedule->told_empty = schedule->told_drained = false;
    wake_all(schedule);
done:
    pthread_mutex_unlock(&schedule->mutex);
    return status;
}

void mr__schedule_run_dry(mr__schedule *schedule)
{
    pthread_mutex_lock(&schedule->mutex);
    if (!schedule->dry)
        schedule->dry_ns = mr__now_ns();
    schedule->dry = true;
    wake_all(schedule);
    pthread_mutex_unlock(&schedule->mutex);
}

/* With the lock held. */
static bool is_drained(const mr__schedule *schedule)
{
    bool dirty = schedule->stage != MR__STAGE_MAP || !schedule->dry || schedule->left.count > 0 ||
                 schedule->returned_count > 0 || schedule->mapping > 0 || schedule->flushing > 0;
    for (uint32_t i = 0; i < schedule->workers; i++)
        dirty |= schedule->dirty[i];
    return !dirty;
}

bool mr__schedule_is_drained(mr__schedule *schedule)
{
    pthread_mutex_lock(&schedule->mutex);
    const bool drained = is_drained(schedule);
    pthread_mutex_unlock(&schedule->mutex);
    return drained;
}

/* With the lock held, and a status that is not MR_OK. Release: whoever is woken sees it. */
static void stop_all(mr__schedule *schedule)
{
    atomic_store_explicit(&schedule->failed, true, memory_order_release);
    wake_all(schedule);
}

/* With the lock held. */
static void fail_locked(mr__schedule *schedule, mr_status status, const mr__error *error)
{
    if (schedule->status == MR_OK) {
        schedule->status = status;
        schedule->error = *error;
    }
    stop_all(schedule);
}

/* With the lock held: whoever adds ranges is told, once for each range, that it is time for the next one, and once that
 * all is done. */
static void tell_feeder(mr__schedule *schedule)
{
    if (!schedule->open || schedule->job->joint == NULL || schedule->stage != MR__STAGE_MAP)
        return;
    const bool empty = schedule->left.count == 0, drained = !schedule->told_drained && is_drained(schedule);
    const bool low = mr__cover_units(&schedule->left) <= schedule->low;
    mr__error error = {.text = ""};
    mr_status status = MR_OK;
    if ((low && !schedule->told_low) || (empty && !schedule->told_empty))
        status = mr__joint_wants_work(schedule->job->joint, &error);
    if (drained && status == MR_OK)
        status = mr__joint_has_drained(schedule->job->joint, &error);
    if (status != MR_OK)
        fail_locked(schedule, status, &error);
    schedule->told_low |= low;
    schedule->told_empty |= empty;
    schedule->told_drained |= drained;
}

void mr__schedule_choose(mr__schedule *schedule, const uint32_t *list, uint32_t count)
{
    pthread_mutex_lock(&schedule->mutex);
    schedule->job->reduce_list = list;
    schedule->job->reduce_tasks = count;
    pthread_mutex_unlock(&schedule->mutex);
}

void mr__schedule_close(mr__schedule *schedule)
{
    pthread_mutex_lock(&schedule->mutex);
    schedule->open = false;
    wake_all(schedule);
    pthread_mutex_unlock(&schedule->mutex);
}

void mr__schedule_merge(mr__schedule *schedule, uint32_t partition)
{
    mr__partition *p = &schedule->job->partition[partition];
    pthread_mutex_lock(&schedule->mutex);
    if (!p->queued && schedule->stage == MR__STAGE_MAP) {
        p->queued = true;
        schedule->merges[(schedule->merge_head + schedule->merge_count++) % schedule->job->partitions] = partition;
        pthread_cond_signal(&schedule->changed);
    }
    pthread_mutex_unlock(&schedule->mutex);
}

void mr__schedule_fail(mr__schedule *schedule, mr_status status, const mr__error *error)
{
    pthread_mutex_lock(&schedule->mutex);
    fail_locked(schedule, status, error);
    pthread_mutex_unlock(&schedule->mutex);
}

/* ---- pulling ----------------------------------------------------------------------------------------------------- */

static bool pull_merge(mr__schedule *schedule, mr__task *task)
{
    if (schedule->merge_count == 0)
        return false;
    task->kind = MR__TASK_MERGE;
    task->run = mr__merge_task;
    task->partition = schedule->merges[schedule->merge_head];
    schedule->merge_head = (schedule->merge_head + 1) % schedule->job->partitions;
    schedule->merge_count--;
    schedule->job->partition[task->partition].queued = false;
    return true;
}

static bool pull_returned(mr__schedule *schedule, const mr__worker *worker, mr__task *task)
{
    for (uint32_t i = schedule->returned_count; i-- > 0;) {
        if (schedule->returned[i].cpu_only && mr__is_device(worker) && schedule->cpu_workers > 0)
            continue;
        *task = schedule->returned[i];
        schedule->returned[i] = schedule->returned[--schedule->returned_count];
        return true;
    }
    return false;
}

/* The buffers of this worker; or of a device that is away, when there is nothing left that it could map. */
static bool pull_flush(mr__schedule *schedule, const mr__worker *worker, mr__task *task)
{
    uint32_t whose = worker->index;
    const bool mapped = schedule->mapping == 0 && schedule->left.count == 0 && schedule->returned_count == 0;
    for (uint32_t w = 0; !schedule->dirty[whose] && w < schedule->workers && mapped; w++)
        if (schedule->dirty[w] && schedule->away[w])
            whose = w;
    if (!schedule->dirty[whose])
        return false;
    schedule->dirty[whose] = false;
    schedule->lent[whose] = whose != worker->index;
    schedule->flushing++;
    task->kind = MR__TASK_FLUSH;
    task->run = mr__flush_task;
    task->partition = whose;
    return true;
}

/* When a worker that has nothing to map may merge. */
static uint64_t merges_begin_ns(const mr__schedule *schedule)
{
    if (schedule->barrier)
        return NEVER;
    if (!schedule->open)
        return schedule->mapping > 0 ? 0 : NEVER;
    if (!schedule->dry)         /* the next range is a message away */
        return NEVER;
    return schedule->dry_ns + (schedule->dry_ns - schedule->started_ns[MR__STAGE_MAP]) / (PATIENCE - 1);
}

/* A worker maps while there is something to map, then empties its buffers, and then merges while others still map. */
static bool pull_map(mr__schedule *schedule, const mr__worker *worker, uint32_t in_flight, mr__task *task)
{
    if (schedule->lent[worker->index])      /* S6 */
        return false;
    bool maps = pull_returned(schedule, worker, task);
    const bool left = !maps && schedule->left.count > 0;
    if (left && !(mr__is_device(worker) && mr__schedule_holds_off(schedule, worker, in_flight))) {
        mr__schedule_cut(schedule, worker, task);
        maps = true;
    }
    if (maps) {
        schedule->dirty[worker->index] = true;
        schedule->mapping++;
        schedule->on_devices += mr__is_device(worker);
        return true;
    }
    if (in_flight > 0)
        return false;
    if ((!schedule->open || schedule->dry) && pull_flush(schedule, worker, task))
        return true;
    if (mr__is_device(worker) && schedule->cpu_workers > 0)
        return false;
    return mr__now_ns() >= merges_begin_ns(schedule) && pull_merge(schedule, task);
}

/* With the lock held: until something changes, or merges may begin. */
static void wait_for_change(mr__schedule *schedule)
{
    const bool may_merge = schedule->stage == MR__STAGE_MAP && schedule->merge_count > 0;
    const uint64_t merges = may_merge ? merges_begin_ns(schedule) : NEVER;
    if (merges != NEVER) {
        const struct timespec until = mr__timespec(merges);
        pthread_cond_timedwait(&schedule->changed, &schedule->mutex, &until);
    } else {
        pthread_cond_wait(&schedule->changed, &schedule->mutex);
    }
}

/* With the lock held: a task, or false when there is none now. */
static bool pull_now(mr__schedule *schedule, mr__worker *worker, uint32_t in_flight, mr__task *task)
{
    mr__job *job = schedule->job;
    switch (schedule->stage) {
    case MR__STAGE_MAP:
        return pull_map(schedule, worker, in_flight, task);
    case MR__STAGE_REDUCE:
    case MR__STAGE_SORT:
        if (mr__is_device(worker) && schedule->cpu_workers > 0)
            return false;
        if (schedule->next_part >= (schedule->stage == MR__STAGE_REDUCE ? job->reduce_tasks : job->parts))
            return false;
        task->partition = schedule->next_part++;
        if (schedule->stage == MR__STAGE_REDUCE && job->reduce_list != NULL)
            task->partition = job->reduce_list[task->partition];
        task->kind = schedule->stage == MR__STAGE_REDUCE ? MR__TASK_REDUCE : MR__TASK_SORT;
        task->run = schedule->stage == MR__STAGE_REDUCE ? mr__reduce_task : mr__sort_task;
        return true;
    default:
        return false;
    }
}

/* With the lock held: moves to the next stage when this one is over (S2). */
static void advance(mr__schedule *schedule)
{
    mr__job *job = schedule->job;
    if (schedule->in_flight != 0)
        return;
    if (schedule->stage == MR__STAGE_MAP) {
        if (schedule->open || schedule->left.count > 0 || schedule->returned_count > 0)
            return;
        for (uint32_t i = 0; i < schedule->workers; i++) {
            if (schedule->dirty[i])
                return;
        }
        schedule->merge_count = 0;
        for (uint32_t p = 0; p < job->partitions; p++)
            job->partition[p].queued = false;
        mr__budget_release(&job->budget, job->headroom);
        job->headroom = 0;
        enter(schedule, job->dense ? MR__STAGE_END : MR__STAGE_REDUCE);
    } else if (schedule->stage == MR__STAGE_REDUCE && schedule->next_part >= job->reduce_tasks) {
        if (!job->sorts || job->output == NULL || job->joint != NULL) {     /* many ranks: joint_sort.c */
            enter(schedule, MR__STAGE_END);
            return;
        }
        const mr_status status = mr__sort_begin(job, &schedule->error);
        if (status != MR_OK)
            schedule->status = status;
        enter(schedule, status == MR_OK ? MR__STAGE_SORT : MR__STAGE_END);
    } else if (schedule->stage == MR__STAGE_SORT && schedule->next_part >= job->parts) {
        enter(schedule, MR__STAGE_END);
    }
}

enum mr__pull mr__schedule_pull(void *context, mr__worker *worker, uint32_t in_flight, mr__task *task)
{
    mr__schedule *schedule = context;
    enum mr__pull result = MR__FINISHED;
    pthread_mutex_lock(&schedule->mutex);
    schedule->away[worker->index] = false;
    for (;;) {
        if (mr__cancelled(schedule->job) && schedule->status == MR_OK)
            schedule->status = mr__fail(&schedule->error, MR_CANCELLED, "the job was cancelled; nothing was written");
        if (schedule->status != MR_OK) {
            stop_all(schedule);
            break;
        }
        *task = (mr__task){.job = schedule->job, .index = schedule->task_number};
        const bool pulled = pull_now(schedule, worker, in_flight, task);
        tell_feeder(schedule);
        if (pulled) {
            schedule->task_number++;
            schedule->in_flight++;
            schedule->tasks[schedule->stage]++;
            result = MR__PULLED;
            break;
        }
        const enum mr__stage before = schedule->stage;
        advance(schedule);
        if (schedule->stage == MR__STAGE_END && schedule->status == MR_OK)
            break;
        if (schedule->stage != before || schedule->status != MR_OK)
            continue;
        if (in_flight > 0 || mr__is_device(worker)) {       /* an idle device gives its token back in poll */
            result = MR__WAIT;
            break;
        }
        wait_for_change(schedule);
    }
    pthread_mutex_unlock(&schedule->mutex);
    return result;
}

/* With the lock held. */
static void end_flush(mr__schedule *schedule, uint32_t whose)
{
    schedule->flushing--;
    if (schedule->lent[whose])
        wake_all(schedule);
    schedule->lent[whose] = false;
}

void mr__schedule_done(void *context, mr__worker *worker, const mr__done *done)
{
    mr__schedule *schedule = context;
    mr__job *job = schedule->job;
    const bool given_back = done->status == MR_DEVICE_LOST && done->task.kind == MR__TASK_MAP && mr__is_device(worker);
    if (done->status != MR_OK && !given_back)
        mr__schedule_fail(schedule, done->status, &done->error);
    static const char *const names[] = {"map", "merge", "flush", "reduce", "sort"};
    const bool map = done->task.kind == MR__TASK_MAP;
    if (!done->apart)           /* what overlaps has lanes of its own (device_task.c) */
        mr__trace_span(job->trace, worker->index, names[done->task.kind], "task", done->started_ns, done->finished_ns,
                   map ? "bytes" : "partition", map ? done->task.end - done->task.begin : done->task.partition);
    pthread_mutex_lock(&schedule->mutex);
    schedule->in_flight--;
    schedule->mapping -= map;
    if (done->task.kind == MR__TASK_FLUSH)
        end_flush(schedule, done->task.partition);
    schedule->on_devices -= map && mr__is_device(worker);
    if (map && done->status == MR_OK) {
        mr__schedule_note_rate(schedule, worker, done);
        schedule->maps_done++;
        schedule->map_ns += done->finished_ns > done->started_ns ? done->finished_ns - done->started_ns : 0;
    }
    if (given_back) {
        schedule->returned[schedule->returned_count++] = done->task;
        schedule->tasks[MR__STAGE_MAP]--;       /* whoever runs it counts it */
        wake_all(schedule);
    }
    if (schedule->in_flight == 0 || schedule->status != MR_OK)
        wake_all(schedule);
    tell_feeder(schedule);
    pthread_mutex_unlock(&schedule->mutex);
}

bool mr__schedule_over(void *context, mr__worker *worker)
{
    mr__schedule *schedule = context;
    mr__error error = {.text = ""};
    const mr_status status = mr__devices_give_up(schedule->job, worker, &error);
    if (status != MR_OK)
        mr__schedule_fail(schedule, status, &error);
    pthread_mutex_lock(&schedule->mutex);
    if (!schedule->away[worker->index]) {       /* the others' shares grow, also of those that wait */
        schedule->away[worker->index] = true;
        schedule->cpu_workers -= !mr__is_device(worker);
        wake_all(schedule);
    }
    const bool over = schedule->status != MR_OK || schedule->stage == MR__STAGE_END || mr__cancelled(schedule->job);
    pthread_mutex_unlock(&schedule->mutex);
    return over;
}

mr_status mr__schedule_outcome(mr__schedule *schedule, mr__error *error)
{
    pthread_mutex_lock(&schedule->mutex);
    const mr_status status = schedule->status;
    if (status != MR_OK)
        mr__fail(error, status, "%s", schedule->error.text);
    pthread_mutex_unlock(&schedule->mutex);
    return status;
}

bool mr__schedule_failed(const mr__schedule *schedule)
{
    return atomic_load_explicit(&schedule->failed, memory_order_acquire);
}

mr_status mr__schedule_check(mr__schedule *schedule, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t queued = 0;
    pthread_mutex_lock(&schedule->mutex);
    for (uint32_t p = 0; p < schedule->job->partitions; p++)
        queued += schedule->job->partition[p].queued;
    MR_CHECK(schedule->stage != MR__STAGE_END || schedule->in_flight == 0 || schedule->status != MR_OK, MR_INTERNAL,
             "S2 broken: %llu tasks in flight at the end", (unsigned long long)schedule->in_flight);
    MR_CHECK(schedule->mapping <= schedule->in_flight, MR_INTERNAL, "S4 broken: %llu map tasks in flight of %llu",
             (unsigned long long)schedule->mapping, (unsigned long long)schedule->in_flight);
    MR_CHECK(schedule->returned_count + schedule->on_devices <= schedule->returned_room, MR_INTERNAL,
             "S5 broken: %u tasks given back, %u on devices, room for %u", schedule->returned_count,
             schedule->on_devices, schedule->returned_room);
    MR_CHECK(queued == schedule->merge_count, MR_INTERNAL, "S3 broken: %u partitions queued, %u in the ring", queued,
             schedule->merge_count);
done:
    pthread_mutex_unlock(&schedule->mutex);
    return status;
}
