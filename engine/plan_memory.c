/* plan_memory.c: how the memory of a job is shared out, and into how many partitions and parts its pairs go.
 *
 * Of the limit, less what the process and the files in memory hold already, less a fixed overhead:
 *     1/2   combine buffers of the workers; the reduce tasks read them where they are
 *     1/4   tables of the partitions (pipelined reduce)
 *     1/4   chunks on their way, readers, writers; half of it is kept free for the tables of the reduce stage
 * and in the reduce stage 3/8 for the tasks that run at once, 3/4 where there are no combine buffers. The number of
 * partitions follows from that: one partition of the largest thinkable shuffle fits a reduce task; what is larger still
 * is sorted externally. What sorting a partition takes beside the pairs, references, is set aside from the start for
 * each worker: where pairs are combined a sixteenth, as they fill chunks or tables to the brim as well; where they are
 * not, as much as a likely partition has.
 *
 * Sums over dense keys: the tables that are filled or hold the result cannot be spilled, and are part of the overhead
 * (memory_of_sums). Those of blocks that wait get an eighth where they are folded while others map, a quarter on many
 * ranks, which keep all they can until the end of the round; what is more is spilled (dense.c). Another eighth is for
 * sums of other ranks that wait at the coordinator, which any of them may become (joint_dense.c). */
#include "internal.h"

#include <stdio.h>

#include "memory.h"

enum {
    CHUNK_SMALLEST = 4 << 10,
    CHUNK_LARGEST = 256 << 10,
    PARTITIONS = 64,
    PARTITIONS_MOST = 1024,
    PARTS = 16,
    SHARES_LEAST = 4,                   /* of a rank */
    OVERHEAD = 12 << 20,
    OVERHEAD_WORKER = 4 << 20,
    LEAST_PER_WORKER = 6 << 20,
    REF = 2 * sizeof(mr__ref),          /* bytes to sort a pair by */
    KEY_LIKELY = 8,
    /* of what is shared out */
    HEADROOM_SHARE = 8,
    TABLES_SHARE = 8,                   /* for sums of blocks that are folded early; */
    KEPT_SHARE = 4,                     /* ... of those that are not */
    WINDOW_SHARE = 8,                   /* for sums of other ranks */
    REFS_SHARE = 16,                    /* at least */
    OPEN_CHUNKS_SHARE = 4               /* at most */
};
#define TABLE_MOST ((uint64_t)1 << 40)
#define BYTES_PER_PART ((uint64_t)32 << 20)
#define BYTES_PER_RANGE ((uint64_t)4 << 20)     /* of a result in ranges: so small that a few workers share 16 MiB */

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static uint64_t power_of_two_above(uint64_t number)
{
    uint64_t power = 1;
    while (power < number)
        power *= 2;
    return power;
}

/* Files below /memory count against the limit as well; for a job that writes there, all that it may write. */
static uint64_t memory_of_files(const mr__job *job)
{
    const char *output = job->request->output, *inside;
    const mr__tier *memory = job->session->memory;
    if (memory == NULL)
        return 0;
    if (output != NULL && mr__namespace_resolve(job->session->names, output, &inside) == memory)
        return memory->capacity;
    return atomic_load(&memory->used);
}

/* Of one sum for each dense key; so much that no limit has it is all the same. */
static uint64_t table_bytes(const mr__job *job)
{
    const uint64_t bytes = job->dense ? mr__dense_table_bytes(job) : 0;
    return bytes < TABLE_MOST ? bytes : TABLE_MOST;
}

/* The least of a worker: a table of its own, or one that it fills, and where they are folded early one that waits for
 * the blocks before it. */
static uint64_t memory_of_sums(const mr__job *job)
{
    return table_bytes(job) * (job->folds_early ? 2 : 1);
}

/* Of the result: the sums as round() sees them. Many ranks have them once more as they came from the coordinator, and
 * keep them for those that miss them. */
static uint64_t memory_of_result(const mr__job *job)
{
    return table_bytes(job) * (job->session->ranks != NULL ? 2 : 1);
}

/* Tables of blocks that wait. Where they are folded early no more wait, as a rule, than tasks have blocks. */
static void share_tables(mr__job *job)
{
    const uint64_t table = table_bytes(job), workers = job->worker_count, limit = job->budget.limit;
    const uint64_t had = job->folds_early ? 2 * workers : workers;
    const uint64_t even = job->blocks / job->working + 1, fits = limit / KEPT_SHARE / table;
    uint64_t wanted = workers + (even < fits ? even : fits);
    if (job->folds_early) {
        const uint64_t fit = limit / TABLES_SHARE / workers / table;
        job->largest_task = fit < 1 ? 1 : fit < job->largest_task ? fit : job->largest_task;
        wanted = workers * (job->largest_task + 1);
        wanted = wanted < job->blocks ? wanted : job->blocks;
    }
    if (job->dense_results != NULL) {
        job->tables_reserved = wanted > had ? wanted : had;
        mr__budget_force(&job->budget, (job->tables_reserved - had) * table);
    }
    if (job->session->ranks != NULL) {
        const uint64_t all = table * (job->dense_results != NULL ? job->blocks : job->working);
        job->sums_window = all < limit / WINDOW_SHARE ? all : limit / WINDOW_SHARE;
        mr__budget_force(&job->budget, job->sums_window);
    }
}

/* CPU workers whose number nobody gave are no more than the limit carries, one at least. */
static void fit_workers(mr__job *job, uint64_t memory)
{
    const uint64_t carried = memory / (OVERHEAD_WORKER + LEAST_PER_WORKER + memory_of_sums(job));
    const uint32_t before = job->cpu_workers, devices = job->worker_count - before;
    if (job->session->workers_given || before <= 1 || carried >= job->worker_count)
        return;
    job->cpu_workers = carried > devices + 1 ? (uint32_t)carried - devices : 1;
    job->worker_count = job->cpu_workers + devices;
    const size_t used = strlen(job->worker_note);
    snprintf(job->worker_note + used, sizeof job->worker_note - used,
             "%sthe memory limit of %llu MiB carries %u of %u", used > 0 ? "; " : "",
             (unsigned long long)(job->session->memory_limit >> 20), job->cpu_workers, before);
}

/* References for a partition of the likely size and a quarter more: the pairs as large as the input or its rows, spread
 * evenly. No more than a sorter takes beside the pairs themselves: what it cannot sort at once becomes runs. */
static uint64_t share_refs(const mr__job *job)
{
    const uint32_t key = job->layout.key_size != 0 ? job->layout.key_size : KEY_LIKELY;
    const uint64_t pair = mr__pair_bytes(&job->layout, key, job->layout.value_size);
    const uint64_t rows = job->app->input == MR_INPUT_RANGE ? job->plan.range : job->plan.rows;
    const uint64_t pairs = job->plan.input_bytes / pair > rows ? job->plan.input_bytes / pair : rows;
    const uint64_t most = job->reduce_cap / (pair + REF) * REF;
    const uint64_t least = job->budget.limit / REFS_SHARE / mr__job_sorters(job);
    const uint64_t likely = pairs / job->partitions / 4 * 5 * REF;
    const uint64_t wanted = likely > least ? likely : least;
    return wanted < most ? wanted : most;
}

/* least: bytes, `sums` of which are for sums over dense keys. The limit of a rank of `run --ranks` is its part of what
 * was given. */
static mr_status check_limit(const mr__job *job, uint64_t least, uint64_t sums, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__launch *launch = &job->session->launch;
    const unsigned long long limit_mib = job->session->memory_limit >> 20, least_mib = (least >> 20) + 1;
    const char *need = job->worker_count == 1 ? " needs" : "s need";
    const char *why = sums >> 20 > 0 ? " with the sums over dense keys" : "";
    if (job->session->memory_limit >= least)
        return MR_OK;
    MR_CHECK(!launch->by_run || launch->local_size == 1, MR_BAD_USAGE,
             "a memory limit of %llu MiB, which is the part of one of %u ranks, is too small: %u worker%s at least "
             "%llu MiB%s\n  hint: raise --memory to %llu MiB in all, or lower --workers or --ranks",
             limit_mib, launch->local_size, job->worker_count, need, least_mib, why, least_mib * launch->local_size);
    MR_CHECK(false, MR_BAD_USAGE,
             "a memory limit of %llu MiB is too small: %u worker%s at least %llu MiB%s\n"
             "  hint: raise --memory or lower --workers",
             limit_mib, job->worker_count, need, least_mib, why);
done:
    return status;
}

static mr_status share_out(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t pinned = job->dataset != NULL ? atomic_load(&job->dataset->pinned.bytes) : 0;
    const bool stays = job->dataset != NULL && mr__pinned_stays(job);
    const uint64_t held = mr__rss_bytes();
    const uint64_t result = memory_of_result(job);
    const uint64_t taken = (held > pinned ? held - pinned : 0) + memory_of_files(job) + OVERHEAD + result;
    const uint64_t limit = job->session->memory_limit;
    fit_workers(job, limit > taken ? limit - taken : 0);
    const uint64_t sums = job->worker_count * memory_of_sums(job);
    const uint64_t fixed = taken + (uint64_t)job->worker_count * OVERHEAD_WORKER + sums;
    const uint64_t least = fixed + (uint64_t)job->worker_count * LEAST_PER_WORKER;
    MR_TRY(check_limit(job, least, result + sums, error));
    mr__budget_init(&job->budget, limit - fixed);
    mr__budget_force(&job->budget, stays ? pinned : 0);
    if (job->dense)
        share_tables(job);
    if (job->combines)
        job->headroom = job->budget.limit / HEADROOM_SHARE;
    mr__budget_force(&job->budget, job->headroom);
    const uint32_t eighths = job->combines && job->layout.key_suffix == 0 ? 3 : 6;
    job->reduce_cap = job->budget.limit / 8 * eighths / job->worker_count;
done:
    return status;
}

/* ---- partitions -------------------------------------------------------------------------------------------------- */

static mr_status choose_partitions(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t volume = job->plan.input_bytes;
    uint64_t partitions = power_of_two_above(2 * volume / job->reduce_cap);
    uint64_t least_partitions = PARTITIONS;
    if (job->by_range) {
        least_partitions = power_of_two_above(volume / BYTES_PER_RANGE);
        if (job->plan.key_range > 0 && job->blocks > 0)     /* keys are rows: a block's results belong together */
            while (least_partitions > job->blocks)
                least_partitions /= 2;
    }
    if (least_partitions > PARTITIONS)
        least_partitions = PARTITIONS;
    if (partitions < least_partitions)
        partitions = least_partitions;
    if (partitions > PARTITIONS_MOST)
        partitions = PARTITIONS_MOST;
    const uint64_t open_most = job->budget.limit / OPEN_CHUNKS_SHARE / job->worker_count / CHUNK_SMALLEST;
    while (partitions > PARTITIONS && partitions > open_most)
        partitions /= 2;
    uint64_t parts = power_of_two_above(volume / BYTES_PER_PART);
    if (parts > PARTS)
        parts = PARTS;
    if (job->by_range)
        parts = partitions;
    if (job->ranks > 1 && !job->dense) {    /* each rank owns about as many parts, and has some for each worker */
        const uint64_t each = job->worker_count > SHARES_LEAST / 2 ? 2 * job->worker_count : SHARES_LEAST;
        uint64_t even = power_of_two_above(job->working * each);
        if (even > 1 << MR__PARTITION_BITS)
            even = 1 << MR__PARTITION_BITS;
        partitions = partitions > even ? partitions : even;
        parts = job->by_range || partitions < even ? partitions : parts > even ? parts : even;
    }
    if (job->request->parts != 0)
        parts = job->request->parts;
    MR_CHECK(parts >= job->working || job->dense || job->collect, MR_BAD_USAGE,
             "%llu parts are too few for %u ranks: each of them writes its own\n  hint: ask for more, or leave the "
             "number away", (unsigned long long)parts, job->working);
    /* sorted results of one rank become parts when they are merged, whichever partitions they came from */
    const bool own_parts = !job->sorts || job->ranks > 1;
    if (own_parts && job->request->parts > partitions)
        partitions = power_of_two_above(parts);
    MR_CHECK(partitions <= 1 << MR__PARTITION_BITS, MR_BAD_USAGE, "%u parts are too many: up to %d are possible",
             job->request->parts, 1 << MR__PARTITION_BITS);
    const uint64_t asked = power_of_two_above(job->request->parts);
    MR_CHECK(job->dense || asked <= PARTITIONS || asked <= open_most, MR_BAD_USAGE,
             "%u parts are too many for a memory limit of %llu MiB: up to %llu fit\n"
             "  hint: ask for fewer parts or workers, or raise --memory", job->request->parts,
             (unsigned long long)(job->session->memory_limit >> 20),
             (unsigned long long)power_of_two_above(open_most + 1) / 2);
    if (job->dense)
        partitions = parts = 1;
    if (job->limit > 0 && !job->by_range)
        parts = 1;
    job->partitions = (uint32_t)partitions;
    job->parts = (uint32_t)parts;
done:
    return status;
}

void mr__job_divide(mr__job *job)
{
    const uint64_t share = job->budget.limit;
    job->reduce_tasks = job->collect ? job->partitions : job->parts;
    job->partition_bits = (uint32_t)__builtin_ctzll(job->partitions);
    job->table_cap = share / 4 / job->partitions;
    uint64_t chunk = CHUNK_LARGEST;
    while (chunk > CHUNK_SMALLEST && chunk * job->partitions * job->worker_count > share / 8)
        chunk /= 2;
    const uint64_t open = chunk * job->partitions * job->worker_count;
    const uint64_t beyond = open > share / 8 ? open - share / 8 : 0;        /* what tables of the reduce may have */
    job->lane_cap = (share / 2 - (beyond < share / 4 ? beyond : share / 4)) / job->worker_count;
    if (job->pool.budget != NULL)
        mr__chunk_pool_fini(&job->pool);
    mr__chunk_pool_init(&job->pool, &job->budget, (uint32_t)(chunk - sizeof(mr__chunk) - MR__CHUNK_PADDING));
}

mr_status mr__job_share_memory(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(share_out(job, error));
    MR_TRY(choose_partitions(job, error));
    if (job->ordered)
        job->refs_share = share_refs(job);
    else if (job->combines)
        job->refs_share = job->budget.limit / REFS_SHARE / mr__job_sorters(job);
    mr__budget_force(&job->budget, job->refs_share * mr__job_sorters(job));
    mr__job_divide(job);
done:
    return status;
}
