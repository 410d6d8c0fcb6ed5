/* patterns_body.h: the search loop of one vector level, 64 positions a step. Included once by patterns_<level>.c, which
 * defines before it
 *   LEVEL(name)                                    name_<level>
 *   candidates64(patterns, columns, bytes)         a mask: where the filter lets a pattern begin; columns: a constant
 *                                                  1 to 4. Reads 64 + columns - 1 bytes. */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* The candidates whose next bytes have their bit in a bitmap. No branch on the bit: it would be mispredicted. */
ALWAYS_INLINE uint64_t tested(const mr__patterns *patterns, const uint8_t *bytes, uint64_t candidates)
{
    uint64_t passed = 0;
    for (; candidates != 0; candidates &= candidates - 1) {
        const int i = __builtin_ctzll(candidates);
        passed |= (uint64_t)mr__pattern_possible(patterns, bytes + i) << i;
    }
    return passed;
}

ALWAYS_INLINE size_t search(const mr__patterns *patterns, uint32_t columns, const uint8_t *data, size_t size,
                            size_t *position, mr_match *matches, size_t max)
{
    size_t count = 0;
    for (size_t at = *position; at < size; at += 64) {
        uint64_t mask = ~(uint64_t)0;
        if (size - at >= MR__PATTERN_COLUMNS)       /* else the loads would reach behind the padding */
            mask = candidates64(patterns, columns, data + at);
        if (size - at < 64)
            mask &= ((uint64_t)1 << (size - at)) - 1;
        for (mask = tested(patterns, data + at, mask); mask != 0; mask &= mask - 1) {
            const size_t here = at + (size_t)__builtin_ctzll(mask);
            if (!mr__patterns_confirm(patterns, data, size, here, matches, &count, max)) {
                *position = here;
                return count;
            }
        }
    }
    *position = size > *position ? size : *position;
    return count;
}

size_t LEVEL(mr__patterns)(const void *blob, const uint8_t *data, size_t size, size_t *position, mr_match *matches,
                           size_t max)
{
    const mr__patterns *patterns = blob;
    switch (patterns->columns) {
    case 1:
        return search(patterns, 1, data, size, position, matches, max);
    case 2:
        return search(patterns, 2, data, size, position, matches, max);
    case 3:
        return search(patterns, 3, data, size, position, matches, max);
    default:
        return search(patterns, 4, data, size, position, matches, max);
    }
}
