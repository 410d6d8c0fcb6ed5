/* test_joint_tick.c: how often a coordinator hears how far the others are. Oracle: counting. */
#include "cmocka_all.h"

#include "joint_parts.h"

enum { TICKS = 600 };

static void each_rank_says_it_and_no_tick_brings_many(void **state)
{
    static const uint32_t sizes[] = {1, 2, 63, 64, 65, 128, 129, 1000, 4096, 10007};
    for (size_t s = 0; s < MR__COUNT(sizes); s++) {
        const uint32_t size = sizes[s];
        uint32_t heard[TICKS] = {0};
        for (uint32_t rank = 0; rank < size; rank++) {
            uint32_t silent = 0, longest = 0;
            for (uint64_t tick = 0; tick < TICKS; tick++) {
                const bool says = mr__joint_says_mapped(tick, rank, size);
                heard[tick] += says;
                silent = says ? 0 : silent + 1;
                longest = silent > longest ? silent : longest;
            }
            assert_true(longest <= size / 64);          /* so few ranks never keep silent */
        }
        for (uint32_t tick = 0; tick < TICKS; tick++)
            assert_in_range(heard[tick], 1, 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rank_says_it_and_no_tick_brings_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
