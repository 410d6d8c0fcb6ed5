/* greedy_sums.c: floating sums over many dense keys in many small blocks, each of which has a table of its own. */
#include <millrace/millrace.h>

struct greedy_sums_params {
    uint64_t rows, keys;
};

static const mr_param greedy_sums_params[] = {
    MR_PARAM_U64_FIELD(struct greedy_sums_params, rows, "1000", 1, 1000000000, "rows"),
    MR_PARAM_U64_FIELD(struct greedy_sums_params, keys, "1", 1, 1000000000, "dense keys"),
};

static mr_status greedy_sums_plan(mr_plan *plan)
{
    const struct greedy_sums_params *params = plan->params;
    plan->range = params->rows;
    plan->block_rows = 64;
    plan->dense_keys = params->keys;
    return MR_OK;
}

static mr_status greedy_sums_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const struct greedy_sums_params *p = params;
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++)
        mr_add_dense_f64(out, row % p->keys, 0, 1 / ((double)row + 1));
    return MR_OK;
}

MR_APP(greedy_sums) {
    .summary = "Sums of 1 / (row + 1) by row modulo keys", .input = MR_INPUT_RANGE, .key = MR_DENSE, .value = MR_F64,
    .combine = MR_SUM, .params = greedy_sums_params, .param_count = 2,
    .params_size = sizeof(struct greedy_sums_params), .plan = greedy_sums_plan, .map = greedy_sums_map,
};
