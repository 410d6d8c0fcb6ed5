/* run.c: a run is a list of segments, each a chunk in memory or an extent in the spill.
 *
 *   append -> [open chunk] --full--> segment --no chunk left--> every segment so far is written, and from then on each
 *                                                              new one at once; the open chunk is used again
 *
 * All or nothing keeps the reading side simple: the extents of a spilled run are one array, which a spill reader walks
 * with read-ahead. The first pair of each segment is kept, so that a cursor can begin in the middle. */
#include "internal.h"

#include "memory.h"

enum { PREFETCH = 8, AHEAD = 128 };

void mr__run_init(mr__run *run, const mr__pair_layout *layout, mr__chunk_pool *pool)
{
    *run = (mr__run){.layout = *layout, .pool = pool};
    mr__arena_init(&run->copies);
}

void mr__run_fini(mr__run *run)
{
    if (run->pool == NULL)
        return;
    mr__chunk_release(run->pool, run->open);
    for (size_t i = 0; i < run->count; i++)
        mr__chunk_release(run->pool, run->segments[i].chunk);
    mr__free(run->segments);
    mr__free(run->extents);
    mr__free(run->samples);
    mr__arena_fini(&run->copies);
    run->pool = NULL;
}

mr_status mr__runs_add(mr__runs *runs, const mr__pair_layout *layout, mr__chunk_pool *pool, mr__run **run,
                       mr__error *error)
{
    mr_status status = MR_OK;
    if (runs->count == runs->room) {
        const uint32_t room = runs->room != 0 ? runs->room * 2 : 8;
        mr__run *items = mr__realloc(runs->items, room * sizeof *items);
        MR_CHECK(items != NULL, MR_NO_MEMORY, "no memory for the list of sorted runs");
        runs->items = items;
        runs->room = room;
    }
    *run = &runs->items[runs->count++];
    mr__run_init(*run, layout, pool);
done:
    return status;
}

void mr__runs_fini(mr__runs *runs)
{
    for (uint32_t i = 0; i < runs->count; i++)
        mr__run_fini(&runs->items[i]);
    mr__free(runs->items);
    *runs = (mr__runs){0};
}

static mr_status copy_pair(mr__run *run, const uint8_t *at, const uint8_t **copy, mr__error *error)
{
    mr_status status = MR_OK;
    mr__pair pair;
    const size_t size = (size_t)(mr__pair_read(&run->layout, at, &pair) - at);
    uint8_t *bytes = mr__arena_alloc(&run->copies, size + MR__CHUNK_PADDING, 1);
    MR_CHECK(bytes != NULL, MR_NO_MEMORY, "no memory for the index of a run");
    memcpy(bytes, at, size);
    *copy = bytes;
done:
    return status;
}

/* Copies stay in memory: of pairs that a chunk hardly holds there must be none, or they would be all the data. */
static bool worth_copying(const mr__run *run, size_t size)
{
    return size <= 1024 || size <= run->pool->capacity / 16;
}

/* What a cursor finds the segment by: its first pair, or, if that is large, that of the segment before. */
static mr_status copy_first(mr__run *run, size_t index, mr__error *error)
{
    mr__segment *segment = &run->segments[index];
    mr__pair pair;
    const size_t size = (size_t)(mr__pair_read(&run->layout, segment->chunk->data, &pair) - segment->chunk->data);
    if (worth_copying(run, size))
        return copy_pair(run, segment->chunk->data, &segment->first, error);
    segment->first = index > 0 ? run->segments[index - 1].first : NULL;
    return MR_OK;
}

static mr_status write_segment(mr__run *run, mr__lane *lane, size_t index, mr__error *error)
{
    mr_status status = MR_OK;
    mr__segment *segment = &run->segments[index];
    mr__spill_writer *writer;
    MR_TRY(mr__lane_spill_writer(lane, &writer, error));
    MR_TRY(copy_first(run, index, error));
    MR_TRY(mr__spill_write(writer, segment->chunk->data, segment->chunk->size, segment->chunk->pairs,
                           &run->extents[index], error));
    mr__chunk_release(run->pool, segment->chunk);
    segment->chunk = NULL;
done:
    return status;
}

static mr_status spill_all(mr__run *run, mr__lane *lane, mr__error *error)
{
    mr_status status = MR_OK;
    run->spilled = true;
    for (size_t i = 0; i < run->count; i++) {
        if (run->segments[i].chunk != NULL)
            MR_TRY(write_segment(run, lane, i, error));
    }
done:
    return status;
}

static mr_status seal(mr__run *run, mr__lane *lane, mr__error *error)
{
    mr_status status = MR_OK;
    if (run->open == NULL || run->open->pairs == 0)
        return MR_OK;
    if (run->count == run->room) {
        const size_t room = run->room != 0 ? run->room * 2 : 8;
        mr__segment *segments = mr__realloc(run->segments, room * sizeof *segments);
        MR_CHECK(segments != NULL, MR_NO_MEMORY, "no memory for the segments of a run");
        run->segments = segments;
        mr__extent *extents = mr__realloc(run->extents, room * sizeof *extents);
        MR_CHECK(extents != NULL, MR_NO_MEMORY, "no memory for the extents of a run");
        run->extents = extents;
        run->room = room;
    }
    run->segments[run->count] = (mr__segment){.chunk = run->open, .first = run->open->data};
    run->count++;
    run->open = NULL;
    if (run->spilled)
        MR_TRY(write_segment(run, lane, run->count - 1, error));
done:
    return status;
}

static mr_status open_chunk(mr__run *run, mr__lane *lane, size_t size, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(seal(run, lane, error));
    run->open = mr__chunk_acquire(run->pool, 0, size);
    if (run->open == NULL && !run->spilled) {
        MR_TRY(spill_all(run, lane, error));
        run->open = mr__chunk_acquire(run->pool, 0, size);
    }
    if (run->open == NULL)
        run->open = mr__chunk_acquire_forced(run->pool, 0, size);
    MR_CHECK(run->open != NULL, MR_NO_MEMORY, "no memory for a chunk of %zu bytes\n  hint: lower --memory", size);
done:
    return status;
}

mr_status mr__run_append(mr__run *run, mr__lane *lane, const mr__pair *pair, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t size = mr__pair_bytes(&run->layout, pair->key_size, pair->value_size);
    MR_CHECK(size < (size_t)1 << 31, MR_BAD_INPUT,
             "a result of %zu bytes is too large: a key and its value may have 2 GiB", size);
    if (run->open == NULL || run->open->capacity - run->open->size < size)
        MR_TRY(open_chunk(run, lane, size, error));
    uint8_t *at = run->open->data + run->open->size;
    mr__pair_write(&run->layout, at, pair);
    if (run->sampled && run->pairs % MR__SAMPLE_EVERY == 0 && worth_copying(run, size)) {
        if (run->sample_count == run->sample_room) {
            const size_t room = run->sample_room != 0 ? run->sample_room * 2 : 64;
            const uint8_t **samples = mr__realloc(run->samples, room * sizeof *samples);
            MR_CHECK(samples != NULL, MR_NO_MEMORY, "no memory for the samples of a run");
            run->samples = samples;
            run->sample_room = room;
        }
        MR_TRY(copy_pair(run, at, &run->samples[run->sample_count], error));
        run->sample_count++;
    }
    run->open->size += (uint32_t)size;
    run->open->pairs++;
    run->pairs++;
    run->bytes += size;
done:
    return status;
}

mr_status mr__run_finish(mr__run *run, mr__lane *lane, bool spill, mr__error *error)
{
    mr_status status = MR_OK;
    MR_TRY(seal(run, lane, error));
    if (spill && !run->spilled)
        MR_TRY(spill_all(run, lane, error));
    mr__chunk_release(run->pool, run->open);
    run->open = NULL;
    if (run->spilled)
        MR_TRY(mr__spill_flush(lane->spill_writer, error));
done:
    return status;
}

/* ---- cursors ----------------------------------------------------------------------------------------------------- */

/* The last segment whose first pair is known to be below `from`: pairs equal to `from` may begin inside it. */
static size_t first_segment(const mr__run *run, const mr__order *order, const mr__pair *from)
{
    size_t low = 0, high = run->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const uint8_t *known = run->segments[middle].first;
        mr__pair first;
        if (known != NULL)
            mr__pair_read(&run->layout, known, &first);
        if (known == NULL || mr__order_compare(order, &first, from, true) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    low -= low > 0;
    while (low > 0 && run->segments[low - 1].first == run->segments[low].first)
        low--;
    return low;
}

mr_status mr__run_cursor_open(mr__run_cursor *cursor, const mr__run *run, const mr__order *order, const mr__pair *from,
                              mr__spill *spill, size_t ahead, mr__budget *budget, mr__error *error)
{
    *cursor = (mr__run_cursor){.run = run};
    if (from != NULL)
        cursor->segment = first_segment(run, order, from);
    if (!run->spilled || cursor->segment >= run->count)
        return MR_OK;
    return mr__spill_reader_create(spill, run->extents + cursor->segment, run->count - cursor->segment, ahead, budget,
                                   &cursor->reader, error);
}

void mr__run_cursor_open_refs(mr__run_cursor *cursor, const mr__ref *refs, size_t count)
{
    *cursor = (mr__run_cursor){.ref = refs, .refs_end = refs + count};
}

void mr__run_cursor_close(mr__run_cursor *cursor)
{
    mr__spill_reader_destroy(cursor->reader);
    cursor->reader = NULL;
}

mr_status mr__run_cursor_next(mr__run_cursor *cursor, const uint8_t **at, mr__error *error)
{
    mr_status status = MR_OK;
    *at = NULL;
    if (cursor->ref != NULL) {
        if (cursor->ref == cursor->refs_end)
            return MR_OK;
        if (cursor->refs_end - cursor->ref > PREFETCH)
            __builtin_prefetch(cursor->ref[PREFETCH].pair);
        *at = cursor->ref++->pair;
        return MR_OK;
    }
    if (cursor->at == cursor->end) {
        if (cursor->segment == cursor->run->count)
            goto done;
        if (cursor->reader != NULL) {
            mr__extent extent;
            MR_TRY(mr__spill_reader_next(cursor->reader, &cursor->at, &extent, error));
            MR_CHECK(cursor->at != NULL, MR_INTERNAL, "a spilled run ends early");
            cursor->end = cursor->at + extent.size;
        } else {
            const mr__chunk *chunk = cursor->run->segments[cursor->segment].chunk;
            cursor->at = chunk->data;
            cursor->end = chunk->data + chunk->size;
        }
        cursor->segment++;
    }
    mr__pair pair;
    *at = cursor->at;
    cursor->at = mr__pair_read(&cursor->run->layout, cursor->at, &pair);
    __builtin_prefetch(cursor->at + AHEAD);     /* more cursors than the hardware follows streams */
done:
    return status;
}
