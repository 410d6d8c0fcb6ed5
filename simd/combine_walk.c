/* combine_walk.c: the pairs of a combine buffer in the order of their buckets, all of them or those of a partition, and
 * the check of what combine_buffer.c promises.
 *
 * The buckets lie in the order of the hash, so a partition is a stretch of them. What was displaced from its last
 * bucket lies behind it, among pairs of the next partition: each home is looked at. Buckets come in sequence, but a
 * long key lies in the arena where it was met first, which is all over it; it is fetched before its bucket's turn. */
#include "bucket.h"
#include "combine_buffer.h"

enum {
    WALK_AHEAD = 8,             /* buckets whose long keys are fetched before they are asked for */
    LONG_USUAL = 40             /* bytes of a long key with its size, often */
};

static uint8_t *bucket_at(const mr__combine_buffer *buffer, size_t index)
{
    return buffer->buckets + index * buffer->bucket_bytes;
}

static size_t total_buckets(const mr__combine_buffer *buffer)
{
    return buffer->buckets != NULL ? buffer->bucket_count + buffer->tail : 0;
}

static void pair_at(const mr__combine_buffer *buffer, size_t bucket, uint32_t index, mr__cell_cursor *cursor,
                    mr__pair *pair)
{
    const uint64_t *key = key_of(bucket_at(buffer, bucket), index);
    pair->key = (const uint8_t *)key;
    if (is_long(buffer, key)) {
        pair->key = (const uint8_t *)(uintptr_t)key[0] + sizeof pair->key_size;
        memcpy(&pair->key_size, pair->key - sizeof pair->key_size, sizeof pair->key_size);
    } else {
        pair->key_size = buffer->sized ? (uint32_t)(key[1] >> 56) : KEY_BYTES;
    }
    pair->value = value_of(bucket_at(buffer, bucket), index, buffer->shape);
    pair->value_size = buffer->layout.value_size;
    if (buffer->counts) {
        cursor->count = 0;
        memcpy(&cursor->count, pair->value, sizeof(uint32_t));
        pair->value = (const uint8_t *)&cursor->count;
    }
    cursor->bucket = bucket;
    cursor->index = index + 1;
}

bool mr__combine_buffer_next(const mr__combine_buffer *buffer, mr__cell_cursor *cursor, mr__pair *pair)
{
    const size_t total = total_buckets(buffer);
    for (uint32_t index = cursor->index; cursor->bucket < total; cursor->bucket++, index = 0) {
        if (index == buffer->shape.cells || marks_of(bucket_at(buffer, cursor->bucket), buffer->shape)[index] == 0)
            continue;
        pair_at(buffer, cursor->bucket, index, cursor, pair);
        return true;
    }
    cursor->index = 0;
    return false;
}

mr__cell_cursor mr__combine_buffer_partition(const mr__combine_buffer *buffer, uint32_t partition,
                                             uint32_t partition_bits)
{
    const uint64_t first = (uint64_t)partition << (32 - partition_bits);
    return (mr__cell_cursor){.bucket = (size_t)(first * buffer->bucket_count >> 32), .first = first,
                             .behind = (uint64_t)(partition + 1) << (32 - partition_bits)};
}

/* Two lines each: a key may cross one. */
static void prefetch_long_keys(const mr__combine_buffer *buffer, const uint8_t *bucket)
{
    for (uint32_t i = 0, count = cells_in(bucket, buffer->shape); i < count; i++)
        if (is_long(buffer, key_of(bucket, i))) {
            const uint8_t *copy = (const uint8_t *)(uintptr_t)key_of(bucket, i)[0];
            __builtin_prefetch(copy);
            __builtin_prefetch(copy + LONG_USUAL);
        }
}

/* From the home of the partition's first hash to the end of the cluster that holds its last one: what is displaced lies
 * there, among pairs of the next partition. */
bool mr__combine_buffer_next_of(const mr__combine_buffer *buffer, mr__cell_cursor *cursor, mr__pair *pair)
{
    const size_t total = total_buckets(buffer);
    const size_t last_home = (size_t)((cursor->behind - 1) * buffer->bucket_count >> 32);
    uint32_t index = cursor->index;
    for (size_t b = cursor->bucket; b < total; b++, index = 0) {
        const uint8_t *bucket = bucket_at(buffer, b);
        if (index == 0 && b + WALK_AHEAD < total)
            prefetch_long_keys(buffer, bucket_at(buffer, b + WALK_AHEAD));
        for (const uint32_t cells = cells_in(bucket, buffer->shape); index < cells; index++) {
            const uint32_t home = home_of(hash_of(buffer, key_of(bucket, index)), 0);
            if (home < cursor->first || home >= cursor->behind)
                continue;
            pair_at(buffer, b, index, cursor, pair);
            return true;
        }
        if (b >= last_home && !is_full(bucket, buffer->shape))
            break;
    }
    cursor->bucket = total;
    cursor->index = 0;
    return false;
}

mr_status mr__combine_buffer_check(const mr__combine_buffer *buffer, mr__error *error)
{
    mr_status status = MR_OK;
    const shape sh = buffer->shape;
    size_t used = 0;
    mr__cell_cursor cursor = {0};
    mr__pair pair, other;
    while (mr__combine_buffer_next(buffer, &cursor, &pair)) {
        const uint64_t hash = mr__hash_key(pair.key, pair.key_size, buffer->layout.key_suffix);
        const uint64_t home_bits = home_of(hash, buffer->skip_bits);
        const size_t at = cursor.bucket, home = (size_t)(home_bits * buffer->bucket_count >> 32);
        used++;
        MR_CHECK(marks_of(bucket_at(buffer, at), sh)[cursor.index - 1] == mark_of(hash), MR_INTERNAL,
                 "C2 broken: a cell of bucket %zu has the mark of another key", at);
        for (size_t b = home; b != at; b++)
            MR_CHECK(b < at && is_full(bucket_at(buffer, b), sh), MR_INTERNAL,
                     "C2 broken: bucket %zu cannot be reached", at);
        mr__cell_cursor before = {.bucket = home};
        while (mr__combine_buffer_next(buffer, &before, &other) &&
               (before.bucket < at || (before.bucket == at && before.index < cursor.index)))
            MR_CHECK(other.key_size != pair.key_size || memcmp(other.key, pair.key, pair.key_size) != 0, MR_INTERNAL,
                     "C3 broken: buckets %zu and %zu hold the same key", before.bucket, at);
    }
    MR_CHECK(used == buffer->used && used <= buffer->grow_at, MR_INTERNAL,
             "C1 broken: %zu cells in use, counted %zu, at most %zu", used, buffer->used, buffer->grow_at);
    MR_CHECK(!buffer->counts || buffer->offered <= COUNTS_MOST, MR_INTERNAL, "C4 broken: %llu pairs",
             (unsigned long long)buffer->offered);
done:
    return status;
}
