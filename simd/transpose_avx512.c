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

enum { WINDOWS_MAX = 16, PLANS = 16 };

typedef struct permutation {
    uint8_t index[WINDOWS_MAX][64] __attribute__((aligned(64)));
    __mmask64 mask[WINDOWS_MAX];
    size_t windows;         /* 0: element by element */
} permutation;

static void plan_column(permutation *plan, uint32_t record_size, size_t width)
{
    const size_t group = 64 / width, span = (group - 1) * record_size + width;
    plan->windows = (span + 63) / 64;
    if (plan->windows > WINDOWS_MAX || plan->windows > group) {
        plan->windows = 0;
        return;
    }
    memset(plan->mask, 0, sizeof plan->mask);
    for (size_t byte = 0; byte < 64; byte++) {
        const size_t from = byte / width * record_size + byte % width;
        plan->index[from / 64][byte] = (uint8_t)(from % 64);
        plan->mask[from / 64] |= (__mmask64)1 << byte;
    }
}

/* Rows first .. end - 1, first a multiple of the group; returns the first row that is left. */
static size_t permute_column(const permutation *plan, const uint8_t *records, size_t rows, size_t first, size_t end,
                             uint32_t record_size, const mr_column *column, void *out)
{
    const size_t width = mr__column_width(column->type), group = 64 / width, total = rows * record_size;
    const size_t reach = column->offset + plan->windows * 64;
    size_t row = first;
    for (; row + group <= end && row * record_size + reach <= total; row += group) {
        const uint8_t *from = records + row * record_size + column->offset;
        __m512i vector = _mm512_setzero_si512();
        for (size_t w = 0; w < plan->windows; w++)
            vector = _mm512_mask_permutexvar_epi8(vector, plan->mask[w], _mm512_load_si512(plan->index[w]),
                                                  _mm512_loadu_si512(from + w * 64));
        _mm512_store_si512((uint8_t *)out + row * width, vector);
    }
    return row;
}

static void transpose_some(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *columns,
                           uint32_t column_count, void *const *out)
{
    permutation plans[PLANS];
    for (uint32_t c = 0; c < column_count; c++)
        plan_column(&plans[c], record_size, mr__column_width(columns[c].type));
    const size_t tile = mr__transpose_tile(record_size);
    for (size_t first = 0; first < rows; first += tile) {
        const size_t end = rows - first < tile ? rows : first + tile;
        for (uint32_t c = 0; c < column_count; c++) {
            size_t row = first;
            if (plans[c].windows > 0)
                row = permute_column(&plans[c], records, rows, first, end, record_size, &columns[c], out[c]);
            mr__transpose_column(records, row, end, record_size, &columns[c], out[c]);
        }
    }
}

void mr__transpose_avx512(const uint8_t *records, size_t rows, uint32_t record_size, const mr_column *columns,
                          uint32_t column_count, void *const *out)
{
    for (uint32_t c = 0; c < column_count; c += PLANS)
        transpose_some(records, rows, record_size, columns + c, column_count - c < PLANS ? column_count - c : PLANS,
                       out + c);
    mr__transpose_pad(rows, columns, column_count, out);
}
