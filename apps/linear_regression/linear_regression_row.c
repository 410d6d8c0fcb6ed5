/* linear_regression_row.c: what one point adds to the five sums; x counts from the first point's. */
#define MR_ROW_BITS 64
#define MR_ROW_ONLY_SUMS
#include <millrace/row.h>

#include "linear_regression.h"

MR_ROW_KERNEL(regression_sums, struct regression_params)
{
    mr_f64 x = mr_f64_from_f32(mr_column_f32(row, 0)) - params->x;
    mr_f64 y = mr_f64_from_f32(mr_column_f32(row, 1));
    mr_sum_f64(out, SUM_X, x);
    mr_sum_f64(out, SUM_Y, y);
    mr_sum_f64(out, SUM_XX, x * x);
    mr_sum_f64(out, SUM_YY, y * y);
    mr_sum_f64(out, SUM_XY, x * y);
}
