/* pi_row.c: the terms of the series, 4 / (a (a + 1) (a + 2)) with a = 2, 4, 6, ...; every second is negative. */
#define MR_ROW_BITS 64
#include <millrace/row.h>

MR_ROW_KERNEL(pi_term, void)
{
    mr_i64 index = mr_row_index_i64(row);
    mr_f64 a = 2.0 * mr_row_index_f64(row) + 2.0;
    mr_f64 term = 4.0 / (a * (a + 1.0) * (a + 2.0));
    mr_sum_f64(out, 0, mr_sel_f64(mr_ne_i64(index & 1, mr_splat_i64(0)), -term, term));
}
