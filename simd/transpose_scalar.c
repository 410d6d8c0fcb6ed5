/* transpose_scalar.c: one element at a time, a tile of records at a time, one column after the other. Limited by one
 * store a cycle, which for 4-byte columns is near memory speed already; other levels only beat it where a vector of
 * output comes from few vectors of input (transpose_avx512.c). */
#include "transpose.h"

#include <string.h>

static inline __attribute__((always_inline)) void gather(uint8_t *to, const uint8_t *from, size_t rows, size_t stride,
                                                         size_t width)
{
    for (size_t i = 0; i < rows; i++)
        memcpy(to + i * width, from + i * stride, width);
}

void mr__transpose_column(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *column,
                          void *out)
{
    const size_t width = mr__column_width(column->type);
    const uint8_t *from = records + column->offset;
    uint8_t *to = out;
    switch (width) {
    case 1:
        gather(to, from, rows, record_size, 1);
        break;
    case 2:
        gather(to, from, rows, record_size, 2);
        break;
    case 4:
        gather(to, from, rows, record_size, 4);
        break;
    default:
        gather(to, from, rows, record_size, 8);
        break;
    }
}

void mr__transpose_pad(size_t rows, const mr_column *columns, uint32_t column_count, void *const *out)
{
    const size_t padding = -rows & (MR_ROW_PADDING - 1);
    for (uint32_t c = 0; c < column_count; c++) {
        const size_t width = mr__column_width(columns[c].type);
        memset((uint8_t *)out[c] + rows * width, 0, padding * width);
    }
}

void mr__plan_tiles_scalar(mr__transposition *plan, const uint8_t *records, size_t rows, uint32_t record_size,
                           const mr_column *columns, uint32_t column_count)
{
    plan->records = records;
    plan->rows = rows;
    plan->record_size = record_size;
    plan->columns = columns;
    plan->column_count = column_count;
}

void mr__transpose_tile_scalar(const mr__transposition *plan, size_t first, size_t rows, void *const *out)
{
    const uint8_t *records = plan->records + first * plan->record_size;
    for (uint32_t c = 0; c < plan->column_count; c++)
        mr__transpose_column(records, rows, plan->record_size, &plan->columns[c], out[c]);
    mr__transpose_pad(rows, plan->columns, plan->column_count, out);
}

void mr__transpose_scalar(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *columns,
                          uint32_t column_count, void *const *out)
{
    const size_t tile = mr__transpose_tile(record_size);
    for (size_t first = 0; first < rows; first += tile) {
        const size_t here = rows - first < tile ? rows - first : tile;
        for (uint32_t c = 0; c < column_count; c++)
            mr__transpose_column(records + first * record_size, here, record_size, &columns[c],
                                 (uint8_t *)out[c] + first * mr__column_width(columns[c].type));
    }
    mr__transpose_pad(rows, columns, column_count, out);
}
