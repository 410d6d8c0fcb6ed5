/* device_task.c: a map task as a device sees it, and its result as the engine does.
 *
 * A task becomes segments: whole blocks of one file (rows, records), or a byte range of one file whose records start in
 * it (text). The result is checked as a whole before any of it is taken, so a task that a failing device spoilt can run
 * elsewhere:
 *   tables    one per block: kept apart for the fold (f64), or added up (u64)
 *   pairs     combined already: they go into the lane's buffers with their amounts, as if the lane had combined them
 *   values    one per row; the key is the row's number */
#include "internal.h"

#include <pthread.h>
#include <sched.h>

#include "clock.h"
#include "memory.h"

enum { AHEAD = 1024 };          /* bytes: where a pair begins is known when the one before it is there */

/* ---- there ------------------------------------------------------------------------------------------------------- */

static bool pack_blocks(const mr__job *job, const mr__task *task, mr__device_segment *segments, uint32_t *count)
{
    uint32_t source = mr__source_of_block(job, task->begin);
    for (uint64_t block = task->begin; block < task->end;) {
        while (job->block_starts[source + 1] <= block)
            source++;
        if (*count == MR__DEVICE_SEGMENTS)
            return false;
        const uint64_t end = job->block_starts[source + 1] < task->end ? job->block_starts[source + 1] : task->end;
        const uint64_t first = mr__rows_before(job, block), rows = mr__rows_before(job, end) - first;
        segments[(*count)++] = (mr__device_segment){
            .file = source, .blocks = (uint32_t)(end - block),
            .offset = (first - job->row_starts[source]) * job->plan.record_size, .size = rows * job->plan.record_size,
            .first_row = first, .rows = rows};
        block = end;
    }
    return true;
}

static void pack_range(const mr__job *job, const mr__task *task, mr__device_segment *segments, uint32_t *count)
{
    const uint64_t first = mr__rows_before(job, task->begin);
    segments[(*count)++] = (mr__device_segment){.file = UINT32_MAX, .blocks = (uint32_t)(task->end - task->begin),
                                                .first_row = first, .rows = mr__rows_before(job, task->end) - first};
}

static bool pack_text(const mr__job *job, const mr__task *task, mr__device_segment *segments, uint32_t *count)
{
    const mr__sources *sources = job->dataset->sources;
    for (uint32_t s = task->source; s < sources->count && sources->items[s].start < task->end; s++) {
        uint64_t begin, end;
        if (!mr__task_in_source(task, &sources->items[s], &begin, &end))
            continue;
        if (*count == MR__DEVICE_SEGMENTS || end - begin > job->devices.largest_task)
            return false;
        segments[(*count)++] = (mr__device_segment){.file = s, .offset = begin, .size = end - begin};
    }
    return true;
}

enum mr__device_pack mr__device_pack_task(const mr__task *task, mr__worker *worker, mr__device_segment *segments,
                                          uint32_t *count)
{
    const mr__job *job = task->job;
    *count = 0;
    if (task->kind != MR__TASK_MAP)
        return MR__PACK_HERE;
    bool fits = true;
    if (job->app->input == MR_INPUT_RANGE)
        pack_range(job, task, segments, count);
    else
        fits = job->app->input == MR_INPUT_TEXT ? pack_text(job, task, segments, count)
                                                : pack_blocks(job, task, segments, count);
    if (fits && *count > 0)
        return MR__PACKED;
    return *count == 0 || job->cpu_workers == 0 ? MR__PACK_HERE : MR__PACK_ELSEWHERE;
}

/* ---- and back ---------------------------------------------------------------------------------------------------- */

static mr_status take_tables(mr__job *job, mr__lane *lane, const mr__task *task, const uint8_t *result,
                             const mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t values = mr__dense_values(job);
    const uint64_t tables = job->devices.form == MR__DEVICE_TEXTS ? 1 : task->end - task->begin;
    MR_CHECK(done->bytes == tables * values * 8, MR_DEVICE_LOST, "the device sent %llu bytes of sums, not %llu",
             (unsigned long long)done->bytes, (unsigned long long)(tables * values * 8));
    for (uint64_t t = 0; t < tables; t++, result += values * 8) {
        if (job->dense_results == NULL) {
            for (size_t i = 0; i < values; i++)
                ((uint64_t *)lane->emitter.dense)[i] += ((const uint64_t *)result)[i];
            continue;
        }
        double *table = NULL;
        MR_TRY(mr__dense_take(job, lane, &table, error));
        memcpy(table, result, values * 8);
        MR_TRY(mr__dense_give(job, task->begin + t, table, error));
    }
done:
    return status;
}

static mr_status check_pairs(const mr__job *job, const uint8_t *result, const mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    size_t at = 0;
    while (at < done->bytes) {
        const mr__device_pair *pair = (const mr__device_pair *)(result + at);
        __builtin_prefetch(result + at + AHEAD);
        MR_CHECK(done->bytes - at >= sizeof *pair && pair->size <= done->bytes - at - sizeof *pair &&
                     pair->size >= job->layout.key_suffix && mr__device_pair_bytes(pair->size) <= done->bytes - at,
                 MR_DEVICE_LOST, "the device sent a pair at byte %zu that cannot be", at);
        at += mr__device_pair_bytes(pair->size);
    }
done:
    return status;
}

static mr_status take_pairs(mr__lane *lane, const uint8_t *result, const mr__device_done *done,
                            mr__error *error)
{
    mr_status status = MR_OK;
    uint64_t values[MR_BATCH];
    uint32_t count = 0;
    for (size_t at = 0; at < done->bytes;) {
        const mr__device_pair *pair = (const mr__device_pair *)(result + at);
        __builtin_prefetch(result + at + AHEAD);
        mr__stage_in_place(&lane->emitter.staged[count], (const uint8_t *)(pair + 1), pair->size);
        values[count++] = pair->value;
        at += mr__device_pair_bytes(pair->size);
        if (count == MR_BATCH || at >= done->bytes) {
            MR_TRY(mr__lane_take(lane, (const uint8_t *)values, sizeof *values, count, error));
            count = 0;
        }
    }
    lane->pairs += done->pairs;
done:
    return status;
}

/* The rows of a task are numbered one after the other, over the ends of files too. */
static mr_status take_values(mr__job *job, mr__lane *lane, const mr__task *task, const uint8_t *result,
                             const mr__device_done *done, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t first = mr__rows_before(job, task->begin);
    MR_CHECK(done->bytes == done->rows * job->plan.value_size, MR_DEVICE_LOST,
             "the device sent %llu bytes of values, not %llu", (unsigned long long)done->bytes,
             (unsigned long long)(done->rows * job->plan.value_size));
    for (uint64_t row = 0; row < done->rows; row++, result += job->plan.value_size)
        mr_emit_u64(&lane->emitter, first + row, result);
    if (lane->emitter.count > 0)
        mr__emit_flush(&lane->emitter);
    status = lane->emitter.status;
    MR_CHECK(status == MR_OK, status, "%s", lane->error.text);
done:
    return status;
}

static mr_status take_result(mr__job *job, mr__lane *lane, const mr__task *task, const uint8_t *result,
                             const mr__device_done *done, mr__error *error)
{
    if (job->dense)
        return take_tables(job, lane, task, result, done, error);
    return job->devices.form == MR__DEVICE_TEXTS ? take_pairs(lane, result, done, error)
                                                 : take_values(job, lane, task, result, done, error);
}

/* Taking pairs is work for a core: for one without a CPU worker, if there is one. The thread is not bound for good,
 * because a device's process inherits the cores of the thread that starts it. */
static mr_status take_apart(mr__job *job, mr__lane *lane, const mr__task *task, const uint8_t *result,
                            const mr__device_done *done, mr__error *error)
{
    cpu_set_t before;
    const bool bound = job->cpu_workers > 0 && !job->dense &&
                       pthread_getaffinity_np(pthread_self(), sizeof before, &before) == 0 &&
                       mr__topology_bind_from(&job->session->topology, job->cpu_workers);
    const mr_status status = take_result(job, lane, task, result, done, error);
    if (bound)
        pthread_setaffinity_np(pthread_self(), sizeof before, &before);
    return status;
}

mr_status mr__device_unpack(const mr__task *task, mr__worker *worker, const mr__device_done *done,
                            const uint8_t *result, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = task->job;
    mr__lane *lane = worker->engine;
    mr__job_device *device = &job->devices.item[worker->index - job->cpu_workers];
    const uint64_t rows = job->devices.form == MR__DEVICE_TEXTS
                              ? 0
                              : mr__rows_before(job, task->end) - mr__rows_before(job, task->begin);
    MR_CHECK(done->rows == rows, MR_DEVICE_LOST, "the device mapped %llu rows of %llu", (unsigned long long)done->rows,
             (unsigned long long)rows);
    if (!job->dense && job->devices.form == MR__DEVICE_TEXTS)
        MR_TRY(check_pairs(job, result, done, error));
    const mr__device_check check = {mr__device_link_story(device->link)->starts,
                                    job->devices.form == MR__DEVICE_ROWS ? job->stats.rounds : 0};
    if (device->verified.starts != check.starts || device->verified.round != check.round)
        MR_TRY(mr__device_verify(task, lane, done, result, error));
    device->verified = check;
    const uint64_t begin_ns = mr__thread_ns();
    MR_TRY(mr__epoch_begin_task(lane, task, error));
    MR_TRY(take_apart(job, lane, task, result, done, error));
    device->taken_ns += mr__thread_ns() - begin_ns;
    device->taken += task->end - task->begin;
    lane->epoch.ns += done->run_ns[1] - done->run_ns[0];
    MR_TRY(mr__epoch_end_task(lane, task, error));
    lane->rows += rows;
    atomic_fetch_add_explicit(&job->mapped, task->end - task->begin, memory_order_relaxed);
done:
    return status;
}

/* Tasks of a device overlap, those of one slot do not: a lane for each slot. */
uint32_t mr__device_trace_lane(const mr__job *job, uint32_t device, uint32_t slot)
{
    return job->worker_count + 2 + device * job->devices.depth + slot;
}

void mr__device_trace(mr__worker *worker, const mr__device_done *done)
{
    mr__job *job = ((mr__lane *)worker->engine)->job;
    const uint32_t lane = mr__device_trace_lane(job, worker->index - job->cpu_workers, done->slot);
    uint64_t begin = UINT64_MAX, end = 0;
    const struct {
        const char *name;
        const uint64_t *time;
    } steps[] = {{"read", done->read_ns}, {"copy in", done->copy_ns},
                 {"kernel", done->run_ns}, {"copy out", done->back_ns}};
    for (uint32_t s = 0; s < MR__COUNT(steps); s++) {
        if (steps[s].time[1] <= steps[s].time[0])
            continue;
        mr__trace_span(job->trace, lane, steps[s].name, "device", steps[s].time[0], steps[s].time[1], "task", done->id);
        begin = steps[s].time[0] < begin ? steps[s].time[0] : begin;
        end = steps[s].time[1] > end ? steps[s].time[1] : end;
    }
    if (end > begin)
        mr__trace_span(job->trace, lane, "map", "task", begin, end, "task", done->id);
}
