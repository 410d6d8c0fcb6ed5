/* gemm_openblas.c: OpenBLAS alone, for matmul.
 *
 *     gemm_openblas f32|f64 N THREADS A B OUT
 *
 * Reads two N x N matrices, multiplies them with one call, writes the product: what a program does that needs just
 * this. Prints the seconds of all that, of the call alone, and its GFLOP/s. */
#include "limit.h"

#include <cblas.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

void openblas_set_num_threads(int threads);

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *read_matrix(const char *path, size_t size)
{
    void *matrix = limit_memory(size);
    FILE *file = fopen(path, "rb");
    if (file == NULL || fread(matrix, 1, size, file) != size)
        limit_fail("could not read %zu bytes of %s: %s", size, path, file ? "it is shorter" : strerror(errno));
    fclose(file);
    return matrix;
}

static void write_matrix(const char *path, const void *matrix, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(matrix, 1, size, file) != size || fclose(file) != 0)
        limit_fail("could not write %s: %s", path, strerror(errno));
}

int main(int argc, char **argv)
{
    if (argc != 7)
        limit_fail("usage: gemm_openblas f32|f64 N THREADS A B OUT");
    const int wide = strcmp(argv[1], "f64") == 0, n = (int)limit_number(argv[2]);
    const size_t size = (size_t)n * (size_t)n * (wide ? sizeof(double) : sizeof(float));
    openblas_set_num_threads((int)limit_number(argv[3]));
    const double begin = now();
    const void *a = read_matrix(argv[4], size), *b = read_matrix(argv[5], size);
    void *c = limit_memory(size);
    const double begin_call = now();
    if (wide)
        cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, c, n);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a, n, b, n, 0, c, n);
    const double call = now() - begin_call;
    write_matrix(argv[6], c, size);
    printf("{\"seconds\": %.6f, \"call_seconds\": %.6f, \"gflops\": %.2f}\n", now() - begin, call,
           2.0 * n * n * n / call * 1e-9);
    return 0;
}
