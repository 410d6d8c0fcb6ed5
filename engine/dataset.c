/* dataset.c: a handle on input: its sources, and what of it is pinned in memory. */
#include "internal.h"

#include "memory.h"

mr_status mr_dataset_open(mr_session *session, const char *const *paths, size_t count, mr_dataset **out)
{
    mr_status status = MR_OK;
    mr__error *error = &session->error;
    mr_dataset *dataset = NULL;
    mr__burst *burst = NULL;
    mr__error_clear(error);
    MR_CHECK(count > 0 && count < UINT32_MAX, MR_BAD_USAGE, "no input is named");
    for (size_t i = 0; i < count; i++) {
        if (strcmp(paths[i], "-") == 0)
            MR_TRY(mr__session_burst(session, &burst, error));
    }
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
    MR_TRY(mr__sources_open(paths, count, burst, &dataset->sources, error));
    *out = dataset;
    dataset = NULL;
done:
    mr_dataset_close(dataset);
    return status;
}

void mr__pinned_drop(mr_dataset *dataset)
{
    mr__pinned *pinned = &dataset->pinned;
    mr__pages_free(pinned->memory, pinned->blocks * pinned->stride);
    mr__free(pinned->data);
    *pinned = (mr__pinned){0};
}

void mr_dataset_close(mr_dataset *dataset)
{
    if (dataset == NULL)
        return;
    mr__pinned_drop(dataset);
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
