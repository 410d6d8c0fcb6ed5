/* rows8_row.c: a kernel of bytes: the histogram. */
#define MR_ROW_BITS 8
#include <millrace/row.h>

MR_ROW_KERNEL(rows_histogram, void)
{
    mr_count_u8(out, mr_column_u8(row, 0));
}
