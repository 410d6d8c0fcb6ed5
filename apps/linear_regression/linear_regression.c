/* linear_regression.c: the straight line y = slope * x + intercept that fits points best (least squares), and r2, the
 * share of y's variance that it explains. One pass: the row kernel adds up five sums, finish() solves for the line.
 *
 *     slope = (n xy - x y) / (n xx - x x)      intercept = (y - slope x) / n
 *     r2 = (n xy - x y)^2 / ((n xx - x x) (n yy - y y))
 *
 * x counts from that of the first point, which plan() reads: the slope is the same, x far from zero costs no digits,
 * and if all x are equal the sums of them are exactly zero. The differences still cancel where the first x lies far
 * from the mean compared to the spread; they are computed in long double, and the sums are float64: about
 * 16 - 2 log10(distance / spread) digits hold. As the first x is one of n, its distance is at most sqrt(n) times the
 * spread. y counts from zero: its subtraction too would cost the kernel another 5 % of its time. */
#include <math.h>

#include <millrace/millrace.h>
#include <millrace/row.h>

#include "linear_regression.h"

static const mr_column regression_columns[] = {{MR_COLUMN_F32, 0}, {MR_COLUMN_F32, 4}};

MR_ROW_TABLE(regression_sums);

static mr_status regression_plan(mr_plan *plan)
{
    float point[2];
    if (plan->rows == 0)
        return MR_OK;
    const mr_status status = mr_plan_read_rows(plan, 0, 1, point);
    if (status == MR_OK)
        ((struct regression_params *)plan->params)->x = point[0];
    return status;
}

static mr_status regression_finish(const mr_round *round, mr_writer *out)
{
    const struct regression_params *first = round->params;
    const double *sum = round->dense;
    const long double n = (long double)round->rows, x = sum[SUM_X], y = sum[SUM_Y];
    const long double xx = n * sum[SUM_XX] - x * x, yy = n * sum[SUM_YY] - y * y, xy = n * sum[SUM_XY] - x * y;
    const long double slope = xx > 0 ? xy / xx : NAN;       /* no two different x: there is no such line */
    mr_writef(out, "slope\t%.17g\n", (double)slope);
    mr_writef(out, "intercept\t%.17g\n", (double)((y - slope * x) / n - slope * first->x));
    mr_writef(out, "r2\t%.17g\n", (double)(xx > 0 && yy > 0 ? xy * xy / (xx * yy) : NAN));
    return mr_writef(out, "n\t%llu\n", (unsigned long long)round->rows);
}

MR_APP(linear_regression) {
    .summary = "Fit a straight line through points (rows of two float32)",
    .input = MR_INPUT_RECORDS, .columns = regression_columns, .column_count = 2, .record_size = 8,
    .key = MR_DENSE, .dense_keys = 1, .value = MR_F64_VECTOR, .value_width = SUMS, .combine = MR_SUM,
    .params_size = sizeof(struct regression_params),
    .plan = regression_plan, .row = &regression_sums_rows, .finish = regression_finish,
};
