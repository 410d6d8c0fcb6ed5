/* plan.c: from a descriptor, parameters and sizes to what will be done.
 *
 *   validate the descriptor -> parse parameters -> the app's plan() -> layout and order of pairs -> blocks of rows
 *     -> share out the memory -> partitions, parts, chunk size */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "memory.h"
#include "params.h"
#include "plan_files.h"

enum {
    FIRST_ROWS = 65536,                 /* per block of an index range */
    BLOCK_BYTES = MR__READ_WINDOW,
    WINDOW_BYTES = MR__READ_WINDOW,
    LARGEST_TASK = 64                   /* blocks */
};
#define DENSE_RESULTS_MOST ((uint64_t)256 << 20)

/* ---- what plan() may call ---------------------------------------------------------------------------------------- */

void *mr_plan_resize(mr_plan *plan, size_t size)
{
    struct mr__plan_private *internal = plan->internal;
    if (size <= internal->params_room) {
        if (size > plan->params_size)       /* what was there before they shrank */
            memset((uint8_t *)plan->params + plan->params_size, 0, size - plan->params_size);
        plan->params_size = size;
        return plan->params;
    }
    void *larger = mr__pages_alloc(size + MR_BLOCK_PADDING);
    if (larger == NULL) {
        mr__fail(internal->error, MR_NO_MEMORY, "no memory for %zu bytes of parameters", size);
        return NULL;
    }
    memcpy(larger, plan->params, plan->params_size);
    mr__pages_free(plan->params, internal->params_room + MR_BLOCK_PADDING);
    internal->params_room = size;
    plan->params = larger;
    plan->params_size = size;
    return larger;
}

mr_status mr_plan_fail(mr_plan *plan, mr_status status, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return mr__fail(plan->internal->error, status, "%s", text);
}

mr_status mr_plan_read_rows(mr_plan *plan, uint64_t first, size_t count, void *records)
{
    mr_status status = MR_OK;
    mr__error *error = plan->internal->error;
    const mr__sources *sources = plan->dataset != NULL ? plan->dataset->sources : NULL;
    mr__reader *reader = NULL;
    mr__budget unlimited;
    mr__budget_init(&unlimited, UINT64_MAX);
    MR_CHECK(sources != NULL && plan->record_size > 0, MR_BAD_APP, "the app reads rows before it set record_size");
    MR_TRY(mr__reader_create(sources, MR__READ_PREAD, WINDOW_BYTES, &unlimited, &reader, error));
    uint8_t *to = records;
    for (uint32_t s = 0; s < sources->count && count > 0; s++) {
        const uint64_t rows = sources->items[s].size / plan->record_size;
        if (first >= rows) {
            first -= rows;
            continue;
        }
        const size_t here = rows - first < count ? (size_t)(rows - first) : count;
        MR_TRY(mr__reader_at(reader, s, first * plan->record_size, to, here * plan->record_size, error));
        mr__plan_note_read(plan->internal, to, here * plan->record_size);
        to += here * plan->record_size;
        count -= here;
        first = 0;
    }
    MR_CHECK(count == 0, MR_BAD_INPUT, "the input ends %zu records too early", count);
done:
    mr__reader_destroy(reader);
    return status;
}

/* ---- the descriptor ---------------------------------------------------------------------------------------------- */

static mr_status validate(const mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const mr_app *app = job->app;
    const char *name = job->app_name;
    const bool sums = app->combine == MR_SUM || app->combine == MR_COUNT;
    const bool number = app->value == MR_U64 || app->value == MR_I64 || app->value == MR_F64;
    const bool has_rows = app->input == MR_INPUT_RANGE ||
                          (app->input == MR_INPUT_RECORDS && app->layout == MR_COLUMNS);
    MR_CHECK((app->map != NULL) != (app->row != NULL), MR_BAD_APP, "app %s must have either map or row", name);
    MR_CHECK(app->key >= MR_BYTES && app->key <= MR_U64, MR_BAD_APP, "app %s declares no usable key type", name);
    MR_CHECK(app->value >= MR_U64 && app->value <= MR_STRUCT, MR_BAD_APP, "app %s declares no usable value type", name);
    MR_CHECK(app->key != MR_DENSE || (sums && app->value != MR_STRUCT), MR_BAD_APP,
             "app %s: dense keys take MR_SUM or MR_COUNT over numbers", name);
    MR_CHECK(app->combine != MR_COUNT || app->value == MR_U64, MR_BAD_APP,
             "app %s: MR_COUNT gives MR_U64 values", name);
    MR_CHECK(app->combine != MR_COMBINE_USER || app->combine_with != NULL, MR_BAD_APP,
             "app %s: MR_COMBINE_USER needs combine_with", name);
    MR_CHECK(app->combine == MR_COMBINE_NONE || app->combine == MR_COMBINE_USER || app->value != MR_STRUCT, MR_BAD_APP,
             "app %s: a struct can only be combined by the app's own function", name);
    MR_CHECK((app->combine != MR_MIN && app->combine != MR_MAX) || number, MR_BAD_APP,
             "app %s: MR_MIN and MR_MAX need a number", name);
    MR_CHECK(app->key != MR_DENSE || app->reduce == NULL, MR_BAD_APP, "app %s: dense keys have no reduce", name);
    MR_CHECK((app->round == NULL && app->finish == NULL) || app->key == MR_DENSE, MR_BAD_APP,
             "app %s: round and finish need dense keys", name);
    MR_CHECK(app->row == NULL || has_rows, MR_BAD_APP,
             "app %s: a row kernel needs rows: MR_INPUT_RECORDS in MR_COLUMNS, or MR_INPUT_RANGE", name);
    MR_CHECK(app->key_suffix == 0 || (app->key == MR_BYTES && app->reduce != NULL), MR_BAD_APP,
             "app %s: a key suffix needs byte keys and a reduce", name);
    MR_CHECK(app->output != MR_OUTPUT_TSV || app->value != MR_STRUCT || app->reduce != NULL || app->format != NULL,
             MR_BAD_APP, "app %s: struct values need format to be written as text", name);
    MR_CHECK((job->dataset != NULL) == (app->input != MR_INPUT_RANGE), MR_BAD_USAGE,
             job->dataset != NULL ? "app %s reads no input" : "app %s needs input: name files or directories", name);
done:
    return status;
}

static mr_row_fn row_function(const mr_row_kernel *row)
{
    mr_row_fn best = NULL;
    switch (mr__level_current()) {
    case MR__AVX512:
        best = row->avx512;
        break;
    case MR__AVX2:
        best = row->avx2;
        break;
    case MR__SSE2:
        best = row->sse2;
        break;
    case MR__NEON:
        best = row->neon;
        break;
    default:
        break;
    }
    return best != NULL ? best : row->scalar;
}

/* ---- pairs ------------------------------------------------------------------------------------------------------- */

static mr__order_kind key_kind(mr_type key)
{
    return key == MR_U32 ? MR__BY_U32 : key == MR_U64 || key == MR_DENSE ? MR__BY_U64 : MR__BY_BYTES;
}

static mr_status lay_out_pairs(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const mr_app *app = job->app;
    const mr_plan *plan = &job->plan;
    job->dense = app->key == MR_DENSE;
    job->dense_f64 = app->value == MR_F64 || app->value == MR_F64_VECTOR;
    job->combines = app->combine != MR_COMBINE_NONE && !job->dense;
    job->reduces = app->reduce != NULL;
    job->dense_width = app->value == MR_F64_VECTOR ? plan->value_width : 1;
    job->layout.key_suffix = app->key_suffix;
    job->layout.key_size = app->key == MR_U32 ? 4 : app->key == MR_U64 || job->dense ? 8
                           : app->key == MR_FIXED                                    ? plan->key_size
                                                                                     : 0;
    job->layout.value_size = app->value == MR_STRUCT ? plan->value_size
                             : app->value == MR_F64_VECTOR ? plan->value_width * 8
                                                           : 8;
    MR_CHECK(app->key != MR_FIXED || (plan->key_size > 0 && plan->key_size <= 1 << 20), MR_BAD_APP,
             "app %s: fixed keys may have 1 byte to 1 MiB, not %u", job->app_name, plan->key_size);
    MR_CHECK(app->value != MR_F64_VECTOR || (plan->value_width > 0 && plan->value_width <= MR_VALUE_MAX / 8),
             MR_BAD_APP, "app %s: a vector may have a value_width of 1 to %d, not %u", job->app_name, MR_VALUE_MAX / 8,
             plan->value_width);
    MR_CHECK(job->layout.value_size <= MR_VALUE_MAX, MR_BAD_APP, "app %s: a value of %u bytes is too large (64 MiB)",
             job->app_name, job->layout.value_size);
    MR_CHECK(!job->dense || (plan->dense_keys > 0 && plan->dense_keys <= (uint64_t)1 << 32), MR_BAD_APP,
             "app %s: dense_keys must be 1 to 2^32", job->app_name);
    job->result_layout = job->layout;
    job->result_layout.key_suffix = 0;
    if (job->reduces || (job->dense && app->finish != NULL))
        job->result_layout = (mr__pair_layout){.value_varies = true};
    job->rule = (mr__combine_rule){app->combine, app->combine == MR_COUNT ? MR_U64 : app->value, app->combine_with,
                                   plan->params};
    job->order = job->range_order = (mr__order){.layout = job->layout, .kind = key_kind(app->key)};
    job->keeps_keys = job->combines || job->reduces;
    if (job->keeps_keys)
        job->range_order.layout.key_suffix = 0;
    job->sort = job->request->sort != MR_SORT_NONE ? job->request->sort : plan->sort;
    if (app->sort == MR_SORT_KEY)
        job->sort = MR_SORT_KEY;
    job->limit = job->sort != MR_SORT_NONE || job->dense ? plan->limit : 0;
    if (job->limit > 0 && job->sort != plan->sort) {
        MR_CHECK(plan->sort == MR_SORT_NONE, MR_BAD_USAGE,
                 "app %s keeps the first %llu results in its own order; leave --sort away", job->app_name,
                 (unsigned long long)job->limit);
    }
    const bool sortable = app->value == MR_U64 || app->value == MR_I64 || app->value == MR_F64;
    MR_CHECK(job->sort != MR_SORT_VALUE || (sortable && !job->reduces && !job->dense), MR_BAD_USAGE,
             "app %s cannot be sorted by value: its results are not single numbers", job->app_name);
    /* on one rank the sorted results of all partitions are merged into parts; many ranks write parts of their own */
    job->by_range = !job->dense && job->sort == MR_SORT_KEY && job->limit == 0 &&
                    (job->ranks > 1 || (!job->combines && !job->reduces));
    job->sorts = job->sort != MR_SORT_NONE && !job->by_range && !job->dense;
    job->ordered = !job->combines && !job->dense && (job->reduces || job->sorts || job->by_range);
    job->collect = job->sorts || job->request->output == NULL;
    job->result_order = (mr__order){.layout = job->result_layout, .key_kind = key_kind(app->key), .value = app->value};
    job->result_order.kind = job->sort == MR_SORT_VALUE ? MR__BY_VALUE : job->result_order.key_kind;
done:
    return status;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static mr_status check_columns(const mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const mr_plan *plan = &job->plan;
    MR_CHECK(plan->record_size > 0, MR_BAD_APP, "app %s declares no record_size", job->app_name);
    MR_CHECK(job->app->layout == MR_ROWS || (plan->column_count > 0 && plan->column_count <= MR__COLUMNS_MAX),
             MR_BAD_APP, "app %s declares %u columns; 1 to %d are possible", job->app_name, plan->column_count,
             MR__COLUMNS_MAX);
    for (uint32_t c = 0; c < plan->column_count; c++)
        MR_CHECK((uint64_t)plan->columns[c].offset + mr__column_width(plan->columns[c].type) <= plan->record_size,
                 MR_BAD_APP, "app %s: column %u lies outside the record of %u bytes", job->app_name, c,
                 plan->record_size);
done:
    return status;
}

static mr_status count_blocks(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__sources *sources = job->dataset->sources;
    uint64_t rows = 0;
    job->blocks = 0;
    for (uint32_t s = 0; s < sources->count; s++) {
        const uint64_t here = sources->items[s].size / job->plan.record_size;
        job->block_starts[s] = job->blocks;
        job->row_starts[s] = rows;
        rows += here;
        job->blocks += here / job->block_rows + (here % job->block_rows != 0);
    }
    job->block_starts[sources->count] = job->blocks;
    job->row_starts[sources->count] = rows;
    MR_CHECK(job->blocks < UINT64_MAX, MR_BAD_INPUT, "too many blocks");
done:
    return status;
}

/* Doubles the blocks until the sums of all of them fit: the fold stays in block order, and reproducible. */
static void bound_dense_results(mr__job *job, uint64_t rows)
{
    const uint64_t bytes = mr__dense_values(job) * 8;
    while (job->dense_f64 && job->dense && (rows / job->block_rows + 1) * bytes > DENSE_RESULTS_MOST &&
           job->block_rows < rows)
        job->block_rows *= 2;
}

static mr_status plan_rows(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const mr_plan *plan = &job->plan;
    job->block_rows = plan->block_rows;
    if (job->app->input == MR_INPUT_RANGE) {
        MR_CHECK(plan->range > 0, MR_BAD_APP, "app %s: plan() sets no range", job->app_name);
        if (job->block_rows == 0)
            job->block_rows = FIRST_ROWS;
        bound_dense_results(job, plan->range);
        job->blocks = plan->range / job->block_rows + (plan->range % job->block_rows != 0);
    } else {
        MR_TRY(check_columns(job, error));
        const mr__sources *sources = job->dataset->sources;
        for (uint32_t s = 0; s < sources->count; s++)
            MR_CHECK(sources->items[s].size % plan->record_size == 0, MR_BAD_INPUT,
                     "%s has %llu bytes, no multiple of the record size %u of app %s\n"
                     "  hint: check the file and the app's parameters",
                     sources->items[s].path, (unsigned long long)sources->items[s].size, plan->record_size,
                     job->app_name);
        if (job->block_rows == 0)
            job->block_rows = BLOCK_BYTES / plan->record_size / MR_ROW_PADDING * MR_ROW_PADDING;
        if (job->block_rows == 0)
            job->block_rows = MR_ROW_PADDING;
        bound_dense_results(job, sources->bytes / plan->record_size);
        if (job->block_rows > sources->bytes / plan->record_size)
            job->block_rows = sources->bytes > 0 ? (size_t)(sources->bytes / plan->record_size) : 1;
        job->block_starts = mr__arena_alloc(&job->arena, (sources->count + 1) * sizeof(uint64_t), 8);
        job->row_starts = mr__arena_alloc(&job->arena, (sources->count + 1) * sizeof(uint64_t), 8);
        MR_CHECK(job->block_starts != NULL && job->row_starts != NULL, MR_NO_MEMORY,
                 "no memory for the list of blocks");
        MR_TRY(count_blocks(job, error));
        const size_t block_bytes = job->block_rows * plan->record_size;
        job->window = block_bytes < WINDOW_BYTES ? WINDOW_BYTES / block_bytes * block_bytes : block_bytes;
    }
    if (job->dense && job->dense_f64) {
        job->dense_results = mr__arena_alloc(&job->arena, (job->blocks + 1) * sizeof *job->dense_results, 8);
        MR_CHECK(job->dense_results != NULL, MR_NO_MEMORY, "no memory for the sums of %llu blocks",
                 (unsigned long long)job->blocks);
        memset(job->dense_results, 0, (job->blocks + 1) * sizeof *job->dense_results);
    }
    job->folds_early = job->dense_results != NULL && job->session->ranks == NULL && job->ranks == 1;
    job->schedule_total = job->blocks;
    job->smallest_task = 1;
    job->largest_task = LARGEST_TASK;
done:
    return status;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static mr_status copy_columns(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t bytes = job->plan.column_count * sizeof(mr_column);
    MR_CHECK(bytes == 0 || job->plan.columns != NULL, MR_BAD_APP, "app %s declares %u columns, but not which",
             job->app_name, job->plan.column_count);
    mr_column *copy = mr__arena_copy(&job->arena, job->plan.columns, bytes);
    MR_CHECK(copy != NULL, MR_NO_MEMORY, "no memory for %u columns", job->plan.column_count);
    job->plan.columns = copy;
    job->columns_hash = mr__hash_bytes(copy, bytes) ^ (job->app->layout == MR_ROWS);
done:
    return status;
}

mr_status mr__job_plan(mr__job *job, mr__error *error)
{
    mr_status status = MR_OK;
    const mr_app *app = job->app;
    mr_plan *plan = &job->plan;
    const char *reduce = getenv("MILLRACE_REDUCE");
    MR_TRY(validate(job, error));
    MR_CHECK(reduce == NULL || strcmp(reduce, "barrier") == 0 || strcmp(reduce, "pipelined") == 0, MR_BAD_USAGE,
             "MILLRACE_REDUCE=%s is unknown\n  hint: use pipelined (the default) or barrier", reduce);
    job->pipelined = reduce == NULL || strcmp(reduce, "barrier") != 0;
    job->plan_private = mr__alloc_zero(1, sizeof *job->plan_private);
    MR_CHECK(job->plan_private != NULL, MR_NO_MEMORY, "no memory for the plan");
    *job->plan_private = (struct mr__plan_private){.job = job, .error = error, .params_room = app->params_size};
    *plan = (mr_plan){.params_size = app->params_size, .dataset = job->dataset, .columns = app->columns,
                      .column_count = app->column_count, .record_size = app->record_size,
                      .dense_keys = app->dense_keys, .key_size = app->key_size, .value_size = app->value_size,
                      .value_width = app->value_width, .sort = app->sort, .internal = job->plan_private};
    plan->input_bytes = job->dataset != NULL ? job->dataset->sources->bytes : 0;
    plan->rows = app->record_size != 0 ? plan->input_bytes / app->record_size : 0;
    plan->params = mr__pages_alloc(app->params_size + MR_BLOCK_PADDING);
    MR_CHECK(plan->params != NULL, MR_NO_MEMORY, "no memory for the parameters of app %s", job->app_name);
    MR_TRY(mr__params_parse(app, job->app_name, job->request->params, job->request->param_count, plan->params, error));
    if (app->plan != NULL) {
        const mr_status planned = app->plan(plan);
        mr__plan_files_drop(job->plan_private);
        MR_CHECK(error->code == MR_OK, error->code, "%s", "");
        MR_CHECK(planned == MR_OK, planned, "plan of app %s failed: %s", job->app_name, mr_status_meaning(planned));
    }
    MR_TRY(copy_columns(job, error));
    MR_TRY(lay_out_pairs(job, error));
    job->window = WINDOW_BYTES;
    if (app->row != NULL)
        job->row_function = row_function(app->row);
    if (app->input == MR_INPUT_RECORDS || app->input == MR_INPUT_RANGE) {
        MR_TRY(plan_rows(job, error));
    } else {
        job->schedule_total = plan->input_bytes;
        job->smallest_task = 1 << 20;
        job->largest_task = 32 << 20;
    }
    MR_TRY(mr__job_share_memory(job, error));
done:
    return status;
}

void mr__job_plan_fini(mr__job *job)
{
    if (job->plan_private == NULL)
        return;
    mr__pages_free(job->plan.params, job->plan_private->params_room + MR_BLOCK_PADDING);
    mr__plan_files_drop(job->plan_private);
    mr__free(job->plan_private);
    job->plan_private = NULL;
}
