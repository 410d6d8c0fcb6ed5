/* explain.c: the plan of a job in words, without running it. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "memory.h"
#include "number.h"
#include "params.h"

static double mebibytes(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

static void explain_input(FILE *to, const mr__job *job)
{
    if (job->app->input == MR_INPUT_RANGE) {
        fprintf(to, "input      %llu rows, no files\n", (unsigned long long)job->plan.range);
    } else {
        fprintf(to, "input      %u files, %.1f MiB\n", job->dataset->sources->count,
                mebibytes(job->dataset->sources->bytes));
        fprintf(to, "reading    %s: %s\n", mr__read_path_name(job->read.path), job->read.why);
    }
    if (job->app->input == MR_INPUT_RECORDS || job->app->input == MR_INPUT_RANGE)
        fprintf(to,
                "splits     %llu blocks of %zu rows at fixed places; a task takes 1/%u of what is left, at most %llu "
                "blocks\n",
                (unsigned long long)job->blocks, job->block_rows, job->worker_count * 4,
                (unsigned long long)job->largest_task);
    else
        fprintf(to,
                "splits     cut at %s; a task takes 1/%u of what is left, %.0f to %.0f MiB; files up to %zu KiB stay "
                "whole\n",
                job->app->input == MR_INPUT_FILES ? "file ends" : job->app->unit == MR_WORDS ? "blanks" : "line ends",
                job->worker_count * 4, mebibytes(job->smallest_task), mebibytes(job->largest_task), job->window >> 10);
}

/* How a device keeps what the kernel emits. */
static const char *device_buffer(const mr__job *job)
{
    static const char *const forced[] = {NULL, "array buffer, forced by MILLRACE_DEVICE_BUFFER",
                                         "combine buffer, forced by MILLRACE_DEVICE_BUFFER"};
    if (job->dense)
        return job->devices.form == MR__DEVICE_ROWS ? "dense table for each block" : "dense table for each task";
    if (job->devices.form == MR__DEVICE_RECORDS)
        return "array buffer, one value a row";
    if (job->session->device_buffer != MR__DEVICE_AUTO)
        return forced[job->session->device_buffer];
    return job->combines ? "combine buffer while pairs share keys, else array buffer; the first tasks tell"
                         : "array buffer: nothing combines";
}

static void explain_workers(FILE *to, const mr__job *job)
{
    const mr__topology *topology = &job->session->topology;
    fprintf(to, "workers    %u CPU workers on %u physical cores (%u hardware threads), %u NUMA node%s%s%s\n",
            job->cpu_workers, topology->physical, topology->count, topology->nodes, topology->nodes == 1 ? "" : "s",
            job->worker_note[0] != '\0' ? "; " : "", job->worker_note);
    fprintf(to, "simd       %s%s\n", mr__level_name(mr__level_current()),
            job->app->row != NULL ? ", row kernel in a version of its own" : "");
    for (uint32_t d = 0; d < job->devices.count; d++) {
        const mr__device_info *info = &job->devices.item[d].config.device;
        fprintf(to, "device     %s: %s, %u units, %u tasks in flight%s\n", info->id, info->name, info->units,
                job->devices.item[d].config.depth, info->unified ? ", shares this machine's memory" : "");
    }
    if (job->devices.count > 0)
        fprintf(to, "           %s; results come back in slots of %.1f MiB\n", device_buffer(job),
                mebibytes(job->devices.slot_bytes));
    if (job->devices.note[0] != '\0')
        fprintf(to, "devices    %s\n", job->devices.note);
}

static void explain_pairs(FILE *to, const mr__job *job)
{
    if (job->dense) {
        fprintf(to, "pairs      dense: a table of %llu x %u values per worker%s; no shuffle\n",
                (unsigned long long)job->plan.dense_keys, job->dense_width,
                job->dense_results != NULL ? " and block, folded in block order (reproducible)" : "");
        return;
    }
    fprintf(to, "pairs      %s, %u partitions, chunks of %u KiB\n",
            job->combines   ? job->by_range ? "combined in place, by range from a sample of the input"
                                            : "combined in place"
            : job->by_range ? "by range, from a sample of the input"
                            : "kept apart, grouped by sorting",
            job->partitions, (job->pool.capacity + 1023) >> 10);
    if (job->combines)
        fprintf(to,
                "buffers    combine buffer up to %.1f MiB per worker, then its pairs go to the partitions; %s reduce\n",
                mebibytes(job->lane_cap), job->pipelined ? "pipelined" : "barrier");
    if (job->sorts)
        fprintf(to, "order      by %s: each partition is sorted, then all are merged\n",
                job->sort == MR_SORT_VALUE ? "value, descending" : "key");
}

mr_status mr_explain(mr_session *session, const mr_job *request, char **text)
{
    mr_status status = MR_OK;
    mr__error *error = &session->error;
    char *buffer = NULL;
    size_t size = 0;
    FILE *to = NULL;
    locale_t locale = (locale_t)0;
    mr__job job = {.session = session, .request = request, .dataset = request->dataset,
                   .devices = {.blob = -1}, .ranks = mr_session_ranks(session)};
    mr__error_clear(error);
    MR_TRY(mr__job_init(&job, error));
    MR_TRY(mr__job_choose_workers(&job, error));
    if (request->ranks != 0)            /* not before: the devices are this machine's, and so the same for all */
        job.ranks = job.working = request->ranks;
    MR_TRY(mr__job_plan(&job, error));
    MR_TRY(mr__devices_fit(&job, error));
    if (job.dataset != NULL)
        MR_TRY(mr__read_choose(job.dataset->sources, &job.read, error));
    locale = mr__numbers_begin();
    to = open_memstream(&buffer, &size);
    MR_CHECK(to != NULL, MR_NO_MEMORY, "no memory for the explanation");
    fprintf(to, "app        %s: %s\n", job.app_name, job.app->summary != NULL ? job.app->summary : "");
    for (uint32_t i = 0; i < job.app->param_count; i++) {
        char value[256];
        fprintf(to, "parameter  %s=%s\n", job.app->params[i].name,
                mr__params_format(&job.app->params[i], job.plan.params, value, sizeof value));
    }
    explain_input(to, &job);
    explain_workers(to, &job);
    explain_pairs(to, &job);
    fprintf(to,
            "memory     limit %.0f MiB, of which %.0f MiB for buffers; then runs are spilled to the burst directory\n",
            mebibytes(session->memory_limit), mebibytes(job.budget.limit));
    if (request->output != NULL)
        fprintf(to, "output     %u part%s in %s\n", job.parts, job.parts == 1 ? "" : "s", request->output);
    const bool written = fclose(to) == 0;
    to = NULL;
    MR_CHECK(written, MR_NO_MEMORY, "no memory for the explanation");
    *text = buffer;
    buffer = NULL;
done:
    mr__numbers_end(locale);
    if (to != NULL)
        fclose(to);
    free(buffer);
    mr__job_fini(&job);
    return status;
}
