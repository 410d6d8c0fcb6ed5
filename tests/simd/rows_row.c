/* rows_row.c: kernels of 32-bit elements for test_row.c and bench_row.c: "quoted", \ and ";" must survive in the text.
 * */
#define MR_ROW_BITS 32
#include <millrace/row.h>

#include "rows.h"

MR_ROW_FUNCTION mr_i32 nearest_of(mr_f32 x, mr_f32 y, mr_f32 z, const struct nearest_params *params)
{
    mr_f32 best = mr_splat_f32(3.0e38f);
    mr_i32 nearest = mr_splat_i32(0);
    for (int k = 0; k < params->count; k++) {
        mr_f32 dx = x - params->centre[3 * k], dy = y - params->centre[3 * k + 1], dz = z - params->centre[3 * k + 2];
        mr_f32 distance = dx * dx + dy * dy + dz * dz;
        mr_i32 closer = mr_lt_f32(distance, best);
        best = mr_sel_f32(closer, distance, best);
        nearest = mr_sel_i32(closer, mr_splat_i32(k), nearest);
    }
    return nearest;
}

/* The words one by one, and the same by rows of slots. */
MR_ROW_KERNEL(rows_add, struct nearest_params)
{
    mr_f32 x = mr_column_f32(row, 0), y = mr_column_f32(row, 1), z = mr_column_f32(row, 2);
    mr_i32 nearest = nearest_of(x, y, z, params);
    mr_add_f32(out, nearest, 0, x);
    mr_add_f32(out, nearest, 1, y);
    mr_add_f64(out, nearest, 2, mr_f64_from_f32(z));
    mr_add_one(out, nearest, 3);
}

MR_ROW_KERNEL(rows_add_row, struct nearest_params)
{
    mr_f32 values[4] = {mr_column_f32(row, 0), mr_column_f32(row, 1), mr_column_f32(row, 2), mr_splat_f32(1.0f)};
    mr_add_row_f32(out, nearest_of(values[0], values[1], values[2], params), 4, values);
}

/* The keys as they are, in range or not. */
MR_ROW_KERNEL(rows_count, void)
{
    mr_count(out, mr_column_i32(row, 0));
}

/* slot 0: sum, 1: of exponentials, 2: of logarithms, 3: of square roots; each result also as bits, so that no
 * difference can hide in the sum. */
MR_ROW_KERNEL(rows_math, void)
{
    mr_f32 x = mr_column_f32(row, 0);
    mr_f32 exponential = mr_exp_f32(x), logarithm = mr_log_f32(x), root = mr_sqrt_f32(mr_abs_f32(x));
    mr_sum_f32(out, 0, x);
    mr_sum_f32(out, 1, mr_min_f32(exponential, mr_splat_f32(1.0e9f)));
    mr_sum_f32(out, 2, mr_max_f32(logarithm, mr_splat_f32(-1.0e9f)));
    mr_sum_f32(out, 3, root);
    mr_sum_i64(out, 4, mr_i64_from_i32(mr_bits_f32(exponential)));
    mr_sum_i64(out, 5, mr_i64_from_i32(mr_bits_f32(logarithm)));
    mr_sum_i64(out, 6, mr_i64_from_i32(mr_bits_f32(root)));
    mr_sum_u64(out, 7, mr_u64_from_i64(mr_row_index_i64(row)));
}

/* One function a run, its results stored: out of the sums' order, for comparison with libm. The table is an array of
 * floats here: slot = row. */
MR_ROW_KERNEL(rows_exp, void)
{
    mr_i32 index = mr_i32_from_i64(mr_row_index_i64(row));
    mr_add_f32(out, index, 0, mr_exp_f32(mr_column_f32(row, 0)));
}

MR_ROW_KERNEL(rows_log, void)
{
    mr_i32 index = mr_i32_from_i64(mr_row_index_i64(row));
    mr_add_f32(out, index, 0, mr_log_f32(mr_column_f32(row, 0)));
}

/* Bits of the results, weighted by row, so that no two lanes can change places. */
MR_ROW_KERNEL(rows_limits, void)
{
    mr_f32 a = mr_column_f32(row, 0), b = mr_column_f32(row, 1);
    mr_u64 weight = mr_u64_from_i64(mr_row_index_i64(row)) * 2 + 1;
    mr_sum_u64(out, 0, mr_u64_from_i64(mr_i64_from_i32(mr_bits_f32(mr_min_f32(a, b)))) * weight);
    mr_sum_u64(out, 1, mr_u64_from_i64(mr_i64_from_i32(mr_bits_f32(mr_max_f32(a, b)))) * weight);
}
