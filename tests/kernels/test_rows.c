/* test_rows.c: row kernels give the same bits on every device, for every lane count, with one work-item a block and
 * with many, for blocks of any length, as the scalar level and every vector level of this CPU.
 * Oracle: the scalar level, which tests/simd/test_row.c compares with plain loops. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <millrace/row.h>

#include "black_scholes/black_scholes.h"
#include "cmocka_all.h"
#include "kernels.h"
#include "kmeans/kmeans.h"
#include "lab.h"
#include "simd/text_cases.h"

MR_ROW_TABLE(kmeans_assign);
MR_ROW_TABLE(black_scholes_price);
MR_ROW_TABLE(regression_sums);
MR_ROW_TABLE(histogram_count);
MR_ROW_TABLE(pi_term);
MR_ROW_TABLE(words_math);
MR_ROW_TABLE(words_keys);
MR_ROW_TABLE(words_count);
MR_ROW_TABLE(rows_narrow);

enum { COLUMNS_MAX = 8, BLOCK_ROWS = 1000, ROWS_MAX = 3 * BLOCK_ROWS + 77, FIRST_ROW = 12345678 };
enum { TABLE_MAX = 4 * 400, FAULT_WORDS = 8, FAULT_GROUPS = 4, BAD_KEY_FAULT = 1 };

/* Oclgrind is a simulator: one small size shows a race as well as many. */
static bool simulated;

static uint64_t bad_key;

/* The library's end of a bad key. */
mr_status mr__emit_bad_dense(mr_emitter *out, uint64_t key)
{
    bad_key = key;
    return out->status = MR_BAD_INPUT;
}

/* ---- a kernel, its records and its parameters -------------------------------------------------------------------- */

typedef struct row_case {
    const mr_row_kernel *kernel;
    mr_column_type type;            /* of all columns */
    uint32_t columns, gap;          /* gap: bytes before the first column of a record; 1: nothing is aligned */
    uint32_t keys, width;
    void (*draw)(uint32_t column, uint64_t *state, void *value);
    const void *params;
    size_t params_size;
} row_case;

static size_t element_size(mr_column_type type)
{
    return type == MR_COLUMN_U8 ? 1 : 4;
}

static uint32_t record_size(const row_case *c)
{
    return c->gap + c->columns * (uint32_t)element_size(c->type);
}

static uint8_t records[ROWS_MAX * (COLUMNS_MAX * 4 + 1)];
static uint8_t columns[COLUMNS_MAX][(BLOCK_ROWS + MR_ROW_PADDING) * 4] __attribute__((aligned(64)));

static void draw_records(const row_case *c)
{
    uint64_t state = 7 + c->columns;
    memset(records, 0xa5, sizeof records);
    for (size_t row = 0; row < ROWS_MAX; row++)
        for (uint32_t column = 0; column < c->columns; column++)
            c->draw(column, &state, records + row * record_size(c) + c->gap + column * element_size(c->type));
}

/* The tables of all blocks, by the row function of one level. */
static mr_status run_level(const row_case *c, mr_row_fn level, size_t rows, uint64_t *tables)
{
    const void *column_list[COLUMNS_MAX];
    const size_t size = element_size(c->type);
    mr_status status = MR_OK;
    for (size_t begin = 0; begin < rows; begin += BLOCK_ROWS, tables += c->keys * c->width) {
        const size_t count = rows - begin < BLOCK_ROWS ? rows - begin : BLOCK_ROWS;
        memset(columns, 0, sizeof columns);
        for (uint32_t column = 0; column < c->columns; column++) {
            column_list[column] = columns[column];
            for (size_t row = 0; row < count; row++)
                memcpy(columns[column] + row * size, records + (begin + row) * record_size(c) + c->gap + column * size,
                       size);
        }
        const mr_block block = {.first_row = FIRST_ROW + begin, .rows = count, .columns = column_list,
                                .column_count = c->columns};
        mr_emitter emitter = {.dense = tables, .dense_keys = c->keys, .dense_width = c->width};
        level(&block, &emitter, c->params);
        if (emitter.status != MR_OK)
            status = emitter.status;
    }
    return status;
}

static lab_program build(const row_case *c, const lab_device *device, unsigned lanes, unsigned group)
{
    lab_job job = {.form = LAB_ROWS, .source = c->kernel->source, .lanes = lanes, .group = group,
                   .record_size = record_size(c), .column_count = c->columns, .unaligned = c->gap % 4 != 0,
                   .dense_keys = c->keys, .dense_width = c->width, .block_rows = BLOCK_ROWS};
    for (uint32_t column = 0; column < c->columns; column++)
        job.offsets[column] = c->gap + column * (uint32_t)element_size(c->type);
    return lab_build(device, &job, "mr_rows");
}

static void run_device(const row_case *c, const lab_program *program, size_t rows, uint64_t *tables, uint32_t *fault)
{
    const size_t blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, local = program->job.group, global = blocks * local;
    uint64_t first_row = FIRST_ROW, row_count = rows;
    uint64_t no_params = 0;
    const lab_argument arguments[] = {
        {LAB_IN, records, rows * record_size(c)},
        {LAB_IN, c->params != NULL ? (void *)c->params : &no_params, c->params != NULL ? c->params_size : 8},
        {LAB_NUMBER, &first_row, 8}, {LAB_NUMBER, &row_count, 8},
        {LAB_OUT, tables, blocks * c->keys * c->width * 8}, {LAB_OUT, fault, FAULT_WORDS * sizeof *fault},
    };
    lab_run(program, arguments, MR__COUNT(arguments), 1, &global, &local);
}

/* ---- every device, every lane count ------------------------------------------------------------------------------ */

static const size_t row_counts[] = {1, 2, 15, 16, 17, 63, 64, 65, 130, 999, 1000, 1001, ROWS_MAX};
static const size_t simulated_row_counts[] = {1, 83};

static void check_program(const row_case *c, const lab_program *program)
{
    static uint64_t want[TABLE_MAX], got[TABLE_MAX];
    const size_t *counts = simulated ? simulated_row_counts : row_counts;
    for (size_t r = 0; r < (simulated ? MR__COUNT(simulated_row_counts) : MR__COUNT(row_counts)); r++) {
        const size_t blocks = (counts[r] + BLOCK_ROWS - 1) / BLOCK_ROWS, bytes = blocks * c->keys * c->width * 8;
        uint32_t fault[FAULT_WORDS] = {0};
        assert_true(bytes <= sizeof want);
        memset(want, 0, sizeof want);
        memset(got, 0, sizeof got);
        assert_int_equal(run_level(c, c->kernel->scalar, counts[r], want), MR_OK);
        run_device(c, program, counts[r], got, fault);
        assert_int_equal(fault[0], 0);
        assert_int_equal(fault[FAULT_GROUPS], blocks);
        if (memcmp(got, want, bytes) != 0)
            fail_msg("%s on %s, %u lanes, groups of %u, %zu rows: other bits than the scalar level", c->kernel->name,
                     program->device->name, program->job.lanes, program->job.group, counts[r]);
    }
}

static void check_levels(const row_case *c)
{
    static uint64_t want[TABLE_MAX], got[TABLE_MAX];
    const mr_row_fn levels[MR__LEVELS] = {c->kernel->scalar, c->kernel->sse2, c->kernel->avx2, c->kernel->avx512,
                                          c->kernel->neon};
    memset(want, 0, sizeof want);
    assert_int_equal(run_level(c, c->kernel->scalar, ROWS_MAX, want), MR_OK);
    for (int level = 1; level < MR__LEVELS; level++)
        if (levels[level] != NULL && mr__level_supported((mr__level)level)) {
            memset(got, 0, sizeof got);
            assert_int_equal(run_level(c, levels[level], ROWS_MAX, got), MR_OK);
            assert_memory_equal(got, want, sizeof want);
        }
}

static void check_everywhere(const row_case *c)
{
    size_t count;
    const lab_device *devices = lab_devices(&count);
    draw_records(c);
    check_levels(c);
    for (size_t d = 0; d < count; d++)
        for (unsigned lanes = 1; lanes <= 16; lanes *= simulated ? 16 : 2)
            for (int many = 0; many < 2; many++) {
                lab_program program = build(c, &devices[d], lanes, many ? 64 / lanes : 1);
                check_program(c, &program);
                lab_drop(&program);
            }
}

static void draw_point(uint32_t column, uint64_t *state, void *value)
{
    const float x = (float)(next_random(state) >> 40) / 65536.0f - 100.0f;
    memcpy(value, &x, sizeof x);
}

static void draw_option(uint32_t column, uint64_t *state, void *value)
{
    static const float most[] = {200.0f, 200.0f, 10.0f};
    const uint64_t random = next_random(state);
    const float x = random % 50 == 0 ? 0.0f : (float)(random >> 40) / 16777216.0f * most[column];
    memcpy(value, &x, sizeof x);
}

/* Every bit pattern of a float: NaN, infinities and subnormal numbers are among them. */
static void draw_bits(uint32_t column, uint64_t *state, void *value)
{
    static const uint32_t special[] = {0, 0x80000000, 1, 0x807fffff, 0x7f800000, 0xff800000, 0x42b17218, 0xc2cff1b5};
    const uint64_t random = next_random(state);
    const uint32_t bits = random % 8 == 0 ? special[random >> 60 & 7] : (uint32_t)(random >> 32);
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;      /* which NaN an operation gives is nobody's promise */
    memcpy(value, nan ? &special[0] : &bits, sizeof bits);
}

static void draw_key(uint32_t column, uint64_t *state, void *value)
{
    const int32_t key = (int32_t)(next_random(state) >> 33) % (column == 0 ? 30 : 7);
    memcpy(value, &key, sizeof key);
}

static void draw_byte(uint32_t column, uint64_t *state, void *value)
{
    const uint64_t random = next_random(state);
    *(uint8_t *)value = (uint8_t)(random >> 32 & random >> 40);
}

static struct kmeans_params *kmeans_params(uint64_t k, uint64_t dim, size_t *size)
{
    uint64_t state = k;
    *size = offsetof(struct kmeans_params, centre) + k * dim * sizeof(float);
    struct kmeans_params *params = calloc(1, *size + sizeof(float));
    assert_non_null(params);
    params->k = k;
    params->dim = dim;
    for (uint64_t i = 0; i < k * dim; i++)
        draw_point(0, &state, params->centre + i);
    return params;
}

static void check_kmeans(uint32_t k, uint32_t dim, uint32_t gap)
{
    row_case c = {.kernel = &kmeans_assign_rows, .type = MR_COLUMN_F32, .columns = dim, .gap = gap, .keys = k,
                  .width = dim + 1, .draw = draw_point};
    c.params = kmeans_params(k, dim, &c.params_size);
    check_everywhere(&c);
    free((void *)c.params);
}

static void kmeans_gives_the_same_bits(void **state)
{
    check_kmeans(simulated ? 5 : 100, 3, 0);
}

static void kmeans_of_other_dimensions_gives_the_same_bits(void **state)
{
    check_kmeans(7, 5, 0);
    check_kmeans(7, 4, 0);      /* the widest records whose columns are shuffled */
}

static void kmeans_of_unaligned_points_gives_the_same_bits(void **state)
{
    check_kmeans(7, 2, 1);
}

static void black_scholes_gives_the_same_bits(void **state)
{
    static const struct black_scholes_params params = {.rate = 0.02, .volatility = 0.3};
    check_everywhere(&(row_case){.kernel = &black_scholes_price_rows, .type = MR_COLUMN_F32, .columns = 3, .keys = 1,
                                 .width = SUMS, .draw = draw_option, .params = &params,
                                 .params_size = sizeof params});
}

static void linear_regression_gives_the_same_bits(void **state)
{
    static const double first_x = 2.5;
    check_everywhere(&(row_case){.kernel = &regression_sums_rows, .type = MR_COLUMN_F32, .columns = 2, .keys = 1,
                                 .width = 6, .draw = draw_point, .params = &first_x,
                                 .params_size = sizeof first_x});
}

static void pi_gives_the_same_bits(void **state)
{
    check_everywhere(&(row_case){.kernel = &pi_term_rows, .type = MR_COLUMN_U8, .gap = 0, .keys = 1, .width = 1});
}

static void histogram_counts_the_same(void **state)
{
    check_everywhere(&(row_case){.kernel = &histogram_count_rows, .type = MR_COLUMN_U8, .columns = 1, .keys = 256,
                                 .width = 1, .draw = draw_byte});
}

static void each_word_of_arithmetic_gives_the_same_bits(void **state)
{
    check_everywhere(&(row_case){.kernel = &words_math_rows, .type = MR_COLUMN_F32, .columns = 2, .keys = 1,
                                 .width = 12, .draw = draw_bits});
}

static void each_word_with_keys_gives_the_same_bits(void **state)
{
    check_everywhere(&(row_case){.kernel = &words_keys_rows, .type = MR_COLUMN_I32, .columns = 2, .keys = 30,
                                 .width = 9, .draw = draw_key});
}

static void counts_by_key_are_the_same(void **state)
{
    check_everywhere(&(row_case){.kernel = &words_count_rows, .type = MR_COLUMN_I32, .columns = 1, .keys = 30,
                                 .width = 2, .draw = draw_key});
}

static void draw_any_byte(uint32_t column, uint64_t *state, void *value)
{
    *(uint8_t *)value = (uint8_t)(next_random(state) >> 32);
}

static void arithmetic_in_8_and_16_bits_gives_the_same(void **state)
{
    check_everywhere(&(row_case){.kernel = &rows_narrow_rows, .type = MR_COLUMN_U8, .columns = 2, .keys = 1, .width = 8,
                                 .draw = draw_any_byte});
}

static void a_key_out_of_range_is_reported(void **state)
{
    const row_case c = {.kernel = &words_keys_rows, .type = MR_COLUMN_I32, .columns = 2, .keys = 30, .width = 9,
                        .draw = draw_key};
    size_t count;
    const lab_device *devices = lab_devices(&count);
    for (size_t d = 0; d < count; d++)
        for (unsigned lanes = 1; lanes <= 16; lanes *= 16)
            for (int many = 0; many < 2; many++)
                for (int32_t bad = -5; bad <= 30; bad += 35) {
                    static uint64_t tables[TABLE_MAX];
                    uint32_t fault[FAULT_WORDS] = {0};
                    draw_records(&c);
                    memcpy(records + 66 * record_size(&c), &bad, sizeof bad);
                    lab_program program = build(&c, &devices[d], lanes, many ? 64 / lanes : 1);
                    run_device(&c, &program, 67, tables, fault);
                    assert_int_equal(fault[0], BAD_KEY_FAULT);
                    assert_true((int64_t)(fault[1] | (uint64_t)fault[2] << 32) == bad);
                    lab_drop(&program);
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kmeans_gives_the_same_bits),
        cmocka_unit_test(kmeans_of_other_dimensions_gives_the_same_bits),
        cmocka_unit_test(kmeans_of_unaligned_points_gives_the_same_bits),
        cmocka_unit_test(black_scholes_gives_the_same_bits),
        cmocka_unit_test(linear_regression_gives_the_same_bits),
        cmocka_unit_test(pi_gives_the_same_bits),
        cmocka_unit_test(histogram_counts_the_same),
        cmocka_unit_test(each_word_of_arithmetic_gives_the_same_bits),
        cmocka_unit_test(each_word_with_keys_gives_the_same_bits),
        cmocka_unit_test(counts_by_key_are_the_same),
        cmocka_unit_test(arithmetic_in_8_and_16_bits_gives_the_same),
        cmocka_unit_test(a_key_out_of_range_is_reported),
    };
    return lab_ready(&simulated) ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
