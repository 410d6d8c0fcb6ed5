/* buckets.c: how often each of the values 0..7 stands in the low bits of a number; the numbers are int32 records. */
#include <millrace/millrace.h>
#include <millrace/row.h>

MR_ROW_TABLE(buckets);

static const mr_column buckets_columns[] = {{MR_COLUMN_I32, 0}};

MR_APP(buckets) {
    .summary = "Count numbers by their three low bits",
    .input = MR_INPUT_RECORDS, .columns = buckets_columns, .column_count = 1, .record_size = 4,
    .key = MR_DENSE, .dense_keys = 8, .value = MR_U64, .combine = MR_COUNT,
    .row = &buckets_rows,
};
