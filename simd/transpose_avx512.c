/* transpose_avx512.c: any layout of records by byte permutes (VBMI).
 *
 *   records   xxxxyyyyzzzzxxxxyyyyzzzz...            64 / width rows make one vector of a column; their bytes lie in
 *   windows   [64 bytes][64 bytes][64 bytes]         `windows` vectors of input, the first at the first row's element
 *   column    xxxxxxxxxxxxxxxxxxxx...                window w: permute by index[w] under mask[w] into the same vector
 *
 * The index vectors are the same for every group of rows, because the windows begin at the group's own first element.
 * So a vector of output costs `windows` loads and permutes: worth it while that is no more than its elements. Three
 * float32: 9 permutes for 192 bytes.
 * What is left at the end, where a window would reach behind the records, and
 * columns of long records, go element by element. */
#include "transpose.h"

#include <immintrin.h>
#include <string.h>

static void plan_column(struct mr__permutation *plan, uint32_t record_size, size_t width)
{
    const size_t group = 64 / width, span = (group - 1) * record_size + width;
    plan->windows = (span + 63) / 64;
    if (plan->windows > MR__TILE_WINDOWS || plan->windows > group) {
        plan->windows = 0;
        return;
    }
    memset(plan->mask, 0, sizeof plan->mask);
    for (size_t byte = 0; byte < 64; byte++) {
        const size_t from = byte / width * record_size + byte % width;
        plan->index[from / 64][byte] = (uint8_t)(from % 64);
        plan->mask[from / 64] |= (uint64_t)1 << byte;
    }
}

/* windows <= MR__TILE_WINDOWS. With a constant number the permutation stays in registers. */
static inline __attribute__((always_inline)) size_t permute_windows(const struct mr__permutation *plan, size_t windows,
                                                                    const uint8_t *from, size_t rows, size_t group,
                                                                    size_t record_size, uint8_t *out)
{
    const size_t step = group * record_size;
    __m512i index[MR__TILE_WINDOWS];
    __mmask64 mask[MR__TILE_WINDOWS];
    for (size_t w = 0; w < windows; w++) {
        index[w] = _mm512_load_si512(plan->index[w]);
        mask[w] = plan->mask[w];
    }
    size_t row = 0;
    for (; row + group <= rows; row += group, from += step, out += 64) {
        __m512i vector = _mm512_maskz_permutexvar_epi8(mask[0], index[0], _mm512_loadu_si512(from));
        for (size_t w = 1; w < windows; w++)
            vector = _mm512_mask_permutexvar_epi8(vector, mask[w], index[w], _mm512_loadu_si512(from + w * 64));
        _mm512_store_si512(out, vector);
    }
    return row;
}

/* readable: bytes behind `records`. Returns how many rows were done, a multiple of the group. */
static size_t permute_column(const struct mr__permutation *plan, const uint8_t *records, size_t rows, size_t readable,
                             uint32_t record_size, const mr_column *column, void *out)
{
    const size_t group = 64 / mr__column_width(column->type), reach = column->offset + plan->windows * 64;
    const size_t groups = readable < reach ? 0 : (readable - reach) / (group * record_size) + 1;    /* within reach */
    const uint8_t *from = records + column->offset;
    if (rows > groups * group)
        rows = groups * group;
    switch (plan->windows) {
    case 1:
        return permute_windows(plan, 1, from, rows, group, record_size, out);
    case 2:
        return permute_windows(plan, 2, from, rows, group, record_size, out);
    case 3:
        return permute_windows(plan, 3, from, rows, group, record_size, out);
    default:
        return permute_windows(plan, plan->windows, from, rows, group, record_size, out);
    }
}

void mr__plan_tiles_avx512(mr__transposition *plan, const uint8_t *records, size_t rows, uint32_t record_size,
                           const mr_column *columns, uint32_t column_count)
{
    mr__plan_tiles_scalar(plan, records, rows, record_size, columns, column_count);
    for (uint32_t c = 0; c < column_count; c++)
        plan_column(&plan->permutation[c], record_size, mr__column_width(columns[c].type));
}

static void transpose_rows(const mr__transposition *plan, size_t first, size_t rows, uint32_t c, uint8_t *out)
{
    const uint32_t record_size = plan->record_size;
    const mr_column *column = &plan->columns[c];
    const uint8_t *records = plan->records + first * record_size;
    const size_t done = plan->permutation[c].windows == 0 ? 0
        : permute_column(&plan->permutation[c], records, rows, (plan->rows - first) * record_size, record_size, column,
                         out);
    mr__transpose_column(records + done * record_size, rows - done, record_size, column,
                         out + done * mr__column_width(column->type));
}

void mr__transpose_tile_avx512(const mr__transposition *plan, size_t first, size_t rows, void *const *out)
{
    for (uint32_t c = 0; c < plan->column_count; c++)
        transpose_rows(plan, first, rows, c, out[c]);
    mr__transpose_pad(rows, plan->columns, plan->column_count, out);
}

void mr__transpose_avx512(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *columns,
                          uint32_t column_count, void *const *out)
{
    mr__transposition plan;
    const size_t tile = mr__transpose_tile(record_size);
    for (uint32_t from = 0; from < column_count; from += MR__TILE_COLUMNS) {
        const uint32_t count = column_count - from < MR__TILE_COLUMNS ? column_count - from : MR__TILE_COLUMNS;
        mr__plan_tiles_avx512(&plan, records, rows, record_size, columns + from, count);
        for (size_t first = 0; first < rows; first += tile) {
            const size_t here = rows - first < tile ? rows - first : tile;
            for (uint32_t c = 0; c < count; c++)
                transpose_rows(&plan, first, here, c,
                               (uint8_t *)out[from + c] + first * mr__column_width(columns[from + c].type));
        }
    }
    mr__transpose_pad(rows, columns, column_count, out);
}
