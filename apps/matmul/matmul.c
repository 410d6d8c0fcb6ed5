/* matmul.c: C = A B for dense matrices, stored row by row. A is the input, a table of rows; plan() puts B into the
 * parameters. A block of rows of A times B is a block of rows of C: OpenBLAS computes it with one thread, because the
 * workers are the parallelism already. A row of C is a pair of its index and its numbers; sorted by key and written
 * without keys, the parts, one after the other, are C.
 *
 *     A: m x n      B: n x p (p follows from the size of its file)      C: m x p
 */
#include <inttypes.h>
#include <stdlib.h>

#include <cblas.h>

#include <millrace/millrace.h>

#include "matmul.h"

extern const char matmul_cl[];

enum { BLOCK_ROWS = 512 };

static const mr_param matmul_params[] = {
    MR_PARAM_TEXT_FIELD(struct matmul_params, b, NULL, "file of the second matrix, row by row"),
    MR_PARAM_CHOICE_FIELD(struct matmul_params, type, "f32", "f32|f64", "type of the numbers in both files"),
    MR_PARAM_U64_FIELD(struct matmul_params, n, NULL, 1, 1e6, "columns of the input, rows of the second matrix"),
};

static mr_status matmul_plan(mr_plan *plan)
{
    struct matmul_params *params = plan->params;
    const size_t element = params->type == MATMUL_F32 ? sizeof(float) : sizeof(double), row = params->n * element;
    mr_slice b;
    const mr_status status = mr_plan_append_file(plan, params->b, ALIGN, &b);
    if (status != MR_OK)
        return status;
    params = plan->params;
    if (b.size == 0 || b.size % row != 0)
        return mr_plan_fail(plan, MR_BAD_INPUT, "%s has %zu bytes, and a matrix with n=%" PRIu64 " rows of %s needs a "
                            "multiple of %zu; check n= and type=", params->b, b.size, params->n,
                            params->type == MATMUL_F32 ? "f32" : "f64", row);
    if (b.size / params->n > MR_VALUE_MAX)
        return mr_plan_fail(plan, MR_BAD_INPUT, "%s has rows of %zu bytes with n=%" PRIu64 "; a row of the result may "
                            "have at most %d", params->b, b.size / params->n, params->n, MR_VALUE_MAX);
    params->p = (uint32_t)(b.size / row);
    plan->record_size = (uint32_t)row;
    plan->value_size = params->p * (uint32_t)element;
    plan->block_rows = BLOCK_ROWS;
    plan->key_range = plan->input_bytes / row;
    openblas_set_num_threads(1);
    return MR_OK;
}

/* C = A B for a block of rows; the rows of C begin `stride` elements apart. */
static void multiply(const struct matmul_params *p, const mr_block *block, void *c, size_t stride)
{
    const void *b = (const uint8_t *)p + B_OFFSET;
    const int m = (int)block->rows, n = (int)p->n, columns = (int)p->p;
    if (p->type == MATMUL_F32)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, columns, n, 1.0f, (const float *)block->data, n,
                    b, columns, 0.0f, c, (int)stride);
    else
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, columns, n, 1.0, (const double *)block->data, n,
                    b, columns, 0.0, c, (int)stride);
}

static mr_status matmul_map(const mr_block *block, mr_emitter *out, const void *params)
{
    const struct matmul_params *p = params;
    const size_t element = p->type == MATMUL_F32 ? sizeof(float) : sizeof(double), row = p->p * element;
    size_t stride;
    uint8_t *c = mr_emit_reserve(out, block->first_row, block->rows, &stride);
    if (c != NULL) {        /* a key has 8 bytes: the stride is a number of elements, too */
        multiply(p, block, c, stride / element);
        return mr_emit_commit(out);
    }
    c = mr_scratch(out, block->rows * row);
    if (c == NULL)
        return out->status;
    multiply(p, block, c, p->p);
    for (size_t i = 0; i < block->rows; i++)
        mr_emit_u64(out, block->first_row + i, c + i * row);
    return MR_OK;
}

MR_APP(matmul) {
    .summary = "Multiply two dense matrices",
    .input = MR_INPUT_RECORDS, .layout = MR_ROWS,
    .key = MR_U64, .value = MR_STRUCT, .combine = MR_COMBINE_NONE,
    .params = matmul_params, .param_count = 3, .params_size = sizeof(struct matmul_params),
    .plan = matmul_plan, .map = matmul_map,
    .sort = MR_SORT_KEY, .output = MR_OUTPUT_VALUES,
    .kernel = matmul_cl,
};
