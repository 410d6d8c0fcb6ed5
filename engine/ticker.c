/* ticker.c: reads the job's counters (all atomic, or under the schedule's mutex) and calls the user's progress
 * function. The rate is smoothed over about a second, so that the ETA does not jump. */
#include "ticker.h"

#include <errno.h>

#include "internal.h"
#include "memory.h"

enum { PERIOD_MS = 100 };

struct mr__ticker {
    mr__job *job;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t stop;
    bool stopping;
    enum mr__stage stage;
    uint64_t last_done, last_ns;
    double rate;
};

static void report(mr__ticker *ticker)
{
    mr__job *job = ticker->job;
    mr__schedule *schedule = &job->schedule;
    const uint64_t now = mr__now_ns();
    mr_progress progress = {.seconds = (double)(now - job->started_ns) * 1e-9, .round = atomic_load(&job->round)};
    pthread_mutex_lock(&schedule->mutex);
    enum mr__stage stage = schedule->stage;
    if (stage == MR__STAGE_END && schedule->started_ns[MR__STAGE_MAP] == 0)
        stage = MR__STAGE_MAP;      /* it has not begun */
    const uint32_t next_part = schedule->next_part, reduce_tasks = job->reduce_tasks;
    pthread_mutex_unlock(&schedule->mutex);
    progress.stage = mr__stage_name(stage);
    if (stage == MR__STAGE_MAP) {
        progress.done = job->joint != NULL ? mr__joint_mapped(job->joint)
                                           : atomic_load_explicit(&job->mapped, memory_order_relaxed);
        progress.total = job->schedule_total;
        if (job->app->input == MR_INPUT_RECORDS) {
            const uint64_t block_bytes = (uint64_t)job->block_rows * job->plan.record_size;
            progress.done *= block_bytes;
            progress.total = job->plan.input_bytes;
        } else if (job->app->input == MR_INPUT_RANGE) {
            progress.done *= job->block_rows;
            progress.total = job->plan.range;
        }
        if (progress.done > progress.total)
            progress.done = progress.total;
    } else {
        progress.done = next_part;
        progress.total = stage == MR__STAGE_REDUCE ? reduce_tasks : stage == MR__STAGE_SORT ? job->parts : 0;
    }
    const double seconds = (double)(now - ticker->last_ns) * 1e-9;
    if (stage != ticker->stage || progress.done < ticker->last_done)
        ticker->rate = 0;
    else if (seconds > 0) {
        const double rate = (double)(progress.done - ticker->last_done) / seconds;
        ticker->rate = ticker->rate == 0 ? rate : ticker->rate * 0.9 + rate * 0.1;
    }
    ticker->stage = stage;
    ticker->last_done = progress.done;
    ticker->last_ns = now;
    progress.rate = ticker->rate;
    progress.eta_seconds = ticker->rate > 0 ? (double)(progress.total - progress.done) / ticker->rate : -1;
    progress.memory_bytes = atomic_load_explicit(&job->budget.used, memory_order_relaxed);
    pthread_mutex_lock(&job->spill_mutex);
    progress.spilled_bytes = mr__job_spilled(job);
    pthread_mutex_unlock(&job->spill_mutex);
    mr__trace_counter(job->trace, job->worker_count + 1, "memory", now, progress.memory_bytes);
    if (job->request->progress != NULL)
        job->request->progress(&progress, job->request->progress_context);
}

static void *tick(void *argument)
{
    mr__ticker *ticker = argument;
    pthread_mutex_lock(&ticker->mutex);
    while (!ticker->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PERIOD_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (pthread_cond_timedwait(&ticker->stop, &ticker->mutex, &until) != ETIMEDOUT)
            continue;
        pthread_mutex_unlock(&ticker->mutex);
        report(ticker);
        pthread_mutex_lock(&ticker->mutex);
    }
    pthread_mutex_unlock(&ticker->mutex);
    return NULL;
}

mr_status mr__ticker_start(mr__job *job, mr__ticker **out, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_condattr_t attributes;
    mr__ticker *ticker = mr__alloc_zero(1, sizeof *ticker);
    MR_CHECK(ticker != NULL, MR_NO_MEMORY, "no memory for the progress of a job");
    ticker->job = job;
    ticker->stage = MR__STAGE_END;
    ticker->last_ns = mr__now_ns();
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&ticker->mutex, NULL);
    pthread_cond_init(&ticker->stop, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&ticker->thread, NULL, tick, ticker) != 0) {
        pthread_cond_destroy(&ticker->stop);
        pthread_mutex_destroy(&ticker->mutex);
        mr__free(ticker);
        ticker = NULL;
    }
    *out = ticker;
done:
    return status;
}

void mr__ticker_stop(mr__ticker *ticker)
{
    if (ticker == NULL)
        return;
    pthread_mutex_lock(&ticker->mutex);
    ticker->stopping = true;
    pthread_cond_signal(&ticker->stop);
    pthread_mutex_unlock(&ticker->mutex);
    pthread_join(ticker->thread, NULL);
    pthread_cond_destroy(&ticker->stop);
    pthread_mutex_destroy(&ticker->mutex);
    mr__free(ticker);
}
