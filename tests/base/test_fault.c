/* test_fault.c: an armed point fires once, at its nth hit, and only there. */
#include "cmocka_all.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "check.h"
#include "fault.h"

static void test_nothing_fires_unarmed(void **state)
{
    mr__fault_disarm();
    for (uint32_t p = 0; p < mr__fault_point_count; p++)
        assert_false(mr__fault(mr__fault_points[p]));
}

static void test_each_point_fires_once_at_its_nth_hit(void **state)
{
    assert_true(mr__fault_point_count > 0);
    for (uint32_t p = 0; p < mr__fault_point_count; p++) {
        for (uint32_t nth = 1; nth < 5; nth++) {
            mr__fault_arm(mr__fault_points[p], nth);
            for (uint32_t hit = 1; hit < 10; hit++) {
                for (uint32_t other = 0; other < mr__fault_point_count; other++)
                    assert_true(other == p || !mr__fault(mr__fault_points[other]));
                assert_int_equal(mr__fault(mr__fault_points[p]), hit == nth);
                assert_int_equal(mr__fault_fired(), hit >= nth);
            }
        }
    }
}

static void test_disarming_keeps_a_point_from_firing(void **state)
{
    mr__fault_arm(MR__FAULT_READ, 1);
    mr__fault_disarm();
    assert_false(mr__fault(MR__FAULT_READ));
    assert_false(mr__fault_fired());
}

static void test_numbers_are_unique_and_lie_in_their_layers_range(void **state)
{
    for (uint32_t p = 0; p < mr__fault_point_count; p++) {
        assert_in_range(mr__fault_points[p], 100, 499);
        for (uint32_t other = 0; other < p; other++)
            assert_int_not_equal(mr__fault_points[other], mr__fault_points[p]);
    }
}

static void test_the_environment_arms_the_same(void **state)
{
    static const struct {
        const char *text;
        bool accepted, armed;
    } cases[] = {
        {NULL, true, false},     {"", true, false},        {"202:2", true, true},    {"202:0", false, false},
        {"202", false, false},   {"202:", false, false},   {":2", false, false},     {"999:1", false, false},
        {"202:2x", false, false}, {"read:1", false, false}, {"202:2 ", false, false},
    };
    for (size_t c = 0; c < MR__COUNT(cases); c++) {
        mr__fault_disarm();
        unsetenv("MILLRACE_FAULT");
        if (cases[c].text != NULL)
            setenv("MILLRACE_FAULT", cases[c].text, 1);
        if (mr__fault_arm_from_env() != cases[c].accepted)
            fail_msg("MILLRACE_FAULT=%s", cases[c].text);
        assert_false(mr__fault(MR__FAULT_READ));
        assert_int_equal(mr__fault(MR__FAULT_READ), cases[c].armed);
    }
    unsetenv("MILLRACE_FAULT");
    mr__fault_disarm();
}

static _Atomic uint32_t fired_in_threads;

static void *hit_often(void *argument)
{
    for (int i = 0; i < 10000; i++)
        if (mr__fault(MR__FAULT_WRITE))
            atomic_fetch_add(&fired_in_threads, 1);
    return NULL;
}

static void test_many_threads_see_one_failure(void **state)
{
    pthread_t threads[4];
    mr__fault_arm(MR__FAULT_WRITE, 12345);
    for (size_t i = 0; i < MR__COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hit_often, NULL), 0);
    for (size_t i = 0; i < MR__COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&fired_in_threads), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_fires_unarmed),
        cmocka_unit_test(test_each_point_fires_once_at_its_nth_hit),
        cmocka_unit_test(test_disarming_keeps_a_point_from_firing),
        cmocka_unit_test(test_numbers_are_unique_and_lie_in_their_layers_range),
        cmocka_unit_test(test_the_environment_arms_the_same),
        cmocka_unit_test(test_many_threads_see_one_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
