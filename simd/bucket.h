/* bucket.h: how keys and values lie in the table of a combine buffer.
 *
 *   bucket of counts:  [key][key][key][count u32 x 3][mark x 3, -]                           64 bytes, one cache line
 *   any other:         [key][key][key][key][key][value x 5][mark x 5, - - -]                128 bytes for 8-byte values
 *   mark:              8 bits of the hash, 0: the cell is empty; cells fill from the first to the last
 *   key, 16 bytes:     short: its bytes, zero-padded, and its size in the last byte, unless all keys have 16 bytes
 *                      long:  [address in the arena u64 | home u32 | low bits of the hash, 24 | 0xff]
 *
 * All marks of a bucket are compared in one word, without a branch: with one cell a slot, a key of the long tail was
 * found after one, two or three steps, and a mispredicted step costs as much as the memory access that it waits for.
 * Counts have a bucket of their own because the lines that the keys lie in decide how many of them the caches hold, and
 * how much fresh memory is touched: 21 bytes a key in place of 32. */
#ifndef MR__BUCKET_H
#define MR__BUCKET_H

#include "combine_buffer.h"

enum {
    KEY_BYTES = 16,
    CELLS = 5,
    COUNT_CELLS = 3
};
#define LONG_KEY 0xffu          /* in place of a size */
#define COUNTS_MOST UINT32_MAX  /* pairs that a table of counts takes in */
#define LOW_BITS 0x0101010101010101u
#define HIGH_BITS 0x8080808080808080u
#define INLINE static inline __attribute__((always_inline))

typedef mr__bucket_shape shape;     /* a constant in the code of the common ones */

#define COUNTS ((shape){COUNT_CELLS, 4})
#define USUAL ((shape){CELLS, 8})

INLINE size_t marks_offset(shape sh)
{
    return sh.cells * (KEY_BYTES + (size_t)sh.value_bytes);
}

INLINE size_t bucket_size(shape sh)
{
    return marks_offset(sh) + (sh.cells == COUNT_CELLS ? 4 : 8);
}

INLINE uint8_t *marks_of(const uint8_t *bucket, shape sh)
{
    return (uint8_t *)(uintptr_t)bucket + marks_offset(sh);
}

INLINE uint64_t *key_of(const uint8_t *bucket, uint32_t index)
{
    return (uint64_t *)(uintptr_t)(bucket + (size_t)index * KEY_BYTES);
}

INLINE uint8_t *value_of(const uint8_t *bucket, uint32_t index, shape sh)
{
    return (uint8_t *)(uintptr_t)bucket + sh.cells * KEY_BYTES + (size_t)index * sh.value_bytes;
}

INLINE uint64_t load_marks(const uint8_t *bucket, shape sh)
{
    uint64_t marks = 0;
    memcpy(&marks, marks_of(bucket, sh), sh.cells == COUNT_CELLS ? 4 : 8);
    return marks;
}

/* The high bit of each byte that is 0, among the marks. */
INLINE uint64_t zeros_among(uint64_t marks, shape sh)
{
    return ~(((marks & ~HIGH_BITS) + ~HIGH_BITS) | marks) & HIGH_BITS >> (64 - 8 * sh.cells);
}

INLINE bool is_full(const uint8_t *bucket, shape sh)
{
    return marks_of(bucket, sh)[sh.cells - 1] != 0;
}

INLINE uint32_t cells_in(const uint8_t *bucket, shape sh)
{
    return is_full(bucket, sh) ? sh.cells : (uint32_t)__builtin_ctzll(zeros_among(load_marks(bucket, sh), sh)) / 8;
}

/* ---- hashes and keys --------------------------------------------------------------------------------------------- */

/* Its order is the order of the hash behind the skipped bits. */
INLINE uint32_t home_of(uint64_t hash, uint32_t skip_bits)
{
    return (uint32_t)(hash >> (32 - skip_bits));
}

INLINE uint8_t mark_of(uint64_t hash)
{
    const uint8_t low = (uint8_t)hash;
    return (uint8_t)(low + (low == 0));
}

INLINE bool is_long(const mr__combine_buffer *buffer, const uint64_t *key)
{
    return buffer->sized && key[1] >> 56 == LONG_KEY;
}

/* The bits of the hash of a cell's key that home_of() and mark_of() want. */
INLINE uint64_t hash_of(const mr__combine_buffer *buffer, const uint64_t *key)
{
    if (is_long(buffer, key))
        return (uint64_t)(uint32_t)key[1] << (32 - buffer->skip_bits) | (key[1] >> 32 & 0xff);
    const uint32_t size = buffer->sized ? (uint32_t)(key[1] >> 56) : KEY_BYTES;
    if (buffer->layout.key_suffix != 0)
        return mr__hash_key(key, size, buffer->layout.key_suffix);
    const uint64_t head[2] = {key[0], buffer->sized ? key[1] & ~((uint64_t)LONG_KEY << 56) : key[1]};
    return mr__hash_short(head, size);
}

/* The key of a cell for a staged one, but for the address of a long one. true: it is short. */
INLINE bool stage_key(const mr__staged *staged, uint64_t hash, bool sized, uint32_t skip_bits, uint64_t key[2])
{
    key[0] = staged->head[0];
    key[1] = staged->head[1];
    if (!sized)
        return true;
    if (__builtin_expect(staged->size >= KEY_BYTES, 0)) {
        key[1] = (uint64_t)LONG_KEY << 56 | (hash & 0xffffff) << 32 | home_of(hash, skip_bits);
        return false;
    }
    key[1] |= (uint64_t)staged->size << 56;
    return true;
}

static inline bool same_long_key(const uint64_t *key, const mr__staged *staged)
{
    const uint8_t *copy = (const uint8_t *)(uintptr_t)key[0];
    uint32_t size;
    memcpy(&size, copy, sizeof size);
    return size == staged->size && memcmp(copy + sizeof size, mr__staged_key(staged), size) == 0;
}

#endif
