/* convoy_apps.c: see convoy_apps.h. */
#include "convoy_apps.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ROW_SIZE = sizeof(struct row) };

struct params {
    struct ship *ship;                  /* set by plan(); all ranks are one process here */
    uint64_t limit;
    double centre[CENTRES];
};

static const mr_param params_list[] = {
    MR_PARAM_U64_FIELD(struct params, limit, "0", 0, 1e9, "keep so many"),
};

static mr_status plan(mr_plan *plan)
{
    struct params *params = plan->params;
    params->ship = convoy_self();
    const struct convoy *convoy = params->ship->convoy;
    row_centres(params->centre);
    plan->block_rows = BLOCK_ROWS;
    plan->limit = params->limit;
    if (params->limit > 0)
        plan->sort = MR_SORT_VALUE;
    plan->range = RANGE;
    return convoy->on_plan != NULL ? convoy->on_plan(params->ship, plan) : MR_OK;
}

static mr_status begin_map(const mr_block *block, const struct params *params)
{
    const struct convoy *convoy = params->ship->convoy;
    return convoy->on_map != NULL ? convoy->on_map(params->ship, block) : MR_OK;
}

static mr_status begin_reduce(mr_slice key, const struct params *params)
{
    const struct convoy *convoy = params->ship->convoy;
    return convoy->on_reduce != NULL ? convoy->on_reduce(params->ship, key) : MR_OK;
}

#define COMMON .plan = plan, .params = params_list, .param_count = 1, .params_size = sizeof(struct params)
#define ROWS_AS_THEY_ARE .input = MR_INPUT_RECORDS, .layout = MR_ROWS, .record_size = ROW_SIZE

static struct row row_of(const mr_block *block, size_t index)
{
    struct row row;
    memcpy(&row, block->data + index * ROW_SIZE, sizeof row);
    return row;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

int row_name(uint64_t key, char *text)
{
    return sprintf(text, key % 5 == 0 ? "a-key-that-is-rather-long-%" PRIu64 : "k%" PRIu64, key % KEYS);
}

void row_centres(double *centre)
{
    for (int c = 0; c < CENTRES; c++)
        centre[c] = 1000.0 * c;
}

double row_place(struct row row)
{
    return (double)(row.key % 4000) + (double)row.value / 7;
}

int row_nearest(const double *centre, double place)
{
    int best = 0;
    for (int c = 1; c < CENTRES; c++) {
        const double far = place > centre[c] ? place - centre[c] : centre[c] - place;
        const double least = place > centre[best] ? place - centre[best] : centre[best] - place;
        best = far < least ? c : best;
    }
    return best;
}

/* ---- the apps ---------------------------------------------------------------------------------------------------- */

static mr_status count_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        char text[64];
        mr_emit(out, text, (size_t)row_name(row_of(block, i).key, text), NULL);
    }
    return status;
}

MR_APP(convoy_count) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Count the keys of rows",
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT, .map = count_map,
};

static mr_status list_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        char text[64];
        const struct row row = row_of(block, i);
        mr_emit(out, text, (size_t)row_name(row.key, text), &row.value);
    }
    return status;
}

static mr_status list_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t count = 0, sum = 0;
    const mr_status status = begin_reduce(key, params);
    for (mr_slice value; mr_values_next(values, &value); count++) {
        uint64_t number;
        memcpy(&number, value.data, sizeof number);
        sum += number;
    }
    return status != MR_OK ? status : mr_writef(out, "%" PRIu64 " %" PRIu64, count, sum);
}

MR_APP(convoy_list) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Count and add the values of each key",
    .key = MR_BYTES, .value = MR_U64, .map = list_map, .reduce = list_reduce,
};

static mr_status suffix_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        char text[96];
        const struct row row = row_of(block, i);
        const int size = row_name(row.key, text);
        mr_emit(out, text, (size_t)(size + sprintf(text + size, "%08" PRIx64, row.value)), &row.value);
    }
    return status;
}

static mr_status suffix_reduce(mr_slice key, mr_values *values, mr_writer *out, const void *params)
{
    uint64_t count = 0;
    char first[9] = "", last[9] = "";
    const mr_status status = begin_reduce(key, params);
    for (mr_slice value; mr_values_next(values, &value); count++) {
        if (memcmp(value.data, last, 8) < 0)
            return MR_INTERNAL;
        memcpy(last, value.data, 8);
        memcpy(count == 0 ? first : last, value.data, 8);
    }
    return status != MR_OK ? status : mr_writef(out, "%" PRIu64 " %s %s", count, first, last);
}

MR_APP(convoy_suffix) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "First and last suffix of each key",
    .key = MR_BYTES, .key_suffix = 8, .value = MR_U64, .map = suffix_map, .reduce = suffix_reduce,
};

static mr_status order_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        char text[32];
        const struct row row = row_of(block, i);
        mr_emit(out, text, (size_t)sprintf(text, "%06" PRIx64 ".%08" PRIx64, row.key, row.value), &row.value);
    }
    return status;
}

MR_APP(convoy_order) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Rows in order",
    .key = MR_FIXED, .key_size = 15, .value = MR_U64, .map = order_map, .sort = MR_SORT_KEY,
};

static mr_status dense_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        const struct row row = row_of(block, i);
        mr_add_dense_u64(out, row.key % DENSE, row.value);
    }
    return status;
}

MR_APP(convoy_dense) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Add rows by a small number",
    .key = MR_DENSE, .dense_keys = DENSE, .value = MR_U64, .combine = MR_SUM, .map = dense_map,
};

static mr_status centres_map(const mr_block *block, mr_emitter *out, const void *context)
{
    const struct params *params = context;
    const mr_status status = begin_map(block, params);
    for (size_t i = 0; i < block->rows && status == MR_OK; i++) {
        const double place = row_place(row_of(block, i));
        const uint64_t key = (uint64_t)row_nearest(params->centre, place);
        mr_add_dense_f64(out, key, 0, place);
        mr_add_dense_f64(out, key, 1, 1);
    }
    return status;
}

static mr_status centres_round(mr_round *round)
{
    struct params *params = round->params;
    const double *sums = round->dense;
    for (int c = 0; c < CENTRES; c++)
        params->centre[c] = sums[2 * c + 1] > 0 ? sums[2 * c] / sums[2 * c + 1] : params->centre[c];
    round->again = round->index + 1 < CENTRE_ROUNDS;
    return round->rows == ROWS ? MR_OK : MR_INTERNAL;
}

static mr_status centres_finish(const mr_round *round, mr_writer *out)
{
    const struct params *params = round->params;
    for (int c = 0; c < CENTRES; c++)
        mr_writef(out, "%d\t%.17g\n", c, params->centre[c]);
    return MR_OK;
}

MR_APP(convoy_centres) {
    COMMON, ROWS_AS_THEY_ARE, .summary = "Centres of clusters on a line",
    .key = MR_DENSE, .dense_keys = CENTRES, .value = MR_F64_VECTOR, .value_width = 2, .combine = MR_SUM,
    .map = centres_map, .round = centres_round, .finish = centres_finish,
};

static mr_status range_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    for (uint64_t row = block->first_row; row < block->first_row + block->rows && status == MR_OK; row++) {
        char text[32];
        mr_emit(out, text, (size_t)sprintf(text, "r%" PRIu64, row % DENSE), NULL);
    }
    return status;
}

MR_APP(convoy_range) {
    COMMON, .summary = "Count remainders", .input = MR_INPUT_RANGE,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT, .map = range_map,
};

static mr_status words_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    if (status != MR_OK)
        return status;
    mr_text_words(block, word)
        mr_emit(out, word.data, word.size, NULL);
    return MR_OK;
}

MR_APP(convoy_words) {
    COMMON, .summary = "Count words", .input = MR_INPUT_TEXT, .unit = MR_WORDS,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_COUNT, .map = words_map,
};

static mr_status files_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const mr_status status = begin_map(block, params);
    const char *name = strrchr(block->source_name, '/') + 1;
    const uint64_t size = block->size;
    return status != MR_OK ? status : mr_emit(out, name, strlen(name), &size);
}

MR_APP(convoy_files) {
    COMMON, .summary = "Sizes of files", .input = MR_INPUT_FILES,
    .key = MR_BYTES, .value = MR_U64, .combine = MR_SUM, .map = files_map,
};
