/* reduce.c: reduce tasks. One task owns one part (a run of partitions); or one partition, when results are collected.
 *
 *                              +--> no order asked: straight from the table to the part
 *   combine: table of the -----+--> order or reduce: table -> sorter -> [groups -> reduce()] -> part or run
 *   partition, filled with     +--> table at its cap: its pairs go to a sorter by key, which brings equal keys together
 *   what waits and what was         again; they are combined on the way out
 *   spilled
 *   no combine:  chunks and extents -> sorter -> [groups -> reduce()] -> part or run
 *                no order, no reduce: chunks and extents -> part
 *
 * Bounded memory: a table and a sorter know their caps, whatever the number of keys. */
#include "sorter.h"

#include "memory.h"
#include "sink.h"

enum { EXTENTS_AHEAD = 1 << 20 };

/* ---- a stream of final pairs: sorted, and combined where equal keys still meet ----------------------------------- */

typedef struct stream {
    mr__sorter *sorter;
    const mr__combine_rule *combine;    /* NULL: pairs come as they are */
    const uint8_t *ahead;               /* read, not yet given out */
    uint8_t *key;
    size_t key_room;
    uint8_t *value, *other;             /* aligned, as the app's combine_with() may expect it */
} stream;

static mr_status remember_key(uint8_t **copy, size_t *room, const mr__pair *pair, mr__error *error)
{
    mr_status status = MR_OK;
    if (pair->key_size + 1u > *room) {
        uint8_t *bytes = mr__realloc(*copy, (size_t)pair->key_size * 2 + 64);
        MR_CHECK(bytes != NULL, MR_NO_MEMORY, "no memory for a key of %u bytes", pair->key_size);
        *copy = bytes;
        *room = (size_t)pair->key_size * 2 + 64;
    }
    memcpy(*copy, pair->key, pair->key_size);
done:
    return status;
}

/* *more = false at the end. */
static mr_status stream_next(stream *s, mr__pair *pair, bool *more, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__order *order = s->sorter->order;
    const uint8_t *at = s->ahead;
    s->ahead = NULL;
    if (at == NULL)
        MR_TRY(mr__sorter_next(s->sorter, &at, error));
    *more = at != NULL;
    if (at == NULL)
        goto done;
    mr__pair_read(&order->layout, at, pair);
    if (s->combine == NULL)
        goto done;
    MR_TRY(remember_key(&s->key, &s->key_room, pair, error));
    memcpy(s->value, pair->value, pair->value_size);
    pair->key = s->key;
    pair->value = s->value;
    for (;;) {
        mr__pair other;
        MR_TRY(mr__sorter_next(s->sorter, &at, error));
        if (at == NULL)
            break;
        mr__pair_read(&order->layout, at, &other);
        if (mr__order_compare(order, pair, &other, false) != 0) {
            s->ahead = at;
            break;
        }
        memcpy(s->other, other.value, other.value_size);
        mr__combine_values(s->combine, pair->value_size, s->value, s->other);
    }
done:
    return status;
}

/* ---- groups and the user's reduce -------------------------------------------------------------------------------- */

struct mr_values {
    mr__job *job;
    stream *stream;
    mr__pair pair;              /* the next value, if `more` */
    bool more, first, failed;
    const uint8_t *key;         /* of the group, without its suffix */
    size_t key_size;
    uint8_t *value;             /* suffix and value side by side */
    size_t value_room;
    mr__error *error;
    mr_status status;
};

static bool same_group(const mr_values *values)
{
    const size_t suffix = values->job->layout.key_suffix;
    return values->more && values->pair.key_size - suffix == values->key_size &&
           memcmp(values->pair.key, values->key, values->key_size) == 0;
}

bool mr_values_next(mr_values *values, mr_slice *value)
{
    if (values->failed)
        return false;
    if (!values->first) {
        values->status = stream_next(values->stream, &values->pair, &values->more, values->error);
        values->failed = values->status != MR_OK;
        if (values->failed)
            return false;
    }
    if (!same_group(values)) {
        values->first = true;       /* the pair belongs to the next group: do not read past it */
        return false;
    }
    values->first = false;
    const uint32_t suffix = values->job->layout.key_suffix;
    if (suffix == 0) {
        *value = (mr_slice){values->pair.value, values->pair.value_size};
        return true;
    }
    memcpy(values->value, values->pair.key + values->key_size, suffix);
    memcpy(values->value + suffix, values->pair.value, values->pair.value_size);
    *value = (mr_slice){values->value, suffix + values->pair.value_size};
    return true;
}

const char *mr_values_source_name(const mr_values *values, uint32_t index)
{
    const mr_dataset *dataset = values->job->dataset;
    return dataset != NULL && index < dataset->sources->count ? dataset->sources->items[index].path : "";
}

static mr_status reduce_groups(mr__job *job, stream *s, mr__sink *sink, mr__error *error)
{
    mr_status status = MR_OK;
    uint8_t *key = NULL;
    size_t key_room = 0;
    mr_values values = {.job = job, .stream = s, .error = error, .first = true};
    values.value = mr__alloc((size_t)job->layout.key_suffix + job->layout.value_size + 1);
    MR_CHECK(values.value != NULL, MR_NO_MEMORY, "no memory for a value");
    MR_TRY(stream_next(s, &values.pair, &values.more, error));
    while (values.more) {
        MR_CHECK(values.pair.key_size >= job->layout.key_suffix, MR_APP_FAILED,
                 "the app emitted a key of %u bytes, shorter than its suffix of %u", values.pair.key_size,
                 job->layout.key_suffix);
        MR_TRY(remember_key(&key, &key_room, &values.pair, error));
        values.key = key;
        values.key_size = values.pair.key_size - job->layout.key_suffix;
        values.first = true;
        mr_writer *writer;
        MR_TRY(mr__sink_begin_text(sink, key, values.key_size, &writer, error));
        const mr_status reduced = job->app->reduce((mr_slice){key, values.key_size}, &values, writer, job->plan.params);
        MR_TRY(values.status);
        MR_CHECK(reduced == MR_OK, reduced, "reduce of app %s failed: %s", job->app_name, mr_status_meaning(reduced));
        MR_TRY(mr__sink_end_text(sink, error));
        for (mr_slice rest; mr_values_next(&values, &rest);) {   /* what reduce did not look at */
        }
        MR_TRY(values.status);
        MR_CHECK(!mr__stopped(job), MR_CANCELLED, "the job was cancelled; nothing was written");
    }
done:
    mr__free(key);
    mr__free(values.value);
    return status;
}

/* ---- one partition ----------------------------------------------------------------------------------------------- */

/* What goes out of a sorter: to reduce, or to the sink in the order of the result. */
static mr_status drain(mr__job *job, mr__lane *lane, mr__sorter *sorter, bool combine, mr__sink *sink, mr__error *error)
{
    mr_status status = MR_OK;
    stream s = {.sorter = sorter, .combine = combine ? &job->rule : NULL};
    mr__sorter by_result = {0};
    const bool resort = !job->reduces && job->sort == MR_SORT_VALUE && sorter->order != &job->result_order;
    s.value = mr__alloc(job->layout.value_size);
    s.other = mr__alloc(job->layout.value_size);
    MR_CHECK(s.value != NULL && s.other != NULL, MR_NO_MEMORY, "no memory for a value");
    MR_TRY(mr__sorter_finish(sorter, error));
    if (job->reduces) {
        MR_TRY(reduce_groups(job, &s, sink, error));
        goto done;
    }
    if (resort) {
        mr__sorter_init(&by_result, lane, &job->result_order, job->reduce_cap / 2);
        by_result.memory = &lane->resort;       /* the other one still reads from its references */
    }
    for (;;) {
        mr__pair pair;
        bool more;
        MR_TRY(stream_next(&s, &pair, &more, error));
        if (!more)
            break;
        if (resort)
            MR_TRY(mr__sorter_add(&by_result, &pair, error));
        else
            MR_TRY(mr__sink_pair(sink, &pair, error));
        if (!resort && mr__sink_is_full(sink))
            break;
    }
    if (resort) {
        MR_TRY(mr__sorter_finish(&by_result, error));
        for (;;) {
            const uint8_t *at;
            mr__pair pair;
            MR_TRY(mr__sorter_next(&by_result, &at, error));
            if (at == NULL || mr__sink_is_full(sink))
                break;
            mr__pair_read(&job->layout, at, &pair);
            MR_TRY(mr__sink_pair(sink, &pair, error));
        }
    }
done:
    mr__sorter_fini(&by_result);
    mr__free(s.key);
    mr__free(s.value);
    mr__free(s.other);
    return status;
}

static mr_status table_to_sorter(const mr__combine_buffer *table, mr__sorter *sorter, mr__error *error)
{
    mr_status status = MR_OK;
    mr__cell_cursor cursor = {0};
    mr__pair pair;
    while (mr__combine_buffer_next(table, &cursor, &pair))
        MR_TRY(mr__sorter_add(sorter, &pair, error));
done:
    return status;
}

/* A table that accepts no more: chunks that nobody needs any longer may hold the memory that it wants to grow into;
 * else it empties into the sorter, and its pairs meet again when they are sorted. */
static mr_status make_room(mr__combine_buffer *table, mr__sorter *sorter, mr__error *error)
{
    mr_status status = MR_OK;
    mr__budget *budget = &sorter->job->budget;
    const uint64_t before = atomic_load_explicit(&budget->used, memory_order_relaxed);
    mr__chunk_pool_trim(&sorter->job->pool);
    if (atomic_load_explicit(&budget->used, memory_order_relaxed) < before)
        goto done;
    MR_TRY(table_to_sorter(table, sorter, error));
    mr__combine_buffer_clear(table, true);
done:
    return status;
}

/* Everything that came for a partition: the chunks in memory (released on the way), then the spilled extents. */
static mr_status each_bytes(mr__job *job, const mr__partition *partition, mr__chunk *chunks,
                            mr_status (*take)(void *context, const uint8_t *at, const uint8_t *end, mr__error *error),
                            void *context, mr__error *error)
{
    mr_status status = MR_OK;
    mr__spill_reader *reader = NULL;
    while (chunks != NULL) {
        mr__chunk *chunk = chunks;
        MR_TRY(take(context, chunk->data, chunk->data + chunk->size, error));
        chunks = chunk->next;
        mr__chunk_release(&job->pool, chunk);
    }
    if (partition->extent_count > 0)
        MR_TRY(mr__spill_reader_create(job->spill, partition->extents, partition->extent_count, EXTENTS_AHEAD,
                                       &job->budget, &reader, error));
    while (reader != NULL) {
        const uint8_t *bytes;
        mr__extent extent;
        MR_TRY(mr__spill_reader_next(reader, &bytes, &extent, error));
        if (bytes == NULL)
            break;
        MR_TRY(take(context, bytes, bytes + extent.size, error));
    }
done:
    mr__spill_reader_destroy(reader);
    mr__chunk_release_all(&job->pool, chunks);
    return status;
}

struct table_and_sorter {
    mr__combine_buffer *table;
    mr__sorter *sorter;
};

/* Adds bytes of pairs to the table; at its cap the table empties into the sorter. */
static mr_status add_bytes(void *context, const uint8_t *at, const uint8_t *end, mr__error *error)
{
    mr_status status = MR_OK;
    const struct table_and_sorter *into = context;
    for (;;) {
        MR_TRY(mr__table_add(into->table, at, end, &at, error));
        if (at == end)
            break;
        MR_TRY(make_room(into->table, into->sorter, error));
    }
done:
    return status;
}

/* Offers a staged batch; at its cap the table empties into the sorter. */
static mr_status add_batch(mr__combine_buffer *table, mr__sorter *sorter, const mr__staged *staged,
                           const uint64_t *hashes, const uint8_t *values, uint32_t count, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint32_t begin = 0; begin < count;) {
        uint32_t accepted;
        MR_TRY(mr__combine_batch(table, staged + begin, hashes + begin,
                                 values + (size_t)begin * table->layout.value_size, count - begin, &accepted, error));
        begin += accepted;
        if (begin < count)
            MR_TRY(make_room(table, sorter, error));
    }
done:
    return status;
}

/* What the workers' combine buffers hold of this partition. */
static mr_status add_lanes(mr__job *job, mr__lane *lane, uint32_t partition, mr__combine_buffer *table,
                           mr__sorter *sorter, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t value_size = job->layout.value_size;
    mr__staged *staged = lane->emitter.staged;      /* no map runs now: the lane's own batch is free */
    uint8_t *values = lane->emitter.values;
    for (uint32_t w = 0; w < job->worker_count; w++) {
        const mr__combine_buffer *from = &job->lanes[w].combine;
        const _Atomic bool *in_place = job->lanes[w].epoch.in_place;
        if (job->joint != NULL &&
            (in_place == NULL || !atomic_load_explicit(&in_place[partition], memory_order_relaxed)))
            continue;
        mr__cell_cursor cursor = mr__combine_buffer_partition(from, partition, job->partition_bits);
        for (bool more = from->used > 0; more;) {
            uint32_t count = 0;
            mr__pair pair;
            while (count < lane->emitter.batch &&
                   (more = mr__combine_buffer_next_of(from, &cursor, &pair))) {
                mr__stage_in_place(&staged[count], pair.key, pair.key_size);
                lane->hashes[count] = mr__hash_staged(&staged[count], 0);
                memcpy(values + (size_t)count * value_size, pair.value, value_size);
                count++;
            }
            MR_TRY(add_batch(table, sorter, staged, lane->hashes, values, count, error));
        }
    }
done:
    return status;
}

static mr_status fill_table(mr__job *job, mr__lane *lane, uint32_t index, mr__combine_buffer *table, mr__chunk *chunks,
                            mr__sorter *overflow, mr__error *error)
{
    mr_status status = MR_OK;
    struct table_and_sorter into = {table, overflow};
    table->cap = job->reduce_cap / 2;
    MR_TRY(add_lanes(job, lane, index, table, overflow, error));
    status = each_bytes(job, &job->partition[index], chunks, add_bytes, &into, error);
    chunks = NULL;
done:
    mr__chunk_release_all(&job->pool, chunks);
    return status;
}

static mr_status reduce_combined(mr__job *job, mr__lane *lane, uint32_t index, mr__chunk *chunks, mr__sink *sink,
                                 mr__error *error)
{
    mr_status status = MR_OK;
    mr__sorter sorter;
    mr__partition *partition = &job->partition[index];
    /* one that merged while maps ran has pairs of the partition; else the lane's table, whose memory is warm */
    const bool merged = partition->table.budget != NULL;
    mr__combine_buffer *table = merged ? &partition->table : &lane->table;
    if (table->budget == NULL)
        mr__partition_table_init(job, table, job->reduce_cap / 2);
    mr__sorter_init(&sorter, lane, &job->order, job->reduce_cap / 2);
    MR_TRY(fill_table(job, lane, index, table, chunks, &sorter, error));
    const bool overflowed = sorter.pairs > 0 || sorter.runs.count > 0;
    if (!overflowed && !job->reduces && !job->sorts && !job->by_range) {
        mr__cell_cursor cursor = {0};
        mr__pair pair;
        while (mr__combine_buffer_next(table, &cursor, &pair))
            MR_TRY(mr__sink_pair(sink, &pair, error));
        goto done;
    }
    if (!overflowed && !job->reduces)
        sorter.order = &job->result_order;      /* the pairs are final: sort them once, as the result wants them */
    MR_TRY(table_to_sorter(table, &sorter, error));
    mr__combine_buffer_clear(table, !merged);
    MR_TRY(drain(job, lane, &sorter, overflowed, sink, error));
done:
    mr__sorter_fini(&sorter);
    mr__combine_buffer_clear(table, !merged);
    return status;
}

static mr_status pass_bytes(void *context, const uint8_t *at, const uint8_t *end, mr__error *error)
{
    mr_status status = MR_OK;
    mr__sink *sink = context;
    while (at < end) {
        mr__pair pair;
        at = mr__pair_read(&sink->job->layout, at, &pair);
        MR_TRY(mr__sink_pair(sink, &pair, error));
    }
done:
    return status;
}

static mr_status reduce_partition(mr__job *job, mr__lane *lane, uint32_t index, mr__sink *sink, mr__error *error)
{
    mr_status status = MR_OK;
    mr__partition *partition = &job->partition[index];
    mr__chunk *chunks = mr__exchange_take(job->exchange, index);
    mr__sorter sorter = {0};
    if (job->combines) {
        status = reduce_combined(job, lane, index, chunks, sink, error);
        goto done;
    }
    if (!job->ordered) {
        status = each_bytes(job, partition, chunks, pass_bytes, sink, error);
        goto done;
    }
    mr__sorter_init(&sorter, lane, mr__shuffle_order(job), job->reduce_cap);
    mr__sorter_adopt(&sorter, &partition->sorted);
    MR_TRY(mr__sorter_add_chunks(&sorter, chunks, error));
    MR_TRY(mr__sorter_add_extents(&sorter, partition->extents, partition->extent_count, error));
    MR_TRY(drain(job, lane, &sorter, false, sink, error));
done:
    mr__sorter_fini(&sorter);
    return status;
}

mr_status mr__reduce_task(mr__task *task, mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = task->job;
    mr__lane *lane = worker->engine;
    mr__sink sink = {.job = job, .lane = lane};
    if (job->collect) {
        mr__run *run = &job->partition[task->partition].result;
        MR_TRY(mr__sink_open_run(&sink, run, error));
        MR_TRY(reduce_partition(job, lane, task->partition, &sink, error));
        MR_TRY(mr__run_finish(run, lane, false, error));
        if (job->joint != NULL && job->output != NULL)
            MR_TRY(mr__joint_keep_run(job, task->partition, error));
    } else {
        const uint32_t first = (uint32_t)((uint64_t)task->partition * job->partitions / job->parts);
        const uint32_t last = (uint32_t)((uint64_t)(task->partition + 1) * job->partitions / job->parts);
        MR_TRY(mr__sink_open_part(&sink, task->partition, error));
        for (uint32_t p = first; p < last; p++) {
            MR_CHECK(!mr__stopped(job), MR_CANCELLED, "the job was cancelled; nothing was written");
            MR_TRY(reduce_partition(job, lane, p, &sink, error));
        }
        MR_TRY(mr__sink_close_part(&sink, error));
    }
    atomic_fetch_add_explicit(&job->keys, sink.pairs, memory_order_relaxed);
done:
    mr__sink_fini(&sink);
    return status;
}
