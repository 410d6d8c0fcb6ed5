/* sample.c: the splitters of a total order.
 *
 * Before the job maps, the app's own map runs over some blocks spread evenly over the input, and its keys are kept.
 * Sorted, every n-th of them is a splitter; a pair belongs to the partition of the last splitter that is not above it.
 * (Sampling as in TeraSort: O. O'Malley, "TeraByte Sort on Apache Hadoop", 2008.) The splitters depend on the input
 * alone.
 *
 * A probe keeps its first pairs, PROBE_KEEPS bytes of them: a block may be a whole file (MR_INPUT_FILES) and give any
 * number. That much, of all probes together, lies in the overhead that the plan sets aside; a pair that alone is larger
 * is kept if it is a probe's first and the budget has room for it. */
#include "internal.h"

#include <stdlib.h>

#include "memory.h"

enum { PROBES = 61, TEXT_PROBE = 16 << 10, PROBE_KEEPS = 128 << 10 };

/* A pair of which nothing counts but the key without its suffix. */
static mr__pair bare_key(const mr__job *job, const mr__pair *pair)
{
    const uint32_t suffix = job->layout.key_suffix;
    return (mr__pair){pair->key, pair->value, pair->key_size > suffix ? pair->key_size - suffix : 0, 0};
}

uint32_t mr__range_partition(const mr__job *job, const mr__pair *pair)
{
    mr__pair bare;
    if (job->keeps_keys) {
        bare = bare_key(job, pair);
        pair = &bare;
    }
    const uint64_t prefix = mr__order_prefix(&job->range_order, pair);
    uint32_t low = 0, high = job->splitter_count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        const uint64_t splitter = job->splitter_prefixes[middle];
        const bool below = prefix != splitter
                               ? prefix < splitter
                               : mr__order_compare(&job->range_order, pair, &job->splitters[middle], true) < 0;
        if (below)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

mr_status mr__sample_keep(mr__lane *lane, uint32_t count, mr__error *error)
{
    mr_status status = MR_OK;
    const mr_emitter *out = &lane->emitter;
    for (uint32_t i = 0; i < count; i++) {
        const mr__staged *staged = &out->staged[i];
        const size_t size = sizeof *lane->samples + staged->size + out->value_size;
        if (lane->sample_bytes + size > PROBE_KEEPS) {
            if (lane->sample_bytes > 0 || !mr__budget_reserve(&lane->job->budget, size))
                return MR_OK;
            lane->sample_reserved += size;
        }
        if (lane->sample_count == lane->sample_room) {
            const size_t room = lane->sample_room != 0 ? lane->sample_room * 2 : 1024;
            mr__pair *samples = mr__realloc(lane->samples, room * sizeof *samples);
            MR_CHECK(samples != NULL, MR_NO_MEMORY, "no memory for the sample of keys");
            lane->samples = samples;
            lane->sample_room = room;
        }
        uint8_t *key = mr__arena_copy(&lane->sample_arena, mr__staged_key(staged), staged->size);
        const uint8_t *from = out->values + (size_t)i * out->value_size;
        uint8_t *value = mr__arena_copy(&lane->sample_arena, from, out->value_size);
        MR_CHECK(key != NULL && value != NULL, MR_NO_MEMORY, "no memory for the sample of keys");
        lane->samples[lane->sample_count++] = (mr__pair){key, value, staged->size, out->value_size};
        lane->sample_bytes += size;
    }
done:
    return status;
}

static int compare_samples(const void *a, const void *b, void *order)
{
    return mr__order_compare(order, a, b, true);
}

mr_status mr__splitters_from(mr__job *job, const mr__order *order, mr__pair *samples, size_t count, uint32_t ranges,
                             mr__error *error)
{
    mr_status status = MR_OK;
    job->splitter_count = 0;
    if (count == 0 || ranges < 2)
        return MR_OK;
    qsort_r(samples, count, sizeof *samples, compare_samples, (void *)order);
    job->splitters = mr__arena_alloc(&job->arena, ranges * sizeof *job->splitters, 8);
    job->splitter_prefixes = mr__arena_alloc(&job->arena, ranges * sizeof *job->splitter_prefixes, 8);
    MR_CHECK(job->splitters != NULL && job->splitter_prefixes != NULL, MR_NO_MEMORY, "no memory for the splitters");
    for (uint32_t i = 1; i < ranges; i++) {
        const mr__pair *sample = &samples[(uint64_t)count * i / ranges];
        if (job->splitter_count > 0 &&
            mr__order_compare(order, sample, &job->splitters[job->splitter_count - 1], true) == 0)
            continue;
        mr__pair *splitter = &job->splitters[job->splitter_count];
        *splitter = *sample;
        splitter->key = mr__arena_copy(&job->arena, sample->key, sample->key_size);
        splitter->value = mr__arena_copy(&job->arena, sample->value, sample->value_size);
        MR_CHECK(splitter->key != NULL && splitter->value != NULL, MR_NO_MEMORY, "no memory for the splitters");
        job->splitter_prefixes[job->splitter_count++] = mr__order_prefix(order, splitter);
    }
done:
    return status;
}

/* The app knows its keys: every partition gets an equal share of the range; whole blocks of it, if there are enough,
 * because where the keys are the rows, a block's results then belong together. */
static mr_status splitters_from_range(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    mr__pair *shares = mr__arena_alloc(&job->arena, job->partitions * sizeof *shares, 8);
    uint64_t *keys = mr__arena_alloc(&job->arena, job->partitions * sizeof *keys, 8);
    MR_CHECK(shares != NULL && keys != NULL, MR_NO_MEMORY, "no memory for the splitters");
    const uint64_t range = job->plan.key_range, share = range / job->partitions;
    const uint64_t unit = job->block_rows > 0 && job->block_rows <= share ? job->block_rows : 1;
    for (uint32_t i = 0; i < job->partitions; i++) {
        keys[i] = (uint64_t)((unsigned __int128)range * i / job->partitions);
        keys[i] -= keys[i] % unit;
        shares[i] = (mr__pair){.key = (uint8_t *)&keys[i], .key_size = sizeof keys[i], .value = (uint8_t *)""};
    }
    MR_TRY(mr__splitters_from(job, &job->range_order, shares, job->partitions, job->partitions, error));
done:
    return status;
}

mr_status mr__sample_splitters(mr__job *job, mr__error *error)
{
    if (job->plan.key_range > 0 && job->app->key == MR_U64)
        return splitters_from_range(job, error);
    mr_status status = MR_OK;
    mr__worker *worker = &job->workers[0];
    mr__lane *lane = &job->lanes[0];
    const uint64_t total = job->schedule_total;
    const bool rows = job->app->input == MR_INPUT_RECORDS || job->app->input == MR_INPUT_RANGE;
    uint32_t last_source = 0;
    MR_TRY(mr__lane_begin(worker, error));
    lane->sampling = true;
    const uint64_t probes = total < PROBES ? total : PROBES;
    for (uint64_t i = 0; i < probes; i++) {
        mr__task task = {.kind = MR__TASK_MAP, .job = job, .begin = total / probes * i};
        task.end = task.begin + (rows ? 1 : TEXT_PROBE);
        if (task.end > total)
            task.end = total;
        if (!rows) {
            const mr__source *sources = job->dataset->sources->items;
            task.source = mr__source_at(job->dataset->sources, task.begin);
            if (job->app->input == MR_INPUT_FILES) {
                if (i > 0 && task.source == last_source)
                    continue;       /* the whole file was mapped for the probe before */
                task.begin = sources[task.source].start;
                task.end = task.begin + 1;
            }
            last_source = task.source;
        }
        lane->sample_bytes = 0;
        MR_TRY(mr__map_task(&task, worker, error));
    }
    for (size_t i = 0; job->keeps_keys && i < lane->sample_count; i++)
        lane->samples[i] = bare_key(job, &lane->samples[i]);
    MR_TRY(mr__splitters_from(job, &job->range_order, lane->samples, lane->sample_count, job->partitions, error));
done:
    lane->sampling = false;
    lane->pairs = lane->rows = 0;
    atomic_store(&job->mapped, 0);
    lane->sample_count = 0;
    mr__arena_fini(&lane->sample_arena);
    mr__budget_release(&job->budget, lane->sample_reserved);
    lane->sample_reserved = 0;
    return status;
}
