/* kmeans.c: k-means clustering (Lloyd's algorithm) of points of `dim` float32.
 *
 *     plan     centres = the first k points
 *     map      each point is added to the sums of its nearest centre (kmeans_row.c)    \ once a round; the points
 *     round    each centre moves to the mean of its points                             / stay in memory in between
 *     finish   centre, coordinates, number of points
 *
 * A centre that no point is nearest to stays where it is. The rounds end early when no centre moves. The sizes count
 * the points as the last round assigned them. */
#include <inttypes.h>

#include <millrace/millrace.h>
#include <millrace/row.h>

#include "kmeans.h"

static const mr_param kmeans_params[] = {
    MR_PARAM_U64_FIELD(struct kmeans_params, k, "10", 1, 1e6, "number of centres"),
    MR_PARAM_U64_FIELD(struct kmeans_params, rounds, "20", 1, 1e6, "stop after so many rounds"),
    MR_PARAM_U64_FIELD(struct kmeans_params, dim, "3", 1, KMEANS_DIM_MAX, "coordinates of a point"),
};

MR_ROW_TABLE(kmeans_assign);

/* The blob: struct kmeans_params with room for k * dim coordinates; behind them the columns. */
static mr_status kmeans_plan(mr_plan *plan)
{
    const uint64_t k = ((struct kmeans_params *)plan->params)->k;
    const uint32_t dim = (uint32_t)((struct kmeans_params *)plan->params)->dim;
    const size_t columns_at = (offsetof(struct kmeans_params, centre) + k * dim * sizeof(float) + 7) & ~(size_t)7;
    plan->record_size = dim * (uint32_t)sizeof(float);
    plan->dense_keys = k;
    plan->value_width = dim + 1;
    const uint64_t points = plan->input_bytes / plan->record_size;
    if (points < k)
        return mr_plan_fail(plan, MR_BAD_INPUT, "%" PRIu64 " points of %" PRIu32 " float32 are too few for %" PRIu64
                            " centres; give a smaller k= or another dim=", points, dim, k);
    struct kmeans_params *p = mr_plan_resize(plan, columns_at + dim * sizeof(mr_column));
    if (p == NULL)
        return mr_plan_fail(plan, MR_NO_MEMORY, "no memory for %" PRIu64 " centres", k);
    mr_column *columns = (mr_column *)((uint8_t *)p + columns_at);
    for (uint32_t c = 0; c < dim; c++)
        columns[c] = (mr_column){MR_COLUMN_F32, c * (uint32_t)sizeof(float)};
    plan->columns = columns;
    plan->column_count = dim;
    return mr_plan_read_rows(plan, 0, k, p->centre);
}

static mr_status kmeans_round(mr_round *round)
{
    struct kmeans_params *p = round->params;
    bool moved = false;
    for (uint64_t k = 0; k < p->k; k++) {
        const double *sum = (const double *)round->dense + k * round->width;
        const double size = sum[p->dim];
        float *centre = p->centre + k * p->dim;
        for (uint64_t c = 0; size > 0 && c < p->dim; c++) {
            const float mean = (float)(sum[c] / size);
            moved |= mean != centre[c];
            centre[c] = mean;
        }
    }
    round->again = moved && round->index + 1 < p->rounds;
    return MR_OK;
}

static mr_status kmeans_finish(const mr_round *round, mr_writer *out)
{
    const struct kmeans_params *p = round->params;
    mr_status status = MR_OK;
    for (uint64_t k = 0; k < p->k && status == MR_OK; k++) {
        const double *sum = (const double *)round->dense + k * round->width;
        mr_writef(out, "%" PRIu64, k);
        for (uint64_t c = 0; c < p->dim; c++)
            mr_writef(out, "\t%.9g", (double)p->centre[k * p->dim + c]);
        status = mr_writef(out, "\t%.0f\n", sum[p->dim]);
    }
    return status;
}

MR_APP(kmeans) {
    .summary = "Cluster points (rows of float32) around k centres",
    .input = MR_INPUT_RECORDS,
    .key = MR_DENSE, .value = MR_F64_VECTOR, .combine = MR_SUM,
    .params = kmeans_params, .param_count = 3, .params_size = sizeof(struct kmeans_params),
    .plan = kmeans_plan, .row = &kmeans_assign_rows, .round = kmeans_round, .finish = kmeans_finish,
};
