/* patterns_neon.c: the filter by half bytes, 16 entries a lookup. */
#include "patterns.h"

#include <arm_neon.h>

#define LEVEL(name) name##_neon

static inline uint8x16_t buckets16(const mr__patterns *patterns, uint32_t columns, const uint8_t *bytes)
{
    uint8x16_t buckets = vdupq_n_u8(0xff);
    for (uint32_t c = 0; c < columns; c++) {
        const uint8x16_t text = vld1q_u8(bytes + c);
        buckets = vandq_u8(buckets, vqtbl1q_u8(vld1q_u8(patterns->low[c]), vandq_u8(text, vdupq_n_u8(15))));
        buckets = vandq_u8(buckets, vqtbl1q_u8(vld1q_u8(patterns->high[c]), vshrq_n_u8(text, 4)));
    }
    return buckets;
}

/* The bit of each lane's place is kept where a bucket is left; pairwise additions gather 64 of them. */
static inline uint64_t candidates64(const mr__patterns *patterns, uint32_t columns, const uint8_t *bytes)
{
    const uint8x16_t place = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t part[4];
    for (int i = 0; i < 4; i++) {
        const uint8x16_t buckets = buckets16(patterns, columns, bytes + 16 * i);
        part[i] = vandq_u8(vtstq_u8(buckets, buckets), place);
    }
    const uint8x16_t all = vpaddq_u8(vpaddq_u8(part[0], part[1]), vpaddq_u8(part[2], part[3]));
    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
}

#include "patterns_body.h"
