/* schedule_size.c: how much of the input a worker gets, and from where.
 *
 *   [0 ........ left ........ end)        a task is cut from the front; of rows, for a device, from the end
 *   share of what is left = own speed / speed of all that are present       (one that is not known counts as average)
 *   size  = share / 4, from smallest to largest; while ranges still come, share of the range that came last
 *
 * A share of what is left (guided self-scheduling: C. Polychronopoulos, D. Kuck, IEEE Trans. Computers C-36, 1987), so
 * that nobody holds a large piece at the end. It follows from measured speed, so a device takes as much as it can use.
 * One that would still be busy when all others are done takes nothing more; neither does one whose results cost the CPU
 * workers more than mapping themselves.
 * Of rows devices take the last, CPU workers the first: so in each round the same blocks are a CPU worker's, which
 * keeps them in memory as columns. */
#include "schedule_parts.h"

#include "device_protocol.h"

enum { GUIDE = 4, MOST_FILES = 2048 };
/* Seconds of a device that a task is worth at least: twenty times what a launch costs on pocl (0.14 ms). */
static const double DEVICE_LEAST = 0.003;
/* What a task leaves of the weight of those before it; how much of a task the speed of an earlier run is worth. */
static const double PACE_KEPT = 0.75, EXPECTED_SECONDS = 0.001;

/* ---- speed ------------------------------------------------------------------------------------------------------- */

void mr__schedule_expect(mr__schedule *schedule, uint32_t worker, double rate)
{
    pthread_mutex_lock(&schedule->mutex);
    schedule->rate[worker] = rate;
    schedule->pace[worker] = (struct mr__pace){rate * EXPECTED_SECONDS, EXPECTED_SECONDS};
    pthread_mutex_unlock(&schedule->mutex);
}

uint64_t mr__schedule_units_in(mr__schedule *schedule, double seconds)
{
    double rate = 0;
    pthread_mutex_lock(&schedule->mutex);
    for (uint32_t w = 0; w < schedule->workers; w++)
        rate += schedule->away[w] ? 0 : schedule->rate[w];
    pthread_mutex_unlock(&schedule->mutex);
    return rate * seconds < 1e18 ? (uint64_t)(rate * seconds) : 0;
}

/* The part of all present workers' speed that this one has. One that is not known yet counts as an average one. */
static double share_of(const mr__schedule *schedule, uint32_t worker)
{
    double sum = 0;
    uint32_t known = 0, present = 0;
    if (schedule->cpu_workers == schedule->workers)
        return 1.0 / schedule->workers;
    for (uint32_t w = 0; w < schedule->workers; w++) {
        if (schedule->away[w])
            continue;
        present++;
        known += schedule->rate[w] > 0;
        sum += schedule->rate[w];
    }
    const double average = known > 0 ? sum / known : 1;
    const double own = schedule->rate[worker] > 0 ? schedule->rate[worker] : average;
    return own / (sum + average * (present - known));
}

/* Tasks of a device overlap: what counts is the time from one end to the next. Two that run side by side end together,
 * one after a long time and one after none: so units and times are added up, not their ratios. */
void mr__schedule_note_rate(mr__schedule *schedule, const mr__worker *worker, const mr__done *done)
{
    const uint64_t last = schedule->last_done_ns[worker->index];
    const uint64_t begin = last > done->started_ns ? last : done->started_ns;
    schedule->last_done_ns[worker->index] = done->finished_ns;
    if (done->finished_ns <= begin || done->task.end <= done->task.begin)
        return;
    struct mr__pace *pace = &schedule->pace[worker->index];
    pace->units = pace->units * PACE_KEPT + (double)(done->task.end - done->task.begin);
    pace->seconds = pace->seconds * PACE_KEPT + (double)(done->finished_ns - begin) * 1e-9;
    schedule->rate[worker->index] = pace->units / pace->seconds;
}

/* Pairs of a text are put into a table one by one, wherever they come from. When every core has a CPU worker, the
 * thread that takes a device's results in runs in place of one, and may need longer than that would for the text. */
double mr__schedule_burden(const mr__schedule *schedule, uint32_t worker)
{
    double sum = 0;
    uint32_t known = 0;
    for (uint32_t w = 0; w < schedule->first_device; w++) {
        known += schedule->rate[w] > 0;
        sum += schedule->rate[w];
    }
    if (known == 0 || schedule->job->session->topology.count > schedule->first_device)
        return 0;
    return mr__devices_take_in(schedule->job, worker - schedule->first_device) * sum / known;
}

/* Would the smallest task keep this device busy when all others are done? Never true for the fastest of the present. */
static bool comes_too_late(const mr__schedule *schedule, const mr__worker *worker, uint32_t in_flight)
{
    const double share = share_of(schedule, worker->index);
    const double left = (double)mr__cover_units(&schedule->left), smallest = (double)schedule->smallest;
    return schedule->workers > 1 && (in_flight + 1) * smallest / share > left + smallest * schedule->workers;
}

bool mr__schedule_holds_off(const mr__schedule *schedule, const mr__worker *worker, uint32_t in_flight)
{
    return schedule->returned_count + schedule->on_devices >= schedule->returned_room ||
           comes_too_late(schedule, worker, in_flight) || mr__schedule_burden(schedule, worker->index) >= 1;
}

/* ---- cutting the input ------------------------------------------------------------------------------------------- */

static bool maps_bytes(const mr__job *job)
{
    return job->app->input == MR_INPUT_TEXT || job->app->input == MR_INPUT_FILES;
}

/* Where a task that would end at `end` ends: a small file is cut in two at the end of the range only, and no task opens
 * too many. first: the source that it begins in. */
static uint64_t end_at_file(const mr__job *job, const mr__range *range, uint32_t first, uint64_t end,
                            uint32_t most_files)
{
    const mr__sources *sources = job->dataset->sources;
    uint32_t s = first;
    while (s < sources->count && sources->items[s].start + sources->items[s].size <= end && s - first < most_files)
        s++;
    if (s == sources->count)
        return range->end;
    const mr__source *last = &sources->items[s];
    if (s - first >= most_files)
        return last->start;
    if ((job->app->input == MR_INPUT_FILES || last->size <= job->window) && last->start >= range->begin &&
        last->start < end) {
        const uint64_t whole = last->start + last->size;
        return whole < range->end ? whole : range->end;
    }
    return end;
}

static uint64_t units_for(const mr__schedule *schedule, const mr__worker *worker)
{
    const bool device = mr__is_device(worker);
    const double share = share_of(schedule, worker->index) / (device ? schedule->device_depth : 1);
    const bool more = schedule->open && !schedule->dry;     /* ranges come, and shrink by themselves (ledger.c) */
    uint64_t size = (uint64_t)(more ? (double)schedule->added * share
                                    : (double)mr__cover_units(&schedule->left) * share / GUIDE);
    if (device && (double)size < schedule->rate[worker->index] * DEVICE_LEAST)
        size = (uint64_t)(schedule->rate[worker->index] * DEVICE_LEAST);
    if (size < schedule->smallest || (device && schedule->last_done_ns[worker->index] == 0))
        size = schedule->smallest;      /* the first result of a device is checked */
    const uint64_t largest = device ? schedule->device_largest : schedule->largest;
    return size < largest ? size : largest;
}

void mr__schedule_cut(mr__schedule *schedule, const mr__worker *worker, mr__task *task)
{
    const mr__job *job = schedule->job;
    const mr__cover *left = &schedule->left;
    const bool device = mr__is_device(worker), bytes = maps_bytes(job), from_end = device && !bytes;
    const mr__range range = left->ranges[from_end ? left->count - 1 : 0];
    uint64_t size = units_for(schedule, worker);
    if (size > range.end - range.begin)
        size = range.end - range.begin;
    task->kind = MR__TASK_MAP;
    task->run = mr__map_task;
    task->first = schedule->first;
    task->last = schedule->last;
    task->begin = from_end ? range.end - size : range.begin;
    task->end = task->begin + size;
    if (bytes) {
        task->source = mr__source_at(job->dataset->sources, task->begin);
        task->end = end_at_file(job, &range, task->source, task->end, device ? MR__DEVICE_SEGMENTS / 2 : MOST_FILES);
    }
    schedule->status = mr__cover_subtract(&schedule->left, task->begin, task->end, &schedule->error);
}
