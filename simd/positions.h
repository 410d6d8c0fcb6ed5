/* positions.h: the positions of the set bits of a mask, for levels that have no compress instruction.
 * Eight at a time whether there are eight or not: the count decides few and predictable branches. (simdjson's
 * flatten_bits: G. Langdale, D. Lemire, "Parsing gigabytes of JSON per second", VLDB Journal 2019.) */
#ifndef MR__POSITIONS_H
#define MR__POSITIONS_H

#include <stddef.h>
#include <stdint.h>

/* Writes base + i for each set bit i, ascending; the elements up to the next multiple of 8 are overwritten as well. */
static inline size_t positions64(uint64_t mask, uint32_t base, uint32_t *to)
{
    const size_t count = (size_t)__builtin_popcountll(mask);
    for (size_t done = 0; done < count; done += 8)
        for (size_t i = 0; i < 8; i++) {
            /* a mask that ran empty gives bit 63: garbage behind the last position */
            to[done + i] = base + (uint32_t)__builtin_ctzll(mask | (uint64_t)1 << 63);
            mask &= mask - 1;
        }
    return count;
}

#endif
