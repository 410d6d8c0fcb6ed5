/* pair.c: the hash of keys that are not short. */
#include "pair.h"

#include <xxhash.h>

uint64_t mr__hash_bytes(const void *key, size_t size)
{
    if (size <= MR_INLINE_KEY) {
        uint64_t head[2] = {0, 0};
        if (size > 0)           /* an empty key may be NULL */
            memcpy(head, key, size);
        return mr__hash_short(head, (uint32_t)size);
    }
    return XXH3_64bits(key, size);
}

uint64_t mr__hash_key(const void *key, size_t size, uint32_t key_suffix)
{
    const uint64_t hash = mr__hash_bytes(key, size);
    if (key_suffix == 0)
        return hash;
    const uint64_t partition_mask = ~(uint64_t)0 << (64 - MR__PARTITION_BITS);
    const uint64_t group = mr__hash_bytes(key, size >= key_suffix ? size - key_suffix : 0);
    return (group & partition_mask) | (hash & ~partition_mask);
}

uint64_t mr__hash_staged(const mr__staged *staged, uint32_t key_suffix)
{
    if (key_suffix == 0 && staged->data == NULL)
        return mr__hash_short(staged->head, staged->size);
    return mr__hash_key(mr__staged_key(staged), staged->size, key_suffix);
}
