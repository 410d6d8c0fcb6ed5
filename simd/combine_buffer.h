/* combine_buffer.h: pairs combined in place.
 * Promise   Every pair that was accepted is in the table, combined with the others of its key, until clear().
 * Layout    private; bucket.h draws it.
 * Owner     The caller owns the buffer; long keys are copied into its arena.
 * Threads   One.
 * Cost      About one cache line a pair, two where values are no counts; a batch is prefetched, so that its misses
 *           overlap.
 * Failure   MR_NO_MEMORY. Not a failure: `accepted` < count, when the table is at its cap: flush it, and offer the
 *           rest. */
#ifndef MR__COMBINE_BUFFER_H
#define MR__COMBINE_BUFFER_H

#include "arena.h"
#include "budget.h"
#include "check.h"
#include "pair.h"

#include <millrace/app.h>

typedef struct mr__combine_rule {
    mr_combine combine;
    mr_type value;              /* MR_U64, MR_I64, MR_F64, MR_F64_VECTOR, MR_STRUCT */
    mr_combine_fn user;         /* MR_COMBINE_USER */
    const void *params;         /* user's */
} mr__combine_rule;

typedef struct mr__bucket_shape {
    uint32_t cells, value_bytes;
} mr__bucket_shape;

typedef struct mr__combine_buffer {
    mr__pair_layout layout;
    mr__combine_rule rule;
    mr__budget *budget;
    uint64_t cap;               /* bytes of buckets and arena that it may grow to */
    bool always_grow;           /* up to the cap even if combining does not pay: it is nobody's filter but the result */
    uint32_t skip_bits;         /* top bits of the hash that all its keys share, or that must not order the buckets */
    bool sized;                 /* a key's size lies in its cell */
    bool counts;                /* values are counts of 32 bits */
    mr__bucket_shape shape;
    uint8_t *buckets;
    uint8_t *cluster;           /* the buckets of one cluster, on their way while the table grows */
    size_t cluster_room;        /* bytes */
    size_t bucket_count, bucket_bytes, tail, first_buckets;
    size_t mapped;              /* bytes behind buckets, reserved in budget: (bucket_count + tail) * bucket_bytes */
    size_t used, grow_at;
    uint64_t offered;           /* pairs since the last clear */
    uint8_t *aligned;           /* room for a value on its way to the app's function; NULL: all lie aligned anyway */
    mr__arena arena;
    size_t arena_reserved;      /* bytes of the arena that are reserved in budget */
} mr__combine_buffer;

/* cap: bytes. The first table is small (L2-sized at most) and grows. layout->value_size: bytes of a value; for MR_COUNT
 * it is 8 here, though staged values are absent. skip_bits: 0 for a table over all partitions, whose buckets then lie
 * in the order of the partitions (mr__combine_buffer_next_of); the bits of the partition for a table of one. MR_COUNT
 * without always_grow: only counts come, values are NULL. */
void mr__combine_buffer_init(mr__combine_buffer *buffer, const mr__pair_layout *layout, const mr__combine_rule *rule,
                             mr__budget *budget, uint64_t cap, bool always_grow, uint32_t skip_bits);
void mr__combine_buffer_fini(mr__combine_buffer *buffer);

/* Offers `count` <= MR_BATCH staged pairs with their hashes. values: count * value_size bytes, NULL to count 1 each
 * (MR_COUNT). *accepted: how many went in. */
mr_status mr__combine_batch(mr__combine_buffer *buffer, const mr__staged *keys, const uint64_t *hashes,
                            const uint8_t *values, uint32_t count, uint32_t *accepted, mr__error *error);

/* Forgets all pairs; keeps the buckets if keep_buckets (heavy keys come back at once), else gives the memory back. */
void mr__combine_buffer_clear(mr__combine_buffer *buffer, bool keep_buckets);

/* Where a walk is; {0} is the first cell of all. */
typedef struct mr__cell_cursor {
    size_t bucket;
    uint32_t index;
    uint64_t first, behind;     /* homes of the partition */
    uint64_t count;             /* what pair->value points to in a table of counts: valid until the next call */
} mr__cell_cursor;

/* Walks all pairs in the order of the buckets; false at the end. */
bool mr__combine_buffer_next(const mr__combine_buffer *buffer, mr__cell_cursor *cursor, mr__pair *pair);
/* Walks the pairs of one partition of 2^partition_bits, of a table with skip_bits 0. Any number of threads may walk a
 * table that nobody writes to. Cost: the buckets of that partition only. */
mr__cell_cursor mr__combine_buffer_partition(const mr__combine_buffer *buffer, uint32_t partition,
                                           uint32_t partition_bits);
bool mr__combine_buffer_next_of(const mr__combine_buffer *buffer, mr__cell_cursor *cursor, mr__pair *pair);

/* Is combining worth while? false when a table that has grown past the caches took in hardly more pairs than keys. */
bool mr__combine_buffer_pays(const mr__combine_buffer *buffer);

/* Numbered invariants of combine_buffer.c; for tests. */
mr_status mr__combine_buffer_check(const mr__combine_buffer *buffer, mr__error *error);

/* Combines one value into another by the rule. */
void mr__combine_values(const mr__combine_rule *rule, uint32_t value_size, void *into, const void *value);

#endif
