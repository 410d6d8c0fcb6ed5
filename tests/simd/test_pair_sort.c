/* Sorting references against qsort on whole pairs, for every order; lay-out round trips. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pair_sort.h"

enum { MOST = 20000, LONGEST = 128 };

static uint64_t random_state = 11;

static uint64_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return random_state >> 20;
}

static const mr__order *plain_order;

static int compare_strings(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
    const int first = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return first != 0 ? first : a_size < b_size ? -1 : a_size > b_size;
}

/* The oracle: no prefix, no radix. */
static int plain_compare(const void *a, const void *b)
{
    mr__pair left, right;
    mr__pair_read(&plain_order->layout, *(const uint8_t *const *)a, &left);
    mr__pair_read(&plain_order->layout, *(const uint8_t *const *)b, &right);
    if (plain_order->kind == MR__BY_VALUE) {
        uint64_t x, y;
        memcpy(&x, left.value, 8);
        memcpy(&y, right.value, 8);
        if (plain_order->value == MR_F64) {
            double f, g;
            memcpy(&f, &x, 8);
            memcpy(&g, &y, 8);
            if (f != g)
                return f > g ? -1 : 1;
        } else if (plain_order->value == MR_I64 ? (int64_t)x != (int64_t)y : x != y) {
            return (plain_order->value == MR_I64 ? (int64_t)x > (int64_t)y : x > y) ? -1 : 1;
        }
    }
    const mr__order_kind kind = plain_order->kind == MR__BY_VALUE ? plain_order->key_kind : plain_order->kind;
    if (kind == MR__BY_U64 || kind == MR__BY_U32) {
        uint64_t x = 0, y = 0;
        memcpy(&x, left.key, left.key_size);
        memcpy(&y, right.key, right.key_size);
        if (x != y)
            return x < y ? -1 : 1;
    } else {
        const uint32_t suffix = plain_order->layout.key_suffix;
        const uint32_t l = left.key_size > suffix ? left.key_size - suffix : 0;
        const uint32_t r = right.key_size > suffix ? right.key_size - suffix : 0;
        int first = compare_strings(left.key, l, right.key, r);
        if (first == 0)
            first = compare_strings(left.key + l, left.key_size - l, right.key + r, right.key_size - r);
        if (first != 0)
            return first;
    }
    return memcmp(left.value, right.value, left.value_size);
}

static uint32_t random_key(const mr__order *order, int shape, uint8_t *key)
{
    if (order->layout.key_size != 0) {
        const uint64_t number = shape == 0 ? random_bits() : random_bits() % 50;
        memset(key, 'x', order->layout.key_size);
        memcpy(key, &number, order->layout.key_size < 8 ? order->layout.key_size : 8);
        return order->layout.key_size;
    }
    switch (shape) {
    case 0:
        return (uint32_t)sprintf((char *)key, "%llx", (unsigned long long)random_bits());
    case 1:
        return (uint32_t)sprintf((char *)key, "the same beginning %u", (unsigned)(random_bits() % 500));
    case 2:                             /* one group with a suffix of three letters */
        return (uint32_t)sprintf((char *)key, "group%03u", (unsigned)(random_bits() % 900));
    case 3:
        memset(key, 0, 20);             /* NULs and prefixes of each other */
        return (uint32_t)(random_bits() % 20);
    default:
        memset(key, 'a', LONGEST);      /* a level of the recursion for each length */
        return (uint32_t)(random_bits() % LONGEST);
    }
}

/* What a merge compares before it looks at the pairs: never against the order. */
static bool heads_agree(const mr__order *order, const uint8_t *smaller, const uint8_t *larger)
{
    mr__pair a, b;
    mr__pair_read(&order->layout, smaller, &a);
    mr__pair_read(&order->layout, larger, &b);
    const uint64_t first = mr__order_prefix(order, &a), second = mr__order_prefix(order, &b);
    if (first != second)
        return first < second;
    if (mr__order_second(order, &a) != mr__order_second(order, &b))
        return mr__order_second(order, &a) < mr__order_second(order, &b);
    return a.key_size != b.key_size || mr__order_third(order, &a) <= mr__order_third(order, &b);
}

static const struct {
    const char *name;
    mr__order order;
} orders[] = {
    {"bytes", {.layout = {.value_size = 8}, .kind = MR__BY_BYTES}},
    {"bytes and suffix", {.layout = {.value_size = 8, .key_suffix = 3}, .kind = MR__BY_BYTES}},
    {"fixed bytes", {.layout = {.key_size = 10, .value_size = 3}, .kind = MR__BY_BYTES}},
    {"u32", {.layout = {.key_size = 4, .value_size = 8}, .kind = MR__BY_U32}},
    {"u64", {.layout = {.key_size = 8, .value_size = 8}, .kind = MR__BY_U64}},
    {"u64 value", {.layout = {.value_size = 8}, .kind = MR__BY_VALUE, .key_kind = MR__BY_BYTES, .value = MR_U64}},
    {"i64 value", {.layout = {.key_size = 8, .value_size = 8}, .kind = MR__BY_VALUE, .key_kind = MR__BY_U64,
                   .value = MR_I64}},
    {"f64 value", {.layout = {.value_size = 8}, .kind = MR__BY_VALUE, .key_kind = MR__BY_BYTES, .value = MR_F64}},
};

static void sorting_equals_qsort_for_every_order(void **state)
{
    static uint8_t pairs[MOST * (LONGEST + 12)];
    static const uint8_t *want[MOST];
    static mr__ref refs[MOST], scratch[MOST];
    static const size_t counts[] = {0, 1, 2, 47, 48, 49, 1000, MOST};
    for (size_t o = 0; o < MR__COUNT(orders); o++) {
        const mr__order *order = &orders[o].order;
        for (int shape = 0; shape < 5; shape++) {
            for (size_t c = 0; c < MR__COUNT(counts); c++) {
                uint8_t *at = pairs;
                for (size_t i = 0; i < counts[c]; i++) {
                    uint8_t key[LONGEST], value[8];
                    const uint64_t bits = random_bits() % 100;
                    const double f64 = (double)(int64_t)bits - 50;
                    const int64_t i64 = (int64_t)bits - 50;
                    memcpy(value, &bits, 8);
                    if (order->value == MR_F64)
                        memcpy(value, &f64, 8);
                    if (order->value == MR_I64)
                        memcpy(value, &i64, 8);
                    const mr__pair pair = {key, value, random_key(order, shape, key), order->layout.value_size};
                    want[i] = refs[i].pair = at;
                    refs[i].prefix = mr__order_prefix(order, &pair);
                    at = mr__pair_write(&order->layout, at, &pair);
                    assert_int_equal(at - want[i], mr__pair_bytes(&order->layout, pair.key_size, pair.value_size));
                }
                plain_order = order;
                qsort(want, counts[c], sizeof *want, plain_compare);
                mr__sort_refs(order, refs, counts[c], scratch);
                for (size_t i = 0; i < counts[c]; i++)
                    assert_int_equal(plain_compare(&want[i], &refs[i].pair), 0);
                for (size_t i = 1; i < counts[c]; i++)
                    assert_true(heads_agree(order, refs[i - 1].pair, refs[i].pair));
            }
        }
    }
}

static void pairs_come_back_as_they_were_written(void **state)
{
    const mr__pair_layout layouts[] = {{.value_size = 8}, {.key_size = 5, .value_size = 2}, {.value_varies = true}};
    for (size_t l = 0; l < MR__COUNT(layouts); l++) {
        uint8_t bytes[64];
        const uint32_t value_size = layouts[l].value_varies ? 3 : layouts[l].value_size;
        const mr__pair pair = {(const uint8_t *)"abcde", (const uint8_t *)"12345678", 5, value_size};
        mr__pair back;
        const uint8_t *end = mr__pair_write(&layouts[l], bytes, &pair);
        assert_ptr_equal(mr__pair_read(&layouts[l], bytes, &back), end);
        assert_int_equal(back.key_size, 5);
        assert_int_equal(back.value_size, value_size);
        assert_memory_equal(back.key, "abcde", 5);
        assert_memory_equal(back.value, "12345678", value_size);
    }
}

static void a_suffix_changes_the_slot_but_not_the_partition(void **state)
{
    uint32_t different = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        char a[32], b[32];
        const int size = sprintf(a, "word%u....", i);
        sprintf(b, "word%u,,,,", i);
        const uint64_t x = mr__hash_key(a, (size_t)size, 4), y = mr__hash_key(b, (size_t)size, 4);
        assert_int_equal(mr__partition_of(x, MR__PARTITION_BITS), mr__partition_of(y, MR__PARTITION_BITS));
        different += (x & 0xffff) != (y & 0xffff);
    }
    assert_true(different > 990);
}

static void hashes_spread_over_partitions_and_slots(void **state)
{
    enum { N = 1 << 16, BUCKETS = 64 };
    uint32_t partitions[BUCKETS] = {0}, slots[BUCKETS] = {0};
    for (uint32_t i = 0; i < N; i++) {
        char text[16];
        const uint64_t hash = mr__hash_bytes(text, (size_t)sprintf(text, "%u", i));
        partitions[mr__partition_of(hash, 6)]++;
        slots[hash % BUCKETS]++;
    }
    for (int b = 0; b < BUCKETS; b++) {     /* 1024 expected, standard deviation 32 */
        assert_in_range(partitions[b], 1024 - 200, 1024 + 200);
        assert_in_range(slots[b], 1024 - 200, 1024 + 200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorting_equals_qsort_for_every_order),
        cmocka_unit_test(pairs_come_back_as_they_were_written),
        cmocka_unit_test(a_suffix_changes_the_slot_but_not_the_partition),
        cmocka_unit_test(hashes_spread_over_partitions_and_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
