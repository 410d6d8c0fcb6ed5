/* transpose.h: records to columns, for kernels.c. transpose_scalar.c is the definition. */
#ifndef MR__TRANSPOSE_H
#define MR__TRANSPOSE_H

#include "kernels.h"

void mr__transpose_scalar(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *columns,
                          uint32_t column_count, void *const *out);
void mr__transpose_avx512(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *columns,
                          uint32_t column_count, void *const *out);

void mr__plan_tiles_scalar(mr__transposition *plan, const uint8_t *records, size_t rows, uint32_t record_size,
                           const mr_column *columns, uint32_t column_count);
void mr__plan_tiles_avx512(mr__transposition *plan, const uint8_t *records, size_t rows, uint32_t record_size,
                           const mr_column *columns, uint32_t column_count);
void mr__transpose_tile_scalar(const mr__transposition *plan, size_t first, size_t rows, void *const *out);
void mr__transpose_tile_avx512(const mr__transposition *plan, size_t first, size_t rows, void *const *out);

/* One column of `rows` records, element by element. */
void mr__transpose_column(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *column,
                          void *out);
/* Zeros from `rows` up to the next multiple of MR_ROW_PADDING. */
void mr__transpose_pad(size_t rows, const mr_column *columns, uint32_t column_count, void *const *out);

/* Rows of a tile: a multiple of MR_ROW_PADDING whose records stay in the L1 cache while columns are taken in turn. */
static inline size_t mr__transpose_tile(uint32_t record_size)
{
    const size_t rows = (16u << 10) / record_size / MR_ROW_PADDING * MR_ROW_PADDING;
    return rows > 0 ? rows : MR_ROW_PADDING;
}

#endif
