/* test_records.c: the tiles of matmul give the product, with tiles cut off at the edges, with one work-item a group and
 * with many. Oracle: plain loops; the numbers are small integers, so that every order of additions gives the same
 * bits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmocka_all.h"
#include "kernels.h"
#include "lab.h"
#include "matmul/matmul.h"
#include "simd/text_cases.h"

extern const char matmul_cl[];

static bool simulated;

static const struct {
    size_t m, n, p;
} sizes[] = {{3, 5, 2}, {8, 16, 32}, {9, 33, 70}, {1, 1, 1}, {64, 64, 64}, {67, 20, 130}, {130, 100, 33}};

static double element(const void *matrix, uint32_t type, size_t i)
{
    return type == MATMUL_F32 ? ((const float *)matrix)[i] : ((const double *)matrix)[i];
}

static void *draw_matrix(void *into, uint32_t type, size_t count)
{
    uint64_t state = count;
    for (size_t i = 0; i < count; i++) {
        const int number = (int)(next_random(&state) >> 40) % 41 - 20;
        if (type == MATMUL_F32)
            ((float *)into)[i] = (float)number;
        else
            ((double *)into)[i] = number;
    }
    return into;
}

/* How many rows, columns a tile has. */
static void ask_tile(const lab_device *device, const lab_job *job, uint32_t tile[4])
{
    lab_program program = lab_build(device, job, "mr_tile");
    const size_t one = 1;
    const lab_argument argument = {LAB_OUT, tile, 16};
    lab_run(&program, &argument, 1, 1, &one, &one);
    lab_drop(&program);
}

static void check(const lab_program *program, const uint32_t tile[4], uint32_t type, size_t m, size_t n, size_t p)
{
    const size_t size = type == MATMUL_F32 ? 4 : 8, items = program->job.group == 1 ? 1 : 16;
    uint32_t fault[4] = {0};
    uint64_t first_row = 0, rows = m;
    void *a = draw_matrix(calloc(m * n, size), type, m * n), *c = calloc(m * p, size);
    struct matmul_params *params = calloc(1, B_OFFSET + n * p * size);
    assert_true(a != NULL && c != NULL && params != NULL);
    void *b = draw_matrix((uint8_t *)params + B_OFFSET, type, n * p);
    params->type = type;
    params->n = n;
    params->p = (uint32_t)p;
    const size_t local[2] = {items, items};
    const size_t global[2] = {(m + tile[0] - 1) / tile[0] * items,
                              (p * size + tile[1] * 4 - 1) / (tile[1] * 4) * items};
    const lab_argument arguments[] = {
        {LAB_IN, a, m * n * size}, {LAB_IN, params, B_OFFSET + n * p * size}, {LAB_NUMBER, &first_row, 8},
        {LAB_NUMBER, &rows, 8}, {LAB_OUT, c, m * p * size}, {LAB_OUT, fault, 16}};
    lab_run(program, arguments, MR__COUNT(arguments), 2, global, local);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < p; j++) {
            double want = 0;
            for (size_t k = 0; k < n; k++)
                want += element(a, type, i * n + k) * element(b, type, k * p + j);
            assert_true(element(c, type, i * p + j) == want);
        }
    free(a);
    free(c);
    free(params);
}

static void tiles_give_the_product(void **state)
{
    size_t count;
    const lab_device *devices = lab_devices(&count);
    for (size_t d = 0; d < count; d++)
        for (unsigned group = 1; group <= 64; group += 63) {
            const lab_job job = {.form = LAB_RECORDS, .source = matmul_cl, .lanes = 1, .group = group};
            uint32_t tile[4] = {0};
            ask_tile(&devices[d], &job, tile);
            lab_program program = lab_build(&devices[d], &job, "mr_records");
            for (uint32_t type = MATMUL_F32; type <= MATMUL_F64; type++)
                for (size_t s = 0; s < (simulated ? 3 : MR__COUNT(sizes)); s++)
                    check(&program, tile, type, sizes[s].m, sizes[s].n, sizes[s].p);
            lab_drop(&program);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tiles_give_the_product)};
    return lab_ready(&simulated) ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
