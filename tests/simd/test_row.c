/* test_row.c: row kernels give the same bits at every level and the right numbers: for blocks of any length, for keys
 * out of range, and for exp and log of every kind of float32.
 * Oracle: plain loops over the rows; libm in float64 for exp and log. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <millrace/row.h>

#include "cmocka_all.h"
#include "kernels.h"
#include "rows.h"
#include "text_cases.h"

MR_ROW_TABLE(rows_add);
MR_ROW_TABLE(rows_add_row);
MR_ROW_TABLE(rows_count);
MR_ROW_TABLE(rows_math);
MR_ROW_TABLE(rows_exp);
MR_ROW_TABLE(rows_log);
MR_ROW_TABLE(rows_limits);
MR_ROW_TABLE(rows64_limits);
MR_ROW_TABLE(rows_regression);
MR_ROW_TABLE(rows_widths);
MR_ROW_TABLE(rows_histogram);
MR_ROW_TABLE(rows_histogram_column);
MR_ROW_TABLE(rows_histogram_columns);
MR_ROW_TABLE(rows_narrow);

enum { ROWS_MAX = 4096, TABLE = 4096 };

static uint64_t bad_key;
static size_t bad_keys;

/* The library's end of a bad key. */
mr_status mr__emit_bad_dense(mr_emitter *out, uint64_t key)
{
    bad_key = key;
    bad_keys++;
    return out->status = MR_BAD_INPUT;
}

static const size_t row_counts[] = {0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 128, 130, 1000, 4095, 4096};

static mr_row_fn entry(const mr_row_kernel *kernel, int level)
{
    const mr_row_fn entries[MR__LEVELS] = {kernel->scalar, kernel->sse2, kernel->avx2, kernel->avx512, kernel->neon};
    return mr__level_supported((mr__level)level) ? entries[level] : NULL;
}

/* One block of `rows` rows; the rows behind it, up to the padding, are zeros. */
static mr_status run(const mr_row_kernel *kernel, int level, const void *const *columns, size_t rows,
                     const void *params, uint64_t keys, uint32_t width, void *table)
{
    const mr_block block = {.first_row = 1000, .rows = rows, .columns = columns, .column_count = 3};
    mr_emitter emitter = {.dense = table, .dense_keys = keys, .dense_width = width};
    entry(kernel, level)(&block, &emitter, params);
    return emitter.status;
}

static float points[3][ROWS_MAX] __attribute__((aligned(64)));

static const void *const *draw_points(size_t rows)
{
    static const void *columns[3] = {points[0], points[1], points[2]};
    uint64_t state = rows + 99;
    memset(points, 0, sizeof points);
    for (size_t c = 0; c < 3; c++)
        for (size_t row = 0; row < rows; row++)
            points[c][row] = (float)(next_random(&state) >> 40) / 65536.0f - 100.0f;
    return columns;
}

static void check_keyed_sums(const mr_row_kernel *kernel)
{
    struct nearest_params params = {.count = 7};
    for (int i = 0; i < 3 * params.count; i++)
        params.centre[i] = (float)(i * 37 % 200 - 100);
    for (size_t r = 0; r < MR__COUNT(row_counts); r++) {
        const void *const *columns = draw_points(row_counts[r]);
        double want[7 * 5] = {0};
        for (size_t row = 0; row < row_counts[r]; row++) {
            int nearest = 0;
            float best = INFINITY;
            for (int k = 0; k < params.count; k++) {
                const float dx = points[0][row] - params.centre[3 * k], dy = points[1][row] - params.centre[3 * k + 1],
                            dz = points[2][row] - params.centre[3 * k + 2];
                const float distance = dx * dx + dy * dy + dz * dz;
                if (distance < best) {
                    best = distance;
                    nearest = k;
                }
            }
            for (int c = 0; c < 3; c++)
                want[nearest * 5 + c] += points[c][row];
            want[nearest * 5 + 3] += 1.0;
        }
        for (int level = 0; level < MR__LEVELS; level++) {
            double table[7 * 5] = {0};
            if (entry(kernel, level) == NULL)
                continue;
            assert_int_equal(run(kernel, level, columns, row_counts[r], &params, 7, 5, table), MR_OK);
            assert_memory_equal(table, want, sizeof want);
        }
    }
}

static void sums_by_key_are_those_of_a_plain_loop(void **state)
{
    check_keyed_sums(&rows_add_rows);
    check_keyed_sums(&rows_add_row_rows);
}

static void counts_are_exact_and_keys_out_of_range_are_refused(void **state)
{
    static int32_t keys[ROWS_MAX] __attribute__((aligned(64)));
    const void *const columns[] = {keys};
    for (size_t r = 0; r < MR__COUNT(row_counts); r++)
        for (int level = 0; level < MR__LEVELS; level++) {
            uint64_t table[100] = {0}, want[100] = {0}, state_ = r + 5;
            if (entry(&rows_count_rows, level) == NULL)
                continue;
            memset(keys, 0, sizeof keys);
            for (size_t row = 0; row < row_counts[r]; row++)
                want[keys[row] = (int32_t)((next_random(&state_) >> 20) % 100)]++;
            bad_keys = 0;
            assert_int_equal(run(&rows_count_rows, level, columns, row_counts[r], NULL, 100, 1, table), MR_OK);
            assert_memory_equal(table, want, sizeof want);
            assert_int_equal(bad_keys, 0);
            if (row_counts[r] == 0)
                continue;
            const size_t at = row_counts[r] / 2;
            want[keys[at]]--;
            keys[at] = r % 2 == 0 ? 100 : -1;
            memset(table, 0, sizeof table);
            assert_int_equal(run(&rows_count_rows, level, columns, row_counts[r], NULL, 100, 1, table), MR_BAD_INPUT);
            assert_int_equal(bad_keys, 1);
            assert_true(bad_key == (uint64_t)(int64_t)keys[at]);
            assert_memory_equal(table, want, sizeof want);
        }
}

static void a_slot_out_of_range_is_refused(void **state)
{
    struct nearest_params params = {.count = 1};
    const void *const *columns = draw_points(100);
    for (int level = 0; level < MR__LEVELS; level++) {
        double table[8] = {0};
        if (entry(&rows_add_row_rows, level) == NULL)
            continue;
        assert_int_equal(run(&rows_add_row_rows, level, columns, 100, &params, 1, 3, table), MR_BAD_INPUT);
        assert_int_equal(run(&rows_math_rows, level, columns, 100, NULL, 1, 7, table), MR_BAD_INPUT);
        assert_true(table[7] == 0);
    }
}

static void bytes_are_counted(void **state)
{
    static text_case text;
    for (size_t t = 0; t < TEXTURES; t++)
        for (size_t r = 0; r < MR__COUNT(row_counts); r++)
            for (int level = 0; level < MR__LEVELS; level++) {
                uint64_t table[256] = {0}, want[256] = {0};
                if (entry(&rows_histogram_rows, level) == NULL)
                    continue;
                make_case(&text, &textures[t], row_counts[r], r % 3, r + t);    /* not aligned, not padded with zeros */
                const void *const columns[] = {text.data, text.data};
                for (size_t i = 0; i < text.size; i++)
                    want[text.data[i]]++;
                assert_int_equal(run(&rows_histogram_rows, level, columns, text.size, NULL, 256, 1, table), MR_OK);
                assert_memory_equal(table, want, sizeof want);
                memset(table, 0, sizeof table);
                run(&rows_histogram_column_rows, level, columns, text.size, NULL, 256, 1, table);
                assert_memory_equal(table, want, sizeof want);
                memset(table, 0, sizeof table);
                run(&rows_histogram_columns_rows, level, columns, text.size, NULL, 256, 1, table);
                for (size_t byte = 0; byte < 256; byte++)
                    assert_int_equal(table[byte], 3 * want[byte]);
            }
}

/* Oracle: sums and products in 64 bits, cut to 8 or 16 by a mask. */
static void what_wraps_in_8_and_16_bits_is_cut_alike(void **state)
{
    static uint8_t bytes[2][ROWS_MAX] __attribute__((aligned(64)));
    const void *const columns[] = {bytes[0], bytes[1], bytes[0]};
    uint64_t random = 11;
    for (size_t i = 0; i < ROWS_MAX; i++) {
        bytes[0][i] = (uint8_t)(next_random(&random) >> 32);
        bytes[1][i] = (uint8_t)(next_random(&random) >> 32);
    }
    for (size_t r = 0; r < MR__COUNT(row_counts); r++) {
        int64_t want[8] = {0};
        for (size_t row = 0; row < row_counts[r]; row++) {
            const int64_t x = bytes[0][row], y = bytes[1][row], u = x << 8 | y, v = y << 8 | (255 - x);
            want[0] += ((x + y) & 255) >> 1;
            want[1] += (((x - y) & 255) < y ? x * y & 255 : 255 - x) >> 1;
            want[2] += ((int8_t)x / 2 - (x > 127 && x % 2 != 0) + (int8_t)y / 2 - (y > 127 && y % 2 != 0)) >> 1;
            want[3] += (int8_t)((x + y) & 255) >> 1;
            want[4] += ((u + v) & 65535) >> 1;
            want[5] += (u * v & 65535) >> 1;
            want[6] += (((int16_t)u >> 1) - ((int16_t)v >> 1)) >> 1;
            want[7] += (int16_t)((u - v) & 65535) >> 1;
        }
        for (int level = 0; level < MR__LEVELS; level++) {
            int64_t table[8] = {0};
            if (entry(&rows_narrow_rows, level) == NULL)
                continue;
            assert_int_equal(run(&rows_narrow_rows, level, columns, row_counts[r], NULL, 1, 8, table), MR_OK);
            assert_memory_equal(table, want, sizeof want);
        }
    }
}

static void sums_without_a_key_are_equal_to_the_bit(void **state)
{
    for (size_t r = 0; r < MR__COUNT(row_counts); r++) {
        const void *const *columns = draw_points(row_counts[r]);
        uint64_t want[8] = {0}, table[8];
        double regression[6] = {0}, phases[6][64] = {{0}};
        run(&rows_math_rows, MR__SCALAR, columns, row_counts[r], NULL, 1, 8, want);
        uint64_t index_sum = 0;
        for (size_t row = 0; row < row_counts[r]; row++) {
            const double x = points[0][row], y = points[1][row], i = (double)(1000 + row);
            const double terms[6] = {x, y, x * x, y * y, x * y, i};
            for (int slot = 0; slot < 6; slot++)
                phases[slot][row % 64] += terms[slot];
            index_sum += 1000 + row;
        }
        for (int slot = 0; slot < 6; slot++) {
            double total = 0;
            for (int phase = 0; phase < 64; phase++)
                total += phases[slot][phase];
            regression[slot] += total;
        }
        assert_int_equal(want[7], index_sum);
        for (int level = 0; level < MR__LEVELS; level++) {
            if (entry(&rows_math_rows, level) == NULL)
                continue;
            memset(table, 0, sizeof table);
            assert_int_equal(run(&rows_math_rows, level, columns, row_counts[r], NULL, 1, 8, table), MR_OK);
            assert_memory_equal(table, want, sizeof want);
            memset(table, 0, sizeof table);
            assert_int_equal(run(&rows_regression_rows, level, columns, row_counts[r], NULL, 1, 6, table), MR_OK);
            assert_memory_equal(table, regression, sizeof regression);
        }
    }
}

/* ---- records of 8 bytes ------------------------------------------------------------------------------------------ */

enum { TILE_ROWS = 128, RECORD = 8 };

static uint8_t tile_memory[3][TILE_ROWS * 8] __attribute__((aligned(64)));
static const void *const tile_columns[3] = {tile_memory[0], tile_memory[1], tile_memory[2]};
static const mr_column *record_layout;
static uint32_t record_columns;

static void fill_tile(const mr_tiles *tiles, size_t first, size_t rows)
{
    for (uint32_t c = 0; c < record_columns; c++) {
        const size_t width = mr__column_width(record_layout[c].type);
        memset(tile_memory[c], 0, sizeof tile_memory[c]);
        for (size_t row = 0; row < rows; row++)
            memcpy(tile_memory[c] + row * width, tiles->records + (first + row) * RECORD + record_layout[c].offset,
                   width);
    }
}

/* With columns made of tiles, or, where a level can, taken from the records as they are. */
static void run_records(const mr_row_kernel *kernel, int level, const uint8_t *records, size_t rows, bool packed,
                        uint32_t width, void *table)
{
    const mr_tiles tiles = {.rows = TILE_ROWS, .columns = tile_columns, .records = records, .record_size = RECORD,
                            .layout = packed ? record_layout : NULL, .fill = fill_tile};
    const mr_block block = {.first_row = 1000, .rows = rows, .tiles = &tiles, .column_count = record_columns};
    mr_emitter emitter = {.dense = table, .dense_keys = 1, .dense_width = width};
    memset(table, 0, width * 8);
    entry(kernel, level)(&block, &emitter, NULL);
    assert_int_equal(emitter.status, MR_OK);
}

static void check_records(const mr_row_kernel *kernel, const uint8_t *records, size_t rows, uint32_t width,
                          const uint64_t *want)
{
    uint64_t table[8];
    for (int level = 0; level < MR__LEVELS; level++)
        for (int packed = 0; packed < 2 && entry(kernel, level) != NULL; packed++) {
            run_records(kernel, level, records, rows, packed, width, table);
            assert_memory_equal(table, want, width * 8);
        }
}

static void records_of_8_bytes_give_what_their_columns_give(void **state)
{
    static const mr_column points_layout[2][2] = {{{MR_COLUMN_F32, 0}, {MR_COLUMN_F32, 4}},
                                                  {{MR_COLUMN_F32, 4}, {MR_COLUMN_F32, 0}}};
    static const mr_column widths_layout[] = {{MR_COLUMN_I32, 4}, {MR_COLUMN_I16, 2}, {MR_COLUMN_U8, 1}};
    static uint8_t memory[ROWS_MAX * RECORD + 64];
    uint64_t random = 3;
    for (size_t r = 0; r < MR__COUNT(row_counts); r++) {
        const size_t rows = row_counts[r];
        uint8_t *const records = memory + r % 3 * 5;        /* not aligned */
        const void *const *columns = draw_points(rows);
        uint64_t want[6] = {0};
        run(&rows_regression_rows, MR__SCALAR, columns, rows, NULL, 1, 6, want);
        record_columns = 2;
        for (int swapped = 0; swapped < 2; swapped++) {
            record_layout = points_layout[swapped];
            for (size_t row = 0; row < rows; row++)
                for (int c = 0; c < 2; c++)
                    memcpy(records + row * RECORD + record_layout[c].offset, &points[c][row], sizeof(float));
            check_records(&rows_regression_rows, records, rows, 6, want);
        }
        int64_t sums[3] = {0};
        for (size_t row = 0; row < rows; row++) {
            const uint64_t bits = next_random(&random);
            memcpy(records + row * RECORD, &bits, sizeof bits);
            sums[0] += (int32_t)(bits >> 32);
            sums[1] += (int16_t)(bits >> 16);
            sums[2] += (uint8_t)(bits >> 8);
        }
        record_layout = widths_layout;
        record_columns = 3;
        check_records(&rows_widths_rows, records, rows, 3, (const uint64_t *)sums);
    }
}

/* A column of floats whose bits go up in equal steps from `bits`. */
static void fill_by_bits(float *column, uint32_t bits, uint32_t step)
{
    for (size_t i = 0; i < TABLE; i++, bits += step)
        memcpy(&column[i], &bits, sizeof bits);
}

/* The distance between got and the exact value in units of the last place of a float32 of that size. */
static double ulps(double got, double exact)
{
    int exponent;
    frexp(exact, &exponent);
    const int last = exponent - 24 < -149 ? -149 : exponent - 24;
    return fabs(got - exact) / ldexp(1.0, last);
}

static void check_function(const mr_row_kernel *kernel, double (*exact)(double), double bound, double largest)
{
    static float column[TABLE] __attribute__((aligned(64)));
    static double table[TABLE], scalar[TABLE];
    const void *const columns[] = {column};
    double worst = 0;
    size_t finite = 0;
    const uint32_t steps = 400, step = UINT32_MAX / (steps * TABLE);
    for (uint32_t part = 0; part < steps; part++)
        for (int level = 0; level < MR__LEVELS; level++) {
            if (entry(kernel, level) == NULL)
                continue;
            fill_by_bits(column, part * TABLE * step + part, step);
            memset(table, 0, sizeof table);
            const mr_block block = {.first_row = 0, .rows = TABLE, .columns = columns, .column_count = 1};
            mr_emitter emitter = {.dense = table, .dense_keys = TABLE, .dense_width = 1};
            entry(kernel, level)(&block, &emitter, NULL);
            if (level == MR__SCALAR)
                memcpy(scalar, table, sizeof scalar);
            for (size_t i = 0; i < TABLE; i++) {
                assert_true(isnan(table[i]) ? isnan(scalar[i]) : table[i] == scalar[i]);
                const double want = exact((double)column[i]);
                if (isnan(want)) {
                    assert_true(isnan(table[i]));
                } else if (fabs(want) > largest) {
                    assert_true(isinf(table[i]) && (table[i] > 0) == (want > 0));
                } else if (level == MR__SCALAR) {
                    const double error = ulps(table[i], want);
                    worst = error > worst ? error : worst;
                    finite++;
                }
            }
        }
    print_message("%s: largest error %.3f ulp in %zu values\n", kernel->name, worst, finite);
    assert_true(finite > 100000);
    assert_true(worst <= bound);
}

static uint64_t bits_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint64_t)(int64_t)bits;
}

/* Where one is not a number, or both are zeros, it is the second. */
static void the_lesser_and_the_greater_are_those_of_the_ternary(void **state)
{
    static const float odd[] = {0.0f, -0.0f, NAN, -NAN, INFINITY, -INFINITY, 1.0f, -1.0f, 1e-40f};
    static const mr_row_kernel *const kernels[] = {&rows_limits_rows, &rows64_limits_rows};
    const void *const *columns = draw_points(ROWS_MAX);
    for (size_t row = 0; row < MR__COUNT(odd) * MR__COUNT(odd); row++) {
        points[0][row] = odd[row / MR__COUNT(odd)];
        points[1][row] = odd[row % MR__COUNT(odd)];
    }
    for (size_t r = 0; r < MR__COUNT(row_counts); r++) {
        uint64_t want[2] = {0};
        for (size_t row = 0; row < row_counts[r]; row++) {
            const float a = points[0][row], b = points[1][row];
            const uint64_t weight = (1000 + row) * 2 + 1;
            want[0] += bits_of(a < b ? a : b) * weight;
            want[1] += bits_of(a > b ? a : b) * weight;
        }
        for (size_t k = 0; k < MR__COUNT(kernels); k++)
            for (int level = 0; level < MR__LEVELS; level++) {
                uint64_t got[2] = {0};
                if (entry(kernels[k], level) == NULL)
                    continue;
                assert_int_equal(run(kernels[k], level, columns, row_counts[r], NULL, 1, 2, got), MR_OK);
                assert_memory_equal(got, want, sizeof want);
            }
    }
}

static void exp_and_log_are_near_libm(void **state)
{
    check_function(&rows_exp_rows, exp, 1.1, 3.4028235677973366e38);
    check_function(&rows_log_rows, log, 1.0, 1e300);
}

static void the_special_values_come_out_right(void **state)
{
    static const float in[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1.0f, 88.8f, -104.5f, 1e-45f, -1.0f};
    static const double exponential[] = {1, 1, INFINITY, 0, NAN, 2.7182817459106445, INFINITY, 0,
                                         1, 0.3678794503211975};
    static const double logarithm[] = {-INFINITY, -INFINITY, INFINITY, NAN, NAN, 0, 4.486386775970459, NAN,
                                       -103.27893, NAN};
    static float column[64] __attribute__((aligned(64)));
    const void *const columns[] = {column};
    memcpy(column, in, sizeof in);
    for (int level = 0; level < MR__LEVELS; level++)
        for (int which = 0; which < 2; which++) {
            const mr_row_kernel *kernel = which == 0 ? &rows_exp_rows : &rows_log_rows;
            const double *want = which == 0 ? exponential : logarithm;
            double table[64] = {0};
            if (entry(kernel, level) == NULL)
                continue;
            const mr_block block = {.rows = MR__COUNT(in), .columns = columns, .column_count = 1};
            mr_emitter emitter = {.dense = table, .dense_keys = 64, .dense_width = 1};
            entry(kernel, level)(&block, &emitter, NULL);
            for (size_t i = 0; i < MR__COUNT(in); i++)
                if (isnan(want[i]))
                    assert_true(isnan(table[i]));
                else
                    assert_true(table[i] == want[i] || fabs(table[i] - want[i]) <= 1e-6 * fabs(want[i]));
        }
}

static void the_text_for_devices_is_one_piece(void **state)
{
    assert_non_null(strstr(rows_add_source, "\"quoted\", \\ and \";\""));
    assert_non_null(strstr(rows_add_source, "MR_ROW_KERNEL(rows_add_row, struct nearest_params)"));
    assert_non_null(strstr(rows_add_source, "float centre[3 * 100];"));     /* of the included header */
    assert_null(strstr(rows_add_source, "#include \"rows.h\""));
    const char *const add = strstr(rows_add_source, "/* rows_row.c");
    const char *const log = strstr(rows_log_source, "/* rows_row.c");
    assert_non_null(add);
    assert_non_null(log);
    assert_string_equal(add, log);          /* before it, each says which kernel is called */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_by_key_are_those_of_a_plain_loop),
        cmocka_unit_test(counts_are_exact_and_keys_out_of_range_are_refused),
        cmocka_unit_test(a_slot_out_of_range_is_refused),
        cmocka_unit_test(bytes_are_counted),
        cmocka_unit_test(what_wraps_in_8_and_16_bits_is_cut_alike),
        cmocka_unit_test(sums_without_a_key_are_equal_to_the_bit),
        cmocka_unit_test(records_of_8_bytes_give_what_their_columns_give),
        cmocka_unit_test(the_lesser_and_the_greater_are_those_of_the_ternary),
        cmocka_unit_test(exp_and_log_are_near_libm),
        cmocka_unit_test(the_special_values_come_out_right),
        cmocka_unit_test(the_text_for_devices_is_one_piece),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
