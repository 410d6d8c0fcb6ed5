/* pi.c: pi by Nilakantha's series, over an index range: a job without input files.
 *
 *     pi = 3 + 4 / (2 * 3 * 4) - 4 / (4 * 5 * 6) + 4 / (6 * 7 * 8) - ...
 *
 * After n terms the rest is below 1 / (2 n^3): with 1e5 terms the result is as near as a double comes. */
#include <millrace/millrace.h>
#include <millrace/row.h>

struct pi_params {
    uint64_t terms;
};

static const mr_param pi_params[] = {
    MR_PARAM_U64_FIELD(struct pi_params, terms, "1e9", 1, 1e12, "number of terms"),
};

MR_ROW_TABLE(pi_term);

static mr_status pi_plan(mr_plan *plan)
{
    enum { BLOCK_ROWS = 1 << 17, BLOCKS = 1 << 14 };
    const uint64_t terms = ((const struct pi_params *)plan->params)->terms;
    plan->range = terms;
    plan->block_rows = terms / BLOCKS > BLOCK_ROWS ? terms / BLOCKS : BLOCK_ROWS;   /* each block's sum is kept apart */
    return MR_OK;
}

static mr_status pi_finish(const mr_round *round, mr_writer *out)
{
    return mr_writef(out, "pi\t%.17g\n", 3.0 + *(const double *)round->dense);
}

MR_APP(pi) {
    .summary = "Compute pi by Nilakantha's series",
    .input = MR_INPUT_RANGE,
    .key = MR_DENSE, .dense_keys = 1, .value = MR_F64, .combine = MR_SUM,
    .params = pi_params, .param_count = 1, .params_size = sizeof(struct pi_params),
    .plan = pi_plan, .row = &pi_term_rows, .finish = pi_finish,
};
