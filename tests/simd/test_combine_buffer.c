/* The combine buffer against a plain array of counters: every rule, growing, the cap, long keys, suffixes. */
#include "cmocka_all.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "combine_buffer.h"
#include "fault.h"

enum { KEYS = 20000, PAIRS = 200000 };

static uint64_t random_state = 7;

static uint32_t random_below(uint32_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % bound);
}

static uint32_t key_text(uint32_t number, char *text)
{
    /* every third key is longer than MR_INLINE_KEY; key 0 is empty */
    if (number == 0)
        return 0;
    return (uint32_t)sprintf(text, number % 3 == 0 ? "a key that is stored elsewhere %u" : "k%u", number);
}

static uint32_t offer(mr__combine_buffer *buffer, const uint32_t *numbers, const uint64_t *values, uint32_t count)
{
    static char texts[MR_BATCH][64];
    mr__staged staged[MR_BATCH];
    uint64_t hashes[MR_BATCH];
    uint32_t accepted;
    mr__error error = {0};
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t size = key_text(numbers[i], texts[i]);
        mr__stage_in_place(&staged[i], (const uint8_t *)texts[i], size);
        hashes[i] = mr__hash_staged(&staged[i], buffer->layout.key_suffix);
    }
    assert_int_equal(mr__combine_batch(buffer, staged, hashes, (const uint8_t *)values, count, &accepted, &error),
                     MR_OK);
    return accepted;
}

static uint32_t number_of(const mr__pair *pair)
{
    char text[64] = "";
    unsigned number = 0;
    memcpy(text, pair->key, pair->key_size);
    if (pair->key_size > 0)
        assert_int_equal(sscanf(text, pair->key_size > MR_INLINE_KEY ? "a key that is stored elsewhere %u" : "k%u",
                                &number), 1);
    return number;
}

static const struct {
    const char *name;
    mr_combine combine;
    mr_type value;
} rules[] = {{"count", MR_COUNT, MR_U64}, {"sum u64", MR_SUM, MR_U64}, {"sum i64", MR_SUM, MR_I64},
             {"min i64", MR_MIN, MR_I64}, {"max u64", MR_MAX, MR_U64}, {"sum f64", MR_SUM, MR_F64},
             {"max f64", MR_MAX, MR_F64}};

static uint64_t expected_combine(size_t rule, bool first, uint64_t old, uint64_t value)
{
    double a, b;
    memcpy(&a, &old, 8);
    memcpy(&b, &value, 8);
    switch (rules[rule].combine) {
    case MR_COUNT:
        return old + 1;
    case MR_MIN:
        return first || (int64_t)value < (int64_t)old ? value : old;
    case MR_MAX:
        if (rules[rule].value == MR_F64)
            return first || b > a ? value : old;
        return first || value > old ? value : old;
    default:
        if (rules[rule].value == MR_U64 || rules[rule].value == MR_I64)
            return old + value;
        a = first ? b : a + b;
        memcpy(&old, &a, 8);
        return old;
    }
}

static void every_rule_equals_plain_counters(void **state)
{
    static uint64_t want[KEYS];
    static bool seen[KEYS];
    for (size_t rule = 0; rule < MR__COUNT(rules); rule++) {
        mr__budget budget;
        mr__combine_buffer buffer;
        mr__error error = {0};
        mr__budget_init(&budget, (uint64_t)1 << 30);
        mr__combine_buffer_init(&buffer, &(mr__pair_layout){.value_size = 8},
                                &(mr__combine_rule){rules[rule].combine, rules[rule].value, NULL, NULL}, &budget,
                                (uint64_t)1 << 30, true, 0);
        memset(want, 0, sizeof want);
        memset(seen, 0, sizeof seen);
        for (uint32_t done = 0; done < PAIRS;) {
            uint32_t numbers[MR_BATCH];
            uint64_t values[MR_BATCH];
            const uint32_t count = 1 + random_below(MR_BATCH);
            for (uint32_t i = 0; i < count; i++) {
                const double f64 = (int)random_below(1000) - 500;
                numbers[i] = random_below(KEYS);
                values[i] = (uint64_t)(int64_t)f64;
                if (rules[rule].value == MR_F64)
                    memcpy(&values[i], &f64, 8);
                want[numbers[i]] = expected_combine(rule, !seen[numbers[i]], want[numbers[i]], values[i]);
                seen[numbers[i]] = true;
            }
            assert_int_equal(offer(&buffer, numbers, rules[rule].combine == MR_COUNT ? NULL : values, count), count);
            done += count;
        }
        assert_int_equal(mr__combine_buffer_check(&buffer, &error), MR_OK);
        mr__cell_cursor cursor = {0};
        size_t found = 0;
        mr__pair pair;
        while (mr__combine_buffer_next(&buffer, &cursor, &pair)) {
            const uint32_t number = number_of(&pair);
            assert_true(seen[number]);
            assert_memory_equal(pair.value, &want[number], 8);
            seen[number] = false;
            found++;
        }
        assert_int_equal(found, buffer.used);
        for (uint32_t k = 0; k < KEYS; k++)
            assert_false(seen[k]);
        mr__combine_buffer_fini(&buffer);
        assert_int_equal(atomic_load(&budget.used), 0);
    }
}

static uint64_t combined(mr_combine combine, uint64_t a, uint64_t b)
{
    mr__combine_values(&(mr__combine_rule){combine, MR_F64, NULL, NULL}, sizeof a, &a, &b);
    return a;
}

/* Doubles by their bits, in their order; then NaNs. Oracle: places in this list. */
static void least_and_greatest_double_are_the_same_in_any_order(void **state)
{
    static const uint64_t bits[] = {
        0xfff0000000000000 /* -inf */, 0xbff0000000000000 /* -1 */, 0x8000000000000001 /* subnormal */,
        0x8000000000000000 /* -0 */, 0, 1 /* subnormal */, 0x3ff0000000000000 /* 1 */, 0x7ff0000000000000 /* inf */,
        0x7ff8000000000000, 0x7ff8000000000001, 0xfff8000000000000, 0xfff8000000000123};
    enum { COUNT = MR__COUNT(bits), NANS_FROM = 8, TRIPLES = COUNT * COUNT * COUNT };
    for (size_t triple = 0; triple < TRIPLES; triple++) {
        const size_t place[] = {triple % COUNT, triple / COUNT % COUNT, triple / COUNT / COUNT};
        const uint64_t a = bits[place[0]], b = bits[place[1]], c = bits[place[2]];
        size_t least = COUNT, greatest = COUNT, least_nan = COUNT;
        for (size_t i = 0; i < MR__COUNT(place); i++) {
            if (place[i] < NANS_FROM && (least == COUNT || place[i] < least))
                least = place[i];
            if (place[i] < NANS_FROM && (greatest == COUNT || place[i] > greatest))
                greatest = place[i];
            if (place[i] >= NANS_FROM && place[i] < least_nan)
                least_nan = place[i];
        }
        if (least == COUNT)
            least = greatest = least_nan;
        assert_int_equal(combined(MR_MIN, combined(MR_MIN, a, b), c), bits[least]);
        assert_int_equal(combined(MR_MIN, a, combined(MR_MIN, b, c)), bits[least]);
        assert_int_equal(combined(MR_MAX, combined(MR_MAX, a, b), c), bits[greatest]);
        assert_int_equal(combined(MR_MAX, a, combined(MR_MAX, b, c)), bits[greatest]);
    }
}

static void at_its_cap_it_accepts_what_fits_and_keeps_it(void **state)
{
    mr__budget budget;
    mr__combine_buffer buffer;
    mr__error error = {0};
    uint64_t total = 0, offered = 0;
    mr__budget_init(&budget, 1 << 30);
    mr__combine_buffer_init(&buffer, &(mr__pair_layout){.value_size = 8},
                            &(mr__combine_rule){MR_COUNT, MR_U64, NULL, NULL}, &budget, 512 << 10, true, 0);
    uint32_t flushes = 0;
    for (uint32_t n = 0; n < PAIRS; n += MR_BATCH) {
        uint32_t numbers[MR_BATCH];
        for (uint32_t i = 0; i < MR_BATCH; i++)
            numbers[i] = random_below(KEYS);
        for (uint32_t begin = 0; begin < MR_BATCH;) {
            const uint32_t accepted = offer(&buffer, numbers + begin, NULL, MR_BATCH - begin);
            begin += accepted;
            offered += accepted;
            if (begin == MR_BATCH)
                break;
            mr__cell_cursor cursor = {0};
            mr__pair pair;
            assert_int_equal(mr__combine_buffer_check(&buffer, &error), MR_OK);
            while (mr__combine_buffer_next(&buffer, &cursor, &pair)) {
                uint64_t count;
                memcpy(&count, pair.value, 8);
                total += count;
            }
            mr__combine_buffer_clear(&buffer, true);
            flushes++;
        }
        assert_true(buffer.mapped + buffer.arena_reserved <= 512 << 10);
    }
    mr__cell_cursor cursor = {0};
    mr__pair pair;
    while (mr__combine_buffer_next(&buffer, &cursor, &pair)) {
        uint64_t count;
        memcpy(&count, pair.value, 8);
        total += count;
    }
    assert_true(flushes > 1);
    assert_int_equal(total, offered);
    mr__combine_buffer_fini(&buffer);
    assert_int_equal(atomic_load(&budget.used), 0);
}

/* Offers every number below `keys` `times` times, in batches. */
static void offer_all(mr__combine_buffer *buffer, uint32_t keys, uint32_t times)
{
    uint32_t numbers[MR_BATCH], count = 0;
    for (uint32_t n = 0; n < keys * times; n++) {
        numbers[count++] = n % keys;
        if (count == MR_BATCH || n + 1 == keys * times) {
            assert_int_equal(offer(buffer, numbers, NULL, count), count);
            count = 0;
        }
    }
}

static void counts_are_narrow_and_each_partition_has_its_own(void **state)
{
    enum { TIMES = 3, BITS = 5 };
    mr__budget budget;
    mr__combine_buffer buffer;
    mr__error error = {0};
    bool seen[KEYS] = {false};
    uint32_t found = 0;
    mr__budget_init(&budget, (uint64_t)1 << 30);
    mr__combine_buffer_init(&buffer, &(mr__pair_layout){.value_size = 8},
                            &(mr__combine_rule){MR_COUNT, MR_U64, NULL, NULL}, &budget, (uint64_t)1 << 30, false, 0);
    offer_all(&buffer, KEYS, TIMES);
    assert_int_equal(mr__combine_buffer_check(&buffer, &error), MR_OK);
    for (uint32_t p = 0; p < 1 << BITS; p++) {
        mr__cell_cursor cursor = mr__combine_buffer_partition(&buffer, p, BITS);
        mr__pair pair;
        while (mr__combine_buffer_next_of(&buffer, &cursor, &pair)) {
            const uint32_t number = number_of(&pair);
            assert_int_equal(mr__partition_of(mr__hash_key(pair.key, pair.key_size, 0), BITS), p);
            assert_int_equal(pair.value_size, 8);
            assert_memory_equal(pair.value, &(uint64_t){TIMES}, 8);
            assert_false(seen[number]);
            seen[number] = true;
            found++;
        }
    }
    assert_int_equal(found, KEYS);
    mr__combine_buffer_fini(&buffer);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static void a_count_never_overflows_its_32_bits(void **state)
{
    mr__budget budget;
    mr__combine_buffer buffer;
    uint32_t numbers[MR_BATCH];
    mr__budget_init(&budget, (uint64_t)1 << 30);
    mr__combine_buffer_init(&buffer, &(mr__pair_layout){.value_size = 8},
                            &(mr__combine_rule){MR_COUNT, MR_U64, NULL, NULL}, &budget, (uint64_t)1 << 30, false, 0);
    for (uint32_t i = 0; i < MR_BATCH; i++)
        numbers[i] = 1;
    buffer.offered = UINT32_MAX - MR_BATCH;     /* as if so many had come */
    assert_int_equal(offer(&buffer, numbers, NULL, MR_BATCH), MR_BATCH);
    assert_int_equal(offer(&buffer, numbers, NULL, MR_BATCH), 0);
    mr__combine_buffer_clear(&buffer, true);
    assert_int_equal(offer(&buffer, numbers, NULL, MR_BATCH), MR_BATCH);
    mr__combine_buffer_fini(&buffer);
}

/* Keys whose last byte would be taken for a size, or for the mark of a long key, if it were one. */
static void keys_of_one_size_use_all_their_bytes(void **state)
{
    for (uint32_t size = 15; size <= 17; size++) {
        mr__budget budget;
        mr__combine_buffer buffer;
        mr__error error = {0};
        mr__budget_init(&budget, (uint64_t)1 << 30);
        mr__combine_buffer_init(&buffer, &(mr__pair_layout){.key_size = size, .value_size = 8},
                                &(mr__combine_rule){MR_COUNT, MR_U64, NULL, NULL}, &budget, (uint64_t)1 << 30, false,
                                0);
        for (uint32_t n = 0; n < 3 * KEYS; n++) {
            uint8_t text[32] = {0};
            mr__staged staged;
            uint32_t accepted;
            memset(text, 0xff, size);
            memcpy(text + size - 4, &(uint32_t){UINT32_MAX - n % KEYS}, 4);
            mr__stage_in_place(&staged, text, size);
            const uint64_t hash = mr__hash_staged(&staged, 0);
            assert_int_equal(mr__combine_batch(&buffer, &staged, &hash, NULL, 1, &accepted, &error), MR_OK);
            assert_int_equal(accepted, 1);
        }
        assert_int_equal(buffer.used, KEYS);
        assert_int_equal(mr__combine_buffer_check(&buffer, &error), MR_OK);
        mr__cell_cursor cursor = {0};
        mr__pair pair;
        while (mr__combine_buffer_next(&buffer, &cursor, &pair)) {
            assert_int_equal(pair.key_size, size);
            assert_int_equal(pair.key[0], 0xff);
            assert_memory_equal(pair.value, &(uint64_t){3}, 8);
        }
        mr__combine_buffer_fini(&buffer);
    }
}

static void it_stops_growing_when_combining_does_not_pay(void **state)
{
    mr__budget budget;
    mr__combine_buffer buffer;
    mr__budget_init(&budget, (uint64_t)1 << 32);
    mr__combine_buffer_init(&buffer, &(mr__pair_layout){.value_size = 8},
                            &(mr__combine_rule){MR_COUNT, MR_U64, NULL, NULL}, &budget, (uint64_t)1 << 32, false, 0);
    uint32_t next = 1, refused = 0;
    while (refused == 0 && next < 4000000) {
        uint32_t numbers[MR_BATCH];
        for (uint32_t i = 0; i < MR_BATCH; i++)
            numbers[i] = next++;
        refused = MR_BATCH - offer(&buffer, numbers, NULL, MR_BATCH);
    }
    assert_true(refused > 0);
    assert_false(mr__combine_buffer_pays(&buffer));
    mr__combine_buffer_fini(&buffer);
}

static void vectors_combine(void **state)
{
    mr__budget budget;
    mr__combine_buffer buffer;
    mr__staged staged[2];
    uint64_t hashes[2];
    uint32_t accepted;
    mr__error error = {0};
    const double values[2][3] = {{1, 2, 3}, {10, 20, 30}}, want[3] = {11, 22, 33};
    mr__budget_init(&budget, 1 << 30);
    mr__combine_buffer_init(&buffer, &(mr__pair_layout){.value_size = 24},
                            &(mr__combine_rule){MR_SUM, MR_F64_VECTOR, NULL, NULL}, &budget, 1 << 30, true, 6);
    for (int i = 0; i < 2; i++) {
        mr__stage_in_place(&staged[i], (const uint8_t *)"the same key, a long one", 24);
        hashes[i] = mr__hash_staged(&staged[i], 0);
    }
    assert_int_equal(mr__combine_batch(&buffer, staged, hashes, (const uint8_t *)values, 2, &accepted, &error), MR_OK);
    mr__cell_cursor cursor = {0};
    mr__pair pair;
    assert_true(mr__combine_buffer_next(&buffer, &cursor, &pair));
    assert_memory_equal(pair.value, want, sizeof want);
    assert_false(mr__combine_buffer_next(&buffer, &cursor, &pair));
    mr__combine_buffer_fini(&buffer);
}

typedef struct reading {
    uint32_t least, greatest;
    uint64_t sum;               /* modulo params */
} reading;

static void combine_readings(void *into, const void *value, const void *params)
{
    reading *a = into;
    const reading *b = value;
    a->least = b->least < a->least ? b->least : a->least;
    a->greatest = b->greatest > a->greatest ? b->greatest : a->greatest;
    a->sum = (a->sum + b->sum) % *(const uint64_t *)params;
}

static void user_functions_combine(void **state)
{
    static const uint64_t modulus = 1000003;
    static struct { uint64_t count, sum; uint32_t least, greatest; } want[KEYS];
    mr__budget budget;
    mr__combine_buffer buffer;
    mr__error error = {0};
    mr__budget_init(&budget, (uint64_t)1 << 30);
    mr__combine_buffer_init(&buffer, &(mr__pair_layout){.value_size = sizeof(reading)},
                            &(mr__combine_rule){MR_COMBINE_USER, MR_STRUCT, combine_readings, &modulus}, &budget,
                            (uint64_t)1 << 30, true, 0);
    for (uint32_t done = 0; done < PAIRS;) {
        uint32_t numbers[MR_BATCH];
        reading readings[MR_BATCH];
        const uint32_t count = 1 + random_below(MR_BATCH);
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t key = numbers[i] = random_below(KEYS), drawn = random_below(1000000);
            readings[i] = (reading){drawn, drawn, drawn};
            want[key].least = want[key].count == 0 || drawn < want[key].least ? drawn : want[key].least;
            want[key].greatest = drawn > want[key].greatest ? drawn : want[key].greatest;
            want[key].sum += drawn;
            want[key].count++;
        }
        assert_int_equal(offer(&buffer, numbers, (const uint64_t *)readings, count), count);
        done += count;
    }
    assert_int_equal(mr__combine_buffer_check(&buffer, &error), MR_OK);
    uint32_t keys = 0, wanted = 0;
    mr__cell_cursor cursor = {0};
    mr__pair pair;
    for (; mr__combine_buffer_next(&buffer, &cursor, &pair); keys++) {
        reading got;
        const uint32_t key = number_of(&pair);
        memcpy(&got, pair.value, sizeof got);
        assert_true(want[key].count > 0);
        assert_int_equal(got.least, want[key].least);
        assert_int_equal(got.greatest, want[key].greatest);
        assert_int_equal(got.sum, want[key].sum % modulus);
    }
    for (uint32_t key = 0; key < KEYS; key++)
        wanted += want[key].count > 0;
    assert_int_equal(keys, wanted);
    mr__combine_buffer_fini(&buffer);
}

static void a_failed_allocation_gives_a_sentence_and_loses_nothing(void **state)
{
    for (uint32_t nth = 1;; nth++) {
        mr__budget budget;
        mr__combine_buffer buffer;
        mr__error error = {0};
        mr__staged staged;
        uint32_t accepted = 0;
        mr_status status = MR_OK;
        uint32_t in = 0;
        mr__budget_init(&budget, 1 << 30);
        mr__combine_buffer_init(&buffer, &(mr__pair_layout){.value_size = 8},
                                &(mr__combine_rule){MR_COUNT, MR_U64, NULL, NULL}, &budget, 1 << 30, true, 6);
        mr__fault_arm(MR__FAULT_PAGES, nth);
        for (uint32_t i = 0; i < 10000 && status == MR_OK; i++) {
            char text[64];
            mr__stage_in_place(&staged, (const uint8_t *)text, key_text(i, text));
            const uint64_t hash = mr__hash_staged(&staged, 0);
            status = mr__combine_batch(&buffer, &staged, &hash, NULL, 1, &accepted, &error);
            in += status == MR_OK;
        }
        const bool fired = mr__fault_fired();
        mr__fault_disarm();
        assert_int_equal(buffer.used, in);
        assert_int_equal(status == MR_OK, !fired);
        if (fired)
            assert_string_not_equal(error.text, "");
        mr__combine_buffer_fini(&buffer);
        if (!fired) {
            assert_true(nth > 2);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_equals_plain_counters),
        cmocka_unit_test(least_and_greatest_double_are_the_same_in_any_order),
        cmocka_unit_test(at_its_cap_it_accepts_what_fits_and_keeps_it),
        cmocka_unit_test(counts_are_narrow_and_each_partition_has_its_own),
        cmocka_unit_test(a_count_never_overflows_its_32_bits),
        cmocka_unit_test(keys_of_one_size_use_all_their_bytes),
        cmocka_unit_test(it_stops_growing_when_combining_does_not_pay),
        cmocka_unit_test(vectors_combine),
        cmocka_unit_test(user_functions_combine),
        cmocka_unit_test(a_failed_allocation_gives_a_sentence_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
