/* linear_regression.c: the straight line y = slope * x + intercept that fits points best (least squares), and r2, the
 * share of y's variance that it explains. One pass: the row kernel adds up five sums, finish() solves for the line.
 *
 *     slope = (n xy - x y) / (n xx - x x)      intercept = (y - slope x) / n
 *     r2 = (n xy - x y)^2 / ((n xx - x x) (n yy - y y))
 *
 * The differences cancel when the points lie far from the origin compared to their spread; they are computed in long
 * double, and the sums are float64: about 16 - 2 log10(mean / spread) digits hold. */
#include <millrace/millrace.h>
#include <millrace/row.h>

#include "linear_regression.h"

static const mr_column regression_columns[] = {{MR_COLUMN_F32, 0}, {MR_COLUMN_F32, 4}};

MR_ROW_TABLE(regression_sums);

static mr_status regression_finish(const mr_round *round, mr_writer *out)
{
    const double *sum = round->dense;
    const long double n = (long double)round->rows, x = sum[SUM_X], y = sum[SUM_Y];
    const long double xx = n * sum[SUM_XX] - x * x, yy = n * sum[SUM_YY] - y * y, xy = n * sum[SUM_XY] - x * y;
    const long double slope = xy / xx;          /* no two different x: not a number, as there is no such line */
    mr_writef(out, "slope\t%.17g\n", (double)slope);
    mr_writef(out, "intercept\t%.17g\n", (double)((y - slope * x) / n));
    mr_writef(out, "r2\t%.17g\n", (double)(xy * xy / (xx * yy)));
    return mr_writef(out, "n\t%llu\n", (unsigned long long)round->rows);
}

MR_APP(linear_regression) {
    .summary = "Fit a straight line through points (rows of two float32)",
    .input = MR_INPUT_RECORDS, .columns = regression_columns, .column_count = 2, .record_size = 8,
    .key = MR_DENSE, .dense_keys = 1, .value = MR_F64_VECTOR, .value_width = SUMS, .combine = MR_SUM,
    .row = &regression_sums_rows, .finish = regression_finish,
};
