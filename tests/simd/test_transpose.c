/* test_transpose.c: every level makes the columns that a byte-by-byte copy makes, and zeros behind them.
 * Oracle: the loop in check(). */
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "kernels.h"
#include "text_cases.h"

enum { COLUMNS_MAX = 40 };

static const struct layout {
    const char *name;
    uint32_t record_size, column_count;
    mr_column columns[COLUMNS_MAX];
} layouts[] = {
    {"one byte", 1, 1, {{MR_COLUMN_U8, 0}}},
    {"byte pairs", 2, 2, {{MR_COLUMN_U8, 0}, {MR_COLUMN_U8, 1}}},
    {"points", 12, 3, {{MR_COLUMN_F32, 0}, {MR_COLUMN_F32, 4}, {MR_COLUMN_F32, 8}}},
    {"short pairs", 4, 2, {{MR_COLUMN_I16, 0}, {MR_COLUMN_I16, 2}}},
    {"doubles", 24, 3, {{MR_COLUMN_F64, 0}, {MR_COLUMN_F64, 8}, {MR_COLUMN_I64, 16}}},
    {"unaligned", 17, 4, {{MR_COLUMN_U8, 16}, {MR_COLUMN_I16, 3}, {MR_COLUMN_U64, 5}, {MR_COLUMN_I32, 13}}},
    {"overlapping", 9, 3, {{MR_COLUMN_U64, 0}, {MR_COLUMN_U64, 1}, {MR_COLUMN_I16, 7}}},
    {"long record", 1000, 3, {{MR_COLUMN_U8, 999}, {MR_COLUMN_F64, 501}, {MR_COLUMN_I16, 0}}},
    {"longer than a tile", 20000, 2, {{MR_COLUMN_F32, 19996}, {MR_COLUMN_F32, 0}}},
    {"no column", 8, 0, {{MR_COLUMN_U8, 0}}},
};
static const size_t row_counts[] = {0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000, 1365, 1366, 3000};

static void check(const mr__kernels *kernels, const uint8_t *records, size_t rows, const struct layout *layout)
{
    const size_t padded = (rows + MR_ROW_PADDING - 1) / MR_ROW_PADDING * MR_ROW_PADDING;
    void *out[COLUMNS_MAX];
    for (uint32_t c = 0; c < layout->column_count; c++) {
        const size_t size = padded * mr__column_width(layout->columns[c].type) + MR_COLUMN_ALIGNMENT;
        out[c] = aligned_alloc(MR_COLUMN_ALIGNMENT, size);
        assert_non_null(out[c]);
        memset(out[c], 0xa5, size);
    }
    kernels->transpose(records, rows, layout->record_size, layout->columns, layout->column_count, out);
    for (uint32_t c = 0; c < layout->column_count; c++) {
        const size_t width = mr__column_width(layout->columns[c].type);
        const uint8_t *column = out[c], *element = records + layout->columns[c].offset;
        for (size_t row = 0; row < rows; row++, element += layout->record_size)
            if (memcmp(column + row * width, element, width) != 0)
                fail_msg("%s: %s, column %u, row %zu of %zu differs", kernels->name, layout->name, c, row, rows);
        for (size_t byte = rows * width; byte < padded * width; byte++)
            assert_int_equal(column[byte], 0);
        for (size_t byte = padded * width; byte < padded * width + MR_COLUMN_ALIGNMENT; byte++)
            assert_int_equal(column[byte], 0xa5);
        free(out[c]);
    }
}

static void check_layout(const struct layout *layout)
{
    for (int level = 0; level < MR__LEVELS; level++)
        for (size_t r = 0; mr__level_supported((mr__level)level) && r < MR__COUNT(row_counts); r++) {
            const size_t rows = row_counts[r], size = rows * layout->record_size, shift = r % 8;
            uint8_t *room = malloc(size + shift + 1), *records = room + shift;
            assert_non_null(room);
            uint64_t random = size + 1;
            for (size_t i = 0; i < size; i++)
                records[i] = (uint8_t)(next_random(&random) | 1);
            check(mr__kernel_rows[level], records, rows, layout);
            free(room);
        }
}

static void columns_equal_the_records_at_every_level(void **state)
{
    for (size_t l = 0; l < MR__COUNT(layouts); l++)
        check_layout(&layouts[l]);
}

static void many_columns_of_floats_too(void **state)
{
    struct layout layout = {.name = "dim"};
    for (uint32_t dim = 1; dim <= COLUMNS_MAX; dim++) {
        layout.columns[dim - 1] = (mr_column){MR_COLUMN_F32, 4 * (dim - 1)};
        layout.column_count = dim;
        layout.record_size = 4 * dim;
        if (dim <= 5 || dim >= 15)
            check_layout(&layout);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_equal_the_records_at_every_level),
        cmocka_unit_test(many_columns_of_floats_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
