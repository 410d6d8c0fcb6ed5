/* dataset.c: a handle on input: its sources, and what of it is pinned in memory. */
#include "internal.h"

#include "memory.h"

static mr_status burst_of(void *session, mr__burst **burst, mr__error *error)
{
    return mr__session_burst(session, burst, error);
}

mr_status mr_dataset_open(mr_session *session, const char *const *paths, size_t count, mr_dataset **out)
{
    mr_status status = MR_OK;
    mr__error *error = &session->error;
    mr_dataset *dataset = NULL;
    const mr__spool spool = {.burst = burst_of, .context = session, .cancelled = &session->cancelled};
    mr__error_clear(error);
    MR_CHECK(count > 0 && count < UINT32_MAX, MR_BAD_USAGE, "no input is named");
    dataset = mr__alloc_zero(1, sizeof *dataset);
    MR_CHECK(dataset != NULL, MR_NO_MEMORY, "no memory for a dataset");
    dataset->session = session;
    dataset->inputs = mr__alloc_zero(count, sizeof *dataset->inputs);
    MR_CHECK(dataset->inputs != NULL, MR_NO_MEMORY, "no memory for a dataset");
    for (size_t i = 0; i < count; i++) {
        dataset->inputs[i] = mr__strdup(paths[i]);
        MR_CHECK(dataset->inputs[i] != NULL, MR_NO_MEMORY, "no memory for a dataset");
        dataset->input_count++;
    }
    MR_TRY(mr__sources_open(session->names, paths, count, &spool, &dataset->sources, error));
    *out = dataset;
    dataset = NULL;
done:
    if (status == MR_CANCELLED)
        atomic_store(&session->cancelled, false);       /* who asked was heard */
    mr_dataset_close(dataset);
    return status;
}

static void pinned_drop(mr_dataset *dataset)
{
    mr__pinned *pinned = &dataset->pinned;
    mr__pages_free(pinned->memory, pinned->blocks * pinned->stride);
    mr__free(pinned->data);
    *pinned = (mr__pinned){0};
}

bool mr__pinned_stays(const mr__job *job)
{
    const mr__pinned *pinned = &job->dataset->pinned;
    return job->app->input != MR_INPUT_RECORDS ||
           (pinned->data != NULL && pinned->record_size == job->plan.record_size &&
            pinned->column_count == job->plan.column_count && pinned->block_rows == job->block_rows &&
            pinned->columns_hash == job->columns_hash);
}

void mr__pinned_prepare(mr__job *job)
{
    mr__pinned *pinned = &job->dataset->pinned;
    if (mr__pinned_stays(job))
        return;
    pinned_drop(job->dataset);
    if (job->app->round != NULL)
        job->dataset->pin = true;
    if (!job->dataset->pin || job->blocks == 0)
        return;
    pinned->blocks = job->blocks;
    pinned->stride = mr__pinned_stride(job);
    pinned->data = mr__alloc_zero(job->blocks, sizeof *pinned->data);
    pinned->memory = mr__pages_alloc(job->blocks * pinned->stride);
    if (pinned->data == NULL || pinned->memory == NULL) {
        pinned_drop(job->dataset);
        return;
    }
    pinned->record_size = job->plan.record_size;
    pinned->column_count = job->plan.column_count;
    pinned->columns_hash = job->columns_hash;
    pinned->block_rows = job->block_rows;
}

void mr_dataset_close(mr_dataset *dataset)
{
    if (dataset == NULL)
        return;
    pinned_drop(dataset);
    mr__sources_close(dataset->sources);
    for (uint32_t i = 0; i < dataset->input_count; i++)
        mr__free(dataset->inputs[i]);
    mr__free(dataset->inputs);
    mr__free(dataset);
}

void mr_dataset_pin(mr_dataset *dataset)
{
    dataset->pin = true;
}

uint64_t mr_dataset_bytes(const mr_dataset *dataset)
{
    return dataset->sources->bytes;
}

uint32_t mr_dataset_sources(const mr_dataset *dataset)
{
    return dataset->sources->count;
}

const char *mr_dataset_source_name(const mr_dataset *dataset, uint32_t index)
{
    return index < dataset->sources->count ? dataset->sources->items[index].path : NULL;
}
