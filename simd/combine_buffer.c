/* combine_buffer.c: combine pairs in place; grow first, spill late.
 *
 *   hashes of a batch -> prefetch the bucket of pair i + AHEAD -> probe pair i: its marks, then the key of the cell
 *
 * Open addressing by buckets: a key lies in its home bucket, or, when that is full, in the next one that is not. The
 * home is (the top half of the hash * buckets) >> 32: so the buckets lie in the order of the hash, a table may have any
 * number of them, and the pairs of a partition (the top bits of the hash) lie side by side. Behind the last bucket lies
 * a tail for what is displaced; nothing wraps around.
 *
 * Why it grows first and spills late: text has a few heavy keys and a long tail. A big table keeps the heavy keys; an
 * early spill sends them out again and again. Measured with a probe on 1 GiB of Zipf text: one big table 1.2-2.7 s, a
 * spill at 16 k entries 3.3 s. When a table at its cap took in hardly more pairs than keys (`pays`), a small one serves
 * as well.
 *
 * Growing is done in place, because fresh memory is the dearest thing here (on a virtual machine the first touch of a
 * page was measured at 0.25 GB/s, ten times slower than copying it): the pages stay, empty ones come behind them, and
 * the clusters (runs of full buckets, with the one behind them) move to their new places from the last to the first:
 *
 *     before  |..AAA...BB..|            new home of a key >= its old one, and clusters do not overlap in order, so a
 *     after   |....A..AA......B..B...|  cluster lands behind every bucket that is still to be moved
 *
 * Both passes are sequential. Small tables double, and early; large ones grow by half, and late, to touch less. New
 * pages are populated in one call: read first, as a probe does, each would be the zero page, and then be copied with an
 * interrupt to all cores.
 *
 * Rejected: one table for all workers (the heavy keys would be contended cache lines); a separate array of tags (two
 * lines a probe once the table is larger than L2); low bits as the index (then what a reduce task wants is scattered
 * over the whole table, and all of it had to be copied out by partition first: 140 MB for 3.5 M words); a small table
 * of heavy keys in front (they are in the caches anyway, and its misses are as unpredictable as they are many:
 * 30 % slower).
 *
 * C1  used counts the cells with a mark; used <= grow_at.
 * C2  A cell can be reached from its home bucket without crossing a bucket that is not full.
 * C3  No two cells hold the same key.
 * C4  A count of 32 bits cannot overflow: a table of counts takes in no more than 2^32 - 1 pairs between two clears. */
#include "combine_buffer.h"

#include <math.h>

#include "bucket.h"
#include "memory.h"

enum {
    FIRST_CELLS = 4096,         /* or as many as FIRST_BYTES hold: values may be large */
    FIRST_BYTES = 1 << 20,
    TAIL_BUCKETS = 64,
    PAYS_FROM = 1 << 18,
    DOUBLES_UP_TO = 64 << 20,   /* bytes */
    IN_CACHE = 1 << 20,         /* bytes: prefetching in a smaller table is for nothing */
    HUGE_FROM = 4 << 20,        /* bytes: larger tables end with a huge page */
    HUGE_PAGE = 2 << 20,
    VALUE_ALIGNMENT = 8,        /* of what combine_with() gets; staged values lie side by side */
    LOAD = 9, LOAD_MOST = 12,   /* sixteenths of the cells in use before it grows: while that is cheap, and then */
    AHEAD = 64                  /* pairs: 48 to 96 measured alike, 24 and 256 (all of the batch first) 10 to 20 %
                                 * slower */
};
#define BUCKETS_MOST ((size_t)1 << 30)

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

void mr__combine_buffer_init(mr__combine_buffer *buffer, const mr__pair_layout *layout, const mr__combine_rule *rule,
                             mr__budget *budget, uint64_t cap, bool always_grow, uint32_t skip_bits)
{
    *buffer = (mr__combine_buffer){.layout = *layout, .rule = *rule, .budget = budget, .cap = cap,
                                   .always_grow = always_grow, .skip_bits = skip_bits};
    buffer->sized = layout->key_size != KEY_BYTES;
    buffer->counts = rule->combine == MR_COUNT && !always_grow;
    buffer->shape = buffer->counts ? COUNTS : (shape){CELLS, (layout->value_size + 7) & ~7u};
    buffer->bucket_bytes = bucket_size(buffer->shape);
    buffer->first_buckets = FIRST_CELLS / buffer->shape.cells;
    while (buffer->first_buckets > 1 && buffer->first_buckets * buffer->bucket_bytes > FIRST_BYTES)
        buffer->first_buckets /= 2;
    buffer->tail = buffer->first_buckets < TAIL_BUCKETS ? buffer->first_buckets : TAIL_BUCKETS;
    mr__arena_init(&buffer->arena);
}

static void release_arena(mr__combine_buffer *buffer)
{
    mr__arena_fini(&buffer->arena);
    mr__budget_release(buffer->budget, buffer->arena_reserved);
    buffer->arena_reserved = 0;
}

static size_t table_bytes(const mr__combine_buffer *buffer, size_t count)
{
    return (count + buffer->tail) * buffer->bucket_bytes;
}

static void release_buckets(mr__combine_buffer *buffer)
{
    mr__pages_free(buffer->buckets, buffer->mapped);
    mr__budget_release(buffer->budget, buffer->mapped);
    mr__free(buffer->cluster);
    buffer->buckets = buffer->cluster = NULL;
    buffer->bucket_count = buffer->grow_at = buffer->mapped = buffer->cluster_room = 0;
}

void mr__combine_buffer_fini(mr__combine_buffer *buffer)
{
    if (buffer->budget == NULL)
        return;
    release_buckets(buffer);
    release_arena(buffer);
    mr__free(buffer->aligned);
    buffer->aligned = NULL;
}

void mr__combine_buffer_clear(mr__combine_buffer *buffer, bool keep_buckets)
{
    if (!keep_buckets)
        release_buckets(buffer);
    else if (buffer->buckets != NULL)
        memset(buffer->buckets, 0, buffer->mapped);
    release_arena(buffer);
    buffer->used = 0;
    buffer->offered = 0;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, 8);
    return bits;
}

/* Numbers in their order, -0.0 before +0.0. */
static int64_t place_of(double number)
{
    const int64_t bits = (int64_t)bits_of(number);
    return bits >= 0 ? bits : bits ^ INT64_MAX;
}

/* The lesser (or greater) of two. Of any number of values the same one is left in any order of combining: a NaN is
 * taken only where there is nothing else, and of NaNs the one whose bits are the least number. By places, as a branch
 * that asks for equal numbers is mispredicted where they are common (4.6 ns instead of 2.3). */
static double extreme(double a, double b, bool least)
{
    if (__builtin_expect(isunordered(a, b), 0))
        return !isnan(b) || (isnan(a) && bits_of(b) < bits_of(a)) ? b : a;
    return (place_of(b) < place_of(a)) == least ? b : a;
}

void mr__combine_values(const mr__combine_rule *rule, uint32_t value_size, void *into, const void *value)
{
    if (rule->combine == MR_COMBINE_USER) {
        rule->user(into, value, rule->params);
        return;
    }
    if (rule->value == MR_F64 || rule->value == MR_F64_VECTOR) {
        for (uint32_t at = 0; at < value_size; at += 8) {
            double a, b;
            memcpy(&a, (uint8_t *)into + at, 8);
            memcpy(&b, (const uint8_t *)value + at, 8);
            a = rule->combine == MR_SUM ? a + b : extreme(a, b, rule->combine == MR_MIN);
            memcpy((uint8_t *)into + at, &a, 8);
        }
        return;
    }
    uint64_t a, b;
    memcpy(&a, into, 8);
    memcpy(&b, value, 8);
    const bool less = rule->value == MR_I64 ? (int64_t)b < (int64_t)a : b < a;
    if (rule->combine == MR_SUM || rule->combine == MR_COUNT)
        a += b;
    else if (a != b && less == (rule->combine == MR_MIN))
        a = b;
    memcpy(into, &a, 8);
}

/* ---- growing ----------------------------------------------------------------------------------------------------- */

/* Bytes that the buffer holds now. */
static uint64_t footprint(const mr__combine_buffer *buffer)
{
    return buffer->mapped + buffer->arena_reserved;
}

/* After buckets were added: every cluster of the first `old_total` buckets goes to its new place, the last one first.
 * When it fails the table is lost. */
INLINE mr_status move_clusters(mr__combine_buffer *buffer, size_t old_total, shape sh, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t each = bucket_size(sh);
    uint8_t *const first = buffer->buckets;
    for (uint8_t *end = first + old_total * each; end > first;) {
        uint8_t *begin = end - each;
        if (load_marks(begin, sh) == 0) {
            end = begin;
            continue;
        }
        while (begin > first && is_full(begin - each, sh))
            begin -= each;
        const size_t bytes = (size_t)(end - begin);
        if (bytes > buffer->cluster_room) {
            uint8_t *larger = mr__realloc(buffer->cluster, bytes * 2);
            MR_CHECK(larger != NULL, MR_NO_MEMORY, "no memory to grow a combine buffer");
            buffer->cluster = larger;
            buffer->cluster_room = bytes * 2;
        }
        memcpy(buffer->cluster, begin, bytes);
        for (size_t at = 0; at < bytes; at += each)
            memset(marks_of(begin + at, sh), 0, sh.cells);
        for (const uint8_t *from = buffer->cluster; from < buffer->cluster + bytes; from += each) {
            for (uint32_t i = 0, count = cells_in(from, sh); i < count; i++) {
                const uint32_t home = home_of(hash_of(buffer, key_of(from, i)), buffer->skip_bits);
                uint8_t *to = first + ((uint64_t)home * buffer->bucket_count >> 32) * each;
                while (is_full(to, sh))
                    to += each;
                const uint32_t index = cells_in(to, sh);
                memcpy(key_of(to, index), key_of(from, i), KEY_BYTES);
                memcpy(value_of(to, index, sh), value_of(from, i, sh), sh.value_bytes);
                marks_of(to, sh)[index] = marks_of(from, sh)[i];
            }
        }
        end = begin;
    }
done:
    return status;
}

static mr_status move_counts(mr__combine_buffer *buffer, size_t old_total, mr__error *error)
{
    return move_clusters(buffer, old_total, COUNTS, error);
}

static mr_status move_usual(mr__combine_buffer *buffer, size_t old_total, mr__error *error)
{
    return move_clusters(buffer, old_total, USUAL, error);
}

static mr_status move_any(mr__combine_buffer *buffer, size_t old_total, mr__error *error)
{
    return move_clusters(buffer, old_total, buffer->shape, error);
}

/* The buckets after the next growth; 0 if the cap leaves no room that is worth it. */
static size_t next_bucket_count(const mr__combine_buffer *buffer)
{
    const size_t count = buffer->bucket_count, each = buffer->bucket_bytes;
    if (count == 0)
        return buffer->first_buckets;
    size_t total = (count * each < DOUBLES_UP_TO ? count * 2 : count + count / 2) + buffer->tail;
    const uint64_t room = buffer->cap > buffer->arena_reserved ? buffer->cap - buffer->arena_reserved : 0;
    if (total > room / each)
        total = (size_t)(room / each);
    if (total > BUCKETS_MOST)
        total = BUCKETS_MOST;
    if (total * each >= HUGE_FROM)
        total = total * each / HUGE_PAGE * HUGE_PAGE / each;
    return total > buffer->tail + count + count / 8 ? total - buffer->tail : 0;
}

static size_t load(const mr__combine_buffer *buffer, uint32_t sixteenths)
{
    return buffer->bucket_count * buffer->shape.cells * sixteenths / 16;
}

/* At the cap, or when the budget is used up: the buckets that are there may fill further. */
static bool fill_further(mr__combine_buffer *buffer)
{
    const size_t most = load(buffer, LOAD_MOST);
    const bool more = most > buffer->grow_at;
    buffer->grow_at = most;
    return more;
}

/* Makes room, by more buckets if it can. *grown = false, and nothing changed, when there is none. */
static mr_status grow(mr__combine_buffer *buffer, bool *grown, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t old_count = buffer->bucket_count, new_count = next_bucket_count(buffer);
    const size_t bytes = table_bytes(buffer, new_count);
    const size_t more = bytes - buffer->mapped;
    *grown = false;
    if (old_count == 0) {
        mr__budget_force(buffer->budget, more);
    } else if (new_count == 0 || !mr__budget_reserve(buffer->budget, more)) {
        *grown = fill_further(buffer);
        goto done;
    }
    uint8_t *buckets = mr__pages_grow(buffer->buckets, buffer->mapped, bytes);
    if (buckets == NULL)
        mr__budget_release(buffer->budget, more);
    MR_CHECK(buckets != NULL, MR_NO_MEMORY,
             "no memory for a combine buffer of %zu bytes\n  hint: lower --memory", bytes);
    mr__pages_populate(buckets + buffer->mapped, more);
    buffer->buckets = buckets;
    buffer->mapped = bytes;
    buffer->bucket_count = new_count;
    buffer->grow_at = load(buffer, bytes < DOUBLES_UP_TO ? LOAD : LOAD_MOST);
    if (old_count != 0)
        MR_TRY((buffer->counts ? move_counts : buffer->shape.value_bytes == USUAL.value_bytes ? move_usual : move_any)(
            buffer, old_count + buffer->tail, error));
    *grown = true;
done:
    return status;
}

bool mr__combine_buffer_pays(const mr__combine_buffer *buffer)
{
    return buffer->used < PAYS_FROM || buffer->offered >= buffer->used + buffer->used / 2;
}

/* ---- probing ----------------------------------------------------------------------------------------------------- */

/* What a batch does with a value, known at compile time in each copy of probe_batch. */
enum op { OP_COUNT, OP_SUM_U64, OP_SUM_F64, OP_ANY };

INLINE void combine_into(const mr__combine_buffer *buffer, uint8_t *into, const uint8_t *value, enum op op, shape sh)
{
    uint64_t a = 0, b;
    double x, y;
    switch (op) {
    case OP_COUNT:
        memcpy(&a, into, sh.value_bytes);
        a++;
        memcpy(into, &a, sh.value_bytes);
        break;
    case OP_SUM_U64:
        memcpy(&a, into, 8);
        memcpy(&b, value, 8);
        a += b;
        memcpy(into, &a, 8);
        break;
    case OP_SUM_F64:
        memcpy(&x, into, 8);
        memcpy(&y, value, 8);
        x += y;
        memcpy(into, &x, 8);
        break;
    case OP_ANY:
        if (buffer->aligned != NULL && (uintptr_t)value % VALUE_ALIGNMENT != 0)
            value = memcpy(buffer->aligned, value, buffer->layout.value_size);
        mr__combine_values(&buffer->rule, buffer->layout.value_size, into, value);
        break;
    }
}

INLINE void first_value(const mr__combine_buffer *buffer, uint8_t *into, const uint8_t *value, enum op op, shape sh)
{
    const uint64_t one = 1;
    memcpy(into, op == OP_COUNT ? (const uint8_t *)&one : value,
           op == OP_ANY ? buffer->layout.value_size : sh.value_bytes);
}

static mr_status reserve_arena(mr__combine_buffer *buffer, size_t size, bool *room)
{
    const size_t growth = mr__arena_growth(&buffer->arena, size);
    *room = true;
    if (growth == 0)
        return MR_OK;
    if (buffer->used == 0)
        mr__budget_force(buffer->budget, growth);       /* one key must fit */
    else if (footprint(buffer) + growth > buffer->cap || !mr__budget_reserve(buffer->budget, growth))
        *room = false;
    if (*room)
        buffer->arena_reserved += growth;
    return MR_OK;
}

/* Copies a long key. NULL without a failure: the arena is at its cap. */
static mr_status keep_long_key(mr__combine_buffer *buffer, const mr__staged *key, uint8_t **copy, mr__error *error)
{
    mr_status status = MR_OK;
    bool room;
    const size_t bytes = sizeof key->size + key->size;
    *copy = NULL;
    MR_TRY(reserve_arena(buffer, bytes, &room));
    if (!room)
        goto done;
    *copy = mr__arena_alloc(&buffer->arena, bytes, 1);
    MR_CHECK(*copy != NULL, MR_NO_MEMORY, "no memory for a key of %u bytes\n  hint: lower --memory", key->size);
    memcpy(*copy, &key->size, sizeof key->size);
    memcpy(*copy + sizeof key->size, mr__staged_key(key), key->size);
done:
    return status;
}

INLINE mr_status probe_batch(mr__combine_buffer *buffer, const mr__staged *keys, const uint64_t *hashes,
                             const uint8_t *values, uint32_t value_step, shape sh, bool sized, uint32_t skip_bits,
                             uint32_t count, uint32_t *accepted, enum op op, mr__error *error)
{
    mr_status status = MR_OK;
    const size_t each = bucket_size(sh);
    const uint64_t bucket_count = buffer->bucket_count;
    const uint32_t ahead = buffer->mapped <= IN_CACHE ? count : count < AHEAD ? count : AHEAD;
    uint8_t *const first = buffer->buckets;
    const uint8_t *const end = first + (bucket_count + buffer->tail) * each;
    uint32_t i = 0;
#define HOME(hash) (first + ((uint64_t)home_of(hash, skip_bits) * bucket_count >> 32) * each)
#define PREFETCH(hash)                                                                                                 \
    do {                                                                                                               \
        __builtin_prefetch(HOME(hash), 1);                                                                             \
        if (each > 64)                                                                                                 \
            __builtin_prefetch(HOME(hash) + 64, 1);                                                                    \
    } while (0)
    for (uint32_t next = 0; buffer->mapped > IN_CACHE && next < ahead; next++)
        PREFETCH(hashes[next]);
    for (; i < count; i++) {
        const uint64_t hash = hashes[i], sought = mark_of(hash) * LOW_BITS;
        const uint8_t *value = values + (size_t)i * value_step;
        uint8_t *bucket = HOME(hash);
        uint64_t key[2];
        const bool is_short = stage_key(&keys[i], hash, sized, skip_bits, key);
        if (i + ahead < count)
            PREFETCH(hashes[i + ahead]);
        for (;;) {
            const uint64_t marks = load_marks(bucket, sh);
            for (uint64_t match = zeros_among(marks ^ sought, sh); match != 0; match &= match - 1) {
                const uint32_t index = (uint32_t)__builtin_ctzll(match) / 8;
                const uint64_t *there = key_of(bucket, index);
                if (__builtin_expect(is_short ? ((there[0] ^ key[0]) | (there[1] ^ key[1])) == 0
                                              : there[1] == key[1] && same_long_key(there, &keys[i]), 1)) {
                    combine_into(buffer, value_of(bucket, index, sh), value, op, sh);
                    goto next;
                }
            }
            if (!is_full(bucket, sh)) {
                const uint32_t index = cells_in(bucket, sh);
                if (!is_short) {
                    uint8_t *copy;
                    MR_TRY(keep_long_key(buffer, &keys[i], &copy, error));
                    if (copy == NULL)
                        goto done;
                    key[0] = (uint64_t)(uintptr_t)copy;
                }
                memcpy(key_of(bucket, index), key, KEY_BYTES);
                first_value(buffer, value_of(bucket, index, sh), value, op, sh);
                marks_of(bucket, sh)[index] = (uint8_t)sought;
                buffer->used++;
                break;
            }
            bucket += each;
            if (__builtin_expect(bucket == end, 0))     /* the tail is full: as good as the table */
                goto done;
        }
    next:;
    }
#undef HOME
#undef PREFETCH
done:
    *accepted = i;
    return status;
}

/* Each copy has its operation and its shape as constants. */
static mr_status probe_counts(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v,
                              uint32_t n, uint32_t *accepted, mr__error *error)
{
    if (b->sized && b->skip_bits == 0)
        return probe_batch(b, k, h, v, 0, COUNTS, true, 0, n, accepted, OP_COUNT, error);
    return probe_batch(b, k, h, v, 0, COUNTS, b->sized, b->skip_bits, n, accepted, OP_COUNT, error);
}
static mr_status probe_wide_counts(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v,
                                   uint32_t n, uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 0, USUAL, b->sized, b->skip_bits, n, accepted, OP_COUNT, error);
}
static mr_status probe_sum_u64(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v,
                               uint32_t n, uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 8, USUAL, b->sized, b->skip_bits, n, accepted, OP_SUM_U64, error);
}
static mr_status probe_sum_f64(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v,
                               uint32_t n, uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, 8, USUAL, b->sized, b->skip_bits, n, accepted, OP_SUM_F64, error);
}
static mr_status probe_any(mr__combine_buffer *b, const mr__staged *k, const uint64_t *h, const uint8_t *v, uint32_t n,
                           uint32_t *accepted, mr__error *error)
{
    return probe_batch(b, k, h, v, b->layout.value_size, b->shape, b->sized, b->skip_bits, n, accepted, OP_ANY, error);
}

mr_status mr__combine_batch(mr__combine_buffer *buffer, const mr__staged *keys, const uint64_t *hashes,
                            const uint8_t *values, uint32_t count, uint32_t *accepted, mr__error *error)
{
    mr_status status = MR_OK;
    const mr__combine_rule *rule = &buffer->rule;
    const bool u64_sum = (rule->combine == MR_SUM || rule->combine == MR_COUNT) &&
                         (rule->value == MR_U64 || rule->value == MR_I64);
    mr_status (*const probe)(mr__combine_buffer *, const mr__staged *, const uint64_t *, const uint8_t *, uint32_t,
                             uint32_t *, mr__error *) =
        values == NULL ? buffer->counts ? probe_counts : probe_wide_counts
        : u64_sum      ? probe_sum_u64
        : rule->combine == MR_SUM && rule->value == MR_F64 ? probe_sum_f64
                                                           : probe_any;
    *accepted = 0;
    MR_CHECK(values == NULL || !buffer->counts, MR_INTERNAL, "a table of counts was offered values");
    if (rule->combine == MR_COMBINE_USER && buffer->layout.value_size % VALUE_ALIGNMENT != 0 &&
        buffer->aligned == NULL) {
        buffer->aligned = mr__alloc(buffer->layout.value_size);
        MR_CHECK(buffer->aligned != NULL, MR_NO_MEMORY, "no memory for a value of %u bytes",
                 buffer->layout.value_size);
    }
    while (*accepted < count) {
        /* C1 must hold even if every pair left is a new key */
        uint32_t part = count - *accepted, taken = 0;
        if (buffer->counts && buffer->offered + part > COUNTS_MOST)
            break;
        if (buffer->used + part > buffer->grow_at) {
            bool grown = false;
            if (buffer->always_grow || mr__combine_buffer_pays(buffer))
                MR_TRY(grow(buffer, &grown, error));
            if (grown)
                continue;
            const size_t room = buffer->grow_at > buffer->used ? buffer->grow_at - buffer->used : 0;
            if (room == 0)
                break;
            if (part > room)
                part = (uint32_t)room;
        }
        status = probe(buffer, keys + *accepted, hashes + *accepted,
                       values != NULL ? values + (size_t)*accepted * buffer->layout.value_size : NULL, part, &taken,
                       error);
        *accepted += taken;
        buffer->offered += taken;
        if (status != MR_OK || taken < part)
            goto done;
    }
done:
    return status;
}
