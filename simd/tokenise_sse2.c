/* tokenise_sse2.c: text kernels of baseline x86-64. */
#include "tokenise.h"

#include <emmintrin.h>
#include <string.h>

#define LEVEL(name) name##_sse2

static inline uint64_t mask_of(__m128i bytes)
{
    return (uint32_t)_mm_movemask_epi8(bytes);
}

/* Bytes in first .. first + count - 1: after the subtraction an unsigned comparison, which SSE2 spells as a minimum. */
static inline __m128i in_range(__m128i bytes, char first, char count)
{
    const __m128i shifted = _mm_sub_epi8(bytes, _mm_set1_epi8(first));
    return _mm_cmpeq_epi8(_mm_min_epu8(shifted, _mm_set1_epi8((char)(count - 1))), shifted);
}

static inline uint64_t blanks64(const uint8_t *bytes)
{
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) {
        const __m128i part = _mm_loadu_si128((const __m128i *)bytes + i);
        const __m128i blank = _mm_or_si128(in_range(part, '\t', 5), _mm_cmpeq_epi8(part, _mm_set1_epi8(' ')));
        mask |= mask_of(blank) << 16 * i;
    }
    return mask;
}

static inline uint64_t letters64(const uint8_t *bytes)
{
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) {
        const __m128i part = _mm_loadu_si128((const __m128i *)bytes + i);
        mask |= mask_of(in_range(_mm_or_si128(part, _mm_set1_epi8(0x20)), 'a', 26)) << 16 * i;
    }
    return mask;
}

static inline uint64_t newlines64(const uint8_t *bytes)
{
    uint64_t mask = 0;
    for (int i = 0; i < 4; i++) {
        const __m128i part = _mm_loadu_si128((const __m128i *)bytes + i);
        mask |= mask_of(_mm_cmpeq_epi8(part, _mm_set1_epi8('\n'))) << 16 * i;
    }
    return mask;
}

#include "positions.h"
#include "tokenise_body.h"
