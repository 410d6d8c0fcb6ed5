/* kernels.c: the table. A level takes from a lower one what it has no faster way for. */
#include "kernels.h"

#include "count_bytes.h"
#include "patterns.h"
#include "tokenise.h"
#include "transpose.h"

#define TEXT(level)                                                                                                    \
    .spans = mr__spans_##level, .first_boundary = mr__first_boundary_##level,                                          \
    .last_boundary = mr__last_boundary_##level, .fold = mr__fold_##level
#define TRANSPOSE(level)                                                                                               \
    .transpose = mr__transpose_##level, .plan_tiles = mr__plan_tiles_##level,                                          \
    .transpose_tile = mr__transpose_tile_##level

static const mr__kernels scalar = {
    .name = "scalar", TEXT(scalar), .count_bytes = mr__count_bytes_scalar,
    TRANSPOSE(scalar), .patterns = mr__patterns_scalar};
#if defined(__x86_64__)
static const mr__kernels sse2 = {
    .name = "sse2", TEXT(sse2), .count_bytes = mr__count_bytes_scalar,
    TRANSPOSE(scalar), .patterns = mr__patterns_scalar};
static const mr__kernels avx2 = {
    .name = "avx2", TEXT(avx2), .count_bytes = mr__count_bytes_scalar,
    TRANSPOSE(scalar), .patterns = mr__patterns_avx2};
static const mr__kernels avx512 = {
    .name = "avx512", TEXT(avx512), .count_bytes = mr__count_bytes_avx512,
    TRANSPOSE(avx512), .patterns = mr__patterns_avx512};
#elif defined(__aarch64__)
static const mr__kernels neon = {
    .name = "neon", TEXT(neon), .count_bytes = mr__count_bytes_scalar,
    TRANSPOSE(scalar), .patterns = mr__patterns_neon};
#endif

const mr__kernels *const mr__kernel_rows[MR__LEVELS] = {
    [MR__SCALAR] = &scalar,
#if defined(__x86_64__)
    [MR__SSE2] = &sse2,
    [MR__AVX2] = &avx2,
    [MR__AVX512] = &avx512,
#elif defined(__aarch64__)
    [MR__NEON] = &neon,
#endif
};

const mr__kernels *mr__kernels_current(void)
{
    return mr__kernel_rows[mr__level_current()];
}

size_t mr__column_width(mr_column_type type)
{
    switch (type) {
    case MR_COLUMN_U8:
        return 1;
    case MR_COLUMN_I16:
        return 2;
    case MR_COLUMN_I32:
    case MR_COLUMN_U32:
    case MR_COLUMN_F32:
        return 4;
    default:
        return 8;
    }
}
