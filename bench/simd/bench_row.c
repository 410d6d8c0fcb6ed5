/* bench_row.c: rows per second of row kernels at each level, on one core. Results are compared with scalar's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <millrace/row.h>

#include "black_scholes.h"
#include "cpu_clock.h"
#include "kernels.h"
#include "kmeans.h"
#include "rows.h"

MR_ROW_TABLE(rows_add);
MR_ROW_TABLE(rows_add_row);
MR_ROW_TABLE(rows_math);
MR_ROW_TABLE(rows_regression);
MR_ROW_TABLE(rows_histogram);
MR_ROW_TABLE(black_scholes_price);
MR_ROW_TABLE(kmeans_assign);

enum { BLOCK_ROWS = 32768, BLOCKS = 8, KEYS = 256, WIDTH = 8, REPEATS = 25, CENTRES = 100, DIM = 3 };

/* The library's end of a bad key: none comes up here. */
mr_status mr__emit_bad_dense(mr_emitter *out, uint64_t key)
{
    return out->status = MR_BAD_INPUT;
}

static mr_row_fn entry(const mr_row_kernel *kernel, int level)
{
    const mr_row_fn entries[MR__LEVELS] = {kernel->scalar, kernel->sse2, kernel->avx2, kernel->avx512, kernel->neon};
    return mr__level_supported((mr__level)level) ? entries[level] : NULL;
}

static void run(const mr_row_kernel *kernel, const float *columns, const void *params, uint32_t width)
{
    static uint64_t want[KEYS * WIDTH], table[KEYS * WIDTH];
    double scalar_rate = 0;
    for (int level = 0; level < MR__LEVELS; level++) {
        const mr_row_fn function = entry(kernel, level);
        if (function == NULL)
            continue;
        uint64_t best = UINT64_MAX;
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            memset(table, 0, sizeof table);
            mr_emitter emitter = {.dense = table, .dense_keys = KEYS, .dense_width = width};
            const uint64_t begin = cpu_ns();
            for (size_t b = 0; b < BLOCKS; b++) {
                const float *base = columns + b * 3 * BLOCK_ROWS;
                const void *const column[] = {base, base + BLOCK_ROWS, base + 2 * BLOCK_ROWS};
                const mr_block block = {
                    .first_row = b * BLOCK_ROWS, .rows = BLOCK_ROWS, .columns = column, .column_count = 3};
                function(&block, &emitter, params);
            }
            const uint64_t spent = cpu_ns() - begin;
            best = spent < best ? spent : best;
        }
        const double rate = (double)BLOCKS * BLOCK_ROWS / (double)best * 1e3;
        if (level == MR__SCALAR) {
            memcpy(want, table, sizeof want);
            scalar_rate = rate;
        }
        printf("%-16s %-8s %9.1f Mrows/s  %5.1f x scalar  %s\n", kernel->name, mr__level_name((mr__level)level), rate,
               rate / scalar_rate, memcmp(table, want, sizeof want) == 0 ? "same result" : "RESULT DIFFERS");
    }
}

int main(void)
{
    const size_t floats = (size_t)3 * BLOCK_ROWS * BLOCKS;
    float *columns = aligned_alloc(64, floats * sizeof *columns);
    struct nearest_params params = {.count = CENTRES};
    struct kmeans_params *kmeans = calloc(1, sizeof *kmeans + CENTRES * DIM * sizeof(float));
    if (columns == NULL || kmeans == NULL)
        return 1;
    uint32_t state = 1;
    for (size_t i = 0; i < floats; i++) {
        state = state * 1664525u + 1013904223u;
        columns[i] = (float)(state >> 8) / 1e6f;
    }
    kmeans->k = CENTRES;
    kmeans->dim = DIM;
    for (int i = 0; i < CENTRES * DIM; i++)
        kmeans->centre[i] = params.centre[i] = columns[i * 17];
    run(&rows_add_row_rows, columns, &params, 4);
    run(&rows_add_rows, columns, &params, 4);
    run(&black_scholes_price_rows, columns, &(struct black_scholes_params){.rate = 0.02, .volatility = 0.3}, SUMS);
    run(&kmeans_assign_rows, columns, kmeans, DIM + 1);
    run(&rows_math_rows, columns, NULL, 8);
    run(&rows_regression_rows, columns, NULL, 6);
    run(&rows_histogram_rows, columns, NULL, 1);
    free(kmeans);
    free(columns);
    return 0;
}
