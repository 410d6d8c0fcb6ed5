/* pair_sort.c: radix on eight bytes at a time.
 *
 *   refs (prefix, address)  --counting pass on the highest byte that differs-->  256 buckets  --same again-->  ...
 *     a small bucket: insertion sort on (prefix, pair)
 *     a bucket of one prefix: the next eight bytes of each pair become its prefix, and so on
 *         value -> key without suffix, window by window -> suffix -> value's bytes
 *
 * The address of a pair follows its prefix through the passes, so the pairs themselves are touched once a window, and
 * when they are written out. The first byte to sort on is found from the bits in which prefixes differ: partitions by
 * range share their high bytes, and a pass over equal bytes would move everything for nothing.
 *
 * Why windows, and not comparisons below the first prefix: counts are mostly 1, 2 or 3, so by value most pairs share
 * their prefix, and words share beginnings. 12.3 million words by count: see the commit that brought this.
 *
 * Windows are padded with zeros, so "a" and "a\0" look alike; keys that end inside equal windows and differ in length
 * are compared. So are buckets at DEEPEST levels of the recursion: keys can be made that need a level each. */
#include "pair_sort.h"

#include <stdlib.h>

enum { SMALL = 48, RADIX = 256, DEEPEST = 64, WINDOW = 8, PREFETCH = 8 };

static uint64_t big_endian_prefix(const uint8_t *key, uint32_t size)
{
    uint64_t prefix = 0;
    memcpy(&prefix, key, size < 8 ? size : 8);
    return __builtin_bswap64(prefix);
}

/* Of the key without its suffix. */
static uint32_t group_size(const mr__pair_layout *layout, const mr__pair *pair)
{
    return pair->key_size > layout->key_suffix ? pair->key_size - layout->key_suffix : 0;
}

static uint64_t key_prefix(const mr__pair_layout *layout, mr__order_kind kind, const mr__pair *pair)
{
    uint64_t u64;
    uint32_t u32;
    switch (kind) {
    case MR__BY_U32:
        memcpy(&u32, pair->key, 4);
        return u32;
    case MR__BY_U64:
        memcpy(&u64, pair->key, 8);
        return u64;
    default:
        return big_endian_prefix(pair->key, group_size(layout, pair));
    }
}

/* Larger values give smaller prefixes. NaN sorts as it lies among the bits: positive ones first. */
static uint64_t value_prefix(mr_type type, const uint8_t *value)
{
    uint64_t bits;
    memcpy(&bits, value, 8);
    if (type == MR_I64)
        bits ^= (uint64_t)1 << 63;
    else if (type == MR_F64)
        bits = bits >> 63 != 0 ? ~bits : bits | (uint64_t)1 << 63;
    return ~bits;
}

uint64_t mr__order_prefix(const mr__order *order, const mr__pair *pair)
{
    return order->kind == MR__BY_VALUE ? value_prefix(order->value, pair->value)
                                       : key_prefix(&order->layout, order->kind, pair);
}

uint64_t mr__order_second(const mr__order *order, const mr__pair *pair)
{
    const uint32_t size = group_size(&order->layout, pair);
    if (order->kind == MR__BY_VALUE)
        return key_prefix(&order->layout, order->key_kind, pair);
    if (order->kind != MR__BY_BYTES)
        return big_endian_prefix(pair->value, pair->value_size);
    return size > 8 ? big_endian_prefix(pair->key + 8, size - 8) : 0;
}

uint64_t mr__order_third(const mr__order *order, const mr__pair *pair)
{
    const uint32_t size = group_size(&order->layout, pair);
    if (order->kind == MR__BY_VALUE)
        return order->key_kind == MR__BY_BYTES && size > 8 ? big_endian_prefix(pair->key + 8, size - 8) : 0;
    if (order->kind != MR__BY_BYTES)
        return 0;
    if (size > 16)
        return big_endian_prefix(pair->key + 16, size - 16);
    return size < pair->key_size ? big_endian_prefix(pair->key + size, pair->key_size - size)
                                 : big_endian_prefix(pair->value, pair->value_size);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int compare_bytes(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
    const int first = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return first != 0 ? first : compare_numbers(a_size, b_size);
}

static int compare_keys(const mr__pair_layout *layout, mr__order_kind kind, const mr__pair *a, const mr__pair *b)
{
    if (kind != MR__BY_BYTES)
        return compare_numbers(key_prefix(layout, kind, a), key_prefix(layout, kind, b));
    if (layout->key_suffix == 0)
        return compare_bytes(a->key, a->key_size, b->key, b->key_size);
    /* the suffix only after the rest is equal: "a" + "zz" must not come between "az" + "aa" and "az" + "zz" */
    const uint32_t a_group = group_size(layout, a), b_group = group_size(layout, b);
    const int groups = compare_bytes(a->key, a_group, b->key, b_group);
    return groups != 0 ? groups
                       : compare_bytes(a->key + a_group, a->key_size - a_group, b->key + b_group,
                                       b->key_size - b_group);
}

int mr__order_compare(const mr__order *order, const mr__pair *a, const mr__pair *b, bool with_value)
{
    int result = 0;
    if (order->kind == MR__BY_VALUE)
        result = compare_numbers(value_prefix(order->value, a->value), value_prefix(order->value, b->value));
    if (result == 0)
        result = compare_keys(&order->layout, order->kind == MR__BY_VALUE ? order->key_kind : order->kind, a, b);
    if (result == 0 && with_value)
        result = compare_bytes(a->value, a->value_size, b->value, b->value_size);
    return result;
}

int mr__order_compare_refs(const mr__order *order, const mr__ref *a, const mr__ref *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    mr__pair left, right;
    mr__pair_read(&order->layout, a->pair, &left);
    mr__pair_read(&order->layout, b->pair, &right);
    return mr__order_compare(order, &left, &right, true);
}

static int compare_for_qsort(const void *a, const void *b, void *order)
{
    return mr__order_compare_refs(order, a, b);
}

static void insertion_sort(const mr__order *order, mr__ref *refs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const mr__ref ref = refs[i];
        size_t at = i;
        for (; at > 0 && mr__order_compare_refs(order, &ref, &refs[at - 1]) < 0; at--)
            refs[at] = refs[at - 1];
        refs[at] = ref;
    }
}

/* ---- windows ----------------------------------------------------------------------------------------------------- */

/* What orders pairs, in turn. */
typedef enum field { VALUE_NUMBER, KEY_NUMBER, GROUP, SUFFIX, VALUE, NOTHING } field;

/* Which eight bytes the prefixes hold. */
typedef struct place {
    field field;
    uint32_t offset;
} place;

static field key_field(mr__order_kind kind)
{
    return kind == MR__BY_BYTES ? GROUP : KEY_NUMBER;
}

static place first_place(const mr__order *order)
{
    return (place){order->kind == MR__BY_VALUE ? VALUE_NUMBER : key_field(order->kind), 0};
}

static field field_after(const mr__order *order, field at)
{
    switch (at) {
    case VALUE_NUMBER:
        return key_field(order->key_kind);
    case GROUP:
        return SUFFIX;
    case KEY_NUMBER:
    case SUFFIX:
        return VALUE;
    default:
        return NOTHING;
    }
}

/* The window of a pair at a place, and the size of the whole field. */
static uint64_t window_at(const mr__order *order, const mr__pair *pair, place at, uint32_t *size)
{
    const uint32_t group = group_size(&order->layout, pair);
    const uint8_t *bytes = pair->key;
    *size = group;
    switch (at.field) {
    case KEY_NUMBER:
        *size = WINDOW;
        return key_prefix(&order->layout, order->kind == MR__BY_VALUE ? order->key_kind : order->kind, pair);
    case SUFFIX:
        bytes += group;
        *size = pair->key_size - group;
        break;
    case VALUE:
        bytes = pair->value;
        *size = pair->value_size;
        break;
    default:
        break;
    }
    return at.offset < *size ? big_endian_prefix(bytes + at.offset, *size - at.offset) : 0;
}

/* The pairs' windows at a place become their prefixes. */
static void load(const mr__order *order, mr__ref *refs, size_t count, place at, uint32_t *shortest, uint32_t *longest)
{
    *shortest = UINT32_MAX;
    *longest = 0;
    for (size_t i = 0; i < count; i++) {
        mr__pair pair;
        uint32_t size;
        if (i + PREFETCH < count)
            __builtin_prefetch(refs[i + PREFETCH].pair);
        mr__pair_read(&order->layout, refs[i].pair, &pair);
        refs[i].prefix = window_at(order, &pair, at, &size);
        *shortest = size < *shortest ? size : *shortest;
        *longest = size > *longest ? size : *longest;
    }
}

enum deeper { DEEPER, EQUAL, COMPARE };

/* All prefixes are equal: loads the next windows that hold anything. */
static enum deeper deepen(const mr__order *order, mr__ref *refs, size_t count, place *at)
{
    uint32_t shortest, longest;
    if (at->field >= GROUP) {
        at->offset += WINDOW;
        load(order, refs, count, *at, &shortest, &longest);
        if (longest > at->offset)
            return DEEPER;
        if (shortest != longest)
            return COMPARE;
    }
    do {
        *at = (place){field_after(order, at->field), 0};
        if (at->field == NOTHING)
            return EQUAL;
        load(order, refs, count, *at, &shortest, &longest);
    } while (longest == 0);
    return DEEPER;
}

static uint64_t differing_bits(const mr__ref *refs, size_t count)
{
    uint64_t differ = 0;
    for (size_t i = 1; i < count; i++)
        differ |= refs[i].prefix ^ refs[0].prefix;
    return differ;
}

static void sort_from(const mr__order *order, mr__ref *refs, size_t count, mr__ref *scratch, place at, uint32_t level)
{
    uint64_t differ;
    while ((differ = differing_bits(refs, count)) == 0 && level < DEEPEST) {
        const enum deeper deeper = deepen(order, refs, count, &at);
        if (deeper == EQUAL)
            return;
        if (deeper == COMPARE)
            break;
    }
    if (count <= SMALL) {
        insertion_sort(order, refs, count);
        return;
    }
    if (differ == 0 || level == DEEPEST) {
        qsort_r(refs, count, sizeof *refs, compare_for_qsort, (void *)order);
        return;
    }
    const int shift = (63 - __builtin_clzll(differ)) & ~7;
    size_t sizes[RADIX] = {0}, next[RADIX];
    for (size_t i = 0; i < count; i++)
        sizes[refs[i].prefix >> shift & 0xff]++;
    size_t total = 0;
    for (size_t digit = 0; digit < RADIX; digit++) {
        next[digit] = total;
        total += sizes[digit];
    }
    for (size_t i = 0; i < count; i++)
        scratch[next[refs[i].prefix >> shift & 0xff]++] = refs[i];
    memcpy(refs, scratch, count * sizeof *refs);
    for (size_t digit = 0, begin = 0; digit < RADIX; begin += sizes[digit], digit++) {
        if (sizes[digit] > 1)
            sort_from(order, refs + begin, sizes[digit], scratch + begin, at, level + 1);
    }
}

void mr__sort_refs(const mr__order *order, mr__ref *refs, size_t count, mr__ref *scratch)
{
    if (count > 1)
        sort_from(order, refs, count, scratch, first_place(order), 0);
}
