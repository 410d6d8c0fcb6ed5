/* words_row.c: the words of row.h that the apps' kernels leave out, for test_rows.c. */
#define MR_ROW_BITS 32
#include <millrace/row.h>

/* Each result also as bits, so that no difference can hide in a sum. */
MR_ROW_KERNEL(words_math, void)
{
    mr_f32 x = mr_column_f32(row, 0), y = mr_column_f32(row, 1);
    mr_f32 quotient = x / y, root = mr_sqrt_f32(mr_abs_f32(x)), product = x * y + x;
    mr_f32 exponential = mr_exp_f32(x), logarithm = mr_log_f32(y);
    mr_f64 wide = mr_sqrt_f64(mr_abs_f64(mr_f64_from_f32(x) / mr_f64_from_f32(y)));
    mr_i32 finite = mr_lt_f32(mr_abs_f32(quotient), mr_splat_f32(3.0e38f));
    mr_i32 number = mr_eq_f32(product, product);
    mr_i64 wide_number = mr_eq_f64(wide, wide);
    mr_sum_i64(out, 0, mr_i64_from_i32(finite & mr_bits_f32(quotient)));
    mr_sum_i64(out, 1, mr_i64_from_i32(mr_bits_f32(root)));
    mr_sum_i64(out, 2, mr_i64_from_i32(number & mr_bits_f32(product)));
    mr_sum_i64(out, 3, mr_i64_from_i32(mr_bits_f32(exponential)));
    mr_sum_i64(out, 4, mr_i64_from_i32(mr_ge_f32(y, mr_splat_f32(0.0f)) & mr_bits_f32(logarithm)));
    mr_sum_i64(out, 5, wide_number & mr_bits_f64(wide));
    mr_sum_f64(out, 6, mr_sel_f64(mr_lt_f64(wide, mr_splat_f64(1.0e30)), wide, mr_splat_f64(0.0)));
    mr_sum_f32(out, 7, mr_min_f32(mr_max_f32(x, mr_splat_f32(-1.0e9f)), mr_splat_f32(1.0e9f)));
    mr_sum_u64(out, 8, mr_u64_from_i64(mr_row_index_i64(row)));
    mr_sum_f64(out, 9, mr_row_index_f64(row));
    mr_sum_i64(out, 10, mr_i64_from_i32(mr_bits_f32(x) >> 3 ^ mr_bits_f32(y) << 2));
    mr_sum_u64(out, 11, mr_u64_from_u8(mr_u8_from_i32(mr_bits_f32(x) & 255)));
}

/* A slot for each call: two calls to one slot add in the order of the lanes, call by call. */
MR_ROW_KERNEL(words_keys, void)
{
    mr_i32 key = mr_column_i32(row, 0), value = mr_column_i32(row, 1);
    mr_f32 values[6];
    for (int i = 0; i < 6; i++)
        values[i] = mr_f32_from_i32(value + i) * 0.1f;
    mr_add_row_f32(out, key, 6, values);
    mr_add_f32(out, key, 6, values[0]);
    mr_add_f64(out, key, 7, mr_f64_from_i32(value) * 0.3);
    mr_add_one(out, key, 8);
}

MR_ROW_KERNEL(words_count, void)
{
    mr_count(out, mr_column_i32(row, 0));
}
