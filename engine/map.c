/* map.c: map tasks over text and files.
 *
 * A task is a byte range [begin, end) of the dataset. Which records are its own is decided by where they *start*: a
 * record that starts in the range is read to its end, beyond the range if need be; one that started before it belongs
 * to the task before. So a line across two splits is counted once, and a line longer than a split belongs to one task
 * while the tasks inside it find nothing.
 *
 *        begin - 1         begin                              end - 1
 *   ..... \n? ----------------- \n ............... \n ------------- | ----- \n .....
 *         ^ read from here      ^ first record of the task          ^ the first boundary from here ends the task
 *
 * Inside the range, windows of the reader are cut at the last boundary; what follows it is kept for the next window. */
#include "internal.h"

enum { FILES_AHEAD = 32 };

mr_status mr__map_block(mr__job *job, mr__lane *lane, const mr_block *block, mr__error *error)
{
    mr_status status = MR_OK;
    mr_emitter *out = &lane->emitter;
    MR_CHECK(!mr__stopped(job), MR_CANCELLED, "the job was cancelled; nothing was written");
    if (job->row_function != NULL) {
        job->row_function(block, out, job->plan.params);
    } else {
        const mr_status mapped = job->app->map(block, out, job->plan.params);
        if (out->status == MR_OK)
            MR_CHECK(mapped == MR_OK, mapped, "map of app %s failed on %s at offset %llu: %s", job->app_name,
                     block->source_name != NULL ? block->source_name : "its range", (unsigned long long)block->offset,
                     mr_status_meaning(mapped));
        mr__emit_unreserve(lane);
    }
    if (out->count > 0)
        mr__emit_flush(out);
    status = out->status;
    if (status != MR_OK) {
        mr__fail(error, status, "%s", lane->error.text[0] != '\0' ? lane->error.text : mr_status_meaning(status));
        goto done;
    }
    lane->rows += block->rows;
done:
    return status;
}

static mr_status map_bytes(mr__job *job, mr__lane *lane, uint32_t source, const uint8_t *data, size_t size,
                           uint64_t offset, mr__error *error)
{
    if (size == 0)
        return MR_OK;
    const mr_block block = {.data = data, .size = size, .offset = offset, .source = source,
                            .source_name = job->dataset->sources->items[source].path};
    return mr__map_block(job, lane, &block, error);
}

/* Of a record that fills many windows no block is mapped before its end, and a job is stopped at blocks. */
static mr_status next_window(const mr__job *job, mr__lane *lane, size_t keep, mr_slice *window, uint64_t *offset,
                             bool *at_end, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(!mr__stopped(job), MR_CANCELLED, "the job was cancelled; nothing was written");
    MR_TRY(mr__reader_next(lane->reader, keep, window, offset, at_end, error));
done:
    return status;
}

/* One file as one block, however large. */
static mr_status map_file(mr__job *job, mr__lane *lane, uint32_t source, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t size = job->dataset->sources->items[source].size;
    mr_slice window;
    uint64_t offset;
    bool at_end;
    if (size <= job->window) {
        MR_TRY(mr__reader_whole(lane->reader, source, &window, error));
    } else {
        MR_TRY(mr__reader_start(lane->reader, source, 0, size, error));
        window.size = 0;
        do {
            MR_TRY(next_window(job, lane, window.size, &window, &offset, &at_end, error));
        } while (!at_end);
    }
    MR_TRY(map_bytes(job, lane, source, window.data, window.size, 0, error));
    MR_TRY(mr__reader_end(lane->reader, error));
done:
    return status;
}

/* The records of one file that start in [begin, end). */
static mr_status map_range(mr__job *job, mr__lane *lane, uint32_t source, uint64_t begin, uint64_t end,
                           mr__error *error)
{
    mr_status status = MR_OK;
    const mr__kernels *kernels = mr__kernels_current();
    const mr_unit unit = job->app->unit;
    bool seeking = begin > 0;       /* the first boundary is still to be found */
    size_t keep = 0;
    MR_TRY(mr__reader_start(lane->reader, source, begin > 0 ? begin - 1 : 0, end, error));
    for (bool last = false; !last;) {
        mr_slice window;
        uint64_t offset;
        bool at_end;
        size_t first = 0;
        MR_TRY(next_window(job, lane, keep, &window, &offset, &at_end, error));
        if (seeking) {
            first = kernels->first_boundary(window.data, window.size, unit);
            if (first == SIZE_MAX) {
                keep = 0;
                last = at_end || offset + window.size >= end;
                continue;
            }
            if (offset + first >= end)
                break;
            seeking = false;
        }
        size_t stop = SIZE_MAX;
        if (offset + window.size >= end) {
            size_t from = end - 1 > offset ? (size_t)(end - 1 - offset) : 0;
            if (from < first)
                from = first;
            stop = kernels->first_boundary(window.data + from, window.size - from, unit);
            if (stop != SIZE_MAX)
                stop += from;
            last = stop != SIZE_MAX || at_end;
        }
        if (at_end && stop == SIZE_MAX) {
            stop = window.size;
            last = true;
        }
        if (stop == SIZE_MAX) {
            stop = kernels->last_boundary(window.data + first, window.size - first, unit);
            stop = stop == SIZE_MAX ? first : stop + first;
        }
        MR_TRY(map_bytes(job, lane, source, window.data + first, stop - first, offset + first, error));
        keep = window.size - stop;
    }
    MR_TRY(mr__reader_end(lane->reader, error));
done:
    return status;
}

/* Has the disk read the task's next files, of which one is mapped now: a cold small file is all waiting. */
static void ask_ahead(const mr__job *job, const mr__task *task, uint32_t now, uint32_t *asked)
{
    const mr__sources *sources = job->dataset->sources;
    if (*asked <= now)
        *asked = now + 1;
    for (; *asked <= now + FILES_AHEAD && *asked < sources->count && sources->items[*asked].start < task->end; ++*asked)
        mr__source_will_need(&sources->items[*asked]);
}

bool mr__task_in_source(const mr__task *task, const mr__source *source, uint64_t *begin, uint64_t *end)
{
    *begin = task->begin > source->start ? task->begin - source->start : 0;
    *end = task->end - source->start < source->size ? task->end - source->start : source->size;
    return *begin < *end;
}

mr_status mr__map_task(mr__task *task, mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = task->job;
    mr__lane *lane = worker->engine;
    uint32_t asked = 0;
    MR_TRY(mr__epoch_begin_task(lane, task, error));
    if (job->app->input == MR_INPUT_RECORDS || job->app->input == MR_INPUT_RANGE) {
        MR_TRY(mr__map_rows(job, lane, task, error));
        MR_TRY(mr__epoch_end_task(lane, task, error));
        goto done;
    }
    const mr__sources *sources = job->dataset->sources;
    for (uint32_t s = task->source; s < sources->count && sources->items[s].start < task->end; s++) {
        const mr__source *source = &sources->items[s];
        uint64_t begin, end;
        if (!mr__task_in_source(task, source, &begin, &end))
            continue;
        if (job->read.ahead)
            ask_ahead(job, task, s, &asked);
        if (job->app->input == MR_INPUT_FILES) {
            if (begin == 0)         /* a file belongs to the task that it starts in, as a record does */
                MR_TRY(map_file(job, lane, s, error));
        } else if (begin == 0 && end == source->size && source->size <= job->window) {
            mr_slice content;
            MR_TRY(mr__reader_whole(lane->reader, s, &content, error));
            MR_TRY(map_bytes(job, lane, s, content.data, content.size, 0, error));
        } else {
            MR_TRY(map_range(job, lane, s, begin, end, error));
        }
        atomic_fetch_add_explicit(&job->mapped, end - begin, memory_order_relaxed);
    }
    MR_TRY(mr__epoch_end_task(lane, task, error));
done:
    return status;
}
