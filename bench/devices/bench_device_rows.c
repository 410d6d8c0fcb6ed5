/* bench_device_rows.c: what the row kernels of the apps reach on each OpenCL device, for each lane count, beside a
 * kernel written by hand for one point (option) a work-item: the kernel alone, data on the device.
 *     bench_device_rows [rows in millions [app]]
 * The kernel by hand reads columns, writes one number a row and may be built with -cl-fast-relaxed-math; the row kernel
 * reads the records as a file has them, sums in float64 in the order of the rows, and gives the bits of the CPU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <millrace/app.h>

#include "black_scholes/black_scholes.h"
#include "kmeans/kmeans.h"
#include "lab.h"

extern const char kmeans_assign_source[], black_scholes_price_source[], histogram_count_source[],
    regression_sums_source[], pi_term_source[];

enum { RUNS = 15, RUNS_LEAST = 3, K = 100, BLOCK_ROWS = 1 << 14 };
static const double ENOUGH_SECONDS = 1;

/* The row functions for the CPU come with the sources: their end of the library. */
mr_status mr__emit_bad_dense(mr_emitter *out, uint64_t key)
{
    return out->status = MR_BAD_INPUT;
}

#define HAND_KMEANS                                                                                                    \
    "__kernel void hand(__global const float *x, __global const float *y, __global const float *z,\n"                  \
    "                   __global const float *c, __global int *out)\n"                                                 \
    "{\n"                                                                                                              \
    "    size_t i = get_global_id(0);\n"                                                                               \
    "    float best = 1e30f, px = x[i], py = y[i], pz = z[i];\n"                                                       \
    "    int nearest = 0;\n"                                                                                           \
    "    for (int k = 0; k < 100; k++) {\n"                                                                            \
    "        float dx = px - c[3 * k], dy = py - c[3 * k + 1], dz = pz - c[3 * k + 2];\n"                              \
    "        float d = dx * dx + dy * dy + dz * dz;\n"                                                                 \
    "        nearest = d < best ? k : nearest;\n"                                                                      \
    "        best = d < best ? d : best;\n"                                                                            \
    "    }\n"                                                                                                          \
    "    out[i] = nearest;\n"                                                                                          \
    "}\n"
static const char hand_kmeans[] = HAND_KMEANS;
/* The additions and products of the row kernel. */
static const char hand_kmeans_exact[] = "#pragma OPENCL FP_CONTRACT OFF\n" HAND_KMEANS;

#define HAND_BLACK_SCHOLES                                                                                             \
    "float tail(float d)\n"                                                                                            \
    "{\n"                                                                                                              \
    "    float t = 1.0f / (1.0f + 0.2316419f * d);\n"                                                                  \
    "    float s = (((1.330274429f * t - 1.821255978f) * t + 1.781477937f) * t - 0.356563782f) * t;\n"                 \
    "    s = (s + 0.319381530f) * t;\n"                                                                                \
    "    return 0.3989422804f * exp(-0.5f * d * d) * s;\n"                                                             \
    "}\n"                                                                                                              \
    "__kernel void hand(__global const float *x, __global const float *y, __global const float *z,\n"                  \
    "                   __global const float *c, __global int *out)\n"                                                 \
    "{\n"                                                                                                              \
    "    size_t i = get_global_id(0);\n"                                                                               \
    "    float s = x[i], k = y[i], t = z[i], r = 0.02f, v = 0.3f, q = v * sqrt(t);\n"                                  \
    "    float d1 = (log(s / k) + (r + 0.5f * v * v) * t) / q, d2 = d1 - q, p = k * exp(-r * t);\n"                    \
    "    float t1 = tail(fabs(d1)), t2 = tail(fabs(d2));\n"                                                            \
    "    float n1 = d1 < 0 ? t1 : 1 - t1, n2 = d2 < 0 ? t2 : 1 - t2;\n"                                                \
    "    out[i] = as_int(s * n1 - p * n2) + as_int(p * (1 - n2) - s * (1 - n1));\n"                                    \
    "}\n"
static const char hand_black_scholes[] = HAND_BLACK_SCHOLES;
static const char hand_black_scholes_exact[] = "#pragma OPENCL FP_CONTRACT OFF\n" HAND_BLACK_SCHOLES;

static int by_length(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median, and not the best: a job is measured by all of its tasks. */
static double seconds_of(const lab_program *program, const lab_argument *arguments, size_t count, size_t global,
                         const size_t *local)
{
    double seconds[RUNS], sum = 0;
    size_t runs = 0;
    while (runs < RUNS && (runs < RUNS_LEAST || sum < ENOUGH_SECONDS)) {
        seconds[runs] = lab_run(program, arguments, count, 1, &global, local);
        sum += seconds[runs++];
    }
    qsort(seconds, runs, sizeof *seconds, by_length);
    return seconds[runs / 2];
}

static void by_hand(const lab_device *device, const char *name, const char *source, const char *options, float *data,
                    size_t rows, const float *centres)
{
    lab_program program = lab_build_plain(device, source, options, "hand");
    int *out = calloc(rows, sizeof *out);
    const lab_argument arguments[] = {
        {LAB_IN, data, rows * 4}, {LAB_IN, data + rows, rows * 4}, {LAB_IN, data + 2 * rows, rows * 4},
        {LAB_IN, (void *)centres, K * 3 * 4}, {LAB_OUT, out, rows * 4}};
    printf("  %-18s by hand, %s: %.0f M rows/s\n", name, options[0] != '\0' ? options : "no options",
           (double)rows / 1e6 / seconds_of(&program, arguments, 5, rows, NULL));
    fflush(stdout);
    free(out);
    lab_drop(&program);
}

typedef struct kernel_case {
    const char *name, *source;
    unsigned record_size, columns, keys, width;
    const void *params;
    size_t params_size;
} kernel_case;

static void row_kernel(const lab_device *device, const kernel_case *c, void *records, size_t rows)
{
    printf("  %-18s lanes x items:", c->name);
    const size_t blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS, table = blocks * c->keys * c->width * 8;
    uint64_t *tables = calloc(1, table), first_row = 0, row_count = rows;
    uint32_t fault[8] = {0};
    for (unsigned lanes = 1; lanes <= 16; lanes *= 4)
        for (int many = 0; many < 2; many++) {
            const size_t local = many ? 64 / lanes : 1;
            lab_job job = {.form = LAB_ROWS, .source = c->source, .lanes = lanes, .group = (unsigned)local,
                           .record_size = c->record_size, .column_count = c->columns, .dense_keys = c->keys,
                           .dense_width = c->width, .block_rows = BLOCK_ROWS};
            for (unsigned column = 0; column < c->columns; column++)
                job.offsets[column] = column * 4;
            lab_program program = lab_build(device, &job, "mr_rows");
            const lab_argument arguments[] = {
                {LAB_IN, records, rows * c->record_size}, {LAB_IN, (void *)c->params, c->params_size},
                {LAB_NUMBER, &first_row, 8}, {LAB_NUMBER, &row_count, 8},
                {LAB_OUT, tables, table}, {LAB_OUT, fault, sizeof fault}};
            memset(tables, 0, table);
            const double seconds = seconds_of(&program, arguments, 6, blocks * local, &local);
            printf(" %ux%zu %.0f", lanes, local, (double)rows / 1e6 / seconds);
            fflush(stdout);
            lab_drop(&program);
        }
    printf(" M rows/s\n");
    free(tables);
}

int main(int argc, char **argv)
{
    const size_t rows = (argc > 1 ? strtoul(argv[1], NULL, 10) : 8) << 20;
    const char *only = argc > 2 ? argv[2] : "";
    static struct {
        struct kmeans_params head;
        float more[K * 3];
    } kmeans = {.head = {.k = K, .dim = 3}};
    static const struct black_scholes_params options = {.rate = 0.02, .volatility = 0.3};
    float *data = aligned_alloc(4096, rows * 12);
    size_t count;
    if (data == NULL)
        return 1;
    uint32_t random = 1;
    for (size_t i = 0; i < rows * 3; i++)
        data[i] = 1.0f + (float)((random = random * 1664525u + 1013904223u) >> 8) / 1e6f;
    memcpy(kmeans.head.centre, data, K * 12);
    const kernel_case cases[] = {
        {"kmeans", kmeans_assign_source, 12, 3, K, 4, &kmeans, sizeof kmeans},
        {"black_scholes", black_scholes_price_source, 12, 3, 1, SUMS, &options, sizeof options},
        {"linear_regression", regression_sums_source, 8, 2, 1, 6, &options, sizeof options},
        {"histogram", histogram_count_source, 1, 1, 256, 1, &options, sizeof options},
        {"pi", pi_term_source, 0, 0, 1, 1, &options, sizeof options},
    };
    const lab_device *devices = lab_devices(&count);
    for (size_t d = 0; d < count; d++) {
        printf("%s\n", devices[d].name);
        if (strstr("kmeans", only) != NULL) {
            by_hand(&devices[d], "kmeans", hand_kmeans, "", data, rows, kmeans.head.centre);
            by_hand(&devices[d], "kmeans, exact", hand_kmeans_exact, "", data, rows, kmeans.head.centre);
        }
        if (strstr("black_scholes", only) != NULL) {
            by_hand(&devices[d], "black_scholes", hand_black_scholes, "", data, rows, data);
            by_hand(&devices[d], "black_scholes", hand_black_scholes, "-cl-fast-relaxed-math", data, rows, data);
            by_hand(&devices[d], "black_scholes, ex.", hand_black_scholes_exact,
                    "-cl-fp32-correctly-rounded-divide-sqrt", data, rows, data);
        }
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
            if (strstr(cases[c].name, only) != NULL)
                row_kernel(&devices[d], &cases[c], data, rows);
    }
    free(data);
    return 0;
}
