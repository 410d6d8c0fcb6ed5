/* rows8_row.c: kernels of bytes: the histogram of a column, of what is computed from it, and of two columns of which
 * one is named twice. */
#define MR_ROW_BITS 8
#include <millrace/row.h>

MR_ROW_KERNEL(rows_histogram, void)
{
    mr_count_u8(out, mr_column_u8(row, 0));
}

MR_ROW_KERNEL(rows_histogram_column, void)
{
    mr_count_column_u8(out, row, 0);
}

MR_ROW_KERNEL(rows_histogram_columns, void)
{
    mr_count_column_u8(out, row, 0);
    mr_count_column_u8(out, row, 1);
    mr_count_column_u8(out, row, 0);
}
