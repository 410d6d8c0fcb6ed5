/* rows64_row.c: kernels of 64-bit elements: the sums of a linear regression, and of columns of any width. */
#define MR_ROW_BITS 64
#define MR_ROW_ONLY_SUMS
#include <millrace/row.h>

MR_ROW_KERNEL(rows_regression, void)
{
    mr_f64 x = mr_f64_from_f32(mr_column_f32(row, 0)), y = mr_f64_from_f32(mr_column_f32(row, 1));
    mr_sum_f64(out, 0, x);
    mr_sum_f64(out, 1, y);
    mr_sum_f64(out, 2, x * x);
    mr_sum_f64(out, 3, y * y);
    mr_sum_f64(out, 4, x * y);
    mr_sum_f64(out, 5, mr_row_index_f64(row));
}

MR_ROW_KERNEL(rows_widths, void)
{
    mr_sum_i64(out, 0, mr_i64_from_i32(mr_column_i32(row, 0)));
    mr_sum_i64(out, 1, mr_i64_from_i16(mr_column_i16(row, 1)));
    mr_sum_u64(out, 2, mr_u64_from_u8(mr_column_u8(row, 2)));
}

/* Bits of the results, weighted by row, so that no two lanes can change places. */
MR_ROW_KERNEL(rows64_limits, void)
{
    mr_f32 a = mr_column_f32(row, 0), b = mr_column_f32(row, 1);
    mr_u64 weight = mr_u64_from_i64(mr_row_index_i64(row)) * 2 + 1;
    mr_sum_u64(out, 0, mr_u64_from_i64(mr_i64_from_i32(mr_bits_f32(mr_min_f32(a, b)))) * weight);
    mr_sum_u64(out, 1, mr_u64_from_i64(mr_i64_from_i32(mr_bits_f32(mr_max_f32(a, b)))) * weight);
}
