/* greedy_pairs.c: many small pairs, to be sorted by value: what a sort takes beside them is twice as much. */
#include <millrace/millrace.h>

struct greedy_pairs_params {
    uint64_t rows;
};

static const mr_param greedy_pairs_params[] = {
    MR_PARAM_U64_FIELD(struct greedy_pairs_params, rows, "1000", 1, 1000000000, "rows"),
};

static mr_status greedy_pairs_plan(mr_plan *plan)
{
    plan->range = ((const struct greedy_pairs_params *)plan->params)->rows;
    return MR_OK;
}

static mr_status greedy_pairs_map(const mr_block *block, mr_emitter *out, const void *params)
{
    (void)params;
    for (uint64_t row = block->first_row; row < block->first_row + block->rows; row++) {
        const uint64_t scrambled = row * row * 0x9e3779b97f4a7c15u;
        mr_emit_u64(out, row, &scrambled);
    }
    return MR_OK;
}

MR_APP(greedy_pairs) {
    .summary = "Scrambled squares, in their order", .input = MR_INPUT_RANGE, .key = MR_U64, .value = MR_U64,
    .sort = MR_SORT_VALUE, .params = greedy_pairs_params, .param_count = 1,
    .params_size = sizeof(struct greedy_pairs_params), .plan = greedy_pairs_plan, .map = greedy_pairs_map,
};
