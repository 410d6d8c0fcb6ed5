/* patterns_avx512.c: the filter by whole bytes: VBMI looks up 7 bits in 128 entries, so half bytes are not needed. */
#include "patterns.h"

#include <immintrin.h>

#define LEVEL(name) name##_avx512

static inline uint64_t candidates64(const mr__patterns *patterns, uint32_t columns, const uint8_t *bytes)
{
    __m512i buckets = _mm512_set1_epi8(-1);
    for (uint32_t c = 0; c < columns; c++) {
        const __m512i lower = _mm512_load_si512(patterns->byte[c]), upper = _mm512_load_si512(patterns->byte[c] + 64);
        buckets = _mm512_and_si512(buckets, _mm512_permutex2var_epi8(lower, _mm512_loadu_si512(bytes + c), upper));
    }
    return _mm512_test_epi8_mask(buckets, buckets);
}

#include "patterns_body.h"
