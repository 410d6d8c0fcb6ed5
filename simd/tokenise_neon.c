/* tokenise_neon.c: text kernels of AArch64. NEON has no movemask: the bit of each lane's place is kept, and pairwise
 * additions gather 64 of them. */
#include "tokenise.h"

#include <arm_neon.h>
#include <string.h>

#define LEVEL(name) name##_neon

static inline uint64_t mask_of(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    const uint8x16_t place = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t ab = vpaddq_u8(vandq_u8(a, place), vandq_u8(b, place));
    const uint8x16_t cd = vpaddq_u8(vandq_u8(c, place), vandq_u8(d, place));
    const uint8x16_t abcd = vpaddq_u8(ab, cd);
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(abcd, abcd)), 0);
}

static inline uint8x16_t in_range(uint8x16_t bytes, uint8_t first, uint8_t count)
{
    return vcltq_u8(vsubq_u8(bytes, vdupq_n_u8(first)), vdupq_n_u8(count));
}

static inline uint8x16_t blanks16(uint8x16_t bytes)
{
    return vorrq_u8(in_range(bytes, '\t', 5), vceqq_u8(bytes, vdupq_n_u8(' ')));
}

static inline uint8x16_t letters16(uint8x16_t bytes)
{
    return in_range(vorrq_u8(bytes, vdupq_n_u8(0x20)), 'a', 26);
}

static inline uint8x16_t newlines16(uint8x16_t bytes)
{
    return vceqq_u8(bytes, vdupq_n_u8('\n'));
}

static inline uint64_t blanks64(const uint8_t *bytes)
{
    return mask_of(blanks16(vld1q_u8(bytes)), blanks16(vld1q_u8(bytes + 16)), blanks16(vld1q_u8(bytes + 32)),
                   blanks16(vld1q_u8(bytes + 48)));
}

static inline uint64_t letters64(const uint8_t *bytes)
{
    return mask_of(letters16(vld1q_u8(bytes)), letters16(vld1q_u8(bytes + 16)), letters16(vld1q_u8(bytes + 32)),
                   letters16(vld1q_u8(bytes + 48)));
}

static inline uint64_t newlines64(const uint8_t *bytes)
{
    return mask_of(newlines16(vld1q_u8(bytes)), newlines16(vld1q_u8(bytes + 16)), newlines16(vld1q_u8(bytes + 32)),
                   newlines16(vld1q_u8(bytes + 48)));
}

#include "positions.h"
#include "tokenise_body.h"
