/* patterns_avx2.c: the filter by half bytes, 16 entries a lookup. */
#include "patterns.h"

#include <immintrin.h>

#define LEVEL(name) name##_avx2

static inline uint32_t candidates32(const mr__patterns *patterns, uint32_t columns, const uint8_t *bytes)
{
    const __m256i half = _mm256_set1_epi8(15);
    __m256i buckets = _mm256_set1_epi8(-1);
    for (uint32_t c = 0; c < columns; c++) {
        const __m256i text = _mm256_loadu_si256((const __m256i *)(bytes + c));
        const __m256i low = _mm256_load_si256((const __m256i *)patterns->low[c]);
        const __m256i high = _mm256_load_si256((const __m256i *)patterns->high[c]);
        buckets = _mm256_and_si256(buckets, _mm256_shuffle_epi8(low, _mm256_and_si256(text, half)));
        buckets = _mm256_and_si256(buckets,
                                   _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(text, 4), half)));
    }
    return ~(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(buckets, _mm256_setzero_si256()));
}

static inline uint64_t candidates64(const mr__patterns *patterns, uint32_t columns, const uint8_t *bytes)
{
    return candidates32(patterns, columns, bytes) | (uint64_t)candidates32(patterns, columns, bytes + 32) << 32;
}

#include "patterns_body.h"
