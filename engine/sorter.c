/* sorter.c: external merge sort over chunks.
 *
 *   chunks, extents, single pairs -> slabs in memory --all fit--> refs, sorted --> next
 *                                         | cap reached
 *                                         v
 *                                   sort, write a run to the spill, begin anew; at the end merge the runs --> next
 *
 * Only references (16 bytes) are sorted; the pairs move once, when they are written out. */
#include "sorter.h"

#include "memory.h"

enum { MERGE_AHEAD = 1 << 20, PREFETCH = 8, MANY_RUNS = 4, REF = 2 * sizeof(mr__ref) };

void mr__sorter_init(mr__sorter *sorter, mr__lane *lane, const mr__order *order, uint64_t cap)
{
    *sorter = (mr__sorter){.job = lane->job, .lane = lane, .order = order, .memory = &lane->sort, .cap = cap};
}

static void release_slabs(mr__sorter *sorter)
{
    mr__chunk_release_all(&sorter->job->pool, sorter->slabs);
    sorter->slabs = NULL;
    sorter->open = NULL;
    sorter->slab_bytes = 0;
    sorter->pairs = 0;
}

static void close_merge(mr__sorter *sorter)
{
    mr__budget_force(&sorter->job->budget, sorter->lent);
    sorter->memory->reserved += sorter->lent;
    sorter->lent = 0;
    if (sorter->cursors != NULL)
        mr__merge_close(&sorter->merge);
    mr__free(sorter->cursors);
    sorter->cursors = NULL;
}

/* What is left to be merged lies in the spill: memory for references serves to read it. */
static void lend_refs(mr__sorter *sorter, uint64_t bytes)
{
    struct mr__refs_memory *memory = sorter->memory;
    mr__pages_free(memory->refs, memory->bytes);
    memory->refs = NULL;
    memory->room = memory->bytes = 0;
    sorter->lent = bytes < memory->reserved ? bytes : memory->reserved;
    memory->reserved -= sorter->lent;
    mr__budget_release(&sorter->job->budget, sorter->lent);
}

void mr__sorter_fini(mr__sorter *sorter)
{
    if (sorter->job == NULL)
        return;
    close_merge(sorter);
    mr__runs_fini(&sorter->runs);
    release_slabs(sorter);
    sorter->job = NULL;
}

void mr__refs_free(mr__budget *budget, struct mr__refs_memory *memory)
{
    mr__pages_free(memory->refs, memory->bytes);
    mr__budget_release(budget, memory->reserved);
    *memory = (struct mr__refs_memory){0};
}

/* May so many pairs be sorted at once? */
static bool reserve_refs(mr__sorter *sorter, uint64_t pairs)
{
    mr__budget *budget = &sorter->job->budget;
    struct mr__refs_memory *memory = sorter->memory;
    const uint64_t wanted = pairs * REF;
    if (wanted <= memory->reserved)
        return true;
    if (!mr__budget_reserve(budget, wanted - memory->reserved)) {
        mr__chunk_pool_trim(&sorter->job->pool);
        if (!mr__budget_reserve(budget, wanted - memory->reserved))
            return false;
    }
    memory->reserved = wanted;
    return true;
}

/* Memory for references; it only grows. It is reserved already, but for a chunk that alone has too many pairs. */
static mr_status grow_refs(mr__sorter *sorter, mr__error *error)
{
    mr_status status = MR_OK;
    struct mr__refs_memory *memory = sorter->memory;
    const size_t count = sorter->pairs, reserved = (size_t)memory->reserved / REF;
    if (count <= memory->room)
        return MR_OK;
    const size_t more = count + count / 8 + 1024;
    const size_t room = count <= reserved && reserved < more ? reserved : more;
    mr__pages_free(memory->refs, memory->bytes);
    memory->room = memory->bytes = 0;
    memory->refs = mr__pages_alloc(room * REF);
    MR_CHECK(memory->refs != NULL, MR_NO_MEMORY, "no memory to sort %zu pairs\n  hint: lower --memory", count);
    memory->room = room;
    memory->bytes = room * REF;
    if (memory->bytes > memory->reserved) {
        mr__budget_force(&sorter->job->budget, memory->bytes - memory->reserved);
        memory->reserved = memory->bytes;
    }
done:
    return status;
}

static mr_status sort_slabs(mr__sorter *sorter, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__order *order = sorter->order;
    MR_TRY(grow_refs(sorter, error));
    mr__ref *refs = sorter->memory->refs;
    size_t count = 0;
    for (const mr__chunk *slab = sorter->slabs; slab != NULL; slab = slab->next) {
        const uint8_t *const end = slab->data + slab->size;
        for (const uint8_t *at = slab->data; at < end;) {
            mr__pair pair;
            refs[count].pair = at;
            at = mr__pair_read(&order->layout, at, &pair);
            refs[count++].prefix = mr__order_prefix(order, &pair);
        }
    }
    MR_CHECK(count == sorter->pairs, MR_INTERNAL, "a sorter counted %zu pairs and found %zu", sorter->pairs, count);
    mr__sort_refs(order, refs, count, refs + sorter->memory->room);
    sorter->refs = refs;
done:
    return status;
}

/* Sorts what is in memory and makes a run of it. */
static mr_status dump(mr__sorter *sorter, bool spill, mr__error *error)
{
    mr_status status = MR_OK;
    mr__run *run;
    if (sorter->pairs == 0)
        return MR_OK;
    MR_TRY(sort_slabs(sorter, error));
    MR_TRY(mr__runs_add(&sorter->runs, &sorter->order->layout, &sorter->job->pool, &run, error));
    run->spilled = spill;
    for (size_t i = 0; i < sorter->pairs; i++) {
        mr__pair pair;
        __builtin_prefetch(sorter->refs[i + PREFETCH < sorter->pairs ? i + PREFETCH : i].pair);
        mr__pair_read(&sorter->order->layout, sorter->refs[i].pair, &pair);
        MR_TRY(mr__run_append(run, sorter->lane, &pair, error));
    }
    MR_TRY(mr__run_finish(run, sorter->lane, spill, error));
    release_slabs(sorter);
done:
    return status;
}

static bool fits(mr__sorter *sorter, uint64_t more_bytes, uint64_t more_pairs)
{
    const uint64_t pairs = sorter->pairs + more_pairs;
    return sorter->slab_bytes + more_bytes + pairs * REF <= sorter->cap && reserve_refs(sorter, pairs);
}

/* A chunk to put pairs into; dumps when memory is short. */
static mr_status slab_of(mr__sorter *sorter, size_t size, mr__chunk **slab, mr__error *error)
{
    mr_status status = MR_OK;
    mr__chunk_pool *pool = &sorter->job->pool;
    mr__chunk *chunk = mr__chunk_acquire(pool, 0, size);
    if (chunk == NULL) {
        MR_TRY(dump(sorter, true, error));
        chunk = mr__chunk_acquire(pool, 0, size);
    }
    if (chunk == NULL)
        chunk = mr__chunk_acquire_forced(pool, 0, size);
    MR_CHECK(chunk != NULL, MR_NO_MEMORY, "no memory for a chunk of %zu bytes\n  hint: lower --memory", size);
    *slab = chunk;
done:
    return status;
}

static void push_slab(mr__sorter *sorter, mr__chunk *chunk)
{
    chunk->next = sorter->slabs;
    sorter->slabs = chunk;
    sorter->slab_bytes += chunk->capacity;
    sorter->pairs += chunk->pairs;
}

mr_status mr__sorter_add(mr__sorter *sorter, const mr__pair *pair, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t size = mr__pair_bytes(&sorter->order->layout, pair->key_size, pair->value_size);
    if (sorter->open == NULL || sorter->open->capacity - sorter->open->size < size) {
        mr__chunk *slab = NULL;
        const uint32_t likely = sorter->open != NULL ? sorter->open->pairs : 1;
        sorter->open = NULL;
        if (!fits(sorter, size, likely))
            MR_TRY(dump(sorter, true, error));
        MR_TRY(slab_of(sorter, size, &slab, error));
        push_slab(sorter, slab);
        sorter->open = slab;
    }
    mr__pair_write(&sorter->order->layout, sorter->open->data + sorter->open->size, pair);
    sorter->open->size += (uint32_t)size;
    sorter->open->pairs++;
    sorter->pairs++;
done:
    return status;
}

mr_status mr__sorter_add_chunks(mr__sorter *sorter, mr__chunk *chunks, mr__error *error)
{
    mr_status status = MR_OK;
    while (chunks != NULL) {
        mr__chunk *chunk = chunks;
        if (!fits(sorter, chunk->capacity, chunk->pairs))
            MR_TRY(dump(sorter, true, error));
        chunks = chunk->next;
        push_slab(sorter, chunk);
    }
done:
    mr__chunk_release_all(&sorter->job->pool, chunks);
    return status;
}

mr_status mr__sorter_add_extents(mr__sorter *sorter, const mr__extent *extents, size_t count, mr__error *error)
{
    mr_status status = MR_OK;
    mr__spill_reader *reader = NULL;
    if (count == 0)
        return MR_OK;
    MR_TRY(mr__spill_reader_create(sorter->job->spill, extents, count, MERGE_AHEAD, &sorter->job->budget, &reader,
                                   error));
    for (;;) {
        const uint8_t *bytes;
        mr__extent extent;
        mr__chunk *slab = NULL;
        MR_TRY(mr__spill_reader_next(reader, &bytes, &extent, error));
        if (bytes == NULL)
            break;
        if (!fits(sorter, extent.size, extent.note))
            MR_TRY(dump(sorter, true, error));
        MR_TRY(slab_of(sorter, extent.size, &slab, error));
        memcpy(slab->data, bytes, extent.size);
        slab->size = extent.size;
        slab->pairs = extent.note;
        push_slab(sorter, slab);
    }
done:
    mr__spill_reader_destroy(reader);
    return status;
}

void mr__sorter_adopt(mr__sorter *sorter, mr__runs *runs)
{
    sorter->runs = *runs;
    *runs = (mr__runs){0};
}

static bool any_spilled(const mr__runs *runs)
{
    for (uint32_t i = 0; i < runs->count; i++) {
        if (runs->items[i].spilled)
            return true;
    }
    return false;
}

/* Cursors on all runs, and on the pairs in the slabs. */
static mr_status open_merge(mr__sorter *sorter, mr__error *error)
{
    mr_status status = MR_OK;
    const uint32_t runs = sorter->runs.count, count = runs + (sorter->pairs > 0);
    const bool ordered = sorter->job->ordered, lends = sorter->pairs == 0;
    const uint64_t room = ordered && lends ? sorter->memory->reserved : sorter->cap;
    const size_t ahead = room / count < MERGE_AHEAD ? (size_t)(room / count) : MERGE_AHEAD;
    if (lends && any_spilled(&sorter->runs)) {
        lend_refs(sorter, (uint64_t)ahead * count);
        if (!ordered)           /* what was in the slabs serves too: no map wants chunks any more */
            mr__chunk_pool_trim(&sorter->job->pool);
    }
    sorter->cursors = mr__alloc_zero(count, sizeof *sorter->cursors);
    MR_CHECK(sorter->cursors != NULL, MR_NO_MEMORY, "no memory to merge %u runs", count);
    sorter->merge = (mr__merge){.cursors = sorter->cursors, .count = count};
    for (uint32_t i = 0; i < runs; i++)
        MR_TRY(mr__run_cursor_open(&sorter->cursors[i], &sorter->runs.items[i], sorter->order, NULL, sorter->job->spill,
                                   ahead, &sorter->job->budget, error));
    if (count > runs)
        mr__run_cursor_open_refs(&sorter->cursors[runs], sorter->refs, sorter->pairs);
    MR_TRY(mr__merge_open(&sorter->merge, sorter->order, sorter->cursors, count, error));
done:
    return status;
}

mr_status mr__sorter_give(mr__sorter *sorter, bool spill, mr__runs *runs, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(dump(sorter, spill, error));
    if (sorter->runs.count >= MANY_RUNS && !any_spilled(&sorter->runs)) {
        mr__runs all = {0};
        mr__run *run;
        MR_TRY(open_merge(sorter, error));
        status = mr__runs_add(&all, &sorter->order->layout, &sorter->job->pool, &run, error);
        for (;;) {
            const uint8_t *at = NULL;
            mr__pair pair;
            if (status == MR_OK)
                status = mr__merge_next(&sorter->merge, &at, error);
            if (at == NULL)
                break;
            mr__pair_read(&sorter->order->layout, at, &pair);
            status = mr__run_append(run, sorter->lane, &pair, error);
        }
        if (status == MR_OK)
            status = mr__run_finish(run, sorter->lane, false, error);
        close_merge(sorter);
        mr__runs_fini(&sorter->runs);
        sorter->runs = all;
        MR_TRY(status);
    }
    *runs = sorter->runs;
    sorter->runs = (mr__runs){0};
done:
    return status;
}

mr_status mr__sorter_finish(mr__sorter *sorter, mr__error *error)
{
    mr_status status = MR_OK;
    if (any_spilled(&sorter->runs))
        MR_TRY(dump(sorter, true, error));      /* memory was short: leave it to the cursors */
    else
        MR_TRY(sort_slabs(sorter, error));
    sorter->merging = sorter->runs.count > 0;
    if (sorter->merging)
        MR_TRY(open_merge(sorter, error));
done:
    return status;
}

mr_status mr__sorter_next(mr__sorter *sorter, const uint8_t **at, mr__error *error)
{
    if (sorter->merging)
        return mr__merge_next(&sorter->merge, at, error);
    *at = NULL;
    if (sorter->next < sorter->pairs) {
        if (sorter->next + PREFETCH < sorter->pairs)
            __builtin_prefetch(sorter->refs[sorter->next + PREFETCH].pair);
        *at = sorter->refs[sorter->next++].pair;
    }
    return MR_OK;
}
