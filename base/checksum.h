/* checksum.h: the sum of bytes that leave the process: messages, spilled extents.
 * Promise   XXH3 (64 bits), the same on every machine and vector level. A seed tells apart what has the same bytes.
 * Threads   Any.
 * Cost      38 GB/s in cache with AVX-512, 17 with SSE2, which is all that the library's plain call uses: it chooses by
 *           the machine it was built for. So the variant that asks the machine it runs on is called where the library
 *           has it (x86). From memory 14 against 6 GB/s. Who sums short keys needs none of this. */
#ifndef MR__CHECKSUM_H
#define MR__CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#ifdef MR__XXH_DISPATCH
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

static inline uint64_t mr__checksum(const void *bytes, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, size, seed);     /* or the macro that stands for the variant */
}

#endif
