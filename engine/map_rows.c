/* map_rows.c: map tasks over fixed-size records and over index ranges.
 *
 * Blocks of rows lie at fixed places, counted from the beginning of each file and independent of tasks and workers.
 * That is what makes floating sums over dense keys reproducible: each block's sum is kept apart (dense.c) and folded in
 * the order of the blocks, however they were spread over workers.
 *
 *   file 0: | block 0 | block 1 | 2 |    file 1: | block 3 | block 4 | ...
 *
 * Records become columns (SIMD transposition) in the lane's own memory: for a map the whole block, for a row kernel a
 * tile at a time, so that columns stay in the L1 cache and the next records are fetched while rows are computed. When
 * the dataset is pinned, they become columns in memory that stays: later jobs and rounds then read no file. One column
 * that fills the record needs no copy at all, but at the end of a file. */
#include "internal.h"

#include "memory.h"

static size_t padded_rows(size_t rows)
{
    return (rows + MR_ROW_PADDING - 1) & ~(size_t)(MR_ROW_PADDING - 1);
}

/* Bytes of a block's columns. */
static size_t columns_bytes(const mr__job *job, size_t rows)
{
    size_t bytes = 0;
    for (uint32_t c = 0; c < job->plan.column_count; c++)
        bytes += padded_rows(rows) * mr__column_width(job->plan.columns[c].type);
    return bytes;
}

static void point_columns(const mr__job *job, size_t rows, uint8_t *memory, const void **columns)
{
    for (uint32_t c = 0; c < job->plan.column_count; c++) {
        columns[c] = memory;
        memory += padded_rows(rows) * mr__column_width(job->plan.columns[c].type);
    }
}

static mr_status lane_columns(mr__lane *lane, size_t bytes, uint8_t **memory, mr__error *error)
{
    mr_status status = MR_OK;
    if (bytes > lane->columns_size) {
        mr__pages_free(lane->columns, lane->columns_size);
        mr__budget_release(&lane->job->budget, lane->columns_size);
        lane->columns_size = 0;
        lane->columns = mr__pages_alloc(bytes);
        MR_CHECK(lane->columns != NULL, MR_NO_MEMORY, "no memory for columns of %zu bytes", bytes);
        lane->columns_size = bytes;
        mr__budget_force(&lane->job->budget, bytes);
    }
    *memory = lane->columns;
done:
    return status;
}

/* Does the only column fill the record, so that the records are the column as they lie? What follows them in the
 * reader's window is no padding of zeros: a map gets whole groups of rows only. A row kernel gives no heed to what its
 * vectors hold of rows behind the last one, but they must be readable. */
static bool is_column(const mr__job *job, const uint8_t *records, size_t rows)
{
    const size_t width = mr__column_width(job->plan.columns[0].type);
    return job->plan.column_count == 1 && job->plan.columns[0].offset == 0 && width == job->plan.record_size &&
           (uintptr_t)records % MR_COLUMN_ALIGNMENT == 0 &&
           (padded_rows(rows) - rows) * width <= (job->row_function != NULL ? MR_BLOCK_PADDING : 0);
}

/* Bytes of address space for a pinned block. */
size_t mr__pinned_stride(const mr__job *job)
{
    const size_t rows = job->block_rows * job->plan.record_size + MR_BLOCK_PADDING;
    const size_t bytes = job->app->layout == MR_COLUMNS ? columns_bytes(job, job->block_rows) : rows;
    return (bytes + MR_COLUMN_ALIGNMENT - 1) & ~(size_t)(MR_COLUMN_ALIGNMENT - 1);
}

/* Memory for a pinned block, or NULL when there is none to spare. All blocks lie in one area, so that huge pages back
 * it: with small ones each round of k-means walked 65,000 of them. */
static uint8_t *pin_block(mr__job *job, uint64_t index)
{
    mr__pinned *pinned = &job->dataset->pinned;
    /* all of its stretch: the ends of small files lie alone on huge pages */
    if (!job->dataset->pin || pinned->data == NULL || job->lanes[0].sampling ||
        !mr__budget_reserve(&job->budget, pinned->stride))
        return NULL;
    atomic_fetch_add_explicit(&pinned->bytes, pinned->stride, memory_order_relaxed);
    return pinned->data[index] = pinned->memory + index * pinned->stride;
}

/* Forgets the blocks of a range whose reading failed: what was cut off while it was mapped or in flight was read as
 * zeros, and the reader says so only afterwards. The next job would take them for the file. */
static void unpin_blocks(mr__job *job, uint64_t first, uint64_t last)
{
    mr__pinned *pinned = &job->dataset->pinned;
    for (uint64_t index = first; pinned->data != NULL && index < last; index++) {
        if (pinned->data[index] == NULL)
            continue;
        pinned->data[index] = NULL;
        atomic_fetch_sub_explicit(&pinned->bytes, pinned->stride, memory_order_relaxed);
        mr__budget_release(&job->budget, pinned->stride);
    }
}

/* Runs one block. With floating dense sums it gets a table of its own, which is kept for the fold, unless they are
 * only wanted for a comparison. */
static mr_status run_block(mr__job *job, mr__lane *lane, uint64_t index, const mr_block *block, mr__error *error)
{
    mr_status status = MR_OK;
    if (job->dense_results == NULL || lane->compares)
        return mr__map_block(job, lane, block, error);
    double *table = NULL;
    MR_TRY(mr__dense_take(job, lane, &table, error));
    void *const whole = lane->emitter.dense;
    lane->emitter.dense = table;
    status = mr__map_block(job, lane, block, error);
    lane->emitter.dense = whole;
    MR_TRY(status);
    MR_TRY(mr__dense_give(job, index, table, error));
done:
    return status;
}

/* ---- columns a tile at a time ------------------------------------------------------------------------------------ */

/* What a row kernel turns into columns itself, while it walks the block (millrace/row_emit.h). */
struct tiled {
    mr_tiles tiles;             /* first: fill() gets its address */
    const mr__kernels *kernels;
    mr__transposition plan;
    const void *columns[MR__TILE_COLUMNS];
};

static void fill_tile(const mr_tiles *tiles, size_t first, size_t rows)
{
    const struct tiled *tiled = (const struct tiled *)tiles;
    tiled->kernels->transpose_tile(&tiled->plan, first, rows, (void *const *)tiled->columns);
}

static bool can_tile(const mr__job *job)
{
    return job->row_function != NULL && job->plan.column_count <= MR__TILE_COLUMNS;
}

/* Is a record a lane of 64 bits, from which a permutation of elements takes each column? */
static bool is_packed(const mr__job *job)
{
    for (uint32_t c = 0; c < job->plan.column_count; c++)
        if (job->plan.columns[c].offset % mr__column_width(job->plan.columns[c].type) != 0)
            return false;
    return job->plan.record_size == 8;
}

static mr_status prepare_tiles(struct tiled *tiled, mr__job *job, mr__lane *lane, const mr_block *block,
                               mr__error *error)
{
    enum { TILE_BYTES = 8192 };         /* of records: with their columns, a fraction of an L1 cache */
    mr_status status = MR_OK;
    const size_t fitting = TILE_BYTES / job->plan.record_size / MR_ROW_PADDING * MR_ROW_PADDING;
    uint8_t *memory = NULL;
    tiled->kernels = mr__kernels_current();
    tiled->tiles = (mr_tiles){.rows = fitting > 0 ? fitting : MR_ROW_PADDING, .columns = tiled->columns,
                              .records = block->data, .record_size = job->plan.record_size,
                              .layout = is_packed(job) ? job->plan.columns : NULL, .fill = fill_tile};
    MR_TRY(lane_columns(lane, columns_bytes(job, tiled->tiles.rows), &memory, error));
    point_columns(job, tiled->tiles.rows, memory, tiled->columns);
    tiled->kernels->plan_tiles(&tiled->plan, block->data, block->rows, job->plan.record_size, job->plan.columns,
                               job->plan.column_count);
done:
    return status;
}

static mr_status run_records(mr__job *job, mr__lane *lane, uint32_t source, uint64_t index, const uint8_t *records,
                             size_t rows, mr__error *error)
{
    mr_status status = MR_OK;
    const void *columns[MR__COLUMNS_MAX];
    struct tiled tiled;
    mr_block block = {.rows = rows, .source = source, .source_name = job->dataset->sources->items[source].path,
                      .data = records, .size = rows * job->plan.record_size};
    const uint64_t block_in_file = index - job->block_starts[source];
    block.offset = block_in_file * job->block_rows * job->plan.record_size;
    block.first_row = job->row_starts[source] + block_in_file * job->block_rows;
    if (job->app->layout == MR_COLUMNS) {
        block.columns = columns;
        block.column_count = job->plan.column_count;
        uint8_t *memory = pin_block(job, index);
        if (memory == NULL && is_column(job, records, rows)) {
            columns[0] = records;
        } else if (memory == NULL && can_tile(job)) {
            MR_TRY(prepare_tiles(&tiled, job, lane, &block, error));
            block.columns = NULL;
            block.tiles = &tiled.tiles;
        } else {
            if (memory == NULL)
                MR_TRY(lane_columns(lane, columns_bytes(job, rows), &memory, error));
            point_columns(job, rows, memory, columns);
            mr__kernels_current()->transpose(records, rows, job->plan.record_size, job->plan.columns,
                                             job->plan.column_count, (void *const *)columns);
        }
    } else {
        uint8_t *memory = pin_block(job, index);
        if (memory != NULL)
            block.data = memcpy(memory, records, block.size);
    }
    MR_TRY(run_block(job, lane, index, &block, error));
done:
    return status;
}

enum { SAMPLE_ROWS = 1024 };     /* of a block, while the engine looks for splitters */

static size_t rows_of_block(const mr__job *job, uint32_t source, uint64_t index)
{
    const uint64_t rows = job->dataset->sources->items[source].size / job->plan.record_size;
    const uint64_t first = (index - job->block_starts[source]) * job->block_rows;
    return (size_t)(rows - first < job->block_rows ? rows - first : job->block_rows);
}

static mr_status run_pinned(mr__job *job, mr__lane *lane, uint32_t source, uint64_t index, mr__error *error)
{
    const void *columns[MR__COLUMNS_MAX];
    uint8_t *memory = job->dataset->pinned.data[index];
    mr_block block = {.rows = rows_of_block(job, source, index), .source = source,
                      .source_name = job->dataset->sources->items[source].path, .data = memory};
    const uint64_t block_in_file = index - job->block_starts[source];
    block.offset = block_in_file * job->block_rows * job->plan.record_size;
    block.first_row = job->row_starts[source] + block_in_file * job->block_rows;
    block.size = block.rows * job->plan.record_size;
    if (job->app->layout == MR_COLUMNS) {
        block.columns = columns;
        block.column_count = job->plan.column_count;
        point_columns(job, block.rows, memory, columns);
    }
    return run_block(job, lane, index, &block, error);
}

/* Blocks [first, last) of one file, read in one sequential pass. */
static mr_status map_file_blocks(mr__job *job, mr__lane *lane, uint32_t source, uint64_t first, uint64_t last,
                                 mr__error *error)
{
    mr_status status = MR_OK;
    const uint64_t size = job->dataset->sources->items[source].size, begun = first;
    const size_t block_bytes = job->block_rows * job->plan.record_size;
    const uint64_t begin = (first - job->block_starts[source]) * block_bytes;
    uint64_t end = (last - job->block_starts[source]) * block_bytes;
    if (end > size)
        end = size;
    const size_t most_rows = lane->sampling ? SAMPLE_ROWS : job->block_rows;
    if (lane->sampling && end - begin > (uint64_t)most_rows * job->plan.record_size)
        end = begin + (uint64_t)most_rows * job->plan.record_size;
    uint64_t at = begin;
    size_t keep = 0;
    MR_TRY(mr__reader_start(lane->reader, source, begin, end, error));
    while (at < end) {
        mr_slice window;
        uint64_t offset;
        bool at_end;
        MR_TRY(mr__reader_next(lane->reader, keep, &window, &offset, &at_end, error));
        size_t used = 0;
        while (at < end) {
            size_t rows = rows_of_block(job, source, first);
            if (rows > most_rows)
                rows = most_rows;
            const size_t bytes = rows * job->plan.record_size;
            if (window.size - used < bytes)
                break;
            MR_TRY(run_records(job, lane, source, first, window.data + used, rows, error));
            atomic_fetch_add_explicit(&job->mapped, 1, memory_order_relaxed);
            used += bytes;
            at += bytes;
            first++;
        }
        keep = window.size - used;
    }
    MR_TRY(mr__reader_end(lane->reader, error));
done:
    if (status != MR_OK)
        unpin_blocks(job, begun, last);
    return status;
}

static mr_status map_index_range(mr__job *job, mr__lane *lane, const mr__task *task, mr__error *error)
{
    mr_status status = MR_OK;
    for (uint64_t index = task->begin; index < task->end; index++) {
        mr_block block = {.first_row = index * job->block_rows};
        const uint64_t left = job->plan.range - block.first_row;
        block.rows = (size_t)(left < job->block_rows ? left : job->block_rows);
        MR_TRY(run_block(job, lane, index, &block, error));
        atomic_fetch_add_explicit(&job->mapped, 1, memory_order_relaxed);
    }
done:
    return status;
}

uint32_t mr__source_of_block(const mr__job *job, uint64_t block)
{
    uint32_t source = 0;
    for (uint32_t high = job->dataset->sources->count; high - source > 1;) {
        const uint32_t middle = source + (high - source) / 2;
        if (job->block_starts[middle] <= block)
            source = middle;
        else
            high = middle;
    }
    return source;
}

uint64_t mr__rows_before(const mr__job *job, uint64_t block)
{
    if (job->app->input == MR_INPUT_RANGE) {
        const uint64_t rows = block * job->block_rows;
        return rows < job->plan.range ? rows : job->plan.range;
    }
    const uint32_t source = mr__source_of_block(job, block);
    const uint64_t rows = job->row_starts[source] + (block - job->block_starts[source]) * job->block_rows;
    return rows < job->row_starts[source + 1] ? rows : job->row_starts[source + 1];
}

mr_status mr__map_rows(mr__job *job, mr__lane *lane, const mr__task *task, mr__error *error)
{
    mr_status status = MR_OK;
    if (job->app->input == MR_INPUT_RANGE)
        return map_index_range(job, lane, task, error);
    uint32_t source = mr__source_of_block(job, task->begin);
    uint8_t *const *pinned = job->dataset->pinned.data;
    for (uint64_t index = task->begin; index < task->end;) {
        while (job->block_starts[source + 1] <= index)
            source++;
        const uint64_t end = job->block_starts[source + 1] < task->end ? job->block_starts[source + 1] : task->end;
        uint64_t last = index + 1;
        if (pinned != NULL && pinned[index] != NULL) {
            MR_TRY(run_pinned(job, lane, source, index, error));
            atomic_fetch_add_explicit(&job->mapped, 1, memory_order_relaxed);
        } else {
            while (last < end && (pinned == NULL || pinned[last] == NULL))
                last++;
            MR_TRY(map_file_blocks(job, lane, source, index, last, error));
        }
        index = last;
    }
done:
    return status;
}
