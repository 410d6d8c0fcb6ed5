/* histogram.c: how often each of the 256 byte values occurs. A file is a table of one-byte records; the map is the row
 * kernel in histogram_row.c; the result is one line for each value, zeros included. */
#include <millrace/millrace.h>
#include <millrace/row.h>

static const mr_column histogram_columns[] = {{MR_COLUMN_U8, 0}};

MR_ROW_TABLE(histogram_count);

MR_APP(histogram) {
    .summary = "Count the byte values of files",
    .input = MR_INPUT_RECORDS, .columns = histogram_columns, .column_count = 1, .record_size = 1,
    .key = MR_DENSE, .dense_keys = 256, .value = MR_U64, .combine = MR_COUNT,
    .row = &histogram_count_rows,
};
