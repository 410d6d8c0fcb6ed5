/* neon_check.c: what is built for AArch64 (NEON) equals scalar: spans, boundaries, folding, patterns and row kernels. A
 * program without cmocka, because neon_cross.sh builds it with a cross-compiler and runs it in an emulator.
 * Exit status: 0 equal, 1 different (the first difference is printed). */
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"
#include "rows.h"
#include "text_cases.h"

#define ROW_FUNCTIONS(name)                                                                                            \
    void name##_scalar(const mr_block *, mr_emitter *, const void *);                                                  \
    void name##_neon(const mr_block *, mr_emitter *, const void *);
ROW_FUNCTIONS(rows_add)
ROW_FUNCTIONS(rows_add_row)
ROW_FUNCTIONS(rows_math)
ROW_FUNCTIONS(rows_regression)
ROW_FUNCTIONS(rows_histogram)
ROW_FUNCTIONS(rows_narrow)

static size_t checks;

/* The library's end of a bad key. */
mr_status mr__emit_bad_dense(mr_emitter *out, uint64_t key)
{
    return out->status = MR_BAD_INPUT;
}

static void expect(bool equal, const char *what, const char *texture, size_t size)
{
    checks++;
    if (equal)
        return;
    printf("%s differs: %s, %zu bytes or rows\n", what, texture, size);
    exit(1);
}

static void check_text(const mr__kernels *scalar, const mr__kernels *neon, text_case *text, const char *texture)
{
    static uint32_t start[2][CASE_ROOM], stop[2][CASE_ROOM];
    static uint8_t folded[2][CASE_ROOM];
    for (uint32_t mode = 0; mode < 3; mode++)
        for (size_t max = 1; max <= CASE_MAX; max *= 8) {
            size_t consumed[2];
            const size_t want =
                scalar->spans(text->data, text->size, mode, start[0], stop[0], max, &consumed[0]);
            const size_t got = neon->spans(text->data, text->size, mode, start[1], stop[1], max, &consumed[1]);
            expect(got == want && consumed[0] == consumed[1] && memcmp(start[0], start[1], want * 4) == 0 &&
                       memcmp(stop[0], stop[1], want * 4) == 0,
                   "spans", texture, text->size);
        }
    for (int unit = MR_LINES; unit <= MR_WORDS; unit++) {
        expect(scalar->first_boundary(text->data, text->size, (mr_unit)unit) ==
                   neon->first_boundary(text->data, text->size, (mr_unit)unit),
               "first_boundary", texture, text->size);
        expect(scalar->last_boundary(text->data, text->size, (mr_unit)unit) ==
                   neon->last_boundary(text->data, text->size, (mr_unit)unit),
               "last_boundary", texture, text->size);
    }
    scalar->fold(folded[0], text->data, text->size);
    neon->fold(folded[1], text->data, text->size);
    expect(memcmp(folded[0], folded[1], text->size) == 0, "fold", texture, text->size);
    uint64_t counts[2][256] = {{0}};
    scalar->count_bytes(text->data, text->size, text->data, counts[0]);
    neon->count_bytes(text->data, text->size, text->data, counts[1]);
    expect(memcmp(counts[0], counts[1], sizeof counts[0]) == 0, "count_bytes", texture, text->size);
}

static void check_patterns(const mr__kernels *scalar, const mr__kernels *neon, text_case *text, const char *texture)
{
    enum { PATTERNS = 40, MATCHES = 4096 };
    static mr_match want[MATCHES], got[MATCHES];
    mr_slice patterns[PATTERNS];
    for (size_t p = 0; p < PATTERNS; p++)
        patterns[p] = (mr_slice){text->data + p * 7 % (text->size - 12), 1 + p % 3 * 4 + p % 2};
    void *blob = aligned_alloc(64, mr_patterns_size(patterns, PATTERNS));
    if (blob == NULL)
        exit(1);
    mr_patterns_compile(patterns, PATTERNS, blob);
    size_t position[2] = {0, 0}, count;
    do {
        count = scalar->patterns(blob, text->data, text->size, &position[0], want, MATCHES);
        expect(neon->patterns(blob, text->data, text->size, &position[1], got, MATCHES) == count &&
                   position[0] == position[1] && memcmp(want, got, count * sizeof *want) == 0,
               "patterns", texture, text->size);
    } while (count > 0);
    free(blob);
}

static void check_row(const char *name, mr_row_fn scalar, mr_row_fn neon, const void *params, uint64_t keys,
                      uint32_t width)
{
    enum { ROWS = 1024 };
    static float points[3][ROWS] __attribute__((aligned(64)));
    const void *const columns[] = {points[0], points[1], points[2]};
    uint64_t random = 3;
    for (size_t c = 0; c < 3; c++)
        for (size_t row = 0; row < ROWS; row++)
            points[c][row] = (float)(next_random(&random) >> 40) / 65536.0f - 100.0f;
    for (size_t rows = 0; rows <= ROWS; rows = rows * 5 / 4 + 1) {
        uint64_t want[256] = {0}, got[256] = {0};
        const mr_block block = {.first_row = 77, .rows = rows, .columns = columns, .column_count = 3};
        mr_emitter emitter = {.dense = want, .dense_keys = keys, .dense_width = width};
        scalar(&block, &emitter, params);
        emitter.dense = got;
        neon(&block, &emitter, params);
        expect(memcmp(want, got, sizeof want) == 0, name, "points", rows);
    }
}

int main(void)
{
    static text_case text;
    const mr__kernels *scalar = mr__kernel_rows[MR__SCALAR], *neon = mr__kernel_rows[MR__NEON];
    for (size_t t = 0; t < TEXTURES; t++)
        for (size_t s = 0; s < CASE_SIZES; s++)
            for (size_t shift = 0; shift < 64; shift += 13) {
                make_case(&text, &textures[t], case_sizes[s], shift, s * 64 + shift + t);
                check_text(scalar, neon, &text, textures[t].name);
                if (text.size > 20)
                    check_patterns(scalar, neon, &text, textures[t].name);
            }
    struct nearest_params params = {.count = 7};
    for (int i = 0; i < 3 * params.count; i++)
        params.centre[i] = (float)(i * 37 % 200 - 100);
    check_row("rows_add", rows_add_scalar, rows_add_neon, &params, 7, 5);
    check_row("rows_add_row", rows_add_row_scalar, rows_add_row_neon, &params, 7, 5);
    check_row("rows_math", rows_math_scalar, rows_math_neon, NULL, 1, 8);
    check_row("rows_regression", rows_regression_scalar, rows_regression_neon, NULL, 1, 6);
    check_row("rows_histogram", rows_histogram_scalar, rows_histogram_neon, NULL, 256, 1);
    check_row("rows_narrow", rows_narrow_scalar, rows_narrow_neon, NULL, 1, 8);
    printf("neon equals scalar: %zu checks\n", checks);
    return 0;
}
