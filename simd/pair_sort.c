/* pair_sort.c: radix on eight bytes of prefix, then comparisons.
 *
 *   refs (prefix, address)  --counting pass on the highest byte that differs-->  256 buckets  --same again-->  ...
 *     a small bucket: insertion sort on (prefix, pair)        an equal prefix: comparison sort on the whole pairs,
 *                                                             but one group with key suffixes: radix on the suffixes
 *
 * The address of a pair follows its prefix through the passes, so the pairs themselves are touched once, when they are
 * written out. The first byte to sort on is found from the smallest and the largest prefix: partitions by range share
 * their high bytes, and a pass over equal bytes would move everything for nothing. */
#include "pair_sort.h"

#include <stdlib.h>

enum { SMALL = 48, RADIX = 256 };

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
                       : compare_bytes(a->key + a_group, a->key_size - a_group, b->key + b_group, b->key_size - b_group);
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

/* Pairs of one group: what orders them begins with their suffixes. false, and nothing changed, if they are not. */
static bool prefix_by_suffix(const mr__order *order, mr__ref *refs, size_t count)
{
    const mr__pair_layout *layout = &order->layout;
    mr__pair first, pair;
    if (layout->key_suffix == 0 || order->kind != MR__BY_BYTES)
        return false;
    mr__pair_read(layout, refs[0].pair, &first);
    const uint32_t group = group_size(layout, &first);
    for (size_t i = 1; i < count; i++) {
        mr__pair_read(layout, refs[i].pair, &pair);
        if (pair.key_size != first.key_size || memcmp(pair.key, first.key, group) != 0)
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        mr__pair_read(layout, refs[i].pair, &pair);
        refs[i].prefix = big_endian_prefix(pair.key + group, pair.key_size - group);
    }
    return true;
}

static void sort_from(const mr__order *order, mr__ref *refs, size_t count, mr__ref *scratch, bool by_suffix)
{
    if (count <= SMALL) {
        insertion_sort(order, refs, count);
        return;
    }
    uint64_t differ = 0;
    for (size_t i = 1; i < count; i++)
        differ |= refs[i].prefix ^ refs[0].prefix;
    if (differ == 0 && !by_suffix && prefix_by_suffix(order, refs, count)) {
        sort_from(order, refs, count, scratch, true);
        return;
    }
    if (differ == 0) {
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
            sort_from(order, refs + begin, sizes[digit], scratch + begin, by_suffix);
    }
}

void mr__sort_refs(const mr__order *order, mr__ref *refs, size_t count, mr__ref *scratch)
{
    sort_from(order, refs, count, scratch, false);
}
