/* pair.h: how a pair lies in a chunk, and its hash.
 *
 *     variable keys                 [key size u32][key][value]
 *     fixed keys                    [key][value]
 *     variable keys and values      [key size u32][value size u32][key][value]      (the text that a reduce wrote)
 *
 * Nothing is aligned and nothing is padded: pairs are written and read in order, and memory and disk hold only bytes
 * that mean something. */
#ifndef MR__PAIR_H
#define MR__PAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <millrace/emit.h>

typedef struct mr__pair_layout {
    uint32_t key_size;      /* of every key; 0: keys vary */
    uint32_t value_size;    /* of every value */
    uint32_t key_suffix;    /* last bytes of a key that take no part in its partition */
    bool value_varies;      /* values vary too; key_size and value_size are 0 then */
} mr__pair_layout;

typedef struct mr__pair {
    const uint8_t *key;
    const uint8_t *value;
    uint32_t key_size, value_size;
} mr__pair;

static inline size_t mr__pair_bytes(const mr__pair_layout *layout, size_t key_size, size_t value_size)
{
    if (layout->value_varies)
        return 8 + key_size + value_size;
    return (layout->key_size != 0 ? 0 : 4) + key_size + layout->value_size;
}

/* Reads the pair at `at`; returns the address behind it. */
static inline const uint8_t *mr__pair_read(const mr__pair_layout *layout, const uint8_t *at, mr__pair *pair)
{
    if (layout->key_size != 0) {
        pair->key_size = layout->key_size;
        pair->value_size = layout->value_size;
    } else if (!layout->value_varies) {
        memcpy(&pair->key_size, at, 4);
        pair->value_size = layout->value_size;
        at += 4;
    } else {
        memcpy(&pair->key_size, at, 4);
        memcpy(&pair->value_size, at + 4, 4);
        at += 8;
    }
    pair->key = at;
    pair->value = at + pair->key_size;
    return pair->value + pair->value_size;
}

/* Writes a pair of mr__pair_bytes() bytes; returns the address behind it. */
static inline uint8_t *mr__pair_write(const mr__pair_layout *layout, uint8_t *at, const mr__pair *pair)
{
    if (layout->key_size == 0) {
        memcpy(at, &pair->key_size, 4);
        at += 4;
    }
    if (layout->value_varies) {
        memcpy(at, &pair->value_size, 4);
        at += 4;
    }
    memcpy(at, pair->key, pair->key_size);
    at += pair->key_size;
    memcpy(at, pair->value, pair->value_size);
    return at + pair->value_size;
}

/* ---- hash ----------------------------------------------------------------------------------------------------------
 * The top MR__PARTITION_BITS bits choose the partition, the low bits the slot in a table, bits 32.. are the tag. It is
 * the same at every vector level and on every rank. Short keys: one 64x64 -> 128 bit multiplication folded by xor, as
 * in wyhash; long ones: XXH3. */

enum { MR__PARTITION_BITS = 12 };

static inline uint64_t mr__hash_short(const uint64_t head[2], uint32_t size)
{
    const unsigned __int128 product = (unsigned __int128)(head[0] ^ 0x9e3779b97f4a7c15u ^ ((uint64_t)size << 56)) *
                                      (head[1] ^ 0xe7037ed1a0b428dbu);
    const uint64_t folded = (uint64_t)product ^ (uint64_t)(product >> 64);
    return folded * 0xff51afd7ed558ccdu ^ (folded >> 32);
}

uint64_t mr__hash_bytes(const void *key, size_t size);      /* any size; equals mr__hash_short for short keys */
/* Hash of a staged key; with a suffix the partition bits come from the key without it. */
uint64_t mr__hash_staged(const mr__staged *staged, uint32_t key_suffix);
uint64_t mr__hash_key(const void *key, size_t size, uint32_t key_suffix);

static inline uint32_t mr__partition_of(uint64_t hash, uint32_t partition_bits)
{
    return partition_bits == 0 ? 0 : (uint32_t)(hash >> (64 - partition_bits));
}

static inline const uint8_t *mr__staged_key(const mr__staged *staged)
{
    return staged->data != NULL ? staged->data : (const uint8_t *)staged->head;
}

/* Stages a key that is already safe to point to (no copy of long keys). Reads 16 bytes at `key`: they must be
 * readable. */
static inline void mr__stage_in_place(mr__staged *staged, const uint8_t *key, uint32_t size)
{
    if (size <= MR_INLINE_KEY) {
        uint64_t mask[2];
        memcpy(staged->head, key, 16);
        memcpy(mask, mr__key_masks[size], 16);
        staged->head[0] &= mask[0];
        staged->head[1] &= mask[1];
        staged->data = NULL;
    } else {
        memcpy(staged->head, key, 16);
        staged->data = key;
    }
    staged->size = size;
}

#endif
