/* tokenise_avx512.c: text kernels of AVX-512. Bit positions come from VBMI2's byte compress: the numbers 0..63 squeezed
 * by the mask, widened 16 at a time. */
#include "tokenise.h"

#include <immintrin.h>
#include <string.h>

#define LEVEL(name) name##_avx512

static inline __mmask64 in_range(__m512i bytes, char first, char count)
{
    return _mm512_cmplt_epu8_mask(_mm512_sub_epi8(bytes, _mm512_set1_epi8(first)), _mm512_set1_epi8(count));
}

static inline uint64_t blanks64(const uint8_t *bytes)
{
    const __m512i part = _mm512_loadu_si512(bytes);
    return in_range(part, '\t', 5) | _mm512_cmpeq_epi8_mask(part, _mm512_set1_epi8(' '));
}

static inline uint64_t letters64(const uint8_t *bytes)
{
    return in_range(_mm512_or_si512(_mm512_loadu_si512(bytes), _mm512_set1_epi8(0x20)), 'a', 26);
}

static inline uint64_t newlines64(const uint8_t *bytes)
{
    return _mm512_cmpeq_epi8_mask(_mm512_loadu_si512(bytes), _mm512_set1_epi8('\n'));
}

static const uint8_t numbers[64] __attribute__((aligned(64))) = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

static inline size_t positions64(uint64_t mask, uint32_t base, uint32_t *to)
{
    const size_t count = (size_t)_mm_popcnt_u64(mask);
    const __m512i origin = _mm512_set1_epi32((int)base);
    __m512i squeezed = _mm512_maskz_compress_epi8(mask, _mm512_load_si512(numbers));
    for (size_t done = 0;;) {
        const __m512i wide = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(squeezed));
        _mm512_storeu_si512(to + done, _mm512_add_epi32(wide, origin));
        if ((done += 16) >= count)
            return count;
        squeezed = _mm512_alignr_epi64(squeezed, squeezed, 2);
    }
}

#include "tokenise_body.h"
