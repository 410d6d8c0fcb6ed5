/* dense.c: results over dense keys.
 *
 * Integer sums: each worker has a table of its own; the tables are added. Floating sums over rows: each block of rows
 * has a table (blocks lie at fixed places, map_rows.c); the tables are added in the order of the blocks. So the sum of
 * a key is
 *     ((block 0 + block 1) + block 2) + ...,
 * each block summed in the order of its rows (or as the row kernel documents), whatever the number of workers and the
 * vector level: the same bits each time. The error is that of recursive summation: at most (n - 1) u sum|x| with
 * u = 2^-53 (N. Higham, "Accuracy and Stability of Numerical Algorithms", 4.2).
 *
 *   one rank     a table is added as soon as those of the blocks before it are: only a few wait
 *   many ranks   all tables of a rank wait for the end of the round, when they are sent in the order of the blocks
 *                (joint_dense.c), and longer, as they are sent again if somebody is lost. A sum has one order, and
 *                other ranks have the blocks in between: a rank cannot add up what it has.
 *
 * Tables wait in memory as long as the plan has room for them (plan_memory.c) or the budget, and then in the spill. It
 * is one of their own, begun anew in each round, so that the disk holds one round at most.
 *
 *   take --> filled by a worker --> give -+--> kept: dense_results[block] -----------+--> added, or sent --> spare
 *                                         `--> spilled: the mark, and extents of it -'
 *
 * Rejected: larger blocks where memory is short. Where blocks lie would depend on the limit, and with it the bits. */
#include "sink.h"

#include "memory.h"

enum { EXTENT_BYTES = 256 << 10, READ_AHEAD = 1 << 20 };

static double spilled_mark;         /* dense_results[] of a block whose table lies in the spill */

mr_status mr__dense_make_table(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t count = mr__dense_values(job);
    if (job->dense_table == NULL)
        job->dense_table = mr__arena_alloc(&job->arena, count * 8, MR__DENSE_ALIGNMENT);
    MR_CHECK(job->dense_table != NULL, MR_NO_MEMORY, "no memory for %zu dense values", count);
done:
    return status;
}

mr_status mr__dense_begin(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(mr__dense_make_table(job, error));
    memset(job->dense_table, 0, mr__dense_values(job) * 8);
    mr__dense_forget(job);
done:
    return status;
}

/* ---- the spill --------------------------------------------------------------------------------------------------- */

static size_t pieces_of(const mr__job *job)
{
    return (mr__dense_values(job) * 8 + EXTENT_BYTES - 1) / EXTENT_BYTES;
}

static size_t extents_bytes(const mr__job *job)
{
    return (size_t)job->blocks * pieces_of(job) * sizeof(mr__extent);
}

static mr_status open_spill(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__dense_spill *spill = &job->dense_spill;
    mr__burst *burst;
    if (spill->extents == NULL) {
        spill->extents = mr__pages_alloc(extents_bytes(job));
        MR_CHECK(spill->extents != NULL, MR_NO_MEMORY, "no memory for a list of %llu spilled tables",
                 (unsigned long long)job->blocks);
        mr__budget_force(&job->budget, extents_bytes(job));
    }
    if (spill->spill == NULL) {
        MR_TRY(mr__session_burst(job->session, &burst, error));
        MR_TRY(mr__spill_create(burst, MR__CODEC_NONE, &spill->spill, error));
    }
    if (spill->writer == NULL)
        MR_TRY(mr__spill_writer_create(spill->spill, &job->budget, &spill->writer, error));
done:
    return status;
}

static mr_status spill_table(mr__job *job, uint64_t block, const double *table, mr__error *error)
{
    mr_status status = MR_OK;
    mr__dense_spill *spill = &job->dense_spill;
    const size_t bytes = mr__dense_values(job) * 8;
    pthread_mutex_lock(&spill->mutex);
    MR_TRY(open_spill(job, error));
    mr__extent *extent = &spill->extents[block * pieces_of(job)];
    for (size_t at = 0; at < bytes; at += EXTENT_BYTES, extent++) {
        const size_t size = bytes - at < EXTENT_BYTES ? bytes - at : EXTENT_BYTES;
        MR_TRY(mr__spill_write(spill->writer, (const uint8_t *)table + at, size, 0, extent, error));
    }
    atomic_fetch_add_explicit(&spill->bytes, bytes, memory_order_relaxed);
done:
    pthread_mutex_unlock(&spill->mutex);
    return status;
}

static mr_status read_spilled(mr__job *job, uint64_t block, mr__dense_look *look, void *context, mr__error *error)
{
    mr_status status = MR_OK;
    mr__dense_spill *spill = &job->dense_spill;
    const size_t pieces = pieces_of(job);
    mr__spill_reader *reader = NULL;
    const uint8_t *bytes;
    mr__extent extent;
    size_t first = 0;
    pthread_mutex_lock(&spill->mutex);
    status = mr__spill_flush(spill->writer, error);
    pthread_mutex_unlock(&spill->mutex);
    MR_TRY(status);
    MR_TRY(mr__spill_reader_create(spill->spill, &spill->extents[block * pieces], pieces, READ_AHEAD, &job->budget,
                                   &reader, error));
    for (;;) {
        MR_TRY(mr__spill_reader_next(reader, &bytes, &extent, error));
        if (bytes == NULL)
            break;
        MR_TRY(look(context, (const double *)(const void *)bytes, first, extent.size / 8, error));
        first += extent.size / 8;
    }
done:
    mr__spill_reader_destroy(reader);
    return status;
}

static void close_spill(mr__dense_spill *spill)
{
    mr__spill_writer_destroy(spill->writer);
    mr__spill_destroy(spill->spill);
    spill->writer = NULL;
    spill->spill = NULL;
}

void mr__dense_fini(mr__job *job)
{
    close_spill(&job->dense_spill);
    if (job->dense_spill.extents != NULL)
        mr__pages_free(job->dense_spill.extents, extents_bytes(job));
}

/* ---- tables of blocks -------------------------------------------------------------------------------------------- */

/* With the mutex held. */
static void put_spare(mr__job *job, double *table)
{
    memcpy(table, &job->spare_tables, sizeof job->spare_tables);
    job->spare_tables = table;
}

void mr__dense_forget(mr__job *job)
{
    for (uint64_t b = 0; job->dense_results != NULL && b < job->blocks; b++) {
        if (job->dense_results[b] != NULL && job->dense_results[b] != &spilled_mark)
            put_spare(job, job->dense_results[b]);
        job->dense_results[b] = NULL;
    }
    job->tables_kept = 0;
    job->next_fold = 0;
    close_spill(&job->dense_spill);
}

mr_status mr__dense_take(mr__job *job, mr__lane *lane, double **table, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t bytes = mr__dense_values(job) * 8;
    pthread_mutex_lock(&job->fold_mutex);
    double *made = job->spare_tables;
    if (made != NULL)
        memcpy(&job->spare_tables, made, sizeof job->spare_tables);
    pthread_mutex_unlock(&job->fold_mutex);
    if (made == NULL)
        made = mr__arena_alloc(&lane->dense_blocks, bytes, MR__DENSE_ALIGNMENT);
    MR_CHECK(made != NULL, MR_NO_MEMORY, "no memory for the sums of a block");
    memset(made, 0, bytes);
    *table = made;
done:
    return status;
}

void mr__dense_add(const mr__job *job, void *sum, const void *values, size_t count)
{
    const bool f64 = job->dense_f64;
    for (size_t i = 0; i < count; i++) {
        if (f64)
            ((double *)sum)[i] += ((const double *)values)[i];
        else
            ((uint64_t *)sum)[i] += ((const uint64_t *)values)[i];
    }
}

/* context: the job. */
static mr_status add_to_result(void *context, const double *values, size_t first, size_t count, mr__error *error)
{
    const mr__job *job = context;
    (void)error;
    mr__dense_add(job, (double *)job->dense_table + first, values, count);
    return MR_OK;
}

mr_status mr__dense_look_at(mr__job *job, uint64_t block, mr__dense_look *look, void *context, mr__error *error)
{
    const double *table = job->dense_results[block];
    return table == &spilled_mark ? read_spilled(job, block, look, context, error)
                                  : look(context, table, 0, mr__dense_values(job), error);
}

/* With the mutex held. Each worker has a table to fill, and one more may wait? */
static bool may_wait(mr__job *job)
{
    if (job->tables_kept + job->worker_count >= job->tables_reserved) {
        if (!mr__budget_reserve(&job->budget, mr__dense_table_bytes(job)))
            return false;
        job->tables_reserved++;
    }
    return true;
}

/* With the mutex held, which it gives up while it adds. */
static mr_status fold_ready(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    job->folding = true;
    while (status == MR_OK && job->next_fold < job->blocks && job->dense_results[job->next_fold] != NULL) {
        const uint64_t block = job->next_fold;
        double *next = job->dense_results[block];
        pthread_mutex_unlock(&job->fold_mutex);
        status = mr__dense_look_at(job, block, add_to_result, job, error);
        pthread_mutex_lock(&job->fold_mutex);
        job->dense_results[block] = NULL;
        job->next_fold++;
        if (next == &spilled_mark)
            continue;
        job->tables_kept--;
        put_spare(job, next);
    }
    job->folding = false;
    return status;
}

mr_status mr__dense_give(mr__job *job, uint64_t block, double *table, mr__error *error)
{
    mr_status status = MR_OK;
    pthread_mutex_lock(&job->fold_mutex);
    /* what is added at once does not wait: the worker takes no other table meanwhile */
    const bool at_once = job->folds_early && !job->folding && block == job->next_fold;
    const bool kept = at_once || may_wait(job);
    if (!kept) {
        pthread_mutex_unlock(&job->fold_mutex);
        status = spill_table(job, block, table, error);
        pthread_mutex_lock(&job->fold_mutex);
        put_spare(job, table);
        MR_TRY(status);
    }
    job->tables_kept += kept;
    job->dense_results[block] = kept ? table : &spilled_mark;
    if (job->folds_early && !job->folding)
        status = fold_ready(job, error);
done:
    pthread_mutex_unlock(&job->fold_mutex);
    return status;
}

void mr__dense_add_lanes(mr__job *job, void *sum)
{
    const size_t count = mr__dense_values(job);
    for (uint32_t w = 0; w < job->worker_count; w++) {
        void *table = job->lanes[w].emitter.dense;
        if (table == NULL || table == sum)
            continue;
        mr__dense_add(job, sum, table, count);
        memset(table, 0, count * 8);
    }
}

mr_status mr__dense_fold(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    MR_CHECK(job->dense_results == NULL || job->next_fold == job->blocks, MR_INTERNAL,
             "%llu of %llu blocks were folded", (unsigned long long)job->next_fold, (unsigned long long)job->blocks);
    if (job->dense_results == NULL)
        mr__dense_add_lanes(job, job->dense_table);
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
