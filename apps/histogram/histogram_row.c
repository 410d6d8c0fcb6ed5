/* histogram_row.c: the row of a histogram is one byte, and its key is its value. */
#define MR_ROW_BITS 8
#include <millrace/row.h>

MR_ROW_KERNEL(histogram_count, void)
{
    mr_count_column_u8(out, row, 0);
}
