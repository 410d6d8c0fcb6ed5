/* greedy_counts.c: as greedy_pairs.c, with a combine, although no key comes twice. */
#include <millrace/millrace.h>

struct greedy_counts_params {
    uint64_t rows;
};

static const mr_param greedy_counts_params[] = {
    MR_PARAM_U64_FIELD(struct greedy_counts_params, rows, "1000", 1, 1000000000, "rows"),
};

static mr_status greedy_counts_plan(mr_plan *plan)
{
    plan->range = ((const struct greedy_counts_params *)plan->params)->rows;
    return MR_OK;
}

static mr_status greedy_counts_map(const mr_block *block, mr_emitter *out, const void *params)
{
    (void)params;
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        const uint64_t scrambled = row * row * 0x9e3779b97f4a7c15u;
        mr_emit_u64(out, row, &scrambled);
    }
    return MR_OK;
}

MR_APP(greedy_counts) {
    .summary = "Scrambled squares, in their order", .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_U64,
    .combine = MR_SUM, .sort = MR_SORT_VALUE, .params = greedy_counts_params, .param_count = 1,
    .params_size = sizeof(struct greedy_counts_params), .plan = greedy_counts_plan, .map = greedy_counts_map,
};
