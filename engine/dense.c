/* dense.c: results over dense keys.
 *
 * Integer sums: each worker has a table of its own; the tables are added. Floating sums over rows: each block of rows
 * has a table (blocks lie at fixed places, map_rows.c); the tables are added in the order of the blocks, each as soon
 * as those before it are, so that only a few are in memory (of many ranks, or with devices, all are kept until the end
 * of the round). So the sum of a key is
 *     ((block 0 + block 1) + block 2) + ...,
 * each block summed in the order of its rows (or as the row kernel documents), whatever the number of workers and the
 * vector level: the same bits each time. The error is that of recursive summation: at most (n - 1) u sum|x| with
 * u = 2^-53 (N. Higham, "Accuracy and Stability of Numerical Algorithms", 4.2). */
#include "sink.h"

#include "memory.h"

static size_t values_of(const mr__job *job)
{
    return (size_t)job->plan.dense_keys * job->dense_width;
}

mr_status mr__dense_begin(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t count = values_of(job);
    if (job->dense_table == NULL)
        job->dense_table = mr__arena_alloc(&job->arena, count * 8, 64);
    MR_CHECK(job->dense_table != NULL, MR_NO_MEMORY, "no memory for %zu dense values", count);
    memset(job->dense_table, 0, count * 8);
    job->next_fold = 0;
done:
    return status;
}

mr_status mr__dense_take(mr__job *job, mr__lane *lane, uint64_t block, double **table, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t bytes = values_of(job) * 8;
    pthread_mutex_lock(&job->fold_mutex);
    double *made = job->dense_results[block];       /* of the last round, or of a device whose result is checked */
    if (made == NULL && job->spare_tables != NULL) {
        made = job->spare_tables;
        memcpy(&job->spare_tables, made, sizeof job->spare_tables);
    }
    if (made == NULL && ++job->tables_made > job->tables_reserved)
        mr__budget_force(&job->budget, bytes);
    pthread_mutex_unlock(&job->fold_mutex);
    if (made == NULL)
        made = mr__arena_alloc(&lane->dense_blocks, bytes, 64);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the sums of block %llu", (unsigned long long)block);
    memset(made, 0, bytes);
    *table = made;
done:
    return status;
}

static void add_table(double *sum, const double *table, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += table[i];
}

void mr__dense_give(mr__job *job, uint64_t block, double *table)
{
    pthread_mutex_lock(&job->fold_mutex);
    job->dense_results[block] = table;
    if (job->folds_early && !job->folding) {
        job->folding = true;
        while (job->next_fold < job->blocks && job->dense_results[job->next_fold] != NULL) {
            double *next = job->dense_results[job->next_fold];
            pthread_mutex_unlock(&job->fold_mutex);
            add_table(job->dense_table, next, values_of(job));
            pthread_mutex_lock(&job->fold_mutex);
            job->dense_results[job->next_fold++] = NULL;
            memcpy(next, &job->spare_tables, sizeof job->spare_tables);
            job->spare_tables = next;
        }
        job->folding = false;
    }
    pthread_mutex_unlock(&job->fold_mutex);
}

mr_status mr__dense_fold(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t count = values_of(job);
    MR_CHECK(!job->folds_early || job->next_fold == job->blocks, MR_INTERNAL, "%llu of %llu blocks were folded",
             (unsigned long long)job->next_fold, (unsigned long long)job->blocks);
    for (uint64_t b = job->next_fold; job->dense_results != NULL && b < job->blocks; b++) {
        if (job->dense_results[b] != NULL)
            add_table(job->dense_table, job->dense_results[b], count);
    }
    for (uint32_t w = 0; job->dense_results == NULL && w < job->worker_count; w++) {
        void *table = job->lanes[w].emitter.dense;
        if (table == NULL)
            continue;
        for (size_t i = 0; i < count; i++) {
            if (job->dense_f64)
                ((double *)job->dense_table)[i] += ((double *)table)[i];
            else
                ((uint64_t *)job->dense_table)[i] += ((uint64_t *)table)[i];
        }
        memset(table, 0, count * 8);
    }
done:
    return status;
}

static mr_round round_of(mr__job *job, uint32_t index)
{
    mr_round round = {.params = job->plan.params, .params_size = job->plan.params_size, .index = index,
                      .dense = job->dense_table, .dense_keys = job->plan.dense_keys, .width = job->dense_width};
    if (job->joint != NULL)
        round.rows = mr__joint_rows(job->joint);
    for (uint32_t w = 0; w < job->worker_count && job->joint == NULL; w++)
        round.rows += job->lanes[w].rows;
    return round;
}

mr_status mr__dense_round(mr__job *job, uint32_t index, bool *again, mr__error *error)
{
    mr_status status = MR_OK;
    *again = false;
    if (job->app->round == NULL)
        return MR_OK;
    mr_round round = round_of(job, index);
    const mr_status result = job->app->round(&round);
    MR_CHECK(result == MR_OK, result, "round %u of app %s failed: %s", index, job->app_name, mr_status_meaning(result));
    *again = round.again;
done:
    return status;
}

mr_status mr__dense_result(mr__job *job, mr__lane *lane, mr__error *error)
{
    mr_status status = MR_OK;
    mr__sink sink = {.job = job, .lane = lane};
    mr__run *run = &job->partition[0].result;
    if (job->collect)
        MR_TRY(mr__sink_open_run(&sink, run, error));
    else
        MR_TRY(mr__sink_open_part(&sink, 0, error));
    if (job->app->finish != NULL) {
        mr_writer *writer;
        const mr_round round = round_of(job, job->stats.rounds - 1);
        MR_TRY(mr__sink_begin_free_text(&sink, &writer, error));
        const mr_status finished = job->app->finish(&round, writer);
        MR_CHECK(finished == MR_OK || writer->status != MR_OK, finished, "finish of app %s failed: %s", job->app_name,
                 mr_status_meaning(finished));
        MR_TRY(mr__sink_end_free_text(&sink, error));
    } else {
        sink.limit = job->limit;
        for (uint64_t key = 0; key < job->plan.dense_keys && !mr__sink_is_full(&sink); key++) {
            const mr__pair pair = {(const uint8_t *)&key,
                                   (const uint8_t *)job->dense_table + key * job->dense_width * 8, 8,
                                   job->dense_width * 8};
            MR_TRY(mr__sink_pair(&sink, &pair, error));
        }
    }
    atomic_store(&job->keys, job->app->finish != NULL ? job->plan.dense_keys : sink.pairs);
    if (job->collect)
        MR_TRY(mr__run_finish(run, lane, false, error));
    else
        MR_TRY(mr__sink_close_part(&sink, error));
done:
    mr__sink_fini(&sink);
    return status;
}
