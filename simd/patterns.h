/* patterns.h: the compiled form of a set of byte patterns, and the check that every level shares.
 * Promise   The blob has no pointers; offsets count from its first byte. All levels find exactly the same.
 * Threads   Pure functions; a blob is read-only once compiled.
 *
 *   header | bitmap 0 | starts 0 | entries 0 | bitmap 1 | starts 1 | entries 1 | the patterns' bytes
 *
 * Table 0 holds the patterns of 4 bytes and more by their first 4 bytes, table 1 the shorter ones by as many bytes as
 * the shortest has. hash(first bytes) -> a bit: set if some pattern has that hash; its upper part -> a run of entries.
 */
#ifndef MR__PATTERNS_H
#define MR__PATTERNS_H

#include <stdbool.h>
#include <string.h>

#include "kernels.h"

enum { MR__PATTERN_COLUMNS = 4 };   /* leading bytes that the candidate filter looks at, at most */

typedef struct mr__pattern_entry {
    uint64_t head, mask;        /* the first 8 bytes as they are loaded, and which of them count */
    uint64_t text;              /* offset of the bytes in the blob */
    uint32_t size, pattern;
} mr__pattern_entry;

typedef struct mr__pattern_table {
    uint32_t count;             /* of entries; 0: not there */
    uint32_t key_mask;          /* which of 4 loaded bytes are the key */
    uint32_t bitmap_bits, start_bits;   /* log2 of their lengths */
    uint64_t bitmap, starts, entries;   /* offsets; starts has one more element, so that each run has an end */
} mr__pattern_table;

typedef struct mr__patterns {
    /* Filter of AVX-512: bit b of byte[c][low 7 bits of a byte]: that byte can be byte c of a pattern in bucket b. */
    uint8_t byte[MR__PATTERN_COLUMNS][128] __attribute__((aligned(64)));
    /* The same by half bytes, twice for 32-byte registers: a byte passes if it does by its low and its high half. */
    uint8_t low[MR__PATTERN_COLUMNS][32], high[MR__PATTERN_COLUMNS][32];
    uint32_t columns;           /* leading bytes that the filter looks at: no more than the shortest pattern has */
    mr__pattern_table table[2];
} mr__patterns;

#define MR__PATTERNS(level)                                                                                            \
    size_t mr__patterns_##level(const void *blob, const uint8_t *data, size_t size, size_t *position,                  \
                                mr_match *matches, size_t max);

MR__PATTERNS(scalar)
MR__PATTERNS(avx2)
MR__PATTERNS(avx512)
MR__PATTERNS(neon)

static inline uint32_t mr__pattern_key(const mr__pattern_table *table, const uint8_t *bytes)
{
    uint32_t key;
    memcpy(&key, bytes, sizeof key);
    return key & table->key_mask;
}

static inline uint32_t mr__pattern_hash(uint32_t key, uint32_t bits)
{
    return key * 0x9e3779b1u >> (32 - bits);
}

/* Whether the bytes may begin with a pattern. Reads 4 bytes. */
static inline bool mr__pattern_possible(const mr__patterns *patterns, const uint8_t *bytes)
{
    bool possible = false;
    for (int t = 0; t < 2; t++)
        if (patterns->table[t].count > 0) {
            const mr__pattern_table *table = &patterns->table[t];
            const uint8_t *bitmap = (const uint8_t *)patterns + table->bitmap;
            const uint32_t bit = mr__pattern_hash(mr__pattern_key(table, bytes), table->bitmap_bits);
            possible |= bitmap[bit >> 3] >> (bit & 7) & 1;
        }
    return possible;
}

/* Appends the patterns that begin at data[at], ascending; false, with nothing appended, if there is no room for all. */
bool mr__patterns_confirm(const mr__patterns *patterns, const uint8_t *data, size_t size, size_t at, mr_match *matches,
                          size_t *count, size_t max);

#endif
