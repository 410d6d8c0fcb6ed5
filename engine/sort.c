/* sort.c: the last stage of a sorted output: the sorted results of all partitions become parts in one order.
 *
 *   partition results (sorted runs) --samples--> splitters --> part r = merge of every run's pairs in [s(r-1), s(r))
 *
 * The splitters come from samples at fixed distances in the runs, so the parts are the same however many workers there
 * are. Each part is a task. With a limit there is one part, and it ends early. */
#include "sink.h"
#include "sorter.h"

#include "memory.h"

enum { AHEAD = 256 << 10, SHARE = 8 };

mr_status mr__sort_begin(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__pair *samples = NULL;
    size_t count = 0, at = 0;
    for (uint32_t w = 0; w < job->worker_count; w++)        /* the cursors want memory; nobody sorts any more */
        mr__refs_free(&job->budget, &job->lanes[w].sort);
    for (uint32_t p = 0; p < job->partitions; p++)
        count += job->partition[p].result.sample_count;
    if (job->parts < 2)
        goto done;
    samples = mr__alloc((count + 1) * sizeof *samples);
    MR_CHECK(samples != NULL, MR_NO_MEMORY, "no memory for the samples of the result");
    for (uint32_t p = 0; p < job->partitions; p++) {
        const mr__run *run = &job->partition[p].result;
        for (size_t i = 0; i < run->sample_count; i++)
            mr__pair_read(&job->result_layout, run->samples[i], &samples[at++]);
    }
    MR_TRY(mr__splitters_from(job, &job->result_order, samples, count, job->parts, error));
done:
    mr__free(samples);
    return status;
}

/* Cursors on every run, each at its first pair that is not below `from`. */
static mr_status open_cursors(mr__job *job, const mr__pair *from, mr__run_cursor *cursors, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t share = job->budget.limit / SHARE / job->worker_count / job->partitions;
    const size_t ahead = share < AHEAD ? (size_t)share : AHEAD;
    for (uint32_t p = 0; p < job->partitions; p++)
        MR_TRY(mr__run_cursor_open(&cursors[p], &job->partition[p].result, &job->result_order, from, job->spill, ahead,
                                   &job->budget, error));
done:
    return status;
}

mr_status mr__sort_task(mr__task *task, mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = task->job;
    const uint32_t part = task->partition;
    mr__sink sink = {.job = job, .lane = worker->engine, .limit = job->limit};
    mr__merge merge = {0};
    const mr__pair *from = part > 0 && part <= job->splitter_count ? &job->splitters[part - 1] : NULL;
    const mr__pair *to = part < job->splitter_count ? &job->splitters[part] : NULL;
    mr__run_cursor *cursors = mr__alloc_zero(job->partitions, sizeof *cursors);
    MR_CHECK(cursors != NULL, MR_NO_MEMORY, "no memory to merge %u partitions", job->partitions);
    merge.cursors = cursors;
    merge.count = job->partitions;
    MR_TRY(mr__sink_open_part(&sink, part, error));
    if (part > job->splitter_count) {       /* fewer distinct results than parts: this one is empty */
        MR_TRY(mr__sink_close_part(&sink, error));
        goto done;
    }
    MR_TRY(open_cursors(job, from, cursors, error));
    MR_TRY(mr__merge_open(&merge, &job->result_order, cursors, job->partitions, error));
    while (!mr__sink_is_full(&sink)) {
        const uint8_t *at;
        mr__pair pair;
        MR_TRY(mr__merge_next(&merge, &at, error));
        if (at == NULL)
            break;
        mr__pair_read(&job->result_layout, at, &pair);
        if (from != NULL && mr__order_compare(&job->result_order, &pair, from, true) < 0)
            continue;
        from = NULL;
        if (to != NULL && mr__order_compare(&job->result_order, &pair, to, true) >= 0)
            break;
        MR_TRY(mr__sink_pair(&sink, &pair, error));
        if (sink.pairs % 65536 == 0)
            MR_CHECK(!mr__stopped(job), MR_CANCELLED, "the job was cancelled; nothing was written");
    }
    MR_TRY(mr__sink_close_part(&sink, error));
done:
    mr__merge_close(&merge);
    mr__free(cursors);
    mr__sink_fini(&sink);
    return status;
}
