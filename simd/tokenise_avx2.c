/* tokenise_avx2.c: text kernels of AVX2 (with BMI for the bit positions). */
#include "tokenise.h"

#include <immintrin.h>
#include <string.h>

#define LEVEL(name) name##_avx2

static inline uint64_t mask_of(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

/* Bytes in first .. first + count - 1: after the subtraction an unsigned comparison, which AVX2 spells as a minimum. */
static inline __m256i in_range(__m256i bytes, char first, char count)
{
    const __m256i shifted = _mm256_sub_epi8(bytes, _mm256_set1_epi8(first));
    return _mm256_cmpeq_epi8(_mm256_min_epu8(shifted, _mm256_set1_epi8((char)(count - 1))), shifted);
}

static inline __m256i blanks32(__m256i bytes)
{
    return _mm256_or_si256(in_range(bytes, '\t', 5), _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(' ')));
}

static inline __m256i letters32(__m256i bytes)
{
    return in_range(_mm256_or_si256(bytes, _mm256_set1_epi8(0x20)), 'a', 26);
}

static inline uint64_t blanks64(const uint8_t *bytes)
{
    const __m256i *part = (const __m256i *)bytes;
    return mask_of(blanks32(_mm256_loadu_si256(part)), blanks32(_mm256_loadu_si256(part + 1)));
}

static inline uint64_t letters64(const uint8_t *bytes)
{
    const __m256i *part = (const __m256i *)bytes;
    return mask_of(letters32(_mm256_loadu_si256(part)), letters32(_mm256_loadu_si256(part + 1)));
}

static inline uint64_t newlines64(const uint8_t *bytes)
{
    const __m256i *part = (const __m256i *)bytes, newline = _mm256_set1_epi8('\n');
    return mask_of(_mm256_cmpeq_epi8(_mm256_loadu_si256(part), newline),
                   _mm256_cmpeq_epi8(_mm256_loadu_si256(part + 1), newline));
}

#include "positions.h"
#include "tokenise_body.h"
