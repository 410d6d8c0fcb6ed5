/* matmul.cl: a block of rows of A times B, in tiles.
 *
 * One item a group (CPUs): a tile of 8 x 32, 16 columns at a time in registers: of each row of B one vector is read,
 * and each of the 8 rows of A gives it one factor.
 * Many items (GPUs): a tile of 64 x 64, 16 x 16 items with 4 x 4 numbers each; slices of A and B, 16 deep, go through
 * local memory, so that each number is read once for 64.
 * Products are added in the order of A's columns, each by a fused multiply-add: the last bits differ from BLAS's. */
#include <millrace/device_opencl.h>

#include "matmul.h"

#if MR_GROUP == 1

#define MR_TILE_ROWS 8
#define MR_TILE_COLUMNS 32
#define MR_TILE_ITEMS_0 1
#define MR_TILE_ITEMS_1 1

#define MATMUL_TYPE(T)                                                                                                 \
    static inline void matmul_##T(__global const T *a, __global const T *b, __global T *c, ulong m, ulong n, ulong p)  \
    {                                                                                                                  \
        const ulong row = get_group_id(0) * MR_TILE_ROWS, end = (get_group_id(1) + 1) * MR_TILE_COLUMNS;               \
        ulong column = get_group_id(1) * MR_TILE_COLUMNS;                                                              \
        const ulong stop = end < p ? end : p;                                                                          \
        a += row * n;                                                                                                  \
        c += row * p;                                                                                                  \
        for (; row + MR_TILE_ROWS <= m && column + 16 <= stop; column += 16) {                                         \
            T##16 sums[MR_TILE_ROWS];                                                                                  \
            for (int i = 0; i < MR_TILE_ROWS; i++)                                                                     \
                sums[i] = (T##16)(0);                                                                                  \
            for (ulong k = 0; k < n; k++) {                                                                            \
                const T##16 factors = vload16(0, b + k * p + column);                                                  \
                for (int i = 0; i < MR_TILE_ROWS; i++)                                                                 \
                    sums[i] = fma((T##16)(a[i * n + k]), factors, sums[i]);                                            \
            }                                                                                                          \
            for (int i = 0; i < MR_TILE_ROWS; i++)                                                                     \
                vstore16(sums[i], 0, c + i * p + column);                                                              \
        }                                                                                                              \
        for (; column < stop; column++)                                                                                \
            for (ulong i = 0; i < MR_TILE_ROWS && row + i < m; i++) {                                                  \
                T sum = 0;                                                                                             \
                for (ulong k = 0; k < n; k++)                                                                          \
                    sum = fma(a[i * n + k], b[k * p + column], sum);                                                   \
                c[i * p + column] = sum;                                                                               \
            }                                                                                                          \
    }
MATMUL_TYPE(float)
MATMUL_TYPE(double)

MR_RECORDS_KERNEL(matmul, struct matmul_params)
{
    __global const uchar *b = (__global const uchar *)params + B_OFFSET;
    if (params->type == MATMUL_F32)
        matmul_float((__global const float *)records, (__global const float *)b, (__global float *)values, rows,
                     params->n, params->p);
    else
        matmul_double((__global const double *)records, (__global const double *)b, (__global double *)values, rows,
                      params->n, params->p);
}

#else

#define MR_TILE_ROWS 64
#define MR_TILE_COLUMNS 64
#define MR_TILE_ITEMS_0 16
#define MR_TILE_ITEMS_1 16

enum { DEPTH = 16, EACH = 4, ITEMS = 256 };

/* Neighbouring items (dimension 0) take neighbouring columns, so that they read and write neighbouring numbers. */
#define MATMUL_TYPE(T)                                                                                                 \
    static inline void matmul_##T(__global const T *a, __global const T *b, __global T *c, ulong m, ulong n, ulong p,  \
                                  __local T *slice_a, __local T *slice_b)                                              \
    {                                                                                                                  \
        const uint x = get_local_id(0), y = get_local_id(1), item = y * 16 + x;                                        \
        const ulong row = get_group_id(0) * MR_TILE_ROWS, column = get_group_id(1) * MR_TILE_COLUMNS;                  \
        T sums[EACH][EACH];                                                                                            \
        for (int i = 0; i < EACH; i++)                                                                                 \
            for (int j = 0; j < EACH; j++)                                                                             \
                sums[i][j] = 0;                                                                                        \
        for (ulong depth = 0; depth < n; depth += DEPTH) {                                                             \
            for (uint i = item; i < MR_TILE_ROWS * DEPTH; i += ITEMS) {                                                \
                const ulong r = row + i / DEPTH, k = depth + i % DEPTH;                                                \
                slice_a[i % DEPTH * MR_TILE_ROWS + i / DEPTH] = r < m && k < n ? a[r * n + k] : 0;                     \
            }                                                                                                          \
            for (uint i = item; i < MR_TILE_COLUMNS * DEPTH; i += ITEMS) {                                             \
                const ulong k = depth + i / MR_TILE_COLUMNS, q = column + i % MR_TILE_COLUMNS;                         \
                slice_b[i] = k < n && q < p ? b[k * p + q] : 0;                                                        \
            }                                                                                                          \
            barrier(CLK_LOCAL_MEM_FENCE);                                                                              \
            for (uint k = 0; k < DEPTH; k++)                                                                           \
                for (int i = 0; i < EACH; i++)                                                                         \
                    for (int j = 0; j < EACH; j++)                                                                     \
                        sums[i][j] = fma(slice_a[k * MR_TILE_ROWS + y + i * 16],                                       \
                                         slice_b[k * MR_TILE_COLUMNS + x + j * 16], sums[i][j]);                       \
            barrier(CLK_LOCAL_MEM_FENCE);                                                                              \
        }                                                                                                              \
        for (int i = 0; i < EACH; i++)                                                                                 \
            for (int j = 0; j < EACH; j++)                                                                             \
                if (row + y + i * 16 < m && column + x + j * 16 < p)                                                   \
                    c[(row + y + i * 16) * p + column + x + j * 16] = sums[i][j];                                      \
    }
MATMUL_TYPE(float)
MATMUL_TYPE(double)

MR_RECORDS_KERNEL(matmul, struct matmul_params)
{
    __local double slices[2][MR_TILE_ROWS * DEPTH];
    __global const uchar *b = (__global const uchar *)params + B_OFFSET;
    if (params->type == MATMUL_F32)
        matmul_float((__global const float *)records, (__global const float *)b, (__global float *)values, rows,
                     params->n, params->p, (__local float *)slices[0], (__local float *)slices[1]);
    else
        matmul_double((__global const double *)records, (__global const double *)b, (__global double *)values, rows,
                      params->n, params->p, slices[0], slices[1]);
}

#endif
