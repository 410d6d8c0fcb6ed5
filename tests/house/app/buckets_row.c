/* buckets_row.c: the bucket of one number. */
#define MR_ROW_BITS 32
#include <millrace/row.h>

struct buckets_params {
    int unused;
};

MR_ROW_KERNEL(buckets, struct buckets_params)
{
    (void)params;
    mr_count(out, mr_column_i32(row, 0) & 7);
}
