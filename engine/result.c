/* result.c: what a job leaves to its caller: numbers, and pairs that stayed in memory (or in the spill). */
#include "internal.h"

#include "memory.h"

struct mr_result {
    mr_stats stats;
    char run[MR__RUN_ID_SIZE];
    char record[MR__PATH_MAX];
    /* results in memory */
    mr__budget budget;
    mr__chunk_pool pool;
    mr__run *runs;
    uint32_t run_count;
    mr__order order;
    bool sorted;
    uint64_t limit, given;
    mr__spill *spill;
    mr__run_cursor *cursors;
    mr__merge merge;
    uint32_t run_index;
    bool open;
    mr__error error;            /* of reading spilled pairs back */
    mr__error *session_error;
};

mr_status mr__result_create(mr__job *job, mr_result **out, mr__error *error)
{
    mr_status status = MR_OK;
    mr_result *result = mr__alloc_zero(1, sizeof *result);
    MR_CHECK(result != NULL, MR_NO_MEMORY, "no memory for the result");
    result->session_error = &job->session->error;
    if (job->output == NULL) {
        result->runs = mr__alloc_zero(job->partitions, sizeof *result->runs);
        result->cursors = mr__alloc_zero(job->partitions, sizeof *result->cursors);
        MR_CHECK(result->runs != NULL && result->cursors != NULL, MR_NO_MEMORY, "no memory for the result");
    }
    *out = result;
    result = NULL;
done:
    mr_result_close(result);
    return status;
}

void mr__result_take(mr_result *result, mr__job *job)
{
    result->stats = job->stats;
    memcpy(result->run, job->run, sizeof result->run);
    memcpy(result->record, job->record_path, sizeof result->record);
    result->stats.run = result->run;
    result->stats.record = result->record;
    if (job->output != NULL)
        return;
    mr__budget_init(&result->budget, UINT64_MAX);
    for (uint32_t w = 0; w < job->worker_count; w++)    /* what only the job needed */
        mr__lane_fini(&job->lanes[w]);
    job->worker_count = 0;
    mr__chunk_pool_move(&result->pool, &job->pool, &result->budget);
    for (uint32_t p = 0; p < job->partitions; p++) {
        mr__run *run = &job->partition[p].result;
        if (run->pool == NULL)
            continue;
        result->runs[result->run_count] = *run;
        result->runs[result->run_count++].pool = &result->pool;
        run->pool = NULL;
    }
    result->order = job->result_order;
    result->sorted = job->sorts;
    result->limit = job->limit;
    result->spill = job->spill;
    job->spill = NULL;
}

const mr_stats *mr_result_stats(const mr_result *result)
{
    return &result->stats;
}

void mr_result_rewind(mr_result *result)
{
    if (result->open && result->sorted)
        mr__merge_close(&result->merge);
    else if (result->open && result->run_index < result->run_count)
        mr__run_cursor_close(&result->cursors[result->run_index]);
    result->open = false;
    result->run_index = 0;
    result->given = 0;
    mr__error_clear(&result->error);
}

static mr_status open_cursor(mr_result *result, uint32_t index)
{
    return mr__run_cursor_open(&result->cursors[index], &result->runs[index], &result->order, NULL, result->spill,
                               result->pool.capacity, &result->budget, &result->error);
}

static mr_status next_sorted(mr_result *result, const uint8_t **at)
{
    mr_status status = MR_OK;
    if (!result->open) {
        result->open = true;
        result->merge = (mr__merge){.cursors = result->cursors, .count = result->run_count};
        for (uint32_t i = 0; i < result->run_count; i++)
            MR_TRY(open_cursor(result, i));
        MR_TRY(mr__merge_open(&result->merge, &result->order, result->cursors, result->run_count, &result->error));
    }
    MR_TRY(mr__merge_next(&result->merge, at, &result->error));
done:
    return status;
}

static mr_status next_unsorted(mr_result *result, const uint8_t **at)
{
    mr_status status = MR_OK;
    while (result->run_index < result->run_count) {
        if (!result->open)
            MR_TRY(open_cursor(result, result->run_index));
        result->open = true;
        MR_TRY(mr__run_cursor_next(&result->cursors[result->run_index], at, &result->error));
        if (*at != NULL)
            break;
        mr__run_cursor_close(&result->cursors[result->run_index]);
        result->open = false;
        result->run_index++;
    }
done:
    return status;
}

bool mr_result_next(mr_result *result, mr_slice *key, mr_slice *value)
{
    const uint8_t *at = NULL;
    if (result->run_count == 0 || result->error.code != MR_OK || (result->limit != 0 && result->given == result->limit))
        return false;
    if ((result->sorted ? next_sorted(result, &at) : next_unsorted(result, &at)) != MR_OK) {
        *result->session_error = result->error;
        return false;
    }
    if (at == NULL)
        return false;
    mr__pair pair;
    mr__pair_read(&result->order.layout, at, &pair);
    *key = (mr_slice){pair.key, pair.key_size};
    *value = (mr_slice){pair.value, pair.value_size};
    result->given++;
    return true;
}

void mr_result_close(mr_result *result)
{
    if (result == NULL)
        return;
    mr_result_rewind(result);
    for (uint32_t i = 0; i < result->run_count; i++)
        mr__run_fini(&result->runs[i]);
    if (result->pool.budget != NULL)
        mr__chunk_pool_fini(&result->pool);
    mr__free(result->runs);
    mr__free(result->cursors);
    mr__spill_destroy(result->spill);
    mr__free(result);
}
