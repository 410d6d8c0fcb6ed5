/* emitter.c: one worker's lane: what a map emits goes through a staging batch into the lane's own buffers.
 *
 *   mr_emit -> staged[512] --full--> hash all -> combine buffer --at its cap--> array buffer
 *                                             -> array buffer (no combine: by hash, or by range for a total order)
 *                                             -> samples (while the engine looks for the splitters of a total order)
 *   mr_emit_reserve -> a chunk of its own -> mr_emit_commit -> shuffle
 *
 * Nothing here is shared with another worker: no lock, no atomic, no allocation per pair. */
#include "sorter.h"

#include "memory.h"

enum {
    VALUE_BYTES = 1 << 20,      /* of a staging batch, unless one value alone is larger */
    RESERVED_SHARE = 8          /* of what a reduce task may hold: it takes in whole chunks */
};

static void release_staging(mr__lane *lane)
{
    mr_emitter *out = &lane->emitter;
    mr__free(out->staged);
    mr__free(out->values);
    mr__free(out->long_keys);
    mr__free(out->dense);
    mr__free(lane->hashes);
    mr__array_buffer_fini(&lane->array);
    out->staged = NULL;
    out->values = out->long_keys = NULL;
    out->dense = NULL;
    lane->hashes = NULL;
    lane->array = (mr__array_buffer){0};
}

mr_status mr__lane_begin(mr__worker *worker, mr__error *error)
{
    mr_status status = MR_OK;
    mr__lane *lane = worker->engine;
    mr__job *job = lane->job;
    if (lane->ready)
        return MR_OK;
    mr_emitter *out = &lane->emitter;
    out->batch = MR_BATCH;
    while (out->batch > 1 && (uint64_t)out->batch * job->layout.value_size > VALUE_BYTES)
        out->batch /= 2;
    const size_t value_bytes = (size_t)out->batch * job->layout.value_size + 64;
    out->value_size = job->rule.combine == MR_COUNT || job->dense ? 0 : job->layout.value_size;
    out->staged = mr__alloc_zero(MR_BATCH, sizeof *out->staged);
    out->values = mr__alloc(value_bytes);
    out->long_keys = mr__alloc(MR__STAGED_LONG);
    lane->hashes = mr__alloc_zero(MR_BATCH, sizeof *lane->hashes);
    MR_CHECK(out->staged != NULL && out->values != NULL && out->long_keys != NULL && lane->hashes != NULL, MR_NO_MEMORY,
             "no memory for the staging batch of worker %u", worker->index);
    mr__arena_init(&lane->dense_blocks);
    if (job->dense) {
        out->dense_keys = job->plan.dense_keys;
        out->dense_width = job->dense_width;
        out->dense = mr__alloc_zero(mr__dense_values(job), 8);
        MR_CHECK(out->dense != NULL, MR_NO_MEMORY, "no memory for %llu dense keys",
                 (unsigned long long)job->plan.dense_keys);
    } else {
        MR_TRY(mr__array_buffer_init(&lane->array, &job->layout, &job->pool, job->partitions, error));
        lane->array.context = lane;
        lane->array.full = mr__shuffle_full;
        lane->array.need_room = mr__shuffle_need_room;
    }
    if (job->dataset != NULL)
        MR_TRY(mr__reader_create(job->dataset->sources, job->read.path, job->window, &job->budget, &lane->reader,
                                 error));
    lane->ready = true;
done:
    if (status != MR_OK)        /* the next round begins it again */
        release_staging(lane);
    return status;
}

void mr__lane_fini(mr__lane *lane)
{
    if (lane->job == NULL)      /* there was no memory for one before it */
        return;
    mr__combine_buffer_fini(&lane->combine);
    mr__combine_buffer_fini(&lane->table);
    mr__emit_unreserve(lane);
    release_staging(lane);
    mr__reader_destroy(lane->reader);
    mr__spill_writer_destroy(lane->spill_writer);
    mr__pages_free(lane->scratch, lane->scratch_size);
    mr__pages_free(lane->columns, lane->columns_size);
    mr__arena_fini(&lane->dense_blocks);
    mr__cover_fini(&lane->epoch.input);
    mr__free(lane->epoch.in_place);
    mr__arena_fini(&lane->sample_arena);
    mr__free(lane->samples);
    mr__refs_free(&lane->job->budget, &lane->sort);
    mr__refs_free(&lane->job->budget, &lane->resort);
}

static bool is_wanted(const mr__lane *lane, uint32_t partition)
{
    return partition >= lane->epoch.first && partition < lane->epoch.last;
}

mr_status mr__lane_flush_combine(mr__lane *lane, mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = lane->job;
    const uint64_t start = mr__now_ns();
    const uint64_t keys = lane->combine.used;
    mr__cell_cursor cursor = {0};
    mr__pair pair;
    while (mr__combine_buffer_next(&lane->combine, &cursor, &pair)) {
        const uint32_t partition =
            job->by_range ? mr__range_partition(job, &pair)
                          : mr__partition_of(mr__hash_key(pair.key, pair.key_size, job->layout.key_suffix),
                                             job->partition_bits);
        if (is_wanted(lane, partition))
            MR_TRY(mr__array_append(&lane->array, partition, &pair, error));
    }
    mr__trace_span(job->trace, lane->index, "flush table", "shuffle", start, mr__now_ns(), "keys", keys);
done:
    return status;
}

static mr_status append_batch(mr__lane *lane, const uint8_t *values, uint32_t value_size, uint32_t count,
                              mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = lane->job;
    const mr_emitter *out = &lane->emitter;
    for (uint32_t i = 0; i < count; i++) {
        const mr__staged *staged = &out->staged[i];
        const mr__pair pair = {mr__staged_key(staged), values + (size_t)i * value_size, staged->size, value_size};
        const uint32_t partition = job->by_range
                                       ? mr__range_partition(job, &pair)
                                       : mr__partition_of(mr__hash_staged(staged, job->layout.key_suffix),
                                                          job->partition_bits);
        if (is_wanted(lane, partition))
            MR_TRY(mr__array_append(&lane->array, partition, &pair, error));
    }
done:
    return status;
}

static mr_status combine_batch(mr__lane *lane, const uint8_t *values, uint32_t value_size, uint32_t count,
                               mr__error *error)
{
    mr_status status = MR_OK;
    mr__job *job = lane->job;
    const mr_emitter *out = &lane->emitter;
    const uint32_t suffix = job->layout.key_suffix;
    for (uint32_t i = 0; i < count; i++) {
        const mr__staged *staged = &out->staged[i];
        lane->hashes[i] = suffix == 0 && staged->data == NULL ? mr__hash_short(staged->head, staged->size)
                                                              : mr__hash_staged(staged, suffix);
    }
    for (uint32_t begin = 0; begin < count;) {
        uint32_t accepted;
        MR_TRY(mr__combine_batch(&lane->combine, out->staged + begin, lane->hashes + begin,
                                 values != NULL ? values + (size_t)begin * value_size : NULL, count - begin,
                                 &accepted, error));
        begin += accepted;
        if (begin < count) {
            MR_TRY(mr__lane_flush_combine(lane, error));
            mr__combine_buffer_clear(&lane->combine, true);
        }
    }
done:
    return status;
}

mr_status mr__lane_take(mr__lane *lane, const uint8_t *values, uint32_t value_size, uint32_t count, mr__error *error)
{
    return lane->job->combines ? combine_batch(lane, values, value_size, count, error)
                               : append_batch(lane, values, value_size, count, error);
}

mr_status mr__emit_flush(mr_emitter *out)
{
    mr_status status = out->status;
    mr__lane *lane = (mr__lane *)out;
    mr__error *error = &lane->error;
    const uint32_t count = out->count;
    out->count = 0;
    out->long_used = 0;
    if (status != MR_OK)
        return status;
    MR_CHECK(!lane->job->dense, MR_APP_FAILED,
             "the app emits pairs, but declares dense keys: they are added to with mr_add_dense_*");
    lane->pairs += count;
    const uint32_t fixed = lane->job->layout.key_size;
    for (uint32_t i = 0; fixed != 0 && i < count; i++)
        MR_CHECK(out->staged[i].size == fixed, MR_APP_FAILED,
                 "the app emitted a key of %u bytes, but declares keys of %u bytes", out->staged[i].size, fixed);
    if (lane->fingerprint != NULL)
        mr__device_fingerprint(lane, count);
    else if (lane->sampling)
        MR_TRY(mr__sample_keep(lane, count, error));
    else
        MR_TRY(mr__lane_take(lane, lane->job->rule.combine == MR_COUNT ? NULL : out->values, out->value_size, count,
                             error));
done:
    out->status = status;
    return status;
}

mr_status mr__emit_long(mr_emitter *out, const void *key, size_t size, const void *value)
{
    mr_status status = out->status;
    mr__lane *lane = (mr__lane *)out;
    mr__error *error = &lane->error;
    if (status != MR_OK)
        return status;
    if (size == 0) {
        mr__stage_number(&out->staged[out->count], "", 0);
        return mr__stage_value(out, value);
    }
    MR_CHECK(size <= (size_t)1 << 30, MR_BAD_INPUT, "the app emitted a key of %zu bytes; keys may have 1 GiB", size);
    if (out->long_used + size > MR__STAGED_LONG)
        MR_TRY(mr__emit_flush(out));
    mr__staged *staged = &out->staged[out->count];
    memcpy(staged->head, key, sizeof staged->head);
    staged->size = (uint32_t)size;
    staged->data = key;
    if (size <= MR__STAGED_LONG) {
        memcpy(out->long_keys + out->long_used, key, size);
        staged->data = out->long_keys + out->long_used;
        out->long_used += (uint32_t)size;
    }
    if (value != NULL && out->value_size != 0)
        memcpy(out->values + (size_t)out->count * out->value_size, value, out->value_size);
    out->count++;
    if (out->count == out->batch || size > MR__STAGED_LONG)   /* a key that was not copied must be used at once */
        MR_TRY(mr__emit_flush(out));
done:
    out->status = status;
    return status;
}

mr_status mr__emit_bad_dense(mr_emitter *out, uint64_t key)
{
    mr__lane *lane = (mr__lane *)out;
    if (out->status == MR_OK) {
        out->status = out->dense == NULL
                          ? mr__fail(&lane->error, MR_APP_FAILED, "the app adds to dense keys but declares none")
                          : mr__fail(&lane->error, MR_BAD_INPUT,
                                     "the app added to dense key %llu; it declares 0 to %llu",
                                     (unsigned long long)key, (unsigned long long)out->dense_keys - 1);
    }
    return out->status;
}

/* ---- values that are computed in place --------------------------------------------------------------------------- */

static uint32_t range_of_key(const mr__job *job, uint64_t key)
{
    return mr__range_partition(job, &(mr__pair){(const uint8_t *)&key, (const uint8_t *)"", sizeof key, 0});
}

void mr__emit_unreserve(mr__lane *lane)
{
    if (lane->reserved.chunk != NULL)
        mr__chunk_release(&lane->job->pool, lane->reserved.chunk);
    lane->reserved.chunk = NULL;
}

void *mr_emit_reserve(mr_emitter *out, uint64_t first, size_t count, size_t *stride)
{
    mr__lane *lane = (mr__lane *)out;
    mr__job *job = lane->job;
    const size_t pair = mr__pair_bytes(&job->layout, sizeof first, job->layout.value_size);
    const uint64_t most = job->reduce_cap / RESERVED_SHARE;
    mr__emit_unreserve(lane);
    if (out->status != MR_OK || !job->by_range || job->app->key != MR_U64 || lane->sampling ||
        lane->fingerprint != NULL)
        return NULL;
    if (count > (most < INT32_MAX ? most : INT32_MAX) / pair || count * pair < job->pool.capacity)
        return NULL;
    const uint32_t partition = range_of_key(job, first);
    if (first + count - 1 < first || range_of_key(job, first + count - 1) != partition)
        return NULL;
    mr__chunk *chunk = mr__chunk_acquire(&job->pool, partition, count * pair);
    if (chunk == NULL)
        return NULL;
    chunk->size = (uint32_t)(count * pair);
    chunk->pairs = (uint32_t)count;
    lane->reserved = (struct mr__reserved){chunk, first};
    *stride = pair;
    return chunk->data + sizeof first;
}

mr_status mr_emit_commit(mr_emitter *out)
{
    mr_status status = out->status;
    mr__lane *lane = (mr__lane *)out;
    mr__error *error = &lane->error;
    mr__chunk *chunk = lane->reserved.chunk;
    if (status != MR_OK)
        return status;
    MR_CHECK(chunk != NULL, MR_APP_FAILED, "the app commits pairs, but reserved no memory for any");
    lane->reserved.chunk = NULL;
    const size_t pair = chunk->size / chunk->pairs;
    for (uint32_t i = 0; i < chunk->pairs; i++) {
        const uint64_t key = lane->reserved.first_key + i;
        memcpy(chunk->data + i * pair, &key, sizeof key);
    }
    lane->pairs += chunk->pairs;
    if (!is_wanted(lane, chunk->partition)) {
        mr__chunk_release(&lane->job->pool, chunk);
        goto done;
    }
    MR_TRY(lane->array.full(lane->array.context, chunk, error));
done:
    out->status = status;
    return status;
}

void *mr_scratch(mr_emitter *out, size_t size)
{
    mr__lane *lane = (mr__lane *)out;
    const size_t needed = size + MR_BLOCK_PADDING;
    if (needed <= lane->scratch_size)
        return lane->scratch;
    const size_t room = needed > lane->scratch_size * 2 ? needed : lane->scratch_size * 2;
    uint8_t *scratch = mr__pages_alloc(room);
    if (scratch == NULL) {
        if (out->status == MR_OK)
            out->status = mr__fail(&lane->error, MR_NO_MEMORY, "no memory for %zu bytes of scratch space", size);
        return NULL;
    }
    mr__pages_free(lane->scratch, lane->scratch_size);
    mr__budget_release(&lane->job->budget, lane->scratch_size);
    mr__budget_force(&lane->job->budget, room);
    lane->scratch = scratch;
    lane->scratch_size = room;
    return scratch;
}

mr_status mr_fold_block(const mr_block *block, mr_emitter *out, mr_block *folded)
{
    uint8_t *copy = mr_scratch(out, block->size);
    if (copy == NULL)
        return out->status;
    mr__kernels_current()->fold(copy, block->data, block->size);
    *folded = *block;
    folded->data = copy;
    return MR_OK;
}
