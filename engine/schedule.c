/* schedule.c: the states of a job's stages.
 *
 *          cursor < total            no task in flight,         all parts done          all parts done
 *   MAP ---------------------> MAP   no worker dirty       REDUCE ------------> SORT* ----------------> END
 *    |  map; else merge          ------------------------>
 *    |  a dirty worker gets FLUSH when the cursor is at its end           * only when the output is sorted
 *   any --a task failed, or the job was cancelled--> END
 *
 * Pulled, never pushed: a worker asks when it is free, so a slow one takes less. The size of a map task is a share of
 * what is left (guided self-scheduling: C. Polychronopoulos, D. Kuck, IEEE Trans. Computers C-36, 1987), so that nobody
 * holds a large piece at the end.
 *
 * Why FLUSH is a task: a worker's combine buffer is its own, only its thread may empty it; and merges of what comes out
 * go on meanwhile.
 *
 * S1  cursor <= total; what lies before the cursor was handed out.
 * S2  A stage ends only when no task is in flight; MAP also needs that no worker is dirty.
 * S3  A partition is in the ring of merges at most once. */
#include "internal.h"

#include <string.h>

#include "clock.h"
#include "memory.h"

enum { GUIDE = 4, MOST_FILES = 2048 };

const char *mr__stage_name(enum mr__stage stage)
{
    static const char *const names[MR__STAGES] = {"map", "reduce", "sort", "commit"};
    return names[stage];
}

mr_status mr__schedule_init(mr__schedule *schedule, struct mr__job *job, uint32_t workers, mr__error *error)
{
    mr_status status = MR_OK;
    *schedule = (mr__schedule){.job = job, .workers = workers, .stage = MR__STAGE_END};
    pthread_mutex_init(&schedule->mutex, NULL);
    pthread_cond_init(&schedule->changed, NULL);
    schedule->dirty = mr__alloc_zero(workers, sizeof *schedule->dirty);
    schedule->merges = mr__alloc_zero(job->partitions, sizeof *schedule->merges);
    MR_CHECK(schedule->dirty != NULL && schedule->merges != NULL, MR_NO_MEMORY, "no memory for the schedule");
done:
    return status;
}

void mr__schedule_fini(mr__schedule *schedule)
{
    if (schedule->job == NULL)
        return;
    mr__free(schedule->dirty);
    mr__free(schedule->merges);
    pthread_cond_destroy(&schedule->changed);
    pthread_mutex_destroy(&schedule->mutex);
    schedule->job = NULL;
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
    pthread_cond_broadcast(&schedule->changed);
}

void mr__schedule_begin(mr__schedule *schedule, uint64_t total, uint64_t smallest, uint64_t largest)
{
    pthread_mutex_lock(&schedule->mutex);
    schedule->cursor = 0;
    schedule->source = 0;
    schedule->total = total;
    schedule->smallest = smallest;
    schedule->largest = largest;
    enter(schedule, MR__STAGE_MAP);
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
    if (schedule->status == MR_OK) {
        schedule->status = status;
        schedule->error = *error;
    }
    pthread_cond_broadcast(&schedule->changed);
    pthread_mutex_unlock(&schedule->mutex);
}

/* ---- cutting the input --------------------------------------------------------------------------------------------- */

/* Where a task that would end at `end` ends: a small file is never cut in two, and no task opens too many. */
static uint64_t end_at_file(mr__schedule *schedule, uint64_t end, uint64_t small)
{
    const mr__sources *sources = schedule->job->dataset->sources;
    const uint32_t first = schedule->source;
    uint32_t s = first;
    while (s < sources->count && sources->items[s].start + sources->items[s].size <= end && s - first < MOST_FILES)
        s++;
    schedule->source = s;
    if (s == sources->count)
        return schedule->total;
    const mr__source *last = &sources->items[s];
    if (s - first >= MOST_FILES)
        return last->start;
    if (schedule->job->app->input == MR_INPUT_FILES || last->size <= small) {
        if (last->start >= schedule->cursor && last->start < end) {
            schedule->source = s + 1;
            return last->start + last->size;
        }
    }
    return end;
}

static void cut(mr__schedule *schedule, mr__task *task)
{
    mr__job *job = schedule->job;
    const uint64_t left = schedule->total - schedule->cursor;
    uint64_t size = left / ((uint64_t)schedule->workers * GUIDE);
    if (size < schedule->smallest)
        size = schedule->smallest;
    if (size > schedule->largest)
        size = schedule->largest;
    if (size > left)
        size = left;
    task->kind = MR__TASK_MAP;
    task->run = mr__map_task;
    task->begin = schedule->cursor;
    task->source = schedule->source;
    task->end = schedule->cursor + size;
    if (job->app->input == MR_INPUT_TEXT || job->app->input == MR_INPUT_FILES)
        task->end = end_at_file(schedule, task->end, job->window);
    schedule->cursor = task->end;
    task->last_source = schedule->source;
}

/* ---- pulling ------------------------------------------------------------------------------------------------------- */

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

static bool pull_map(mr__schedule *schedule, mr__task *task)
{
    if (schedule->cursor < schedule->total) {
        cut(schedule, task);
        return true;
    }
    return !schedule->barrier && pull_merge(schedule, task);
}

/* With the lock held: a task, or false when there is none now. */
static bool pull_now(mr__schedule *schedule, mr__worker *worker, mr__task *task)
{
    mr__job *job = schedule->job;
    switch (schedule->stage) {
    case MR__STAGE_MAP:
        if (pull_map(schedule, task)) {
            if (task->kind == MR__TASK_MAP)
                schedule->dirty[worker->index] = true;
            return true;
        }
        if (schedule->dirty[worker->index]) {
            schedule->dirty[worker->index] = false;
            task->kind = MR__TASK_FLUSH;
            task->run = mr__flush_task;
            return true;
        }
        return false;
    case MR__STAGE_REDUCE:
    case MR__STAGE_SORT:
        if (schedule->next_part >= (schedule->stage == MR__STAGE_REDUCE ? job->reduce_tasks : job->parts))
            return false;
        task->partition = schedule->next_part++;
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
        if (schedule->cursor < schedule->total || (schedule->merge_count > 0 && !schedule->barrier))
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
        if (!job->sorts || job->output == NULL) {
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
    for (;;) {
        if (mr__cancelled(schedule->job) && schedule->status == MR_OK)
            schedule->status = mr__fail(&schedule->error, MR_CANCELLED, "the job was cancelled; nothing was written");
        if (schedule->status != MR_OK) {
            pthread_cond_broadcast(&schedule->changed);
            break;
        }
        *task = (mr__task){.job = schedule->job, .index = schedule->task_number};
        if (pull_now(schedule, worker, task)) {
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
        if (in_flight > 0) {
            result = MR__WAIT;
            break;
        }
        pthread_cond_wait(&schedule->changed, &schedule->mutex);
    }
    pthread_mutex_unlock(&schedule->mutex);
    return result;
}

void mr__schedule_done(void *context, mr__worker *worker, const mr__done *done)
{
    mr__schedule *schedule = context;
    mr__job *job = schedule->job;
    if (done->status != MR_OK)
        mr__schedule_fail(schedule, done->status, &done->error);
    static const char *const names[] = {"map", "merge", "flush", "reduce", "sort"};
    const bool map = done->task.kind == MR__TASK_MAP;
    mr__trace_span(job->trace, worker->index, names[done->task.kind], "task", done->started_ns, done->finished_ns,
                   map ? "bytes" : "partition", map ? done->task.end - done->task.begin : done->task.partition);
    pthread_mutex_lock(&schedule->mutex);
    schedule->in_flight--;
    if (schedule->in_flight == 0 || schedule->status != MR_OK)
        pthread_cond_broadcast(&schedule->changed);
    pthread_mutex_unlock(&schedule->mutex);
}

mr_status mr__schedule_check(mr__schedule *schedule, mr__error *error)
{
    mr_status status = MR_OK;
    uint32_t queued = 0;
    pthread_mutex_lock(&schedule->mutex);
    for (uint32_t p = 0; p < schedule->job->partitions; p++)
        queued += schedule->job->partition[p].queued;
    MR_CHECK(schedule->cursor <= schedule->total, MR_INTERNAL, "S1 broken: the cursor is behind the end");
    MR_CHECK(schedule->stage != MR__STAGE_END || schedule->in_flight == 0 || schedule->status != MR_OK, MR_INTERNAL,
             "S2 broken: %llu tasks in flight at the end", (unsigned long long)schedule->in_flight);
    MR_CHECK(queued == schedule->merge_count, MR_INTERNAL, "S3 broken: %u partitions queued, %u in the ring", queued,
             schedule->merge_count);
done:
    pthread_mutex_unlock(&schedule->mutex);
    return status;
}
