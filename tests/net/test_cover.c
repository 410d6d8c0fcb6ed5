/* test_cover.c: sets of ranges. Oracle: a bitmap, one byte for each unit. */
#include "cmocka_all.h"

#include <stdio.h>
#include <string.h>

#include "cover.h"
#include "fault.h"

enum { UNITS = 96, SEEDS = 300, STEPS = 120 };

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;                /* xorshift64*, S. Vigna 2016 */
    x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
    *state = x;
    return (x * 0x2545f4914f6cdd1du) >> 32;
}

static bool all_of(const uint8_t *bitmap, uint64_t begin, uint64_t end)
{
    for (uint64_t i = begin; i < end; i++) {
        if (!bitmap[i])
            return false;
    }
    return true;
}

static bool some_of(const uint8_t *bitmap, uint64_t begin, uint64_t end)
{
    for (uint64_t i = begin; i < end; i++) {
        if (bitmap[i])
            return true;
    }
    return false;
}

/* The ranges are the runs of the bitmap, each once and in order: so they are disjoint and do not touch. */
static void assert_same(const mr__cover *cover, const uint8_t *bitmap)
{
    size_t runs = 0;
    uint64_t units = 0;
    for (uint64_t i = 0; i < UNITS; i++) {
        units += bitmap[i];
        if (bitmap[i] && (i == 0 || !bitmap[i - 1])) {
            uint64_t end = i;
            while (end < UNITS && bitmap[end])
                end++;
            assert_true(runs < cover->count);
            assert_int_equal(cover->ranges[runs].begin, i);
            assert_int_equal(cover->ranges[runs].end, end);
            runs++;
        }
    }
    assert_int_equal(cover->count, runs);
    assert_int_equal(mr__cover_units(cover), units);
}

static void a_set_behaves_as_a_bitmap(void **state)
{
    uint32_t refused = 0, accepted = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t random = seed * 0x9e3779b97f4a7c15u;
        uint8_t bitmap[UNITS] = {0};
        mr__cover cover = {.count = 0}, copy = {.count = 0};
        for (uint32_t step = 0; step < STEPS; step++) {
            const uint64_t begin = next_random(&random) % (UNITS + 1);
            const uint64_t end = begin + next_random(&random) % (UNITS + 1 - begin) / (1 + next_random(&random) % 8);
            assert_int_equal(mr__cover_has(&cover, begin, end), all_of(bitmap, begin, end));
            assert_int_equal(mr__cover_meets(&cover, begin, end), some_of(bitmap, begin, end));
            switch (next_random(&random) % 4) {
            case 0:
                if (some_of(bitmap, begin, end)) {
                    mr__error error = {.text = ""};
                    assert_int_equal(mr__cover_add(&cover, begin, end, &error), MR_INTERNAL);
                    assert_non_null(strstr(error.text, "twice"));
                    refused++;
                } else {
                    assert_int_equal(mr__cover_add(&cover, begin, end, NULL), MR_OK);
                    memset(bitmap + begin, 1, end - begin);
                    accepted++;
                }
                break;
            case 1:
                assert_int_equal(mr__cover_unite(&cover, begin, end, NULL), MR_OK);
                memset(bitmap + begin, 1, end - begin);
                break;
            case 2:
                assert_int_equal(mr__cover_subtract(&cover, begin, end, NULL), MR_OK);
                memset(bitmap + begin, 0, end - begin);
                break;
            default:
                assert_int_equal(mr__cover_copy(&copy, &cover, NULL), MR_OK);
                assert_same(&copy, bitmap);
            }
            assert_same(&cover, bitmap);
            const size_t found = mr__cover_find(&cover, begin);
            assert_true(found == cover.count || cover.ranges[found].end > begin);
            assert_true(found == 0 || cover.ranges[found - 1].end <= begin);
        }
        mr__cover_fini(&cover);
        mr__cover_fini(&copy);
    }
    assert_true(refused > 1000);
    assert_true(accepted > 1000);
}

static void a_set_that_grows_to_everything_is_one_range(void **state)
{
    mr__cover cover = {.count = 0};
    for (uint64_t i = 0; i < 1000; i++)
        assert_int_equal(mr__cover_add(&cover, i * 7919 % 1000, i * 7919 % 1000 + 1, NULL), MR_OK);
    assert_int_equal(cover.count, 1);
    assert_true(mr__cover_has(&cover, 0, 1000));
    assert_false(mr__cover_has(&cover, 0, 1001));
    mr__cover_fini(&cover);
    assert_int_equal(cover.count, 0);
}

static void the_ends_of_what_64_bits_hold_are_no_edge(void **state)
{
    const uint64_t most = UINT64_MAX;
    mr__cover cover = {.count = 0};
    assert_int_equal(mr__cover_add(&cover, most - 5, most, NULL), MR_OK);
    assert_int_equal(mr__cover_add(&cover, 0, 1, NULL), MR_OK);
    assert_int_equal(mr__cover_add(&cover, most - 5, most, NULL), MR_INTERNAL);
    assert_int_equal(mr__cover_unite(&cover, 0, most, NULL), MR_OK);
    assert_int_equal(cover.count, 1);
    assert_int_equal(mr__cover_units(&cover), most);
    assert_int_equal(mr__cover_subtract(&cover, 1, most - 1, NULL), MR_OK);
    assert_int_equal(mr__cover_units(&cover), 2);
    assert_int_equal(mr__cover_subtract(&cover, 0, most, NULL), MR_OK);
    assert_int_equal(cover.count, 0);
    mr__cover_fini(&cover);
}

static void an_empty_range_changes_nothing_and_a_reversed_one_is_refused(void **state)
{
    mr__cover cover = {.count = 0};
    assert_int_equal(mr__cover_add(&cover, 10, 20, NULL), MR_OK);
    for (uint64_t at = 5; at < 25; at += 5) {
        assert_int_equal(mr__cover_add(&cover, at, at, NULL), MR_OK);
        assert_int_equal(mr__cover_unite(&cover, at, at, NULL), MR_OK);
        assert_int_equal(mr__cover_subtract(&cover, at, at, NULL), MR_OK);
        assert_true(mr__cover_has(&cover, at, at));
        assert_false(mr__cover_meets(&cover, at, at));
    }
    assert_int_equal(mr__cover_add(&cover, 30, 29, NULL), MR_INTERNAL);
    assert_int_equal(mr__cover_unite(&cover, 30, 29, NULL), MR_INTERNAL);
    assert_int_equal(mr__cover_subtract(&cover, 15, 12, NULL), MR_INTERNAL);
    assert_int_equal(cover.count, 1);
    assert_int_equal(mr__cover_units(&cover), 10);
    assert_int_equal(mr__cover_copy(&cover, &cover, NULL), MR_OK);
    assert_int_equal(mr__cover_units(&cover), 10);
    mr__cover_fini(&cover);
}

/* What needs memory, when there is none: on sets of many sizes, so that the array is just full at times. */
static void a_call_that_finds_no_memory_changes_nothing(void **state)
{
    uint32_t failed[4] = {0};
    for (uint64_t size = 0; size < UNITS / 4; size++) {
        for (int call = 0; call < 4; call++) {
            uint8_t bitmap[UNITS] = {0};
            mr__cover cover = {.count = 0}, other = {.count = 0};
            mr__error error = {.text = ""};
            mr_status status = MR_OK;
            for (uint64_t at = 0; at < 4 * size; at += 4) {
                assert_int_equal(mr__cover_add(&cover, at, at + 3, NULL), MR_OK);
                memset(bitmap + at, 1, 3);
            }
            mr__fault_arm(MR__FAULT_ALLOC, 1);
            switch (call) {
            case 0:
                status = mr__cover_add(&cover, 4 * size, 4 * size + 3, &error);
                break;
            case 1:
                status = mr__cover_unite(&cover, 4 * size, 4 * size + 3, &error);
                break;
            case 2:
                status = mr__cover_subtract(&cover, 1, 2, &error);
                break;
            default:
                status = mr__cover_copy(&other, &cover, &error);
            }
            mr__fault_disarm();
            if (mr__fault_fired()) {
                assert_int_equal(status, MR_NO_MEMORY);
                assert_string_not_equal(error.text, "");
                assert_same(&cover, bitmap);
                assert_int_equal(other.count, 0);
                failed[call]++;
            } else {
                assert_int_equal(status, MR_OK);
            }
            mr__cover_fini(&cover);
            mr__cover_fini(&other);
        }
    }
    for (int call = 0; call < 4; call++)
        assert_true(failed[call] > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_set_behaves_as_a_bitmap),
        cmocka_unit_test(a_set_that_grows_to_everything_is_one_range),
        cmocka_unit_test(the_ends_of_what_64_bits_hold_are_no_edge),
        cmocka_unit_test(an_empty_range_changes_nothing_and_a_reversed_one_is_refused),
        cmocka_unit_test(a_call_that_finds_no_memory_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
